//! What is different between two looks at the world.

use std::fmt;

use super::scene::{Mark, Metric, Scene};

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// `step`, `requests`, `pods`, `measured`, `analysis` or `status`.
    pub(crate) kind: &'static str,
    /// What is so now.
    pub(crate) text: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.kind == "step" { "" } else { ":" };
        write!(f, "{}{colon} {}", self.kind, self.text)
    }
}

#[derive(Default)]
struct Lines(Vec<Change>);

impl Lines {
    fn push(&mut self, kind: &'static str, text: String) {
        self.0.push(Change { kind, text });
    }
}

/// What is different, in the order in which one would tell it.
pub(crate) fn changes(old: &Scene, new: &Scene) -> Vec<Change> {
    let mut lines = Lines::default();
    for (index, step) in new.steps.iter().enumerate() {
        let before = old.steps.get(index).map(|step| step.mark);
        if step.mark == Mark::Current && before != Some(Mark::Current) {
            let count = new.steps.len();
            lines.push("step", format!("{}/{count}: {}", index + 1, step.text));
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
        lines.push("requests", parts.join(", "));
    }
    if old.lost != new.lost && new.lost > 0.0 {
        lines.push(
            "requests",
            format!("{:.0} % without an answer", new.lost * 100.0),
        );
    }
    for version in &new.versions {
        let before = old.versions.iter().find(|old| old.image == version.image);
        let pods = (version.available, version.wanted);
        if before.map(|old| (old.available, old.wanted)) != Some(pods) {
            lines.push(
                "pods",
                format!("{} {}/{} available", version.image, pods.0, pods.1),
            );
        }
    }
    for gone in &old.versions {
        if !new
            .versions
            .iter()
            .any(|version| version.image == gone.image)
        {
            lines.push("pods", format!("{} gone", gone.image));
        }
    }
    for metric in &new.metrics {
        let same = |old: &&Metric| old.run == metric.run && old.name == metric.name;
        let before = old.metrics.iter().find(same);
        let fresh = metric
            .count
            .saturating_sub(before.map_or(0, |old| old.count));
        let known = metric.values.len().saturating_sub(fresh);
        for (phase, value) in metric.values.iter().skip(known) {
            let equals = if value.is_empty() { "" } else { " = " };
            lines.push(
                "measured",
                format!("{}{equals}{value}, {}", metric.name, phase.as_str()),
            );
        }
        if metric.phase.completed() && before.map(|old| &old.phase) != Some(&metric.phase) {
            lines.push(
                "analysis",
                format!("{} {}", metric.run, metric.phase.as_str()),
            );
        }
    }
    let state = |scene: &Scene| (scene.health.word.clone(), scene.message.clone());
    if state(old) != state(new) && !new.health.word.is_empty() {
        let message = if new.message.is_empty() {
            String::new()
        } else {
            format!(" - {}", new.message)
        };
        lines.push("status", format!("{}{message}", new.health.word));
    }
    lines.0
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use sluice_crds::analysis::AnalysisPhase;

    use super::*;
    use crate::world::scene::{Step, Version};

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

    fn told(old: &Scene, new: &Scene) -> String {
        let lines: Vec<String> = changes(old, new).iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn each_change_is_told_once() {
        let (before, after) = (scene(0, Mark::ToDo), scene(20, Mark::Current));
        let first = told(&Scene::default(), &before);
        let then = told(&before, &after);
        let nothing = told(&after, &after);
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
