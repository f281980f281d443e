//! The settings of an AWS destination. None of them is a secret.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use crate::SettingsError;

pub(super) const KIND: &str = "aws";

/// All settings there are.
const KNOWN: &[&str] = &["region", "endpoint", "profile", "credentials_timeout_seconds"];

/// What a destination's settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// The region reported to: the seller's choice, for good. AWS deduplicates per region, so moving records that may
    /// have arrived to another one bills them twice.
    pub(super) region: String,
    /// Where calls go.
    pub(super) endpoint: Url,
    /// The profile of the shared configuration files whose credentials are used; `None`: the vendor's default chain.
    pub(super) profile: Option<String>,
    /// How long fetching credentials may take.
    pub(super) credentials_timeout: Duration,
}

impl Settings {
    pub(super) fn read(values: &Value) -> Result<Self, SettingsError> {
        let settings = crate::settings::Settings::read(KIND, values, KNOWN)?;
        let region = settings
            .text("region")?
            .ok_or_else(|| settings.error("region", "is missing; name the region you report to, such as us-east-1"))?;
        if !is_region(region) {
            return Err(settings.error("region", "is no region's name; they look like us-east-1"));
        }
        Ok(Self {
            region: region.to_owned(),
            endpoint: settings.endpoint("endpoint", &default_endpoint(region))?,
            profile: settings.text("profile")?.map(str::to_owned),
            credentials_timeout: settings.seconds("credentials_timeout_seconds", 5, 60)?,
        })
    }
}

/// Letters, digits and inner hyphens: it becomes part of a host's name and of every key.
fn is_region(text: &str) -> bool {
    text.len() <= 32
        && text.contains('-')
        && text
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// Hosts as AWS names them (resolved, one per partition): GovCloud follows the first form.
fn default_endpoint(region: &str) -> String {
    match region.split('-').next() {
        Some("cn") => format!("https://metering.marketplace.{region}.amazonaws.com.cn"),
        Some("eusc") => format!("https://metering-marketplace.{region}.amazonaws.eu"),
        _ => format!("https://metering.marketplace.{region}.amazonaws.com"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn d1_the_endpoint_follows_the_region() {
        for (region, endpoint) in [
            ("us-east-1", "https://metering.marketplace.us-east-1.amazonaws.com/"),
            ("us-gov-west-1", "https://metering.marketplace.us-gov-west-1.amazonaws.com/"),
            ("cn-northwest-1", "https://metering.marketplace.cn-northwest-1.amazonaws.com.cn/"),
            ("eusc-de-east-1", "https://metering-marketplace.eusc-de-east-1.amazonaws.eu/"),
        ] {
            let settings = Settings::read(&json!({ "region": region })).expect("settings");
            assert_eq!(settings.endpoint.as_str(), endpoint);
            assert_eq!((settings.profile, settings.credentials_timeout), (None, Duration::from_secs(5)));
        }
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        for (values, field) in [
            (json!({}), "region"),
            (json!({ "region": "US EAST" }), "region"),
            (json!({ "region": "x/../y-1" }), "region"),
            (json!({ "region": "us-east-1", "endpoint": "http://example.com" }), "endpoint"),
            (json!({ "region": "us-east-1", "profile": "" }), "profile"),
            (json!({ "region": "us-east-1", "access_key": "AKIA" }), "access_key"),
            (json!({ "region": "us-east-1", "credentials_timeout_seconds": 0 }), "credentials_timeout_seconds"),
            (json!("us-east-1"), "settings"),
        ] {
            match Settings::read(&values) {
                Err(SettingsError::Setting { kind: "aws", field: named, .. }) => assert_eq!(named, field, "{values}"),
                other => panic!("{values}: {other:?}"),
            }
        }
    }
}
