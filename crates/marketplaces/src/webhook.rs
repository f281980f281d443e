//! Signed posts to a receiver of the user's own, as Standard Webhooks says (standardwebhooks.com).
//!
//! The id stays the same at every try, the timestamp is that of the try, and the signature covers both and the body.
//! No redirect is followed. A name that leads to a private address is refused when it is resolved, so that neither a
//! mistake nor a changed record of the DNS lets a post reach what only this machine can reach.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use remittance::Outcome;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::transport::Transport;

/// Bytes of an answer that are read: nothing in it is used.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Which addresses may be posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Public ones, by HTTPS.
    Public,
    /// Also private ones and loopback, and HTTP without TLS.
    Private,
    /// Loopback alone: of a test or demo database.
    Loopback,
}

/// Why a webhook cannot be set up: a sentence, about its URL or about a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The URL.
    #[error("{0}")]
    Url(&'static str),
    /// A secret.
    #[error("{0}")]
    Secret(&'static str),
}

/// Why a post did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NotTaken {
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    what: String,
}

/// A receiver with its secrets.
pub struct Webhook {
    url: reqwest::Url,
    keys: Vec<hmac::Key>,
    reach: Reach,
    transport: Transport,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a path or query may be a secret too
        f.debug_struct("Webhook").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// A receiver at `url`; `secrets` holds one a line (`whsec_` and base64), and a post is signed with each: while a
    /// secret is exchanged the receiver may know either.
    ///
    /// # Errors
    /// What is wrong with the URL or a secret, without quoting it.
    pub fn open(url: &str, secrets: &SecretString, reach: Reach) -> Result<Self, WebhookError> {
        let refuse = |what: &'static str| Err(WebhookError::Url(what));
        let Ok(url) = reqwest::Url::parse(url) else { return refuse("the URL cannot be read: https://host/path") };
        if url.scheme() != "https" && (url.scheme() != "http" || reach == Reach::Public) {
            return refuse("the URL must be https://; http:// is for private addresses, where they are allowed");
        }
        if url.host_str().is_none() || !url.username().is_empty() || url.password().is_some() {
            return refuse("the URL must name a host, and no user: posts are signed");
        }
        Ok(Self {
            url,
            keys: keys(secrets.expose_secret())?,
            reach,
            transport: Transport::through(Arc::new(Guard(reach))),
        })
    }

    /// The header `webhook-signature`.
    #[must_use]
    pub fn signature(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let sign = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{seconds}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.keys.iter().map(sign).collect::<Vec<_>>().join(" ")
    }

    /// Posts JSON once. Only an answer of 2xx means that it has arrived; anything else may have.
    ///
    /// # Errors
    /// What happened instead.
    pub async fn post(&self, id: &str, seconds: i64, body: Vec<u8>, timeout: Duration) -> Result<u16, NotTaken> {
        let failed = |what: &str| NotTaken { status: None, what: what.to_owned() };
        // the resolver is not asked about an address
        let literal = self.url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if literal.is_some_and(|address| !allowed(address, self.reach)) {
            return Err(failed(self.refusal()));
        }
        let request = http::Request::post(self.url.as_str())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.signature(id, seconds, &body))
            .body(body)
            .map_err(|_| failed("the request cannot be made"))?;
        match self.transport.send_for(request, Instant::now() + timeout, ANSWER_BYTES_MAX).await {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(reply.status),
            Ok(reply) => {
                Err(NotTaken { status: Some(reply.status), what: format!("the receiver answered {}", reply.status) })
            }
            Err(Outcome::NotSent { code }) if code == "dns" => {
                Err(failed(&format!("the host's name leads nowhere, or {}", self.refusal())))
            }
            Err(outcome) => Err(failed(&format!("no answer: {}", outcome.code().unwrap_or_default()))),
        }
    }

    const fn refusal(&self) -> &'static str {
        match self.reach {
            Reach::Public => "its address is private: set alerts.webhook_private if that is meant",
            _ => "its address is not on this machine: in a test or demo database no other is posted to",
        }
    }
}

