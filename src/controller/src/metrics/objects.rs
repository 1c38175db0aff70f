//! Gauges about objects, computed from the caches at each scrape (OPS-13, OPS-17).

use std::sync::Arc;

use kube::{Resource, ResourceExt};
use prometheus::{GaugeVec, Opts, Registry};
use sluice_crds::analysis::{AnalysisPhase, Metric};
use sluice_crds::rollout::RolloutStatus;
use sluice_crds::{AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, Rollout};

use super::{MetricsError, NN};

/// What is reported at one scrape.
#[derive(Clone, Debug, Default)]
pub struct ObjectGauges {
    /// All Rollouts.
    pub rollouts: Vec<RolloutFacts>,
    /// All AnalysisRuns.
    pub runs: Vec<Arc<AnalysisRun>>,
    /// All Experiments.
    pub experiments: Vec<Arc<Experiment>>,
    /// All AnalysisTemplates.
    pub templates: Vec<Arc<AnalysisTemplate>>,
    /// All ClusterAnalysisTemplates.
    pub cluster_templates: Vec<Arc<ClusterAnalysisTemplate>>,
}

/// What is reported of a Rollout: thousands of whole ones at once would take the memory that keeping
/// them as text saves.
#[derive(Clone, Debug)]
pub struct RolloutFacts {
    /// Namespace and name.
    names: (String, String),
    strategy: &'static str,
    router: &'static str,
    phase: &'static str,
    desired: i32,
    replicas: i32,
    available: i32,
    updated: i32,
}

impl RolloutFacts {
    /// The facts of one Rollout.
    #[must_use]
    pub fn of(rollout: &Rollout) -> Self {
        let status = rollout.status.as_ref();
        let count = |of: fn(&RolloutStatus) -> i32| status.map(of).unwrap_or_default();
        Self {
            names: names(rollout),
            strategy: strategy(rollout),
            router: traffic_router(rollout),
            phase: rollout_phase(rollout),
            desired: rollout.spec.replicas.unwrap_or(1),
            replicas: count(|status| status.replicas),
            available: count(|status| status.available_replicas),
            updated: count(|status| status.updated_replicas),
        }
    }
}

/// Values of `phase` of `rollout_phase`.
const ROLLOUT_PHASES: [&str; 6] = [
    "Completed",
    "Progressing",
    "Paused",
    "Timeout",
    "Error",
    "Abort",
];
const RUN_PHASES: [&str; 6] = [
    "Pending",
    "Error",
    "Failed",
    "Successful",
    "Running",
    "Inconclusive",
];

impl ObjectGauges {
    pub(super) fn register(&self, registry: &Registry) -> Result<(), MetricsError> {
        self.rollouts(registry)?;
        self.experiments(registry)?;
        self.runs(registry)?;
        self.templates(registry)?;
        about_us(registry)?;
        process(registry)
    }

    fn rollouts(&self, registry: &Registry) -> Result<(), MetricsError> {
        let info = ["namespace", "name", "strategy", "traffic_router", "phase"];
        let info = gauge(registry, "rollout_info", "Facts about a Rollout", &info)?;
        let desired = gauge(
            registry,
            "rollout_info_replicas_desired",
            "Wanted pods of a Rollout",
            &NN,
        )?;
        let available = gauge(
            registry,
            "rollout_info_replicas_available",
            "Available pods of a Rollout",
            &NN,
        )?;
        let unavailable = gauge(
            registry,
            "rollout_info_replicas_unavailable",
            "Pods that are not available",
            &NN,
        )?;
        let updated = gauge(
            registry,
            "rollout_info_replicas_updated",
            "Pods of the new version",
            &NN,
        )?;
        let labels = ["namespace", "name", "strategy", "phase"];
        let phases = gauge(
            registry,
            "rollout_phase",
            "Phase of a Rollout (deprecated)",
            &labels,
        )?;
        for rollout in &self.rollouts {
            let RolloutFacts {
                names: (namespace, name),
                strategy,
                router,
                phase,
                ..
            } = rollout;
            info.with_label_values(&[namespace.as_str(), name, strategy, router, phase])
                .set(1.0);
            let nn = [namespace.as_str(), name.as_str()];
            desired
                .with_label_values(&nn)
                .set(f64::from(rollout.desired));
            available
                .with_label_values(&nn)
                .set(f64::from(rollout.available));
            let missing = rollout.replicas.saturating_sub(rollout.available);
            unavailable.with_label_values(&nn).set(f64::from(missing));
            updated
                .with_label_values(&nn)
                .set(f64::from(rollout.updated));
            for other in ROLLOUT_PHASES {
                let labels = [namespace.as_str(), name.as_str(), strategy, other];
                phases
                    .with_label_values(&labels)
                    .set(f64::from(u8::from(*phase == other)));
            }
        }
        Ok(())
    }

