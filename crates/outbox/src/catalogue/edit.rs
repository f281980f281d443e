//! Editing the catalogue: reading all of it and changing some of it, in one transaction, one editor at a time.
//!
//! Entries travel as JSON objects, field by field as the catalogue file has them (`docs/catalogue.md`); what a field
//! may be is checked by the reader of that file, and by the schema.

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio_postgres::Row;

use super::{CLOCK, COVERS, Canonical, LAST_MARK, LOCK, METERED, MOVES, READINGS, SHADOW_GATE, SIGN, TRY_AGAIN, ZONES};
use crate::connect::Session;
use crate::corrections::Decider;
use crate::error::Blame;
use crate::query::{Query, Tx};
use crate::{Database, Error};

/// The six kinds of entries, in the order in which they depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A limit of calls.
    Quota,
    /// A marketplace endpoint.
    Destination,
    /// A marketplace's name for a metric.
    Dimension,
    /// Who buys what where.
    Subscription,
    /// Who is not billed.
    Exempt,
    /// Whom a request is handed to.
    Route,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Quota, Self::Destination, Self::Dimension, Self::Subscription, Self::Exempt, Self::Route];
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Which kind.
    pub kind: Kind,
    /// Its number.
    pub id: i64,
    /// Its fields.
    pub fields: Map<String, Value>,
    /// It is referred to: a quota by a destination, a destination or a subscription's buyer by a meter.
    pub in_use: bool,
    /// A subscription whose contract is metered in the running month: another contract counts from the next month on.
    pub is_counting: bool,
    /// How a subscription's identity reads, if it was read.
    pub canonical: Option<Canonical>,
    /// Why a subscription's identity is refused.
    pub invalid: Option<String>,
}

/// Months of one product's metric at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Months {
    /// The destination's name.
    pub destination: String,
    /// The product.
    pub product: String,
    /// The metric.
    pub metric: String,
    /// First month (`2024-09`).
    pub from: String,
    /// The month after the last; `None`: all that follow.
    pub until: Option<String>,
}

/// What an edit writes. Fields of an entry to add or change are complete, never a part of them.
#[derive(Debug, Default)]
pub struct Changes {
    /// Entries to add.
    pub add: Vec<(Kind, Map<String, Value>)>,
    /// Entries to change, with their numbers.
    pub change: Vec<(Kind, i64, Map<String, Value>)>,
    /// Entries to remove, by number.
    pub remove: Vec<(Kind, i64)>,
    /// How identities read: the fields that name a subscription, and the canonical form.
    pub readings: Vec<(Map<String, Value>, Canonical)>,
}

/// What an edit changes of usage of one kind in one hour that is still open.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Move {
    /// `moved` to another buyer, destination or dimension; `exempt`; `held: ` and the reason; `billed`: was exempt; `resolved
    /// anew`: was held; `covered anew`: stays, and the cut goes by the new cover.
    pub becomes: String,
    /// Where it is counted, if it is.
    pub destination: Option<String>,
    /// For whom.
    pub buyer: Option<String>,
    /// As what.
    pub dimension: Option<String>,
    /// The remittance's hour; of what no remittance counts, its own.
    pub hour: String,
    /// Whose usage it is.
    pub org: String,
    /// Its product.
    pub product: String,
    /// Its metric.
    pub metric: String,
    /// Where it will be counted, if it moves.
    pub to_destination: Option<String>,
    /// For whom.
    pub to_buyer: Option<String>,
    /// As what.
    pub to_dimension: Option<String>,
    /// So many usages.
    pub usages: i64,
    /// Their sum, in metric units.
    pub quantity: String,
}

/// What an edit changes of usage whose hour is open.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moves {
    /// The largest of them.
    pub first: Vec<Move>,
    /// So many there are.
    pub count: i64,
    /// Usages of all of them.
    pub usages: i64,
}

/// The moves that are told one by one.
const MOVES_TOLD: i64 = 50;
/// Counting them ends in time: an edit that cannot be counted is made all the same.
const COUNTED_WITHIN: &str = "savepoint counted; set local statement_timeout = '10s'";

/// A connection to edit with.
pub struct Editor {
    session: Session,
}

/// An edit under way. Dropped without [`Edit::commit`], it changes nothing.
pub struct Edit<'a> {
    tx: Tx<'a>,
}

