//! Flags of the controller: the peer's names and defaults, so that its charts and scripts keep working
//! with another image (OPS-1).

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};
use sluice_crds::duration::{DurationError, GoDuration};

mod client;

pub use client::{ClientArgs, ClientError};

/// Progressive delivery for Kubernetes: canary and blue-green rollouts.
#[derive(Clone, Debug, Parser)]
#[command(name = "rollouts-controller", disable_version_flag = true)]
#[allow(clippy::struct_excessive_bools)] // they are flags
pub struct Args {
    /// How to reach the API server.
    #[command(flatten)]
    pub client: ClientArgs,

    /// Look after one namespace only: that of the client configuration.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false,
          default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub namespaced: bool,
    /// Only look after objects whose label argo-rollouts.argoproj.io/controller-instance-id has this
    /// value. Without it, only after those that lack the label.
    #[arg(long, default_value = "")]
    pub instance_id: String,
    /// Run only these controllers; the one value is `analysis`. All by default.
    #[arg(long, value_delimiter = ',')]
    pub controllers: Vec<String>,

    /// Workers for Rollouts.
    #[arg(long, default_value_t = 10)]
    pub rollout_threads: usize,
    /// Workers for Experiments.
    #[arg(long, default_value_t = 10)]
    pub experiment_threads: usize,
    /// Workers for Services that may have to be cleaned up.
    #[arg(long, default_value_t = 10)]
    pub service_threads: usize,
    /// Workers for Ingresses.
    #[arg(long, default_value_t = 10)]
    pub ingress_threads: usize,
    /// Workers for AnalysisRuns.
    #[arg(long, default_value_t = 30)]
    pub analysis_threads: usize,
    /// Parallel writes of pods in one pass.
    #[arg(long, default_value_t = 10)]
    pub ephemeral_metadata_threads: usize,
    /// Attempts at changing the metadata of a pod.
    #[arg(long, default_value_t = 3)]
    pub ephemeral_metadata_update_pod_retries: usize,
    /// Longest time between two looks at an object, in seconds.
    #[arg(long, default_value_t = 900)]
    pub rollout_resync: u32,

    /// Requests to the API server per second. Without it, the server's own fairness decides.
    #[arg(long)]
    pub qps: Option<f32>,
    /// Requests that may exceed --qps for a moment.
    #[arg(long)]
    pub burst: Option<u32>,

    /// Port of /metrics.
    #[arg(long = "metricsPort", alias = "metricsport", default_value_t = 8090)]
    pub metrics_port: u16,
    /// Port of /healthz.
    #[arg(long = "healthzPort", alias = "healthzport", default_value_t = 8080)]
    pub healthz_port: u16,

    /// Run only while holding a lease, so that several replicas may be deployed.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true,
          default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub leader_elect: bool,
    /// How long others wait for a lease that is not renewed.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub leader_election_lease_duration: Duration,
    /// How long the leader goes on without being able to renew.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub leader_election_renew_deadline: Duration,
    /// Time between two attempts to get or renew the lease.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub leader_election_retry_period: Duration,

    /// debug, info, warn or error.
    #[arg(long, default_value = "info")]
    pub loglevel: String,
    /// text or json.
    #[arg(long, default_value = "")]
    pub logformat: String,
    /// Accepted for compatibility.
    #[arg(long, default_value_t = 0)]
    pub kloglevel: u8,

    /// Version of Istio's kinds.
    #[arg(long, default_value = "v1alpha3")]
    pub istio_api_version: String,
    /// Group and version of Ambassador's kinds.
    #[arg(long, default_value = "getambassador.io/v2")]
    pub ambassador_api_version: String,
    /// Version of SMI's TrafficSplit.
    #[arg(long, default_value = "v1alpha1")]
    pub traffic_split_api_version: String,
    /// Group of Traefik's kinds.
    #[arg(long, default_value = "traefik.io")]
    pub traefik_api_group: String,
    /// Group and version of Traefik's kinds.
    #[arg(long, default_value = "traefik.io/v1alpha1")]
    pub traefik_api_version: String,
    /// Version of App Mesh's kinds.
    #[arg(long, default_value = "v1beta2")]
    pub appmesh_crd_version: String,
    /// networking/v1 or extensions/v1beta1.
    #[arg(long, default_value = "")]
    pub ingress_api_version: String,
    /// Ingress classes of the AWS load balancer controller.
    #[arg(long, default_value = "alb", value_delimiter = ',')]
    pub alb_ingress_classes: Vec<String>,
    /// Ingress classes of ingress-nginx.
    #[arg(long, default_value = "nginx", value_delimiter = ',')]
    pub nginx_ingress_classes: Vec<String>,
    /// Verify weights and targets of AWS load balancers.
    #[arg(long, alias = "alb-verify-weight", value_name = "BOOL", num_args = 0..=1,
          default_value_t = false, default_missing_value = "true", require_equals = true,
          action = ArgAction::Set)]
    pub aws_verify_target_group: bool,
    /// Group and version of TargetGroupBindings.
    #[arg(long, default_value = "elbv2.k8s.aws/v1beta1")]
    pub aws_target_group_binding_api_version: String,
    /// Tag by which load balancer resources are found.
    #[arg(long, default_value = "ingress.k8s.aws/resource")]
    pub alb_tag_key_resource_id: String,
    /// Allow notification settings in every namespace.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false,
          default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub self_service_notification_enabled: bool,
    /// Address of a profiling server.
    #[arg(long, default_value = "")]
    pub enable_pprof_address: String,
    /// Print the version and exit.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false,
          default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub version: bool,
}

