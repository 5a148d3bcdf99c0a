//! Reads the distributions, with the function's own catalog, and who else invalidates them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use invalidator::catalog::Catalog;
use invalidator::clock::Clock;
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::distributions::origin::{OriginBuckets, OriginDomain};
use invalidator_core::distributions::{Distribution, serves_any};
use invalidator_core::event::BucketName;
use invalidator_core::service_error::ServiceError;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::looking::Looking;
use crate::cause::Cause;
use crate::check::facts::{Bucket, Distributions, Others};
use crate::check::finding::Subject;

/// Reading CloudFront's configuration may take so long.
const TIME: Duration = Duration::from_secs(120);

/// Of so many distributions the invalidations are read: CloudFront allows few calls.
const MOST_ASKED: usize = 20;

/// So many invalidations of a distribution are read, spread over those of the week.
const MOST_READ: usize = 20;

/// How many calls run at once.
const CONCURRENCY: usize = 4;

/// Older invalidations are not looked at.
const WEEK: time::Duration = time::Duration::days(7);

/// All distributions, and those that have a bucket as an origin, as planning sees them.
pub async fn listed(
    looking: &Looking<'_>,
    aliases: &OriginBuckets,
    only: &[String],
) -> Option<Distributions> {
    let catalog = Catalog::new(BTreeSet::new(), Duration::from_secs(3_600), Clock::system());
    let cloudfront = looking.account.clients.cloudfront();
    let until = Instant::now() + TIME;
    if let Err(error) = catalog.load(cloudfront, until).await {
        let known = error
            .chain()
            .find_map(|it| it.downcast_ref::<ServiceError>());
        let error = known.cloned().unwrap_or_else(|| {
            ServiceError::of(
                "CloudFront ListDistributions",
                "Failed",
                format!("{error:#}"),
            )
        });
        looking.fail(&Subject::Stack, "the distributions", error);
        return None;
    }
    let mut summaries = catalog.summaries().await;
    let ids = summaries.iter().map(|it| it.id.clone()).collect();
    let mut buckets: BTreeSet<String> = match only {
        [] => origins(&summaries, aliases).collect(),
        only => only.iter().cloned().collect(),
    };
    // A bucket of no name that can be is no origin.
    buckets.retain(|it| it.parse::<BucketName>().is_ok());
    let buckets: Vec<BucketName> = buckets
        .iter()
        .map(|it| BucketName::new(it.as_str()))
        .collect();
    if !only.is_empty() {
        summaries.retain(|it| serves_any(it, &buckets, aliases));
    }
    let no_one = BTreeSet::new();
    let serving = catalog
        .serving(cloudfront, &buckets, aliases, &no_one, until)
        .await;
    for id in serving.unread {
        let summary = summaries.iter().find(|it| it.id == id.as_str());
        let alias = summary.map_or("", |it| it.alias()).to_owned();
        looking.fail(
            &Subject::Distribution(id.to_string(), alias),
            "its details",
            ServiceError::of(
                "CloudFront GetDistributionConfig",
                "NotRead",
                "the warning above says why",
            ),
        );
    }
    Some(Distributions {
        ids,
        summaries,
        serving: serving.distributions,
        ..Distributions::default()
    })
}

/// The names of the buckets that are origins.
pub fn origins<'a>(
    summaries: &'a [DistributionSummary],
    aliases: &'a OriginBuckets,
) -> impl Iterator<Item = String> + 'a {
    let origins = summaries.iter().flat_map(|it| &it.origins.items);
    let names = origins.filter_map(|it| OriginDomain::new(&it.domain_name).bucket(aliases));
    names.filter(|it| !it.ends_with("-s3alias") && !it.contains("{{"))
}

/// Adds who else has invalidated the distributions of the buckets.
pub async fn with_others(
    looking: &Looking<'_>,
    mut all: Distributions,
    buckets: &[Bucket],
    aliases: &OriginBuckets,
    now: OffsetDateTime,
) -> Distributions {
    let serves = |it: &&Distribution| {
        let mut buckets = buckets.iter();
        buckets.any(|bucket| it.origins_of(&bucket.name, aliases).next().is_some())
    };
    let is_own = |it: &&Distribution| it.targets.iter().any(|target| target.tenant.is_none());
    let serving = all.serving.iter().filter(serves).filter(is_own);
    let ids: BTreeSet<String> = serving
        .filter(|it| it.is_in_service())
        .map(|it| it.id.to_string())
        .collect();
    let alias = |id: &str| {
        let summary = all.summaries.iter().find(|it| it.id == id);
        summary.map_or("", |it| it.alias()).to_owned()
    };
    let aliases: Vec<(String, String)> = ids.iter().map(|id| (id.clone(), alias(id))).collect();
    all.not_asked = ids.len().saturating_sub(MOST_ASKED);
    let others: Vec<(String, Option<Others>)> = stream::iter(aliases.into_iter().take(MOST_ASKED))
        .map(|(id, alias)| async {
            let others = others(looking, &id, alias, now).await;
            (id, others)
        })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let others = others.into_iter();
    all.others = others.filter_map(|(id, it)| Some((id, it?))).collect();
    all
}

async fn others(
    looking: &Looking<'_>,
    id: &str,
    alias: String,
    now: OffsetDateTime,
) -> Option<Others> {
    let cloudfront = looking.account.clients.cloudfront();
    let subject = Subject::Distribution(id.to_owned(), alias);
    let what = "who else invalidates it";
    let list = cloudfront
        .list_invalidations()
        .distribution_id(id)
        .send()
        .await;
    let list = looking.keep(&subject, what, "CloudFront ListInvalidations", list)?;
    let items = list
        .invalidation_list
        .and_then(|it| it.items)
        .unwrap_or_default();
    let since = (now - WEEK).unix_timestamp();
    let recent: Vec<_> = items
        .into_iter()
        .filter(|it| it.create_time.secs() >= since)
        .collect();
    let mut others = Others::default();
    // A tool that comes once a day is seen among many others.
    for item in recent
        .iter()
        .step_by(recent.len().div_ceil(MOST_READ).max(1))
    {
        let call = cloudfront
            .get_invalidation()
            .distribution_id(id)
            .id(&item.id);
        let answer = call.send().await;
        let answer = looking.keep(&subject, what, "CloudFront GetInvalidation", answer)?;
        let batch = answer.invalidation.and_then(|it| it.invalidation_batch);
        let Some(batch) = batch else { continue };
        others.looked_at += 1;
        let cause = Cause::of(&batch.caller_reference);
        if cause.is_ours() {
            continue;
        }
        let paths = batch
            .paths
            .map_or(0, |it| u64::try_from(it.quantity).unwrap_or(0));
        let (number, all) = others.by_cause.entry(cause.to_string()).or_default();
        (*number, *all) = (*number + 1, *all + paths);
    }
    Some(others)
}
