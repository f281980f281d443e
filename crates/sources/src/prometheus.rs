//! The HTTP API of Prometheus, and of what speaks it (Thanos, Mimir, VictoriaMetrics): one range query at a time.
//!
//! What is read here becomes money, so an answer that may lack something is an error and not a smaller number: a
//! warning, a truncated body, another kind of result. Reading is harmless, so a call that failed is made again a few
//! times.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;

/// Bytes of an answer that are read: some hundred thousand points.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call that failed is made so many times in all.
const TRIES: u32 = 3;
/// What is quoted of an answer that is not understood.
const EXCERPT_MAX: usize = 200;

/// Which server, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address, with the path before `/api/v1` if there is one.
    pub url: Url,
    /// A bearer token.
    pub token: Option<SecretString>,
    /// Certificates (PEM) to trust instead of the public authorities.
    pub tls_authority: Option<PathBuf>,
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
    /// What came is no answer to a range query.
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
    endpoint: Url,
    bearer: Option<HeaderValue>,
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
        let mut endpoint = url.clone();
        endpoint.set_path(&format!("{}/api/v1/query_range", url.path().trim_end_matches('/')));
        Ok(Self { client: client(access)?, endpoint, bearer })
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
        let mut form = self.endpoint.clone();
        form.query_pairs_mut()
            .append_pair("query", query)
            .append_pair("start", &first.as_second().to_string())
            .append_pair("end", &last.as_second().to_string())
            .append_pair("step", &step.as_secs().to_string())
            // Thanos leaves out stores that do not answer unless told otherwise; others ignore the word
            .append_pair("partial_response", "false");
        let form = form.query().unwrap_or_default().to_owned();
        let mut tries = 1;
        loop {
            match self.once(&form).await {
                Err(Error::Unavailable(_)) if tries < TRIES => {
                    tokio::time::sleep(Duration::from_secs(u64::from(tries))).await;
                    tries += 1;
                }
                Err(Error::Unavailable(reason)) => return Err(Error::Unavailable(format!("{reason} ({tries} times)"))),
                result => return result.and_then(|body| series(&body)),
            }
        }
    }

    /// One call. By POST, because a query can be longer than an address may be.
    async fn once(&self, form: &str) -> Result<Vec<u8>, Error> {
        let mut request = self
            .client
            .post(self.endpoint.clone())
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
            StatusCode::OK => Ok(body),
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

/// No redirects, no proxy nobody named, certificates always checked.
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

/// What a body says of an error: the API's own sentence, else how it begins.
fn said(body: &[u8]) -> String {
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { error: Some(error), .. }) => error,
        _ => String::from_utf8_lossy(body).chars().take(EXCERPT_MAX).collect(),
    }
}

#[derive(Debug, Deserialize)]
struct Body {
    status: Option<String>,
    error: Option<String>,
    data: Option<Data>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

#[derive(Debug, Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<Value>,
}

/// Reads an answer whose head was good.
fn series(body: &[u8]) -> Result<Vec<Series>, Error> {
    let unrecognised =
        |why: &str| Error::Unrecognised(format!("this is no answer of Prometheus: {why}: {}", said(body)));
    let answer: Body = serde_json::from_slice(body).map_err(|error| unrecognised(&error.to_string()))?;
    // Remarks about the query's style come as warnings from some versions; they leave nothing out.
    let serious: Vec<_> = answer.warnings.iter().filter(|warning| !warning.starts_with("PromQL info")).collect();
    if let Some(warning) = serious.first() {
        return Err(Error::Incomplete((*warning).clone()));
    }
    let data = match (answer.status.as_deref(), answer.data) {
        (Some("success"), Some(data)) => data,
        _ => return Err(unrecognised("its status is not success")),
    };
    if data.result_type != "matrix" {
        return Err(unrecognised(&format!("its result is a {}", data.result_type)));
    }
    let lines: Vec<Line> = serde_json::from_value(data.result).map_err(|error| unrecognised(&error.to_string()))?;
    let read = |line: Line| {
        let point = |(seconds, value): (f64, String)| Some((time(seconds)?, value));
        let points: Option<Vec<_>> = line.values.into_iter().map(point).collect();
        let points = points.ok_or_else(|| unrecognised("a time is out of range"))?;
        Ok(Series { labels: line.metric, points, is_histogram: !line.histograms.is_empty() })
    };
    lines.into_iter().map(read).collect()
}

/// Seconds with at most milliseconds behind the point, as Prometheus writes them.
#[allow(clippy::cast_possible_truncation, reason = "checked to be in range")]
fn time(seconds: f64) -> Option<Timestamp> {
    let millis = (seconds * 1000.0).round();
    (millis.abs() < 1e15).then(|| Timestamp::from_millisecond(millis as i64).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<Series>, Error> {
        series(body.as_bytes())
    }

    #[test]
    fn b5_a_value_keeps_every_digit_that_was_written() {
        let body = r#"{"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {"org": "acme"}, "values": [[1726653600, "0.30000000000000004"], [1726657200.000, "1e-7"]]}]}}"#;
        let series = read(body).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let expected = [(at("2024-09-18T10:00:00Z"), "0.30000000000000004"), (at("2024-09-18T11:00:00Z"), "1e-7")];
        assert_eq!(series[0].points, expected.map(|(at, value)| (at, value.to_owned())));
        assert_eq!(series[0].labels["org"], "acme");
    }

    #[test]
    fn what_may_be_incomplete_is_no_answer() {
        let with = |warnings: &str| {
            read(&format!(
                r#"{{"status": "success", "warnings": [{warnings}], "data": {{"resultType": "matrix", "result": []}}}}"#
            ))
        };
        assert!(matches!(with(r#""store 2 did not answer""#), Err(Error::Incomplete(_))));
        assert_eq!(with(r#""PromQL info: metric might not be a counter""#).unwrap(), []);
        assert_eq!(with("").unwrap(), []);
    }

    #[test]
    fn anything_else_is_unrecognised_and_quoted() {
        for body in [
            "<html>login</html>",
            "{}",
            r#"{"status": "error", "error": "no"}"#,
            r#"{"status": "success", "data": {"resultType": "vector", "result": []}}"#,
            r#"{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1e300, "1"]]}]}}"#,
        ] {
            assert!(matches!(read(body), Err(Error::Unrecognised(_))), "{body}");
        }
    }

    #[test]
    fn i6_a_token_never_leaves_in_the_clear_nor_into_a_message() {
        let access = |url: &str| Access {
            url: url.parse().unwrap(),
            token: Some("hunter2".to_owned().into()),
            tls_authority: None,
        };
        assert!(matches!(Prometheus::new(&access("http://prometheus:9090")), Err(Error::Access(_))));
        for good in ["https://prometheus:9090/team/", "http://127.0.0.1:9090", "http://[::1]:9090"] {
            let shown = format!("{:?}", Prometheus::new(&access(good)).unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert!(matches!(Prometheus::new(&access("https://me:hunter2@prometheus")), Err(Error::Access(_))));
    }
}
