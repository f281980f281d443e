//! What can be set about Google's Service Control. Where a set is absent (`null`), everything passes that check.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bucket::Rate;

/// The rules of Service Control that Google leaves open, and the catalogue that it knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GoogleSettings {
    /// The public key (PEM, `BEGIN PUBLIC KEY`) that assertions must be signed with. Absent: any well-formed one passes.
    pub public_key: Option<String>,
    /// Service accounts that may have a token, by their addresses.
    pub service_accounts: Option<BTreeSet<String>>,
    /// The word that every request for a token is refused with, such as `invalid_grant`.
    pub token_error: Option<String>,
    /// Seconds that a token is good for, on real time.
    pub token_lifetime_seconds: u64,
    /// Managed services; others are NOT_FOUND.
    pub services: Option<BTreeSet<String>>,
    /// Consumer → `ACTIVE`, or the word of a check's error (`BILLING_DISABLED`), or `403`: the check itself is refused with
    /// PERMISSION_DENIED. Others are CONSUMER_INVALID.
    pub consumers: Option<BTreeMap<String, String>>,
    /// Metric without its service → its declared type. Others are unknown.
    pub metrics: Option<BTreeMap<String, MetricType>>,
    /// Calls per service account; `null`: no limit. Google publishes none for these methods.
    pub rate: Option<Rate>,
    /// Minutes after a window's end from which it is refused. Google: usage is reported within one hour.
    pub max_age_minutes: i64,
    /// Minutes for which an operation's id is recognised. Afterwards the identical operation is billed again: Google
    /// promises nothing.
    pub memory_minutes: i64,
    /// The answer to an identical operation that comes again.
    pub identical_resend: RepeatedOperation,
    /// What becomes of another content under an id that is recognised.
    pub changed_operation: ChangedOperation,
}

impl Default for GoogleSettings {
    fn default() -> GoogleSettings {
        GoogleSettings {
            public_key: None,
            service_accounts: None,
            token_error: None,
            token_lifetime_seconds: 3600,
            services: None,
            consumers: None,
            metrics: None,
            rate: None,
            max_age_minutes: 60,
            memory_minutes: 60,
            identical_resend: RepeatedOperation::default(),
            changed_operation: ChangedOperation::default(),
        }
    }
}

/// The type a metric was declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    /// `int64Value`.
    Int64,
    /// `doubleValue`.
    Double,
}

/// The answer to an identical operation that comes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatedOperation {
    /// None: it counts as taken, as it is.
    #[default]
    Success,
    /// ALREADY_EXISTS for that operation.
    AlreadyExists,
}

/// What becomes of another content under an id that is recognised. Google documents neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedOperation {
    /// It is taken for the repetition that its id says it is: success, and the first content stays. The reading that
    /// is harder for a client, which never hears of it.
    #[default]
    Ignore,
    /// INVALID_ARGUMENT for that operation.
    Refuse,
}
