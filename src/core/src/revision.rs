//! ReplicaSets of a Rollout: which are ours, which is new, and how a new revision begins
//! (CTL-15..24).

use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, Value, json};
use sluice_crds::replica_set::ReplicaSetSpec;
use sluice_crds::{RawPodTemplate, ReplicaSet, hash, keys};

use crate::conditions;
use crate::decide::context::{Context, Strategy};
use crate::decide::view::{Set, View};
use crate::event::Event;
use crate::metadata;
use crate::observed::{FailedWrite, Observed};
use crate::plan::{Action, Plan, Planned};
use crate::why::{Reason, Why};

/// Hashes of the current template and steps.
#[derive(Debug)]
pub(crate) struct Hashes {
    template: RawPodTemplate,
    collision_count: Option<i32>,
    current: OnceLock<String>,
    steps: String,
}

impl Hashes {
    pub(crate) fn new(
        template: &RawPodTemplate,
        collision_count: Option<i32>,
        strategy: Strategy<'_>,
    ) -> Self {
        let steps = match strategy {
            Strategy::Canary(canary) => hash::step_hash(&canary.steps),
            Strategy::BlueGreen(_) => String::new(),
        };
        Self {
            template: template.clone(),
            collision_count,
            current: OnceLock::new(),
            steps,
        }
    }

    /// Hash of the template (CTL-19).
    pub(crate) fn current(&self) -> &str {
        self.current
            .get_or_init(|| hash::pod_template_hash(&self.template, self.collision_count))
    }

    /// Hash of the steps, empty for blue-green (CTL-92).
    pub(crate) fn steps(&self) -> &str {
        &self.steps
    }
}

/// The ReplicaSets of this Rollout, by creation time and name; `Err` is a plan that first has to
/// change who owns which (CTL-15).
pub(crate) fn claim(ctx: &Context<'_>) -> Result<Vec<Set>, Box<Plan>> {
    let seen = ctx.seen;
    let mut sets = Vec::with_capacity(seen.replica_sets.len());
    let mut actions: Vec<Planned> = Vec::new();
    let empty = std::collections::BTreeMap::new();
    for rs in &seen.replica_sets {
        if rs.pod_hash().is_none() {
            continue; // never watched by the peer either
        }
        let labels = rs.metadata.labels.as_ref().unwrap_or(&empty);
        let matches = !ctx.selector.is_empty() && ctx.selector.matches(labels);
        let controller = controller_of(&rs.metadata);
        let name = rs.metadata.name.clone().unwrap_or_default();
        let guard = rs.metadata.resource_version.clone().unwrap_or_default();
        let refused = failed(seen, &name);
        match controller {
            Some(owner) if owner.uid == ctx.uid() && matches => sets.push(Set::of(rs)),
            Some(owner) if owner.uid == ctx.uid() && !refused => {
                actions.push(Action::ReleaseReplicaSet { name, guard }.into());
            }
            None if matches && rs.metadata.deletion_timestamp.is_none() && !refused => {
                actions.push(Action::AdoptReplicaSet { name, guard }.into());
            }
            Some(_) | None => {}
        }
    }
    if !actions.is_empty() {
        let why = Why::new(
            Reason::WriteUnconfirmed,
            ctx.me(),
            "takes over or gives up ReplicaSets",
        );
        return Err(Box::new(Plan {
            actions,
            why: vec![why],
            ..Plan::default()
        }));
    }
    sets.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    Ok(sets)
}

fn failed(seen: &Observed, object: &str) -> bool {
    seen.failure
        .as_ref()
        .is_some_and(|failure| failure.object == object)
}

fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .as_ref()?
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// Index of the ReplicaSet of the current template (CTL-16): by hash, by the hashes of other
/// releases, by comparing templates. Among several, the one that status calls current (SE-1).
pub(crate) fn find_new(ctx: &Context<'_>, sets: &[Set]) -> Option<usize> {
    let current = &ctx.persisted.current_pod_hash;
    let by_hash = |hash: &str| sets.iter().position(|set| set.hash == hash);
    let found = by_hash(ctx.hashes.current());
    let recorded = by_hash(current).filter(|_| !current.is_empty());
    if ctx.pinned {
        return recorded;
    }
    if found.is_some() && (recorded.is_none() || recorded == found) {
        return found;
    }
    let known = hash::known_pod_template_hashes(ctx.template, ctx.persisted.collision_count);
    let compared = OnceCell::new();
    let runs = |set: &Set| {
        set.object
            .runs(compared.get_or_init(|| ctx.template.compared()))
    };
    let runs_it = |set: &Set| known.contains(&set.hash) || runs(set);
    recorded
        .filter(|i| sets.get(*i).is_some_and(runs_it))
        .or(found)
        .or_else(|| known.iter().find_map(|hash| by_hash(hash)))
        .or_else(|| sets.iter().position(runs))
}

