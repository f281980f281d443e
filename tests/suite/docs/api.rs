//! `docs/api.md` against the code.

use std::collections::BTreeSet;

use serde_json::Value;

use super::read;

#[test]
fn every_kind_of_problem_is_in_the_table_with_its_status() {
    let page = read("docs/api.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `urn:postmeter:problem:")?.split_once("` | "));
    let told: Vec<(&str, u16)> = rows.map(|(word, rest)| (word, rest[..3].parse().expect("a status"))).collect();
    assert_eq!(told, console::problem::KINDS);
}

#[test]
fn every_path_of_the_document_is_on_the_page() {
    let page = read("docs/api.md");
    let document: Value = serde_json::from_str(&console::document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").keys();
    let words: BTreeSet<&str> = page
        .split(|c: char| c.is_whitespace() || "`,;?|()".contains(c))
        .map(|word| word.trim_end_matches([':', '.']))
        .collect();
    for path in paths {
        // the last word may stand beside another: `POST /v1/corrections/retry`, `release`
        let last = path.rsplit('/').next().expect("a path");
        // `/v1/exports/` and a list's name: the list stands there
        let path = path.replace("/v1/exports/", "/v1/");
        assert!(words.contains(path.as_str()) || (path.matches('/').count() > 2 && words.contains(last)), "{path}");
    }
}
