//! Microsoft's marketplace metering service: `usageEvent`, `batchUsageEvent`, `usageEvents`, and the tokens for them.

mod answer;
mod auth;
mod request;
mod rules;
pub(crate) mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use bytes::Bytes;
use hyper::body::Incoming;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use uuid::Uuid;

use self::answer::{Message, Refusal};
use self::auth::{Desk, Tokens};
use self::request::UsageEvent;
use self::rules::{ACCEPTED, Case, DUPLICATE, ERROR, Fault, NOT_AUTHORIZED};
use crate::calls::{Call, CallRecord, Delivery};
use crate::deliver::Cut;
use crate::exchange::{self, Exchange};
use crate::faults::{ContentFaults, FaultKind};
use crate::record::{Filter, Key, Offer, Report};
use crate::state::{Shared, State};

/// The name under which this marketplace stands in records and calls.
const MARKETPLACE: &str = "azure";
/// Bytes from which a request is too large.
const MAX_BODY_BYTES: usize = 1_000_000;
const API_VERSION: &str = "2018-08-31";
const SINGLE: &str = "usageEvent";
const BATCH: &str = "batchUsageEvent";
const DAYS: &str = "usageEvents";

/// What Azure keeps beside the record.
#[derive(Debug, Default)]
pub(crate) struct Books {
    tokens: Tokens,
    /// The plan that each accepted event named: evidence, no part of its key.
    plans: HashMap<Arc<Key>, String>,
}

/// Whether a path is one of Azure's.
pub(crate) fn serves(path: &str) -> bool {
    operation(path).is_some() || Desk::at(path).is_some()
}

fn operation(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix("/api/")?;
    [SINGLE, BATCH, DAYS].into_iter().find(|known| *known == name)
}

/// Serves a call to one of Azure's paths. Tokens are neither logged as calls nor met by faults.
pub(crate) async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    if let Some(desk) = Desk::at(head.uri.path()) {
        let body = crate::server::read(Body::new(body), MAX_BODY_BYTES).await?.unwrap_or_default();
        return Ok(desk.answer(&mut shared.lock(), &head.method, &head.uri, &head.headers, &body));
    }
    let mut call = exchange::received(&shared, MARKETPLACE);
    if shared.lock().faults.draw_before_reading() {
        (call.delivery, call.faults) = (Delivery::Reset, vec![FaultKind::Reset]);
        exchange::log_lost(&shared, call);
        return Err(Cut::Reset);
    }
    let body = crate::server::read(Body::new(body), MAX_BODY_BYTES).await?;
    exchange::run(shared, UsageCall::read(call, head, body.as_deref())).await
}

/// One call of the metering API.
pub(crate) struct UsageCall {
    call: Call,
    head: Head,
    events: Result<Vec<UsageEvent>, Refusal>,
    body: Bytes,
}

/// What is needed of a request's head.
struct Head {
    method: Method,
    uri: Uri,
    authorization: String,
    correlation_id: String,
    retry_after: Option<u64>,
}

impl UsageCall {
    /// Reads a request. `body` is none when it was larger than the marketplace takes.
    fn read(mut call: Call, head: Parts, body: Option<&[u8]>) -> UsageCall {
        let text = |name: &str| header_text(&head.headers, name).to_owned();
        call.operation = operation(head.uri.path()).unwrap_or_default().to_owned();
        if let Ok(id) = text("x-ms-requestid").parse() {
            call.request_id = id;
        }
        let correlation_id = text("x-ms-correlationid");
        let correlation_id = if correlation_id.is_empty() { Uuid::new_v4().to_string() } else { correlation_id };
        let events = match (call.operation.as_str(), body) {
            (DAYS, _) => Ok(Vec::new()),
            (_, None) => Err(Refusal::new(413, "RequestEntityTooLarge", "The request is too large.")),
            (_, Some(_)) if !text(header::CONTENT_TYPE.as_str()).starts_with("application/json") => {
                Err(Refusal::new(415, "UnsupportedMediaType", "The content type must be application/json."))
            }
            (operation, Some(body)) => UsageEvent::parse(body, operation == BATCH),
        };
        call.records = events.iter().flatten().map(call_record).collect();
        let authorization = text(header::AUTHORIZATION.as_str());
        let (method, uri) = (head.method, head.uri);
        let head = Head { method, uri, authorization, correlation_id, retry_after: None };
        UsageCall { call, head, events, body: Bytes::new() }
    }

