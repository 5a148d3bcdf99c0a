//! What planning has to know about CloudFront and the buckets: from the account, from files of the AWS CLI, or
//! from a snapshot of an account.
//!
//! * [`files`]: what the AWS CLI prints
//! * [`live`]: the account
//! * [`snapshot`]: a file that holds all of a site

pub mod files;
pub mod live;
pub mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use invalidator_core::bucket_tags::BucketSettings;
use invalidator_core::distributions::listing::{CachePolicies, DistributionSummary};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::{Details, Distribution, serves_any};
use invalidator_core::event::BucketName;
use invalidator_core::plan::index_document_of;

/// What the tags of each bucket ask for. A bucket whose tags are not known is not there.
pub type Settings = BTreeMap<BucketName, Arc<BucketSettings>>;

/// Distributions, and the tags of buckets.
#[derive(Debug, Default)]
pub struct Site {
    /// In the order of CloudFront's list.
    pub distributions: Vec<Listed>,
    pub policies: CachePolicies,
    pub settings: Settings,
    /// What cannot be known from where all this comes from.
    pub unknown: Vec<String>,
}

/// A distribution, with what the list does not tell.
#[derive(Clone, Debug)]
pub struct Listed {
    pub summary: DistributionSummary,
    pub details: Details,
}

impl Site {
    /// The distributions with any of the buckets as an origin.
    pub fn serving(&self, buckets: &[BucketName], aliases: &OriginBuckets) -> Vec<Distribution> {
        let listed = self.distributions.iter();
        let serving = listed.filter(|it| serves_any(&it.summary, buckets, aliases));
        serving.flat_map(|it| self.compiled(it)).collect()
    }

    /// A distribution as planning needs it; one for each tenant if their origins differ.
    pub fn compiled(&self, listed: &Listed) -> Vec<Distribution> {
        Distribution::all(&listed.summary, listed.details.clone(), &self.policies)
    }

    pub fn settings(&self, bucket: &BucketName) -> Option<&BucketSettings> {
        self.settings.get(bucket).map(AsRef::as_ref)
    }

    /// The index document of each bucket that has one by its tags.
    pub fn index_documents<'a>(
        &self,
        buckets: impl IntoIterator<Item = &'a BucketName>,
    ) -> HashMap<BucketName, String> {
        let document = |bucket: &BucketName| {
            let document = index_document_of(self.settings(bucket))?;
            Some((bucket.clone(), document))
        };
        buckets.into_iter().filter_map(document).collect()
    }
}
