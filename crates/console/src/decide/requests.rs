//! Closing a request that nobody has to look at any more.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use outbox::corrections::{self, Decider};
use serde::Serialize;
use utoipa::ToSchema;

use super::destinations::Reason;
use super::who;
use crate::app::App;
use crate::auth::{Caller, Operate};
use crate::extract::{Body, InPath};
use crate::problem::Problem;
use crate::refusals::Deciding;

/// A request that a person closed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Closed {
    /// The request, as it was named.
    request_id: String,
    /// Its outcome, which stays: open, succeeded or failed.
    outcome: String,
    /// False: it was closed before, and no second decision is left.
    changed: bool,
}

/// Closes a request: it is not unfinished any more, whatever its outcome, and leaves the alert. The next word about it
/// opens it again.
#[utoipa::path(
    post, path = "/v1/requests/{request_id}/close", tag = "decisions", operation_id = "close_request",
    security(("token" = ["operate"])),
    params(("request_id" = String, Path, description = "The request's id; a UUID in any form")),
    request_body = Reason, responses((status = 200, description = "It is closed", body = Closed), Deciding)
)]
pub(crate) async fn close_request(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    InPath(request_id): InPath<String>,
    Body(asked): Body<Reason>,
) -> Result<Json<Closed>, Problem> {
    let who = who(&caller, asked.on_behalf_of.as_deref())?;
    if request_id.contains('\0') {
        return Err(Problem::not_found("nobody said anything about this request"));
    }
    let decider = Decider { who: &who, why: &asked.reason };
    let decided = corrections::close_request(&app.database, &request_id, decider).await?;
    Ok(Json(Closed { request_id, outcome: decided.now, changed: decided.changed }))
}
