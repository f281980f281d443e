//! What would become of usage (dry runs), what will (a word in the answer), what was recorded (the list), and why it is
//! billed or not (explanations).

use serde_json::{Value, json};
use tests::{Console, Reply, Stage};

fn usage(event_id: &str, org: &str, used_at: &str) -> Value {
    json!({"source": "billing", "event_id": event_id, "org": org, "product": "db", "metric": "cores",
           "quantity": "20", "used_at": used_at})
}

async fn post(console: &Console, token: &str, path: &str, body: &Value) -> Reply {
    console.post(token, path, body).await
}

/// Everything that a dry run must not touch.
async fn state(stage: &Stage) -> String {
    let sql =
        "select concat_ws(' ', (select count(*) from postmeter.usage), (select count(*) from postmeter.usage_identity),
                   (select count(*) from postmeter.outbox), (select count(*) from postmeter.idempotency))";
    stage.db.client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Usage of every fate, beside `known`, which is recorded and whose hour is cut.
fn of_every_fate(known: &Value) -> (Value, [&'static str; 8]) {
    let other = |field: &str, value: &str| {
        let mut usage = known.clone();
        usage[field] = json!(value);
        usage
    };
    let correction = |quantity: &str| {
        let mut usage = other("event_id", "c");
        (usage["quantity"], usage["corrects"]) = (json!(quantity), json!("known"));
        usage
    };
    let batch = json!([
        usage("now", "acme", "2024-09-18T11:05:00Z"),
        usage("late", "acme", "2024-09-18T10:50:00Z"),
        usage("held", "nobody", "2024-09-18T11:05:00Z"),
        usage("old", "acme", "2020-09-18T11:05:00Z"),
        known,
        other("quantity", "21"),
        correction("-21"),
        correction("-1"),
    ]);
    let told = [
        "recorded - counted - 2024-09-18T11:00:00Z",
        // the newest hour that was never sent
        "recorded - late - 2024-09-18T09:00:00Z",
        "recorded - held no_subscription 2024-09-18T11:00:00Z",
        "refused PM005 - - -",
        "recorded - - - -",
        "refused PM002 - - -",
        "refused PM004 - - -",
        "recorded - counted - 2024-09-18T10:00:00Z",
    ];
    (batch, told)
}

#[tokio::test]
async fn l5_a_dry_run_says_what_would_become_of_usage_and_touches_nothing() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake"]).await;
    let known = usage("known", "acme", "2024-09-18T10:05:00Z");
    assert_eq!(post(&console, &token, "/v1/usage", &known).await.status, 202);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let before = state(&stage).await;
    let (batch, expected) = of_every_fate(&known);
    // a writer that has not decided yet keeps the identity that is asked about
    let mut busy = stage.db.connect().await;
    let open = busy.transaction().await.unwrap();
    open.batch_execute(
        "select postmeter.record_usage('billing', 'now', 'acme', 'db', 'cores', 20, '2024-09-18T11:05:00Z'::timestamptz)",
    )
    .await
    .unwrap();
    let request = console.http.post(format!("{}/v1/usage/batch?dry_run=true", console.url)).bearer_auth(&token);
    let reply = console.send(request.header("Idempotency-Key", "k").json(&batch)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let told = reply.json();
    assert_eq!(
        (told["dry_run"].as_bool(), told["recorded"].as_i64(), told["refused"].as_i64()),
        (Some(true), Some(5), Some(3))
    );
    let item = |at: usize| {
        let item = &told["items"][at];
        let part = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        [
            &item["verdict"],
            &item["code"],
            &item["outlook"]["fate"],
            &item["outlook"]["reason"],
            &item["outlook"]["hour"],
        ]
        .map(part)
        .join(" ")
    };
    for (at, expected) in expected.iter().enumerate() {
        assert_eq!(item(at), *expected, "{}", told["items"][at]);
    }
    open.rollback().await.unwrap();
    assert_eq!(state(&stage).await, before);
    let one = post(&console, &token, "/v1/usage?dry_run=true", &usage("old", "acme", "2020-09-18T11:05:00Z")).await;
    assert_eq!((one.status, one.json()["code"].as_str()), (422, Some("PM005")), "{}", one.text);
    // what was foretold is what comes
    assert_eq!(post(&console, &token, "/v1/usage/batch", &batch).await.status, 207);
    stage.work_at("2024-09-18T11:30:00Z").await;
    let reader = console.token(&["read"]).await;
    let mut places = Vec::new();
    for event in ["now", "late", "held"] {
        let standing = console.get(&reader, &format!("/v1/usage/billing/{event}")).await.json();
        places.push(format!("{} {}", standing["at"][0]["status"], standing["at"][0]["hour"]));
    }
    let expected = ["\"open\" \"2024-09-18T11:00:00Z\"", "\"open\" \"2024-09-18T09:00:00Z\"", "\"held\" null"];
    assert_eq!(places, expected);
    stage.close().await;
}

/// What only the fold can tell is not foretold, and what it tells is what came.
#[tokio::test]
async fn l5_a_dry_run_does_not_foretell_what_only_the_fold_can_tell() {
    let stage = Stage::new().await;
    stage.at("2024-09-19T18:30:00Z").await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake", "read", "operate"]).await;
    let ask = async |usage: &Value| -> Value {
        let reply = post(&console, &token, "/v1/usage?dry_run=true", usage).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["outlook"].clone()
    };
    // the buyer's first usage of the month comes late: no meter is there yet whose hours could be asked
    let late = usage("late", "acme", "2024-09-18T10:05:00Z");
    stage.sql("update postmeter.destination set age_limit = '6 hours'").await;
    let told = ask(&late).await;
    assert_eq!((told["fate"].as_str(), told.get("hour")), (Some("late"), None), "{told}");
    stage.sql("update postmeter.destination set age_limit = '3 days'").await;
    assert_eq!(ask(&late).await["fate"], "counted");
    assert_eq!(post(&console, &token, "/v1/usage", &late).await.status, 202);
    stage.work_at("2024-09-19T18:31:00Z").await;
    let mut correction = usage("c", "acme", "2024-09-18T10:05:00Z");
    (correction["quantity"], correction["corrects"]) = (json!("-1"), json!("late"));
    assert_eq!(ask(&correction).await["fate"], "counted");
    let closed =
        "with d as (insert into postmeter.decision (who, why, verb) values ('test', 'test', 'close') returning id)
        insert into postmeter.closed_month (destination_id, month, decision_id)
        select t.id, '2024-09-01', d.id from postmeter.destination t, d";
    stage.sql(closed).await;
    let told = ask(&correction).await;
    assert_eq!((told["fate"].as_str(), told["reason"].as_str()), (Some("held"), Some("month_closed")), "{told}");
    let recorded = post(&console, &token, "/v1/usage", &correction).await.json();
    assert_eq!(recorded["outlook"]["reason"], "month_closed", "{recorded}");
    let many: Vec<Value> = (0..501).map(|n| usage(&format!("m{n}"), "acme", "2024-09-19T18:05:00Z")).collect();
    assert_eq!(post(&console, &token, "/v1/usage/batch?dry_run=true", &json!(many)).await.status, 413);
    stage.close().await;
}

#[tokio::test]
async fn l5_an_answer_warns_of_usage_that_is_held_or_late() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake"]).await;
    let fine = post(&console, &token, "/v1/usage", &usage("fine", "acme", "2024-09-18T10:05:00Z")).await.json();
    assert_eq!(fine.get("outlook"), None, "{fine}");
    let held = usage("held", "nobody", "2024-09-18T10:05:00Z");
    let first = post(&console, &token, "/v1/usage", &held).await;
    assert_eq!(first.json()["outlook"]["reason"], "no_subscription", "{}", first.text);
    assert_eq!(post(&console, &token, "/v1/usage", &held).await, first, "and the answers to a repetition are equal");
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(
        post(&console, &token, "/v1/usage", &held).await.json()["outlook"]["reason"],
        "no_subscription",
        "held by now"
    );
    let late = usage("late", "acme", "2024-09-18T10:50:00Z");
    let batch = json!([usage("fine", "acme", "2024-09-18T10:05:00Z"), late]);
    for _ in 0..2 {
        let items = post(&console, &token, "/v1/usage/batch", &batch).await.json()["items"].clone();
        assert_eq!(items[0].get("outlook"), None, "it was in time: {items}");
        assert_eq!(items[1]["outlook"]["fate"], "late", "{items}");
        assert_eq!(items[1]["outlook"]["hour"], "2024-09-18T09:00:00Z", "{items}");
        stage.work_at("2024-09-18T11:20:00Z").await;
    }
    // whoever keeps what a warning would read keeps nothing from being recorded
    let mut locker = stage.db.connect().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("lock table postmeter.held, postmeter.subscription in access exclusive mode").await.unwrap();
    let recorded = post(&console, &token, "/v1/usage", &usage("dark", "nobody", "2024-09-18T11:05:00Z")).await;
    assert_eq!((recorded.status, recorded.json().get("outlook")), (202, None), "{}", recorded.text);
    lock.rollback().await.unwrap();
    stage.close().await;
}

