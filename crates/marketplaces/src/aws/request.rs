//! One call's body, put together from frozen records to the letter.

use remittance::Outcome;
use serde_json::Value;

use super::record::UsageRecord;
use crate::OutgoingRecord;

/// Records AWS takes in a call (botocore 1.44.5: `UsageRecords` 0..25).
pub(super) const RECORDS_MAX: u32 = 25;
/// Bytes AWS takes in a call: "less than 1 MB".
const BODY_BYTES_MAX: usize = 1_000_000;
/// What a caller may fill with records, so that the brackets and the product code fit as well.
pub(super) const RECORD_BYTES_MAX: u32 = 990_000;

/// What goes out in one call.
#[derive(Debug)]
pub(super) struct Call {
    /// The request's body.
    pub(super) body: Vec<u8>,
    /// The records in it, as read back from their bytes, in the order given.
    pub(super) sent: Vec<UsageRecord>,
}

/// Puts a call together, or says per parcel why it must not be made.
///
/// The caller keeps to the rules (one group, at most 25, no key twice); should that fail, no call is made: a mixed
/// group would send records under another product's code. `batch_refused` has them come again in halves.
pub(super) fn assemble(parcels: &[OutgoingRecord]) -> Result<Call, Vec<Outcome>> {
    let all = |code: &str| vec![Outcome::BatchRefused { code: code.to_owned() }; parcels.len()];
    let group = parcels.first().map_or("", |parcel| parcel.batch_group.as_str());
    if parcels.iter().any(|parcel| parcel.batch_group != group) {
        return Err(all("mixed_batch_groups"));
    }
    if parcels.len() > RECORDS_MAX as usize {
        return Err(all("too_many_records"));
    }
    let Some(product_code) = product_code(group) else {
        return Err(vec![Outcome::Unmapped { code: "batch_group".to_owned() }; parcels.len()]);
    };
    let read: Vec<_> = parcels.iter().map(read_back).collect();
    if read.iter().any(Option::is_none) {
        // The one that cannot be read is held; the others, of which nothing was sent, come again without it.
        let outcome = |record: &Option<UsageRecord>| match record {
            None => Outcome::Unmapped { code: "frozen_body".to_owned() },
            Some(_) => Outcome::HandedBack,
        };
        return Err(read.iter().map(outcome).collect());
    }
    let sent: Vec<UsageRecord> = read.into_iter().flatten().collect();
    if sent.iter().enumerate().any(|(at, record)| sent[..at].iter().any(|earlier| earlier.is_echoed_by(record))) {
        return Err(all("key_twice"));
    }
    let body = body(product_code, parcels);
    if body.len() >= BODY_BYTES_MAX { Err(all("request_too_large")) } else { Ok(Call { body, sent }) }
}

/// The product code that a batch group stands for: `product:<code>` sends one, `licence:<tag>` sends none; `None` for a
/// group this code never wrote.
fn product_code(group: &str) -> Option<Option<&str>> {
    match group.split_once(':')? {
        ("product", code) => Some(Some(code)),
        ("licence", _) => Some(None),
        _ => None,
    }
}

/// The record in a parcel, and its quantity is the one that the ledger says was frozen.
fn read_back(parcel: &OutgoingRecord) -> Option<UsageRecord> {
    let record = serde_json::from_str::<Value>(&parcel.body).ok().as_ref().and_then(UsageRecord::read)?;
    (record.quantity == Some(Some(parcel.quantity))).then_some(record)
}

fn body(product_code: Option<&str>, parcels: &[OutgoingRecord]) -> Vec<u8> {
    let bytes: usize = parcels.iter().map(|parcel| parcel.body.len() + 1).sum();
    let mut body = String::with_capacity(bytes + 600);
    body.push('{');
    if let Some(code) = product_code {
        body.push_str("\"ProductCode\":");
        body.push_str(&Value::from(code).to_string());
        body.push(',');
    }
    body.push_str("\"UsageRecords\":[");
    for (at, parcel) in parcels.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        body.push_str(&parcel.body);
    }
    body.push_str("]}");
    body.into_bytes()
}

#[cfg(test)]
mod tests {
    use remittance::Quantity;
    use uuid::Uuid;

    use super::*;

    fn parcel(customer: u64, group: &str) -> OutgoingRecord {
        OutgoingRecord {
            body: format!(
                r#"{{"Timestamp":1726696800,"CustomerAWSAccountId":"{customer:012}","Dimension":"d","Quantity":7}}"#
            ),
            batch_group: group.to_owned(),
            quantity: Quantity::from(7),
            idempotency_key: Uuid::nil(),
        }
    }

    fn refused(parcels: &[OutgoingRecord]) -> Vec<Outcome> {
        assemble(parcels).expect_err("no call must be made")
    }

    #[test]
    fn e1_frozen_records_stand_in_the_body_to_the_letter() {
        let mut odd = parcel(2, "product:prod9");
        odd.body =
            r#"{ "Quantity" : 7 , "Dimension":"d\u00e9", "CustomerIdentifier":"c", "Timestamp": 1726696800}"#.into();
        let call = assemble(&[parcel(1, "product:prod9"), odd.clone()]).expect("a call");
        let expected =
            format!(r#"{{"ProductCode":"prod9","UsageRecords":[{},{}]}}"#, parcel(1, "product:prod9").body, odd.body);
        assert_eq!(String::from_utf8(call.body).expect("text"), expected);
        assert_eq!(call.sent.len(), 2);
    }

    #[test]
    fn d1_a_call_for_licences_names_no_product() {
        let call = assemble(&[parcel(1, "licence:cloud")]).expect("a call");
        assert!(call.body.starts_with(br#"{"UsageRecords":[{"#));
    }

    #[test]
    fn d1_one_product_and_25_records_a_call() {
        let code = |outcomes: Vec<Outcome>| outcomes[0].code().map(str::to_owned);
        let many: Vec<_> = (0..26).map(|n| parcel(n, "product:p")).collect();
        assert!(assemble(&many[..25]).is_ok());
        assert_eq!(code(refused(&many)).as_deref(), Some("too_many_records"));
        let mixed = [parcel(1, "product:p"), parcel(2, "product:q")];
        assert_eq!(code(refused(&mixed)).as_deref(), Some("mixed_batch_groups"));
        let twice = [parcel(1, "product:p"), parcel(1, "product:p")];
        assert_eq!(code(refused(&twice)).as_deref(), Some("key_twice"));
    }

    #[test]
    fn d10_what_cannot_be_read_back_is_never_sent() {
        let mut broken = parcel(1, "product:p");
        broken.body = "{".to_owned();
        let unmapped = Outcome::Unmapped { code: "frozen_body".to_owned() };
        assert_eq!(refused(&[broken, parcel(2, "product:p")]), [unmapped.clone(), Outcome::HandedBack]);
        let mut other_quantity = parcel(1, "product:p");
        other_quantity.quantity = Quantity::from(8);
        assert_eq!(refused(&[other_quantity]), [unmapped]);
        let group = refused(&[parcel(1, "prod9")]);
        assert_eq!(group, [Outcome::Unmapped { code: "batch_group".to_owned() }]);
    }
}
