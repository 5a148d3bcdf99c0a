//! Path patterns of CloudFront behaviors: `*` is any run of characters, `/` included, `?` is
//! exactly one, everything else is literal, and a leading `/` is implied.
//!
//! Source: CloudFront Developer Guide, "Cache behavior settings", "Path pattern".
//!
//! Glob libraries have other rules (`[a-z]`, `{a,b}`, `**`, `?` as one *byte*), and a library that compiles
//! a pattern to an automaton would be larger than the function. `tests/globset.rs` escapes what is
//! special to `globset`, and compares it with our matcher.

mod general;
mod radix_tree;
pub mod set;

use std::fmt;

use crate::path::NormalizedPath;

/// A compiled path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    configured: String,
    wildcards: Wildcards,
}

impl PathPattern {
    /// Compiles a pattern from the distribution's configuration. Any text is a valid pattern.
    pub fn new(configured: &str) -> Self {
        let path = if configured.starts_with('/') {
            configured.to_owned()
        } else {
            format!("/{configured}")
        };
        Self {
            configured: configured.to_owned(),
            wildcards: Wildcards::new(&path),
        }
    }

    /// The pattern with its leading `/`.
    pub fn wildcards(&self) -> &Wildcards {
        &self.wildcards
    }

    /// Whether the pattern may match any path that begins with `prefix`. Up to its first `*` a pattern
    /// matches in one way only, and from there on it matches anything.
    pub fn may_match_below(&self, prefix: &NormalizedPath<'_>) -> bool {
        let encoded = prefix.encoded();
        self.may_begin_with(prefix.decoded())
            || encoded.is_some_and(|encoded| self.may_begin_with(encoded))
    }

    fn may_begin_with(&self, prefix: &str) -> bool {
        let slash = (!self.configured.starts_with('/')).then_some('/');
        let mut pattern = slash.into_iter().chain(self.configured.chars());
        for character in prefix.chars() {
            match pattern.next() {
                Some('*') => return true,
                Some(expected) if expected == '?' || expected == character => {}
                _ => return false,
            }
        }
        true
    }

    /// Whether the pattern matches all paths that begin with `prefix`, as `/img/*` does for `/img/new/`:
    /// it matches the prefix, and the `*` at its end takes the rest.
    pub fn matches_all_below(&self, prefix: &NormalizedPath<'_>) -> bool {
        self.configured.ends_with('*') && self.matches(prefix)
    }

    /// Whether a behavior with this pattern matches this path.
    ///
    /// AWS does not say whether `?` stands for one character of the encoded path (`%20` has three) or
    /// of the decoded one (a space), so a match of either counts.
    pub fn matches(&self, path: &NormalizedPath<'_>) -> bool {
        self.wildcards.match_text(path.decoded())
            || path
                .encoded()
                .is_some_and(|encoded| self.wildcards.match_text(encoded))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.configured)
    }
}

/// A text with the wildcards `*` and `?` that must match the whole of another text.
///
/// ```
/// use invalidator_core::pattern::Wildcards;
///
/// assert!(Wildcards::new("img/*.jp?g").match_text("img/2026/a.jpeg"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wildcards {
    /// The text before the first wildcard.
    beginning: String,
    /// The rest, if there is a wildcard.
    rest: Option<Rest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rest {
    /// From the first wildcard to the last.
    middle: Middle,
    /// The text after the last wildcard.
    ending: String,
}

/// A text that begins with a wildcard and ends with one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Middle {
    /// A single `*`, as in nearly all patterns: `/img/*` and `*.jpg`.
    Anything,
    /// A text between two `*`: `/*/thumbs/*`.
    Holds(String),
    Any(String),
}

impl Wildcards {
    /// Compiles a text. Any text is valid.
    pub fn new(text: &str) -> Self {
        let (beginning, rest) = text.split_at(text.find(['*', '?']).unwrap_or(text.len()));
        let rest = rest.rfind(['*', '?']).map(|last| {
            let (middle, ending) = rest.split_at(last + 1);
            Rest {
                middle: Middle::new(middle),
                ending: ending.to_owned(),
            }
        });
        Self {
            beginning: beginning.to_owned(),
            rest,
        }
    }

    /// Whether `text` as a whole matches.
    pub fn match_text(&self, text: &str) -> bool {
        let Some(text) = text.strip_prefix(&self.beginning) else {
            return false;
        };
        match &self.rest {
            None => text.is_empty(),
            Some(Rest { middle, ending }) => text
                .strip_suffix(ending.as_str())
                .is_some_and(|text| middle.matches(text)),
        }
    }
}

