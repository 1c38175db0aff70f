//! The file format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Where a scenario can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ring {
    /// Decisions alone, on plain objects.
    Pure,
    /// The simulated cluster, in virtual time.
    Sim,
    /// kube-apiserver, etcd and kube-controller-manager.
    Real,
}

/// One scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// File name without its extension; filled in by [`Scenario::load`].
    #[serde(skip)]
    pub name: String,
    /// The rules that it proves, for people.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Manifest files, relative to the root of the checkout.
    #[serde(default)]
    pub given: Vec<PathBuf>,
    /// Further manifests, as YAML documents.
    #[serde(default)]
    pub manifests: String,
    /// The Rollout that the steps are about; the only one of the manifests by default.
    #[serde(default)]
    pub rollout: Option<String>,
    /// How pods behave; the first rule whose image matches counts.
    #[serde(default)]
    pub pods: Vec<PodRule>,
    /// Values of synthetic metrics: a formula over `weight` (share of the new version in percent).
    #[serde(default)]
    pub metrics: BTreeMap<String, String>,
    /// What happens.
    pub steps: Vec<Step>,
    /// Rings it runs in; all that can express its steps by default.
    #[serde(default)]
    pub rings: Option<Vec<Ring>>,
    /// How often ring 2 plays it, each time with another seed.
    #[serde(default = "one")]
    pub seeds: u64,
}

fn one() -> u64 {
    1
}

/// How the pods of an image behave.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodRule {
    /// Text that the image has to contain.
    pub image: String,
    /// Time from creation to readiness.
    #[serde(default)]
    pub ready_after: Option<String>,
    /// Never becomes ready.
    #[serde(default)]
    pub never_ready: bool,
    /// Crashes this long after it started, again and again.
    #[serde(default)]
    pub crash_after: Option<String>,
}

/// One step, written as a map with one key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Change the image of the first container, of the Rollout or of its referenced workload.
    SetImage(String),
    /// Merge-patch the Rollout.
    Patch(serde_json::Value),
    /// Apply further manifests.
    Apply(String),
    /// Delete `Kind/name`; `AnalysisRun/Step` (or another value of the label `rollout-type`) and
    /// `Experiment/Newest` stand for the newest one.
    Delete(String),
    /// The plugin's verb for an AnalysisRun or Experiment, named as for `delete`.
    Terminate(String),
    /// Set `spec.replicas` through the scale subresource.
    Scale(i32),
    /// The plugin's verb.
    Promote(Promote),
    /// The plugin's verb.
    Abort(Empty),
    /// The plugin's verb.
    Retry(Empty),
    /// The plugin's verb.
    Pause(Empty),
    /// The plugin's verb.
    Restart(Empty),
    /// The plugin's verb; 0 is the revision before.
    Undo(u64),
    /// Wait until all of this holds; it must within the deadline.
    Until(Expect),
    /// All of this holds now.
    Expect(Expect),
    /// Let time pass.
    Advance(String),
    /// For this long nothing is written by the controller.
    Quiet(String),
    /// Stop the controller dead after its n-th write from now, and start it again.
    CrashAfter(u64),
    /// Stop and start the controller.
    RestartController(Empty),
    /// Something goes wrong from now on.
    Fault(Fault),
    /// Nothing goes wrong any more.
    Heal(Empty),
}

/// `promote: {}` or `promote: {full: true}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// Skip analysis, pauses and steps.
    #[serde(default)]
    pub full: bool,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Faults of the simulated API server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// Share of requests that are answered 409, 0 to 1.
    #[serde(default)]
    pub conflict: f64,
    /// Share of requests that are answered 500.
    #[serde(default)]
    pub error: f64,
    /// Share of requests that are answered 429.
    #[serde(default)]
    pub throttle: f64,
    /// Share of requests that are carried out, but whose answer is lost.
    #[serde(default)]
    pub lost_answer: f64,
    /// Delay of watch events.
    #[serde(default)]
    pub watch_delay: Option<String>,
}

/// What has to hold; absent members are not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    /// `status.phase`, once the controller has seen the current spec (API-66).
    pub phase: Option<String>,
    /// `status.message` contains this.
    pub message: Option<String>,
    /// `status.currentStepIndex`.
    pub step: Option<i32>,
    /// `status.canary.weights.canary.weight`.
    pub weight: Option<i32>,
    /// `status.abort`.
    pub aborted: Option<bool>,
    /// Whether `status.stableRS` is the current pod hash.
    pub promoted: Option<bool>,
    /// Available pods by image; an image that is not named may have any number.
    #[serde(default)]
    pub pods: BTreeMap<String, i32>,
    /// Condition type to `status/reason` or just `status`.
    #[serde(default)]
    pub conditions: BTreeMap<String, String>,
    /// Reasons of events on the Rollout that must have been recorded.
    #[serde(default)]
    pub events: Vec<String>,
    /// Service name to the image of the pods it selects.
    #[serde(default)]
    pub services: BTreeMap<String, String>,
    /// `VirtualService/host-or-subset` or `Ingress/name` to its weight.
    #[serde(default)]
    pub routes: BTreeMap<String, i32>,
    /// AnalysisRun phases by `rollout-type` label, the newest of each.
    #[serde(default)]
    pub runs: BTreeMap<String, String>,
    /// Experiment phases, the newest.
    pub experiment: Option<String>,
    /// Deployment name to `spec.replicas`.
    #[serde(default)]
    pub deployments: BTreeMap<String, i32>,
}

