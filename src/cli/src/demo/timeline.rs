//! A story as lines, one per change: for pipes, files and CI.

use std::time::Duration;

use super::play::Told;
use super::scene::{Mark, Scene};
use crate::output;

/// Prints what changed since the last look.
pub(super) struct Timeline {
    last: Scene,
    told: usize,
}

impl Timeline {
    /// Nothing has been seen.
    pub(super) fn new() -> Self {
        Self {
            last: Scene::default(),
            told: 0,
        }
    }

    /// Prints what is new.
    pub(super) fn show(&mut self, scene: &Scene, told: &[Told]) {
        for change in changes(&self.last, scene) {
            output::line(stamped(scene.elapsed, change));
        }
        for line in told.iter().skip(self.told) {
            output::line(stamped(scene.elapsed, line));
        }
        self.told = told.len();
        self.last = scene.clone();
    }
}

fn stamped(elapsed: Duration, text: impl std::fmt::Display) -> String {
    format!("{:>7.1}s  {text}", elapsed.as_secs_f64())
}

/// What is different, a line each.
fn changes(old: &Scene, new: &Scene) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, step) in new.steps.iter().enumerate() {
        let before = old.steps.get(index).map(|step| step.mark);
        if step.mark == Mark::Current && before != Some(Mark::Current) {
            let count = new.steps.len();
            lines.push(format!("step {}/{count}: {}", index + 1, step.text));
        }
    }
    let shares = |scene: &Scene| -> Vec<(String, u32)> {
        let versions = scene.versions.iter().filter(|version| version.percent > 0);
        versions
            .map(|version| (version.image.clone(), version.percent))
            .collect()
    };
    if shares(old) != shares(new) {
        let parts: Vec<String> = shares(new)
            .iter()
            .map(|(image, percent)| format!("{image} {percent} %"))
            .collect();
        lines.push(format!("requests: {}", parts.join(", ")));
    }
    if old.lost != new.lost && new.lost > 0.0 {
        lines.push(format!(
            "requests without an answer: {:.0} %",
            new.lost * 100.0
        ));
    }
    for version in &new.versions {
        let before = old.versions.iter().find(|old| old.image == version.image);
        let pods = (version.available, version.wanted);
        if before.map(|old| (old.available, old.wanted)) != Some(pods) {
            lines.push(format!(
                "pods: {} {}/{} available",
                version.image, pods.0, pods.1
            ));
        }
    }
    for gone in &old.versions {
        if !new
            .versions
            .iter()
            .any(|version| version.image == gone.image)
        {
            lines.push(format!("pods: {} gone", gone.image));
        }
    }
    for metric in &new.metrics {
        let same = |old: &&super::scene::Metric| old.run == metric.run && old.name == metric.name;
        let before = old.metrics.iter().find(same);
        let fresh = metric
            .count
            .saturating_sub(before.map_or(0, |old| old.count));
        let known = metric.values.len().saturating_sub(fresh);
        for (phase, value) in metric.values.iter().skip(known) {
            lines.push(format!(
                "measured: {} = {value}, {}",
                metric.name,
                phase.as_str()
            ));
        }
        if metric.phase.completed() && before.map(|old| &old.phase) != Some(&metric.phase) {
            lines.push(format!(
                "analysis: {} {}",
                metric.run,
                metric.phase.as_str()
            ));
        }
    }
    let state = |scene: &Scene| (scene.health.word.clone(), scene.message.clone());
    if state(old) != state(new) && !new.health.word.is_empty() {
        let message = if new.message.is_empty() {
            String::new()
        } else {
            format!(" - {}", new.message)
        };
        lines.push(format!("status: {}{message}", new.health.word));
    }
    lines
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use sluice_crds::analysis::AnalysisPhase;

    use super::super::scene::{Metric, Step, Version};
    use super::*;

    fn version(image: &str, percent: u32, pods: (i32, i32)) -> Version {
        Version {
            image: image.to_owned(),
            percent,
            stable: percent > 50,
            available: pods.0,
            wanted: pods.1,
        }
    }

    fn scene(percent: u32, mark: Mark) -> Scene {
        Scene {
            steps: vec![Step {
                text: "setWeight: 20".to_owned(),
                mark,
            }],
            versions: vec![
                version("web:v1", 100 - percent, (5, 5)),
                version("web:v2", percent, (1, 1)),
            ],
            metrics: vec![Metric {
                run: "web-1-2".to_owned(),
                name: "errors".to_owned(),
                condition: String::new(),
                count: 1,
                values: vec![(AnalysisPhase::Successful, "0.01".to_owned())],
                phase: AnalysisPhase::Running,
            }],
            ..Scene::default()
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let (before, after) = (scene(0, Mark::ToDo), scene(20, Mark::Current));
        let first = changes(&Scene::default(), &before).join("\n");
        let then = changes(&before, &after).join("\n");
        let nothing = changes(&after, &after).join("\n");
        expect![[r#"
            requests: web:v1 100 %
            pods: web:v1 5/5 available
            pods: web:v2 1/1 available
            measured: errors = 0.01, Successful
            --
            step 1/1: setWeight: 20
            requests: web:v1 80 %, web:v2 20 %
            --
        "#]]
        .assert_eq(&format!("{first}\n--\n{then}\n--\n{nothing}"));
    }
}
