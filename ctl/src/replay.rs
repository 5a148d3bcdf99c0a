//! `invalidatorctl replay`: submits the paths of error files again, once their cause is fixed, and puts back
//! failed events and dead letters.
//!
//! * [`inputs`]: which error files
//! * [`files`]: reads the files, and believes none
//! * [`record`]: the record of a replay
//! * [`before`]: what became of files that were submitted before
//! * [`sets`]: merges their paths into sets
//! * [`summary`]: what would be submitted, and what came of it
//! * [`direct`]: submits from this machine
//! * [`wait`]: waits for the answers
//! * [`queues`]: failed events and dead letters

mod before;
mod direct;
mod files;
mod inputs;
mod queues;
mod record;
mod sets;
mod summary;
mod wait;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use invalidator::aws::Clients;
use invalidator::config::QueueUrl;
use invalidator::mode::read_mode;
use invalidator::queue::{Entry, send};
use invalidator_core::mode::{ChosenMode, Mode};
use invalidator_core::problems::Problems;
use invalidator_core::set::Lane;
use time::OffsetDateTime;

use crate::account::{self, Account};
use crate::confirm::confirm;
use crate::output::{Format, error, show, show_json, show_line, tell, warn};
use crate::progress::Progress;
use crate::stack::{self, Stack};
use crate::usage::Usage;
use before::Before;
use files::Files;
use inputs::Input;
use queues::Choices;
use record::Record;
use sets::{Replay, Sender, replays};
use summary::{Report, count, summary, totals};
use wait::{Outcome, Patience, Watch};

