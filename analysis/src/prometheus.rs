//! Prometheus (ANA-52..55).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use prometheus_http_query::Client as Api;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use sluice_crds::analysis::{Authentication, OAuth2Config, PrometheusMetric};
use sluice_crds::duration::GoDuration;

use crate::Context;
use crate::expr::{Env, Names, Program, Value};
use crate::http::{self, Answer};
use crate::oauth2::{self, Tokens};
use crate::provider::{Provider, Reading};
use crate::{numbers, web};

mod answer;

/// Environment variable with the address of metrics that have none (ANA-52).
pub const ADDRESS_ENV: &str = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Metadata key of the query as it was sent.
const RESOLVED_QUERY: &str = "ResolvedPrometheusQuery";

/// One Prometheus metric.
pub struct PrometheusProvider {
    api: Api,
    tokens: Arc<Tokens>,
    query: String,
    range: Option<Range>,
    /// Sent with every request, also for a token.
    headers: HeaderMap,
    /// `Authorization` where the headers have none.
    basic: Option<HeaderValue>,
    oauth2: Option<OAuth2Config>,
    timeout: Duration,
}

/// Expressions for the bounds of a range query, and its step.
struct Range {
    start: Program,
    end: Program,
    step: f64,
}

/// What is asked for in one measurement.
enum Question {
    At(f64),
    Between { start: f64, end: f64, step: f64 },
}

impl PrometheusProvider {
    /// Checks the settings.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(context: &Context, metric: &PrometheusMetric) -> Result<Self, String> {
        let address = match metric.address.as_str() {
            "" => context.prometheus_address.as_deref().unwrap_or_default(),
            address => address,
        };
        if address.is_empty() {
            return Err("prometheus address is not configured".to_owned());
        }
        let mut url = http::parse_url(address).ok_or("prometheus address is not is url format")?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let timeout = match metric.timeout {
            None => DEFAULT_TIMEOUT,
            Some(seconds) => Duration::from_secs(
                u64::try_from(seconds)
                    .map_err(|_| "prometheus timeout should not be negative".to_owned())?,
            ),
        };
        refuse_sigv4(address, &metric.authentication)?;
        let oauth2 = &metric.authentication.oauth2;
        let client = context.clients.get(&url, metric.insecure)?;
        Ok(Self {
            api: Api::from(client, url.as_str()).map_err(|e| e.to_string())?,
            tokens: context.tokens.clone(),
            query: metric.query.clone(),
            range: metric
                .range_query
                .as_ref()
                .map(|range| Range::new(&range.start, &range.end, &range.step))
                .transpose()?,
            headers: web::headers(&metric.headers)?,
            basic: basic(&metric.authentication)?,
            oauth2: oauth2::active(oauth2)?.then(|| oauth2.clone()),
            timeout,
        })
    }

    /// POST, and GET where POST is not allowed (ANA-53).
    async fn ask(&self, question: &Question, now: Timestamp) -> Result<Answer, String> {
        let answer = self.send(question, &Method::POST, now).await?;
        match answer.status {
            StatusCode::FORBIDDEN
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => self.send(question, &Method::GET, now).await,
            _ => Ok(answer),
        }
    }

    async fn send(
        &self,
        question: &Question,
        method: &Method,
        now: Timestamp,
    ) -> Result<Answer, String> {
        match (&self.oauth2, question) {
            (None, Question::At(time)) => self.instant(*time, method).await,
            (None, _) => http::send(self.request(question, method, None)).await,
            (Some(config), _) => {
                let request =
                    |token: &str| self.request(question, method, HeaderValue::from_str(token).ok());
                let client = self.api.inner();
                oauth2::send(&self.tokens, client, config, &self.headers, now, request).await
            }
        }
    }

    /// An instant query, by the client library.
    async fn instant(&self, time: f64, method: &Method) -> Result<Answer, String> {
        let mut query = self.api.query(&self.query).query("time", numbers::f(time));
        for (name, value) in &self.all_headers(None) {
            query = query.header::<HeaderName, HeaderValue>(name.clone(), value.clone());
        }
        let sent: Result<Response, _> = if *method == Method::GET {
            query.get_raw().await
        } else {
            query.post_raw().await
        };
        let what = || http::describe(method, &self.url("query"));
        match sent {
            Ok(response) => http::read(response)
                .await
                .map_err(|reason| format!("{}: {reason}", what())),
            Err(prometheus_http_query::Error::Client(e)) => {
                let source = std::error::Error::source(&e);
                let reason = source.and_then(|e| e.downcast_ref::<reqwest::Error>());
                let reason = reason.map_or_else(|| e.to_string(), http::reasons);
                Err(format!("{}: {reason}", what()))
            }
            Err(e) => Err(format!("{}: {e}", what())),
        }
    }

    /// A query by hand: the client library takes whole seconds only for ranges, and has no place
    /// for tokens.
    fn request(
        &self,
        question: &Question,
        method: &Method,
        token: Option<HeaderValue>,
    ) -> RequestBuilder {
        let (path, times) = match question {
            Question::At(time) => ("query", vec![("time", *time)]),
            Question::Between { start, end, step } => (
                "query_range",
                vec![("start", *start), ("end", *end), ("step", *step)],
            ),
        };
        let mut form = vec![("query", self.query.clone())];
        form.extend(times.into_iter().map(|(name, x)| (name, numbers::f(x))));
        let request = self.api.inner().request(method.clone(), self.url(path));
        let request = if *method == Method::GET {
            request.query(&form)
        } else {
            request.form(&form)
        };
        request.headers(self.all_headers(token))
    }

    /// The metric's own headers win over credentials, a token over a password (ANA-54).
    fn all_headers(&self, token: Option<HeaderValue>) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(authorization) = token.or_else(|| self.basic.clone()) {
            headers.entry(AUTHORIZATION).or_insert(authorization);
        }
        headers
    }

    fn url(&self, endpoint: &str) -> Url {
        let mut url = self.api.base_url().clone();
        let path = format!("{}/api/v1/{endpoint}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    fn question(&self, now: Timestamp) -> Result<Question, String> {
        match &self.range {
            None => Ok(Question::At(seconds(now.as_nanosecond()))),
            Some(range) => Ok(Question::Between {
                start: time(&range.start, "start", now)?,
                end: time(&range.end, "end", now)?,
                step: range.step,
            }),
        }
    }
}

