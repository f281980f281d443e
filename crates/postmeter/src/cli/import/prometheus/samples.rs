//! Usage from samples, weighted by time: what was scraped counts for as long as it was so, and nothing else counts.
//!
//! A gauge's sample counts until the next one of its series, for an interval of scraping at most; so an hour without
//! gaps counts whole, whatever the scrapes' moments are, and a series that ends counts an interval after its last
//! sample. A counter counts by what it grew from one sample to the next, in the hour of the next; one that fell began
//! at zero again. Where the next sample is later than one and a half intervals, samples are missing: that time is a
//! gap, which counts for nothing and is told.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::hours::{HOUR, Hours, begin};
use super::number;

/// What the series' values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An amount that is there at a moment: it counts times hours.
    Gauge,
    /// What has been counted until a moment: its growth counts.
    Counter,
}

/// What an hour of a group of series comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// In units of samples; of a gauge times milliseconds.
    pub total: i128,
    /// Samples that it was read from.
    pub samples: u64,
    /// Why it is none.
    pub wrong: Option<String>,
}

/// Time between two samples of a series in which there should be others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub from: Timestamp,
    pub until: Timestamp,
    /// What a counter grew by meanwhile, in units of samples.
    pub grew: Option<i128>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    group: Uuid,
    at: Timestamp,
    value: i128,
    /// How far its series' samples usually lie apart, where that is not the interval.
    ill: Option<SignedDuration>,
    /// Its interval has been counted, because the next sample did not come in time.
    is_counted: bool,
}

/// Sums up samples; they come in order of time for each series.
#[derive(Debug)]
pub(super) struct Samples {
    kind: Kind,
    interval: SignedDuration,
    hours: Hours,
    last: HashMap<Uuid, Last>,
    /// Series whose latest sample is NaN.
    not_a_number: HashSet<Uuid>,
    sums: BTreeMap<(Timestamp, Uuid), Sum>,
}

/// The longest time from one sample to the next that leaves no gap.
fn patience(interval: SignedDuration) -> SignedDuration {
    interval + interval / 2
}

impl Samples {
    /// None yet, of the hours that are to be read.
    pub fn new(kind: Kind, interval: SignedDuration, hours: Hours) -> Self {
        Self { kind, interval, hours, last: HashMap::new(), not_a_number: HashSet::new(), sums: BTreeMap::new() }
    }

