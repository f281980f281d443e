//! Recording usage over HTTP, and asking where it is.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Console, Reply, Stage, TestDatabase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn usage(event_id: &str, quantity: &str) -> Value {
    json!({"source": "billing", "event_id": event_id, "org": "acme", "product": "db", "metric": "cores",
           "quantity": quantity, "used_at": "2024-09-18T10:05:00Z"})
}

async fn count(db: &TestDatabase, table: &str) -> i64 {
    db.client.query_one(&format!("select count(*) from postmeter.{table}"), &[]).await.unwrap().get(0)
}

async fn posted(console: &Console, token: &str, key: &str, body: &Value) -> Reply {
    let request = console.http.post(format!("{}/v1/usage", console.url)).bearer_auth(token);
    console.send(request.header("Idempotency-Key", key).json(body)).await
}

#[tokio::test]
async fn a2_fifty_callers_with_one_usage_get_equal_answers_and_leave_one_row() {
    let stage = Stage::new().await;
    let console =
        Console::start_with(&stage.db, console::Options { intake_at_once_max: 64, ..Default::default() }).await;
    let token = console.token(&["intake"]).await;
    let body = usage("e", "1");
    let replies = join_all((0..50).map(|_| console.post(&token, "/v1/usage", &body))).await;
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    assert_eq!(replies[0].status, 202, "{}", replies[0].text);
    assert_eq!(replies[0].json()["href"], "/v1/usage/billing/e");
    assert_eq!((count(&stage.db, "usage").await, count(&stage.db, "outbox").await), (1, 1));
    let other = console.post(&token, "/v1/usage", &usage("e", "2")).await;
    assert_eq!((other.status, other.json()["code"].as_str()), (422, Some("PM002")), "{}", other.text);
    assert_eq!(count(&stage.db, "usage").await, 1);
}

#[tokio::test]
async fn a2_an_idempotency_key_is_answered_the_same_or_refused_with_another_body() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let (token, other) = (console.token(&["intake"]).await, console.token(&["intake"]).await);
    let body = json!([usage("e", "1"), usage("f", "oops")]);
    let first = posted(&console, &token, "k", &body).await;
    assert_eq!(first.status, 207, "{}", first.text);
    assert_eq!((first.json()["recorded"].as_i64(), first.json()["refused"].as_i64()), (Some(1), Some(1)));
    assert_eq!(first.json()["items"][1]["field"], "quantity", "{}", first.text);
    assert_eq!(posted(&console, &token, "\"k\"", &body).await, first, "the draft's quoted form is the same key");
    let changed = posted(&console, &token, "k", &json!([usage("g", "1")])).await;
    assert_eq!(changed.status, 422);
    assert!(changed.text.contains("key-reused"), "{}", changed.text);
    assert_eq!(
        posted(&console, &other, "k", &json!([usage("g", "1")])).await.status,
        202,
        "keys are each caller's own"
    );
    assert_eq!(count(&stage.db, "usage").await, 2);
}

#[tokio::test]
async fn a2_a_key_that_is_being_worked_on_is_a_conflict() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake"]).await;
    let name: String = stage.db.client.query_one("select name from postmeter.token", &[]).await.unwrap().get(0);
    // somebody is at work on this key: as the console itself marks it
    let mut busy = stage.db.connect().await;
    let transaction = busy.transaction().await.unwrap();
    let lock = include_str!("../../../sql/queries/idempotency_lock.sql");
    transaction.query_one(lock, &[&name, &"k"]).await.unwrap();
    let reply = posted(&console, &token, "k", &usage("e", "1")).await;
    assert_eq!((reply.status, reply.retry_after.as_deref()), (409, Some("1")), "{}", reply.text);
    assert_eq!(count(&stage.db, "usage").await, 0);
    transaction.rollback().await.unwrap();
    assert_eq!(posted(&console, &token, "k", &usage("e", "1")).await.status, 202);
}

