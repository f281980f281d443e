//! AWS Marketplace Metering: `BatchMeterUsage`.
//!
//! What it must never do: name a buyer in two forms, change a byte after the freeze, repeat a call by itself, or take
//! anything but `Success` with our own quantity for accepted.
//!
//! | file | what |
//! |---|---|
//! | `settings` | region, endpoint, profile |
//! | `identity` | the buyer's three forms, the canonical key, what may share a call |
//! | `freeze` | the bytes of a record |
//! | `request` | frozen records to one call |
//! | `credentials`, `chain_http`, `sign` | the vendor's chain on our transport, and the vendor's signer |
//! | `answer`, `refusal`, `results`, `record` | reply to outcome: the call, its errors, its records |
//!
//! Rules move: the wire's shapes are those of botocore 1.44.5 (service model `meteringmarketplace`), every window and
//! limit in [`capabilities`] is a default that a destination may override.

mod answer;
mod chain_http;
mod credentials;
mod freeze;
mod identity;
mod record;
mod refusal;
mod request;
mod results;
mod settings;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
/// The vendor's types of credentials and of their providers, for [`Aws::open_with`].
pub use aws_credential_types::{Credentials, provider};
use remittance::{Answer, Outcome};
use reqwest::Url;
use serde_json::Value;
use tokio::time::Instant;

use self::credentials::{Keychain, Source};
use self::identity::Identity;
use self::settings::Settings;
use crate::transport::Transport;
use crate::{BoxFuture, Buyer, Capabilities, Frozen, Marketplace, OutgoingRecord, Record, Refusal, SettingsError};

const HOUR: Duration = Duration::from_secs(3_600);

/// What AWS can and demands. Sources: botocore 1.44.5 (24 h of age; until 06:00 UTC on the 1st for the month before; 25
/// records; under 1 MB; six decimals), the API reference's quotas (10 calls a second per account and region), the
/// vendor's metering guide (a last hour after a licence is deprovisioned).
///
/// AWS recognises a repeat for as long as it takes the record at all, hence no `memory`.
#[must_use]
pub const fn capabilities() -> Capabilities {
    Capabilities {
        records_max: request::RECORDS_MAX,
        records_default: request::RECORDS_MAX,
        bytes_max: request::RECORD_BYTES_MAX,
        age_limit: HOUR.saturating_mul(24),
        month_cutoff: Some(HOUR.saturating_mul(6)),
        closing_window: Some(HOUR),
        zone: "UTC",
        calls_per_second: Some(10),
        memory: None,
        decimals_max: freeze::DECIMALS_MAX,
        takes_zero: true,
        tags_max: freeze::TAGS_MAX,
        can_be_asked: false,
    }
}

/// One AWS destination: a seller's account in one region.
#[derive(Debug)]
pub struct Aws {
    capabilities: Capabilities,
    settings: Settings,
    keychain: Keychain,
    transport: Arc<Transport>,
}

impl Aws {
    /// Opens a destination with the vendor's own credential chain (environment, profile, web identity, container,
    /// instance), or with the one profile its settings name. Nothing is fetched and nothing called yet.
    ///
    /// Settings: `region` (required), `endpoint` (a URL; plain http for loopback only), `profile`,
    /// `credentials_timeout_seconds` (1 to 60, default 5).
    ///
    /// # Errors
    /// A setting that is missing, unknown or malformed, by name.
    pub fn open(settings: &Value) -> Result<Self, SettingsError> {
        let settings = Settings::read(settings)?;
        let transport = Arc::new(Transport::new());
        let (region, profile) = (settings.region.clone(), settings.profile.clone());
        let source = Source::Chain { region, profile, transport: Arc::clone(&transport) };
        Ok(Self::with_source(settings, source, transport))
    }

    /// Opens a destination with credentials of another provider: [`Credentials`] themselves, or a provider
    /// that is asked again whenever they end or are refused.
    ///
    /// # Errors
    /// As [`Aws::open`].
    pub fn open_with(settings: &Value, provider: SharedCredentialsProvider) -> Result<Self, SettingsError> {
        Ok(Self::with_source(Settings::read(settings)?, Source::Given(provider), Arc::new(Transport::new())))
    }

    fn with_source(settings: Settings, source: Source, transport: Arc<Transport>) -> Self {
        let keychain = Keychain::new(source, settings.credentials_timeout);
        Self { capabilities: capabilities(), settings, keychain, transport }
    }

