//! J7, J8: whose fault a refusal is. One buyer's stops nobody else; the credential's is not laid at anybody's door.

use simulator::{Call, FaultKind, FaultRule, Match};
use tests::{GoogleStage, Stage};

use crate::azure_sending::{many, resource, standings, work_until};

/// Microsoft's answer to a call with one resource that is not ours, whatever else is in it.
fn forbidden() -> FaultRule {
    FaultRule::new(FaultKind::RefuseRecord).error("Forbidden").status(403)
}

fn with(customer: String) -> Match {
    Match { customer: Some(customer), ..Match::default() }
}

/// What a person sees of refused buyers.
fn said(stage: &Stage) -> Vec<String> {
    let out = tests::postmeter(&stage.db.url()).arg("status").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let screen = String::from_utf8(out.stdout).unwrap();
    screen.lines().filter(|line| line.starts_with("refused")).map(str::to_owned).collect()
}

async fn alert(stage: &Stage) -> String {
    stage.worker.look(true).await.unwrap();
    stage.value("select summary from postmeter.alert where name = 'buyer_refused' and cleared_at is null").await
}

/// The next pause of whoever is refused without a verdict is over.
async fn due_again(stage: &Stage) {
    stage.sql("update postmeter.later set due_at = '-infinity'").await;
}

async fn breakers(stage: &Stage) -> String {
    stage.value("select count(*)::text from postmeter.breaker").await
}

fn records(calls: &[Call]) -> Vec<usize> {
    calls.iter().map(|call| call.records.len()).collect()
}

#[tokio::test]
async fn j7_a_call_refused_for_one_of_40_buyers_is_halved_to_it_and_the_others_are_accepted() {
    let stage = many(40, false).await;
    stage.aws.add_fault(forbidden().matching(with(resource(7)))).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(standings(&stage).await, ["accepted 39", "held 1"]);
    assert_eq!(breakers(&stage).await, "0", "the destination is healthy");
    let held = "select distinct r.reason || ' ' || l.outcome || ' ' || l.code || ' ' || l.http_status
                from postmeter.remittance r join postmeter.attempt_ledger l using (delivery_id)
                where r.status = 'held' and l.outcome <> 'batch_refused'";
    assert_eq!(stage.column(held).await, ["invalid_subscription not_entitled Forbidden 403"]);
    let rounds = "select max(attempts) || ' ' || max(tries) from postmeter.delivery where status = 'accepted'";
    assert_eq!(stage.value(rounds).await, "6 1", "25, 13, 7, 4, 2, 1: five halvings and the first");
    let letter = "select item || ' ' || class || ' ' || code from postmeter.dead_letter";
    assert_eq!(stage.column(letter).await.len(), 1, "{:?}", stage.column(letter).await);
    let (said, alert) = (said(&stage), alert(&stage).await);
    assert!(said.len() == 1 && said[0].contains(&resource(7)) && said[0].contains("is held"), "{said:?}");
    assert!(alert.contains(&resource(7)) && alert.contains("others pass"), "{alert}");
    stage.close().await;
}

