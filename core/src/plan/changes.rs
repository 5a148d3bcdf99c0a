//! Changes, gathered from messages, and then one entry a key.
//!
//! A flush may hold hundreds of thousands of keys: they share one text, and an entry is a few bytes.

use std::ops::Range;

use super::interner::Interner;
use crate::event::{BucketName, Change, ChangeKind, ObjectKey};
use crate::path::{OriginPath, ViewerPath, is_plain};

/// Changes of any number of messages.
#[derive(Debug, Default)]
pub struct Changes {
    buckets: Interner<BucketName>,
    /// The keys, each with a slash before it: a path, where an origin serves the whole bucket.
    paths: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where in `paths` the key's begins.
    start: u32,
    end: u32,
    bucket: u32,
    source: u32,
    kind: ChangeKind,
    is_plain: bool,
}

/// The keys of all changes together are longer than 4 GiB.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("too many changes for one flush")]
pub struct TooMany;

impl Changes {
    /// Adds a change. `source` is the index of the message that told of it.
    ///
    /// # Errors
    /// If the keys of all changes together are longer than 4 GiB; the change is then not added.
    pub fn add(&mut self, change: &Change<'_>, source: u32) -> Result<(), TooMany> {
        let start = self.paths.len();
        self.paths.push('/');
        self.paths.push_str(change.key.as_str());
        let entry = Entry {
            start: u32::try_from(start).map_err(|_| TooMany)?,
            end: u32::try_from(self.paths.len()).map_err(|_| TooMany)?,
            bucket: self.bucket_number(&change.bucket),
            source,
            kind: change.kind,
            is_plain: self.paths.get(start..).is_some_and(is_plain),
        };
        self.entries.push(entry);
        Ok(())
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
        &self.buckets.values
    }

    fn bucket_number(&mut self, bucket: &BucketName) -> u32 {
        // Changes come bucket by bucket.
        if let Some(last) = self.entries.last().map(|entry| entry.bucket)
            && self.bucket(last) == Some(bucket)
        {
            return last;
        }
        self.buckets.index(bucket.clone())
    }

    fn bucket(&self, number: u32) -> Option<&BucketName> {
        self.buckets.values.get(number as usize)
    }

    fn path(&self, entry: &Entry) -> &str {
        let range = entry.start as usize..entry.end as usize;
        self.paths.get(range).unwrap_or_default()
    }
}

/// All that happened to each key: bucket by bucket, in the order of the keys.
#[derive(Debug, Default)]
pub struct KeyChanges {
    /// One entry a key, with the first of its messages.
    changes: Changes,
    /// Indices of a key, and of a further message that told of it; in order.
    further_sources: Vec<(u32, u32)>,
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

    /// The key as a text.
    pub fn name(&self) -> &'a str {
        let path = self.path.as_str();
        path.strip_prefix('/').unwrap_or(path)
    }
}

impl From<Changes> for KeyChanges {
    fn from(mut changes: Changes) -> Self {
        let mut entries = std::mem::take(&mut changes.entries);
        let order = |entry: &Entry| (entry.bucket, changes.path(entry), entry.source);
        // The changes of a message are in order as a rule, and this sort makes use of it.
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut further_sources = Vec::new();
        let (mut key, mut last_source) = (0, None);
        entries.dedup_by(|entry, kept| {
            let is_same_key =
                entry.bucket == kept.bucket && changes.path(entry) == changes.path(kept);
            if !is_same_key {
                (key, last_source) = (key + 1, None);
                return false;
            }
            kept.kind = kept.kind.max(entry.kind);
            if entry.source != last_source.unwrap_or(kept.source) {
                last_source = Some(entry.source);
                further_sources.push((key, entry.source));
            }
            true
        });
        changes.entries = entries;
        Self {
            changes,
            further_sources,
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

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = KeyChange<'_>> {
        (0..self.len()).filter_map(|key| self.get(key))
    }

    /// The key with this index.
    pub fn get(&self, key: usize) -> Option<KeyChange<'_>> {
        let entry = self.changes.entries.get(key)?;
        Some(KeyChange {
            bucket: self.changes.bucket(entry.bucket)?,
            path: self.path(key)?,
            kind: entry.kind,
        })
    }

