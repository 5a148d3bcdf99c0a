//! Fences in the message groups: see [`invalidator_core::fence::in_group`].
//!
//! They are looked at when all sets of the batch are done. Whatever fails here fails no set: a fence that is
//! not deleted comes back, and one that cannot be written is given up, as another one will be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use invalidator_core::fence::in_group::{self, Step, steps};
use invalidator_core::fence::{GroupFence, passed_at};
use invalidator_core::set::Set;
use tokio::time::Instant;
use tracing::{info, warn};

use super::group::delete;
use crate::app::App;
use crate::fences;
use crate::metrics::milliseconds;
use crate::queue::{self, Entry, Received, send_persistently};

/// How long sending fences may take.
const TIME_TO_SEND: Duration = Duration::from_secs(4);

/// The fences of so many groups of a batch are hidden for a second, those of as many others for two, and so on.
/// Not longer, because the sets behind them are hidden too; and not all at once, or a batch of ten would bring
/// the first fence of each group and never the next one. (SQS tries to bring messages of the same group, says its
/// Developer Guide, "FIFO queue delivery logic".)
const HIDDEN_AT_ONCE: usize = 4;

/// The message groups with fences.
#[derive(Debug, Default)]
pub struct Fences {
    groups: BTreeMap<String, Vec<InGroup>>,
    messages: BTreeSet<String>,
}

/// A message of a group with fences.
#[derive(Debug)]
struct InGroup {
    id: String,
    receipt_handle: String,
    receives: u32,
    fence: Option<GroupFence>,
    is_rest: bool,
}

impl Fences {
    /// Takes the fences out of the messages of a batch.
    pub fn take(records: &mut Vec<SqsMessage>) -> Self {
        let mut fences = Self::default();
        let read: Vec<Option<GroupFence>> = records.iter().map(read).collect();
        if read.iter().all(Option::is_none) {
            return fences;
        }
        for fence in read.iter().flatten() {
            fences.groups.entry(fence.group.clone()).or_default();
        }
        for (record, fence) in records.iter().zip(&read) {
            let Some(group) = fences.groups.get_mut(group_of(record)) else {
                continue;
            };
            group.push(InGroup {
                id: record.id(),
                receipt_handle: record.handle(),
                receives: record.receive_count(),
                fence: fence.clone(),
                is_rest: is_rest(record),
            });
            if fence.is_some() {
                fences.messages.insert(record.id());
            }
        }
        records.retain(|record| !fences.messages.contains(&record.id()));
        fences
    }

    /// Lets fences pass, or lets them stay. `waiting` are the ids of the other messages that stay. Returns the
    /// ids of the fences that stay.
    pub async fn go_on(self, app: &App, waiting: &[String]) -> Vec<String> {
        let (mut stay, mut done, mut ask) = (vec![], vec![], vec![]);
        let mut hide: BTreeMap<Duration, Vec<String>> = BTreeMap::new();
        for (index, messages) in self.groups.into_values().enumerate() {
            let hidden = Duration::from_secs(1 + (index / HIDDEN_AT_ONCE) as u64);
            let received = messages.iter().map(|message| match &message.fence {
                Some(fence) => in_group::Received::Fence(fence.clone(), message.receives),
                None => in_group::Received::Set {
                    waits: waiting.contains(&message.id),
                    is_rest: message.is_rest,
                },
            });
            let steps = steps(&received.collect::<Vec<_>>());
            for (message, step) in messages.into_iter().zip(steps) {
                let is_staying = matches!(step, Some(Step::Stay | Step::Ask(_)));
                match (step, message.fence) {
                    (Some(Step::Pass), Some(fence)) => {
                        let now = milliseconds(app.clock.now());
                        info!(
                            stage = "submit",
                            fence = fence.id,
                            group = fence.group,
                            "a fence has passed"
                        );
                        fences::write(app, fence.key(), passed_at(now)).await;
                    }
                    (Some(Step::Ask(next) | Step::Replace(next)), _) => ask.extend(entry(&next)),
                    (None, _) => continue,
                    _ => {}
                }
                match is_staying {
                    true => {
                        stay.push(message.id);
                        hide.entry(hidden).or_default().push(message.receipt_handle);
                    }
                    false => done.push(message.receipt_handle),
                }
            }
        }
        if !ask.is_empty() {
            let until = Instant::now() + TIME_TO_SEND;
            for batch in queue::batches(ask) {
                let queue = &app.config.submit_queue;
                let left = send_persistently(app.clients.lean_sqs(), queue, batch, until).await;
                if !left.is_empty() {
                    warn!(
                        stage = "submit",
                        fences = left.len(),
                        "fences could not be sent"
                    );
                }
            }
        }
        for (time, handles) in hide {
            queue::hide(
                app.clients.lean_sqs(),
                &app.config.submit_queue,
                handles,
                time,
            )
            .await;
        }
        if !done.is_empty() {
            delete(app, done).await;
        }
        stay
    }
}

fn entry(fence: &GroupFence) -> Option<Entry> {
    let body = fence.to_json().ok()?;
    Some(Entry {
        fifo: Some((fence.group.clone(), fence.deduplication_id())),
        ..Entry::of_body(body)
    })
}

fn group_of(record: &SqsMessage) -> &str {
    let group = record.attributes.get("MessageGroupId");
    group.map(String::as_str).unwrap_or_default()
}

fn read(record: &SqsMessage) -> Option<GroupFence> {
    GroupFence::from_json(record.body.as_deref()?, group_of(record))
}

/// Whether a message may hold what is left of an older set: the rest of one, or a call whose answer was lost.
fn is_rest(record: &SqsMessage) -> bool {
    let body = record.body.as_deref().unwrap_or_default();
    let set = Set::from_json(body);
    set.is_ok_and(|set| set.first_sent.is_some() || set.caller_reference.is_some())
}
