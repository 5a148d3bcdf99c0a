//! What the bill keeps of an invalidation, and of what was invalidated.

use aws_sdk_cloudfront::types::Invalidation as Answer;
use invalidator_core::service_error::ServiceError;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The most characters of a path that are kept.
const MAX_PATH: usize = 200;

/// An invalidation. None of it changes after the invalidation was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidation {
    /// Its id at CloudFront.
    pub id: String,
    /// When it was created, in milliseconds since 1970.
    pub time: i64,
    /// How many paths it has, as they are billed: a wildcard and a tag are one path each, and a path that
    /// comes twice is two.
    pub paths: u64,
    /// How many of them are wildcards.
    pub wildcards: u64,
    /// The caller reference.
    pub reference: String,
    /// The first path, perhaps cut.
    pub first: String,
}

impl Invalidation {
    /// What CloudFront says of an invalidation; `None` if it says less than the API promises.
    pub fn of(read: Answer) -> Option<Self> {
        let time = milliseconds(&read.create_time);
        let batch = read.invalidation_batch?;
        let paths = batch.paths?;
        let items = paths.items.unwrap_or_default();
        let first = items.first().map(String::as_str).unwrap_or_default();
        Some(Self {
            id: read.id,
            time,
            paths: u64::try_from(paths.quantity).ok()?,
            wildcards: items.iter().filter(|path| path.ends_with('*')).count() as u64,
            reference: batch.caller_reference,
            first: first.chars().take(MAX_PATH).collect(),
        })
    }

    /// When it was created.
    pub fn created(&self) -> OffsetDateTime {
        created(self.time)
    }
}

/// A time of the SDK, in milliseconds since 1970.
pub fn milliseconds(time: &aws_sdk_cloudfront::primitives::DateTime) -> i64 {
    // It has milliseconds, and is of this century.
    time.to_millis().unwrap_or_default()
}

/// A time in milliseconds since 1970.
pub fn created(milliseconds: i64) -> OffsetDateTime {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// What is billed: a distribution, or a tenant of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Billed {
    /// The id of the distribution or tenant.
    pub id: String,
    /// What people know it by: its alias or domain. `None` if it was deleted.
    pub name: Option<String>,
    /// The distribution, if it is a tenant.
    pub tenant_of: Option<String>,
}

/// The invalidations of one of them.
#[derive(Debug)]
pub struct Read {
    pub of: Billed,
    pub invalidations: Vec<Invalidation>,
    /// How many of them CloudFront does not list any more.
    pub forgotten: usize,
    /// Why some are missing.
    pub missing: Option<ServiceError>,
}
