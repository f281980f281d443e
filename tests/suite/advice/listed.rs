//! No advice is without a test: what the product says is listed here, each with the test that carries it out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tests::TestDatabase;

/// Every piece of `what_to_do`, and what must come first.
const WHAT_TO_DO: &[(&str, &str)] = &[
    ("set late_policy to part", "k11_past_its_month"),
    ("renew the subscription", "k11_of_a_subscription_that_has_ended"),
    ("reopen its month", "k11_of_a_closed_month"),
    (" and ", "k11_of_a_closed_month"),
    (", then ", "k11_out_of_range_it_is_corrected_and_released"),
    ("reopen its month, then ", "k11_a_conflict_of_a_closed_month_is_resolved_once_the_month_is_open_again"),
    ("reopen its month, ", "k11_of_a_closed_month"),
    ("write off, or ", "k11_past_its_month"),
    (" and release (recount as late usage, if the catalogue was mistaken)", "k11_past_its_month"),
    (
        "release to another hour of its month (recount as late usage, if the catalogue was mistaken), or write off",
        "k11_past_its_deadline",
    ),
    ("mend the cause, then retry; if it was the catalogue, mend that, ", "k11_refused_in_time"),
    ("then recount", "k11_refused_in_time"),
    (
        "asked again by itself until its deadline; mend the subscription there, or the catalogue and recount",
        "k11_not_entitled_in_time_and_asked_again_by_itself",
    ),
    ("correct its usage, then release; or write off", "k11_out_of_range_it_is_corrected_and_released"),
    ("mend the cause, then retry; or ", "k11_a_zero_that_was_refused"),
    ("write off: nothing was used in that hour", "k11_a_zero_that_was_refused"),
    (
        "compare with what they hold: resolve as billed, and it counts as they hold it; write off only if they hold \
         nothing of it any more",
        "k11_of_a_conflict_counts_what_they_hold_and_it_is_given_up_only_if_they_hold_nothing",
    ),
    ("look it up at the marketplace, then resolve", "k11_what_may_have_been_billed_is_looked_up_and_resolved"),
    (
        "no hour of its month can take it any more: write it off",
        "k6_a_remainder_whose_own_hour_was_sent_waits_for_a_person",
    ),
    (
        "see whether they hold it with another hour of that time, then resolve as billed or not billed",
        "k6_released_quantity_of_before_a_restore_waits_for_a_person_and_goes_with_an_hour_of_after_it",
    ),
    (
        "may have been sent in the time that was lost: look it up at the marketplace, then resolve",
        "k6_what_was_rejected_at_the_backup_and_accepted_in_the_lost_time_is_billed_once",
    ),
    ("write off: what it corrects is not there any more", "k11_a_correction_of_what_is_not_there_any_more"),
    (" and retry", "k11_usage_that_is_too_late"),
    ("retry, or write off", "k11_usage_that_is_too_late"),
    ("reopen the month: it then goes on by itself", "k11_usage_of_a_closed_month"),
    ("write off: its month was dropped", "a2_late_usage_of_a_dropped_month_is_held_and_billed_by_nobody"),
    ("report it, then retry", "k11_usage_that_was_put_aside"),
    ("retry when that is over", "k11_usage_that_was_put_aside"),
    (
        "see whether they hold it with another hour of that time: write off if so, else retry",
        "k11_usage_that_was_put_aside",
    ),
    (
        "retry counts it if it is right; else correct it, then retry, or write off",
        "k13_corrected_and_returned_it_counts_what_is_left",
    ),
    ("mend the catalogue: it then goes on by itself", "k11_usage_that_the_catalogue_does_not_know_for_a_day"),
    (": the running hour then takes it; else it is lost", "k11_stranded_quantity_goes_on_once_what_is_named_is_done"),
    (
        "mend what the reason in postmeter.setback names: it is tried again by itself",
        "j6_what_is_set_aside_is_an_alert_and_a_dead_letter_and_clears_when_it_is_cured",
    ),
    ("compare with what they hold, then judge contradiction ", "k7_what_to_do_about_a_contradiction_is_run"),
    (" as ours", "k7_proof_of_an_earlier_cut_that_comes_while_the_hour_is_open_again_stops_the_next_one"),
    (" as theirs or ours", "k7_what_to_do_about_a_contradiction_is_run"),
];

/// What a view or function says that is no advice: names of classes, parts of items, spans.
const NO_ADVICE: &[&str] =
    &["held usage", "set aside", "remittance ", "usage ", "meter ", "contradiction ", "1 day", ", ", " "];

