//! One remittance: what it counted, how it was counted, what was tried, what people decided.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use uuid::Uuid;

use super::attempts::{Attempt, AttemptFilter, attempts};
use super::{BIGGEST, CONTRADICTIONS, CUTS, DECISIONS, DROPPED_REMITTANCE, EVIDENCE, MEMBERS, REMITTANCE, fields};
use crate::corrections::Contradiction;
use crate::{Database, Error};

/// So many attempts and groups of usage are read at most, so that a year of retries fits a screen and memory.
const MOST: i64 = 200;
/// So many of its usages are named.
const BIGGEST_MOST: i64 = 3;

/// A remittance with its whole history.
#[derive(Debug, Clone, Serialize)]
pub struct RemittanceReport {
    /// Where it stands.
    pub remittance: Remittance,
    /// What it counted.
    pub members: Vec<Member>,
    /// Its largest usages, and the one that was asked about; empty if there is one only.
    pub biggest: Vec<Biggest>,
    /// How it was counted.
    pub cuts: Vec<Cut>,
    /// What was tried.
    pub attempts: Vec<Attempt>,
    /// What came late.
    pub late_evidence: Vec<Evidence>,
    /// Where the marketplace says otherwise than it was settled.
    pub contradictions: Vec<Contradiction>,
    /// What people decided.
    pub decisions: Vec<Decision>,
}

/// Where a remittance stands.
#[derive(Debug, Clone, Serialize)]
pub struct Remittance {
    /// Its number.
    pub delivery_id: i64,
    /// Where it is owed.
    pub destination: String,
    /// Its key.
    pub key: String,
    /// The hour it reports.
    pub hour: Timestamp,
    /// Our product.
    pub product: String,
    /// Their dimension.
    pub dimension: String,
    /// The billing month.
    pub month: Date,
    /// The buyer.
    pub buyer: String,
    /// Status.
    pub status: String,
    /// Why it is held.
    pub reason: Option<String>,
    /// An attempt may have arrived and nothing has resolved it.
    pub maybe_billed: bool,
    /// Since when.
    pub maybe_since: Option<Timestamp>,
    /// Accepted: they confirmed the quantity.
    pub confirmed: Option<bool>,
    /// Billing units.
    pub quantity: Option<String>,
    /// Billing units they showed.
    pub shown_quantity: Option<String>,
    /// Units times price; none: unpriced.
    pub amount: Option<String>,
    /// Currency of the amount.
    pub currency: Option<String>,
    /// Last moment at which it may be sent.
    pub deadline: Timestamp,
    /// Attempts that count against the retry policy.
    pub tries: i32,
    /// All attempts.
    pub attempts: i32,
    /// Its idempotency key.
    pub idempotency_key: Option<Uuid>,
    /// The record, to the letter.
    pub body: Option<String>,
    /// When its hour was opened.
    pub opened_at: Timestamp,
    /// When it was cut.
    pub cut_at: Option<Timestamp>,
    /// When its status last changed.
    pub changed_at: Timestamp,
    /// Not before this.
    pub next_try_at: Option<Timestamp>,
    /// When maintenance moves it by itself, though it is a dead letter.
    pub again_at: Option<Timestamp>,
    /// hold or `roll_forward`.
    pub expired_policy: String,
    /// closed, open, `half_open` or recovering.
    pub breaker: String,
    /// When a destination that is down is probed next, in seconds of real time.
    pub probe_seconds: Option<f64>,
    /// What the breaker met, in words; empty while it is closed.
    pub breaker_met: String,
    /// Commits were lost when its hour was over already: noticed then.
    pub lost_at: Option<Timestamp>,
    /// It was settled, and may have been reopened in a time that was lost.
    pub is_in_doubt: bool,
    /// They called it a duplicate after commits were lost, and did not say how much they hold.
    pub is_unconfirmed: bool,
    /// Its month is closed at the destination.
    pub is_month_closed: bool,
    /// What must be done before another hour can take its quantity, in words.
    pub release_needs: Option<String>,
    /// Its destination is paused.
    pub paused: bool,
    /// Its destination makes no calls.
    pub dry_run: bool,
    /// When its hour is cut at the earliest.
    pub cut_from: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// Usage that a remittance counted, of one org, account, metric and own hour.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// The customer.
    pub org: String,
    /// Their account.
    pub account: Option<String>,
    /// Our product.
    pub product: String,
    /// Our metric.
    pub metric: String,
    /// The usage's own hour.
    pub own_hour: Timestamp,
    /// Which cut counted it, from 0.
    pub round: i32,
    /// How many.
    pub usages: i64,
    /// Units of the metric.
    pub quantity: String,
}

