//! Texts from outside, made safe to show.
//!
//! Whoever may upload objects chooses their keys, and whoever may write messages, tags or files chooses
//! what is in them. A terminal or a mail program would obey some characters instead of showing them:
//! they change colors and titles, invent lines, or turn the direction of the text. Other characters are
//! not shown at all, so that two keys look alike.
//!
//! * [`Shown`] and [`one_line`] escape a text that becomes part of a line.
//! * [`Lines`] is a whole output or mail. What is added to it cannot end a line, so nothing can invent one.
//! * [`escape_json`] does the same for JSON, of which serde_json escapes only C0.

use std::fmt::{self, Write};

use serde::Serialize;

/// Whether a program may obey a character, or hide it, instead of showing it.
///
/// Sources: Unicode's general categories Cc, Cf, Zl and Zp, and its property Default_Ignorable_Code_Point
/// (DerivedCoreProperties.txt, version 16).
fn is_obeyed(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(c,
            // Zl, Zp and Cf, with the bidirectional controls and the marks without width.
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            // Ignored by default: fillers and variation selectors.
            | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}')
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

/// Escapes what is written through it.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
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

/// A text of lines for a terminal or a mail. Its line breaks are its own: those in what is added are
/// escaped, as is everything else that a program may obey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(String);

impl Lines {
    /// A text without lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    pub fn line(&mut self, line: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(Escaping(&mut self.0), "{line}");
        self.0.push('\n');
    }

    /// A value as indented JSON.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn of_json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let json = serde_json::to_string_pretty(value)?;
        Ok(Self(escape_json(&json) + "\n"))
    }

    /// The whole text, ending with a line break unless it is empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Lines> for String {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

/// Escapes the same characters in a JSON text, as JSON does. A JSON text has them inside strings only,
/// except for the line breaks between its values.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_obeyed(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::string::string_regex;

    #[test]
    fn text_from_outside_can_not_command_a_terminal() {
        for (text, expected) in [
            ("plain /한 글.html", "plain /한 글.html"),
            ("a\r\nb\tc", "a\\u{d}\\u{a}b\\u{9}c"),
            ("\u{1b}[31mred\u{7f}\u{9b}", "\\u{1b}[31mred\\u{7f}\\u{9b}"),
            ("exe\u{202e}txt\u{2028}", "exe\\u{202e}txt\\u{2028}"),
            ("a\u{fe0f}\u{e0041}b", "a\\u{fe0f}\\u{e0041}b"),
            ("\0", "\\u{0}"),
        ] {
            assert_eq!(one_line(text, 100), expected);
            assert_eq!(Shown(text).to_string(), expected);
            let mut lines = Lines::new();
            lines.line(format_args!("{text}!"));
            lines.line("");
            assert_eq!(lines.as_str(), format!("{expected}!\n\n"));
        }
        assert_eq!(one_line("한글한글", 2), "한글…");
        assert_eq!(one_line("한글", 2), "한글");
    }

    #[test]
    fn a_character_beyond_the_first_plane_is_two_escapes_in_json() {
        assert_eq!(escape_json("\"\u{e0041}\""), "\"\\udb40\\udc41\"");
    }

    /// Any text of these characters, by the tables of `regex-syntax`.
    fn of(classes: &str) -> impl Strategy<Value = String> {
        string_regex(&format!("[{classes}]{{1,8}}")).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_unicode_calls_control_format_or_ignorable_is_escaped(
            text in prop_oneof![of(r"\p{Cf}"), of(r"\p{Cc}\p{Zl}\p{Zp}"), of(r"\p{Default_Ignorable_Code_Point}")],
        ) {
            prop_assert!(Shown(&text).to_string().is_ascii(), "{text:?}");
            prop_assert!(text.chars().all(is_obeyed), "{text:?}");
        }

        #[test]
        fn what_can_be_seen_is_not_escaped(text in of(r"\p{L}\p{N}\p{P}\p{S}\p{Zs}--\p{Default_Ignorable_Code_Point}")) {
            prop_assert_eq!(Shown(&text).to_string(), text);
        }

        #[test]
        fn json_with_escapes_means_the_same(text in any::<String>()) {
            let json = Lines::of_json(&[&text]).unwrap();
            prop_assert!(!json.as_str().chars().any(|c| c != '\n' && is_obeyed(c)));
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(json.as_str()).unwrap(), [text]);
        }
    }
}
