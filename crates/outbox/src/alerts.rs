//! Alerts as rows: one question a file (`sql/queries/alert_*.sql`), asked by whoever comes first when its time has come.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::corrections::Decider;
use crate::query::{Query, Tx, query};
use crate::{Database, Error};

const TAKE: Query = query!("alert_take", [TEXT_ARRAY, BOOL]);
const STANDING: Query = query!("alert_standing", [TEXT]);
const NOTE: Query = query!("alert_note", [TEXT, JSONB]);
const FAILURE: Query = query!("alert_failure", [TEXT, TEXT]);
const MAKE_POST: Query = query!("alert_make_post", [FLOAT8]);
const TAKE_POST: Query = query!("alert_take_post", [FLOAT8]);
const SETTLE_POST: Query = query!("alert_settle_post", [INT8, INT4, TEXT]);
const READ: Query = query!("alert_read", [BOOL]);
const SET: Query = query!("alert_set", [TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, BOOL]);
const RULES: Query = query!("alert_rules", []);
const UNDELIVERED: Query = query!("alert_undelivered", []);

macro_rules! questions {
    ($($name:literal from $file:literal),+ $(,)?) => {
        /// Every alert, by name.
        pub const NAMES: &[&str] = &[$($name),+];

        fn question(name: &str) -> Option<Query> {
            match name {
                $($name => Some(query!($file, [])),)+
                _ => None,
            }
        }
    };
}

questions! {
    "balance_not_zero" from "alert_balance_not_zero",
    "breaker_open" from "alert_breaker_open",
    "buyer_refused" from "alert_buyer_refused",
    "conflict" from "alert_conflict",
    "contradiction" from "alert_contradiction",
    "dead_letters" from "alert_dead_letters",
    "destination_paused" from "alert_destination_paused",
    "fleet_incomplete" from "alert_fleet_incomplete",
    "held_without_subscription" from "alert_held_without_subscription",
    "hour_not_cut" from "alert_hour_not_cut",
    "implausible_usage" from "alert_implausible_usage",
    "installation_unclear" from "alert_installation_unclear",
    "key_stuck" from "alert_key_stuck",
    "locked_out" from "alert_locked_out",
    "missing_hours" from "alert_missing_hours",
    "no_worker_alive" from "alert_no_worker_alive",
    "outbox_oldest_entry" from "alert_outbox_oldest_entry",
    "partition_ahead_missing" from "alert_partition_ahead_missing",
    "poison" from "alert_poison",
    "requests_never_finished" from "alert_requests_never_finished",
    "set_aside" from "alert_set_aside",
    "snapshot_pins_horizon" from "alert_snapshot_pins_horizon",
    "step_failing" from "alert_step_failing",
    "stray_entries" from "alert_stray_entries",
    "timeline_went_back" from "alert_timeline_went_back",
    "unknown_unresolved" from "alert_unknown_unresolved",
    "usage_will_miss_deadline" from "alert_usage_will_miss_deadline",
}

/// An alert that a look opened or cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// It is open now; else it was cleared.
    pub opened: bool,
    /// What it is about; empty: the whole.
    pub subject: String,
    /// critical or warning.
    pub severity: String,
    /// How many things it is about.
    pub count: i64,
    /// What is so, in a sentence.
    pub summary: String,
}

/// Looks at those of the named alerts whose time has come (`always`: at all of them), each in a transaction of its own
/// with its own limit of time. What cannot be looked at, or what was seen and cannot be noted, keeps no other from its turn.
///
/// # Errors
/// As Postgres says, when it is away, or when a rule's turn could not be noted: all the others had theirs.
pub async fn look(database: &Database, names: &[&str], always: bool) -> Result<Vec<Change>, Error> {
    let mut left: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let (mut changes, mut unnoted) = (Vec::new(), None);
    while !left.is_empty() {
        let mut session = database.session().await?;
        let tx = Tx::begin(&mut session, "").await?;
        let rows = tx.rows(&TAKE, &[&left, &always]).await?;
        let Some(row) = rows.first() else { break };
        let (name, within): (String, i64) = (row.try_get("name")?, row.try_get("within_ms")?);
        left.retain(|other| *other != name);
        let looked = async {
            let seen = look_at(&tx, &name, within).await?;
            tx.commit().await?;
            Ok::<_, Error>(seen)
        };
        match looked.await {
            Ok(seen) => changes.extend(seen),
            Err(error) if error.is_of_connection() => return Err(error),
            Err(error) => {
                drop(session);
                // the rule's own row says why, if it can be written
                if database.one(&FAILURE, &[&name, &Some(error.to_string())]).await.is_err() {
                    unnoted = Some(error);
                }
            }
        }
    }
    unnoted.map_or(Ok(changes), Err)
}

