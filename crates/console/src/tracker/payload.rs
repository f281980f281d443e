//! `GET {base}/payloads/{request_id}`: what services said about one request, with the steps of Postmeter itself, and
//! the time spent in each service.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use outbox::requests::{RequestHistory, way};
use serde_json::{Map, Value, json};

use super::access::Visitor;
use super::asked::{Asked, Id};
use super::refusal::Refusal;
use super::words::{durations, id, put};
use crate::app::App;

/// One message, ours or a service's.
struct Row<'a> {
    service: &'a str,
    source: &'a str,
    status: &'a str,
    status_msg: &'a str,
    date: Timestamp,
    at: Timestamp,
    recorded_at: Timestamp,
}

#[derive(Clone, Copy)]
enum Sort {
    Service,
    Source,
    StatusMsg,
    Date,
    CreatedAt,
}

const SORTS: [(&str, Sort); 5] = [
    ("service", Sort::Service),
    ("source", Sort::Source),
    ("status_msg", Sort::StatusMsg),
    ("date", Sort::Date),
    ("created_at", Sort::CreatedAt),
];

pub(super) async fn find(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Id(request_id): Id,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let sort = asked.sort(&SORTS, Sort::Date)?;
    let descending = asked.is_descending()?;
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, format!("payload with id: {request_id} not found"));
    if request_id.contains('\0') || request_id.len() > 255 {
        return Err(unknown());
    }
    let way = way(&app.database, &request_id).await?.ok_or_else(unknown)?;
    if visitor.org.is_some_and(|org| !is_of(&way, &org)) {
        return Err(unknown());
    }
    let mut rows = rows(&way);
    let duration = durations(&way);
    arrange(&mut rows, sort, descending);
    let verbosity = asked.get("verbosity").unwrap_or_default();
    let data: Vec<Value> = rows.iter().map(|row| told(row, &way, &request_id, verbosity)).collect();
    Ok(Json(json!({"data": data, "duration": duration})))
}

/// A request is an org's if every message that names an org names this one.
fn is_of(way: &RequestHistory, org: &str) -> bool {
    let said = way.said.iter().map(|said| said.org.as_str());
    let mut orgs = said.chain(way.steps.iter().map(|step| step.org.as_str())).filter(|org| !org.is_empty()).peekable();
    orgs.peek().is_some() && orgs.all(|named| named == org)
}

fn rows(way: &RequestHistory) -> Vec<Row<'_>> {
    let said = way.said.iter().map(|said| Row {
        service: &said.service,
        source: &said.source,
        status: &said.status,
        status_msg: &said.status_msg,
        date: said.date,
        at: said.at,
        recorded_at: said.recorded_at,
    });
    let steps = way.steps.iter().map(|step| Row {
        service: &step.service,
        source: &step.source,
        status: &step.status,
        status_msg: &step.status_msg,
        date: step.date,
        at: step.date,
        recorded_at: step.date,
    });
    said.chain(steps).collect()
}

/// Ties stay in the order of the verdict, in which the rows come.
fn arrange(rows: &mut [Row<'_>], sort: Sort, descending: bool) {
    rows.sort_by(|a, b| {
        let first = match sort {
            Sort::Service => a.service.cmp(b.service),
            Sort::Source => a.source.cmp(b.source),
            Sort::StatusMsg => a.status_msg.cmp(b.status_msg),
            Sort::Date => std::cmp::Ordering::Equal,
            Sort::CreatedAt => a.recorded_at.cmp(&b.recorded_at),
        };
        first.then(a.at.cmp(&b.at))
    });
    if descending {
        rows.reverse();
    }
}

fn told(row: &Row<'_>, way: &RequestHistory, asked_id: &str, verbosity: &str) -> Value {
    let request = way.request.as_ref();
    let of = |read: fn(&outbox::requests::Request) -> &str| request.map_or("", read);
    let mut told = Map::new();
    put(&mut told, "service", row.service);
    put(&mut told, "status", row.status);
    told.insert("date".to_owned(), json!(row.date));
    if verbosity == "2" {
        return Value::Object(told);
    }
    put(&mut told, "inventory_id", of(|request| &request.inventory_id));
    put(&mut told, "status_msg", row.status_msg);
    if verbosity == "1" {
        return Value::Object(told);
    }
    told.insert("id".to_owned(), json!(request.map_or(0, |request| request.id)));
    put(&mut told, "source", row.source);
    put(&mut told, "account", of(|request| &request.account));
    put(&mut told, "org_id", of(|request| &request.org));
    put(&mut told, "request_id", &id(request.map_or(asked_id, |request| &request.request_id)));
    put(&mut told, "system_id", of(|request| &request.system_id));
    told.insert("created_at".to_owned(), json!(row.recorded_at));
    Value::Object(told)
}
