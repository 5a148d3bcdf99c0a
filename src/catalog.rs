//! The account's distributions, read when needed and cached for a while, because the allowed rates of
//! these calls are low and unpublished.
//!
//! Everything is cached as soon as it was read, so that an attempt that was throttled half way is
//! continued, not repeated.
//!
//! * [`read`]: the calls
//! * [`kept`]: what is cached, and since when
//! * [`policies`]: the cache policies
//! * [`roots`]: the default root objects, as all environments know them
//! * [`allowance`]: how many look-ups of unknown targets are allowed
//! * [`from_sdk`]: converts the SDK's answers into the types of the core

mod allowance;
mod from_sdk;
mod kept;
mod policies;
mod read;
mod roots;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::types::DistributionTenantSummary;
use futures_util::stream::{self, StreamExt};
use invalidator_core::distributions::by_bucket::Servers;
use invalidator_core::distributions::listing::{CachePolicies, DistributionSummary};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::root_objects::RootObject;
use invalidator_core::distributions::tenants::{Parameters, Tenant};
use invalidator_core::distributions::{Details, Distribution};
use invalidator_core::event::BucketName;
use invalidator_core::plan::RootNeed;
use invalidator_core::service_error::{Meaning, ServiceError, meaning_of};
use invalidator_core::target::{DistributionId, Target, TenantId};
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use tracing::warn;

use crate::clock::Clock;
use crate::state::State;
use allowance::Allowance;
use kept::{KEEP_PAGES, Kept};
use policies::Policies;
use read::{Pace, Pages, Reads, TenantPages};
use roots::Roots;

/// How many calls run at once.
const CONCURRENCY: usize = 4;

/// So few default root objects are read before anything is planned, however unlikely it is that they matter:
/// that takes two calls in a row.
const FEW: usize = 2 * CONCURRENCY;

/// A list of distributions is read again for unknown targets at most this often, or as often as it is cached
/// if that is less: flushes need the same call, and its allowed rate is low.
const LONGEST_PERIOD: Duration = Duration::from_secs(60);

/// How many tenants that do not exist are looked up in such a period.
const MAX_ABSENT_TENANTS: usize = 20;

/// A message was sent before a list was begun if it was sent so long before by its time stamp: the clocks of
/// SQS and of the function may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// Whether a target that a message names may be invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is one of the account's, and `DISTRIBUTION_IDS` does not leave it out.
    MayTouch,
    /// `DISTRIBUTION_IDS` leaves it out. CloudFront was not asked whether it exists.
    LeftOut,
    /// There is no such distribution in the account.
    NoDistribution,
    /// The distribution serves its tenants only, and the target is no tenant; or the other way round.
    OtherKind,
    /// The distribution has no such tenant.
    NoTenant,
}

/// The cache of the account's distributions.
#[derive(Debug)]
pub struct Catalog {
    only: BTreeSet<DistributionId>,
    /// The only tenants to touch; `None` means all of the distributions above.
    only_tenants: Option<BTreeSet<TenantId>>,
    keep_for: Duration,
    clock: Clock,
    known: Mutex<Known>,
    policies: Policies,
    roots: Roots,
    pace: Pace,
    /// Locked while submit reads the list, so that only one target reads it, for all of them.
    reading: Mutex<()>,
    /// The alias of each distribution that was ever listed, for logs and mails.
    aliases: std::sync::Mutex<HashMap<DistributionId, Arc<str>>>,
}

/// The alias of a distribution that was never listed.
const NO_ALIAS: &str = "unknown";

#[derive(Debug, Default)]
struct Known {
    list: Option<Kept<Arc<[DistributionSummary]>>>,
    /// Which of the list serve a bucket; none until somebody asks.
    servers: Option<Servers>,
    /// The pages read so far, if reading the list was interrupted.
    pages: Option<Kept<Pages>>,
    details: HashMap<DistributionId, Kept<Details>>,
    tenant_lists: HashMap<DistributionId, Kept<Vec<DistributionTenantSummary>>>,
    tenant_pages: HashMap<DistributionId, Kept<TenantPages>>,
    /// The distribution of each tenant that was looked up.
    distribution_of: HashMap<TenantId, DistributionId>,
    /// The parameters of each tenant, with the tenant's version at that time.
    parameters: HashMap<TenantId, (String, Parameters)>,
    /// Lists that were read again because a message named an unknown target.
    reread: Allowance,
    /// Tenants that were looked up, and do not exist.
    absent: Allowance,
}

