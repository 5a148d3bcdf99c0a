//! The body of a message of BufferQueue: many changes, grouped by bucket.
//!
//! ```json
//! {"version":1,"buckets":[{"bucket":"site","created":[["a%20photo.jpg",1795226584567]],"deleted":[]}]}
//! ```
//!
//! Keys are percent-encoded, because they may contain characters that SQS rejects. The number is the
//! time of the event in milliseconds, or `null`.
//!
//! Changes that a flush gives back for only some distributions are of version 2, with a [`Scope`]:
//!
//! ```json
//! {"version":2,"scope":{"targets":["E1"],"first_seen":1795226584567,"attempts":1},"buckets":[..]}
//! ```
//!
//! With `"only_root_objects":true` in the scope, only the keys are left that are default root objects.
//!
//! A set that could not be put into SubmitQueue is of version 3, with its message group and its
//! deduplication id. The next flush puts it there:
//!
//! ```json
//! {"version":3,"group":"E1/paths","id":"0123456789abcdef","set":{"v":1,..}}
//! ```
//!
//! So is a set of wildcards that waits for its [ration](crate::ration), with the bucket whose names need
//! them: `"bucket":"site"`. The flush that finds it puts it together with the others of this bucket and
//! target.
//!
//! In buckets that opted into skipping what did not change, a creation also has the id of its version. A
//! body with such ids is of version 4, and for all distributions:
//!
//! ```json
//! {"version":4,"buckets":[{"bucket":"site","created":[["a",1795226584567,"3L4kqtJlcpXroDTDmJ"],["b",null]],"deleted":[]}]}
//! ```

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::event::{BucketName, Change, ChangeKind, EventTime, InvalidKey, ObjectKey, VersionId};
use crate::target::{DistributionId, Target};
use crate::text::one_line;

/// The ASCII characters that are encoded in a key: those that JSON would escape, and `%` itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');

/// The version of a message for all distributions.
const VERSION: u32 = 1;

/// The version of a message with a [`Scope`].
const SCOPED_VERSION: u32 = 2;

/// The version of a message with a set.
const SET_VERSION: u32 = 3;

/// The version of a message for all distributions with ids of object versions.
const WITH_IDS_VERSION: u32 = 4;

/// A set that could not be sent to SubmitQueue, or has to wait. The next flush sends it unchanged, or, if it
/// is rationed, together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingSet {
    /// Its message group.
    pub group: String,
    /// Its deduplication id.
    pub id: String,
    /// The body of its message.
    pub body: String,
    /// If it is rationed: the bucket whose names need its wildcards.
    pub bucket: Option<BucketName>,
}

#[derive(Serialize, Deserialize)]
struct SetBody<'a> {
    version: u32,
    group: String,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bucket: Option<BucketName>,
    #[serde(borrow)]
    set: &'a serde_json::value::RawValue,
}

impl WaitingSet {
    /// The body of a message of BufferQueue.
    ///
    /// # Errors
    /// If the body is not JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&SetBody {
            version: SET_VERSION,
            group: self.group.clone(),
            id: self.id.clone(),
            bucket: self.bucket.clone(),
            set: serde_json::from_str(&self.body)?,
        })
    }
}

/// The message group in SubmitQueue of buffered messages that cannot be read. A flush hands them over as they
/// are, because only submit writes error files. No target has this group: those have a `/`.
pub const UNREADABLE_GROUP: &str = "BufferQueue";

/// SQS bills a message per 64 KiB, and a batch of ten messages must fit in 1 MiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The targets for which changes are still to be planned: those whose distributions could not be
/// read, or whose sets could not be enqueued. All other targets are done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Distributions or tenants, in order, each once.
    pub targets: Vec<TargetScope>,
    /// When the oldest of the changes was first received by a flush, in milliseconds since 1970.
    pub first_seen: u64,
    /// How many flushes have failed for these targets so far.
    pub attempts: u32,
    /// Whether only those of the keys are left that are default root objects: the changes were planned while
    /// these were not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_root_objects: bool,
}

/// A distribution as a whole, or a single target: `E1`, or `{"distribution":"E1","tenant":"dt_1"}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetScope {
    /// The distribution with all its tenants.
    Distribution(DistributionId),
    /// One tenant.
    Tenant(Target),
}

