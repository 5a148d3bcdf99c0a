//! Reads the invalidations of an account: of each distribution and tenant the list, and of each invalidation
//! its paths. The list tells only ids and times.

use std::cell::RefCell;
use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::types::InvalidationList;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::stream::{self, StreamExt};
use invalidator::aws::error::{error_of, status};
use invalidator_core::cost::month::Month;
use invalidator_core::service_error::{Meaning, ServiceError, UNREADABLE_ANSWER, meaning_of};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};

use super::cache::{Cache, Known};
use super::invalidation::{Billed, Invalidation, Read, created, milliseconds};
use super::pace::Pace;
use crate::progress::Progress;

/// How many calls run at once.
const CONCURRENCY: usize = 4;

/// How often a call is made that gets no answer, or a broken one. Throttled calls are made for longer.
const ATTEMPTS: u32 = 5;

/// After the end of a month, for so long a new invalidation of it may still be missing in a list.
const LISTS_SETTLE: time::Duration = time::Duration::hours(1);

/// Reads the bill of a month.
pub struct Reader<'a> {
    cloudfront: &'a Client,
    cache: &'a Cache,
    progress: &'a Progress,
    pace: RefCell<Pace>,
    month: Month,
    now: OffsetDateTime,
}

/// A page of a list of invalidations: ids, and times in milliseconds since 1970.
struct Page {
    listed: Vec<(String, i64)>,
    next: Option<String>,
}

/// What is known of a target so far.
struct Target {
    of: Billed,
    known: Known,
    /// What is listed in this month.
    listed: Vec<(String, i64)>,
    /// Whether CloudFront was asked, or the file has it all.
    is_asked: bool,
    missing: Option<ServiceError>,
}

