//! Which installation a database is. A copy brings everything along but the server it was settled at: then nothing is
//! claimed until a person has declared what it is.

use tokio_postgres::types::{ToSql, Type};

use crate::corrections::Decider;
use crate::query::{Query, Tx, query};
use crate::{Database, Error};

const SETTLE: Query = query!("installation_settle", [TEXT]);
const WENT_ON: Query = query!("installation_went_on", [TEXT]);

/// A worker starts for the installation of this name, if it was told one. Returns why it must not work here.
///
/// # Errors
/// As Postgres says.
pub async fn settle(database: &Database, name: Option<&str>) -> Result<Option<String>, Error> {
    Ok(database.one(&SETTLE, &[&name]).await?.first().expect("a function is one row").try_get(0)?)
}

/// A worker that remembers the last commits of timeline `seen` has looked for them: the server went on, or it has said
/// that they are gone.
///
/// # Errors
/// As Postgres says.
pub async fn went_on(database: &Database, seen: &str) -> Result<(), Error> {
    database.one(&WENT_ON, &[&seen]).await.map(drop)
}

/// What a person says that a database is.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    /// It is the installation; else a copy, from which nothing is sent.
    pub is_original: bool,
    /// Nothing was sent by anybody since it was copied.
    pub nothing_lost: bool,
    /// What it is called from now on.
    pub name: Option<&'a str>,
}

/// Says what this database is. `false`: it was so already.
///
/// # Errors
/// [`Error::Refused`]: no name or reason (PM032).
pub async fn declare(database: &Database, declared: Declared<'_>, decider: Decider<'_>) -> Result<bool, Error> {
    let what = if declared.is_original { "original" } else { "copy" };
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let params: Vec<(&(dyn ToSql + Sync), Type)> = vec![
        (&what, Type::TEXT),
        (&decider.who, Type::TEXT),
        (&decider.why, Type::TEXT),
        (&declared.nothing_lost, Type::BOOL),
        (&declared.name, Type::TEXT),
    ];
    let rows = tx.composed("select postmeter.declare_installation($1, $2, $3, $4, $5)", &params).await?;
    let changed = rows.first().expect("a function is one row").try_get(0)?;
    tx.commit().await?;
    Ok(changed)
}
