//! The admin API.

use serde_json::{Value, json};

use super::{admin, noon, send, split, start};

#[tokio::test]
async fn record_and_totals_are_filtered_and_paged() {
    let running = start().await;
    for n in 0..5 {
        send(&running, &format!("d{}", n % 2), 10 + n).await.unwrap();
    }
    send(&running, "users", 3).await.unwrap();
    let totals = admin(&running, "GET", "record/totals", "").await.json();
    assert_eq!((totals["records"].as_u64(), totals["quantity"].as_str()), (Some(3), Some("24")));
    assert_eq!(totals["duplicates_refused"], 3);
    let page = admin(&running, "GET", "record?limit=2", "").await.json();
    assert_eq!((page["records"].as_array().unwrap().len(), page["next_after"].as_u64()), (2, Some(2)));
    let page = admin(&running, "GET", "record?limit=2&after=2", "").await.json();
    assert_eq!((page["records"][0]["dimension"].as_str(), &page["next_after"]), (Some("users"), &Value::Null));
    let page = admin(&running, "GET", "record?dimension=d1&customer=111122223333&product=prod-1", "").await.json();
    let record = &page["records"][0];
    assert_eq!((record["quantity"].as_str(), record["duplicates_refused"].as_u64()), (Some("11"), Some(1)));
    assert_eq!(record["hour"], "2026-07-22T11:00:00Z");
    assert_eq!(admin(&running, "GET", "record/totals?customer=nobody", "").await.json()["records"], 0);
    let refused = admin(&running, "GET", "record?costumer=x", "").await;
    assert!(refused.status == 400 && refused.json()["error"].is_string());
}

#[tokio::test]
async fn calls_tell_what_was_answered() {
    let running = start().await;
    send(&running, "cores", 1).await.unwrap();
    send(&running, "cores", 2).await.unwrap();
    let calls = admin(&running, "GET", "calls?after=1", "").await.json();
    let call = &calls["calls"][0];
    assert_eq!((call["id"].as_u64(), call["operation"].as_str()), (Some(2), Some("BatchMeterUsage")));
    assert_eq!(
        (call["records"][0]["result"].as_str(), call["delivery"].as_str()),
        (Some("DuplicateRecord"), Some("answered"))
    );
    assert_eq!(calls["counters"]["results"], json!({"DuplicateRecord": 1, "Success": 1}));
    let health = admin(&running, "GET", "health", "").await.json();
    assert_eq!(health, json!({"status": "ok", "now": noon(), "calls": 2, "accepted": 1}));
}

#[tokio::test]
async fn the_clock_is_moved_frozen_and_let_go() {
    let running = start().await;
    let set = async |body: &str| admin(&running, "PUT", "clock", body).await;
    let clock = set(r#"{"now": "2026-08-01T05:00:00Z", "frozen": true}"#).await.json();
    assert_eq!(clock, json!({"now": "2026-08-01T05:00:00Z", "frozen": true, "shift_seconds": null}));
    assert_eq!(set(r#"{"advance_seconds": 3600}"#).await.json()["now"], "2026-08-01T06:00:00Z");
    let refused = split(&send(&running, "cores", 1).await.unwrap());
    assert_eq!(refused.json()["__type"], "TimestampOutOfBoundsException");
    assert_eq!(set(r#"{"shift_seconds": -60}"#).await.json()["frozen"], false);
    let running_clock = set(r#"{"now": "2026-07-22T12:00:00Z", "frozen": false}"#).await.json();
    assert!(running_clock["now"].as_str().unwrap().starts_with("2026-07-22T12:00:0"));
    for body in ["{}", r#"{"now": "yesterday"}"#, r#"{"shift_seconds": 1, "frozen": true}"#, "not json"] {
        assert_eq!(set(body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn catalogue_and_settings_change_and_reset_brings_the_first_ones_back() {
    let running = start().await;
    assert_eq!(admin(&running, "PUT", "dimensions", r#"["users"]"#).await.status, 200);
    let refused = split(&send(&running, "cores", 1).await.unwrap());
    assert_eq!(refused.json()["__type"], "InvalidUsageDimensionException");
    admin(&running, "PUT", "dimensions", "null").await;
    admin(&running, "PUT", "subscriptions", "[]").await;
    let answer = split(&send(&running, "cores", 1).await.unwrap()).json();
    assert_eq!(answer["Results"][0]["Status"], "CustomerNotSubscribed");
    let rate = r#"{"aws": {"rate": {"calls_per_second": 0, "burst": 0}, "subscriptions": null}}"#;
    assert_eq!(admin(&running, "PUT", "settings", rate).await.json()["aws"]["rate"]["burst"], 0);
    assert_eq!(split(&send(&running, "cores", 1).await.unwrap()).json()["__type"], "ThrottlingException");
    assert_eq!(admin(&running, "PUT", "settings", r#"{"aws": {"rte": null}}"#).await.status, 400);
    assert_eq!(admin(&running, "POST", "reset", "").await.status, 200);
    assert!(running.calls().is_empty() && running.settings().aws.rate.is_none());
    assert_eq!(split(&send(&running, "cores", 1).await.unwrap()).status, 200);
}

#[tokio::test]
async fn faults_are_listed_with_their_strikes_and_refused_as_a_whole() {
    let running = start().await;
    let rules = r#"[{"kind": "status", "status": 503, "times": 1}, {"kind": "html", "match": {"min_records": 2}}]"#;
    assert_eq!(admin(&running, "POST", "faults", rules).await.status, 200);
    assert_eq!(split(&send(&running, "cores", 1).await.unwrap()).status, 503);
    assert_eq!(split(&send(&running, "cores", 1).await.unwrap()).status, 200);
    let listed = admin(&running, "GET", "faults", "").await.json();
    assert_eq!((&listed["faults"][0]["struck"], &listed["faults"][1]["struck"]), (&json!(1), &json!(0)));
    let half_wrong = r#"[{"kind": "empty"}, {"kind": "delay"}]"#;
    let refused = admin(&running, "POST", "faults", half_wrong).await;
    assert!(refused.status == 400 && refused.json()["error"].as_str().unwrap().contains("ms"));
    assert_eq!(admin(&running, "POST", "faults", r#"{"kind": "gremlins"}"#).await.status, 400);
    admin(&running, "DELETE", "faults", "").await;
    assert_eq!(admin(&running, "GET", "faults", "").await.json(), json!({"faults": []}));
}

#[tokio::test]
async fn unknown_paths_and_methods_say_so() {
    let running = start().await;
    assert_eq!(admin(&running, "GET", "nowhere", "").await.status, 404);
    assert_eq!(admin(&running, "PATCH", "record", "").await.status, 405);
    assert!(running.calls().is_empty(), "the admin API is no marketplace call");
}
