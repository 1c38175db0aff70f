//! What the API server refuses, or has not shown yet.

use super::*;
use crate::why::Reason;

fn analysed() -> World {
    super::analysed(json!({}))
}

/// EXP-13, INV-15: a run that was started and is not in the cache yet is neither lost nor made anew.
#[test]
fn a_run_that_has_not_been_seen_is_waited_for() {
    let mut world = analysed();
    world.settle();
    world.seen.analysis_runs.clear();
    let plan = world.pass();
    assert!(plan.status.is_none() && plan.actions.is_empty(), "{plan:?}");
    let whys: Vec<_> = plan
        .why
        .iter()
        .map(|why| (why.reason, &*why.object))
        .collect();
    assert!(
        whys.contains(&(Reason::WriteUnconfirmed, "AnalysisRun/ab-check")),
        "{whys:?}"
    );
}

/// EXP-12: a run that cannot be made, and one for which no name is free.
#[test]
fn a_run_that_cannot_be_made_ends_it() {
    let start = "Error Failed to create AnalysisRun for analysis 'check': ";
    let mut refused = analysed();
    let run = "AnalysisRun/ab-check";
    refused.seen.refused.insert(run.into(), "forbidden".into());
    refused.settle();
    assert_eq!(refused.phase(), format!("{start}forbidden"));
    let mut taken = analysed();
    let names = (1..1000).map(|number| format!("{run}.{number}"));
    taken.seen.taken_names.extend(names);
    taken.seen.taken_names.insert(run.into());
    taken.settle();
    let phase = taken.phase();
    let rest = phase.strip_prefix(start).unwrap();
    assert!(
        rest.starts_with("every name from ab-check to ab-check.") && rest.ends_with("is taken"),
        "{phase}"
    );
}

/// EXP-9: a Service that is not asked for any more and cannot be deleted ends it in Error.
#[test]
fn a_service_that_cannot_be_deleted_ends_it() {
    let mut world = World::new(json!({ "templates": [template("a", json!({ "service": {} }))] }));
    world.settle();
    assert_eq!(world.seen.services.len(), 1);
    let bare = json!([template("a", json!({}))]);
    world.edit(|e| e.spec.templates = serde_json::from_value(bare).unwrap());
    let refused = &mut world.seen.refused;
    refused.insert("Service/ab-a".into(), "forbidden".into());
    world.pass();
    assert_eq!(
        world.phase(),
        "Error Failed to delete Service for template 'a': forbidden"
    );
}

/// EXP-15: a template that failed is worse than one that could not be made; the first of the worst
/// tells why.
#[test]
fn the_worst_template_tells_why() {
    let templates = ["a", "b", "c"].map(|name| template(name, json!({})));
    let mut world = World::new(json!({ "templates": templates }));
    world.settle();
    let code = |code: TemplateStatusCode, message: &str| (code, message.to_owned());
    let set = [
        code(TemplateStatusCode::Error, "no quota"),
        code(TemplateStatusCode::Failed, "too late"),
        code(TemplateStatusCode::Failed, "later still"),
    ];
    world.edit(|e| {
        let status = e.status.as_mut().unwrap();
        status.phase = AnalysisPhase::Running;
        for (template, (code, message)) in status.template_statuses.iter_mut().zip(set) {
            template.status = code;
            template.message = message;
        }
    });
    world.pass();
    assert_eq!(world.phase(), "Failed too late");
}

/// EXP-15: an analysis that has failed counts, whatever others have not begun by then.
#[test]
fn a_failure_counts_before_the_others_begin() {
    for required in [false, true] {
        let analyses = json!([
            { "name": "check", "templateName": "ok" },
            { "name": "later", "templateName": "ok", "requiredForCompletion": required },
        ]);
        let mut world =
            World::new(json!({ "templates": [template("a", json!({}))], "analyses": analyses }));
        world.settle();
        world.edit(|e| {
            let runs = &mut e.status.as_mut().unwrap().analysis_runs;
            runs.retain(|run| run.name == "check");
            for run in runs {
                run.phase = AnalysisPhase::Failed; // as read: nothing is begun any more
            }
        });
        world.seen.analysis_runs.remove("ab-later");
        world.measured("ab-check", AnalysisPhase::Failed);
        world.pass();
        assert_eq!(world.status().analysis_runs.len(), 1);
        assert_eq!(world.phase(), "Failed", "required: {required}");
    }
}

/// EXP-8: without a delay pods go in the pass that ends their template, and a deadline from before the
/// delay was taken away does not hold them up.
#[test]
fn without_a_delay_pods_go_at_once() {
    let spec = |delay: i32| {
        json!({ "duration": "1m", "scaleDownDelaySeconds": delay,
            "templates": [template("a", json!({}))] })
    };
    let size = |world: &World| world.seen.replica_sets[0].spec.replicas;
    for before in [0, 30] {
        let mut world = World::new(spec(before));
        world.settle();
        world.second = 61;
        if before > 0 {
            world.pass();
            world.pass();
            let set = &world.seen.replica_sets[0];
            assert!(set.annotation(keys::SCALE_DOWN_DEADLINE).is_some());
            assert_eq!(size(&world), Some(1));
            world.edit(|e| e.spec.scale_down_delay_seconds = Some(0));
        } else {
            world.pass();
        }
        world.pass();
        assert_eq!(size(&world), Some(0), "delay before: {before} s");
        let set = &world.seen.replica_sets[0];
        assert_eq!(set.annotation(keys::SCALE_DOWN_DEADLINE), None);
    }
}
