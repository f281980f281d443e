//! One home of names: the table in `crates/telemetry`, the page, and nothing anywhere else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use telemetry::metric::Source;
use telemetry::names::TABLE;

const PAGE: &str = "docs/operate/metrics.md";
const BEGIN: &str = "<!-- written by `make schema` from the table in crates/telemetry -->\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The table as the page has it.
fn table() -> String {
    let mut table = "| metric | kind | labels | from | meaning |\n|---|---|---|---|---|\n".to_owned();
    for metric in TABLE {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let from = match metric.source {
            Source::Process => "process",
            Source::Database => "database",
        };
        let (name, kind, labels) = (metric.name, metric.kind.as_str(), labels.join(", "));
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {from} | {} |", metric.help);
    }
    table
}

#[test]
fn i5_the_table_of_metrics_on_the_page_is_the_one_in_the_code() {
    let path = root().join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark of the table");
    let after = &rest[rest.find("\n## ").expect("what follows the table")..];
    if std::env::var_os("POSTMETER_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}\n{}{after}", table())).unwrap();
        return;
    }
    assert_eq!(rest.strip_suffix(after).unwrap().trim(), table().trim(), "`make schema` writes it");
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_crate_but_telemetry_names_a_metric_or_can_make_one() {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let directory = entry.unwrap().path();
        if directory.ends_with("telemetry") {
            continue;
        }
        let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap();
        assert!(
            !manifest.lines().any(|line| line.starts_with("metrics")),
            "{}: metrics go through telemetry",
            directory.display()
        );
        sources(&directory.join("src"), &mut found);
    }
    assert!(found.len() > 100);
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        // what is said about a metric may name it
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let text = code.join("\n");
        let named: Vec<_> =
            TABLE.iter().filter(|metric| text.contains(metric.name)).map(|metric| metric.name).collect();
        assert!(named.is_empty(), "{} names {named:?}: use telemetry::names", path.display());
    }
}

/// Names of the metrics in a scrape, checked line by line against the table: kind, meaning, labels.
pub fn exposed(text: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let of = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        let name = of.split(['{', ' ']).next().unwrap();
        let is_of = |metric: &&telemetry::Described| {
            let rest = name.strip_prefix(metric.name);
            rest.is_some_and(|rest| {
                rest.is_empty()
                    || metric.kind == telemetry::Kind::Histogram && ["_bucket", "_sum", "_count"].contains(&rest)
            })
        };
        let metric = TABLE.iter().find(is_of).unwrap_or_else(|| panic!("not in the table: {line}"));
        if line.starts_with("# HELP") {
            assert!(line.ends_with(metric.help), "{line}");
        } else if line.starts_with("# TYPE") {
            assert!(line.ends_with(&format!(" {}", metric.kind.as_str())), "{line}");
        } else {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').expect("closed").0);
            let labels: Vec<_> =
                labels.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(name, _)| name).collect();
            let wanted: BTreeSet<_> = metric.labels.iter().copied().collect();
            assert_eq!(labels.into_iter().filter(|label| *label != "le").collect::<BTreeSet<_>>(), wanted, "{line}");
            found.insert(metric.name);
        }
    }
    found
}
