//! Reads the tags of buckets, and keeps what they ask for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use tokio::time::Instant;
use tracing::warn;

use super::{BucketSettings, BucketTag};
use crate::event::BucketName;

/// What an environment knows of the tags of buckets.
#[derive(Debug)]
pub struct BucketTags {
    keep_for: Duration,
    known: Mutex<HashMap<BucketName, (Arc<BucketSettings>, Instant)>>,
}

impl BucketTags {
    /// Tags that are read again after `keep_for`.
    pub fn new(keep_for: Duration) -> Self {
        Self {
            keep_for,
            known: Mutex::default(),
        }
    }

    /// What the tags of a bucket ask for, or `None` if they cannot be read: its changes are then
    /// kept, fresh beats cheap.
    pub async fn settings(&self, s3: &Client, bucket: &BucketName) -> Option<Arc<BucketSettings>> {
        if let Some((settings, since)) = self.lock().get(bucket)
            && since.elapsed() < self.keep_for
        {
            return Some(settings.clone());
        }
        let settings = Arc::new(BucketSettings::from_tags(&read(s3, bucket).await?));
        self.lock()
            .insert(bucket.clone(), (settings.clone(), Instant::now()));
        Some(settings)
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<BucketName, (Arc<BucketSettings>, Instant)>> {
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
        // Not in the SDK's model: the bucket has no tags.
        Err(error) if error.code() == Some("NoSuchTagSet") => Some(Vec::new()),
        Err(error) => {
            warn!(%bucket, error = %crate::submit::describe(&error), "the tags of a bucket cannot be read, so its changes are kept");
            None
        }
    }
}
