//! The calls on SQS: send, receive, delete, hide; and the attributes of a message that Lambda received.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use futures_util::stream::{self, StreamExt};
use invalidator_core::buffered::WaitingSet;
use invalidator_core::caller_reference::SetId;
use invalidator_core::event::BucketName;
use invalidator_core::retry;
use invalidator_core::service_error::ServiceError;
use invalidator_core::set::Set;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::aws::lean_sqs::{LeanSqs, Outgoing};
use crate::config::QueueUrl;

/// How many entries SQS accepts in one batch call.
pub const BATCH: usize = 10;

/// How many bytes the bodies of one batch call may have. SQS's limit is 1 MiB, and it counts more than
/// the bodies.
pub const BATCH_BYTES: usize = 1_000_000;

/// How many calls of one kind run at once: sends, or deletes, or receives by default.
pub const CALLS_AT_ONCE: usize = 32;

/// How many bytes of bodies may be in flight at once. It is a small limit because a body is in memory
/// several times while it is sent.
pub const BYTES_AT_ONCE: usize = 4 * BATCH_BYTES;

#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub body: String,
    /// For a FIFO queue: the message group and the deduplication id.
    pub fifo: Option<(String, String)>,
    /// How long the message is hidden at first. Not for a FIFO queue, whose delay is the same for all.
    pub delay: Duration,
}

impl Entry {
    pub fn of_body(body: String) -> Self {
        Self {
            body,
            ..Self::default()
        }
    }

    /// The message of a set in SubmitQueue.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    pub fn of_set(set: &Set<'_>, group: String, id: &SetId) -> Result<Self> {
        Ok(Self {
            body: set.to_json()?,
            fifo: Some((group, id.as_str().to_owned())),
            delay: Duration::ZERO,
        })
    }

    /// Wraps this message of SubmitQueue in a message of BufferQueue, from which the next flush sends it
    /// to SubmitQueue.
    ///
    /// # Errors
    /// If it is not a message of SubmitQueue.
    pub fn into_buffer(self) -> Result<Self> {
        self.wrapped(None, Duration::ZERO)
    }

    /// As [`Entry::into_buffer`], for wildcards that names in a bucket need, and that wait for their ration.
    ///
    /// # Errors
    /// If it is not a message of SubmitQueue.
    pub fn into_ration(self, bucket: BucketName, wait: Duration) -> Result<Self> {
        self.wrapped(Some(bucket), wait)
    }

    fn outgoing(&self) -> Outgoing<'_> {
        let seconds = self.delay.as_secs();
        let fifo = self.fifo.as_ref();
        Outgoing {
            message_body: &self.body,
            delay_seconds: (seconds > 0).then_some(seconds),
            message_group_id: fifo.map(|(group, _)| group.as_str()),
            message_deduplication_id: fifo.map(|(_, id)| id.as_str()),
        }
    }

    fn wrapped(self, bucket: Option<BucketName>, delay: Duration) -> Result<Self> {
        let (group, id) = self.fifo.context("a set without a message group")?;
        let body = self.body;
        let waiting = WaitingSet {
            group,
            id,
            body,
            bucket,
        };
        Ok(Self {
            delay,
            ..Self::of_body(waiting.to_json()?)
        })
    }
}

impl From<WaitingSet> for Entry {
    fn from(set: WaitingSet) -> Self {
        Self {
            body: set.body,
            fifo: Some((set.group, set.id)),
            delay: Duration::ZERO,
        }
    }
}

