//! What Microsoft holds of a day: `GET /api/usageEvents`, for the reconciliation.
//!
//! Source: Microsoft's "Marketplace metered billing APIs" (retrieving usage events). The entries are sums of a day in UTC;
//! how it counts the end of the range is not said, so the day after is asked for too and what is not of the day is left
//! out.

use jiff::civil::{Date, DateTime};
use remittance::{Answer, Outcome, Quantity};
use reqwest::Url;
use serde_json::Value;
use uuid::Uuid;

use super::answer::{Evidence, unrecognised, without_body};
use super::event::quantity;
use super::{identity, refusal, request};
use crate::Reported;
use crate::transport::Reply;

/// Bytes of an answer that are read: some 500 an entry, no paging is documented.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The question; `None` if the token fits no header.
pub(super) fn ask(endpoint: &Url, day: Date, token: &str) -> Option<http::Request<Vec<u8>>> {
    let (from, until) = (day.to_string(), day.tomorrow().unwrap_or(day).to_string());
    let range = [("usageStartDate", from.as_str()), ("UsageEndDate", until.as_str())];
    let id = Uuid::new_v4().to_string();
    let request = http::Request::get(request::address(endpoint, "api/usageEvents", &range).as_str())
        .header("x-ms-requestid", &id)
        .header("x-ms-correlationid", &id);
    request::authorised(request, token)?.body(Vec::new()).ok()
}

/// Reads the answer. An entry that cannot be read spoils it whole: a comparison that leaves out what it did not
/// understand would find a shortfall that there is not, or miss one that there is.
pub(super) fn read(reply: &Reply, day: Date, secrets: &[&str]) -> Result<Vec<Reported>, Answer> {
    let evidence = Evidence { reply, secrets };
    let body = reply.body.as_ref().map_err(|fault| evidence.answer(without_body(reply, *fault), None, None))?;
    let failed = |outcome: Outcome| Err(evidence.answer(outcome, None, evidence.excerpt(body)));
    let json = serde_json::from_slice::<Value>(body).ok();
    if reply.status != 200 {
        return failed(refusal::outcome(reply.status, json.as_ref(), reply.retry_after(), 1));
    }
    let Some(Value::Array(entries)) = json else { return failed(unrecognised("not_a_list")) };
    let mut reported = Vec::with_capacity(entries.len());
    for entry in &entries {
        match usage(entry) {
            Some(usage) if usage.day == day => reported.push(usage),
            Some(_) => {}
            None => {
                return Err(evidence.answer(
                    unrecognised("entry"),
                    None,
                    evidence.excerpt(entry.to_string().as_bytes()),
                ));
            }
        }
    }
    Ok(reported)
}

/// One entry: a resource, a dimension and a plan on a day.
fn usage(entry: &Value) -> Option<Reported> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let state = text("reconStatus")?.to_owned();
    let shown = |name: &str| entry.get(name).filter(|value| !value.is_null());
    // An amount that is there and cannot be read is no amount that is missing.
    let amount = |name: &str| shown(name).map_or(Some(None), |value| quantity(value).map(Some));
    let (processed, submitted) = (amount("processedQuantity")?, amount("submittedQuantity")?);
    // Before it is processed it stands there with zero.
    let processed = processed.filter(|processed| state != "Submitted" || !processed.is_zero());
    Some(Reported {
        buyer: identity::buyer_key(text("usageResourceId")?),
        dimension: text("dimension")?.to_owned(),
        day: day(text("usageDate")?)?,
        quantity: processed.or(submitted)?,
        count: count(shown("submittedCount")),
        state,
    })
}

/// `2024-09-18T00:00:00Z`, or without its zone, or the date alone.
fn day(text: &str) -> Option<Date> {
    text.trim_end_matches('Z').parse::<DateTime>().map(DateTime::date).or_else(|_| text.parse::<Date>()).ok()
}

