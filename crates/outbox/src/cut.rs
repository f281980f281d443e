//! Cut: closes hours. Quantity, bytes and key are frozen here and never change again.
//!
//! Locks first the meters, then the remittances, each in order; reads sums in statements after the last lock, because
//! READ COMMITTED takes a statement's snapshot before it waits. What another session holds is skipped, and keeps no other
//! hour from being cut; a remittance whose meters cannot all be had is not cut.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use remittance::{Quantity, Reason, Share as Part, Status, idempotency_key};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::query::{Query, Tx, query};
use crate::rounds::Share;
use crate::setback::{self, Member, Setbacks};
use crate::turn::{Locking, Work, turn_after};
use crate::{Database, Error};

const CANDIDATES: Query = query!("cut_candidates", [INT8, INT4_ARRAY, INT8_ARRAY, INT8_ARRAY]);
const LOCK_METERS: Query = query!("cut_lock_meters", [INT8_ARRAY]);
const TRY_METERS: Query = query!("cut_try_meters", [INT8_ARRAY]);
const LOCK_DELIVERIES: Query = query!("lock_deliveries", [INT8_ARRAY]);
const TRY_DELIVERIES: Query = query!("try_deliveries", [INT8_ARRAY]);
const MEMBERS: Query = query!("cut_members", [INT8_ARRAY, INT8_ARRAY]);
const METERS: Query = query!("cut_meters", [INT8_ARRAY, BOOL_ARRAY]);
const AWAITED: Query = query!("cut_awaited", [INT8_ARRAY]);
const END_MARKED: Query = query!("cut_end_marked", [INT8_ARRAY, INT4, BOOL]);
const SHARES: Query = query!("cut_shares", [INT8_ARRAY, NUMERIC_ARRAY, INT4_ARRAY]);
const HAS_TARGET: Query = query!("cut_has_target", [INT8]);
const FREEZE: Query =
    query!("cut_freeze", [INT8_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, UUID_ARRAY]);

/// So much usage that belongs elsewhere by now a cut returns itself, while there is time to leave more to maintenance.
const RETURNED_MAX: i32 = 1000;

/// What is about to be frozen; the marketplace's code makes bytes of it.
#[derive(Debug, Clone)]
pub struct Sum {
    /// The destination's number.
    pub destination_id: i32,
    /// The buyer's identity as it is sent.
    pub identity: Value,
    /// Our product.
    pub product: String,
    /// Their dimension.
    pub dimension: String,
    /// Decimals of the dimension.
    pub decimals: u32,
    /// The hour.
    pub hour: Timestamp,
    /// Where its buyer's subscriptions end inside the hour, if it is cut before the hour is over.
    pub ends: Option<Timestamp>,
    /// What is billed; zero only where a silent hour is reported.
    pub quantity: Quantity,
    /// How it is shared out by attributes of its usage; empty: it is not.
    pub shares: Vec<Part>,
    /// The idempotency key.
    pub idempotency_key: Uuid,
}

/// Frozen bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// The record to send.
    pub body: String,
    /// Only deliveries of one group share a call.
    pub batch_group: String,
}

/// What a cut did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// Hours cut.
    pub cut: usize,
    /// Of these, due.
    pub due: usize,
    /// Held: the marketplace's code refused the quantity.
    pub held: usize,
    /// Cut while their usage was still arriving, because of the deadline: worth an alert.
    pub forced: usize,
}

impl Cut {
    fn add(&mut self, more: Self) {
        self.cut += more.cut;
        self.due += more.due;
        self.held += more.held;
        self.forced += more.forced;
    }
}

/// An hour that may be cut.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hour {
    id: i64,
    destination: i32,
    is_urgent: bool,
    is_forced: bool,
}

impl Member for Hour {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn destination(&self) -> Option<i32> {
        Some(self.destination)
    }

    fn is_urgent(&self) -> bool {
        self.is_urgent
    }
}

/// The marketplace's code, which makes bytes of a quantity; it must be pure.
pub type Freeze<'a> = &'a (dyn Fn(&Sum) -> Result<Bytes, Reason> + Sync);

/// Who cuts: live hours or those of shadows, in rounds of so many. Kept from round to round, so that its transactions are
/// as long as they should be.
#[derive(Debug, Clone, Copy)]
pub struct Cutter {
    step: &'static str,
    most: i64,
    share: Share,
}

