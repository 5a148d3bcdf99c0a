//! Ids of sets and calls that stay the same when they are repeated.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::path::InvalidationPath;
use crate::target::Target;

/// The id of a call. If a call is repeated with the same reference and paths, CloudFront answers with
/// the earlier invalidation (CloudFront API Reference, "InvalidationBatch").
///
/// It is a hash of the call's content, so it needs neither clock nor randomness, and every retry has
/// the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallerReference(String);

/// The identity of a set: the deduplication id of its message in SubmitQueue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(String);

impl SetId {
    /// The id of a set that a flush makes, from its target, its paths, and the ids of the buffered
    /// messages they came from. If the same messages are flushed twice because a flush died, the set
    /// has the same id; a later change of the same keys comes in another message, and gives another id.
    pub fn new(target: &Target, paths: &[InvalidationPath<'_>], message_ids: &[&str]) -> Self {
        let mut ids = message_ids.to_vec();
        ids.sort_unstable();
        Self(hash([target.id()].into_iter().chain(ids), paths))
    }

    /// The id of the rest of a set after a part of it was accepted.
    pub fn of_rest(&self, paths: &[InvalidationPath<'_>]) -> Self {
        Self(hash([self.as_str()], paths))
    }

    /// The id of a received set: the deduplication id of its message.
    pub fn known(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CallerReference {
    /// The reference of a call, from its target, its paths, and the sets that were merged into it.
    pub fn new(target: &Target, paths: &[&InvalidationPath<'_>], sets: &[&SetId]) -> Self {
        let mut ids: Vec<&str> = sets.iter().map(|id| id.as_str()).collect();
        ids.sort_unstable();
        let parts = [target.id()].into_iter().chain(ids);
        Self(hash(parts, paths.iter().copied()))
    }

    /// A different reference for the same call, needed if CloudFront knows this one with other paths.
    pub fn another(&self) -> Self {
        Self(hash([self.as_str()], &[]))
    }

    /// Reads back a reference that was made before.
    pub fn known(reference: impl Into<String>) -> Self {
        Self(reference.into())
    }

    /// Whether it has the form of the references that this code makes.
    pub fn is_ours(&self) -> bool {
        self.0.len() == 32 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallerReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 128 bits of SHA-256 in hex. Each part is prefixed with its length, so that different lists of parts
/// are never hashed as the same bytes.
fn hash<'a, 'p: 'a>(
    parts: impl IntoIterator<Item = &'a str>,
    paths: impl IntoIterator<Item = &'a InvalidationPath<'p>>,
) -> String {
    let mut hash = Sha256::new();
    let paths = paths.into_iter().map(InvalidationPath::as_str);
    for part in parts.into_iter().chain([""]).chain(paths) {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let bytes = digest.iter().take(16);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::DistributionId;

    #[test]
    fn an_identity_is_told_by_target_paths_and_origin_alone() {
        let target = |id: &str| Target {
            distribution: DistributionId::new(id),
            tenant: None,
        };
        let path = |text: &str| InvalidationPath::try_from(text.to_owned()).unwrap();
        let first = SetId::new(&target("E1"), &[path("/a"), path("/b")], &["m1", "m2"]);
        let again = SetId::new(&target("E1"), &[path("/a"), path("/b")], &["m2", "m1"]);
        assert_eq!(first, again, "in whatever order the messages come");
        for other in [
            SetId::new(&target("E2"), &[path("/a"), path("/b")], &["m1", "m2"]),
            SetId::new(&target("E1"), &[path("/a")], &["m1", "m2"]),
            SetId::new(&target("E1"), &[path("/a"), path("/b")], &["m1"]),
            SetId::new(&target("E1"), &[path("/a/b")], &["m1", "m2"]),
            first.of_rest(&[path("/a"), path("/b")]),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(first.as_str().len(), 32);
        let reference = CallerReference::new(&target("E1"), &[&path("/a")], &[&first]);
        assert_ne!(reference, reference.another());
    }
}
