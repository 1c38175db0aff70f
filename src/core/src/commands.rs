//! The user's verbs as patches: what `promote`, `abort`, `retry` ... write. The controller has no
//! other command channel (CTL-125), so whoever sends these patches (plugin, dashboard, GitOps tool,
//! `kubectl patch`) commands it.
//!
//! Everything is a JSON merge patch unless said otherwise, and sent in the order of [`Patches`].

use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_crds::analysis::AnalysisPhase;
use sluice_crds::{ReplicaSet, Rollout, keys};

/// Patches of one verb. A status patch goes first; where the `status` subresource is not served
/// (CRDs of very old releases), [`Patches::combined`] goes to the main resource instead (CLI-31).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patches {
    /// For the `status` subresource.
    pub status: Option<Value>,
    /// For the object itself.
    pub main: Option<Value>,
}

impl Patches {
    fn status(body: Value) -> Self {
        Self {
            status: Some(body),
            main: None,
        }
    }

    fn main(body: Value) -> Self {
        Self {
            status: None,
            main: Some(body),
        }
    }

    /// Both as one body.
    #[must_use]
    pub fn combined(&self) -> Option<Value> {
        let mut all = self.main.clone().unwrap_or_else(|| json!({}));
        if let (Some(all), Some(status)) = (all.as_object_mut(), &self.status) {
            all.extend(status.as_object().cloned().unwrap_or_default());
        }
        (self.status.is_some() || self.main.is_some()).then_some(all)
    }
}

/// Why a verb is refused; the texts users know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// `promote -c -a`.
    #[error("Cannot use skip-current-step and skip-all-steps flags at the same time")]
    BothSkips,
    /// `promote -c` of a blue-green rollout.
    #[error("Cannot skip steps of a bluegreen rollout. Run without a flags")]
    SkipBlueGreen,
    /// `promote -c` without steps.
    #[error("Cannot skip steps of a rollout without steps")]
    SkipWithoutSteps,
    /// `undo --to-revision N`.
    #[error("unable to find specified revision {0} in history")]
    NoSuchRevision(i64),
    /// `undo` of a rollout with one revision.
    #[error("no revision found for rollout {0:?}")]
    NoRevision(String),
    /// `set image NAME x=...`.
    #[error("unable to find container named {0:?}")]
    NoContainer(String),
    /// `set image` and `undo` of an unknown `workloadRef` kind.
    #[error("workload of type {0} is not supported")]
    WorkloadKind(String),
}

/// How to promote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promotion {
    /// Skip analysis, pauses and steps.
    pub full: bool,
    /// Deprecated: skip the current step.
    pub skip_current_step: bool,
    /// Deprecated: skip all steps.
    pub skip_all_steps: bool,
}

/// `abort` (CLI-28).
#[must_use]
pub fn abort() -> Patches {
    Patches::status(json!({"status": {"abort": true}}))
}

/// `retry rollout` (CLI-28).
#[must_use]
pub fn retry() -> Patches {
    Patches::status(json!({"status": {"abort": false}}))
}

/// `retry experiment` (CLI-28): the Experiment starts from nothing.
#[must_use]
pub fn retry_experiment() -> Patches {
    Patches::main(json!({"status": null}))
}

/// `pause` (CLI-28).
#[must_use]
pub fn pause() -> Patches {
    Patches::main(json!({"spec": {"paused": true}}))
}

/// `terminate` of a run or an experiment (CLI-28).
#[must_use]
pub fn terminate() -> Patches {
    Patches::main(json!({"spec": {"terminate": true}}))
}

/// `restart` (CLI-29): pods created before `at` are replaced once it has passed.
#[must_use]
pub fn restart(at: Timestamp) -> Patches {
    let at = sluice_crds::Time::new(at);
    Patches::main(json!({"spec": {"restartAt": at}}))
}

