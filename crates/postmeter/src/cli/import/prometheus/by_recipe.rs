//! An import by a recipe: samples are read hour by hour, and their usage is recorded when no later sample can change
//! it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context as _;
use indicatif::ProgressBar;
use jiff::{SignedDuration, Timestamp};
use sources::prometheus::{Error, Series};
use uuid::Uuid;

use super::super::stop_on_interrupt;
use super::hours::{HOUR, Hours, begin};
use super::reading::{Reading, series_id, shown};
use super::recipe::Recipe;
use super::rejects::Reject;
use super::samples::{Gap, Kind, Samples, Sum, usual};
use super::{Import, number};
use crate::cli::output::Wrong;

/// An answer that is too large is asked for in parts, but not in smaller ones.
const PART_MIN: SignedDuration = SignedDuration::from_mins(1);

impl Import<'_> {
    /// Reads to the end, or to where a person stops it: then that is the first hour that is not read to its end.
    pub(super) async fn read_samples(
        &mut self,
        recipe: &Recipe,
        hours: Hours,
        bar: &ProgressBar,
    ) -> anyhow::Result<Option<Timestamp>> {
        let (stop, _listening) = stop_on_interrupt();
        // a sample counts for one and a half intervals at most, so no other one touches these hours
        let margin = recipe.interval * 2;
        let mut reader = Reader {
            samples: Samples::new(recipe.kind, recipe.interval, hours),
            groups: HashMap::new(),
            read_until: hours.from - margin,
            part: HOUR + margin * 2,
        };
        let mut hour = hours.from;
        while hour < hours.until {
            let end = hour + HOUR;
            while reader.read_until < end + margin {
                let until = (reader.read_until + reader.part).min(end + margin);
                let from = reader.read_until;
                match self.server.samples(&recipe.selector, from, until).await {
                    Err(Error::TooLarge) if until.duration_since(from) > PART_MIN => {
                        reader.part = (until.duration_since(from) / 2).max(PART_MIN);
                        continue;
                    }
                    Err(Error::Access(sentence) | Error::Refused(sentence)) => return Err(Wrong(sentence).into()),
                    result => {
                        let series = result.with_context(|| format!("the samples from {from} to {until}"))?;
                        self.take_samples(recipe, &mut reader, &series)?;
                    }
                }
                reader.read_until = until;
            }
            reader.samples.settle(reader.read_until);
            let readings = self.counted(recipe, reader.samples.finished(end), &reader.groups)?;
            if self.record_all(readings, &stop, bar).await?.is_some() {
                return Ok(Some(hour));
            }
            hour = end;
            bar.set_position(hour.duration_since(hours.from).as_hours().unsigned_abs());
            if stop.is_cancelled() && hour < hours.until {
                return Ok(Some(hour));
            }
        }
        Ok(None)
    }

    fn take_samples(&mut self, recipe: &Recipe, reader: &mut Reader, series: &[Series]) -> anyhow::Result<()> {
        let apart = usual(series.iter().map(|series| series.points.as_slice()));
        for (series, apart) in series.iter().zip(apart) {
            if series.is_histogram {
                self.histogram(reader.read_until, &shown(&series.labels))?;
                continue;
            }
            let labels = recipe.group(&series.labels);
            let (group, id) = (series_id(&labels), series_id(&series.labels));
            self.series.insert(id);
            let gaps = reader.samples.take(group, id, &series.points, apart);
            for gap in &gaps {
                self.tell_gap(gap, &self.rules.org_of(&labels), &shown(&series.labels))?;
            }
            reader.groups.entry(group).or_insert(labels);
        }
        Ok(())
    }

    fn tell_gap(&mut self, gap: &Gap, org: &str, series: &str) -> anyhow::Result<()> {
        let Gap { from, until, grew } = gap;
        self.counts.gaps += 1;
        self.counts.gap_seconds += until.duration_since(*from).as_secs().unsigned_abs();
        let mut reason =
            format!("org {org:?} has no samples from {from} until {until}: nothing of that time is counted");
        if let Some(grown) = grew.and_then(|grown| number::share(grown, 1, number::PLACES).ok()) {
            reason += &format!("; the counter grew by {grown} meanwhile");
        }
        self.rejects.add(&Reject {
            kind: "gap",
            hour: begin(*from),
            series,
            field: "samples",
            reason,
            event_id: "",
            gap: Some((org, *from, *until)),
        })
    }

    /// What is to be recorded of what hours come to; the rest is listed.
    fn counted(
        &mut self,
        recipe: &Recipe,
        sums: BTreeMap<(Timestamp, Uuid), Sum>,
        groups: &HashMap<Uuid, BTreeMap<String, String>>,
    ) -> anyhow::Result<Vec<Reading>> {
        let unit = match recipe.kind {
            Kind::Gauge => HOUR.as_millis(),
            Kind::Counter => 1,
        };
        let mut readings = Vec::new();
        for ((hour, group), sum) in sums {
            self.counts.values += 1;
            let labels = groups.get(&group).expect("it was seen with its samples");
            let event_id = recipe.event_id(group, hour);
            let share = match sum.wrong {
                Some(why) => Err(why),
                None => number::share(sum.total, unit * i128::from(recipe.divide_by), self.args.decimals.min(12)),
            };
            let usage = match share {
                Ok(share) if share.is_zero() => {
                    self.counts.zero += 1;
                    continue;
                }
                Ok(share) => self.rules.read(labels, &event_id, hour, &share.to_string(), Some(sum.samples)),
                Err(reason) => Err(super::reading::Unfit { field: "samples", reason }),
            };
            match usage {
                Ok(usage) => readings.push(Reading { hour, series: shown(labels), usage }),
                Err(unfit) => self.unfit(hour, &shown(labels), unfit, &event_id)?,
            }
        }
        Ok(readings)
    }
}

/// What has been read so far.
struct Reader {
    samples: Samples,
    /// The labels of each group.
    groups: HashMap<Uuid, BTreeMap<String, String>>,
    read_until: Timestamp,
    /// How much is asked for at once.
    part: SignedDuration,
}

/// Series that were seen.
pub(super) type Seen = BTreeSet<Uuid>;
