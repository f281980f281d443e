//! H: the request tracker over HTTP.

use std::time::Duration;

use console::Options;
use outbox::NewUsage;
use serde_json::{Value, json};
use tests::{Console, Reply, Stage, TestDatabase, q, t};

fn said(service: &str, request: &str, status: &str, date: &str) -> Value {
    json!({"service": service, "request_id": request, "status": status, "date": date})
}

async fn told(console: &Console, token: &str, body: &Value) -> Reply {
    console.post(token, "/v1/request-statuses", body).await
}

/// The scripted way of a request that puptoo fails.
async fn story(console: &Console, token: &str, request: &str, org: &str) {
    let mut all = vec![
        said("ingress", request, "received", "2026-03-10T09:00:00Z"),
        said("ingress", request, "success", "2026-03-10T09:00:01.5Z"),
        said("puptoo", request, "received", "2026-03-10T09:00:02Z"),
        said("puptoo", request, "error", "2026-03-10T09:00:05Z"),
        said("puptoo", request, "processing", "2026-03-10T09:00:04Z"),
    ];
    all[0]["org_id"] = org.into();
    all[3]["status_msg"] = "no space".into();
    all[4]["source"] = "inventory".into();
    let reply = told(console, token, &json!(all)).await;
    assert_eq!((reply.status, reply.json()["recorded"].as_i64()), (202, Some(5)), "{}", reply.text);
}

async fn count(db: &TestDatabase) -> i64 {
    db.client.query_one("select count(*) from postmeter.request_status", &[]).await.unwrap().get(0)
}

async fn scraped(console: &Console) -> String {
    let reply = console.send(console.http.get(format!("{}/metrics", console.url))).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.text
}

#[tokio::test]
async fn h1_a_request_is_told_with_its_outcome_its_times_and_its_way() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    story(&console, &token, "r-1", "acme").await;
    let way = console.get(&token, "/v1/requests/r-1").await.json();
    assert_eq!(
        (&way["outcome"], &way["failed_service"], &way["failure"], &way["org"], &way["open_services"]),
        (&json!("failed"), &json!("puptoo"), &json!("no space"), &json!("acme"), &json!(["puptoo"])),
        "its source inventory has not finished"
    );
    assert_eq!(
        way["seconds"],
        json!({"per_source": {"ingress:undefined": 1.5, "puptoo:inventory": 0.0, "puptoo:undefined": 3.0},
               "per_service": {"ingress": 1.5, "puptoo": 3.0}, "in_services": 4.5, "total": 5.0})
    );
    let statuses: Vec<_> = way["statuses"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, ["received", "success", "received", "processing", "error"], "in order of their dates");
    assert_eq!((&way["last"]["status"], &way["previous"]["source"]), (&json!("error"), &json!("inventory")));
    assert_eq!(way["current"]["service"], "puptoo");
    let reply = console.get(&token, "/v1/requests/nobody").await;
    assert_eq!((reply.status, reply.kind.as_str()), (404, "application/problem+json"), "{}", reply.text);
    assert_eq!(console.get(&token, "/v1/requests/nobody/events").await.status, 404);
}

#[tokio::test]
async fn h1_postmeters_own_steps_are_on_the_way_up_to_the_marketplaces_answer() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake", "read"]).await;
    let globex = console.token_for(&["intake", "read"], Some("globex")).await;
    let mut usage = NewUsage::new("shop", "job-1", "acme", "db", "cores", q("3"), t("2024-09-18T10:10:00Z"));
    usage.request_id = Some("job".to_owned());
    let mut client = stage.db.connect().await;
    let transaction = client.transaction().await.unwrap();
    outbox::record_usage(&transaction, &usage).await.unwrap();
    transaction.commit().await.unwrap();
    let way = console.get(&token, "/v1/requests/job").await.json();
    assert_eq!((&way["outcome"], &way["open_services"]), (&json!("open"), &json!(["postmeter"])), "{way}");
    assert_eq!(console.get(&globex, "/v1/requests/job").await.status, 404, "another org's");
    let stolen = told(&console, &globex, &json!({"service": "s", "request_id": "job", "status": "received"})).await;
    assert_eq!((stolen.status, stolen.json()["code"].as_str()), (422, Some("other_org")), "{}", stolen.text);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let way = console.get(&token, "/v1/requests/job").await.json();
    let steps: Vec<_> = way["statuses"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(steps, ["received", "processing", "sent", "success"], "{way}");
    assert_eq!((&way["outcome"], &way["last"]["source"]), (&json!("succeeded"), &json!("aws")));
    // and the service that caused it
    assert_eq!(told(&console, &token, &said("shop", "job", "received", "2024-09-18T10:09:00Z")).await.status, 202);
    let way = console.get(&token, "/v1/requests/job").await.json();
    assert_eq!((&way["outcome"], &way["current"]["service"]), (&json!("open"), &json!("shop")), "{way}");
    assert_eq!(way["statuses"].as_array().unwrap().len(), 5);
    stage.close().await;
}

