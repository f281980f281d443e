//! What one call told us about one delivery.

use std::time::Duration;

use crate::Quantity;

/// What one call told us about one delivery. Where the obligation stands afterwards is [`crate::decide`]'s business.
///
/// `code` is the marketplace's or the transport's stable word (`InvalidUsageDimensionException`, `timeout`), at most
/// 100 characters, never a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The marketplace says it holds exactly this.
    Accepted,
    /// It already held this key. `shown` is the quantity it says it holds, if it says.
    Duplicate {
        /// The quantity the marketplace shows; `None` where it does not tell (AWS).
        shown: Option<Quantity>,
    },
    /// It holds another quantity under this key.
    Conflict {
        /// The quantity the marketplace shows, if it does.
        shown: Option<Quantity>,
    },
    /// This record is refused for good.
    Rejected {
        /// Why.
        code: String,
    },
    /// The marketplace says that this buyer is not to be billed now: no active subscription, a resource it does not
    /// know, or one that is not ours. This record was not taken; after a change over there the same bytes may be.
    NotEntitled {
        /// Why.
        code: String,
    },
    /// The call was refused because of one or more of its records, without saying which; none was taken.
    BatchRefused {
        /// Why.
        code: String,
    },
    /// The call was refused in words that may be about one of its records or about the credentials (a 403); none was
    /// taken. Evidence decides: it is halved down to the record, and what others are answered meanwhile says whose
    /// fault it is. In the ledger it is `batch_refused`, unless that has been decided.
    Doubtful {
        /// Why.
        code: String,
    },
    /// Too many calls; nothing was taken.
    Throttled {
        /// Their own wait, if they named one.
        after: Option<Duration>,
    },
    /// The destination answered that it cannot answer now (5xx). What it did before is not certain.
    Unavailable {
        /// Why.
        code: String,
        /// Their own wait, if they named one.
        after: Option<Duration>,
    },
    /// The credentials were refused; nothing was taken.
    Unauthorised {
        /// Why.
        code: String,
    },
    /// The bytes may have arrived and no answer tells: timeout, reset, a record the answer does not mention.
    Unknown {
        /// What was seen.
        code: String,
    },
    /// There was an answer, but not one we understand.
    Unrecognised {
        /// What was seen.
        code: String,
        /// The answer was read, and says of this record what we do not know (a new status word): asking again gives the
        /// same. Otherwise nothing of the answer could be read (a page of HTML), which passes.
        record_alone: bool,
    },
    /// Too old: told by the marketplace, or known before the call.
    TooOld {
        /// `deadline` or `memory` when no call was made, else their word.
        code: String,
    },
    /// No byte of the report left: connecting or signing failed, or what the marketplace is asked before the report
    /// did.
    NotSent {
        /// Why.
        code: String,
    },
    /// No credentials are configured or they could not be fetched; no call was made.
    NoCredentials {
        /// Why.
        code: String,
    },
    /// The destination does not know how to send this; no call was made.
    Unmapped {
        /// Why.
        code: String,
    },
    /// The destination is a dry run; no call was made.
    DryRun,
    /// The worker gave the claim back before its call: it stops, its lease is nearly over, the destination's rules have
    /// changed or its breaker has opened, or its quota gave no slot.
    HandedBack,
}

