//! What people may do about what is stuck. Each leaves a decision; evidence is never edited.

mod judge;
mod resolve;

use futures_util::TryStreamExt;
use remittance::Quantity;
use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

pub use judge::{Contradiction, Counts, judge};
pub use resolve::{Resolved, dead_letters_by, resolve_share};

use crate::query::Tx;
use crate::{Database, Error};

/// A correction of remittances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Send again, with the same bytes and key.
    Retry,
    /// Give the quantity back to the meter.
    Release,
    /// Give it up.
    WriteOff,
    /// Put aside what waits to be sent.
    Hold,
    /// Count its usage again, by today's catalogue and in its own hour.
    Recount {
        /// Where something stands in the way of its own hour, count it as late usage.
        late: bool,
    },
}

impl Verb {
    const fn function(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Release => "release",
            Self::WriteOff => "write_off",
            Self::Hold => "hold",
            Self::Recount { .. } => "recount",
        }
    }

    /// So many remittances are decided about in one transaction. A recount moves every usage of them, and of the hours whose
    /// remainder is in them: one at a time.
    const fn share(self) -> usize {
        if matches!(self, Self::Recount { .. }) { 1 } else { SHARE }
    }
}

/// Who decides, and why.
#[derive(Debug, Clone, Copy)]
pub struct Decider<'a> {
    /// The person.
    pub who: &'a str,
    /// The reason, in a sentence.
    pub why: &'a str,
}

/// What a correction does, or would do, to one remittance.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The delivery.
    pub delivery: i64,
    /// Its key.
    pub key: String,
    /// Status before.
    pub before: String,
    /// Status after; the same if nothing changes.
    pub after: String,
    /// Billing units.
    pub quantity: Option<String>,
    /// Why nothing changes, or where the quantity went.
    pub note: Option<String>,
}

/// Corrects the dead letters (to hold: what waits to be sent) that `filter` names (a JSON object: org, account, product,
/// metric, destination, status, reason, from, until, delivery, or all). With `dry_run` nothing changes. No change at all:
/// nothing is left to do for what the filter fits ([`fits`]).
///
/// # Errors
/// [`Error::Refused`]: an unknown field (PM030), no filter or one that leaves nothing out (PM031), no name or reason
/// (PM032), a value that cannot be meant (PM037) or does not exist (PM038), a filter that fits nothing (PM039).
pub async fn correct(
    database: &Database,
    verb: Verb,
    filter: &Value,
    decider: Decider<'_>,
    dry_run: bool,
) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    correct_each(database, verb, filter, decider, dry_run, |change| changes.push(change)).await?;
    Ok(changes)
}

/// So many remittances are decided about in one transaction. Who decides about more does it in shares: no decision, however
/// much it is about, keeps meters from being cut for longer than a share of it takes.
pub const SHARE: usize = 200;

/// As [`correct`], and hands each change to `take`: however many there are, they need not fit into memory. Where the filter
/// fits many, they are decided about in shares, each in a transaction of its own: on an error what was decided before stays
/// decided, and the same again goes on with the rest. The filter is read once, before the first share.
///
/// # Errors
/// As [`correct`].
pub async fn correct_each(
    database: &Database,
    verb: Verb,
    filter: &Value,
    decider: Decider<'_>,
    dry_run: bool,
    mut take: impl FnMut(Change) + Send,
) -> Result<(), Error> {
    let chosen = if dry_run { Vec::new() } else { chosen(database, verb, filter).await? };
    if chosen.len() <= verb.share() {
        return correct_share(database, verb, filter, decider, dry_run, &mut take).await;
    }
    for share in chosen.chunks(verb.share()) {
        let mut within = filter.clone();
        within["within"] = share.into();
        correct_share(database, verb, &within, decider, false, &mut take).await?;
    }
    Ok(())
}

