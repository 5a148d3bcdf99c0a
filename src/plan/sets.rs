//! The paths of one distribution, gathered, freed of what is said twice, and cut into sets.

use std::collections::HashMap;

use super::KeyChange;
use crate::event::EventTime;
use crate::path::InvalidationPath;

/// How large a set may be.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// Paths in a set (`MAX_PATHS_PER_INVALIDATION`).
    pub paths: usize,
    /// Wildcards in a set.
    pub wildcards: usize,
    /// Characters of all its paths.
    pub characters: usize,
}

impl SetLimits {
    /// CloudFront's documented limit of paths in progress is 3,000 for a distribution, of wildcards
    /// 15: a set with more could never be accepted where that still holds. The characters are those
    /// of an SQS message of 1 MiB, with room for the JSON around each path.
    pub fn with_paths(paths: usize) -> Self {
        Self {
            paths,
            wildcards: 15,
            characters: 900_000,
        }
    }
}

/// Paths that go into one invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSet {
    /// The paths, in order, each once.
    pub paths: Vec<InvalidationPath>,
    /// The messages they came from, in order, each once.
    pub sources: Vec<u32>,
    /// When the changes behind the paths happened, as far as their events tell.
    pub event_times: Vec<EventTime>,
}

/// Gathers the paths of one distribution.
#[derive(Debug, Default)]
pub(super) struct Builder {
    paths: HashMap<InvalidationPath, Provenance>,
}

/// Where a path comes from.
#[derive(Debug, Default)]
struct Provenance {
    sources: Vec<u32>,
    event_time: Option<EventTime>,
}

impl Provenance {
    fn add(&mut self, sources: &[u32], event_time: Option<EventTime>) {
        self.sources.extend_from_slice(sources);
        self.event_time = match (self.event_time, event_time) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }
}

impl Builder {
    /// Adds the paths of a key.
    pub(super) fn add(&mut self, paths: Vec<InvalidationPath>, key: &KeyChange) {
        for path in paths {
            self.paths
                .entry(path)
                .or_default()
                .add(&key.sources, key.event_time);
        }
    }

    pub(super) fn into_sets(self, limits: SetLimits) -> Vec<PathSet> {
        cut(without_covered(self.paths), limits)
    }
}

/// Drops each path under a wildcard of the same distribution; the wildcard answers for the messages
/// it came from.
///
/// In the order of what they begin with, a wildcard first, all that a wildcard covers follows it.
fn without_covered(
    paths: HashMap<InvalidationPath, Provenance>,
) -> Vec<(InvalidationPath, Provenance)> {
    fn order(path: &InvalidationPath) -> (&str, bool) {
        match path.wildcard_prefix() {
            Some(prefix) => (prefix, false),
            None => (path.as_str(), true),
        }
    }
    let mut sorted: Vec<_> = paths.into_iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
    let mut kept: Vec<(InvalidationPath, Provenance)> = Vec::with_capacity(sorted.len());
    let mut wildcard: Option<usize> = None;
    for (path, provenance) in sorted {
        let covering = wildcard
            .and_then(|index| kept.get_mut(index))
            .filter(|(wildcard, _)| {
                let prefix = wildcard.wildcard_prefix();
                prefix.is_some_and(|prefix| path.as_str().starts_with(prefix))
            });
        if let Some((_, covered)) = covering {
            covered.add(&provenance.sources, provenance.event_time);
            continue;
        }
        if path.wildcard_prefix().is_some() {
            wildcard = Some(kept.len());
        }
        kept.push((path, provenance));
    }
    kept
}

