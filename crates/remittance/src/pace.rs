//! How fast a quota may be taken, from what its calls are answered. Pure: the fleet keeps it in the database.
//!
//! It grows by equal steps and is lowered by a factor, at most once a second, never below what is accepted. Lowering it is
//! a trial: where faults are as many at the slower pace (a marketplace that fails at random), slowness does not help, and
//! that share of faults is borne from then on.

/// What is counted of a quota's calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    /// Over so many seconds.
    pub seconds: f64,
    /// Calls that were answered.
    pub calls: f64,
    /// Of these, with an answer about a record.
    pub passed: f64,
    /// Of these, throttled without a wait of theirs, or answered by a server error.
    pub faults: f64,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.passed += other.passed;
        self.faults += other.faults;
    }
}

/// A pace, with what it was made from.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    /// Calls a second; `None`: as the quota says.
    pub rate: Option<f64>,
    /// The share of calls that fail at any pace.
    pub base: f64,
    /// The pace before it was last lowered and the share of faults at it, until it is known whether that helped.
    pub trial: Option<(f64, f64)>,
    /// What was counted since the last change.
    pub epoch: Count,
    /// What was counted in the running ten seconds.
    pub window: Count,
    /// What was counted in the ten seconds before.
    pub before: Count,
}

/// Calls after which a pace is judged, or so many seconds; at a slow pace those of two seconds are enough.
const CALLS: f64 = 20.0;
const SECONDS: f64 = 2.0;
/// Those of a second are enough where none has failed, and no more than so many: what is over is over at the slowest pace too.
const HEALTHY: f64 = 5.0;
/// So few tell nothing where some have failed.
const FEW: f64 = 2.0;
const WINDOW: f64 = 10.0;
/// No pace is slower, unless the quota is.
const SLOWEST: f64 = 1.0;
/// A pace is lowered by this factor.
pub const FACTOR: f64 = 0.7;
/// It grows by this share of the quota's limit (or of what it was) a second.
const STEP: f64 = 0.2;
/// A trial is decided once what it is to tell apart is so many standard deviations apart.
const POWER: f64 = 0.8;
/// What share of faults more than usual is chance: this, and so many standard deviations.
const CHANCE: f64 = 0.05;
const DEVIATIONS: f64 = 2.0;

impl Pace {
    /// Takes in what was counted. `limit` is the quota's. Changes the pace once enough was counted.
    pub fn note(&mut self, count: Count, limit: Option<f64>) {
        if self.window.seconds >= WINDOW {
            // what is noted now belongs to the next
            let seconds = self.window.seconds - count.seconds;
            let is_recent = seconds > 0.0 && self.window.seconds < 2.0 * WINDOW;
            self.before = if is_recent { Count { seconds, ..self.window } } else { Count::default() };
            self.window = Count::default();
        }
        self.window.add(&count);
        self.epoch.add(&count);
        // what comes first was counted before anybody looked
        self.epoch.seconds = self.epoch.seconds.max(count.seconds);
        self.window.seconds = self.window.seconds.max(count.seconds.min(WINDOW));
        let rate = self.rate.unwrap_or(f64::INFINITY);
        let enough =
            if self.epoch.faults == 0.0 { rate.min(HEALTHY).floor() } else { (SECONDS * rate).clamp(FEW, CALLS) };
        let is_enough = self.epoch.calls >= enough.max(1.0);
        if self.epoch.seconds >= 1.0 && (is_enough || self.epoch.seconds >= WINDOW) {
            self.judge(limit);
            self.epoch = Count::default();
        }
    }

    /// How many a second of the last ten seconds, by a count.
    fn lately(&self, of: fn(&Count) -> f64) -> f64 {
        if self.before.calls == 0.0 {
            return of(&self.window) / self.window.seconds.clamp(1.0, WINDOW);
        }
        let rest = (WINDOW - self.window.seconds).max(0.0);
        (of(&self.before) / self.before.seconds).mul_add(rest, of(&self.window)) / (rest + self.window.seconds)
    }