/// The flags do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// `--controllers` with another value than `analysis`.
    #[error("unsupported controller: {0}")]
    UnsupportedController(String),
    /// Lease, deadline and period are out of order.
    #[error(
        "--leader-election-lease-duration ({lease:?}) must exceed --leader-election-renew-deadline \
         ({deadline:?}), and that --leader-election-retry-period ({period:?})"
    )]
    Election {
        /// Lease duration.
        lease: Duration,
        /// Renew deadline.
        deadline: Duration,
        /// Retry period.
        period: Duration,
    },
}

impl Args {
    /// Refuses flags that do not go together.
    ///
    /// # Errors
    /// Names the flag and its value.
    pub fn check(&self) -> Result<(), ArgsError> {
        if let Some(other) = self.controllers.iter().find(|name| *name != "analysis") {
            return Err(ArgsError::UnsupportedController(other.clone()));
        }
        let (lease, deadline, period) = (
            self.leader_election_lease_duration,
            self.leader_election_renew_deadline,
            self.leader_election_retry_period,
        );
        if lease <= deadline || deadline <= period {
            return Err(ArgsError::Election {
                lease,
                deadline,
                period,
            });
        }
        Ok(())
    }

    /// Flags that were given and do nothing yet.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&'static str> {
        let default = |given: &str, default: &str| given != default;
        let given = [
            ("--ingress-threads", self.ingress_threads != 10),
            (
                "--ephemeral-metadata-update-pod-retries",
                self.ephemeral_metadata_update_pod_retries != 3,
            ),
            ("--kloglevel", self.kloglevel != 0),
            (
                "--traefik-api-group",
                default(&self.traefik_api_group, "traefik.io"),
            ),
            (
                "--appmesh-crd-version",
                default(&self.appmesh_crd_version, "v1beta2"),
            ),
            (
                "--ingress-api-version",
                !matches!(&*self.ingress_api_version, "" | "networking/v1"),
            ),
            ("--alb-ingress-classes", self.alb_ingress_classes != ["alb"]),
            ("--aws-verify-target-group", self.aws_verify_target_group),
            (
                "--aws-target-group-binding-api-version",
                default(
                    &self.aws_target_group_binding_api_version,
                    "elbv2.k8s.aws/v1beta1",
                ),
            ),
            (
                "--alb-tag-key-resource-id",
                default(&self.alb_tag_key_resource_id, "ingress.k8s.aws/resource"),
            ),
            (
                "--self-service-notification-enabled",
                self.self_service_notification_enabled,
            ),
            (
                "--enable-pprof-address",
                !self.enable_pprof_address.is_empty(),
            ),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| flag)
            .collect()
    }

    /// Where kubeconfig files may lie, for messages.
    #[must_use]
    pub fn kubeconfig(&self) -> Option<&PathBuf> {
        self.client.kubeconfig.as_ref()
    }
}

/// A Go duration such as `15s` or `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: GoDuration = text
        .parse()
        .map_err(|error: DurationError| error.to_string())?;
    Duration::try_from(parsed.signed()).map_err(|_| format!("{text}: must not be negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Args {
        Args::try_parse_from([&["rollouts-controller"], args].concat()).unwrap()
    }

    #[test]
    fn the_command_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    /// OPS-1: what the Helm chart and the manifests of the peer pass.
    #[test]
    fn flags_of_the_peer_are_understood() {
        let args = parse(&[
            "--healthzPort=8081",
            "--metricsport",
            "9090",
            "--loglevel=debug",
            "--logformat=json",
            "--kloglevel=0",
            "--leader-elect",
            "--namespaced",
            "--controllers=analysis",
            "--leader-election-lease-duration=1m",
            "--nginx-ingress-classes=a,b",
            "--nginx-ingress-classes=c",
            "--qps=20",
            "--burst=40",
            "--alb-verify-weight",
            "--kubeconfig=/tmp/x",
            "-n",
            "apps",
        ]);
        assert_eq!((args.healthz_port, args.metrics_port), (8081, 9090));
        assert!(args.leader_elect && args.namespaced && args.aws_verify_target_group);
        assert_eq!(args.leader_election_lease_duration, Duration::from_secs(60));
        assert_eq!(args.nginx_ingress_classes, ["a", "b", "c"]);
        assert_eq!(args.check(), Ok(()));
        assert_eq!(args.without_effect(), ["--aws-verify-target-group"]);
        let args = parse(&["--leader-elect=false"]);
        assert!(!args.leader_elect);
        assert_eq!(args.qps, None, "D13");
        assert!(args.without_effect().is_empty());
    }

    #[test]
    fn wrong_flags_are_named() {
        let error = parse(&["--controllers", "rollouts"]).check().unwrap_err();
        assert_eq!(error.to_string(), "unsupported controller: rollouts");
        let args = parse(&["--leader-election-renew-deadline", "20s"]);
        assert!(matches!(args.check(), Err(ArgsError::Election { .. })));
    }
}
