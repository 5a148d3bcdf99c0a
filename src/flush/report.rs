//! What a flush did, for the log and the metrics.

use std::time::Duration;

use invalidator_core::cost::account::Account;
use invalidator_core::cost::collapse::SpendingLimits;
use invalidator_core::path::{Reach, WildcardCause};
use invalidator_core::plan::{Fate, PathSet};
use invalidator_core::retry::FlushEnd;
use tracing::info;

use super::drain::Held;
use crate::app::App;
use crate::counters::counters;
use crate::metrics::Metric;

counters! {
    /// What a round, or all rounds of a flush, did.
    FlushCounts {
        /// Changes that an event has told of. Those that were put back are not among them. Ingest counts only
        /// what does not come this far.
        received: "ChangesReceived",
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
        /// Paths that are not paid for, because an upload changed nothing that viewers get.
        saved_unchanged: "PathsSavedUnchanged",
        /// Those of keys that had no object before.
        saved_first_upload: "PathsSavedFirstUpload",
        /// Those that wildcards replace.
        saved_collapsed: "PathsSavedCollapsed",
        /// Calls to S3 that are made before paying.
        look_ups: "LookUps",
        /// Paths that wait, because a spending limit is reached.
        held_back: "PathsHeldBack",
        /// Keys whose changes are held back, because they are paused.
        paused: "KeysPaused",
        /// Paths that a dry run did not enqueue.
        dry_run: "DryRunPaths",
        sets: "SetsEnqueued",
        /// Wildcards that names need, and that wait for their ration.
        rationed: "WildcardsRationed",
        /// Wildcards over a whole distribution, by their cause.
        whole_by_name: "WholeDistributionByName",
        whole_by_error_page: "WholeDistributionByErrorPage",
        whole_by_collapse: "WholeDistributionByCollapse",
        whole_by_trust: "WholeDistributionByTrust",
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
        let Some((widest, _)) = whole.filter(|_| set.fate == Fate::Submit) else {
            return;
        };
        match widest.cause {
            WildcardCause::ErrorPage => self.whole_by_error_page += 1,
            WildcardCause::Collapsed => self.whole_by_collapse += 1,
            WildcardCause::Trust => self.whole_by_trust += 1,
            _ => self.whole_by_name += 1,
        }
    }
}

/// The counts of a round or a flush, and what its end depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub counts: FlushCounts,
    /// Targets that are left for the next flush, because time ran out.
    pub unsent: usize,
    /// The age of the oldest change that waits, in milliseconds.
    pub oldest: Option<u64>,
    /// Whether the stack is stopped or in a dry run.
    pub is_not_live: bool,
    /// What is spent, if it is known.
    pub spent: Option<Spent>,
    /// Whether something was put back into the buffer.
    pub has_put_back: bool,
    /// Whether changes were put back because default root objects are not known.
    pub lacks_root_objects: bool,
    /// The fences that were received.
    pub fences: Vec<Held>,
    /// When the flush began, in milliseconds since 1970.
    pub began: u64,
    /// Whether its last long poll returned no messages at all.
    pub is_empty: bool,
}

/// What is spent, with what this flush has ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    pub account: Account,
    pub limits: SpendingLimits,
}

impl Spent {
    fn metrics(self) -> impl Iterator<Item = Metric> {
        let Self { account, limits } = self;
        let paths = usize::try_from(account.this_month).unwrap_or(usize::MAX);
        let is_near = limits.half_spent(&account).is_some();
        [
            Metric::Count("PathsThisMonth", paths),
            Metric::Count("SpendingLimitNear", usize::from(is_near)),
            Metric::Usd("SpentThisMonth", account.spent_this_month()),
            Metric::Usd("SpentThisHour", account.spent_this_hour()),
            Metric::Usd("ForecastThisMonth", account.forecast_cost()),
        ]
        .into_iter()
    }
}

impl Report {
    pub fn add(&mut self, other: Self) {
        self.counts.add(other.counts);
        self.unsent += other.unsent;
        self.oldest = self.oldest.max(other.oldest);
        self.is_not_live |= other.is_not_live;
        self.spent = other.spent.or(self.spent);
        self.has_put_back |= other.has_put_back;
        self.lacks_root_objects |= other.lacks_root_objects;
    }

    /// Logs the counts in one line and emits them as metrics.
    pub fn tell(self, app: &App, end: FlushEnd, duration: Duration) {
        let Self {
            counts,
            unsent,
            oldest,
            is_not_live,
            spent,
            ..
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
        metrics.extend(spent.into_iter().flat_map(Spent::metrics));
        if counts.messages > 0 {
            metrics.push(Metric::duration("FlushDuration", duration));
        }
        app.metrics.emit(app.clock.now(), &metrics);
    }
}
