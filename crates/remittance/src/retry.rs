//! When to try again.

use std::time::Duration;

/// The delay of a delivery as a pure function of its tries: doubling, bounded, spread by a seed. It is stored with the
/// row (`later.due_at`), so it survives every worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySchedule {
    /// Delay after the first try.
    pub first: Duration,
    /// No delay is longer.
    pub max: Duration,
    /// After so many tries the delivery becomes `unknown`: only a call that may have arrived counts as a try that is made
    /// again. `None`: it is sent again until its deadline.
    pub tries_max: Option<u32>,
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self { first: Duration::from_secs(2), max: Duration::from_secs(300), tries_max: None }
    }
}

impl RetrySchedule {
    /// Delay before the next attempt after `tries` tries (1 = the first has failed). The seed (say, the delivery's id)
    /// takes up to a quarter off, so that what failed together does not come back together.
    #[must_use]
    pub fn delay(&self, tries: u32, seed: u64) -> Duration {
        let doubled = self.first.saturating_mul(1_u32 << tries.saturating_sub(1).min(20)).min(self.max);
        // splitmix64: neighbouring seeds must give unrelated spreads
        let mut z = seed.wrapping_add(u64::from(tries)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let part = u32::try_from((z >> 32) & 0xff).expect("eight bits fit");
        doubled - doubled / 4 * part / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e6_the_delay_is_bounded_for_ever() {
        let schedule = RetrySchedule::default();
        for tries in [1, 2, 5, 10, 100, u32::MAX] {
            for seed in 0..50 {
                let delay = schedule.delay(tries, seed);
                assert!(delay <= schedule.max, "{tries} {seed} {delay:?}");
                assert!(delay >= schedule.first * 3 / 4, "{tries} {seed} {delay:?}");
            }
        }
        assert!(schedule.delay(3, 1) > schedule.delay(1, 1));
    }
}
