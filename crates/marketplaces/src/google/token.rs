//! Access tokens: fetched at send time, kept while they are good, dropped once refused.

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use remittance::Outcome;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::assertion::{KeyFile, wall_clock};
use super::settings::join;
use crate::evidence;
use crate::transport::{Reply, Transport};

/// A token this close to its end is fetched anew: a call fits into it.
const EXPIRY_MARGIN: Duration = Duration::from_secs(120);
/// A key file has some 2,400 bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Google's tokens have up to 2,048 characters; some of workload identity have more.
const TOKEN_CHARS_MAX: usize = 16 * 1024;
const METADATA_PATH: &str = "computeMetadata/v1/instance/service-accounts/default/token";
const FLAVOR: &str = "metadata-flavor";

/// Where tokens come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A service account's key file, read anew for each token so that a rotated one is noticed.
    KeyFile {
        /// Where it lies.
        path: KeyPath,
        /// Where its assertion is exchanged; `None`: where the file says.
        token_endpoint: Option<Url>,
    },
    /// The metadata server.
    Metadata {
        /// Its address.
        endpoint: Url,
    },
}

/// Where a key file lies.
#[derive(Debug)]
pub(super) enum KeyPath {
    /// Under this name in the environment.
    Variable(String),
    /// Here.
    Path(PathBuf),
}

/// A token that was valid when it was fetched. Its Debug does not print it.
#[derive(Debug, Clone)]
pub(super) struct Token {
    secret: SecretString,
    ends: Instant,
}

impl Token {
    /// The token itself, to be put into a header.
    pub(super) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoToken {
    /// Nothing is configured, or it could not be fetched.
    Missing(String),
    /// Google refused what we have.
    Refused(String),
}

impl From<NoToken> for Outcome {
    fn from(fault: NoToken) -> Self {
        match fault {
            NoToken::Missing(code) => Self::NoCredentials { code },
            NoToken::Refused(code) => Self::Unauthorised { code },
        }
    }
}

fn missing(code: &str) -> NoToken {
    NoToken::Missing(code.to_owned())
}

/// Fetches tokens and keeps the last. One fetch at a time; callers meanwhile wait for it, within its bound.
#[derive(Debug)]
pub(super) struct Tokens {
    source: Source,
    transport: Arc<Transport>,
    fetch_timeout: Duration,
    fetch: Mutex<()>,
    kept: std::sync::Mutex<Option<Token>>,
}

impl Tokens {
    pub(super) fn new(source: Source, transport: Arc<Transport>, fetch_timeout: Duration) -> Self {
        Self { source, transport, fetch_timeout, fetch: Mutex::default(), kept: std::sync::Mutex::default() }
    }

    /// A token to send with now, within `budget`.
    pub(super) async fn token(&self, budget: Duration) -> Result<Token, NoToken> {
        let deadline = Instant::now() + budget.min(self.fetch_timeout);
        timeout_at(deadline, self.current(deadline)).await.unwrap_or_else(|_| Err(missing("credentials_timeout")))
    }

    async fn current(&self, deadline: Instant) -> Result<Token, NoToken> {
        let _one_at_a_time = self.fetch.lock().await;
        let kept = self.kept().clone();
        if let Some(kept) = kept.clone().filter(|kept| Instant::now() + EXPIRY_MARGIN < kept.ends) {
            return Ok(kept);
        }
        // A whole token outlives this budget's end only if it comes before: a fetch that hangs must not cost the one at
        // hand, so the fetch ends a little earlier than the caller's patience.
        let patience = deadline - (deadline.saturating_duration_since(Instant::now()) / 10);
        match self.fetch(patience).await {
            Ok(token) => {
                *self.kept() = Some(token.clone());
                Ok(token)
            }
            Err(fault) => match kept.filter(|kept| Instant::now() < kept.ends) {
                Some(kept) => {
                    tracing::warn!(?fault, "a token could not be renewed; using the one at hand");
                    Ok(kept)
                }
                None => {
                    tracing::warn!(?fault, "no token");
                    Err(fault)
                }
            },
        }
    }

    /// Drops a token that was refused. One that another call has fetched meanwhile stays.
    pub(super) fn forget(&self, refused: &Token) {
        self.kept().take_if(|kept| kept.secret() == refused.secret());
    }

    /// Never held across an await.
    fn kept(&self) -> MutexGuard<'_, Option<Token>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, deadline: Instant) -> Result<Token, NoToken> {
        let request = match &self.source {
            Source::KeyFile { path, token_endpoint } => {
                let key = KeyFile::parse(&read_key_file(path).await?).map_err(missing)?;
                let endpoint = match token_endpoint {
                    Some(endpoint) => endpoint.clone(),
                    None => key.token_uri().map_err(missing)?,
                };
                exchange(&endpoint, &key.assertion(wall_clock()).map_err(missing)?)
            }
            Source::Metadata { endpoint } => {
                http::Request::get(join(endpoint, METADATA_PATH).as_str()).header(FLAVOR, "Google").body(Vec::new())
            }
        };
        let request = request.map_err(|_| missing("credentials_malformed"))?;
        let asked = Instant::now();
        let reply = self.transport.send(request, deadline).await.map_err(|outcome| unreachable(&outcome))?;
        if matches!(self.source, Source::Metadata { .. }) && reply.header(FLAVOR) != Some("Google") {
            // Another server answers at that address (the documents ask to look).
            return Err(missing("credentials_not_metadata"));
        }
        read(&reply, asked)
    }
}

