//! What becomes of a remittance: by itself, and by a person's hand. Every status has an answer to the first; whatever
//! waits for a person has one to the second.

use outbox::corrections::Contradiction;
use outbox::report::{Remittance, RemittanceReport};

use crate::text::{from_now, minute, moment, span};

/// What happens without anybody's hand.
pub(super) fn by_itself(report: &RemittanceReport) -> Vec<String> {
    let r = &report.remittance;
    let deadline = || format!("it can be sent until {} ({})", minute(r.deadline), from_now(r.now, r.deadline));
    match r.status.as_str() {
        "open" => {
            let at = format!("{} ({})", minute(r.cut_from), from_now(r.now, r.cut_from));
            let mut lines =
                vec![format!("it is cut after {at}, once the outbox holds nothing more for it; then it is sent")];
            lines.extend(in_the_way(r));
            lines
        }
        "nothing_due" => vec![
            "what it counted stays in its month: later usage is billed together with it".to_owned(),
            format!("late usage opens the hour again until {}", minute(r.deadline)),
        ],
        "due" => {
            let mut lines = in_the_way(r);
            if lines.is_empty() {
                lines.push(match r.next_try_at {
                    Some(at) => format!("the same bytes are sent again at {} ({})", moment(at), from_now(r.now, at)),
                    None => {
                        "the next free worker sends it; if none does, none is alive (`postmeter status`)".to_owned()
                    }
                });
            }
            lines.push(format!(
                "{}; after that it {}",
                deadline(),
                if r.maybe_billed { "becomes unknown, for a person" } else { "expires" }
            ));
            lines
        }
        "in_flight" => vec![
            "the answer decides; should its worker die, another takes over after the lease and sends the same bytes \
             with the same key"
                .to_owned(),
        ],
        "expired" if r.again_at.is_some() => {
            vec![
                "maintenance gives its quantity to another hour of its month (expired_policy is roll_forward)"
                    .to_owned(),
            ]
        }
        "held" if let Some(at) = r.again_at => {
            vec![format!(
                "it is sent again at {} ({}) and every ten minutes; {}",
                moment(at),
                from_now(r.now, at),
                deadline()
            )]
        }
        "unknown" | "held" | "conflict" if r.maybe_billed => {
            vec!["nothing, unless a late answer arrives that tells".to_owned()]
        }
        "rejected" | "expired" | "conflict" | "unknown" | "held" => {
            vec![format!("nothing: it waits for a person; {}", past(r))]
        }
        "released" => vec!["nothing more here: its quantity counts with another hour of its month".to_owned()],
        "accepted" => vec!["nothing: it is settled".to_owned()],
        "dry_run" => vec!["nothing: it is final, and no call was made".to_owned()],
        _ => vec!["nothing: it is final, and later hours bill as if it had been billed".to_owned()],
    }
}

fn past(r: &Remittance) -> String {
    if r.deadline >= r.now {
        format!("it can be sent until {} ({})", minute(r.deadline), from_now(r.now, r.deadline))
    } else {
        format!("its hour could be sent until {}", minute(r.deadline))
    }
}

/// Why nothing is sent to its destination.
fn in_the_way(r: &Remittance) -> Vec<String> {
    let mut lines = Vec::new();
    if r.dry_run {
        lines.push(format!("{} is a dry run: it is worked through, and no call is made", r.destination));
    }
    if r.paused {
        lines.push(format!(
            "{} is PAUSED: nothing is sent until somebody resumes it, and its deadline goes on",
            r.destination
        ));
    }
    let met = &r.breaker_met;
    match (r.breaker.as_str(), r.probe_seconds) {
        ("closed", _) => {}
        ("recovering", _) => {
            lines.push(format!("{} answers again after {met}, and is sent to ever faster", r.destination))
        }
        (_, Some(seconds)) if seconds >= 1.0 => {
            let seconds = span(seconds as i64);
            lines.push(format!(
                "{} does not work ({met}): one call probes it in {seconds}; no try is spent",
                r.destination
            ));
        }
        _ => lines.push(format!("{} does not work ({met}): one call probes it now; no try is spent", r.destination)),
    }
    lines
}

