//! Lists over HTTP: pages, filters, orders, counts, streams, and whose rows they are.

use std::collections::BTreeSet;

use outbox::listing::LISTS;
use serde_json::Value;
use tests::{Console, Stage, TestDatabase};

/// Three orgs with remittances of several hours; one org's usage is held.
async fn used() -> Stage {
    let stage = Stage::new().await;
    stage.subscribe("globex", "222233334444").await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..6 {
        stage.record(&format!("a{n}"), "acme", "cores", "1.5", &format!("2024-09-18T0{n}:05:00Z")).await;
        stage.record(&format!("g{n}"), "globex", "cores", "2", &format!("2024-09-18T0{n}:05:00Z")).await;
    }
    stage.record("i", "initech", "cores", "0.123456789012345", "2024-09-18T09:05:00Z").await;
    stage.cut_at("2024-09-18T10:40:00Z").await;
    stage
}

/// Every row of a list, page by page.
async fn paged(console: &Console, token: &str, path: &str, limit: usize) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let reply = console.get(token, &format!("{path}{mark}limit={limit}{after}")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        let page = reply.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        rows.extend(items.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return rows,
        }
    }
}

#[tokio::test]
async fn h3_every_list_pages_through_the_same_rows_in_every_order() {
    let stage = used().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    for list in &LISTS {
        let path = format!("/v1/{}", list.name);
        let identity = |row: &Value| list.key.iter().map(|key| row[key].to_string()).collect::<Vec<_>>();
        let whole: BTreeSet<_> = paged(&console, &token, &path, 1000).await.iter().map(identity).collect();
        for column in list.columns.iter().filter(|column| column.sort) {
            for sign in ["", "-"] {
                let rows = paged(&console, &token, &format!("{path}?sort={sign}{}", column.name), 2).await;
                let seen: BTreeSet<_> = rows.iter().map(identity).collect();
                assert_eq!((rows.len(), &seen), (whole.len(), &whole), "{path} by {sign}{}", column.name);
                let nulls: Vec<bool> = rows.iter().map(|row| row[column.name].is_null()).collect();
                assert!(nulls.is_sorted(), "{path}: nulls come last by {sign}{}", column.name);
            }
        }
    }
    let hours: Vec<Value> = paged(&console, &token, "/v1/remittances?sort=-hour&org=acme", 2).await;
    let hours: Vec<&str> = hours.iter().map(|row| row["hour"].as_str().unwrap()).collect();
    assert_eq!(hours.len(), 6);
    assert!(hours.is_sorted_by(|a, b| a >= b) && hours[0] == "2024-09-18T05:00:00Z", "{hours:?}");
    stage.close().await;
}

#[tokio::test]
async fn h3_pages_stay_stable_while_rows_come() {
    let stage = used().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    let first = console.get(&token, "/v1/remittances?sort=-delivery_id&limit=4").await.json();
    stage.record("late", "acme", "cores", "3", "2024-09-18T10:05:00Z").await;
    stage.work_at("2024-09-18T10:45:00Z").await;
    let next = first["next"].as_str().unwrap();
    let second = console.get(&token, &format!("/v1/remittances?sort=-delivery_id&limit=4&after={next}")).await.json();
    let ids = |page: &Value| -> Vec<i64> {
        page["items"].as_array().unwrap().iter().map(|row| row["delivery_id"].as_i64().unwrap()).collect()
    };
    let (first, second) = (ids(&first), ids(&second));
    assert_eq!(second.len(), 4);
    assert!(first.iter().min() > second.iter().max(), "{first:?} {second:?}");
    let wrong = console.get(&token, &format!("/v1/remittances?sort=hour&after={next}")).await;
    assert_eq!((wrong.status, wrong.json()["field"].as_str()), (400, Some("after")), "{}", wrong.text);
    stage.close().await;
}

