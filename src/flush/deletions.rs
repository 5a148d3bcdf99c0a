//! Deletes the messages whose work is done, beside everything else that a flush does: those of one round
//! are deleted while the next one is received.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::app::App;
use crate::queue::{BATCH, CALLS_AT_ONCE, delete_batch};

/// The memory that a receipt handle takes in addition to its text.
const HANDLE: usize = 48;

/// Takes the receipt handles of messages that may be deleted. When it is dropped, no more will come.
#[derive(Debug)]
pub struct Deleter {
    batches: UnboundedSender<Batch>,
    left: Arc<Left>,
}

/// Makes the calls. They go on for as long as this is polled.
#[derive(Debug)]
pub struct Deletions<'a> {
    app: &'a App,
    batches: UnboundedReceiver<Batch>,
    left: Arc<Left>,
}

/// The receipt handles of one call.
#[derive(Debug)]
struct Batch {
    handles: Vec<String>,
    bytes: usize,
}

/// What is not deleted yet.
#[derive(Debug, Default)]
struct Left {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// How long the slowest call took, in microseconds.
    slowest: AtomicU64,
    is_less: Notify,
}

/// A deleter, and what does its work.
pub fn deletions(app: &App) -> (Deleter, Deletions<'_>) {
    let (sender, batches) = unbounded_channel();
    let left = Arc::<Left>::default();
    let deleter = Deleter {
        batches: sender,
        left: Arc::clone(&left),
    };
    let deletions = Deletions { app, batches, left };
    (deleter, deletions)
}

impl Deleter {
    /// Lets messages be deleted. Those that cannot be deleted come back and are processed again, which costs
    /// a little and loses nothing.
    pub fn delete(&self, receipt_handles: impl IntoIterator<Item = String>) {
        let mut handles = receipt_handles.into_iter();
        loop {
            let handles: Vec<String> = handles.by_ref().take(BATCH).collect();
            if handles.is_empty() {
                return;
            }
            let bytes = handles.iter().map(|handle| handle.len() + HANDLE).sum();
            self.left.messages.fetch_add(handles.len(), Relaxed);
            self.left.bytes.fetch_add(bytes, Relaxed);
            if self.batches.send(Batch { handles, bytes }).is_err() {
                warn!(
                    stage = "flush",
                    "there is no time left to delete processed messages, so they come back"
                );
                return;
            }
        }
    }

    /// How many messages are not deleted yet.
    pub fn messages(&self) -> usize {
        self.left.messages.load(Relaxed)
    }

    /// The memory of their receipt handles.
    pub fn bytes(&self) -> usize {
        self.left.bytes.load(Relaxed)
    }

    /// Waits until their receipt handles take at most so many bytes.
    pub async fn wait_until(&self, bytes: usize) {
        while self.bytes() > bytes && !self.batches.is_closed() {
            self.left.is_less.notified().await;
        }
    }

    /// How long the slowest call took since this was last asked.
    pub fn take_slowest_call(&self) -> Duration {
        Duration::from_micros(self.left.slowest.swap(0, Relaxed))
    }
}

impl Deletions<'_> {
    /// Deletes until the deleter is dropped and all is done, or until `until`.
    pub async fn run(mut self, until: Instant) {
        let (app, left) = (self.app, &self.left);
        let batches = stream::poll_fn(|context| self.batches.poll_recv(context));
        let mut failed = 0;
        let all = batches
            .map(|batch| async move {
                let (sqs, queue) = (app.clients.lean_sqs(), &app.config.buffer_queue);
                let messages = batch.handles.len();
                let (failed, slowest) = delete_batch(sqs, queue, batch.handles).await;
                left.done(messages, batch.bytes, slowest);
                failed
            })
            .buffer_unordered(CALLS_AT_ONCE)
            .for_each(|of_batch| {
                failed += of_batch;
                std::future::ready(())
            });
        let in_time = timeout_at(until, all).await.is_ok();
        self.batches.close();
        self.left.is_less.notify_one();
        let messages = match in_time {
            true => failed,
            false => failed + self.left.messages.load(Relaxed),
        };
        if messages > 0 {
            warn!(
                stage = "flush",
                messages, "processed messages could not be deleted, so they come back"
            );
        }
    }
}

impl Left {
    fn done(&self, messages: usize, bytes: usize, slowest: Duration) {
        self.messages.fetch_sub(messages, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
        let slowest = u64::try_from(slowest.as_micros()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(slowest, Relaxed);
        self.is_less.notify_one();
    }
}
