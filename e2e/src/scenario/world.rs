//! Where a scenario is played: a cluster, its node, and a controller that can be killed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use sluice_controller::clock::{Clock as _, SharedClock, SystemClock, TokioClock};
use sluice_controller::http::HttpSettings;
use sluice_controller::lease::LeaseSettings;
use sluice_controller::{Config, run};
use sluice_core::observed::Observed;
use sluice_core::plan::Plan;
use sluice_sim::{Clock, Cluster, ClusterOptions, ControlPlane, Kubelet, KubeletOptions};
use tokio::task::JoinHandle;

use super::clock::Shifted;
use super::format::{Fault, PodRule, Ring, Scenario};
use super::manifest;
use super::observer::Observer;
use super::prometheus::Prometheus;
use super::tripwire::Tripwire;
use super::verification::DataPlane;

mod faults;
mod pods;

pub use pods::Scripts;

/// User agent of the controller under test; several are told apart by a letter after it.
pub const CONTROLLER: &str = "rollouts-controller";

/// One process of the controller.
struct Process {
    client: Client,
    wire: Tripwire,
    task: Option<JoinHandle<()>>,
}

/// A cluster with a controller.
pub struct World {
    /// Which ring this is.
    pub ring: Ring,
    /// The user's client.
    pub client: Client,
    /// Where everything happens.
    pub namespace: String,
    clock: Arc<Shifted>,
    cluster: Option<Cluster>,
    processes: Vec<Process>,
    /// Whether they elect one that works.
    elect: bool,
    /// Whether the controller is meant to run.
    running: bool,
    past_writes: u64,
    broken: Arc<Mutex<Vec<String>>>,
    data_plane: DataPlane,
    client_rate: Option<f32>,
    prometheus: Option<Prometheus>,
    pods: Scripts,
    observer: Option<Observer>,
    _parts: Vec<Box<dyn Send + Sync>>,
}

impl World {
    /// A simulated cluster. Needs a paused current-thread runtime, so that hours pass at once.
    ///
    /// # Errors
    /// When our own definitions cannot be installed.
    pub async fn simulated(seed: u64, scenario: &Scenario) -> Result<Self> {
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
        let pods = Scripts::default();
        let options = KubeletOptions {
            script: Some(pods.script()),
            run_commands: true,
            clock: clock.clone(),
            ..KubeletOptions::default()
        };
        let kubelet = Kubelet::new(cluster.client_as("kubelet"), options).start();
        let clients = match scenario.controllers {
            None => vec![cluster.client_as(CONTROLLER)],
            Some(count) => ('a'..='z')
                .take(usize::from(count))
                .map(|letter| cluster.client_as(&format!("{CONTROLLER}-{letter}")))
                .collect(),
        };
        let mut world = Self::of(
            Ring::Sim,
            cluster.client_as("user"),
            "default",
            clients,
            Arc::new(TokioClock::starting_at(started)),
            pods,
        );
        world._parts = vec![Box::new(control), Box::new(kubelet)];
        world.observer = Some(Observer::start(
            cluster.client_as("observer"),
            "default",
            &scenario.data_plane,
        )?);
        world.cluster = Some(cluster);
        world.set_up(scenario).await?;
        Ok(world)
    }

    /// A namespace of a real control plane; its node is the caller's, and asks `pods`.
    ///
    /// # Errors
    /// When no port is left for the synthetic Prometheus.
    pub async fn real(
        user: Client,
        controller: Client,
        namespace: &str,
        pods: Scripts,
        scenario: &Scenario,
    ) -> Result<Self> {
        let clients = vec![controller];
        let clock = Arc::new(SystemClock);
        let observer = Observer::start(user.clone(), namespace, &scenario.data_plane)?;
        let mut world = Self::of(Ring::Real, user, namespace, clients, clock, pods);
        world.observer = Some(observer);
        world.set_up(scenario).await?;
        Ok(world)
    }

