//! What a database, its workers and its users lack.

use std::time::Duration;

use tests::{Stage, TestDatabase, until_true, wait_until};

use super::{advice, carry_out, carry_out_sql, is_well, look};
use crate::pooled::{end, worker};

#[tokio::test]
async fn k11_doctor_names_what_a_database_lacks_and_how_it_is_made() {
    let db = TestDatabase::fresh().await;
    let url = db.url();
    db.client.batch_execute("update postmeter.setting set clock_frozen = '2024-09-18T10:00:00Z'").await.unwrap();
    let named = look(&url);
    let missing = advice(&named, "partitions", "is missing: request_status");
    carry_out_sql(&db, &missing, "a running worker makes them; or ").await;
    is_well(&url, &["partitions", "months"]);
    let long_ago = async |columns: &[&str]| {
        let set: Vec<_> =
            columns.iter().map(|column| format!("{column} = clock_timestamp() - interval '30 days'")).collect();
        db.client.batch_execute(&format!("update postmeter.balance_check set {}", set.join(", "))).await.unwrap();
    };
    long_ago(&["since"]).await;
    let unproven = advice(&look(&url), "proof", "not proven yet");
    assert!(unproven.starts_with("see that a worker runs: it proves"), "{unproven}");
    // as each worker does
    outbox::measure::check_balance(&db.database, Duration::from_secs(60)).await.unwrap();
    is_well(&url, &["proof"]);
    long_ago(&["whole_from", "whole_until"]).await;
    carry_out(&db, &advice(&look(&url), "proof", "the whole ledger was read between"), "");
    is_well(&url, &["proof"]);
    let purpose = advice(&named, "purpose", "its clock stands still");
    let (sql, command) = purpose.split_once("; then ").unwrap();
    carry_out_sql(&db, sql, "if money is meant: ").await;
    carry_out(&db, command, "");
    is_well(&url, &["purpose"]);
}

#[tokio::test]
async fn k11_doctor_names_a_session_that_locks_others_out_and_how_it_is_ended() {
    let db = TestDatabase::fresh().await;
    let holder = db.connect().await;
    holder.batch_execute("begin; lock table postmeter.balance_check").await.unwrap();
    let balance = tests::postmeter(&db.url()).arg("balance").output().unwrap();
    let said = String::from_utf8(balance.stderr).unwrap();
    assert!(said.contains("a table that this reads is locked: try again, or see `postmeter doctor`"), "{said}");
    let named = look(&db.url());
    let locked = advice(&named, "locks", "holds AccessExclusiveLock on balance_check");
    let session = advice(&named, "proof", "not looked at: a table that it reads is locked: session ");
    assert!(session.ends_with("if it may end: select pg_terminate_backend(pid)"), "{session}");
    carry_out_sql(&db, &locked, "if it may end: ").await;
    let free = "select not exists (select from pg_locks l where l.relation = 'postmeter.balance_check'::regclass)";
    until_true(&db.client, free).await;
    is_well(&db.url(), &["locks", "proof"]);
    assert!(tests::postmeter(&db.url()).arg("balance").output().unwrap().status.success());
}

#[tokio::test]
async fn k11_doctor_names_a_user_who_sees_too_little_and_what_shows_it_the_rest() {
    let db = TestDatabase::fresh().await;
    let as_user = |user: &str| {
        let url = db.url();
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}options=-c%20role%3D{user}")
    };
    for user in ["near_sighted", "stranger"] {
        db.client.batch_execute(&format!("create role {user}")).await.unwrap();
    }
    db.client.batch_execute("grant postmeter_reader to near_sighted").await.unwrap();
    let reader = as_user("near_sighted");
    let sees_too_little = advice(&look(&reader), "snapshots", "others' sessions cannot be seen");
    assert!(sees_too_little.starts_with("grant pg_read_all_stats (or pg_monitor) to this user"), "{sees_too_little}");
    db.client.batch_execute("grant pg_read_all_stats to near_sighted").await.unwrap();
    is_well(&reader, &["snapshots"]);
    let stranger = look(&as_user("stranger"));
    let told = advice(&stranger, "schema", "permission denied");
    assert_eq!(told, "connect as a user with the role postmeter_reader or postmeter_operator");
    assert!(look(&reader).iter().all(|one| !one.found.contains("permission denied")), "which sees all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k11_doctor_names_workers_that_are_gone_and_what_waits_for_them() {
    let stage = Stage::new().await;
    let url = stage.db.url();
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:05:00Z").await;
    stage
        .sql(
            "update postmeter.outbox set entered_at = clock_timestamp() - interval '2 hours', returned = true;
             insert into postmeter.deadline_change (destination_id, buyer, wanted_at)
             select id, 'aws/late', clock_timestamp() - interval '1 hour' from postmeter.destination",
        )
        .await;
    let other = stage.another_worker().await;
    stage.end_lease_of(stage.worker.id()).await;
    let named = look(&url);
    assert!(advice(&named, "outbox", "1 entries, the oldest recorded").contains("see workers and their logs"));
    assert!(advice(&named, "deadlines", "1 changes of subscriptions").starts_with("let a worker of this version run"));
    let lost = advice(&named, "workers", "1 without a heartbeat");
    assert!(lost.starts_with("a worker that is well takes over what they hold"), "{lost}");
    other.reap().await.unwrap();
    // it is followed once older transactions have ended, also those of other tests on this server
    wait_until("the change is followed", async || {
        other.work().await.unwrap();
        stage.value("select count(*)::text from postmeter.deadline_change").await == "0"
    })
    .await;
    let named = look(&url);
    assert_eq!(
        advice(&named, "workers", "1 taken for dead within the last hour"),
        "look for crashes, or for a database that was away"
    );
    is_well(&url, &["outbox", "deadlines"]);
    stage.sql("update postmeter.worker set stopped_at = clock_timestamp() where stopped_at is null").await;
    let none = advice(&look(&url), "workers", "none is alive");
    assert_eq!(none, "run `postmeter worker`");
    let running = worker(&url, None, false);
    wait_until("a worker is alive", async || look(&url).iter().all(|one| !one.found.contains("none is alive"))).await;
    end(running);
    for at in ["2024-09-18T11:04:00Z", "2024-09-18T11:10:00Z"] {
        stage.at(at).await;
        stage.work_anew().await;
    }
    assert_eq!(stage.accepted(), ["18T10 3"]);
    stage.close().await;
}
