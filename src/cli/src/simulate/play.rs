//! The update as it happens: looked at every 50 ms of simulated time, told whenever something
//! changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde_json::Value;
use sluice_controller::clock::SharedClock;
use sluice_controller::providers::Providers;
use sluice_core::view::Health;
use sluice_core::why::{Reason, Why};
use sluice_crds::duration::GoDuration;
use sluice_crds::keys;
use sluice_crds::rollout::{PauseReason, RolloutPhase, RolloutStatus};
use sluice_sim::ids::Random;
use sluice_sim::{Clock, KubeletOptions, Listener, MetricFault, Metrics, Variable};

use super::fault::Faults;
use super::input::Input;
use super::measure::{Synthetic, formula};
use super::report::{Entry, Outcome, Report, Requests, Waits};
use crate::args::Simulate;
use crate::verbs::set_image;
use crate::world::changes::{Change, changes};
use crate::world::scene::{Act, Scene};
use crate::world::{Setting, World, new_share};

/// How exact requests are counted.
const GRAIN: Duration = Duration::from_millis(50);

/// Pods and requests are told once they have been the same for this long.
const SETTLED: Duration = Duration::from_secs(1);

/// Requests in a simulated second.
const PER_SECOND: u32 = 100;

/// The longest time that the first version may take.
const FIRST: Duration = Duration::from_secs(30 * 60);

/// The time that an aborted or promoted update is watched on.
const AFTER: Duration = Duration::from_secs(60);

/// A Rollout that has been degraded for this long will not recover.
const DEGRADED: Duration = Duration::from_secs(30 * 60);

/// Between a pause that asks for a person and the promotion.
const THINKING: Duration = Duration::from_secs(1);

/// Plays the update.
///
/// # Errors
/// When the first version cannot be brought up, or an option makes no sense.
pub(super) async fn play(input: Input, faults: &Faults, options: &Simulate) -> Result<Report> {
    let until: GoDuration = options
        .until
        .parse()
        .map_err(|error| anyhow!("--until: {error}"))?;
    let until = Duration::try_from(until.signed()).context("--until")?;
    let old = Old::default();
    let mut stage = Stage::build(&input, faults, options, &old).await?;
    stage.first(&input).await?;
    stage.begin(&input, faults, &old).await?;
    let mut teller = Teller::new(&stage, &input);
    for fault in &faults.written {
        teller.tell("fault", fault.clone());
    }
    let end = teller.watch(&stage, &input, faults, options, until).await?;
    let report = teller.report(&stage, input, end);
    stage.world.close().await;
    Ok(report)
}

/// Hash of the version before the update; faults are for all others.
type Old = Arc<Mutex<Option<String>>>;

/// When the update began.
type Begun = Arc<Mutex<Option<Timestamp>>>;

