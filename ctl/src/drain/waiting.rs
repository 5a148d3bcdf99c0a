//! How much waits in the queues.

use anyhow::Result;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use invalidator::app::App;
use invalidator::config::QueueUrl;
use serde::Serialize;

use crate::account::Account;
use crate::queue_numbers::numbers;
use crate::stack::Stack;

/// What waits in the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Messages of BufferQueue.
    pub changes: usize,
    /// Messages of SubmitQueue.
    pub sets: usize,
    /// Messages of IntakeQueue: events that have not reached BufferQueue.
    pub events: usize,
    /// Messages of FailedEventsQueue.
    pub failed_events: usize,
}

impl Waiting {
    /// Whether there is nothing to do here.
    pub fn is_drained(self) -> bool {
        self.changes + self.sets == 0
    }

    /// How many events have not reached the buffer. They are not drained.
    pub fn outside(self) -> usize {
        self.events + self.failed_events
    }
}

/// # Errors
/// If SQS does not say.
pub async fn waiting(account: &Account, stack: &Stack, app: &App) -> Result<Waiting> {
    Ok(Waiting {
        changes: all(account, &app.config.buffer_queue).await?,
        sets: all(account, &app.config.submit_queue).await?,
        events: of_output(account, stack, "IntakeQueueUrl").await?,
        failed_events: of_output(account, stack, "FailedEventsQueueUrl").await?,
    })
}

/// Of a queue that only a newer stack tells of.
async fn of_output(account: &Account, stack: &Stack, output: &str) -> Result<usize> {
    match stack.outputs().contains_key(output) {
        true => all(account, &stack.queue(output)?).await,
        false => Ok(0),
    }
}

async fn all(account: &Account, queue: &QueueUrl) -> Result<usize> {
    let names = [
        Attribute::ApproximateNumberOfMessages,
        Attribute::ApproximateNumberOfMessagesNotVisible,
        Attribute::ApproximateNumberOfMessagesDelayed,
    ];
    Ok(numbers(account, queue, names).await?.iter().sum())
}
