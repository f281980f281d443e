//! E2: attempts that a living worker has lost from sight: it settles them itself, and nobody died of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use marketplaces::OutgoingRecord;
use outbox::{Access, Database};
use remittance::{Answer, Outcome};
use tests::{Cutter, Stage, Wrapped, quick};
use tokio_util::sync::CancellationToken;
use worker::{Options, Worker};

use crate::fleet::{ALL_ACCEPTED, orgs, until};

/// As short as leases may be while calls are still made.
fn short_lease() -> Options {
    Options { lease: Duration::from_secs(3), ..quick() }
}

/// Three remittances that are due.
async fn due() -> Stage {
    let stage = orgs(3).await;
    stage.configure("call_timeout = '1 second', retry_first = '1 second'").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage
}

/// Runs a worker until its lost attempts are settled and sent again, and looks at what the ledger says.
async fn found_and_billed_once(stage: Stage, worker: Arc<Worker>, deaths: u32) -> Stage {
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (worker, stop) = (Arc::clone(&worker), stop.clone());
        async move { worker.run(stop).await.unwrap() }
    });
    until(&stage, "select (count(*) = 3)::text from postmeter.outcome where code = 'worker_lost'").await;
    let suspects = "select distinct deaths || ' ' || maybe_billed from postmeter.delivery";
    assert_eq!(stage.column(suspects).await, [format!("{deaths} true")], "they may have arrived");
    stage.at("2024-09-18T11:20:00Z").await;
    until(&stage, ALL_ACCEPTED).await;
    stop.cancel();
    assert!(running.await.unwrap());
    let told = "select distinct string_agg(outcome, ' ' order by number) || ' by ' || count(distinct worker_id)
                from postmeter.attempt_ledger group by delivery_id";
    assert_eq!(stage.column(told).await, ["unknown accepted by 1"], "it needed no other worker");
    assert_eq!(stage.accepted(), ["18T10 1"; 3]);
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_a_claim_whose_connection_broke_at_its_commit_is_settled_by_its_own_worker_and_billed_once() {
    let stage = due().await;
    let cutter = Cutter::before(&stage.db.tcp_url(), "-- claim: takes due").await;
    let database = Database::open(&Access::new(&cutter.url)).unwrap();
    let worker = Worker::start(database, short_lease()).await.unwrap();
    let stage = found_and_billed_once(stage, worker, 0).await;
    assert!(cutter.has_cut());
    let resends = stage.aws.record().iter().map(|accepted| accepted.identical_resends).sum::<u64>();
    assert_eq!(resends, 0, "the first call was never made");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_a_call_whose_task_fails_after_the_answer_is_settled_by_its_own_worker_and_billed_once() {
    static FAILED: AtomicBool = AtomicBool::new(false);
    fn fails_once(answers: Vec<Answer>) -> BoxFuture<'static, Vec<Answer>> {
        Box::pin(async move {
            assert!(FAILED.swap(true, Ordering::SeqCst), "this test's own failure of a call");
            answers
        })
    }
    let stage = due().await;
    let options = Options { open: |_, settings| Wrapped::aws(settings, fails_once), ..short_lease() };
    let worker = Worker::start(stage.db.another(), options).await.unwrap();
    let stage = found_and_billed_once(stage, worker, 1).await;
    let resends = stage.aws.record().iter().map(|accepted| accepted.identical_resends).sum::<u64>();
    assert_eq!(resends, 3, "the same key, the same quantity");
    stage.close().await;
}

/// A worker with the shortest lease there is, so that what it claims is soon older than any call of it.
pub async fn impatient(stage: &Stage) -> Arc<Worker> {
    stage.configure("call_timeout = '1 millisecond'").await;
    let options = Options { lease: Duration::from_secs(1), ..quick() };
    Worker::start(stage.db.another(), options).await.unwrap()
}