#[tokio::test]
async fn e5_ten_failures_one_success_and_five_resends_leave_one_record_and_equal_answers() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake", "read"]).await;
    stage.sql("alter table postmeter.usage rename to usage_away").await;
    for _ in 0..10 {
        let reply = posted(&console, &token, "k", &usage("e", "1")).await;
        assert!(reply.status >= 500, "H4: a failure of the database is a 5xx: {}", reply.text);
        assert!(reply.text.contains("nothing was acknowledged"), "{}", reply.text);
    }
    stage.sql("alter table postmeter.usage_away rename to usage").await;
    let success = posted(&console, &token, "k", &usage("e", "1")).await;
    assert_eq!(success.status, 202, "{}", success.text);
    for _ in 0..5 {
        assert_eq!(posted(&console, &token, "k", &usage("e", "1")).await, success);
    }
    assert_eq!(count(&stage.db, "usage").await, 1);
    let standing = console.get(&token, "/v1/usage/billing/e").await.json();
    assert_eq!((standing["done"].as_bool(), &standing["pending"]), (Some(false), &json!(["waiting"])));
    stage.work_at("2024-09-18T10:30:00Z").await;
    let standing = console.get(&token, "/v1/usage/billing/e").await.json();
    assert_eq!((standing["done"].as_bool(), &standing["pending"]), (Some(false), &json!(["aws: open"])));
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let standing = console.get(&token, "/v1/usage/billing/e").await.json();
    assert_eq!((standing["done"].as_bool(), &standing["pending"]), (Some(true), &json!([])), "{standing}");
    assert_eq!(standing["at"][0]["status"], "accepted");
    assert_eq!(console.get(&token, "/v1/usage/billing/never").await.status, 404, "unknown is never pending");
}

#[tokio::test]
async fn a3_cloud_events_give_the_same_rows() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake"]).await;
    let event = json!({"specversion": "1.0", "type": "postmeter.usage.v1", "source": "billing", "id": "e",
        "time": "2024-09-18T12:05:00+02:00", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": {"org": "acme", "product": "db", "metric": "cores", "quantity": 1}});
    let send = |kind: &'static str, body: Value| {
        let request = console.http.post(format!("{}/v1/usage", console.url)).bearer_auth(&token);
        console.send(request.header("content-type", kind).body(body.to_string()))
    };
    let one = send("application/cloudevents+json", event.clone()).await;
    assert_eq!(one.status, 202, "{}", one.text);
    let many = send("application/cloudevents-batch+json; charset=utf-8", json!([event])).await;
    assert_eq!(many.json()["items"][0], one.json(), "the same event again");
    assert_eq!(console.post(&token, "/v1/usage", &usage("e", "1.0")).await.json(), one.json(), "and as plain JSON");
    assert_eq!(count(&stage.db, "usage").await, 1);
    let other = send("application/cloudevents+json", json!({"specversion": "1.0", "type": "x"})).await;
    assert_eq!((other.status, other.json()["field"].as_str()), (422, Some("type")), "{}", other.text);
    assert_eq!(send("text/plain", json!({})).await.status, 415);
}

#[tokio::test]
async fn a4_what_is_wrong_is_named_and_too_much_is_refused_before_it_is_read() {
    let stage = Stage::new().await;
    let options = console::Options { body_bytes_max: 4096, rows_max: 3, ..Default::default() };
    let console = Console::start_with(&stage.db, options).await;
    let token = console.token(&["intake"]).await;
    for (wrong, field) in [
        (json!({"source": "billing"}), "event_id"),
        (
            json!({"source": "billing", "event_id": "e", "org": "acme", "product": "db", "metric": "cores",
                "quantity": "NaN", "used_at": "2024-09-18T10:05:00Z"}),
            "quantity",
        ),
        (
            json!({"source": "billing", "event_id": "e", "org": "acme", "product": "db", "metric": "cores",
                "quantity": 1, "used_at": "2024-09-18 10:05"}),
            "used_at",
        ),
    ] {
        let reply = console.post(&token, "/v1/usage", &wrong).await;
        assert_eq!((reply.status, reply.json()["field"].as_str()), (422, Some(field)), "{}", reply.text);
    }
    let many: Vec<Value> = (0..4).map(|n| usage(&n.to_string(), "1")).collect();
    assert_eq!(console.post(&token, "/v1/usage", &json!(many)).await.status, 413);
    assert_eq!(console.post(&token, "/v1/usage", &json!({"source": "x".repeat(5000)})).await.status, 413);
    let request = console.http.post(format!("{}/v1/usage", console.url)).bearer_auth(&token);
    assert_eq!(console.send(request.header("content-type", "application/json").body("{")).await.status, 400);
    assert_eq!(count(&stage.db, "usage").await, 0);
}

