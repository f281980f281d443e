//! How much one caller may ask: so many requests a minute each, so many recording at once over all.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::options::Options;
use crate::problem::Problem;

/// The limits of one console. Several consoles do not share them.
pub(crate) struct Limits {
    callers: DefaultKeyedRateLimiter<i64>,
    clock: DefaultClock,
    intake: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(options: &Options) -> Self {
        let each = NonZeroU32::new(options.requests_per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            callers: RateLimiter::keyed(Quota::per_minute(each)),
            clock: DefaultClock::default(),
            intake: Arc::new(Semaphore::new(options.intake_at_once_max)),
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

    /// A place to record from; what comes while all are taken is told to come again, and nothing is queued unseen.
    pub(crate) fn record(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.intake.clone().try_acquire_owned().map_err(|_| {
            Problem::too_many(1, "as much is being recorded as the database takes; send the same request again")
        })
    }
}
