//! Dispatch, per destination: what is due is claimed, for as many calls as there is room for, none without a lease or a
//! recorded intent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox::catalogue::Destination;
use outbox::claim::{Claim, Floor};
use outbox::settle::Settlement;
use outbox::timeline::Position;
use telemetry::{LoopHealth, names};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::Worker;
use crate::breaker::Admission;
use crate::call::{Call, LEASE_NEEDED, call_span, hand_back, too_late};
use crate::directory::Served;
use crate::open_attempts::AttemptGuard;
use crate::pace;
use crate::settler::Answers;
use crate::slots::Near;

/// How often the queue is looked at from its beginning: rows enter it below the floor too.
const FLOOR_FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// Of so many full claims one takes the oldest deliveries, whatever their deadlines: what is not urgent does not starve
/// behind what is (`docs/decisions/0019-reserved-share.md`).
const RESERVED_EVERY: u32 = 16;

/// Last tries before deadlines are made so often, together: each raises the wait again.
const LAST_TRIES_EVERY: Duration = Duration::from_secs(15);

/// Where a destination's loop stands.
pub struct Dispatch {
    /// A permit per call on the wire.
    permits: Arc<Semaphore>,
    /// A permit per call in hand, from its claim to its end.
    room: Arc<Semaphore>,
    /// So many calls may be in hand before their turn on the wire.
    ahead: usize,
    /// So many in all.
    in_hand_max: usize,
    floor: Floor,
    floor_since: Instant,
    /// Full claims by deadline since the last by age. A claim that is not full leaves nothing waiting.
    full_claims: u32,
    /// Where claims by age go on looking.
    oldest_above: i64,
    /// What a probe would begin with is too late to be sent: it is swept away in large claims.
    sweeps: bool,
    /// Of the last claim, on average.
    records_a_call: usize,
    /// Before that the calls begin that this worker spaced by itself, because its quota could not be asked.
    own_slots_until: Instant,
    /// When records were last sent although the marketplace wants no call.
    last_tried_at: Option<Instant>,
    calls: TaskTracker,
}

/// What may be claimed.
struct Entry {
    admission: Admission,
    /// For so many calls.
    room: Vec<OwnedSemaphorePermit>,
    near: Near,
}

impl Dispatch {
    /// Of a destination without a quota as many calls again are claimed ahead, so that the wire does not stand still
    /// while the next claim is made; with a quota the wire waits for its slots anyhow.
    pub fn new(destination: &Destination) -> Self {
        let in_flight_max = destination.in_flight_max;
        let ahead = if destination.is_limited { 0 } else { in_flight_max };
        Self {
            permits: Arc::new(Semaphore::new(in_flight_max)),
            room: Arc::new(Semaphore::new(in_flight_max + ahead)),
            ahead,
            in_hand_max: in_flight_max + ahead,
            floor: Floor::START,
            floor_since: Instant::now(),
            full_claims: 0,
            oldest_above: 0,
            sweeps: false,
            records_a_call: usize::try_from(destination.records_max).unwrap_or(1),
            own_slots_until: Instant::now(),
            last_tried_at: None,
            calls: TaskTracker::new(),
        }
    }

    /// Waits for room for the next claim: for as many calls as may be on the wire, so that claims are few and large; while
    /// a destination recovers, until fewer calls are in hand than its ramp allows.
    async fn room(&self, admission: Admission, pulse: &LoopHealth, name: &str) -> Vec<OwnedSemaphorePermit> {
        let kept_free = self.in_hand_max.saturating_sub(admission.calls_max());
        let least = if admission == Admission::Free { self.ahead.max(1) } else { kept_free + 1 };
        let mut room = Vec::new();
        let _rest = pulse.rest(name);
        while room.len() < least
            && let Ok(one) = Arc::clone(&self.room).acquire_owned().await
        {
            room.push(one);
        }
        while let Ok(one) = Arc::clone(&self.room).try_acquire_owned() {
            room.push(one);
        }
        room.truncate(room.len().saturating_sub(kept_free));
        room
    }

    /// How many deliveries to claim.
    fn most(&self, admission: Admission, room: usize, records_max: i32) -> i64 {
        match admission {
            Admission::Probe { .. } if !self.sweeps => 1,
            Admission::Probe { .. } => i64::try_from(self.in_hand_max).unwrap_or(1) * i64::from(records_max),
            _ => i64::try_from(room).unwrap_or(1) * i64::from(records_max),
        }
    }

    /// So many records at most are likely to fill the slots that are near: those that go alone would be many more calls.
    fn likely(&self, near: Near) -> i64 {
        let records = near.calls.saturating_mul(2 * self.records_a_call);
        i64::try_from(records).unwrap_or(i64::MAX)
    }

