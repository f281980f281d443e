//! Corrections go where the usage stands that they correct, whatever the catalogue says by now and whichever hour they
//! name: into its open hour, onto the meter that counted it, or beside it, held, exempt or given up.
//!
//! Where a usage stands is read by one statement before the locks, and again after the last of them. What stands elsewhere
//! by then goes back to the outbox with its corrections.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use remittance::Reason;
use tokio_postgres::Row;
use uuid::Uuid;

use super::plan::{Plan, Target};
use crate::Error;
use crate::query::{Query, Tx, query};

const STANDS: Query = query!("fold_corrected", [UUID_ARRAY]);
const STANDS_IN_SHADOW: Query = query!("shadow_corrected", [UUID_ARRAY, INT4]);
const KEEP_HELD: Query = query!("fold_keep_held", [UUID_ARRAY]);
pub(super) const CREDIT: Query = query!("fold_credit", [INT8_ARRAY, NUMERIC_ARRAY]);
pub(super) const WRITE_OFF: Query = query!("fold_write_off", [UUID_ARRAY, INT8_ARRAY]);

/// Where a usage stands: where its corrections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    target: Target,
    destination: Option<i32>,
    /// Unknown of usage that was dropped.
    hour: Option<Timestamp>,
    /// Until somebody returns it, or gives it up.
    is_held: bool,
}

/// What a fold corrects of usage that it does not fold itself.
pub(super) struct Corrections {
    standings: HashMap<Uuid, Standing>,
    shadow: Option<i32>,
}

impl Corrections {
    /// Gives each kind that corrects the target of what it corrects; at a shadow, or where the usage is owed.
    pub(super) async fn find(tx: &Tx<'_>, plan: &mut Plan, shadow: Option<i32>) -> Result<Self, Error> {
        let mut corrections = Self { standings: HashMap::new(), shadow };
        let corrected: Vec<Uuid> = plan.kinds.iter().filter_map(|kind| kind.corrected).collect();
        if corrected.is_empty() {
            return Ok(corrections);
        }
        corrections.standings = corrections.read(tx, &corrected, plan).await?;
        for kind in &mut plan.kinds {
            let Some(standing) = kind.corrected.and_then(|corrected| corrections.standings.get(&corrected)) else {
                continue;
            };
            kind.target = standing.target;
            kind.destination = standing.destination;
            kind.hour = standing.hour.unwrap_or(kind.hour);
        }
        Ok(corrections)
    }

    /// Sends back what stands elsewhere by now. All that others could move is locked: meters and remittances by their
    /// place, what is held here.
    pub(super) async fn keep(&self, tx: &Tx<'_>, plan: &mut Plan) -> Result<(), Error> {
        if self.standings.is_empty() {
            return Ok(());
        }
        let held: Vec<Uuid> = self.standings.iter().filter(|(_, at)| at.is_held).map(|(usage, _)| *usage).collect();
        let mut kept = HashSet::new();
        if self.shadow.is_none() && !held.is_empty() {
            for row in tx.rows(&KEEP_HELD, &[&held]).await? {
                kept.insert(row.try_get::<_, Uuid>("usage_id")?);
            }
        }
        let corrected: Vec<Uuid> = plan.kinds.iter().filter_map(|kind| kind.corrected).collect();
        let now = self.read(tx, &corrected, plan).await?;
        for kind in &mut plan.kinds {
            let Some(corrected) = kind.corrected else { continue };
            let stands = self.standings.get(&corrected);
            let leaves = stands.is_some_and(|at| at.is_held && self.shadow.is_none()) && !kept.contains(&corrected);
            if stands != now.get(&corrected) || leaves {
                kind.target = Target::Returned;
            }
        }
        Ok(())
    }

    async fn read(&self, tx: &Tx<'_>, corrected: &[Uuid], plan: &mut Plan) -> Result<HashMap<Uuid, Standing>, Error> {
        let rows = match self.shadow {
            Some(shadow) => tx.rows(&STANDS_IN_SHADOW, &[&corrected, &shadow]).await?,
            None => tx.rows(&STANDS, &[&corrected]).await?,
        };
        let mut standings = HashMap::with_capacity(rows.len());
        for row in &rows {
            plan.has_shadow |= row.try_get::<_, bool>("has_shadow")?;
            standings.insert(row.try_get("usage_id")?, standing(row)?);
        }
        Ok(standings)
    }
}

fn standing(row: &Row) -> Result<Standing, Error> {
    let place: &str = row.try_get("place")?;
    let target = match place {
        "waiting" => Target::Returned,
        "open" => Target::Open {
            delivery: row.try_get("delivery_id")?,
            meter_metric: row.try_get("meter_metric_id")?,
            subscription: row.try_get("subscription_id")?,
            round: Some(row.try_get("round")?),
        },
        "counted" => Target::Counted {
            meter: row.try_get("meter_id")?,
            delivery: row.try_get("delivery_id")?,
            meter_metric: row.try_get("meter_metric_id")?,
            subscription: row.try_get("subscription_id")?,
        },
        "exempt" => Target::Exempt(row.try_get::<_, Option<i64>>("exemption_id")?.unwrap_or_default()),
        "written_off" => Target::WrittenOff(row.try_get("decision_id")?),
        "held" | "closed" => Target::Held(
            row.try_get::<_, &str>("reason")?
                .parse()
                .map_err(|unknown: remittance::UnknownWord| Error::Schema(unknown.to_string()))?,
        ),
        // dropped with its month, or nowhere: nothing is left that it could lower
        _ => Target::Held(Reason::TooLate),
    };
    let (destination, hour) = (row.try_get("destination_id")?, row.try_get("hour")?);
    Ok(Standing { target, destination, hour, is_held: place == "held" })
}
