//! I4 and A2 under retention: months of the ledger are made, healed, exported and dropped, and nothing is lost by it.

mod billing;
mod dropped;
mod exported;
mod kept;
mod leftover;
mod months;
mod told;

use tests::{Dimension, Stage};

/// A stage whose ids follow its clock, as they do in production: months of the ledger are months of the clock.
async fn in_time() -> Stage {
    let stage = Stage::new().await;
    follow_clock(&stage).await;
    stage
}

async fn follow_clock(stage: &Stage) {
    for function in ["new_id()", "outbox_after_insert()"] {
        let definition = stage.value(&format!("select pg_get_functiondef('postmeter.{function}'::regprocedure)")).await;
        assert!(definition.contains("clock_timestamp()"), "{definition}");
        let moved = definition.replace("statement_timestamp()", "clock_timestamp()");
        stage.sql(&moved.replace("clock_timestamp()", "postmeter.clock()")).await;
    }
}

/// September 2024, over and closed: five cores of acme accepted and one exempt usage; one core of October.
async fn september() -> Stage {
    let stage = in_time().await;
    stage.dimension(Dimension { metric: "gb", name: "gb", ..Dimension::default() }).await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'staging')").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "3", "2024-09-18T10:05:00Z").await;
    stage.use_cores("two", "1.50", "2024-09-18T10:10:00Z").await;
    stage.record("exempt", "ours", "cores", "7", "2024-09-18T10:20:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.at("2024-10-02T12:00:00Z").await;
    stage.use_cores("october", "1", "2024-10-02T11:30:00Z").await;
    stage.cut_at("2024-10-02T13:10:00Z").await;
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    stage
}

/// The same, closed, and longer ago than a retention of 400 days.
async fn finished() -> Stage {
    let stage = september().await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    stage.sql("select postmeter.set_ledger_retention('400 days', 'ada', 'the law says so')").await;
    stage.at("2025-11-10T12:00:00Z").await;
    stage
}

const WHY_NOT: &str = "select postmeter.ledger_why_not('2024-09-01')";

/// September is exported into a folder of the test.
async fn exported(stage: &Stage) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let (code, said) = run(stage, &["ledger", "export", "--month", "2024-09", "--to", to, "--why", "retention"]);
    assert_eq!(code, 0, "{said}");
    folder
}

const DROPPING: &str = "select * from postmeter.drop_ledger_month('2024-09-01', 'x', 'y', false)";

/// Both balances close.
async fn closes(stage: &Stage) {
    let open = stage
        .column(
            "select org from postmeter.usage_balance where difference <> 0 or difference_usages <> 0
             union all select buyer from postmeter.balance where difference <> 0",
        )
        .await;
    assert!(open.is_empty(), "the balance does not close: {open:?}");
}

/// What the balances say of everything ever recorded.
async fn sums(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('%s %s %s %s', org, usages, recorded, allocated) from postmeter.usage_balance
             union all select format('%s %s %s', month, recorded, accepted) from postmeter.balance order by 1",
        )
        .await
}

/// The command's exit code and what it said.
fn run(stage: &Stage, words: &[&str]) -> (i32, String) {
    let output =
        tests::postmeter(&stage.db.url()).env("USER", "ada").args(words).output().expect("the command is built");
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().expect("it ended by itself"), text)
}
