//! The site of an account, as the function reads it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};
use invalidator::aws::Clients;
use invalidator::catalog::Catalog;
use invalidator::clock::Clock;
use invalidator::tags::BucketTags;
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::serves_any;
use invalidator_core::event::BucketName;
use invalidator_core::target::{DistributionId, TenantId};
use tokio::time::Instant;

use super::{Listed, Settings, Site};

/// Reading CloudFront's configuration may take so long.
const TIME_TO_READ: Duration = Duration::from_secs(120);

/// An account whose site is read.
pub struct Live<'a> {
    clients: &'a Clients,
    catalog: Catalog,
    tags: BucketTags,
}

impl<'a> Live<'a> {
    /// Lists the distributions: those with these ids, none for all.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn open(
        clients: &'a Clients,
        only: BTreeSet<DistributionId>,
        only_tenants: Option<BTreeSet<TenantId>>,
    ) -> Result<Self> {
        let ever = Duration::from_secs(3_600);
        let live = Self {
            clients,
            catalog: Catalog::new(only, ever, Clock::system()).of_tenants(only_tenants),
            tags: BucketTags::new(ever, Clock::system()),
        };
        let until = Instant::now() + TIME_TO_READ;
        live.catalog.load(clients.cloudfront(), until).await?;
        Ok(live)
    }

    /// All distributions, as the list tells them.
    pub async fn summaries(&self) -> Vec<DistributionSummary> {
        self.catalog.summaries().await
    }

    /// The site of some buckets, less the tags that are given. Details are read of the distributions that `matters` says yes to; the others
    /// are there without.
    ///
    /// # Errors
    /// If details cannot be read.
    pub async fn read(
        &self,
        buckets: &[BucketName],
        aliases: &OriginBuckets,
        given: Settings,
        matters: impl Fn(&DistributionSummary) -> bool,
    ) -> Result<Site> {
        let until = Instant::now() + TIME_TO_READ;
        let asked = buckets.iter().filter(|it| !given.contains_key(*it));
        let read = self.tags.settings_of(self.clients.s3(), asked, until);
        let read = read.await;
        let mut settings = given;
        settings.extend(read);
        let mut summaries = self.catalog.summaries().await;
        summaries.retain(|summary| serves_any(summary, buckets, aliases));
        let id = |summary: &DistributionSummary| DistributionId::new(summary.id.as_str());
        let spared = summaries.iter().filter(|it| !matters(it));
        let spared: BTreeSet<DistributionId> = spared.map(id).collect();
        let cloudfront = self.clients.cloudfront();
        let serving = self
            .catalog
            .serving(cloudfront, buckets, aliases, &spared, until);
        let mut unread = serving.await.unread;
        unread.retain(|id| !spared.contains(id));
        if let Some(id) = unread.first() {
            bail!("the distribution {id} could not be read, see above");
        }
        let mut details = self.catalog.details().await;
        let listed = summaries.into_iter().map(|summary| Listed {
            details: details.remove(&id(&summary)).unwrap_or_default(),
            summary,
        });
        let without = buckets.iter().filter(|it| !settings.contains_key(*it));
        let unknown = without.map(|bucket| {
            format!(
                "the tags of {bucket} cannot be read: no path is taken to be excepted, and folders are invalidated \
                 with their index.html"
            )
        });
        Ok(Site {
            unknown: unknown.collect(),
            distributions: listed.collect(),
            policies: self.catalog.policies(),
            settings,
        })
    }
}