/// Everything that is there.
struct Stage {
    world: World,
    metrics: Metrics,
    assumed: Arc<Mutex<BTreeSet<String>>>,
    notes: Vec<String>,
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
    async fn build(input: &Input, faults: &Faults, options: &Simulate, old: &Old) -> Result<Self> {
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

    fn look(&self, input: &Input) -> Scene {
        Scene::of(&self.world, &input.name, input.host.as_deref())
    }

    /// Brings the version of the files up.
    async fn first(&mut self, input: &Input) -> Result<()> {
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
    async fn begin(&mut self, input: &Input, faults: &Faults, old: &Old) -> Result<()> {
        let hash = self.status(input).current_pod_hash;
        self.before.clone_from(&hash);
        *old.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash);
        if let Some(rule) = faults.rule() {
            self.world.cluster.faults().add(rule);
        }
        if faults.prometheus_down {
            self.metrics.fault(Some(MetricFault::Status(503)));
        }
        let argument = format!("{}={}", input.container, input.image);
        set_image::change(&self.world.session, &input.name, &argument)
            .await
            .map_err(|failure| anyhow!(failure.text().unwrap_or_default()))?;
        self.world.restart_clock();
        let now = self.world.now();
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }

    /// Whether the version that is stable now is another one than before.
    fn updated(&self, input: &Input) -> bool {
        let status = self.status(input);
        status.stable_rs == status.current_pod_hash && status.stable_rs != self.before
    }

    fn status(&self, input: &Input) -> RolloutStatus {
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
fn asks(waits: &[Why]) -> Option<&Why> {
    waits
        .iter()
        .find(|why| matches!(why.reason, Reason::NeedsPromotion | Reason::ManuallyPaused))
}

/// Whether `promote` is what a person would do: not after an inconclusive analysis.
fn promotable(status: &RolloutStatus) -> bool {
    !status.pause_conditions.iter().any(|pause| {
        matches!(
            pause.reason,
            PauseReason::InconclusiveAnalysisRun | PauseReason::InconclusiveExperiment
        )
    })
}

/// How it ended, and why.
struct End {
    outcome: Outcome,
    why: String,
    /// When, since the update.
    at: Duration,
}

/// Notes what happens.
struct Teller {
    entries: Vec<Entry>,
    /// The last look of all, for steps, measurements and phases.
    last: Scene,
    /// The last look that was told of, for pods and requests.
    told: Scene,
    /// Since when pods and requests are as they are.
    settled: Duration,
    word: String,
    noted: BTreeSet<String>,
    /// Where in `entries` something was told since the last step.
    recent: BTreeMap<(&'static str, String), usize>,
    /// When it became healthy last.
    healthy: Duration,
    now: Duration,
    lost: f64,
    unanswered: f64,
    worst: (f64, Option<Duration>),
}

impl Teller {
    fn new(stage: &Stage, input: &Input) -> Self {
        let scene = stage.look(input);
        let mut teller = Self {
            entries: Vec::new(),
            word: scene.health.word.clone(),
            last: scene.clone(),
            told: scene,
            settled: Duration::ZERO,
            noted: BTreeSet::new(),
            recent: BTreeMap::new(),
            healthy: Duration::ZERO,
            now: Duration::ZERO,
            lost: 0.0,
            unanswered: 0.0,
            worst: (0.0, None),
        };
        // Events of the first version are old news.
        teller.events(stage, input);
        teller.entries.clear();
        teller.recent.clear();
        teller.tell("update", format!("{}={}", input.container, input.image));
        teller
    }

    fn tell(&mut self, kind: &'static str, text: String) {
        self.tell_at(self.now, kind, text);
    }

    /// What comes again before anything decisive happened is only counted: pods that crash and
    /// come back, measurements that are all alike.
    fn tell_at(&mut self, at: Duration, kind: &'static str, text: String) {
        let at = at.as_secs_f64();
        if matches!(kind, "step" | "command" | "wait") {
            self.recent.clear();
        }
        let again = self.recent.get(&(kind, text.clone())).copied();
        if let Some(entry) = again.and_then(|index| self.entries.get_mut(index)) {
            entry.times += 1;
            entry.until = Some(at);
            return;
        }
        self.recent.insert((kind, text.clone()), self.entries.len());
        self.entries.push(Entry {
            at,
            kind,
            text,
            times: 1,
            until: None,
        });
    }

    /// Once only.
    fn note(&mut self, kind: &'static str, text: String) {
        if self.noted.insert(format!("{kind} {text}")) {
            self.tell(kind, text);
        }
    }

    async fn watch(
        &mut self,
        stage: &Stage,
        input: &Input,
        faults: &Faults,
        options: &Simulate,
        until: Duration,
    ) -> Result<End> {
        let mut seen = 0;
        let mut dice = Random::new(options.seed);
        let mut next_kill = faults.pod_kill;
        let mut degraded: Option<Duration> = None;
        let mut ended: Option<(Duration, End)> = None;
        loop {
            tokio::time::sleep(GRAIN).await;
            let before = std::mem::replace(&mut self.now, stage.world.elapsed());
            let passed = self.now.saturating_sub(before).as_secs_f64();
            self.unanswered += self.lost * passed * f64::from(PER_SECOND);
            anyhow::ensure!(!stage.world.deserted(), "the controller has ended");
            if let (Some(at), Some(every)) = (next_kill, faults.pod_kill)
                && self.now >= at
                && ended.is_none()
            {
                next_kill = Some(at + every);
                self.kill(stage, &mut dice);
            }
            let revision = stage.world.revision();
            if revision != seen {
                seen = revision;
                self.look(stage, input);
            } else if self.now.saturating_sub(self.settled) >= SETTLED {
                self.settle();
            }
            let status = || stage.status(input);
            if let Some((at, _)) = &ended {
                if self.now >= *at {
                    break;
                }
                continue;
            }
            match self.last.act {
                Act::Rest if stage.updated(input) => {
                    let why = format!("{} serves all requests", input.image);
                    ended = Some((
                        self.now + SETTLED,
                        End {
                            outcome: Outcome::Promoted,
                            why,
                            at: self.healthy,
                        },
                    ));
                    continue;
                }
                Act::Aborted => {
                    let why = cause(&self.last.message);
                    ended = Some((
                        self.now + AFTER,
                        End {
                            outcome: Outcome::Aborted,
                            why,
                            at: self.now,
                        },
                    ));
                    continue;
                }
                Act::Rest | Act::Moving | Act::Asking => {}
            }
            if self.last.health.word == RolloutPhase::Degraded.as_str() {
                let since = *degraded.get_or_insert(self.now);
                if self.now.saturating_sub(since) > DEGRADED {
                    let why = cause(&self.last.message);
                    return Ok(End {
                        outcome: Outcome::Degraded,
                        why,
                        at: since,
                    });
                }
            } else {
                degraded = None;
            }
            if let Some(end) = self.asked(stage, &status, options).await? {
                return Ok(end);
            }
            if self.now >= until {
                let outcome = if degraded.is_some() {
                    Outcome::Degraded
                } else {
                    Outcome::Waiting
                };
                let why = stage.world.waits().first().map_or_else(
                    || self.last.message.clone(),
                    |why| format!("{} {}", why.object, why.message),
                );
                return Ok(End {
                    outcome,
                    why,
                    at: degraded.unwrap_or(self.now),
                });
            }
        }
        self.settle();
        ended.map(|(_, end)| end).context("it has no end")
    }

    /// Promotes where a person would, or ends there.
    async fn asked(
        &mut self,
        stage: &Stage,
        status: &impl Fn() -> RolloutStatus,
        options: &Simulate,
    ) -> Result<Option<End>> {
        let waits = stage.world.waits();
        let unsupported = waits.iter().find(|why| why.reason == Reason::NotSupported);
        if let Some(why) = unsupported {
            return Ok(Some(End {
                outcome: Outcome::Waiting,
                why: why.message.clone(),
                at: self.now,
            }));
        }
        let paused = self.last.health.word == RolloutPhase::Paused.as_str();
        let Some(why) = asks(&waits).filter(|_| paused) else {
            return Ok(None);
        };
        let message = why.message.clone();
        if !promotable(&status()) || options.no_promote {
            self.settle();
            let why = format!("{}: {message}", why.object);
            return Ok(Some(End {
                outcome: Outcome::Waiting,
                why,
                at: self.now,
            }));
        }
        self.settle();
        self.tell("wait", format!("would wait here for `promote`: {message}"));
        tokio::time::sleep(THINKING).await;
        self.now = stage.world.elapsed();
        self.tell("command", "promote".to_owned());
        stage.world.promote().await?;
        // The controller takes it up within the next moments.
        for _ in 0..100 {
            tokio::time::sleep(GRAIN).await;
            if asks(&stage.world.waits()).is_none() {
                break;
            }
        }
        Ok(None)
    }

    fn look(&mut self, stage: &Stage, input: &Input) {
        let scene = stage.look(input);
        self.lost = scene.lost;
        if scene.lost > self.worst.0 {
            self.worst = (scene.lost, Some(self.now));
        }
        let fine = changes(&self.last, &scene);
        self.steps(&scene);
        for Change { kind, text } in fine {
            match kind {
                "measured" | "analysis" => self.tell(kind, text),
                _ => {}
            }
        }
        self.events(stage, input);
        self.pods(stage);
        let Health { word, .. } = &scene.health;
        if !word.is_empty() && *word != self.word {
            self.word.clone_from(word);
            if *word == RolloutPhase::Healthy.as_str() {
                self.healthy = self.now;
            }
            // Steps tell of progress, and of their pauses.
            let plain = *word == RolloutPhase::Progressing.as_str()
                || scene.message == PauseReason::CanaryPauseStep.as_str();
            if !plain {
                let message = cause(&scene.message);
                let colon = if message.is_empty() { "" } else { ": " };
                self.tell("status", format!("{word}{colon}{message}"));
            }
        }
        let same = (&scene.versions, scene.lost) == (&self.last.versions, self.last.lost);
        if !same {
            self.settled = self.now;
        }
        self.last = scene;
        if same && self.now.saturating_sub(self.settled) >= SETTLED {
            self.settle();
        }
    }

    /// Steps that were reached since the last look, those that took no time included.
    fn steps(&mut self, scene: &Scene) {
        use crate::world::scene::Mark;
        let at = |scene: &Scene| {
            let done = scene.steps.iter().filter(|step| step.mark == Mark::Done);
            let begun = scene.steps.iter().any(|step| step.mark == Mark::Current);
            done.count() + usize::from(begun)
        };
        let (before, after) = (at(&self.last), at(scene));
        let count = scene.steps.len();
        for (index, step) in scene.steps.iter().enumerate() {
            if index >= before && index < after {
                self.tell("step", format!("{}/{count} {}", index + 1, step.text));
            }
        }
    }

    /// Tells of pods and requests as they are now.
    fn settle(&mut self) {
        let coarse = changes(&self.told, &self.last);
        for Change { kind, text } in coarse {
            if matches!(kind, "requests" | "pods") {
                self.tell_at(self.settled, kind, text);
            }
        }
        self.told = self.last.clone();
        self.settled = self.now;
    }

    /// Warnings about the Rollout.
    fn events(&mut self, stage: &Stage, input: &Input) {
        let cluster = &stage.world.cluster;
        for event in cluster.list("v1", "Event", &input.namespace, "") {
            let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            let ours = text("/involvedObject/kind") == "Rollout"
                && text("/involvedObject/name") == input.name;
            // What ends an update is told by its status and by the analysis.
            let told =
                text("/reason") == "RolloutAborted" || text("/reason").starts_with("AnalysisRun");
            if ours && !told && text("/type") == "Warning" {
                let line = format!("{}: {}", text("/reason"), text("/message"));
                self.note("event", line);
            }
        }
    }

    /// What pods complain about.
    fn pods(&mut self, stage: &Stage) {
        let pods = stage.world.objects().pods;
        for (name, pod) in &pods {
            let status = pod.status.as_ref();
            let containers = status.and_then(|status| status.container_statuses.as_ref());
            for container in containers.into_iter().flatten() {
                let waiting = container
                    .state
                    .as_ref()
                    .and_then(|state| state.waiting.as_ref());
                let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
                if let Some(reason @ ("ImagePullBackOff" | "CrashLoopBackOff")) = reason {
                    let image = &container.image;
                    let line = format!("{image}: {reason}");
                    if self.noted.insert(line.clone()) {
                        self.tell("pods", format!("{line} ({name})"));
                    }
                }
            }
        }
    }

    /// A ready pod dies.
    fn kill(&mut self, stage: &Stage, dice: &mut Random) {
        let pods = stage.world.objects().pods;
        let ready: Vec<&String> = pods
            .iter()
            .filter(|(_, pod)| {
                let conditions = pod.status.iter().filter_map(|s| s.conditions.as_ref());
                pod.metadata.deletion_timestamp.is_none()
                    && conditions
                        .flatten()
                        .any(|c| c.type_ == "Ready" && c.status == "True")
            })
            .map(|(name, _)| name)
            .collect();
        let count = u64::try_from(ready.len()).unwrap_or(0);
        let chosen = usize::try_from(dice.below(count)).unwrap_or(0);
        if let Some(name) = ready.get(chosen) {
            let namespace = &stage.world.session.namespace;
            if stage
                .world
                .cluster
                .delete("v1", "Pod", namespace, name)
                .is_ok()
            {
                self.tell("fault", format!("pod {name} dies"));
            }
        }
    }

    fn report(mut self, stage: &Stage, input: Input, end: End) -> Report {
        self.entries.sort_by(|a, b| a.at.total_cmp(&b.at));
        let took = super::report::clock(end.at.as_secs_f64());
        let verdict = match end.outcome {
            Outcome::Promoted => format!("Promoted after {took}: {}.", end.why),
            Outcome::Aborted => {
                let back = match self.last.serving() {
                    Some(image) => format!(" {image} serves all requests."),
                    None => String::new(),
                };
                format!(
                    "Aborted after {took}: {}.{back}",
                    end.why.trim_end_matches('.')
                )
            }
            Outcome::Degraded => {
                format!("Degraded since {took}: {}.", end.why.trim_end_matches('.'))
            }
            Outcome::Waiting => {
                format!(
                    "Still waiting after {took}: {}.",
                    end.why.trim_end_matches('.')
                )
            }
        };
        let mut notes = input.notes;
        notes.extend(stage.notes.iter().cloned());
        let assumed = stage.assumed.lock().unwrap_or_else(PoisonError::into_inner);
        notes.extend(assumed.iter().map(|metric| {
            format!("metric {metric} is assumed to succeed; give a formula with --metric")
        }));
        let waits = stage.world.waits();
        let waits = waits.iter().filter(|_| end.outcome != Outcome::Promoted);
        let requests = input.host.map(|target| Requests {
            target,
            per_second: PER_SECOND,
            sent: (self.now.as_secs_f64() * f64::from(PER_SECOND)).round() as u64,
            without_ready_pod: self.unanswered.ceil() as u64,
            worst_share: self.worst.0,
            worst_at: self.worst.1.map(|at| at.as_secs_f64()),
        });
        Report {
            rollout: input.name,
            namespace: input.namespace,
            container: input.container,
            from: input.before,
            to: input.image,
            notes,
            timeline: self.entries,
            outcome: end.outcome,
            exit_code: end.outcome.code(),
            verdict,
            seconds: end.at.as_secs_f64(),
            requests,
            waits: waits
                .map(|why| Waits {
                    reason: why.reason.as_str(),
                    object: why.object.clone(),
                    message: why.message.clone(),
                })
                .collect(),
        }
    }
}

/// The cause in a phase's message: `RolloutAborted: Rollout aborted update to revision 2: CAUSE`.
fn cause(message: &str) -> String {
    let (reason, rest) = message.split_once(": ").unwrap_or(("", message));
    let cause = rest.split_once(": ").map(|(_, cause)| cause);
    let cause = cause.filter(|_| reason == "RolloutAborted");
    cause.unwrap_or(rest).to_owned()
}
