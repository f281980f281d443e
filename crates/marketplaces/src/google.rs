//! Google Cloud Marketplace: Service Control v1, `services.check` and `services.report`.
//!
//! What it must never do: change a byte or an operation's id after the freeze, repeat a report by itself, take silence
//! for success unless Google itself was silent, or report for a consumer whose check said no.
//!
//! | file | what |
//! |---|---|
//! | `settings` | service, endpoint, where tokens come from |
//! | `identity` | the buyer, the canonical key |
//! | `freeze` | the bytes of an operation |
//! | `request` | frozen operations to one call |
//! | `assertion`, `token` | a service account's signature, and access tokens |
//! | `check`, `verdicts` | may a consumer be billed, and for how long the answer stands |
//! | `answer`, `refusal`, `evidence` | reply to outcome: the call, its errors, what is kept |
//!
//! Sources: Service Control v1 discovery, revision 20261015; Google's guide "Best practices for reporting usage" of
//! integrated SaaS products. Google publishes neither how long it recognises an operation's id nor a largest age:
//! every window and limit in [`capabilities`] is a default that a destination may override.

mod answer;
mod assertion;
mod check;
mod evidence;
mod freeze;
mod identity;
mod refusal;
mod request;
mod settings;
mod token;
mod verdicts;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use remittance::{Answer, Outcome};
use reqwest::Url;
use serde_json::Value;
use tokio::time::Instant;

use self::evidence::Evidence;
use self::identity::Identity;
use self::request::Operation;
use self::settings::{Credentials, Settings};
use self::token::{KeyPath, Source, Token, Tokens};
use self::verdicts::{Verdict, Verdicts};
use crate::transport::{Reply, Transport};
use crate::{BoxFuture, Buyer, Capabilities, Frozen, Marketplace, OutgoingRecord, Record, Refusal, SettingsError};

const HOUR: Duration = Duration::from_secs(3_600);

/// What Google can and demands. Sources: the reporting guide (within one hour of the usage; after a month until 01:00
/// US Pacific; one hour after a cancellation; 1 MB a report).
///
/// The hour of age is read as counted from the window's end, hence two from its start. That an id is recognised at all
/// is implied by the field's text alone, and for how long is said nowhere: an hour is ours. After it a report that may
/// have arrived is not repeated but waits for a person.
#[must_use]
pub const fn capabilities() -> Capabilities {
    Capabilities {
        records_max: request::RECORDS_MAX,
        records_default: request::RECORDS_DEFAULT,
        bytes_max: request::RECORD_BYTES_MAX,
        age_limit: HOUR.saturating_mul(2),
        month_cutoff: Some(HOUR),
        closing_window: Some(HOUR),
        zone: "America/Los_Angeles",
        calls_per_second: None,
        memory: Some(HOUR),
        decimals_max: freeze::DECIMALS_MAX,
        takes_zero: false,
        tags_max: 0,
        can_be_asked: false,
    }
}

/// One Google destination: a managed service.
#[derive(Debug)]
pub struct Google {
    capabilities: Capabilities,
    settings: Settings,
    tokens: Tokens,
    verdicts: Verdicts,
    transport: Arc<Transport>,
}

impl Google {
    /// Opens a destination. Nothing is fetched and nothing called yet.
    ///
    /// Settings: `service_name` (required); `credentials` (`key_file`, the default, or `metadata`); `profile` (with
    /// `key_file`: names `POSTMETER_GOOGLE_<PROFILE>_KEY_FILE` in the environment, which holds a path); `endpoint`,
    /// `token_endpoint`, `metadata_endpoint` (URLs; plain http for loopback only, and with such an `endpoint` the other
    /// two default to it); `credentials_timeout_seconds` (1 to 60, default 5).
    ///
    /// # Errors
    /// A setting that is missing, unknown or malformed, by name.
    pub fn open(settings: &Value) -> Result<Self, SettingsError> {
        let settings = Settings::read(settings)?;
        let path = match &settings.credentials {
            Credentials::KeyFile { variable } => Some(KeyPath::Variable(variable.clone())),
            Credentials::Metadata => None,
        };
        Ok(Self::with_source(settings, path))
    }

    /// Opens a destination with the key file at a path, whatever its settings say of credentials: for tests, which cannot
    /// set a variable of the environment.
    ///
    /// # Errors
    /// As [`Google::open`].
    pub fn open_with_key_file(settings: &Value, path: &Path) -> Result<Self, SettingsError> {
        Ok(Self::with_source(Settings::read(settings)?, Some(KeyPath::Path(path.to_owned()))))
    }

    fn with_source(settings: Settings, path: Option<KeyPath>) -> Self {
        let transport = Arc::new(Transport::new());
        let source = match path {
            Some(path) => Source::KeyFile { path, token_endpoint: settings.token_endpoint.clone() },
            None => Source::Metadata { endpoint: settings.metadata_endpoint.clone() },
        };
        let tokens = Tokens::new(source, Arc::clone(&transport), settings.credentials_timeout);
        Self { capabilities: capabilities(), settings, tokens, verdicts: Verdicts::default(), transport }
    }