async fn look_at(tx: &Tx<'_>, name: &str, within_ms: i64) -> Result<Vec<Change>, Error> {
    let Some(question) = question(name) else { return Ok(Vec::new()) };
    // a table that is locked is so for every rule that reads it
    let limits = format!("set local statement_timeout = {within_ms}; set local lock_timeout = '1s'");
    tx.batch(&format!("savepoint look; {limits}")).await?;
    let mut failure = None;
    let mut found = Vec::new();
    match tx.rows(&question, &[]).await {
        Ok(rows) => {
            for row in &rows {
                let summary: String = row.try_get("summary")?;
                let Some(subject) = row.try_get::<_, Option<String>>("subject")? else {
                    failure = Some(summary);
                    continue;
                };
                let (count, details): (i64, Value) = (row.try_get("count")?, row.try_get("details")?);
                found.push(json!({ "subject": subject, "count": count, "summary": summary, "details": details }));
            }
        }
        Err(error) if error.is_of_connection() => return Err(error),
        Err(Error::Retryable { code, .. }) if code == "57014" => {
            failure = Some(format!("it takes more than {} s", within_ms / 1000));
        }
        Err(Error::Retryable { code, .. }) if code == "55P03" => {
            failure = Some("a table that it reads is locked: `postmeter doctor` says by whom".to_owned());
        }
        Err(error) => failure = Some(error.to_string()),
    }
    let failed_whole = failure.is_some() && found.is_empty();
    if failure.is_some() && !failed_whole {
        // what could not be seen this time is not over for that
        let standing = tx.rows(&STANDING, &[&name]).await?;
        for row in &standing {
            let subject: String = row.try_get("subject")?;
            if found.iter().all(|seen| seen["subject"] != subject.as_str()) {
                let (count, summary): (i64, String) = (row.try_get("count")?, row.try_get("summary")?);
                let details: Value = row.try_get("details")?;
                found.push(json!({ "subject": subject, "count": count, "summary": summary, "details": details }));
            }
        }
    }
    tx.batch(if failed_whole {
        "rollback to savepoint look"
    } else {
        "set local statement_timeout = 0; set local lock_timeout = '5s'"
    })
    .await?;
    tx.rows(&FAILURE, &[&name, &failure]).await?;
    if failed_whole {
        return Ok(Vec::new());
    }
    let rows = tx.rows(&NOTE, &[&name, &Value::Array(found)]).await?;
    let change = |row: &tokio_postgres::Row| {
        Ok(Change {
            name: name.to_owned(),
            opened: row.try_get::<_, &str>("change")? == "opened",
            subject: row.try_get("subject")?,
            severity: row.try_get("severity")?,
            count: row.try_get("count")?,
            summary: row.try_get("summary")?,
        })
    };
    rows.iter().map(change).collect()
}

/// An alert as it stands.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Alert {
    /// Order of opening.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it is about; empty: the whole.
    pub subject: String,
    /// critical or warning.
    pub severity: String,
    /// When it was seen first.
    pub opened_at: Timestamp,
    /// When it was seen last.
    pub last_seen_at: Timestamp,
    /// When it was not seen any more; `None`: it is open.
    pub cleared_at: Option<Timestamp>,
    /// How many things it is about.
    pub count: i64,
    /// What is so, in a sentence.
    pub summary: String,
    /// Examples, and what else helps.
    pub details: Value,
}

/// The open alerts, or with `all` also the cleared ones: the newest 1000, open and critical ones first.
///
/// # Errors
/// As Postgres says.
pub async fn read(database: &Database, all: bool) -> Result<Vec<Alert>, Error> {
    let read = |row: &tokio_postgres::Row| {
        Ok(Alert {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            subject: row.try_get("subject")?,
            severity: row.try_get("severity")?,
            opened_at: row.try_get("opened_at")?,
            last_seen_at: row.try_get("last_seen_at")?,
            cleared_at: row.try_get("cleared_at")?,
            count: row.try_get("count")?,
            summary: row.try_get("summary")?,
            details: row.try_get("details")?,
        })
    };
    database.one(&READ, &[&all]).await?.iter().map(read).collect()
}

