//! The calls that read CloudFront's configuration. A throttled call is repeated after a pause, until
//! the time for reading has run out.

use anyhow::{Context, Result, anyhow};
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::types::{
    DistributionConfig, DistributionTenantAssociationFilter, DistributionTenantSummary,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use invalidator_core::distributions::listing::{CachePolicies, DistributionSummary};
use invalidator_core::distributions::tenants::Parameters;
use invalidator_core::retry;
use invalidator_core::service_error::{Meaning, ServiceError, TIMEOUT};
use invalidator_core::target::{CachePolicyId, DistributionId, TenantId};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::from_sdk;
use crate::aws::error::{OperationError, meaning, service_error};

/// Repeats a call until it succeeds or fails permanently. After `until` it makes no call, and stops
/// waiting for one.
///
/// # Errors
/// That of the last call, or that time ran out.
async fn persist<T, E: OperationError>(
    until: Instant,
    mut call: impl AsyncFnMut() -> Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, ServiceError> {
    let mut attempts = 0;
    let mut last = None;
    while Instant::now() < until {
        let Ok(result) = timeout_at(until, call()).await else {
            break;
        };
        let error = match result {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        attempts += 1;
        let pause = retry::wait(attempts, fastrand::f64());
        last = Some(service_error(&error));
        if meaning(&error) == Meaning::Permanent {
            break;
        }
        if Instant::now() + pause >= until {
            break;
        }
        sleep(pause).await;
    }
    let too_late = || ServiceError::of(E::ACTION, TIMEOUT, "the time for reading ran out");
    Err(last.unwrap_or_else(too_late))
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
            let page = page.await.context("failed to list the distributions")?;
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
                        "ListDistributions has more items, but no NextMarker"
                    ));
                }
                _ => return Ok(()),
            }
        }
    }
}

/// All cache policies, including CloudFront's own. `None` if the role may not list them: then every
/// behavior with an unknown one is assumed to cache.
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
            Err(error) if error.code == "AccessDenied" => {
                warn!(%error, "no permission to list cache policies, so behaviors with an unknown one are assumed to cache");
                return Ok(None);
            }
            Err(error) => {
                return Err(error).context("failed to list the cache policies");
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

/// The configuration of a distribution, or `None` if it was deleted after it was listed.
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
        Ok(answer) => {
            let config = answer.distribution_config;
            let config =
                config.ok_or_else(|| anyhow!("GetDistributionConfig answered without one"))?;
            Ok(Some(config))
        }
        Err(error) if error.code == "NoSuchDistribution" => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read the distribution {id}")),
    }
}

/// The pages of the list of a distribution's tenants that were read so far.
#[derive(Debug, Default)]
pub(super) struct TenantPages {
    pub tenants: Vec<DistributionTenantSummary>,
    next: Option<String>,
}

impl TenantPages {
    /// Reads the pages that are missing. Those that were read stay if one fails.
    pub(super) async fn complete(
        &mut self,
        cloudfront: &Client,
        distribution: &DistributionId,
        until: Instant,
    ) -> Result<()> {
        let association = DistributionTenantAssociationFilter::builder()
            .distribution_id(distribution.as_str())
            .build();
        loop {
            let page = persist(until, async || {
                let call = cloudfront.list_distribution_tenants();
                let call = call.association_filter(association.clone());
                call.set_marker(self.next.clone()).send().await
            });
            let page = page
                .await
                .with_context(|| format!("failed to list the tenants of {distribution}"))?;
            let tenants = page.distribution_tenant_list.into_iter().flatten();
            self.tenants
                .extend(tenants.filter(|tenant| tenant.enabled != Some(false)));
            match page.next_marker.filter(|marker| !marker.is_empty()) {
                Some(marker) => self.next = Some(marker),
                None => return Ok(()),
            }
        }
    }
}

/// The distribution of a tenant, and the tenant's values for placeholders.
#[derive(Clone, Debug)]
pub(super) struct TenantRead {
    pub distribution: Option<DistributionId>,
    pub parameters: Parameters,
}

/// Reads a tenant; `None` if there is none with this id. CloudFront takes names, too, which are not ids.
pub(super) async fn tenant(
    cloudfront: &Client,
    id: &TenantId,
    until: Instant,
) -> Result<Option<TenantRead>> {
    let result = persist(until, async || {
        let call = cloudfront.get_distribution_tenant();
        call.identifier(id.as_str()).send().await
    });
    let answer = match result.await {
        Ok(answer) => answer,
        Err(error) if error.code == "EntityNotFound" => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read the tenant {id}"));
        }
    };
    let tenant = answer
        .distribution_tenant
        .ok_or_else(|| anyhow!("GetDistributionTenant answered without a tenant"))?;
    if tenant.id.as_deref().is_some_and(|read| read != id.as_str()) {
        return Ok(None);
    }
    let parameters = tenant.parameters.into_iter().flatten();
    let parameters = parameters.map(|parameter| (parameter.name, parameter.value));
    Ok(Some(TenantRead {
        distribution: tenant.distribution_id.map(DistributionId::new),
        parameters: Parameters::new(parameters),
    }))
}
