//! The arithmetic of a cut in words: what was used, covered, rounded, billed before, and what is carried.

use outbox::report::{Cut, CutMetric, Remittance};

use crate::text::{minute, moment};
use crate::words::{contract, rounding, units};

/// One cut of a remittance, line by line.
pub(super) fn lines(cut: &Cut, remittance: &Remittance) -> Vec<String> {
    let what = if cut.is_own { "everything of the month" } else { "a part of the earlier month" };
    let so_far = if cut.is_own { " so far" } else { "" };
    // several contracts may be sent under one buyer, each rounded by itself
    let whose = if cut.contract == remittance.buyer { String::new() } else { format!("{}, ", contract(&cut.contract)) };
    let head = format!("Cut {}, {}: {whose}{what} {}{so_far}", cut.round + 1, moment(cut.cut_at), month(cut));
    let mut lines = vec![head];
    lines.extend(cut.metrics.iter().map(|metric| format!("  {}", used(metric))));
    if cut.metrics.is_empty() {
        lines.push("  nothing was used".to_owned());
    }
    lines.push(format!("  {}", rounded(cut)));
    lines.push(format!("  {}", billed(cut)));
    if let Some(carried) = carried(cut, remittance) {
        lines.push(format!("  {carried}"));
    }
    if let (Some(now), Some(decimals)) = (&cut.rounding_now, cut.decimals_now) {
        let now = rounding(now, decimals);
        lines.push(format!("  the catalogue says {now} by now: that counts from the next month on"));
    }
    lines
}

fn month(cut: &Cut) -> String {
    cut.month.strftime("%Y-%m").to_string()
}

/// `cores of db: 23 in hours cut before + 2 here = 25; no contract covers any; 25 count, each 1/4 of a unit`.
fn used(metric: &CutMetric) -> String {
    let CutMetric { product, metric, used_before, used_here, used, cover, covered, counted, factor } = metric;
    let covering = match (cover.as_str(), covered.as_str()) {
        ("0", "0") => "no contract covers any".to_owned(),
        (cover, covered) if cover == covered => format!("the contract covers {cover}"),
        (cover, covered) => format!("the contract covers {cover} a month, {covered} of it used"),
    };
    let factor = if factor == "1/1" { "each 1 unit".to_owned() } else { format!("each {factor} of a unit") };
    format!(
        "{metric} of {product}: {used_before} in hours cut before + {used_here} here = {used}; {covering}; \
         {counted} count, {factor}"
    )
}

/// `25/4 = 6.25 units, rounded up to whole units: 7`.
fn rounded(cut: &Cut) -> String {
    let quotient = match (cut.denominator.as_str(), cut.is_exact) {
        ("1", _) => units(&cut.unrounded),
        (denominator, true) => format!("{}/{denominator} = {}", cut.units, units(&cut.unrounded)),
        (denominator, false) => format!("{}/{denominator} = about {}", cut.units, units(&cut.unrounded)),
    };
    format!("together {quotient}, {}: {}", rounding(&cut.rounding, cut.decimals), cut.rounded)
}

/// `billed before in this month: 6; to bill now: 7 - 6 = 1`.
fn billed(cut: &Cut) -> String {
    let before = format!("billed before in this month: {}", cut.billed_before);
    if cut.deferred {
        return format!(
            "{before}; the hour could no longer be sent in time, so all of it goes to another hour of the month"
        );
    }
    if cut.to_bill == "0" {
        return format!("{before}; to bill now: nothing");
    }
    let settled = if cut.billed_after == cut.rounded {
        String::new()
    } else {
        format!(" (the month's last hour: the remainder is settled, {} in all)", cut.billed_after)
    };
    format!("{before}; to bill now: {} - {} = {}{settled}", cut.billed_after, cut.billed_before, cut.to_bill)
}

/// What is left over, and where it went.
fn carried(cut: &Cut, remittance: &Remittance) -> Option<String> {
    let about = if cut.is_carried_exact { "" } else { "about " };
    if cut.carried == "0" && cut.is_carried_exact {
        return None;
    }
    if let Some(ahead) = cut.carried.strip_prefix('-') {
        return Some(format!(
            "carried: {about}{} billed ahead; later usage of the month uses that up first; nothing negative is sent",
            units(ahead)
        ));
    }
    let next = match (cut.billed_next_by, cut.billed_next_hour, &cut.billed_next) {
        (Some(by), Some(hour), Some(billed)) if by != remittance.delivery_id => {
            format!("; remittance {by} (hour {}) then billed {}", minute(hour), units(billed))
        }
        _ => String::new(),
    };
    Some(format!(
        "carried: {about}{} not billed yet; it counts with the next hour of the month{next}",
        units(&cut.carried)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut() -> Cut {
        Cut {
            round: 0,
            cut_at: "2024-09-18T11:10:00Z".parse().unwrap(),
            month: "2024-09-01".parse().unwrap(),
            dimension: "core_units".into(),
            rounding: "up".into(),
            decimals: 0,
            month_end: "round_up".into(),
            is_own: true,
            contract: "aws/us-east-1/prod-db/111122223333".into(),
            rounding_now: None,
            decimals_now: None,
            denominator: "4".into(),
            units: "25".into(),
            unrounded: "6.25".into(),
            is_exact: true,
            rounded: "7".into(),
            billed_before: "6".into(),
            to_bill: "1".into(),
            billed_after: "7".into(),
            carried: "-0.75".into(),
            is_carried_exact: true,
            deferred: false,
            metrics: Vec::new(),
            billed_next_by: None,
            billed_next_hour: None,
            billed_next: None,
        }
    }

    #[test]
    fn b3_a_started_unit_is_shown_as_one() {
        assert_eq!(rounded(&cut()), "together 25/4 = 6.25 units, rounded up to whole units: 7");
        assert_eq!(billed(&cut()), "billed before in this month: 6; to bill now: 7 - 6 = 1");
    }

    #[test]
    fn b2_the_settlement_of_a_month_is_told() {
        let cut = Cut { rounding: "down".into(), rounded: "6".into(), ..cut() };
        assert!(billed(&cut).ends_with("= 1 (the month's last hour: the remainder is settled, 7 in all)"));
    }

    #[test]
    fn b6_nothing_is_billed_below_what_was_billed() {
        let cut = Cut { rounded: "4".into(), to_bill: "0".into(), billed_after: "6".into(), ..cut() };
        assert_eq!(billed(&cut), "billed before in this month: 6; to bill now: nothing");
    }

    #[test]
    fn b7_cover_is_told_with_what_of_it_was_used() {
        let metric = |cover: &str, covered: &str| {
            used(&CutMetric {
                product: "db".into(),
                metric: "cores".into(),
                used_before: "0".into(),
                used_here: "90".into(),
                used: "90".into(),
                cover: cover.into(),
                covered: covered.into(),
                counted: "0".into(),
                factor: "1/1".into(),
            })
        };
        assert!(metric("100", "90").contains("covers 100 a month, 90 of it used; 0 count, each 1 unit"));
        assert!(metric("0", "0").contains("no contract covers any"));
    }
}
