//! Recording what a service says about a request, in the caller's own transaction.

mod message;
mod refused;

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use crate::query::{Query, Tx, query};
use crate::{Database, Error, Refused};

pub use message::{Malformed, Rule};
pub use refused::{Counted, Door, Refusals, count, refusals};

const BATCH: Query = query!("track_batch", [JSONB]);
const OTHERS: Query = query!("request_others", [TEXT_ARRAY, TEXT]);

/// A request status to record. The fields are those of `postmeter.track`; `docs/integrate.md` explains them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewStatus {
    /// Who says it.
    pub service: String,
    /// About which request: any text; a UUID in any form is the same request.
    pub request_id: String,
    /// What is said.
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

/// Records one status in the caller's transaction; `false`: this very message had been recorded.
///
/// A refusal aborts the transaction like any error of Postgres; use a savepoint to go on after it.
///
/// # Errors
/// [`Error::Refused`] names field and rule; [`Error::Away`] and [`Error::Again`] as for any statement.
pub async fn track(transaction: &Transaction<'_>, status: &NewStatus) -> Result<bool, Error> {
    let rows = transaction
        .query_typed(
            "select postmeter.track($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                (&status.service, Type::TEXT),
                (&status.request_id, Type::TEXT),
                (&status.status, Type::TEXT),
                (&status.date, Type::TIMESTAMPTZ),
                (&status.source, Type::TEXT),
                (&status.status_msg, Type::TEXT),
                (&status.account, Type::TEXT),
                (&status.org, Type::TEXT),
                (&status.inventory_id, Type::TEXT),
                (&status.system_id, Type::TEXT),
            ],
        )
        .await?;
    Ok(rows.first().expect("a function returns one row").try_get(0)?)
}

/// Records many statuses in one round trip; one verdict each, in order. What is refused does not stop the rest.
///
/// # Errors
/// [`Error::Away`] and [`Error::Again`] as for any statement; refusals are verdicts.
pub async fn track_batch(transaction: &Transaction<'_>, statuses: &[NewStatus]) -> Result<Vec<Tracked>, Error> {
    let body = serde_json::to_value(statuses).expect("statuses are plain data");
    let rows = transaction
        .query_typed(
            "select verdict, error_code, field, message from postmeter.track_batch($1)",
            &[(&body, Type::JSONB)],
        )
        .await?;
    rows.iter().map(verdict).collect()
}

fn verdict(row: &Row) -> Result<Tracked, Error> {
    Ok(match row.try_get::<_, &str>("verdict")? {
        "recorded" => Tracked::Recorded,
        "repeated" => Tracked::Repeated,
        _ => Tracked::Refused(Refused {
            code: row.try_get("error_code")?,
            field: row.try_get("field")?,
            constraint: None,
            message: row.try_get("message")?,
            hint: None,
        }),
    })
}

/// Records many statuses in a transaction of their own, for a door of ours. With `org`, a request that another org was
/// named for is refused: whoever speaks for one org cannot make another's request its own.
///
/// # Errors
/// [`Error::Away`] and [`Error::Again`]: nothing was acknowledged; the same again leaves one row a message.
pub async fn record(database: &Database, statuses: &[NewStatus], org: Option<&str>) -> Result<Vec<Tracked>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let others = match org {
        Some(org) => others(&tx, statuses, org).await?,
        None => HashSet::new(),
    };
    let ours: Vec<&NewStatus> = statuses.iter().filter(|status| !others.contains(&status.request_id)).collect();
    let body = serde_json::to_value(&ours).expect("statuses are plain data");
    let rows = tx.rows(&BATCH, &[&body]).await?;
    let mut verdicts = rows.iter().map(verdict).collect::<Result<Vec<_>, _>>()?.into_iter();
    tx.commit().await?;
    Ok(statuses
        .iter()
        .map(|status| {
            if others.contains(&status.request_id) {
                return Tracked::Refused(Refused {
                    code: "other_org".to_owned(),
                    field: Some("request_id".to_owned()),
                    constraint: None,
                    message: "this request is another org's".to_owned(),
                    hint: None,
                });
            }
            verdicts.next().expect("a verdict per status")
        })
        .collect())
}

/// Ids of requests that another org was named for.
async fn others(tx: &Tx<'_>, statuses: &[NewStatus], org: &str) -> Result<HashSet<String>, Error> {
    let ids: HashSet<&str> = statuses.iter().map(|status| status.request_id.as_str()).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let rows = tx.rows(&OTHERS, &[&ids, &org]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
