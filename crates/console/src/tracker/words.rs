//! Times spent, in the words of the contract.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// A message, as far as durations look at it.
pub(super) struct Moment<'a> {
    pub service: &'a str,
    pub source: &'a str,
    pub date: Timestamp,
}

/// `HH:MM:SS.ffffff`; hours may be more than 24.
fn spelt(time: SignedDuration) -> Value {
    let (seconds, micros) = (time.as_secs(), time.subsec_micros());
    Value::from(format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60))
}

/// From the first to the last message of each service and source, their sum, and from the very first to the very last.
pub(super) fn durations<'a>(moments: impl IntoIterator<Item = Moment<'a>>) -> Map<String, Value> {
    let mut spans: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
    for Moment { service, source, date } in moments {
        let source = if source.is_empty() { "undefined" } else { source };
        let span = spans.entry(format!("{service}:{source}")).or_insert((date, date));
        *span = (span.0.min(date), span.1.max(date));
    }
    let whole = spans.values().copied().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let mut told = Map::new();
    let mut sum = SignedDuration::ZERO;
    for (name, (first, last)) in spans {
        let time = last.duration_since(first);
        sum += time;
        told.insert(name, spelt(time));
    }
    told.insert("total_time_in_services".to_owned(), spelt(sum));
    let total = whole.map_or(SignedDuration::ZERO, |(first, last)| last.duration_since(first));
    told.insert("total_time".to_owned(), spelt(total));
    told
}

/// The field, unless it is empty: the contract leaves empty texts out.
pub(super) fn put(row: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        row.insert(name.to_owned(), Value::from(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_time_spent_is_told_per_service_and_source_and_in_total() {
        let moment = |service, source, seconds: &str| {
            let date = format!("2024-09-18T10:00:{seconds}Z").parse().unwrap();
            Moment { service, source, date }
        };
        let told = durations([
            moment("puptoo", "", "26.371"),
            moment("puptoo", "", "36.341"),
            moment("insights", "inventory", "33.350"),
            moment("insights", "inventory", "38.975"),
            moment("insights", "engine", "39.374"),
            moment("insights", "engine", "39.975"),
        ]);
        assert_eq!(told["puptoo:undefined"], "00:00:09.970000");
        assert_eq!(told["insights:inventory"], "00:00:05.625000");
        assert_eq!(told["insights:engine"], "00:00:00.601000");
        assert_eq!(told["total_time_in_services"], "00:00:16.196000");
        assert_eq!(told["total_time"], "00:00:13.604000");
        let days = durations([
            Moment { service: "s", source: "x", date: "2024-09-18T10:00:00Z".parse().unwrap() },
            Moment { service: "s", source: "x", date: "2024-09-20T11:00:00.5Z".parse().unwrap() },
        ]);
        assert_eq!(days["total_time"], "49:00:00.500000");
    }
}
