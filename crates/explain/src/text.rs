//! Times, spans and amounts in words for people. Programs get the exact values.

use jiff::Timestamp;

/// `2024-09-18 10:05:00 UTC`.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `2024-09-18 10:00 UTC`: for hours and deadlines.
pub fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `5 h 10 min`: the two largest units.
pub fn span(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |large: i64, unit: &str, small: i64, smaller: &str| {
        if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {smaller}") }
    };
    match seconds {
        86_400.. => two(days, "d", hours, "h"),
        3600.. => two(hours, "h", minutes, "min"),
        60.. => two(minutes, "min", seconds % 60, "s"),
        _ => format!("{seconds} s"),
    }
}

/// `in 5 h 10 min`, `20 s ago`, `now`.
pub fn from_now(now: Timestamp, at: Timestamp) -> String {
    match at.as_second() - now.as_second() {
        0 => "now".to_owned(),
        ahead @ 1.. => format!("in {}", span(ahead)),
        past => format!("{} ago", span(-past)),
    }
}

/// `12.5 USD`; `unpriced` where there is no price, which is not zero.
pub fn amount(amount: Option<&str>, currency: Option<&str>) -> String {
    match (amount, currency) {
        (Some(amount), Some(currency)) => format!("{amount} {currency}"),
        (None, Some(_)) => "-".to_owned(),
        _ => "unpriced".to_owned(),
    }
}

/// `1 usage`, `3 usages`.
pub fn count(number: i64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Cuts a text that would break the table it stands in.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_their_two_largest_units() {
        let words: Vec<String> = [0, 59, 60, 61, 3600, 3660, 86_399, 90_000, 864_000].into_iter().map(span).collect();
        assert_eq!(words, ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "23 h 59 min", "1 d 1 h", "10 d"]);
    }

    #[test]
    fn unpriced_is_not_zero() {
        assert_eq!(amount(None, None), "unpriced");
        assert_eq!(amount(Some("0"), Some("USD")), "0 USD");
        assert_eq!(amount(None, Some("USD")), "-", "priced, but not cut yet");
    }
}
