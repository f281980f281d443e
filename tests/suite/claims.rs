//! Claims: in order of deadlines, each delivery in one worker's hands, at a price that the queue's length does not set.

use std::collections::HashSet;

use outbox::claim::{CallLimits, Floor, claim, claim_oldest};
use tests::Stage;
use uuid::Uuid;

use crate::fleet::{ALL_ACCEPTED, Running, orgs, until};

const LIMITS: CallLimits = CallLimits { records: 25, bytes: 900_000 };

/// Fills the queue with remittances whose deadlines are mixed.
async fn queue(stage: &Stage, count: i64) {
    stage
        .sql(&format!(
            "insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
             select id, 'aws/bulk', 'cores', '2024-09-01', 'up', 0, 'drop' from postmeter.destination;
             insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, status, deadline, quantity, body, batch_group, idempotency_key, cut_at)
             select m.destination_id, 'bulk/' || n, m.id, '1900-01-01 00:00Z'::timestamptz + n * interval '1 hour', '{{}}', 'db', 'due',
                    '2024-09-19 00:00Z'::timestamptz + (n::bigint * 7919 % 86400) * interval '1 second', 1, '{{}}', 'product:p', gen_random_uuid(), now()
             from postmeter.meter m, generate_series(1, {count}) n where m.buyer = 'aws/bulk';
             insert into postmeter.due (delivery_id, destination_id, deadline)
             select id, destination_id, deadline from postmeter.delivery where status = 'due'"
        ))
        .await;
}

async fn claimed(stage: &Stage, worker: Uuid, most: i64, floor: &mut Floor) -> Vec<outbox::claim::Claim> {
    claim(&stage.db.database, stage.rules("aws").await, worker, most, LIMITS, floor, None).await.unwrap()
}

#[tokio::test]
async fn f2_no_delivery_is_in_two_hands_at_once() {
    let stage = Stage::bare().await;
    queue(&stage, 2000).await;
    let mut all = HashSet::new();
    loop {
        let mut floors = [Floor::START; 4];
        let [a, b, c, d] = &mut floors;
        let (w, x, y, z) = tokio::join!(
            claimed(&stage, Uuid::new_v4(), 40, a),
            claimed(&stage, Uuid::new_v4(), 40, b),
            claimed(&stage, Uuid::new_v4(), 40, c),
            claimed(&stage, Uuid::new_v4(), 40, d)
        );
        let round: Vec<_> = [w, x, y, z].into_iter().flatten().map(|claim| claim.delivery).collect();
        if round.is_empty() {
            break;
        }
        for delivery in round {
            assert!(all.insert(delivery), "{delivery} was claimed twice");
        }
    }
    assert_eq!(all.len(), 2000);
    assert_eq!(stage.value("select count(*)::text from postmeter.attempt").await, "2000");
}

