//! Fold beside cut, and workers that die in the middle of either.

use std::sync::Arc;

use marketplaces::{Marketplace, Record};
use outbox::cut::{Bytes, Sum};
use outbox::fold::{Turns, fold, fold_with};
use remittance::Reason;
use serde_json::json;
use tests::{Stage, aws_with_test_keys};

use super::{allocated, ten_is_sent};

/// Ends the session that is in the middle of a transaction in which it has written.
const KILL: &str = "select pg_terminate_backend(pid, 30000) from pg_stat_activity
    where datname = current_database() and state = 'idle in transaction' and backend_xid is not null";

/// The stage at a lead before the deadline of ten o'clock, so that cut does not wait for entries: one core of it folded
/// at 11:00, two more still in the outbox.
async fn forced() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T11:00:00Z").await;
    stage.use_cores("folded", "1", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.at("2024-09-19T09:25:00Z").await;
    stage.use_cores("waiting", "2", "2024-09-18T10:20:00Z").await;
    stage
}

/// The end of each race: three cores billed, each once.
async fn three_billed(stage: Stage, hours: &[&str]) {
    stage.cut_at("2024-09-19T09:45:00Z").await;
    assert_eq!(stage.accepted(), hours);
    assert_eq!(stage.value("select count(*)::text from postmeter.allocation").await, "2");
    stage.close().await;
}

#[tokio::test]
async fn c4_a_fold_paused_between_reading_and_locking_while_a_cut_commits_loses_and_doubles_nothing() {
    let stage = forced().await;
    let pause = async || assert_eq!(stage.worker.cut().await.unwrap().cut, 1, "the cut goes first");
    let folded = fold_with(&stage.db.another(), &mut Turns::default(), 100, pause).await.unwrap();
    assert_eq!((folded.taken, folded.returned, folded.allocated), (1, 1, 0), "its hour is cut: back to the outbox");
    assert_eq!(stage.value("select count(*)::text from postmeter.outbox where returned").await, "1");
    stage.work_anew().await;
    assert_eq!(allocated(&stage).await, ["folded: 18T10 in 18T10", "waiting: 18T10 in 19T08"]);
    three_billed(stage, &["18T10 1", "19T08 2"]).await;
}

