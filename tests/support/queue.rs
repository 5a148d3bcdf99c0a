//! SQS queues, standard and FIFO, as pure state machines: time and randomness are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use strict_cloudfront::rate::TokenBucket;

/// FIFO queues remember a deduplication id for this long, even when its message is gone.
const DEDUPLICATION: Duration = Duration::from_secs(300);

/// How many calls of an action a FIFO queue takes in a second; a batch is one call.
const FIFO_CALLS: f64 = 300.0;

/// A standard queue with more messages than these is not looked through by each receive.
const MANY: usize = 1_000;

/// How a queue of the template is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub fifo: bool,
    pub delay: Duration,
    pub visibility: Duration,
    pub max_receives: u32,
    pub retention: Duration,
}

/// The probabilities of what a standard queue may do at any time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moods {
    /// A short poll returns nothing, or misses some of the waiting messages.
    pub short_poll_misses: f64,
    /// A long poll returns nothing although messages wait.
    pub long_poll_misses: f64,
    /// A receive returns at least one message, but fewer than it could.
    pub brings_few: f64,
    /// How many milliseconds it may take, at most, until a sent message can be received.
    pub arrives_late: u64,
    /// A received message is not hidden.
    pub comes_twice: f64,
    /// A deleted message comes again.
    pub survives_deletion: f64,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub body: String,
    pub receives: u32,
    pub sent: Duration,
    pub first_received: Duration,
    pub group: String,
    pub deduplication: String,
    visible_at: Duration,
    receipt: u32,
}

impl Message {
    pub fn receipt_handle(&self) -> String {
        format!("{}/{}", self.id, self.receipt)
    }
}

/// Received messages, and how often the queue's moods interfered.
#[derive(Debug, Default)]
pub struct Received {
    pub messages: Vec<Message>,
    pub not_hidden: u64,
    pub missed: u64,
}

pub struct Queue {
    pub name: &'static str,
    pub moods: Moods,
    pub dead: Vec<Message>,
    /// Messages that waited for longer than the retention.
    pub expired: Vec<Message>,
    settings: Settings,
    /// By their numbers, in the order in which they were sent.
    messages: BTreeMap<u64, Message>,
    remembered: BTreeMap<String, Duration>,
    calls: BTreeMap<String, TokenBucket>,
    count: u64,
}

impl Queue {
    pub fn new(name: &'static str, settings: Settings) -> Self {
        Self {
            name,
            moods: Moods::default(),
            dead: Vec::new(),
            expired: Vec::new(),
            settings,
            messages: BTreeMap::new(),
            remembered: BTreeMap::new(),
            calls: BTreeMap::new(),
            count: 0,
        }
    }

    pub fn is_fifo(&self) -> bool {
        self.settings.fifo
    }

    /// Whether it takes one more call of an action now, or throttles it.
    pub fn allows(&mut self, action: &str, now: Duration) -> bool {
        if !self.settings.fifo {
            return true;
        }
        let full = || TokenBucket::new(FIFO_CALLS, FIFO_CALLS);
        let tokens = self.calls.entry(action.to_owned()).or_insert_with(full);
        let allowed = tokens.has(1.0, now);
        if allowed {
            tokens.take(1.0);
        }
        allowed
    }

