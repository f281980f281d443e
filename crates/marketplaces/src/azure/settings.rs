//! The settings of an Azure destination. None of them is a secret: they name a profile of the environment at most.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use crate::SettingsError;

pub(super) const KIND: &str = "azure";

/// All settings there are.
const KNOWN: &[&str] = &[
    "endpoint",
    "credentials",
    "profile",
    "token_version",
    "token_endpoint",
    "imds_endpoint",
    "managed_identity_client_id",
    "token_timeout_seconds",
    "single",
];

/// Microsoft's metering API (commercial-marketplace-openapi, `meteringapi.v1.json`).
const METERING: &str = "https://marketplaceapi.microsoft.com";
/// Entra ID of the public cloud.
const ENTRA: &str = "https://login.microsoftonline.com";
/// The instance metadata service: link-local, reached by plain HTTP wherever it exists.
const IMDS: &str = "http://169.254.169.254";

/// Where tokens come from. Chosen, never tried one after another: a second set of credentials must not send in another
/// publisher's name, and a timeout of the first may already have billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// A client and its secret, by a named profile of the environment.
    ClientSecret {
        /// The profile, in upper case.
        profile: String,
        /// Entra ID's endpoint, without the tenant.
        endpoint: Url,
        /// Which of its two forms.
        version: TokenVersion,
    },
    /// The machine's own identity.
    ManagedIdentity {
        /// The metadata service.
        endpoint: Url,
        /// Which identity, where the machine has several.
        client_id: Option<String>,
    },
}

/// The two forms of Entra ID's client credentials grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenVersion {
    /// `/<tenant>/oauth2/token` with `resource`.
    V1,
    /// `/<tenant>/oauth2/v2.0/token` with `scope`.
    V2,
}

/// What a destination's settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// Where calls go.
    pub(super) endpoint: Url,
    /// Where tokens come from.
    pub(super) login: Login,
    /// How long fetching a token may take.
    pub(super) token_timeout: Duration,
    /// A call of one record goes to `usageEvent` instead of `batchUsageEvent`.
    pub(super) single: bool,
}

impl Settings {
    pub(super) fn read(values: &Value) -> Result<Self, SettingsError> {
        let settings = crate::settings::Settings::read(KIND, values, KNOWN)?;
        Ok(Self {
            endpoint: settings.endpoint("endpoint", METERING)?,
            login: login(&settings)?,
            token_timeout: settings.seconds("token_timeout_seconds", 5, 60)?,
            single: settings.flag("single")?,
        })
    }
}

fn login(settings: &crate::settings::Settings<'_>) -> Result<Login, SettingsError> {
    let not_with = |names: &[&str], source: &str| {
        let given = |name: &&&str| !matches!(settings.text(name), Ok(None));
        match names.iter().find(given) {
            Some(name) => Err(settings.error(name, &format!("has no meaning with credentials = {source:?}"))),
            None => Ok(()),
        }
    };
    match settings.text("credentials")?.unwrap_or("client_secret") {
        source @ "client_secret" => {
            not_with(&["imds_endpoint", "managed_identity_client_id"], source)?;
            let profile = settings.text("profile")?.ok_or_else(|| {
                settings.error("profile", "is missing; with profile = \"main\" the environment's POSTMETER_AZURE_MAIN_CLIENT_ID and so on are read")
            })?;
            if !is_profile(profile) {
                return Err(settings.error("profile", "must be 1 to 32 letters, digits and underscores"));
            }
            let version = match settings.text("token_version")?.unwrap_or("v1") {
                "v1" => TokenVersion::V1,
                "v2" => TokenVersion::V2,
                _ => return Err(settings.error("token_version", "must be v1 or v2")),
            };
            let endpoint = settings.endpoint("token_endpoint", ENTRA)?;
            Ok(Login::ClientSecret { profile: profile.to_ascii_uppercase(), endpoint, version })
        }
        source @ "managed_identity" => {
            not_with(&["profile", "token_version", "token_endpoint"], source)?;
            let endpoint = match settings.text("imds_endpoint")? {
                None | Some(IMDS) => Url::parse(IMDS).expect("a constant URL"),
                Some(_) => settings.endpoint("imds_endpoint", IMDS)?,
            };
            let client_id = settings.text("managed_identity_client_id")?.map(str::to_owned);
            Ok(Login::ManagedIdentity { endpoint, client_id })
        }
        _ => Err(settings.error("credentials", "must be client_secret or managed_identity")),
    }
}

/// It becomes part of the names of environment variables.
fn is_profile(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn d4_the_defaults_are_microsofts_public_cloud() {
        let settings = Settings::read(&json!({ "profile": "main" })).expect("settings");
        assert_eq!(settings.endpoint.as_str(), "https://marketplaceapi.microsoft.com/");
        assert_eq!((settings.single, settings.token_timeout), (false, Duration::from_secs(5)));
        let Login::ClientSecret { profile, endpoint, version } = settings.login else { panic!("a client") };
        assert_eq!((profile.as_str(), version), ("MAIN", TokenVersion::V1));
        assert_eq!(endpoint.as_str(), "https://login.microsoftonline.com/");
    }

    #[test]
    fn d4_a_managed_identity_is_a_choice_of_its_own() {
        let settings = Settings::read(&json!({ "credentials": "managed_identity" })).expect("settings");
        let endpoint = Url::parse(IMDS).expect("a URL");
        assert_eq!(settings.login, Login::ManagedIdentity { endpoint, client_id: None });
        let local = json!({ "credentials": "managed_identity", "imds_endpoint": "http://127.0.0.1:9" });
        assert!(Settings::read(&local).is_ok());
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        for (values, field) in [
            (json!({}), "profile"),
            (json!({ "profile": "a-b" }), "profile"),
            (json!({ "profile": "main", "client_secret": "x" }), "client_secret"),
            (json!({ "profile": "main", "token_version": "v3" }), "token_version"),
            (json!({ "profile": "main", "token_endpoint": "http://example.com" }), "token_endpoint"),
            (json!({ "profile": "main", "endpoint": "http://example.com" }), "endpoint"),
            (json!({ "profile": "main", "imds_endpoint": "http://127.0.0.1:1" }), "imds_endpoint"),
            (json!({ "profile": "main", "single": "yes" }), "single"),
            (json!({ "profile": "main", "credentials": "any" }), "credentials"),
            (json!({ "profile": "main", "credentials": "managed_identity" }), "profile"),
            (json!({ "credentials": "managed_identity", "imds_endpoint": "http://10.0.0.1" }), "imds_endpoint"),
            (json!({ "profile": "main", "token_timeout_seconds": 0 }), "token_timeout_seconds"),
        ] {
            match Settings::read(&values) {
                Err(SettingsError::Setting { kind: "azure", field: named, .. }) => assert_eq!(named, field, "{values}"),
                other => panic!("{values}: {other:?}"),
            }
        }
    }
}
