//! Posts of alerts: to a real receiver, judged by somebody else's verification.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use marketplaces::webhook::{Reach, Webhook};
use serde_json::{Value, json};
use tests::{Stage, quick};
use tokio::net::TcpListener;
use worker::Worker;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Debug, Clone)]
struct Got {
    headers: [String; 3],
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Names of alerts in a part.
    fn names(&self, part: &str) -> Vec<String> {
        let alerts = self.json()["data"][part].as_array().unwrap().clone();
        alerts.iter().map(|alert| alert["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[derive(Clone)]
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
    answer: Arc<Mutex<u16>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = Self { url, got: Arc::default(), answer: Arc::new(Mutex::new(204)) };
        let inner = receiver.clone();
        let route = axum::routing::post(async move |headers: HeaderMap, body: String| {
            let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
            let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header);
            inner.got.lock().unwrap().push(Got { headers, body });
            let status = StatusCode::from_u16(*inner.answer.lock().unwrap()).unwrap();
            (status, [("location", "http://127.0.0.1:1/")])
        });
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/hook", route)).await });
        receiver
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn posting(stage: &Stage, url: &str) -> Arc<Worker> {
    let webhook = Webhook::open(url, &SECRET.into(), Reach::Loopback).unwrap();
    let options = worker::Options { webhook: Some(Arc::new(webhook)), ..quick() };
    Worker::start(stage.db.another(), options).await.unwrap()
}

/// A stage with held usage of two reasons, each an alert.
async fn alarmed() -> Stage {
    let stage = Stage::new().await;
    stage.sql("select postmeter.create_partitions(2), postmeter.create_request_partitions(7)").await;
    for reason in ["no_subscription", "poison"] {
        stage
            .sql(&format!(
                "insert into postmeter.held (usage_id, reason, org, product, metric, quantity, hour, held_at)
                 select postmeter.new_id(), '{reason}', 'acme', 'db', 'cores', 1, '2024-09-18T08:00Z', '2024-09-18T08:00Z'"
            ))
            .await;
    }
    stage
}

#[tokio::test]
async fn e7_one_post_says_all_that_opened_then_what_is_still_open_and_what_cleared() {
    let (stage, receiver) = (alarmed().await, Receiver::start().await);
    let worker = posting(&stage, &receiver.url).await;
    worker.look(true).await.unwrap();
    assert_eq!(worker.post_alerts().await.unwrap(), 1, "a storm is one post");
    assert_eq!(receiver.got()[0].names("opened"), ["held_without_subscription", "poison"]);
    worker.look(true).await.unwrap();
    assert_eq!(worker.post_alerts().await.unwrap(), 0, "nothing is new");
    stage.sql("delete from postmeter.held where reason = 'poison'").await;
    stage.at("2024-09-18T14:30:00Z").await;
    worker.look(true).await.unwrap();
    assert_eq!(worker.post_alerts().await.unwrap(), 1);
    let last = receiver.got().pop().unwrap();
    assert_eq!(
        (last.names("open"), last.names("cleared")),
        (vec!["held_without_subscription".into()], vec!["poison".into()])
    );
    assert_eq!(worker.post_alerts().await.unwrap(), 0);
    assert_eq!(stage.value("select count(*)::text from postmeter.alert_post where posted_at is not null").await, "2");
}

#[tokio::test]
async fn d7_a_post_that_is_not_taken_is_sent_again_later_with_its_id_and_nothing_overtakes_it() {
    let (stage, receiver) = (alarmed().await, Receiver::start().await);
    let worker = posting(&stage, &receiver.url).await;
    for status in [500, 307, 503] {
        *receiver.answer.lock().unwrap() = status;
        worker.look(true).await.unwrap();
        assert_eq!(worker.post_alerts().await.unwrap(), 0);
        assert_eq!(worker.post_alerts().await.unwrap(), 0, "not before its delay");
        let told = stage
            .value("select concat_ws(' ', http_status, error, next_at > clock_timestamp()) from postmeter.alert_post")
            .await;
        assert_eq!(told, format!("{status} the receiver answered {status} t"));
        // what changes meanwhile waits for the next post
        stage.sql("delete from postmeter.held where reason = 'poison'").await;
        stage.sql("update postmeter.alert_post set next_at = clock_timestamp()").await;
    }
    let undelivered = outbox::alerts::undelivered(&stage.db.database).await.unwrap().unwrap();
    assert_eq!((undelivered.1, undelivered.2.as_str()), (3, "the receiver answered 503"));
    *receiver.answer.lock().unwrap() = 200;
    assert_eq!(worker.post_alerts().await.unwrap(), 2, "the first, then what changed meanwhile");
    let got = receiver.got();
    assert_eq!(got.len(), 5, "a redirect is not followed");
    assert!(got[..4].iter().all(|post| post.headers[0] == got[0].headers[0] && post.body == got[0].body), "{got:?}");
    assert_ne!(got[4].headers[0], got[0].headers[0]);
    assert_eq!(got[4].names("cleared"), ["poison"]);
}

#[tokio::test]
async fn e7_a_post_that_is_refused_for_good_is_given_up_and_what_it_said_is_told_anew() {
    let (stage, receiver) = (alarmed().await, Receiver::start().await);
    let worker = posting(&stage, &receiver.url).await;
    worker.look(true).await.unwrap();
    *receiver.answer.lock().unwrap() = 413;
    for _ in 0..3 {
        assert_eq!(worker.post_alerts().await.unwrap(), 0);
        stage.sql("update postmeter.alert_post set next_at = clock_timestamp()").await;
    }
    let undelivered = outbox::alerts::undelivered(&stage.db.database).await.unwrap().unwrap();
    assert_eq!(undelivered.2, "the receiver answered 413 (given up)");
    *receiver.answer.lock().unwrap() = 200;
    assert_eq!(worker.post_alerts().await.unwrap(), 0, "not the same again at once");
    stage.sql("update postmeter.alert_post set given_up_at = given_up_at - interval '20 minutes'").await;
    assert_eq!(worker.post_alerts().await.unwrap(), 1);
    let last = receiver.got().pop().unwrap();
    assert_eq!(last.names("opened"), ["held_without_subscription", "poison"]);
    assert_ne!(last.headers[0], receiver.got()[0].headers[0], "another post");
}

#[tokio::test]
async fn i5_a_rule_that_is_switched_off_has_nothing_open_and_says_so() {
    let (stage, receiver) = (alarmed().await, Receiver::start().await);
    let worker = posting(&stage, &receiver.url).await;
    worker.look(true).await.unwrap();
    worker.post_alerts().await.unwrap();
    stage.sql("update postmeter.alert_rule set enabled = false where name = 'poison'").await;
    worker.look(true).await.unwrap();
    assert_eq!(worker.post_alerts().await.unwrap(), 1);
    assert_eq!(receiver.got()[1].names("cleared"), ["poison"]);
    let open = "select string_agg(name, ' ') from postmeter.alert where cleared_at is null";
    assert_eq!(stage.value(open).await, "held_without_subscription");
}

#[tokio::test]
async fn e7_two_workers_send_a_post_once_and_a_dead_ones_is_sent_again() {
    let (stage, receiver) = (alarmed().await, Receiver::start().await);
    let (one, two) = (posting(&stage, &receiver.url).await, posting(&stage, &receiver.url).await);
    one.look(true).await.unwrap();
    let (first, second) = tokio::join!(one.post_alerts(), two.post_alerts());
    assert_eq!((first.unwrap() + second.unwrap(), receiver.got().len()), (1, 1));
    stage.sql("delete from postmeter.held where reason = 'poison'").await;
    one.look(true).await.unwrap();
    outbox::alerts::make_post(&stage.db.database, 60.0).await.unwrap();
    let taken = outbox::alerts::take_post(&stage.db.database, 3600.0).await.unwrap().unwrap();
    assert_eq!(two.post_alerts().await.unwrap(), 0, "it is in another's hands");
    stage.sql("update postmeter.alert_post set next_at = clock_timestamp()").await;
    assert_eq!(two.post_alerts().await.unwrap(), 1, "who died with it");
    assert_eq!(receiver.got()[1].headers[0], taken.id.to_string());
}

const VERIFY: &str = r#"
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError
secret, headers, body = json.load(sys.stdin)
Webhook(secret).verify(body, headers)
try:
    Webhook(secret).verify(body.replace("poison", "elixir"), headers)
except WebhookVerificationError:
    print("verified")
"#;

#[tokio::test]
async fn d7_the_signature_is_verified_by_the_standards_own_library() {
    const NAME: &str = "d7_the_signature_is_verified_by_the_standards_own_library";
    let Some(python) = std::env::var_os("POSTMETER_TEST_PYTHON").map(PathBuf::from) else {
        return crate::moto::skip_named(NAME, "POSTMETER_TEST_PYTHON names no Python");
    };
    let (stage, receiver) = (alarmed().await, Receiver::start().await);
    let worker = posting(&stage, &receiver.url).await;
    worker.look(true).await.unwrap();
    worker.post_alerts().await.unwrap();
    let Got { headers: [id, timestamp, signature], body } = receiver.got().remove(0);
    let headers = json!({"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature});
    let run = tokio::process::Command::new(python)
        .args(["-c", VERIFY])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = run.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, json!([SECRET, headers, body]).to_string().as_bytes())
        .await
        .unwrap();
    drop(stdin);
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "verified\n");
}
