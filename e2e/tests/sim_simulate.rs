//! What `simulate` foretells is what scenarios expect: the same updates, written once.
//!
//! A scenario can be expressed where somebody applies manifests, sets an image once, and then does
//! nothing but promote; [`Update::of`] is that rule, and says what else stands in the way. Its
//! expectations have to come true in the report of `simulate`, in their order.
//!
//! `SLUICE_SCENARIO=name` plays only that one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::path::Path;

use serde_json::Value;
use sluice_cli::args::{Format, Simulate};
use sluice_e2e::scenario::format::{Expect, Fault, MetricsFault, PodRule, Scenario, Step};
use sluice_e2e::scenario::manifest;

/// At least so many scenarios can be expressed; fewer would mean that the rule has become too narrow.
const ENOUGH: usize = 20;

/// An update that both know.
struct Update {
    /// The manifests as they are before the update.
    objects: Vec<Value>,
    /// Name of the Rollout.
    rollout: String,
    /// The new image.
    image: String,
    faults: Vec<String>,
    metrics: Vec<String>,
    /// How often somebody promotes.
    promotes: usize,
    /// What holds, from the update on.
    expects: Vec<Expect>,
}

impl Update {
    /// Takes a scenario apart, or says what of it `simulate` has no word for.
    fn of(scenario: &Scenario, documents: &str) -> Result<Self, String> {
        let (routes, members) = scenario.data_plane.delays().unwrap();
        if routes + members > 0 || scenario.data_plane.verifies {
            return Err("a data plane that is late".into());
        }
        if scenario.controllers.is_some() || scenario.client_rate.is_some() {
            return Err("controllers of its own".into());
        }
        let documents = documents.replace("$PROMETHEUS", "http://prometheus");
        let objects = manifest::documents(&documents).unwrap();
        let rollouts = objects.iter().filter(|one| text(one, "/kind") == "Rollout");
        let names: Vec<&str> = rollouts.map(|one| text(one, "/metadata/name")).collect();
        let rollout = match (&scenario.rollout, names.as_slice()) {
            (Some(name), names) if names.contains(&name.as_str()) => name.clone(),
            (None, [name]) => (*name).to_owned(),
            (_, names) => return Err(format!("which Rollout of {names:?} is updated")),
        };
        let formulas = scenario.metrics.iter();
        let mut update = Self {
            objects,
            rollout,
            image: String::new(),
            faults: Vec::new(),
            metrics: formulas
                .map(|(name, text)| format!("{name} = {text}"))
                .collect(),
            promotes: 0,
            expects: Vec::new(),
        };
        update.objects.iter_mut().try_for_each(commands)?;
        if update.objects.iter().any(is_unreachable) {
            update.faults.push("prometheus-down".to_owned());
        }
        for step in &scenario.steps {
            update.take(step)?;
        }
        if update.image.is_empty() {
            return Err("no update".into());
        }
        for rule in &scenario.pods {
            update.pods(rule)?;
        }
        update.can_be_promoted_alike()?;
        Ok(update)
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        let begun = !self.image.is_empty();
        match step {
            Step::SetImage(_) if begun => return Err("a second update".into()),
            Step::SetImage(image) => self.image.clone_from(image),
            Step::Patch(patch) if !begun => {
                let name = self.rollout.clone();
                let mut all = self.objects.iter_mut();
                let is_meant = |one: &&mut Value| {
                    text(one, "/kind") == "Rollout" && text(one, "/metadata/name") == name
                };
                json_patch::merge(all.find(is_meant).unwrap(), patch);
            }
            Step::Fault(fault) if !begun => self.faults.push(fault_of(fault)?),
            Step::Promote(how) if begun && !how.full => self.promotes += 1,
            Step::Until(expect) | Step::Expect(expect) if begun => {
                self.expects.push(expect.clone());
            }
            // What is true before, or all the time, tells nothing of the outcome.
            Step::Until(_)
            | Step::Expect(_)
            | Step::Always(_)
            | Step::Never(_)
            | Step::Lift(_)
            | Step::Advance(_)
            | Step::Quiet(_)
            | Step::Still(_) => {}
            other => {
                let text = format!("{other:?}");
                let name = text.split(['(', ' ']).next().unwrap_or_default();
                return Err(format!("somebody does {name}"));
            }
        }
        Ok(())
    }

    /// Faults of `simulate` are for the pods of the new image.
    fn pods(&mut self, rule: &PodRule) -> Result<(), String> {
        let mut old = self.objects.iter().filter_map(image_of);
        if old.any(|image| image.contains(&rule.image)) || !self.image.contains(&rule.image) {
            return Err("pods of the first version behave in their own way".into());
        }
        if rule.never_ready || rule.unready_after.is_some() {
            return Err("pods that are not ready, or no longer".into());
        }
        for (name, time) in [
            ("slow-start", &rule.ready_after),
            ("crash-after", &rule.crash_after),
        ] {
            self.faults
                .extend(time.as_ref().map(|time| format!("{name}={time}")));
        }
        Ok(())
    }

