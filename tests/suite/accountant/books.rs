//! What an accountant would bill: usage, exemptions and covers, added up in whole hundredths.

use jiff::Timestamp;

/// Orgs, each with the number of its contract: the last two are of one buyer.
pub const ORGS: [(&str, usize); 4] = [("a", 0), ("b", 1), ("c", 2), ("d", 2)];
/// The buyers' accounts, by contract.
pub const ACCOUNTS: [&str; 3] = ["111122223330", "111122223331", "111122223332"];
pub const METRICS: [&str; 2] = ["cores", "disk"];
/// Cores that each contract has paid for beforehand.
pub const COVERED: [i64; 3] = [1000, 0, 500];

#[derive(Debug, Clone)]
pub struct Usage {
    pub org: usize,
    pub metric: usize,
    pub hundredths: i64,
    pub used_at: Timestamp,
    /// The usage that it corrects.
    pub corrects: Option<usize>,
    /// Nobody is billed for it before a person has said that it is right: what corrects it until then was never billed.
    pub waits: bool,
    /// A person has said that nobody is billed for it.
    pub given_up: bool,
}

#[derive(Debug, Default)]
pub struct Books {
    pub usages: Vec<Usage>,
    /// Org, from, until.
    pub exemptions: Vec<(usize, Timestamp, Timestamp)>,
}

impl Books {
    /// What is left of a usage after its corrections.
    pub fn left_of(&self, usage: usize) -> i64 {
        let corrections = self.usages.iter().filter(|u| u.corrects == Some(usage));
        self.usages[usage].hundredths + corrections.map(|u| u.hundredths).sum::<i64>()
    }

    /// A correction stands where its usage does.
    pub fn is_billed(&self, usage: &Usage) -> bool {
        let Usage { used_at, given_up, .. } = usage.corrects.map_or(usage, |of| &self.usages[of]);
        let is_exempt = |(org, from, until): &(usize, Timestamp, Timestamp)| {
            *org == usage.org && from <= used_at && used_at < until
        };
        !given_up && !self.exemptions.iter().any(is_exempt)
    }

    fn of(&self, contract: usize, metric: usize) -> impl Iterator<Item = &Usage> {
        self.usages.iter().filter(move |u| ORGS[u.org].1 == contract && u.metric == metric && self.is_billed(u))
    }

    /// What a contract's month comes to: what is used and not covered, a started unit counting as a whole.
    pub fn should(&self, contract: usize, metric: usize) -> i64 {
        self.should_without(contract, metric, 0)
    }

    /// The same without some hundredths of its usage.
    pub fn should_without(&self, contract: usize, metric: usize, hundredths: i64) -> i64 {
        let used = self.of(contract, metric).map(|u| u.hundredths).sum::<i64>() - hundredths;
        let covered = if metric == 0 { COVERED[contract] } else { 0 };
        ((used - covered).max(0) + 99) / 100
    }

    /// At most so much may have been billed before a correction came, and is credit.
    pub fn corrected(&self, contract: usize, metric: usize) -> i64 {
        let corrections = self.of(contract, metric).filter(|u| u.corrects.is_some() && !u.waits);
        let taken: i64 = corrections.map(|u| -u.hundredths).sum();
        if taken == 0 { 0 } else { taken / 100 + 1 }
    }
}
