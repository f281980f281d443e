//! Which marketplaces there are, by the word in `destination.kind`.

use std::sync::Arc;

use serde_json::Value;

use crate::aws::{self, Aws};
use crate::azure::{self, Azure};
use crate::google::{self, Google};
use crate::{Capabilities, Marketplace};

/// Why a destination's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The kind names no marketplace.
    #[error("no marketplace is called {kind:?}; there are: {known}", known = kinds().join(", "))]
    UnknownKind {
        /// What was asked for.
        kind: String,
    },
    /// A setting is missing, unknown or malformed.
    #[error("setting {field:?} of destination kind {kind}: {problem}")]
    Setting {
        /// The destination's kind.
        kind: &'static str,
        /// The setting.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// The words `destination.kind` may have.
#[must_use]
pub const fn kinds() -> &'static [&'static str] {
    &["aws", "azure", "google"]
}

/// The capabilities of a kind, for defaults in the catalogue; `None` for an unknown kind.
#[must_use]
pub fn capabilities(kind: &str) -> Option<Capabilities> {
    match kind {
        "aws" => Some(aws::capabilities()),
        "azure" => Some(azure::capabilities()),
        "google" => Some(google::capabilities()),
        _ => None,
    }
}

/// Opens a marketplace with a destination's settings (no secrets in them: they name a credentials profile at most).
///
/// # Errors
/// An unknown kind, or a setting by name.
pub fn open(kind: &str, settings: &Value) -> Result<Arc<dyn Marketplace>, SettingsError> {
    match kind {
        "aws" => Ok(Arc::new(Aws::open(settings)?)),
        "azure" => Ok(Arc::new(Azure::open(settings)?)),
        "google" => Ok(Arc::new(Google::open(settings)?)),
        _ => Err(SettingsError::UnknownKind { kind: kind.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_has_capabilities_and_opens() {
        for kind in kinds() {
            assert!(capabilities(kind).is_some(), "{kind}");
            // Without settings it may refuse, but never as unknown.
            assert!(!matches!(open(kind, &json!({})), Err(SettingsError::UnknownKind { .. })), "{kind}");
        }
        assert!(capabilities("ibm").is_none());
        let refused = open("ibm", &json!({})).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), Some("no marketplace is called \"ibm\"; there are: aws, azure, google"));
    }

    #[test]
    fn d6_google_opens_with_one_record_a_call_and_an_hour_of_memory() {
        let settings = json!({ "service_name": "db.example.com", "credentials": "metadata" });
        let google = open("google", &settings).expect("settings");
        assert_eq!(google.endpoint().as_str(), "https://servicecontrol.googleapis.com/");
        let can = google.capabilities();
        let hours = |count: u64| std::time::Duration::from_secs(3_600 * count);
        assert_eq!((can.records_default, can.records_max, can.zone), (1, 100, "America/Los_Angeles"));
        assert_eq!((can.age_limit, can.memory), (hours(2), Some(hours(1))));
        assert_eq!((can.month_cutoff, can.closing_window), (Some(hours(1)), Some(hours(1))));
    }

    #[test]
    fn d1_aws_opens_where_its_region_is() {
        let aws = open("aws", &json!({ "region": "eu-central-1" })).expect("settings");
        assert_eq!(aws.endpoint().as_str(), "https://metering.marketplace.eu-central-1.amazonaws.com/");
        assert_eq!((aws.capabilities().records_max, aws.capabilities().memory), (25, None));
    }
}
