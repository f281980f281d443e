//! `POST /v1/request-statuses`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use outbox::track::{self, Malformed, NewStatus, Refusals, Rule, Tracked};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{Caller, Intake};
use crate::extract::{RawBody, content_type};
use crate::problem::Problem;
use crate::refusals::Recording;

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// What a service says about a request. Numbers count as text; fields nobody knows are ignored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's shape; bodies are read field by field")]
pub(crate) struct NewRequestStatus {
    /// Who says it; lower-cased.
    #[schema(min_length = 1, max_length = 255)]
    service: String,
    /// About which request: any text; a UUID with or without dashes, in capitals or not, is the same request.
    #[schema(min_length = 1, max_length = 255)]
    request_id: String,
    /// What is said, such as received, processing, success, error; lower-cased.
    #[schema(min_length = 1, max_length = 255)]
    status: String,
    /// When it happened: RFC 3339, where the `T` may be white space and a missing zone is UTC. Without it, now: a date
    /// of your own makes repeating harmless.
    #[schema(example = "2026-03-10T09:00:00.25Z")]
    date: Option<String>,
    /// Which part of the service; lower-cased.
    source: Option<String>,
    /// In more words.
    status_msg: Option<String>,
    /// The request's account.
    account: Option<String>,
    /// The request's org; `org_id` is the same.
    org: Option<String>,
    /// The request's inventory id.
    inventory_id: Option<String>,
    /// The request's system id.
    system_id: Option<String>,
}

/// What became of one request status.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatusVerdict)]
pub(crate) struct StatusItem {
    /// `recorded`, now or before: the answers to a repetition are equal. Or `refused`.
    verdict: &'static str,
    /// Where to ask for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    href: Option<String>,
    /// Why it was refused: a stable code, the SQLSTATE where a rule of the schema refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What became of many.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatusVerdicts)]
pub(crate) struct StatusItems {
    /// How many are recorded, now or before.
    recorded: usize,
    /// How many were refused: they are not recorded, and the same again will not be.
    refused: usize,
    /// One for each request status, in the request's order.
    items: Vec<StatusItem>,
}

/// Records what a service says about a request.
///
/// It is answered 202, or refused with a problem. The same message (request, date and content) twice is one row.
#[utoipa::path(
    post, path = "/v1/request-statuses", tag = "requests", operation_id = "track", security(("token" = ["intake"])),
    request_body(content = NewRequestStatus),
    responses(
        (status = 202, description = "Recorded", body = StatusItem),
        Recording,
    )
)]
pub(crate) async fn record(
    State(app): State<Arc<App>>,
    caller: Caller<Intake>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    take(&app, &caller, &headers, &body, false).await
}

/// Records what services say about requests.
///
/// 202 if all are recorded, else 207; either way with a verdict for each, in the request's order: what is refused does not
/// stop the rest. Besides a JSON array, the body may be NDJSON (`application/x-ndjson`, one request status a line), and
/// it may be compressed (`Content-Encoding: gzip`).
#[utoipa::path(
    post, path = "/v1/request-statuses/batch", tag = "requests", operation_id = "track_batch",
    security(("token" = ["intake"])),
    request_body(content = Vec<NewRequestStatus>),
    responses(
        (status = 202, description = "All are recorded", body = StatusItems),
        (status = 207, description = "Some were refused", body = StatusItems),
        Recording,
    )
)]
pub(crate) async fn record_batch(
    State(app): State<Arc<App>>,
    caller: Caller<Intake>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    take(&app, &caller, &headers, &body, true).await
}

