//! The routes, and what they share.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use outbox::Database;
use telemetry::{HealthEndpoints, Keeping};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Tokens;
use crate::catalogue::Catalogue;
use crate::limits::Limits;
use crate::options::Options;
use crate::problem::Problem;
use crate::{counting, decide, explanation, health, lists, openapi, page, requests, tracker, usage};

/// What handlers share.
pub(crate) struct App {
    pub database: Database,
    pub options: Options,
    pub catalogue: Arc<dyn Catalogue>,
    pub tokens: Tokens,
    pub limits: Limits,
    pub vital: HealthEndpoints,
    pub stopping: CancellationToken,
    pub watched: requests::Watched,
    pub refused: Arc<requests::Refused>,
    _counting: Keeping,
}

impl App {
    pub(crate) fn new(database: Database, catalogue: Arc<dyn Catalogue>, options: Options) -> Self {
        let limits = Limits::new(&options);
        let stopping = CancellationToken::new();
        Self {
            watched: requests::Watched::new(&database, stopping.clone()),
            refused: Arc::default(),
            vital: HealthEndpoints::of_console(database.clone()),
            _counting: telemetry::start(env!("CARGO_PKG_VERSION")),
            database,
            limits,
            options,
            catalogue,
            tokens: Tokens::default(),
            stopping,
        }
    }
}

/// Every route that has a place in the OpenAPI document.
pub(crate) fn documented() -> OpenApiRouter<Arc<App>> {
    lists::routes(OpenApiRouter::with_openapi(openapi::frame()))
        .routes(routes!(lists::remittance))
        .routes(routes!(usage::record))
        .routes(routes!(usage::record_batch))
        .routes(routes!(usage::record_event))
        .routes(routes!(usage::record_events))
        .routes(routes!(usage::find))
        .routes(routes!(explanation::usage))
        .routes(routes!(explanation::remittance))
        .routes(routes!(requests::record))
        .routes(routes!(requests::record_batch))
        .routes(routes!(requests::list))
        .routes(routes!(requests::grouped))
        .routes(routes!(requests::find))
        .routes(routes!(requests::events))
        .routes(routes!(decide::retry))
        .routes(routes!(decide::release))
        .routes(routes!(decide::recount))
        .routes(routes!(decide::write_off))
        .routes(routes!(decide::hold))
        .routes(routes!(decide::resolve))
        .routes(routes!(decide::pause))
        .routes(routes!(decide::resume))
        .routes(routes!(decide::probe))
        .routes(routes!(decide::close_request))
        .routes(routes!(decide::report_month))
        .routes(routes!(decide::close_month))
        .routes(routes!(decide::reopen_month))
        .routes(routes!(decide::show_catalogue, decide::apply_catalogue))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi::served))
}

/// The whole service.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (router, _) = documented().split_for_parts();
    page::add(router, app.options.static_dir.as_deref())
        .merge(tracker::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(app.options.body_bytes_max))
        .layer(CatchPanicLayer::custom(panicked))
        .route_layer(middleware::from_fn(counting::count))
        .with_state(app)
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this path; /openapi.json lists what there is")
}

async fn other_method() -> Problem {
    let detail = "this path takes other methods: see the header Allow, and /openapi.json";
    Problem::plain(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Problem::defect(said.unwrap_or("a panic without words")).into_response()
}
