//! `invalidatorctl replay`: submits the paths of error files again, once their cause is fixed.
//!
//! * [`files`]: reads the files, and believes none
//! * [`sets`]: merges their paths into sets

mod files;
mod sets;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use invalidator::aws::Clients;
use invalidator::config::QueueUrl;
use invalidator::mode::read_mode;
use invalidator::queue::{Entry, send};
use invalidator::submit::answer::Answer;
use invalidator::submit::call::create_invalidation;
use invalidator::submit::unit::{Call, Means, Paces, Unit};
use invalidator_core::cost::amount::Of;
use invalidator_core::cost::price;
use invalidator_core::merge::Merge;
use invalidator_core::mode::{ChosenMode, Mode};
use invalidator_core::problems::Problems;
use invalidator_core::set::Lane;
use invalidator_core::text::Lines;

use crate::account;
use crate::confirm::confirm;
use crate::output::{error, show, show_line, tell, warn};
use crate::stack::{self, Stack};
use crate::usage::Usage;
use sets::{MAX_PATHS, Replay, replays};

/// Submit the paths of error files again.
///
/// The files must be as the function wrote them, for distributions of this account; otherwise nothing is
/// submitted. The paths are shown first, wildcards before all others.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl replay invalidation_error/20261121020304567891abcde01234_E2QWRUHAPOMQZL.txt
  invalidatorctl replay --bucket BUCKET --submit-queue URL KEY KEY   (as the mail says)")]
pub struct Options {
    /// The keys of the error files, as the mail lists them.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    stack: stack::Options,
    /// The stack's SubmitQueue, if its outputs cannot be read: the function submits the paths, at the
    /// pace that CloudFront allows.
    #[arg(long, value_name = "URL")]
    submit_queue: Option<QueueUrl>,
    /// Submit from this machine, without the function.
    #[arg(long, conflicts_with = "submit_queue")]
    directly: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find(&account, options.stack).await?;
    let queue = match options.directly {
        true => None,
        false => Some(queue_of(&stack, options.submit_queue)?),
    };
    let files = match files::read(&account, &stack.error_bucket, options.keys).await? {
        Ok(files) => files,
        Err(problems) => {
            tell_problems(&problems);
            return Ok(ExitCode::FAILURE);
        }
    };
    let replays = replays(files, &account.caller);
    show(&summary(&replays));
    let mode = mode_of(&account.clients, &stack.error_bucket).await;
    refuse_if_not_live(mode.as_ref(), options.directly)?;
    let (paths, sets) = totals(&replays);
    let question = format!("submit {} in {}?", count(paths, "path"), count(sets, "set"));
    if !options.yes && !confirm(&question)? {
        tell("nothing was submitted");
        return Ok(ExitCode::FAILURE);
    }
    let Some(queue) = queue else {
        let mut all_accepted = true;
        for replay in replays {
            all_accepted &= submit(&account.clients, replay).await;
        }
        return Ok(match all_accepted {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        });
    };
    enqueue(&account.clients, &queue, replays).await?;
    let then = match mode {
        Some(ChosenMode {
            mode: Mode::Stopped,
            ..
        }) => "they wait there until `invalidatorctl mode live`",
        _ => "the function submits them",
    };
    show_line(format_args!(
        "{} in SubmitQueue; {then}",
        count(sets, "set")
    ));
    Ok(ExitCode::SUCCESS)
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
        None => stack.submit_queue(),
    }
}

fn tell_problems(problems: &Problems<String>) {
    problems.first().iter().for_each(error);
    if problems.untold() > 0 {
        let files = count(problems.untold(), "more file");
        error(format_args!("{files} cannot be replayed"));
    }
    tell("nothing was submitted");
}

fn totals(replays: &[Replay]) -> (usize, usize) {
    let paths = replays.iter().map(|replay| replay.paths().count()).sum();
    (paths, replays.iter().map(|replay| replay.sets.len()).sum())
}

/// How many wildcards, and how many other paths, are shown of each target.
const MAX_SHOWN: usize = 10;

