//! The cache policies, read when a distribution needs one that is not known.
//!
//! They are read beside the list of distributions, as soon as its first page shows that it takes them, because
//! both come in pages, one after the other.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use invalidator_core::distributions::listing::{
    CacheBehavior, CachePolicies, DistributionSummary, managed_policies,
};
use invalidator_core::target::CachePolicyId;
use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::kept::{KEEP_PAGES, Kept};
use super::read::{PolicyPages, Reads};
use crate::clock::Clock;

#[derive(Debug)]
pub(super) struct Policies {
    clock: Clock,
    keep_for: Duration,
    managed: CachePolicies,
    read: std::sync::Mutex<Option<Kept<Arc<CachePolicies>>>>,
    /// The pages read so far, if reading was interrupted. Locked while they are read.
    pages: Mutex<Option<Kept<PolicyPages>>>,
}

impl Policies {
    pub(super) fn new(keep_for: Duration, clock: Clock) -> Self {
        Self {
            clock,
            keep_for,
            managed: managed_policies(),
            read: std::sync::Mutex::default(),
            pages: Mutex::default(),
        }
    }

    /// CloudFront's own policies, and those that were read.
    pub(super) fn known(&self) -> CachePolicies {
        let mut policies = self.managed.clone();
        if let Some(kept) = &*self.lock() {
            let read = kept.value.iter();
            policies.extend(read.map(|(id, policy)| (id.clone(), policy.clone())));
        }
        policies
    }

    /// Whether a distribution needs policies that are to be read.
    pub(super) fn are_missing_for(&self, summary: &DistributionSummary) -> bool {
        let is_unknown = |id: CachePolicyId| !self.managed.contains_key(&id);
        let behaviors = summary.behaviors();
        let mut ids = behaviors.filter_map(CacheBehavior::cache_policy_id);
        summary.enabled && !self.are_fresh() && ids.any(is_unknown)
    }

    fn are_fresh(&self) -> bool {
        let now = self.clock.now();
        let read = self.lock();
        read.as_ref()
            .is_some_and(|kept| kept.is_fresh(now, self.keep_for))
    }

    /// Reads them, unless they are fresh. Pages that were read stay if it is interrupted.
    ///
    /// # Errors
    /// If they cannot be read in time.
    pub(super) async fn load(&self, reads: Reads<'_>) -> Result<()> {
        let pages = timeout_at(reads.until, self.pages.lock());
        let mut pages = pages.await.context("the time for reading ran out")?;
        if self.are_fresh() {
            return Ok(());
        }
        let now = self.clock.now();
        let begun = pages.take().filter(|pages| pages.is_fresh(now, KEEP_PAGES));
        let begun = begun.unwrap_or_else(|| Kept::new(PolicyPages::default(), now));
        let kept = pages.insert(begun);
        kept.value.complete(reads).await?;
        let policies = std::mem::take(&mut kept.value.policies);
        *self.lock() = Some(Kept::new(Arc::new(policies), kept.since));
        *pages = None;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept<Arc<CachePolicies>>>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
