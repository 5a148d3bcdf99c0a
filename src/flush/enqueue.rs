//! Sends sets to SubmitQueue, several batches at once, while the next sets are made.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use crate::app::App;
use crate::queue::{BATCH, BATCH_BYTES, BYTES_AT_ONCE, CALLS_AT_ONCE, Entry, send_persistently};

pub struct Enqueuer<'a> {
    app: &'a App,
    until: Instant,
    /// The batch that is not full yet.
    batch: Vec<Entry>,
    batch_bytes: usize,
    sending: FuturesUnordered<Pin<Box<dyn Future<Output = Sent> + 'a>>>,
    bytes: usize,
    /// The sets that could not be sent.
    pub failed: Vec<Entry>,
    /// How many sets were sent.
    pub sets: usize,
    /// The slowest call.
    pub slowest: Duration,
}

struct Sent {
    bytes: usize,
    sets: usize,
    failed: Vec<Entry>,
    took: Duration,
}

impl<'a> Enqueuer<'a> {
    pub fn new(app: &'a App, until: Instant) -> Self {
        Self {
            app,
            until,
            batch: Vec::new(),
            batch_bytes: 0,
            sending: FuturesUnordered::new(),
            bytes: 0,
            failed: Vec::new(),
            sets: 0,
            slowest: Duration::ZERO,
        }
    }

    /// Adds a set. Sends the batch if it is full, and waits if too many batches are being sent.
    pub async fn add(&mut self, entry: Entry) {
        let is_full =
            self.batch.len() >= BATCH || self.batch_bytes + entry.body.len() > BATCH_BYTES;
        if is_full && !self.batch.is_empty() {
            self.send().await;
        }
        self.batch_bytes += entry.body.len();
        self.batch.push(entry);
    }

    /// Sends the last batch, and waits until all batches are sent.
    pub async fn finish(&mut self) {
        if !self.batch.is_empty() {
            self.send().await;
        }
        while !self.sending.is_empty() {
            self.wait_for_one().await;
        }
    }

    async fn send(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let bytes = std::mem::take(&mut self.batch_bytes);
        let is_too_much = |enqueuer: &Self| {
            enqueuer.sending.len() >= CALLS_AT_ONCE || enqueuer.bytes + bytes > BYTES_AT_ONCE
        };
        while !self.sending.is_empty() && is_too_much(self) {
            self.wait_for_one().await;
        }
        self.bytes += bytes;
        let (app, until) = (self.app, self.until);
        self.sending.push(Box::pin(async move {
            let start = Instant::now();
            let sent = batch.len();
            let queue = &app.config.submit_queue;
            let failed = send_persistently(app.clients.lean_sqs(), queue, batch, until).await;
            Sent {
                bytes,
                sets: sent - failed.len(),
                failed,
                took: start.elapsed(),
            }
        }));
    }

    async fn wait_for_one(&mut self) {
        if let Some(sent) = self.sending.next().await {
            self.bytes -= sent.bytes;
            self.sets += sent.sets;
            self.failed.extend(sent.failed);
            self.slowest = self.slowest.max(sent.took);
        }
    }
}
