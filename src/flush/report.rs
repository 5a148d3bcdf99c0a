//! Counts what a flush did, for the log and the metrics.

use std::time::Duration;

use invalidator_core::plan::Counts;
use tracing::info;

use crate::app::App;
use crate::metrics::Metric;

/// What a round, or all rounds of a flush, did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Changes received.
    pub changes: usize,
    /// Messages they came in.
    pub messages: usize,
    /// Messages that could not be read.
    pub unreadable: usize,
    /// The decisions for the keys.
    pub keys: Counts,
    /// Paths of all sets.
    pub paths: usize,
    /// Sets that are in SubmitQueue.
    pub sets: usize,
    /// Paths that a dry run did not enqueue.
    pub dry_run: usize,
    /// Targets whose changes wait, because their distributions could not be read.
    pub unread: usize,
    /// Targets that are left for the next flush, because time ran out.
    pub unsent: usize,
    /// Distributions whose changes waited, and that are not listed any more.
    pub gone: usize,
    /// Messages that come back, because a part of them could not be enqueued.
    pub released: usize,
    /// The age of the oldest change that waits, in milliseconds.
    pub oldest: Option<u64>,
}

impl Report {
    pub fn add(&mut self, other: Self) {
        self.changes += other.changes;
        self.messages += other.messages;
        self.unreadable += other.unreadable;
        self.keys.add(other.keys);
        self.paths += other.paths;
        self.sets += other.sets;
        self.dry_run += other.dry_run;
        self.unread += other.unread;
        self.unsent += other.unsent;
        self.gone += other.gone;
        self.released += other.released;
        self.oldest = self.oldest.max(other.oldest);
    }

    /// Logs the counts in one line and emits them as metrics.
    pub fn tell(self, app: &App, duration: Duration) {
        info!(
            stage = "flush",
            drained = self.changes,
            messages = self.messages,
            keys = self.keys.keys,
            unmatched = self.keys.unmatched,
            not_cached = self.keys.not_cached,
            paths = self.paths,
            sets = self.sets,
            unreadable = self.unreadable,
            unread = self.unread,
            unsent = self.unsent,
            gone = self.gone,
            released_messages = self.released,
            dry_run = app.config.dry_run,
            "flushed"
        );
        let metrics = [
            Metric::Count("MessagesDrained", self.messages),
            Metric::Count("ChangesDrained", self.changes),
            Metric::Count("MessagesUnreadable", self.unreadable),
            Metric::Count("MessagesReleased", self.released),
            Metric::Count("TargetsUnread", self.unread),
            Metric::Count("Keys", self.keys.keys),
            Metric::Count("KeysUnmatched", self.keys.unmatched),
            Metric::Count("KeysNotCached", self.keys.not_cached),
            Metric::Count("PathsPlanned", self.paths),
            Metric::Count("DryRunPaths", self.dry_run),
            Metric::Count("SetsEnqueued", self.sets),
            Metric::Milliseconds("OldestChange", self.oldest.into_iter().collect()),
            Metric::duration("FlushDuration", duration),
        ];
        app.metrics.emit(app.clock.now(), &metrics);
    }
}
