//! What a 200 says about each record. Matched by content, never by position: nothing promises an order, and a record
//! that is not mentioned must not inherit its neighbour's receipt.

use remittance::Outcome;
use serde_json::Value;

use super::record::UsageRecord;

/// What was said about one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// The `MeteringRecordId`, where the record is held under it.
    pub(super) receipt: Option<String>,
    /// The entry as it stood in the answer, where it adds to the outcome.
    pub(super) entry: Option<String>,
}

impl Verdict {
    fn unrecognised(code: &str, entry: Option<String>) -> Self {
        Self { outcome: Outcome::Unrecognised { code: code.to_owned(), record_alone: true }, receipt: None, entry }
    }
}

/// Reads the verdict on every record sent, in the order sent.
///
/// # Errors
/// A stable code if the body is none of `BatchMeterUsage`'s answers at all.
pub(super) fn read(body: &Value, sent: &[UsageRecord]) -> Result<Vec<Verdict>, &'static str> {
    let results = list(body, "Results")?;
    let unprocessed = list(body, "UnprocessedRecords")?;
    if results.is_none() && unprocessed.is_none() {
        return Err("no_results");
    }
    let mut said: Vec<Vec<Verdict>> = vec![Vec::new(); sent.len()];
    for entry in results.unwrap_or_default() {
        mention(&mut said, sent, entry.get("UsageRecord").unwrap_or(&Value::Null), |ours, echo| {
            result(entry, ours, echo)
        });
    }
    for entry in unprocessed.unwrap_or_default() {
        // "Not processed, send again", by the model. To be sent again alone, and counted as a try: `unknown` does
        // both, and should AWS have taken it after all, the repeat's duplicate is recognised as ours.
        mention(&mut said, sent, entry, |_, _| Verdict {
            outcome: Outcome::Unknown { code: "unprocessed".to_owned() },
            receipt: None,
            entry: None,
        });
    }
    Ok(said.into_iter().map(settle).collect())
}

/// A list of the answer; `None` if it is not there.
fn list<'a>(body: &'a Value, name: &str) -> Result<Option<&'a [Value]>, &'static str> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err("no_results"),
    }
}

/// Notes what an entry says with the record it is about. An entry about none of ours is left alone; one that could be
/// about several decides nothing for any of them.
fn mention(
    said: &mut [Vec<Verdict>],
    sent: &[UsageRecord],
    echo: &Value,
    verdict: impl Fn(&UsageRecord, &UsageRecord) -> Verdict,
) {
    let Some(echo) = UsageRecord::read(echo) else { return };
    let about: Vec<usize> = (0..sent.len()).filter(|&at| sent[at].is_echoed_by(&echo)).collect();
    for &at in &about {
        let one = about.len() == 1;
        said[at].push(if one { verdict(&sent[at], &echo) } else { Verdict::unrecognised("ambiguous", None) });
    }
}

/// What an entry of `Results` says about our record.
fn result(entry: &Value, ours: &UsageRecord, echo: &UsageRecord) -> Verdict {
    let receipt = entry.get("MeteringRecordId").and_then(Value::as_str).and_then(crate::evidence::word);
    let evidence = Some(entry.to_string());
    match entry.get("Status").and_then(Value::as_str) {
        Some("Success") => match echo.quantity {
            Some(None) => Verdict::unrecognised("echoed_quantity", evidence),
            // By value: 17 is 17.0.
            Some(shown) if Some(shown) != ours.quantity => {
                Verdict { outcome: Outcome::Conflict { shown }, receipt, entry: evidence }
            }
            _ => Verdict { outcome: Outcome::Accepted, receipt, entry: None },
        },
        // The echo repeats what we sent, not what they hold: it shows nothing. (The model: "a previously metered record
        // had … a different quantity"; the vendor's guide: the answer to any repeat. The ledger decides.)
        Some("DuplicateRecord") => Verdict { outcome: Outcome::Duplicate { shown: None }, receipt, entry: evidence },
        Some(status @ "CustomerNotSubscribed") => {
            Verdict { outcome: Outcome::NotEntitled { code: status.to_owned() }, receipt: None, entry: evidence }
        }
        Some(status) => {
            let code = crate::evidence::code(status).unwrap_or_else(|| "status".to_owned());
            Verdict::unrecognised(&code, evidence)
        }
        None => Verdict::unrecognised("no_status", evidence),
    }
}

