//! A remittance in plain words: where the money is, how it was counted, what was tried.

use outbox::report::{Biggest, Member, Remittance, RemittanceReport};

use crate::attempts::attempts;
use crate::text::{count, from_now, minute, moment, shortened};
use crate::verdict::verdict;
use crate::words::{held, outcome};
use crate::{Story, arithmetic, next};

/// The whole story of a remittance.
#[must_use]
pub fn story(report: &RemittanceReport) -> Story {
    let mut story = Story::new(verdict(report, None));
    tell(&mut story, report, true);
    story
}

/// Tells a remittance's sections.
pub(super) fn tell(story: &mut Story, report: &RemittanceReport, with_members: bool) {
    let remittance = &report.remittance;
    let title = format!("Remittance {} at {}", remittance.delivery_id, remittance.destination);
    story.tell(title, standing(report));
    if with_members {
        story.tell("What it counts", report.members.iter().map(|member| counted(member, remittance)).collect());
    }
    story.tell("Its biggest usages", report.biggest.iter().map(biggest).collect());
    story.tell("How it was counted", report.cuts.iter().flat_map(|cut| arithmetic::lines(cut, remittance)).collect());
    story.tell("What was tried", tried(report));
    story.tell(
        "What the marketplace says otherwise",
        report.contradictions.iter().map(|one| format!("contradiction {}: {}", one.id, one.sentence())).collect(),
    );
    story.tell("What people decided", decisions(&report.decisions));
    story.tell("What happens by itself", next::by_itself(report));
    story.tell("What a person can do", next::by_people(report));
}

/// The facts of a remittance.
fn standing(report: &RemittanceReport) -> Vec<String> {
    let r = &report.remittance;
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
        "accepted" if r.is_unconfirmed => lines.push(
            "they called it a duplicate after the database lost commits, and did not say how much they hold: it may be \
             another quantity, sent in that time"
                .to_owned(),
        ),
        "accepted" if r.confirmed == Some(false) => {
            lines.push(
                "they recognised the key and did not show the quantity, or a person said so: quantity not confirmed"
                    .to_owned(),
            );
        }
        _ => {}
    }
    if let Some(since) = r.maybe_since {
        let what = if r.reason.as_deref() == Some("lost_time") {
            "it stands for what its meter had to bill when the database lost commits, and may have been billed with another hour"
        } else if report.attempts.is_empty() {
            "the database lost commits after that (a failover or a restore), so it may have been sent and forgotten"
        } else {
            "an attempt of then may have arrived, and no answer told"
        };
        lines.push(format!("maybe billed since {}: {what}; only evidence or a person ends that", moment(since)));
    }
    if matches!(r.status.as_str(), "open" | "due" | "in_flight" | "unknown" | "held" | "rejected" | "conflict") {
        lines.push(format!("it can be sent until {} ({})", minute(r.deadline), from_now(r.now, r.deadline)));
    }
    if r.is_in_doubt {
        lines.push(
            "in doubt: the database lost commits after it was settled so, and it may have been sent in that time; \
             until a person resolves it, it is neither sent nor released"
                .to_owned(),
        );
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

fn biggest(usage: &Biggest) -> String {
    let Biggest { source, event_id, org, metric, quantity, share, .. } = usage;
    format!("{quantity} {metric}, usage {event_id} of {source}, org {org}: {share} % of that metric")
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
    let mut lines = attempts(&report.attempts, false).lines();
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
