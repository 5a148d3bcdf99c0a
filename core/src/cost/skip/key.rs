//! What the events and the versions of one key tell, whoever serves it.

use super::facts::{Head, Listed, ListedObject, Listing};
use super::reason::{Fact, Finding, WhyNot};
use crate::event::{ChangeKind, EventTime};
use crate::plan::VersionEvent;

/// An hour, in milliseconds. The event of a version that is older has been flushed, and an event that is
/// younger tells of versions that lifecycle has not removed yet (it keeps old ones for at least a day).
const HOUR: i64 = 3_600_000;

/// At most so many versions are compared: each costs two calls, so that together they cost less than a
/// hundredth of a path.
pub const MAX_COMPARED: usize = 50;

/// The storage classes from which S3 answers at once, whatever became of the object since.
const ANSWERING_CLASSES: [&str; 5] = [
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "REDUCED_REDUNDANCY",
    "GLACIER_IR",
];

/// Metadata that tools write for themselves: the times of the file they uploaded (rclone, s3fs, s3cmd,
/// DataSync). No viewer sees another page because of it.
const IGNORED_METADATA: [&str; 6] = [
    "mtime",
    "ctime",
    "atime",
    "s3cmd-attrs",
    "file-mtime",
    "file-atime",
];

/// The versions that the events of a key are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created<'a>(Vec<&'a str>);

impl<'a> Created<'a> {
    /// Takes all events of a key. `versions` is what [`KeyChanges::versions`](crate::plan::KeyChanges::versions)
    /// tells.
    ///
    /// # Errors
    /// If it need not be looked at, because it is not skipped whatever its versions are.
    pub fn new(
        kind: ChangeKind,
        versions: Option<impl Iterator<Item = VersionEvent<'a>>>,
        now: EventTime,
    ) -> Result<Self, WhyNot> {
        if kind == ChangeKind::Deleted {
            return Err(WhyNot::Deleted);
        }
        let mut ids = Vec::new();
        for VersionEvent { id, time } in versions.into_iter().flatten() {
            if now.0.saturating_sub(time.0) > HOUR {
                return Err(WhyNot::LateEvent);
            }
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        match ids.is_empty() {
            true => Err(WhyNot::NoVersionId),
            false => Ok(Self(ids)),
        }
    }

    /// What the list of the key's versions tells.
    ///
    /// # Errors
    /// If it is not skipped.
    pub fn compare<'l>(
        &self,
        listing: &'l Listing<'l>,
        now: EventTime,
    ) -> Result<Candidate<'l>, WhyNot> {
        let entries = listing.entries.as_slice();
        match entries.first() {
            None => return Err(WhyNot::VersionGone),
            Some(current) if !current.is_latest => return Err(WhyNot::NoCurrentVersion),
            Some(_) => {}
        }
        let oldest = self.oldest(listing)?;
        if let ([only], true) = (entries, listing.is_complete) {
            let is_object = only.object.is_some();
            return is_object
                .then_some(Candidate::FirstUpload)
                .ok_or(WhyNot::DeleteMarker);
        }
        let current = comparable(&entries[0])?;
        for (place, entry) in entries.iter().enumerate() {
            let object = comparable(entry)?;
            is_like(&object, &current)?;
            let is_base = place > oldest && now.0.saturating_sub(entry.last_modified.0) >= HOUR;
            if is_base {
                return Ok(Candidate::SameContent(&entries[..=place]));
            }
            // A version without an id may be the last of several.
            if !entry.is_identified() {
                return Err(WhyNot::NullVersion);
            }
            if place + 1 == MAX_COMPARED {
                return Err(WhyNot::ManyVersions);
            }
        }
        match listing.is_complete {
            true => Err(WhyNot::NoOldVersion),
            false => Err(WhyNot::ManyVersions),
        }
    }

    /// The place of the oldest version that an event is about.
    fn oldest(&self, listing: &Listing<'_>) -> Result<usize, WhyNot> {
        let place = |id: &&str| listing.entries.iter().position(|entry| entry.id == *id);
        let places = self.0.iter().map(place);
        let oldest = places.collect::<Option<Vec<usize>>>();
        let oldest = oldest.and_then(|places| places.into_iter().max());
        oldest.ok_or(match listing.is_complete {
            true => WhyNot::VersionGone,
            false => WhyNot::ManyVersions,
        })
    }
}