#[tokio::test]
async fn j7_a_buyer_who_is_known_goes_alone_and_the_others_are_through_in_the_first_round() {
    let stage = many(30, false).await;
    stage.aws.add_fault(forbidden().matching(with(resource(7)))).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let before = stage.aws.calls().len();
    stage.at("2024-09-18T11:30:00Z").await;
    for n in 0..30 {
        stage.record(&format!("later{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T11:20:00Z").await;
    }
    stage.cut_at("2024-09-18T12:10:00Z").await;
    // what was held for it is tried again now and then by itself; whatever is his goes alone
    let calls = stage.aws.calls().split_off(before);
    let his = |call: &Call| call.records.iter().any(|record| record.key.customer == resource(7));
    assert!(calls.iter().filter(|call| his(call)).all(|call| call.records.len() == 1), "{:?}", records(&calls));
    let mut sizes: Vec<usize> = calls.iter().filter(|call| !his(call)).map(|call| call.records.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [4, 25]);
    let others = "select count(*) || ' ' || max(attempts) from postmeter.delivery
                  where status = 'accepted' and hour = '2024-09-18T11:00Z'";
    assert_eq!(stage.value(others).await, "29 1");
    assert_eq!(standings(&stage).await, ["accepted 58", "held 2"]);
    // the marketplace takes him again: everything as before
    stage.aws.clear_faults();
    stage
        .sql("select postmeter.retry('{\"destination\": \"azure\"}', 'ada', 'they mended it', dry_run => false)")
        .await;
    stage.work().await;
    assert_eq!(standings(&stage).await, ["accepted 60"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.refusal").await, "0");
    assert_eq!((said(&stage), alert(&stage).await), (Vec::new(), String::new()));
    stage.close().await;
}

#[tokio::test]
async fn j7_three_buyers_refused_alone_with_nobody_passing_are_the_credential() {
    for single in [false, true] {
        let stage = many(5, single).await;
        stage.aws.add_fault(forbidden()).unwrap();
        stage.cut_at("2024-09-18T11:10:00Z").await;
        assert_eq!(standings(&stage).await, ["due 5"]);
        let breaker =
            "select last_outcome || ' ' || last_code from postmeter.destination_health where breaker <> 'closed'";
        assert_eq!(stage.column(breaker).await, ["unauthorised Forbidden"]);
        assert_eq!(stage.value("select max(tries)::text from postmeter.delivery").await, "0");
        let said = said(&stage);
        assert!(said.iter().all(|line| line.contains("the credential is to blame")) && said.len() >= 3, "{said:?}");
        stage.aws.clear_faults();
        stage.at("2024-09-18T11:20:00Z").await;
        work_until(&stage, "accepted 5").await;
        assert_eq!(stage.value("select max(tries)::text from postmeter.delivery").await, "1");
        stage.close().await;
    }
}

#[tokio::test]
async fn j7_two_buyers_in_all_stay_due_and_paced_and_both_readings_are_named() {
    let stage = many(2, false).await;
    stage.aws.add_fault(forbidden()).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    for _ in 0..3 {
        due_again(&stage).await;
        stage.work().await;
    }
    assert_eq!(standings(&stage).await, ["due 2"]);
    assert_eq!(breakers(&stage).await, "0", "nobody knows whose fault it is");
    assert_eq!(stage.value("select max(tries)::text from postmeter.delivery").await, "0");
    let waits = "select bool_and(due_at - '2024-09-18T11:10:00Z' > '10 seconds')::text from postmeter.later";
    assert_eq!(stage.value(waits).await, "true", "longer each time");
    let (said, alert) = (said(&stage), alert(&stage).await);
    assert!(said.len() == 2 && said[0].contains("either this buyer may not be billed, or the credential"), "{said:?}");
    assert!(alert.contains("either these may not be billed, or the credential"), "{alert}");
    stage.aws.clear_faults();
    due_again(&stage).await;
    stage.work().await;
    assert_eq!(standings(&stage).await, ["accepted 2"]);
    assert_eq!(self::alert(&stage).await, "");
    stage.close().await;
}

#[tokio::test]
async fn j7_a_401_is_always_the_credentials() {
    let stage = many(2, false).await;
    let refused = FaultRule::new(FaultKind::RefuseRecord).error("Unauthorized").status(401);
    stage.aws.add_fault(refused.matching(with(resource(1)))).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(standings(&stage).await, ["due 2"]);
    assert_eq!((records(&stage.aws.calls()), breakers(&stage).await.as_str()), (vec![2], "1"), "one is enough");
    assert_eq!(stage.value("select count(*)::text from postmeter.refusal").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn j7_evidence_is_the_fleets_and_outlives_every_worker() {
    let stage = many(2, true).await;
    stage.aws.add_fault(forbidden().matching(with(resource(0)))).unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let only = async |org: &str| {
        stage
            .sql(&format!(
                "update postmeter.destination set paused = false;
                 delete from postmeter.later; delete from postmeter.due;
                 insert into postmeter.due (delivery_id, destination_id, deadline)
                 select d.id, d.destination_id, d.deadline from postmeter.delivery d
                 where d.status = 'due' and d.identity ->> 'resource_id' = '{org}'"
            ))
            .await;
        // each time a worker that has never called before
        stage.another_worker().await.send().await.unwrap();
    };
    only(&resource(0)).await;
    assert_eq!(standings(&stage).await, ["due 2"], "nobody knows yet");
    only(&resource(0)).await;
    assert_eq!(standings(&stage).await, ["due 2"], "refused again, with nobody passing");
    only(&resource(1)).await;
    assert_eq!(standings(&stage).await, ["accepted 1", "due 1"]);
    only(&resource(0)).await;
    assert_eq!(standings(&stage).await, ["accepted 1", "held 1"]);
    stage.close().await;
}

#[tokio::test]
async fn j7_one_consumer_that_google_refuses_a_whole_report_for_is_held_alone() {
    let stage = GoogleStage::at("2024-09-18T10:30:00Z").await;
    stage.configure("records_max = 12").await;
    for n in 0..12 {
        stage.subscribe_as(&format!("org{n}"), &format!("project:p{n}")).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    let refused = FaultRule::new(FaultKind::RefuseRecord).error("PERMISSION_DENIED").status(403);
    stage.aws.add_fault(refused.matching(with("project:p5".to_owned()))).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(standings(&stage).await, ["accepted 11", "held 1"]);
    assert_eq!(breakers(&stage).await, "0");
    let held = "select l.outcome || ' ' || l.code from postmeter.attempt_ledger l where l.status = 'held' order by l.number desc limit 1";
    assert_eq!(stage.column(held).await, ["not_entitled PERMISSION_DENIED"]);
    stage.close().await;
}

/// Twelve consumers, each with a core that is due in one report; the checks of some are refused as a whole.
async fn checks_refused(refused: &[usize]) -> GoogleStage {
    let stage = GoogleStage::at("2024-09-18T10:30:00Z").await;
    stage.configure("records_max = 12").await;
    for n in 0..12 {
        stage.subscribe_as(&format!("org{n}"), &format!("project:p{n}")).await;
        stage.say(&format!("project:p{n}"), if refused.contains(&n) { "403" } else { "ACTIVE" });
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage
}

#[tokio::test]
async fn j7_a_check_that_google_refuses_beside_accepted_records_is_judged_by_evidence_only() {
    let stage = checks_refused(&[5]).await;
    assert_eq!(standings(&stage).await, ["accepted 11", "due 1"], "refused once: nobody knows whose fault it is");
    due_again(&stage).await;
    stage.work().await;
    assert_eq!(standings(&stage).await, ["accepted 11", "held 1"], "refused, another passed, refused again");
    assert_eq!(breakers(&stage).await, "0");
    let held = "select l.outcome || ' ' || l.code from postmeter.attempt_ledger l where l.status = 'held' order by l.number desc limit 1";
    assert_eq!(stage.column(held).await, ["not_entitled PERMISSION_DENIED"]);
    stage.close().await;
    // what passes is nobody's fault
    let stage = checks_refused(&[5]).await;
    stage.say("project:p5", "ACTIVE");
    due_again(&stage).await;
    stage.work().await;
    assert_eq!(standings(&stage).await, ["accepted 12"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.refusal").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn j7_many_checks_refused_beside_accepted_records_put_no_credential_in_doubt_and_all_of_them_do() {
    let stage = checks_refused(&[1, 3, 5, 7, 9]).await;
    assert_eq!(
        (standings(&stage).await, breakers(&stage).await),
        (vec!["accepted 7".into(), "due 5".into()], "0".into())
    );
    due_again(&stage).await;
    stage.work().await;
    assert_eq!(
        (standings(&stage).await, breakers(&stage).await),
        (vec!["accepted 7".into(), "held 5".into()], "0".into())
    );
    stage.close().await;
    let stage = checks_refused(&(0..12).collect::<Vec<_>>()).await;
    assert_eq!(standings(&stage).await, ["due 12"]);
    let breaker = "select last_outcome || ' ' || last_code from postmeter.destination_health where breaker <> 'closed'";
    assert_eq!(stage.column(breaker).await, ["unauthorised PERMISSION_DENIED"]);
    stage.close().await;
}

/// The customers of calls, one each.
fn customers(calls: &[Call]) -> Vec<String> {
    calls.iter().map(|call| call.records[0].key.customer.clone()).collect()
}

async fn probe(stage: &Stage) {
    stage.sql("update postmeter.breaker set open_until = clock_timestamp() - interval '1 second'").await;
    due_again(stage).await;
    stage.worker.maintain().await.unwrap();
    stage.worker.send().await.unwrap();
}

#[tokio::test]
async fn j8_a_probe_that_fails_takes_another_record_next() {
    let stage = many(12, true).await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(503)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(breakers(&stage).await, "1");
    // two records that no answer is given for, first in every order
    stage.aws.clear_faults();
    for number in [0, 1] {
        stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(500).matching(with(resource(number)))).unwrap();
    }
    let first = "update postmeter.delivery d set deadline = d.deadline - interval '1 hour'
                 where identity ->> 'resource_id' = any (array['{}', '{}'])";
    let first = first.replacen("{}", &resource(0), 1).replacen("{}", &resource(1), 1);
    stage.sql(&first).await;
    let before = stage.aws.calls().len();
    for _ in 0..3 {
        probe(&stage).await;
    }
    let tried = customers(&stage.aws.calls().split_off(before));
    assert!(tried.len() == 3 && tried[..2].iter().all(|who| [resource(0), resource(1)].contains(who)), "{tried:?}");
    assert_ne!(tried[0], tried[1], "another record each time");
    let recovers = "select breaker from postmeter.destination_health where destination = 'azure'";
    assert_eq!(stage.value(recovers).await, "recovering", "the third is answered");
    stage.close().await;
}

#[tokio::test]
async fn j8_blame_falls_on_the_first_only_when_it_is_refused_again_after_another_passed() {
    let stage = many(12, true).await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(503)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.aws.clear_faults();
    stage.aws.add_fault(forbidden().matching(with(resource(0)))).unwrap();
    let first = format!(
        "update postmeter.delivery d set deadline = d.deadline - interval '1 hour' where identity ->> 'resource_id' = '{}'",
        resource(0)
    );
    stage.sql(&first).await;
    let status = format!(
        "select status || ' ' || coalesce(reason, '') from postmeter.delivery where identity ->> 'resource_id' = '{}'",
        resource(0)
    );
    probe(&stage).await;
    assert_eq!(stage.value(&status).await, "due ", "a probe that failed proves nothing");
    probe(&stage).await;
    assert_eq!(stage.value(&status).await, "due ", "another has passed");
    stage.at("2024-09-18T11:20:00Z").await;
    work_until_settled(&stage).await;
    assert_eq!(
        stage.value(&status).await,
        "unknown ",
        "a 503 before: it may have been billed, and only a person can say"
    );
    assert_eq!(standings(&stage).await, ["accepted 11", "unknown 1"]);
    stage.close().await;
}

async fn work_until_settled(stage: &Stage) {
    tests::wait_until("all are settled", async || {
        due_again(stage).await;
        stage.work().await;
        stage.value("select count(*)::text from postmeter.delivery where status in ('due', 'in_flight')").await == "0"
    })
    .await;
}

#[tokio::test]
async fn j9_their_retry_after_is_the_wait_of_every_worker_and_lowers_no_pace() {
    let stage = many(1, false).await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let throttled = FaultRule::new(FaultKind::Status).status(429).retry_after(3600).times(1);
    stage.aws.add_fault(throttled).unwrap();
    stage.worker.send().await.unwrap();
    let noted =
        "select (wait_until > clock_timestamp() + interval '55 minutes' and rate is null)::text from postmeter.pace";
    assert_eq!(stage.value(noted).await, "true");
    assert_eq!(breakers(&stage).await, "0", "throttling trips nothing");
    let due_at = "select due_at::text from postmeter.later";
    assert_eq!(stage.value(due_at).await, "2024-09-18 12:10:00+00", "neither less nor more");
    due_again(&stage).await;
    stage.worker.maintain().await.unwrap();
    let other = stage.another_worker().await;
    assert_eq!(other.send().await.unwrap(), 0, "nobody calls meanwhile");
    stage.sql("update postmeter.pace set wait_until = clock_timestamp()").await;
    let third = stage.another_worker().await;
    assert_eq!(third.send().await.unwrap(), 1);
    assert_eq!(standings(&stage).await, ["accepted 1"]);
    assert_eq!(
        stage.column("select outcome from postmeter.attempt_ledger order by number").await,
        ["throttled", "accepted"]
    );
    stage.close().await;
}

#[tokio::test]
async fn j9_a_quota_without_a_limit_gets_a_pace_that_the_whole_fleet_keeps() {
    let stage = many(60, true).await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(429)).unwrap();
    tests::wait_until("it is paced", async || {
        stage.worker.send().await.unwrap();
        due_again(&stage).await;
        stage.worker.maintain().await.unwrap();
        stage.value("select count(*)::text from postmeter.pace where rate is not null").await == "1"
    })
    .await;
    assert_eq!(breakers(&stage).await, "0", "throttling trips nothing, however long");
    assert_eq!(stage.value("select max(tries)::text from postmeter.delivery").await, "0");
    stage.aws.clear_faults();
    stage.sql("update postmeter.pace set rate = 2").await;
    let (other, before) = (stage.another_worker().await, stage.aws.calls().len());
    let claimed = other.send().await.unwrap();
    assert!((1..=4).contains(&claimed), "{claimed}: what it may send in two seconds");
    let calls = stage.aws.calls().split_off(before);
    let apart = calls.windows(2).map(|pair| pair[1].elapsed_us - pair[0].elapsed_us);
    assert!(apart.clone().all(|apart| apart > 400_000), "two a second: {:?}", apart.collect::<Vec<_>>());
    let out = tests::postmeter(&stage.db.url()).arg("status").output().unwrap();
    let screen = String::from_utf8(out.stdout).unwrap();
    assert!(screen.contains("pace     quota azure is taken at"), "{screen}");
    stage.close().await;
}
