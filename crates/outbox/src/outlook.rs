//! What would become of usage: asked before it is recorded (a dry run), and right after, for a warning.

use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::query::{Query, Tx, query};
use crate::record::refused;
use crate::state::Mode;
use crate::{Database, Error, Refused};

const FORETELL: Query = query!("foretell_usage", [JSONB]);
const WARN: Query = query!("usage_warnings", [UUID_ARRAY]);

/// What a fold does with a usage, as far as that is known by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// `counted` in its own hour, `late` (its own hour is cut), `expires` (no hour can take it), `held` or `exempt`.
    pub fate: String,
    /// Why it is held.
    pub reason: Option<String>,
    /// Where it is owed.
    pub destination: Option<String>,
    /// The hour that takes it, if that is known; of usage that is held or expires its own.
    pub hour: Option<Timestamp>,
    /// The remittance of that hour, if it exists.
    pub remittance: Option<i64>,
}

/// What would become of a usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foretold {
    /// It would be recorded. `None`: a correction of usage that waits itself.
    Recorded(Option<Outlook>),
    /// It was recorded before, under this id.
    Repeated(Uuid),
    /// It would be refused.
    Refused(Refused),
}

/// What would become of usages (a JSON array, as `intake::record` takes it), one answer each, in order. It writes and
/// locks nothing; catalogue, clock and other usage may change before they are recorded.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement.
pub async fn foretell(database: &Database, usages: &RawValue) -> Result<Vec<Foretold>, Error> {
    let mut session = database.session().await?;
    let limits = "set local lock_timeout = '1s'; set local statement_timeout = '10s'";
    let tx = Tx::begin_as(&mut session, Mode::Read, limits).await?;
    let rows = tx.rows(&FORETELL, &[&Json(usages)]).await?;
    tx.commit().await?;
    rows.iter()
        .map(|row| {
            Ok(match row.try_get("verdict")? {
                "recorded" => Foretold::Recorded(outlook(row)?),
                "repeated" => Foretold::Repeated(row.try_get("usage_id")?),
                _ => Foretold::Refused(refused(row)?),
            })
        })
        .collect()
}

/// Which of these usages are held or counted in another hour than their own, or will be at the next fold.
///
/// # Errors
/// [`Error::Retryable`] within a second if what it reads is locked: a warning is worth no longer wait.
pub async fn warnings(database: &Database, usages: &[Uuid]) -> Result<Vec<(Uuid, Outlook)>, Error> {
    let mut session = database.session().await?;
    let limits = "set local lock_timeout = '100ms'; set local statement_timeout = '1s'";
    let tx = Tx::begin_as(&mut session, Mode::Read, limits).await?;
    let rows = tx.rows(&WARN, &[&usages]).await?;
    tx.commit().await?;
    rows.iter().filter_map(|row| outlook(row).transpose().map(|found| Ok((row.try_get("usage_id")?, found?)))).collect()
}

fn outlook(row: &tokio_postgres::Row) -> Result<Option<Outlook>, Error> {
    let Some(fate) = row.try_get("fate")? else { return Ok(None) };
    Ok(Some(Outlook {
        fate,
        reason: row.try_get("reason")?,
        destination: row.try_get("destination")?,
        hour: row.try_get("hour")?,
        remittance: row.try_get("delivery_id")?,
    }))
}
