//! D9 and D10: tokens are fetched at send time, once for all, kept until refused, and never in anybody else's name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use simulator::AzureClient;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::aws_wire::{SHORT, request, server};

/// The answer to the first of [`parcels`].
const TAKEN: &str = r#"{"count":1,"result":[{"status":"Accepted","resourceId":"11112222-3333-4444-5555-000000000001","dimension":"cores","effectiveStartTime":"2024-09-18T10:00:00","quantity":7.5}]}"#;

/// A token endpoint that counts its answers and names them `token-1`, `token-2`, …
async fn numbered(life: &'static str) -> (String, Arc<AtomicUsize>) {
    let issued = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&issued);
    let (url, _) = server(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let (head, body) = request(&mut stream).await;
            assert!(head.starts_with("post /contoso.example/oauth2/token http/1.1\r\n"), "{head}");
            assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
            let form = String::from_utf8(body).expect("a form");
            assert!(form.contains("&resource=20e940b3-4c77-4b0b-9a53-9e16a1b010a7"), "{form}");
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let token = format!(r#"{{"access_token":"token-{number}","expires_in":{life}}}"#);
            let _ = stream.write_all(http("200 OK", "", &token).as_bytes()).await;
        }
    })
    .await;
    (url, issued)
}

/// What eight calls at once come to, which is the same for all.
async fn eight_at_once(azure: Azure) -> Outcome {
    let azure = Arc::new(azure);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let azure = Arc::clone(&azure);
            tokio::spawn(async move { submit(&azure, &parcels(&azure, 1)).await.remove(0) })
        })
        .collect();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    outcomes.dedup();
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.remove(0)
}

