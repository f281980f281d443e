//! Request + settings + instant → answer, without a socket.

use serde_json::{Value, json};

use super::*;
use crate::faults::{FaultKind, FaultRule};
use crate::settings::Settings;

const NOW: &str = "2026-07-22T12:05:00Z";
const GUID: &str = "11112222-3333-4444-5555-66667777aaaa";
const URI: &str = "/subscriptions/11112222-3333-4444-5555-66667777aaaa/resourceGroups/RG/providers/Microsoft.Solutions/applications/App";
const AUDIENCE: &str = "resource=20e940b3-4c77-4b0b-9a53-9e16a1b010a7";

/// A marketplace without sockets, and a token for it.
struct Bench {
    shared: Shared,
    token: String,
}

impl Bench {
    fn new(azure: Value) -> Bench {
        let mut bench = Bench { shared: Shared::new(Settings::default()), token: String::new() };
        bench.shared.lock().clock = crate::clock::Clock::frozen_at(NOW.parse().unwrap());
        bench.set(azure);
        bench.token = bench.log_in("app", "secret").unwrap();
        bench
    }

    fn set(&self, azure: Value) {
        let mut state = self.shared.lock();
        let changed = state.settings.changed_by(json!({ "azure": azure })).unwrap();
        state.set(changed);
    }

    /// Status and body of a form sent to a token endpoint.
    fn desk(&self, path: &str, form: &str) -> (u16, Bytes) {
        let uri: Uri = path.parse().unwrap();
        let desk = Desk::at(uri.path()).unwrap();
        let answer = desk.answer(&mut self.shared.lock(), &Method::POST, &uri, &HeaderMap::new(), form.as_bytes());
        let status = answer.status().as_u16();
        let body = futures_util::FutureExt::now_or_never(axum::body::to_bytes(answer.into_body(), 10_000));
        (status, body.unwrap().unwrap())
    }

    fn log_in(&self, client: &str, secret: &str) -> Result<String, String> {
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}&{AUDIENCE}");
        let (status, body) = self.desk("/tenant/oauth2/token", &form);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if status == 200 { Ok(text("access_token")) } else { Err(text("error")) }
    }

    fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut state = self.shared.lock();
        let mut call = UsageCall::read(Call::default(), head, Some(body.to_string().as_bytes()));
        let plan = state.faults.draw(&call.call.records);
        call.decide(&mut state, &plan.content);
        let (call, body) = call.into_answer();
        let status = call.status;
        state.calls.push(Call { delivery: Delivery::Answered, ..call }, 100);
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn single(&self, event: &Value) -> (u16, Value) {
        self.call(Method::POST, "/api/usageEvent?api-version=2018-08-31", event)
    }

    fn batch(&self, events: &[Value]) -> (u16, Value) {
        self.call(Method::POST, "/api/batchUsageEvent?api-version=2018-08-31", &json!({ "request": events }))
    }

    /// The status words, in the order sent (they come back last first).
    fn statuses(&self, events: &[Value]) -> Vec<String> {
        let (status, body) = self.batch(events);
        assert_eq!(status, 200, "{body}");
        let result = body["result"].as_array().unwrap();
        result.iter().rev().map(|entry| entry["status"].as_str().unwrap().to_owned()).collect()
    }

    /// The message in the details of a 400, with the proof that nothing was stored.
    fn refused(&self, event: &Value) -> String {
        let before = self.shared.lock().record.len();
        let (status, body) = self.single(event);
        assert_eq!((status, body["code"].as_str()), (400, Some("BadArgument")), "{body}");
        assert_eq!(self.shared.lock().record.len(), before);
        body["details"][0]["message"].as_str().unwrap().to_owned()
    }
}