/// What came of a missing ReplicaSet.
pub(crate) enum Creation {
    /// The plan creates it; the view has it.
    Planned,
    /// Nothing more can be decided in this plan.
    Blocked,
}

/// Plans the ReplicaSet of the current template (CTL-22, CTL-23).
pub(crate) fn create(ctx: &Context<'_>, view: &mut View) -> Creation {
    let name = format!("{}-{}", ctx.name(), ctx.hashes.current());
    let failure = ctx
        .seen
        .failure
        .as_ref()
        .filter(|failure| failure.object == name);
    let taken = ctx.seen.taken_names.contains(&name)
        || failure.is_some_and(|failure| failure.what == FailedWrite::ReplicaSetNameTaken);
    if taken {
        // The next look hashes with the new count, hence under another name.
        view.status.collision_count = Some(
            view.status
                .collision_count
                .map_or(1, |n| n.saturating_add(1)),
        );
        let message = "its name belongs to another object, the next one gets another hash";
        view.why.push(Why::new(
            Reason::WriteUnconfirmed,
            format!("ReplicaSet/{name}"),
            message,
        ));
        view.wake_at(ctx.now);
        return Creation::Blocked;
    }
    if let Some(failure) = failure.filter(|failure| failure.what == FailedWrite::CreateReplicaSet) {
        let condition = conditions::replica_set_failed(&name, &failure.message, ctx.now);
        let message = condition.message.clone();
        let why = Why::new(
            Reason::WriteUnconfirmed,
            format!("ReplicaSet/{name}"),
            message.clone(),
        );
        view.why.push(why);
        if conditions::set(&mut view.status.conditions, condition) {
            view.tell(Event::warning("ReplicaSetCreateError", message));
            view.wake_at(ctx.now);
            return Creation::Blocked;
        }
    }
    let revision = next_revision(&view.sets, None);
    let object = new_replica_set(ctx, &name, revision);
    view.sets.push(Set::planned(object, ctx.now));
    view.new = Some(view.sets.len() - 1);
    conditions::set(
        &mut view.status.conditions,
        conditions::replica_set_created(&name, ctx.now),
    );
    Creation::Planned
}

/// One more than the highest revision of the older ReplicaSets.
fn next_revision(sets: &[Set], new: Option<usize>) -> i64 {
    let older = sets.iter().enumerate().filter(|(i, _)| Some(*i) != new);
    older
        .map(|(_, set)| set.revision())
        .max()
        .unwrap_or(0)
        .saturating_add(1)
}

