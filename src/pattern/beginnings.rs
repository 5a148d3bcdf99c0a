//! Texts, found by what begins with them.
//!
//! They are kept in order, and each knows the longest other one that it begins with itself. The last
//! that is not after a given text in that order, or one of those behind it, is the longest that the
//! given text begins with; what is behind that one are all the others.

use std::collections::BTreeMap;

/// Texts, each with a value.
#[derive(Debug)]
pub(super) struct Beginnings<T> {
    in_order: Vec<Beginning<T>>,
}

#[derive(Debug)]
pub(super) struct Beginning<T> {
    pub text: Vec<u8>,
    pub value: T,
    /// Where the longest other text is that this one begins with.
    shorter: Option<usize>,
}

impl<T> Default for Beginnings<T> {
    fn default() -> Self {
        Self {
            in_order: Vec::new(),
        }
    }
}

impl<T> Beginnings<T> {
    pub(super) fn new(by_text: BTreeMap<Vec<u8>, T>) -> Self {
        let mut in_order: Vec<Beginning<T>> = Vec::with_capacity(by_text.len());
        for (text, value) in by_text {
            let mut shorter = in_order.len().checked_sub(1);
            while let Some(before) = shorter.and_then(|index| in_order.get(index))
                && !text.starts_with(&before.text)
            {
                shorter = before.shorter;
            }
            in_order.push(Beginning {
                text,
                value,
                shorter,
            });
        }
        Self { in_order }
    }

    /// All that `text` begins with, the longest first.
    pub(super) fn of(&self, text: &[u8]) -> impl Iterator<Item = &Beginning<T>> {
        let not_after = self
            .in_order
            .partition_point(|beginning| beginning.text.as_slice() <= text);
        let last = not_after.checked_sub(1);
        let mut longest = last.and_then(|index| self.in_order.get(index));
        while let Some(beginning) = longest
            && !text.starts_with(&beginning.text)
        {
            longest = self.shorter(beginning);
        }
        std::iter::successors(longest, |beginning| self.shorter(beginning))
    }

    fn shorter(&self, beginning: &Beginning<T>) -> Option<&Beginning<T>> {
        beginning.shorter.and_then(|index| self.in_order.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_that_a_text_begins_with_are_found(
            texts in proptest::collection::btree_set("[ab]{0,5}", 0..20),
            text in "[ab]{0,7}",
        ) {
            let by_text = texts.iter().map(|text| (text.clone().into_bytes(), ()));
            let beginnings = Beginnings::new(by_text.collect());
            let found: Vec<&[u8]> = beginnings
                .of(text.as_bytes())
                .map(|beginning| beginning.text.as_slice())
                .collect();
            let mut expected: Vec<&[u8]> = texts
                .iter()
                .filter(|beginning| text.starts_with(beginning.as_str()))
                .map(|beginning| beginning.as_bytes())
                .collect();
            expected.reverse();
            prop_assert_eq!(found, expected);
        }
    }
}