    /// One call, from frozen records to their answers.
    async fn call(&self, parcels: &[OutgoingRecord], timeout: Duration) -> Vec<Answer> {
        let deadline = Instant::now() + timeout;
        let call = match request::assemble(parcels) {
            Ok(call) => call,
            Err(outcomes) => return outcomes.into_iter().map(Answer::bare).collect(),
        };
        let all = |outcome: Outcome| vec![Answer::bare(outcome); parcels.len()];
        let credentials = match self.keychain.credentials(timeout).await {
            Ok(credentials) => credentials,
            Err(code) => return all(Outcome::NoCredentials { code: code.to_owned() }),
        };
        let Settings { endpoint, region, .. } = &self.settings;
        let Ok(request) = sign::sign(endpoint, region, &credentials, call.body, sign::wall_clock()) else {
            return all(Outcome::NotSent { code: "signing".to_owned() });
        };
        let reply = match self.transport.send(request, deadline).await {
            Ok(reply) => reply,
            Err(outcome) => return all(outcome),
        };
        let secrets =
            [credentials.access_key_id(), credentials.secret_access_key(), credentials.session_token().unwrap_or("")];
        let answers = answer::read(&reply, &call.sent, &secrets);
        if answers.iter().any(|answer| matches!(answer.outcome, Outcome::Unauthorised { .. })) {
            // Perhaps rotated or expired early: the next call asks the source again.
            self.keychain.forget(&credentials);
        }
        answers
    }
}

impl Marketplace for Aws {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn endpoint(&self) -> &Url {
        &self.settings.endpoint
    }

    fn buyer(&self, identity: &Value) -> Result<Buyer, Refusal> {
        Identity::read(identity).map(|identity| identity.buyer(&self.settings.region))
    }

    fn freeze(&self, record: &Record<'_>) -> Result<Frozen, Refusal> {
        freeze::freeze(record)
    }

    fn submit<'a>(&'a self, parcels: &'a [OutgoingRecord], timeout: Duration) -> BoxFuture<'a, Vec<Answer>> {
        Box::pin(self.call(parcels, timeout))
    }
}

#[cfg(test)]
mod tests {
    use remittance::Quantity;
    use serde_json::json;
    use uuid::Uuid;

    use super::provider::error::CredentialsError;
    use super::provider::{ProvideCredentials, future};
    use super::*;

    #[derive(Debug)]
    struct NoProvider;

    impl ProvideCredentials for NoProvider {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("there are none")))
        }
    }

    fn without_credentials() -> Aws {
        let settings = json!({ "region": "us-east-1", "endpoint": "http://127.0.0.1:9" });
        Aws::open_with(&settings, SharedCredentialsProvider::new(NoProvider)).expect("settings")
    }

    fn parcel(aws: &Aws) -> OutgoingRecord {
        let identity = json!({ "product_code": "prod9", "customer_aws_account_id": "111122223333" });
        let quantity = Quantity::from(7);
        let record = Record {
            identity: &identity,
            product: "cloud",
            dimension: "cores",
            hour: "2024-09-18T22:00:00Z".parse().expect("an hour"),
            ends: None,
            quantity,
            shares: &[],
            decimals: 0,
            idempotency_key: Uuid::nil(),
        };
        let Frozen { body, batch_group } = aws.freeze(&record).expect("freezes");
        OutgoingRecord { body, batch_group, quantity, idempotency_key: Uuid::nil() }
    }

    #[tokio::test]
    async fn d10_without_credentials_no_call_is_made_and_nothing_accepted() {
        let aws = without_credentials();
        let answers = aws.submit(&[parcel(&aws)], Duration::from_secs(5)).await;
        let expected = Outcome::NoCredentials { code: "credentials_not_loaded".to_owned() };
        assert_eq!(answers, [Answer::bare(expected)]);
    }

    #[tokio::test]
    async fn no_parcels_no_call() {
        assert!(without_credentials().submit(&[], Duration::from_secs(5)).await.is_empty());
    }

    #[test]
    fn d1_the_buyers_key_names_the_region() {
        let identity = json!({ "product_code": "prod9", "customer_aws_account_id": "111122223333" });
        let buyer = without_credentials().buyer(&identity).expect("a buyer");
        assert_eq!((buyer.key.as_str(), buyer.form), ("aws/us-east-1/prod9/111122223333", "product_account"));
    }

    #[test]
    fn i6_a_destination_does_not_print_its_keys() {
        let keys = Credentials::new("AKIDEXAMPLE", "hunter2hunter2", Some("tokentoken".into()), None, "test");
        let settings = json!({ "region": "us-east-1" });
        let aws = Aws::open_with(&settings, SharedCredentialsProvider::new(keys)).expect("settings");
        let printed = format!("{aws:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("tokentoken"), "{printed}");
    }
}
