//! The pace of quotas, as this worker sees it: it counts what its calls are answered, tells the fleet while that matters,
//! and keeps the wait that a marketplace asked for (`crates/outbox/src/pace.rs`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outbox::breaker::Shared;
use outbox::pace::{Standing, Wait};
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
    /// A wait that the fleet has not heard of. It is kept until it was told.
    untold: Option<Asked>,
    /// The wait that the fleet knows of. A person may end it, so it is never longer than the fleet says.
    wait_until: Option<Instant>,
    /// When the fleet was last asked about it.
    stands_since: Option<Instant>,
}

/// A wait that a marketplace asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    until: Instant,
    heard_at: Instant,
}

/// What the fleet is to be told of a quota.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Telling {
    since: Instant,
    count: Count,
    wait: Option<Asked>,
}

impl Local {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: Count::default(),
            told_at: None,
            rate: None,
            untold: None,
            wait_until: None,
            stands_since: None,
        }
    }

    /// Where the fleet says that the quota stands, unless it was asked later meanwhile.
    fn stands(&mut self, standing: Standing, asked: Instant, now: Instant) {
        if self.stands_since.is_some_and(|since| since > asked) {
            return;
        }
        self.rate = standing.rate;
        self.wait_until = Some(now + standing.wait).filter(|_| !standing.wait.is_zero());
        self.stands_since = Some(asked);
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
        // also where some of its records were taken: what they ask for is about the next call
        if let Some(after) = answers.iter().filter_map(|answer| answer.outcome.after()).max().filter(|it| !it.is_zero())
        {
            let until = local.untold.map_or(now + after, |wait| wait.until.max(now + after));
            local.untold = Some(Asked { until, heard_at: now });
        }
        match heard {
            Heard::Nothing => return,
            Heard::Passed => local.count.passed += 1.0,
            Heard::Fault => local.count.faults += 1.0,
            Heard::Wait | Heard::Other => {}
        }
        local.count.calls += 1.0;
    }

    /// What the fleet must learn now, if anything. The caller reports the result with [`Self::told`] or
    /// [`Self::not_told`].
    fn to_tell(&self, quota: i32, now: Instant) -> Option<Telling> {
        let mut quotas = self.quotas();
        let local = quotas.get_mut(&quota)?;
        let is_time = local.told_at.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY);
        let matters = local.count.faults > 0.0 || (local.rate.is_some() && local.count.calls > 0.0);
        if local.untold.is_none() && !(is_time && matters) {
            return None;
        }
        let telling = Telling { since: local.since, count: std::mem::take(&mut local.count), wait: local.untold };
        (local.since, local.told_at) = (now, Some(now));
        Some(telling)
    }

    /// The fleet was told, and says where the quota stands now.
    fn told(&self, telling: Telling, standing: Standing, now: Instant) {
        let mut quotas = self.quotas();
        let local = quotas.entry(standing.quota).or_insert_with(|| Local::new(now));
        // another may have been heard meanwhile
        if local.untold == telling.wait {
            local.untold = None;
        }
        local.stands(standing, now, now);
    }

    /// The fleet could not be told: it counts as not taken.
    fn not_told(&self, quota: i32, telling: Telling) {
        if let Some(local) = self.quotas().get_mut(&quota) {
            local.since = telling.since;
            local.count.calls += telling.count.calls;
            local.count.passed += telling.count.passed;
            local.count.faults += telling.count.faults;
        }
    }

    /// Quotas of which the fleet has not heard that they wait.
    fn untold(&self) -> Vec<i32> {
        self.quotas().iter().filter(|(_, local)| local.untold.is_some()).map(|(quota, _)| *quota).collect()
    }

    /// Takes over what the fleet said of all quotas when it was asked: those it does not name have no pace, and do not wait.
    pub fn merge(&self, all: &[Standing], asked: Instant, now: Instant) {
        let mut quotas = self.quotas();
        for (quota, local) in quotas.iter_mut() {
            if !all.iter().any(|standing| standing.quota == *quota) {
                local.stands(Standing { quota: *quota, rate: None, wait: Duration::ZERO }, asked, now);
            }
        }
        for standing in all {
            quotas.entry(standing.quota).or_insert_with(|| Local::new(now)).stands(*standing, asked, now);
        }
    }

    /// Its pace, if it has one.
    pub fn rate(&self, quota: i32) -> Option<f64> {
        self.quotas().get(&quota)?.rate
    }

    /// How long they want no call.
    pub fn wait(&self, quota: i32, now: Instant) -> Option<Duration> {
        let quotas = self.quotas();
        let local = quotas.get(&quota)?;
        let until = local.wait_until.max(local.untold.map(|wait| wait.until))?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// What a call says of the pace.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Heard {
    Passed,
    Fault,
    Wait,
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
            // they say themselves how long: a slower pace would add to it
            Outcome::Throttled { after: Some(after) } | Outcome::Unavailable { after: Some(after), .. }
                if !after.is_zero() =>
            {
                (3, Self::Wait)
            }
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
    pub(crate) async fn tell_pace(&self, quota: i32) -> Result<(), outbox::Error> {
        let now = Instant::now();
        let Some(telling) = self.paces.to_tell(quota, now) else { return Ok(()) };
        let seconds = now.duration_since(telling.since).as_secs_f64();
        let wait = telling.wait.map(|wait| Wait {
            left: wait.until.saturating_duration_since(now),
            heard: now.duration_since(wait.heard_at),
        });
        match outbox::pace::note(&self.database, quota, Count { seconds, ..telling.count }, wait).await {
            Ok(standing) => self.paces.told(telling, standing, Instant::now()),
            Err(error) => {
                self.paces.not_told(quota, telling);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tells the fleet of waits that it could not be told of when they were heard, and takes over how all quotas stand.
    pub(crate) async fn read_paces(&self) -> Result<Vec<Shared>, outbox::Error> {
        for quota in self.paces.untold() {
            match self.tell_pace(quota).await {
                Ok(()) => self.failures.went_well("pace"),
                // it is kept, and holds here meanwhile
                Err(error) => self.failures.failed("pace", &error),
            }
        }
        let asked = Instant::now();
        let (shared, paces) = outbox::breaker::read(&self.database).await?;
        self.paces.merge(&paces, asked, Instant::now());
        Ok(shared)
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

    fn stands(seconds: u64) -> Standing {
        Standing { quota: 1, rate: None, wait: Duration::from_secs(seconds) }
    }

    #[test]
    fn j9_their_wait_is_kept_until_it_was_told_and_lowers_nothing() {
        let (paces, now) = (Paces::default(), Instant::now());
        paces.heard(1, &[throttled(Some(30))], now);
        assert_eq!(paces.wait(1, now), Some(Duration::from_secs(30)));
        let telling = paces.to_tell(1, now).expect("at once");
        assert_eq!(
            (telling.count.faults, telling.wait.map(|wait| wait.until - now)),
            (0.0, Some(Duration::from_secs(30)))
        );
        // the database is away
        paces.not_told(1, telling);
        assert_eq!(paces.untold(), [1]);
        let later = now + Duration::from_secs(5);
        // what others know meanwhile does not shorten it
        paces.merge(&[], later, later);
        assert_eq!(paces.wait(1, later), Some(Duration::from_secs(25)));
        let again = paces.to_tell(1, later).expect("it was not told");
        assert_eq!((again.count.calls, again.since, again.wait), (1.0, now, telling.wait));
        paces.told(again, stands(25), later);
        assert_eq!((paces.untold(), paces.to_tell(1, later)), (vec![], None));
        assert_eq!(paces.wait(1, later), Some(Duration::from_secs(25)));
        assert_eq!(paces.wait(1, now + Duration::from_secs(30)), None, "and not longer");
        assert_eq!(paces.wait(2, now), None);
    }

    #[test]
    fn j9_their_wait_counts_beside_accepted_records_and_that_of_a_503_as_that_of_a_429() {
        let (paces, now) = (Paces::default(), Instant::now());
        let unavailable = Outcome::Unavailable { code: "http_503".to_owned(), after: Some(Duration::from_secs(7)) };
        paces.heard(1, &[Answer::bare(Outcome::Accepted), Answer::bare(unavailable.clone())], now);
        assert_eq!(paces.wait(1, now), Some(Duration::from_secs(7)));
        assert_eq!(paces.to_tell(1, now).expect("a wait").count.passed, 1.0);
        paces.heard(2, &[Answer::bare(unavailable)], now);
        let telling = paces.to_tell(2, now).expect("a wait");
        assert_eq!((telling.count.calls, telling.count.faults), (1.0, 0.0), "it lowers nothing");
        paces.heard(3, &[throttled(Some(0))], now);
        assert_eq!((paces.wait(3, now), paces.to_tell(3, now).expect("a fault").count.faults), (None, 1.0));
    }

    #[test]
    fn j9_a_wait_that_the_fleet_no_longer_knows_is_over() {
        let (paces, now) = (Paces::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        paces.merge(&[stands(3600)], now, now);
        assert_eq!(paces.wait(1, now), Some(Duration::from_secs(3600)));
        // a person ended it
        paces.merge(&[], at(1), at(1));
        assert_eq!(paces.wait(1, at(1)), None);
        // what was asked before it was told is not news
        paces.heard(1, &[throttled(Some(60))], at(2));
        let telling = paces.to_tell(1, at(2)).expect("a wait");
        paces.told(telling, stands(60), at(4));
        paces.merge(&[], at(3), at(5));
        assert!(paces.wait(1, at(5)).is_some());
        // one that is heard while the fleet is told of another is kept
        let telling = {
            paces.heard(1, &[throttled(Some(90))], at(6));
            paces.to_tell(1, at(6)).expect("a wait")
        };
        paces.heard(1, &[throttled(Some(120))], at(7));
        paces.told(telling, stands(90), at(8));
        assert_eq!((paces.untold(), paces.wait(1, at(8))), (vec![1], Some(Duration::from_secs(119))));
    }

    #[test]
    fn j9_nothing_is_told_while_all_is_well_and_faults_once_a_second() {
        let (paces, now) = (Paces::default(), Instant::now());
        paces.heard(1, &[Answer::bare(Outcome::Accepted)], now);
        assert_eq!(paces.to_tell(1, now), None);
        paces.heard(1, &[throttled(None)], now);
        let telling = paces.to_tell(1, now).expect("a fault");
        let Count { calls, passed, faults, .. } = telling.count;
        assert_eq!((calls, passed, faults, telling.wait), (2.0, 1.0, 1.0, None));
        paces.heard(1, &[Answer::bare(Outcome::Unavailable { code: "503".to_owned(), after: None })], now);
        assert_eq!(paces.to_tell(1, now), None, "a moment later");
        assert!(paces.to_tell(1, now + TOLD_EVERY).is_some_and(|telling| telling.count.faults == 1.0));
    }

    #[test]
    fn j9_a_quota_that_the_fleet_no_longer_paces_is_free() {
        let (paces, now) = (Paces::default(), Instant::now());
        paces.merge(&[Standing { quota: 1, rate: Some(3.0), wait: Duration::ZERO }], now, now);
        assert_eq!(paces.rate(1), Some(3.0));
        paces.merge(&[], now, now);
        assert_eq!(paces.rate(1), None);
    }
}
