//! The body of a buffered message: many changes, grouped by bucket.
//!
//! ```json
//! {"version":1,"buckets":[{"bucket":"site","created":[["a%20photo.jpg",1795226584567]],"deleted":[]}]}
//! ```
//!
//! Keys are percent-encoded: they may hold characters that SQS refuses. The number is the time of
//! the event in milliseconds, or `null`.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::event::{BucketName, Change, ChangeKind, EventTime, InvalidKey, ObjectKey};

/// What is encoded in a key beside non-ASCII: what JSON would escape, and the escape itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// A message is billed by 64 KiB, and ten of them, a batch, must fit in 1 MiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    version: u32,
    #[serde(borrow)]
    buckets: Vec<BucketChanges<'a>>,
}

impl<'a> Body<'a> {
    /// Where the changes of a bucket are. Those of one bucket come in a row, so it is looked for
    /// from the end.
    fn position(&self, bucket: &BucketName) -> Option<usize> {
        self.buckets
            .iter()
            .rposition(|known| known.bucket == *bucket)
    }

    fn bucket_at(
        &mut self,
        position: Option<usize>,
        bucket: &BucketName,
    ) -> &mut BucketChanges<'a> {
        let position = position.unwrap_or_else(|| {
            self.buckets.push(BucketChanges::new(bucket.clone()));
            self.buckets.len() - 1
        });
        &mut self.buckets[position]
    }
}

#[derive(Serialize, Deserialize)]
struct BucketChanges<'a> {
    bucket: BucketName,
    #[serde(borrow)]
    created: Vec<Entry<'a>>,
    #[serde(borrow)]
    deleted: Vec<Entry<'a>>,
}

impl<'a> BucketChanges<'a> {
    fn new(bucket: BucketName) -> Self {
        Self {
            bucket,
            created: Vec::new(),
            deleted: Vec::new(),
        }
    }

