//! The one decision: what becomes of a delivery after an answer. `docs/states.md` is its chart.

use std::time::Duration;

use jiff::Timestamp;

use crate::{Outcome, Reason, RetrySchedule, Status};

/// Where a delivery in flight stands when its outcome comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// An earlier attempt may have arrived and nothing has resolved it.
    pub maybe_billed: bool,
    /// When the earliest attempt that may have arrived was made; the marketplace's memory counts from here.
    pub maybe_since: Option<Timestamp>,
    /// Tries counted so far, without this one.
    pub tries: u32,
    /// Records in the call that brought this outcome.
    pub batch: u32,
    /// How often its buyer was refused alone, this time included, without anybody's knowing yet whose fault it is.
    pub refusals: u32,
    /// Last moment at which it may be sent.
    pub deadline: Timestamp,
    /// Spreads retries; the delivery's id.
    pub seed: u64,
}

/// What the destination's settings and the marketplace's capabilities say about going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// When to try again.
    pub retry: RetrySchedule,
    /// How long the marketplace recognises a repeated key, counted from the earliest attempt that may have arrived;
    /// `None`: as long as it takes the record at all.
    pub memory: Option<Duration>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The next status.
    pub status: Status,
    /// Why it is held, where it is.
    pub reason: Option<Reason>,
    /// Whether it may have been billed from now on.
    pub maybe_billed: bool,
    /// Whether this attempt counts against the retry policy.
    pub is_try: bool,
    /// With `due`: not before this delay from now. `None`: at once.
    pub delay: Option<Duration>,
    /// With `due` after a refused batch: at most so many records in its next call.
    pub batch_limit: Option<u32>,
}

/// So long before the deadline, up to twice as long, the last try is made.
const LAST_TRY: Duration = Duration::from_secs(20);
/// With so little left before the deadline nothing is hurried any more.
const TOO_LATE: Duration = Duration::from_secs(1);

impl Next {
    const fn end(status: Status, maybe_billed: bool) -> Self {
        Self { status, reason: None, maybe_billed, is_try: true, delay: None, batch_limit: None }
    }

    const fn held(reason: Reason, maybe_billed: bool) -> Self {
        Self { status: Status::Held, reason: Some(reason), maybe_billed, is_try: true, delay: None, batch_limit: None }
    }

    const fn again(maybe_billed: bool, is_try: bool, delay: Option<Duration>) -> Self {
        Self { status: Status::Due, reason: None, maybe_billed, is_try, delay, batch_limit: None }
    }
}

/// Maps an outcome to the next status. Pure: the same arguments give the same answer, on any machine, at any time.
///
/// Two rules stand above all others: only an outcome that proves acceptance leads to `accepted`, and a delivery that
/// may have been billed leaves the path of evidence only by evidence or by a person.
#[must_use]
pub fn decide(standing: &Standing, outcome: &Outcome, policy: &Policy, now: Timestamp) -> Next {
    let maybe = standing.maybe_billed;
    match outcome {
        Outcome::Accepted => Next::end(Status::Accepted, false),
        // Theirs shows our very quantity (the marketplace's code says Conflict where it does not), or one of our
        // earlier attempts may have arrived: it is ours.
        Outcome::Duplicate { shown } if shown.is_some() || maybe => Next::end(Status::Accepted, false),
        Outcome::Duplicate { .. } | Outcome::Conflict { .. } => Next::end(Status::Conflict, false),
        Outcome::BatchRefused { .. } | Outcome::Doubtful { .. } if standing.batch > 1 => {
            Next { batch_limit: Some(standing.batch.div_ceil(2)), ..Next::again(maybe, false, None) }
        }
        // A refusal of this attempt says nothing about an earlier one that may have been taken.
        Outcome::Rejected { .. }
        | Outcome::NotEntitled { .. }
        | Outcome::BatchRefused { .. }
        | Outcome::TooOld { .. }
            if maybe =>
        {
            Next::end(Status::Unknown, true)
        }
        // Another subscription, or the same one made active, may let the very same bytes pass: it waits for that.
        Outcome::NotEntitled { .. } => Next::held(Reason::InvalidSubscription, false),
        Outcome::Rejected { .. } | Outcome::BatchRefused { .. } => Next::end(Status::Rejected, false),
        Outcome::TooOld { .. } => Next::end(Status::Expired, false),
        // Their own wait is the wait: a longer one would only lose time before the deadline.
        Outcome::Throttled { after } => {
            let delay = after.unwrap_or_else(|| policy.retry.delay(1, standing.seed));
            Next::again(maybe, false, Some(in_time(standing, now, delay)))
        }
        Outcome::Doubtful { .. } => {
            let delay = policy.retry.delay(standing.refusals.max(1), standing.seed);
            Next::again(maybe, false, Some(in_time(standing, now, delay)))
        }
        Outcome::Unauthorised { .. } | Outcome::NotSent { .. } | Outcome::NoCredentials { .. } => {
            Next::again(maybe, false, Some(in_time(standing, now, policy.retry.delay(1, standing.seed))))
        }
        Outcome::Unrecognised { record_alone: true, .. } => Next::held(Reason::UnrecognisedAnswer, true),
        Outcome::Unavailable { after, .. } => send_again(standing, policy, now, false, *after),
        Outcome::Unknown { .. } | Outcome::Unrecognised { .. } => send_again(standing, policy, now, true, None),
        Outcome::Unmapped { .. } => Next::held(Reason::UnmappedDimension, maybe),
        Outcome::DryRun if maybe => Next::end(Status::Unknown, true),
        Outcome::DryRun => Next::end(Status::DryRun, false),
        Outcome::HandedBack => Next::again(maybe, false, None),
    }
}