impl Editor {
    /// Takes a connection.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn open(database: &Database) -> Result<Self, Error> {
        Ok(Self { session: database.session().await? })
    }

    /// Begins an edit, when no other is under way.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn begin(&mut self) -> Result<Edit<'_>, Error> {
        let tx = Tx::begin(&mut self.session, "").await?;
        tx.rows(&LOCK, &[]).await?;
        Ok(Edit { tx })
    }
}

impl Edit<'_> {
    /// The whole catalogue, kind by kind, in order of names.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn load(&self) -> Result<Vec<Stored>, Error> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            for row in self.tx.rows(&kind.load(), &[]).await? {
                all.push(read(kind, &row)?);
            }
        }
        Ok(all)
    }

    /// The time of decisions.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn clock(&self) -> Result<Timestamp, Error> {
        Ok(self.tx.rows(&CLOCK, &[]).await?.first().expect("one row").try_get(0)?)
    }

    /// For each range of months: the first and last month in which usage was metered, if there is one.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn metered(&self, ranges: &[Months]) -> Result<Vec<Option<(String, String)>>, Error> {
        let column =
            |field: fn(&Months) -> &String| ranges.iter().map(|range| field(range).as_str()).collect::<Vec<_>>();
        let until: Vec<Option<&str>> = ranges.iter().map(|range| range.until.as_deref()).collect();
        let (destinations, products) = (column(|range| &range.destination), column(|range| &range.product));
        let (metrics, from) = (column(|range| &range.metric), column(|range| &range.from));
        let mut months = vec![None; ranges.len()];
        for row in self.tx.rows(&METERED, &[&destinations, &products, &metrics, &from, &until]).await? {
            let item = usize::try_from(row.try_get::<_, i64>("item")?).ok().and_then(|item| months.get_mut(item - 1));
            *item.expect("the ordinality of a range") = Some((row.try_get("first_month")?, row.try_get("last_month")?));
        }
        Ok(months)
    }

    /// Which of these names are no time zones of the server's.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn unknown_zones(&self, names: &[&str]) -> Result<Vec<String>, Error> {
        self.tx.rows(&ZONES, &[&names]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Writes changes: what goes, what changes, what comes, then how identities read. One statement for all entries of
    /// a kind, because each sends back the held usage that it cures. Returns what they change of usage whose hour is open;
    /// `None`: it could not be counted in time.
    ///
    /// # Errors
    /// [`Error::Refused`] by a rule of the schema; the edit is over then.
    pub async fn write(&self, changes: &Changes) -> Result<Option<Moves>, Error> {
        let last: i64 = self.tx.rows(&LAST_MARK, &[]).await?.first().expect("one row").try_get("last")?;
        // before any lock on a delivery, which a fold may wait for while it keeps the gate shut
        let adds_shadow = changes.add.iter().any(|(_, fields)| is_shadow(fields));
        let written = changes.add.iter().map(|(kind, fields)| (kind, fields));
        let written = written.chain(changes.change.iter().map(|(kind, _, fields)| (kind, fields)));
        let told: Vec<&str> = written
            .filter(|(kind, _)| **kind == Kind::Subscription)
            .filter_map(|(_, fields)| fields.get("destination").and_then(Value::as_str))
            .collect();
        self.tx.rows(&SHADOW_GATE, &[&adds_shadow, &told]).await?;
        for kind in Kind::ALL.into_iter().rev() {
            let ids: Vec<i64> = changes.remove.iter().filter(|(of, _)| *of == kind).map(|(_, id)| *id).collect();
            if !ids.is_empty() {
                self.tx.run(&kind.remove(), &[&ids]).await?;
            }
        }
        for kind in Kind::ALL {
            let changed =
                changes.change.iter().filter(|(of, ..)| *of == kind).map(|(_, id, fields)| with_id(*id, fields));
            let changed: Vec<Value> = changed.collect();
            let added =
                changes.add.iter().filter(|(of, _)| *of == kind).map(|(_, fields)| Value::Object(fields.clone()));
            let added: Vec<Value> = added.collect();
            self.run(&kind.change(), &changed).await?;
            // a shadow names a live destination, which may be as new as itself
            let (shadows, live): (Vec<Value>, Vec<Value>) =
                added.iter().cloned().partition(|entry| entry.as_object().is_some_and(is_shadow));
            self.run(&kind.add(), &live).await?;
            self.run(&kind.add(), &shadows).await?;
            if kind == Kind::Subscription {
                self.run(&COVERS, &[changed, added].concat()).await?;
            }
        }
        let readings = changes.readings.iter().map(|(name, canonical)| with_reading(name, canonical));
        self.run(&READINGS, &readings.collect::<Vec<_>>()).await?;
        self.moves(last).await
    }

    async fn moves(&self, last: i64) -> Result<Option<Moves>, Error> {
        self.tx.batch(COUNTED_WITHIN).await?;
        match self.tx.rows(&MOVES, &[&last, &MOVES_TOLD]).await {
            Ok(rows) => {
                self.tx.batch("rollback to savepoint counted; release savepoint counted").await?;
                let first = rows.iter().map(read_move).collect::<Result<Vec<_>, Error>>()?;
                let total = |name| rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(name));
                Ok(Some(Moves { first, count: total("groups")?, usages: total("all_usages")? }))
            }
            Err(error) if error.blame() == Blame::Time => {
                self.tx.batch("rollback to savepoint counted; release savepoint counted").await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn run(&self, query: &Query, entries: &[Value]) -> Result<(), Error> {
        if !entries.is_empty() {
            self.tx.run(query, &[&Value::Array(entries.to_vec())]).await?;
        }
        Ok(())
    }

    /// Writes down who makes this edit, and why; `detail` says what it changes.
    ///
    /// # Errors
    /// [`Error::Refused`]: no name or reason (PM032).
    pub async fn sign(&self, decider: Decider<'_>, detail: &Value) -> Result<(), Error> {
        self.tx.rows(&SIGN, &[&decider.who, &decider.why, detail]).await.map(drop)
    }

    /// Ends the edit and keeps it. What was set aside is tried again at once: the edit may have cured it.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn commit(self) -> Result<(), Error> {
        self.tx.rows(&TRY_AGAIN, &[]).await?;
        self.tx.commit().await
    }
}

fn read_move(row: &Row) -> Result<Move, Error> {
    Ok(Move {
        becomes: row.try_get("becomes")?,
        destination: row.try_get("destination")?,
        buyer: row.try_get("buyer")?,
        dimension: row.try_get("dimension")?,
        hour: row.try_get("hour")?,
        org: row.try_get("org")?,
        product: row.try_get("product")?,
        metric: row.try_get("metric")?,
        to_destination: row.try_get("to_destination")?,
        to_buyer: row.try_get("to_buyer")?,
        to_dimension: row.try_get("to_dimension")?,
        usages: row.try_get("usages")?,
        quantity: row.try_get("quantity")?,
    })
}

fn is_shadow(fields: &Map<String, Value>) -> bool {
    fields.get("shadow_of").is_some_and(Value::is_string)
}

fn read(kind: Kind, row: &Row) -> Result<Stored, Error> {
    let fields = match row.try_get("fields")? {
        Value::Object(fields) => fields,
        other => {
            return Err(Error::Unexpected { code: String::new(), message: format!("an entry is no object: {other}") });
        }
    };
    let buyer: Option<String> = row.try_get("buyer")?;
    let canonical = match buyer {
        None => None,
        Some(buyer) => Some(Canonical {
            buyer,
            account: row.try_get::<_, Option<_>>("account")?.unwrap_or_default(),
            form: row.try_get::<_, Option<_>>("form")?.unwrap_or_default(),
        }),
    };
    Ok(Stored {
        kind,
        id: row.try_get("id")?,
        fields,
        in_use: row.try_get("in_use")?,
        is_counting: kind == Kind::Subscription && row.try_get("is_counting")?,
        canonical,
        invalid: row.try_get("invalid")?,
    })
}

fn with_id(id: i64, fields: &Map<String, Value>) -> Value {
    let mut fields = fields.clone();
    fields.insert("id".to_owned(), Value::from(id));
    Value::Object(fields)
}

fn with_reading(name: &Map<String, Value>, canonical: &Canonical) -> Value {
    let mut fields = name.clone();
    fields.insert("buyer".to_owned(), Value::from(canonical.buyer.as_str()));
    fields.insert("buyer_account".to_owned(), Value::from(canonical.account.as_str()));
    fields.insert("form".to_owned(), Value::from(canonical.form.as_str()));
    Value::Object(fields)
}
