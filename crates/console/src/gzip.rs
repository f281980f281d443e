//! Compressed bodies. The limit of a body's bytes is that of what it holds, so that a few kilobytes cannot become
//! gigabytes here.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::{HeaderMap, StatusCode, header};

use crate::problem::Problem;

/// Members of one body at most.
const MEMBERS_MAX: usize = 100;

/// The body as its sender meant it.
pub(crate) fn inflated(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Bytes, Problem> {
    let encodings: Vec<&str> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|encoding| !encoding.eq_ignore_ascii_case("identity"))
        .collect();
    match encodings.as_slice() {
        [] => Ok(body),
        [one] if one.eq_ignore_ascii_case("gzip") || one.eq_ignore_ascii_case("x-gzip") => gunzipped(&body, bytes_max),
        _ => Err(Problem::plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type",
            format!("Content-Encoding is {}; send the body plain or gzip", encodings.join(", ")),
        )),
    }
}

fn gunzipped(body: &[u8], bytes_max: usize) -> Result<Bytes, Problem> {
    let unreadable = |error: std::io::Error| Problem::malformed(format!("the body is not whole as gzip: {error}"));
    let mut plain = Vec::new();
    let mut rest = body;
    // A body may be several members, one after the other. Each costs time, however little it holds.
    for _ in 0..MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        let room = bytes_max - plain.len();
        (&mut member).take(room as u64 + 1).read_to_end(&mut plain).map_err(unreadable)?;
        if plain.len() > bytes_max {
            return Err(too_large());
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(plain.into());
        }
    }
    Err(Problem::malformed(format!("the body has more than {MEMBERS_MAX} members of gzip; compress it as one")))
}

/// More bytes than `body_bytes_max`.
pub(crate) fn too_large() -> Problem {
    let detail = "the body is larger than this console takes; send fewer usages in one request";
    Problem::plain(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}
