//! Job: a Kubernetes Job that succeeds or fails (ANA-58..62).
//!
//! The Job is held as raw JSON, so that nothing of the user's spec is lost. What is known of it
//! between passes is its name and namespace in the measurement's metadata.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::Value as Json;
use sluice_crds::analysis::{AnalysisPhase, JobMetric, Measurement};
use sluice_crds::keys;

use crate::Context;
use crate::provider::{LongProvider, Progress, RunRef};

mod cluster;
mod manifest;
mod pods;

pub use cluster::{JobCache, JobCluster, KUBECONFIG_ENV, NAMESPACE_ENV};

/// How long one call of the API may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// When the API could not be asked about a Job, this is the wait until it is asked again.
const RETRY: SignedDuration = SignedDuration::from_secs(5);

/// Waits between attempts to delete a Job.
const DELETE_WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// One Job metric of one run.
pub struct JobProvider {
    cluster: Arc<JobCluster>,
    run: RunRef,
    metric: String,
    job: JobMetric,
}

/// Why a call of the API gave nothing.
enum Failure {
    NotFound(String),
    Exists(String),
    /// Overload, an error of the server, no answer: may pass by itself.
    Passing(String),
    Other(String),
}

impl Failure {
    fn text(self) -> String {
        match self {
            Self::NotFound(text) | Self::Exists(text) | Self::Passing(text) | Self::Other(text) => {
                text
            }
        }
    }
}

