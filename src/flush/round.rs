//! Plans what was received, enqueues its sets, and then deletes the messages.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Result;
use invalidator_core::buffered::{Scope, TargetScope, WaitingSet};
use invalidator_core::caller_reference::SetId;
use invalidator_core::distributions::Distribution;
use invalidator_core::event::BucketName;
use invalidator_core::plan::{
    Counts, DEFAULT_INDEX_DOCUMENT, KeyChanges, PathSet, Rules, SetLimits, explain, plan,
};
use invalidator_core::retry::{TIME_TO_STOP, unread_distributions_wait};
use invalidator_core::set::{OURSELVES, Set};
use invalidator_core::target::{DistributionId, Target};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::drain::{Batch, Buffered, Part, Scoped};
use super::enqueue::Enqueuer;
use super::give_back::give_back;
use super::log::log;
use super::report::Report;
use crate::app::App;
use crate::clock::Deadline;
use crate::metrics::{MAX_LOGGED_DECISIONS, milliseconds};
use crate::queue::{self, Entry, batches, send_persistently};

/// Distributions that were not read after this time hold up the others no longer.
const TIME_FOR_ALL: Duration = Duration::from_secs(2);

/// Reading the tags of many buckets may take so much longer.
const TIME_FOR_A_BUCKET: Duration = Duration::from_millis(10);

/// Giving changes back may take so long after the time for enqueuing is over.
const TIME_TO_GIVE_BACK: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Rounds<'a> {
    pub app: &'a App,
    /// When Lambda ends the function.
    pub deadline: &'a Deadline,
    /// Until when CloudFront's configuration may be read.
    pub read_until: Instant,
    /// Distributions that this flush could not read.
    pub unread: BTreeSet<DistributionId>,
}

/// What a round did.
#[derive(Debug, Default)]
pub struct RoundEnd {
    pub report: Report,
    /// How long its slowest call took.
    pub slowest_call: Duration,
}

/// What is left of the changes of one scope.
#[derive(Default)]
struct Untold {
    /// Targets whose distributions could not be read.
    unread: BTreeSet<TargetScope>,
    /// Targets that there was no time for.
    unsent: BTreeSet<TargetScope>,
    /// Sets that are neither in SubmitQueue nor in the buffer.
    stranded: usize,
}

