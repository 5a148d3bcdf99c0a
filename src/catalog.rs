//! Reads distributions, cache policies, default root objects and tenants from the account, and
//! keeps them for a while: the rates of these calls are low and unpublished.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use aws_sdk_cloudfront::types::DistributionConfig;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::listing::{CacheBehavior, CachePolicyConfig, DistributionSummary, managed_policies};
use super::origin::{OriginBuckets, OriginDomain};
use super::tenants::{self, Parameters};
use super::{CachePolicies, CachePolicyId, Details, Distribution, DistributionId};
use crate::event::BucketName;

/// Calls at once.
const CONCURRENCY: usize = 4;

/// What an environment knows of the account's distributions.
#[derive(Debug)]
pub struct Catalog {
    only: BTreeSet<DistributionId>,
    keep_for: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    list: Option<Kept<Vec<DistributionSummary>>>,
    policies: HashMap<CachePolicyId, Kept<Option<CachePolicyConfig>>>,
    details: HashMap<DistributionId, Kept<Details>>,
}

#[derive(Debug)]
struct Kept<T> {
    value: T,
    since: Instant,
    /// The version of the distribution it was read for, where it was read for one.
    e_tag: Option<String>,
}

impl<T> Kept<T> {
    fn now(value: T) -> Self {
        Self {
            value,
            since: Instant::now(),
            e_tag: None,
        }
    }

    fn is_fresh(&self, keep_for: Duration) -> bool {
        self.since.elapsed() < keep_for
    }
}

impl Catalog {
    /// A catalog of the distributions with these ids (empty: all), read again after `keep_for`.
    pub fn new(only: BTreeSet<DistributionId>, keep_for: Duration) -> Self {
        Self {
            only,
            keep_for,
            known: Mutex::default(),
        }
    }

    /// The distributions with any of these buckets as an origin, disabled ones included.
    ///
    /// # Errors
    /// If something that decides about a path cannot be read: nothing may then be acknowledged.
    pub async fn serving(
        &self,
        cloudfront: &Client,
        buckets: &[BucketName],
        aliases: &OriginBuckets,
    ) -> Result<Vec<Distribution>> {
        let mut known = self.known.lock().await;
        if !known
            .list
            .as_ref()
            .is_some_and(|list| list.is_fresh(self.keep_for))
        {
            let list = self.list(cloudfront).await?;
            known.list = Some(Kept::now(list));
        }
        let Known {
            list,
            policies,
            details,
        } = &mut *known;
        let list = list.as_ref().map_or(&[][..], |list| &list.value);
        let serving: Vec<&DistributionSummary> = list
            .iter()
            .filter(|summary| serves_any(summary, buckets, aliases))
            .collect();
        let enabled = || serving.iter().copied().filter(|summary| summary.enabled);
        let missing_policies = missing_policies(enabled(), policies, self.keep_for);
        let missing_details: Vec<&DistributionSummary> = enabled()
            .filter(|summary| !self.has_details(details.get(&id_of(summary)), summary))
            .collect();

        let (new_policies, new_details) = tokio::try_join!(
            stream::iter(missing_policies)
                .map(|id| policy(cloudfront, id))
                .buffer_unordered(CONCURRENCY)
                .try_collect::<Vec<_>>(),
            stream::iter(missing_details)
                .map(|summary| read_details(cloudfront, summary))
                .buffer_unordered(CONCURRENCY)
                .try_collect::<Vec<_>>(),
        )?;
        policies.extend(
            new_policies
                .into_iter()
                .map(|(id, policy)| (id, Kept::now(policy))),
        );
        details.extend(new_details);

        let policies: CachePolicies = managed_policies()
            .into_iter()
            .chain(
                policies
                    .iter()
                    .filter_map(|(id, policy)| Some((id.clone(), policy.value.clone()?))),
            )
            .collect();
        let details_of = |summary: &DistributionSummary| {
            details
                .get(&id_of(summary))
                .map(|kept| kept.value.clone())
                .unwrap_or_default()
        };
        Ok(serving
            .iter()
            .flat_map(|summary| Distribution::all(summary, details_of(summary), &policies))
            .collect())
    }

    /// Forgets the list, so that the next flush reads it again.
    pub async fn forget(&self) {
        self.known.lock().await.list = None;
    }

