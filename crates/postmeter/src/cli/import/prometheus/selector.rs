//! Which text names series and does nothing else: what is asked for is samples, so an expression would not do.
//!
//! Prometheus refuses `(a + b)[1h]`, but VictoriaMetrics takes it, and answers with values that nobody scraped.

use std::str::FromStr;

/// A selector: a metric's name, label matchers in braces, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector(pub String);

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        let name = text.bytes().take_while(|byte| is_name(*byte)).count();
        let rest = text[name..].trim_start();
        let wrong = "names no series: a metric, or a selector such as cores{job=\"db\"}; Postmeter does the arithmetic";
        let is_good = !text.is_empty()
            && !text.as_bytes()[0].is_ascii_digit()
            && (rest.is_empty() || rest.starts_with('{') && end_of_braces(rest) == Some(rest.len()));
        if is_good { Ok(Self(text.to_owned())) } else { Err(format!("{text:?} {wrong}")) }
    }
}

/// Where the braces end that a text begins with; texts in quotes may hold some.
fn end_of_braces(text: &str) -> Option<usize> {
    let mut quoted = None;
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match quoted {
            Some(_) if is_escaped => is_escaped = false,
            Some(quote) if letter == quote => quoted = None,
            Some(quote) => is_escaped = letter == '\\' && quote != '`',
            None => match letter {
                '"' | '\'' | '`' => quoted = Some(letter),
                '{' | '[' | '(' => return None,
                '}' => return Some(at + 1),
                _ => {}
            },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l7_only_a_selector_is_one() {
        for good in
            ["cores", "job:cores:sum", " cores{job=\"db\"} ", "{__name__=\"cores\", a='}'}", "cores {a=~`[x]{2}\\`}"]
        {
            assert!(good.parse::<Selector>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "sum(cores)",
            "rate(cores[5m])",
            "cores[1h]",
            "cores{a=\"b\"}[1h]",
            "cores offset 5m",
            "cores{a=\"b\"} * 2",
            "8",
            "cores + cores",
            "cores{a=\"b\"",
            "cores{a=\"b\"}{c=\"d\"}",
            "(cores)",
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
