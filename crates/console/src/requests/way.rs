//! `GET /v1/requests/{request_id}`: one request's way.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use outbox::requests::{Request, StatusEntry, Step, way};
use remittance::request::{self, Durations, Place};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::auth::{Caller, Read};
use crate::extract::InPath;
use crate::problem::Problem;
use crate::refusals::Reading;

/// One status on a request's way.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Entry {
    /// Who said it; `postmeter`: Postmeter itself, from its ledger.
    pub service: String,
    /// Which part of the service, or which destination; empty: none.
    pub source: String,
    /// What was said.
    pub status: String,
    /// In more words; empty: none.
    pub status_msg: String,
    /// Account, where it says one.
    pub account: String,
    /// Org, where it says one.
    pub org: String,
    /// Inventory id, where it says one.
    pub inventory_id: String,
    /// System id, where it says one.
    pub system_id: String,
    /// When.
    pub date: Timestamp,
    /// Where it stands in the order.
    #[serde(skip)]
    pub at: Timestamp,
    /// When it was recorded; null: Postmeter's own.
    pub recorded_at: Option<Timestamp>,
    /// The remittance, of a step of Postmeter.
    pub remittance: Option<i64>,
    /// The usage, of a step of Postmeter.
    pub usage_id: Option<Uuid>,
}

impl From<StatusEntry> for Entry {
    fn from(said: StatusEntry) -> Self {
        Self {
            service: said.service,
            source: said.source,
            status: said.status,
            status_msg: said.status_msg,
            account: said.account,
            org: said.org,
            inventory_id: said.inventory_id,
            system_id: said.system_id,
            date: said.date,
            at: said.at,
            recorded_at: Some(said.recorded_at),
            remittance: None,
            usage_id: None,
        }
    }
}

impl From<Step> for Entry {
    fn from(step: Step) -> Self {
        Self {
            service: step.service,
            source: step.source,
            status: step.status,
            status_msg: step.status_msg,
            account: step.account,
            org: step.org,
            inventory_id: String::new(),
            system_id: String::new(),
            date: step.date,
            at: step.date,
            recorded_at: None,
            remittance: step.delivery_id,
            usage_id: step.usage_id,
        }
    }
}

/// A request, as far as a caller may see it.
pub(super) struct Known {
    pub request: Option<Request>,
    pub entries: Vec<Entry>,
    pub as_of: Timestamp,
}

/// What nobody knows, and what is not for this caller, are the same.
pub(super) fn unknown() -> Problem {
    Problem::not_found("nobody said anything about this request, or it is longer ago than that is kept")
}

/// Reads a request. A caller for one org sees that org's, without what was said of others.
pub(super) async fn known(app: &App, org: Option<&str>, id: &str) -> Result<Known, Problem> {
    if id.contains('\0') {
        return Err(unknown());
    }
    let way = way(&app.database, id).await?.ok_or_else(unknown)?;
    let mut entries: Vec<Entry> =
        way.said.into_iter().map(Entry::from).chain(way.steps.into_iter().map(Entry::from)).collect();
    entries.sort_by_key(|entry| entry.at);
    if let Some(org) = org {
        let is_theirs = match way.request.as_ref().filter(|request| !request.org.is_empty()) {
            Some(request) => request.org == org,
            None => entries.iter().any(|entry| entry.org == org),
        };
        entries.retain(|entry| entry.org.is_empty() || entry.org == org);
        if !is_theirs {
            return Err(unknown());
        }
    }
    Ok(Known { request: way.request, entries, as_of: way.as_of })
}

/// A request's whole way.
#[derive(Serialize, ToSchema)]
pub(crate) struct WayOfRequest {
    /// Its id in the form in which it was first recorded.
    request_id: String,
    /// open, succeeded or failed: what services said counts; where only usage names the request, Postmeter's own steps.
    outcome: &'static str,
    /// Where it failed: the service that failed first.
    failed_service: Option<String>,
    /// Why: what that service said.
    failure: Option<String>,
    /// Services that have begun and not finished, and those that a route of the catalogue awaits.
    open_services: Vec<String>,
    /// Of these, those that a route of the catalogue awaits, and that have said nothing.
    missing_services: Vec<String>,
    /// When a person closed it; the next word about it opens it again.
    closed_at: Option<Timestamp>,
    /// The latest status of a service that has begun and not finished.
    current: Option<Entry>,
    /// The latest status.
    last: Option<Entry>,
    /// The latest before it of another service or source.
    previous: Option<Entry>,
    /// Where its time went.
    seconds: Seconds,
    /// The latest account that a message gave; empty: none did.
    account: String,
    /// The latest org.
    org: String,
    /// The latest inventory id.
    inventory_id: String,
    /// The latest system id.
    system_id: String,
    /// All statuses in order: by date, then as recorded; what is dated too far ahead, by its recording; Postmeter's own
    /// steps among them. Of one with more than 10,000 messages the latest.
    statuses: Vec<Entry>,
    /// As of when the outcome is: usually now. What was said since is among the statuses and counts in a moment.
    as_of: Timestamp,
}

