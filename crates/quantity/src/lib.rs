#![doc = include_str!("../README.md")]
#![deny(clippy::incompatible_msrv)]

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

/// An exact decimal quantity: at most 10¹² in size with at most 15 decimals, the bounds of the schema's CHECKs.
///
/// Sums and products are Postgres's business (`numeric` is exact at any length; `rust_decimal` rounds silently
/// beyond 28 digits). Here a quantity is only read, compared, and written to the letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(Decimal);

/// Why a text is no [`Quantity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a plain decimal number (`12.5`, `-3`); exponents, `NaN` and `Infinity` are none.
    #[error("quantity {0:?} is not a plain decimal number")]
    NotANumber(String),
    /// More than 10¹² or less than -10¹².
    #[error("quantity {0} is beyond ±1000000000000")]
    TooLarge(String),
    /// More than 15 digits after the point.
    #[error("quantity {0} has more than {max} decimals", max = Quantity::DECIMALS_MAX)]
    TooPrecise(String),
}

impl Quantity {
    /// Digits after the point that a usage may have.
    pub const DECIMALS_MAX: u32 = 15;

    /// Zero.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// Stands where no quantity was given, in a struct's `Default`; no text reads as it, for it is out of range. A zero
    /// in its place would be recorded as usage.
    pub const MISSING: Self = Self(Decimal::MAX);

    /// True for zero, whatever its scale.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// True below zero: a correction.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }

    /// Digits after the point that are needed, trailing zeros not counted.
    #[must_use]
    pub fn decimals(self) -> u32 {
        self.0.normalize().scale()
    }

    /// Digits before the point (1 for a quantity below one).
    #[must_use]
    pub fn integer_digits(self) -> usize {
        self.0.trunc().abs().normalize().to_string().len()
    }

    /// The value as an integer, if it is one and fits.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        self.to_string().parse().ok()
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, fraction) = split_plain(text).ok_or_else(|| QuantityError::NotANumber(text.to_owned()))?;
        if fraction.len() > Self::DECIMALS_MAX as usize {
            return Err(QuantityError::TooPrecise(text.to_owned()));
        }
        // 13 digits and 15 decimals are 28 digits, which rust_decimal still holds without rounding.
        if whole.len() > 13 {
            return Err(QuantityError::TooLarge(text.to_owned()));
        }
        let value = Decimal::from_str(text).map_err(|_| QuantityError::TooLarge(text.to_owned()))?;
        if value.abs() > Decimal::from(1_000_000_000_000_i64) {
            return Err(QuantityError::TooLarge(text.to_owned()));
        }
        Ok(Self(value.normalize()))
    }
}

/// Splits `-012.500` into `12` and `5`: digits that matter before and after the point.
fn split_plain(text: &str) -> Option<(&str, &str)> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| (whole.trim_start_matches('0'), fraction.trim_end_matches('0')))
}

impl fmt::Display for Quantity {
    /// Plain decimal, no exponent, no trailing zeros: `12.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.normalize().fmt(f)
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<u32> for Quantity {
    fn from(value: u32) -> Self {
        Self(Decimal::from(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_fifteen_decimals_survive_reading_and_writing() {
        let text = "999999999999.123456789012345";
        assert_eq!(text.parse::<Quantity>().map(|q| q.to_string()), Ok(text.to_owned()));
    }

    #[test]
    fn a4_what_is_no_quantity_is_refused_by_kind() {
        for text in ["", "NaN", "Infinity", "1e5", ".5", "5.", "1,5", "0x10", " 1"] {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError::NotANumber(text.to_owned())), "{text:?}");
        }
        assert!(matches!("1000000000000.1".parse::<Quantity>(), Err(QuantityError::TooLarge(_))));
        assert!(matches!("99999999999999999999999999999999".parse::<Quantity>(), Err(QuantityError::TooLarge(_))));
        assert!(matches!("0.1234567890123456".parse::<Quantity>(), Err(QuantityError::TooPrecise(_))));
    }

    #[test]
    fn a4_what_is_missing_is_no_quantity() {
        assert!(matches!(Quantity::MISSING.to_string().parse::<Quantity>(), Err(QuantityError::TooLarge(_))));
    }

    #[test]
    fn trailing_zeros_do_not_count_as_precision() {
        let quantity: Quantity = "2.000000000000000000".parse().expect("two");
        assert_eq!((quantity.to_string().as_str(), quantity.decimals(), quantity.to_i64()), ("2", 0, Some(2)));
        assert_eq!("17.50".parse::<Quantity>().expect("17.5").to_i64(), None);
    }

    #[test]
    fn digits_before_the_point_are_counted() {
        for (text, digits) in [("0", 1), ("0.5", 1), ("10", 2), ("1000000000000", 13), ("-42.5", 2)] {
            assert_eq!(text.parse::<Quantity>().expect(text).integer_digits(), digits, "{text}");
        }
    }
}
