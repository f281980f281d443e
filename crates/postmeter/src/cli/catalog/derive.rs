//! `catalog derive focus`: a first catalogue from a billing export, for people to mend.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use outbox::catalogue::Kind;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::read::{Entry, absent};
use super::{render, spec};
use crate::cli::output::{Wrong, plain};
use crate::focus;

/// What the export does not say.
#[derive(Debug)]
pub(super) struct Target {
    pub destination: String,
    pub kind: String,
    pub settings: Map<String, Value>,
}

/// What a catalogue needs to know of an export.
#[derive(Debug, Default)]
struct Seen {
    /// Product and metric.
    metrics: BTreeSet<(String, String)>,
    /// Org and product.
    buyers: BTreeSet<(String, String)>,
    earliest: Option<Timestamp>,
    rows: u64,
    /// Rows without org, product or metric.
    skipped: u64,
    /// Rows that are no usage.
    not_usage: u64,
    /// Rows that cannot be read, and the first of them.
    bad: Option<(u64, String)>,
}

impl Seen {
    fn bad(&mut self, line: u64, reason: &str) {
        let (count, _) = self.bad.get_or_insert_with(|| (0, format!("the first in line {line}: {reason}")));
        *count += 1;
    }

    /// What was passed over, in lines of a comment.
    fn sentences(&self) -> String {
        let mut text = String::new();
        if self.not_usage > 0 {
            let _ = write!(text, "\n# {} are no usage and were passed over.", self.not_usage);
        }
        if self.skipped > 0 {
            let _ = write!(text, "\n# {} without org, product or metric were passed over.", self.skipped);
        }
        if let Some((count, first)) = &self.bad {
            let _ = write!(text, "\n# {count} cannot be read and were passed over, {}.", plain(first));
        }
        text
    }
}

/// A catalogue for the orgs, products and metrics of a FOCUS export, as TOML.
pub(super) fn focus(path: &Path, target: Target) -> anyhow::Result<String> {
    if !["aws", "azure", "google"].contains(&target.kind.as_str()) {
        let known = "made up for kinds aws, azure and google";
        let sentence = format!("identities are {known}, not for {:?}: write that catalogue by hand", target.kind);
        return Err(Wrong(sentence).into());
    }
    let wrong = |problem: String| Wrong(format!("{}: {problem}", path.display()));
    let export = focus::file::open(path).map_err(|error| wrong(format!("{error:#}")))?;
    let seen = look(export.rows).map_err(|error| wrong(format!("{error:#}")))?;
    let Some(earliest) = seen.earliest else {
        return Err(wrong("has no row that names an org, a product and a metric".to_owned()).into());
    };
    let begin = earliest.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string();
    let entries = entries(&seen, target, &begin);
    let skipped = seen.sentences();
    Ok(format!(
        "# Derived from {} of {} rows.{skipped}\n# The identities are placeholders: put the buyers' own in their \
         place before anything is sent for real.\n\n{}",
        path.file_name().unwrap_or_default().display(),
        seen.rows,
        render::toml(&entries, false)
    ))
}

fn look(mut rows: focus::rows::Rows) -> anyhow::Result<Seen> {
    let columns = rows.columns().clone();
    let mut seen = Seen::default();
    while let Some(row) = rows.next()? {
        seen.rows += 1;
        let values = match row.values {
            Ok(values) => values,
            Err(reason) => {
                seen.bad(row.line, &reason);
                continue;
            }
        };
        // what is no usage makes no entry: nothing of it will be recorded
        if focus::charges::other(&columns, &values).is_some() || columns.get(&values, "ConsumedQuantity").is_none() {
            seen.not_usage += 1;
            continue;
        }
        let tag = |name, tag: fn(&str) -> String| columns.get(&values, name).map(tag).filter(|tag| !tag.is_empty());
        let product = tag("ServiceName", focus::product_tag);
        let metric = tag("ConsumedUnit", focus::metric_tag);
        let org = columns.id(&values, "SubAccountId").map(str::to_owned);
        let (Some(org), Some(product), Some(metric), Some(begin)) =
            (org, product, metric, columns.get(&values, "ChargePeriodStart"))
        else {
            seen.skipped += 1;
            continue;
        };
        let begin = match focus::time::time(begin, None) {
            Ok(begin) => begin,
            Err(error) => {
                seen.bad(row.line, &format!("{error:#}"));
                continue;
            }
        };
        seen.earliest = Some(seen.earliest.map_or(begin, |earliest| earliest.min(begin)));
        seen.metrics.insert((product.clone(), metric));
        seen.buyers.insert((org, product));
    }
    Ok(seen)
}

