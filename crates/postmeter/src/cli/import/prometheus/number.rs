//! Values of Prometheus as exact quantities.
//!
//! A value is a binary float, written as the shortest decimal that reads back as the same float: `0.30000000000000004`.
//! Its last digits are noise of the sum it came from, and may differ when the same hour is asked for again. So the text
//! is rounded, half up, in decimal; nothing is computed in floats here.

use remittance::Quantity;

use super::super::exponents::plain;

/// Reads a value and rounds it.
///
/// # Errors
/// A sentence: it is no number, infinite, below zero, or too large.
pub(super) fn quantity(text: &str, decimals: u32) -> Result<Quantity, String> {
    match text {
        "NaN" => return Err("is NaN: the query divided zero by zero, or met a value that is none".to_owned()),
        "+Inf" | "-Inf" | "Inf" => return Err(format!("is {text}: the query divided by zero, or met such a value")),
        _ => {}
    }
    if text.starts_with('-') {
        return Err(format!("{text} is below zero: usage that takes something back must name what it corrects"));
    }
    // smaller than any quantity, whatever its digits are
    let exponent = text.split_once(['e', 'E']).and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    if exponent.is_some_and(|exponent| exponent < -40) {
        return Ok(Quantity::ZERO);
    }
    let text = plain(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return Err(format!("{text:?} is no number"));
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > 13 {
        return Err(format!("{text} is beyond 1000000000000"));
    }
    let places = decimals as usize;
    let kept = &fraction[..fraction.len().min(places)];
    let is_up = fraction.as_bytes().get(places).is_some_and(|digit| *digit >= b'5');
    // 13 digits and 15 decimals fit into 128 bits
    let digits = format!("0{whole}{kept:0<places$}").parse::<u128>().expect("at most 29 digits") + u128::from(is_up);
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let rounded = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
    rounded.parse().map_err(|error: remittance::QuantityError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_values_are_rounded_half_up_as_decimals() {
        for (text, decimals, expected) in [
            ("0.30000000000000004", 6, "0.3"),
            ("0.30000000000000004", 15, "0.3"),
            ("2.9999996", 6, "3"),
            ("2.9999994", 6, "2.999999"),
            ("0.0000005", 6, "0.000001"),
            ("1e-07", 6, "0"),
            ("1e-07", 7, "0.0000001"),
            ("1.25E+3", 6, "1250"),
            ("5e-324", 15, "0"),
            ("7", 0, "7"),
            ("7.5", 0, "8"),
            ("0", 6, "0"),
            ("999999999999.9999999", 6, "1000000000000"),
            ("123456789012.123456789012345", 15, "123456789012.123456789012345"),
        ] {
            assert_eq!(quantity(text, decimals).unwrap().to_string(), expected, "{text} to {decimals}");
        }
    }

    #[test]
    fn a4_what_is_no_quantity_is_refused_with_a_reason() {
        for text in
            ["NaN", "+Inf", "-Inf", "-1", "-0.0000001", "1e14", "1e300", "many", "", ".", "1_000", "1e5000000000"]
        {
            assert!(quantity(text, 6).is_err(), "{text}");
        }
    }
}
