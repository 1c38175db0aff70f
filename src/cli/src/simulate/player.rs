//! The update as it happens: looked at every 50 ms of simulated time, told whenever something
//! changed, promoted where a person would.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use sluice_core::view::Health;
use sluice_core::why::Reason;
use sluice_crds::rollout::{PauseReason, RolloutPhase, RolloutStatus};
use sluice_sim::ids::Random;

use super::fault::Faults;
use super::input::Input;
use super::report::{Entry, Outcome};
use super::stage::{GRAIN, SETTLED, Stage, asks, promotable};
use super::verdict::{End, PER_SECOND, cause};
use crate::args::Simulate;
use crate::world::changes::{Change, changes};
use crate::world::scene::{Act, Scene};

/// The time that an aborted or promoted update is watched on.
const AFTER: Duration = Duration::from_secs(60);

/// A Rollout that has been degraded for this long will not recover.
const DEGRADED: Duration = Duration::from_secs(30 * 60);

/// Between a pause that asks for a person and the promotion.
const THINKING: Duration = Duration::from_secs(1);

/// Notes what happens.
pub(super) struct Player {
    pub(super) entries: Vec<Entry>,
    /// The last look of all, for steps, measurements and phases.
    pub(super) last: Scene,
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
    pub(super) now: Duration,
    lost: f64,
    pub(super) unanswered: f64,
    pub(super) worst: (f64, Option<Duration>),
}

impl Player {
    pub(super) fn new(stage: &Stage, input: &Input) -> Self {
        let scene = stage.look(input);
        let mut player = Self {
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
        player.events(stage, input);
        player.entries.clear();
        player.recent.clear();
        for image in input.images.iter() {
            player.tell("update", image.argument());
        }
        player
    }

    pub(super) fn tell(&mut self, kind: &'static str, text: String) {
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

    pub(super) async fn watch(
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
                    let why = input.images.serving(&input.images.first.to);
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
        let status = status();
        // Its verdict may yet end the update.
        if options.no_promote && stage.is_measured(&status) {
            return Ok(None);
        }
        if !promotable(&status) || options.no_promote {
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
}
