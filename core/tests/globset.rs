//! `globset`, ripgrep's, as an independent judge of our patterns.
//!
//! Told as below it has CloudFront's rules but for one: its `?` is a byte, ours is a character. So
//! patterns with `?` meet ASCII here; `?` with other characters has rows in `core/src/pattern.rs`.
#![allow(clippy::unwrap_used)]

use globset::{GlobBuilder, GlobMatcher};
use invalidator_core::pattern::Wildcards;
use proptest::prelude::*;
use proptest::string::string_regex;

/// Our pattern in the language of `globset`.
fn glob(pattern: &str) -> GlobMatcher {
    let mut escaped = String::new();
    let mut last = None;
    for character in pattern.chars() {
        match character {
            // To `globset` a run of them is something else.
            '*' if last == Some('*') => {}
            '[' | ']' | '{' | '}' | '\\' => escaped.extend(['\\', character]),
            _ => escaped.push(character),
        }
        last = Some(character);
    }
    GlobBuilder::new(&escaped)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .unwrap()
        .compile_matcher()
}

/// A pattern, and a text that is made to match it. `characters` is a class of a regular expression.
fn pattern_and_text(
    characters: &'static str,
    with_question_mark: bool,
) -> impl Strategy<Value = (String, String)> {
    let same = |text: String| (text.clone(), text);
    let run = string_regex(&format!("{characters}{{0,3}}")).unwrap();
    let part = prop_oneof![
        characters.prop_map(same),
        run.prop_map(|text| ("*".to_owned(), text)),
        characters.prop_map(move |text| match with_question_mark {
            true => ("?".to_owned(), text),
            false => same(text),
        }),
    ];
    proptest::collection::vec(part, 0..10).prop_map(|parts| parts.into_iter().unzip())
}

/// A pattern of long runs that the text repeats, which a greedy search compares again and again; and a text
/// that it matches.
fn slow_pattern_and_text() -> impl Strategy<Value = (String, String)> {
    let run = |pattern: &'static str, text: &'static str| {
        (1..40_usize).prop_map(move |length| (pattern.repeat(length), text.repeat(length)))
    };
    let part = prop_oneof![
        3 => run("a", "a"),
        1 => run("?", "a"),
        1 => run("aab", "aab"),
        1 => run("a?", "ab"),
        2 => "[ab]{0,60}".prop_map(|text| ("*".to_owned(), text)),
    ];
    proptest::collection::vec(part, 3..9).prop_map(|parts| parts.into_iter().unzip())
}

/// The text, the text without one of its characters, and another text.
fn texts(text: &str, without: prop::sample::Index, other: String) -> [String; 3] {
    let mut shorter: Vec<char> = text.chars().collect();
    if !shorter.is_empty() {
        shorter.remove(without.index(shorter.len()));
    }
    [text.to_owned(), shorter.into_iter().collect(), other]
}

fn agree(pattern: &str, texts: &[String]) -> Result<(), TestCaseError> {
    let ours = Wildcards::new(pattern);
    let judge = glob(pattern);
    prop_assert!(judge.is_match(&texts[0]), "{pattern} {:?}", texts[0]);
    for text in texts {
        let (ours, judged) = (ours.match_text(text), judge.is_match(text));
        prop_assert_eq!(ours, judged, "{} {:?}", pattern, text);
    }
    Ok(())
}

/// What `glob` above is needed for, and where it does not help.
#[test]
fn globset_left_alone_is_not_cloudfront() {
    for (pattern, text, alone, cloudfront) in [
        ("{a,b}", "a", Some(true), false),
        ("[ab]", "a", Some(true), false),
        ("a[", "a[", None, true),
        ("/a/**/b", "/a/b", Some(true), false),
        ("?", "é", Some(false), true),
    ] {
        let glob = globset::Glob::new(pattern).ok();
        let matches = glob.map(|glob| glob.compile_matcher().is_match(text));
        assert_eq!(matches, alone, "{pattern} {text}");
        let ours = Wildcards::new(pattern).match_text(text);
        assert_eq!(ours, cloudfront, "{pattern} {text}");
    }
}

const ASCII: &str = r"[aab/./\[\]{},!^\-\\\n ]";
const UNICODE: &str = r"[ab/é한\[\]{}\\]";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn globset_agrees_on_all_wildcards_in_ascii(
        (pattern, text) in pattern_and_text(ASCII, true),
        without: prop::sample::Index,
        other in "[ab/]{0,8}",
    ) {
        agree(&pattern, &texts(&text, without, other))?;
    }

    #[test]
    fn globset_agrees_on_patterns_that_a_greedy_search_is_slow_with(
        (pattern, text) in slow_pattern_and_text(),
        without: prop::sample::Index,
        other in "a{0,200}b?a{0,200}",
    ) {
        agree(&pattern, &texts(&text, without, other))?;
    }

    #[test]
    fn globset_agrees_on_stars_in_unicode(
        (pattern, text) in pattern_and_text(UNICODE, false),
        without: prop::sample::Index,
        other in "[aé한/]{0,8}",
    ) {
        agree(&pattern, &texts(&text, without, other))?;
    }
}
