//! One call's body, put together from frozen operations to the letter.

use remittance::{Outcome, Quantity};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::freeze::batch_group;
use crate::OutgoingRecord;

/// Operations in a call that we let a destination choose. Google names no limit but the bytes; one is the norm.
pub(super) const RECORDS_MAX: u32 = 100;
/// Operations in a call, unless a destination chooses more: a call that fails is unknown for all that are in it.
pub(super) const RECORDS_DEFAULT: u32 = 1;
/// Bytes Google takes in a report: 1 MB.
const BODY_BYTES_MAX: usize = 1_000_000;
/// What a caller may fill with operations, so that the brackets fit as well.
pub(super) const RECORD_BYTES_MAX: u32 = 990_000;

/// What of an operation the calls need beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    /// What Google deduplicates on, and by which it names errors.
    pub(super) id: Uuid,
    /// Who buys.
    pub(super) consumer: String,
    /// Start of the window, as it stands in the bytes.
    pub(super) start_time: String,
}

/// Reads the operations of a call back from their bytes, in the order given, or says per parcel why the call must not
/// be made.
///
/// The caller keeps to the rules (one group, no operation twice); should that fail, no call is made. `batch_refused`
/// has them come again in halves.
pub(super) fn operations(parcels: &[OutgoingRecord], service: &str) -> Result<Vec<Operation>, Vec<Outcome>> {
    let all = |outcome: Outcome| Err(vec![outcome; parcels.len()]);
    let refused = |code: &str| Outcome::BatchRefused { code: code.to_owned() };
    if parcels.len() > RECORDS_MAX as usize {
        return all(refused("too_many_records"));
    }
    if parcels.iter().any(|parcel| parcel.batch_group != batch_group(service)) {
        // Frozen for another service: its metrics would be that one's, and so would its keys.
        return all(Outcome::Unmapped { code: "batch_group".to_owned() });
    }
    let read: Vec<_> = parcels.iter().map(read_back).collect();
    if read.iter().any(Option::is_none) {
        // The one that cannot be read is held; the others, of which nothing was sent, come again without it.
        let outcome = |operation: &Option<Operation>| match operation {
            None => Outcome::Unmapped { code: "frozen_body".to_owned() },
            Some(_) => Outcome::HandedBack,
        };
        return Err(read.iter().map(outcome).collect());
    }
    let read: Vec<Operation> = read.into_iter().flatten().collect();
    if read.iter().enumerate().any(|(at, operation)| read[..at].iter().any(|earlier| earlier.id == operation.id)) {
        return all(refused("key_twice"));
    }
    if body(parcels.iter()).len() > BODY_BYTES_MAX { all(refused("request_too_large")) } else { Ok(read) }
}

/// The body of a report.
pub(super) fn body<'a>(parcels: impl Iterator<Item = &'a OutgoingRecord>) -> Vec<u8> {
    let bodies: Vec<&str> = parcels.map(|parcel| parcel.body.as_str()).collect();
    format!(r#"{{"operations":[{}]}}"#, bodies.join(",")).into_bytes()
}

/// The operation in a parcel: with the idempotency key and the quantity that the ledger says were frozen.
fn read_back(parcel: &OutgoingRecord) -> Option<Operation> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Frozen {
        operation_id: Uuid,
        consumer_id: String,
        start_time: String,
        metric_value_sets: Vec<ValueSet>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ValueSet {
        metric_values: Vec<Value>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Value {
        Int64Value(String),
        DoubleValue(Box<RawValue>),
    }
    let frozen: Frozen = serde_json::from_str(&parcel.body).ok()?;
    let [ValueSet { metric_values }] = frozen.metric_value_sets.as_slice() else { return None };
    let quantity: Quantity = match metric_values.as_slice() {
        [Value::Int64Value(text)] => text.parse().ok()?,
        [Value::DoubleValue(number)] => number.get().parse().ok()?,
        _ => return None,
    };
    let ours = frozen.operation_id == parcel.idempotency_key && quantity == parcel.quantity;
    ours.then_some(Operation { id: frozen.operation_id, consumer: frozen.consumer_id, start_time: frozen.start_time })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parcel(number: u128, value: &str) -> OutgoingRecord {
        let id = Uuid::from_u128(number);
        let body = format!(
            r#"{{"operationId":"{id}","consumerId":"project:acme","startTime":"t","metricValueSets":[{{"metricValues":[{value}]}}]}}"#
        );
        let quantity = "7.5".parse().expect("a quantity");
        OutgoingRecord { body, batch_group: "service:db".to_owned(), quantity, idempotency_key: id }
    }

    fn good(number: u128) -> OutgoingRecord {
        parcel(number, r#"{"doubleValue":7.5}"#)
    }

    fn outcomes(parcels: &[OutgoingRecord]) -> Vec<Outcome> {
        operations(parcels, "db").expect_err("no call")
    }

    #[test]
    fn e1_the_bytes_go_out_as_they_were_frozen() {
        let parcels = [good(1), good(2)];
        let expected = format!(r#"{{"operations":[{},{}]}}"#, parcels[0].body, parcels[1].body);
        assert_eq!(String::from_utf8_lossy(&body(parcels.iter())), expected);
        let read = operations(&parcels, "db").expect("operations");
        assert_eq!(read.iter().map(|operation| operation.id.as_u128()).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn b8_what_is_not_what_was_frozen_is_held_alone() {
        let unmapped = Outcome::Unmapped { code: "frozen_body".to_owned() };
        for value in [r#"{"doubleValue":7}"#, r#"{"int64Value":"75"}"#, "", r#"{"stringValue":"7.5"}"#] {
            let found = outcomes(&[good(1), parcel(2, value)]);
            assert_eq!(found, [Outcome::HandedBack, unmapped.clone()], "{value}");
        }
        let other_key = OutgoingRecord { idempotency_key: Uuid::from_u128(9), ..good(1) };
        assert_eq!(outcomes(&[other_key]), [unmapped]);
    }

    #[test]
    fn d6_a_call_that_breaks_a_rule_is_not_made() {
        let refused = |code: &str| Outcome::BatchRefused { code: code.to_owned() };
        assert_eq!(outcomes(&[good(1), good(1)])[0], refused("key_twice"));
        let many: Vec<OutgoingRecord> = (0..101).map(good).collect();
        assert_eq!(outcomes(&many)[0], refused("too_many_records"));
        let of_another = OutgoingRecord { batch_group: "service:other".to_owned(), ..good(1) };
        assert_eq!(outcomes(&[of_another]), [Outcome::Unmapped { code: "batch_group".to_owned() }]);
        let label = json!("x".repeat(20_000)).to_string();
        let large = |number| {
            let mut parcel = good(number);
            parcel.body.insert_str(1, &format!(r#""padding":{label},"#));
            parcel
        };
        let large: Vec<OutgoingRecord> = (0..60).map(large).collect();
        assert_eq!(outcomes(&large)[0], refused("request_too_large"));
    }
}