#[tokio::test]
async fn h3_filters_counts_and_what_is_refused() {
    let stage = used().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    let count = async |query: &str| {
        let reply = console.get(&token, &format!("/v1/{query}&count=true&limit=1")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.json()["count_is_exact"], true);
        reply.json()["count"].as_i64().unwrap()
    };
    assert_eq!(count("remittances?org=acme").await, 6);
    assert_eq!(count("remittances?org=acme&org=globex").await, 12);
    assert_eq!(count("remittances?org=nobody").await, 0);
    assert_eq!(count("remittances?status=accepted&status=nothing_due").await, 12);
    assert_eq!(count("remittances?hour_from=2024-09-18T01:00:00Z&hour_until=2024-09-18T03:00:00Z").await, 4);
    assert_eq!(count("meters?month=2024-09").await, 2);
    assert_eq!(count("held?reason=no_subscription").await, 1);
    assert_eq!(count("unremitted?org=initech").await, 1);
    let held = console.get(&token, "/v1/held").await.json();
    assert_eq!(held["items"][0]["quantity"], "0.123456789012345", "to the letter");
    for (query, field, says) in [
        ("remittances?statsu=due", "statsu", "did you mean status? There are delivery_id"),
        ("remittances?status=dueish", "status", "must be one of open"),
        ("remittances?delivery_id=one", "delivery_id", "whole number"),
        ("remittances?sort=excerpt", "sort", "must be one of delivery_id"),
        ("remittances?limit=1001", "limit", "from 1 to 1000"),
        ("remittances?limit=1&limit=2", "limit", "twice"),
        ("remittances?hour_from=yesterday", "hour_from", "a time with its zone"),
        ("remittances?after=xyz", "after", "called next"),
        ("remittances?format=csv&limit=5", "limit", "for pages"),
        ("held?org=a%00b", "org", "U+0000"),
    ] {
        let reply = console.get(&token, &format!("/v1/{query}")).await;
        let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert_eq!((reply.status, reply.json()["field"].as_str()), (400, Some(field)), "{query}: {}", reply.text);
        assert!(detail.contains(says), "{query}: {detail}");
    }
    stage.close().await;
}

#[tokio::test]
async fn h3_a_count_says_where_it_stopped() {
    let stage = Stage::new().await;
    stage
        .sql(
            "insert into postmeter.held (usage_id, reason, org, product, metric, quantity, hour)
             select postmeter.new_id(), 'poison', 'acme', 'db', 'cores', 1, '2024-09-18T10:00Z' from generate_series(1, 10001);
             insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, attributes)
             select usage_id, 's', usage_id::text, org, product, metric, quantity, hour, '{}' from postmeter.held",
        )
        .await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    let page = console.get(&token, "/v1/held?count=true&limit=1").await.json();
    assert_eq!((page["count"].as_i64(), page["count_is_exact"].as_bool()), (Some(10_000), Some(false)));
    let page = console.get(&token, "/v1/held?count=exact&limit=1").await.json();
    assert_eq!((page["count"].as_i64(), page["count_is_exact"].as_bool()), (Some(10_001), Some(true)));
    let stream = console.get(&token, "/v1/held?format=ndjson").await;
    assert_eq!(stream.text.lines().count(), 10_001, "a stream has no pages");
    let last: Value = serde_json::from_str(stream.text.lines().last().unwrap()).unwrap();
    assert_eq!(last["reason"], "poison");
}

#[tokio::test]
async fn h3_streams_hold_what_pages_hold() {
    let stage = used().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    for list in &LISTS {
        let path = format!("/v1/{}", list.name);
        let pages = paged(&console, &token, &path, 3).await;
        let get = |accept: &'static str| {
            let request = console.http.get(format!("{}{path}", console.url)).bearer_auth(&token);
            console.send(request.header("accept", accept))
        };
        let lines = get("application/x-ndjson").await;
        assert_eq!((lines.status, lines.kind.as_str()), (200, "application/x-ndjson"), "{path}: {}", lines.text);
        let rows: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows, pages, "{path}");
        let table = get("text/csv").await;
        let mut reader = csv::Reader::from_reader(table.text.as_bytes());
        let names: Vec<&str> = list.columns.iter().map(|column| column.name).collect();
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), names, "{path}");
        let key = names.iter().position(|name| *name == list.key[0]).unwrap();
        let keys: Vec<String> = reader.records().map(|record| record.unwrap()[key].to_owned()).collect();
        let of_pages: Vec<String> = pages
            .iter()
            .map(|row| row[list.key[0]].as_str().map_or_else(|| row[list.key[0]].to_string(), str::to_owned))
            .collect();
        assert_eq!(keys, of_pages, "{path}");
    }
    stage.close().await;
}

