//! Receives what waits in BufferQueue, up to one round.
//!
//! SQS returns one to ten messages as it likes, with more waiting. So a receive that brings few proves
//! nothing: the queue counts as drained when a long poll brings nothing, or only messages that were
//! sent after the flush began. The tick of those is still to come, so steady traffic cannot hold a
//! flush.

use std::time::Duration;

use anyhow::{Result, bail};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use futures_util::stream::{FuturesUnordered, StreamExt};
use invalidator_core::buffered::{Buffered as Unpacked, TargetScope, WaitingSet, unpack};
use invalidator_core::event::EventTime;
use invalidator_core::plan::Changes;
use tokio::time::Instant;
use tracing::{error, warn};

use super::room::{Room, USUAL_CALL, bytes_of_change, bytes_of_message};
use crate::app::App;
use crate::metrics::milliseconds;
use crate::queue;

/// A short poll asks some of SQS's servers and may come back empty with messages waiting; a long
/// poll asks all of them, and answers as soon as one has something.
const LONG_POLL: Duration = Duration::from_secs(1);
const SHORT_POLL: Duration = Duration::ZERO;

/// A message that was sent so long after the flush began has a tick that is still to come: see
/// [`invalidator_core::tick`]. The time is for clocks that differ.
const LATE: Duration = Duration::from_secs(2);

/// A message of BufferQueue, without its body.
#[derive(Debug)]
pub struct Buffered {
    /// Its id, the same however often it comes.
    pub id: String,
    /// What it is deleted with.
    pub receipt_handle: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: Option<u64>,
    /// When the first of its changes happened, if their events tell.
    pub oldest: Option<EventTime>,
    /// Which part of the batch it belongs to.
    pub part: Part,
}

/// A part of a batch, which is processed and deleted for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Changes for the same targets, by their index in the batch.
    Scope(usize),
    /// Sets that could not be put into SubmitQueue before.
    Sets,
}

/// Changes for the same targets.
#[derive(Debug, Default)]
pub struct Scoped {
    /// The targets that the changes still have to reach; `None`: all.
    pub targets: Option<Vec<TargetScope>>,
    /// When the oldest of the changes was first received, or sent, in milliseconds since 1970.
    pub first_seen: Option<u64>,
    /// How many flushes could not reach the targets so far, at most.
    pub attempts: u32,
    /// The changes, each with the index of its message.
    pub changes: Changes,
}

/// What was received.
#[derive(Debug, Default)]
pub struct Batch {
    pub messages: Vec<Buffered>,
    pub scopes: Vec<Scoped>,
    pub sets: Vec<WaitingSet>,
    /// Messages that could not be read. They stay, and so end in the dead-letter queue.
    pub unreadable: usize,
    bytes: usize,
    receives: u32,
    largest_receive: usize,
}

impl Batch {
    /// How many changes it has.
    pub fn len(&self) -> usize {
        self.scopes.iter().map(|it| it.changes.len()).sum()
    }

    /// Whether nothing was received at all.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.unreadable == 0
    }

    /// Adds what a receive brought. Returns whether any of it was sent before `late`.
    fn add(&mut self, messages: Vec<Message>, late: u64) -> bool {
        let bytes_before = self.bytes;
        let mut is_prompt = false;
        for message in messages {
            let attribute = |name| {
                let attributes = message.attributes.as_ref();
                attributes?.get(&name)?.parse::<u64>().ok()
            };
            let sent = attribute(MessageSystemAttributeName::SentTimestamp);
            let receives = attribute(MessageSystemAttributeName::ApproximateReceiveCount);
            is_prompt |= sent.is_none_or(|sent| sent <= late);
            match self.add_body(message.body.as_deref().unwrap_or_default(), sent) {
                Ok((part, oldest)) => {
                    let receives = receives.and_then(|count| u32::try_from(count).ok());
                    self.receives = self.receives.max(receives.unwrap_or(1));
                    let id = message.message_id.unwrap_or_default();
                    let receipt_handle = message.receipt_handle.unwrap_or_default();
                    self.bytes += bytes_of_message(id.len(), receipt_handle.len());
                    self.messages.push(Buffered {
                        id,
                        receipt_handle,
                        sent,
                        oldest,
                        part,
                    });
                }
                Err(unreadable) => {
                    self.unreadable += 1;
                    error!(stage = "flush", message_id = message.message_id, %unreadable, "a buffered message cannot be read, so it stays");
                }
            }
        }
        let received = self.bytes - bytes_before;
        self.largest_receive = self.largest_receive.max(received);
        is_prompt
    }

    /// Adds what a message holds; returns which part of the batch that is, and when the first of its
    /// changes happened.
    fn add_body(&mut self, body: &str, sent: Option<u64>) -> Result<(Part, Option<EventTime>)> {
        let source = u32::try_from(self.messages.len())?;
        let (scope, changes) = match unpack(body)? {
            Unpacked::Changes { scope, changes } => (scope, changes),
            Unpacked::Set(set) => {
                self.bytes += body.len();
                self.sets.push(set);
                return Ok((Part::Sets, None));
            }
        };
        if scope.is_some() {
            self.bytes += body.len();
        }
        let (first_seen, attempts) = match &scope {
            Some(scope) => (Some(scope.first_seen), scope.attempts),
            None => (sent, 0),
        };
        let index = self.scope(scope.map(|scope| scope.targets));
        let mut oldest = None;
        let Some(scoped) = self.scopes.get_mut(index) else {
            bail!("a scope has no place");
        };
        scoped.first_seen = [scoped.first_seen, first_seen].into_iter().flatten().min();
        scoped.attempts = scoped.attempts.max(attempts);
        for change in changes {
            self.bytes += bytes_of_change(change.key.as_str().len());
            scoped.changes.add(&change, source)?;
            oldest = [oldest, change.event_time].into_iter().flatten().min();
        }
        Ok((Part::Scope(index), oldest))
    }

    /// The place of the changes for these targets.
    fn scope(&mut self, targets: Option<Vec<TargetScope>>) -> usize {
        let known = self.scopes.iter().position(|it| it.targets == targets);
        known.unwrap_or_else(|| {
            self.scopes.push(Scoped {
                targets,
                ..Scoped::default()
            });
            self.scopes.len() - 1
        })
    }
}

