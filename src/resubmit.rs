//! Sets that CloudFront held back wait in RetryQueue, a message group for each distribution, so a
//! busy one waits alone and in order. A set that is held back again stays in its message, hidden for
//! longer each time: no function sends to a queue that triggers it.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;
use tracing::{error, info};

use crate::clock::Deadline;
use crate::distributions::Target;
use crate::failure::report::report;
use crate::flush::decisions::log_settlement;
use crate::flush::report::{PathCounts, PathsByDistribution};
use crate::flush::{TIME_TO_STOP, backoff, hide};
use crate::handler::{App, BatchResponse, QueueRecord};
use crate::metrics::Metric;
use crate::submit::outcome::Refusal;
use crate::submit::{Refused, Settlement, Submission, submit};

/// Puts a set in RetryQueue.
///
/// # Errors
/// If it cannot be sent.
pub async fn enqueue(app: &App, submission: &Submission<'_>) -> Result<()> {
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
    let submission: Submission<'_> = match serde_json::from_str(&record.body) {
        Ok(submission) => submission,
        Err(unreadable) => {
            error!(stage = "resubmit", message_id = record.message_id, %unreadable, "a set cannot be read, so it stays");
            return false;
        }
    };
    let start = Instant::now();
    let attempt = record.receive_count();
    let cloudfront = app.clients.cloudfront();
    let target = submission.target.clone();
    let mut settlement = submit(cloudfront, submission, halvings(attempt), deadline).await;
    log_settlement(&target, &settlement);
    // The first attempt was the flush's.
    if attempt + 1 >= app.config.max_submit_attempts {
        give_up(&mut settlement, attempt + 1);
    }
    let counts = PathCounts::of(&settlement);
    let is_held_back = settlement.held_back.is_some();
    // What is refused of a set that is held back is refused, and filed, when it comes again.
    let filed = is_held_back || file(app, settlement.refused).await;
    tell(app, &target, attempt, counts, start.elapsed());
    filed && !is_held_back
}

/// Refuses what is still held back.
fn give_up(settlement: &mut Settlement<'_>, attempts: u32) {
    if let Some((held_back, reason)) = settlement.held_back.take() {
        let message = format!("gave up after {attempts} attempts: {}", reason.message);
        settlement.refused.push(Refused {
            target: held_back.target,
            paths: held_back.paths,
            refusal: Refusal::new(reason.code, message),
        });
    }
}

/// Files what was refused. Whether that worked.
async fn file(app: &App, refused: Vec<Refused<'_>>) -> bool {
    match report(app, refused).await {
        Ok(mail_sent) => {
            let failed = usize::from(!mail_sent);
            app.metrics
                .emit(app.clock.now(), &[Metric::Count("MailsFailed", failed)]);
            true
        }
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

/// Logs what became of a set in a line, and emits the metrics.
fn tell(app: &App, target: &Target, attempt: u32, counts: PathCounts, duration: Duration) {
    info!(
        stage = "resubmit",
        target_id = %target,
        attempt,
        accepted = counts.accepted,
        held_back = counts.retried,
        rejected = counts.rejected,
        "resubmitted"
    );
    let mut metrics = counts.metrics();
    metrics.push(Metric::duration("ResubmitDuration", duration));
    app.metrics.emit(app.clock.now(), &metrics);
    let mut by_distribution = PathsByDistribution::default();
    by_distribution.add(&target.distribution, counts);
    by_distribution.emit(app);
}
