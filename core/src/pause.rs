//! Pauses: changes of a bucket, or of the keys in it that begin with a prefix, are held back until the operator
//! resumes them. The list of pauses is an object in the error bucket, which the operator changes and each flush
//! reads:
//!
//! ```json
//! {"v":1,"pauses":[{"id":"0123456789abcdef","bucket":"site","prefix":"img/","since":"2026-11-21T02:03:04Z",
//! "by":"arn:aws:iam::123456789012:user/ada","why":"backfill"}],"writes":[]}
//! ```
//!
//! Changes that a pause covers are written below [`HELD_FOLDER`], as lines that are each the body of a message of
//! BufferQueue ([`crate::buffered`]). So whoever resumes puts the lines back into the queue.
//!
//! # Why no change is lost between a flush and a resume
//!
//! A flush writes the changes, then reads the list again, and only if the pause is still there may it delete their
//! messages. Otherwise it plans the changes as if there were no pause. A resume first marks the pause as resumed,
//! and then takes objects until there are none. If the flush has read the list before the mark was written, its
//! object was written before that too, so the resume finds it. If it has read the list after that, it sees the
//! mark. In both cases somebody handles the change; if both do, a path is invalidated twice.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::event::BucketName;
use crate::state::{
    Beginning, Reading, SharedState, StateObject, UnreadableState, Writes, check,
    from_versioned_json,
};

/// The key of the list of pauses in the error bucket.
pub const PAUSES_KEY: &str = "state/paused.json";

/// The folder of changes that are held back, in the error bucket.
pub const HELD_FOLDER: &str = "state/held/";

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// How many pauses there may be.
pub const MOST_PAUSES: usize = 100;

/// The longest key of S3, in bytes.
const MAX_KEY: usize = 1_024;

/// How long the name of a person and the reason may be, in bytes.
pub const MAX_TEXT: usize = 2_048;

/// Changes that are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What tells it from an earlier pause of the same keys: 16 hexadecimal digits.
    pub id: String,
    /// The bucket.
    pub bucket: BucketName,
    /// What the keys begin with; empty for all keys of the bucket.
    pub prefix: String,
    /// When it began.
    pub since: OffsetDateTime,
    /// Who began it.
    pub by: String,
    /// Why, in the operator's words. May be empty.
    pub why: String,
    /// Whether somebody has begun to resume it. Then no more changes are held back, but some still may be.
    pub is_resumed: bool,
}

impl Pause {
    /// A pause that begins now.
    pub fn new(
        id: u64,
        (bucket, prefix): (BucketName, String),
        now: OffsetDateTime,
        by: String,
        why: String,
    ) -> Self {
        let second = now.replace_nanosecond(0).unwrap_or(now);
        Self {
            id: format!("{id:016x}"),
            bucket,
            prefix,
            since: second.to_offset(UtcOffset::UTC),
            by,
            why,
            is_resumed: false,
        }
    }

    /// Whether it is for this key, also while it is being resumed.
    pub fn is_for(&self, bucket: &BucketName, key: &str) -> bool {
        self.bucket == *bucket && key.starts_with(&self.prefix)
    }

    /// What is paused: `s3://site/img/`.
    pub fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// When it began, as text.
    pub fn since(&self) -> String {
        self.since.format(&Rfc3339).unwrap_or_default()
    }
}

/// `s3://site/img/ is paused since 2026-11-21T02:03:04Z, by ada: backfill`
impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.is_resumed {
            true => "is being resumed; it was paused",
            false => "is paused",
        };
        let (place, since, by) = (self.place(), self.since(), &self.by);
        write!(f, "{place} {what} since {since}, by {by}")?;
        match self.why.as_str() {
            "" => Ok(()),
            why => write!(f, ": {why}"),
        }
    }
}

/// All pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    all: Vec<Pause>,
    writes: Writes,
}

