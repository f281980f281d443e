//! Tokens: fetched at send time, kept while they are good, dropped once refused.
//!
//! Sources: Entra ID's client credentials grant in its two forms (`resource` of v1, `scope` of v2), and the instance
//! metadata service for managed identities. The resource is the one that Microsoft's metering documents name.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use remittance::Outcome;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::credentials::ClientCredentials;
use super::settings::{Login, TokenVersion};
use crate::evidence;
use crate::transport::{Reply, Transport};

/// The metering API as Entra ID knows it (`meteringapi.v1.json`).
const RESOURCE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";
/// The version of the metadata service's token operation.
const IMDS_VERSION: &str = "2018-02-01";
/// A token this close to its end is fetched anew: a call and the clocks' differences fit into it.
const EXPIRY_MARGIN: Duration = Duration::from_secs(120);
/// The life of a token that says nothing readable about its end.
const LIFE_UNSAID: Duration = Duration::from_secs(300);
/// No token is kept longer, whatever it says.
const LIFE_MAX: Duration = Duration::from_secs(86_400);

/// Where a client's credentials come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The environment, by the profile of the settings.
    Environment,
    /// Given when the destination was opened.
    Given(ClientCredentials),
}

/// A token at work.
#[derive(Debug, Clone)]
pub(super) struct Token {
    secret: Arc<SecretString>,
    refresh_at: Instant,
    ends_at: Instant,
}

impl Token {
    pub(super) fn expose(&self) -> &str {
        self.secret.expose_secret()
    }
}

/// Fetches tokens and keeps the last. One fetch at a time; callers meanwhile wait for it, within its bound, and
/// shares what came of it.
#[derive(Debug)]
pub(super) struct Tokens {
    login: Login,
    source: Source,
    transport: Arc<Transport>,
    /// How long a fetch may take.
    fetch_timeout: Duration,
    fetching: Mutex<Option<(Instant, Outcome)>>,
    kept: std::sync::Mutex<Option<Token>>,
}

impl Tokens {
    pub(super) fn new(login: Login, source: Source, transport: Arc<Transport>, fetch_timeout: Duration) -> Self {
        Self { login, source, transport, fetch_timeout, fetching: Mutex::default(), kept: std::sync::Mutex::default() }
    }

    /// A token to send with now, within `budget`.
    ///
    /// # Errors
    /// `no_credentials` where there are none or none could be fetched, `unauthorised` where Entra ID refused them.
    pub(super) async fn token(&self, budget: Duration) -> Result<Token, Outcome> {
        let budget = budget.min(self.fetch_timeout);
        timeout(budget, self.current(budget)).await.unwrap_or_else(|_| Err(none("token_timeout")))
    }

    async fn current(&self, budget: Duration) -> Result<Token, Outcome> {
        let came = Instant::now();
        let mut failed = self.fetching.lock().await;
        if let Some(kept) = self.kept().as_ref().filter(|kept| Instant::now() < kept.refresh_at) {
            return Ok(kept.clone());
        }
        // Who waited for a fetch that failed does not make the next one: eight calls in flight are one question.
        if let Some((_, outcome)) = failed.as_ref().filter(|(at, _)| *at >= came) {
            return Err(outcome.clone());
        }
        match self.fetch(came + budget).await {
            Ok(token) => {
                *self.kept() = Some(token.clone());
                Ok(token)
            }
            Err(outcome) => {
                let code = outcome.code().unwrap_or_default();
                // The source hiccups, what we have is still good: use it.
                if let Some(kept) = self.kept().as_ref().filter(|kept| Instant::now() < kept.ends_at) {
                    tracing::warn!(code, "the token could not be renewed; using the one at hand");
                    return Ok(kept.clone());
                }
                tracing::warn!(code, "no token");
                *failed = Some((Instant::now(), outcome.clone()));
                Err(outcome)
            }
        }
    }

    /// Drops a token that was refused, so that the next call fetches another. One that another call has fetched
    /// meanwhile stays.
    pub(super) fn forget(&self, refused: &Token) {
        self.kept().take_if(|kept| Arc::ptr_eq(&kept.secret, &refused.secret));
    }

