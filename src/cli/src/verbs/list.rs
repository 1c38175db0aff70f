//! `list rollouts` and `list experiments` (CLI-23..25).

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use sluice_core::view::list;
use sluice_crds::{Experiment, Rollout};

use crate::args::{ListExperiments, ListRollouts};
use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// `list rollouts`.
///
/// # Errors
/// When the API server refuses.
pub async fn rollouts(session: &Session, options: &ListRollouts) -> Result<(), Failure> {
    let api: Api<Rollout> = if options.all_namespaces {
        Api::all(session.client.clone())
    } else {
        Api::namespaced(session.client.clone(), &session.namespace)
    };
    let fields = options
        .name
        .as_ref()
        .map(|name| format!("metadata.name={name}"));
    let params = ListParams {
        field_selector: fields.clone(),
        ..ListParams::default()
    };
    let mut columns = list::ROLLOUT_COLUMNS.to_vec();
    if options.all_namespaces {
        columns.insert(0, list::NAMESPACE_COLUMN);
    }
    if options.timestamps {
        columns.push(("TIMESTAMP", 20));
    }
    let cells = |rollout: &Rollout| {
        let mut cells = list::rollout(rollout);
        if options.all_namespaces {
            cells.insert(0, rollout.metadata.namespace.clone().unwrap_or_default());
        }
        cells
    };
    let found = api.list(&params).await?;
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut rows = Vec::new();
    for rollout in &found.items {
        let cells = cells(rollout);
        known.insert(
            rollout.metadata.uid.clone().unwrap_or_default(),
            cells.clone(),
        );
        rows.push(stamped(cells, options.timestamps));
    }
    if rows.is_empty() && !options.watch {
        output::note("No resources found.");
        return Ok(());
    }
    for line in list::table(&columns, &rows) {
        output::line(line);
    }
    if !options.watch {
        return Ok(());
    }
    let config = watcher::Config {
        field_selector: fields,
        ..watcher::Config::default()
    };
    let changes = watcher(api, config).default_backoff().applied_objects();
    let mut changes = std::pin::pin!(changes.into_stream());
    let mut failures = 0;
    loop {
        let rollout = tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            change = changes.next() => match change {
                None => return Ok(()),
                Some(Ok(rollout)) => rollout,
                Some(Err(error)) => {
                    failures += 1;
                    if failures > 5 {
                        return Err(error.into());
                    }
                    continue;
                }
            },
        };
        failures = 0;
        let cells = cells(&rollout);
        let uid = rollout.metadata.uid.clone().unwrap_or_default();
        if known.get(&uid) != Some(&cells) {
            known.insert(uid, cells.clone());
            let row = stamped(cells, options.timestamps);
            if let Some(line) = list::table(&columns, &[row]).pop() {
                output::line(line);
            }
        }
    }
}

fn stamped(mut cells: Vec<String>, with_time: bool) -> Vec<String> {
    if with_time {
        let now = super::now().as_second();
        cells.push(Timestamp::from_second(now).unwrap_or_default().to_string());
    }
    cells
}

/// `list experiments`.
///
/// # Errors
/// When the API server refuses.
pub async fn experiments(session: &Session, options: &ListExperiments) -> Result<(), Failure> {
    let api: Api<Experiment> = if options.all_namespaces {
        Api::all(session.client.clone())
    } else {
        Api::namespaced(session.client.clone(), &session.namespace)
    };
    let mut columns = list::EXPERIMENT_COLUMNS.to_vec();
    if options.all_namespaces {
        columns.insert(0, list::NAMESPACE_COLUMN);
    }
    let found = api.list(&ListParams::default()).await?;
    let rows: Vec<Vec<String>> = found
        .items
        .iter()
        .map(|experiment| {
            let mut cells = list::experiment(experiment, super::now());
            if options.all_namespaces {
                cells.insert(0, experiment.metadata.namespace.clone().unwrap_or_default());
            }
            cells
        })
        .collect();
    if rows.is_empty() {
        output::note("No resources found.");
        return Ok(());
    }
    for line in list::table(&columns, &rows) {
        output::line(line);
    }
    Ok(())
}
