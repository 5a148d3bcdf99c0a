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
/// the same one. Behind the hash stands the call's cause, as in `9f86d081884c7d659a2feaa0c55ad015-flush`:
/// CloudFront keeps the reference, so the bill tells later what was paid for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallerReference(String);

/// Why a call was made, as far as its sets say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A flush: objects changed.
    Flush,
    /// `invalidatorctl replay`.
    Replay,
    /// A person, by `invalidatorctl`.
    Hand,
    /// Another tool that put a message into SubmitQueue.
    Tool,
}

impl Cause {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Flush, Self::Replay, Self::Hand, Self::Tool];

    /// The word in the reference.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Replay => "replay",
            Self::Hand => "hand",
            Self::Tool => "tool",
        }
    }
}

/// The digits of a hash.
const HASH_LENGTH: usize = 32;

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
    /// The reference of a call, from its target, its paths, the sets that were merged into it, and their
    /// cause.
    pub fn new(
        target: &Target,
        paths: &[&InvalidationPath<'_>],
        sets: &[&SetId],
        cause: Cause,
    ) -> Self {
        let mut ids: Vec<&str> = sets.iter().map(|id| id.as_str()).collect();
        ids.sort_unstable();
        let parts = [target.id()].into_iter().chain(ids);
        Self::of(hash(parts, paths.iter().copied()), Some(cause))
    }

    /// A different reference for the same call, needed if CloudFront knows this one with other paths.
    pub fn another(&self) -> Self {
        Self::of(hash([self.as_str()], &[]), self.cause())
    }

    fn of(hash: String, cause: Option<Cause>) -> Self {
        Self(match cause {
            Some(cause) => format!("{hash}-{}", cause.as_str()),
            None => hash,
        })
    }

    /// Reads back a reference that was made before.
    pub fn known(reference: impl Into<String>) -> Self {
        Self(reference.into())
    }

    /// Whether it has the form of the references that this code makes, or version 0.1 made: those have no
    /// cause.
    pub fn is_ours(&self) -> bool {
        let hash = match self.cause() {
            Some(cause) => &self.0[..self.0.len() - cause.as_str().len() - 1],
            None => &self.0,
        };
        hash.len() == HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// Whether its paths were reserved in the ledger. A reference without a cause may be ours from version 0.1, which is
    /// longer ago than a month, but many tools use a UUID or an MD5 as their reference.
    pub fn is_reserved(&self) -> bool {
        self.is_ours() && self.cause().is_some()
    }

    /// The cause that it names.
    pub fn cause(&self) -> Option<Cause> {
        let (_, word) = self.0.rsplit_once('-')?;
        Cause::ALL.into_iter().find(|cause| cause.as_str() == word)
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
    let bytes = digest.iter().take(HASH_LENGTH / 2);
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
        let reference = CallerReference::new(&target("E1"), &[&path("/a")], &[&first], Cause::Hand);
        assert_ne!(reference, reference.another());
    }

    #[test]
    fn a_reference_tells_that_it_is_ours_and_why_the_call_was_made() {
        let hash = "0123456789abcdef0123456789abcdef";
        for (reference, is_ours, cause) in [
            (hash.to_owned(), true, None),
            (format!("{hash}-flush"), true, Some(Cause::Flush)),
            (format!("{hash}-tool"), true, Some(Cause::Tool)),
            (format!("{hash}-other"), false, None),
            (format!("{hash}-"), false, None),
            (format!("{}-flush", &hash[1..]), false, Some(Cause::Flush)),
            ("cli-1795000000-123456".to_owned(), false, None),
            ("deploy-hand".to_owned(), false, Some(Cause::Hand)),
            (
                "01234567-89ab-4def-8123-456789abcdef".to_owned(),
                false,
                None,
            ),
        ] {
            let known = CallerReference::known(reference.as_str());
            assert_eq!(known.is_ours(), is_ours, "{reference}");
            assert_eq!(known.cause(), cause, "{reference}");
        }
        let target = Target {
            distribution: DistributionId::new("E1"),
            tenant: None,
        };
        for cause in Cause::ALL {
            let reference = CallerReference::new(&target, &[], &[], cause);
            for made in [reference.another(), reference] {
                assert!(made.is_ours());
                assert_eq!(made.cause(), Some(cause));
            }
        }
    }
}
