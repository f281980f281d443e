//! AWS over real sockets: whatever a server does, each call ends in the right outcome, once, within its time.
//! The servers here are a few lines of TCP each, so that they can do what no HTTP server would.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use marketplaces::aws::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use marketplaces::aws::{Aws, Credentials};
use marketplaces::{Frozen, Marketplace, OutgoingRecord, Record};
use remittance::{Answer, Outcome, Quantity};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// Ample: longer than anything here takes that is not meant to run into it.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);
pub(crate) const SHORT: Duration = Duration::from_millis(400);

/// A server on loopback that hands each connection to `each`; its address and the count of connections.
pub(crate) async fn server<F, Fut>(each: F) -> (String, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(each(stream));
        }
    });
    (format!("http://{address}"), count)
}

/// A server that reads each request and answers these bytes, then closes.
pub(crate) async fn saying(answer: impl Into<Vec<u8>>) -> (String, Arc<AtomicUsize>) {
    let answer: Arc<Vec<u8>> = Arc::new(answer.into());
    server(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

/// Reads one whole request: its head and its body.
pub(crate) async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
            if bytes.len() >= end + 4 + length {
                return (head, bytes[end + 4..].to_vec());
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return (String::new(), Vec::new());
        }
    }
}

pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

fn aws(endpoint: &str) -> Aws {
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let settings = json!({ "region": "us-east-1", "endpoint": endpoint });
    Aws::open_with(&settings, SharedCredentialsProvider::new(keys)).expect("settings")
}

fn parcels(aws: &Aws, count: u64) -> Vec<OutgoingRecord> {
    let parcel = |number: u64| {
        let identity = json!({ "product_code": "prod9", "customer_aws_account_id": format!("{number:012}") });
        let quantity = Quantity::from(7);
        let record = Record {
            identity: &identity,
            product: "cloud",
            dimension: "cores",
            hour: "2024-09-18T22:00:00Z".parse().expect("an hour"),
            ends: None,
            quantity,
            shares: &[],
            decimals: 0,
            idempotency_key: Uuid::nil(),
        };
        let Frozen { body, batch_group } = aws.freeze(&record).expect("freezes");
        OutgoingRecord { body, batch_group, quantity, idempotency_key: Uuid::nil() }
    };
    (1..=count).map(parcel).collect()
}

async fn call(endpoint: &str, timeout: Duration) -> Answer {
    let aws = aws(endpoint);
    let mut answers = aws.submit(&parcels(&aws, 2), timeout).await;
    assert!(answers.len() == 2 && answers[0] == answers[1], "{answers:?}");
    answers.remove(0)
}

async fn outcome(endpoint: &str) -> Outcome {
    call(endpoint, AMPLE).await.outcome
}

fn unrecognised(code: &str) -> Outcome {
    Outcome::Unrecognised { code: code.to_owned(), record_alone: false }
}

fn unknown(code: &str) -> Outcome {
    Outcome::Unknown { code: code.to_owned() }
}

fn not_sent(code: &str) -> Outcome {
    Outcome::NotSent { code: code.to_owned() }
}

/// What AWS would answer: every record taken.
fn all_taken(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let records = body["UsageRecords"].as_array().expect("records");
    let result = |record: &Value| {
        let receipt = format!("receipt-{}", record["CustomerAWSAccountId"].as_str().expect("an account"));
        json!({ "UsageRecord": record, "MeteringRecordId": receipt, "Status": "Success" })
    };
    let results: Vec<Value> = records.iter().rev().map(result).collect();
    json!({ "Results": results, "UnprocessedRecords": [] }).to_string()
}

