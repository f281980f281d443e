//! Applying the migrations: plain SQL files, in order, each in its own transaction, one runner at a time.

mod adopt;
mod alone;
mod head;
mod steps;

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

pub use self::adopt::EARLIER;
pub use self::head::{Head, Lock};
use crate::ask::{Limits, Told};
use crate::query::Tx;
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
    1 "0001_pre_baseline",
}

/// The SQL that makes the roles; run once by whoever may create roles.
pub const ROLES: &str = include_str!("../../../sql/roles.sql");

/// What was set aside is tried again at once: a new program or schema may have cured it. An older list has no such thing.
const TRY_AGAIN: &str = "do $$ begin
    if to_regprocedure('postmeter.try_setbacks_again()') is not null then
        perform postmeter.try_setbacks_again();
    end if;
end $$";

/// What a worker's `knows` counts before the baseline's numbers: those of the migrations of before, which it began
/// with.
const BEFORE: i32 = 70;

/// What a worker of this program writes down as the newest migration that it knows.
#[must_use]
pub(crate) fn knows() -> Option<i32> {
    MIGRATIONS.last().map(|migration| BEFORE + migration.version)
}

/// How often a step is tried that waits too long for a lock; each try gives way to whoever queued behind it.
const TRIES: u32 = 10;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

impl Migration {
    /// SHA-256 of the file, hexadecimal.
    #[must_use]
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// It runs after the old programs are gone; the new one starts without it.
    #[must_use]
    pub fn is_post(&self) -> bool {
        self.name.contains("_post_")
    }

    /// What its head states.
    ///
    /// # Errors
    /// [`Error::Schema`]: it states nothing, or badly.
    pub fn head(&self) -> Result<Head, Error> {
        Head::read(self.sql).map_err(|why| Error::Schema(format!("migration {}: {why}", self.name)))
    }

    /// Which programs work on the schema after it; without a word about it, only those that know it.
    fn programs_from(&self) -> i32 {
        self.head().map_or(self.version, |head| head.programs_from)
    }
}

/// How a database's schema and a program stand to each other.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Migrations that the database does not have yet, in order.
    pub pending: Vec<Migration>,
    /// Migrations that the database has and the program does not know; it works on them nevertheless.
    pub newer: Vec<String>,
    /// It has the migrations of before the baseline: `postmeter migrate` compares it with the baseline, which then
    /// counts
    /// as applied.
    pub is_earlier: bool,
}

impl State {
    /// There is no schema yet.
    #[must_use]
    pub fn is_new(&self, known: &[Migration]) -> bool {
        !self.is_earlier && self.pending.len() == known.len()
    }
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Migrated {
    /// What was applied.
    pub applied: Vec<&'static str>,
    /// Why `_post_` steps are left for later, if they are: older programs still work.
    pub waits: Option<String>,
}

/// Compares a database with what a program knows.
///
/// # Errors
/// [`Error::Schema`] if the database has a migration of other content, or one that this program neither knows nor can
/// work with.
pub async fn state(database: &Database, known: &[Migration]) -> Result<State, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "set local lock_timeout = 0").await?;
    state_in(&tx, known).await
}

/// The same for somebody who waits: within limits.
///
/// # Errors
/// As [`state`].
pub async fn state_within(database: &Database, known: &[Migration], limits: Limits) -> Result<Told<State>, Error> {
    let asking = async {
        let mut session = database.session().await?;
        let Some(settings) = limits.settings() else { return Ok(Told::Silent) };
        let tx = Tx::begin(&mut session, &settings).await?;
        state_in(&tx, known).await.map(Told::Answer)
    };
    limits.keep(asking).await
}