    /// `simulate` promotes at every pause that waits for somebody, or at none.
    fn can_be_promoted_alike(&self) -> Result<(), String> {
        let mut phases = self
            .expects
            .iter()
            .filter_map(|expect| expect.phase.as_deref());
        match phases.next_back() {
            None => Err("no phase is expected".into()),
            Some("Paused") if self.promotes > 0 => Err("only some pauses are promoted".into()),
            Some(_) if self.expects.iter().any(inconclusive) && self.promotes > 0 => {
                Err("somebody overrules an analysis".into())
            }
            Some(_) => Ok(()),
        }
    }

    /// The report of `simulate` on it.
    fn simulated(&self) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.json");
        let list = serde_json::json!({"kind": "List", "items": self.objects});
        std::fs::write(&file, list.to_string()).unwrap();
        let options = Simulate {
            filenames: vec![file],
            rollout: Some(self.rollout.clone()),
            image: vec![self.image.clone()],
            fault: self.faults.clone(),
            metric: self.metrics.clone(),
            replicas: None,
            until: "24h".to_owned(),
            no_promote: self.promotes == 0,
            seed: 1,
            output: Format::Json,
            no_color: true,
        };
        let report = sluice_cli::simulate::told(&options, None);
        report.unwrap_or_else(|failure| panic!("{:?}", failure.text()))
    }

    /// What of the expectations does not come true in a report.
    fn differences(&self, report: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let outcome = self.outcome();
        if report["outcome"] != outcome {
            found.push(format!(
                "{outcome} is expected, it ends {}",
                report["outcome"]
            ));
        }
        let promotes = entries(report, "command").count();
        if promotes != self.promotes {
            found.push(format!(
                "promoted {promotes} times instead of {}",
                self.promotes
            ));
        }
        let seen = moments(report, &self.image);
        let wanted = self.moments(report);
        let mut rest = seen.iter();
        for moment in &wanted {
            if !rest.any(|seen| seen.is(moment)) {
                found.push(format!(
                    "{moment:?} of {wanted:?} is not, in this order, in {seen:?}"
                ));
                break;
            }
        }
        let messages = self
            .expects
            .iter()
            .filter_map(|expect| expect.message.as_deref());
        // Reasons are not told; what people read is.
        for message in messages.filter(|message| message.contains(' ')) {
            let told = entries(report, "status").any(|text| text.contains(message));
            if !told && !text(report, "/verdict").contains(message) {
                found.push(format!("nothing is said of {message:?}"));
            }
        }
        let last = seen.iter().rev().find_map(|moment| match moment {
            Moment::Share(share) => Some(*share),
            Moment::Weight(_) => None,
        });
        let at_last = match outcome {
            "promoted" => Some(100),
            "aborted" => Some(0),
            _ => None,
        };
        // Where requests go is known only where a Service of the files tells.
        if let (Some(wanted), Some(last)) = (at_last, last)
            && !report["requests"].is_null()
            && wanted != last
        {
            found.push(format!("the new version has {last} % at last"));
        }
        found
    }

    /// How `simulate` calls the end that the last expectations describe.
    fn outcome(&self) -> &'static str {
        let last = self.expects.iter().rev().find(|one| one.phase.is_some());
        let last = last.unwrap();
        let aborted = self.expects.iter().rev().find_map(|one| one.aborted);
        match last.phase.as_deref() {
            Some("Healthy") => "promoted",
            Some("Degraded") if aborted == Some(true) => "aborted",
            Some("Degraded") => "degraded",
            _ => "waiting",
        }
    }

    /// What is expected of weights and shares, in order.
    fn moments(&self, report: &Value) -> Vec<Moment> {
        let target = text(report, "/requests/target");
        let old = text(report, "/from");
        let mut all = Vec::new();
        for expect in &self.expects {
            if let Some(weight) = expect.weight.filter(|weight| *weight > 0) {
                all.push(Moment::Weight(weight));
            }
            let by_pods = |image: &str| expect.pods.get(image).copied();
            if report["requests"].is_null() {
                // Nobody knows where requests go.
                continue;
            }
            if let (None, Some(new), Some(old)) =
                (expect.weight, by_pods(&self.image), by_pods(old))
                && self.counts_pods()
                && new + old > 0
            {
                all.push(Moment::Share(100 * new / (new + old)));
            }
            if let Some(image) = expect.services.get(target) {
                let share = if *image == self.image { 100 } else { 0 };
                all.push(Moment::Share(share));
            }
        }
        all
    }

    /// Whether the numbers of pods are the shares: a canary without a router.
    fn counts_pods(&self) -> bool {
        let mut rollouts = self
            .objects
            .iter()
            .filter(|one| text(one, "/kind") == "Rollout");
        let canary = rollouts.find_map(|one| one.pointer("/spec/strategy/canary"));
        canary.is_some_and(|canary| canary.get("trafficRouting").is_none())
    }
}