#[tokio::test]
async fn d9_eight_calls_at_once_fetch_one_token() {
    let (endpoint, _) = saying(http("200 OK", "", r#"{"result":[]}"#)).await;
    let (tokens, issued) = numbered("3599").await;
    assert_eq!(eight_at_once(azure(&endpoint, &tokens, &json!({}))).await, unknown("not_mentioned"));
    assert_eq!(issued.load(Ordering::SeqCst), 1, "one for all");
}

#[tokio::test]
async fn d9_eight_calls_at_once_are_refused_a_token_once() {
    let (endpoint, calls) = saying(http("200 OK", "", "")).await;
    let (tokens, asked) = saying(http("401 No", "", r#"{"error":"invalid_client","error_codes":[7000222]}"#)).await;
    let outcome = eight_at_once(azure(&endpoint, &tokens, &json!({}))).await;
    assert_eq!(outcome, unauthorised("invalid_client.AADSTS7000222"));
    assert_eq!((asked.load(Ordering::SeqCst), calls.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn d9_a_refused_token_is_dropped_and_another_fetched_for_the_next_call() {
    for (status, expected) in [("401 Unauthorized", unauthorised("Denied")), ("403 Forbidden", doubtful("Denied"))] {
        let (endpoint, calls) = server(move |mut stream| async move {
            let (head, _) = request(&mut stream).await;
            let answer = if head.contains("bearer token-1\r") {
                http(status, "", r#"{"code":"Denied"}"#)
            } else {
                http("200 OK", "", TAKEN)
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        let (tokens, issued) = numbered("3599").await;
        let azure = azure(&endpoint, &tokens, &json!({}));
        let parcels = parcels(&azure, 1);
        assert_eq!(submit(&azure, &parcels).await, [expected]);
        assert_eq!(calls.load(Ordering::SeqCst), 1, "not again within the call");
        for _ in 0..2 {
            assert_eq!(submit(&azure, &parcels).await, [Outcome::Accepted]);
        }
        assert_eq!(issued.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn d9_a_token_that_has_ended_is_fetched_anew() {
    let (endpoint, _) = saying(http("200 OK", "", TAKEN)).await;
    let (tokens, issued) = numbered("\"0\"").await;
    let azure = azure(&endpoint, &tokens, &json!({}));
    for _ in 0..3 {
        assert_eq!(submit(&azure, &parcels(&azure, 1)).await, [Outcome::Accepted]);
    }
    assert_eq!(issued.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn d9_a_secret_that_was_rotated_is_unauthorised_until_it_is_right_again() {
    let running = simulator().await;
    let azure = azure(&running.url(), &running.url(), &json!({}));
    let secret = |secret: &str| {
        let mut settings = running.settings();
        let client = AzureClient { tenant: Some("contoso.example".to_owned()), secret: secret.to_owned() };
        settings.azure.clients = [("app-test".to_owned(), client)].into();
        running.set_settings(settings);
    };
    let parcels = parcels(&azure, 3);
    secret("a-secret-that-must-not-leak");
    assert_eq!(submit(&azure, &parcels[..1]).await, [Outcome::Accepted]);
    secret("rotated");
    assert_eq!(submit(&azure, &parcels[1..2]).await, [unauthorised("Unauthorized")], "the token at hand is refused");
    assert_eq!(submit(&azure, &parcels[1..2]).await, [unauthorised("invalid_client.AADSTS7000215")]);
    secret("a-secret-that-must-not-leak");
    assert_eq!(submit(&azure, &parcels[1..2]).await, [Outcome::Accepted]);
    let mut settings = running.settings();
    settings.azure.offer_clients = Some(["another-app".to_owned()].into());
    running.set_settings(settings);
    let answer = azure.submit(&parcels[2..], AMPLE).await.remove(0);
    assert_eq!((answer.outcome, answer.http_status), (doubtful("Forbidden"), Some(403)), "valid, but not the offer's");
    assert_eq!(running.record().len(), 2);
}

#[tokio::test]
async fn d9_a_managed_identity_sends_without_a_secret() {
    let running = simulator().await;
    let settings =
        json!({ "endpoint": running.url(), "credentials": "managed_identity", "imds_endpoint": running.url() });
    let azure = Azure::open(&settings).expect("settings");
    assert_eq!(submit(&azure, &parcels(&azure, 1)).await, [Outcome::Accepted]);
    assert_eq!(running.calls()[0].access_key, "managed-identity");
}

#[tokio::test]
async fn d10_without_credentials_no_call_is_made_and_nothing_accepted() {
    let (tokens, asked) = saying(http("200 OK", "", r#"{"access_token":"x"}"#)).await;
    let (endpoint, calls) = saying(http("200 OK", "", TAKEN)).await;
    let settings = json!({ "endpoint": endpoint, "token_endpoint": tokens, "profile": "no_such_profile" });
    let azure = Azure::open(&settings).expect("settings");
    assert_eq!(submit(&azure, &parcels(&azure, 2)).await, vec![no_credentials("credentials_not_loaded"); 2]);
    assert_eq!((asked.load(Ordering::SeqCst), calls.load(Ordering::SeqCst)), (0, 0));
    assert!(azure.submit(&[], AMPLE).await.is_empty());
}

#[tokio::test]
async fn d8_a_token_endpoint_in_trouble_makes_no_call() {
    let (endpoint, calls) = saying(http("200 OK", "", TAKEN)).await;
    let (silent, _) = server(|mut stream| async move {
        request(&mut stream).await;
        tokio::time::sleep(AMPLE).await;
    })
    .await;
    for (tokens, code) in [
        (saying(http("200 OK", "", "<html>sign in</html>")).await.0, "token_not_json"),
        (saying(http("200 OK", "", "")).await.0, "token_not_json"),
        (saying(http("503 Later", "", "")).await.0, "token_http_503"),
        (saying(http("429 Slow", "Retry-After: 3\r\n", "")).await.0, "token_http_429"),
        (saying("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{").await.0, "token_body_truncated"),
        (saying(http("200 OK", "", &"x".repeat(2 << 20))).await.0, "token_body_toolarge"),
        (saying("").await.0, "token_reset"),
        ("https://nonexistent.invalid".to_owned(), "token_dns"),
    ] {
        let azure = azure(&endpoint, &tokens, &json!({}));
        assert_eq!(submit(&azure, &parcels(&azure, 1)).await, [no_credentials(code)]);
    }
    let azure = azure(&endpoint, &silent, &json!({}));
    let answers = azure.submit(&parcels(&azure, 1), SHORT).await;
    assert_eq!(answers[0].outcome, no_credentials("token_timeout"), "bounded by the call's own time");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}
