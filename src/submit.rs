//! From SubmitQueue to CloudFront: the only stage that creates invalidations, writes error files and
//! sends mails.
//!
//! One batch contains messages for several targets. They are submitted side by side, and the messages of
//! each target are settled (deleted or returned) as soon as it is done, so that a slow or busy target
//! delays no other.
//!
//! * [`message`]: reads the messages
//! * [`group`]: all messages of a batch for one target
//! * [`unit`]: merged sets, submitted in calls of a size and at a pace that CloudFront accepts
//! * [`call`]: one call
//! * [`answer`]: classifies CloudFront's answer
//! * [`fence`]: fences, for whoever waits until all older sets are accepted or rejected
//! * [`trust`]: what the answers mean for the trust in a target

pub mod answer;
pub mod call;
pub mod fence;
pub mod group;
pub mod message;
pub mod trust;
pub mod unit;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use futures_util::stream::{FuturesUnordered, StreamExt};
use invalidator_core::error_file::Unreadable;
use invalidator_core::mode::Mode;
use invalidator_core::retry;
use invalidator_core::target::{DistributionId, Target};
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use crate::app::App;
use crate::aws::Service;
use crate::clock::Deadline;
use crate::counters::counters;
use crate::incidents;
use crate::ledger::{News, TIME_TO_TELL, Waiting};
use crate::metrics::{MAX_DISTRIBUTIONS_WITH_METRICS, MAX_VALUES, Metric, milliseconds};
use crate::queue::{self, Received};
use crate::rejections::{Filed, file_unreadable};
use fence::Fences;
use group::{Answered, Group, GroupEnd, PathCounts, delete, file_and_settle};
use message::{Message, may_be_ours, read};

/// How long after the first error file the mail is sent. It lists all files written by then.
const MAIL_AFTER: Duration = Duration::from_secs(1);

/// How long a group with rejected paths waits for the other lane of its target, so that both share a file.
const FILE_AFTER: Duration = Duration::from_secs(1);

/// Submits sets of paths. Returns the messages that wait; all others are done.
pub async fn submit(
    app: &App,
    mut records: Vec<SqsMessage>,
    deadline: &Deadline,
) -> SqsBatchResponse {
    app.clients
        .connect_early(&[Service::CloudFront, Service::Sqs]);
    let mode = app.mode.current(app.state()).await;
    if mode != Some(Mode::Live) {
        return wait(app, &records, mode, deadline).await;
    }
    let start = Instant::now();
    let fences = Fences::take(&mut records);
    let mut batch = Batch::new(app);
    let mut targets: BTreeMap<(String, Target), Vec<Message>> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for record in records {
        match read(&record) {
            Ok((group, message)) => {
                let target = message.set.target.clone();
                targets.entry((group, target)).or_default().push(message);
            }
            Err(why) => unreadable.push((record, why)),
        }
    }
    let mut lanes = Lanes::default();
    let mut jobs: Jobs<'_> = FuturesUnordered::new();
    for (record, why) in unreadable {
        jobs.push(Box::pin(reject_unreadable(app, record, why)));
    }
    for ((_, target), messages) in &mut targets {
        let group = Group {
            app,
            deadline,
            target,
            messages: std::mem::take(messages),
        };
        lanes.begin(target);
        jobs.push(Box::pin(async { Event::Answered(group.submit().await) }));
    }
    while let Some(event) = jobs.next().await {
        match event {
            Event::Answered(answered) => {
                let target = answered.target();
                let ready = lanes.answered(target, answered);
                if lanes.must_wait(target) {
                    jobs.push(Box::pin(async move {
                        sleep(FILE_AFTER).await;
                        Event::TimeToFile(target)
                    }));
                }
                settle(&jobs, ready);
            }
            Event::TimeToFile(target) => settle(&jobs, vec![lanes.take(target)]),
            Event::Settled(distribution, ends) => {
                for end in ends {
                    batch.add(distribution.clone(), end);
                }
            }
            Event::TimeToMail => {
                let (filed, handles) = batch.take_filed();
                jobs.push(Box::pin(async move {
                    let rejections = filed.into_iter().flat_map(|filed| filed.rejections);
                    let sent = incidents::report(app, &rejections.collect::<Vec<_>>()).await;
                    delete(app, handles).await;
                    let failed = sent.failed();
                    sent.note(app).await;
                    Event::Mailed { failed }
                }));
            }
            Event::Mailed { failed } => batch.counts.mails_failed += failed,
        }
        if batch.must_mail() {
            jobs.push(Box::pin(async {
                sleep(MAIL_AFTER).await;
                Event::TimeToMail
            }));
        }
    }
    let began = app.clock.now() - start.elapsed();
    incidents::accepted(app, began, std::mem::take(&mut batch.accepted)).await;
    batch.tell_ledger(deadline).await;
    let fences = fences.go_on(app, &batch.waiting).await;
    batch.finish(start.elapsed(), fences)
}

