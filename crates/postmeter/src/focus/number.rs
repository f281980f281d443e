//! Exact amounts: read to the letter, added without rounding.

use std::fmt;

use remittance::Quantity;
use serde::{Serialize, Serializer};

/// How a fraction is set off in the numbers of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Decimals {
    /// 1234.5
    #[default]
    Point,
    /// 1234,5
    Comma,
}

/// An amount in units of 10⁻¹⁵: a hundred billion of the largest quantities can be added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub i128);

/// 10¹⁵.
const ONE: i128 = 1_000_000_000_000_000;

/// The largest quantity of a row.
const MAX: i128 = 1_000_000_000_000 * ONE;

impl Amount {
    /// As a quantity; none: it is beyond what a usage can have.
    #[must_use]
    pub fn quantity(self) -> Option<Quantity> {
        self.to_string().parse().ok()
    }

    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        // a row is at most 10²⁷ of these units, and no file has 10¹¹ rows
        self.0 = self.0.saturating_add(other.0);
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, one) = (self.0.unsigned_abs(), ONE.unsigned_abs());
        let fraction = format!("{:015}", size % one);
        let fraction = fraction.trim_end_matches('0');
        let (sign, point) = (if self.0 < 0 { "-" } else { "" }, if fraction.is_empty() { "" } else { "." });
        write!(f, "{sign}{}{point}{fraction}", size / one)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a number: `12.5`, `.5`, `-3`, `1.5E-7`; with commas for decimals `12,5`. No marks between thousands: nobody could
/// tell them from decimals.
///
/// # Errors
/// It is none, or is beyond 10¹². What is behind the 15th decimal is rounded.
pub fn amount(text: &str, decimals: Decimals) -> Result<Amount, String> {
    let trimmed = text.trim();
    let (mark, other) = match decimals {
        Decimals::Point => ('.', ','),
        Decimals::Comma => (',', '.'),
    };
    if trimmed.contains(other) {
        return Err(match decimals {
            Decimals::Point => format!(
                "{text:?} has a comma: give --decimals comma if that sets off decimals; marks between thousands are not read"
            ),
            Decimals::Comma => format!("{text:?} has a point, and decimals are set off by commas here"),
        });
    }
    let none = || format!("{text:?} is no number");
    let (mantissa, exponent) = trimmed.split_once(['e', 'E']).unwrap_or((trimmed, "0"));
    let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= 40).ok_or_else(none)?;
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once(mark).unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
        return Err(none());
    }
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_start_matches('0').trim_end_matches('0');
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    if kept.is_empty() {
        return Ok(Amount::default());
    }
    // kept × 10^power, in units of 10⁻¹⁵
    let behind = i32::try_from(fraction.len()).map_err(|_| none())? - i32::try_from(zeros).map_err(|_| none())?;
    let power = 15 + exponent - behind;
    if power < 0 {
        // floats are often written with more decimals than they know: 1/3600 is 0.0002777777777777778
        let cut = usize::try_from(-power).map_err(|_| none())?;
        let (known, rest) = kept.split_at(kept.len().saturating_sub(cut));
        let rounds_up = cut <= kept.len() && rest.as_bytes().first().is_some_and(|digit| *digit >= b'5');
        let value: i128 = if known.is_empty() { 0 } else { known.parse().map_err(|_| none())? };
        let value = value + i128::from(rounds_up);
        return if value > MAX { Err(format!("{text:?} is beyond 1000000000000")) } else { Ok(Amount(sign * value)) };
    }
    let large = || format!("{text:?} is beyond 1000000000000");
    let power = usize::try_from(power).map_err(|_| large())?;
    if kept.len() + power > 28 {
        return Err(large());
    }
    let value: i128 = format!("{kept}{}", "0".repeat(power)).parse().map_err(|_| large())?;
    if value > MAX { Err(large()) } else { Ok(Amount(sign * value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_numbers_are_read_to_the_fifteenth_decimal() {
        for (text, expected) in [
            ("1.5E-7", "0.00000015"),
            ("3e2", "300"),
            ("-2.5e+1", "-25"),
            ("0e0", "0"),
            ("0.0", "0"),
            ("12", "12"),
            ("7.50", "7.5"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("5.", "5"),
            ("+5", "5"),
            (" 5 ", "5"),
            ("100", "100"),
            ("0.000083819032000000000000", "0.000083819032"),
            ("1000000000000", "1000000000000"),
            ("0.000000000000001", "0.000000000000001"),
            ("1200e-2", "12"),
            ("0.0002777777777777778", "0.000277777777778"),
            ("0.1234567890123456", "0.123456789012346"),
            ("0.1234567890123454", "0.123456789012345"),
            ("999999999999.9999999999999999", "1000000000000"),
            ("5e-16", "0.000000000000001"),
            ("4.9e-16", "0"),
            ("1e-40", "0"),
        ] {
            assert_eq!(
                amount(text, Decimals::Point).map(|amount| amount.to_string()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for text in [
            "",
            ".",
            "e5",
            "1e",
            "1e99",
            "1.2.3",
            "NaN",
            "--1",
            "1,5",
            "1 000",
            "1000000000000.1",
            "inf",
            "0x10",
            "1'000",
        ] {
            assert!(amount(text, Decimals::Point).is_err(), "{text}");
        }
    }

    #[test]
    fn l6_commas_set_off_decimals_only_when_told() {
        assert_eq!(amount("1234,5", Decimals::Comma), amount("1234.5", Decimals::Point));
        assert_eq!(amount(",5", Decimals::Comma), amount(".5", Decimals::Point));
        assert!(amount("1.234,5", Decimals::Comma).is_err() && amount("1.5", Decimals::Comma).is_err());
        assert!(amount("1,5", Decimals::Point).unwrap_err().contains("--decimals comma"));
    }

    #[test]
    fn l6_a_sum_is_exact() {
        let mut sum = Amount::default();
        for _ in 0..1000 {
            sum.add(amount("0.1", Decimals::Point).unwrap());
        }
        sum.add(amount("0.000000000000001", Decimals::Point).unwrap());
        assert_eq!(sum.to_string(), "100.000000000000001");
        assert_eq!(sum.quantity().unwrap().to_string(), "100.000000000000001");
        assert_eq!(Amount(MAX + 1).quantity(), None);
    }
}
