//! Usage as CloudEvents 1.0: `source` and `id` are the identity, `time` is when it was used, `data` holds the rest. The
//! type must be `postmeter.usage.v1`. In JSON (structured and batched mode) all of it is in the body; in binary mode the
//! attributes are headers (CloudEvents HTTP protocol binding 1.0.2, section 3.1) and the body is the data.

use std::fmt::Write as _;

use http::HeaderMap;
use serde_json::value::{RawValue, to_raw_value};

use super::row::{Fault, Names, Row, members};
use crate::problem::Problem;

/// The event type that this console understands.
const TYPE: &str = "postmeter.usage.v1";

/// Where an event has what of a usage: theirs, ours.
const OF_EVENT: Names = Names {
    apart: &[("source", "source"), ("id", "event_id"), ("time", "used_at"), ("traceparent", "traceparent")],
    rest: "data.",
};
const OF_HEADERS: Names = Names {
    apart: &[("ce-source", "source"), ("ce-id", "event_id"), ("ce-time", "used_at"), ("ce-traceparent", "traceparent")],
    rest: "",
};

/// Reads one event.
pub(super) fn read(element: &RawValue) -> Result<Row, Fault> {
    let event = members(element, "an event")?;
    let find = |field: &str| event.iter().find(|(name, _)| name == field).map(|(_, value)| *value);
    for (field, expected) in [("specversion", "1.0"), ("type", TYPE)] {
        let Some(value) = find(field) else { return Err(Fault::missing(field)) };
        if serde_json::from_str::<&str>(value.get()).ok() != Some(expected) {
            return Err(Fault::at(field, "PM001", &format!("is {value}; it must be {expected:?}")));
        }
    }
    let data = find("data").filter(|data| data.get() != "null").ok_or_else(|| Fault::missing("data"))?;
    // other attributes of the event are its transport's business, and extensions are allowed by CloudEvents
    row(&OF_EVENT, find, data)
}

/// A row of what the attributes say and the data.
fn row<'a>(
    names: &'static Names,
    find: impl Fn(&str) -> Option<&'a RawValue>,
    data: &'a RawValue,
) -> Result<Row, Fault> {
    let data = members(data, "data").map_err(|fault| match fault.field {
        Some(_) => names.refused_in_data(fault),
        None => Fault { field: Some("data".to_owned()), ..fault },
    })?;
    let mut fields = Vec::new();
    for (theirs, ours) in names.apart {
        if data.iter().any(|(name, _)| name == ours) {
            let reason = format!("is no field of data: it is the event's {}", theirs.trim_start_matches("ce-"));
            return Err(names.refused_in_data(Fault::at(ours, "PM001", &reason)));
        }
        match find(theirs).filter(|value| value.get() != "null") {
            Some(value) => fields.push(((*ours).to_owned(), value)),
            None if *ours == "traceparent" => {}
            None => return Err(Fault::missing(theirs)),
        }
    }
    Ok(Row::of(fields.into_iter().chain(data), names))
}

/// The attributes of an event in binary mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attributes(Vec<(&'static str, String)>);

impl Attributes {
    /// Those of a request; `None`: it is not an event in binary mode.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        // other headers of that kind may be a proxy's
        if !headers.contains_key("ce-specversion") {
            return Ok(None);
        }
        let mut found = Vec::new();
        let wanted =
            ["ce-specversion", "ce-type"].into_iter().chain(OF_HEADERS.apart.iter().map(|(theirs, _)| *theirs));
        for name in wanted {
            let mut values = headers.get_all(name).iter();
            let Some(value) = values.next() else { continue };
            if values.next().is_some() {
                return Err(Problem::parameter(name, format!("the header {name} is there twice")));
            }
            let text = decoded(value.as_bytes()).filter(|text| !text.contains('\0')).ok_or_else(|| {
                Problem::parameter(name, format!("{name} must be percent-encoded UTF-8 without U+0000"))
            })?;
            found.push((name, text));
        }
        Ok(Some(Self(found)))
    }

    /// All of them, in order.
    pub fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name}: {value:?}");
            text
        })
    }

    /// The event with its data.
    pub fn with(&self, data: &RawValue) -> Result<Row, Fault> {
        let find = |name: &str| self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        for (field, expected) in [("ce-specversion", "1.0"), ("ce-type", TYPE)] {
            match find(field) {
                None => return Err(Fault::missing(field)),
                Some(value) if value != expected => {
                    return Err(Fault::at(field, "PM001", &format!("is {value:?}; it must be {expected:?}")));
                }
                Some(_) => {}
            }
        }
        let texts: Vec<(&str, Box<RawValue>)> =
            self.0.iter().map(|(name, value)| (*name, to_raw_value(value).expect("a text"))).collect();
        row(&OF_HEADERS, |name| texts.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value), data)
    }
}

/// A header's text: percent-encoded UTF-8, which may stand in quotation marks (section 3.1.3.2 of the binding). What is
/// encoded is part of the text, white space and quotation marks too.
fn decoded(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}
