//! F: many workers, and a database that comes and goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tests::{Dimension, Stage, aws_with_test_keys, quick};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{Options, Worker};

/// A worker whose loops run.
pub struct Running {
    worker: Arc<Worker>,
    stop: CancellationToken,
    done: JoinHandle<bool>,
}

impl Running {
    pub async fn start(stage: &Stage) -> Self {
        // long enough that a busy machine does not make the living look dead
        let options = Options { lease: Duration::from_secs(60), ..quick() };
        let worker = Worker::start(stage.db.another(), options).await.unwrap();
        let stop = CancellationToken::new();
        let done = tokio::spawn({
            let (worker, stop) = (Arc::clone(&worker), stop.clone());
            async move { worker.run(stop).await.unwrap() }
        });
        Self { worker, stop, done }
    }

    pub async fn stop(self) -> bool {
        self.stop.cancel();
        tokio::time::timeout(tests::PATIENCE, self.done).await.expect("a worker that was told to stop does").unwrap()
    }
}

/// A stage with so many orgs that use a core each in the hour of 10:00, recorded but not folded.
pub async fn orgs(count: usize) -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage
        .sql(&format!(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'org' || n, 'db', id, jsonb_build_object('product_code', 'prod-db', 'customer_aws_account_id', (100000000000 + n)::text), '2024-01-01 00:00Z'
             from postmeter.destination, generate_series(1, {count}) n"
        ))
        .await;
    tests::wait_until("every subscription has its buyer", async || {
        stage.worker.reload().await.unwrap();
        stage.value("select count(*)::text from postmeter.subscription where buyer is null").await == "0"
    })
    .await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage
        .sql(&format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 's', 'e' || n, 'org' || n, 'db', 'cores', 1, '2024-09-18 10:10Z' from generate_series(1, {count}) n"
        ))
        .await;
    stage
}

/// Waits for a condition that the running loops bring about.
pub async fn until(stage: &Stage, sql: &str) {
    tests::until_true(&stage.db.client, sql).await;
}

