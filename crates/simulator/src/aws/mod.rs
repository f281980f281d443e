//! AWS Marketplace Metering: BatchMeterUsage over awsJson 1.1 (`POST /`).

mod answer;
mod auth;
mod request;
mod rules;
pub(crate) mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::http::{HeaderMap, Method, StatusCode, header};
use bytes::Bytes;
use jiff::Timestamp;

use self::answer::{DUPLICATE, NOT_SUBSCRIBED, Refusal, SUCCESS, UNPROCESSED};
use self::auth::Caller;
pub(crate) use self::request::MAX_BODY_BYTES;
use self::request::{BatchMeterUsage, UsageRecord};
use self::rules::Case;
use self::settings::IdenticalResend;
use crate::calls::{Call, CallRecord};
use crate::exchange::Exchange;
use crate::faults::ContentFaults;
use crate::record::{Key, Offer, Report};
use crate::state::State;

/// The name under which this marketplace stands in records and calls.
pub(crate) const MARKETPLACE: &str = "aws";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: &str = "AWSMPMeteringService.";

/// One call of BatchMeterUsage.
pub(crate) struct MeteringCall {
    call: Call,
    request: Request,
    body: Bytes,
}

/// What could be made of the request. A refusal by shape comes after throttling, one by credentials before.
enum Request {
    Unauthorised(Refusal),
    Malformed(Refusal),
    Readable(BatchMeterUsage),
}

impl MeteringCall {
    /// Reads a request. `body` is none when it was larger than the marketplace takes.
    pub(crate) fn read(
        mut call: Call,
        method: &Method,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        access_keys: &BTreeMap<String, String>,
    ) -> MeteringCall {
        let target = header_text(headers, "x-amz-target");
        call.operation = target.strip_prefix(TARGET).unwrap_or_default().to_owned();
        let request = match Caller::from_headers(headers, access_keys) {
            Err(refusal) => Request::Unauthorised(refusal),
            Ok(caller) => {
                (call.access_key, call.account, call.region) = (caller.access_key, caller.account, caller.region);
                match parse(&call.operation, method, headers, body) {
                    Err(refusal) => Request::Malformed(refusal),
                    Ok(batch) => Request::Readable(batch),
                }
            }
        };
        if let Request::Readable(batch) = &request {
            call.records = batch.records().iter().map(|record| call_record(&call.region, batch, record)).collect();
        }
        MeteringCall { call, request, body: Bytes::new() }
    }

    /// Why the whole call is refused, if it is.
    fn refusal(&self, state: &mut State, faults: &ContentFaults, now: Timestamp) -> Result<(), Refusal> {
        if let Request::Unauthorised(refusal) = &self.request {
            return Err(refusal.clone());
        }
        let (settings, region) = (&state.settings.aws, self.call.region.as_str());
        let granted = |rate| state.buckets.take(&self.call.account, region, rate, Instant::now());
        if faults.throttle || !settings.rate.is_none_or(granted) {
            return Err(Refusal::new("ThrottlingException", "Rate exceeded"));
        }
        if let Some(rule) = &faults.refuse {
            let error = rule.error.clone().unwrap_or_default();
            let refusal = Refusal::new(error, "Refused by a fault of the simulator.");
            let status = rule.status.unwrap_or(refusal.status);
            return Err(refusal.with_status(status));
        }
        match &self.request {
            Request::Unauthorised(refusal) | Request::Malformed(refusal) => Err(refusal.clone()),
            Request::Readable(batch) => Case { settings, region, batch, now }.refusal(),
        }
    }