fn cut(paths: Vec<(InvalidationPath, Provenance)>, limits: SetLimits) -> Vec<PathSet> {
    let mut sets: Vec<PathSet> = Vec::new();
    let (mut wildcards, mut characters) = (0, 0);
    for (path, provenance) in paths {
        let is_wildcard = usize::from(path.wildcard_prefix().is_some());
        let length = path.as_str().len();
        let fits = sets.last().is_some_and(|set| {
            set.paths.len() < limits.paths
                && wildcards + is_wildcard <= limits.wildcards
                && characters + length <= limits.characters
        });
        if !fits {
            sets.push(PathSet {
                paths: Vec::new(),
                sources: Vec::new(),
                event_times: Vec::new(),
            });
            (wildcards, characters) = (0, 0);
        }
        wildcards += is_wildcard;
        characters += length;
        if let Some(set) = sets.last_mut() {
            set.paths.push(path);
            set.sources.extend(provenance.sources);
            set.event_times.extend(provenance.event_time);
        }
    }
    for set in &mut sets {
        set.sources.sort_unstable();
        set.sources.dedup();
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BucketName, ChangeKind, ObjectKey};

    fn sets(paths: &[(&str, u32)], limits: SetLimits) -> Vec<(Vec<String>, Vec<u32>)> {
        let mut builder = Builder::default();
        for (path, source) in paths {
            let key = KeyChange {
                bucket: BucketName::new("site"),
                key: ObjectKey::new("key").unwrap(),
                kind: ChangeKind::Created,
                event_time: Some(EventTime(i64::from(*source))),
                sources: vec![*source],
            };
            let path = InvalidationPath::try_from((*path).to_owned()).unwrap();
            builder.add(vec![path], &key);
        }
        let sets = builder.into_sets(limits);
        sets.into_iter()
            .map(|set| {
                (
                    set.paths.into_iter().map(String::from).collect(),
                    set.sources,
                )
            })
            .collect()
    }

    fn all() -> SetLimits {
        SetLimits::with_paths(3_000)
    }

    #[test]
    fn a_path_is_named_once_and_answers_for_all_its_messages() {
        assert_eq!(
            sets(&[("/b", 2), ("/a", 1), ("/b", 1)], all()),
            [(vec!["/a".into(), "/b".into()], vec![1, 2])]
        );
        assert_eq!(sets(&[], all()), []);
    }

    #[test]
    fn a_path_under_a_wildcard_is_dropped_and_its_message_is_not() {
        for (paths, kept) in [
            (vec!["/a*", "/a", "/ab", "/a/b", "/b"], vec!["/a*", "/b"]),
            (vec!["/a/*", "/a", "/a/", "/a/b"], vec!["/a", "/a/*"]),
            (vec!["/a*", "/ab*", "/ab/c"], vec!["/a*"]),
            (vec!["/*", "/", "/x", "/a*"], vec!["/*"]),
            (
                vec!["/d/?*", "/d/", "/d/x", "/d/?v=1"],
                vec!["/d/", "/d/?*", "/d/x"],
            ),
            (vec!["/a*b", "/a*", "/ac"], vec!["/a*"]),
            (vec!["/a**", "/a*"], vec!["/a*"]),
            (vec!["/a**", "/a*b", "/ab"], vec!["/a**", "/ab"]),
            (vec!["/a*b", "/axb"], vec!["/a*b", "/axb"]),
            (
                vec!["/a*", "/a!", "/B", "/b*", "/b!"],
                vec!["/B", "/a*", "/b*"],
            ),
        ] {
            let paths: Vec<(&str, u32)> = paths.into_iter().zip(0..).collect();
            let expected: Vec<u32> = (0..).take(paths.len()).collect();
            assert_eq!(
                sets(&paths, all()),
                [(kept.into_iter().map(String::from).collect(), expected)],
                "{paths:?}"
            );
        }
    }

    #[test]
    fn sets_are_cut_at_each_limit_and_keep_only_their_own_messages() {
        let limits = SetLimits {
            paths: 2,
            wildcards: 1,
            characters: 1_000,
        };
        let found = sets(
            &[("/a", 1), ("/b", 2), ("/c", 3), ("/d*", 4), ("/e*", 5)],
            limits,
        );
        let expected = [
            (vec!["/a".into(), "/b".into()], vec![1, 2]),
            (vec!["/c".into(), "/d*".into()], vec![3, 4]),
            (vec!["/e*".into()], vec![5]),
        ];
        assert_eq!(found, expected);
        let limits = SetLimits {
            paths: 10,
            wildcards: 10,
            characters: 4,
        };
        assert_eq!(sets(&[("/a", 1), ("/b", 1), ("/long", 2)], limits).len(), 2);
    }
}