    fn experiments(&self, registry: &Registry) -> Result<(), MetricsError> {
        let labels = ["namespace", "name", "phase"];
        let info = gauge(
            registry,
            "experiment_info",
            "Facts about an Experiment",
            &labels,
        )?;
        let phases = gauge(
            registry,
            "experiment_phase",
            "Phase of an Experiment (deprecated)",
            &labels,
        )?;
        for experiment in &self.experiments {
            let (namespace, name) = names(experiment.as_ref());
            let phase = experiment
                .status
                .as_ref()
                .map(|s| s.phase.clone())
                .unwrap_or_default();
            info.with_label_values(&[&namespace, &name, phase.as_str()])
                .set(1.0);
            phase_series(&phases, &[&namespace, &name], &phase);
        }
        Ok(())
    }

    fn runs(&self, registry: &Registry) -> Result<(), MetricsError> {
        let labels = ["namespace", "name", "phase"];
        let info = gauge(
            registry,
            "analysis_run_info",
            "Facts about an AnalysisRun",
            &labels,
        )?;
        let phases = gauge(
            registry,
            "analysis_run_phase",
            "Phase of an AnalysisRun (deprecated)",
            &labels,
        )?;
        let labels = ["namespace", "name", "metric", "type"];
        let kinds = gauge(
            registry,
            "analysis_run_metric_type",
            "Provider of a metric",
            &labels,
        )?;
        let labels = ["namespace", "name", "metric", "type", "dry_run", "phase"];
        let metrics = gauge(
            registry,
            "analysis_run_metric_phase",
            "Phase of a metric of a run",
            &labels,
        )?;
        for run in &self.runs {
            let (namespace, name) = names(run.as_ref());
            let status = run.status.clone().unwrap_or_default();
            info.with_label_values(&[&namespace, &name, status.phase.as_str()])
                .set(1.0);
            phase_series(&phases, &[&namespace, &name], &status.phase);
            for metric in &run.spec.metrics {
                let kind = metric_type(metric);
                kinds
                    .with_label_values(&[&namespace, &name, &metric.name, kind])
                    .set(1.0);
                let result = status.metric_results.iter().find(|r| r.name == metric.name);
                let phase = result.map(|r| r.phase.clone()).unwrap_or_default();
                let dry_run = result.is_some_and(|r| r.dry_run).to_string();
                let labels = [
                    namespace.as_str(),
                    name.as_str(),
                    &metric.name,
                    kind,
                    &dry_run,
                ];
                phase_series(&metrics, &labels, &phase);
            }
        }
        Ok(())
    }

    fn templates(&self, registry: &Registry) -> Result<(), MetricsError> {
        let info = gauge(
            registry,
            "analysis_template_info",
            "An AnalysisTemplate",
            &NN,
        )?;
        let labels = ["namespace", "name", "type", "metric"];
        let metrics = gauge(
            registry,
            "analysis_template_metric_info",
            "A metric of a template",
            &labels,
        )?;
        let local = self.templates.iter().map(|t| (names(t.as_ref()), &t.spec));
        let global = self
            .cluster_templates
            .iter()
            .map(|t| (names(t.as_ref()), &t.spec));
        for ((namespace, name), spec) in local.chain(global) {
            info.with_label_values(&[&namespace, &name]).set(1.0);
            for metric in &spec.metrics {
                let labels = [&namespace, &name, metric_type(metric), &metric.name];
                metrics.with_label_values(&labels).set(1.0);
            }
        }
        Ok(())
    }
}

fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, MetricsError> {
    let family = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn names<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// One series per phase; no phase yet counts as Pending.
fn phase_series(family: &GaugeVec, labels: &[&str], phase: &AnalysisPhase) {
    let now = match phase.as_str() {
        "" => "Pending",
        other => other,
    };
    for other in RUN_PHASES {
        let labels: Vec<&str> = labels.iter().copied().chain([other]).collect();
        family
            .with_label_values(&labels)
            .set(f64::from(u8::from(now == other)));
    }
}

fn strategy(rollout: &Rollout) -> &'static str {
    let strategy = &rollout.spec.strategy;
    match (&strategy.blue_green, &strategy.canary) {
        (Some(_), _) => "blueGreen",
        (None, Some(_)) => "canary",
        (None, None) => "none",
    }
}

