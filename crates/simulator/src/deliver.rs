//! How an answer leaves: as it is, disturbed by a fault, or not at all.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::stream;

use crate::faults::{FaultKind, FaultRule};

/// A marketplace's own answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The connection has to go without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cut {
    /// Closed in order (FIN).
    #[error("the connection is to be closed without an answer")]
    Close,
    /// Reset (RST).
    #[error("the connection is to be reset")]
    Reset,
}

/// An HTML page with the status 200: the answer that is most easily taken for a success.
const HTML: &str = "<!DOCTYPE html><html><head><title>Service</title></head><body><h1>Please wait</h1></body></html>\n";
const GARBAGE: &[u8] = b"\x00\xff\xfe{\"Results\":[{\"Status\":\"Success\"\x80";
const JSON: &str = "application/json";

/// Makes the response. `answer` is none when the call was not processed.
pub(crate) fn send(disturbance: Option<&FaultRule>, answer: Option<Answer>) -> Result<Response<Body>, Cut> {
    let Some(rule) = disturbance else { return answer.map(plain).ok_or(Cut::Close) };
    let of_fault = |content_type: &'static str, body: Body| Ok(other(rule.status.unwrap_or(200), content_type, body));
    match (rule.kind, answer) {
        (FaultKind::Reset, _) => Err(Cut::Reset),
        (FaultKind::Status, _) => {
            let body = rule.body.clone().unwrap_or_else(|| "{\"message\":\"a fault of the simulator\"}".to_owned());
            let mut response = of_fault(JSON, Body::from(body))?;
            if let Some(seconds) = rule.retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Ok(response)
        }
        (FaultKind::Garbage, _) => of_fault(JSON, Body::from(GARBAGE)),
        (FaultKind::Html, _) => of_fault("text/html; charset=utf-8", Body::from(HTML)),
        (FaultKind::Empty, _) => of_fault(JSON, Body::empty()),
        (FaultKind::Oversized, _) => of_fault(JSON, oversized(rule.bytes.unwrap_or(1 << 30))),
        (FaultKind::Truncated, Some(answer)) => Ok(truncated(answer)),
        (FaultKind::Drip, Some(answer)) => Ok(dripping(answer, rule)),
        _ => Err(Cut::Close),
    }
}

fn plain(answer: Answer) -> Response<Body> {
    with_body(&answer, Body::from(answer.body.clone()))
}

fn other(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn with_body(answer: &Answer, body: Body) -> Response<Body> {
    let mut response = other(answer.status, answer.content_type, body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    headers.extend(answer.headers.clone());
    response
}

/// Half of the announced bytes, then the connection breaks off.
fn truncated(answer: Answer) -> Response<Body> {
    let half = answer.body.slice(..answer.body.len() / 2);
    with_body(&answer, Body::from_stream(breaking_off(half)))
}

fn breaking_off(half: Bytes) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(Some(half)), |state| async move {
        match state? {
            Some(half) => Some((Ok(half), Some(None))),
            None => {
                // Time for the connection to write out what it has, else the client sees nothing at all.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
            }
        }
    })
}

fn dripping(answer: Answer, rule: &FaultRule) -> Response<Body> {
    let at_a_time = usize::try_from(rule.bytes.unwrap_or(1)).unwrap_or(usize::MAX).max(1);
    let pause = Duration::from_millis(rule.ms.unwrap_or(100));
    let drops = stream::unfold(answer.body.clone(), move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let drop = rest.split_to(at_a_time.min(rest.len()));
        Some((Ok::<_, io::Error>(drop), rest))
    });
    with_body(&answer, Body::from_stream(drops))
}

/// Chunked, so that no announced length warns the client; made as it is sent, so that our memory stays flat too.
fn oversized(bytes: u64) -> Body {
    static PIECE: [u8; 1 << 16] = [b'['; 1 << 16];
    Body::from_stream(stream::unfold(bytes, |left| async move {
        let length = left.min(PIECE.len() as u64);
        let piece = Bytes::from_static(&PIECE[..length as usize]);
        (length > 0).then(|| (Ok::<_, io::Error>(piece), left - length))
    }))
}
