//! What a row of an export is to us: a part of a usage, or a line of the list of what is none.

use csv::StringRecord;
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::charges::{Other, other};
use super::columns::Columns;
use super::identity::{Rule, older};
use super::number::{Amount, Decimals, amount};
use super::time::{Dates, time};
use super::{metric_tag, product_tag, unit_name};

/// Evidence above this leaves out the tags: the outbox takes 8 KiB, and no usage is refused for its labels.
const EVIDENCE_MAX: usize = 4096;

/// How rows become usage.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The source of all rows; none: `focus:` and the tag of the row's provider.
    pub source: Option<String>,
    /// The identifying columns; none: the usual ones.
    pub id: Option<Vec<String>>,
    /// Only rows used at or after this time of the file.
    pub from: Option<Timestamp>,
    /// Only rows used before this time of the file.
    pub until: Option<Timestamp>,
    /// Added to every time of the file: whole hours.
    pub shift: SignedDuration,
    /// How a date with slashes is read.
    pub dates: Option<Dates>,
    /// How decimals are set off.
    pub decimals: Decimals,
    /// A usage may well be in several files: they are parts of one delivery.
    pub parts: bool,
}

/// A row that is usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// When its charge period begins, as the file says.
    pub begin: Timestamp,
    /// When its charge period ends; none: the file does not say.
    pub end: Option<Timestamp>,
    /// What its group is, beside begin and source.
    pub id: Uuid,
    /// The source of the usage.
    pub source: String,
    /// Whose usage.
    pub org: String,
    /// Of what.
    pub product: String,
    /// Measured in what, by tag.
    pub metric: String,
    /// The unit, as far as another one is another unit.
    pub unit: String,
    /// How much.
    pub amount: Amount,
    /// When, shifted.
    pub used_at: Timestamp,
    /// The id that older versions gave it.
    pub older: String,
    /// What proves it, a JSON object.
    pub evidence: String,
}

/// What a row is.
#[derive(Debug)]
pub enum Read {
    /// Usage.
    Part(Box<Part>),
    /// Something else.
    Other(Listed),
    /// Outside `from` and `until`.
    Outside,
}

/// Why a row is not recorded, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is no usage, and nobody needs to do anything.
    Skipped,
    /// Its group was recorded with another quantity.
    Changed,
    /// A person has to see it.
    Refused,
}

impl Kind {
    /// The word in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Changed => "changed",
            Self::Refused => "refused",
        }
    }
}

/// A row that is no part of a usage.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Why, in a word.
    pub kind: Kind,
    /// Which column or field.
    pub field: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Product and metric, if it has them.
    pub of: (String, String),
    /// How much it says, if that can be read.
    pub amount: Amount,
}

