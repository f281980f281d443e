//! Who buys, as Google identifies a buyer: the entitlement's `usageReportingId` (Procurement API), as it stands there.

use std::collections::BTreeMap;

use remittance::Reason;
use serde_json::{Map, Value};

use crate::{Buyer, Refusal};

const CONSUMER: &str = "consumer_id";
const LABELS: &str = "labels";
/// The labels that Google Cloud Marketplace reserves for a seller's cost attribution.
const RESERVED: [&str; 2] =
    ["cloudmarketplace.googleapis.com/resource_name", "cloudmarketplace.googleapis.com/container_name"];
const LABEL_CHARS_MAX: usize = 255;
const FORMS: &str = "give consumer_id, the entitlement's usageReportingId, such as project_number:123456789012 or \
                     project:buyer-project; labels may be added";

/// A buyer. One form alone: a buyer named once by number and once by name is billed twice, and nobody but
/// Google can tell that the two are one. So the id is taken as the entitlement gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// `project_number:<digits>` or `project:<id>`.
    pub(super) consumer_id: String,
    /// Labels for cost attribution: part of the bytes, never of a key.
    pub(super) labels: BTreeMap<String, String>,
}

impl Identity {
    /// Reads a subscription's identity from the catalogue.
    pub(super) fn read(identity: &Value) -> Result<Self, Refusal> {
        let Value::Object(fields) = identity else {
            return Err(refusal(format!("the Google identity must be an object: {FORMS}")));
        };
        if let Some(name) = fields.keys().find(|name| ![CONSUMER, LABELS].contains(&name.as_str())) {
            return Err(refusal(format!("{name} is no field of a Google identity: {FORMS}")));
        }
        let consumer_id = match fields.get(CONSUMER) {
            Some(Value::String(text)) if form(text).is_some() => text.clone(),
            Some(Value::String(text)) => {
                return Err(refusal(format!(
                    "consumer_id is {text:?}; it must be project_number: or project: and an id"
                )));
            }
            Some(_) => return Err(refusal(format!("consumer_id must be a text: {FORMS}"))),
            None => return Err(refusal(format!("consumer_id is missing: {FORMS}"))),
        };
        Ok(Self { consumer_id, labels: labels(fields)? })
    }

    /// The buyer in canonical form, within a service.
    pub(super) fn buyer(&self, service: &str) -> Buyer {
        Buyer {
            key: format!("google/{service}/{}", self.consumer_id),
            account: self.consumer_id.clone(),
            form: form(&self.consumer_id).unwrap_or("project"),
        }
    }
}

/// The form of a consumer's id; `None` if it is none. Service Control also knows folders, organisations and API keys,
/// but none buys as one.
fn form(text: &str) -> Option<&'static str> {
    let (scheme, id) = text.split_once(':')?;
    let number = !id.is_empty() && id.len() <= 20 && id.bytes().all(|b| b.is_ascii_digit());
    // Project ids may carry a domain (`example.com:name`) from older days.
    let name = (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b':' | b'_'));
    match scheme {
        "project_number" if number => Some("project_number"),
        "project" if name => Some("project"),
        _ => None,
    }
}

fn labels(fields: &Map<String, Value>) -> Result<BTreeMap<String, String>, Refusal> {
    let given = match fields.get(LABELS) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(refusal("labels must be an object of texts".to_owned())),
    };
    let label = |(name, value): (&String, &Value)| match value {
        _ if !RESERVED.contains(&name.as_str()) => {
            Err(refusal(format!("label {name:?} is none that Google reserves; there are: {}", RESERVED.join(", "))))
        }
        Value::String(text) if (1..=LABEL_CHARS_MAX).contains(&text.chars().count()) => {
            Ok((name.clone(), text.clone()))
        }
        _ => Err(refusal(format!("label {name:?} must be a text of 1 to {LABEL_CHARS_MAX} characters"))),
    };
    given.iter().map(label).collect()
}

fn refusal(message: String) -> Refusal {
    Refusal { reason: Reason::InvalidSubscription, message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn d6_each_form_has_its_canonical_key_without_labels() {
        for (consumer, form) in [("project_number:123456789012", "project_number"), ("project:acme-prod", "project")] {
            let identity = json!({ "consumer_id": consumer, "labels": { RESERVED[0]: "vm-1" } });
            let buyer = Identity::read(&identity).expect("an identity").buyer("db.example.com");
            let key = format!("google/db.example.com/{consumer}");
            assert_eq!(buyer, Buyer { key, account: consumer.to_owned(), form });
        }
    }

    #[test]
    fn d6_an_identity_that_names_nobody_is_refused_by_field() {
        for (identity, word) in [
            (json!("project:acme"), "object"),
            (json!({}), "consumer_id is missing"),
            (json!({ "consumer_id": 12 }), "must be a text"),
            (json!({ "consumer_id": "" }), "consumer_id is"),
            (json!({ "consumer_id": "acme" }), "consumer_id is"),
            (json!({ "consumer_id": "project:" }), "consumer_id is"),
            (json!({ "consumer_id": "project:a/b" }), "consumer_id is"),
            (json!({ "consumer_id": "project_number:acme" }), "consumer_id is"),
            (json!({ "consumer_id": "api_key:AIza" }), "consumer_id is"),
            (json!({ "consumer_id": "project:acme", "project": "acme" }), "project is no field"),
            (json!({ "consumer_id": "project:acme", "labels": [] }), "labels must be"),
            (json!({ "consumer_id": "project:acme", "labels": { "team": "x" } }), "reserves"),
            (json!({ "consumer_id": "project:acme", "labels": { RESERVED[1]: "" } }), "1 to 255"),
        ] {
            let refused = Identity::read(&identity).expect_err("must be refused");
            assert_eq!(refused.reason, Reason::InvalidSubscription);
            assert!(refused.message.contains(word), "{identity}: {}", refused.message);
        }
    }
}
