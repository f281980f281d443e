//! The scenarios: each has a test, each test that carries an id belongs to one, and what is "not yet" is absent.

use std::collections::{BTreeMap, BTreeSet};

use super::{commands, files, not_yet, pages, read, root};

/// The id that a test's name begins with (`e12_…` is E12).
fn id_of(function: &str) -> Option<String> {
    let (id, _) = function.split_once('_')?;
    let (letter, number) = id.split_at_checked(1)?;
    let is_id = ("a"..="l").contains(&letter) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    is_id.then(|| id.to_uppercase())
}

/// Functions with a test's attribute above them, by file.
fn tests_of(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        let name = line.trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ");
        if let Some(name) = name {
            if is_test {
                found.push(name.split(['(', '<']).next().unwrap_or_default());
            }
            is_test = false;
        } else if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        }
    }
    found
}

/// Ids that tests carry, each with one such test.
fn carried() -> BTreeMap<String, String> {
    let sources = files("tests").into_iter().chain(files("crates")).filter(|path| path.ends_with(".rs"));
    let mut carried = BTreeMap::new();
    for path in sources {
        let text = read(&path);
        for test in tests_of(&text) {
            if let Some(id) = id_of(test) {
                carried.entry(id).or_insert_with(|| format!("{path}: {test}"));
            }
        }
    }
    carried
}

/// Ids of the page, each with what is named after "not yet".
fn documented() -> BTreeMap<String, Vec<String>> {
    let page = read("docs/scenarios.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.filter(|(id, _)| id_of(&format!("{}_", id.to_lowercase())).is_some());
    let mut found = BTreeMap::new();
    for (id, text) in rows {
        assert!(found.insert(id.to_owned(), not_yet(text)).is_none(), "docs/scenarios.md has {id} twice");
    }
    found
}

#[test]
fn every_scenario_has_a_test_and_every_tests_id_is_a_scenario() {
    let (carried, documented) = (carried(), documented());
    assert!(documented.len() > 100 && carried.len() > 100, "{} scenarios", documented.len());
    let untested: Vec<_> =
        documented.iter().filter(|(id, absent)| absent.is_empty() && !carried.contains_key(*id)).collect();
    assert!(untested.is_empty(), "no test carries these, and they are not marked \"not yet\": {untested:?}");
    let foreign: Vec<_> = carried.iter().filter(|(id, _)| !documented.contains_key(*id)).collect();
    assert!(foreign.is_empty(), "docs/scenarios.md lacks {foreign:?}");
    let begun: Vec<_> = documented
        .iter()
        .filter(|(_, absent)| !absent.is_empty())
        .filter_map(|(id, _)| carried.get(id).map(|test| (id, test)))
        .collect();
    assert!(begun.is_empty(), "docs/scenarios.md calls these \"not yet\", and they have tests: {begun:?}");
}

/// Ids of a text: `B1–B12` is twelve of them.
fn ids_in(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '–') {
        let (first, last) = word.split_once('–').unwrap_or((word, word));
        let number = |word: &str| {
            let id = id_of(&format!("{}_", word.to_lowercase())).filter(|id| *id == word)?;
            Some((id[..1].to_owned(), id[1..].parse::<u32>().ok()?))
        };
        if let (Some((letter, from)), Some((other, to))) = (number(first), number(last)) {
            assert_eq!(letter, other, "{word} goes over letters");
            ids.extend((from..=to).map(|number| format!("{letter}{number}")));
        }
    }
    ids
}

#[test]
fn every_scenario_of_a_guarantee_is_one_and_no_scenario_serves_none() {
    let page = read("docs/guarantees.md");
    let promises = page.split_once("\n## What is not promised").expect("the limits").0;
    let rows: Vec<_> = promises.lines().filter(|line| line.starts_with("| **")).collect();
    assert!(rows.len() > 20, "{} guarantees", rows.len());
    let documented = documented();
    let mut named = BTreeSet::new();
    for row in rows {
        let ids = ids_in(row.rsplit_once(" | ").expect("a column of scenarios").1);
        assert!(!ids.is_empty(), "names no scenario: {row}");
        for id in &ids {
            assert!(documented.contains_key(id), "docs/scenarios.md lacks {id}: {row}");
            assert!(documented[id].is_empty(), "{id} is not built yet: {row}");
        }
        named.extend(ids);
    }
    let readme = read("README.md");
    let table = readme.split_once("## What it guarantees").expect("the guarantees").1;
    let table = table.split_once("\n## ").expect("their end").0;
    for id in ids_in(table) {
        assert!(documented.get(&id).is_some_and(Vec::is_empty), "README.md: {id} is no scenario that is built");
    }
    // J12 is a rule for the test suite, which promises users nothing
    let lost: Vec<_> = documented
        .iter()
        .filter(|(id, absent)| absent.is_empty() && !named.contains(*id) && *id != "J12")
        .map(|(id, _)| id)
        .collect();
    assert!(lost.is_empty(), "docs/guarantees.md names no promise for {lost:?}");
}

/// Whether what a page calls "not yet" is absent: a target of make, a command, a function of the schema, a path.
fn is_absent(what: &str) -> bool {
    if let Some(target) = what.strip_prefix("make ") {
        return !read("Makefile").lines().any(|line| line.starts_with(&format!("{target}:")));
    }
    if let Some(command) = what.strip_prefix("postmeter ") {
        return !commands().contains(command.split(' ').next().unwrap_or_default());
    }
    if let Some(function) = what.strip_prefix("postmeter.").and_then(|rest| rest.strip_suffix("()")) {
        let made = format!("function postmeter.{function}(");
        return !files("sql").iter().any(|path| read(path).to_lowercase().contains(&made));
    }
    if let Some((folder, ending)) = what.split_once("/**/*") {
        return !files(folder).iter().any(|path| path.ends_with(ending));
    }
    assert!(what.contains('/'), "\"not yet: `{what}`\" names no command, function or path");
    !root().join(what).exists()
}

#[test]
fn what_is_not_yet_is_absent() {
    let mut checked = 0;
    for (page, text) in pages() {
        for what in not_yet(&text) {
            checked += 1;
            assert!(is_absent(&what), "{page} says \"not yet: `{what}`\", and it is there");
        }
    }
    assert!(checked > 5, "{checked} are not yet");
    for there in ["make test", "postmeter worker", "postmeter.record_usage()", "crates/outbox", "crates/**/*.rs"] {
        assert!(!is_absent(there), "{there} is there, and the check does not see it");
    }
}
