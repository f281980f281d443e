//! A database with the migrations of before the baseline: what equals the baseline has it, anything else is refused.

use outbox::migrate::{self, EARLIER, MIGRATIONS};
use tests::TestDatabase;

/// A database as the last migration of before the baseline left it: the same schema, with other names written down.
async fn earlier() -> TestDatabase {
    let db = TestDatabase::fresh().await;
    db.client.batch_execute("delete from postmeter.migration").await.unwrap();
    for name in EARLIER {
        let write = format!("insert into postmeter.migration (version, name) values ({}, '{name}')", &name[..4]);
        db.client.batch_execute(&write.replace("(0", "(")).await.unwrap();
    }
    db
}

async fn names(db: &TestDatabase) -> Vec<String> {
    let rows = db.client.query("select name from postmeter.migration order by version", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn refused(db: &TestDatabase) -> String {
    let before = names(db).await;
    let sentence = migrate::run(&db.another(), MIGRATIONS).await.unwrap_err().to_string();
    assert_eq!(names(db).await, before, "nothing was changed");
    sentence
}

#[tokio::test]
async fn f9_what_equals_the_baseline_is_taken_for_it() {
    let db = earlier().await;
    let kept = "insert into postmeter.gate (name) values ('kept')";
    db.client.batch_execute(kept).await.unwrap();
    let check = migrate::check(&db.database).await.unwrap_err().to_string();
    assert!(check.contains("0001_pre_baseline") && check.contains("run `postmeter migrate`"), "{check}");
    let plan = tests::postmeter(&db.url()).args(["migrate", "--plan"]).output().unwrap();
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.contains("compared with the baseline") && !plan.contains("empty database"), "{plan}");
    let done = migrate::run(&db.another(), MIGRATIONS).await.unwrap();
    assert_eq!(done.applied[0], "0001_pre_baseline");
    assert_eq!(names(&db).await, MIGRATIONS.iter().map(|m| m.name).collect::<Vec<_>>());
    migrate::check(&db.database).await.unwrap();
    let asked = "select count(*) from postmeter.gate where name = 'kept'";
    assert_eq!(db.client.query_one(asked, &[]).await.unwrap().get::<_, i64>(0), 1, "no row is touched");
    let beside = "select to_regnamespace('postmeter_before') is null";
    assert!(db.client.query_one(beside, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn f9_an_older_database_without_all_of_them_is_refused() {
    let db = earlier().await;
    db.client.batch_execute("delete from postmeter.migration where version = 70").await.unwrap();
    let sentence = refused(&db).await;
    assert!(sentence.contains("lacks 0070_pre_names") && sentence.contains("the last program before"), "{sentence}");
}

#[tokio::test]
async fn f9_what_differs_from_the_baseline_is_named() {
    for (change, named) in [
        ("drop view postmeter.silent_service", "it lacks column silent_service."),
        ("alter table postmeter.due add column mine text", "it has column due.mine"),
        ("drop trigger arrived on postmeter.outbox", "it lacks trigger outbox.arrived"),
        ("alter table postmeter.delivery alter column key drop not null", "it has column delivery.key"),
        ("grant delete on postmeter.attempt to postmeter_reader", "it has grant DELETE on attempt to postmeter_reader"),
        (
            "create or replace function postmeter.forbid_change() returns trigger language plpgsql
             set search_path = pg_catalog, pg_temp as $$ begin return null; end $$",
            "it lacks function forbid_change()",
        ),
    ] {
        let db = earlier().await;
        db.client.batch_execute(change).await.unwrap();
        let sentence = refused(&db).await;
        assert!(sentence.contains(named), "{change}: {sentence}");
    }
}

#[tokio::test]
async fn f9_a_living_worker_of_before_keeps_the_baseline_away() {
    let db = earlier().await;
    let worker = "insert into postmeter.worker (id, name, version, lease, lease_until, knows)
                  values (gen_random_uuid(), 'old', 'old', '1 minute', clock_timestamp() + interval '1 minute', 70)";
    db.client.batch_execute(worker).await.unwrap();
    let sentence = refused(&db).await;
    assert!(sentence.contains("worker old") && sentence.contains("stop all workers"), "{sentence}");
}
