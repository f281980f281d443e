//! The layer that counts requests.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use telemetry::names::{HTTP_DURATION, HTTP_REQUESTS};

/// Counts a request by its route (never by its path: that would be a series per id).
pub(crate) async fn count(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    HTTP_REQUESTS.add([method.as_str(), &route, response.status().as_str()], 1);
    HTTP_DURATION.observe([method.as_str(), &route], began.elapsed());
    response
}