/// All that was said about one record, as one verdict.
fn settle(mut said: Vec<Verdict>) -> Verdict {
    let Some(last) = said.pop() else {
        return Verdict { outcome: Outcome::Unknown { code: "not_mentioned".to_owned() }, receipt: None, entry: None };
    };
    if said.iter().all(|earlier| earlier.outcome == last.outcome) {
        last
    } else {
        let entries = said.into_iter().chain([last]).filter_map(|verdict| verdict.entry).collect::<Vec<_>>();
        Verdict::unrecognised("contradictory", (!entries.is_empty()).then(|| entries.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use remittance::Quantity;
    use serde_json::json;

    use super::*;

    fn record(account: &str, quantity: u32) -> Value {
        json!({ "Timestamp": 1_726_696_800, "CustomerAWSAccountId": account, "Dimension": "d", "Quantity": quantity })
    }

    fn sent(records: &[Value]) -> Vec<UsageRecord> {
        records.iter().map(|record| UsageRecord::read(record).expect("a record")).collect()
    }

    fn result(record: &Value, status: &str) -> Value {
        json!({ "UsageRecord": record, "MeteringRecordId": format!("id-{status}"), "Status": status })
    }

    fn outcomes(body: &Value, records: &[Value]) -> Vec<Outcome> {
        read(body, &sent(records)).expect("an answer").into_iter().map(|verdict| verdict.outcome).collect()
    }

    fn unrecognised(code: &str) -> Outcome {
        Outcome::Unrecognised { code: code.to_owned(), record_alone: true }
    }

    fn unknown(code: &str) -> Outcome {
        Outcome::Unknown { code: code.to_owned() }
    }

    #[test]
    fn d3_answers_are_matched_by_content_not_by_position() {
        let (a, b, c) = (record("1", 7), record("2", 7), record("3", 7));
        let body = json!({
            "Results": [result(&c, "DuplicateRecord"), result(&a, "Success")],
            "UnprocessedRecords": [b],
        });
        let expected = [Outcome::Accepted, unknown("unprocessed"), Outcome::Duplicate { shown: None }];
        assert_eq!(outcomes(&body, &[a.clone(), b.clone(), c.clone()]), expected);
        let verdicts = read(&body, &sent(&[a, b, c])).expect("an answer");
        assert_eq!(verdicts[0].receipt.as_deref(), Some("id-Success"));
        assert_eq!((verdicts[0].entry.as_ref(), verdicts[1].receipt.as_ref()), (None, None));
    }

    #[test]
    fn d3_a_record_in_no_list_is_unknown() {
        let body = json!({ "Results": [result(&record("9", 7), "Success")], "UnprocessedRecords": [] });
        assert_eq!(outcomes(&body, &[record("1", 7)]), [unknown("not_mentioned")]);
        assert_eq!(outcomes(&json!({ "Results": [17, {}, null] }), &[record("1", 7)]), [unknown("not_mentioned")]);
    }

    #[test]
    fn d3_a_success_shows_our_quantity_by_value() {
        let ours = record("1", 17);
        for shown in [json!({ "Quantity": 17 }), json!({ "QuantityAsDecimal": "17.00" }), json!({})] {
            let mut echo = json!({ "Timestamp": 1_726_696_800, "CustomerAWSAccountId": "1", "Dimension": "d" });
            echo.as_object_mut().expect("object").extend(shown.as_object().expect("object").clone());
            let body = json!({ "Results": [result(&echo, "Success")] });
            assert_eq!(outcomes(&body, std::slice::from_ref(&ours)), [Outcome::Accepted], "{shown}");
        }
        let other = json!({ "Results": [result(&record("1", 16), "Success")] });
        let shown = Some(Quantity::from(16));
        assert_eq!(outcomes(&other, std::slice::from_ref(&ours)), [Outcome::Conflict { shown }]);
        let mut odd = record("1", 17);
        odd["Quantity"] = json!("many");
        let odd = json!({ "Results": [result(&odd, "Success")] });
        assert_eq!(outcomes(&odd, &[ours]), [unrecognised("echoed_quantity")]);
    }

    #[test]
    fn d2_customer_not_subscribed_rejects_that_record_alone() {
        let (a, b) = (record("1", 7), record("2", 7));
        let body = json!({ "Results": [result(&a, "CustomerNotSubscribed"), result(&b, "Success")] });
        let rejected = Outcome::NotEntitled { code: "CustomerNotSubscribed".to_owned() };
        assert_eq!(outcomes(&body, &[a.clone(), b.clone()]), [rejected, Outcome::Accepted]);
        let verdicts = read(&body, &sent(&[a, b])).expect("an answer");
        assert_eq!(verdicts[0].receipt, None, "an id of something that was not taken is no receipt");
    }

    #[test]
    fn d3_an_unknown_status_is_unrecognised() {
        let a = record("1", 7);
        for (status, code) in [("Pending", "Pending"), ("so so", "status")] {
            let body = json!({ "Results": [result(&a, status)] });
            assert_eq!(outcomes(&body, std::slice::from_ref(&a)), [unrecognised(code)]);
        }
        let body = json!({ "Results": [{ "UsageRecord": a }] });
        assert_eq!(outcomes(&body, &[record("1", 7)]), [unrecognised("no_status")]);
    }

    #[test]
    fn d3_contradictions_decide_nothing() {
        let a = record("1", 7);
        let twice = |one: &str, other: &str| json!({ "Results": [result(&a, one), result(&a, other)] });
        let of = |body: &Value| outcomes(body, std::slice::from_ref(&a));
        assert_eq!(of(&twice("Success", "Success")), [Outcome::Accepted]);
        assert_eq!(of(&twice("Success", "CustomerNotSubscribed")), [unrecognised("contradictory")]);
        let both = json!({ "Results": [result(&a, "Success")], "UnprocessedRecords": [a] });
        assert_eq!(of(&both), [unrecognised("contradictory")]);
    }

    #[test]
    fn d3_an_entry_that_fits_two_records_decides_nothing() {
        let legacy = json!({ "Timestamp": 1_726_696_800, "CustomerIdentifier": "c", "Dimension": "d", "Quantity": 7 });
        let mut echo = record("1", 7);
        echo["CustomerIdentifier"] = json!("c");
        let body = json!({ "Results": [result(&echo, "Success")] });
        assert_eq!(outcomes(&body, &[record("1", 7), legacy]), [unrecognised("ambiguous"), unrecognised("ambiguous")]);
    }

    #[test]
    fn d8_a_body_without_results_is_no_answer() {
        for body in [json!({}), json!([]), json!(null), json!({ "Results": "all" }), json!({ "message": "ok" })] {
            assert_eq!(read(&body, &sent(&[record("1", 7)])), Err("no_results"), "{body}");
        }
    }
}