/// A wait that would last beyond the deadline ends shortly before it: one last try is made. What failed together does
/// not come back in the same second. Where even that is over, half of what is left is waited, down to a second.
fn in_time(standing: &Standing, now: Timestamp, delay: Duration) -> Duration {
    let before = LAST_TRY + Duration::from_secs(standing.seed % LAST_TRY.as_secs());
    let left = Duration::try_from(standing.deadline.duration_since(now)).unwrap_or_default();
    match left.checked_sub(before) {
        Some(last) if last < delay => last,
        None if left <= delay && left > TOO_LATE => left / 2,
        _ => delay,
    }
}

/// After an attempt that may have arrived: the same bytes with the same key, as long as the marketplace would
/// recognise them and the policy allows; after that only evidence or a person.
fn send_again(
    standing: &Standing,
    policy: &Policy,
    now: Timestamp,
    is_try: bool,
    their_wait: Option<Duration>,
) -> Next {
    let tries = standing.tries.saturating_add(u32::from(is_try));
    let since = standing.maybe_since.unwrap_or(now);
    let is_forgotten = |delay: Duration| {
        let next_at = now.checked_add(delay).unwrap_or(Timestamp::MAX);
        policy.memory.is_some_and(|memory| since.checked_add(memory).is_ok_and(|end| next_at >= end))
    };
    let ours = in_time(standing, now, policy.retry.delay(tries.max(1), standing.seed));
    // their own wait is the wait, unless it would outlast their memory
    let theirs = their_wait.map(|wait| in_time(standing, now, wait)).filter(|wait| !is_forgotten(*wait));
    let delay = theirs.unwrap_or(ours);
    let forgotten = is_forgotten(delay);
    let exhausted = is_try && policy.retry.tries_max.is_some_and(|max| tries >= max);
    if forgotten || exhausted {
        Next { is_try, ..Next::end(Status::Unknown, true) }
    } else {
        Next::again(true, is_try, Some(delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quantity;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn standing(maybe_billed: bool, batch: u32) -> Standing {
        let maybe_since = maybe_billed.then_some(NOW);
        Standing { maybe_billed, maybe_since, tries: 0, batch, refusals: 0, deadline: Timestamp::MAX, seed: 7 }
    }

    fn policy(tries_max: Option<u32>, memory: Option<Duration>) -> Policy {
        Policy { retry: RetrySchedule { tries_max, ..RetrySchedule::default() }, memory }
    }

    fn every_outcome() -> Vec<Outcome> {
        Outcome::WORDS
            .iter()
            .map(|word| Outcome::from_parts(word, Some("x".into()), None, None).expect("a known word"))
            .collect()
    }

    fn next(maybe: bool, batch: u32, outcome: &Outcome) -> Next {
        decide(&standing(maybe, batch), outcome, &policy(None, None), NOW)
    }

    #[test]
    fn d10_only_proof_of_acceptance_is_accepted() {
        for maybe in [false, true] {
            for outcome in every_outcome() {
                let accepted = next(maybe, 1, &outcome).status == Status::Accepted;
                let proof =
                    matches!(outcome, Outcome::Accepted) || (maybe && matches!(outcome, Outcome::Duplicate { .. }));
                assert_eq!(accepted, proof, "{outcome:?} maybe billed {maybe}");
            }
        }
    }

    #[test]
    fn e12_maybe_billed_is_left_by_evidence_only() {
        for outcome in every_outcome() {
            let next = next(true, 1, &outcome);
            let evidence = matches!(outcome, Outcome::Accepted | Outcome::Duplicate { .. } | Outcome::Conflict { .. });
            assert_eq!(next.maybe_billed, !evidence, "{outcome:?}");
            assert!(
                !matches!(next.status, Status::Expired | Status::Rejected | Status::DryRun),
                "{outcome:?} moved a remittance that may have been billed to {}",
                next.status
            );
        }
    }

    #[test]
    fn d2_a_refused_batch_is_halved_and_spends_no_tries() {
        let refused = Outcome::BatchRefused { code: "InvalidUsageDimensionException".into() };
        let halves: Vec<_> = [25, 13, 7, 4, 2].map(|n| next(false, n, &refused)).into_iter().collect();
        assert!(halves.iter().all(|n| n.status == Status::Due && !n.is_try && n.delay.is_none()));
        assert_eq!(halves.iter().map(|n| n.batch_limit).collect::<Vec<_>>(), [13, 7, 4, 2, 1].map(Some));
        assert_eq!(next(false, 1, &refused).status, Status::Rejected);
    }

    #[test]
    fn d3_a_duplicate_without_an_earlier_attempt_is_a_conflict() {
        assert_eq!(next(false, 1, &Outcome::Duplicate { shown: None }).status, Status::Conflict);
        assert_eq!(next(true, 1, &Outcome::Duplicate { shown: None }).status, Status::Accepted);
        let shown = Some(Quantity::from(5));
        assert_eq!(next(false, 1, &Outcome::Duplicate { shown }).status, Status::Accepted);
        assert_eq!(next(true, 1, &Outcome::Conflict { shown }).status, Status::Conflict);
    }

    #[test]
    fn d9_a_fault_of_the_destination_spends_no_try() {
        for outcome in every_outcome().iter().filter(|o| o.is_destination_fault()) {
            let next = next(false, 25, outcome);
            assert_eq!((next.status, next.is_try), (Status::Due, false), "{outcome:?}");
            assert!(next.delay.is_some(), "{outcome:?}");
        }
    }

    #[test]
    fn e1_an_unknown_is_sent_again_while_remembered() {
        let unknown = Outcome::Unknown { code: "timeout".into() };
        let policy = policy(None, Some(Duration::from_secs(3600)));
        let fresh = decide(&standing(false, 1), &unknown, &policy, NOW);
        assert_eq!((fresh.status, fresh.maybe_billed, fresh.is_try), (Status::Due, true, true));
        let later = NOW + Duration::from_secs(3599);
        let forgotten = decide(&standing(true, 1), &unknown, &policy, later);
        assert_eq!((forgotten.status, forgotten.maybe_billed), (Status::Unknown, true));
    }

    #[test]
    fn tries_end_in_unknown_never_in_failed() {
        let unknown = Outcome::Unknown { code: "reset".into() };
        let standing = Standing { tries: 2, ..standing(true, 1) };
        let next = decide(&standing, &unknown, &policy(Some(3), None), NOW);
        assert_eq!((next.status, next.maybe_billed), (Status::Unknown, true));
    }

    #[test]
    fn d4_a_status_nobody_knows_is_held_and_a_page_of_html_is_tried_again() {
        let of = |record_alone| Outcome::Unrecognised { code: "Pending".into(), record_alone };
        let (status, page) = (next(false, 25, &of(true)), next(false, 25, &of(false)));
        assert_eq!((status.status, status.reason), (Status::Held, Some(Reason::UnrecognisedAnswer)));
        assert_eq!((page.status, page.reason), (Status::Due, None));
        assert!(status.maybe_billed && page.maybe_billed, "nobody said that it was not taken");
    }

    #[test]
    fn d4_a_buyer_who_is_not_entitled_is_held_unless_an_earlier_attempt_may_have_arrived() {
        let refused = Outcome::NotEntitled { code: "ResourceNotActive".into() };
        let fresh = next(false, 25, &refused);
        assert_eq!((fresh.status, fresh.reason), (Status::Held, Some(Reason::InvalidSubscription)));
        assert_eq!(next(true, 1, &refused).status, Status::Unknown);
    }

    #[test]
    fn j9_their_own_wait_is_the_wait() {
        for seconds in [0, 1, 60, 3600] {
            let after = Some(Duration::from_secs(seconds));
            assert_eq!(next(false, 1, &Outcome::Throttled { after }).delay, after);
            let unavailable = Outcome::Unavailable { code: "http_503".into(), after };
            let next = next(false, 1, &unavailable);
            assert_eq!((next.delay, next.maybe_billed, next.is_try), (after, true, false), "as that of a 429");
        }
        let unavailable =
            |seconds| Outcome::Unavailable { code: "http_503".into(), after: Some(Duration::from_secs(seconds)) };
        let remembered = policy(None, Some(Duration::from_secs(3600)));
        let next = |seconds| decide(&standing(false, 1), &unavailable(seconds), &remembered, NOW);
        assert_eq!(next(3500).delay, Some(Duration::from_secs(3500)));
        assert_eq!(next(3600).status, Status::Due, "a wait that outlasts their memory forgets nothing");
        assert!(next(3600).delay.is_some_and(|delay| delay < Duration::from_secs(600)), "{:?}", next(3600));
    }

    #[test]
    fn j9_one_last_try_is_made_before_the_deadline() {
        let deadline = NOW + Duration::from_secs(300);
        let wait = |after| {
            let outcome = Outcome::Throttled { after: Some(Duration::from_secs(after)) };
            decide(&Standing { deadline, ..standing(false, 1) }, &outcome, &policy(None, None), NOW).delay.unwrap()
        };
        assert_eq!(wait(200), Duration::from_secs(200));
        assert!((260..300).contains(&wait(7200).as_secs()), "{:?}", wait(7200));
        assert_eq!(
            [20, 8, 1, 0].map(|left| {
                let standing = Standing { deadline: NOW + Duration::from_secs(left), ..standing(false, 1) };
                let after = Some(Duration::from_secs(3600));
                decide(&standing, &Outcome::Throttled { after }, &policy(None, None), NOW).delay.unwrap().as_secs()
            }),
            [10, 4, 3600, 3600],
            "when it is near"
        );
        let unavailable = Outcome::Unavailable { code: "503".into(), after: None };
        let tired = Standing { deadline: NOW + Duration::from_secs(60), tries: 30, ..standing(false, 1) };
        let next = decide(&tired, &unavailable, &policy(None, None), NOW);
        assert!(next.delay.is_some_and(|delay| delay < Duration::from_secs(60)), "{next:?}");
    }

    #[test]
    fn j7_a_refusal_that_may_be_about_one_record_is_halved_and_then_waits_for_evidence() {
        let doubtful = Outcome::Doubtful { code: "Forbidden".into() };
        assert_eq!(next(false, 25, &doubtful).batch_limit, Some(13));
        let alone = |refusals| {
            let standing = Standing { refusals, ..standing(false, 1) };
            let next = decide(&standing, &doubtful, &policy(None, None), NOW);
            assert_eq!((next.status, next.is_try), (Status::Due, false), "nobody knows whose fault it is");
            next.delay.expect("it is paced")
        };
        assert!(alone(1) < alone(3) && alone(3) < alone(6));
    }
}