impl Pauses {
    /// All of them, in the order in which they began.
    pub fn all(&self) -> &[Pause] {
        &self.all
    }

    /// The pause that holds back the changes of a key; of several the one with the longest prefix.
    pub fn holding(&self, bucket: &BucketName, key: &str) -> Option<&Pause> {
        let holding = |it: &&Pause| !it.is_resumed && it.is_for(bucket, key);
        let all = self.all.iter().filter(holding);
        all.max_by_key(|it| it.prefix.len())
    }

    /// Whether changes of this bucket are held back, or may still be. Then none of its uploads is skipped as
    /// unchanged, because one that changed something may not have been invalidated yet.
    pub fn concern(&self, bucket: &BucketName) -> bool {
        self.all.iter().any(|it| it.bucket == *bucket)
    }

    /// Whether a pause is still there, and nobody has begun to resume it.
    pub fn holds(&self, id: &str) -> bool {
        self.all.iter().any(|it| it.id == id && !it.is_resumed)
    }

    /// The pauses of exactly these keys.
    pub fn of<'a>(&'a self, bucket: &BucketName, prefix: &str) -> impl Iterator<Item = &'a Pause> {
        let is_of = move |it: &&Pause| it.bucket == *bucket && it.prefix == prefix;
        self.all.iter().filter(is_of)
    }

    /// Adds a pause. Returns whether there was room for it, and it can be read again.
    pub fn begin(&mut self, pause: Pause) -> bool {
        let is_valid = is_id(&pause.id)
            && pause.prefix.len() <= MAX_KEY
            && pause.by.len() <= MAX_TEXT
            && pause.why.len() <= MAX_TEXT;
        let may = is_valid && self.all.len() < MOST_PAUSES;
        if may {
            self.all.push(pause);
        }
        may
    }

    /// Marks pauses as resumed: no more changes are held back for them. Returns whether that is new.
    pub fn resume(&mut self, ids: &[&str]) -> bool {
        let meant = self
            .all
            .iter_mut()
            .filter(|it| ids.contains(&it.id.as_str()));
        let mut is_new = false;
        for pause in meant {
            is_new |= !std::mem::replace(&mut pause.is_resumed, true);
        }
        is_new
    }

    /// Removes pauses that were resumed, and of which nothing is held back any more. Returns whether any was
    /// there.
    pub fn remove(&mut self, ids: &[&str]) -> bool {
        let before = self.all.len();
        let is_over = |it: &Pause| it.is_resumed && ids.contains(&it.id.as_str());
        self.all.retain(|it| !is_over(it));
        self.all.len() < before
    }

    fn was_written(&self) -> bool {
        self.writes != Writes::default()
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    pauses: Vec<Entry>,
    writes: Writes,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: String,
    bucket: BucketName,
    prefix: String,
    since: String,
    by: String,
    why: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    resumed: bool,
}

impl StateObject for Pauses {
    const NAME: &'static str = "the list of pauses";
    const REMEDY: &'static str = "`invalidatorctl pause` or `invalidatorctl resume` writes it anew; what is held back is \
                                  still under state/held/";
    const MAX_BYTES: usize = 1024 * 1024;

    fn from_json(text: &str) -> Result<Self, UnreadableState> {
        let Body { pauses, writes, .. } = from_versioned_json(text, VERSION, None)?;
        writes.check()?;
        check(pauses.len() <= MOST_PAUSES, "pauses")?;
        let all = pauses.into_iter().map(|it| {
            check(is_id(&it.id), "id")?;
            check(it.prefix.len() <= MAX_KEY, "prefix")?;
            check(it.by.len() <= MAX_TEXT, "by")?;
            check(it.why.len() <= MAX_TEXT, "why")?;
            let since = OffsetDateTime::parse(&it.since, &Rfc3339);
            Ok(Pause {
                id: it.id,
                bucket: it.bucket,
                prefix: it.prefix,
                since: since.map_err(|_| UnreadableState::Value("since"))?,
                by: it.by,
                why: it.why,
                is_resumed: it.resumed,
            })
        });
        Ok(Self {
            all: all.collect::<Result<_, UnreadableState>>()?,
            writes,
        })
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        let entry = |it: &Pause| Entry {
            id: it.id.clone(),
            bucket: it.bucket.clone(),
            prefix: it.prefix.clone(),
            since: it.since(),
            by: it.by.clone(),
            why: it.why.clone(),
            resumed: it.is_resumed,
        };
        serde_json::to_string(&Body {
            v: VERSION,
            pauses: self.all.iter().map(entry).collect(),
            writes: self.writes.clone(),
        })
    }
}

