//! The rules for one operation of a report that was not refused as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use super::refusal::{ALREADY_EXISTS, Code, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED};
use super::request::Operation;
use super::settings::{ChangedOperation, GoogleSettings, MetricType, RepeatedOperation};
use crate::record::{Key, Record, Report};

/// US Pacific since 2007, without need of a zone database.
const PACIFIC: &str = "PST8PDT,M3.2.0,M11.1.0";

/// What is wrong with an operation.
pub(crate) type Fault = (Code, &'static str);

/// Operations that were taken, by service and id. Grows with the record.
#[derive(Debug, Default)]
pub(crate) struct Known {
    operations: HashMap<(String, String), Taken>,
}

#[derive(Debug)]
struct Taken {
    content: Vec<(Key, Decimal)>,
    end: Timestamp,
    first_at: Timestamp,
    /// How often it was billed: again each time it comes after it was forgotten.
    billed: u32,
}

/// One operation at one moment.
pub(crate) struct Case<'a> {
    pub(crate) settings: &'a GoogleSettings,
    pub(crate) service: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) call: u64,
}

impl Case<'_> {
    /// Window, consumer and metrics. All of them are Google's words where it has any, else the harder reading.
    pub(crate) fn fault(&self, operation: &Operation) -> Option<Fault> {
        self.fault_of_window(operation)
            .or_else(|| self.fault_of_consumer(operation))
            .or_else(|| self.fault_of_metrics(operation))
    }

    fn fault_of_window(&self, operation: &Operation) -> Option<Fault> {
        let (start, end) = (operation.start_time?, operation.end_time?);
        let age = self.now.duration_since(end);
        let wrong = |message| Some((INVALID_ARGUMENT, message));
        match () {
            () if end <= start => wrong("end_time must be after start_time"),
            () if end > self.now => wrong("end_time lies in the future"),
            () if age > SignedDuration::from_mins(self.settings.max_age_minutes) => wrong("end_time is too old"),
            () if crosses_month(start, end) => wrong("the window crosses the end of a billing month"),
            () => None,
        }
    }

    fn fault_of_consumer(&self, operation: &Operation) -> Option<Fault> {
        let consumers = self.settings.consumers.as_ref()?;
        match consumers.get(&operation.consumer_id).map(String::as_str) {
            Some("ACTIVE") => None,
            Some(_) => Some((PERMISSION_DENIED, "the consumer may not be billed")),
            None => Some((NOT_FOUND, "the consumer is not known")),
        }
    }

    fn fault_of_metrics(&self, operation: &Operation) -> Option<Fault> {
        let prefix = format!("{}/", self.service);
        let wrong = |message| Some((INVALID_ARGUMENT, message));
        for set in &operation.metric_value_sets {
            let Some(metric) = set.metric_name.strip_prefix(&prefix) else {
                return wrong("the metric is not of this service");
            };
            let Some(metrics) = &self.settings.metrics else { continue };
            let Some(declared) = metrics.get(metric) else { return wrong("the metric is not known") };
            let typed = |value: Option<(MetricType, Decimal)>| value.is_some_and(|(found, _)| found == *declared);
            if !set.metric_values.iter().all(|value| typed(value.value())) {
                return wrong("the value's type is not the one the metric was declared with");
            }
        }
        None
    }

    /// Takes an operation: its id decides whether it came before, nothing else. The same window under another id is
    /// billed again.
    pub(crate) fn take(
        &self,
        known: &mut Known,
        record: &mut Record,
        operation: &Operation,
        keys: &[(Arc<Key>, Decimal)],
    ) -> Option<Fault> {
        let end = operation.end_time?;
        let content: Vec<(Key, Decimal)> = keys.iter().map(|(key, quantity)| (Key::clone(key), *quantity)).collect();
        let id = (self.service.to_owned(), operation.operation_id.clone());
        let memory = SignedDuration::from_mins(self.settings.memory_minutes);
        let billed = match known.operations.get(&id) {
            Some(taken) if self.now.duration_since(taken.first_at) < memory => {
                return self.repeat(taken, &content, end, record, operation);
            }
            Some(taken) => taken.billed + 1,
            None => 1,
        };
        for (key, quantity) in keys {
            let key = billed_again(key, billed);
            let timestamp = operation.start_time.unwrap_or(key.hour);
            record.offer(&Report { key: &key, timestamp, quantity: *quantity, now: self.now, call: self.call });
        }
        known.operations.insert(id, Taken { content, end, first_at: self.now, billed });
        None
    }

    fn repeat(
        &self,
        taken: &Taken,
        content: &[(Key, Decimal)],
        end: Timestamp,
        record: &mut Record,
        operation: &Operation,
    ) -> Option<Fault> {
        let same = taken.content == content && taken.end == end;
        // The record counts the repetition: under the first content's key, with what came now.
        for (at, (key, held)) in taken.content.iter().enumerate() {
            let came = content.get(at).map_or(Decimal::NEGATIVE_ONE, |(_, quantity)| *quantity);
            let other = if came == *held { Decimal::NEGATIVE_ONE } else { came };
            let quantity = if same { *held } else { other };
            let key = billed_again(&Arc::new(key.clone()), taken.billed);
            let timestamp = operation.start_time.unwrap_or(key.hour);
            record.offer(&Report { key: &key, timestamp, quantity, now: self.now, call: self.call });
        }
        match (same, self.settings.identical_resend, self.settings.changed_operation) {
            (true, RepeatedOperation::AlreadyExists, _) => Some((ALREADY_EXISTS, "the operation exists")),
            (false, _, ChangedOperation::Refuse) => Some((INVALID_ARGUMENT, "the operation exists with other content")),
            _ => None,
        }
    }
}

/// The record holds a key once; what is billed again stands there under the id with a number.
fn billed_again(key: &Arc<Key>, times: u32) -> Arc<Key> {
    if times < 2 {
        Arc::clone(key)
    } else {
        Arc::new(Key { region: format!("{}#{times}", key.region), ..Key::clone(key) })
    }
}

/// Whether a window has instants of two billing months in it, in US Pacific time.
fn crosses_month(start: Timestamp, end: Timestamp) -> bool {
    let Ok(pacific) = TimeZone::posix(PACIFIC) else { return true };
    let last = end.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(end);
    let month = |at: Timestamp| at.to_zoned(pacific.clone()).date().first_of_month();
    month(start) != month(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d6_a_month_ends_at_pacific_midnight_in_winter_and_in_summer() {
        for (start, end, crosses) in [
            ("2024-03-01T07:00:00Z", "2024-03-01T08:00:00Z", false),
            ("2024-03-01T07:00:00Z", "2024-03-01T09:00:00Z", true),
            ("2024-04-01T06:00:00Z", "2024-04-01T07:00:00Z", false),
            ("2024-04-01T06:30:00Z", "2024-04-01T07:30:00Z", true),
            ("2024-11-01T06:00:00Z", "2024-11-01T07:00:00Z", false),
            ("2024-11-01T06:00:00Z", "2024-11-01T08:00:00Z", true),
            ("2024-12-01T07:00:00Z", "2024-12-01T08:00:00Z", false),
            ("2024-12-01T07:59:59Z", "2024-12-01T08:00:01Z", true),
        ] {
            assert_eq!(crosses_month(start.parse().unwrap(), end.parse().unwrap()), crosses, "{start} to {end}");
        }
    }
}
