//! Reads the attributes of the stack's queues.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::stream::{self, StreamExt};

use super::looking::Looking;
use crate::check::facts::{Queue, Stack};
use crate::check::finding::Subject;

const OUTPUTS: [&str; 7] = [
    "IntakeQueueUrl",
    "BufferQueueUrl",
    "TickQueueUrl",
    "SubmitQueueUrl",
    "BufferDeadLetterQueueUrl",
    "SubmitDeadLetterQueueUrl",
    "FailedEventsQueueUrl",
];

pub async fn queues(looking: &Looking<'_>, stack: &Stack) -> Vec<Queue> {
    let queues = OUTPUTS.map(|output| (output, stack.output(output)));
    let queues: Vec<Option<Queue>> = stream::iter(queues)
        .map(|(output, url)| queue(looking, output, url))
        .buffered(OUTPUTS.len())
        .collect()
        .await;
    queues.into_iter().flatten().collect()
}

async fn queue(looking: &Looking<'_>, output: &'static str, url: &str) -> Option<Queue> {
    if url.is_empty() {
        looking.no_output(&Subject::Queues, output);
        return None;
    }
    let sqs = looking.account.clients.sqs();
    let call = sqs.get_queue_attributes().queue_url(url);
    let answer = call.attribute_names(QueueAttributeName::All).send().await;
    let name = output.trim_end_matches("Url");
    let answer = looking.keep(&Subject::Queues, name, "SQS GetQueueAttributes", answer)?;
    let attributes = answer.attributes.unwrap_or_default().into_iter();
    let attributes: BTreeMap<String, String> = attributes
        .map(|(name, value)| (name.as_str().to_owned(), value))
        .collect();
    Some(Queue {
        output,
        url: url.to_owned(),
        attributes,
    })
}
