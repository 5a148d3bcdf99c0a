//! Numbers that SQS knows of a queue.

use anyhow::{Context, Result};
use aws_sdk_sqs::types::QueueAttributeName;
use invalidator::aws::error::error_of;
use invalidator::config::QueueUrl;

use crate::account::Account;

/// The numbers of a queue, in the order of their names.
///
/// # Errors
/// If SQS does not say one of them: a number that is missing is not 0.
pub async fn numbers<const N: usize>(
    account: &Account,
    queue: &QueueUrl,
    names: [QueueAttributeName; N],
) -> Result<[usize; N]> {
    let call = account.clients.sqs().get_queue_attributes();
    let call = call.queue_url(queue.as_str());
    let call = call.set_attribute_names(Some(names.to_vec()));
    let answer = call.send().await;
    let answer = answer.map_err(|error| error_of("SQS GetQueueAttributes", &error));
    let answer = answer.with_context(|| format!("failed to look at {}", queue.name()))?;
    let attributes = answer.attributes.unwrap_or_default();
    let mut numbers = [0; N];
    for (number, name) in numbers.iter_mut().zip(&names) {
        let text = attributes.get(name).and_then(|text| text.parse().ok());
        *number = text.with_context(|| format!("SQS says no {name} of {}", queue.name()))?;
    }
    Ok(numbers)
}
