//! Our controller leaves what the recorded peer left, on the simulated cluster in virtual time.
//!
//! Sixteen manifests go through five moments each. Every field of Rollouts, ReplicaSets, Services, routes,
//! AnalysisRuns, Experiments, Jobs and pods, and the events between one moment and the next, are as in the
//! record, but for times and what `records::exceptions` lists with the row of `crds/COMPAT.md` that says
//! so. It also shows that Rollouts can be handed back: what stands at `1-rest` and `4-promoted` is what the
//! peer itself leaves there, and takes up again.
//!
//! `SLUICE_RECORD=01` plays only cases whose name contains that; `SLUICE_RECORD_OUT=folder` keeps what
//! our controller left, in files like those of the record.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use sluice_e2e::records::{MOMENTS, compare, events, exceptions, play};
use sluice_e2e::takeover;

/// What was found in all cases.
#[derive(Default)]
struct Found {
    differences: Vec<compare::Difference>,
    /// Kinds of events that the peer wrote, and that we wrote.
    shapes: [BTreeSet<String>; 2],
}

/// Plays a case and compares it with its record.
fn hold_against_record(case: &str, found: &mut Found) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    let ours = runtime.block_on(play::play(case));
    runtime.shutdown_background();
    let ours = ours?;
    let mut before = None;
    for moment in MOMENTS {
        let theirs = takeover::recorded(case, moment.name)?;
        let ours = ours.get(moment.name).map_or(&[][..], Vec::as_slice);
        keep(case, moment.name, ours)?;
        let objects = compare::differences(case, moment.name, &theirs, ours);
        let told = (events::told(&theirs), events::told(ours));
        let (their_past, our_past) = match &before {
            Some((theirs, ours)) => (Some(theirs), Some(ours)),
            None => (None, None),
        };
        let theirs = (their_past, &told.0);
        let ours = (our_past, &told.1);
        let texts = events::differences(case, moment.name, theirs, ours);
        found.differences.extend(objects.into_iter().chain(texts));
        found.shapes[0].extend(told.0.shapes());
        found.shapes[1].extend(told.1.shapes());
        before = Some(told);
    }
    Ok(())
}

/// For a closer look: what stood in our cluster.
fn keep(case: &str, moment: &str, ours: &[serde_json::Value]) -> anyhow::Result<()> {
    let Some(folder) = std::env::var_os("SLUICE_RECORD_OUT") else {
        return Ok(());
    };
    let folder = Path::new(&folder).join(case);
    std::fs::create_dir_all(&folder)?;
    let text = serde_json::to_string_pretty(&serde_json::json!({ "items": ours }))?;
    std::fs::write(folder.join(format!("{moment}.json")), text)?;
    Ok(())
}

#[test]
fn every_record_comes_out_equal() {
    let only = std::env::var("SLUICE_RECORD").ok();
    if std::env::var_os("SLUICE_LOG").is_some() {
        let _ = tracing_subscriber::fmt()
            .with_env_filter("sluice=debug")
            .try_init();
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (mut found, mut failures) = (Found::default(), String::new());
    for case in takeover::cases().unwrap() {
        if only
            .as_ref()
            .is_some_and(|only| !case.contains(only.as_str()))
        {
            continue;
        }
        if let Err(error) = hold_against_record(&case, &mut found) {
            writeln!(failures, "{case}: {error:#}").unwrap();
        }
    }
    let (unexplained, stale) = exceptions::judge(&found.differences);
    // What comes after the differences lists every rule.
    let compat = include_str!("../../crds/COMPAT.md");
    let compat = compat.split("\n## Rules and their tests").next().unwrap();
    for one in exceptions::EXCEPTIONS {
        let listed =
            one.rule == exceptions::RECORD || compat.contains(&format!("| {} |", one.rule));
        assert!(listed, "crds/COMPAT.md says nothing about {}", one.rule);
    }
    for one in unexplained {
        writeln!(failures, "{one}").unwrap();
    }
    for one in stale.iter().filter(|_| only.is_none()) {
        writeln!(failures, "nothing needs this exception any more: {one:?}").unwrap();
    }
    assert!(failures.is_empty(), "{failures}");
    if only.is_none() {
        let [theirs, ours] = &found.shapes;
        let unheard: Vec<&String> = ours.difference(theirs).collect();
        assert_eq!(unheard, exceptions::UNHEARD, "no record has such events");
    }
}