    /// At most one report, from frozen operations to their answers, after a check of each consumer that was not
    /// checked lately.
    async fn call(&self, parcels: &[OutgoingRecord], timeout: Duration) -> Vec<Answer> {
        let deadline = Instant::now() + timeout;
        let operations = match request::operations(parcels, &self.settings.service_name) {
            Ok(operations) if operations.is_empty() => return Vec::new(),
            Ok(operations) => operations,
            Err(outcomes) => return outcomes.into_iter().map(Answer::bare).collect(),
        };
        let token = match self.tokens.token(timeout).await {
            Ok(token) => token,
            Err(fault) => return vec![Answer::bare(fault.into()); parcels.len()],
        };
        let refused = self.check(&operations, &token, deadline).await;
        let going = || (0..parcels.len()).filter(|at| refused[*at].is_none());
        let mut reported = Vec::new();
        if going().next().is_some() {
            let sent: Vec<&Operation> = going().map(|at| &operations[at]).collect();
            let body = request::body(going().map(|at| &parcels[at]));
            reported = match self.post("report", body, &token, deadline).await {
                Ok(reply) => answer::read(&reply, &sent, &[token.secret()]),
                Err(outcome) => vec![Answer::bare(outcome); sent.len()],
            };
            for (operation, answer) in sent.iter().zip(&reported) {
                if matches!(answer.outcome, Outcome::NotEntitled { .. }) {
                    self.verdicts.forget(&operation.consumer);
                }
            }
        }
        let mut reported = reported.into_iter();
        let answers: Vec<Answer> =
            refused.into_iter().filter_map(|refused| refused.or_else(|| reported.next())).collect();
        let is_refused =
            |answer: &Answer| matches!(answer.outcome, Outcome::Unauthorised { .. } | Outcome::Doubtful { .. });
        if answers.iter().any(is_refused) && !answers.iter().any(|answer| answer.outcome.has_passed()) {
            // Perhaps revoked, or expired early: the next call asks for another.
            self.tokens.forget(&token);
        }
        answers
    }

    /// For each operation `None` if it may be reported, else its answer.
    async fn check(&self, operations: &[Operation], token: &Token, deadline: Instant) -> Vec<Option<Answer>> {
        // What is left after the checks has to be enough for the report.
        let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        let mut fault: Option<Answer> = None;
        let mut answers = Vec::with_capacity(operations.len());
        for operation in operations {
            let verdict = match (self.verdicts.fresh(&operation.consumer), &fault) {
                (Some(verdict), _) => Ok(verdict),
                // Where one check met a fault of the destination, the next ones would only wait for the same.
                (None, Some(fault)) => Err(fault.clone()),
                (None, None) => self.ask(operation, token, until).await,
            };
            answers.push(match verdict {
                Ok(Verdict::Entitled) => None,
                Ok(Verdict::NotEntitled(code)) => Some(Answer::bare(Outcome::NotEntitled { code })),
                Err(answer) => {
                    fault = fault.or_else(|| answer.outcome.is_destination_fault().then(|| answer.clone()));
                    // Refused credentials are no failing of the check: a report with them is refused as well.
                    let goes_on = matches!(answer.outcome, Outcome::NotSent { .. } | Outcome::Throttled { .. });
                    (!(goes_on && self.verdicts.was_entitled(&operation.consumer))).then_some(answer)
                }
            });
        }
        answers
    }

    /// One check over the wire.
    async fn ask(&self, operation: &Operation, token: &Token, deadline: Instant) -> Result<Verdict, Answer> {
        let body = check::body(operation, &self.settings.service_name);
        let secrets = [token.secret()];
        let verdict = match self.post("check", body, token, deadline).await {
            Ok(reply) => check::read(&reply, &Evidence::of(&reply, &secrets))?,
            // Whether the check arrived does not matter: nothing of the record was in it.
            Err(outcome) => {
                let code = match outcome {
                    Outcome::NotSent { code } => code,
                    other => format!("check_{}", other.code().unwrap_or("no_answer")),
                };
                return Err(Answer::bare(Outcome::NotSent { code }));
            }
        };
        self.verdicts.keep(&operation.consumer, verdict.clone());
        Ok(verdict)
    }

    async fn post(&self, method: &str, body: Vec<u8>, token: &Token, deadline: Instant) -> Result<Reply, Outcome> {
        let Settings { endpoint, service_name, .. } = &self.settings;
        let url = settings::join(endpoint, &format!("v1/services/{service_name}:{method}"));
        let not_sent = || Outcome::NotSent { code: "request".to_owned() };
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.secret())).map_err(|_| not_sent())?;
        bearer.set_sensitive(true);
        let request = http::Request::post(url.as_str())
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| not_sent())?;
        self.transport.send(request, deadline).await
    }
}

impl Marketplace for Google {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn endpoint(&self) -> &Url {
        &self.settings.endpoint
    }

    fn buyer(&self, identity: &Value) -> Result<Buyer, Refusal> {
        Identity::read(identity).map(|identity| identity.buyer(&self.settings.service_name))
    }

    fn freeze(&self, record: &Record<'_>) -> Result<Frozen, Refusal> {
        freeze::freeze(record, &self.settings.service_name)
    }

    fn submit<'a>(&'a self, parcels: &'a [OutgoingRecord], timeout: Duration) -> BoxFuture<'a, Vec<Answer>> {
        Box::pin(self.call(parcels, timeout))
    }
}
