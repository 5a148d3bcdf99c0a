//! Matches a path against many patterns at once.
//!
//! The behaviors of a hundred distributions have thousands of patterns. Nearly all of them begin or
//! end with a text that a given path does not begin or end with. So one radix tree finds them by
//! their text before the first wildcard, and another by their text after the last one.

use std::collections::BTreeMap;

use super::radix_tree::RadixTree;
use super::{Middle, Wildcards};
use crate::index::index;
use crate::path::NormalizedPath;

index! {
    /// The place of a pattern in the list that a [`PatternSet`] was made from.
    PatternIndex
}

/// Patterns that can be matched at once.
#[derive(Debug, Default)]
pub struct PatternSet {
    by_beginning: RadixTree<SameBeginning>,
    /// The patterns that match the last path.
    matching: Vec<PatternIndex>,
}

/// Patterns that have the same text before their first wildcard.
#[derive(Debug, Default)]
struct SameBeginning {
    without_wildcard: Vec<PatternIndex>,
    /// By the text after their last wildcard, backwards.
    by_ending: RadixTree<Vec<(PatternIndex, Middle)>>,
}

impl PatternSet {
    /// Takes patterns in the order of their indices.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a Wildcards>) -> Self {
        let mut by_beginning: BTreeMap<&str, Vec<(PatternIndex, &Wildcards)>> = BTreeMap::new();
        for (place, pattern) in patterns.into_iter().enumerate() {
            let same_beginning = by_beginning.entry(&pattern.beginning).or_default();
            same_beginning.push((PatternIndex::new(place), pattern));
        }
        let by_beginning = by_beginning.into_iter().map(|(text, patterns)| {
            let text = text.as_bytes().to_vec();
            (text, SameBeginning::new(&patterns))
        });
        Self {
            by_beginning: RadixTree::new(by_beginning.collect()),
            ..Self::default()
        }
    }

    /// All patterns that match a path, in any of its forms.
    pub fn matching(&mut self, path: &NormalizedPath<'_>) -> &[PatternIndex] {
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
        for (length, same_beginning) in self.by_beginning.prefixes_of(text.bytes()) {
            let rest = text.get(length..).unwrap_or_default();
            if rest.is_empty() {
                self.matching.extend(&same_beginning.without_wildcard);
            }
            for (length, same_ending) in same_beginning.by_ending.prefixes_of(rest.bytes().rev()) {
                let middle = rest.get(..rest.len() - length).unwrap_or_default();
                let matching = same_ending
                    .iter()
                    .filter(|(_, pattern)| pattern.matches(middle));
                self.matching.extend(matching.map(|(index, _)| *index));
            }
        }
    }
}

impl SameBeginning {
    fn new(patterns: &[(PatternIndex, &Wildcards)]) -> Self {
        let mut without_wildcard = Vec::new();
        let mut by_ending: BTreeMap<Vec<u8>, Vec<(PatternIndex, Middle)>> = BTreeMap::new();
        for (index, pattern) in patterns {
            match &pattern.rest {
                None => without_wildcard.push(*index),
                Some(rest) => {
                    let backwards = rest.ending.bytes().rev().collect();
                    let same_ending = by_ending.entry(backwards).or_default();
                    same_ending.push((*index, rest.middle.clone()));
                }
            }
        }
        Self {
            without_wildcard,
            by_ending: RadixTree::new(by_ending),
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
        fn the_set_finds_the_patterns_that_match_one_by_one(
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
                let alone = patterns.iter().enumerate().filter(|(_, pattern)| pattern.matches(&path));
                let alone: Vec<PatternIndex> = alone.map(|(place, _)| PatternIndex::new(place)).collect();
                prop_assert_eq!(found, alone);
            }
        }
    }
}
