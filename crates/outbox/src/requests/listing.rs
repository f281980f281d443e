//! The list of requests.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::compose::{Statement, order, reading};
use super::counts::{FEW, both, hours_of_page};
use super::one::{Request, read_request};
use super::{KINDS, Listed, Page, Span, hour_of, next_hour};
use crate::query::Tx;
use crate::{Database, Error};

/// Which requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Of this account.
    pub account: Option<String>,
    /// Of this org.
    pub org: Option<String>,
    /// With this inventory id; a UUID in any form.
    pub inventory_id: Option<String>,
    /// With this system id; a UUID in any form.
    pub system_id: Option<String>,
    /// With a message of this service; that message also has the source and status that are asked for.
    pub service: Option<String>,
    /// With a message of this source; empty: of none.
    pub source: Option<String>,
    /// With a message of this status.
    pub status: Option<String>,
    /// With this outcome: open, succeeded or failed.
    pub outcome: Option<String>,
    /// Failed, and this service failed first.
    pub failed_service: Option<String>,
    /// Failed, and this is what that service said.
    pub failure: Option<String>,
    /// Open, and this service has not finished.
    pub open_service: Option<String>,
    /// Created then.
    pub created: Span,
}

/// By what requests are sorted; ties are in order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestSort {
    /// By account.
    Account,
    /// By org.
    Org,
    /// By inventory id.
    InventoryId,
    /// By system id.
    SystemId,
    /// By request id.
    RequestId,
    /// By date of the message that was recorded first.
    CreatedAt,
    /// By the time from its first date to its last.
    Duration,
    /// By when one was last heard of; of open requests only, which then must be the outcome that is asked for.
    LastRecordedAt,
}

impl RequestSort {
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Account => &["account", "created_at", "request_key"],
            Self::Org => &["org", "created_at", "request_key"],
            Self::InventoryId => &["inventory_id", "created_at", "request_key"],
            Self::SystemId => &["system_id", "created_at", "request_key"],
            Self::RequestId => &["request_key"],
            Self::CreatedAt => &["created_at", "request_key"],
            Self::Duration => &["(last_date - first_date)", "request_key"],
            Self::LastRecordedAt => &["last_recorded_at", "request_key"],
        }
    }
}

/// Lists requests.
///
/// # Errors
/// As Postgres says.
pub async fn requests(
    database: &Database,
    filter: &RequestFilter,
    page: &Page<RequestSort>,
) -> Result<Listed<Request>, Error> {
    let mut session = database.session().await?;
    super::gather_first(&mut session).await?;
    let tx = reading(&mut session).await?;
    let as_of = super::as_of(&tx).await?;
    let (count, rows) = list(&tx, filter, page).await?;
    tx.commit().await?;
    Ok(Listed { count, rows, as_of })
}

/// The kinds of messages that a request must have one of; `None`: any.
async fn kinds(tx: &Tx<'_>, filter: &RequestFilter) -> Result<Option<Vec<i64>>, Error> {
    if filter.service.is_none() && filter.source.is_none() && filter.status.is_none() {
        return Ok(None);
    }
    let rows = tx.rows(&KINDS, &[&filter.service, &filter.source, &filter.status]).await?;
    Ok(Some(rows.iter().map(|row| row.try_get("kind")).collect::<Result<_, _>>()?))
}

/// A filter, and the kinds that it comes to.
#[derive(Clone)]
struct Asked {
    filter: RequestFilter,
    kinds: Option<Vec<i64>>,
    inventory_ids: Option<Vec<String>>,
    system_ids: Option<Vec<String>>,
}

/// The forms in which a message may have given an id: a UUID's with hyphens or without, in lower or upper case.
fn forms(id: &str) -> Vec<String> {
    let mut forms = vec![id.to_owned()];
    if let Ok(uuid) = Uuid::parse_str(id) {
        let written = [uuid.hyphenated().to_string(), uuid.simple().to_string()];
        forms.extend(written.iter().map(|form| form.to_uppercase()));
        forms.extend(written);
        forms.sort_unstable();
        forms.dedup();
    }
    forms
}