fn entries(seen: &Seen, target: Target, begin: &str) -> Vec<Entry> {
    let name = target.destination;
    let mut entries =
        vec![entry(Kind::Destination, json!({ "name": name, "kind": target.kind, "settings": target.settings }))];
    for (product, metric) in &seen.metrics {
        entries.push(entry(
            Kind::Dimension,
            json!({ "destination": name, "product": product, "metric": metric,
                    "name": dimension(&target.kind, product, metric), "decimals": 6,
                    "rounding": "down", "month_end": "drop", "valid_from": begin }),
        ));
    }
    let accounts = accounts(&seen.buyers);
    for (org, product) in &seen.buyers {
        let account = accounts.get(org.as_str()).map(String::as_str).unwrap_or_default();
        let identity = identity(&target.kind, org, product, account);
        entries.push(entry(
            Kind::Subscription,
            json!({ "org": org, "product": product, "destination": name, "identity": identity,
                    "valid_from": format!("{begin}-01T00:00:00Z") }),
        ));
    }
    entries
}

fn entry(kind: Kind, fields: Value) -> Entry {
    let mut fields = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for field in spec::fields(kind) {
        if !fields.contains_key(field.name) {
            let value = absent(field, &fields).unwrap_or_default();
            fields.insert(field.name.to_owned(), value);
        }
    }
    Entry { kind, fields, lines: BTreeMap::new() }
}

/// Their name of a metric. A Google service has one list of metrics for all products; elsewhere the product is part of
/// the buyer, so that equal metrics of two products stay apart by themselves.
fn dimension(kind: &str, product: &str, metric: &str) -> String {
    if kind == "google" { format!("{product}-{metric}") } else { metric.to_owned() }
}

/// A placeholder of the form that the marketplace's own rules accept.
fn identity(kind: &str, org: &str, product: &str, account: &str) -> Value {
    match kind {
        "azure" => {
            let resource = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{org}/{product}").as_bytes());
            json!({ "resource_id": resource, "plan_id": "placeholder" })
        }
        "google" => json!({ "consumer_id": format!("project_number:{account}") }),
        _ => json!({ "product_code": product_code(product), "customer_aws_account_id": account }),
    }
}

/// Twelve digits for each org: its own digits where it has no more, else drawn from its name. Always the same for the
/// same export, and never the same for two orgs.
fn accounts(buyers: &BTreeSet<(String, String)>) -> BTreeMap<&str, String> {
    let mut accounts: BTreeMap<&str, String> = BTreeMap::new();
    for (org, _) in buyers {
        if accounts.contains_key(org.as_str()) {
            continue;
        }
        let is_number = org.len() <= 12 && org.bytes().all(|b| b.is_ascii_digit());
        let drawn = (0_u32..).map(|turn| {
            Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{turn} {org}").as_bytes()).as_u128() % 1_000_000_000_000
        });
        let own = is_number.then(|| format!("{org:0>12}"));
        let mut candidates = own.into_iter().chain(drawn.map(|number| format!("{number:012}")));
        let free = candidates.find(|account| !accounts.values().any(|taken| taken == account));
        accounts.insert(org, free.expect("more accounts than orgs"));
    }
    accounts
}

/// A product code in AWS's letters.
fn product_code(product: &str) -> String {
    if product.is_ascii() {
        product.to_owned()
    } else {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, product.as_bytes()).simple().to_string()
    }
}
