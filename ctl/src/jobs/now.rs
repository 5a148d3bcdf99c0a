//! What became of a job until now: whether its schedules wait, and what CloudFront says to its paths.

use anyhow::Result;
use serde::Serialize;
use time::OffsetDateTime;

use super::record::{self, Job};
use crate::account::Account;
use crate::stack::Stack;
use crate::submission::Submission;
use crate::submission::schedules::{Schedules, name};
use crate::submission::summary::OfTarget;
use crate::submission::wait::{Outcome, Watch};

/// What became of a job.
pub struct Now {
    /// How many of its schedules wait. `None` of a job without schedules.
    pub schedules: Option<usize>,
    /// What was submitted, and what came of it.
    pub of_targets: Vec<(Submission, Outcome)>,
}

/// The same as JSON.
#[derive(Serialize)]
pub struct Shown {
    schedules_waiting: Option<usize>,
    targets: Vec<OfTarget>,
}

impl Now {
    /// Whether nothing was rejected.
    pub fn is_well(&self) -> bool {
        self.of_targets.iter().all(|(_, it)| it.rejected == 0)
    }

    pub fn shown(&self) -> Shown {
        let of_target = |(submission, outcome): &(Submission, Outcome)| {
            let mut of_target = OfTarget::of(submission);
            of_target.outcome = Some(outcome.clone());
            of_target
        };
        Shown {
            schedules_waiting: self.schedules,
            targets: self.of_targets.iter().map(of_target).collect(),
        }
    }
}

/// Looks. `None` if the job is of an older version of this program, and its paths are not recorded.
///
/// # Errors
/// If S3, Scheduler or CloudFront does not say.
pub async fn look(account: &Account, stack: &Stack, job: &Job) -> Result<Option<Now>> {
    let (s3, bucket) = (account.clients.s3(), stack.error_bucket.as_str());
    let Some((messages, began)) = record::read_messages(s3, bucket, job).await? else {
        return Ok(None);
    };
    let (schedules, since) = match job.due()? {
        None => (None, began),
        Some(due) => (Some(waiting(account, stack, job).await?), due),
    };
    let begun = job.begun().filter_map(|number| messages.get(number));
    let submissions = record::submissions(job, begun)?;
    // Before its time nothing can have run.
    if schedules.is_some() && OffsetDateTime::now_utc() < since {
        return Ok(Some(Now {
            schedules,
            of_targets: Vec::new(),
        }));
    }
    let outcomes = {
        let all: Vec<&Submission> = submissions.iter().collect();
        Watch::of_past(account, bucket, &all, since)
            .outcomes()
            .await?
    };
    Ok(Some(Now {
        schedules,
        of_targets: submissions.into_iter().zip(outcomes).collect(),
    }))
}

async fn waiting(account: &Account, stack: &Stack, job: &Job) -> Result<usize> {
    let schedules = Schedules::open(account, stack)?;
    let mut waiting = 0;
    for number in job.begun().filter(|it| !job.deleted_late.contains(it)) {
        waiting += usize::from(schedules.is_there(&name(&job.id, number)).await?);
    }
    Ok(waiting)
}
