//! The invalidations of a target since some time, and what they hold. The list tells only ids and times, so
//! each is read, once.

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::types::{Invalidation as Answer, InvalidationList};
use futures_util::stream::{self, StreamExt};
use invalidator::aws::error::error_of;
use invalidator_core::path::InvalidationPath;
use invalidator_core::service_error::{ServiceError, UNREADABLE_ANSWER};
use invalidator_core::target::{Target, TargetId};
use time::OffsetDateTime;

/// How many are read at once.
const CONCURRENCY: usize = 4;

/// An invalidation that CloudFront accepted.
#[derive(Clone, Debug)]
pub struct Invalidation {
    /// Its id at CloudFront.
    pub id: String,
    /// When it was created.
    pub created: OffsetDateTime,
    /// Whether it is done at all edges.
    pub is_complete: bool,
    /// Its caller reference.
    pub reference: String,
    /// Its paths.
    pub paths: Vec<InvalidationPath<'static>>,
}

/// What is known so far of the invalidations of a target.
#[derive(Debug)]
pub struct Invalidations<'a> {
    cloudfront: &'a Client,
    target: &'a Target,
    known: BTreeMap<String, Invalidation>,
    /// The id of the earliest invalidation of each path without a wildcard.
    exact: HashMap<InvalidationPath<'static>, String>,
    wildcards: Vec<(InvalidationPath<'static>, String)>,
    /// The ids of those that are not looked at.
    passed_over: HashSet<String>,
}

/// A page of the list: ids, times, and whether each is complete.
struct Page {
    listed: Vec<(String, OffsetDateTime, bool)>,
    next: Option<String>,
}

impl<'a> Invalidations<'a> {
    /// Nothing is known yet.
    pub fn new(cloudfront: &'a Client, target: &'a Target) -> Self {
        Self {
            cloudfront,
            target,
            known: BTreeMap::new(),
            exact: HashMap::new(),
            wildcards: Vec::new(),
            passed_over: HashSet::new(),
        }
    }

    /// The earliest known one that clears a path.
    pub fn clearing(&self, path: &InvalidationPath<'_>) -> Option<&Invalidation> {
        let of_wildcards = self.wildcards.iter().filter(|(it, _)| it.clears(path));
        let ids = of_wildcards.map(|(_, id)| id).chain(self.exact.get(path));
        let clearing = ids.filter_map(|id| self.known.get(id));
        clearing.min_by_key(|it| it.created)
    }

    fn keep(&mut self, invalidation: Invalidation) {
        for path in &invalidation.paths {
            let id = invalidation.id.clone();
            if path.wildcard_prefix().is_some() {
                self.wildcards.push((path.clone(), id));
                continue;
            }
            let known = self.exact.get(path).and_then(|id| self.known.get(id));
            if known.is_none_or(|known| invalidation.created < known.created) {
                self.exact.insert(path.clone(), id);
            }
        }
        self.known.insert(invalidation.id.clone(), invalidation);
    }

    /// Passes over all that were created since this time until now.
    ///
    /// # Errors
    /// That of the call that failed.
    pub async fn pass_over(&mut self, since: OffsetDateTime) -> Result<(), ServiceError> {
        let listed = self.list(since).await?;
        self.passed_over.extend(listed.into_iter().map(|it| it.0));
        Ok(())
    }

    /// Reads those that were created since this time and are not known yet, and which are complete by now.
    ///
    /// # Errors
    /// That of the call that failed. What was read before is kept.
    pub async fn look(&mut self, since: OffsetDateTime) -> Result<(), ServiceError> {
        let mut unknown = Vec::new();
        for (id, _, is_complete) in self.list(since).await? {
            match self.known.get_mut(&id) {
                Some(known) => known.is_complete = is_complete,
                None if self.passed_over.contains(&id) => {}
                None => unknown.push(id),
            }
        }
        let (cloudfront, target) = (self.cloudfront, self.target);
        let mut read = stream::iter(unknown)
            .map(|id| get(cloudfront, target, id))
            .buffer_unordered(CONCURRENCY);
        while let Some(invalidation) = read.next().await {
            self.keep(invalidation?);
        }
        Ok(())
    }

    /// The ids of the newest: a page of the list, the newest first.
    ///
    /// # Errors
    /// That of the call.
    pub async fn newest(&self) -> Result<Vec<String>, ServiceError> {
        let listed = self.page(None).await?.listed.into_iter();
        Ok(listed.map(|(id, ..)| id).collect())
    }

