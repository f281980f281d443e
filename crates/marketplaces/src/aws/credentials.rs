//! Credentials: fetched at send time from the vendor's own chain, kept while they are good, dropped once refused.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::chain_http::ChainHttp;
use super::sign::wall_clock;
use crate::transport::Transport;

/// Credentials this close to their end are fetched anew: a call and the clocks' differences fit into it.
const EXPIRY_MARGIN: Duration = Duration::from_secs(120);
/// Credentials without an end are looked up again after this, so that a rotated file is noticed.
const AGE_MAX: Duration = Duration::from_secs(900);

/// The code for credentials that fit no header.
const MALFORMED: &str = "credentials_malformed";

/// Where credentials come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The vendor's chain: environment, profile, web identity, container, instance. With a `profile` named, that
    /// profile alone: variables left in the environment must not send one seller's usage in another's name.
    Chain {
        /// The region of the token service.
        region: String,
        /// The named profile.
        profile: Option<String>,
        /// What the chain calls out with.
        transport: Arc<Transport>,
    },
    /// A provider the caller brought.
    Given(SharedCredentialsProvider),
}

/// Fetches credentials and keeps them. One lookup at a time; callers meanwhile wait for it, within its bound.
#[derive(Debug)]
pub(super) struct Keychain {
    source: Source,
    /// How long a lookup may take: the instance's metadata service hangs where there is none.
    lookup_timeout: Duration,
    lookup: Mutex<()>,
    kept: std::sync::Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    credentials: Credentials,
    fetched: Instant,
}

impl Kept {
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.fetched.elapsed() < AGE_MAX && self.credentials.expiry().is_none_or(|end| now + EXPIRY_MARGIN < end)
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|end| now < end)
    }
}

impl Keychain {
    pub(super) fn new(source: Source, lookup_timeout: Duration) -> Self {
        Self { source, lookup_timeout, lookup: Mutex::default(), kept: std::sync::Mutex::default() }
    }

    /// Credentials to sign with now, within `budget`.
    ///
    /// # Errors
    /// A stable code: `credentials_timeout`, `credentials_not_loaded` (no provider in the chain has any),
    /// `credentials_configuration`, `credentials_provider`, `credentials_unhandled`, `credentials_malformed` (a line
    /// end stuck to a key, as mounted secrets often have).
    pub(super) async fn credentials(&self, budget: Duration) -> Result<Credentials, &'static str> {
        let looked_up = timeout(budget.min(self.lookup_timeout), self.current()).await;
        looked_up.unwrap_or(Err("credentials_timeout"))
    }

    async fn current(&self) -> Result<Credentials, &'static str> {
        let _one_at_a_time = self.lookup.lock().await;
        if let Some(kept) = self.kept().as_ref().filter(|kept| kept.is_fresh(wall_clock())) {
            return Ok(kept.credentials.clone());
        }
        match self.look_up().await {
            Ok(credentials) if !is_printable(&credentials) => {
                tracing::warn!(code = MALFORMED, "credentials with blanks or line ends in them");
                Err(MALFORMED)
            }
            Ok(credentials) => {
                *self.kept() = Some(Kept { credentials: credentials.clone(), fetched: Instant::now() });
                Ok(credentials)
            }
            Err(error) => {
                let code = code(&error);
                // The source hiccups, what we have is still good: use it.
                if let Some(kept) = self.kept().as_ref().filter(|kept| kept.is_valid(wall_clock())) {
                    tracing::warn!(code, "credentials could not be renewed; using those at hand");
                    return Ok(kept.credentials.clone());
                }
                tracing::warn!(code, "no credentials");
                Err(code)
            }
        }
    }

    /// Drops credentials that AWS refused, so that the next call fetches others. Those that another call has fetched
    /// meanwhile stay.
    pub(super) fn forget(&self, refused: &Credentials) {
        self.kept().take_if(|kept| {
            kept.credentials.access_key_id() == refused.access_key_id()
                && kept.credentials.session_token() == refused.session_token()
        });
    }

    /// Never held across an await, so that a caller with a refusal to note does not wait for a lookup.
    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the source. The chain is built anew each time: the vendor's profile provider reads its file only once.
    async fn look_up(&self) -> Result<Credentials, CredentialsError> {
        match &self.source {
            Source::Given(provider) => provider.provide_credentials().await,
            Source::Chain { region, profile, transport } => {
                let region = Region::new(region.clone());
                let configuration = ProviderConfig::without_region()
                    .with_region(Some(region.clone()))
                    .with_http_client(ChainHttp(Arc::clone(transport)));
                match profile {
                    Some(profile) => {
                        let provider = ProfileFileCredentialsProvider::builder().configure(&configuration);
                        provider.profile_name(profile).build().provide_credentials().await
                    }
                    None => {
                        let chain = DefaultCredentialsChain::builder().configure(configuration).region(region);
                        chain.build().await.provide_credentials().await
                    }
                }
            }
        }
    }
}

