//! What the usual build leaves out: spans over OTLP, errors to Sentry. `make features` builds a program with both and
//! runs these against real sockets.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::Uri;
use outbox::NewUsage;
use tests::{Stage, q, t};
use tokio::net::TcpListener;

use super::Telling;

/// Bodies of requests with their paths.
type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Something that takes whatever is sent.
async fn receiver() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let received = Received::default();
    let kept = Arc::clone(&received);
    let router = Router::new().fallback(async move |uri: Uri, body: Bytes| {
        kept.lock().unwrap().push((uri.path().to_owned(), body.to_vec()));
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, received)
}

fn holds(received: &Received, path: &str, wanted: &[&[u8]]) -> bool {
    let received = received.lock().unwrap();
    received.iter().any(|(at, body)| {
        at == path && wanted.iter().all(|wanted| body.windows(wanted.len()).any(|part| part == *wanted))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make features"]
async fn features_spans_of_fold_and_call_go_on_in_the_trace_of_the_usage() {
    let stage = Stage::new().await;
    let (address, received) = receiver().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let mut usage = NewUsage::new("s", "e", "acme", "db", "cores", q("1"), t("2024-09-18T10:10:00Z"));
    usage.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    stage.record_as(&usage).await;
    let url = format!("http://{address}/v1/traces");
    let worker = Telling::start(
        &stage.db.url(),
        &[("POSTMETER_TELEMETRY_OTLP_URL", &url), ("POSTMETER_TELEMETRY_TRACES", "true")],
    );
    tests::until_true(&stage.db.client, "select not exists (select from postmeter.outbox)").await;
    for time in ["2024-09-18T11:04:00Z", "2024-09-18T11:10:00Z"] {
        stage.at(time).await;
    }
    tests::until_true(&stage.db.client, "select exists (select from postmeter.delivery where status = 'accepted')")
        .await;
    // what is left is sent at the end
    worker.stop();
    let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    let parent = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
    for step in ["call", "fold"] {
        assert!(holds(&received, "/v1/traces", &[step.as_bytes(), &trace, &parent, b"postmeter"]), "{step}");
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make features"]
async fn features_an_error_goes_to_sentry_with_its_fields_and_without_secrets() {
    let stage = Stage::new().await;
    let (address, received) = receiver().await;
    stage.sql("update postmeter.destination set settings = settings - 'region'").await;
    let secret = "sesame-in-the-log";
    let dsn = format!("http://public@{address}/7");
    let worker =
        Telling::start(&stage.db.url(), &[("POSTMETER_TELEMETRY_SENTRY_DSN", &dsn), ("AWS_SECRET_ACCESS_KEY", secret)]);
    let is_told = || holds(&received, "/api/7/envelope/", &[b"cannot be served", b"destination"]);
    tests::wait_until("the error is sent", async || is_told()).await;
    worker.stop();
    assert!(!holds(&received, "/api/7/envelope/", &[secret.as_bytes()]));
}
