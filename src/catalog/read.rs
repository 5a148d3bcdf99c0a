//! The calls that read CloudFront's configuration. A call that fails is repeated until the time for reading has
//! run out. All calls share one [pace](invalidator_core::read_pace), which becomes slower when one is throttled.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::config::Builder;
use aws_sdk_cloudfront::config::retry::RetryConfig;
use aws_sdk_cloudfront::types::{
    DistributionConfig, DistributionTenantAssociationFilter, DistributionTenantSummary,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use invalidator_core::distributions::listing::{CachePolicies, DistributionSummary};
use invalidator_core::distributions::tenants::Parameters;
use invalidator_core::read_pace::ReadPace;
use invalidator_core::retry;
use invalidator_core::service_error::{Meaning, ServiceError, TIMEOUT};
use invalidator_core::target::{CachePolicyId, DistributionId, TenantId};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::warn;

use super::from_sdk;
use crate::aws::error::{OperationError, meaning, service_error};

/// The pace of all reads of an environment.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    pace: Mutex<ReadPace>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            pace: Mutex::default(),
        }
    }
}

impl Pace {
    /// Waits until a call may begin, and returns when that is. `None` if that would be too late.
    async fn begin(&self, until: Instant) -> Option<Instant> {
        loop {
            let now = Instant::now();
            if now >= until {
                return None;
            }
            let begun = self.pace().begin(now.saturating_duration_since(self.start));
            let Err(later) = begun else {
                return Some(now);
            };
            if self.start + later >= until {
                return None;
            }
            sleep_until(self.start + later).await;
        }
    }

    fn throttled(&self, began: Instant) {
        let since_start = |at: Instant| at.saturating_duration_since(self.start);
        let (began, now): (Duration, Duration) = (since_start(began), self.start.elapsed());
        self.pace().throttled(began, now);
    }

    fn pace(&self) -> MutexGuard<'_, ReadPace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What reads go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads<'a> {
    pub cloudfront: &'a Client,
    pub pace: &'a Pace,
    /// When reading must stop.
    pub until: Instant,
}

/// The SDK's own retries would not keep to the pace.
fn without_retries() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

/// Repeats a call until it succeeds or fails permanently. After the time for reading it makes no call, and stops
/// waiting for one.
///
/// # Errors
/// That of the last call, or that time ran out.
async fn persist<T, E: OperationError>(
    Reads { pace, until, .. }: Reads<'_>,
    mut call: impl AsyncFnMut() -> Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, ServiceError> {
    let mut attempts = 0;
    let mut last = None;
    while let Some(began) = pace.begin(until).await {
        let Ok(result) = timeout_at(until, call()).await else {
            break;
        };
        let error = match result {
            Ok(answer) => {
                pace.pace().answered();
                return Ok(answer);
            }
            Err(error) => error,
        };
        last = Some(service_error(&error));
        match meaning(&error) {
            Meaning::Permanent => break,
            Meaning::Throttled => pace.throttled(began),
            Meaning::Unclear => {
                attempts += 1;
                let pause = retry::wait(attempts, fastrand::f64());
                if Instant::now() + pause >= until {
                    break;
                }
                sleep(pause).await;
            }
        }
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
    /// Reads the pages that are missing, and shows each. Those that were read stay if one fails.
    pub(super) async fn complete(
        &mut self,
        reads: Reads<'_>,
        mut show: impl FnMut(&[DistributionSummary]),
    ) -> Result<()> {
        loop {
            let page = persist(reads, async || {
                let call = reads.cloudfront.list_distributions();
                let call = call.set_marker(self.next.clone()).customize();
                call.config_override(without_retries()).send().await
            });
            let page = page.await.context("failed to list the distributions")?;
            let list = page
                .distribution_list
                .ok_or_else(|| anyhow!("ListDistributions answered without a list"))?;
            let items = list.items.unwrap_or_default();
            let items = items.into_iter().map(from_sdk::summary);
            let first = self.distributions.len();
            self.distributions.extend(items);
            show(&self.distributions[first..]);
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

/// The pages of the list of cache policies that were read so far, including CloudFront's own.
#[derive(Debug, Default)]
pub(super) struct PolicyPages {
    pub policies: CachePolicies,
    next: Option<String>,
}

impl PolicyPages {
    /// Reads the pages that are missing. Those that were read stay if one fails. If the role may not list them,
    /// there are none: then every behavior with an unknown one is assumed to cache.
    pub(super) async fn complete(&mut self, reads: Reads<'_>) -> Result<()> {
        loop {
            let page = persist(reads, async || {
                let call = reads.cloudfront.list_cache_policies();
                let call = call.set_marker(self.next.clone()).customize();
                call.config_override(without_retries()).send().await
            });
            let list = match page.await {
                Ok(page) => page.cache_policy_list,
                Err(error) if error.code == "AccessDenied" => {
                    warn!(%error, "no permission to list cache policies, so behaviors with an unknown one are assumed to cache");
                    *self = Self::default();
                    return Ok(());
                }
                Err(error) => {
                    return Err(error).context("failed to list the cache policies");
                }
            };
            let list = list.ok_or_else(|| anyhow!("ListCachePolicies answered without a list"))?;
            let items = list.items.unwrap_or_default().into_iter();
            self.policies.extend(items.filter_map(|item| {
                let policy = item.cache_policy?;
                let config = from_sdk::cache_policy(policy.cache_policy_config?);
                Some((CachePolicyId::new(policy.id), config))
            }));
            match list.next_marker.filter(|marker| !marker.is_empty()) {
                Some(marker) => self.next = Some(marker),
                None => return Ok(()),
            }
        }
    }
}

/// The configuration of a distribution, and its version. CloudFront may answer with another version than it lists.
#[derive(Debug)]
pub(super) struct ConfigRead {
    pub config: DistributionConfig,
    pub e_tag: Option<String>,
}

/// The configuration of a distribution, or `None` if it was deleted after it was listed.
pub(super) async fn config(reads: Reads<'_>, id: &DistributionId) -> Result<Option<ConfigRead>> {
    let result = persist(reads, async || {
        let call = reads.cloudfront.get_distribution_config();
        let call = call.id(id.as_str()).customize();
        call.config_override(without_retries()).send().await
    });
    match result.await {
        Ok(answer) => {
            let config = answer.distribution_config;
            let config =
                config.ok_or_else(|| anyhow!("GetDistributionConfig answered without one"))?;
            let e_tag = answer.e_tag;
            Ok(Some(ConfigRead { config, e_tag }))
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
        reads: Reads<'_>,
        distribution: &DistributionId,
    ) -> Result<()> {
        let association = DistributionTenantAssociationFilter::builder()
            .distribution_id(distribution.as_str())
            .build();
        loop {
            let page = persist(reads, async || {
                let call = reads.cloudfront.list_distribution_tenants();
                let call = call.association_filter(association.clone());
                let call = call.set_marker(self.next.clone()).customize();
                call.config_override(without_retries()).send().await
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
pub(super) async fn tenant(reads: Reads<'_>, id: &TenantId) -> Result<Option<TenantRead>> {
    let result = persist(reads, async || {
        let call = reads.cloudfront.get_distribution_tenant();
        let call = call.identifier(id.as_str()).customize();
        call.config_override(without_retries()).send().await
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
