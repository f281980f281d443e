//! What our doors refused, counted by field and reason: whoever sends what, there are only so many of these.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Malformed;
use crate::query::{Query, Tx, query};
use crate::state::Mode;
use crate::{Database, Error, Refused};

const COUNT: Query = query!("request_refusals_count", [TEXT, TEXT_ARRAY, TEXT_ARRAY, INT8_ARRAY, TEXT_ARRAY]);
const LIST: Query = query!("request_refusals", [INT8]);

/// Fields that are counted by name; anything else counts as the whole message.
const FIELDS: [&str; 11] = [
    "service",
    "request_id",
    "status",
    "date",
    "source",
    "status_msg",
    "account",
    "org",
    "org_id",
    "inventory_id",
    "system_id",
];
/// What is kept of a sentence.
const SAID_MAX: usize = 200;

/// Where a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Over HTTP.
    Http,
    /// From a file or a pipe.
    Import,
}

impl Door {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Import => "import",
        }
    }
}

/// Refusals that are not counted yet.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Refusals(BTreeMap<(&'static str, &'static str), (i64, String)>);

impl Refusals {
    /// One that could not be read.
    pub fn malformed(&mut self, wrong: &Malformed) {
        self.add(wrong.field.unwrap_or_default(), wrong.rule.as_str(), &wrong.reason);
    }

    /// One that the schema refused, or that is another org's.
    pub fn refused(&mut self, refused: &Refused) {
        self.add(
            refused.field.as_deref().unwrap_or_default(),
            reason(&refused.code, &refused.message),
            &refused.message,
        );
    }

    /// One of another org than the caller's.
    pub fn other_org(&mut self, field: &str, said: &str) {
        self.add(field, "other_org", said);
    }

    /// One of a field, for a reason.
    fn add(&mut self, field: &str, reason: &'static str, said: &str) {
        let field = FIELDS.iter().find(|known| **known == field).copied().unwrap_or_default();
        let (n, last) = self.0.entry((field, reason)).or_default();
        *n += 1;
        // what Postgres keeps no text with
        *last = said.chars().filter(|letter| *letter != '\0').take(SAID_MAX).collect();
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds others.
    pub fn join(&mut self, others: Self) {
        for (key, (more, said)) in others.0 {
            let (n, last) = self.0.entry(key).or_default();
            *n += more;
            *last = said;
        }
    }
}

/// The reason in a word: which of its rules the schema broke off at.
fn reason(code: &str, message: &str) -> &'static str {
    match code {
        "other_org" => "other_org",
        "23502" => "missing",
        "22007" | "22008" => "unreadable",
        _ if message.contains("names no request") => "noise",
        _ if message.contains("must lie in the years") => "range",
        _ if message.contains("must be text") => "text",
        _ if message.contains("must be a JSON object") => "object",
        _ if message.contains("bytes") || message.contains("KiB") => "length",
        _ => "other",
    }
}

/// Refusals of an hour, by door, field and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The hour.
    pub hour: Timestamp,
    /// `http` or `import`.
    pub door: String,
    /// The field that was wrong; empty: the whole message.
    pub field: String,
    /// Which rule they break.
    pub reason: String,
    /// How many.
    pub n: i64,
    /// The first of them.
    pub first_at: Timestamp,
    /// The last of them.
    pub last_at: Timestamp,
    /// What was said to the last of them.
    pub said: String,
}

/// The newest so many.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement.
pub async fn refusals(database: &Database, most: i64) -> Result<Vec<Counted>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin_as(&mut session, Mode::Read, "").await?;
    let rows = tx.rows(&LIST, &[&most]).await?;
    tx.commit().await?;
    let read = |row: &tokio_postgres::Row| -> Result<Counted, Error> {
        Ok(Counted {
            hour: row.try_get("hour")?,
            door: row.try_get("door")?,
            field: row.try_get("field")?,
            reason: row.try_get("reason")?,
            n: row.try_get("n")?,
            first_at: row.try_get("first_at")?,
            last_at: row.try_get("last_at")?,
            said: row.try_get("said")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Writes them down.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement: they are not counted.
pub async fn count(database: &Database, door: Door, refusals: &Refusals) -> Result<(), Error> {
    if refusals.is_empty() {
        return Ok(());
    }
    let (mut fields, mut reasons, mut counts, mut said) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((field, reason), (n, last)) in &refusals.0 {
        fields.push(*field);
        reasons.push(*reason);
        counts.push(*n);
        said.push(last.as_str());
    }
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    tx.rows(&COUNT, &[&door.as_str(), &fields, &reasons, &counts, &said]).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::status_from_json;

    #[test]
    fn h8_whoever_sends_what_there_are_only_so_many_refusals() {
        let mut refusals = Refusals::default();
        for n in 0..1000 {
            let line = format!(r#"{{"service": "s{n}", "request_id": "\u0000{n}", "status": "x"}}"#);
            refusals.malformed(&status_from_json(&line).unwrap_err());
            let message = format!("{}\0{n}", "x".repeat(n));
            let field = Some(format!("field{n}"));
            let (constraint, hint) = (None, None);
            refusals.refused(&Refused { code: format!("PM{n}"), field, constraint, message, hint });
        }
        assert_eq!(refusals.0.keys().copied().collect::<Vec<_>>(), [("", "other"), ("request_id", "nul")]);
        assert!(refusals.0.values().all(|(n, said)| *n == 1000 && said.len() <= SAID_MAX && !said.contains('\0')));
    }
}
