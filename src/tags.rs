//! Reads the tags of buckets, and caches the settings in them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use futures_util::stream::{self, StreamExt};
use invalidator_core::bucket_tags::{BucketSettings, BucketTag};
use invalidator_core::event::BucketName;
use invalidator_core::text::one_line;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::aws::error::service_error;
use crate::clock::Clock;

/// How many calls run at once. An event or a flush may concern thousands of buckets, and each call
/// needs a connection.
const CONCURRENCY: usize = 16;

/// The cache of the settings in bucket tags.
#[derive(Debug)]
pub struct BucketTags {
    keep_for: Duration,
    clock: Clock,
    known: Mutex<HashMap<BucketName, (Arc<BucketSettings>, SystemTime)>>,
    changed: AtomicUsize,
}

/// S3 saves no longer value.
const MAX_VALUE: usize = 256;

impl BucketTags {
    /// An empty cache, which reads tags again after `keep_for`.
    pub fn new(keep_for: Duration, clock: Clock) -> Self {
        Self {
            keep_for,
            clock,
            known: Mutex::default(),
            changed: AtomicUsize::new(0),
        }
    }

    /// How many changed tags were seen since the last call. An environment sees only what changes after it
    /// has read the tags of a bucket once.
    pub fn take_changed(&self) -> usize {
        self.changed.swap(0, Ordering::Relaxed)
    }

    /// The settings in the tags of buckets. If the tags of a bucket cannot be read until `until`, the last
    /// known ones are used; without those the bucket is left out.
    pub async fn settings_of<'a>(
        &self,
        s3: &Client,
        buckets: impl IntoIterator<Item = &'a BucketName>,
        until: Instant,
    ) -> HashMap<BucketName, Arc<BucketSettings>> {
        stream::iter(buckets)
            .map(|bucket| async move { (bucket, self.settings(s3, bucket, until).await) })
            .buffer_unordered(CONCURRENCY)
            .filter_map(|(bucket, settings)| async move { Some((bucket.clone(), settings?)) })
            .collect()
            .await
    }

    /// The settings in the tags of a bucket. If the tags cannot be read, the last known ones are used;
    /// without those the answer is `None`.
    pub async fn settings(
        &self,
        s3: &Client,
        bucket: &BucketName,
        until: Instant,
    ) -> Option<Arc<BucketSettings>> {
        let kept = self.lock().get(bucket).cloned();
        let now = self.clock.now();
        if let Some((settings, since)) = &kept
            && now
                .duration_since(*since)
                .is_ok_and(|age| age < self.keep_for)
        {
            return Some(settings.clone());
        }
        let tags = match Instant::now() < until {
            true => timeout_at(until, read(s3, bucket)).await.ok().flatten(),
            false => None,
        };
        let Some(tags) = tags else {
            return kept.map(|(settings, _)| settings);
        };
        let settings = Arc::new(BucketSettings::from_tags(&tags));
        if let Some((before, _)) = kept {
            self.tell_changes(bucket, &before, &settings);
        }
        self.lock().insert(bucket.clone(), (settings.clone(), now));
        Some(settings)
    }

    /// Logs and counts tags that changed, because they decide which uploads are ignored.
    fn tell_changes(&self, bucket: &BucketName, before: &BucketSettings, now: &BucketSettings) {
        for change in now.changes_since(before) {
            self.changed.fetch_add(1, Ordering::Relaxed);
            let shown = |value: Option<String>| value.map(|value| one_line(&value, MAX_VALUE));
            let (old, new) = (shown(change.old), shown(change.new));
            warn!(%bucket, tag = change.key, old, new, "a tag of a bucket has changed, which changes what is invalidated");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BucketName, (Arc<BucketSettings>, SystemTime)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(s3: &Client, bucket: &BucketName) -> Option<Vec<BucketTag>> {
    match s3.get_bucket_tagging().bucket(bucket.as_str()).send().await {
        Ok(answer) => {
            let tags = answer.tag_set.into_iter();
            Some(
                tags.map(|tag| BucketTag {
                    key: tag.key,
                    value: tag.value,
                })
                .collect(),
            )
        }
        // The bucket has no tags. The SDK's model lacks this code.
        Err(error) if error.code() == Some("NoSuchTagSet") => Some(Vec::new()),
        Err(error) => {
            warn!(%bucket, error = %service_error(&error), "the tags of a bucket cannot be read");
            None
        }
    }
}
