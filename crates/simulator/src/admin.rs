//! The admin API under `/_simulator/`: the record to be read, and time, faults and rules to be changed.
//!
//! JSON in and out. An error is `{"error": "<sentence>"}` with status 400, and nothing was changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::aws::settings::Subscription;
use crate::clock::Clock;
use crate::faults::FaultRule;
use crate::record::Filter;
use crate::state::Shared;

/// Paths that begin so are ours; all others are a marketplace's.
pub(crate) const PREFIX: &str = "/_simulator/";

type Simulator = State<Arc<Shared>>;
type Answer = Result<Json<Value>, Refused>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_simulator/health", get(health))
        .route("/_simulator/record", get(record))
        .route("/_simulator/record/totals", get(totals))
        .route("/_simulator/calls", get(calls))
        .route("/_simulator/clock", get(clock).put(set_clock))
        .route("/_simulator/faults", get(faults).post(add_faults).delete(clear_faults))
        .route("/_simulator/subscriptions", put(set_subscriptions))
        .route("/_simulator/dimensions", put(set_dimensions))
        .route("/_simulator/settings", get(settings).put(set_settings))
        .route("/_simulator/reset", post(reset))
        .fallback(|| async { refused("no such path").with(StatusCode::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { refused("no such method").with(StatusCode::METHOD_NOT_ALLOWED) })
        .with_state(shared)
}

/// A request that changed nothing.
struct Refused {
    status: StatusCode,
    reason: String,
}

fn refused(reason: impl ToString) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, reason: reason.to_string() }
}

impl Refused {
    fn with(self, status: StatusCode) -> Refused {
        Refused { status, ..self }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.reason }))).into_response()
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(refused)
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refused> {
    query.map(|Query(fields)| fields).map_err(|rejection| refused(rejection.body_text()))
}

/// A page begins after a number and holds so many entries.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Page {
    after: u64,
    limit: usize,
}

impl Default for Page {
    fn default() -> Page {
        Page { after: 0, limit: Self::USUAL }
    }
}

impl Page {
    const USUAL: usize = 100;
    const MOST: usize = 1000;

    fn checked(after: u64, limit: usize) -> Result<Page, Refused> {
        let fits = (1..=Self::MOST).contains(&limit);
        fits.then_some(Page { after, limit }).ok_or_else(|| refused("limit must be from 1 to 1000"))
    }
}

/// The filter's fields and the page's in one query string (a flattened one would lose the types of numbers).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordQuery {
    region: Option<String>,
    product: Option<String>,
    customer: Option<String>,
    dimension: Option<String>,
    hour: Option<Timestamp>,
    after: Option<u64>,
    limit: Option<usize>,
}

async fn health(State(shared): Simulator) -> Json<Value> {
    let state = shared.lock();
    let (calls, accepted) = (state.calls.counters().calls, state.record.len());
    Json(json!({ "status": "ok", "now": state.clock.now(), "calls": calls, "accepted": accepted }))
}

async fn record(State(shared): Simulator, asked: Result<Query<RecordQuery>, QueryRejection>) -> Answer {
    let RecordQuery { region, product, customer, dimension, hour, after, limit } = query(asked)?;
    let page = Page::checked(after.unwrap_or(0), limit.unwrap_or(Page::USUAL))?;
    let filter = Filter { region, product, customer, dimension, hour };
    let state = shared.lock();
    // One more than asked for tells whether there is a next page.
    let mut found: Vec<_> = state.record.list(&filter, page.after).take(page.limit + 1).collect();
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next = found.last().filter(|_| more).map(|last| last.number);
    Ok(Json(json!({ "records": found, "next_after": next })))
}

async fn totals(State(shared): Simulator, asked: Result<Query<Filter>, QueryRejection>) -> Answer {
    let filter = query(asked)?;
    Ok(Json(json!(shared.lock().record.totals(&filter))))
}

async fn calls(State(shared): Simulator, asked: Result<Query<Page>, QueryRejection>) -> Answer {
    let page = query(asked)?;
    let page = Page::checked(page.after, page.limit)?;
    let state = shared.lock();
    let mut found: Vec<_> = state.calls.list(page.after).take(page.limit + 1).collect();
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next = found.last().filter(|_| more).map(|last| last.id);
    Ok(Json(json!({ "calls": found, "next_after": next, "counters": state.calls.counters() })))
}

