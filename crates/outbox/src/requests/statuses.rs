//! The list of statuses: every filter and every sort, with a true count, over any number of rows.
//!
//! Which rows a page has is known before any is read: the counters say in which hour it lies, or in which kinds. What is
//! read then is a few index ranges.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::compose::{Statement, order, reading};
use super::counts::{
    Bucket, Counts, FEW, Tally, Wanted, both, count_by, hours_of_page, rows_wanted, rows_wanted_of_any_kind, total,
    window,
};
use super::{KINDS, Listed, Page, Span};
use crate::query::{Params, Tx};
use crate::{Database, Error};

/// A page that begins so near is walked to.
const NEAR: i64 = 500;

/// So many kinds are read one beside the other.
const KINDS_MAX: usize = 64;

/// Which statuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusFilter {
    /// Of this service.
    pub service: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// With exactly this message.
    pub status_msg: Option<String>,
    /// Dated so.
    pub date: Span,
    /// Recorded then.
    pub recorded: Span,
}

/// By what statuses are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusSort {
    /// By service, then date.
    Service,
    /// By source, then date.
    Source,
    /// By request id, then date.
    RequestId,
    /// By status, then date.
    Status,
    /// By the first 100 characters of the message, then date.
    StatusMsg,
    /// By date.
    Date,
    /// By when they were recorded.
    RecordedAt,
}

/// A status in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Number of the request; `None`: it was not gathered yet.
    pub id: Option<i64>,
    /// Its id in the form in which it was first recorded.
    pub request_id: String,
    /// The service.
    pub service: String,
    /// The source; empty: none.
    pub source: String,
    /// What was said.
    pub status: String,
    /// In more words.
    pub status_msg: String,
    /// When.
    pub date: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// What completes every order, so that pages are stable.
/// Messages of one date are in the order of their numbers; those recorded before there were numbers have 0.
const BY_DATE: [&str; 4] = ["date", "number", "request_key", "digest"];

/// Lists statuses.
///
/// # Errors
/// As Postgres says.
pub async fn statuses(
    database: &Database,
    filter: &StatusFilter,
    page: &Page<StatusSort>,
) -> Result<Listed<Status>, Error> {
    let mut session = database.session().await?;
    super::gather_first(&mut session).await?;
    let tx = reading(&mut session).await?;
    let as_of = super::as_of(&tx).await?;
    let (count, rows) = list(&tx, filter, page).await?;
    tx.commit().await?;
    Ok(Listed { count, rows, as_of })
}

async fn list(tx: &Tx<'_>, filter: &StatusFilter, page: &Page<StatusSort>) -> Result<(i64, Vec<Status>), Error> {
    let names = [&filter.service, &filter.source, &filter.status];
    let is_grouped = matches!(page.sort, StatusSort::Service | StatusSort::Source | StatusSort::Status);
    let kinds =
        if is_grouped || names.iter().any(|name| name.is_some()) { Some(kinds(tx, filter).await?) } else { None };
    let wanted = Wanted {
        kinds: kinds.as_ref().map(|kinds| kinds.keys().copied().collect()),
        message: filter.status_msg.as_ref(),
        date: filter.date,
        recorded: filter.recorded,
    };
    let of = |kind: &i64| -> &str {
        let names = kinds.as_ref().and_then(|kinds| kinds.get(kind)).expect("counted kinds are known ones");
        match page.sort {
            StatusSort::Service => &names[0],
            StatusSort::Source => &names[1],
            _ => &names[2],
        }
    };
    match page.sort {
        StatusSort::Date => by_hour(tx, wanted, page).await,
        StatusSort::StatusMsg if filter.status_msg.is_some() => by_hour(tx, wanted, page).await,
        StatusSort::RecordedAt => by_recording(tx, wanted, page).await,
        StatusSort::StatusMsg | StatusSort::RequestId => walk(tx, wanted, page).await,
        StatusSort::Service | StatusSort::Source | StatusSort::Status => by_name(tx, wanted, page, of).await,
    }
}

/// Service, source and status of each kind that the filter lets through.
async fn kinds(tx: &Tx<'_>, filter: &StatusFilter) -> Result<HashMap<i64, [String; 3]>, Error> {
    let names: Params<'_> = &[&filter.service, &filter.source, &filter.status];
    let rows = tx.rows(&KINDS, names).await?;
    rows.iter()
        .map(|row| {
            Ok((row.try_get("kind")?, [row.try_get("service")?, row.try_get("source")?, row.try_get("status")?]))
        })
        .collect()
}

