//! Synthetic Prometheus: queries are answered by formulas over what the simulation knows, such
//! as `error_rate = if(weight > 40, 0.08, 0.01)`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use evalexpr::{ContextWithMutableVariables, HashMapContext, Node};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::listen::{Listener, serve};
use crate::request::Options;

/// A variable of formulas.
#[derive(Debug, Clone, PartialEq)]
pub enum Variable {
    /// Such as `weight`.
    Number(f64),
    /// Such as `version`.
    Text(String),
}

/// Gives the variables at a time.
pub type Variables = Arc<dyn Fn(Timestamp) -> BTreeMap<String, Variable> + Send + Sync>;

/// What a formula or a query can be wrong about.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The formula cannot be read.
    #[error("formula of {name:?} cannot be read: {source}")]
    Formula {
        /// Its metric.
        name: String,
        /// Why.
        source: evalexpr::EvalexprError,
    },
    /// The formula cannot be computed.
    #[error("formula of {name:?} gives no number: {source}")]
    Evaluate {
        /// Its metric.
        name: String,
        /// Why.
        source: evalexpr::EvalexprError,
    },
}

/// What goes wrong with queries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricFault {
    /// This HTTP status, with an error in Prometheus' form.
    Status(u16),
    /// No series are found.
    Empty,
    /// The value is NaN.
    NotANumber,
    /// No answer ever comes.
    Hang,
}

#[derive(Default)]
struct Inner {
    formulas: BTreeMap<String, Node>,
    fault: Option<MetricFault>,
    asked: Vec<String>,
}

/// Formulas by metric name. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Mutex<Inner>>,
    variables: Variables,
    clock: Clock,
    start: Timestamp,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.inner().formulas.keys().cloned().collect();
        f.debug_struct("Metrics")
            .field("formulas", &names)
            .finish_non_exhaustive()
    }
}

