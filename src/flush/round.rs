//! Plans what was received, enqueues its sets, and then deletes the messages.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use invalidator_core::buffered::{Scope, TargetScope};
use invalidator_core::caller_reference::SetId;
use invalidator_core::distributions::Distribution;
use invalidator_core::event::BucketName;
use invalidator_core::plan::{
    Changes, DEFAULT_INDEX_DOCUMENT, KeyChanges, PathSet, Plan, Rules, SetLimits, explain, plan,
};
use invalidator_core::retry::{TIME_TO_STOP, unread_distributions_wait};
use invalidator_core::set::Set;
use invalidator_core::target::{DistributionId, Target};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::drain::{Batch, Buffered};
use super::enqueue::Enqueuer;
use super::give_back::give_back;
use super::log::log;
use super::report::Report;
use crate::app::App;
use crate::clock::Deadline;
use crate::ingest::MAX_LOGGED_DECISIONS;
use crate::metrics::milliseconds;
use crate::queue::{self, Entry};

/// Giving changes back may take so long after the time for enqueuing is over.
const TIME_TO_GIVE_BACK: Duration = Duration::from_secs(10);

/// One round of a flush.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The environment.
    pub app: &'a App,
    /// When Lambda ends the function.
    pub deadline: &'a Deadline,
    /// Until when CloudFront's configuration may be read.
    pub read_until: Instant,
}

/// What a round did.
#[derive(Debug, Default)]
pub struct RoundEnd {
    /// The counts.
    pub report: Report,
    /// How long its slowest call took.
    pub slowest_call: Duration,
}

/// What the changes of one scope are planned by.
struct Known {
    distributions: Vec<Distribution>,
    index_documents: HashMap<BucketName, String>,
    unread: BTreeSet<DistributionId>,
    gone: usize,
}

/// Targets of one scope that could not be told.
#[derive(Default)]
struct Untold {
    unread: BTreeSet<TargetScope>,
    unsent: BTreeSet<TargetScope>,
}

