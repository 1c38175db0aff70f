//! A small generator of pseudo-random numbers: the same seed gives the same numbers for ever, on
//! every machine.

/// The generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins at `seed`; generators of different `stream`s are independent of each other.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xa076_1d64_78bd_642f));
        random.number();
        random
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: i32, to: i32) -> i32 {
        let span = usize::try_from(i64::from(to) - i64::from(from) + 1).unwrap_or(1);
        from + i32::try_from(self.below(span)).unwrap_or(0)
    }

    /// Whether something happens that does so in `percent` of all cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = self.below(all.len());
        all.get(index).expect("not empty")
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::new(7, 1);
        let numbers = [random.number(), random.number()];
        let mut again = Random::new(7, 1);
        assert_eq!(numbers, [again.number(), again.number()]);
        assert_ne!(numbers[0], Random::new(7, 2).number());
        assert_ne!(numbers[0], Random::new(8, 1).number());
        assert_eq!(
            Random(0).number(),
            0xe220_a839_7b1d_cdaf,
            "published vector"
        );
    }

    #[test]
    fn bounds_are_kept() {
        let mut random = Random::new(1, 1);
        for _ in 0..1000 {
            assert!(random.below(3) < 3);
            assert!((-2..=2).contains(&random.between(-2, 2)));
        }
        assert!(!random.chance(0) && random.chance(100));
    }
}
