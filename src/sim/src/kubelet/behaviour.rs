//! How pods behave, and which pods a rule is about.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::Duration;

use crate::json::{items, text};
use crate::object::{annotation, labels};

/// Images with this in their name cannot be pulled.
const NO_SUCH_IMAGE: &str = "does-not-exist";

/// How a pod behaves, in times after it was bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Until its containers run (pull and start).
    pub start: Duration,
    /// From then until they are ready.
    pub ready: Duration,
    /// What becomes of it.
    pub fate: Fate,
    /// From the deletion until its containers have stopped, at most the grace period.
    pub stop: Duration,
}

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It becomes ready and serves.
    Serve,
    /// It runs, but never becomes ready.
    NeverReady,
    /// It is ready for this long, then no longer.
    UnreadyAfter(Duration),
    /// Each run ends with an error after this time, ready or not; restarts back off.
    CrashAfter(Duration),
    /// Its image cannot be pulled.
    ImagePull,
    /// It ends with this code after this time.
    Exit(i32, Duration),
    /// It ends when the command of its first container does, which is really run.
    Command,
}

impl Default for Behaviour {
    /// Starts and is ready within a second, stops at once.
    fn default() -> Self {
        Self {
            start: Duration::from_millis(300),
            ready: Duration::from_millis(500),
            fate: Fate::Serve,
            stop: Duration::ZERO,
        }
    }
}

impl Behaviour {
    /// Ready this long after it was bound.
    pub fn ready_after(ready: Duration) -> Self {
        Self {
            start: Duration::ZERO,
            ready,
            ..Self::default()
        }
    }

    /// With another fate.
    #[must_use]
    pub fn fate(mut self, fate: Fate) -> Self {
        self.fate = fate;
        self
    }

    /// What the pod itself says goes before all: annotations `sim.sluice.dev/start-seconds`,
    /// `ready-seconds`, `stop-seconds`, `exit-code`, `run-seconds`, `fate` (`never-ready`,
    /// `crash`, `image-pull`), and an image that cannot be pulled. Pods that are not restarted
    /// for ever end with code 0 after a second where nothing else is said.
    pub(super) fn with_pod(mut self, pod: &Value) -> Self {
        let said = |key: &str| annotation(pod, &format!("sim.sluice.dev/{key}"));
        let seconds = |key: &str| {
            said(key)
                .and_then(|s| s.parse::<f64>().ok())
                .and_then(|s| Duration::try_from_secs_f64(s).ok())
        };
        self.start = seconds("start-seconds").unwrap_or(self.start);
        self.ready = seconds("ready-seconds").unwrap_or(self.ready);
        self.stop = seconds("stop-seconds").unwrap_or(self.stop) + pre_stop(pod);
        let run = seconds("run-seconds");
        let ends = text(pod, &["spec", "restartPolicy"]) != "Always";
        let code = said("exit-code").and_then(|c| c.parse().ok());
        if let Some(code) = code {
            self.fate = Fate::Exit(code, run.unwrap_or(Duration::from_secs(1)));
        } else if ends && self.fate == Fate::Serve {
            self.fate = Fate::Exit(0, run.unwrap_or(Duration::from_secs(1)));
        }
        match said("fate") {
            Some("never-ready") => self.fate = Fate::NeverReady,
            Some("crash") => {
                self.fate = Fate::CrashAfter(run.unwrap_or(Duration::from_secs(2)));
            }
            Some("image-pull") => self.fate = Fate::ImagePull,
            _ => {}
        }
        let containers = items(pod, &["spec", "containers"]);
        if containers
            .iter()
            .any(|c| text(c, &["image"]).contains(NO_SUCH_IMAGE))
        {
            self.fate = Fate::ImagePull;
        }
        self
    }
}

/// The longest preStop hook: a `sleep` action, or a command that sleeps.
fn pre_stop(pod: &Value) -> Duration {
    let hook = |container: &Value| {
        let seconds = crate::json::int(container, &["lifecycle", "preStop", "sleep", "seconds"]);
        let command: Vec<&str> = items(container, &["lifecycle", "preStop", "exec", "command"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let slept = command.join(" ");
        let slept = slept.rsplit_once("sleep ").and_then(|(_, s)| {
            s.split_whitespace()
                .next()
                .and_then(|s| s.parse::<i64>().ok())
        });
        u64::try_from(seconds.or(slept).unwrap_or(0)).unwrap_or(0)
    };
    let longest = items(pod, &["spec", "containers"]).iter().map(hook).max();
    Duration::from_secs(longest.unwrap_or(0))
}

/// A behaviour for the pods that match.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodRule {
    /// Part of the image of some container; empty matches all.
    pub image: String,
    /// Labels that the pod must have.
    pub labels: BTreeMap<String, String>,
    /// How it behaves.
    pub behaviour: Behaviour,
}

impl PodRule {
    /// For pods with this in an image.
    pub fn image(image: &str, behaviour: Behaviour) -> Self {
        Self {
            image: image.to_owned(),
            labels: BTreeMap::new(),
            behaviour,
        }
    }

    /// For pods with this label.
    pub fn label(key: &str, value: &str, behaviour: Behaviour) -> Self {
        let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Self {
            image: String::new(),
            labels,
            behaviour,
        }
    }

    /// Whether it is about this pod.
    pub fn matches(&self, pod: &Value) -> bool {
        let has = |(key, value): (&String, &String)| {
            labels(pod)
                .and_then(|l| l.get(key))
                .is_some_and(|v| v == value)
        };
        let image = |c: &Value| text(c, &["image"]).contains(&self.image);
        self.labels.iter().all(has)
            && (self.image.is_empty() || items(pod, &["spec", "containers"]).iter().any(image))
    }
}
