//! In which buckets an environment has found it worth looking before paying.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use invalidator_core::cost::skip::look_ups::Worth;
use invalidator_core::event::BucketName;

/// How much looking has saved, by bucket.
#[derive(Debug, Default)]
pub struct BucketWorth(Mutex<HashMap<BucketName, Worth>>);

impl BucketWorth {
    /// Whether to look at all.
    pub fn is_worth_looking(&self, bucket: &BucketName, now: u64) -> bool {
        let worth = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        worth.get(bucket).is_none_or(|it| it.is_worth_looking(now))
    }

    /// Notes how many keys were looked up, and how many paths that saved.
    pub fn note(&self, bucket: &BucketName, now: u64, looks: usize, saved: usize) {
        let mut worth = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_bucket = worth.entry(bucket.clone()).or_default();
        of_bucket.note(now, looks, saved);
    }
}
