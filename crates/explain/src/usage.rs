//! A usage in plain words: its whole way.

use jiff::Timestamp;
use outbox::report::{Allocation, Usage, UsageReport};

use crate::text::{from_now, minute, moment};
use crate::verdict::verdict as verdict_of;
use crate::words::{contract, held};
use crate::{Story, remittance};

/// The whole story of a usage.
#[must_use]
pub fn story(report: &UsageReport) -> Story {
    let mut story = Story::new(verdict(report));
    story.tell(format!("Usage {} of {}", report.usage.event_id, report.usage.source), facts(report));
    story.tell("Where it is", whereabouts(report));
    for remittance in &report.remittances {
        remittance::tell(&mut story, remittance, true);
    }
    let is_counted = report.usage.whereabouts == "allocated";
    if !is_counted {
        story.tell("What happens by itself", by_itself(&report.usage));
        story.tell("What a person can do", by_people(&report.usage));
    }
    story.tell("What people decided about the usage", remittance::decisions(&report.decisions));
    story
}

/// Where the money is, in a sentence.
fn verdict(report: &UsageReport) -> String {
    let usage = &report.usage;
    let what = format!("{} {} of {}", usage.quantity, usage.metric, usage.product);
    let told = match usage.whereabouts.as_str() {
        "waiting" => format!("NOT BILLED YET: {what} waits in the outbox until a worker counts it."),
        "held" => {
            format!("NOT BILLED: {what} is held, because {}.", held(usage.held_reason.as_deref().unwrap_or_default()).0)
        }
        "exempt" => format!(
            "NOT BILLED, ON PURPOSE: {what}; org {} is exempt ({}).",
            usage.org,
            usage.exempt_reason.as_deref().unwrap_or("no reason was given")
        ),
        "written_off" => match report.decisions.iter().rfind(|decision| decision.verb == "write_off") {
            Some(decision) => format!("NOT BILLED: {what}, given up by {} ({}).", decision.who, decision.why),
            None => format!("NOT BILLED: {what}, given up by a person."),
        },
        "allocated" => match report.remittances.last() {
            Some(last) => {
                let meter = report.allocations.last().map(|allocation| (allocation.month, &*allocation.contract));
                verdict_of(last, meter)
            }
            None => "It is allocated, and its remittance cannot be read.".to_owned(),
        },
        _ => {
            "LOST: it is neither waiting nor held nor counted. That is a defect: run `postmeter doctor` and report it."
                .to_owned()
        }
    };
    match (&usage.corrects, usage.whereabouts.as_str()) {
        (Some(_), "allocated") if report.allocations.iter().any(is_at_once) => format!(
            "A CORRECTION of {what}, counted at once, after the cut of its hour: what was sent stays as it is, and the \
             month's later usage is billed so much less. {told}"
        ),
        (Some(_), "allocated") => {
            format!("A CORRECTION of {what}, counted with its hour; nothing below zero is ever sent. {told}")
        }
        (Some(corrects), "exempt") => {
            format!("WITHOUT EFFECT: a correction of usage {corrects}, which is exempt: there is no bill to lower.")
        }
        (Some(corrects), "written_off") => {
            format!("WITHOUT EFFECT: a correction of usage {corrects}, which was given up: there is no bill to lower.")
        }
        _ => told,
    }
}

/// A correction of what was cut before.
fn is_at_once(allocation: &Allocation) -> bool {
    allocation.round < 0
}

fn facts(report: &UsageReport) -> Vec<String> {
    let Usage { quantity, metric, product, org, used_at, recorded_at, .. } = &report.usage;
    let account = report.usage.account.as_ref().map(|account| format!(" (account {account})")).unwrap_or_default();
    let mut lines = vec![
        format!("{quantity} {metric} of {product}, org {org}{account}"),
        format!("used {}, recorded {}", moment(*used_at), moment(*recorded_at)),
        format!("id {}", report.usage.usage_id),
    ];
    if let Some(corrects) = &report.usage.corrects {
        lines.push(format!("it corrects usage {corrects}, and goes where that is"));
    }
    if let Some(request) = &report.usage.request_id {
        lines.push(format!("caused by request {request}"));
    }
    for correction in &report.corrections {
        let (event, quantity, at) = (&correction.event_id, &correction.quantity, moment(correction.recorded_at));
        let effect = match correction.effect.as_str() {
            "counted" => "it is counted",
            "none" => "it is without effect, because nothing is billed for this usage",
            _ => "it counts when this usage does",
        };
        lines.push(format!("corrected by {event}: {quantity}, recorded {at}; {effect}"));
    }
    lines
}