impl Known {
    fn summaries(&self) -> &[DistributionSummary] {
        self.list.as_ref().map_or(&[], |list| &list.value)
    }

    /// The places in the list of those that serve a bucket, with these aliases.
    fn servers(&mut self, aliases: &OriginBuckets) -> &Servers {
        let kept = self.servers.take().filter(|it| it.are_with(aliases));
        let servers = kept.unwrap_or_else(|| Servers::new(self.summaries(), aliases));
        self.servers.insert(servers)
    }

    fn summary(&self, id: &DistributionId) -> Option<&DistributionSummary> {
        self.summaries()
            .iter()
            .find(|summary| summary.id == id.as_str())
    }

    /// What the list says about a target, without its tenants.
    fn listed(&self, target: &Target) -> Standing {
        match self.summary(&target.distribution) {
            None => Standing::NoDistribution,
            Some(it) if it.is_multi_tenant() != target.tenant.is_some() => Standing::OtherKind,
            Some(_) => Standing::MayTouch,
        }
    }

    fn is_newer_than(&self, time: SystemTime) -> bool {
        self.list.as_ref().is_some_and(|list| list.since >= time)
    }

    fn has(&self, target: &Target) -> bool {
        let has_tenant = |tenant| self.distribution_of.get(tenant) == Some(&target.distribution);
        self.listed(target) == Standing::MayTouch && target.tenant.as_ref().is_none_or(has_tenant)
    }
}

/// What is missing of some distributions.
struct Missing {
    /// Their details.
    unread: BTreeSet<DistributionId>,
    /// Their default root objects, which are left for later.
    rootless: BTreeSet<DistributionId>,
    /// Their default root objects, which could not be read.
    roots_unread: BTreeSet<DistributionId>,
}

/// The distributions that serve some buckets.
#[derive(Debug, Default)]
pub struct Serving {
    /// The distributions that were read completely, including disabled ones.
    pub distributions: Vec<Distribution>,
    /// The distributions for which some details that planning needs could not be read.
    pub unread: BTreeSet<DistributionId>,
    /// Those of the first that were read without their default root object, although it may matter: see
    /// [`RootNeed::Later`].
    pub rootless: BTreeSet<DistributionId>,
    /// The same, where the default root object could not be read.
    pub roots_unread: BTreeSet<DistributionId>,
}

impl Catalog {
    /// A catalog of the distributions with these ids (none means all), which reads again after
    /// `keep_for`.
    pub fn new(only: BTreeSet<DistributionId>, keep_for: Duration, clock: Clock) -> Self {
        Self {
            only,
            only_tenants: None,
            keep_for,
            policies: Policies::new(keep_for, clock.clone()),
            clock,
            known: Mutex::default(),
            roots: Roots::default(),
            pace: Pace::default(),
            reading: Mutex::default(),
            aliases: std::sync::Mutex::default(),
        }
    }

    /// The alias of a distribution (or its domain), which logs and mails show beside its id. A deleted
    /// distribution keeps it; `unknown` if it was never listed.
    pub fn alias(&self, id: &DistributionId) -> Arc<str> {
        let aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        aliases.get(id).cloned().unwrap_or_else(|| NO_ALIAS.into())
    }

    /// How many distributions were listed until now, those of other tools too.
    pub fn count_listed(&self) -> usize {
        let aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        aliases.len()
    }

    fn keep_aliases(&self, list: &[DistributionSummary]) {
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        for summary in list {
            aliases.insert(id_of(summary), summary.alias().into());
        }
    }

    /// The same catalog, of these tenants only; `None` means all.
    pub fn of_tenants(mut self, only: Option<BTreeSet<TenantId>>) -> Self {
        self.only_tenants = only;
        self
    }

    fn may_touch(&self, tenant: &TenantId) -> bool {
        let only = self.only_tenants.as_ref();
        only.is_none_or(|only| only.contains(tenant))
    }

