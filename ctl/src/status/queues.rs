//! How many messages wait in each queue, and how old the oldest is.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use aws_smithy_types::DateTime;
use futures_util::future::join_all;
use invalidator::aws::error::error_of;
use invalidator::config::QueueUrl;
use serde::Serialize;
use time::OffsetDateTime;

use crate::account::Account;
use crate::stack::Stack;

/// The queues: the output with the URL, what is in them, and whether a message there is a finding.
const QUEUES: [(&str, &str, bool); 7] = [
    ("IntakeQueueUrl", "events", false),
    ("BufferQueueUrl", "changes", false),
    ("TickQueueUrl", "ticks", false),
    ("SubmitQueueUrl", "sets of paths", false),
    ("BufferDeadLetterQueueUrl", "dead: changes", true),
    ("SubmitDeadLetterQueueUrl", "dead: sets of paths", true),
    ("FailedEventsQueueUrl", "events that failed", true),
];

/// CloudWatch knows the age of the oldest message some minutes later.
const LOOK_BACK_SECONDS: i64 = 600;

/// A queue now.
#[derive(Debug, Serialize)]
pub struct QueueNow {
    pub queue: String,
    /// What is in it.
    pub holds: &'static str,
    pub waiting: u64,
    pub in_flight: u64,
    pub delayed: u64,
    /// The age of the oldest message in seconds, a few minutes ago, if CloudWatch knows it.
    pub oldest_seconds: Option<u64>,
    is_dead: bool,
}

impl QueueNow {
    pub fn total(&self) -> u64 {
        self.waiting + self.in_flight + self.delayed
    }

    /// Whether its messages are lost unless somebody does something.
    pub fn is_finding(&self) -> bool {
        self.is_dead && self.total() > 0
    }
}

/// # Errors
/// If one of the queues cannot be asked. The age of messages is left out if CloudWatch cannot be asked.
pub async fn queues(
    account: &Account,
    stack: &Stack,
    now: OffsetDateTime,
) -> Result<Vec<QueueNow>> {
    let urls = QUEUES.iter().map(|(output, ..)| stack.queue(output));
    let urls = urls.collect::<Result<Vec<QueueUrl>>>()?;
    let depths = join_all(urls.iter().map(|url| depth(account, url)));
    let (depths, ages) = tokio::join!(depths, ages(account, &urls, now));
    let ages = ages.unwrap_or_default();
    let mut queues = Vec::new();
    for (((output, holds, is_dead), url), depth) in QUEUES.iter().zip(&urls).zip(depths) {
        let [waiting, in_flight, delayed] = depth?;
        queues.push(QueueNow {
            queue: output.trim_end_matches("Url").to_owned(),
            holds,
            waiting,
            in_flight,
            delayed,
            oldest_seconds: ages.get(url.as_str()).copied(),
            is_dead: *is_dead,
        });
    }
    // What is not there any more has no age.
    for queue in queues.iter_mut().filter(|queue| queue.total() == 0) {
        queue.oldest_seconds = None;
    }
    Ok(queues)
}

async fn depth(account: &Account, url: &QueueUrl) -> Result<[u64; 3]> {
    let names = [
        Attribute::ApproximateNumberOfMessages,
        Attribute::ApproximateNumberOfMessagesNotVisible,
        Attribute::ApproximateNumberOfMessagesDelayed,
    ];
    let call = account.clients.sqs().get_queue_attributes();
    let call = call.queue_url(url.as_str());
    let answer = call.set_attribute_names(Some(names.to_vec())).send().await;
    let answer = answer.map_err(|error| error_of("SQS GetQueueAttributes", &error));
    let answer = answer.with_context(|| format!("failed to look at {}", url.name()))?;
    let attributes = answer.attributes.unwrap_or_default();
    Ok(names.map(|name| {
        let number = attributes.get(&name).and_then(|text| text.parse().ok());
        number.unwrap_or_default()
    }))
}

/// The age of the oldest message of each queue, by URL.
async fn ages(
    account: &Account,
    urls: &[QueueUrl],
    now: OffsetDateTime,
) -> Result<BTreeMap<String, u64>> {
    let mut queries = Vec::new();
    for (index, url) in urls.iter().enumerate() {
        let queue = Dimension::builder()
            .name("QueueName")
            .value(url.name().as_str());
        let metric = Metric::builder()
            .namespace("AWS/SQS")
            .metric_name("ApproximateAgeOfOldestMessage")
            .dimensions(queue.build());
        let of_minute = MetricStat::builder()
            .metric(metric.build())
            .period(60)
            .stat("Maximum");
        let query = MetricDataQuery::builder().id(format!("q{index}"));
        queries.push(query.metric_stat(of_minute.build()).build());
    }
    let client = aws_sdk_cloudwatch::Client::new(&account.sdk);
    let until = now.unix_timestamp();
    let call = client
        .get_metric_data()
        .start_time(DateTime::from_secs(until - LOOK_BACK_SECONDS))
        .end_time(DateTime::from_secs(until))
        .set_metric_data_queries(Some(queries));
    let answer = call.send().await;
    let answer = answer.map_err(|error| error_of("CloudWatch GetMetricData", &error))?;
    let newest = answer.metric_data_results().iter().filter_map(|result| {
        let index: usize = result.id()?.strip_prefix('q')?.parse().ok()?;
        let seconds = result.values().first()?;
        Some((urls.get(index)?.as_str().to_owned(), *seconds as u64))
    });
    Ok(newest.collect())
}
