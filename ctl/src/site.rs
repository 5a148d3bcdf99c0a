//! Where distributions and bucket tags come from: files, or the account.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use invalidator::aws::Clients;
use invalidator::catalog::Catalog;
use invalidator::clock::Clock;
use invalidator::tags::BucketTags;
use invalidator_core::bucket_tags::{BucketSettings, BucketTag};
use invalidator_core::distributions::listing::{
    CachePolicies, CachePolicyListing, DistributionListing, managed_policies,
};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::{Details, Distribution, serves_any};
use invalidator_core::event::BucketName;
use invalidator_core::name::InvalidName;
use invalidator_core::target::DistributionId;
use serde::Deserialize;
use tokio::time::Instant;

use crate::account;
use crate::output::tell;

/// Reading CloudFront's configuration may take so long.
const TIME_TO_READ: Duration = Duration::from_secs(120);

/// A file of tags, for one bucket or for all.
#[derive(Clone, Debug)]
pub struct TagFile {
    bucket: Option<BucketName>,
    file: PathBuf,
}

impl FromStr for TagFile {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('=') {
            Some((bucket, file)) => Self {
                bucket: Some(bucket.parse()?),
                file: PathBuf::from(file),
            },
            None => Self {
                bucket: None,
                file: PathBuf::from(text),
            },
        })
    }
}

pub struct Source {
    account: Option<(Clients, Catalog, BucketTags)>,
    distributions: Option<(DistributionListing, CachePolicies)>,
    tags: Vec<(Option<BucketName>, Arc<BucketSettings>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagListing {
    tag_set: Vec<TagItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagItem {
    key: String,
    value: String,
}

impl Source {
    pub async fn new(
        account: &account::Options,
        distributions: Option<&Path>,
        cache_policies: Option<&Path>,
        tag_files: Vec<TagFile>,
        only: BTreeSet<DistributionId>,
    ) -> Result<Self> {
        // With distributions from a file nothing is asked of an account.
        let account = match distributions {
            Some(_) => None,
            None => {
                let ever = Duration::from_secs(3_600);
                let account = account::open(account).await?;
                tell(&account);
                Some((
                    account.clients,
                    Catalog::new(only.clone(), ever, Clock::system()),
                    BucketTags::new(ever, Clock::system()),
                ))
            }
        };
        let distributions = match distributions {
            Some(file) => Some((listing(file, &only)?, policies(cache_policies)?)),
            None => None,
        };
        let tags = tag_files
            .into_iter()
            .map(|TagFile { bucket, file }| Ok((bucket, settings(&file)?)));
        Ok(Self {
            account,
            distributions,
            tags: tags.collect::<Result<_>>()?,
        })
    }

    /// What the tags of the buckets ask for. A bucket whose tags cannot be read is left out.
    pub async fn settings(
        &self,
        buckets: &[BucketName],
    ) -> HashMap<BucketName, Arc<BucketSettings>> {
        let mut all = HashMap::new();
        for bucket in buckets {
            let from_file = self
                .tags
                .iter()
                .find(|(of, _)| of.as_ref().is_none_or(|of| of == bucket));
            let settings = match (from_file, &self.account) {
                (Some((_, settings)), _) => Some(settings.clone()),
                (None, Some((clients, _, tags))) => {
                    let until = Instant::now() + TIME_TO_READ;
                    tags.settings(clients.s3(), bucket, until).await
                }
                // Without an account, a bucket without a file has no tags.
                (None, None) => Some(Arc::default()),
            };
            all.extend(settings.map(|settings| (bucket.clone(), settings)));
        }
        all
    }

    /// The distributions with any of the buckets as an origin.
    pub async fn distributions(
        &self,
        buckets: &[BucketName],
        aliases: &OriginBuckets,
    ) -> Result<Vec<Distribution>> {
        let mut all = Vec::new();
        if let Some((clients, catalog, _)) = &self.account {
            let cloudfront = clients.cloudfront();
            let until = Instant::now() + TIME_TO_READ;
            catalog.load(cloudfront, until).await?;
            let no_one = BTreeSet::new();
            let serving = catalog
                .serving(cloudfront, buckets, aliases, &no_one, until)
                .await;
            if let Some(id) = serving.unread.first() {
                bail!("the distribution {id} could not be read, see above");
            }
            all = serving.distributions;
        }
        if let Some((listing, policies)) = &self.distributions {
            let summaries = listing.distribution_list.items.iter();
            for summary in summaries.filter(|summary| serves_any(summary, buckets, aliases)) {
                let default_root_object = summary.default_root_object.clone();
                let details = Details {
                    default_root_object,
                    ..Details::default()
                };
                all.extend(Distribution::all(summary, details, policies));
            }
        }
        Ok(all)
    }
}

fn parse<T: for<'de> Deserialize<'de>>(file: &Path, command: &str) -> Result<T> {
    let text =
        fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not what `{command}` prints", file.display()))
}

fn listing(file: &Path, only: &BTreeSet<DistributionId>) -> Result<DistributionListing> {
    let mut listing: DistributionListing = parse(file, "aws cloudfront list-distributions")?;
    if !only.is_empty() {
        listing
            .distribution_list
            .items
            .retain(|item| only.contains(&DistributionId::new(item.id.as_str())));
    }
    Ok(listing)
}

fn policies(file: Option<&Path>) -> Result<CachePolicies> {
    let mut policies = managed_policies();
    if let Some(file) = file {
        let listing: CachePolicyListing = parse(file, "aws cloudfront list-cache-policies")?;
        let items = listing
            .cache_policy_list
            .items
            .into_iter()
            .map(|item| item.cache_policy);
        policies.extend(items.map(|policy| (policy.id, policy.cache_policy_config)));
    }
    Ok(policies)
}

fn settings(file: &Path) -> Result<Arc<BucketSettings>> {
    let listing: TagListing = parse(file, "aws s3api get-bucket-tagging")?;
    let tags = listing.tag_set.into_iter().map(|tag| BucketTag {
        key: tag.key,
        value: tag.value,
    });
    Ok(Arc::new(BucketSettings::from_tags(
        &tags.collect::<Vec<_>>(),
    )))
}
