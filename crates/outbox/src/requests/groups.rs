//! Requests that failed or are open, by where: what an engineer on call asks first.

use jiff::Timestamp;
use serde::Serialize;

use super::Span;
use crate::query::{Query, query};
use crate::{Database, Error};

const FAILED: Query = query!("request_groups_failed", [TIMESTAMPTZ, TIMESTAMPTZ, TEXT, INT8, INT8]);
const OPEN: Query = query!("request_groups_open", [TIMESTAMPTZ, TIMESTAMPTZ, TEXT, INT8, INT8]);

/// Requests that are looked at, the newest.
pub const LOOKED_AT_MAX: i64 = 100_000;

/// Groups at most.
const GROUPS_MAX: i64 = 1000;

/// Which requests are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Failed ones, by the service that failed first and what it said; the largest group first.
    Failure,
    /// Open ones that no person closed, by the service that has not finished; the longest silent first.
    OpenService,
}

/// Requests with one fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The service.
    pub service: String,
    /// What it said when it failed.
    pub message: Option<String>,
    /// How many requests.
    pub requests: i64,
    /// One of them: the newest that failed, or the one that is silent for longest.
    pub request_id: String,
    /// When the one that is silent for longest was last heard of.
    pub silent_since: Timestamp,
    /// When one of them was last heard of.
    pub last_recorded_at: Timestamp,
}

/// Groups the newest [`LOOKED_AT_MAX`] requests that were created then; of one org, if one is named.
///
/// # Errors
/// As Postgres says.
pub async fn groups(database: &Database, by: By, created: &Span, org: Option<&str>) -> Result<Vec<Group>, Error> {
    let query = match by {
        By::Failure => &FAILED,
        By::OpenService => &OPEN,
    };
    let rows = database.one(query, &[&created.from, &created.until, &org, &LOOKED_AT_MAX, &GROUPS_MAX]).await?;
    rows.iter()
        .map(|row| {
            Ok(Group {
                service: row.try_get("service")?,
                message: row.try_get("message")?,
                requests: row.try_get("requests")?,
                request_id: row.try_get("request_id")?,
                silent_since: row.try_get("silent_since")?,
                last_recorded_at: row.try_get("last_recorded_at")?,
            })
        })
        .collect()
}