    fn entries(&mut self, kind: ChangeKind) -> &mut Vec<Entry<'a>> {
        match kind {
            ChangeKind::Created => &mut self.created,
            ChangeKind::Deleted => &mut self.deleted,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Entry<'a>(#[serde(borrow)] Cow<'a, str>, Option<EventTime>);

/// A buffered message that cannot be read. It stays in the queue, and so ends in its dead-letter
/// queue.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The body is not what [`pack`] writes.
    #[error("the body is not a buffered message: {0}")]
    Json(#[from] serde_json::Error),
    /// A later version wrote it.
    #[error("the body is of version {0}, this function reads version {VERSION}")]
    Version(u32),
    /// A key cannot be one.
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

/// Packs changes into as few message bodies as [`MAX_BODY_BYTES`] allows.
///
/// # Errors
/// None in practice: strings and numbers always serialize.
pub fn pack(changes: &[Change<'_>]) -> Result<Vec<String>, serde_json::Error> {
    let mut bodies = Vec::new();
    let mut body = Body {
        version: VERSION,
        buckets: Vec::new(),
    };
    let mut size = ENVELOPE_BYTES;
    for change in changes {
        let key = Cow::from(utf8_percent_encode(change.key.as_str(), ENCODED));
        let bucket_size = change.bucket.as_str().len() + BUCKET_BYTES;
        let mut position = body.position(&change.bucket);
        let added = key.len() + ENTRY_BYTES + position.map_or(bucket_size, |_| 0);
        if size + added > MAX_BODY_BYTES {
            bodies.push(serde_json::to_string(&body)?);
            body.buckets.clear();
            position = None;
            size = ENVELOPE_BYTES + bucket_size;
        }
        size += added;
        body.bucket_at(position, &change.bucket)
            .entries(change.kind)
            .push(Entry(key, change.event_time));
    }
    if !body.buckets.is_empty() {
        bodies.push(serde_json::to_string(&body)?);
    }
    Ok(bodies)
}

/// `{"version":1,"buckets":[]}`, rounded up.
const ENVELOPE_BYTES: usize = 32;

/// `{"bucket":"","created":[],"deleted":[]},`, rounded up.
const BUCKET_BYTES: usize = 48;

/// `["",-1795226584567],`, rounded up.
const ENTRY_BYTES: usize = 24;

/// Reads the changes of a message body.
///
/// # Errors
/// If the body is not one that [`pack`] made.
pub fn unpack(body: &str) -> Result<Vec<Change<'_>>, Unreadable> {
    let body: Body<'_> = serde_json::from_str(body)?;
    if body.version != VERSION {
        return Err(Unreadable::Version(body.version));
    }
    let mut changes = Vec::new();
    for BucketChanges {
        bucket,
        created,
        deleted,
    } in body.buckets
    {
        for (entries, kind) in [
            (created, ChangeKind::Created),
            (deleted, ChangeKind::Deleted),
        ] {
            changes.reserve(entries.len());
            for Entry(key, event_time) in entries {
                let key = match key {
                    Cow::Borrowed(key) => ObjectKey::from_percent_encoded(key)?,
                    Cow::Owned(key) => ObjectKey::from_percent_encoded(&key)?.into_owned(),
                };
                changes.push(Change {
                    bucket: bucket.clone(),
                    key,
                    kind,
                    event_time,
                });
            }
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(bucket: &str, key: &str, kind: ChangeKind) -> Change<'static> {
        Change {
            bucket: BucketName::new(bucket),
            key: ObjectKey::new(key.to_owned()).unwrap(),
            kind,
            event_time: Some(EventTime(1_795_226_584_567)),
        }
    }

    #[test]
    fn a_body_is_short_and_readable() {
        let changes = [
            change("site", "a photo.jpg", ChangeKind::Created),
            change("site", "한\n\"\\%", ChangeKind::Deleted),
            change("docs", "b", ChangeKind::Created),
        ];
        assert_eq!(
            pack(&changes).unwrap(),
            [concat!(
                r#"{"version":1,"buckets":["#,
                r#"{"bucket":"site","created":[["a photo.jpg",1795226584567]],"deleted":[["%ED%95%9C%0A%22%5C%25",1795226584567]]},"#,
                r#"{"bucket":"docs","created":[["b",1795226584567]],"deleted":[]}]}"#
            )]
        );
    }

    #[test]
    fn no_body_is_larger_than_a_billed_unit_and_most_are_full() {
        let changes: Vec<Change> = (0..5_000)
            .map(|n| {
                change(
                    "site",
                    &format!("{n}/{}", "한".repeat(n % 300 + 1)),
                    ChangeKind::Created,
                )
            })
            .collect();
        let bodies = pack(&changes).unwrap();
        let total: usize = bodies.iter().map(String::len).sum();
        assert!(bodies.iter().all(|body| body.len() <= MAX_BODY_BYTES));
        assert!(
            bodies.len() <= total / (MAX_BODY_BYTES * 9 / 10) + 1,
            "{} bodies for {total} bytes",
            bodies.len()
        );
        assert_eq!(pack(&[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_body_of_another_kind_says_what_is_wrong() {
        for (body, expected) in [
            ("hello", "not a buffered message"),
            (r#"{"version":2,"buckets":[]}"#, "version 2"),
            (r#"{"version":1}"#, "buckets"),
            (
                r#"{"version":1,"buckets":[{"bucket":"b","created":[["",null]],"deleted":[]}]}"#,
                "empty",
            ),
            (
                r#"{"version":1,"buckets":[{"bucket":"b","created":[["%ff",null]],"deleted":[]}]}"#,
                "UTF-8",
            ),
        ] {
            let error = unpack(body).expect_err(body).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            changes in proptest::collection::vec(("[a-c]", ".{1,200}", any::<bool>(), any::<Option<i64>>()), 0..50)
        ) {
            let changes: Vec<Change> = changes.into_iter().map(|(bucket, key, created, time)| Change {
                bucket: BucketName::new(bucket),
                key: ObjectKey::new(key).unwrap(),
                kind: if created { ChangeKind::Created } else { ChangeKind::Deleted },
                event_time: time.map(EventTime),
            }).collect();
            let bodies = pack(&changes).unwrap();
            let mut unpacked: Vec<Change> = bodies.iter().flat_map(|body| unpack(body).unwrap()).collect();
            let order = |change: &Change<'_>| (change.bucket.clone(), change.key.clone().into_owned(), change.kind, change.event_time);
            let mut changes = changes;
            changes.sort_by_key(order);
            unpacked.sort_by_key(order);
            prop_assert_eq!(changes, unpacked);
        }
    }
}
