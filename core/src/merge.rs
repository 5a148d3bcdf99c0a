//! Merges the sets that wait for one target: each path once, and none that a wildcard of the merge
//! covers.
//!
//! The merge remembers each set, so that it knows which sets are done and what is left of the others.

use crate::path::{InvalidationPath, coverage};
use crate::service_error::ServiceError;
use crate::set::{JSON_BYTES_PER_PATH, Lane, MAX_SET_BYTES};

/// The index of a path of the merge, in the order in which paths are submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathIndex(u32);

/// The index of a merged set, in the order in which the sets were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetIndex(pub usize);

/// The answer to a path so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathState {
    /// There is no final answer yet.
    Waiting,
    /// CloudFront accepted it.
    Accepted,
    /// CloudFront will never accept it; the number is the index of the reason.
    Rejected(usize),
}

/// Merged sets, and the answer to each path so far.
#[derive(Debug)]
pub struct Merge<'a> {
    sets: Vec<Merged<'a>>,
    /// For each path of the merge the index of its set, and its index there.
    paths: Vec<(usize, usize)>,
    answers: Vec<PathState>,
    /// Reasons of rejections, each once.
    reasons: Vec<ServiceError>,
    /// No path before this index is waiting.
    first_waiting: usize,
}

#[derive(Debug)]
struct Merged<'a> {
    paths: Vec<InvalidationPath<'a>>,
    /// For each path the path of the merge that clears it.
    cleared_by: Vec<PathIndex>,
}

impl<'a> Merge<'a> {
    /// Merges sets. Paths are submitted in the order of the sets, so that the first sets are done first.
    pub fn new(sets: Vec<Vec<InvalidationPath<'a>>>) -> Self {
        let places: Vec<(usize, usize)> = (0..)
            .zip(&sets)
            .flat_map(|(set, paths)| (0..paths.len()).map(move |path| (set, path)))
            .collect();
        let all = places.iter().map(|(set, path)| &sets[*set][*path]);
        let covering = coverage(&all.collect::<Vec<_>>());
        // A path is submitted at the position of the first path that it clears.
        let mut index_of: Vec<Option<PathIndex>> = vec![None; places.len()];
        let mut paths = Vec::new();
        let mut cleared_by: Vec<Vec<PathIndex>> = vec![Vec::new(); sets.len()];
        for ((set, _), by) in places.iter().zip(&covering) {
            let index = *index_of[*by].get_or_insert_with(|| {
                paths.push(places[*by]);
                PathIndex(paths.len() as u32 - 1)
            });
            cleared_by[*set].push(index);
        }
        let merged = sets.into_iter().zip(cleared_by);
        Self {
            sets: merged
                .map(|(paths, cleared_by)| Merged { paths, cleared_by })
                .collect(),
            answers: vec![PathState::Waiting; paths.len()],
            paths,
            reasons: Vec::new(),
            first_waiting: 0,
        }
    }

    /// A path of the merge.
    pub fn path(&self, index: PathIndex) -> &InvalidationPath<'a> {
        let (set, path) = self.paths[index.0 as usize];
        &self.sets[set].paths[path]
    }

    /// The next paths to submit: up to `most` waiting paths of one lane. They fit into one message of
    /// SubmitQueue, because they may have to be sent there as one message.
    pub fn next(&mut self, lane: Lane, most: usize) -> Vec<PathIndex> {
        while self
            .answers
            .get(self.first_waiting)
            .is_some_and(|it| *it != PathState::Waiting)
        {
            self.first_waiting += 1;
        }
        let mut bytes = 0;
        let waiting = (self.first_waiting..self.paths.len()).map(|index| PathIndex(index as u32));
        waiting
            .filter(|index| self.answers[index.0 as usize] == PathState::Waiting)
            .filter(|index| Lane::of(self.path(*index)) == lane)
            .take(most)
            .take_while(|index| {
                bytes += self.path(*index).as_str().len() + JSON_BYTES_PER_PATH;
                bytes <= MAX_SET_BYTES
            })
            .collect()
    }

    /// Records that CloudFront accepted these paths.
    pub fn accept(&mut self, paths: &[PathIndex]) {
        for index in paths {
            self.answers[index.0 as usize] = PathState::Accepted;
        }
    }

    /// Records that CloudFront will never accept these paths.
    pub fn reject(&mut self, paths: &[PathIndex], reason: ServiceError) {
        let known = self.reasons.iter().position(|known| *known == reason);
        let number = known.unwrap_or_else(|| {
            self.reasons.push(reason);
            self.reasons.len() - 1
        });
        for index in paths {
            self.answers[index.0 as usize] = PathState::Rejected(number);
        }
    }

    /// Makes the rejected paths wait again, because their error file could not be written.
    pub fn wait_again(&mut self) {
        for answer in &mut self.answers {
            if matches!(answer, PathState::Rejected(_)) {
                *answer = PathState::Waiting;
            }
        }
        self.first_waiting = 0;
    }

    /// All waiting paths.
    pub fn waiting(&self) -> Vec<PathIndex> {
        let all = (0..self.paths.len()).map(|index| PathIndex(index as u32));
        all.filter(|index| self.answers[index.0 as usize] == PathState::Waiting)
            .collect()
    }

    /// The paths that were rejected, by reason.
    pub fn rejected(&self) -> Vec<(&ServiceError, Vec<InvalidationPath<'a>>)> {
        let mut all: Vec<_> = self.reasons.iter().map(|it| (it, Vec::new())).collect();
        for (index, answer) in (0..).map(PathIndex).zip(&self.answers) {
            if let PathState::Rejected(number) = answer {
                all[*number].1.push(self.path(index).clone());
            }
        }
        all.retain(|(_, paths)| !paths.is_empty());
        all
    }

    /// The waiting paths of the merge that a set needs.
    pub fn waiting_of(&self, set: SetIndex) -> Vec<PathIndex> {
        let mut waiting: Vec<PathIndex> = self.sets[set.0]
            .cleared_by
            .iter()
            .copied()
            .filter(|index| self.answers[index.0 as usize] == PathState::Waiting)
            .collect();
        waiting.sort_unstable();
        waiting.dedup();
        waiting
    }

    /// All paths of a set.
    pub fn paths_of(&self, set: SetIndex) -> &[InvalidationPath<'a>] {
        &self.sets[set.0].paths
    }

    /// Which paths of a set still wait.
    pub fn left_of(&self, set: SetIndex) -> Left<'a> {
        let Merged { paths, cleared_by } = &self.sets[set.0];
        let left: Vec<InvalidationPath<'a>> = paths
            .iter()
            .zip(cleared_by)
            .filter(|(_, by)| self.answers[by.0 as usize] == PathState::Waiting)
            .map(|(path, _)| path.clone())
            .collect();
        match left.len() {
            0 => Left::Nothing,
            all if all == paths.len() => Left::All,
            _ => Left::Part(left),
        }
    }
}

