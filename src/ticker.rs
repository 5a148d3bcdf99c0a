//! Sends ticks, which start flushes: one for each window.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use invalidator_core::service_error::Meaning;
use invalidator_core::tick::Window;
use tokio::time::{Instant, sleep};

use crate::aws::lean_sqs::{Failure, LeanSqs, Outgoing};
use crate::config::QueueUrl;
use crate::metrics::milliseconds;

/// How long a throttled tick is repeated. The changes are safe already, every other environment sends
/// the same tick, and the sweep flushes what no tick flushed.
const TIME_FOR_A_TICK: Duration = Duration::from_secs(5);

/// The message group of all ticks. As there is only one, one flush runs at a time.
pub const TICK_GROUP: &str = "flush";

/// Sends ticks, one for each window.
#[derive(Debug, Default)]
pub struct Ticker {
    /// The number of the last window whose tick this environment has sent, plus one.
    sent: AtomicU64,
}

/// What happened to a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticked {
    Sent,
    /// This environment has sent it before.
    Known,
    /// The queue did not accept it in time.
    Throttled,
}

impl Ticker {
    /// Sends the tick of the window that holds `now`, unless this environment has sent it before.
    ///
    /// To be called after the changes were buffered, with the time after that: see
    /// [`invalidator_core::tick`].
    ///
    /// # Errors
    /// If the tick could not be sent for another reason than throttling.
    pub async fn tick(
        &self,
        sqs: &LeanSqs,
        queue: &QueueUrl,
        now: SystemTime,
        debounce: Duration,
    ) -> Result<Ticked> {
        let window = Window::at(now, debounce);
        if self.sent.load(Ordering::Relaxed) == window.number() + 1 {
            return Ok(Ticked::Known);
        }
        let id = window.deduplication_id();
        let ticked = persist(async || sqs.send(queue, tick(&id)).await).await?;
        if ticked == Ticked::Sent {
            self.sent.store(window.number() + 1, Ordering::Relaxed);
        }
        Ok(ticked)
    }
}

/// Sends a tick of its own for what a flush has put back, hidden no longer than the debounce. That of a window may have
/// been sent too early for it.
///
/// # Errors
/// If the tick could not be sent for another reason than throttling.
pub async fn tick_again(sqs: &LeanSqs, queue: &QueueUrl, now: SystemTime) -> Result<Ticked> {
    let id = format!("again-{}", milliseconds(now));
    // A flush that goes on where another ended may follow it many times. What it enqueues must not count as the end of
    // a long row of invocations.
    persist(async || sqs.send_apart(queue, tick(&id)).await).await
}

fn tick(id: &str) -> Outgoing<'_> {
    Outgoing {
        message_body: id,
        delay_seconds: None,
        message_group_id: Some(TICK_GROUP),
        message_deduplication_id: Some(id),
    }
}

/// Repeats a send that is throttled.
async fn persist(send: impl AsyncFn() -> Result<(), Failure>) -> Result<Ticked> {
    let until = Instant::now() + TIME_FOR_A_TICK;
    loop {
        match send().await {
            Ok(()) => return Ok(Ticked::Sent),
            Err(failure) if failure.meaning != Meaning::Throttled => {
                return Err(failure.error).context("failed to send a tick to TickQueue");
            }
            Err(_) => {}
        }
        let wait = Duration::from_millis(fastrand::u64(200..1_000));
        if Instant::now() + wait > until {
            return Ok(Ticked::Throttled);
        }
        sleep(wait).await;
    }
}
