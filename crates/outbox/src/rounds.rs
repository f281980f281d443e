//! Rounds: how a step goes through a batch so that one member's lock or error costs its own row and never the batch.
//!
//! A round takes its members in shares, each a transaction of about a second. What is locked is left for the next round.
//! When a share fails, its halves are tried, down to the member that fails alone; all others pass in the same round. What
//! takes too long together is tried in small parts, behind all others. An
//! error that everybody would meet (no space, no right, no connection) is the step's: the round ends, and nobody is blamed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Error;
use crate::error::Blame;

/// How long a share's transaction should take.
const AIM: Duration = Duration::from_secs(1);
/// Into so many parts goes what takes too long together.
const PARTS: usize = 16;

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

/// A round under way: which members the next transaction takes, and what it came to.
#[derive(Debug)]
pub struct Trying<M> {
    left: VecDeque<M>,
    halves: Vec<Vec<M>>,
    /// Parts of what took too long together: the one to blame holds nobody up.
    last: VecDeque<Vec<M>>,
    round: Round<M>,
}

impl<M: Clone + PartialEq> Trying<M> {
    /// A round of these, in their order.
    #[must_use]
    pub fn of(members: Vec<M>) -> Self {
        Self { left: members.into(), halves: Vec::new(), last: VecDeque::new(), round: Round::default() }
    }

    /// What the next transaction takes; `None`: all were tried, or there is no use in going on.
    pub fn next(&mut self, share: &Share) -> Option<Vec<M>> {
        if self.round.broken.is_some() {
            return None;
        }
        if let Some(half) = self.halves.pop() {
            return Some(half);
        }
        let many = share.now().min(self.left.len());
        if many > 0 { Some(self.left.drain(..many).collect()) } else { self.last.pop_front() }
    }

    /// These were not tried yet after all: the next transaction takes them.
    pub fn again(&mut self, members: Vec<M>) {
        if !members.is_empty() {
            self.halves.push(members);
        }
    }

    /// That transaction took so long, and returned which of its members it skipped, or the error with which it did nothing.
    pub fn tried(&mut self, part: Vec<M>, result: Result<Vec<M>, Error>, took: Duration, share: &mut Share) {
        let error = match result {
            Ok(skipped) => {
                share.took(part.len(), took);
                self.round.passed.extend(part.into_iter().filter(|member| !skipped.contains(member)));
                self.round.skipped.extend(skipped);
                return;
            }
            Err(error) => error,
        };
        let blame = error.blame();
        if blame == Blame::Time {
            share.halve();
        }
        match part.as_slice() {
            _ if blame == Blame::Step => self.round.broken = Some(error),
            [member] if blame == Blame::Lock => self.round.skipped.push(member.clone()),
            [member] => self.round.failed.push((member.clone(), error)),
            _ if blame == Blame::Time => {
                // each part that holds the one to blame meets its limit again: so there are many of them
                let few = (part.len() / PARTS).max(1);
                self.last.extend(part.chunks(few).map(<[M]>::to_vec));
            }
            _ => {
                let (first, second) = part.split_at(part.len() / 2);
                self.halves.extend([second.to_vec(), first.to_vec()]);
            }
        }
    }

    /// None has passed so far.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        self.round.passed.is_empty()
    }

    /// There is no use in going on: what was locked was locked for everybody, and nobody is put behind for it.
    pub fn give_up(&mut self, error: Error) {
        self.round.skipped.clear();
        self.round.broken = Some(error);
    }

    /// What it came to.
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
    let mut trying = Trying::of(members);
    while let Some(part) = trying.next(share) {
        let began = Instant::now();
        let result = work(&part).await;
        trying.tried(part, result, began.elapsed(), share);
    }
    trying.end()
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
        let (round, transactions) = tried(&[17], || Error::Unavailable("no space left (53100)".to_owned())).await;
        assert_eq!((round.passed.len(), round.failed.len(), transactions), (0, 0, 1));
        assert!(round.broken.is_some());
    }

    #[tokio::test]
    async fn j1_a_locked_member_is_skipped_and_not_blamed() {
        let locked = || Error::Retryable { code: "55P03".to_owned(), message: "lock timeout".to_owned() };
        let (round, _) = tried(&[3, 40], locked).await;
        assert_eq!((round.skipped, round.failed.len(), round.passed.len()), (vec![3, 40], 0, 62));
    }

    #[tokio::test]
    async fn j5_what_takes_long_is_tried_last_and_alone() {
        let mut transactions = 0;
        let work = async |part: &[i32]| {
            transactions += 1;
            if part.contains(&17) && part.len() > 1 {
                return Err(Error::Retryable { code: "57014".to_owned(), message: "statement timeout".to_owned() });
            }
            Ok(Vec::new())
        };
        let round = round((0..300).collect(), &mut Share::of(300), work).await;
        assert_eq!((round.passed.len(), round.passed.last()), (300, Some(&17)), "all others are through before it");
        assert!(transactions <= 1 + 17 + 18, "{transactions} transactions");
    }

    #[test]
    fn j1_what_was_not_tried_after_all_comes_next() {
        let (mut trying, mut share) = (Trying::of(vec![1, 2, 3]), Share::of(2));
        let part = trying.next(&share).unwrap();
        assert_eq!(part, [1, 2]);
        trying.tried(vec![1], Ok(Vec::new()), Duration::ZERO, &mut share);
        trying.again(vec![2]);
        assert_eq!(trying.next(&share).unwrap(), [2]);
        trying.tried(vec![2], Ok(Vec::new()), Duration::ZERO, &mut share);
        assert_eq!(trying.next(&share).unwrap(), [3]);
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
