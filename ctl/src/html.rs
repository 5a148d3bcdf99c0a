//! Pages of HTML: whole in one file, without a script, and without anything that is loaded from elsewhere.
//!
//! Whoever may upload chooses keys, and whoever may invalidate chooses caller references. So a page is made
//! of [`markup::Html`], to which a text can only be added escaped.
//!
//! * [`markup`]: text and elements
//! * [`table`]: a table
//! * [`chart`]: charts as SVG

pub mod chart;
pub mod markup;
pub mod table;

use markup::Html;

/// Nothing may be loaded or run, whatever the page holds.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("html/style.css");

/// A whole page.
pub fn page(title: &str, body: impl FnOnce(&mut Html)) -> String {
    let mut head = Html::default();
    head.open("meta", &[("charset", &"utf-8")]);
    head.open(
        "meta",
        &[
            ("http-equiv", &"Content-Security-Policy"),
            ("content", &POLICY),
        ],
    );
    head.open(
        "meta",
        &[
            ("name", &"viewport"),
            ("content", &"width=device-width, initial-scale=1"),
        ],
    );
    head.open(
        "meta",
        &[("name", &"color-scheme"), ("content", &"light dark")],
    );
    head.line("title", &[], title);
    let mut main = Html::default();
    main.element("main", &[], body);
    let (head, main) = (head.into_string(), main.into_string());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>{head}\n<style>\n{STYLE}</style>\n</head>\n<body>\n{main}\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_loads_nothing_and_ends_where_it_should() {
        for forbidden in ["@import", "url(", "</", "expression"] {
            assert!(!STYLE.contains(forbidden), "{forbidden}");
        }
    }
}
