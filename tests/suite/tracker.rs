//! H: tracking a request, from what a service records to what a reader is told.

mod commands;
mod days;
mod doors;
mod feed;
mod intake;
mod kept;
mod lists;
mod queue;
mod silence;
mod verdict;
mod ways;

use jiff::Timestamp;
use outbox::track::{NewStatus, Tracked, track_batch};
use tests::TestDatabase;

/// A database whose clock stands still, with the partitions of that day.
async fn tracker(now: &str) -> TestDatabase {
    let db = TestDatabase::fresh().await;
    at(&db, now).await;
    outbox::requests::tend(&db.database).await.unwrap();
    db
}

/// Moves the clock.
async fn at(db: &TestDatabase, now: &str) {
    let now: Timestamp = now.parse().unwrap();
    db.client.execute("update postmeter.setting set clock_frozen = $1", &[&now]).await.unwrap();
}

/// Records statuses in one transaction.
pub async fn record(db: &TestDatabase, statuses: &[NewStatus]) -> Vec<Tracked> {
    let mut client = db.connect().await;
    let transaction = client.transaction().await.unwrap();
    let verdicts = track_batch(&transaction, statuses).await.unwrap();
    transaction.commit().await.unwrap();
    verdicts
}

/// `service request status`, dated if a time follows.
pub fn said(text: &str) -> NewStatus {
    let words: Vec<&str> = text.split(' ').collect();
    let mut status = NewStatus::new(words[0], words[1], words[2]);
    status.date = words.get(3).map(|date| date.parse().unwrap());
    status
}

async fn value(db: &TestDatabase, sql: &str) -> String {
    db.client.query_one(sql, &[]).await.expect(sql).get(0)
}

/// SQLSTATE, column and constraint of a refusal.
async fn refusal(db: &TestDatabase, sql: &str) -> String {
    let error = db.client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().expect("the server's answer").clone();
    format!("{} {} {}", error.code().code(), error.column().unwrap_or_default(), error.constraint().unwrap_or_default())
}
