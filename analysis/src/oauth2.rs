//! Client-credentials grant of OAuth 2 (ANA-49).
//!
//! Tokens are kept until shortly before they expire. That is invisible: one that the server of the
//! metric refuses is dropped and asked for again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use sluice_crds::analysis::OAuth2Config;

use crate::http::{self, Answer};

/// Seconds before its end at which a token is no longer used.
const MARGIN: i64 = 10;

/// Tokens by what was presented for them.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: Mutex<BTreeMap<Key, Token>>,
}

/// Token URL, client, its secret, scopes.
type Key = (String, String, String, Vec<String>);

#[derive(Clone)]
struct Token {
    /// Value of the `Authorization` header.
    header: String,
    /// Seconds since the epoch; none for a token that is used once.
    until: Option<i64>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// What a token server answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Grant {
    access_token: String,
    token_type: String,
    expires_in: serde_json::Value,
    error: String,
    error_description: String,
}

/// Whether OAuth 2 is asked for.
///
/// # Errors
/// When it is, but a credential is missing.
pub(crate) fn active(config: &OAuth2Config) -> Result<bool, String> {
    if config.token_url.is_empty() {
        return Ok(false);
    }
    if config.client_id.is_empty() || config.client_secret.is_empty() {
        return Err("missing mandatory parameter in metric for OAuth2 setup".to_owned());
    }
    Ok(true)
}

/// Sends what `request` makes of an `Authorization` value, with a token; `headers` go to the token
/// server.
///
/// # Errors
/// Why there is no token, or no answer.
pub(crate) async fn send(
    tokens: &Tokens,
    client: &Client,
    config: &OAuth2Config,
    headers: &HeaderMap,
    now: Timestamp,
    request: impl Fn(&str) -> RequestBuilder,
) -> Result<Answer, String> {
    let key: Key = (
        config.token_url.clone(),
        config.client_id.clone(),
        config.client_secret.clone(),
        config.scopes.clone(),
    );
    if let Some(token) = tokens.get(&key, now) {
        let answer = http::send(request(&token.header)).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        tokens.drop(&key);
    }
    let token = fetch(client, config, headers, now).await?;
    let header = token.header.clone();
    tokens.keep(key, token);
    http::send(request(&header)).await
}

impl Tokens {
    fn get(&self, key: &Key, now: Timestamp) -> Option<Token> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(key)
            .filter(|t| t.until.is_some_and(|until| now.as_second() < until))
            .cloned()
    }

    fn drop(&self, key: &Key) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    fn keep(&self, key: Key, token: Token) {
        if token.until.is_some() {
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, token);
        }
    }
}

/// Asks for a token: first with the credentials in the header, then in the form.
async fn fetch(
    client: &Client,
    config: &OAuth2Config,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Token, String> {
    let scope = config.scopes.join(" ");
    let mut form = vec![("grant_type", "client_credentials")];
    if !scope.is_empty() {
        form.push(("scope", &scope));
    }
    let (id, secret) = (
        form_encoded(&config.client_id),
        form_encoded(&config.client_secret),
    );
    let post = || client.post(&config.token_url);
    let basic = post()
        .basic_auth(id, Some(secret))
        .form(&form)
        .headers(headers.clone());
    match grant(http::send(basic).await, now) {
        Ok(token) => Ok(token),
        Err(_) => {
            form.push(("client_id", &config.client_id));
            form.push(("client_secret", &config.client_secret));
            grant(
                http::send(post().form(&form).headers(headers.clone())).await,
                now,
            )
        }
    }
}

fn form_encoded(text: &str) -> String {
    let pair: String = reqwest::Url::parse_with_params("http://x", [("k", text)])
        .map(|url| url.query().unwrap_or_default().to_owned())
        .unwrap_or_default();
    pair.strip_prefix("k=").unwrap_or_default().to_owned()
}

fn grant(answer: Result<Answer, String>, now: Timestamp) -> Result<Token, String> {
    let answer = answer.map_err(|e| format!("oauth2: cannot fetch token: {e}"))?;
    let grant = if is_form(&answer.content_type) {
        from_form(&answer.text())
    } else {
        serde_json::from_slice::<Grant>(&answer.body).ok()
    };
    let told = grant.as_ref().filter(|g| !g.error.is_empty());
    if let Some(told) = told {
        return Err(format!(
            "oauth2: {:?} {:?}",
            told.error, told.error_description
        ));
    }
    if !answer.status.is_success() {
        return Err(format!(
            "oauth2: cannot fetch token: {}\nResponse: {}",
            answer.status,
            answer.text()
        ));
    }
    let grant = grant.ok_or("oauth2: cannot parse json: the answer is no JSON object")?;
    if grant.access_token.is_empty() {
        return Err("oauth2: server response missing access_token".to_owned());
    }
    let scheme = match grant.token_type.to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer",
        "mac" => "MAC",
        "basic" => "Basic",
        _ => &grant.token_type,
    };
    let seconds = match &grant.expires_in {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    Ok(Token {
        header: format!("{scheme} {}", grant.access_token),
        until: seconds.map(|s| now.as_second().saturating_add(s).saturating_sub(MARGIN)),
    })
}

fn is_form(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    matches!(media, "text/plain" | "application/x-www-form-urlencoded")
}

fn from_form(body: &str) -> Option<Grant> {
    let mut url = reqwest::Url::parse("http://x").ok()?;
    url.set_query(Some(body.trim()));
    let mut grant = Grant::default();
    for (key, value) in url.query_pairs() {
        let value = value.into_owned();
        match &*key {
            "access_token" => grant.access_token = value,
            "token_type" => grant.token_type = value,
            "expires_in" => grant.expires_in = value.into(),
            "error" => grant.error = value,
            "error_description" => grant.error_description = value,
            _ => {}
        }
    }
    Some(grant)
}
