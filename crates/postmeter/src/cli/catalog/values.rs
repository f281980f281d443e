//! Values of fields in their one canonical form, so that what the file says and what the database holds compare as
//! text: `24h` and `86400s` are the same, and so are `2/8` and `1/4`.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use remittance::Quantity;
use serde_json::{Map, Value};

use super::spec::Shape;

/// The canonical form of a value, or what is expected instead.
pub(super) fn canonical(shape: Shape, value: &Value) -> Result<Value, String> {
    match shape {
        Shape::Text => text(value).map(Value::from),
        Shape::Name => {
            let name = text(value)?;
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let fits = name.len() <= 63
                && name.bytes().next().is_some_and(plain)
                && name.bytes().all(|b| plain(b) || b"._-".contains(&b));
            fits.then(|| Value::from(name)).ok_or_else(|| {
                format!("is {name:?}; it must be 1 to 63 of a-z, 0-9 and ._-, beginning with a letter or digit")
            })
        }
        Shape::Contract => {
            let expected = "must be a name of 1 to 63 of A-Z, a-z, 0-9 and ._-, beginning with a letter or digit";
            let name = value.as_str().filter(|name| {
                name.len() <= 63
                    && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            });
            name.map(Value::from).ok_or_else(|| expected.to_owned())
        }
        Shape::Whole(from, to) => {
            let number = value.as_i64().filter(|number| (from..=to).contains(number));
            number.map(Value::from).ok_or_else(|| format!("must be a whole number from {from} to {to}"))
        }
        Shape::Decimal => decimal(value).map(Value::from),
        Shape::Ratio => ratio(value).map(Value::from),
        Shape::Flag => value.as_bool().map(Value::from).ok_or_else(|| "must be true or false".to_owned()),
        Shape::Word(words) => {
            let word = value.as_str().filter(|word| words.contains(word));
            word.map(Value::from).ok_or_else(|| format!("must be one of {}", words.join(", ")))
        }
        Shape::Span(from, to) => {
            let expected = || {
                format!(
                    "must be a span between {} and {}, such as 90s, 10m, 1h30m or 2d",
                    span_text(from),
                    span_text(to)
                )
            };
            let span = value.as_str().and_then(span).filter(|span| (from..=to).contains(span));
            span.map(|span| Value::from(span_text(span))).ok_or_else(expected)
        }
        Shape::Month => {
            let month = value.as_str().filter(|text| text.len() == 7 && format!("{text}-01").parse::<Date>().is_ok());
            month.map(Value::from).ok_or_else(|| "must be a month, such as \"2024-09\"".to_owned())
        }
        Shape::Hour => hour(value).map(|hour| Value::from(hour.to_string())),
        Shape::Second => second(value).map(|second| Value::from(second.to_string())),
        Shape::Currency => {
            let code = value.as_str().filter(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()));
            code.map(Value::from).ok_or_else(|| "must be a code of three capital letters, such as USD".to_owned())
        }
        Shape::Object => match value {
            Value::Object(fields) => Ok(Value::Object(sorted(fields.clone()))),
            _ => Err("must be a table, such as { name = \"value\" }".to_owned()),
        },
        Shape::Covers => covers(value).map(Value::Object),
        Shape::Names => names(value).map(Value::from),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    let text = value.as_str().filter(|text| !text.trim().is_empty() && text.len() <= 255);
    text.ok_or_else(|| "must be a text of 1 to 255 bytes".to_owned())
}

/// Numbers with a point must be quoted: TOML reads them as floats, which are not exact.
fn decimal(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() => number.to_string(),
        Value::Number(_) => {
            return Err("must be written in quotes: a number with a point is not exact in TOML".to_owned());
        }
        _ => return Err("must be a number, such as \"0.25\"".to_owned()),
    };
    let quantity: Quantity = text.parse().map_err(|error: remittance::QuantityError| error.to_string())?;
    if quantity.is_negative() { Err("must not be negative".to_owned()) } else { Ok(quantity.to_string()) }
}

