//! From the buffer to CloudFront: drain, plan, submit, and only then acknowledge.
//!
//! What waits is drained and worked off at once; the empty receives that confirm that nothing more
//! waits run beside the work, and what they find after all makes the next round.
//!
//! * [`drain`]: receives what waits
//! * [`round`]: works off what was received
//! * [`decisions`]: logs what became of each key
//! * [`report`]: counts what came of it

pub mod decisions;
pub mod drain;
pub mod report;
pub mod round;

use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::buffer::queue::RELEASE_AFTER;
use crate::clock::Deadline;
use crate::config::QueueUrl;
use crate::handler::{App, BatchResponse, QueueRecord};
use crate::submit::describe;
use drain::Drain;
use report::Report;
use round::Round;

/// A flush stops this long before Lambda would end it.
pub const TIME_TO_STOP: Duration = Duration::from_secs(20);

/// How a flush ended.
enum End {
    /// Nothing waits any more.
    Empty,
    /// Time or the limit of changes ran out, and more may wait.
    MoreWaits,
    /// Something is left that could not be worked off now.
    Failed,
}

/// Works off the buffer. Returns the ticks that are to come again: all of them, if work is left.
pub async fn flush(app: &App, ticks: &[QueueRecord], deadline: &Deadline) -> BatchResponse {
    let start = Instant::now();
    let (end, report) = work(app, deadline).await;
    report.tell(app, start.elapsed());
    let come_back = match end {
        End::Empty => return BatchResponse::default(),
        End::MoreWaits => |_: u32| Duration::from_secs(1),
        End::Failed => backoff,
    };
    let sqs = app.clients.sqs();
    for tick in ticks {
        hide(
            sqs,
            &app.config.tick_queue,
            tick,
            come_back(tick.receive_count()),
        )
        .await;
    }
    BatchResponse::failed(ticks.iter().map(|tick| tick.message_id.clone()))
}

async fn work(app: &App, deadline: &Deadline) -> (End, Report) {
    let mut drain = Drain::new(app);
    let mut report = Report::default();
    let mut batch = match drain.next().await {
        Ok(batch) => batch,
        Err(error) => return (failed(&error), report),
    };
    while !batch.is_empty() {
        let round = Round { app, deadline };
        let (settled, next) = tokio::join!(round.work_off(batch), drain.next_within(deadline));
        match (settled, next) {
            (Ok(settled), Ok(next)) => {
                report.add(settled);
                match next {
                    Some(next) => batch = next,
                    None => return (End::MoreWaits, report),
                }
            }
            (Ok(settled), Err(error)) => {
                report.add(settled);
                return (failed(&error), report);
            }
            (Err(error), next) => {
                round.release(next.ok().flatten().unwrap_or_default()).await;
                return (failed(&error), report);
            }
        }
    }
    let end = if report.unsettled > 0 {
        End::Failed
    } else {
        End::Empty
    };
    (end, report)
}

fn failed(error: &anyhow::Error) -> End {
    error!(
        stage = "flush",
        error = format!("{error:#}"),
        "the flush failed, so the tick comes back"
    );
    End::Failed
}

/// Thirty seconds, doubling up to a quarter of an hour.
pub fn backoff(receive_count: u32) -> Duration {
    let doublings = receive_count.saturating_sub(1).min(5);
    (RELEASE_AFTER * (1 << doublings)).min(Duration::from_secs(900))
}

/// Hides a message for a while, from now on. If that fails it comes back when the queue's own
/// visibility timeout is over.
pub async fn hide(sqs: &Client, queue: &QueueUrl, record: &QueueRecord, time: Duration) {
    let result = sqs
        .change_message_visibility()
        .queue_url(queue.as_str())
        .receipt_handle(&record.receipt_handle)
        .visibility_timeout(i32::try_from(time.as_secs()).unwrap_or(900))
        .send()
        .await;
    if let Err(error) = result {
        warn!(message_id = record.message_id, error = %describe(&error), "the visibility of a message could not be changed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_back_waits_from_half_a_minute_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> = (0..9).map(|count| backoff(count).as_secs()).collect();
        assert_eq!(waits, [30, 30, 60, 120, 240, 480, 900, 900, 900]);
    }
}
