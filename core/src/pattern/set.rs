//! Finds all patterns that match a path, without trying each of them.
//!
//! The behaviors of a hundred distributions have thousands of patterns, and a given path rules out
//! nearly all of them by its beginning or its end. So the patterns are in a radix tree by their text
//! before the first wildcard, and then in one by their text after the last wildcard.

use std::collections::BTreeMap;

use super::tree::Tree;
use super::{Middle, Wildcards};
use crate::path::NormalizedPath;

/// A set of patterns. Each has a number: its index in the list the set was made from.
#[derive(Debug, Default)]
pub struct PatternSet {
    by_beginning: Tree<SameBeginning>,
    /// The numbers of the patterns that match the last path.
    matching: Vec<u32>,
}

/// Patterns that have the same text before their first wildcard.
#[derive(Debug, Default)]
struct SameBeginning {
    without_wildcard: Vec<u32>,
    /// Keyed by the text after their last wildcard, reversed.
    by_ending: Tree<Vec<(u32, Middle)>>,
}

impl PatternSet {
    /// Numbers the patterns from 0, in the given order.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a Wildcards>) -> Self {
        let mut by_beginning: BTreeMap<&str, Vec<(u32, &Wildcards)>> = BTreeMap::new();
        for (number, pattern) in (0..).zip(patterns) {
            let same_beginning = by_beginning.entry(&pattern.beginning).or_default();
            same_beginning.push((number, pattern));
        }
        let by_beginning = by_beginning.into_iter().map(|(text, patterns)| {
            let text = text.as_bytes().to_vec();
            (text, SameBeginning::new(&patterns))
        });
        Self {
            by_beginning: Tree::new(by_beginning.collect()),
            ..Self::default()
        }
    }

    /// The numbers of all patterns that match a path, in any of its forms.
    pub fn matching(&mut self, path: &NormalizedPath<'_>) -> &[u32] {
        self.matching.clear();
        self.add_matching(path.decoded());
        if let Some(encoded) = path.encoded() {
            self.add_matching(encoded);
            self.matching.sort_unstable();
            self.matching.dedup();
        }
        &self.matching
    }

    fn add_matching(&mut self, text: &str) {
        for (length, same_beginning) in self.by_beginning.of(text.bytes()) {
            let rest = text.get(length..).unwrap_or_default();
            if rest.is_empty() {
                self.matching.extend(&same_beginning.without_wildcard);
            }
            for (length, same_ending) in same_beginning.by_ending.of(rest.bytes().rev()) {
                let middle = rest.get(..rest.len() - length).unwrap_or_default();
                let matching = same_ending
                    .iter()
                    .filter(|(_, pattern)| pattern.matches(middle));
                self.matching.extend(matching.map(|(number, _)| number));
            }
        }
    }
}

impl SameBeginning {
    fn new(patterns: &[(u32, &Wildcards)]) -> Self {
        let mut without_wildcard = Vec::new();
        let mut by_ending: BTreeMap<Vec<u8>, Vec<(u32, Middle)>> = BTreeMap::new();
        for (number, pattern) in patterns {
            match &pattern.rest {
                None => without_wildcard.push(*number),
                Some(rest) => {
                    let backwards = rest.ending.bytes().rev().collect();
                    let same_ending = by_ending.entry(backwards).or_default();
                    same_ending.push((*number, rest.middle.clone()));
                }
            }
        }
        Self {
            without_wildcard,
            by_ending: Tree::new(by_ending),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::ViewerPath;
    use crate::pattern::PathPattern;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_numbers_are_those_of_the_patterns_that_match_alone(
            patterns in proptest::collection::vec("/[ab/]{0,4}[ab*?/é]{0,4}", 0..30),
            keys in proptest::collection::vec("/[ab/é]{0,8}", 1..5),
        ) {
            let patterns: Vec<PathPattern> =
                patterns.iter().map(|pattern| PathPattern::new(pattern)).collect();
            let mut set = PatternSet::new(patterns.iter().map(PathPattern::wildcards));
            for key in keys {
                let path = ViewerPath::of_whole_bucket(&key).normalized();
                let mut found = set.matching(&path).to_vec();
                found.sort_unstable();
                let alone = patterns.iter().zip(0..).filter(|(pattern, _)| pattern.matches(&path));
                let alone: Vec<u32> = alone.map(|(_, number)| number).collect();
                prop_assert_eq!(found, alone);
            }
        }
    }
}
