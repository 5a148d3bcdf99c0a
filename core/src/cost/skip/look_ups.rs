//! Which lists of versions to ask for, and whether that is worth it.
//!
//! A list costs the same whether it brings one version or a thousand. So keys that are near to each other
//! are asked for with one call, as long as such a call tells about several of them.

use super::facts::{Listed, Listing};

/// What `ListObjectVersions` is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCall {
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys after this one.
    pub key_marker: Option<String>,
    /// At most so many versions and delete markers.
    pub max_keys: u16,
}

/// What it answers.
#[derive(Clone, Debug, Default)]
pub struct Page<'a> {
    /// Each key with its versions, the newest first, in the order of the answer.
    pub versions: Vec<(&'a str, Listed<'a>)>,
    /// The same of the delete markers.
    pub markers: Vec<(&'a str, Listed<'a>)>,
    /// If the answer was cut off (`IsTruncated`), the last key of which it tells (`NextKeyMarker`).
    pub cut_at: Option<&'a str>,
}

/// The most that one call brings (S3 API Reference, "ListObjectVersions").
const WHOLE_PAGE: u16 = 1_000;

/// Enough for a single key: the versions to compare are the newest.
const OF_ONE_KEY: u16 = 100;

/// So many keys are asked for one after another. Several such runs can be asked for side by side.
const RUN: usize = 100;

/// A whole page that tells of fewer keys than this was not worth its size.
const FEW: usize = 3;

/// After so many pages that were not worth it, a run goes on with single keys.
const MAX_POOR: u8 = 2;

/// The look-ups for keys that stand in a row: a call at a time, until there is none.
#[derive(Clone, Debug)]
pub struct LookUps<'k> {
    /// In the order of S3, which is that of their bytes.
    keys: &'k [&'k str],
    /// What all keys begin with.
    prefix: &'k str,
    /// How many keys are done.
    done: usize,
    /// How many whole pages told of few keys.
    poor: u8,
    /// Whether the last call was for a single key.
    is_single: bool,
}

/// Divides the keys of one bucket into runs. They must be in order, each once.
pub fn look_ups<'k>(keys: &'k [&'k str]) -> impl Iterator<Item = LookUps<'k>> {
    keys.chunks(RUN).map(LookUps::new)
}

impl<'k> LookUps<'k> {
    fn new(keys: &'k [&'k str]) -> Self {
        Self {
            keys,
            prefix: common_prefix(keys),
            done: 0,
            poor: if keys.len() < FEW { MAX_POOR } else { 0 },
            is_single: false,
        }
    }

    /// The keys that are not looked up yet.
    pub fn left(&self) -> &'k [&'k str] {
        &self.keys[self.done..]
    }

    /// The next call to make.
    pub fn call(&mut self) -> Option<ListCall> {
        let left = self.left();
        let key = *left.first()?;
        self.is_single = left.len() < FEW || self.poor >= MAX_POOR;
        Some(if self.is_single {
            ListCall {
                prefix: key.to_owned(),
                key_marker: None,
                max_keys: OF_ONE_KEY,
            }
        } else {
            ListCall {
                prefix: self.prefix.to_owned(),
                key_marker: before(key),
                max_keys: WHOLE_PAGE,
            }
        })
    }

    /// Takes the answer of the last call. Returns the keys it tells of, each with its versions. There may be
    /// none, if the page is full of keys in between: the next calls then ask for single keys.
    pub fn take<'p>(&mut self, page: &Page<'p>) -> Vec<(&'k str, Listing<'p>)> {
        let left = self.left();
        let told = match page.cut_at {
            _ if self.is_single => 1,
            None => left.len(),
            // The versions of the last key may go on.
            Some(cut) => left.partition_point(|key| *key < cut),
        };
        let mut found = Vec::with_capacity(told.max(1));
        for key in &left[..told] {
            let is_cut = page.cut_at.is_some_and(|cut| cut == *key);
            found.push((*key, listing(page, key, !is_cut)));
        }
        // A page full of versions of one key: the newest are there.
        if told == 0 && page.cut_at.is_some_and(|cut| left.first() == Some(&cut)) {
            found.push((left[0], listing(page, left[0], false)));
        }
        if !self.is_single && found.len() < FEW {
            self.poor += 1;
        }
        self.done += found.len();
        found
    }
}

fn listing<'p>(page: &Page<'p>, key: &str, is_complete: bool) -> Listing<'p> {
    let of_key = |entries: &[(&'p str, Listed<'p>)]| -> Vec<Listed<'p>> {
        let begin = entries.partition_point(|(other, _)| *other < key);
        let entries = entries[begin..].iter();
        let entries = entries.take_while(|(other, _)| *other == key);
        entries.map(|(_, entry)| *entry).collect()
    };
    Listing::new(&of_key(&page.versions), &of_key(&page.markers), is_complete)
}

/// A text that comes before this key, with few keys in between.
fn before(key: &str) -> Option<String> {
    let (last, _) = key.char_indices().next_back()?;
    (last > 0).then(|| key[..last].to_owned())
}

fn common_prefix<'k>(keys: &[&'k str]) -> &'k str {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return "";
    };
    // They are in order, so what the first and the last share, all do.
    let pairs = first.char_indices().zip(last.chars());
    let mut different = pairs.filter(|((_, a), b)| a != b);
    match different.next() {
        Some(((at, _), _)) => &first[..at],
        None => first,
    }
}

/// How much looking has saved in a bucket. Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worth {
    looks: u32,
    saved: u32,
    paused_until: u64,
}

/// A look must save a path in so many.
const WORTH: u32 = 20;

/// So many looks tell whether it is worth looking.
const SAMPLE: u32 = 200;