/// A request whose body has begun to be read, and does not come.
async fn stalled(console: &Console, token: &str) -> TcpStream {
    let address = console.url.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/usage HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\nexpect: 100-continue\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket
}

#[tokio::test]
async fn f4_bodies_that_do_not_arrive_are_given_up_and_hold_a_bounded_room() {
    let stage = Stage::new().await;
    let options = console::Options { body_within: Duration::from_millis(50), ..Default::default() };
    let console = Console::start_with(&stage.db, options).await;
    let mut slow = stalled(&console, &console.token(&["intake"]).await).await;
    let mut said = String::new();
    slow.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("slow-body"), "{said}");

    let console =
        Console::start_with(&stage.db, console::Options { intake_at_once_max: 1, ..Default::default() }).await;
    let token = console.token(&["intake"]).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(stalled(&console, &token).await);
    }
    let reply = console.post(&token, "/v1/usage", &usage("e", "1")).await;
    assert_eq!((reply.status, reply.retry_after.as_deref()), (429, Some("1")), "{}", reply.text);
    assert_eq!(count(&stage.db, "usage").await, 0);
}

#[tokio::test]
async fn i3_a_token_for_one_org_records_and_finds_that_org_only() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let acme = console.token_for(&["intake", "read"], Some("acme")).await;
    let globex = console.token_for(&["intake", "read"], Some("globex")).await;
    assert_eq!(console.post(&acme, "/v1/usage", &usage("e", "1")).await.status, 202);
    let refused = console.post(&globex, "/v1/usage", &usage("f", "1")).await;
    assert_eq!((refused.status, refused.json()["field"].as_str()), (422, Some("org")), "{}", refused.text);
    assert_eq!(console.get(&acme, "/v1/usage/billing/e").await.status, 200);
    assert_eq!(console.get(&globex, "/v1/usage/billing/e").await.status, 404);
    assert_eq!(count(&stage.db, "usage").await, 1);
}

#[tokio::test]
async fn f4_a_caller_that_asks_too_often_is_told_when_to_come_again() {
    let stage = Stage::new().await;
    let options = console::Options { requests_per_minute: 2, ..Default::default() };
    let console = Console::start_with(&stage.db, options).await;
    let (token, other) = (console.token(&["read"]).await, console.token(&["read"]).await);
    let statuses =
        [console.get(&token, "/v1/usage/s/e").await.status, console.get(&token, "/v1/usage/s/e").await.status];
    assert_eq!(statuses, [404, 404]);
    let reply = console.get(&token, "/v1/usage/s/e").await;
    assert_eq!((reply.status, reply.retry_after.is_some()), (429, true));
    assert_eq!(console.get(&other, "/v1/usage/s/e").await.status, 404, "each caller for itself");
}

#[tokio::test]
async fn a6_an_answer_that_is_lost_after_the_commit_is_given_again_and_leaves_one_row() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake"]).await;
    let body = usage("e", "1").to_string();
    let mut socket = TcpStream::connect(console.url.trim_start_matches("http://")).await.unwrap();
    let request = format!(
        "POST /v1/usage HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    // committed, and nobody reads the answer
    tests::wait_until("the usage is committed", async || count(&stage.db, "usage").await > 0).await;
    drop(socket);
    let again = console.post(&token, "/v1/usage", &usage("e", "1")).await;
    let once_more = console.post(&token, "/v1/usage", &usage("e", "1")).await;
    assert_eq!((again.status, &again), (202, &once_more));
    assert_eq!((count(&stage.db, "usage").await, count(&stage.db, "outbox").await), (1, 1));
}