#[tokio::test]
async fn h2_one_many_and_lines_are_recorded_once_and_what_is_wrong_is_named() {
    let db = TestDatabase::fresh().await;
    let console = Console::start_with(&db, Options { rows_max: 4, ..Options::default() }).await;
    let token = console.token(&["intake", "read"]).await;
    let one = said("Ingress", "8B7D3A52-0B1C-4E5F-9A6B-7C8D9E0F1A2B", "Received", "2026-03-10 09:00:00");
    let first = told(&console, &token, &one).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let href = first.json()["href"].as_str().unwrap().to_owned();
    assert_eq!(told(&console, &token, &one).await, first, "the same message is answered the same");
    let way = console.get(&token, &href.to_lowercase().replace('-', "")).await;
    assert_eq!(way.json()["statuses"][0]["date"], "2026-03-10T09:00:00Z", "{}", way.text);
    assert_eq!(count(&db).await, 1);
    for (body, field, code) in [
        (json!({"request_id": "r", "status": "s"}), "service", "malformed"),
        (json!({"service": "a", "status": "s"}), "request_id", "malformed"),
        (json!({"service": "a", "request_id": "r"}), "status", "malformed"),
        (said("a", "r", "s", "soon"), "date", "malformed"),
        (said("a", "r", "s", "2026-03-10"), "date", "malformed"),
        (said("a", "r\0", "s", "2026-03-10T00:00:00"), "request_id", "malformed"),
        (said("a", &"r".repeat(256), "s", "2026-03-10T00:00:00"), "request_id", "PM001"),
        (said("a", "r", "s", "-000001-03-10T00:00:00Z"), "date", "malformed"),
        (said("a", "None", "s", "2026-03-10T00:00:00"), "request_id", "PM001"),
    ] {
        let reply = told(&console, &token, &body).await;
        let problem = reply.json();
        assert_eq!(reply.status, 422, "{body}: {}", reply.text);
        assert_eq!(
            (problem["field"].as_str(), problem["code"].as_str()),
            (Some(field), Some(code)),
            "{body}: {problem}"
        );
    }
    let lines = "{\"service\":\"a\",\"request_id\":7,\"status\":\"s\",\"date\":\"2026-03-10T00:00:00Z\"}\n\n{\n\
                 {\"service\":\"a\",\"request_id\":7,\"status\":\"s\",\"date\":\"2026-03-10T00:00:00Z\"}\n";
    let request = console.http.post(format!("{}/v1/request-statuses", console.url)).bearer_auth(&token);
    let reply = console.send(request.header("content-type", "application/x-ndjson").body(lines)).await;
    assert_eq!(reply.status, 207, "{}", reply.text);
    let verdicts: Vec<_> =
        reply.json()["items"].as_array().unwrap().iter().map(|item| item["verdict"].clone()).collect();
    assert_eq!(verdicts, ["recorded", "refused", "recorded"]);
    assert_eq!(count(&db).await, 2, "the same message twice is one row");
    assert_eq!(told(&console, &token, &json!(vec![&one; 5])).await.status, 413);
}

