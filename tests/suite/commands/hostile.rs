//! What others wrote (orgs, event ids, names, answers, files) goes through every command that prints, once tame and once
//! hostile: not a byte of it moves a cursor, and no line is gained.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use outbox::NewUsage;
use serde_json::json;
use tests::{Dimension, Stage, q, t};

/// Clears the line and forges one, in every way that a terminal knows.
const HOSTILE: &str = "\n\u{1b}[2Kheld     nothing\r\u{9b}2J\u{7}\u{202e}\u{2028}\u{7f}\u{feff}\u{e0041}'\"\\";

/// Every command with the words it is given; `{0}` to `{9}` stand for names, `<x>` for files.
const COMMANDS: [(&str, &str); 38] = [
    ("migrate", ""),
    ("catalog apply", "<catalogue> --dry-run"),
    ("catalog show", ""),
    ("catalog derive focus", "<export>"),
    ("import focus", "<export>"),
    ("import requests", "<requests>"),
    (
        "import prometheus",
        "--url http://127.0.0.1:9/ --query {org} --source {source} --org {org} --product db --metric {org} --last 1h",
    ),
    ("token create", "{token}2 --scope read"),
    ("token list", ""),
    ("token revoke", "{token}"),
    ("status", ""),
    ("attempts", ""),
    ("explain", "{source} {event}"),
    ("explain", "--delivery 1"),
    ("explain", "{source} {event}-unknown"),
    ("request", "{request}"),
    ("request-refusals", ""),
    ("retry", "--org {org} --why {why}"),
    ("release", "--org {org} --why {why}"),
    ("recount", "--org {org} --why {why}"),
    ("balance", ""),
    ("write-off", "--held-usage --org {held} --why {why}"),
    ("hold", "--org {org}x --why {why}"),
    ("resolve", "1 --billed --why {why}"),
    ("pause", "aws{org} --why {why}"),
    ("resume", "aws --why {why}"),
    ("probe", "aws --why {why}"),
    ("month report", "aws 2024-09"),
    ("month close", "aws 2024-09 --why {why}"),
    ("month reopen", "aws 2024-09 --why {why}"),
    ("reconcile", "aws{org} --day 2024-09-18"),
    ("recalculate", "aws 2024-09"),
    ("shadow diff", "trial --month 2024-09"),
    ("alerts", "--check"),
    ("alerts set", "conflict{org} --every 1m --why {why}"),
    ("doctor", ""),
    ("judge", "1 --ours --why {why}"),
    ("declare", "original --nothing-lost --name {org} --why {why}"),
];

/// Commands that say nothing that others wrote, or are tried elsewhere.
const OTHERS: [(&str, &str); 11] = [
    ("worker", "its log: l1_nothing_that_others_wrote_reaches_the_log_raw"),
    ("console", "its log is the worker's; its answers are JSON for programs"),
    ("ledger status", "months and counts"),
    ("ledger retain", "the operator's own words"),
    ("ledger export", "files for programs"),
    ("ledger verify", "names of files; its door is the others'"),
    ("ledger drop", "tables and counts"),
    ("config", "the operator's own file"),
    ("simulator", "addresses"),
    ("simulator requests", "counts"),
    ("demo", "a day of our own"),
];

/// Every command that the program has, from its own help.
fn commands(before: &[&str]) -> BTreeSet<String> {
    let output = tests::postmeter("").args(before).arg("--help").output().expect("help");
    let text = String::from_utf8(output.stdout).expect("text");
    let list = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let list = list.split_once("\n\n").map_or(list, |(list, _)| list);
    let named =
        list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()));
    let mut found = BTreeSet::new();
    for word in named.filter(|word| *word != "help") {
        let inner = [before, &[word]].concat();
        let below = commands(&inner);
        if below.is_empty() || inner == ["simulator"] || inner == ["alerts"] {
            found.insert(inner.join(" "));
        }
        found.extend(below);
    }
    found
}

/// What is printed: exit code aside, both streams.
fn print(mut command: Command) -> String {
    let output = command.env("USER", "ada").output().expect("the command is built");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat()
}

