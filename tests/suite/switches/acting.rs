//! What is recorded after the command returned goes by the new rule; what was claimed before is handed back.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use remittance::Answer;
use tests::{Wrapped, aws_with_test_keys};
use tokio::sync::Semaphore;

use super::*;

const ATTEMPTS: &str = "select count(*)::text from postmeter.attempt_ledger where destination = 'aws'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_after_pause_has_returned_nothing_is_claimed_however_seldom_workers_poll() {
    let stage = two_destinations().await;
    let slow = Slow::start(&stage, aws_with_test_keys).await;
    let (code, said) = run(&stage, &["pause", "aws", "--why", "a test"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("aws is paused: nothing more is sent") && said.contains("no call is on the wire"), "{said}");
    use_at_both(&stage).await;
    assert!(calls_for_acme(&stage.aws).is_empty());
    assert_eq!(stage.value(ATTEMPTS).await, "0", "not even claimed");
    let (code, said) = run(&stage, &["resume", "aws", "--why", "the test is over"]).await;
    assert_eq!(code, Some(0), "{said}");
    accepted(&stage, "aws", 2).await;
    slow.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_after_dry_run_was_applied_no_call_is_made() {
    let stage = two_destinations().await;
    let slow = Slow::start(&stage, aws_with_test_keys).await;
    let said = apply(&stage, |all| in_destination(&all, "aws", "dry_run = false", "dry_run = true")).await;
    assert!(said.contains("no call is on the wire"), "{said}");
    use_at_both(&stage).await;
    let dry = "select count(*) = 2 from postmeter.remittance where destination = 'aws' and status = 'dry_run'";
    tests::until_true(&stage.db.client, dry).await;
    assert!(calls_for_acme(&stage.aws).is_empty());
    slow.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_a_shadow_that_was_applied_is_never_called() {
    let stage = two_destinations().await;
    let theirs = elsewhere();
    let slow = Slow::start(&stage, aws_with_test_keys).await;
    let shadow = format!(
        "\n[[destination]]\nname = \"trial\"\nkind = \"aws\"\nshadow_of = \"aws\"\nquota = \"aws\"\n\
         settings = {{ region = \"us-east-1\", endpoint = \"{}\" }}\n\
         [[dimension]]\ndestination = \"trial\"\nproduct = \"db\"\nmetric = \"cores\"\nname = \"cores\"\n\
         [[subscription]]\norg = \"acme\"\nproduct = \"db\"\ndestination = \"trial\"\nvalid_from = \"2024-01-01T00:00:00Z\"\n\
         identity = {{ product_code = \"prod-db\", customer_aws_account_id = \"111122223333\" }}\n",
        theirs.url()
    );
    apply(&stage, |all| all + &shadow).await;
    use_at_both(&stage).await;
    accepted(&stage, "aws", 2).await;
    // the shadow is counted by a worker that has read it, and its hours end as dry runs
    stage.worker.reload().await.unwrap();
    let dry = "select (count(*) = 2)::text from postmeter.remittance where shadow and status = 'dry_run'";
    stage.at("2024-09-18T12:30:00Z").await;
    stage.worker.shadow().await.unwrap();
    stage.at("2024-09-18T12:40:00Z").await;
    tests::wait_until("the shadow's two hours end as dry runs", async || {
        stage.worker.shadow().await.unwrap();
        stage.value(dry).await == "true"
    })
    .await;
    assert!(theirs.calls().is_empty());
    slow.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_after_an_endpoint_was_applied_no_call_goes_to_the_old_one() {
    let stage = two_destinations().await;
    let theirs = elsewhere();
    let slow = Slow::start(&stage, aws_with_test_keys).await;
    apply(&stage, |all| in_destination(&all, "aws", &stage.aws.url(), &theirs.url())).await;
    for (number, hour) in [(1, 10), (2, 11)] {
        let (at, over) = (format!("2024-09-18T{hour}:10:00Z"), format!("2024-09-18T{}:10:00Z", hour + 1));
        stage.at(&at).await;
        theirs.set_clock(simulator::Clock::frozen_at(t(&over)));
        stage.use_cores(&format!("a{hour}"), "1", &at).await;
        stage.cut_only(&over).await;
        accepted(&stage, "aws", number).await;
    }
    assert!(calls_for_acme(&stage.aws).is_empty());
    assert_eq!(theirs.record().len(), 2);
    slow.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_after_a_limit_was_applied_no_call_is_larger() {
    let stage = two_destinations().await;
    stage.subscribe("initech", "777788889999").await;
    let slow = Slow::start(&stage, aws_with_test_keys).await;
    apply(&stage, |all| in_destination(&all, "aws", "records_max = 25", "records_max = 1")).await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "1", "2024-09-18T10:10:00Z").await;
    stage.record("i", "initech", "cores", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    accepted(&stage, "aws", 2).await;
    assert_eq!(calls_for_acme(&stage.aws), [1, 1]);
    slow.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_what_comes_after_its_month_was_closed_is_held_and_what_was_cut_goes_on() {
    let stage = two_destinations().await;
    stage.at("2024-09-30T22:10:00Z").await;
    stage.use_cores("in time", "3", "2024-09-30T22:05:00Z").await;
    let (code, said) = run(&stage, &["pause", "aws", "--why", "so that it is cut and not sent"]).await;
    assert_eq!(code, Some(0), "{said}");
    stage.cut_only("2024-09-30T23:10:00Z").await;
    let slow = Slow::start(&stage, aws_with_test_keys).await;
    let close = ["month", "close", "aws", "2024-09", "--why", "the books", "--forced", "--apply"];
    let (_, said) = run(&stage, &close).await;
    assert_eq!(stage.value("select count(*)::text from postmeter.closed_month").await, "1", "{said}");
    // by a worker that has read nothing since
    stage.use_cores("late", "5", "2024-09-30T22:06:00Z").await;
    stage.at("2024-09-30T23:20:00Z").await;
    stage.use_cores("later", "7", "2024-09-30T23:15:00Z").await;
    stage.cut_only("2024-10-01T00:10:00Z").await;
    let held = stage.column("select reason || ' ' || quantity from postmeter.held order by quantity").await;
    assert_eq!(held, ["month_closed 5", "month_closed 7"]);
    let (code, said) = run(&stage, &["resume", "aws", "--why", "go on"]).await;
    assert_eq!(code, Some(0), "{said}");
    accepted(&stage, "aws", 1).await;
    assert_eq!(stage.accepted(), ["30T22 3"]);
    slow.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_what_is_claimed_and_not_on_the_wire_is_handed_back_by_a_pause() {
    static GATE: Semaphore = Semaphore::const_new(0);
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    fn at_the_gate(answers: Vec<Answer>) -> BoxFuture<'static, Vec<Answer>> {
        Box::pin(async move {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            GATE.acquire().await.unwrap().forget();
            answers
        })
    }
    let stage = two_destinations().await;
    stage.configure("records_max = 1, in_flight_max = 1").await;
    stage.subscribe("initech", "777788889999").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "1", "2024-09-18T10:10:00Z").await;
    stage.record("i", "initech", "cores", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let slow = Slow::start(&stage, |_, settings| Wrapped::aws(settings, at_the_gate)).await;
    // one call is on the wire, the other waits for its turn
    tests::wait_until("a call begins", async || BEGUN.load(Ordering::SeqCst) == 1).await;
    tests::until_true(&stage.db.client, "select count(*) = 2 from postmeter.attempt").await;
    let (code, said) = run(&stage, &["pause", "aws", "--why", "a test"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 call on the wire"), "{said}");
    GATE.add_permits(10);
    accepted(&stage, "aws", 1).await;
    let outcomes = "select count(*) = 1 from postmeter.attempt_ledger where outcome = 'handed_back'";
    tests::until_true(&stage.db.client, outcomes).await;
    assert_eq!(calls_for_acme(&stage.aws), [1]);
    assert_eq!(stage.value("select sum(tries)::text from postmeter.delivery").await, "1", "no try is burned");
    let (_, said) = run(&stage, &["pause", "aws", "--why", "once more"]).await;
    assert!(said.contains("no call is on the wire"), "{said}");
    run(&stage, &["resume", "aws", "--why", "the test is over"]).await;
    accepted(&stage, "aws", 2).await;
    slow.stop().await;
    stage.close().await;
}

/// Changes the section of one destination in a catalogue file.
fn in_destination(all: &str, name: &str, from: &str, to: &str) -> String {
    let at = all.find(&format!("name = \"{name}\"\nkind")).expect("the destination's section");
    let (before, section) = all.split_at(at);
    before.to_owned() + &section.replacen(from, to, 1)
}
