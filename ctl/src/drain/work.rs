//! Flushes and submits, as the function does it.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use invalidator::app::App;
use invalidator::aws::error::error_of;
use invalidator::clock::Deadline;
use invalidator::flush::flush_once;
use invalidator::handler::handle;
use invalidator::metrics::milliseconds;
use invalidator::queue::delete;
use invalidator_core::retry::{FUNCTION_TIMEOUT, FlushEnd};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::waiting::{Waiting, waiting};
use crate::account::Account;
use crate::progress::Progress;
use crate::stack::Stack;

/// Where changes never end, it ends after so many flushes.
const MOST_ROUNDS: usize = 10;

/// So many flushes in a row may fail.
const MOST_FAILURES: usize = 3;

/// How long a receive waits for sets.
const LONG_POLL: i32 = 2;

pub struct Work<'a> {
    pub account: &'a Account,
    pub stack: &'a Stack,
    pub app: &'a App,
    pub progress: &'a Progress,
}

impl Work<'_> {
    /// Flushes and submits until nothing is left that can be received.
    ///
    /// # Errors
    /// If flushes fail, or SQS does.
    pub async fn run(&self) -> Result<()> {
        let mut before = self.left().await?;
        for _ in 0..MOST_ROUNDS {
            self.flush().await?;
            while self.submit().await? {
                before = self.show(before).await?;
            }
            let after = self.show(before).await?;
            // A rest that was sent too often goes through the buffer.
            if after.changes == 0 || after == before {
                return Ok(());
            }
            before = after;
        }
        Ok(())
    }

    async fn left(&self) -> Result<Waiting> {
        waiting(self.account, self.stack, self.app).await
    }

    async fn show(&self, before: Waiting) -> Result<Waiting> {
        let after = self.left().await?;
        let all = |it: Waiting| it.changes + it.sets;
        self.progress
            .steps(all(before).saturating_sub(all(after)) as u64);
        Ok(after)
    }

    async fn flush(&self) -> Result<()> {
        let mut failures = 0;
        loop {
            let deadline = Deadline::from_milliseconds(deadline(), self.app.clock.clone());
            match Box::pin(flush_once(self.app, &[], &deadline)).await {
                (_, None) => return Ok(()),
                (FlushEnd::WorkLeft, _) => {}
                (end, Some(time)) => {
                    failures += 1;
                    if failures >= MOST_FAILURES {
                        bail!("the flushes end like this: {end}; the log above says why");
                    }
                    self.progress
                        .say(format!("after a flush that ended like this: {end}"));
                    sleep(time.min(Duration::from_secs(5))).await;
                }
            }
        }
    }

    /// Submits a batch of sets. Returns whether there was any.
    async fn submit(&self) -> Result<bool> {
        let queue = &self.app.config.submit_queue;
        let call = self.account.clients.sqs().receive_message();
        let call = call.queue_url(queue.as_str()).max_number_of_messages(10);
        let call = call.message_system_attribute_names(MessageSystemAttributeName::All);
        let answer = call.wait_time_seconds(LONG_POLL).send().await;
        let answer = answer.map_err(|error| error_of("SQS ReceiveMessage", &error));
        let messages = answer.context("failed to receive sets")?.messages;
        let messages = messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(false);
        }
        let source = &self.app.config.sources.submit;
        let records: Vec<Value> = messages.iter().map(|it| record(source, it)).collect();
        let event = json!({ "Records": records }).to_string();
        let answer = Box::pin(handle(self.app, &event, deadline())).await?;
        let is_returned = |message: &&Message| {
            let mut returned = answer.batch_item_failures.iter();
            returned.any(|it| Some(it.item_identifier.as_str()) == message.message_id())
        };
        // As Lambda deletes them.
        let done = messages.iter().take_while(|it| !is_returned(it));
        let handles = done.filter_map(|it| it.receipt_handle.clone()).collect();
        delete(self.account.clients.lean_sqs(), queue, handles).await;
        Ok(true)
    }
}

/// When Lambda would end the function.
fn deadline() -> u64 {
    milliseconds(SystemTime::now() + FUNCTION_TIMEOUT)
}

/// A message as the function gets it from its event source mapping.
fn record(source: &str, message: &Message) -> Value {
    let attributes: serde_json::Map<String, Value> = message
        .attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect();
    json!({
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": attributes,
        "eventSource": "aws:sqs",
        "eventSourceARN": source,
    })
}
