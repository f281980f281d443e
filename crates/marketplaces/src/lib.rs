//! Calls marketplaces, one module each, behind the one trait [`Marketplace`]; and posts alerts ([`webhook`]). Beside
//! this crate only `sources` and the exporters of traces and errors call out.
//!
//! A batch goes in, one [`Answer`] per remittance comes out, in the same order. What a marketplace can and demands is
//! data ([`Capabilities`]). No database here: the caller brings what was frozen and stores the answers.

pub mod aws;
pub mod azure;
mod dry_run;
mod evidence;
#[cfg(test)]
mod example;
pub mod google;
mod registry;
mod settings;
mod transport;
pub mod webhook;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use remittance::{Answer, Outcome, Quantity, Reason, Share};
use serde_json::Value;
use uuid::Uuid;

pub use dry_run::DryRunMarketplace;
pub use registry::{SettingsError, capabilities, kinds, open};
pub use transport::carrying;

/// A boxed future, so that marketplaces can be held behind one pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a marketplace can and demands, as data. Every number is a default: destinations may set their own, because
/// the rules move (AWS's age limit moved three times).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Records in one call.
    pub records_max: u32,
    /// Records in one call where a destination does not say; at most `records_max`.
    pub records_default: u32,
    /// Bytes in one call's body.
    pub bytes_max: u32,
    /// How old an hour may be, counted from its start.
    pub age_limit: Duration,
    /// How long after the end of a billing month its records are still taken; `None`: no month-end rule.
    pub month_cutoff: Option<Duration>,
    /// How long after the end of a subscription its records are still taken; `None`: only the age limit.
    pub closing_window: Option<Duration>,
    /// IANA name of the zone whose calendar the billing month follows.
    pub zone: &'static str,
    /// Calls a second that a quota allows, if a limit is published.
    pub calls_per_second: Option<u32>,
    /// How long a repeated key is recognised, counted from the first arrival; `None`: as long as the record is taken.
    pub memory: Option<Duration>,
    /// Digits after the point that a quantity may have.
    pub decimals_max: u32,
    /// Whether a report of nothing is taken, and means something.
    pub takes_zero: bool,
    /// Tags by which a quantity can be shared out; 0: it cannot.
    pub tags_max: u32,
    /// Whether it can be asked what it holds: [`Marketplace::reported`].
    pub can_be_asked: bool,
}

/// A buyer as the marketplace identifies it, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buyer {
    /// Canonical text: what the marketplace deduplicates on, without dimension and hour
    /// (AWS: `aws/<region>/<product code or licence>/<customer>`; Azure: `azure/<resource>`, without its plan).
    pub key: String,
    /// The buyer's account at the marketplace, whichever form names it; to find two forms of one buyer.
    pub account: String,
    /// Which identity form this is (AWS: `product_account`, `product_customer`, `licence_account`; Azure: `resource_id`,
    /// `resource_uri`).
    pub form: &'static str,
}

/// What is to be frozen: one key with its quantity.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The subscription's identity as the catalogue holds it.
    pub identity: &'a Value,
    /// Our product tag, for marketplaces that allow one product a call.
    pub product: &'a str,
    /// The marketplace's name of the metric.
    pub dimension: &'a str,
    /// Start of the hour, UTC, aligned.
    pub hour: Timestamp,
    /// Where nothing more of the hour comes, if it is not over: its buyer's subscription ends there.
    pub ends: Option<Timestamp>,
    /// What is billed: already rounded to `decimals`. Zero only where that is taken ([`Capabilities::takes_zero`]).
    pub quantity: Quantity,
    /// How it is shared out by tags, the largest share first; empty: it is not ([`Capabilities::tags_max`]).
    pub shares: &'a [Share],
    /// Decimals of the dimension; 0 asks for the marketplace's integer form where it has one.
    pub decimals: u32,
    /// The idempotency key of the remittance.
    pub idempotency_key: Uuid,
}

/// Frozen bytes of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The record as it will stand in the request, to the letter.
    pub body: String,
    /// Records may share a call only if this is equal.
    pub batch_group: String,
}

/// Why a record cannot be frozen. The remittance is held with `reason`, never sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code.
    pub reason: Reason,
    /// A sentence that names the field and what to do.
    pub message: String,
}

/// One frozen record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// The frozen body.
    pub body: String,
    /// Its batch group; all parcels of a call have the same.
    pub batch_group: String,
    /// The frozen quantity, to compare with what they show.
    pub quantity: Quantity,
    /// The idempotency key.
    pub idempotency_key: Uuid,
}

/// What a marketplace says it holds of a day. One key may come in several (by plan, by state): they add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The buyer's canonical key, as [`Buyer::key`].
    pub buyer: String,
    /// The marketplace's name of the metric.
    pub dimension: String,
    /// The day, in UTC.
    pub day: Date,
    /// What it has processed, or where it has not yet, what was submitted.
    pub quantity: Quantity,
    /// How many records that is.
    pub count: u64,
    /// The marketplace's word for how far it is with them (Azure: `Submitted`, `Accepted`, `Rejected`, `Mismatch`).
    pub state: String,
}

/// A cloud marketplace that takes metered usage.
pub trait Marketplace: Send + Sync {
    /// What it can and demands.
    fn capabilities(&self) -> &Capabilities;

    /// Where calls go: scheme, host and port. A test or demo database refuses all but loopback.
    fn endpoint(&self) -> &reqwest::Url;

    /// Reads a subscription's identity from the catalogue into canonical form.
    ///
    /// # Errors
    /// A sentence naming the field that is missing, malformed or one too many.
    fn buyer(&self, identity: &Value) -> Result<Buyer, Refusal>;

    /// Builds the bytes of a record. Called once per remittance; what it returns is sent to the letter, ever after.
    ///
    /// # Errors
    /// `quantity_out_of_range` when the quantity does not fit the marketplace's type or digits.
    fn freeze(&self, record: &Record<'_>) -> Result<Frozen, Refusal>;

    /// Makes one call with 1 to `records_max` parcels of one batch group and reads its answer: one [`Answer`] per
    /// parcel, in the order given. Never fails and never retries by itself: a call that did not go well is an outcome.
    /// Returns within `timeout`, with `unknown` if the bytes may have left by then.
    fn submit<'a>(&'a self, parcels: &'a [OutgoingRecord], timeout: Duration) -> BoxFuture<'a, Vec<Answer>>;

    /// Asks what it holds of a day, for the reconciliation. Reads only, and never retries by itself.
    ///
    /// # Errors
    /// Why there is no list: an answer as after a call, `unmapped` with `cannot_be_asked` where the marketplace has no
    /// such question ([`Capabilities::can_be_asked`]).
    fn reported<'a>(&'a self, day: Date, timeout: Duration) -> BoxFuture<'a, Result<Vec<Reported>, Answer>> {
        let _ = (day, timeout);
        let answer = Answer::bare(Outcome::Unmapped { code: "cannot_be_asked".to_owned() });
        Box::pin(std::future::ready(Err(answer)))
    }
}
