//! What has to become of an update that the peer left in the middle: it stands as it stood, then goes on
//! from the same step, one step after the other, and ends well.
//!
//! The same words for the simulated cluster and a real control plane: everything is read through the
//! ordinary API.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sluice_core::commands;
use tokio::time::{Instant, sleep};

use crate::stand::{ARGO, ISTIO, Namespace, is_current, kind, text};

/// How often is looked while an update goes on.
const POLL: Duration = Duration::from_millis(100);
/// For an update to end, from wherever it was.
const END: Duration = Duration::from_secs(150);
/// Kinds whose state is that of the workload and its traffic.
const STANDING: [(&str, &str); 5] = [
    ("apps/v1", "ReplicaSet"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "Ingress"),
    (ISTIO, "VirtualService"),
    (ISTIO, "DestinationRule"),
];

/// Workload and routes as they stand: spec, labels and annotations by kind and name.
pub type Standing = BTreeMap<String, Value>;

/// How workload and routes stand now.
///
/// # Errors
/// The server's answer.
pub async fn standing(space: &Namespace) -> Result<Standing> {
    let mut found = Standing::new();
    for (version, name) in STANDING {
        for object in space.list(&kind(version, name)).await? {
            let part = |at: &str| object.pointer(at).cloned().unwrap_or_default();
            let state = json!({
                "labels": part("/metadata/labels"),
                "annotations": part("/metadata/annotations"),
                "spec": part("/spec"),
            });
            found.insert(format!("{name} {}", text(&object, "/metadata/name")), state);
        }
    }
    Ok(found)
}

/// Names of what stands differently, or only then or now.
#[must_use]
pub fn changed(then: &Standing, now: &Standing) -> BTreeSet<String> {
    let names = then.keys().chain(now.keys());
    let differs = names.filter(|name| then.get(*name) != now.get(*name));
    differs.cloned().collect()
}

/// What the record itself makes necessary: case, moment, object, and why.
const TOUCHED: [(&str, &str, &str, &str); 1] = [(
    "11-headers-mirror",
    "3-aborted",
    "Service headers-canary",
    "the peer was caught between two of its writes of the selector (COMPAT SE-2): it goes to stable",
)];

/// Objects that have to be written although nothing goes on.
#[must_use]
pub fn touched(case: &str, moment: &str) -> BTreeSet<String> {
    let here = TOUCHED
        .iter()
        .filter(|touched| (touched.0, touched.1) == (case, moment));
    here.map(|touched| touched.2.to_owned()).collect()
}

/// The Rollout still says what the peer said last, and workload and routes stand as then.
///
/// # Errors
/// What has changed.
pub async fn stands(
    space: &Namespace,
    case: &str,
    moment: &str,
    recorded: &Value,
    then: &Standing,
) -> Result<()> {
    let now = standing(space).await?;
    let expected = touched(case, moment);
    let changed = changed(then, &now);
    if let Some(name) = changed.symmetric_difference(&expected).next() {
        let (then, now) = (json!(then.get(name)), json!(now.get(name)));
        bail!("{name} was {then:#} and is {now:#}");
    }
    let name = text(recorded, "/metadata/name");
    let found = space.find(&kind(ARGO, "Rollout"), name).await?;
    let found = found.context("no such Rollout")?;
    for field in [
        "phase",
        "message",
        "currentStepIndex",
        "currentPodHash",
        "stableRS",
        "abort",
    ] {
        let at = format!("/status/{field}");
        let (then, now) = (recorded.pointer(&at), found.pointer(&at));
        ensure!(then == now, "status.{field} was {then:?} and is {now:?}");
    }
    Ok(())
}

/// What a case comes to in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its update is promoted.
    Promoted,
    /// Its image cannot be pulled: it goes back to the first one.
    Reverted,
    /// Its spec is invalid: nothing is done.
    Refused,
}

fn end_of(case: &str) -> End {
    match case {
        "13-bad-image" => End::Reverted,
        "14-invalid" | "15-missing-service" => End::Refused,
        _ => End::Promoted,
    }
}

/// One taken-over Rollout on its way.
struct Way<'a> {
    space: &'a Namespace,
    name: &'a str,
    /// Share of the canary when it was taken over.
    weight: i64,
    /// Shares that the steps name.
    weights: BTreeSet<i64>,
    /// How many steps there are.
    total: i64,
    /// Steps that a user skipped.
    skipped: BTreeSet<i64>,
}