impl JobProvider {
    /// Checks the settings.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(
        context: &Context,
        run: &RunRef,
        metric: &str,
        job: &JobMetric,
    ) -> Result<Self, String> {
        let cluster = context
            .jobs
            .clone()
            .ok_or("metric provider job: there is no Kubernetes cluster to run Jobs in")?;
        if !job.spec.is_object() {
            return Err("provider.job.spec must be an object".to_owned());
        }
        Ok(Self {
            cluster,
            run: run.clone(),
            metric: metric.to_owned(),
            job: job.clone(),
        })
    }

    fn namespace(&self) -> &str {
        self.cluster
            .namespace
            .as_deref()
            .unwrap_or(&self.run.namespace)
    }

    /// The run can own its Jobs where both are in one namespace of one cluster.
    fn owned(&self) -> bool {
        !self.cluster.foreign && self.namespace() == self.run.namespace
    }

    fn jobs(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("batch", "v1", "Job"));
        Api::namespaced_with(self.cluster.client.clone(), namespace, &resource)
    }

    /// Belongs to this run, and was not merely left there under the same name.
    fn is_ours(&self, job: &DynamicObject) -> bool {
        if self.owned() {
            let owners = job.metadata.owner_references.iter().flatten();
            return owners
                .filter(|o| o.controller == Some(true))
                .any(|o| o.uid == self.run.uid);
        }
        let labels = job.metadata.labels.as_ref();
        labels
            .and_then(|l| l.get(keys::JOB_RUN_UID))
            .is_some_and(|uid| *uid == self.run.uid)
    }

    async fn create(&self, ordinal: i32) -> Result<DynamicObject, String> {
        let n = ordinal.saturating_add(1);
        let job = manifest::job(
            &self.run,
            &self.metric,
            &self.job,
            n,
            self.namespace(),
            self.owned(),
        );
        let api = self.jobs(self.namespace());
        match call(api.create(&PostParams::default(), &job)).await {
            Ok(job) => Ok(job),
            // From a pass whose status was not written: the same Job, if it is ours.
            Err(Failure::Exists(text)) => {
                let name = job.metadata.name.unwrap_or_default();
                let found = call(api.get(&name)).await.map_err(Failure::text)?;
                if self.is_ours(&found) {
                    Ok(found)
                } else {
                    Err(text)
                }
            }
            // The answer may be all that was lost. Then the Job runs, and its result counts.
            Err(Failure::Passing(text)) => {
                let name = job.metadata.name.unwrap_or_default();
                let found = call(api.get(&name)).await.ok();
                found.filter(|found| self.is_ours(found)).ok_or(text)
            }
            Err(other) => Err(other.text()),
        }
    }

    /// The Job of a measurement: from the cache, else from the API (ASE-12).
    async fn read(&self, namespace: &str, name: &str) -> Result<DynamicObject, Failure> {
        if let Some(job) = self.cluster.cached(namespace, name) {
            return Ok(job);
        }
        call(self.jobs(namespace).get(name)).await
    }

    async fn look(&self, open: &Measurement, now: Timestamp) -> Progress {
        let Some((namespace, name)) = reference(open) else {
            return Progress::error("job metadata reference missing");
        };
        let job = match self.read(namespace, name).await {
            Ok(job) => job,
            Err(Failure::NotFound(text)) => return Progress::error(text),
            // The Job runs on whether the API answers or not.
            Err(failure) => {
                tracing::warn!(
                    job = name,
                    namespace,
                    error = failure.text(),
                    "reading the Job"
                );
                return running(now.checked_add(RETRY).ok());
            }
        };
        let labels = job.metadata.labels.as_ref();
        if labels
            .and_then(|l| l.get(keys::JOB_RUN_UID))
            .is_none_or(|uid| *uid != self.run.uid)
        {
            return Progress::error(format!(
                "job.batch \"{name}\" does not belong to AnalysisRun {}",
                self.run.name
            ));
        }
        if let Some(phase) = finished(&job) {
            return Progress {
                phase,
                ..Progress::default()
            };
        }
        if pods::may_be_stuck(&job)
            && let Some(message) = self.stuck(namespace, &job).await
        {
            return Progress {
                phase: AnalysisPhase::Inconclusive,
                message,
                ..Progress::default()
            };
        }
        running(next_look(open, now))
    }

    async fn stuck(&self, namespace: &str, job: &DynamicObject) -> Option<String> {
        let params = ListParams::default().labels(&pods::selector(job)?);
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
        match call(api.list(&params)).await {
            Ok(pods) => pods.items.iter().find_map(pods::terminal_error),
            Err(failure) => {
                tracing::warn!(namespace, error = failure.text(), "listing the Job's pods");
                None
            }
        }
    }

    /// Deletes a Job. Nobody comes back to it later, so that what may pass is tried again here.
    async fn delete(&self, namespace: &str, name: &str) -> Result<(), String> {
        let mut waits = DELETE_WAITS.into_iter();
        loop {
            let jobs = self.jobs(namespace);
            match call(jobs.delete(name, &DeleteParams::foreground())).await {
                Ok(_) | Err(Failure::NotFound(_)) => return Ok(()),
                Err(Failure::Passing(text)) => match waits.next() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(text),
                },
                Err(failure) => return Err(failure.text()),
            }
        }
    }

    /// Deletes finished Jobs of this metric beyond the newest `limit` (ASE-13).
    async fn sweep(&self, limit: i32) -> Result<(), String> {
        let selector = format!("{}={}", keys::JOB_RUN_UID, self.run.uid);
        let params = ListParams::default().labels(&selector);
        let jobs = call(self.jobs(self.namespace()).list(&params))
            .await
            .map_err(Failure::text)?;
        let of_metric = |job: &DynamicObject| {
            let annotations = job.metadata.annotations.as_ref();
            annotations.and_then(|a| a.get(keys::JOB_METRIC_NAME)) == Some(&self.metric)
        };
        let mut jobs: Vec<_> = jobs.items.into_iter().filter(of_metric).collect();
        jobs.sort_by_key(|job| {
            let created = job.metadata.creation_timestamp.as_ref().map(|t| t.0);
            (
                std::cmp::Reverse(created),
                std::cmp::Reverse(job.metadata.name.clone()),
            )
        });
        let keep = usize::try_from(limit).unwrap_or(0);
        for job in jobs.iter().skip(keep).filter(|job| finished(job).is_some()) {
            let name = job.metadata.name.as_deref().unwrap_or_default();
            self.delete(self.namespace(), name).await?;
        }
        Ok(())
    }
}