    fn judge(&mut self, limit: Option<f64>) {
        let Count { seconds, calls, faults, .. } = self.epoch;
        if calls == 0.0 {
            return;
        }
        let share = faults / calls;
        let mut open = None;
        if let (Some((rate_then, share_then)), Some(rate)) = (self.trial.take(), self.rate) {
            // were the pace to blame, as many calls a second would have passed as before
            let (passed_then, would_pass) = (1.0 - share_then, ((1.0 - share_then) * rate_then / rate).min(1.0));
            let middle = f64::midpoint(passed_then, would_pass);
            let deviation = (calls * middle * (1.0 - middle)).sqrt();
            if calls * (would_pass - passed_then) < POWER * deviation && rate > SLOWEST {
                // too few to tell the one from the other: the pace is lowered further, and the trial goes on
                open = Some((rate_then, share_then));
            } else if 1.0 - share < middle {
                self.base = self.base.max(share);
            }
        }
        self.base *= 0.99;
        if share < self.base {
            self.base = self.base.mul_add(0.7, share * 0.3);
        }
        let chance = DEVIATIONS.mul_add((self.base * (1.0 - self.base) / calls).sqrt(), CHANCE);
        let (called, accepted) = (calls / seconds, self.lately(|count| count.passed));
        if share > self.base + chance {
            let from = self.rate.unwrap_or(f64::INFINITY).min(called * 1.1).max(accepted);
            let slowest = limit.map_or(SLOWEST, |limit| limit.min(SLOWEST));
            self.trial = open.or(Some((from, share)));
            self.rate = Some((from * FACTOR).max(accepted).max(slowest));
        } else if let Some(rate) = self.rate {
            self.rate = self.grown(rate, seconds, limit, faults == 0.0);
        }
    }

