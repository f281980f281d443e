//! What others wrote, made plain: no character of it moves a cursor, ends a line or turns the text around it.

use std::borrow::Cow;

/// Characters that do something instead of being seen: controls (C0, DEL, C1), separators of lines and paragraphs, and
/// Unicode's format characters (category Cf): overrides of direction, joiners, marks that are not shown, tags.
pub const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// A line for people: what is not seen is written as Rust writes it, `\n`, `\u{1b}`.
pub fn plain(text: &str) -> Cow<'_, str> {
    replaced(text, |c, out| out.extend(c.escape_default()))
}

/// JSON or TOML that means the same: inside its strings what is not seen is written as `\u001b`. Both forbid such
/// characters elsewhere, but for line ends, which stay.
pub fn plain_in_strings(text: &str, beyond_bmp: impl Fn(char, &mut String)) -> Cow<'_, str> {
    replaced(text, |c, out| match c {
        '\n' => out.push(c),
        '\0'..='\u{ffff}' => *out += &format!("\\u{:04x}", u32::from(c)),
        _ => beyond_bmp(c, out),
    })
}

/// JSON's way beyond the basic plane: a pair of surrogates.
pub fn plain_json(text: &str) -> Cow<'_, str> {
    plain_in_strings(text, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            *out += &format!("\\u{unit:04x}");
        }
    })
}

fn replaced(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unseen(c) { write(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_what_is_not_seen_is_written_out_and_the_rest_stays() {
        let said = plain("größer → 7\u{301} \u{1b}[2K\rheld\nnothing\u{9b}31m\u{202e}x\u{2028}\u{e0041}\u{7f}");
        assert_eq!(said, "größer → 7\u{301} \\u{1b}[2K\\rheld\\nnothing\\u{9b}31m\\u{202e}x\\u{2028}\\u{e0041}\\u{7f}");
        assert!(matches!(plain("as it is: ä, 日本, 🦀"), Cow::Borrowed(_)));
    }

    #[test]
    fn l1_json_means_the_same_afterwards() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}\u{202e}\u{e0041}\n\"é" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let plain = plain_json(&text);
        assert!(!plain.contains(|c| is_unseen(c) && c != '\n'), "{plain:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&plain).unwrap(), value);
    }
}
