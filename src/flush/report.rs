//! What a flush did, for the log and the metrics.

use std::time::Duration;

use invalidator_core::path::{Reach, WildcardCause};
use invalidator_core::plan::{Fate, PathSet};
use invalidator_core::retry::FlushEnd;
use tracing::info;

use crate::app::App;
use crate::counters::counters;
use crate::metrics::Metric;

counters! {
    /// What a round, or all rounds of a flush, did.
    FlushCounts {
        messages: "MessagesDrained",
        changes: "ChangesDrained",
        /// Messages that could not be read.
        unreadable: "MessagesUnreadable",
        /// Messages that come back, because a part of them could not be enqueued.
        released: "MessagesReleased",
        /// Targets whose changes wait, because their distributions could not be read.
        unread: "TargetsUnread",
        /// Tags of buckets that have changed.
        tags_changed: "TagsChanged",
        keys: "Keys",
        /// Keys that no distribution serves from its cache.
        unmatched: "KeysUnmatched",
        /// Those of them that a distribution serves, but does not cache.
        not_cached: "KeysNotCached",
        paths: "PathsPlanned",
        /// Paths that a dry run did not enqueue.
        dry_run: "DryRunPaths",
        sets: "SetsEnqueued",
        /// Wildcards that names need, and that wait for their ration.
        rationed: "WildcardsRationed",
        /// Wildcards over a whole distribution, by their cause.
        whole_by_name: "WholeDistributionByName",
        whole_by_error_page: "WholeDistributionByErrorPage",
    }
}

impl FlushCounts {
    /// Counts the paths of a set.
    pub fn count(&mut self, set: &PathSet<'_>) {
        match set.fate {
            // They count as planned when they are submitted.
            Fate::Wait(_) => self.rationed += set.paths.len(),
            Fate::Submit => self.paths += set.paths.len(),
            Fate::Reject => {}
        }
        let is_whole = |reach| reach == Reach::WholeDistribution;
        let whole = set.widest().filter(|(_, reach)| is_whole(*reach));
        match whole.map(|(widest, _)| widest.cause) {
            Some(WildcardCause::ErrorPage) if set.fate == Fate::Submit => {
                self.whole_by_error_page += 1;
            }
            Some(_) if set.fate == Fate::Submit => self.whole_by_name += 1,
            _ => {}
        }
    }
}

/// The counts of a round or a flush, and what its end depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub counts: FlushCounts,
    /// Targets that are left for the next flush, because time ran out.
    pub unsent: usize,
    /// The age of the oldest change that waits, in milliseconds.
    pub oldest: Option<u64>,
    /// Whether the stack is stopped or in a dry run.
    pub is_not_live: bool,
}

impl Report {
    pub fn add(&mut self, other: Self) {
        self.counts.add(other.counts);
        self.unsent += other.unsent;
        self.oldest = self.oldest.max(other.oldest);
        self.is_not_live |= other.is_not_live;
    }

    /// Logs the counts in one line and emits them as metrics.
    pub fn tell(self, app: &App, end: FlushEnd, duration: Duration) {
        let Self {
            counts,
            unsent,
            oldest,
            is_not_live,
        } = self;
        let waits_seconds = oldest.map(|milliseconds| milliseconds / 1_000);
        info!(stage = "flush", end = ?end, %counts, unsent, waits_seconds, "flushed");
        let mut metrics = counts.metrics();
        metrics.extend([
            Metric::Count("FlushesFinished", usize::from(end.is_finished())),
            Metric::Count("FlushesFailed", usize::from(!end.is_finished())),
            Metric::Count("NotLive", usize::from(is_not_live)),
            Metric::Milliseconds("OldestChange", oldest.into_iter().collect()),
        ]);
        if counts.messages > 0 {
            metrics.push(Metric::duration("FlushDuration", duration));
        }
        app.metrics.emit(app.clock.now(), &metrics);
    }
}
