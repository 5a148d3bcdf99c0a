//! An interner: gives equal values the same small index, in order of first use.

use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Interner<T> {
    pub values: Vec<T>,
    indices: HashMap<T, u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            indices: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Interner<T> {
    /// The index of a value.
    pub(super) fn index(&mut self, value: T) -> u32 {
        let next = self.values.len() as u32;
        let index = *self.indices.entry(value.clone()).or_insert(next);
        if index == next {
            self.values.push(value);
        }
        index
    }
}
