//! Different things, each with a number from 0, in the order in which they first came.

use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Numbered<T> {
    pub all: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            numbers: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    /// The number of a thing.
    pub(super) fn number(&mut self, thing: T) -> u32 {
        let next = self.all.len() as u32;
        let number = *self.numbers.entry(thing.clone()).or_insert(next);
        if number == next {
            self.all.push(thing);
        }
        number
    }
}
