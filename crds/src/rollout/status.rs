//! `status` of a Rollout (API-32, API-70).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::AnalysisPhase;
use crate::time::Time;
use crate::wire::{self, wire_enum};

wire_enum! {
    /// Overall state of a Rollout (API-65).
    pub enum RolloutPhase {
        /// Everything desired is in place.
        Healthy,
        /// Invalid, aborted or stuck.
        Degraded,
        /// On its way.
        Progressing,
        /// Waiting for a timer or for a human.
        Paused,
    }
}

wire_enum! {
    /// Why the controller paused an update.
    pub enum PauseReason {
        /// An analysis ended without a verdict.
        InconclusiveAnalysisRun,
        /// The Experiment of a step ended without a verdict.
        InconclusiveExperiment,
        /// A pause step.
        CanaryPauseStep,
        /// The pause before the active Service is switched.
        BlueGreenPause,
    }
}

wire_enum! {
    /// What a step plugin is asked to do.
    pub enum StepPluginOperation {
        /// Carry out the step.
        Run,
        /// Stop early because the step was skipped.
        Terminate,
        /// Undo because the update was aborted.
        Abort,
    }
}

wire_enum! {
    /// How an operation of a step plugin stands.
    pub enum StepPluginPhase {
        /// To be called again.
        Running,
        /// Done.
        Successful,
        /// Done, and the update must be aborted.
        Failed,
        /// The call failed and is repeated.
        Error,
    }
}

/// What the controller reports, and a few members that users patch (API-31, API-32, API-70).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// The update is aborted. Set by users or by the controller.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub abort: bool,
    /// First pass that saw the abort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aborted_at: Option<Time>,
    /// Why the update is paused; users clear the list to resume.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub pause_conditions: Vec<PauseCondition>,
    /// The controller paused; true with no conditions means that a user just resumed.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub controller_pause: bool,
    /// Skip everything that is left. Set by users.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub promote_full: bool,
    /// Pod hash of the new ReplicaSet.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub current_pod_hash: String,
    /// Hash of the steps (API-35); empty for blue-green.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub current_step_hash: String,
    /// Running step; the number of steps when done.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub current_step_index: Option<i32>,
    /// Pod hash of the stable ReplicaSet.
    #[serde(
        rename = "stableRS",
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub stable_rs: String,
    /// Pods of all ReplicaSets.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub replicas: i32,
    /// Pods of the new ReplicaSet.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub updated_replicas: i32,
    /// Ready pods of all ReplicaSets; blue-green: of the active one.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub ready_replicas: i32,
    /// Available pods of all ReplicaSets; blue-green: of the active one.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub available_replicas: i32,
    /// Pods that an autoscaler sees.
    #[serde(
        rename = "HPAReplicas",
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub hpa_replicas: i32,
    /// Selector text for the scale subresource.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub selector: String,
    /// Times the name of a new ReplicaSet was taken.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub collision_count: Option<i32>,
    /// Generation that this status is about, as text.
    #[serde(
        deserialize_with = "wire::text",
        skip_serializing_if = "wire::is_default"
    )]
    pub observed_generation: String,
    /// Generation of the referenced workload, as text.
    #[serde(
        deserialize_with = "wire::text",
        skip_serializing_if = "wire::is_default"
    )]
    pub workload_observed_generation: String,
    /// Conditions, in the order in which they last changed (API-55).
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub conditions: Vec<RolloutCondition>,
    /// Overall state (API-65).
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub phase: RolloutPhase,
    /// Why it is in that phase.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
    /// The `restartAt` that has been carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Time>,
    /// Canary part; always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub canary: CanaryStatus,
    /// Blue-green part; always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub blue_green: BlueGreenStatus,
    /// Load balancer of the first Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alb: Option<AlbStatus>,
    /// Load balancers, one per Ingress.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub albs: Vec<AlbStatus>,
    /// How long the update took (API-34).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<RolloutDuration>,
}

