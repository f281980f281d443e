//! Azure: Microsoft's marketplace metering service, `batchUsageEvent` and `usageEvent`.
//!
//! What it must never do: name a resource in two forms, change a byte after the freeze, repeat a call by itself, try a second
//! set of credentials, or take anything but `Accepted` with our own quantity for accepted.
//!
//! | file | what |
//! |---|---|
//! | `settings` | endpoints, whose credentials, single or batch |
//! | `identity` | the resource's two forms, the canonical key, the plan |
//! | `freeze` | the bytes of an event |
//! | `request` | frozen events to one call |
//! | `credentials`, `token` | a profile of the environment, or the machine's identity, to a token |
//! | `answer`, `refusal`, `results`, `event` | reply to outcome: the call, its errors, its events |
//! | `reported` | what they hold of a day |
//!
//! The wire's shapes are those of microsoft/commercial-marketplace-openapi (`meteringapi.v1.json`, API version 2018-08-31) and
//! of Microsoft's "Marketplace metered billing APIs"; every limit in [`capabilities`] is a default that a destination may
//! override.

mod answer;
mod credentials;
mod event;
mod freeze;
mod identity;
mod refusal;
mod reported;
mod request;
mod results;
mod settings;
mod token;

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use remittance::{Answer, Outcome};
use reqwest::Url;
use serde_json::Value;
use tokio::time::Instant;

pub use self::credentials::ClientCredentials;
use self::identity::Identity;
use self::settings::Settings;
use self::token::{Source, Tokens};
use crate::transport::Transport;
use crate::{
    BoxFuture, Buyer, Capabilities, Frozen, Marketplace, OutgoingRecord, Record, Refusal, Reported, SettingsError,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// What Azure can and demands. Sources: `meteringapi.v1.json` (25 events), Microsoft's "Marketplace metered billing APIs" (24
/// hours back, one event per resource, dimension and hour). No month-end rule and no rate is published; after a cancellation
/// what was used before it is taken within its 24 hours, so there is no closing window of its own.
///
/// Azure recognises a repeat for as long as it takes the event at all, hence no `memory`.
#[must_use]
pub const fn capabilities() -> Capabilities {
    Capabilities {
        records_max: request::RECORDS_MAX,
        records_default: request::RECORDS_MAX,
        bytes_max: request::RECORD_BYTES_MAX,
        age_limit: HOUR.saturating_mul(24),
        month_cutoff: None,
        closing_window: None,
        zone: "UTC",
        calls_per_second: None,
        memory: None,
        decimals_max: freeze::DECIMALS_MAX,
        takes_zero: false,
        tags_max: 0,
        can_be_asked: true,
    }
}

/// One Azure destination: a publisher's application, and the offers whose technical configuration names it.
#[derive(Debug)]
pub struct Azure {
    capabilities: Capabilities,
    settings: Settings,
    tokens: Tokens,
    transport: Transport,
}

impl Azure {
    /// Opens a destination with the credentials that its settings name. Nothing is read from the environment, fetched or
    /// called yet.
    ///
    /// Settings: `endpoint` (a URL; plain http for loopback only), `credentials` (`client_secret`, the default, or
    /// `managed_identity`), `profile` (whose `POSTMETER_AZURE_<PROFILE>_…` variables are read), `token_version` (`v1`, the
    /// default, or `v2`), `token_endpoint`, `imds_endpoint`, `managed_identity_client_id`, `token_timeout_seconds` (1 to 60,
    /// default 5), `single` (default false: a call of one event goes to `usageEvent`).
    ///
    /// # Errors
    /// A setting that is missing, unknown or malformed, by name.
    pub fn open(settings: &Value) -> Result<Self, SettingsError> {
        Ok(Self::with_source(Settings::read(settings)?, Source::Environment))
    }

    /// Opens a destination with a client's credentials from another provider, instead of those of the profile.
    ///
    /// # Errors
    /// As [`Azure::open`].
    pub fn open_with(settings: &Value, credentials: ClientCredentials) -> Result<Self, SettingsError> {
        Ok(Self::with_source(Settings::read(settings)?, Source::Given(credentials)))
    }

    fn with_source(settings: Settings, source: Source) -> Self {
        // A transport of its own: a token's connection is none of the marketplace's.
        let tokens = Tokens::new(settings.login.clone(), source, Arc::new(Transport::new()), settings.token_timeout);
        Self { capabilities: capabilities(), settings, tokens, transport: Transport::new() }
    }

    /// One call, from frozen events to their answers.
    async fn call(&self, parcels: &[OutgoingRecord], timeout: Duration) -> Vec<Answer> {
        let deadline = Instant::now() + timeout;
        let all = |answer: Answer| vec![answer; parcels.len()];
        if parcels.is_empty() {
            return Vec::new();
        }
        let call = match request::assemble(parcels, self.settings.single) {
            Ok(call) => call,
            Err(outcomes) => return outcomes.into_iter().map(Answer::bare).collect(),
        };
        let token = match self.tokens.token(timeout).await {
            Ok(token) => token,
            Err(outcome) => return all(Answer::bare(outcome)),
        };
        let Some(request) = call.request(&self.settings.endpoint, token.expose()) else {
            return all(Answer::bare(Outcome::NotSent { code: "request".to_owned() }));
        };
        let reply = match self.transport.send(request, deadline).await {
            Ok(reply) => reply,
            Err(outcome) => {
                // Ours, for their support: they know the request by it, if it arrived.
                let request_id =
                    outcome.may_have_arrived().then(|| format!("{}/{}", call.request_id, call.correlation_id));
                return all(Answer { request_id, ..Answer::bare(outcome) });
            }
        };
        let answers = answer::read(&reply, &call, &[token.expose()]);
        if matches!(reply.status, 401 | 403) {
            // Perhaps revoked, or issued before the offer named this application: the next call fetches another.
            self.tokens.forget(&token);
        }
        answers
    }

    async fn ask(&self, day: Date, timeout: Duration) -> Result<Vec<Reported>, Answer> {
        let deadline = Instant::now() + timeout;
        let token = self.tokens.token(timeout).await.map_err(Answer::bare)?;
        let request = reported::ask(&self.settings.endpoint, day, token.expose())
            .ok_or_else(|| Answer::bare(Outcome::NotSent { code: "request".to_owned() }))?;
        let reply = self.transport.send_for(request, deadline, reported::BODY_BYTES_MAX).await.map_err(Answer::bare)?;
        if matches!(reply.status, 401 | 403) {
            self.tokens.forget(&token);
        }
        reported::read(&reply, day, &[token.expose()])
    }
}

impl Marketplace for Azure {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn endpoint(&self) -> &Url {
        &self.settings.endpoint
    }

    fn buyer(&self, identity: &Value) -> Result<Buyer, Refusal> {
        Identity::read(identity).map(|identity| identity.buyer())
    }

    fn freeze(&self, record: &Record<'_>) -> Result<Frozen, Refusal> {
        freeze::freeze(record)
    }

    fn submit<'a>(&'a self, parcels: &'a [OutgoingRecord], timeout: Duration) -> BoxFuture<'a, Vec<Answer>> {
        Box::pin(self.call(parcels, timeout))
    }

    fn reported<'a>(&'a self, day: Date, timeout: Duration) -> BoxFuture<'a, Result<Vec<Reported>, Answer>> {
        Box::pin(self.ask(day, timeout))
    }
}
