//! Why a path is or is not skipped, in words.

use std::fmt;
use std::time::Duration;

use super::facts::Versioning;
use crate::cost::ledger::Distrust;
use crate::text::one_line;

/// What makes an upload one that needs no invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Viewers get the same as before.
    Unchanged {
        /// The id of the oldest version that was compared. All later ones are like it.
        since: String,
        /// How many versions were compared.
        versions: usize,
    },
    /// There was no object before.
    FirstUpload,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged { since, .. } => {
                write!(f, "unchanged since version {}", one_line(since, 40))
            }
            Self::FirstUpload => f.write_str("the first upload of this key"),
        }
    }
}

/// What could not be read, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The texts below say it.
pub enum Fact {
    Versioning,
    Ownership,
    Versions,
    Headers,
    Tags,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Versioning => "whether the bucket keeps versions",
            Self::Ownership => "whether the bucket has ACLs",
            Self::Versions => "the versions of the key",
            Self::Headers => "the headers of a version",
            Self::Tags => "the tags of a version",
        })
    }
}

/// Why a path is not skipped. Whatever is missing or unsure is such a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// The bucket lacks the tag.
    NotOptedIn,
    /// The bucket keeps no versions, or no longer.
    NotVersioned(Versioning),
    /// The bucket has ACLs.
    Acls,
    /// A change may not have reached the target.
    NotTrusted(Distrust),
    /// The behavior's target is an origin group.
    OriginGroup,
    /// Errors may be cached for longer than an invalidation would take.
    LongErrors {
        /// How long they are cached.
        ttl: Duration,
        /// How long they may be.
        limit: Duration,
    },
    /// The origin is a website endpoint, which had an error document for the key.
    Website,
    /// A function may have answered for the key.
    Function,
    /// The key is also served for `/` or for its folder, where something else may have been.
    OtherPaths,
    /// The key was deleted in the meantime.
    Deleted,
    /// An event does not tell which version it is about, or when that was created.
    NoVersionId,
    /// An event came later than versions are sure to be kept and events to have arrived.
    LateEvent,
    /// Few look-ups in this bucket save anything.
    NotWorthLooking,
    /// A version that an event is about is no longer there.
    VersionGone,
    /// The current version is not the first of the list.
    NoCurrentVersion,
    /// A delete marker is among the versions to compare.
    DeleteMarker,
    /// A version among those to compare was written while versioning was suspended.
    NullVersion,
    /// No version is old enough to compare with.
    NoOldVersion,
    /// There are too many versions to compare.
    ManyVersions,
    /// The content is another one.
    OtherContent,
    /// It was uploaded in parts: when that was complete, nothing tells.
    Multipart,
    /// It is encrypted such that its ETag does not tell its content.
    Encrypted,
    /// It was replicated: when it arrived, nothing tells.
    Replica,
    /// The storage class is another one.
    OtherStorageClass,
    /// S3 may not be able to answer from this storage class.
    ArchivedStorageClass,
    /// This header is another one.
    OtherHeader(&'static str),
    /// The metadata is another one.
    OtherMetadata,
    /// The tags are other ones.
    OtherTags,
    /// This could not be read, or not in time.
    Unknown(Fact),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotVersioned(Versioning::Never) => "the bucket has no versioning",
            Self::NotVersioned(_) => "versioning of the bucket is suspended",
            Self::NotTrusted(why) => return write!(f, "the target is not trusted: {why}"),
            Self::LongErrors { ttl, limit } => {
                let (ttl, limit) = (ttl.as_secs(), limit.as_secs());
                return write!(f, "errors are cached for {ttl} s, more than {limit} s");
            }
            Self::OtherHeader(name) => return write!(f, "another {name}"),
            Self::Unknown(fact) => return write!(f, "{fact} could not be read in time"),
            Self::NotOptedIn => "the bucket is not tagged invalidate=changed",
            Self::Acls => "the bucket has ACLs, which an upload may change",
            Self::OriginGroup => "the origin is in a group: another one may have answered",
            Self::Website => "a website endpoint may have answered with its error document",
            Self::Function => "a function may have answered with something else",
            Self::OtherPaths => "its folder or `/` may have been answered with something else",
            Self::Deleted => "it was deleted",
            Self::NoVersionId => "an event tells no version",
            Self::LateEvent => "an event came late",
            Self::NotWorthLooking => "looking saved little in this bucket",
            Self::VersionGone => "a version that was uploaded is gone",
            Self::NoCurrentVersion => "S3 lists no current version",
            Self::DeleteMarker => "it was deleted in between",
            Self::NullVersion => "it was uploaded without versioning in between",
            Self::NoOldVersion => "no version is more than an hour old",
            Self::ManyVersions => "too many versions to compare",
            Self::OtherContent => "other content",
            Self::Multipart => "uploaded in parts",
            Self::Encrypted => "encrypted with a key of its own",
            Self::Replica => "replicated from another bucket",
            Self::OtherStorageClass => "another storage class",
            Self::ArchivedStorageClass => "a storage class for archives",
            Self::OtherMetadata => "other metadata",
            Self::OtherTags => "other tags",
        };
        f.write_str(text)
    }
}
