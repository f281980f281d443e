//! Gather: one status that cannot be counted is put behind, and keeps no other request from its answer.

use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::rounds::Round;
use crate::setback::{self, Member, Setbacks};
use crate::{Database, Error, gate};

pub(super) const GATHER: Query = query!("gather", [INT4]);
const BEHIND: Query = query!("gather_behind", []);
const RECOUNT: Query = query!("request_recount", [INT4]);

/// Statuses of one gather: large enough that planning it costs little, small enough that nobody waits long.
pub(super) const GATHER_MAX: i32 = 10_000;

/// Requests of one look for outcomes by other words.
const RECOUNT_MAX: i32 = 1000;

/// A request, by its key.
#[derive(Debug, Clone, PartialEq)]
struct Request(String);

impl Member for Request {
    fn id(&self) -> String {
        self.0.chars().take(50).collect()
    }
}

/// Counts statuses that nobody has counted yet, and computes their requests anew; returns how many. If so many together
/// cannot be, fewer are; the one to blame is put behind all others, and noted. With little to count, it looks through some
/// requests for outcomes that were computed by other words than today's, and counts those as well.
///
/// # Errors
/// What every status would have met, or when another one gathers for long.
pub async fn gather(database: &Database) -> Result<i64, Error> {
    let gathered = gather_new(database).await?;
    if gathered > 0 && gathered < i64::from(GATHER_MAX) {
        // what was put behind may be among them; while there is more to count, that can wait
        setback::over(database, "gather").await;
    }
    if gathered < i64::from(GATHER_MAX) { Ok(gathered + recount(database).await?) } else { Ok(gathered) }
}

/// One look for outcomes by other words; how many requests it saw.
async fn recount(database: &Database) -> Result<i64, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let seen: i32 = tx.rows(&RECOUNT, &[&RECOUNT_MAX]).await?.first().expect("one row").try_get(0)?;
    tx.commit().await?;
    Ok(i64::from(seen))
}

/// The same, without looking through others.
async fn gather_new(database: &Database) -> Result<i64, Error> {
    let mut most = GATHER_MAX;
    loop {
        match gather_some(database, most).await {
            Err(error) if error.blame() == Blame::Step => return Err(error),
            Err(_) if most > 1 => most /= 10,
            Err(error) => return put_behind(database, error).await,
            done => return done,
        }
    }
}

async fn gather_some(database: &Database, most: i32) -> Result<i64, Error> {
    let mut session = database.session().await?;
    let patience = if most == GATHER_MAX { "" } else { "set local lock_timeout = '1s'" };
    let tx = Tx::begin(&mut session, patience).await?;
    gate::gather(&tx).await?;
    let gathered: i32 = tx.rows(&GATHER, &[&most]).await?.first().expect("one row").try_get(0)?;
    tx.commit().await?;
    Ok(i64::from(gathered))
}

/// Puts the first status behind and goes on with the next.
async fn put_behind(database: &Database, error: Error) -> Result<i64, Error> {
    let rows = database.one(&BEHIND, &[]).await?;
    let Some(key) = rows.first().expect("one row").try_get::<_, Option<String>>("request_key")? else {
        return Ok(0);
    };
    tracing::warn!(request = key, "a status could not be counted, and is put behind the others: {error}");
    let others = gather_some(database, 1).await.unwrap_or_default();
    let setbacks = Setbacks::read(database, "gather").await;
    let mut round = Round::default();
    match error.blame() {
        Blame::Lock => round.skipped.push(Request(key)),
        _ => round.failed.push((Request(key), error)),
    }
    if others > 0 {
        round.passed.push(Request(String::new()));
    }
    setbacks.note(database, &round, None).await;
    Ok(others)
}