/// What would be submitted, wildcards first, the widest of them at the top.
fn summary(replays: &[Replay]) -> Lines {
    let mut lines = Lines::new();
    for replay in replays {
        let (mut wildcards, plain): (Vec<_>, Vec<_>) = replay
            .paths()
            .partition(|path| Lane::of(path) == Lane::Wildcards);
        wildcards.sort_by_key(|path| path.as_str().len());
        let of_them = match wildcards.len() {
            0 => String::new(),
            wildcards => format!(", of them {}", count(wildcards, "wildcard")),
        };
        let paths = count(wildcards.len() + plain.len(), "path");
        let files = count(replay.keys.len(), "file");
        let Replay { target, alias, .. } = replay;
        lines.line(format_args!(
            "{target} ({alias}): {paths} of {files}{of_them}"
        ));
        let what = match target.tenant {
            None => "distribution",
            Some(_) => "tenant",
        };
        for path in wildcards.iter().take(MAX_SHOWN) {
            match path.as_str() {
                "/*" => lines.line(format_args!("  {path} (the whole {what})")),
                _ => lines.line(format_args!("  {path}")),
            }
        }
        add_more(&mut lines, wildcards.len(), "more wildcard");
        for path in plain.iter().take(MAX_SHOWN) {
            lines.line(format_args!("  {path}"));
        }
        add_more(&mut lines, plain.len(), "more path");
    }
    let (paths, sets) = totals(replays);
    lines.line(format_args!(
        "in all {} for {} in {}, at most {}",
        count(paths, "path"),
        count(replays.len(), "target"),
        count(sets, "set"),
        price::PATH.amount.times(paths as u64)
    ));
    lines
}

fn add_more(lines: &mut Lines, all: usize, noun: &'static str) {
    if all > MAX_SHOWN {
        lines.line(format_args!("  and {}", count(all - MAX_SHOWN, noun)));
    }
}

fn count(number: usize, noun: &'static str) -> Of {
    Of(number as u64, noun)
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
fn refuse_if_not_live(chosen: Option<&ChosenMode>, directly: bool) -> Result<()> {
    match chosen {
        Some(chosen) if chosen.mode == Mode::DryRun => bail!(
            "nothing was submitted: the mode is {chosen}. In a dry run nothing may be invalidated; \
             choose `invalidatorctl mode live` first"
        ),
        Some(chosen) if chosen.mode == Mode::Stopped && directly => bail!(
            "nothing was submitted: the mode is {chosen}. Choose `invalidatorctl mode live` first, or \
             replay without --directly: then the sets wait until the stack is live"
        ),
        _ => Ok(()),
    }
}

async fn enqueue(clients: &Clients, queue: &QueueUrl, replays: Vec<Replay>) -> Result<()> {
    let mut entries = Vec::new();
    for (id, set) in replays.into_iter().flat_map(|replay| replay.sets) {
        let lane = set.paths.first().map_or(Lane::Paths, Lane::of);
        entries.push(Entry::of_set(&set, lane.group(&set.target), &id)?);
    }
    let queue_name = queue.as_str();
    send(clients.sqs(), queue, entries)
        .await
        .with_context(|| format!("failed to put sets into {queue_name}; replay again"))
}

/// Submits the sets of a target from this machine. Whether CloudFront accepted all of them.
async fn submit(clients: &Clients, replay: Replay) -> bool {
    const A_DAY: Duration = Duration::from_secs(24 * 3_600);
    let target = &replay.target;
    let means = Means {
        call: async |merge: &Merge<'static>, call: &Call| -> Answer {
            let paths: Vec<_> = call.paths.iter().map(|index| merge.path(*index)).collect();
            create_invalidation(clients.cloudfront(), target, &paths, &call.reference).await
        },
        remaining: || A_DAY,
    };
    let mut paces = Paces::new(MAX_PATHS);
    let mut are_accepted = true;
    for (id, set) in replay.sets {
        paces.begin();
        let cause = set.cause();
        let mut unit = Unit::new(target, Merge::new(vec![set.paths]), vec![id], cause);
        unit.submit(None, &mut paces, &means).await;
        for accepted in &unit.accepted {
            show_line(format_args!(
                "{target}: invalidation {} of {}",
                accepted.invalidation_id,
                count(accepted.paths, "path")
            ));
        }
        for (reason, paths) in unit.merge.rejected() {
            error(format_args!(
                "{target}: {} rejected: {reason}",
                count(paths.len(), "path")
            ));
        }
        are_accepted &= unit.merge.rejected().is_empty() && unit.merge.waiting().is_empty();
    }
    are_accepted
}
