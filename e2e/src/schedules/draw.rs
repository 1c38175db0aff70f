//! What happens in a random schedule.

use std::collections::BTreeMap;

use serde_json::json;
use sluice_core::testing::fuzz::random::Random;
use sluice_core::testing::fuzz::shape::{self, IMAGES, Kind, Shape};

use super::objects::Objects;
use crate::scenario::format::{
    Between, DataPlane, Empty, Expect, Fault, LosePods, MetricsFault, PodRule, Promote, Step,
    Verdict,
};

/// What a schedule is played in.
pub(super) struct Surroundings {
    pub(super) controllers: Option<u8>,
    pub(super) data_plane: DataPlane,
    pub(super) metrics: BTreeMap<String, String>,
}

/// Metrics that are asked for: good, bad beyond a weight, bad always.
const FORMULAS: [&str; 5] = ["0", "0", "0", "if(weight > 30, 5, 0)", "5"];

/// Kinds of objects that the controller writes or watches.
const RESOURCES: [&str; 8] = [
    "rollouts",
    "replicasets",
    "services",
    "virtualservices",
    "ingresses",
    "analysisruns",
    "experiments",
    "pods",
];

pub(super) fn surroundings(random: &mut Random, shape: &Shape) -> Surroundings {
    let delay = |random: &mut Random| *random.one_of(&["1s", "3s", "10s"]);
    let routed = !matches!(shape.kind, Kind::Basic | Kind::BlueGreen);
    // No router that can tell whether its weights are in force carries managed routes.
    let tells = routed && !has_managed_routes(shape);
    let mut data_plane = DataPlane::default();
    if tells && random.chance(60) {
        data_plane.routes = Some(delay(random).to_owned());
        data_plane.verifies = true;
    }
    let formula = *random.one_of(&FORMULAS);
    Surroundings {
        controllers: random.chance(25).then_some(2),
        data_plane,
        metrics: BTreeMap::from([("error_rate".to_owned(), formula.to_owned())]),
    }
}

fn has_managed_routes(shape: &Shape) -> bool {
    let steps = shape.rollout.spec.canary().map(|canary| &canary.steps);
    steps
        .into_iter()
        .flatten()
        .any(|step| step.set_header_route.is_some() || step.set_mirror_route.is_some())
}

/// The events of a schedule.
pub(super) fn events(
    random: &mut Random,
    shape: &Shape,
    around: &Surroundings,
    objects: &Objects,
) -> Vec<Step> {
    let mut draw = Draw {
        random,
        shape,
        around,
        objects,
    };
    let mut steps = Vec::new();
    if draw.random.chance(85) {
        steps.push(Step::Advance("60s".to_owned())); // the first revision is there
    }
    steps.push(image(1));
    let count = draw.random.between(4, 24);
    for _ in 0..count {
        steps.push(draw.step());
    }
    steps
}

/// Faults stop, and a version that is well becomes stable; then nothing more is written.
pub(super) fn ending(shape: &Shape, objects: &Objects) -> Vec<Step> {
    let spec = json!({
        "paused": false, "replicas": 3, "minReadySeconds": shape.rollout.spec.min_ready_seconds,
    });
    let healthy = Expect {
        phase: Some("Healthy".to_owned()),
        promoted: Some(true),
        pods: BTreeMap::from([("web:last".to_owned(), 3)]),
        ..Expect::default()
    };
    vec![
        Step::Heal(Empty {}),
        Step::Pods(Vec::new()),
        Step::Apply(objects.around.clone()),
        Step::Patch(json!({ "spec": spec })),
        Step::SetImage("web:last".to_owned()),
        Step::Advance("30s".to_owned()),
        tried(Step::Promote(Promote { full: true })),
        // Said of the version before, if no controller was there.
        Step::Advance("60s".to_owned()),
        tried(Step::Promote(Promote { full: true })),
        Step::Until(healthy),
        // Delays of what is kept for a while end, and late news arrive.
        Step::Advance("120s".to_owned()),
        Step::Quiet("10m".to_owned()),
    ]
}

fn image(number: u8) -> Step {
    Step::SetImage(shape::image(number))
}

fn tried(step: Step) -> Step {
    Step::Attempt(Box::new(step))
}

struct Draw<'a> {
    random: &'a mut Random,
    shape: &'a Shape,
    around: &'a Surroundings,
    objects: &'a Objects,
}