/// One thing that is seen of where requests go.
#[derive(Debug)]
enum Moment {
    /// The weight that a step asks for.
    Weight(i32),
    /// Share of the new version, in percent.
    Share(i32),
}

impl Moment {
    fn is(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Weight(seen), Self::Weight(wanted)) => seen == wanted,
            // Both were rounded.
            (Self::Share(seen), Self::Share(wanted)) => (seen - wanted).abs() <= 1,
            _ => false,
        }
    }
}

/// Weights and shares of a report, in order; at the beginning the new version has nothing.
fn moments(report: &Value, image: &str) -> Vec<Moment> {
    let mut all = vec![Moment::Share(0)];
    for entry in report["timeline"].as_array().unwrap() {
        let line = text(entry, "/text");
        match text(entry, "/kind") {
            "step" => {
                let weight = line.split_once("setWeight: ").map(|(_, weight)| weight);
                all.extend(weight.map(|weight| Moment::Weight(weight.parse().unwrap())));
            }
            "requests" => {
                let ours = line.split(", ").find_map(|part| {
                    let share = part.strip_prefix(image)?.trim().strip_suffix(" %")?;
                    share.parse().ok()
                });
                all.push(Moment::Share(ours.unwrap_or(0)));
            }
            _ => {}
        }
    }
    all
}

fn entries<'a>(report: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a str> {
    let all = report["timeline"].as_array().unwrap().iter();
    all.filter(move |entry| text(entry, "/kind") == kind)
        .map(|entry| text(entry, "/text"))
}

/// The fault of `simulate` that is the same.
fn fault_of(fault: &Fault) -> Result<String, String> {
    let only = |known: Fault| format!("{known:?}") == format!("{fault:?}");
    if fault.error > 0.0
        && only(Fault {
            error: fault.error,
            ..Fault::default()
        })
    {
        return Ok(format!("api-errors={}", fault.error));
    }
    let metrics = Some(MetricsFault::Error);
    if only(Fault {
        metrics,
        ..Fault::default()
    }) {
        return Ok("prometheus-down".to_owned());
    }
    Err("a fault that simulate does not know".into())
}

/// `simulate` runs no command; how it would end is written beside it.
fn commands(object: &mut Value) -> Result<(), String> {
    let metrics = object
        .pointer_mut("/spec/metrics")
        .and_then(Value::as_array_mut);
    for metric in metrics.into_iter().flatten() {
        let Some(template) = metric.pointer_mut("/provider/job/spec/template") else {
            continue;
        };
        let container = &template["spec"]["containers"][0];
        let words = ["command", "args"].map(|part| container[part].as_array().cloned());
        let words: Vec<Value> = words.into_iter().flatten().flatten().collect();
        let Some(last) = words.last().and_then(Value::as_str) else {
            continue;
        };
        let code = last
            .strip_prefix("exit ")
            .ok_or("a Job whose command is really run")?;
        template["metadata"]["annotations"]["sim.sluice.dev/exit-code"] = code.into();
    }
    Ok(())
}

/// Whether a metric asks a Prometheus that is not there.
fn is_unreachable(object: &Value) -> bool {
    let metrics = object.pointer("/spec/metrics").and_then(Value::as_array);
    let mut metrics = metrics.into_iter().flatten();
    metrics.any(|metric| text(metric, "/provider/prometheus/address").ends_with(":1"))
}

/// Whether an analysis has no verdict.
fn inconclusive(expect: &Expect) -> bool {
    expect
        .runs
        .values()
        .chain(&expect.experiment)
        .any(|phase| phase == "Inconclusive")
}

