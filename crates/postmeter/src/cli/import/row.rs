//! What a row of a FOCUS export is to us: a usage, or a line of the list of what is none.

use csv::StringRecord;
use jiff::{SignedDuration, Timestamp};
use outbox::NewUsage;
use remittance::Quantity;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::focus::{FocusRow, metric_tag, product_tag, time};

/// Evidence above this leaves out the tags: the outbox takes 8 KiB, and no usage is refused for its labels.
const EVIDENCE_MAX: usize = 4096;

/// Names rows without an id of their own: the namespace of their hashes.
const ROWS: Uuid = Uuid::from_u128(0x6c0f_3f2c_6f0e_5d0e_9c55_0b7d_7a0c_f0c5);

/// How rows become usage.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Rules {
    /// The source of all rows; none: `focus:` and the tag of the row's provider.
    pub source: Option<String>,
    /// Only rows used at or after this time of the file.
    pub from: Option<Timestamp>,
    /// Only rows used before this time of the file.
    pub until: Option<Timestamp>,
    /// Added to every time of the file: whole hours.
    pub shift: SignedDuration,
}

/// What a row is.
#[derive(Debug)]
pub(super) enum Row {
    /// To be recorded.
    Usage(Box<NewUsage>),
    /// To be listed.
    Listed(Listed),
    /// Outside `from` and `until`.
    Outside,
}

/// Why a row was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// It breaks a rule: mend the row.
    Rejected,
    /// It lowers or replaces other rows and does not say which: record a correction by hand, or write it off.
    Correction,
    /// It has no consumed quantity: a fee, a tax, a credit.
    NotUsage,
}

impl Kind {
    /// The word in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Correction => "correction",
            Self::NotUsage => "not usage",
        }
    }
}

/// A row that was not recorded.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Listed {
    /// Its line in the file, from 1.
    pub line: u64,
    /// Why, in a word.
    pub kind: Kind,
    /// Which column or field.
    pub field: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Its id, if it has one.
    pub event_id: Option<String>,
    /// Product and metric, if it has them.
    #[serde(skip)]
    pub of: (String, String),
}

/// Columns beside those of [`FocusRow`], by their place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places {
    charge_class: Option<usize>,
    sku_price: Option<usize>,
    tags: Option<usize>,
}

impl Places {
    /// Finds the columns in the first line.
    pub fn of(headers: &StringRecord) -> Self {
        let place = |name| headers.iter().position(|header| header == name);
        Self { charge_class: place("ChargeClass"), sku_price: place("SkuPriceId"), tags: place("Tags") }
    }
}

fn present(record: &StringRecord, place: Option<usize>) -> Option<&str> {
    record.get(place?).filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("null"))
}

/// Reads one record.
pub(super) fn read(record: &StringRecord, headers: &StringRecord, places: Places, line: u64, rules: &Rules) -> Row {
    let row: FocusRow = match record.deserialize(Some(headers)) {
        Ok(row) => row,
        Err(error) => return Row::Listed(unreadable(line, &error.to_string())),
    };
    let tag = |text: &Option<String>, tag: fn(&str) -> String| text.as_deref().map(tag).filter(|tag| !tag.is_empty());
    let (product, metric) = (tag(&row.service_name, product_tag), tag(&row.consumed_unit, metric_tag));
    let listed = |kind, field: &str, reason: String| {
        let of = (product.clone().unwrap_or_default(), metric.clone().unwrap_or_default());
        Row::Listed(Listed { line, kind, field: field.to_owned(), reason, event_id: row.id.clone(), of })
    };
    let rejected = |field, reason: &str| listed(Kind::Rejected, field, reason.to_owned());

    let used_at = match row.charge_period_start.as_deref().map(time) {
        None => return rejected("ChargePeriodStart", "is empty"),
        Some(Err(error)) => return rejected("ChargePeriodStart", &error.to_string()),
        Some(Ok(used_at)) => used_at,
    };
    if rules.from.is_some_and(|from| used_at < from) || rules.until.is_some_and(|until| used_at >= until) {
        return Row::Outside;
    }
    let Some(text) = row.consumed_quantity.as_deref() else {
        let category = row.charge_category.as_deref().unwrap_or("charge");
        return listed(Kind::NotUsage, "ConsumedQuantity", format!("is empty: a {category} is not usage"));
    };
    let quantity = match plain(text).parse::<Quantity>() {
        Ok(quantity) => quantity,
        Err(error) => return rejected("ConsumedQuantity", &error.to_string()),
    };
    if quantity.is_negative() {
        return listed(Kind::Correction, "ConsumedQuantity", format!("{quantity} corrects rows that it does not name"));
    }
    if present(record, places.charge_class).is_some_and(|class| class.eq_ignore_ascii_case("correction")) {
        return listed(Kind::Correction, "ChargeClass", "Correction: which rows it replaces is not said".to_owned());
    }
    let Some(org) = &row.sub_account_id else { return rejected("SubAccountId", "is empty") };
    let Some(product) = &product else { return rejected("ServiceName", "has no letter or digit") };
    let Some(metric) = &metric else { return rejected("ConsumedUnit", "has no letter or digit") };
    if record.iter().any(|field| field.contains('\0')) {
        return rejected("(any)", "holds a NUL character, which no database text can");
    }
    let Ok(used_at) = used_at.checked_add(rules.shift) else {
        return rejected("ChargePeriodStart", "is no time any more once it is shifted");
    };
    let event_id = row.id.clone().unwrap_or_else(|| hashed(record));
    let mut usage = NewUsage::new(&source(&row, rules), &event_id, org, product, metric, quantity, used_at);
    usage.attributes = evidence(&row, record, places);
    Row::Usage(Box::new(usage))
}

