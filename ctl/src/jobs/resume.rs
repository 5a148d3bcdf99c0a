//! Continues a job that was interrupted, so that nothing is paid for twice.
//!
//! Of the sets that are left, the last batch may be in SubmitQueue though nobody knows. So CloudFront is always asked,
//! which is free: what was invalidated since the job began is left out. What still waits in the queue is merged by the
//! function, and for five minutes the queue itself drops what it had before, by the deduplication id: that of the rest
//! of a set depends on its paths only, so whoever continues a job again sends the same. Nothing is kept of when it was
//! last sent, which could be wrong.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use invalidator_core::caller_reference::SetId;
use invalidator_core::target::Target;
use time::OffsetDateTime;

use super::record::{self, Job, Message, State};
use super::send::{Way, send_left};
use crate::account::Account;
use crate::confirm::confirm;
use crate::invalidations::Invalidations;
use crate::output::{Format, show, show_json, show_line, tell};
use crate::stack::Stack;
use crate::submission::Submission;
use crate::submission::enqueue::{By, check_mode, then};
use crate::submission::schedules::Schedules;
use crate::submission::summary::{count, summary, totals};

/// Continues a job.
///
/// # Errors
/// If a call fails. It may be run again.
pub async fn resume(
    account: &Account,
    stack: &Stack,
    mut job: Job,
    yes: bool,
    output: Format,
) -> Result<ExitCode> {
    let (s3, bucket) = (account.clients.s3(), stack.error_bucket.as_str());
    if job.left.is_empty() {
        tell(format_args!(
            "nothing is left of job {}: it is {}",
            job.id, job.result
        ));
        return finish(&job, output);
    }
    let messages = record::read_messages(s3, bucket, &job).await?;
    let (mut messages, began) = messages.context("the messages of the job are gone")?;
    let queue = stack.queue("SubmitQueueUrl")?;
    let due = job.due()?;
    let schedules = due.map(|_| Schedules::open(account, stack)).transpose()?;
    let way = match (&schedules, due) {
        (Some(schedules), Some(due)) if OffsetDateTime::now_utc() < due => {
            Way::Schedules(schedules, due)
        }
        _ => Way::Queue(&queue),
    };
    let goes = check_mode(account, stack, By::Function).await?;
    let since = due.unwrap_or(began);
    if let Way::Queue(_) = way {
        leave_out_what_was_invalidated(account, &mut job, &mut messages, since).await?;
    }
    let left = job.left.iter().filter_map(|number| messages.get(*number));
    let submissions = record::submissions(&job, left)?;
    let submissions: Vec<&Submission> = submissions.iter().collect();
    let (paths, sets) = totals(&submissions);
    if sets > 0 {
        if let Format::Text = output {
            show(&summary(&submissions));
        }
        let what = match way {
            Way::Queue(_) => "submit",
            Way::Schedules(..) => "schedule",
        };
        let question = format!("{what} {} in {}?", count(paths, "path"), count(sets, "set"));
        if !yes && !confirm(&question)? {
            tell("nothing was submitted");
            return Ok(ExitCode::FAILURE);
        }
        // What waited in the queue may have been submitted before the person answered.
        if let (Way::Queue(_), false) = (&way, yes) {
            leave_out_what_was_invalidated(account, &mut job, &mut messages, since).await?;
        }
    }
    let sets = job.left.len();
    let sent = send_left(account, stack, &mut job, &messages, &way).await;
    let recorded = record::write(s3, bucket, &job).await;
    sent?;
    recorded.context("the record of the job does not say that it is done: run it again")?;
    if let Format::Text = output {
        let (id, sets, place) = (&job.id, count(sets, "set"), way.place());
        match job.result {
            State::Scheduled => show_line(format_args!("job {id}: {sets} {place}")),
            _ => show_line(format_args!(
                "job {id}: {sets} {place}; {}",
                then(goes, &stack.here(account))
            )),
        }
    }
    finish(&job, output)
}

fn finish(job: &Job, output: Format) -> Result<ExitCode> {
    if let Format::Json = output {
        show_json(job)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes out of what is left all paths that were invalidated since this time.
async fn leave_out_what_was_invalidated(
    account: &Account,
    job: &mut Job,
    messages: &mut [Message],
    since: OffsetDateTime,
) -> Result<()> {
    let mut of_targets: BTreeMap<Target, Vec<usize>> = BTreeMap::new();
    for number in &job.left {
        if let Some(message) = messages.get(*number) {
            let target = message.set()?.target;
            of_targets.entry(target).or_default().push(*number);
        }
    }
    let mut done = 0;
    for (target, numbers) in &of_targets {
        let mut invalidations = Invalidations::new(account.clients.cloudfront(), target);
        invalidations.look(since).await?;
        for number in numbers {
            let Some(message) = messages.get_mut(*number) else {
                continue;
            };
            let mut set = message.set()?;
            let all = set.paths.len();
            set.paths
                .retain(|path| invalidations.clearing(path).is_none());
            done += all - set.paths.len();
            if set.paths.is_empty() {
                job.left.retain(|it| it != number);
            } else if set.paths.len() < all {
                let id = SetId::known(&message.id).of_rest(&set.paths);
                *message = Message::of(&id, &set)?;
            }
        }
    }
    if done > 0 {
        tell(format_args!(
            "{} invalidated since then, and left out",
            count(done, "path")
        ));
    }
    Ok(())
}
