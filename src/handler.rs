//! Passes each event to its stage.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use invalidator_core::text::one_line;
use serde::Deserialize;
use tracing::warn;

use crate::app::App;
use crate::clock::Deadline;
use crate::config::Config;
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
    arn: Option<Cow<'a, str>>,
}

/// The stages of the pipeline.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Ingest,
    Flush,
    Submit,
}

impl Stage {
    /// # Errors
    /// If the event comes from a queue that has the name of one of the stack's own and another ARN. Either the
    /// function's idea of its queues is wrong, and ticks or sets would be taken for events; or somebody else's
    /// queue is connected. Nobody would notice if that were passed over. Also if its records belong to
    /// several stages.
    fn of(config: &Config, payload: &str) -> Result<Self> {
        // Most events come from S3 itself and lack this field, so do not parse them for it.
        if !payload.contains("eventSourceARN") {
            return Ok(Self::Ingest);
        }
        let Ok(Sources { records }) = serde_json::from_str(payload) else {
            return Ok(Self::Ingest);
        };
        let sources = records.iter().map(|record| record.arn.as_deref());
        let mut known: Option<(Self, &str)> = None;
        for source in sources.map(Option::unwrap_or_default) {
            let stage = Self::of_source(config, source)?;
            match &known {
                None => known = Some((stage, source)),
                Some((same, _)) if *same == stage => {}
                Some((_, other)) => {
                    let (other, source) = (one_line(other, MAX_ARN), one_line(source, MAX_ARN));
                    bail!("refused: the records of this event come from `{other}` and `{source}`");
                }
            }
        }
        Ok(known.map_or(Self::Ingest, |(stage, _)| stage))
    }

    fn of_source(config: &Config, source: &str) -> Result<Self> {
        let sources = &config.sources;
        let own = [
            (&config.tick_queue, &sources.tick, Self::Flush),
            (&config.submit_queue, &sources.submit, Self::Submit),
        ];
        let name = source.rsplit(':').next();
        for (queue, arn, stage) in own {
            if source == arn {
                return Ok(stage);
            }
            if name == Some(queue.name().as_str()) {
                let source = one_line(source, MAX_ARN);
                bail!(
                    "refused: the event comes from {source}, which has the name of this stack's own queue {arn} \
                     and is another. Disconnect it, or correct the queue's URL, TOPIC_ARN and AWS_REGION"
                );
            }
        }
        Ok(Self::Ingest)
    }
}

/// How many characters of an ARN are shown.
const MAX_ARN: usize = 300;

/// Handles the payload of one invocation that Lambda ends at `deadline`, in milliseconds since 1970.
///
/// # Errors
/// If the whole event must be repeated, or go to the on-failure queue.
pub async fn handle(app: &App, payload: &str, deadline: u64) -> Result<SqsBatchResponse> {
    let deadline = Deadline::from_milliseconds(deadline, app.clock.clone());
    // On the heap: they are large, and the compiler limits how deep futures are nested.
    match Stage::of(&app.config, payload)? {
        Stage::Ingest => {
            let answer = Box::pin(ingest::ingest(app, payload)).await;
            // Of a queue, events fail one by one.
            let is_taken = |it: &SqsBatchResponse| it.batch_item_failures.is_empty();
            if !answer.as_ref().is_ok_and(is_taken) {
                Box::pin(distrust_all(app)).await;
            }
            answer
        }
        Stage::Flush => Ok(Box::pin(flush::flush(app, &records(payload)?, &deadline)).await),
        Stage::Submit => Ok(Box::pin(submit::submit(app, records(payload)?, &deadline)).await),
    }
}

/// Notes that an event was not taken: it may end in the on-failure queue, and wait there for days.
async fn distrust_all(app: &App) {
    let noted = app
        .ledger
        .distrust_all(app.state(), "an event could not be taken");
    if let Err(error) = noted.await {
        let error = format!("{error:#}");
        warn!(
            stage = "ingest",
            error,
            "the ledger cannot be changed: targets may count as told of an event that failed"
        );
    }
}

/// Both queues are FIFO, of which a batch has at most so many messages.
const MAX_MESSAGES: usize = 10;