    /// All messages that are not deleted, visible or not.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.messages.values()
    }

    /// Accepts a message and returns its id. `None` if a FIFO queue drops it because it had one with
    /// this deduplication id.
    pub fn send(
        &mut self,
        body: &str,
        group: &str,
        deduplication: Option<&str>,
        delay: Duration,
        now: Duration,
        rng: &mut Rng,
    ) -> Option<String> {
        if let Some(id) = deduplication {
            self.remembered
                .retain(|_, since| now < *since + DEDUPLICATION);
            if self.remembered.contains_key(id) {
                return None;
            }
            self.remembered.insert(id.to_owned(), now);
        }
        self.count += 1;
        let late = Duration::from_millis(rng.u64(0..=self.moods.arrives_late));
        let id = format!("{}-{}", self.name, self.count);
        let message = Message {
            id: id.clone(),
            body: body.to_owned(),
            receives: 0,
            sent: now,
            first_received: Duration::ZERO,
            group: group.to_owned(),
            deduplication: deduplication.unwrap_or_default().to_owned(),
            visible_at: now + self.settings.delay.max(delay) + late,
            receipt: 0,
        };
        self.messages.insert(self.count, message);
        Some(id)
    }

    /// Sends a message and receives it at once, as if it had been alone in the queue. It is in a group of
    /// its own.
    pub fn deliver(&mut self, body: &str, now: Duration, rng: &mut Rng) -> Message {
        let group = format!("delivered-{}", self.count);
        self.send(body, &group, None, Duration::ZERO, now, rng);
        let message = self.messages.get_mut(&self.count);
        let message = message.expect("sent just now");
        message.receives = 1;
        message.receipt = 1;
        message.first_received = now;
        message.visible_at = now + self.settings.visibility;
        message.clone()
    }

    /// Lets so much time pass that all messages can be received.
    #[allow(dead_code)] // Only the tests of limits kill a function.
    pub fn show(&mut self) {
        let messages = self.messages.values_mut();
        messages.for_each(|message| message.visible_at = Duration::ZERO);
    }

    /// Takes all messages out, and forgets what was sent. Returns how many they were.
    #[allow(dead_code)] // Only the tests of limits send so much.
    pub fn forget(&mut self) -> usize {
        self.remembered.clear();
        std::mem::take(&mut self.messages).len()
    }

    /// Takes a message out, whatever became of it.
    pub fn withdraw(&mut self, id: &str) {
        self.messages.retain(|_, message| message.id != id);
    }

    /// When a message can next be received, if nothing else happens.
    pub fn next(&self, now: Duration) -> Option<Duration> {
        let locked = self.locked_groups(now);
        // A group is free again when its last message in flight is.
        self.messages()
            .map(|message| match locked.get(message.group.as_str()) {
                Some(free) if self.settings.fifo => message.visible_at.max(*free),
                _ => message.visible_at,
            })
            .min()
    }

    /// How many messages are in flight, and how many are delayed.
    #[allow(dead_code)] // Only the simulation asks.
    pub fn hidden(&self, now: Duration) -> (usize, usize) {
        let hidden = self.messages().filter(|it| it.visible_at > now);
        let (delayed, in_flight): (Vec<_>, Vec<_>) = hidden.partition(|it| it.receives == 0);
        (in_flight.len(), delayed.len())
    }

    /// The groups with a message in flight, and until when.
    fn locked_groups(&self, now: Duration) -> BTreeMap<String, Duration> {
        let mut locked: BTreeMap<String, Duration> = BTreeMap::new();
        if self.settings.fifo {
            for message in self.messages() {
                if message.receives > 0 && message.visible_at > now {
                    let until = locked.entry(message.group.clone()).or_default();
                    *until = message.visible_at.max(*until);
                }
            }
        }
        locked
    }

    pub fn receive(&mut self, most: usize, long: bool, now: Duration, rng: &mut Rng) -> Received {
        let mut received = Received::default();
        // Messages older than the retention are deleted, wherever they are.
        let retention = self.settings.retention;
        while let Some(oldest) = self.messages.first_entry()
            && now >= oldest.get().sent + retention
        {
            self.expired.push(oldest.remove());
        }
        let mut candidates = match self.settings.fifo || self.messages.len() <= MANY {
            true => self.candidates(now),
            false => self.candidates_of_many(most, now, rng),
        };
        let mut most = most;
        if !self.settings.fifo && candidates.len() > 1 && rng.f64() < self.moods.brings_few {
            most = rng.usize(1..=most.min(candidates.len()));
        }
        if !self.settings.fifo {
            rng.shuffle(&mut candidates);
            let misses = match long {
                true => self.moods.long_poll_misses,
                false => self.moods.short_poll_misses,
            };
            if !candidates.is_empty() && rng.f64() < misses {
                received.missed = 1;
                if long || rng.bool() {
                    candidates.clear();
                } else {
                    candidates.truncate(candidates.len().div_ceil(2));
                }
            }
        }
        candidates.truncate(most);
        let mut dead = BTreeSet::new();
        for index in candidates {
            let message = self.messages.get_mut(&index).expect("a candidate");
            if message.receives >= self.settings.max_receives {
                dead.insert(index);
                continue;
            }
            message.receives += 1;
            if message.receives == 1 {
                message.first_received = now;
            }
            message.receipt += 1;
            message.visible_at = now + self.settings.visibility;
            received.messages.push(message.clone());
            if !self.settings.fifo && rng.f64() < self.moods.comes_twice {
                message.visible_at = now + Duration::from_millis(rng.u64(0..5_000));
                received.not_hidden += 1;
            }
        }
        for index in dead.into_iter().rev() {
            self.dead.extend(self.messages.remove(&index));
        }
        received
    }

    /// The messages that may be received now. In a FIFO queue: of each group without a message in flight,
    /// all visible messages up to the first that is not.
    fn candidates(&self, now: Duration) -> Vec<u64> {
        let mut blocked: BTreeSet<String> = self.locked_groups(now).into_keys().collect();
        let mut candidates = Vec::new();
        for (&index, message) in &self.messages {
            if self.settings.fifo && blocked.contains(&message.group) {
                continue;
            }
            if message.visible_at <= now {
                candidates.push(index);
            } else {
                blocked.insert(message.group.clone());
            }
        }
        candidates
    }

    /// Some of the messages of a standard queue that may be received now: those that follow one of its
    /// messages.
    fn candidates_of_many(&self, most: usize, now: Duration, rng: &mut Rng) -> Vec<u64> {
        let start = rng.u64(1..=self.count);
        let messages = self.messages.range(start..);
        let messages = messages.chain(self.messages.range(..start));
        let visible = messages.filter(|(_, message)| message.visible_at <= now);
        visible.map(|(index, _)| *index).take(most).collect()
    }

    /// The message of a receipt handle, and whether the handle is its latest and still counts.
    fn find(&self, handle: &str, now: Duration) -> Option<(u64, bool)> {
        let (id, receipt) = handle.rsplit_once('/')?;
        let (_, number) = id.rsplit_once('-')?;
        let index = number.parse().ok()?;
        let message = self.messages.get(&index).filter(|it| it.id == id)?;
        let latest = message.receipt.to_string() == receipt;
        let counts = latest && (!self.settings.fifo || message.visible_at > now);
        Some((index, counts))
    }

    /// Deletes a message. Returns `Err` if a FIFO queue no longer knows the handle, `Ok(true)` if the
    /// message will come back although it was deleted.
    pub fn delete(&mut self, handle: &str, now: Duration, rng: &mut Rng) -> Result<bool, ()> {
        match self.find(handle, now) {
            None => Ok(false),
            Some((_, false)) if self.settings.fifo => Err(()),
            // "If you receive a message more than once .. use the most recent receipt handle": an
            // older one may or may not work.
            Some((_, false)) if rng.bool() => Ok(true),
            Some((index, _)) if !self.settings.fifo && rng.f64() < self.moods.survives_deletion => {
                let message = self.messages.get_mut(&index).expect("found");
                message.visible_at = now + Duration::from_millis(rng.u64(0..90_000));
                Ok(true)
            }
            Some((index, _)) => {
                self.messages.remove(&index);
                Ok(false)
            }
        }
    }

    /// Hides a message from now on for `time`.
    pub fn hide(&mut self, handle: &str, time: Duration, now: Duration) -> Result<(), ()> {
        match self.find(handle, now) {
            Some((index, true)) => {
                let message = self.messages.get_mut(&index).expect("found");
                message.visible_at = now + time;
                Ok(())
            }
            _ => Err(()),
        }
    }
}
