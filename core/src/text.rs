//! Texts from outside, made safe to show.
//!
//! Whoever may upload objects chooses their keys, and whoever may write messages, tags or files chooses
//! what is in them. A terminal or a mail program would obey some characters instead of showing them:
//! they change colors and titles, invent lines, or turn the direction of the text.

use std::fmt::{self, Write};

/// Whether a program may obey a character instead of showing it.
///
/// Sources: Unicode general categories Cc, Zl and Zp; the bidirectional controls of UAX #9; the marks
/// without width that hide a difference.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{2069}' | '\u{61c}' | '\u{feff}')
}

/// A value whose text comes from outside. It is shown on one line, with everything escaped that a
/// program may obey.
#[derive(Clone, Copy, Debug)]
pub struct Shown<T>(pub T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'f, 'b>(&'f mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_obeyed(*c)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", c.escape_unicode())?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// The same for a text, cut after `max` characters.
pub fn one_line(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", Shown(&text[..end])),
        None => Shown(text).to_string(),
    }
}

/// Escapes the same characters in a JSON text, as JSON does. A JSON text has them inside strings only,
/// except for the line breaks between its values.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c != '\n' && is_obeyed(c) {
            true => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            false => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_from_outside_can_not_command_a_terminal() {
        for (text, expected) in [
            ("plain /한 글.html", "plain /한 글.html"),
            ("a\r\nb\tc", "a\\u{d}\\u{a}b\\u{9}c"),
            ("\u{1b}[31mred\u{7f}\u{9b}", "\\u{1b}[31mred\\u{7f}\\u{9b}"),
            ("exe\u{202e}txt\u{2028}", "exe\\u{202e}txt\\u{2028}"),
            ("\0", "\\u{0}"),
        ] {
            assert_eq!(one_line(text, 100), expected);
            assert_eq!(Shown(text).to_string(), expected);
        }
        assert_eq!(one_line("한글한글", 2), "한글…");
        assert_eq!(one_line("한글", 2), "한글");
    }

    proptest! {
        #[test]
        fn json_with_escapes_means_the_same(text in any::<String>()) {
            let json = serde_json::to_string_pretty(&[&text]).unwrap();
            let escaped = escape_json(&json);
            prop_assert!(!escaped.chars().any(|c| c != '\n' && is_obeyed(c)));
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
        }
    }
}
