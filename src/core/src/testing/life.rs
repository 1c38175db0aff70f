//! How pods live in [`super::world::World`].

/// Times of a pod, in seconds after its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Until it is available; `None`: never.
    pub ready_after: Option<i64>,
    /// From then until it no longer is, for good.
    pub unready_after: Option<i64>,
    /// From each start until it crashes; restarts back off as on a node.
    pub crash_after: Option<i64>,
}

impl Life {
    /// Available after so many seconds, and from then on.
    #[must_use]
    pub fn ready_after(seconds: i64) -> Self {
        Self {
            ready_after: Some(seconds),
            ..Self::default()
        }
    }

    /// Whether a pod of this age is available.
    #[must_use]
    pub fn available(&self, age: i64) -> bool {
        let Some(ready) = self.ready_after else {
            return false;
        };
        if let Some(run) = self.crash_after {
            let (mut start, mut pause) = (0, 10);
            while age >= start + run.max(1) {
                start += run.max(1) + pause;
                pause = (pause * 2).min(300);
            }
            return age >= start + ready;
        }
        let end = self.unready_after.map(|after| ready + after);
        age >= ready && end.is_none_or(|end| age < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_come_ever_more_rarely() {
        let life = Life {
            crash_after: Some(5),
            ..Life::ready_after(1)
        };
        let up: Vec<i64> = (0..60).filter(|age| life.available(*age)).collect();
        assert_eq!(up, [1, 2, 3, 4, 16, 17, 18, 19, 41, 42, 43, 44]);
        let life = Life {
            unready_after: Some(3),
            ..Life::ready_after(2)
        };
        let up: Vec<i64> = (0..60).filter(|age| life.available(*age)).collect();
        assert_eq!(up, [2, 3, 4]);
    }
}