/// A reason to be paused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PauseCondition {
    /// Why.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub reason: PauseReason,
    /// Since when.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub start_time: Time,
}

/// A condition of a Rollout or Experiment (API-55).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutCondition {
    /// Kind of condition.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub status: String,
    /// Last write.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub last_update_time: Time,
    /// Last change of `status`.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub last_transition_time: Time,
    /// Reason, one word.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub reason: String,
    /// For people.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub message: String,
}

/// Canary part of the status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStatus {
    /// Weights last given to the router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<TrafficWeights>,
    /// Run of the current step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_step_analysis_run_status: Option<RolloutAnalysisRunStatus>,
    /// Background run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_background_analysis_run_status: Option<RolloutAnalysisRunStatus>,
    /// Name of the unfinished Experiment.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub current_experiment: String,
    /// `ping` or `pong`: which Service is stable; empty counts as pong.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub stable_ping_pong: String,
    /// One per step index and operation.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub step_plugin_statuses: Vec<StepPluginStatus>,
}

/// Weights last given to the router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficWeights {
    /// To the new ReplicaSet.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub canary: WeightDestination,
    /// To the stable ReplicaSet.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub stable: WeightDestination,
    /// To Experiment templates.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub additional: Vec<WeightDestination>,
    /// Whether the router reported that the weights are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// Where a share of traffic goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightDestination {
    /// Share, in parts of `maxTrafficWeight`; written at 0.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub weight: i32,
    /// Service.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub service_name: String,
    /// Pod hash.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub pod_template_hash: String,
}

/// Copy of the state of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutAnalysisRunStatus {
    /// Name of the AnalysisRun.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Its phase; written when empty.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub status: AnalysisPhase,
    /// Its message.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
}

/// State of one operation of a step plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StepPluginStatus {
    /// Step index.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub index: i32,
    /// Plugin.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// What it was asked.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub operation: StepPluginOperation,
    /// How it stands.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub phase: StepPluginPhase,
    /// For people.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub message: String,
    /// Start of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Time>,
    /// End of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Go duration until the next call.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub backoff: String,
    /// Calls so far.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub executions: i32,
    /// The plugin was disabled when its turn came.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub disabled: bool,
    /// What the plugin keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "wire::any_object")]
    pub status: Option<serde_json::Value>,
}

/// Blue-green part of the status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreenStatus {
    /// Pod hash that the preview Service selects.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub preview_selector: String,
    /// Pod hash that the active Service selects.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub active_selector: String,
    /// The preview has passed everything and may grow to full size.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub scale_up_preview_check_point: bool,
    /// Run before the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_promotion_analysis_run_status: Option<RolloutAnalysisRunStatus>,
    /// Run after the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_promotion_analysis_run_status: Option<RolloutAnalysisRunStatus>,
}

/// Load balancer and target groups of an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AlbStatus {
    /// Name of the Ingress.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub ingress: String,
    /// Load balancer.
    #[serde(deserialize_with = "wire::or_default")]
    pub load_balancer: AwsResourceRef,
    /// Target group of the canary.
    #[serde(deserialize_with = "wire::or_default")]
    pub canary_target_group: AwsResourceRef,
    /// Target group of stable.
    #[serde(deserialize_with = "wire::or_default")]
    pub stable_target_group: AwsResourceRef,
}

/// An AWS resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsResourceRef {
    /// Name.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Amazon resource name.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub arn: String,
    /// Tail of the ARN as metrics use it.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub full_name: String,
}

/// Times of the current or last update (API-34).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutDuration {
    /// Start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_started_at: Option<Time>,
    /// Start of the manual pause that is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manual_pause_started_at: Option<Time>,
    /// Seconds of manual pauses that have ended.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub total_manual_pause_duration_seconds: Option<i64>,
    /// End.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// `Promoted`, `Aborted`, `FastPromoted`, `RolledBack` ...
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub completion_status: String,
}
