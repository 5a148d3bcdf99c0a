//! What is cached, and since when.

use std::time::{Duration, SystemTime};

/// How long the pages of an interrupted list are kept. Until then the next attempt continues after them.
pub(super) const KEEP_PAGES: Duration = Duration::from_secs(300);

/// A cached value, and when it was read. That is by the wall clock, because an environment may be frozen
/// for hours, and its monotonic clock with it.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub value: T,
    pub since: SystemTime,
    /// The version of the distribution that the value belongs to, if any.
    pub e_tag: Option<String>,
}

impl<T> Kept<T> {
    pub(super) fn new(value: T, since: SystemTime) -> Self {
        Self {
            value,
            since,
            e_tag: None,
        }
    }

    /// If the clock was set back, everything counts as old.
    pub(super) fn is_fresh(&self, now: SystemTime, keep_for: Duration) -> bool {
        now.duration_since(self.since)
            .is_ok_and(|age| age < keep_for)
    }
}
