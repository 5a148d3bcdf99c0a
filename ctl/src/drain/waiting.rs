//! How much waits in the queues.

use anyhow::Result;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use invalidator::app::App;
use invalidator::config::QueueUrl;
use serde::Serialize;

use crate::account::Account;
use crate::queue_numbers::numbers;

/// What waits in the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Messages of BufferQueue.
    pub changes: usize,
    /// Messages of SubmitQueue.
    pub sets: usize,
}

impl Waiting {
    pub const NOTHING: Self = Self {
        changes: 0,
        sets: 0,
    };
}

/// # Errors
/// If SQS does not say.
pub async fn waiting(account: &Account, app: &App) -> Result<Waiting> {
    Ok(Waiting {
        changes: all(account, &app.config.buffer_queue).await?,
        sets: all(account, &app.config.submit_queue).await?,
    })
}

async fn all(account: &Account, queue: &QueueUrl) -> Result<usize> {
    let names = [
        Attribute::ApproximateNumberOfMessages,
        Attribute::ApproximateNumberOfMessagesNotVisible,
        Attribute::ApproximateNumberOfMessagesDelayed,
    ];
    Ok(numbers(account, queue, names).await?.iter().sum())
}
