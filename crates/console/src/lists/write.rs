//! Rows as JSON, NDJSON and CSV. Quantities are texts, exact; times are RFC 3339 in UTC.

use std::borrow::Cow;

use outbox::listing::{Ask, Column, Kind, List, Page};

use super::cursor;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A page.
    Json,
    /// Everything, a JSON object a line.
    Ndjson,
    /// Everything, RFC 4180.
    Csv,
}

impl Format {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "ndjson" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The first that the header Accept names and we have.
    pub fn accepted(header: &str) -> Self {
        let mut types = header.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
        let known = |kind: &str| match kind.to_ascii_lowercase().as_str() {
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" => Some(Self::Ndjson),
            "text/csv" => Some(Self::Csv),
            _ => None,
        };
        types.find_map(known).unwrap_or(Self::Json)
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// What stands before the first row.
    pub fn head(self, list: &List) -> Vec<u8> {
        let names: Vec<&str> = list.columns.iter().map(|column| column.name).collect();
        if self == Self::Csv { format!("{}\r\n", names.join(",")).into_bytes() } else { Vec::new() }
    }

    pub fn row(self, out: &mut Vec<u8>, columns: &[Column], values: &[Option<&str>]) {
        if self == Self::Csv {
            csv(out, columns, values);
        } else {
            object(out, columns, values);
            out.push(b'\n');
        }
    }
}

/// A page as JSON.
pub(super) fn page(ask: &Ask, page: &Page) -> Vec<u8> {
    let mut out = b"{\"items\":".to_vec();
    objects(&mut out, ask.list.columns, &page.rows);
    out.extend(b",\"next\":");
    let next = page.next.as_ref().map(|place| cursor::word(ask, place));
    serde_json::to_writer(&mut out, &next).expect("a text");
    if let Some((count, is_exact)) = page.count {
        out.extend(format!(",\"count\":{count},\"count_is_exact\":{is_exact}").bytes());
    }
    out.push(b'}');
    out
}

/// Rows as a JSON array.
pub(super) fn objects(out: &mut Vec<u8>, columns: &[Column], rows: &[Vec<Option<String>>]) {
    out.push(b'[');
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let values: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
        object(out, columns, &values);
    }
    out.push(b']');
}

fn object(out: &mut Vec<u8>, columns: &[Column], values: &[Option<&str>]) {
    for (at, (column, value)) in columns.iter().zip(values).enumerate() {
        out.extend(if at == 0 { b"{\"" } else { b",\"" });
        out.extend(column.name.as_bytes());
        out.extend(b"\":");
        match value {
            None => out.extend(b"null"),
            Some(value) => json(out, column.kind, value),
        }
    }
    out.push(b'}');
}

fn json(out: &mut Vec<u8>, kind: Kind, value: &str) {
    match kind {
        Kind::Integer | Kind::Seconds | Kind::Flag | Kind::Json | Kind::Texts => out.extend(value.as_bytes()),
        Kind::Text | Kind::Word(_) | Kind::Quantity | Kind::Time | Kind::Date | Kind::Id => {
            serde_json::to_writer(out, &shown(kind, value)).expect("a text");
        }
    }
}

/// A moment without the zeros at the end of its fraction; anything else as it is.
fn shown(kind: Kind, value: &str) -> Cow<'_, str> {
    match value.strip_suffix('Z') {
        Some(moment) if kind == Kind::Time => {
            let short = moment.trim_end_matches('0').trim_end_matches('.');
            // the zeros may have been those of a whole minute or hour
            let whole = moment.split('.').next().unwrap_or_default();
            Cow::Owned(format!("{}Z", if short.len() > whole.len() { short } else { whole }))
        }
        _ => Cow::Borrowed(value),
    }
}

fn csv(out: &mut Vec<u8>, columns: &[Column], values: &[Option<&str>]) {
    for (at, (column, value)) in columns.iter().zip(values).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if let Some(value) = value {
            let value = shown(column.kind, value);
            let value = guarded(column.kind, &value);
            if value.contains(['"', ',', '\r', '\n']) || value.is_empty() {
                out.push(b'"');
                out.extend(value.replace('"', "\"\"").as_bytes());
                out.push(b'"');
            } else {
                out.extend(value.as_bytes());
            }
        }
    }
    out.extend(b"\r\n");
}

/// A text that a spreadsheet would run as a formula gets an apostrophe before it. Numbers, times and what we made ourselves
/// are left alone, so that they stay numbers; NDJSON is exact.
fn guarded(kind: Kind, value: &str) -> Cow<'_, str> {
    if kind == Kind::Text && value.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return Cow::Owned(format!("'{value}"));
    }
    Cow::Borrowed(value)
}

#[cfg(test)]
mod tests {
    use outbox::listing;

    use super::*;

    fn column(kind: Kind) -> Column {
        let list = listing::find("remittances").expect("a list");
        Column { kind, ..list.columns[0] }
    }

    fn written(format: Format, kind: Kind, value: &str) -> String {
        let mut out = Vec::new();
        format.row(&mut out, &[column(kind)], &[Some(value)]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn b5_a_quantity_is_a_text_and_a_time_is_short() {
        let quantity = "12345678901234567890.123456789012345";
        assert_eq!(written(Format::Ndjson, Kind::Quantity, quantity), format!("{{\"delivery_id\":\"{quantity}\"}}\n"));
        for (long, short) in [
            ("2024-09-18T10:00:00.000000Z", "2024-09-18T10:00:00Z"),
            ("2024-09-18T10:00:00.120000Z", "2024-09-18T10:00:00.12Z"),
            ("2024-09-18T10:00:00.000001Z", "2024-09-18T10:00:00.000001Z"),
        ] {
            assert_eq!(written(Format::Csv, Kind::Time, long), format!("{short}\r\n"));
        }
    }

    #[test]
    fn csv_quotes_what_must_be_and_disarms_texts_that_a_spreadsheet_would_run() {
        assert_eq!(written(Format::Csv, Kind::Text, "a\"b,c"), "\"a\"\"b,c\"\r\n");
        assert_eq!(written(Format::Csv, Kind::Text, "=1+1"), "'=1+1\r\n");
        assert_eq!(written(Format::Csv, Kind::Quantity, "-1.5"), "-1.5\r\n");
        assert_eq!(written(Format::Ndjson, Kind::Text, "=1+1"), "{\"delivery_id\":\"=1+1\"}\n");
    }

    #[test]
    fn the_first_type_that_we_have_is_taken() {
        assert_eq!(Format::accepted("text/html, text/csv;q=0.9"), Format::Csv);
        assert_eq!(Format::accepted("application/x-ndjson"), Format::Ndjson);
        assert_eq!(Format::accepted("image/png"), Format::Json);
    }
}
