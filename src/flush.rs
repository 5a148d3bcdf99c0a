//! From the buffer to SubmitQueue: load, drain, plan, enqueue, and only then acknowledge.
//!
//! A flush is done when its sets are in SubmitQueue. If CloudFront is busy they wait there, and each
//! target waits alone.
//!
//! * [`ahead`]: reads what planning needs while a round is received
//! * [`room`]: how much one round may hold
//! * [`drain`]: receives waiting messages, up to one round
//! * [`hold`]: holds back the changes that a pause covers
//! * [`round`]: plans a round and enqueues its sets
//! * [`enqueue`]: sends sets to SubmitQueue
//! * [`deletions`]: deletes what is done, while the next round is received
//! * [`rationed`]: wildcards that names need, and that have waited for their ration
//! * [`give_back`]: puts changes back into the buffer for targets that could not be handled
//! * [`fence`]: puts fences behind the sets, for whoever waits for them
//! * [`unreadable`]: hands messages that cannot be read over to submit
//! * [`cost`]: what is done in order to pay less
//! * [`log`]: logs the decision for each key
//! * [`report`]: counts what a flush did

pub mod ahead;
pub mod cost;
pub mod deletions;
pub mod drain;
pub mod enqueue;
pub mod fence;
pub mod give_back;
pub mod hold;
pub mod log;
pub mod rationed;
pub mod report;
pub mod room;
pub mod round;
pub mod unreadable;

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use invalidator_core::mode::Mode;
use invalidator_core::pause::Pauses;
use invalidator_core::retry::{FlushEnd, TIME_TO_STOP, tick_comes_back};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::app::App;
use crate::aws::Service;
use crate::clock::Deadline;
use crate::incidents;
use crate::metrics::Metric;
use crate::others;
use crate::queue::{self, Received};
use crate::ticker::{self, Ticked};
use deletions::{Deleter, deletions};
use drain::Drain;
use fence::Fences;
use report::Report;
use round::Rounds;

/// How long reading CloudFront's configuration may take in one flush. At ten reads a second that is enough for
/// the default root objects of 500 distributions.
const TIME_TO_READ: Duration = Duration::from_secs(60);

/// A round needs at least this much time, in addition to [`TIME_TO_STOP`].
const TIME_FOR_A_ROUND: Duration = Duration::from_secs(10);

/// Deleting messages ends this long before Lambda ends the function: the flush must still be able to say that
/// its ticks are done.
const TIME_TO_ANSWER: Duration = Duration::from_secs(5);

/// Processes the buffer. Returns the ticks that must come back: all of them, or none.
pub async fn flush(app: &App, ticks: &[SqsMessage], deadline: &Deadline) -> SqsBatchResponse {
    let (end, comes_back) = flush_once(app, ticks, deadline).await;
    let Some(time) = comes_back else {
        return SqsBatchResponse::default();
    };
    info!(stage = "flush", %end, seconds = time.as_secs(), "the tick comes back");
    let handles = ticks.iter().map(Received::handle).collect();
    queue::hide(
        app.clients.lean_sqs(),
        &app.config.tick_queue,
        handles,
        time,
    )
    .await;
    queue::failed(ticks.iter().map(Received::id))
}

/// Processes the buffer. Returns how that ended, and after which time it is to be done again, if it is.
pub async fn flush_once(
    app: &App,
    ticks: &[SqsMessage],
    deadline: &Deadline,
) -> (FlushEnd, Option<Duration>) {
    let start = Instant::now();
    // The ticks are done only when the messages are deleted: if the function is killed before that, both come
    // back.
    let (deleter, deletions) = deletions(app);
    let delete_until = start + deadline.remaining().saturating_sub(TIME_TO_ANSWER);
    let ((end, mut report), ()) =
        tokio::join!(run(app, deadline, deleter), deletions.run(delete_until));
    let comes_back = tick_comes_back(end, app.last_flush.history(ticks, app.clock.now()));
    let waits = app.last_flush.ended(end, ticks, app.clock.now());
    report.oldest = report.oldest.max(waits);
    let has_worked = report.counts.messages > 0;
    let lacks_root_objects = report.lacks_root_objects;
    let fences = Fences::of(&mut report, end, comes_back.is_some());
    report.tell(app, end, start.elapsed());
    if lacks_root_objects && deadline.remaining() > TIME_TO_STOP {
        tick_again(app).await;
    }
    if deadline.remaining() > TIME_TO_STOP {
        fences.go_on(app).await;
    }
    if deadline.remaining() > TIME_TO_STOP {
        let failed = incidents::check(app).await;
        if failed > 0 {
            let failed = Metric::Count("MailsFailed", failed);
            app.metrics.emit(app.clock.now(), &[failed]);
        }
    }
    if has_worked && deadline.remaining() > TIME_TO_STOP {
        others::count(app).await;
    }
    (end, comes_back)
}

