//! What is sent and how it is read, for every driver: the one place that knows the statements and builds the JSON.
//!
//! Every parameter and every column is text, and the statement casts: a driver needs no feature for decimals, times,
//! JSON or UUIDs, and all drivers send the same.

use std::borrow::Cow;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::error::unreadable;
use crate::usage::text;
use crate::{BatchRow, Error, NewStatus, NewUsage, Refused};

/// A statement with its parameters, all of type text.
pub(crate) struct Call<'a> {
    pub(crate) sql: &'static str,
    pub(crate) parameters: Vec<Option<Cow<'a, str>>>,
}

/// Rows of columns, all of type text.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// Those of a batch that are sent, and the refusals of those that cannot be.
pub(crate) struct Batch {
    pub(crate) call: Call<'static>,
    refused: Vec<Option<Refused>>,
}

const RECORD_USAGE: &str = "select postmeter.record_usage($1, $2, $3, $4, $5, $6::text::numeric, \
    $7::text::timestamptz, $8, $9, $10, $11, $12::text::jsonb)::text";
const RECORD_USAGES: &str = "select b.verdict, b.usage_id::text, b.error_code, b.field, b.message \
    from postmeter.record_usage_batch($1::text::jsonb) b order by b.item";
const TRACK: &str = "select postmeter.track($1, $2, $3, $4::text::timestamptz, $5, $6, $7, $8, $9, $10)::text";
const TRACK_BATCH: &str = "select b.verdict, null::text, b.error_code, b.field, b.message \
    from postmeter.track_batch($1::text::jsonb) b order by b.item";

pub(crate) fn record_usage(usage: &NewUsage) -> Result<Call<'_>, Refused> {
    if let Some(refused) = nul_in_usage(usage) {
        return Err(refused);
    }
    let parameters = vec![
        given(&usage.source),
        given(&usage.event_id),
        given(&usage.org),
        given(&usage.product),
        given(&usage.metric),
        text(usage.quantity).map(Cow::Owned),
        Some(Cow::Owned(instant(usage.used_at))),
        usage.account.as_deref().map(Cow::Borrowed),
        usage.corrects.as_deref().map(Cow::Borrowed),
        usage.request_id.as_deref().map(Cow::Borrowed),
        usage.traceparent.as_deref().map(Cow::Borrowed),
        Some(Cow::Owned(usage.attributes.to_string())),
    ];
    Ok(Call { sql: RECORD_USAGE, parameters })
}

pub(crate) fn record_usages(usages: &[NewUsage]) -> Batch {
    batch(RECORD_USAGES, usages, nul_in_usage)
}

pub(crate) fn track(status: &NewStatus) -> Result<Call<'_>, Refused> {
    if let Some(refused) = nul_in_status(status) {
        return Err(refused);
    }
    let parameters = vec![
        given(&status.service),
        given(&status.request_id),
        given(&status.status),
        status.date.map(|date| Cow::Owned(instant(date))),
        status.source.as_deref().map(Cow::Borrowed),
        status.status_msg.as_deref().map(Cow::Borrowed),
        status.account.as_deref().map(Cow::Borrowed),
        status.org.as_deref().map(Cow::Borrowed),
        status.inventory_id.as_deref().map(Cow::Borrowed),
        status.system_id.as_deref().map(Cow::Borrowed),
    ];
    Ok(Call { sql: TRACK, parameters })
}

pub(crate) fn track_batch(statuses: &[NewStatus]) -> Batch {
    batch(TRACK_BATCH, statuses, nul_in_status)
}

/// The id that [`record_usage`] returned.
pub(crate) fn usage_id(rows: Rows) -> Result<Uuid, Error> {
    let id = only(rows)?;
    id.parse().map_err(|_| unreadable(&format!("postmeter.record_usage returned {id:?}, which is no UUID")))
}

/// What [`track`] returned.
pub(crate) fn is_new(rows: Rows) -> Result<bool, Error> {
    Ok(only(rows)? == "true")
}

