//! An interner: gives equal values the same small index, in order of first use.

use std::collections::HashMap;
use std::hash::Hash;

/// Values, each once.
#[derive(Debug)]
pub(super) struct Interner<T> {
    values: Vec<T>,
    places: HashMap<T, usize>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Interner<T> {
    /// The place of a value in [`Interner::values`].
    pub(super) fn place(&mut self, value: T) -> usize {
        let next = self.values.len();
        let place = *self.places.entry(value.clone()).or_insert(next);
        if place == next {
            self.values.push(value);
        }
        place
    }
}

impl<T> Interner<T> {
    /// The values, in order of first use.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }

    /// The values alone, when there are no more to come.
    pub(super) fn into_values(self) -> Vec<T> {
        self.values
    }
}