/// Submit the paths of error files again, or put back failed events or dead letters.
///
/// An error file of the bucket must be as the function wrote it, for a distribution of this account; people
/// may have added white space, lines that begin with `#`, and URLs. The paths are shown first, wildcards
/// before all others. A file that was submitted is kept under invalidation_error_done/ with who did it and
/// when, and is not submitted a second time.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl replay invalidation_error/20261121020304567891abcde01234_E2QWRUHAPOMQZL.txt --wait
  invalidatorctl replay --bucket BUCKET --submit-queue URL KEY KEY   (as the mail says)
  invalidatorctl replay --all
  invalidatorctl replay paths.txt      (a file of this machine: `CloudFront Id [E2QWRUHAPOMQZL]`, then paths)
  invalidatorctl replay --events       (what is in FailedEventsQueue)
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
    #[arg(long, conflicts_with_all = ["files", "all"])]
    events: bool,
    /// Put dead letters back into BufferQueue and SubmitQueue.
    #[arg(long, conflicts_with_all = ["files", "all", "events"])]
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
        if let Format::Text = output {
            show(&summary(replays));
        }
        let mode = mode_of(&self.account.clients, &self.stack.error_bucket).await;
        refuse_if_not_live(mode.as_ref(), self.options)?;
        let (paths, sets) = totals(replays);
        let question = format!("submit {} in {}?", count(paths, "path"), count(sets, "set"));
        if !yes && !confirm(&question)? {
            tell("nothing was submitted");
            return Ok(false);
        }
        let are_recorded = self.write_records(replays).await;
        report.is_submitted = true;
        let is_done = match queue {
            None => self.submit_directly(replays, report).await,
            Some(queue) => self.enqueue(replays, queue, mode, report).await?,
        };
        Ok(is_done && are_recorded)
    }

    /// Writes the record of each file. Without it the replay goes on: at worst somebody pays twice. Whether all
    /// were written.
    async fn write_records(&self, replays: &[Replay]) -> bool {
        let mut are_written = true;
        let record = Record {
            at: self.now,
            by: self.account.caller.clone(),
        };
        self.progress.begin_unknown("records");
        let objects = replays.iter().flat_map(|it| &it.places);
        for object in objects.filter_map(|it| it.object.as_ref()) {
            let (s3, bucket) = (self.account.clients.s3(), &self.stack.error_bucket);
            let from = object.from();
            if let Err(error) = record::write(s3, bucket, &from, &object.key, &record).await {
                warn(format_args!(
                    "that {} is submitted cannot be recorded, so a second replay would pay again: {error:#}",
                    object.key
                ));
                are_written = false;
            }
            self.progress.step();
        }
        self.progress.finish();
        are_written
    }

    /// Deletes the error files of a target that was submitted as a whole. Whether it could.
    async fn delete_files(&self, replay: &Replay) -> bool {
        let mut are_deleted = true;
        let objects = replay.places.iter().filter_map(|it| it.object.as_ref());
        for object in objects.filter(|it| it.is_there) {
            are_deleted &= delete(self.account, self.stack, &object.key).await;
        }
        are_deleted
    }

    async fn submit_directly(&self, replays: &[Replay], report: &mut Report) -> bool {
        let (mut outcomes, mut is_done) = (Vec::new(), true);
        self.progress.begin("sets", totals(replays).1 as u64);
        for replay in replays {
            let outcome = direct::submit(&self.account.clients, replay, self.progress).await;
            is_done &= match outcome.rejected + outcome.waiting {
                0 => self.delete_files(replay).await,
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
        queue: &QueueUrl,
        mode: Option<ChosenMode>,
        report: &mut Report,
    ) -> Result<bool> {
        let is_stopped = mode.is_some_and(|it| it.mode == Mode::Stopped);
        let waits = self.options.wait || self.options.complete;
        let watch = match waits && !is_stopped {
            true => {
                let bucket = &self.stack.error_bucket;
                Some(Watch::begin(self.account, bucket, replays).await?)
            }
            false => None,
        };
        self.progress.begin("sets", totals(replays).1 as u64);
        let mut are_deleted = true;
        for replay in replays {
            enqueue(&self.account.clients, queue, replay).await?;
            self.progress.steps(replay.sets.len() as u64);
            are_deleted &= self.delete_files(replay).await;
        }
        self.progress.finish();
        let then = match is_stopped {
            true => "they wait there until `invalidatorctl mode live`",
            false => "the function submits them",
        };
        let sets = count(totals(replays).1, "set");
        if let Format::Text = self.options.output {
            show_line(format_args!("{sets} in SubmitQueue; {then}"));
        }
        match watch {
            Some(watch) => Ok(self.wait(watch, replays, report).await? && are_deleted),
            None => Ok(!waits && are_deleted),
        }
    }

    async fn wait(
        &self,
        watch: Watch<'_>,
        replays: &[Replay],
        report: &mut Report,
    ) -> Result<bool> {
        let patience = Patience {
            is_for_edges: self.options.complete,
            timeout: Duration::from_secs(self.options.timeout),
        };
        let outcomes = watch.wait(patience, self.progress).await;
        self.progress.finish();
        let outcomes = outcomes.context("what was submitted goes on, but cannot be followed")?;
        if let Format::Text = self.options.output {
            let targets = replays.iter().zip(&outcomes);
            targets.for_each(|(replay, outcome)| show_outcome(replay, outcome));
        }
        let are_good = outcomes.iter().all(|it| it.is_good(patience));
        report.add(outcomes);
        Ok(are_good)
    }
}

fn show_outcome(replay: &Replay, outcome: &Outcome) {
    let Outcome {
        accepted,
        rejected,
        waiting,
        invalidations,
        completed,
        error_files,
    } = outcome;
    let Replay { target, alias, .. } = replay;
    show_line(format_args!(
        "{target} ({alias}): {} accepted, {rejected} rejected, {waiting} without an answer; {} of {} done at all edges",
        count(*accepted, "path"),
        completed,
        count(invalidations.len(), "invalidation"),
    ));
    for key in error_files {
        show_line(format_args!("  rejected again: {key}"));
    }
}

/// The mode that somebody chose for the stack of this error bucket. If it cannot be read, the replay goes
/// on: the function reads it too, and submits nothing while it is not live.
async fn mode_of(clients: &Clients, bucket: &str) -> Option<ChosenMode> {
    match read_mode(clients.s3(), bucket).await {
        Ok(chosen) => chosen,
        Err(error) => {
            warn(format_args!(
                "{error:#}; if the stack is not live, the sets wait"
            ));
            None
        }
    }
}

/// # Errors
/// In a dry run, and if this machine would submit for a stack that is stopped.
fn refuse_if_not_live(chosen: Option<&ChosenMode>, options: &Options) -> Result<()> {
    match chosen {
        Some(chosen) if chosen.mode == Mode::DryRun => bail!(
            "nothing was submitted: the mode is {chosen}. In a dry run nothing may be invalidated; \
             choose `invalidatorctl mode live` first"
        ),
        Some(chosen) if chosen.mode == Mode::Stopped && options.directly => bail!(
            "nothing was submitted: the mode is {chosen}. Choose `invalidatorctl mode live` first, or \
             replay without --directly: then the sets wait until the stack is live"
        ),
        _ => Ok(()),
    }
}

async fn enqueue(clients: &Clients, queue: &QueueUrl, replay: &Replay) -> Result<()> {
    let mut entries = Vec::new();
    for (id, set) in &replay.sets {
        let lane = set.paths.first().map_or(Lane::Paths, Lane::of);
        entries.push(Entry::of_set(set, lane.group(&set.target), id)?);
    }
    let queue_name = queue.as_str();
    let target = &replay.target;
    send(clients.sqs(), queue, entries).await.with_context(|| {
        format!("failed to put the sets of {target} into {queue_name}; run the same command again")
    })
}