/// Whether these may sign posts: secrets as [`Webhook::open`] takes them.
#[must_use]
pub fn are_secrets(text: &str) -> bool {
    keys(text).is_ok()
}

fn keys(secrets: &str) -> Result<Vec<hmac::Key>, WebhookError> {
    let mut keys = Vec::new();
    for line in secrets.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match STANDARD.decode(line.strip_prefix("whsec_").unwrap_or(line)) {
            Ok(bytes) if (24..=64).contains(&bytes.len()) => keys.push(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
            _ => return Err(WebhookError::Secret("a secret must be whsec_ and 24 to 64 bytes in base64, one a line")),
        }
    }
    if keys.is_empty() {
        return Err(WebhookError::Secret("there is no secret: one a line, whsec_ and 24 to 64 bytes in base64"));
    }
    Ok(keys)
}

/// Resolves names and leaves out what may not be reached.
struct Guard(Reach);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let left: Vec<SocketAddr> = found.filter(|address| allowed(address.ip(), reach)).collect();
            if left.is_empty() {
                return Err("every address of this name is refused".into());
            }
            Ok(Box::new(left.into_iter()) as Addrs)
        })
    }
}

fn allowed(address: IpAddr, reach: Reach) -> bool {
    let address = address.to_canonical();
    match reach {
        Reach::Private => true,
        Reach::Loopback => address.is_loopback(),
        Reach::Public => match address {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                let shared = a == 100 && (64..128).contains(&b);
                let reserved =
                    a == 0 || a >= 240 || (a == 192 && b == 0 && c == 0) || (a == 198 && (b == 18 || b == 19));
                !(v4.is_private()
                    || v4.is_loopback()
                    || v4.is_link_local()
                    || v4.is_multicast()
                    || v4.is_documentation()
                    || shared
                    || reserved)
            }
            // global unicast, without documentation and what carries an IPv4 address in it (6to4, Teredo)
            IpAddr::V6(v6) => {
                let [a, b, ..] = v6.segments();
                a & 0xe000 == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn webhook(secrets: &str) -> Result<Webhook, WebhookError> {
        Webhook::open("https://example.com/hook", &secrets.into(), Reach::Public)
    }

    #[test]
    fn d7_the_signature_is_that_of_the_standards_test_vector() {
        let signed = |secrets: &str| {
            let body = br#"{"test": 2432232314}"#;
            webhook(secrets).unwrap().signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
        };
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed(SECRET), expected);
        let both = signed(&format!("{SECRET}\nwhsec_{}\n", STANDARD.encode([7; 32])));
        assert!(both.starts_with(&format!("{expected} v1,")), "while a secret is exchanged, both sign: {both}");
    }

    #[test]
    fn i6_a_bad_secret_or_url_is_refused_without_being_shown() {
        for secrets in ["", "whsec_short", "whsec_????????????????????????????????????"] {
            let error = webhook(secrets).unwrap_err().to_string();
            assert!(error.contains("secret") && !error.contains("????") && !error.contains("short"), "{error}");
        }
        for url in ["http://example.com/", "ftp://example.com/", "https://user:hunter2@example.com/", "nonsense"] {
            let error = Webhook::open(url, &SECRET.into(), Reach::Public).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", webhook(SECRET).unwrap()).contains("hook\""));
    }

    #[test]
    fn d7_private_addresses_are_refused_unless_they_are_allowed() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "2002:a00::1",
        ] {
            let address = private.parse().unwrap();
            assert!(!allowed(address, Reach::Public) && allowed(address, Reach::Private), "{private}");
        }
        for public in ["93.184.216.34", "2606:2800:220:1::1"] {
            let address = public.parse().unwrap();
            assert!(allowed(address, Reach::Public) && !allowed(address, Reach::Loopback), "{public}");
        }
    }

    #[tokio::test]
    async fn d7_an_address_in_the_url_is_judged_too() {
        let webhook = Webhook::open("https://127.0.0.1:9/", &SECRET.into(), Reach::Public).unwrap();
        let error = webhook.post("id", 0, Vec::new(), Duration::from_secs(1)).await.unwrap_err();
        assert!(error.to_string().contains("private"), "{error}");
    }
}
