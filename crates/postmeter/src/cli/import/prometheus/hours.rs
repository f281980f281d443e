//! Which hours an import reads.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

use crate::cli::output::Wrong;

/// An hour.
pub(super) const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Whole hours from one time to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hours {
    /// Begin of the first.
    pub from: Timestamp,
    /// End of the last.
    pub until: Timestamp,
}

impl Hours {
    /// Those that were asked for and are over by the lag; none, if that is the first one's fault.
    ///
    /// # Errors
    /// They are no whole hours, or end before they begin.
    pub fn of(
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        last: Option<SignedDuration>,
        lag: SignedDuration,
        now: Timestamp,
    ) -> Result<Self, Wrong> {
        let whole = |name: &str, time: Timestamp| {
            if begin(time) == time {
                Ok(time)
            } else {
                Err(Wrong(format!("{name} {time} is not the begin of an hour")))
            }
        };
        let closed = begin(now.checked_sub(lag).map_err(|error| Wrong(format!("--lag: {error}")))?);
        let until = until.map(|time| whole("--until", time)).transpose()?;
        let end = until.map_or(closed, |until| until.min(closed));
        let from = match (from, last) {
            (Some(from), _) => whole("--from", from)?,
            (None, Some(last)) if last > SignedDuration::ZERO => {
                end.checked_sub(last).map_err(|error| Wrong(format!("--last: {error}")))?
            }
            _ => return Err(Wrong("--last must be above zero".to_owned())),
        };
        if let Some(until) = until
            && from >= until
        {
            return Err(Wrong(format!("--from {from} is not before --until {until}")));
        }
        Ok(Self { from, until: end.max(from) })
    }

    /// How many.
    pub fn count(self) -> i64 {
        self.until.duration_since(self.from).as_hours()
    }

    /// The first of them.
    pub fn first_few(self, most: i64) -> Self {
        let most = most.min(self.count());
        Self { until: self.from + SignedDuration::from_hours(most), ..self }
    }

    /// When the first one ends.
    pub fn first_end(self) -> Timestamp {
        self.from + HOUR
    }

    /// The one among them that ends then.
    pub fn hour_that_ends_at(self, end: Timestamp) -> Option<Timestamp> {
        (end == begin(end) && end > self.from && end <= self.until).then(|| end - HOUR)
    }
}

/// Begin of the hour that a time is in.
pub(super) fn begin(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second().div_euclid(3600) * 3600).expect("an hour near a time is a time")
}

/// How often is scraped, on the command line.
pub(super) fn interval(text: &str) -> Result<SignedDuration, String> {
    let interval = lag(text)?;
    let is_usual = interval >= SignedDuration::from_millis(10) && interval <= SignedDuration::from_mins(15);
    if is_usual { Ok(interval) } else { Err(format!("{text} is not how often anything is scraped: 10ms to 15m")) }
}

/// A lag on the command line.
pub(super) fn lag(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|_| format!("{text:?} is no duration such as 10m"))?;
    let lag = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    if lag < SignedDuration::ZERO { Err("a lag is not below zero".to_owned()) } else { Ok(lag) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        format!("2024-09-18T{text}:00Z").parse().unwrap()
    }

    fn hours(from: &str, until: Option<&str>, now: &str) -> Result<(Timestamp, i64), Wrong> {
        let hours = Hours::of(Some(t(from)), until.map(t), None, SignedDuration::from_mins(10), t(now))?;
        Ok((hours.until, hours.count()))
    }

    #[test]
    fn an_hour_is_read_once_it_is_over_by_the_lag() {
        assert_eq!(hours("08:00", None, "10:09").unwrap(), (t("09:00"), 1));
        assert_eq!(hours("08:00", None, "10:10").unwrap(), (t("10:00"), 2));
        assert_eq!(hours("08:00", Some("09:00"), "15:00").unwrap(), (t("09:00"), 1));
        assert_eq!(hours("08:00", Some("23:00"), "10:10").unwrap(), (t("10:00"), 2), "what is to come is not read");
        assert_eq!(hours("10:00", None, "10:30").unwrap().1, 0);
    }

    #[test]
    fn what_are_no_whole_hours_is_refused() {
        assert!(hours("08:30", None, "10:10").is_err());
        assert!(hours("08:00", Some("09:30"), "10:10").is_err());
        assert!(hours("09:00", Some("09:00"), "10:10").is_err());
    }

    #[test]
    fn the_last_hours_end_with_the_last_closed_one() {
        let last = Hours::of(None, None, Some(HOUR + HOUR), SignedDuration::ZERO, t("10:30")).unwrap();
        assert_eq!((last.from, last.until), (t("08:00"), t("10:00")));
        assert_eq!(last.hour_that_ends_at(t("09:00")), Some(t("08:00")));
        assert_eq!((last.hour_that_ends_at(t("08:00")), last.hour_that_ends_at(t("09:30"))), (None, None));
        assert_eq!(last.first_few(1).until, t("09:00"));
        assert_eq!(last.first_few(24), last);
    }
}
