//! The calls on BufferQueue and TickQueue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    SendMessageBatchRequestEntry,
};
use futures_util::stream::{self, StreamExt};
use tracing::warn;

use super::tick::Window;
use crate::config::QueueUrl;
use crate::submit::describe;

/// What one batch call of SQS takes.
pub const BATCH: usize = 10;

/// Batch calls at once.
const CONCURRENCY: usize = 4;

/// The message group of all ticks: one flush at a time.
const TICK_GROUP: &str = "flush";

/// Sends message bodies to a queue.
///
/// # Errors
/// If any of them was not taken. Those that were stay: a change that comes twice does no harm.
pub async fn send(sqs: &Client, queue: &QueueUrl, bodies: Vec<String>) -> Result<()> {
    let mut results = stream::iter(batches(bodies))
        .map(|bodies| send_batch(sqs, queue, bodies))
        .buffer_unordered(CONCURRENCY);
    while let Some(result) = results.next().await {
        result?;
    }
    Ok(())
}

/// Cuts bodies or receipt handles into what one batch call takes.
fn batches(texts: Vec<String>) -> impl Iterator<Item = Vec<String>> {
    let mut texts = texts.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<String> = texts.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}

async fn send_batch(sqs: &Client, queue: &QueueUrl, bodies: Vec<String>) -> Result<()> {
    let mut entries = Vec::with_capacity(bodies.len());
    for (id, body) in bodies.into_iter().enumerate() {
        entries.push(
            SendMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .message_body(body)
                .build()?,
        );
    }
    let answer = sqs
        .send_message_batch()
        .queue_url(queue.as_str())
        .set_entries(Some(entries))
        .send()
        .await
        .context("failed to buffer changes: SendMessageBatch")?;
    // The call answers 200 even if entries failed.
    if let Some(failed) = answer.failed().first() {
        bail!(
            "failed to buffer changes: {} of the entries of SendMessageBatch, the first with {}: {}",
            answer.failed().len(),
            failed.code(),
            failed.message().unwrap_or("no message"),
        );
    }
    Ok(())
}

/// Receives up to ten messages, waiting up to `wait` (whole seconds) for the first.
///
/// # Errors
/// If the call fails.
pub async fn receive(sqs: &Client, queue: &QueueUrl, wait: Duration) -> Result<Vec<Message>> {
    let answer = sqs
        .receive_message()
        .queue_url(queue.as_str())
        .max_number_of_messages(10)
        .wait_time_seconds(i32::try_from(wait.as_secs()).unwrap_or(20))
        .send()
        .await
        .context("failed to receive buffered changes: ReceiveMessage")?;
    Ok(answer.messages.unwrap_or_default())
}

/// Deletes messages; returns how many could not be. Those come again, and are worked off again:
/// that costs a little and loses nothing, so it is no error.
pub async fn delete(sqs: &Client, queue: &QueueUrl, receipt_handles: Vec<String>) -> usize {
    stream::iter(batches(receipt_handles))
        .map(|handles| async move {
            let failed = delete_batch(sqs, queue, handles).await;
            if failed.is_empty() {
                failed
            } else {
                delete_batch(sqs, queue, failed).await
            }
        })
        .buffer_unordered(CONCURRENCY)
        .fold(0, |failed, handles| async move { failed + handles.len() })
        .await
}

/// Returns the handles that could not be deleted.
async fn delete_batch(sqs: &Client, queue: &QueueUrl, handles: Vec<String>) -> Vec<String> {
    let entry = |(id, handle): (usize, &String)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(id.to_string())
            .receipt_handle(handle)
            .build()
    };
    // Both fields of each entry are set.
    let entries = handles
        .iter()
        .enumerate()
        .map(entry)
        .filter_map(Result::ok)
        .collect();
    let call = sqs
        .delete_message_batch()
        .queue_url(queue.as_str())
        .set_entries(Some(entries));
    match call.send().await {
        Ok(answer) => {
            let failed = answer.failed().iter().inspect(|failed| {
                warn!(
                    code = failed.code(),
                    reason = failed.message(),
                    "a message could not be deleted"
                );
            });
            failed
                .filter_map(|failed| handles.get(failed.id().parse::<usize>().ok()?).cloned())
                .collect()
        }
        Err(error) => {
            warn!(error = %describe(&error), "messages could not be deleted");
            handles
        }
    }
}

/// How long a message that could not be worked off is hidden: for as long as the first tick that
/// comes back, so that the flush at hand does not receive it again and again.
pub const RELEASE_AFTER: Duration = Duration::from_secs(30);

/// Lets messages come again after [`RELEASE_AFTER`]. Those of which it fails come again when the
/// queue's visibility timeout is over.
pub async fn release(sqs: &Client, queue: &QueueUrl, receipt_handles: Vec<String>) {
    let seconds = i32::try_from(RELEASE_AFTER.as_secs()).unwrap_or(i32::MAX);
    stream::iter(batches(receipt_handles))
        .for_each_concurrent(CONCURRENCY, |handles| async move {
            let entry = |(id, handle): (usize, String)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id.to_string());
                entry
                    .receipt_handle(handle)
                    .visibility_timeout(seconds)
                    .build()
            };
            // Both required fields of each entry are set.
            let entries = handles
                .into_iter()
                .enumerate()
                .map(entry)
                .filter_map(Result::ok)
                .collect();
            let call = sqs
                .change_message_visibility_batch()
                .queue_url(queue.as_str())
                .set_entries(Some(entries));
            match call.send().await {
                Ok(answer) => answer.failed().iter().for_each(|failed| {
                    warn!(
                        code = failed.code(),
                        reason = failed.message(),
                        "a message could not be released"
                    );
                }),
                Err(error) => {
                    warn!(error = %describe(&error), "messages could not be released")
                }
            }
        })
        .await;
}

/// Asks for ticks, one a window.
#[derive(Debug, Default)]
pub struct Ticker {
    /// One more than the last window whose tick this environment has sent.
    sent: AtomicU64,
}

impl Ticker {
    /// Sends the tick of the window that holds `now`, unless this environment has sent it before.
    /// Returns whether it was sent.
    ///
    /// To be called after the changes were buffered, with the time after that: see [`super::tick`].
    ///
    /// # Errors
    /// If the tick could not be sent.
    pub async fn tick(
        &self,
        sqs: &Client,
        queue: &QueueUrl,
        now: SystemTime,
        debounce: Duration,
    ) -> Result<bool> {
        let window = Window::at(now, debounce);
        if self.sent.load(Ordering::Relaxed) == window.number() + 1 {
            return Ok(false);
        }
        sqs.send_message()
            .queue_url(queue.as_str())
            .message_group_id(TICK_GROUP)
            .message_deduplication_id(window.deduplication_id())
            .message_body(window.deduplication_id())
            .send()
            .await
            .context("failed to ask for a flush: SendMessage to the tick queue")?;
        self.sent.store(window.number() + 1, Ordering::Relaxed);
        Ok(true)
    }
}
