//! The odd inputs, in the words of each door.

/// One odd value of one field. `None`: this door has no way to say it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// How the page names it.
    pub name: &'static str,
    /// The field.
    pub field: &'static str,
    /// Of a call of the function, as somebody types it.
    pub literal: Option<&'static str>,
    /// Of the same with an argument of a type, as a driver sends it.
    pub typed: Option<&'static str>,
    /// Of an INSERT.
    pub insert: Option<&'static str>,
    /// A cell of COPY's CSV.
    pub copy: Option<&'static str>,
    /// A member of a JSON object, with its key.
    pub json: Option<&'static str>,
    /// Cells of a FOCUS export: columns that are replaced.
    pub focus: Option<(&'static str, &'static str)>,
}

/// No door can say it.
pub const NOTHING: Case =
    Case { name: "", field: "", literal: None, typed: None, insert: None, copy: None, json: None, focus: None };

macro_rules! time {
    ($text:literal, $typed:expr) => {
        Case {
            name: concat!("`used_at` is `", $text, "`"),
            field: "used_at",
            literal: Some(concat!("'", $text, "'")),
            typed: $typed,
            insert: Some(concat!("'", $text, "'")),
            copy: Some($text),
            json: Some(concat!("\"used_at\":\"", $text, "\"")),
            focus: Some(("ChargePeriodStart", $text)),
        }
    };
}

macro_rules! quantity {
    ($text:literal, $typed:expr, $insert:expr) => {
        Case {
            name: concat!("`quantity` is `", $text, "`"),
            field: "quantity",
            literal: Some($text),
            typed: $typed,
            insert: $insert,
            copy: Some($text),
            json: Some(concat!("\"quantity\":", $text)),
            focus: Some(("ConsumedQuantity", $text)),
        }
    };
}

macro_rules! attributes {
    ($name:literal, $json:literal) => {
        Case {
            name: $name,
            field: "attributes",
            literal: Some(concat!("'", $json, "'")),
            insert: Some(concat!("'", $json, "'")),
            copy: Some($json),
            json: Some(concat!("\"attributes\":", $json)),
            focus: Some(("Tags", $json)),
            ..NOTHING
        }
    };
}

/// The table's lines, in order.
pub const CASES: &[Case] = &[
    time!("2024-09-18T05:30:00", Some("timestamp '2024-09-18T05:30:00'")),
    time!("2024-09-18", Some("date '2024-09-18'")),
    time!("2024-09-18T09:30:00.1234567Z", Some("timestamptz '2024-09-18T09:30:00.1234567Z'")),
    time!("2024-08-31T23:59:59.9999999Z", Some("timestamptz '2024-08-31T23:59:59.9999999Z'")),
    time!("2024-09-17T24:00:00Z", Some("timestamptz '2024-09-17T24:00:00Z'")),
    time!("2024-09-17T23:59:60Z", Some("timestamptz '2024-09-17T23:59:60Z'")),
    time!("2024-09-18T09:30:00 Europe/Berlin", Some("timestamptz '2024-09-18T09:30:00 Europe/Berlin'")),
    time!("2024-13-18T09:30:00Z", None),
    time!("epoch", Some("timestamptz 'epoch'")),
    time!("infinity", Some("timestamptz 'infinity'")),
    Case {
        name: "`used_at` is the number 1726651800",
        field: "used_at",
        literal: Some("1726651800"),
        typed: Some("1726651800::bigint"),
        insert: Some("1726651800"),
        copy: Some("1726651800"),
        json: Some("\"used_at\":1726651800"),
        focus: Some(("ChargePeriodStart", "1726651800")),
    },
    quantity!("0.30000000000000004", Some("0.30000000000000004::float8"), Some("0.30000000000000004::float8")),
    quantity!("0.1", Some("0.1::float8"), Some("0.1::float8")),
    quantity!("1e3", Some("1e3::numeric"), Some("1e3")),
    quantity!("true", Some("true"), Some("true")),
    Case {
        name: "`quantity` is `NaN`",
        literal: Some("'NaN'"),
        insert: Some("'NaN'"),
        json: Some("\"quantity\":\"NaN\""),
        ..quantity!("NaN", Some("'NaN'::numeric"), None)
    },
    Case {
        name: "`event_id` is the number 4711",
        field: "event_id",
        literal: Some("4711"),
        typed: Some("4711::bigint"),
        insert: Some("4711"),
        copy: Some("4711"),
        json: Some("\"event_id\":4711"),
        focus: Some(("Id", "4711")),
    },
    Case { name: "`org` is an object", field: "org", json: Some("\"org\":{\"a\":1}"), ..NOTHING },
    Case {
        name: "a field `acount`",
        field: "acount",
        literal: Some("'x'"),
        typed: Some("'x'::text"),
        insert: Some("'x'"),
        copy: Some("x"),
        json: Some("\"acount\":\"x\""),
        focus: Some(("Acount", "x")),
    },
    Case {
        name: "`attributes` is null",
        field: "attributes",
        literal: Some("null"),
        typed: Some("null::jsonb"),
        insert: Some("null"),
        copy: Some(""),
        json: Some("\"attributes\":null"),
        focus: Some(("Tags", "NULL")),
    },
    Case {
        name: "`attributes` is the JSON value `null`",
        typed: Some("'null'::jsonb"),
        json: None,
        focus: None,
        ..attributes!("", "null")
    },
    attributes!("`attributes` holds `\\u0000`", r#"{"a":"\u0000"}"#),
    attributes!("`attributes` holds half a surrogate pair", r#"{"a":"\ud800"}"#),
    attributes!("`attributes` holds `1e400000`", r#"{"a":1e400000}"#),
    attributes!("`attributes` has a key twice", r#"{"a":1,"a":2}"#),
    Case { name: "`org` stands twice in the object", field: "org", json: Some("\"org\":\"acme\""), ..NOTHING },
];