impl std::ops::Deref for Asked {
    type Target = RequestFilter;

    fn deref(&self) -> &RequestFilter {
        &self.filter
    }
}

async fn list(tx: &Tx<'_>, filter: &RequestFilter, page: &Page<RequestSort>) -> Result<(i64, Vec<Request>), Error> {
    let mut filter = Asked {
        filter: filter.clone(),
        kinds: kinds(tx, filter).await?,
        inventory_ids: filter.inventory_id.as_deref().map(forms),
        system_ids: filter.system_id.as_deref().map(forms),
    };
    let is_counted = filter.inventory_id.is_none()
        && filter.system_id.is_none()
        && filter.kinds.is_none()
        && filter.failed_service.is_none()
        && filter.failure.is_none()
        && filter.open_service.is_none();
    let mut offset = page.offset;
    let count = if is_counted {
        let counts = by_hour(tx, &filter).await?;
        if page.sort == RequestSort::CreatedAt {
            let Some((hours, rest)) =
                hours_of_page(counts.iter().map(|(hour, n)| (*hour, *n)), page.descending, page.offset, page.limit)
            else {
                return Ok((counts.values().sum(), Vec::new()));
            };
            (filter.filter.created, offset) = (both(&filter.created, &hours), rest);
        }
        counts.values().sum()
    } else {
        rows(tx, &filter, &filter.created).await?.values().sum()
    };
    if page.offset >= count {
        return Ok((count, Vec::new()));
    }
    if let Some(unnamed) = unnamed(&filter, page).filter(|_| count > FEW) {
        let rows = fetch(tx, &unnamed, page, offset, false).await?;
        if rows.len() as i64 == page.limit {
            return Ok((count, rows));
        }
    }
    Ok((count, fetch(tx, &filter, page, offset, count <= FEW).await?))
}

/// Many requests have no inventory id, or no system id. They come first, so a page may well consist of them, and among
/// them the index has the dates in order.
fn unnamed(asked: &Asked, page: &Page<RequestSort>) -> Option<Asked> {
    let mut unnamed = asked.clone();
    let place = match page.sort {
        RequestSort::InventoryId => &mut unnamed.inventory_ids,
        RequestSort::SystemId => &mut unnamed.system_ids,
        _ => return None,
    };
    if page.descending || place.is_some() {
        return None;
    }
    *place = Some(vec![String::new()]);
    Some(unnamed)
}

/// How many there are per hour of creation, in seconds: whole hours from the counters, the rests from the rows.
async fn by_hour(tx: &Tx<'_>, filter: &Asked) -> Result<BTreeMap<i64, i64>, Error> {
    let whole = Span { from: filter.created.from.map(next_hour), until: filter.created.until.map(hour_of) };
    if whole.from.is_some() && whole.until.is_some() && whole.from >= whole.until {
        return rows(tx, filter, &filter.created).await;
    }
    let mut statement = Statement::default();
    statement.equal("c.org", filter.org.as_ref());
    statement.equal("c.account", filter.account.as_ref());
    statement.equal("c.outcome", filter.outcome.as_ref());
    let counters = if filter.org.is_some() || filter.account.is_some() { "request_count" } else { "request_hour" };
    statement.within("c.hour", &whole);
    let sql = format!(
        "-- request_hours: how many requests were created, by the hour.\n\
         select extract(epoch from c.hour)::bigint as bucket, sum(c.n)::bigint as n from postmeter.{counters} c\n\
         where {} group by 1 having sum(c.n) <> 0",
        statement.conditions()
    );
    let mut counts = BTreeMap::new();
    for row in statement.run(tx, &sql).await? {
        counts.insert(row.try_get("bucket")?, row.try_get("n")?);
    }
    let rests = [
        (whole.from != filter.created.from).then_some(Span { from: filter.created.from, until: whole.from }),
        (whole.until != filter.created.until).then_some(Span { from: whole.until, until: filter.created.until }),
    ];
    for rest in rests.into_iter().flatten() {
        for (hour, n) in rows(tx, filter, &rest).await? {
            *counts.entry(hour).or_insert(0) += n;
        }
    }
    Ok(counts)
}