impl SharedState for Pauses {
    /// Nothing is paused. What is held back is not forgotten: it is found by its objects.
    fn begin(_: Beginning) -> Self {
        Self::default()
    }

    fn writes(&mut self) -> &mut Writes {
        &mut self.writes
    }
}

/// The pauses to work by. `None` as a reading is a call that failed.
///
/// If the list cannot be read, or somebody deleted it, it is the last known one. Without one it is `None`, and
/// nothing is received, because what is received might have to be held back.
pub fn pauses_in_force(
    reading: Option<Reading<Pauses>>,
    last_known: Option<&Pauses>,
) -> Option<Pauses> {
    match reading {
        Some(Reading::Found(pauses, _)) => Some(pauses),
        // It may be gone for good, with all its versions.
        Some(Reading::Absent) => Some(
            last_known
                .filter(|it| it.was_written())
                .cloned()
                .unwrap_or_default(),
        ),
        Some(Reading::Deleted | Reading::Unreadable(..)) | None => last_known.cloned(),
    }
}

/// What the key of an object of changes that are held back says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// The bucket of the changes.
    pub bucket: BucketName,
    /// The id of their pause.
    pub pause: String,
    /// How many changes there are.
    pub changes: u64,
}

impl HeldKey {
    /// The key for these changes: the same ones have the same key, so writing them again changes nothing.
    pub fn key(&self, text: &str) -> String {
        let hash = Sha256::digest(text);
        let hash: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let Self {
            bucket,
            pause,
            changes,
        } = self;
        format!("{HELD_FOLDER}{bucket}/{pause}/{hash}-{changes}.jsonl")
    }

    /// Reads a key. `None` if this program would not have written it.
    pub fn of(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(HELD_FOLDER)?.split('/');
        let (bucket, pause, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (hash, changes) = name.strip_suffix(".jsonl")?.split_once('-')?;
        let is_own = parts.next().is_none() && is_id(pause) && is_hex(hash, 32);
        Some(Self {
            bucket: bucket.parse().ok()?,
            pause: pause.to_owned(),
            changes: changes.parse().ok()?,
        })
        .filter(|_| is_own)
    }

    /// The folder of all that is held back of a bucket.
    pub fn folder(bucket: &BucketName) -> String {
        format!("{HELD_FOLDER}{bucket}/")
    }
}

fn is_id(text: &str) -> bool {
    is_hex(text, 16)
}

fn is_hex(text: &str, length: usize) -> bool {
    let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    text.len() == length && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    fn pause(id: u64, bucket: &str, prefix: &str) -> Pause {
        let now = datetime!(2026-11-21 03:03:04.567 +1);
        let place = (BucketName::new(bucket), prefix.to_owned());
        Pause::new(id, place, now, "ada".to_owned(), "backfill".to_owned())
    }

    fn pauses(all: &[Pause]) -> Pauses {
        let mut pauses = Pauses::default();
        for pause in all {
            assert!(pauses.begin(pause.clone()));
        }
        pauses
    }

    #[test]
    fn a_list_is_what_it_was_when_it_was_written() {
        let mut list = pauses(&[pause(1, "site", "img/"), pause(2, "docs", "")]);
        list.writes().push("0123456789abcdef");
        assert!(list.resume(&["0000000000000002"]));
        let json = list.to_json().unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"v":1,"pauses":[{"id":"0000000000000001","bucket":"site","prefix":"img/","since":"2026-11-21T02:03:04Z","by":"ada","why":"backfill"},"#,
                r#"{"id":"0000000000000002","bucket":"docs","prefix":"","since":"2026-11-21T02:03:04Z","by":"ada","why":"backfill","resumed":true}],"#,
                r#""writes":["0123456789abcdef"]}"#
            )
        );
        assert_eq!(Pauses::from_json(&json).as_ref(), Ok(&list));
        assert_eq!(
            list.all()[0].to_string(),
            "s3://site/img/ is paused since 2026-11-21T02:03:04Z, by ada: backfill"
        );
    }

