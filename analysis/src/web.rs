//! Web: any HTTP endpoint that answers JSON or text (ANA-56, ANA-57).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};
use sluice_crds::analysis::{OAuth2Config, WebMetric, WebMetricHeader};

use crate::Context;
use crate::expr::Value;
use crate::http::{self, Answer};
use crate::jsonpath::Template;
use crate::numbers;
use crate::oauth2::{self, Tokens};
use crate::provider::{Provider, Reading};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// One web metric.
pub struct WebProvider {
    client: Client,
    tokens: Arc<Tokens>,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<String>,
    oauth2: Option<OAuth2Config>,
    path: Template,
    timeout: Duration,
}

impl WebProvider {
    /// Checks the settings.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(context: &Context, metric: &WebMetric) -> Result<Self, String> {
        let method = match metric.method.as_str() {
            "" => Method::GET,
            name => Method::from_bytes(name.as_bytes())
                .map_err(|_| format!("net/http: invalid method {name:?}"))?,
        };
        let json_body = metric.json_body.as_ref().filter(|json| !json.is_null());
        if !metric.body.is_empty() && json_body.is_some() {
            return Err(
                "use either Body or JSONBody; both cannot exists for WebMetric payload".to_owned(),
            );
        }
        let has_body = !metric.body.is_empty() || json_body.is_some();
        if has_body && method == Method::GET {
            return Err(
                "Body/JSONBody can only be used with POST or PUT WebMetric Method types".to_owned(),
            );
        }
        let mut headers = headers(&metric.headers)?;
        let body = match json_body {
            Some(json) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Some(json.to_string())
            }
            None if has_body => Some(metric.body.clone()),
            None => None,
        };
        let url = http::parse_url(&metric.url)
            .ok_or("provider.web.url must be an absolute http or https URL")?;
        let path = if metric.json_path.is_empty() {
            "{$}"
        } else {
            &metric.json_path
        };
        let oauth2 = &metric.authentication.oauth2;
        Ok(Self {
            client: context.clients.get(&url, metric.insecure)?,
            tokens: context.tokens.clone(),
            method,
            url,
            headers,
            body,
            oauth2: oauth2::active(oauth2)?.then(|| oauth2.clone()),
            path: Template::parse(path).map_err(|e| format!("invalid jsonPath {path:?}: {e}"))?,
            timeout: match u64::try_from(metric.timeout_seconds) {
                Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
                _ => DEFAULT_TIMEOUT,
            },
        })
    }

    /// A token replaces what the headers of the metric say.
    fn request(&self, token: Option<HeaderValue>) -> RequestBuilder {
        let mut headers = self.headers.clone();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token);
        }
        let request = self
            .client
            .request(self.method.clone(), self.url.clone())
            .headers(headers);
        match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }

    async fn send(&self, now: Timestamp) -> Result<Answer, String> {
        let Some(config) = &self.oauth2 else {
            return http::send(self.request(None)).await;
        };
        let request = |token: &str| self.request(HeaderValue::from_str(token).ok());
        let none = HeaderMap::new();
        oauth2::send(&self.tokens, &self.client, config, &none, now, request).await
    }
}

impl Provider for WebProvider {
    fn deadline(&self) -> Duration {
        self.timeout
    }

    fn describe(&self) -> String {
        http::describe(&self.method, &self.url)
    }

    fn measure(&self, now: Timestamp) -> BoxFuture<'_, Result<Reading, String>> {
        async move {
            let answer = self.send(now).await?;
            if !answer.status.is_success() {
                return Err(format!(
                    "received non 2xx response code: {}",
                    answer.status.as_u16()
                ));
            }
            reading(&answer, &self.path)
        }
        .boxed()
    }
}

/// What the answer holds at the path; an answer that is no JSON is a text.
fn reading(answer: &Answer, path: &Template) -> Result<Reading, String> {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        let text = answer.text();
        return Ok(Reading {
            result: Value::text(text.as_str()),
            value: text,
            ..Reading::default()
        });
    };
    let found = path
        .first(&json)
        .map_err(|e| format!("Could not find JSONPath in body: {e}"))?
        .ok_or("result of web metric produced no value")?;
    Ok(Reading {
        result: Value::from_json(&found),
        value: numbers::j(&found),
        metadata: BTreeMap::new(),
        keep_value: false,
    })
}

/// Headers of a metric; a later one of the same name wins.
///
/// # Errors
/// For a name or value that HTTP does not allow; the value is not told.
pub(crate) fn headers(list: &[WebMetricHeader]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for header in list {
        let name = HeaderName::from_bytes(header.key.as_bytes())
            .map_err(|_| format!("net/http: invalid header field name {:?}", header.key))?;
        let value = HeaderValue::from_str(&header.value)
            .map_err(|_| format!("net/http: invalid header field value for {:?}", header.key))?;
        headers.insert(name, value);
    }
    Ok(headers)
}
