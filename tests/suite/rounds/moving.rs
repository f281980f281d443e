//! Review, reconsider, promote and cures: what is locked or fails keeps no other from moving, in transactions of a share.

use outbox::corrections::{Decider, Verb, correct, correct_held};
use outbox::maintain::{promote, reconsider_stuck, return_cured, review};
use serde_json::json;
use tests::Stage;

use super::{cure, holding, meter_of, ripe, setbacks, sick, used};

/// The number of an org's remittance.
pub(super) fn delivery_of(org: u32) -> String {
    format!("(select d.id from postmeter.delivery d where d.meter_id = {})", meter_of(org))
}

/// A stage on which so many orgs' remittances have expired, and may be rolled forward.
async fn expired(orgs: u32) -> Stage {
    let stage = ripe(orgs).await;
    stage.configure("expired_policy = 'roll_forward'").await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage.sql("delete from postmeter.due; update postmeter.delivery set status = 'expired'").await;
    stage
}

async fn moved(stage: &Stage) -> i32 {
    reconsider_stuck(&stage.db.database, false).await.unwrap()
}

#[tokio::test]
async fn j1_reconsider_skips_a_locked_meter() {
    let stage = expired(3).await;
    let holder = holding(&stage, &format!("select from postmeter.meter where id = {} for update", meter_of(1))).await;
    assert_eq!(moved(&stage).await, 2, "the others, in the same round");
    assert_eq!(setbacks(&stage).await, ["reconsider 1/0"]);
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(moved(&stage).await, 1);
    assert!(setbacks(&stage).await.is_empty());
}

#[tokio::test]
async fn j2_reconsider_sets_aside_what_fails() {
    let stage = expired(3).await;
    sick(&stage, "meter", &meter_of(2), "id").await;
    assert_eq!(moved(&stage).await, 2);
    assert_eq!(setbacks(&stage).await, ["reconsider 0/1: 23514"]);
    cure(&stage, "meter").await;
    assert_eq!(moved(&stage).await, 1);
    assert!(setbacks(&stage).await.is_empty());
}

#[tokio::test]
async fn j5_no_transaction_rolls_forward_more_than_its_share() {
    let stage = expired(250).await;
    assert_eq!(moved(&stage).await, 250);
    let most = "select max(n)::text from (select count(*) n from postmeter.decision group by xmin::text) t";
    let most: i32 = stage.value(most).await.parse().unwrap();
    assert!(most <= 100, "{most} decisions in one transaction");
}