/// Drains the buffer, round by round.
#[derive(Debug)]
pub struct Drain<'a> {
    app: &'a App,
    /// Messages sent after this time, in milliseconds since 1970, are left to their own tick.
    late: u64,
    is_drained: bool,
    failures: usize,
    call: Duration,
    receive_until: Instant,
}

/// After so many receives that failed, a flush leaves the rest to the next one.
const MAX_FAILURES: usize = 3;

impl<'a> Drain<'a> {
    pub fn new(app: &'a App) -> Self {
        Self {
            app,
            late: milliseconds(app.clock.now() + LATE),
            is_drained: false,
            failures: 0,
            call: USUAL_CALL,
            receive_until: Instant::now(),
        }
    }

    /// Whether nothing waits any more, but for what has a tick that is still to come.
    pub fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Whether a receive failed. SQS may have hidden messages all the same, so the tick must come back.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether receives fail again and again.
    pub fn is_broken(&self) -> bool {
        self.failures >= MAX_FAILURES
    }

    /// From now on calls are assumed to take as long as this.
    pub fn learn(&mut self, call: Duration) {
        self.call = call.max(Duration::from_millis(50));
    }

    /// Receives until the queue is drained, or receives fail again and again, or the round has what can be processed
    /// in `time`, at most `changes`.
    pub async fn round(&mut self, time: Duration, changes: usize) -> Batch {
        let room = Room::new(time, self.call, changes);
        // The rest of the time is for what was received.
        self.receive_until = Instant::now() + time / 4;
        let mut batch = Batch::default();
        let mut targets = Targets::default();
        for polls in 0.. {
            match self.receive(LONG_POLL).await {
                Ok(messages) => {
                    self.is_drained = !batch.add(messages, self.late);
                }
                Err(error) => self.fail(&error),
            }
            if self.is_drained || self.is_broken() {
                break;
            }
            // One receiver for what a single event makes; more as soon as there is more.
            if polls > 0 {
                self.receive_at_once(&room, &mut batch, &mut targets).await;
            }
            if self.is_broken() || self.space(&room, &batch, &mut targets).await == 0 {
                break;
            }
        }
        batch
    }

    /// Receives with more and more receivers, up to `DRAIN_CONCURRENCY`, until each has found nothing
    /// or the round is full.
    async fn receive_at_once(&mut self, room: &Room, batch: &mut Batch, targets: &mut Targets) {
        let mut most = 2;
        let mut receivers = FuturesUnordered::new();
        let mut more = most;
        loop {
            let space = self.space(room, batch, targets).await;
            let wanted = more.min(space.saturating_sub(receivers.len()));
            for _ in 0..wanted {
                receivers.push(queue::receive(
                    self.app.clients.sqs(),
                    &self.app.config.buffer_queue,
                    SHORT_POLL,
                ));
            }
            more = 0;
            match receivers.next().await {
                Some(Ok(messages)) => {
                    if !messages.is_empty() && batch.add(messages, self.late) && !self.is_broken() {
                        most = (most * 2).min(self.app.config.drain_concurrency);
                        more = most.saturating_sub(receivers.len());
                    }
                }
                Some(Err(error)) => self.fail(&error),
                None => return,
            }
        }
    }

    /// How many receives there is room for.
    async fn space(&self, room: &Room, batch: &Batch, targets: &mut Targets) -> usize {
        if Instant::now() >= self.receive_until {
            return 0;
        }
        let told = targets.of(self.app, batch).await;
        if !room.has_work_left(batch.len(), batch.messages.len(), told) {
            return 0;
        }
        let left = room
            .bytes(batch.receives.max(1))
            .saturating_sub(batch.bytes);
        match left {
            0 => 0,
            left => (left / batch.largest_receive.max(1)).max(1),
        }
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.failures += 1;
        warn!(
            stage = "flush",
            error = format!("{error:#}"),
            "a receive failed, so the tick comes back"
        );
    }

    async fn receive(&self, wait: Duration) -> Result<Vec<Message>> {
        queue::receive(self.app.clients.sqs(), &self.app.config.buffer_queue, wait).await
    }
}

/// How many targets have to be told of a batch, at most. Counted again when a bucket is new.
#[derive(Debug, Default)]
struct Targets {
    buckets: usize,
    count: usize,
}

impl Targets {
    async fn of(&mut self, app: &App, batch: &Batch) -> usize {
        let all = || batch.scopes.iter().map(|it| it.changes.buckets());
        let buckets: usize = all().map(<[_]>::len).sum();
        if buckets != self.buckets {
            self.buckets = buckets;
            let all: Vec<_> = all().flat_map(<[_]>::to_vec).collect();
            let aliases = &app.config.origin_buckets;
            self.count = app.catalog.targets_serving(&all, aliases).await;
        }
        self.count
    }
}
