//! One usage: where it is, and the remittances that it came through.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::remittance::{Decision, RemittanceReport, decisions, remittance_with};
use super::{ALLOCATIONS, CORRECTIONS, DROPPED, RawJson, USAGE, fields};
use crate::{Database, Error};

/// A release moves quantity on; so many times it is followed.
const RELEASES_MAX: usize = 10;

/// Which usage.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// By its identity.
    Event {
        /// The service that recorded it.
        source: &'a str,
        /// The service's id of it.
        event_id: &'a str,
    },
    /// By its id.
    Id(Uuid),
}

impl<'a> Wanted<'a> {
    const fn parts(self) -> (Option<&'a str>, Option<&'a str>, Option<Uuid>) {
        match self {
            Self::Event { source, event_id } => (Some(source), Some(event_id), None),
            Self::Id(id) => (None, None, Some(id)),
        }
    }
}

/// A usage with its whole way.
#[derive(Debug, Clone, Serialize)]
pub struct UsageReport {
    /// The usage.
    pub usage: Usage,
    /// Its corrections.
    pub corrections: Vec<Correction>,
    /// What counted it; one per destination.
    pub allocations: Vec<Allocation>,
    /// The remittances of the allocations, and those to which their quantity was released.
    pub remittances: Vec<RemittanceReport>,
    /// What people decided about the usage itself.
    pub decisions: Vec<Decision>,
}