/// Buckets and their sizes, in order.
fn sizes(counts: &Counts) -> impl DoubleEndedIterator<Item = (i64, i64)> {
    counts.iter().map(|(bucket, tally)| (*bucket, tally.n))
}

/// The counters say in which hours the page lies.
async fn by_hour(tx: &Tx<'_>, mut wanted: Wanted<'_>, page: &Page<StatusSort>) -> Result<(i64, Vec<Status>), Error> {
    let counts = count_by(tx, Bucket::Hour, &wanted).await?;
    let count = total(&counts);
    let Some((hours, offset)) = hours_of_page(sizes(&counts), page.descending, page.offset, page.limit) else {
        return Ok((count, Vec::new()));
    };
    wanted.date = both(&wanted.date, &hours);
    let rows = Fetch { wanted: &wanted, order: BY_DATE.to_vec(), offset, page }.run(tx, false).await?;
    Ok((count, rows))
}

async fn by_recording(
    tx: &Tx<'_>,
    mut wanted: Wanted<'_>,
    page: &Page<StatusSort>,
) -> Result<(i64, Vec<Status>), Error> {
    let counts = count_by(tx, Bucket::RecordedHour, &wanted).await?;
    let count = total(&counts);
    let Some((hours, offset)) = hours_of_page(sizes(&counts), page.descending, page.offset, page.limit) else {
        return Ok((count, Vec::new()));
    };
    wanted.recorded = both(&wanted.recorded, &hours);
    // the counters know the dates of these recordings: few partitions are read
    let ends = [hours.from, hours.until].map(|end| end.map_or(0, Timestamp::as_second));
    if let Some(all) = counts.range(ends[0]..ends[1]).map(|(_, tally)| *tally).reduce(Tally::and) {
        wanted.date = both(&wanted.date, &all.span());
    }
    let order = vec!["recorded_at", "number", "date", "request_key", "digest"];
    let rows = Fetch { wanted: &wanted, order, offset, page }.run(tx, count <= FEW).await?;
    Ok((count, rows))
}

/// By message or request id: along the index, or all of it if that is little. The counters say between which hours.
async fn walk(tx: &Tx<'_>, mut wanted: Wanted<'_>, page: &Page<StatusSort>) -> Result<(i64, Vec<Status>), Error> {
    let counts = count_by(tx, Bucket::Kind, &wanted).await?;
    let count = total(&counts);
    if page.offset >= count {
        return Ok((count, Vec::new()));
    }
    if let Some(all) = counts.values().copied().reduce(Tally::and) {
        wanted.date = both(&wanted.date, &all.span());
    }
    let order = match page.sort {
        StatusSort::RequestId => vec!["request_key", "date", "number", "digest"],
        _ => vec!["left(status_msg, 100)", "date", "number", "request_key", "digest"],
    };
    let rows = Fetch { wanted: &wanted, order, offset: page.offset, page }.run(tx, count <= FEW).await?;
    Ok((count, rows))
}

/// The counters say which names the page has; within a name it is in order of date.
async fn by_name<'n>(
    tx: &Tx<'_>,
    mut wanted: Wanted<'_>,
    page: &Page<StatusSort>,
    name_of: impl Fn(&i64) -> &'n str,
) -> Result<(i64, Vec<Status>), Error> {
    let counts = count_by(tx, Bucket::Kind, &wanted).await?;
    let count = total(&counts);
    let mut names: BTreeMap<&str, (Tally, Vec<i64>)> = BTreeMap::new();
    for (kind, tally) in &counts {
        let (known, kinds) = names.entry(name_of(kind)).or_insert_with(|| (Tally { n: 0, ..*tally }, Vec::new()));
        *known = known.and(*tally);
        kinds.push(*kind);
    }
    let mut groups: Vec<(Tally, Vec<i64>)> = names.into_values().collect();
    if page.descending {
        groups.reverse();
    }
    let Some(found) = window(groups.iter().map(|(tally, _)| tally.n), page.offset, page.limit) else {
        return Ok((count, Vec::new()));
    };
    let groups = &groups[found.first..=found.last];
    wanted.kinds = Some(groups.iter().flat_map(|(_, kinds)| kinds).copied().collect());
    if let Some(all) = groups.iter().map(|(tally, _)| *tally).reduce(Tally::and) {
        wanted.date = both(&wanted.date, &all.span());
    }
    let mut offset = found.offset;
    if groups.len() == 1 && offset > NEAR {
        // far down among one name: the counters say in which hour
        let hours = count_by(tx, Bucket::Hour, &wanted).await?;
        if let Some((span, rest)) = hours_of_page(sizes(&hours), page.descending, offset, page.limit) {
            (wanted.date, offset) = (both(&wanted.date, &span), rest);
        }
    }
    let name = match page.sort {
        StatusSort::Service => "service",
        StatusSort::Source => "source",
        _ => "status",
    };
    let order = std::iter::once(name).chain(BY_DATE).collect();
    let rows = Fetch { wanted: &wanted, order, offset, page }.run(tx, false).await?;
    Ok((count, rows))
}

