//! Puts changes back into the buffer, but only for the targets that could not be handled now, because
//! their distributions could not be read or time ran out before their sets were made.

use std::time::Duration;

use anyhow::{Result, bail};
use invalidator_core::buffered::{Packer, Scope};
use invalidator_core::plan::{KeyChanges, KeyIndex, KeySet};
use tokio::time::Instant;

use super::drain::Buffered;
use crate::app::App;
use crate::queue::{Entry, batches, send_persistently};

/// How many targets one message names at most.
const TARGETS_OF_A_MESSAGE: usize = 1_000;

/// The changes of a round.
pub struct Given<'a> {
    pub keys: &'a KeyChanges,
    pub messages: &'a [Buffered],
    /// Only these keys, unless all.
    pub only: Option<&'a KeySet>,
}

/// Puts changes back for the targets of `scope`, hidden for `delay` at first.
///
/// # Errors
/// If not all of them are in the buffer.
pub async fn give_back(
    app: &App,
    scope: &Scope,
    of: &Given<'_>,
    (delay, until): (Duration, Instant),
) -> Result<()> {
    for targets in scope.targets.chunks(TARGETS_OF_A_MESSAGE) {
        let mut packer = Packer::new(Some(Scope {
            targets: targets.to_vec(),
            ..scope.clone()
        }))?;
        let is_meant = |index: &KeyIndex| of.only.is_none_or(|only| only.contains(*index));
        for index in of.keys.indices().filter(is_meant) {
            let key = of.keys.get(index);
            let of_key = of.keys.messages(index);
            let oldest = of_key.filter_map(|it| of.messages[it.get()].oldest).min();
            packer.add(key.bucket, key.name(), key.kind, oldest, None)?;
            send(app, packer.take_full(), delay, until).await?;
        }
        send(app, packer.finish()?, delay, until).await?;
    }
    Ok(())
}

async fn send(app: &App, bodies: Vec<String>, delay: Duration, until: Instant) -> Result<()> {
    let entry = |body| Entry {
        delay,
        ..Entry::of_body(body)
    };
    for batch in batches(bodies.into_iter().map(entry)) {
        let queue = &app.config.buffer_queue;
        let left = send_persistently(app.clients.lean_sqs(), queue, batch, until).await;
        if !left.is_empty() {
            bail!("not all changes could be sent to BufferQueue");
        }
    }
    Ok(())
}
