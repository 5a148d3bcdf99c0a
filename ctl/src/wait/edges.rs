//! Asks CloudFront whether the invalidations of some targets are complete at the edges.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use invalidator_core::target::TargetId;
use tokio::time::sleep;

use super::outcome::Ended;
use crate::account::Account;
use crate::invalidations::in_progress;
use crate::progress::Progress;

/// How often CloudFront is asked. It takes seconds to minutes, and allows few calls.
const PAUSE: Duration = Duration::from_secs(3);

/// Waits until no invalidation of these targets is in progress that was accepted before.
///
/// # Errors
/// If CloudFront cannot be asked.
pub async fn complete(
    account: &Account,
    targets: &BTreeSet<String>,
    until: Instant,
    progress: &Progress,
) -> Result<Ended> {
    progress.say("for the edges".to_owned());
    let mut first = BTreeSet::new();
    let mut is_first_look = true;
    loop {
        let mut left = BTreeSet::new();
        for target in targets {
            let id: TargetId = target.parse()?;
            let listed = in_progress(account.clients.cloudfront(), &id).await;
            let listed = listed.with_context(|| format!("failed to ask for {target}"))?;
            left.extend(listed.into_iter().map(|(id, _)| (target.clone(), id)));
        }
        // What is accepted later is not waited for.
        match is_first_look {
            true => first = left,
            false => first.retain(|id| left.contains(id)),
        }
        is_first_look = false;
        if first.is_empty() {
            return Ok(Ended::Complete);
        }
        let count = first.len();
        if Instant::now() >= until {
            return Ok(Ended::TimeOver(format!(
                "{count} invalidations are in progress"
            )));
        }
        progress.say(format!(
            "for the edges: {count} invalidations are in progress"
        ));
        sleep(PAUSE).await;
    }
}