fn wanted<'a>(statement: &mut Statement<'a>, filter: &'a Asked, created: &'a Span) {
    statement.equal("r.org", filter.org.as_ref());
    statement.equal("r.account", filter.account.as_ref());
    statement.any_text("r.inventory_id", filter.inventory_ids.as_ref());
    statement.any_text("r.system_id", filter.system_ids.as_ref());
    statement.equal("r.outcome", filter.outcome.as_ref());
    // with the outcome, so that its index is of use
    if filter.failed_service.is_some() || filter.failure.is_some() {
        statement.always("r.outcome = 'failed'");
    }
    statement.equal("r.failed_service", filter.failed_service.as_ref());
    statement.equal("r.failure", filter.failure.as_ref());
    if let Some(service) = &filter.open_service {
        statement.always("r.outcome = 'open'");
        statement.condition("? = any (r.open_services)", service, Type::TEXT);
    }
    if let Some(kinds) = &filter.kinds {
        statement.condition("r.kinds && ?", kinds, Type::INT8_ARRAY);
    }
    statement.within("r.created_at", created);
}

async fn rows(tx: &Tx<'_>, filter: &Asked, created: &Span) -> Result<BTreeMap<i64, i64>, Error> {
    let mut statement = Statement::default();
    wanted(&mut statement, filter, created);
    let sql = format!(
        "-- request_hour_rows: how many requests there are, counted one by one.\n\
         select extract(epoch from postmeter.hour_of(r.created_at))::bigint as bucket, count(*) as n\n\
         from postmeter.request r where {} group by 1",
        statement.conditions()
    );
    let rows = statement.run(tx, &sql).await?;
    rows.iter().map(|row| Ok((row.try_get("bucket")?, row.try_get("n")?))).collect()
}

async fn fetch(
    tx: &Tx<'_>,
    filter: &Asked,
    page: &Page<RequestSort>,
    offset: i64,
    is_few: bool,
) -> Result<Vec<Request>, Error> {
    let columns = page.sort.columns();
    let reach = offset.saturating_add(page.limit);
    let mut statement = Statement::default();
    wanted(&mut statement, filter, &filter.created);
    let conditions = statement.conditions();
    let source = match (&filter.account, &filter.org) {
        // an account belongs to few orgs: each is read in its order, instead of all orgs until the account's are met
        (Some(account), None) if page.sort == RequestSort::Org => {
            let (account, reach) = (statement.param(account, Type::TEXT), statement.param(&reach, Type::INT8));
            format!(
                "(select distinct c.org as name from postmeter.request_count c where c.account = {account}) o\n\
                 cross join lateral (select r.* from postmeter.request r where r.org = o.name and {conditions}\n\
                 order by {} limit {reach}) s",
                order(&columns[1..], page.descending)
            )
        }
        // the fence keeps the planner from walking along the order until it has met the few
        _ if is_few => format!("(select r.* from postmeter.request r where {conditions} offset 0) s"),
        _ => format!("(select r.* from postmeter.request r where {conditions}) s"),
    };
    let (offset, limit) = (statement.param(&offset, Type::INT8), statement.param(&page.limit, Type::INT8));
    let sql = format!(
        "-- request_list: a page of requests.\n\
         select s.* from {source} order by {} offset {offset} limit {limit}",
        order(&columns.iter().map(|c| qualified(c)).collect::<Vec<_>>(), page.descending)
    );
    statement.run(tx, &sql).await?.iter().map(read_request).collect()
}

/// A column of the order, of the rows that are read.
fn qualified(column: &str) -> &'static str {
    match column {
        "account" => "s.account",
        "org" => "s.org",
        "inventory_id" => "s.inventory_id",
        "system_id" => "s.system_id",
        "request_key" => "s.request_key",
        "last_recorded_at" => "s.last_recorded_at",
        "(last_date - first_date)" => "(s.last_date - s.first_date)",
        _ => "s.created_at",
    }
}
