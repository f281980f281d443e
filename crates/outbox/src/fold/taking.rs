//! Taking entries from the outbox: they are locked first, so that a worker can say what it has in hand before it reads it.

use std::collections::{BTreeMap, HashMap};

use bytes::{BufMut as _, BytesMut};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

use super::plan::Entry;
use crate::Error;
use crate::query::{Query, Tx, query};
use crate::workers::Span;

const THESE: Query = query!("fold_pick_these", [INT2_ARRAY, UUID_ARRAY]);
const ORG: Query = query!("fold_pick_org", [TEXT, INT8, UUID]);
const TAKE: Query = query!("fold_take", [TID_ARRAY]);
const INSIDE: Query = query!("fold_inside", [TIMESTAMPTZ, TIMESTAMPTZ]);

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub shard: i16,
    pub id: Uuid,
}

/// An entry that this transaction has locked, with its place in the table: it stays there until the transaction ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picked {
    pub entry: Place,
    at: Tid,
}

/// A row's place in a table, as Postgres sends it: block and number.
#[derive(Debug, Clone, Copy)]
struct Tid([u8; 6]);

impl<'a> FromSql<'a> for Tid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    accepts!(TID);
}

impl ToSql for Tid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    accepts!(TID);

    to_sql_checked!();
}

/// What was taken from the outbox.
pub(super) struct Taken {
    /// What is to be folded.
    pub entries: Vec<Entry>,
    /// Entries that must not be, whole, as the text of JSON: nobody has checked what they hold.
    pub strays: Vec<String>,
}

pub(super) fn picked(rows: &[Row]) -> Result<Vec<Picked>, Error> {
    let picked = rows.iter().map(|row| {
        let entry = Place { shard: row.try_get("shard")?, id: row.try_get("id")? };
        Ok(Picked { entry, at: row.try_get("place")? })
    });
    picked.collect()
}

pub(super) fn places(rows: &[Row]) -> Result<Vec<Place>, Error> {
    rows.iter().map(|row| Ok(Place { shard: row.try_get("shard")?, id: row.try_get("id")? })).collect()
}

/// Per shard the first and the last of them.
pub(super) fn spans(picked: &[Picked]) -> Vec<Span> {
    let mut spans: BTreeMap<i16, (Uuid, Uuid)> = BTreeMap::new();
    for Picked { entry: place, .. } in picked {
        let (first, last) = spans.entry(place.shard).or_insert((place.id, place.id));
        (*first, *last) = ((*first).min(place.id), (*last).max(place.id));
    }
    spans.into_iter().map(|(shard, (first, last))| Span { shard, first, last }).collect()
}

pub(super) fn entries(picked: &[Picked]) -> Vec<Place> {
    picked.iter().map(|picked| picked.entry).collect()
}

pub(super) fn columns(places: &[Place]) -> (Vec<i16>, Vec<Uuid>) {
    places.iter().map(|place| (place.shard, place.id)).unzip()
}

/// Locks those of these that nobody else has.
pub(super) async fn pick_these(tx: &Tx<'_>, wanted: &[Place]) -> Result<Vec<Picked>, Error> {
    let (shards, ids) = columns(wanted);
    picked(&tx.rows(&THESE, &[&shards, &ids]).await?)
}

/// Locks the oldest entries of an org behind this one.
pub(super) async fn pick_org(tx: &Tx<'_>, org: &str, after: Uuid, most: usize) -> Result<Vec<Picked>, Error> {
    picked(&tx.rows(&ORG, &[&org, &i64::try_from(most).unwrap_or(i64::MAX), &after]).await?)
}

/// Deletes what this transaction has locked from the outbox, and reads it.
pub(super) async fn take(tx: &Tx<'_>, picked: &[Picked]) -> Result<Taken, Error> {
    let places: Vec<Tid> = picked.iter().map(|picked| picked.at).collect();
    let rows = tx.rows(&TAKE, &[&places]).await?;
    let mut taken = Taken { entries: Vec::with_capacity(rows.len()), strays: Vec::new() };
    for row in &rows {
        match row.try_get("stray")? {
            Some(stray) => taken.strays.push(stray),
            None => taken.entries.push(read_entry(row)?),
        }
    }
    divide(tx, &mut taken.entries).await?;
    Ok(taken)
}

/// Says for when the catalogue is asked about each entry: what is used after an end or a begin inside its hour is resolved
/// apart from what was used before it.
async fn divide(tx: &Tx<'_>, entries: &mut [Entry]) -> Result<(), Error> {
    let hours = || entries.iter().map(|entry| entry.hour);
    let (Some(first), Some(last)) = (hours().min(), hours().max()) else { return Ok(()) };
    let mut inside: HashMap<String, Vec<(String, Timestamp)>> = HashMap::new();
    for row in tx.rows(&INSIDE, &[&first, &last]).await? {
        inside.entry(row.try_get("org")?).or_default().push((row.try_get("product")?, row.try_get("at")?));
    }
    for entry in entries {
        let moments = inside.get(&entry.org).into_iter().flatten();
        let moments = moments.filter(|(product, at)| *product == entry.product && *at > entry.hour && *at <= entry.at);
        entry.at = moments.map(|(_, at)| *at).max().unwrap_or(entry.hour);
    }
    Ok(())
}

fn read_entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        usage: row.try_get("id")?,
        org: row.try_get("org")?,
        product: row.try_get("product")?,
        metric: row.try_get("metric")?,
        account: row.try_get("account")?,
        hour: row.try_get("hour")?,
        at: row.try_get("used_at")?,
        quantity: row.try_get("quantity")?,
        corrected: row.try_get("corrected_id")?,
        returned: row.try_get("returned")?,
        entered_at: row.try_get("entered_at")?,
    })
}
