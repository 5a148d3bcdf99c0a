//! The versions that events created, for buckets that opted into skipping what did not change.
//!
//! They are kept beside the changes, so that changes of other buckets need no memory for them.

use crate::event::{EventTime, VersionId};

/// A version that an event created, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionEvent<'a> {
    /// The version's id, never `null`.
    pub id: &'a str,
    /// The time in the event.
    pub time: EventTime,
}

/// The versions of changes, in the order of the changes.
#[derive(Debug, Default)]
pub(super) struct VersionEvents {
    /// All ids, one after another.
    ids: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What identifies the change: where its path begins.
    change: u32,
    /// Where its id begins in `ids`. It ends where the next one begins.
    start: u32,
    time: EventTime,
}

impl VersionEvents {
    /// Adds the version of a change. If there are so many that they do not fit, the change is left without
    /// one, which only means that it is not skipped.
    pub(super) fn add(&mut self, change: u32, id: &VersionId<'_>, time: EventTime) {
        let start = self.ids.len();
        let end = start + id.as_str().len();
        if let (Ok(start), Ok(_)) = (u32::try_from(start), u32::try_from(end)) {
            self.ids.push_str(id.as_str());
            let entry = Entry {
                change,
                start,
                time,
            };
            self.entries.push(entry);
        }
    }

    /// The place of the version of a change.
    fn place_of(&self, change: u32) -> Option<usize> {
        let found = self
            .entries
            .binary_search_by_key(&change, |entry| entry.change);
        found.ok()
    }

    fn get(&self, place: usize) -> VersionEvent<'_> {
        let Entry { start, time, .. } = self.entries[place];
        let next = self.entries.get(place + 1);
        let end = next.map_or(self.ids.len(), |next| next.start as usize);
        VersionEvent {
            id: &self.ids[start as usize..end],
            time,
        }
    }
}

/// The versions of keys.
#[derive(Debug, Default)]
pub(super) struct KeyVersions {
    events: VersionEvents,
    /// For each key whose changes all have a version, in order: the key, and where its places end in
    /// `places`. They begin where those of the key before end.
    keys: Vec<(u32, u32)>,
    /// Places in `events`.
    places: Vec<u32>,
}

impl KeyVersions {
    /// Groups versions by key. `of_keys` are the changes of each key.
    pub(super) fn new(
        events: VersionEvents,
        of_keys: impl Iterator<Item = impl Iterator<Item = u32>>,
    ) -> Self {
        let (mut keys, mut places) = (Vec::new(), Vec::with_capacity(events.entries.len()));
        if !events.entries.is_empty() {
            for (key, changes) in of_keys.enumerate() {
                let before = places.len();
                let mut is_complete = true;
                for change in changes {
                    match events.place_of(change) {
                        // There are at most as many places as changes, which are counted by `u32`.
                        Some(place) => places.push(place as u32),
                        None => is_complete = false,
                    }
                }
                match is_complete {
                    true => keys.push((key as u32, places.len() as u32)),
                    false => places.truncate(before),
                }
            }
        }
        Self {
            events,
            keys,
            places,
        }
    }

    /// The versions of a key, each as often as it came. `None` unless all its changes have one.
    pub(super) fn of(&self, key: usize) -> Option<impl Iterator<Item = VersionEvent<'_>>> {
        let key = u32::try_from(key).ok()?;
        let at = self.keys.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        let begin = match at {
            0 => 0,
            _ => self.keys[at - 1].1 as usize,
        };
        let places = &self.places[begin..self.keys[at].1 as usize];
        Some(places.iter().map(|place| self.events.get(*place as usize)))
    }
}