fn ratio(value: &Value) -> Result<String, String> {
    const MAX: u64 = 1_000_000_000;
    let expected = || {
        "must be a ratio of two whole numbers from 1 to 1000000000, such as \"1/4\" (or one whole number)".to_owned()
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(expected()),
    };
    let (over, under) = text.split_once('/').unwrap_or((&text, "1"));
    let part = |text: &str| text.trim().parse::<u64>().ok().filter(|number| (1..=MAX).contains(number));
    let (over, under) = part(over).zip(part(under)).ok_or_else(expected)?;
    let common = greatest_common_divisor(over, under);
    Ok(format!("{}/{}", over / common, under / common))
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn time(value: &Value) -> Result<Timestamp, String> {
    let text = value.as_str().unwrap_or_default();
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let instant = text.parse::<Timestamp>().ok().or_else(civil);
    instant.ok_or_else(|| "must be a time, such as 2024-09-01T00:00:00Z".to_owned())
}

fn second(value: &Value) -> Result<Timestamp, String> {
    let instant = time(value)?;
    if instant.subsec_nanosecond() == 0 { Ok(instant) } else { Err(format!("is {instant}, which is no whole second")) }
}

fn hour(value: &Value) -> Result<Timestamp, String> {
    let instant = time(value)?;
    if instant.as_second() % 3600 == 0 && instant.subsec_nanosecond() == 0 {
        Ok(instant)
    } else {
        Err(format!("is {instant}, which is not on the hour: marketplaces count whole hours of UTC"))
    }
}

fn covers(value: &Value) -> Result<Map<String, Value>, String> {
    let Value::Object(given) = value else {
        return Err("must be a table of quantities by metric, such as { gb-hours = \"100\" }".to_owned());
    };
    let mut read = Map::new();
    for (metric, quantity) in given {
        let quantity = decimal(quantity).map_err(|problem| format!("of metric {metric} {problem}"))?;
        read.insert(metric.clone(), Value::from(quantity));
    }
    Ok(sorted(read))
}

fn names(value: &Value) -> Result<Vec<String>, String> {
    let expected = || "must be a list of names, each once, such as [\"team\", \"region\"]".to_owned();
    let given = value.as_array().ok_or_else(expected)?;
    let mut names = given
        .iter()
        .map(|name| text(name).map(str::to_owned))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| expected())?;
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) { Err(expected()) } else { Ok(names) }
}

/// In order of names, so that the same fields look the same.
fn sorted(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.sort_keys();
    fields
}

/// Milliseconds of `1h30m`, `90s`, `2d`, `500ms`.
pub(super) fn span(text: &str) -> Option<i64> {
    let (mut rest, mut sum) = (text.trim(), 0_i64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = number.parse::<i64>().ok()?.checked_mul(unit)?.checked_add(sum)?;
        rest = tail.trim_start();
    }
    Some(sum)
}

/// The shortest way to write a span; also what Postgres reads as an interval.
pub(super) fn span_text(milliseconds: i64) -> String {
    let mut rest = milliseconds;
    let mut text = String::new();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_the_same_reads_the_same() {
        let same = [
            (Shape::Span(0, i64::MAX), json!("1d"), json!("86400s"), "24h"),
            (Shape::Span(0, i64::MAX), json!("90m"), json!("1h 30m"), "1h30m"),
            (Shape::Ratio, json!("2/8"), json!("1/4"), "1/4"),
            (Shape::Ratio, json!(3), json!("3"), "3/1"),
            (Shape::Decimal, json!(10), json!("10.00"), "10"),
            (Shape::Hour, json!("2024-09-01"), json!("2024-09-01T02:00:00+02:00"), "2024-09-01T00:00:00Z"),
            (Shape::Second, json!("2024-09-01T22:02"), json!("2024-09-02T00:02:00+02:00"), "2024-09-01T22:02:00Z"),
        ];
        for (shape, one, other, text) in same {
            assert_eq!(canonical(shape, &one).unwrap(), json!(text));
            assert_eq!(canonical(shape, &other).unwrap(), json!(text));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = [
            (Shape::Span(0, 1000), json!("2s")),
            (Shape::Span(0, i64::MAX), json!("5")),
            (Shape::Span(0, i64::MAX), json!("")),
            (Shape::Ratio, json!("1/0")),
            (Shape::Ratio, json!("0.25")),
            (Shape::Ratio, json!("-1")),
            (Shape::Decimal, json!(0.1)),
            (Shape::Decimal, json!("-1")),
            (Shape::Decimal, json!("0.1234567890123456")),
            (Shape::Hour, json!("2024-09-01T00:30:00Z")),
            (Shape::Second, json!("2024-09-01T00:30:00.5Z")),
            (Shape::Month, json!("2024-9")),
            (Shape::Month, json!("2024-13")),
            (Shape::Currency, json!("usd")),
            (Shape::Name, json!("AWS us")),
            (Shape::Text, json!(" ")),
            (Shape::Covers, json!({ "gb": 0.5 })),
        ];
        for (shape, value) in refused {
            assert!(canonical(shape, &value).is_err(), "{shape:?} {value}");
        }
    }
}
