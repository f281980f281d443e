//! Cut: closes hours. Quantity, bytes and key are frozen here and never change again.
//!
//! Locks first the meters, then the remittances, each in order; reads sums in statements after the last lock, because
//! READ COMMITTED takes a statement's snapshot before it waits.

use std::collections::HashSet;

use jiff::Timestamp;
use remittance::{Quantity, Reason, Status, idempotency_key};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::query::{Query, Tx, query};
use crate::{Database, Error};

const CANDIDATES: Query = query!("cut_candidates", [INT8, INT4_ARRAY]);
const LOCK_METERS: Query = query!("cut_lock_meters", [INT8_ARRAY]);
const LOCK_DELIVERIES: Query = query!("cut_lock_deliveries", [INT8_ARRAY]);
const MEMBERS: Query = query!("cut_members", [INT8_ARRAY]);
const METERS: Query = query!("cut_meters", [INT8_ARRAY, BOOL_ARRAY]);
const HAS_TARGET: Query = query!("cut_has_target", [INT8]);
const FREEZE: Query =
    query!("cut_freeze", [INT8_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, UUID_ARRAY]);

/// What is about to be frozen; the marketplace's code makes bytes of it.
#[derive(Debug, Clone)]
pub struct Sum {
    /// The destination's number.
    pub destination_id: i32,
    /// The buyer's identity as it is sent.
    pub identity: Value,
    /// Our product.
    pub product: String,
    /// Their dimension.
    pub dimension: String,
    /// Decimals of the dimension.
    pub decimals: u32,
    /// The hour.
    pub hour: Timestamp,
    /// What is billed; more than zero.
    pub quantity: Quantity,
    /// The idempotency key.
    pub idempotency_key: Uuid,
}

/// Frozen bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// The record to send.
    pub body: String,
    /// Only deliveries of one group share a call.
    pub batch_group: String,
}

/// What a cut did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// Hours cut.
    pub cut: usize,
    /// Of these, due.
    pub due: usize,
    /// Held: the marketplace's code refused the quantity.
    pub held: usize,
    /// Cut while their usage was still arriving, because of the deadline: worth an alert.
    pub forced: usize,
}

/// Cuts hours that are over, of the destinations that the caller can serve. `freeze` is the marketplace's code; it must be pure.
///
/// # Errors
/// As Postgres says; the transaction is rolled back and nothing has happened.
pub async fn cut(
    database: &Database,
    most: i64,
    destinations: &[i32],
    freeze: &(dyn Fn(&Sum) -> Result<Bytes, Reason> + Sync),
) -> Result<Cut, Error> {
    let candidates = database.one(&CANDIDATES, &[&most, &destinations]).await?;
    if candidates.is_empty() {
        return Ok(Cut::default());
    }
    let ids = candidates.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    let forced = candidates.iter().filter(|row| row.try_get("forced").unwrap_or(false)).count();
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let locked: HashSet<i64> = tx.rows(&LOCK_METERS, &[&ids]).await?.iter().map(|row| row.get(0)).collect();
    tx.run(&LOCK_DELIVERIES, &[&ids]).await?;
    let (deliveries, deferred) = members(&tx, &ids, &locked).await?;
    let sums = tx.rows(&METERS, &[&deliveries, &deferred]).await?;
    let decided = sums.iter().map(|row| decide_row(row, freeze)).collect::<Result<Vec<_>, _>>()?;
    let cut = write(&tx, &decided).await?;
    tx.commit().await?;
    Ok(Cut { forced: forced.min(cut.cut), ..cut })
}

