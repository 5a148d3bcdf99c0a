//! What is looked at: objects, and the URLs at which CloudFront serves them.

use std::hash::{DefaultHasher, Hash, Hasher};

use invalidator_core::distributions::address::Address;
use invalidator_core::event::{BucketName, ObjectKey};
use invalidator_core::target::DistributionId;

use super::compare::{Circumstances, Stored};

/// An object to look at.
#[derive(Clone, Debug)]
pub struct Found {
    pub bucket: BucketName,
    pub key: ObjectKey<'static>,
    pub state: State,
    /// The page that was asked for, if it was one.
    pub page: Option<Address>,
    /// Whether nobody asked for it by name.
    pub is_listed: bool,
    /// The rule by which its uploads are ignored.
    pub ignored: Option<String>,
}

/// What S3 says of an object.
#[derive(Clone, Debug)]
pub enum State {
    There(Stored),
    Missing,
    /// It could not be asked, for this reason.
    Unknown(String),
}

/// A URL to ask for.
#[derive(Debug)]
pub struct Check {
    pub host: String,
    /// Encoded, with the query string.
    pub path: String,
    pub distribution: DistributionId,
    pub bucket: BucketName,
    pub key: ObjectKey<'static>,
    pub state: State,
    pub around: Circumstances,
}

/// What became of objects before any request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Objects that are looked at.
    pub objects: u64,
    /// Those that no distribution serves at a name that can be asked.
    pub unserved: u64,
    /// Listed ones whose uploads are ignored, and which are left out.
    pub excepted: u64,
}

/// A hash that is the same in every run.
pub fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
