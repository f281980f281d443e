//! Google's Service Control v1: `services.check` and `services.report`, with the two ways to a token.

mod refusal;
mod request;
mod rules;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response};
use bytes::Bytes;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use self::refusal::{Code, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED, Refusal, UNAVAILABLE};
use self::request::{CheckRequest, Operation, ReportRequest};
use self::rules::{Case, Known};
use self::token::{DEFAULT_ACCOUNT, Tokens};
use crate::calls::{Call, CallRecord};
use crate::deliver::Cut;
use crate::exchange::{self, Exchange};
use crate::faults::ContentFaults;
use crate::record::Key;
use crate::state::{Shared, State};

/// The name under which this marketplace stands in records and calls.
pub(crate) const MARKETPLACE: &str = "google";
const SERVICES: &str = "/v1/services/";
const TOKEN: &str = "/token";
const METADATA: &str = "/computeMetadata/";
const METADATA_TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const FLAVOR: &str = "metadata-flavor";

/// Whether a path is Google's.
pub(crate) fn is_at(path: &str) -> bool {
    path.starts_with(SERVICES) || path == TOKEN || path.starts_with(METADATA)
}

/// What is remembered beside the record.
#[derive(Debug, Default)]
pub(crate) struct GoogleState {
    tokens: Tokens,
    known: Known,
}

/// Takes a call of Google's all the way.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    call: Call,
    head: &Parts,
    body: Option<&[u8]>,
) -> Result<Response<Body>, Cut> {
    let is_metadata = head.uri.path().starts_with(METADATA);
    let mut response = exchange::run(shared, GoogleCall::read(call, head, body)).await?;
    if is_metadata {
        response.headers_mut().insert(FLAVOR, HeaderValue::from_static("Google"));
    }
    Ok(response)
}

/// One call.
pub(crate) struct GoogleCall {
    call: Call,
    request: Request,
    headers: HeaderMap,
    body: Bytes,
}

/// What could be made of the request. Who calls is looked at before what they sent.
enum Request {
    Token { form: Bytes },
    MetadataToken,
    Check { service: String, request: Result<CheckRequest, Refusal> },
    Report { service: String, request: Result<ReportRequest, Refusal> },
    Nothing,
}

impl GoogleCall {
    /// Reads a request. `body` is none when it was larger than the marketplace takes.
    pub(crate) fn read(mut call: Call, head: &Parts, body: Option<&[u8]>) -> GoogleCall {
        let path = head.uri.path();
        let whole = || {
            body.ok_or_else(|| Refusal::new(INVALID_ARGUMENT, "Request payload size exceeds the limit: 1000000 bytes."))
        };
        let post = head.method == Method::POST;
        let method = path.strip_prefix(SERVICES).and_then(|path| path.split_once(':'));
        let request = match method {
            Some((service, "check")) if post => {
                let request = whole().and_then(CheckRequest::read);
                Request::Check { service: service.to_owned(), request }
            }
            Some((service, "report")) if post => {
                let request = whole().and_then(ReportRequest::read);
                Request::Report { service: service.to_owned(), request }
            }
            None if path == TOKEN && post => Request::Token { form: body.unwrap_or_default().to_vec().into() },
            None if path == METADATA_TOKEN && head.method == Method::GET => Request::MetadataToken,
            _ => Request::Nothing,
        };
        call.operation = operation_name(&request).to_owned();
        if let Request::Report { service, request: Ok(request) } = &request {
            call.records = request.operations.iter().flat_map(|operation| call_records(service, operation)).collect();
        }
        GoogleCall { call, request, headers: head.headers.clone(), body: Bytes::new() }
    }

    /// The answer's body, or why the whole call is refused.
    fn answer(&mut self, state: &mut State, faults: &ContentFaults) -> Result<Value, Refusal> {
        match &self.request {
            Request::Nothing => Err(Refusal::new(NOT_FOUND, "No such method.")),
            Request::Token { form } => {
                let settings = &state.settings.google;
                token_refused(settings.token_error.as_deref())?;
                let account = token::account_in(form, settings)?;
                Ok(issue(state, &account))
            }
            Request::MetadataToken => {
                if self.headers.get(FLAVOR).is_none_or(|value| value != "Google") {
                    return Err(Refusal {
                        status: 403,
                        ..Refusal::of_token("forbidden", "Missing Metadata-Flavor:Google header.")
                    });
                }
                token_refused(state.settings.google.token_error.as_deref())?;
                Ok(issue(state, DEFAULT_ACCOUNT))
            }
            Request::Check { service, request } => {
                self.call.account = permitted(state, &self.headers, service, faults)?;
                let request = request.as_ref().map_err(Clone::clone)?;
                checked(state, &request.operation)
            }
            Request::Report { service, request } => {
                self.call.account = permitted(state, &self.headers, service, faults)?;
                let request = request.as_ref().map_err(Clone::clone)?;
                Ok(reported(state, service, request, &mut self.call.records, faults))
            }
        }
    }
}

fn operation_name(request: &Request) -> &'static str {
    match request {
        Request::Token { .. } => "token",
        Request::MetadataToken => "metadata_token",
        Request::Check { .. } => "check",
        Request::Report { .. } => "report",
        Request::Nothing => "",
    }
}

fn token_refused(error: Option<&str>) -> Result<(), Refusal> {
    error.map_or(Ok(()), |error| Err(Refusal::of_token(error, "Refused by a setting of the simulator.")))
}

fn issue(state: &mut State, account: &str) -> Value {
    let seconds = state.settings.google.token_lifetime_seconds;
    let token = state.google.tokens.issue(account, Duration::from_secs(seconds));
    json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" })
}

