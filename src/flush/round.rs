//! Works off what was received: plan, submit, and then acknowledge.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tracing::{error, info, warn};

use super::TIME_TO_STOP;
use super::drain::{Batch, Buffered};
use crate::buffer::queue;
use crate::clock::Deadline;
use crate::distributions::Distribution;
use crate::event::{BucketName, ChangeKind};
use crate::failure::report::report as file;
use crate::handler::App;
use crate::ingest::MAX_LOGGED_DECISIONS;
use crate::plan::{
    Counts, Decision, KeyChange, Plan, Rules, SetLimits, SourcedChange, TargetPlan, Verdict, plan,
};
use crate::submit::{CallerReference, Refused, Settlement, Submission, submit};
use crate::{path::InvalidationPath, resubmit};

/// Distributions submitted to at once.
const CONCURRENCY: usize = 4;

/// One round of a flush.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The environment.
    pub app: &'a App,
    /// When it must be over.
    pub deadline: &'a Deadline,
}

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
    /// Paths CloudFront took.
    pub accepted: usize,
    /// Invalidations it took them in.
    pub invalidations: usize,
    /// Paths that wait in RetryQueue.
    pub held_back: usize,
    /// Paths CloudFront refused for good.
    pub rejected: usize,
    /// Messages that are to come again.
    pub unsettled: usize,
    /// Whether a mail about refused paths could not be sent.
    pub mail_failed: bool,
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
        self.counts.paths += other.counts.paths;
        self.accepted += other.accepted;
        self.invalidations += other.invalidations;
        self.held_back += other.held_back;
        self.rejected += other.rejected;
        self.unsettled += other.unsettled;
        self.mail_failed |= other.mail_failed;
    }
}

/// A set, with the messages it answers for.
struct Sent {
    sources: Vec<u32>,
    /// `None` if time ran out before it was submitted.
    settlement: Option<Settlement>,
}

