//! Settling answers so that each costs only itself: what is locked or fails is settled later, apart from the others.

use std::time::Instant;

use remittance::Policy;
use uuid::Uuid;

use super::{LOCK, LOCK_FREE, PLANNER, Settled, Settlement, settle_together};
use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::rounds::{Round, Share, Trying};
use crate::setback::{LOCK_WAIT, Member, Setbacks, hold_off, naming_holder};
use crate::turn::ALONE_MOST;
use crate::{Database, Error};

const PID: Query = query!("session_pid", []);

/// What became of answers that were settled each for itself.
#[derive(Debug, Default)]
pub struct Each {
    /// What was written.
    pub settled: Settled,
    /// Places of answers whose delivery another session keeps: nothing is written of them.
    pub locked: Vec<usize>,
    /// Places of answers that failed alone.
    pub failed: Vec<(usize, Error)>,
    /// Places of those that nobody came to, and why: everybody would have met it.
    pub broken: Option<(Vec<usize>, Error)>,
}

impl Each {
    /// Places of all answers that are still to be settled, in order.
    #[must_use]
    pub fn left(&self) -> Vec<usize> {
        let mut left = self.locked.clone();
        left.extend(self.failed.iter().map(|(place, _)| *place));
        left.extend(self.broken.iter().flat_map(|(places, _)| places));
        left.sort_unstable();
        left
    }
}

/// An answer by its place and its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place(usize, i64);

impl Member for Place {
    fn id(&self) -> String {
        self.1.to_string()
    }
}

/// Settles answers so that each costs only itself: what another session keeps is passed over, and if they cannot be
/// settled together, they are in halves, down to those that fail alone.
pub async fn settle_each(
    database: &Database,
    worker: Uuid,
    answers: &[Settlement],
    policy: &(dyn Fn(i32) -> Policy + Sync),
) -> Each {
    let mut each = Each::default();
    let mut share = Share::of(answers.len());
    let mut trying = Trying::of((0..answers.len()).collect());
    while let Some(part) = trying.next(&share) {
        let began = Instant::now();
        let of_part: Vec<&Settlement> = part.iter().map(|place| &answers[*place]).collect();
        let result = settle_free(database, worker, &of_part, policy).await;
        let result = result.map(|(settled, passed_over)| {
            each.settled.moved += settled.moved;
            each.settled.late += settled.late;
            each.settled.credentials.extend(settled.credentials);
            each.settled.position = settled.position.or(each.settled.position.take());
            passed_over.into_iter().map(|of_part| part[of_part]).collect()
        });
        trying.tried(part, result, began.elapsed(), &mut share);
    }
    let round = trying.end();
    each.broken = round.broken.map(|error| {
        let mut untried: Vec<usize> = (0..answers.len()).collect();
        untried.retain(|place| {
            let is_done = round.passed.contains(place) || round.skipped.contains(place);
            !is_done && !round.failed.iter().any(|(failed, _)| failed == place)
        });
        (untried, error)
    });
    (each.locked, each.failed) = (round.skipped, round.failed);
    each
}

async fn settle_free(
    database: &Database,
    worker: Uuid,
    answers: &[&Settlement],
    policy: &(dyn Fn(i32) -> Policy + Sync),
) -> Result<(Settled, Vec<usize>), Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, PLANNER).await?;
    let settled = settle_together(&tx, worker, answers, policy, &LOCK_FREE).await;
    tx.end(settled).await
}

/// Waits for the answer's delivery, a second at most, and names who keeps it.
async fn settle_alone(
    database: &Database,
    worker: Uuid,
    answer: &Settlement,
    policy: &(dyn Fn(i32) -> Policy + Sync),
) -> Result<(Result<(Settled, Vec<usize>), Error>, Option<String>), Error> {
    let mut session = database.session().await?;
    let patience = format!("{PLANNER}; set local lock_timeout = {}", LOCK_WAIT.as_millis());
    let tx = Tx::begin(&mut session, &patience).await?;
    let pid = tx.rows(&PID, &[]).await?.first().expect("one row").try_get(0)?;
    let answers = [answer];
    let (settled, holder) = naming_holder(database, pid, settle_together(&tx, worker, &answers, policy, &LOCK)).await;
    Ok((tx.end(settled).await, holder))
}