impl TargetScope {
    /// The scope of one target.
    pub fn of(target: &Target) -> Self {
        match &target.tenant {
            None => Self::Distribution(target.distribution.clone()),
            Some(_) => Self::Tenant(target.clone()),
        }
    }

    /// The distribution.
    pub fn distribution(&self) -> &DistributionId {
        match self {
            Self::Distribution(id) => id,
            Self::Tenant(target) => &target.distribution,
        }
    }

    /// Whether the target is in this scope.
    pub fn contains(&self, target: &Target) -> bool {
        Self::all_of(target).any(|it| it == *self)
    }

    /// The scopes that a target is in.
    pub fn all_of(target: &Target) -> impl Iterator<Item = Self> {
        let of_distribution = Self::Distribution(target.distribution.clone());
        let of_tenant = target.tenant.as_ref().map(|_| Self::Tenant(target.clone()));
        [of_distribution].into_iter().chain(of_tenant)
    }
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(borrow)]
    buckets: Vec<BucketChanges<'a>>,
}

impl<'a> Body<'a> {
    /// The index of a bucket's changes. The search starts at the end, because the changes of one bucket
    /// usually come in a row.
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
struct Entry<'a>(
    #[serde(borrow)] Cow<'a, str>,
    Option<EventTime>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")] Option<&'a str>,
);

/// A buffered message that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The body does not have the format that [`pack`] writes: the beginning of what serde says, which may
    /// quote the body.
    #[error("the body is not a buffered message: {0}")]
    Json(String),
    /// The body has a version that this code does not know.
    #[error(
        "the body is of version {0}, this function reads versions {VERSION} to {WITH_IDS_VERSION}"
    )]
    Version(u32),
    /// Versions 1 and 4 must not have a scope, version 2 must have one.
    #[error(
        "the body is of version 1 or 4 with a scope, or of version 2 without one or without targets"
    )]
    Scope,
    /// SQS would refuse the set's message group or its deduplication id, each time.
    #[error("the message group or the id of the set is not one that SQS takes")]
    Group,
    /// A key is invalid.
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

/// How many characters of serde's words are kept.
const MAX_WORDS: usize = 200;

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(one_line(&error.to_string(), MAX_WORDS))
    }
}

/// Packs changes into as few message bodies as [`MAX_BODY_BYTES`] allows.
///
/// # Errors
/// None in practice: strings and numbers always serialize.
pub fn pack(changes: &[Change<'_>]) -> Result<Vec<String>, serde_json::Error> {
    let mut packer = Packer::new(None)?;
    for change in changes {
        let (key, kind) = (change.key.as_str(), change.kind);
        packer.add(
            &change.bucket,
            key,
            kind,
            change.event_time,
            change.version_id.as_ref(),
        )?;
    }
    packer.finish()
}

/// Packs changes one after another. It keeps finished bodies in memory until [`Packer::take_full`].
pub struct Packer<'a> {
    bodies: Vec<String>,
    body: Body<'a>,
    size: usize,
    envelope: usize,
    limit: usize,
}

