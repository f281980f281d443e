//! A row of what a batch returns.

use uuid::Uuid;

use crate::{Refused, Tracked, Verdict};

/// A row that `postmeter.record_usage_batch` or `postmeter.track_batch` returned, for programs that run them by
/// statements of their own: [`Verdict`] and [`Tracked`] are made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// `recorded`, `repeated` or `refused`.
    pub verdict: String,
    /// The usage's id; none of a status, and none of what is refused.
    pub usage_id: Option<Uuid>,
    /// SQLSTATE of a refusal.
    pub error_code: Option<String>,
    /// The field that is wrong.
    pub field: Option<String>,
    /// A refusal's sentence.
    pub message: Option<String>,
}

impl From<BatchRow> for Refused {
    fn from(row: BatchRow) -> Self {
        Self {
            code: row.error_code.unwrap_or_default(),
            field: row.field,
            constraint: None,
            message: row.message.unwrap_or_default(),
            hint: None,
        }
    }
}

impl From<BatchRow> for Verdict {
    fn from(row: BatchRow) -> Self {
        match (row.verdict.as_str(), row.usage_id) {
            ("recorded", Some(id)) => Self::Recorded(id),
            ("repeated", Some(id)) => Self::Repeated(id),
            _ => Self::Refused(row.into()),
        }
    }
}

impl From<BatchRow> for Tracked {
    fn from(row: BatchRow) -> Self {
        match row.verdict.as_str() {
            "recorded" => Self::Recorded,
            "repeated" => Self::Repeated,
            _ => Self::Refused(row.into()),
        }
    }
}
