//! Lists: one handler for all that `outbox::listing` describes.

mod ask;
mod cursor;
mod document;
mod remittance;
mod stream;
mod value;
mod write;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderName, header};
use outbox::listing::{self, LISTS, List};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::auth::{Caller, Read};
use crate::problem::Problem;
use ask::Asked;
pub(crate) use remittance::{__path_remittance, remittance};
use write::Format;

/// The routes of all lists, with their documentation.
pub(crate) fn routes(mut router: OpenApiRouter<Arc<App>>) -> OpenApiRouter<Arc<App>> {
    for list in &LISTS {
        let handler = move |State(app): State<Arc<App>>,
                            caller: Caller<Read>,
                            headers: HeaderMap,
                            RawQuery(query): RawQuery| async move {
            answer(&app, &caller, list, query.as_deref().unwrap_or_default(), &headers).await
        };
        router = router.routes((document::schemas(list), document::paths(list), get(handler)));
        let handler = move |State(app): State<Arc<App>>,
                            caller: Caller<Read>,
                            headers: HeaderMap,
                            RawQuery(query): RawQuery| async move {
            export(&app, &caller, list, query.as_deref().unwrap_or_default(), &headers).await
        };
        router = router.routes((Vec::new(), document::export_paths(list), get(handler)));
    }
    router
}

/// Everything that matches, as CSV unless NDJSON is asked for.
async fn export(
    app: &App,
    caller: &Caller<Read>,
    list: &'static List,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let mut asked = Asked::read(list, query, headers)?;
    if asked.format == Format::Json {
        if query.split('&').any(|pair| pair.starts_with("format=")) {
            return Err(Problem::parameter(
                "format",
                "format must be csv or ndjson; the list itself is JSON, in pages",
            ));
        }
        asked.whole_as(Format::Csv)?;
    }
    stream::answer(app, asked.ask_for(caller.org())?, asked.format).await
}

async fn answer(
    app: &App,
    caller: &Caller<Read>,
    list: &'static List,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked::read(list, query, headers)?;
    let ask = asked.ask_for(caller.org())?;
    match asked.format {
        Format::Json => {
            let page = listing::page(&app.database, &ask, asked.limit, asked.count).await?;
            Ok((JSON, write::page(&ask, &page)).into_response())
        }
        format => stream::answer(app, ask, format).await,
    }
}

const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