#[tokio::test]
async fn c4_a_fold_paused_while_its_hour_is_cut_and_opened_again_counts_in_the_new_round() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T11:00:00Z").await;
    stage.use_cores("folded", "0", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.at("2024-09-19T09:25:00Z").await;
    stage.use_cores("waiting", "2", "2024-09-18T10:20:00Z").await;
    let other = stage.db.another();
    let pause = async || {
        assert_eq!(stage.worker.cut().await.unwrap().cut, 1, "nothing due");
        stage.sql("select postmeter.open_hour_at(meter_id, hour, identity, product) from postmeter.delivery").await;
    };
    let folded = fold_with(&other, &mut Turns::default(), 100, pause).await.unwrap();
    assert_eq!((folded.allocated, folded.returned), (1, 0));
    assert_eq!(stage.column("select round::text from postmeter.allocation order by round").await, ["0", "1"]);
    stage.cut_at("2024-09-19T09:45:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 2"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_cut_beside_a_folds_locks_counts_what_that_fold_brought() {
    let stage = Arc::new(forced().await);
    // holds the fold between its locks and its end: it cannot insert its allocation
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; lock table postmeter.allocation in share mode").await.unwrap();
    let database = stage.db.another();
    let folding = tokio::spawn(async move { fold(&database, &mut Turns::default(), 100).await });
    stage.until_waiting(1).await;
    let other = stage.another_worker().await;
    assert_eq!(other.cut().await.unwrap().cut, 0, "the fold has it");
    // skipped once and urgent: now it waits
    let cutting = tokio::spawn(async move { other.cut().await });
    stage.until_waiting(2).await;
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(folding.await.unwrap().unwrap().allocated, 1);
    assert_eq!(cutting.await.unwrap().unwrap().cut, 1);
    let stage = Arc::try_unwrap(stage).unwrap_or_else(|_| panic!("the stage is shared by nobody"));
    three_billed(stage, &["18T10 3"]).await;
}

#[tokio::test]
async fn c4_a_worker_that_dies_in_the_middle_of_a_fold_leaves_everything_as_it_was() {
    let stage = forced().await;
    let kill = async || stage.sql(KILL).await;
    fold_with(&stage.db.another(), &mut Turns::default(), 100, kill).await.unwrap_err();
    assert_eq!(stage.value("select count(*)::text from postmeter.outbox").await, "1");
    stage.fold().await;
    three_billed(stage, &["18T10 3"]).await;
}

#[tokio::test]
async fn c4_a_fold_that_failed_looks_again_at_what_it_had_taken() {
    let stage = forced().await;
    let mut turns = Turns::default();
    let kill = async || stage.sql(KILL).await;
    fold_with(&stage.db.another(), &mut turns, 100, kill).await.unwrap_err();
    let again = fold(&stage.db.another(), &mut turns, 100).await.unwrap();
    assert_eq!(again.allocated, 1, "the same worker, at once");
    three_billed(stage, &["18T10 3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_worker_that_dies_in_the_middle_of_a_cut_leaves_the_hour_open() {
    let stage = Arc::new(forced().await);
    stage.fold().await;
    let destinations = stage.db.client.query("select id from postmeter.destination", &[]).await.unwrap();
    let destinations: Vec<i32> = destinations.iter().map(|row| row.get(0)).collect();
    let dying = {
        let (stage, runtime) = (Arc::clone(&stage), tokio::runtime::Handle::current());
        move |_: &Sum| -> Result<Bytes, Reason> {
            tokio::task::block_in_place(|| runtime.block_on(stage.sql(KILL)));
            Ok(Bytes { body: "{}".to_owned(), batch_group: "never sent".to_owned() })
        }
    };
    outbox::cut::cut(&stage.db.another(), 10, &destinations, &dying).await.unwrap_err();
    assert_eq!(stage.remittances().await, ["18T10 open"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.cut").await, "0");
    assert_eq!(stage.value("select trim_scale(billed)::text from postmeter.meter").await, "0");
    drop(dying);
    let stage = Arc::try_unwrap(stage).unwrap_or_else(|_| panic!("the stage is shared by nobody"));
    three_billed(stage, &["18T10 3"]).await;
}

/// The bytes that AWS's own code makes.
fn freeze(aws: &dyn Marketplace, sum: &Sum) -> Result<Bytes, Reason> {
    let record = Record {
        identity: &sum.identity,
        product: &sum.product,
        dimension: &sum.dimension,
        hour: sum.hour,
        ends: None,
        quantity: sum.quantity,
        shares: &[],
        decimals: sum.decimals,
        idempotency_key: sum.idempotency_key,
    };
    let frozen = aws.freeze(&record).map_err(|refusal| refusal.reason)?;
    Ok(Bytes { body: frozen.body, batch_group: frozen.batch_group })
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_two_cuts_of_one_meter_side_by_side_bill_half_and_half_as_one() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T12:02:00Z").await;
    for hour in [10, 11] {
        stage.use_cores(&hour.to_string(), "0.5", &format!("2024-09-18T{hour}:30:00Z")).await;
    }
    stage.fold().await;
    stage.at("2024-09-18T12:10:00Z").await;
    // the first cut has counted ten o'clock and stops before it commits
    let (counted, is_counted) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let aws = aws_with_test_keys("aws", &json!({"region": "us-east-1", "endpoint": stage.aws.url()})).unwrap();
    let destination = stage.db.client.query_one("select id from postmeter.destination", &[]).await.unwrap().get(0);
    let database = stage.db.another();
    let first = tokio::spawn(async move {
        let paused = move |sum: &Sum| {
            counted.send(()).expect("the test waits");
            tokio::task::block_in_place(|| {
                may_go_on.lock().expect("one holder").recv_timeout(tests::PATIENCE).expect("the test goes on")
            });
            freeze(&*aws, sum)
        };
        outbox::cut::cut(&database, 10, &[destination], &paused).await
    });
    tokio::task::block_in_place(|| is_counted.recv_timeout(tests::PATIENCE).expect("the first cut counts"));
    // an entry of ten o'clock keeps the second from that hour: it takes eleven o'clock
    stage.use_cores("late", "1", "2024-09-18T10:40:00Z").await;
    let worker = stage.another_worker().await;
    for _ in 0..2 {
        assert_eq!(worker.cut().await.unwrap().cut, 0, "its meter is the other's");
    }
    let second = tokio::spawn(async move { worker.cut().await });
    tests::until_locked(&stage.db.client, 1, || second.is_finished()).await;
    go_on.send(()).unwrap();
    assert_eq!((first.await.unwrap().unwrap().cut, second.await.unwrap().unwrap().cut), (1, 1));
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    assert_eq!(stage.remittances().await[1], "18T11 open", "it takes what was late");
    stage.cut_at("2024-09-18T12:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 1"]);
    stage.close().await;
}

#[tokio::test]
async fn c4_many_workers_cutting_at_once_bill_once() {
    let stage = ten_is_sent().await;
    stage.at("2024-09-18T13:02:00Z").await;
    for hour in [11, 12] {
        stage.use_cores(&hour.to_string(), "0.5", &format!("2024-09-18T{hour}:30:00Z")).await;
    }
    stage.fold().await;
    stage.at("2024-09-18T13:10:00Z").await;
    // two hours of one meter side by side must not bill 0.5 and 0.5 as one each
    let mut workers = Vec::new();
    for _ in 0..6 {
        let worker = stage.another_worker().await;
        workers.push(tokio::spawn(async move { worker.cut().await.unwrap().cut + worker.cut().await.unwrap().cut }));
    }
    let mut cut = 0;
    for worker in workers {
        cut += worker.await.unwrap();
    }
    // who came second skipped what the first one had in hand
    cut += stage.worker.cut().await.unwrap().cut + stage.worker.cut().await.unwrap().cut;
    assert_eq!(cut, 2);
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 1"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_folds_of_late_usage_beside_cuts_lose_and_double_nothing() {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    stage.dimension(tests::Dimension { metric: "gb", name: "gb", ..tests::Dimension::default() }).await;
    for org in 0..6 {
        stage.subscribe(&format!("org{org}"), &format!("10000000000{org}")).await;
    }
    let insert = |batch: u32| {
        format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', '{batch} ' || n, 'org' || n % 6, 'db', (array['cores', 'gb'])[1 + n % 2], 1,
                    '2024-09-18T10:10Z'::timestamptz + n % 3 * interval '1 hour' from generate_series(1, 120) n"
        )
    };
    stage.at("2024-09-18T13:30:00Z").await;
    let mut hands = Vec::new();
    for hand in 0..6 {
        let (client, worker) = (stage.db.connect().await, stage.another_worker().await);
        hands.push(tokio::spawn(async move {
            for batch in 0..5 {
                client.batch_execute(&insert(hand * 100 + batch)).await.unwrap();
                // a deadlock is an error that asks to be tried again
                let folded = worker.fold().await;
                let cut = worker.cut().await;
                for error in [folded.err(), cut.err()].into_iter().flatten() {
                    assert!(error.is_transient(), "{error}");
                }
            }
        }));
        let minutes = 31 + hand * 4;
        stage.at(&format!("2024-09-18T13:{minutes}:00Z")).await;
    }
    for hand in hands {
        hand.await.unwrap();
    }
    stage.work_anew().await;
    stage.cut_at("2024-09-18T14:10:00Z").await;
    stage.cut_at("2024-09-18T15:10:00Z").await;
    let billed: i64 = stage.aws.record().iter().map(|a| a.quantity.to_string().parse::<i64>().unwrap()).sum();
    assert_eq!(billed, 6 * 5 * 120, "{:?}", stage.remittances().await);
    stage.close().await;
}
