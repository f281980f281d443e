//! Who may come in over HTTP: tokens, kept by their hash alone.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use crate::query::{Query, query};
use crate::{Database, Error};

const FIND: Query = query!("token_find", [BYTEA]);
const CREATE: Query = query!("token_create", [TEXT, BYTEA, TEXT_ARRAY, TEXT, TEXT]);
const REVOKE: Query = query!("token_revoke", [TEXT, TEXT]);
const LIST: Query = query!("token_list", []);

/// A token that may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// Name of the caller.
    pub name: String,
    /// What it may do: intake, read, operate.
    pub scopes: Vec<String>,
    /// The only org that it may record and read, if it is limited to one.
    pub org: Option<String>,
}

/// A token as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its number.
    pub id: i64,
    /// Name of the caller.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The only org it is for.
    pub org: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
}

/// What is kept of a token: SHA-256. A token is 256 random bits, so neither salt nor a slow hash would add anything.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The token with this hash, unless there is none or it was revoked.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement.
pub async fn find(database: &Database, hash: &[u8; 32]) -> Result<Option<Token>, Error> {
    let rows = database.one(&FIND, &[&hash.as_slice()]).await?;
    let read = |row: &Row| -> Result<Token, Error> {
        Ok(Token {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            scopes: row.try_get("scopes")?,
            org: row.try_get("org")?,
        })
    };
    rows.first().map(read).transpose()
}

/// Keeps a new token. The caller shows `token` to a person once, and forgets it.
///
/// # Errors
/// [`Error::Refused`]: the name is taken, a scope is unknown, or an operator's token is limited to an org (PM001).
pub async fn create(
    database: &Database,
    name: &str,
    token: &str,
    scopes: &[String],
    org: Option<&str>,
    who: &str,
) -> Result<i64, Error> {
    let rows = database.one(&CREATE, &[&name, &hash(token).as_slice(), &scopes, &org, &who]).await?;
    Ok(rows.first().expect("a function returns one row").try_get(0)?)
}

/// Revokes a token for ever; false if it was revoked before.
///
/// # Errors
/// [`Error::Refused`]: there is no such token (PM033).
pub async fn revoke(database: &Database, name: &str, who: &str) -> Result<bool, Error> {
    let rows = database.one(&REVOKE, &[&name, &who]).await?;
    Ok(rows.first().expect("a function returns one row").try_get(0)?)
}

/// Every token ever made.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement.
pub async fn list(database: &Database) -> Result<Vec<Listed>, Error> {
    let rows = database.one(&LIST, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                scopes: row.try_get("scopes")?,
                org: row.try_get("org")?,
                created_at: row.try_get("created_at")?,
                created_by: row.try_get("created_by")?,
                revoked_at: row.try_get("revoked_at")?,
                revoked_by: row.try_get("revoked_by")?,
            })
        })
        .collect()
}
