//! One request's way: what services said, and what Postmeter did with its usage.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{MARK, ONE, SAID, STEPS};
use crate::query::Tx;
use crate::{Database, Error};

/// Messages that are read of one request at most, the latest.
const SAID_MAX: i64 = 10_000;

/// A request, as computed from its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its number.
    pub id: i64,
    /// Its id in the form in which it was first recorded.
    pub request_id: String,
    /// The latest account that a message gave; empty: none did.
    pub account: String,
    /// The latest org.
    pub org: String,
    /// The latest inventory id.
    pub inventory_id: String,
    /// The latest system id.
    pub system_id: String,
    /// Date of the message that was recorded first.
    pub created_at: Timestamp,
    /// Earliest date.
    pub first_date: Timestamp,
    /// Latest date.
    pub last_date: Timestamp,
    /// When the last message was recorded.
    pub last_recorded_at: Timestamp,
    /// How many messages there are.
    pub statuses: i64,
    /// open, succeeded or failed.
    pub outcome: String,
    /// The service that failed first.
    pub failed_service: Option<String>,
    /// What it said.
    pub failure: Option<String>,
    /// Services that have begun and not finished, and those that a route of the catalogue awaits.
    pub open_services: Vec<String>,
    /// Of these, those that a route awaits, and that have said nothing.
    pub missing_services: Vec<String>,
    /// When a person closed it; the next word about it opens it again.
    pub closed_at: Option<Timestamp>,
}

/// One message of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusEntry {
    /// The request's id as it was given.
    pub request_id: String,
    /// The service.
    pub service: String,
    /// The source; empty: none.
    pub source: String,
    /// What was said.
    pub status: String,
    /// In more words.
    pub status_msg: String,
    /// Account, where the message says it.
    pub account: String,
    /// Org, where the message says it.
    pub org: String,
    /// Inventory id, where the message says it.
    pub inventory_id: String,
    /// System id, where the message says it.
    pub system_id: String,
    /// When.
    pub date: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Where it stands in the order: its date, or its recording if it is dated too far ahead.
    #[serde(skip)]
    pub at: Timestamp,
}

/// One step of Postmeter itself, from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `postmeter`.
    pub service: String,
    /// The destination, once one is known.
    pub source: String,
    /// received, held, processing, sent, success, error, unknown.
    pub status: String,
    /// In more words.
    pub status_msg: String,
    /// The usage's org.
    pub org: String,
    /// The usage's account.
    pub account: String,
    /// When.
    pub date: Timestamp,
    /// The remittance.
    pub delivery_id: Option<i64>,
    /// The usage.
    pub usage_id: Option<Uuid>,
}

/// A request's whole way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestHistory {
    /// The request; `None`: no service said anything, only usage names it.
    pub request: Option<Request>,
    /// What services said, in order.
    pub said: Vec<StatusEntry>,
    /// What Postmeter did, in order.
    pub steps: Vec<Step>,
    /// As of when the request is: what was said later is among what services said, and not yet in its outcome.
    pub as_of: Timestamp,
}

macro_rules! fields {
    ($row:expr => $name:ident { $($field:ident),* $(,)? }) => {
        $name { $($field: $row.try_get(stringify!($field))?),* }
    };
}

pub(super) fn read_request(row: &Row) -> Result<Request, Error> {
    Ok(fields!(row => Request {
        id, request_id, account, org, inventory_id, system_id, created_at, first_date, last_date, last_recorded_at,
        statuses, outcome, failed_service, failure, open_services, missing_services, closed_at
    }))
}

/// The way of the request with this id, in any form; `None`: nobody knows it.
///
/// # Errors
/// As Postgres says.
pub async fn way(database: &Database, id: &str) -> Result<Option<RequestHistory>, Error> {
    let seen = look(database, id, &mut Mark::default()).await?;
    Ok(seen.map(|Seen { request, said, steps, as_of }| RequestHistory { request, said, steps, as_of }))
}

/// How far somebody who watches a request has read.
#[derive(Debug, Default)]
pub struct Mark(Option<(i64, i64)>);

/// What somebody who watches a request sees.
#[derive(Debug)]
pub struct Seen {
    /// The request; `None`: no service said anything, only usage names it.
    pub request: Option<Request>,
    /// What services said, in order; after the first look what is new, and now and then some of what is known.
    pub said: Vec<StatusEntry>,
    /// What Postmeter did, in order.
    pub steps: Vec<Step>,
    /// As of when the request is: what was said later is among what services said, and not yet in its outcome.
    pub as_of: Timestamp,
}

/// Looks at a request again; of what services said only what is new since the mark is read, and the mark moves. `None`:
/// nobody knows it.
///
/// # Errors
/// As Postgres says.
pub async fn look(database: &Database, id: &str, mark: &mut Mark) -> Result<Option<Seen>, Error> {
    let mut session = database.session().await?;
    super::gather_first(&mut session).await?;
    let tx = super::compose::reading(&mut session).await?;
    let request = tx.rows(&ONE, &[&id]).await?.first().map(read_request).transpose()?;
    let row = tx.rows(&MARK, &[&id]).await?;
    let row = row.first().expect("one row");
    let now = (row.try_get("said")?, row.try_get("last")?);
    let said = news(&tx, id, mark.0, now).await?;
    let steps = tx.rows(&STEPS, &[&id]).await?;
    let as_of = super::as_of(&tx).await?;
    tx.commit().await?;
    if request.is_none() && now.0 == 0 && steps.is_empty() {
        return Ok(None);
    }
    let read_said = |row: &Row| {
        Ok(fields!(row => StatusEntry {
            request_id, service, source, status, status_msg, account, org, inventory_id, system_id, date, recorded_at,
            at
        }))
    };
    let read_step = |row: &Row| {
        Ok(fields!(row => Step { service, source, status, status_msg, org, account, date, delivery_id, usage_id }))
    };
    let said = said.iter().map(read_said).collect::<Result<_, Error>>()?;
    let steps = steps.iter().map(read_step).collect::<Result<_, Error>>()?;
    *mark = Mark(Some(now));
    Ok(Some(Seen { request, said, steps, as_of }))
}

/// What was said since the mark. Numbers are given before their transactions end, so a smaller one may come later: where
/// those with larger numbers are not all that came, all are read again.
async fn news(tx: &Tx<'_>, id: &str, mark: Option<(i64, i64)>, now: (i64, i64)) -> Result<Vec<Row>, Error> {
    let Some((known, last)) = mark else { return tx.rows(&SAID, &[&id, &SAID_MAX, &-1_i64]).await };
    if mark == Some(now) {
        return Ok(Vec::new());
    }
    let later = tx.rows(&SAID, &[&id, &SAID_MAX, &last]).await?;
    if known + later.len() as i64 == now.0 { Ok(later) } else { tx.rows(&SAID, &[&id, &SAID_MAX, &-1_i64]).await }
}