impl Metrics {
    /// No formulas yet. Besides `variables`, formulas know `time`: seconds since this call.
    pub fn new(clock: Clock, variables: Variables) -> Self {
        let start = clock.now();
        Self {
            inner: Arc::default(),
            variables,
            clock,
            start,
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers queries that name this metric by a formula. The name may also be a whole query.
    ///
    /// # Errors
    /// When the formula cannot be read.
    pub fn set(&self, name: &str, formula: &str) -> Result<(), MetricsError> {
        let node =
            evalexpr::build_operator_tree(formula).map_err(|source| MetricsError::Formula {
                name: name.to_owned(),
                source,
            })?;
        self.inner().formulas.insert(name.to_owned(), node);
        Ok(())
    }

    /// Lets queries go wrong, or well again.
    pub fn fault(&self, fault: Option<MetricFault>) {
        self.inner().fault = fault;
    }

    /// Queries asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.inner().asked.clone()
    }

    /// The value of a query at a time. None where no formula's name is in the query, or the
    /// formula gives the empty value `()`.
    ///
    /// # Errors
    /// When the formula cannot be computed.
    pub fn value(&self, query: &str, at: Timestamp) -> Result<Option<f64>, MetricsError> {
        let Some((name, formula)) = self.formula(query) else {
            return Ok(None);
        };
        let failed = |source| MetricsError::Evaluate {
            name: name.clone(),
            source,
        };
        let mut context: HashMapContext = HashMapContext::new();
        let time = at.duration_since(self.start).as_secs_f64();
        context
            .set_value("time".to_owned(), time.into())
            .map_err(failed)?;
        for (key, variable) in (self.variables)(at) {
            let value = match variable {
                Variable::Number(n) => evalexpr::Value::Float(n),
                Variable::Text(s) => evalexpr::Value::String(s),
            };
            context.set_value(key, value).map_err(failed)?;
        }
        match formula.eval_with_context(&context).map_err(failed)? {
            evalexpr::Value::Empty => Ok(None),
            evalexpr::Value::Boolean(b) => Ok(Some(f64::from(u8::from(b)))),
            other => other.as_number().map(Some).map_err(failed),
        }
    }

    /// Whether a formula answers this query.
    pub fn knows(&self, query: &str) -> bool {
        self.formula(query).is_some()
    }

    /// The formula of the whole query, else that of the longest name which the query contains
    /// as a word.
    fn formula(&self, query: &str) -> Option<(String, Node)> {
        let inner = self.inner();
        let named = |name: &&String| {
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
            query.match_indices(name.as_str()).any(|(i, _)| {
                let before = query.get(..i).and_then(|s| s.chars().next_back());
                let after = query.get(i + name.len()..).and_then(|s| s.chars().next());
                !before.is_some_and(word) && !after.is_some_and(word)
            })
        };
        let name = inner
            .formulas
            .keys()
            .find(|name| name.as_str() == query)
            .or_else(|| inner.formulas.keys().filter(named).max_by_key(|n| n.len()))?;
        Some((name.clone(), inner.formulas.get(name)?.clone()))
    }

    /// Answers a request: path and parameters (query or form) to status and JSON. None means
    /// that no answer comes.
    pub fn answer(&self, path: &str, parameters: &str) -> Option<(u16, Value)> {
        let options = Options::parse(parameters);
        let query = options.get("query");
        if !path.ends_with("/api/v1/query") && !path.ends_with("/api/v1/query_range") {
            return Some((200, json!({"status": "success", "data": {}})));
        }
        let fault = {
            let mut inner = self.inner();
            inner.asked.push(query.to_owned());
            inner.fault
        };
        match fault {
            Some(MetricFault::Hang) => return None,
            Some(MetricFault::Status(code)) => {
                return Some((code, failure("internal", "injected fault")));
            }
            _ => {}
        }
        let now = self.clock.now();
        let time = |key: &str| read_time(options.get(key));
        let read = |at: Timestamp| match fault {
            Some(MetricFault::Empty) => Ok(None),
            Some(MetricFault::NotANumber) => Ok(Some(f64::NAN)),
            _ => self.value(query, at),
        };
        let result = if path.ends_with("_range") {
            let (Some(start), Some(end)) = (time("start"), time("end")) else {
                return Some((
                    400,
                    failure("bad_data", "invalid parameter \"start\" or \"end\""),
                ));
            };
            let step = read_step(options.get("step")).filter(|s| *s > SignedDuration::ZERO);
            let Some(step) = step else {
                return Some((400, failure("bad_data", "invalid parameter \"step\"")));
            };
            matrix(start, end, step, read)
        } else {
            let at = time("time").unwrap_or(now);
            read(at).map(|value| {
                if query.trim_start().starts_with("scalar(") {
                    // A scalar of nothing is no number.
                    let result = sample(at, value.unwrap_or(f64::NAN));
                    return json!({"resultType": "scalar", "result": result});
                }
                let sample = value.map(|v| json!({"metric": {}, "value": sample(at, v)}));
                json!({"resultType": "vector", "result": Vec::from_iter(sample)})
            })
        };
        Some(match result {
            Ok(data) => (200, json!({"status": "success", "data": data})),
            Err(error) => (422, failure("execution", &error.to_string())),
        })
    }

    /// Serves `/api/v1/query` and `/api/v1/query_range` over HTTP.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(&self, address: SocketAddr) -> std::io::Result<Listener> {
        let metrics = self.clone();
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let metrics = metrics.clone();
            async move { Ok::<_, Infallible>(metrics.http(request).await) }
        });
        serve(address, service).await
    }

    async fn http(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(|b| b.to_bytes())
            .unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let parameters = format!("{query}&{}", String::from_utf8_lossy(&body));
        let Some((code, value)) = self.answer(parts.uri.path(), &parameters) else {
            return std::future::pending().await;
        };
        let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

fn matrix(
    start: Timestamp,
    end: Timestamp,
    step: SignedDuration,
    read: impl Fn(Timestamp) -> Result<Option<f64>, MetricsError>,
) -> Result<Value, MetricsError> {
    let mut values = Vec::new();
    let mut at = start;
    // As many points as Prometheus allows.
    while at <= end && values.len() < 11_000 {
        if let Some(value) = read(at)? {
            values.push(sample(at, value));
        }
        let Ok(next) = at.checked_add(step) else {
            break;
        };
        at = next;
    }
    let series = (!values.is_empty()).then(|| json!({"metric": {}, "values": values}));
    Ok(json!({"resultType": "matrix", "result": Vec::from_iter(series)}))
}

fn failure(kind: &str, message: &str) -> Value {
    json!({"status": "error", "errorType": kind, "error": message})
}

fn sample(at: Timestamp, value: f64) -> Value {
    let text = if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 {
            "+Inf".to_owned()
        } else {
            "-Inf".to_owned()
        }
    } else {
        value.to_string()
    };
    json!([at.as_millisecond() as f64 / 1000.0, text])
}

