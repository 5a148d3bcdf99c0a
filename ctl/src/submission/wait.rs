//! Waits until CloudFront has accepted what was put into SubmitQueue, or the function has rejected it.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use invalidator::aws::error::service_error;
use invalidator_core::error_file::{FOLDER, error_key};
use invalidator_core::path::InvalidationPath;
use invalidator_core::replay::{self, id_in_key};
use invalidator_core::target::Target;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

use super::Submission;
use crate::account::Account;
use crate::invalidations::Invalidations;
use crate::progress::Progress;

/// The clock of this machine may differ so much from those of AWS.
const CLOCKS_DIFFER: time::Duration = time::Duration::minutes(10);

/// The time between two looks: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long it waits, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the invalidations are done at all edges, and not only accepted.
    pub is_for_edges: bool,
    /// At most.
    pub timeout: Duration,
}

/// What came of the paths of a target.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Accepted paths.
    pub accepted: usize,
    /// Rejected paths. They are in new error files.
    pub rejected: usize,
    /// Paths without an answer.
    pub waiting: usize,
    /// The invalidations that hold the accepted paths.
    pub invalidations: Vec<String>,
    /// Those of them that are done at all edges.
    pub completed: usize,
    /// The new error files.
    pub error_files: Vec<String>,
    #[serde(skip)]
    pub accepted_paths: Vec<InvalidationPath<'static>>,
}

impl Outcome {
    fn is_final(&self, patience: Patience) -> bool {
        let are_complete = self.completed == self.invalidations.len();
        self.waiting == 0 && (are_complete || !patience.is_for_edges)
    }

    /// Whether all was accepted.
    pub fn is_good(&self, patience: Patience) -> bool {
        self.rejected == 0 && self.is_final(patience)
    }
}

/// Watches what comes of paths. Begun before they are sent, so that nothing older is taken for an answer.
pub struct Watch<'a> {
    account: &'a Account,
    bucket: &'a str,
    since: OffsetDateTime,
    of_targets: Vec<OfTarget<'a>>,
    /// Error files that are no answer, or were read.
    known: BTreeSet<String>,
}

struct OfTarget<'a> {
    target: &'a Target,
    paths: Vec<&'a InvalidationPath<'static>>,
    invalidations: Invalidations<'a>,
    rejected: HashSet<InvalidationPath<'static>>,
    error_files: Vec<String>,
}

