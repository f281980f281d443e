//! What an SRE would ask the database: one question a file, answers as they are, judged by whoever asks.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::query::{Query, Tx, query};
use crate::{Database, Error, migrate};

const ROLES: Query = query!("health_roles", []);
const PURPOSE: Query = query!("health_purpose", [TEXT]);

/// Makes the roles; harmless if they are there.
///
/// # Errors
/// As Postgres says: most of all, that this user may not create roles.
pub async fn create_roles(database: &Database) -> Result<(), Error> {
    database.batch(migrate::ROLES).await
}

/// The roles that are not there.
///
/// # Errors
/// As Postgres says.
pub async fn missing_roles(database: &Database) -> Result<Vec<String>, Error> {
    database.one(&ROLES, &[]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Says what the database is for: production, test or demo.
///
/// # Errors
/// [`Error::Refused`] for production while the clock is moved.
pub async fn set_purpose(database: &Database, purpose: &str) -> Result<(), Error> {
    database.one(&PURPOSE, &[&purpose]).await.map(drop)
}

pub(crate) mod sealed {
    /// Which question an answer answers; rows of one JSON object each.
    pub trait Asked {
        const QUESTION: &'static str;
    }
}

/// A row of an answer; its fields are explained where the question is, in `sql/queries/health_*.sql`.
pub trait Answer: sealed::Asked + DeserializeOwned {}

impl<T: sealed::Asked + DeserializeOwned> Answer for T {}

/// Asks the question that `T` answers, for at most `within`. `None`: it took longer and was given up.
///
/// # Errors
/// As Postgres says.
pub async fn ask<T: Answer>(database: &Database, within: Duration) -> Result<Option<Vec<T>>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, &format!("set local statement_timeout = {}", within.as_millis())).await?;
    match tx.rows(&Query { sql: T::QUESTION, types: &[] }, &[]).await {
        Err(Error::Again { .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(rows) => {
            let read = |row: &tokio_postgres::Row| {
                let answer = serde_json::from_value(row.try_get::<_, Value>(0)?);
                answer.map_err(|error| Error::Unexpected { code: String::new(), message: error.to_string() })
            };
            rows.iter().map(read).collect::<Result<Vec<T>, Error>>().map(Some)
        }
    }
}

macro_rules! answers {
    ($(
        $(#[$doc:meta])*
        $answer:ident from $question:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $answer {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl $crate::health::sealed::Asked for $answer {
            const QUESTION: &'static str = $crate::query::query!($question, []).sql;
        }
    )+};
}
pub(crate) use answers;

answers! {
    /// The server and its settings; one row.
    Server from "health_server" {
        /// `server_version_num`.
        version: i32,
        /// It is a standby.
        standby: bool,
        /// Its settings, by name.
        settings: std::collections::BTreeMap<String, String>,
        /// This connection is encrypted.
        encrypted: bool,
        /// This connection came through the network.
        remote: bool,
        /// We may see what others' sessions do.
        sees_sessions: bool,
    }
    /// What the database is for, and its clock; one row.
    Clock from "health_clock" {
        /// production, test or demo.
        purpose: String,
        /// Seconds by which `postmeter.clock()` differs from the server's.
        shift_seconds: f64,
        /// It stands still.
        frozen: bool,
    }
    /// Partitions of a table; one row each.
    Partitions from "health_partitions" {
        /// The table.
        parent: String,
        /// There is one for this month (or day) and for the next.
        ahead: bool,
        /// Rows went to the default partition.
        spilled: bool,
    }
    /// Months of the ledger; one row.
    Ledger from "health_ledger" {
        /// For how long it is kept; none: for ever.
        retention: Option<String>,
        /// The oldest month that was not exported, if it is finished.
        to_export: Option<String>,
        /// Months that are exported and not dropped.
        to_drop: i64,
        /// The oldest month that was not exported, if it is not finished though old enough, and why.
        unfinished: Option<String>,
    }
    /// Workers by how they are; one row each.
    Fellow from "health_workers" {
        /// Its name.
        name: String,
        /// Its program's version.
        version: String,
        /// alive, lost (its lease is over and nobody has taken over yet) or taken_over (within the last hour).
        state: String,
        /// Seconds since its last heartbeat.
        silent_seconds: f64,
    }
    /// Subscriptions by what is wrong with them; one row each.
    BadSubscriptions from "health_subscriptions" {
        /// invalid, unread or without_dimension.
        fault: String,
        /// How many.
        count: i64,
        /// One of them.
        org: String,
        /// Its product.
        product: String,
        /// Why, if it is invalid.
        reason: Option<String>,
    }
    /// Held usage by reason; one row each.
    Held from "health_held" {
        /// The reason.
        reason: String,
        /// How many.
        count: i64,
        /// Orgs concerned.
        orgs: i64,
        /// Seconds until the first deadline passes; below zero: it has.
        first_deadline_seconds: Option<f64>,
    }
    /// The outbox; one row.
    Backlog from "health_outbox" {
        /// Entries, counted up to 100,000.
        entries: i64,
        /// Seconds since the oldest was recorded.
        oldest_seconds: Option<f64>,
        /// Entries that a worker had in hand while it died folding, and that are not through yet.
        suspects: i64,
    }
    /// What is due although its deadline has passed, by destination; one row each.
    Overdue from "health_overdue" {
        /// The destination.
        destination: String,
        /// How many.
        count: i64,
    }
    /// What does not go through while the rest goes on; one row a kind and name.
    Isolated from "health_isolation" {
        /// `set_aside`, `failing` or `locked`: members of a step; `step`: a step as a whole; `hour`: open hours that must be
        /// cut at once.
        kind: String,
        /// The step; of hours the destination.
        name: String,
        /// How many; of a step, how often in a row; of hours there is a row without any.
        count: i64,
        /// Seconds since the first is so.
        seconds: f64,
        /// One of them.
        example: String,
        /// The last error, who holds the lock, or the deadline.
        why: String,
    }
    /// Remittances that need a person, by destination and status; one row each.
    Unsettled from "health_unsettled" {
        /// The destination.
        destination: String,
        /// unknown, conflict, held, rejected or expired.
        status: String,
        /// How many.
        count: i64,
        /// Of these, those that may have been billed.
        maybe_billed: i64,
    }
    /// Meters whose balance does not close; one row.
    Unbalanced from "health_balance" {
        /// Meters.
        checked: i64,
        /// Of these, those whose difference is not zero.
        open: i64,
        /// One of them.
        example: Option<String>,
    }
    /// Orgs' metrics whose usage does not add up; one row.
    UsageUnbalanced from "health_usage_balance" {
        /// Orgs' metrics.
        checked: i64,
        /// Of these, those whose difference is not zero.
        open: i64,
        /// One of them.
        example: Option<String>,
    }
    /// Sessions, slots and prepared transactions that hold back the clean-up of dead rows; one row each.
    Holder from "health_sessions" {
        /// session, idle (a session idle in transaction), prepared or slot.
        what: String,
        /// Its pid or name.
        name: String,
        /// The application, user or plugin.
        owner: String,
        /// For how long, in seconds; unknown for a slot.
        seconds: Option<f64>,
    }
    /// What the database or a user with a role of ours sets for its sessions; one row each.
    Default from "health_defaults" {
        /// The user; none: the database, for everybody.
        user: Option<String>,
        /// For this database only.
        here: bool,
        /// This database.
        database: String,
        /// The setting.
        name: String,
        /// Its value, as it was written.
        value: String,
    }
    /// Somebody who may create where others look functions up; one row each.
    MayCreate from "health_grants" {
        /// postmeter or public.
        schema: String,
        /// Who; public: everybody.
        grantee: String,
    }
    /// A trigger of ours that does not fire as it should; one row each.
    Trigger from "health_triggers" {
        /// Its table.
        table: String,
        /// Its name.
        trigger: String,
        /// When it fires: never, not for replicas, for replicas only, or gone.
        fires: String,
    }
    /// A publication that sends the outbox or the identities; one row for each of the two.
    Publication from "health_publications" {
        /// Its name.
        publication: String,
        /// The table.
        table: String,
        /// It is for all tables.
        everything: bool,
        /// It names the table; otherwise its schema.
        named: bool,
    }
    /// A function in our schema that looks names up on its caller's path; one row each.
    Unpinned from "health_functions" {
        /// Its name and arguments.
        function: String,
        /// function or procedure.
        kind: String,
        /// It runs with its owner's rights.
        definer: bool,
    }
    /// A collation whose version has changed; one row each.
    Collation from "health_collations" {
        /// Its name.
        collation: String,
        /// The version that indexes were made with.
        then: String,
        /// The version that they are read with.
        now: String,
    }
    /// The database's own collation, if its version has changed; PostgreSQL 15 and later.
    DatabaseCollation from "health_collation_of_database" {
        /// The database.
        database: String,
        /// The version that indexes were made with.
        then: String,
        /// The version that they are read with.
        now: String,
    }
}
