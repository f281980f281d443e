//! Azure over real sockets: against the simulator's rules, and against servers that do what no HTTP server would.

mod disturbed;
mod simulated;
mod tokens;

use std::time::Duration;

use jiff::Timestamp;
use marketplaces::azure::Azure;
use marketplaces::{Frozen, Marketplace, OutgoingRecord, Record};
use remittance::{Answer, Outcome, Quantity};
use serde_json::{Value, json};
use simulator::{Clock, Running, Settings, Simulator};
use tests::{azure_test_client, q, t};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::aws_wire::{AMPLE, http, saying};

const HOUR: &str = "2024-09-18T10:00Z";

/// A simulator whose clock stands shortly after [`HOUR`] is over.
async fn simulator() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let clock = Clock::frozen_at(t("2024-09-18T11:10:00Z"));
    Simulator::start(listener, Settings { clock, ..Settings::default() }).expect("a simulator")
}

/// A destination that calls `endpoint` and has its tokens from `tokens`, with other settings on top.
fn azure(endpoint: &str, tokens: &str, more: &Value) -> Azure {
    let mut settings = json!({ "endpoint": endpoint, "token_endpoint": tokens, "profile": "test" });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Azure::open_with(&settings, azure_test_client()).expect("settings")
}

/// Tokens that anybody takes who does not look.
async fn any_token() -> String {
    saying(http("200 OK", "", r#"{"access_token":"a-token","expires_in":"3599"}"#)).await.0
}

fn resource(number: u64) -> String {
    format!("11112222-3333-4444-5555-{number:012}")
}

fn parcel_of(azure: &Azure, identity: &Value, dimension: &str, hour: &str, quantity: &str) -> OutgoingRecord {
    let (hour, quantity): (Timestamp, Quantity) = (t(hour), q(quantity));
    let idempotency_key = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{identity}{dimension}{hour}").as_bytes());
    let record = Record {
        identity,
        product: "db",
        dimension,
        hour,
        ends: None,
        quantity,
        shares: &[],
        decimals: 6,
        idempotency_key,
    };
    let Frozen { body, batch_group } = azure.freeze(&record).expect("freezes");
    OutgoingRecord { body, batch_group, quantity, idempotency_key }
}

/// Parcels of as many resources, each of 7.5 in [`HOUR`].
fn parcels(azure: &Azure, count: u64) -> Vec<OutgoingRecord> {
    let parcel = |number| {
        let identity = json!({ "resource_id": resource(number), "plan_id": "gold" });
        parcel_of(azure, &identity, "cores", HOUR, "7.5")
    };
    (1..=count).map(parcel).collect()
}

async fn submit(azure: &Azure, parcels: &[OutgoingRecord]) -> Vec<Outcome> {
    azure.submit(parcels, AMPLE).await.into_iter().map(|answer| answer.outcome).collect()
}

/// The answer to a call of two, which is the same for both.
async fn call(endpoint: &str, timeout: Duration) -> Answer {
    let azure = azure(endpoint, &any_token().await, &json!({}));
    let mut answers = azure.submit(&parcels(&azure, 2), timeout).await;
    assert!(answers.len() == 2 && answers[0] == answers[1], "{answers:?}");
    answers.remove(0)
}

fn unrecognised(code: &str) -> Outcome {
    Outcome::Unrecognised { code: code.to_owned(), record_alone: false }
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