    fn of(
        ring: Ring,
        client: Client,
        namespace: &str,
        controllers: Vec<Client>,
        clock: SharedClock,
        pods: Scripts,
    ) -> Self {
        let processes = controllers
            .into_iter()
            .map(|client| Process {
                client,
                wire: Tripwire::default(),
                task: None,
            })
            .collect();
        Self {
            ring,
            client,
            namespace: namespace.into(),
            clock: Arc::new(Shifted::new(clock)),
            cluster: None,
            processes,
            elect: false,
            running: false,
            past_writes: 0,
            broken: Arc::default(),
            data_plane: DataPlane::default(),
            client_rate: None,
            prometheus: None,
            pods,
            observer: None,
            _parts: Vec::new(),
        }
    }

    async fn set_up(&mut self, scenario: &Scenario) -> Result<()> {
        self.elect = scenario.controllers.is_some();
        self.pods.set(&self.namespace, &scenario.pods);
        let moved = self.observer.as_ref().map(Observer::moved);
        self.data_plane = DataPlane::new(&scenario.data_plane, moved.unwrap_or_default())?;
        self.client_rate = scenario.client_rate;
        if !scenario.metrics.is_empty() {
            let prometheus =
                Prometheus::start(&scenario.metrics, self.client.clone(), &self.namespace).await?;
            self.prometheus = Some(prometheus);
        }
        Ok(())
    }

    /// A text of manifests with what only this world knows filled in.
    #[must_use]
    pub fn fill_in(&self, documents: &str) -> String {
        match &self.prometheus {
            Some(prometheus) => documents.replace("$PROMETHEUS", prometheus.url()),
            None => documents.to_owned(),
        }
    }

    /// Starts the controllers. Their predecessors must have been stopped.
    ///
    /// # Errors
    /// When one is running.
    pub fn start_controller(&mut self) -> Result<()> {
        for index in 0..self.processes.len() {
            self.start_process(index)?;
        }
        self.running = true;
        Ok(())
    }

    fn start_process(&mut self, index: usize) -> Result<()> {
        let broken = Arc::clone(&self.broken);
        let mut config = Config {
            clock: Arc::clone(&self.clock) as SharedClock,
            namespace: (self.ring == Ring::Real).then(|| self.namespace.clone()),
            verify: self.data_plane.listener(),
            http: HttpSettings {
                rate: self.client_rate.map(|rate| (rate, 1)),
                ..HttpSettings::default()
            },
            on_plan: Some(Arc::new(move |seen: &Observed, plan: &Plan| {
                for violation in sluice_core::invariants::check(seen, plan) {
                    note(&broken, violation.to_string());
                }
            })),
            ..Config::default()
        };
        let process = self
            .processes
            .get_mut(index)
            .ok_or_else(|| anyhow!("there is no controller {index}"))?;
        anyhow::ensure!(process.task.is_none(), "the controller runs already");
        process.wire = Tripwire::default();
        let client = || process.wire.client(process.client.clone(), &self.namespace);
        if self.elect {
            config.lease = Some(LeaseSettings::new(&self.namespace, ""));
            config.lease_client = Some(client());
        }
        let client = client();
        process.task = Some(tokio::spawn(async move {
            if let Err(error) = run(config, client, std::future::pending()).await {
                tracing::error!(%error, "the controller ended");
            }
        }));
        Ok(())
    }

    fn kill_process(&mut self, index: usize) {
        if let Some(process) = self.processes.get_mut(index) {
            process.wire.cut();
            if let Some(task) = process.task.take() {
                task.abort();
            }
            self.past_writes += process.wire.writes();
            process.wire = Tripwire::default();
        }
    }

    /// Stops the controllers dead: nothing that they have begun is finished.
    pub fn kill_controller(&mut self) {
        for index in 0..self.processes.len() {
            self.kill_process(index);
        }
        self.running = false;
    }

    /// Stops them dead and starts others.
    ///
    /// # Errors
    /// As [`World::start_controller`].
    pub fn restart_controller(&mut self) -> Result<()> {
        self.kill_controller();
        self.start_controller()
    }