impl Rounds<'_> {
    /// Processes a batch. A message is deleted only when all sets that were made of it are in
    /// SubmitQueue or in the buffer, or its changes are back in the buffer for the targets that are left.
    pub async fn process(&mut self, batch: Batch) -> RoundEnd {
        let mut end = RoundEnd::default();
        end.report.changes = batch.len();
        end.report.messages = batch.messages.len();
        end.report.unreadable = batch.unreadable;
        let Batch {
            messages,
            scopes,
            sets,
            ..
        } = batch;
        if !sets.is_empty() && self.forward(sets, &mut end).await {
            self.delete(&messages, Part::Sets, &mut end).await;
        }
        for (index, scoped) in scopes.into_iter().enumerate() {
            let part = Part::Scope(index);
            let has_time = self.deadline.remaining() > TIME_TO_STOP;
            if has_time && self.process_scope(scoped, &messages, &mut end).await {
                self.delete(&messages, part, &mut end).await;
            } else {
                self.release(&messages, part, &mut end);
            }
        }
        end
    }

    /// Puts sets that could not be sent before into SubmitQueue. Returns whether they may be deleted.
    async fn forward(&self, sets: Vec<WaitingSet>, end: &mut RoundEnd) -> bool {
        let mut enqueuer = Enqueuer::new(self.app, self.send_until());
        for set in sets {
            enqueuer.add(set.into()).await;
        }
        enqueuer.finish().await;
        end.report.sets += enqueuer.sets;
        enqueuer.failed.is_empty()
    }

    /// Deletes the messages of one part of the batch.
    async fn delete(&self, messages: &[Buffered], part: Part, end: &mut RoundEnd) {
        let done = messages.iter().filter(|message| message.part == part);
        let done = done.map(|message| message.receipt_handle.clone()).collect();
        let start = Instant::now();
        let queue = &self.app.config.buffer_queue;
        let left = queue::delete(self.app.clients.sqs(), queue, done).await;
        if left > 0 {
            warn!(
                stage = "flush",
                messages = left,
                "processed, but not deleted: they come back"
            );
        }
        end.slowest_call = end.slowest_call.max(start.elapsed() / 4);
    }

    /// Counts messages that come back when they are visible again.
    fn release(&self, messages: &[Buffered], part: Part, end: &mut RoundEnd) {
        let now = milliseconds(self.app.clock.now());
        for message in messages.iter().filter(|message| message.part == part) {
            end.report.released += 1;
            let age = message.sent.map(|sent| now.saturating_sub(sent));
            end.report.oldest = end.report.oldest.max(age);
        }
    }

    /// Plans the changes of one scope and enqueues their sets: at first for the distributions that are
    /// known or read at once, then for those that take longer. Returns whether the messages are done.
    async fn process_scope(
        &mut self,
        scoped: Scoped,
        messages: &[Buffered],
        end: &mut RoundEnd,
    ) -> bool {
        let Scoped {
            targets,
            first_seen,
            attempts,
            changes,
        } = scoped;
        let keys = KeyChanges::from(changes);
        let buckets: Vec<BucketName> = keys.by_bucket().map(|(bucket, _)| bucket.clone()).collect();
        let is_meant = |target: &Target| {
            let targets = targets.as_ref();
            targets.is_none_or(|targets| targets.iter().any(|it| it.contains(target)))
        };
        let mut untold = Untold::default();
        let mut all: Vec<Distribution> = Vec::new();
        let at_once = self.read_until.min(Instant::now() + TIME_FOR_ALL);
        let (index_documents, mut first) = tokio::join!(
            self.index_documents(&buckets),
            self.read(&buckets, at_once, &all, targets.as_deref()),
        );
        let rules = self.rules(&first.distributions, &index_documents);
        let mut counts = self
            .enqueue(&keys, &rules, is_meant, messages, &mut untold, end)
            .await;
        all.append(&mut first.distributions);
        untold.unread = first.unread;
        if !untold.unread.is_empty() {
            let until = self.read_until;
            let then = self.read(&buckets, until, &all, targets.as_deref()).await;
            let rules = self.rules(&then.distributions, &index_documents);
            self.enqueue(&keys, &rules, is_meant, messages, &mut untold, end)
                .await;
            if !then.distributions.is_empty() {
                all.extend(then.distributions);
                counts = plan(&keys, &self.rules(&all, &index_documents)).counts;
            }
            untold.unread = then.unread;
        }
        let unread = untold.unread.iter().map(TargetScope::distribution);
        self.unread.extend(unread.cloned());
        match &targets {
            None => {
                end.report.keys.add(counts);
                log_first(&keys, &self.rules(&all, &index_documents));
            }
            Some(targets) => self.count_gone(targets, end).await,
        }
        let scope = Scope {
            targets: Vec::new(),
            first_seen: first_seen.unwrap_or_else(|| milliseconds(self.app.clock.now())),
            attempts,
        };
        self.give_back(scope, untold, (&keys, messages), end).await
    }

    fn rules<'r>(
        &'r self,
        distributions: &'r [Distribution],
        index_documents: &'r HashMap<BucketName, String>,
    ) -> Rules<'r> {
        Rules {
            distributions,
            origin_buckets: &self.app.config.origin_buckets,
            index_documents,
            limits: SetLimits::with_paths(self.app.config.max_paths_per_invalidation),
        }
    }

    /// The index document of each bucket that has one. Without the tags of a bucket the folders are
    /// invalidated too: fresh beats cheap.
    async fn index_documents(&self, buckets: &[BucketName]) -> HashMap<BucketName, String> {
        let s3 = self.app.clients.s3();
        let time = TIME_FOR_ALL + TIME_FOR_A_BUCKET * u32::try_from(buckets.len()).unwrap_or(1_000);
        let until = self.read_until.min(Instant::now() + time);
        let settings = self.app.tags.settings_of(s3, buckets, until).await;
        let index_document = |bucket: &BucketName| match settings.get(bucket) {
            Some(settings) => settings.index_document.clone(),
            None => Some(DEFAULT_INDEX_DOCUMENT.to_owned()),
        };
        let documents = buckets.iter().filter_map(|bucket| {
            let document = index_document(bucket)?;
            Some((bucket.clone(), document))
        });
        documents.collect()
    }

    /// The distributions that serve some buckets, but for those of `done`, and those that cannot be read
    /// until `until`; of a scope only its own.
    async fn read(
        &self,
        buckets: &[BucketName],
        until: Instant,
        done: &[Distribution],
        targets: Option<&[TargetScope]>,
    ) -> Known {
        let app = self.app;
        let cloudfront = app.clients.cloudfront();
        let aliases = &app.config.origin_buckets;
        let serving = app
            .catalog
            .serving(cloudfront, buckets, aliases, &self.unread, until)
            .await;
        let done: BTreeSet<&DistributionId> = done.iter().map(|it| &it.id).collect();
        let is_meant = |id: &DistributionId| {
            targets.is_none_or(|targets| targets.iter().any(|it| it.distribution() == id))
        };
        let mut known = Known {
            distributions: serving.distributions,
            unread: BTreeSet::new(),
        };
        known
            .distributions
            .retain(|it| is_meant(&it.id) && !done.contains(&it.id));
        let unread = serving.unread.into_iter().filter(is_meant);
        known.unread = match targets {
            None => unread.map(TargetScope::Distribution).collect(),
            Some(targets) => {
                let unread: BTreeSet<DistributionId> = unread.collect();
                let targets = targets.iter();
                let unread = targets.filter(|it| unread.contains(it.distribution()));
                unread.cloned().collect()
            }
        };
        known
    }

    fn send_until(&self) -> Instant {
        Instant::now() + self.deadline.remaining().saturating_sub(TIME_TO_STOP)
    }

    /// Enqueues the sets of each target, made one by one. What cannot be sent is put into the buffer as
    /// it is. Returns what became of the keys.
    async fn enqueue(
        &self,
        keys: &KeyChanges,
        rules: &Rules<'_>,
        is_meant: impl Fn(&Target) -> bool,
        messages: &[Buffered],
        untold: &mut Untold,
        end: &mut RoundEnd,
    ) -> Counts {
        let app = self.app;
        let plan = plan(keys, rules);
        let mut enqueuer = Enqueuer::new(app, self.send_until());
        for of_target in plan.targets().filter(|it| is_meant(it.target)) {
            if self.deadline.remaining() < TIME_TO_STOP {
                untold.unsent.insert(TargetScope::of(of_target.target));
                continue;
            }
            for set in of_target.sets() {
                end.report.paths += set.paths.len();
                if app.config.dry_run {
                    end.report.dry_run += set.paths.len();
                    info!(stage = "flush", target_id = %of_target.target, paths = set.paths.len(), "dry run: not enqueued");
                    continue;
                }
                match entry(of_target.target, set, messages) {
                    Ok(entry) => enqueuer.add(entry).await,
                    Err(error) => {
                        error!(stage = "flush", target_id = %of_target.target, %error, "a set cannot be written");
                        untold.stranded += 1;
                    }
                }
            }
        }
        enqueuer.finish().await;
        end.report.sets += enqueuer.sets;
        end.slowest_call = end.slowest_call.max(enqueuer.slowest);
        let failed = std::mem::take(&mut enqueuer.failed);
        untold.stranded += self.keep_in_buffer(failed).await;
        plan.counts
    }

    /// Puts sets that could not be sent into the buffer. Returns how many are not in it.
    async fn keep_in_buffer(&self, failed: Vec<Entry>) -> usize {
        let until = Instant::now() + TIME_TO_GIVE_BACK;
        let mut stranded = 0;
        let entries = failed.into_iter().filter_map(|entry| {
            let entry = entry.into_buffer().map_err(|error| {
                error!(stage = "flush", %error, "a set cannot be written");
            });
            if entry.is_err() {
                stranded += 1;
            }
            entry.ok()
        });
        let batches: Vec<_> = batches(entries.collect::<Vec<_>>()).collect();
        for batch in batches {
            let queue = &self.app.config.buffer_queue;
            let left = send_persistently(self.app.clients.sqs(), queue, batch, until).await;
            stranded += left.len();
        }
        stranded
    }

    /// Counts distributions that changes waited for, and that are not listed any more.
    async fn count_gone(&self, targets: &[TargetScope], end: &mut RoundEnd) {
        for id in targets.iter().map(TargetScope::distribution) {
            if !self.app.catalog.is_listed(id).await {
                info!(stage = "flush", distribution = %id, "changes waited for a distribution that is not listed any more");
                end.report.gone += 1;
            }
        }
    }

    /// Puts changes back for the targets that could not be told. Returns whether nothing is stranded.
    async fn give_back(
        &self,
        scope: Scope,
        untold: Untold,
        of: (&KeyChanges, &[Buffered]),
        end: &mut RoundEnd,
    ) -> bool {
        let now = milliseconds(self.app.clock.now());
        let until = Instant::now() + TIME_TO_GIVE_BACK;
        let attempts = scope.attempts + 1;
        end.report.unread += untold.unread.len();
        end.report.unsent += untold.unsent.len();
        let mut is_done = untold.stranded == 0;
        for (targets, attempts, delay) in [
            (untold.unread, attempts, unread_distributions_wait(attempts)),
            // The tick comes back at once, and there is nothing to wait for.
            (untold.unsent, scope.attempts, Duration::ZERO),
        ] {
            if targets.is_empty() {
                continue;
            }
            let age = now.saturating_sub(scope.first_seen);
            end.report.oldest = end.report.oldest.max(Some(age));
            let scope = Scope {
                targets: targets.into_iter().collect(),
                first_seen: scope.first_seen,
                attempts,
            };
            if let Err(error) = give_back(self.app, &scope, of, (delay, until)).await {
                error!(
                    stage = "flush",
                    error = format!("{error:#}"),
                    "changes could not be put back into the buffer"
                );
                is_done = false;
            }
        }
        is_done
    }
}