    /// Takes further samples of a series of a group, and returns the gaps between them. `usual` is how far they lie
    /// apart, where that can be told.
    pub fn take(
        &mut self,
        group: Uuid,
        series: Uuid,
        points: &[(Timestamp, String)],
        usual: Option<SignedDuration>,
    ) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let ill = usual.filter(|usual| !self.fits(*usual));
        for (at, text) in points {
            if self.is_out_of_order(group, series, *at, text) {
                continue;
            }
            // VictoriaMetrics shows the marker of a series' end, which is one NaN; Prometheus does not
            if text != "NaN" {
                self.not_a_number.remove(&series);
            } else if self.not_a_number.insert(series) {
                continue;
            }
            let Some(hour) = self.hour_of(*at) else {
                // beyond the hours that are read, but it may end what is within
                if let Ok(value) = number::sample(text) {
                    gaps.extend(self.step(group, series, (*at, value), ill));
                }
                continue;
            };
            match number::sample(text) {
                Ok(value) => {
                    gaps.extend(self.step(group, series, (*at, value), ill));
                    let sum = self.sums.entry((hour, group)).or_default();
                    sum.samples += 1;
                    spoil(sum, ill, self.interval);
                }
                Err(why) => {
                    let sum = self.sums.entry((hour, group)).or_default();
                    sum.wrong.get_or_insert_with(|| format!("the sample of {at} {why}"));
                }
            }
        }
        gaps
    }

    /// Hours that end by `until`, to which nothing can be added any more, with what they come to: all samples up to two
    /// intervals after it have been taken.
    pub fn finished(&mut self, until: Timestamp) -> BTreeMap<(Timestamp, Uuid), Sum> {
        let rest = self.sums.split_off(&(until, Uuid::nil()));
        std::mem::replace(&mut self.sums, rest)
    }

    /// Counts the interval of each last sample whose next is overdue at `read_until`.
    pub fn settle(&mut self, read_until: Timestamp) {
        if self.kind == Kind::Counter {
            return;
        }
        let limit = patience(self.interval);
        let mut overdue = Vec::new();
        for last in self.last.values_mut() {
            if !last.is_counted && last.at + limit < read_until {
                last.is_counted = true;
                overdue.push(*last);
            }
        }
        for last in overdue {
            self.hold(last, last.at + self.interval);
        }
    }

    /// A series' samples come in order, each at its own time. Where they do not (a series that is told twice, replicas
    /// that were merged), a gauge would count twice, and a counter would seem to fall: the hour is not counted. The very
    /// same sample once more says nothing new.
    fn is_out_of_order(&mut self, group: Uuid, series: Uuid, at: Timestamp, text: &str) -> bool {
        let Some(last) = self.last.get(&series).filter(|last| at <= last.at) else { return false };
        let is_copy = at == last.at && number::sample(text) == Ok(last.value);
        let before = last.at;
        if let Some(hour) = self.hour_of(at).filter(|_| !is_copy) {
            let sum = self.sums.entry((hour, group)).or_default();
            sum.wrong.get_or_insert_with(|| format!("a series has a sample of {at} behind another one of {before}"));
        }
        true
    }

    fn fits(&self, usual: SignedDuration) -> bool {
        usual <= patience(self.interval) && patience(usual) >= self.interval
    }

    fn hour_of(&self, at: Timestamp) -> Option<Timestamp> {
        let at = match self.kind {
            Kind::Gauge => at,
            // what a counter has grown by at eleven was used before eleven
            Kind::Counter => at - SignedDuration::from_nanos(1),
        };
        (at >= self.hours.from && at < self.hours.until).then(|| begin(at))
    }

    /// From a series' last sample to this one.
    fn step(
        &mut self,
        group: Uuid,
        series: Uuid,
        (at, value): (Timestamp, i128),
        ill: Option<SignedDuration>,
    ) -> Option<Gap> {
        let last = self.last.insert(series, Last { group, at, value, ill, is_counted: false })?;
        let is_in_time = at.duration_since(last.at) <= patience(self.interval);
        match self.kind {
            Kind::Gauge if is_in_time => {
                self.hold(last, at);
                None
            }
            Kind::Gauge => {
                let end = last.at + self.interval;
                if !last.is_counted {
                    self.hold(last, end);
                }
                self.gap(end, at, None)
            }
            Kind::Counter if is_in_time => {
                let grown = if value >= last.value { value - last.value } else { value };
                if let Some(hour) = self.hour_of(at) {
                    add(self.sums.entry((hour, group)).or_default(), Some(grown));
                }
                None
            }
            Kind::Counter => self.gap(last.at, at, (value >= last.value).then(|| value - last.value)),
        }
    }

    fn gap(&self, from: Timestamp, until: Timestamp, grew: Option<i128>) -> Option<Gap> {
        let gap = Gap { from: from.max(self.hours.from), until: until.min(self.hours.until), grew };
        (gap.from < gap.until).then_some(gap)
    }

    /// Counts a sample until a time, hour by hour.
    fn hold(&mut self, last: Last, until: Timestamp) {
        let (mut from, until) = (last.at.max(self.hours.from), until.min(self.hours.until));
        while from < until {
            let hour = begin(from);
            let end = until.min(hour + HOUR);
            let millis = i128::from(end.as_millisecond() - from.as_millisecond());
            let sum = self.sums.entry((hour, last.group)).or_default();
            add(sum, last.value.checked_mul(millis));
            spoil(sum, last.ill, self.interval);
            from = end;
        }
    }
}

/// An hour with samples that lie `ill` apart is not counted.
fn spoil(sum: &mut Sum, ill: Option<SignedDuration>, interval: SignedDuration) {
    if let Some(ill) = ill {
        sum.wrong.get_or_insert_with(|| format!("its samples lie {ill:#} apart, and --interval says {interval:#}"));
    }
}

fn add(sum: &mut Sum, more: Option<i128>) {
    match more.and_then(|more| sum.total.checked_add(more)) {
        Some(total) => sum.total = total,
        None => sum.wrong = Some("is too large to be added up".to_owned()),
    }
}

/// How far the samples of each series usually lie apart: the median, and where a series has too few to tell, that of
/// all series together; none, if there are not two samples of one series.
pub(super) fn usual<'a>(series: impl Iterator<Item = &'a [(Timestamp, String)]>) -> Vec<Option<SignedDuration>> {
    let mut all = Vec::new();
    let own: Vec<Option<SignedDuration>> = series
        .map(|points| {
            let mut apart: Vec<_> = points.windows(2).map(|pair| pair[1].0.duration_since(pair[0].0)).collect();
            all.extend_from_slice(&apart);
            if apart.len() < 3 { None } else { median(&mut apart) }
        })
        .collect();
    let together = median(&mut all);
    own.into_iter().map(|own| own.or(together)).collect()
}

fn median(apart: &mut [SignedDuration]) -> Option<SignedDuration> {
    apart.sort_unstable();
    apart.get(apart.len() / 2).copied()
}

#[cfg(test)]
mod tests;
