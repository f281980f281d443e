//! One call's body, put together from frozen events to the letter.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use remittance::Outcome;
use reqwest::Url;
use serde_json::Value;
use uuid::Uuid;

use super::event::UsageEvent;
use super::freeze::BATCH_GROUP;
use crate::OutgoingRecord;

/// Events Microsoft takes in a call (`BatchUsageEvent.request`: 1..25).
pub(super) const RECORDS_MAX: u32 = 25;
/// Bytes in one call. Microsoft publishes no limit; 25 events of the longest names are far below this.
pub(super) const RECORD_BYTES_MAX: u32 = 250_000;
/// The version of the API, sent with every call.
const API_VERSION: &str = "2018-08-31";
/// Namespace of correlation ids (a UUIDv4 drawn once, fixed for ever).
const CORRELATION: Uuid = Uuid::from_u128(0x3c0a_5f4e_9b1d_4a77_8e52_61d0_7f3b_c94a);

/// Which of the two operations a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// `POST /api/usageEvent`: one event, answered by the HTTP status.
    Single,
    /// `POST /api/batchUsageEvent`: 1 to 25 events, answered one by one.
    Batch,
}

/// What goes out in one call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    /// The request's body.
    pub(super) body: Vec<u8>,
    /// The events in it, as read back from their bytes, in the order given.
    pub(super) sent: Vec<UsageEvent>,
    /// Names this request at Microsoft; fresh for each.
    pub(super) request_id: Uuid,
    /// Names what this call is about: the same for a repetition of the same events.
    pub(super) correlation_id: Uuid,
}

/// Puts a call together, or says per parcel why it must not be made.
///
/// The caller keeps to the rules (at most 25, no key twice); should that fail, no call is made, and `batch_refused` has
/// the parcels come again in halves.
pub(super) fn assemble(parcels: &[OutgoingRecord], single: bool) -> Result<Call, Vec<Outcome>> {
    let all = |outcome: Outcome| vec![outcome; parcels.len()];
    let refused = |code: &str| all(Outcome::BatchRefused { code: code.to_owned() });
    if parcels.iter().any(|parcel| parcel.batch_group != BATCH_GROUP) {
        return Err(all(Outcome::Unmapped { code: "batch_group".to_owned() }));
    }
    if parcels.len() > RECORDS_MAX as usize {
        return Err(refused("too_many_records"));
    }
    let read: Vec<_> = parcels.iter().map(read_back).collect();
    if read.iter().any(Option::is_none) {
        // The one that cannot be read is held; the others, of which nothing was sent, come again without it.
        let outcome = |event: &Option<UsageEvent>| match event {
            None => Outcome::Unmapped { code: "frozen_body".to_owned() },
            Some(_) => Outcome::HandedBack,
        };
        return Err(read.iter().map(outcome).collect());
    }
    let sent: Vec<UsageEvent> = read.into_iter().flatten().collect();
    if sent.iter().enumerate().any(|(at, event)| sent[..at].iter().any(|earlier| earlier.is_echoed_by(event))) {
        return Err(refused("key_twice"));
    }
    let (operation, body) = match parcels {
        [one] if single => (Operation::Single, one.body.clone().into_bytes()),
        _ => (Operation::Batch, batch(parcels)),
    };
    Ok(Call { operation, body, sent, request_id: Uuid::new_v4(), correlation_id: correlation_id(parcels) })
}

/// The event in a parcel, if it is whole and its quantity is the one that the ledger says was frozen.
fn read_back(parcel: &OutgoingRecord) -> Option<UsageEvent> {
    let event = UsageEvent::read(&serde_json::from_str::<Value>(&parcel.body).ok()?);
    (event.is_whole() && event.quantity == Some(Some(parcel.quantity))).then_some(event)
}

fn batch(parcels: &[OutgoingRecord]) -> Vec<u8> {
    let events: Vec<&str> = parcels.iter().map(|parcel| parcel.body.as_str()).collect();
    format!("{{\"request\":[{}]}}", events.join(",")).into_bytes()
}

/// One event's is its idempotency key, so that one finds the other at Microsoft.
fn correlation_id(parcels: &[OutgoingRecord]) -> Uuid {
    if let [one] = parcels {
        return one.idempotency_key;
    }
    let keys: Vec<u8> = parcels.iter().flat_map(|parcel| *parcel.idempotency_key.as_bytes()).collect();
    Uuid::new_v5(&CORRELATION, &keys)
}

impl Call {
    /// The request that carries this call; `None` if the token fits no header.
    pub(super) fn request(&self, endpoint: &Url, token: &str) -> Option<http::Request<Vec<u8>>> {
        let path = match self.operation {
            Operation::Single => "api/usageEvent",
            Operation::Batch => "api/batchUsageEvent",
        };
        let request = http::Request::post(address(endpoint, path, &[]).as_str())
            .header(CONTENT_TYPE, "application/json")
            .header("x-ms-requestid", self.request_id.to_string())
            .header("x-ms-correlationid", self.correlation_id.to_string());
        authorised(request, token)?.body(self.body.clone()).ok()
    }
}

