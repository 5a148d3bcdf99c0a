//! A set of keys of one plan: a bit for each.

use super::changes::KeyIndex;

/// A set of keys. It is as large as its largest index, in bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<u64>);

const BITS: usize = u64::BITS as usize;

impl KeySet {
    /// The empty set.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a key.
    pub fn insert(&mut self, key: KeyIndex) {
        let (word, bit) = (key.get() / BITS, key.get() % BITS);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    /// Whether a key is in it.
    pub fn contains(&self, key: KeyIndex) -> bool {
        let word = self.0.get(key.get() / BITS);
        word.is_some_and(|word| word & (1 << (key.get() % BITS)) != 0)
    }

    /// Whether no key is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many keys are in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Adds the keys of another set.
    pub fn add(&mut self, other: &Self) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(
            keys in prop::collection::vec(0..300_usize, 0..40),
            others in prop::collection::vec(0..300_usize, 0..40),
        ) {
            let of = |keys: &[usize]| {
                let mut set = KeySet::new();
                keys.iter().for_each(|key| set.insert(KeyIndex::new(*key)));
                set
            };
            let (mut set, other) = (of(&keys), of(&others));
            prop_assert_eq!(set.is_empty(), keys.is_empty());
            set.add(&other);
            let model: BTreeSet<usize> = keys.into_iter().chain(others).collect();
            prop_assert_eq!(set.len(), model.len());
            for key in 0..400 {
                prop_assert_eq!(set.contains(KeyIndex::new(key)), model.contains(&key));
            }
        }
    }
}
