//! Deadlines follow a buyer's subscriptions, in shares; until they have, a claim goes by the new ones.

use outbox::claim::{CallLimits, Floor, claim};
use outbox::maintain::move_deadlines;
use tests::{Stage, wait_until};
use uuid::Uuid;

use super::{cure, holding, meter_of, ripe, setbacks, sick};
use crate::fleet::{Running, until as until_so};

/// Ends or renews the subscription of an org.
async fn until(stage: &Stage, org: u32, end: &str) {
    stage.sql(&format!("update postmeter.subscription set valid_until = {end} where org = 'org{org}'")).await;
}

async fn moved(stage: &Stage) -> u64 {
    move_deadlines(&stage.db.database).await.unwrap().moved
}

/// Moves deadlines until no mark is left: one goes when all transactions have ended that may not have seen the change.
async fn until_no_mark(stage: &Stage) {
    wait_until("no mark is left", async || {
        moved(stage).await;
        stage.value(MARKS).await == "0"
    })
    .await;
    assert_eq!(stage.value(APART).await, "0", "all of them have followed");
}

/// A stage on which so many orgs' remittances are due.
async fn due(orgs: u32) -> Stage {
    let stage = ripe(orgs).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage
}

const MARKS: &str = "select count(*)::text from postmeter.deadline_change";
/// Remittances whose deadline is not that of their subscriptions.
const APART: &str = "select count(*)::text from postmeter.delivery d join postmeter.meter m on m.id = d.meter_id
    where d.status in ('open', 'nothing_due', 'due') and d.deadline <> postmeter.deadline_of(d.destination_id, m.buyer, d.hour)";
/// An hour of an org, with its deadline by what its subscriptions say now.
const OPENS: &str =
    "insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, status)
    select m.destination_id, 'key ' || m.id, m.id, '2024-09-18T11:00Z', '{}', 'db',
           postmeter.deadline_of(m.destination_id, m.buyer, '2024-09-18T11:00Z'), 'nothing_due'
    from postmeter.meter m where m.id = ";

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
    until_no_mark(&stage).await;
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
    until_no_mark(&stage).await;
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

#[tokio::test]
async fn j5_an_hour_that_is_opened_by_the_old_end_meanwhile_follows_too() {
    let stage = due(1).await;
    stage
        .sql(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'org2', 'db', t.id, '{\"product_code\": \"prod-db\", \"customer_aws_account_id\": \"100000000002\"}', '2024-01-01Z'
             from postmeter.destination t",
        )
        .await;
    stage.worker.reload().await.unwrap();
    let buyer = stage.value("select buyer from postmeter.subscription where org = 'org2'").await;
    // one of a known meter, and one of a meter that nobody else sees yet
    let known = holding(&stage, &format!("{OPENS} {}", meter_of(1))).await;
    let metered = format!(
        "insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
         select m.destination_id, '{buyer}', m.dimension, m.month, m.rounding, m.decimals, m.month_end from postmeter.meter m;
         {OPENS} (select x.id from postmeter.meter x where x.buyer = '{buyer}')"
    );
    let first = holding(&stage, &metered).await;
    for org in 1..=2 {
        until(&stage, org, "'2024-09-18T11:00Z'").await;
    }
    for _ in 0..3 {
        moved(&stage).await;
    }
    assert_eq!(stage.value(MARKS).await, "2", "somebody may not have seen the change");
    assert_eq!(stage.value(APART).await, "0");
    for fold in [&known, &first] {
        fold.batch_execute("commit").await.unwrap();
    }
    assert_eq!(stage.value(APART).await, "2");
    until_no_mark(&stage).await;
}

#[tokio::test]
async fn j5_moving_deadlines_reads_no_hour_that_is_over() {
    let stage = due(1).await;
    stage
        .sql(&format!(
            "insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, deadline, status)
             select m.destination_id, 'key ' || n, m.id, '2024-09-01T00:00Z'::timestamptz - n * interval '1 hour', '{{}}', 'db', '2024-09-19T09:50Z', 'nothing_due'
             from postmeter.meter m, generate_series(1, 20000) n where m.id = {}; analyze postmeter.delivery",
            meter_of(1)
        ))
        .await;
    until(&stage, 1, "'2024-09-18T11:00Z'").await;
    let behind = "begin; set local enable_seqscan = off;
        select count(*) from postmeter.deadlines_behind(array(select c.id from postmeter.deadline_change c))";
    stage.sql(behind).await;
    let read = "select (coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0))::text
        from pg_stat_xact_all_tables where relname like 'delivery%' and relname not like '%change%'";
    let read: i64 = stage.value(read).await.parse().unwrap();
    stage.sql("rollback").await;
    assert!(read <= 100, "{read} rows read, of a single hour that is not over");
    assert_eq!(moved(&stage).await, 1);
}

