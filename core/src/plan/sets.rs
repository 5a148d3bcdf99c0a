//! The paths of one target, freed of what is said twice, and cut into sets.

use super::KeyChanges;
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathSet<'a> {
    /// The paths, in the order of their keys or in their own, each once.
    pub paths: Vec<InvalidationPath<'a>>,
    /// The messages they came from, in order, each once.
    pub sources: Vec<u32>,
}

/// The sets of one target, made one by one.
///
/// A path under a wildcard of the same target is dropped, and so is one that was there before; the
/// set with what covers it answers for its messages.
pub struct Sets<'a> {
    paths: Box<dyn Iterator<Item = KeyPath<'a>> + 'a>,
    /// What did not fit into the last set.
    first_of_next: Option<KeyPath<'a>>,
    keys: &'a KeyChanges,
    limits: SetLimits,
}

/// A path and the index of its key; no path, where that of the one before covers it.
type KeyPath<'a> = (Option<InvalidationPath<'a>>, usize);

impl<'a> Sets<'a> {
    /// Cuts paths, each with the index of its key, into sets.
    pub(super) fn of_any(
        mut paths: Vec<(InvalidationPath<'a>, usize)>,
        keys: &'a KeyChanges,
        limits: SetLimits,
    ) -> Self {
        paths.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        Self::new(without_covered(paths).into_iter(), keys, limits)
    }

    /// As [`Sets::of_any`], for paths that are each there once, and none covered by another.
    pub(super) fn of_different(
        paths: impl Iterator<Item = (InvalidationPath<'a>, usize)> + 'a,
        keys: &'a KeyChanges,
        limits: SetLimits,
    ) -> Self {
        Self::new(paths.map(|(path, key)| (Some(path), key)), keys, limits)
    }

    fn new(
        paths: impl Iterator<Item = KeyPath<'a>> + 'a,
        keys: &'a KeyChanges,
        limits: SetLimits,
    ) -> Self {
        let paths: Box<dyn Iterator<Item = KeyPath<'a>> + 'a> = Box::new(paths);
        Self {
            paths,
            first_of_next: None,
            keys,
            limits,
        }
    }
}

fn without_covered(ordered: Vec<(InvalidationPath<'_>, usize)>) -> Vec<KeyPath<'_>> {
    let mut paths: Vec<KeyPath<'_>> = Vec::with_capacity(ordered.len());
    let mut last_kept = 0;
    for (path, key) in ordered {
        let last = paths.get(last_kept).and_then(|(path, _)| path.as_ref());
        if last.is_some_and(|last| covers(last, &path)) {
            paths.push((None, key));
        } else {
            last_kept = paths.len();
            paths.push((Some(path), key));
        }
    }
    paths
}

/// What a wildcard covers begins with what it begins with, and so follows it at once.
fn order<'p>(path: &'p InvalidationPath<'_>) -> (&'p str, bool) {
    match path.wildcard_prefix() {
        Some(prefix) => (prefix, false),
        None => (path.as_str(), true),
    }
}

fn covers(earlier: &InvalidationPath<'_>, path: &InvalidationPath<'_>) -> bool {
    match earlier.wildcard_prefix() {
        Some(prefix) => path.as_str().starts_with(prefix),
        None => path == earlier,
    }
}

impl<'a> Iterator for Sets<'a> {
    type Item = PathSet<'a>;

    fn next(&mut self) -> Option<PathSet<'a>> {
        let mut set = PathSet::default();
        let (mut wildcards, mut characters) = (0, 0);
        while let Some((path, key)) = self.first_of_next.take().or_else(|| self.paths.next()) {
            if let Some(path) = path {
                wildcards += usize::from(path.wildcard_prefix().is_some());
                characters += path.as_str().len();
                let is_full = set.paths.len() >= self.limits.paths
                    || wildcards > self.limits.wildcards
                    || characters > self.limits.characters;
                if is_full && !set.paths.is_empty() {
                    self.first_of_next = Some((Some(path), key));
                    break;
                }
                set.paths.push(path);
            }
            for source in self.keys.sources(key) {
                // Keys that follow one another came in the same message as a rule.
                if set.sources.last() != Some(&source) {
                    set.sources.push(source);
                }
            }
        }
        set.sources.sort_unstable();
        set.sources.dedup();
        (!set.paths.is_empty()).then_some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BucketName, Change, ChangeKind, ObjectKey};
    use crate::plan::Changes;

    /// The sets of paths, each from a message of its own.
    fn sets(paths: &[(&str, u32)], limits: SetLimits) -> Vec<(Vec<String>, Vec<u32>)> {
        let mut changes = Changes::default();
        for (index, (_, source)) in paths.iter().enumerate() {
            let change = Change {
                bucket: BucketName::new("site"),
                key: ObjectKey::new(format!("{index:03}")).unwrap(),
                kind: ChangeKind::Created,
                event_time: None,
            };
            changes.add(&change, *source).unwrap();
        }
        let path = |(key, (path, _)): (usize, &(&str, u32))| {
            let path = InvalidationPath::try_from((*path).to_owned()).unwrap();
            (path, key)
        };
        let paths = paths.iter().enumerate().map(path).collect();
        let keys = changes.into();
        Sets::of_any(paths, &keys, limits)
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
