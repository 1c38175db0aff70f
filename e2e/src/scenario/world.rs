//! Where a scenario is played: a cluster, its node, and a controller that can be killed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use kube::Client;
use sluice_controller::clock::{SharedClock, SystemClock, TokioClock};
use sluice_controller::{Config, run};
use sluice_core::observed::Observed;
use sluice_core::plan::Plan;
use sluice_sim::kubelet::{Behaviour, Fate, PodRule as KubeletRule};
use sluice_sim::traffic::Traffic;
use sluice_sim::{
    Clock, Cluster, ClusterOptions, ControlPlane, Effect, Kubelet, KubeletOptions, Rule, When,
};
use tokio::task::JoinHandle;

use super::format::{Fault, PodRule, Ring, seconds};
use super::manifest;
use super::state::text;
use super::tripwire::Tripwire;

/// User agent of the controller under test.
pub const CONTROLLER: &str = "rollouts-controller";

/// A cluster with a controller.
pub struct World {
    /// Which ring this is.
    pub ring: Ring,
    /// The user's client.
    pub client: Client,
    /// Where everything happens.
    pub namespace: String,
    controller_client: Client,
    clock: SharedClock,
    cluster: Option<Cluster>,
    wire: Tripwire,
    controller: Option<JoinHandle<()>>,
    past_writes: u64,
    broken: Arc<Mutex<Vec<String>>>,
    _parts: Vec<Box<dyn Send + Sync>>,
}

impl World {
    /// A simulated cluster. Needs a paused current-thread runtime, so that hours pass at once.
    ///
    /// # Errors
    /// When our own definitions cannot be installed.
    pub fn simulated(seed: u64, pods: &[PodRule]) -> Result<Self> {
        let started = Timestamp::from_second(1_800_000_000).unwrap_or_default();
        let clock = Clock::tokio_at(started);
        let cluster = Cluster::new(ClusterOptions {
            seed,
            clock: clock.clone(),
            ..ClusterOptions::default()
        });
        cluster
            .install_definitions()
            .map_err(|error| anyhow!("{error:?}"))?;
        let control: ControlPlane = cluster.start();
        let options = KubeletOptions {
            rules: kubelet_rules(pods),
            run_commands: true,
            clock: clock.clone(),
            ..KubeletOptions::default()
        };
        let kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
        let mut world = Self {
            ring: Ring::Sim,
            client: cluster.client_as("user"),
            namespace: "default".into(),
            controller_client: cluster.client_as(CONTROLLER),
            clock: Arc::new(TokioClock::starting_at(started)),
            cluster: None,
            wire: Tripwire::default(),
            controller: None,
            past_writes: 0,
            broken: Arc::default(),
            _parts: vec![Box::new(control), Box::new(kubelet)],
        };
        world.watch_traffic(cluster.clone());
        world.cluster = Some(cluster);
        Ok(world)
    }

    /// A namespace of a real control plane; its node is the caller's.
    #[must_use]
    pub fn real(user: Client, controller: Client, namespace: &str) -> Self {
        Self {
            ring: Ring::Real,
            client: user,
            namespace: namespace.into(),
            controller_client: controller,
            clock: Arc::new(SystemClock),
            cluster: None,
            wire: Tripwire::default(),
            controller: None,
            past_writes: 0,
            broken: Arc::default(),
            _parts: Vec::new(),
        }
    }