/// Where it is not, it is tried again after so long: what is uploaded may have changed.
const PAUSE: u64 = 3_600;

impl Worth {
    /// Whether to look at all.
    pub fn is_worth_looking(&self, now: u64) -> bool {
        now >= self.paused_until
    }

    /// Notes how many keys were looked up, and how many paths that saved.
    pub fn note(&mut self, now: u64, looks: usize, saved: usize) {
        let add =
            |sum: u32, more: usize| sum.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.looks = add(self.looks, looks);
        self.saved = add(self.saved, saved);
        if self.looks < SAMPLE {
            return;
        }
        if self.saved.saturating_mul(WORTH) < self.looks {
            *self = Self {
                paused_until: now + PAUSE,
                ..Self::default()
            };
        } else if self.looks > 10 * SAMPLE {
            // What was long ago counts less. Rounded up, or an odd number would be a reason to stop.
            (self.looks, self.saved) = (self.looks / 2, self.saved.div_ceil(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventTime;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn listed(id: &str) -> Listed<'_> {
        Listed {
            id,
            is_latest: false,
            last_modified: EventTime(0),
            object: None,
        }
    }

    /// Answers as S3 documents it, from keys with their numbers of versions. Returns how many calls it took,
    /// and how many versions were told of each key.
    fn ask(
        bucket: &BTreeMap<String, usize>,
        keys: &[&str],
        page_size: usize,
    ) -> (usize, BTreeMap<String, (usize, bool)>) {
        let (mut calls, mut told) = (0, BTreeMap::new());
        for mut look_ups in look_ups(keys) {
            while let Some(call) = look_ups.call() {
                calls += 1;
                let after = call.key_marker.unwrap_or_default();
                let all = bucket.range::<String, _>(after.clone()..);
                let all = all.filter(|(key, _)| **key > after && key.starts_with(&call.prefix));
                let all = all.flat_map(|(key, n)| std::iter::repeat_n(key.as_str(), *n));
                let all: Vec<&str> = all.collect();
                let size = page_size.min(usize::from(call.max_keys)).min(all.len());
                let page = Page {
                    versions: all[..size].iter().map(|key| (*key, listed("v"))).collect(),
                    markers: Vec::new(),
                    cut_at: (size < all.len()).then(|| all[size - 1]),
                };
                for (key, listing) in look_ups.take(&page) {
                    let versions = (listing.entries.len(), listing.is_complete);
                    assert!(
                        told.insert(key.to_owned(), versions).is_none(),
                        "{key} twice"
                    );
                }
            }
        }
        (calls, told)
    }

    proptest! {
        #[test]
        fn each_key_is_told_once_with_at_most_a_call_each_and_two_for_trying(
            bucket in proptest::collection::btree_map("[ab/]{1,4}|[é한]{1,2}", 0_usize..12, 1..40),
            more in proptest::collection::btree_set("[ab/]{1,4}", 0..5),
            part in 1_usize..4,
            page_size in 1_usize..20,
        ) {
            let mut keys: BTreeSet<&str> = bucket.keys().step_by(part).map(String::as_str).collect();
            keys.extend(more.iter().map(String::as_str));
            let keys: Vec<&str> = keys.into_iter().collect();
            let (calls, told) = ask(&bucket, &keys, page_size);
            prop_assert!(calls <= keys.len() + usize::from(MAX_POOR), "{} calls", calls);
            prop_assert_eq!(told.len(), keys.len());
            for (key, (versions, is_complete)) in told {
                let all = bucket.get(&key).copied().unwrap_or(0);
                // A list that is cut off says so, and has at least the newest version.
                prop_assert!(if is_complete { versions == all } else { 0 < versions && versions <= all }, "{}", key);
            }
        }
    }

    #[test]
    fn a_call_tells_of_many_keys_where_they_are_dense() {
        let bucket = |keys: usize, versions: usize| -> BTreeMap<String, usize> {
            let key = |n| (format!("docs/{:02}/{n:06}.html", n % 7), versions);
            (0..keys).map(key).collect()
        };
        for (keys, versions, every, most) in [
            // A site of 500 pages with 30 versions each: 16,000 versions.
            (500, 30, 1, 20),
            // Every tenth page.
            (500, 30, 10, 20),
            // A library of 100,000 images, all of them new.
            (100_000, 1, 1, 1_100),
            // A few of them: each alone, beside two attempts for each run.
            (100_000, 1, 1_000, 102),
        ] {
            let bucket = bucket(keys, versions);
            let keys: Vec<&str> = bucket.keys().step_by(every).map(String::as_str).collect();
            let (calls, told) = ask(&bucket, &keys, 1_000);
            assert_eq!(told.len(), keys.len());
            assert!(calls <= most, "{calls} calls for {} keys", keys.len());
        }
    }

    #[test]
    fn looking_stops_where_less_than_one_in_twenty_saves_a_path_and_is_tried_again() {
        let mut worth = Worth::default();
        worth.note(0, 199, 0);
        assert!(worth.is_worth_looking(0), "too few to tell");
        worth.note(0, 1, 0);
        assert!(!worth.is_worth_looking(0));
        assert!(!worth.is_worth_looking(PAUSE - 1));
        assert!(worth.is_worth_looking(PAUSE));
        // One in twenty is enough, for ever.
        for round in 0..1_000 {
            worth.note(PAUSE + round, 20, 1);
            assert!(worth.is_worth_looking(PAUSE + round));
        }
        // After a long good time it is soon noticed that it is over.
        let rounds = (0..).take_while(|_| {
            worth.note(2 * PAUSE, 20, 0);
            worth.is_worth_looking(2 * PAUSE)
        });
        assert!(rounds.count() < 120);
    }
}
