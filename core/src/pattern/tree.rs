//! A radix tree: finds every stored text that is a prefix of the input, or a suffix if both are
//! reversed.

use std::collections::BTreeMap;

/// A node of the tree, and all texts below it, each with a value.
#[derive(Debug)]
pub(super) struct Tree<T> {
    /// The common prefix of all texts in this node.
    label: Vec<u8>,
    /// The value of the text that ends here.
    value: Option<T>,
    /// The first byte of each branch's label, in the order of `branches`.
    first_bytes: Vec<u8>,
    branches: Vec<Tree<T>>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self {
            label: Vec::new(),
            value: None,
            first_bytes: Vec::new(),
            branches: Vec::new(),
        }
    }
}

impl<T> Tree<T> {
    pub(super) fn new(texts: BTreeMap<Vec<u8>, T>) -> Self {
        Self::of_rests(texts.into_iter().collect())
    }

    /// Builds a tree from texts that are sorted and all different.
    fn of_rests(mut texts: Vec<(Vec<u8>, T)>) -> Self {
        let (Some((first, _)), Some((last, _))) = (texts.first(), texts.last()) else {
            return Self::default();
        };
        let alike = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let label = first.iter().take(alike).copied().collect();
        for (text, _) in &mut texts {
            text.drain(..alike);
        }
        let mut tree = Self {
            label,
            ..Self::default()
        };
        while let Some(first_byte) = texts.first().map(|(rest, _)| rest.first().copied()) {
            let same = |(rest, _): &(Vec<u8>, T)| rest.first().copied() == first_byte;
            let others = texts.split_off(texts.partition_point(same));
            let branch = std::mem::replace(&mut texts, others);
            match first_byte {
                None => tree.value = branch.into_iter().next().map(|(_, value)| value),
                Some(first_byte) => {
                    tree.first_bytes.push(first_byte);
                    tree.branches.push(Self::of_rests(branch));
                }
            }
        }
        tree
    }

    /// The length and value of every stored text that is a prefix of `bytes`, the shortest first.
    pub(super) fn of(
        &self,
        mut bytes: impl Iterator<Item = u8>,
    ) -> impl Iterator<Item = (usize, &T)> {
        let mut length = 0;
        let mut next = starts(&mut bytes, &self.label).then_some(self);
        std::iter::from_fn(move || {
            loop {
                let tree = next.take()?;
                length += tree.label.len();
                next = bytes.next().and_then(|first_byte| tree.branch(first_byte));
                next = next.filter(|branch| starts(&mut bytes, &branch.label[1..]));
                if let Some(value) = &tree.value {
                    return Some((length, value));
                }
            }
        })
    }

    fn branch(&self, first_byte: u8) -> Option<&Self> {
        let index = self.first_bytes.iter().position(|byte| *byte == first_byte);
        index.and_then(|index| self.branches.get(index))
    }
}

fn starts(bytes: &mut impl Iterator<Item = u8>, label: &[u8]) -> bool {
    label.iter().all(|byte| bytes.next() == Some(*byte))
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
            let by_text = texts.iter().map(|text| (text.clone().into_bytes(), text));
            let tree = Tree::new(by_text.collect());
            let found: Vec<(usize, &String)> = tree
                .of(text.bytes())
                .map(|(length, beginning)| (length, *beginning))
                .collect();
            let expected: Vec<(usize, &String)> = texts
                .iter()
                .filter(|beginning| text.starts_with(beginning.as_str()))
                .map(|beginning| (beginning.len(), beginning))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
