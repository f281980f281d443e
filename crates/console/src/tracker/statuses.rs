//! `GET {base}/statuses`: the list of what services said. Postmeter's own steps are derived from its ledger when one
//! request is asked for; they are in no list.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use outbox::requests::{Status, StatusFilter, StatusSort, statuses};
use serde_json::{Map, Value, json};

use super::access::Visitor;
use super::asked::Asked;
use super::refusal::Refusal;
use super::words::{id, put};
use crate::app::App;

const SORTS: [(&str, StatusSort); 7] = [
    ("service", StatusSort::Service),
    ("source", StatusSort::Source),
    ("request_id", StatusSort::RequestId),
    ("status", StatusSort::Status),
    ("status_msg", StatusSort::StatusMsg),
    ("date", StatusSort::Date),
    ("created_at", StatusSort::RecordedAt),
];

pub(super) async fn list(State(app): State<Arc<App>>, visitor: Visitor, asked: Asked) -> Result<Json<Value>, Refusal> {
    let began = Instant::now();
    if let Some(org) = visitor.org {
        let message = format!("statuses are listed over all orgs, and this token is for {org:?} only: list payloads");
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    let page = asked.page(&SORTS, StatusSort::Date)?;
    let filter = StatusFilter {
        service: asked.lower("service"),
        source: asked.lower("source"),
        status: asked.lower("status"),
        status_msg: asked.text("status_msg"),
        date: asked.recent(&app, "date").await?,
        recorded: asked.span("created_at")?,
    };
    let listed = statuses(&app.database, &filter, &page).await?;
    let rows: Vec<Value> = listed.rows.iter().map(row).collect();
    Ok(Json(json!({"count": listed.count, "elapsed": began.elapsed().as_secs_f64(), "data": rows})))
}

fn row(status: &Status) -> Value {
    let mut row = Map::new();
    put(&mut row, "request_id", &id(&status.request_id));
    put(&mut row, "status", &status.status);
    // a text here, a number in the other lists: so its clients read it
    put(&mut row, "id", &status.id.map(|id| id.to_string()).unwrap_or_default());
    put(&mut row, "service", &status.service);
    put(&mut row, "source", &status.source);
    put(&mut row, "status_msg", &status.status_msg);
    row.insert("date".to_owned(), json!(status.date));
    row.insert("created_at".to_owned(), json!(status.recorded_at));
    Value::Object(row)
}