/// Which of them can be cut together now: still open, all their meters locked, no meter twice. And which have missed
/// their time and carry everything to another hour of the month that has not.
async fn members(tx: &Tx<'_>, ids: &[i64], locked: &HashSet<i64>) -> Result<(Vec<i64>, Vec<bool>), Error> {
    let (mut deliveries, mut deferred, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
    for row in tx.rows(&MEMBERS, &[&ids]).await? {
        let (id, meters): (i64, Vec<i64>) = (row.try_get("id")?, row.try_get("meters")?);
        if !meters.iter().all(|meter| locked.contains(meter)) || meters.iter().any(|meter| taken.contains(meter)) {
            continue;
        }
        taken.extend(meters);
        let is_late: bool = row.try_get("is_late")?;
        let carries =
            is_late && tx.rows(&HAS_TARGET, &[&id]).await?.first().is_some_and(|row| row.try_get(0).unwrap_or(false));
        deliveries.push(id);
        deferred.push(carries);
    }
    Ok((deliveries, deferred))
}

struct Decided {
    id: i64,
    status: Status,
    reason: Option<Reason>,
    quantity: String,
    bytes: Option<Bytes>,
    idempotency_key: Option<Uuid>,
}

fn decide_row(row: &Row, freeze: &(dyn Fn(&Sum) -> Result<Bytes, Reason> + Sync)) -> Result<Decided, Error> {
    let id = row.try_get("id")?;
    let text: String = row.try_get("quantity")?;
    let held = |quantity| Decided {
        id,
        status: Status::Held,
        reason: Some(Reason::QuantityOutOfRange),
        quantity,
        bytes: None,
        idempotency_key: None,
    };
    // more digits than a quantity may have: no marketplace takes it either
    let Ok(quantity) = text.parse::<Quantity>() else { return Ok(held(text)) };
    if quantity.is_zero() {
        return Ok(Decided {
            id,
            status: Status::NothingDue,
            reason: None,
            quantity: text,
            bytes: None,
            idempotency_key: None,
        });
    }
    let (destination, key): (&str, &str) = (row.try_get("destination")?, row.try_get("key")?);
    let sum = Sum {
        destination_id: row.try_get("destination_id")?,
        identity: row.try_get("identity")?,
        product: row.try_get("product")?,
        dimension: row.try_get("dimension")?,
        decimals: u32::try_from(row.try_get::<_, i32>("decimals")?).unwrap_or_default(),
        hour: row.try_get("hour")?,
        quantity,
        idempotency_key: idempotency_key(destination, key, row.try_get("releases")?),
    };
    Ok(match freeze(&sum) {
        Ok(bytes) => Decided {
            id,
            status: Status::Due,
            reason: None,
            quantity: text,
            bytes: Some(bytes),
            idempotency_key: Some(sum.idempotency_key),
        },
        Err(reason) => Decided { reason: Some(reason), ..held(text) },
    })
}

async fn write(tx: &Tx<'_>, decided: &[Decided]) -> Result<Cut, Error> {
    let ids: Vec<i64> = decided.iter().map(|d| d.id).collect();
    let statuses: Vec<&str> = decided.iter().map(|d| d.status.as_str()).collect();
    let reasons: Vec<Option<&str>> = decided.iter().map(|d| d.reason.map(Reason::as_str)).collect();
    let quantities: Vec<&str> = decided.iter().map(|d| d.quantity.as_str()).collect();
    let bodies: Vec<Option<&str>> = decided.iter().map(|d| d.bytes.as_ref().map(|b| b.body.as_str())).collect();
    let groups: Vec<Option<&str>> = decided.iter().map(|d| d.bytes.as_ref().map(|b| b.batch_group.as_str())).collect();
    let keys: Vec<Option<Uuid>> = decided.iter().map(|d| d.idempotency_key).collect();
    if ids.is_empty() {
        return Ok(Cut::default());
    }
    tx.rows(&FREEZE, &[&ids, &statuses, &reasons, &quantities, &bodies, &groups, &keys]).await?;
    let count = |status| decided.iter().filter(|d| d.status == status).count();
    Ok(Cut { cut: ids.len(), due: count(Status::Due), held: count(Status::Held), forced: 0 })
}
