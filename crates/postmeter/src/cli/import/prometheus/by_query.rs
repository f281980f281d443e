//! An import by a query: its value at the end of an hour is that hour's usage.

use anyhow::Context as _;
use indicatif::ProgressBar;
use jiff::Timestamp;
use sources::prometheus::{Error, Series};
use uuid::Uuid;

use super::super::stop_on_interrupt;
use super::Import;
use super::hours::{HOUR, Hours};
use super::reading::{self, Reading};
use super::rejects::Reject;
use crate::cli::output::Wrong;

/// Hours that are asked for at once; fewer, where the answer becomes too large.
const AT_ONCE: i64 = 24;

impl Import<'_> {
    /// Reads to the end, or to where a person stops it: then that is the first hour that is not read to its end.
    pub(super) async fn read(&mut self, hours: Hours, bar: &ProgressBar) -> anyhow::Result<Option<Timestamp>> {
        let (stop, _listening) = stop_on_interrupt();
        let (mut rest, mut at_once) = (hours, AT_ONCE);
        while rest.count() > 0 {
            let asked = rest.first_few(at_once);
            let step = HOUR.unsigned_abs();
            let series = match self.server.range(self.args.asked().1, asked.first_end(), asked.until, step).await {
                Err(Error::TooLarge) if asked.count() > 1 => {
                    at_once = asked.count() / 2;
                    continue;
                }
                Err(Error::Access(sentence) | Error::Refused(sentence)) => return Err(Wrong(sentence).into()),
                result => result.with_context(|| format!("the hours from {} to {}", asked.from, asked.until))?,
            };
            let readings = self.take(asked, series)?;
            if let Some(hour) = self.record_all(readings, &stop, bar).await? {
                return Ok(Some(hour));
            }
            rest.from = asked.until;
            bar.set_position((hours.count() - rest.count()).unsigned_abs());
            if stop.is_cancelled() && rest.count() > 0 {
                return Ok(Some(rest.from));
            }
        }
        Ok(None)
    }

    /// What is to be recorded of an answer, by hour; the rest is listed.
    fn take(&mut self, asked: Hours, series: Vec<Series>) -> anyhow::Result<Vec<Reading>> {
        let mut readings = Vec::new();
        for series in series {
            let shown = reading::shown(&series.labels);
            if series.is_histogram {
                self.histogram(asked.from, &shown)?;
            }
            let id = reading::series_id(&series.labels);
            for (end, value) in &series.points {
                let Some(hour) = asked.hour_that_ends_at(*end) else {
                    anyhow::bail!("the server answers for {end}, which was not asked: is it Prometheus?");
                };
                self.counts.values += 1;
                self.miss(id, hour, &shown)?;
                self.series.insert(id);
                let event_id = reading::event_id(id, hour);
                match self.rules.read(&series.labels, &event_id, hour, value, None) {
                    Ok(usage) if usage.quantity.is_zero() => self.counts.zero += 1,
                    Ok(usage) => readings.push(Reading { hour, series: shown.clone(), usage }),
                    Err(unfit) => self.unfit(hour, &shown, unfit, &event_id)?,
                }
            }
        }
        readings.sort_by(|a, b| (a.hour, &a.usage.event_id).cmp(&(b.hour, &b.usage.event_id)));
        Ok(readings)
    }

    /// Lists the hours between a series' last value and this one.
    fn miss(&mut self, id: Uuid, hour: Timestamp, series: &str) -> anyhow::Result<()> {
        let Some(last) = self.last_seen.insert(id, hour) else { return Ok(()) };
        let missing = hour.duration_since(last).as_hours() - 1;
        if missing > 0 {
            self.counts.missing_hours += missing;
            let reason = format!("no value for {missing} hours before {hour}");
            self.rejects.add(&Reject {
                kind: "missing",
                hour: last + HOUR,
                series,
                field: "value",
                reason,
                event_id: "",
                gap: None,
            })?;
        }
        Ok(())
    }
}
