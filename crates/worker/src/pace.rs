//! The pace of quotas, as this worker sees it: it counts what its calls are answered, tells the fleet while that matters,
//! and keeps the wait that a marketplace asked for (`crates/outbox/src/pace.rs`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outbox::pace::Standing;
use remittance::pace::Count;
use remittance::{Answer, Outcome};
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::directory::Served;

/// How often the fleet is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// What was counted longer ago says nothing of now.
const COUNTED_FOR: Duration = Duration::from_secs(10);
/// A wait of theirs that is longer is not waited for with claims in hand.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Nothing is claimed that long before its slot of the quota.
pub const CLAIMED_FOR: Duration = Duration::from_secs(2);

/// Those of all quotas.
#[derive(Debug, Default)]
pub struct Paces {
    quotas: Mutex<HashMap<i32, Local>>,
}

#[derive(Debug)]
struct Local {
    since: Instant,
    count: Count,
    told_at: Option<Instant>,
    rate: Option<f64>,
    wait_until: Option<Instant>,
    /// A wait that the fleet has not heard of.
    untold_wait: bool,
}

impl Local {
    fn new(now: Instant) -> Self {
        Self { since: now, count: Count::default(), told_at: None, rate: None, wait_until: None, untold_wait: false }
    }
}

impl Paces {
    fn quotas(&self) -> MutexGuard<'_, HashMap<i32, Local>> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call was answered.
    fn heard(&self, quota: i32, answers: &[Answer], now: Instant) {
        let heard = Heard::of(answers);
        let mut quotas = self.quotas();
        let local = quotas.entry(quota).or_insert_with(|| Local::new(now));
        if now.duration_since(local.since) > COUNTED_FOR {
            (local.since, local.count) = (now, Count::default());
        }
        match heard {
            Heard::Nothing => return,
            Heard::Wait(after) => {
                local.wait_until = local.wait_until.max(Some(now + after));
                local.untold_wait = true;
            }
            Heard::Passed => local.count.passed += 1.0,
            Heard::Fault => local.count.faults += 1.0,
            Heard::Other => {}
        }
        local.count.calls += 1.0;
    }

    /// What the fleet is to be told now, if anything.
    fn to_tell(&self, quota: i32, now: Instant) -> Option<(Count, Option<Duration>)> {
        let mut quotas = self.quotas();
        let local = quotas.get_mut(&quota)?;
        let is_time = local.told_at.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY);
        let matters = local.count.faults > 0.0 || (local.rate.is_some() && local.count.calls > 0.0);
        let wait = local.wait_until.filter(|_| std::mem::take(&mut local.untold_wait));
        if wait.is_none() && !(is_time && matters) {
            return None;
        }
        let seconds = now.duration_since(local.since).as_secs_f64();
        let count = Count { seconds, ..std::mem::take(&mut local.count) };
        (local.since, local.told_at) = (now, Some(now));
        Some((count, wait.map(|until| until.saturating_duration_since(now))))
    }

    /// Takes over where the fleet says a quota stands.
    fn stands(&self, standing: Standing, now: Instant) {
        let mut quotas = self.quotas();
        let local = quotas.entry(standing.quota).or_insert_with(|| Local::new(now));
        local.rate = standing.rate;
        if !standing.wait.is_zero() {
            local.wait_until = local.wait_until.max(Some(now + standing.wait));
        }
    }

    /// Takes over what the fleet says of all quotas: those it does not name have no pace.
    pub fn merge(&self, all: &[Standing], now: Instant) {
        for (quota, local) in self.quotas().iter_mut() {
            if !all.iter().any(|standing| standing.quota == *quota) {
                local.rate = None;
            }
        }
        all.iter().for_each(|standing| self.stands(*standing, now));
    }

    /// Its pace, if it has one.
    pub fn rate(&self, quota: i32) -> Option<f64> {
        self.quotas().get(&quota)?.rate
    }

    /// How long they want no call.
    pub fn wait(&self, quota: i32, now: Instant) -> Option<Duration> {
        let until = self.quotas().get(&quota)?.wait_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// What a call says of the pace.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Heard {
    Passed,
    Fault,
    Wait(Duration),
    Other,
    Nothing,
}

