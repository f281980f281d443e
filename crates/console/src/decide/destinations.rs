//! Pause, resume, and a probe before its time.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use outbox::corrections::{self, Decider};
use outbox::switches;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::who;
use crate::app::App;
use crate::auth::{Caller, Operate};
use crate::extract::{Body, InPath};
use crate::heard::Heard;
use crate::problem::Problem;
use crate::refusals::Deciding;

/// Why something is done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    /// Why, in a sentence.
    #[schema(min_length = 1)]
    pub reason: String,
    /// The person it is done for.
    #[schema(min_length = 1, max_length = 200)]
    pub on_behalf_of: Option<String>,
}

/// Whether a destination is paused.
#[derive(Serialize, ToSchema)]
pub(crate) struct Paused {
    /// The destination.
    destination: String,
    /// A person stopped sending.
    paused: bool,
    /// False: it was so before, and no second decision is left.
    changed: bool,
    /// Whether workers act by it; none: sending goes on.
    heard: Option<Heard>,
}

/// What kept calls back from a destination.
#[derive(Serialize, ToSchema)]
pub(crate) struct Probed {
    /// The destination.
    destination: String,
    /// `waiting`: the wait that the marketplace asked for is over, for all destinations of its quota. Else the breaker's
    /// state before: only an open one has a pause to end.
    breaker: String,
    /// False: there was neither a pause nor a wait to end.
    changed: bool,
    /// Whether workers act by it; none: there was no wait to end.
    heard: Option<Heard>,
}

/// Tries a destination before its time: ends the pause of its breaker, and the wait that the marketplace asked for.
#[utoipa::path(
    post, path = "/v1/destinations/{destination}/probe", tag = "decisions", security(("token" = ["operate"])),
    params(("destination" = String, Path, description = "Its name")),
    request_body = Reason, responses((status = 200, description = "It is tried, or nothing kept calls back", body = Probed), Deciding)
)]
pub(crate) async fn probe(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    InPath(destination): InPath<String>,
    Body(asked): Body<Reason>,
) -> Result<Json<Probed>, Problem> {
    let who = who(&caller, asked.on_behalf_of.as_deref())?;
    let decider = Decider { who: &who, why: &asked.reason };
    let decided = corrections::probe(&app.database, &destination, decider).await?;
    let heard = match decided.now.as_str() {
        "waiting" => Some(switches::until_heard(&app.database, Some(&destination)).await?.into()),
        _ => None,
    };
    Ok(Json(Probed { destination, breaker: decided.now, changed: decided.changed, heard }))
}

/// Stops sending to a destination: when this answers, a worker's lease later at most, no call begins any more, except
/// by workers that it names.
#[utoipa::path(
    post, path = "/v1/destinations/{destination}/pause", tag = "decisions", security(("token" = ["operate"])),
    params(("destination" = String, Path, description = "Its name")),
    request_body = Reason, responses((status = 200, description = "It is paused", body = Paused), Deciding)
)]
pub(crate) async fn pause(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    InPath(destination): InPath<String>,
    Body(asked): Body<Reason>,
) -> Result<Json<Paused>, Problem> {
    set(&app, &caller, destination, true, asked).await
}

/// Sends to a destination again.
#[utoipa::path(
    post, path = "/v1/destinations/{destination}/resume", tag = "decisions", security(("token" = ["operate"])),
    params(("destination" = String, Path, description = "Its name")),
    request_body = Reason, responses((status = 200, description = "It is not paused", body = Paused), Deciding)
)]
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    InPath(destination): InPath<String>,
    Body(asked): Body<Reason>,
) -> Result<Json<Paused>, Problem> {
    set(&app, &caller, destination, false, asked).await
}

async fn set(
    app: &App,
    caller: &Caller<Operate>,
    destination: String,
    paused: bool,
    asked: Reason,
) -> Result<Json<Paused>, Problem> {
    let who = who(caller, asked.on_behalf_of.as_deref())?;
    let decider = Decider { who: &who, why: &asked.reason };
    let decided = corrections::set_paused(&app.database, &destination, paused, decider).await?;
    // also where it was paused already: whoever did it may not have waited
    let heard = match paused {
        true => Some(switches::until_heard(&app.database, Some(&destination)).await?.into()),
        false => None,
    };
    Ok(Json(Paused { destination, paused, changed: decided.changed, heard }))
}
