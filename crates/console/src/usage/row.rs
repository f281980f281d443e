//! One usage of a request's body, on its way to the database. The rules are the schema's, which knows them for every
//! door: here is only what the schema could not refuse by itself, because `jsonb` refuses the whole of a document for
//! it or drops it without a word.

use outbox::json::{Flaw, Members, flaw};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A usage as the database takes it: each field as it was written.
#[derive(Debug)]
pub(super) struct Row {
    fields: Vec<(String, Box<RawValue>)>,
    names: &'static Names,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(field, value)| (field, value)))
    }
}

/// How a request calls our fields.
#[derive(Debug)]
pub(super) struct Names {
    /// Some of them: theirs, ours.
    pub apart: &'static [(&'static str, &'static str)],
    /// What stands before the names of all others.
    pub rest: &'static str,
}

/// A request that calls them as we do.
const OURS: Names = Names { apart: &[], rest: "" };

impl Names {
    fn theirs(&self, ours: &str) -> String {
        let apart = self.apart.iter().find(|(_, known)| *known == ours).map(|(theirs, _)| (*theirs).to_owned());
        apart.unwrap_or_else(|| format!("{}{ours}", self.rest))
    }

    /// A refusal of a member of the data that is called as we call a field that stands elsewhere.
    pub fn refused_in_data(&self, fault: Fault) -> Fault {
        Names { apart: &[], rest: self.rest }.refused(fault)
    }

    /// A refusal in the request's words.
    pub fn refused(&self, fault: Fault) -> Fault {
        let Fault { code, field, message } = fault;
        let Some(ours) = field else { return Fault { code, field, message } };
        let theirs = self.theirs(&ours);
        let message = match message.strip_prefix(&format!("{ours} ")) {
            Some(rest) => format!("{theirs} {rest}"),
            None => message.replacen(&format!(": {ours} "), &format!(": {theirs} "), 1),
        };
        Fault { code, field: Some(theirs), message }
    }
}

/// Why one usage of a request is not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: String,
    pub field: Option<String>,
    pub message: String,
}

impl Fault {
    pub fn at(field: &str, code: &str, reason: &str) -> Self {
        Self { code: code.to_owned(), field: Some(field.to_owned()), message: format!("{field} {reason}") }
    }

    pub fn missing(field: &str) -> Self {
        Self::at(field, "23502", "is missing")
    }
}

/// The members of an object, each once, and each as Postgres keeps it.
pub(super) fn members<'a>(element: &'a RawValue, what: &str) -> Result<Vec<(String, &'a RawValue)>, Fault> {
    let whole = |code: &str, message: String| Fault { code: code.to_owned(), field: None, message };
    if !element.get().starts_with('{') {
        return Err(whole("PM001", format!("{what} must be a JSON object")));
    }
    let members: Members<'a> = serde_json::from_str(element.get())
        .map_err(|error| whole("22P02", format!("{what} has a key that is no text: {error}")))?;
    if let Some(key) = members.twice() {
        return Err(Fault { field: Some(key.to_owned()), ..whole("22030", Flaw::twice(key).reason) });
    }
    for (field, value) in &members.0 {
        if field.contains('\0') {
            return Err(Fault::at(field, "22P05", "must not contain the character U+0000"));
        }
        if let Some(flaw) = flaw(value).filter(|flaw| field != "quantity" || flaw.code != "22003") {
            return Err(Fault::at(field, flaw.code, &flaw.reason));
        }
    }
    Ok(members.0)
}

impl Row {
    /// A row of fields under our names.
    pub fn of<'a>(fields: impl IntoIterator<Item = (String, &'a RawValue)>, names: &'static Names) -> Self {
        let lettered = |(field, value): (String, &RawValue)| {
            let value = if field == "quantity" { lettered(value) } else { value.to_owned() };
            (field, value)
        };
        Self { fields: fields.into_iter().map(lettered).collect(), names }
    }

    /// A field's text; `None` if it is missing or no text, which the database then says.
    pub fn text(&self, field: &str) -> Option<String> {
        let (_, value) = self.fields.iter().find(|(name, _)| name == field)?;
        serde_json::from_str(value.get()).ok()
    }

    /// The database's refusal in the request's words.
    pub fn refused(&self, fault: Fault) -> Fault {
        self.names.refused(fault)
    }
}

/// Reads one element of a plain body.
pub(super) fn plain(element: &RawValue) -> Result<Row, Fault> {
    Ok(Row::of(members(element, "a usage")?, &OURS))
}

/// Refuses what is not of a limited token's org.
pub(super) fn for_org(row: Row, org: Option<&str>) -> Result<Row, Fault> {
    let Some(org) = org else { return Ok(row) };
    match row.text("org") {
        Some(named) if named == org => Ok(row),
        Some(_) => Err(row.refused(Fault {
            code: "other_org".to_owned(),
            field: Some("org".to_owned()),
            message: format!("this token records usage of {org:?} only"),
        })),
        None => Err(row.refused(Fault::at("org", "PM001", "must be a text, in quotation marks"))),
    }
}

/// A number as a text, so that no number can be too large for the whole document.
fn lettered(value: &RawValue) -> Box<RawValue> {
    if value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return to_raw_value(value.get()).expect("a text");
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (String, String) {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        let fault = plain(&raw).expect_err("must be refused");
        (fault.field.unwrap_or_default(), fault.code)
    }

    const GOOD: &str = r#"{"source":"s","event_id":"e","org":"o","product":"p","metric":"m","quantity":0.100000000000000000001,"used_at":"2026-11-01T00:00:00+01:00"}"#;

    #[test]
    fn b5_a_quantity_keeps_every_digit_on_its_way() {
        let raw: Box<RawValue> = serde_json::from_str(GOOD).unwrap();
        let row = serde_json::to_string(&plain(&raw).unwrap()).unwrap();
        let expected = GOOD.replace("0.100000000000000000001", "\"0.100000000000000000001\"");
        assert_eq!(row, expected, "nothing is read and written anew");
    }

    #[test]
    fn l4_what_postgres_would_refuse_whole_or_drop_is_refused_by_field() {
        let with = |member: &str| GOOD.replacen('{', &format!("{{{member},"), 1);
        assert_eq!(fault("[]"), (String::new(), "PM001".to_owned()));
        for (member, field, code) in [
            (r#""org":"p""#, "org", "22030"),
            (r#""\u006frg":"o""#, "org", "22030"),
            (r#""attributes":{"a":{"b":1,"b":1}}"#, "attributes", "22030"),
            (r#""attributes":{"a":"\u0000"}"#, "attributes", "22P05"),
            (r#""account":"\u0000""#, "account", "22P05"),
            (r#""a\u0000":1"#, "a\0", "22P05"),
            (r#""account":"\udc00""#, "account", "22P02"),
            (r#""attributes":{"a":1e999}"#, "attributes", "22003"),
        ] {
            assert_eq!(fault(&with(member)), (field.to_owned(), code.to_owned()), "{member}");
        }
    }
}
