//! HTTP for every marketplace: one request, one answer, nothing hidden.
//!
//! What it must never do: send twice, follow a redirect, go through a proxy that is not configured, read without
//! bound, wait beyond the deadline, or say "not sent" without proof.
//!
//! - No retries and no redirects. (The one thing the pool does by itself: a kept connection that turns out closed
//!   before the request was handed to it is replaced. Nothing was written then.)
//! - Proxies of the environment are not used: [`crate::Marketplace::endpoint`] promises where calls go, and what a
//!   proxy answers proves nothing about the marketplace.
//! - HTTP/1.1 alone: one request a connection at a time, so that a reset concerns one call.
//! - One TLS stack (rustls with ring) and the public authorities of `webpki-roots`, so that an image without a
//!   certificate store works.

use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use jiff::fmt::rfc2822;
use remittance::Outcome;
use tokio::time::{Instant, timeout_at};

/// Bytes of an answer that are read; 25 records and their receipts take some 20 KB.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// For name, connection and handshake together. Beyond it nothing was sent, and that is proven.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers close idle connections; a request that meets the closing is unknown, so they are not kept long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait a server may impose: beyond it, asking again is cheaper than missing a deadline.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

tokio::task_local! {
    static TRACEPARENT: Option<HeaderValue>;
}

/// Makes a call whose requests carry a `traceparent`, if there is one. Each request of the call carries it, that for a
/// token too: it is what the call waits for.
pub async fn carrying<T>(traceparent: Option<String>, call: impl Future<Output = T>) -> T {
    let value = traceparent.and_then(|text| HeaderValue::try_from(text).ok());
    TRACEPARENT.scope(value, call).await
}

/// Why a body is not there although the answer's head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// More than the bound, mostly [`BODY_BYTES_MAX`]; reading was stopped there.
    TooLarge,
    /// The connection ended, or the framing broke, before the body did.
    Truncated,
    /// The deadline passed while it trickled in.
    Timeout,
}

/// An answer whose head arrived.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, or why it is not there.
    pub(crate) body: Result<Bytes, BodyFault>,
}

impl Reply {
    /// A header as text, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// How long they ask us to wait: `Retry-After` in seconds, or as a date counted from the answer's own `Date`, so
    /// that no clock of ours decides. At most an hour, however far away that is; what is neither says nothing.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.header(RETRY_AFTER.as_str())?.trim();
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        let wait = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) if is_number => RETRY_AFTER_MAX,
            Err(_) => {
                let until = rfc2822::parse(text).ok()?.timestamp();
                let now = rfc2822::parse(self.header(DATE.as_str())?).ok()?.timestamp();
                Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
            }
        };
        Some(wait.min(RETRY_AFTER_MAX))
    }
}

/// Sends requests, one at a time and once each. Cheap to share; connections are kept for a few seconds.
#[derive(Debug)]
pub(crate) struct Transport {
    client: reqwest::Client,
}

impl Transport {
    /// Opens nothing yet: connections are made when they are needed.
    pub(crate) fn new() -> Self {
        Self::build(None)
    }

    /// The same, with a resolver that leaves out addresses that may not be called.
    pub(crate) fn through(resolver: Arc<dyn reqwest::dns::Resolve>) -> Self {
        Self::build(Some(resolver))
    }

