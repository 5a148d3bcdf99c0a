//! Collects changes from messages, and then keeps one entry per key.
//!
//! A flush may hold hundreds of thousands of keys: they share one string, and an entry has a few bytes.

use std::ops::Range;

use super::interner::Interner;
use super::versions::{KeyVersions, VersionEvent, VersionEvents};
use crate::event::{BucketName, Change, ChangeKind, ObjectKey};
use crate::index::index;
use crate::path::{OriginPath, ViewerPath, is_plain};

index! {
    /// The place of a message among the messages of a flush.
    MessageIndex
}

index! {
    /// The place of a key in [`KeyChanges`].
    KeyIndex
}

index! {
    /// The place of a bucket among the buckets of the changes.
    BucketIndex
}

/// Changes of any number of messages.
#[derive(Debug, Default)]
pub struct Changes {
    buckets: Interner<BucketName>,
    /// All keys, each with a slash before it. That is the viewer path where an origin serves the
    /// whole bucket.
    paths: String,
    entries: Vec<Entry>,
    /// The ids of created versions, of the changes that have them.
    versions: VersionEvents,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the key's path begins and ends in `paths`.
    start: u32,
    end: u32,
    bucket: BucketIndex,
    message: MessageIndex,
    kind: ChangeKind,
    is_plain: bool,
}

/// The keys of all changes together are longer than 4 GiB.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("too many changes for one flush")]
pub struct TooMany;

impl Changes {
    /// Adds a change that came in this message.
    ///
    /// # Errors
    /// If the keys of all changes together are longer than 4 GiB; the change is then not added.
    pub fn add(&mut self, change: &Change<'_>, message: MessageIndex) -> Result<(), TooMany> {
        let start = self.paths.len();
        self.paths.push('/');
        self.paths.push_str(change.key.as_str());
        let entry = Entry {
            start: u32::try_from(start).map_err(|_| TooMany)?,
            end: u32::try_from(self.paths.len()).map_err(|_| TooMany)?,
            bucket: self.bucket_index(&change.bucket),
            message,
            kind: change.kind,
            is_plain: is_plain(&self.paths[start..]),
        };
        if let (Some(id), Some(time)) = (&change.version_id, change.event_time) {
            self.versions.add(entry.start, id, time);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Takes the changes of some keys out. They are without the ids of versions.
    ///
    /// # Errors
    /// None in practice: there are not more than there were.
    pub fn split_off(
        &mut self,
        is_meant: impl Fn(&BucketName, &str) -> bool,
    ) -> Result<Self, TooMany> {
        let mut taken = Self::default();
        let entries = std::mem::take(&mut self.entries);
        for entry in entries {
            let bucket = self.bucket(entry.bucket);
            let path = self.path(&entry);
            let key = path.strip_prefix('/').unwrap_or(path);
            if !is_meant(bucket, key) {
                self.entries.push(entry);
                continue;
            }
            let change = Change {
                bucket: bucket.clone(),
                key: ObjectKey::known(key),
                kind: entry.kind,
                event_time: None,
                version_id: None,
            };
            taken.add(&change, entry.message)?;
        }
        Ok(taken)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The buckets of the changes, each once.
    pub fn buckets(&self) -> &[BucketName] {
        self.buckets.values()
    }

    fn bucket_index(&mut self, bucket: &BucketName) -> BucketIndex {
        // Most changes have the bucket of the one before.
        if let Some(last) = self.entries.last().map(|entry| entry.bucket)
            && self.bucket(last) == bucket
        {
            return last;
        }
        BucketIndex::new(self.buckets.place(bucket.clone()))
    }

    fn bucket(&self, index: BucketIndex) -> &BucketName {
        &self.buckets.values()[index.get()]
    }

    fn path(&self, entry: &Entry) -> &str {
        &self.paths[entry.start as usize..entry.end as usize]
    }
}

/// All that happened to each key: bucket by bucket, in the order of the keys.
#[derive(Debug, Default)]
pub struct KeyChanges {
    /// One entry per key, with the first of its messages.
    changes: Changes,
    /// Keys that came in more than one message, each with its second and later messages; in order.
    later_messages: Vec<(KeyIndex, MessageIndex)>,
    /// The versions of the keys whose changes all have one.
    versions: KeyVersions,
}

/// Keys that stand in a row.
#[derive(Clone, Debug)]
pub(super) struct KeyRange(Range<usize>);

impl KeyRange {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = KeyIndex> + use<> {
        self.0.clone().map(KeyIndex::new)
    }

    /// The place of a key in this range, counted from 0.
    pub(super) fn place_of(&self, key: KeyIndex) -> Option<usize> {
        self.0
            .contains(&key.get())
            .then(|| key.get() - self.0.start)
    }

    /// The part of a list with one item per key that is about these keys.
    pub(super) fn slice_mut<'s, T>(&self, per_key: &'s mut [T]) -> &'s mut [T] {
        &mut per_key[self.0.clone()]
    }
}

/// A bucket, and its keys.
#[derive(Clone, Debug)]
pub(super) struct BucketKeys<'a> {
    pub index: BucketIndex,
    pub name: &'a BucketName,
    pub keys: KeyRange,
}

