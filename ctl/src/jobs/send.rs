//! Puts what is left of a job where it belongs: into SubmitQueue, or into schedules. After each batch the record says
//! what is left, so that a job that is cut off can be continued.

use anyhow::{Context, Result};
use invalidator::config::QueueUrl;
use invalidator::queue::{batches, send};
use time::OffsetDateTime;

use super::record::{self, Job, Message, State};
use crate::account::Account;
use crate::quote;
use crate::stack::Stack;
use crate::submission::schedules::{Schedules, Send, name};

/// How many schedules are made until the record is written.
const BATCH: usize = 10;

/// Where the sets of a job go.
pub enum Way<'a> {
    Queue(&'a QueueUrl),
    Schedules(&'a Schedules<'a>, OffsetDateTime),
}

impl Way<'_> {
    /// The state of a job of which nothing is left.
    fn done(&self) -> State {
        match self {
            Self::Queue(_) => State::Submitted,
            Self::Schedules(..) => State::Scheduled,
        }
    }

    /// Where the sets are then.
    pub fn place(&self) -> &'static str {
        match self {
            Self::Queue(_) => "in SubmitQueue",
            Self::Schedules(..) => "in a schedule",
        }
    }
}

/// Sends the sets that are left. The caller writes the record when this returns.
///
/// # Errors
/// That of the call that failed, with what to do. What is left then, the job knows.
pub async fn send_left(
    account: &Account,
    stack: &Stack,
    job: &mut Job,
    messages: &[Message],
    way: &Way<'_>,
) -> Result<()> {
    let mut sizes = match way {
        Way::Queue(_) => {
            let entries = job.left.iter().filter_map(|number| messages.get(*number));
            let entries: Vec<_> = entries.map(Message::entry).collect();
            batches(entries).map(|it| it.len()).collect()
        }
        Way::Schedules(..) => vec![BATCH; job.left.len().div_ceil(BATCH)],
    }
    .into_iter()
    .peekable();
    while let Some(size) = sizes.next() {
        let size = size.min(job.left.len());
        let batch = job.left.get(..size).unwrap_or_default();
        let sent = send_batch(account, job, batch, messages, way).await;
        sent.with_context(|| not_done(account, stack, job, way))?;
        job.left.drain(..size);
        if sizes.peek().is_some() {
            let written = record::write(account.clients.s3(), &stack.error_bucket, job).await;
            written.with_context(|| not_done(account, stack, job, way))?;
        }
    }
    job.result = way.done();
    Ok(())
}

async fn send_batch(
    account: &Account,
    job: &Job,
    batch: &[usize],
    messages: &[Message],
    way: &Way<'_>,
) -> Result<()> {
    let of_batch = batch
        .iter()
        .filter_map(|number| Some((*number, messages.get(*number)?)));
    match way {
        Way::Queue(queue) => {
            let entries: Vec<_> = of_batch.map(|(_, message)| message.entry()).collect();
            send(account.clients.lean_sqs(), queue, entries).await
        }
        Way::Schedules(schedules, due) => {
            for (number, message) in of_batch {
                let send = Send {
                    group: &message.group,
                    id: &message.id,
                    body: &message.body,
                };
                schedules.create(&name(&job.id, number), *due, send).await?;
            }
            Ok(())
        }
    }
}

fn not_done(account: &Account, stack: &Stack, job: &Job, way: &Way<'_>) -> String {
    format!(
        "{} of {} sets of job {} are not known to be {}. To continue it, and pay for nothing twice: {}",
        job.left.len(),
        job.sets,
        job.id,
        way.place(),
        resume(account, stack, &job.id)
    )
}

/// The command that continues a job.
pub fn resume(account: &Account, stack: &Stack, id: &str) -> String {
    let words = ["invalidatorctl", "jobs", "resume", id];
    stack.here(account).complete(&quote::command(words))
}
