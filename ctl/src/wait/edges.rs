//! Asks CloudFront whether the invalidations of some targets are complete at the edges.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_sdk_cloudfront::types::InvalidationSummary;
use invalidator::aws::error::error_of;
use tokio::time::sleep;

use super::outcome::Ended;
use crate::account::Account;
use crate::progress::Progress;

/// How often CloudFront is asked. It takes seconds to minutes, and allows few calls.
const PAUSE: Duration = Duration::from_secs(3);

/// Waits until no invalidation of these targets is in progress that was accepted before. The newest hundred of
/// each are looked at: CloudFront has fewer in progress.
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
            left.extend(in_progress(account, target).await?);
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

/// The invalidations of a target that are in progress.
async fn in_progress(account: &Account, target: &str) -> Result<Vec<(String, String)>> {
    let cloudfront = account.clients.cloudfront();
    let is_tenant = target.starts_with("dt_");
    let listed: Vec<InvalidationSummary> = match is_tenant {
        true => {
            let call = cloudfront.list_invalidations_for_distribution_tenant();
            let answer = call.id(target).send().await;
            let action = "CloudFront ListInvalidationsForDistributionTenant";
            let answer = answer.map_err(|error| error_of(action, &error));
            let answer = answer.with_context(|| format!("failed to ask for {target}"))?;
            answer
                .invalidation_list
                .and_then(|it| it.items)
                .unwrap_or_default()
        }
        false => {
            let call = cloudfront.list_invalidations().distribution_id(target);
            let answer = call.send().await;
            let answer = answer.map_err(|error| error_of("CloudFront ListInvalidations", &error));
            let answer = answer.with_context(|| format!("failed to ask for {target}"))?;
            answer
                .invalidation_list
                .and_then(|it| it.items)
                .unwrap_or_default()
        }
    };
    let in_progress = listed.into_iter().filter(|it| it.status != "Completed");
    Ok(in_progress.map(|it| (target.to_owned(), it.id)).collect())
}
