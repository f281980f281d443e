//! `POST /v1/usage`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use outbox::Verdict;
use outbox::intake::{Answer, Answered, IdempotencyKey};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use telemetry::names::INTAKE_USAGES;
use utoipa::ToSchema;
use uuid::Uuid;

use super::row::{Fault, Row};
use super::{cloud_event, row};
use crate::app::App;
use crate::auth::{Caller, Intake};
use crate::extract::Whole;
use crate::problem::Problem;
use crate::refusals::Recording;

/// A usage to record. The fields are those of `postmeter.record_usage`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's shape; bodies are read field by field, numbers to the letter")]
pub(crate) struct NewUsage {
    /// The service that records; with `event_id` the usage's identity.
    #[schema(min_length = 1, max_length = 255)]
    source: String,
    /// The service's own id of the event; the same for every repetition.
    #[schema(min_length = 1, max_length = 255)]
    event_id: String,
    /// The customer.
    #[schema(min_length = 1, max_length = 255)]
    org: String,
    /// The product, by stable tag.
    #[schema(min_length = 1, max_length = 255)]
    product: String,
    /// What was metered, by stable tag.
    #[schema(min_length = 1, max_length = 255)]
    metric: String,
    /// An increment, never a running total; below zero only with `corrects`. At most 15 decimals. A text keeps digits
    /// that some JSON writers lose.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$", example = "12.5")]
    quantity: String,
    /// When it was used, with its offset from UTC.
    used_at: jiff::Timestamp,
    /// Which marketplace account, where the org has several.
    account: Option<String>,
    /// Event id of the usage that this one corrects.
    corrects: Option<String>,
    /// The request that caused it.
    request_id: Option<String>,
    /// W3C trace context of that request.
    traceparent: Option<String>,
    /// Evidence (service level, region …).
    #[schema(value_type = Option<Object>)]
    attributes: Option<serde_json::Value>,
}

/// What became of one usage.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Item {
    /// `recorded`, now or before: the answers to a repetition are equal. Or `refused`.
    verdict: &'static str,
    /// Its id, if it is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_id: Option<Uuid>,
    /// Where to ask what becomes of it.
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
pub(crate) struct Items {
    /// How many are recorded, now or before.
    recorded: usize,
    /// How many were refused: they are not recorded, and the same again will not be.
    refused: usize,
    /// One for each usage, in the request's order.
    items: Vec<Item>,
}

/// Records one usage or many.
///
/// One usage (a JSON object) is answered 202 with where to ask for it, or refused with a problem. Many (an array) are
/// answered 202 if all are recorded, else 207, with a verdict each: what is refused does not stop the rest. Repeating
/// a request records nothing twice and is answered the same. Content types: `application/json`, and CloudEvents 1.0
/// as `application/cloudevents+json` or `application/cloudevents-batch+json` (type `postmeter.usage.v1`).
#[utoipa::path(
    post, path = "/v1/usage", tag = "usage", security(("token" = ["intake"])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "The same key with the same body is answered the same for a day; with another body it is refused")),
    request_body(content((NewUsage = "application/json"), (Object = "application/cloudevents+json"),
                         (Vec<Object> = "application/cloudevents-batch+json"))),
    responses(
        (status = 202, description = "Recorded", body = Item),
        (status = 207, description = "Some were refused", body = Items),
        Recording,
    )
)]
pub(crate) async fn record(
    State(app): State<Arc<App>>,
    caller: Caller<Intake>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let _place = app.limits.record()?;
    let format = Format::of(&headers)?;
    let text = std::str::from_utf8(&body).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
    let request = Request::read(text, format, app.options.rows_max, caller.org())?;
    let key = idempotency_key(&headers)?;
    let fingerprint = fingerprint(format, &body);
    let key = key.map(|key| IdempotencyKey { caller: &caller.token.name, key, fingerprint: &fingerprint });
    let usages = request.usages();
    match outbox::intake::record(&app.database, &usages, key, |verdicts| request.answer(verdicts)).await? {
        Answered::Now(answer) | Answered::Before(answer) => Ok(response(answer)),
        Answered::InProgress => Err(Problem::in_progress("a request with this Idempotency-Key is being worked on")),
        Answered::OtherRequest => {
            Err(Problem::key_reused("this Idempotency-Key was used with another body; a new request needs a new key"))
        }
    }
}

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    CloudEvent,
    CloudEvents,
}