/// What a filter names now, in the order in which it is locked.
async fn chosen(database: &Database, verb: Verb, filter: &Value) -> Result<Vec<i64>, Error> {
    let sql = "select d.id from postmeter.deliveries_by($1, $2) d order by d.id";
    let rows = asked(database, sql, &[(filter, Type::JSONB), (&(verb == Verb::Hold), Type::BOOL)]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

async fn correct_share(
    database: &Database,
    verb: Verb,
    filter: &Value,
    decider: Decider<'_>,
    dry_run: bool,
    take: &mut (impl FnMut(Change) + Send),
) -> Result<(), Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, PATIENT).await?;
    let mut params: Vec<(&(dyn ToSql + Sync), Type)> =
        vec![(filter, Type::JSONB), (&decider.who, Type::TEXT), (&decider.why, Type::TEXT), (&dry_run, Type::BOOL)];
    let more = if let Verb::Recount { late } = &verb {
        params.push((late, Type::BOOL));
        ", $5"
    } else {
        ""
    };
    let sql = format!(
        "select delivery_id, key, status_before, status_after, quantity::text, note from postmeter.{}($1, $2, $3, $4{more})",
        verb.function()
    );
    let mut rows = std::pin::pin!(tx.composed_stream(&sql, params).await?);
    while let Some(row) = rows.try_next().await? {
        take(Change {
            delivery: row.try_get(0)?,
            key: row.try_get(1)?,
            before: row.try_get(2)?,
            after: row.try_get(3)?,
            quantity: row.try_get(4)?,
            note: row.try_get(5)?,
        });
    }
    tx.commit().await
}