/// Settles groups, after their error file is written. Each list holds groups of one target.
fn settle<'a>(jobs: &Jobs<'a>, ready: Vec<Vec<Answered<'a>>>) {
    for groups in ready.into_iter().filter(|groups| !groups.is_empty()) {
        let distribution = groups.first().map(|it| it.target().distribution.clone());
        jobs.push(Box::pin(async move {
            Event::Settled(distribution, file_and_settle(groups).await)
        }));
    }
}

/// The lanes of each target, of which those with rejected paths wait for each other for a moment.
#[derive(Default)]
struct Lanes<'a> {
    running: BTreeMap<&'a Target, usize>,
    held: BTreeMap<&'a Target, Vec<Answered<'a>>>,
}

impl<'a> Lanes<'a> {
    fn begin(&mut self, target: &'a Target) {
        *self.running.entry(target).or_default() += 1;
    }

    /// Takes a group that CloudFront has answered to. Returns the groups that can be settled now.
    fn answered(&mut self, target: &'a Target, group: Answered<'a>) -> Vec<Vec<Answered<'a>>> {
        let running = self.running.entry(target).or_default();
        *running = running.saturating_sub(1);
        let is_last = *running == 0;
        let mut ready = Vec::new();
        match group.has_rejected() {
            true => self.held.entry(target).or_default().push(group),
            false => ready.push(vec![group]),
        }
        if is_last {
            ready.push(self.take(target));
        }
        ready
    }

    /// Whether a group of this target waits for another.
    fn must_wait(&self, target: &Target) -> bool {
        self.held.contains_key(target)
    }

    fn take(&mut self, target: &Target) -> Vec<Answered<'a>> {
        self.held.remove(target).unwrap_or_default()
    }
}

/// The jobs that run side by side.
type Jobs<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Event<'a>> + 'a>>>;

enum Event<'a> {
    /// CloudFront has answered to a group.
    Answered(Answered<'a>),
    /// A group of this target has waited long enough for the other lane.
    TimeToFile(&'a Target),
    /// All messages of these groups are settled, or one that cannot be read (no distribution).
    Settled(Option<DistributionId>, Vec<GroupEnd>),
    /// It is time to send a mail about the files so far, and then to delete their messages.
    TimeToMail,
    /// Mails were sent; so many could not be.
    Mailed { failed: usize },
}

/// Writes the body of a message that cannot be read to a file, so that it does not block its group.
async fn reject_unreadable(app: &App, record: SqsMessage, unreadable: Unreadable) -> Event<'_> {
    error!(
        stage = "submit",
        message_id = record.id(),
        why = unreadable.why(),
        "a message cannot be read"
    );
    let body = record.body.as_deref().unwrap_or_default();
    let mut end = GroupEnd::default();
    let filed = async {
        if may_be_ours(&record) {
            let why = "a message could not be read";
            let taken = app.ledger.distrust_all(app.state(), why).await;
            taken.context("the trust in the targets could not be taken before")?;
        }
        file_unreadable(app, &unreadable, body).await
    };
    match filed.await {
        Ok(filed) => {
            end.filed = Some(filed);
            end.to_delete.push(record.handle());
        }
        Err(error) => {
            error!(
                stage = "submit",
                error = format!("{error:#}"),
                "the error file of a message that cannot be read could not be written, so the message waits"
            );
            let time = retry::group_comes_back(false, record.receive_count(), fastrand::f64());
            queue::hide(
                app.clients.lean_sqs(),
                &app.config.submit_queue,
                vec![record.handle()],
                time,
            )
            .await;
            let now = milliseconds(app.clock.now());
            // The alarm tells of it if that goes on.
            end.oldest = record
                .time("SentTimestamp")
                .map(|sent| now.saturating_sub(sent));
            end.returned.push(record.id());
        }
    }
    Event::Settled(None, vec![end])
}

/// Returns all sets, because the stack is not live, or because its mode cannot be read.
async fn wait(
    app: &App,
    records: &[SqsMessage],
    mode: Option<Mode>,
    deadline: &Deadline,
) -> SqsBatchResponse {
    let receives = records.iter().map(Received::receive_count).max();
    let time = match mode {
        Some(_) => retry::NOT_LIVE_WAIT,
        None => retry::group_comes_back(false, receives.unwrap_or(1), fastrand::f64()),
    };
    let name = mode.map_or_else(|| "unknown".to_owned(), |mode| mode.to_string());
    let (sets, seconds) = (records.len(), time.as_secs());
    info!(
        stage = "submit",
        mode = name,
        sets,
        seconds,
        "sets wait: the stack is not live"
    );
    let mut metrics = vec![Metric::Count("SetsWaiting", sets)];
    if mode.is_none() {
        let now = milliseconds(app.clock.now());
        let sent = records
            .iter()
            .filter_map(|it| it.time("SentTimestamp"))
            .min();
        let oldest = sent.map(|sent| now.saturating_sub(sent));
        metrics.push(Metric::Milliseconds(
            "OldestChange",
            oldest.into_iter().collect(),
        ));
    }
    app.metrics.emit(app.clock.now(), &metrics);
    let handles = records.iter().map(Received::handle).collect();
    queue::hide(
        app.clients.lean_sqs(),
        &app.config.submit_queue,
        handles,
        time,
    )
    .await;
    let sets = records.iter().filter_map(|record| read(record).ok());
    let waiting: Vec<Waiting> = sets.filter_map(|(_, set)| trust::waits(&set)).collect();
    trust::note_waiting(app, &waiting, deadline).await;
    queue::failed(records.iter().map(Received::id))
}

