//! Hands buffered messages that cannot be read over to submit, which writes each to the error bucket and tells
//! the admin. They go through SubmitQueue as they are, in a message group of their own.

use std::collections::BTreeSet;

use invalidator_core::buffered::UNREADABLE_GROUP;
use tokio::time::Instant;
use tracing::error;

use super::deletions::Deleter;
use super::drain::Unreadable;
use super::enqueue::Enqueuer;
use crate::app::App;
use crate::queue::Entry;

/// Hands messages over, and lets them be deleted. Returns those that could not be sent, which come back.
///
/// Nobody knows which targets their changes are for, so before that no target is trusted any more.
pub async fn hand_over(
    app: &App,
    messages: Vec<Unreadable>,
    deleter: &Deleter,
    until: Instant,
) -> Vec<Unreadable> {
    let why = "a buffered message could not be read";
    if let Err(error) = app.ledger.distrust_all(app.state(), why).await {
        error!(
            stage = "flush",
            messages = messages.len(),
            error = format!("{error:#}"),
            "messages that cannot be read stay in the buffer, because the ledger cannot be changed"
        );
        return messages;
    }
    let mut enqueuer = Enqueuer::new(app, until);
    let mut all = Vec::new();
    for mut message in messages {
        let (id, why) = (&message.id, &message.why);
        error!(
            stage = "flush",
            message_id = id,
            why,
            "a buffered message cannot be read, so submit files it"
        );
        enqueuer
            .add(Entry {
                body: std::mem::take(&mut message.body),
                // If a flush that dies repeats this, SQS drops the second message.
                fifo: Some((UNREADABLE_GROUP.to_owned(), id.clone())),
                ..Entry::default()
            })
            .await;
        all.push(message);
    }
    enqueuer.finish().await;
    let failed = enqueuer.failed.into_iter().map(|entry| match entry.fifo {
        Some((_, id)) => id,
        None => unreachable!("a message was sent without its id"),
    });
    let failed: BTreeSet<String> = failed.collect();
    let (left, done): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|message| failed.contains(&message.id));
    deleter.delete(done.into_iter().map(|message| message.receipt_handle));
    left
}
