//! What an environment remembers about its last flush, to know why a tick came back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::SqsMessage;
use invalidator_core::retry::{FlushEnd, TickHistory};
use invalidator_core::tick::Window;

use crate::metrics::milliseconds;
use crate::queue::Received;

/// What an environment remembers about its last flush.
#[derive(Debug, Default)]
pub struct LastFlush(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// The id of the first tick of a flush that ended with work left.
    work_left: Option<String>,
    /// When a receive last failed.
    failed_receive: Option<SystemTime>,
    /// Since when flushes have failed with changes in the buffer, in milliseconds since 1970.
    waiting_since: Option<u64>,
    /// Until when changes are hidden in the buffer, because flushes have put them back with a delay.
    delayed_until: Option<SystemTime>,
    /// When a flush has last sent a tick for what it put back.
    ticked_again: Option<SystemTime>,
}

impl LastFlush {
    /// The history of these ticks: what is known about earlier flushes with them.
    pub fn history(&self, ticks: &[SqsMessage], now: SystemTime) -> TickHistory {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now_in_milliseconds = milliseconds(now);
        let age = |tick: &SqsMessage| {
            let first = tick.time("ApproximateFirstReceiveTimestamp");
            let first = first.unwrap_or(now_in_milliseconds);
            Duration::from_millis(now_in_milliseconds.saturating_sub(first))
        };
        let is_same = |id: &String| ticks.first().is_some_and(|tick| tick.id() == *id);
        TickHistory {
            receives: ticks.iter().map(Received::receive_count).max().unwrap_or(1),
            since_first_receive: ticks.iter().map(age).max().unwrap_or_default(),
            ended_with_work_left: memory.work_left.as_ref().is_some_and(is_same),
            since_failed_receive: memory
                .failed_receive
                .and_then(|at| now.duration_since(at).ok()),
        }
    }

    /// Remembers that something was put back into the buffer, and is hidden until then.
    pub fn has_delayed(&self, until: SystemTime) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.delayed_until = memory.delayed_until.max(Some(until));
    }

    /// Remembers that a tick for what was put back was sent then.
    pub fn has_ticked_again(&self, at: SystemTime) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.ticked_again = Some(at);
    }

    /// How long such a tick is still on its way, if one is: then no other is needed.
    pub fn tick_again_in(&self, now: SystemTime, debounce: Duration) -> Option<Duration> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // If the clock was set back, nobody knows.
        let since = now.duration_since(memory.ticked_again?).ok()?;
        debounce.checked_sub(since).filter(|it| !it.is_zero())
    }

    /// Until when something is hidden in the buffer, as far as this environment knows.
    pub fn delayed_until(&self, now: SystemTime) -> Option<SystemTime> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.delayed_until.filter(|until| *until >= now)
    }

    /// Remembers how the flush of these ticks ended. Returns, if it failed, at least how long the oldest
    /// change waits, in milliseconds: a tick was sent after its change, and ticks expire in an hour.
    pub fn ended(&self, end: FlushEnd, ticks: &[SqsMessage], now: SystemTime) -> Option<u64> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ticks.first().map(Received::id);
        memory.work_left = first.filter(|_| end == FlushEnd::WorkLeft);
        if end == FlushEnd::MayHaveHidden {
            memory.failed_receive = Some(now);
        }
        let of_changes = ticks.iter().filter(|tick| {
            let body = tick.body.as_deref().unwrap_or_default();
            !end.is_finished() && Window::is_body_of_tick(body)
        });
        let sent = of_changes.filter_map(|tick| tick.time("SentTimestamp"));
        let known = memory.waiting_since.filter(|_| !end.is_finished());
        memory.waiting_since = sent.chain(known).min();
        let now = milliseconds(now);
        memory.waiting_since.map(|since| now.saturating_sub(since))
    }
}
