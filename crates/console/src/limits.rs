//! How much one caller may ask: so many requests a minute each, so many recording at once over all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::options::Options;
use crate::problem::Problem;

const MINUTE: Duration = Duration::from_secs(60);
/// For each place to record, so many bodies may be coming in: slow callers do not keep the quick ones out at once.
const BODIES_A_PLACE: usize = 4;
/// Dry runs at once at most, and so many warnings: each holds a connection while the database computes.
const OUTLOOKS: usize = 2;
/// How long an answer waits for a place to look from.
const WARNED_WITHIN: Duration = Duration::from_millis(500);
/// Addresses remembered at most.
const PEERS_MAX: usize = 10_000;

/// The limits of one console. Several consoles do not share them.
pub(crate) struct Limits {
    callers: DefaultKeyedRateLimiter<i64>,
    visitors: DefaultKeyedRateLimiter<IpAddr>,
    peers: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    guesses_per_minute: u32,
    clock: DefaultClock,
    intake: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    events: Arc<Semaphore>,
    outlooks: Arc<Semaphore>,
    warnings: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(options: &Options) -> Self {
        let each = NonZeroU32::new(options.requests_per_minute).unwrap_or(NonZeroU32::MIN);
        let visits = NonZeroU32::new(options.tracker_requests_per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            callers: RateLimiter::keyed(Quota::per_minute(each)),
            visitors: RateLimiter::keyed(Quota::per_minute(visits)),
            peers: Mutex::default(),
            guesses_per_minute: options.guesses_per_minute,
            clock: DefaultClock::default(),
            intake: Arc::new(Semaphore::new(options.intake_at_once_max)),
            bodies: Arc::new(Semaphore::new(options.intake_at_once_max * BODIES_A_PLACE)),
            streams: Arc::new(Semaphore::new(options.streams_at_once_max)),
            events: Arc::new(Semaphore::new(options.events_at_once_max)),
            outlooks: Arc::new(Semaphore::new(OUTLOOKS)),
            warnings: Arc::new(Semaphore::new(OUTLOOKS)),
        }
    }

    /// Lets a caller in, or says when to come again.
    pub(crate) fn admit(&self, caller: i64) -> Result<(), Problem> {
        self.callers.check_key(&caller).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now()).as_secs_f64().ceil();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a minute at most")]
            Problem::too_many(wait as u32, "this token asks more often than it may; send many usages in one request")
        })
    }

    /// Lets an address read the tracker, or says when to come again.
    pub(crate) fn visit(&self, client: IpAddr) -> Result<(), Problem> {
        // addresses are whoever comes: those that have been quiet for a minute are forgotten
        if self.visitors.len() > PEERS_MAX {
            self.visitors.retain_recent();
        }
        self.visitors.check_key(&client).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now()).as_secs_f64().ceil();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a minute at most")]
            Problem::too_many(wait as u32, "this address asks more often than it may")
        })
    }

    /// Whether an address may still try a token that nobody has seen to be good: each such try asks the database.
    pub(crate) fn may_guess(&self, peer: IpAddr) -> Result<(), Problem> {
        let peers = self.peers.lock().expect("no panic while locked");
        let Some((began, guesses)) = peers.get(&peer) else { return Ok(()) };
        let left = MINUTE.saturating_sub(began.elapsed());
        if *guesses < self.guesses_per_minute || left.is_zero() {
            return Ok(());
        }
        #[expect(clippy::cast_possible_truncation, reason = "a minute at most")]
        Err(Problem::too_many(left.as_secs() as u32 + 1, "too many requests with an unknown token from this address"))
    }

    /// A token from this address was unknown.
    pub(crate) fn guessed(&self, peer: IpAddr) {
        let mut peers = self.peers.lock().expect("no panic while locked");
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, (began, _)| began.elapsed() < MINUTE);
        }
        if peers.len() >= PEERS_MAX {
            peers.clear();
        }
        let entry = peers.entry(peer).or_insert((Instant::now(), 0));
        if entry.0.elapsed() >= MINUTE {
            *entry = (Instant::now(), 0);
        }
        entry.1 += 1;
    }

    /// A place to export from.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.streams.clone().try_acquire_owned().map_err(|_| {
            Problem::too_many(
                10,
                "as many exports are under way as the database should bear; come again, or read pages",
            )
        })
    }

    /// A place to watch a request from.
    pub(crate) fn events(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.events.clone().try_acquire_owned().map_err(|_| {
            Problem::too_many(
                10,
                "as many requests are being watched as the database should bear; come again, or read them",
            )
        })
    }

    /// A place to ask from what would become of usage.
    pub(crate) fn outlook(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.outlooks.clone().try_acquire_owned().map_err(|_| {
            Problem::too_many(1, "as many dry runs are under way as the database should bear; send the same again")
        })
    }

    /// A place to look from whether to warn; `None`: none became free soon enough, and a warning is worth no longer wait.
    pub(crate) async fn warning(&self) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(WARNED_WITHIN, self.warnings.clone().acquire_owned()).await.ok()?.ok()
    }

    /// A place for a body that comes in.
    pub(crate) fn body(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.bodies
            .clone()
            .try_acquire_owned()
            .map_err(|_| Problem::too_many(1, "as many bodies are coming in as there is room for; send the same again"))
    }

    /// A place to record from; what comes while all are taken is told to come again, and nothing is queued unseen.
    pub(crate) fn record(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.intake.clone().try_acquire_owned().map_err(|_| {
            Problem::too_many(1, "as much is being recorded as the database takes; send the same request again")
        })
    }
}
