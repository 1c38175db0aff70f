//! The simulated cluster of one update: the objects of the files, the controller, the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde_json::Value;
use sluice_controller::clock::SharedClock;
use sluice_controller::providers::Providers;
use sluice_core::why::{Reason, Why};
use sluice_crds::analysis::Metric;
use sluice_crds::keys;
use sluice_crds::numbers::{as_written, int_or};
use sluice_crds::rollout::{PauseReason, RolloutStatus};
use sluice_sim::{Clock, KubeletOptions, Listener, MetricFault, Metrics, Variable};

use super::fault::Faults;
use super::images::Image;
use super::input::Input;
use super::measure::{Synthetic, formula};
use crate::args::Simulate;
use crate::verbs::set_image;
use crate::world::scene::{Act, Scene};
use crate::world::{Setting, World, new_share};

/// How exact requests are counted.
pub(super) const GRAIN: Duration = Duration::from_millis(50);

/// Something is taken for done once it has been the same for this long.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// The longest time that the first version may take.
const FIRST: Duration = Duration::from_secs(30 * 60);

/// Hash of the version before the update; faults are for all others.
pub(super) type Old = Arc<Mutex<Option<String>>>;

/// When the update began.
type Begun = Arc<Mutex<Option<Timestamp>>>;

/// Everything that is there.
pub(super) struct Stage {
    pub(super) world: World,
    metrics: Metrics,
    pub(super) assumed: Arc<Mutex<BTreeSet<String>>>,
    pub(super) notes: Vec<String>,
    /// Hash of the version of the files, from the update on.
    before: String,
    begun: Begun,
    _prometheus: Listener,
}

/// The controller's clock for providers.
struct Ticking(Clock);

impl sluice_controller::clock::Clock for Ticking {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Stage {
    pub(super) async fn build(
        input: &Input,
        faults: &Faults,
        options: &Simulate,
        old: &Old,
    ) -> Result<Self> {
        let clock = Clock::tokio_at(Timestamp::from_second(1_800_000_000).unwrap_or_default());
        let (behaviour, before) = (faults.behaviour(), Arc::clone(old));
        let node = KubeletOptions {
            node: "simulated-node".to_owned(),
            clock: clock.clone(),
            script: Some(Arc::new(move |pod: &Value| {
                let behaviour = behaviour.as_ref()?;
                let before = before.lock().unwrap_or_else(PoisonError::into_inner);
                let labels = pod.pointer("/metadata/labels")?;
                let hash = labels.get(keys::POD_TEMPLATE_HASH)?.as_str()?;
                let new = before.as_ref().is_some_and(|before| before != hash);
                new.then(|| behaviour.clone())
            })),
            ..KubeletOptions::default()
        };
        let mut world = World::new(Setting {
            clock: clock.clone(),
            seed: options.seed,
            without_kinds: Vec::new(),
            node,
            namespace: input.namespace.clone(),
            rollout: input.name.clone(),
        })?;
        let begun = Begun::default();
        let (metrics, names) = formulas(input, &world, options, Arc::clone(&begun))?;
        let prometheus = metrics
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .context("a port for the synthetic Prometheus")?;
        let shared: SharedClock = Arc::new(Ticking(clock.clone()));
        let providers = Providers::within(world.cluster.client_as("jobs"), shared);
        let down = faults.prometheus_down;
        let address = prometheus.url();
        let measure = Synthetic::new(metrics.clone(), names, address, providers, clock, down);
        let assumed = measure.assumed();
        world.start_controller(Some(Arc::new(measure)));
        Ok(Self {
            world,
            metrics,
            assumed,
            notes: Vec::new(),
            before: String::new(),
            begun,
            _prometheus: prometheus,
        })
    }

    pub(super) fn look(&self, input: &Input) -> Scene {
        Scene::of(
            &self.world,
            &input.name,
            input.host.as_deref(),
            Some(&input.images.first.container),
        )
    }

    /// Brings the version of the files up.
    pub(super) async fn first(&mut self, input: &Input) -> Result<()> {
        for object in &input.objects {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
            let kind = text("/kind").unwrap_or_default();
            let name = text("/metadata/name").unwrap_or_default();
            match self.world.cluster.apply(object) {
                Ok(_) => {}
                // A kind that has no part in an update.
                Err(error) if error.code == 404 => {
                    self.notes.push(format!("{kind} {name} is not simulated"));
                }
                Err(error) => bail!("{kind} {name:?} is refused: {error}"),
            }
        }
        loop {
            tokio::time::sleep(GRAIN).await;
            let scene = self.look(input);
            if scene.act == Act::Rest {
                return Ok(());
            }
            // A Rollout that begins paused is let go.
            if asks(&self.world.waits()).is_some() && promotable(&self.status(input)) {
                self.world.promote().await?;
                tokio::time::sleep(SETTLED).await;
            }
            if self.world.elapsed() > FIRST {
                let waits = self.world.waits();
                let reason = waits.first().map_or(scene.message, |why| {
                    format!("{} waits: {}", why.object, why.message)
                });
                bail!("the version in the files does not become healthy: {reason}");
            }
        }
    }