fn count(shown: Option<&Value>) -> u64 {
    let whole = |quantity: Quantity| quantity.to_i64().and_then(|count| u64::try_from(count).ok());
    shown.and_then(quantity).and_then(whole).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    const DAY: Date = jiff::civil::date(2024, 9, 18);
    const GUID: &str = "11112222-3333-4444-5555-66667777AAAA";

    fn entry(changes: &[(&str, Value)]) -> Value {
        let mut entry = json!({
            "usageDate": "2024-09-18T00:00:00Z", "usageResourceId": GUID, "dimension": "cores", "planId": "gold",
            "planName": "", "offerId": "o", "offerType": "SaaS", "azureSubscriptionId": GUID, "reconStatus": "Accepted",
            "submittedQuantity": 17.5, "processedQuantity": 17.5, "submittedCount": 17
        });
        for (name, value) in changes {
            entry[*name] = value.clone();
        }
        entry
    }

    fn read_all(body: &Value) -> Result<Vec<Reported>, Outcome> {
        let body = Ok(Bytes::from(body.to_string()));
        read(&Reply { status: 200, headers: HeaderMap::new(), body }, DAY, &[]).map_err(|answer| answer.outcome)
    }

    fn quantity_of(changes: &[(&str, Value)]) -> Result<String, Outcome> {
        read_all(&json!([entry(changes)])).map(|found| found[0].quantity.to_string())
    }

    #[test]
    fn d5_an_entry_is_a_day_of_a_key() {
        let found = read_all(&json!([entry(&[])])).expect("read");
        let expected = Reported {
            buyer: format!("azure/{}", GUID.to_lowercase()),
            dimension: "cores".to_owned(),
            day: DAY,
            quantity: "17.5".parse().expect("a quantity"),
            count: 17,
            state: "Accepted".to_owned(),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn d5_what_is_processed_counts_and_before_that_what_was_submitted() {
        let (processed, submitted) = ("processedQuantity", "reconStatus");
        assert_eq!(quantity_of(&[(processed, json!(16))]).as_deref(), Ok("16"));
        assert_eq!(quantity_of(&[(processed, json!(0)), (submitted, json!("Rejected"))]).as_deref(), Ok("0"));
        assert_eq!(quantity_of(&[(processed, json!(0.0)), (submitted, json!("Submitted"))]).as_deref(), Ok("17.5"));
        assert_eq!(quantity_of(&[(processed, Value::Null)]).as_deref(), Ok("17.5"));
    }

    #[test]
    fn d5_other_days_are_left_out() {
        let days = ["2024-09-17T00:00:00", "2024-09-18", "2024-09-19T00:00:00Z"];
        let entries: Vec<Value> = days.iter().map(|day| entry(&[("usageDate", json!(day))])).collect();
        assert_eq!(read_all(&json!(entries)).map(|found| found.len()), Ok(1));
        assert_eq!(read_all(&json!([])), Ok(vec![]));
    }

    #[test]
    fn d5_an_entry_that_cannot_be_read_spoils_the_answer() {
        for (name, value) in [
            ("usageDate", json!("yesterday")),
            ("usageResourceId", json!("")),
            ("dimension", Value::Null),
            ("reconStatus", Value::Null),
            ("processedQuantity", json!("many")),
        ] {
            assert_eq!(read_all(&json!([entry(&[]), entry(&[(name, value)])])), Err(unrecognised("entry")), "{name}");
        }
        assert_eq!(read_all(&json!({ "value": [] })), Err(unrecognised("not_a_list")));
    }

    #[test]
    fn d5_the_question_names_the_day() {
        let endpoint = Url::parse("https://marketplaceapi.microsoft.com").expect("a URL");
        let request = ask(&endpoint, DAY, "token").expect("a request");
        let expected = "https://marketplaceapi.microsoft.com/api/usageEvents?usageStartDate=2024-09-18&UsageEndDate=2024-09-19&api-version=2018-08-31";
        assert_eq!(request.uri().to_string(), expected);
    }
}
