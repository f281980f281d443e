//! Google over real sockets: the client against the simulator, and against servers that do what no marketplace would.

mod hostile;
mod judged;
mod tokens;

use std::time::Duration;

use marketplaces::google::Google;
use marketplaces::{Frozen, Marketplace, OutgoingRecord, Record};
use remittance::{Answer, Outcome};
use serde_json::{Value, json};
use simulator::{Clock, Match, Running, Settings, Simulator};
use tests::t;
use tokio::net::TcpListener;
use uuid::Uuid;

const SERVICE: &str = "db.example.com";
/// Ample: longer than anything here takes that is not meant to run into it.
const AMPLE: Duration = Duration::from_secs(20);

/// A simulator a quarter past the hour that ends with every window here.
async fn simulator(google: Value) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let mut settings: Value = serde_json::to_value(Settings::default()).expect("settings");
    let section = settings["google"].as_object_mut().expect("a section");
    section.extend(google.as_object().expect("settings").clone());
    let settings: Settings = serde_json::from_value(settings).expect("settings");
    let settings = Settings { clock: Clock::frozen_at(t("2024-09-18T23:15:00Z")), ..settings };
    Simulator::start(listener, settings).expect("a simulator")
}

/// A client whose tokens come from the endpoint's own metadata server.
fn google(endpoint: &str) -> Google {
    google_with(&json!({ "service_name": SERVICE, "endpoint": endpoint, "credentials": "metadata" }))
}

fn google_with(settings: &Value) -> Google {
    Google::open(settings).expect("settings")
}

/// An operation of a consumer's last hour.
fn parcel(google: &Google, consumer: &str, dimension: &str, quantity: &str, decimals: u32) -> OutgoingRecord {
    let identity = json!({ "consumer_id": consumer });
    let quantity = quantity.parse().expect("a quantity");
    let key = format!("{consumer}/{dimension}");
    let idempotency_key = Uuid::new_v5(&Uuid::NAMESPACE_URL, key.as_bytes());
    let hour = t("2024-09-18T22:00:00Z");
    let record = Record {
        identity: &identity,
        product: "db",
        dimension,
        hour,
        ends: None,
        quantity,
        shares: &[],
        decimals,
        idempotency_key,
    };
    let Frozen { body, batch_group } = google.freeze(&record).expect("freezes");
    OutgoingRecord { body, batch_group, quantity, idempotency_key }
}

fn cores(google: &Google, consumer: &str) -> OutgoingRecord {
    parcel(google, consumer, "cores", "7", 0)
}

async fn submit(google: &Google, parcels: &[OutgoingRecord]) -> Vec<Outcome> {
    let answers: Vec<Answer> = google.submit(parcels, AMPLE).await;
    assert_eq!(answers.len(), parcels.len());
    assert!(answers.iter().all(|answer| answer.receipt.is_none()), "Google gives none");
    answers.into_iter().map(|answer| answer.outcome).collect()
}

/// What the simulator was asked, in order.
fn asked(running: &Running) -> Vec<String> {
    running.calls().into_iter().map(|call| call.operation).collect()
}

/// Faults that concern reports alone: no other call has records.
fn reports() -> Match {
    Match { min_records: 1, ..Match::default() }
}

fn unknown(code: &str) -> Outcome {
    Outcome::Unknown { code: code.to_owned() }
}

fn not_sent(code: &str) -> Outcome {
    Outcome::NotSent { code: code.to_owned() }
}

fn unauthorised(code: &str) -> Outcome {
    Outcome::Unauthorised { code: code.to_owned() }
}

/// Of a record, or of the credential: evidence decides.
fn doubtful(code: &str) -> Outcome {
    Outcome::Doubtful { code: code.to_owned() }
}

fn no_credentials(code: &str) -> Outcome {
    Outcome::NoCredentials { code: code.to_owned() }
}

fn not_entitled(code: &str) -> Outcome {
    Outcome::NotEntitled { code: code.to_owned() }
}
