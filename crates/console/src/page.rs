//! Static files for the tracker's page, if there is a directory of them: a single-page application, so what is no file
//! is its first page. Paths of the API are never covered: what the API does not have is its 404.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::Uri;
use tower::ServiceExt as _;
use tower_http::services::{ServeDir, ServeFile};

use crate::app::App;
use crate::problem::Problem;

/// Where the page is.
const BASE: &str = "/app/payload-tracker";

/// Adds the page's routes, if there is one. They belong to no document.
pub(crate) fn add(router: Router<Arc<App>>, directory: Option<&Path>) -> Router<Arc<App>> {
    if directory.is_none() {
        return router;
    }
    router
        .route(BASE, get(async || Redirect::permanent("/app/payload-tracker/")))
        .route("/app/payload-tracker/", get(file))
        .route("/app/payload-tracker/{*path}", get(file))
}

async fn file(State(app): State<Arc<App>>, mut request: Request) -> Result<Response, Problem> {
    let directory = app.options.static_dir.as_deref().ok_or_else(|| Problem::defect("a page without a directory"))?;
    let path = request.uri().path().strip_prefix(BASE).unwrap_or_default().to_owned();
    if path == "/api" || path.starts_with("/api/") {
        return Err(Problem::not_found("there is nothing at this path; /openapi.json lists what there is"));
    }
    *request.uri_mut() = Uri::try_from(path).map_err(|_| Problem::not_found("the path cannot be read"))?;
    let files = ServeDir::new(directory).fallback(ServeFile::new(directory.join("index.html")));
    match files.oneshot(request).await {
        Ok(response) => Ok(response.into_response()),
        Err(never) => match never {},
    }
}
