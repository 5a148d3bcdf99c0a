//! Many patterns, compared with a text at once.
//!
//! The behaviors of a hundred distributions have thousands of patterns, and nearly all of them begin
//! with something a given path does not begin with. So the patterns are kept by their literal
//! beginnings, in order, and each beginning knows the longest other one that it begins with itself.
//! The last beginning that is not after a text in that order, or one of those behind it, is the
//! longest that the text begins with; what is behind that one are all the others.

use std::collections::BTreeMap;

use super::Wildcards;

/// Patterns, each with a number: its place in the list it was made from.
#[derive(Debug, Default)]
pub struct PatternSet {
    /// In order of their text.
    beginnings: Vec<Beginning>,
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
            let same_text = by_text.entry(pattern.literal_beginning()).or_default();
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
        Self { beginnings }
    }

    /// Adds the numbers of all patterns that match `text` as a whole, in an order that depends on
    /// nothing but which these are.
    pub fn add_matching(&self, text: &str, numbers: &mut Vec<u32>) {
        let after = self
            .beginnings
            .partition_point(|beginning| beginning.text.as_str() <= text);
        let mut next = after.checked_sub(1);
        while let Some(beginning) = next.and_then(|index| self.beginnings.get(index)) {
            if text.starts_with(&beginning.text) {
                let matching = beginning
                    .patterns
                    .iter()
                    .filter(|(_, pattern)| pattern.match_text(text));
                numbers.extend(matching.map(|(number, _)| number));
            }
            next = beginning.shorter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_numbers_are_those_of_the_patterns_that_match_alone(
            patterns in proptest::collection::vec("/[ab/]{0,4}[ab*?/é]{0,4}", 0..30),
            text in "/[ab/é]{0,8}",
        ) {
            let patterns: Vec<Wildcards> = patterns.iter().map(|text| Wildcards::new(text)).collect();
            let mut found = Vec::new();
            PatternSet::new(&patterns).add_matching(&text, &mut found);
            found.sort_unstable();
            let alone = patterns.iter().zip(0..).filter(|(pattern, _)| pattern.match_text(&text));
            let alone: Vec<u32> = alone.map(|(_, number)| number).collect();
            prop_assert_eq!(found, alone);
        }
    }
}
