//! What Microsoft answers: one result per event, one refusal for the call, or the sums of days.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::request::UsageEvent;
use super::rules::Fault;
use super::settings::ReconStatus;
use crate::record::{Accepted, Key};

/// The time of a message that was not accepted.
const NO_TIME: &str = "0001-01-01T00:00:00";

/// The call is refused; nothing of it is stored.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Refusal {
    #[serde(skip)]
    pub(crate) status: u16,
    pub(crate) code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

#[derive(Clone, Debug, Serialize)]
struct Detail {
    code: &'static str,
    message: String,
    target: &'static str,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &str, message: &str) -> Refusal {
        Refusal { status, code: code.to_owned(), message: message.to_owned(), target: None, details: Vec::new() }
    }

    /// A 400 says `BadArgument` at the top whatever is wrong, and in its details too: the message has to be read.
    pub(crate) fn bad_argument(target: &'static str, message: &str) -> Refusal {
        let details = vec![Detail { code: "BadArgument", message: message.to_owned(), target }];
        let refusal = Refusal::new(400, "BadArgument", "One or more errors have occurred.");
        Refusal { target: Some("usageEventRequest"), details, ..refusal }
    }

    pub(crate) fn with_status(self, status: u16) -> Refusal {
        Refusal { status, ..self }
    }

    pub(crate) fn to_json(&self) -> Bytes {
        json(self)
    }
}

/// A usage event as it comes back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_event_id: Option<Uuid>,
    status: Cow<'static, str>,
    message_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimension: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_start_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

/// What stands in `error` of a result, and is the whole body of a 409.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Error {
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_info: Option<AdditionalInfo>,
    message: &'static str,
    code: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AdditionalInfo {
    accepted_message: Box<Message>,
}

impl Message {
    fn echo(event: &UsageEvent, status: &'static str) -> Message {
        Message {
            usage_event_id: None,
            status: Cow::Borrowed(status),
            message_time: NO_TIME.to_owned(),
            resource_id: event.resource_id.clone(),
            resource_uri: event.resource_uri.clone(),
            quantity: event.amount().map(double),
            dimension: event.dimension.clone(),
            // Their samples leave the zone out, so a client has to know that it is UTC.
            effective_start_time: event
                .effective_start_time
                .as_deref()
                .map(|time| time.trim_end_matches('Z').to_owned()),
            plan_id: event.plan_id.clone(),
            error: None,
        }
    }

    pub(crate) fn accepted(event: &UsageEvent, held: &Accepted) -> Message {
        Message {
            usage_event_id: Some(held.receipt),
            message_time: held.accepted_at.to_string(),
            ..Message::echo(event, super::rules::ACCEPTED)
        }
    }

    pub(crate) fn duplicate(event: &UsageEvent, held: &Accepted, plan: Option<&String>) -> Message {
        let error = Some(Error::conflict(event, held, plan));
        Message { error, ..Message::echo(event, super::rules::DUPLICATE) }
    }

    /// The answer to an event that came alone: itself, or a 409 with the error alone.
    pub(crate) fn into_single(self) -> (u16, Bytes) {
        match &self.error {
            None => (200, json(&self)),
            Some(error) => (409, json(error)),
        }
    }

    /// The same under another status word.
    pub(crate) fn worded(self, status: &str) -> Message {
        Message { status: Cow::Owned(status.to_owned()), ..self }
    }

    pub(crate) fn refused(event: &UsageEvent, fault: &Fault) -> Message {
        let error = Some(Error { additional_info: None, message: fault.message, code: fault.status });
        Message { error, ..Message::echo(event, fault.status) }
    }
}

impl Error {
    /// What is held stands in the accepted message: its quantity is the first one's.
    pub(crate) fn conflict(event: &UsageEvent, held: &Accepted, plan: Option<&String>) -> Error {
        let accepted_message = Box::new(Message {
            usage_event_id: Some(held.receipt),
            message_time: held.accepted_at.to_string(),
            quantity: Some(double(held.quantity)),
            effective_start_time: Some(held.timestamp.to_string()),
            plan_id: plan.cloned(),
            ..Message::echo(event, super::rules::DUPLICATE)
        });
        let additional_info = Some(AdditionalInfo { accepted_message });
        Error { additional_info, message: "This usage event already exist.", code: "Conflict" }
    }
}

/// The body of a batch that was not refused. The results come last first: nobody promises an order.
pub(crate) fn batch(messages: Vec<Message>) -> Bytes {
    #[derive(Serialize)]
    struct Body {
        count: usize,
        result: Vec<Message>,
    }
    json(&Body { count: messages.len(), result: messages.into_iter().rev().collect() })
}

/// The list of `usageEvents`: a sum for each day, resource, dimension and plan.
pub(crate) fn days<'a>(
    accepted: impl Iterator<Item = &'a Accepted>,
    plans: &HashMap<Arc<Key>, String>,
    state: ReconStatus,
    (from, until): (Date, Date),
) -> Bytes {
    let mut sums: BTreeMap<(Date, &str, &str, &str), (Decimal, u64)> = BTreeMap::new();
    for held in accepted {
        let day = held.key.hour.to_zoned(TimeZone::UTC).date();
        if (from..=until).contains(&day) {
            let plan = plans.get(&held.key).map_or("", String::as_str);
            let sum = sums.entry((day, &held.key.customer, &held.key.dimension, plan)).or_default();
            *sum = (sum.0.checked_add(held.quantity).unwrap_or(Decimal::MAX), sum.1 + 1);
        }
    }
    let entries = sums.into_iter().map(|((day, resource, dimension, plan), (quantity, count))| Day {
        usage_date: format!("{day}T00:00:00Z"),
        usage_resource_id: resource,
        dimension,
        plan_id: plan,
        plan_name: "",
        offer_id: "",
        offer_name: "",
        offer_type: "SaaS",
        azure_subscription_id: "",
        recon_status: match state {
            ReconStatus::Submitted => "Submitted",
            ReconStatus::Accepted => "Accepted",
        },
        submitted_quantity: double(quantity),
        processed_quantity: double(if state == ReconStatus::Accepted { quantity } else { Decimal::ZERO }),
        submitted_count: count,
    });
    json(&entries.collect::<Vec<_>>())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Day<'a> {
    usage_date: String,
    usage_resource_id: &'a str,
    dimension: &'a str,
    plan_id: &'a str,
    plan_name: &'a str,
    offer_id: &'a str,
    offer_name: &'a str,
    offer_type: &'a str,
    azure_subscription_id: &'a str,
    recon_status: &'a str,
    submitted_quantity: Box<RawValue>,
    processed_quantity: Box<RawValue>,
    submitted_count: u64,
}

/// As .NET writes doubles: a whole one with `.0`.
fn double(quantity: Decimal) -> Box<RawValue> {
    let text = quantity.normalize().to_string();
    let text = if text.contains('.') { text } else { format!("{text}.0") };
    RawValue::from_string(text).expect("a decimal is a JSON number")
}

pub(crate) fn json<T: Serialize>(body: &T) -> Bytes {
    serde_json::to_vec(body).expect("strings and numbers always have a JSON form").into()
}
