//! A usage in plain words: its whole way.

use outbox::report::{Allocation, Usage, UsageReport};

use super::words::held;
use super::{Story, remittance};
use crate::cli::status::text::{from_now, minute, moment};

/// The whole story of a usage.
pub(super) fn story(report: &UsageReport) -> Story {
    let mut story = Story::new(verdict(report));
    story.tell(format!("Usage {} of {}", report.usage.event_id, report.usage.source), facts(report));
    story.tell("Where it is", whereabouts(report));
    for remittance in &report.remittances {
        remittance::tell(&mut story, remittance, true);
    }
    story.tell("What people decided about the usage", remittance::decisions(&report.decisions));
    story
}

/// Where the money is, in a sentence.
fn verdict(report: &UsageReport) -> String {
    let usage = &report.usage;
    match usage.whereabouts.as_str() {
        "waiting" => "NOT BILLED YET: it waits in the outbox until a worker counts it.".to_owned(),
        "held" => {
            format!("NOT BILLED: it is held, because {}.", held(usage.held_reason.as_deref().unwrap_or_default()).0)
        }
        "exempt" => format!(
            "NOT BILLED, ON PURPOSE: org {} is exempt ({}).",
            usage.org,
            usage.exempt_reason.as_deref().unwrap_or("no reason was given")
        ),
        "written_off" => "NOT BILLED: a person gave it up.".to_owned(),
        "allocated" => match report.remittances.last() {
            Some(last) => remittance::verdict(last),
            None => "It is allocated, and its remittance cannot be read.".to_owned(),
        },
        _ => {
            "LOST: it is neither waiting nor held nor counted. That is a defect: run `postmeter doctor` and report it."
                .to_owned()
        }
    }
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
        lines.push(format!("it corrects usage {corrects}"));
    }
    if let Some(request) = &report.usage.request_id {
        lines.push(format!("caused by request {request}"));
    }
    for correction in &report.corrections {
        let (event, quantity, at) = (&correction.event_id, &correction.quantity, moment(correction.recorded_at));
        lines.push(format!("corrected by {event}: {quantity}, recorded {at}; that usage goes its own way"));
    }
    lines
}

fn whereabouts(report: &UsageReport) -> Vec<String> {
    let usage = &report.usage;
    match usage.whereabouts.as_str() {
        "waiting" => waiting(usage),
        "held" => held_lines(usage),
        "exempt" => vec!["it is accounted for and will never be sent".to_owned()],
        "allocated" => report.allocations.iter().flat_map(|allocation| allocated(allocation, report)).collect(),
        _ => Vec::new(),
    }
}

fn waiting(usage: &Usage) -> Vec<String> {
    let mut lines = vec![format!(
        "it belongs to the hour {}; if that was cut already, it goes to another hour of its month",
        minute(usage.hour)
    )];
    match (&usage.catalogue_reason, &usage.exempt_reason) {
        (Some(reason), _) => lines.push(format!("as the catalogue is now it will be held: {}", held(reason).0)),
        (None, Some(reason)) => lines.push(format!("as the catalogue is now it is exempt: {reason}")),
        (None, None) => lines
            .push("the catalogue knows where it goes; if it stays, no worker is alive (`postmeter status`)".to_owned()),
    }
    lines
}

fn held_lines(usage: &Usage) -> Vec<String> {
    let reason = usage.held_reason.as_deref().unwrap_or_default();
    let (why, cure) = held(reason);
    let mut lines = vec![format!("held as {reason}: {why}")];
    if let Some(at) = usage.held_at {
        lines.push(format!("since {} ({})", moment(at), from_now(usage.now, at)));
    }
    if let Some(destination) = &usage.held_for {
        lines.push(format!("it would go to {destination}"));
    }
    lines.push(format!("cure: {cure}"));
    lines.push(match usage.held_until {
        Some(until) if until >= usage.now => {
            format!("its own hour can be sent until {} ({})", minute(until), from_now(usage.now, until))
        }
        Some(until) => format!(
            "its own hour could be sent until {}; cured now, it goes to another hour of its month",
            minute(until)
        ),
        None => "until when its hour can be sent is not known while no destination is".to_owned(),
    });
    if usage.catalogue_reason.is_none() && reason != "too_late" && reason != "poison" && reason != "by_operator" {
        lines.push("the catalogue knows it by now: maintenance returns it to the outbox within a minute".to_owned());
    }
    lines
}

fn allocated(allocation: &Allocation, report: &UsageReport) -> Vec<String> {
    let a = allocation;
    let until = a.valid_until.map_or_else(|| "open".to_owned(), |until| format!("until {}", minute(until)));
    let account = a.account.as_ref().map(|account| format!(", account {account}")).unwrap_or_default();
    let mut lines = vec![
        format!("counted by remittance {} of {}, for the hour {}", a.delivery_id, a.destination, minute(a.hour)),
        format!(
            "subscription {} of org {}{account}, valid from {}, {until}; buyer {}",
            a.subscription_id,
            report.usage.org,
            minute(a.valid_from),
            a.buyer
        ),
        format!(
            "dimension {}, factor {}/{} (billing units for each of {})",
            a.dimension, a.factor_numerator, a.factor_denominator, report.usage.metric
        ),
    ];
    if a.own_hour != a.hour {
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
    if a.round >= a.cuts {
        lines.push("the next cut of that hour counts it".to_owned());
    } else if a.cuts > 1 {
        lines.push(format!("cut {} of that hour counted it", a.round + 1));
    }
    lines
}