impl<'a> Packer<'a> {
    /// A packer of changes for all targets, or only for those of a scope.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    pub fn new(scope: Option<Scope>) -> Result<Self, serde_json::Error> {
        let scope_bytes = match &scope {
            Some(scope) => serde_json::to_string(scope)?.len(),
            None => 0,
        };
        let version = version_without_ids(&scope);
        let envelope = ENVELOPE_BYTES + scope_bytes;
        Ok(Self {
            bodies: Vec::new(),
            body: Body {
                version,
                scope,
                buckets: Vec::new(),
            },
            size: envelope,
            envelope,
            // A long list of targets does not reduce the room for changes.
            limit: MAX_BODY_BYTES + scope_bytes,
        })
    }

    /// Adds a change. In a packer with a scope it has no version id: what a flush gives back is not
    /// skipped later.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    pub fn add(
        &mut self,
        bucket: &BucketName,
        key: &'a str,
        kind: ChangeKind,
        event_time: Option<EventTime>,
        version_id: Option<&'a VersionId<'_>>,
    ) -> Result<(), serde_json::Error> {
        let key = Cow::from(utf8_percent_encode(key, ENCODED));
        let version_id = version_id.filter(|_| self.body.scope.is_none());
        let version_id = version_id.map(VersionId::as_str);
        let id_size = version_id.map_or(0, |id| id.len() + VERSION_ID_BYTES);
        let bucket_size = bucket.as_str().len() + BUCKET_BYTES;
        let mut position = self.body.position(bucket);
        let added = key.len() + ENTRY_BYTES + id_size + position.map_or(bucket_size, |_| 0);
        if self.size + added > self.limit && !self.body.buckets.is_empty() {
            self.close()?;
            position = None;
            self.size += bucket_size;
        }
        self.size += added;
        if version_id.is_some() {
            self.body.version = WITH_IDS_VERSION;
        }
        self.body
            .bucket_at(position, bucket)
            .entries(kind)
            .push(Entry(key, event_time, version_id));
        Ok(())
    }

    /// Takes the bodies that are full, so that they can be sent while others are packed.
    pub fn take_full(&mut self) -> Vec<String> {
        std::mem::take(&mut self.bodies)
    }

    /// The bodies that were not taken yet.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    pub fn finish(mut self) -> Result<Vec<String>, serde_json::Error> {
        if !self.body.buckets.is_empty() {
            self.close()?;
        }
        Ok(self.bodies)
    }

    fn close(&mut self) -> Result<(), serde_json::Error> {
        self.bodies.push(serde_json::to_string(&self.body)?);
        self.body.buckets.clear();
        self.body.version = version_without_ids(&self.body.scope);
        self.size = self.envelope;
        Ok(())
    }
}

fn version_without_ids(scope: &Option<Scope>) -> u32 {
    match scope {
        None => VERSION,
        Some(_) => SCOPED_VERSION,
    }
}

/// `{"version":1,"buckets":[]}`, rounded up.
const ENVELOPE_BYTES: usize = 32;

/// `{"bucket":"","created":[],"deleted":[]},`, rounded up.
const BUCKET_BYTES: usize = 48;

/// `["",-1795226584567],`, rounded up.
const ENTRY_BYTES: usize = 24;

/// `,""`
const VERSION_ID_BYTES: usize = 3;

/// The content of a buffered message.
#[derive(Clone, Debug, PartialEq)]
pub enum Buffered<'a> {
    /// Changes.
    Changes {
        /// The targets for which the changes are still to be planned; `None` means all.
        scope: Option<Scope>,
        /// The changes.
        changes: Vec<Change<'a>>,
    },
    /// A set.
    Set(WaitingSet),
}

/// Reads only the version of a message.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Reads a message body.
///
/// # Errors
/// If the body was not made by [`pack`], a [`Packer`] or [`WaitingSet::to_json`].
pub fn unpack(body: &str) -> Result<Buffered<'_>, Unreadable> {
    // Only a body with a set contains this text: in keys, quotation marks are encoded.
    if body.contains("\"set\":{") {
        let Version { version } = serde_json::from_str(body)?;
        if version == SET_VERSION {
            let body: SetBody<'_> = serde_json::from_str(body)?;
            if !is_fifo_id(&body.group) || !is_fifo_id(&body.id) {
                return Err(Unreadable::Group);
            }
            return Ok(Buffered::Set(WaitingSet {
                group: body.group,
                id: body.id,
                body: body.set.get().to_owned(),
                bucket: body.bucket,
            }));
        }
    }
    let body: Body<'_> = serde_json::from_str(body)?;
    match (body.version, &body.scope) {
        (VERSION | WITH_IDS_VERSION, None) => {}
        // Changes for no target at all would be dropped without a word.
        (SCOPED_VERSION, Some(scope)) if !scope.targets.is_empty() => {}
        (VERSION | WITH_IDS_VERSION | SCOPED_VERSION, _) => return Err(Unreadable::Scope),
        (other, _) => return Err(Unreadable::Version(other)),
    }
    let scope = body.scope;
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
            for Entry(key, event_time, version_id) in entries {
                let key = match key {
                    Cow::Borrowed(key) => ObjectKey::from_percent_encoded(key)?,
                    Cow::Owned(key) => ObjectKey::from_percent_encoded(&key)?.into_owned(),
                };
                changes.push(Change {
                    bucket: bucket.clone(),
                    key,
                    kind,
                    event_time,
                    version_id: version_id.and_then(VersionId::new),
                });
            }
        }
    }
    Ok(Buffered::Changes { scope, changes })
}

