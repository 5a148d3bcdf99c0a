//! What bars a wildcard: a folder may hold responses that are not from S3. Such an origin may be slow,
//! and it is not ours to say what asking it again costs.
//!
//! What does not bar it: behaviors that cache nothing, other buckets, website endpoints, and exception
//! paths. Their keys are fetched again from S3, at a known price.

use percent_encoding::percent_decode_str;

use crate::distributions::origin::OriginBuckets;
use crate::distributions::{Behavior, Distribution};
use crate::path::{NormalizedPath, ViewerPath};

/// The behavior that bars a wildcard over `folder`, an encoded path with its trailing slash: one that
/// caches, may match a path below the folder, and may send it to an origin other than S3. A behavior has no
/// say behind one that takes all paths below the folder.
pub fn barring<'d>(
    distribution: &'d Distribution,
    aliases: &OriginBuckets,
    folder: &str,
) -> Option<&'d Behavior> {
    let decoded = percent_decode_str(folder).decode_utf8_lossy();
    let folder = ViewerPath::of_whole_bucket(&decoded).normalized();
    for behavior in distribution.behaviors() {
        let (takes_all, touches) = takes_and_touches(behavior, &folder);
        let is_cached = touches && behavior.caching.caches();
        if is_cached && !is_all_of_s3(distribution, behavior, aliases) {
            return Some(behavior);
        }
        if takes_all {
            return None;
        }
    }
    None
}

/// Whether a behavior takes all paths below a folder, if no other one took them before, and whether it may
/// take any.
pub(super) fn takes_and_touches(behavior: &Behavior, folder: &NormalizedPath<'_>) -> (bool, bool) {
    let pattern = behavior.pattern.as_ref();
    let takes_all = pattern.is_none_or(|pattern| pattern.matches_all_below(folder));
    let touches = pattern.is_none_or(|pattern| pattern.may_match_below(folder));
    (takes_all, touches)
}

