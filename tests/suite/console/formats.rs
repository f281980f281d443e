//! Every format in which usage comes in over HTTP leaves the same row, and what is wrong is named as its sender calls it.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tests::{Console, Reply, Stage, TestDatabase};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn usage(event_id: &str) -> Value {
    json!({"source": "billing", "event_id": event_id, "org": "acme", "product": "db", "metric": "cores",
           "quantity": "1", "used_at": "2024-09-18T10:05:00Z", "traceparent": TRACE})
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "type": "postmeter.usage.v1", "source": "billing", "id": id, "time": "2024-09-18T10:05:00Z",
           "traceparent": TRACE, "data": {"org": "acme", "product": "db", "metric": "cores", "quantity": "1"}})
}

struct Door {
    console: Console,
    token: String,
}

impl Door {
    async fn open(stage: &Stage) -> Self {
        let console = Console::start(&stage.db).await;
        let token = console.token(&["intake", "read"]).await;
        Self { console, token }
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Reply {
        let request = self.console.http.post(format!("{}{path}", self.console.url)).bearer_auth(&self.token);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.console.send(request.body(body)).await
    }
}

async fn rows(db: &TestDatabase) -> Vec<String> {
    let sql = "select concat_ws(' ', source, event_id, org, product, metric, quantity, used_at at time zone 'UTC', traceparent)
               from postmeter.usage order by id";
    db.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

#[tokio::test]
async fn a3_every_format_of_http_leaves_the_same_row() {
    let stage = Stage::new().await;
    let door = Door::open(&stage).await;
    let binary = [
        JSON,
        ("ce-specversion", "1.0"),
        ("ce-type", "postmeter.usage.v1"),
        ("ce-source", "billing"),
        ("ce-id", "e%31"),
        ("ce-time", "2024-09-18T10:05:00Z"),
        ("ce-traceparent", TRACE),
    ];
    let first = door.send("/v1/usage", &[JSON], usage("e1").to_string()).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let batch = "/v1/usage/batch";
    let (one, many) = ("application/cloudevents+json", "application/cloudevents-batch+json");
    for (path, headers, body) in [
        (batch, vec![JSON], json!([usage("e1")]).to_string().into_bytes()),
        (batch, vec![NDJSON], format!("{}\r\n\n", usage("e1")).into_bytes()),
        (batch, vec![NDJSON, GZIP], gzipped(&format!("{}\n", usage("e1")))),
        (batch, vec![("content-type", many)], json!([event("e1")]).to_string().into_bytes()),
        ("/v1/usage", vec![JSON, GZIP], gzipped(&usage("e1").to_string())),
        ("/v1/usage", vec![JSON], json!([usage("e1")]).to_string().into_bytes()),
        ("/v1/usage", vec![NDJSON], usage("e1").to_string().into_bytes()),
        ("/v1/usage", vec![("content-type", one)], event("e1").to_string().into_bytes()),
        ("/v1/usage", binary.to_vec(), event("e1")["data"].to_string().into_bytes()),
        ("/v1/cloudevents", binary.to_vec(), event("e1")["data"].to_string().into_bytes()),
        ("/v1/cloudevents", vec![("content-type", one)], event("e1").to_string().into_bytes()),
        ("/v1/cloudevents/batch", vec![("content-type", many)], json!([event("e1")]).to_string().into_bytes()),
    ] {
        let reply = door.send(path, &headers, body).await;
        let answer = reply.json();
        let item = if answer["items"].is_array() { answer["items"][0].clone() } else { answer };
        assert_eq!((reply.status, &item), (202, &first.json()), "{path} {headers:?}: {}", reply.text);
    }
    assert_eq!(rows(&stage.db).await, [format!("billing e1 acme db cores 1 2024-09-18 10:05:00 {TRACE}")]);
    let alone = door.send(batch, &[JSON], usage("e2").to_string()).await;
    assert_eq!(alone.status, 400, "a batch is many: {}", alone.text);
}

#[tokio::test]
async fn l5_what_is_wrong_is_named_as_its_sender_calls_it() {
    let stage = Stage::new().await;
    let door = Door::open(&stage).await;
    let with = |mut body: Value, pointer: &str, value: Value| {
        *body.pointer_mut(pointer).expect("there") = value;
        body
    };
    let structured = [("content-type", "application/cloudevents+json")];
    for (body, field) in [
        (with(event("e"), "/id", json!("")), "id"),
        (with(event("e"), "/time", json!("yesterday")), "time"),
        (with(event("e"), "/data/quantity", json!("-1")), "data.quantity"),
        (with(event("e"), "/data/org", json!(7)), "data.org"),
        (with(event("e"), "/data", json!([1])), "data"),
        (with(event("e"), "/data", json!({"source": "x"})), "data.source"),
    ] {
        let reply = door.send("/v1/cloudevents", &structured, body.to_string()).await;
        let problem = reply.json();
        assert_eq!((reply.status, problem["field"].as_str()), (422, Some(field)), "{}", reply.text);
        assert!(problem["detail"].as_str().unwrap().contains(field), "the sentence names it, too: {}", reply.text);
    }
    let binary =
        [JSON, ("ce-specversion", "1.0"), ("ce-type", "postmeter.usage.v1"), ("ce-source", "billing"), ("ce-id", "e")];
    let reply = door.send("/v1/cloudevents", &binary, "{}").await;
    assert_eq!((reply.status, reply.json()["field"].as_str()), (422, Some("ce-time")), "{}", reply.text);
    let lines = format!("{}\n{{oops\n{}", usage("e1"), with(usage("e2"), "/quantity", json!("x")));
    let reply = door.send("/v1/usage/batch", &[NDJSON], lines).await;
    let items = reply.json()["items"].clone();
    assert_eq!((reply.status, items[0]["verdict"].as_str()), (207, Some("recorded")), "{}", reply.text);
    assert!(items[1]["message"].as_str().unwrap().starts_with("line 2 is no JSON"), "{}", reply.text);
    assert_eq!(items[2]["field"], "quantity");
    assert_eq!(rows(&stage.db).await.len(), 1);
}

/// What is percent-encoded is part of an id, so that two ids are two usages; what a proxy adds is no event.
#[tokio::test]
async fn a3_ids_in_headers_are_kept_to_the_letter() {
    let stage = Stage::new().await;
    let door = Door::open(&stage).await;
    let data = event("e")["data"].to_string();
    let send = async |id: &str| {
        let fixed = [JSON, ("ce-specversion", "1.0"), ("ce-type", "postmeter.usage.v1"), ("ce-source", "billing")];
        let headers: Vec<_> = fixed.into_iter().chain([("ce-id", id), ("ce-time", "2024-09-18T10:05:00Z")]).collect();
        door.send("/v1/cloudevents", &headers, data.clone()).await
    };
    for id in ["w", "%22w%22", "%20w%20", "\"quoted\""] {
        assert_eq!(send(id).await.status, 202, "{id}");
    }
    for id in ["%+5q", "%4", "a%00b"] {
        let reply = send(id).await;
        assert_eq!((reply.status, reply.json()["field"].as_str()), (400, Some("ce-id")), "{}", reply.text);
    }
    let ids: String = stage
        .db
        .client
        .query_one("select string_agg(event_id, ',' order by id) from postmeter.usage", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(ids, "w,\"w\", w ,quoted");
    let mesh = door.send("/v1/usage", &[JSON, ("ce-foo", "x")], usage("mesh").to_string()).await;
    assert_eq!(mesh.status, 202, "{}", mesh.text);
    assert_eq!(door.send("/v1/cloudevents", &[JSON], usage("plain").to_string()).await.status, 400, "it is no event");
}

#[tokio::test]
async fn f4_a_compressed_body_cannot_become_larger_than_a_body_may_be() {
    let stage = Stage::new().await;
    let options = console::Options { body_bytes_max: 4096, ..Default::default() };
    let console = Console::start_with(&stage.db, options).await;
    let token = console.token(&["intake"]).await;
    let door = Door { console, token };
    let bomb = gzipped(&format!("[{}]", " ".repeat(1 << 20)));
    assert!(bomb.len() < 4096);
    assert_eq!(door.send("/v1/usage/batch", &[JSON, GZIP], bomb).await.status, 413);
    let nothing = gzipped("").repeat(101);
    assert_eq!(
        door.send("/v1/usage/batch", &[JSON, GZIP], nothing).await.status,
        400,
        "many members that hold nothing"
    );
    let two = [gzipped("[]").as_slice(), gzipped(" ").as_slice()].concat();
    assert_eq!(door.send("/v1/usage/batch", &[JSON, GZIP], two).await.status, 202, "two members are one body");
    assert_eq!(door.send("/v1/usage/batch", &[NDJSON], "\n x".repeat(5001)).await.status, 413, "counted, not read");
    let cut = gzipped(&usage("e").to_string());
    let reply = door.send("/v1/usage", &[JSON, GZIP], cut[..cut.len() - 9].to_vec()).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    let reply = door.send("/v1/usage", &[JSON, ("content-encoding", "br")], "x").await;
    assert_eq!(reply.status, 415, "{}", reply.text);
    assert!(rows(&stage.db).await.is_empty());
}

#[tokio::test]
async fn a2_two_idempotency_keys_are_refused() {
    let stage = Stage::new().await;
    let door = Door::open(&stage).await;
    let keys = [JSON, ("idempotency-key", "a"), ("idempotency-key", "b")];
    let reply = door.send("/v1/usage", &keys, usage("e").to_string()).await;
    assert_eq!((reply.status, reply.json()["field"].as_str()), (400, Some("Idempotency-Key")), "{}", reply.text);
    assert!(rows(&stage.db).await.is_empty());
}

/// Heads that never end: none at all, that of HTTP/2, half of one of HTTP/1.1, and a second one after an answer.
#[tokio::test]
async fn f4_a_head_that_does_not_arrive_ends_its_connection() {
    let stage = Stage::new().await;
    let options = console::Options { head_within: Duration::from_millis(100), ..Default::default() };
    let console = Console::start_with(&stage.db, options).await;
    for half in
        ["", "PRI * HT", "GET /live HTTP/1.1\r\nhost: x\r\nx-a: ", "GET /live HTTP/1.1\r\nhost: x\r\n\r\nGET /li"]
    {
        let mut socket = TcpStream::connect(console.url.trim_start_matches("http://")).await.unwrap();
        socket.write_all(half.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "the console closes a connection after {half:?}");
        assert_eq!(half.contains("\r\n\r\n"), said.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&said));
    }
}