fn whereabouts(report: &UsageReport) -> Vec<String> {
    let usage = &report.usage;
    match usage.whereabouts.as_str() {
        "waiting" => waiting(usage),
        "held" => held_lines(usage),
        "allocated" => report.allocations.iter().flat_map(|allocation| allocated(allocation, report)).collect(),
        _ => Vec::new(),
    }
}

fn waiting(usage: &Usage) -> Vec<String> {
    let mut lines = vec![format!("it belongs to the hour {}", minute(usage.hour))];
    if let (Some(destination), Some(until)) = (&usage.destination, usage.own_deadline) {
        let paused = if usage.is_paused == Some(true) { ", which is PAUSED" } else { "" };
        lines.push(format!("by the catalogue it goes to {destination}{paused}; {}", sendable(usage, until)));
    }
    lines
}

/// Until when its own hour can be sent.
fn sendable(usage: &Usage, until: Timestamp) -> String {
    let at = format!("{} ({})", minute(until), from_now(usage.now, until));
    if until >= usage.now {
        format!("its own hour can be sent until {at}")
    } else {
        format!("its own hour could be sent until {at}, so it is late")
    }
}

fn held_lines(usage: &Usage) -> Vec<String> {
    let reason = usage.held_reason.as_deref().unwrap_or_default();
    let mut lines = vec![format!("held as {reason}: {}", held(reason).0)];
    if let Some(at) = usage.held_at {
        lines.push(format!("since {} ({})", moment(at), from_now(usage.now, at)));
    }
    if let (Some(limit), Some(bound)) = (&usage.held_beyond, &usage.held_bound) {
        let limit = match limit.as_str() {
            "times_usual" => "times_usual of its dimension, by what is usual for its org",
            _ => "max_quantity of its dimension",
        };
        lines.push(format!("it is more than {bound} {}, {limit}", usage.metric));
    }
    if let (Some(counted), Some(share)) = (&usage.hour_quantity, &usage.hour_share) {
        lines.push(format!("its hour has counted {counted} without it; it would be {share} % of that hour"));
    }
    if let Some(destination) = &usage.held_for {
        lines.push(format!("it would go to {destination}"));
    }
    lines.push(usage.held_until.map_or_else(
        || "until when its hour can be sent is not known while no destination is".to_owned(),
        |until| sendable(usage, until),
    ));
    lines
}

/// Usage that a change of the catalogue, or of a month, returns by itself.
fn is_curable(reason: &str) -> bool {
    !matches!(reason, "too_late" | "poison" | "by_operator" | "implausible" | "lost_time")
}

/// What happens without anybody's hand to usage that no remittance counts.
fn by_itself(usage: &Usage) -> Vec<String> {
    match usage.whereabouts.as_str() {
        "waiting" => vec![match (&usage.catalogue_reason, &usage.exempt_reason) {
            (Some(reason), _) => {
                format!("the next fold holds it, as the catalogue is now: {} ({reason})", held(reason).0)
            }
            (None, Some(reason)) => format!("the next fold sets it aside as exempt: {reason}"),
            (None, None) => "the next fold counts it with its hour, or, where that was cut or is too late, with another \
                             hour of its month or by the destination's late_policy; if it stays here, no worker is alive \
                             (`postmeter status`)"
                .to_owned(),
        }],
        "held" => {
            let reason = usage.held_reason.as_deref().unwrap_or_default();
            vec![if reason == "implausible" {
                "nothing while its limit stands: it waits for a person, and its hour is sent without it; a limit that is \
                 raised or taken away lets it go"
                    .to_owned()
            } else if !is_curable(reason) {
                "nothing: it waits for a person".to_owned()
            } else if usage.catalogue_reason.is_none() {
                "its cause is gone: maintenance returns it to the outbox within a minute".to_owned()
            } else {
                "nothing while its cause stands; once that is gone it goes back to the outbox by itself, and what is too \
                 late for its own hour goes to another hour of its month"
                    .to_owned()
            }]
        }
        "exempt" => vec!["nothing: it is accounted for and will never be sent".to_owned()],
        "written_off" => vec!["nothing: it is final".to_owned()],
        _ => Vec::new(),
    }
}

