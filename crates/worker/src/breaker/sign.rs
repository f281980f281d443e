//! What a call's answers say about the destination as a whole.

use remittance::{Answer, Outcome};

/// What a call says about the destination as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign<'a> {
    /// It answers.
    Good,
    /// It has a fault.
    Fault(&'a Answer),
    /// A call was made, and nobody knows (a timeout, a page of HTML).
    Unclear(&'a Answer),
    /// No call was made.
    Nothing,
}

/// One record that was answered as it should be is enough: it is not the destination as a whole.
pub fn sign(answers: &[Answer]) -> Sign<'_> {
    let mut found = Sign::Nothing;
    for answer in answers {
        match &answer.outcome {
            Outcome::HandedBack | Outcome::DryRun | Outcome::Unmapped { .. } => {}
            Outcome::Unknown { .. } | Outcome::Unrecognised { .. } if found == Sign::Nothing => {
                found = Sign::Unclear(answer);
            }
            Outcome::Unknown { .. } | Outcome::Unrecognised { .. } => {}
            outcome if outcome.is_destination_fault() => found = Sign::Fault(answer),
            _ => return Sign::Good,
        }
    }
    found
}
