//! D9, F4: a destination that has a fault as a whole is left alone by the fleet, probed by one call, and comes back slowly.
//!
//! Pauses are real time, so the tests do not wait for them: they end or lengthen them in the shared row, and count calls.

use std::time::Duration;

use outbox::breaker::probe;
use simulator::{Call, FaultKind, FaultRule, Match};
use tests::Stage;
use uuid::Uuid;

use crate::fleet::{ALL_ACCEPTED, Running, orgs, until};

/// So many remittances, one a call, and a marketplace that answers 503 until its faults are cleared.
async fn down(count: usize) -> Stage {
    let stage = up(count).await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(503)).unwrap();
    stage
}

async fn up(count: usize) -> Stage {
    let stage = orgs(count).await;
    stage.configure("records_max = 1").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage
}

/// Lets the pause be over now.
async fn end_pause(stage: &Stage) {
    stage.sql("update postmeter.breaker set open_until = clock_timestamp() where ramp is null").await;
}

/// Keeps the breaker open and waits until every call and every probe has ended. Where a pause is over before a worker's
/// step, the step ends with the right to probe, and nothing may be left to probe with: nobody uses that right, and it is
/// taken away. A probe that has an open attempt is waited for; its call has a limit of its own.
async fn hold(stage: &Stage) {
    let held = "with held as (update postmeter.breaker
                              set open_until = clock_timestamp() + interval '1 hour', probing_by = null, probing_until = null
                              where ramp is null and (probing_by is null or probing_until <= clock_timestamp()
                                 or not exists (select from postmeter.attempt_ledger l where l.outcome = 'open'))
                              returning 1)
                select (count(*) = 1)::text from held";
    until(stage, held).await;
    until(stage, "select (count(*) = 0)::text from postmeter.attempt_ledger where outcome = 'open'").await;
}

async fn faults(stage: &Stage) -> u64 {
    stage.value("select faults::text from postmeter.breaker").await.parse().unwrap()
}

async fn state(stage: &Stage) -> String {
    stage.value("select breaker from postmeter.destination_health where destination = 'aws'").await
}