    /// Lists the distributions, unless the cached list is fresh.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn load(&self, cloudfront: &Client, until: Instant) -> Result<()> {
        let (begin, _) = oneshot::channel();
        self.load_beside(cloudfront, until, begin).await
    }

    /// The same, and begins to [read the policies](Self::load_policies) as soon as a page of the list shows that
    /// they are needed.
    ///
    /// # Errors
    /// If the distributions cannot be listed.
    pub async fn load_beside(
        &self,
        cloudfront: &Client,
        until: Instant,
        begin: oneshot::Sender<()>,
    ) -> Result<()> {
        let mut begin = Some(begin);
        let mut show = |list: &[DistributionSummary]| {
            let mut list = list
                .iter()
                .filter(|it| !self.leaves_out_distribution(&id_of(it)));
            if begin.is_some() && list.any(|it| self.policies.are_missing_for(it)) {
                // Nobody may wait for it.
                let _ = begin.take().map(|begin| begin.send(()));
            }
        };
        let mut known = self.known.lock().await;
        if known.list.as_ref().is_some_and(|kept| self.is_fresh(kept)) {
            show(known.summaries());
            return Ok(());
        }
        let pages = known.pages.take();
        let (pages, result) = self.read_list(pages, cloudfront, until, show).await;
        self.keep_list(&mut known, pages, result)
    }

    /// Reads the cache policies once [`Self::load_beside`] says that they are needed. If they cannot be read now,
    /// [`Self::serving`] tries it again.
    pub async fn load_policies(
        &self,
        cloudfront: &Client,
        until: Instant,
        begin: oneshot::Receiver<()>,
    ) {
        if begin.await.is_ok() {
            let _ = self.policies.load(self.reads(cloudfront, until)).await;
        }
    }

    /// Looks which default root objects other environments have read.
    pub async fn load_roots(&self, state: State<'_>) {
        self.roots.load(state).await;
    }

    /// Tells other environments which default root objects were read.
    pub async fn save_roots(&self, state: State<'_>) {
        let known = self.known.lock().await;
        let listed: BTreeSet<DistributionId> = known.summaries().iter().map(id_of).collect();
        drop(known);
        self.roots.save(state, &listed).await;
    }

    fn reads<'a>(&'a self, cloudfront: &'a Client, until: Instant) -> Reads<'a> {
        Reads {
            cloudfront,
            pace: &self.pace,
            until,
        }
    }

    /// Continues an interrupted list, or begins a new one.
    async fn read_list(
        &self,
        pages: Option<Kept<Pages>>,
        cloudfront: &Client,
        until: Instant,
        mut show: impl FnMut(&[DistributionSummary]),
    ) -> (Kept<Pages>, Result<()>) {
        let now = self.clock.now();
        let begun = pages.filter(|pages| pages.is_fresh(now, KEEP_PAGES));
        let mut pages = begun.unwrap_or_else(|| Kept::new(Pages::default(), now));
        show(&pages.value.distributions);
        let reads = self.reads(cloudfront, until);
        let result = pages.value.complete(reads, show).await;
        (pages, result)
    }

    fn keep_list(&self, known: &mut Known, pages: Kept<Pages>, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => {
                self.keep_aliases(&pages.value.distributions);
                // The list is as old as its first page.
                let list = self.wanted(pages.value.distributions);
                known.list = Some(Kept::new(list.into(), pages.since));
                known.servers = None;
                Ok(())
            }
            Err(error) => {
                known.pages = Some(pages);
                Err(error)
            }
        }
    }

    fn wanted(&self, mut list: Vec<DistributionSummary>) -> Vec<DistributionSummary> {
        if !self.only.is_empty() {
            list.retain(|summary| self.only.contains(&id_of(summary)));
            let is_listed =
                |id: &&DistributionId| list.iter().any(|summary| summary.id == id.as_str());
            for id in self.only.iter().filter(|id| !is_listed(id)) {
                warn!(distribution = %id, alias = NO_ALIAS, "DISTRIBUTION_IDS names a distribution that does not exist");
            }
        }
        list
    }

    /// The distributions with any of these buckets as an origin, from the list that was
    /// [loaded](Self::load), with all their details. These are read until `until`, except for the distributions
    /// in `unread`, which could not be read a moment ago.
    pub async fn serving(
        &self,
        cloudfront: &Client,
        buckets: &[BucketName],
        aliases: &OriginBuckets,
        unread: &BTreeSet<DistributionId>,
        until: Instant,
    ) -> Serving {
        let all = |_: &DistributionSummary| RootNeed::First;
        let buckets = (buckets, aliases);
        self.serving_as_needed(cloudfront, buckets, unread, until, all)
            .await
    }

    /// The same, but default root objects are read only as far as `need` says.
    pub async fn serving_as_needed(
        &self,
        cloudfront: &Client,
        (buckets, aliases): (&[BucketName], &OriginBuckets),
        unread: &BTreeSet<DistributionId>,
        until: Instant,
        need: impl Fn(&DistributionSummary) -> RootNeed,
    ) -> Serving {
        let reads = self.reads(cloudfront, until);
        let mut known = self.known.lock().await;
        let servers = known.servers(aliases);
        let places = buckets.iter().flat_map(|it| servers.of(it.as_str()));
        let places: BTreeSet<usize> = places.collect();
        let summaries = known.list.as_ref().map(|list| Arc::clone(&list.value));
        let summaries = summaries.unwrap_or_default();
        let serving: Vec<&DistributionSummary> =
            places.iter().map(|place| &summaries[*place]).collect();
        let (skipped, wanted): (Vec<_>, Vec<_>) = serving
            .iter()
            .copied()
            .partition(|summary| unread.contains(&id_of(summary)));
        let mut unread: BTreeSet<_> = skipped.into_iter().map(id_of).collect();
        unread.extend(self.read_policies(reads, &wanted).await);
        let details = self.read_details(&mut known, reads, &wanted, need).await;
        unread.extend(details.unread);
        let (mut rootless, mut roots_unread) = (details.rootless, details.roots_unread);
        rootless.retain(|id| !unread.contains(id));
        roots_unread.retain(|id| !unread.contains(id));
        let policies = self.policies.known();
        let read = serving
            .iter()
            .filter(|summary| !unread.contains(&id_of(summary)));
        let distributions = read.flat_map(|summary| {
            let id = id_of(summary);
            // The default root object of an earlier configuration is not that of this one.
            let is_rootless = rootless.contains(&id) || roots_unread.contains(&id);
            let details = known.details.get(&id).filter(|_| !is_rootless);
            let details = details.map(|kept| kept.value.clone()).unwrap_or_default();
            Distribution::all(summary, details, &policies)
        });
        let distributions = distributions.collect();
        Serving {
            distributions,
            unread,
            rootless,
            roots_unread,
        }
    }

    /// Those of some buckets that a distribution of the list serves, or may serve.
    pub async fn served(&self, buckets: &[BucketName], aliases: &OriginBuckets) -> Vec<BucketName> {
        let mut known = self.known.lock().await;
        let servers = known.servers(aliases);
        let is_served = |bucket: &&BucketName| servers.of(bucket.as_str()).next().is_some();
        buckets.iter().filter(is_served).cloned().collect()
    }

    /// At most how many targets serve these buckets, according to the cached data: those of the distributions that
    /// are not in `counted`, which are added to it.
    pub async fn targets_serving(
        &self,
        buckets: impl IntoIterator<Item = &BucketName>,
        aliases: &OriginBuckets,
        counted: &mut BTreeSet<DistributionId>,
    ) -> usize {
        let mut known = self.known.lock().await;
        let servers = known.servers(aliases);
        let places = buckets.into_iter().flat_map(|it| servers.of(it.as_str()));
        let places: BTreeSet<usize> = places.collect();
        let serving = places.iter().map(|place| &known.summaries()[*place]);
        let targets = serving.map(|summary| {
            let id = id_of(summary);
            let details = known.details.get(&id);
            let targets = details.map_or(1, |kept| kept.value.tenants.len().max(1));
            let is_new = summary.enabled && counted.insert(id);
            if is_new { targets } else { 0 }
        });
        targets.sum()
    }

    /// The listed distributions that have invalidations of their own: all but multi-tenant ones.
    pub async fn distributions(&self) -> Vec<DistributionId> {
        let known = self.known.lock().await;
        let summaries = known.summaries().iter();
        summaries
            .filter(|it| !it.is_multi_tenant())
            .map(id_of)
            .collect()
    }

    /// What the list says of each distribution.
    pub async fn summaries(&self) -> Vec<DistributionSummary> {
        self.known.lock().await.summaries().to_vec()
    }

    /// The details of the distributions that were read.
    pub async fn details(&self) -> HashMap<DistributionId, Details> {
        let known = self.known.lock().await;
        let details = known.details.iter();
        details
            .map(|(id, kept)| (id.clone(), kept.value.clone()))
            .collect()
    }

    /// The cache policies that are known.
    pub fn policies(&self) -> CachePolicies {
        self.policies.known()
    }

    /// Whether a distribution is listed.
    pub async fn is_listed(&self, id: &DistributionId) -> bool {
        self.known.lock().await.summary(id).is_some()
    }

    /// The ids of all distributions that are listed and may be invalidated.
    pub async fn listed_ids(&self) -> BTreeSet<String> {
        let known = self.known.lock().await;
        let ids = known.summaries().iter().map(id_of);
        ids.filter(|id| !self.leaves_out_distribution(id))
            .map(|id| id.to_string())
            .collect()
    }

    /// Whether a target exists and may be invalidated. See [`Catalog::standing`].
    ///
    /// # Errors
    /// If the list or the tenant cannot be read.
    pub async fn has(&self, cloudfront: &Client, target: &Target, until: Instant) -> Result<bool> {
        let named = self.clock.now();
        let standing = self.standing(cloudfront, target, named, until).await?;
        Ok(standing == Standing::MayTouch)
    }

    /// Whether a target that was named at a time, by a message that was sent then, may be invalidated. A
    /// target in the cached list is found there, however old the list is. For any other target it takes a list
    /// that was begun later, as the target may have been made a moment before; but that list is read at most
    /// once a minute, however many ids somebody makes up. No target waits for data that only another one
    /// needs.
    ///
    /// # Errors
    /// If the list or the tenant cannot be read, or not yet again. The target may exist then.
    pub async fn standing(
        &self,
        cloudfront: &Client,
        target: &Target,
        named: SystemTime,
        until: Instant,
    ) -> Result<Standing> {
        if self.leaves_out(target) {
            return Ok(Standing::LeftOut);
        }
        if self.known.lock().await.has(target) {
            return Ok(Standing::MayTouch);
        }
        let listed = self.listed(cloudfront, target, named, until).await?;
        match &target.tenant {
            Some(tenant) if listed == Standing::MayTouch => {
                self.look_up(cloudfront, target, tenant, until).await
            }
            _ => Ok(listed),
        }
    }

    fn leaves_out_distribution(&self, id: &DistributionId) -> bool {
        !self.only.is_empty() && !self.only.contains(id)
    }

    /// Whether `DISTRIBUTION_IDS` leaves a target out.
    fn leaves_out(&self, target: &Target) -> bool {
        let is_left_out = self.leaves_out_distribution(&target.distribution);
        is_left_out || target.tenant.as_ref().is_some_and(|it| !self.may_touch(it))
    }

    /// What a list says about a target that was named at a time. Reads the list if the cached one cannot say.
    async fn listed(
        &self,
        cloudfront: &Client,
        target: &Target,
        named: SystemTime,
        until: Instant,
    ) -> Result<Standing> {
        let asked = self.clock.now();
        let begun_later = asked.min(named + CLOCKS_DIFFER);
        let _reading = self.reading.lock().await;
        let pages = {
            let mut known = self.known.lock().await;
            let listed = known.listed(target);
            // Another target may have read the list meanwhile.
            if listed == Standing::MayTouch || known.is_newer_than(begun_later) {
                return Ok(listed);
            }
            if known.list.is_some() {
                let period = LONGEST_PERIOD.min(self.keep_for);
                if !known.reread.has_room(asked, period, 1) {
                    bail!(
                        "{target} is not in the list of distributions, which is read again in less than {} s",
                        period.as_secs()
                    );
                }
                known.reread.use_one();
            }
            known.pages.take()
        };
        let (pages, result) = self.read_list(pages, cloudfront, until, |_| {}).await;
        let mut known = self.known.lock().await;
        self.keep_list(&mut known, pages, result)?;
        let listed = known.listed(target);
        // An interrupted list was continued, and it was begun too early to know this target.
        if listed != Standing::MayTouch && !known.is_newer_than(begun_later) {
            bail!(
                "{target} is not in the list of distributions, but it may be newer than the list"
            );
        }
        Ok(listed)
    }

    /// Asks CloudFront for a tenant of a multi-tenant distribution.
    async fn look_up(
        &self,
        cloudfront: &Client,
        target: &Target,
        tenant: &TenantId,
        until: Instant,
    ) -> Result<Standing> {
        let now = self.clock.now();
        let period = LONGEST_PERIOD.min(self.keep_for);
        let mut known = self.known.lock().await;
        if !known.absent.has_room(now, period, MAX_ABSENT_TENANTS) {
            bail!(
                "{target} is not known, and too many tenants that do not exist were looked up: the next look-up is in less than {} s",
                period.as_secs()
            );
        }
        drop(known);
        let read = read::tenant(self.reads(cloudfront, until), tenant).await?;
        let mut known = self.known.lock().await;
        if let Some(distribution) = read.and_then(|read| read.distribution) {
            known.distribution_of.insert(tenant.clone(), distribution);
        }
        if known.has(target) {
            return Ok(Standing::MayTouch);
        }
        known.absent.use_one();
        Ok(Standing::NoTenant)
    }

    /// Forgets the list, so that it is read again before the next use.
    pub async fn forget(&self) {
        let mut known = self.known.lock().await;
        (known.list, known.servers) = (None, None);
    }

    /// Reads the cache policies if an unknown one is needed. If they cannot be read now, returns the
    /// distributions that need one.
    async fn read_policies(
        &self,
        reads: Reads<'_>,
        serving: &[&DistributionSummary],
    ) -> BTreeSet<DistributionId> {
        let needing = serving.iter();
        let needing = needing.filter(|it| self.policies.are_missing_for(it));
        let needing: BTreeSet<DistributionId> = needing.map(|it| id_of(it)).collect();
        if needing.is_empty() {
            return BTreeSet::new();
        }
        match self.policies.load(reads).await {
            Ok(()) => BTreeSet::new(),
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    distributions = needing.len(),
                    "cache policies could not be read, so the changes of distributions that need them wait"
                );
                needing
            }
        }
    }

    /// Reads missing details. Returns what is missing then.
    async fn read_details(
        &self,
        known: &mut Known,
        reads: Reads<'_>,
        serving: &[&DistributionSummary],
        need: impl Fn(&DistributionSummary) -> RootNeed,
    ) -> Missing {
        let (missing, mut rootless) = self.missing_details(known, serving, need);
        let (mut unread, mut roots_unread) = (BTreeSet::new(), BTreeSet::new());
        let mut configs = stream::iter(missing)
            .map(|(summary, need)| async move {
                let config = read::config(reads, &id_of(summary)).await;
                (summary, need, config)
            })
            .buffer_unordered(CONCURRENCY);
        let mut multi_tenant = Vec::new();
        while let Some((summary, need, config)) = configs.next().await {
            match config {
                Ok(config) if summary.is_multi_tenant() => multi_tenant.push((summary, config)),
                Ok(read) => {
                    let (config, e_tag) = match read {
                        Some(read) => (Some(read.config), read.e_tag),
                        None => (None, None),
                    };
                    let object = config.and_then(|config| config.default_root_object);
                    let object = object.filter(|object| !object.is_empty());
                    // It is believed, also by others, for as long as the distribution is listed with this version; any
                    // other one for a moment.
                    let e_tag = e_tag.filter(|it| summary.e_tag.as_ref() == Some(it));
                    if let Some(e_tag) = e_tag.clone() {
                        let object = object.clone();
                        self.roots
                            .note(id_of(summary), RootObject { e_tag, object });
                    }
                    self.keep_root(known, summary, e_tag, object);
                }
                Err(error) if need == RootNeed::Later => {
                    let is_refused = is_permanent(&error);
                    let id = root_not_read(summary, &error);
                    match is_refused {
                        true => roots_unread.insert(id),
                        // There was little time.
                        false => rootless.insert(id),
                    };
                }
                Err(error) => {
                    unread.insert(not_read(summary, &error));
                }
            }
        }
        drop(configs);
        if !rootless.is_empty() || !roots_unread.is_empty() {
            self.roots.fall_behind();
        }
        // Tenants come last, because there may be thousands of them.
        for (summary, config) in multi_tenant {
            let (default_root_object, tenant_config) = config
                .map(|read| (read.config.default_root_object, read.config.tenant_config))
                .unwrap_or_default();
            let defaults = from_sdk::default_parameters(tenant_config);
            let tenants = self.tenants(known, reads, summary, &defaults);
            match tenants.await {
                Ok(tenants) => {
                    let details = Details {
                        default_root_object,
                        tenants,
                    };
                    self.keep(known, summary, summary.e_tag.clone(), details);
                }
                Err(error) => {
                    unread.insert(not_read(summary, &error));
                }
            }
        }
        Missing {
            unread,
            rootless,
            roots_unread,
        }
    }

    /// The distributions whose details are read now, and those whose default root objects are left for later.
    fn missing_details<'s>(
        &self,
        known: &mut Known,
        serving: &[&'s DistributionSummary],
        need: impl Fn(&DistributionSummary) -> RootNeed,
    ) -> (
        Vec<(&'s DistributionSummary, RootNeed)>,
        BTreeSet<DistributionId>,
    ) {
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for summary in serving.iter().copied().filter(|it| it.enabled) {
            self.use_known_root(known, summary);
            if self.has_details(known, summary) {
                continue;
            }
            match need(summary) {
                // Their configuration has the defaults of their tenants' parameters, too.
                _ if summary.is_multi_tenant() => now.push((summary, RootNeed::First)),
                RootNeed::None => {}
                RootNeed::Later => later.push((summary, RootNeed::Later)),
                RootNeed::First => now.push((summary, RootNeed::First)),
            }
        }
        if now.len() + later.len() <= FEW {
            now.append(&mut later);
        }
        let later = later.into_iter().map(|(summary, _)| id_of(summary));
        (now, later.collect())
    }

    /// Takes the default root object that another environment has read, if this version of the distribution has
    /// none yet.
    fn use_known_root(&self, known: &mut Known, summary: &DistributionSummary) {
        if summary.is_multi_tenant() || self.has_details(known, summary) {
            return;
        }
        let e_tag = summary.e_tag.as_deref().unwrap_or_default();
        if let Some(root) = self.roots.of(&id_of(summary), e_tag) {
            let e_tag = summary.e_tag.clone();
            self.keep_root(known, summary, e_tag, root.object);
        }
    }

    fn keep_root(
        &self,
        known: &mut Known,
        summary: &DistributionSummary,
        e_tag: Option<String>,
        default_root_object: Option<String>,
    ) {
        let details = Details {
            default_root_object,
            tenants: Vec::new(),
        };
        self.keep(known, summary, e_tag, details);
    }

    fn is_fresh<T>(&self, kept: &Kept<T>) -> bool {
        kept.is_fresh(self.clock.now(), self.keep_for)
    }

    fn keep(
        &self,
        known: &mut Known,
        summary: &DistributionSummary,
        e_tag: Option<String>,
        value: Details,
    ) {
        let kept = Kept {
            value,
            since: self.clock.now(),
            e_tag,
        };
        known.details.insert(id_of(summary), kept);
    }

    /// Whether the cached details are still valid. A default root object is valid until its distribution
    /// changes; tenants may come and go without such a change.
    fn has_details(&self, known: &Known, summary: &DistributionSummary) -> bool {
        let kept = known.details.get(&id_of(summary));
        kept.is_some_and(|kept| match (&kept.e_tag, &summary.e_tag) {
            (Some(kept), Some(listed)) if !summary.is_multi_tenant() => kept == listed,
            _ => self.is_fresh(kept),
        })
    }

    async fn tenant_list<'k>(
        &self,
        known: &'k mut Known,
        reads: Reads<'_>,
        id: &DistributionId,
    ) -> Result<&'k [DistributionTenantSummary]> {
        let now = self.clock.now();
        let kept = known.tenant_lists.remove(id);
        let kept = match kept.filter(|kept| self.is_fresh(kept)) {
            Some(kept) => kept,
            None => {
                let begun = known.tenant_pages.remove(id);
                let begun = begun.filter(|pages| pages.is_fresh(now, KEEP_PAGES));
                let mut pages = begun.unwrap_or_else(|| Kept::new(TenantPages::default(), now));
                if let Err(error) = pages.value.complete(reads, id).await {
                    known.tenant_pages.insert(id.clone(), pages);
                    return Err(error);
                }
                Kept::new(pages.value.tenants, pages.since)
            }
        };
        let kept = known.tenant_lists.entry(id.clone()).insert_entry(kept);
        Ok(&kept.into_mut().value)
    }

    /// The enabled tenants of a distribution. Their parameters are only read if they matter, and cached
    /// until the tenant changes.
    async fn tenants(
        &self,
        known: &mut Known,
        reads: Reads<'_>,
        summary: &DistributionSummary,
        defaults: &Parameters,
    ) -> Result<Vec<Tenant>> {
        let id = id_of(summary);
        let list = self.tenant_list(known, reads, &id);
        let list: Vec<(TenantId, String)> = list
            .await?
            .iter()
            .map(|tenant| (TenantId::new(tenant.id.as_str()), tenant.e_tag.clone()))
            .filter(|(tenant, _)| self.may_touch(tenant))
            .collect();
        if list.is_empty() && self.only_tenants.is_some() {
            warn!(distribution = %id, "a multi-tenant distribution is not invalidated: DISTRIBUTION_IDS names none of its tenants");
        }
        if !summary.has_placeholders() {
            let tenant = |(id, _)| Tenant {
                id,
                parameters: Parameters::default(),
            };
            return Ok(list.into_iter().map(tenant).collect());
        }
        let is_known = |(id, e_tag): &(TenantId, String)| {
            let kept = known.parameters.get(id);
            kept.is_some_and(|(of, _)| !of.is_empty() && of == e_tag)
        };
        let missing: Vec<_> = list.iter().filter(|it| !is_known(it)).cloned().collect();
        let mut tenants = stream::iter(missing)
            .map(|(id, e_tag)| async move {
                let read = read::tenant(reads, &id).await;
                (id, e_tag, read)
            })
            .buffer_unordered(CONCURRENCY);
        let mut gone = BTreeSet::new();
        let mut failure = None;
        while let Some((id, e_tag, read)) = tenants.next().await {
            match read {
                Ok(Some(read)) => {
                    known.parameters.insert(id, (e_tag, read.parameters));
                }
                Ok(None) => {
                    gone.insert(id);
                }
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let tenant = |(id, _): (TenantId, String)| {
            let (_, parameters) = known.parameters.get(&id)?;
            let parameters = defaults.overridden_by(parameters.clone());
            (!gone.contains(&id)).then_some(Tenant { id, parameters })
        };
        Ok(list.into_iter().filter_map(tenant).collect())
    }
}

fn not_read(summary: &DistributionSummary, error: &anyhow::Error) -> DistributionId {
    let id = id_of(summary);
    warn!(distribution = %id, alias = summary.alias(), error = format!("{error:#}"), "a distribution could not be read, so its changes wait");
    id
}

/// Whether CloudFront has refused it for good.
fn is_permanent(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<ServiceError>();
    error.is_some_and(|it| meaning_of(0, &it.code) == Meaning::Permanent)
}

/// No change has to wait for what hardly matters.
fn root_not_read(summary: &DistributionSummary, error: &anyhow::Error) -> DistributionId {
    let id = id_of(summary);
    warn!(distribution = %id, alias = summary.alias(), error = format!("{error:#}"), "a default root object could not be read, so its changes are planned without, and then once more");
    id
}

fn id_of(summary: &DistributionSummary) -> DistributionId {
    DistributionId::new(summary.id.as_str())
}
