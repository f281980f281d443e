//! Values of parameters and cursors: checked here, so that nothing reaches the database that its type cannot read.

use jiff::Timestamp;
use jiff::civil::Date;
use outbox::listing::Kind;
use uuid::Uuid;

/// A value in the form that the database reads, or what it must be.
pub(super) fn read(kind: Kind, text: &str) -> Result<String, String> {
    let must = |expected: &str| format!("must be {expected}");
    match kind {
        Kind::Text | Kind::Texts if text.contains('\0') => Err("must not contain the character U+0000".to_owned()),
        Kind::Text | Kind::Texts => Ok(text.to_owned()),
        Kind::Word(words) if words.contains(&text) => Ok(text.to_owned()),
        Kind::Word(words) => Err(must(&format!("one of {}", words.join(", ")))),
        Kind::Integer => {
            text.parse::<i64>().map(|number| number.to_string()).map_err(|_| must("a whole number of at most 64 bits"))
        }
        Kind::Time => {
            let moment: Result<Timestamp, _> = text.parse();
            let moment = moment.ok().map(|moment| moment.to_string()).filter(|text| !text.starts_with('-'));
            moment
                .filter(|text| !text.starts_with("0000"))
                .ok_or_else(|| must("a time with its zone, such as 2026-11-21T10:00:00Z (escape + as %2B)"))
        }
        Kind::Date => {
            let date: Option<Date> = text.parse().or_else(|_| format!("{text}-01").parse()).ok();
            let date = date.filter(|date| date.year() > 0).ok_or_else(|| must("a day or a month, such as 2026-11"))?;
            Ok(date.to_string())
        }
        Kind::Flag if ["true", "false"].contains(&text) => Ok(text.to_owned()),
        Kind::Flag => Err(must("true or false")),
        Kind::Id => text.parse::<Uuid>().map(|id| id.to_string()).map_err(|_| must("a UUID")),
        Kind::Quantity => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let is_right = text.len() <= 1000 && is_number(whole) && is_number(part);
            is_right.then(|| text.to_owned()).ok_or_else(|| must("a decimal number"))
        }
        Kind::Seconds | Kind::Json => Err("cannot be asked for".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_could_not_read_is_refused_before() {
        for (kind, wrong) in [
            (Kind::Integer, "9223372036854775808"),
            (Kind::Integer, "1.5"),
            (Kind::Time, "2024-09-18T10:00:00"),
            (Kind::Time, "-000001-01-01T00:00:00Z"),
            (Kind::Date, "0000-01"),
            (Kind::Date, "2024-13"),
            (Kind::Flag, "yes"),
            (Kind::Id, "1"),
            (Kind::Quantity, "NaN"),
            (Kind::Quantity, "1."),
            (Kind::Text, "a\0b"),
            (Kind::Word(&["due"]), "Due"),
        ] {
            assert!(read(kind, wrong).is_err(), "{kind:?} {wrong:?}");
        }
        assert_eq!(read(Kind::Date, "2024-09").unwrap(), "2024-09-01");
        assert_eq!(read(Kind::Time, "2024-09-18T12:00:00+02:00").unwrap(), "2024-09-18T10:00:00Z");
        assert_eq!(read(Kind::Quantity, "-0.000000000000001").unwrap(), "-0.000000000000001");
    }
}