async fn clock(State(shared): Simulator) -> Json<Value> {
    Json(describe(shared.lock().clock))
}

fn describe(clock: Clock) -> Value {
    let shift_seconds = match clock {
        Clock::Shifted(shift) => Some(shift.as_secs()),
        Clock::FrozenAt(_) => None,
    };
    json!({ "now": clock.now(), "frozen": clock.is_frozen(), "shift_seconds": shift_seconds })
}

/// `now` (with or without `frozen`), `shift_seconds`, `advance_seconds`, or `frozen` alone.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClockChange {
    now: Option<Timestamp>,
    frozen: Option<bool>,
    shift_seconds: Option<i64>,
    advance_seconds: Option<i64>,
}

impl ClockChange {
    fn apply(&self, clock: Clock) -> Result<Clock, Refused> {
        let stands = |frozen: bool, now: Timestamp| match frozen {
            true => Clock::frozen_at(now),
            false => Clock::running_from(now),
        };
        match (self.now, self.shift_seconds, self.advance_seconds, self.frozen) {
            (Some(now), None, None, frozen) => Ok(stands(frozen.unwrap_or(clock.is_frozen()), now)),
            (None, Some(shift), None, None) => Ok(Clock::Shifted(SignedDuration::from_secs(shift))),
            (None, None, Some(by), None) => Ok(clock.advanced(SignedDuration::from_secs(by))),
            (None, None, None, Some(frozen)) => Ok(stands(frozen, clock.now())),
            _ => Err(refused("give now (and frozen), shift_seconds, advance_seconds or frozen")),
        }
    }
}

async fn set_clock(State(shared): Simulator, body: Bytes) -> Answer {
    let change: ClockChange = parse(&body)?;
    let mut state = shared.lock();
    state.clock = change.apply(state.clock)?;
    Ok(Json(describe(state.clock)))
}

async fn faults(State(shared): Simulator) -> Json<Value> {
    Json(json!({ "faults": shared.lock().faults.list().collect::<Vec<_>>() }))
}

/// One rule or a list of them; all or none.
async fn add_faults(State(shared): Simulator, body: Bytes) -> Answer {
    let rules: Vec<FaultRule> = match parse::<Value>(&body)? {
        list @ Value::Array(_) => serde_json::from_value(list).map_err(refused)?,
        one => vec![serde_json::from_value(one).map_err(refused)?],
    };
    let mut state = shared.lock();
    state.faults.add_all(rules).map_err(refused)?;
    Ok(Json(json!({ "faults": state.faults.list().collect::<Vec<_>>() })))
}

async fn clear_faults(State(shared): Simulator) -> Json<Value> {
    shared.lock().faults.clear();
    Json(json!({ "faults": [] }))
}

async fn set_subscriptions(State(shared): Simulator, body: Bytes) -> Answer {
    let subscriptions: Option<Vec<Subscription>> = parse(&body)?;
    let mut state = shared.lock();
    state.settings.aws.subscriptions = subscriptions;
    Ok(Json(json!({ "subscriptions": state.settings.aws.subscriptions })))
}

async fn set_dimensions(State(shared): Simulator, body: Bytes) -> Answer {
    let dimensions: Option<BTreeSet<String>> = parse(&body)?;
    let mut state = shared.lock();
    state.settings.aws.dimensions = dimensions;
    Ok(Json(json!({ "dimensions": state.settings.aws.dimensions })))
}

async fn settings(State(shared): Simulator) -> Json<Value> {
    Json(json!(shared.lock().settings))
}

async fn set_settings(State(shared): Simulator, body: Bytes) -> Answer {
    let changes: Value = parse(&body)?;
    let mut state = shared.lock();
    let changed = state.settings.changed_by(changes).map_err(refused)?;
    state.set(changed);
    Ok(Json(json!(state.settings)))
}

async fn reset(State(shared): Simulator) -> Json<Value> {
    shared.reset();
    Json(json!({ "status": "ok" }))
}
