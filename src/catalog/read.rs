//! The calls that read CloudFront's configuration. A call that is throttled is made again, after a
//! pause, until the time for reading is over.

use anyhow::{Context, Result, anyhow};
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use aws_sdk_cloudfront::types::{
    DistributionConfig, DistributionTenantAssociationFilter, DistributionTenantSummary,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use invalidator_core::distributions::listing::{CachePolicies, DistributionSummary};
use invalidator_core::distributions::tenants::Parameters;
use invalidator_core::retry;
use invalidator_core::target::{CachePolicyId, DistributionId, TenantId};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::from_sdk;
use crate::aws::error::{Meaning, describe, meaning};

/// Makes a call until it succeeds, fails for good, or `until` is near.
async fn persist<T, E>(
    until: Instant,
    mut call: impl AsyncFnMut() -> Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let mut attempts = 0;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        attempts += 1;
        let pause = retry::wait(attempts, fastrand::f64());
        if meaning(&error) == Meaning::Permanent || Instant::now() + pause >= until {
            return Err(error);
        }
        sleep(pause).await;
    }
}

/// The pages of the list of distributions that were read so far.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub distributions: Vec<DistributionSummary>,
    next: Option<String>,
}

impl Pages {
    /// Reads the pages that are missing. Those that were read stay if one fails.
    pub(super) async fn complete(&mut self, cloudfront: &Client, until: Instant) -> Result<()> {
        loop {
            let page = persist(until, async || {
                let call = cloudfront.list_distributions();
                call.set_marker(self.next.clone()).send().await
            });
            let page = page.await;
            let page = page.context("failed to list the distributions: ListDistributions")?;
            let list = page
                .distribution_list
                .ok_or_else(|| anyhow!("ListDistributions answered without a list"))?;
            let items = list.items.unwrap_or_default();
            let items = items.into_iter().map(from_sdk::summary);
            self.distributions.extend(items);
            match list.next_marker {
                Some(marker) if list.is_truncated && !marker.is_empty() => {
                    self.next = Some(marker);
                }
                _ if list.is_truncated => {
                    return Err(anyhow!(
                        "ListDistributions has more, and does not say where"
                    ));
                }
                _ => return Ok(()),
            }
        }
    }
}

/// All cache policies, CloudFront's own too. `None` if they may not be read: every behavior with one
/// that is not known is then assumed to cache.
pub(super) async fn cache_policies(
    cloudfront: &Client,
    until: Instant,
) -> Result<Option<CachePolicies>> {
    let mut policies = CachePolicies::new();
    let mut marker = None;
    loop {
        let page = persist(until, async || {
            let call = cloudfront.list_cache_policies();
            call.set_marker(marker.clone()).send().await
        });
        let list = match page.await {
            Ok(page) => page.cache_policy_list,
            Err(error) if error.code() == Some("AccessDenied") => {
                warn!(error = %describe(&error), "cache policies may not be listed, so those that are not known are assumed to cache");
                return Ok(None);
            }
            Err(error) => {
                return Err(error).context("failed to list the cache policies: ListCachePolicies");
            }
        };
        let list = list.ok_or_else(|| anyhow!("ListCachePolicies answered without a list"))?;
        let items = list.items.unwrap_or_default().into_iter();
        policies.extend(items.filter_map(|item| {
            let policy = item.cache_policy?;
            let config = from_sdk::cache_policy(policy.cache_policy_config?);
            Some((CachePolicyId::new(policy.id), config))
        }));
        marker = list.next_marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            return Ok(Some(policies));
        }
    }
}

/// The configuration of a distribution, or `None` if it was deleted since it was listed.
pub(super) async fn config(
    cloudfront: &Client,
    id: &DistributionId,
    until: Instant,
) -> Result<Option<DistributionConfig>> {
    let result = persist(until, async || {
        let call = cloudfront.get_distribution_config();
        call.id(id.as_str()).send().await
    });
    match result.await {
        Ok(answer) => Ok(answer.distribution_config),
        Err(error) if error.code() == Some("NoSuchDistribution") => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("failed to read the distribution {id}: GetDistributionConfig")
        }),
    }
}

/// The enabled tenants of a distribution.
pub(super) async fn tenants(
    cloudfront: &Client,
    distribution: &DistributionId,
    until: Instant,
) -> Result<Vec<DistributionTenantSummary>> {
    let association = DistributionTenantAssociationFilter::builder()
        .distribution_id(distribution.as_str())
        .build();
    let mut tenants = Vec::new();
    let mut marker = None;
    loop {
        let page = persist(until, async || {
            let call = cloudfront.list_distribution_tenants();
            let call = call.association_filter(association.clone());
            call.set_marker(marker.clone()).send().await
        });
        let page = page.await.with_context(|| {
            format!("failed to list the tenants of {distribution}: ListDistributionTenants")
        })?;
        tenants.extend(page.distribution_tenant_list.into_iter().flatten());
        marker = page.next_marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            tenants.retain(|tenant| tenant.enabled != Some(false));
            return Ok(tenants);
        }
    }
}

/// What a tenant fills placeholders with, or `None` if it was deleted since it was listed.
pub(super) async fn tenant_parameters(
    cloudfront: &Client,
    id: &TenantId,
    until: Instant,
) -> Result<Option<Parameters>> {
    let result = persist(until, async || {
        let call = cloudfront.get_distribution_tenant();
        call.identifier(id.as_str()).send().await
    });
    let answer = match result.await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some("EntityNotFound") => return Ok(None),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("failed to read the tenant {id}: GetDistributionTenant"));
        }
    };
    let parameters = answer
        .distribution_tenant
        .and_then(|tenant| tenant.parameters)
        .into_iter()
        .flatten()
        .map(|parameter| (parameter.name, parameter.value));
    Ok(Some(Parameters::new(parameters)))
}