    /// The path of the key with this index, where an origin serves the whole bucket.
    pub fn path(&self, key: usize) -> Option<ViewerPath<'_>> {
        let entry = self.changes.entries.get(key)?;
        let path = self.changes.path(entry);
        Some(ViewerPath::of_whole_bucket_known(path, entry.is_plain))
    }

    /// Each bucket, and the indices of its keys.
    pub fn by_bucket(&self) -> impl Iterator<Item = (&BucketName, Range<usize>)> {
        let mut start = 0;
        let same_bucket = |a: &Entry, b: &Entry| a.bucket == b.bucket;
        self.changes
            .entries
            .chunk_by(same_bucket)
            .filter_map(move |entries| {
                let keys = start..start + entries.len();
                start = keys.end;
                Some((self.changes.bucket(entries.first()?.bucket)?, keys))
            })
    }

    /// Of the keys of a bucket those below an origin path: they stand in a row.
    pub fn below(&self, origin_path: &OriginPath, of_bucket: Range<usize>) -> Range<usize> {
        let folder = format!("{}/", origin_path.as_str());
        let entries = self
            .changes
            .entries
            .get(of_bucket.clone())
            .unwrap_or_default();
        let before = entries.partition_point(|entry| self.changes.path(entry) < folder.as_str());
        let entries = entries.get(before..).unwrap_or_default();
        let below = entries.partition_point(|entry| self.changes.path(entry).starts_with(&folder));
        let start = of_bucket.start + before;
        start..start + below
    }

    /// The messages that told of a key, each once.
    pub fn sources(&self, key: usize) -> impl Iterator<Item = u32> {
        let first = self.changes.entries.get(key).map(|entry| entry.source);
        let begin = self
            .further_sources
            .partition_point(|(of, _)| (*of as usize) < key);
        let further = self.further_sources.iter().skip(begin);
        let further = further.take_while(move |(of, _)| *of as usize == key);
        first.into_iter().chain(further.map(|(_, source)| *source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_key_is_there_once_with_all_that_happened_to_it(
            changes in proptest::collection::vec(("[ab]", "[a-c/]{1,2}", any::<bool>(), 0_u32..5), 0..60),
        ) {
            let mut gathered = Changes::default();
            let mut model: BTreeMap<(&str, &str), (bool, BTreeSet<u32>)> = BTreeMap::new();
            for (bucket, key, deleted, source) in &changes {
                let change = Change {
                    bucket: BucketName::new(bucket.as_str()),
                    key: ObjectKey::new(key.as_str()).unwrap(),
                    kind: if *deleted { ChangeKind::Deleted } else { ChangeKind::Created },
                    event_time: None,
                };
                gathered.add(&change, *source).unwrap();
                let known = model.entry((bucket, key)).or_default();
                known.0 |= *deleted;
                known.1.insert(*source);
            }
            let keys = KeyChanges::from(gathered);
            let mut found = BTreeMap::new();
            for (bucket, range) in keys.by_bucket() {
                for index in range {
                    let key = keys.get(index).unwrap();
                    prop_assert_eq!(bucket, key.bucket);
                    let sources: Vec<u32> = keys.sources(index).collect();
                    let deleted = key.kind == ChangeKind::Deleted;
                    let name = key.key().as_str().to_owned();
                    prop_assert!(found.insert((bucket.as_str(), name), (deleted, sources)).is_none());
                }
            }
            let model = model.into_iter().map(|((bucket, key), (deleted, sources))| {
                ((bucket, key.to_owned()), (deleted, sources.into_iter().collect()))
            });
            prop_assert_eq!(found, model.collect());
        }
    }
}