/// The image of the pods that an object makes.
fn image_of(object: &Value) -> Option<&str> {
    let kinds = ["Rollout", "Deployment"];
    let image = object.pointer("/spec/template/spec/containers/0/image");
    image
        .filter(|_| kinds.contains(&text(object, "/kind")))?
        .as_str()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The end, the order of weights and shares, and the words for what went wrong are those of the suite.
#[test]
fn simulate_foretells_what_scenarios_expect() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let only = std::env::var("SLUICE_SCENARIO").ok();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut failures = Vec::new();
    let mut played = 0;
    for scenario in Scenario::load_all(&here.join("scenarios")).unwrap() {
        let name = &scenario.name;
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let documents = scenario.documents(&here.join("..")).unwrap();
        match Update::of(&scenario, &documents) {
            Err(why) => println!("{name}: left out: {why}"),
            Ok(update) => {
                played += 1;
                let report = update.simulated();
                let found = update.differences(&report);
                println!("{name}: {}", text(&report, "/verdict"));
                if !found.is_empty() {
                    failures.push(format!("{name}:\n  {}", found.join("\n  ")));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        only.is_some() || played >= ENOUGH,
        "only {played} were played"
    );
}

/// What somebody does in the middle of an update, or what only another world has, is left out, and
/// why is said.
#[test]
fn what_cannot_be_expressed_is_said() {
    let of = |scenario: Value| {
        let scenario: Scenario = serde_json::from_value(scenario).unwrap();
        let documents = "kind: Rollout\nmetadata: {name: web}\nspec: {template: {spec: {containers: \
                         [{image: 'web:v1'}]}}}\n";
        Update::of(&scenario, documents).err()
    };
    let update = serde_json::json!({"set-image": "web:v2"});
    let healthy = serde_json::json!({"until": {"phase": "Healthy"}});
    let with = |step: Value| serde_json::json!({"steps": [update, step, healthy]});
    for (scenario, wanted) in [
        (serde_json::json!({"steps": [update, healthy]}), None),
        (with(serde_json::json!({"promote": {}})), None),
        (
            with(serde_json::json!({"abort": {}})),
            Some("somebody does Abort"),
        ),
        (
            with(serde_json::json!({"scale": 3})),
            Some("somebody does Scale"),
        ),
        (with(update.clone()), Some("a second update")),
        (serde_json::json!({"steps": [healthy]}), Some("no update")),
        (
            serde_json::json!({"steps": [update, healthy], "controllers": 2}),
            Some("controllers of its own"),
        ),
        (
            serde_json::json!({"steps": [update, healthy], "data-plane": {"routes": "5s"}}),
            Some("a data plane that is late"),
        ),
        (
            serde_json::json!({"steps": [update, healthy], "pods": [{"image": "v1"}]}),
            Some("pods of the first version behave in their own way"),
        ),
        (
            serde_json::json!({"steps": [{"fault": {"latency": "1s"}}, update, healthy]}),
            Some("a fault that simulate does not know"),
        ),
    ] {
        assert_eq!(of(scenario.clone()).as_deref(), wanted, "{scenario}");
    }
}

/// A report that differs is found out, in each of the ways that are looked at.
#[test]
fn differences_are_found() {
    let report = serde_json::json!({
        "outcome": "promoted", "from": "web:v1", "verdict": "Promoted after 0:30.",
        "requests": {"target": "web"},
        "timeline": [
            {"kind": "step", "text": "1/3 setWeight: 20"},
            {"kind": "requests", "text": "web:v1 80 %, web:v2 20 %"},
            {"kind": "command", "text": "promote"},
            {"kind": "step", "text": "3/3 setWeight: 60"},
            {"kind": "requests", "text": "web:v2 100 %"},
        ],
    });
    let of = |promotes: usize, expects: Value| {
        let update = Update {
            objects: vec![
                serde_json::json!({"kind": "Rollout", "spec": {"strategy": {"canary": {}}}}),
            ],
            rollout: "web".to_owned(),
            image: "web:v2".to_owned(),
            faults: Vec::new(),
            metrics: Vec::new(),
            promotes,
            expects: serde_json::from_value(expects).unwrap(),
        };
        update.differences(&report).join("; ")
    };
    let good = serde_json::json!([{"weight": 20, "phase": "Paused"}, {"weight": 60},
        {"pods": {"web:v1": 0, "web:v2": 5}, "phase": "Healthy"}]);
    assert_eq!(of(1, good.clone()), "");
    assert_eq!(of(0, good), "promoted 1 times instead of 0");
    for (expects, wanted) in [
        (
            serde_json::json!([{"phase": "Degraded", "aborted": true, "message": "no luck"}]),
            "aborted is expected, it ends \"promoted\"; nothing is said of \"no luck\"; the new \
             version has 100 % at last",
        ),
        (
            serde_json::json!([{"weight": 60}, {"weight": 20, "phase": "Healthy"}]),
            "Weight(20) of [Weight(60), Weight(20)] is not, in this order, in [Share(0), \
             Weight(20), Share(20), Weight(60), Share(100)]",
        ),
        (
            serde_json::json!([{"pods": {"web:v1": 1, "web:v2": 1}}, {"phase": "Healthy"}]),
            "Share(50) of [Share(50)] is not, in this order, in [Share(0), Weight(20), Share(20), \
             Weight(60), Share(100)]",
        ),
    ] {
        assert_eq!(of(1, expects), wanted);
    }
}
