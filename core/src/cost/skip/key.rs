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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::skip::facts::Headers;

    const NOW: EventTime = EventTime(1_000 * HOUR);

    const ETAG: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";

    fn created<'a>(ids: &'a [&'a str]) -> Created<'a> {
        let events = ids.iter().map(|id| VersionEvent { id, time: NOW });
        Created::new(ChangeKind::Created, Some(events), NOW).unwrap()
    }

    /// A version of this age, in minutes.
    fn version(id: &str, minutes: i64) -> Listed<'_> {
        Listed {
            id,
            is_latest: false,
            last_modified: EventTime(NOW.0 - minutes * 60_000),
            object: Some(ListedObject {
                etag: ETAG,
                size: 0,
                storage_class: "STANDARD",
            }),
        }
    }

    fn list<'a>(entries: impl IntoIterator<Item = Listed<'a>>, is_complete: bool) -> Listing<'a> {
        let mut entries: Vec<_> = entries.into_iter().collect();
        if let Some(first) = entries.first_mut() {
            first.is_latest = true;
        }
        Listing {
            entries,
            is_complete,
        }
    }

    fn with(version: Listed<'_>, change: fn(&mut ListedObject<'_>)) -> Listed<'_> {
        let mut changed = version;
        changed.object.iter_mut().for_each(change);
        changed
    }

    #[test]
    fn events_that_do_not_tell_everything_are_not_looked_up() {
        let event = |id, age| VersionEvent {
            id,
            time: EventTime(NOW.0 - age),
        };
        for (kind, events, expected) in [
            (
                ChangeKind::Created,
                Some(vec![event("a", 0)]),
                Ok(vec!["a"]),
            ),
            (
                ChangeKind::Created,
                Some(vec![event("b", HOUR), event("a", -HOUR), event("b", 5)]),
                Ok(vec!["b", "a"]),
            ),
            (
                ChangeKind::Created,
                Some(vec![event("a", 0), event("b", HOUR + 1)]),
                Err(WhyNot::LateEvent),
            ),
            (ChangeKind::Created, None, Err(WhyNot::NoVersionId)),
            (ChangeKind::Created, Some(vec![]), Err(WhyNot::NoVersionId)),
            (
                ChangeKind::Deleted,
                Some(vec![event("a", 0)]),
                Err(WhyNot::Deleted),
            ),
        ] {
            let found = Created::new(kind, events.map(Vec::into_iter), NOW);
            assert_eq!(found, expected.map(Created));
        }
    }

    #[test]
    fn a_list_is_compared_down_to_the_first_old_version_below_the_events() {
        let old = || version("old", 60);
        let marker = Listed {
            object: None,
            ..version("marker", 30)
        };
        let other = |version| with(version, |object| object.size = 1);
        let parts = |version| {
            with(version, |object| {
                object.etag = "\"d41d8cd98f00b204e9800998ecf8427e-2\"";
            })
        };
        for (name, listing, expected) in [
            ("nothing", list([], true), Err(WhyNot::VersionGone)),
            ("only it", list([version("new", 0)], true), Ok(1)),
            (
                "only it, of a cut list",
                list([version("new", 0)], false),
                Err(WhyNot::ManyVersions),
            ),
            ("an old one", list([version("new", 0), old()], false), Ok(2)),
            (
                "what is below does not matter",
                list([version("new", 0), old(), marker, other(old())], true),
                Ok(2),
            ),
            (
                "a young one between",
                list([version("new", 0), version("young", 59), old()], true),
                Ok(3),
            ),
            (
                "newer than the events",
                list([version("newer", 0), version("new", 0), old()], true),
                Ok(3),
            ),
            (
                "the event's own is old",
                list([version("new", 90)], true),
                Ok(1),
            ),
            (
                "the event's own is old, and none below",
                list([version("newer", 1), version("new", 90)], true),
                Err(WhyNot::NoOldVersion),
            ),
            (
                "none is old",
                list([version("new", 0), version("young", 59)], true),
                Err(WhyNot::NoOldVersion),
            ),
            (
                "none is old in a cut list",
                list([version("new", 0), version("young", 59)], false),
                Err(WhyNot::ManyVersions),
            ),
            (
                "the event's own is gone",
                list([version("other", 0), old()], true),
                Err(WhyNot::VersionGone),
            ),
            (
                "the event's own may be further down",
                list([version("other", 0), old()], false),
                Err(WhyNot::ManyVersions),
            ),
            (
                "a delete marker is current",
                list([marker, version("new", 0), old()], true),
                Err(WhyNot::DeleteMarker),
            ),
            (
                "a delete marker is between",
                list([version("new", 0), marker, old()], true),
                Err(WhyNot::DeleteMarker),
            ),
            (
                "null is the base",
                list([version("new", 0), version("null", 60)], true),
                Ok(2),
            ),
            (
                "null is between",
                list([version("new", 0), version("null", 59), old()], true),
                Err(WhyNot::NullVersion),
            ),
            (
                "null is current",
                list([version("null", 0), version("new", 0), old()], true),
                Err(WhyNot::NullVersion),
            ),
            (
                "another size",
                list([version("new", 0), other(old())], true),
                Err(WhyNot::OtherContent),
            ),
            (
                "in parts",
                list([parts(version("new", 0)), parts(old())], true),
                Err(WhyNot::Multipart),
            ),
            (
                "another class",
                list(
                    [
                        version("new", 0),
                        with(old(), |object| object.storage_class = "STANDARD_IA"),
                    ],
                    true,
                ),
                Err(WhyNot::OtherStorageClass),
            ),
            (
                "an unknown class",
                list(
                    [version("new", 0), old()]
                        .map(|it| with(it, |object| object.storage_class = "NEW_CLASS")),
                    true,
                ),
                Err(WhyNot::ArchivedStorageClass),
            ),
        ] {
            let created = created(&["new"]);
            let found = created
                .compare(&listing, NOW)
                .map(|candidate| match candidate {
                    Candidate::FirstUpload => 1,
                    Candidate::SameContent(versions) => versions.len(),
                });
            assert_eq!(found, expected, "{name}");
        }
        let mut not_latest = list([version("new", 0), old()], true);
        not_latest.entries[0].is_latest = false;
        let found = created(&["new"]).compare(&not_latest, NOW).map(|_| ());
        assert_eq!(found, Err(WhyNot::NoCurrentVersion));
    }

    #[test]
    fn the_oldest_version_of_all_events_decides() {
        let names = ["v4", "v3", "v2", "v1"];
        let listing = list(names.map(|name| version(name, 60)), true);
        for (events, expected) in [
            (&["v4"][..], Ok(2)),
            (&["v2"], Ok(4)),
            (&["v4", "v2", "v3"], Ok(4)),
            (&["v1"], Err(WhyNot::NoOldVersion)),
            (&["v4", "gone"], Err(WhyNot::VersionGone)),
        ] {
            let created = created(events);
            let found = created
                .compare(&listing, NOW)
                .map(|candidate| match candidate {
                    Candidate::FirstUpload => 1,
                    Candidate::SameContent(versions) => versions.len(),
                });
            assert_eq!(found, expected, "{events:?}");
        }
    }

    #[test]
    fn many_versions_are_not_compared() {
        let names: Vec<String> = (0..100).map(|n| format!("v{n}")).collect();
        let young = |count: usize| {
            let young = names[..count].iter().map(|name| version(name, 1));
            list(young.chain([version("old", 60)]), true)
        };
        for (count, expected) in [
            (MAX_COMPARED - 1, Ok(())),
            (MAX_COMPARED, Err(WhyNot::ManyVersions)),
        ] {
            let found = created(&["v0"]).compare(&young(count), NOW).map(|_| ());
            assert_eq!(found, expected, "{count}");
        }
    }

    fn head() -> Head<'static> {
        Head {
            etag: ETAG,
            headers: Headers {
                content_type: Some("text/html"),
                ..Headers::default()
            },
            metadata: vec![("mtime", "1"), ("owner", "ada")],
            encryption: Some("AES256"),
            tags: Some(vec![("a", "1"), ("b", "2")]),
            ..Head::default()
        }
    }

    #[test]
    fn headers_and_tags_of_all_versions_are_compared() {
        type Change = fn(&mut Head<'static>);
        let versions = [version("new", 0), version("young", 1), version("old", 60)];
        let changes: [(&str, Change, Result<(), WhyNot>); 15] = [
            ("nothing", |_| {}, Ok(())),
            (
                "their order",
                |head| {
                    head.metadata.reverse();
                    head.tags.iter_mut().for_each(|tags| tags.reverse());
                },
                Ok(()),
            ),
            (
                "the time of a file",
                |head| head.metadata[0] = ("MTime", "2"),
                Ok(()),
            ),
            ("no encryption", |head| head.encryption = None, Ok(())),
            (
                "other metadata",
                |head| head.metadata[1] = ("owner", "bob"),
                Err(WhyNot::OtherMetadata),
            ),
            (
                "less metadata",
                |head| head.metadata.truncate(1),
                Err(WhyNot::OtherMetadata),
            ),
            (
                "metadata that is not told",
                |head| head.lost_metadata = true,
                Err(WhyNot::OtherMetadata),
            ),
            (
                "a header",
                |head| head.headers.cache_control = Some("no-store"),
                Err(WhyNot::OtherHeader("Cache-Control")),
            ),
            (
                "a redirect",
                |head| head.headers.website_redirect_location = Some("/x"),
                Err(WhyNot::OtherHeader("x-amz-website-redirect-location")),
            ),
            (
                "a tag",
                |head| head.tags = Some(vec![("a", "1")]),
                Err(WhyNot::OtherTags),
            ),
            (
                "unknown tags",
                |head| head.tags = None,
                Err(WhyNot::Unknown(Fact::Tags)),
            ),
            (
                "a key of KMS",
                |head| head.encryption = Some("aws:kms"),
                Err(WhyNot::Encrypted),
            ),
            (
                "a key of the customer",
                |head| head.has_customer_key = true,
                Err(WhyNot::Encrypted),
            ),
            (
                "other content in the meantime",
                |head| head.etag = "\"0\"",
                Err(WhyNot::OtherContent),
            ),
            (
                "a replica",
                |head| head.is_replica = true,
                Err(WhyNot::Replica),
            ),
        ];
        for (name, change, expected) in changes {
            for place in 0..versions.len() {
                let mut heads = vec![Some(head()); versions.len()];
                heads[place].iter_mut().for_each(change);
                let found = Candidate::SameContent(&versions)
                    .compare(&heads)
                    .map(|_| ());
                // Only the age of the base counts.
                let is_harmless = name == "a replica" && place < 2;
                let expected = if is_harmless {
                    Ok(())
                } else {
                    expected.clone()
                };
                assert_eq!(found, expected, "{name} of version {place}");
            }
        }
        let candidate = Candidate::SameContent(&versions);
        let unread = Err(WhyNot::Unknown(Fact::Headers));
        assert_eq!(candidate.compare(&[]), unread);
        assert_eq!(candidate.compare(&[Some(head()), Some(head())]), unread);
        assert_eq!(
            candidate.compare(&[Some(head()), None, Some(head())]),
            unread
        );
    }
}