async fn read_key_file(path: &KeyPath) -> Result<Vec<u8>, NoToken> {
    let path = match path {
        KeyPath::Path(path) => path.clone(),
        KeyPath::Variable(name) => {
            std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(|| {
                tracing::warn!(variable = name, "the environment names no key file");
                missing("credentials_not_configured")
            })?
        }
    };
    let file = tokio::fs::File::open(path).await.map_err(|_| missing("credentials_not_found"))?;
    let mut text = Vec::new();
    file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut text).await.map_err(|_| missing("credentials_not_readable"))?;
    Ok(text)
}

/// The request that exchanges an assertion (RFC 7523); all its characters stand in a form as they are.
fn exchange(endpoint: &Url, assertion: &SecretString) -> http::Result<http::Request<Vec<u8>>> {
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}",
        assertion.expose_secret()
    );
    http::Request::post(endpoint.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.into_bytes())
}

/// Nothing of a delivery was sent, whatever happened on the way to the token.
fn unreachable(outcome: &Outcome) -> NoToken {
    NoToken::Missing(format!("credentials_{}", outcome.code().unwrap_or("unreachable")))
}

/// Reads what a token endpoint answered to a question of `asked`.
fn read(reply: &Reply, asked: Instant) -> Result<Token, NoToken> {
    let body = reply.body.as_ref().map_err(|_| missing("credentials_no_answer"))?;
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    match reply.status {
        200 => {}
        400 | 401 | 403 => {
            let word = json.get("error").and_then(Value::as_str).and_then(evidence::code);
            return Err(NoToken::Refused(word.unwrap_or_else(|| format!("credentials_http_{}", reply.status))));
        }
        status => return Err(missing(&format!("credentials_http_{status}"))),
    }
    let malformed = || missing("credentials_no_answer");
    let secret = json.get("access_token").and_then(Value::as_str).ok_or_else(malformed)?;
    // A token that fits no header could not be sent.
    if secret.is_empty() || secret.len() > TOKEN_CHARS_MAX || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(malformed());
    }
    let life = match json.get("expires_in") {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let life = Duration::from_secs(life.ok_or_else(malformed)?.min(86_400));
    Ok(Token { secret: secret.to_owned().into(), ends: asked + life })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn answered(status: u16, body: &str) -> Result<Duration, NoToken> {
        let body = Ok(Bytes::from(body.to_owned()));
        let asked = Instant::now();
        read(&Reply { status, headers: HeaderMap::new(), body }, asked).map(|token| token.ends - asked)
    }

    #[test]
    fn d9_a_token_ends_when_they_say() {
        for body in [r#"{"access_token":"ya29.x","expires_in":3599}"#, r#"{"access_token":"t","expires_in":"3599"}"#] {
            assert_eq!(answered(200, body), Ok(Duration::from_secs(3_599)), "{body}");
        }
    }

    #[test]
    fn d9_a_refusal_is_told_from_a_fault() {
        let refused = |code: &str| Err(NoToken::Refused(code.to_owned()));
        assert_eq!(answered(400, r#"{"error":"invalid_grant","error_description":"x"}"#), refused("invalid_grant"));
        assert_eq!(answered(401, "<html>"), refused("credentials_http_401"));
        assert_eq!(answered(503, ""), Err(missing("credentials_http_503")));
        assert_eq!(answered(404, ""), Err(missing("credentials_http_404")));
    }

    #[test]
    fn d10_what_is_no_token_is_none() {
        for body in [
            "",
            "{}",
            "<html>",
            r#"{"access_token":"t"}"#,
            r#"{"access_token":"","expires_in":9}"#,
            r#"{"access_token":"a b","expires_in":9}"#,
            r#"{"access_token":"a\r\nx: y","expires_in":9}"#,
            r#"{"access_token":"t","expires_in":-1}"#,
        ] {
            assert_eq!(answered(200, body), Err(missing("credentials_no_answer")), "{body}");
        }
    }

    #[tokio::test]
    async fn d10_a_key_file_that_is_not_there_has_a_code() {
        for (path, code) in [
            (KeyPath::Path("/nonexistent/key.json".into()), "credentials_not_found"),
            (KeyPath::Variable("POSTMETER_GOOGLE_NO_SUCH_PROFILE_KEY_FILE".to_owned()), "credentials_not_configured"),
        ] {
            let source = Source::KeyFile { path, token_endpoint: None };
            let tokens = Tokens::new(source, Arc::new(Transport::new()), Duration::from_secs(5));
            assert_eq!(tokens.token(Duration::from_secs(5)).await.err(), Some(missing(code)));
        }
    }

    #[test]
    fn i6_a_token_does_not_print() {
        let token = Token { secret: "ya29.secret".to_owned().into(), ends: Instant::now() };
        assert!(!format!("{token:?}").contains("ya29"));
    }
}