impl Provider for PrometheusProvider {
    fn deadline(&self) -> Duration {
        self.timeout
    }

    fn describe(&self) -> String {
        let endpoint = if self.range.is_some() {
            "query_range"
        } else {
            "query"
        };
        http::describe(&Method::POST, &self.url(endpoint))
    }

    fn measure(&self, now: Timestamp) -> BoxFuture<'_, Result<Reading, String>> {
        async move {
            let question = self.question(now)?;
            answer::reading(&self.ask(&question, now).await?)
        }
        .boxed()
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        if self.query.is_empty() {
            return BTreeMap::new();
        }
        BTreeMap::from([(RESOLVED_QUERY.to_owned(), self.query.clone())])
    }
}

impl Range {
    fn new(start: &str, end: &str, step: &str) -> Result<Self, String> {
        let bound = |name: &str, source: &str| {
            Program::compile(source, &Names::times())
                .map_err(|e| format!("failed to parse rangeQuery.{name} as time: {e}"))
        };
        let step: GoDuration = step
            .parse()
            .map_err(|e| format!("failed to parse rangeQuery.step as duration: {e}"))?;
        Ok(Self {
            start: bound("start", start)?,
            end: bound("end", end)?,
            step: step.as_secs_f64(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "what Prometheus takes")]
fn seconds(nanoseconds: i128) -> f64 {
    let (whole, rest) = (
        nanoseconds.div_euclid(1_000_000_000),
        nanoseconds.rem_euclid(1_000_000_000),
    );
    whole as f64 + rest as f64 / 1e9
}

fn time(program: &Program, name: &str, now: Timestamp) -> Result<f64, String> {
    let failed = |e: String| format!("failed to parse rangeQuery.{name} as time: {e}");
    match program.eval(&Env {
        result: Value::Nil,
        now,
    }) {
        Ok(Value::Time(at)) => Ok(seconds(at.timestamp().as_nanosecond())),
        Ok(other) => Err(failed(format!(
            "expected time.Time, but got {}",
            other.type_name()
        ))),
        Err(e) => Err(failed(e.to_string())),
    }
}

fn refuse_sigv4(address: &str, authentication: &Authentication) -> Result<(), String> {
    let sigv4 = &authentication.sigv4;
    let asked = [&sigv4.region, &sigv4.profile, &sigv4.role_arn]
        .iter()
        .any(|s| !s.is_empty());
    if asked && address.contains("aps-workspaces") {
        return Err("provider.prometheus.authentication.sigv4 is not supported yet".to_owned());
    }
    Ok(())
}

fn basic(authentication: &Authentication) -> Result<Option<HeaderValue>, String> {
    let basic = &authentication.basic_auth;
    let missing = match (basic.username.is_empty(), basic.password.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => "username",
        (false, true) => "password",
        (false, false) => {
            let pair = format!("{}:{}", basic.username, basic.password);
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            return HeaderValue::from_str(&format!("Basic {encoded}"))
                .map(Some)
                .map_err(|_| "invalid basic auth".to_owned());
        }
    };
    Err(format!(
        "missing mandatory parameter in metric for basic auth setup: {missing}"
    ))
}
