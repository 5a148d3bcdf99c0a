//! What happened to the keys of a bucket, kept in few bytes: there may be millions.

use std::ops::Range;
use std::time::Duration;

use crate::cost::skip::facts::Listing;
use crate::cost::skip::key::MAX_COMPARED;
use crate::cost::skip::{Candidate, Created};
use crate::event::{ChangeKind, EventTime, ObjectKey};
use crate::path::ViewerPath;
use crate::plan::VersionEvent;

/// At most so many keys are kept, and so many changes. Together they take 600 MB, with keys of ninety bytes.
pub const MOST: usize = 5_000_000;

/// A time in whole seconds since 1970, as a list of versions has it.
pub(super) type Second = u32;

/// What happened in a bucket between two times.
#[derive(Debug)]
pub struct History {
    since: Second,
    until: Second,
    debounce: Duration,
    /// All keys in their order, each with a slash before it.
    paths: String,
    keys: Vec<KeptKey>,
    changes: Vec<PastChange>,
    /// From when there were objects, and until when, each in order: how many there were at a time.
    begins: Vec<Second>,
    ends: Vec<Second>,
}

#[derive(Clone, Copy, Debug)]
struct KeptKey {
    /// Where its path ends in `paths`. It begins where that of the key before ends.
    end: u32,
    /// From when there was an object, and until when.
    from: Second,
    to: Second,
}

/// A change of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PastChange {
    pub time: Second,
    /// The place of its key.
    pub key: u32,
    pub kind: ChangeKind,
    pub finding: PastFinding,
}

/// What the list tells of an upload, as far as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PastFinding {
    /// It may have changed what viewers get.
    Changed,
    /// It has the same content as the versions below it.
    Unchanged,
    /// There was no object before.
    FirstUpload,
}

/// Why a key is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There are too many.
    #[error("there are more than 5,000,000 keys or changes")]
    TooMany,
    /// The keys do not come in the order of their bytes, as S3 lists them.
    #[error("the keys of the list are not in order: `{0}` came late")]
    OutOfOrder(String),
}

