//! An older program on a newer schema. What is newer here is a migration that this program does not know.

use std::process::Output;
use std::sync::Arc;

use outbox::migrate::{self, Migration};
use tests::{Console, Stage};
use tokio_util::sync::CancellationToken;
use worker::{Worker, WorkerError};

use super::{known_later, later, newest};

/// Adds what a release may add: columns to every table that workers use, an index, a column to a view.
fn expanding() -> Migration {
    let tables = [
        "outbox",
        "usage",
        "usage_identity",
        "held",
        "destination",
        "subscription",
        "dimension",
        "delivery",
        "meter",
        "allocation",
        "due",
        "later",
        "attempt",
        "outcome",
        "worker",
        "decision",
        "quota",
        "setting",
    ];
    let columns: Vec<_> =
        tables.map(|table| format!("alter table postmeter.{table} add column rehearsal text;")).into();
    let body = format!("{}\ncreate table postmeter.rehearsal (n integer);", columns.join("\n"));
    let locks: Vec<_> =
        tables.map(|table| format!("-- lock: access exclusive on {table}, for a moment: a column")).into();
    let head = format!("-- programs: from {:04}\n{}", newest(), locks.join("\n"));
    later(9001, "9001_pre_expands", &head, &body)
}

/// Takes away what only this program and those before it use.
fn contracting() -> Migration {
    later(
        9002,
        "9002_post_contracts",
        "-- programs: from 9001\n-- lock: access exclusive on delivery, for a moment: drops a column",
        "alter table postmeter.delivery drop column rehearsal;",
    )
}

fn command(stage: &Stage, arguments: &[&str]) -> Output {
    tests::postmeter(&stage.db.url()).args(arguments).output().unwrap()
}

/// Both streams of a command.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_an_older_worker_goes_on_and_starts_anew_on_a_schema_that_was_only_added_to() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    // it works with statements that it has prepared; the schema changes under them
    let done = migrate::run(&stage.db.another(), &known_later(&[expanding()])).await.unwrap();
    assert_eq!((done.applied.as_slice(), done.waits), (&["9001_pre_expands"][..], None));
    stage.use_cores("two", "2", "2024-09-18T11:20:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1", "18T11 accepted 2"]);
    assert!(stage.worker.beat().await.unwrap());
    // a crash during the rollout: the old program is started again
    stage.use_cores("three", "3", "2024-09-18T12:20:00Z").await;
    let anew = stage.another_worker().await;
    stage.at("2024-09-18T13:04:00Z").await;
    anew.work().await.unwrap();
    stage.at("2024-09-18T13:10:00Z").await;
    anew.work().await.unwrap();
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 2", "18T12 3"]);
    let console = Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    assert_eq!(console.get(&token, "/v1/remittances").await.status, 200);
    assert!(
        said(&command(&stage, &["doctor"])).contains("newer than this program, which works on it: 9001_pre_expands")
    );
    let output = command(&stage, &["migrate"]);
    assert!(output.status.success() && said(&output).contains("nothing to do"), "{}", said(&output));
    assert!(said(&command(&stage, &["migrate", "--plan"])).contains("newer than this program"));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_an_older_worker_refuses_a_schema_that_something_was_taken_from() {
    let stage = Stage::new().await;
    let run = Arc::clone(&stage.worker);
    let all = known_later(&[expanding(), contracting()]);
    // what takes away waits for those who use it: it runs after the old programs are gone
    let done = migrate::run(&stage.db.another(), &all).await.unwrap();
    assert_eq!(done.applied, ["9001_pre_expands"]);
    let waits = done.waits.unwrap();
    let sentence =
        format!("needs programs that know migration 9001 or a later one, and worker worker knows {:04}", newest());
    assert!(waits.starts_with("9002_post_contracts waits") && waits.contains(&sentence), "{waits}");
    // the later program starts meanwhile, without it
    let state = migrate::state(&stage.db.another(), &all).await.unwrap();
    assert!(state.pending.iter().all(Migration::is_post));
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(run.run(stop).await.unwrap());
    assert_eq!(migrate::run(&stage.db.another(), &all).await.unwrap().applied, ["9002_post_contracts"]);

    let refused = Worker::start(stage.db.another(), tests::quick()).await.err().unwrap();
    let WorkerError::Database(refused) = refused else { panic!("{refused}") };
    let sentence = refused.to_string();
    for words in ["9002_post_contracts", "does not know", "needs programs that know migration 9001", "or a newer one"] {
        assert!(sentence.contains(words), "{words}: {sentence}");
    }
    let output = command(&stage, &["worker"]);
    assert!(!output.status.success());
    assert!(said(&output).contains(&sentence), "{}", said(&output));
    let output = command(&stage, &["console", "--listen", "127.0.0.1:0"]);
    assert!(!output.status.success() && said(&output).contains("9002_post_contracts"), "{}", said(&output));
    let output = command(&stage, &["migrate"]);
    assert!(!output.status.success() && said(&output).contains("9002_post_contracts"), "{}", said(&output));
}

