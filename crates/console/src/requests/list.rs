//! `GET /v1/requests`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use outbox::maintain::clock;
use outbox::requests::{Page, Request, RequestFilter, RequestSort, Span, requests};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{Caller, Read};
use crate::extract::Params;
use crate::problem::Problem;
use crate::refusals::Listing;

/// Rows of a page unless somebody asks.
const LIMIT: i64 = 50;
/// Rows of a page at most.
const LIMIT_MAX: i64 = 1000;

/// Which requests, in which order.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// Of this account.
    account: Option<String>,
    /// Of this org.
    org: Option<String>,
    /// With this inventory id.
    inventory_id: Option<String>,
    /// With this system id.
    system_id: Option<String>,
    /// With a message of this service. Service, source and status together: with one message that has them all.
    service: Option<String>,
    /// With a message of this source; empty: of none.
    source: Option<String>,
    /// With a message of this status.
    status: Option<String>,
    /// open, succeeded or failed.
    outcome: Option<String>,
    /// Failed, and this service failed first.
    failed_service: Option<String>,
    /// Failed, and this is what the service said that failed first.
    failure: Option<String>,
    /// Open, and this service has not finished.
    open_service: Option<String>,
    /// Created in the last time of this length, as in 24h or 7d; instead of `created_from`.
    #[param(example = "24h")]
    last: Option<String>,
    /// Created at this time or later.
    #[param(value_type = Option<Timestamp>)]
    created_from: Option<String>,
    /// Created before this time.
    #[param(value_type = Option<Timestamp>)]
    created_until: Option<String>,
    /// `created_at`, account, org, `inventory_id`, `system_id`, `request_id` or duration; with outcome=open also
    /// `last_recorded_at`: the longest silent first. With `-` before it for descending. The newest first unless told
    /// otherwise.
    #[param(example = "-created_at")]
    sort: Option<String>,
    /// Rows at most.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 1000, default = 50)]
    limit: Option<String>,
    /// Rows before the page.
    #[param(value_type = Option<i64>, minimum = 0, default = 0)]
    offset: Option<String>,
}

/// A page of requests.
#[derive(Serialize, ToSchema)]
pub(crate) struct Requests {
    /// How many match, on all pages.
    count: i64,
    /// Those of the page.
    items: Vec<Summary>,
    /// As of when: what was recorded until then is in it. Usually now; a moment ago where much is recorded.
    as_of: Timestamp,
}

/// A request, as its messages make it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Summary {
    /// Its id in the form in which it was first recorded.
    request_id: String,
    /// open, succeeded or failed.
    outcome: String,
    /// The service that failed first.
    failed_service: Option<String>,
    /// What it said.
    failure: Option<String>,
    /// Services that have begun and not finished, and those that a route of the catalogue awaits.
    open_services: Vec<String>,
    /// Of these, those that a route of the catalogue awaits, and that have said nothing.
    missing_services: Vec<String>,
    /// When a person closed it; the next word about it opens it again.
    closed_at: Option<Timestamp>,
    /// How many messages there are.
    statuses: i64,
    /// The latest account that a message gave; empty: none did.
    account: String,
    /// The latest org.
    org: String,
    /// The latest inventory id.
    inventory_id: String,
    /// The latest system id.
    system_id: String,
    /// Date of the message that was recorded first.
    created_at: Timestamp,
    /// Earliest date.
    first_date: Timestamp,
    /// Latest date.
    last_date: Timestamp,
    /// When the last message was recorded.
    last_recorded_at: Timestamp,
}

impl From<Request> for Summary {
    fn from(request: Request) -> Self {
        Self {
            request_id: request.request_id,
            outcome: request.outcome,
            failed_service: request.failed_service,
            failure: request.failure,
            open_services: request.open_services,
            missing_services: request.missing_services,
            closed_at: request.closed_at,
            statuses: request.statuses,
            account: request.account,
            org: request.org,
            inventory_id: request.inventory_id,
            system_id: request.system_id,
            created_at: request.created_at,
            first_date: request.first_date,
            last_date: request.last_date,
            last_recorded_at: request.last_recorded_at,
        }
    }
}

/// Requests, with how many there are in all.
///
/// A request belongs to the latest org that a message gave. The answer waits for nobody, and says as of when it is.
#[utoipa::path(
    get, path = "/v1/requests", tag = "requests", operation_id = "requests", security(("token" = ["read"])),
    params(Asked),
    responses((status = 200, description = "A page", body = Requests), Listing)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    Params(asked): Params<Asked>,
) -> Result<Json<Requests>, Problem> {
    let page = page(&asked)?;
    let filter = filter(&app, asked).await?;
    let filter = match caller.org() {
        // another org's requests are not there for this caller
        Some(org) if filter.org.as_deref().is_some_and(|asked| asked != org) => {
            return Ok(Json(Requests { count: 0, items: Vec::new(), as_of: clock(&app.database).await? }));
        }
        Some(org) => RequestFilter { org: Some(org.to_owned()), ..filter },
        None => filter,
    };
    let listed = requests(&app.database, &filter, &page).await?;
    let items = listed.rows.into_iter().map(Summary::from).collect();
    Ok(Json(Requests { count: listed.count, items, as_of: listed.as_of }))
}

