//! What may differ from the record, each with its reason; anything else is a bug.

use super::compare::Difference;

/// A difference that is meant. Patterns know `*` for any text.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// The rule by which `crds/COMPAT.md` lists it, or what else makes it inevitable.
    pub rule: &'static str,
    /// Why.
    pub reason: &'static str,
    /// `case/moment`.
    pub at: &'static str,
    /// The object.
    pub object: &'static str,
    /// The field.
    pub path: &'static str,
    /// The peer's value; `-` for none.
    pub theirs: &'static str,
    /// Our value; `-` for none.
    pub ours: &'static str,
}

impl Exception {
    /// Whether it is about this difference.
    #[must_use]
    pub fn covers(&self, found: &Difference) -> bool {
        let at = format!("{}/{}", found.case, found.moment);
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        matches(self.at, &at)
            && matches(self.object, &found.object)
            && matches(self.path, &found.path)
            && matches(self.theirs, &value(&found.theirs))
            && matches(self.ours, &value(&found.ours))
    }
}

/// Whether a text is as the pattern says.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

/// Any text.
const ANY: &str = "*";
/// Nothing.
const NONE: &str = "-";
/// Marks what lies in how the record came about, and not in the peer: no rule is concerned.
pub const RECORD: &str = "record";

/// All that may differ.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "pods whose share of traffic went down stay for 30 s, as others do",
        at: "10-dynamic-stable-scale/*",
        object: "Pod canary-dynamic-*",
        path: "",
        theirs: NONE,
        ours: "there",
    },
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "as above",
        at: "10-dynamic-stable-scale/*",
        object: "ReplicaSet canary-dynamic-*",
        path: "metadata.annotations.scale-down-deadline",
        theirs: NONE,
        ours: ANY,
    },
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "as above",
        at: "10-dynamic-stable-scale/2-mid",
        object: "ReplicaSet canary-dynamic-bfb95d6d8",
        path: "*eplicas",
        theirs: "2",
        ours: "4",
    },
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "as above",
        at: "10-dynamic-stable-scale/3-aborted",
        object: "ReplicaSet canary-dynamic-9f7c9b4d5",
        path: "*eplicas",
        theirs: "0",
        ours: "2",
    },
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "as above",
        at: "10-dynamic-stable-scale/3-aborted",
        object: "ReplicaSet canary-dynamic-9f7c9b4d5",
        path: "status.*eplicas",
        theirs: NONE,
        ours: "2",
    },
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "as above",
        at: "10-dynamic-stable-scale/*",
        object: "Rollout canary-dynamic",
        path: "status.*eplicas",
        theirs: "4",
        ours: "6",
    },
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "as above",
        at: "10-dynamic-stable-scale/3-aborted",
        object: "Rollout canary-dynamic",
        path: "status.updatedReplicas",
        theirs: NONE,
        ours: "2",
    },
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "as above: without fewer pods there is no progress to tell of",
        at: "10-dynamic-stable-scale/2-mid",
        object: "Rollout canary-dynamic",
        path: "status.conditions#order",
        theirs: ANY,
        ours: ANY,
    },
    Exception {
        rule: "CTL-60, CTL-65, INV-3, FLT-13",
        reason: "as above",
        at: "10-dynamic-stable-scale/2-mid",
        object: "Events",
        path: "Rollout canary-dynamic Normal ScalingReplicaSet: Scaled down ReplicaSet \
               canary-dynamic-bfb95d6d8 (revision 1) from 4 to 3",
        theirs: "said",
        ours: NONE,
    },
    Exception {
        rule: "API-70",
        reason: "`abort: false`, as `retry` leaves it, means nothing; the peer's next whole write of \
                 the status drops it, ours never writes the whole",
        at: "*/5-mid-v3",
        object: "Rollout *",
        path: "status.abort",
        theirs: NONE,
        ours: "false",
    },
    Exception {
        rule: "API-8",
        reason: "the template of a Job is copied as it is written; the peer's types add empty members",
        at: "*",
        object: "AnalysisRun *",
        path: "spec.metrics[*].provider.job.spec.template.metadata",
        theirs: "{}",
        ours: NONE,
    },
    Exception {
        rule: "API-8",
        reason: "as above",
        at: "*",
        object: "AnalysisRun *",
        path: "spec.metrics[*].provider.job.spec.template.spec.containers[*].resources",
        theirs: "{}",
        ours: NONE,
    },
    Exception {
        rule: "SE-2",
        reason: "the peer rewrites the selector of an aborted canary's Service several times",
        at: "04-canary-nginx/3-aborted",
        object: "Events",
        path: "Rollout canary-nginx Normal SwitchService: Switched selector for service \
               'nginx-canary' from '76bff549cf' to '677bf9f6d6'",
        theirs: "said",
        ours: NONE,
    },
    Exception {
        rule: "SE-2",
        reason: "as above: the record was taken between two of them",
        at: "11-headers-mirror/3-aborted",
        object: "Service headers-canary",
        path: "spec.selector.rollouts-pod-template-hash",
        theirs: ANY,
        ours: ANY,
    },
    Exception {
        rule: "TRF-105..109, SE-26",
        reason: "no event where no managed route was there to be removed",
        at: "11-headers-mirror/*",
        object: "Events",
        path: "Rollout canary-headers Normal Updated VirtualService: * removed all managed routes.",
        theirs: "said",
        ours: NONE,
    },
    Exception {
        rule: "TRF-105..109, SE-26",
        reason: "the peer writes the object several times in a pass and trips over itself",
        at: "11-headers-mirror/3-aborted",
        object: "Events",
        path: "Rollout canary-headers Warning TrafficRoutingError: Operation cannot be fulfilled on *",
        theirs: "said",
        ours: NONE,
    },
    Exception {
        rule: "SE-33, CTL-7",
        reason: "the peer sends the whole spec back, empty members added, which is a generation more",
        at: "09-experiment/*",
        object: "Rollout canary-experiment",
        path: "spec.strategy.canary.steps[0].experiment.*etadata",
        theirs: "{}",
        ours: NONE,
    },
    Exception {
        rule: "SE-33, CTL-7",
        reason: "as above",
        at: "09-experiment/*",
        object: "Rollout canary-experiment",
        path: "metadata.generation",
        theirs: ANY,
        ours: ANY,
    },
    Exception {
        rule: "SE-33, CTL-7",
        reason: "as above",
        at: "09-experiment/*",
        object: "Rollout canary-experiment",
        path: "status.observedGeneration",
        theirs: ANY,
        ours: ANY,
    },
    Exception {
        rule: "SE-13",
        reason: "only a revision that rises makes history, not any annotation",
        at: "06-workloadref/*",
        object: "ReplicaSet workload-7b896667d9",
        path: "metadata.annotations.rollout.argoproj.io/revision-history",
        theirs: "\"1\"",
        ours: NONE,
    },
    Exception {
        rule: "SE-34",
        reason: "the peer lost a race with its own annotation after it had made the ReplicaSet, and \
                 with it the event",
        at: "06-workloadref/1-rest",
        object: "Events",
        path: "Rollout workload Normal NewReplicaSetCreated: Created ReplicaSet *",
        theirs: NONE,
        ours: "said",
    },
    Exception {
        rule: "ASE-11, ASE-12, ASE-13",
        reason: "the peer did not find the third Job in its cache and took that for an error",
        at: "07-analysis/*",
        object: "AnalysisRun canary-analysis-55677d7fd4-2",
        path: "status.metricResults[watch].measurements[2].*",
        theirs: ANY,
        ours: ANY,
    },
    Exception {
        rule: "ASE-11, ASE-12, ASE-13",
        reason: "as above: one more success, and no error",
        at: "07-analysis/*",
        object: "AnalysisRun canary-analysis-55677d7fd4-2",
        path: "status.metricResults[watch].c*",
        theirs: ANY,
        ours: ANY,
    },
    Exception {
        rule: "ASE-11, ASE-12, ASE-13",
        reason: "as above",
        at: "07-analysis/*",
        object: "AnalysisRun canary-analysis-55677d7fd4-2",
        path: "status.metricResults[watch].successful",
        theirs: ANY,
        ours: ANY,
    },
    Exception {
        rule: "ASE-11, ASE-12, ASE-13",
        reason: "as above",
        at: "07-analysis/*",
        object: "AnalysisRun canary-analysis-55677d7fd4-2",
        path: "status.metricResults[watch].error",
        theirs: "1",
        ours: NONE,
    },
    Exception {
        rule: RECORD,
        reason: "its pods became ready one after the other, ours at once: fewer steps down",
        at: "08-analysis-fails/4-promoted",
        object: "Events",
        path: "Rollout canary-fails Normal ScalingReplicaSet: Scaled down ReplicaSet \
               canary-fails-65f9dd6f7b (revision 1) from * to *",
        theirs: "said",
        ours: NONE,
    },
];

