//! A file that holds all of a site. Its lists are those of the AWS CLI, so it can also be given where a file of
//! `list-distributions` or `list-cache-policies` is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use invalidator_core::distributions::Details;
use invalidator_core::distributions::listing::{
    CachePolicy, CachePolicyItem, CachePolicyListing, DistributionSummary, Items,
};
use invalidator_core::distributions::tenants::Tenant;
use invalidator_core::event::BucketName;
use invalidator_core::target::DistributionId;
use serde::{Deserialize, Serialize};

use super::files::{TagListing, parse};
use super::{Listed, Site};

const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Snapshot {
    version: u32,
    /// The buckets whose site it is.
    buckets: Vec<BucketName>,
    distribution_list: Items<Saved>,
    #[serde(flatten)]
    policies: CachePolicyListing,
    /// By bucket. One whose tags could not be read is not there.
    bucket_tags: BTreeMap<BucketName, TagListing>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    #[serde(flatten)]
    summary: DistributionSummary,
    #[serde(default)]
    tenants: Vec<Tenant>,
}

impl Site {
    /// Writes the site of these buckets.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, buckets: &[BucketName], file: &Path) -> Result<()> {
        let saved = self.distributions.iter().map(|listed| Saved {
            summary: DistributionSummary {
                // An empty one is none. One that is missing would not be known.
                default_root_object: Some(
                    listed
                        .details
                        .default_root_object
                        .clone()
                        .unwrap_or_default(),
                ),
                ..listed.summary.clone()
            },
            tenants: listed.details.tenants.clone(),
        });
        let mut policies: Vec<_> = self.policies.iter().collect();
        policies.sort_by_key(|(id, _)| *id);
        let policies = policies.into_iter().map(|(id, config)| CachePolicyItem {
            cache_policy: CachePolicy {
                id: id.clone(),
                cache_policy_config: config.clone(),
            },
        });
        let tags = self.settings.iter();
        let snapshot = Snapshot {
            version: VERSION,
            buckets: buckets.to_vec(),
            distribution_list: Items {
                items: saved.collect(),
            },
            policies: CachePolicyListing {
                cache_policy_list: Items {
                    items: policies.collect(),
                },
            },
            bucket_tags: tags
                .map(|(bucket, settings)| (bucket.clone(), TagListing::of(settings)))
                .collect(),
        };
        let json = serde_json::to_string_pretty(&snapshot)? + "\n";
        std::fs::write(file, json).with_context(|| format!("failed to write {}", file.display()))
    }

    /// Reads a saved site, for some buckets and distributions: those with these ids, none for all.
    ///
    /// # Errors
    /// If the file cannot be read, is something else, or knows nothing of one of the buckets.
    pub fn load(
        file: &Path,
        buckets: &[BucketName],
        only: &BTreeSet<DistributionId>,
    ) -> Result<Self> {
        let snapshot: Snapshot = parse(file, "invalidatorctl plan --save")?;
        let shown = file.display();
        if snapshot.version != VERSION {
            let version = snapshot.version;
            bail!("{shown} has the version {version}, and only {VERSION} is known");
        }
        if let Some(other) = buckets.iter().find(|it| !snapshot.buckets.contains(it)) {
            let saved: Vec<&str> = snapshot.buckets.iter().map(BucketName::as_str).collect();
            let saved = saved.join(", ");
            bail!("{shown} was saved for {saved} and knows nothing of {other}: save it again");
        }
        let mut site = Self::default();
        for Saved { summary, tenants } in snapshot.distribution_list.items {
            let id = DistributionId::new(summary.id.as_str());
            if only.is_empty() || only.contains(&id) {
                let details = Details {
                    default_root_object: summary.default_root_object.clone(),
                    tenants,
                };
                site.distributions.push(Listed { summary, details });
            }
        }
        let policies = snapshot.policies.cache_policy_list.items.into_iter();
        site.policies = policies
            .map(|item| (item.cache_policy.id, item.cache_policy.cache_policy_config))
            .collect();
        for (bucket, tags) in snapshot.bucket_tags {
            site.settings.insert(bucket, tags.settings());
        }
        for bucket in buckets.iter().filter(|it| !site.settings.contains_key(*it)) {
            site.unknown.push(format!(
                "the tags of {bucket} could not be read when {shown} was saved: no path is taken to be excepted, and \
                 folders are invalidated with their index.html"
            ));
        }
        Ok(site)
    }
}