fn new_replica_set(ctx: &Context<'_>, name: &str, revision: i64) -> ReplicaSet {
    let hash = ctx.hashes.current();
    let stable = &ctx.persisted.stable_rs;
    let injected = metadata::of_new_set(ctx, stable);
    let template = metadata::spread(ctx, stable, hash).with(|template| {
        metadata::put(
            template,
            &["metadata", "labels", keys::POD_TEMPLATE_HASH],
            json!(hash),
        );
        for (member, entries) in [
            ("labels", &injected.labels),
            ("annotations", &injected.annotations),
        ] {
            for (key, value) in entries {
                metadata::put(template, &["metadata", member, key], json!(value));
            }
        }
    });
    let mut labels = ctx.template.labels();
    labels.insert(keys::POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    let mut annotations = metadata::copied_annotations(ctx);
    annotations.insert(keys::REVISION.to_owned(), revision.to_string());
    annotations.insert(keys::DESIRED_REPLICAS.to_owned(), ctx.replicas.to_string());
    if let Some(text) = metadata::recorded_text(&injected) {
        annotations.insert(keys::EPHEMERAL_METADATA.to_owned(), text);
    }
    let mut selector = ctx.selector.clone().into_owned();
    selector
        .match_labels
        .insert(keys::POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    let mut object = ReplicaSet::new(
        name,
        ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: ctx.spec().min_ready_seconds,
            selector,
            template,
        },
    );
    object.metadata.namespace = Some(ctx.namespace().to_owned());
    object.metadata.labels = Some(labels);
    object.metadata.annotations = Some(annotations);
    object.metadata.owner_references = Some(vec![owner(ctx)]);
    object
}

/// The Rollout as controller of a child.
pub(crate) fn owner(ctx: &Context<'_>) -> OwnerReference {
    OwnerReference {
        api_version: keys::API_VERSION.to_owned(),
        kind: "Rollout".to_owned(),
        name: ctx.name().to_owned(),
        uid: ctx.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Keeps annotations, revision, `minReadySeconds` and anti-affinity of the new ReplicaSet in step,
/// and the revision of the Rollout with it (CTL-24). Answers whether status changed.
pub(crate) fn sync(ctx: &Context<'_>, view: &mut View) -> bool {
    let Some(index) = view.new else { return false };
    let wanted = next_revision(&view.sets, Some(index));
    let stable = view.status.stable_rs.clone();
    let Some(set) = view.sets.get_mut(index) else {
        return false;
    };
    for (key, value) in metadata::copied_annotations(ctx) {
        set.annotations.insert(key, value);
    }
    let had = set.revision();
    if had < wanted {
        // Only a revision that really changes is history (SE-13).
        if let Some(old) = set
            .annotations
            .insert(keys::REVISION.to_owned(), wanted.to_string())
        {
            let history = set
                .annotations
                .entry(keys::REVISION_HISTORY.to_owned())
                .or_default();
            if !history.is_empty() {
                history.push(',');
            }
            history.push_str(&old);
        }
    }
    set.min_ready_seconds = ctx.spec().min_ready_seconds;
    if !set.fresh {
        metadata::sync_affinity(ctx, set, &stable);
    }
    let revision = set.revision().to_string();
    let name = set.name.clone();
    annotate(ctx, view, revision);
    let spoken = conditions::get(&view.status.conditions, conditions::kind::PROGRESSING).is_some();
    if !spoken {
        let condition = conditions::replica_set_found(&name, ctx.now);
        conditions::set(&mut view.status.conditions, condition);
    }
    !spoken
}

/// Brings the annotations of the Rollout itself up to date: its revision, and the generation of the
/// workload that its template comes from (CTL-144). They alone are written: anything else in the
/// object is the user's (SE-33).
fn annotate(ctx: &Context<'_>, view: &mut View, revision: String) {
    let referenced = ctx.spec().workload_ref.is_some();
    let generation = ctx.workload_generation().filter(|_| referenced);
    let renumbered = view.revision != revision;
    // What a reference left behind goes along with the next revision.
    let regenerated = view.workload_generation != generation && (referenced || renumbered);
    if !renumbered && !regenerated {
        return;
    }
    let mut patch = Map::new();
    let mut annotate = |key, value| {
        metadata::put(&mut patch, &["metadata", "annotations", key], value);
    };
    if renumbered {
        annotate(keys::REVISION, json!(revision));
    }
    if regenerated {
        annotate(keys::WORKLOAD_GENERATION, json!(generation));
        view.workload_generation = generation;
    }
    let action = Action::PatchRollout {
        patch: Value::Object(patch),
    };
    if !renumbered {
        return view.act(action);
    }
    let text = format!("Rollout updated to revision {revision}");
    view.act_telling(action, Event::normal("RolloutUpdated", text));
    view.revision = revision;
}

/// Whether going to the new ReplicaSet is going back to a recent one (CTL-94).
pub(crate) fn within_window(ctx: &Context<'_>, view: &View) -> bool {
    let window = ctx
        .spec()
        .rollback_window
        .as_ref()
        .map_or(0, |window| window.revisions);
    let (Some(new), Some(stable)) = (view.new_set(), view.stable_set()) else {
        return false;
    };
    if window <= 0 || new.name == stable.name || new.created >= stable.created || new.fresh {
        return false;
    }
    let between = view
        .sets
        .iter()
        .filter(|set| {
            !set.of_experiment() && set.created > new.created && set.created < stable.created
        })
        .count();
    i32::try_from(between).is_ok_and(|between| between < window)
}

/// Whether the new ReplicaSet is older than the stable one, or is the stable one (CTL-94).
pub(crate) fn rollback(view: &View) -> bool {
    let (Some(new), Some(stable)) = (view.new_set(), view.stable_set()) else {
        return false;
    };
    new.name == stable.name || (!new.fresh && new.created < stable.created)
}

/// A rollback that needs neither steps nor analysis (CTL-94).
pub(crate) fn fast_rollback(ctx: &Context<'_>, view: &View) -> bool {
    let Some(new) = view.new_set() else {
        return false;
    };
    rollback(view)
        && (within_window(ctx, view)
            || new.hash == view.status.stable_rs
            || (ctx.blue_green().is_some() && kept_up(ctx, new)))
}

/// The ReplicaSet came into this decision with a deadline that has not expired (CTL-5).
fn kept_up(ctx: &Context<'_>, set: &Set) -> bool {
    let deadline = Set::of(&set.object).deadline();
    !set.fresh && matches!(deadline, crate::decide::view::Deadline::At(at) if ctx.now < at)
}

/// The objects of all ReplicaSets, for the conditions.
pub(crate) fn objects(view: &View) -> Vec<Arc<ReplicaSet>> {
    view.sets
        .iter()
        .map(|set| Arc::clone(&set.object))
        .collect()
}
