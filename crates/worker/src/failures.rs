//! What fails is said once, and then counted: an outage of minutes is a few lines in the log, not one a round of each loop.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use outbox::Error;
use telemetry::names;

/// While something goes on failing, it is said again so often, with how often it failed meanwhile.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What fails at present.
#[derive(Debug)]
pub struct Failures {
    said_every: Duration,
    /// By step; a lost database is one trouble, whichever steps notice it.
    failing: Mutex<HashMap<String, Failing>>,
    /// Each step's failures in a row, for the fleet to see.
    streaks: Mutex<HashMap<String, Streak>>,
}

/// Failures of a step in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streak {
    /// How many; zero: it goes well again.
    pub times: i32,
    /// SQLSTATE of the last.
    pub code: Option<String>,
    /// The last error.
    pub message: String,
    /// The fleet knows so many.
    told: i32,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    said_at: Instant,
    /// Failures that were not logged.
    untold: u64,
    /// It went well since; if it fails again soon, it is the same trouble.
    is_over: bool,
    is_over_told: bool,
}

/// What is to be said.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    First,
    Still { failures: u64, seconds: u64 },
    Recovered { failures: u64, seconds: u64 },
    Nothing,
}

impl Default for Failures {
    fn default() -> Self {
        Self { said_every: SAID_EVERY, failing: Mutex::default(), streaks: Mutex::default() }
    }
}

impl Failures {
    /// A step failed and will be tried again.
    pub fn failed(&self, step: &str, error: &Error) {
        names::STEP_FAILURES.add([step], 1);
        self.note_failure(step, error);
    }

    /// The same, of one destination: its failures and its successes are no other's.
    pub fn failed_at(&self, step: &str, destination: &str, error: &Error) {
        names::STEP_FAILURES.add([step], 1);
        self.note_failure(&at(step, destination), error);
    }

    fn note_failure(&self, step: &str, error: &Error) {
        names::DATABASE_ERRORS.add([error.kind()], 1);
        self.count(step, error);
        match self.note(key(step, error), Instant::now()) {
            Say::First if matches!(error, Error::Unavailable(_)) => {
                tracing::warn!(step, %error, "the database is away: every step waits and is tried again");
            }
            Say::First if matches!(error, Error::Unable(_)) => {
                tracing::error!(step, %error, "the database can do nothing now: every step waits and is tried again");
            }
            Say::First if matches!(error, Error::Unwelcome(_)) => {
                tracing::error!(step, %error, "there is no connection to the database: every step waits");
            }
            Say::First if error.is_of_connection() => {
                tracing::error!(step, %error, "there is no safe connection to the database: every step waits");
            }
            Say::First if error.is_transient() => {
                tracing::warn!(step, %error, "a step met another transaction; it is tried again")
            }
            Say::First => tracing::error!(step, %error, "a step failed; it is tried again"),
            Say::Still { failures, seconds } => {
                tracing::warn!(step, %error, failures, seconds, "it goes on failing; steps are tried again");
            }
            Say::Recovered { .. } | Say::Nothing => {}
        }
    }

    fn count(&self, step: &str, error: &Error) {
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        let streak = streaks.entry(step.to_owned()).or_default();
        streak.times = streak.times.saturating_add(1);
        (streak.code, streak.message) = (error.code().map(str::to_owned), error.to_string());
    }

    /// What the fleet does not know yet: steps that failed again, and steps that go well again.
    pub fn untold(&self) -> Vec<(String, Streak)> {
        let streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        let news = streaks.iter().filter(|(_, streak)| streak.times != streak.told);
        news.map(|(step, streak)| (step.clone(), streak.clone())).collect()
    }

    /// The fleet knows this now.
    pub fn told(&self, step: &str, times: i32) {
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        match streaks.get_mut(step) {
            Some(streak) if times == 0 && streak.times == 0 => drop(streaks.remove(step)),
            Some(streak) => streak.told = times,
            None => {}
        }
    }

    /// A step went well.
    pub fn went_well(&self, step: &str) {
        if let Some(streak) = self.streaks.lock().unwrap_or_else(PoisonError::into_inner).get_mut(step) {
            streak.times = 0;
        }
        let is_back = (!ASK_ASIDE.contains(&step)).then_some(AWAY);
        for key in [Some(step), is_back].into_iter().flatten() {
            if let Say::Recovered { failures, seconds } = self.end(key, Instant::now()) {
                tracing::info!(step, failures, seconds, "it goes well again");
            }
        }
    }

    /// A step went well at one destination.
    pub fn went_well_at(&self, step: &str, destination: &str) {
        self.went_well(&at(step, destination));
    }

    /// A destination is not served any more: what failed there fails no longer.
    pub fn ended(&self, destination: &str) {
        let ending = at("", destination);
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        streaks.iter_mut().filter(|(step, _)| step.ends_with(&ending)).for_each(|(_, streak)| streak.times = 0);
    }

