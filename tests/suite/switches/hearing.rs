//! A command waits for every living worker, for a lease at most, and names who has not acknowledged.

use std::time::Instant;

use serde_json::json;
use tests::{Console, aws_with_test_keys, end_of, signal};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_a_worker_that_is_stopped_holds_the_command_until_its_lease_ends_and_sends_nothing_when_it_goes_on() {
    const LEASE: u64 = 16;
    let stage = two_destinations().await;
    let mut command = tests::postmeter(&stage.db.url());
    command.args(["worker", "--name", "sleeper"]).env("POSTMETER_WORKER_POLL_MS", "1000");
    command.env("POSTMETER_WORKER_LEASE_SECONDS", LEASE.to_string());
    command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", "postmeter-simulator");
    let mut sleeper = command.spawn().unwrap();
    listens(&stage).await;
    signal(&sleeper, "STOP");
    let began = Instant::now();
    let (code, said) = run(&stage, &["pause", "aws", "--why", "a test"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("worker sleeper") && said.contains("its lease has ended"), "{said}");
    let left: bool = stage
        .db
        .client
        .query_one("select lease_until <= clock_timestamp() from postmeter.worker where name = 'sleeper'", &[])
        .await
        .unwrap()
        .get(0);
    assert!(left, "no sooner: it could still have sent");
    assert!(began.elapsed() < tests::PATIENCE, "and no longer than that");
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "1", "2024-09-18T10:10:00Z").await;
    stage.record("g", "globex", "cores", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    signal(&sleeper, "CONT");
    accepted(&stage, "other", 1).await;
    let acts = "select count(*) = 1 from postmeter.worker w, postmeter.destination t
                where w.name = 'sleeper' and t.name = 'aws' and (w.acknowledged -> t.id::text ->> 'version')::bigint = t.version";
    tests::until_true(&stage.db.client, acts).await;
    assert!(calls_for_acme(&stage.aws).is_empty());
    signal(&sleeper, "TERM");
    end_of(&mut sleeper);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_a_worker_that_lives_and_does_not_acknowledge_is_named_after_a_lease_and_the_command_fails() {
    let stage = two_destinations().await;
    let options = Options { name: "deaf".to_owned(), lease: Duration::from_secs(2), ..quick() };
    let deaf = Worker::start(stage.db.another(), options).await.unwrap();
    let beating = CancellationToken::new();
    let beats = tokio::spawn({
        let (deaf, beating) = (Arc::clone(&deaf), beating.clone());
        beating.run_until_cancelled_owned(async move {
            loop {
                deaf.beat().await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    });
    let (code, said) = run(&stage, &["pause", "aws", "--why", "a test"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("worker deaf") && said.contains("HAS NOT ACKNOWLEDGED"), "{said}");
    deaf.reload().await.unwrap();
    let (code, said) = run(&stage, &["pause", "aws", "--why", "a test"]).await;
    assert_eq!(code, Some(0), "it acts by it now: {said}");
    assert!(said.contains("paused already") && !said.contains("deaf"), "{said}");
    beating.cancel();
    beats.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_over_http_a_pause_answers_when_workers_act_by_it() {
    let stage = two_destinations().await;
    let slow = Slow::start(&stage, aws_with_test_keys).await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["operate"]).await;
    let answer = console.post(&token, "/v1/destinations/aws/pause", &json!({"reason": "a test"})).await.json();
    assert_eq!(answer["paused"], true, "{answer}");
    assert_eq!(answer["heard"], json!({"calls_on_the_wire": 0, "silent": []}), "{answer}");
    use_at_both(&stage).await;
    assert!(calls_for_acme(&stage.aws).is_empty());
    slow.stop().await;
    stage.close().await;
}