    /// Never held across an await, so that a caller with a refusal to note does not wait for a fetch.
    fn kept(&self) -> MutexGuard<'_, Option<Token>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, deadline: Instant) -> Result<Token, Outcome> {
        let asked = Instant::now();
        let request = match &self.login {
            Login::ClientSecret { profile, endpoint, version } => {
                let credentials = match &self.source {
                    Source::Given(credentials) => credentials.clone().checked(),
                    Source::Environment => ClientCredentials::of_profile(profile, |name| std::env::var(name).ok()),
                };
                grant(endpoint, *version, &credentials.map_err(none)?)
            }
            Login::ManagedIdentity { endpoint, client_id } => own_identity(endpoint, client_id.as_deref()),
        };
        let request = request.ok_or_else(|| none("token_request"))?;
        // Whatever went wrong on this way, no byte went to the marketplace.
        let unreached = |outcome: Outcome| none(&format!("token_{}", outcome.code().unwrap_or("unreached")));
        let reply = self.transport.send(request, deadline).await.map_err(unreached)?;
        read(&reply, asked)
    }
}

fn none(code: &str) -> Outcome {
    Outcome::NoCredentials { code: code.to_owned() }
}

/// A form as it travels: the encoding of a query.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut url = Url::parse("https://form.invalid").expect("a constant URL");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().as_bytes().to_vec()
}

/// The client credentials grant.
fn grant(endpoint: &Url, version: TokenVersion, client: &ClientCredentials) -> Option<http::Request<Vec<u8>>> {
    let scope = format!("{RESOURCE}/.default");
    let (operation, audience) = match version {
        TokenVersion::V1 => ("oauth2/token", ("resource", RESOURCE)),
        TokenVersion::V2 => ("oauth2/v2.0/token", ("scope", scope.as_str())),
    };
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/{}/{operation}", endpoint.path().trim_end_matches('/'), client.tenant_id));
    let body = form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &client.client_id),
        ("client_secret", client.client_secret.expose_secret()),
        audience,
    ]);
    let request = http::Request::post(url.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json");
    request.body(body).ok()
}

/// The metadata service's question; the header keeps a page that was tricked into asking from getting an answer.
fn own_identity(endpoint: &Url, client_id: Option<&str>) -> Option<http::Request<Vec<u8>>> {
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/metadata/identity/oauth2/token", endpoint.path().trim_end_matches('/')));
    url.query_pairs_mut().append_pair("api-version", IMDS_VERSION).append_pair("resource", RESOURCE);
    if let Some(client_id) = client_id {
        url.query_pairs_mut().append_pair("client_id", client_id);
    }
    http::Request::get(url.as_str()).header("Metadata", "true").body(Vec::new()).ok()
}

/// The token in an answer, counted from when it was asked for.
fn read(reply: &Reply, asked: Instant) -> Result<Token, Outcome> {
    let body = reply.body.as_ref().map_err(|fault| none(&format!("token_body_{fault:?}").to_ascii_lowercase()))?;
    let json = serde_json::from_slice::<Value>(body).ok();
    if reply.status != 200 {
        return Err(refused(reply.status, json.as_ref()));
    }
    let json = json.ok_or_else(|| none("token_not_json"))?;
    let token = json.get("access_token").and_then(Value::as_str).filter(|token| is_token(token));
    let token = token.ok_or_else(|| none("token_missing"))?;
    let life = json.get("expires_in").and_then(seconds).unwrap_or(LIFE_UNSAID).min(LIFE_MAX);
    // A short life is used for its first half: fetching a token for every call would be refused before long.
    let fresh = life.saturating_sub(EXPIRY_MARGIN).max(life / 2);
    Ok(Token { secret: Arc::new(token.to_owned().into()), refresh_at: asked + fresh, ends_at: asked + life })
}

/// A number, or a number in a text, as v1 and the metadata service write it.
fn seconds(value: &Value) -> Option<Duration> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    number.map(Duration::from_secs)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// An answer without a token. Who we are was refused with 400 or 401 and a word of RFC 6749 in `error`; its first AADSTS
/// number says more (7000222: the secret has expired). All else passes by itself, or is not about us.
fn refused(status: u16, json: Option<&Value>) -> Outcome {
    let word = json.and_then(|json| json.get("error")).and_then(Value::as_str).and_then(evidence::code);
    match (status, word) {
        (429 | 408 | 500.., _) => none(&format!("token_http_{status}")),
        (400..500, Some(word)) if word == "temporarily_unavailable" => none("token_temporarily_unavailable"),
        (400..500, Some(word)) => {
            let number = json.and_then(|json| json.pointer("/error_codes/0")).and_then(Value::as_u64);
            let code = number.map_or(word.clone(), |number| format!("{word}.AADSTS{number}"));
            Outcome::Unauthorised { code: evidence::code(&code).unwrap_or(word) }
        }
        (401 | 403, None) => Outcome::Unauthorised { code: format!("token_http_{status}") },
        _ => none(&format!("token_http_{status}")),
    }
}

#[cfg(test)]
mod tests;
