//! Metric providers (API-25, ANA-90).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rollout::PodTemplateMetadata;
use crate::wire;

/// Where a number comes from: exactly one member (API-25).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricProvider {
    /// Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Box<PrometheusMetric>>,
    /// Spinnaker Kayenta.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kayenta: Option<Box<KayentaMetric>>,
    /// An HTTP endpoint that answers JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web: Option<Box<WebMetric>>,
    /// Datadog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datadog: Option<Box<DatadogMetric>>,
    /// Wavefront.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wavefront: Option<Box<WavefrontMetric>>,
    /// New Relic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_relic: Option<Box<NewRelicMetric>>,
    /// A Kubernetes Job that succeeds or fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<JobMetric>>,
    /// Amazon CloudWatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_watch: Option<Box<CloudWatchMetric>>,
    /// Graphite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graphite: Option<Box<GraphiteMetric>>,
    /// InfluxDB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub influxdb: Option<Box<InfluxdbMetric>>,
    /// Apache SkyWalking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skywalking: Option<Box<SkyWalkingMetric>>,
    /// Settings by metric plugin; exactly one key.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    #[schemars(schema_with = "wire::any_object")]
    pub plugin: BTreeMap<String, serde_json::Value>,
}

/// A Prometheus query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusMetric {
    /// Server; default from the environment of the controller.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub address: String,
    /// PromQL.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub query: String,
    /// Credentials. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub authentication: Authentication,
    /// Seconds; default 30, negative is an error.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub timeout: Option<i64>,
    /// Accept any certificate.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub insecure: bool,
    /// Request headers.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub headers: Vec<WebMetricHeader>,
    /// Makes it a range query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_query: Option<PrometheusRangeQueryArgs>,
}

/// Bounds of a range query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusRangeQueryArgs {
    /// Expression for the start time.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub start: String,
    /// Expression for the end time.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub end: String,
    /// Go duration.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub step: String,
}

/// Credentials of Prometheus and web metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Authentication {
    /// AWS request signing. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub sigv4: Sigv4Config,
    /// OAuth 2 client credentials. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub oauth2: OAuth2Config,
    /// User and password. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub basic_auth: BasicAuthConfig,
}

/// AWS request signing, used for addresses of Amazon Managed Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sigv4Config {
    /// Region.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub region: String,
    /// Profile of the shared credentials.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub profile: String,
    /// Role to assume.
    #[serde(
        rename = "roleArn",
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub role_arn: String,
}

/// OAuth 2 client credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OAuth2Config {
    /// Where tokens come from.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub token_url: String,
    /// Client.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub client_id: String,
    /// Its secret.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub client_secret: String,
    /// Scopes to ask for.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub scopes: Vec<String>,
}

/// User and password.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BasicAuthConfig {
    /// User.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub username: String,
    /// Password.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub password: String,
}

/// An HTTP request whose JSON answer is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WebMetric {
    /// `GET` (default), `POST` or `PUT`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub method: String,
    /// Address.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub url: String,
    /// Request headers.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub headers: Vec<WebMetricHeader>,
    /// Request body; excludes `jsonBody`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub body: String,
    /// Seconds; 0 or less means 10.
    #[serde(
        deserialize_with = "wire::number",
        skip_serializing_if = "wire::is_default"
    )]
    pub timeout_seconds: i64,
    /// JSONPath into the answer; default `{$}`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub json_path: String,
    /// Accept any certificate.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub insecure: bool,
    /// Request body as JSON; excludes `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "wire::any_object")]
    pub json_body: Option<serde_json::Value>,
    /// Credentials; only `oauth2` is used. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub authentication: Authentication,
}

/// A request header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WebMetricHeader {
    /// Name.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub key: String,
    /// Value.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub value: String,
}

/// Datadog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatadogMetric {
    /// Go duration that a query looks back; default 5m.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    #[schemars(extend("x-default" = "5m"))]
    pub interval: String,
    /// Query; excludes `queries`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub query: String,
    /// Queries by name, for `formula`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub queries: BTreeMap<String, String>,
    /// Formula over `queries`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub formula: String,
    /// `v1` (default) or `v2`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    #[schemars(extend("x-default" = "v1", "enum" = ["v1", "v2"]))]
    pub api_version: String,
    /// How v2 reduces the points to one.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    #[schemars(extend("enum" = [
        "avg", "min", "max", "sum", "last", "percentile", "mean", "l2norm", "area"
    ]))]
    pub aggregator: String,
    /// Credentials. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub secret_ref: SecretRef,
    /// Go duration; default 10s.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    #[schemars(extend("x-default" = "10s"))]
    pub request_timeout: String,
}