impl LongProvider for JobProvider {
    fn start(&self, ordinal: i32, now: Timestamp) -> BoxFuture<'_, Progress> {
        async move {
            match self.create(ordinal).await {
                Ok(job) => Progress {
                    phase: AnalysisPhase::Running,
                    message: String::new(),
                    metadata: BTreeMap::from([
                        (
                            keys::MEASUREMENT_JOB_NAME.to_owned(),
                            job.metadata.name.unwrap_or_default(),
                        ),
                        (
                            keys::MEASUREMENT_JOB_NAMESPACE.to_owned(),
                            self.namespace().to_owned(),
                        ),
                    ]),
                    resume_at: Some(now),
                },
                Err(message) => Progress::error(message),
            }
        }
        .boxed()
    }

    fn poll<'a>(&'a self, open: &'a Measurement, now: Timestamp) -> BoxFuture<'a, Progress> {
        self.look(open, now).boxed()
    }

    fn stop<'a>(&'a self, open: &'a Measurement, _now: Timestamp) -> BoxFuture<'a, Progress> {
        async move {
            let Some((namespace, name)) = reference(open) else {
                return Progress::error("job metadata reference missing");
            };
            match self.delete(namespace, name).await {
                Ok(()) => Progress {
                    phase: AnalysisPhase::Inconclusive,
                    ..Progress::default()
                },
                Err(message) => Progress::error(message),
            }
        }
        .boxed()
    }

    fn collect_garbage(&self, limit: i32) -> BoxFuture<'_, Result<(), String>> {
        self.sweep(limit).boxed()
    }
}

fn running(resume_at: Option<Timestamp>) -> Progress {
    Progress {
        phase: AnalysisPhase::Running,
        resume_at,
        ..Progress::default()
    }
}

/// Namespace and name of the Job of a measurement.
fn reference(open: &Measurement) -> Option<(&str, &str)> {
    let namespace = open.metadata.get(keys::MEASUREMENT_JOB_NAMESPACE)?;
    let name = open.metadata.get(keys::MEASUREMENT_JOB_NAME)?;
    Some((namespace, name))
}

/// How a Job ended; the last of its conditions decides, whatever their status.
fn finished(job: &DynamicObject) -> Option<AnalysisPhase> {
    let conditions = job
        .data
        .pointer("/status/conditions")
        .and_then(Json::as_array)?;
    conditions
        .iter()
        .rev()
        .find_map(|condition| match condition.get("type")?.as_str()? {
            "Complete" => Some(AnalysisPhase::Successful),
            "Failed" => Some(AnalysisPhase::Failed),
            _ => None,
        })
}

/// The older the measurement, the rarer it is looked at: √(2·seconds) later, at least one.
fn next_look(open: &Measurement, now: Timestamp) -> Option<Timestamp> {
    let started = open.started_at.map_or(now, |t| t.timestamp());
    let elapsed = now.duration_since(started).as_secs_f64().max(0.0);
    let wait = SignedDuration::try_from_secs_f64((2.0 * elapsed).sqrt().max(1.0)).ok()?;
    now.checked_add(wait).ok()
}

async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(CALL_TIMEOUT, request).await {
        Err(_) => Err(Failure::Passing(format!(
            "the Kubernetes API did not answer within {}s",
            CALL_TIMEOUT.as_secs()
        ))),
        Ok(Err(kube::Error::Api(status))) => Err(match (status.code, status.reason.as_str()) {
            (404, _) => Failure::NotFound(status.message),
            (_, "AlreadyExists") => Failure::Exists(status.message),
            (429 | 500.., _) => Failure::Passing(status.message),
            _ => Failure::Other(status.message),
        }),
        Ok(Err(error)) => Err(Failure::Passing(error.to_string())),
        Ok(Ok(answer)) => Ok(answer),
    }
}

#[cfg(test)]
mod tests;
