//! The paths of one target, each once, cut into sets.

use super::changes::{BucketIndex, KeyChanges, KeyIndex, MessageIndex};
use crate::event::BucketName;
use crate::path::{InvalidationPath, Reach, WildcardCause};
use crate::set::{JSON_BYTES_PER_PATH, Lane, MAX_SET_BYTES};
use crate::wildcards::{AT_ONCE, is_too_wide, widened};

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

    /// How many wildcards a set may have.
    pub fn wildcards_of_a_set(&self) -> usize {
        self.wildcards.min(self.paths).max(1)
    }
}

/// Paths of one lane that go into one message of SubmitQueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSet<'a> {
    /// Whether they are wildcards.
    pub lane: Lane,
    /// What becomes of them.
    pub fate: Fate<'a>,
    /// The paths, in the order of their keys or in their own, each once.
    pub paths: Vec<InvalidationPath<'a>>,
    /// The messages they came from, in order, each once.
    pub messages: Vec<MessageIndex>,
    /// The key and the reason of the wildcard that covers most.
    pub widest: Option<Widest>,
}

/// What becomes of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<'a> {
    /// It is submitted.
    Submit,
    /// It waits until wildcards that names in this bucket need may be submitted again.
    Wait(&'a BucketName),
    /// It is rejected, because its wildcards are wider than the setting allows.
    Reject,
}

/// The wildcard of a set that covers most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widest {
    /// Why it is needed.
    pub cause: WildcardCause,
    /// The key that needs it, or one of them.
    pub key: KeyIndex,
    /// Its place among the paths of the set.
    place: usize,
}

impl<'a> PathSet<'a> {
    fn new(lane: Lane, fate: Fate<'a>) -> Self {
        Self {
            lane,
            fate,
            paths: Vec::new(),
            messages: Vec::new(),
            widest: None,
        }
    }

    /// The wildcard that covers most, with what it covers.
    pub fn widest(&self) -> Option<(Widest, Reach<'_>)> {
        let widest = self.widest?;
        let reach = self.paths.get(widest.place)?.reach()?;
        Some((widest, reach))
    }
}

/// A path that a key needs.
#[derive(Clone, Debug)]
pub(super) struct Needed<'a> {
    pub path: InvalidationPath<'a>,
    pub key: KeyIndex,
    /// Why it is a wildcard, if it is one.
    pub cause: Option<WildcardCause>,
}

/// The sets of one target, made one by one: those to submit, then the others.
///
/// A path under a wildcard of the same target and fate is dropped, and so is one that was there before;
/// the set with what covers it answers for its messages.
pub struct Sets<'a> {
    fate: Fate<'a>,
    paths: Box<dyn Iterator<Item = OrderedPath<'a>> + 'a>,
    later: std::vec::IntoIter<(Fate<'a>, Vec<Needed<'a>>)>,
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

impl<'a> OpenSet<'a> {
    fn new(lane: Lane, fate: Fate<'a>) -> Self {
        let set = PathSet::new(lane, fate);
        Self { set, bytes: 0 }
    }
}

/// A path and its key; no path if the one before covers it.
pub(super) struct OrderedPath<'a> {
    pub path: Option<InvalidationPath<'a>>,
    pub key: KeyIndex,
    cause: Option<WildcardCause>,
}

