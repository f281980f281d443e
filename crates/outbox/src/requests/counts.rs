//! Counts without reading what is counted: whole hours come from the counters that gather keeps, the parts of hours at
//! the ends of a range from the rows themselves. Counters know what was gathered, as the answer's `as_of` says: a queue
//! of a million messages must cost a reader nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::compose::Statement;
use super::{Span, hour_of, next_hour};
use crate::Error;
use crate::query::Tx;

/// So few rows are read whole and sorted, whatever the order is.
pub(super) const FEW: i64 = 3000;

/// Which statuses are meant.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted<'a> {
    /// Of these kinds; `None`: of all.
    pub kinds: Option<Vec<i64>>,
    /// With this message.
    pub message: Option<&'a String>,
    /// Dated so.
    pub date: Span,
    /// Recorded then.
    pub recorded: Span,
}

/// By what a count is told apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bucket {
    /// Hour of the date, in seconds.
    Hour,
    /// Hour of the recording, in seconds.
    RecordedHour,
    /// Kind.
    Kind,
}

impl Bucket {
    const fn of_counter(self) -> &'static str {
        match self {
            Self::Hour => "extract(epoch from c.hour)::bigint",
            Self::RecordedHour => "extract(epoch from c.recorded_hour)::bigint",
            Self::Kind => "c.kind",
        }
    }

    const fn of_row(self) -> &'static str {
        match self {
            Self::Hour => "extract(epoch from postmeter.hour_of(r.date))::bigint",
            Self::RecordedHour => "extract(epoch from postmeter.hour_of(r.recorded_at))::bigint",
            Self::Kind => "r.kind",
        }
    }
}

/// How many statuses there are in a bucket, and the hours of their dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// How many; never zero.
    pub n: i64,
    /// First hour, in seconds.
    pub first: i64,
    /// Last hour, in seconds.
    pub last: i64,
}

