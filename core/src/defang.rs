//! Texts from outside in a mail, where programs make links of what looks like one.

use std::iter::Peekable;
use std::str::Chars;

use crate::text::one_line;

/// The beginning of a text on one line, with brackets around what would make a link of it: `http[:]//evil[.]example`,
/// `a[@]b`. Names of files, such as `/news/1.html`, stay as they are.
pub fn defanged(text: &str, max: usize) -> String {
    let line = one_line(text, max);
    let mut defanged = String::with_capacity(line.len());
    let mut before = ' ';
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        let makes_a_link = match c {
            '@' => true,
            // A scheme, or a port after a host.
            ':' => rest.peek().is_some_and(|next| !next.is_whitespace()),
            '.' => {
                let may_be_of_a_host = before.is_alphanumeric() && may_be_of_a_host(rest.clone());
                may_be_of_a_host || ends_with_www(&defanged)
            }
            _ => false,
        };
        match makes_a_link {
            true => defanged.extend(['[', c, ']']),
            false => defanged.push(c),
        }
        before = c;
    }
    defanged
}

/// The endings of files on the web that no top-level domain is called.
const FILES: &[&str] = &[
    "avif", "css", "csv", "gif", "gz", "htm", "html", "ico", "jpeg", "jpg", "js", "json", "map",
    "mjs", "mp3", "mp4", "otf", "pdf", "png", "svg", "ttf", "txt", "wasm", "webm", "webp", "woff",
    "woff2", "xml",
];

/// Whether what follows a dot may be a label of a host, as `example` in `www.example`. An ending of a file is
/// none.
fn may_be_of_a_host(rest: Peekable<Chars<'_>>) -> bool {
    let label: String = rest
        .take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '%'))
        .collect();
    let begins_with_letter = label.starts_with(|c: char| !c.is_ascii_digit());
    begins_with_letter && !FILES.contains(&label.to_ascii_lowercase().as_str())
}

fn ends_with_www(text: &str) -> bool {
    let last = text.len().saturating_sub(3);
    text.get(last..)
        .is_some_and(|end| end.eq_ignore_ascii_case("www"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_looks_like_a_link_is_none() {
        for (text, expected) in [
            ("http://evil", "http[:]//evil"),
            (
                "https://www.evil.example/pay?a=b",
                "https[:]//www[.]evil[.]example/pay?a=b",
            ),
            ("WWW.1evil", "WWW[.]1evil"),
            ("www.evil.com", "www[.]evil[.]com"),
            ("/evil.com", "/evil[.]com"),
            ("/evil.html.com", "/evil.html[.]com"),
            ("/evil.zip", "/evil[.]zip"),
            ("evil.xn--p1ai", "evil[.]xn--p1ai"),
            ("évil.рф", "évil[.]рф"),
            ("mailto:a@evil.com", "mailto[:]a[@]evil[.]com"),
            ("javascript:alert(1)", "javascript[:]alert(1)"),
            ("evil.com:8080", "evil[.]com[:]8080"),
            ("\u{202e}moc.live", "\\u{202e}moc[.]live"),
            // What is none stays as it is.
            ("/index.html", "/index.html"),
            ("/news/1.HTML", "/news/1.HTML"),
            ("/app.3f9a.js", "/app.3f9a.js"),
            ("/v1.2.3/*", "/v1.2.3/*"),
            ("group E1/paths: not a set", "group E1/paths: not a set"),
            ("the end.", "the end."),
            ("", ""),
        ] {
            assert_eq!(defanged(text, 100), expected);
        }
        assert_eq!(defanged("a.com", 1), "a…");
    }

    proptest! {
        #[test]
        fn no_text_becomes_a_link(text in "([a-zé.:/@ -]|www|http|://|com|html){0,40}") {
            let defanged = defanged(&text, 1_000);
            let forms = ["://", "www.", "tel:", "mailto:"];
            prop_assert!(!forms.iter().any(|form| defanged.contains(form)), "{defanged}");
            let hosts = [".com", ".é", "@"];
            for (at, host) in hosts.iter().flat_map(|host| defanged.match_indices(host)) {
                let before = defanged[..at].chars().next_back();
                let is_broken = before == Some('[') || !before.is_some_and(char::is_alphanumeric);
                prop_assert!(is_broken && (host != "@" || before == Some('[')), "{defanged}");
            }
            prop_assert_eq!(defanged.replace("[:]", ":").replace("[.]", ".").replace("[@]", "@"), text);
        }
    }
}