impl History {
    /// The history between two times, of nothing yet. Flushes would have come `debounce` after a change.
    pub fn new(since: EventTime, until: EventTime, debounce: Duration) -> Self {
        Self {
            since: second(since),
            until: second(until),
            debounce,
            paths: String::new(),
            keys: Vec::new(),
            changes: Vec::new(),
            begins: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Takes a key with all its versions, the newest first.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn add(&mut self, key: &ObjectKey<'_>, listing: &Listing<'_>) -> Result<(), NotTaken> {
        if self.last_key().is_some_and(|last| last >= key.as_str()) {
            return Err(NotTaken::OutOfOrder(key.as_str().to_owned()));
        }
        let entries = listing.entries.as_slice();
        let mut objects = entries.iter().filter(|entry| entry.object.is_some());
        let (Some(newest), Some(oldest)) = (entries.first(), objects.next_back()) else {
            // Nothing but delete markers: there never was an object that a viewer could have got.
            return Ok(());
        };
        let to = match newest.object {
            Some(_) => Second::MAX,
            None => second(newest.last_modified),
        };
        let before = self.changes.len();
        let place = u32::try_from(self.keys.len()).map_err(|_| NotTaken::TooMany)?;
        for (n, entry) in entries.iter().enumerate() {
            let time = second(entry.last_modified);
            if (self.since..=self.until).contains(&time) {
                self.changes.push(PastChange {
                    time,
                    key: place,
                    kind: match entry.object {
                        Some(_) => ChangeKind::Created,
                        None => ChangeKind::Deleted,
                    },
                    finding: self.finding(listing, n),
                });
            }
        }
        if self.changes.len() == before && to < self.since {
            return Ok(());
        }
        self.paths.push('/');
        self.paths.push_str(key.as_str());
        self.keys.push(KeptKey {
            end: u32::try_from(self.paths.len()).map_err(|_| NotTaken::TooMany)?,
            from: second(oldest.last_modified),
            to,
        });
        match self.keys.len().max(self.changes.len()) > MOST {
            true => Err(NotTaken::TooMany),
            false => Ok(()),
        }
    }

    fn last_key(&self) -> Option<&str> {
        let last = self.keys.len().checked_sub(1)?;
        Some(&self.path(last)[1..])
    }

    /// What would have been found at the flush of a version. If all versions of a key in a flush are
    /// unchanged, so is the key: the base of each is an hour older than it, and so below all others.
    fn finding(&self, listing: &Listing<'_>, place: usize) -> PastFinding {
        let entry = listing.entries[place];
        if entry.object.is_none() || !entry.is_identified() {
            return PastFinding::Changed;
        }
        let end = listing.entries.len().min(place + MAX_COMPARED + 1);
        let mut entries = listing.entries[place..end].to_vec();
        entries[0].is_latest = true;
        let at_flush = Listing {
            entries,
            is_complete: listing.is_complete && end == listing.entries.len(),
        };
        let debounce = i64::try_from(self.debounce.as_millis()).unwrap_or(i64::MAX);
        let now = EventTime(entry.last_modified.0.saturating_add(debounce));
        let event = VersionEvent {
            id: entry.id,
            time: entry.last_modified,
        };
        let created = Created::new(ChangeKind::Created, Some([event].into_iter()), now);
        let candidate = created.and_then(|created| created.compare(&at_flush, now));
        match candidate {
            Ok(Candidate::FirstUpload) => PastFinding::FirstUpload,
            Ok(Candidate::SameContent(_)) => PastFinding::Unchanged,
            Err(_) => PastFinding::Changed,
        }
    }

    /// Puts the changes in the order of their times, when all keys were taken.
    pub fn finish(&mut self) {
        self.changes.sort_unstable();
        self.begins = self.keys.iter().map(|key| key.from).collect();
        self.ends = self.keys.iter().map(|key| key.to).collect();
        self.begins.sort_unstable();
        self.ends.sort_unstable();
    }

    /// How many objects there were at a time.
    pub(super) fn objects_at(&self, time: Second) -> u64 {
        let until = |times: &[Second]| times.partition_point(|it| *it <= time) as u64;
        until(&self.begins).saturating_sub(until(&self.ends))
    }

    /// How many uploads and deletions there were.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many keys there are or were.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn since(&self) -> Second {
        self.since
    }

    pub(super) fn until(&self) -> Second {
        self.until
    }

    pub(super) fn debounce(&self) -> Duration {
        self.debounce
    }

    pub(super) fn changes(&self) -> &[PastChange] {
        &self.changes
    }

    pub(super) fn key(&self, place: u32) -> ObjectKey<'_> {
        ObjectKey::known(&self.path(place as usize)[1..])
    }

    fn path(&self, place: usize) -> &str {
        let begin = place.checked_sub(1);
        let begin = begin.map_or(0, |before| self.keys[before].end as usize);
        &self.paths[begin..self.keys[place].end as usize]
    }

