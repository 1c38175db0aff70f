//! From an HTTP request to an answer: the tower service behind clients and listener.

mod answer;
mod discovery;
mod form;
mod log;
mod watching;

use std::io;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use tower::Service;

pub use self::log::{LogEntry, RequestLog};

use self::answer::{Answer, Content};
use self::form::Media;
use crate::cluster::Cluster;
use crate::error::ApiError;
use crate::faults::Verdict;
use crate::request::{self, ResourceRequest, Target, Verb};

/// Body of an answer; a watch's never ends by itself. It breaks with an error where a fault
/// cuts it.
pub type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// The API as a service over HTTP requests.
#[derive(Debug, Clone)]
pub struct ApiService {
    cluster: Cluster,
    user_agent: Option<String>,
}

impl ApiService {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            user_agent: None,
        }
    }

    /// Names the client of requests that carry no `User-Agent` header.
    #[must_use]
    pub fn with_user_agent(mut self, agent: &str) -> Self {
        self.user_agent = Some(agent.to_owned());
        self
    }

    async fn answer(
        self,
        parts: http::request::Parts,
        body: Bytes,
    ) -> Result<Response<AnswerBody>, io::Error> {
        let agent = header_text(&parts.headers, &header::USER_AGENT)
            .or(self.user_agent.clone())
            .unwrap_or_else(|| "unknown".to_owned());
        let media = Media::of(&parts.headers);
        let query = parts.uri.query().unwrap_or_default();
        let request = match request::parse(&parts.method, parts.uri.path(), query) {
            None => return Ok(refused(&ApiError::method_not_allowed())),
            Some(Target::Other(path)) => {
                let answer = discovery::answer(&self.cluster.lock(), &parts.method, &path, &media);
                return Ok(match answer {
                    Ok(answer) => plain(answer),
                    Err(error) => refused(&error),
                });
            }
            Some(Target::Resource(request)) => request,
        };
        let verdict = self.cluster.faults().judge(&request, &agent);
        if !verdict.delay.is_zero() {
            tokio::time::sleep(verdict.delay).await;
        }
        if verdict.reset {
            self.cluster
                .requests()
                .add(&self.cluster, &request, &agent, 0);
            return Err(broken());
        }
        let content_type = header_text(&parts.headers, &header::CONTENT_TYPE).unwrap_or_default();
        let result = match &verdict.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => answer::answer(
                &self.cluster,
                &request,
                &answer::Given {
                    media,
                    agent: &agent,
                    content_type: &content_type,
                    body: &body,
                },
                verdict.stale,
            ),
        };
        let code = result.as_ref().map_or_else(|e| e.code, |a| a.code);
        self.cluster
            .requests()
            .add(&self.cluster, &request, &agent, code);
        if request.verb.writes() && code < 300 && !request.options.dry_run() {
            self.cluster.faults().wrote(&agent);
        }
        if verdict.lose_answer {
            return Err(broken());
        }
        Ok(match result {
            Ok(answer) => self.respond(&request, answer, &verdict, agent),
            Err(error) => refused(&error),
        })
    }

    fn respond(
        &self,
        request: &ResourceRequest,
        answer: Answer,
        verdict: &Verdict,
        agent: String,
    ) -> Response<AnswerBody> {
        match answer.content {
            Content::Watch(plan) if request.verb == Verb::Watch => {
                let body = watching::body(self.cluster.clone(), *plan, verdict, agent);
                let mut response = Response::new(body);
                json_type(response.headers_mut());
                response
            }
            _ => plain(answer),
        }
    }
}

impl<B> Service<Request<B>> for ApiService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: std::fmt::Display + Send,
{
    type Response = Response<AnswerBody>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|e| io::Error::other(e.to_string()))?;
            service.answer(parts, body.to_bytes()).await
        })
    }
}

fn header_text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned)
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "connection reset by an injected fault",
    )
}

fn full(bytes: Bytes) -> AnswerBody {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn json_type(headers: &mut HeaderMap) {
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
}

fn plain(answer: Answer) -> Response<AnswerBody> {
    let bytes = match answer.content {
        Content::Full(bytes) => bytes,
        Content::Watch(_) => Bytes::new(),
    };
    let mut response = Response::new(full(bytes));
    *response.status_mut() =
        http::StatusCode::from_u16(answer.code).unwrap_or(http::StatusCode::OK);
    json_type(response.headers_mut());
    if let Some(kind) = answer.content_type {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    }
    for warning in answer.warnings {
        let text = format!("299 - {}", serde_json::Value::from(warning));
        if let Ok(value) = header::HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn refused(error: &ApiError) -> Response<AnswerBody> {
    if *error == ApiError::no_such_page() {
        let mut response = Response::new(full(error.message.clone().into()));
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        return response;
    }
    let mut response = Response::new(full(error.body()));
    *response.status_mut() =
        http::StatusCode::from_u16(error.code).unwrap_or(http::StatusCode::BAD_REQUEST);
    json_type(response.headers_mut());
    if let Some(seconds) = error.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