    /// Starts a process anew that has met its crash point, or that has ended because it lost its
    /// lease.
    ///
    /// # Errors
    /// As [`World::start_controller`].
    pub fn revive(&mut self) -> Result<()> {
        if !self.running {
            return Ok(());
        }
        let dead: Vec<usize> = self
            .processes
            .iter()
            .enumerate()
            .filter(|(_, one)| {
                one.wire.is_cut() || one.task.as_ref().is_some_and(JoinHandle::is_finished)
            })
            .map(|(index, _)| index)
            .collect();
        for index in dead {
            self.kill_process(index);
            for process in &self.processes {
                process.wire.disarm();
            }
            self.start_process(index)?;
        }
        Ok(())
    }

    /// Whichever controller works dies right after its n-th write from now.
    pub fn crash_after(&self, writes: u64) {
        for process in &self.processes {
            process.wire.arm(writes);
        }
    }

    /// The answer to the n-th write from now is held back.
    pub fn hold_after(&self, writes: u64) {
        for process in &self.processes {
            process.wire.hold_after(writes);
        }
    }

    /// Whether an answer is being held back.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.processes.iter().any(|one| one.wire.holds())
    }

    /// Lets it go.
    pub fn release(&self) {
        for process in &self.processes {
            process.wire.release();
        }
    }

    /// Creates or changes the objects of a text.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn apply(&self, documents: &str) -> Result<()> {
        manifest::apply(&self.client, &self.namespace, &self.fill_in(documents)).await
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

    /// The controllers' clock jumps.
    pub fn jump(&self, by: SignedDuration) {
        self.clock.jump(by);
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

    /// A number that changes with every change in the cluster, where that is known.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.cluster.as_ref().map(Cluster::revision)
    }

    /// Objects that controllers have written so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        let now: u64 = self.processes.iter().map(|one| one.wire.writes()).sum();
        self.past_writes + now
    }

    /// What the present controllers have asked, for messages.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (what, count) in self.processes.iter().flat_map(|one| one.wire.requests()) {
            *all.entry(what).or_default() += count;
        }
        all
    }

    /// How pods that start from now on behave.
    pub fn set_pods(&self, rules: &[PodRule]) {
        self.pods.set(&self.namespace, rules);
    }

    /// From now on this goes wrong.
    ///
    /// # Errors
    /// When this is not the simulation and the API server is to fail, or there is no Prometheus.
    pub fn fault(&self, fault: &Fault) -> Result<()> {
        if let Some(verdict) = fault.verification {
            self.data_plane.say(Some(verdict));
        }
        if let Some(metrics) = fault.metrics {
            let prometheus = self.prometheus.as_ref();
            prometheus
                .context("there is no Prometheus")?
                .fault(Some(metrics));
        }
        if fault.spares_the_api() {
            return Ok(());
        }
        let cluster = self.cluster.as_ref();
        faults::add(cluster.context("faults need the simulated cluster")?, fault)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.data_plane.say(None);
        if let Some(prometheus) = &self.prometheus {
            prometheus.fault(None);
        }
        if let Some(cluster) = &self.cluster {
            cluster.faults().clear();
        }
    }

    /// Pods that vanish, or are deleted by others than the controller, break nothing.
    pub fn excuse(&self, pods: &[String]) {
        if let Some(observer) = &self.observer {
            observer.excuse(pods);
        }
    }

    /// Invariants that broke since the last call, as far as everything that has happened is known.
    pub async fn violations(&mut self) -> Vec<String> {
        let mut found =
            std::mem::take(&mut *self.broken.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(observer) = &mut self.observer {
            found.extend(observer.violations().await);
        }
        if let Some(cluster) = self.cluster.as_ref().filter(|_| self.elect) {
            found.extend(faults::two_writers(&cluster.requests().entries()));
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_controller();
    }
}

fn note(broken: &Mutex<Vec<String>>, text: String) {
    let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
    // One is enough to fail; a thousand would only hide the first.
    if broken.len() < 20 && !broken.contains(&text) {
        broken.push(text);
    }
}