    /// The paths of the whole bucket that begin so, and that were there at a time.
    pub(super) fn paths_at<'h>(
        &'h self,
        time: Second,
        beginning: &str,
    ) -> impl Iterator<Item = ViewerPath<'h>> + use<'h> {
        let places = self.beginning_with(beginning);
        let were_there = places.filter(move |place| {
            let KeptKey { from, to, .. } = self.keys[*place];
            from <= time && time < to
        });
        were_there.map(|place| ViewerPath::of_whole_bucket(self.path(place)))
    }

    fn beginning_with(&self, beginning: &str) -> Range<usize> {
        let first = self.partition_point(|path| path < beginning);
        first..self.partition_point(|path| path < beginning || path.starts_with(beginning))
    }

    fn partition_point(&self, is_before: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (0, self.keys.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match is_before(self.path(middle)) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

/// A time before 1970 or after 2106 is the nearest that can be kept.
fn second(time: EventTime) -> Second {
    let seconds = time.0.div_euclid(1_000).max(0);
    Second::try_from(seconds).unwrap_or(Second::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::skip::facts::{Listed, ListedObject};

    const DAY: i64 = 86_400;

    /// A version at a second; content 0 is a delete marker.
    fn version(id: &str, second: i64, content: u8) -> Listed<'_> {
        const ETAGS: [&str; 4] = [
            "",
            "11111111111111111111111111111111",
            "22222222222222222222222222222222",
            "22222222222222222222222222222222-7",
        ];
        Listed {
            id,
            is_latest: false,
            last_modified: EventTime(second * 1_000),
            object: (content > 0).then(|| ListedObject {
                etag: ETAGS[usize::from(content)],
                size: 1,
                storage_class: "STANDARD",
            }),
        }
    }

    fn history() -> History {
        let day = |day: i64| EventTime(day * DAY * 1_000);
        History::new(day(100), day(130), Duration::from_secs(10))
    }

    fn add(history: &mut History, key: &str, entries: &[Listed<'_>]) -> Result<(), NotTaken> {
        let listing = Listing {
            entries: entries.to_vec(),
            is_complete: true,
        };
        history.add(&ObjectKey::known(key), &listing)
    }

    #[test]
    fn each_upload_is_compared_with_what_was_there_at_its_time() {
        use PastFinding::{Changed, FirstUpload, Unchanged};
        let at = |hours: i64| 110 * DAY + hours * 3_600;
        let old = || version("old", 50 * DAY, 1);
        for (name, entries, expected) in [
            ("the first", vec![version("a", at(0), 1)], vec![FirstUpload]),
            (
                "the same again",
                vec![version("b", at(0), 1), old()],
                vec![Unchanged],
            ),
            (
                "another",
                vec![version("b", at(0), 2), old()],
                vec![Changed],
            ),
            ("parts", vec![version("b", at(0), 3), old()], vec![Changed]),
            (
                "there and back",
                vec![version("c", at(2), 1), version("b", at(0), 2), old()],
                vec![Changed, Changed],
            ),
            (
                "there and back in an hour",
                vec![version("c", at(0) + 60, 1), version("b", at(0), 2), old()],
                vec![Changed, Changed],
            ),
            (
                "the first, and once more in the same hour",
                vec![version("b", at(0) + 1, 1), version("a", at(0), 1)],
                vec![FirstUpload, Changed],
            ),
            (
                "after a deletion",
                vec![version("b", at(2), 1), version("x", at(0), 0), old()],
                vec![Changed, Changed],
            ),
            (
                "what came later does not count",
                vec![version("c", at(9), 2), version("b", at(0), 1), old()],
                vec![Unchanged, Changed],
            ),
            (
                "without an id",
                vec![version("null", at(0), 1), old()],
                vec![Changed],
            ),
            ("before", vec![old()], vec![]),
        ] {
            let mut history = history();
            add(&mut history, "k", &entries).unwrap();
            history.finish();
            let findings: Vec<_> = history.changes().iter().map(|it| it.finding).collect();
            assert_eq!(findings, expected, "{name}");
        }
    }

    #[test]
    fn keys_are_found_by_their_beginning_while_they_are_there() {
        let mut history = history();
        let day = |day: i64| day * DAY;
        for (key, entries) in [
            ("a", vec![version("1", day(1), 1)]),
            ("b/1", vec![version("1", day(1), 1)]),
            (
                "b/2",
                vec![version("2", day(120), 0), version("1", day(110), 1)],
            ),
            (
                "b/3",
                vec![version("2", day(90), 0), version("1", day(1), 1)],
            ),
            ("b/4", vec![version("1", day(105), 0)]),
            ("b0", vec![version("1", day(1), 1)]),
            ("\u{10000}/x", vec![version("1", day(125), 1)]),
        ] {
            add(&mut history, key, &entries).unwrap();
        }
        assert_eq!((history.keys(), history.len()), (5, 3));
        let found = |time: i64, beginning: &str| -> Vec<String> {
            let paths = history.paths_at(u32::try_from(day(time)).unwrap(), beginning);
            paths.map(|path| path.as_str().to_owned()).collect()
        };
        assert_eq!(found(115, "/b/"), ["/b/1", "/b/2"]);
        assert_eq!(found(105, "/b/"), ["/b/1"]);
        assert_eq!(found(125, "/b"), ["/b/1", "/b0"]);
        assert_eq!(found(125, "/").len(), 4);
        assert_eq!(found(125, "/c"), [""; 0]);
        history.finish();
        for time in [1, 100, 105, 110, 119, 120, 124, 125, 200] {
            let time = u32::try_from(day(time)).unwrap();
            let paths = history.paths_at(time, "/").count() as u64;
            assert_eq!(history.objects_at(time), paths, "{time}");
        }
    }

    #[test]
    fn a_list_that_is_not_in_order_is_refused() {
        let mut history = history();
        add(&mut history, "b", &[version("1", DAY, 1)]).unwrap();
        for key in ["b", "a"] {
            let refused = add(&mut history, key, &[version("1", DAY, 1)]);
            assert_eq!(refused, Err(NotTaken::OutOfOrder(key.to_owned())));
        }
    }
}
