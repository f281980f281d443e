//! K11: every advice is read in the state that shows it and carried out there, and it does what it says.

mod closing;
mod doctor;
mod held;
mod listed;
mod refused;
mod said;
mod stranded;
mod unclear;

use jiff::{SignedDuration, Timestamp};
use tests::Stage;

/// Runs a command as ada; its exit code and what it says.
fn run(stage: &Stage, command: &str) -> (i32, String) {
    let output = tests::postmeter(&stage.db.url()).env("USER", "ada").args(command.split(' ')).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Runs a command that must do what it says.
fn done(stage: &Stage, command: &str) {
    let (code, said) = run(stage, command);
    assert_eq!(code, 0, "{command}: {said}");
}

/// Three cores of 10:00 are due at a destination that is paused and whose breaker is open, and no worker is alive.
async fn due_where_nothing_is_sent() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.configure("paused = true").await;
    stage
        .sql(
            "insert into postmeter.breaker (destination_id, faults, opened_at, open_until, outcome, updated_at)
             select id, 3, clock_timestamp(), clock_timestamp() + interval '1 hour', 'unavailable', clock_timestamp()
             from postmeter.destination",
        )
        .await;
    stage.let_leases_end().await;
    stage
}

/// What is advised about the only dead letter.
async fn advice(stage: &Stage) -> String {
    let mut advised = stage.column("select what_to_do from postmeter.dead_letter").await;
    assert_eq!(advised.len(), 1, "{advised:?}");
    advised.pop().unwrap()
}

/// What a person can do, as `explain` says: a line each.
fn people(stage: &Stage, explain: &str) -> Vec<String> {
    let (code, text) = run(stage, explain);
    assert_eq!(code, 0, "{text}");
    let after = text.rsplit_once("\nWhat a person can do\n").unwrap_or_else(|| panic!("no advice: {text}")).1;
    // a line that goes on is indented further
    let mut lines: Vec<String> = Vec::new();
    for line in after.split("\n\n").next().unwrap_or_default().lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with("    ") => *last = format!("{last} {}", line.trim()),
            _ => lines.push(line.trim().to_owned()),
        }
    }
    lines
}

/// The commands that a line gives, with a reason in place of the dots.
fn commands(line: &str) -> Vec<String> {
    line.split("postmeter ")
        .skip(1)
        .map(|rest| rest.split(['`', ')', ';']).next().unwrap_or_default())
        .map(|command| command.split([',', '(']).next().unwrap_or_default().trim().replace("...", "checked"))
        .collect()
}

/// Does what a text says must come first.
async fn prepare(stage: &Stage, text: &str) {
    if text.contains("late_policy to part") {
        stage.configure("late_policy = 'part'").await;
    }
    if text.contains("renew the subscription") {
        stage.sql("update postmeter.subscription set valid_until = null").await;
        stage.worker.reload().await.unwrap();
    }
    if text.contains("reopen") && !text.contains("postmeter month reopen") {
        done(stage, "month reopen aws 2024-09 --why checked --apply");
    }
}

/// Two hours pass.
async fn later(stage: &Stage) {
    let now: Timestamp = stage.value("select to_json(postmeter.clock())#>>'{}'").await.parse().unwrap();
    stage.work_anew().await;
    for hours in [1, 2] {
        stage.cut_at(&(now + SignedDuration::from_mins(60 * hours + 10)).to_string()).await;
    }
}

/// Nothing needs a person any more, and this much is billed in all.
async fn cured(stage: Stage, scene: &str, billed: &str) {
    later(&stage).await;
    let left = stage.column("select class || ': ' || what_to_do from postmeter.dead_letter").await;
    assert_eq!(left, [""; 0], "{scene}");
    let total: u64 = stage.accepted().iter().map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(total.to_string(), billed, "{scene}: {:?}", stage.accepted());
    stage.close().await;
}