impl Format {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Plain),
            "application/cloudevents+json" => Ok(Self::CloudEvent),
            "application/cloudevents-batch+json" => Ok(Self::CloudEvents),
            _ => Err(Problem::plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content-type",
                "send application/json, application/cloudevents+json or application/cloudevents-batch+json",
            )),
        }
    }

    fn read(self, element: &RawValue) -> Result<Row, Fault> {
        match self {
            Self::Plain => row::plain(element),
            Self::CloudEvent | Self::CloudEvents => cloud_event::read(element),
        }
    }
}

/// What was asked, read.
struct Request {
    rows: Vec<Result<Row, Fault>>,
    is_one: bool,
}

impl Request {
    fn read(text: &str, format: Format, rows_max: usize, org: Option<&str>) -> Result<Self, Problem> {
        let unreadable = |error: serde_json::Error| Problem::malformed(format!("the body is no JSON: {error}"));
        let is_many = match format {
            Format::Plain => text.trim_start().starts_with('['),
            Format::CloudEvent => false,
            Format::CloudEvents => true,
        };
        let elements: Vec<&RawValue> = if is_many {
            serde_json::from_str(text).map_err(unreadable)?
        } else {
            vec![serde_json::from_str(text).map_err(unreadable)?]
        };
        if elements.len() > rows_max {
            let detail = format!("{} usages in one request; at most {rows_max}", elements.len());
            return Err(Problem::plain(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
        }
        let rows = elements.into_iter().map(|element| row::for_org(format.read(element)?, org)).collect();
        Ok(Self { rows, is_one: !is_many })
    }

    /// The rows that can be recorded, as the database takes them.
    fn usages(&self) -> Box<RawValue> {
        let rows: Vec<&Row> = self.rows.iter().flatten().collect();
        serde_json::value::to_raw_value(&rows).expect("plain data")
    }

    /// The answer: verdicts are those of the rows that could be read, in order.
    fn answer(&self, verdicts: Vec<Verdict>) -> Answer {
        let mut verdicts = verdicts.into_iter();
        let items: Vec<Item> = self
            .rows
            .iter()
            .map(|row| match row {
                Err(fault) => refused(fault.clone()),
                Ok(row) => item(row, verdicts.next().expect("a verdict per row")),
            })
            .collect();
        if self.is_one {
            return one(items.into_iter().next().expect("one row"));
        }
        let refused = items.iter().filter(|item| item.verdict == "refused").count();
        let status = if refused == 0 { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
        answer(status, &Items { recorded: items.len() - refused, refused, items })
    }
}

fn item(row: &Row, verdict: Verdict) -> Item {
    let (usage_id, word) = match verdict {
        Verdict::Recorded(id) => (id, "recorded"),
        Verdict::Repeated(id) => (id, "repeated"),
        Verdict::Refused(fault) => {
            return refused(row.refused(Fault { code: fault.code, field: fault.field, message: fault.message }));
        }
    };
    INTAKE_USAGES.add([word], 1);
    let part = |field| row.text(field).unwrap_or_default();
    let href = super::standing::href(&part("source"), &part("event_id"));
    Item { verdict: "recorded", usage_id: Some(usage_id), href: Some(href), code: None, field: None, message: None }
}

fn refused(fault: Fault) -> Item {
    INTAKE_USAGES.add(["refused"], 1);
    let Fault { code, field, message } = fault;
    Item { verdict: "refused", usage_id: None, href: None, code: Some(code), field, message: Some(message) }
}

/// One usage is answered with its item, or with why it was refused as a problem.
fn one(item: Item) -> Answer {
    if item.verdict == "recorded" {
        return answer(StatusCode::ACCEPTED, &item);
    }
    let problem = Problem::invalid(item.field, &item.code.unwrap_or_default(), item.message.unwrap_or_default());
    answer(StatusCode::UNPROCESSABLE_ENTITY, &problem)
}

fn answer(status: StatusCode, body: &impl Serialize) -> Answer {
    Answer { status: status.as_u16(), body: serde_json::to_string(body).expect("plain data") }
}

fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status == StatusCode::UNPROCESSABLE_ENTITY { "application/problem+json" } else { "application/json" };
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static(kind))], answer.body).into_response()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    // the IETF draft writes it as a quoted string; many clients send it bare
    let key = value.to_str().ok().map(|text| text.trim().trim_matches('"')).unwrap_or_default();
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::parameter("Idempotency-Key", "must have 1 to 255 printable characters"));
    }
    Ok(Some(key))
}

fn fingerprint(format: Format, body: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(match format {
        Format::Plain => "POST /v1/usage plain\n",
        Format::CloudEvent | Format::CloudEvents => "POST /v1/usage cloudevents\n",
    });
    hasher.update(body);
    hasher.finalize().into()
}
