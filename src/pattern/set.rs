//! Many patterns, compared with a text at once.
//!
//! The behaviors of a hundred distributions have thousands of patterns, and nearly all of them begin
//! with something a given path does not begin with. So the patterns are kept by their literal
//! beginnings, in order, and each beginning knows the longest other one that it begins with itself.
//! The last beginning that is not after a text in that order, or one of those behind it, is the
//! longest that the text begins with; what is behind that one are all the others.

use std::collections::BTreeMap;

use super::Wildcards;
use crate::path::NormalizedPath;

/// Patterns, each with a number: its place in the list it was made from.
#[derive(Debug, Default)]
pub struct PatternSet {
    /// In order of their text.
    beginnings: Vec<Beginning>,
    /// How many beginnings were not after the last text: the next may well be near it.
    not_after: usize,
    /// The numbers of the patterns that match the last path.
    matching: Vec<u32>,
}

#[derive(Debug)]
struct Beginning {
    text: String,
    /// The patterns that have no more than this text before their first wildcard.
    patterns: Vec<(u32, Wildcards)>,
    /// Where the longest other text is that this one begins with.
    shorter: Option<usize>,
}

impl PatternSet {
    /// Takes patterns in the order of their numbers, from 0.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a Wildcards>) -> Self {
        let mut by_text: BTreeMap<&str, Vec<(u32, Wildcards)>> = BTreeMap::new();
        for (number, pattern) in (0..).zip(patterns) {
            let same_text = by_text.entry(pattern.beginning()).or_default();
            same_text.push((number, pattern.clone()));
        }
        let mut beginnings: Vec<Beginning> = Vec::with_capacity(by_text.len());
        for (text, patterns) in by_text {
            let mut shorter = beginnings.len().checked_sub(1);
            while let Some(before) = shorter.and_then(|index| beginnings.get(index))
                && !text.starts_with(&before.text)
            {
                shorter = before.shorter;
            }
            beginnings.push(Beginning {
                text: text.to_owned(),
                patterns,
                shorter,
            });
        }
        Self {
            beginnings,
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
        self.not_after = self.count_not_after(text);
        let mut next = self.not_after.checked_sub(1);
        while let Some(beginning) = next.and_then(|index| self.beginnings.get(index)) {
            if let Some(rest) = text.strip_prefix(&beginning.text) {
                let patterns = beginning.patterns.iter();
                let matching = patterns.filter(|(_, pattern)| pattern.match_rest(rest));
                self.matching.extend(matching.map(|(number, _)| number));
            }
            next = beginning.shorter;
        }
    }

    fn count_not_after(&self, text: &str) -> usize {
        let is_not_after = |beginning: &Beginning| beginning.text.as_str() <= text;
        let (before, after) = self.beginnings.split_at(self.not_after);
        let as_last_time =
            before.last().is_none_or(is_not_after) && !after.first().is_some_and(is_not_after);
        if as_last_time {
            self.not_after
        } else {
            self.beginnings.partition_point(is_not_after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{OriginPath, ViewerPath};
    use crate::pattern::PathPattern;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_numbers_are_those_of_the_patterns_that_match_alone(
            patterns in proptest::collection::vec("/[ab/]{0,4}[ab*?/é]{0,4}", 0..30),
            keys in proptest::collection::vec("[ab/é]{0,8}", 1..5),
        ) {
            let patterns: Vec<PathPattern> =
                patterns.iter().map(|pattern| PathPattern::new(pattern)).collect();
            let mut set = PatternSet::new(patterns.iter().map(PathPattern::wildcards));
            for key in keys {
                let path = ViewerPath::of_key(&key, &OriginPath::default()).unwrap();
                let path = path.normalized();
                let mut found = set.matching(&path).to_vec();
                found.sort_unstable();
                let alone = patterns.iter().zip(0..).filter(|(pattern, _)| pattern.matches(&path));
                let alone: Vec<u32> = alone.map(|(_, number)| number).collect();
                prop_assert_eq!(found, alone);
            }
        }
    }
}
