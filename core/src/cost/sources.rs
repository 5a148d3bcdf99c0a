//! Where the answers below a folder of a distribution come from: which objects a wildcard clears.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use super::bars::takes_and_touches;
use crate::distributions::Distribution;
use crate::distributions::origin::OriginBuckets;
use crate::event::BucketName;
use crate::path::{OriginPath, ViewerPath};

/// A folder of a bucket whose objects may be cached below a folder of a distribution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The bucket.
    pub bucket: BucketName,
    /// The folder that the origin serves.
    pub origin_path: OriginPath,
    /// What the keys of these objects begin with.
    pub prefix: String,
}

/// The sources of what may be cached below `folder`, an encoded path with its trailing slash. `None` if one of
/// them is not known to be a bucket.
pub fn sources(
    distribution: &Distribution,
    aliases: &OriginBuckets,
    folder: &str,
) -> Option<BTreeSet<Source>> {
    let decoded = percent_decode_str(folder).decode_utf8().ok()?;
    let path = ViewerPath::of_whole_bucket(&decoded).normalized();
    let mut sources = BTreeSet::new();
    for behavior in distribution.behaviors() {
        let (takes_all, touches) = takes_and_touches(behavior, &path);
        if touches && behavior.caching.caches() {
            for origin in distribution.origins_behind(behavior) {
                let below = origin.path.as_str().trim_start_matches('/');
                let prefix = match below {
                    "" => decoded.trim_start_matches('/').to_owned(),
                    below => format!("{below}{decoded}"),
                };
                sources.insert(Source {
                    bucket: BucketName::new(origin.domain.bucket(aliases)?),
                    origin_path: origin.path.clone(),
                    prefix,
                });
            }
        }
        if takes_all {
            break;
        }
    }
    Some(sources)
}

impl Source {
    /// The path at which an object of this source is cached, if it is below the folder that the origin
    /// serves.
    pub fn path_of(&self, key: &str) -> Option<String> {
        let path = format!("/{key}");
        let path = ViewerPath::of_whole_bucket(&path).below(&self.origin_path)?;
        Some(path.invalidation_paths(false).first.as_str().to_owned())
    }
}
