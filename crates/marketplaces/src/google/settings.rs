//! The settings of a Google destination. None of them is a secret.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use crate::SettingsError;

pub(super) const KIND: &str = "google";

const ENDPOINT: &str = "https://servicecontrol.googleapis.com";
const METADATA: &str = "http://metadata.google.internal";

/// All settings there are.
const KNOWN: &[&str] = &[
    "service_name",
    "endpoint",
    "credentials",
    "profile",
    "token_endpoint",
    "metadata_endpoint",
    "credentials_timeout_seconds",
];

/// Where tokens come from: one way, chosen; never several tried one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// The service account's key file whose path is in the environment under this name.
    KeyFile {
        /// `POSTMETER_GOOGLE_<PROFILE>_KEY_FILE`.
        variable: String,
    },
    /// The metadata server of the machine, for its default service account (also under workload identity).
    Metadata,
}

/// What a destination's settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// The managed service that is reported to; it stands in every path and metric name.
    pub(super) service_name: String,
    /// Where calls go.
    pub(super) endpoint: Url,
    /// Where tokens come from.
    pub(super) credentials: Credentials,
    /// Where a key's assertion is exchanged; `None`: where the key file says.
    pub(super) token_endpoint: Option<Url>,
    /// Where the metadata server is.
    pub(super) metadata_endpoint: Url,
    /// How long fetching a token may take.
    pub(super) credentials_timeout: Duration,
}

impl Settings {
    pub(super) fn read(values: &Value) -> Result<Self, SettingsError> {
        let settings = crate::settings::Settings::read(KIND, values, KNOWN)?;
        let service_name = settings.text("service_name")?.ok_or_else(|| {
            settings
                .error("service_name", "is missing; name the managed service of your product, such as x.endpoints.y")
        })?;
        if !is_service_name(service_name) {
            return Err(settings.error("service_name", "is no service's name: letters, digits, dots and hyphens"));
        }
        let endpoint = settings.endpoint("endpoint", ENDPOINT)?;
        // A simulator is reached without TLS: a token of the real Google must not travel there, so the simulator
        // gives the tokens as well, unless said otherwise.
        let local = (endpoint.scheme() == "http").then(|| endpoint.clone());
        let token_endpoint = match (settings.text("token_endpoint")?, &local) {
            (None, local) => local.as_ref().map(|local| join(local, "token")),
            (Some(text), _) => Some(settings.endpoint("token_endpoint", text)?),
        };
        let metadata_endpoint = match (settings.text("metadata_endpoint")?, local) {
            (None, Some(local)) => local,
            // The one address that is neither TLS nor loopback: the machine's own link.
            (None, None) => Url::parse(METADATA).expect("a constant"),
            (Some(text), _) => settings.endpoint("metadata_endpoint", text)?,
        };
        Ok(Self {
            service_name: service_name.to_owned(),
            endpoint,
            credentials: credentials(&settings)?,
            token_endpoint,
            metadata_endpoint,
            credentials_timeout: settings.seconds("credentials_timeout_seconds", 5, 60)?,
        })
    }
}

fn credentials(settings: &crate::settings::Settings<'_>) -> Result<Credentials, SettingsError> {
    let profile = settings.text("profile")?;
    match (settings.text("credentials")?, profile) {
        (Some("metadata"), None) => Ok(Credentials::Metadata),
        (Some("metadata"), Some(_)) => Err(settings.error("profile", "belongs to credentials = \"key_file\" alone")),
        (None | Some("key_file"), Some(profile)) if is_profile(profile) => {
            let profile = profile.to_ascii_uppercase().replace('-', "_");
            Ok(Credentials::KeyFile { variable: format!("POSTMETER_GOOGLE_{profile}_KEY_FILE") })
        }
        (None | Some("key_file"), Some(_)) => {
            Err(settings.error("profile", "must be 1 to 32 letters, digits, hyphens and underscores"))
        }
        (Some("key_file"), None) => {
            Err(settings
                .error("profile", "is missing; it names POSTMETER_GOOGLE_<PROFILE>_KEY_FILE in the environment"))
        }
        (None, None) => Err(settings.error("credentials", "is missing: \"key_file\" with a profile, or \"metadata\"")),
        (Some(_), _) => Err(settings.error("credentials", "must be \"key_file\" (with a profile) or \"metadata\"")),
    }
}

/// `base` with a path below it.
pub(super) fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// Letters, digits, dots and inner hyphens: it becomes part of a path and of every key.
fn is_service_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

fn is_profile(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn d6_defaults_are_googles_own() {
        let settings = Settings::read(&json!({ "service_name": "db.example.com", "profile": "seller-eu" }));
        let settings = settings.expect("settings");
        assert_eq!(settings.endpoint.as_str(), "https://servicecontrol.googleapis.com/");
        assert_eq!(settings.metadata_endpoint.as_str(), "http://metadata.google.internal/");
        assert_eq!(settings.token_endpoint, None);
        let variable = "POSTMETER_GOOGLE_SELLER_EU_KEY_FILE".to_owned();
        assert_eq!(settings.credentials, Credentials::KeyFile { variable });
    }

    #[test]
    fn i6_a_simulator_gives_its_own_tokens() {
        let values = json!({ "service_name": "db", "credentials": "metadata", "endpoint": "http://127.0.0.1:8090" });
        let settings = Settings::read(&values).expect("settings");
        let token = settings.token_endpoint.map(|url| url.to_string());
        assert_eq!(token.as_deref(), Some("http://127.0.0.1:8090/token"));
        assert_eq!(settings.metadata_endpoint.as_str(), "http://127.0.0.1:8090/");
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        let with = |name: &str, value: Value| {
            let mut values = json!({ "service_name": "db.example.com", "profile": "main" });
            values[name] = value;
            values
        };
        for (values, field) in [
            (json!({}), "service_name"),
            (json!({ "service_name": "db" }), "credentials"),
            (json!({ "service_name": "db", "credentials": "key_file" }), "profile"),
            (json!({ "service_name": "db", "credentials": "metadata", "profile": "main" }), "profile"),
            (with("credentials", json!("adc")), "credentials"),
            (with("profile", json!("../main")), "profile"),
            (with("service_name", json!("db/../x")), "service_name"),
            (with("service_name", json!("DB.example.com")), "service_name"),
            (with("endpoint", json!("http://example.com")), "endpoint"),
            (with("token_endpoint", json!("http://example.com/token")), "token_endpoint"),
            (with("metadata_endpoint", json!("http://169.254.169.254")), "metadata_endpoint"),
            (with("private_key", json!("x")), "private_key"),
            (with("credentials_timeout_seconds", json!(0)), "credentials_timeout_seconds"),
        ] {
            match Settings::read(&values) {
                Err(SettingsError::Setting { kind: "google", field: named, .. }) => {
                    assert_eq!(named, field, "{values}")
                }
                other => panic!("{values}: {other:?}"),
            }
        }
    }
}
