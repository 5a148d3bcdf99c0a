//! `invalidatorctl replay`: submits the paths of error files again, once their cause is fixed, and puts back
//! failed events and dead letters.
//!
//! * [`inputs`]: which error files
//! * [`files`]: reads the files, and believes none
//! * [`record`]: the record of a replay
//! * [`before`]: what became of files that were submitted before
//! * [`sets`]: merges their paths into sets
//! * [`report`]: all that as JSON
//! * [`queues`]: failed events and dead letters

mod before;
mod files;
mod inputs;
mod queues;
mod record;
mod report;
mod sets;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use invalidator::config::QueueUrl;
use invalidator_core::problems::Problems;
use time::OffsetDateTime;

use crate::account::{self, Account};
use crate::confirm::confirm;
use crate::output::{Format, error, show, show_json, show_line, tell, warn};
use crate::progress::Progress;
use crate::stack::{self, Stack};
use crate::submission::enqueue::{By, Goes, check_mode, enqueue, then};
use crate::submission::summary::{count, follow, summary, totals};
use crate::submission::wait::{Patience, Watch};
use crate::submission::{Submission, direct};
use crate::usage::Usage;
use before::Before;
use files::Files;
use inputs::Input;
use queues::Choices;
use record::Record;
use report::Report;
use sets::{Replay, Sender, replays};

/// Submit the paths of error files again, or put back failed events or dead letters.
///
/// An error file of the bucket must be as the function wrote it, for a distribution of this account; people
/// may have added white space, lines that begin with `#`, and URLs. The paths are shown first, wildcards
/// before all others. A file that was submitted is kept under invalidation_error_done/ with who did it and
/// when, and is not submitted a second time.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl replay invalidation_error/20261121020304567891abcde01234_E2QWRUHAPOMQZL.txt --wait
  invalidatorctl replay --bucket BUCKET --submit-queue https://sqs.eu-west-1.amazonaws.com/123456789012/QUEUE.fifo KEY   # as the mail says
  invalidatorctl replay --all
  invalidatorctl replay paths.txt      # a file of this machine: `CloudFront Id [E2QWRUHAPOMQZL]`, then paths
  invalidatorctl replay --events       # what is in FailedEventsQueue
  invalidatorctl replay --dead-letters")]
