//! A site from files that the AWS CLI has printed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result};
use invalidator_core::bucket_tags::{BucketSettings, BucketTag};
use invalidator_core::distributions::listing::{
    CachePolicies, CachePolicyListing, DistributionListing, DistributionSummary, managed_policies,
};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::{Details, serves_any};
use invalidator_core::event::BucketName;
use invalidator_core::name::InvalidName;
use invalidator_core::target::DistributionId;
use serde::{Deserialize, Serialize};

use super::{Listed, Settings, Site};

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

/// The output of `aws s3api get-bucket-tagging`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagListing {
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagItem {
    key: String,
    value: String,
}

impl TagListing {
    /// The tags that planning goes by.
    pub fn of(settings: &BucketSettings) -> Self {
        let tags = settings.tags().iter().map(|(key, value)| TagItem {
            key: key.clone(),
            value: value.clone(),
        });
        Self {
            tag_set: tags.collect(),
        }
    }

    pub fn settings(self) -> Arc<BucketSettings> {
        let tags = self.tag_set.into_iter().map(|tag| BucketTag {
            key: tag.key,
            value: tag.value,
        });
        Arc::new(BucketSettings::from_tags(&tags.collect::<Vec<_>>()))
    }
}

/// The files of a site.
#[derive(Debug)]
pub struct Files<'a> {
    pub distributions: &'a Path,
    pub cache_policies: Option<&'a Path>,
    pub tags: &'a [TagFile],
}

impl Files<'_> {
    /// Reads what they say about some buckets and distributions: those with these ids, none for all.
    ///
    /// # Errors
    /// If one cannot be read, or is something else.
    pub fn read(
        &self,
        buckets: &[BucketName],
        aliases: &OriginBuckets,
        only: &BTreeSet<DistributionId>,
    ) -> Result<Site> {
        let listing: DistributionListing =
            parse(self.distributions, "aws cloudfront list-distributions")?;
        let mut distributions = Vec::new();
        for summary in listing.distribution_list.items {
            let id = DistributionId::new(summary.id.as_str());
            if only.is_empty() || only.contains(&id) {
                let details = Details {
                    default_root_object: summary.default_root_object.clone(),
                    ..Details::default()
                };
                distributions.push(Listed { summary, details });
            }
        }
        let serving = distributions.iter().map(|it| &it.summary);
        let serving = serving.filter(|it| it.enabled && serves_any(it, buckets, aliases));
        let mut unknown = unknown(&serving.collect::<Vec<_>>());
        let mut settings = tags_in(self.tags, buckets)?;
        for bucket in buckets {
            settings.entry(bucket.clone()).or_insert_with(|| {
                unknown.push(format!(
                    "no tags of {bucket} are given (--bucket-tags): it is taken to have no exception paths and no \
                     index document"
                ));
                Arc::default()
            });
        }
        Ok(Site {
            distributions,
            policies: policies(self.cache_policies)?,
            settings,
            unknown,
        })
    }
}

/// What files say about the tags of buckets.
///
/// # Errors
/// If one cannot be read, or is something else.
pub fn tags_in(files: &[TagFile], buckets: &[BucketName]) -> Result<Settings> {
    let mut found = Settings::new();
    for TagFile { bucket, file } in files {
        let settings = settings_in(file)?;
        let of_file = buckets
            .iter()
            .filter(|it| bucket.as_ref().is_none_or(|of| of == *it));
        for bucket in of_file {
            // The first file of a bucket counts.
            found
                .entry(bucket.clone())
                .or_insert_with(|| Arc::clone(&settings));
        }
    }
    Ok(found)
}

/// What the list does not tell about the distributions that matter.
fn unknown(serving: &[&DistributionSummary]) -> Vec<String> {
    let mut unknown = Vec::new();
    let ids = |of: &dyn Fn(&DistributionSummary) -> bool| {
        let serving = serving.iter().filter(|it| of(it));
        let ids: Vec<&str> = serving.map(|it| it.id.as_str()).collect();
        (!ids.is_empty()).then(|| shortened(&ids))
    };
    if let Some(ids) = ids(&|it| it.default_root_object.is_none()) {
        unknown.push(format!(
            "`aws cloudfront list-distributions` tells no default root object: if {ids} has one, `/` is invalidated \
             with it (add DefaultRootObject to the item, or plan with a snapshot: --save, --site)"
        ));
    }
    if let Some(ids) = ids(&DistributionSummary::is_multi_tenant) {
        unknown.push(format!(
            "it tells no tenants: {ids} is taken to have none (plan with a snapshot: --save, --site)"
        ));
    }
    unknown
}

/// A few of many ids.
fn shortened(ids: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = ids[..ids.len().min(SHOWN)].join(" or ");
    match ids.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} or one of {more} more"),
    }
}

/// Reads a file of JSON that `command` has made.
pub fn parse<T: for<'de> Deserialize<'de>>(file: &Path, command: &str) -> Result<T> {
    let text =
        fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not what `{command}` prints", file.display()))
}

fn policies(file: Option<&Path>) -> Result<CachePolicies> {
    let mut policies = managed_policies();
    if let Some(file) = file {
        let listing: CachePolicyListing = parse(file, "aws cloudfront list-cache-policies")?;
        let items = listing.cache_policy_list.items.into_iter();
        let items = items.map(|item| (item.cache_policy.id, item.cache_policy.cache_policy_config));
        policies.extend(items);
    }
    Ok(policies)
}

fn settings_in(file: &Path) -> Result<Arc<BucketSettings>> {
    let listing: TagListing = parse(file, "aws s3api get-bucket-tagging")?;
    Ok(listing.settings())
}
