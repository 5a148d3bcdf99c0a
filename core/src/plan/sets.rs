//! The paths of one target, each once, cut into sets.

use super::changes::{KeyChanges, KeyIndex, MessageIndex};
use crate::path::InvalidationPath;
use crate::set::{JSON_BYTES_PER_PATH, Lane, MAX_SET_BYTES};

/// How large a set may be.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// Paths in a set (`MAX_PATHS_PER_INVALIDATION`).
    pub paths: usize,
    /// Wildcards in a set.
    pub wildcards: usize,
    /// Bytes of all its paths as JSON.
    pub bytes: usize,
}

impl SetLimits {
    /// CloudFront's documented limit of paths in progress is 3,000 for a distribution. An SQS message
    /// holds 1 MiB. And CloudFront accepts one wildcard per second (CloudFront Developer Guide,
    /// "Quotas"), so a hundred are what one invocation of the function can submit at that pace.
    pub fn with_paths(paths: usize) -> Self {
        Self {
            paths,
            wildcards: 100,
            bytes: MAX_SET_BYTES,
        }
    }
}

/// Paths of one lane that go into one message of SubmitQueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSet<'a> {
    /// Whether they are wildcards.
    pub lane: Lane,
    /// The paths, in the order of their keys or in their own, each once.
    pub paths: Vec<InvalidationPath<'a>>,
    /// The messages they came from, in order, each once.
    pub messages: Vec<MessageIndex>,
}

/// The sets of one target, made one by one.
///
/// A path under a wildcard of the same target is dropped, and so is one that was there before; the
/// set with what covers it answers for its messages.
pub struct Sets<'a> {
    paths: Box<dyn Iterator<Item = KeyPath<'a>> + 'a>,
    keys: &'a KeyChanges,
    limits: SetLimits,
    /// The sets that are being filled: plain paths, then wildcards.
    open: [OpenSet<'a>; 2],
    /// The lane of the last path.
    last: Lane,
}

struct OpenSet<'a> {
    set: PathSet<'a>,
    bytes: usize,
}

impl OpenSet<'_> {
    fn new(lane: Lane) -> Self {
        let set = PathSet {
            lane,
            paths: Vec::new(),
            messages: Vec::new(),
        };
        Self { set, bytes: 0 }
    }
}

/// A path and its key; no path if the one before covers it.
type KeyPath<'a> = (Option<InvalidationPath<'a>>, KeyIndex);