/// An address below the endpoint, with the API's version behind these parameters.
pub(super) fn address(endpoint: &Url, path: &str, parameters: &[(&str, &str)]) -> Url {
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/{path}", endpoint.path().trim_end_matches('/')));
    url.query_pairs_mut().extend_pairs(parameters).append_pair("api-version", API_VERSION);
    url
}

/// A request with the token; `None` if it fits no header.
pub(super) fn authorised(request: http::request::Builder, token: &str) -> Option<http::request::Builder> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    bearer.set_sensitive(true);
    Some(request.header(ACCEPT, "application/json").header(AUTHORIZATION, bearer))
}

#[cfg(test)]
mod tests {
    use remittance::Quantity;

    use super::*;

    fn parcel(number: u32) -> OutgoingRecord {
        OutgoingRecord {
            body: format!(
                r#"{{"resourceId":"11112222-3333-4444-5555-{number:012}","quantity":7,"dimension":"d","effectiveStartTime":"2024-09-18T22:00:00Z","planId":"p"}}"#
            ),
            batch_group: BATCH_GROUP.to_owned(),
            quantity: Quantity::from(7),
            idempotency_key: Uuid::from_u128(u128::from(number)),
        }
    }

    fn refused(parcels: &[OutgoingRecord]) -> Vec<Outcome> {
        assemble(parcels, false).expect_err("no call must be made")
    }

    #[test]
    fn e1_frozen_events_stand_in_the_body_to_the_letter() {
        let mut odd = parcel(2);
        odd.body = odd.body.replace(":7,", " : 7.00 ,");
        let call = assemble(&[parcel(1), odd.clone()], true).expect("a call");
        assert_eq!(
            String::from_utf8(call.body).expect("text"),
            format!(r#"{{"request":[{},{}]}}"#, parcel(1).body, odd.body)
        );
        assert_eq!((call.sent.len(), call.operation), (2, Operation::Batch), "two cannot go alone");
    }

    #[test]
    fn d4_one_event_goes_alone_where_that_is_chosen() {
        let call = assemble(&[parcel(1)], true).expect("a call");
        assert_eq!((call.operation, call.body), (Operation::Single, parcel(1).body.into_bytes()));
        assert_eq!(assemble(&[parcel(1)], false).expect("a call").operation, Operation::Batch);
    }

    #[test]
    fn d4_a_repetition_has_another_request_id_and_the_same_correlation_id() {
        let [one, again] = [(); 2].map(|()| assemble(&[parcel(1), parcel(2)], false).expect("a call"));
        assert_ne!(one.request_id, again.request_id);
        assert_eq!(one.correlation_id, again.correlation_id);
        assert_ne!(one.correlation_id, assemble(&[parcel(1), parcel(3)], false).expect("a call").correlation_id);
        assert_eq!(assemble(&[parcel(9)], false).expect("a call").correlation_id, Uuid::from_u128(9));
    }

    #[test]
    fn d4_25_events_a_call_and_no_key_twice() {
        let code = |outcomes: Vec<Outcome>| outcomes[0].code().map(str::to_owned);
        let many: Vec<_> = (0..26).map(parcel).collect();
        assert!(assemble(&many[..25], false).is_ok());
        assert_eq!(code(refused(&many)).as_deref(), Some("too_many_records"));
        let mut other_plan = parcel(1);
        other_plan.body = other_plan.body.replace(r#""p""#, r#""q""#);
        assert_eq!(code(refused(&[parcel(1), other_plan])).as_deref(), Some("key_twice"));
    }

    #[test]
    fn d10_what_cannot_be_read_back_is_never_sent() {
        let unmapped = |code: &str| Outcome::Unmapped { code: code.to_owned() };
        let broken = OutgoingRecord { body: "{".to_owned(), ..parcel(1) };
        assert_eq!(refused(&[broken, parcel(2)]), [unmapped("frozen_body"), Outcome::HandedBack]);
        let other = OutgoingRecord { quantity: Quantity::from(8), ..parcel(1) };
        assert_eq!(refused(&[other]), [unmapped("frozen_body")]);
        let group = OutgoingRecord { batch_group: "product:p".to_owned(), ..parcel(1) };
        assert_eq!(refused(&[group]), [unmapped("batch_group")]);
    }

    #[test]
    fn an_endpoint_keeps_its_own_path() {
        for (endpoint, expected) in [
            (
                "https://marketplaceapi.microsoft.com",
                "https://marketplaceapi.microsoft.com/api/usageEvent?api-version=2018-08-31",
            ),
            ("http://127.0.0.1:9/azure/", "http://127.0.0.1:9/azure/api/usageEvent?api-version=2018-08-31"),
        ] {
            let url = Url::parse(endpoint).expect("a URL");
            assert_eq!(address(&url, "api/usageEvent", &[]).as_str(), expected);
        }
    }
}