/// Lets a flush begin when the changes that were put back for their default root objects are visible.
async fn tick_again(app: &App) {
    let (sqs, queue) = (app.clients.lean_sqs(), &app.config.tick_queue);
    // The time before it is sent: it may arrive long before its answer.
    let now = app.clock.now();
    let ticked = ticker::tick_again(sqs, queue, now).await;
    let error = match ticked {
        Ok(Ticked::Throttled) => "it was throttled".to_owned(),
        Ok(_) => return app.last_flush.has_ticked_again(now),
        Err(error) => format!("{error:#}"),
    };
    warn!(
        stage = "flush",
        error, "a tick could not be sent, so default root objects wait for the next flush or sweep"
    );
}

async fn run(app: &App, deadline: &Deadline, deleter: Deleter) -> (FlushEnd, Report) {
    // Half of the time is left to send what was read for.
    let time = deadline.remaining().saturating_sub(TIME_TO_STOP) / 2;
    let read_until = Instant::now() + TIME_TO_READ.min(time);
    let (begin, begun) = oneshot::channel();
    let cloudfront = app.clients.cloudfront();
    let policies = app.catalog.load_policies(cloudfront, read_until, begun);
    let mut flush = pin!(receive_and_process(
        app,
        deadline,
        deleter,
        (read_until, begin)
    ));
    // Who needs the policies waits for them.
    tokio::select! {
        // In this order, so that a seed of the simulation runs the same each time.
        biased;
        ended = &mut flush => ended,
        () = policies => flush.await,
    }
}

/// Loads, and then processes the buffer round by round. Tells `begin` if cache policies are to be read meanwhile.
async fn receive_and_process(
    app: &App,
    deadline: &Deadline,
    deleter: Deleter,
    (read_until, begin): (Instant, oneshot::Sender<()>),
) -> (FlushEnd, Report) {
    let mut report = Report::default();
    let (mode, pauses) = match load(app, read_until, begin).await {
        Ok(loaded) => loaded,
        Err(end) => {
            report.is_not_live = end == FlushEnd::Stopped;
            return (end, report);
        }
    };
    report.is_not_live = mode != Mode::Live;
    if mode == Mode::DryRun
        && let Err(error) = app
            .ledger
            .distrust_all(app.state(), "a dry run has discarded changes")
            .await
    {
        let error = format!("{error:#}");
        error!(
            stage = "flush",
            error,
            "the ledger cannot be changed, so nothing is received: targets would count as up to date"
        );
        return (FlushEnd::Failed, report);
    }
    let mut drain = Drain::new(app, &deleter);
    let mut rounds = Rounds {
        app,
        deadline,
        mode,
        pauses,
        deleter: &deleter,
        read_until,
        unread: BTreeSet::new(),
        roots_until: None,
    };
    loop {
        let time = deadline.remaining().saturating_sub(TIME_TO_STOP);
        if time < TIME_FOR_A_ROUND || report.counts.changes >= app.config.max_changes_per_flush {
            return (end(&drain, &report, FlushEnd::WorkLeft), report);
        }
        let left = app.config.max_changes_per_flush - report.counts.changes;
        let mut batch = drain.round(time, left).await;
        report.fences.append(&mut batch.fences);
        report.began = drain.began();
        report.is_empty = drain.is_empty();
        let is_last = drain.is_drained() || drain.is_broken();
        if !batch.is_empty() {
            let of_round = rounds.process(batch).await;
            drain.learn(of_round.slowest_call);
            report.add(of_round.report);
        }
        if is_last {
            return (end(&drain, &report, FlushEnd::Drained), report);
        }
    }
}

/// Reads what a flush needs before it receives anything, so that messages that cannot be planned keep
/// their receive counts and ages: the mode, the pauses and the distributions. Returns how the flush ends if
/// it must not go on.
async fn load(
    app: &App,
    until: Instant,
    begin: oneshot::Sender<()>,
) -> Result<(Mode, Pauses), FlushEnd> {
    app.clients.connect_early(&[Service::Sqs]);
    app.ledger.begin_flush();
    let cloudfront = app.clients.cloudfront();
    let (mode, pauses, listed, ()) = tokio::join!(
        app.mode.current(app.state()),
        app.pauses.current(app.state()),
        app.catalog.load_beside(cloudfront, until, begin),
        app.catalog.load_roots(app.state()),
    );
    let mode = mode.ok_or(FlushEnd::Failed)?;
    if mode == Mode::Stopped {
        return Err(FlushEnd::Stopped);
    }
    let pauses = pauses.ok_or(FlushEnd::Failed)?;
    listed.map_err(|error| {
        error!(
            stage = "flush",
            error = format!("{error:#}"),
            "the distributions cannot be listed, so nothing is received"
        );
        FlushEnd::Failed
    })?;
    Ok((mode, pauses))
}

/// How a flush ended: as `so_far`, unless something failed.
fn end(drain: &Drain<'_>, report: &Report, so_far: FlushEnd) -> FlushEnd {
    if drain.has_failed() {
        FlushEnd::MayHaveHidden
    } else if report.counts.released > 0 {
        FlushEnd::Failed
    } else if report.unsent > 0 {
        FlushEnd::WorkLeft
    } else {
        so_far
    }
}