    /// Reads one, whether or not it is known.
    ///
    /// # Errors
    /// That of the call.
    pub async fn read(&self, id: String) -> Result<Invalidation, ServiceError> {
        get(self.cloudfront, self.target, id).await
    }

    /// Ids, times, and whether each is complete.
    async fn list(
        &self,
        since: OffsetDateTime,
    ) -> Result<Vec<(String, OffsetDateTime, bool)>, ServiceError> {
        let (mut marker, mut all) = (None, Vec::new());
        loop {
            let page = self.page(marker).await?;
            // The newest come first.
            let ends = page.listed.last().is_none_or(|(_, at, _)| *at < since);
            all.extend(page.listed.into_iter().filter(|(_, at, _)| *at >= since));
            marker = page.next.filter(|_| !ends);
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    async fn page(&self, marker: Option<String>) -> Result<Page, ServiceError> {
        page(self.cloudfront, &self.target.target_id(), marker).await
    }
}

/// Those of the newest hundred invalidations of a target that are in progress, each with its time. CloudFront has
/// fewer in progress.
///
/// # Errors
/// That of the call.
pub async fn in_progress(
    cloudfront: &Client,
    target: &TargetId,
) -> Result<Vec<(String, OffsetDateTime)>, ServiceError> {
    let listed = page(cloudfront, target, None).await?.listed.into_iter();
    let in_progress = listed.filter(|(_, _, is_complete)| !is_complete);
    Ok(in_progress.map(|(id, created, _)| (id, created)).collect())
}

async fn page(
    cloudfront: &Client,
    target: &TargetId,
    marker: Option<String>,
) -> Result<Page, ServiceError> {
    let (action, list) = match target {
        TargetId::Distribution(distribution) => {
            let action = "CloudFront ListInvalidations";
            let call = cloudfront.list_invalidations();
            let call = call
                .distribution_id(distribution.as_str())
                .set_marker(marker);
            let answer = call.send().await.map_err(|error| error_of(action, &error));
            (action, answer?.invalidation_list)
        }
        TargetId::Tenant(tenant) => {
            let action = "CloudFront ListInvalidationsForDistributionTenant";
            let call = cloudfront.list_invalidations_for_distribution_tenant();
            let call = call.id(tenant.as_str()).set_marker(marker);
            let answer = call.send().await.map_err(|error| error_of(action, &error));
            (action, answer?.invalidation_list)
        }
    };
    list.map(Page::of).ok_or_else(|| unreadable(action))
}

async fn get(
    cloudfront: &Client,
    target: &Target,
    id: String,
) -> Result<Invalidation, ServiceError> {
    let (action, read) = match &target.tenant {
        None => {
            let action = "CloudFront GetInvalidation";
            let call = cloudfront.get_invalidation().id(id);
            let call = call.distribution_id(target.distribution.as_str());
            let answer = call.send().await.map_err(|error| error_of(action, &error));
            (action, answer?.invalidation)
        }
        Some(tenant) => {
            let action = "CloudFront GetInvalidationForDistributionTenant";
            let call = cloudfront.get_invalidation_for_distribution_tenant().id(id);
            let call = call.distribution_tenant_id(tenant.as_str());
            let answer = call.send().await.map_err(|error| error_of(action, &error));
            (action, answer?.invalidation)
        }
    };
    read.and_then(Invalidation::of)
        .ok_or_else(|| unreadable(action))
}

impl Invalidation {
    /// `None` if the answer says less than the API promises.
    fn of(read: Answer) -> Option<Self> {
        let created = time_of(&read.create_time);
        let is_complete = is_complete(&read.status);
        let batch = read.invalidation_batch?;
        let items = batch.paths?.items.unwrap_or_default();
        // A tag is no path, and clears none.
        let paths = items.into_iter().filter_map(|it| it.try_into().ok());
        Some(Self {
            id: read.id,
            created,
            is_complete,
            reference: batch.caller_reference,
            paths: paths.collect(),
        })
    }
}

impl Page {
    fn of(list: InvalidationList) -> Self {
        let next = list
            .next_marker
            .filter(|marker| list.is_truncated && !marker.is_empty());
        let items = list.items.unwrap_or_default().into_iter();
        let listed = items.map(|it| (it.id, time_of(&it.create_time), is_complete(&it.status)));
        Self {
            listed: listed.collect(),
            next,
        }
    }
}

fn is_complete(status: &str) -> bool {
    status == "Completed"
}

fn time_of(time: &aws_sdk_cloudfront::primitives::DateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(time.as_nanos()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn unreadable(action: &'static str) -> ServiceError {
    ServiceError::of(action, UNREADABLE_ANSWER, "a part of the answer is missing")
}
