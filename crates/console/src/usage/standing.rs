//! `GET /v1/usage/{source}/{event_id}`: where one usage is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use outbox::intake::Standing;
use outbox::report::{Wanted, dropped_with};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::auth::{Caller, Read};
use crate::extract::InPath;
use crate::problem::Problem;
use crate::refusals::Reading;

/// A usage and what is still to be done for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Its id.
    usage_id: Uuid,
    /// The service that recorded it.
    source: String,
    /// The service's id of it.
    event_id: String,
    /// The customer.
    org: String,
    /// Our product.
    product: String,
    /// What was metered.
    metric: String,
    /// Units of the metric, to the letter.
    quantity: String,
    /// When it was used.
    used_at: jiff::Timestamp,
    /// When it was recorded.
    recorded_at: jiff::Timestamp,
    /// True once every destination has it, or nothing of it is owed to any.
    done: bool,
    /// Where it is: one for each destination; without a destination while none is known.
    at: Vec<Place>,
    /// What is not done: `destination: status`, or where it waits.
    pending: Vec<String>,
}

/// Where a usage is at one destination.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Place {
    /// The destination, once it is known.
    destination: Option<String>,
    /// waiting, held, exempt, `written_off`, or the remittance's status.
    #[schema(example = "accepted")]
    status: String,
    /// Why it is held or exempt.
    reason: Option<String>,
    /// The remittance that has its quantity.
    remittance: Option<i64>,
    /// What the marketplace deduplicates on.
    key: Option<String>,
    /// The hour that the remittance reports.
    hour: Option<jiff::Timestamp>,
    /// An attempt may have arrived, and nothing has resolved it yet.
    maybe_billed: bool,
    /// Last moment at which it can be sent.
    deadline: Option<jiff::Timestamp>,
    /// When the status last changed.
    changed_at: Option<jiff::Timestamp>,
}

/// Statuses that owe nothing any more.
const DONE: [&str; 5] = ["accepted", "nothing_due", "written_off", "exempt", "covered"];

impl Place {
    fn of(standing: &Standing) -> Self {
        Self {
            destination: standing.destination.clone(),
            status: standing.status.clone().unwrap_or_else(|| standing.whereabouts.clone()),
            reason: standing.reason.clone(),
            remittance: standing.remittance,
            key: standing.key.clone(),
            hour: standing.hour,
            maybe_billed: standing.maybe_billed.unwrap_or(false),
            deadline: standing.deadline,
            changed_at: standing.changed_at,
        }
    }

    fn is_done(&self) -> bool {
        DONE.contains(&self.status.as_str())
    }
}

/// Says where a usage is and what is still pending.
///
/// `done` is true only once every destination has it. A usage that nobody recorded is 404, never "pending".
#[utoipa::path(
    get, path = "/v1/usage/{source}/{event_id}", tag = "usage", operation_id = "usage_standing", security(("token" = ["read"])),
    params(("source" = String, Path, description = "The service that recorded it"),
           ("event_id" = String, Path, description = "The service's id of it")),
    responses(
        (status = 200, description = "Where it is", body = Usage),
        Reading,
    )
)]
pub(crate) async fn find(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    InPath((source, event_id)): InPath<(String, String)>,
) -> Result<Json<Usage>, Problem> {
    if source.contains('\0') || event_id.contains('\0') {
        return Err(unknown());
    }
    let wanted = Wanted::Event { source: &source, event_id: &event_id };
    let standings = outbox::intake::standing(&app.database, &source, &event_id).await?;
    let Some(first) = standings.first() else {
        return Err(missing(&app, &caller, wanted).await?);
    };
    // another org's usage is not there for this caller
    if caller.org().is_some_and(|org| org != first.org) {
        return Err(unknown());
    }
    let at: Vec<Place> = standings.iter().map(Place::of).collect();
    let pending: Vec<String> = at
        .iter()
        .filter(|place| !place.is_done())
        .map(|place| match &place.destination {
            Some(destination) => format!("{destination}: {}", place.status),
            None => place.status.clone(),
        })
        .collect();
    Ok(Json(Usage {
        usage_id: first.usage_id,
        source: first.source.clone(),
        event_id: first.event_id.clone(),
        org: first.org.clone(),
        product: first.product.clone(),
        metric: first.metric.clone(),
        quantity: first.quantity.clone(),
        used_at: first.used_at,
        recorded_at: first.recorded_at,
        done: pending.is_empty(),
        at,
        pending,
    }))
}

/// The answer where no usage is there for this caller.
pub(crate) fn unknown() -> Problem {
    Problem::not_found("no usage was recorded under this source and event id")
}

/// The same, or that it was dropped with its month. Whose it was is not known then, so only who may see all orgs hears it.
pub(crate) async fn missing(app: &App, caller: &Caller<Read>, wanted: Wanted<'_>) -> Result<Problem, outbox::Error> {
    let dropped = match caller.org() {
        None => dropped_with(&app.database, wanted).await?,
        Some(_) => None,
    };
    Ok(dropped.map_or_else(unknown, |month| {
        Problem::not_found(format!("this usage was dropped with the ledger of {month}: its export tells of it"))
    }))
}

/// Where to ask for a usage.
pub(super) fn href(source: &str, event_id: &str) -> String {
    format!("/v1/usage/{}/{}", escape(source), escape(event_id))
}

/// A segment of a path (RFC 3986).
pub(crate) fn escape(segment: &str) -> String {
    use std::fmt::Write as _;
    segment.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
