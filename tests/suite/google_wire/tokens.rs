//! Tokens: by a key file and by the metadata server, fetched when they are needed, dropped when they are refused.

use std::path::{Path, PathBuf};

use serde_json::json;
use simulator::{FaultKind, FaultRule, Filter};

use super::*;

/// Made for tests; they open nothing.
const KEY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/marketplaces/src/google/testdata/service_account_key.json");
const PUBLIC: &str = include_str!("../../../crates/marketplaces/src/google/testdata/public_key.pem");
const ANOTHER: &str = include_str!("../../../crates/marketplaces/src/google/testdata/another_public_key.pem");

fn with_key(endpoint: &str, path: &Path) -> Google {
    let settings = json!({ "service_name": SERVICE, "endpoint": endpoint, "profile": "test" });
    Google::open_with_key_file(&settings, path).expect("settings")
}

#[tokio::test]
async fn d9_a_key_files_assertion_is_signed_and_gets_a_token() {
    let running = simulator(json!({ "public_key": PUBLIC })).await;
    let google = with_key(&running.url(), Path::new(KEY));
    assert_eq!(submit(&google, &[cores(&google, "project:acme")]).await, [Outcome::Accepted]);
    assert_eq!(asked(&running), ["token", "check", "report"]);
    assert_eq!(running.calls()[2].account, "meter@seller.iam.gserviceaccount.com");
}

#[tokio::test]
async fn d9_a_key_that_is_refused_stops_the_destination() {
    for settings in [
        json!({ "public_key": ANOTHER }),
        json!({ "service_accounts": ["other@seller.iam.gserviceaccount.com"] }),
        json!({ "token_error": "invalid_grant" }),
    ] {
        let running = simulator(settings).await;
        let google = with_key(&running.url(), Path::new(KEY));
        assert_eq!(submit(&google, &[cores(&google, "project:acme")]).await, [unauthorised("invalid_grant")]);
        assert_eq!(asked(&running), ["token"], "neither checked nor reported");
    }
}

#[tokio::test]
async fn d10_without_a_key_file_no_call_is_made_and_nothing_accepted() {
    let running = simulator(json!({})).await;
    let missing = with_key(&running.url(), &PathBuf::from("/nonexistent/key.json"));
    let unnamed = json!({ "service_name": SERVICE, "endpoint": running.url(), "profile": "no-such-profile" });
    for (google, code) in [(missing, "credentials_not_found"), (google_with(&unnamed), "credentials_not_configured")] {
        assert_eq!(submit(&google, &[cores(&google, "project:acme")]).await, [no_credentials(code)]);
    }
    assert!(running.calls().is_empty());
}

#[tokio::test]
async fn d9_a_refused_token_is_dropped_and_work_resumes_by_itself() {
    let running = simulator(json!({})).await;
    let google = google(&running.url());
    let parcels = [cores(&google, "project:acme")];
    let expired = FaultRule::new(FaultKind::RefuseRecord).error("UNAUTHENTICATED").status(401);
    running.add_fault(expired.matching(reports()).times(1)).expect("a fault");
    assert_eq!(submit(&google, &parcels).await, [unauthorised("UNAUTHENTICATED")]);
    assert_eq!(asked(&running), ["metadata_token", "check", "report"], "not again within the call");
    assert_eq!(submit(&google, &parcels).await, [Outcome::Accepted]);
    assert_eq!(asked(&running)[3..], ["metadata_token", "report"]);
    assert_eq!(running.totals(&Filter::default()).records, 1);
}