/// Logs the reasons for the first keys.
fn log_first(keys: &KeyChanges, rules: &Rules<'_>) {
    let verdicts = keys.iter().flat_map(|key| {
        let verdicts = explain(&key, rules).into_iter();
        verdicts.map(move |verdict| (key.clone(), verdict))
    });
    for (key, verdict) in verdicts.take(MAX_LOGGED_DECISIONS) {
        log(&key, &verdict);
    }
}

/// Distributions that changes are planned by, and targets of those that could not be read.
#[derive(Default)]
struct Known {
    distributions: Vec<Distribution>,
    unread: BTreeSet<TargetScope>,
}

/// The message of a set.
fn entry(target: &Target, set: PathSet<'_>, messages: &[Buffered]) -> Result<Entry> {
    let sources = set.sources.iter();
    let sources: Vec<&Buffered> = sources
        .filter_map(|source| messages.get(usize::try_from(*source).ok()?))
        .collect();
    let ids: Vec<&str> = sources.iter().map(|message| message.id.as_str()).collect();
    let id = SetId::new(target, &set.paths, &ids);
    let group = set.lane.group(target);
    let set = Set {
        target: target.clone(),
        paths: set.paths,
        reason: "flush".to_owned(),
        by: OURSELVES.to_owned(),
        changed: sources.iter().filter_map(|message| message.oldest).min(),
        first_sent: None,
        hops: 0,
        caller_reference: None,
    };
    Entry::of_set(&set, group, &id)
}
