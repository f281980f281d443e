//! The catalogue over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, HeaderName, header};
use serde::Deserialize;

use super::{who, yes};
use crate::app::App;
use crate::auth::{Caller, Operate, Read};
use crate::catalogue::{Applied, Difference, Wanted};
use crate::extract::{Params, RawBody, content_type};
use crate::problem::Problem;
use crate::refusals::{Deciding, Reading};

const TOML: &str = "application/toml";

/// How a catalogue is applied.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct How {
    /// Only compare.
    #[serde(default = "yes")]
    #[param(default = true)]
    dry_run: bool,
    /// Remove what the text does not mention (what was counted by is ended instead).
    #[serde(default)]
    #[param(default = false)]
    prune: bool,
    /// Why, in a sentence; needed unless it is a dry run.
    #[serde(default)]
    #[param(required = false)]
    reason: String,
    /// The person it is done for.
    #[param(min_length = 1, max_length = 200)]
    on_behalf_of: Option<String>,
}

/// The catalogue, as TOML that `PUT` takes.
#[utoipa::path(
    get, path = "/v1/catalogue", tag = "decisions", security(("token" = ["read"])),
    responses((status = 200, description = "The catalogue", body = String, content_type = "application/toml"), Reading)
)]
pub(crate) async fn show_catalogue(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    if let Some(org) = caller.org() {
        return Err(Problem::forbidden(format!("the catalogue is everybody's, and this token is for {org:?} only")));
    }
    Ok(([(header::CONTENT_TYPE, TOML)], app.catalogue.show(&app.database).await?))
}

/// Makes the catalogue what a text says, and answers the difference; a dry run unless told otherwise.
#[utoipa::path(
    put, path = "/v1/catalogue", tag = "decisions", security(("token" = ["operate"])), params(How),
request_body(description = "docs/catalogue.md describes it",
        content((String = "application/toml"), (String = "text/plain"))),
    responses((status = 200, description = "The difference", body = Difference), Deciding)
)]
pub(crate) async fn apply_catalogue(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Params(how): Params<How>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Json<Difference>, Problem> {
    content_type(&headers, &[TOML, "text/plain"])?;
    let text = String::from_utf8(body.to_vec()).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
    let who = who(&caller, how.on_behalf_of.as_deref())?;
    let wanted = Wanted { text, dry_run: how.dry_run, prune: how.prune, who, why: how.reason };
    match app.catalogue.apply(&app.database, wanted).await? {
        Applied::Refused(problems) => Err(Problem::catalogue(problems)),
        Applied::Done(difference) => Ok(Json(difference)),
    }
}