/// From the middle: held steps are promoted one by one, until the update is through.
///
/// # Errors
/// What was done out of order, or not done in time.
pub async fn finish(space: &Namespace, case: &str, name: &str, image: &str) -> Result<()> {
    let of = kind(ARGO, "Rollout");
    let began = space.find(&of, name).await?.context("no such Rollout")?;
    let end = end_of(case);
    if end == End::Refused {
        return Ok(());
    }
    let from = index(&began);
    let steps = began
        .pointer("/spec/strategy/canary/steps")
        .and_then(Value::as_array);
    let total = i64::try_from(steps.map_or(0, Vec::len))?;
    let weights = steps.into_iter().flatten();
    let weights = weights.filter_map(|step| step.get("setWeight")?.as_i64());
    let mut way = Way {
        space,
        name,
        weight: weight(&began),
        weights: weights.collect(),
        total,
        skipped: BTreeSet::new(),
    };
    if end == End::Reverted {
        space.set_image(name, "web:v1").await?;
        return way.healthy("web:v1").await;
    }
    let aborted = began.pointer("/status/abort") == Some(&json!(true));
    if aborted {
        space.command(name, &commands::retry()).await?;
        space.promote(name, true).await?;
        return way.healthy(image).await;
    }
    way.promote().await?;
    way.healthy(image).await?;
    way.each_step_once(from).await
}

/// The status, for messages.
fn status(rollout: &Value) -> String {
    format!("{:#}", json!(rollout.get("status")))
}

fn index(rollout: &Value) -> i64 {
    let index = rollout.pointer("/status/currentStepIndex");
    index.and_then(Value::as_i64).unwrap_or(0)
}

fn weight(rollout: &Value) -> i64 {
    let weight = rollout.pointer("/status/canary/weights/canary/weight");
    weight.and_then(Value::as_i64).unwrap_or(0)
}

impl Way<'_> {
    async fn rollout(&self) -> Result<Value> {
        let found = self.space.find(&kind(ARGO, "Rollout"), self.name).await?;
        found.context("no such Rollout")
    }

    /// Promotes whatever holds the update, until it is complete.
    async fn promote(&mut self) -> Result<()> {
        let deadline = Instant::now() + END;
        let mut promoted = None;
        loop {
            let rollout = self.rollout().await?;
            self.no_jump(&rollout)?;
            let phase = text(&rollout, "/status/phase");
            if is_current(&rollout) && phase == "Healthy" {
                return Ok(());
            }
            ensure!(phase != "Degraded", "degraded: {}", status(&rollout));
            ensure!(Instant::now() < deadline, "stuck: {}", status(&rollout));
            let at = index(&rollout);
            let step = format!("/spec/strategy/canary/steps/{at}");
            let step = rollout.pointer(&step);
            let experiment = step.is_some_and(|step| step.get("experiment").is_some());
            let timed = step
                .and_then(|step| step.pointer("/pause/duration"))
                .is_some();
            let held = phase == "Paused" && !timed || experiment;
            if held && promoted != Some(at) {
                promoted = Some(at);
                if experiment {
                    self.skipped.insert(at + 1);
                }
                self.space.promote(self.name, false).await?;
            }
            sleep(POLL).await;
        }
    }

    /// Shares are those that steps name, and rise until the end.
    fn no_jump(&mut self, rollout: &Value) -> Result<()> {
        let weight = weight(rollout);
        let stable = text(rollout, "/status/stableRS") == text(rollout, "/status/currentPodHash");
        if stable {
            return Ok(());
        }
        // After the last step the rest follows as pods of the new version become available.
        let over = index(rollout) == self.total;
        let known = weight == self.weight || over || self.weights.contains(&weight);
        ensure!(known, "no step names the weight {weight}");
        ensure!(
            weight >= self.weight,
            "weight {} went down to {weight}",
            self.weight
        );
        self.weight = weight;
        Ok(())
    }

    async fn healthy(&self, image: &str) -> Result<()> {
        let rollout = self.space.phase(self.name, "Healthy", END).await?;
        let stable = text(&rollout, "/status/stableRS");
        let sets = self.space.list(&kind("apps/v1", "ReplicaSet")).await?;
        let label = "/metadata/labels/rollouts-pod-template-hash";
        let set = sets.iter().find(|set| text(set, label) == stable);
        let set = set.context("no stable ReplicaSet")?;
        let runs = text(set, "/spec/template/spec/containers/0/image");
        ensure!(runs == image, "{image} is wanted, {runs} runs");
        Ok(())
    }

    /// The controller told of each further step exactly once, in their order.
    async fn each_step_once(&self, from: i64) -> Result<()> {
        let total = self.total;
        let steps = (from + 1..=total).filter(|step| !self.skipped.contains(step));
        let wanted: Vec<String> = steps.map(|step| format!("step {step}/{total}")).collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let told = self.steps_told().await?;
            // Events may come a few seconds later.
            if told == wanted {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "steps {wanted:?} are wanted, told: {told:?}"
            );
            sleep(POLL).await;
        }
    }

    async fn steps_told(&self) -> Result<Vec<String>> {
        let mut told = vec![];
        for event in self.space.list(&kind("v1", "Event")).await? {
            if text(&event, "/reason") != "RolloutStepCompleted" {
                continue;
            }
            let messages: Vec<&str> = text(&event, "/message").split("; ").collect();
            let count = event.pointer("/count").and_then(Value::as_u64);
            ensure!(
                count == u64::try_from(messages.len()).ok(),
                "a step was told twice: {event}"
            );
            for message in messages {
                let mut words = message.split(' ');
                let step = words.nth(2).context("a step without a number")?;
                told.push(format!("step {step}"));
            }
        }
        told.sort();
        Ok(told)
    }
}
