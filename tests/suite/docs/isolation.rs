//! The page that says what each step does with a member that is locked, failing or dying names the tests that hold it.

use std::collections::BTreeSet;

use super::{files, read};

/// Steps whose tests the page names, as test names have them.
const STEPS: [&str; 18] = [
    "fold",
    "shadow_fold",
    "cut",
    "claim",
    "settle",
    "reap",
    "promote",
    "review",
    "reconsider",
    "carry",
    "month_end",
    "zero",
    "gather",
    "alerts",
    "balance",
    "cures",
    "deadlines",
    "marked",
];

#[test]
fn j1_the_table_of_steps_names_the_tests_that_hold_it() {
    let page = read("docs/operate/isolation.md");
    let told: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        // a test's name begins with its scenario, a table's with a word
        .filter(|span| span.split_once('_').is_some_and(|(first, _)| first.ends_with(|c: char| c.is_ascii_digit())))
        .collect();
    let sources: Vec<String> = files("tests/suite").iter().map(|path| read(path)).collect();
    let there: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split("fn ").skip(1))
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name))
        .collect();
    let gone: Vec<_> = told.difference(&there).collect();
    assert!(gone.is_empty(), "docs/operate/isolation.md names tests that do not exist: {gone:?}");
    let of_steps = there.iter().filter(|name| {
        let step = name.strip_prefix("j1_").or_else(|| name.strip_prefix("j2_"));
        step.is_some_and(|rest| STEPS.iter().any(|step| rest.starts_with(&format!("{step}_"))))
    });
    let untold: Vec<_> = of_steps.filter(|name| !told.contains(*name)).collect();
    assert!(untold.is_empty(), "docs/operate/isolation.md does not name {untold:?}");
    let by_step = page.split_once("\n| step |").expect("the table of steps").1;
    let steps = by_step.lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(steps, 19, "every step has its row");
}

/// A value of `tests/mutants.toml`: in one pair of quotes, or in three of them.
fn value<'a>(mutant: &'a str, key: &str) -> &'a str {
    let rest = mutant.split_once(&format!("\n{key} = ")).unwrap_or_else(|| panic!("{key} in {mutant}")).1;
    match rest.strip_prefix("\"\"\"") {
        Some(long) => long.strip_prefix('\n').unwrap_or(long).split_once("\"\"\"").expect("an end").0,
        None => rest.lines().next().expect("a line").trim_matches('"'),
    }
}

#[test]
fn every_rule_that_is_taken_out_stands_where_the_list_says() {
    let list = read("tests/mutants.toml");
    let mut names = BTreeSet::new();
    for mutant in list.split("[[mutant]]").skip(1) {
        let (file, find) = (value(mutant, "file"), value(mutant, "find"));
        let times = read(file).matches(find).count();
        assert_eq!(times, 1, "tests/mutants.toml: {}: its text stands {times} times in {file}", value(mutant, "rule"));
        let rules = mutant.lines().filter(|line| line.starts_with("rule = ")).count();
        assert_eq!(rules, 1, "tests/mutants.toml: {}: each rule has a heading of its own", value(mutant, "rule"));
        assert!(names.insert((value(mutant, "area"), value(mutant, "rule"))), "{mutant} stands twice");
    }
}
