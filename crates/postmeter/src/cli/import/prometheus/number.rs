//! Values of Prometheus as exact quantities.
//!
//! A value is a binary float, written as the shortest decimal that reads back as the same float: `0.30000000000000004`.
//! Its last digits are noise of the sum it came from, and may differ when the same hour is asked for again. So the text
//! is rounded, half up, in decimal; nothing is computed in floats here.

use remittance::Quantity;

use super::super::exponents::plain;

/// Decimals of samples that are kept: below that a float's digits mean nothing.
pub(super) const PLACES: u32 = 12;

/// Reads a value and rounds it.
///
/// # Errors
/// A sentence: it is no number, infinite, below zero, or too large.
pub(super) fn quantity(text: &str, decimals: u32) -> Result<Quantity, String> {
    let digits = digits(text, decimals, 13, "1000000000000")?;
    point(digits.unsigned_abs(), decimals).parse().map_err(|error: remittance::QuantityError| error.to_string())
}

/// A sample in units of 10⁻¹².
///
/// # Errors
/// A sentence: it is no number, infinite, below zero, or too large.
pub(super) fn sample(text: &str) -> Result<i128, String> {
    digits(text, PLACES, 20, "100000000000000000000")
}

/// A sum of samples, in their units, over a divisor, rounded half up.
///
/// # Errors
/// A sentence: it is beyond what a quantity can be.
pub(super) fn share(sum: i128, divisor: i128, decimals: u32) -> Result<Quantity, String> {
    let divisor = divisor * 10_i128.pow(PLACES);
    let (mut quotient, mut rest) = (sum / divisor, sum % divisor);
    for _ in 0..decimals {
        let next = rest * 10;
        quotient = quotient.checked_mul(10).ok_or("is too large")? + next / divisor;
        rest = next % divisor;
    }
    quotient += i128::from(rest * 2 >= divisor);
    point(quotient.unsigned_abs(), decimals).parse().map_err(|error: remittance::QuantityError| error.to_string())
}

/// The digits of a number with this many decimals, rounded half up.
fn digits(text: &str, decimals: u32, most: usize, beyond: &str) -> Result<i128, String> {
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
        return Ok(0);
    }
    let text = plain(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return Err(format!("{text:?} is no number"));
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > most {
        return Err(format!("{text} is beyond {beyond}"));
    }
    let places = decimals as usize;
    let kept = &fraction[..fraction.len().min(places)];
    let is_up = fraction.as_bytes().get(places).is_some_and(|digit| *digit >= b'5');
    // 13 digits and 15 decimals, or 20 and 12, fit into 127 bits
    let digits = format!("0{whole}{kept:0<places$}").parse::<i128>().expect("at most 32 digits");
    Ok(digits + i128::from(is_up))
}

/// Digits with a point before the last `decimals`.
fn point(digits: u128, decimals: u32) -> String {
    let places = decimals as usize;
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
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

    #[test]
    fn b5_shares_are_exact_and_rounded_once() {
        // eight cores for ten minutes, in milliseconds and hours
        let sum = sample("8").unwrap() * 600_000;
        assert_eq!(share(sum, 3_600_000, 6).unwrap().to_string(), "1.333333");
        assert_eq!(share(sum, 3_600_000, 0).unwrap().to_string(), "1");
        assert_eq!(share(sample("0.1").unwrap() + sample("0.2").unwrap(), 1, 12).unwrap().to_string(), "0.3");
        assert_eq!(
            share(sample("1e15").unwrap() * 3_600_000, 3_600_000 * 1_000_000_000, 6).unwrap().to_string(),
            "1000000"
        );
        assert!(share(sample("1e19").unwrap(), 1, 12).is_err());
    }
}