/// Where the time of a request went, in seconds.
#[derive(Serialize, ToSchema)]
pub(crate) struct Seconds {
    /// From first to last status, per `service:source`; `undefined` where no source was named.
    per_source: BTreeMap<String, f64>,
    /// From first to last status, per service.
    per_service: BTreeMap<String, f64>,
    /// The sum over `per_source`.
    in_services: f64,
    /// From the first status of all to the last.
    total: f64,
}

impl Seconds {
    fn of(entries: &[Entry]) -> Self {
        let durations = Durations::of(entries.iter().map(said));
        let mut bounds: BTreeMap<&str, (Timestamp, Timestamp)> = BTreeMap::new();
        for Entry { service, date, .. } in entries {
            let (first, last) = bounds.entry(service).or_insert((*date, *date));
            (*first, *last) = ((*first).min(*date), (*last).max(*date));
        }
        let per_service = bounds.into_iter().map(|(name, (first, last))| (name, last.duration_since(first)));
        let seconds = |length: SignedDuration| length.as_secs_f64();
        Self {
            per_source: durations.per_service.into_iter().map(|(name, length)| (name, seconds(length))).collect(),
            per_service: per_service.map(|(name, length)| (name.to_owned(), seconds(length))).collect(),
            in_services: seconds(durations.in_services),
            total: seconds(durations.total),
        }
    }
}

fn said(entry: &Entry) -> request::StatusTiming<'_> {
    request::StatusTiming { service: &entry.service, source: &entry.source, date: entry.date }
}

/// What Postmeter's own steps come to: the last of each usage and remittance counts.
fn outcome_of_steps(entries: &[Entry]) -> (&'static str, Option<&Entry>) {
    let mut last: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.source.is_empty() || entry.status != "received") {
        last.insert(&entry.source, entry);
    }
    let failed = last.values().find(|entry| entry.status == "error").copied();
    let is_done = !last.is_empty() && last.values().all(|entry| entry.status == "success");
    match (failed, is_done) {
        (Some(_), _) => ("failed", failed),
        (None, true) => ("succeeded", None),
        (None, false) => ("open", None),
    }
}

impl WayOfRequest {
    fn of(id: String, known: Known) -> Self {
        let Known { request, entries, as_of } = known;
        let seconds = Seconds::of(&entries);
        let said: Vec<_> = entries.iter().map(said).collect();
        let (outcome, failed) = outcome_of_steps(&entries);
        let from_steps = || (failed.map(|step| step.service.clone()), failed.map(|step| step.status_msg.clone()));
        let (outcome, (failed_service, failure), open_services) = match &request {
            Some(request) => (
                word(&request.outcome),
                (request.failed_service.clone(), request.failure.clone()),
                request.open_services.clone(),
            ),
            None if outcome == "open" => (outcome, from_steps(), vec!["postmeter".to_owned()]),
            None => (outcome, from_steps(), Vec::new()),
        };
        let place = Place::of(&said, &open_services);
        let missing_services = request.as_ref().map(|request| request.missing_services.clone()).unwrap_or_default();
        let closed_at = request.as_ref().and_then(|request| request.closed_at);
        let at = |index: Option<usize>| index.map(|index| entries[index].clone());
        let ours = || entries.iter().rev();
        let latest =
            |field: fn(&Entry) -> &String| ours().map(field).find(|text| !text.is_empty()).cloned().unwrap_or_default();
        let (account, org, inventory_id, system_id, request_id) = match request {
            Some(request) => {
                (request.account, request.org, request.inventory_id, request.system_id, request.request_id)
            }
            None => (latest(|entry| &entry.account), latest(|entry| &entry.org), String::new(), String::new(), id),
        };
        Self {
            request_id,
            outcome,
            failed_service,
            failure,
            open_services,
            missing_services,
            closed_at,
            current: at(place.current),
            last: at(place.last),
            previous: at(place.previous),
            seconds,
            account,
            org,
            inventory_id,
            system_id,
            statuses: entries,
            as_of,
        }
    }
}

fn word(outcome: &str) -> &'static str {
    match outcome {
        "failed" => "failed",
        "succeeded" => "succeeded",
        _ => "open",
    }
}

/// One request's way: its outcome, where it failed and why, where its time went, and every status, up to the
/// marketplace's answer.
///
/// A UUID is found in any form. A request that nobody knows is 404, never open.
#[utoipa::path(
    get, path = "/v1/requests/{request_id}", tag = "requests", operation_id = "request", security(("token" = ["read"])),
    params(("request_id" = String, Path, description = "The request's id; a UUID in any form")),
    responses((status = 200, description = "Its way", body = WayOfRequest), Reading)
)]
pub(crate) async fn find(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    InPath(id): InPath<String>,
) -> Result<Json<WayOfRequest>, Problem> {
    let known = known(&app, caller.org(), &id).await?;
    Ok(Json(WayOfRequest::of(id, known)))
}