fn only(rows: Rows) -> Result<String, Error> {
    let first = rows.into_iter().next().and_then(|columns| columns.into_iter().next());
    first.flatten().ok_or_else(|| unreadable("the function returned nothing"))
}

impl Batch {
    /// A verdict for each of the batch, in its order.
    pub(crate) fn verdicts<V: From<BatchRow> + From<Refused>>(self, rows: Rows) -> Result<Vec<V>, Error> {
        let mut rows = rows.into_iter().map(row);
        let verdicts = self.refused.into_iter().map(|refused| match refused {
            Some(refused) => Ok(V::from(refused)),
            None => match rows.next().flatten() {
                Some(row) => Ok(V::from(row)),
                None => Err(unreadable("the batch has fewer verdicts than items")),
            },
        });
        verdicts.collect()
    }
}

/// Columns in the order of the statements.
fn row(columns: Vec<Option<String>>) -> Option<BatchRow> {
    let [verdict, usage_id, error_code, field, message] = <[_; 5]>::try_from(columns).ok()?;
    let usage_id = usage_id.and_then(|id| id.parse().ok());
    Some(BatchRow { verdict: verdict?, usage_id, error_code, field, message })
}

fn batch<T: Serialize>(sql: &'static str, items: &[T], nul: impl Fn(&T) -> Option<Refused>) -> Batch {
    let refused: Vec<_> = items.iter().map(nul).collect();
    let sent: Vec<&T> =
        items.iter().zip(&refused).filter(|(_, refused)| refused.is_none()).map(|(item, _)| item).collect();
    let body = serde_json::to_string(&sent).expect("plain data has a JSON text");
    Batch { call: Call { sql, parameters: vec![Some(Cow::Owned(body))] }, refused }
}

fn given(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(text))
}

/// In microseconds, as Postgres keeps it. Rounded instead of cut, the last moment of a month would be the next
/// month's.
fn instant(time: Timestamp) -> String {
    let micros = TimestampRound::new().smallest(Unit::Microsecond).mode(RoundMode::Floor);
    time.round(micros).unwrap_or(time).to_string()
}

/// Texts with U+0000, which no text of Postgres can hold: Postgres would refuse the whole of a batch for one.
fn nul_in_usage(usage: &NewUsage) -> Option<Refused> {
    let holds = |value: &Option<String>| value.as_ref().is_some_and(|text| text.contains('\0'));
    let fields = [
        ("source", usage.source.contains('\0')),
        ("event_id", usage.event_id.contains('\0')),
        ("org", usage.org.contains('\0')),
        ("product", usage.product.contains('\0')),
        ("metric", usage.metric.contains('\0')),
        ("account", holds(&usage.account)),
        ("corrects", holds(&usage.corrects)),
        ("request_id", holds(&usage.request_id)),
        ("traceparent", holds(&usage.traceparent)),
        ("attributes", has_nul(&usage.attributes)),
    ];
    nul(&format!("usage {:?}", usage.event_id), &fields)
}

/// The same of a status.
fn nul_in_status(status: &NewStatus) -> Option<Refused> {
    let holds = |value: &Option<String>| value.as_ref().is_some_and(|text| text.contains('\0'));
    let fields = [
        ("service", status.service.contains('\0')),
        ("request_id", status.request_id.contains('\0')),
        ("status", status.status.contains('\0')),
        ("source", holds(&status.source)),
        ("status_msg", holds(&status.status_msg)),
        ("account", holds(&status.account)),
        ("org", holds(&status.org)),
        ("inventory_id", holds(&status.inventory_id)),
        ("system_id", holds(&status.system_id)),
    ];
    nul(&format!("status of request {:?}", status.request_id), &fields)
}

fn nul(what: &str, fields: &[(&str, bool)]) -> Option<Refused> {
    let (field, _) = fields.iter().find(|(_, holds)| *holds)?;
    Some(Refused {
        code: "22P05".to_owned(),
        field: Some((*field).to_owned()),
        constraint: None,
        message: format!("{what}: {field} must not contain the character U+0000"),
        hint: None,
    })
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}