/// An upload that need not be invalidated, as far as the list of versions tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate<'l> {
    /// There was no object before: nothing else is to be known of the key.
    FirstUpload,
    /// These versions have the same content, the current one first. Their headers and tags have to be
    /// compared.
    SameContent(&'l [Listed<'l>]),
}

impl Candidate<'_> {
    /// What the headers and tags tell, one of each version of [`Candidate::SameContent`] and in their
    /// order. A comparison may stop early: what is missing at the end was not read.
    ///
    /// # Errors
    /// If it is not skipped.
    pub fn compare(&self, heads: &[Option<Head<'_>>]) -> Result<Finding, WhyNot> {
        let versions = match self {
            Self::FirstUpload => return Ok(Finding::FirstUpload),
            Self::SameContent(versions) => versions,
        };
        let mut current = None;
        for (place, version) in versions.iter().enumerate() {
            let Some(Some(head)) = heads.get(place) else {
                return Err(WhyNot::Unknown(Fact::Headers));
            };
            // The version may have been replaced under its name since it was listed, if that is `null`.
            let etag = version.object.map(|object| object.etag);
            if etag != Some(head.etag) {
                return Err(WhyNot::OtherContent);
            }
            let is_plain = matches!(head.encryption, None | Some("AES256"));
            if !is_plain || head.has_customer_key {
                return Err(WhyNot::Encrypted);
            }
            let current = *current.get_or_insert(head);
            is_served_like(head, current)?;
            if place + 1 == versions.len() && head.is_replica {
                return Err(WhyNot::Replica);
            }
        }
        match versions.last() {
            Some(base) if versions.len() > 1 => Ok(Finding::Unchanged {
                since: base.id.to_owned(),
                versions: versions.len(),
            }),
            _ => Err(WhyNot::NoOldVersion),
        }
    }
}

/// The content of a version, if its ETag tells what it is.
fn comparable<'a>(entry: &Listed<'a>) -> Result<ListedObject<'a>, WhyNot> {
    let object = entry.object.ok_or(WhyNot::DeleteMarker)?;
    let etag = object.etag.trim_matches('"');
    // An MD5 in hexadecimal; that of parts has their number behind it.
    let is_of_one_part = etag.len() == 32 && etag.bytes().all(|it| it.is_ascii_hexdigit());
    if !is_of_one_part {
        return Err(WhyNot::Multipart);
    }
    if !ANSWERING_CLASSES.contains(&object.storage_class) {
        return Err(WhyNot::ArchivedStorageClass);
    }
    Ok(object)
}

fn is_like(object: &ListedObject<'_>, current: &ListedObject<'_>) -> Result<(), WhyNot> {
    if object.etag != current.etag || object.size != current.size {
        Err(WhyNot::OtherContent)
    } else if object.storage_class != current.storage_class {
        Err(WhyNot::OtherStorageClass)
    } else {
        Ok(())
    }
}

fn is_served_like(head: &Head<'_>, current: &Head<'_>) -> Result<(), WhyNot> {
    if let Some(name) = head.headers.difference(&current.headers) {
        return Err(WhyNot::OtherHeader(name));
    }
    let is_lost = head.lost_metadata || current.lost_metadata;
    if is_lost || metadata(head) != metadata(current) {
        return Err(WhyNot::OtherMetadata);
    }
    match (&head.tags, &current.tags) {
        (Some(tags), Some(current)) if sorted(tags) == sorted(current) => Ok(()),
        (Some(_), Some(_)) => Err(WhyNot::OtherTags),
        _ => Err(WhyNot::Unknown(Fact::Tags)),
    }
}

/// The metadata that viewers may care for, in order.
fn metadata<'a>(head: &Head<'a>) -> Vec<(&'a str, &'a str)> {
    let mut metadata = sorted(&head.metadata);
    let is_ignored = |name: &str| {
        IGNORED_METADATA
            .iter()
            .any(|it| it.eq_ignore_ascii_case(name))
    };
    metadata.retain(|(name, _)| !is_ignored(name));
    metadata
}

fn sorted<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    sorted
}
