//! The codes of the ledger in plain words. Codes are contract, these words are not.

/// What an outcome means.
pub(super) fn outcome(word: &str) -> &'static str {
    match word {
        "open" => "the call may be under way; if its worker died, another takes it over when the lease has passed",
        "accepted" => "they said that they hold exactly this",
        "duplicate" => "they already held this key",
        "conflict" => "they hold another quantity under this key",
        "rejected" => "they refused this record for good",
        "not_entitled" => "they say that this buyer is not to be billed now (not subscribed, unknown, or not ours)",
        "batch_refused" => "they refused the whole call without saying which record: it is halved and sent again",
        "throttled" => "too many calls; they took nothing",
        "unavailable" => "they could not answer; what they did before is not certain",
        "unauthorised" => "they refused the credentials and took nothing",
        "unknown" => "the record may have arrived and no answer tells: it is never assumed to have failed",
        "unrecognised" => "they answered something that is not understood; the record may have arrived",
        "too_old" => "the hour is too old for them",
        "not_sent" => "nothing left this side",
        "no_credentials" => "there were no credentials, so no call was made",
        "unmapped" => "this destination does not know how to send it, so no call was made",
        "dry_run" => "the destination is a dry run, so no call was made",
        "handed_back" => "a stopping worker gave it back; no call was made",
        _ => "this program does not know the word",
    }
}

/// Why something is held, and what cures it.
pub(super) fn held(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "no_subscription" => (
            "no subscription of this org and product is valid at that hour",
            "add the subscription to the catalogue: the usage is then counted without anybody's hand",
        ),
        "ambiguous_subscription" => (
            "several subscriptions fit, and the usage does not name its account",
            "end all but one, or record usage with its account; this usage can only follow the catalogue",
        ),
        "unmapped_dimension" => (
            "the catalogue maps no dimension to this product and metric at that destination",
            "add the dimension to the catalogue: the usage is then counted without anybody's hand",
        ),
        "invalid_subscription" => (
            "the marketplace says that this buyer is not to be billed, or its identity in the catalogue is not right",
            "mend the identity in the catalogue (`postmeter catalog show` has it) and recount what was refused, or retry \
             once the buyer's subscription is active over there",
        ),
        "too_late" => (
            "no hour of its month can still take it, and the destination holds late usage",
            "write it off, or set the destination's late_policy to part and retry it",
        ),
        "month_closed" => (
            "a person closed its month at that destination before it could be counted",
            "write it off, or reopen the month (`postmeter month reopen`): it is then counted without anybody's hand",
        ),
        "quantity_out_of_range" => (
            "the quantity does not fit the marketplace's type or digits",
            "correct its usage and release it, or write it off; mend factor or decimals of the dimension for the next month",
        ),
        "unrecognised_answer" => ("the answer could not be understood", "read the attempts, then resolve it by hand"),
        "tries_exhausted" => ("the retry policy is exhausted", "mend the cause, then retry it"),
        "poison" => ("handling it killed its worker, repeatedly", "report it with the worker's log; then retry it"),
        "by_operator" => ("a person put it aside", "retry it when that is over"),
        "implausible" => (
            "it is beyond what is plausible for its metric",
            "ask who recorded it. If it is right, return it: it is then counted, however large",
        ),
        "lost_time" => (
            "it is of before the database lost commits, and may have been billed with another hour in that time",
            "see what the marketplace holds of this buyer since then: if it is not among it, retry the usage (resolve the \
             remittance as not billed); if it is, write the usage off (resolve the remittance as billed)",
        ),
        _ => ("of a reason that this program does not know", "see the catalogue and the decisions"),
    }
}

/// How a dimension rounds.
pub(super) fn rounding(rounding: &str, decimals: i32) -> String {
    let to = match decimals {
        0 => "whole units".to_owned(),
        1 => "1 decimal".to_owned(),
        _ => format!("{decimals} decimals"),
    };
    match rounding {
        "up" => format!("rounded up to {to}"),
        "down" => format!("rounded down to {to}"),
        _ => format!("rounded to the nearest of {to}"),
    }
}

/// `contract db/gold`; without a name, `the contract of BUYER`.
pub(super) fn contract(text: &str) -> String {
    match text.strip_prefix("contract:") {
        Some(name) => format!("contract {name}"),
        None => format!("the contract of {text}"),
    }
}

/// `1 unit`, `2.5 units`.
pub(super) fn units(quantity: &str) -> String {
    if quantity == "1" { "1 unit".to_owned() } else { format!("{quantity} units") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_words() {
        for word in remittance::Outcome::WORDS {
            assert!(!outcome(word).contains("does not know the word"), "{word}");
        }
        for reason in remittance::Reason::ALL {
            assert!(!held(reason.as_str()).0.contains("does not know"), "{reason}");
        }
    }
}
