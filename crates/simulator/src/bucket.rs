//! Token buckets: how many calls a second an account may make in a region.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A rate of calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Tokens that come back each second. Zero or less: the burst is all there is.
    pub calls_per_second: f64,
    /// Calls that may be made at once after a quiet time.
    pub burst: u32,
}

/// The tokens of one account in one region. Starts full.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    refilled: Instant,
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.calls_per_second.max(0.0)).min(f64::from(rate.burst));
        self.refilled = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

/// All buckets, by account and region. Bounded: a client that invents accounts cannot make it grow.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    buckets: HashMap<(String, String), Bucket>,
}

impl Buckets {
    const KEPT: usize = 10_000;
    const FULL_AGAIN: Duration = Duration::from_secs(3600);

    /// Takes one token, or says that there is none. A refused call costs nothing.
    pub(crate) fn take(&mut self, account: &str, region: &str, rate: Rate, now: Instant) -> bool {
        if self.buckets.len() >= Self::KEPT {
            self.buckets.retain(|_, bucket| now.saturating_duration_since(bucket.refilled) < Self::FULL_AGAIN);
            if self.buckets.len() >= Self::KEPT {
                self.buckets.clear();
            }
        }
        let full = || Bucket { tokens: f64::from(rate.burst), refilled: now };
        self.buckets.entry((account.to_owned(), region.to_owned())).or_insert_with(full).take(rate, now)
    }

    /// Every bucket is full again.
    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Rate = Rate { calls_per_second: 10.0, burst: 10 };

    #[test]
    fn d12_ten_at_once_then_ten_a_second() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let granted = (0..30).filter(|_| buckets.take("seller", "us-east-1", TEN, start)).count();
        assert_eq!(granted, 10);
        let granted = (0..30).filter(|_| buckets.take("seller", "us-east-1", TEN, start + Duration::from_millis(500)));
        assert_eq!(granted.count(), 5);
    }

    #[test]
    fn d12_regions_and_accounts_have_their_own_bucket() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let one = Rate { calls_per_second: 0.0, burst: 1 };
        assert!(buckets.take("seller", "us-east-1", one, start));
        assert!(!buckets.take("seller", "us-east-1", one, start));
        assert!(buckets.take("seller", "eu-west-1", one, start));
        assert!(buckets.take("another", "us-east-1", one, start));
    }
}