impl Cutter {
    /// Cuts live hours, at most so many a round.
    #[must_use]
    pub fn live(most: i64) -> Self {
        Self { step: "cut", most, share: Share::of(usize::try_from(most).unwrap_or(usize::MAX)) }
    }

    /// Cuts hours of shadows.
    #[must_use]
    pub fn of_shadows(most: i64) -> Self {
        Self { step: "shadow_cut", ..Self::live(most) }
    }

    /// Cuts hours that are over, of the destinations that the caller can serve. What another session holds, or what
    /// fails alone, is noted in `postmeter.setback`, and the others are cut.
    ///
    /// # Errors
    /// What every hour would have met; what was cut before that stays cut.
    pub async fn cut(&mut self, database: &Database, destinations: &[i32], freeze: Freeze<'_>) -> Result<Cut, Error> {
        let setbacks = Setbacks::read(database, self.step).await;
        let (tried, not_yet) = (setbacks.numbers(true), setbacks.numbers(false));
        let rows = database.one(&CANDIDATES, &[&self.most, &destinations, &tried, &not_yet]).await?;
        let candidates = rows.iter().map(read_hour).collect::<Result<Vec<_>, Error>>()?;
        let mut cutting = Cutting { freeze, cut: Cut::default(), left: Vec::new() };
        let turned = turn_after(database, &setbacks, candidates, &mut self.share, &mut cutting).await?;
        if !turned.skipped.is_empty() {
            // somebody else has cut some of them meanwhile
            setback::over(database, self.step).await;
        }
        Ok(cutting.cut)
    }
}

/// What a turn of cuts does, and has done.
struct Cutting<'a> {
    freeze: Freeze<'a>,
    cut: Cut,
    /// Hours that count on a meter of another one of the last share.
    left: Vec<Hour>,
}

impl Work<Hour> for Cutting<'_> {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Hour], locking: Locking) -> Result<Vec<Hour>, Error> {
        let done = cut_share(tx, part, locking, self.freeze).await?;
        self.cut.add(done.cut);
        self.left = done.left;
        Ok(done.skipped)
    }

    fn left(&mut self) -> Vec<Hour> {
        std::mem::take(&mut self.left)
    }
}

/// One round of a [`Cutter`] of live hours.
///
/// # Errors
/// As [`Cutter::cut`].
pub async fn cut(database: &Database, most: i64, destinations: &[i32], freeze: Freeze<'_>) -> Result<Cut, Error> {
    Cutter::live(most).cut(database, destinations, freeze).await
}

fn read_hour(row: &Row) -> Result<Hour, Error> {
    Ok(Hour {
        id: row.try_get("id")?,
        destination: row.try_get("destination_id")?,
        is_urgent: row.try_get("urgent")?,
        is_forced: row.try_get("forced")?,
    })
}

/// What one transaction came to.
struct Done {
    cut: Cut,
    /// Somebody else holds them.
    skipped: Vec<Hour>,
    /// One of their meters was another one's in this transaction.
    left: Vec<Hour>,
}

/// Cuts in one transaction.
async fn cut_share(tx: &Tx<'_>, part: &[Hour], locking: Locking, freeze: Freeze<'_>) -> Result<Done, Error> {
    let ids: Vec<i64> = part.iter().map(|hour| hour.id).collect();
    let (meters, deliveries) = match locking {
        Locking::Skip => (&TRY_METERS, &TRY_DELIVERIES),
        Locking::Wait => (&LOCK_METERS, &LOCK_DELIVERIES),
    };
    let meters: HashSet<i64> = tx.rows(meters, &[&ids]).await?.iter().map(|row| row.get(0)).collect();
    let locked: HashSet<i64> = tx.rows(deliveries, &[&ids]).await?.iter().map(|row| row.get(0)).collect();
    let mut members = members(tx, &ids, &locked, &meters).await?;
    settle_marked(tx, part, &mut members).await?;
    let those = |ids: &HashSet<i64>| part.iter().filter(|hour| ids.contains(&hour.id)).copied().collect();
    let (skipped, left) = (those(&members.skipped), those(&members.left));
    let forced: HashSet<i64> = part.iter().filter(|hour| hour.is_forced).map(|hour| hour.id).collect();
    if members.deliveries.is_empty() {
        return Ok(Done { cut: Cut::default(), skipped, left });
    }
    let sums = tx.rows(&METERS, &[&members.deliveries, &members.deferred]).await?;
    let mut shares = shares(tx, &sums).await?;
    let mut decide = |row| decide_row(row, (&forced, &mut shares), freeze);
    let decided = sums.iter().map(&mut decide).collect::<Result<Vec<_>, _>>()?;
    let cut = write(tx, &decided).await?;
    let forced = members.deliveries.iter().filter(|id| forced.contains(id)).count();
    Ok(Done { cut: Cut { forced, ..cut }, skipped, left })
}