/// Divides entries into batch calls.
pub fn batches(entries: impl IntoIterator<Item = Entry>) -> impl Iterator<Item = Vec<Entry>> {
    let mut entries = entries.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = entries.next_if(|next: &Entry| {
            batch.is_empty() || (batch.len() < BATCH && bytes + next.body.len() <= BATCH_BYTES)
        }) {
            bytes += entry.body.len();
            batch.push(entry);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

/// How long an entry that SQS did not accept is sent again, though its call succeeded.
const TIME_TO_SEND: Duration = Duration::from_secs(10);

/// Sends messages. A call is made anew for entries that failed, but not after one that failed: the client has repeated
/// that.
///
/// # Errors
/// If SQS did not accept all of them. Those that it accepted stay in the queue.
pub async fn send(
    sqs: &LeanSqs,
    queue: &QueueUrl,
    entries: impl IntoIterator<Item = Entry>,
) -> Result<()> {
    let at_once = BYTES_AT_ONCE / BATCH_BYTES;
    let mut results = stream::iter(batches(entries))
        .map(|batch| send_whole(sqs, queue, batch))
        .buffer_unordered(at_once);
    while let Some(result) = results.next().await {
        result?;
    }
    Ok(())
}

/// Sends one batch, and repeats failed entries for a while.
async fn send_whole(sqs: &LeanSqs, queue: &QueueUrl, mut batch: Vec<Entry>) -> Result<()> {
    let until = Instant::now() + TIME_TO_SEND;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let (left, why) = send_batch(sqs, queue, batch).await?;
        let Some(why) = why else { return Ok(()) };
        let pause = retry::wait(attempts, fastrand::f64());
        if Instant::now() + pause >= until {
            let left = left.len();
            return Err(why).with_context(|| format!("{left} messages were not accepted"));
        }
        sleep(pause).await;
        batch = left;
    }
}

/// Sends one batch, and repeats failed entries until `until`. Returns the entries that SQS did not
/// accept.
pub async fn send_persistently(
    sqs: &LeanSqs,
    queue: &QueueUrl,
    mut batch: Vec<Entry>,
    until: Instant,
) -> Vec<Entry> {
    for attempts in 1.. {
        let sent = send_batch(sqs, queue, batch.clone()).await;
        let why = match sent {
            Ok((_, None)) => return Vec::new(),
            Ok((left, Some(why))) => {
                batch = left;
                why.into()
            }
            Err(error) => error,
        };
        let pause = retry::wait(attempts, fastrand::f64());
        let queue = queue.as_str();
        warn!(
            queue,
            messages = batch.len(),
            error = format!("{why:#}"),
            "messages could not be sent"
        );
        if Instant::now() + pause >= until {
            break;
        }
        sleep(pause).await;
    }
    batch
}

/// Makes one call. Returns the entries that failed, and why the first one did.
async fn send_batch(
    sqs: &LeanSqs,
    queue: &QueueUrl,
    batch: Vec<Entry>,
) -> Result<(Vec<Entry>, Option<ServiceError>)> {
    let failed = sqs.send_batch(queue, batch.iter().map(Entry::outgoing));
    // The call answers 200 even if entries failed.
    let mut failed = failed.await?;
    let batch = batch.into_iter().enumerate();
    let left = batch.filter(|(id, _)| failed.iter().any(|(failed, _)| failed == id));
    let left = left.map(|(_, entry)| entry).collect();
    let why = (!failed.is_empty()).then(|| failed.swap_remove(0).1);
    Ok((left, why))
}

/// Divides receipt handles into batch calls.
fn batches_of_handles(handles: Vec<String>) -> impl Iterator<Item = Vec<String>> {
    let mut handles = handles.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<String> = handles.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}

/// Deletes messages; returns how many could not be deleted. Those come back and are processed again,
/// which costs a little and loses nothing, so it is not an error.
pub async fn delete(sqs: &LeanSqs, queue: &QueueUrl, receipt_handles: Vec<String>) -> usize {
    stream::iter(batches_of_handles(receipt_handles))
        .map(|handles| delete_batch(sqs, queue, handles))
        .buffer_unordered(CALLS_AT_ONCE)
        .fold(0, |failed, (left, _)| async move { failed + left })
        .await
}

/// Deletes a batch, and repeats failed entries twice. Returns how many messages could not be deleted, and how
/// long the slowest call took.
pub async fn delete_batch(
    sqs: &LeanSqs,
    queue: &QueueUrl,
    handles: Vec<String>,
) -> (usize, Duration) {
    let mut left = handles;
    let mut slowest = Duration::ZERO;
    for attempts in 1..=3 {
        let start = Instant::now();
        match sqs.delete(queue, &left).await {
            Ok(failed) => {
                let failed = failed.into_iter();
                let failed =
                    failed.inspect(|(_, error)| warn!(%error, "a message could not be deleted"));
                left = failed.map(|(index, _)| left[index].clone()).collect();
            }
            Err(error) => warn!(%error, "messages could not be deleted"),
        }
        slowest = slowest.max(start.elapsed());
        if left.is_empty() || attempts == 3 {
            break;
        }
        sleep(retry::wait(attempts, fastrand::f64())).await;
    }
    (left.len(), slowest)
}

/// Hides messages from now on for `time`, in whole seconds. If that fails for a message, it comes back
/// after the queue's own visibility timeout.
pub async fn hide(sqs: &LeanSqs, queue: &QueueUrl, receipt_handles: Vec<String>, time: Duration) {
    let seconds = time.as_secs().max(1);
    stream::iter(batches_of_handles(receipt_handles))
        .for_each_concurrent(CALLS_AT_ONCE, |handles| async move {
            match sqs.hide(queue, &handles, seconds).await {
                Ok(failed) => failed.iter().for_each(|(_, error)| {
                    warn!(%error, "the visibility of a message could not be changed");
                }),
                Err(error) => warn!(%error, "the visibility of messages could not be changed"),
            }
        })
        .await;
}

/// The attributes of a message that Lambda received.
pub trait Received {
    /// How often the message was received, including this time.
    fn receive_count(&self) -> u32;
    /// A time in milliseconds since 1970, such as `SentTimestamp`.
    fn time(&self, attribute: &str) -> Option<u64>;
    /// Its receipt handle.
    fn handle(&self) -> String;
    fn id(&self) -> String;
}

impl Received for SqsMessage {
    fn receive_count(&self) -> u32 {
        let count = self.attributes.get("ApproximateReceiveCount");
        count.and_then(|count| count.parse().ok()).unwrap_or(1)
    }

    fn time(&self, attribute: &str) -> Option<u64> {
        self.attributes.get(attribute)?.parse().ok()
    }

    fn handle(&self) -> String {
        self.receipt_handle.clone().unwrap_or_default()
    }

    fn id(&self) -> String {
        self.message_id.clone().unwrap_or_default()
    }
}

/// The answer to an event source mapping: the messages with these ids come back.
pub fn failed(ids: impl IntoIterator<Item = String>) -> SqsBatchResponse {
    let failures = ids.into_iter().map(|id| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id;
        failure
    });
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures.collect();
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_at_most_ten_entries_and_a_megabyte() {
        let entry = |bytes: usize| Entry::of_body("x".repeat(bytes));
        let sizes = |entries: Vec<Entry>| -> Vec<usize> {
            batches(entries).map(|batch| batch.len()).collect()
        };
        assert_eq!(sizes(vec![]), [0; 0]);
        assert_eq!(sizes(vec![entry(1); 23]), [10, 10, 3]);
        assert_eq!(sizes(vec![entry(400_000); 5]), [2, 2, 1]);
        assert_eq!(sizes(vec![entry(1), entry(1_040_000), entry(1)]), [1, 1, 1]);
    }
}