    fn build(resolver: Option<Arc<dyn reqwest::dns::Resolve>>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut builder = reqwest::Client::builder();
        if let Some(resolver) = resolver {
            builder = builder.dns_resolver(resolver);
        }
        let client = builder
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("postmeter/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("everything the client is built from is constant");
        Self { client }
    }

    /// Sends a request once and reads its answer until `deadline`.
    ///
    /// # Errors
    /// `not_sent` only where no byte of the request can have left (name, connection, handshake); `unknown` where it may
    /// have arrived; `unrecognised` where something that is not HTTP came back.
    pub(crate) async fn send(&self, request: http::Request<Vec<u8>>, deadline: Instant) -> Result<Reply, Outcome> {
        self.send_for(request, deadline, BODY_BYTES_MAX).await
    }

    /// [`Transport::send`] for an answer of another size: so many bytes of its body are read at most.
    ///
    /// # Errors
    /// As [`Transport::send`].
    pub(crate) async fn send_for(
        &self,
        request: http::Request<Vec<u8>>,
        deadline: Instant,
        bytes_max: usize,
    ) -> Result<Reply, Outcome> {
        let mut request = reqwest::Request::try_from(request).map_err(|_| not_sent("request"))?;
        // beside what was signed: no marketplace's signature covers it
        if let Ok(Some(traceparent)) = TRACEPARENT.try_with(Clone::clone) {
            request.headers_mut().insert("traceparent", traceparent);
        }
        if Instant::now() >= deadline {
            return Err(not_sent("timeout"));
        }
        match timeout_at(deadline, self.client.execute(request)).await {
            // Perhaps still connecting, when the deadline is nearer than CONNECT_TIMEOUT; that cannot be told.
            Err(_) => Err(unknown("timeout")),
            Ok(Err(error)) => Err(without_head(&error)),
            Ok(Ok(mut response)) => {
                let status = response.status().as_u16();
                let headers = std::mem::take(response.headers_mut());
                let body =
                    timeout_at(deadline, read(&mut response, bytes_max)).await.unwrap_or(Err(BodyFault::Timeout));
                Ok(Reply { status, headers, body })
            }
        }
    }
}

/// Reads a body up to its bound; what comes after is never read.
async fn read(response: &mut reqwest::Response, bytes_max: usize) -> Result<Bytes, BodyFault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| BodyFault::Truncated)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(BodyFault::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What an error before the answer's head means.
fn without_head(error: &reqwest::Error) -> Outcome {
    if error.is_builder() {
        return not_sent("request");
    }
    // The connector's errors: name, TCP and TLS, each of them before the first byte of the request.
    if error.is_connect() {
        return not_sent(match () {
            () if error.is_dns() => "dns",
            () if error.is_timeout() => "connect_timeout",
            () if causes(error).any(is_tls) => "tls",
            () => "connect",
        });
    }
    // The client names what it could not parse only in words; should they change, the outcome is `unknown`, which is
    // treated no better.
    let not_http = causes(error).any(|cause| {
        let text = cause.to_string();
        text.starts_with("invalid HTTP") || text.starts_with("message head is too large")
    });
    match () {
        () if error.is_timeout() => unknown("timeout"),
        () if not_http => Outcome::Unrecognised { code: "not_http".to_owned(), record_alone: false },
        () => unknown("reset"),
    }
}

/// The causes of an error, outermost first; an I/O error's inner error counts (its own `source` skips it).
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| cause.source())
    })
}

fn is_tls(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<rustls::Error>() || cause.to_string().contains("tls handshake")
}

fn not_sent(code: &str) -> Outcome {
    Outcome::NotSent { code: code.to_owned() }
}

fn unknown(code: &str) -> Outcome {
    Outcome::Unknown { code: code.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(headers: &[(&'static str, &'static str)]) -> Reply {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().expect("name"), HeaderValue::from_static(value)));
        Reply { status: 429, headers: headers.collect(), body: Ok(Bytes::new()) }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(reply(&[("retry-after", "17")]).retry_after(), seconds(17));
        assert_eq!(reply(&[("retry-after", "99999999")]).retry_after(), Some(RETRY_AFTER_MAX));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(reply(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), date]).retry_after(), seconds(30));
        assert_eq!(reply(&[("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT"), date]).retry_after(), seconds(0));
        assert_eq!(reply(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]).retry_after(), None, "whose clock?");
        let far = reply(&[("retry-after", "Tue, 01 Jan 2999 00:00:00 GMT"), date]).retry_after();
        assert_eq!(far, Some(RETRY_AFTER_MAX));
        for garbage in ["soon", "-5", "1.5", "1e3", "5 seconds", "", "Sun, 06 Nov", "0x10", "17, 18"] {
            assert_eq!(reply(&[("retry-after", garbage), date]).retry_after(), None, "{garbage}");
        }
        for absurd in ["1000000000000", "18446744073709551615", "18446744073709551616", "9999999999999999999999999999"]
        {
            assert_eq!(reply(&[("retry-after", absurd)]).retry_after(), Some(RETRY_AFTER_MAX), "{absurd}");
        }
        let soon = ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(reply(&[soon, ("date", "yesterday")]).retry_after(), None, "whose clock?");
        assert_eq!(reply(&[("retry-after", " 0 ")]).retry_after(), seconds(0));
        assert_eq!(reply(&[]).retry_after(), None);
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_sends_nothing() {
        let request = http::Request::post("http://127.0.0.1:9/").body(Vec::new()).expect("a request");
        let outcome = Transport::new().send(request, Instant::now()).await.err();
        assert_eq!(outcome, Some(not_sent("timeout")));
    }
}