/// Reads one row.
#[must_use]
pub fn read(columns: &Columns, row: &StringRecord, rule: &Rule, rules: &Rules) -> Read {
    let get = |name: &str| columns.get(row, name);
    let tag = |name: &str, tag: fn(&str) -> String| get(name).map(tag).unwrap_or_default();
    let (product, metric) = (tag("ServiceName", product_tag), tag("ConsumedUnit", metric_tag));
    let said = get("ConsumedQuantity").map(|text| amount(text, rules.decimals));
    let listed = |kind, field: &str, reason: String| {
        let amount = said.clone().and_then(Result::ok).unwrap_or_default();
        let of = (product.clone(), metric.clone());
        Read::Other(Listed { kind, field: field.to_owned(), reason, of, amount })
    };
    let refused = |field: &str, reason: &str| listed(Kind::Refused, field, reason.to_owned());
    let at = |text: &str| time(text, rules.dates);

    let begin = match get("ChargePeriodStart").map(at) {
        None => return refused("ChargePeriodStart", "is empty"),
        Some(Err(error)) => return refused("ChargePeriodStart", &format!("{error:#}")),
        Some(Ok(begin)) => begin,
    };
    let end = get("ChargePeriodEnd").map(at).transpose();
    let is_before = rules.from.is_some_and(|from| begin < from);
    let ends_after = matches!(&end, Ok(Some(end)) if rules.from.is_some_and(|from| *end > from));
    if (is_before && !ends_after) || rules.until.is_some_and(|until| begin >= until) {
        return Read::Outside;
    }
    match other(columns, row) {
        Some(Other::NotUsage(field, reason)) => return listed(Kind::Skipped, field, reason),
        Some(Other::Unclear(field, reason)) => return listed(Kind::Refused, field, reason),
        None => {}
    }
    let end = match end {
        Err(error) => return refused("ChargePeriodEnd", &format!("{error:#}")),
        Ok(end) => end.filter(|end| *end > begin),
    };
    if is_before {
        let reason = "its period begins before --from and ends after it, so it is left out whole".to_owned();
        return listed(Kind::Skipped, "ChargePeriodStart", reason);
    }
    let amount = match &said {
        None => return listed(Kind::Skipped, "ConsumedQuantity", "is empty: nothing was measured".to_owned()),
        Some(Err(reason)) => return refused("ConsumedQuantity", reason),
        Some(Ok(amount)) => *amount,
    };
    if amount.0 < 0 {
        return refused("ConsumedQuantity", &format!("{amount} takes back what it does not name"));
    }
    let Some(org) = columns.id(row, "SubAccountId") else { return refused("SubAccountId", "is empty") };
    for (name, tag) in [("ServiceName", &product), ("ConsumedUnit", &metric)] {
        if tag.is_empty() {
            return refused(name, "has no letter or digit");
        }
    }
    let source = source(columns, row, rules);
    if let Some((field, reason)) = unkept(row, &source) {
        return refused(field, reason);
    }
    let Ok(used_at) = begin.checked_add(rules.shift) else {
        return refused("ChargePeriodStart", "is no time any more once it is shifted");
    };
    Read::Part(Box::new(Part {
        begin,
        end,
        id: rule.id(columns, row, &metric),
        source,
        org: org.to_owned(),
        unit: unit_name(get("ConsumedUnit").unwrap_or_default()),
        amount,
        used_at,
        older: older(columns, row),
        evidence: evidence(columns, row).to_string(),
        product,
        metric,
    }))
}

/// What no database could keep of a row.
fn unkept(row: &StringRecord, source: &str) -> Option<(&'static str, &'static str)> {
    if row.iter().any(|field| field.contains('\0')) {
        return Some(("(any)", "holds a NUL character, which no database text can"));
    }
    let is_long = source.len() > 255;
    is_long.then_some(("ProviderName", "is too long for a source, which has at most 255 bytes: name a --source"))
}

/// `focus:` and the provider, so that the ids of two providers never meet.
fn source(columns: &Columns, row: &StringRecord, rules: &Rules) -> String {
    rules.source.clone().unwrap_or_else(|| match columns.get(row, "ProviderName").map(product_tag) {
        Some(provider) if !provider.is_empty() => format!("focus:{provider}"),
        _ => "focus".to_owned(),
    })
}

/// What proves the usage, and is part of no key.
fn evidence(columns: &Columns, row: &StringRecord) -> Value {
    let mut evidence = Map::new();
    for (name, column) in [
        ("provider", "ProviderName"),
        ("service", "ServiceName"),
        ("unit", "ConsumedUnit"),
        ("sku", "SkuId"),
        ("sku_price", "SkuPriceId"),
        ("region", "RegionId"),
        ("resource", "ResourceId"),
        ("charge_period_start", "ChargePeriodStart"),
        ("charge_period_end", "ChargePeriodEnd"),
        ("row_id", "Id"),
    ] {
        if let Some(value) = columns.get(row, column) {
            evidence.insert(name.to_owned(), Value::from(value));
        }
    }
    if let Some(tags) = columns.get(row, "Tags") {
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
