//! Usage as CloudEvents 1.0 in JSON (structured and batched mode): `source` and `id` are the identity, `time` is when it
//! was used, `data` holds the rest. The type must be `postmeter.usage.v1`.

use serde_json::value::RawValue;

use super::row::{Fault, Fields, Row};

/// The event type that this console understands.
const TYPE: &str = "postmeter.usage.v1";

/// Reads one event.
pub(super) fn read(element: &RawValue) -> Result<Row, Fault> {
    let mut event = Fields::of(element)?;
    let version = event.required("specversion")?;
    if version != "1.0" {
        return Err(Fault::at("specversion", format!("is {version:?}; this is CloudEvents 1.0")));
    }
    let kind = event.required("type")?;
    if kind != TYPE {
        return Err(Fault::at("type", format!("is {kind:?}; usage has the type {TYPE:?}")));
    }
    let data = event.take("data").ok_or_else(|| Fault::at("data", "is missing"))?;
    let mut data = Fields::of(data).map_err(|_| Fault::at("data", "must be a JSON object"))?;
    let row = Row {
        source: event.required("source")?,
        event_id: event.required("id")?,
        used_at: event.moment("time")?.ok_or_else(|| Fault::at("time", "is missing: it is when it was used"))?,
        traceparent: event.text("traceparent")?,
        org: data.required("org")?,
        product: data.required("product")?,
        metric: data.required("metric")?,
        quantity: data.quantity()?,
        account: data.text("account")?,
        corrects: data.text("corrects")?,
        request_id: data.text("request_id")?,
        attributes: data.attributes()?,
    };
    data.end()?;
    // other attributes of the event are its transport's business, and extensions are allowed by CloudEvents
    Ok(row)
}
