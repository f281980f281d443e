//! What all connections share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::azure;
use crate::bucket::Buckets;
use crate::calls::CallLog;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::google::GoogleState;
use crate::record::Record;
use crate::settings::Settings;

/// One state behind one lock, so that a call is decided and recorded at one moment. Never held across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    initial: Settings,
    started: Instant,
    under_way: AtomicUsize,
}

/// A call that is under way until this is dropped.
pub(crate) struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) record: Record,
    pub(crate) calls: CallLog,
    pub(crate) faults: Faults,
    pub(crate) buckets: Buckets,
    pub(crate) azure: azure::Books,
    pub(crate) google: GoogleState,
}

impl State {
    fn new(settings: Settings) -> State {
        State {
            clock: settings.clock,
            settings,
            record: Record::default(),
            calls: CallLog::default(),
            faults: Faults::default(),
            buckets: Buckets::default(),
            azure: azure::Books::default(),
            google: GoogleState::default(),
        }
    }

    /// Puts new settings in force. Buckets fill up again, since a rate may have changed; the clock is moved only when
    /// the settings moved it.
    pub(crate) fn set(&mut self, settings: Settings) {
        if settings.clock != self.settings.clock {
            self.clock = settings.clock;
        }
        self.settings = settings;
        self.buckets.clear();
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Shared {
        Shared {
            state: Mutex::new(State::new(settings.clone())),
            initial: settings,
            started: Instant::now(),
            under_way: AtomicUsize::new(0),
        }
    }

    /// One more call is under way; says how many are.
    pub(crate) fn begin_call(&self) -> (usize, UnderWay<'_>) {
        (self.under_way.fetch_add(1, Ordering::SeqCst) + 1, UnderWay(&self.under_way))
    }

    /// A panic elsewhere leaves the state as it was between two statements; a judge goes on with it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything, as if started anew with the first settings.
    pub(crate) fn reset(&self) {
        *self.lock() = State::new(self.initial.clone());
    }

    /// Microseconds of real time since the start.
    pub(crate) fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