/// Remittances that a filter fits, whatever became of them: how many by status.
///
/// # Errors
/// As Postgres says.
pub async fn fits(database: &Database, filter: &Value) -> Result<Vec<(String, i64)>, Error> {
    let sql = "select status, remittances from postmeter.filter_fits($1)";
    let rows = asked(database, sql, &[(filter, Type::JSONB)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Held usage that a correction concerns: its id, the reason it was held for, its quantity.
pub type HeldUsage = (Uuid, String, String);

/// Sends held usage back to the outbox, or gives it up ([`Verb::WriteOff`]). Much of it is decided about in shares, each in a
/// transaction of its own: on an error what was decided before stays decided, and the same again goes on with the rest.
///
/// # Errors
/// As [`correct`].
pub async fn correct_held(
    database: &Database,
    verb: Verb,
    filter: &Value,
    decider: Decider<'_>,
    dry_run: bool,
) -> Result<Vec<HeldUsage>, Error> {
    let mut changes = Vec::new();
    let sql = "select h.usage_id from postmeter.held_usage_by($1) h order by h.usage_id";
    let chosen = if dry_run { Vec::new() } else { asked(database, sql, &[(filter, Type::JSONB)]).await? };
    let chosen = chosen.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<Uuid>, Error>>()?;
    if chosen.len() <= HELD_SHARE {
        return correct_held_share(database, verb, filter, decider, dry_run).await;
    }
    for share in chosen.chunks(HELD_SHARE) {
        let mut within = filter.clone();
        within["within"] = share.iter().map(Uuid::to_string).collect();
        changes.extend(correct_held_share(database, verb, &within, decider, false).await?);
    }
    Ok(changes)
}

/// So many held usages are decided about in one transaction; who decides about more does it in shares, as with [`SHARE`].
pub const HELD_SHARE: usize = 1000;

async fn correct_held_share(
    database: &Database,
    verb: Verb,
    filter: &Value,
    decider: Decider<'_>,
    dry_run: bool,
) -> Result<Vec<HeldUsage>, Error> {
    let function = if verb == Verb::WriteOff { "write_off_held" } else { "retry_held" };
    let sql = format!("select usage_id, reason, quantity::text from postmeter.{function}($1, $2, $3, $4)");
    let params: [(&(dyn ToSql + Sync), Type); 4] =
        [(filter, Type::JSONB), (&decider.who, Type::TEXT), (&decider.why, Type::TEXT), (&dry_run, Type::BOOL)];
    let rows = asked(database, &sql, &params).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

/// A decision waits for those who are at work on what it concerns.
const PATIENT: &str = "set local lock_timeout = 0";

/// Runs one statement in a transaction of its own.
async fn asked(
    database: &Database,
    sql: &str,
    params: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<tokio_postgres::Row>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, PATIENT).await?;
    let rows = tx.composed(sql, params).await?;
    tx.commit().await?;
    Ok(rows)
}

/// What a decision about one thing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Where it stands: a status, or the state of a breaker.
    pub now: String,
    /// False: it was decided so before, and nothing more was changed.
    pub changed: bool,
}

async fn decide(
    database: &Database,
    sql: &str,
    subject: (&(dyn ToSql + Sync), Type),
    billed: Option<bool>,
    decider: Decider<'_>,
) -> Result<Decided, Error> {
    let mut parameters = vec![subject];
    if let Some(billed) = &billed {
        parameters.push((billed, Type::BOOL));
    }
    parameters.extend([(&decider.who as &(dyn ToSql + Sync), Type::TEXT), (&decider.why, Type::TEXT)]);
    let rows = asked(database, sql, &parameters).await?;
    let row = rows.first().expect("a function returns one row");
    Ok(Decided { now: row.try_get(0)?, changed: row.try_get(1)? })
}

/// A person says whether an unknown remittance was billed.
///
/// # Errors
/// [`Error::Refused`]: there is nothing to resolve (PM034) or no such remittance (PM033).
pub async fn resolve(database: &Database, delivery: i64, billed: bool, decider: Decider<'_>) -> Result<Decided, Error> {
    let sql = "select status, changed from postmeter.resolve_unknown($1, $2, $3, $4)";
    decide(database, sql, (&delivery, Type::INT8), Some(billed), decider).await
}

/// A person says how much a marketplace holds of a remittance in conflict, or of one that may have been billed: that counts.
///
/// # Errors
/// As [`resolve`], and a quantity that they have denied (PM037).
pub async fn resolve_quantity(
    database: &Database,
    delivery: i64,
    quantity: &Quantity,
    decider: Decider<'_>,
) -> Result<Decided, Error> {
    let sql = "select status, changed from postmeter.resolve_quantity($1, $2::text::numeric, $3, $4)";
    let quantity = quantity.to_string();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] =
        [(&delivery, Type::INT8), (&quantity, Type::TEXT), (&decider.who, Type::TEXT), (&decider.why, Type::TEXT)];
    let rows = asked(database, sql, &parameters).await?;
    let row = rows.first().expect("a function returns one row");
    Ok(Decided { now: row.try_get(0)?, changed: row.try_get(1)? })
}

/// Stops sending to a destination, or goes on.
///
/// # Errors
/// [`Error::Refused`]: no such destination (PM033).
pub async fn set_paused(
    database: &Database,
    destination: &str,
    paused: bool,
    decider: Decider<'_>,
) -> Result<Decided, Error> {
    // whoever resumes may have mended something: what was set aside is tried at once
    let sql = if paused {
        "select 'paused', postmeter.pause($1, $2, $3)"
    } else {
        "select 'sending', r.changed from postmeter.resume($1, $2, $3) r(changed), postmeter.try_setbacks_again()"
    };
    decide(database, sql, (&destination, Type::TEXT), None, decider).await
}

/// Closes a request, by its id in any form: it is not unfinished any more, until something more is said about it. Returns
/// its outcome.
///
/// # Errors
/// [`Error::Refused`]: nobody said anything about it (PM033).
pub async fn close_request(database: &Database, id: &str, decider: Decider<'_>) -> Result<Decided, Error> {
    let sql = "select outcome, changed from postmeter.close_request($1, $2, $3)";
    decide(database, sql, (&id, Type::TEXT), None, decider).await
}

/// Tries a destination before its time: ends the pause of its breaker, so that a worker probes it now, and the wait that the
/// marketplace asked for, of its whole quota. Returns `waiting` if it ended such a wait, else where the breaker stood.
///
/// # Errors
/// [`Error::Refused`]: no such destination (PM033).
pub async fn probe(database: &Database, destination: &str, decider: Decider<'_>) -> Result<Decided, Error> {
    let sql = "select breaker, changed from postmeter.probe($1, $2, $3)";
    decide(database, sql, (&destination, Type::TEXT), None, decider).await
}