/// A usage and its share of what its hour counts.
#[derive(Debug, Clone, Serialize)]
pub struct Biggest {
    /// The service that recorded it.
    pub source: String,
    /// The service's id of it.
    pub event_id: String,
    /// Its id.
    pub usage_id: Uuid,
    /// The customer.
    pub org: String,
    /// Our metric.
    pub metric: String,
    /// Units of the metric.
    pub quantity: String,
    /// Percent of all usage of that metric there.
    pub share: String,
}

/// The arithmetic of one cut on one meter.
#[derive(Debug, Clone, Serialize)]
pub struct Cut {
    /// Which cut of the remittance, from 0.
    pub round: i32,
    /// When.
    pub cut_at: Timestamp,
    /// The meter's month.
    pub month: Date,
    /// The meter's dimension.
    pub dimension: String,
    /// up, down or nearest.
    pub rounding: String,
    /// Decimals of a billing quantity.
    pub decimals: i32,
    /// What the month's last cut does with a remainder.
    pub month_end: String,
    /// The meter of the remittance's own month; else a part.
    pub is_own: bool,
    /// The meter's contract: by its buyer, or `contract:PRODUCT/NAME`.
    pub contract: String,
    /// How the catalogue rounds the dimension by now, if otherwise: that counts from the next month on.
    pub rounding_now: Option<String>,
    /// To how many decimals.
    pub decimals_now: Option<i32>,
    /// Common denominator of the factors.
    pub denominator: String,
    /// Sum over the metrics of (used − covered) × factor × denominator.
    pub units: String,
    /// `units / denominator`, to nine decimals.
    pub unrounded: String,
    /// Nine decimals show it whole.
    pub is_exact: bool,
    /// That, rounded by the dimension's rule.
    pub rounded: String,
    /// Billing units of earlier cuts of the month.
    pub billed_before: String,
    /// Billing units that this cut added.
    pub to_bill: String,
    /// Billing units after it.
    pub billed_after: String,
    /// Billing units carried, to nine decimals: a remainder, or credit if negative.
    pub carried: String,
    /// Nine decimals show it whole.
    pub is_carried_exact: bool,
    /// The hour could no longer be sent: everything went to another hour.
    pub deferred: bool,
    /// Per metric.
    pub metrics: Vec<CutMetric>,
    /// The next cut of this meter that billed anything: its remittance.
    pub billed_next_by: Option<i64>,
    /// Its hour.
    pub billed_next_hour: Option<Timestamp>,
    /// Its units.
    pub billed_next: Option<String>,
}

/// One metric of a cut.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CutMetric {
    /// Our product.
    pub product: String,
    /// Our metric.
    pub metric: String,
    /// Units used in hours cut before.
    pub used_before: String,
    /// Units used here.
    pub used_here: String,
    /// Their sum.
    pub used: String,
    /// What the contracts cover.
    pub cover: String,
    /// What of it was used.
    pub covered: String,
    /// `used − covered`.
    pub counted: String,
    /// Billing units per unit, as a ratio.
    pub factor: String,
}

/// Evidence that came after another outcome was recorded.
#[derive(Debug, Clone, Serialize)]
pub struct Evidence {
    /// The attempt.
    pub attempt_id: Uuid,
    /// What the call told.
    pub outcome: String,
    /// Their word.
    pub code: Option<String>,
    /// Billing units they showed.
    pub shown_quantity: Option<String>,
    /// Their receipt.
    pub receipt: Option<String>,
    /// HTTP status.
    pub http_status: Option<i32>,
    /// Their id of the call.
    pub their_request_id: Option<String>,
    /// What they said.
    pub excerpt: Option<String>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// What a person decided.
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    /// Its number.
    pub id: i64,
    /// When.
    pub decided_at: Timestamp,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// What.
    pub verb: String,
    /// Status before.
    pub status_before: Option<String>,
    /// Status after.
    pub status_after: Option<String>,
    /// How much.
    pub quantity: Option<String>,
    /// Where released quantity went.
    pub target_delivery_id: Option<i64>,
}

/// With which billing month a remittance was dropped, as a sentence goes on; `None`: it was not.
///
/// # Errors
/// As Postgres says.
pub async fn told_dropped(database: &Database, delivery: i64) -> Result<Option<String>, Error> {
    let rows = database.one(&DROPPED_REMITTANCE, &[&delivery]).await?;
    Ok(rows.first().map(|row| row.try_get("told")).transpose()?.flatten())
}

/// A remittance with its whole history; `None`: there is none of this number.
///
/// # Errors
/// As Postgres says.
pub async fn remittance(database: &Database, delivery: i64) -> Result<Option<RemittanceReport>, Error> {
    remittance_with(database, delivery, None).await
}