impl<'a> Sets<'a> {
    /// Sorts paths by their fate, and cuts them into sets. `may_go` says of a bucket whether the wildcards
    /// that its names need may be submitted now. It is asked once for each bucket that has any.
    pub(super) fn of_any(
        needed: Vec<Needed<'a>>,
        keys: &'a KeyChanges,
        (limits, min_depth): (SetLimits, usize),
        mut may_go: impl FnMut(&'a BucketName) -> bool,
    ) -> Self {
        let is_too_wide = |it: &Needed<'_>| is_too_wide(&it.path, it.cause, min_depth);
        let (reject, needed): (Vec<_>, Vec<_>) = needed.into_iter().partition(is_too_wide);
        let (mut submit, of_names) = names(needed, keys, min_depth);
        let mut later = Vec::new();
        for (bucket, of_bucket) in of_names {
            let bucket = keys.bucket(bucket);
            match may_go(bucket) {
                true => submit.extend(of_bucket),
                false => later.push((Fate::Wait(bucket), of_bucket)),
            }
        }
        if !reject.is_empty() {
            later.push((Fate::Reject, reject));
        }
        let paths = in_order(submit).into_iter();
        Self::new(paths, later, keys, limits)
    }

    /// As [`Sets::of_any`], for paths that are all different, with none covered by another and no wildcard.
    pub(super) fn of_different(
        paths: impl Iterator<Item = (InvalidationPath<'a>, KeyIndex)> + 'a,
        keys: &'a KeyChanges,
        limits: SetLimits,
    ) -> Self {
        let ordered = |(path, key)| OrderedPath {
            path: Some(path),
            key,
            cause: None,
        };
        Self::new(paths.map(ordered), Vec::new(), keys, limits)
    }

    fn new(
        paths: impl Iterator<Item = OrderedPath<'a>> + 'a,
        later: Vec<(Fate<'a>, Vec<Needed<'a>>)>,
        keys: &'a KeyChanges,
        limits: SetLimits,
    ) -> Self {
        Self {
            fate: Fate::Submit,
            paths: Box::new(paths),
            later: later.into_iter(),
            keys,
            limits,
            open: [Lane::Paths, Lane::Wildcards].map(|lane| OpenSet::new(lane, Fate::Submit)),
            last: Lane::Paths,
        }
    }

    /// Begins with the paths of the next fate. Returns whether there are any.
    fn begin_next(&mut self) -> bool {
        let Some((fate, needed)) = self.later.next() else {
            return false;
        };
        self.fate = fate;
        self.paths = Box::new(in_order(needed).into_iter());
        self.open = [Lane::Paths, Lane::Wildcards].map(|lane| OpenSet::new(lane, fate));
        true
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
    fn add(
        &mut self,
        path: InvalidationPath<'a>,
        key: KeyIndex,
        cause: Option<WildcardCause>,
    ) -> Option<PathSet<'a>> {
        let lane = Lane::of(&path);
        let (limits, fate) = (self.limits, self.fate);
        let most = match lane {
            Lane::Paths => limits.paths,
            Lane::Wildcards => limits.wildcards_of_a_set(),
        };
        self.last = lane;
        let bytes = path.as_str().len() + JSON_BYTES_PER_PATH;
        let open = self.open(lane);
        let count = open.set.paths.len();
        let is_full = count > 0 && (count >= most || open.bytes + bytes > limits.bytes);
        let full = is_full.then(|| std::mem::replace(open, OpenSet::new(lane, fate)));
        open.bytes += bytes;
        if let Some(cause) = cause {
            open.set.note(&path, key, cause);
        }
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

impl PathSet<'_> {
    /// Notes the wildcard that is added next, if it covers most so far.
    fn note(&mut self, path: &InvalidationPath<'_>, key: KeyIndex, cause: WildcardCause) {
        let known = self.widest.map(|widest| self.paths[widest.place].as_str());
        if known.is_none_or(|known| path.as_str().len() < known.len()) {
            let place = self.paths.len();
            self.widest = Some(Widest { cause, key, place });
        }
    }
}

fn finished(mut set: PathSet<'_>) -> PathSet<'_> {
    set.messages.sort_unstable();
    set.messages.dedup();
    set
}

/// The paths that a set has, and beside them the wildcards that names need, few for each bucket. What a wildcard
/// covers that no key needs, such as one that is cheaper, waits for no ration.
pub(super) fn names<'a>(
    needed: Vec<Needed<'a>>,
    keys: &KeyChanges,
    min_depth: usize,
) -> (Vec<Needed<'a>>, Vec<(BucketIndex, Vec<Needed<'a>>)>) {
    let is_new = |it: &&Needed<'_>| {
        matches!(
            it.cause,
            Some(WildcardCause::Collapsed | WildcardCause::Trust)
        )
    };
    let new = needed.iter().filter(is_new).map(|it| it.path.clone());
    let new: Vec<InvalidationPath<'a>> = new.collect();
    let is_name = |it: &Needed<'_>| {
        it.cause.is_some_and(WildcardCause::is_name)
            && !new.iter().any(|wildcard| wildcard.clears(&it.path))
    };
    let (mut of_names, rest): (Vec<_>, Vec<_>) = needed.into_iter().partition(is_name);
    of_names.sort_by_key(|it| keys.bucket_of(it.key));
    let mut by_bucket = Vec::new();
    while let Some(first) = of_names.first() {
        let bucket = keys.bucket_of(first.key);
        let end = of_names.partition_point(|it| keys.bucket_of(it.key) == bucket);
        let others = of_names.split_off(end);
        let of_bucket = std::mem::replace(&mut of_names, others);
        by_bucket.push((bucket, few(of_bucket, min_depth)));
    }
    (rest, by_bucket)
}

