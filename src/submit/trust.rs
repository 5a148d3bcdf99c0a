//! What CloudFront's answers mean for the trust in a target: see [`invalidator_core::cost::ledger`].
//!
//! Only what a flush sent counts. What a person or another tool asks for is not needed by any change: a replay
//! repeats paths that have taken the trust before.

use invalidator_core::merge::SetIndex;
use invalidator_core::path::InvalidationPath;
use time::OffsetDateTime;
use tracing::warn;

use super::message::Message;
use super::unit::Unit;
use crate::app::App;
use crate::clock::Deadline;
use crate::ledger::{Granted, News, TIME_TO_TELL, Waiting};

/// What the ledger must know about a unit that CloudFront has answered to.
pub fn news(unit: &Unit<'_>, messages: &[Message]) -> News {
    let accepted: usize = unit.accepted.iter().map(|it| it.paths).sum();
    let is_ours = messages.iter().all(Message::is_ours);
    News {
        accepted: accepted as u64,
        not_reserved: if is_ours { 0 } else { accepted as u64 },
        granted: granted(unit, messages),
    }
}

/// A unit that was accepted as a whole grants the trust that its wildcards were sent for.
fn granted(unit: &Unit<'_>, messages: &[Message]) -> Vec<Granted> {
    let is_accepted =
        unit.lost.is_none() && unit.merge.waiting().is_empty() && unit.merge.rejected().is_empty();
    let empties_caches = |index| {
        let mut paths = unit.merge.paths_of(SetIndex(index)).iter();
        paths.any(|path: &InvalidationPath<'_>| path.as_str() == "/*")
    };
    let all = messages.iter().enumerate();
    let granted =
        all.filter(|(index, message)| is_accepted && message.is_ours() && empties_caches(*index));
    let granted = granted.filter_map(|(_, message)| {
        Some(Granted {
            sent: time(message.first_sent())?,
            target: message.set.target.clone(),
            terms: message.set.trust.clone()?,
        })
    });
    granted.collect()
}

/// Since when the sets of a unit wait that are not done.
pub fn waiting(unit: &Unit<'_>, messages: &[Message]) -> Vec<Waiting> {
    let all = messages.iter().enumerate();
    let waiting = all.filter(|(index, _)| !unit.merge.waiting_of(SetIndex(*index)).is_empty());
    waiting.filter_map(|(_, message)| waits(message)).collect()
}

/// Since when a set waits, if a flush made it.
pub fn waits(message: &Message) -> Option<Waiting> {
    // A lost call counts as old as the youngest of its sets, and the others may have been waiting for longer.
    let is_known = message.set.caller_reference.is_none();
    message.is_ours().then(|| Waiting {
        target: message.set.target.clone(),
        since: time(message.first_sent()).filter(|_| is_known),
    })
}

/// Takes the trust from targets for which sets have been waiting for long. If that fails, it is tried again
/// with the next attempt.
pub async fn note_waiting(app: &App, waiting: &[Waiting], deadline: &Deadline) {
    if deadline.remaining() < TIME_TO_TELL {
        return;
    }
    if let Err(error) = app.ledger.distrust_waiting(app.state(), waiting).await {
        let error = format!("{error:#}");
        warn!(
            stage = "submit",
            error,
            "the ledger cannot be changed, so targets stay trusted for which sets have been waiting"
        );
    }
}

/// A time in milliseconds since 1970.
fn time(milliseconds: u64) -> Option<OffsetDateTime> {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()
}
