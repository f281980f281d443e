//! The requests of Service Control v1 (revision 20261015), as strict as Google's own JSON reader: an unknown name, a
//! wrong type or a repeated metric refuses the whole request.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::{INVALID_ARGUMENT, Refusal};
use super::settings::MetricType;

/// The labels that Google Cloud Marketplace reserves.
const RESERVED_LABELS: [&str; 2] =
    ["cloudmarketplace.googleapis.com/resource_name", "cloudmarketplace.googleapis.com/container_name"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CheckRequest {
    pub(crate) operation: Operation,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReportRequest {
    #[serde(default)]
    pub(crate) operations: Vec<Operation>,
}

/// An operation. Of Google's fields those that a marketplace's report has use for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[derive(Default)]
pub(crate) struct Operation {
    pub(crate) operation_id: String,
    pub(crate) operation_name: String,
    pub(crate) consumer_id: String,
    pub(crate) start_time: Option<Timestamp>,
    pub(crate) end_time: Option<Timestamp>,
    pub(crate) metric_value_sets: Vec<MetricValueSet>,
    pub(crate) user_labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MetricValueSet {
    pub(crate) metric_name: String,
    pub(crate) metric_values: Vec<MetricValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct MetricValue {
    /// As text: proto3's JSON writes 64-bit integers so. (Google's reader takes a number as well; one beyond 2^53 is
    /// rounded on its way, so a client must not count on it.)
    int64_value: Option<String>,
    double_value: Option<serde_json::Number>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl MetricValue {
    /// The value with its type; none if it is not exactly one that can be read.
    pub(crate) fn value(&self) -> Option<(MetricType, Decimal)> {
        match (&self.int64_value, &self.double_value) {
            (Some(text), None) => Some((MetricType::Int64, text.parse::<i64>().ok()?.into())),
            (None, Some(number)) => {
                let text = number.to_string();
                let value = text.parse().or_else(|_| Decimal::from_scientific(&text)).ok()?;
                Some((MetricType::Double, value))
            }
            _ => None,
        }
    }
}

fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new(INVALID_ARGUMENT, message)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| refused(format!("Invalid JSON payload received. {error}")))
}

impl CheckRequest {
    pub(crate) fn read(body: &[u8]) -> Result<CheckRequest, Refusal> {
        let request: CheckRequest = parse(body)?;
        let operation = &request.operation;
        named(operation)?;
        if !operation.user_labels.is_empty() {
            return Err(refused("operation.user_labels: must not be set in a check."));
        }
        Ok(request)
    }
}

impl ReportRequest {
    pub(crate) fn read(body: &[u8]) -> Result<ReportRequest, Refusal> {
        let request: ReportRequest = parse(body)?;
        if request.operations.is_empty() {
            return Err(refused("operations: at least one is required."));
        }
        let mut ids = BTreeSet::new();
        for operation in &request.operations {
            reportable(operation)?;
            if !ids.insert(&operation.operation_id) {
                return Err(refused("operations: an operation id stands there twice."));
            }
        }
        Ok(request)
    }
}

fn named(operation: &Operation) -> Result<(), Refusal> {
    let required = [
        ("operation_id", &operation.operation_id),
        ("operation_name", &operation.operation_name),
        ("consumer_id", &operation.consumer_id),
    ];
    if let Some((name, _)) = required.iter().find(|(_, value)| value.is_empty()) {
        return Err(refused(format!("operation.{name}: must be set.")));
    }
    if operation.start_time.is_none() {
        return Err(refused("operation.start_time: must be set."));
    }
    Ok(())
}

fn reportable(operation: &Operation) -> Result<(), Refusal> {
    named(operation)?;
    if operation.end_time.is_none() {
        return Err(refused("operation.end_time: must be set in a report."));
    }
    if let Some(label) = operation.user_labels.keys().find(|label| !RESERVED_LABELS.contains(&label.as_str())) {
        return Err(refused(format!("operation.user_labels: {label} is not allowed.")));
    }
    let mut metrics = BTreeSet::new();
    for set in &operation.metric_value_sets {
        if set.metric_values.is_empty() {
            return Err(refused("metric_values: at least one is required."));
        }
        for value in &set.metric_values {
            if !metrics.insert((&set.metric_name, &value.labels)) {
                return Err(refused(format!("{}: a metric with the same labels stands there twice.", set.metric_name)));
            }
            if value.value().is_none_or(|(_, quantity)| quantity.is_sign_negative() && !quantity.is_zero()) {
                return Err(refused(format!("{}: not exactly one value that can be read.", set.metric_name)));
            }
        }
    }
    Ok(())
}
