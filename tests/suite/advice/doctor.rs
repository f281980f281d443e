//! What doctor advises is carried out in the state that shows it, by the command line; it then names that no more, and
//! the money is right.

mod books;
mod catalogue;
mod identities;
mod upkeep;

use serde_json::Value;
use tests::{Stage, TestDatabase};

/// What doctor named: check, what it found, what to do.
struct Named {
    check: String,
    found: String,
    advice: String,
}

/// Runs doctor; what is not well.
fn look(url: &str) -> Vec<Named> {
    let output = tests::postmeter(url).args(["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let named = report["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] != "ok");
    named
        .map(|one| Named { check: text(one, "check"), found: text(one, "found"), advice: text(one, "advice") })
        .collect()
}

/// The advice about the only finding of a check with these words.
fn advice(named: &[Named], check: &str, words: &str) -> String {
    let all: Vec<&Named> = named.iter().filter(|one| one.check == check).collect();
    let found: Vec<&&Named> = all.iter().filter(|one| one.found.contains(words)).collect();
    let told: Vec<&str> = all.iter().map(|one| one.found.as_str()).collect();
    assert_eq!(found.len(), 1, "{check}, {words}: {told:?}");
    found[0].advice.clone()
}

/// Nothing of these checks is named.
fn is_well(url: &str, checks: &[&str]) {
    let named = look(url);
    let left: Vec<_> = named.iter().filter(|one| checks.contains(&one.check.as_str())).collect();
    assert!(left.is_empty(), "{:?}", left.iter().map(|one| (&one.found, &one.advice)).collect::<Vec<_>>());
}

/// The commands that an advice gives in backticks, with a reason in place of the dots and a file that is there.
fn quoted(advice: &str, file: &str) -> Vec<String> {
    let commands = advice.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.strip_prefix("postmeter "));
    let commands = commands.map(|command| command.replace("...", "checked").replace("FILE", file));
    let commands: Vec<String> = commands.collect();
    assert!(!commands.is_empty(), "no command: {advice}");
    commands
}

/// Runs the commands that an advice gives.
fn carry_out(db: &TestDatabase, advice: &str, file: &str) {
    for command in quoted(advice, file) {
        let mut program = tests::postmeter(&db.url());
        let output = program.env("USER", "ada").args(command.split(' ')).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}: {said}");
    }
}

/// The SQL of an advice, after these words.
async fn carry_out_sql(db: &TestDatabase, advice: &str, after: &str) {
    let sql = advice.split_once(after).unwrap_or_else(|| panic!("{after}: {advice}")).1;
    db.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// What explain says that a person can do, by the command that doctor gives.
fn explained(stage: &Stage, advice: &str) -> Vec<String> {
    let commands = quoted(advice, "");
    assert!(commands.len() == 1 && commands[0].starts_with("explain "), "{advice}");
    super::people(stage, &commands[0])
}
