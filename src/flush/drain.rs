//! Receives the messages that wait in BufferQueue, up to one round.
//!
//! A receive may return few messages although many wait, so few messages prove nothing. The queue
//! counts as drained when a long poll returns no messages, or only messages that were sent after the
//! flush began. Those still have a tick to come, so steady traffic cannot keep a flush from ending.

use std::collections::BTreeSet;
use std::collections::hash_map::{HashMap, RandomState};
use std::hash::BuildHasher;
use std::time::Duration;

use anyhow::Result;
use futures_util::stream::{FuturesUnordered, StreamExt};
use invalidator_core::buffered::{Buffered as Unpacked, TargetScope, WaitingSet, unpack};
use invalidator_core::event::{BucketName, EventTime};
use invalidator_core::fence::Fence;
use invalidator_core::plan::{Changes, MessageIndex};
use invalidator_core::service_error::ServiceError;
use invalidator_core::target::DistributionId;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::ahead;
use super::deletions::Deleter;
use super::room::{
    BYTES, Room, USUAL_CALL, bytes_of_change, bytes_of_message, bytes_of_version_id,
};
use crate::app::App;
use crate::aws::lean_sqs::Message;
use crate::metrics::milliseconds;
use crate::queue::BATCH;

/// A short poll queries only some of SQS's servers, so it may return nothing although messages wait. A
/// long poll queries all of them, and returns as soon as one has a message.
const LONG_POLL: Duration = Duration::from_secs(1);
const SHORT_POLL: Duration = Duration::ZERO;

/// A message that was sent this long after the flush began has a tick that is still to come: see
/// [`invalidator_core::tick`]. The two seconds allow for clocks that differ.
const LATE: Duration = Duration::from_secs(2);

/// How many fences of one round are kept. Each is sent by a person or a script that waits.
const MAX_FENCES: usize = 20;

/// A message of BufferQueue, without its body.
#[derive(Debug)]
pub struct Buffered {
    /// Its id, the same each time it is received.
    pub id: String,
    /// Its receipt handle, with which it is deleted.
    pub receipt_handle: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: Option<u64>,
    /// When the first of its changes happened, if their events say so.
    pub oldest: Option<EventTime>,
    /// The part of the batch that it belongs to.
    pub part: Part,
}

/// A part of a batch. Parts are processed and deleted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Changes for the same targets, by their index in the batch.
    Scope(usize),
    /// Sets that could not be put into SubmitQueue before, or had to wait.
    Sets,
}

/// Changes for the same targets.
#[derive(Debug, Default)]
pub struct Scoped {
    /// The targets for which the changes are still to be planned; `None` means all.
    pub targets: Option<Vec<TargetScope>>,
    /// When the oldest of the changes was first received, or sent, in milliseconds since 1970.
    pub first_seen: Option<u64>,
    /// The largest number of flushes that have failed for these changes so far.
    pub attempts: u32,
    /// Whether only those of the keys are left that are default root objects.
    pub only_root_objects: bool,
    /// The changes, each with the index of its message.
    pub changes: Changes,
}

impl Scoped {
    /// When the oldest of the changes was first received, or sent; now, if that is not known.
    pub fn first_seen(&self, app: &App) -> u64 {
        let now = || milliseconds(app.clock.now());
        self.first_seen.unwrap_or_else(now)
    }
}

/// A message of BufferQueue that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its id, the same each time it is received.
    pub id: String,
    pub receipt_handle: String,
    pub body: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: Option<u64>,
    pub why: String,
}

/// A fence that was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub fence: Fence,
    /// The receipt handle of its message.
    pub receipt_handle: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: Option<u64>,
}

