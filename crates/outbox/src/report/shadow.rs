//! A shadow beside its live destination.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::{SHADOW_HOURS, SHADOW_METERS, SHADOW_USAGE, fields};
use crate::query::{Params, Query};
use crate::{Database, Error};

/// A month of a shadow and its live destination. Quantities are text, to the letter.
#[derive(Debug, Clone, Serialize)]
pub struct ShadowDiff {
    /// Per meter, what differs most first. Hours before the shadow began are not compared.
    pub meters: Vec<ShadowMeter>,
    /// The hours that differ, or as many as were asked for.
    pub hours: Vec<ShadowHour>,
    /// The usage behind both.
    pub usage: Vec<ShadowUsage>,
}

/// One meter.
#[derive(Debug, Clone, Serialize)]
pub struct ShadowMeter {
    /// The buyer, in canonical form.
    pub buyer: String,
    /// Their name of the metric.
    pub dimension: String,
    /// Hours compared.
    pub hours: i64,
    /// Of these, hours that differ or are not cut yet.
    pub hours_differ: i64,
    /// Billing units live.
    pub live_quantity: String,
    /// Billing units of the shadow.
    pub shadow_quantity: String,
    /// The shadow's less the live one's.
    pub difference: String,
    /// Live billing units of hours before the shadow.
    pub live_before_shadow: String,
    /// Live amount; none: unpriced.
    pub live_amount: Option<String>,
    /// Its currency.
    pub live_currency: Option<String>,
    /// The shadow's amount; none: unpriced.
    pub shadow_amount: Option<String>,
    /// Its currency.
    pub shadow_currency: Option<String>,
}

/// One key in one hour.
#[derive(Debug, Clone, Serialize)]
pub struct ShadowHour {
    /// The buyer, in canonical form.
    pub buyer: String,
    /// Their name of the metric.
    pub dimension: String,
    /// The hour.
    pub hour: Timestamp,
    /// Where the live remittance stands; none: there is none.
    pub live_status: Option<String>,
    /// Its billing units.
    pub live_quantity: Option<String>,
    /// Where the shadow's stands; none: there is none.
    pub shadow_status: Option<String>,
    /// Its billing units.
    pub shadow_quantity: Option<String>,
    /// The shadow's less the live one's.
    pub difference: String,
    /// quantity, `live_alone`, `shadow_alone` or open.
    pub verdict: String,
}

/// Usage of one org, product and metric, in units of the metric.
#[derive(Debug, Clone, Serialize)]
pub struct ShadowUsage {
    /// The org.
    pub org: String,
    /// Our product.
    pub product: String,
    /// Our metric.
    pub metric: String,
    /// Usages counted live.
    pub live_usages: i64,
    /// How much that is.
    pub live_quantity: String,
    /// Usages counted by the shadow.
    pub shadow_usages: i64,
    /// How much that is.
    pub shadow_quantity: String,
    /// Usages given to the shadow and not counted.
    pub uncounted_usages: i64,
    /// How much that is.
    pub uncounted_quantity: String,
    /// Why.
    pub reasons: Option<String>,
    /// Given to the shadow less counted live.
    pub difference: String,
}

impl ShadowDiff {
    /// Nothing differs and everything is counted.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.hours.is_empty() && self.usage.iter().all(|usage| usage.uncounted_usages == 0)
    }
}

/// Compares a shadow's month (named by its first day) with that of its live destination; of the hours that differ, at
/// most so many.
///
/// # Errors
/// As Postgres says.
pub async fn shadow_diff(database: &Database, shadow: &str, month: Date, hours: i64) -> Result<ShadowDiff, Error> {
    Ok(ShadowDiff {
        meters: all(database, &SHADOW_METERS, &[&shadow, &month], |row| {
            Ok(fields!(row => ShadowMeter {
                buyer, dimension, hours, hours_differ, live_quantity, shadow_quantity, difference, live_before_shadow,
                live_amount, live_currency, shadow_amount, shadow_currency
            }))
        })
        .await?,
        hours: all(database, &SHADOW_HOURS, &[&shadow, &month, &hours], |row| {
            Ok(fields!(row => ShadowHour {
                buyer, dimension, hour, live_status, live_quantity, shadow_status, shadow_quantity, difference, verdict
            }))
        })
        .await?,
        usage: all(database, &SHADOW_USAGE, &[&shadow, &month], |row| {
            Ok(fields!(row => ShadowUsage {
                org, product, metric, live_usages, live_quantity, shadow_usages, shadow_quantity, uncounted_usages,
                uncounted_quantity, reasons, difference
            }))
        })
        .await?,
    })
}

async fn all<T>(
    database: &Database,
    query: &Query,
    params: Params<'_>,
    read: impl Fn(&tokio_postgres::Row) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    database.one(query, params).await?.iter().map(read).collect()
}