/// What a person can do about it: what the marketplace says otherwise is judged before anything else.
pub(super) fn by_people(report: &RemittanceReport) -> Vec<String> {
    let open = report.contradictions.iter().filter(|contradiction| contradiction.judged_by.is_none());
    let judged = open.flat_map(judge).collect::<Vec<_>>();
    if judged.is_empty() { by_status(&report.remittance) } else { judged }
}

fn judge(contradiction: &Contradiction) -> Vec<String> {
    let id = contradiction.id;
    let ours = format!("postmeter judge {id} --ours --why ...");
    // what was counted anew since cannot become what they speak of
    if contradiction.is_earlier {
        return vec![format!("agree with their support on what counts, then let what was settled here stand: {ours}")];
    }
    vec![
        format!("if it is as they say: postmeter judge {id} --theirs --why ..."),
        format!("if what was settled here stands all the same: {ours}"),
    ]
}

fn by_status(r: &Remittance) -> Vec<String> {
    let id = r.delivery_id;
    let resolve = format!(
        "find out at the marketplace whether it was billed, then: postmeter resolve {id} --billed --why ... \
         (or --not-billed)"
    );
    let give_up = format!("give it up: postmeter write-off --delivery {id} --why ... --apply");
    let retry = format!(
        "send the same bytes again, once the cause is mended: postmeter retry --delivery {id} --why ... --apply"
    );
    let release_it = format!("{}postmeter release --delivery {id} --why ... --apply", first(r));
    let release = format!("count its quantity with another hour: {release_it}");
    let recount = |first: String, late: &str| {
        format!(
            "if the catalogue was mistaken, count its usage again by today's: {first}postmeter recount --delivery \
             {id}{late} --why ... --apply"
        )
    };
    let corrected = "(`corrects` names its event_id, the quantity is negative), wait for the next fold, then";
    let correct = format!("if one of its usages is wrong: record a correction of that {corrected} release it");
    if r.is_in_doubt {
        return vec![resolve];
    }
    if r.reason.as_deref() == Some("lost_time") {
        return vec![
            format!("if they hold it, with another hour: postmeter resolve {id} --billed --why ..."),
            format!("if not, it goes back to its meter: postmeter resolve {id} --not-billed --why ..."),
        ];
    }
    match r.status.as_str() {
        "unknown" => vec![resolve],
        "held" if r.maybe_billed => vec![resolve],
        "conflict" => vec![
            format!(
                "if what they hold is ours after all, it counts: {}postmeter resolve {id} --billed{} --why ...",
                reopened(r),
                if r.shown_quantity.is_some() { "" } else { " --quantity HOW_MUCH_THEY_HOLD" }
            ),
            format!("if not, correct it with the marketplace's support and {give_up}"),
        ],
        // released as it is, it is out of range again
        "held" if r.reason.as_deref() == Some("quantity_out_of_range") => {
            vec![format!("record a correction of its usage {corrected} {release_it}"), give_up]
        }
        // a silent hour has nothing that another could take
        "rejected" | "held" if r.quantity.as_deref() == Some("0") && r.deadline >= r.now => vec![retry, give_up],
        "rejected" | "held" | "expired" if r.quantity.as_deref() == Some("0") => vec![give_up],
        // without bytes there is nothing that could be sent again
        "rejected" | "held" if r.deadline >= r.now && r.body.is_some() => {
            vec![retry, recount(reopened(r), ""), release, correct, give_up]
        }
        "rejected" | "held" | "expired" => vec![release, recount(first(r), " --late"), correct, give_up],
        "due" => due(r),
        "accepted" if r.is_unconfirmed => vec![format!(
            "see how much they hold. Our very quantity: postmeter resolve {id} --billed --why ...; another one: say it by \
             a report, postmeter resolve --file"
        )],
        _ => Vec::new(),
    }
}

