//! Rounds: how a step goes through a batch so that one member's lock or error costs its own row and never the batch.
//!
//! A round takes its members in shares, each a transaction of about a second. What is locked is left for the next round.
//! When a share fails, its halves are tried, down to the member that fails alone; all others pass in the same round. An
//! error that everybody would meet (no space, no right, no connection) is the step's: the round ends, and nobody is blamed.

use std::time::{Duration, Instant};

use crate::Error;
use crate::error::Blame;

/// How long a share's transaction should take.
const AIM: Duration = Duration::from_secs(1);

/// So many members are tried in one transaction; it follows how long they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    most: usize,
    now: usize,
}

impl Share {
    /// Begins with `most`, and never takes more.
    #[must_use]
    pub const fn of(most: usize) -> Self {
        let most = if most == 0 { 1 } else { most };
        Self { most, now: most }
    }

    /// How many members the next transaction takes.
    #[must_use]
    pub const fn now(&self) -> usize {
        self.now
    }

    /// A transaction of so many members took so long.
    pub fn took(&mut self, members: usize, took: Duration) {
        if took > AIM {
            self.halve();
        } else if took < AIM / 4 && members >= self.now {
            self.now = (self.now * 2).min(self.most);
        }
    }

    /// A transaction met its limit of time.
    pub fn halve(&mut self) {
        self.now = (self.now / 2).max(1);
    }
}

/// What a round came to.
#[derive(Debug)]
pub struct Round<M> {
    /// These went through.
    pub passed: Vec<M>,
    /// Another session holds these.
    pub skipped: Vec<M>,
    /// These failed alone, each with its error.
    pub failed: Vec<(M, Error)>,
    /// What ended the round before all were tried: everybody would have met it.
    pub broken: Option<Error>,
}

impl<M> Default for Round<M> {
    fn default() -> Self {
        Self { passed: Vec::new(), skipped: Vec::new(), failed: Vec::new(), broken: None }
    }
}

/// A round under way, for whoever runs the transactions: [`Self::next`], then [`Self::came`], until there is no next.
#[derive(Debug)]
pub struct Rounds<M> {
    members: std::vec::IntoIter<M>,
    halves: Vec<Vec<M>>,
    began: Instant,
    round: Round<M>,
}

impl<M: Clone + PartialEq> Rounds<M> {
    /// A round of these members, in this order.
    #[must_use]
    pub fn of(members: Vec<M>) -> Self {
        Self { members: members.into_iter(), halves: Vec::new(), began: Instant::now(), round: Round::default() }
    }

    /// What the next transaction is to try; `None`: all were tried, or the round is broken.
    pub fn next(&mut self, share: &Share) -> Option<Vec<M>> {
        if self.round.broken.is_some() {
            return None;
        }
        let part = self.halves.pop().unwrap_or_else(|| self.members.by_ref().take(share.now()).collect());
        self.began = Instant::now();
        Some(part).filter(|part| !part.is_empty())
    }

    /// What it came to: which of its members it skipped, or why it has done nothing.
    pub fn came(&mut self, mut part: Vec<M>, share: &mut Share, result: Result<Vec<M>, Error>) {
        let round = &mut self.round;
        match result {
            Ok(skipped) => {
                share.took(part.len(), self.began.elapsed());
                part.retain(|member| !skipped.contains(member));
                round.passed.extend(part);
                round.skipped.extend(skipped);
            }
            Err(error) => match error.blame() {
                Blame::Step => round.broken = Some(error),
                blame if part.len() > 1 => {
                    if blame == Blame::Time {
                        share.halve();
                    }
                    let second = part.split_off(part.len() / 2);
                    self.halves.extend([second, part]);
                }
                Blame::Lock => round.skipped.extend(part),
                Blame::Member | Blame::Time => round.failed.extend(part.pop().map(|member| (member, error))),
            },
        }
    }

    /// What all of it came to.
    #[must_use]
    pub fn end(self) -> Round<M> {
        self.round
    }
}

/// Tries all members, in their order, by shares. `work` is one transaction; it returns which of its members it skipped
/// because another session holds them, and on an error it has done nothing.
pub async fn round<M: Clone + PartialEq>(
    members: Vec<M>,
    share: &mut Share,
    mut work: impl AsyncFnMut(&[M]) -> Result<Vec<M>, Error>,
) -> Round<M> {
    let mut rounds = Rounds::of(members);
    while let Some(part) = rounds.next(share) {
        let result = work(&part).await;
        rounds.came(part, share, result);
    }
    rounds.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Error {
        Error::Unexpected { code: "22003".to_owned(), message: "out of range".to_owned() }
    }

    async fn tried(bad: &'static [i32], error: fn() -> Error) -> (Round<i32>, usize) {
        let mut transactions = 0;
        let work = async |part: &[i32]| {
            transactions += 1;
            if part.iter().any(|member| bad.contains(member)) { Err(error()) } else { Ok(Vec::new()) }
        };
        let round = round((0..64).collect(), &mut Share::of(64), work).await;
        (round, transactions)
    }

    #[tokio::test]
    async fn j2_the_member_that_fails_is_found_by_halving_and_the_others_pass() {
        let (round, transactions) = tried(&[17], refused).await;
        assert_eq!((round.passed.len(), round.failed.len(), round.failed[0].0), (63, 1, 17));
        assert!(transactions <= 13, "{transactions} transactions: two for each halving");
        assert!(round.broken.is_none());
    }

    #[tokio::test]
    async fn j2_an_error_that_everybody_meets_is_the_steps() {
        let (round, transactions) = tried(&[17], || Error::Away("no space left (53100)".to_owned())).await;
        assert_eq!((round.passed.len(), round.failed.len(), transactions), (0, 0, 1));
        assert!(round.broken.is_some());
    }

    #[tokio::test]
    async fn j1_a_locked_member_is_skipped_and_not_blamed() {
        let locked = || Error::Again { code: "55P03".to_owned(), message: "lock timeout".to_owned() };
        let (round, _) = tried(&[3, 40], locked).await;
        assert_eq!((round.skipped, round.failed.len(), round.passed.len()), (vec![3, 40], 0, 62));
    }

    #[test]
    fn j5_a_share_shrinks_when_it_takes_long_and_grows_again() {
        let mut share = Share::of(100);
        share.took(100, AIM * 2);
        share.halve();
        assert_eq!(share.now(), 25);
        for _ in 0..3 {
            share.took(share.now(), Duration::ZERO);
        }
        assert_eq!(share.now(), 100);
        (0..20).for_each(|_| share.halve());
        assert_eq!(share.now(), 1);
    }
}
