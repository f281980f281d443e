//! The catalogue: as the worker reads it, and as people edit it (`edit`).

mod edit;

use std::time::Duration;

use remittance::{Policy, RetrySchedule};
use serde_json::Value;
use tokio_postgres::Row;

use crate::claim::{CallLimits, Rules};
use crate::query::{Query, query};
use crate::{Database, Error};

pub use edit::{Changes, Edit, Editor, Kind, Months, Move, Moves, Stored};

const DESTINATIONS: Query = query!("catalogue_destinations", []);
const UNREAD: Query = query!("catalogue_unread", []);
const READ: Query = query!("catalogue_read", [INT8, TEXT, TEXT, TEXT, TEXT]);
const SETTING: Query = query!("setting", []);
const LOCK: Query = query!("catalogue_lock", []);
const SHADOW_GATE: Query = query!("catalogue_shadow_gate", [BOOL, TEXT_ARRAY]);
const CLOCK: Query = query!("clock", []);
const METERED: Query = query!("catalogue_metered", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY]);
const ZONES: Query = query!("catalogue_zones", [TEXT_ARRAY]);
const TRY_AGAIN: Query = query!("setback_try_again", []);
const SIGN: Query = query!("catalogue_sign", [TEXT, TEXT, JSONB]);
const COVERS: Query = query!("catalogue_write_covers", [JSONB]);
const LAST_MARK: Query = query!("catalogue_last_mark", []);
const MOVES: Query = query!("catalogue_moves", [INT8, INT8]);
const READINGS: Query = query!("catalogue_write_readings", [JSONB]);
const RECOUNTABLE: Query = query!("catalogue_recountable", []);

/// Dead letters of a destination that were sent under identities which the catalogue does not have any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recountable {
    /// The destination's name.
    pub destination: String,
    /// How many.
    pub remittances: i64,
}

/// What was refused before the catalogue was mended, and a recount would count by today's.
///
/// # Errors
/// As Postgres says.
pub async fn recountable(database: &Database) -> Result<Vec<Recountable>, Error> {
    let rows = database.one(&RECOUNTABLE, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Recountable { destination: row.try_get("destination")?, remittances: row.try_get("remittances")? })
        })
        .collect()
}

/// The statements of each kind of entry.
impl Kind {
    const fn load(self) -> Query {
        match self {
            Self::Quota => query!("catalogue_load_quotas", []),
            Self::Destination => query!("catalogue_load_destinations", []),
            Self::Dimension => query!("catalogue_load_dimensions", []),
            Self::Subscription => query!("catalogue_load_subscriptions", []),
            Self::Exempt => query!("catalogue_load_exemptions", []),
            Self::Route => query!("catalogue_load_routes", []),
        }
    }

    const fn add(self) -> Query {
        match self {
            Self::Quota => query!("catalogue_write_quotas", [JSONB]),
            Self::Destination => query!("catalogue_write_destinations", [JSONB]),
            Self::Dimension => query!("catalogue_write_dimensions", [JSONB]),
            Self::Subscription => query!("catalogue_add_subscriptions", [JSONB]),
            Self::Exempt => query!("catalogue_add_exemptions", [JSONB]),
            Self::Route => query!("catalogue_write_routes", [JSONB]),
        }
    }

    const fn change(self) -> Query {
        match self {
            Self::Subscription => query!("catalogue_change_subscriptions", [JSONB]),
            Self::Exempt => query!("catalogue_change_exemptions", [JSONB]),
            // these are written by name
            Self::Quota | Self::Destination | Self::Dimension | Self::Route => self.add(),
        }
    }

    const fn remove(self) -> Query {
        match self {
            Self::Quota => query!("catalogue_remove_quotas", [INT8_ARRAY]),
            Self::Destination => query!("catalogue_remove_destinations", [INT8_ARRAY]),
            Self::Dimension => query!("catalogue_remove_dimensions", [INT8_ARRAY]),
            Self::Subscription => query!("catalogue_remove_subscriptions", [INT8_ARRAY]),
            Self::Exempt => query!("catalogue_remove_exemptions", [INT8_ARRAY]),
            Self::Route => query!("catalogue_remove_routes", [INT8_ARRAY]),
        }
    }
}