/// Steps of virtual time beyond this cannot be expressed on a real control plane.
const REAL_PATIENCE_SECONDS: i64 = 30;

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// When it cannot be read or is not a scenario; the text names the file and the place.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let value: serde_yaml_ng::Value =
            serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?;
        // Through JSON, where a map with one key is an enum variant.
        let value = serde_json::to_value(value).with_context(|| path.display().to_string())?;
        let mut scenario: Self =
            serde_json::from_value(value).with_context(|| path.display().to_string())?;
        scenario.name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        if scenario.steps.is_empty() {
            bail!("{}: a scenario needs steps", path.display());
        }
        Ok(scenario)
    }

    /// All scenario files of a folder, sorted by name.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn load_all(folder: &Path) -> Result<Vec<Self>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
            .with_context(|| folder.display().to_string())?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "yaml")
            })
            .collect();
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// Why this scenario cannot be played in `ring`; `None` when it can.
    #[must_use]
    pub fn obstacle(&self, ring: Ring) -> Option<String> {
        if let Some(rings) = &self.rings
            && !rings.contains(&ring)
        {
            return Some("its `rings` leave this one out".into());
        }
        match ring {
            Ring::Pure => return self.beyond_decisions(),
            Ring::Sim => return None,
            Ring::Real => {}
        }
        self.steps.iter().find_map(|step| match step {
            Step::Advance(time) | Step::Quiet(time) => {
                let seconds = seconds(time).unwrap_or(0);
                (seconds > REAL_PATIENCE_SECONDS)
                    .then(|| format!("{time} of waiting is for virtual time"))
            }
            Step::Fault(_) => Some("the API server's faults are the simulation's".into()),
            _ => None,
        })
    }

    /// What of it needs more than decisions.
    fn beyond_decisions(&self) -> Option<String> {
        let expects = |wanted: fn(&Expect) -> bool| {
            self.steps.iter().any(|step| match step {
                Step::Until(expect) | Step::Expect(expect) => wanted(expect),
                _ => false,
            })
        };
        if expects(|expect| !expect.runs.is_empty() || expect.experiment.is_some()) {
            return Some("measurements are taken by the shell".into());
        }
        if expects(|expect| !expect.deployments.is_empty()) {
            return Some("a Deployment has a controller of its own".into());
        }
        self.steps.iter().find_map(|step| match step {
            Step::Fault(_) | Step::Heal(_) => Some("there is no API server to fail".into()),
            Step::Apply(_) | Step::Delete(_) => Some("there is no API server to apply to".into()),
            Step::Terminate(_) => Some("measurements are taken by the shell".into()),
            _ => None,
        })
    }

    /// All manifests, as one multi-document text.
    ///
    /// # Errors
    /// When a file of `given` cannot be read.
    pub fn documents(&self, root: &Path) -> Result<String> {
        let mut text = String::new();
        for path in &self.given {
            let path = root.join(path);
            text.push_str(
                &std::fs::read_to_string(&path).with_context(|| path.display().to_string())?,
            );
            text.push_str("\n---\n");
        }
        text.push_str(&self.manifests);
        Ok(text)
    }
}

/// Seconds in `90s`, `10m`, `2h`.
///
/// # Errors
/// When it is none of these.
pub fn seconds(text: &str) -> Result<i64> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let number: i64 = number
        .parse()
        .with_context(|| format!("{text:?} is not a time like 10s"))?;
    match unit {
        "s" => Ok(number),
        "m" => Ok(number * 60),
        "h" => Ok(number * 3600),
        _ => bail!("{text:?} is not a time like 10s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_waits_are_for_virtual_time() {
        let scenario: Scenario = serde_json::from_value(serde_json::json!({
            "steps": [{"set-image": "web:v2"}, {"advance": "10m"}, {"abort": {}},
                      {"expect": {"phase": "Degraded", "weight": 0}}],
        }))
        .unwrap();
        assert_eq!(scenario.obstacle(Ring::Sim), None);
        assert_eq!(
            scenario.obstacle(Ring::Real).as_deref(),
            Some("10m of waiting is for virtual time")
        );
    }

    #[test]
    fn unknown_expectations_are_refused() {
        let parsed: Result<Scenario, _> = serde_json::from_value(serde_json::json!({
            "steps": [{"expect": {"fase": "Healthy"}}],
        }));
        assert!(
            parsed
                .unwrap_err()
                .to_string()
                .contains("unknown field `fase`")
        );
    }

    #[test]
    fn every_scenario_file_loads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let scenarios = Scenario::load_all(&folder).unwrap();
        assert!(scenarios.len() > 10);
        for scenario in scenarios {
            assert!(
                !scenario.rules.is_empty(),
                "{} names no rule",
                scenario.name
            );
            let root = folder.join("../..");
            assert!(
                !scenario.documents(&root).unwrap().trim().is_empty(),
                "{}",
                scenario.name
            );
        }
    }
}