fn event(hour: &str, dimension: &str, quantity: f64) -> Value {
    json!({ "resourceId": GUID, "quantity": quantity, "dimension": dimension, "effectiveStartTime": hour, "planId": "gold" })
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

const TEN: &str = "2026-07-22T10:00:00Z";

#[test]
fn d4_the_first_write_of_a_resource_dimension_and_hour_wins() {
    let bench = Bench::new(json!({}));
    let (status, first) = bench.single(&event(TEN, "cores", 17.0));
    assert_eq!((status, first["status"].as_str()), (200, Some("Accepted")));
    for (again, quantity) in [("2026-07-22T10:59:59Z", 17.0), (TEN, 18.5)] {
        // Another plan and another letters' case are the same resource, dimension and hour.
        let again = with(event(again, "cores", quantity), "planId", json!("silver"));
        let again = with(again, "resourceId", json!(GUID.to_uppercase()));
        let (status, body) = bench.single(&again);
        assert_eq!((status, body["code"].as_str()), (409, Some("Conflict")));
        let held = &body["additionalInfo"]["acceptedMessage"];
        assert_eq!((&held["quantity"], &held["usageEventId"]), (&json!(17.0), &first["usageEventId"]));
        assert_eq!(held["planId"], json!("gold"));
        let (_, body) = bench.batch(&[again]);
        assert_eq!(body["result"][0]["error"]["additionalInfo"]["acceptedMessage"]["quantity"], json!(17.0));
        assert_eq!(body["result"][0]["messageTime"], json!("0001-01-01T00:00:00"));
    }
    assert_eq!(bench.shared.lock().record.len(), 1);
}

#[test]
fn d4_a_batch_judges_each_event_and_answers_in_another_order() {
    let bench = Bench::new(json!({ "dimensions": ["cores", "users"] }));
    let events = [
        event(TEN, "cores", 1.0),
        event(TEN, "typo", 1.0),
        event(TEN, "users", 0.0),
        event("2026-07-21T12:00:00Z", "cores", 1.0),
        with(event(TEN, "users", 1.0), "planId", Value::Null),
        with(event("2026-07-22T11:00:00Z", "users", 1.0), "resourceUri", json!(URI)),
        event("2026-07-22T12:30:00Z", "users", 1.0),
    ];
    // Nine o'clock, so that no two share a key.
    let mut events = events.to_vec();
    events[4]["effectiveStartTime"] = json!("2026-07-22T09:00:00Z");
    let words = bench.statuses(&events);
    let bad = "BadArgument";
    assert_eq!(words, ["Accepted", "InvalidDimension", "InvalidQuantity", "Expired", bad, bad, bad]);
    assert_eq!(bench.shared.lock().record.len(), 1);
}

#[test]
fn d4_a_batch_has_1_to_25_events_and_no_key_twice() {
    let bench = Bench::new(json!({}));
    let many: Vec<Value> = (0..26).map(|n| event(TEN, &format!("d{n}"), 1.0)).collect();
    assert_eq!(bench.batch(&many).0, 400);
    assert_eq!(bench.batch(&[]).0, 400);
    assert_eq!(bench.statuses(&many[..25]).len(), 25);
    let (status, _) = bench.batch(&[event("2026-07-22T11:00:00Z", "c", 1.0), event("2026-07-22T11:30:00Z", "c", 2.0)]);
    assert_eq!((status, bench.shared.lock().record.len()), (400, 25));
}

#[test]
fn d4_a_single_event_is_refused_in_words() {
    let bench = Bench::new(json!({ "resources": [{ "resource": GUID, "status": "suspended" }] }));
    assert_eq!(bench.refused(&event(TEN, "cores", 1.0)), "The resource is not in Subscribed status.");
    assert_eq!(bench.refused(&with(event(TEN, "c", 1.0), "resourceId", json!(URI))), "The resourceId must be a GUID.");
    bench.set(json!({ "resources": null }));
    assert_eq!(
        bench.refused(&event("2026-07-21T12:59:00Z", "c", 1.0)),
        "The effectiveStartTime is older than 24 hours."
    );
    assert_eq!(bench.refused(&event(TEN, "c", -1.0)), "The quantity must be greater than zero.");
    assert!(bench.refused(&with(event(TEN, "c", 1.0), "quantity", json!("1"))).contains("must be a number"));
}

#[test]
fn d4_resources_are_known_active_and_the_callers() {
    let cancelled = json!({ "resource": URI, "status": "unsubscribed", "until": "2026-07-22T10:30:00Z" });
    let another = "99992222-3333-4444-5555-66667777aaaa";
    let of_another = json!({ "resource": another, "client": "another-app" });
    let bench = Bench::new(json!({ "resources": [{ "resource": GUID, "plan": "gold" }, cancelled, of_another] }));
    let at = |resource: &str| with(event(TEN, "cores", 1.0), "resourceId", json!(resource));
    let uri = |hour: &str| with(with(event(hour, "cores", 1.0), "resourceUri", json!(URI)), "resourceId", Value::Null);
    let nobody = at("00002222-3333-4444-5555-66667777aaaa");
    let other_plan = with(event("2026-07-22T11:00:00Z", "cores", 1.0), "planId", json!("silver"));
    let words = bench.statuses(&[at(GUID), at(another), nobody, uri(TEN), uri("2026-07-22T11:00:00Z"), other_plan]);
    let expected =
        ["Accepted", "ResourceNotAuthorized", "ResourceNotFound", "Accepted", "ResourceNotActive", "BadArgument"];
    assert_eq!(words, expected);
    assert_eq!(bench.single(&at(another)).0, 403);
}

#[test]
fn d11_twenty_four_hours_from_the_start_of_the_hour() {
    let bench = Bench::new(json!({}));
    let late = || [event("2026-07-21T12:30:00Z", "cores", 1.0)];
    assert_eq!(bench.statuses(&late()), ["Expired"]);
    bench.set(json!({ "max_age_hours": 25 }));
    assert_eq!(bench.statuses(&late()), ["Accepted"]);
    bench.set(json!({ "max_age_hours": 24 }));
    assert_eq!(bench.statuses(&late()), ["Expired"], "it does not tell that it was taken");
}

#[test]
fn d9_tokens_are_issued_to_known_clients_and_die_with_their_secret() {
    let clients = |secret: &str| json!({ "clients": { "app": { "tenant": "tenant", "secret": secret } } });
    let bench = Bench::new(clients("secret"));
    assert_eq!(bench.log_in("app", "wrong").unwrap_err(), "invalid_client");
    assert_eq!(bench.log_in("stranger", "secret").unwrap_err(), "unauthorized_client");
    assert_eq!(bench.single(&event(TEN, "cores", 1.0)).0, 200);
    bench.set(clients("rotated"));
    let (status, body) = bench.single(&event(TEN, "users", 1.0));
    assert_eq!((status, body["code"].as_str()), (401, Some("Unauthorized")));
    bench.set(json!({ "clients": {}, "offer_clients": ["another"] }));
    assert_eq!(bench.single(&event(TEN, "users", 1.0)).0, 403);
    let nobody = Bench { token: "forged".to_owned(), ..bench };
    assert_eq!(nobody.single(&event(TEN, "users", 1.0)).0, 401);
}

#[test]
fn d9_the_two_forms_of_a_token_and_its_audience() {
    let bench = Bench::new(json!({}));
    let begins = "grant_type=client_credentials&client_id=a&client_secret=b";
    let (status, body) =
        bench.desk("/t/oauth2/v2.0/token", &format!("{begins}&scope=20e940b3-4c77-4b0b-9a53-9e16a1b010a7%2F.default"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["expires_in"]), (200, &json!(3599)));
    let (_, body) = bench.desk("/t/oauth2/token", &format!("{begins}&{AUDIENCE}"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["expires_in"], json!("3599"));
    assert_eq!(bench.desk("/t/oauth2/v2.0/token", &format!("{begins}&{AUDIENCE}")).0, 400);
    assert_eq!(bench.desk("/t/oauth2/token", &format!("{begins}&resource=https://graph.microsoft.com")).0, 400);
}

#[test]
fn d5_days_are_summed_by_resource_dimension_and_plan() {
    let bench = Bench::new(json!({}));
    bench.batch(&[event(TEN, "cores", 1.5), event("2026-07-22T11:00:00Z", "cores", 2.0), event(TEN, "users", 4.0)]);
    bench.batch(&[event("2026-07-21T23:00:00Z", "cores", 8.0)]);
    let ask = |range: &str| {
        let path = format!("/api/usageEvents?api-version=2018-08-31&{range}");
        bench.call(Method::GET, &path, &Value::Null)
    };
    let (_, days) = ask("usageStartDate=2026-07-22&UsageEndDate=2026-07-23T00:00:00Z");
    let line = |day: &Value| {
        format!("{} {} {} {}", day["usageDate"], day["dimension"], day["processedQuantity"], day["submittedCount"])
    };
    let lines: Vec<String> = days.as_array().unwrap().iter().map(line).collect();
    assert_eq!(lines, ["\"2026-07-22T00:00:00Z\" \"cores\" 3.5 2", "\"2026-07-22T00:00:00Z\" \"users\" 4.0 1"]);
    assert_eq!(ask("usageStartDate=2026-07-21").1.as_array().unwrap().len(), 3);
    assert_eq!(ask("UsageEndDate=2026-07-21").0, 400);
    bench.set(json!({ "recon_status": "submitted" }));
    let (_, days) = ask("usageStartDate=2026-07-22");
    assert_eq!((&days[0]["processedQuantity"], &days[0]["submittedQuantity"]), (&json!(0.0), &json!(3.5)));
}

#[test]
fn d4_faults_speak_azures_words() {
    let bench = Bench::new(json!({ "retry_after_seconds": 7 }));
    let faults = [
        FaultRule::new(FaultKind::Throttle).times(1),
        FaultRule::new(FaultKind::RefuseRecord).error("Expired").times(1),
        FaultRule::new(FaultKind::Unprocessed).times(1),
    ];
    for (fault, expected) in faults.into_iter().zip([429, 400, 500]) {
        bench.shared.lock().faults.add(fault).unwrap();
        assert_eq!(bench.single(&event(TEN, "cores", 1.0)).0, expected);
    }
    bench.shared.lock().faults.add(FaultRule::new(FaultKind::Unprocessed).times(1)).unwrap();
    assert_eq!(bench.statuses(&[event(TEN, "cores", 1.0)]), ["Error"]);
    assert_eq!(bench.statuses(&[event(TEN, "cores", 1.0)]), ["Accepted"]);
}

#[test]
fn d4_only_azures_paths_are_azures() {
    for path in
        ["/api/usageEvent", "/api/batchUsageEvent", "/api/usageEvents", "/t/oauth2/token", "/t/oauth2/v2.0/token"]
    {
        assert!(serves(path), "{path}");
    }
    assert!(serves("/metadata/identity/oauth2/token"));
    for path in ["/", "/api", "/api/usageevent", "/token", "/oauth2/token", "/v1/services/x:report"] {
        assert!(!serves(path), "{path}");
    }
}