#[tokio::test]
async fn f9_what_would_break_a_living_worker_is_not_applied_before_the_new_program() {
    let stage = Stage::new().await;
    let breaks = later(9001, "9001_pre_breaks", "-- programs: from 9001\n-- lock: none", "select 1;");
    let refused = migrate::run(&stage.db.another(), &known_later(&[breaks])).await.unwrap_err().to_string();
    assert!(refused.contains("9001_pre_breaks waits") && refused.contains("stop what is older"), "{refused}");
    // without a word about older programs it counts as breaking them, by psql too
    stage.sql("insert into postmeter.migration (version, name) values (9001, '9001_pre_breaks')").await;
    let refused = migrate::check(&stage.db.database).await.unwrap_err().to_string();
    assert!(refused.contains("does not say that older programs work on it"), "{refused}");
    // a dead worker holds nothing back
    stage.sql("delete from postmeter.migration where version = 9001").await;
    stage.sql("update postmeter.worker set lease_until = clock_timestamp() - interval '1 second'").await;
    assert_eq!(migrate::run(&stage.db.another(), &known_later(&[breaks])).await.unwrap().applied, ["9001_pre_breaks"]);
}

#[tokio::test]
async fn f9_the_plan_says_when_each_step_runs_and_whom_it_keeps_out() {
    let stage = Stage::new().await;
    let plan = said(&command(&stage, &["migrate", "--plan"]));
    assert!(plan.contains("nothing is pending"), "{plan}");
    let last = migrate::MIGRATIONS.last().unwrap();
    stage.sql(&format!("delete from postmeter.migration where version = {}", last.version)).await;
    let plan = said(&command(&stage, &["migrate", "--plan"]));
    let head = last.head().unwrap();
    let line = format!(
        "pending {}: {}; one transaction; programs that know {:04} work on it",
        last.name,
        if last.name.contains("_post_") { "after the old programs are gone" } else { "before the new program" },
        head.programs_from
    );
    assert!(plan.contains(&line), "{plan}");
    for lock in &head.locks {
        assert!(plan.contains(&format!("    lock: {lock}")), "{plan}");
    }
    let output = command(&stage, &["--json", "migrate", "--plan"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["steps"][0]["name"], last.name);
    assert_eq!(json["steps"][0]["locks"].as_array().unwrap().len(), head.locks.len());
}

#[tokio::test]
async fn f9_a_statement_whose_answer_a_migration_changed_is_prepared_anew() {
    let stage = Stage::new().await;
    let url = stage.db.url();
    let one = outbox::Database::open(&outbox::Access { connections_max: 1, ..outbox::Access::new(&url) }).unwrap();
    let ask = async || outbox::alerts::blind(&one).await.map(drop);
    ask().await.unwrap();
    stage.sql("alter table postmeter.alert_rule alter column failure type text collate \"POSIX\"").await;
    let error = ask().await.expect_err("Postgres refuses the statement as it was prepared");
    assert!(matches!(&error, outbox::Error::Retryable { code, .. } if code == "0A000"), "{error:?}");
    ask().await.unwrap();
}
