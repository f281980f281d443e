//! What a call's answers say about the destination as a whole.

use remittance::{Answer, Outcome};

/// What a call says about the destination as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign<'a> {
    /// It answers: a record was accepted, or an answer speaks of one.
    Good,
    /// The credentials are refused, or there are none.
    Credential(&'a Answer),
    /// It may be one record or the credentials: evidence decides (`crates/outbox/src/refusal.rs`).
    Doubtful(&'a Answer),
    /// Nothing that speaks of a record: a server error, a timeout, a page of HTML, a connection that was not made.
    Silent(&'a Answer),
    /// It answers that it is too much: the pace's business.
    Throttled,
    /// No call was made.
    Nothing,
}

impl Sign<'_> {
    const fn weight(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Throttled => 1,
            Self::Silent(_) => 2,
            Self::Doubtful(_) => 3,
            Self::Credential(_) => 4,
            Self::Good => 5,
        }
    }
}

/// One record that was answered as it should be is enough: it is not the destination as a whole.
pub fn sign<'a>(answers: &'a [Answer]) -> Sign<'a> {
    let of = |answer: &'a Answer| match &answer.outcome {
        Outcome::HandedBack | Outcome::DryRun | Outcome::Unmapped { .. } => Sign::Nothing,
        Outcome::Unauthorised { .. } | Outcome::NoCredentials { .. } => Sign::Credential(answer),
        Outcome::Doubtful { .. } => Sign::Doubtful(answer),
        Outcome::Throttled { .. } => Sign::Throttled,
        Outcome::Unknown { .. }
        | Outcome::Unrecognised { record_alone: false, .. }
        | Outcome::Unavailable { .. }
        | Outcome::NotSent { .. } => Sign::Silent(answer),
        _ => Sign::Good,
    };
    answers.iter().map(of).max_by_key(|sign| sign.weight()).unwrap_or(Sign::Nothing)
}
