//! Whether this console is alive and can work; the only routes that ask nobody who they are.

use std::sync::Arc;

use axum::extract::State;
use http::header;
use telemetry::Unready;

use crate::app::App;
use crate::problem::Problem;

/// The process runs. Says nothing about the database: a restart would not bring that back.
#[utoipa::path(get, path = "/live", tag = "health", responses((status = 200, description = "It runs", body = String)))]
pub(crate) async fn live() -> &'static str {
    "OK"
}

/// It can work: the database answers and has the schema that this program knows.
#[utoipa::path(get, path = "/ready", tag = "health", responses(
    (status = 200, description = "It can work", body = String),
    (status = 503, description = "The database cannot be reached", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    app.vital.ready().await.map_err(|unready| match unready {
        Unready::Database(error) if error.is_transient() => Problem::from(error),
        other => Problem::away(30, other.to_string()),
    })?;
    Ok("OK")
}

/// Metrics in Prometheus' text format. While the database is away they say so by `postmeter_database_up 0`.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "Prometheus' text format", body = String)))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> ([(http::HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.vital.metrics().await)
}
