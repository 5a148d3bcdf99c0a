//! `invalidatorctl check`: looks at a stack, its buckets and its distributions, and says what is wrong.

pub mod facts;
mod find;
pub mod finding;
mod probe;
mod read;
mod report;
pub mod statements;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use invalidator_core::event::BucketName;
use time::OffsetDateTime;

use crate::account;
use crate::output::{Format, show, show_json, tell};
use crate::stack;
use crate::usage::Usage;
use finding::Severity;
use report::Report;

/// Look at the stack, its buckets and their distributions, and say what is wrong, why it matters, and which
/// command fixes it. Nothing is changed.
///
/// The exit status is 1 if there is a problem or a warning, also if something could not be looked at; notes
/// only say how it is.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl check
  invalidatorctl check --only my-site --output json
  invalidatorctl check --probe my-site")]
pub struct Options {
    #[command(flatten)]
    stack: stack::Options,
    /// Only these buckets, and what serves them. Without it, all that are origins or send to the function.
    #[arg(long, value_name = "BUCKET", conflicts_with = "probe")]
    only: Vec<BucketName>,
    /// Instead: upload a small object into this bucket, wait for its invalidation, delete it, and print the
    /// time of each step. It costs two paths for each distribution, and asks first.
    #[arg(long, value_name = "BUCKET")]
    probe: Option<BucketName>,
    /// The key of that object; without it, one below `.invalidator-probe/`.
    #[arg(long, value_name = "KEY", requires = "probe")]
    probe_key: Option<String>,
    /// How long that may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// Do not ask.
    #[arg(long, requires = "probe")]
    yes: bool,
    /// What `sam deploy` reads: says what the next deployment would undo.
    #[arg(long, value_name = "FILE", default_value = "samconfig.toml")]
    samconfig: PathBuf,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find(&account, options.stack).await?;
    if !stack.is_named() {
        return Err(
            Usage("a stack is checked by its outputs: name it with --stack".to_owned()).into(),
        );
    }
    if let Some(bucket) = options.probe {
        let options = probe::Options {
            bucket: bucket.to_string(),
            key: options.probe_key,
            timeout: Duration::from_secs(options.timeout),
            yes: options.yes,
            output: options.output,
        };
        return probe::run(&account, &stack, options).await;
    }
    tell("looking at the stack, its buckets and distributions; this takes a few seconds");
    let only: Vec<String> = options.only.iter().map(ToString::to_string).collect();
    let now = OffsetDateTime::now_utc();
    let facts = read::read(&account, &stack, &only, &options.samconfig, now).await;
    let findings = find::find(&facts);
    let report = Report::new(&facts, &findings);
    match options.output {
        Format::Text => show(&report.lines()),
        Format::Json => show_json(&report)?,
    }
    let is_well = findings.count(Severity::Problem) + findings.count(Severity::Warning) == 0;
    Ok(match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
