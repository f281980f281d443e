//! D8: whatever a server does, each call ends in the right outcome, once, within its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::aws_wire::{SHORT, request, server};

async fn outcome(endpoint: &str) -> Outcome {
    call(endpoint, AMPLE).await.outcome
}

/// What Microsoft would answer: every event taken.
fn all_taken(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let result = |event: &Value| {
        let mut event = event.clone();
        event["status"] = json!("Accepted");
        event
    };
    let result: Vec<Value> = body["request"].as_array().expect("events").iter().map(result).collect();
    json!({ "count": result.len(), "result": result }).to_string()
}

#[tokio::test]
async fn d4_a_call_on_the_wire() {
    let (endpoint, _) = server(|mut stream| async move {
        let (head, body) = request(&mut stream).await;
        assert!(head.starts_with("post /api/batchusageevent?api-version=2018-08-31 http/1.1\r\n"), "{head}");
        for line in [
            "content-type: application/json",
            "authorization: bearer a-token",
            "x-ms-requestid: ",
            "x-ms-correlationid: ",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
        let begins = r#"{"request":[{"resourceId":"11112222-3333-4444-5555-000000000001","quantity":7.5,"dimension":"cores","effectiveStartTime":"2024-09-18T10:00:00Z","planId":"gold"},"#;
        assert!(body.starts_with(begins.as_bytes()), "{}", String::from_utf8_lossy(&body));
        let answer = http("200 OK", "x-ms-requestid: r-1\r\nx-ms-correlationid: c-1\r\n", &all_taken(&body));
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let answer = call(&endpoint, AMPLE).await;
    assert_eq!((answer.outcome, answer.request_id.as_deref()), (Outcome::Accepted, Some("r-1/c-1")));
}

#[tokio::test]
async fn d8_a_body_that_is_no_answer_is_unrecognised() {
    for (body, code) in [
        ("", "empty_body"),
        ("<!doctype html><title>Sign in to your account</title>", "not_json"),
        ("\u{1}\u{2}garbage\0", "not_json"),
        (r#"{"result":[{"status":"Acce"#, "not_json"),
        (r#"{"ok":true}"#, "no_result"),
    ] {
        let (endpoint, _) = saying(http("200 OK", "", body)).await;
        assert_eq!(outcome(&endpoint).await, unrecognised(code), "{body:?}");
    }
}

#[tokio::test]
async fn d8_a_truncated_body_and_what_is_not_http_are_unrecognised() {
    for (answer, code) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"result\":[", "truncated"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"result\":[\r\nzz", "truncated"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "not_http"),
    ] {
        let (endpoint, _) = saying(answer).await;
        assert_eq!(outcome(&endpoint).await, unrecognised(code), "{answer:?}");
    }
}

#[tokio::test]
async fn d8_a_body_of_a_gigabyte_is_not_read() {
    const GIGABYTE: u64 = 1 << 30;
    let written = Arc::new(AtomicU64::new(0));
    let writer = Arc::clone(&written);
    let (endpoint, _) = server(move |mut stream| {
        let written = Arc::clone(&writer);
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let chunk = vec![b'x'; 1 << 16];
            while written.load(Ordering::SeqCst) < GIGABYTE && stream.write_all(&chunk).await.is_ok() {
                written.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    assert_eq!(outcome(&endpoint).await, unrecognised("body_too_large"));
    let written = written.load(Ordering::SeqCst);
    assert!(written < 32 << 20, "{written} bytes were taken");
}

#[tokio::test]
async fn d8_a_slow_drip_and_silence_end_with_the_timeout_and_keep_our_own_ids() {
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", ""] {
        let (endpoint, calls) = server(move |mut stream| async move {
            request(&mut stream).await;
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(if head.is_empty() { b"" } else { b"x" }).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let begun = Instant::now();
        let answer = call(&endpoint, SHORT).await;
        assert_eq!(answer.outcome, unknown("timeout"));
        assert_eq!(answer.http_status, (!head.is_empty()).then_some(200));
        assert_eq!(answer.request_id.is_some(), head.is_empty(), "{answer:?}");
        assert!(begun.elapsed() < AMPLE / 2, "{:?}", begun.elapsed());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
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
async fn d8_where_no_connection_comes_about_nothing_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let refused = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let (plain, _) = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    for (endpoint, code) in [
        (refused.as_str(), "connect"),
        ("https://nonexistent.invalid", "dns"),
        (plain.replace("http:", "https:").as_str(), "tls"),
    ] {
        let answer = call(endpoint, AMPLE).await;
        assert_eq!((answer.outcome, answer.request_id), (not_sent(code), None));
    }
}

#[tokio::test]
async fn d8_an_error_answer_ends_in_its_outcome_after_one_call() {
    let html = "<!doctype html><title>502 Bad Gateway</title>";
    let unavailable = |code: &str| Outcome::Unavailable { code: code.to_owned(), after: None };
    let refused = |code: &str| Outcome::BatchRefused { code: code.to_owned() };
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n";
    let throttled = |seconds| Outcome::Throttled { after: Some(Duration::from_secs(seconds)) };
    for (answer, expected) in [
        (http("502 Bad Gateway", "", html), unavailable("http_502")),
        (
            http("503 Later", "Retry-After: 5\r\n", ""),
            Outcome::Unavailable { code: "http_503".to_owned(), after: Some(Duration::from_secs(5)) },
        ),
        (http("408 Slow", "", ""), unavailable("http_408")),
        (http("429 Slow down", "Retry-After: 7\r\n", ""), throttled(7)),
        (http("429 Slow down", date, ""), throttled(30)),
        (
            http("403 No", "", r#"{"code":"Forbidden","message":"not authorized for this resource"}"#),
            doubtful("Forbidden"),
        ),
        (http("401 No", "WWW-Authenticate: Bearer\r\n", ""), unauthorised("http_401")),
        (
            http("400 No", "", r#"{"code":"BadArgument","details":[{"code":"InvalidDimension"}]}"#),
            refused("InvalidDimension"),
        ),
        (http("400 No", "", html), unrecognised("http_400")),
        (http("404 Where", "", ""), unrecognised("http_404")),
        (http("409 Conflict", "", r#"{"code":"Conflict"}"#), unrecognised("http_409")),
        (http("307 Elsewhere", "Location: http://127.0.0.1:9/\r\n", ""), unrecognised("http_307")),
    ] {
        let (endpoint, calls) = saying(answer).await;
        assert_eq!(outcome(&endpoint).await, expected);
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{expected:?}: never again by itself");
    }
}
