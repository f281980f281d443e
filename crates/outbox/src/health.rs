//! What an SRE would ask the database: one question a file, answers as they are, judged by whoever asks.

pub use crate::ask::{Answer, Limits, Told, ask};
use crate::query::{Query, query};
use crate::{Database, Error, migrate};

const ROLES: Query = query!("health_roles", []);
const PURPOSE: Query = query!("health_purpose", [TEXT]);
const READY_WORKER: Query = query!("ready_worker", []);
const READY_CONSOLE: Query = query!("ready_console", []);

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

impl From<NotCut> for Isolated {
    fn from(hours: NotCut) -> Self {
        let NotCut { destination, count, seconds, example, why } = hours;
        Self { kind: "hour".to_owned(), name: destination, count, seconds, example, why }
    }
}

/// Whose main statements are to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Fold, cut, claim, settle and heartbeat.
    Worker,
    /// Tokens, usage and request statuses.
    Console,
}

/// Whether the database has the schema that this program knows, and the main statements of a part of it can pass.
///
/// # Errors
/// As [`migrate::check`], and as Postgres says of a statement; no lock and no limit of time is an error.
pub async fn ready(database: &Database, part: Part, limits: Limits) -> Result<Told<()>, Error> {
    let query = match part {
        Part::Worker => &READY_WORKER,
        Part::Console => &READY_CONSOLE,
    };
    match migrate::check_within(database, limits).await? {
        Told::Answer(()) => {}
        other => return Ok(other),
    }
    crate::ask::rows(database, query, &[], limits).await?.and_then(|_| Ok(()))
}

