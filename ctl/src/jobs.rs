//! `invalidatorctl jobs`: what was invalidated by hand, by whom, when and why.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use clap::{Args, Subcommand};
use invalidator::aws::error::service_error;
use invalidator_core::text::{Lines, one_line};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::account;
use crate::output::{Format, show, show_json};
use crate::stack;

/// The folder of the records in the error bucket.
const FOLDER: &str = "jobs/";

/// The version of a record, and of the list as JSON.
pub const VERSION: u32 = 1;

/// So many are listed.
const MOST_LISTED: usize = 100;

/// Show what was invalidated by hand, by whom, when and why.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl jobs list
  invalidatorctl jobs show 20261128T204701Z-k3j9x")]
pub struct Options {
    #[command(subcommand)]
    what: What,
    /// The stack's name: its outputs tell the bucket and the queues.
    #[arg(
        long,
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
    List,
    /// All that is known of one.
    Show {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// The record of a job.
#[derive(Debug, Deserialize, Serialize)]
pub struct Job {
    pub v: u32,
    pub id: String,
    /// When it was submitted, in UTC.
    pub at: String,
    pub by: String,
    pub reason: String,
    /// What was asked for.
    pub asked: Vec<String>,
    pub paths: usize,
    pub usd_at_most: f64,
    /// What was submitted for each target, and what came of it if somebody waited.
    pub targets: Value,
    /// `submitting`, `submitted`, `accepted`, or `not accepted` if some paths were rejected or got no answer.
    pub result: String,
}

/// An id for a job that begins now: it sorts by time. `random` tells those of one second apart.
///
/// # Errors
/// None in practice: the format has only parts every time has.
pub fn new_id(now: OffsetDateTime, random: &str) -> Result<String> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    Ok(format!("{}-{random}", now.format(format)?))
}

fn key_of(id: &str) -> String {
    format!("{FOLDER}{id}.json")
}

/// Writes the record of a job, or writes it anew.
///
/// # Errors
/// That of S3.
pub async fn write(s3: &Client, bucket: &str, job: &Job) -> Result<()> {
    let call = s3.put_object().bucket(bucket).key(key_of(&job.id));
    let call = call.content_type("application/json");
    let written = call.body(serde_json::to_vec(job)?.into()).send().await;
    written.map_err(|error| service_error(&error))?;
    Ok(())
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find_named(&account, &options.stack).await?;
    let (s3, bucket) = (account.clients.s3(), stack.error_bucket.as_str());
    match options.what {
        What::Show { id } => {
            let job = read(s3, bucket, &id).await?;
            match options.output {
                Format::Json => show_json(&job)?,
                Format::Text => show(&text(&job)),
            }
        }
        What::List => {
            let mut jobs = Vec::new();
            for id in newest(s3, bucket).await? {
                jobs.push(read(s3, bucket, &id).await?);
            }
            match options.output {
                Format::Json => show_json(&serde_json::json!({ "v": VERSION, "jobs": jobs }))?,
                Format::Text => show(&list(&jobs)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The ids of the newest jobs, the newest first.
async fn newest(s3: &Client, bucket: &str) -> Result<Vec<String>> {
    let (mut ids, mut token) = (Vec::new(), None);
    loop {
        let call = s3.list_objects_v2().bucket(bucket).prefix(FOLDER);
        let page = call.set_continuation_token(token).send().await;
        let page = page.map_err(|error| service_error(&error));
        let page = page.with_context(|| format!("failed to list s3://{bucket}/{FOLDER}"))?;
        let keys = page.contents.unwrap_or_default().into_iter();
        ids.extend(keys.filter_map(|it| {
            let id = it.key?;
            Some(id.strip_prefix(FOLDER)?.strip_suffix(".json")?.to_owned())
        }));
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(MOST_LISTED);
    Ok(ids)
}

async fn read(s3: &Client, bucket: &str, id: &str) -> Result<Job> {
    let key = key_of(id);
    let object = s3.get_object().bucket(bucket).key(&key).send().await;
    let object = object.map_err(|error| service_error(&error));
    let object = object.with_context(|| format!("failed to read s3://{bucket}/{key}"))?;
    let text = object.body.collect().await;
    let text = text.with_context(|| format!("the content of {key} does not arrive"))?;
    let job: Job = serde_json::from_slice(&text.to_vec())
        .with_context(|| format!("s3://{bucket}/{key} is no record of a job"))?;
    if job.v != VERSION {
        bail!(
            "s3://{bucket}/{key} is of version {}, this program reads {VERSION}",
            job.v
        );
    }
    Ok(job)
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
            result,
            by,
            reason,
            ..
        } = job;
        lines.line(format_args!(
            "{id}  {result}, {paths} paths, by {by}: {reason}"
        ));
    }
    lines
}

fn text(job: &Job) -> Lines {
    let mut lines = Lines::new();
    lines.line(format_args!("job {}: {}", job.id, job.result));
    lines.line(format_args!("  at {} UTC by {}", job.at, job.by));
    lines.line(format_args!("  reason: {}", job.reason));
    lines.line(format_args!("  asked for: {}", job.asked.join(" ")));
    lines.line(format_args!(
        "  {} paths, at most {} USD",
        job.paths, job.usd_at_most
    ));
    for target in job.targets.as_array().into_iter().flatten() {
        lines.line(format_args!("  {}", one_line(&target.to_string(), 500)));
    }
    lines
}