/// The messages received for one round.
#[derive(Debug, Default)]
pub struct Batch {
    pub messages: Vec<Buffered>,
    pub scopes: Vec<Scoped>,
    pub sets: Vec<WaitingSet>,
    pub unreadable: Vec<Unreadable>,
    /// They are not part of the work, and make no round smaller.
    pub fences: Vec<Held>,
    /// The places of the scopes, by the hashes of their targets.
    places: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
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
        self.messages.is_empty() && self.unreadable.is_empty()
    }

    /// Adds received messages. Returns whether any of them was sent before `late`.
    fn add(&mut self, messages: Vec<Message>, late: u64) -> bool {
        let bytes_before = self.bytes;
        let mut is_prompt = false;
        for message in messages {
            let Message {
                id,
                receipt_handle,
                body,
                sent,
                receives,
            } = message;
            is_prompt |= sent.is_none_or(|sent| sent <= late);
            if let Some(fence) = Fence::from_json(&body) {
                // Any more of them come back, after this flush.
                if self.fences.len() < MAX_FENCES {
                    self.fences.push(Held {
                        fence,
                        receipt_handle,
                        sent,
                    });
                }
                continue;
            }
            self.bytes += bytes_of_message(id.len(), receipt_handle.len());
            match self.add_body(&body, sent) {
                Ok((part, oldest)) => {
                    self.receives = self.receives.max(receives.unwrap_or(1));
                    self.messages.push(Buffered {
                        id,
                        receipt_handle,
                        sent,
                        oldest,
                        part,
                    });
                }
                Err(why) => {
                    self.bytes += body.len();
                    self.unreadable.push(Unreadable {
                        id,
                        receipt_handle,
                        body,
                        sent,
                        why: why.to_string(),
                    });
                }
            }
        }
        let received = self.bytes - bytes_before;
        self.largest_receive = self.largest_receive.max(received);
        is_prompt
    }

    /// The buckets of the first changes.
    fn first_buckets(&self) -> Vec<BucketName> {
        let buckets = self.scopes.iter().flat_map(|it| it.changes.buckets());
        let first: BTreeSet<&BucketName> = buckets.take(ahead::MOST_BUCKETS).collect();
        first.into_iter().cloned().collect()
    }

    /// Adds the content of a message. Returns its part of the batch, and when the first of its changes
    /// happened.
    fn add_body(&mut self, body: &str, sent: Option<u64>) -> Result<(Part, Option<EventTime>)> {
        let message = MessageIndex::new(self.messages.len());
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
        let only_root_objects = scope.as_ref().is_some_and(|it| it.only_root_objects);
        let index = self.scope(scope.map(|scope| scope.targets), only_root_objects);
        let mut oldest = None;
        let scoped = &mut self.scopes[index];
        scoped.first_seen = [scoped.first_seen, first_seen].into_iter().flatten().min();
        scoped.attempts = scoped.attempts.max(attempts);
        for change in changes {
            self.bytes += bytes_of_change(change.key.as_str().len());
            if let Some(id) = &change.version_id {
                self.bytes += bytes_of_version_id(id.as_str().len());
            }
            scoped.changes.add(&change, message)?;
            oldest = [oldest, change.event_time].into_iter().flatten().min();
        }
        Ok((Part::Scope(index), oldest))
    }

    /// The index of the changes for these targets, all of them or only default root objects.
    fn scope(&mut self, targets: Option<Vec<TargetScope>>, only_root_objects: bool) -> usize {
        let places = self.places.entry(self.hasher.hash_one(&targets));
        let places = places.or_default();
        let mut known = places.iter().copied();
        let known = known.find(|place| {
            let scope = &self.scopes[*place];
            scope.targets == targets && scope.only_root_objects == only_root_objects
        });
        known.unwrap_or_else(|| {
            self.scopes.push(Scoped {
                targets,
                only_root_objects,
                ..Scoped::default()
            });
            let place = self.scopes.len() - 1;
            places.push(place);
            place
        })
    }
}

/// Drains the buffer, round by round.
#[derive(Debug)]
pub struct Drain<'a> {
    app: &'a App,
    /// Deletes the messages of earlier rounds.
    deleter: &'a Deleter,
    /// Messages sent after this time, in milliseconds since 1970, have their own tick still to come.
    late: u64,
    began: u64,
    is_drained: bool,
    is_empty: bool,
    failures: usize,
    call: Duration,
    receive_until: Instant,
}

/// After this many failed receives, a flush leaves the rest to the next one.
const MAX_FAILURES: usize = 3;

impl<'a> Drain<'a> {
    pub fn new(app: &'a App, deleter: &'a Deleter) -> Self {
        Self {
            app,
            deleter,
            late: milliseconds(app.clock.now() + LATE),
            began: milliseconds(app.clock.now()),
            is_drained: false,
            is_empty: false,
            failures: 0,
            call: USUAL_CALL,
            receive_until: Instant::now(),
        }
    }

    /// Whether the queue is drained: all messages that still wait have a tick to come.
    pub fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Whether the last long poll returned no messages at all.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// When the flush began, in milliseconds since 1970.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// Whether a receive failed. SQS may have hidden messages even then, so the tick must come back.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether too many receives have failed to go on.
    pub fn is_broken(&self) -> bool {
        self.failures >= MAX_FAILURES
    }

    /// Sets how long calls are assumed to take from now on.
    pub fn learn(&mut self, call: Duration) {
        let call = call.max(self.deleter.take_slowest_call());
        self.call = call.max(Duration::from_millis(50));
    }