impl Tally {
    /// Of two together.
    pub fn and(self, other: Self) -> Self {
        Self { n: self.n + other.n, first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    /// From the start of the first hour to the end of the last.
    pub fn span(self) -> Span {
        hours(self.first, self.last)
    }
}

fn hours(first: i64, last: i64) -> Span {
    Span { from: Timestamp::from_second(first).ok(), until: Timestamp::from_second(last + 3600).ok() }
}

/// Counts per bucket.
pub(super) type Counts = BTreeMap<i64, Tally>;

/// How many there are in all.
pub(super) fn total(counts: &Counts) -> i64 {
    counts.values().map(|tally| tally.n).sum()
}

/// How many statuses there are, per bucket.
pub(super) async fn count_by(tx: &Tx<'_>, bucket: Bucket, wanted: &Wanted<'_>) -> Result<Counts, Error> {
    let mut counts = Counts::new();
    let (dates, date_rests) = split(&wanted.date);
    let (recordings, recorded_rests) = split(&wanted.recorded);
    if let Some(date) = dates {
        let whole = Wanted { date, recorded: widened(&wanted.recorded), ..wanted.clone() };
        let known = whole_hours(tx, bucket, &whole, recordings.as_ref(), &mut counts).await?;
        // in hours of recording that count in part, the dates are known to the hour: few partitions are read
        if let Some(known) = known {
            for recorded in recorded_rests {
                rows(tx, bucket, &Wanted { date: both(&date, &known), recorded, ..wanted.clone() }, &mut counts)
                    .await?;
            }
        }
    }
    for date in date_rests {
        rows(tx, bucket, &Wanted { date, ..wanted.clone() }, &mut counts).await?;
    }
    Ok(counts)
}

/// All hours that a span touches.
fn widened(span: &Span) -> Span {
    Span { from: span.from.map(hour_of), until: span.until.map(next_hour) }
}

/// The whole hours of a span, and what is left of it at its ends.
fn split(span: &Span) -> (Option<Span>, Vec<Span>) {
    let from = span.from.map(next_hour);
    let until = span.until.map(hour_of);
    if let (Some(start), Some(end)) = (from, until)
        && start >= end
    {
        return (None, vec![*span]);
    }
    let mut rests = Vec::new();
    if from != span.from {
        rests.push(Span { from: span.from, until: from });
    }
    if until != span.until {
        rests.push(Span { from: until, until: span.until });
    }
    (Some(Span { from, until }), rests)
}

/// Adds what the counters have within whole hours of date and hours of recording, and returns between
/// which dates that is, hours of recording included that are not to be `counted`.
async fn whole_hours(
    tx: &Tx<'_>,
    bucket: Bucket,
    wanted: &Wanted<'_>,
    counted: Option<&Span>,
    counts: &mut Counts,
) -> Result<Option<Span>, Error> {
    let mut statement = Statement::default();
    let counted_hour = is_counted(&mut statement, "c.recorded_hour", counted);
    statement.any("c.kind", wanted.kinds.as_ref());
    statement.within("c.hour", &wanted.date);
    statement.within("c.recorded_hour", &wanted.recorded);
    let counters = if let Some(message) = wanted.message {
        statement.condition("c.message = hashtextextended(?, 0)", message, Type::TEXT);
        "request_message_count"
    } else {
        "request_status_count"
    };
    let in_counters = statement.conditions();
    let sql = format!(
        "-- request_counts: how many statuses there are in whole hours.\n\
         select b.bucket, coalesce(sum(b.n) filter (where b.is_counted), 0)::bigint as n,\n\
         extract(epoch from min(b.hour))::bigint as first, extract(epoch from max(b.hour))::bigint as last from (\n\
         select {} as bucket, c.n, c.hour, {counted_hour} as is_counted from postmeter.{counters} c\n\
         where {in_counters} and c.n <> 0\n\
         ) b group by 1",
        bucket.of_counter(),
    );
    let rows = statement.run(tx, &sql).await?;
    let tallies = rows.iter().map(tally).collect::<Result<Vec<_>, _>>()?;
    let known = tallies.iter().map(|(_, tally)| *tally).reduce(Tally::and).map(Tally::span);
    add(tallies, counts);
    Ok(known)
}

async fn rows(tx: &Tx<'_>, bucket: Bucket, wanted: &Wanted<'_>, counts: &mut Counts) -> Result<(), Error> {
    let mut statement = Statement::default();
    rows_wanted(&mut statement, wanted);
    let sql = format!(
        "-- request_count_rows: how many statuses there are in part of an hour.\n\
         select {} as bucket, count(*) as n, extract(epoch from postmeter.hour_of(min(r.date)))::bigint as first,\n\
         extract(epoch from postmeter.hour_of(max(r.date)))::bigint as last\n\
         from postmeter.request_status r where {} group by 1",
        bucket.of_row(),
        statement.conditions()
    );
    add(statement.run(tx, &sql).await?.iter().map(tally).collect::<Result<_, _>>()?, counts);
    Ok(())
}

/// The same condition on the rows themselves.
pub(super) fn rows_wanted<'a>(statement: &mut Statement<'a>, wanted: &'a Wanted<'_>) {
    statement.any("r.kind", wanted.kinds.as_ref());
    rows_wanted_of_any_kind(statement, wanted);
}

/// The same without its kinds.
pub(super) fn rows_wanted_of_any_kind<'a>(statement: &mut Statement<'a>, wanted: &'a Wanted<'_>) {
    if let Some(message) = wanted.message {
        // the index holds the beginning of a message
        statement.condition("left(r.status_msg, 100) = left(?, 100)", message, Type::TEXT);
        statement.condition("r.status_msg = ?", message, Type::TEXT);
    }
    statement.within("r.date", &wanted.date);
    statement.within("r.recorded_at", &wanted.recorded);
}