    /// Judges each record of a call that was not refused.
    fn judge(&mut self, state: &mut State, faults: &ContentFaults, now: Timestamp) {
        let Request::Readable(batch) = &self.request else { return };
        let case = Case { settings: &state.settings.aws, region: &self.call.region, batch, now };
        let call = state.calls.next_id();
        for (sent, judged) in batch.records().iter().zip(&mut self.call.records) {
            if faults.unprocessed.iter().any(|matching| matching.admits(judged)) {
                judged.result = Some(UNPROCESSED);
            } else if !case.is_subscribed(sent) {
                judged.result = Some(NOT_SUBSCRIBED);
            } else {
                let (timestamp, quantity) = (judged.timestamp, judged.quantity);
                let report = Report { key: &judged.key, timestamp, quantity, now, call };
                let offer = state.record.offer(&report);
                (judged.result, judged.receipt) = word(offer, case.settings.identical_resend);
            }
        }
    }
}

impl Exchange for MeteringCall {
    fn call(&self) -> &Call {
        &self.call
    }

    fn call_mut(&mut self) -> &mut Call {
        &mut self.call
    }

    fn decide(&mut self, state: &mut State, faults: &ContentFaults) {
        let now = state.clock.now();
        match self.refusal(state, faults, now) {
            Err(refusal) => {
                self.call.status = refusal.status;
                self.body = refusal.to_json(&state.settings.aws.error_type_prefix);
                self.call.error = Some(refusal.error.into_owned());
            }
            Ok(()) => {
                self.judge(state, faults, now);
                self.call.status = StatusCode::OK.as_u16();
                if let Request::Readable(batch) = &self.request {
                    self.body = answer::results(batch.records(), &self.call.records);
                }
            }
        }
    }

    fn into_answer(self) -> (Call, Bytes) {
        (self.call, self.body)
    }

    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }
}

/// The word for a record that was offered. Only an accepted one carries a receipt: what AWS puts there for a duplicate
/// is not documented, so a client must not need it.
fn word(offer: Offer, identical_resend: IdenticalResend) -> (Option<&'static str>, Option<uuid::Uuid>) {
    match (offer, identical_resend) {
        (Offer::New(receipt), _) | (Offer::Same(receipt), IdenticalResend::Success) => (Some(SUCCESS), Some(receipt)),
        (Offer::Same(_), IdenticalResend::Duplicate) | (Offer::Other, _) => (Some(DUPLICATE), None),
    }
}

fn parse(
    operation: &str,
    method: &Method,
    headers: &HeaderMap,
    body: Option<&[u8]>,
) -> Result<BatchMeterUsage, Refusal> {
    let unknown = |message: &str| Refusal::new("UnknownOperationException", message);
    if method != Method::POST {
        return Err(unknown("Only POST is understood."));
    }
    if operation != "BatchMeterUsage" {
        return Err(unknown("X-Amz-Target must be AWSMPMeteringService.BatchMeterUsage."));
    }
    if !header_text(headers, header::CONTENT_TYPE.as_str()).starts_with(CONTENT_TYPE) {
        return Err(unknown("Content-Type must be application/x-amz-json-1.1."));
    }
    let too_large = || Refusal::new("RequestEntityTooLargeException", "A request must be less than 1 MB.");
    BatchMeterUsage::parse(body.ok_or_else(|| too_large().with_status(413))?)
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn call_record(region: &str, batch: &BatchMeterUsage, record: &UsageRecord) -> CallRecord {
    let (seconds, nanoseconds) = record.seconds();
    let product = record.license_arn.as_deref().or(batch.product_code.as_deref()).unwrap_or_default();
    let key = Key {
        marketplace: MARKETPLACE,
        region: region.to_owned(),
        product: product.to_owned(),
        customer: rules::customer(record).to_owned(),
        dimension: record.dimension.clone().unwrap_or_default(),
        // What is beyond the calendar is refused before the key matters.
        hour: rules::hour(record).unwrap_or(Timestamp::MAX),
    };
    CallRecord {
        key: Arc::new(key),
        timestamp: Timestamp::new(seconds, nanoseconds).unwrap_or(Timestamp::MAX),
        quantity: record.amount(),
        result: None,
        receipt: None,
    }
}
