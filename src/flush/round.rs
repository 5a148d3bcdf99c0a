//! Works off what was received: plan, submit, and then acknowledge.

use std::collections::{HashMap, HashSet};

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
use crate::distributions::{Distribution, DistributionId};
use crate::event::BucketName;
use crate::failure::report::report as file;
use crate::handler::App;
use crate::ingest::MAX_LOGGED_DECISIONS;
use crate::plan::{Changes, Plan, Rules, SetLimits, TargetPlan, explain, plan};
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
struct Sent<'p> {
    distribution: DistributionId,
    sources: Vec<u32>,
    paths: usize,
    outcome: Outcome<'p>,
}

enum Outcome<'p> {
    Settled(Settlement<'p>),
    /// A dry run did not submit it.
    DryRun,
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
            changes: changes.len(),
            messages: messages.len(),
            unreadable,
            ..Report::default()
        };
        let known = match self.read_rules(changes.buckets()).await {
            Ok(known) => known,
            Err(error) => {
                self.release_messages(messages).await;
                return Err(error);
            }
        };
        let plan = self.plan(changes, &known);
        report.counts = plan.counts;

        let sent = self.submit_all(&plan, &messages).await;
        let unsettled = self.settle(sent, &messages, &mut report).await;
        report.unsettled = unsettled.len();
        self.acknowledge(messages, &unsettled).await;
        Ok(report)
    }

    /// Deletes the messages that are settled, and lets the others come again.
    async fn acknowledge(&self, messages: Vec<Buffered>, unsettled: &HashSet<u32>) {
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
        self.release_messages(batch.messages).await;
    }

    async fn release_messages(&self, messages: Vec<Buffered>) {
        let handles = messages.into_iter().map(|message| message.receipt_handle);
        self.release_handles(handles.collect()).await;
    }

    async fn release_handles(&self, receipt_handles: Vec<String>) {
        queue::release(
            self.app.clients.sqs(),
            &self.app.config.buffer_queue,
            receipt_handles,
        )
        .await;
    }

    async fn read_rules(&self, buckets: &[BucketName]) -> Result<KnownRules> {
        let app = self.app;
        let (distributions, index_documents) = tokio::join!(
            app.catalog.serving(
                app.clients.cloudfront(),
                buckets,
                &app.config.origin_buckets
            ),
            index_documents(app, buckets),
        );
        Ok(KnownRules {
            distributions: distributions?,
            index_documents,
        })
    }

    /// Plans, and logs the reasons for the first keys.
    fn plan<'a>(&'a self, changes: Changes, known: &'a KnownRules) -> Plan<'a> {
        let rules = Rules {
            distributions: &known.distributions,
            origin_buckets: &self.app.config.origin_buckets,
            index_documents: &known.index_documents,
            limits: SetLimits::with_paths(self.app.config.max_paths_per_invalidation),
        };
        let plan = plan(changes, &rules);
        for (key, verdict) in plan
            .keys
            .iter()
            .flat_map(|key| {
                let verdicts = explain(&key, &rules).into_iter();
                verdicts.map(move |verdict| (key.clone(), verdict))
            })
            .take(MAX_LOGGED_DECISIONS)
        {
            log(&key, &verdict);
        }
        plan
    }

    /// Submits the sets of each target one after another, several targets side by side.
    async fn submit_all<'p>(&self, plan: &'p Plan<'_>, messages: &[Buffered]) -> Vec<Sent<'p>> {
        let targets =
            stream::iter(plan.targets()).map(|target| self.submit_target(target, messages));
        targets.buffer_unordered(CONCURRENCY).concat().await
    }

    async fn submit_target<'p>(
        &self,
        plan: TargetPlan<'p>,
        messages: &[Buffered],
    ) -> Vec<Sent<'p>> {
        let mut sent = Vec::new();
        let mut busy = false;
        for set in plan.sets() {
            let ids: Vec<&str> = of_sources(messages, &set.sources)
                .map(|message| message.id.as_str())
                .collect();
            let submission = Submission {
                caller_reference: CallerReference::of_set(plan.target, &set.paths, &ids),
                target: plan.target.clone(),
                paths: set.paths,
            };
            sent.push(Sent {
                distribution: plan.target.distribution.clone(),
                sources: set.sources,
                paths: submission.paths.len(),
                outcome: self.submit_set(submission, &mut busy).await,
            });
        }
        sent
    }

    /// A target that holds one set back holds back those after it too.
    async fn submit_set<'p>(&self, submission: Submission<'p>, busy: &mut bool) -> Outcome<'p> {
        if self.app.config.dry_run {
            info!(stage = "flush", target_id = %submission.target, paths = submission.paths.len(), "dry run: not submitted");
            return Outcome::DryRun;
        }
        if self.deadline.remaining() < TIME_TO_STOP {
            return Outcome::Unsettled;
        }
        let target = submission.target.clone();
        let settlement = if *busy {
            Settlement::held_back_behind_another(submission)
        } else {
            submit(self.app.clients.cloudfront(), submission, 0, self.deadline).await
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
    async fn settle(
        &self,
        sent: Vec<Sent<'_>>,
        messages: &[Buffered],
        report: &mut Report,
    ) -> HashSet<u32> {
        let mut unsettled = HashSet::new();
        let mut refused: Vec<Refused<'_>> = Vec::new();
        let mut refused_sources: Vec<u32> = Vec::new();
        for Sent {
            distribution,
            sources,
            paths,
            outcome,
        } in sent
        {
            report.paths_planned += paths;
            let settlement = match outcome {
                Outcome::Settled(settlement) => settlement,
                Outcome::DryRun => {
                    report.paths.add(
                        &distribution,
                        PathCounts {
                            dry_run: paths,
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
                let oldest = of_sources(messages, &sources).filter_map(|message| message.oldest);
                report.add_event_times(self.app, oldest);
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

/// What is read for planning.
struct KnownRules {
    distributions: Vec<Distribution>,
    index_documents: HashMap<BucketName, String>,
}

/// The messages with these indices.
fn of_sources<'a>(
    messages: &'a [Buffered],
    sources: &'a [u32],
) -> impl Iterator<Item = &'a Buffered> {
    let index = |source: &u32| usize::try_from(*source).ok();
    let indices = sources.iter().filter_map(index);
    indices.filter_map(|index| messages.get(index))
}

async fn index_documents(app: &App, buckets: &[BucketName]) -> HashMap<BucketName, String> {
    let documents = join_all(buckets.iter().map(|bucket| async move {
        let settings = app.tags.settings(app.clients.s3(), bucket).await?;
        Some((bucket.clone(), settings.index_document.clone()?))
    }));
    documents.await.into_iter().flatten().collect()
}
