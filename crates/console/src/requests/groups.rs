//! `GET /v1/requests/groups`: where requests fail, and whom they wait for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use outbox::requests::{By, Group, groups};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::list::created;
use crate::app::App;
use crate::auth::{Caller, Read};
use crate::extract::Params;
use crate::problem::Problem;
use crate::refusals::Listing;

/// Which requests.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Grouped {
    /// failed: by the service that failed first and what it said, the largest group first. open: by the service that has
    /// not finished, the longest silent first.
    #[param(value_type = String, example = "failed")]
    outcome: Option<String>,
    /// Created in the last time of this length, as in 24h or 7d; instead of `created_from`.
    #[param(example = "24h")]
    last: Option<String>,
    /// Created at this time or later.
    #[param(value_type = Option<Timestamp>)]
    created_from: Option<String>,
    /// Created before this time.
    #[param(value_type = Option<Timestamp>)]
    created_until: Option<String>,
}

/// Groups of requests.
#[derive(Serialize, ToSchema)]
pub(crate) struct Groups {
    /// At most 1,000, of the newest 100,000 requests.
    items: Vec<RequestGroup>,
}

/// Requests with one fate.
#[derive(Serialize, ToSchema)]
pub(crate) struct RequestGroup {
    /// The service that failed first, or that has not finished.
    service: String,
    /// What it said when it failed; null: nothing, or they are open.
    message: Option<String>,
    /// How many requests.
    requests: i64,
    /// One of them: the newest that failed, or the one that is silent for longest.
    request_id: String,
    /// When the one that is silent for longest was last heard of.
    silent_since: Timestamp,
    /// When one of them was last heard of.
    last_recorded_at: Timestamp,
}

impl From<Group> for RequestGroup {
    fn from(group: Group) -> Self {
        let Group { service, message, requests, request_id, silent_since, last_recorded_at } = group;
        Self { service, message, requests, request_id, silent_since, last_recorded_at }
    }
}

/// Requests that failed or are open, in groups: what fails today, and whom requests wait for.
///
/// What a person closed is in no group of open requests.
#[utoipa::path(
    get, path = "/v1/requests/groups", tag = "requests", operation_id = "request_groups",
    security(("token" = ["read"])), params(Grouped),
    responses((status = 200, description = "Groups", body = Groups), Listing)
)]
pub(crate) async fn grouped(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    Params(asked): Params<Grouped>,
) -> Result<Json<Groups>, Problem> {
    let by = match asked.outcome.as_deref() {
        Some("failed") => By::Failure,
        Some("open") => By::OpenService,
        _ => return Err(Problem::parameter("outcome", "outcome must be failed or open")),
    };
    let created = created(&app, asked.last.as_deref(), &asked.created_from, &asked.created_until).await?;
    let found = groups(&app.database, by, &created, caller.org()).await?;
    Ok(Json(Groups { items: found.into_iter().map(RequestGroup::from).collect() }))
}
