//! Every fault, as a client sees it and as the record keeps it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{batch, metering_request, send, split, start};
use crate::{Delivery, FaultKind, FaultRule, Match, Running, When};

/// What the log says about the last call: processed, delivery.
fn last(running: &Running) -> (bool, Delivery) {
    running.calls().last().map(|call| (call.processed, call.delivery)).unwrap()
}

#[tokio::test]
async fn e1_a_lost_request_stores_nothing_a_lost_response_stores_all() {
    let running = start().await;
    running.add_fault(FaultRule::new(FaultKind::LoseRequest).times(1)).unwrap();
    running.add_fault(FaultRule::new(FaultKind::LoseResponse).times(1)).unwrap();
    assert!(send(&running, "cores", 1).await.unwrap().is_empty());
    assert_eq!((running.record().len(), last(&running)), (0, (false, Delivery::Closed)));
    assert!(send(&running, "cores", 1).await.unwrap().is_empty());
    assert_eq!((running.record().len(), last(&running)), (1, (true, Delivery::Closed)));
    assert_eq!(split(&send(&running, "cores", 1).await.unwrap()).json()["Results"][0]["Status"], "Success");
    assert_eq!((running.record().len(), running.record()[0].identical_resends), (1, 1));
    let counters = running.counters();
    assert_eq!((counters.requests_lost, counters.responses_lost, counters.calls), (1, 1, 3));
}

#[tokio::test]
async fn d8_a_reset_before_and_after_the_request_was_read() {
    let running = start().await;
    running.add_fault(FaultRule::new(FaultKind::Reset).times(1)).unwrap();
    let only_cores = Match { dimension: Some("cores".to_owned()), ..Match::default() };
    running.add_fault(FaultRule::new(FaultKind::Reset).times(1).matching(only_cores)).unwrap();
    running.add_fault(FaultRule::new(FaultKind::Reset).when(When::After).times(1)).unwrap();
    for (stored, processed) in [(0, false), (0, false), (1, true)] {
        let error = send(&running, "cores", 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!((running.record().len(), last(&running)), (stored, (processed, Delivery::Reset)));
    }
}

#[tokio::test]
async fn d8_answers_that_are_none() {
    let running = start().await;
    let one = |kind| FaultRule::new(kind).times(1);
    for rule in [
        one(FaultKind::Garbage),
        one(FaultKind::Html),
        one(FaultKind::Empty),
        one(FaultKind::Status).status(500),
        one(FaultKind::Html).status(502).when(When::After),
    ] {
        running.add_fault(rule).unwrap();
    }
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(split(&send(&running, "cores", 1).await.unwrap()));
        assert_eq!(last(&running).1, Delivery::Replaced);
    }
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 200, 500, 502]);
    assert!(std::str::from_utf8(&answers[0].body).is_err());
    assert!(answers[1].head.contains("text/html"));
    assert!(answers[2].body.is_empty());
    assert_eq!(running.record().len(), 1, "the last one was processed");
}

#[tokio::test]
async fn d8_truncated_dripping_and_oversized_bodies() {
    let running = start().await;
    running.add_fault(FaultRule::new(FaultKind::Truncated).times(1)).unwrap();
    running.add_fault(FaultRule::new(FaultKind::Drip).times(1).bytes(64).ms(10)).unwrap();
    running.add_fault(FaultRule::new(FaultKind::Oversized).times(1).bytes(3_000_000)).unwrap();
    let cut = split(&send(&running, "cores", 1).await.unwrap());
    let announced = cut.head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert_eq!(cut.body.len(), announced.parse::<usize>().unwrap() / 2);
    assert_eq!(last(&running), (true, Delivery::Truncated));
    let (begun, whole) = (Instant::now(), split(&send(&running, "cores", 1).await.unwrap()));
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(whole.json()["Results"][0]["Status"], "Success");
    let large = split(&send(&running, "cores", 1).await.unwrap());
    assert!(large.body.len() > 3_000_000 && large.head.contains("transfer-encoding: chunked"));
}

#[tokio::test]
async fn e1_a_delayed_call_is_processed_although_the_client_has_gone() {
    let running = start().await;
    running.add_fault(FaultRule::new(FaultKind::Delay).ms(150).times(1)).unwrap();
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    stream.write_all(metering_request(&batch("cores", 5), "close").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    assert!(running.record().is_empty());
    let deadline = Instant::now() + Duration::from_secs(10);
    while running.record().is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((running.record().len(), last(&running)), (1, (true, Delivery::Waiting)));
}

#[tokio::test]
async fn e1_a_delay_after_processing_answers_late() {
    let running = start().await;
    running.add_fault(FaultRule::new(FaultKind::Delay).when(When::After).ms(120).times(1)).unwrap();
    let begun = Instant::now();
    assert_eq!(split(&send(&running, "cores", 1).await.unwrap()).status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(120));
    assert_eq!(last(&running), (true, Delivery::Answered));
}

#[tokio::test]
async fn d12_throttling_on_demand() {
    let running = start().await;
    running.add_fault(FaultRule::new(FaultKind::Throttle).times(1)).unwrap();
    let answer = split(&send(&running, "cores", 1).await.unwrap());
    assert_eq!((answer.status, answer.json()["__type"].as_str()), (400, Some("ThrottlingException")));
    assert_eq!(running.counters().errors["ThrottlingException"], 1);
}
