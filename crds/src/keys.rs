//! Labels and annotations that are part of the contract (API-40).

macro_rules! keys {
    ($($(#[$meta:meta])* $name:ident = $key:literal;)+) => {
        $($(#[$meta])* pub const $name: &str = $key;)+
    };
}

keys! {
    /// Label of ReplicaSets and pods, member of Service selectors and subsets: the pod hash.
    POD_TEMPLATE_HASH = "rollouts-pod-template-hash";
    /// Annotation of Rollouts, ReplicaSets, runs and Experiments: revision number.
    REVISION = "rollout.argoproj.io/revision";
    /// Annotation of ReplicaSets: comma list of earlier revisions.
    REVISION_HISTORY = "rollout.argoproj.io/revision-history";
    /// Annotation of ReplicaSets: `spec.replicas` of the Rollout at the last sizing.
    DESIRED_REPLICAS = "rollout.argoproj.io/desired-replicas";
    /// Annotation of Rollouts: generation of the referenced workload.
    WORKLOAD_GENERATION = "rollout.argoproj.io/workload-generation";
    /// Annotation of ReplicaSets: JSON of the metadata injected into it and its pods.
    EPHEMERAL_METADATA = "rollout.argoproj.io/ephemeral-metadata";
    /// Annotation of ReplicaSets, without prefix: RFC 3339 time after which it goes to 0.
    SCALE_DOWN_DEADLINE = "scale-down-deadline";
    /// Annotation of ReplicaSets, declared by the peer and not used.
    RESTARTED_AFTER = "argo-rollouts.argoproj.io/restarted-after";
    /// Label of all kinds: which controller instance is responsible.
    INSTANCE_ID = "argo-rollouts.argoproj.io/controller-instance-id";
    /// Annotation of Services, DestinationRules and VirtualNodes: name of the managing Rollout.
    MANAGED_BY = "argo-rollouts.argoproj.io/managed-by-rollouts";
    /// Annotation of ReplicaSets and Services of an Experiment: its name.
    EXPERIMENT_NAME = "experiment.argoproj.io/name";
    /// Annotation of ReplicaSets and Services of an Experiment: the template.
    EXPERIMENT_TEMPLATE = "experiment.argoproj.io/template-name";
    /// Label of AnalysisRuns of a Rollout: one of the `ROLLOUT_TYPE_` values.
    ROLLOUT_TYPE = "rollout-type";
    /// Value of [`ROLLOUT_TYPE`] for a run of a step.
    ROLLOUT_TYPE_STEP = "Step";
    /// Value of [`ROLLOUT_TYPE`] for the background run.
    ROLLOUT_TYPE_BACKGROUND = "Background";
    /// Value of [`ROLLOUT_TYPE`] for the run before a blue-green switch.
    ROLLOUT_TYPE_PRE_PROMOTION = "PrePromotion";
    /// Value of [`ROLLOUT_TYPE`] for the run after a blue-green switch.
    ROLLOUT_TYPE_POST_PROMOTION = "PostPromotion";
    /// Label of AnalysisRuns of a step: its index.
    STEP_INDEX = "step-index";
    /// Label of Jobs and their pods: uid of the AnalysisRun.
    JOB_RUN_UID = "analysisrun.argoproj.io/uid";
    /// Annotation of Jobs: name of the AnalysisRun.
    JOB_RUN_NAME = "analysisrun.argoproj.io/name";
    /// Annotation of Jobs: namespace of the AnalysisRun.
    JOB_RUN_NAMESPACE = "analysisrun.argoproj.io/namespace";
    /// Annotation of Jobs: metric.
    JOB_METRIC_NAME = "analysisrun.argoproj.io/metric-name";
    /// Measurement metadata: name of the Job.
    MEASUREMENT_JOB_NAME = "job-name";
    /// Measurement metadata: namespace of the Job.
    MEASUREMENT_JOB_NAMESPACE = "job-namespace";
    /// Annotation of ALB Ingresses: JSON map of Rollout to annotation keys.
    ALB_MANAGED_ANNOTATIONS = "rollouts.argoproj.io/managed-alb-annotations";
    /// Annotation of ALB Ingresses from old releases; deleted when seen.
    ALB_MANAGED_ACTIONS = "rollouts.argoproj.io/managed-alb-actions";
    /// Annotation copied from the stable to the canary Ingress of ingress-nginx.
    INGRESS_CLASS = "kubernetes.io/ingress.class";
    /// Default prefix of ingress-nginx annotations.
    NGINX_PREFIX = "nginx.ingress.kubernetes.io";
    /// Default prefix of ALB annotations.
    ALB_PREFIX = "alb.ingress.kubernetes.io";
    /// Label of Secrets: kubeconfig of the Istio primary cluster when `true`.
    ISTIO_PRIMARY_CLUSTER = "istio.argoproj.io/primary-cluster";
    /// Annotation of kubectl, never copied.
    LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";
    /// Annotation of the notification engine, never copied.
    NOTIFIED = "notified.notifications.argoproj.io";
    /// Prefix of subscriptions of the notification engine.
    SUBSCRIBE_PREFIX = "notifications.argoproj.io/subscribe.";
    /// Key of the Gateway API settings under `trafficRouting.plugins`.
    PLUGIN_GATEWAY_API = "argoproj-labs/gatewayAPI";
    /// Topology of the injected anti-affinity.
    HOSTNAME_TOPOLOGY = "kubernetes.io/hostname";
}

/// Annotations of a Rollout that are not copied to its ReplicaSets (API-40).
pub const NOT_COPIED: [&str; 5] = [
    LAST_APPLIED,
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    NOTIFIED,
];

/// API group of all kinds.
pub const GROUP: &str = "argoproj.io";
/// API version of all kinds.
pub const API_VERSION: &str = "argoproj.io/v1alpha1";

#[cfg(test)]
mod tests {
    use super::*;

    /// API-40: keys that no record shows, and what of a Rollout is not copied to its ReplicaSets.
    #[test]
    fn keys_are_those_of_the_rules() {
        assert_eq!(
            INSTANCE_ID,
            "argo-rollouts.argoproj.io/controller-instance-id"
        );
        assert_eq!(RESTARTED_AFTER, "argo-rollouts.argoproj.io/restarted-after");
        assert_eq!(EPHEMERAL_METADATA, "rollout.argoproj.io/ephemeral-metadata");
        assert_eq!(
            ALB_MANAGED_ANNOTATIONS,
            "rollouts.argoproj.io/managed-alb-annotations"
        );
        assert_eq!(
            ALB_MANAGED_ACTIONS,
            "rollouts.argoproj.io/managed-alb-actions"
        );
        assert_eq!(ISTIO_PRIMARY_CLUSTER, "istio.argoproj.io/primary-cluster");
        assert_eq!(NOTIFIED, "notified.notifications.argoproj.io");
        assert_eq!(SUBSCRIBE_PREFIX, "notifications.argoproj.io/subscribe.");
        assert_eq!(INGRESS_CLASS, "kubernetes.io/ingress.class");
        assert_eq!(
            (NGINX_PREFIX, ALB_PREFIX),
            ("nginx.ingress.kubernetes.io", "alb.ingress.kubernetes.io")
        );
        assert_eq!(
            [
                ROLLOUT_TYPE_STEP,
                ROLLOUT_TYPE_BACKGROUND,
                ROLLOUT_TYPE_PRE_PROMOTION,
                ROLLOUT_TYPE_POST_PROMOTION
            ],
            ["Step", "Background", "PrePromotion", "PostPromotion"]
        );
        for key in [
            "kubectl.kubernetes.io/last-applied-configuration",
            "rollout.argoproj.io/revision",
            "rollout.argoproj.io/revision-history",
            "rollout.argoproj.io/desired-replicas",
            "notified.notifications.argoproj.io",
        ] {
            assert!(NOT_COPIED.contains(&key), "{key}");
        }
    }
}
