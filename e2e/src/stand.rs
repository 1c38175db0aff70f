//! A real control plane with our CRDs and a node, a controller on it, and words for what a user does.
//!
//! What the tests on the real control plane (`tests/real_*.rs`) and the bench have in common. A
//! failed wait says what it waited for, and shows the object and the events of its namespace.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use sluice_controller::{Config, RunError};
use sluice_core::commands::{self, Patches, Promotion};
use sluice_sim::kubelet::KubeletOptions;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::controlplane::{self, ControlPlane};
use crate::node::Node;

/// How often an object is looked at while waiting.
const POLL: Duration = Duration::from_millis(100);
/// How long a write is tried again that lost a race.
const RACE: Duration = Duration::from_secs(10);
/// Events shown with a failure.
const EVENTS: usize = 12;
/// The API version of our kinds.
pub const ARGO: &str = "argoproj.io/v1alpha1";
/// The API version of Istio's kinds.
pub const ISTIO: &str = "networking.istio.io/v1";

/// What a stand is made of.
#[derive(Debug, Default)]
pub struct StandOptions {
    /// How to run the control plane.
    pub plane: controlplane::Options,
    /// How to run the node.
    pub node: KubeletOptions,
    /// Further CRDs, as one YAML text.
    pub crds: String,
}

/// A control plane with our CRDs and a node.
pub struct Stand {
    /// The control plane.
    pub plane: ControlPlane,
    /// The node.
    pub node: Node,
    client: Client,
}

impl Stand {
    /// Starts all of it.
    ///
    /// # Errors
    /// What did not start.
    pub async fn start(options: StandOptions) -> Result<Self> {
        log();
        let plane = ControlPlane::start(options.plane).await?;
        for (file, text) in sluice_crds::yaml::all() {
            plane.apply_yaml(&text).await.context(file)?;
        }
        plane.apply_yaml(&options.crds).await.context("CRDs")?;
        let client = plane.client()?;
        let node = Node::start(client.clone(), options.node).await?;
        Ok(Self {
            plane,
            node,
            client,
        })
    }

    /// The admin's client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The objects of a namespace, as the admin sees and changes them.
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace::new(self.client(), name)
    }

    /// Ends all of it.
    ///
    /// # Errors
    /// A process that cannot be waited for.
    pub async fn stop(self) -> Result<()> {
        self.node.stop().await;
        self.plane.stop().await?;
        Ok(())
    }
}

/// Shows the controller's log with `SLUICE_LOG=debug` (or any filter).
fn log() {
    if let Ok(filter) = std::env::var("SLUICE_LOG") {
        // Fails when another test of this process has done so.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .try_init();
    }
}

/// A controller inside this process.
#[derive(Debug)]
pub struct Controller {
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Controller {
    /// Starts it in the background.
    pub fn start(config: Config, client: Client) -> Self {
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = tokio::spawn(sluice_controller::run(config, client, shutdown));
        Self { stop, task }
    }

    /// Tells it to stop and waits for its end.
    ///
    /// # Errors
    /// How it ended, when not by being told to.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.task.await.context("the controller panicked")??;
        Ok(())
    }
}

/// The objects of one namespace.
#[derive(Clone)]
pub struct Namespace {
    client: Client,
    name: String,
}

