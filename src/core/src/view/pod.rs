//! The one word for how a pod is doing, as `kubectl get pods` says it (CLI-19).

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};

use super::{Health, Info};

/// The word and its icon.
pub(crate) fn health(pod: &Pod) -> Health {
    let word = word(pod);
    Health {
        icon: icon(&word),
        word,
    }
}

/// `ready:1/2` and, if there were any, `restarts:3`.
pub(super) fn info(pod: &Pod) -> Vec<Info> {
    let statuses = statuses(pod.status.as_ref());
    let total = pod
        .spec
        .as_ref()
        .map_or(statuses.len(), |spec| spec.containers.len());
    let ready = statuses
        .iter()
        .filter(|one| is_ready_and_running(one))
        .count();
    let restarts: i32 = statuses.iter().map(|one| one.restart_count).sum();
    let mut info = vec![Info::Text(format!("ready:{ready}/{total}"))];
    if restarts > 0 {
        info.push(Info::Text(format!("restarts:{restarts}")));
    }
    info
}

fn statuses(status: Option<&PodStatus>) -> &[ContainerStatus] {
    status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default()
}

fn is_ready_and_running(one: &ContainerStatus) -> bool {
    one.ready
        && one
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
}

fn word(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let reason = status
        .and_then(|status| status.reason.clone())
        .unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return if reason == "NodeLost" {
            "Unknown".into()
        } else {
            "Terminating".into()
        };
    }
    if let Some(initialising) = initialising(pod) {
        return initialising;
    }
    let phase = status
        .and_then(|status| status.phase.clone())
        .unwrap_or_default();
    let mut word = if reason.is_empty() { phase } else { reason };
    let mut running = false;
    for one in statuses(status).iter().rev() {
        let stopped = one.state.as_ref().and_then(stopped);
        match stopped {
            Some(stopped) => word = stopped,
            None => running |= is_ready_and_running(one),
        }
    }
    if word == "Completed" && running {
        "Running".into()
    } else {
        word
    }
}