fn at_once(calls: &[Call]) -> Vec<usize> {
    calls.iter().map(|call| call.at_once).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_an_outage_is_probed_by_one_call_of_one_record_in_the_whole_fleet_and_burns_no_try() {
    let stage = down(60).await;
    let first = Running::start(&stage).await;
    until(&stage, "select (count(*) = 1)::text from postmeter.breaker").await;
    hold(&stage).await;
    // one that had looked before the breaker opened could still claim after it: this one looks first
    let fleet = [first, Running::start(&stage).await];
    let (before, first) = (stage.aws.calls().len(), faults(&stage).await);
    // seven calls in flight and nine that were answered before the tenth without an answer about a record
    assert!((before as u64) < 17 + first, "{before} calls, {first} faults");
    for round in 1..=5 {
        end_pause(&stage).await;
        until(&stage, &format!("select (faults >= {})::text from postmeter.breaker", first + round)).await;
    }
    hold(&stage).await;
    let calls = stage.aws.calls().split_off(before);
    assert_eq!(calls.len() as u64, faults(&stage).await - first, "every call is a probe that failed");
    assert!(calls.iter().all(|call| call.at_once == 1 && call.records.len() == 1), "{:?}", at_once(&calls));
    let spent = "select coalesce(sum(tries), 0)::text from postmeter.delivery";
    assert_eq!(stage.value(spent).await, "0", "an outage spends nobody's tries");
    stage.aws.clear_faults();
    end_pause(&stage).await;
    stage.at("2024-09-18T11:30:00Z").await;
    until(&stage, ALL_ACCEPTED).await;
    assert_eq!(stage.value("select max(tries)::text from postmeter.delivery").await, "1");
    for running in fleet {
        assert!(running.stop().await);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_a_recovery_begins_with_one_call_and_doubles() {
    let stage = down(80).await;
    stage.worker.send().await.unwrap();
    hold(&stage).await;
    assert_eq!(state(&stage).await, "open");
    stage.aws.clear_faults();
    // long enough that calls which may overlap do
    stage.aws.add_fault(FaultRule::new(FaultKind::Delay).ms(200)).unwrap();
    let before = stage.aws.calls().len();
    end_pause(&stage).await;
    let running = Running::start(&stage).await;
    stage.at("2024-09-18T11:30:00Z").await;
    until(&stage, ALL_ACCEPTED).await;
    assert_eq!(state(&stage).await, "closed");
    let seen = at_once(&stage.aws.calls().split_off(before));
    let most = |from: usize, to: usize| *seen[from..to].iter().max().unwrap();
    assert!(most(0, 2) == 1, "the probe, then one: {seen:?}");
    assert!(most(2, 4) <= 2, "then two: {seen:?}");
    assert!(most(4, 8) <= 4, "then four: {seen:?}");
    assert!((5..=8).contains(&most(8, seen.len())), "then as many as ever: {seen:?}");
    running.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_destination_that_is_down_does_not_delay_another() {
    let stage = orgs(120).await;
    stage
        .sql(
            "update postmeter.destination set records_max = 1;
             insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
             select 'aws-too', kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max from postmeter.destination;
             update postmeter.subscription set destination_id = (select id from postmeter.destination where name = 'aws-too') where right(org, 1) < '5';
             insert into postmeter.dimension (destination_id, product, metric, name)
             select id, 'db', 'cores', 'cores-too' from postmeter.destination where name = 'aws-too'",
        )
        .await;
    stage.worker.reload().await.unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let broken = Match { dimension: Some("cores".to_owned()), ..Match::default() };
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(503).matching(broken)).unwrap();
    let of = |calls: &[Call], name: &str| calls.iter().filter(|call| &*call.records[0].key.dimension == name).count();
    // nothing of the other yet: the first is down before
    stage.sql("update postmeter.destination set paused = true where name = 'aws-too'").await;
    stage.worker.reload().await.unwrap();
    stage.worker.send().await.unwrap();
    hold(&stage).await;
    let before = of(&stage.aws.calls(), "cores");
    stage.sql("update postmeter.destination set paused = false").await;
    let fleet = [Running::start(&stage).await, Running::start(&stage).await];
    let through = "select bool_and(status = 'accepted')::text from postmeter.remittance where destination = 'aws-too'";
    until(&stage, through).await;
    let calls = stage.aws.calls();
    assert_eq!(
        (of(&calls, "cores"), of(&calls, "cores-too")),
        (before, 60),
        "one call each, and none to the broken one"
    );
    assert!(calls.iter().any(|call| call.at_once > 1) && state(&stage).await == "open");
    for running in fleet {
        running.stop().await;
    }
    stage.close().await;
}

#[tokio::test]
async fn d9_refused_credentials_open_it_for_all_at_once() {
    let stage = up(20).await;
    stage.configure("in_flight_max = 1").await;
    let mut settings = stage.aws.settings();
    settings.aws.access_keys = [("ANOTHER".to_owned(), "seller".to_owned())].into();
    stage.aws.set_settings(settings);
    let other = stage.another_worker().await;
    stage.worker.send().await.unwrap();
    assert_ne!(state(&stage).await, "closed");
    hold(&stage).await;
    assert_eq!(other.send().await.unwrap(), 0, "the other worker learns without a call of its own");
    assert_eq!(stage.aws.calls().len(), 1, "one refusal is enough");
    let told = "select breaker || ' ' || last_outcome || ' ' || faults || ' ' || due from postmeter.destination_health";
    assert_eq!(stage.value(told).await, "open unauthorised 1 19");
    assert_eq!(stage.value("select sum(tries)::text from postmeter.delivery").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn d9_the_probe_is_won_by_one_worker_and_a_dead_one_does_not_block_it_for_ever() {
    let stage = down(20).await;
    stage.worker.send().await.unwrap();
    end_pause(&stage).await;
    let hour = Duration::from_secs(3600);
    let workers: Vec<Uuid> = (0..8).map(|_| Uuid::new_v4()).collect();
    let race = workers.iter().map(|worker| probe(&stage.db.database, 1, *worker, hour));
    let won =
        futures_util::future::join_all(race).await.into_iter().filter(|won| won.as_ref().unwrap().is_some()).count();
    assert_eq!(won, 1);
    stage.aws.clear_faults();
    let before = stage.aws.calls().len();
    assert_eq!(stage.worker.send().await.unwrap(), 0);
    assert_eq!(stage.aws.calls().len(), before, "another has the right, dead or not");
    stage.sql("update postmeter.breaker set probing_until = clock_timestamp()").await;
    assert_eq!(stage.worker.send().await.unwrap(), 1);
    assert_eq!((stage.aws.calls().len(), state(&stage).await.as_str()), (before + 1, "recovering"));
}

#[tokio::test]
async fn d9_a_pause_by_a_person_and_the_breaker_do_not_touch_each_other() {
    let stage = down(20).await;
    let row = "select faults || ' ' || opened_at || ' ' || (ramp is null) from postmeter.breaker";
    let paused = "select breaker || ' ' || paused from postmeter.destination_health";
    stage.sql("select postmeter.pause('aws', 'ada', 'maintenance over there')").await;
    stage.worker.reload().await.unwrap();
    assert_eq!(stage.value(paused).await, "closed true", "a pause opens no breaker");
    stage.sql("select postmeter.resume('aws', 'ada', 'it is over')").await;
    stage.worker.reload().await.unwrap();
    stage.worker.send().await.unwrap();
    hold(&stage).await;
    let (before, calls) = (stage.value(row).await, stage.aws.calls().len());
    stage.sql("select postmeter.pause('aws', 'ada', 'they are down')").await;
    stage.worker.reload().await.unwrap();
    end_pause(&stage).await;
    assert_eq!(stage.worker.send().await.unwrap(), 0);
    assert_eq!(stage.aws.calls().len(), calls, "paused: not even a probe");
    assert_eq!((stage.value(row).await, stage.value(paused).await), (before, "half_open true".to_owned()));
    stage.sql("select postmeter.resume('aws', 'ada', 'they are back')").await;
    stage.worker.reload().await.unwrap();
    stage.aws.clear_faults();
    assert_eq!(stage.worker.send().await.unwrap(), 1, "resumed, but still the probe comes first");
    assert_eq!(state(&stage).await, "recovering");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_while_a_destination_is_healthy() {
    let stage = up(60).await;
    stage
        .sql(
            "create sequence public.writes;
             create function public.count() returns trigger language plpgsql as $$ begin perform nextval('public.writes'); return null; end $$;
             create trigger counted after insert or update or delete on postmeter.breaker for each statement execute function public.count()",
        )
        .await;
    // nine calls without an answer are not ten
    stage.configure("in_flight_max = 1").await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(503).times(9)).unwrap();
    let running = Running::start(&stage).await;
    until(&stage, "select (count(*) filter (where status = 'accepted') = 51)::text from postmeter.delivery").await;
    stage.at("2024-09-18T11:30:00Z").await;
    until(&stage, ALL_ACCEPTED).await;
    assert!(running.stop().await);
    assert_eq!(stage.value("select is_called::text from public.writes").await, "false");
    stage.close().await;
}

#[tokio::test]
async fn what_is_too_late_by_then_is_swept_away_and_the_probe_is_one_call() {
    let stage = down(60).await;
    stage.sql("update postmeter.due set deadline = '2024-09-18 11:15Z' where delivery_id <= (select min(delivery_id) + 39 from postmeter.due)").await;
    stage
        .sql("update postmeter.delivery d set deadline = q.deadline from postmeter.due q where q.delivery_id = d.id")
        .await;
    stage.aws.clear_faults();
    stage.aws.add_fault(FaultRule::new(FaultKind::RefuseRecord).error("UnrecognizedClientException")).unwrap();
    stage.worker.send().await.unwrap();
    hold(&stage).await;
    let before = stage.aws.calls().len();
    stage.at("2024-09-18T11:20:00Z").await;
    stage.aws.clear_faults();
    end_pause(&stage).await;
    tests::wait_until("the destination recovers", async || {
        stage.worker.send().await.unwrap();
        state(&stage).await == "recovering"
    })
    .await;
    let calls = stage.aws.calls().split_off(before);
    assert_eq!(calls.len(), 1, "for what is too late no call is made");
    let swept = "select count(*)::text from postmeter.attempt_ledger where outcome = 'too_old' and code = 'deadline'";
    let late: u64 = stage.value(swept).await.parse().unwrap();
    assert!(late >= 30, "{late} of what was claimed before the probe");
    assert_eq!(
        stage.value("select count(*)::text from postmeter.attempt_ledger where outcome = 'accepted'").await,
        "1"
    );
    stage.close().await;
}

#[tokio::test]
async fn e11_what_was_in_dying_hands_can_be_the_probe() {
    let stage = down(40).await;
    stage.worker.send().await.unwrap();
    hold(&stage).await;
    stage.sql("update postmeter.delivery set deaths = 1").await;
    stage.aws.clear_faults();
    end_pause(&stage).await;
    assert!(stage.worker.send().await.unwrap() >= 1, "sent alone, as the probe");
    assert_ne!(state(&stage).await, "half_open");
    stage.close().await;
}

#[tokio::test]
async fn a_recovery_with_too_few_calls_to_climb_ends_after_a_minute_without_a_fault() {
    let stage = down(20).await;
    stage.worker.send().await.unwrap();
    stage.aws.clear_faults();
    end_pause(&stage).await;
    stage.worker.send().await.unwrap();
    assert_eq!(state(&stage).await, "recovering");
    stage.sql("update postmeter.breaker set updated_at = clock_timestamp() - interval '1 minute'").await;
    stage.sql("update postmeter.destination set paused = true").await;
    stage.worker.reload().await.unwrap();
    stage.worker.send().await.unwrap();
    assert_eq!(state(&stage).await, "closed");
}

#[tokio::test]
async fn status_says_in_a_sentence_that_a_breaker_is_open() {
    let stage = down(20).await;
    let said = async |stage: &Stage| {
        let out = tests::postmeter(&stage.db.url()).arg("status").output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(!said(&stage).await.contains("breaker"), "nothing to say");
    stage.worker.send().await.unwrap();
    hold(&stage).await;
    let screen = said(&stage).await;
    assert!(screen.contains("breaker  aws is down since "), "{screen}");
    assert!(screen.contains("503") && screen.contains("the next probe is in 59 min"), "{screen}");
    end_pause(&stage).await;
    stage.aws.clear_faults();
    stage.worker.send().await.unwrap();
    let screen = said(&stage).await;
    assert!(screen.contains("breaker  aws recovers: ") && screen.contains("1 call at a time"), "{screen}");
    stage.close().await;
}
