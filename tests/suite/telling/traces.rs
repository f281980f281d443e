//! Traces go on from the `traceparent` under which usage was recorded.

use std::sync::{Arc, Mutex};

use outbox::NewUsage;
use serde_json::json;
use tests::{Stage, q, quick, t};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use worker::{PassOn, Traces, Worker};

const ONE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A marketplace that answers nothing good; what it was sent is kept.
async fn listener() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut some = [0; 4096];
                let read = socket.read(&mut some).await.unwrap();
                head.extend_from_slice(&some[..read]);
            }
            kept.lock().unwrap().push(String::from_utf8_lossy(&head).to_ascii_lowercase());
            let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, heads)
}

/// The head of the call that reports usage recorded under these traces.
async fn call_of(traceparents: &[Option<&str>], traces: Option<Arc<dyn Traces>>) -> String {
    let stage = Stage::new().await;
    let (url, heads) = listener().await;
    let settings = json!({ "region": "us-east-1", "endpoint": url });
    stage.db.client.execute("update postmeter.destination set settings = $1", &[&settings]).await.unwrap();
    stage.at("2024-09-18T10:30:00Z").await;
    for (number, traceparent) in traceparents.iter().enumerate() {
        let at = t("2024-09-18T10:10:00Z");
        let mut usage = NewUsage::new("s", &number.to_string(), "acme", "db", "cores", q("1"), at);
        usage.traceparent = traceparent.map(str::to_owned);
        stage.record_as(&usage).await;
    }
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let worker = Worker::start(stage.db.another(), worker::Options { traces, ..quick() }).await.unwrap();
    worker.send().await.unwrap();
    let head = heads.lock().unwrap().first().cloned();
    head.expect("a call was made")
}

#[tokio::test]
async fn i2_a_call_carries_the_trace_of_its_usage_where_it_is_one_and_only_if_told_to() {
    let carried = format!("traceparent: {ONE}\r\n");
    let told = || Some(Arc::new(PassOn) as Arc<dyn Traces>);
    assert!(call_of(&[Some(ONE)], told()).await.contains(&carried));
    assert!(call_of(&[Some(ONE), Some(ONE)], told()).await.contains(&carried), "all of it under one trace");
    for (usages, traces) in [
        (&[Some(ONE), Some(OTHER)][..], told()),
        (&[Some(ONE), None], told()),
        (&[None], told()),
        (&[Some(ONE)], None),
        (&[Some("no\r\nx-trace: injected")], told()),
    ] {
        let head = call_of(usages, traces).await;
        assert!(!head.contains("traceparent") && !head.contains("injected"), "{usages:?}: {head}");
    }
}
