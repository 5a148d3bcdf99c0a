//! Puts the fences that a flush has received behind the sets in SubmitQueue, if nothing older can be left in
//! the buffer: see [`invalidator_core::fence`]. Otherwise it puts them back.
//!
//! A flush that has done its work does this last, within a few seconds. Whatever fails here fails nothing
//! else: a fence that is not deleted comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use invalidator_core::fence::{BUSY_FLUSHES, Fence, FlushSays};
use invalidator_core::plan::RootNeed;
use invalidator_core::retry::FlushEnd;
use invalidator_core::set::Lane;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::drain::Held;
use super::enqueue::Enqueuer;
use super::report::Report;
use crate::app::App;
use crate::fences;
use crate::metrics::milliseconds;
use crate::queue::{self, Entry, send_persistently};

/// How long all this may take.
const TIME_FOR_FENCES: Duration = Duration::from_secs(10);

/// How long reading the distributions or sending may take.
const TIME_TO_TRY: Duration = Duration::from_secs(4);

/// The fences of a flush, and what is known at its end.
#[derive(Debug)]
pub struct Fences {
    held: Vec<Held>,
    /// Why none of them may pass.
    barred: Option<String>,
    /// If its last poll brought messages: when the flush began, in milliseconds since 1970.
    is_busy_since: Option<u64>,
    unreadable: usize,
}

impl Fences {
    /// Takes the fences of a flush that ended like this.
    pub fn of(report: &mut Report, end: FlushEnd, comes_back: bool) -> Self {
        Self {
            held: std::mem::take(&mut report.fences),
            barred: barred(report, end, comes_back),
            is_busy_since: (!report.is_empty).then_some(report.began),
            unreadable: report.counts.unreadable,
        }
    }

    /// Lets the fences pass, or puts them back.
    pub async fn go_on(self, app: &App) {
        if self.held.is_empty() {
            return;
        }
        let all = async {
            for held in &self.held {
                if let Err(error) = self.pass(app, held).await {
                    let error = format!("{error:#}");
                    warn!(
                        stage = "flush",
                        fence = held.fence.id,
                        error,
                        "a fence comes back"
                    );
                }
            }
        };
        if timeout(TIME_FOR_FENCES, all).await.is_err() {
            warn!(
                stage = "flush",
                "fences come back, as there is no time left for them"
            );
        }
    }

    async fn pass(&self, app: &App, held: &Held) -> Result<()> {
        let mut fence = held.fence.clone();
        let groups = match (&self.barred, self.is_too_busy(held)) {
            (Some(why), _) => Err(why.clone()),
            (None, true) => {
                fence.busy += 1;
                Err("changes are still coming in".to_owned())
            }
            (None, false) => groups(app, &fence).await,
        };
        let barred = match groups {
            Ok(groups) => match self.send(app, &fence, groups).await? {
                true => None,
                false => Some("fences could not be sent".to_owned()),
            },
            Err(why) => Some(why),
        };
        let done = match barred {
            None => true,
            Some(why) => put_back(app, &fence, why).await?,
        };
        if done {
            let handle = vec![held.receipt_handle.clone()];
            queue::delete(app.clients.lean_sqs(), &app.config.buffer_queue, handle).await;
        }
        Ok(())
    }

    /// Whether something older than a fence may be left, because the last poll brought messages that were sent
    /// after the flush began.
    fn is_too_busy(&self, held: &Held) -> bool {
        let is_older = |began: u64| held.sent.is_some_and(|sent| sent <= began);
        self.is_busy_since
            .is_some_and(|began| !is_older(began) || held.fence.busy < BUSY_FLUSHES)
    }

    /// Puts a fence behind what is in these groups. Returns whether that is done and written.
    async fn send(&self, app: &App, fence: &Fence, groups: Vec<String>) -> Result<bool> {
        let in_groups = fence.in_groups(&groups, fastrand::u64(..));
        let mut enqueuer = Enqueuer::new(app, Instant::now() + TIME_TO_TRY);
        for it in in_groups {
            let entry = Entry {
                fifo: Some((it.group.clone(), it.deduplication_id())),
                ..Entry::of_body(it.to_json()?)
            };
            enqueuer.add(entry).await;
        }
        enqueuer.finish().await;
        if !enqueuer.failed.is_empty() {
            return Ok(false);
        }
        info!(
            stage = "flush",
            fence = fence.id,
            groups = groups.len(),
            "a fence has passed the buffer"
        );
        let now = app.clock.now();
        let says = FlushSays::Passed {
            at: milliseconds(now),
            groups,
            delayed_until: app.last_flush.delayed_until(now).map(milliseconds),
            unreadable: self.unreadable,
        };
        Ok(fences::write(app, fence.key_of_flush(), says.to_json()?).await)
    }
}

/// Why no fence of a flush may pass.
fn barred(report: &Report, end: FlushEnd, comes_back: bool) -> Option<String> {
    let counts = &report.counts;
    let why = if report.is_not_live {
        "the stack is not live".to_owned()
    } else if end != FlushEnd::Drained {
        format!("the flush ended like this: {end}")
    } else if comes_back {
        "an earlier flush failed, and the messages that it received may be hidden".to_owned()
    } else if counts.unread > 0 {
        format!("{} targets could not be read", counts.unread)
    } else if counts.held_back > 0 {
        format!("a spending limit holds back {} paths", counts.held_back)
    } else if report.has_put_back {
        "sets or wildcards wait in the buffer".to_owned()
    } else {
        return None;
    };
    Some(why)
}

/// The message groups of all targets that serve the fence's buckets.
///
/// # Errors
/// If a distribution cannot be read: nobody knows its targets.
async fn groups(app: &App, fence: &Fence) -> Result<Vec<String>, String> {
    let until = Instant::now() + TIME_TO_TRY;
    let (cloudfront, aliases) = (app.clients.cloudfront(), &app.config.origin_buckets);
    let catalog = &app.catalog;
    let serving = catalog
        .serving_as_needed(
            cloudfront,
            (&fence.buckets, aliases),
            &BTreeSet::new(),
            until,
            // Which targets there are does not depend on it.
            |_| RootNeed::None,
        )
        .await;
    if let Some(id) = serving.unread.first() {
        return Err(format!("the distribution {id} could not be read"));
    }
    let targets = serving.distributions.iter().flat_map(|it| &it.targets);
    let groups: BTreeSet<String> = targets.flat_map(Lane::groups).collect();
    Ok(groups.into_iter().collect())
}

/// Sends a fence once more, for the next flush. So it can be received at once, and was received less often.
async fn put_back(app: &App, fence: &Fence, why: String) -> Result<bool> {
    info!(stage = "flush", fence = fence.id, why, "a fence waits");
    let entry = vec![Entry::of_body(fence.to_json()?)];
    let until = Instant::now() + TIME_TO_TRY;
    let queue = &app.config.buffer_queue;
    let left = send_persistently(app.clients.lean_sqs(), queue, entry, until).await;
    let says = FlushSays::Waits {
        at: milliseconds(app.clock.now()),
        why,
    };
    fences::write(app, fence.key_of_flush(), says.to_json()?).await;
    Ok(left.is_empty())
}