/// Reading a page.
struct Fetch<'a> {
    wanted: &'a Wanted<'a>,
    order: Vec<&'static str>,
    offset: i64,
    page: &'a Page<StatusSort>,
}

impl Fetch<'_> {
    /// `whole`: reads all that is wanted by whichever index fits, then sorts; else along the index of the order.
    async fn run(&self, tx: &Tx<'_>, whole: bool) -> Result<Vec<Status>, Error> {
        let Self { wanted, order: columns, offset, page } = self;
        let (outer, limit) = (order(columns, page.descending), page.limit);
        let reach = offset.saturating_add(limit);
        let mut statement = Statement::default();
        let kinds = wanted.kinds.as_ref().filter(|kinds| kinds.len() <= KINDS_MAX && !whole);
        let source = if let Some(kinds) = kinds.filter(|_| columns[0] != "recorded_at" && columns[0] != "request_key") {
            let kinds = statement.param(kinds, Type::INT8_ARRAY);
            rows_wanted_of_any_kind(&mut statement, wanted);
            let conditions = statement.conditions();
            let reach = statement.param(&reach, Type::INT8);
            // of one kind, in order of a name is in order of the rest; a range of one kind, in order of the kind, keeps
            // the planner from walking along the dates of all kinds
            let rest = columns.iter().copied().filter(|name| !["service", "source", "status"].contains(name));
            let inner: Vec<&str> = std::iter::once("r.kind").chain(rest).collect();
            format!(
                "unnest({kinds}) k(kind) cross join lateral (select r.* from postmeter.request_status r \
                 where r.kind >= k.kind and r.kind <= k.kind and {conditions} order by {} limit {reach}) s",
                order(&inner, page.descending)
            )
        } else {
            rows_wanted(&mut statement, wanted);
            // the fence keeps the planner from walking along the order until it has found the few
            let fence = if whole { "offset 0" } else { "" };
            format!("(select r.* from postmeter.request_status r where {} {fence}) s", statement.conditions())
        };
        let (offset, limit) = (statement.param(offset, Type::INT8), statement.param(&limit, Type::INT8));
        let sql = format!(
            "-- request_statuses: a page of statuses, with their requests.\n\
             select q.id, coalesce(q.request_id, p.request_id) as request_id, p.service, p.source, p.status,\n\
             p.status_msg, p.date, p.recorded_at\n\
             from (select s.* from {source} order by {outer} offset {offset} limit {limit}) p\n\
             left join lateral (select x.id, x.request_id from postmeter.request x\n\
             where x.request_key = p.request_key offset 0) q on true\n\
             order by {}",
            order(&columns.iter().map(|c| qualified(c)).collect::<Vec<_>>(), page.descending)
        );
        let rows = statement.run(tx, &sql).await?;
        rows.iter()
            .map(|row| {
                Ok(Status {
                    id: row.try_get("id")?,
                    request_id: row.try_get("request_id")?,
                    service: row.try_get("service")?,
                    source: row.try_get("source")?,
                    status: row.try_get("status")?,
                    status_msg: row.try_get("status_msg")?,
                    date: row.try_get("date")?,
                    recorded_at: row.try_get("recorded_at")?,
                })
            })
            .collect()
    }
}

/// A column of the order, of the page's rows.
fn qualified(column: &str) -> &'static str {
    match column {
        "service" => "p.service",
        "source" => "p.source",
        "status" => "p.status",
        "left(status_msg, 100)" => "left(p.status_msg, 100)",
        "recorded_at" => "p.recorded_at",
        "request_key" => "p.request_key",
        "digest" => "p.digest",
        "number" => "p.number",
        _ => "p.date",
    }
}