/// What a share can cut.
#[derive(Default)]
struct Members {
    /// Still open, all their meters locked, no meter twice.
    deliveries: Vec<i64>,
    /// Per delivery: it has missed its time and carries everything to another hour of the month that has not.
    deferred: Vec<bool>,
    /// Of these, those for whose buyer the catalogue has changed.
    marked: Vec<i64>,
    /// Still open, and they or one of their meters are another session's.
    skipped: HashSet<i64>,
    /// One of their meters is another one's of these.
    left: HashSet<i64>,
}

/// Which of them can be cut together now.
async fn members(tx: &Tx<'_>, ids: &[i64], locked: &HashSet<i64>, meters: &HashSet<i64>) -> Result<Members, Error> {
    let (mut members, mut taken) = (Members::default(), HashSet::new());
    let ours: Vec<i64> = ids.iter().copied().filter(|id| locked.contains(id)).collect();
    for row in tx.rows(&MEMBERS, &[&ids, &ours]).await? {
        let (id, of): (i64, Vec<i64>) = (row.try_get("id")?, row.try_get("meters")?);
        if !locked.contains(&id) || !of.iter().all(|meter| meters.contains(meter)) {
            members.skipped.insert(id);
            continue;
        }
        // counts on a meter of another one here: in the next transaction
        if of.iter().any(|meter| taken.contains(meter)) {
            members.left.insert(id);
            continue;
        }
        taken.extend(of);
        let is_late: bool = row.try_get("is_late")?;
        let carries =
            is_late && tx.rows(&HAS_TARGET, &[&id]).await?.first().is_some_and(|row| row.try_get(0).unwrap_or(false));
        members.deliveries.push(id);
        members.deferred.push(carries);
        members.marked.extend(row.try_get::<_, bool>("is_marked")?.then_some(id));
    }
    Ok(members)
}

/// What is counted in marked hours and belongs elsewhere by now goes back to the outbox. While there is time, such an hour is
/// left for a later round, by which its usage is where it belongs; else all of it goes back and the rest is cut.
async fn settle_marked(tx: &Tx<'_>, part: &[Hour], members: &mut Members) -> Result<(), Error> {
    if members.marked.is_empty() {
        return Ok(());
    }
    let urgent: HashSet<i64> = part.iter().filter(|hour| hour.is_urgent).map(|hour| hour.id).collect();
    let (at_once, in_time): (Vec<i64>, Vec<i64>) = members.marked.iter().partition(|id| urgent.contains(id));
    if !at_once.is_empty() {
        tx.rows(&END_MARKED, &[&at_once, &None::<i32>, &true]).await?;
    }
    let mut later = HashSet::new();
    if !in_time.is_empty() {
        // first what they have themselves: others may wait for that
        let ended = tx.rows(&END_MARKED, &[&in_time, &Some(RETURNED_MAX), &false]).await?;
        let waiting = tx.rows(&AWAITED, &[&in_time]).await?;
        later.extend(ended.iter().chain(&waiting).map(|row| row.get::<_, i64>(0)));
    }
    let (deliveries, deferred) = members
        .deliveries
        .iter()
        .zip(&members.deferred)
        .filter(|(id, _)| !later.contains(id))
        .map(|(id, deferred)| (*id, *deferred))
        .unzip();
    (members.deliveries, members.deferred) = (deliveries, deferred);
    Ok(())
}

struct Decided {
    id: i64,
    status: Status,
    reason: Option<Reason>,
    quantity: String,
    bytes: Option<Bytes>,
    idempotency_key: Option<Uuid>,
}