/// Whether all responses of a behavior come from S3. An origin that is not known does not.
fn is_all_of_s3(distribution: &Distribution, behavior: &Behavior, aliases: &OriginBuckets) -> bool {
    let mut origins = distribution.origins_behind(behavior).peekable();
    origins.peek().is_some() && origins.all(|origin| origin.domain.is_s3(aliases))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributions::Details;
    use crate::distributions::listing::{DistributionSummary, managed_policies};
    use serde_json::{Value, json};

    const OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";
    const DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";

    /// A distribution whose default behavior is a bucket, and which sends `/api/*` to a load balancer.
    fn distribution(api: &str, policy: &str) -> Distribution {
        let behavior = |pattern: &str, origin: &str, policy: &str| json!({"PathPattern": pattern, "TargetOriginId": origin, "CachePolicyId": policy});
        let summary = json!({
            "Id": "E1",
            "Enabled": true,
            "Origins": {"Items": [
                {"Id": "site", "DomainName": "site.s3.eu-west-1.amazonaws.com", "OriginPath": ""},
                {"Id": "web", "DomainName": "old.s3-website-eu-west-1.amazonaws.com", "OriginPath": ""},
                {"Id": "alb", "DomainName": "lb.example.org", "OriginPath": ""},
            ]},
            "OriginGroups": {"Items": [
                {"Id": "both", "Members": {"Items": [{"OriginId": "site"}, {"OriginId": "alb"}]}},
            ]},
            "DefaultCacheBehavior": {"TargetOriginId": "site", "CachePolicyId": OPTIMIZED},
            "CacheBehaviors": {"Items": [
                behavior("/old/*", "web", OPTIMIZED),
                behavior("/api/v?/*", api, policy),
            ]},
        });
        let summary: DistributionSummary = serde_json::from_value(summary).unwrap();
        Distribution::new(&summary, Details::default(), &managed_policies())
    }

    #[test]
    fn a_cached_origin_other_than_s3_bars_the_folders_that_may_hold_its_responses() {
        for (api, policy, folder, expected) in [
            ("alb", OPTIMIZED, "/", true),
            ("alb", OPTIMIZED, "/api/", true),
            ("alb", OPTIMIZED, "/api/v1/", true),
            ("alb", OPTIMIZED, "/api/v12/", false),
            ("alb", OPTIMIZED, "/img/", false),
            ("alb", OPTIMIZED, "/ap%69/v1/", true),
            ("alb", DISABLED, "/", false),
            ("site", OPTIMIZED, "/", false),
            ("both", OPTIMIZED, "/", true),
            ("web", OPTIMIZED, "/", false),
            ("gone", OPTIMIZED, "/", true),
        ] {
            let distribution = distribution(api, policy);
            let found = barring(&distribution, &OriginBuckets::default(), folder);
            assert_eq!(found.is_some(), expected, "{api} {folder}");
        }
    }

    /// A distribution with these behaviors (pattern, origin, cache policy), the default one last.
    fn with_behaviors(behaviors: &[(&str, &str, &str)]) -> Distribution {
        let behavior = |(pattern, origin, policy): &(&str, &str, &str)| {
            let pattern = Some(pattern).filter(|pattern| !pattern.is_empty());
            json!({"PathPattern": pattern, "TargetOriginId": origin, "CachePolicyId": policy})
        };
        let mut behaviors: Vec<Value> = behaviors.iter().map(behavior).collect();
        let default = behaviors.pop();
        let summary = json!({
            "Id": "E1",
            "Enabled": true,
            "Origins": {"Items": [
                {"Id": "s3", "DomainName": "site.s3.eu-west-1.amazonaws.com", "OriginPath": ""},
                {"Id": "alb", "DomainName": "lb.example.org", "OriginPath": ""},
            ]},
            "DefaultCacheBehavior": default,
            "CacheBehaviors": {"Items": behaviors},
        });
        let summary: DistributionSummary = serde_json::from_value(summary).unwrap();
        Distribution::new(&summary, Details::default(), &managed_policies())
    }

    #[test]
    fn the_first_behavior_that_matches_decides() {
        let s3 = |pattern| (pattern, "s3", OPTIMIZED);
        let alb = |pattern| (pattern, "alb", OPTIMIZED);
        let live = |pattern| (pattern, "alb", DISABLED);
        for (behaviors, barred, free) in [
            (&[s3("")][..], &[][..], &["/", "/a/"][..]),
            (&[alb("")], &["/", "/a/"], &[]),
            (&[live("")], &[], &["/", "/a/"]),
            // Only `/img/` is the bucket's.
            (
                &[s3("img/*"), alb("")],
                &["/", "/im/", "/a/"],
                &["/img/", "/img/a%20b/"],
            ),
            (
                &[alb("/img/new/*"), s3("/img/*"), alb("")],
                &["/", "/img/", "/img/new/", "/img/new/a/"],
                &["/img/old/", "/img/news/"],
            ),
            (
                &[s3("/img/*"), alb("*.php"), s3("")],
                &["/", "/a/"],
                &["/img/"],
            ),
            (&[s3("*.jpg"), alb("")], &["/", "/img/"], &[]),
            (&[s3("*"), alb("")], &[], &["/", "/a/"]),
            (
                &[live("/api/*"), alb("/*"), s3("")],
                &["/", "/a/"],
                &["/api/"],
            ),
            (
                &[alb("/a?/*"), s3("")],
                &["/", "/ab/", "/a%20/", "/a%C3%A9/"],
                &["/b/", "/abc/"],
            ),
            (&[alb("/a%20b/*"), s3("")], &["/a%20b/"], &["/a%2520/"]),
            // CloudFront compares `/x/../api/` as `/api/`.
            (
                &[alb("/api/*"), s3("")],
                &["/x/../api/", "//api/", "//", "/x/../"],
                &["/x//"],
            ),
        ] {
            let distribution = with_behaviors(behaviors);
            let aliases = OriginBuckets::default();
            let is_barred = |folder: &str| barring(&distribution, &aliases, folder).is_some();
            for folder in barred {
                assert!(is_barred(folder), "{folder} {behaviors:?}");
            }
            for folder in free {
                assert!(!is_barred(folder), "{folder} {behaviors:?}");
            }
        }
    }
}