/// Whether a row's `column` lies within what is counted, as an expression.
fn is_counted<'a>(statement: &mut Statement<'a>, column: &'static str, counted: Option<&'a Span>) -> String {
    counted.map_or_else(
        || "false".to_owned(),
        |span| {
            statement.within(column, span);
            statement.conditions()
        },
    )
}

fn tally(row: &tokio_postgres::Row) -> Result<(i64, Tally), Error> {
    let tally = Tally { n: row.try_get("n")?, first: row.try_get("first")?, last: row.try_get("last")? };
    Ok((row.try_get("bucket")?, tally))
}

fn add(tallies: Vec<(i64, Tally)>, counts: &mut Counts) {
    for (bucket, tally) in tallies.into_iter().filter(|(_, tally)| tally.n != 0) {
        counts.entry(bucket).and_modify(|known| *known = known.and(tally)).or_insert(tally);
    }
}

/// Where a page lies among buckets in order: from which to which, and how many of its rows lie before the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Index of the first bucket.
    pub first: usize,
    /// Index of the last.
    pub last: usize,
    /// Rows of these to skip.
    pub offset: i64,
}

/// Finds a page among buckets in order; `None`: it lies behind them all.
pub(super) fn window(counts: impl IntoIterator<Item = i64>, offset: i64, limit: i64) -> Option<Window> {
    let (mut before, mut found) = (0, None::<Window>);
    for (index, n) in counts.into_iter().enumerate() {
        if let Some(window) = &mut found {
            window.last = index;
        } else if before + n > offset {
            found = Some(Window { first: index, last: index, offset: offset - before });
        }
        before += n;
        if found.is_some() && before >= offset + limit {
            break;
        }
    }
    found
}

/// The span of hours in which a page lies, and how many of its rows lie before the page.
pub(super) fn hours_of_page(
    counts: impl DoubleEndedIterator<Item = (i64, i64)>,
    descending: bool,
    offset: i64,
    limit: i64,
) -> Option<(Span, i64)> {
    let in_order: Vec<(i64, i64)> = if descending { counts.rev().collect() } else { counts.collect() };
    let window = window(in_order.iter().map(|(_, n)| *n), offset, limit)?;
    let (one, other) = (in_order[window.first].0, in_order[window.last].0);
    Some((hours(one.min(other), one.max(other)), window.offset))
}

/// What lies in both.
pub(super) fn both(one: &Span, other: &Span) -> Span {
    let mut both = *one;
    if let Some(from) = other.from {
        both.after(from, true);
    }
    if let Some(until) = other.until {
        both.before(until, false);
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h3_a_page_is_found_among_buckets() {
        let counts = [5, 1, 10, 3];
        assert_eq!(window(counts, 0, 5), Some(Window { first: 0, last: 0, offset: 0 }));
        assert_eq!(window(counts, 4, 2), Some(Window { first: 0, last: 1, offset: 4 }));
        assert_eq!(window(counts, 5, 5), Some(Window { first: 1, last: 2, offset: 0 }));
        assert_eq!(window(counts, 18, 100), Some(Window { first: 3, last: 3, offset: 2 }));
        assert_eq!(window(counts, 19, 1), None);
    }

    #[test]
    fn h3_a_span_is_whole_hours_and_rests() {
        let t = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let span = Span { from: t("2026-01-01T00:10Z"), until: t("2026-01-01T03:00Z") };
        let (hours, rests) = split(&span);
        assert_eq!(hours, Some(Span { from: t("2026-01-01T01:00Z"), until: span.until }));
        assert_eq!(rests, [Span { from: span.from, until: t("2026-01-01T01:00Z") }]);
        let narrow = Span { from: t("2026-01-01T00:10Z"), until: t("2026-01-01T00:50Z") };
        assert_eq!(split(&narrow), (None, vec![narrow]));
        assert_eq!(split(&Span::default()), (Some(Span::default()), vec![]));
    }
}