/// How quantities are shared out, of the remittances whose dimension says so.
async fn shares(tx: &Tx<'_>, sums: &[Row]) -> Result<HashMap<i64, Vec<Part>>, Error> {
    let (mut ids, mut quantities, mut decimals) = (Vec::new(), Vec::new(), Vec::new());
    for row in sums {
        let is_shared: bool = row.try_get("is_shared")?;
        // one with more digits is held
        if let (true, Ok(quantity)) = (is_shared, row.try_get::<_, &str>("quantity")?.parse::<rust_decimal::Decimal>())
        {
            ids.push(row.try_get::<_, i64>("id")?);
            quantities.push(quantity);
            decimals.push(row.try_get::<_, i32>("decimals")?);
        }
    }
    let mut shares: HashMap<i64, Vec<Part>> = HashMap::new();
    if ids.is_empty() {
        return Ok(shares);
    }
    for row in tx.rows(&SHARES, &[&ids, &quantities, &decimals]).await? {
        let tags: Value = row.try_get("tags")?;
        let tags = tags.as_object().into_iter().flatten();
        let tags = tags.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let mut tags: Vec<_> = tags.collect();
        tags.sort_unstable();
        let quantity =
            row.try_get::<_, &str>("share")?.parse().map_err(|error| Error::Schema(format!("a share: {error}")))?;
        shares.entry(row.try_get("id")?).or_default().push(Part { tags, quantity });
    }
    Ok(shares)
}

fn decide_row(
    row: &Row,
    (forced, shares): (&HashSet<i64>, &mut HashMap<i64, Vec<Part>>),
    freeze: Freeze<'_>,
) -> Result<Decided, Error> {
    let id = row.try_get("id")?;
    let text: String = row.try_get("quantity")?;
    let held = |quantity| Decided {
        id,
        status: Status::Held,
        reason: Some(Reason::QuantityOutOfRange),
        quantity,
        bytes: None,
        idempotency_key: None,
    };
    // more digits than a quantity may have: no marketplace takes it either
    let Ok(quantity) = text.parse::<Quantity>() else { return Ok(held(text)) };
    // while usage of the hour is still on its way, nothing is said about it: that usage takes it
    let sends_zero = row.try_get("sends_zero")? && !forced.contains(&id);
    if quantity.is_zero() && !sends_zero {
        return Ok(Decided {
            id,
            status: Status::NothingDue,
            reason: None,
            quantity: text,
            bytes: None,
            idempotency_key: None,
        });
    }
    let (destination, key): (&str, &str) = (row.try_get("destination")?, row.try_get("key")?);
    let sum = Sum {
        destination_id: row.try_get("destination_id")?,
        identity: row.try_get("identity")?,
        product: row.try_get("product")?,
        dimension: row.try_get("dimension")?,
        decimals: u32::try_from(row.try_get::<_, i32>("decimals")?).unwrap_or_default(),
        hour: row.try_get("hour")?,
        ends: row.try_get("ends")?,
        quantity,
        shares: shares.remove(&id).unwrap_or_default(),
        idempotency_key: idempotency_key(destination, key, row.try_get("releases")?),
    };
    Ok(match freeze(&sum) {
        Ok(bytes) => Decided {
            id,
            status: Status::Due,
            reason: None,
            quantity: text,
            bytes: Some(bytes),
            idempotency_key: Some(sum.idempotency_key),
        },
        Err(reason) => Decided { reason: Some(reason), ..held(text) },
    })
}

async fn write(tx: &Tx<'_>, decided: &[Decided]) -> Result<Cut, Error> {
    let ids: Vec<i64> = decided.iter().map(|d| d.id).collect();
    let statuses: Vec<&str> = decided.iter().map(|d| d.status.as_str()).collect();
    let reasons: Vec<Option<&str>> = decided.iter().map(|d| d.reason.map(Reason::as_str)).collect();
    let quantities: Vec<&str> = decided.iter().map(|d| d.quantity.as_str()).collect();
    let bodies: Vec<Option<&str>> = decided.iter().map(|d| d.bytes.as_ref().map(|b| b.body.as_str())).collect();
    let groups: Vec<Option<&str>> = decided.iter().map(|d| d.bytes.as_ref().map(|b| b.batch_group.as_str())).collect();
    let keys: Vec<Option<Uuid>> = decided.iter().map(|d| d.idempotency_key).collect();
    if ids.is_empty() {
        return Ok(Cut::default());
    }
    tx.rows(&FREEZE, &[&ids, &statuses, &reasons, &quantities, &bodies, &groups, &keys]).await?;
    let count = |status| decided.iter().filter(|d| d.status == status).count();
    Ok(Cut { cut: ids.len(), due: count(Status::Due), held: count(Status::Held), forced: 0 })
}
