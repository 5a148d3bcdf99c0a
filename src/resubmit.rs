//! Sets that CloudFront held back wait in RetryQueue, a message group for each distribution, so a
//! busy one waits alone and in order. A set that is held back again stays in its message, hidden for
//! longer each time: no function sends to a queue that triggers it.

use anyhow::{Context, Result};
use tracing::{error, info};

use crate::clock::Deadline;
use crate::failure::report::report;
use crate::flush::round::log_settlement;
use crate::flush::{TIME_TO_STOP, backoff, hide};
use crate::handler::{App, BatchResponse, QueueRecord};
use crate::submit::outcome::Refusal;
use crate::submit::{Refused, Submission, submit};

/// Puts a set in RetryQueue.
///
/// # Errors
/// If it cannot be sent.
pub async fn enqueue(app: &App, submission: &Submission) -> Result<()> {
    let body = serde_json::to_string(submission)?;
    app.clients
        .sqs()
        .send_message()
        .queue_url(app.config.retry_queue.as_str())
        .message_group_id(submission.target.id())
        .message_deduplication_id(submission.caller_reference.as_str())
        .message_body(body)
        .send()
        .await
        .context("failed to put a set in the retry queue: SendMessage")?;
    Ok(())
}

/// Submits sets of RetryQueue again. Returns the messages that are to come again: from the first
/// that is held back on, because later ones of its group must not overtake it.
pub async fn resubmit(app: &App, records: &[QueueRecord], deadline: &Deadline) -> BatchResponse {
    for (n, record) in records.iter().enumerate() {
        let settled = deadline.remaining() >= TIME_TO_STOP && settles(app, record, deadline).await;
        if !settled {
            hide(
                app.clients.sqs(),
                &app.config.retry_queue,
                record,
                backoff(record.receive_count()),
            )
            .await;
            return BatchResponse::failed(
                records
                    .iter()
                    .skip(n)
                    .map(|record| record.message_id.clone()),
            );
        }
    }
    BatchResponse::default()
}

/// A set that was refused more than twice is halved at each further attempt, so that one that is too
/// large for what CloudFront takes at present still gets through.
fn halvings(receive_count: u32) -> u32 {
    // The flush was refused first, then each receive before this one.
    let refusals = receive_count;
    refusals.saturating_sub(2)
}

/// Whether nothing of the set is left to do.
async fn settles(app: &App, record: &QueueRecord, deadline: &Deadline) -> bool {
    let submission: Submission = match serde_json::from_str(&record.body) {
        Ok(submission) => submission,
        Err(unreadable) => {
            error!(stage = "resubmit", message_id = record.message_id, %unreadable, "a set cannot be read, so it stays");
            return false;
        }
    };
    let attempt = record.receive_count();
    let mut settlement = submit(
        app.clients.cloudfront(),
        &submission,
        halvings(attempt),
        deadline,
    )
    .await;
    log_settlement(&settlement);
    info!(
        stage = "resubmit",
        target_id = %submission.target,
        attempt,
        accepted = settlement.accepted.iter().map(|accepted| accepted.paths).sum::<usize>(),
        held_back = settlement.held_back.as_ref().map_or(0, |(held_back, _)| held_back.paths.len()),
        rejected = settlement.refused.iter().map(|refused| refused.paths.len()).sum::<usize>(),
        "resubmitted"
    );
    // The first attempt was the flush's.
    let is_last = attempt + 1 >= app.config.max_submit_attempts;
    if is_last && let Some((held_back, reason)) = settlement.held_back.take() {
        let message = format!("gave up after {} attempts: {}", attempt + 1, reason.message);
        settlement.refused.push(Refused {
            target: held_back.target,
            paths: held_back.paths,
            refusal: Refusal::new(reason.code, message),
        });
    }
    if settlement.held_back.is_some() {
        return false;
    }
    match report(app, settlement.refused).await {
        Ok(_) => true,
        Err(error) => {
            error!(
                stage = "resubmit",
                error = format!("{error:#}"),
                "refused paths could not be filed, so their set comes again"
            );
            false
        }
    }
}