/// `promote` (CLI-30).
///
/// # Errors
/// When steps are to be skipped that do not exist.
pub fn promote(rollout: &Rollout, how: Promotion) -> Result<Patches, CommandError> {
    let spec = &rollout.spec;
    let canary = spec.strategy.canary.is_some();
    let steps = i32::try_from(spec.steps().len()).unwrap_or(i32::MAX);
    let status = rollout.status.clone().unwrap_or_default();
    let index = status.current_step_index.unwrap_or(0);
    let next = index.saturating_add(1).min(steps);
    if how.skip_current_step && how.skip_all_steps {
        return Err(CommandError::BothSkips);
    }
    if how.skip_current_step || how.skip_all_steps {
        if !canary {
            return Err(CommandError::SkipBlueGreen);
        }
        if steps == 0 {
            return Err(CommandError::SkipWithoutSteps);
        }
        let index = if how.skip_all_steps { steps } else { next };
        return Ok(Patches::status(
            json!({"status": {"currentStepIndex": index}}),
        ));
    }
    let main = spec.paused.then(|| json!({"spec": {"paused": false}}));
    if how.full {
        let promoted = status.current_pod_hash == status.stable_rs;
        let status = (!promoted).then(|| json!({"status": {"promoteFull": true}}));
        return Ok(Patches { status, main });
    }
    let paused = !status.pause_conditions.is_empty();
    let inconclusive = status
        .canary
        .current_step_analysis_run_status
        .as_ref()
        .is_some_and(|run| run.status == AnalysisPhase::Inconclusive);
    let status = if canary && inconclusive && paused && status.controller_pause {
        // Moving on without measuring again takes all three in one patch.
        Some(json!({"status": {
            "pauseConditions": null, "controllerPause": false, "currentStepIndex": next,
        }}))
    } else if paused {
        Some(json!({"status": {"pauseConditions": null}}))
    } else if canary && steps > 0 {
        Some(json!({"status": {"pauseConditions": null, "currentStepIndex": next}}))
    } else {
        None
    };
    Ok(Patches { status, main })
}

/// What `undo` comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo {
    /// The template is that of the revision already.
    Skip {
        /// The revision.
        revision: i64,
    },
    /// JSON-patch `/spec/template` of the Rollout or of its workload.
    Patch {
        /// The JSON patch.
        patch: Value,
        /// The revision that it goes back to.
        revision: i64,
    },
}

/// `undo` (CLI-32). `replica_sets` are those of the namespace; `current` is the pod template in
/// force, the workload's with a `workloadRef`.
///
/// # Errors
/// When there is no such revision.
pub fn undo<'a>(
    rollout: &Rollout,
    current: &Value,
    replica_sets: impl IntoIterator<Item = &'a ReplicaSet>,
    to_revision: i64,
) -> Result<Undo, CommandError> {
    let uid = rollout.metadata.uid.as_deref().unwrap_or_default();
    let mut history: Vec<(i64, &ReplicaSet)> = replica_sets
        .into_iter()
        .filter(|set| {
            let owners = set.metadata.owner_references.as_deref().unwrap_or_default();
            owners
                .iter()
                .any(|owner| owner.controller == Some(true) && owner.uid == uid)
        })
        .filter_map(|set| Some((set.annotation(keys::REVISION)?.parse().ok()?, set)))
        .collect();
    history.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
    let found = if to_revision == 0 {
        history.get(1).ok_or_else(|| {
            CommandError::NoRevision(rollout.metadata.name.clone().unwrap_or_default())
        })?
    } else {
        history
            .iter()
            .find(|(revision, _)| *revision == to_revision)
            .ok_or(CommandError::NoSuchRevision(to_revision))?
    };
    let (revision, set) = found;
    let mut template = set.spec.template.value();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(keys::POD_TEMPLATE_HASH);
    }
    remove_ephemeral(&mut template, set);
    if covers(&template, current) {
        return Ok(Undo::Skip {
            revision: *revision,
        });
    }
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
    Ok(Undo::Patch {
        patch,
        revision: *revision,
    })
}

/// Takes out what the controller put into the template for the role of the ReplicaSet (CTL-148).
/// What the user wrote under the same key is not known any more.
fn remove_ephemeral(template: &mut Value, set: &ReplicaSet) {
    let recorded = set.annotation(keys::EPHEMERAL_METADATA);
    let Some(recorded) = recorded.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return;
    };
    for member in ["labels", "annotations"] {
        let injected = recorded.get(member).and_then(Value::as_object);
        let all = template
            .pointer_mut(&format!("/metadata/{member}"))
            .and_then(Value::as_object_mut);
        if let (Some(injected), Some(all)) = (injected, all) {
            all.retain(|key, value| injected.get(key) != Some(value));
        }
    }
}

/// Whether every member that `asked` sets has the same value in `stored`, which may have more: a
/// stored template holds the API server's defaults.
fn covers(stored: &Value, asked: &Value) -> bool {
    match (stored, asked) {
        (Value::Object(stored), Value::Object(asked)) => asked.iter().all(|(key, value)| {
            value.is_null() || stored.get(key).is_some_and(|stored| covers(stored, value))
        }),
        (Value::Array(stored), Value::Array(asked)) => {
            stored.len() == asked.len()
                && stored
                    .iter()
                    .zip(asked)
                    .all(|(stored, asked)| covers(stored, asked))
        }
        (stored, asked) => stored == asked,
    }
}

