//! What Google last said of each consumer, for a while.
//!
//! Google asks to keep a check's result for about a minute, and to go on with the last one for longer while checks fail
//! on its side. Only a yes lives longer: a record is never held on the word of an old no.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a verdict stands.
const FRESH: Duration = Duration::from_secs(60);
/// How long a yes stands while no check succeeds.
const LASTING: Duration = Duration::from_secs(3_600);
/// Consumers that are remembered. Beyond it some are asked about more often.
const CONSUMERS_MAX: usize = 10_000;

/// Whether a consumer may be billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    Entitled,
    /// It may not, and why.
    NotEntitled(String),
}

/// The last verdicts, by consumer.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    kept: Mutex<HashMap<String, (Verdict, Instant)>>,
}

impl Verdicts {
    /// The verdict of the last minute, if there is one.
    pub(super) fn fresh(&self, consumer: &str) -> Option<Verdict> {
        self.within(consumer, FRESH)
    }

    /// Whether the last verdict, at most an hour old, was a yes: for when a check fails.
    pub(super) fn was_entitled(&self, consumer: &str) -> bool {
        self.within(consumer, LASTING) == Some(Verdict::Entitled)
    }

    /// Keeps a verdict of now.
    pub(super) fn keep(&self, consumer: &str, verdict: Verdict) {
        let mut kept = self.kept();
        if kept.len() >= CONSUMERS_MAX && !kept.contains_key(consumer) {
            kept.retain(|_, (_, at)| at.elapsed() < FRESH);
            if kept.len() >= CONSUMERS_MAX {
                kept.clear();
            }
        }
        kept.insert(consumer.to_owned(), (verdict, Instant::now()));
    }

    /// Forgets a consumer: a report contradicted the verdict.
    pub(super) fn forget(&self, consumer: &str) {
        self.kept().remove(consumer);
    }

    fn within(&self, consumer: &str, age: Duration) -> Option<Verdict> {
        self.kept().get(consumer).filter(|(_, at)| at.elapsed() < age).map(|(verdict, _)| verdict.clone())
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, (Verdict, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn let_pass(verdicts: &Verdicts, time: Duration) {
        for (_, at) in verdicts.kept().values_mut() {
            *at -= time;
        }
    }

    #[test]
    fn d6_a_verdict_stands_for_a_minute_and_a_yes_for_an_hour_of_failing_checks() {
        let verdicts = Verdicts::default();
        let no = Verdict::NotEntitled("BILLING_DISABLED".to_owned());
        verdicts.keep("yes", Verdict::Entitled);
        verdicts.keep("no", no.clone());
        assert_eq!((verdicts.fresh("yes"), verdicts.fresh("no")), (Some(Verdict::Entitled), Some(no)));
        let_pass(&verdicts, FRESH);
        assert_eq!((verdicts.fresh("yes"), verdicts.fresh("no")), (None, None));
        assert!(verdicts.was_entitled("yes") && !verdicts.was_entitled("no") && !verdicts.was_entitled("other"));
        let_pass(&verdicts, LASTING);
        assert!(!verdicts.was_entitled("yes"));
    }

    #[test]
    fn f4_verdicts_are_bounded() {
        let verdicts = Verdicts::default();
        for number in 0..3 * CONSUMERS_MAX {
            verdicts.keep(&format!("project:{number}"), Verdict::Entitled);
            assert!(verdicts.kept().len() <= CONSUMERS_MAX);
        }
    }

    #[test]
    fn d6_a_contradicted_verdict_is_forgotten() {
        let verdicts = Verdicts::default();
        verdicts.keep("project:acme", Verdict::Entitled);
        verdicts.forget("project:acme");
        assert!(!verdicts.was_entitled("project:acme"));
    }
}