/// Every command of `explain`.
const COMMANDS: &[(&str, &str)] = &[
    ("judge --theirs", "k7_what_to_do_about_a_contradiction_is_run"),
    ("judge --ours", "k7_what_to_do_about_a_contradiction_is_run"),
    ("resolve --billed", "k11_what_may_have_been_billed_is_looked_up_and_resolved"),
    (
        "resolve --not-billed",
        "k6_released_quantity_of_before_a_restore_waits_for_a_person_and_goes_with_an_hour_of_after_it",
    ),
    ("resolve --file", "k6_a_duplicate_without_a_quantity_is_unconfirmed_until_somebody_has_looked_it_up"),
    ("write-off --delivery", "k11_refused_in_time"),
    ("retry --delivery", "k11_refused_in_time"),
    ("release --delivery", "k11_refused_in_time"),
    ("recount --delivery", "k11_refused_in_time"),
    ("hold --delivery", "k11_what_waits_is_put_aside_resumed_and_probed"),
    ("resume", "k11_what_waits_is_put_aside_resumed_and_probed"),
    ("probe", "k11_what_waits_is_put_aside_resumed_and_probed"),
    ("month reopen", "k11_of_a_closed_month"),
    ("retry --held-usage --usage", "k11_usage_that_is_too_late"),
    ("write-off --held-usage --usage", "k11_usage_that_is_too_late"),
];

/// Questions, which change nothing.
const QUESTIONS: &[&str] = &["status", "doctor", "catalog show"];

/// The names of all tests of the suite.
fn tests_there_are() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("suite")];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                let of_a_test = |line: &str| Some(line.split_once("fn ")?.1.split_once("()")?.0.to_owned());
                names.extend(text.lines().filter_map(of_a_test));
            }
        }
    }
    names
}

/// All that is said is listed, and all that is listed is said and has its test.
pub(super) fn covered(said: BTreeSet<String>, listed: &[(&str, &str)]) {
    let listed: BTreeMap<&str, &str> = listed.iter().copied().collect();
    let without: Vec<_> = said.iter().filter(|text| !listed.contains_key(text.as_str())).collect();
    assert!(without.is_empty(), "no test carries these out: {without:?}");
    let gone: Vec<_> = listed.keys().filter(|text| !said.contains(**text)).collect();
    assert!(gone.is_empty(), "nobody says these any more: {gone:?}");
    let there_are = tests_there_are();
    let missing: Vec<_> = listed.values().filter(|test| !there_are.contains(**test)).collect();
    assert!(missing.is_empty(), "there are no such tests: {missing:?}");
}

#[tokio::test]
async fn k11_every_what_to_do_has_its_test() {
    let db = TestDatabase::fresh().await;
    let rows = db
        .client
        .query(
            r"select distinct replace(l[1], '''''', '''')
              from (select pg_get_viewdef('postmeter.dead_letter'::regclass)
                    union all
                    select prosrc from pg_proc where pronamespace = 'postmeter'::regnamespace
                       and proname in ('release_needs', 'held_needs')) d(text),
                   regexp_matches(d.text, '''((?:[^'']|'''')*)''', 'g') l
              where l[1] ~ '[ ]' and l[1] !~ '^\^'",
            &[],
        )
        .await
        .unwrap();
    let said = rows.iter().map(|row| row.get::<_, String>(0)).filter(|text| !NO_ADVICE.contains(&text.as_str()));
    covered(said.collect(), WHAT_TO_DO);
}

#[test]
fn k11_every_command_of_explain_has_its_test() {
    let explain = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/explain/src");
    let mut said = BTreeSet::new();
    for file in ["next.rs", "usage.rs", "words.rs"] {
        let text = std::fs::read_to_string(explain.join(file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().replace("\\\n", "");
        for rest in code.split("postmeter ").skip(1) {
            let command = rest.split(['"', '`', ')', ';', '.']).next().unwrap_or_default();
            let words = command.split(' ').map(str::trim).filter(|word| !word.is_empty());
            let bare = |word: &str| word.split('{').next().unwrap_or_default().to_owned();
            let words = words.take_while(|word| *word != "--why").map(bare).filter(|word| !word.is_empty());
            said.insert(words.collect::<Vec<_>>().join(" "));
        }
    }
    said.retain(|command| !QUESTIONS.contains(&command.as_str()));
    covered(said, COMMANDS);
}
