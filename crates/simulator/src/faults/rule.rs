//! A fault and the calls that it strikes: the words of `POST /_simulator/faults`.

use serde::{Deserialize, Serialize};

use crate::calls::CallRecord;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection closes before anything is processed: nothing is stored.
    LoseRequest,
    /// The call is processed whole, then the connection closes without an answer.
    LoseResponse,
    /// The call waits `ms` milliseconds, before or after it is processed. It is processed also when the client has hung
    /// up meanwhile, as a marketplace would.
    Delay,
    /// The connection is reset (TCP RST): before processing, or after it in place of the answer.
    Reset,
    /// Another HTTP `status` (with `body`, if given) in place of the answer.
    Status,
    /// Bytes that are neither JSON nor UTF-8, said to be JSON.
    Garbage,
    /// An HTML page, as a proxy or load balancer sends.
    Html,
    /// No body.
    Empty,
    /// The answer ends in its middle, short of its announced length.
    Truncated,
    /// A body of `bytes` bytes (default 1 GiB) that never makes sense.
    Oversized,
    /// The answer comes `bytes` bytes at a time (default 1), with `ms` milliseconds (default 100) between.
    Drip,
    /// The marketplace's throttling error, whatever the rate.
    Throttle,
    /// The whole call is refused with `error` when a record matches (with an empty match: every call).
    RefuseRecord,
    /// Matching records are left unprocessed; the others are treated as usual.
    Unprocessed,
}

/// Whether a fault strikes before or after the call was processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Nothing is processed or stored (a delay: it is, later).
    Before,
    /// The marketplace did its work, and only the answer suffers.
    After,
}

/// Which calls a rule concerns. Absent fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// A record of this customer, in the form that the call uses.
    pub customer: Option<String>,
    /// A record of this dimension (and of `customer`, when both are given).
    pub dimension: Option<String>,
    /// Calls with at least so many records.
    pub min_records: usize,
}

impl Match {
    /// Whether this one record is meant.
    pub(crate) fn admits(&self, record: &CallRecord) -> bool {
        self.customer.as_ref().is_none_or(|customer| *customer == record.key.customer)
            && self.dimension.as_ref().is_none_or(|dimension| *dimension == record.key.dimension)
    }

    pub(super) fn admits_call(&self, records: &[CallRecord]) -> bool {
        let any_record = self.customer.is_none() && self.dimension.is_none();
        records.len() >= self.min_records && (any_record || records.iter().any(|record| self.admits(record)))
    }
}

/// A fault and the calls that it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Before or after processing. Default: before; for `truncated` and `drip`, which have no before, after.
    #[serde(default)]
    pub when: Option<When>,
    /// How many calls it strikes in all. Absent: until it is removed.
    #[serde(default)]
    pub times: Option<u64>,
    /// Chance from 0 to 1 that it strikes a matching call; default 1.
    #[serde(default = "certain")]
    pub probability: f64,
    /// Where the chance is drawn from. The same calls in the same order meet the same faults.
    #[serde(default)]
    pub seed: u64,
    /// Which calls it concerns.
    #[serde(default, rename = "match")]
    pub matching: Match,
    /// Milliseconds, for `delay` and `drip`.
    #[serde(default)]
    pub ms: Option<u64>,
    /// HTTP status, for every kind that sends an answer of its own.
    #[serde(default)]
    pub status: Option<u16>,
    /// Seconds that the answer says in `Retry-After`, for `status` and `throttle`.
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// Body, for `status`.
    #[serde(default)]
    pub body: Option<String>,
    /// Name of the error, for `refuse_record`.
    #[serde(default)]
    pub error: Option<String>,
    /// Bytes, for `oversized` (in all) and `drip` (at a time).
    #[serde(default)]
    pub bytes: Option<u64>,
}

fn certain() -> f64 {
    1.0
}

impl FaultRule {
    /// A rule that strikes every call until it is removed.
    pub fn new(kind: FaultKind) -> FaultRule {
        FaultRule {
            kind,
            when: None,
            times: None,
            probability: certain(),
            seed: 0,
            matching: Match::default(),
            ms: None,
            status: None,
            retry_after: None,
            body: None,
            error: None,
            bytes: None,
        }
    }

    /// Strikes so many calls, then no more.
    #[must_use]
    pub fn times(self, times: u64) -> FaultRule {
        FaultRule { times: Some(times), ..self }
    }

    /// Strikes before or after processing.
    #[must_use]
    pub fn when(self, when: When) -> FaultRule {
        FaultRule { when: Some(when), ..self }
    }

    /// Strikes with this chance (0 to 1), drawn from the seed.
    #[must_use]
    pub fn probability(self, probability: f64, seed: u64) -> FaultRule {
        FaultRule { probability, seed, ..self }
    }

    /// Strikes these calls only.
    #[must_use]
    pub fn matching(self, matching: Match) -> FaultRule {
        FaultRule { matching, ..self }
    }

    /// Milliseconds, for `delay` and `drip`.
    #[must_use]
    pub fn ms(self, ms: u64) -> FaultRule {
        FaultRule { ms: Some(ms), ..self }
    }

    /// HTTP status of the answer that the fault sends.
    #[must_use]
    pub fn status(self, status: u16) -> FaultRule {
        FaultRule { status: Some(status), ..self }
    }

    /// Seconds that the answer says in `Retry-After`, for `status` and `throttle`.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> FaultRule {
        FaultRule { retry_after: Some(seconds), ..self }
    }

    /// Name of the error, for `refuse_record`.
    #[must_use]
    pub fn error(self, error: &str) -> FaultRule {
        FaultRule { error: Some(error.to_owned()), ..self }
    }

    /// Bytes, for `oversized` and `drip`.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> FaultRule {
        FaultRule { bytes: Some(bytes), ..self }
    }

    pub(crate) fn when_or_default(&self) -> When {
        self.when.unwrap_or(match self.kind {
            FaultKind::Truncated | FaultKind::Drip | FaultKind::LoseResponse => When::After,
            _ => When::Before,
        })
    }

    pub(super) fn check(&self) -> Result<(), FaultError> {
        let fails = |reason: &'static str| Err(FaultError { kind: self.kind, reason });
        if !(0.0..=1.0).contains(&self.probability) {
            return fails("probability must be from 0 to 1");
        }
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return fails("status must be from 200 to 599");
        }
        match self.kind {
            FaultKind::Status if self.status.is_none_or(|status| status < 400) => {
                fails("status must be from 400 to 599")
            }
            kind if self.retry_after.is_some() && !matches!(kind, FaultKind::Status | FaultKind::Throttle) => {
                fails("retry_after is said with status and throttle only")
            }
            FaultKind::RefuseRecord if self.error.is_none() => fails("error must name the refusal"),
            FaultKind::Delay if self.ms.is_none() => fails("ms must say how long"),
            FaultKind::Truncated | FaultKind::Drip | FaultKind::LoseResponse if self.when == Some(When::Before) => {
                fails("it needs an answer, so it cannot strike before processing")
            }
            FaultKind::LoseRequest if self.when == Some(When::After) => fails("after processing it is lose_response"),
            _ => Ok(()),
        }
    }
}

/// A rule that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault {kind:?}: {reason}")]
pub struct FaultError {
    kind: FaultKind,
    reason: &'static str,
}
