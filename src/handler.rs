//! Passes each event to its stage.

use std::borrow::Cow;

use anyhow::{Context, Result};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use serde::Deserialize;

use crate::app::App;
use crate::clock::Deadline;
use crate::config::{Config, QueueUrl};
use crate::{flush, ingest, submit};

/// The field of a queue's event that decides its stage.
#[derive(Deserialize)]
struct Sources<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<Source<'a>>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "eventSourceARN", borrow)]
    arn: Cow<'a, str>,
}

/// The stages of the pipeline.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Ingest,
    Flush,
    Submit,
}

impl Stage {
    fn of(config: &Config, payload: &str) -> Self {
        // Most events come from S3 itself and lack this field, so do not parse them for it.
        if !payload.contains("eventSourceARN") {
            return Self::Ingest;
        }
        let sources: Result<Sources<'_>, _> = serde_json::from_str(payload);
        let source = sources
            .ok()
            .and_then(|event| event.records.into_iter().next());
        let is_from = |queue: &QueueUrl| source.as_ref().is_some_and(|it| queue.is_source(&it.arn));
        if is_from(&config.tick_queue) {
            Self::Flush
        } else if is_from(&config.submit_queue) {
            Self::Submit
        } else {
            Self::Ingest
        }
    }
}

/// Handles the payload of one invocation that Lambda ends at `deadline`, in milliseconds since 1970.
///
/// # Errors
/// If the whole event must be repeated, or go to the on-failure queue.
pub async fn handle(app: &App, payload: &str, deadline: u64) -> Result<SqsBatchResponse> {
    let deadline = Deadline::from_milliseconds(deadline, app.clock.clone());
    match Stage::of(&app.config, payload) {
        Stage::Ingest => ingest::ingest(app, payload).await,
        Stage::Flush => Ok(flush::flush(app, &records(payload)?, &deadline).await),
        Stage::Submit => Ok(submit::submit(app, records(payload)?, &deadline).await),
    }
}

fn records(payload: &str) -> Result<Vec<SqsMessage>> {
    let event: SqsEvent =
        serde_json::from_str(payload).context("failed to read the event of a queue")?;
    Ok(event.records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(source: &str) -> &'static str {
        let config = Config::from_variables(|name| {
            Some(match name {
                "BUFFER_QUEUE_URL" => "https://sqs/1/buffer".to_owned(),
                "TICK_QUEUE_URL" => "https://sqs/1/tick.fifo".to_owned(),
                "SUBMIT_QUEUE_URL" => "https://sqs/1/submit.fifo".to_owned(),
                "ERROR_BUCKET" | "TOPIC_ARN" => "x".to_owned(),
                _ => return None,
            })
        });
        let payload = serde_json::json!({ "Records": [{ "eventSourceARN": source, "messageId": "m", "body": "" }] });
        let config = config.unwrap();
        match Stage::of(&config, &payload.to_string()) {
            Stage::Ingest => "ingest",
            Stage::Flush => "flush",
            Stage::Submit => "submit",
        }
    }

    #[test]
    fn the_queue_an_event_comes_from_tells_the_stage() {
        for (source, expected) in [
            ("arn:aws:sqs:eu-west-1:1:tick.fifo", "flush"),
            ("arn:aws:sqs:eu-west-1:1:submit.fifo", "submit"),
            ("arn:aws:sqs:eu-west-1:1:s3-events", "ingest"),
            ("arn:aws:sqs:eu-west-1:1:other-tick.fifo", "ingest"),
            ("", "ingest"),
        ] {
            assert_eq!(stage(source), expected, "{source}");
        }
    }

    #[test]
    fn an_answer_is_the_one_event_source_mappings_read() {
        let answer = serde_json::to_string(&SqsBatchResponse::default()).unwrap();
        assert_eq!(answer, r#"{"batchItemFailures":[]}"#);
    }
}