    /// Independent of what the controller believes: requests must never be sent where nobody
    /// answers (INV-1).
    fn watch_traffic(&mut self, cluster: Cluster) {
        let broken = Arc::clone(&self.broken);
        tokio::spawn(async move {
            let mut seen = 0;
            // Before the first pods are ready nobody can answer: a route counts from when it served.
            let mut served = BTreeSet::new();
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let revision = cluster.revision();
                if revision == seen {
                    continue;
                }
                seen = revision;
                let traffic = Traffic::of(&cluster);
                let outages = traffic.outages();
                let out: BTreeSet<&String> = outages.iter().map(|outage| &outage.route).collect();
                for route in routes(&cluster) {
                    if !out.contains(&route) {
                        served.insert(route);
                    }
                }
                for outage in &outages {
                    if !served.contains(&outage.route) {
                        continue;
                    }
                    note(
                        &broken,
                        format!(
                            "INV-1: {} sends {:.0} % to {}, where nobody answers",
                            outage.route,
                            outage.share * 100.0,
                            outage.destination
                        ),
                    );
                }
            }
        });
    }

    /// Starts a controller. Its predecessor must have been stopped.
    ///
    /// # Errors
    /// When one is running.
    pub fn start_controller(&mut self) -> Result<()> {
        anyhow::ensure!(self.controller.is_none(), "the controller runs already");
        self.wire = Tripwire::default();
        let client = self
            .wire
            .client(self.controller_client.clone(), &self.namespace);
        let broken = Arc::clone(&self.broken);
        let config = Config {
            clock: Arc::clone(&self.clock),
            namespace: (self.ring == Ring::Real).then(|| self.namespace.clone()),
            on_plan: Some(Arc::new(move |seen: &Observed, plan: &Plan| {
                for violation in sluice_core::invariants::check(seen, plan) {
                    note(&broken, violation.to_string());
                }
            })),
            ..Config::default()
        };
        self.controller = Some(tokio::spawn(async move {
            if let Err(error) = run(config, client, std::future::pending()).await {
                tracing::error!(%error, "the controller ended");
            }
        }));
        Ok(())
    }

    /// Stops it dead: nothing that it has begun is finished.
    pub fn kill_controller(&mut self) {
        self.wire.cut();
        if let Some(task) = self.controller.take() {
            task.abort();
        }
        self.past_writes += self.wire.writes();
    }

    /// Stops it dead and starts another.
    ///
    /// # Errors
    /// As [`World::start_controller`].
    pub fn restart_controller(&mut self) -> Result<()> {
        self.kill_controller();
        self.start_controller()
    }

    /// Starts another controller if the present one has met its crash point.
    ///
    /// # Errors
    /// As [`World::start_controller`].
    pub fn revive(&mut self) -> Result<()> {
        if self.wire.is_cut() {
            self.restart_controller()
        } else {
            Ok(())
        }
    }

    /// The controller dies right after its n-th write from now.
    pub fn crash_after(&mut self, writes: u64) {
        self.wire.arm(writes);
    }

    /// Creates or changes the objects of a text.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn apply(&self, documents: &str) -> Result<()> {
        manifest::apply(&self.client, &self.namespace, documents).await
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// When a controller that died cannot be started anew.
    pub async fn pass(&mut self, time: Duration) -> Result<()> {
        tokio::time::sleep(time).await;
        self.revive()
    }

    /// The time now, as the controller sees it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long an `until` may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self.ring {
            Ring::Pure | Ring::Sim => Duration::from_secs(15 * 60),
            Ring::Real => Duration::from_secs(90),
        }
    }

    /// How often an `until` looks.
    #[must_use]
    pub fn poll(&self) -> Duration {
        Duration::from_millis(100)
    }

    /// Objects that controllers have written so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.past_writes + self.wire.writes()
    }

    /// What the present controller has asked, for messages.
    #[must_use]
    pub fn requests(&self) -> std::collections::BTreeMap<String, u64> {
        self.wire.requests()
    }

    /// From now on the API server does this to the controller.
    ///
    /// # Errors
    /// When this is not the simulation.
    pub fn fault(&self, fault: &Fault) -> Result<()> {
        let cluster = self
            .cluster
            .as_ref()
            .ok_or_else(|| anyhow!("faults need the simulated cluster"))?;
        let add = |share: f64, effect: Effect| {
            if share > 0.0 {
                cluster
                    .faults()
                    .add(Rule::new(When::Chance(share), effect).user_agent(CONTROLLER));
            }
        };
        add(fault.conflict, Effect::Conflict);
        add(fault.error, Effect::InternalError);
        add(fault.throttle, Effect::TooManyRequests(1));
        add(fault.lost_answer, Effect::LoseAnswer);
        if let Some(delay) = &fault.watch_delay {
            let delay = Duration::from_secs(u64::try_from(seconds(delay)?).context("watch-delay")?);
            add(1.0, Effect::DelayWatch(delay));
        }
        Ok(())
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.faults().clear();
        }
    }

    /// Invariants that broke since the last call.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        std::mem::take(&mut self.broken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_controller();
    }
}

/// Routes, named as outages name them.
fn routes(cluster: &Cluster) -> Vec<String> {
    let kinds = [
        ("networking.istio.io/v1", "VirtualService"),
        ("networking.k8s.io/v1", "Ingress"),
    ];
    let all = kinds
        .iter()
        .flat_map(|(version, kind)| cluster.list(version, kind, "", ""));
    all.map(|one| {
        let at = |pointer| text(&one, pointer);
        format!(
            "{} {}/{}",
            at("/kind"),
            at("/metadata/namespace"),
            at("/metadata/name")
        )
    })
    .collect()
}

fn note(broken: &Mutex<Vec<String>>, text: String) {
    let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
    // One is enough to fail; a thousand would only hide the first.
    if broken.len() < 20 && !broken.contains(&text) {
        broken.push(text);
    }
}

/// The node's rules for a scenario's pods.
#[must_use]
pub fn kubelet_rules(pods: &[PodRule]) -> Vec<KubeletRule> {
    let time = |text: &Option<String>| {
        text.as_ref()
            .and_then(|text| seconds(text).ok())
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs)
    };
    pods.iter()
        .map(|rule| {
            let mut behaviour =
                time(&rule.ready_after).map_or_else(Behaviour::default, Behaviour::ready_after);
            if rule.never_ready {
                behaviour = behaviour.fate(Fate::NeverReady);
            }
            if let Some(after) = time(&rule.crash_after) {
                behaviour = behaviour.fate(Fate::CrashAfter(after));
            }
            KubeletRule::image(&rule.image, behaviour)
        })
        .collect()
}