pub struct Options {
    /// Error files: keys of the bucket, as the mail lists them, files of this machine, or `-` for standard
    /// input.
    #[arg(value_name = "KEY|FILE", required_unless_present_any = ["all", "events", "dead_letters"])]
    files: Vec<String>,
    /// All error files of the bucket. What cannot be replayed is told, and stays.
    #[arg(long, conflicts_with = "files")]
    all: bool,
    /// Invoke the function with the events that failed.
    #[arg(long, conflicts_with_all = ["files", "all", "submit_queue", "directly", "again", "wait", "complete", "timeout"])]
    events: bool,
    /// Put dead letters back into BufferQueue and SubmitQueue.
    #[arg(long, conflicts_with_all = ["files", "all", "events", "submit_queue", "directly", "again", "wait", "complete", "timeout"])]
    dead_letters: bool,
    #[command(flatten)]
    stack: stack::Options,
    /// The stack's SubmitQueue, if its outputs cannot be read: the function submits the paths, at the
    /// pace that CloudFront allows.
    #[arg(long, value_name = "URL")]
    submit_queue: Option<QueueUrl>,
    /// Submit from this machine, without the function.
    #[arg(long, conflicts_with = "submit_queue")]
    directly: bool,
    /// Submit also what was submitted before, and pay for it again.
    #[arg(long)]
    again: bool,
    /// Wait until CloudFront has accepted the paths, or rejected them.
    #[arg(long, conflicts_with = "directly")]
    wait: bool,
    /// Wait until the paths are invalidated at all edges.
    #[arg(long, conflicts_with = "directly")]
    complete: bool,
    /// How long to wait. What was submitted goes on without this program.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    timeout: u64,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find(&account, options.stack.clone()).await?;
    let Options { yes, output, .. } = options;
    if options.events {
        return queues::replay_events(&account, &stack, Choices { yes, output }).await;
    }
    if options.dead_letters {
        return queues::replay_dead_letters(&account, &stack, Choices { yes, output }).await;
    }
    let queue = match options.directly {
        true => None,
        false => Some(queue_of(&stack, options.submit_queue.clone())?),
    };
    let progress = Progress::new("distributions");
    let files = read(&account, &stack, &options, &progress).await;
    progress.finish();
    let Files {
        mut files,
        problems,
        mut is_recorded,
    } = files?;
    tell_problems(&problems);
    if !problems.is_empty() && !options.all {
        tell("nothing was submitted");
        return Ok(ExitCode::FAILURE);
    }
    let mut befores = Vec::new();
    if !options.again {
        let cloudfront = account.clients.cloudfront();
        befores = before::take_out_what_was_done(cloudfront, &mut files).await;
        befores.iter().for_each(tell);
        if befores.iter().any(|it| !it.is_unfinished) {
            tell("say --again to submit once more what was submitted before");
        }
        is_recorded &= befores.iter().all(Before::is_good);
        is_recorded &= tidy(&account, &stack, &files).await;
    }
    let now = OffsetDateTime::now_utc();
    let sender = Sender {
        caller: &account.caller,
        again: options
            .again
            .then(|| format!("again {}", now.unix_timestamp())),
        window: format!("window {}", now.unix_timestamp() / 300),
    };
    let replays = replays(files, &sender);
    let mut report = Report::of(&account.to_string(), &replays);
    report.before = befores;
    report.problems = problems.first().to_vec();
    let is_well = problems.is_empty() && is_recorded;
    let run = Run {
        account: &account,
        stack: &stack,
        options: &options,
        now,
        progress: &progress,
    };
    let is_done = match replays.is_empty() {
        true => {
            tell("there is nothing to submit");
            true
        }
        false => run.submit(&replays, queue.as_ref(), &mut report).await?,
    };
    if let Format::Json = options.output {
        show_json(&report)?;
    }
    Ok(match is_done && is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// # Errors
/// If the queue is not named and the stack is not known by its name.
fn queue_of(stack: &Stack, named: Option<QueueUrl>) -> Result<QueueUrl> {
    match named {
        Some(queue) => Ok(queue),
        None if !stack.is_named() => Err(Usage(
            "name the queue with --submit-queue, or the stack with --stack instead of its bucket"
                .to_owned(),
        )
        .into()),
        None => stack
            .queue("SubmitQueueUrl")
            .context("say --submit-queue, or deploy the stack again"),
    }
}

async fn read(
    account: &Account,
    stack: &Stack,
    options: &Options,
    progress: &Progress,
) -> Result<Files> {
    let bucket = &stack.error_bucket;
    let inputs = match options.all {
        false => {
            let files = options.files.iter();
            files.map(|it| Input::of_argument(it, bucket)).collect()
        }
        true => {
            let (keys, others) = inputs::all(account.clients.s3(), bucket).await?;
            if others > 0 {
                tell(format_args!(
                    "{} without paths, such as messages that could not be read, are left out",
                    count(others, "file")
                ));
            }
            keys.into_iter().map(Input::Key).collect()
        }
    };
    files::read(account, bucket, inputs, progress).await
}

/// Deletes error files whose replay was interrupted, and of which nothing is left to submit. Whether it could.
async fn tidy(account: &Account, stack: &Stack, files: &[files::File]) -> bool {
    let mut are_deleted = true;
    for file in files.iter().filter(|file| file.paths.is_empty()) {
        if let Some(object) = file.place.object.as_ref().filter(|it| it.is_there) {
            are_deleted &= delete(account, stack, &object.key).await;
        }
    }
    are_deleted
}

async fn delete(account: &Account, stack: &Stack, key: &str) -> bool {
    let deleted = record::delete(account.clients.s3(), &stack.error_bucket, key).await;
    if let Err(error) = &deleted {
        warn(format_args!(
            "{key} was submitted, but stays where it is: {error:#}"
        ));
    }
    deleted.is_ok()
}

fn tell_problems(problems: &Problems<String>) {
    problems.first().iter().for_each(error);
    if problems.untold() > 0 {
        let files = count(problems.untold(), "more file");
        error(format_args!("{files} cannot be replayed"));
    }
}

/// A replay that is about to be made.
struct Run<'a> {
    account: &'a Account,
    stack: &'a Stack,
    options: &'a Options,
    now: OffsetDateTime,
    progress: &'a Progress,
}

impl Run<'_> {
    /// Whether all was done that was asked for.
    async fn submit(
        &self,
        replays: &[Replay],
        queue: Option<&QueueUrl>,
        report: &mut Report,
    ) -> Result<bool> {
        let Options { output, yes, .. } = self.options;
        let submissions: Vec<&Submission> = replays.iter().map(|it| &it.submission).collect();
        if let Format::Text = output {
            show(&summary(&submissions));
        }
        let by = match queue {
            None => By::ThisMachine,
            Some(_) => By::Function,
        };
        let goes = check_mode(self.account, self.stack, by).await?;
        let (paths, sets) = totals(&submissions);
        let question = format!("submit {} in {}?", count(paths, "path"), count(sets, "set"));
        if !yes && !confirm(&question)? {
            tell("nothing was submitted");
            return Ok(false);
        }
        let unrecorded = self.write_records(replays).await;
        report.is_submitted = true;
        let is_done = match queue {
            None => self.submit_directly(replays, &unrecorded, report).await,
            Some(queue) => {
                self.enqueue(replays, &unrecorded, (queue, goes), report)
                    .await?
            }
        };
        Ok(is_done && unrecorded.is_empty())
    }