/// The same, with the share of a usage that was asked about.
pub(super) async fn remittance_with(
    database: &Database,
    delivery: i64,
    usage: Option<Uuid>,
) -> Result<Option<RemittanceReport>, Error> {
    let rows = database.one(&REMITTANCE, &[&delivery]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let of_it = AttemptFilter { delivery: Some(delivery), ..AttemptFilter::default() };
    Ok(Some(RemittanceReport {
        remittance: read_remittance(row)?,
        members: database
            .one(&MEMBERS, &[&delivery, &MOST])
            .await?
            .iter()
            .map(read_member)
            .collect::<Result<_, _>>()?,
        biggest: database
            .one(&BIGGEST, &[&delivery, &BIGGEST_MOST, &usage])
            .await?
            .iter()
            .map(|row| Ok(fields!(row => Biggest { source, event_id, usage_id, org, metric, quantity, share })))
            .collect::<Result<_, Error>>()?,
        cuts: database.one(&CUTS, &[&delivery]).await?.iter().map(read_cut).collect::<Result<_, _>>()?,
        attempts: attempts(database, &of_it, MOST).await?,
        late_evidence: database
            .one(&EVIDENCE, &[&delivery])
            .await?
            .iter()
            .map(read_evidence)
            .collect::<Result<_, _>>()?,
        contradictions: database
            .one(&CONTRADICTIONS, &[&Some(delivery)])
            .await?
            .iter()
            .map(Contradiction::read)
            .collect::<Result<_, _>>()?,
        decisions: decisions(database, Some(delivery), None).await?,
    }))
}

/// What people decided about a delivery or a usage.
pub(super) async fn decisions(
    database: &Database,
    delivery: Option<i64>,
    usage: Option<Uuid>,
) -> Result<Vec<Decision>, Error> {
    database.one(&DECISIONS, &[&delivery, &usage]).await?.iter().map(read_decision).collect()
}

fn read_remittance(row: &Row) -> Result<Remittance, Error> {
    Ok(fields!(row => Remittance {
        delivery_id, destination, key, hour, product, dimension, month, buyer, status, reason, maybe_billed,
        maybe_since, confirmed, quantity, shown_quantity, amount, currency, deadline, tries, attempts, idempotency_key,
        body, opened_at, cut_at, changed_at, next_try_at, again_at, expired_policy, breaker, probe_seconds, breaker_met,
        lost_at, is_in_doubt, is_unconfirmed, is_month_closed, release_needs, paused, dry_run, cut_from, now
    }))
}

fn read_member(row: &Row) -> Result<Member, Error> {
    Ok(fields!(row => Member { org, account, product, metric, own_hour, round, usages, quantity }))
}

fn read_cut(row: &Row) -> Result<Cut, Error> {
    let metrics = serde_json::from_value(row.try_get("metrics")?)
        .map_err(|error| Error::Schema(format!("postmeter.cut.metrics has another form than expected: {error}")))?;
    Ok(Cut {
        metrics,
        round: row.try_get("round")?,
        cut_at: row.try_get("cut_at")?,
        month: row.try_get("month")?,
        dimension: row.try_get("dimension")?,
        rounding: row.try_get("rounding")?,
        decimals: row.try_get("decimals")?,
        month_end: row.try_get("month_end")?,
        is_own: row.try_get("is_own")?,
        contract: row.try_get("contract")?,
        rounding_now: row.try_get("rounding_now")?,
        decimals_now: row.try_get("decimals_now")?,
        denominator: row.try_get("denominator")?,
        units: row.try_get("units")?,
        unrounded: row.try_get("unrounded")?,
        is_exact: row.try_get("is_exact")?,
        rounded: row.try_get("rounded")?,
        billed_before: row.try_get("billed_before")?,
        to_bill: row.try_get("to_bill")?,
        billed_after: row.try_get("billed_after")?,
        carried: row.try_get("carried")?,
        is_carried_exact: row.try_get("is_carried_exact")?,
        deferred: row.try_get("deferred")?,
        billed_next_by: row.try_get("billed_next_by")?,
        billed_next_hour: row.try_get("billed_next_hour")?,
        billed_next: row.try_get("billed_next")?,
    })
}

fn read_evidence(row: &Row) -> Result<Evidence, Error> {
    Ok(fields!(row => Evidence {
        attempt_id, outcome, code, shown_quantity, receipt, http_status, their_request_id, excerpt, recorded_at
    }))
}

fn read_decision(row: &Row) -> Result<Decision, Error> {
    Ok(fields!(row => Decision {
        id, decided_at, who, why, verb, status_before, status_after, quantity, target_delivery_id
    }))
}
