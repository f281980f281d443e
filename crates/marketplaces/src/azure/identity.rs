//! Who buys, as Microsoft identifies a buyer: a resource and its plan. Rules of fields:
//! commercial-marketplace-openapi, `meteringapi.v1.json`, schema `UsageEvent`.

use remittance::Reason;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{Buyer, Refusal};

const RESOURCE_ID: &str = "resource_id";
const RESOURCE_URI: &str = "resource_uri";
const PLAN_ID: &str = "plan_id";
const FORMS: &str = "give plan_id, and either resource_id (a SaaS subscription's id, or a managed application's \
                     resource usage id) or resource_uri (a managed application)";

/// How a resource is named. A managed application has both names; to Microsoft's deduplication they may be two
/// resources, so one is chosen for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    /// A GUID, in lower case.
    Id(String),
    /// A resource's path, as the catalogue writes it.
    Uri(String),
}

/// A buyer with the plan that is part of every record, but of no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) resource: Resource,
    pub(super) plan: String,
}

impl Identity {
    /// Reads a subscription's identity from the catalogue.
    pub(super) fn read(identity: &Value) -> Result<Self, Refusal> {
        let Value::Object(fields) = identity else {
            return Err(refusal(format!("the Azure identity must be an object: {FORMS}")));
        };
        if let Some(name) = fields.keys().find(|name| ![RESOURCE_ID, RESOURCE_URI, PLAN_ID].contains(&name.as_str())) {
            return Err(refusal(format!("{name} is no field of an Azure identity: {FORMS}")));
        }
        let id = text(fields, RESOURCE_ID, is_guid, "a GUID with its hyphens")?;
        let uri = text(fields, RESOURCE_URI, is_uri, "a path such as /subscriptions/…/applications/name")?;
        let plan = text(fields, PLAN_ID, is_plan, "1 to 100 of letters, digits and -_.")?;
        let resource = match (id, uri) {
            (Some(id), None) => Resource::Id(id.to_ascii_lowercase()),
            (None, Some(uri)) => Resource::Uri(uri),
            (Some(_), Some(_)) => {
                return Err(refusal(format!("resource_id and resource_uri exclude each other: {FORMS}")));
            }
            (None, None) => return Err(refusal(format!("resource_id (or resource_uri) is missing: {FORMS}"))),
        };
        let plan = plan.ok_or_else(|| refusal(format!("plan_id is missing: {FORMS}")))?;
        Ok(Self { resource, plan })
    }

    /// The buyer in canonical form, without the plan: a changed plan continues the meter, because Microsoft takes one
    /// event per resource, dimension and hour.
    pub(super) fn buyer(&self) -> Buyer {
        let (resource, form) = match &self.resource {
            Resource::Id(id) => (id, "resource_id"),
            Resource::Uri(uri) => (uri, "resource_uri"),
        };
        Buyer { key: buyer_key(resource), account: resource.to_ascii_lowercase(), form }
    }
}

/// The canonical key of a resource, whatever its letters' case: Azure compares resources without it.
pub(super) fn buyer_key(resource: &str) -> String {
    format!("azure/{}", resource.to_ascii_lowercase())
}

/// A field's text, if it is there; refused by name if it is not as it should be.
fn text(
    fields: &Map<String, Value>,
    name: &str,
    fits: fn(&str) -> bool,
    expected: &str,
) -> Result<Option<String>, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if fits(text) => Ok(Some(text.clone())),
        Some(Value::String(text)) => Err(refusal(format!("{name} is {text:?}; it must be {expected}"))),
        Some(_) => Err(refusal(format!("{name} must be a text: {expected}"))),
    }
}

fn refusal(message: String) -> Refusal {
    Refusal { reason: Reason::InvalidSubscription, message }
}

/// Hyphenated, and not the empty one.
fn is_guid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok_and(|guid| !guid.is_nil())
}

/// `/subscriptions/<guid>/…`, as Azure Resource Manager writes paths; without a slash at its end.
fn is_uri(text: &str) -> bool {
    let mut parts = text.split('/');
    let begins = parts.next() == Some("")
        && parts.next().is_some_and(|part| part.eq_ignore_ascii_case("subscriptions"))
        && parts.next().is_some_and(is_guid);
    let named = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'(' | b')'))
    };
    begins && text.len() <= 1_000 && parts.clone().count() >= 2 && parts.all(named)
}

fn is_plan(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GUID: &str = "11112222-3333-4444-5555-66667777AAAA";
    const URI: &str = "/subscriptions/11112222-3333-4444-5555-666677778888/resourceGroups/RG-1/providers/Microsoft.Solutions/applications/App";

    fn refused(identity: &Value) -> String {
        let refusal = Identity::read(identity).expect_err("must be refused");
        assert_eq!(refusal.reason, Reason::InvalidSubscription);
        refusal.message
    }

    #[test]
    fn d4_each_form_has_its_canonical_key_without_the_plan() {
        for (identity, key, form) in [
            (
                json!({ "resource_id": GUID, "plan_id": "gold" }),
                format!("azure/{}", GUID.to_lowercase()),
                "resource_id",
            ),
            (
                json!({ "resource_id": GUID.to_lowercase(), "plan_id": "silver" }),
                format!("azure/{}", GUID.to_lowercase()),
                "resource_id",
            ),
            (
                json!({ "resource_uri": URI, "plan_id": "gold" }),
                format!("azure/{}", URI.to_lowercase()),
                "resource_uri",
            ),
        ] {
            let buyer = Identity::read(&identity).expect("a known form").buyer();
            let account = key.strip_prefix("azure/").expect("its beginning").to_owned();
            assert_eq!(buyer, Buyer { key, account, form });
        }
    }

    #[test]
    fn d4_what_is_missing_or_malformed_is_named() {
        for (identity, beginning) in [
            (json!(null), "the Azure identity must be an object"),
            (json!({}), "resource_id (or resource_uri) is missing"),
            (json!({ "plan_id": "p" }), "resource_id (or resource_uri) is missing"),
            (json!({ "resource_id": GUID }), "plan_id is missing"),
            (
                json!({ "resource_id": GUID, "resource_uri": URI, "plan_id": "p" }),
                "resource_id and resource_uri exclude",
            ),
            (json!({ "resource_id": "acme", "plan_id": "p" }), "resource_id is \"acme\"; it must be a GUID"),
            (json!({ "resource_id": GUID.replace('-', ""), "plan_id": "p" }), "resource_id is"),
            (json!({ "resource_id": "00000000-0000-0000-0000-000000000000", "plan_id": "p" }), "resource_id is"),
            (json!({ "resource_id": 7, "plan_id": "p" }), "resource_id must be a text"),
            (json!({ "resource_uri": format!("{URI}/"), "plan_id": "p" }), "resource_uri is"),
            (json!({ "resource_uri": "/subscriptions/x/y/z", "plan_id": "p" }), "resource_uri is"),
            (json!({ "resource_id": GUID, "plan_id": "" }), "plan_id is"),
            (json!({ "resource_id": GUID, "plan_id": "p", "offer_id": "o" }), "offer_id is no field"),
        ] {
            let message = refused(&identity);
            assert!(message.starts_with(beginning), "{identity}: {message}");
        }
    }
}