    /// Why the whole call is refused, if it is.
    fn refusal(&mut self, state: &mut State, faults: &ContentFaults) -> Result<(), Refusal> {
        let settings = &state.settings.azure;
        let caller = state.azure.tokens.caller(settings, &self.head.authorization)?;
        (self.call.access_key, self.call.account) = (caller.client, caller.tenant);
        let granted = |rate| state.buckets.take(&self.call.access_key, MARKETPLACE, rate, Instant::now());
        if faults.throttle || !settings.rate.is_none_or(granted) {
            self.head.retry_after = settings.retry_after_seconds;
            return Err(Refusal::new(429, "TooManyRequests", "Too many requests."));
        }
        if let Some(rule) = &faults.refuse {
            let refusal = Refusal::new(400, rule.error.as_deref().unwrap_or_default(), "A fault of the simulator.");
            return Err(refusal.with_status(rule.status.unwrap_or(400)));
        }
        let expected = if self.call.operation == DAYS { Method::GET } else { Method::POST };
        if self.head.method != expected {
            return Err(Refusal::new(405, "MethodNotAllowed", "This method is not allowed here."));
        }
        match auth::fields(&self.head.uri).unwrap_or_default().get("api-version").map(String::as_str) {
            Some(API_VERSION) => {}
            None => return Err(Refusal::new(400, "ApiVersionUnspecified", "An api-version is required.")),
            Some(_) => return Err(Refusal::new(400, "UnsupportedApiVersion", "The api-version is not supported.")),
        }
        let records = &self.call.records;
        let twice = |at: usize| records[..at].iter().any(|earlier| earlier.key == records[at].key);
        if (0..records.len()).any(twice) {
            let message = "A resource may be repeated in a batch only for other hours or dimensions.";
            return Err(Refusal::bad_argument("request", message));
        }
        self.events.as_ref().map(drop).map_err(Clone::clone)
    }

    /// Judges each event of a call that was not refused.
    fn judge(&mut self, state: &mut State, faults: &ContentFaults, now: Timestamp) -> Vec<Judged> {
        let call = state.calls.next_id();
        let mut all = Vec::new();
        for (event, judged) in self.events.iter().flatten().zip(&mut self.call.records) {
            let unprocessed = faults.unprocessed.iter().any(|matching| matching.admits(judged));
            let case = Case { settings: &state.settings.azure, client: &self.call.access_key, now };
            let fault = if unprocessed {
                let message = "An internal error has occurred.";
                Err(Fault { status: ERROR, target: "usageEventRequest", message })
            } else {
                case.judge(event)
            };
            if let Err(fault) = fault {
                judged.result = Some(fault.status);
                let message = Message::refused(event, &fault);
                let message = if unprocessed { message.worded(&state.settings.azure.error_word) } else { message };
                all.push((message, Some(fault)));
                continue;
            }
            let (timestamp, quantity) = (judged.timestamp, judged.quantity);
            let offer = state.record.offer(&Report { key: &judged.key, timestamp, quantity, now, call });
            let Some(held) = state.record.held(&judged.key) else { continue };
            match offer {
                Offer::New(receipt) => {
                    (judged.result, judged.receipt) = (Some(ACCEPTED), Some(receipt));
                    let plan = event.plan_id.clone().unwrap_or_default();
                    state.azure.plans.insert(Arc::clone(&judged.key), plan);
                    all.push((Message::accepted(event, held), None));
                }
                Offer::Same(_) | Offer::Other => {
                    judged.result = Some(DUPLICATE);
                    all.push((Message::duplicate(event, held, state.azure.plans.get(&judged.key)), None));
                }
            }
        }
        all
    }