    async fn list(&self, cloudfront: &Client) -> Result<Vec<DistributionSummary>> {
        let mut pages = cloudfront.list_distributions().into_paginator().send();
        let mut list = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.context("failed to list the distributions: ListDistributions")?;
            let items = page
                .distribution_list
                .and_then(|list| list.items)
                .unwrap_or_default();
            list.extend(items.into_iter().map(DistributionSummary::from));
        }
        if !self.only.is_empty() {
            list.retain(|summary| self.only.contains(&id_of(summary)));
            let is_listed =
                |id: &&DistributionId| list.iter().any(|summary| summary.id == id.as_str());
            for id in self.only.iter().filter(|id| !is_listed(id)) {
                warn!(distribution = %id, "DISTRIBUTION_IDS names a distribution that does not exist");
            }
        }
        Ok(list)
    }

    /// A default root object is kept for as long as its distribution stays the same; tenants come
    /// and go without it.
    fn has_details(&self, kept: Option<&Kept<Details>>, summary: &DistributionSummary) -> bool {
        kept.is_some_and(|kept| {
            let unchanged =
                kept.e_tag.is_some() && kept.e_tag == summary.e_tag && !summary.is_multi_tenant();
            unchanged || kept.is_fresh(self.keep_for)
        })
    }
}

fn id_of(summary: &DistributionSummary) -> DistributionId {
    DistributionId::new(summary.id.as_str())
}

/// Whether a distribution has any of these buckets as an origin.
pub fn serves_any(
    summary: &DistributionSummary,
    buckets: &[BucketName],
    aliases: &OriginBuckets,
) -> bool {
    // Which bucket a placeholder stands for is known when the tenants are.
    if summary.is_multi_tenant() && summary.has_placeholders() {
        return true;
    }
    summary.origins.items.iter().any(|origin| {
        let domain = OriginDomain::new(&origin.domain_name);
        buckets
            .iter()
            .any(|bucket| domain.endpoint_of(bucket.as_str(), aliases).is_some())
    })
}

fn missing_policies<'a>(
    summaries: impl Iterator<Item = &'a DistributionSummary>,
    known: &HashMap<CachePolicyId, Kept<Option<CachePolicyConfig>>>,
    keep_for: Duration,
) -> HashSet<CachePolicyId> {
    let managed = managed_policies();
    summaries
        .flat_map(DistributionSummary::behaviors)
        .filter_map(CacheBehavior::cache_policy_id)
        .filter(|id| !managed.contains_key(id))
        .filter(|id| !known.get(id).is_some_and(|kept| kept.is_fresh(keep_for)))
        .collect()
}

/// A cache policy, or `None` if it is gone or may not be read: the behavior is then taken to cache.
async fn policy(
    cloudfront: &Client,
    id: CachePolicyId,
) -> Result<(CachePolicyId, Option<CachePolicyConfig>)> {
    let result = cloudfront.get_cache_policy().id(id.as_str()).send().await;
    match result {
        Ok(answer) => {
            let config = answer
                .cache_policy
                .and_then(|policy| policy.cache_policy_config);
            Ok((id, config.map(CachePolicyConfig::from)))
        }
        Err(error) if matches!(error.code(), Some("NoSuchCachePolicy" | "AccessDenied")) => {
            warn!(policy = %id, error = %crate::submit::describe(&error), "a cache policy cannot be read, so it is taken to cache");
            Ok((id, None))
        }
        Err(error) => Err(error)
            .with_context(|| format!("failed to read the cache policy {id}: GetCachePolicy")),
    }
}

async fn read_details(
    cloudfront: &Client,
    summary: &DistributionSummary,
) -> Result<(DistributionId, Kept<Details>)> {
    let id = id_of(summary);
    let config = config(cloudfront, &id).await?;
    let (default_root_object, tenant_config) = match config {
        Some(config) => (config.default_root_object, config.tenant_config),
        None => (None, None),
    };
    let tenants = if summary.is_multi_tenant() {
        let defaults = Parameters::defaults(tenant_config);
        tenants::read(cloudfront, &id, &defaults, summary.has_placeholders()).await?
    } else {
        Vec::new()
    };
    let details = Details {
        default_root_object,
        tenants,
    };
    let kept = Kept {
        value: details,
        since: Instant::now(),
        e_tag: summary.e_tag.clone(),
    };
    Ok((id, kept))
}

/// `None` for a distribution that was deleted since it was listed.
async fn config(cloudfront: &Client, id: &DistributionId) -> Result<Option<DistributionConfig>> {
    let result = cloudfront
        .get_distribution_config()
        .id(id.as_str())
        .send()
        .await;
    match result {
        Ok(answer) => Ok(answer.distribution_config),
        Err(error) if error.code() == Some("NoSuchDistribution") => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("failed to read the distribution {id}: GetDistributionConfig")
        }),
    }
}
