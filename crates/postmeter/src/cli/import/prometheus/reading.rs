//! A value of a series as a usage.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use jiff::Timestamp;
use outbox::NewUsage;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{PrometheusArgs, number};

/// The namespace of series: never to be changed, or every hour is billed again.
const SERIES: Uuid = Uuid::from_u128(0x0d6b_4d0e_5a0c_5f0f_8f7c_3a51_9b1e_7c21);

/// Evidence above these is left out: the outbox takes 8 KiB, and no usage is refused for its evidence.
const QUERY_MAX: usize = 2048;
const LABELS_MAX: usize = 4096;

/// A text in which `{label}` stands for a label's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Label(String),
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (label, after) = after.split_once('}').ok_or_else(|| format!("{text:?}: a {{ without its }}"))?;
            if label.is_empty() || label.contains('{') {
                return Err(format!("{text:?}: {{label}} names a label"));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Label(label.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(format!("{text:?}: a }} without its {{"));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.is_empty() { Err("is empty".to_owned()) } else { Ok(Self { text: text.to_owned(), parts }) }
    }
}

impl Template {
    /// The labels that it takes.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Label(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn of(&self, field: &'static str, labels: &BTreeMap<String, String>) -> Result<String, Unfit> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                // Prometheus tells no empty label from none
                Part::Label(name) => match labels.get(name).filter(|value| !value.is_empty()) {
                    Some(value) => text.push_str(value),
                    None => return Err(Unfit { field, reason: format!("the series has no label {name}") }),
                },
            }
        }
        if text.contains('\0') {
            return Err(Unfit { field, reason: "holds a NUL character, which no database text can".to_owned() });
        }
        Ok(text)
    }
}

/// Why a value is no usage.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub field: &'static str,
    pub reason: String,
}

/// A usage with where it came from.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub hour: Timestamp,
    pub series: String,
    pub usage: NewUsage,
}

/// How values become usage.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    source: String,
    org: Template,
    product: Template,
    metric: Template,
    account: Option<Template>,
    decimals: u32,
    /// Which server was asked what.
    evidence: Map<String, Value>,
}

impl Rules {
    /// As the command line says.
    pub fn of(args: &PrometheusArgs) -> Self {
        let mut evidence = Map::new();
        evidence.insert("prometheus".to_owned(), args.url.as_str().into());
        let (name, text) = args.asked();
        if text.len() <= QUERY_MAX {
            evidence.insert(name.to_owned(), text.into());
        }
        if let Some(interval) = args.interval {
            evidence.insert("interval".to_owned(), format!("{interval:#}").into());
        }
        if args.divide_by != 1 {
            evidence.insert("divided_by".to_owned(), args.divide_by.into());
        }
        Self {
            source: args.source.clone(),
            org: args.org.clone(),
            product: args.product.clone(),
            metric: args.metric.clone(),
            account: args.account.clone(),
            decimals: args.decimals,
            evidence,
        }
    }

    /// The org of a series, as far as it has one.
    pub fn org_of(&self, labels: &BTreeMap<String, String>) -> String {
        self.org.of("org", labels).unwrap_or_default()
    }

    /// Reads a value of a series, or of a group of them, for an hour; `samples` is how many it was made of, if that is
    /// known.
    ///
    /// # Errors
    /// What does not fit, by field.
    pub fn read(
        &self,
        labels: &BTreeMap<String, String>,
        event_id: &str,
        hour: Timestamp,
        value: &str,
        samples: Option<u64>,
    ) -> Result<NewUsage, Unfit> {
        let quantity = number::quantity(value, self.decimals).map_err(|reason| Unfit { field: "quantity", reason })?;
        let org = self.org.of("org", labels)?;
        let (product, metric) = (self.product.of("product", labels)?, self.metric.of("metric", labels)?);
        let mut usage = NewUsage::new(&self.source, event_id, &org, &product, &metric, quantity, hour);
        usage.account = self.account.as_ref().map(|account| account.of("account", labels)).transpose()?;
        let mut evidence = self.evidence.clone();
        evidence.insert("value".to_owned(), value.into());
        if let Some(samples) = samples {
            evidence.insert("samples".to_owned(), samples.into());
        }
        if labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() <= LABELS_MAX {
            let labels = labels.iter().filter(|(_, value)| !value.contains('\0'));
            let labels: Map<_, _> = labels.map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            evidence.insert("labels".to_owned(), labels.into());
        }
        usage.attributes = Value::Object(evidence);
        Ok(usage)
    }
}

/// The id of a series: of all its labels and nothing else. What the labels become (org, metric) is content: if that
/// changes, an hour that is read again is refused, and not billed again under another id.
pub(super) fn series_id(labels: &BTreeMap<String, String>) -> Uuid {
    let mut bytes = Vec::new();
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Uuid::new_v5(&SERIES, &bytes)
}

/// The id of an hour of a series.
pub(super) fn event_id(series: Uuid, hour: Timestamp) -> String {
    format!("{hour}/{series}")
}

/// A series as PromQL writes it.
pub(super) fn shown(labels: &BTreeMap<String, String>) -> String {
    let mut text = String::from("{");
    for (name, value) in labels {
        let comma = if text.len() > 1 { ", " } else { "" };
        let _ = write!(text, "{comma}{name}={value:?}");
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_template_takes_labels() {
        let template: Template = "aws-{account}/{org}".parse().unwrap();
        let fits = template.of("org", &labels(&[("account", "7"), ("org", "acme")]));
        assert_eq!(fits.unwrap(), "aws-7/acme");
        let unfit = template.of("org", &labels(&[("account", "7"), ("org", "")])).unwrap_err();
        assert_eq!((unfit.field, unfit.reason.as_str()), ("org", "the series has no label org"));
        assert_eq!("compute".parse::<Template>().unwrap().of("product", &labels(&[])).unwrap(), "compute");
        for wrong in ["", "{", "}", "{}", "a}b{", "{{org}}"] {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a2_the_id_of_a_series_is_its_labels_whatever_they_look_like() {
        let id = |pairs: &[(&str, &str)]| series_id(&labels(pairs)).to_string();
        assert_eq!(id(&[("org", "acme"), ("job", "api")]), id(&[("job", "api"), ("org", "acme")]));
        assert_ne!(id(&[("a", "bc")]), id(&[("ab", "c")]));
        assert_ne!(id(&[("a", "")]), id(&[]));
        // for ever: another id would bill every hour again
        assert_eq!(id(&[("job", "api"), ("org", "acme")]), "8c80f5d3-53bd-57e1-ba59-813000d400ab");
    }
}
