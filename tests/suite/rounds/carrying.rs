//! Carry and month end: what cannot go, is locked or fails keeps no other meter from its hour.

use outbox::maintain::{carry, month_end, zero};
use tests::{Dimension, Stage};

use super::{cure, holding, meter_of, ripe, setbacks, sick, used};

/// A stage on which so many orgs have something to bill and no hour to bill it in.
async fn owing(orgs: u32) -> Stage {
    let stage = ripe(orgs).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage.sql("update postmeter.meter set billable = 1").await;
    stage
}

async fn opened(stage: &Stage) -> usize {
    carry(&stage.db.database, false).await.unwrap()
}

#[tokio::test]
async fn j5_what_can_go_goes_in_the_next_round_however_many_stranded_stand_before_it() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    // without a subscription, of this month or of one that is over
    stage
        .sql(
            "insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end, billable)
             select t.id, 'nobody ' || n, 'cores', case when n % 2 = 0 then date '2024-09-01' else '2024-07-01' end, 'up', 0, 'round_up', 1
             from generate_series(1, 1001) n, postmeter.destination t;
             insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, status)
             select m.destination_id, 'key ' || m.id, m.id, '2024-07-18T10:00Z', '{}', 'db', '2024-07-19T10:00Z', 'nothing_due'
             from postmeter.meter m",
        )
        .await;
    used(&stage, 1, "1", "2024-09-18T10:10:00Z").await;
    stage.at("2024-09-18T11:00:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T11:10:00Z").await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage.sql(&format!("update postmeter.meter set billable = 1 where id = {}", meter_of(1))).await;
    stage.worker.maintain().await.unwrap();
    let opened = "select s.org from postmeter.open_hour o join postmeter.delivery d on d.id = o.delivery_id
                  join postmeter.meter m on m.id = d.meter_id join postmeter.subscription s on s.buyer = m.buyer";
    assert_eq!(stage.column(opened).await, ["org1"]);
    let listed = "select count(*)::text from postmeter.dead_letter where class = 'stranded'";
    assert_eq!(stage.value(listed).await, "1001", "they are listed");
}

#[tokio::test]
async fn j1_carry_skips_a_locked_meter() {
    let stage = owing(3).await;
    let holder = holding(&stage, &format!("select from postmeter.meter where id = {} for update", meter_of(1))).await;
    assert_eq!(opened(&stage).await, 2, "the others, in the same round");
    assert_eq!(setbacks(&stage).await, ["carry 1/0"]);
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(opened(&stage).await, 1);
    assert!(setbacks(&stage).await.is_empty());
}

#[tokio::test]
async fn j2_carry_sets_aside_the_meter_that_fails_and_month_end_has_its_turn() {
    let stage = owing(3).await;
    // it owes a new hour, which it cannot have
    stage.sql("update postmeter.delivery set status = 'held', reason = 'by_operator'; delete from postmeter.due").await;
    sick(&stage, "delivery", &meter_of(2), "meter_id").await;
    let failed = stage.worker.maintain_all(false).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(stage.value("select count(*)::text from postmeter.open_hour").await, "2");
    assert_eq!(setbacks(&stage).await, ["carry 0/1: 23514"]);
    cure(&stage, "delivery").await;
    assert_eq!(opened(&stage).await, 1, "by itself");
    assert!(setbacks(&stage).await.is_empty());
}

/// A stage in the last hour of the month, on which so many orgs have half a unit over.
async fn remainders(orgs: u32) -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    stage.at("2024-09-30T21:00:00Z").await;
    used(&stage, orgs, "0.5", "2024-09-30T20:10:00Z").await;
    stage.fold().await;
    stage.at("2024-09-30T21:10:00Z").await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage.at("2024-10-01T00:10:00Z").await;
    stage.configure("month_cutoff = '24 hours'").await;
    stage
}

#[tokio::test]
async fn j1_month_end_skips_a_locked_meter() {
    let stage = remainders(3).await;
    let holder = holding(&stage, &format!("select from postmeter.meter where id = {} for update", meter_of(1))).await;
    assert_eq!(month_end(&stage.db.database, false).await.unwrap(), 2, "the others, in the same round");
    assert_eq!(setbacks(&stage).await, ["month_end 1/0"]);
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(month_end(&stage.db.database, false).await.unwrap(), 1);
    assert!(setbacks(&stage).await.is_empty());
}

#[tokio::test]
async fn j2_month_end_sets_aside_the_meter_that_fails() {
    let stage = remainders(3).await;
    sick(&stage, "delivery", &meter_of(2), "meter_id").await;
    assert_eq!(month_end(&stage.db.database, false).await.unwrap(), 2);
    assert_eq!(setbacks(&stage).await, ["month_end 0/1: 23514"]);
    cure(&stage, "delivery").await;
    assert_eq!(month_end(&stage.db.database, false).await.unwrap(), 1);
    assert!(setbacks(&stage).await.is_empty());
}

/// Silent hours of so many keys, one for each.
async fn silent(keys: usize) -> Stage {
    let stage = Stage::new().await;
    for n in 1..keys {
        stage.subscribe(&format!("org{n}"), &format!("20000000000{n}")).await;
    }
    stage.sql("update postmeter.dimension set zero = 'send'").await;
    stage.at("2024-09-19T09:25:00Z").await;
    stage
}

#[tokio::test]
async fn j1_zero_skips_a_locked_meter() {
    let stage = silent(3).await;
    assert_eq!(zero(&stage.db.database).await.unwrap(), 3);
    // the next hour's
    stage.at("2024-09-19T10:25:00Z").await;
    let holder = holding(&stage, "select from postmeter.meter where id = 2 for update").await;
    assert_eq!(zero(&stage.db.database).await.unwrap(), 2, "the others, in the same round");
    assert_eq!(setbacks(&stage).await, ["zero 1/0"]);
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(zero(&stage.db.database).await.unwrap(), 1);
    assert!(setbacks(&stage).await.is_empty());
}

#[tokio::test]
async fn j2_zero_sets_aside_the_hour_that_fails() {
    let stage = silent(3).await;
    assert_eq!(zero(&stage.db.database).await.unwrap(), 3);
    stage.at("2024-09-19T10:25:00Z").await;
    sick(&stage, "delivery", "2", "meter_id").await;
    assert_eq!(zero(&stage.db.database).await.unwrap(), 2);
    assert_eq!(setbacks(&stage).await, ["zero 0/1: 23514"]);
    cure(&stage, "delivery").await;
    assert_eq!(zero(&stage.db.database).await.unwrap(), 1);
    assert!(setbacks(&stage).await.is_empty());
}