#[tokio::test]
async fn j5_a_marked_records_new_deadline_moves_no_claims_floor() {
    let stage = due(3).await;
    until(&stage, 3, "'2024-09-18T11:00Z'").await;
    assert_eq!(moved(&stage).await, 1, "it is the first in the queue");
    until(&stage, 3, "null").await;
    let (rules, mut floor) = (stage.rules("aws").await, Floor::START);
    let limits = CallLimits { records: 25, bytes: 900_000 };
    let mut taken = Vec::new();
    for most in [1, 10] {
        let claims = claim(&stage.db.database, rules, Uuid::new_v4(), most, limits, &mut floor, None).await.unwrap();
        taken.push(claims.len());
    }
    assert_eq!(taken, [1, 2], "the others, which stand behind where it stood in the queue");
}

#[tokio::test]
async fn j5_deadlines_follow_a_subscription_that_is_removed_or_passes_to_another_buyer() {
    let stage = due(2).await;
    let mut meters = Vec::new();
    for org in 1..=2 {
        meters.push(stage.value(&format!("select {}::text", meter_of(org))).await);
    }
    for org in 1..=2 {
        until(&stage, org, "'2024-09-18T11:00Z'").await;
    }
    assert_eq!(moved(&stage).await, 2);
    until_no_mark(&stage).await;
    stage.sql("delete from postmeter.subscription where org = 'org1'").await;
    stage.sql("update postmeter.subscription set identity = identity || '{\"customer_aws_account_id\": \"200000000002\"}' where org = 'org2'").await;
    for meter in meters {
        let marked = format!(
            "select count(*)::text from postmeter.deadline_change c join postmeter.meter m on m.buyer = c.buyer where m.id = {meter}"
        );
        assert_eq!(stage.value(&marked).await, "1");
    }
    assert_eq!(moved(&stage).await, 2);
    until_no_mark(&stage).await;
}

#[tokio::test]
async fn j1_a_worker_leaves_the_marks_that_another_has_in_hand() {
    let stage = due(3).await;
    for org in 1..=2 {
        until(&stage, org, "'2024-09-18T11:00Z'").await;
    }
    let taking = include_str!("../../../sql/queries/deadline_take.sql").replace("$1", "10");
    let other = holding(&stage, &taking).await;
    until(&stage, 3, "'2024-09-18T11:00Z'").await;
    assert_eq!(moved(&stage).await, 1, "that of which nobody has the mark");
    other.batch_execute("commit").await.unwrap();
    assert_eq!(moved(&stage).await, 0, "the other is at it");
    assert!(setbacks(&stage).await.is_empty());
    stage.sql("update postmeter.deadline_change set next_at = clock_timestamp()").await;
    assert_eq!(moved(&stage).await, 2, "it has died");
    until_no_mark(&stage).await;
}

#[tokio::test]
async fn j5_what_is_noted_of_a_deadline_is_over_with_that_deadline() {
    let stage = due(3).await;
    let holders = [
        holding(&stage, &format!("select from postmeter.delivery where meter_id = {} for update", meter_of(1))).await,
        holding(&stage, &format!("select from postmeter.delivery where meter_id = {} for update", meter_of(2))).await,
    ];
    for org in 1..=3 {
        until(&stage, org, "'2024-09-18T11:00Z'").await;
    }
    assert_eq!(moved(&stage).await, 1);
    assert_eq!(setbacks(&stage).await.len(), 2);
    // somebody else moves one of them; the mark of the other stands
    let moving = format!(
        "update postmeter.delivery d set deadline = postmeter.deadline_of(d.destination_id, m.buyer, d.hour)
         from postmeter.meter m where m.id = d.meter_id and m.id = {}; commit",
        meter_of(1)
    );
    holders[0].batch_execute(&moving).await.unwrap();
    outbox::setback::over(&stage.db.database, "deadlines").await;
    assert_eq!(setbacks(&stage).await, ["deadlines 1/0"]);
    holders[1].batch_execute("commit").await.unwrap();
    until_no_mark(&stage).await;
    assert!(setbacks(&stage).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j5_a_running_worker_moves_deadlines_beside_the_rest_of_maintenance() {
    let stage = due(2).await;
    until(&stage, 1, "'2024-09-18T11:00Z'").await;
    assert!(stage.worker.maintain_all(true).await.is_empty());
    assert_eq!(stage.value(MARKS).await, "1", "who died is taken over from, however many there are to move");
    let running = Running::start(&stage).await;
    until_so(&stage, "select not exists (select from postmeter.deadline_change)").await;
    running.stop().await;
    stage.close().await;
}

#[tokio::test]
async fn j5_while_a_worker_lives_that_knows_no_marks_the_edit_moves_deadlines_itself() {
    let stage = due(2).await;
    stage.sql("update postmeter.worker set knows = 40").await;
    until(&stage, 1, "'2024-09-18T11:00Z'").await;
    assert_eq!(stage.value(APART).await, "0");
    stage.sql("update postmeter.worker set knows = 41").await;
    until(&stage, 2, "'2024-09-18T11:00Z'").await;
    assert_eq!(stage.value(APART).await, "1", "those who know marks move it");
    until_no_mark(&stage).await;
}
