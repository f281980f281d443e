//! A run that fails in the middle, waits for a lock or is repeated.

use outbox::migrate::{self, Migration};
use tests::{Stage, TestDatabase};

use super::{known_later, later, newest};

fn plain(body: &str) -> Migration {
    later(9001, "9001_pre_table", &format!("-- programs: from {:04}\n-- lock: none", newest()), body)
}

async fn names(database: &TestDatabase) -> Vec<String> {
    let rows = database.client.query("select name from postmeter.migration where version > 9000 order by 1", &[]).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn f9_what_fails_in_the_middle_leaves_nothing_of_its_step_and_goes_on_there() {
    let database = TestDatabase::fresh().await;
    let head = format!("-- programs: from {:04}\n-- lock: none", newest());
    let good = plain("create table postmeter.rehearsal (n integer);");
    let bad = later(9002, "9002_pre_broken", &head, "create table postmeter.half (n integer);\nselect 1 / 0;");
    let failed = migrate::run(&database.database, &known_later(&[good, bad])).await.unwrap_err();
    assert!(failed.to_string().contains("division by zero"), "{failed}");
    assert_eq!(names(&database).await, ["9001_pre_table"]);
    let half = "select to_regclass('postmeter.half') is null";
    assert!(
        database.client.query_one(half, &[]).await.unwrap().get::<_, bool>(0),
        "nothing of the failed step is left"
    );
    let mended = later(9002, "9002_pre_broken", &head, "create table postmeter.half (n integer);");
    let done = migrate::run(&database.database, &known_later(&[good, mended])).await.unwrap();
    assert_eq!(done.applied, ["9002_pre_broken"]);
    assert!(migrate::run(&database.database, &known_later(&[good, mended])).await.unwrap().applied.is_empty());
}

#[tokio::test]
async fn f9_an_index_that_a_failed_build_left_invalid_is_dropped_and_built_again() {
    let database = TestDatabase::fresh().await;
    let table =
        plain("create table postmeter.rehearsal (n integer);\ninsert into postmeter.rehearsal values (1), (1);");
    let head = format!("-- programs: from {:04}\n-- transaction: none\n-- lock: none", newest());
    let body = "create unique index concurrently if not exists rehearsal_n on postmeter.rehearsal (n);";
    let index = later(9002, "9002_pre_index", &head, body);
    let all = known_later(&[table, index]);
    let failed = migrate::run(&database.database, &all).await.unwrap_err();
    assert!(failed.to_string().contains("duplicated") || failed.to_string().contains("unique"), "{failed}");
    let valid =
        "select (select indisvalid from pg_index where indexrelid = to_regclass('postmeter.rehearsal_n'))::text";
    let state = || async { database.client.query_one(valid, &[]).await.unwrap().get::<_, Option<String>>(0) };
    assert_eq!(state().await.as_deref(), Some("false"), "Postgres leaves it behind");
    assert_eq!(names(&database).await, ["9001_pre_table"]);
    database.client.batch_execute("delete from postmeter.rehearsal").await.unwrap();
    assert_eq!(migrate::run(&database.database, &all).await.unwrap().applied, ["9002_pre_index"]);
    assert_eq!(state().await.as_deref(), Some("true"));
    // one that a run cannot repeat is refused before it does anything
    let once = later(9003, "9003_pre_once", &head, "create index concurrently once on postmeter.rehearsal (n);");
    let refused = migrate::run(&database.database, &known_later(&[table, index, once])).await.unwrap_err();
    assert!(refused.to_string().contains("if not exists"), "{refused}");
}

#[tokio::test]
async fn f9_a_step_that_waits_for_a_lock_gives_way_and_comes_again() {
    let stage = Stage::new().await;
    let mut holder = stage.db.connect().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("select from postmeter.destination").await.unwrap();
    let head =
        format!("-- programs: from {:04}\n-- lock: access exclusive on destination, for a moment: a column", newest());
    let column = later(9001, "9001_pre_column", &head, "alter table postmeter.destination add column rehearsal text;");
    let all = known_later(&[column]);
    let run = tokio::spawn({
        let database = stage.db.another();
        async move { migrate::run(&database, &all).await }
    });
    stage.until_waiting(1).await;
    // whoever comes behind it waits as long as it does, and no longer
    let behind = stage.db.connect().await;
    behind.batch_execute("select from postmeter.destination").await.unwrap();
    assert!(!run.is_finished(), "it has given way and will come again");
    held.rollback().await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, ["9001_pre_column"]);
    stage.close().await;
}