/// `set image` (CLI-33): changes the containers in a raw object that has `spec.template`, so that
/// unknown fields survive. `*` means every container.
///
/// # Errors
/// When no container has that name.
pub fn set_image(object: &mut Value, container: &str, image: &str) -> Result<(), CommandError> {
    let mut found = false;
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let pointer = format!("/spec/template/spec/{list}");
        let Some(containers) = object.pointer_mut(&pointer).and_then(Value::as_array_mut) else {
            continue;
        };
        for one in containers {
            let named = one.get("name").and_then(Value::as_str) == Some(container);
            if (named || container == "*")
                && let Some(one) = one.as_object_mut()
            {
                one.insert("image".into(), image.into());
                found = true;
            }
        }
    }
    if found {
        Ok(())
    } else {
        Err(CommandError::NoContainer(container.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(value: Value) -> Rollout {
        serde_json::from_value(value).unwrap()
    }

    fn canary(status: Value) -> Rollout {
        rollout(json!({
            "metadata": {"name": "web", "uid": "u1"},
            "spec": {"strategy": {"canary": {"steps": [
                {"setWeight": 10}, {"pause": {}}, {"setWeight": 50},
            ]}}},
            "status": status,
        }))
    }

    /// CTL-125, CLI-28, CLI-29: what each verb writes, and nothing besides.
    #[test]
    fn verbs_are_plain_patches() {
        let at = "2026-01-01T02:03:04+01:00".parse().unwrap();
        for (patches, status, main) in [
            (abort(), Some(json!({"status": {"abort": true}})), None),
            (retry(), Some(json!({"status": {"abort": false}})), None),
            (retry_experiment(), None, Some(json!({"status": null}))),
            (pause(), None, Some(json!({"spec": {"paused": true}}))),
            (
                terminate(),
                None,
                Some(json!({"spec": {"terminate": true}})),
            ),
            (
                restart(at),
                None,
                Some(json!({"spec": {"restartAt": "2026-01-01T01:03:04Z"}})),
            ),
        ] {
            assert_eq!((patches.status, patches.main), (status, main));
        }
    }

    /// CTL-125: steps are skipped by moving the index, one or all.
    #[test]
    fn skips_move_the_index() {
        let at_one = canary(json!({"currentStepIndex": 1}));
        let skip = |current, all| {
            let how = Promotion {
                skip_current_step: current,
                skip_all_steps: all,
                ..Promotion::default()
            };
            let patches = promote(&at_one, how).unwrap();
            assert_eq!(patches.main, None);
            patches.status.unwrap()
        };
        assert_eq!(
            skip(true, false),
            json!({"status": {"currentStepIndex": 2}})
        );
        assert_eq!(
            skip(false, true),
            json!({"status": {"currentStepIndex": 3}})
        );
    }

    /// CLI-30
    #[test]
    fn promote_clears_the_pause_or_moves_the_index_never_both() {
        let paused = canary(json!({
            "currentStepIndex": 1, "controllerPause": true,
            "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}],
        }));
        let patches = promote(&paused, Promotion::default()).unwrap();
        assert_eq!(
            patches.status,
            Some(json!({"status": {"pauseConditions": null}}))
        );
        assert_eq!(patches.main, None);

        let moving = canary(json!({"currentStepIndex": 2}));
        let patches = promote(&moving, Promotion::default()).unwrap();
        assert_eq!(
            patches.status,
            Some(json!({"status": {"pauseConditions": null, "currentStepIndex": 3}}))
        );
        let done = canary(json!({"currentStepIndex": 3}));
        let patches = promote(&done, Promotion::default()).unwrap();
        assert_eq!(patches.status.unwrap()["status"]["currentStepIndex"], 3);
    }

    /// CLI-30 (1), ANA-42
    #[test]
    fn promote_moves_past_an_inconclusive_step_analysis() {
        let rollout = canary(json!({
            "currentStepIndex": 0, "controllerPause": true,
            "pauseConditions": [
                {"reason": "InconclusiveAnalysisRun", "startTime": "2026-01-01T00:00:00Z"},
            ],
            "canary": {"currentStepAnalysisRunStatus": {"name": "r", "status": "Inconclusive"}},
        }));
        let patches = promote(&rollout, Promotion::default()).unwrap();
        assert_eq!(
            patches.status,
            Some(json!({"status": {
                "pauseConditions": null, "controllerPause": false, "currentStepIndex": 1,
            }}))
        );
    }

    /// CLI-30, CLI-31
    #[test]
    fn full_promotion_also_lifts_a_manual_pause() {
        let mut rollout = canary(json!({"currentPodHash": "b", "stableRS": "a"}));
        rollout.spec.paused = true;
        let patches = promote(
            &rollout,
            Promotion {
                full: true,
                ..Promotion::default()
            },
        )
        .unwrap();
        assert_eq!(
            patches.combined(),
            Some(json!({"status": {"promoteFull": true}, "spec": {"paused": false}}))
        );
        let at_rest = canary(json!({"currentPodHash": "a", "stableRS": "a"}));
        let patches = promote(
            &at_rest,
            Promotion {
                full: true,
                ..Promotion::default()
            },
        )
        .unwrap();
        assert_eq!(patches.combined(), None);
    }

    /// CLI-30
    #[test]
    fn skipping_needs_steps() {
        let skip = Promotion {
            skip_current_step: true,
            ..Promotion::default()
        };
        let blue_green =
            rollout(json!({"spec": {"strategy": {"blueGreen": {"activeService": "a"}}}}));
        assert_eq!(promote(&blue_green, skip), Err(CommandError::SkipBlueGreen));
        let plain = rollout(json!({"spec": {"strategy": {"canary": {}}}}));
        assert_eq!(promote(&plain, skip), Err(CommandError::SkipWithoutSteps));
        let both = Promotion {
            skip_all_steps: true,
            ..skip
        };
        assert_eq!(promote(&plain, both), Err(CommandError::BothSkips));
    }

    fn replica_set(revision: i64, image: &str) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("web-{revision}"),
                "annotations": {"rollout.argoproj.io/revision": revision.to_string()},
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                    "name": "web", "uid": "u1", "controller": true}],
            },
            "spec": {"template": {
                "metadata": {"labels": {"app": "web", "rollouts-pod-template-hash": "x"}},
                "spec": {"containers": [{"name": "web", "image": image}], "dnsPolicy": "ClusterFirst"},
            }},
        }))
        .unwrap()
    }

    /// CLI-32
    #[test]
    fn undo_takes_the_second_highest_revision_without_its_hash() {
        let sets = [
            replica_set(9, "web:v9"),
            replica_set(10, "web:v10"),
            replica_set(2, "web:v2"),
        ];
        let current = json!({"spec": {"containers": [{"name": "web", "image": "web:v10"}]}});
        let Undo::Patch { patch, revision } = undo(&canary(json!({})), &current, &sets, 0).unwrap()
        else {
            panic!("nothing to undo");
        };
        assert_eq!(revision, 9);
        assert_eq!(
            patch[0]["value"]["metadata"]["labels"],
            json!({"app": "web"})
        );
        assert_eq!(
            patch[0]["value"]["spec"]["containers"][0]["image"],
            "web:v9"
        );
        assert_eq!(
            undo(&canary(json!({})), &current, &sets, 10),
            Ok(Undo::Skip { revision: 10 })
        );
        assert_eq!(
            undo(&canary(json!({})), &current, &sets, 7),
            Err(CommandError::NoSuchRevision(7))
        );
        assert_eq!(
            undo(&canary(json!({})), &current, &sets[..1], 0),
            Err(CommandError::NoRevision("web".into()))
        );
    }

    /// CLI-32, CTL-148, INV-11: what was injected for a role is no part of the revision.
    #[test]
    fn undo_leaves_ephemeral_metadata_behind() {
        let mut old = replica_set(1, "web:v1");
        old.metadata.annotations.get_or_insert_default().insert(
            keys::EPHEMERAL_METADATA.to_owned(),
            json!({"labels": {"role": "canary"}}).to_string(),
        );
        old.spec.template = sluice_crds::RawPodTemplate::new(&json!({
            "metadata": {"labels": {"app": "web", "role": "canary"}},
            "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
        }));
        let sets = [old, replica_set(2, "web:v2")];
        let current = json!({"spec": {"containers": [{"name": "web", "image": "web:v2"}]}});
        let Undo::Patch { patch, .. } = undo(&canary(json!({})), &current, &sets, 1).unwrap()
        else {
            panic!("nothing to undo");
        };
        assert_eq!(
            patch[0]["value"]["metadata"]["labels"],
            json!({"app": "web"})
        );
    }

    /// CLI-33
    #[test]
    fn set_image_finds_containers_of_every_list() {
        let mut object = json!({"spec": {"template": {"spec": {
            "initContainers": [{"name": "setup", "image": "a"}],
            "containers": [{"name": "web", "image": "a", "unknown": 1}],
        }}}});
        set_image(&mut object, "*", "b").unwrap();
        assert_eq!(
            object["spec"]["template"]["spec"]["initContainers"][0]["image"],
            "b"
        );
        set_image(&mut object, "web", "c").unwrap();
        assert_eq!(
            object["spec"]["template"]["spec"]["containers"][0],
            json!({"name": "web", "image": "c", "unknown": 1})
        );
        assert_eq!(
            set_image(&mut object, "nope", "c"),
            Err(CommandError::NoContainer("nope".into()))
        );
    }
}
