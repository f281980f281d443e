//! `POST /v1/usage` and `POST /v1/usage/batch`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use outbox::Verdict;
use outbox::intake::{Answer, Answered, IdempotencyKey};
use outbox::outlook::Foretold;
use serde::{Deserialize, Serialize};
use telemetry::names::INTAKE_USAGES;

use super::body::{Asked, Format};
use super::row::{Fault, Row};
use super::shape::{Item, Items, NewUsage, UsageEvent};
use super::warn;
use crate::app::App;
use crate::auth::{Caller, Intake};
use crate::extract::{Params, RawBody};
use crate::problem::Problem;
use crate::refusals::Recording;

/// How to record.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    /// true: nothing is recorded and no key is kept; the answer (200) says what would become of the usage
    #[serde(default)]
    dry_run: bool,
}

/// What names a request, so that it can be repeated; for the document only: [`IdempotencyKey`] reads it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is read from the headers, where two of them are refused")]
struct Key {
    /// The same key with the same body is answered the same for a day; with another body it is refused
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// Records one usage.
///
/// It is answered 202 with where to ask for it, or refused with a problem. Repeating the request records nothing twice
/// and is answered the same, but for `outlook`, which is of the moment. The body may be compressed
/// (`Content-Encoding: gzip`). An array, NDJSON and CloudEvents are taken, too: the operations beside this describe them.
#[utoipa::path(
    post, path = "/v1/usage", tag = "usage", operation_id = "record_usage", security(("token" = ["intake"])),
    params(Key, How),
    request_body(content = NewUsage),
    responses(
        (status = 200, description = "What would become of it", body = Item),
        (status = 202, description = "Recorded", body = Item),
        Recording,
    )
)]
pub(crate) async fn record(
    State(app): State<Arc<App>>,
    caller: Caller<Intake>,
    Params(how): Params<How>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    take(&app, &caller, &headers, &body, false, how.dry_run).await
}

/// Records many usages.
///
/// 202 if all are recorded, else 207; either way with a verdict for each, in the request's order: what is refused does not
/// stop the rest. Repeating the request records nothing twice and is answered the same, but for `outlook`, which is of
/// the moment. Besides a JSON array, the body may be NDJSON (`application/x-ndjson`, one usage a line), and it may be
/// compressed (`Content-Encoding: gzip`).
#[utoipa::path(
    post, path = "/v1/usage/batch", tag = "usage", operation_id = "record_usages", security(("token" = ["intake"])),
    params(Key, How),
    request_body(content = Vec<NewUsage>),
    responses(
        (status = 200, description = "What would become of them", body = Items),
        (status = 202, description = "All are recorded", body = Items),
        (status = 207, description = "Some were refused", body = Items),
        Recording,
    )
)]
pub(crate) async fn record_batch(
    State(app): State<Arc<App>>,
    caller: Caller<Intake>,
    Params(how): Params<How>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    take(&app, &caller, &headers, &body, true, how.dry_run).await
}

/// Records one usage that comes as a CloudEvent 1.0.
///
/// In structured mode (`application/cloudevents+json`), or in binary mode: the data as `application/json`, with the headers
/// `ce-specversion`, `ce-type`, `ce-source`, `ce-id` and `ce-time`. Answered as `record_usage`.
#[utoipa::path(
    post, path = "/v1/cloudevents", tag = "usage", operation_id = "record_event", security(("token" = ["intake"])),
    params(Key, How),
    request_body(content = UsageEvent, content_type = "application/cloudevents+json"),
    responses(
        (status = 200, description = "What would become of it", body = Item),
        (status = 202, description = "Recorded", body = Item),
        Recording,
    )
)]
pub(crate) async fn record_event(
    State(app): State<Arc<App>>,
    caller: Caller<Intake>,
    Params(how): Params<How>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    if Format::of(&headers)? == Format::Plain {
        return Err(Problem::malformed(
            "send application/cloudevents+json, or the header ce-specversion with the others",
        ));
    }
    take(&app, &caller, &headers, &body, false, how.dry_run).await
}

/// Records many usages that come as CloudEvents 1.0, in batched mode.
///
/// Answered as `record_usages`.
#[utoipa::path(
    post, path = "/v1/cloudevents/batch", tag = "usage", operation_id = "record_events",
    security(("token" = ["intake"])),
    params(Key, How),
    request_body(content = Vec<UsageEvent>, content_type = "application/cloudevents-batch+json"),
    responses(
        (status = 200, description = "What would become of them", body = Items),
        (status = 202, description = "All are recorded", body = Items),
        (status = 207, description = "Some were refused", body = Items),
        Recording,
    )
)]
pub(crate) async fn record_events(
    State(app): State<Arc<App>>,
    caller: Caller<Intake>,
    Params(how): Params<How>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    if Format::of(&headers)? != Format::Events {
        return Err(Problem::malformed("send application/cloudevents-batch+json; POST /v1/usage/batch takes usages"));
    }
    take(&app, &caller, &headers, &body, true, how.dry_run).await
}

