//! Answers: each costs only itself, whatever keeps, breaks or kills another; and suspects stand in nobody's way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use outbox::settle::{Settlement, settle_apart};
use remittance::Answer;
use tests::{Stage, Wrapped, quick, until_true};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use worker::{Options, Worker};

use crate::fleet::{ALL_ACCEPTED, orgs, until};

/// Three remittances that are due.
async fn due() -> Stage {
    let stage = orgs(3).await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage
}

/// A worker whose loops run until the end of the test.
async fn running(stage: &Stage, open: worker::Opener) -> (tokio::task::JoinHandle<bool>, CancellationToken) {
    let options = Options { lease: Duration::from_secs(60), open, ..quick() };
    let worker = Worker::start(stage.db.another(), options).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await.unwrap() }
    });
    (running, stop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j1_settle_a_locked_delivery_delays_no_other_answer_and_its_own_is_kept() {
    static GATE: Semaphore = Semaphore::const_new(0);
    fn waits(answers: Vec<Answer>) -> BoxFuture<'static, Vec<Answer>> {
        Box::pin(async move {
            GATE.acquire().await.unwrap().forget();
            answers
        })
    }
    let stage = due().await;
    let (running, stop) = running(&stage, |_, settings| Wrapped::aws(settings, waits)).await;
    until(&stage, "select (count(*) = 3)::text from postmeter.delivery where status = 'in_flight'").await;
    let holder = stage.db.connect().await;
    let lock = "set application_name = 'somebody'; begin;
                select from postmeter.delivery where id = (select min(id) from postmeter.delivery) for update";
    holder.batch_execute(lock).await.unwrap();
    GATE.add_permits(10);
    until(&stage, "select (count(*) = 2)::text from postmeter.delivery where status = 'accepted'").await;
    until(&stage, "select (holder like '%(somebody)')::text from postmeter.setback where step = 'settle'").await;
    holder.batch_execute("commit").await.unwrap();
    until(&stage, ALL_ACCEPTED).await;
    until(&stage, "select (count(*) = 0)::text from postmeter.setback").await;
    stop.cancel();
    assert!(running.await.unwrap());
    assert_eq!(stage.value("select count(*)::text from postmeter.attempt").await, "3", "nothing was sent again");
    assert_eq!(stage.value("select count(*)::text from postmeter.late_evidence").await, "0");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j2_settle_an_answer_that_cannot_be_written_is_kept_until_it_can_and_the_others_are_written() {
    let stage = due().await;
    stage
        .sql(
            "create table public.cursed as select min(id) as id from postmeter.delivery;
             create function public.curses() returns trigger language plpgsql as
             $$begin
                 if new.status = 'accepted' and exists (select from public.cursed c where c.id = new.id) then
                     raise 'cursed' using errcode = '22003';
                 end if;
                 return new;
             end$$;
             create trigger curses before update on postmeter.delivery for each row execute function public.curses();
             grant select on public.cursed to public",
        )
        .await;
    let (running, stop) = running(&stage, tests::aws_with_test_keys).await;
    until(&stage, "select (count(*) = 2)::text from postmeter.delivery where status = 'accepted'").await;
    until(&stage, "select (code = '22003' and reason = 'cursed')::text from postmeter.setback where step = 'settle'")
        .await;
    stage.sql("delete from public.cursed; select postmeter.try_setbacks_again()").await;
    until(&stage, ALL_ACCEPTED).await;
    until(&stage, "select (count(*) = 0)::text from postmeter.setback").await;
    stop.cancel();
    assert!(running.await.unwrap());
    assert_eq!(stage.value("select count(*)::text from postmeter.attempt").await, "3", "nothing was sent again");
    stage.close().await;
}

/// Lets a worker die with everything in its hands that is due.
async fn dies_with_all(stage: &Stage) {
    let dying = stage.another_worker().await;
    assert_eq!(stage.claim_as(dying.id()).await.len(), 3);
    stage.worker.beat().await.unwrap();
    stage.end_lease_of(dying.id()).await;
}

#[tokio::test]
async fn j1_reap_a_locked_attempt_of_a_dead_worker_costs_only_itself() {
    let stage = due().await;
    dies_with_all(&stage).await;
    let holder = stage.db.connect().await;
    let lock = "begin; select from postmeter.delivery where id = (select min(id) from postmeter.delivery) for update";
    holder.batch_execute(lock).await.unwrap();
    // the dead one could not write an answer
    stage.sql("insert into postmeter.setback (step, member, skipped) select 'settle', max(d.id)::text, 1 from postmeter.delivery d").await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    let taken_over = "select count(*)::text from postmeter.outcome where code = 'worker_lost'";
    assert_eq!(stage.value(taken_over).await, "2");
    assert_eq!(stage.value("select step || ' ' || skipped from postmeter.setback").await, "reap 1");
    holder.batch_execute("commit").await.unwrap();
    rest_is_taken_over(&stage).await;
    assert_eq!(stage.value(taken_over).await, "3");
    assert_eq!(stage.value("select count(*)::text from postmeter.setback").await, "0");
    stage.work_at("2024-09-18T11:30:00Z").await;
    assert_eq!(stage.value(ALL_ACCEPTED).await, "true");
    stage.close().await;
}

#[tokio::test]
async fn j2_reap_a_failing_attempt_of_a_dead_worker_costs_only_itself() {
    let stage = due().await;
    dies_with_all(&stage).await;
    let cursed = stage.value("select min(id)::text from postmeter.delivery").await;
    stage
        .sql(&format!(
            "alter table postmeter.delivery add constraint cursed check (id <> {cursed} or status <> 'due') not valid"
        ))
        .await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    let taken_over = "select count(*)::text from postmeter.outcome where code = 'worker_lost'";
    assert_eq!(stage.value(taken_over).await, "2");
    assert_eq!(stage.value("select step || ' ' || code from postmeter.setback").await, "reap 23514");
    stage.sql("alter table postmeter.delivery drop constraint cursed").await;
    rest_is_taken_over(&stage).await;
    assert_eq!(stage.value(taken_over).await, "3");
    assert_eq!(stage.value("select count(*)::text from postmeter.setback").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn j1_reap_looks_at_every_dead_worker_however_many_attempts_stay_locked() {
    let stage = orgs(13).await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    // thirteen workers were reaped long ago, and each left an attempt
    stage
        .sql(
            "insert into postmeter.worker (id, name, version, started_at, lease, lease_until, reaped_at)
             select postmeter.new_id(), 'dead ' || n, '1', clock_timestamp() - interval '2 hours', interval '1 minute',
                    clock_timestamp() - interval '1 hour', clock_timestamp() - interval '1 hour'
             from generate_series(1, 13) n;
             insert into postmeter.attempt (id, delivery_id, destination_id, call_id, worker_id, number)
             select postmeter.new_id(), d.id, d.destination_id, postmeter.new_id(), w.id, 1
             from (select d.*, row_number() over (order by d.id) as place from postmeter.delivery d) d
             join (select w.id, row_number() over (order by w.id) as place from postmeter.worker w where w.name like 'dead %') w using (place);
             delete from postmeter.due;
             update postmeter.delivery d set status = 'in_flight', attempt_id = a.id, attempts = 1
             from postmeter.attempt a where a.delivery_id = d.id",
        )
        .await;
    let holder = stage.db.connect().await;
    let lock = "begin; select from postmeter.delivery where id < (select max(id) from postmeter.delivery) for update";
    holder.batch_execute(lock).await.unwrap();
    let policy = remittance::Policy { retry: remittance::RetrySchedule::default(), memory: None };
    let taken = outbox::workers::take_over_rest(&stage.db.database, stage.worker.id(), &|_| policy).await.unwrap();
    assert_eq!(taken, 1, "the last one's, though twelve before it are locked");
    holder.batch_execute("commit").await.unwrap();
    let taken = outbox::workers::take_over_rest(&stage.db.database, stage.worker.id(), &|_| policy).await.unwrap();
    assert_eq!(taken, 12);
    assert_eq!(stage.value("select count(*)::text from postmeter.setback").await, "0");
}

#[tokio::test]
async fn j1_settle_waits_for_two_locked_answers_a_round_and_loses_none() {
    let stage = orgs(6).await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.claim_as(stage.worker.id()).await.len(), 6);
    let attempts = "select a.id, a.delivery_id from postmeter.attempt a order by a.id";
    let answer = Answer { receipt: Some("theirs".to_owned()), ..Answer::bare(remittance::Outcome::Accepted) };
    let mut waiting: Vec<Settlement> = Vec::new();
    for row in stage.db.client.query(attempts, &[]).await.unwrap() {
        let (attempt, delivery) = (row.get(0), row.get(1));
        let (took, answer) = (Duration::ZERO, answer.clone());
        waiting.push(Settlement {
            delivery,
            attempt,
            batch: 1,
            answer,
            took,
            is_lost: false,
            is_death: false,
            others_passed: false,
        });
    }
    let policy = |_| remittance::Policy { retry: remittance::RetrySchedule::default(), memory: None };
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; select from postmeter.delivery for update").await.unwrap();
    // an answer that was waited for alone has somebody named
    let mut named = Vec::new();
    for _ in 0..5 {
        let (settled, error) = settle_apart(&stage.db.database, stage.worker.id(), &waiting, &policy, false).await;
        assert!(settled.is_empty() && error.is_none(), "{settled:?} {error:?}");
        named.push(stage.value("select count(holder)::text from postmeter.setback where step = 'settle'").await);
    }
    assert_eq!(named, ["0", "0", "2", "4", "6"], "skipped twice, then two a round");
    holder.batch_execute("commit").await.unwrap();
    let (settled, error) = settle_apart(&stage.db.database, stage.worker.id(), &waiting, &policy, false).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(settled.len(), 6, "none is lost");
    assert_eq!(stage.value(ALL_ACCEPTED).await, "true");
    assert_eq!(stage.value("select count(*)::text from postmeter.setback").await, "0");
}

/// Takes over what reapers have left.
async fn rest_is_taken_over(stage: &Stage) {
    until_true(&stage.db.client, "select bool_or(reaped_at < clock_timestamp() - lease) from postmeter.worker").await;
    let policy = remittance::Policy { retry: remittance::RetrySchedule::default(), memory: None };
    let taken = outbox::workers::take_over_rest(&stage.db.database, stage.worker.id(), &|_| policy).await.unwrap();
    assert_eq!(taken, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j1_claim_a_suspects_slow_call_stops_nobody_and_no_two_suspects_are_beside_each_other() {
    static GATE: Semaphore = Semaphore::const_new(0);
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
    stage.sql("update postmeter.delivery set deaths = 1").await;
    let (running, stop) = running(&stage, |_, settings| Wrapped::aws(settings, the_first_waits)).await;
    let in_flight =
        "select count(*) || ' ' || coalesce(min(deaths), 0) from postmeter.delivery where status = 'in_flight'";
    until(&stage, &format!("select (({in_flight}) = '1 1')::text")).await;
    for n in 0..3 {
        let account = format!("90000000000{n}");
        stage.subscribe(&format!("new{n}"), &account).await;
        stage.record(&format!("new {n}"), &format!("new{n}"), "cores", "1", "2024-09-18T10:20:00Z").await;
    }
    // by its loops: their hours open before the clock goes on, and so are over their grace then
    until(&stage, "select (count(*) = 0)::text from postmeter.outbox").await;
    stage.at("2024-09-18T11:20:00Z").await;
    until(&stage, "select (count(*) = 3)::text from postmeter.delivery where status = 'accepted'").await;
    assert_eq!(stage.value(in_flight).await, "1 1", "the suspect's call goes on, and no other suspect beside it");
    GATE.add_permits(1);
    until(&stage, ALL_ACCEPTED).await;
    stop.cancel();
    assert!(running.await.unwrap());
    stage.close().await;
}