/// Why a container waits or how it ended; `None` while it runs.
fn stopped(state: &ContainerState) -> Option<String> {
    if let Some(waiting) = &state.waiting
        && let Some(reason) = waiting.reason.as_ref().filter(|reason| !reason.is_empty())
    {
        return Some(reason.clone());
    }
    let ended = state.terminated.as_ref()?;
    Some(match (&ended.reason, ended.signal) {
        (Some(reason), _) if !reason.is_empty() => reason.clone(),
        (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", ended.exit_code),
    })
}

/// `Init:...` while init containers are at work.
fn initialising(pod: &Pod) -> Option<String> {
    let containers = pod
        .spec
        .as_ref()?
        .init_containers
        .as_deref()
        .unwrap_or_default();
    let statuses = pod
        .status
        .as_ref()?
        .init_container_statuses
        .as_deref()
        .unwrap_or_default();
    for (index, one) in statuses.iter().enumerate() {
        let state = one.state.clone().unwrap_or_default();
        if state
            .terminated
            .as_ref()
            .is_some_and(|ended| ended.exit_code == 0)
        {
            continue;
        }
        let sidecar = containers
            .iter()
            .find(|container| container.name == one.name)
            .is_some_and(|container| container.restart_policy.as_deref() == Some("Always"));
        if sidecar && one.started == Some(true) {
            if one.ready {
                continue;
            }
            return None;
        }
        let why = stopped(&state).filter(|why| why != "PodInitializing");
        return Some(match why {
            Some(why) => format!("Init:{why}"),
            None => format!("Init:{index}/{}", containers.len()),
        });
    }
    None
}

fn icon(word: &str) -> char {
    match word {
        "Pending" | "Terminating" | "ContainerCreating" => '◌',
        "Running" | "Completed" => '✔',
        "Failed" | "InvalidImageName" | "CrashLoopBackOff" => '✖',
        "ImagePullBackOff" | "RegistryUnavailable" => '⚠',
        "Unknown" => '?',
        _ if word.starts_with("Init:") => '◌',
        _ if word.starts_with("Signal:") || word.starts_with("ExitCode:") => '✖',
        _ if word.ends_with("Error") || word.starts_with("Err") => '⚠',
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(status: serde_json::Value) -> String {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {},
            "spec": {
                "initContainers": [{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}],
                "containers": [{"name": "web"}, {"name": "log"}],
            },
            "status": status,
        }))
        .unwrap();
        let health = health(&pod);
        let info: Vec<String> = info(&pod).iter().map(ToString::to_string).collect();
        format!("{} {} {}", health.icon, health.word, info.join(","))
    }

    /// CLI-19
    #[test]
    fn words_are_kubectls() {
        let container = |name: &str, ready: bool, restarts: i32, state: serde_json::Value| {
            json!({"name": name, "ready": ready, "restartCount": restarts, "state": state,
                   "image": "", "imageID": ""})
        };
        let up = json!({"running": {}});
        for (status, wanted) in [
            (json!({"phase": "Pending"}), "◌ Pending ready:0/2"),
            (
                json!({"phase": "Running", "containerStatuses": [
                    container("web", true, 0, up.clone()), container("log", true, 2, up.clone())]}),
                "✔ Running ready:2/2,restarts:2",
            ),
            (
                json!({"phase": "Running", "containerStatuses": [
                    container("web", false, 4, json!({"waiting": {"reason": "CrashLoopBackOff"}})),
                    container("log", true, 0, up.clone())]}),
                "✖ CrashLoopBackOff ready:1/2,restarts:4",
            ),
            (
                json!({"phase": "Running", "containerStatuses": [
                    container("web", true, 0, up.clone()),
                    container("log", false, 0, json!({"terminated": {"exitCode": 0, "reason": "Completed"}}))]}),
                "✔ Running ready:1/2",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [
                    container("setup", false, 0, json!({"running": {}}))]}),
                "◌ Init:0/2 ready:0/2",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [
                    container("setup", false, 0, json!({"terminated": {"exitCode": 3}}))]}),
                "◌ Init:ExitCode:3 ready:0/2",
            ),
        ] {
            assert_eq!(shown(status), wanted);
        }
    }

    /// CLI-19: how init containers, sidecars and signals show, and what pods that go away are.
    #[test]
    fn words_of_what_begins_or_ends() {
        let init = |state: serde_json::Value, ready: bool, started: bool| {
            let done = json!({"name": "setup", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                "state": {"terminated": {"exitCode": 0}}});
            let proxy = json!({"name": "proxy", "ready": ready, "started": started, "restartCount": 0,
                "image": "", "imageID": "", "state": state});
            json!({"phase": "Pending", "initContainerStatuses": [done, proxy]})
        };
        let ended = |ended: serde_json::Value| {
            json!({"phase": "Running", "containerStatuses": [{"name": "web", "ready": false,
                "restartCount": 0, "image": "", "imageID": "", "state": {"terminated": ended}}]})
        };
        let up = json!({"running": {}});
        let preparing = json!({"waiting": {"reason": "PodInitializing"}});
        for (status, wanted) in [
            (init(up.clone(), true, true), "◌ Pending ready:0/2"),
            (init(up.clone(), false, true), "◌ Pending ready:0/2"),
            (init(up, false, false), "◌ Init:1/2 ready:0/2"),
            (init(preparing, false, false), "◌ Init:1/2 ready:0/2"),
            (
                ended(json!({"exitCode": 1, "signal": 9})),
                "✖ Signal:9 ready:0/2",
            ),
            (
                ended(json!({"exitCode": 7, "signal": 0})),
                "✖ ExitCode:7 ready:0/2",
            ),
            (
                ended(json!({"exitCode": 1, "reason": "Error"})),
                "⚠ Error ready:0/2",
            ),
            (
                ended(json!({"exitCode": 1, "reason": "Odd"})),
                "  Odd ready:0/2",
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted"}),
                "  Evicted ready:0/2",
            ),
        ] {
            assert_eq!(shown(status), wanted);
        }
        let going = |reason: &str| {
            let pod = json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"},
                "status": {"phase": "Running", "reason": reason}});
            health(&serde_json::from_value(pod).unwrap()).word
        };
        assert_eq!(going(""), "Terminating");
        assert_eq!(going("NodeLost"), "Unknown");
    }
}