/// Who keeps tables of ours locked, in a sentence; empty: nobody does any more, or nobody could be asked.
pub async fn who_locks(database: &Database, limits: Limits) -> String {
    let Ok(Told::Answer(locks)) = ask::<Lock>(database, limits).await else { return String::new() };
    let said = locks.iter().map(|lock| {
        let Lock { table, session, mode, waits } = lock;
        let holds = if *waits { "waits for" } else { "holds" };
        format!("session {session} {holds} {mode} on {table}")
    });
    said.collect::<Vec<_>>().join(", ")
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

        impl $crate::ask::sealed::Asked for $answer {
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
    /// Tables of ours that others cannot write or read; one row a lock.
    Lock from "health_locks" {
        /// The table.
        table: String,
        /// The process id of the session.
        session: i64,
        /// The lock's mode, as in `pg_locks`.
        mode: String,
        /// It waits for the lock, and everybody who comes later waits behind it.
        waits: bool,
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
    /// Months or days of a partitioned table that somebody took out by hand; one row each.
    Detached from "health_detached" {
        /// The table.
        parent: String,
        /// The partition's name.
        name: String,
        /// detached (it is there, outside), pending (a detach was begun) or gone.
        fault: String,
        /// The command that cures it, where there is one.
        attach: Option<String>,
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
        /// The oldest billing month that was not exported with its remittances, if it is finished.
        billing_to_export: Option<String>,
        /// Billing months that are exported, whose ledger is dropped and whose remittances are not.
        billing_to_drop: i64,
        /// A billing month whose drop was begun and not finished.
        half_dropped: Option<String>,
    }
    /// Generations of identities; one row.
    Identities from "health_identities" {
        /// Since when the younger one is there; none: that is not known, and nobody can record.
        began_at: Option<String>,
        /// For how long they could have taken their turn; below zero: not yet.
        overdue_seconds: Option<f64>,
        /// What the older one takes, which a turn drops.
        bytes_before: i64,
        /// What the younger one takes.
        bytes: i64,
    }
    /// What keeps generations of identities from their turn; one row each.
    InTheWay from "health_in_the_way" {
        /// object (built on a table that turns drop), session or prepared (holds a lock).
        what: String,
        /// The object's kind and name, or the session's process id.
        name: String,
        /// The table.
        table: String,
        /// For how long its transaction is open, as far as we may see it.
        seconds: Option<f64>,
        /// What takes the object away.
        remedy: Option<String>,
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
        /// One of them, by its usage's id.
        example: String,
        /// Seconds until the first deadline passes; below zero: it has.
        first_deadline_seconds: Option<f64>,
    }
    /// The outbox; one row.
    Backlog from "health_outbox" {
        /// Entries, counted up to 100,000.
        entries: i64,
        /// Seconds since the oldest was recorded.
        oldest_seconds: Option<f64>,
    }
    /// What workers had in hand while they died folding, and what is not through yet; one row.
    Suspects from "health_suspects" {
        /// How many.
        entries: i64,
    }
    /// What is due although its deadline has passed, by destination; one row each.
    Overdue from "health_overdue" {
        /// The destination.
        destination: String,
        /// How many.
        count: i64,
    }
    /// Changes of subscriptions that deadlines have not followed for ten minutes; one row, if there are any.
    Behind from "health_deadlines" {
        /// So many changes.
        buyers: i64,
        /// Seconds since the first.
        oldest_seconds: f64,
        /// One of the buyers.
        example: String,
        /// Of these, those whose deadlines have followed, and that wait for older transactions to end.
        waiting: i64,
    }
    /// What does not go through while the rest goes on; one row a kind and name.
    Isolated from "health_isolation" {
        /// `set_aside`, `failing` or `locked`: members of a step; `step`: a step as a whole; `hour`: open hours that must be
        /// cut at once ([`NotCut`]).
        kind: String,
        /// The step; of hours the destination.
        name: String,
        /// How many; of a step, how often in a row.
        count: i64,
        /// Seconds since the first is so.
        seconds: f64,
        /// One of them.
        example: String,
        /// The last error, who holds the lock, or the deadline.
        why: String,
    }
    /// Open hours that should have been cut, by destination; one row each, also where there are none.
    NotCut from "health_hours" {
        /// The destination.
        destination: String,
        /// How many.
        count: i64,
        /// Seconds since the first should have been.
        seconds: f64,
        /// The one whose deadline comes first.
        example: String,
        /// That deadline.
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
        /// The first of them, by its number.
        example: i64,
        /// Of these, those that may have been billed.
        maybe_billed: i64,
    }
    /// What the last loss of commits leaves to people; one row a destination of which something is left.
    LostTime from "health_lost_time" {
        /// The destination.
        destination: String,
        /// It is paused.
        paused: bool,
        /// They recognise a repeat for a limited time only.
        is_forgetful: bool,
        /// When the loss was noticed.
        lost_at: String,
        /// The last change of the catalogue that survived.
        catalogue_changed_at: Option<String>,
        /// Open hours that were over then.
        hours_waiting: i64,
        /// Due remittances that may have been sent.
        sent_again: i64,
        /// Stuck remittances that may have been billed.
        maybe_billed: i64,
        /// Quantities of meters that may have been billed with another hour.
        withheld: i64,
        /// Settled remittances that may have been reopened.
        doubts: i64,
        /// Usages that were too late and may have been billed with another hour.
        usage_held: i64,
        /// Duplicates of which they did not say how much they hold.
        unconfirmed: i64,
    }
    /// What marketplaces say otherwise than it was settled, and nobody has judged; one row.
    Contradicted from "health_contradictions" {
        /// How many.
        count: i64,
        /// The number of the first.
        first: Option<i64>,
        /// The first can be counted as they say: it is about one remittance as that stands.
        as_theirs: bool,
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
    /// As of when the balance is proven; one row. Times are texts, in UTC.
    Proven from "health_proof" {
        /// As of when all that had been written was proven; none: never yet.
        checked_at: Option<String>,
        /// The whole ledger was read between this time
        whole_from: Option<String>,
        /// and this one; none: not yet.
        whole_until: Option<String>,
        /// Since when it is being read again; none: its turn has not come.
        again_since: Option<String>,
        /// What does not close; none: never proven yet.
        open: Option<i64>,
        /// One of them.
        example: Option<String>,
        /// Meters that were written to since.
        moved: i64,
        /// Meters that are being read again whole.
        anew: i64,
        /// No worker has proven what was written for a day.
        unchecked: bool,
        /// It is longer ago than it should be, that or the whole ledger.
        stale: bool,
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