/// All that happened to one key.
#[derive(Clone, Debug)]
pub struct KeyChange<'a> {
    /// The bucket.
    pub bucket: &'a BucketName,
    /// The path of the key where an origin serves the whole bucket.
    pub path: ViewerPath<'a>,
    /// A key that was deleted anywhere in the batch counts as deleted, whatever came after.
    pub kind: ChangeKind,
}

impl<'a> KeyChange<'a> {
    /// The key.
    pub fn key(&self) -> ObjectKey<'a> {
        ObjectKey::known(self.name())
    }

    /// The key as a string.
    pub fn name(&self) -> &'a str {
        let path = self.path.as_str();
        path.strip_prefix('/').unwrap_or(path)
    }
}

impl From<Changes> for KeyChanges {
    fn from(mut changes: Changes) -> Self {
        let mut entries = std::mem::take(&mut changes.entries);
        let order = |entry: &Entry| (entry.bucket, changes.path(entry), entry.message);
        // The changes of a message are usually in order. This sort is fast on runs that are.
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        let versions = std::mem::take(&mut changes.versions);
        let of_keys =
            entries.chunk_by(|a, b| a.bucket == b.bucket && changes.path(a) == changes.path(b));
        let of_keys = of_keys.map(|entries| entries.iter().map(|entry| entry.start));
        let versions = KeyVersions::new(versions, of_keys);
        let mut later_messages = Vec::new();
        let (mut key, mut last_message) = (0, None);
        entries.dedup_by(|entry, kept| {
            let is_same_key =
                entry.bucket == kept.bucket && changes.path(entry) == changes.path(kept);
            if !is_same_key {
                (key, last_message) = (key + 1, None);
                return false;
            }
            kept.kind = kept.kind.max(entry.kind);
            if entry.message != last_message.unwrap_or(kept.message) {
                last_message = Some(entry.message);
                later_messages.push((KeyIndex::new(key), entry.message));
            }
            true
        });
        changes.entries = entries;
        Self {
            changes,
            later_messages,
            versions,
        }
    }
}

impl KeyChanges {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The indices of all keys.
    pub fn indices(&self) -> impl Iterator<Item = KeyIndex> + use<> {
        (0..self.len()).map(KeyIndex::new)
    }

