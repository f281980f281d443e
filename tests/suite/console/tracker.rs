//! The contract of the Payload Tracker, key by key, and the faults of the original that are not repeated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use console::{Access, Options};
use outbox::track::{NewStatus, track_batch};
use serde_json::{Value, json};
use tests::{Console, Stage, TestDatabase};

const DASHED: &str = "0af76519-16cd-43dd-8448-eb211c80319c";
const UNDASHED: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "1bf7651916cd43dd8448eb211c80319c";

fn said(service: &str, source: &str, request_id: &str, status: &str, date: &str) -> NewStatus {
    let mut said = NewStatus::new(service, request_id, status);
    said.date = Some(date.parse().unwrap());
    said.source = (!source.is_empty()).then(|| source.to_owned());
    said
}

async fn record(db: &TestDatabase, statuses: &[NewStatus]) {
    let mut client = db.connect().await;
    let transaction = client.transaction().await.unwrap();
    track_batch(&transaction, statuses).await.unwrap();
    transaction.commit().await.unwrap();
}

/// A request that three services handled, one of them without a source, and another that came later.
async fn two_requests() -> (TestDatabase, Console, String) {
    let db = TestDatabase::fresh().await;
    let now = "2024-09-18T12:00:00Z".parse::<jiff::Timestamp>().unwrap();
    db.client.execute("update postmeter.setting set clock_frozen = $1", &[&now]).await.unwrap();
    let mut first = said("puptoo", "", DASHED, "received", "2024-09-18T10:00:26.371Z");
    first.org = Some("acme".to_owned());
    first.account = Some("1001".to_owned());
    first.inventory_id = Some("inv-1".to_owned());
    first.system_id = Some("sys-1".to_owned());
    let mut other = said("ingress", "inventory", OTHER, "received", "2024-09-18T11:00:00Z");
    other.org = Some("globex".to_owned());
    let mut failed = said("insights", "engine", UNDASHED, "error", "2024-09-18T10:00:39.975Z");
    failed.status_msg = Some("no rule fits".to_owned());
    record(
        &db,
        &[
            first,
            said("puptoo", "", UNDASHED, "success", "2024-09-18T10:00:36.341Z"),
            said("insights", "inventory", DASHED, "received", "2024-09-18T10:00:33.350Z"),
            said("insights", "inventory", DASHED, "success", "2024-09-18T10:00:38.975Z"),
            said("insights", "engine", DASHED, "received", "2024-09-18T10:00:39.374Z"),
            failed,
            other,
        ],
    )
    .await;
    let console = Console::start(&db).await;
    let token = console.token(&["read"]).await;
    (db, console, token)
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn h1_one_request_is_told_with_the_time_in_each_service_in_either_form_of_its_id() {
    let (_db, console, token) = two_requests().await;
    let dashed = console.get(&token, &format!("/api/v1/payloads/{DASHED}")).await;
    for id in [UNDASHED, &DASHED.to_uppercase()] {
        assert_eq!(console.get(&token, &format!("/app/payload-tracker/api/v1/payloads/{id}")).await, dashed);
    }
    let body = dashed.json();
    assert_eq!(keys(&body), ["data", "duration"]);
    assert_eq!(body["data"].as_array().unwrap().len(), 6);
    let latest = &body["data"][0];
    assert_eq!(
        latest,
        &json!({"service": "insights", "status": "error", "date": "2024-09-18T10:00:39.975Z", "inventory_id": "inv-1",
                "status_msg": "no rule fits", "id": latest["id"], "source": "engine", "account": "1001",
                "org_id": "acme", "request_id": UNDASHED, "system_id": "sys-1", "created_at": "2024-09-18T12:00:00Z"}),
        "newest first, as the code of the original has it"
    );
    assert!(latest["id"].is_i64() && body["data"][5].get("source").is_none(), "empty texts are left out");
    assert_eq!(
        body["duration"],
        json!({"puptoo:undefined": "00:00:09.970000", "insights:inventory": "00:00:05.625000",
               "insights:engine": "00:00:00.601000", "total_time_in_services": "00:00:16.196000",
               "total_time": "00:00:13.604000"})
    );
    for (verbosity, fields) in [
        ("1", vec!["date", "inventory_id", "service", "status", "status_msg"]),
        ("2", vec!["date", "service", "status"]),
    ] {
        for sort in ["created_at", "source", "date"] {
            let path = format!("/api/v1/payloads/{DASHED}?verbosity={verbosity}&sort_by={sort}");
            let reply = console.get(&token, &path).await;
            assert_eq!(reply.status, 200, "the original answered 404 here: {}", reply.text);
            assert_eq!(reply.json()["duration"], body["duration"], "durations do not depend on what is shown");
            let wordy = reply.json()["data"].as_array().unwrap().iter().map(|row| keys(row).len()).max();
            assert_eq!(wordy, Some(fields.len()), "{}", reply.text);
        }
    }
}

#[tokio::test]
async fn h3_lists_have_true_counts_every_key_and_show_statuses_without_a_source() {
    let (_db, console, token) = two_requests().await;
    let all = console.get(&token, "/api/v1/payloads").await.json();
    assert_eq!(keys(&all), ["count", "data", "elapsed"]);
    assert_eq!((all["count"].as_i64(), all["elapsed"].is_f64()), (Some(2), true));
    let expected = ["account", "created_at", "id", "inventory_id", "org_id", "request_id", "system_id"];
    assert_eq!(keys(&all["data"][0]), expected);
    assert_eq!((&all["data"][0]["org_id"], &all["data"][0]["account"]), (&json!("globex"), &json!("")), "null is \"\"");
    assert_eq!(all["data"][1]["created_at"], "2024-09-18T10:00:26.371Z", "the message's date");
    for (query, count) in [
        ("org_id=acme", 1),
        ("org_id=nobody", 0),
        ("account=1001&inventory_id=inv-1&system_id=sys-1", 1),
        ("created_at_gt=2024-09-18T10:30:00Z", 1),
        ("created_at_gte=2024-09-18T13:00:00+02:00&created_at_lte=2024-09-18T11:00:00Z", 1),
        ("created_at_lt=2024-09-18T10:00:26.371Z", 0),
        ("last=20000d", 2),
        ("last=1m", 0),
        ("unknown=x&page=1&page_size=1", 2),
        ("sort_by=request_id&sort_dir=asc", 2),
    ] {
        let reply = console.get(&token, &format!("/api/v1/payloads?{query}")).await;
        assert_eq!((reply.status, reply.json()["count"].as_i64()), (200, Some(count)), "{query}: {}", reply.text);
    }
    let statuses = console.get(&token, "/api/v1/statuses?page_size=100").await.json();
    assert_eq!((statuses["count"].as_i64(), statuses["data"].as_array().unwrap().len()), (Some(7), 7));
    let row = &statuses["data"][0];
    assert_eq!(keys(row), ["created_at", "date", "id", "request_id", "service", "source", "status"]);
    assert!(row["id"].is_string());
    for (query, count) in [
        ("last=20000d&service=puptoo", 2),
        ("last=1m", 0),
        ("service=puptoo", 2),
        ("service=PUPTOO&status=success", 1),
        ("source=engine", 2),
        ("status_msg=no%20rule%20fits", 1),
        ("date_gte=2024-09-18T11:00:00Z", 1),
        ("created_at_lt=2024-09-18T11:00:00Z", 0),
    ] {
        let reply = console.get(&token, &format!("/api/v1/statuses?{query}")).await;
        assert_eq!((reply.status, reply.json()["count"].as_i64()), (200, Some(count)), "{query}: {}", reply.text);
    }
}

/// The front-end makes its links of the ids in the lists, and looks them up by what a person pastes.
#[tokio::test]
async fn h3_ids_are_32_digits_and_found_in_any_form() {
    let (db, console, token) = two_requests().await;
    let mut with_ids = said("ingress", "", "plain text id", "received", "2024-09-18T11:30:00Z");
    with_ids.inventory_id = Some(DASHED.to_uppercase());
    with_ids.system_id = Some(UNDASHED.to_owned());
    record(&db, &[with_ids]).await;
    let listed = console.get(&token, "/api/v1/payloads?sort_by=created_at&sort_dir=asc").await.json();
    let ids: Vec<_> =
        listed["data"].as_array().unwrap().iter().map(|row| row["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [UNDASHED, OTHER, "plain text id"]);
    let statuses = console.get(&token, "/api/v1/statuses?service=insights").await.json();
    assert!(statuses["data"].as_array().unwrap().iter().all(|row| row["request_id"] == UNDASHED), "{statuses}");
    for form in [DASHED, UNDASHED, &DASHED.to_uppercase(), &UNDASHED.to_uppercase()] {
        for (base, name) in [
            ("/api/v1/payloads", "inventory_id"),
            ("/api/v1/payloads", "system_id"),
            ("/v1/requests", "inventory_id"),
            ("/v1/requests", "system_id"),
        ] {
            let reply = console.get(&token, &format!("{base}?{name}={form}")).await;
            assert_eq!(reply.json()["count"], 1, "{name} {form}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn h3_wrong_parameters_are_refused_in_the_originals_order_and_shape() {
    let (_db, console, token) = two_requests().await;
    for (path, status, message) in [
        ("/payloads?page=abc&page_size=10", 400, "page must be a whole number from 0 to 100000000"),
        ("/payloads?last=soon", 400, "last must be a length of time, as in 30m, 24h or 7d"),
        ("/payloads?page_size=-1", 400, "page_size must be a whole number from 1 to 10000"),
        ("/payloads?page=x&sort_by=y", 400, "page must be a whole number from 0 to 100000000"),
        (
            "/payloads?sort_by=name&sort_dir=up",
            400,
            "sort_by must be one of account, org_id, inventory_id, system_id, created_at, request_id",
        ),
        ("/statuses?sort_dir=up&date_lt=x", 400, "sort_dir must be one of asc, desc"),
        ("/statuses?date_lt=yesterday", 400, "invalid timestamp format provided"),
        ("/payloads/1?sort_by=status", 400, "sort_by must be one of service, source, status_msg, date, created_at"),
        ("/payloads/nobody", 404, "payload with id: nobody not found"),
        ("/payloads/x/kibanaLink", 400, "x is not a valid UUID"),
        ("/payloads/x/archiveLink", 401, "Missing Identity Header"),
        ("/stats", 404, "there is nothing at this path"),
    ] {
        let reply = console.get(&token, &format!("/api/v1{path}")).await;
        let title = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            _ => "Not Found",
        };
        assert_eq!(reply.status, status, "{path}: {}", reply.text);
        assert_eq!(reply.json(), json!({"title": title, "message": message, "status": status}), "{path}");
    }
    let unreadable = console.get(&token, "/api/v1/payloads/%ff").await;
    assert_eq!((unreadable.status, keys(&unreadable.json())), (404, vec!["message", "status", "title"]));
    for path in ["/api/v1/payloads", "/app/payload-tracker/api/v1/payloads/x", "/api/v1/", "/", "/health"] {
        let reply = console.post(&token, path, &json!({})).await;
        assert_eq!(reply.status, 405, "{path}");
        let body = json!({"title": "Method Not Allowed", "message": "this path only takes GET", "status": 405});
        assert_eq!(reply.json(), body, "{path}");
    }
    for path in ["/", "/api/v1", "/api/v1/", "/app/payload-tracker/api/v1"] {
        assert_eq!(console.get("", path).await.text, "lubdub", "{path}");
    }
    assert_eq!(console.get("", "/health").await.text, "OK");
}

#[tokio::test]
async fn h4_a_failure_of_the_database_is_a_5xx() {
    let (db, console, token) = two_requests().await;
    let paths = ["/api/v1/payloads", "/api/v1/statuses", &format!("/api/v1/payloads/{DASHED}")].map(str::to_owned);
    for path in &paths {
        assert_eq!(console.get(&token, path).await.status, 200);
    }
    db.client
        .batch_execute(
            "alter table postmeter.request_status rename to away; alter table postmeter.request rename to gone",
        )
        .await
        .unwrap();
    for path in &paths {
        let reply = console.get(&token, path).await;
        assert_eq!((reply.status, reply.json()["title"].as_str()), (500, Some("Internal Server Error")), "{path}");
    }
}

#[tokio::test]
async fn i3_the_tracker_is_for_tokens_that_read_and_for_their_org() {
    let (db, console, _) = two_requests().await;
    for path in ["/payloads", "/statuses", "/payloads/1", "/payloads/1/kibanaLink", "/roles/archiveLink"] {
        let path = format!("/api/v1{path}");
        let reply = console.send(console.http.get(format!("{}{path}", console.url))).await;
        assert_eq!((reply.status, reply.json()["title"].as_str()), (401, Some("Unauthorized")), "{path}");
        assert_eq!(console.get(&console.token(&["intake"]).await, &path).await.status, 403, "{path}");
    }
    let acme = console.token_for(&["read"], Some("acme")).await;
    assert_eq!(console.get(&acme, "/api/v1/payloads").await.json()["count"], 1);
    assert_eq!(console.get(&acme, "/api/v1/payloads?org_id=globex").await.json()["count"], 0);
    assert_eq!(console.get(&acme, &format!("/api/v1/payloads/{DASHED}")).await.status, 200);
    assert_eq!(console.get(&acme, &format!("/api/v1/payloads/{OTHER}")).await.status, 404);
    assert_eq!(console.get(&acme, "/api/v1/statuses").await.status, 403);
    let open = Console::start_with(&db, Options { tracker_access: Access::Open, ..Options::default() }).await;
    let reply = open.send(open.http.get(format!("{}/api/v1/payloads", open.url))).await;
    assert_eq!((reply.status, reply.json()["count"].as_i64()), (200, Some(2)), "open, on loopback");
    let options = Options { tracker_access: Access::Open, tracker_requests_per_minute: 1, ..Options::default() };
    let busy = Console::start_with(&db, options).await;
    let get = || busy.http.get(format!("{}/api/v1/payloads", busy.url));
    let statuses = [busy.send(get()).await.status, busy.send(get()).await.status];
    assert_eq!(statuses, [200, 429]);
}

#[tokio::test]
async fn i3_an_identity_header_counts_only_from_a_trusted_proxy() {
    let (db, console, token) = two_requests().await;
    let identity = |role: &str| STANDARD.encode(json!({"identity": {"associate": {"Role": [role]}}}).to_string());
    let good = identity("platform-archive-download");
    let path = format!("/api/v1/payloads/{DASHED}/archiveLink");
    let forged = console.http.get(format!("{}{path}", console.url)).bearer_auth(&token).header("x-rh-identity", &good);
    assert_eq!(console.send(forged).await.status, 401, "nobody vouches for it");
    let options = Options {
        tracker_access: Access::TrustedProxy,
        archive_url: Some("https://archive.example/get?request_id={request_id}".to_owned()),
        kibana_url: Some("https://kibana.example/#q={query}".to_owned()),
        ..Options::default()
    };
    let behind = Console::start_with(&db, options.clone()).await;
    let ask = |path: String, identity: Option<String>| {
        let request = behind.http.get(format!("{}{path}", behind.url));
        behind.send(identity.into_iter().fold(request, |request, identity| request.header("x-rh-identity", identity)))
    };
    assert_eq!(ask(path.clone(), None).await.status, 401);
    assert_eq!(ask(path.clone(), Some("%%".to_owned())).await.status, 401);
    assert_eq!(ask(path.clone(), Some(identity("reader"))).await.status, 403);
    let link = ask(path.clone(), Some(good.clone())).await.json();
    assert_eq!(link, json!({"url": format!("https://archive.example/get?request_id={DASHED}")}));
    assert_eq!(ask("/api/v1/roles/archiveLink".to_owned(), Some(good.clone())).await.json(), json!({"allowed": true}));
    assert_eq!(ask("/api/v1/payloads/x/archiveLink".to_owned(), Some(good)).await.status, 400);
    let kibana = ask(format!("/api/v1/payloads/{UNDASHED}/kibanaLink?service=a%22%20OR%20b"), None).await.json();
    let query = format!("request_id%3A{UNDASHED}%20AND%20app%3A%22a%5C%22%20OR%20b%22");
    assert_eq!(kibana, json!({"url": format!("https://kibana.example/#q={query}")}));
    let stranger = Options { trusted_proxies: vec!["192.0.2.1".parse().unwrap()], ..options };
    let stranger = Console::start_with(&db, stranger).await;
    assert_eq!(stranger.send(stranger.http.get(format!("{}{path}", stranger.url))).await.status, 403);
}

#[tokio::test]
async fn h1_the_way_of_a_request_runs_to_the_marketplaces_answer() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake", "read"]).await;
    let usage = json!({"source": "billing", "event_id": "e", "org": "acme", "product": "db", "metric": "cores",
                       "quantity": "2", "used_at": "2024-09-18T10:05:00Z", "request_id": DASHED});
    assert_eq!(console.post(&token, "/v1/usage", &usage).await.status, 202);
    record(&stage.db, &[said("billing", "", UNDASHED, "success", "2024-09-18T10:05:01Z")]).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let way = console.get(&token, &format!("/api/v1/payloads/{UNDASHED}?sort_dir=asc")).await.json();
    let steps: Vec<&Value> =
        way["data"].as_array().unwrap().iter().filter(|row| row["service"] == "postmeter").collect();
    assert_eq!(steps.last().map(|step| (&step["status"], &step["source"])), Some((&json!("success"), &json!("aws"))));
    assert!(way["duration"].get("postmeter:aws").is_some(), "{way}");
    stage.close().await;
}
