//! What an answer says about each event. Matched by content, never by position: nothing promises an order, and an event
//! that is not mentioned must not inherit its neighbour's receipt.
//!
//! Status words: commercial-marketplace-openapi, `meteringapi.v1.json`, `StatusEnum`, and Microsoft's "Marketplace metered
//! billing APIs" (which adds ResourceNotActive).

use remittance::{Outcome, Quantity};
use serde_json::Value;

use super::event::UsageEvent;
use crate::evidence;

/// What was said about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// The `usageEventId` under which they hold it.
    pub(super) receipt: Option<String>,
    /// The entry as it stood in the answer, where it adds to the outcome.
    pub(super) entry: Option<String>,
}

impl Verdict {
    fn unrecognised(code: &str, entry: Option<String>) -> Self {
        Self { outcome: Outcome::Unrecognised { code: code.to_owned(), record_alone: true }, receipt: None, entry }
    }
}

/// Reads the verdict on every event sent, in the order sent, from the 200 of a batch.
///
/// # Errors
/// A stable code if the body is no answer to `batchUsageEvent` at all.
pub(super) fn read(body: &Value, sent: &[UsageEvent]) -> Result<Vec<Verdict>, &'static str> {
    let Some(Value::Array(entries)) = body.get("result") else { return Err("no_result") };
    let mut said: Vec<Vec<Verdict>> = vec![Vec::new(); sent.len()];
    for entry in entries {
        let echo = UsageEvent::read(entry);
        // Alone in call and answer, an entry may leave out what it is about, as long as it does not say otherwise.
        let alone = sent.len() == 1 && entries.len() == 1;
        let is_about = |ours: &UsageEvent| {
            ours.is_echoed_by(&echo) || (alone && entry.is_object() && ours.is_not_contradicted_by(&echo))
        };
        let about: Vec<usize> = (0..sent.len()).filter(|&at| is_about(&sent[at])).collect();
        for &at in &about {
            let one = about.len() == 1;
            said[at].push(if one {
                verdict(entry, &sent[at], &echo)
            } else {
                Verdict::unrecognised("ambiguous", None)
            });
        }
    }
    Ok(said.into_iter().map(settle).collect())
}

/// Reads the 200 of a single event.
///
/// # Errors
/// A stable code if the body is no answer to `usageEvent`, or one about another event.
pub(super) fn read_single(body: &Value, sent: &UsageEvent) -> Result<Verdict, &'static str> {
    let echo = UsageEvent::read(body);
    if !body.get("status").is_some_and(Value::is_string) {
        return Err("no_status");
    }
    if sent.is_not_contradicted_by(&echo) { Ok(verdict(body, sent, &echo)) } else { Err("another_event") }
}

/// Reads the 409 of a single event; `None` if it does not say what a 409 says.
pub(super) fn read_conflict(body: &Value, sent: &UsageEvent) -> Option<Verdict> {
    let conflict = body.get("code").and_then(Value::as_str) == Some("Conflict");
    (conflict || body.get("additionalInfo").is_some()).then(|| duplicate(Some(body), sent, body.to_string()))
}

/// What an entry says about our event.
fn verdict(entry: &Value, ours: &UsageEvent, echo: &UsageEvent) -> Verdict {
    let said = |outcome: Outcome| Verdict { outcome, receipt: None, entry: Some(entry.to_string()) };
    let Some(status) = entry.get("status").and_then(Value::as_str) else {
        return Verdict::unrecognised("no_status", Some(entry.to_string()));
    };
    let code = status.to_owned();
    match status {
        "Accepted" => match echo.quantity {
            Some(None) => Verdict::unrecognised("echoed_quantity", Some(entry.to_string())),
            // By value: 17 is 17.0.
            Some(shown) if Some(shown) != ours.quantity => {
                Verdict { receipt: receipt(entry), ..said(Outcome::Conflict { shown }) }
            }
            _ => Verdict { outcome: Outcome::Accepted, receipt: receipt(entry), entry: None },
        },
        "Duplicate" => duplicate(entry.get("error"), ours, entry.to_string()),
        "Expired" => said(Outcome::TooOld { code }),
        "ResourceNotActive" | "ResourceNotFound" | "ResourceNotAuthorized" => said(Outcome::NotEntitled { code }),
        "InvalidDimension" | "InvalidQuantity" | "BadArgument" => said(Outcome::Rejected { code }),
        "Error" => said(Outcome::Unknown { code }),
        _ => {
            let code = evidence::code(status).unwrap_or_else(|| "status".to_owned());
            Verdict::unrecognised(&code, Some(entry.to_string()))
        }
    }
}

/// They held this key before. What they hold stands in `additionalInfo.acceptedMessage` (an older contract: in
/// `additionalInfo` itself), and that, not our echo, is compared by value.
fn duplicate(error: Option<&Value>, ours: &UsageEvent, entry: String) -> Verdict {
    let info = error.and_then(|error| error.get("additionalInfo"));
    let held = info.map(|info| info.get("acceptedMessage").filter(|held| held.is_object()).unwrap_or(info));
    let state = held.and_then(|held| held.get("status")).and_then(Value::as_str);
    // The older contract also knows Expired and NotProcessed here: a message that they hold and do not bill.
    if let Some(state) = state.filter(|state| !["Accepted", "Duplicate"].contains(state)) {
        let code = evidence::code(state).unwrap_or_else(|| "held_status".to_owned());
        return Verdict::unrecognised(&code, Some(entry));
    }
    let about_ours = |held: &&Value| ours.is_not_contradicted_by(&UsageEvent::read(held));
    let held = held.filter(about_ours);
    let shown: Option<Quantity> = held.and_then(|held| UsageEvent::read(held).quantity).flatten();
    let outcome = match shown {
        Some(shown) if ours.quantity != Some(Some(shown)) => Outcome::Conflict { shown: Some(shown) },
        shown => Outcome::Duplicate { shown },
    };
    Verdict { outcome, receipt: held.and_then(receipt), entry: Some(entry) }
}

fn receipt(event: &Value) -> Option<String> {
    event.get("usageEventId").and_then(Value::as_str).and_then(evidence::word)
}

/// All that was said about one event, as one verdict.
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
mod tests;
