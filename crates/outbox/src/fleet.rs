//! Who lives: signs of life of consoles, and forgetting who ended long ago. Workers have heartbeats (`workers.rs`).

use uuid::Uuid;

use crate::query::{Query, query};
use crate::{Database, Error};

const SEEN: Query = query!("console_seen", [UUID, TEXT, TEXT, BOOL]);
const FORGET: Query = query!("forget_processes", [INT4]);

/// Of each kind at once.
const SHARE: i32 = 500;

/// Says that a console lives, or that it stops.
///
/// # Errors
/// As Postgres says.
pub async fn console_seen(database: &Database, id: Uuid, name: &str, stops: bool) -> Result<(), Error> {
    database.one(&SEEN, &[&id, &name, &env!("CARGO_PKG_VERSION"), &stops]).await.map(drop)
}

/// Forgets some workers and consoles that ended more than a week ago; returns how many.
///
/// # Errors
/// As Postgres says.
pub async fn forget(database: &Database) -> Result<i32, Error> {
    Ok(database.one(&FORGET, &[&SHARE]).await?.first().expect("one row").try_get(0)?)
}
