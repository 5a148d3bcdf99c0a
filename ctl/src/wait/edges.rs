//! Asks CloudFront whether the invalidations of some targets are complete at the edges.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use invalidator_core::target::TargetId;
use tokio::time::sleep;

use super::outcome::Ended;
use super::passing::Passing;
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
    passing: &Passing,
) -> Result<Ended> {
    progress.say("for the edges".to_owned());
    let mut first: Option<BTreeSet<(String, String)>> = None;
    loop {
        let left = left(account, targets).await;
        let why = match passing.over(left)? {
            None => "CloudFront does not say which invalidations are in progress".to_owned(),
            Some(mut left) => {
                // What is accepted later is not waited for.
                if let Some(first) = &first {
                    left.retain(|id| first.contains(id));
                }
                if left.is_empty() {
                    return Ok(Ended::Complete);
                }
                let why = format!("{} invalidations are in progress", left.len());
                first = Some(left);
                why
            }
        };
        if Instant::now() >= until {
            return Ok(Ended::TimeOver(why));
        }
        progress.say(format!("for the edges: {why}"));
        sleep(PAUSE).await;
    }
}

/// The invalidations in progress, each with its target.
async fn left(account: &Account, targets: &BTreeSet<String>) -> Result<BTreeSet<(String, String)>> {
    let mut left = BTreeSet::new();
    for target in targets {
        let id: TargetId = target.parse()?;
        let listed = in_progress(account.clients.cloudfront(), &id).await;
        let listed = listed.with_context(|| format!("failed to ask for {target}"))?;
        left.extend(listed.into_iter().map(|(id, _)| (target.clone(), id)));
    }
    Ok(left)
}
