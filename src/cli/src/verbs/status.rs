//! `status` (CLI-26, CLI-27).

use std::time::Duration;

use kube::api::Api;
use sluice_core::phase::{self, PhaseView};
use sluice_crds::Rollout;
use sluice_crds::duration::GoDuration;
use sluice_crds::rollout::RolloutPhase;

use crate::args::Status;
use crate::client::Session;
use crate::failure::Failure;
use crate::output;

/// Prints the phase; waits for its end when asked to.
///
/// # Errors
/// When the rollout is degraded, when the time is up, or when the API server refuses.
pub async fn run(session: &Session, options: &Status) -> Result<(), Failure> {
    let api: Api<Rollout> = Api::namespaced(session.client.clone(), &session.namespace);
    let timeout: GoDuration = options
        .timeout
        .parse()
        .map_err(|error| Failure::message(format_args!("--timeout: {error}")))?;
    let mut printed = String::new();
    if !options.watch {
        let shown = phase::shown(&read(&api, &options.name).await?);
        return ended(&shown, &mut printed).unwrap_or(Ok(()));
    }
    let patience = Duration::try_from(timeout.signed()).unwrap_or_default();
    let watching = watch(&api, &options.name, &mut printed);
    if patience.is_zero() {
        tokio::select! {
            result = watching => return result,
            _ = tokio::signal::ctrl_c() => {}
        }
    } else {
        tokio::select! {
            result = watching => return result,
            () = tokio::time::sleep(patience) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    // The last word is the cluster's, not the last event's.
    let shown = phase::shown(&read(&api, &options.name).await?);
    ended(&shown, &mut printed)
        .filter(|_| matches!(shown.phase, RolloutPhase::Healthy | RolloutPhase::Degraded))
        .unwrap_or_else(|| Err(Failure::message("Rollout status watch exceeded timeout")))
}

/// Reads it; in the words of this verb where it is not there (CLI-3).
async fn read(api: &Api<Rollout>, name: &str) -> Result<Rollout, Failure> {
    let found = api.get_opt(name).await?;
    found.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Failure {
    Failure::message(format_args!("rollout.argoproj.io {name:?} not found"))
}

async fn watch(api: &Api<Rollout>, name: &str, printed: &mut String) -> Result<(), Failure> {
    use futures::StreamExt;
    // A rollout that is not there is an answer, not a reason to wait.
    read(api, name).await?;
    let mut objects = std::pin::pin!(kube::runtime::watcher::watch_object(api.clone(), name));
    while let Some(object) = objects.next().await {
        let object = match object {
            Ok(Some(object)) => object,
            Ok(None) => {
                return Err(missing(name));
            }
            Err(_) => {
                // The watcher sets itself up again; it must not be asked in a busy loop.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        if let Some(result) = ended(&phase::shown(&object), printed) {
            return result;
        }
    }
    Ok(())
}

/// Prints the phase when its text is new; the result, if the phase is one that ends the wait.
fn ended(shown: &PhaseView, printed: &mut String) -> Option<Result<(), Failure>> {
    let ends = matches!(shown.phase, RolloutPhase::Healthy | RolloutPhase::Degraded);
    let text = if ends || shown.message.is_empty() {
        shown.phase.as_str().to_owned()
    } else {
        format!("{} - {}", shown.phase.as_str(), shown.message)
    };
    if *printed != text {
        output::line(&text);
        *printed = text;
    }
    match shown.phase {
        RolloutPhase::Healthy => Some(Ok(())),
        RolloutPhase::Degraded => Some(Err(Failure::message(format_args!(
            "The rollout is in a degraded state with message: {}",
            shown.message
        )))),
        _ => None,
    }
}