/// Objects of a kind; the plural is guessed as kubectl would.
pub fn kind(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl Namespace {
    /// This namespace, over any client.
    pub fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            name: name.to_owned(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates it, unless it is there.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn create(&self) -> Result<()> {
        let name = &self.name;
        let text = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
        self.apply(&text).await.map(drop)
    }

    /// Applies all documents of a YAML text.
    ///
    /// # Errors
    /// The document, and the server's answer.
    pub async fn apply(&self, text: &str) -> Result<Vec<DynamicObject>> {
        Ok(controlplane::apply(&self.client, &self.name, text).await?)
    }

    /// The API of one kind.
    pub fn api(&self, of: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, of)
    }

    /// One object; none if it does not exist.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn find(&self, of: &ApiResource, name: &str) -> Result<Option<Value>> {
        let found = self.api(of).get_opt(name).await;
        let found = found.with_context(|| format!("reading {} {name}", of.kind))?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// All objects of a kind, ordered by name.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn list(&self, of: &ApiResource) -> Result<Vec<Value>> {
        let listed = self.api(of).list(&ListParams::default()).await;
        let mut items = listed
            .with_context(|| format!("listing {}", of.plural))?
            .items;
        items.sort_by_key(ResourceExt::name_any);
        Ok(items
            .into_iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?)
    }

    /// Creates an object as it stands.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn post(&self, of: &ApiResource, object: Value) -> Result<Value> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let name = object.name_any();
        let made = self.api(of).create(&PostParams::default(), &object).await;
        let made = made.with_context(|| format!("creating {} {name}", of.kind))?;
        Ok(serde_json::to_value(made)?)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn delete(&self, of: &ApiResource, name: &str) -> Result<()> {
        let deleted = self.api(of).delete(name, &Default::default()).await;
        deleted.with_context(|| format!("deleting {} {name}", of.kind))?;
        Ok(())
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn patch(&self, of: &ApiResource, name: &str, patch: &Value) -> Result<()> {
        let params = PatchParams::default();
        let patched = self
            .api(of)
            .patch(name, &params, &Patch::Merge(patch))
            .await;
        patched.with_context(|| format!("patching {} {name}", of.kind))?;
        Ok(())
    }

    /// Changes the status by a merge patch, where the kind has a subresource for it.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn patch_status(&self, of: &ApiResource, name: &str, status: &Value) -> Result<()> {
        let (api, params) = (self.api(of), PatchParams::default());
        let patch = Patch::Merge(json!({ "status": status }));
        match api.patch_status(name, &params, &patch).await {
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
            answer => {
                answer.with_context(|| format!("patching the status of {} {name}", of.kind))?;
                Ok(())
            }
        }
    }

    /// Waits until all objects of a kind together are as wanted; returns them.
    ///
    /// # Errors
    /// After `limit`, with what there is.
    pub async fn until_all(
        &self,
        of: &ApiResource,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        let deadline = Instant::now() + limit;
        loop {
            let found = self.list(of).await?;
            if wanted(&found) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                bail!(
                    "not within {limit:?}: {what}\n{:#}\n{}",
                    json!(found),
                    self.events().await
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until an object is as wanted; returns it.
    ///
    /// # Errors
    /// After `limit`, with what there is.
    pub async fn until(
        &self,
        of: &ApiResource,
        name: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let found = self.find(of, name).await?;
            if let Some(found) = &found
                && wanted(found)
            {
                return Ok(found.clone());
            }
            if Instant::now() >= deadline {
                let shown = found.map(|object| {
                    let metadata = object.pointer("/metadata/annotations").cloned();
                    json!([metadata, object.get("spec"), object.get("status")])
                });
                bail!(
                    "not within {limit:?}: {} {name} {what}\n{:#}\n{}",
                    of.kind,
                    json!(shown),
                    self.events().await
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The last events, a line each.
    async fn events(&self) -> String {
        let Ok(mut events) = self.list(&kind("v1", "Event")).await else {
            return String::new();
        };
        let at = |event: &Value| text(event, "/lastTimestamp").to_owned();
        events.sort_by_key(at);
        let lines = events.iter().rev().take(EVENTS).rev().map(|event| {
            let part = |pointer| text(event, pointer);
            format!(
                "{} {}/{} {}: {}\n",
                part("/lastTimestamp"),
                part("/involvedObject/kind"),
                part("/involvedObject/name"),
                part("/reason"),
                part("/message")
            )
        });
        lines.collect()
    }
}

/// Rollouts, and what users do to them.
impl Namespace {
    /// The status of a Rollout is current, and its phase is this one.
    ///
    /// # Errors
    /// After `limit`, with what there is.
    pub async fn phase(&self, name: &str, phase: &str, limit: Duration) -> Result<Value> {
        let wanted =
            |rollout: &Value| is_current(rollout) && text(rollout, "/status/phase") == phase;
        let of = kind(ARGO, "Rollout");
        self.until(&of, name, &format!("is {phase}"), limit, wanted)
            .await
    }

    /// The Rollout waits in a pause at this step (from 0).
    ///
    /// # Errors
    /// After `limit`, with what there is.
    pub async fn paused_at(&self, name: &str, step: i64, limit: Duration) -> Result<Value> {
        let wanted = |rollout: &Value| {
            is_current(rollout)
                && text(rollout, "/status/phase") == "Paused"
                && rollout.pointer("/status/currentStepIndex") == Some(&json!(step))
        };
        let of = kind(ARGO, "Rollout");
        self.until(
            &of,
            name,
            &format!("is paused at step {step}"),
            limit,
            wanted,
        )
        .await
    }

    /// `set image NAME *=IMAGE`.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn set_image(&self, name: &str, image: &str) -> Result<()> {
        let of = kind(ARGO, "Rollout");
        let deadline = Instant::now() + RACE;
        loop {
            let rollout = self.find(&of, name).await?.context("no such Rollout")?;
            let mut next = rollout;
            commands::set_image(&mut next, "*", image)?;
            let next: DynamicObject = serde_json::from_value(next)?;
            let params = PostParams::default();
            match self.api(&of).replace(name, &params, &next).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    anyhow::ensure!(
                        Instant::now() < deadline,
                        "Rollout {name} changes all the time"
                    );
                }
                Err(error) => return Err(error).context("setting the image"),
            }
        }
    }

    /// Sends the patches of a verb.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn command(&self, name: &str, patches: &Patches) -> Result<()> {
        let api = self.api(&kind(ARGO, "Rollout"));
        let params = PatchParams::default();
        if let Some(status) = &patches.status {
            api.patch_status(name, &params, &Patch::Merge(status))
                .await?;
        }
        if let Some(main) = &patches.main {
            api.patch(name, &params, &Patch::Merge(main)).await?;
        }
        Ok(())
    }

    /// `promote`, `promote --full`.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn promote(&self, name: &str, full: bool) -> Result<()> {
        let rollout = self.find(&kind(ARGO, "Rollout"), name).await?;
        let rollout = serde_json::from_value(rollout.context("no such Rollout")?)?;
        let how = Promotion {
            full,
            ..Promotion::default()
        };
        let patches = commands::promote(&rollout, how)?;
        self.command(name, &patches).await
    }

    /// `abort`.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn abort(&self, name: &str) -> Result<()> {
        self.command(name, &commands::abort()).await
    }
}

/// Whether the status is about the spec as it is now.
pub fn is_current(rollout: &Value) -> bool {
    let generation = rollout
        .pointer("/metadata/generation")
        .map(Value::to_string);
    generation.as_deref() == Some(text(rollout, "/status/observedGeneration"))
}

/// The text at a JSON pointer; empty when there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
