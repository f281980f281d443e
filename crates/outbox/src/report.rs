//! What people ask, read from the views. Nothing here changes anything: the role `postmeter_reader` is enough.
//!
//! Quantities are text, to the letter: sums and products were made by Postgres, exactly. Amounts are for information
//! and never summed over currencies; where there is no price they are absent, which is not zero.

use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::types::{FromSql, Json, Type};

mod attempts;
mod overview;
mod remittance;
mod shadow;
mod strain;
mod usage;
mod verdict;

pub use attempts::{Attempt, AttemptFilter, attempts};
pub use overview::{
    AtRisk, Backlog, DestinationState, Forecast, Health, HeldGroup, LiveWorker, Missing, Overview, Standing, overview,
};
pub use remittance::{
    Biggest, Cut, CutMetric, Decision, Evidence, Member, Remittance, RemittanceReport, remittance, told_dropped,
};
pub use shadow::{ShadowDiff, ShadowHour, ShadowMeter, ShadowUsage, shadow_diff};
pub use strain::{QuotaPace, RefusedBuyer};
pub use usage::{Allocation, Correction, Usage, UsageReport, Wanted, dropped_with, usage};
pub use verdict::{Verdict, accepted, verdict};

use crate::query::{Query, query};

const ACCEPTED: Query = query!("report_accepted", []);
const ALLOCATIONS: Query = query!("report_allocations", [UUID]);
const ATTEMPTS: Query = query!("report_attempts", [INT8, TEXT, TEXT, TEXT, TEXT, INT8]);
const AT_RISK: Query = query!("report_at_risk", []);
const BACKLOG: Query = query!("report_backlog", []);
const BIGGEST: Query = query!("report_biggest", [INT8, INT8, UUID]);
const CORRECTIONS: Query = query!("report_corrections", [TEXT, TEXT]);
const CUTS: Query = query!("report_cuts", [INT8]);
const DECISIONS: Query = query!("report_decisions", [INT8, UUID]);
const DESTINATIONS: Query = query!("report_destinations", []);
const CONTRADICTIONS: Query = query!("report_contradictions", [INT8]);
const DROPPED_REMITTANCE: Query = query!("report_dropped_remittance", [INT8]);
const EVIDENCE: Query = query!("report_evidence", [INT8]);
const FORECAST: Query = query!("report_forecast", []);
const INSTALLATION: Query = query!("report_installation", []);
const HEALTH: Query = query!("report_health", []);
const HELD: Query = query!("report_held", []);
const MEMBERS: Query = query!("report_members", [INT8, INT8]);
const PACES: Query = query!("report_paces", []);
const REFUSED: Query = query!("report_refused", []);
const REMITTANCE: Query = query!("report_remittance", [INT8]);
const SHADOW_HOURS: Query = query!("report_shadow_hours", [TEXT, DATE, INT8]);
const SHADOW_METERS: Query = query!("report_shadow_meters", [TEXT, DATE]);
const SHADOW_USAGE: Query = query!("report_shadow_usage", [TEXT, DATE]);
const STANDING: Query = query!("report_standing", []);
const DROPPED: Query = query!("report_dropped", [TEXT, TEXT, UUID]);
const USAGE: Query = query!("report_usage", [TEXT, TEXT, UUID]);
const WORKERS: Query = query!("report_workers", []);

/// `fields!(row => Name { a, b })` is a `Name` whose fields are read from the columns of the same names.
/// JSON as the database has it. It is not taken apart: what may be recorded is nested deeper than a parser likes.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl<'a> FromSql<'a> for RawJson {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Json::from_sql(kind, raw).map(|Json(value)| Self(value))
    }

    fn accepts(kind: &Type) -> bool {
        <Json<Box<RawValue>> as FromSql>::accepts(kind)
    }
}

macro_rules! fields {
    ($row:expr => $name:ident { $($field:ident),* $(,)? }) => {
        $name { $($field: $row.try_get(stringify!($field))?),* }
    };
}
pub(crate) use fields;
const VERDICT: Query = query!("report_verdict", []);