fn is_raw(c: char) -> bool {
    c != '\n'
        && (c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'))
}

/// Usage, remittances, decisions, tokens and messages by people who add `dirt` to every name.
async fn scene(dirt: &str) -> Stage {
    let stage = Stage::bare().await;
    let name = |word: &str| format!("{word}{dirt}");
    let literal = |word: &str| format!("'{}'", name(word).replace('\'', "''"));
    let (org, metric) = (name("org"), name("metric"));
    stage.dimension(Dimension { metric: &metric, name: &name("dim"), ..Dimension::default() }).await;
    stage.subscribe(&org, "111122223333").await;
    crate::shadow::add_shadow(&stage).await;
    stage
        .sql(&format!(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select {}, 'db', id, '{{\"nonsense\": {}}}', '2024-01-01Z' from postmeter.destination where name = 'trial'",
            literal("org"),
            json!(name("x")).to_string().replace('\'', "''"),
        ))
        .await;
    stage.at("2024-09-18T10:30:00Z").await;
    for (event, org) in [("event", &org), ("event2", &name("held")), ("event3", &org)] {
        let (source, event) = (name("source"), name(event));
        let mut usage = NewUsage::new(&source, &event, org, "db", &metric, q("3"), t("2024-09-18T10:10:00Z"));
        usage.request_id = Some(name("request"));
        usage.attributes = json!({ name("key"): name("value") });
        stage.record_as(&usage).await;
    }
    let messages = [("service", "came"), ("service2", "went")].map(|(service, status)| {
        format!(
            "select postmeter.track({}, {}, {}, postmeter.clock(), {}, {}, null, {})",
            literal(service),
            literal("request"),
            literal(status),
            literal("source"),
            literal("message"),
            literal("org"),
        )
    });
    stage.sql(&messages.join("; ")).await;
    let refused = format!(
        "select postmeter.count_refusals('http', '{{date}}', '{{unreadable}}', '{{1}}', array[{}])",
        literal("said")
    );
    stage.sql(&refused).await;
    while outbox::requests::gather(&stage.db.database).await.unwrap() > 0 {}
    let mut settings = stage.aws.settings();
    settings.aws.dimensions = Some(BTreeSet::new());
    stage.aws.set_settings(settings);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage
        .sql(&format!(
            "update postmeter.worker set name = {0}, version = {0}, lease_until = clock_timestamp() + interval '1 day';
             insert into postmeter.late_evidence (attempt_id, delivery_id, outcome, code, excerpt)
             select id, delivery_id, 'rejected', {0}, {0} from postmeter.attempt limit 1;
             insert into postmeter.exemption (org, reason) values ({0}, {0});
             select postmeter.pause('aws', {0}, {0});
             insert into postmeter.alert (name, subject, severity, count, summary, details) values ('poison', {0}, 'warning', 1, {0}, '{{}}');
             insert into postmeter.token (name, hash, scopes, created_by) values ({1}, sha256('x'), '{{read}}', {0});
             update postmeter.breaker set code = {0}",
            literal("text"),
            literal("token"),
        ))
        .await;
    stage
}

fn files(folder: &Path, dirt: &str) {
    let quoted = |word: &str| json!(format!("{word}{dirt}")).to_string();
    let csv = |word: &str| format!("\"{word}{}\"", dirt.replace('"', "\"\""));
    let export = format!(
        "SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart,ChargePeriodEnd\n\
         {0},{0},{0},1.5,2024-09-18 10:00:00,2024-09-18 11:00:00\n{0},{0},{0},{0},{0},{0}\n",
        csv("org")
    );
    std::fs::write(folder.join("export"), export).unwrap();
    let requests = format!(
        "{{\"service\": {0}, \"request_id\": {0}, \"status\": {0}, \"date\": {0}}}\n{{{0}: 1}}\nnot JSON {1}\n",
        quoted("x"),
        dirt.replace('\n', "")
    );
    std::fs::write(folder.join("requests"), requests).unwrap();
    let escaped: String = dirt.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
    let catalogue = format!(
        "[[exempt]]\norg = \"a{escaped}\"\nreason = \"b{escaped}\"\n[[nonsense]]\n\"c{escaped}\" = 1\n\
         [[quota]]\nname = \"q{escaped}\"\n\"unknown{escaped}\" = \"v{escaped}\"\n"
    );
    std::fs::write(folder.join("catalogue"), catalogue).unwrap();
}

#[tokio::test]
async fn l1_nothing_that_others_wrote_reaches_a_terminal_raw_and_no_line_is_forged() {
    let known: BTreeSet<String> = COMMANDS.iter().chain(&OTHERS).map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(commands(&[]), known, "a new command is tried here, or named with the reason why not");
    let stages = [scene("").await, scene(HOSTILE).await];
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    files(folders[0].path(), "");
    files(folders[1].path(), HOSTILE);
    let (mut wrong, mut forged) = (Vec::new(), 0);
    for (name, words) in COMMANDS {
        for json in [false, true] {
            let [tame, hostile] = [0, 1].map(|side| {
                let mut command = tests::postmeter(&stages[side].db.url());
                command.args(name.split(' ')).args(json.then_some("--json"));
                for word in words.split_whitespace() {
                    let dirt = if side == 1 { HOSTILE } else { "" };
                    let word = word.replace('}', dirt).replace('{', "");
                    let file = word.strip_prefix('<').and_then(|word| word.strip_suffix('>'));
                    command.arg(
                        file.map_or(word.clone(), |file| folders[side].path().join(file).to_str().unwrap().to_owned()),
                    );
                }
                print(command)
            });
            let raw: BTreeSet<char> = hostile.chars().filter(|c| is_raw(*c)).collect();
            if !raw.is_empty() || hostile.lines().count() != tame.lines().count() || tame.contains("Usage:") {
                wrong.push(format!("{name} {words}: {raw:?}\n{tame}\n{hostile}"));
            }
            forged += usize::from(hostile.contains("held     nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(forged > 30, "what they wrote is shown: {forged} times");
}

#[tokio::test]
async fn l1_nothing_that_others_wrote_reaches_the_log_raw() {
    let stage = Stage::new().await;
    // an error that quotes what a catalogue says
    let forged = json!({ format!("region{HOSTILE}"): 1 }).to_string().replace('\'', "''");
    stage.sql(&format!("update postmeter.destination set settings = settings || '{forged}'")).await;
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = tests::postmeter(&stage.db.url());
        command.args(["worker", "--name", "n"]).env("POSTMETER_LOG_FORMAT", format);
        let mut worker = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let said = || std::fs::read_to_string(&log).unwrap();
        tests::wait_until("the worker says what it cannot serve", async || {
            said().contains("forged") || said().contains("cannot be served")
        })
        .await;
        tests::signal(&worker, "TERM");
        assert!(tests::end_of(&mut worker).success());
        let said = said();
        let line = said.lines().find(|line| line.contains("cannot be served")).unwrap();
        assert!(line.contains("nothing") && !said.contains(is_raw), "{format}: {said:?}");
        assert!(!said.lines().any(|line| line.starts_with("held") || line.trim_start().starts_with('\u{1b}')));
    }
}
