//! F6, E3 and I: the database goes away and comes back, a worker freezes, people ask where the money is.

use std::process::{Child, Stdio};
use std::time::Duration;

use postmeter::embedded::{Cluster, Options};
use simulator::{FaultKind, FaultRule};
use tests::{Dimension, Stage, TestDatabase, end_of, signal};

fn worker(stage: &Stage) -> Child {
    let mut command = tests::postmeter(&stage.db.url());
    command.arg("worker").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("POSTMETER_WORKER_POLL_MS", "20").env("POSTMETER_TEST_LEASE_SECONDS", "2");
    command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_PROFILE");
    command.spawn().unwrap()
}

async fn until(stage: &Stage, sql: &str) {
    tests::until_true(&stage.db.client, sql).await;
}

async fn until_called(stage: &Stage) {
    tests::wait_until("the first call", async || stage.aws.counters().calls > 0).await;
}

/// Forty orgs with a core each in the hour of 10:00, folded and cut.
async fn due(stage: &Stage) {
    stage.dimension(Dimension::default()).await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..40 {
        stage.subscribe(&format!("org{n}"), &format!("{}", 100_000_000_000_u64 + n)).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.sql("update postmeter.worker set stopped_at = now(), reaped_at = now()").await;
}

const ACCEPTED: &str = "select (count(*) = 40 and bool_and(status = 'accepted'))::text from postmeter.delivery";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_answers_in_hand_while_postgres_is_away_are_recorded_when_it_is_back() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    due(&stage).await;
    // the answers come while the database is away: each call takes a while, and the server goes down meanwhile
    stage.aws.add_fault(FaultRule::new(FaultKind::Delay).ms(700)).unwrap();
    let mut worker = worker(&stage);
    until_called(&stage).await;
    let (restarted, ()) = tokio::join!(
        tokio::task::spawn_blocking(move || {
            cluster.kill().unwrap();
            cluster
        }),
        async {}
    );
    let mut cluster = restarted.unwrap();
    // longer than a lease: nobody may take over what the worker has in hand before it had its chance
    tokio::time::sleep(Duration::from_millis(2500)).await;
    cluster.restart().unwrap();
    stage.db.client = stage.db.connect().await;
    stage.at("2024-09-18T11:20:00Z").await;
    until(&stage, ACCEPTED).await;
    assert_eq!(stage.value("select count(*)::text from postmeter.outcome where code = 'worker_lost'").await, "0");
    assert_eq!(stage.aws.record().iter().map(|a| a.identical_resends).sum::<u64>(), 0, "nothing was sent twice");
    signal(&worker, "TERM");
    end_of(&mut worker);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_a_frozen_worker_wakes_and_its_late_answer_is_evidence() {
    let stage = Stage::bare().await;
    due(&stage).await;
    // the marketplace takes the first call and does not answer it in time: the worker is frozen while it waits
    stage.aws.add_fault(FaultRule::new(FaultKind::Delay).when(simulator::When::After).ms(30_000).times(1)).unwrap();
    let mut frozen = worker(&stage);
    until_called(&stage).await;
    signal(&frozen, "STOP");
    let mut other = worker(&stage);
    until(&stage, "select exists (select from postmeter.outcome where code = 'worker_lost')::text").await;
    let calls = stage.aws.counters().calls;
    signal(&frozen, "CONT");
    stage.at("2024-09-18T11:30:00Z").await;
    until(&stage, ACCEPTED).await;
    until(&stage, "select (count(*) > 0)::text from postmeter.late_evidence").await;
    assert!(stage.aws.counters().calls >= calls);
    assert_eq!(stage.aws.record().iter().map(|a| a.duplicates_refused).sum::<u64>(), 0);
    for child in [&mut frozen, &mut other] {
        signal(child, "TERM");
        end_of(child);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_refused_connections_for_longer_than_a_lease_lose_nothing() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    due(&stage).await;
    let mut worker = worker(&stage);
    for _ in 0..3 {
        cluster.stop().unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        cluster.restart().unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stage.db.client = stage.db.connect().await;
    stage.at("2024-09-18T11:40:00Z").await;
    until(&stage, ACCEPTED).await;
    signal(&worker, "TERM");
    end_of(&mut worker);
    stage.close().await;
}

#[tokio::test]
async fn i1_the_balance_shows_what_is_missing_and_what_is_too_much() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    stage.use_cores("two", "2", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    let difference = "select coalesce(sum(difference), 0)::text from postmeter.usage_balance";
    assert_eq!(stage.value(difference).await, "0");
    // as a broken fold would do it: the entry is gone and nothing has counted it
    stage.use_cores("three", "4", "2024-09-18T10:20:00Z").await;
    stage.sql("delete from postmeter.outbox").await;
    assert_eq!(stage.value(difference).await, "4");
    stage.sql("update postmeter.meter_metric set used = used + 1").await;
    stage.sql("update postmeter.meter set carried = carried + 1").await;
    assert_eq!(stage.value("select difference::text from postmeter.balance").await, "-1");
}