    #[test]
    fn what_is_no_list_is_named() {
        let with = |field: &str, value: &str| {
            let mut entry = serde_json::json!({"id":"0000000000000001","bucket":"site","prefix":"","since":"2026-11-21T02:03:04Z","by":"","why":""});
            entry[field] = value.into();
            serde_json::json!({"v":1,"pauses":[entry],"writes":[]}).to_string()
        };
        for (text, expected) in [
            (String::new(), "not the documented JSON"),
            (
                r#"{"v":2,"pauses":[],"writes":[]}"#.to_owned(),
                "of version 2",
            ),
            (
                r#"{"v":1,"writes":[]}"#.to_owned(),
                "missing field `pauses`",
            ),
            (with("id", "../mode"), "field `id`"),
            (with("bucket", "http://evil"), "not the name of a bucket"),
            (with("prefix", &"x".repeat(1_025)), "field `prefix`"),
            (with("since", "today"), "field `since`"),
            (with("by", &"x".repeat(2_049)), "field `by`"),
            (with("why", &"x".repeat(2_049)), "field `why`"),
        ] {
            let error = Pauses::from_json(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_is_held_by_the_narrowest_pause_until_that_is_resumed() {
        let mut list = pauses(&[
            pause(1, "site", "img/"),
            pause(2, "site", "img/2026/"),
            pause(3, "docs", ""),
        ]);
        let holding = |list: &Pauses, bucket: &str, key: &str| {
            let pause = list.holding(&BucketName::new(bucket), key)?;
            pause.id.parse::<u64>().ok()
        };
        for (bucket, key, expected) in [
            ("site", "img/a", Some(1)),
            ("site", "img/2026/a", Some(2)),
            ("site", "img", None),
            ("site", "index.html", None),
            ("docs", "index.html", Some(3)),
            ("other", "img/a", None),
        ] {
            assert_eq!(holding(&list, bucket, key), expected, "{bucket}/{key}");
        }
        assert!(!list.remove(&["0000000000000002"]), "it holds changes back");
        assert!(list.resume(&["0000000000000002"]));
        assert!(!list.resume(&["0000000000000002"]), "that is known");
        assert_eq!(holding(&list, "site", "img/2026/a"), Some(1));
        assert!(list.holds("0000000000000001") && !list.holds("0000000000000002"));
        assert!(list.resume(&["0000000000000001"]));
        assert!(list.concern(&BucketName::new("site")), "some may be held");
        assert!(list.remove(&["0000000000000001", "0000000000000002", "0000000000000003"]));
        assert!(!list.concern(&BucketName::new("site")));
        assert!(list.concern(&BucketName::new("docs")));
    }

    #[test]
    fn no_more_is_begun_than_can_be_read_again() {
        let mut list = Pauses::default();
        let long = Pause {
            why: "x".repeat(MAX_TEXT + 1),
            ..pause(1, "site", "")
        };
        assert!(!list.begin(long));
        for id in 0..MOST_PAUSES as u64 {
            assert!(list.begin(pause(id, "site", &id.to_string())));
        }
        assert!(!list.begin(pause(1_000, "site", "one more")));
        assert!(Pauses::from_json(&list.to_json().unwrap()).is_ok());
    }

    #[test]
    fn the_pauses_in_force_are_those_of_the_list_or_the_last_known_or_none() {
        let mut some = pauses(&[pause(1, "site", "")]);
        some.writes().push("0123456789abcdef");
        let none = Pauses::default();
        let found = |list: &Pauses| Some(Reading::Found(list.clone(), None));
        let unreadable = || Some(Reading::Unreadable(UnreadableState::NotText, None));
        for (reading, last_known, expected) in [
            (found(&some), None, Some(&some)),
            (found(&none), Some(&some), Some(&none)),
            (Some(Reading::Absent), None, Some(&none)),
            (Some(Reading::Absent), Some(&none), Some(&none)),
            // It was there, and is gone.
            (Some(Reading::Absent), Some(&some), Some(&some)),
            (Some(Reading::Deleted), Some(&some), Some(&some)),
            (Some(Reading::Deleted), None, None),
            (unreadable(), Some(&some), Some(&some)),
            (unreadable(), None, None),
            (None, Some(&none), Some(&none)),
            (None, None, None),
        ] {
            let name = format!("{reading:?} {last_known:?}");
            assert_eq!(
                pauses_in_force(reading, last_known).as_ref(),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn the_key_of_what_is_held_tells_the_same_for_the_same_changes() {
        let held = HeldKey {
            bucket: BucketName::new("site"),
            pause: "0000000000000001".to_owned(),
            changes: 12,
        };
        let key = held.key("a\nb");
        assert_eq!(key, held.key("a\nb"));
        assert_ne!(key, held.key("a\nc"));
        assert!(
            key.starts_with("state/held/site/0000000000000001/"),
            "{key}"
        );
        assert!(key.starts_with(&HeldKey::folder(&held.bucket)));
        assert_eq!(HeldKey::of(&key), Some(held));
        for other in [
            "state/held/",
            "state/held/site/0000000000000001/x-1.jsonl",
            "state/held/site/1/0123456789abcdef0123456789abcdef-1.jsonl",
            "state/held/site/0000000000000001/0123456789abcdef0123456789abcdef-x.jsonl",
            "state/held/site/0000000000000001/0123456789abcdef0123456789abcdef-1.json",
            "state/held/site/0000000000000001/a/0123456789abcdef0123456789abcdef-1.jsonl",
            "state/mode.json",
        ] {
            assert_eq!(HeldKey::of(other), None, "{other}");
        }
    }

    proptest! {
        /// One step of a flush or of a resume after the other, in any order: each change is in an object that the
        /// resume takes, or planned by the flush.
        #[test]
        fn whatever_the_order_of_their_steps_a_flush_or_a_resume_handles_the_change(
            order in proptest::collection::vec(any::<bool>(), 12),
            knows in any::<bool>(),
        ) {
            let mut list = pauses(&[pause(1, "site", "")]);
            let id = "0000000000000001";
            let (mut object, mut planned, mut taken, mut is_message) = (false, false, false, true);
            let (mut flush, mut resume) = (0, 0);
            let mut holds = knows;
            for is_flush in order.into_iter().chain([true; 4]).chain([false; 4]) {
                match (is_flush, flush, resume) {
                    (true, 0, _) => { object |= holds; flush = 1 }
                    (true, 1, _) => { holds &= list.holds(id); flush = 2 }
                    (true, 2, _) => { planned |= !holds; flush = 3 }
                    (true, 3, _) => { is_message = false; flush = 4 }
                    (false, _, 0) => { list.resume(&[id]); resume = 1 }
                    (false, _, 1) => { taken |= std::mem::take(&mut object); resume = 2 }
                    (false, _, 2) => { list.remove(&[id]); resume = 3 }
                    _ => {}
                }
                prop_assert!(is_message || object || planned || taken);
            }
            prop_assert!(planned || taken);
        }
    }
}