    /// What happened to a key.
    pub fn get(&self, key: KeyIndex) -> KeyChange<'_> {
        let entry = self.entry(key);
        KeyChange {
            bucket: self.changes.bucket(entry.bucket),
            path: self.path(key),
            kind: entry.kind,
        }
    }

    /// All that happened to a key, as one change without a version and a time.
    pub fn change(&self, key: KeyIndex) -> Change<'_> {
        let of_key = self.get(key);
        Change {
            bucket: of_key.bucket.clone(),
            key: of_key.key(),
            kind: of_key.kind,
            event_time: None,
            version_id: None,
        }
    }

    /// The first message that a key came in.
    pub fn first_message(&self, key: KeyIndex) -> MessageIndex {
        self.entry(key).message
    }

    /// The path of a key where an origin serves the whole bucket.
    pub fn path(&self, key: KeyIndex) -> ViewerPath<'_> {
        let entry = self.entry(key);
        ViewerPath::of_whole_bucket_known(self.changes.path(entry), entry.is_plain)
    }

    /// The name of a bucket.
    pub(super) fn bucket(&self, index: BucketIndex) -> &BucketName {
        self.changes.bucket(index)
    }

    /// The bucket of a key.
    pub(super) fn bucket_of(&self, key: KeyIndex) -> BucketIndex {
        self.entry(key).bucket
    }

    /// The buckets that have keys, in the order of their keys.
    pub fn buckets(&self) -> impl Iterator<Item = &BucketName> {
        self.by_bucket().map(|bucket| bucket.name)
    }

    /// Each bucket with its keys.
    pub(super) fn by_bucket(&self) -> impl Iterator<Item = BucketKeys<'_>> {
        let mut start = 0;
        let entries = self.changes.entries.as_slice();
        let buckets = entries.chunk_by(|a: &Entry, b: &Entry| a.bucket == b.bucket);
        buckets.map(move |entries| {
            let keys = start..start + entries.len();
            start = keys.end;
            let index = entries[0].bucket;
            BucketKeys {
                index,
                name: self.changes.bucket(index),
                keys: KeyRange(keys),
            }
        })
    }

    /// Those of some keys of one bucket that are below an origin path: they stand in a row.
    pub(super) fn below(&self, origin_path: &OriginPath, of_bucket: &KeyRange) -> KeyRange {
        let folder = format!("{}/", origin_path.as_str());
        let entries = &self.changes.entries[of_bucket.0.clone()];
        let before = entries.partition_point(|entry| self.changes.path(entry) < folder.as_str());
        let entries = &entries[before..];
        let below = entries.partition_point(|entry| self.changes.path(entry).starts_with(&folder));
        let start = of_bucket.0.start + before;
        KeyRange(start..start + below)
    }

    /// The key of one bucket with this path, if it has changed.
    pub(super) fn find(&self, of_bucket: &KeyRange, path: &str) -> Option<KeyIndex> {
        let entries = &self.changes.entries[of_bucket.0.clone()];
        let place = entries.binary_search_by(|entry| self.changes.path(entry).cmp(path));
        Some(KeyIndex::new(of_bucket.0.start + place.ok()?))
    }

    /// The messages that a key came in, each once.
    pub fn messages(&self, key: KeyIndex) -> impl Iterator<Item = MessageIndex> {
        let first = self.entry(key).message;
        let begin = self.later_messages.partition_point(|(of, _)| *of < key);
        let later = self.later_messages[begin..].iter();
        let later = later.take_while(move |(of, _)| *of == key);
        std::iter::once(first).chain(later.map(|(_, message)| *message))
    }

    /// The versions that the events of a key created, in no order, each as often as it came. `None` unless
    /// each of its changes tells its version and its time.
    pub fn versions(&self, key: KeyIndex) -> Option<impl Iterator<Item = VersionEvent<'_>>> {
        self.versions.of(key.get())
    }

    fn entry(&self, key: KeyIndex) -> &Entry {
        &self.changes.entries[key.get()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventTime, VersionId};
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    /// The version and the time of a change.
    type Known<'a> = Option<(&'a str, i64)>;

    proptest! {
        #[test]
        fn what_is_split_off_and_what_is_left_are_all_changes(
            changes in proptest::collection::vec(("[ab]", "[a-c]{1,2}", any::<bool>(), 0_usize..3), 0..30),
        ) {
            let add = |to: &mut Changes, (bucket, key, deleted, message): &(String, String, bool, usize)| {
                let change = Change {
                    bucket: BucketName::new(bucket.as_str()),
                    key: ObjectKey::new(key.as_str()).unwrap(),
                    kind: if *deleted { ChangeKind::Deleted } else { ChangeKind::Created },
                    event_time: Some(EventTime(1)),
                    version_id: VersionId::new(format!("v{message}")).filter(|_| !deleted),
                };
                to.add(&change, MessageIndex::new(*message)).unwrap();
            };
            let is_meant = |bucket: &str, key: &str| bucket == "a" && key.starts_with('b');
            let (mut all, mut kept, mut apart) = (Changes::default(), Changes::default(), Changes::default());
            for change in &changes {
                add(&mut all, change);
                add(if is_meant(&change.0, &change.1) { &mut apart } else { &mut kept }, change);
            }
            let taken = all.split_off(|bucket, key| is_meant(bucket.as_str(), key)).unwrap();
            let shown = |changes: Changes, with_versions: bool| {
                let keys = KeyChanges::from(changes);
                let shown = keys.indices().map(|index| {
                    let key = keys.get(index);
                    let messages: Vec<_> = keys.messages(index).map(MessageIndex::get).collect();
                    let versions = keys.versions(index).filter(|_| with_versions);
                    let versions = versions.map(|it| it.map(|version| version.id.to_owned()).collect::<Vec<_>>());
                    format!("{} {} {:?} {messages:?} {versions:?}", key.bucket, key.name(), key.kind)
                });
                let mut shown: Vec<String> = shown.collect();
                shown.sort();
                shown
            };
            prop_assert_eq!(shown(taken, false), shown(apart, false));
            prop_assert_eq!(shown(all, true), shown(kept, true));
        }

        #[test]
        fn each_key_is_there_once_with_all_that_happened_to_it(
            changes in proptest::collection::vec(
                ("[ab]", "[a-c/]{1,2}", 0_u8..8, 0_usize..5, any::<Option<i64>>(), "[a-z]{0,3}"), 0..60),
        ) {
            let mut gathered = Changes::default();
            let mut model: BTreeMap<(&str, &str), (bool, BTreeSet<usize>)> = BTreeMap::new();
            let mut versions: BTreeMap<(&str, &str), Vec<Known<'_>>> = BTreeMap::new();
            for (bucket, key, deleted, source, time, id) in &changes {
                let deleted = &(*deleted == 0);
                let version_id = VersionId::new(id.as_str()).filter(|_| !deleted);
                let version = version_id.as_ref().and(time.map(|time| (id.as_str(), time)));
                versions.entry((bucket, key)).or_default().push(version);
                let change = Change {
                    bucket: BucketName::new(bucket.as_str()),
                    key: ObjectKey::new(key.as_str()).unwrap(),
                    kind: if *deleted { ChangeKind::Deleted } else { ChangeKind::Created },
                    event_time: time.map(EventTime),
                    version_id,
                };
                gathered.add(&change, MessageIndex::new(*source)).unwrap();
                let known = model.entry((bucket, key)).or_default();
                known.0 |= *deleted;
                known.1.insert(*source);
            }
            let keys = KeyChanges::from(gathered);
            let mut found = BTreeMap::new();
            for bucket in keys.by_bucket() {
                for index in bucket.keys.iter() {
                    let key = keys.get(index);
                    prop_assert_eq!(bucket.name, key.bucket);
                    let sources: Vec<usize> = keys.messages(index).map(MessageIndex::get).collect();
                    let deleted = key.kind == ChangeKind::Deleted;
                    let name = key.key().as_str().to_owned();
                    let known: Option<Vec<_>> = versions[&(bucket.name.as_str(), name.as_str())].iter().copied().collect();
                    let of_key = keys.versions(index).map(|events| {
                        events.map(|event| (event.id.to_owned(), event.time.0)).collect::<Vec<_>>()
                    });
                    let sorted = |versions: Option<Vec<(String, i64)>>| versions.map(|mut it| { it.sort(); it });
                    let known = known.map(|it| it.into_iter().map(|(id, time)| (id.to_owned(), time)).collect());
                    prop_assert_eq!(sorted(of_key), sorted(known));
                    prop_assert!(found.insert((bucket.name.as_str(), name), (deleted, sources)).is_none());
                }
            }
            let model = model.into_iter().map(|((bucket, key), (deleted, sources))| {
                ((bucket, key.to_owned()), (deleted, sources.into_iter().collect()))
            });
            prop_assert_eq!(found, model.collect());
        }
    }
}