    /// Receives until the queue is drained, too many receives have failed, or the round is full: it has
    /// as much as can be processed in `time`, or `changes` changes.
    pub async fn round(&mut self, time: Duration, changes: usize) -> Batch {
        let (found, buckets) = oneshot::channel();
        let ahead = ahead::read(self.app, buckets);
        let (batch, ()) = tokio::join!(self.receive_round(time, changes, found), ahead);
        batch
    }

    /// The same. Tells `found` the first buckets.
    async fn receive_round(
        &mut self,
        time: Duration,
        changes: usize,
        found: oneshot::Sender<Vec<BucketName>>,
    ) -> Batch {
        let mut found = Some(found);
        // If deleting is slower than receiving, receipt handles must not fill the memory.
        let start = Instant::now();
        self.deleter.wait_until(BYTES / 2).await;
        let time = time.saturating_sub(start.elapsed());
        let room = Room::new(time, self.call, changes);
        // The rest of the time is for processing the messages.
        self.receive_until = Instant::now() + time / 4;
        let mut batch = Batch::default();
        let mut targets = Targets::default();
        for polls in 0.. {
            match self.receive(LONG_POLL).await {
                Ok(messages) => {
                    self.is_empty = messages.is_empty();
                    self.is_drained = !batch.add(messages, self.late);
                }
                Err(error) => self.fail(&error),
            }
            if self.is_drained || self.is_broken() {
                break;
            }
            if !batch.is_empty()
                && let Some(found) = found.take()
            {
                // Nobody may wait for them.
                let _ = found.send(batch.first_buckets());
            }
            // One receiver is enough for a single event; more of them start when there is more.
            if polls > 0 {
                self.receive_at_once(&room, &mut batch, &mut targets).await;
            }
            if self.is_broken() || self.space(&room, &batch, &mut targets).await == 0 {
                break;
            }
        }
        batch
    }

    /// Receives with a growing number of receivers, up to `DRAIN_CONCURRENCY`, until none of them finds
    /// messages or the round is full.
    async fn receive_at_once(&mut self, room: &Room, batch: &mut Batch, targets: &mut Targets) {
        let mut most = 2;
        let mut receivers = FuturesUnordered::new();
        let mut more = most;
        loop {
            let space = self.space(room, batch, targets).await;
            let wanted = more.min(space.saturating_sub(receivers.len()));
            for _ in 0..wanted {
                receivers.push(self.receive(SHORT_POLL));
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

    /// How many more receives fit into the round.
    async fn space(&self, room: &Room, batch: &Batch, targets: &mut Targets) -> usize {
        if Instant::now() >= self.receive_until {
            return 0;
        }
        let targets = targets.of(self.app, batch).await;
        let messages = batch.messages.len() + batch.unreadable.len() + self.deleter.messages();
        if !room.has_work_left(batch.len(), messages, targets) {
            return 0;
        }
        let left = room
            .bytes(batch.receives.max(1), self.deleter.bytes())
            .saturating_sub(batch.bytes);
        match left {
            0 => 0,
            left => (left / batch.largest_receive.max(1)).max(1),
        }
    }

    fn fail(&mut self, error: &ServiceError) {
        self.failures += 1;
        warn!(
            stage = "flush",
            %error,
            "a receive failed, so the tick comes back"
        );
    }

    /// There is no second attempt: a receive whose answer was lost has hidden messages, and the flush must know
    /// that.
    fn receive(
        &self,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, ServiceError>> + use<'a> {
        let app = self.app;
        let queue = &app.config.buffer_queue;
        async move { app.clients.lean_sqs().receive(queue, BATCH, wait).await }
    }
}

/// At most how many targets a batch concerns. Only buckets that are new are looked at.
#[derive(Debug, Default)]
struct Targets {
    /// How many buckets of each scope were looked at.
    seen: Vec<usize>,
    counted: BTreeSet<DistributionId>,
    count: usize,
}

impl Targets {
    async fn of(&mut self, app: &App, batch: &Batch) -> usize {
        self.seen.resize(batch.scopes.len(), 0);
        let of_scopes = self.seen.iter_mut().zip(&batch.scopes);
        let new = of_scopes.flat_map(|(seen, scoped)| {
            let buckets = scoped.changes.buckets();
            &buckets[std::mem::replace(seen, buckets.len())..]
        });
        let new: Vec<&BucketName> = new.collect();
        if !new.is_empty() {
            let aliases = &app.config.origin_buckets;
            let counted = &mut self.counted;
            self.count += app.catalog.targets_serving(new, aliases, counted).await;
        }
        self.count
    }
}
