//! Sends ticks, which start flushes: one for each window.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use aws_sdk_sqs::Client;
use invalidator_core::tick::Window;

use crate::config::QueueUrl;

/// The message group of all ticks. As there is only one, one flush runs at a time.
const TICK_GROUP: &str = "flush";

/// Sends ticks, one for each window.
#[derive(Debug, Default)]
pub struct Ticker {
    /// The number of the last window whose tick this environment has sent, plus one.
    sent: AtomicU64,
}

impl Ticker {
    /// Sends the tick of the window that contains `now`, unless this environment has sent it before.
    /// Returns whether it was sent.
    ///
    /// Call this after the changes were buffered, with a `now` after that: see [`invalidator_core::tick`].
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
            .context("failed to send a tick: SendMessage to the tick queue")?;
        self.sent.store(window.number() + 1, Ordering::Relaxed);
        Ok(true)
    }
}
