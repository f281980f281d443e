//! Reconcile: what a marketplace says it holds, beside what we hold as accepted. Differences are rows for people;
//! nothing is ever sent because of them.

use jiff::civil::Date;
use remittance::Quantity;
use serde::Serialize;

use crate::query::{Query, Tx, query};
use crate::{Database, Error};

const CONTRADICT: Query = query!("reconcile_contradict", [TEXT, TEXT, TEXT]);
const NOTE: Query =
    query!("reconcile_note", [INT4, TEXT, TEXT, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, INT8_ARRAY]);
const DIFFERENCES: Query = query!("reconcile_differences", [TEXT, TEXT]);

/// What it holds of a key, in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The buyer, in canonical form.
    pub buyer: String,
    /// Their name of the metric.
    pub dimension: String,
    /// Their word for how far they are with it.
    pub state: String,
    /// The sum of the day.
    pub quantity: Quantity,
    /// How many records that is.
    pub records: i64,
}

/// A key of the day, as both sides have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The buyer, in canonical form.
    pub buyer: String,
    /// Their name of the metric.
    pub dimension: String,
    /// What we call accepted; none: nothing.
    pub ours: Option<String>,
    /// What they hold; none: nothing.
    pub theirs: Option<String>,
    /// Theirs less ours, in billing units; empty: dropped.
    pub difference: String,
    /// Their words for how far they are with it.
    pub states: Option<String>,
    /// equal, quantity, `ours_alone` or `theirs_alone`; dropped: our remittances of that day are gone.
    pub verdict: String,
}

/// Notes what a destination answered about a day, and as contradictions what is settled here and other there; compares
/// every key of the day, what differs first.
///
/// # Errors
/// As Postgres says; nothing is noted then.
pub async fn reconcile(
    database: &Database,
    destination: (i32, &str),
    day: Date,
    who: &str,
    reported: &[Reported],
) -> Result<Vec<Compared>, Error> {
    let (id, name) = destination;
    let day = day.to_string();
    let texts = |text: fn(&Reported) -> String| reported.iter().map(text).collect::<Vec<_>>();
    let (buyers, dimensions) = (texts(|r| r.buyer.clone()), texts(|r| r.dimension.clone()));
    let (states, quantities) = (texts(|r| r.state.clone()), texts(|r| r.quantity.to_string()));
    let records: Vec<i64> = reported.iter().map(|r| r.records).collect();
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    tx.run(&NOTE, &[&id, &day, &who, &buyers, &dimensions, &states, &quantities, &records]).await?;
    tx.run(&CONTRADICT, &[&name, &day, &who]).await?;
    let rows = tx.rows(&DIFFERENCES, &[&name, &day]).await?;
    let compared = rows
        .iter()
        .map(|row| {
            Ok(Compared {
                buyer: row.try_get("buyer")?,
                dimension: row.try_get("dimension")?,
                ours: row.try_get("ours")?,
                theirs: row.try_get("theirs")?,
                difference: row.try_get("difference")?,
                states: row.try_get("states")?,
                verdict: row.try_get("verdict")?,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    tx.commit().await?;
    Ok(compared)
}
