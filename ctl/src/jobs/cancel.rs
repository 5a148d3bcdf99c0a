//! Deletes the schedules of a job, and says exactly what is not submitted any more.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::record::{self, Job, State};
use crate::account::Account;
use crate::columns::minute;
use crate::confirm::confirm;
use crate::output::{Format, show_json, show_line, tell};
use crate::quote::Here;
use crate::stack::Stack;
use crate::submission::schedules::{Schedules, name};
use crate::submission::summary::count;

/// The clocks of this machine and of AWS may differ so much.
const CLOCKS_DIFFER: Duration = Duration::minutes(2);

/// What was cancelled, as JSON.
#[derive(Serialize)]
struct Report<'a> {
    v: u32,
    job: &'a str,
    result: State,
    sets: usize,
    /// Sets that are not submitted.
    cancelled: usize,
    /// Sets whose schedules were deleted when they were due.
    may_have_run: usize,
    /// Sets whose schedules had run.
    ran: usize,
}

/// Cancels a job.
///
/// # Errors
/// If it was submitted at once, or a call fails. What was cancelled before is recorded, and it may be run again.
pub async fn cancel(
    account: &Account,
    stack: &Stack,
    mut job: Job,
    yes: bool,
    output: Format,
) -> Result<ExitCode> {
    let Some(due) = job.due()? else {
        bail!(
            "job {} was submitted at once: no schedule of it can be deleted",
            job.id
        );
    };
    let schedules = Schedules::open(account, stack)?;
    let is_open = |it: &usize| !job.cancelled.contains(it) && !job.deleted_late.contains(it);
    let open: Vec<usize> = (0..job.sets).filter(is_open).collect();
    if !open.is_empty() {
        tell(format_args!(
            "job {}: {} for {} UTC, {}, by {}: {}",
            job.id,
            job.result,
            minute(due),
            count(job.paths, "path"),
            job.by,
            job.reason
        ));
        let question = format!("delete {}?", count(open.len(), "schedule"));
        if !yes && !confirm(&question)? {
            tell("nothing was cancelled");
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut ran = 0;
    let mut failed = None;
    for number in open {
        let is_due = OffsetDateTime::now_utc() + CLOCKS_DIFFER >= due;
        match (schedules.delete(&name(&job.id, number)).await, is_due) {
            // One that is gone before its time was deleted, or never made.
            (Ok(_), false) => job.cancelled.push(number),
            (Ok(true), true) => job.deleted_late.push(number),
            (Ok(false), true) => ran += 1,
            (Err(error), _) => {
                failed = Some(error);
                break;
            }
        }
    }
    let (cancelled, late) = (&job.cancelled, &job.deleted_late);
    job.left
        .retain(|it| !cancelled.contains(it) && !late.contains(it));
    job.result = match job.cancelled.len() {
        0 => job.result,
        all if all == job.sets => State::Cancelled,
        _ => State::CancelledInPart,
    };
    let written = record::write(account.clients.s3(), &stack.error_bucket, &job).await;
    if let Some(error) = failed {
        return Err(error).context("not all is cancelled: run the same command again");
    }
    written.context("it is cancelled, but the record of the job does not say so: run it again")?;
    report(&job, ran, &stack.here(account), output)?;
    Ok(match job.cancelled.len() == job.sets {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn report(job: &Job, ran: usize, here: &Here, output: Format) -> Result<()> {
    let may_have_run = job.deleted_late.len();
    if let Format::Json = output {
        return show_json(&Report {
            v: record::VERSION,
            job: &job.id,
            result: job.result,
            sets: job.sets,
            cancelled: job.cancelled.len(),
            may_have_run,
            ran,
        });
    }
    let id = &job.id;
    let (cancelled, sets) = (job.cancelled.len(), count(job.sets, "set"));
    show_line(format_args!("job {id}: {cancelled} of {sets} cancelled"));
    if ran > 0 {
        show_line(format_args!("  {} ran before", count(ran, "set")));
    }
    if may_have_run > 0 {
        show_line(format_args!(
            "  {} may have run: the schedule was deleted when it was due",
            count(may_have_run, "set")
        ));
    }
    if ran + may_have_run > 0 {
        show_line(format_args!(
            "  what became of them: {}",
            here.complete(&format!("invalidatorctl jobs show {id}"))
        ));
    }
    Ok(())
}