async fn state_in(tx: &Tx<'_>, known: &[Migration]) -> Result<State, Error> {
    let exists = tx.composed("select to_regclass('postmeter.migration') is not null", &[]).await?;
    if !exists.first().expect("one row").try_get::<_, bool>(0)? {
        return Ok(State { pending: known.to_vec(), ..State::default() });
    }
    // a schema from before there was such a column is told by its checksums
    let all = "select version, name, checksum, (to_jsonb(m) ->> 'programs_from')::integer
               from postmeter.migration m order by version";
    let newest = known.last().map_or(0, |migration| migration.version);
    let mut state = State::default();
    let mut applied = 0_usize;
    let rows: Vec<_> = tx.composed(all, &[]).await?;
    let names = rows.iter().map(|row| row.try_get(1)).collect::<Result<Vec<&str>, _>>()?;
    if adopt::is_earlier(&names)? {
        return Ok(State { pending: known.to_vec(), is_earlier: true, ..State::default() });
    }
    for row in &rows {
        let (version, name, checksum): (i32, &str, Option<&str>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let programs_from: Option<i32> = row.try_get(3)?;
        if version > newest {
            if programs_from.is_none_or(|from| from > newest) {
                return Err(Error::Schema(too_new(name, programs_from, known)));
            }
            state.newer.push(name.to_owned());
            continue;
        }
        let Some(expected) = known.get(applied).filter(|m| m.version == version && m.name == name) else {
            return Err(Error::Schema(format!(
                "the database has migration {name}, which this program does not know: use the program that belongs to it"
            )));
        };
        if checksum.is_some_and(|sum| sum != expected.checksum()) {
            return Err(Error::Schema(format!(
                "migration {name} was applied with other content than this program has"
            )));
        }
        applied += 1;
    }
    state.pending = known[applied..].to_vec();
    match state.newer.first().zip(state.pending.first()) {
        Some((newer, lacks)) => Err(Error::Schema(format!(
            "the database has migration {newer} and lacks {}: apply it with the program that has both",
            lacks.name
        ))),
        None => Ok(state),
    }
}

/// Why a program that is too old for a migration does not start, and what to do.
fn too_new(name: &str, programs_from: Option<i32>, known: &[Migration]) -> String {
    let newest = known.last().map_or("none", |migration| migration.name);
    let who = programs_from.map_or_else(
        || "it does not say that older programs work on it".to_owned(),
        |from| format!("it needs programs that know migration {from:04} or a later one"),
    );
    format!(
        "the database has migration {name}, which this program does not know ({newest} is its newest), and {who}: \
         use the program that belongs to the database, or a newer one"
    )
}

/// Migrations that the database does not have yet, in order.
///
/// # Errors
/// As [`state`].
pub async fn pending(database: &Database) -> Result<Vec<Migration>, Error> {
    Ok(state(database, MIGRATIONS).await?.pending)
}

/// Refuses a database that this program cannot work on: one that lacks what runs before it, or has what came too long
/// after it. What runs after the old programs are gone may be missing; what only adds may be there already.
///
/// # Errors
/// [`Error::Schema`] with what to do.
pub async fn check(database: &Database) -> Result<(), Error> {
    nothing_lacks(&pending(database).await?)
}

/// The same for somebody who waits: within limits.
pub(crate) async fn check_within(database: &Database, limits: Limits) -> Result<Told<()>, Error> {
    state_within(database, MIGRATIONS, limits).await?.and_then(|state| nothing_lacks(&state.pending))
}

fn nothing_lacks(pending: &[Migration]) -> Result<(), Error> {
    let lacking = pending.iter().filter(|migration| !migration.is_post()).count();
    match pending.iter().find(|migration| !migration.is_post()) {
        None => Ok(()),
        Some(first) => Err(Error::Schema(format!(
            "the database lacks migration {} and {} after it: run `postmeter migrate`",
            first.name,
            lacking - 1
        ))),
    }
}

/// Refuses a database that could not keep every text: usage comes in UTF-8 through every door, and so do our own comments.
///
/// # Errors
/// [`Error::Schema`] names the database's encoding.
pub async fn keeps_any_text(client: &Client) -> Result<(), Error> {
    let asked = "select pg_catalog.current_setting('server_encoding'), pg_catalog.current_database()::pg_catalog.text";
    let rows = client.query_typed(asked, &[]).await?;
    let row = rows.first().expect("two settings");
    let (encoding, name): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Error::Schema(format!(
        "the database {name} has the encoding {encoding}, which cannot keep every text, and Postmeter needs UTF8: make \
         another one (create database … encoding 'UTF8' template template0)"
    )))
}

/// Applies what is pending and returns the names. Waits while another runner is at work.
///
/// # Errors
/// As [`run`].
pub async fn apply(database: &Database) -> Result<Vec<&'static str>, Error> {
    Ok(run(database, MIGRATIONS).await?.applied)
}