#[tokio::test]
async fn the_earliest_deadline_goes_first() {
    let stage = Stage::bare().await;
    queue(&stage, 500).await;
    let mut floor = Floor::START;
    let mut order = Vec::new();
    for _ in 0..10 {
        let ids: Vec<i64> =
            claimed(&stage, Uuid::new_v4(), 50, &mut floor).await.iter().map(|claim| claim.delivery).collect();
        let latest = "select extract(epoch from max(deadline))::bigint, extract(epoch from min(deadline))::bigint from postmeter.delivery where id = any ($1)";
        let row = stage.db.client.query_one(latest, &[&ids]).await.unwrap();
        order.push((row.get::<_, i64>(1), row.get::<_, i64>(0)));
    }
    assert!(order.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{order:?}");
}

#[tokio::test]
async fn a_claim_reads_at_most_300_buffers_of_a_million_rows_whatever_the_statistics_say() {
    let stage = Stage::bare().await;
    stage.sql("alter table postmeter.due set (autovacuum_enabled = off); alter table postmeter.delivery set (autovacuum_enabled = off)").await;
    stage.sql("analyze postmeter.due; analyze postmeter.delivery").await;
    queue(&stage, 1_000_000).await;
    let statistics_of_one = "update pg_class set reltuples = 1, relpages = 1 where oid in ('postmeter.due'::regclass, 'postmeter.delivery'::regclass)";
    for (statistics, set) in
        [("0", "select"), ("1", statistics_of_one), ("a million", "analyze postmeter.due; analyze postmeter.delivery")]
    {
        stage.sql(set).await;
        let buffers = buffers_of_a_claim(&stage, "1970-01-01Z", "null::bigint").await;
        assert!(buffers <= 300, "a claim of 10 read {buffers} buffers with statistics of {statistics} rows");
        let buffers = buffers_of_a_claim(&stage, "1970-01-01Z", "0").await;
        assert!(buffers <= 300, "by age a claim of 10 read {buffers} buffers with statistics of {statistics} rows");
    }
}

/// Buffers that one claim of 10 touches, its writes included, as EXPLAIN counts them, with the settings that a claim runs under.
async fn buffers_of_a_claim(stage: &Stage, floor: &str, oldest_above: &str) -> i64 {
    let sql = include_str!("../../sql/queries/claim.sql");
    let sql = sql
        .replace("$11", "(select version from postmeter.destination where id = 1)")
        .replace("$10", oldest_above)
        .replace("$1", "1")
        .replace("$2", "gen_random_uuid()")
        .replace("$3", "10")
        .replace("$4", &format!("'{floor}'::timestamptz"));
    let sql = sql.replace("$5", "0::bigint").replace("$6", "25").replace("$7", "900000");
    let sql = sql.replace("$8", "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)").replace("$9", "'0/0'");
    let explain = format!(
        "begin; set local jit = off; set local enable_sort = off; set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off;
         explain (analyze, buffers, format json) {sql}; commit"
    );
    // what a session reads of the system catalogs, once, is not the claim's
    stage.sql("select postmeter.installation_doubt()").await;
    let messages = stage.db.client.simple_query(&explain).await.unwrap();
    let json = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    let plan: serde_json::Value = serde_json::from_str(&json.unwrap()).unwrap();
    let count = |name: &str| plan[0]["Plan"][name].as_i64().unwrap_or_default();
    count("Shared Hit Blocks") + count("Shared Read Blocks")
}

#[tokio::test]
async fn f7_dead_rows_kept_by_a_snapshot_cost_a_claim_nothing() {
    let stage = Stage::bare().await;
    queue(&stage, 200).await;
    let holder = stage.db.connect().await;
    holder.batch_execute("begin isolation level repeatable read; select count(*) from postmeter.due").await.unwrap();
    // claimed and settled since then: gone, but in the index as long as the snapshot lives, at the front of the queue
    stage
        .sql(
            "insert into postmeter.due select -n, 1, '2024-09-18 12:00Z' from generate_series(1, 50000) n;
             delete from postmeter.due where delivery_id < 0",
        )
        .await;
    assert!(
        buffers_of_a_claim(&stage, "1970-01-01Z", "null::bigint").await > 300,
        "from the beginning the dead rows are walked over"
    );
    let buffers = buffers_of_a_claim(&stage, "2024-09-18 12:00:01Z", "null::bigint").await;
    assert!(buffers <= 300, "from the floor a claim of 10 read {buffers} buffers");
    let buffers = buffers_of_a_claim(&stage, "1970-01-01Z", "-60000").await;
    assert!(buffers > 300, "by age, from the beginning a claim of 10 read {buffers} buffers");
    let buffers = buffers_of_a_claim(&stage, "1970-01-01Z", "0").await;
    assert!(buffers <= 300, "by age a claim of 10 above the floor read {buffers} buffers");
    holder.batch_execute("rollback").await.unwrap();
}

/// One remittance with the latest deadline and the lowest number, and so many that are more urgent, over whose claims a
/// worker's loops go one call at a time; returns how many attempts came before its own.
async fn attempts_before_the_patient(urgent: usize) -> i64 {
    let stage = orgs(urgent + 1).await;
    stage.configure("records_max = 1, in_flight_max = 1").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage
        .sql(
            "update postmeter.delivery set deadline = deadline + interval '1 hour' where id = (select min(id) from postmeter.delivery);
             update postmeter.due q set deadline = d.deadline from postmeter.delivery d where d.id = q.delivery_id",
        )
        .await;
    let running = Running::start(&stage).await;
    until(&stage, ALL_ACCEPTED).await;
    assert!(running.stop().await);
    let before = "select count(*) from postmeter.attempt where id < (select a.id from postmeter.attempt a order by a.delivery_id limit 1)";
    let before = stage.db.client.query_one(before, &[]).await.unwrap().get(0);
    stage.close().await;
    before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_urgent_goes_within_sixteen_full_claims_however_much_urgent_work_waits() {
    // a claim is of two at most: one on the wire and one ahead
    let before = attempts_before_the_patient(300).await;
    assert!(before <= 15 * 2, "{before} of 300 more urgent ones went before it");
    assert!(before >= 15, "{before}: the earliest deadline goes first but for the share");
}

#[tokio::test]
async fn a_claim_by_age_does_not_walk_over_deliveries_that_are_done() {
    let stage = Stage::bare().await;
    queue(&stage, 40_000).await;
    let oldest_left =
        "delete from postmeter.due where delivery_id <= (select max(delivery_id) - 200 from postmeter.due)";
    stage.sql(oldest_left).await;
    stage.sql("vacuum postmeter.due").await;
    let of_yesterday = "update pg_class set reltuples = 1e6, relpages = 1 where oid = 'postmeter.due'::regclass;
                        update pg_class set reltuples = 1, relpages = 1 where oid = 'postmeter.delivery'::regclass";
    for statistics in ["select", "analyze postmeter.due; analyze postmeter.delivery", of_yesterday] {
        stage.sql(statistics).await;
        let buffers = buffers_of_a_claim(&stage, "1970-01-01Z", "0").await;
        assert!(buffers <= 300, "by age a claim of 10 read {buffers} buffers after {statistics}");
    }
}

#[tokio::test]
async fn the_reserved_share_is_claimed_by_age_and_goes_on_where_it_was() {
    let stage = Stage::bare().await;
    queue(&stage, 500).await;
    let mut above = 0;
    let mut order: Vec<i64> = Vec::new();
    for _ in 0..5 {
        let claims =
            claim_oldest(&stage.db.database, stage.rules("aws").await, Uuid::new_v4(), 50, LIMITS, &mut above, None)
                .await
                .unwrap();
        let mut ids: Vec<i64> = claims.iter().map(|claim| claim.delivery).collect();
        ids.sort_unstable();
        order.extend(ids);
    }
    let all = "select array_agg(id order by id) from (select id from postmeter.delivery order by id limit 250) d";
    assert_eq!(order, stage.db.client.query_one(all, &[]).await.unwrap().get::<_, Vec<i64>>(0));
}
