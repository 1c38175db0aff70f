//! What goes wrong in a simulated update.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use sluice_crds::duration::GoDuration;
use sluice_sim::{Behaviour, Effect, Fate, Rule, When};

use crate::world::CONTROLLER;

/// The faults there are, as they are written.
const KNOWN: &str = "bad-image, crash-after=TIME, slow-start=TIME, prometheus-down, \
                     api-errors=SHARE, pod-kill=TIME";

/// Everything that goes wrong from the moment of the update on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Faults {
    /// The new image cannot be pulled.
    bad_image: bool,
    /// New pods end with an error after this time, again and again.
    crash_after: Option<Duration>,
    /// New pods take this long to be ready.
    slow_start: Option<Duration>,
    /// Prometheus answers 503.
    pub(super) prometheus_down: bool,
    /// Share of the controller's requests that the API server answers with 500.
    api_errors: Option<f64>,
    /// Time between two deaths of a ready pod.
    pub(super) pod_kill: Option<Duration>,
    /// As written, for the report.
    pub(super) written: Vec<String>,
}

impl Faults {
    /// Reads what was written.
    ///
    /// # Errors
    /// One line that names the faults there are.
    pub(super) fn parse(written: &[String]) -> Result<Self> {
        let mut faults = Self {
            written: written.to_vec(),
            ..Self::default()
        };
        for text in written {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (text.trim(), None),
            };
            match (name, value) {
                ("bad-image", None) => faults.bad_image = true,
                ("crash-after", Some(value)) => faults.crash_after = Some(time(text, value)?),
                ("slow-start", Some(value)) => faults.slow_start = Some(time(text, value)?),
                ("prometheus-down", None) => faults.prometheus_down = true,
                ("api-errors", Some(value)) => faults.api_errors = Some(share(text, value)?),
                ("pod-kill", Some(value)) => faults.pod_kill = Some(time(text, value)?),
                ("bad-image" | "prometheus-down", Some(_)) => {
                    bail!("--fault {text}: {name} takes no value")
                }
                ("crash-after" | "slow-start" | "api-errors" | "pod-kill", None) => {
                    bail!("--fault {text}: a value is missing; there are {KNOWN}")
                }
                _ => bail!("--fault {text}: no such fault; there are {KNOWN}"),
            }
        }
        Ok(faults)
    }

    /// How new pods behave, where a fault says so.
    pub(super) fn behaviour(&self) -> Option<Behaviour> {
        let mut behaviour = Behaviour::default();
        if let Some(ready) = self.slow_start {
            behaviour = Behaviour::ready_after(ready);
        }
        if let Some(after) = self.crash_after {
            behaviour = behaviour.fate(Fate::CrashAfter(after));
        }
        if self.bad_image {
            behaviour = behaviour.fate(Fate::ImagePull);
        }
        let any = self.bad_image || self.slow_start.is_some() || self.crash_after.is_some();
        any.then_some(behaviour)
    }

    /// What the API server does to the controller.
    pub(super) fn rule(&self) -> Option<Rule> {
        let share = self.api_errors?;
        Some(Rule::new(When::Chance(share), Effect::InternalError).user_agent(CONTROLLER))
    }
}

/// A time as Go writes it.
fn time(text: &str, value: &str) -> Result<Duration> {
    let wanted = || anyhow!("--fault {text}: a time such as 30s or 5m is needed");
    let time: GoDuration = value.parse().map_err(|_| wanted())?;
    let time = Duration::try_from(time.signed()).map_err(|_| wanted())?;
    if time.is_zero() {
        return Err(wanted());
    }
    Ok(time)
}

/// A probability, or a percentage.
fn share(text: &str, value: &str) -> Result<f64> {
    let number = match value.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => value.parse(),
    };
    number
        .ok()
        .filter(|share| (0.0..1.0).contains(share))
        .ok_or_else(|| anyhow!("--fault {text}: a share such as 0.2 or 20% is needed, below 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(written: &str) -> Result<Faults, String> {
        Faults::parse(&[written.to_owned()]).map_err(|error| error.to_string())
    }

    #[test]
    fn faults_are_read_or_named() {
        assert!(parsed("bad-image").unwrap().behaviour().is_some());
        assert!(parsed("prometheus-down").unwrap().behaviour().is_none());
        assert_eq!(
            parsed("crash-after=30s").unwrap().crash_after,
            Some(Duration::from_secs(30))
        );
        assert_eq!(parsed("api-errors=20%").unwrap().api_errors, Some(0.2));
        for (written, wanted) in [
            ("meteor", "no such fault; there are bad-image"),
            ("slow-start", "a value is missing"),
            ("slow-start=soon", "a time such as 30s"),
            ("api-errors=3", "a share such as 0.2"),
            ("bad-image=yes", "takes no value"),
        ] {
            let error = parsed(written).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