    /// Begins a call that the destination's loop does not wait for.
    pub fn begin(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.calls.spawn(call);
    }

    /// Waits until every call has ended.
    pub async fn drained(&self) {
        self.calls.close();
        self.calls.wait().await;
        self.calls.reopen();
    }
}

impl Worker {
    /// Claims what is due at a destination, as much as permits allow, and starts the calls; returns how many deliveries.
    ///
    /// # Errors
    /// As Postgres says.
    pub(crate) async fn dispatch(
        self: &Arc<Self>,
        served: &Arc<Served>,
        state: &mut Dispatch,
        answers: &Answers,
        stop: &CancellationToken,
    ) -> Result<usize, outbox::Error> {
        let destination = &served.destination;
        if destination.paused || served.marketplace.is_err() || self.lease.remaining() < LEASE_NEEDED {
            return Ok(0);
        }
        // one last try is made before a deadline, however long they asked to be left alone
        let last_tries = match self.paces.wait(destination.quota, Instant::now()) {
            Some(left) if left > pace::PATIENCE => {
                if state.last_tried_at.is_some_and(|at| at.elapsed() < LAST_TRIES_EVERY) {
                    return Ok(0);
                }
                match outbox::claim::last_tries(&self.database, destination.id).await? {
                    0 => return Ok(0),
                    last_tries => Some(last_tries),
                }
            }
            _ => None,
        };
        let entry = self.entry(served, state, last_tries.is_some(), stop).await?;
        let Some(Entry { admission, mut room, near }) = entry else { return Ok(0) };
        if stop.is_cancelled() {
            return Ok(0);
        }
        // what was handed back when it broke is in the queue again, below the floor
        if admission != Admission::Free || state.floor_since.elapsed() > FLOOR_FORGOTTEN_AFTER {
            (state.floor, state.oldest_above, state.floor_since) = (Floor::START, 0, Instant::now());
        }
        let most = state.most(admission, room.len(), destination.records_max);
        let most = most.min(state.likely(near)).min(last_tries.unwrap_or(i64::MAX));
        if last_tries.is_some() {
            (state.floor, state.full_claims) = (Floor::START, 0);
            state.last_tried_at = Some(Instant::now());
        }
        let claiming = self.open_attempts.claiming(self.lease.now());
        let claims = self.claim(served, admission, most, state).await?;
        if claims.is_empty() {
            return Ok(0);
        }
        let count = claims.len();
        names::DELIVERIES_CLAIMED.add([&destination.name], u64::try_from(count).unwrap_or_default());
        let guard = self.guard(&claims);
        drop(claiming);
        self.crash.point("after_claim");
        let mut calls = match admission {
            Admission::Probe { .. } => probe_of(served, claims, state, answers).await,
            _ => by_call(claims),
        };
        state.records_a_call = (count / calls.len().max(1)).max(1);
        let slots = match last_tries {
            // while they want no call, no other worker takes a slot
            Some(_) => None,
            None => self.slots(served, calls.len(), near, &mut state.own_slots_until).await,
        };
        let others = calls.split_off(calls.len().min(slots.map_or(usize::MAX, |begin| begin.count)));
        give_back(served, others, state, answers).await;
        let calls: Vec<_> = calls.into_iter().map(|call| (self.guard(&call), call)).collect();
        guard.disarm();
        for (index, (guard, claims)) in calls.into_iter().enumerate() {
            // a claim can give more calls than there was room for (small groups): these wait for the wire like the rest
            let room = room.pop();
            let start_at = slots.map(|begin| begin.at(index));
            let call = Call { claims, guard, start_at, is_last: last_tries.is_some() };
            let (worker, served, answers, permits, stop) =
                (Arc::clone(self), Arc::clone(served), answers.clone(), Arc::clone(&state.permits), stop.clone());
            state.calls.spawn(async move {
                let span = call_span(&worker, &served, &call.claims);
                worker.call(&served, call, &permits, &stop, &answers).instrument(span).await;
                drop(room);
            });
        }
        Ok(count)
    }

    /// By deadline; at every turn of the reserved share by age.
    async fn claim(
        &self,
        served: &Served,
        admission: Admission,
        most: i64,
        state: &mut Dispatch,
    ) -> Result<Vec<Claim>, outbox::Error> {
        let seen = self.options.history.position();
        let (database, rules) = (&self.database, served.destination.rules());
        let limits = served.destination.limits();
        if let Admission::Probe { .. } = admission {
            return self.claim_probe(served, most, seen.as_ref()).await;
        }
        if state.full_claims + 1 >= RESERVED_EVERY {
            state.full_claims = 0;
            let above = &mut state.oldest_above;
            let claims =
                outbox::claim::claim_oldest(database, rules, self.id, most, limits, above, seen.as_ref()).await?;
            if !claims.is_empty() {
                return Ok(claims);
            }
            // what is there now came in below
            state.oldest_above = 0;
        }
        let floor = &mut state.floor;
        let mut claims = outbox::claim::claim(database, rules, self.id, most, limits, floor, seen.as_ref()).await?;
        // what came back meanwhile stands below: a refused batch goes on in halves without a pause
        if claims.is_empty() && *floor != Floor::START {
            *floor = Floor::START;
            claims = outbox::claim::claim(database, rules, self.id, most, limits, floor, seen.as_ref()).await?;
        }
        state.full_claims += u32::from(i64::try_from(claims.len()).is_ok_and(|count| count == most));
        Ok(claims)
    }

