//! The charts of the pages, read by mermaid's own parser; `docs/process.md` against the enums and the schema.

use std::collections::BTreeSet;
use std::process::Command;

use remittance::{Outcome, Reason, Status};

use super::{files, pages, read, root};

#[derive(serde::Deserialize)]
struct Chart {
    page: String,
    chart: usize,
    kind: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

#[derive(serde::Deserialize)]
struct Node {
    id: String,
    text: String,
    #[serde(rename = "type")]
    shape: String,
}

#[derive(serde::Deserialize)]
struct Edge {
    start: String,
    end: String,
    text: String,
}

/// Every chart of every page; none where the parser is not installed, and the test skips by name.
fn charts(test: &str) -> Option<Vec<Chart>> {
    let Some(modules) = std::env::var_os("POSTMETER_TEST_NODE_MODULES") else {
        crate::integrate::skip(test, "POSTMETER_TEST_NODE_MODULES");
        return None;
    };
    // node looks for modules beside the file
    let place = tempfile::tempdir().expect("a directory");
    std::fs::copy(root().join("tests/node/charts.mjs"), place.path().join("charts.mjs")).expect("a copy");
    std::os::unix::fs::symlink(modules, place.path().join("node_modules")).expect("a link");
    let drawn = pages().into_iter().filter(|(_, text)| text.contains("```mermaid")).map(|(page, _)| page);
    let output = Command::new("node")
        .arg(place.path().join("charts.mjs"))
        .args(drawn)
        .current_dir(root())
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    Some(lines.lines().map(|line| serde_json::from_str(line).expect("a chart")).collect())
}

#[test]
fn every_chart_is_read_by_mermaid() {
    let Some(charts) = charts("every_chart_is_read_by_mermaid") else { return };
    let written: usize = pages().iter().map(|(_, text)| text.matches("```mermaid\n").count()).sum();
    assert_eq!(charts.len(), written);
}

/// Tables and views of the schema.
fn relations() -> BTreeSet<String> {
    let schema = tests::schema_source();
    let names = schema.lines().filter_map(|line| {
        let line = line.replace("create unlogged table", "create table");
        let rest = line.strip_prefix("create table postmeter.").or_else(|| line.strip_prefix("create view postmeter."));
        rest.map(str::to_owned)
    });
    names.map(|rest| rest.split([' ', '(']).next().unwrap_or_default().to_owned()).collect()
}

/// Words of code in a label: with an underscore, or a code of ours.
fn names(label: &str) -> impl Iterator<Item = &str> {
    let words = label.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.contains('_') || (word.len() == 5 && word.starts_with("PM0")))
}

/// Whatever the schema, the statements and the crash points call something.
fn known() -> BTreeSet<String> {
    let sources = files("sql/schema").into_iter().chain(["crates/worker/src/crash.rs".to_owned()]);
    let mut known: BTreeSet<String> = files("sql/queries")
        .iter()
        .filter_map(|path| Some(path.strip_prefix("sql/queries/")?.strip_suffix(".sql")?.to_owned()))
        .collect();
    for path in sources.chain(files("crates/outbox/src")) {
        let text = read(&path);
        known.extend(text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(str::to_owned));
    }
    known
}

#[test]
fn every_name_in_the_process_is_one_of_the_code() {
    let Some(charts) = charts("every_name_in_the_process_is_one_of_the_code") else { return };
    let charts: Vec<Chart> = charts.into_iter().filter(|chart| chart.page == "docs/process.md").collect();
    assert_eq!(charts.len(), 10, "the way, and nine ways to fail");
    let (relations, known, glossary) = (relations(), known(), read("docs/glossary.md"));
    let verbs = glossary.split_once("## Verbs").expect("verbs").1.split_once("\n## ").expect("their end").0;
    let verbs: BTreeSet<&str> = verbs
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|words| words.split(", "))
        .collect();
    let (mut statuses, mut outcomes) = (BTreeSet::new(), BTreeSet::new());
    for Chart { chart, kind, nodes, edges, .. } in &charts {
        assert!(kind.starts_with("flowchart"), "chart {chart} is a {kind}");
        for Node { id, text, shape } in nodes {
            let is_known = match shape.as_str() {
                "cylinder" => relations.contains(text),
                "stadium" => {
                    statuses.insert(text.clone());
                    text.parse::<Status>().is_ok()
                }
                "hexagon" => {
                    outcomes.insert(text.clone());
                    Outcome::WORDS.contains(&text.as_str())
                }
                "lean_right" => text.parse::<Reason>().is_ok(),
                "subroutine" => verbs.contains(text.as_str()),
                "square" => true,
                other => panic!("chart {chart}: nobody says what a {other} is ({id})"),
            };
            assert!(is_known, "chart {chart}: there is no {shape} {text:?}");
        }
        for Edge { start, end, text } in edges {
            assert!(!text.is_empty(), "chart {chart}: {start} to {end} does not say what is stored");
            for name in names(text) {
                assert!(known.contains(name), "chart {chart}: {start} to {end}: nothing is called {name}");
            }
        }
    }
    let all: BTreeSet<String> = Status::ALL.iter().map(ToString::to_string).collect();
    assert!(all.is_subset(&statuses), "not drawn: {:?}", all.difference(&statuses));
    let all: BTreeSet<String> = Outcome::WORDS.iter().map(|word| (*word).to_owned()).collect();
    assert!(all.is_subset(&outcomes), "not drawn: {:?}", all.difference(&outcomes));
}