/// Waits until every attempt is older than a lease and a call.
pub async fn until_old(stage: &Stage) {
    let old = "select bool_and(a.id < postmeter.id_at(clock_timestamp() - interval '0.1 seconds' - w.lease - t.call_timeout))::text
               from postmeter.attempt a join postmeter.worker w on w.id = a.worker_id
               cross join (select max(call_timeout) as call_timeout from postmeter.destination) t";
    until(stage, old).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e11_a_record_whose_call_fails_every_time_is_quarantined_by_a_living_worker_and_its_neighbours_go_through() {
    fn one_of_them_fails(parcels: &[OutgoingRecord]) {
        assert!(parcels.iter().all(|parcel| parcel.quantity != 7.into()), "this test's own failure of a call");
    }
    let stage = orgs(3).await;
    stage.record("poison", "org1", "cores", "6", "2024-09-18T10:20:00Z").await;
    stage.configure("call_timeout = '1 second'").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let options = Options {
        lease: Duration::from_secs(2),
        open: |_, settings| Wrapped::aws_after(settings, one_of_them_fails),
        ..quick()
    };
    let worker = Worker::start(stage.db.another(), options).await.unwrap();
    for round in 1..=6 {
        assert!(worker.beat().await.unwrap());
        let sending = Arc::clone(&worker);
        // alone the poison takes the loop of its destination along: the worker begins it anew
        let _ = tokio::spawn(async move { sending.send().await.unwrap() }).await;
        until_old(&stage).await;
        worker.settle_lost().await.unwrap();
        stage.at(&format!("2024-09-18T{}:20:00Z", 10 + round)).await;
        worker.maintain().await.unwrap();
    }
    let standing = "select concat_ws(' ', status, reason, trim_scale(quantity), deaths, maybe_billed) from postmeter.delivery order by quantity";
    assert_eq!(stage.column(standing).await, ["accepted 1 0 f", "accepted 1 0 f", "held poison 7 3 t"]);
    assert_eq!(stage.accepted(), ["18T10 1"; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e11_what_is_handed_back_or_lost_from_sight_is_a_suspect_still() {
    let stage = due().await;
    let worker = impatient(&stage).await;
    let suspect = stage.value("select min(delivery_id)::text from postmeter.due").await;
    stage.sql(&format!("update postmeter.delivery set deaths = 2 where id = {suspect}")).await;
    let deaths = format!("select deaths::text from postmeter.delivery where id = {suspect}");
    let claims = stage.claim_suspect_as(worker.id(), &suspect).await;
    stage.settle_as(worker.id(), &claims, Outcome::HandedBack).await;
    assert_eq!(stage.value(&deaths).await, "2", "nothing was tried");
    assert_eq!(stage.claim_suspect_as(worker.id(), &suspect).await.len(), 1);
    until_old(&stage).await;
    assert_eq!(worker.settle_lost().await.unwrap(), 1);
    assert_eq!(stage.value(&deaths).await, "2", "nobody knows what became of it");
    stage.at("2024-09-18T11:20:00Z").await;
    stage.worker.maintain().await.unwrap();
    let claims = stage.claim_suspect_as(worker.id(), &suspect).await;
    stage.settle_as(worker.id(), &claims, Outcome::Throttled { after: None }).await;
    assert_eq!(stage.value(&deaths).await, "0", "it has had an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_maintenance_that_fails_keeps_no_other_from_its_turn() {
    let stage = due().await;
    stage.claim_as(stage.worker.id()).await;
    assert!(stage.worker.maintain_all(true).await.is_empty());
    stage
        .sql(
            "create schema away; alter function postmeter.create_partitions(integer) set schema away;
             alter table postmeter.late_evidence set schema away",
        )
        .await;
    let failed: Vec<_> = stage.worker.maintain_all(true).await.into_iter().map(|(step, _)| step).collect();
    assert_eq!(failed, ["review", "create_partitions"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_what_is_settled_meanwhile_or_young_or_another_workers_is_not_lost() {
    let stage = due().await;
    let (worker, other) = (impatient(&stage).await, stage.another_worker().await);
    let claims = stage.claim_as(worker.id()).await;
    assert_eq!((claims.len(), worker.settle_lost().await.unwrap()), (3, 0), "it may be a claim of this moment");
    until_old(&stage).await;
    assert_eq!(other.settle_lost().await.unwrap(), 0);
    // an answer is being settled: it waits for a lock, and what is lost is looked for meanwhile
    let mut holder = stage.db.connect().await;
    let lock = holder.transaction().await.unwrap();
    lock.query("select from postmeter.delivery order by id for update", &[]).await.unwrap();
    let ((), found) = tokio::join!(
        async {
            stage.settle_as(worker.id(), &claims[..1], Outcome::Rejected { code: "theirs".to_owned() }).await;
        },
        async {
            stage.until_waiting(1).await;
            let found = worker.settle_lost().await.unwrap();
            lock.commit().await.unwrap();
            found
        }
    );
    assert_eq!(found, 0, "what another session keeps is left for the next look");
    assert_eq!(worker.settle_lost().await.unwrap(), 2);
    let outcomes = "select outcome || ' ' || count(*) from postmeter.outcome group by outcome order by 1";
    assert_eq!(stage.column(outcomes).await, ["rejected 1", "unknown 2"], "what was settled meanwhile is not lost");
    assert_eq!(stage.value("select count(*)::text from postmeter.late_evidence").await, "0");
    assert_eq!(worker.settle_lost().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_a_claim_whose_commit_hangs_for_longer_than_a_lease_is_found_when_it_shows() {
    let stage = due().await;
    let worker = impatient(&stage).await;
    let mut hanging = stage.db.connect().await;
    let claim = hanging.transaction().await.unwrap();
    claim
        .batch_execute(&format!(
            "insert into postmeter.attempt (delivery_id, destination_id, call_id, worker_id, number)
             select min(id), min(destination_id), gen_random_uuid(), '{}', 1 from postmeter.delivery;
             update postmeter.delivery d set status = 'in_flight', attempt_id = a.id, attempts = 1 from postmeter.attempt a where a.delivery_id = d.id;
             delete from postmeter.due where delivery_id in (select delivery_id from postmeter.attempt)",
            worker.id()
        ))
        .await
        .unwrap();
    let hangs = "select (min(xact_start) < clock_timestamp() - interval '1.5 seconds')::text
                 from pg_stat_activity where datname = current_database() and state = 'idle in transaction'";
    until(&stage, hangs).await;
    assert_eq!(worker.settle_lost().await.unwrap(), 0, "nobody sees it");
    claim.commit().await.unwrap();
    assert_eq!(worker.settle_lost().await.unwrap(), 1);
    assert_eq!(stage.value("select code from postmeter.outcome").await, "worker_lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_what_is_in_hand_is_not_lost_however_long_it_takes() {
    static GATE: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(0);
    fn at_the_gate(answers: Vec<Answer>) -> BoxFuture<'static, Vec<Answer>> {
        Box::pin(async move {
            GATE.acquire().await.unwrap().forget();
            answers
        })
    }
    let stage = due().await;
    let options =
        Options { lease: Duration::from_secs(2), open: |_, settings| Wrapped::aws(settings, at_the_gate), ..quick() };
    let worker = Worker::start(stage.db.another(), options).await.unwrap();
    let sending = tokio::spawn({
        let worker = Arc::clone(&worker);
        async move {
            loop {
                // on a busy machine a lease of 2 s can be too short for a call before it is claimed
                worker.beat().await.unwrap();
                match worker.send().await.unwrap() {
                    0 => {}
                    sent => return sent,
                }
            }
        }
    });
    until(&stage, "select (count(*) = 3)::text from postmeter.attempt").await;
    stage.configure("call_timeout = '1 millisecond'").await;
    until(
        &stage,
        "select bool_and(id < postmeter.id_at(clock_timestamp() - interval '2.1 seconds'))::text from postmeter.attempt",
    )
    .await;
    assert_eq!(worker.settle_lost().await.unwrap(), 0);
    GATE.add_permits(10);
    assert_eq!(sending.await.unwrap(), 3);
    assert_eq!(stage.value(ALL_ACCEPTED).await, "true");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_slow_call_delays_neither_a_suspect_nor_what_comes_after_it() {
    static GATE: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(0);
    static IS_FIRST: AtomicBool = AtomicBool::new(true);
    fn the_first_waits(answers: Vec<Answer>) -> BoxFuture<'static, Vec<Answer>> {
        Box::pin(async move {
            if IS_FIRST.swap(false, Ordering::SeqCst) {
                GATE.acquire().await.unwrap().forget();
            }
            answers
        })
    }
    let stage = due().await;
    stage.configure("records_max = 1").await;
    let options = Options {
        lease: Duration::from_secs(60),
        open: |_, settings| Wrapped::aws(settings, the_first_waits),
        ..quick()
    };
    let worker = Worker::start(stage.db.another(), options).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (worker, stop) = (Arc::clone(&worker), stop.clone());
        async move { worker.run(stop).await.unwrap() }
    });
    let accepted = async |count: usize| {
        let sql = format!("select (count(*) = {count})::text from postmeter.delivery where status = 'accepted'");
        until(&stage, &sql).await;
    };
    accepted(2).await;
    for (count, deaths) in [(3, 1), (4, 0)] {
        // the copy of a remittance that is done, to be sent again under the key of another hour
        stage
            .sql(&format!(
                "with copy as (
                     insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, status, deadline, quantity, body,
                                                     batch_group, idempotency_key, cut_at, deaths)
                     select destination_id, key || '/{count}', meter_id, hour + interval '{count} days', identity, product, 'due', deadline, quantity,
                            body, batch_group, gen_random_uuid(), cut_at, {deaths}
                     from postmeter.delivery where status = 'accepted' order by id limit 1 returning id, destination_id, deadline)
                 insert into postmeter.due (delivery_id, destination_id, deadline) select id, destination_id, deadline from copy"
            ))
            .await;
        accepted(count).await;
    }
    let waits = "select count(*)::text from postmeter.delivery where status = 'in_flight'";
    assert_eq!(stage.value(waits).await, "1", "the slow call is still under way");
    GATE.add_permits(1);
    accepted(5).await;
    stop.cancel();
    assert!(running.await.unwrap());
}