#[tokio::test]
async fn j5_a_person_decides_about_many_in_shares() {
    let stage = expired(450).await;
    let me = Decider { who: "ada", why: "the hours are lost" };
    let changes = correct(&stage.db.database, Verb::Release, &json!({ "all": true }), me, false).await.unwrap();
    assert_eq!(changes.iter().filter(|change| change.after == "released").count(), 450);
    let most = "select max(n)::text from (select count(*) n from postmeter.decision group by xmin::text) t";
    assert_eq!(stage.value(most).await, "200", "decisions in one transaction");
    let filters = "select distinct detail ->> 'filter' from postmeter.decision";
    assert_eq!(stage.column(filters).await, [r#"{"all": true}"#]);
    let again = correct(&stage.db.database, Verb::Release, &json!({ "all": true }), me, false).await.unwrap();
    assert!(again.is_empty());
}

/// How long it takes to roll so many forward: `POSTMETER_EXPIRED=3000 cargo test … j5_measure -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures, and takes minutes"]
async fn j5_measure_rolling_forward() {
    let many = std::env::var("POSTMETER_EXPIRED").ok().and_then(|many| many.parse().ok()).unwrap_or(3000);
    let stage = expired(many).await;
    let began = std::time::Instant::now();
    let moved = moved(&stage).await;
    println!("{moved} rolled forward in {:?}", began.elapsed());
}

/// Late evidence that these remittances were accepted.
async fn evidence(stage: &Stage) {
    stage
        .sql(
            "insert into postmeter.late_evidence (attempt_id, delivery_id, outcome)
             select postmeter.new_id(), d.id, 'accepted' from postmeter.delivery d",
        )
        .await;
}

#[tokio::test]
async fn j1_review_skips_a_locked_delivery() {
    let stage = ripe(3).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    evidence(&stage).await;
    let rows = format!("select from postmeter.delivery where id = {} for update", delivery_of(1));
    let holder = holding(&stage, &rows).await;
    assert_eq!(review(&stage.db.database).await.unwrap(), 2, "the others, in the same round");
    assert_eq!(setbacks(&stage).await, ["review 1/0"]);
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(review(&stage.db.database).await.unwrap(), 1);
    assert!(setbacks(&stage).await.is_empty());
}

#[tokio::test]
async fn j2_review_sets_aside_what_fails() {
    let stage = ripe(3).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    evidence(&stage).await;
    sick(&stage, "delivery", &delivery_of(2), "id").await;
    assert_eq!(review(&stage.db.database).await.unwrap(), 2);
    assert_eq!(setbacks(&stage).await, ["review 0/1: 23514"]);
    cure(&stage, "delivery").await;
    assert_eq!(review(&stage.db.database).await.unwrap(), 1);
    assert!(setbacks(&stage).await.is_empty());
}

/// A stage on which so many orgs' remittances wait for a time that has come.
async fn waiting(orgs: u32) -> Stage {
    let stage = ripe(orgs).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage
        .sql(
            "delete from postmeter.due; insert into postmeter.later (delivery_id, destination_id, due_at)
             select d.id, d.destination_id, '2024-09-18T11:05Z' from postmeter.delivery d",
        )
        .await;
    stage
}

#[tokio::test]
async fn j1_promote_passes_over_a_locked_delivery() {
    let stage = waiting(3).await;
    let rows = format!("select from postmeter.later where delivery_id = {} for update", delivery_of(1));
    let holder = holding(&stage, &rows).await;
    assert_eq!(promote(&stage.db.database, 2).await.unwrap(), 2, "and it takes nobody's place");
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(promote(&stage.db.database, 2).await.unwrap(), 1);
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j2_promote_sets_aside_what_fails() {
    let stage = waiting(3).await;
    sick(&stage, "due", &delivery_of(2), "delivery_id").await;
    assert_eq!(promote(&stage.db.database, 10).await.unwrap(), 2);
    assert_eq!(setbacks(&stage).await, ["promote 0/1: 23514"]);
    assert_eq!(promote(&stage.db.database, 10).await.unwrap(), 0, "its time has not come");
    cure(&stage, "due").await;
    assert_eq!(promote(&stage.db.database, 10).await.unwrap(), 1);
    assert!(setbacks(&stage).await.is_empty(), "nothing is noted of it any more");
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j5_cures_of_a_catalogue_change_are_done_in_shares() {
    let stage = Stage::bare().await;
    used(&stage, 1, "1", "2024-09-18T09:10:00Z").await;
    stage
        .sql(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', 'early ' || n, 'org1', 'db', 'cores', 1, '2024-09-18T09:10Z' from generate_series(1, 2500) n",
        )
        .await;
    stage.fold().await;
    let held = "select count(*)::text from postmeter.held";
    assert_eq!(stage.value(held).await, "2501", "nobody knows the dimension");
    stage.dimension(tests::Dimension::default()).await;
    assert_eq!(stage.value(held).await, "1501", "a thousand at once, with the change");
    stage.worker.maintain().await.unwrap();
    assert_eq!(stage.value(held).await, "0", "maintenance does the rest");
    assert_eq!(stage.value("select count(*)::text from postmeter.cure").await, "0");
    let most = "select max(n)::text from (select count(*) n from postmeter.outbox group by xmin::text) t";
    assert!(stage.value(most).await.parse::<i32>().unwrap() <= 5000);
    stage.cut_at("2024-09-18T10:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 2501"]);
    stage.close().await;
}

/// A stage on which so much usage is held, because nobody knows its dimension.
async fn held(many: u32) -> Stage {
    let stage = Stage::bare().await;
    used(&stage, 1, "1", "2024-09-18T09:10:00Z").await;
    stage
        .sql(&format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', 'early ' || n, 'org1', 'db', 'cores', 1, '2024-09-18T09:10Z' from generate_series(2, {many}) n"
        ))
        .await;
    stage.fold().await;
    stage
}

#[tokio::test]
async fn j5_a_person_decides_about_much_held_usage_in_shares() {
    let me = Decider { who: "ada", why: "nobody pays for it" };
    for (verb, state) in [(Verb::Retry, "outbox"), (Verb::WriteOff, "usage_written_off")] {
        let stage = held(2500).await;
        let filter = json!({ "org": "org1" });
        let changed = correct_held(&stage.db.database, verb, &filter, me, false).await.unwrap();
        assert_eq!(changed.len(), 2500);
        let most = format!("select max(n)::text from (select count(*) n from postmeter.{state} group by xmin::text) t");
        assert_eq!(stage.value(&most).await, "1000", "usages in one transaction");
        assert_eq!(stage.value("select count(*)::text from postmeter.held").await, "0");
        let filters = "select distinct detail ->> 'filter' from postmeter.decision";
        assert_eq!(stage.column(filters).await, [r#"{"org": "org1"}"#]);
    }
}

#[tokio::test]
async fn j5_a_month_that_is_opened_again_sends_a_thousand_back_at_once_and_maintenance_the_rest() {
    let stage = held(2500).await;
    // as if it had been held for its month, by a destination that has closed it
    stage
        .sql(
            "insert into postmeter.decision (who, why, verb, destination_id, status_before, status_after)
             select 'ada', 'the books', 'close', t.id, 'open', 'closed' from postmeter.destination t;
             insert into postmeter.closed_month (destination_id, month, decision_id)
             select c.destination_id, '2024-09-01', c.id from postmeter.decision c;
             update postmeter.held set reason = 'month_closed', destination_id = (select t.id from postmeter.destination t)",
        )
        .await;
    let reopened = "select usages::text from postmeter.reopen_month('aws', '2024-09-01', 'ada', 'a mistake', false)";
    assert_eq!(stage.value(reopened).await, "2500", "what goes back, or is about to");
    let left = "select count(*)::text from postmeter.held where reason = 'month_closed'";
    assert_eq!(stage.value(left).await, "1500");
    stage.worker.maintain().await.unwrap();
    assert_eq!(stage.value(left).await, "0", "maintenance does the rest");
    assert_eq!(stage.value("select count(*)::text from postmeter.outbox").await, "2500");
}

#[tokio::test]
async fn j2_one_held_usage_that_cannot_go_back_keeps_no_other() {
    let stage = Stage::bare().await;
    used(&stage, 3, "1", "2024-09-18T09:10:00Z").await;
    stage.fold().await;
    stage.sql("alter table postmeter.dimension disable trigger cure_held").await;
    stage.dimension(tests::Dimension::default()).await;
    stage.sql("alter table postmeter.outbox add constraint sick check (org <> 'org2') not valid").await;
    assert_eq!(return_cured(&stage.db.database, 100).await.unwrap(), 2);
    assert_eq!(setbacks(&stage).await, ["return_cured 0/1: 23514"]);
    cure(&stage, "outbox").await;
    assert_eq!(return_cured(&stage.db.database, 100).await.unwrap(), 1);
    assert!(setbacks(&stage).await.is_empty());
}
