//! Usage as CloudEvents 1.0 in JSON (structured and batched mode): `source` and `id` are the identity, `time` is when it
//! was used, `data` holds the rest. The type must be `postmeter.usage.v1`.

use serde_json::value::RawValue;

use super::row::{Fault, Row, members};

/// The event type that this console understands.
const TYPE: &str = "postmeter.usage.v1";

/// Where an event has what of a usage: theirs, ours.
const NAMES: [(&str, &str); 4] =
    [("source", "source"), ("id", "event_id"), ("time", "used_at"), ("traceparent", "traceparent")];

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
    let data =
        members(data, "data").map_err(|fault| Fault { field: fault.field.or(Some("data".to_owned())), ..fault })?;
    // other attributes of the event are its transport's business, and extensions are allowed by CloudEvents
    let mut fields = Vec::new();
    for (theirs, ours) in NAMES {
        if data.iter().any(|(name, _)| name == ours) {
            return Err(Fault::at(ours, "PM001", &format!("is no field of data: it is the event's {theirs}")));
        }
        match find(theirs).filter(|value| value.get() != "null") {
            Some(value) => fields.push((ours.to_owned(), value)),
            None if theirs == "traceparent" => {}
            None => return Err(Fault::missing(theirs)),
        }
    }
    Ok(Row::of(fields.into_iter().chain(data), &NAMES))
}
