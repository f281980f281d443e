//! Contradictions: what a marketplace says otherwise than it was settled, and the person's word about it.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::{Decided, Decider, asked};
use crate::{Database, Error};

/// What counts of a contradiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// What was settled here stands.
    Ours,
    /// It is counted as they say.
    Theirs,
}

/// A person judges a contradiction. Returns the status of its remittance, empty where it is about a day.
///
/// # Errors
/// [`Error::Refused`]: no name or reason (PM032), no such contradiction (PM033), judged otherwise before, or it cannot be
/// counted as they say (PM034).
pub async fn judge(
    database: &Database,
    contradiction: i64,
    counts: Counts,
    decider: Decider<'_>,
) -> Result<Decided, Error> {
    let counts = if counts == Counts::Ours { "ours" } else { "theirs" };
    let sql = "select coalesce(status, ''), changed from postmeter.judge($1, $2, $3, $4)";
    let rows = asked(
        database,
        sql,
        &[(&contradiction, Type::INT8), (&counts, Type::TEXT), (&decider.who, Type::TEXT), (&decider.why, Type::TEXT)],
    )
    .await?;
    let row = rows.first().expect("a function is one row");
    Ok(Decided { now: row.try_get(0)?, changed: row.try_get(1)? })
}

/// A contradiction with both sides.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Contradiction {
    /// Its number.
    pub id: i64,
    /// The destination.
    pub destination: String,
    /// The remittance; none: a day's sum.
    pub delivery_id: Option<i64>,
    /// What it is about: a key, or buyer, dimension and day.
    pub about: String,
    /// `late_evidence`, `reconciliation` or `person`.
    pub source: String,
    /// `held`, `other_quantity` or `not_held`.
    pub says: String,
    /// They speak of what was sent before the remittance was counted anew.
    pub is_earlier: bool,
    /// What they hold, if they said.
    pub their_quantity: Option<String>,
    /// Which attempt it was.
    pub attempt_id: Option<uuid::Uuid>,
    /// When they said so.
    pub said_at: Timestamp,
    /// Our side: the status then.
    pub settled_as: Option<String>,
    /// Our quantity then.
    pub our_quantity: Option<String>,
    /// What a person had decided, by whom and why.
    pub settled_verb: Option<String>,
    /// Who.
    pub settled_by: Option<String>,
    /// Why.
    pub settled_why: Option<String>,
    /// What counts, if somebody has judged it.
    pub counts: Option<String>,
    /// Who judged it.
    pub judged_by: Option<String>,
    /// Why.
    pub judged_why: Option<String>,
}

impl Contradiction {
    /// Reads a row of `report_contradictions`.
    pub(crate) fn read(row: &tokio_postgres::Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            destination: row.try_get("destination")?,
            delivery_id: row.try_get("delivery_id")?,
            about: row.try_get("about")?,
            source: row.try_get("source")?,
            says: row.try_get("says")?,
            is_earlier: row.try_get("is_earlier")?,
            their_quantity: row.try_get("their_quantity")?,
            attempt_id: row.try_get("attempt_id")?,
            said_at: row.try_get("said_at")?,
            settled_as: row.try_get("settled_as")?,
            our_quantity: row.try_get("our_quantity")?,
            settled_verb: row.try_get("settled_verb")?,
            settled_by: row.try_get("settled_by")?,
            settled_why: row.try_get("settled_why")?,
            counts: row.try_get("counts")?,
            judged_by: row.try_get("judged_by")?,
            judged_why: row.try_get("judged_why")?,
        })
    }

    /// Both sides in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let units = |quantity: &Option<String>| quantity.as_ref().map(|units| format!(" {units}")).unwrap_or_default();
        let theirs = match self.says.as_str() {
            "held" => format!("they hold{}", units(&self.their_quantity)),
            "other_quantity" => format!("they hold another quantity{}", units(&self.their_quantity)),
            _ => "they hold nothing of it".to_owned(),
        };
        let ours = self.settled_as.as_deref().unwrap_or("not sent").replace('_', " ");
        let who = match (&self.settled_verb, &self.settled_by, &self.settled_why) {
            (Some(verb), Some(who), Some(why)) => format!(" ({} by {who}: {why})", verb.replace('_', " ")),
            _ => String::new(),
        };
        let judged = match (&self.counts, &self.judged_by, &self.judged_why) {
            (counts, Some(who), Some(why)) => {
                format!("; judged by {who}: {} ({why})", counts.as_deref().unwrap_or("over"))
            }
            _ => String::new(),
        };
        format!("{theirs}, here it was {ours}{}{who}{judged}", units(&self.our_quantity))
    }
}
