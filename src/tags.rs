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
use crate::decisions::LoggedDecisions;

/// How many calls run at once. An event or a flush may concern thousands of buckets, and each call
/// needs a connection.
const CONCURRENCY: usize = 16;

/// How much memory the settings that are kept may take: those of more than ten thousand buckets with tags as usual.
/// Whoever may send events names as many buckets as he likes.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// What a bucket takes at least, beside its name and its tags.
const BYTES_OF_A_BUCKET: usize = 400;

/// The cache of the settings in bucket tags.
#[derive(Debug)]
pub struct BucketTags {
    keep_for: Duration,
    clock: Clock,
    known: Mutex<Known>,
    changed: AtomicUsize,
    /// Whether one more bucket that cannot be read may be logged: there may be thousands.
    logged: LoggedDecisions,
}

/// The settings that are kept.
#[derive(Debug, Default)]
struct Known {
    of_buckets: HashMap<BucketName, Kept>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Kept {
    settings: Arc<BucketSettings>,
    since: SystemTime,
    bytes: usize,
}

impl Known {
    /// Keeps the settings of a bucket. If they take too much memory, all others are forgotten, and read again when they
    /// are needed.
    fn keep(&mut self, bucket: &BucketName, kept: Kept) {
        let before = self.of_buckets.remove(bucket);
        self.bytes -= before.map_or(0, |before| before.bytes);
        if self.bytes + kept.bytes > MOST_BYTES {
            *self = Self::default();
        }
        self.bytes += kept.bytes;
        self.of_buckets.insert(bucket.clone(), kept);
    }
}

/// The memory that the settings of a bucket take at most: the text of a tag is there once, and once more as rules.
fn bytes_of(bucket: &BucketName, tags: &[BucketTag]) -> usize {
    let of_tags = tags.iter().map(|tag| 4 * (tag.key.len() + tag.value.len()));
    BYTES_OF_A_BUCKET + bucket.as_str().len() + of_tags.sum::<usize>()
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
            logged: LoggedDecisions::default(),
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
        let kept = self.lock().of_buckets.get(bucket).cloned();
        let now = self.clock.now();
        if let Some(Kept {
            settings, since, ..
        }) = &kept
            && now
                .duration_since(*since)
                .is_ok_and(|age| age < self.keep_for)
        {
            return Some(settings.clone());
        }
        let tags = match Instant::now() < until {
            true => timeout_at(until, self.read(s3, bucket))
                .await
                .ok()
                .flatten(),
            false => None,
        };
        let Some(tags) = tags else {
            return kept.map(|kept| kept.settings);
        };
        let settings = Arc::new(BucketSettings::from_tags(&tags));
        if let Some(before) = kept {
            self.tell_changes(bucket, &before.settings, &settings);
        }
        let kept = Kept {
            settings: settings.clone(),
            since: now,
            bytes: bytes_of(bucket, &tags),
        };
        self.lock().keep(bucket, kept);
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

    async fn read(&self, s3: &Client, bucket: &BucketName) -> Option<Vec<BucketTag>> {
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
                if self.logged.may_log(self.clock.now()) {
                    warn!(%bucket, error = %service_error(&error), "the tags of a bucket cannot be read");
                }
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_buckets_is_bounded_by_bytes() {
        let mut known = Known::default();
        let tag = |value: String| BucketTag {
            key: "exceptionPaths".to_owned(),
            value,
        };
        let mut most = 0;
        for n in 0..60_000 {
            let bucket = BucketName::new(format!("bucket-{}", n % 50_000));
            let tags = [tag("x".repeat(n % 256))];
            let kept = Kept {
                settings: Arc::new(BucketSettings::from_tags(&tags)),
                since: SystemTime::UNIX_EPOCH,
                bytes: bytes_of(&bucket, &tags),
            };
            known.keep(&bucket, kept);
            assert!(known.of_buckets.contains_key(&bucket), "the last one");
            let bytes = known.of_buckets.values().map(|it| it.bytes).sum::<usize>();
            if n % 1_000 == 0 {
                assert_eq!(known.bytes, bytes);
            }
            assert!(known.bytes <= MOST_BYTES);
            most = most.max(known.of_buckets.len());
        }
        // Those with usual tags are kept.
        assert!(most > 7_000, "{most}");
        let usual = bytes_of(
            &BucketName::new("b".repeat(63)),
            &[tag("/assets/".to_owned())],
        );
        assert!(10_000 * usual < MOST_BYTES);
    }
}
