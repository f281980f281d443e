//! Usage in open hours that the catalogue places elsewhere since it was changed goes back to the outbox, in shares.

use std::collections::HashSet;

use uuid::Uuid;

use crate::error::Blame;
use crate::query::{Params, Query, Tx, query};
use crate::rounds::Share;
use crate::setback::{self, Member, Setbacks};
use crate::turn::{Locking, Work, turn_after};
use crate::{Database, Error};

const TAKE: Query = query!("marked_take", [INT8]);
const BEHIND: Query = query!("marked_behind", [INT8_ARRAY, TEXT_ARRAY, INT8]);
const RETURN: Query = query!("marked_return", [UUID_ARRAY, INT8_ARRAY]);
const BEHIND_EXEMPT: Query = query!("marked_behind_exempt", [INT8_ARRAY, INT8]);
const RETURN_EXEMPT: Query = query!("marked_return_exempt", [UUID_ARRAY]);
const MORE: Query = query!("marked_more", [INT8_ARRAY]);
const DONE: Query = query!("marked_done", [INT8_ARRAY]);
const TRY: Query = query!("try_deliveries", [INT8_ARRAY]);
const LOCK: Query = query!("lock_deliveries", [INT8_ARRAY]);

/// The step's name in `postmeter.setback`.
const STEP: &str = "marked";
/// Marks of one call.
const MARKS: usize = 200;
/// Usages of one look.
const PAGE: i64 = 50_000;
/// Usages of a transaction at most.
const SHARE: usize = 1000;
/// A look reads every usage that the open hours of its buyers count.
const LIMITS: &str = "set local statement_timeout = '120s'";

/// What a call came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returned {
    /// So many usages went back to the outbox.
    pub usages: u64,
    /// There may be more to do at once.
    pub has_more: bool,
}

/// A usage that an open remittance counts and that belongs elsewhere by now.
#[derive(Debug, Clone, PartialEq)]
struct Usage {
    id: Uuid,
    delivery: i64,
    destination: i32,
    org: String,
}

impl Member for Usage {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn destination(&self) -> Option<i32> {
        Some(self.destination)
    }

    fn org(&self) -> Option<String> {
        Some(self.org.clone())
    }
}

/// A usage that an exemption exempted which does not any more.
#[derive(Debug, Clone, PartialEq)]
struct Exempt {
    id: Uuid,
    org: String,
}

impl Member for Exempt {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn org(&self) -> Option<String> {
        Some(self.org.clone())
    }
}

/// Returns to the outbox what open remittances count and a changed catalogue places elsewhere, that of a few buyers. Until
/// that is done, the cuts of their hours look themselves.
///
/// # Errors
/// What each of them would have met.
pub async fn return_marked(database: &Database) -> Result<Returned, Error> {
    let rows = asked(database, &TAKE, &[&i64::try_from(MARKS).unwrap_or(i64::MAX)]).await?;
    let marks = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<i64>, Error>>()?;
    let mut returned = Returned::default();
    let mut few = marks.len();
    let mut left = marks.as_slice();
    while !left.is_empty() {
        let (these, others) = left.split_at(few.min(left.len()));
        match return_of(database, these).await {
            // so many buyers count too much to be looked at together
            Err(error) if error.blame() == Blame::Time && few > 1 => few = (few / 4).max(1),
            Err(error) => return Err(error),
            Ok((usages, more)) => {
                returned.usages += usages;
                returned.has_more |= more;
                left = others;
            }
        }
    }
    if !marks.is_empty() {
        // another worker, or a cut, has returned what this one found locked
        setback::over(database, STEP).await;
    }
    Ok(returned)
}

/// Returns usage of the buyers of these marks, a page of it; returns how much, and whether there is more to do at once.
async fn return_of(database: &Database, marks: &[i64]) -> Result<(u64, bool), Error> {
    let setbacks = Setbacks::read(database, STEP).await;
    let tried = [setbacks.members(true), setbacks.members(false)].concat();
    let behind = asked(database, &BEHIND, &[&marks, &tried, &PAGE]).await?;
    let exempt = asked(database, &BEHIND_EXEMPT, &[&marks, &PAGE]).await?;
    if behind.is_empty() && exempt.is_empty() {
        let done: i64 = asked(database, &DONE, &[&marks]).await?.first().expect("a count is one row").try_get(0)?;
        return Ok((0, done > 0));
    }
    let read = |row: &tokio_postgres::Row| {
        Ok(Usage {
            id: row.try_get("usage_id")?,
            delivery: row.try_get("delivery_id")?,
            destination: row.try_get("destination_id")?,
            org: row.try_get("org")?,
        })
    };
    let behind = behind.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    let mut returning = Returning::default();
    if !behind.is_empty() {
        turn_after(database, &setbacks, behind, &mut Share::of(SHARE), &mut returning).await?;
    }
    let read = |row: &tokio_postgres::Row| Ok(Exempt { id: row.try_get("usage_id")?, org: row.try_get("org")? });
    let exempt = exempt.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    if !exempt.is_empty() {
        turn_after(database, &setbacks, exempt, &mut Share::of(SHARE), &mut returning).await?;
    }
    asked(database, &MORE, &[&marks]).await?;
    Ok((returning.returned, returning.returned > 0))
}

async fn asked(database: &Database, query: &Query, params: Params<'_>) -> Result<Vec<tokio_postgres::Row>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, LIMITS).await?;
    let rows = tx.rows(query, params).await;
    tx.end(rows).await
}

/// Returns them, and counts them.
#[derive(Default)]
struct Returning {
    returned: u64,
}

impl Work<Usage> for Returning {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Usage], locking: Locking) -> Result<Vec<Usage>, Error> {
        let mut deliveries: Vec<i64> = part.iter().map(|usage| usage.delivery).collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        let lock = if locking == Locking::Skip { &TRY } else { &LOCK };
        let locked: HashSet<i64> = tx.rows(lock, &[&deliveries]).await?.iter().map(|row| row.get(0)).collect();
        let (ours, skipped): (Vec<&Usage>, Vec<&Usage>) =
            part.iter().partition(|usage| locked.contains(&usage.delivery));
        if !ours.is_empty() {
            let ids: Vec<Uuid> = ours.iter().map(|usage| usage.id).collect();
            let locked: Vec<i64> = locked.into_iter().collect();
            let rows = tx.rows(&RETURN, &[&ids, &locked]).await?;
            let returned: i64 = rows.first().expect("one row").try_get("returned")?;
            self.returned += u64::try_from(returned).unwrap_or_default();
        }
        Ok(skipped.into_iter().cloned().collect())
    }
}

impl Work<Exempt> for Returning {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Exempt], _: Locking) -> Result<Vec<Exempt>, Error> {
        let ids: Vec<Uuid> = part.iter().map(|usage| usage.id).collect();
        let rows = tx.rows(&RETURN_EXEMPT, &[&ids]).await?;
        let returned: i64 = rows.first().expect("one row").try_get("returned")?;
        self.returned += u64::try_from(returned).unwrap_or_default();
        // what another session holds, that one decides about
        Ok(Vec::new())
    }
}
