//! Recording what a service says about a request: the client's functions in the caller's own transaction, and our
//! doors.

mod message;
mod refused;

use std::collections::HashSet;

pub use postmeter_client::{NewStatus, Tracked, track, track_batch};

use crate::query::{Query, Tx, query};
use crate::record::batch_row;
use crate::{Database, Error, Refused};

pub use message::{Malformed, Rule, status_from_json, status_from_line};
pub use refused::{Counted, Door, Refusals, count, refusals};

const BATCH: Query = query!("track_batch", [JSONB]);
const OTHERS: Query = query!("request_others", [TEXT_ARRAY, TEXT]);

/// Records many statuses in a transaction of their own, for a door of ours. With `org`, a request that another org was
/// named for is refused: whoever speaks for one org cannot make another's request its own.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`]: nothing was acknowledged; the same again leaves one row a message.
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
    let mut verdicts =
        rows.iter().map(|row| Ok(batch_row(row)?.into())).collect::<Result<Vec<Tracked>, Error>>()?.into_iter();
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
