//! A remittance in plain words: where the money is, how it was counted, what was tried.

use outbox::report::{Cut, Member, Remittance, RemittanceReport};

use super::words::{held, outcome, units};
use super::{Story, arithmetic};
use crate::cli::attempts::table;
use crate::cli::status::text::{amount, count, from_now, minute, moment, shortened};

/// The whole story of a remittance.
pub(super) fn story(report: &RemittanceReport) -> Story {
    let mut story = Story::new(verdict(report));
    tell(&mut story, report, true);
    story
}

/// Tells a remittance's sections.
pub(super) fn tell(story: &mut Story, report: &RemittanceReport, with_members: bool) {
    let remittance = &report.remittance;
    let title = format!("Remittance {} at {}", remittance.delivery_id, remittance.destination);
    story.tell(title, standing(remittance));
    if with_members {
        story.tell("What it counts", report.members.iter().map(|member| counted(member, remittance)).collect());
    }
    story.tell("How it was counted", report.cuts.iter().flat_map(|cut| arithmetic::lines(cut, remittance)).collect());
    story.tell("What was tried", tried(report));
    story.tell("What people decided", decisions(&report.decisions));
    story.tell("What can be done", advice(remittance));
}

/// Where the money is, in a sentence.
pub(super) fn verdict(report: &RemittanceReport) -> String {
    let r = &report.remittance;
    let units = r.quantity.as_deref().map(units).unwrap_or_default();
    let worth = match (&r.amount, &r.currency) {
        (Some(sum), Some(_)) if r.quantity.as_deref() != Some("0") => {
            format!(" ({})", amount(Some(sum), r.currency.as_deref()))
        }
        _ => String::new(),
    };
    let what = format!("{units}{worth} for the hour {}", minute(r.hour));
    match r.status.as_str() {
        "open" if r.now < r.cut_from => {
            format!("NOT BILLED YET: the hour {} is open and still collects usage.", minute(r.hour))
        }
        "open" => format!("NOT BILLED YET: the hour {} is over and waits for its cut.", minute(r.hour)),
        "nothing_due" => nothing_due(report.cuts.iter().rfind(|cut| cut.is_own)),
        "due" | "in_flight" if r.maybe_billed => {
            format!("MAYBE BILLED: {what} may have arrived; sent again with the same key, so that it is billed once.")
        }
        "due" => format!("NOT BILLED YET: {what}, frozen and waiting to be sent."),
        "in_flight" => format!("NOT BILLED YET: {what}, being sent now."),
        "accepted" => format!("BILLED: {} holds {what}.", r.destination),
        "rejected" => format!("NOT BILLED: {} refused {what} for good. A person decides.", r.destination),
        "expired" => format!("NOT BILLED: {what} came too late for {}.", r.destination),
        "conflict" => match &r.shown_quantity {
            Some(shown) => {
                format!("BILLED OTHERWISE: {} holds {shown} under the key of {what}. A person decides.", r.destination)
            }
            None => format!(
                "BILLED OTHERWISE: {} holds something else under the key of {what}. A person decides.",
                r.destination
            ),
        },
        "unknown" => format!("MAYBE BILLED: nobody knows whether {} took {what}. A person decides.", r.destination),
        "held" if r.maybe_billed => format!("MAYBE BILLED: {what}, held. A person decides."),
        "held" => format!("NOT BILLED: {what}, held. A person decides."),
        "dry_run" => format!("NOT BILLED: {} is a dry run; {what} would have been sent.", r.destination),
        "written_off" => format!("NOT BILLED: {what}, given up by a person."),
        "released" => format!("NOT BILLED HERE: {what}, given back to the month to count with another hour."),
        other => format!("Remittance {} has status {other}.", r.delivery_id),
    }
}

/// Why a cut had nothing to send.
fn nothing_due(cut: Option<&Cut>) -> String {
    match cut {
        Some(cut) if cut.deferred => {
            "NOT BILLED HERE: the hour could no longer be sent; all of it counts with another hour of its month."
                .to_owned()
        }
        Some(cut) if !cut.metrics.is_empty() && cut.metrics.iter().all(|metric| metric.counted == "0") => {
            let covered = cut.metrics.iter().any(|metric| metric.covered != "0");
            if covered {
                "NOT BILLED, AND RIGHTLY SO: contracts cover all of it."
            } else {
                "NOTHING TO BILL: nothing was used."
            }
            .to_owned()
        }
        Some(cut) if cut.carried.starts_with('-') || cut.carried == "0" => {
            "BILLED ALREADY: what was billed before in this month pays for it.".to_owned()
        }
        Some(cut) => match (cut.billed_next_by, cut.billed_next_hour) {
            (Some(by), Some(hour)) => format!(
                "CARRIED ON: less than one more unit came together, so it counted with later hours of its month; \
                 the next that billed was {} (remittance {by}).",
                minute(hour)
            ),
            _ => "NOT BILLED YET: less than one more unit came together; it is carried on in its month.".to_owned(),
        },
        None => "NOTHING TO BILL: the hour was cut and nothing was due.".to_owned(),
    }
}