/// No part has a character that a key cannot have.
fn is_printable(credentials: &Credentials) -> bool {
    let token = credentials.session_token().unwrap_or_default();
    [credentials.access_key_id(), credentials.secret_access_key(), token]
        .iter()
        .all(|part| part.bytes().all(|b| b.is_ascii_graphic()))
}

/// Codes only: a provider's message may quote what an external command printed.
fn code(error: &CredentialsError) -> &'static str {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => "credentials_not_loaded",
        CredentialsError::ProviderTimedOut(_) => "credentials_timeout",
        CredentialsError::InvalidConfiguration(_) => "credentials_configuration",
        CredentialsError::ProviderError(_) => "credentials_provider",
        _ => "credentials_unhandled",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::provider::future;

    use super::*;

    /// Gives key 0, 1, 2, … that end after `life`, fails after `good` lookups, and hangs where told so.
    #[derive(Debug)]
    struct Numbered {
        count: Arc<AtomicUsize>,
        life: Option<Duration>,
        good: usize,
        hangs: bool,
    }

    impl ProvideCredentials for Numbered {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                if self.hangs {
                    std::future::pending::<()>().await;
                }
                let count = self.count.fetch_add(1, Ordering::SeqCst);
                if count >= self.good {
                    return Err(CredentialsError::not_loaded("none left"));
                }
                let expiry = self.life.map(|life| wall_clock() + life);
                Ok(Credentials::new(format!("key{count}"), "secret", None, expiry, "test"))
            })
        }
    }

    fn keychain(life: Option<u64>, good: usize, hangs: bool) -> Keychain {
        let life = life.map(Duration::from_secs);
        let provider = Numbered { count: Arc::default(), life, good, hangs };
        Keychain::new(Source::Given(SharedCredentialsProvider::new(provider)), Duration::from_millis(50))
    }

    async fn key(keychain: &Keychain) -> Result<String, &'static str> {
        keychain.credentials(Duration::from_secs(5)).await.map(|keys| keys.access_key_id().to_owned())
    }

    #[tokio::test]
    async fn d9_credentials_are_kept_until_refused() {
        let keychain = keychain(None, 9, false);
        assert_eq!(key(&keychain).await.as_deref(), Ok("key0"));
        let refused = keychain.credentials(Duration::from_secs(1)).await.expect("kept");
        assert_eq!(refused.access_key_id(), "key0");
        keychain.forget(&refused);
        assert_eq!(key(&keychain).await.as_deref(), Ok("key1"));
        keychain.forget(&refused);
        assert_eq!(key(&keychain).await.as_deref(), Ok("key1"), "what was fetched meanwhile stays");
    }

    #[tokio::test]
    async fn d9_credentials_near_their_end_are_renewed_and_outlive_a_hiccup() {
        let keychain = keychain(Some(60), 2, false);
        assert_eq!(key(&keychain).await.as_deref(), Ok("key0"));
        assert_eq!(key(&keychain).await.as_deref(), Ok("key1"), "60 s are less than the margin");
        assert_eq!(key(&keychain).await.as_deref(), Ok("key1"), "the source fails, these are still good");
    }

    #[tokio::test]
    async fn d10_missing_credentials_have_a_code() {
        assert_eq!(key(&keychain(None, 0, false)).await, Err("credentials_not_loaded"));
    }

    #[tokio::test]
    async fn d10_malformed_credentials_have_a_code() {
        let keys = Credentials::new("AKIDEXAMPLE\n", "secret", None, None, "test");
        let keychain = Keychain::new(Source::Given(SharedCredentialsProvider::new(keys)), Duration::from_secs(5));
        assert_eq!(key(&keychain).await, Err(MALFORMED));
    }

    #[tokio::test]
    async fn d10_a_hanging_source_is_bounded() {
        let begun = Instant::now();
        assert_eq!(key(&keychain(None, 9, true)).await, Err("credentials_timeout"));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