/// At most [`AT_ONCE`] different wildcards in place of these.
fn few(mut needed: Vec<Needed<'_>>, min_depth: usize) -> Vec<Needed<'_>> {
    if needed.len() > AT_ONCE {
        let paths: Vec<_> = needed.iter().map(|it| it.path.clone()).collect();
        let widened = widened(&paths, AT_ONCE, min_depth);
        for (needed, path) in needed.iter_mut().zip(widened) {
            needed.path = path;
        }
    }
    needed
}

/// Sorts paths, and leaves out those that another one covers.
pub(super) fn in_order(mut needed: Vec<Needed<'_>>) -> Vec<OrderedPath<'_>> {
    needed.sort_by(|a, b| a.path.order().cmp(&b.path.order()));
    let mut paths: Vec<OrderedPath<'_>> = Vec::with_capacity(needed.len());
    let mut last_kept = 0;
    for Needed { path, key, cause } in needed {
        let last = paths.get(last_kept).and_then(|it| it.path.as_ref());
        let is_covered = last.is_some_and(|last| last.clears(&path));
        if !is_covered {
            last_kept = paths.len();
        }
        let path = (!is_covered).then_some(path);
        paths.push(OrderedPath { path, key, cause });
    }
    paths
}

impl<'a> Iterator for Sets<'a> {
    type Item = PathSet<'a>;

    fn next(&mut self) -> Option<PathSet<'a>> {
        loop {
            while let Some(OrderedPath { path, key, cause }) = self.paths.next() {
                let full = path.and_then(|path| self.add(path, key, cause));
                self.add_messages(key);
                if full.is_some() {
                    return full;
                }
            }
            let fate = self.fate;
            let mut open = self.open.iter_mut();
            if let Some(last) = open.find(|open| !open.set.paths.is_empty()) {
                let next = OpenSet::new(last.set.lane, fate);
                return Some(finished(std::mem::replace(last, next).set));
            }
            if !self.begin_next() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BucketName, Change, ChangeKind, ObjectKey};
    use crate::plan::Changes;
    use proptest::prelude::*;

    /// The sets of paths, each from a message of its own.
    fn sets(paths: &[(&str, usize)], limits: SetLimits) -> Vec<(Vec<String>, Vec<usize>)> {
        let mut changes = Changes::default();
        for (index, (_, message)) in paths.iter().enumerate() {
            let change = Change {
                bucket: BucketName::new("site"),
                key: ObjectKey::new(format!("{index:03}")).unwrap(),
                kind: ChangeKind::Created,
                event_time: None,
                version_id: None,
            };
            changes.add(&change, MessageIndex::new(*message)).unwrap();
        }
        let path = |(key, (path, _)): (usize, &(&str, usize))| Needed {
            path: InvalidationPath::try_from((*path).to_owned()).unwrap(),
            key: KeyIndex::new(key),
            cause: None,
        };
        let paths = paths.iter().enumerate().map(path).collect();
        let keys = changes.into();
        Sets::of_any(paths, &keys, (limits, 0), |_| true)
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

    fn needed(path: &str, key: usize, cause: WildcardCause) -> Needed<'static> {
        let path = InvalidationPath::try_from(path.to_owned()).unwrap();
        let cause = path.wildcard_prefix().map(|_| cause);
        let key = KeyIndex::new(key);
        Needed { path, key, cause }
    }

    /// One key of each bucket, each from a message of its own.
    fn of_buckets(buckets: &[&str]) -> KeyChanges {
        let mut changes = Changes::default();
        for (index, bucket) in buckets.iter().enumerate() {
            let change = Change {
                bucket: BucketName::new(*bucket),
                key: ObjectKey::new("key").unwrap(),
                kind: ChangeKind::Created,
                event_time: None,
                version_id: None,
            };
            changes.add(&change, MessageIndex::new(index)).unwrap();
        }
        changes.into()
    }

    fn shown(set: &PathSet<'_>) -> String {
        let paths: Vec<&str> = set.paths.iter().map(InvalidationPath::as_str).collect();
        let messages: Vec<usize> = set.messages.iter().map(|message| message.get()).collect();
        format!("{:?} {paths:?} {messages:?}", set.fate)
    }

    #[test]
    fn wildcards_of_names_wait_for_their_bucket_and_hold_up_and_cover_nothing_else() {
        use WildcardCause::{ErrorPage, QueryStrings, Tilde};
        let keys = of_buckets(&["a", "b", "c"]);
        let all = || {
            vec![
                needed("/x", 0, Tilde),
                needed("/x*", 0, Tilde),
                needed("/y*", 1, Tilde),
                needed("/y/1*", 1, Tilde),
                needed("/y/2", 0, Tilde),
                needed("/q*", 0, QueryStrings),
                needed("/*", 2, ErrorPage),
            ]
        };
        let sets = |all, min_depth, goes: &'static str| {
            let mut asked = Vec::new();
            let sets = Sets::of_any(all, &keys, (SetLimits::with_paths(10), min_depth), |it| {
                asked.push(it.to_string());
                it.as_str() == goes
            });
            let sets: Vec<_> = sets.map(|set| shown(&set)).collect();
            (sets, asked)
        };
        let without_errors = || all().into_iter().take(6).collect();
        let (found, asked) = sets(without_errors(), 0, "b");
        assert_eq!(
            found,
            [
                r#"Submit ["/x"] [0]"#,
                r#"Submit ["/q*", "/y*"] [0, 1]"#,
                r#"Wait(BucketName("a")) ["/x*"] [0]"#,
            ]
        );
        assert_eq!(asked, ["a", "b"], "each once");
        let (found, _) = sets(all(), 0, "none");
        assert_eq!(
            found,
            [
                r#"Submit ["/*"] [0, 2]"#,
                r#"Wait(BucketName("a")) ["/x*"] [0]"#,
                r#"Wait(BucketName("b")) ["/y*"] [1]"#,
            ]
        );
        let (found, asked) = sets(all(), 1, "b");
        assert_eq!(
            found,
            [
                r#"Submit ["/x", "/y/2"] [0]"#,
                r#"Submit ["/q*", "/y/1*"] [0, 1]"#,
                r#"Reject ["/*"] [0, 1, 2]"#,
            ]
        );
        assert_eq!(asked, ["b"]);
    }

    #[test]
    fn many_wildcards_of_names_become_those_of_their_folders() {
        use WildcardCause::Tilde;
        let keys = of_buckets(&["a"]);
        let all: Vec<_> = (0..1_000)
            .map(|n| needed(&format!("/photos/{}/{n}*", n % 3), 0, Tilde))
            .collect();
        let sets = Sets::of_any(all, &keys, (SetLimits::with_paths(10), 0), |_| true);
        let sets: Vec<_> = sets.collect();
        assert_eq!(sets.len(), 1);
        assert_eq!(
            shown(&sets[0]),
            r#"Submit ["/photos/0/*", "/photos/1/*", "/photos/2/*"] [0]"#
        );
        let (widest, reach) = sets[0].widest().unwrap();
        assert_eq!((widest.cause, widest.key), (Tilde, KeyIndex::new(0)));
        assert_eq!(reach, Reach::BeginningWith("/photos/0/"));
    }

    proptest! {
        /// Whatever waits or is rejected: each path is cleared by what has its own fate, each message is
        /// answered for, and nothing is paid for twice.
        #[test]
        fn no_path_is_forgotten(
            paths in proptest::collection::vec(("/[ab/]{0,4}", any::<bool>(), 0_usize..4), 0..60),
            goes in proptest::collection::vec(any::<bool>(), 3),
            min_depth in 0_usize..3,
        ) {
            use WildcardCause::{Asterisk, ErrorPage, QueryStrings, Tilde};
            let keys = of_buckets(&["a", "b", "c"]);
            let all: Vec<_> = (0..).zip(&paths).map(|(n, (prefix, is_wildcard, cause))| {
                let star = if *is_wildcard { "*" } else { "" };
                let cause = [Asterisk, ErrorPage, QueryStrings, Tilde][*cause];
                needed(&format!("{prefix}{star}"), n % 3, cause)
            }).collect();
            let may_go = |bucket: &BucketName| {
                goes[usize::from(bucket.as_str().as_bytes()[0] - b'a')]
            };
            let limits = SetLimits { paths: 5, wildcards: 3, bytes: 1_000 };
            let sets: Vec<_> = Sets::of_any(all.clone(), &keys, (limits, min_depth), may_go).collect();
            for Needed { path, key, cause } in &all {
                let bucket = keys.get(*key).bucket;
                let is_wide = cause.is_some_and(|cause| cause != QueryStrings);
                let fate = if is_wide && path.reach().unwrap().depth() < min_depth {
                    Fate::Reject
                } else if matches!(cause, Some(Asterisk | Tilde)) && !may_go(bucket) {
                    Fate::Wait(bucket)
                } else {
                    Fate::Submit
                };
                let message = keys.messages(*key).next().unwrap();
                let clears = |set: &&PathSet<'_>| {
                    let is_of_fate = set.fate == fate && set.messages.contains(&message);
                    is_of_fate && set.paths.iter().any(|it| it.clears(path))
                };
                prop_assert!(sets.iter().any(|set| clears(&set)), "{path} {fate:?} {sets:?}");
            }
            for fate in sets.iter().map(|set| set.fate) {
                let of_fate = sets.iter().filter(|set| set.fate == fate);
                let of_fate: Vec<_> = of_fate.flat_map(|set| &set.paths).collect();
                for (n, path) in of_fate.iter().enumerate() {
                    let mut others = of_fate.iter().enumerate().filter(|(m, _)| *m != n);
                    prop_assert!(!others.any(|(_, other)| other.clears(path)), "{path} {fate:?}");
                }
            }
        }
    }
}
