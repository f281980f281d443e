//! Applying the migrations: plain SQL files, in order, each in its own transaction, one runner at a time.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::{Database, Error};

/// One migration file.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number, from 1.
    pub version: i32,
    /// Name of the file without `.sql`; `_pre_` runs before the new code, `_post_` after the old is gone.
    pub name: &'static str,
    /// The SQL.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal),+ $(,)?) => {
        /// Every migration, in order.
        pub const MIGRATIONS: &[Migration] = &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../../sql/migrations/", $name, ".sql")),
        }),+];
    };
}

migrations! {
    1 "0001_pre_foundation",
    2 "0002_pre_catalogue",
    3 "0003_pre_intake",
    4 "0004_pre_ledger",
    5 "0005_pre_arithmetic",
    6 "0006_pre_decisions",
    7 "0007_pre_views",
    8 "0008_pre_grants",
    9 "0009_pre_breaker",
    10 "0010_pre_dead_letters",
    11 "0011_pre_month_close",
    12 "0012_pre_timeline",
    13 "0013_pre_reconcile",
    14 "0014_pre_hold",
    15 "0015_pre_shadow",
    16 "0016_pre_console",
    17 "0017_pre_reading",
    18 "0018_pre_tracker",
    19 "0019_pre_retention",
    20 "0020_pre_views",
    21 "0021_pre_metrics",
    22 "0022_pre_alerts",
}

/// The SQL that makes the roles; run once by whoever may create roles.
pub const ROLES: &str = include_str!("../../../sql/roles.sql");

/// The runner's advisory lock.
const LOCK: i64 = 0x706f_7374_6d65_7465;

impl Migration {
    /// SHA-256 of the file, hexadecimal.
    #[must_use]
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Migrations that the database does not have yet, in order.
///
/// # Errors
/// [`Error::Schema`] if the database has a migration this program does not know, or one with other content.
pub async fn pending(database: &Database) -> Result<Vec<&'static Migration>, Error> {
    let client = database.client().await?;
    let exists = client.query_typed("select to_regclass('postmeter.migration') is not null", &[]).await?;
    if !exists.first().expect("one row").try_get::<_, bool>(0)? {
        return Ok(MIGRATIONS.iter().collect());
    }
    let rows =
        client.query_typed("select version, name, checksum from postmeter.migration order by version", &[]).await?;
    let mut applied = 0_usize;
    for row in rows {
        let (version, name, checksum): (i32, &str, Option<&str>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let known = MIGRATIONS.get(applied).filter(|m| m.version == version && m.name == name);
        let Some(known) = known else {
            return Err(Error::Schema(format!(
                "the database has migration {name}, which this program does not know: use the program that belongs to it, or a newer one"
            )));
        };
        if checksum.is_some_and(|sum| sum != known.checksum()) {
            return Err(Error::Schema(format!(
                "migration {name} was applied with other content than this program has"
            )));
        }
        applied += 1;
    }
    Ok(MIGRATIONS.iter().skip(applied).collect())
}

/// Refuses a database whose schema is not exactly this program's.
///
/// # Errors
/// [`Error::Schema`] with what to do.
pub async fn check(database: &Database) -> Result<(), Error> {
    let pending = pending(database).await?;
    match pending.first() {
        None => Ok(()),
        Some(first) => Err(Error::Schema(format!(
            "the database lacks migration {} and {} after it: run `postmeter migrate`",
            first.name,
            pending.len() - 1
        ))),
    }
}

/// Applies what is pending and returns the names. Waits while another runner is at work.
///
/// # Errors
/// [`Error::Schema`] as [`pending`]; otherwise what Postgres says about the failing file.
pub async fn apply(database: &Database) -> Result<Vec<&'static str>, Error> {
    let mut client = database.client().await?;
    // polled from here: a session that waits inside the server would block CREATE INDEX CONCURRENTLY of later migrations
    while !client
        .query_typed("select pg_try_advisory_lock($1)", &[(&LOCK, tokio_postgres::types::Type::INT8)])
        .await?
        .first()
        .expect("one row")
        .try_get::<_, bool>(0)?
    {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut names = Vec::new();
    let result = async {
        for migration in pending(database).await? {
            let transaction = client.transaction().await?;
            transaction.batch_execute("set local lock_timeout = '5s'").await?;
            transaction.batch_execute(migration.sql).await?;
            transaction
                .execute_typed(
                    "update postmeter.migration set checksum = $2 where version = $1",
                    &[
                        (&migration.version, tokio_postgres::types::Type::INT4),
                        (&migration.checksum(), tokio_postgres::types::Type::TEXT),
                    ],
                )
                .await?;
            transaction.commit().await?;
            names.push(migration.name);
        }
        Ok(())
    }
    .await;
    client.query_typed("select pg_advisory_unlock($1)", &[(&LOCK, tokio_postgres::types::Type::INT8)]).await?;
    result.map(|()| names)
}

/// Drops the schema with everything in it, if its purpose is test or demo.
///
/// # Errors
/// [`Error::Schema`] on a production database.
pub async fn drop_schema(database: &Database) -> Result<(), Error> {
    if crate::catalogue::purpose(database).await? == "production" {
        return Err(Error::Schema("the schema of a production database is not dropped".to_owned()));
    }
    Ok(database.client().await?.batch_execute("drop schema postmeter cascade").await?)
}
