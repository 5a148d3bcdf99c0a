//! Which stage does this event belong to?

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::aws::Clients;
use crate::buffer::queue::Ticker;
use crate::clock::{Clock, Deadline};
use crate::config::{Config, QueueUrl};
use crate::distributions::catalog::Catalog;
use crate::exceptions::tags::BucketTags;
use crate::metrics::Metrics;
use crate::{flush, ingest, resubmit};

/// What an execution environment keeps from one invocation to the next.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The SDK clients.
    pub clients: Clients,
    /// What is known of the distributions.
    pub catalog: Catalog,
    /// What is known of the tags of buckets.
    pub tags: BucketTags,
    /// Which tick was sent last.
    pub ticker: Ticker,
    /// The time of day.
    pub clock: Clock,
    /// Where metrics go.
    pub metrics: Metrics,
}

impl App {
    /// A new environment.
    pub fn new(config: Config, clients: Clients, clock: Clock) -> Self {
        Self {
            catalog: Catalog::new(config.distribution_ids.clone(), config.cache_for),
            tags: BucketTags::new(config.cache_for),
            ticker: Ticker::default(),
            metrics: Metrics::new(config.function_name.as_str()),
            config,
            clients,
            clock,
        }
    }
}

/// The answer to an event source mapping: the messages that are to come again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// None of them if all went well.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A message that is to come again.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its message id.
    pub item_identifier: String,
}

impl BatchResponse {
    /// The messages with these ids are to come again.
    pub fn failed(message_ids: impl IntoIterator<Item = String>) -> Self {
        let failure = |item_identifier| BatchItemFailure { item_identifier };
        Self {
            batch_item_failures: message_ids.into_iter().map(failure).collect(),
        }
    }
}

/// A message of a queue that triggers the function.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueRecord {
    /// The ARN of the queue.
    #[serde(rename = "eventSourceARN")]
    pub event_source_arn: String,
    /// The message's id.
    pub message_id: String,
    /// What its visibility is changed with.
    pub receipt_handle: String,
    /// The body.
    pub body: String,
    /// What SQS knows of it.
    pub attributes: QueueAttributes,
}

/// What SQS knows of a message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueueAttributes {
    /// How often it was received, this time included; a number as text.
    pub approximate_receive_count: String,
}

impl QueueRecord {
    /// How often the message was received, this time included.
    pub fn receive_count(&self) -> u32 {
        self.attributes
            .approximate_receive_count
            .parse()
            .unwrap_or(1)
    }
}

/// The event of a queue.
#[derive(Deserialize)]
struct QueueEvent<R> {
    #[serde(rename = "Records")]
    records: Vec<R>,
}

/// All that has to be known of a record to know its stage.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "eventSourceARN", borrow)]
    arn: Cow<'a, str>,
}

/// The stages of the pipeline, and what each takes.
enum Stage {
    Ingest,
    Flush(Vec<QueueRecord>),
    Resubmit(Vec<QueueRecord>),
}

impl Stage {
    fn of(config: &Config, payload: &str) -> Self {
        // Most events come from S3 itself, and have no such field to look for.
        if !payload.contains("eventSourceARN") {
            return Self::Ingest;
        }
        let sources: Result<QueueEvent<Source<'_>>, _> = serde_json::from_str(payload);
        let source = sources
            .ok()
            .and_then(|event| event.records.into_iter().next());
        let is_from = |queue: &QueueUrl| source.as_ref().is_some_and(|it| queue.is_source(&it.arn));
        let stage = if is_from(&config.tick_queue) {
            Self::Flush
        } else if is_from(&config.retry_queue) {
            Self::Resubmit
        } else {
            return Self::Ingest;
        };
        let event = serde_json::from_str(payload);
        event.map_or(Self::Ingest, |event: QueueEvent<_>| stage(event.records))
    }
}

/// Handles the payload of one invocation that Lambda ends at `deadline`, in milliseconds since 1970.
///
/// # Errors
/// If the event must come again, or go to the on-failure queue, as a whole.
pub async fn handle(app: &App, payload: &str, deadline: u64) -> Result<BatchResponse> {
    let deadline = Deadline::from_milliseconds(deadline, app.clock.clone());
    match Stage::of(&app.config, payload) {
        Stage::Ingest => ingest::ingest(app, payload).await,
        Stage::Flush(ticks) => Ok(flush::flush(app, &ticks, &deadline).await),
        Stage::Resubmit(records) => Ok(resubmit::resubmit(app, &records, &deadline).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(source: &str) -> &'static str {
        let config = Config::from_variables(|name| {
            Some(match name {
                "BUFFER_QUEUE_URL" => "https://sqs/1/buffer".to_owned(),
                "TICK_QUEUE_URL" => "https://sqs/1/tick.fifo".to_owned(),
                "RETRY_QUEUE_URL" => "https://sqs/1/retry.fifo".to_owned(),
                "ERROR_BUCKET" | "TOPIC_ARN" => "x".to_owned(),
                _ => return None,
            })
        });
        let payload = serde_json::json!({ "Records": [{ "eventSourceARN": source, "messageId": "m", "body": "" }] });
        match Stage::of(&config.unwrap(), &payload.to_string()) {
            Stage::Ingest => "ingest",
            Stage::Flush(_) => "flush",
            Stage::Resubmit(_) => "resubmit",
        }
    }

    #[test]
    fn the_queue_an_event_comes_from_tells_the_stage() {
        for (source, expected) in [
            ("arn:aws:sqs:eu-west-1:1:tick.fifo", "flush"),
            ("arn:aws:sqs:eu-west-1:1:retry.fifo", "resubmit"),
            ("arn:aws:sqs:eu-west-1:1:s3-events", "ingest"),
            ("arn:aws:sqs:eu-west-1:1:other-tick.fifo", "ingest"),
            ("", "ingest"),
        ] {
            assert_eq!(stage(source), expected, "{source}");
        }
    }

    #[test]
    fn the_answer_is_the_one_event_source_mappings_read() {
        let answer = serde_json::to_string(&BatchResponse::failed(["m1".to_owned()])).unwrap();
        assert_eq!(answer, r#"{"batchItemFailures":[{"itemIdentifier":"m1"}]}"#);
    }
}
