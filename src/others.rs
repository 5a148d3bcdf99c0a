//! Counts how many paths others have ordered in the account: they use up the same free paths. What is not known
//! of them makes a forecast too low, and nothing stale. Which invalidations are read is decided in
//! [`invalidator_core::cost::others`].
//!
//! It is done now and then, at the end of a flush that had work to do, one call after another. If one fails, as
//! CloudFront is busy or a permission is missing, it is left for the next time.

use std::time::Duration;

use aws_sdk_cloudfront::Client;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator_core::caller_reference::CallerReference;
use invalidator_core::cost::others::{MOST_READ, to_read};
use invalidator_core::service_error::ServiceError;
use invalidator_core::target::DistributionId;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::app::App;
use crate::aws::error::error_of;

/// How long it may take: meanwhile no other flush runs.
const TIME: Duration = Duration::from_secs(5);

/// A distribution's list has at most so many pages read, of a hundred invalidations each. What is older is left
/// out: so many of a day are those of a program that has its own bill.
const MOST_PAGES: usize = 10;

/// Counts, if it is time for that.
pub async fn count(app: &App) {
    let now = app.clock.now_utc();
    if !app.ledger.may_count_others(app.clock.now()) {
        return;
    }
    let Some(ledger) = app.ledger.current(app.state()).await else {
        return;
    };
    let Some(mut time) = ledger.uncounted(now) else {
        return;
    };
    let cloudfront = app.clients.cloudfront();
    let read = async {
        let mut listed = Vec::new();
        for distribution in app.catalog.distributions().await {
            list(cloudfront, &distribution, time.from, &mut listed).await?;
        }
        let (ids, until) = to_read(listed, time, MOST_READ);
        let mut paths = 0;
        for (distribution, id) in &ids {
            paths += paths_of_others(cloudfront, distribution, id).await?;
        }
        Ok::<_, ServiceError>((paths, until))
    };
    let (paths, until) = match timeout_at(Instant::now() + TIME, read).await {
        Ok(Ok(counted)) => counted,
        Ok(Err(error)) => {
            return warn!(stage = "flush", %error, "what others have invalidated cannot be counted");
        }
        Err(_) => {
            return info!(
                stage = "flush",
                "what others have invalidated cannot be counted in time"
            );
        }
    };
    // If there is more, a flush in a minute goes on.
    time.until = until;
    if let Err(error) = app.ledger.count_others(app.state(), time, paths).await {
        let error = format!("{error:#}");
        warn!(
            stage = "flush",
            error, "the ledger cannot be changed, so it counts too little"
        );
    }
}

/// Lists the invalidations of a distribution, from the newest to those of a time.
async fn list(
    cloudfront: &Client,
    distribution: &DistributionId,
    from: u64,
    listed: &mut Vec<(u64, (DistributionId, String))>,
) -> Result<(), ServiceError> {
    let mut marker = None;
    for _ in 0..MOST_PAGES {
        let call = cloudfront.list_invalidations();
        let call = call
            .distribution_id(distribution.as_str())
            .set_marker(marker.take());
        let page = match call.send().await {
            Ok(page) => page.invalidation_list,
            // It was deleted a moment ago.
            Err(error) if is_gone(error.code()) => {
                return Ok(());
            }
            Err(error) => return Err(error_of("CloudFront ListInvalidations", &error)),
        };
        let Some(page) = page else {
            return Ok(());
        };
        let items = page.items.unwrap_or_default();
        let time = |at: &aws_smithy_types::DateTime| u64::try_from(at.secs()).unwrap_or(0);
        let is_end = items.last().is_none_or(|it| time(&it.create_time) < from);
        listed.extend(items.into_iter().map(|it| {
            let at = time(&it.create_time);
            (at, (distribution.clone(), it.id))
        }));
        marker = page.next_marker.filter(|it| !it.is_empty());
        if is_end || !page.is_truncated || marker.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// How many paths an invalidation has, unless it is one of ours.
async fn paths_of_others(
    cloudfront: &Client,
    distribution: &DistributionId,
    id: &str,
) -> Result<u64, ServiceError> {
    let call = cloudfront.get_invalidation();
    let call = call.distribution_id(distribution.as_str()).id(id);
    let invalidation = match call.send().await {
        Ok(answer) => answer.invalidation,
        Err(error) if is_gone(error.code()) => None,
        Err(error) => return Err(error_of("CloudFront GetInvalidation", &error)),
    };
    let batch = invalidation.and_then(|it| it.invalidation_batch);
    let batch = batch.filter(|it| !CallerReference::known(it.caller_reference.as_str()).is_ours());
    let paths = batch.and_then(|it| it.paths);
    Ok(paths.map_or(0, |it| u64::try_from(it.quantity).unwrap_or(0)))
}

fn is_gone(code: Option<&str>) -> bool {
    matches!(code, Some("NoSuchDistribution" | "NoSuchInvalidation"))
}