impl Round<'_> {
    /// Works off a batch. A message is deleted only when all that was made of it was accepted, waits
    /// in RetryQueue, or is in the error bucket.
    ///
    /// # Errors
    /// If the distributions cannot be read: nothing is then acknowledged.
    pub async fn work_off(&self, batch: Batch) -> Result<Report> {
        let Batch {
            messages,
            changes,
            unreadable,
        } = batch;
        let mut report = Report {
            changes,
            messages: messages.len(),
            unreadable,
            ..Report::default()
        };
        let (changes, messages) = split(messages);
        let plan = match self.plan(changes).await {
            Ok(plan) => plan,
            Err(error) => {
                self.release_handles(messages.into_iter().map(|message| message.receipt_handle))
                    .await;
                return Err(error);
            }
        };
        report.counts = plan.counts;

        let sent = self.submit_all(plan, &messages).await;
        let unsettled = self.settle(sent, &mut report).await;
        report.unsettled = unsettled.len();
        self.acknowledge(messages, &unsettled).await;
        Ok(report)
    }

    /// Deletes the messages that are settled, and lets the others come again.
    async fn acknowledge(&self, messages: Vec<Message>, unsettled: &HashSet<u32>) {
        let (mut settled, mut others) = (Vec::new(), Vec::new());
        for (source, message) in (0..).zip(messages) {
            let handles = if unsettled.contains(&source) {
                &mut others
            } else {
                &mut settled
            };
            handles.push(message.receipt_handle);
        }
        let undeleted = queue::delete(
            self.app.clients.sqs(),
            &self.app.config.buffer_queue,
            settled,
        )
        .await;
        if undeleted > 0 {
            warn!(
                stage = "flush",
                messages = undeleted,
                "worked off, but not deleted: they come again"
            );
        }
        self.release_handles(others).await;
    }

    /// Lets the messages of a batch that was not worked off come again.
    pub async fn release(&self, batch: Batch) {
        self.release_handles(
            batch
                .messages
                .into_iter()
                .map(|message| message.receipt_handle),
        )
        .await;
    }

    async fn release_handles(&self, receipt_handles: impl IntoIterator<Item = String>) {
        let handles = receipt_handles.into_iter().collect();
        queue::release(
            self.app.clients.sqs(),
            &self.app.config.buffer_queue,
            handles,
        )
        .await;
    }

    async fn plan(&self, changes: Vec<SourcedChange>) -> Result<Plan> {
        let app = self.app;
        let buckets: BTreeSet<BucketName> = changes
            .iter()
            .map(|sourced| sourced.change.bucket.clone())
            .collect();
        let (distributions, index_documents) = tokio::join!(
            app.catalog.serving(
                app.clients.cloudfront(),
                &buckets,
                &app.config.origin_buckets
            ),
            index_documents(app, &buckets),
        );
        let distributions = distributions?;
        let rules = Rules {
            distributions: &distributions,
            origin_buckets: &app.config.origin_buckets,
            index_documents: &index_documents,
            limits: SetLimits::with_paths(app.config.max_paths_per_invalidation),
        };
        let mut logged = 0;
        Ok(plan(changes, &rules, |key, verdict| {
            if logged < MAX_LOGGED_DECISIONS {
                logged += 1;
                log(key, &verdict);
            }
        }))
    }

    /// Submits the sets of each target one after another, several targets side by side.
    async fn submit_all(&self, plan: Plan, messages: &[Message]) -> Vec<Sent> {
        let targets = stream::iter(plan.targets).map(|target| self.submit_target(target, messages));
        targets.buffer_unordered(CONCURRENCY).concat().await
    }

    async fn submit_target(&self, plan: TargetPlan, messages: &[Message]) -> Vec<Sent> {
        let mut sent = Vec::with_capacity(plan.sets.len());
        let mut busy = false;
        for set in plan.sets {
            let ids: Vec<&str> = set
                .sources
                .iter()
                .filter_map(|source| messages.get(usize::try_from(*source).ok()?))
                .map(|message| message.id.as_str())
                .collect();
            let submission = Submission {
                caller_reference: CallerReference::of_set(&plan.target, &set.paths, &ids),
                target: plan.target.clone(),
                paths: set.paths,
            };
            let settlement = self.submit_set(submission, &mut busy).await;
            sent.push(Sent {
                sources: set.sources,
                settlement,
            });
        }
        sent
    }

    /// A target that holds one set back holds back those after it too.
    async fn submit_set(&self, submission: Submission, busy: &mut bool) -> Option<Settlement> {
        if self.app.config.dry_run {
            info!(stage = "flush", target_id = %submission.target, paths = submission.paths.len(), "dry run: not submitted");
            return Some(Settlement::default());
        }
        if self.deadline.remaining() < TIME_TO_STOP {
            return None;
        }
        let settlement = if *busy {
            Settlement::held_back_behind_another(submission)
        } else {
            submit(self.app.clients.cloudfront(), &submission, 0, self.deadline).await
        };
        log_settlement(&settlement);
        if let Some((held_back, _)) = &settlement.held_back {
            *busy = true;
            if let Err(error) = resubmit::enqueue(self.app, held_back).await {
                error!(
                    stage = "flush",
                    error = format!("{error:#}"),
                    "a set could not be put in the retry queue, so its changes come again"
                );
                return None;
            }
        }
        Some(settlement)
    }

    /// Files what was refused; returns the messages that are not settled.
    async fn settle(&self, sent: Vec<Sent>, report: &mut Report) -> HashSet<u32> {
        let mut unsettled = HashSet::new();
        let mut refused: Vec<Refused> = Vec::new();
        let mut refused_sources: Vec<u32> = Vec::new();
        for Sent {
            sources,
            settlement,
        } in sent
        {
            let Some(settlement) = settlement else {
                unsettled.extend(sources);
                continue;
            };
            report.invalidations += settlement.accepted.len();
            report.accepted += settlement
                .accepted
                .iter()
                .map(|accepted| accepted.paths)
                .sum::<usize>();
            report.held_back += settlement
                .held_back
                .map_or(0, |(held_back, _)| held_back.paths.len());
            if !settlement.refused.is_empty() {
                refused.extend(settlement.refused);
                refused_sources.extend(sources);
            }
        }
        report.rejected = refused.iter().map(|refused| refused.paths.len()).sum();
        if !refused.is_empty() {
            match file(self.app, refused).await {
                Ok(mail_sent) => report.mail_failed = !mail_sent,
                Err(error) => {
                    error!(
                        stage = "flush",
                        error = format!("{error:#}"),
                        "refused paths could not be filed, so their changes come again"
                    );
                    unsettled.extend(refused_sources);
                }
            }
        }
        unsettled
    }
}