#[tokio::test]
async fn d1_a_call_on_the_wire() {
    let (endpoint, _) = server(|mut stream| async move {
        let (head, body) = request(&mut stream).await;
        assert!(head.starts_with("post / http/1.1\r\n"), "{head}");
        for line in [
            "content-type: application/x-amz-json-1.1",
            "x-amz-target: awsmpmeteringservice.batchmeterusage",
            "authorization: aws4-hmac-sha256 credential=akidexample/",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
        assert!(body.starts_with(br#"{"ProductCode":"prod9","UsageRecords":[{"Timestamp":1726696800,"#));
        let answer = http("200 OK", "x-amzn-RequestId: 11-22\r\n", &all_taken(&body));
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let aws = aws(&endpoint);
    let answers = aws.submit(&parcels(&aws, 25), AMPLE).await;
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.outcome, Outcome::Accepted);
        assert_eq!(answer.receipt, Some(format!("receipt-{:012}", at + 1)), "by content, not by position");
        assert_eq!((answer.http_status, answer.request_id.as_deref()), (Some(200), Some("11-22")));
    }
}

#[tokio::test]
async fn d8_a_body_that_is_no_answer_is_unrecognised() {
    for (body, code) in [
        ("", "empty_body"),
        ("<!doctype html><title>Welcome to the hotel's network</title>", "not_json"),
        ("\u{1}\u{2}garbage\0", "not_json"),
        (r#"{"Results":[{"UsageRecord":{"Timest"#, "not_json"),
        (r#"{"ok":true}"#, "no_results"),
    ] {
        let (endpoint, _) = saying(http("200 OK", "", body)).await;
        assert_eq!(outcome(&endpoint).await, unrecognised(code), "{body:?}");
    }
}

#[tokio::test]
async fn d8_a_truncated_body_is_unrecognised() {
    let (endpoint, _) = saying("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"Results\":[").await;
    assert_eq!(outcome(&endpoint).await, unrecognised("truncated"));
    let (endpoint, _) = saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"Results\":\r\nzz").await;
    assert_eq!(outcome(&endpoint).await, unrecognised("truncated"));
}

#[tokio::test]
async fn d8_what_is_not_http_is_unrecognised() {
    let endless_head = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(4 << 20));
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 twohundred OK\r\n\r\n", &endless_head] {
        let (endpoint, _) = saying(answer).await;
        assert_eq!(outcome(&endpoint).await, unrecognised("not_http"), "{:.30}", answer);
    }
}

#[tokio::test]
async fn d8_a_body_of_a_gigabyte_is_not_read() {
    const GIGABYTE: u64 = 1 << 30;
    for framing in ["Content-Length: 1073741824\r\n\r\n", "\r\n"] {
        let written = Arc::new(AtomicU64::new(0));
        let writer = Arc::clone(&written);
        let (endpoint, _) = server(move |mut stream| {
            let written = Arc::clone(&writer);
            async move {
                request(&mut stream).await;
                let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}").as_bytes()).await;
                let chunk = vec![b'x'; 1 << 16];
                while written.load(Ordering::SeqCst) < GIGABYTE && stream.write_all(&chunk).await.is_ok() {
                    written.fetch_add(chunk.len() as u64, Ordering::SeqCst);
                }
            }
        })
        .await;
        assert_eq!(outcome(&endpoint).await, unrecognised("body_too_large"));
        // One megabyte was read; what else was written sits in the kernel's socket buffers.
        let written = written.load(Ordering::SeqCst);
        assert!(written < 32 << 20, "{written} bytes were taken");
    }
}

#[tokio::test]
async fn d8_a_slow_drip_ends_with_the_timeout() {
    for head in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"] {
        let (endpoint, _) = server(move |mut stream| async move {
            request(&mut stream).await;
            let _ = stream.write_all(head.as_bytes()).await;
            for byte in "HTTP/1.1 200 OK\r\nx: ".bytes().chain(std::iter::repeat(b'y')) {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let begun = Instant::now();
        let answer = call(&endpoint, SHORT).await;
        assert_eq!(answer.outcome, unknown("timeout"));
        assert_eq!(answer.http_status, (!head.is_empty()).then_some(200));
        assert!(begun.elapsed() < AMPLE / 2, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn d8_heard_and_never_answered_is_unknown() {
    let heard = |mut stream| async move {
        request(&mut stream).await;
        tokio::time::sleep(AMPLE).await;
    };
    let (endpoint, calls) = server(heard).await;
    assert_eq!(call(&endpoint, SHORT).await.outcome, unknown("timeout"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn d8_a_reset_is_unknown_before_and_after_the_request_was_read() {
    let (before, calls_before) = server(|stream| async move {
        let _ = stream.readable().await;
        let _ = stream.set_zero_linger();
    })
    .await;
    let (after, calls_after) = server(|mut stream| async move {
        request(&mut stream).await;
        let _ = stream.set_zero_linger();
    })
    .await;
    let (closed, calls_closed) = saying("").await;
    for (endpoint, calls) in [(before, calls_before), (after, calls_after), (closed, calls_closed)] {
        assert_eq!(outcome(&endpoint).await, unknown("reset"));
        assert_eq!(calls.load(Ordering::SeqCst), 1, "never again by itself");
    }
}

#[tokio::test]
async fn d8_a_refused_port_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    assert_eq!(outcome(&endpoint).await, not_sent("connect"));
}

#[tokio::test]
async fn d8_a_name_that_does_not_exist_is_not_sent() {
    assert_eq!(outcome("https://nonexistent.invalid").await, not_sent("dns"));
}

#[tokio::test]
async fn d8_a_failed_handshake_is_not_sent() {
    let (plain, _) = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let (closing, _) = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    for endpoint in [plain, closing] {
        assert_eq!(outcome(&endpoint.replace("http:", "https:")).await, not_sent("tls"));
    }
}

#[tokio::test]
async fn d8_a_handshake_that_hangs_is_not_sent() {
    let (silent, _) = server(|stream| async move {
        tokio::time::sleep(AMPLE).await;
        drop(stream);
    })
    .await;
    assert_eq!(outcome(&silent.replace("http:", "https:")).await, not_sent("connect_timeout"));
}

#[tokio::test]
async fn d8_an_error_answer_ends_in_its_outcome_after_one_call() {
    let html = "<!doctype html><title>500 Internal Server Error</title>";
    let xml = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>";
    let dimension = r#"{"__type":"InvalidUsageDimensionException","message":"no such dimension"}"#;
    let unavailable = |code: &str| Outcome::Unavailable { code: code.to_owned(), after: None };
    let throttled = |seconds| Outcome::Throttled { after: Some(Duration::from_secs(seconds)) };
    for (answer, expected) in [
        (http("500 Oops", "", html), unavailable("http_500")),
        (
            http("503 Later", "Retry-After: 5\r\n", ""),
            Outcome::Unavailable { code: "http_503".to_owned(), after: Some(Duration::from_secs(5)) },
        ),
        (http("429 Slow down", "Retry-After: 7\r\n", ""), throttled(7)),
        (http("400 No", "x-amzn-ErrorType: ThrottlingException\r\nRetry-After: 3\r\n", ""), throttled(3)),
        (http("403 No", "", xml), Outcome::Unauthorised { code: "SignatureDoesNotMatch".to_owned() }),
        (http("400 No", "", dimension), Outcome::BatchRefused { code: "InvalidUsageDimensionException".to_owned() }),
        (http("400 No", "", "what?"), unrecognised("http_400")),
    ] {
        let (endpoint, calls) = saying(answer).await;
        assert_eq!(outcome(&endpoint).await, expected);
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{expected:?}: never again by itself");
    }
}

#[tokio::test]
async fn d8_a_redirect_is_not_followed() {
    let (elsewhere, visits) = saying(http("200 OK", "", "{}")).await;
    let (endpoint, _) = saying(http("307 Elsewhere", &format!("Location: {elsewhere}/\r\n"), "")).await;
    assert_eq!(outcome(&endpoint).await, unrecognised("http_307"));
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn d8_a_connection_closed_between_calls_costs_nothing() {
    // Says keep-alive (by saying nothing) and closes all the same.
    let (endpoint, calls) = server(|mut stream| async move {
        let (_, body) = request(&mut stream).await;
        let _ = stream.write_all(http("200 OK", "", &all_taken(&body)).as_bytes()).await;
    })
    .await;
    let aws = aws(&endpoint);
    for round in 1..=3 {
        let answers = aws.submit(&parcels(&aws, 1), AMPLE).await;
        assert_eq!(answers[0].outcome, Outcome::Accepted, "round {round}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

/// Gives another key at each lookup: `AKID0`, `AKID1`, …
#[derive(Debug, Default)]
struct Rotating(AtomicUsize);

impl ProvideCredentials for Rotating {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        future::ProvideCredentials::ready(Ok(Credentials::new(format!("AKID{number}"), "secret", None, None, "test")))
    }
}

#[tokio::test]
async fn d9_refused_credentials_are_fetched_anew() {
    let (endpoint, calls) = server(|mut stream| async move {
        let (head, body) = request(&mut stream).await;
        let expired = http("400 Bad Request", "x-amzn-ErrorType: ExpiredTokenException\r\n", "{}");
        let taken = http("200 OK", "", &all_taken(&body));
        let answer = if head.contains("credential=akid0/") { expired } else { taken };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let settings = json!({ "region": "us-east-1", "endpoint": endpoint });
    let aws = Aws::open_with(&settings, SharedCredentialsProvider::new(Rotating::default())).expect("settings");
    let parcels = parcels(&aws, 1);
    let refused = aws.submit(&parcels, AMPLE).await.remove(0).outcome;
    assert_eq!(refused, Outcome::Unauthorised { code: "ExpiredTokenException".to_owned() });
    assert_eq!(calls.load(Ordering::SeqCst), 1, "not again within the call");
    for _ in 0..2 {
        assert_eq!(aws.submit(&parcels, AMPLE).await.remove(0).outcome, Outcome::Accepted);
    }
}

#[tokio::test]
async fn d10_a_profile_that_is_not_there_makes_no_call() {
    let (endpoint, calls) = saying(http("200 OK", "", "{}")).await;
    let settings = json!({ "region": "us-east-1", "endpoint": endpoint, "profile": "postmeter-no-such-profile" });
    let aws = Aws::open(&settings).expect("settings");
    let outcome = aws.submit(&parcels(&aws, 1), AMPLE).await.remove(0).outcome;
    assert!(matches!(outcome, Outcome::NoCredentials { .. }), "{outcome:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}
