//! `invalidatorctl jobs`: what was invalidated by hand, by whom, when and why; and jobs that wait for their time.
//!
//! * [`record`]: the record of a job
//! * [`send`]: puts its sets into SubmitQueue, or into schedules
//! * [`now`]: what became of it
//! * [`cancel`]: deletes its schedules
//! * [`resume`]: continues one that was interrupted

mod cancel;
mod now;
pub mod record;
mod resume;
pub mod send;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use invalidator_core::text::{Lines, one_line};
use serde::Serialize;

use crate::account::{self, Account};
use crate::columns::minute;
use crate::output::{Format, show, show_json, warn};
use crate::stack::{self, Stack};
use crate::submission::summary::{add_outcome, count};
use now::Now;
use record::{Job, VERSION};

/// Show what was invalidated by hand, by whom, when, why, and what became of it; cancel or continue a job.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl jobs list
  invalidatorctl jobs show 20261128T204701Z-lipmk
  invalidatorctl jobs cancel 20261128T204701Z-lipmk
  invalidatorctl jobs resume 20261128T204701Z-lipmk")]
pub struct Options {
    #[command(subcommand)]
    what: What,
    /// The stack's name: its outputs tell the bucket and the queues.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "invalidator",
        help_heading = "Stack"
    )]
    stack: String,
    /// For a person or for a machine.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The newest jobs.
    #[command(after_help = "Examples:
  invalidatorctl jobs list
  invalidatorctl jobs list --output json | jq -r .jobs[].id")]
    List,
    /// All that is known of one, and what became of it until now. The exit status is 1 if paths were rejected.
    #[command(after_help = "Example:
  invalidatorctl jobs show 20261128T204701Z-lipmk")]
    Show {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Delete the schedules of one that waits for its time. The exit status is 1 if a part of it ran, or may have.
    #[command(after_help = "Example:
  invalidatorctl jobs cancel 20261128T204701Z-lipmk")]
    Cancel {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Continue one that was interrupted. What was submitted is not paid for again.
    #[command(after_help = "Example:
  invalidatorctl jobs resume 20261128T204701Z-lipmk")]
    Resume {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// A job, as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    job: &'a Job,
    /// None if it cannot be found out.
    now: Option<now::Shown>,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find_named(&account, &options.stack).await?;
    let (s3, bucket) = (account.clients.s3(), stack.error_bucket.as_str());
    let output = options.output;
    match options.what {
        What::Show { id } => show_job(&account, &stack, &id, output).await,
        What::Cancel { id, yes } => {
            let job = record::read(s3, bucket, &id).await?;
            cancel::cancel(&account, &stack, job, yes, output).await
        }
        What::Resume { id, yes } => {
            let job = record::read(s3, bucket, &id).await?;
            resume::resume(&account, &stack, job, yes, output).await
        }
        What::List => {
            let mut jobs = Vec::new();
            let mut are_read = true;
            for id in record::newest(s3, bucket).await? {
                match record::read(s3, bucket, &id).await {
                    Ok(job) => jobs.push(job),
                    Err(error) => {
                        warn(format_args!("job {id} is not listed: {error:#}"));
                        are_read = false;
                    }
                }
            }
            match output {
                Format::Json => show_json(&serde_json::json!({ "v": VERSION, "jobs": jobs }))?,
                Format::Text => show(&list(&jobs)),
            }
            Ok(status(are_read))
        }
    }
}

async fn show_job(account: &Account, stack: &Stack, id: &str, output: Format) -> Result<ExitCode> {
    let job = record::read(account.clients.s3(), &stack.error_bucket, id).await?;
    let now = now::look(account, stack, &job)
        .await
        .unwrap_or_else(|error| {
            warn(format_args!("what became of it is not known: {error:#}"));
            None
        });
    match output {
        Format::Json => show_json(&Shown {
            now: now.as_ref().map(Now::shown),
            job: &job,
        })?,
        Format::Text => {
            let mut lines = text(&job);
            match &now {
                Some(now) => add_now(&mut lines, &job, now),
                None => add_recorded(&mut lines, &job),
            }
            if !job.left.is_empty() {
                lines.line(format_args!(
                    "  {} of {} are not known to have been submitted or scheduled; continue with: {}",
                    job.left.len(),
                    count(job.sets, "set"),
                    send::resume(account, stack, id)
                ));
            }
            show(&lines);
        }
    }
    // What is not known yet is no failure, and what was not accepted is one.
    Ok(status(now.is_none_or(|now| now.is_well())))
}

fn status(is_well: bool) -> ExitCode {
    match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// `scheduled for 2026-12-01 07:00 UTC`
fn result(job: &Job) -> String {
    match job.due() {
        Ok(Some(due)) => format!("{} for {} UTC", job.result, minute(due)),
        _ => job.result.to_string(),
    }
}

fn list(jobs: &[Job]) -> Lines {
    let mut lines = Lines::new();
    if jobs.is_empty() {
        lines.line("no jobs");
    }
    for job in jobs {
        let Job {
            id,
            paths,
            by,
            reason,
            ..
        } = job;
        let result = result(job);
        lines.line(format_args!(
            "{id}  {result}, {}, by {by}: {reason}",
            count(*paths, "path")
        ));
    }
    lines
}

fn text(job: &Job) -> Lines {
    let mut lines = Lines::new();
    lines.line(format_args!("job {}: {}", job.id, result(job)));
    lines.line(format_args!("  at {} UTC by {}", job.at, job.by));
    lines.line(format_args!("  reason: {}", job.reason));
    lines.line(format_args!("  asked for: {}", job.asked.join(" ")));
    lines.line(format_args!(
        "  {}, at most {} USD",
        count(job.paths, "path"),
        job.usd_at_most
    ));
    lines
}

fn add_now(lines: &mut Lines, job: &Job, now: &Now) {
    if let Some(waiting) = now.schedules {
        lines.line(format_args!(
            "  {waiting} of {} waiting",
            count(job.sets, "schedule")
        ));
    }
    for (number, what) in [
        (job.cancelled.len(), "cancelled"),
        (
            job.deleted_late.len(),
            "may have run: the schedule was deleted when it was due",
        ),
    ] {
        if number > 0 {
            lines.line(format_args!("  {} {what}", count(number, "set")));
        }
    }
    for (submission, outcome) in &now.of_targets {
        add_outcome(lines, "  ", submission, outcome);
    }
}

/// What the record of an older version of this program says.
fn add_recorded(lines: &mut Lines, job: &Job) {
    for target in job.targets.as_array().into_iter().flatten() {
        lines.line(format_args!("  {}", one_line(&target.to_string(), 500)));
    }
}