fn traffic_router(rollout: &Rollout) -> &'static str {
    let canary = rollout.spec.strategy.canary.as_ref();
    let Some(routing) = canary.and_then(|canary| canary.traffic_routing.as_ref()) else {
        return "";
    };
    match () {
        () if routing.alb.is_some() => "ALB",
        () if routing.ambassador.is_some() => "Ambassador",
        () if routing.istio.is_some() => "Istio",
        () if routing.nginx.is_some() => "Nginx",
        () if routing.smi.is_some() => "SMI",
        () if routing.app_mesh.is_some() => "AppMesh",
        () if routing.traefik.is_some() => "Traefik",
        () if routing.apisix.is_some() => "Apisix",
        () if !routing.plugins.is_empty() => "Plugin",
        () => "",
    }
}

/// The metric's own phase (OPS-13), which is not `status.phase`.
fn rollout_phase(rollout: &Rollout) -> &'static str {
    let conditions = rollout.status.iter().flat_map(|status| &status.conditions);
    let mut phase = "Progressing";
    for condition in conditions {
        match (condition.r#type.as_str(), condition.reason.as_str()) {
            ("InvalidSpec", _) => return "InvalidSpec",
            ("Progressing", "NewReplicaSetAvailable") => phase = "Completed",
            ("Progressing", "RolloutPaused") => phase = "Paused",
            ("Progressing", "ReplicaSetCreateError") => phase = "Error",
            ("Progressing", "ProgressDeadlineExceeded") => phase = "Timeout",
            ("Progressing", "RolloutAborted") => phase = "Abort",
            _ => {}
        }
    }
    phase
}

fn metric_type(metric: &Metric) -> &'static str {
    let provider = &metric.provider;
    match () {
        () if provider.prometheus.is_some() => "Prometheus",
        () if provider.job.is_some() => "Job",
        () if provider.kayenta.is_some() => "Kayenta",
        () if provider.web.is_some() => "Web",
        () if provider.datadog.is_some() => "Datadog",
        () if provider.wavefront.is_some() => "Wavefront",
        () if provider.new_relic.is_some() => "NewRelic",
        () if provider.cloud_watch.is_some() => "CloudWatch",
        () if provider.graphite.is_some() => "Graphite",
        () if provider.influxdb.is_some() => "Influxdb",
        () if provider.skywalking.is_some() => "skywalking",
        () if !provider.plugin.is_empty() => "RPCPlugin",
        () => "Unknown Provider",
    }
}

fn about_us(registry: &Registry) -> Result<(), MetricsError> {
    let version = env!("CARGO_PKG_VERSION");
    gauge(
        registry,
        "argo_rollouts_controller_info",
        "Version of the controller",
        &["version"],
    )?
    .with_label_values(&[version])
    .set(1.0);
    let labels = ["version", "goversion", "goarch", "commit"];
    gauge(registry, "build_info", "Build of the controller", &labels)?
        .with_label_values(&[version, "", std::env::consts::ARCH, ""])
        .set(1.0);
    Ok(())
}

/// `process_*`, from `/proc`; nothing where there is none.
fn process(registry: &Registry) -> Result<(), MetricsError> {
    let (Ok(stat), Ok(status)) = (
        std::fs::read_to_string("/proc/self/stat"),
        std::fs::read_to_string("/proc/self/status"),
    ) else {
        return Ok(());
    };
    let set = |name: &str, help: &str, value: f64| -> Result<(), MetricsError> {
        gauge(registry, name, help, &[])?
            .with_label_values(&[] as &[&str])
            .set(value);
        Ok(())
    };
    // Fields after the command's closing parenthesis; times are in hundredths of a second.
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .into_iter()
        .flat_map(str::split_whitespace)
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0.0);
    let cpu = prometheus::Counter::new("process_cpu_seconds_total", "CPU time of the process")?;
    cpu.inc_by(((field(11) + field(12)) / 100.0).max(0.0));
    registry.register(Box::new(cpu))?;
    let kibibytes = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0)
            * 1024.0
    };
    set(
        "process_resident_memory_bytes",
        "Resident memory",
        kibibytes("VmRSS:"),
    )?;
    set(
        "process_virtual_memory_bytes",
        "Virtual memory",
        kibibytes("VmSize:"),
    )?;
    #[allow(clippy::cast_precision_loss)] // a few thousand at most
    let open = std::fs::read_dir("/proc/self/fd").map_or(0.0, |fds| fds.count() as f64);
    set("process_open_fds", "Open file descriptors", open)
}
