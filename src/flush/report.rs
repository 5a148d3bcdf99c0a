//! What came of a round, or of all rounds of a flush: for the log, and for the metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::info;

use crate::distributions::DistributionId;
use crate::event::EventTime;
use crate::handler::App;
use crate::metrics::{MAX_VALUES, Metric, milliseconds};
use crate::plan::Counts;
use crate::submit::Settlement;

/// What came of a round, or of all rounds of a flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Changes received.
    pub changes: usize,
    /// Messages they came in.
    pub messages: usize,
    /// Messages that could not be read.
    pub unreadable: usize,
    /// What became of the keys.
    pub counts: Counts,
    /// Paths of all sets that were made.
    pub paths_planned: usize,
    /// What became of the paths.
    pub paths: PathsByDistribution,
    /// Messages that are to come again.
    pub unsettled: usize,
    /// Mails about refused paths that could not be sent.
    pub mails_failed: usize,
    /// How old changes were, in milliseconds, when CloudFront took them: a sample.
    pub ages: Vec<u64>,
}

/// What became of the paths of each distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathsByDistribution(BTreeMap<DistributionId, PathCounts>);

/// What became of the paths of some invalidations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// Paths CloudFront took.
    pub accepted: usize,
    /// The invalidations it took them in.
    pub invalidations: usize,
    /// Paths that wait in RetryQueue.
    pub retried: usize,
    /// Paths CloudFront refused for good.
    pub rejected: usize,
    /// Paths that a dry run did not submit.
    pub dry_run: usize,
}

impl PathCounts {
    /// What became of the paths of one set.
    pub fn of(settlement: &Settlement<'_>) -> Self {
        Self {
            accepted: settlement
                .accepted
                .iter()
                .map(|accepted| accepted.paths)
                .sum(),
            invalidations: settlement.accepted.len(),
            retried: settlement
                .held_back
                .as_ref()
                .map_or(0, |(held_back, _)| held_back.paths.len()),
            rejected: settlement
                .refused
                .iter()
                .map(|refused| refused.paths.len())
                .sum(),
            dry_run: 0,
        }
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.invalidations += other.invalidations;
        self.retried += other.retried;
        self.rejected += other.rejected;
        self.dry_run += other.dry_run;
    }

    /// As metrics.
    pub fn metrics(&self) -> Vec<Metric> {
        vec![
            Metric::Count("PathsAccepted", self.accepted),
            Metric::Count("PathsRetried", self.retried),
            Metric::Count("PathsRejected", self.rejected),
            Metric::Count("Invalidations", self.invalidations),
            Metric::Count("DryRunPaths", self.dry_run),
        ]
    }
}

impl PathsByDistribution {
    /// Adds what became of some paths of a distribution.
    pub fn add(&mut self, distribution: &DistributionId, counts: PathCounts) {
        self.0.entry(distribution.clone()).or_default().add(counts);
    }

    /// Of all distributions together.
    pub fn total(&self) -> PathCounts {
        let mut total = PathCounts::default();
        self.0.values().for_each(|counts| total.add(*counts));
        total
    }

    /// Emits the metrics of each distribution.
    pub fn emit(&self, app: &App) {
        for (distribution, counts) in &self.0 {
            app.metrics
                .emit_for(app.clock.now(), distribution.as_str(), &counts.metrics());
        }
    }
}

impl Report {
    /// Adds what came of another round.
    pub fn add(&mut self, other: Self) {
        self.changes += other.changes;
        self.messages += other.messages;
        self.unreadable += other.unreadable;
        self.counts.keys += other.counts.keys;
        self.counts.unmatched += other.counts.unmatched;
        self.counts.not_cached += other.counts.not_cached;
        self.paths_planned += other.paths_planned;
        for (distribution, counts) in &other.paths.0 {
            self.paths.add(distribution, *counts);
        }
        self.unsettled += other.unsettled;
        self.mails_failed += other.mails_failed;
        self.add_ages(other.ages);
    }

    /// Adds the ages of changes that CloudFront took just now.
    pub fn add_event_times(&mut self, app: &App, event_times: impl Iterator<Item = EventTime>) {
        let now = milliseconds(app.clock.now());
        let age = |EventTime(time)| now.saturating_sub(u64::try_from(time).unwrap_or(now));
        self.add_ages(event_times.map(age));
    }

    fn add_ages(&mut self, ages: impl IntoIterator<Item = u64>) {
        let room = MAX_VALUES.saturating_sub(self.ages.len());
        self.ages.extend(ages.into_iter().take(room));
    }

    /// Logs it in a line and emits the metrics.
    pub fn tell(self, app: &App, duration: Duration) {
        let paths = self.paths.total();
        info!(
            stage = "flush",
            drained = self.changes,
            messages = self.messages,
            keys = self.counts.keys,
            unmatched = self.counts.unmatched,
            not_cached = self.counts.not_cached,
            paths = self.paths_planned,
            accepted = paths.accepted,
            invalidations = paths.invalidations,
            held_back = paths.retried,
            rejected = paths.rejected,
            unreadable = self.unreadable,
            unsettled_messages = self.unsettled,
            mails_failed = self.mails_failed,
            dry_run = app.config.dry_run,
            "flushed"
        );
        let mut metrics = vec![
            Metric::Count("MessagesDrained", self.messages),
            Metric::Count("ChangesDrained", self.changes),
            Metric::Count("MessagesUnreadable", self.unreadable),
            Metric::Count("MessagesUnsettled", self.unsettled),
            Metric::Count("Keys", self.counts.keys),
            Metric::Count("KeysUnmatched", self.counts.unmatched),
            Metric::Count("KeysNotCached", self.counts.not_cached),
            Metric::Count("PathsPlanned", self.paths_planned),
            Metric::Count("MailsFailed", self.mails_failed),
            Metric::Milliseconds("ChangeAge", self.ages),
            Metric::duration("FlushDuration", duration),
        ];
        metrics.extend(paths.metrics());
        app.metrics.emit(app.clock.now(), &metrics);
        self.paths.emit(app);
    }
}
