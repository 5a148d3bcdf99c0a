//! Receives what waits in BufferQueue.

use std::time::Duration;

use anyhow::Result;
use aws_sdk_sqs::types::Message;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tracing::{error, warn};

use super::TIME_TO_STOP;
use crate::buffer::message::unpack;
use crate::buffer::queue;
use crate::clock::Deadline;
use crate::event::EventTime;
use crate::handler::App;
use crate::plan::Changes;

/// A short poll asks some of SQS's servers and may come back empty with messages waiting; a long
/// poll asks all of them, and answers as soon as one has something.
const LONG_POLL: Duration = Duration::from_secs(1);
const SHORT_POLL: Duration = Duration::ZERO;

/// So many long polls in a row that come back empty say that nothing waits.
const CONFIRMING_POLLS: usize = 2;

/// Changes in one round. With what is made of them, so many fit well into 128 MB.
const MAX_CHANGES_AT_ONCE: usize = 50_000;

/// A message of BufferQueue, without its body.
#[derive(Debug)]
pub struct Buffered {
    /// Its id, the same however often it comes.
    pub id: String,
    /// What it is deleted with.
    pub receipt_handle: String,
    /// When the first of its changes happened, if their events tell.
    pub oldest: Option<EventTime>,
}

/// What was received.
#[derive(Debug, Default)]
pub struct Batch {
    /// The messages.
    pub messages: Vec<Buffered>,
    /// The changes in all of them, each with the index of its message.
    pub changes: Changes,
    /// Messages that could not be read. They stay, and so end in the dead-letter queue.
    pub unreadable: usize,
}

impl Batch {
    fn add(&mut self, messages: Vec<Message>) {
        for message in messages {
            match self.add_changes(message.body.as_deref().unwrap_or_default()) {
                Ok(oldest) => self.messages.push(Buffered {
                    id: message.message_id.unwrap_or_default(),
                    receipt_handle: message.receipt_handle.unwrap_or_default(),
                    oldest,
                }),
                Err(unreadable) => {
                    self.unreadable += 1;
                    error!(stage = "flush", message_id = message.message_id, %unreadable, "a buffered message cannot be read, so it stays");
                }
            }
        }
    }

    /// Adds the changes of a message; returns when the first of them happened.
    fn add_changes(&mut self, body: &str) -> Result<Option<EventTime>> {
        let source = u32::try_from(self.messages.len())?;
        let mut oldest = None;
        for change in unpack(body)? {
            self.changes.add(&change, source)?;
            oldest = [oldest, change.event_time].into_iter().flatten().min();
        }
        Ok(oldest)
    }

    /// Whether nothing was received at all.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.unreadable == 0
    }
}

/// Drains the buffer, batch by batch.
#[derive(Debug)]
pub struct Drain<'a> {
    app: &'a App,
    changes: usize,
}

impl<'a> Drain<'a> {
    /// A drain of the buffer that stops after `MAX_CHANGES_PER_FLUSH`.
    pub fn new(app: &'a App) -> Self {
        Self { app, changes: 0 }
    }

    /// What waits, or nothing, confirmed by [`CONFIRMING_POLLS`].
    ///
    /// # Errors
    /// If nothing could be received because a call failed.
    pub async fn next(&mut self) -> Result<Batch> {
        let mut batch = Batch::default();
        for _ in 0..CONFIRMING_POLLS {
            let first = self.receive(LONG_POLL).await?;
            if !first.is_empty() {
                self.receive_while_full(first, &mut batch).await;
                self.changes += batch.changes.len();
                break;
            }
        }
        Ok(batch)
    }

    /// As [`Drain::next`], or `None` if time or the limit of changes leaves no room for more.
    ///
    /// # Errors
    /// As [`Drain::next`].
    pub async fn next_within(&mut self, deadline: &Deadline) -> Result<Option<Batch>> {
        let no_time = deadline.remaining() < TIME_TO_STOP + LONG_POLL * 2;
        if no_time || self.changes >= self.app.config.max_changes_per_flush {
            return Ok(None);
        }
        self.next().await.map(Some)
    }

    /// Goes on receiving for as long as batches come back full, each time with twice as many
    /// receivers, up to `DRAIN_CONCURRENCY`.
    async fn receive_while_full(&self, first: Vec<Message>, batch: &mut Batch) {
        let room = self
            .app
            .config
            .max_changes_per_flush
            .saturating_sub(self.changes)
            .min(MAX_CHANGES_AT_ONCE);
        let mut receivers = FuturesUnordered::new();
        let mut most = 1;
        let mut received = first;
        loop {
            let is_full = received.len() == queue::BATCH;
            batch.add(received);
            if is_full && batch.changes.len() < room {
                most = (most * 2).min(self.app.config.drain_concurrency);
                while receivers.len() < most {
                    receivers.push(self.receive(SHORT_POLL));
                }
            }
            received = match receivers.next().await {
                Some(Ok(received)) => received,
                Some(Err(error)) => {
                    warn!(
                        stage = "flush",
                        error = format!("{error:#}"),
                        "a receive failed; what others brought is worked off"
                    );
                    Vec::new()
                }
                None => return,
            };
        }
    }

    async fn receive(&self, wait: Duration) -> Result<Vec<Message>> {
        queue::receive(self.app.clients.sqs(), &self.app.config.buffer_queue, wait).await
    }
}
