//! A manifest of the peer's record in the hands of our controller, on the simulated cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_controller::Config;
use sluice_controller::clock::TokioClock;
use sluice_core::commands;
use sluice_sim::kubelet::{Behaviour, Fate};
use sluice_sim::{Clock, Cluster, ClusterOptions, ControlPlane, Kubelet, KubeletOptions};

use super::{Deed, MOMENTS};
use crate::scenario::manifest;
use crate::stand::{ARGO, Controller, ISTIO, Namespace, kind, text};
use crate::takeover;

/// What kubectl leaves on what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Kinds that are looked at.
const KINDS: [(&str, &str); 13] = [
    (ARGO, "Rollout"),
    (ARGO, "AnalysisTemplate"),
    (ARGO, "AnalysisRun"),
    (ARGO, "Experiment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "Ingress"),
    (ISTIO, "VirtualService"),
    (ISTIO, "DestinationRule"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
    ("v1", "Event"),
];

/// A simulated cluster with a node, in which a controller can be run.
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace of the case, as its user sees it.
    pub space: Namespace,
    /// Invariants that a plan broke.
    broken: Arc<Mutex<Vec<String>>>,
    clock: TokioClock,
    _parts: (ControlPlane, Box<dyn Send + Sync>),
}

impl Stage {
    /// An empty cluster. Needs a paused current-thread runtime.
    ///
    /// # Errors
    /// When our own definitions cannot be installed.
    pub async fn new(case: &str) -> Result<Self> {
        let started = Timestamp::from_second(1_800_000_000)?;
        let clock = Clock::tokio_at(started);
        let cluster = Cluster::new(ClusterOptions {
            clock: clock.clone(),
            ..ClusterOptions::default()
        });
        let installed = cluster.install_definitions();
        installed.map_err(|error| anyhow!("{error:?}"))?;
        let control = cluster.start();
        let options = KubeletOptions {
            script: Some(Arc::new(command)),
            clock,
            ..KubeletOptions::default()
        };
        let kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
        let space = Namespace::new(cluster.client_as("user"), &format!("p-{case}"));
        space.create().await?;
        Ok(Self {
            cluster,
            space,
            broken: Arc::default(),
            clock: TokioClock::starting_at(started),
            _parts: (control, Box::new(kubelet)),
        })
    }

    /// Starts a controller whose requests carry this user agent.
    pub fn controller(&self, agent: &str) -> Controller {
        let broken = Arc::clone(&self.broken);
        let config = Config {
            clock: Arc::new(self.clock),
            on_plan: Some(Arc::new(move |seen, plan| {
                let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
                let violations = sluice_core::invariants::check(seen, plan);
                broken.extend(violations.iter().map(ToString::to_string));
            })),
            ..Config::default()
        };
        Controller::start(config, self.cluster.client_as(agent))
    }

    /// The time in the cluster.
    pub fn now(&self) -> Timestamp {
        self.cluster.clock().now()
    }

    /// Invariants that plans have broken so far.
    pub fn violations(&self) -> Vec<String> {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Everything in the namespace that the record has too.
    pub fn snapshot(&self) -> Vec<Value> {
        let of = |(version, kind): &(&str, &str)| {
            self.cluster.list(version, kind, self.space.name(), "")
        };
        KINDS.iter().flat_map(of).collect()
    }

    /// Changes the image of the Rollout or of its workload, as `set image NAME *=IMAGE` does.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn set_image(&self, rollout: &str, image: &str) -> Result<()> {
        let of = kind(ARGO, "Rollout");
        let found = self.space.find(&of, rollout).await?;
        let found = found.context("no such Rollout")?;
        let workload = text(&found, "/spec/workloadRef/name");
        if workload.is_empty() {
            return self.space.set_image(rollout, image).await;
        }
        let of = kind("apps/v1", "Deployment");
        let mut found = self.space.find(&of, workload).await?;
        let found = found.as_mut().context("no such workload")?;
        commands::set_image(found, "*", image)?;
        let template = json!({"spec": {"template": found.pointer("/spec/template")}});
        self.space.patch(&of, workload, &template).await
    }
}

/// Commands of the record's Jobs, `sleep N; exit M`, played in virtual time. Whatever they slept, four
/// seconds passed until the peer had their result: so they take that long here, and as many
/// measurements fit between two moments.
fn command(pod: &Value) -> Option<Behaviour> {
    let script = text(pod, "/spec/containers/0/args/0");
    let (sleep, exit) = script.split_once("; exit ")?;
    sleep.strip_prefix("sleep ")?;
    let fate = Fate::Exit(exit.parse().ok()?, Duration::from_millis(3900));
    Some(Behaviour::default().fate(fate))
}

/// Name and image of the Rollout of a record.
///
/// # Errors
/// When it has none.
pub fn rollout(objects: &[Value]) -> Result<(String, String)> {
    let of = |kind: &str| objects.iter().find(|one| text(one, "/kind") == kind);
    let rollout = of("Rollout").context("no Rollout is recorded")?;
    let image = "/spec/template/spec/containers/0/image";
    let from = if text(rollout, image).is_empty() {
        of("Deployment").context("no workload is recorded")?
    } else {
        rollout
    };
    let name = text(rollout, "/metadata/name").to_owned();
    Ok((name, text(from, image).to_owned()))
}

/// Plays a case through all moments; what stood in the cluster at each.
///
/// # Errors
/// What the server refused, an invariant that was broken, or a controller that ended.
pub async fn play(case: &str) -> Result<BTreeMap<&'static str, Vec<Value>>> {
    let stage = Stage::new(case).await?;
    let controller = stage.controller("sluice-controller");
    let mut moments = BTreeMap::new();
    for moment in MOMENTS {
        let recorded = takeover::recorded(case, moment.name)?;
        let (name, image) = rollout(&recorded)?;
        for (deed, wait) in moment.before {
            let done = act(&stage, case, *deed, &name, &image, &recorded).await;
            done.with_context(|| format!("{case}/{}: {deed:?}", moment.name))?;
            tokio::time::sleep(*wait).await;
        }
        moments.insert(moment.name, stage.snapshot());
    }
    controller.stop().await?;
    let broken = stage.violations();
    ensure!(broken.is_empty(), "{case}: {broken:#?}");
    Ok(moments)
}