impl<'a> Sets<'a> {
    /// Cuts paths, each with its key, into sets.
    pub(super) fn of_any(
        mut paths: Vec<(InvalidationPath<'a>, KeyIndex)>,
        keys: &'a KeyChanges,
        limits: SetLimits,
    ) -> Self {
        paths.sort_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
        Self::new(without_covered(paths).into_iter(), keys, limits)
    }

    /// As [`Sets::of_any`], for paths that are all different, with none covered by another.
    pub(super) fn of_different(
        paths: impl Iterator<Item = (InvalidationPath<'a>, KeyIndex)> + 'a,
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
        Self {
            paths: Box::new(paths),
            keys,
            limits,
            open: [Lane::Paths, Lane::Wildcards].map(OpenSet::new),
            last: Lane::Paths,
        }
    }

    fn open(&mut self, lane: Lane) -> &mut OpenSet<'a> {
        let [paths, wildcards] = &mut self.open;
        match lane {
            Lane::Paths => paths,
            Lane::Wildcards => wildcards,
        }
    }

    /// Adds a path to the set of its lane. Returns that set if there is no room in it, and begins
    /// another with the path.
    fn add(&mut self, path: InvalidationPath<'a>) -> Option<PathSet<'a>> {
        let lane = Lane::of(&path);
        let limits = self.limits;
        let most = match lane {
            Lane::Paths => limits.paths,
            Lane::Wildcards => limits.wildcards.min(limits.paths),
        };
        self.last = lane;
        let bytes = path.as_str().len() + JSON_BYTES_PER_PATH;
        let open = self.open(lane);
        let count = open.set.paths.len();
        let is_full = count > 0 && (count >= most || open.bytes + bytes > limits.bytes);
        let full = is_full.then(|| std::mem::replace(open, OpenSet::new(lane)));
        open.bytes += bytes;
        open.set.paths.push(path);
        full.map(|full| finished(full.set))
    }

    /// The last path answers for the messages that this key came in.
    fn add_messages(&mut self, key: KeyIndex) {
        let (keys, last) = (self.keys, self.last);
        let messages = &mut self.open(last).set.messages;
        for message in keys.messages(key) {
            // Neighboring keys usually came in the same message.
            if messages.last() != Some(&message) {
                messages.push(message);
            }
        }
    }
}

fn finished(mut set: PathSet<'_>) -> PathSet<'_> {
    set.messages.sort_unstable();
    set.messages.dedup();
    set
}

fn without_covered(ordered: Vec<(InvalidationPath<'_>, KeyIndex)>) -> Vec<KeyPath<'_>> {
    let mut paths: Vec<KeyPath<'_>> = Vec::with_capacity(ordered.len());
    let mut last_kept = 0;
    for (path, key) in ordered {
        let last = paths.get(last_kept).and_then(|(path, _)| path.as_ref());
        if last.is_some_and(|last| last.clears(&path)) {
            paths.push((None, key));
        } else {
            last_kept = paths.len();
            paths.push((Some(path), key));
        }
    }
    paths
}

impl<'a> Iterator for Sets<'a> {
    type Item = PathSet<'a>;

    fn next(&mut self) -> Option<PathSet<'a>> {
        while let Some((path, key)) = self.paths.next() {
            let full = path.and_then(|path| self.add(path));
            self.add_messages(key);
            if full.is_some() {
                return full;
            }
        }
        let mut open = self.open.iter_mut();
        let last = open.find(|open| !open.set.paths.is_empty())?;
        let lane = last.set.lane;
        let last = std::mem::replace(last, OpenSet::new(lane));
        Some(finished(last.set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BucketName, Change, ChangeKind, ObjectKey};
    use crate::plan::Changes;

    /// The sets of paths, each from a message of its own.
    fn sets(paths: &[(&str, usize)], limits: SetLimits) -> Vec<(Vec<String>, Vec<usize>)> {
        let mut changes = Changes::default();
        for (index, (_, message)) in paths.iter().enumerate() {
            let change = Change {
                bucket: BucketName::new("site"),
                key: ObjectKey::new(format!("{index:03}")).unwrap(),
                kind: ChangeKind::Created,
                event_time: None,
            };
            changes.add(&change, MessageIndex::new(*message)).unwrap();
        }
        let path = |(key, (path, _)): (usize, &(&str, usize))| {
            let path = InvalidationPath::try_from((*path).to_owned()).unwrap();
            (path, KeyIndex::new(key))
        };
        let paths = paths.iter().enumerate().map(path).collect();
        let keys = changes.into();
        Sets::of_any(paths, &keys, limits)
            .map(|set| {
                (
                    set.paths.into_iter().map(String::from).collect(),
                    set.messages.into_iter().map(MessageIndex::get).collect(),
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
            (vec!["/a*", "/a", "/ab", "/a/b", "/b"], vec!["/b", "/a*"]),
            (vec!["/a/*", "/a", "/a/", "/a/b"], vec!["/a", "/a/*"]),
            (vec!["/a*", "/ab*", "/ab/c"], vec!["/a*"]),
            (vec!["/*", "/", "/x", "/a*"], vec!["/*"]),
            (
                vec!["/d/?*", "/d/", "/d/x", "/d/?v=1"],
                vec!["/d/", "/d/x", "/d/?*"],
            ),
            (vec!["/a*b", "/a*", "/ac"], vec!["/a*"]),
            (vec!["/a**", "/a*"], vec!["/a*"]),
            (vec!["/a**", "/a*b", "/ab"], vec!["/ab", "/a**"]),
            (vec!["/a*b", "/axb"], vec!["/a*b", "/axb"]),
            (
                vec!["/a*", "/a!", "/B", "/b*", "/b!"],
                vec!["/B", "/a*", "/b*"],
            ),
        ] {
            let paths: Vec<(&str, usize)> = paths.into_iter().zip(0..).collect();
            let sets = sets(&paths, all());
            let found: Vec<String> = sets.iter().flat_map(|(paths, _)| paths.clone()).collect();
            assert_eq!(found, kept, "{paths:?}");
            let mut messages: Vec<usize> = sets
                .into_iter()
                .flat_map(|(_, messages)| messages)
                .collect();
            messages.sort_unstable();
            let expected: Vec<usize> = (0..).take(paths.len()).collect();
            assert_eq!(messages, expected, "{paths:?}");
        }
    }

    #[test]
    fn sets_are_cut_at_each_limit_and_keep_only_their_own_messages() {
        let limits = SetLimits {
            paths: 2,
            wildcards: 1,
            bytes: 1_000,
        };
        let found = sets(
            &[("/a", 1), ("/b", 2), ("/c", 3), ("/d*", 4), ("/e*", 5)],
            limits,
        );
        let expected = [
            (vec!["/a".into(), "/b".into()], vec![1, 2]),
            (vec!["/d*".into()], vec![4]),
            (vec!["/c".into()], vec![3]),
            (vec!["/e*".into()], vec![5]),
        ];
        assert_eq!(found, expected);
        let limits = SetLimits {
            paths: 10,
            wildcards: 10,
            bytes: 10,
        };
        let found = sets(&[("/a", 1), ("/b", 1), ("/long", 2)], limits);
        let sizes: Vec<usize> = found.iter().map(|(paths, _)| paths.len()).collect();
        assert_eq!(sizes, [2, 1]);
    }
}