impl Draw<'_> {
    fn step(&mut self) -> Step {
        match self.random.below(100) {
            0..=27 => {
                let time = self
                    .random
                    .one_of(&["1s", "1s", "3s", "10s", "31s", "61s", "200s"]);
                Step::Advance((*time).to_owned())
            }
            28..=47 => Step::Fault(Box::new(self.fault())),
            48..=52 => Step::Heal(Empty {}),
            53..=58 => Step::CrashAfter(self.some_writes()),
            59..=61 => Step::RestartController(Empty {}),
            62..=69 => {
                let between = Between {
                    writes: self.some_writes(),
                    steps: vec![self.deed()],
                };
                tried(Step::Between(between))
            }
            _ => self.deed(),
        }
    }

    fn some_writes(&mut self) -> u64 {
        u64::try_from(self.random.between(1, 6)).unwrap_or(1)
    }

    /// What a user, an autoscaler or a node does.
    fn deed(&mut self) -> Step {
        match self.random.below(40) {
            0..=6 => {
                let number = self.random.below(usize::from(IMAGES));
                image(u8::try_from(number).unwrap_or(0))
            }
            7..=10 => Step::Scale(self.random.between(1, 8)),
            11..=14 => tried(Step::Promote(Promote {
                full: self.random.chance(30),
            })),
            15..=17 => tried(Step::Abort(Empty {})),
            18..=19 => tried(Step::Retry(Empty {})),
            20 => Step::Patch(json!({ "spec": { "paused": self.random.chance(50) } })),
            21 => tried(Step::Restart(Empty {})),
            22..=23 => tried(Step::Undo(0)),
            24 => Step::Patch(json!({ "spec": {
                "minReadySeconds": if self.random.chance(50) { -1 } else { 0 } } })),
            25..=29 => Step::Pods(self.pod_rules()),
            30..=32 => tried(Step::LosePods(LosePods {
                image: "web".to_owned(),
                count: Some(1),
            })),
            33..=34 => self.service(),
            35..=36 => tried(Step::Terminate("AnalysisRun/Step".to_owned())),
            37 => tried(Step::Delete("AnalysisRun/*".to_owned())),
            _ => self.other_steps(),
        }
    }

    fn pod_rules(&mut self) -> Vec<PodRule> {
        let image = shape::image(u8::try_from(self.random.below(4)).unwrap_or(0));
        let mut rule = PodRule {
            image,
            ..PodRule::default()
        };
        match self.random.below(6) {
            0 => rule.never_ready = true,
            1 => rule.crash_after = Some("20s".to_owned()),
            2 => rule.unready_after = Some("40s".to_owned()),
            3 => rule.ready_after = Some("90s".to_owned()),
            _ => return Vec::new(),
        }
        vec![rule]
    }

    /// A Service goes, or those that are gone come back.
    fn service(&mut self) -> Step {
        if self.objects.services.is_empty() || self.random.chance(60) {
            return Step::Apply(self.objects.around.clone());
        }
        let name = self.random.one_of(&self.objects.services).clone();
        tried(Step::Delete(format!("Service/{name}")))
    }

    fn other_steps(&mut self) -> Step {
        let rollout = &self.shape.rollout;
        if rollout.spec.canary().is_none() || self.around.data_plane.verifies {
            return Step::Advance("5s".to_owned());
        }
        let steps = shape::steps(self.random.number() % 100_000, self.shape.kind, rollout);
        Step::Patch(json!({ "spec": { "strategy": { "canary": { "steps": steps } } } }))
    }

    fn fault(&mut self) -> Fault {
        let mut fault = Fault::default();
        if self.random.chance(40) {
            fault.resource = Some((*self.random.one_of(&RESOURCES)).to_owned());
        }
        if self.around.controllers.is_some() && self.random.chance(50) {
            fault.controller = Some("a".to_owned());
            if self.random.chance(60) {
                fault.resource = Some("leases".to_owned());
            }
        }
        let share = |random: &mut Random| *random.one_of(&[0.1, 0.3, 0.6, 1.0]);
        match self.random.below(12) {
            0 => fault.conflict = share(self.random),
            1 => fault.error = share(self.random),
            2 => fault.throttle = share(self.random),
            3 => fault.lost_answer = share(self.random),
            4 => fault.latency = Some((*self.random.one_of(&["1s", "5s"])).to_owned()),
            5 => fault.stale = Some(u64::try_from(self.random.between(1, 8)).unwrap_or(1)),
            6 => fault.watch_delay = Some((*self.random.one_of(&["1s", "4s", "20s"])).to_owned()),
            7 => fault.watch_cut = Some((*self.random.one_of(&["1s", "10s"])).to_owned()),
            8 => fault.cut = vec![(*self.random.one_of(&RESOURCES)).to_owned()],
            9 => fault.freeze = vec![(*self.random.one_of(&RESOURCES)).to_owned()],
            10 if self.around.data_plane.verifies => {
                let verdicts = [Verdict::Denied, Verdict::Failed];
                return Fault {
                    verification: Some(*self.random.one_of(&verdicts)),
                    ..Fault::default()
                };
            }
            _ => {
                let all = [
                    MetricsFault::Nan,
                    MetricsFault::Empty,
                    MetricsFault::Error,
                    MetricsFault::Hang,
                ];
                return Fault {
                    metrics: Some(*self.random.one_of(&all)),
                    ..Fault::default()
                };
            }
        }
        fault
    }
}