/// A message takes many times the memory of its text, so they are counted first.
fn records(payload: &str) -> Result<Vec<SqsMessage>> {
    let sources: Sources<'_> =
        serde_json::from_str(payload).context("failed to read the event of a queue")?;
    let count = sources.records.len();
    if count > MAX_MESSAGES {
        bail!("a batch of a FIFO queue has at most {MAX_MESSAGES} messages, this one has {count}");
    }
    let event: SqsEvent =
        serde_json::from_str(payload).context("failed to read the event of a queue")?;
    Ok(event.records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The stage of an event, or why there is none.
    fn stage_of(event: &Value) -> Result<Stage, String> {
        let config = Config::from_variables(|name| {
            let value = match name {
                "AWS_REGION" => "eu-west-1",
                "BUFFER_QUEUE_URL" => "https://sqs.eu-west-1.amazonaws.com/123456789012/buffer",
                "TICK_QUEUE_URL" => "https://sqs.eu-west-1.amazonaws.com/123456789012/tick.fifo",
                "SUBMIT_QUEUE_URL" => {
                    "https://sqs.eu-west-1.amazonaws.com/123456789012/submit.fifo"
                }
                "ERROR_BUCKET" => "errors",
                "TOPIC_ARN" => "arn:aws:sns:eu-west-1:123456789012:alerts",
                _ => return None,
            };
            Some(value.to_owned())
        });
        Stage::of(&config.unwrap(), &event.to_string()).map_err(|error| error.to_string())
    }

    /// The same for an event whose records come from these sources.
    fn stage(sources: &[&str]) -> Result<Stage, String> {
        let record =
            |source: &&str| json!({ "eventSourceARN": source, "messageId": "m", "body": "" });
        let records: Vec<_> = sources.iter().map(record).collect();
        stage_of(&json!({ "Records": records }))
    }

    const TICK: &str = "arn:aws:sqs:eu-west-1:123456789012:tick.fifo";
    const SUBMIT: &str = "arn:aws:sqs:eu-west-1:123456789012:submit.fifo";

    #[test]
    fn the_queue_an_event_comes_from_tells_the_stage() {
        for (source, expected) in [
            (TICK, Stage::Flush),
            (SUBMIT, Stage::Submit),
            (
                "arn:aws:sqs:eu-west-1:123456789012:s3-events",
                Stage::Ingest,
            ),
            (
                "arn:aws:sqs:eu-west-1:123456789012:other-tick.fifo",
                Stage::Ingest,
            ),
            (
                "arn:aws:sqs:eu-west-1:210987654321:s3-events",
                Stage::Ingest,
            ),
            (
                "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026-11-21T02:03:04.567",
                Stage::Ingest,
            ),
            ("", Stage::Ingest),
        ] {
            assert_eq!(stage(&[source]), Ok(expected), "{source}");
        }
        assert_eq!(stage(&[TICK, TICK]), Ok(Stage::Flush));
        // A key may be called so.
        let object = json!({ "object": { "key": "eventSourceARN" } });
        let event = json!({ "Records": [{ "eventName": "ObjectCreated:Put", "s3": object }] });
        assert_eq!(stage_of(&event), Ok(Stage::Ingest));
    }

    /// They were told apart by their names alone.
    #[test]
    fn a_queue_with_the_name_of_ours_and_another_arn_is_refused_by_both_arns() {
        for (source, own) in [
            ("arn:aws:sqs:eu-west-1:210987654321:tick.fifo", TICK),
            ("arn:aws:sqs:us-east-1:123456789012:tick.fifo", TICK),
            ("arn:aws-cn:sqs:eu-west-1:123456789012:tick.fifo", TICK),
            ("arn:aws:sns:eu-west-1:123456789012:tick.fifo", TICK),
            ("tick.fifo", TICK),
            ("arn:aws:sqs:eu-west-1:210987654321:submit.fifo", SUBMIT),
        ] {
            let error = stage(&[source]).unwrap_err();
            assert!(
                error.contains(&format!("from {source}, ")) && error.contains(own),
                "{error}"
            );
        }
        let error = stage(&[&format!("\u{1b}{}:tick.fifo", "x".repeat(10_000))]).unwrap_err();
        assert!(
            error.len() < 1_000 && !error.contains('\u{1b}'),
            "{}",
            error.len()
        );
    }

    #[test]
    fn an_event_for_several_stages_is_refused() {
        let other = "arn:aws:sqs:eu-west-1:123456789012:s3-events";
        for sources in [[TICK, other], [other, TICK], [TICK, SUBMIT]] {
            let error = stage(&sources).unwrap_err();
            let named = sources.iter().filter(|source| error.contains(**source));
            assert_eq!(named.count(), 2, "{error}");
        }
    }

    #[test]
    fn an_answer_is_the_one_event_source_mappings_read() {
        let answer = serde_json::to_string(&SqsBatchResponse::default()).unwrap();
        assert_eq!(answer, r#"{"batchItemFailures":[]}"#);
    }
}