/// A rule that nobody can look at as it should be.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Blind {
    /// The rule.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Rules that are not looked at: switched off, failed, or not asked for ten times as long as they should be.
///
/// # Errors
/// As Postgres says.
pub async fn blind(database: &Database) -> Result<Vec<Blind>, Error> {
    let mut blind = Vec::new();
    for row in database.one(&RULES, &[]).await? {
        let (name, enabled, failure): (String, bool, Option<String>) =
            (row.try_get("name")?, row.try_get("enabled")?, row.try_get("failure")?);
        let (checked, every): (Option<f64>, f64) = (row.try_get("checked_seconds")?, row.try_get("every_seconds")?);
        let why = match (enabled, failure) {
            (false, _) => "switched off (alert_rule.enabled)".to_owned(),
            (true, Some(failure)) => failure,
            (true, None) if checked.is_none_or(|checked| checked > 10.0 * every) => {
                "nobody looks: a running worker does".to_owned()
            }
            _ => continue,
        };
        blind.push(Blind { name, why });
    }
    Ok(blind)
}

/// A post to the webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Its number.
    pub number: i64,
    /// Its id for the receiver, the same at every try.
    pub id: uuid::Uuid,
    /// What is posted, to the letter.
    pub body: String,
    /// The real time in seconds, for the signature.
    pub seconds: i64,
}

/// Makes one post of all that changed; `false`: nothing did, or the last one has not arrived yet.
///
/// # Errors
/// As Postgres says.
pub async fn make_post(database: &Database, repeat_seconds: f64) -> Result<bool, Error> {
    let rows = database.one(&MAKE_POST, &[&repeat_seconds]).await?;
    Ok(rows.first().expect("one row").try_get::<_, Option<uuid::Uuid>>(0)?.is_some())
}

/// Takes the post that waits for so many seconds.
///
/// # Errors
/// As Postgres says.
pub async fn take_post(database: &Database, lease_seconds: f64) -> Result<Option<Post>, Error> {
    let rows = database.one(&TAKE_POST, &[&lease_seconds]).await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(Post {
            number: row.try_get("number")?,
            id: row.try_get("id")?,
            body: row.try_get("body")?,
            seconds: row.try_get("seconds")?,
        })
    };
    rows.first().map(read).transpose()
}

/// What is to change of a rule; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// critical or warning.
    pub severity: Option<String>,
    /// How often it is looked at, as Postgres reads spans of time.
    pub every: Option<String>,
    /// How long a thing may be so before it is an alert.
    pub patience: Option<String>,
    /// How long a look may take.
    pub within: Option<String>,
    /// Whether anybody looks.
    pub enabled: Option<bool>,
}

/// Changes a rule, as a decision. `false`: it was so already.
///
/// # Errors
/// [`Error::Refused`]: no such rule (PM033), or a value that it cannot have (PM037).
pub async fn set(database: &Database, name: &str, rule: &Rule, by: Decider<'_>) -> Result<bool, Error> {
    let Rule { severity, every, patience, within, enabled } = rule;
    let rows = database.one(&SET, &[&name, &by.who, &by.why, severity, every, patience, within, enabled]).await?;
    Ok(rows.first().expect("one row").try_get(0)?)
}

/// Notes what the receiver answered; `error` is `None` when the post has arrived.
///
/// # Errors
/// As Postgres says.
pub async fn settle_post(
    database: &Database,
    number: i64,
    status: Option<u16>,
    error: Option<&str>,
) -> Result<(), Error> {
    database.one(&SETTLE_POST, &[&number, &status.map(i32::from), &error]).await.map(drop)
}

/// The post that has failed and waits: when it was made, how often it was sent, why it failed.
///
/// # Errors
/// As Postgres says.
pub async fn undelivered(database: &Database) -> Result<Option<(Timestamp, i32, String)>, Error> {
    let rows = database.one(&UNDELIVERED, &[]).await?;
    rows.first().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).transpose()
}