    /// The probe's: behind what the last one took, so that no single record can fail all probes.
    async fn claim_probe(
        &self,
        served: &Served,
        most: i64,
        seen: Option<&Position>,
    ) -> Result<Vec<Claim>, outbox::Error> {
        let (database, id) = (&self.database, served.destination.id);
        let (rules, limits) = (served.destination.rules(), served.destination.limits());
        let mut floor = served.breaker.probe_from();
        let mut claims = outbox::claim::claim(database, rules, self.id, most, limits, &mut floor, seen).await?;
        if claims.is_empty() && floor != Floor::START {
            floor = Floor::START;
            claims = outbox::claim::claim(database, rules, self.id, most, limits, &mut floor, seen).await?;
        }
        if !claims.is_empty() {
            match outbox::breaker::probed(database, id, self.id, floor).await {
                Ok(_) => self.failures.went_well_at("probed", &served.destination.name),
                Err(error) => self.failures.failed_at("probed", &served.destination.name, &error),
            }
        }
        Ok(claims)
    }

    /// Takes into hand what a claim has brought.
    pub(crate) fn guard(&self, claims: &[Claim]) -> AttemptGuard {
        let attempts: Vec<_> = claims.iter().map(|claim| claim.attempt).collect();
        self.open_attempts.take(attempts.iter().copied());
        self.options.history.committed(attempts.iter().copied().max());
        AttemptGuard::new(&self.open_attempts, attempts)
    }

    /// Waits until something may be claimed, and for how many calls; `None`: nothing now. To probe, the fleet must give
    /// this worker the right to.
    async fn entry(
        &self,
        served: &Served,
        state: &Dispatch,
        is_last: bool,
        stop: &CancellationToken,
    ) -> Result<Option<Entry>, outbox::Error> {
        let (admission, room, near) = loop {
            let before = served.admission();
            if before == Admission::Shut {
                return Ok(None);
            }
            let mut room = state.room(before, &self.options.pulse, &served.destination.name).await;
            let near = if is_last { Near::ALL } else { self.near_slots(served, state.own_slots_until, stop).await };
            room.truncate(near.calls);
            // while it waited, calls may have found the destination broken
            let admission = served.admission();
            if admission.calls_max() >= before.calls_max() {
                break (admission, room, near);
            }
        };
        Ok(self.may_begin(served, admission).await?.then_some(Entry { admission, room, near }))
    }
}

/// One call of one record, and nothing else of what was claimed: a probe that fails leaves a single delivery of which
/// it is unknown whether the call arrived.
async fn probe_of(served: &Served, claims: Vec<Claim>, state: &mut Dispatch, answers: &Answers) -> Vec<Vec<Claim>> {
    let (late, mut timely): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.too_late.is_some());
    state.sweeps = timely.is_empty();
    let others = timely.split_off(timely.len().min(1));
    let mut settlements = too_late(&late);
    settlements.extend(hand_back(others));
    hand_over(served, settlements, answers).await;
    if timely.is_empty() { Vec::new() } else { vec![timely] }
}

/// OpenAttempts back calls for which there is no slot: they are the next to go, and stand below the floor.
async fn give_back(served: &Served, calls: Vec<Vec<Claim>>, state: &mut Dispatch, answers: &Answers) {
    if !calls.is_empty() {
        state.floor = Floor::START;
        hand_over(served, hand_back(calls.into_iter().flatten().collect()), answers).await;
    }
}

/// Passes on what no call was made for.
async fn hand_over(served: &Served, settlements: Vec<Settlement>, answers: &Answers) {
    served.count(&settlements);
    if !settlements.is_empty() {
        // the receiver lives until every call has ended
        let _ = answers.send(settlements).await;
    }
}

fn by_call(claims: Vec<Claim>) -> Vec<Vec<Claim>> {
    let mut calls: Vec<Vec<Claim>> = Vec::new();
    for claim in claims {
        match calls.last_mut() {
            Some(call) if call[0].call == claim.call => call.push(claim),
            _ => calls.push(vec![claim]),
        }
    }
    calls
}
