//! What is measured of the database: questions of a scrape, each cheap or bounded by a timeout; and the check of the whole
//! balance, which is neither, and is made by one worker of the fleet at a time.

use std::time::{Duration, Instant};

use crate::health::answers;
use crate::proof::Proof;
use crate::query::{Query, query};
use crate::{Database, Error};

answers! {
    /// The server's wall clock; one row.
    Clock from "measure_clock" {
        /// Unix time.
        seconds: f64,
    }
    /// Deliveries that wait or are stuck, by destination and status; one row each.
    Deliveries from "measure_deliveries" {
        /// The destination.
        destination: String,
        /// A status, or later: due at a time.
        status: String,
        /// How many.
        count: i64,
        /// Seconds since when the oldest of them is so.
        oldest_seconds: Option<f64>,
    }
    /// Deliveries in flight, by destination; one row each.
    InFlight from "measure_in_flight" {
        /// The destination.
        destination: String,
        /// `in_flight`.
        status: String,
        /// How many, counted up to 10,000 a worker.
        count: i64,
        /// Seconds since when the oldest of them is so.
        oldest_seconds: Option<f64>,
    }
    /// What deliveries are worth, by destination, status and currency; one row each.
    Amounts from "measure_amounts" {
        /// The destination.
        destination: String,
        /// The status.
        status: String,
        /// The currency.
        currency: String,
        /// How much.
        amount: f64,
    }
    /// Destinations; one row each.
    Destinations from "measure_destinations" {
        /// The destination.
        destination: String,
        /// Nothing is claimed.
        is_paused: bool,
        /// Its breaker is open, or a worker probes.
        is_open: bool,
        /// Seconds until the earliest deadline of what is due; below zero: it has passed.
        deadline_seconds: Option<f64>,
        /// Months that are over and not closed.
        months_open: i64,
    }
    /// What will miss its deadline, by destination; one row each.
    Forecast from "measure_forecast" {
        /// The destination.
        destination: String,
        /// How many.
        misses: i64,
    }
    /// Held usage by reason; one row each.
    HeldUsages from "measure_held" {
        /// The reason.
        reason: String,
        /// How many.
        count: i64,
        /// Seconds since when the oldest is held.
        oldest_seconds: f64,
        /// Seconds until the first deadline passes; below zero: it has.
        deadline_seconds: Option<f64>,
    }
    /// Dead letters that are no deliveries, by destination; one row each.
    DeadLetters from "measure_dead_letters" {
        /// The destination; empty: none is known.
        destination: String,
        /// `held_usage` or `stranded`.
        status: String,
        /// How many.
        count: i64,
    }
    /// Quotas with a limit; one row each.
    Quotas from "measure_quotas" {
        /// Its name.
        quota: String,
        /// Calls a second that the fleet may make.
        calls_per_second: f64,
        /// How far ahead its slots are taken.
        wait_seconds: f64,
    }
    /// The oldest snapshot; one row.
    Snapshots from "measure_snapshots" {
        /// How old its transaction is.
        seconds: f64,
        /// Transactions since.
        transactions: f64,
        /// We may see what others' sessions do.
        sees_sessions: bool,
    }
    /// Dead rows by table; one row each.
    DeadTuples from "measure_dead_tuples" {
        /// The table.
        table: String,
        /// How many.
        count: i64,
    }
    /// Request statuses that were ever refused, by door and reason; one row each.
    Refusals from "measure_request_refusals" {
        /// `http` or `import`.
        door: String,
        /// The reason.
        reason: String,
        /// How many.
        count: i64,
    }
    /// Idempotency keys that do not come to their end; one row.
    KeysStuck from "measure_keys_stuck" {
        /// How many.
        count: i64,
    }
    /// Requests that were received and never finished; one row.
    Unfinished from "measure_unfinished" {
        /// How many.
        count: i64,
    }
    /// Services at which requests are unfinished; one row each.
    Silent from "measure_silent" {
        /// The service.
        service: String,
        /// Requests that are unfinished there.
        unfinished: i64,
        /// It is a matter for somebody.
        silent: bool,
    }
    /// How long services took, of the requests that ended last; one row a service.
    ServiceSeconds from "measure_service_seconds" {
        /// The service.
        service: String,
        /// Half of them took no longer.
        median: f64,
        /// 95 of a hundred took no longer.
        p95: f64,
    }
    /// Where the month's usage is, without what waits or is in open hours; one row a product, metric and stage.
    Funnel from "measure_funnel" {
        /// The product.
        product: String,
        /// The metric.
        metric: String,
        /// `cut`, or what became of it, or `held_usage`.
        stage: String,
        /// Usages.
        usages: f64,
        /// Units of the metric.
        quantity: f64,
    }
    /// The month's usage in open hours; one row a product and metric.
    OpenUsage from "measure_open" {
        /// The product.
        product: String,
        /// The metric.
        metric: String,
        /// `open`.
        stage: String,
        /// Usages.
        usages: f64,
        /// Units of the metric.
        quantity: f64,
    }
    /// Usage that waits in the outbox; one row a product and metric.
    WaitingUsage from "measure_waiting" {
        /// The product.
        product: String,
        /// The metric.
        metric: String,
        /// `waiting`.
        stage: String,
        /// Usages.
        usages: f64,
        /// Units of the metric.
        quantity: f64,
    }
    /// Who lives and who is missing; one row for workers and one for consoles.
    Fleet from "measure_fleet" {
        /// worker or console.
        part: String,
        /// How many live.
        alive: i64,
        /// How many are missing.
        missing: i64,
    }
    /// Alerts by rule; one row each.
    OpenAlerts from "measure_alerts" {
        /// The rule.
        name: String,
        /// How many are open.
        open: i64,
        /// 1: it is switched on, and nobody looks or can look.
        blind: i64,
    }
    /// What the last check of the balance found; no row: none has come to its end.
    Balance from "measure_balance" {
        /// When, in Unix time.
        checked_at: f64,
        /// Meters and orgs' metrics whose difference was not zero.
        open: i64,
        /// When the reading of the whole ledger that ended last began, in Unix time; none: none has ended yet.
        whole_from: Option<f64>,
    }
}

const CLAIM: Query = query!("balance_check_claim", []);
const WRITE: Query = query!("balance_check_write", [INT8, TEXT, FLOAT8]);

/// Proves what was written since the last proof, if nobody in the fleet has for ten minutes, and reads again as much of the
/// ledger as is due by now; gives each up after `within`. Returns what is open; `None`: it was not our turn, or there was more
/// to prove than time.
///
/// # Errors
/// As Postgres says.
pub async fn check_balance(database: &Database, within: Duration) -> Result<Option<i64>, Error> {
    if database.one(&CLAIM, &[]).await?.is_empty() {
        return Ok(None);
    }
    let began = Instant::now();
    let mut proof = Proof::new(database, within);
    let is_proven = proof.prove_moved().await?;
    let seconds = began.elapsed().as_secs_f64();
    proof.go_on_for(within);
    // also where there was more than time: what is written faster than it is proven must not hide what is altered
    let is_proven = proof.prove_asked().await? && is_proven;
    proof.read_again(false).await?;
    let found = proof.found().await?;
    let open = (is_proven || found.open > 0).then_some(found.open);
    database.one(&WRITE, &[&open, &found.example, &seconds]).await?;
    Ok(open)
}