/// A destination with everything a worker needs to serve it.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// Its number.
    pub id: i32,
    /// Raised by every change of what is said here.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// Which marketplace's code serves it.
    pub kind: String,
    /// Settings of that code.
    pub settings: Value,
    /// Its quota.
    pub quota: i32,
    /// The quota has a limit.
    pub is_limited: bool,
    /// Do everything but the call.
    pub dry_run: bool,
    /// Counts beside a live destination, and never calls.
    pub shadow: bool,
    /// A person stopped sending.
    pub paused: bool,
    /// Calls at the same time, per worker.
    pub in_flight_max: usize,
    /// What a call can take.
    pub records_max: i32,
    /// Bytes of a call's body.
    pub bytes_max: i32,
    /// A call without an answer by then is unknown.
    pub call_timeout: Duration,
    /// When to try again, and for how long.
    pub policy: Policy,
}

impl Destination {
    /// What a call can take.
    #[must_use]
    pub const fn limits(&self) -> CallLimits {
        CallLimits { records: self.records_max, bytes: self.bytes_max }
    }

    /// The rules by which it is served, to claim by.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        Rules { destination: self.id, version: self.version }
    }
}

/// Every destination.
///
/// # Errors
/// As Postgres says.
pub async fn destinations(database: &Database) -> Result<Vec<Destination>, Error> {
    database.one(&DESTINATIONS, &[]).await?.iter().map(read_destination).collect()
}

fn read_destination(row: &Row) -> Result<Destination, Error> {
    let seconds = |column| -> Result<Option<Duration>, Error> {
        Ok(row.try_get::<_, Option<f64>>(column)?.map(Duration::from_secs_f64))
    };
    let policy = Policy {
        retry: RetrySchedule {
            first: seconds("retry_first")?.unwrap_or_default(),
            max: seconds("retry_max")?.unwrap_or_default(),
            tries_max: row.try_get::<_, Option<i32>>("tries_max")?.and_then(|tries| u32::try_from(tries).ok()),
        },
        memory: seconds("memory")?,
    };
    Ok(Destination {
        id: row.try_get("id")?,
        version: row.try_get("version")?,
        name: row.try_get("name")?,
        kind: row.try_get("kind")?,
        settings: row.try_get("settings")?,
        quota: row.try_get("quota_id")?,
        is_limited: row.try_get("is_limited")?,
        dry_run: row.try_get("dry_run")?,
        shadow: row.try_get("shadow")?,
        paused: row.try_get("paused")?,
        in_flight_max: usize::try_from(row.try_get::<_, i32>("in_flight_max")?).unwrap_or(1),
        records_max: row.try_get("records_max")?,
        bytes_max: row.try_get("bytes_max")?,
        call_timeout: seconds("call_timeout")?.unwrap_or_default(),
        policy,
    })
}

/// A subscription whose identity no marketplace's code has read yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Unread {
    /// Its number.
    pub id: i64,
    /// Its destination.
    pub destination: i32,
    /// What the catalogue says.
    pub identity: Value,
}

/// An identity in canonical form, or why it is refused.
pub type Reading = Result<Canonical, String>;

/// An identity in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical {
    /// Canonical text.
    pub buyer: String,
    /// The account at the marketplace.
    pub account: String,
    /// Which form it is.
    pub form: String,
}

/// Subscriptions that were written by SQL and not read by their marketplace's code yet.
///
/// # Errors
/// As Postgres says.
pub async fn unread(database: &Database) -> Result<Vec<Unread>, Error> {
    let rows = database.one(&UNREAD, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Unread {
                id: row.try_get("id")?,
                destination: row.try_get("destination_id")?,
                identity: row.try_get("identity")?,
            })
        })
        .collect()
}

/// Writes how a subscription's identity reads. A second form of the same buyer is kept as invalid, with the reason.
///
/// # Errors
/// As Postgres says.
pub async fn write_reading(database: &Database, subscription: i64, reading: &Reading) -> Result<(), Error> {
    let none: Option<&str> = None;
    let refused = match reading {
        Ok(canonical) => {
            let written = database
                .one(&READ, &[&subscription, &canonical.buyer, &canonical.account, &canonical.form, &none])
                .await;
            match written {
                Err(Error::Refused(refused)) => refused.to_string(),
                other => return other.map(drop),
            }
        }
        Err(refusal) => refusal.clone(),
    };
    database.one(&READ, &[&subscription, &none, &none, &none, &refused]).await.map(drop)
}

/// What the database is for: production, test or demo.
///
/// # Errors
/// As Postgres says.
pub async fn purpose(database: &Database) -> Result<String, Error> {
    Ok(database.one(&SETTING, &[]).await?.first().expect("one row of settings").try_get(0)?)
}