    /// A step more, twice the pace at most. Where it no longer holds anybody back and nothing fails, there is no pace any
    /// more: at the quota's limit, or where half as much is called.
    fn grown(&self, rate: f64, seconds: f64, limit: Option<f64>, is_healthy: bool) -> Option<f64> {
        let called = self.lately(|count| count.calls).max(self.epoch.calls / seconds);
        let step = (STEP * limit.unwrap_or_else(|| rate.max(called))).max(0.5);
        // where no limit is known and nothing fails, what is over is over soon
        let is_doubled = limit.is_none() && is_healthy;
        let grown = if is_doubled { 2.0 * rate } else { step.mul_add(seconds.min(WINDOW), rate).min(2.0 * rate) };
        let top = limit.unwrap_or(2.0 * called).max(SLOWEST.min(rate));
        match limit {
            Some(top) if grown >= top => (!is_healthy).then_some(top),
            None if rate >= top => (!is_healthy).then_some(top),
            _ => Some(grown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A marketplace that lets a share of calls pass at random, and at most so many a second.
    struct Theirs {
        fails: f64,
        most: f64,
        seed: u64,
    }

    impl Theirs {
        fn chance(&mut self) -> f64 {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(self.seed >> 40).expect("24 bits")) / f64::from(1 << 24)
        }

        /// A second of calls.
        fn second(&mut self, rate: f64) -> Count {
            let (mut count, calls) = (Count { seconds: 1.0, ..Count::default() }, rate.round().max(1.0));
            for _ in 0..u32::try_from(calls as i64).expect("few") {
                let passes = count.passed < self.most && self.chance() >= self.fails;
                count.calls += 1.0;
                count.passed += f64::from(u8::from(passes));
                count.faults += f64::from(u8::from(!passes));
            }
            count
        }
    }

    /// So many seconds of calls as fast as pace, quota and wire allow; how many passed, and the paces.
    fn run(mut theirs: Theirs, limit: Option<f64>, wire: f64, seconds: usize) -> (f64, Vec<f64>) {
        let (mut pace, mut passed, mut rates) = (Pace::default(), 0.0, Vec::new());
        for _ in 0..seconds {
            let rate = pace.rate.unwrap_or(f64::INFINITY).min(limit.unwrap_or(f64::INFINITY)).min(wire);
            let count = theirs.second(rate);
            passed += count.passed;
            rates.push(rate);
            pace.epoch.seconds += 1.0;
            pace.window.seconds += 1.0;
            pace.note(count, limit);
        }
        (passed, rates)
    }

    #[test]
    fn j9_faults_at_random_slow_nobody_down() {
        for (limit, wire) in [(Some(10.0), 50.0), (None, 100.0), (None, 25.0), (Some(3.0), 50.0), (None, 3.0)] {
            for fails in [0.1, 0.2, 0.4, 0.6] {
                let healthy = f64::min(limit.unwrap_or(wire), wire) * 60.0 * (1.0 - fails);
                let shares: Vec<f64> = (0..20)
                    .map(|seed| run(Theirs { fails, most: f64::INFINITY, seed }, limit, wire, 60).0 / healthy)
                    .collect();
                let mean = shares.iter().sum::<f64>() / 20.0;
                assert!(mean >= 0.85 && shares.iter().all(|share| *share > 0.6), "{fails} of {limit:?}: {shares:?}");
            }
        }
    }

    #[test]
    fn j9_a_pace_finds_a_limit_that_nobody_configured() {
        for seed in 0..20 {
            let (passed, rates) = run(Theirs { fails: 0.0, most: 12.0, seed }, None, 100.0, 60);
            assert!(passed >= 0.9 * 12.0 * 60.0, "{passed} passed");
            let late: f64 = rates[20..].iter().sum::<f64>() / 40.0;
            assert!(late < 20.0, "{late} calls a second where 12 pass: {rates:?}");
        }
    }

    #[test]
    fn j9_it_falls_by_no_more_than_the_factor_a_second_and_not_below_what_is_accepted() {
        let (_, rates) = run(Theirs { fails: 0.0, most: 5.0, seed: 1 }, None, 100.0, 60);
        for pair in rates.windows(2) {
            assert!(pair[1] >= pair[0] * FACTOR - 0.01, "{rates:?}");
        }
        assert!(rates.iter().all(|rate| *rate >= 4.8), "never below what was accepted: {rates:?}");
    }

    #[test]
    fn j9_success_takes_the_pace_away() {
        let mut pace = Pace { rate: Some(3.0), ..Pace::default() };
        for _ in 0..40 {
            let rate: f64 = pace.rate.unwrap_or(10.0).min(10.0);
            pace.epoch.seconds += 1.0;
            pace.window.seconds += 1.0;
            pace.note(Count { seconds: 1.0, calls: rate, passed: rate, faults: 0.0 }, Some(10.0));
        }
        assert_eq!(pace.rate, None);
    }

    #[test]
    fn j9_a_slow_limit_is_found_however_many_calls_it_refuses() {
        for most in [1.0, 2.0, 5.0] {
            for seed in 0..10 {
                let (passed, rates) = run(Theirs { fails: 0.0, most, seed }, None, 300.0, 120);
                let late: f64 = rates[60..].iter().sum::<f64>() / 60.0;
                assert!(late < 5.0 * most, "{late} calls a second where {most} pass: {rates:?}");
                assert!(passed >= 0.8 * most * 120.0, "{passed} passed of {most} a second");
            }
        }
    }

    #[test]
    fn j9_a_pace_doubles_at_most_and_a_second_without_a_fault_is_enough() {
        let (mut pace, mut rates) = (Pace { rate: Some(SLOWEST), ..Pace::default() }, Vec::new());
        for _ in 0..12 {
            let rate: f64 = pace.rate.unwrap_or(40.0).min(40.0);
            rates.push(rate);
            pace.epoch.seconds += 1.0;
            pace.window.seconds += 1.0;
            pace.note(Count { seconds: 1.0, calls: rate, passed: rate, faults: 0.0 }, None);
        }
        assert!(rates.windows(2).all(|pair| pair[1] <= 2.0 * pair[0]), "{rates:?}");
        assert!(rates[5] >= 32.0, "from the slowest pace, in seconds: {rates:?}");
    }
}
