//! Puts sets into SubmitQueue, from where the function submits them, unless the mode forbids it.

use anyhow::{Context, Result, bail};
use invalidator::aws::Clients;
use invalidator::config::QueueUrl;
use invalidator::mode::read_mode;
use invalidator::queue::{Entry, send};
use invalidator_core::mode::{ChosenMode, Mode};
use invalidator_core::set::Lane;

use super::Submission;
use crate::account::Account;
use crate::output::warn;
use crate::quote::Here;
use crate::stack::Stack;

/// What lets sets that wait go on.
const LIVE: &str = "invalidatorctl mode live";

/// Who calls CloudFront.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Function,
    /// This program.
    ThisMachine,
}

/// What the mode of a stack means for a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goes {
    /// The function submits it.
    On,
    /// It waits until the stack is live.
    Later,
}

/// Asks for the mode that somebody chose for the stack. If it cannot be read, the
/// submission goes on: the function reads it too, and submits nothing while it is not live.
///
/// # Errors
/// In a dry run, and if this machine would submit for a stack that is stopped.
pub async fn check_mode(account: &Account, stack: &Stack, by: By) -> Result<Goes> {
    let read = read_mode(account.clients.s3(), &stack.error_bucket).await;
    let chosen = match read {
        Ok(chosen) => chosen,
        Err(error) => {
            warn(format_args!(
                "{error:#}; if the stack is not live, the sets wait"
            ));
            None
        }
    };
    let is = |mode| {
        chosen
            .as_ref()
            .is_some_and(|it: &ChosenMode| it.mode == mode)
    };
    let chosen = chosen
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    let live = || stack.here(account).complete(LIVE);
    match by {
        _ if is(Mode::DryRun) => bail!(
            "nothing was submitted: the mode is {chosen}. In a dry run nothing may be invalidated; \
             choose `{}` first",
            live()
        ),
        By::ThisMachine if is(Mode::Stopped) => bail!(
            "nothing was submitted: the mode is {chosen}. Choose `{}` first, or replay without --directly: then \
             the sets wait until the stack is live",
            live()
        ),
        By::Function if is(Mode::Stopped) => Ok(Goes::Later),
        _ => Ok(Goes::On),
    }
}

/// Puts the sets of a target into the queue.
///
/// # Errors
/// If the queue does not accept all of them. Some may be there; the same command again sends the same ones.
pub async fn enqueue(clients: &Clients, queue: &QueueUrl, submission: &Submission) -> Result<()> {
    let mut entries = Vec::new();
    for (id, set) in &submission.sets {
        let lane = set.paths.first().map_or(Lane::Paths, Lane::of);
        entries.push(Entry::of_set(set, lane.group(&set.target), id)?);
    }
    let queue_name = queue.as_str();
    let target = &submission.target;
    send(clients.lean_sqs(), queue, entries)
        .await
        .with_context(|| {
            format!(
                "failed to put the sets of {target} into {queue_name}; run the same command again"
            )
        })
}

/// What happens to sets that are in the queue.
pub fn then(goes: Goes, here: &Here) -> String {
    match goes {
        Goes::Later => format!("they wait there until `{}`", here.complete(LIVE)),
        Goes::On => "the function submits them".to_owned(),
    }
}
