//! The tracker's rule as a model of a few lines: what it says of a request's messages, the database must say, too.

use std::collections::BTreeMap;

/// A message: service, source (empty: none), status, and its date as a number.
pub type Word = (&'static str, &'static str, &'static str, i64);

/// Whether its last end was a success, whether it is open, and where it first failed since its last success.
type Unit = (Option<bool>, bool, Option<usize>);

/// The outcome of these messages, the service that failed first, and the services that are open, as
/// `format('%s %s %s', outcome, failed_service, open_services)` of `postmeter.request`. It reads dates and numbers
/// only.
#[must_use]
pub fn model_verdict(words: &[Word]) -> String {
    let mut ordered: Vec<(usize, &Word)> = words.iter().enumerate().collect();
    ordered.sort_by_key(|(number, word)| (word.3, *number));
    let mut units: BTreeMap<(&str, &str), Unit> = BTreeMap::new();
    for (place, (_, (service, source, status, _))) in ordered.into_iter().enumerate() {
        let (ended_well, is_open, first_failed) = units.entry((service, source)).or_insert((None, false, None));
        match *status {
            "success" => (*ended_well, *is_open, *first_failed) = (Some(true), false, None),
            "error" => (*ended_well, *is_open, *first_failed) = (Some(false), false, first_failed.or(Some(place))),
            "received" | "processing" => *is_open = *ended_well != Some(false),
            _ => *is_open = *is_open || ended_well.is_none(),
        }
    }
    let failed = units.iter().filter(|(_, unit)| unit.0 == Some(false)).min_by_key(|(_, unit)| unit.2);
    let names_sources = |service: &str| units.keys().any(|(of, source)| *of == service && !source.is_empty());
    let mut open: Vec<&str> = units
        .iter()
        .filter(|((service, source), unit)| unit.1 && !(source.is_empty() && names_sources(service)))
        .map(|((service, _), _)| *service)
        .collect();
    open.dedup();
    let outcome = if failed.is_some() {
        "failed"
    } else if open.is_empty() {
        "succeeded"
    } else {
        "open"
    };
    format!("{outcome} {} {{{}}}", failed.map_or("", |((service, _), _)| service), open.join(","))
}

/// Numbers that look random and are the same each time.
pub struct Dice(pub u64);

impl Dice {
    /// Of 0 to `sides - 1`.
    pub fn roll(&mut self, sides: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides).expect("small")
    }

    /// The items in another order.
    pub fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            let other = self.roll(last as u64 + 1);
            items.swap(last, other);
        }
        items
    }
}
