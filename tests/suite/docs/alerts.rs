//! `deploy/prometheus`, `deploy/grafana` and the runbook against each other, the code, and Prometheus's own tool.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{files, read};
use crate::real_prometheus::tool;

/// `dead_letters` as `DeadLetters`.
fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').map(word).collect()
}

/// Names after a word at the beginning of lines.
fn named(text: &str, word: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(word));
    lines.map(|rest| rest.trim().to_owned()).collect()
}

#[test]
fn i5_every_alert_has_a_rule_a_section_and_a_test_that_fires_it() {
    let rules = named(&read("deploy/prometheus/alerts.yml"), "- alert: ");
    let sections = named(&read("docs/operate/runbook.md"), "## ");
    assert_eq!(rules, sections, "a section for each rule, and none for what there is not");
    for row in outbox::alerts::NAMES {
        assert!(rules.contains(&camel(row)), "{row} is a row, but no rule");
    }
    let tests = read("deploy/prometheus/alerts_test.yml");
    let drill = read("docs/operate/drill.md");
    for rule in &rules {
        let fires = tests.split(&format!("- name: {rule} fires once\n")).nth(1).unwrap_or_else(|| panic!("{rule}"));
        let fires = fires.split("  - name: ").next().expect("a test");
        assert!(fires.contains(&format!("alertname: {rule}\n")) && fires.contains("- exp_labels:"), "{rule}: {fires}");
        assert!(tests.contains(&format!("- name: {rule} does not fire")), "{rule}: and what does not fire it");
        assert!(
            tests.contains(&format!("- name: {rule} is resolved only when it is over\n")),
            "{rule}: its transitions"
        );
        assert!(drill.contains(&format!("\n| {rule} | ")), "{rule} has no drill");
    }
    let install = read("docs/operate/install.md");
    let said = format!("lists {} rules", rules.len());
    assert!(install.contains(&said), "docs/operate/install.md says otherwise than: {said}");
    for part in ["**Means**", "**Costs**", "**See**", "**Mend**"] {
        let page = read("docs/operate/runbook.md");
        for section in page.split("\n## ").skip(1) {
            assert!(section.contains(part), "{part} of {}", section.lines().next().expect("a heading"));
        }
    }
}

/// A packaged chart cannot reach the file beside it.
#[test]
fn the_committed_chart_has_the_rules() {
    let (rules, copy) = (read("deploy/prometheus/alerts.yml"), "deploy/helm/postmeter/files/alerts.yml");
    if std::env::var_os("POSTMETER_BLESS").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(copy);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, &rules).expect("a copy");
    }
    assert!(read(copy) == rules, "{copy} is not deploy/prometheus/alerts.yml: run `make schema`");
}

fn passes(command: &mut Command) {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("FAILED"), "{command:?}: {said}");
}

#[test]
fn i5_every_rule_fires_for_promtool_and_only_then() {
    const NAME: &str = "i5_every_rule_fires_for_promtool_and_only_then";
    let Some(mut promtool) = tool(NAME, "promtool") else { return };
    passes(promtool.args(["check", "rules", "deploy/prometheus/alerts.yml"]));
    let mut promtool = tool(NAME, "promtool").expect("as before");
    passes(promtool.args(["test", "rules", "deploy/prometheus/alerts_test.yml"]));
}

#[test]
fn e7_alertmanagers_configuration_is_one_and_inhibits_what_there_is() {
    const NAME: &str = "e7_alertmanagers_configuration_is_one_and_inhibits_what_there_is";
    let text = read("deploy/prometheus/alertmanager.yml");
    let rules = named(&read("deploy/prometheus/alerts.yml"), "- alert: ");
    for quoted in text.split('"').skip(1).step_by(2).filter(|quoted| quoted.starts_with(char::is_uppercase)) {
        for name in quoted.split('|') {
            assert!(rules.contains(name), "{name} is no rule");
        }
    }
    if let Some(mut amtool) = tool(NAME, "amtool") {
        passes(amtool.args(["check-config", "deploy/prometheus/alertmanager.yml"]));
    }
}

/// Expressions of a dashboard.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

fn dashboards() -> Vec<(String, Value)> {
    let paths = files("deploy/grafana").into_iter().filter(|path| path.ends_with(".json"));
    paths.map(|path| (path.clone(), serde_json::from_str(&read(&path)).expect("JSON"))).collect()
}

#[test]
fn every_query_of_a_dashboard_is_one_for_promtool() {
    let mut rules = String::from("groups:\n  - name: dashboards\n    rules:\n");
    let mut uids = BTreeSet::new();
    for (path, dashboard) in dashboards() {
        assert!(uids.insert(dashboard["uid"].as_str().expect("a uid").to_owned()), "{path}");
        for (number, expression) in expressions(&dashboard).iter().enumerate() {
            let name = path.rsplit('/').next().expect("a name").trim_end_matches(".json");
            rules += &format!("      - record: {name}_{number}\n        expr: '{}'\n", expression.replace('\'', "''"));
        }
    }
    assert!(uids.len() >= 3, "{uids:?}");
    let Some(mut promtool) = tool("every_query_of_a_dashboard_is_one_for_promtool", "promtool") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("dashboards.yml");
    std::fs::write(&file, rules).expect("written");
    passes(promtool.args(["check", "rules"]).arg(file));
}

/// Names of metrics in a text, as they are registered: a histogram's parts are its own.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let plain = |word: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        parts.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word).to_owned()
    };
    words.filter(|word| word.starts_with("postmeter_")).map(plain).collect()
}

#[test]
fn every_metric_that_a_rule_or_a_dashboard_names_exists() {
    let page = read("docs/operate/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let there: BTreeSet<String> = rows.filter(|name| name.starts_with("postmeter_")).map(str::to_owned).collect();
    let rules = read("deploy/prometheus/alerts.yml");
    let rules: String = rules.lines().filter(|line| !line.contains("- name:")).collect::<Vec<_>>().join("\n");
    let mut named = metrics(&rules);
    for (_, dashboard) in dashboards() {
        named.extend(expressions(&dashboard).iter().flat_map(|expression| metrics(expression)));
    }
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "docs/operate/metrics.md does not know {missing:?}");
}