/// The facts of a remittance.
fn standing(r: &Remittance) -> Vec<String> {
    let mut lines = vec![
        format!(
            "status {}{}, since {}",
            r.status.replace('_', " "),
            if r.maybe_billed { ", maybe billed" } else { "" },
            moment(r.changed_at)
        ),
        format!(
            "hour {}, dimension {}, product {}, month {}",
            minute(r.hour),
            r.dimension,
            r.product,
            r.month.strftime("%Y-%m")
        ),
        format!("key {}", r.key),
    ];
    if let Some(reason) = &r.reason {
        lines.push(format!("held as {reason}: {}", held(reason).0));
    }
    match r.status.as_str() {
        "open" => lines.push(format!(
            "it is cut after {} ({}), when the outbox holds nothing more for it",
            minute(r.cut_from),
            from_now(r.now, r.cut_from)
        )),
        "accepted" if r.confirmed == Some(false) => {
            lines.push(
                "they recognised the key and did not show the quantity, or a person said so: quantity not confirmed"
                    .to_owned(),
            );
        }
        _ => {}
    }
    if let Some(since) = r.maybe_since {
        lines.push(format!("an attempt of {} may have arrived; only evidence or a person moves it", moment(since)));
    }
    if let Some(at) = r.next_try_at {
        lines.push(format!("next try {} ({})", moment(at), from_now(r.now, at)));
    }
    if matches!(r.status.as_str(), "open" | "due" | "in_flight" | "unknown" | "held" | "rejected" | "conflict") {
        lines.push(format!("it can be sent until {} ({})", minute(r.deadline), from_now(r.now, r.deadline)));
    }
    if r.paused {
        lines.push("the destination is PAUSED: nothing is sent until somebody resumes it".to_owned());
    }
    if let Some(key) = r.idempotency_key {
        lines.push(format!("idempotency key {key}"));
    }
    lines
}

fn counted(member: &Member, r: &Remittance) -> String {
    let account = member.account.as_ref().map(|account| format!(" (account {account})")).unwrap_or_default();
    let late = if member.own_hour == r.hour {
        String::new()
    } else {
        format!(" (late, of the hour {})", minute(member.own_hour))
    };
    format!(
        "{} {} of {} of org {}{account} in {}{late}",
        member.quantity,
        member.metric,
        member.product,
        member.org,
        count(member.usages, "usage")
    )
}

/// Every attempt, then what each kind of outcome means, then what they said and what came late.
fn tried(report: &RemittanceReport) -> Vec<String> {
    if report.attempts.is_empty() {
        return if report.remittance.cut_at.is_some() && report.remittance.status == "due" {
            vec!["nothing yet".to_owned()]
        } else {
            Vec::new()
        };
    }
    let mut lines = vec![table(&report.attempts, false).to_string()];
    let mut seen: Vec<&str> = Vec::new();
    for attempt in &report.attempts {
        if !seen.contains(&attempt.outcome.as_str()) {
            seen.push(&attempt.outcome);
            lines.push(format!("{}: {}", attempt.outcome.replace('_', " "), outcome(&attempt.outcome)));
        }
    }
    for attempt in &report.attempts {
        if let Some(excerpt) = &attempt.excerpt {
            lines.push(format!(
                "attempt {}: they said {}",
                attempt.number,
                shortened(&excerpt.replace('\n', " "), 300)
            ));
        }
    }
    for late in &report.late_evidence {
        lines.push(format!(
            "late evidence, {}: {} {}",
            moment(late.recorded_at),
            late.outcome.replace('_', " "),
            late.code.as_deref().unwrap_or_default()
        ));
    }
    lines
}

/// Decisions, one a line.
pub(super) fn decisions(decisions: &[outbox::report::Decision]) -> Vec<String> {
    decisions
        .iter()
        .map(|decision| {
            let word = |text: &Option<String>| text.as_deref().unwrap_or("-").replace('_', " ");
            let target = decision
                .target_delivery_id
                .map(|id| format!(", its quantity went to remittance {id}"))
                .unwrap_or_default();
            format!(
                "{}: {} by {} ({}), {} to {}{target}",
                moment(decision.decided_at),
                decision.verb.replace('_', " "),
                decision.who,
                decision.why,
                word(&decision.status_before),
                word(&decision.status_after)
            )
        })
        .collect()
}

/// What a person can do about it.
fn advice(r: &Remittance) -> Vec<String> {
    let id = r.delivery_id;
    let resolve = format!(
        "find out at the marketplace whether it was billed, then: postmeter resolve {id} --billed --why ... \
         (or --not-billed)"
    );
    let give_up = format!("give it up: postmeter write-off --delivery {id} --why ... --apply");
    let retry = format!(
        "send the same bytes again, once the cause is mended: postmeter retry --delivery {id} --why ... --apply"
    );
    let release = format!("count its quantity with another hour: postmeter release --delivery {id} --why ... --apply");
    match r.status.as_str() {
        "unknown" => vec![resolve],
        "held" if r.maybe_billed => vec![resolve],
        "conflict" => vec![
            format!("if what they hold is ours after all: postmeter resolve {id} --billed --why ..."),
            format!("if not, correct it with the marketplace's support and {give_up}"),
        ],
        "rejected" | "held" if r.deadline >= r.now => vec![retry, release, give_up],
        "rejected" | "held" | "expired" => vec![release, give_up],
        "due" if r.paused => vec![format!("send again: postmeter resume {} --why ...", r.destination)],
        _ => Vec::new(),
    }
}
