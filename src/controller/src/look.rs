//! One look at a Rollout by somebody who only reads: what `explain` decides on.
//!
//! The same [`observe`](crate::observe::observe) as a pass, over stores that are filled by one list
//! each instead of by watches. Nothing can be written: the client's fence stays closed.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, Resource, ResourceExt};
use sluice_core::decide::decide;
use sluice_core::explain::Holder;
use sluice_core::observed::{FailedWrite, Failure, Observed, Seen, Settings};
use sluice_core::plan::Action;
use sluice_crds::{Rollout, decode, keys};
use sluice_trafficrouters::routers_for;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::feed::Lenient;
use crate::cache::{Cache, Dependencies, Feeds, Kept, Scope, Store};
use crate::clock::SharedClock;
use crate::ctx::{Ctx, Memories};
use crate::events::EventSink;
use crate::fence::Fence;
use crate::http::{self, HttpSettings};
use crate::hub::{Hub, Queues, Unreadable};
use crate::lease::LeaseSettings;
use crate::measure::{Measure, Measured, Measuring, Work};
use crate::metrics::{Metrics, MetricsError};
use crate::observe::{observe, read_routes};

/// What was seen.
#[derive(Clone, Debug)]
pub struct Look {
    /// What a decision looks at. Its `failure` is a route that cannot be rendered now, whether or
    /// not a controller has tried.
    pub seen: Observed,
    /// Pods of the namespace that have a pod-template hash of ours.
    pub pods: Vec<Arc<Pod>>,
    /// Who holds the lease of the controller that is responsible.
    pub holders: Seen<Vec<Holder>>,
    /// What could not be read, a sentence each.
    pub unread: Vec<String>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no such Rollout.
    #[error("rollout.argoproj.io {name:?} not found in namespace {namespace:?}")]
    NotFound {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The cluster does not know the kind.
    #[error("the cluster knows no Rollouts: rollouts.argoproj.io is not installed")]
    NotInstalled,
    /// It is stored in a form that the controller cannot read either.
    #[error("rollout {name:?} cannot be read, so no controller acts on it: {error}")]
    Malformed {
        /// Its name.
        name: String,
        /// What is wrong.
        error: String,
    },
    /// Something that cannot be done without could not be read.
    #[error("reading {what}: {error}")]
    Read {
        /// What.
        what: &'static str,
        /// Why not.
        error: String,
    },
    /// Two metrics have the same name.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// Nobody measures while looking.
struct Nothing;

impl Measure for Nothing {
    fn measure(&self, _: Work) -> BoxFuture<'_, Measured> {
        Box::pin(std::future::ready(Measured::default()))
    }
}

/// Reads a Rollout and all that a decision about it looks at.
///
/// # Errors
/// [`LookError`]. What a decision can do without is noted in [`Look::unread`] instead.
pub async fn look(
    client: Client,
    namespace: &str,
    name: &str,
    clock: SharedClock,
) -> Result<Look, LookError> {
    let metrics = Metrics::new()?;
    let settings = HttpSettings::default();
    let client = http::wrap(client, Fence::closed(), metrics.clone(), &settings);
    let rollout = rollout(&client, namespace, name).await?;
    let instance = rollout.labels().get(keys::INSTANCE_ID);
    let instance_id = instance.cloned().unwrap_or_default();
    let scope = Scope {
        namespace: Some(namespace.to_owned()),
        instance_id: instance_id.clone(),
    };
    let ctx = context(client.clone(), clock, metrics, scope);
    let mut unread = fill(&ctx, namespace).await?;
    let now = ctx.clock.now();
    let (mut seen, _) = observe(&ctx, Arc::new(rollout), now).await;
    unread.forget_in(&mut seen);
    seen.failure = route_failure(&ctx, &seen, now).await;
    let hashed = ListParams::default().labels(keys::POD_TEMPLATE_HASH);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = match pods.list(&hashed).await {
        Ok(list) => list.items.into_iter().map(Arc::new).collect(),
        Err(error) => {
            unread.note("pods", "what they say about themselves is missing", &error);
            Vec::new()
        }
    };
    let holders = holders(&client, namespace, &instance_id).await;
    Ok(Look {
        seen,
        pods,
        holders,
        unread: unread.notes,
    })
}

async fn rollout(client: &Client, namespace: &str, name: &str) -> Result<Rollout, LookError> {
    let kind = kube::api::ApiResource::erase::<Rollout>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let object = match api.get(name).await {
        Ok(object) => object,
        Err(kube::Error::Api(status)) if status.code == 404 && status.message.contains(name) => {
            return Err(LookError::NotFound {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            });
        }
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(LookError::NotInstalled),
        Err(error) => return Err(read("the rollout")(error)),
    };
    let value = crate::observe::to_value(&object);
    decode::read(&value).map_err(|error| LookError::Malformed {
        name: name.to_owned(),
        error: error.to_string(),
    })
}

fn read(what: &'static str) -> impl FnOnce(kube::Error) -> LookError {
    move |error| LookError::Read {
        what,
        error: words(&error),
    }
}

/// All that a pass shares, with nothing that runs: no watch, no worker, no writer of events.
fn context(client: Client, clock: SharedClock, metrics: Metrics, scope: Scope) -> Ctx {
    let rollouts = Arc::default();
    let queues = Queues::new(&metrics);
    let (events, _) = EventSink::new(client.clone(), clock.clone());
    let hub = Arc::new(Hub {
        queues: queues.clone(),
        dependencies: Dependencies::default(),
        rollouts: Arc::clone(&rollouts),
        unreadable: Unreadable::default(),
        events: events.clone(),
        metrics: metrics.clone(),
    });
    let tasks = TaskTracker::new();
    // A stopped feed answers every question by a live read.
    let stop = CancellationToken::new();
    stop.cancel();
    let settings = Settings {
        instance_id: scope.instance_id.clone(),
        ..Settings::default()
    };
    let feeds = Feeds {
        client: client.clone(),
        scope,
        hub: Arc::clone(&hub),
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    Ctx {
        client,
        clock: clock.clone(),
        cache: Cache::new(feeds, rollouts),
        hub,
        events,
        metrics,
        settings,
        routers: sluice_trafficrouters::Config::default(),
        pod_writes: 0,
        on_plan: None,
        verify: None,
        memories: Memories::default(),
        experiment_memories: Memories::default(),
        measuring: Measuring::new(Arc::new(Nothing), clock, queues.runs, tasks, stop),
    }
}

/// What could not be read, and of which kind.
#[derive(Default)]
struct Unread {
    notes: Vec<String>,
    services: Option<String>,
    templates: bool,
    cluster_templates: bool,
}

impl Unread {
    fn note(&mut self, what: &str, so: &str, error: &kube::Error) {
        self.notes.push(format!(
            "{what} could not be read, so {so}: {}",
            words(error)
        ));
    }

    /// Nothing is concluded from what could not be read.
    fn forget_in(&self, seen: &mut Observed) {
        if let Some(error) = &self.services {
            seen.references.services.clear();
            for service in seen.services.values_mut() {
                *service = Seen::Unread(error.clone());
            }
        }
        if self.templates {
            seen.references.templates.namespaced.clear();
        }
        if self.cluster_templates {
            seen.references.templates.cluster.clear();
        }
    }
}

/// The API server's words, else the error with its causes.
fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let text = error.to_string();
    let mut text = match text.strip_prefix("ServiceError: ") {
        Some(rest) => format!("the API server cannot be reached: {rest}"),
        None => text,
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Fills the stores, one list each, all at once.
async fn fill(ctx: &Ctx, namespace: &str) -> Result<Unread, LookError> {
    let (client, cache) = (&ctx.client, &ctx.cache);
    let sharded = {
        let key = keys::INSTANCE_ID;
        match ctx.settings.instance_id.as_str() {
            "" => ListParams::default().labels(&format!("!{key}")),
            id => ListParams::default().labels(&format!("{key}={id}")),
        }
    };
    let hashed = ListParams::default().labels(keys::POD_TEMPLATE_HASH);
    let all = ListParams::default();
    let (sets, runs, experiments, services, templates, cluster) = tokio::join!(
        list(
            Api::namespaced(client.clone(), namespace),
            &hashed,
            &cache.replica_sets
        ),
        list(
            Api::namespaced(client.clone(), namespace),
            &sharded,
            &cache.runs
        ),
        list(
            Api::namespaced(client.clone(), namespace),
            &sharded,
            &cache.experiments
        ),
        list(
            Api::namespaced(client.clone(), namespace),
            &all,
            &cache.services
        ),
        list(
            Api::namespaced(client.clone(), namespace),
            &sharded,
            &cache.templates
        ),
        list(Api::all(client.clone()), &sharded, &cache.cluster_templates),
    );
    sets.map_err(read("replicasets"))?;
    runs.map_err(read("analysisruns"))?;
    experiments.map_err(read("experiments"))?;
    let mut unread = Unread::default();
    if let Err(error) = services {
        unread.services = Some(words(&error));
        unread.note("services", "whether they are right is not judged", &error);
    }
    for (result, what, flag) in [
        (templates, "analysistemplates", &mut unread.templates),
        (
            cluster,
            "clusteranalysistemplates",
            &mut unread.cluster_templates,
        ),
    ] {
        if let Err(error) = result {
            *flag = true;
            let text = words(&error);
            unread.notes.push(format!(
                "{what} could not be read, so they are not judged: {text}"
            ));
        }
    }
    Ok(unread)
}

async fn list<K: Kept>(
    api: Api<Lenient<K>>,
    params: &ListParams,
    store: &Store<K>,
) -> kube::Result<()>
where
    Lenient<K>: Resource,
{
    let listed = api.list(params).await?;
    store.begin_list();
    // What cannot be decoded is left alone by controllers, too, unless something stands in for it.
    for object in listed
        .items
        .into_iter()
        .filter_map(|item| item.into_object().ok())
    {
        store.listed(object);
    }
    store.end_list();
    Ok(())
}

/// A route that cannot be brought to what the plan wants: every pass of a controller ends there.
async fn route_failure(ctx: &Ctx, seen: &Observed, now: jiff::Timestamp) -> Option<Failure> {
    let plan = decide(seen, now);
    let wants = plan
        .actions
        .iter()
        .filter_map(|planned| match &planned.action {
            Action::Route(want) => Some(want),
            _ => None,
        });
    let wants: Vec<_> = wants.collect();
    if wants.is_empty() {
        return None;
    }
    let failed = |object: &str, message: String| Failure {
        what: FailedWrite::Route,
        object: object.to_owned(),
        message,
    };
    let routers = match routers_for(&seen.rollout, &ctx.routers) {
        Ok(routers) => routers,
        Err(error) => return Some(failed(&seen.rollout.name_any(), error.to_string())),
    };
    let found = read_routes(ctx, &seen.rollout, &mut BTreeSet::new()).await;
    let results = wants
        .iter()
        .flat_map(|want| routers.iter().map(move |router| (router, want)))
        .map(|(router, want)| (router, router.render(want, &found)));
    results
        .filter_map(|(router, result)| Some((router, result.err()?)))
        .map(|(router, error)| {
            let object = error.object().map_or(router.name(), |object| &object.name);
            failed(object, error.to_string())
        })
        .next()
}

/// Holders of the lease: in any namespace, or where one may look.
async fn holders(client: &Client, namespace: &str, instance_id: &str) -> Seen<Vec<Holder>> {
    let name = LeaseSettings::new("", instance_id).name();
    let everywhere = ListParams::default().fields(&format!("metadata.name={name}"));
    let leases = match Api::<Lease>::all(client.clone()).list(&everywhere).await {
        Ok(list) => list.items,
        Err(error) => {
            // Mostly a user without cluster-wide rights.
            let mut found = Vec::new();
            let mut refused = false;
            for place in ["argo-rollouts", namespace] {
                let api: Api<Lease> = Api::namespaced(client.clone(), place);
                match api.get_opt(&name).await {
                    Ok(lease) => found.extend(lease),
                    Err(_) => refused = true,
                }
            }
            if found.is_empty() && refused {
                return Seen::Unread(words(&error));
            }
            if found.is_empty() {
                let text = format!(
                    "no lease {name} in the namespaces argo-rollouts and {namespace}, \
                                    and others may not be looked at"
                );
                return Seen::Unread(text);
            }
            found
        }
    };
    let holders: Vec<Holder> = leases.into_iter().map(holder).collect();
    if holders.is_empty() {
        Seen::Absent
    } else {
        Seen::Found(holders)
    }
}

fn holder(lease: Lease) -> Holder {
    let namespace = lease.namespace().unwrap_or_default();
    let spec = lease.spec.unwrap_or_default();
    Holder {
        namespace,
        identity: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map(|at| at.0),
        seconds: i64::from(spec.lease_duration_seconds.unwrap_or(15)),
    }
}