#[tokio::test]
async fn h4_an_export_that_is_cut_in_the_middle_does_not_look_whole() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["read"]).await;
    // far more than what lies in buffers on the way
    let rows = "insert into postmeter.decision (who, why, verb, detail)
                select 'ada', 'many', 'apply', jsonb_build_object('diff', repeat('x', 200000)) from generate_series(1, 400)";
    db.client.execute(rows, &[]).await.unwrap();
    let request = console.http.get(format!("{}/v1/decisions", console.url)).bearer_auth(&token);
    let mut response = request.header("accept", "application/x-ndjson").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.chunk().await.unwrap().is_some(), "it has begun");
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid() and query like '%decision%' and state = 'active'";
    let sessions: i64 = db.client.query_one(cut, &[]).await.unwrap().get(0);
    assert_eq!(sessions, 1, "the export's");
    let rest = async {
        while response.chunk().await?.is_some() {}
        reqwest::Result::Ok(())
    };
    rest.await.expect_err("the connection breaks before the last chunk");
}

#[tokio::test]
async fn i3_a_token_for_one_org_sees_its_rows_and_is_refused_what_has_none() {
    let stage = used().await;
    let console = Console::start(&stage.db).await;
    let token = console.token_for(&["read"], Some("acme")).await;
    for list in &LISTS {
        for format in ["json", "csv"] {
            let reply = console.get(&token, &format!("/v1/{}?format={format}", list.name)).await;
            assert_eq!(reply.status == 200, list.org.is_some(), "{}: {}", list.name, reply.text);
            assert!(!reply.text.contains("globex") && !reply.text.contains("222233334444"), "{}", reply.text);
            if list.org.is_none() {
                assert!(reply.status == 403 && reply.text.contains(list.name), "{}", reply.text);
            }
        }
    }
    let rows = console.get(&token, "/v1/remittances?org=globex&org=acme").await.json();
    assert_eq!(rows["items"].as_array().unwrap().len(), 6, "its own, whatever it asks for");
    let (own, other) = (
        stage.value("select min(delivery_id)::text from postmeter.remittance where 'acme' = any (orgs)").await,
        stage.value("select min(delivery_id)::text from postmeter.remittance where 'globex' = any (orgs)").await,
    );
    let reply = console.get(&token, &format!("/v1/remittances/{own}")).await;
    assert_eq!((reply.status, reply.json()["remittance"]["orgs"][0].as_str()), (200, Some("acme")), "{}", reply.text);
    assert_eq!(reply.json()["attempts"][0]["excerpt"], Value::Null);
    assert_eq!(console.get(&token, &format!("/v1/remittances/{other}")).await.status, 404);
    let all = console.token(&["read"]).await;
    let reply = console.get(&all, &format!("/v1/remittances/{own}")).await.json();
    assert_eq!(reply["attempts"][0]["outcome"], "accepted", "{reply}");
    stage.close().await;
}

#[tokio::test]
async fn h4_a_database_failure_is_never_an_empty_list() {
    let stage = used().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    stage.sql("alter view postmeter.held_list rename to held_list_away").await;
    for format in ["json", "csv", "ndjson"] {
        let reply = console.get(&token, &format!("/v1/held?format={format}")).await;
        assert!(reply.status >= 500 && reply.kind == "application/problem+json", "{format}: {}", reply.text);
        assert!(!reply.text.contains("acknowledged"), "a read has nothing to acknowledge: {}", reply.text);
    }
}
