//! The three stories: what is applied, what happens, how they should end.

use crate::args::Story;

/// One story.
pub(super) struct Script {
    /// What the audience is told first.
    pub(super) title: &'static str,
    /// The Rollout.
    pub(super) rollout: &'static str,
    /// Host or Service that its users send their requests to.
    pub(super) host: &'static str,
    /// Applied at the start. `PROMETHEUS` stands for the address of the synthetic Prometheus.
    pub(super) manifests: &'static str,
    /// What is told and done once the first version is healthy.
    pub(super) update: &'static str,
    /// The image that the update is to; the container is called as the Rollout is.
    pub(super) image: &'static str,
    /// Share of failing requests, over the canary's `weight`.
    pub(super) error_rate: &'static str,
    /// Whether the story promotes by itself when the Rollout waits for a person.
    pub(super) promotes: bool,
    /// Whether it ends with the new version; else with the old one, aborted.
    pub(super) succeeds: bool,
    /// What is told at the end.
    pub(super) moral: &'static str,
}

/// The script of a story.
pub(super) fn script(story: Story) -> Script {
    match story {
        Story::Canary => Script {
            title: "A canary behind Istio. Prometheus is asked for the error rate at every weight.",
            rollout: "checkout",
            host: "checkout",
            manifests: include_str!("canary.yaml"),
            update: "checkout:v2 is out. Its error rate stays at 1 %.",
            image: "checkout:v2",
            error_rate: "0.01",
            promotes: false,
            succeeds: true,
            moral: "Every step was measured; checkout:v2 serves all requests.",
        },
        Story::Rollback => Script {
            title: "The same canary, but this version breaks under load.",
            rollout: "checkout",
            host: "checkout",
            manifests: include_str!("canary.yaml"),
            update: "checkout:v2 is out. From 40 % of the requests on, one in four fails.",
            image: "checkout:v2",
            error_rate: "if(weight > 35, 0.25, 0.01)",
            promotes: false,
            succeeds: false,
            moral: "The analysis failed, the update was aborted, and all requests are back on v1.",
        },
        Story::Bluegreen => Script {
            title: "Blue-green: the new version waits on the preview Service for a person's word.",
            rollout: "shop",
            host: "shop-active",
            manifests: include_str!("bluegreen.yaml"),
            update: "shop:v2 is out. It gets its own pods, and only the preview Service.",
            image: "shop:v2",
            error_rate: "0.01",
            promotes: true,
            succeeds: true,
            moral: "The active Service was switched once; the old pods stay for their delay.",
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use serde::Deserialize;

    use super::*;

    #[test]
    fn every_story_holds_its_rollout() {
        for story in Story::value_variants() {
            let script = script(*story);
            let found = serde_yaml_ng::Deserializer::from_str(script.manifests).any(|document| {
                let value = serde_yaml_ng::Value::deserialize(document).unwrap();
                value["kind"] == "Rollout" && value["metadata"]["name"] == script.rollout
            });
            assert!(found, "{story:?}");
        }
    }
}