/// The account that calls, if it may call now.
fn permitted(state: &mut State, headers: &HeaderMap, service: &str, faults: &ContentFaults) -> Result<String, Refusal> {
    let account = state.google.tokens.account(headers)?;
    let granted = |rate| state.buckets.take(&account, MARKETPLACE, rate, Instant::now());
    if faults.throttle || !state.settings.google.rate.is_none_or(granted) {
        return Err(Refusal::new(RESOURCE_EXHAUSTED, "Quota exceeded for quota metric 'Report requests'."));
    }
    if let Some(rule) = &faults.refuse {
        let error = rule.error.clone().unwrap_or_default();
        let status = rule.status.unwrap_or(400);
        return Err(Refusal {
            status,
            error,
            message: "Refused by a fault of the simulator.".to_owned(),
            of_token: false,
        });
    }
    if state.settings.google.services.as_ref().is_some_and(|known| !known.contains(service)) {
        return Err(Refusal::new(NOT_FOUND, format!("Service '{service}' not found.")));
    }
    Ok(account)
}

/// The answer of a check: the consumer's word, if it may not be billed.
fn checked(state: &State, operation: &Operation) -> Result<Value, Refusal> {
    let consumers = state.settings.google.consumers.as_ref();
    let word = match consumers.map(|known| known.get(&operation.consumer_id).map(String::as_str)) {
        None | Some(Some("ACTIVE")) => None,
        Some(Some(word)) => Some(word),
        Some(None) => Some("CONSUMER_INVALID"),
    };
    if word == Some("403") {
        return Err(Refusal::new(PERMISSION_DENIED, "Permission denied on this consumer."));
    }
    let mut answer = json!({ "operationId": operation.operation_id, "serviceConfigId": CONFIG });
    if let Some(word) = word {
        answer["checkErrors"] = json!([{ "code": word, "subject": operation.consumer_id, "detail": "" }]);
    }
    Ok(answer)
}

/// Stands where Google names the version of the service's configuration.
const CONFIG: &str = "simulated";

/// The answer of a report: errors by operation; who is not named was taken.
fn reported(
    state: &mut State,
    service: &str,
    request: &ReportRequest,
    records: &mut [CallRecord],
    faults: &ContentFaults,
) -> Value {
    let State { settings, clock, record, google, calls, .. } = state;
    let case = Case { settings: &settings.google, service, now: clock.now(), call: calls.next_id() };
    let mut errors = Vec::new();
    for operation in &request.operations {
        let mut own: Vec<&mut CallRecord> =
            records.iter_mut().filter(|record| record.key.region == operation.operation_id).collect();
        let keys: Vec<(Arc<Key>, Decimal)> =
            own.iter().map(|record| (Arc::clone(&record.key), record.quantity)).collect();
        let unprocessed = own.iter().any(|record| faults.unprocessed.iter().any(|matching| matching.admits(record)));
        let fault = if unprocessed {
            Some((UNAVAILABLE, "left unprocessed by a fault of the simulator"))
        } else {
            case.fault(operation).or_else(|| case.take(&mut google.known, record, operation, &keys))
        };
        for record in &mut own {
            record.result = Some(fault.map_or("OK", |(code, _)| code.word));
        }
        if let Some((Code { number, .. }, message)) = fault {
            let status = json!({ "code": number, "message": message });
            errors.push(json!({ "operationId": operation.operation_id, "status": status }));
        }
    }
    let mut answer = json!({ "serviceConfigId": CONFIG });
    if !errors.is_empty() {
        answer["reportErrors"] = Value::Array(errors);
    }
    answer
}

/// The records of an operation, one per value: what Google deduplicates on is the operation's id, which stands where
/// others have a region.
fn call_records(service: &str, operation: &Operation) -> Vec<CallRecord> {
    let timestamp = operation.start_time.unwrap_or_default();
    let hour = Timestamp::from_second(timestamp.as_second().div_euclid(3600) * 3600).unwrap_or(timestamp);
    let record = |name: &str, quantity: Decimal| CallRecord {
        key: Arc::new(Key {
            marketplace: MARKETPLACE,
            region: operation.operation_id.clone(),
            product: service.to_owned(),
            customer: operation.consumer_id.clone(),
            dimension: name.strip_prefix(service).and_then(|name| name.strip_prefix('/')).unwrap_or(name).to_owned(),
            hour,
        }),
        timestamp,
        quantity: quantity.normalize(),
        result: None,
        receipt: None,
    };
    let of_set = |set: &request::MetricValueSet| -> Vec<CallRecord> {
        let values = set.metric_values.iter().filter_map(|value| value.value());
        values.map(|(_, quantity)| record(&set.metric_name, quantity)).collect()
    };
    operation.metric_value_sets.iter().flat_map(of_set).collect()
}

impl Exchange for GoogleCall {
    fn call(&self) -> &Call {
        &self.call
    }

    fn call_mut(&mut self) -> &mut Call {
        &mut self.call
    }

    fn decide(&mut self, state: &mut State, faults: &ContentFaults) {
        match self.answer(state, faults) {
            Ok(answer) => {
                self.call.status = 200;
                self.body = answer.to_string().into();
            }
            Err(refusal) => {
                self.call.status = refusal.status;
                self.body = refusal.to_json();
                self.call.error = Some(refusal.error);
            }
        }
    }

    fn into_answer(self) -> (Call, Bytes) {
        (self.call, self.body)
    }

    fn content_type(&self) -> &'static str {
        "application/json; charset=UTF-8"
    }
}
