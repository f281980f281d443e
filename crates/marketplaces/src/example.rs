//! A marketplace in one file, as `docs/marketplaces.md` explains it: compiled and called by the tests, shipped with nothing.

use std::time::Duration;

use remittance::{Answer, Outcome, Quantity, Reason};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::evidence;
use crate::settings::Settings;
use crate::transport::{Reply, Transport};
use crate::{BoxFuture, Buyer, Capabilities, Frozen, Marketplace, OutgoingRecord, Record, Refusal, SettingsError};

// what it can and demands: every number has a source, and every destination may set its own
const fn capabilities() -> Capabilities {
    const HOUR: Duration = Duration::from_secs(3_600);
    Capabilities {
        records_max: 100,
        records_default: 100,
        bytes_max: 500_000,
        age_limit: HOUR.saturating_mul(12),
        month_cutoff: None,
        closing_window: Some(HOUR),
        zone: "UTC",
        calls_per_second: Some(5),
        memory: Some(HOUR.saturating_mul(24)),
        decimals_max: 2,
        takes_zero: false,
        tags_max: 0,
        can_be_asked: false,
    }
}

struct Acme {
    capabilities: Capabilities,
    endpoint: Url,
    transport: Transport,
}

impl Acme {
    fn open(settings: &Value) -> Result<Self, SettingsError> {
        let settings = Settings::read("acme", settings, &["endpoint"])?;
        let endpoint = settings.endpoint("endpoint", "https://metering.acme.example")?;
        Ok(Self { capabilities: capabilities(), endpoint, transport: Transport::new() })
    }
}

impl Marketplace for Acme {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    fn buyer(&self, identity: &Value) -> Result<Buyer, Refusal> {
        let contract = identity.get("contract").and_then(Value::as_str).filter(|contract| !contract.is_empty());
        let contract = contract.ok_or_else(|| Refusal {
            reason: Reason::InvalidSubscription,
            message: "contract: must name the buyer's contract at Acme".to_owned(),
        })?;
        // canonical: two spellings of one buyer are one key
        let contract = contract.to_ascii_lowercase();
        Ok(Buyer { key: format!("acme/{contract}"), account: contract, form: "contract" })
    }

    fn freeze(&self, record: &Record<'_>) -> Result<Frozen, Refusal> {
        let buyer = self.buyer(record.identity)?;
        let body = json!({
            "id": record.idempotency_key, "contract": buyer.account, "meter": record.dimension,
            "hour": record.hour, "units": record.quantity.to_string(),
        });
        Ok(Frozen { body: body.to_string(), batch_group: String::new() })
    }

    fn submit<'a>(&'a self, parcels: &'a [OutgoingRecord], timeout: Duration) -> BoxFuture<'a, Vec<Answer>> {
        Box::pin(async move {
            let records: Vec<&str> = parcels.iter().map(|parcel| parcel.body.as_str()).collect();
            let request = http::Request::post(self.endpoint.as_str())
                .header("content-type", "application/json")
                .body(format!("{{\"records\":[{}]}}", records.join(",")).into_bytes())
                .expect("every part of the request is well formed");
            match self.transport.send(request, Instant::now() + timeout).await {
                Err(outcome) => vec![Answer::bare(outcome); parcels.len()],
                Ok(reply) => read(&reply, parcels),
            }
        })
    }
}

// the table of the page, answer to outcome, for the call and then for each record, matched by its id
fn read(reply: &Reply, parcels: &[OutgoingRecord]) -> Vec<Answer> {
    let body = reply.body.as_deref().unwrap_or_default();
    let code = format!("http_{}", reply.status);
    let whole = match (reply.status, serde_json::from_slice::<Value>(body)) {
        (200, Ok(said)) if said["results"].is_array() => {
            return parcels.iter().map(|parcel| answer(reply, &said["results"], parcel)).collect();
        }
        (200, _) => Outcome::Unrecognised { code: "no_results".to_owned(), record_alone: false },
        (400, _) => Outcome::BatchRefused { code },
        (401, _) => Outcome::Unauthorised { code },
        // it may be one record's as well: evidence decides
        (403, _) => Outcome::Doubtful { code },
        (429, _) => Outcome::Throttled { after: reply.retry_after() },
        (500.., _) => Outcome::Unavailable { code, after: reply.retry_after() },
        _ => Outcome::Unrecognised { code, record_alone: false },
    };
    let excerpt = evidence::excerpt(body, &[]);
    let answer = Answer { http_status: Some(reply.status), excerpt, ..Answer::bare(whole) };
    vec![answer; parcels.len()]
}

