//! What planning goes by.

use std::collections::HashMap;
use std::time::Duration;

use super::sets::SetLimits;
use crate::bucket_tags::BucketSettings;
use crate::distributions::Distribution;
use crate::distributions::origin::OriginBuckets;
use crate::event::BucketName;

/// The index document of a website endpoint whose bucket has no `indexDocument` tag.
const DEFAULT_INDEX_DOCUMENT: &str = "index.html";

/// What planning goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The distributions that may serve the changed buckets.
    pub distributions: &'a [Distribution],
    /// Buckets behind names that do not tell.
    pub origin_buckets: &'a OriginBuckets,
    /// The index document of each bucket that has an `indexDocument` tag.
    pub index_documents: &'a HashMap<BucketName, String>,
    /// How long changes are collected before a flush. An error that is cached no longer than this is
    /// gone by itself.
    pub debounce: Duration,
    /// How large a set may be.
    pub limits: SetLimits,
    /// How many folders deep a wildcard must be, unless it is one for query strings. Wider ones are
    /// rejected. 0 allows all.
    pub min_wildcard_depth: usize,
}

/// The index document of a bucket with these tags. If the tags cannot be read, folders are invalidated
/// too: an unnecessary path is better than a stale page.
pub fn index_document_of(settings: Option<&BucketSettings>) -> Option<String> {
    match settings {
        Some(settings) => settings.index_document.clone(),
        None => Some(DEFAULT_INDEX_DOCUMENT.to_owned()),
    }
}

impl<'a> Rules<'a> {
    /// The name of the objects that an origin serves for their folders.
    pub(super) fn index_document(&self, bucket: &BucketName, is_website: bool) -> Option<&'a str> {
        let tagged = self.index_documents.get(bucket).map(String::as_str);
        tagged.or(is_website.then_some(DEFAULT_INDEX_DOCUMENT))
    }
}
