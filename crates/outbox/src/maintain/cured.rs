//! Held usage that the catalogue knows by now goes back to the outbox, in shares.

use uuid::Uuid;

use crate::query::{Query, Tx, query};
use crate::rounds::Share;
use crate::setback::Member;
use crate::turn::{Locking, Work, turn};
use crate::{Database, Error, side};

const HELD: Query = query!("maintain_cured", [INT8, UUID]);
const RETURN: Query = query!("cured_return", [UUID_ARRAY]);
const SHADOW_HELD: Query = query!("shadow_held", [INT8, INT4, UUID]);
const SHADOW_CURED: Query = query!("shadow_cured", [INT4_ARRAY, UUID_ARRAY]);
const WANTED: Query = query!("cure_wanted", []);
/// What is left of it is forgotten the next time.
const USUAL_FORGET: Query = query!("usual_forget", [INT8]);
const DONE: Query = query!("cure_done", [INT8]);

/// Usages of one look.
const PAGE: i64 = 10_000;

#[derive(Debug, Clone, PartialEq)]
struct Usage {
    id: Uuid,
    org: String,
}

impl Member for Usage {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn org(&self) -> Option<String> {
        Some(self.org.clone())
    }
}

/// Looks at all held usage, at most `most` of it in one transaction, and sends back to the outbox what the catalogue
/// knows by now; returns how much.
///
/// # Errors
/// What all of it would have met.
pub async fn return_cured(database: &Database, most: usize) -> Result<i64, Error> {
    let wanted = last_wanted(database).await;
    let (mut returning, mut share, mut after) = (Returning::default(), Share::of(most), Uuid::nil());
    loop {
        let rows = database.one(&HELD, &[&PAGE, &after]).await?;
        let Some(last) = rows.last() else { break };
        after = last.try_get("usage_id")?;
        let read = |row: &tokio_postgres::Row| Ok(Usage { id: row.try_get("usage_id")?, org: row.try_get("org")? });
        let held = rows.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        turn(database, "return_cured", held, &mut share, &mut returning).await?;
    }
    side::ask(database, &USUAL_FORGET, &[&PAGE]).await;
    if let Some(last) = wanted {
        // if that cannot be noted, all is looked at once more
        side::ask(database, &DONE, &[&last]).await;
    }
    Ok(returning.returned)
}

/// The same, if the catalogue has changed while more was held than the change itself could look at.
///
/// # Errors
/// As [`return_cured`].
pub async fn return_cured_if_wanted(database: &Database, most: usize) -> Result<i64, Error> {
    if last_wanted(database).await.is_none() { Ok(0) } else { return_cured(database, most).await }
}

async fn last_wanted(database: &Database) -> Option<i64> {
    side::ask(database, &WANTED, &[]).await?.first()?.get("last")
}

/// Usage that a shadow did not count.
#[derive(Debug, Clone, PartialEq)]
struct Uncounted {
    shadow: i32,
    usage: Usage,
}

impl Member for Uncounted {
    fn id(&self) -> String {
        format!("{}:{}", self.shadow, self.usage.id)
    }

    fn destination(&self) -> Option<i32> {
        Some(self.shadow)
    }

    fn org(&self) -> Option<String> {
        self.usage.org()
    }
}

/// Looks at all usage that shadows did not count, at most `most` of it in one transaction, and lets them count what their
/// catalogue knows by now; returns how much.
///
/// # Errors
/// What all of it would have met.
pub async fn return_cured_shadow(database: &Database, most: usize) -> Result<i64, Error> {
    let (mut returning, mut share, mut after) = (ReturningShadow::default(), Share::of(most), (0_i32, Uuid::nil()));
    loop {
        let rows = database.one(&SHADOW_HELD, &[&PAGE, &after.0, &after.1]).await?;
        let read = |row: &tokio_postgres::Row| {
            let usage = Usage { id: row.try_get("usage_id")?, org: row.try_get("org")? };
            Ok(Uncounted { shadow: row.try_get("destination_id")?, usage })
        };
        let held = rows.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        let Some(last) = held.last() else { return Ok(returning.returned) };
        after = (last.shadow, last.usage.id);
        turn(database, "shadow_cured", held, &mut share, &mut returning).await?;
    }
}

/// Lets shadows count it, and counts it.
#[derive(Default)]
struct ReturningShadow {
    returned: i64,
}

impl Work<Uncounted> for ReturningShadow {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Uncounted], _: Locking) -> Result<Vec<Uncounted>, Error> {
        let shadows: Vec<i32> = part.iter().map(|held| held.shadow).collect();
        let ids: Vec<Uuid> = part.iter().map(|held| held.usage.id).collect();
        let rows = tx.rows(&SHADOW_CURED, &[&shadows, &ids]).await?;
        self.returned += rows.first().expect("one row").try_get::<_, i64>("returned")?;
        // what another session holds, that one decides about
        Ok(Vec::new())
    }
}

/// Sends it back, and counts it.
#[derive(Default)]
struct Returning {
    returned: i64,
}

impl Work<Usage> for Returning {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Usage], _: Locking) -> Result<Vec<Usage>, Error> {
        let ids: Vec<Uuid> = part.iter().map(|usage| usage.id).collect();
        let rows = tx.rows(&RETURN, &[&ids]).await?;
        self.returned += rows.first().expect("one row").try_get::<_, i64>("returned")?;
        // what another session holds, that one decides about
        Ok(Vec::new())
    }
}
