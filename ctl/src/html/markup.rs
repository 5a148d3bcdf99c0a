//! Text and elements. A text can only be added escaped.

use std::fmt::{self, Display, Write};

use invalidator_core::text::Shown;

/// A part of a page.
#[derive(Clone, Debug, Default)]
pub struct Html(String);

/// Attributes of an element.
pub type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

impl Html {
    /// What was added.
    pub fn into_string(self) -> String {
        self.0
    }

    /// Adds a text.
    pub fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(Escaping(&mut self.0), "{}", Shown(text));
        self
    }

    /// Adds an element.
    pub fn element(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self),
    ) -> &mut Self {
        self.open(name, attributes);
        content(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        self
    }

    /// Adds an element of text.
    pub fn line(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        text: impl Display,
    ) -> &mut Self {
        self.element(name, attributes, |it| {
            it.text(text);
        })
    }

    /// Adds the begin of an element, which may be all of it.
    pub fn open(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.0.push('<');
        self.0.push_str(name);
        for (attribute, value) in attributes {
            self.0.push(' ');
            self.0.push_str(attribute);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
    }
}

/// Escapes what HTML has a meaning for, in texts and in attributes.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_a_text_whatever_it_holds() {
        let hostile = "</td><script>alert(1)</script>\" onload='x' &amp; \u{202e}\u{1b}[31m\n";
        let mut html = Html::default();
        html.line("td", &[("title", &hostile)], hostile);
        let html = html.into_string();
        let escaped = "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp;amp; \\u{202e}\\u{1b}[31m\\u{a}";
        assert_eq!(html, format!("<td title=\"{escaped}\">{escaped}</td>"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_added_opens_or_ends_an_element(text in any::<String>()) {
            let mut html = Html::default();
            html.text(&text);
            prop_assert!(!html.0.contains(['<', '>', '"', '\'', '\n']));
            for entity in html.0.split('&').skip(1) {
                let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
                prop_assert!(known.iter().any(|it| entity.starts_with(it)), "{}", entity);
            }
        }
    }
}
