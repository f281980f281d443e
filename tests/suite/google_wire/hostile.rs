//! Servers of a few lines of TCP: whatever they do to a report or a check, the call ends in the right outcome, once,
//! within its time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::aws_wire::{http, request, saying, server};

const SHORT: Duration = Duration::from_millis(600);
const JSON: &str = "Content-Type: application/json\r\nConnection: close\r\n";

/// Which calls are met with hostility.
#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Check,
    Report,
}

/// A server that gives tokens and passes checks, and hands the victims' connections, unread, to `each`; its address
/// and the counts of checks and reports.
async fn hostile<F, Fut>(victim: Victim, each: F) -> (String, Arc<[AtomicUsize; 2]>)
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let (counters, each) = (Arc::clone(&counts), Arc::new(each));
    let (endpoint, _) = server(move |mut stream| {
        let (counters, each) = (Arc::clone(&counters), Arc::clone(&each));
        async move {
            let line = first_line(&stream).await;
            let called = match () {
                () if line.contains(":check ") => Some(Victim::Check),
                () if line.contains(":report ") => Some(Victim::Report),
                () => None,
            };
            if let Some(called) = called {
                counters[usize::from(called == Victim::Report)].fetch_add(1, Ordering::SeqCst);
            }
            if called == Some(victim) {
                return each(stream).await;
            }
            let answer = match called {
                Some(_) => {
                    request(&mut stream).await;
                    http("200 OK", JSON, "{}")
                }
                None => {
                    // A GET: a head without a body, in one piece.
                    let _ = stream.read(&mut [0; 4096]).await;
                    let token = r#"{"access_token":"ya29.test","expires_in":3600}"#;
                    http("200 OK", &format!("{JSON}Metadata-Flavor: Google\r\n"), token)
                }
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (endpoint, counts)
}

/// The request's first line, without taking it from the connection.
async fn first_line(stream: &TcpStream) -> String {
    let mut bytes = [0; 256];
    // the test that the peer belongs to has a limit of its own
    loop {
        let length = stream.peek(&mut bytes).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if length == 0 || text.contains("\r\n") || length == bytes.len() {
            return text.lines().next().unwrap_or_default().to_owned();
        }
        tokio::task::yield_now().await;
    }
}

/// A server that answers the victims with these bytes, then closes.
async fn answering(victim: Victim, answer: impl Into<Vec<u8>>) -> (String, Arc<[AtomicUsize; 2]>) {
    let answer: Arc<Vec<u8>> = Arc::new(answer.into());
    hostile(victim, move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

async fn outcome_within(endpoint: &str, timeout: Duration) -> Outcome {
    let google = google(endpoint);
    let parcels = [cores(&google, "project:a"), parcel(&google, "project:a", "gb", "1", 0)];
    let mut answers = google.submit(&parcels, timeout).await;
    assert!(answers.len() == 2 && answers[0] == answers[1], "{answers:?}");
    answers.remove(0).outcome
}

async fn outcome(endpoint: &str) -> Outcome {
    outcome_within(endpoint, AMPLE).await
}

fn unrecognised(code: &str) -> Outcome {
    Outcome::Unrecognised { code: code.to_owned(), record_alone: false }
}

fn reported(counts: &[AtomicUsize; 2]) -> usize {
    counts[1].load(Ordering::SeqCst)
}

#[tokio::test]
async fn d6_a_report_on_the_wire() {
    let (endpoint, counts) = hostile(Victim::Report, |mut stream| async move {
        let (head, body) = request(&mut stream).await;
        assert!(head.starts_with("post /v1/services/db.example.com:report http/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: bearer ya29.test"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let body = String::from_utf8(body).expect("text");
        assert!(body.starts_with(r#"{"operations":[{"operationId":""#), "{body}");
        assert!(body.contains(r#""metricValues":[{"int64Value":"7"}]"#), "{body}");
        let _ = stream.write_all(http("200 OK", JSON, "{}").as_bytes()).await;
    })
    .await;
    assert_eq!(outcome(&endpoint).await, Outcome::Accepted);
    assert_eq!(reported(&counts), 1);
}

#[tokio::test]
async fn d8_a_body_that_is_no_answer_is_unrecognised() {
    for (body, code) in [
        ("", "empty_body"),
        ("<!doctype html><title>Welcome to the hotel's network</title>", "not_json"),
        ("\u{1}\u{2}garbage\0", "not_json"),
        (r#"{"reportErrors":[{"operationId"#, "not_json"),
        (r#"{"ok":true}"#, "no_report"),
    ] {
        let (endpoint, _) = answering(Victim::Report, http("200 OK", JSON, body)).await;
        assert_eq!(outcome(&endpoint).await, unrecognised(code), "{body:?}");
    }
    let (endpoint, _) = answering(Victim::Report, http("200 OK", "Content-Type: text/plain\r\n", "{}")).await;
    assert_eq!(outcome(&endpoint).await, unrecognised("not_json"));
}

#[tokio::test]
async fn d8_a_truncated_body_and_what_is_not_http_are_unrecognised() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    for (answer, code) in [
        (format!("{head}Content-Length: 5000\r\n\r\n{{\"serviceConfigId\":"), "truncated"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\nzz"), "truncated"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "not_http"),
    ] {
        let (endpoint, _) = answering(Victim::Report, answer).await;
        assert_eq!(outcome(&endpoint).await, unrecognised(code));
    }
}

#[tokio::test]
async fn d8_a_body_of_a_gigabyte_is_not_read() {
    for victim in [Victim::Report, Victim::Check] {
        let written = Arc::new(AtomicU64::new(0));
        let writer = Arc::clone(&written);
        let (endpoint, _) = hostile(victim, move |mut stream| {
            let written = Arc::clone(&writer);
            async move {
                request(&mut stream).await;
                let head = format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: 1073741824\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let chunk = vec![b' '; 1 << 16];
                while written.load(Ordering::SeqCst) < 1 << 30 && stream.write_all(&chunk).await.is_ok() {
                    written.fetch_add(chunk.len() as u64, Ordering::SeqCst);
                }
            }
        })
        .await;
        let expected =
            if victim == Victim::Report { unrecognised("body_too_large") } else { not_sent("check_no_answer") };
        assert_eq!(outcome(&endpoint).await, expected);
        // One megabyte was read; what else was written sits in the kernel's socket buffers.
        let written = written.load(Ordering::SeqCst);
        assert!(written < 32 << 20, "{written} bytes were taken");
    }
}

#[tokio::test]
async fn d8_a_slow_drip_and_silence_end_with_the_timeout() {
    for (victim, expected) in [(Victim::Report, unknown("timeout")), (Victim::Check, not_sent("check_timeout"))] {
        for head in ["", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"] {
            let (endpoint, counts) = hostile(victim, move |mut stream| async move {
                request(&mut stream).await;
                let _ = stream.write_all(head.as_bytes()).await;
                while !head.is_empty() && stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                tokio::time::sleep(AMPLE).await;
            })
            .await;
            let begun = Instant::now();
            assert_eq!(outcome_within(&endpoint, SHORT).await, expected);
            assert!(begun.elapsed() < AMPLE / 2, "{:?}", begun.elapsed());
            assert_eq!(reported(&counts), usize::from(victim == Victim::Report));
        }
    }
}

#[tokio::test]
async fn d8_a_reset_is_unknown_before_and_after_the_report_was_read() {
    let (before, counts_before) = hostile(Victim::Report, |stream| async move {
        let _ = stream.set_zero_linger();
    })
    .await;
    let (after, counts_after) = hostile(Victim::Report, |mut stream| async move {
        request(&mut stream).await;
        let _ = stream.set_zero_linger();
    })
    .await;
    let (closed, counts_closed) = answering(Victim::Report, "").await;
    for (endpoint, counts) in [(before, counts_before), (after, counts_after), (closed, counts_closed)] {
        assert_eq!(outcome(&endpoint).await, unknown("reset"));
        assert_eq!(reported(&counts), 1, "never again by itself");
    }
}

#[tokio::test]
async fn d8_whatever_happens_to_a_check_nothing_was_sent() {
    for (answer, code) in [
        ("".to_owned(), "check_reset"),
        (http("200 OK", JSON, "<html>"), "check_no_answer"),
        (http("200 OK", "", "{}"), "check_no_answer"),
        (http("500 Oops", "", ""), "check_http_500"),
        (http("302 Elsewhere", "Location: /\r\n", ""), "check_http_302"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{".to_owned(), "check_no_answer"),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "check_not_http"),
    ] {
        let (endpoint, counts) = answering(Victim::Check, answer).await;
        assert_eq!(outcome(&endpoint).await, not_sent(code));
        let checks = counts[0].load(Ordering::SeqCst);
        assert_eq!((checks, reported(&counts)), (1, 0), "{code}: one fault is enough, and no report");
    }
    for (status, expected) in [
        ("401 No", unauthorised("http_401")),
        ("403 No", doubtful("http_403")),
        ("404 No", doubtful("http_404")),
        ("429 Slow", Outcome::Throttled { after: Some(Duration::from_secs(7)) }),
    ] {
        let (endpoint, counts) = answering(Victim::Check, http(status, "Retry-After: 7\r\n", "")).await;
        assert_eq!(outcome(&endpoint).await, expected);
        assert_eq!(reported(&counts), 0);
    }
}

#[tokio::test]
async fn d8_an_error_answer_ends_in_its_outcome_after_one_report() {
    let error = |status: &str| format!(r#"{{"error":{{"code":1,"message":"no","status":"{status}"}}}}"#);
    let unavailable = |code: &str| Outcome::Unavailable { code: code.to_owned(), after: None };
    for (answer, expected) in [
        (http("500 Oops", "", "<html>"), unavailable("http_500")),
        (http("503 Later", JSON, &error("UNAVAILABLE")), unavailable("UNAVAILABLE")),
        (http("429 Slow", "Retry-After: 7\r\n", ""), Outcome::Throttled { after: Some(Duration::from_secs(7)) }),
        (http("403 No", JSON, &error("PERMISSION_DENIED")), doubtful("PERMISSION_DENIED")),
        (
            http("400 No", JSON, &error("INVALID_ARGUMENT")),
            Outcome::BatchRefused { code: "INVALID_ARGUMENT".to_owned() },
        ),
        (http("400 No", "", "what?"), unrecognised("http_400")),
    ] {
        let (endpoint, counts) = answering(Victim::Report, answer).await;
        assert_eq!(outcome(&endpoint).await, expected);
        assert_eq!(reported(&counts), 1, "{expected:?}: never again by itself");
    }
}

#[tokio::test]
async fn d8_a_redirect_is_not_followed() {
    let (elsewhere, visits) = saying(http("200 OK", JSON, "{}")).await;
    let redirect = http("307 Elsewhere", &format!("Location: {elsewhere}/\r\n"), "");
    let (endpoint, _) = answering(Victim::Report, redirect).await;
    assert_eq!(outcome(&endpoint).await, unrecognised("http_307"));
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn d8_a_port_a_name_and_a_handshake_that_fail_are_not_sent() {
    let (tokens, _) = hostile(Victim::Report, |_| async {}).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let closed = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let (closing, _) = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    for (endpoint, code) in [
        (closed, "connect"),
        ("https://nonexistent.invalid".to_owned(), "dns"),
        (closing.replace("http:", "https:"), "tls"),
    ] {
        let settings = json!({
            "service_name": SERVICE,
            "endpoint": endpoint,
            "credentials": "metadata",
            "metadata_endpoint": tokens,
        });
        let google = google_with(&settings);
        assert_eq!(submit(&google, &[cores(&google, "project:a")]).await, [not_sent(code)], "{endpoint}");
    }
}