/// What must come before its quantity can be counted with another hour.
fn first(r: &Remittance) -> String {
    let Some(needs) = &r.release_needs else { return String::new() };
    format!("{}, then ", needs.replacen("reopen its month", &reopen(r), 1))
}

/// Its month must be open.
fn reopened(r: &Remittance) -> String {
    if r.is_month_closed { format!("{}, then ", reopen(r)) } else { String::new() }
}

fn reopen(r: &Remittance) -> String {
    let (destination, month) = (&r.destination, r.month.strftime("%Y-%m"));
    format!("reopen its month (postmeter month reopen {destination} {month} --why ... --apply)")
}

fn due(r: &Remittance) -> Vec<String> {
    let mut lines = Vec::new();
    if r.paused {
        lines.push(format!("send again: postmeter resume {} --why ...", r.destination));
    }
    if r.breaker == "open" {
        lines.push(format!("once they are back, do not wait: postmeter probe {} --why ...", r.destination));
    }
    lines.push(format!("put it aside: postmeter hold --delivery {} --why ... --apply", r.delivery_id));
    lines
}

#[cfg(test)]
mod tests {
    use remittance::Status;

    use super::*;
    use crate::verdict::verdict;

    fn report(status: Status, maybe_billed: bool, paused: bool) -> RemittanceReport {
        let at = |text: &str| text.parse().unwrap();
        let remittance = Remittance {
            delivery_id: 1,
            destination: "aws".into(),
            key: "k".into(),
            hour: at("2024-09-18T10:00:00Z"),
            product: "db".into(),
            dimension: "cores".into(),
            month: "2024-09-01".parse().unwrap(),
            buyer: "b".into(),
            status: status.as_str().into(),
            reason: (status == Status::Held).then(|| "poison".into()),
            maybe_billed,
            maybe_since: maybe_billed.then(|| at("2024-09-18T11:10:00Z")),
            confirmed: None,
            quantity: Some("3".into()),
            shown_quantity: None,
            amount: None,
            currency: None,
            deadline: at("2024-09-19T09:50:00Z"),
            tries: 0,
            attempts: 0,
            idempotency_key: None,
            body: Some("{}".into()),
            opened_at: at("2024-09-18T10:10:00Z"),
            cut_at: None,
            changed_at: at("2024-09-18T11:10:00Z"),
            next_try_at: None,
            again_at: None,
            expired_policy: "hold".into(),
            breaker: "closed".into(),
            probe_seconds: None,
            breaker_met: String::new(),
            lost_at: None,
            is_in_doubt: false,
            is_unconfirmed: false,
            is_month_closed: false,
            release_needs: None,
            paused,
            dry_run: false,
            cut_from: at("2024-09-18T11:05:00Z"),
            now: at("2024-09-18T11:20:00Z"),
        };
        RemittanceReport {
            remittance,
            members: Vec::new(),
            biggest: Vec::new(),
            cuts: Vec::new(),
            attempts: Vec::new(),
            contradictions: Vec::new(),
            late_evidence: Vec::new(),
            decisions: Vec::new(),
        }
    }

    #[test]
    fn i2_every_status_says_where_the_money_is_what_happens_and_what_can_be_done() {
        for &status in Status::ALL {
            for maybe_billed in [false, true] {
                let report = report(status, maybe_billed, false);
                let told = verdict(&report, None);
                assert!(!told.contains("has status"), "{status}: {told}");
                assert!(!by_itself(&report).is_empty(), "{status}");
                let waits_for_a_person = told.contains("A person decides");
                assert!(!waits_for_a_person || !by_people(&report).is_empty(), "{status}: {told}");
                let is_stuck = matches!(
                    status,
                    Status::Rejected | Status::Expired | Status::Conflict | Status::Unknown | Status::Held
                );
                assert_eq!(waits_for_a_person, is_stuck, "{status}: {told}");
            }
        }
        assert!(by_itself(&report(Status::Due, false, true))[0].contains("PAUSED"));
    }
}
