//! `docs/states.md` and `docs/glossary.md` against the enums and `decide`.

use std::time::Duration;

use jiff::Timestamp;
use remittance::{Next, Outcome, Policy, Quantity, Reason, RetrySchedule, Standing, Status, decide};

use super::read;

/// Rows of the first table after a heading, as trimmed cells.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let rest = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}")).1;
    let rows = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

/// The first cell of each row, without backticks.
fn first_cells(page: &str, heading: &str) -> Vec<String> {
    table(page, heading).iter().map(|row| row[0].trim_matches('`').to_owned()).collect()
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// What the phrase of a row's second cell means.
fn case(word: &str, when: &str, maybe_billed: bool) -> (Outcome, Standing, Policy) {
    let shown = when.contains("our quantity").then(|| Quantity::from(5));
    let mut outcome = Outcome::from_parts(word, Some("code".to_owned()), shown, None).expect("a word of the enum");
    if let Outcome::Unrecognised { record_alone, .. } = &mut outcome {
        *record_alone = when.contains("of this record");
    }
    if when.contains("may be the credential") {
        outcome = Outcome::Doubtful { code: "code".to_owned() };
    }
    let maybe_since = maybe_billed.then_some(NOW);
    let batch = if when.contains("with others") { 25 } else { 1 };
    let standing =
        Standing { maybe_billed, maybe_since, tries: 4, batch, refusals: 0, deadline: Timestamp::MAX, seed: 7 };
    let tries_max = when.contains("exhausted").then_some(5);
    let memory = when.contains("forgotten").then(|| Duration::from_millis(1));
    (outcome, standing, Policy { retry: RetrySchedule { tries_max, ..RetrySchedule::default() }, memory })
}

/// A status as its cell shows it.
fn shown(next: &Next) -> String {
    let reason = next.reason.map(|reason| format!(": `{reason}`")).unwrap_or_default();
    let maybe = if next.maybe_billed { ", maybe billed" } else { "" };
    format!("`{}`{reason}{maybe}", next.status)
}

fn again(outcome: &Outcome, next: &Next) -> &'static str {
    match (next.status, next.delay, next.batch_limit, outcome) {
        (Status::Due, None, Some(13), _) => "at once, in half as large a call",
        (Status::Due, None, None, _) => "at once",
        (Status::Due, Some(_), None, Outcome::Throttled { .. } | Outcome::Unavailable { .. }) => {
            "after their wait, else after a delay"
        }
        (Status::Due, Some(_), None, _) => "after a delay",
        (Status::Due, ..) => "in a way that the page does not know",
        _ => "",
    }
}

#[test]
fn the_table_of_outcomes_is_what_decide_does() {
    let rows = table(&read("docs/states.md"), "## Outcome to next status");
    let known = [
        "",
        "they show no quantity",
        "of this record alone",
        "they show our quantity",
        "with others in the call",
        "alone in the call",
        "alone in the call, and it may be the credential's fault",
        "remembered",
        "remembered, tries left",
        "forgotten by then",
        "tries exhausted",
    ];
    for row in &rows {
        let (word, when) = (row[0].trim_matches('`'), row[1].as_str());
        assert!(known.contains(&when), "the test does not know {when:?}");
        let next = [false, true].map(|maybe| {
            let (outcome, standing, policy) = case(word, when, maybe);
            let next = decide(&standing, &outcome, &policy, NOW);
            let (tried, sent) = (if next.is_try { "yes" } else { "no" }, again(&outcome, &next));
            assert_eq!((row[4].as_str(), row[5].as_str()), (tried, sent), "{word} {when}, maybe billed {maybe}");
            shown(&next)
        });
        assert_eq!([row[2].clone(), row[3].clone()], next, "{word} {when}");
    }
    for word in Outcome::WORDS {
        assert!(rows.iter().any(|row| row[0] == format!("`{word}`")), "docs/states.md lacks {word}");
    }
    let throttled = Outcome::Throttled { after: Some(Duration::from_secs(99)) };
    let (_, standing, policy) = case("throttled", "", false);
    assert_eq!(decide(&standing, &throttled, &policy, NOW).delay, Some(Duration::from_secs(99)), "at least theirs");
}

#[test]
fn every_status_has_its_meaning_and_its_place_in_the_chart() {
    let page = read("docs/states.md");
    let statuses: Vec<_> = Status::ALL.iter().map(|status| status.as_str().to_owned()).collect();
    assert_eq!(first_cells(&page, "The statuses:"), statuses);
    let chart = page.split_once("```mermaid").expect("a chart").1.split_once("```").expect("its end").0;
    let arrows: Vec<(&str, &str)> = chart
        .lines()
        .filter_map(|line| line.split_once("-->"))
        .map(|(from, to)| (from.trim(), to.split(':').next().unwrap_or_default().trim()))
        .collect();
    for (from, to) in &arrows {
        assert!([from, to].iter().all(|end| **end == "[*]" || end.parse::<Status>().is_ok()), "{from} --> {to}");
    }
    for status in Status::ALL {
        assert!(arrows.iter().any(|(_, to)| *to == status.as_str()), "no arrow leads to {status}");
    }
    // every move that decide can make from in_flight is drawn, and no other
    let moves = |to: &str| arrows.contains(&("in_flight", to));
    for row in table(&page, "## Outcome to next status") {
        for cell in &row[2..4] {
            let to = cell.split('`').nth(1).expect("a status");
            assert!(moves(to), "no arrow in_flight --> {to}");
        }
    }
    let drawn = arrows.iter().filter(|(from, _)| *from == "in_flight").count();
    assert_eq!(drawn, 8, "due, accepted, rejected, expired, conflict, unknown, held, dry_run");
}

#[test]
fn e2_every_crash_point_has_its_expected_truth() {
    let source = read("crates/worker/src/crash.rs");
    let list = source.split_once("POINTS: &[&str]").expect("the points").1.split_once("];").expect("their end").0;
    let points: Vec<String> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(points.len() >= 10, "{points:?}");
    let page = read("docs/states.md");
    assert_eq!(first_cells(&page, "## Crash points"), points);
    let decision = read("docs/decisions/0009-crash-points.md");
    assert!(points.len() != 10 || decision.contains("Ten named places"), "decision 0009 counts them");
}

#[test]
fn the_glossary_has_every_word_of_the_enums() {
    let page = read("docs/glossary.md");
    let outcomes: Vec<String> = Outcome::WORDS.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(first_cells(&page, "## Outcomes"), outcomes);
    let reasons: Vec<String> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(first_cells(&page, "## Reasons"), reasons);
    let statuses = page.split_once("## Statuses").expect("statuses").1.split_once("\n## ").expect("their end").0;
    for status in Status::ALL {
        assert!(statuses.contains(&format!("`{status}`")), "docs/glossary.md lacks {status}");
    }
}
