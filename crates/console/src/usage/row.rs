//! One usage of a request's body, checked as far as the text goes; the rules of intake are the schema's.
//!
//! Numbers are never read as floating point: quantity and attributes go to the database to the letter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A usage as the database takes it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub source: String,
    pub event_id: String,
    pub org: String,
    pub product: String,
    pub metric: String,
    pub quantity: String,
    pub used_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Box<RawValue>>,
}

/// Why one usage of a request is not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: String,
    pub field: Option<String>,
    pub message: String,
}

impl Fault {
    pub fn at(field: &str, message: impl Into<String>) -> Self {
        Self { code: "malformed".to_owned(), field: Some(field.to_owned()), message: message.into() }
    }

    fn whole(message: impl Into<String>) -> Self {
        Self { code: "malformed".to_owned(), field: None, message: message.into() }
    }
}

/// Fields of one JSON object, taken one by one; what is left at the end was not expected.
pub(super) struct Fields<'a> {
    left: BTreeMap<String, &'a RawValue>,
}

impl<'a> Fields<'a> {
    pub fn of(element: &'a RawValue) -> Result<Self, Fault> {
        let left = serde_json::from_str(element.get()).map_err(|_| Fault::whole("a usage must be a JSON object"))?;
        Ok(Self { left })
    }

    pub fn take(&mut self, field: &str) -> Option<&'a RawValue> {
        self.left.remove(field).filter(|raw| raw.get() != "null")
    }

    pub fn text(&mut self, field: &str) -> Result<Option<String>, Fault> {
        let Some(raw) = self.take(field) else { return Ok(None) };
        let text: String = serde_json::from_str(raw.get()).map_err(|_| Fault::at(field, "must be a text"))?;
        if text.contains('\0') {
            return Err(Fault::at(field, "must not contain the character U+0000"));
        }
        Ok(Some(text))
    }

    pub fn required(&mut self, field: &str) -> Result<String, Fault> {
        self.text(field)?.ok_or_else(|| missing(field))
    }

    /// A quantity: a number, or a text that holds one; to the letter.
    pub fn quantity(&mut self) -> Result<String, Fault> {
        let raw = self.take("quantity").ok_or_else(|| missing("quantity"))?.get();
        match raw.bytes().next() {
            Some(b'"') => serde_json::from_str(raw).map_err(|_| Fault::at("quantity", "must be a number")),
            Some(b'-' | b'0'..=b'9') => Ok(raw.to_owned()),
            _ => Err(Fault::at("quantity", "must be a number, or a text that holds one")),
        }
    }

    /// A moment with its offset from UTC; text without one would mean another moment elsewhere.
    pub fn moment(&mut self, field: &str) -> Result<Option<String>, Fault> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let moment: Result<Timestamp, _> = text.parse();
        moment.map_err(|_| Fault::at(field, "must be a time with its zone, such as 2026-11-21T10:00:00Z"))?;
        Ok(Some(text))
    }

    /// A JSON object that the database can keep.
    pub fn attributes(&mut self) -> Result<Option<Box<RawValue>>, Fault> {
        let Some(raw) = self.take("attributes") else { return Ok(None) };
        let wrong =
            || Fault::at("attributes", "must be a JSON object that holds no U+0000 and no number beyond 10^300");
        let value: Value = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
        if !value.is_object() || has_nul(&value) {
            return Err(wrong());
        }
        Ok(Some(raw.to_owned()))
    }

    /// Refuses what nobody asked for: a misspelt optional field would be lost without a word.
    pub fn end(self) -> Result<(), Fault> {
        self.left.keys().next().map_or(Ok(()), |field| {
            let fields = "source, event_id, org, product, metric, quantity, used_at, account, corrects, request_id, \
                          traceparent, attributes";
            Err(Fault::at(field, format!("is no field of a usage; there are {fields}")))
        })
    }
}

fn missing(field: &str) -> Fault {
    Fault::at(field, "is missing")
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Reads one element of a plain body.
pub(super) fn plain(element: &RawValue) -> Result<Row, Fault> {
    let mut fields = Fields::of(element)?;
    let row = Row {
        source: fields.required("source")?,
        event_id: fields.required("event_id")?,
        org: fields.required("org")?,
        product: fields.required("product")?,
        metric: fields.required("metric")?,
        quantity: fields.quantity()?,
        used_at: fields.moment("used_at")?.ok_or_else(|| missing("used_at"))?,
        account: fields.text("account")?,
        corrects: fields.text("corrects")?,
        request_id: fields.text("request_id")?,
        traceparent: fields.text("traceparent")?,
        attributes: fields.attributes()?,
    };
    fields.end()?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (String, String) {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        let fault = plain(&raw).expect_err("must be refused");
        (fault.field.unwrap_or_default(), fault.message)
    }

    const GOOD: &str = r#"{"source":"s","event_id":"e","org":"o","product":"p","metric":"m","quantity":0.100000000000000000001,"used_at":"2026-11-01T00:00:00+01:00"}"#;

    #[test]
    fn b5_a_quantity_keeps_every_digit_on_its_way() {
        let raw: Box<RawValue> = serde_json::from_str(GOOD).unwrap();
        assert_eq!(plain(&raw).unwrap().quantity, "0.100000000000000000001");
    }

    #[test]
    fn a4_each_fault_names_its_field() {
        assert_eq!(fault("[]").1, "a usage must be a JSON object");
        assert_eq!(fault(&GOOD.replace("\"org\":\"o\",", "")).0, "org");
        assert_eq!(fault(&GOOD.replace("\"o\"", "7")).0, "org");
        assert_eq!(fault(&GOOD.replace("\"o\"", "\"a\\u0000b\"")).0, "org");
        assert_eq!(fault(&GOOD.replace("+01:00", "")).0, "used_at");
        assert_eq!(fault(&GOOD.replace("0.100000000000000000001", "true")).0, "quantity");
        assert_eq!(fault(&GOOD.replace("\"metric\"", "\"acount\":\"x\",\"metric\"")).0, "acount");
        assert_eq!(fault(&GOOD.replace("\"metric\"", "\"attributes\":{\"a\":\"\\u0000\"},\"metric\"")).0, "attributes");
        assert_eq!(fault(&GOOD.replace("\"metric\"", "\"attributes\":{\"a\":1e999},\"metric\"")).0, "attributes");
    }
}
