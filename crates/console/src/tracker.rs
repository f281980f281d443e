//! The contract of the Payload Tracker, for its front-end and its clients: the same paths, parameters and shapes, read
//! from our tables. What that service did wrong is not repeated: counts are true, statuses without a source are shown,
//! and a failure of the database is a 5xx (H4). Errors keep that service's shape; `docs/tracking.md` is for people.

mod access;
mod asked;
mod links;
mod payload;
mod payloads;
mod refusal;
mod statuses;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;

use crate::app::App;
pub use access::Access;
pub(crate) use access::check;
use refusal::Refusal;

/// Where the contract is served: as that service was in production, and as it was in development.
pub(crate) const BASES: [&str; 2] = ["/api/v1", "/app/payload-tracker/api/v1"];

/// The routes under every base, and those at the root.
pub(crate) fn routes() -> Router<Arc<App>> {
    let root = Router::new().route("/", get(alive)).route("/health", get(health));
    let all =
        BASES.iter().fold(root, |router, base| router.route(&format!("{base}/"), get(alive)).nest(base, under_base()));
    all.method_not_allowed_fallback(only_get)
}

fn under_base() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(alive))
        .route("/payloads", get(payloads::list))
        .route("/payloads/{request_id}", get(payload::find))
        .route("/payloads/{request_id}/archiveLink", get(links::archive))
        .route("/payloads/{request_id}/kibanaLink", get(links::kibana))
        .route("/roles/archiveLink", get(links::may_archive))
        .route("/statuses", get(statuses::list))
        .fallback(nothing_here)
        .method_not_allowed_fallback(only_get)
}

async fn alive() -> &'static str {
    "lubdub"
}

/// Its clients expect an empty body when the database does not answer.
async fn health(State(app): State<Arc<App>>) -> Result<&'static str, StatusCode> {
    outbox::migrate::check(&app.database).await.map(|()| "OK").map_err(|error| {
        tracing::warn!(%error, "the tracker is not healthy");
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

async fn only_get() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this path only takes GET")
}

async fn nothing_here() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path")
}
