//! HTTP as all providers use it: shared clients, one deadline, bounded bodies, errors that tell no
//! secrets.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};

/// Bytes that are read of an answer, after decompression (ASE-10).
pub const MAX_BODY: usize = 10 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Clients by what differs between them; each keeps connections to all its servers. They honour
/// `HTTP(S)_PROXY` and `NO_PROXY`, follow up to 10 redirects and verify certificates with the roots
/// of the system, unless `insecure` (ANA-47).
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: Mutex<Vec<(Settings, Client)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    insecure: bool,
    /// Without roots: for plain HTTP on machines that have none.
    rootless: bool,
}

impl Clients {
    /// The client for `url`.
    ///
    /// # Errors
    /// When the system's certificates cannot be read and are needed.
    pub(crate) fn get(&self, url: &Url, insecure: bool) -> Result<Client, String> {
        match self.with(Settings {
            insecure,
            rootless: false,
        }) {
            Err(_) if url.scheme() == "http" => self.with(Settings {
                insecure,
                rootless: true,
            }),
            outcome => outcome,
        }
    }

    fn with(&self, settings: Settings) -> Result<Client, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = known.iter().find(|(s, _)| *s == settings) {
            return Ok(client.clone());
        }
        let client = build(settings)?;
        known.push((settings, client.clone()));
        Ok(client)
    }
}

fn build(settings: Settings) -> Result<Client, String> {
    // Fails when the process has chosen one already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tls_danger_accept_invalid_certs(settings.insecure);
    if settings.rootless {
        builder = builder.tls_certs_only([]);
    }
    builder
        .build()
        .map_err(|e| format!("HTTP client: {}", reasons(&e)))
}

/// Checks an address: it needs a scheme and a host.
pub(crate) fn parse_url(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// A status and as much of the body as is allowed.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body, what is no UTF-8 replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request and reads its answer.
///
/// # Errors
/// Why there is no answer, without query and credentials of the address.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let (client, request) = request.build_split();
    let request = request.map_err(|e| format!("invalid request: {}", reasons(&e)))?;
    let what = describe(request.method(), request.url());
    match client.execute(request).await {
        Ok(response) => read(response)
            .await
            .map_err(|reason| format!("{what}: {reason}")),
        Err(error) => Err(format!("{what}: {}", reasons(&error))),
    }
}

/// Reads an answer, its body up to [`MAX_BODY`].
pub(crate) async fn read(mut response: Response) -> Result<Answer, String> {
    let status = response.status();
    let header = response.headers().get(reqwest::header::CONTENT_TYPE);
    let content_type = header
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| reasons(&e))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(format!("response body is larger than {MAX_BODY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        content_type,
        body,
    })
}

/// `Get "http://host/path"`: no query, no user, no password.
pub(crate) fn describe(method: &Method, url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    let method = method.as_str().to_ascii_lowercase();
    let mut letters = method.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
    format!("{} \"{url}\"", first.chain(letters).collect::<String>())
}

/// An error and what caused it; addresses are left out, as they may hold secrets.
pub(crate) fn reasons(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut texts = Vec::new();
    while let Some(e) = cause {
        let text = e.to_string();
        // Wrappers tend to repeat what they wrap.
        if !texts.iter().any(|t: &String| t.contains(&text)) {
            texts.push(text);
        }
        cause = e.source();
    }
    if texts.is_empty() {
        return if error.is_timeout() {
            "timed out".to_owned()
        } else {
            strip_url(error).to_owned()
        };
    }
    texts.join(": ")
}

fn strip_url(error: &reqwest::Error) -> &'static str {
    if error.is_builder() {
        "invalid request"
    } else if error.is_redirect() {
        "too many redirects"
    } else if error.is_body() || error.is_decode() {
        "the answer could not be read"
    } else {
        "the request failed"
    }
}
