//! The file format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

mod expect;
mod step;

pub use expect::Expect;
pub use step::{
    Between, Empty, Fault, LosePods, MetricsFault, PatchObject, Promote, Refused, Step, Verdict,
};

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
    /// `$PROMETHEUS` in manifests stands for the address that answers them.
    #[serde(default)]
    pub metrics: BTreeMap<String, String>,
    /// How many controllers there are, which elect one that works. By default there is one that does
    /// not ask.
    pub controllers: Option<u8>,
    /// Requests per second that each controller allows itself; not limited by default.
    pub client_rate: Option<f32>,
    /// How the data plane follows what is written; at once by default.
    #[serde(default)]
    pub data_plane: DataPlane,
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

/// How load balancers and proxies follow the API: requests go where they were sent this long ago.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataPlane {
    /// Delay of routes and their weights.
    pub routes: Option<String>,
    /// Delay of the members of Services and subsets.
    pub members: Option<String>,
    /// Members that leave a Service are gone at once, and only those that join come late, as with
    /// target groups; by default both happen at the same time.
    #[serde(default)]
    pub deregisters_first: bool,
    /// Whether routers can tell if it has caught up.
    #[serde(default)]
    pub verifies: bool,
}

impl DataPlane {
    /// Delays of routes and of members, in seconds; 0 where none is given.
    ///
    /// # Errors
    /// When one is not a time.
    pub fn delays(&self) -> Result<(i64, i64)> {
        let of = |text: &Option<String>| text.as_deref().map_or(Ok(0), seconds);
        Ok((of(&self.routes)?, of(&self.members)?))
    }
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
    /// Is ready for this long, then no longer.
    #[serde(default)]
    pub unready_after: Option<String>,
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
            Ring::Pure => self.beyond_decisions(),
            Ring::Sim => None,
            Ring::Real => self.beyond_real_time(),
        }
    }

    /// What of it needs virtual time, or an API server that fails on demand.
    fn beyond_real_time(&self) -> Option<String> {
        if self.controllers.is_some() {
            return Some("controllers that elect are the simulation's".into());
        }
        let (routes, members) = self.data_plane.delays().unwrap_or_default();
        if routes.max(members) > REAL_PATIENCE_SECONDS {
            return Some("so slow a data plane is for virtual time".into());
        }
        self.all_steps().into_iter().find_map(|step| match step {
            Step::Advance(time) | Step::Quiet(time) | Step::Still(time) => {
                let seconds = seconds(time).unwrap_or(0);
                (seconds > REAL_PATIENCE_SECONDS)
                    .then(|| format!("{time} of waiting is for virtual time"))
            }
            Step::Fault(fault) if !fault.spares_the_api() => {
                Some("the API server's faults are the simulation's".into())
            }
            _ => None,
        })
    }

    /// All steps, those within others included.
    #[must_use]
    pub fn all_steps(&self) -> Vec<&Step> {
        let mut all = Vec::new();
        for step in &self.steps {
            step.and_inner(&mut all);
        }
        all
    }

    /// What of it needs more than decisions.
    fn beyond_decisions(&self) -> Option<String> {
        if self.controllers.is_some() {
            return Some("who leads is not decided in plans".into());
        }
        if !self.metrics.is_empty() {
            return Some("measurements are taken by the shell".into());
        }
        let steps = self.all_steps();
        let expects = |wanted: fn(&Expect) -> bool| {
            steps.iter().any(|step| match step {
                Step::Until(expect)
                | Step::Expect(expect)
                | Step::Never(expect)
                | Step::Always(expect) => wanted(expect),
                _ => false,
            })
        };
        if expects(|expect| !expect.runs.is_empty() || expect.experiment.is_some()) {
            return Some("measurements are taken by the shell".into());
        }
        if expects(|expect| !expect.deployments.is_empty()) {
            return Some("a Deployment has a controller of its own".into());
        }
        steps.into_iter().find_map(|step| match step {
            Step::Fault(fault) if !fault.is_of_verification() => {
                Some("there is no API server to fail".into())
            }
            Step::Apply(_) | Step::Delete(_) | Step::PatchObject(_) | Step::Refused(_) => {
                Some("there is no API server to apply to".into())
            }
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

/// Seconds in `90s`, `10m`, `2h`, `-1h`.
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

    /// FLT-1 to FLT-40: each has a scenario of its name, which names its invariant too.
    #[test]
    fn every_fault_has_a_scenario() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let scenarios = Scenario::load_all(&folder).unwrap();
        for number in 1..=40 {
            let (name, rule) = (format!("flt-{number:02}-"), format!("FLT-{number}"));
            let mine: Vec<_> = scenarios
                .iter()
                .filter(|one| one.name.starts_with(&name))
                .collect();
            assert!(!mine.is_empty(), "{rule} has no scenario");
            for one in mine {
                assert!(
                    one.rules.contains(&rule),
                    "{} does not name {rule}",
                    one.name
                );
                let invariant = one.rules.iter().any(|rule| rule.starts_with("INV-"));
                assert!(
                    invariant || one.rules.len() > 1,
                    "{} names no more",
                    one.name
                );
            }
        }
    }

    /// CLI-34: what the suite plays is passed by `lint`, apart from splits that are coarse on purpose;
    /// so no warning is a false alarm about manifests that work.
    #[test]
    fn lint_passes_every_scenario() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        for scenario in Scenario::load_all(&folder).unwrap() {
            let text = scenario.documents(&folder.join("../..")).unwrap();
            let text = text.replace("$PROMETHEUS", "http://prometheus");
            let objects = crate::scenario::manifest::documents(&text).unwrap();
            let found = sluice_cli::verbs::lint::of_objects(&objects);
            assert_eq!(found.problems, Vec::<String>::new(), "{}", scenario.name);
            let coarse = "without a traffic router the split is a number of pods";
            let later = "no Rollout in the given files"; // a step applies it
            let mut odd = found.warnings.iter();
            let odd = odd.find(|one| !one.contains(coarse) && !one.starts_with(later));
            assert_eq!(odd, None, "{}", scenario.name);
        }
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
