//! The rules, without a socket.

use axum::http::Request as HttpRequest;
use serde_json::{Value, json};

use super::*;
use crate::Settings;
use crate::calls::Delivery;
use crate::clock::Clock;
use crate::record::{Filter, Totals};

const SERVICE: &str = "db.example.com";
const TEN: &str = "2026-07-22T10:00:00Z";
const ELEVEN: &str = "2026-07-22T11:00:00Z";

/// A simulator without its socket, at noon less a quarter, with a token at hand.
struct Bench {
    shared: Shared,
    token: String,
}

impl Bench {
    fn new(google: Value) -> Bench {
        let settings = Settings::default().changed_by(json!({ "google": google })).unwrap();
        let shared = Shared::new(settings);
        let token = shared.lock().google.tokens.issue("meter@seller", Duration::from_secs(600));
        let bench = Bench { shared, token };
        bench.at("2026-07-22T11:45:00Z");
        bench
    }

    fn at(&self, now: &str) {
        self.shared.lock().clock = Clock::frozen_at(now.parse().unwrap());
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut request = HttpRequest::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut call = GoogleCall::read(Call::default(), &head, Some(body.as_bytes()));
        let mut state = self.shared.lock();
        let plan = state.faults.draw(&call.call.records);
        call.decide(&mut state, &plan.content);
        let (call, body) = call.into_answer();
        let status = call.status;
        state.calls.push(Call { delivery: Delivery::Answered, ..call }, 100);
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn send(&self, method: &str, body: &Value) -> (u16, Value) {
        let authorization = format!("Bearer {}", self.token);
        let path = format!("/v1/services/{SERVICE}:{method}");
        self.call("POST", &path, &[("authorization", &authorization)], &body.to_string())
    }

    /// The codes of a report's errors, in the order of operations.
    fn errors(&self, operations: &[Value]) -> Vec<i64> {
        let (status, body) = self.send("report", &json!({ "operations": operations }));
        assert_eq!(status, 200, "{body}");
        let errors = body["reportErrors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["status"]["code"].as_i64().unwrap()).collect()
    }

    /// The word of a report refused as a whole, with the proof that nothing was stored.
    fn refused(&self, operations: &[Value]) -> String {
        let before = self.totals().records;
        let (status, body) = self.send("report", &json!({ "operations": operations }));
        assert_ne!(status, 200, "{body}");
        assert_eq!((body["error"]["code"].as_u64(), self.totals().records), (Some(u64::from(status)), before));
        body["error"]["status"].as_str().unwrap().to_owned()
    }

    fn totals(&self) -> Totals {
        self.shared.lock().record.totals(&Filter::default())
    }
}

fn operation(id: &str, hour: &str, quantity: i64) -> Value {
    let start: Timestamp = hour.parse().unwrap();
    json!({
        "operationId": id,
        "operationName": "report",
        "consumerId": "project:acme",
        "startTime": start.to_string(),
        "endTime": (start + jiff::SignedDuration::from_hours(1)).to_string(),
        "metricValueSets": [metric("cores", json!({ "int64Value": quantity.to_string() }))],
    })
}

fn metric(name: &str, value: Value) -> Value {
    json!({ "metricName": format!("{SERVICE}/{name}"), "metricValues": [value] })
}

fn with(mut operation: Value, field: &str, value: Value) -> Value {
    operation[field] = value;
    operation
}

#[test]
fn d6_an_operation_is_taken_once_by_its_id() {
    let bench = Bench::new(json!({}));
    let first = operation("a", TEN, 7);
    assert!(bench.errors(std::slice::from_ref(&first)).is_empty());
    assert!(bench.errors(std::slice::from_ref(&first)).is_empty());
    let totals = bench.totals();
    assert_eq!((totals.records, totals.identical_resends, totals.quantity), (1, 1, Decimal::from(7)));
    assert!(bench.errors(&[operation("a", TEN, 8)]).is_empty(), "they do not say so");
    let totals = bench.totals();
    assert_eq!((totals.records, totals.duplicates_refused, totals.quantity), (1, 1, Decimal::from(7)));
}

#[test]
fn d6_the_same_window_under_another_id_is_billed_again_and_seen() {
    let bench = Bench::new(json!({}));
    assert!(bench.errors(&[operation("a", TEN, 7)]).is_empty());
    assert!(bench.errors(&[operation("b", TEN, 7)]).is_empty());
    let totals = bench.totals();
    assert_eq!((totals.records, totals.hours_under_several_keys, totals.quantity), (2, 1, Decimal::from(14)));
}

#[test]
fn d6_an_id_is_forgotten_after_the_memory_and_billed_again() {
    let bench = Bench::new(json!({ "max_age_minutes": 600 }));
    assert!(bench.errors(&[operation("a", TEN, 7)]).is_empty());
    bench.at("2026-07-22T12:44:59Z");
    assert!(bench.errors(&[operation("a", TEN, 7)]).is_empty());
    assert_eq!(bench.totals().records, 1);
    bench.at("2026-07-22T12:45:00Z");
    assert!(bench.errors(&[operation("a", TEN, 7)]).is_empty());
    assert_eq!((bench.totals().records, bench.totals().hours_under_several_keys), (2, 1));
}

#[test]
fn d6_how_repetitions_are_answered_is_a_setting() {
    let bench = Bench::new(json!({ "identical_resend": "already_exists", "changed_operation": "refuse" }));
    assert!(bench.errors(&[operation("a", TEN, 7)]).is_empty());
    assert_eq!(bench.errors(&[operation("a", TEN, 7)]), [6]);
    assert_eq!(bench.errors(&[operation("a", TEN, 8)]), [3]);
    assert_eq!(bench.errors(&[with(operation("a", TEN, 7), "consumerId", json!("project:other"))]), [3]);
    assert_eq!(bench.totals().records, 1);
}

#[test]
fn d6_errors_name_their_operations_and_the_rest_is_taken() {
    let consumers = json!({ "project:acme": "ACTIVE", "project:poor": "BILLING_DISABLED" });
    let bench = Bench::new(json!({ "consumers": consumers, "metrics": { "cores": "int64", "gb": "double" } }));
    let good = operation("good", TEN, 7);
    let poor = with(operation("poor", TEN, 7), "consumerId", json!("project:poor"));
    let stranger = with(operation("stranger", TEN, 7), "consumerId", json!("project:nobody"));
    let double = |name: &str| json!([metric(name, json!({ "doubleValue": 1.5 }))]);
    let typed = with(operation("typed", TEN, 7), "metricValueSets", double("cores"));
    let unknown = with(operation("unknown", TEN, 7), "metricValueSets", double("typo"));
    let gb = with(operation("gb", TEN, 7), "metricValueSets", double("gb"));
    assert_eq!(bench.errors(&[good, poor, stranger, typed, unknown, gb]), [7, 5, 3, 3]);
    assert_eq!(bench.totals().quantity.to_string(), "8.5");
}

#[test]
fn d6_windows_are_judged_by_their_end() {
    let bench = Bench::new(json!({}));
    let window = |id: &str, start: &str, end: &str| {
        with(with(operation(id, TEN, 1), "startTime", json!(start)), "endTime", json!(end))
    };
    assert_eq!(bench.errors(&[window("a", ELEVEN, TEN)]), [3]);
    assert_eq!(bench.errors(&[window("a", TEN, TEN)]), [3]);
    assert_eq!(bench.errors(&[operation("a", ELEVEN, 1)]), [3], "not over yet");
    bench.at("2026-07-22T12:00:00Z");
    assert!(bench.errors(&[operation("a", TEN, 1)]).is_empty(), "an hour to the second");
    bench.at("2026-07-22T12:00:01Z");
    assert_eq!(bench.errors(&[operation("b", TEN, 1)]), [3], "more than an hour");
    bench.at("2026-08-01T07:30:00Z");
    assert!(bench.errors(&[operation("july", "2026-08-01T06:00:00Z", 1)]).is_empty());
    assert_eq!(bench.errors(&[window("both", "2026-08-01T06:30:00Z", "2026-08-01T07:30:00Z")]), [3]);
}

#[test]
fn d6_a_malformed_request_refuses_all_of_it() {
    let bench = Bench::new(json!({}));
    let good = operation("a", TEN, 7);
    let number = json!([metric("cores", json!({ "int64Value": 7 }))]);
    let twice = json!([metric("cores", json!({ "int64Value": "7" })), metric("cores", json!({ "int64Value": "8" }))]);
    let both = json!([metric("cores", json!({ "int64Value": "7", "doubleValue": 7 }))]);
    let negative = json!([metric("cores", json!({ "int64Value": "-7" }))]);
    for bad in [
        with(good.clone(), "metricValueSets", number),
        with(good.clone(), "metricValueSets", twice),
        with(good.clone(), "metricValueSets", both),
        with(good.clone(), "metricValueSets", negative),
        with(good.clone(), "operationId", json!("")),
        with(good.clone(), "endTime", Value::Null),
        with(good.clone(), "endTime", json!("soon")),
        with(good.clone(), "quantity", json!(7)),
        with(good.clone(), "userLabels", json!({ "team": "x" })),
    ] {
        assert_eq!(bench.refused(&[operation("b", TEN, 1), bad.clone()]), "INVALID_ARGUMENT", "{bad}");
    }
    assert_eq!(bench.refused(&[good.clone(), good.clone()]), "INVALID_ARGUMENT");
    assert_eq!(bench.refused(&[]), "INVALID_ARGUMENT");
    let label = json!({ "cloudmarketplace.googleapis.com/resource_name": "vm" });
    assert!(bench.errors(&[with(good, "userLabels", label)]).is_empty());
}

#[test]
fn d6_a_check_tells_who_may_be_billed_and_takes_no_labels() {
    let consumers = json!({ "project:acme": "ACTIVE", "project:poor": "BILLING_DISABLED" });
    let bench = Bench::new(json!({ "consumers": consumers }));
    let check = |consumer: &str| {
        let operation = json!({ "operationId": "a", "operationName": "x", "consumerId": consumer, "startTime": TEN });
        let (status, body) = bench.send("check", &json!({ "operation": operation }));
        assert_eq!((status, body["operationId"].as_str()), (200, Some("a")));
        body["checkErrors"][0]["code"].as_str().unwrap_or("none").to_owned()
    };
    assert_eq!(
        [check("project:acme"), check("project:poor"), check("project:x")],
        ["none", "BILLING_DISABLED", "CONSUMER_INVALID"]
    );
    let labels = json!({ "cloudmarketplace.googleapis.com/resource_name": "vm" });
    let labelled = with(operation("a", TEN, 1), "userLabels", labels);
    assert_eq!(bench.send("check", &json!({ "operation": labelled })).0, 400);
    assert_eq!(bench.totals().records, 0, "a check stores nothing");
}

#[test]
fn d9_a_call_needs_a_token_that_was_issued_and_lasts() {
    let bench = Bench::new(json!({}));
    let path = format!("/v1/services/{SERVICE}:report");
    for headers in [&[][..], &[("authorization", "Bearer ya29.other")][..]] {
        let (status, body) = bench.call("POST", &path, headers, "{}");
        assert_eq!((status, body["error"]["status"].as_str()), (401, Some("UNAUTHENTICATED")));
    }
    let metadata = "/computeMetadata/v1/instance/service-accounts/default/token";
    assert_eq!(bench.call("GET", metadata, &[], "").0, 403);
    let (status, body) = bench.call("GET", metadata, &[("metadata-flavor", "Google")], "");
    assert_eq!((status, body["expires_in"].as_u64()), (200, Some(3600)));
    let short = Bench::new(json!({ "token_lifetime_seconds": 0 }));
    let token = short.call("GET", metadata, &[("metadata-flavor", "Google")], "").1["access_token"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    assert_eq!(short.call("POST", &path, &[("authorization", &bearer)], "{}").0, 401);
}

#[test]
fn d9_an_assertion_that_is_none_gets_no_token() {
    let bench = Bench::new(json!({}));
    let error = |form: &str| bench.call("POST", "/token", &[], form).1["error"].as_str().unwrap().to_owned();
    assert_eq!(error("grant_type=password"), "unsupported_grant_type");
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    for assertion in ["", "a.b", "a.b.c", "e30.e30.e30"] {
        assert_eq!(error(&format!("{grant}{assertion}")), "invalid_grant", "{assertion}");
    }
    let refusing = Bench::new(json!({ "token_error": "invalid_grant" }));
    let metadata = "/computeMetadata/v1/instance/service-accounts/default/token";
    assert_eq!(refusing.call("GET", metadata, &[("metadata-flavor", "Google")], "").0, 400);
}

#[test]
fn d6_a_service_that_is_not_known_and_a_rate_that_is_exceeded() {
    let bench = Bench::new(json!({ "services": ["other"] }));
    assert_eq!(bench.refused(&[operation("a", TEN, 1)]), "NOT_FOUND");
    let bench = Bench::new(json!({ "rate": { "calls_per_second": 0, "burst": 1 } }));
    assert!(bench.errors(&[operation("a", TEN, 1)]).is_empty());
    assert_eq!(bench.refused(&[operation("b", TEN, 1)]), "RESOURCE_EXHAUSTED");
}