/// What a person can do about usage that no remittance counts.
fn by_people(usage: &Usage) -> Vec<String> {
    if usage.whereabouts != "held" {
        return Vec::new();
    }
    let reason = usage.held_reason.as_deref().unwrap_or_default();
    let give_up = format!("give it up: postmeter write-off --held-usage --usage {} --why ... --apply", usage.usage_id);
    if reason == "too_late" && usage.is_orphan {
        return vec![give_up];
    }
    let mut lines = vec![cure(usage, reason)];
    if !is_curable(reason) {
        let id = usage.usage_id;
        lines.push(format!("return it to the outbox: postmeter retry --held-usage --usage {id} --why ... --apply"));
    }
    if reason == "implausible" && usage.corrects.is_none() {
        lines.push(format!(
            "if it is wrong: record a correction of it (`corrects` is {}, the quantity negative), wait for the next fold, \
             then return both by the same command",
            usage.event_id
        ));
    }
    lines.push(give_up);
    lines
}

/// What cures it; where its month can take it no more, with what must come first.
fn cure(usage: &Usage, reason: &str) -> String {
    match (reason, &usage.held_needs) {
        ("too_late", Some(needs)) => format!("write it off, or {needs} and retry it"),
        ("too_late", None) => "retry it: another hour can take it now; or write it off".to_owned(),
        ("month_closed", Some(needs)) => format!(
            "write it off, or {needs} and reopen the month (`postmeter month reopen`): it is then counted without \
             anybody's hand"
        ),
        _ => held(reason).1.to_owned(),
    }
}

fn allocated(allocation: &Allocation, report: &UsageReport) -> Vec<String> {
    let a = allocation;
    let until = a.valid_until.map_or_else(|| "open".to_owned(), |until| format!("until {}", minute(until)));
    let account = a.account.as_ref().map(|account| format!(", account {account}")).unwrap_or_default();
    let mut lines = vec![
        format!("counted by remittance {} of {}, for the hour {}", a.delivery_id, a.destination, minute(a.hour)),
        format!(
            "subscription {} of org {}{account}, valid from {}, {until}; buyer {}{}",
            a.subscription_id,
            report.usage.org,
            minute(a.valid_from),
            a.buyer,
            if a.contract == a.buyer { String::new() } else { format!(", counted on {}", contract(&a.contract)) }
        ),
        format!(
            "dimension {}, factor {}/{} (billing units for each of {})",
            a.dimension, a.factor_numerator, a.factor_denominator, report.usage.metric
        ),
    ];
    if is_at_once(a) {
        lines.push("that hour was cut before: it lowered the month at once, and no cut counts it".to_owned());
    } else if a.own_hour != a.hour {
        lines.push(format!(
            "late: its own hour {} was cut, or could no longer be sent, when it was counted; so it went to this hour",
            minute(a.own_hour)
        ));
    }
    let other_month =
        report.remittances.iter().any(|r| r.remittance.delivery_id == a.delivery_id && r.remittance.month != a.month);
    if other_month {
        lines.push(format!("it counts in its own month {}, as a part of that hour", a.month.strftime("%Y-%m")));
    }
    if is_at_once(a) {
        return lines;
    }
    if a.round >= a.cuts {
        lines.push("the next cut of that hour counts it".to_owned());
    } else if a.cuts > 1 {
        lines.push(format!("cut {} of that hour counted it", a.round + 1));
    }
    lines
}