    /// Begins the update, and what goes wrong with it.
    pub(super) async fn begin(&mut self, input: &Input, faults: &Faults, old: &Old) -> Result<()> {
        let hash = self.status(input).current_pod_hash;
        self.before.clone_from(&hash);
        *old.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash);
        if let Some(rule) = faults.rule() {
            self.world.cluster.faults().add(rule);
        }
        if faults.prometheus_down {
            self.metrics.fault(Some(MetricFault::Status(503)));
        }
        let arguments: Vec<String> = input.images.iter().map(Image::argument).collect();
        set_image::change(&self.world.session, &input.name, &arguments)
            .await
            .map_err(|failure| anyhow!(failure.text().unwrap_or_default()))?;
        self.world.restart_clock();
        let now = self.world.now();
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }

    /// Whether the version that is stable now is another one than before.
    pub(super) fn updated(&self, input: &Input) -> bool {
        let status = self.status(input);
        status.stable_rs == status.current_pod_hash && status.stable_rs != self.before
    }

    /// Whether an analysis runs beside the steps that will come to its end by itself.
    pub(super) fn is_measured(&self, status: &RolloutStatus) -> bool {
        let named = status
            .canary
            .current_background_analysis_run_status
            .as_ref();
        let objects = self.world.objects();
        let run = named.and_then(|named| objects.analysis_runs.get(&named.name));
        run.is_some_and(|run| {
            let over = run
                .status
                .as_ref()
                .is_some_and(|status| status.phase.completed());
            let ends = |metric: &Metric| {
                let count = metric.count.as_ref();
                // An argument is filled in later; whoever writes one means a number.
                let open = count.is_some_and(|count| as_written(count).contains("{{"));
                metric.interval.is_empty() || open || int_or(count, 0) > 0
            };
            !over && run.spec.metrics.iter().all(ends)
        })
    }

    pub(super) fn status(&self, input: &Input) -> RolloutStatus {
        let objects = self.world.objects();
        let rollout = objects.rollouts.get(&input.name);
        rollout
            .and_then(|rollout| rollout.status.clone())
            .unwrap_or_default()
    }
}

/// The formulas that were given, over what the cluster knows.
fn formulas(
    input: &Input,
    world: &World,
    options: &Simulate,
    begun: Begun,
) -> Result<(Metrics, BTreeSet<String>)> {
    let (cluster, name, namespace) = (
        world.cluster.clone(),
        input.name.clone(),
        input.namespace.clone(),
    );
    let host = input.host.clone().unwrap_or_default();
    let variables = move |at: Timestamp| {
        let weight = new_share(&cluster, &namespace, &name, &host) * 100.0;
        let begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
        let since = begun.map_or(0.0, |begun| at.duration_since(begun).as_secs_f64());
        BTreeMap::from([
            ("weight".to_owned(), Variable::Number(weight)),
            ("time".to_owned(), Variable::Number(since)),
        ])
    };
    let metrics = Metrics::new(world.cluster.clock().clone(), Arc::new(variables));
    let mut names = BTreeSet::new();
    for written in &options.metric {
        let (name, text) = formula(written)?;
        let asked = asked(input);
        // Formulas are written with `_`, metrics are often named with `-`.
        let alike = |text: &&String| text.replace('-', "_") == name;
        let name = asked.iter().find(alike).map_or(name, String::as_str);
        metrics
            .set(name, text)
            .map_err(|error| anyhow!("--metric: {error}"))?;
        if !asked.iter().any(|text| text.contains(name)) {
            let metrics: Vec<&str> = asked
                .iter()
                .filter(|text| !text.contains(' '))
                .map(String::as_str)
                .collect();
            let there = if metrics.is_empty() {
                "the files have no metrics".to_owned()
            } else {
                format!("there are {}", metrics.join(", "))
            };
            bail!("--metric {name}: no metric is called so, and no query names it; {there}");
        }
        metrics
            .value(name, world.now())
            .map_err(|error| anyhow!("--metric: {error} (it may use weight and time)"))?;
        names.insert(name.to_owned());
    }
    Ok((metrics, names))
}

/// Names and queries of the metrics in the files.
fn asked(input: &Input) -> Vec<String> {
    let specs = input
        .objects
        .iter()
        .filter_map(|object| object.pointer("/spec/metrics"));
    let metrics = specs.filter_map(Value::as_array).flatten();
    let texts = metrics.flat_map(|metric| {
        let query = metric.pointer("/provider/prometheus/query");
        [metric.get("name"), query]
    });
    let texts = texts.flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The reason that asks for a person, if there is one.
pub(super) fn asks(waits: &[Why]) -> Option<&Why> {
    waits
        .iter()
        .find(|why| matches!(why.reason, Reason::NeedsPromotion | Reason::ManuallyPaused))
}

/// Whether `promote` is what a person would do: not after an inconclusive analysis.
pub(super) fn promotable(status: &RolloutStatus) -> bool {
    !status.pause_conditions.iter().any(|pause| {
        matches!(
            pause.reason,
            PauseReason::InconclusiveAnalysisRun | PauseReason::InconclusiveExperiment
        )
    })
}