fn answer(reply: &Reply, results: &Value, parcel: &OutgoingRecord) -> Answer {
    let ours = parcel.idempotency_key.to_string();
    let said = results.as_array().and_then(|list| list.iter().find(|one| one["id"] == ours.as_str()));
    let shown = said.and_then(|said| said["units"].as_str()).and_then(|units| units.parse::<Quantity>().ok());
    let outcome = match said.map(|said| said["status"].as_str().unwrap_or_default()) {
        None => Outcome::Unknown { code: "not_mentioned".to_owned() },
        Some("accepted") => Outcome::Accepted,
        Some("duplicate") if shown.is_some_and(|shown| shown != parcel.quantity) => Outcome::Conflict { shown },
        Some("duplicate") => Outcome::Duplicate { shown },
        Some("too_late") => Outcome::TooOld { code: "too_late".to_owned() },
        Some("no_contract") => Outcome::NotEntitled { code: "no_contract".to_owned() },
        Some("bad_meter") => Outcome::Rejected { code: "bad_meter".to_owned() },
        Some(word) => {
            let code = evidence::code(word).unwrap_or_else(|| "status".to_owned());
            Outcome::Unrecognised { code, record_alone: true }
        }
    };
    let receipt = said.and_then(|said| said["receipt"].as_str()).and_then(evidence::word);
    Answer { receipt, http_status: Some(reply.status), ..Answer::bare(outcome) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use uuid::Uuid;

    use super::*;

    /// Answers one call with these bytes; returns where.
    async fn saying(status: &'static str, body: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a call");
            let mut request = vec![0; 65_536];
            let _ = stream.read(&mut request).await;
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        });
        format!("http://{address}")
    }

    async fn outcome(status: &'static str, body: Value) -> Outcome {
        let acme = Acme::open(&json!({ "endpoint": saying(status, body.to_string()).await })).expect("settings");
        let (identity, key) = (json!({ "contract": "C-7" }), Uuid::nil());
        let quantity = Quantity::from(7);
        let hour = "2024-09-18T10:00:00Z".parse().expect("a time");
        let record = Record {
            identity: &identity,
            product: "db",
            dimension: "cores",
            hour,
            ends: None,
            quantity,
            shares: &[],
            decimals: 0,
            idempotency_key: key,
        };
        let Frozen { body, batch_group } = acme.freeze(&record).expect("freezes");
        let parcel = OutgoingRecord { body, batch_group, quantity, idempotency_key: key };
        acme.submit(&[parcel], Duration::from_secs(20)).await.remove(0).outcome
    }

    #[tokio::test]
    async fn the_example_of_the_guide_maps_every_answer() {
        let result = |more: Value| {
            let mut one = json!({ "id": Uuid::nil() });
            one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "results": [one] })
        };
        let seven = Some(Quantity::from(7));
        for (said, expected) in [
            (result(json!({ "status": "accepted", "receipt": "r-1" })), Outcome::Accepted),
            (result(json!({ "status": "duplicate", "units": "7" })), Outcome::Duplicate { shown: seven }),
            (
                result(json!({ "status": "duplicate", "units": "8" })),
                Outcome::Conflict { shown: Some(Quantity::from(8)) },
            ),
            (result(json!({ "status": "too_late" })), Outcome::TooOld { code: "too_late".to_owned() }),
            (result(json!({ "status": "no_contract" })), Outcome::NotEntitled { code: "no_contract".to_owned() }),
            (result(json!({ "status": "bad_meter" })), Outcome::Rejected { code: "bad_meter".to_owned() }),
            (
                result(json!({ "status": "pending" })),
                Outcome::Unrecognised { code: "pending".to_owned(), record_alone: true },
            ),
            (json!({ "results": [] }), Outcome::Unknown { code: "not_mentioned".to_owned() }),
            (json!("hello"), Outcome::Unrecognised { code: "no_results".to_owned(), record_alone: false }),
        ] {
            assert_eq!(outcome("200 OK", said.clone()).await, expected, "{said}");
        }
        assert_eq!(outcome("400 No", json!({})).await, Outcome::BatchRefused { code: "http_400".to_owned() });
        assert_eq!(outcome("403 No", json!({})).await, Outcome::Doubtful { code: "http_403".to_owned() });
        assert_eq!(outcome("429 No", json!({})).await, Outcome::Throttled { after: None });
        assert_eq!(
            outcome("503 No", json!({})).await,
            Outcome::Unavailable { code: "http_503".to_owned(), after: None }
        );
    }

    #[test]
    fn the_example_refuses_an_identity_by_the_field() {
        let acme = Acme::open(&json!({})).expect("settings");
        assert!(acme.buyer(&json!({})).unwrap_err().message.starts_with("contract: "));
        assert_eq!(acme.buyer(&json!({ "contract": "C-7" })).unwrap().key, "acme/c-7");
    }
}
