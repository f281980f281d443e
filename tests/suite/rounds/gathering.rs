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
