//! Times spent and rows, in the words of the contract.

use outbox::requests::RequestHistory;
use remittance::request::{Durations, StatusTiming, hours_minutes_seconds};
use serde_json::{Map, Value};
use uuid::Uuid;

/// From the first to the last message of each service and source, their sum, and from the very first to the very last.
pub(super) fn durations(way: &RequestHistory) -> Map<String, Value> {
    let said =
        way.said.iter().map(|said| StatusTiming { service: &said.service, source: &said.source, date: said.date });
    let steps =
        way.steps.iter().map(|step| StatusTiming { service: &step.service, source: &step.source, date: step.date });
    let spent = Durations::of(said.chain(steps));
    let told = |name: &str, time| (name.to_owned(), Value::from(hours_minutes_seconds(time)));
    let totals = [told("total_time_in_services", spent.in_services), told("total_time", spent.total)];
    spent.per_service.iter().map(|(name, time)| told(name, *time)).chain(totals).collect()
}

/// An id as this contract's front-end reads it: a UUID as 32 digits, which its links are made of; another text as it is.
pub(super) fn id(text: &str) -> String {
    Uuid::parse_str(text).map_or_else(|_| text.to_owned(), |uuid| uuid.simple().to_string())
}

/// The field, unless it is empty: the contract leaves empty texts out.
pub(super) fn put(row: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        row.insert(name.to_owned(), Value::from(text));
    }
}