/// Unix seconds with a fraction, or RFC 3339.
fn read_time(text: &str) -> Option<Timestamp> {
    match text.parse::<f64>() {
        Ok(seconds) => Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok(),
        Err(_) => text.parse().ok(),
    }
}

/// Seconds with a fraction, or a number with one of `ms s m h d`.
fn read_step(text: &str) -> Option<SignedDuration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return SignedDuration::try_from_secs_f64(seconds).ok();
    }
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    SignedDuration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(weight: f64) -> Metrics {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let variables: Variables = Arc::new(move |_| {
            BTreeMap::from([
                ("weight".to_owned(), Variable::Number(weight)),
                ("version".to_owned(), Variable::Text("v2".to_owned())),
            ])
        });
        let metrics = Metrics::new(clock, variables);
        metrics
            .set("error_rate", "if(weight > 40, 0.08, 0.01)")
            .unwrap();
        metrics
            .set("latency", "if(version == \"v2\", 2, 1) * time")
            .unwrap();
        metrics.set("nothing", "()").unwrap();
        metrics
    }

    #[test]
    fn formulas_answer_queries() {
        let epoch = Timestamp::UNIX_EPOCH;
        let rows = [
            (50.0, "error_rate", Some(0.08)),
            (20.0, "sum(rate(error_rate{app=\"x\"}[5m]))", Some(0.01)),
            (20.0, "my_error_rate", None),
            (20.0, "nothing", None),
        ];
        for (weight, query, want) in rows {
            assert_eq!(
                metrics(weight).value(query, epoch).unwrap(),
                want,
                "{query}"
            );
        }
    }

    #[test]
    fn answers_have_the_form_of_prometheus() {
        let metrics = metrics(50.0);
        let (code, body) = metrics
            .answer("/api/v1/query", "query=error_rate&time=5.5")
            .unwrap();
        assert_eq!(
            (code, &body["data"]["result"][0]["value"]),
            (200, &json!([5.5, "0.08"]))
        );
        let range = "query=latency&start=0&end=2&step=1s";
        let (_, body) = metrics.answer("/api/v1/query_range", range).unwrap();
        let want = json!([[0.0, "0"], [1.0, "2"], [2.0, "4"]]);
        assert_eq!(body["data"]["result"][0]["values"], want);
        let (_, body) = metrics
            .answer("/api/v1/query", "query=scalar(error_rate)&time=5.5")
            .unwrap();
        let want = json!({"resultType": "scalar", "result": [5.5, "0.08"]});
        assert_eq!(body["data"], want);
        metrics.fault(Some(MetricFault::Empty));
        let (_, body) = metrics.answer("/api/v1/query", "query=error_rate").unwrap();
        assert_eq!(body["data"]["result"], json!([]));
        metrics.fault(Some(MetricFault::Status(503)));
        assert_eq!(
            metrics
                .answer("/api/v1/query", "query=error_rate")
                .unwrap()
                .0,
            503
        );
    }
}
