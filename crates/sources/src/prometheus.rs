//! The HTTP API of Prometheus, and of what speaks it (Thanos, Mimir, VictoriaMetrics): one query at a time.
//!
//! What is read here becomes money, so an answer that may lack something is an error and not a smaller number: a
//! warning, a truncated body, another kind of result (see [`answer`]). Reading is harmless, so a call that failed is
//! made again a few times.

mod answer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};

use answer::{not_whole_by_head, said, series};

/// Bytes of an answer that are read: some hundred thousand points.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a server's clock may be behind besides: it is told in seconds, and the answer may have taken some.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(5);
/// A call that failed is made so many times in all.
const TRIES: u32 = 3;

/// Asks for all or nothing: Thanos leaves out stores, and a cluster of VictoriaMetrics nodes, that do not answer,
/// unless told otherwise; Thanos may answer with averages of five minutes instead of samples, and VictoriaMetrics
/// from a cache. Others ignore the words.
const WHOLE: [(&str, &str); 4] =
    [("partial_response", "false"), ("deny_partial_response", "1"), ("max_source_resolution", "0s"), ("nocache", "1")];

/// Which server, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address, with the path before `/api/v1` if there is one.
    pub url: Url,
    /// A bearer token.
    pub token: Option<SecretString>,
    /// Certificates (PEM) to trust instead of the public authorities.
    pub tls_authority: Option<PathBuf>,
    /// How far the server's clock may be behind this machine's, or the newest samples that are asked for are not there
    /// yet.
    pub behind_max: SignedDuration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The access cannot be used as it is.
    #[error("{0}")]
    Access(String),
    /// No connection, no answer in time, or a server that cannot answer now; the call was repeated.
    #[error("{0}")]
    Unavailable(String),
    /// The token is missing, wrong, or not enough.
    #[error("{0}")]
    Unauthorised(String),
    /// The query is wrong, or cannot be answered.
    #[error("{0}")]
    Refused(String),
    /// More than [`BODY_BYTES_MAX`]: ask for less at once.
    #[error("the answer has more than {max} bytes", max = BODY_BYTES_MAX)]
    TooLarge,
    /// The server says that something may be missing from its answer.
    #[error("the answer may be incomplete: {0}")]
    Incomplete(String),
    /// What came is no answer to what was asked.
    #[error("{0}")]
    Unrecognised(String),
}

/// A series of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its labels; without a metric's name where the query was an expression.
    pub labels: BTreeMap<String, String>,
    /// Its values by time, as the server wrote them: nothing is read as a float.
    pub points: Vec<(Timestamp, String)>,
    /// It has native histograms, which are no quantities.
    pub is_histogram: bool,
}

/// One server.
#[derive(Debug)]
pub struct Prometheus {
    client: Client,
    /// The address with the path before `/api/v1`.
    base: Url,
    bearer: Option<HeaderValue>,
    behind_max: SignedDuration,
}

impl Prometheus {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// [`Error::Access`] names what is wrong with the address, the token or the certificates.
    pub fn new(access: &Access) -> Result<Self, Error> {
        let url = &access.url;
        let host = url.host_str().unwrap_or_default();
        if !matches!(url.scheme(), "http" | "https") || host.is_empty() {
            return Err(Error::Access(format!("{url} is no address such as https://prometheus.example:9090")));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(Error::Access("the address must hold no credentials and no query: use a token".to_owned()));
        }
        let is_loopback = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
        if access.token.is_some() && url.scheme() != "https" && !is_loopback {
            return Err(Error::Access(format!("a token goes over https, or to this machine: not to {url}")));
        }
        let bearer = access.token.as_ref().map(bearer).transpose()?;
        Ok(Self { client: client(access)?, base: url.clone(), bearer, behind_max: access.behind_max })
    }

    /// Evaluates a query at `first`, and every `step` after it up to `last`.
    ///
    /// # Errors
    /// See [`Error`]; what can pass was tried again.
    pub async fn range(
        &self,
        query: &str,
        first: Timestamp,
        last: Timestamp,
        step: Duration,
    ) -> Result<Vec<Series>, Error> {
        let (first, last) = (first.as_second().to_string(), last.as_second().to_string());
        let step = step.as_secs().to_string();
        self.ask("query_range", &[("query", query), ("start", &first), ("end", &last), ("step", &step)]).await
    }

