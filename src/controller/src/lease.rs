//! Leader election by a Lease: PUT with resourceVersion, so that two candidates cannot both win.
//!
//! Timings are the peer's (15 s, 10 s, 2 s). The fence is open for the renew deadline after the last
//! renewal was *sent*, so writing stops well before another process may take the lease (INV-12). The
//! election has a client of its own: a busy controller cannot starve it (FLT-26). Unlike the peer, a
//! graceful stop gives the lease back (EDGE-17).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::fence::Fence;

/// Name of the lease; both controllers use it, so that they exclude each other.
const LEASE_NAME: &str = "argo-rollouts-controller-lock";

/// Settings of the election.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Namespace of the lease.
    pub namespace: String,
    /// `--instance-id`; appended to the name when not empty.
    pub instance_id: String,
    /// Who we are.
    pub identity: String,
    /// How long others wait after the last renewal that they saw.
    pub duration: Duration,
    /// How long we go on writing after the last renewal that we sent.
    pub renew_deadline: Duration,
    /// Time between two attempts.
    pub retry_period: Duration,
}

impl LeaseSettings {
    /// The peer's timings, with a fresh identity.
    #[must_use]
    pub fn new(namespace: impl Into<String>, instance_id: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            instance_id: instance_id.into(),
            identity: identity(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    /// The lease's name.
    #[must_use]
    pub fn name(&self) -> String {
        if self.instance_id.is_empty() {
            LEASE_NAME.to_owned()
        } else {
            format!("{LEASE_NAME}-{}", self.instance_id)
        }
    }
}

/// `<hostname>_<random>`: unique per process, readable for people.
#[must_use]
pub fn identity() -> String {
    let file = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = std::env::var("HOSTNAME")
        .ok()
        .or(file)
        .unwrap_or_else(|| "controller".to_owned());
    let random = || RandomState::new().build_hasher().finish();
    format!("{}_{:016x}{:016x}", host.trim(), random(), random())
}

/// What went wrong in one attempt.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("lease {name}: {source}")]
    Api {
        name: String,
        source: Box<kube::Error>,
    },
    #[error("lease {name}: no answer within {timeout:?}")]
    Timeout { name: String, timeout: Duration },
}

/// One candidate.
pub struct Election {
    settings: LeaseSettings,
    api: Api<Lease>,
    clock: SharedClock,
    fence: Fence,
    observed: Option<(LeaseSpec, Instant)>,
}

impl Election {
    /// A candidate that moves `fence`. `client` must not be shared with the rest of the controller.
    #[must_use]
    pub fn new(settings: LeaseSettings, client: Client, clock: SharedClock, fence: Fence) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        Self {
            settings,
            api,
            clock,
            fence,
            observed: None,
        }
    }

    /// Tries until the lease is ours, or `stop` is cancelled (then `false`).
    pub async fn acquire(&mut self, stop: &CancellationToken) -> bool {
        loop {
            let sent = Instant::now();
            match self.attempt(self.patience()).await {
                Ok(true) => {
                    self.fence.open_until(sent + self.settings.renew_deadline);
                    tracing::info!(
                        lease = self.settings.name(),
                        identity = self.settings.identity,
                        "leading"
                    );
                    return true;
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "cannot acquire the lease yet"),
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(self.settings.retry_period) => {}
            }
        }
    }

    /// Renews until `stop` is cancelled, then gives the lease back and returns `true`; `false` when the
    /// lease was lost. Either way the fence is closed first.
    pub async fn hold(&mut self, stop: &CancellationToken) -> bool {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.fence.close();
                    self.release().await;
                    return true;
                }
                () = tokio::time::sleep(self.settings.retry_period) => {}
            }
            let sent = Instant::now();
            let left = self
                .settings
                .renew_deadline
                .saturating_sub(renewed.elapsed());
            match self.attempt(self.patience().min(left)).await {
                Ok(true) => {
                    renewed = sent;
                    self.fence.open_until(sent + self.settings.renew_deadline);
                }
                Ok(false) => {
                    self.fence.close();
                    tracing::error!(
                        lease = self.settings.name(),
                        "another process holds the lease"
                    );
                    return false;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot renew the lease");
                    if renewed.elapsed() + self.settings.retry_period > self.settings.renew_deadline
                    {
                        self.fence.close();
                        tracing::error!(
                            lease = self.settings.name(),
                            "the lease could not be renewed in time"
                        );
                        return false;
                    }
                }
            }
        }
    }

    /// How long one attempt may take: a slow API server is no reason to give the lease up (FLT-27), but
    /// two attempts should fit between a renewal and its deadline.
    fn patience(&self) -> Duration {
        (self.settings.renew_deadline / 2).max(self.settings.retry_period)
    }

    async fn attempt(&mut self, timeout: Duration) -> Result<bool, AttemptError> {
        match tokio::time::timeout(timeout, self.acquire_or_renew()).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(source)) => Err(AttemptError::Api {
                name: self.settings.name(),
                source: Box::new(source),
            }),
            Err(_) => Err(AttemptError::Timeout {
                name: self.settings.name(),
                timeout,
            }),
        }
    }

    async fn acquire_or_renew(&mut self) -> kube::Result<bool> {
        let name = self.settings.name();
        let Some(mut lease) = self.api.get_opt(&name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(name),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let found = lease.spec.clone().unwrap_or_default();
        if self
            .observed
            .as_ref()
            .is_none_or(|(spec, _)| *spec != found)
        {
            self.observed = Some((found.clone(), Instant::now()));
        }
        let holder = found.holder_identity.as_deref().unwrap_or_default();
        let theirs = Duration::from_secs(
            u64::try_from(found.lease_duration_seconds.unwrap_or(0)).unwrap_or(0),
        );
        let quiet = self
            .observed
            .as_ref()
            .map_or(Duration::ZERO, |(_, since)| since.elapsed());
        if !holder.is_empty() && holder != self.settings.identity {
            let patience = theirs.max(self.settings.duration);
            if quiet < patience {
                return Ok(false);
            }
        }
        lease.metadata.managed_fields = None;
        lease.spec = Some(self.spec(Some(&found)));
        won(self
            .api
            .replace(&name, &PostParams::default(), &lease)
            .await)
    }

    /// The lease as we hold it; transitions are counted when the holder changes.
    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(self.clock.now()));
        let mut spec = before.cloned().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.settings.identity.as_str()) {
            let transitions = spec.lease_transitions.unwrap_or(0);
            spec.lease_transitions = Some(transitions + i32::from(before.is_some()));
            spec.acquire_time = now.clone();
            spec.holder_identity = Some(self.settings.identity.clone());
        }
        spec.renew_time = now;
        let seconds = self.settings.duration.as_secs().clamp(1, i32::MAX as u64);
        spec.lease_duration_seconds = i32::try_from(seconds).ok();
        spec
    }

    /// Lets the next candidate take over at once.
    async fn release(&mut self) {
        let give_back = async {
            let Some(mut lease) = self.api.get_opt(&self.settings.name()).await? else {
                return Ok(());
            };
            let Some(spec) = &mut lease.spec else {
                return Ok(());
            };
            if spec.holder_identity.as_deref() != Some(self.settings.identity.as_str()) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(self.clock.now()));
            lease.metadata.managed_fields = None;
            self.api
                .replace(&self.settings.name(), &PostParams::default(), &lease)
                .await
                .map(drop)
        };
        match tokio::time::timeout(self.settings.retry_period, give_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot give the lease back"),
            Err(_) => tracing::warn!("cannot give the lease back in time"),
        }
    }
}

/// A conflict means that another candidate was faster.
fn won<T>(result: kube::Result<T>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