async fn filter(app: &App, asked: Asked) -> Result<RequestFilter, Problem> {
    let text = |name: &str, text: Option<String>| match text {
        Some(text) if text.contains('\0') => {
            Err(Problem::parameter(name, format!("{name} must not contain the character U+0000")))
        }
        text => Ok(text),
    };
    let lower = |name: &str, given| text(name, given).map(|text| text.map(|text| text.to_lowercase()));
    let outcome = match asked.outcome {
        Some(word) if !["open", "succeeded", "failed"].contains(&word.as_str()) => {
            return Err(Problem::parameter("outcome", "outcome must be open, succeeded or failed"));
        }
        outcome => outcome,
    };
    let created = created(app, asked.last.as_deref(), &asked.created_from, &asked.created_until).await?;
    Ok(RequestFilter {
        account: text("account", asked.account)?,
        org: text("org", asked.org)?,
        inventory_id: text("inventory_id", asked.inventory_id)?,
        system_id: text("system_id", asked.system_id)?,
        service: lower("service", asked.service)?,
        source: lower("source", asked.source)?,
        status: lower("status", asked.status)?,
        outcome,
        failed_service: lower("failed_service", asked.failed_service)?,
        failure: text("failure", asked.failure)?,
        open_service: lower("open_service", asked.open_service)?,
        created,
    })
}

/// When requests were created, from `last`, or `created_from` and `created_until`.
pub(super) async fn created(
    app: &App,
    last: Option<&str>,
    from: &Option<String>,
    until: &Option<String>,
) -> Result<Span, Problem> {
    let mut created = Span::default();
    if let Some(text) = last {
        if from.is_some() {
            return Err(Problem::parameter("last", "last and created_from say the same: give one of them"));
        }
        let start = before(clock(&app.database).await?, text);
        created.after(start.ok_or_else(|| Problem::parameter("last", LAST))?, true);
    }
    if let Some(from) = moment("created_from", from.as_deref())? {
        created.after(from, true);
    }
    if let Some(until) = moment("created_until", until.as_deref())? {
        created.before(until, false);
    }
    Ok(created)
}

/// What `last` must be.
pub(crate) const LAST: &str = "last must be a length of time, as in 30m, 24h or 7d";

/// The start of the last time of a length; `None`: it is no such length.
pub(crate) fn before(now: Timestamp, length: &str) -> Option<Timestamp> {
    let length: jiff::Span = length.parse().ok()?;
    let start = now.to_zoned(jiff::tz::TimeZone::UTC).checked_sub(length).ok()?.timestamp();
    (start <= now).then_some(start)
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let wrong = || Problem::parameter(name, format!("{name} must be a time with its zone: 2026-03-10T09:00:00Z"));
    text.map(|text| text.parse().map_err(|_| wrong())).transpose()
}

fn page(asked: &Asked) -> Result<Page<RequestSort>, Problem> {
    let number = |name: &str, text: &Option<String>, default: i64, from: i64, to: i64| match text {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| (from..=to).contains(number))
            .ok_or_else(|| Problem::parameter(name, format!("{name} must be a whole number from {from} to {to}"))),
    };
    let text = asked.sort.as_deref().unwrap_or("-created_at");
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let sort = match name {
        "created_at" => RequestSort::CreatedAt,
        "account" => RequestSort::Account,
        "org" => RequestSort::Org,
        "inventory_id" => RequestSort::InventoryId,
        "system_id" => RequestSort::SystemId,
        "request_id" => RequestSort::RequestId,
        "duration" => RequestSort::Duration,
        "last_recorded_at" if asked.outcome.as_deref() == Some("open") => RequestSort::LastRecordedAt,
        _ => {
            let sorts = "created_at, account, org, inventory_id, system_id, request_id, duration, or with outcome=open \
                         last_recorded_at";
            return Err(Problem::parameter("sort", format!("sort must be {sorts}; with - before it for descending")));
        }
    };
    Ok(Page {
        sort,
        descending,
        offset: number("offset", &asked.offset, 0, 0, i64::MAX)?,
        limit: number("limit", &asked.limit, LIMIT, 1, LIMIT_MAX)?,
    })
}