async fn act(
    stage: &Stage,
    case: &str,
    deed: Deed,
    name: &str,
    image: &str,
    recorded: &[Value],
) -> Result<()> {
    let space = &stage.space;
    match deed {
        Deed::Apply => apply(stage, case, recorded).await,
        Deed::SetImage => stage.set_image(name, image).await,
        Deed::Abort => space.abort(name).await,
        Deed::Retry => space.command(name, &commands::retry()).await,
        Deed::PromoteFull => space.promote(name, true).await,
        Deed::Wait => Ok(()),
    }
}

/// `kubectl apply`: with the annotation that it leaves, taken from the record.
async fn apply(stage: &Stage, case: &str, recorded: &[Value]) -> Result<()> {
    for mut object in manifest::documents(&takeover::manifest(case)?)? {
        let same = |one: &&Value| {
            ["/kind", "/metadata/name"].map(|at| text(one, at))
                == ["/kind", "/metadata/name"].map(|at| text(&object, at))
        };
        let record = recorded.iter().find(same).context("not recorded")?;
        let applied = record
            .pointer("/metadata/annotations")
            .and_then(|all| all.get(LAST_APPLIED));
        let metadata = object
            .pointer_mut("/metadata")
            .and_then(Value::as_object_mut);
        let annotations = metadata
            .context("no metadata")?
            .entry("annotations")
            .or_insert_with(|| json!({}));
        let annotations = annotations.as_object_mut().context("no annotations")?;
        annotations.insert(
            LAST_APPLIED.to_owned(),
            applied.cloned().unwrap_or_default(),
        );
        let of = kind(text(&object, "/apiVersion"), text(&object, "/kind"));
        stage.space.post(&of, object).await?;
    }
    Ok(())
}