/// Secret with Datadog credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretRef {
    /// Its name.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub name: String,
    /// Look in the namespace of the run rather than in that of the controller.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub namespaced: bool,
}

/// Wavefront.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WavefrontMetric {
    /// Server.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub address: String,
    /// Query.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub query: String,
}

/// New Relic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NewRelicMetric {
    /// Secret with the account; default `newrelic`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub profile: String,
    /// NRQL.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub query: String,
    /// Seconds; default 5, negative is an error.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::optional_number"
    )]
    pub timeout: Option<i64>,
}

/// Graphite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GraphiteMetric {
    /// Server.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub address: String,
    /// Query.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub query: String,
}

/// InfluxDB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InfluxdbMetric {
    /// Secret with the account; default `influxdb`.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub profile: String,
    /// Flux.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub query: String,
}

/// Apache SkyWalking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SkyWalkingMetric {
    /// Server.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub address: String,
    /// GraphQL.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub query: String,
    /// Go duration that a query looks back.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub interval: String,
}

/// A Kubernetes Job as measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobMetric {
    /// Labels and annotations of the Job. Always written.
    #[serde(deserialize_with = "wire::or_default")]
    pub metadata: PodTemplateMetadata,
    /// JobSpec as written by the user.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    #[schemars(schema_with = "wire::any_object")]
    pub spec: serde_json::Value,
}

/// Amazon CloudWatch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchMetric {
    /// Go duration that a query looks back; default 5m.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub interval: String,
    /// Queries.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub metric_data_queries: Vec<CloudWatchMetricDataQuery>,
}

/// One CloudWatch query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchMetricDataQuery {
    /// Name of its result.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub id: String,
    /// Metric math.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A statistic of a metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_stat: Option<CloudWatchMetricStat>,
    /// Seconds.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub period: Option<IntOrString>,
    /// Whether the result is returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_data: Option<bool>,
}

/// A statistic of a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchMetricStat {
    /// The metric.
    #[serde(deserialize_with = "wire::or_default")]
    pub metric: CloudWatchMetricStatMetric,
    /// Seconds.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "wire::int_or_string"
    )]
    pub period: Option<IntOrString>,
    /// Statistic.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub stat: String,
    /// Unit.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub unit: String,
}

/// A CloudWatch metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchMetricStatMetric {
    /// Dimensions.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub dimensions: Vec<CloudWatchMetricStatMetricDimension>,
    /// Name.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub metric_name: String,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A dimension of a CloudWatch metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchMetricStatMetricDimension {
    /// Name.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub name: String,
    /// Value.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub value: String,
}

/// Spinnaker Kayenta.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KayentaMetric {
    /// Server.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub address: String,
    /// Application.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub application: String,
    /// Configuration of the canary analysis.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub canary_config_name: String,
    /// Account with metrics.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub metrics_account_name: String,
    /// Account with configurations.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub configuration_account_name: String,
    /// Account for results.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub storage_account_name: String,
    /// Scores that count.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub threshold: KayentaThreshold,
    /// What is compared.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub scopes: Vec<KayentaScope>,
    /// Judge all data since the start each time.
    #[serde(
        deserialize_with = "wire::or_default",
        skip_serializing_if = "wire::is_default"
    )]
    pub lookback: bool,
}

/// Scores that count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KayentaThreshold {
    /// Successful from here.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub pass: i64,
    /// Inconclusive from here.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub marginal: i64,
}

/// A pair of scopes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KayentaScope {
    /// Name.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Baseline.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub control_scope: ScopeDetail,
    /// Canary.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub experiment_scope: ScopeDetail,
}

/// One side of a Kayenta comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeDetail {
    /// Scope.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub scope: String,
    /// Region.
    #[serde(deserialize_with = "wire::or_default")]
    #[schemars(extend("x-required" = true))]
    pub region: String,
    /// Seconds.
    #[serde(deserialize_with = "wire::number")]
    #[schemars(extend("x-required" = true))]
    pub step: i64,
    /// Start time.
    #[serde(deserialize_with = "wire::or_default")]
    pub start: String,
    /// End time.
    #[serde(deserialize_with = "wire::or_default")]
    pub end: String,
}