#[tokio::test]
async fn l5_what_was_recorded_is_listed_by_its_own_org_page_by_page_and_whole() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake", "read"]).await;
    let acme = console.token_for(&["read"], Some("acme")).await;
    let batch: Vec<Value> = (0..5)
        .map(|n| usage(&format!("e{n}"), if n == 4 { "globex" } else { "acme" }, &format!("2024-09-18T10:0{n}:00Z")))
        .collect();
    assert_eq!(post(&console, &token, "/v1/usage", &json!(batch)).await.status, 202);
    let events = |reply: &Reply| -> Vec<String> {
        reply.json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["event_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = console.get(&acme, "/v1/usage?limit=3&sort=usage_id").await;
    assert_eq!(events(&page), ["e0", "e1", "e2"], "{}", page.text);
    let next = page.json()["next"].as_str().unwrap().to_owned();
    let rest = console.get(&acme, &format!("/v1/usage?limit=3&sort=usage_id&after={next}")).await;
    assert_eq!((events(&rest), &rest.json()["next"]), (vec!["e3".to_owned()], &Value::Null), "its own org's only");
    let range = "/v1/usage?org=acme&product=db&metric=cores&source=billing&used_at_from=2024-09-18T10:01:00Z\
                 &used_at_until=2024-09-18T10:03:00Z";
    assert_eq!(events(&console.get(&token, range).await), ["e2", "e1"]);
    let whole = console.get(&token, "/v1/usage?format=csv&sort=usage_id").await;
    assert_eq!(whole.text.lines().count(), 6, "{}", whole.text);
    assert_eq!(console.get(&token, "/v1/usage?format=ndjson").await.text.lines().count(), 5);
}

/// In production an id is as old as its row: a range of time reads no partition of another time.
#[tokio::test]
async fn l5_a_range_of_time_bounds_what_the_list_of_usage_reads() {
    let stage = Stage::new().await;
    let plan = async |purpose: &str| -> String {
        let sql = format!(
            "update postmeter.setting set clock_frozen = null, clock_shift = '0', purpose = '{purpose}';
             insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, attributes)
             select postmeter.new_id(), 's', 'e' || n || '{purpose}', 'acme', 'db', 'cores', 1, now(), '{{}}' from generate_series(1, 3000) n;
             analyze postmeter.usage"
        );
        stage.db.client.batch_execute(&sql).await.unwrap();
        let explain = "explain (analyze, costs off, timing off, summary off)
            select * from postmeter.usage_list v where v.used_at < '2020-01-01' and v.recorded_at < '2020-01-01'
            and v.usage_id < postmeter.usage_id_until('2020-01-01') order by v.usage_id desc limit 50";
        let rows = stage.db.client.query(explain, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
    };
    let production = plan("production").await;
    assert!(!production.contains("Rows Removed by Filter"), "ids leave nothing to be filtered: {production}");
    assert!(plan("test").await.contains("Rows Removed by Filter"), "where the clock may move, ids tell nothing");
}

#[tokio::test]
async fn h1_explanations_over_http_have_the_arithmetic_and_the_share_of_the_usage_asked_about() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake", "read"]).await;
    let other = console.token_for(&["read"], Some("globex")).await;
    let acme = console.token_for(&["read"], Some("acme")).await;
    // deeper than a parser of ours reads, and less deep than may be recorded
    let deep = format!("{}1{}", "{\"a\": ".repeat(300), "}".repeat(300));
    for event in ["a", "b", "c", "d"] {
        let usage = usage(event, "acme", "2024-09-18T10:05:00Z").to_string();
        let body = usage.replace("\"event_id\"", &format!("\"attributes\":{deep},\"event_id\""));
        let request = console.http.post(format!("{}/v1/usage", console.url)).bearer_auth(&token);
        let reply = console.send(request.header("content-type", "application/json").body(body)).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    let shallow = |reply: &Reply| -> Value {
        serde_json::from_str(&reply.text.replace(&deep, "{}")).unwrap_or_else(|error| panic!("{error}: {}", reply.text))
    };
    let path = "/v1/usage/billing/a/explanation";
    assert!(shallow(&console.get(&token, path).await)["in_short"].as_str().unwrap().starts_with("NOT BILLED YET"));
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let told = console.get(&acme, path).await;
    assert!(shallow(&told)["in_short"].as_str().unwrap().starts_with("BILLED"), "{}", told.text);
    assert!(told.text.contains("25.0 % of that metric"), "its share: {}", told.text);
    assert!(told.text.contains("80"), "the arithmetic: {}", told.text);
    assert_eq!(console.get(&other, path).await.status, 404);
    let delivery = shallow(&told)["report"]["allocations"][0]["delivery_id"].as_i64().unwrap();
    let path = format!("/v1/remittances/{delivery}/explanation");
    assert_eq!(console.get(&token, &path).await.status, 200);
    assert_eq!(console.get(&other, &path).await.status, 404);
    let limited = console.get(&acme, &path).await.json();
    assert_eq!(limited["report"]["attempts"][0]["receipt"], Value::Null, "answers may speak of others");
    stage.close().await;
}