#[tokio::test]
async fn h3_requests_are_filtered_sorted_paged_and_truly_counted() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    for (number, org) in [(1, "acme"), (2, "globex"), (3, "acme")] {
        story(&console, &token, &format!("r-{number}"), org).await;
    }
    told(&console, &token, &said("advisor", "r-4", "received", "2026-03-11T09:00:00Z")).await;
    for (query, count, ids) in [
        ("", 4, vec!["r-4", "r-3", "r-2", "r-1"]),
        ("?sort=request_id&limit=2&offset=1", 4, vec!["r-2", "r-3"]),
        ("?org=acme&sort=created_at", 2, vec!["r-1", "r-3"]),
        ("?outcome=open", 1, vec!["r-4"]),
        ("?service=PUPTOO&status=error&org=globex", 1, vec!["r-2"]),
        ("?service=puptoo&source=inventory&status=error", 0, vec![]),
        ("?service=advisor&source=", 1, vec!["r-4"]),
        ("?created_from=2026-03-11T00:00:00Z", 1, vec!["r-4"]),
        ("?created_until=2026-03-11T00:00:00Z&limit=1", 3, vec!["r-3"]),
    ] {
        let reply = console.get(&token, &format!("/v1/requests{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text);
        let answer = reply.json();
        let found: Vec<_> = answer["items"].as_array().unwrap().iter().map(|one| one["request_id"].clone()).collect();
        assert_eq!(
            (answer["count"].as_i64(), found),
            (Some(count), ids.into_iter().map(Value::from).collect()),
            "{query}"
        );
    }
    for query in
        ["?sort=colour", "?limit=0", "?offset=-1", "?created_from=soon", "?outcome=well", "?orgg=acme", "?org=%00"]
    {
        assert_eq!(console.get(&token, &format!("/v1/requests{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn i3_a_token_for_one_org_tracks_and_sees_that_orgs_requests_only() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let all = console.token(&["intake", "read"]).await;
    let acme = console.token_for(&["intake", "read"], Some("acme")).await;
    story(&console, &all, "theirs", "globex").await;
    story(&console, &acme, "ours", "acme").await;
    let answer = console.get(&acme, "/v1/requests").await.json();
    assert_eq!((answer["count"].as_i64(), &answer["items"][0]["request_id"]), (Some(1), &json!("ours")), "{answer}");
    assert_eq!(console.get(&acme, "/v1/requests?org=globex").await.json()["count"], 0);
    assert_eq!(console.get(&acme, "/v1/requests/theirs").await.status, 404);
    assert_eq!(console.get(&acme, "/v1/requests/theirs/events").await.status, 404);
    let before = count(&db).await;
    for body in [
        json!({"service": "s", "request_id": "x", "status": "received", "org": "globex"}),
        json!({"service": "s", "request_id": "theirs", "status": "received"}),
    ] {
        let reply = told(&console, &acme, &body).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (422, Some("other_org")), "{}", reply.text);
    }
    assert_eq!(count(&db).await, before);
    // what another org is told of in between is not shown
    let mut other = said("audit", "ours", "seen", "2026-03-10T08:00:00Z");
    other["org"] = "globex".into();
    assert_eq!(told(&console, &all, &other).await.status, 202);
    let way = console.get(&acme, "/v1/requests/ours").await.json();
    assert_eq!(way["statuses"].as_array().map(Vec::len), Some(5), "{way}");
}

/// Reads events until one holds `word`.
async fn until(response: &mut reqwest::Response, text: &mut String, word: &str) {
    let reading = async {
        while !text.contains(word) {
            let chunk = response.chunk().await.expect("the stream lives").expect("the stream goes on");
            text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap_or_else(|_| panic!("no {word}: {text}"));
}

#[tokio::test]
async fn h1_a_request_is_watched_as_it_goes_until_the_console_stops() {
    let db = TestDatabase::fresh().await;
    let console = Console::start_with(&db, Options { events_at_once_max: 1, ..Options::default() }).await;
    let token = console.token(&["intake", "read"]).await;
    told(&console, &token, &said("ingress", "r-1", "received", "2026-03-10T09:00:00Z")).await;
    let path = format!("{}/v1/requests/r-1/events", console.url);
    let mut response = console.http.get(&path).bearer_auth(&token).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    until(&mut response, &mut text, "\"received\"").await;
    assert!(text.starts_with("event: status\ndata: {"), "{text}");
    let second = console.get(&token, "/v1/requests/r-1/events").await;
    assert_eq!((second.status, second.retry_after.as_deref()), (429, Some("10")), "{}", second.text);
    // dated before what was told: it is news all the same
    told(&console, &token, &said("edge", "r-1", "passed", "2026-03-10T08:00:00Z")).await;
    until(&mut response, &mut text, "\"passed\"").await;
    assert_eq!(text.matches("event: status").count(), 2, "each status once: {text}");
    drop(console);
    let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
    tokio::time::timeout(Duration::from_secs(30), rest).await.expect("the stream ends when the console stops");
}

/// Numbers are given before their transactions end: a smaller one may be committed later.
#[tokio::test]
async fn h11_who_watches_is_told_every_status_once_whatever_order_they_are_committed_in() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    told(&console, &token, &said("ingress", "r-1", "received", "2026-03-10T09:00:00Z")).await;
    let slow = db.connect().await;
    let track = |status: &str| {
        format!(
            "select postmeter.track(service => 'slow', request_id => 'r-1', status => '{status}', date => '2026-03-10T09:00:01Z')"
        )
    };
    slow.batch_execute(&format!("begin; {}", track("first"))).await.unwrap();
    let path = format!("{}/v1/requests/r-1/events", console.url);
    let mut response = console.http.get(&path).bearer_auth(&token).send().await.unwrap();
    let mut text = String::new();
    told(&console, &token, &said("ingress", "r-1", "processing", "2026-03-10T09:00:02Z")).await;
    until(&mut response, &mut text, "\"processing\"").await;
    slow.batch_execute("commit").await.unwrap();
    until(&mut response, &mut text, "\"first\"").await;
    slow.batch_execute(&track("second")).await.unwrap();
    until(&mut response, &mut text, "\"second\"").await;
    assert_eq!(text.matches("event: status").count(), 4, "each status once: {text}");
}

/// A browser that lost its connection says which event it had last.
#[tokio::test]
async fn h11_who_connects_again_is_told_what_is_newer() {
    let db = TestDatabase::fresh().await;
    let at = |time: &str| format!("update postmeter.setting set clock_frozen = '{time}'");
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    let path = format!("{}/v1/requests/r-1/events", console.url);
    for (time, status) in [("09:00", "received"), ("09:10", "processing"), ("09:14", "success")] {
        db.client.batch_execute(&at(&format!("2026-03-10T{time}:00Z"))).await.unwrap();
        told(&console, &token, &said("ingress", "r-1", status, &format!("2026-03-10T{time}:00Z"))).await;
    }
    let mut text = String::new();
    let mut response = console.http.get(&path).bearer_auth(&token).send().await.unwrap();
    until(&mut response, &mut text, "\nid: ").await;
    until(&mut response, &mut text, "\n\n").await;
    let id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    assert_eq!(text.matches("\nid: ").count(), 1, "of the last that was told: {text}");
    let mut again = console.http.get(&path).bearer_auth(&token).header("Last-Event-ID", &id).send().await.unwrap();
    let mut text = String::new();
    until(&mut again, &mut text, "\"success\"").await;
    assert!(text.contains("\"processing\"") && !text.contains("\"received\""), "{text}");
    let refused =
        console.http.get(&path).bearer_auth(&token).header("Last-Event-ID", "yesterday").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 400);
}

/// However long a request is and however many watch it: one look a second, which reads what is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h11_a_hundred_watchers_of_a_long_request_cost_one_reading() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    let long = "select count(postmeter.track(service => 's' || n % 7, request_id => 'long', status => 'processing', status_msg => n::text))
                from generate_series(1, 1000) n";
    db.client.batch_execute(long).await.unwrap();
    outbox::requests::gather(&db.database).await.unwrap();
    let path = format!("{}/v1/requests/long/events", console.url);
    let mut watchers = Vec::new();
    for _ in 0..100 {
        let mut response = console.http.get(&path).bearer_auth(&token).send().await.unwrap();
        until(&mut response, &mut String::new(), "\"status_msg\":\"1000\"").await;
        watchers.push(response);
    }
    // rows of the request that were read, by all looks until each was told the next one
    let rows = "select coalesce(sum(idx_tup_fetch), 0)::bigint from pg_stat_user_tables
                where schemaname = 'postmeter' and relname like 'request_status_2%'";
    let read = async || -> i64 {
        db.client.batch_execute("select pg_stat_clear_snapshot()").await.unwrap();
        db.client.query_one(rows, &[]).await.unwrap().get(0)
    };
    let before = read().await;
    told(&console, &token, &said("last", "long", "success", "2026-03-10T09:00:00Z")).await;
    for response in &mut watchers {
        until(response, &mut String::new(), "\"last\"").await;
    }
    let after = read().await;
    assert!(after - before < 20_000, "{} rows were read for one that is new", after - before);
}

#[tokio::test]
async fn h11_lists_wait_for_no_gathering_and_say_as_of_when_they_are() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    told(&console, &token, &said("ingress", "r-1", "received", "2026-03-10T09:00:00Z")).await;
    let listed = console.get(&token, "/v1/requests").await.json();
    assert_eq!(listed["count"], 1, "where nobody else gathers, it is in the answer");
    let gate = db.connect().await;
    gate.batch_execute("begin; select postmeter.gather_gate()").await.unwrap();
    told(&console, &token, &said("ingress", "r-2", "received", "2026-03-10T09:00:00Z")).await;
    told(&console, &token, &said("ingress", "r-1", "success", "2026-03-10T09:00:01Z")).await;
    let recorded = "select min(recorded_at)::text from postmeter.request_news";
    let first: String = db.client.query_one(recorded, &[]).await.unwrap().get(0);
    let listed = console.get(&token, "/v1/requests").await.json();
    let as_of = "select ($1::text)::timestamptz = ($2::text)::timestamptz";
    let said_as_of = listed["as_of"].as_str().unwrap();
    assert_eq!(listed["count"], 1);
    assert!(db.client.query_one(as_of, &[&said_as_of, &first]).await.unwrap().get::<_, bool>(0), "{listed}");
    let one = console.get(&token, "/v1/requests/r-1").await.json();
    assert_eq!((one["outcome"].as_str(), one["statuses"].as_array().map(Vec::len)), (Some("open"), Some(2)), "{one}");
    assert_eq!(one["as_of"], listed["as_of"]);
    gate.batch_execute("commit").await.unwrap();
    let listed = console.get(&token, "/v1/requests?outcome=succeeded").await.json();
    assert_eq!(listed["count"], 1, "{listed}");
}

#[tokio::test]
async fn h11_requests_are_found_and_grouped_by_where_they_failed_and_whom_they_wait_for() {
    let db = TestDatabase::fresh().await;
    db.client.execute("update postmeter.setting set clock_frozen = '2026-03-10T10:00:00Z'", &[]).await.unwrap();
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    for (request, service, status, text, minute) in [
        ("f-1", "puptoo", "error", "no space", 1),
        ("f-2", "puptoo", "error", "no space", 2),
        ("f-3", "puptoo", "error", "bad archive", 3),
        ("f-4", "advisor", "failed", "no rule", 4),
        ("o-1", "advisor", "received", "", 5),
        ("o-2", "engine", "received", "", 6),
        ("s-1", "engine", "success", "", 7),
    ] {
        db.client
            .batch_execute(&format!("update postmeter.setting set clock_frozen = '2026-03-10T10:{minute:02}:00Z'"))
            .await
            .unwrap();
        let mut one = said(service, request, status, &format!("2026-03-10T09:{minute:02}:00Z"));
        one["status_msg"] = text.into();
        told(&console, &token, &one).await;
    }
    for (query, ids) in [
        ("failed_service=puptoo&sort=created_at", vec!["f-1", "f-2", "f-3"]),
        ("failed_service=Puptoo&failure=no%20space", vec!["f-2", "f-1"]),
        ("failure=no%20rule", vec!["f-4"]),
        ("open_service=engine", vec!["o-2"]),
        ("open_service=puptoo", vec![]),
        ("outcome=open&sort=last_recorded_at", vec!["o-1", "o-2"]),
        ("outcome=open&sort=-last_recorded_at", vec!["o-2", "o-1"]),
        ("sort=-duration&limit=2", vec!["s-1", "o-2"]),
        ("last=62m", vec!["s-1", "o-2", "o-1"]),
        ("last=1d&outcome=failed&limit=1", vec!["f-4"]),
    ] {
        let reply = console.get(&token, &format!("/v1/requests?{query}")).await;
        let listed = reply.json();
        let found: Vec<_> =
            listed["items"].as_array().unwrap().iter().map(|row| row["request_id"].as_str().unwrap()).collect();
        assert_eq!(found, ids, "{query}: {}", reply.text);
    }
    for (query, field) in [
        ("sort=last_recorded_at", "sort"),
        ("last=soon", "last"),
        ("last=1h&created_from=2026-03-10T09:00:00Z", "last"),
    ] {
        let reply = console.get(&token, &format!("/v1/requests?{query}")).await;
        assert_eq!((reply.status, reply.json()["field"].as_str()), (400, Some(field)), "{query}: {}", reply.text);
    }
    let groups = |reply: Reply| -> Vec<String> {
        let body = reply.json();
        let told = |group: &Value| {
            format!("{} {} {} {}", group["requests"], group["service"], group["message"], group["request_id"])
        };
        body["items"].as_array().unwrap().iter().map(told).collect()
    };
    let failed = groups(console.get(&token, "/v1/requests/groups?outcome=failed&last=1d").await);
    assert_eq!(
        failed,
        [r#"2 "puptoo" "no space" "f-2""#, r#"1 "advisor" "no rule" "f-4""#, r#"1 "puptoo" "bad archive" "f-3""#]
    );
    let open = groups(console.get(&token, "/v1/requests/groups?outcome=open").await);
    assert_eq!(open, [r#"1 "advisor" null "o-1""#, r#"1 "engine" null "o-2""#], "the longest silent first");
    assert_eq!(console.get(&token, "/v1/requests/groups").await.status, 400);
}

#[tokio::test]
async fn h1_metrics_are_what_was_committed_whoever_recorded_it() {
    let db = TestDatabase::fresh().await;
    db.client.execute("update postmeter.setting set tracker_unfinished_after = '0'", &[]).await.unwrap();
    let console = Console::start(&db).await;
    let token = console.token(&["intake"]).await;
    story(&console, &token, "r-1", "acme").await;
    // in SQL, past this console; and one that is rolled back
    let track = "select postmeter.track(service => 'puptoo', request_id => 'r-2', status => 'received', source => 'x')";
    db.client.batch_execute(track).await.unwrap();
    db.client.batch_execute(&format!("begin; {track}; rollback")).await.unwrap();
    let text = scraped(&console).await;
    for line in [
        "postmeter_database_up 1",
        "postmeter_requests_unfinished 1",
        "postmeter_request_statuses_total{service=\"ingress\",status=\"success\",source=\"\"} 1",
        "postmeter_request_statuses_total{service=\"puptoo\",status=\"received\",source=\"x\"} 1",
        "postmeter_request_statuses_total{service=\"other\",status=\"\",source=\"\"} 0",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    // more names than a scraper should bear
    let many: Vec<_> = (0..2100).map(|n| said("a", "r-1", &format!("s{n}"), "2026-03-10T10:00:00Z")).collect();
    assert_eq!(told(&console, &token, &json!(many)).await.status, 202);
    let another = Console::start(&db).await;
    let text = scraped(&another).await;
    let series: Vec<_> = text.lines().filter(|line| line.starts_with("postmeter_request_statuses_total{")).collect();
    assert_eq!(series.len(), 2001);
    let sum: u64 = series.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 2106, "nothing is left out");
}

#[tokio::test]
async fn h4_while_the_database_is_away_a_scrape_says_so_and_nothing_looks_empty() {
    let db = TestDatabase::fresh().await;
    let console = Console::start_at("postgres://nobody@127.0.0.1:1/none", db.another(), Options::default()).await;
    let text = scraped(&console).await;
    assert!(text.lines().any(|line| line == "postmeter_database_up 0"), "{text}");
    assert!(!text.contains("postmeter_requests_unfinished"), "no old or empty count: {text}");

    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    let one = said("a", "r", "s", "2026-03-10T10:00:00Z");
    assert_eq!(told(&console, &token, &one).await.status, 202);
    db.client.batch_execute("alter table postmeter.request rename to request_away").await.unwrap();
    for path in ["/v1/requests", "/v1/requests?org=acme", "/v1/requests/r", "/v1/requests/r/events"] {
        let reply = console.get(&token, path).await;
        assert_eq!(
            (reply.status / 100, reply.kind.as_str()),
            (5, "application/problem+json"),
            "{path}: {}",
            reply.text
        );
    }
    let text = scraped(&console).await;
    assert!(text.contains("postmeter_reading_missing{question=\"request_statuses\"} 1\n"), "{text}");
    assert!(!text.contains("postmeter_requests_unfinished"), "no old or empty count: {text}");
    db.client.batch_execute("alter table postmeter.request_status rename to request_status_away").await.unwrap();
    assert!(told(&console, &token, &one).await.status >= 500);
}

/// Sends a path as it is: clients mend `..` before they send it.
async fn raw(console: &Console, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = console.url.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn h1_a_page_is_served_without_covering_the_api_or_leaving_its_directory() {
    let db = TestDatabase::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("page");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::write(directory.join("index.html"), "the page").unwrap();
    std::fs::write(directory.join("app.js"), "the code").unwrap();
    let console = Console::start_with(&db, Options { static_dir: Some(directory), ..Options::default() }).await;
    let answer = raw(&console, "/app/payload-tracker").await;
    assert!(answer.starts_with("HTTP/1.1 308") && answer.contains("location: /app/payload-tracker/\r\n"), "{answer}");
    for (path, body) in [
        ("/app/payload-tracker/", "the page"),
        ("/app/payload-tracker/index.html", "the page"),
        ("/app/payload-tracker/payloads/r-1?x=1", "the page"),
        ("/app/payload-tracker/app.js", "the code"),
    ] {
        let answer = raw(&console, path).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(body), "{path}: {answer}");
    }
    for path in ["/app/payload-tracker/api", "/app/payload-tracker/api/v1/nothing", "/app", "/payloads"] {
        let answer = raw(&console, path).await;
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("problem+json"), "{path}: {answer}");
    }
    for path in
        ["../secret", "%2e%2e/secret", "..%2fsecret", "x/../../secret", "%2e%2e%2fsecret", "..%5csecret", "//secret"]
    {
        let answer = raw(&console, &format!("/app/payload-tracker/{path}")).await;
        assert!(!answer.ends_with("secret"), "{path}: {answer}");
    }
    let without = Console::start(&db).await;
    assert!(raw(&without, "/app/payload-tracker/").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn h10_a_request_is_closed_over_http_by_who_may_operate_and_signed() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    story(&console, &token, "r-1", "acme").await;
    let body = json!({ "reason": "lost with the old cluster", "on_behalf_of": "Ada" });
    assert_eq!(console.post(&token, "/v1/requests/r-1/close", &body).await.status, 403, "reading is not operating");
    let operator = console.token(&["operate"]).await;
    let unknown = console.post(&operator, "/v1/requests/nobody/close", &body).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text);
    let closed = console.post(&operator, "/v1/requests/r-1/close", &body).await.json();
    assert_eq!((&closed["outcome"], &closed["changed"]), (&json!("failed"), &json!(true)), "{closed}");
    let again = console.post(&operator, "/v1/requests/r-1/close", &body).await.json();
    assert_eq!(again["changed"], false, "{again}");
    let way = console.get(&token, "/v1/requests/r-1").await.json();
    assert!(way["closed_at"].is_string(), "{way}");
    let decisions = console.get(&operator, "/v1/decisions?verb=close").await.json();
    assert_eq!(decisions["items"].as_array().unwrap().len(), 1, "{decisions}");
    assert_eq!(decisions["items"][0]["why"], "lost with the old cluster");
}
