//! A request's status, and what became of it.

use jiff::Timestamp;
use serde::Serialize;

use crate::Refused;

/// A request status to record. The fields are those of `postmeter.track`; `service`, `request_id` and `status` are
/// required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewStatus {
    /// The service that reports.
    pub service: String,
    /// The request that it reports about: any text; a UUID in any form is the same request.
    pub request_id: String,
    /// The status: a word of the service's own.
    pub status: String,
    /// When it happened; `None`: now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
    /// Which part of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// In more words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<String>,
    /// The request's account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The request's org.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The request's inventory id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory_id: Option<String>,
    /// The request's system id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
}

impl NewStatus {
    /// A status with the required fields; the rest can be set on it.
    #[must_use]
    pub fn new(service: &str, request_id: &str, status: &str) -> Self {
        Self {
            service: service.to_owned(),
            request_id: request_id.to_owned(),
            status: status.to_owned(),
            ..Self::default()
        }
    }
}

/// What became of one status of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracked {
    /// Recorded.
    Recorded,
    /// This very message had been recorded.
    Repeated,
    /// Refused; the others of the batch are not touched by it.
    Refused(Refused),
}

impl From<Refused> for Tracked {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
