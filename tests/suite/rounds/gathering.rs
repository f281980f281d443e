//! Gather: a status that cannot be counted keeps no other request from its answer.

use outbox::requests::{gather, tend};
use outbox::track::{NewStatus, track_batch};
use tests::TestDatabase;

async fn said(requests: &[&str]) -> TestDatabase {
    let db = TestDatabase::fresh().await;
    tend(&db.database).await.unwrap();
    let mut client = db.connect().await;
    let transaction = client.transaction().await.unwrap();
    let statuses: Vec<_> = requests.iter().map(|request| NewStatus::new("ingress", request, "received")).collect();
    track_batch(&transaction, &statuses).await.unwrap();
    transaction.commit().await.unwrap();
    db
}

async fn gathered(db: &TestDatabase) -> Vec<String> {
    // a bounded number of rounds: each goes on where the one before ended
    for _ in 0..10 {
        gather(&db.database).await.unwrap();
    }
    let rows = db.client.query("select request_id from postmeter.request order by 1", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn j2_gather_puts_the_status_that_fails_behind_and_counts_it_when_it_is_cured() {
    let db = said(&["a", "sick", "z"]).await;
    let sick = "alter table postmeter.request add constraint sick check (request_id <> 'sick') not valid";
    db.client.batch_execute(sick).await.unwrap();
    assert_eq!(gathered(&db).await, ["a", "z"]);
    let noted = "select code from postmeter.setback where step = 'gather'";
    assert_eq!(db.client.query_one(noted, &[]).await.unwrap().get::<_, &str>(0), "23514");
    db.client.batch_execute("alter table postmeter.request drop constraint sick").await.unwrap();
    assert_eq!(gathered(&db).await, ["a", "sick", "z"], "by itself");
    let noted = db.client.query_one("select count(*) from postmeter.setback", &[]).await.unwrap();
    assert_eq!(noted.get::<_, i64>(0), 0, "nothing is noted of it any more");
}

#[tokio::test]
async fn j1_gather_blames_no_status_while_another_session_gathers() {
    let db = said(&["a", "z"]).await;
    let holder = db.connect().await;
    holder.batch_execute("begin; select from postmeter.gate where name = 'gather_requests' for update").await.unwrap();
    let error = gather(&db.database).await.unwrap_err();
    assert!(matches!(error, outbox::Error::Shut(_)), "{error:?}");
    holder.batch_execute("commit").await.unwrap();
    let noted = db.client.query_one("select count(*) from postmeter.setback", &[]).await.unwrap();
    assert_eq!(noted.get::<_, i64>(0), 0);
    assert_eq!(gathered(&db).await, ["a", "z"]);
}

#[tokio::test]
async fn j6_what_is_not_counted_yet_is_read_once_however_many_setbacks_there_are() {
    let db = said(&["a", "z"]).await;
    let noted = "insert into postmeter.setback (step, member, failed)
        select 'gather', coalesce((select n.request_key from postmeter.request_news n where m = 1 order by 1 limit 1), 'r' || m), 1
        from generate_series(1, 50) m";
    db.client.batch_execute(noted).await.unwrap();
    let scans = "select coalesce(seq_scan, 0) + coalesce(idx_scan, 0) from pg_stat_xact_all_tables where relname = 'request_news'";
    db.client.batch_execute("begin").await.unwrap();
    let before: i64 = db.client.query_one(scans, &[]).await.unwrap().get(0);
    db.client.batch_execute("select count(*) from postmeter.setbacks_over('gather')").await.unwrap();
    let after: i64 = db.client.query_one(scans, &[]).await.unwrap().get(0);
    db.client.batch_execute("rollback").await.unwrap();
    assert_eq!(after - before, 1);
    outbox::setback::over(&db.database, "gather").await;
    let left = db.client.query_one("select count(*) from postmeter.setback", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 1, "that which is not counted yet");
}

#[tokio::test]
async fn j6_setbacks_of_a_step_are_forgotten_whatever_holds_anothers() {
    let db = said(&["a"]).await;
    let noted = "insert into postmeter.setback (step, member, failed, last_at, next_at)
        select step, 'm', 1, clock_timestamp() - interval '1 hour', clock_timestamp() - interval '1 hour'
        from unnest(array['carry', 'fold', 'gather']) step";
    db.client.batch_execute(noted).await.unwrap();
    let holder = db.connect().await;
    holder.batch_execute("begin; select from postmeter.setback where step = 'carry' for update").await.unwrap();
    outbox::setback::forget(&db.database).await;
    let left = "select string_agg(step, ' ') from postmeter.setback";
    assert_eq!(db.client.query_one(left, &[]).await.unwrap().get::<_, &str>(0), "carry");
}