/// Notes which answers a step left, and that others passed.
pub async fn note_left(database: &Database, step: &'static str, answers: &[Settlement], each: Each) {
    let place = |place: usize| Place(place, answers[place].delivery);
    let left = each.left();
    let passed = (0..answers.len()).filter(|at| left.binary_search(at).is_err()).map(place).collect();
    let skipped = each.locked.into_iter().map(place).collect();
    let failed = each.failed.into_iter().map(|(at, error)| (place(at), error)).collect();
    let round = Round { passed, skipped, failed, broken: None };
    note_round(database, &Setbacks::read(database, step).await, round, false).await;
}

async fn note_round(database: &Database, setbacks: &Setbacks, mut round: Round<Place>, others_passed: bool) {
    // no delivery has this number
    round.passed.extend(others_passed.then_some(Place(usize::MAX, 0)));
    setbacks.note(database, &round, None).await;
}

/// Settles answers that could not be settled with the others, if it is time; one that was locked for long is waited for, a
/// second at most, and its holder is named. Returns the places of those that are settled now, and what went wrong for all.
/// `others_passed`: other answers were settled since the last time.
pub async fn settle_apart(
    database: &Database,
    worker: Uuid,
    answers: &[Settlement],
    policy: &(dyn Fn(i32) -> Policy + Sync),
    others_passed: bool,
) -> (Vec<usize>, Option<Error>) {
    let setbacks = Setbacks::read(database, STEP).await;
    let candidates = answers.iter().enumerate().map(|(place, answer)| Place(place, answer.delivery)).collect();
    let order = setbacks.order(candidates);
    // what was locked for long is tried with the others first: it may be free by now
    let first: Vec<Place> = order.together.into_iter().chain(order.alone.iter().cloned()).collect();
    let together: Vec<Settlement> = first.iter().map(|place| answers[place.0].clone()).collect();
    let mut each = settle_each(database, worker, &together, policy).await;
    let left = each.left();
    let is_settled = |at: &usize| left.binary_search(at).is_err();
    let mut settled: Vec<usize> = (0..together.len()).filter(is_settled).map(|at| first[at].0).collect();
    let mut alone = order.alone;
    alone.retain(|place| each.locked.iter().any(|at| first[*at] == *place));
    // who waits for so many locks, one after the other, keeps the other answers of this round waiting
    alone.truncate(ALONE_MOST);
    let waits_alone = |at: &usize| alone.contains(&first[*at]);
    let mut broken = each.broken.take().map(|(_, error)| error);
    each.locked.retain(|at| !waits_alone(at));
    let passed = settled.iter().map(|place| Place(*place, answers[*place].delivery)).collect();
    let skipped = each.locked.iter().map(|at| first[*at].clone()).collect();
    let failed = each.failed.into_iter().map(|(at, error)| (first[at].clone(), error)).collect();
    note_round(database, &setbacks, Round { passed, skipped, failed, broken: None }, others_passed).await;
    for place in alone {
        if broken.is_some() {
            break;
        }
        broken = try_alone(database, &setbacks, (worker, &answers[place.0]), policy, place, &mut settled).await.err();
    }
    (settled, broken)
}

async fn try_alone(
    database: &Database,
    setbacks: &Setbacks,
    (worker, answer): (Uuid, &Settlement),
    policy: &(dyn Fn(i32) -> Policy + Sync),
    place: Place,
    settled: &mut Vec<usize>,
) -> Result<(), Error> {
    hold_off(database, STEP, &place.id(), LOCK_WAIT * 2).await;
    let (result, holder) = settle_alone(database, worker, answer, policy).await?;
    let mut round = Round::default();
    match result {
        Ok(_) => {
            settled.push(place.0);
            round.passed.push(place);
        }
        Err(error) if error.blame() == Blame::Step => return Err(error),
        Err(error) if error.blame() == Blame::Lock => round.skipped.push(place),
        Err(error) => round.failed.push((place, error)),
    }
    setbacks.note(database, &round, holder.as_deref()).await;
    Ok(())
}

/// The step's name in `postmeter.setback`.
pub(crate) const STEP: &str = "settle";
