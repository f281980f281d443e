//! The OpenAPI document: made from the handlers, committed as `docs/openapi.json`, served at `/openapi.json`.

use crate::problem::Problem;
use axum::response::IntoResponse;
use http::header;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, ServerBuilder};

/// The document.
///
/// # Panics
/// Never: it is plain data.
#[must_use]
pub fn document() -> String {
    let mut text = crate::app::documented().into_openapi().to_pretty_json().expect("plain data");
    text.push('\n');
    text
}

const TAGS: [(&str, &str); 5] = [
    ("usage", "Record usage, ask where it is, list what was recorded, have it explained"),
    ("requests", "Say what a service does with a request, ask where a request is"),
    ("lists", "The ledger, page by page or whole as CSV or NDJSON"),
    ("decisions", "Decide about what is stuck; every decision needs a reason and is kept"),
    ("health", "For balancers and monitoring; no token is needed"),
];

/// What the document says before any route.
pub(crate) fn frame() -> OpenApi {
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Postmeter")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Record metered usage, read the ledger, decide about what is stuck, track requests. Errors are \
                     problem documents (RFC 9457). The scope that an operation needs is in its `security`.",
                ))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
                .build(),
        )
        .servers(Some([ServerBuilder::new()
            .url("http://127.0.0.1:8080")
            .description(Some("`postmeter console` where it listens unless told otherwise"))
            .build()]))
        .tags(Some(TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build())))
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme("token", bearer)
                .schema_from::<Problem>()
                .schema_from::<crate::catalogue::Wrong>()
                .build(),
        ))
        .build()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(crate) async fn served() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}