/// The paths of a set that still wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left<'a> {
    /// Every path was accepted or rejected.
    Nothing,
    /// Only these paths wait.
    Part(Vec<InvalidationPath<'a>>),
    /// All paths wait.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> InvalidationPath<'static> {
        InvalidationPath::try_from(text.to_owned()).unwrap()
    }

    fn merge(sets: &[&[&str]]) -> Merge<'static> {
        let sets = sets
            .iter()
            .map(|set| set.iter().map(|it| path(it)).collect());
        Merge::new(sets.collect())
    }

    fn texts(merge: &Merge<'_>, indices: &[PathIndex]) -> Vec<String> {
        let texts = indices.iter().map(|index| merge.path(*index).to_string());
        texts.collect()
    }

    #[test]
    fn a_path_is_submitted_once_and_none_under_a_wildcard() {
        let mut merged = merge(&[&["/a", "/b"], &["/b", "/c"], &["/d*", "/a"], &["/d/x"]]);
        let plain = merged.next(Lane::Paths, 10);
        assert_eq!(texts(&merged, &plain), ["/a", "/b", "/c"]);
        let wildcards = merged.next(Lane::Wildcards, 10);
        assert_eq!(texts(&merged, &wildcards), ["/d*"]);
    }

    #[test]
    fn each_set_knows_what_is_left_of_it() {
        let mut merged = merge(&[&["/a", "/b"], &["/b", "/c"], &["/e"], &["/x"]]);
        let first = merged.next(Lane::Paths, 2);
        merged.accept(&first);
        let bad = merged.next(Lane::Paths, 1);
        assert_eq!(merged.left_of(SetIndex(0)), Left::Nothing);
        assert_eq!(merged.left_of(SetIndex(1)), Left::Part(vec![path("/c")]));
        assert_eq!(merged.left_of(SetIndex(2)), Left::All);
        merged.reject(&bad, ServiceError::own("InvalidArgument", "no"));
        assert_eq!(merged.left_of(SetIndex(1)), Left::Nothing);
        assert_eq!(merged.rejected()[0].1, [path("/c")]);
        assert_eq!(texts(&merged, &merged.waiting()), ["/e", "/x"]);
    }

    proptest! {
        /// Whichever paths are accepted, in portions of any size, each path of each set is either
        /// cleared by an accepted path or left, and no path is accepted twice.
        #[test]
        fn nothing_is_forgotten_and_nothing_is_paid_twice(
            sets in proptest::collection::vec(proptest::collection::vec("/[ab]{0,2}[*]?", 1..6), 1..6),
            portions in proptest::collection::vec((any::<bool>(), 1_usize..4), 0..8),
        ) {
            let sets: Vec<Vec<_>> = sets.iter().map(|set| set.iter().map(|it| path(it)).collect()).collect();
            let mut merged = Merge::new(sets.clone());
            let mut accepted: Vec<InvalidationPath<'_>> = Vec::new();
            for (wildcards, most) in portions {
                let lane = if wildcards { Lane::Wildcards } else { Lane::Paths };
                let next = merged.next(lane, most);
                accepted.extend(next.iter().map(|index| merged.path(*index).clone()));
                merged.accept(&next);
            }
            let clears = |by: &InvalidationPath<'_>, path: &InvalidationPath<'_>| match by.wildcard_prefix() {
                Some(prefix) => path.as_str().starts_with(prefix),
                None => by == path,
            };
            for (n, one) in accepted.iter().enumerate() {
                prop_assert!(!accepted.iter().enumerate().any(|(m, other)| n != m && clears(other, one)));
            }
            for (n, set) in sets.iter().enumerate() {
                let left = match merged.left_of(SetIndex(n)) {
                    Left::Nothing => Vec::new(),
                    Left::Part(left) => left,
                    Left::All => set.clone(),
                };
                for path in set {
                    let is_cleared = accepted.iter().any(|by| clears(by, path));
                    prop_assert_eq!(left.contains(path), !is_cleared, "{}", path);
                }
            }
        }
    }
}
