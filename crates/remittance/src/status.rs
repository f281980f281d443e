//! Where an obligation stands.

use std::fmt;
use std::str::FromStr;

/// A text that is none of the words of an enum of this crate: the database is newer than the program, or broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {kind}")]
pub struct UnknownWord {
    /// Which enum was expected (`status`, `outcome`, `reason`).
    pub kind: &'static str,
    /// The word that was found.
    pub word: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $kind:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of life.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the database, the API and the documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { kind: $kind, word: word.to_owned() }),
                }
            }
        }
    };
}

words! {
    /// Where a delivery stands. The chart is `docs/states.md`.
    Status, "status" {
        /// The hour still collects usage.
        Open = "open",
        /// Cut with nothing to bill; no call is made. Late usage of the month may reopen it.
        NothingDue = "nothing_due",
        /// Frozen and waiting to be sent (in `due`, or in `later` until its time).
        Due = "due",
        /// Claimed: an attempt is open.
        InFlight = "in_flight",
        /// The marketplace holds it. Final.
        Accepted = "accepted",
        /// The marketplace refused it for good; a person may retry, release or write off.
        Rejected = "rejected",
        /// Too old for the marketplace; nothing was billed.
        Expired = "expired",
        /// The marketplace holds another quantity under our key.
        Conflict = "conflict",
        /// Whether it was billed is not known, and asking again is no longer safe: a person decides.
        Unknown = "unknown",
        /// Waiting for a person or the catalogue, with a reason.
        Held = "held",
        /// The destination is a dry run: everything but the call. Final.
        DryRun = "dry_run",
        /// A person gave it up. Final.
        WrittenOff = "written_off",
        /// A person gave its quantity back to the meter. Final for this remittance.
        Released = "released",
    }
}

words! {
    /// Why something is held: stable codes, in `held.reason` and `delivery.reason`.
    Reason, "reason" {
        /// No subscription of this org and product is valid at that hour.
        NoSubscription = "no_subscription",
        /// Several subscriptions fit; the usage must name its account.
        AmbiguousSubscription = "ambiguous_subscription",
        /// No dimension is mapped for this product and metric at that destination.
        UnmappedDimension = "unmapped_dimension",
        /// The subscription's identity is refused by the marketplace's own rules.
        InvalidSubscription = "invalid_subscription",
        /// No hour of its month can still take it, and its own was already sent.
        TooLate = "too_late",
        /// Its month was closed at the destination before it could be counted.
        MonthClosed = "month_closed",
        /// The quantity does not fit the marketplace's type or digits.
        QuantityOutOfRange = "quantity_out_of_range",
        /// The answer could not be understood.
        UnrecognisedAnswer = "unrecognised_answer",
        /// The retry policy is exhausted. Reserved: such a remittance becomes `unknown` today.
        TriesExhausted = "tries_exhausted",
        /// Handling it killed its worker, repeatedly.
        Poison = "poison",
        /// A person put it aside.
        ByOperator = "by_operator",
        /// The usage is beyond what is plausible for its metric; only usage is held for it, never a remittance.
        Implausible = "implausible",
        /// Recorded before the database lost commits: it may have been billed with another hour in that time.
        LostTime = "lost_time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse::<Status>().as_ref(), Ok(status));
        }
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>().as_ref(), Ok(reason));
        }
        assert!("parked".parse::<Status>().is_err(), "held is the word");
    }
}