impl<'a> Reader<'a> {
    /// A reader of this month, at this time.
    pub fn new(
        cloudfront: &'a Client,
        cache: &'a Cache,
        progress: &'a Progress,
        month: Month,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            cloudfront,
            cache,
            progress,
            pace: RefCell::new(Pace::new(Instant::now())),
            month,
            now,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// If the distributions cannot be listed, or the cache cannot be read. What else cannot be read is
    /// missing in the result.
    pub async fn read(&self) -> Result<Vec<Read>> {
        let billed = self.billed().await?;
        self.progress.begin("distributions", billed.len() as u64);
        let targets = stream::iter(billed)
            .map(|of| self.list(of))
            .buffer_unordered(CONCURRENCY);
        let targets: Vec<Result<Target>> = targets.collect().await;
        let targets: Vec<Target> = targets.into_iter().collect::<Result<_>>()?;
        let is_unknown =
            |target: &Target, (id, time): &(String, i64)| target.known.get(id, *time).is_none();
        let unknown = targets
            .iter()
            .map(|it| it.listed.iter().filter(|one| is_unknown(it, one)).count());
        self.progress
            .begin("invalidations", unknown.sum::<usize>() as u64);
        let read = stream::iter(targets)
            .map(|target| self.look(target))
            .buffer_unordered(CONCURRENCY);
        let mut read: Vec<Read> = read.collect().await;
        read.sort_by(|a, b| a.of.cmp(&b.of));
        Ok(read)
    }

    /// All distributions and tenants, and the deleted ones that the cache knows.
    async fn billed(&self) -> Result<Vec<Billed>> {
        let mut all = self.distributions().await?;
        let has_tenants = all.iter().any(|(_, is_multi_tenant)| *is_multi_tenant);
        let mut billed: Vec<Billed> = all.drain(..).map(|(billed, _)| billed).collect();
        if has_tenants {
            let tenants = self.tenants().await;
            billed.extend(tenants.context("failed to list the distribution tenants")?);
        }
        let known: BTreeSet<String> = billed.iter().map(|it| it.id.clone()).collect();
        let deleted = self
            .cache
            .targets()
            .into_iter()
            .filter(|id| !known.contains(id));
        billed.extend(deleted.map(|id| Billed {
            id,
            name: None,
            tenant_of: None,
        }));
        Ok(billed)
    }

    /// The distributions, and whether each is a multi-tenant one.
    async fn distributions(&self) -> Result<Vec<(Billed, bool)>> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let page = self.call("CloudFront ListDistributions", async || {
                let call = self.cloudfront.list_distributions();
                call.set_marker(marker.clone()).send().await
            });
            let page = page.await.context("failed to list the distributions")?;
            let list = page
                .distribution_list
                .context("ListDistributions answered without a list")?;
            for item in list.items.unwrap_or_default() {
                let aliases = item
                    .aliases
                    .and_then(|aliases| aliases.items)
                    .unwrap_or_default();
                let is_multi_tenant = item.connection_mode
                    == Some(aws_sdk_cloudfront::types::ConnectionMode::TenantOnly);
                let billed = Billed {
                    id: item.id,
                    name: Some(aliases.into_iter().next().unwrap_or(item.domain_name)),
                    tenant_of: None,
                };
                all.push((billed, is_multi_tenant));
            }
            marker = list
                .next_marker
                .filter(|marker| list.is_truncated && !marker.is_empty());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    async fn tenants(&self) -> Result<Vec<Billed>, ServiceError> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let page = self.call("CloudFront ListDistributionTenants", async || {
                let call = self.cloudfront.list_distribution_tenants();
                call.set_marker(marker.clone()).send().await
            });
            let page = page.await?;
            let tenants = page
                .distribution_tenant_list
                .unwrap_or_default()
                .into_iter();
            all.extend(tenants.map(|tenant| Billed {
                id: tenant.id,
                name: Some(tenant.name),
                tenant_of: Some(tenant.distribution_id),
            }));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// Lists the invalidations of a target in this month, unless the cache has them all.
    async fn list(&self, of: Billed) -> Result<Target> {
        let known = self.cache.open(&of.id);
        let known = known.with_context(|| format!("failed to read the cache of {}", of.id))?;
        let is_asked = !known.is_listed(self.month) && of.name.is_some();
        let mut target = Target {
            of,
            known,
            listed: Vec::new(),
            is_asked,
            missing: None,
        };
        if is_asked && let Err(error) = self.list_pages(&mut target).await {
            target.missing = Some(error);
        }
        self.progress.step();
        Ok(target)
    }

    /// From the newest to the first one before this month.
    async fn list_pages(&self, target: &mut Target) -> Result<(), ServiceError> {
        let mut marker = None;
        loop {
            let page = self.page(&target.of, marker).await?;
            let is_before = |(_, time): &(String, i64)| created(*time) < self.month.start();
            let ends = page.listed.last().is_some_and(is_before);
            let in_month = page
                .listed
                .into_iter()
                .filter(|(_, time)| self.month.contains(created(*time)));
            target.listed.extend(in_month);
            marker = page.next.filter(|_| !ends);
            if marker.is_none() {
                return Ok(());
            }
        }
    }

    async fn page(&self, of: &Billed, marker: Option<String>) -> Result<Page, ServiceError> {
        let (action, list) = match of.tenant_of {
            None => {
                let action = "CloudFront ListInvalidations";
                let page = self.call(action, async || {
                    let call = self.cloudfront.list_invalidations().distribution_id(&of.id);
                    call.set_marker(marker.clone()).send().await
                });
                (action, page.await?.invalidation_list)
            }
            Some(_) => {
                let action = "CloudFront ListInvalidationsForDistributionTenant";
                let page = self.call(action, async || {
                    let call = self.cloudfront.list_invalidations_for_distribution_tenant();
                    call.id(&of.id).set_marker(marker.clone()).send().await
                });
                (action, page.await?.invalidation_list)
            }
        };
        list.map(Page::of).ok_or_else(|| unreadable(action))
    }

    /// Reads the invalidations of a target that are not known yet. Each is kept as soon as it was read.
    async fn look(&self, target: Target) -> Read {
        let Target {
            of,
            known,
            listed,
            is_asked,
            mut missing,
        } = target;
        let known = RefCell::new(known);
        let unknown = listed
            .iter()
            .filter(|(id, time)| known.borrow().get(id, *time).is_none());
        let unknown: Vec<_> = unknown.cloned().collect();
        let results = stream::iter(unknown)
            .map(|(id, _)| async {
                let result = self.get(&of, id).await;
                self.progress.step();
                match result {
                    Ok(invalidation) => {
                        self.keep(&known, invalidation);
                        None
                    }
                    Err(error) => Some(error),
                }
            })
            .buffer_unordered(CONCURRENCY);
        let errors: Vec<ServiceError> = results.filter_map(async |it| it).collect().await;
        missing = missing.or_else(|| errors.into_iter().next());
        let is_over = self.now >= self.month.end() + LISTS_SETTLE;
        if is_asked
            && missing.is_none()
            && is_over
            && let Err(error) = known.borrow_mut().keep_listed(self.month)
        {
            self.cannot_keep(&error);
        }
        let known = known.into_inner();
        let invalidations: Vec<_> = known.of_month(self.month).cloned().collect();
        let forgotten = match is_asked && missing.is_none() {
            true => invalidations.len().saturating_sub(listed.len()),
            false => 0,
        };
        Read {
            of,
            invalidations,
            forgotten,
            missing,
        }
    }

    async fn get(&self, of: &Billed, id: String) -> Result<Invalidation, ServiceError> {
        let (action, read) = match of.tenant_of {
            None => {
                let action = "CloudFront GetInvalidation";
                let answer = self.call(action, async || {
                    let call = self.cloudfront.get_invalidation().distribution_id(&of.id);
                    call.id(&id).send().await
                });
                (action, answer.await?.invalidation)
            }
            Some(_) => {
                let action = "CloudFront GetInvalidationForDistributionTenant";
                let answer = self.call(action, async || {
                    let call = self.cloudfront.get_invalidation_for_distribution_tenant();
                    call.distribution_tenant_id(&of.id).id(&id).send().await
                });
                (action, answer.await?.invalidation)
            }
        };
        read.and_then(Invalidation::of)
            .ok_or_else(|| unreadable(action))
    }

    fn keep(&self, known: &RefCell<Known>, invalidation: Invalidation) {
        if let Err(error) = known.borrow_mut().keep(invalidation) {
            self.cannot_keep(&error);
        }
    }

    /// Without the cache the next run is slower, and that is all.
    fn cannot_keep(&self, error: &std::io::Error) {
        self.progress
            .say(format!("(the cache cannot be written: {error})"));
    }

    /// Makes a call when it is its turn, and again if it is throttled.
    ///
    /// # Errors
    /// That of the last attempt.
    async fn call<T, E>(
        &self,
        action: &'static str,
        mut call: impl AsyncFnMut() -> Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<T, ServiceError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut unclear = 0;
        loop {
            let turn = self.pace.borrow_mut().take_turn(Instant::now());
            sleep_until(turn).await;
            let error = match call().await {
                Ok(answer) => {
                    self.pace.borrow_mut().succeeded(Instant::now());
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let (status, error) = (status(&error), error_of(action, &error));
            let meaning = meaning_of(status, &error.code);
            unclear += u32::from(meaning == Meaning::Unclear);
            if meaning == Meaning::Permanent || unclear >= ATTEMPTS {
                return Err(error);
            }
            let is_patient = self.pace.borrow_mut().failed(Instant::now());
            if !is_patient {
                return Err(error);
            }
            let per_second = self.pace.borrow().per_second();
            let code = &error.code;
            self.progress
                .say(format!("({code}: now {per_second:.1} calls a second)"));
        }
    }
}

impl Page {
    fn of(list: InvalidationList) -> Self {
        let next = list
            .next_marker
            .filter(|marker| list.is_truncated && !marker.is_empty());
        let items = list.items.unwrap_or_default().into_iter();
        let listed = items.map(|it| (it.id, milliseconds(&it.create_time)));
        Self {
            listed: listed.collect(),
            next,
        }
    }
}

fn unreadable(action: &'static str) -> ServiceError {
    ServiceError::of(action, UNREADABLE_ANSWER, "a part of the answer is missing")
}