impl Outcome {
    /// The word in `outcome.outcome` and in the documents.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate { .. } => "duplicate",
            Self::Conflict { .. } => "conflict",
            Self::Rejected { .. } => "rejected",
            Self::NotEntitled { .. } => "not_entitled",
            Self::BatchRefused { .. } | Self::Doubtful { .. } => "batch_refused",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Unauthorised { .. } => "unauthorised",
            Self::Unknown { .. } => "unknown",
            Self::Unrecognised { .. } => "unrecognised",
            Self::TooOld { .. } => "too_old",
            Self::NotSent { .. } => "not_sent",
            Self::NoCredentials { .. } => "no_credentials",
            Self::Unmapped { .. } => "unmapped",
            Self::DryRun => "dry_run",
            Self::HandedBack => "handed_back",
        }
    }

    /// Every word an outcome can have, for the schema's CHECK and the documents.
    pub const WORDS: &'static [&'static str] = &[
        "accepted",
        "duplicate",
        "conflict",
        "rejected",
        "not_entitled",
        "batch_refused",
        "throttled",
        "unavailable",
        "unauthorised",
        "unknown",
        "unrecognised",
        "too_old",
        "not_sent",
        "no_credentials",
        "unmapped",
        "dry_run",
        "handed_back",
    ];

    /// The stable code, where the outcome has one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Rejected { code }
            | Self::NotEntitled { code }
            | Self::BatchRefused { code }
            | Self::Doubtful { code }
            | Self::Unavailable { code, .. }
            | Self::Unauthorised { code }
            | Self::Unknown { code }
            | Self::Unrecognised { code, .. }
            | Self::TooOld { code }
            | Self::NotSent { code }
            | Self::NoCredentials { code }
            | Self::Unmapped { code } => Some(code),
            _ => None,
        }
    }

    /// How long they asked us to wait, if they did.
    #[must_use]
    pub const fn after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { after } | Self::Unavailable { after, .. } => *after,
            _ => None,
        }
    }

    /// The quantity the marketplace showed, if any.
    #[must_use]
    pub const fn shown(&self) -> Option<Quantity> {
        match self {
            Self::Duplicate { shown } | Self::Conflict { shown } => *shown,
            _ => None,
        }
    }

    /// After this the marketplace may hold the record although no answer says so.
    ///
    /// `unavailable` and `unrecognised` belong here: a 5xx or a page of HTML proves nothing about what was done before.
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Unavailable { .. } | Self::Unrecognised { .. })
    }

    /// The marketplace took this record, now or before: the caller may bill, and it answers.
    #[must_use]
    pub const fn has_passed(&self) -> bool {
        matches!(self, Self::Accepted | Self::Duplicate { .. } | Self::Conflict { .. })
    }

    /// A fault of the destination as a whole: no record is to blame, and no record's tries are spent.
    #[must_use]
    pub const fn is_destination_fault(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. }
                | Self::Unavailable { .. }
                | Self::Unauthorised { .. }
                | Self::NotSent { .. }
                | Self::NoCredentials { .. }
        )
    }

    /// The outcome that a word of the ledger names; `None` for a word this program does not know. The program itself
    /// never reads outcomes back: tests go through all words with it.
    #[must_use]
    pub fn from_parts(
        word: &str,
        code: Option<String>,
        shown: Option<Quantity>,
        after: Option<Duration>,
    ) -> Option<Self> {
        let code = code.unwrap_or_default();
        Some(match word {
            "accepted" => Self::Accepted,
            "duplicate" => Self::Duplicate { shown },
            "conflict" => Self::Conflict { shown },
            "rejected" => Self::Rejected { code },
            "not_entitled" => Self::NotEntitled { code },
            "batch_refused" => Self::BatchRefused { code },
            "throttled" => Self::Throttled { after },
            "unavailable" => Self::Unavailable { code, after },
            "unauthorised" => Self::Unauthorised { code },
            "unknown" => Self::Unknown { code },
            "unrecognised" => Self::Unrecognised { code, record_alone: false },
            "too_old" => Self::TooOld { code },
            "not_sent" => Self::NotSent { code },
            "no_credentials" => Self::NoCredentials { code },
            "unmapped" => Self::Unmapped { code },
            "dry_run" => Self::DryRun,
            "handed_back" => Self::HandedBack,
            _ => return None,
        })
    }
}

/// An outcome with the evidence for it: what goes into the ledger, bounded and redacted by the marketplace's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it means.
    pub outcome: Outcome,
    /// The marketplace's receipt for this record (AWS: `MeteringRecordId`).
    pub receipt: Option<String>,
    /// HTTP status, where there was one.
    pub http_status: Option<u16>,
    /// The marketplace's id for the call (AWS: `x-amzn-requestid`), to quote to its support.
    pub request_id: Option<String>,
    /// What they said, at most 2,000 characters, without secrets; only where it adds to the outcome.
    pub excerpt: Option<String>,
}

impl Answer {
    /// An answer without any evidence beside the outcome.
    #[must_use]
    pub const fn bare(outcome: Outcome) -> Self {
        Self { outcome, receipt: None, http_status: None, request_id: None, excerpt: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_rebuilt_from_its_row() {
        for word in Outcome::WORDS {
            let rebuilt = Outcome::from_parts(word, Some("code".into()), None, None);
            assert_eq!(rebuilt.as_ref().map(Outcome::as_str), Some(*word));
        }
        assert_eq!(Outcome::from_parts("succeeded", None, None, None), None);
    }
}
