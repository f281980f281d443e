//! Faults on demand: what may go wrong between a client and a marketplace, drawn from a seed.

mod rule;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

pub use self::rule::{FaultError, FaultKind, FaultRule, Match, When};
use crate::calls::{CallRecord, Delivery};

/// A rule in force, with what it did so far.
#[derive(Clone, Debug, Serialize)]
pub struct FaultState {
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// How many calls it has struck.
    pub struck: u64,
}

#[derive(Debug)]
struct Armed {
    state: FaultState,
    dice: StdRng,
}

impl Armed {
    /// Every matching call costs one draw, struck or not, so that rules do not disturb each other's sequence.
    fn strikes(&mut self) -> bool {
        let drawn = self.dice.random_bool(self.state.rule.probability);
        drawn && self.state.rule.times.is_none_or(|times| self.state.struck < times)
    }
}

/// The rules in force, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
}

/// What one call meets.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) delay_before: Duration,
    pub(crate) delay_after: Duration,
    pub(crate) content: ContentFaults,
    pub(crate) retry_after: Option<u64>,
    pub(crate) disturbance: Option<FaultRule>,
    pub(crate) struck: Vec<FaultKind>,
}

/// Faults that belong to the marketplace's decision.
#[derive(Debug, Default)]
pub(crate) struct ContentFaults {
    pub(crate) throttle: bool,
    pub(crate) refuse: Option<FaultRule>,
    pub(crate) unprocessed: Vec<Match>,
}

impl Plan {
    /// What the client will have seen of the answer in the end.
    pub(crate) fn delivery(&self) -> Delivery {
        match self.disturbance.as_ref().map(|rule| rule.kind) {
            None | Some(FaultKind::Drip) => Delivery::Answered,
            Some(FaultKind::LoseRequest | FaultKind::LoseResponse) => Delivery::Closed,
            Some(FaultKind::Reset) => Delivery::Reset,
            Some(FaultKind::Truncated) => Delivery::Truncated,
            Some(_) => Delivery::Replaced,
        }
    }

    /// Delays add up; one fault decides about the connection and one about the refusal: the first that strikes.
    fn add(&mut self, rule: &FaultRule) -> bool {
        let pause = Duration::from_millis(rule.ms.unwrap_or(0));
        match rule.kind {
            FaultKind::Delay if rule.when_or_default() == When::After => self.delay_after += pause,
            FaultKind::Delay => self.delay_before += pause,
            FaultKind::Throttle => {
                self.content.throttle = true;
                self.retry_after = self.retry_after.or(rule.retry_after);
            }
            FaultKind::Unprocessed => self.content.unprocessed.push(rule.matching.clone()),
            FaultKind::RefuseRecord if self.content.refuse.is_none() => self.content.refuse = Some(rule.clone()),
            FaultKind::RefuseRecord => return false,
            _ if self.disturbance.is_none() => self.disturbance = Some(rule.clone()),
            _ => return false,
        }
        self.struck.push(rule.kind);
        true
    }
}

impl Faults {
    pub(crate) fn add(&mut self, rule: FaultRule) -> Result<(), FaultError> {
        rule.check()?;
        let dice = StdRng::seed_from_u64(rule.seed);
        self.armed.push(Armed { state: FaultState { rule, struck: 0 }, dice });
        Ok(())
    }

    /// All of the rules, or none when one makes no sense.
    pub(crate) fn add_all(&mut self, rules: Vec<FaultRule>) -> Result<(), FaultError> {
        rules.iter().try_for_each(FaultRule::check)?;
        rules.into_iter().try_for_each(|rule| self.add(rule))
    }

    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    pub(crate) fn list(&self) -> impl Iterator<Item = &FaultState> {
        self.armed.iter().map(|armed| &armed.state)
    }

    /// Whether the connection is reset before the body is read. Only rules that match every call can say so: the others
    /// have to see the records first.
    pub(crate) fn draw_before_reading(&mut self) -> bool {
        let mut unread = self.armed.iter_mut().filter(|armed| resets_unread(&armed.state.rule));
        unread.any(|armed| {
            let strikes = armed.strikes();
            armed.state.struck += u64::from(strikes);
            strikes
        })
    }

    /// What a call with these records meets.
    pub(crate) fn draw(&mut self, records: &[CallRecord]) -> Plan {
        let mut plan = Plan::default();
        for armed in &mut self.armed {
            let rule = &armed.state.rule;
            if resets_unread(rule) || !rule.matching.admits_call(records) {
                continue;
            }
            if armed.strikes() && plan.add(&armed.state.rule) {
                armed.state.struck += 1;
            }
        }
        plan
    }
}

fn resets_unread(rule: &FaultRule) -> bool {
    rule.kind == FaultKind::Reset && rule.when_or_default() == When::Before && rule.matching == Match::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(rule: FaultRule, calls: usize) -> Vec<bool> {
        let mut faults = Faults::default();
        faults.add(rule).unwrap();
        (0..calls).map(|_| faults.draw(&[]).disturbance.is_some()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_faults_again() {
        let rule = |seed| FaultRule::new(FaultKind::LoseResponse).probability(0.5, seed);
        assert_eq!(struck(rule(7), 200), struck(rule(7), 200));
        assert_ne!(struck(rule(7), 200), struck(rule(8), 200));
        let hits = struck(rule(7), 2000).into_iter().filter(|&hit| hit).count();
        assert!((900..1100).contains(&hits), "{hits}");
    }

    #[test]
    fn times_bounds_the_strikes_and_the_first_rule_wins() {
        let mut faults = Faults::default();
        faults.add(FaultRule::new(FaultKind::Empty).times(2)).unwrap();
        faults.add(FaultRule::new(FaultKind::Html).times(1)).unwrap();
        faults.add(FaultRule::new(FaultKind::Delay).ms(5)).unwrap();
        let kinds: Vec<_> = (0..4).map(|_| faults.draw(&[]).struck).collect();
        assert_eq!(kinds[0], [FaultKind::Empty, FaultKind::Delay]);
        assert_eq!(kinds[2], [FaultKind::Html, FaultKind::Delay]);
        assert_eq!(kinds[3], [FaultKind::Delay]);
        assert_eq!(faults.list().map(|state| state.struck).collect::<Vec<_>>(), [2, 1, 4]);
    }

    #[test]
    fn rules_without_sense_are_refused() {
        let mut faults = Faults::default();
        for rule in [
            FaultRule::new(FaultKind::Status),
            FaultRule::new(FaultKind::Status).status(200),
            FaultRule::new(FaultKind::RefuseRecord),
            FaultRule::new(FaultKind::Delay),
            FaultRule::new(FaultKind::Html).retry_after(1),
            FaultRule::new(FaultKind::Drip).when(When::Before),
            FaultRule::new(FaultKind::Html).probability(1.5, 0),
        ] {
            assert!(faults.add(rule.clone()).is_err(), "{rule:?}");
        }
        let json = r#"{"kind":"delay","ms":5,"probabilty":0.1}"#;
        assert!(serde_json::from_str::<FaultRule>(json).is_err(), "a misspelt field is not ignored");
    }
}