pub const ALL_ACCEPTED: &str = "select (count(*) > 0 and bool_and(status = 'accepted'))::text from postmeter.delivery";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_a_killed_worker_is_taken_over_and_each_of_the_others_gets_its_share() {
    let stage = orgs(200).await;
    stage.sql("update postmeter.destination set records_max = 5, in_flight_max = 1").await;
    stage.worker.reload().await.unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let killed = stage.another_worker().await;
    assert!(!stage.claim_as(killed.id()).await.is_empty(), "it dies with everything in its hands");
    stage.end_lease_of(killed.id()).await;
    let three = [Running::start(&stage).await, Running::start(&stage).await, Running::start(&stage).await];
    stage.sql("update postmeter.worker set unbroken_since = clock_timestamp() - interval '1 hour'").await;
    until(&stage, "select (count(*) = 0)::text from postmeter.attempt_ledger where outcome = 'open'").await;
    stage.at("2024-09-18T11:20:00Z").await;
    until(&stage, ALL_ACCEPTED).await;
    for running in three {
        assert!(running.stop().await);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_stopping_worker_finishes_or_hands_back_and_burns_no_try() {
    let stage = orgs(100).await;
    stage
        .sql("update postmeter.quota set calls_per_second = 2; update postmeter.destination set records_max = 1")
        .await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let running = Running::start(&stage).await;
    let id = running.worker.id();
    until(&stage, "select (count(*) > 2)::text from postmeter.attempt").await;
    assert!(running.stop().await);
    assert_eq!(stage.value("select count(*)::text from postmeter.attempt_ledger where outcome = 'open'").await, "0");
    assert_eq!(stage.value("select count(*)::text from postmeter.delivery where status = 'in_flight'").await, "0");
    assert_eq!(
        stage.value("select coalesce(max(tries), 0)::text from postmeter.delivery where status = 'due'").await,
        "0"
    );
    assert_eq!(
        stage.value(&format!("select (stopped_at is not null)::text from postmeter.worker where id = '{id}'")).await,
        "true"
    );
    stage.sql("update postmeter.quota set calls_per_second = null").await;
    stage.worker.reload().await.unwrap();
    stage.work_at("2024-09-18T11:20:00Z").await;
    assert_eq!(stage.value(ALL_ACCEPTED).await, "true");
    stage.close().await;
}

#[tokio::test]
async fn f3_a_tenant_with_one_row_is_folded_within_two_folds_of_a_giant() {
    let stage = orgs(3).await;
    stage
        .sql(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'giant', 'g' || n, 'org1', 'db', 'cores', 1, '2024-09-18 10:10Z' from generate_series(1, 50000) n",
        )
        .await;
    // it comes last, behind fifty thousand rows of the giant
    stage.sql("delete from postmeter.outbox where org = 'org3'").await;
    stage.record("small", "org3", "cores", "1", "2024-09-18T10:20:00Z").await;
    let worker = Worker::start(stage.db.another(), Options { fold_max: 2000, ..quick() }).await.unwrap();
    worker.fold().await.unwrap();
    worker.fold().await.unwrap();
    assert_eq!(stage.value("select count(*)::text from postmeter.outbox where org = 'org3'").await, "0");
    assert!(stage.value("select count(*)::text from postmeter.outbox").await.parse::<u32>().unwrap() > 45_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_cancelled_statements_and_lost_connections_lose_nothing() {
    let stage = orgs(300).await;
    let running = [Running::start(&stage).await, Running::start(&stage).await];
    stage.at("2024-09-18T11:10:00Z").await;
    let mine = stage.db.client.query_one("select pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    for round in 0..30 {
        let strike = if round % 2 == 0 { "pg_cancel_backend" } else { "pg_terminate_backend" };
        stage
            .sql(&format!("select {strike}(pid) from pg_stat_activity where datname = current_database() and pid <> {mine} and backend_type = 'client backend'"))
            .await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until(&stage, "select (count(*) = 0)::text from postmeter.outbox").await;
    assert_eq!(stage.value("select count(*)::text from postmeter.delivery").await, "300");
    stage.at("2024-09-18T11:30:00Z").await;
    until(&stage, ALL_ACCEPTED).await;
    for running in running {
        running.stop().await;
    }
    stage.close().await;
}

#[tokio::test]
async fn a_demo_or_test_database_calls_loopback_only() {
    let stage = orgs(1).await;
    stage.sql(r#"update postmeter.destination set settings = '{"region": "us-east-1"}'"#).await;
    let worker = Worker::start(stage.db.another(), Options { open: aws_with_test_keys, ..quick() }).await.unwrap();
    stage.at("2024-09-18T11:10:00Z").await;
    worker.work().await.unwrap();
    assert_eq!(stage.value("select count(*)::text from postmeter.attempt").await, "0");
    assert_eq!(stage.remittances().await, ["18T10 open"], "nothing is cut for a destination that cannot be served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_workers_share_the_work() {
    let stage = orgs(400).await;
    stage.sql("update postmeter.destination set records_max = 1, in_flight_max = 1").await;
    stage.worker.reload().await.unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.aws.add_fault(simulator::FaultRule::new(simulator::FaultKind::Delay).ms(5)).unwrap();
    let running = [Running::start(&stage).await, Running::start(&stage).await];
    until(&stage, ALL_ACCEPTED).await;
    let shares: HashMap<String, f64> = {
        let rows = stage
            .db
            .client
            .query("select worker_id::text, count(*)::float8 from postmeter.attempt group by 1", &[])
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    for running in running {
        running.stop().await;
    }
    assert_eq!(shares.len(), 2, "{shares:?}");
    for share in shares.values() {
        assert!((share - 200.0).abs() <= 40.0, "more than 20 % off its share: {shares:?}");
    }
    stage.close().await;
}
