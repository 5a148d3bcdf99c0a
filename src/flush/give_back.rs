//! Puts changes back into the buffer for those targets alone that could not be told now: because their
//! distributions could not be read, or because time was over before their sets were sent.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use invalidator_core::buffered::{Packer, Scope};
use invalidator_core::event::{BucketName, Change};
use invalidator_core::plan::KeyChanges;
use tokio::time::Instant;
use tracing::error;

use super::drain::Buffered;
use crate::app::App;
use crate::queue::{Entry, batches, send_persistently};

/// Puts the changes of some buckets back for the targets of `scope`, hidden for `delay` at first.
/// Returns whether all of them are in the buffer.
pub async fn give_back(
    app: &App,
    scope: Scope,
    (keys, messages): (&KeyChanges, &[Buffered]),
    buckets: &BTreeSet<&BucketName>,
    (delay, until): (Duration, Instant),
) -> bool {
    let entries = match pack(scope, keys, messages, buckets, delay) {
        Ok(entries) => entries,
        Err(error) => {
            error!(
                stage = "flush",
                error = format!("{error:#}"),
                "changes could not be packed"
            );
            return false;
        }
    };
    for batch in batches(entries) {
        let queue = &app.config.buffer_queue;
        let left = send_persistently(app.clients.sqs(), queue, batch, until).await;
        if !left.is_empty() {
            return false;
        }
    }
    true
}

fn pack(
    scope: Scope,
    keys: &KeyChanges,
    messages: &[Buffered],
    buckets: &BTreeSet<&BucketName>,
    delay: Duration,
) -> Result<Vec<Entry>> {
    let mut packer = Packer::new(Some(scope))?;
    for (index, key) in keys.iter().enumerate() {
        if !buckets.contains(key.bucket) {
            continue;
        }
        let sources = keys.sources(index);
        let sources = sources.filter_map(|source| messages.get(usize::try_from(source).ok()?));
        packer.add(&Change {
            bucket: key.bucket.clone(),
            key: key.key(),
            kind: key.kind,
            event_time: sources.filter_map(|message| message.oldest).min(),
        })?;
    }
    let entry = |body| Entry {
        delay,
        ..Entry::of_body(body)
    };
    Ok(packer.finish()?.into_iter().map(entry).collect())
}
