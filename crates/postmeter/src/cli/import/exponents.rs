//! Numbers with an exponent, written out.

/// `1.5E-7` as `0.00000015`: some exports write small numbers so. Anything else is left for a quantity to judge.
pub(super) fn plain(text: &str) -> String {
    let expanded = || {
        let (mantissa, exponent) = text.split_once(['e', 'E'])?;
        let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= 40)?;
        let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let point = i32::try_from(whole.len()).ok()? + exponent;
        let digits = format!("{}{whole}{fraction}", "0".repeat(usize::try_from(1 - point).unwrap_or(0)));
        let point = usize::try_from(point.max(1)).ok()?;
        let digits = format!("{digits:0<point$}");
        Some(format!("{sign}{}.{}0", &digits[..point], &digits[point..]))
    };
    expanded().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use remittance::Quantity;

    use super::*;

    #[test]
    fn exponents_are_written_out_to_the_letter() {
        for (text, expected) in [
            ("1.5E-7", "0.00000015"),
            ("3e2", "300"),
            ("-2.5e+1", "-25"),
            ("1.25e1", "12.5"),
            ("0e0", "0"),
            ("12", "12"),
            ("7.50", "7.5"),
            ("1e0", "1"),
        ] {
            assert_eq!(plain(text).parse::<Quantity>().unwrap().to_string(), expected, "{text}");
        }
        for text in ["e5", "1e", "1e99", "1.2.3e4", "NaN", "--1e2", "1e-40"] {
            assert!(plain(text).parse::<Quantity>().is_err(), "{text}");
        }
    }
}
