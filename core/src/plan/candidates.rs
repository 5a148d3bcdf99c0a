//! From a path to the objects that may be served there: the other way round than planning.

use super::rules::Rules;
use crate::distributions::Distribution;
use crate::event::{BucketName, ObjectKey};

/// The objects that may be served at a decoded path, whichever behavior takes it: the default root object for
/// `/`, the object of that name below the path of each origin, and for a folder its index document. The plan
/// for such an object says whether it is served there.
pub fn candidates(
    distribution: &Distribution,
    path: &str,
    rules: &Rules<'_>,
) -> Vec<(BucketName, ObjectKey<'static>)> {
    let root = distribution.default_root_object.as_deref();
    let asked = root.filter(|_| path == "/").unwrap_or(path);
    let mut found = Vec::new();
    for origin in distribution.origins() {
        let Some(bucket) = origin.domain.bucket(rules.origin_buckets) else {
            continue;
        };
        let endpoint = origin.domain.endpoint_of(&bucket, rules.origin_buckets);
        let is_website = endpoint.is_some_and(|endpoint| endpoint.is_website());
        let bucket = BucketName::new(bucket);
        let document = rules.index_document(&bucket, is_website);
        let document = document.filter(|_| asked.ends_with('/'));
        let whole = format!("{}{asked}", origin.path.as_str());
        let own = whole.strip_prefix('/').unwrap_or(&whole);
        let document = document.map(|document| format!("{own}{document}"));
        let keys = [document, Some(own.to_owned())];
        for key in keys.into_iter().flatten() {
            let Ok(key) = ObjectKey::new(key) else {
                continue;
            };
            let candidate = (bucket.clone(), key);
            if !found.contains(&candidate) {
                found.push(candidate);
            }
        }
    }
    found
}