/// What is needed of a message once its changes are taken out.
struct Message {
    id: String,
    receipt_handle: String,
}

fn split(buffered: Vec<Buffered>) -> (Vec<SourcedChange>, Vec<Message>) {
    let mut changes = Vec::new();
    let mut messages = Vec::with_capacity(buffered.len());
    for (source, message) in (0..).zip(buffered) {
        changes.extend(
            message
                .changes
                .into_iter()
                .map(|change| SourcedChange { change, source }),
        );
        messages.push(Message {
            id: message.message_id,
            receipt_handle: message.receipt_handle,
        });
    }
    (changes, messages)
}

async fn index_documents(app: &App, buckets: &BTreeSet<BucketName>) -> HashMap<BucketName, String> {
    let documents = join_all(buckets.iter().map(|bucket| async move {
        let settings = app.tags.settings(app.clients.s3(), bucket).await?;
        Some((bucket.clone(), settings.index_document.clone()?))
    }));
    documents.await.into_iter().flatten().collect()
}

fn log(key: &KeyChange, verdict: &Verdict<'_>) {
    let KeyChange {
        bucket, key, kind, ..
    } = key;
    match verdict {
        Verdict::Decided(distribution, decision) => {
            log_decision(bucket, key.as_str(), *kind, distribution, decision)
        }
        Verdict::Unmatched(nearest) => {
            let reason = match nearest {
                Some((distribution, skip)) => format!("nearest: {}: {skip}", distribution.id),
                None => "the bucket is no origin of any distribution".to_owned(),
            };
            info!(stage = "flush", decision = "unmatched", %bucket, %key, %kind, reason, "decision");
        }
    }
}

fn log_decision(
    bucket: &BucketName,
    key: &str,
    kind: ChangeKind,
    distribution: &Distribution,
    decision: &Decision<'_>,
) {
    let distribution = &distribution.id;
    match decision {
        Decision::Invalidate { paths, .. } => {
            let paths: Vec<&str> = paths.iter().map(InvalidationPath::as_str).collect();
            let paths = paths.join(" ");
            info!(stage = "flush", decision = "invalidate", %bucket, key, %kind, %distribution, paths, reason = %decision, "decision");
        }
        Decision::Skip(skip) => {
            info!(stage = "flush", decision = "skip", %bucket, key, %kind, %distribution, reason = %skip, "decision");
        }
    }
}

/// Logs what CloudFront made of a set.
pub fn log_settlement(settlement: &Settlement) {
    for accepted in &settlement.accepted {
        info!(
            invalidation = accepted.invalidation_id,
            paths = accepted.paths,
            "CloudFront took an invalidation"
        );
    }
    if let Some((held_back, reason)) = &settlement.held_back {
        warn!(target_id = %held_back.target, paths = held_back.paths.len(), %reason, "CloudFront holds a set back");
    }
    for refused in &settlement.refused {
        error!(target_id = %refused.target, paths = refused.paths.len(), reason = %refused.refusal, "CloudFront refused paths");
    }
}