impl Round<'_> {
    /// Processes a batch. A message is deleted only when all sets that were made of it are in
    /// SubmitQueue, or its changes wait in the buffer for the targets that are left.
    pub async fn process(&self, batch: Batch) -> RoundEnd {
        let mut end = RoundEnd::default();
        end.report.changes = batch.len();
        end.report.messages = batch.messages.len();
        end.report.unreadable = batch.unreadable;
        let Batch {
            messages, changes, ..
        } = batch;
        let mut released = BTreeSet::new();
        for (scope, changes) in changes {
            released.extend(
                self.process_scope(scope, changes, &messages, &mut end)
                    .await,
            );
        }
        end.report.released = released.len();
        self.acknowledge(messages, &released, &mut end).await;
        end
    }

    /// Deletes the messages that are done. The others come back when they are visible again.
    async fn acknowledge(
        &self,
        messages: Vec<Buffered>,
        released: &BTreeSet<u32>,
        end: &mut RoundEnd,
    ) {
        let now = milliseconds(self.app.clock.now());
        let mut done = Vec::new();
        for (source, message) in (0..).zip(messages) {
            if released.contains(&source) {
                let age = message.sent.map(|sent| now.saturating_sub(sent));
                end.report.oldest = end.report.oldest.max(age);
            } else {
                done.push(message.receipt_handle);
            }
        }
        let sqs = self.app.clients.sqs();
        let queue = &self.app.config.buffer_queue;
        let start = Instant::now();
        let left = queue::delete(sqs, queue, done).await;
        if left > 0 {
            warn!(
                stage = "flush",
                messages = left,
                "processed, but not deleted: they come back"
            );
        }
        end.slowest_call = end.slowest_call.max(start.elapsed() / 4);
    }

    /// Plans the changes of one scope and enqueues their sets. Returns the messages that have to come
    /// back: none, unless sending fails.
    async fn process_scope(
        &self,
        scope: Option<Scope>,
        changes: Changes,
        messages: &[Buffered],
        end: &mut RoundEnd,
    ) -> BTreeSet<u32> {
        let app = self.app;
        let known = self.read(scope.as_ref(), changes.buckets()).await;
        let rules = Rules {
            distributions: &known.distributions,
            origin_buckets: &app.config.origin_buckets,
            index_documents: &known.index_documents,
            limits: SetLimits::with_paths(app.config.max_paths_per_invalidation),
        };
        let plan = plan(changes, &rules);
        if scope.is_none() {
            log_decisions(&plan, &rules);
            end.report.keys.keys += plan.counts.keys;
            end.report.keys.unmatched += plan.counts.unmatched;
            end.report.keys.not_cached += plan.counts.not_cached;
        }
        end.report.gone += known.gone;
        let unsent = self.enqueue(scope.as_ref(), &plan, messages, end).await;
        let untold = Untold {
            unread: known
                .unread
                .into_iter()
                .map(TargetScope::Distribution)
                .collect(),
            unsent: unsent.iter().map(TargetScope::of).collect(),
        };
        if self
            .give_back(scope.as_ref(), untold, &plan.keys, messages, end)
            .await
        {
            return BTreeSet::new();
        }
        error!(
            stage = "flush",
            "sets could be put neither into SubmitQueue nor back into the buffer, so their messages come back"
        );
        let keys = 0..plan.keys.len();
        keys.flat_map(|key| plan.keys.sources(key)).collect()
    }

    /// Reads what planning needs to know about some buckets.
    async fn read(&self, scope: Option<&Scope>, buckets: &[BucketName]) -> Known {
        let app = self.app;
        let cloudfront = app.clients.cloudfront();
        let aliases = &app.config.origin_buckets;
        let (serving, settings) = tokio::join!(
            app.catalog
                .serving(cloudfront, buckets, aliases, self.read_until),
            app.tags.settings_of(app.clients.s3(), buckets),
        );
        // Without the tags of a bucket the folders are invalidated too: fresh beats cheap.
        let index_document = |bucket: &BucketName| match settings.get(bucket) {
            Some(settings) => settings.index_document.clone(),
            None => Some(DEFAULT_INDEX_DOCUMENT.to_owned()),
        };
        let index_documents = buckets.iter().filter_map(|bucket| {
            let document = index_document(bucket)?;
            Some((bucket.clone(), document))
        });
        let mut known = Known {
            distributions: serving.distributions,
            index_documents: index_documents.collect(),
            unread: serving.unread,
            gone: 0,
        };
        if let Some(scope) = scope {
            let is_meant = |id: &DistributionId| {
                let mut targets = scope.targets.iter();
                targets.any(|target| target.distribution() == id)
            };
            known.distributions.retain(|it| is_meant(&it.id));
            known.unread.retain(is_meant);
            for target in &scope.targets {
                let id = target.distribution();
                if !app.catalog.is_listed(id).await {
                    info!(stage = "flush", distribution = %id, "changes waited for a distribution that is not listed any more");
                    known.gone += 1;
                }
            }
        }
        known
    }

    /// Enqueues the sets of each target, made one by one. Returns the targets that are left: those
    /// whose sets could not be sent, and those there was no time for.
    async fn enqueue(
        &self,
        scope: Option<&Scope>,
        plan: &Plan<'_>,
        messages: &[Buffered],
        end: &mut RoundEnd,
    ) -> BTreeSet<Target> {
        let app = self.app;
        let time = self.deadline.remaining().saturating_sub(TIME_TO_STOP);
        let mut enqueuer = Enqueuer::new(app, Instant::now() + time);
        let mut left = BTreeSet::new();
        let is_meant = |target: &Target| {
            scope.is_none_or(|scope| scope.targets.iter().any(|it| it.contains(target)))
        };
        for of_target in plan.targets().filter(|it| is_meant(it.target)) {
            if self.deadline.remaining() < TIME_TO_STOP {
                left.insert(of_target.target.clone());
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
                    Ok(entry) => enqueuer.add(entry, of_target.target.clone()).await,
                    Err(error) => {
                        error!(stage = "flush", target_id = %of_target.target, %error, "a set cannot be written");
                        left.insert(of_target.target.clone());
                    }
                }
            }
        }
        enqueuer.finish().await;
        end.report.sets += enqueuer.sets;
        end.slowest_call = end.slowest_call.max(enqueuer.slowest);
        left.extend(enqueuer.failed);
        left
    }

    /// Puts changes back for the targets that could not be told. Returns whether they are in the buffer.
    async fn give_back(
        &self,
        scope: Option<&Scope>,
        untold: Untold,
        keys: &KeyChanges,
        messages: &[Buffered],
        end: &mut RoundEnd,
    ) -> bool {
        let now = milliseconds(self.app.clock.now());
        let first_seen = match scope {
            Some(scope) => scope.first_seen,
            None => messages
                .iter()
                .filter_map(|it| it.sent)
                .min()
                .unwrap_or(now),
        };
        let attempts = scope.map_or(0, |scope| scope.attempts);
        let buckets: BTreeSet<&BucketName> = keys.by_bucket().map(|(bucket, _)| bucket).collect();
        let until = Instant::now() + TIME_TO_GIVE_BACK;
        let mut all_sent = true;
        for (targets, attempts, delay) in [
            (
                untold.unread,
                attempts + 1,
                unread_distributions_wait(attempts + 1),
            ),
            // The tick comes back at once, and there is nothing to wait for.
            (untold.unsent, attempts, Duration::ZERO),
        ] {
            if targets.is_empty() {
                continue;
            }
            end.report.given_back += targets.len();
            end.report.oldest = end.report.oldest.max(Some(now.saturating_sub(first_seen)));
            let scope = Scope {
                targets: targets.into_iter().collect(),
                first_seen,
                attempts,
            };
            let of = (keys, messages);
            all_sent &= give_back(self.app, scope, of, &buckets, (delay, until)).await;
        }
        all_sent
    }
}

/// Logs the reasons for the first keys.
fn log_decisions(plan: &Plan<'_>, rules: &Rules<'_>) {
    let verdicts = plan.keys.iter().flat_map(|key| {
        let verdicts = explain(&key, rules).into_iter();
        verdicts.map(move |verdict| (key.clone(), verdict))
    });
    for (key, verdict) in verdicts.take(MAX_LOGGED_DECISIONS) {
        log(&key, &verdict);
    }
}

/// The message of a set.
fn entry(
    target: &Target,
    set: PathSet<'_>,
    messages: &[Buffered],
) -> Result<Entry, serde_json::Error> {
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
        by: "invalidator".to_owned(),
        changed: sources.iter().filter_map(|message| message.oldest).min(),
        first_sent: None,
        hops: 0,
        caller_reference: None,
    };
    Ok(Entry {
        body: set.to_json()?,
        fifo: Some((group, id.as_str().to_owned())),
        delay: Duration::ZERO,
    })
}