impl<'a> Watch<'a> {
    /// Notes what there is already.
    ///
    /// # Errors
    /// If CloudFront or S3 does not say.
    pub async fn begin(
        account: &'a Account,
        bucket: &'a str,
        submissions: &[&'a Submission],
    ) -> Result<Self> {
        let since = OffsetDateTime::now_utc() - CLOCKS_DIFFER;
        let mut of_targets = Vec::new();
        for submission in submissions {
            let cloudfront = account.clients.cloudfront();
            let mut invalidations = Invalidations::new(cloudfront, &submission.target);
            invalidations.pass_over(since).await?;
            of_targets.push(OfTarget {
                target: &submission.target,
                paths: submission.paths().collect(),
                invalidations,
                rejected: HashSet::new(),
                error_files: Vec::new(),
            });
        }
        let known = error_files(account.clients.s3(), bucket, since).await?;
        Ok(Self {
            account,
            bucket,
            since,
            of_targets,
            known,
        })
    }

    /// Watches what was sent before: whatever there is since then is an answer.
    pub fn of_past(
        account: &'a Account,
        bucket: &'a str,
        submissions: &[&'a Submission],
        since: OffsetDateTime,
    ) -> Self {
        let of_target = |submission: &&'a Submission| OfTarget {
            target: &submission.target,
            paths: submission.paths().collect(),
            invalidations: Invalidations::new(account.clients.cloudfront(), &submission.target),
            rejected: HashSet::new(),
            error_files: Vec::new(),
        };
        Self {
            account,
            bucket,
            since,
            of_targets: submissions.iter().map(of_target).collect(),
            known: BTreeSet::new(),
        }
    }

    /// Looks once. The outcome of each target until now.
    ///
    /// # Errors
    /// If CloudFront or S3 does not say.
    pub async fn outcomes(mut self) -> Result<Vec<Outcome>> {
        self.look().await?;
        Ok(self.of_targets.iter().map(OfTarget::outcome).collect())
    }

    /// Waits. The outcome of each target, in the order in which they were given.
    ///
    /// # Errors
    /// If CloudFront or S3 does not say. What was sent goes on without this.
    pub async fn wait(mut self, patience: Patience, progress: &Progress) -> Result<Vec<Outcome>> {
        let until = Instant::now() + patience.timeout;
        let all: usize = self.of_targets.iter().map(|it| it.paths.len()).sum();
        progress.begin("paths answered", all as u64);
        let mut pause = FIRST_PAUSE;
        let mut answered = 0;
        loop {
            self.look().await?;
            let outcomes: Vec<Outcome> = self.of_targets.iter().map(OfTarget::outcome).collect();
            let waiting: usize = outcomes.iter().map(|it| it.waiting).sum();
            progress.steps((all - waiting - answered) as u64);
            answered = all - waiting;
            let is_done = outcomes.iter().all(|it| it.is_final(patience));
            if is_done || Instant::now() + pause > until {
                return Ok(outcomes);
            }
            if waiting == 0 {
                progress.say("until it is done at all edges".to_owned());
            }
            sleep(pause).await;
            pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
        }
    }

    async fn look(&mut self) -> Result<()> {
        for of_target in &mut self.of_targets {
            of_target.invalidations.look(self.since).await?;
        }
        let s3 = self.account.clients.s3();
        for key in error_files(s3, self.bucket, self.since).await? {
            if !self.known.insert(key.clone()) {
                continue;
            }
            let id = id_in_key(&key).unwrap_or_default();
            let mut of_targets = self.of_targets.iter_mut();
            if let Some(of_target) = of_targets.find(|it| it.target.id() == id) {
                let rejected = rejected_paths(s3, self.bucket, &key).await?;
                if of_target.paths.iter().any(|path| rejected.contains(*path)) {
                    of_target.error_files.push(key);
                    of_target.rejected.extend(rejected);
                }
            }
        }
        Ok(())
    }
}

impl OfTarget<'_> {
    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome {
            error_files: self.error_files.clone(),
            ..Outcome::default()
        };
        let mut ids = BTreeSet::new();
        for path in &self.paths {
            match self.invalidations.clearing(path) {
                Some(invalidation) => {
                    outcome.accepted += 1;
                    outcome.accepted_paths.push((*path).clone());
                    if ids.insert(invalidation.id.clone()) {
                        outcome.completed += usize::from(invalidation.is_complete);
                    }
                }
                None if self.rejected.contains(*path) => outcome.rejected += 1,
                None => outcome.waiting += 1,
            }
        }
        outcome.invalidations = ids.into_iter().collect();
        outcome
    }
}

/// The keys of the error files that were written since this time.
async fn error_files(s3: &Client, bucket: &str, since: OffsetDateTime) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    let mut token = None;
    loop {
        let call = s3.list_objects_v2().bucket(bucket).prefix(FOLDER);
        let call = call.start_after(error_key(since, "", "")?);
        let page = call.set_continuation_token(token).send().await;
        let page = page.map_err(|error| service_error(&error));
        let page = page.context("failed to list the error files")?;
        keys.extend(
            page.contents
                .unwrap_or_default()
                .into_iter()
                .filter_map(|it| it.key),
        );
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(keys);
        }
    }
}

async fn rejected_paths(
    s3: &Client,
    bucket: &str,
    key: &str,
) -> Result<HashSet<InvalidationPath<'static>>> {
    let object = s3.get_object().bucket(bucket).key(key).send().await;
    let object = object.map_err(|error| service_error(&error));
    let object = object.with_context(|| format!("failed to read {key}"))?;
    let text = object.body.collect().await;
    let text = text.with_context(|| format!("the content of {key} does not arrive"))?;
    let section = replay::read(key, &text.to_vec())?;
    Ok(section.file.sets.into_iter().flatten().collect())
}