/// A usage and where it is.
#[derive(Debug, Clone, Serialize)]
pub struct Usage {
    /// Its id.
    pub usage_id: Uuid,
    /// The service that recorded it.
    pub source: String,
    /// The service's id of it.
    pub event_id: String,
    /// The customer.
    pub org: String,
    /// Their account.
    pub account: Option<String>,
    /// Our product.
    pub product: String,
    /// Our metric.
    pub metric: String,
    /// Units of the metric.
    pub quantity: String,
    /// When it was used.
    pub used_at: Timestamp,
    /// The hour of that; of a correction, of what it corrects.
    pub hour: Timestamp,
    /// Event id of what it corrects.
    pub corrects: Option<String>,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// Evidence.
    pub attributes: RawJson,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// waiting, held, exempt, `written_off` or allocated; lost is a defect.
    pub whereabouts: String,
    /// Why it is held.
    pub held_reason: Option<String>,
    /// Implausible: the limit of its dimension that it is beyond, `max_quantity` or `times_usual`.
    pub held_beyond: Option<String>,
    /// Implausible: how much that was, in units of the metric.
    pub held_bound: Option<String>,
    /// What must be done before it can be counted, where no hour of its month can take it: in words.
    pub held_needs: Option<String>,
    /// It is a held correction of what is not held itself.
    pub is_orphan: bool,
    /// Implausible: what its subscription's hour has counted of the metric without it.
    pub hour_quantity: Option<String>,
    /// Implausible: percent of that hour that it would be.
    pub hour_share: Option<String>,
    /// Since when.
    pub held_at: Option<Timestamp>,
    /// Last moment at which its own hour can be sent.
    pub held_until: Option<Timestamp>,
    /// The destination it would go to.
    pub held_for: Option<String>,
    /// Why its org is exempt.
    pub exempt_reason: Option<String>,
    /// Why the catalogue does not resolve it today.
    pub catalogue_reason: Option<String>,
    /// Where it goes by the catalogue of today.
    pub destination: Option<String>,
    /// That destination is paused.
    pub is_paused: Option<bool>,
    /// Last moment at which its own hour can be sent there.
    pub own_deadline: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// A correction of a usage.
#[derive(Debug, Clone, Serialize)]
pub struct Correction {
    /// Its event id.
    pub event_id: String,
    /// Units, below zero.
    pub quantity: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// counted, waiting, or none: the usage is exempt or was given up, so there is nothing to lower.
    pub effect: String,
}

/// What counted a usage, and by which rules.
#[derive(Debug, Clone, Serialize)]
pub struct Allocation {
    /// The remittance.
    pub delivery_id: i64,
    /// Its destination.
    pub destination: String,
    /// Its hour.
    pub hour: Timestamp,
    /// The usage's own hour.
    pub own_hour: Timestamp,
    /// Which of its cuts counts it, from 0; -1: none, it lowered the month at once.
    pub round: i32,
    /// How often it was cut.
    pub cuts: i32,
    /// The subscription that matched.
    pub subscription_id: i64,
    /// Its account.
    pub account: Option<String>,
    /// Its first hour.
    pub valid_from: Timestamp,
    /// Its end.
    pub valid_until: Option<Timestamp>,
    /// Their dimension.
    pub dimension: String,
    /// The month of the meter that counts it.
    pub month: Date,
    /// The buyer.
    pub buyer: String,
    /// The contract on whose meter it is counted: by its buyer, or `contract:PRODUCT/NAME`.
    pub contract: String,
    /// Billing units per unit: numerator.
    pub factor_numerator: i64,
    /// Billing units per unit: denominator.
    pub factor_denominator: i64,
    /// up, down or nearest.
    pub rounding: String,
    /// Decimals of a billing quantity.
    pub decimals: i32,
    /// What the destination does with late usage.
    pub late_policy: String,
}

/// The month of the ledger, such as `2024-09`, with which a usage was dropped; `None`: it was not. Of an id, whether it was
/// ever recorded is not known then.
///
/// # Errors
/// As Postgres says.
pub async fn dropped_with(database: &Database, wanted: Wanted<'_>) -> Result<Option<String>, Error> {
    let (source, event_id, id) = wanted.parts();
    let rows = database.one(&DROPPED, &[&source, &event_id, &id]).await?;
    Ok(rows.first().map(|row| row.try_get("month")).transpose()?)
}

/// A usage with its whole way; `None`: there is none.
///
/// # Errors
/// As Postgres says.
pub async fn usage(database: &Database, wanted: Wanted<'_>) -> Result<Option<UsageReport>, Error> {
    let (source, event_id, id) = wanted.parts();
    let rows = database.one(&USAGE, &[&source, &event_id, &id]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let usage = read_usage(row)?;
    let corrections = database.one(&CORRECTIONS, &[&usage.source, &usage.event_id]).await?;
    let allocations: Vec<Allocation> =
        database.one(&ALLOCATIONS, &[&usage.usage_id]).await?.iter().map(read_allocation).collect::<Result<_, _>>()?;
    let mut remittances = Vec::new();
    for allocation in &allocations {
        follow(database, allocation.delivery_id, usage.usage_id, &mut remittances).await?;
    }
    Ok(Some(UsageReport {
        corrections: corrections
            .iter()
            .map(|row| Ok(fields!(row => Correction { event_id, quantity, recorded_at, effect })))
            .collect::<Result<_, Error>>()?,
        decisions: decisions(database, None, Some(usage.usage_id)).await?,
        allocations,
        remittances,
        usage,
    }))
}

/// Reads a remittance and, where a person released it, the one that took its quantity.
async fn follow(database: &Database, delivery: i64, usage: Uuid, way: &mut Vec<RemittanceReport>) -> Result<(), Error> {
    let mut next = Some(delivery);
    for _ in 0..RELEASES_MAX {
        let Some(delivery) = next.filter(|id| way.iter().all(|seen| seen.remittance.delivery_id != *id)) else { break };
        let Some(report) = remittance_with(database, delivery, Some(usage)).await? else { break };
        next = report.decisions.iter().rev().find_map(|decision| decision.target_delivery_id);
        way.push(report);
    }
    Ok(())
}

fn read_usage(row: &Row) -> Result<Usage, Error> {
    Ok(fields!(row => Usage {
        usage_id, source, event_id, org, account, product, metric, quantity, used_at, hour, corrects, request_id,
        attributes, recorded_at, whereabouts, held_reason, held_beyond, held_bound, held_needs, is_orphan, hour_quantity,
        hour_share, held_at, held_until, held_for, exempt_reason, catalogue_reason, destination, is_paused, own_deadline,
        now
    }))
}

fn read_allocation(row: &Row) -> Result<Allocation, Error> {
    Ok(fields!(row => Allocation {
        delivery_id, destination, hour, own_hour, round, cuts, subscription_id, account, valid_from, valid_until,
        dimension, month, buyer, contract, factor_numerator, factor_denominator, rounding, decimals, late_policy
    }))
}