#[tokio::test]
async fn d9_a_token_near_its_end_is_renewed_before_it_fails() {
    let running = simulator(json!({ "token_lifetime_seconds": 60 })).await;
    let google = google(&running.url());
    let parcels = [cores(&google, "project:acme")];
    for _ in 0..2 {
        assert_eq!(submit(&google, &parcels).await, [Outcome::Accepted]);
    }
    assert_eq!(asked(&running), ["metadata_token", "check", "report", "metadata_token", "report"]);
    // It cannot be renewed now; the one at hand is still good.
    running.add_fault(FaultRule::new(FaultKind::Status).status(500).times(1)).expect("a fault");
    assert_eq!(submit(&google, &parcels).await, [Outcome::Accepted]);
}

#[tokio::test]
async fn d9_many_calls_at_once_fetch_one_token() {
    let running = simulator(json!({})).await;
    let google = google(&running.url());
    let parcels: Vec<[OutgoingRecord; 1]> =
        (0..8).map(|number| [cores(&google, &format!("project:n{number}"))]).collect();
    let calls = parcels.iter().map(|parcels| submit(&google, parcels));
    let outcomes = futures_util::future::join_all(calls).await;
    assert!(outcomes.iter().all(|outcome| *outcome == [Outcome::Accepted]), "{outcomes:?}");
    assert_eq!(asked(&running).iter().filter(|operation| *operation == "metadata_token").count(), 1);
}

#[tokio::test]
async fn d8_a_token_endpoint_that_does_not_work_is_no_credentials_and_nothing_was_sent() {
    let running = simulator(json!({})).await;
    let google = google(&running.url());
    let parcels = [cores(&google, "project:acme")];
    for (fault, code) in [
        (FaultRule::new(FaultKind::Status).status(503), "credentials_http_503"),
        (FaultRule::new(FaultKind::LoseRequest), "credentials_reset"),
        (FaultRule::new(FaultKind::LoseResponse), "credentials_reset"),
        (FaultRule::new(FaultKind::Truncated), "credentials_no_answer"),
        (FaultRule::new(FaultKind::Html), "credentials_no_answer"),
    ] {
        running.add_fault(fault.times(1)).expect("a fault");
        assert_eq!(submit(&google, &parcels).await, [no_credentials(code)]);
    }
    let with_key = with_key(&running.url(), Path::new(KEY));
    for (kind, code) in [
        (FaultKind::Html, "credentials_no_answer"),
        (FaultKind::Empty, "credentials_no_answer"),
        (FaultKind::Garbage, "credentials_no_answer"),
        (FaultKind::Oversized, "credentials_no_answer"),
        (FaultKind::Reset, "credentials_reset"),
    ] {
        running.add_fault(FaultRule::new(kind).times(1)).expect("a fault");
        assert_eq!(submit(&with_key, &parcels).await, [no_credentials(code)], "{kind:?}");
    }
    assert!(running.calls().iter().all(|call| call.operation != "report" && call.operation != "check"));
}

#[tokio::test]
async fn d8_a_token_endpoint_that_hangs_is_bounded() {
    let running = simulator(json!({})).await;
    let settings = json!({
        "service_name": SERVICE,
        "endpoint": running.url(),
        "credentials": "metadata",
        "credentials_timeout_seconds": 1,
    });
    let google = google_with(&settings);
    running.add_fault(FaultRule::new(FaultKind::Delay).ms(60_000).times(1)).expect("a fault");
    let begun = std::time::Instant::now();
    assert_eq!(submit(&google, &[cores(&google, "project:acme")]).await, [no_credentials("credentials_timeout")]);
    assert!(begun.elapsed() < AMPLE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn i6_tokens_and_keys_appear_in_no_answer() {
    let running = simulator(json!({})).await;
    let google = with_key(&running.url(), Path::new(KEY));
    let parcels = [cores(&google, "project:acme")];
    let refused = FaultRule::new(FaultKind::RefuseRecord).error("PERMISSION_DENIED").status(403);
    running.add_fault(refused.matching(reports())).expect("a fault");
    let answers = google.submit(&parcels, AMPLE).await;
    let printed = format!("{answers:?} {google:?}");
    for secret in ["ya29", "BEGIN PRIVATE", "eyJ"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
