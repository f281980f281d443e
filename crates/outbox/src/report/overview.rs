//! What is where: the overview of everything.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;

use super::strain::{QuotaPace, RefusedBuyer, pace, refused};
use super::{
    AT_RISK, BACKLOG, CONTRADICTIONS, DESTINATIONS, FORECAST, HEALTH, HELD, INSTALLATION, PACES, REFUSED, STANDING,
    WORKERS, fields,
};
use crate::ask::{Limits, Told, ask, rows};
use crate::corrections::Contradiction;
use crate::health::{Isolated, LostTime, NotCut};
use crate::query::Query;
use crate::{Database, Error};

/// Everything at once.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// The outbox and the clock; none: it is among what is missing.
    pub backlog: Option<Backlog>,
    /// Held usage.
    pub held: Vec<HeldGroup>,
    /// Destinations.
    pub destinations: Vec<DestinationState>,
    /// Destinations whose breaker is not closed.
    pub health: Vec<Health>,
    /// Remittances by destination and status: by dimension, and their sums by currency.
    pub standing: Vec<Standing>,
    /// What misses its deadline within an hour.
    pub at_risk: Vec<AtRisk>,
    /// What misses its deadline at the present rate.
    pub forecast: Vec<Forecast>,
    /// Workers whose lease holds.
    pub workers: Vec<LiveWorker>,
    /// What does not go through while the rest goes on.
    pub isolated: Vec<Isolated>,
    /// Where a marketplace says otherwise than it was settled, and nobody has judged it.
    pub contradictions: Vec<Contradiction>,
    /// What the last loss of commits leaves to people.
    pub lost_time: Vec<LostTime>,
    /// Which installation this is; none: it is among what is missing.
    pub installation: Option<Installation>,
    /// Buyers that were refused in a call of their own.
    pub refused: Vec<RefusedBuyer>,
    /// Quotas that are paced, or wait because they were told to.
    pub paces: Vec<QuotaPace>,
    /// What could not be read, and is empty here for that.
    pub missing: Vec<Missing>,
}

/// Which installation the database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// Why nothing is sent from here; none: it is the installation.
    pub doubt: Option<String>,
    /// What it is called, if workers bring a name.
    pub name: Option<String>,
    /// It was declared a copy.
    pub is_copy: bool,
}

/// A part of the overview that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its name: that of the field.
    pub part: &'static str,
    /// Why.
    pub why: String,
}

/// What waits in the outbox.
#[derive(Debug, Clone, Serialize)]
pub struct Backlog {
    /// What the database is for.
    pub purpose: String,
    /// The time of every decision.
    pub now: Timestamp,
    /// That time is not the server's: a test or a demo.
    pub is_clock_moved: bool,
    /// Usages.
    pub waiting: i64,
    /// When the oldest of them was recorded.
    pub oldest_recorded_at: Option<Timestamp>,
}

/// Held usage of one reason, product and metric.
#[derive(Debug, Clone, Serialize)]
pub struct HeldGroup {
    /// Why.
    pub reason: String,
    /// Our product.
    pub product: String,
    /// Our metric.
    pub metric: String,
    /// How many usages.
    pub usages: i64,
    /// Of how many orgs.
    pub orgs: i64,
    /// Units of the metric.
    pub quantity: String,
    /// Since when the oldest is held.
    pub held_since: Timestamp,
    /// When the first of their hours can no longer be sent.
    pub earliest_deadline: Option<Timestamp>,
}

/// A destination.
#[derive(Debug, Clone, Serialize)]
pub struct DestinationState {
    /// Its name.
    pub destination: String,
    /// A person stopped sending.
    pub paused: bool,
    /// No call is made.
    pub dry_run: bool,
    /// It counts beside a live destination, and never calls.
    pub shadow: bool,
    /// When the next of its later tries is.
    pub next_try_at: Option<Timestamp>,
}

/// A destination that has a fault as a whole, or recovers from one. All lengths are of real time.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Its name.
    pub destination: String,
    /// open, half_open or recovering.
    pub breaker: String,
    /// While it recovers: calls that each worker may have in flight.
    pub ramp: Option<i32>,
    /// Outcome of the last call that met the fault.
    pub last_outcome: String,
    /// Its code.
    pub last_code: Option<String>,
    /// Its HTTP status.
    pub last_http_status: Option<i32>,
    /// The worker that probes.
    pub probing: Option<String>,
    /// Seconds since it opened.
    pub open_seconds: f64,
    /// Seconds until the next probe; below zero: as soon as there is something to send.
    pub next_probe_seconds: Option<f64>,
}

/// Remittances of one destination and status. What is final is of the running month only.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The destination.
    pub destination: String,
    /// The status; `later` is due, but not before its next try.
    pub status: String,
    /// Their dimension; none: the sum over all dimensions of this currency.
    pub dimension: Option<String>,
    /// Currency of the amount; none: unpriced.
    pub currency: Option<String>,
    /// How many.
    pub remittances: i64,
    /// Billing units of the dimension; none: not cut yet, or over several dimensions.
    pub quantity: Option<String>,
    /// Units times price; none: unpriced or not cut yet.
    pub amount: Option<String>,
    /// The first deadline of what is not settled.
    pub earliest_deadline: Option<Timestamp>,
}

