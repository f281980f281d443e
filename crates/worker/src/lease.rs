//! The worker's own view of its lease: on the boot-time clock, counted from before the heartbeat was sent, so that it
//! always ends before the database thinks it does, through sleep of the machine and stops of the process alike.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A lease that is renewed by heartbeats.
#[derive(Debug)]
pub struct Lease {
    length: Duration,
    until: AtomicU64,
}

impl Lease {
    /// A lease that has not begun.
    pub const fn new(length: Duration) -> Self {
        Self { length, until: AtomicU64::new(0) }
    }

    /// The boot-time clock: goes on while the machine sleeps, never jumps.
    #[expect(clippy::unused_self, reason = "time is the lease's own")]
    pub fn now(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    /// The heartbeat sent at `sent_at` was taken.
    pub fn renewed(&self, sent_at: Duration) {
        let until = sent_at + self.length;
        self.until.fetch_max(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// The database says that it is over.
    pub fn lost(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// How long it still lasts.
    pub fn remaining(&self) -> Duration {
        Duration::from_millis(self.until.load(Ordering::Acquire)).saturating_sub(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e3_a_lease_counts_from_before_its_heartbeat() {
        let lease = Lease::new(Duration::from_secs(20));
        assert_eq!(lease.remaining(), Duration::ZERO);
        let sent_at = lease.now().saturating_sub(Duration::from_secs(5));
        lease.renewed(sent_at);
        assert!(lease.remaining() <= Duration::from_secs(15));
        lease.lost();
        assert_eq!(lease.remaining(), Duration::ZERO);
    }
}