    /// The sums of days that were asked for; without an end, up to now.
    fn days(&self, state: &State, now: Timestamp) -> Result<Bytes, Refusal> {
        let asked = auth::fields(&self.head.uri).unwrap_or_default();
        let field = |name: &str| asked.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, text)| text);
        let Some(from) = field("usageStartDate").and_then(|text| day(text)) else {
            return Err(Refusal::bad_argument("usageStartDate", "The usageStartDate is required."));
        };
        let until = match field("UsageEndDate") {
            None => now.to_zoned(TimeZone::UTC).date(),
            Some(text) => {
                day(text).ok_or_else(|| Refusal::bad_argument("UsageEndDate", "The UsageEndDate must be a date."))?
            }
        };
        let own = Filter::default();
        let accepted = state.record.list(&own, 0).filter(|held| held.key.marketplace == MARKETPLACE);
        Ok(answer::days(accepted, &state.azure.plans, state.settings.azure.recon_status, (from, until)))
    }

    /// Status and body of a call.
    fn answer(&mut self, state: &mut State, faults: &ContentFaults) -> Result<(u16, Bytes), Refusal> {
        let now = state.clock.now();
        self.refusal(state, faults)?;
        if self.call.operation == DAYS {
            return self.days(state, now).map(|body| (200, body));
        }
        let mut all = self.judge(state, faults, now);
        if self.call.operation == BATCH {
            return Ok((200, answer::batch(all.into_iter().map(|(message, _)| message).collect())));
        }
        match all.pop() {
            Some((message, None)) => Ok(message.into_single()),
            Some((_, Some(fault))) => Err(single(&fault)),
            None => Err(Refusal::new(500, "InternalServerError", "Nothing was judged.")),
        }
    }
}

/// An event's message, and why it was not taken, if it was not.
type Judged = (Message, Option<Fault>);

/// How a single event is refused: by the HTTP status, the reason in words.
fn single(fault: &Fault) -> Refusal {
    match fault.status {
        NOT_AUTHORIZED => Refusal::new(403, "Forbidden", fault.message),
        ERROR => Refusal::new(500, "InternalServerError", fault.message),
        _ => Refusal::bad_argument(fault.target, fault.message),
    }
}

impl Exchange for UsageCall {
    fn call(&self) -> &Call {
        &self.call
    }

    fn call_mut(&mut self) -> &mut Call {
        &mut self.call
    }

    fn decide(&mut self, state: &mut State, faults: &ContentFaults) {
        (self.call.status, self.body) = match self.answer(state, faults) {
            Ok(answer) => answer,
            Err(refusal) => {
                self.call.error = Some(refusal.code.clone());
                (refusal.status, refusal.to_json())
            }
        };
    }

    fn into_answer(self) -> (Call, Bytes) {
        (self.call, self.body)
    }

    fn content_type(&self) -> &'static str {
        "application/json; charset=utf-8"
    }

    /// The ids as the client sent them, or of our own.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        put("x-ms-requestid", &self.call.request_id.to_string());
        put("x-ms-correlationid", &self.head.correlation_id);
        if let Some(seconds) = self.head.retry_after {
            put("retry-after", &seconds.to_string());
        }
        headers
    }
}

/// A date, or a date and time.
fn day(text: &str) -> Option<Date> {
    let text = text.trim_end_matches('Z');
    text.parse::<DateTime>().map(DateTime::date).or_else(|_| text.parse()).ok()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Plan and form of the resource are no part of the key, and neither region nor product exists here.
fn call_record(event: &UsageEvent) -> CallRecord {
    let key = Key {
        marketplace: MARKETPLACE,
        region: String::new(),
        product: String::new(),
        customer: event.resource(),
        dimension: event.dimension.clone().unwrap_or_default(),
        // What has no time is refused before the key matters.
        hour: event.hour().unwrap_or(Timestamp::MAX),
    };
    CallRecord {
        key: Arc::new(key),
        timestamp: event.time().unwrap_or(Timestamp::MAX),
        quantity: event.amount().unwrap_or(Decimal::ZERO),
        result: None,
        receipt: None,
    }
}