/// A line that is no row at all.
pub(super) fn unreadable(line: u64, reason: &str) -> Listed {
    let of = (String::new(), String::new());
    Listed { line, kind: Kind::Rejected, field: "(row)".to_owned(), reason: reason.to_owned(), event_id: None, of }
}

/// `focus:` and the provider, so that the ids of two providers never meet.
fn source(row: &FocusRow, rules: &Rules) -> String {
    rules.source.clone().unwrap_or_else(|| match row.provider_name.as_deref().map(product_tag) {
        Some(provider) if !provider.is_empty() => format!("focus:{provider}"),
        _ => "focus".to_owned(),
    })
}

/// The id of a row without one: a hash of all its columns. FOCUS 1.0 has no id of its own. The place in the file does
/// not count, so that the same rows in another order are the same usage; two rows that are equal to the letter are one.
fn hashed(record: &StringRecord) -> String {
    let mut bytes = Vec::new();
    for field in record {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field.as_bytes());
    }
    format!("row:{}", Uuid::new_v5(&ROWS, &bytes))
}

/// `1.5E-7` as `0.00000015`: some exports write small numbers so. Anything else is left for [`Quantity`] to judge.
pub(super) fn plain(text: &str) -> String {
    let expanded = || {
        let (mantissa, exponent) = text.split_once(['e', 'E'])?;
        let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= 40)?;
        let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let point = i32::try_from(whole.len()).ok()? + exponent;
        let digits = format!("{}{whole}{fraction}", "0".repeat(usize::try_from(1 - point).unwrap_or(0)));
        let point = usize::try_from(point.max(1)).ok()?;
        let digits = format!("{digits:0<point$}");
        Some(format!("{sign}{}.{}0", &digits[..point], &digits[point..]))
    };
    expanded().unwrap_or_else(|| text.to_owned())
}

/// What proves the usage, and is part of no key.
fn evidence(row: &FocusRow, record: &StringRecord, places: Places) -> Value {
    let mut evidence = Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            evidence.insert(name.to_owned(), Value::from(value));
        }
    };
    put("provider", row.provider_name.as_deref());
    put("service", row.service_name.as_deref());
    put("unit", row.consumed_unit.as_deref());
    put("sku", row.sku_id.as_deref());
    put("sku_price", present(record, places.sku_price));
    put("region", row.region_id.as_deref());
    put("resource", row.resource_id.as_deref());
    put("charge_period_start", row.charge_period_start.as_deref());
    put("charge_period_end", row.charge_period_end.as_deref());
    if let Some(tags) = present(record, places.tags) {
        if tags.len() <= EVIDENCE_MAX {
            evidence.insert("tags".to_owned(), as_object(tags).unwrap_or_else(|| Value::from(tags)));
        } else {
            evidence.insert("tags_left_out".to_owned(), Value::from(tags.len()));
        }
    }
    Value::Object(evidence)
}

/// Tags as JSON; none, and they are kept as the text they are, if Postgres could not keep the JSON as it is.
fn as_object(tags: &str) -> Option<Value> {
    let raw: &RawValue = serde_json::from_str(tags).ok()?;
    if outbox::json::flaw(raw).is_some() { None } else { serde_json::from_str(tags).ok() }
}

#[cfg(test)]
mod tests;
