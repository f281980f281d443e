//! Where the money of a remittance is, in a sentence: the first words say whether it is billed.

use jiff::civil::Date;
use outbox::report::{Cut, Remittance, RemittanceReport};

use crate::text::{amount, from_now, minute, moment};
use crate::words::{held, units};

/// Where the money is; of a usage that counts on the meter of this month and contract.
pub(super) fn verdict(report: &RemittanceReport, meter: Option<(Date, &str)>) -> String {
    let r = &report.remittance;
    let what = what(r);
    let hour = minute(r.hour);
    match r.status.as_str() {
        "open" if r.now < r.cut_from => format!("NOT BILLED YET: the hour {hour} is open and still collects usage."),
        "open" => format!("NOT BILLED YET: the hour {hour} is over and waits for its cut."),
        "nothing_due" => {
            let of_meter = |cut: &&Cut| meter.map_or(cut.is_own, |meter| meter == (cut.month, cut.contract.as_str()));
            nothing_due(report.cuts.iter().rfind(of_meter))
        }
        // a silent hour: there is nothing to bill, and that is said
        "accepted" if r.quantity.as_deref() == Some("0") => {
            format!("NOTHING TO BILL: {} was told that nothing was used in the hour {hour}.", r.destination)
        }
        "due" | "in_flight" if r.maybe_billed => {
            format!(
                "MAYBE BILLED: {what} may have arrived; {} with the same key, so that it is billed once.",
                if r.status == "due" { "it is sent again" } else { "it is being sent again" }
            )
        }
        "due" => format!("NOT BILLED YET: {what}, {}.", waiting(r)),
        "in_flight" => format!("BEING SENT: {what} may be billed; the answer tells."),
        "accepted" if r.confirmed == Some(false) => {
            format!("BILLED: {} holds the key of {what}; quantity not confirmed.", r.destination)
        }
        "accepted" => format!("BILLED: {} holds {what}.", r.destination),
        "rejected" => format!("NOT BILLED: {} refused {what} for good. A person decides.", r.destination),
        "expired" if r.again_at.is_some() => {
            format!("NOT BILLED YET: {what} came too late for {}; another hour of its month takes it.", r.destination)
        }
        "expired" => format!("NOT BILLED: {what} came too late for {}. A person decides.", r.destination),
        "conflict" => format!(
            "BILLED OTHERWISE: {} holds {} under the key of {what}. A person decides.",
            r.destination,
            r.shown_quantity.as_deref().unwrap_or("something else")
        ),
        "unknown" => format!("MAYBE BILLED: nobody knows whether {} took {what}. A person decides.", r.destination),
        "held" if r.maybe_billed => format!("MAYBE BILLED: {what}, held. A person decides."),
        "held" => {
            let reason = held(r.reason.as_deref().unwrap_or_default()).0;
            let who = match r.again_at {
                Some(at) => format!("It is sent again by itself, {}.", from_now(r.now, at)),
                None => "A person decides.".to_owned(),
            };
            format!("NOT BILLED: {what}, held because {reason}. {who}")
        }
        "dry_run" => format!("NOT BILLED: {} is a dry run; {what} would have been sent.", r.destination),
        "written_off" => format!("NOT BILLED: {what}, given up by a person."),
        "released" => format!("NOT BILLED HERE: {what}, given back to its month to count with another hour."),
        other => format!("Remittance {} has status {other}.", r.delivery_id),
    }
}

/// `2 units (1.5 USD) for the hour 2024-09-18 10:00 UTC`.
fn what(r: &Remittance) -> String {
    let units = r.quantity.as_deref().map(units).unwrap_or_default();
    let worth = match (&r.amount, &r.currency) {
        (Some(sum), Some(_)) if r.quantity.as_deref() != Some("0") => {
            format!(" ({})", amount(Some(sum), r.currency.as_deref()))
        }
        _ => String::new(),
    };
    format!("{units}{worth} for the hour {}", minute(r.hour))
}

/// What a due remittance waits for.
fn waiting(r: &Remittance) -> String {
    match (r.paused, r.breaker.as_str(), r.next_try_at) {
        (true, ..) => format!("frozen; {} is PAUSED by a person, so nothing is sent", r.destination),
        (_, "open" | "half_open", _) => {
            format!("frozen; {} does not work at present ({})", r.destination, r.breaker_met)
        }
        (_, _, Some(at)) => format!("frozen; it is tried again at {} ({})", moment(at), from_now(r.now, at)),
        _ => "frozen and waiting to be sent".to_owned(),
    }
}

/// Why a cut had nothing to send.
fn nothing_due(cut: Option<&Cut>) -> String {
    let Some(cut) = cut else { return "NOTHING TO BILL: the hour was cut and nothing was due.".to_owned() };
    let next = |before: &str| match (cut.billed_next_by, cut.billed_next_hour) {
        (Some(by), Some(hour)) => {
            format!("{before}; the next that billed was {} (remittance {by}).", minute(hour))
        }
        _ => format!("{before}."),
    };
    if cut.deferred {
        return next(
            "NOT BILLED HERE: the hour could no longer be sent, so all of it counts with another hour of its month",
        );
    }
    if !cut.metrics.is_empty() && cut.metrics.iter().all(|metric| metric.counted == "0") {
        return if cut.metrics.iter().any(|metric| metric.covered != "0") {
            "NOT BILLED, AND RIGHTLY SO: contracts cover all of it.".to_owned()
        } else {
            "NOTHING TO BILL: nothing is used, after corrections.".to_owned()
        };
    }
    if cut.carried.starts_with('-') || cut.carried == "0" {
        return "BILLED ALREADY: what was billed before in this month pays for it.".to_owned();
    }
    match cut.billed_next_by {
        Some(_) => {
            next("CARRIED ON: less than one more unit came together, so it counted with later hours of its month")
        }
        None => "NOT BILLED YET: less than one more unit came together; it is carried on in its month.".to_owned(),
    }
}