/// Applies those of a list that are pending, one after the other; what was applied stays if a later one fails, and the
/// next run goes on there. Waits while another runner is at work. Leaves `_post_` steps while workers live that are too
/// old for them.
///
/// # Errors
/// [`Error::Schema`] as [`state`], through a pooler, or if a `_pre_` step would break a living worker; otherwise what
/// Postgres says about the failing file.
pub async fn run(database: &Database, known: &[Migration]) -> Result<Migrated, Error> {
    if database.is_pooled() {
        return Err(Error::Schema(
            "migrations hold a lock of their session, which a pooler in transaction mode cannot keep: name the server \
             itself (direct_url in [database], or POSTMETER_DATABASE_DIRECT_URL)"
                .to_owned(),
        ));
    }
    let mut client = database.own_session().await?;
    keeps_any_text(&client).await?;
    alone::begin(&client).await?;
    let result = async {
        let mut done = Migrated::default();
        let State { mut pending, is_earlier, .. } = state(database, known).await?;
        if is_earlier {
            let baseline = pending.remove(0);
            adopt::adopt(&mut client, &baseline).await?;
            done.applied.push(baseline.name);
        }
        for (index, migration) in pending.iter().enumerate() {
            if let Some(who) = too_old(&client, migration).await? {
                let blocks = pending[index..].iter().any(|later| !later.is_post());
                let waits = format!(
                    "{} waits: it needs programs that know migration {:04} or a later one, and {who}: stop what is \
                     older, and run `postmeter migrate` again",
                    migration.name,
                    migration.programs_from()
                );
                if blocks {
                    return Err(Error::Schema(waits));
                }
                done.waits = Some(waits);
                break;
            }
            patiently(&mut client, migration).await?;
            done.applied.push(migration.name);
        }
        if !done.applied.is_empty() {
            client.batch_execute(TRY_AGAIN).await?;
        }
        Ok(done)
    }
    .await;
    alone::end(&client).await?;
    result
}

/// A living worker that does not work on the schema after a migration, and what it knows; none if there is none.
async fn too_old(client: &Client, migration: &Migration) -> Result<Option<String>, Error> {
    let exists = client.query_typed("select to_regclass('postmeter.worker') is not null", &[]).await?;
    if !exists.first().expect("one row").try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let rows = client
        .query_typed(
            "select name, coalesce((to_jsonb(w) ->> 'knows')::integer, 0) from postmeter.worker w
             where stopped_at is null and reaped_at is null and lease_until > clock_timestamp()
               and coalesce((to_jsonb(w) ->> 'knows')::integer, 0) < $1
             order by 2, 1 limit 1",
            &[(&(BEFORE + migration.programs_from()), Type::INT4)],
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (name, knows): (&str, i32) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(match knows - BEFORE {
        newest @ 1.. => format!("worker {name} knows {newest:04}"),
        _ => format!("worker {name} is of before the baseline"),
    }))
}

/// Applies one step. Who waits for a lock makes others wait behind it: so it waits for a moment only, gives way, and
/// comes again.
async fn patiently(client: &mut Client, migration: &Migration) -> Result<(), Error> {
    let mut tries = 1;
    loop {
        let applied = match migration.head() {
            Ok(head) if !head.is_transaction => steps::apply(client, migration).await,
            _ => in_one(client, migration).await,
        };
        match applied {
            Err(Error::Retryable { message, .. }) if tries < TRIES => {
                tracing::info!(migration = migration.name, tries, "will be tried again: {message}");
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Applies one step in a transaction.
async fn in_one(client: &mut Client, migration: &Migration) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local lock_timeout = '5s'").await?;
    transaction.batch_execute(migration.sql).await?;
    sign(&transaction, migration).await?;
    Ok(transaction.commit().await?)
}

/// Writes down what was applied, beside the row that the file itself has written.
async fn sign(transaction: &Transaction<'_>, migration: &Migration) -> Result<(), Error> {
    let signed = transaction
        .execute_typed(
            "update postmeter.migration set checksum = $2, programs_from = $3 where version = $1",
            &[
                (&migration.version, Type::INT4),
                (&migration.checksum(), Type::TEXT),
                (&migration.programs_from(), Type::INT4),
            ],
        )
        .await?;
    if signed == 1 {
        return Ok(());
    }
    Err(Error::Schema(format!("migration {} does not end by writing its row into postmeter.migration", migration.name)))
}

/// Drops the schema with everything in it, if its purpose is test or demo.
///
/// # Errors
/// [`Error::Schema`] on a production database.
pub async fn drop_schema(database: &Database) -> Result<(), Error> {
    if crate::catalogue::purpose(database).await? == "production" {
        return Err(Error::Schema("the schema of a production database is not dropped".to_owned()));
    }
    database.batch("drop schema postmeter cascade").await
}
