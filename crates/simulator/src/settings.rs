//! What a simulator is started with.

use serde::{Deserialize, Serialize};

use crate::aws::settings::AwsSettings;
use crate::azure::settings::AzureSettings;
use crate::clock::Clock;
use crate::google::settings::GoogleSettings;

/// Everything that can be set. Unknown fields are refused, absent ones take their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether a listener beyond loopback is allowed. The admin API knows no credentials: whoever reaches the port may
    /// change everything. Read at the start only.
    pub allow_remote: bool,
    /// The clock at the start and after a reset.
    pub clock: Clock,
    /// How many of the last calls are kept in full; the counters count all.
    pub call_log_capacity: usize,
    /// AWS Marketplace Metering.
    pub aws: AwsSettings,
    /// Microsoft's marketplace metering.
    pub azure: AzureSettings,
    /// Google's Service Control.
    pub google: GoogleSettings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            allow_remote: false,
            clock: Clock::real(),
            call_log_capacity: 10_000,
            aws: AwsSettings::default(),
            azure: AzureSettings::default(),
            google: GoogleSettings::default(),
        }
    }
}

impl Settings {
    /// These settings with what `changes` names put in its place. Objects are entered at the top and one level below
    /// (a marketplace's); anything deeper, such as a list or map, is replaced whole.
    pub(crate) fn changed_by(&self, changes: serde_json::Value) -> Result<Settings, serde_json::Error> {
        let mut merged = serde_json::to_value(self)?;
        let serde_json::Value::Object(changes) = changes else {
            return Err(serde::de::Error::custom("settings are a JSON object"));
        };
        for (name, change) in changes {
            match (merged.get_mut(&name), change) {
                (Some(serde_json::Value::Object(section)), serde_json::Value::Object(change))
                    if ["aws", "azure", "google"].contains(&name.as_str()) =>
                {
                    section.extend(change);
                }
                (_, change) => merged[name] = change,
            }
        }
        serde_json::from_value(merged)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_replace_what_they_name_and_nothing_else() {
        let settings = Settings::default();
        let changed = settings.changed_by(json!({"aws": {"rate": null, "max_age_hours": 6}})).unwrap();
        assert_eq!((changed.aws.rate, changed.aws.max_age_hours), (None, 6));
        assert_eq!(changed.aws.month_cutoff_hours, Some(6));
        assert_eq!(changed.call_log_capacity, settings.call_log_capacity);
        assert!(settings.changed_by(json!({"aws": {"max_age": 6}})).is_err(), "a misspelt field is not ignored");
        let frozen = settings.changed_by(json!({"clock": {"frozen_at": "2026-07-22T12:00:00Z"}})).unwrap();
        assert!(frozen.clock.is_frozen());
    }
}