/// Kinds of texts (see [`super::events::Told::shapes`]) that no record has, because the peer had written
/// its 25 events before it came to them. Of everything else that it did not write for that reason, the
/// same is said elsewhere.
pub const UNHEARD: [&str; 5] = [
    "Normal RolloutStepCompleted: Rollout step # completed # #",
    "Normal RolloutStepCompleted: Rollout step # completed (setHeaderRoute: #",
    "Normal RolloutStepCompleted: Rollout step # completed (setMirrorRoute: shadow)",
    "Normal Updated VirtualService: VirtualService # set headerRoute #",
    "Normal Updated VirtualService: VirtualService # set mirrorRoute #",
];

/// What no exception covers, and exceptions that nothing needs any more.
#[must_use]
pub fn judge(found: &[Difference]) -> (Vec<&Difference>, Vec<&'static Exception>) {
    let unexplained = found
        .iter()
        .filter(|one| !EXCEPTIONS.iter().any(|exception| exception.covers(one)))
        .collect();
    let stale = EXCEPTIONS
        .iter()
        .filter(|exception| !found.iter().any(|one| exception.covers(one)))
        .collect();
    (unexplained, stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_the_whole_text() {
        for (pattern, text, wanted) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("*", "", true),
            ("*/5-mid-v3", "01/5-mid-v3", true),
            ("*/5-mid-v3", "01/5-mid-v3x", false),
            ("m[*].t", "m[one].t", true),
            ("m[*].t", "m[one].u", false),
            ("from * to *", "from 3 to 2", true),
            ("from * to *", "down from 3 to 2", false),
            ("a*ab", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
