//! From an S3 event to the buffer: read the event, apply the exception rules, buffer the changes, and
//! only then send a tick.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_lambda_events::sqs::SqsBatchResponse;
use invalidator_core::bucket_tags::BucketSettings;
use invalidator_core::buffered::pack;
use invalidator_core::event::{self, BucketName, Change, ChangeKind, Reading};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::app::App;
use crate::aws::Service;
use crate::counters::counters;
use crate::metrics::Metric;
use crate::queue::{self, Entry};
use crate::ticker::Ticked;

/// How long reading the tags of an event's buckets may take.
const TIME_TO_READ_TAGS: Duration = Duration::from_secs(60);

/// Buffers the changes that an event reports.
///
/// # Errors
/// If changes could not be buffered, or a record that did not come through SQS could not be read:
/// Lambda repeats the event, and then keeps it in the on-failure queue. An SQS message that could not
/// be read is returned as a failed batch item instead.
pub async fn ingest(app: &App, payload: &str) -> Result<SqsBatchResponse> {
    let mut reading = event::read(payload);
    let changes = std::mem::take(&mut reading.changes);
    if !changes.is_empty() {
        app.clients.connect_early(&[Service::Sqs]);
    }
    let mut counts = EventCounts {
        skipped: reading.skipped.values().sum(),
        unreadable: reading.unreadable,
        ..EventCounts::default()
    };
    let kept = without_excepted(app, changes, &mut counts).await;
    let buffered = buffer(app, &kept, &mut counts).await;
    counts.tell(app, kept.len(), &reading.skipped);
    buffered?;
    answer(reading)
}

counters! {
    /// What of an event is worth telling. Its other changes are in the buffer, where a flush counts them: S3 sends
    /// an event for each change, so a line for each would cost more than all else.
    EventCounts {
        excepted: "ChangesExcepted",
        skipped: "EventsSkipped",
        unreadable: "RecordsUnreadable",
        /// Buckets whose tags could not be read.
        tags_unreadable: "TagsUnreadable",
        /// Tags of buckets that have changed.
        tags_changed: "TagsChanged",
        ticks_throttled: "TicksThrottled",
    }
}

impl EventCounts {
    /// Logs the counts in one line and emits them as metrics, if anything is worth telling.
    fn tell(self, app: &App, kept: usize, skipped: &BTreeMap<String, usize>) {
        if self == Self::default() {
            debug!(stage = "ingest", changes = kept, "ingested");
            return;
        }
        let skipped_events: Vec<String> =
            skipped.iter().map(|(it, n)| format!("{n} {it}")).collect();
        let skipped_events = (!skipped.is_empty()).then(|| skipped_events.join(", "));
        info!(stage = "ingest", changes = kept, counts = %self, skipped_events, "ingested");
        let mut metrics = self.metrics();
        // What is excepted never comes to a flush, which counts the others.
        metrics.push(Metric::Count("ChangesReceived", self.excepted));
        app.metrics.emit(app.clock.now(), &metrics);
    }
}

/// Buffers changes, and only then sends a tick.
async fn buffer(app: &App, changes: &[Change<'_>], counts: &mut EventCounts) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let sqs = app.clients.lean_sqs();
    let entries = pack(changes)?.into_iter().map(Entry::of_body);
    queue::send(sqs, &app.config.buffer_queue, entries)
        .await
        .context("failed to buffer changes")?;
    let ticked = app
        .ticker
        .tick(
            sqs,
            &app.config.tick_queue,
            app.clock.now(),
            app.config.debounce,
        )
        .await?;
    if ticked == Ticked::Throttled {
        counts.ticks_throttled = 1;
        warn!(
            stage = "ingest",
            "the tick was throttled: another tick or the sweep flushes these changes"
        );
    }
    Ok(())
}

/// Leaves out the changes that are exempt, and the ids of versions where nothing is ever skipped.
async fn without_excepted<'a>(
    app: &App,
    mut changes: Vec<Change<'a>>,
    counts: &mut EventCounts,
) -> Vec<Change<'a>> {
    let settings = settings(app, &changes, counts).await;
    if !may_ignore(app, &changes, &settings).await {
        return changes;
    }
    let now = app.clock.now();
    changes.retain_mut(|change| {
        let settings = settings.get(&change.bucket);
        if !settings.is_some_and(|settings| settings.only_changed) {
            change.version_id = None;
        }
        let Some(rule) = settings.and_then(|settings| settings.exceptions.exempting(change)) else {
            return true;
        };
        counts.excepted += 1;
        if app.decisions.may_log(now) {
            info!(
                stage = "ingest",
                decision = "excepted",
                bucket = %change.bucket,
                key = %change.key,
                kind = %change.kind,
                reason = %rule,
                "decision"
            );
        }
        false
    });
    changes
}

/// Whether uploads may be ignored. No target may count as told of them: if it did, a later upload of the same
/// bytes could be skipped, under other exception rules.
async fn may_ignore(
    app: &App,
    changes: &[Change<'_>],
    settings: &HashMap<BucketName, Arc<BucketSettings>>,
) -> bool {
    let ignored = changes.iter().filter_map(|change| {
        let settings = settings.get(&change.bucket)?;
        settings.exceptions.exempting(change)?;
        Some((&change.bucket, settings.tags_hash()))
    });
    let ignored: BTreeMap<&BucketName, String> = ignored.collect();
    if ignored.is_empty() {
        return true;
    }
    let is_opted_in = |bucket: &BucketName| settings.get(bucket).is_some_and(|it| it.only_changed);
    let any_opted_in = ignored.keys().any(|bucket| is_opted_in(bucket));
    let noted = app.ledger.uploads_ignored(app.state(), &ignored).await;
    if let Err(error) = &noted
        && any_opted_in
    {
        let error = format!("{error:#}");
        warn!(
            stage = "ingest",
            error, "the ledger cannot be changed, so uploads under exception paths are invalidated"
        );
    }
    noted.is_ok() || !any_opted_in
}

/// The settings of the buckets with creations. A bucket with only deletions needs none, because no rule
/// exempts them.
async fn settings(
    app: &App,
    changes: &[Change<'_>],
    counts: &mut EventCounts,
) -> HashMap<BucketName, Arc<BucketSettings>> {
    let created = changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Created);
    let buckets: BTreeSet<&BucketName> = created.map(|change| &change.bucket).collect();
    let until = Instant::now() + TIME_TO_READ_TAGS;
    let settings = app
        .tags
        .settings_of(app.clients.s3(), buckets.iter().copied(), until)
        .await;
    counts.tags_unreadable = buckets.len() - settings.len();
    counts.tags_changed = app.tags.take_changed();
    settings
}

fn answer(reading: Reading) -> Result<SqsBatchResponse> {
    for problem in &reading.problems {
        if let Some(message_id) = &problem.message_id {
            error!(stage = "ingest", %problem, message_id, "a message cannot be read, so it is returned to its queue");
        }
    }
    let direct = reading.problems.iter();
    let direct = direct.filter(|problem| problem.message_id.is_none());
    let shown: Vec<String> = direct.map(ToString::to_string).collect();
    let count = reading.unreadable_outside_sqs;
    if count > 0 {
        let more = match count - shown.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        return Err(anyhow!(
            "{count} of the event's records cannot be read: {}{more}",
            shown.join("; ")
        ));
    }
    Ok(queue::failed(reading.failed_messages))
}