    /// The samples themselves of the series that a selector names, later than `after` and up to `until`. Whether a
    /// range of the server is closed at its begin (before version 3) or open (since) makes no difference.
    ///
    /// # Errors
    /// See [`Error`]; what can pass was tried again.
    pub async fn samples(&self, selector: &str, after: Timestamp, until: Timestamp) -> Result<Vec<Series>, Error> {
        let millis = until.as_millisecond() - after.as_millisecond();
        let query = format!("{selector}[{millis}ms]");
        let time = format!("{}.{:03}", until.as_second(), until.subsec_millisecond());
        let mut series = self.ask("query", &[("query", &query), ("time", &time)]).await?;
        for line in &mut series {
            if let Some((at, _)) = line.points.iter().find(|(at, _)| *at < after || *at > until) {
                return Err(Error::Unrecognised(format!("the server answers for {at}, which was not asked")));
            }
            line.points.retain(|(at, _)| *at > after);
        }
        Ok(series)
    }

    async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> Result<Vec<Series>, Error> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/v1/{path}", self.base.path().trim_end_matches('/')));
        let mut form = url.clone();
        form.query_pairs_mut().extend_pairs(fields).extend_pairs(WHOLE);
        let form = form.query().unwrap_or_default().to_owned();
        let mut tries = 1;
        loop {
            match self.once(&url, &form).await {
                Err(Error::Unavailable(_)) if tries < TRIES => {
                    tokio::time::sleep(Duration::from_secs(u64::from(tries))).await;
                    tries += 1;
                }
                Err(Error::Unavailable(reason)) => return Err(Error::Unavailable(format!("{reason} ({tries} times)"))),
                result => return result.and_then(|body| series(&body)),
            }
        }
    }

    /// Says so if the server's clock is so far behind that it cannot have scraped yet what is asked for.
    #[allow(
        clippy::disallowed_methods,
        reason = "the clocks of two machines are compared; nothing is decided by a time"
    )]
    fn behind(&self, headers: &HeaderMap) -> Option<String> {
        let date = headers.get(DATE)?.to_str().ok()?;
        let server = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
        let behind = Timestamp::now().duration_since(server);
        let max = self.behind_max + CLOCK_SLACK;
        (behind > max).then(|| {
            let behind = SignedDuration::from_secs(behind.as_secs());
            format!("its clock says {server}, {behind:#} behind ours: set the clock, or make --lag longer")
        })
    }

    /// One call. By POST, because a query can be longer than an address may be.
    async fn once(&self, url: &Url, form: &str) -> Result<Vec<u8>, Error> {
        let mut request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form.to_owned());
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer.clone());
        }
        let unavailable = |error: reqwest::Error| Error::Unavailable(sentence(&error));
        let mut response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let body = read(&mut response).await?;
        match status {
            StatusCode::OK => match not_whole_by_head(response.headers()).or_else(|| self.behind(response.headers())) {
                Some(why) => Err(Error::Incomplete(why)),
                None => Ok(body),
            },
            status if status.is_success() => {
                Err(Error::Incomplete(format!("the server answers {status}: {}", said(&body))))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Error::Unauthorised(format!("the server answers {status}: {}", said(&body))))
            }
            StatusCode::TOO_MANY_REQUESTS => Err(Error::Unavailable(format!("the server answers {status}"))),
            status if status.is_server_error() => {
                Err(Error::Unavailable(format!("the server answers {status}: {}", said(&body))))
            }
            status if status.is_redirection() => {
                let place = response.headers().get("location").and_then(|value| value.to_str().ok());
                Err(Error::Unrecognised(format!(
                    "the server sends us to {:?}: name that address",
                    place.unwrap_or("?")
                )))
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Err(Error::Refused(said(&body))),
            status => Err(Error::Unrecognised(format!("the server answers {status}: {}", said(&body)))),
        }
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|_| Error::Access("the token holds characters that no header can".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// No redirects, no proxy that is not configured, certificates always checked.
fn client(access: &Access) -> Result<Client, Error> {
    let roots = match &access.tls_authority {
        None => rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(path) => {
            let wrong = |why: String| Error::Access(format!("{}: {why}", path.display()));
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("holds no certificate".to_owned()));
            }
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .user_agent(concat!("postmeter/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(client.expect("everything the client is built from is checked"))
}

/// Reads a body up to its bound.
async fn read(response: &mut Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Error::Unavailable(sentence(&error)))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes: the outermost alone says only that something failed.
fn sentence(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i6_a_token_never_leaves_in_the_clear_nor_into_a_message() {
        let access = |url: &str| Access {
            url: url.parse().unwrap(),
            token: Some("hunter2".to_owned().into()),
            tls_authority: None,
            behind_max: SignedDuration::ZERO,
        };
        assert!(matches!(Prometheus::new(&access("http://prometheus:9090")), Err(Error::Access(_))));
        for good in ["https://prometheus:9090/team/", "http://127.0.0.1:9090", "http://[::1]:9090"] {
            let shown = format!("{:?}", Prometheus::new(&access(good)).unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert!(matches!(Prometheus::new(&access("https://me:hunter2@prometheus")), Err(Error::Access(_))));
    }
}