counters! {
    /// What happened to the messages of a batch.
    BatchCounts {
        /// Messages that could not be read.
        unreadable: "SetsUnreadable",
        waiting: "SetsWaiting",
        mails_failed: "MailsFailed",
    }
}

/// The results of a batch so far.
struct Batch<'a> {
    app: &'a App,
    waiting: Vec<String>,
    /// Files that no mail has listed yet, and the messages that are deleted after the mail.
    filed: Vec<Filed>,
    to_delete: Vec<String>,
    will_mail: bool,
    /// The targets of which paths were accepted, and none rejected.
    accepted: Vec<String>,
    news: News,
    /// The sets of the function itself that wait.
    sets_waiting: Vec<Waiting>,
    counts: BatchCounts,
    paths: BTreeMap<DistributionId, PathCounts>,
    ages: Vec<u64>,
    oldest: Option<u64>,
}

impl<'a> Batch<'a> {
    fn new(app: &'a App) -> Self {
        Self {
            app,
            waiting: Vec::new(),
            filed: Vec::new(),
            to_delete: Vec::new(),
            will_mail: false,
            accepted: Vec::new(),
            news: News::default(),
            sets_waiting: Vec::new(),
            counts: BatchCounts::default(),
            paths: BTreeMap::new(),
            ages: Vec::new(),
            oldest: None,
        }
    }

    fn add(&mut self, distribution: Option<DistributionId>, end: GroupEnd) {
        if end.paths.accepted > 0 && end.paths.rejected == 0 {
            self.accepted.extend(end.target);
        }
        match distribution {
            Some(id) => self.paths.entry(id).or_default().add(end.paths),
            None => self.counts.unreadable += 1,
        }
        self.news.add(end.news);
        self.sets_waiting.extend(end.waiting);
        self.waiting.extend(end.returned);
        let room = MAX_VALUES.saturating_sub(self.ages.len());
        self.ages.extend(end.ages.into_iter().take(room));
        self.oldest = self.oldest.max(end.oldest);
        self.filed.extend(end.filed);
        self.to_delete.extend(end.to_delete);
    }

    /// Whether a mail must be scheduled: there are files to report, and no mail is scheduled yet.
    fn must_mail(&mut self) -> bool {
        let must = !self.filed.is_empty() && !self.will_mail;
        self.will_mail |= must;
        must
    }

    fn take_filed(&mut self) -> (Vec<Filed>, Vec<String>) {
        self.will_mail = false;
        (
            std::mem::take(&mut self.filed),
            std::mem::take(&mut self.to_delete),
        )
    }

    /// Tells the ledger what was accepted, and what waits. In this order: a wildcard that was accepted makes up
    /// for what waited before it.
    async fn tell_ledger(&mut self, deadline: &Deadline) {
        self.app.ledger.keep(std::mem::take(&mut self.news));
        if deadline.remaining() >= TIME_TO_TELL {
            self.app.ledger.tell(self.app.state()).await;
        }
        trust::note_waiting(self.app, &self.sets_waiting, deadline).await;
    }

    /// Logs a line, emits the metrics, and makes the answer for Lambda: what waits comes back, and fences that
    /// stay.
    fn finish(self, duration: Duration, fences: Vec<String>) -> SqsBatchResponse {
        let mut total = PathCounts::default();
        self.paths.values().for_each(|counts| total.add(*counts));
        let counts = BatchCounts {
            waiting: self.waiting.len(),
            ..self.counts
        };
        // Each invalidation that was accepted has a line of its own.
        if counts != BatchCounts::default() || total.later + total.rejected > 0 {
            info!(stage = "submit", distributions = self.paths.len(), %counts, paths = %total, "submitted");
        }
        let now = self.app.clock.now();
        let mut metrics = counts.metrics();
        metrics.extend([
            Metric::Milliseconds("ChangeAge", self.ages),
            Metric::Milliseconds("OldestChange", self.oldest.into_iter().collect()),
            Metric::duration("SubmitDuration", duration),
        ]);
        metrics.extend(total.metrics());
        self.app.metrics.emit(now, &metrics);
        // Two dimensions make a metric of its own for each distribution, so there is only one.
        let is_small = self.app.catalog.count_listed() <= MAX_DISTRIBUTIONS_WITH_METRICS;
        for (distribution, counts) in self.paths.iter().filter(|_| is_small) {
            let accepted = Metric::Count("PathsAccepted", counts.accepted);
            self.app
                .metrics
                .emit_for(now, distribution.as_str(), &[accepted]);
        }
        queue::failed(self.waiting.into_iter().chain(fences))
    }
}
