//! Deadlines follow a buyer's subscriptions, in shares; until they have, a claim goes by the new ones.

use outbox::maintain::move_deadlines;
use tests::Stage;

use super::{cure, holding, meter_of, ripe, setbacks, sick};

/// Ends or renews the subscription of an org.
async fn until(stage: &Stage, org: u32, end: &str) {
    stage.sql(&format!("update postmeter.subscription set valid_until = {end} where org = 'org{org}'")).await;
}

async fn moved(stage: &Stage) -> u64 {
    move_deadlines(&stage.db.database).await.unwrap()
}

/// A stage on which so many orgs' remittances are due.
async fn due(orgs: u32) -> Stage {
    let stage = ripe(orgs).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage
}

const MARKS: &str = "select count(*)::text from postmeter.deadline_change";

#[tokio::test]
async fn j5_a_deadline_that_became_earlier_acts_at_the_claim_before_it_is_moved() {
    let stage = due(3).await;
    until(&stage, 2, "'2024-09-18T11:00Z'").await;
    assert_eq!(stage.value(MARKS).await, "1");
    let before = "select count(distinct deadline)::text from postmeter.delivery";
    assert_eq!(stage.value(before).await, "1", "the edit itself moves nothing");
    // an hour after the subscription's end nothing of it is taken any more
    stage.at("2024-09-18T12:30:00Z").await;
    while stage.worker.send().await.unwrap() > 0 {}
    let statuses = format!(
        "select string_agg(d.status || case when d.meter_id = {} then ' of org2' else '' end, ', ' order by d.status, d.meter_id)
         from postmeter.delivery d",
        meter_of(2)
    );
    assert_eq!(stage.value(&statuses).await, "accepted, accepted, expired of org2");
    stage.close().await;
}

#[tokio::test]
async fn j5_a_deadline_that_became_later_acts_at_the_claim_before_it_is_moved() {
    let stage = due(2).await;
    until(&stage, 1, "'2024-09-18T11:00Z'").await;
    assert_eq!(moved(&stage).await, 1);
    until(&stage, 1, "null").await;
    stage.at("2024-09-18T12:30:00Z").await;
    while stage.worker.send().await.unwrap() > 0 {}
    let accepted = "select count(*)::text from postmeter.delivery where status = 'accepted'";
    assert_eq!(stage.value(accepted).await, "2");
    stage.close().await;
}

#[tokio::test]
async fn j5_the_queue_follows_a_deadline_too() {
    let stage = due(3).await;
    until(&stage, 3, "'2024-09-18T11:00Z'").await;
    assert_eq!(moved(&stage).await, 1);
    assert_eq!(stage.value(MARKS).await, "0");
    let first = format!(
        "select (q.delivery_id = (select d.id from postmeter.delivery d where d.meter_id = {}))::text
         from postmeter.due q order by q.deadline, q.delivery_id limit 1",
        meter_of(3)
    );
    assert_eq!(stage.value(&first).await, "true", "what ends first is claimed first");
    let apart = "select count(*)::text from postmeter.due q join postmeter.delivery d on d.id = q.delivery_id where q.deadline <> d.deadline";
    assert_eq!(stage.value(apart).await, "0");
    assert_eq!(stage.value("select count(*)::text from postmeter.due").await, "3");
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j5_no_transaction_moves_more_deadlines_than_its_share() {
    let stage = ripe(2).await;
    // the buyer has 2,500 hours more
    stage
        .sql(&format!(
            "insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
             select m.destination_id, m.buyer, 'more ' || n, m.month, m.rounding, m.decimals, m.month_end
             from postmeter.meter m, generate_series(1, 2500) n where m.id = {0};
             insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, status)
             select m.destination_id, 'key ' || m.id, m.id, '2024-09-18T10:00Z', '{{}}', 'db', '2024-09-19T09:50Z', 'nothing_due'
             from postmeter.meter m where m.dimension like 'more %'",
            meter_of(1)
        ))
        .await;
    let transactions = "select count(distinct xmin::text)::text from postmeter.delivery";
    let before = stage.value(transactions).await;
    until(&stage, 1, "'2024-09-18T11:00Z'").await;
    assert_eq!(stage.value(transactions).await, before, "the edit of the catalogue waits for none of them");
    assert_eq!(moved(&stage).await, 2501);
    let most = "select max(n)::text from (select count(*) n from postmeter.delivery where deadline < '2024-09-18T13:00Z' group by xmin::text) t";
    let most: i32 = stage.value(most).await.parse().unwrap();
    assert!(most <= 1000, "{most} remittances in one transaction");
    assert_eq!(stage.value(MARKS).await, "0");
}

#[tokio::test]
async fn j1_deadlines_skip_a_locked_remittance_and_the_catalogue_waits_for_nobody() {
    let stage = due(3).await;
    let holder = holding(
        &stage,
        &format!("select from postmeter.delivery where meter_id in ({}, {}) for update", meter_of(1), meter_of(2)),
    )
    .await;
    for org in 1..=3 {
        until(&stage, org, "'2024-09-18T11:00Z'").await;
    }
    assert_eq!(moved(&stage).await, 1, "the other, in the same round");
    assert_eq!(setbacks(&stage).await, ["deadlines 1/0", "deadlines 1/0"]);
    assert_ne!(stage.value(MARKS).await, "0");
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(moved(&stage).await, 2);
    assert!(setbacks(&stage).await.is_empty());
    assert_eq!(stage.value(MARKS).await, "0");
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j2_deadlines_set_aside_what_fails() {
    let stage = due(3).await;
    sick(&stage, "delivery", &meter_of(2), "meter_id").await;
    for org in 1..=3 {
        until(&stage, org, "'2024-09-18T11:00Z'").await;
    }
    assert_eq!(moved(&stage).await, 2);
    assert_eq!(setbacks(&stage).await, ["deadlines 0/1: 23514"]);
    cure(&stage, "delivery").await;
    assert_eq!(moved(&stage).await, 1);
    assert!(setbacks(&stage).await.is_empty());
    stage.work().await;
    stage.close().await;
}