/// Whether SQS takes a text as a message group or deduplication id. Source: SQS API Reference,
/// "SendMessage".
fn is_fifo_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic())
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
            version_id: None,
        }
    }

    fn version(bucket: &str, key: &str, id: &str) -> Change<'static> {
        Change {
            version_id: VersionId::new(id.to_owned()),
            ..change(bucket, key, ChangeKind::Created)
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
    fn changes_for_some_targets_alone_say_for_which() {
        let scope = Scope {
            targets: vec![
                TargetScope::Distribution(DistributionId::new("E1")),
                TargetScope::Tenant(Target {
                    distribution: DistributionId::new("E2"),
                    tenant: Some(crate::target::TenantId::new("dt_1")),
                }),
            ],
            first_seen: 1,
            attempts: 2,
            only_root_objects: false,
        };
        let mut packer = Packer::new(Some(scope.clone())).unwrap();
        let id = VersionId::new("v1").unwrap();
        let change = change("site", "a", ChangeKind::Created);
        let (key, kind) = (change.key.as_str(), change.kind);
        packer
            .add(&change.bucket, key, kind, change.event_time, Some(&id))
            .unwrap();
        let bodies = packer.finish().unwrap();
        assert_eq!(
            bodies,
            [concat!(
                r#"{"version":2,"scope":{"targets":["E1",{"distribution":"E2","tenant":"dt_1"}],"first_seen":1,"attempts":2},"#,
                r#""buckets":[{"bucket":"site","created":[["a",1795226584567]],"deleted":[]}]}"#
            )]
        );
        let Buffered::Changes { scope: found, .. } = unpack(&bodies[0]).unwrap() else {
            panic!("changes");
        };
        assert_eq!(found, Some(scope));
    }

    #[test]
    fn changes_may_be_left_for_default_root_objects_alone() {
        let scope = Scope {
            targets: vec![TargetScope::Distribution(DistributionId::new("E1"))],
            first_seen: 1,
            attempts: 0,
            only_root_objects: true,
        };
        let mut packer = Packer::new(Some(scope.clone())).unwrap();
        let bucket = BucketName::new("site");
        let kind = ChangeKind::Created;
        packer.add(&bucket, "a", kind, None, None).unwrap();
        let bodies = packer.finish().unwrap();
        let said = r#""attempts":0,"only_root_objects":true}"#;
        assert!(bodies[0].contains(said), "{}", bodies[0]);
        let Buffered::Changes { scope: found, .. } = unpack(&bodies[0]).unwrap() else {
            panic!("changes");
        };
        assert_eq!(found, Some(scope));
    }

    /// A function of before reads the body without ids, and leaves the other in the queue.
    #[test]
    fn only_a_body_with_ids_of_versions_is_of_a_new_version() {
        let plain = change("docs", "c", ChangeKind::Created);
        let changes = [
            version("site", "a", "3/L4kq+T"),
            change("site", "b", ChangeKind::Created),
            change("site", "a", ChangeKind::Deleted),
            plain.clone(),
        ];
        let bodies = pack(&changes).unwrap();
        assert_eq!(
            bodies,
            [concat!(
                r#"{"version":4,"buckets":[{"bucket":"site","created":[["a",1795226584567,"3/L4kq+T"],["b",1795226584567]],"#,
                r#""deleted":[["a",1795226584567]]},{"bucket":"docs","created":[["c",1795226584567]],"deleted":[]}]}"#
            )]
        );
        assert!(pack(&[plain]).unwrap()[0].starts_with(r#"{"version":1,"#));
        // The next body begins anew.
        let long = "k".repeat(1_000);
        let mut packer = Packer::new(None).unwrap();
        let id = VersionId::new("v1").unwrap();
        let bucket = BucketName::new("site");
        for n in 0..70 {
            let id = (n == 0).then_some(&id);
            packer
                .add(&bucket, &long, ChangeKind::Created, None, id)
                .unwrap();
        }
        let versions: Vec<String> = packer.finish().unwrap();
        let versions: Vec<&str> = versions.iter().map(|body| &body[..12]).collect();
        assert_eq!(versions, [r#"{"version":4"#, r#"{"version":1"#]);
    }

    #[test]
    fn a_set_comes_back_as_it_was() {
        let set = WaitingSet {
            group: "E1/paths".to_owned(),
            id: "0123".to_owned(),
            body: r#"{"v":1,"distribution":"E1","paths":["/a"]}"#.to_owned(),
            bucket: None,
        };
        let body = set.to_json().unwrap();
        assert_eq!(
            body,
            r#"{"version":3,"group":"E1/paths","id":"0123","set":{"v":1,"distribution":"E1","paths":["/a"]}}"#
        );
        assert_eq!(unpack(&body).unwrap(), Buffered::Set(set.clone()));
        let rationed = WaitingSet {
            bucket: Some(BucketName::new("site")),
            ..set
        };
        let body = rationed.to_json().unwrap();
        assert!(body.contains(r#""bucket":"site","set":{"#), "{body}");
        assert_eq!(unpack(&body).unwrap(), Buffered::Set(rationed));
    }

    #[test]
    fn a_body_of_another_kind_says_what_is_wrong() {
        for (body, expected) in [
            ("hello", "not a buffered message"),
            (r#"{"version":5,"buckets":[]}"#, "version 5"),
            (
                r#"{"version":4,"scope":{"targets":[],"first_seen":1,"attempts":1},"buckets":[]}"#,
                "with a scope",
            ),
            (r#"{"version":2,"buckets":[]}"#, "version 2 without"),
            (r#"{"version":1}"#, "buckets"),
            (
                r#"{"version":1,"buckets":[{"bucket":"site","created":[["",null]],"deleted":[]}]}"#,
                "empty",
            ),
            (
                r#"{"version":1,"buckets":[{"bucket":"site","created":[["%ff",null]],"deleted":[]}]}"#,
                "UTF-8",
            ),
            (
                r#"{"version":1,"buckets":[{"bucket":"http://evil","created":[],"deleted":[]}]}"#,
                "`http://evil` is not the name of a bucket",
            ),
            (
                r#"{"version":2,"scope":{"targets":[],"first_seen":1,"attempts":1},"buckets":[]}"#,
                "without targets",
            ),
            (
                r#"{"version":3,"group":"","id":"1","set":{"v":1}}"#,
                "message group",
            ),
            (
                r#"{"version":3,"group":"E1/paths","id":"한","set":{"v":1}}"#,
                "message group",
            ),
        ] {
            let error = unpack(body).expect_err(body).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            changes in proptest::collection::vec(
                ("[a-c]{3}", ".{1,200}", any::<bool>(), any::<Option<i64>>(), "[A-Za-z0-9/+._-]{0,40}"), 0..50)
        ) {
            let changes: Vec<Change> = changes.into_iter().map(|(bucket, key, created, time, id)| Change {
                version_id: VersionId::new(id).filter(|_| created),
                bucket: BucketName::new(bucket),
                key: ObjectKey::new(key).unwrap(),
                kind: if created { ChangeKind::Created } else { ChangeKind::Deleted },
                event_time: time.map(EventTime),
            }).collect();
            let changes_of = |body| match unpack(body).unwrap() {
                Buffered::Changes { changes, .. } => changes,
                Buffered::Set(_) => panic!("a set"),
            };
            let bodies = pack(&changes).unwrap();
            let mut unpacked: Vec<Change> = bodies.iter().flat_map(|body| changes_of(body)).collect();
            let order = |change: &Change<'_>| {
                let id = change.version_id.clone().map(VersionId::into_owned);
                (change.bucket.clone(), change.key.clone().into_owned(), change.kind, change.event_time, id)
            };
            let mut changes = changes;
            changes.sort_by_key(order);
            unpacked.sort_by_key(order);
            prop_assert_eq!(changes, unpacked);
        }
    }
}