    /// Writes the record of each file. Without it the replay goes on, and the file stays. Returns the keys of the files
    /// without a record.
    async fn write_records(&self, replays: &[Replay]) -> BTreeSet<String> {
        let mut unrecorded = BTreeSet::new();
        let record = Record {
            at: self.now,
            by: self.account.caller.clone(),
        };
        self.progress.begin_unknown("records");
        for object in replays.iter().flat_map(|it| &it.objects) {
            let (s3, bucket) = (self.account.clients.s3(), &self.stack.error_bucket);
            let from = object.from();
            if let Err(error) = record::write(s3, bucket, &from, &object.key, &record).await {
                warn(format_args!(
                    "that {} is submitted cannot be recorded, so it stays, and a second replay would pay again: \
                     {error:#}",
                    object.key
                ));
                unrecorded.insert(object.key.clone());
            }
            self.progress.step();
        }
        self.progress.finish();
        unrecorded
    }

    /// Deletes the error files of a target that was submitted as a whole, and that have their records. Whether it could.
    async fn delete_files(&self, replay: &Replay, unrecorded: &BTreeSet<String>) -> bool {
        let mut are_deleted = true;
        let objects = replay.objects.iter().filter(|it| it.is_there);
        for object in objects.filter(|it| !unrecorded.contains(&it.key)) {
            are_deleted &= delete(self.account, self.stack, &object.key).await;
        }
        are_deleted
    }

    async fn submit_directly(
        &self,
        replays: &[Replay],
        unrecorded: &BTreeSet<String>,
        report: &mut Report,
    ) -> bool {
        let (mut outcomes, mut is_done) = (Vec::new(), true);
        let sets: usize = replays.iter().map(|it| it.submission.sets.len()).sum();
        self.progress.begin("sets", sets as u64);
        for replay in replays {
            let clients = &self.account.clients;
            let outcome = direct::submit(clients, &replay.submission, self.progress).await;
            is_done &= match outcome.rejected + outcome.waiting {
                0 => self.delete_files(replay, unrecorded).await,
                _ => false,
            };
            outcomes.push(outcome);
        }
        self.progress.finish();
        report.add(outcomes);
        is_done
    }

    async fn enqueue(
        &self,
        replays: &[Replay],
        unrecorded: &BTreeSet<String>,
        (queue, goes): (&QueueUrl, Goes),
        report: &mut Report,
    ) -> Result<bool> {
        let submissions: Vec<&Submission> = replays.iter().map(|it| &it.submission).collect();
        let waits = self.options.wait || self.options.complete;
        let watch = match waits && goes == Goes::On {
            true => {
                let bucket = &self.stack.error_bucket;
                Some(Watch::begin(self.account, bucket, &submissions).await?)
            }
            false => None,
        };
        let sets = totals(&submissions).1;
        self.progress.begin("sets", sets as u64);
        let mut are_deleted = true;
        for replay in replays {
            enqueue(&self.account.clients, queue, &replay.submission).await?;
            self.progress.steps(replay.submission.sets.len() as u64);
            are_deleted &= self.delete_files(replay, unrecorded).await;
        }
        self.progress.finish();
        if let Format::Text = self.options.output {
            let sets = count(sets, "set");
            let here = self.stack.here(self.account);
            show_line(format_args!("{sets} in SubmitQueue; {}", then(goes, &here)));
        }
        let Some(watch) = watch else {
            return Ok(!waits && are_deleted);
        };
        let patience = Patience {
            is_for_edges: self.options.complete,
            timeout: Duration::from_secs(self.options.timeout),
        };
        let output = self.options.output;
        let outcomes = follow(watch, &submissions, patience, self.progress, output).await?;
        let are_good = outcomes.iter().all(|it| it.is_good(patience));
        report.add(outcomes);
        Ok(are_good && are_deleted)
    }
}
