//! Problems of an input that somebody else wrote: there may be millions.

use std::fmt;

/// How many problems are told in full. The others are only counted.
pub const MAX_TOLD: usize = 10;

/// Problems, of which the first [`MAX_TOLD`] are kept, and the others counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems<T> {
    first: Vec<T>,
    count: usize,
}

impl<T> Default for Problems<T> {
    fn default() -> Self {
        Self {
            first: Vec::new(),
            count: 0,
        }
    }
}

impl<T> Problems<T> {
    /// Adds a problem.
    pub fn push(&mut self, problem: T) {
        self.count += 1;
        if self.first.len() < MAX_TOLD {
            self.first.push(problem);
        }
    }

    /// Adds problems of which only these are known in full.
    pub fn extend(&mut self, known: impl IntoIterator<Item = T>, count: usize) {
        let known = known.into_iter().take(MAX_TOLD - self.first.len());
        self.first.extend(known);
        self.count += count;
    }

    /// The problems that are told in full.
    pub fn first(&self) -> &[T] {
        &self.first
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many are not told.
    pub fn untold(&self) -> usize {
        self.count - self.first.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<T: fmt::Display> fmt::Display for Problems<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for problem in &self.first {
            write!(f, "{separator}{problem}")?;
            separator = "; ";
        }
        match self.untold() {
            0 => Ok(()),
            untold => write!(f, "; and {untold} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_problems_are_told_and_the_others_counted() {
        let mut problems = Problems::default();
        assert_eq!(
            (problems.is_empty(), problems.to_string()),
            (true, String::new())
        );
        for n in 1..=10 {
            problems.push(n);
        }
        assert_eq!(problems.to_string(), "1; 2; 3; 4; 5; 6; 7; 8; 9; 10");
        problems.push(11);
        problems.extend([12, 13], 5);
        assert_eq!(
            problems.to_string(),
            "1; 2; 3; 4; 5; 6; 7; 8; 9; 10; and 6 more"
        );
        assert_eq!((problems.count(), problems.untold()), (16, 6));
        assert_eq!(problems.first().len(), MAX_TOLD);
    }
}