/// Usages of one dry run at most: each hour that is over costs the database milliseconds.
const FORETOLD_MAX: usize = 500;

async fn take(
    app: &App,
    caller: &Caller<Intake>,
    headers: &HeaderMap,
    body: &[u8],
    is_batch: bool,
    dry_run: bool,
) -> Result<Response, Problem> {
    let _place = app.limits.record()?;
    let format = Format::of(headers)?;
    let text = std::str::from_utf8(body).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
    let rows_max = if dry_run { FORETOLD_MAX.min(app.options.rows_max) } else { app.options.rows_max };
    let asked = Asked::read(text, &format, is_batch, rows_max, caller.org())?;
    let key = idempotency_key(headers)?;
    if dry_run {
        let _place = app.limits.outlook()?;
        let told = outbox::outlook::foretell(&app.database, &asked.usages()).await?;
        return Ok(response(answer(asked.items(told, foretold), asked.is_one, true)));
    }
    let fingerprint = format.fingerprint(body);
    let key = key.map(|key| IdempotencyKey { caller: &caller.token.name, key, fingerprint: &fingerprint });
    let recorded = |verdicts: Vec<Verdict>| {
        count(&verdicts, &asked);
        answer(asked.items(verdicts, item), asked.is_one, false)
    };
    match outbox::intake::record(&app.database, &asked.usages(), key, recorded).await.map_err(Problem::unrecorded)? {
        Answered::Now(answer) | Answered::Before(answer) => Ok(response(warn::add(app, answer).await)),
        Answered::InProgress => Err(Problem::in_progress("a request with this Idempotency-Key is being worked on")),
        Answered::OtherRequest => {
            Err(Problem::key_reused("this Idempotency-Key was used with another body; a new request needs a new key"))
        }
    }
}

fn count(verdicts: &[Verdict], asked: &Asked) {
    for verdict in verdicts {
        INTAKE_USAGES.add([verdict.word()], 1);
    }
    INTAKE_USAGES.add(["refused"], asked.unreadable());
}

fn item(row: &Row, verdict: Verdict) -> Item {
    match verdict {
        Verdict::Recorded(id) | Verdict::Repeated(id) => Item { usage_id: Some(id), ..found(row) },
        Verdict::Refused(refused) => refusal(row, refused),
    }
}

fn foretold(row: &Row, told: Foretold) -> Item {
    match told {
        Foretold::Recorded(outlook) => Item { outlook: outlook.map(Into::into), ..found(row) },
        Foretold::Repeated(id) => Item { usage_id: Some(id), ..found(row) },
        Foretold::Refused(refused) => refusal(row, refused),
    }
}

/// An item that is recorded.
fn found(row: &Row) -> Item {
    let part = |field| row.text(field).unwrap_or_default();
    let href = super::standing::href(&part("source"), &part("event_id"));
    Item {
        verdict: "recorded",
        usage_id: None,
        href: Some(href),
        code: None,
        field: None,
        message: None,
        outlook: None,
        dry_run: false,
    }
}

fn refusal(row: &Row, refused: outbox::Refused) -> Item {
    Item::refused(row.refused(Fault { code: refused.code, field: refused.field, message: refused.message }))
}

/// One usage is answered with its item, or with why it was refused as a problem.
fn answer(items: Vec<Item>, is_one: bool, dry_run: bool) -> Answer {
    if !is_one {
        let items = Items::of(items, dry_run);
        let status = match (dry_run, items.refused) {
            (true, _) => StatusCode::OK,
            (false, 0) => StatusCode::ACCEPTED,
            (false, _) => StatusCode::MULTI_STATUS,
        };
        return written(status, &items);
    }
    let item = items.into_iter().next().expect("one row");
    if item.verdict == "refused" {
        let problem = Problem::invalid(item.field, &item.code.unwrap_or_default(), item.message.unwrap_or_default());
        return written(StatusCode::UNPROCESSABLE_ENTITY, &problem);
    }
    let status = if dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
    written(status, &Item { dry_run, ..item })
}

fn written(status: StatusCode, body: &impl Serialize) -> Answer {
    Answer { status: status.as_u16(), body: serde_json::to_string(body).expect("plain data") }
}

fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status == StatusCode::UNPROCESSABLE_ENTITY { "application/problem+json" } else { "application/json" };
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static(kind))], answer.body).into_response()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::parameter("Idempotency-Key", "is there twice; a request has one key"));
    }
    // the IETF draft writes it as a quoted string; many clients send it bare
    let key = value.to_str().ok().map(|text| text.trim().trim_matches('"')).unwrap_or_default();
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::parameter("Idempotency-Key", "must have 1 to 255 printable characters"));
    }
    Ok(Some(key))
}