impl Heard {
    /// One record that was taken is enough; then their wait, then a fault.
    fn of(answers: &[Answer]) -> Self {
        let of = |answer: &Answer| match &answer.outcome {
            Outcome::HandedBack
            | Outcome::DryRun
            | Outcome::Unmapped { .. }
            | Outcome::NoCredentials { .. }
            | Outcome::NotSent { .. } => (0, Self::Nothing),
            Outcome::Throttled { after: Some(after) } if !after.is_zero() => (3, Self::Wait(*after)),
            Outcome::Throttled { .. } | Outcome::Unavailable { .. } => (2, Self::Fault),
            Outcome::Unknown { .. }
            | Outcome::Unrecognised { record_alone: false, .. }
            | Outcome::Unauthorised { .. }
            | Outcome::Doubtful { .. } => (1, Self::Other),
            _ => (4, Self::Passed),
        };
        answers.iter().map(of).max_by_key(|(weight, _)| *weight).map_or(Self::Nothing, |(_, heard)| heard)
    }
}

impl Worker {
    /// A call's answers, for the pace of its quota.
    pub(crate) fn heard_pace(&self, served: &Served, answers: &[Answer]) {
        self.paces.heard(served.destination.quota, answers, Instant::now());
    }

    /// Tells the fleet what was counted of a quota, if it is time.
    pub(crate) async fn tell_pace(&self, served: &Served) -> Result<(), outbox::Error> {
        let (quota, now) = (served.destination.quota, Instant::now());
        if let Some((count, wait)) = self.paces.to_tell(quota, now) {
            let standing = outbox::pace::note(&self.database, quota, count, wait).await?;
            self.paces.stands(standing, Instant::now());
        }
        Ok(())
    }

    /// Waits as long as they asked for; `false`: that is too long to wait for with claims in hand, or the worker stops.
    pub(crate) async fn wait_for_them(&self, served: &Served, stop: &CancellationToken) -> bool {
        while let Some(left) = self.paces.wait(served.destination.quota, Instant::now()) {
            if left > PATIENCE || stop.is_cancelled() {
                return false;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = stop.cancelled() => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled(seconds: Option<u64>) -> Answer {
        Answer::bare(Outcome::Throttled { after: seconds.map(Duration::from_secs) })
    }

    #[test]
    fn j9_their_wait_is_kept_and_told_at_once_and_lowers_nothing() {
        let (paces, now) = (Paces::default(), Instant::now());
        paces.heard(1, &[throttled(Some(30))], now);
        assert_eq!(paces.wait(1, now), Some(Duration::from_secs(30)));
        let (count, wait) = paces.to_tell(1, now).expect("at once");
        assert_eq!((count.faults, wait), (0.0, Some(Duration::from_secs(30))));
        assert_eq!(paces.to_tell(1, now), None);
        assert_eq!(paces.wait(1, now + Duration::from_secs(30)), None, "and not longer");
        assert_eq!(paces.wait(2, now), None);
    }

    #[test]
    fn j9_nothing_is_told_while_all_is_well_and_faults_once_a_second() {
        let (paces, now) = (Paces::default(), Instant::now());
        paces.heard(1, &[Answer::bare(Outcome::Accepted)], now);
        assert_eq!(paces.to_tell(1, now), None);
        paces.heard(1, &[throttled(None)], now);
        let (count, wait) = paces.to_tell(1, now).expect("a fault");
        assert_eq!((count.calls, count.passed, count.faults, wait), (2.0, 1.0, 1.0, None));
        paces.heard(1, &[Answer::bare(Outcome::Unavailable { code: "503".to_owned() })], now);
        assert_eq!(paces.to_tell(1, now), None, "a moment later");
        assert!(paces.to_tell(1, now + TOLD_EVERY).is_some_and(|(count, _)| count.faults == 1.0));
    }

    #[test]
    fn j9_a_quota_that_the_fleet_no_longer_paces_is_free() {
        let (paces, now) = (Paces::default(), Instant::now());
        paces.merge(&[Standing { quota: 1, rate: Some(3.0), wait: Duration::ZERO }], now);
        assert_eq!(paces.rate(1), Some(3.0));
        paces.merge(&[], now);
        assert_eq!(paces.rate(1), None);
    }
}
