//! Works off what was received: plan, submit, and then acknowledge.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tracing::{error, info, warn};

use super::TIME_TO_STOP;
use super::decisions::{log, log_settlement};
use super::drain::{Batch, Buffered};
use super::report::{PathCounts, Report};
use crate::buffer::queue;
use crate::clock::Deadline;
use crate::distributions::DistributionId;
use crate::event::{BucketName, EventTime};
use crate::failure::report::report as file;
use crate::handler::App;
use crate::ingest::MAX_LOGGED_DECISIONS;
use crate::plan::{Plan, Rules, SetLimits, SourcedChange, TargetPlan, plan};
use crate::resubmit;
use crate::submit::{CallerReference, Refused, Settlement, Submission, submit};

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

/// A set, with the messages it answers for.
struct Sent {
    distribution: DistributionId,
    sources: Vec<u32>,
    event_times: Vec<EventTime>,
    outcome: Outcome,
}

enum Outcome {
    Settled(Settlement),
    /// A dry run did not submit so many paths.
    DryRun(usize),
    /// Time ran out before it was submitted, or it could not be put in RetryQueue.
    Unsettled,
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
            sent.push(Sent {
                distribution: plan.target.distribution.clone(),
                sources: set.sources,
                event_times: set.event_times,
                outcome: self.submit_set(submission, &mut busy).await,
            });
        }
        sent
    }

    /// A target that holds one set back holds back those after it too.
    async fn submit_set(&self, submission: Submission, busy: &mut bool) -> Outcome {
        if self.app.config.dry_run {
            info!(stage = "flush", target_id = %submission.target, paths = submission.paths.len(), "dry run: not submitted");
            return Outcome::DryRun(submission.paths.len());
        }
        if self.deadline.remaining() < TIME_TO_STOP {
            return Outcome::Unsettled;
        }
        let target = submission.target.clone();
        let settlement = if *busy {
            Settlement::held_back_behind_another(submission)
        } else {
            submit(self.app.clients.cloudfront(), &submission, 0, self.deadline).await
        };
        log_settlement(&target, &settlement);
        if let Some((held_back, _)) = &settlement.held_back {
            *busy = true;
            if let Err(error) = resubmit::enqueue(self.app, held_back).await {
                error!(
                    stage = "flush",
                    error = format!("{error:#}"),
                    "a set could not be put in the retry queue, so its changes come again"
                );
                return Outcome::Unsettled;
            }
        }
        Outcome::Settled(settlement)
    }

    /// Files what was refused; returns the messages that are not settled.
    async fn settle(&self, sent: Vec<Sent>, report: &mut Report) -> HashSet<u32> {
        let mut unsettled = HashSet::new();
        let mut refused: Vec<Refused> = Vec::new();
        let mut refused_sources: Vec<u32> = Vec::new();
        for Sent {
            distribution,
            sources,
            event_times,
            outcome,
        } in sent
        {
            let settlement = match outcome {
                Outcome::Settled(settlement) => settlement,
                Outcome::DryRun(dry_run) => {
                    report.paths.add(
                        &distribution,
                        PathCounts {
                            dry_run,
                            ..PathCounts::default()
                        },
                    );
                    continue;
                }
                Outcome::Unsettled => {
                    unsettled.extend(sources);
                    continue;
                }
            };
            report.paths.add(&distribution, PathCounts::of(&settlement));
            if !settlement.accepted.is_empty() {
                report.add_event_times(self.app, &event_times);
            }
            if !settlement.refused.is_empty() {
                refused.extend(settlement.refused);
                refused_sources.extend(sources);
            }
        }
        if !refused.is_empty() {
            match file(self.app, refused).await {
                Ok(mail_sent) => report.mails_failed += usize::from(!mail_sent),
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