    /// Something happened that is worth a line, but not each time: with how many there were since the last line.
    pub fn should_log(&self, key: &str) -> Option<u64> {
        match self.note(key, Instant::now()) {
            Say::First => Some(0),
            Say::Still { failures, .. } => Some(failures - 1),
            Say::Recovered { .. } | Say::Nothing => None,
        }
    }

    fn note(&self, key: &str, now: Instant) -> Say {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = failing.get_mut(key) else {
            let first = Failing { since: now, said_at: now, untold: 0, is_over: false, is_over_told: false };
            failing.insert(key.to_owned(), first);
            return Say::First;
        };
        let is_time = now.saturating_duration_since(known.said_at) >= self.said_every;
        if known.is_over && is_time {
            *known = Failing { since: now, said_at: now, untold: 0, is_over: false, is_over_told: false };
            return Say::First;
        }
        known.is_over = false;
        known.untold += 1;
        if !is_time {
            return Say::Nothing;
        }
        let said = Say::Still { failures: known.untold, seconds: (now - known.since).as_secs() };
        (known.untold, known.said_at, known.is_over_told) = (0, now, false);
        said
    }

    fn end(&self, key: &str, now: Instant) -> Say {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match failing.get_mut(key) {
            Some(known) if !known.is_over => {
                known.is_over = true;
                if std::mem::replace(&mut known.is_over_told, true) {
                    return Say::Nothing;
                }
                let said = Say::Recovered { failures: known.untold, seconds: (now - known.since).as_secs() };
                known.untold = 0;
                said
            }
            _ => Say::Nothing,
        }
    }
}

/// A step of one destination, by its name.
fn at(step: &str, destination: &str) -> String {
    format!("{step} at {destination}")
}

/// One trouble for all steps.
const AWAY: &str = "database";
/// What these ask first counts as empty where it cannot be asked (`crates/outbox/src/side.rs`), so that they go well while the
/// database is away: they do not tell that it is back.
const ASK_ASIDE: [&str; 3] = ["return_cured", "fold_apart", "fold_suspects"];

fn key<'a>(step: &'a str, error: &Error) -> &'a str {
    if error.is_of_connection() { AWAY } else { step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f6_an_outage_is_said_when_it_begins_once_a_minute_and_when_it_ends() {
        let (failures, begin) = (Failures::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(failures.note(AWAY, at(0)), Say::First);
        for second in 1..60 {
            assert_eq!(failures.note(AWAY, at(second)), Say::Nothing);
        }
        assert_eq!(failures.note(AWAY, at(60)), Say::Still { failures: 60, seconds: 60 });
        assert_eq!(failures.note(AWAY, at(61)), Say::Nothing);
        assert_eq!(failures.end(AWAY, at(62)), Say::Recovered { failures: 1, seconds: 62 });
        assert_eq!(failures.end(AWAY, at(63)), Say::Nothing);
        // it flutters: the same trouble is not logged again within the minute
        assert_eq!(failures.note(AWAY, at(64)), Say::Nothing);
        assert_eq!(failures.end(AWAY, at(65)), Say::Nothing);
        assert_eq!(failures.note(AWAY, at(300)), Say::First, "another outage");
    }

    #[test]
    fn e7_ten_thousand_of_a_kind_are_a_line_and_a_number() {
        let failures = Failures { said_every: Duration::ZERO, ..Failures::default() };
        assert_eq!(failures.should_log("aws rejected"), Some(0));
        assert_eq!(failures.should_log("aws rejected"), Some(0), "a minute later");
        let failures = Failures::default();
        let said = (0..10_000).filter_map(|_| failures.should_log("aws rejected")).count();
        assert_eq!((said, failures.should_log("aws conflict")), (1, Some(0)));
    }

    #[test]
    fn j3_each_destination_has_its_own_failures_in_a_row() {
        let (failures, error) = (Failures::default(), Error::Unavailable("gone".to_owned()));
        let untold = || {
            let mut untold: Vec<_> = failures.untold().into_iter().map(|(step, streak)| (step, streak.times)).collect();
            untold.sort();
            untold
        };
        let failing = |times| ("dispatch at aws".to_owned(), times);
        for times in 1..=6 {
            failures.failed_at("dispatch", "aws", &error);
            failures.went_well_at("dispatch", "aws-us");
            failures.went_well_at("dispatch", "azure");
            assert_eq!(untold(), [failing(times)], "another's success ends no streak");
        }
        failures.told("dispatch at aws", 6);
        failures.failed_at("slots", "aws-us", &error);
        failures.ended("aws");
        assert_eq!(untold(), [failing(0), ("slots at aws-us".to_owned(), 1)], "what is not served fails no longer");
    }

    #[test]
    fn f6_a_lost_database_is_one_trouble_whoever_notices_it() {
        let away = || Error::Unavailable("gone".to_owned());
        assert_eq!((key("fold", &away()), key("cut", &away())), (AWAY, AWAY));
        let other = Error::Unexpected { code: "42501".to_owned(), message: "permission denied".to_owned() };
        assert_eq!(key("fold", &other), "fold");
    }
}