impl Middle {
    fn new(text: &str) -> Self {
        let inside = text
            .strip_prefix('*')
            .and_then(|text| text.strip_suffix('*'));
        match inside {
            _ if text == "*" => Self::Anything,
            Some(inside) if !inside.contains(['*', '?']) => Self::Holds(inside.to_owned()),
            _ => Self::Any(text.to_owned()),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Holds(inside) => text.contains(inside),
            Self::Any(pattern) => general::matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::ViewerPath;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let path = ViewerPath::of_whole_bucket(path);
        PathPattern::new(pattern).matches(&path.normalized())
    }

    /// Each row: pattern, path, whether it matches. Source: Developer Guide, "Path pattern".
    #[test]
    fn patterns_match_as_cloudfront_documents_them() {
        for (pattern, path, expected) in [
            // Literal, case-sensitive, the leading slash implied.
            ("/a.jpg", "/a.jpg", true),
            ("a.jpg", "/a.jpg", true),
            ("/a.jpg", "/A.jpg", false),
            ("/a.jpg", "/a.jpg/", false),
            ("/a", "/ab", false),
            // `*` is any run of characters, also an empty one, and includes slashes.
            ("*", "/", true),
            ("/*", "/", true),
            ("/img/*", "/img/", true),
            ("/img/*", "/img/a/b.jpg", true),
            ("/img/*", "/img", false),
            ("img*", "/img", true),
            ("*.jpg", "/a/b.jpg", true),
            ("*.jpg", "/.jpg", true),
            ("*.jpg", "/a.jpg.bak", false),
            ("/a*a", "/a", false),
            ("/a*a", "/aa", true),
            ("/a/*/b", "/a/b", false),
            ("/a/*/b", "/a/x/y/b", true),
            ("/a/**/b", "/a/b", false),
            ("/a/**/b", "/a//b", false),
            ("/**", "/a/b", true),
            ("*/x", "/x", false),
            ("*/x", "/a/x", true),
            ("/*a*b*c", "/xaxbxbxc", true),
            ("/*a*b*c", "/xaxcxb", false),
            // `?` is exactly one character.
            ("/a?.jpg", "/ab.jpg", true),
            ("/a?.jpg", "/a.jpg", false),
            ("/a?.jpg", "/abc.jpg", false),
            ("/a?b", "/a/b", true),
            ("/?", "/한", true),
            ("/??", "/한", false),
            ("/?????????", "/한", true),
            ("/a?b", "/a b", true),
            ("/a???b", "/a b", true),
            ("/*?", "/", false),
            ("/*?.jpg", "/한.jpg", true),
            // The encoded path counts too.
            ("/%ED%95%9C", "/한", true),
            ("/a%20b", "/a b", true),
            ("/a%20b", "/a%20b", true),
            ("/a%2520b", "/a%20b", true),
            ("/c%2B%2B", "/c++", true),
            ("/a%3Fb", "/a?b", true),
            ("/a", "/a?b", false),
            ("", "/", true),
            ("/a/", "/a/.", true),
            ("/x", "/a/../x", true),
            // Nothing else is special.
            ("/[ab]", "/a", false),
            ("/[ab]", "/[ab]", true),
            ("/{a,b}", "/a", false),
            ("/{a,b}", "/{a,b}", true),
            ("/a[", "/a[", true),
            ("/!a", "/!a", true),
            ("/a\\*", "/a\\bc", true),
            ("/$~\"'@:+&", "/$~\"'@:+&", true),
            // The normalized path is compared.
            ("/a/b", "/a//b", true),
            ("/a/b", "/a/./c/../b", true),
            ("/a//b", "/a//b", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} with {path}");
        }
    }

    #[test]
    fn a_pattern_may_match_below_a_folder_if_any_path_there_matches() {
        for (pattern, folder, any, all) in [
            ("/api/*", "/api/", true, true),
            ("/api/*", "/api/v1/", true, true),
            ("api/*", "/", true, false),
            ("*.jpg", "/img/", true, false),
            ("/a*", "/a/b/", true, true),
            ("*", "/", true, true),
            ("/*/thumbs/*", "/a/", true, false),
            ("/*/thumbs/*", "/a/thumbs/", true, true),
            ("/a?/x", "/ab/", true, false),
            ("/a?/x", "/abc/", false, false),
            ("/a?", "/a/", true, false),
            ("/a", "/a/", false, false),
            ("/a/b/c", "/a/", true, false),
            ("/b*", "/a/", false, false),
            ("/a%20b/*", "/a b/", true, true),
            ("/a?b/*", "/a b/", true, true),
            ("/é*", "/é/", true, true),
        ] {
            let pattern = PathPattern::new(pattern);
            let folder = ViewerPath::of_whole_bucket(folder).normalized();
            let found = (
                pattern.may_match_below(&folder),
                pattern.matches_all_below(&folder),
            );
            assert_eq!(found, (any, all), "{pattern} {folder:?}");
        }
    }

    proptest! {
        #[test]
        fn what_may_match_below_a_folder_is_what_some_path_there_matches(
            pattern in "/[a/*?]{0,3}",
            folder in "(/[ab]{1,2}){0,2}/",
        ) {
            let pattern = PathPattern::new(&pattern);
            let normalized = ViewerPath::of_whole_bucket(&folder).normalized();
            let any = pattern.may_match_below(&normalized);
            let all = pattern.matches_all_below(&normalized);
            let mut below = vec![folder];
            for _ in 0..3 {
                let longer = below.iter().flat_map(|path| ["a", "b", "/"].map(|c| format!("{path}{c}")));
                let longer: Vec<String> = longer.collect();
                below.extend(longer);
            }
            let matching = below.iter().filter(|path| pattern.wildcards.match_text(path));
            let matching = matching.count();
            prop_assert_eq!(any, matching > 0);
            prop_assert!(!all || matching == below.len());
        }
    }

    #[test]
    fn a_pattern_of_many_stars_does_not_take_exponential_time() {
        let pattern = format!("/{}b", "a*".repeat(120));
        assert!(!matches(&pattern, &format!("/{}", "a".repeat(1_000))));
    }
}