async fn take(
    app: &App,
    caller: &Caller<Intake>,
    headers: &HeaderMap,
    body: &[u8],
    is_batch: bool,
) -> Result<Response, Problem> {
    let _place = app.limits.record()?;
    content_type(headers, &[JSON, NDJSON])?;
    let is_lines = content_type(headers, &[NDJSON]).is_ok();
    let is_many = is_lines || body.trim_ascii_start().starts_with(b"[");
    if is_batch && !is_many {
        let detail = "a batch is a JSON array or NDJSON; POST /v1/request-statuses takes one";
        return Err(Problem::malformed(detail));
    }
    let mut refusals = Refusals::default();
    let read = if is_lines { Ok(lines(body)) } else { elements(body, is_many) };
    let elements = read.map_err(|wrong| {
        refusals.malformed(&wrong);
        app.refused.join(std::mem::take(&mut refusals));
        Problem::malformed(format!("the body {}", wrong.reason))
    })?;
    if elements.len() > app.options.rows_max {
        let detail = format!("{} request statuses in one request; at most {}", elements.len(), app.options.rows_max);
        return Err(Problem::plain(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    let rows: Vec<_> = elements
        .into_iter()
        .map(|element| for_org(one(element, &mut refusals)?, caller.org(), &mut refusals))
        .collect();
    let statuses: Vec<NewStatus> = rows.iter().flatten().cloned().collect();
    let verdicts = if statuses.is_empty() {
        Vec::new()
    } else {
        track::record(&app.database, &statuses, caller.org()).await.map_err(Problem::unrecorded)?
    };
    for verdict in &verdicts {
        if let Tracked::Refused(refused) = verdict {
            refusals.refused(refused);
        }
    }
    app.refused.join(refusals);
    let mut verdicts = verdicts.into_iter();
    let items: Vec<StatusItem> = rows
        .into_iter()
        .map(|row| match row {
            Err(fault) => fault.item(),
            Ok(status) => item(&status, verdicts.next().expect("a verdict per status")),
        })
        .collect();
    answer(items, is_many)
}

/// Why one request status is not recorded.
struct Fault {
    code: String,
    field: Option<String>,
    message: String,
}

impl Fault {
    fn malformed(field: Option<&str>, message: impl Into<String>) -> Self {
        Self { code: "malformed".to_owned(), field: field.map(str::to_owned), message: message.into() }
    }

    fn item(self) -> StatusItem {
        let Self { code, field, message } = self;
        StatusItem { verdict: "refused", href: None, code: Some(code), field, message: Some(message) }
    }
}

/// The lines of NDJSON: each stands for itself.
fn lines(body: &[u8]) -> Vec<&[u8]> {
    body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect()
}

/// The elements of a JSON array, or the one that is there.
fn elements(body: &[u8], is_many: bool) -> Result<Vec<&[u8]>, Malformed> {
    let wrong = |rule: Rule, reason: String| Malformed { field: None, rule, reason };
    let text = std::str::from_utf8(body).map_err(|_| wrong(Rule::Utf8, "is not UTF-8".to_owned()))?;
    let unreadable = |error: serde_json::Error| wrong(Rule::Json, format!("is no JSON: {error}"));
    if is_many {
        let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(unreadable)?;
        return Ok(elements.into_iter().map(|element| element.get().as_bytes()).collect());
    }
    Ok(vec![serde_json::from_str::<&RawValue>(text).map_err(unreadable)?.get().as_bytes()])
}

fn one(element: &[u8], refusals: &mut Refusals) -> Result<NewStatus, Fault> {
    track::status_from_line(element).map_err(|wrong| {
        refusals.malformed(&wrong);
        Fault::malformed(wrong.field, wrong.reason)
    })
}

/// A token for one org records that org's; what names none is that org's.
fn for_org(mut status: NewStatus, org: Option<&str>, refusals: &mut Refusals) -> Result<NewStatus, Fault> {
    let Some(org) = org else { return Ok(status) };
    if *status.org.get_or_insert_with(|| org.to_owned()) == org {
        return Ok(status);
    }
    let fault = Fault {
        code: "other_org".to_owned(),
        field: Some("org".to_owned()),
        message: format!("this token records request statuses of {org:?} only"),
    };
    refusals.other_org("org", &fault.message);
    Err(fault)
}

fn item(status: &NewStatus, verdict: Tracked) -> StatusItem {
    match verdict {
        Tracked::Refused(fault) => Fault { code: fault.code, field: fault.field, message: fault.message }.item(),
        Tracked::Recorded | Tracked::Repeated => {
            let href = format!("/v1/requests/{}", crate::usage::escape(&status.request_id));
            StatusItem { verdict: "recorded", href: Some(href), code: None, field: None, message: None }
        }
    }
}

fn answer(items: Vec<StatusItem>, is_many: bool) -> Result<Response, Problem> {
    if is_many {
        let refused = items.iter().filter(|item| item.verdict == "refused").count();
        let status = if refused == 0 { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
        let items = StatusItems { recorded: items.len() - refused, refused, items };
        return Ok((status, Json(items)).into_response());
    }
    let item = items.into_iter().next().expect("one request status");
    if item.verdict == "recorded" {
        return Ok((StatusCode::ACCEPTED, Json(item)).into_response());
    }
    let message = item.message.unwrap_or_default();
    let detail = item.field.as_ref().map_or_else(|| message.clone(), |field| format!("{field}: {message}"));
    Err(Problem::invalid(item.field, &item.code.unwrap_or_default(), detail))
}
