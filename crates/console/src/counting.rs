//! The layer that counts requests.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use telemetry::names::{HTTP_DURATION, HTTP_REQUESTS};

/// Counts a request by its route (never by its path: that would be a series per id).
pub(crate) async fn count(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    HTTP_REQUESTS.add([method, &route, response.status().as_str()], 1);
    HTTP_DURATION.observe([method, &route], began.elapsed());
    response
}

/// The method as a label: anybody may write any word there, and each would be a series for ever.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_a_word_of_the_callers_own_makes_no_series() {
        assert_eq!(known(&Method::PATCH), "PATCH");
        assert_eq!(known(&Method::from_bytes(b"M4711").expect("a token")), "other");
    }
}