/// Remittances that miss their deadline within an hour unless something happens.
#[derive(Debug, Clone, Serialize)]
pub struct AtRisk {
    /// The destination.
    pub destination: String,
    /// The status.
    pub status: String,
    /// Currency of the amount; none: unpriced.
    pub currency: Option<String>,
    /// How many.
    pub remittances: i64,
    /// Billing units; none: not cut yet.
    pub quantity: Option<String>,
    /// Units times price.
    pub amount: Option<String>,
    /// The first deadline.
    pub earliest_deadline: Timestamp,
}

/// When the queue of a destination will be empty, and what comes too late by then.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// The destination.
    pub destination: String,
    /// Remittances that are cut and not sent.
    pub waiting: i64,
    /// Those of them that miss their deadline at the present rate.
    pub misses: i64,
    /// When the last is sent; none: the destination is paused.
    pub all_sent_by: Option<Timestamp>,
    /// The first deadline that is missed.
    pub first_missed_deadline: Option<Timestamp>,
}

/// A worker whose lease holds.
#[derive(Debug, Clone, Serialize)]
pub struct LiveWorker {
    /// Host and process.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Seconds since its last heartbeat.
    pub heartbeat_age: f64,
}

/// How long one part may take.
const WITHIN: Duration = Duration::from_secs(30);

/// Reads the overview: fifteen statements side by side, each a moment of its own. A part that is locked or slow is named as
/// missing, and costs no other.
///
/// # Errors
/// As Postgres says.
pub async fn overview(database: &Database) -> Result<Overview, Error> {
    let (
        backlog,
        held,
        destinations,
        health,
        standing,
        at_risk,
        forecast,
        workers,
        isolated,
        not_cut,
        contradictions,
        lost_time,
        installation,
        refused,
        paces,
    ) = tokio::join!(
        part(database, &BACKLOG, |row| {
            Ok(fields!(row => Backlog { purpose, now, is_clock_moved, waiting, oldest_recorded_at }))
        }),
        part(database, &HELD, held),
        part(database, &DESTINATIONS, |row| {
            Ok(fields!(row => DestinationState { destination, paused, dry_run, shadow, next_try_at }))
        }),
        part(database, &HEALTH, health),
        part(database, &STANDING, |row| {
            Ok(fields!(row => Standing {
                destination, status, dimension, currency, remittances, quantity, amount, earliest_deadline
            }))
        }),
        part(database, &AT_RISK, |row| {
            Ok(fields!(row => AtRisk {
                destination, status, currency, remittances, quantity, amount, earliest_deadline
            }))
        }),
        part(database, &FORECAST, |row| {
            Ok(fields!(row => Forecast { destination, waiting, misses, all_sent_by, first_missed_deadline }))
        }),
        part(database, &WORKERS, |row| { Ok(fields!(row => LiveWorker { name, version, started_at, heartbeat_age })) }),
        ask::<Isolated>(database, Limits::within(WITHIN)),
        ask::<NotCut>(database, Limits::within(WITHIN)),
        contradictions(database),
        ask::<LostTime>(database, Limits::within(WITHIN)),
        part(database, &INSTALLATION, |row| Ok(fields!(row => Installation { doubt, name, is_copy }))),
        part(database, &REFUSED, refused),
        part(database, &PACES, pace),
    );
    let mut missing = Vec::new();
    let mut isolated = there(&mut missing, "isolated", isolated?);
    isolated.extend(there(&mut missing, "isolated", not_cut?).into_iter().map(Isolated::from));
    isolated.retain(|isolated| isolated.count > 0);
    Ok(Overview {
        backlog: there(&mut missing, "backlog", backlog?).into_iter().next(),
        held: there(&mut missing, "held", held?),
        destinations: there(&mut missing, "destinations", destinations?),
        health: there(&mut missing, "health", health?),
        standing: there(&mut missing, "standing", standing?),
        at_risk: there(&mut missing, "at_risk", at_risk?),
        forecast: there(&mut missing, "forecast", forecast?),
        workers: there(&mut missing, "workers", workers?),
        isolated,
        contradictions: there(&mut missing, "contradictions", contradictions?),
        lost_time: there(&mut missing, "lost_time", lost_time?),
        installation: there(&mut missing, "installation", installation?).into_iter().next(),
        refused: there(&mut missing, "refused", refused?),
        paces: there(&mut missing, "paces", paces?),
        missing,
    })
}

fn held(row: &Row) -> Result<HeldGroup, Error> {
    Ok(fields!(row => HeldGroup { reason, product, metric, usages, orgs, quantity, held_since, earliest_deadline }))
}

fn health(row: &Row) -> Result<Health, Error> {
    Ok(fields!(row => Health {
        destination, breaker, ramp, last_outcome, last_code, last_http_status, probing, open_seconds, next_probe_seconds
    }))
}

async fn contradictions(database: &Database) -> Result<Told<Vec<Contradiction>>, Error> {
    rows(database, &CONTRADICTIONS, &[&None::<i64>], Limits::within(WITHIN))
        .await?
        .and_then(|rows| rows.iter().map(Contradiction::read).collect())
}

async fn part<T>(
    database: &Database,
    query: &Query,
    read: fn(&Row) -> Result<T, Error>,
) -> Result<Told<Vec<T>>, Error> {
    rows(database, query, &[], Limits::within(WITHIN)).await?.and_then(|rows| rows.iter().map(read).collect())
}

fn there<T>(missing: &mut Vec<Missing>, part: &'static str, told: Told<Vec<T>>) -> Vec<T> {
    let why = told.why(WITHIN);
    told.answer().unwrap_or_else(|| {
        missing.push(Missing { part, why });
        Vec::new()
    })
}
