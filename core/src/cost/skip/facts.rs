//! What a decision to skip rests on, as AWS tells it.
//!
//! Everything is borrowed from the answers of the calls. What could not be read, or not in time, is `None`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::distributions::{Behavior, Distribution};
use crate::event::{EventTime, VersionId};

/// Whether a bucket keeps the versions of its objects (`GetBucketVersioning`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It never did. The call's answer has no status.
    Never,
    /// It does.
    Enabled,
    /// It did.
    Suspended,
}

/// What is to be known of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketFacts {
    /// Whether it has the tag `invalidate=changed`.
    pub only_changed: bool,
    /// Whether it keeps versions.
    pub versioning: Option<Versioning>,
    /// Whether ACLs are disabled: `GetBucketOwnershipControls` answers `BucketOwnerEnforced`. Otherwise an
    /// upload of the same bytes can make an object private.
    pub owner_enforced: Option<bool>,
}

/// How a distribution serves the keys of a bucket: by one behavior from one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Whether the origin is a website endpoint: it has error documents, which may be cached for long.
    pub is_website: bool,
    /// Whether the behavior's target is an origin group: the other origin may have answered with something
    /// else.
    pub in_group: bool,
    /// Whether a function may have answered with another object, while this one was missing.
    pub may_rewrite: bool,
    /// For how long the error of a missing object is cached (403 and 404).
    pub missing_object_ttl: Duration,
    /// For how long an error of the origin itself is cached (the longest of all 5xx).
    pub server_error_ttl: Duration,
}

impl Serving {
    /// How a behavior serves what its origin has. `harmless` are the ARNs of functions that are known not to
    /// rewrite paths.
    pub fn new(
        distribution: &Distribution,
        behavior: &Behavior,
        is_website: bool,
        harmless: &BTreeSet<String>,
    ) -> Self {
        let errors = &distribution.error_caching;
        Self {
            is_website,
            in_group: behavior.is_group(),
            may_rewrite: behavior
                .rewriting_functions()
                .any(|it| !harmless.contains(it)),
            missing_object_ttl: errors.missing_object_ttl(),
            server_error_ttl: errors.server_error_ttl(),
        }
    }
}

/// A version of a key, or a delete marker, as `ListObjectVersions` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its id, or `null`.
    pub id: &'a str,
    /// Whether it is what S3 answers with.
    pub is_latest: bool,
    /// In whole seconds; that of a multipart upload is when the upload began.
    pub last_modified: EventTime,
    /// None for a delete marker.
    pub object: Option<ListedObject<'a>>,
}

/// The content of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedObject<'a> {
    /// With or without its quotation marks, but all of a key alike.
    pub etag: &'a str,
    /// In bytes.
    pub size: i64,
    /// `STANDARD`, .. If the list does not say it, that is `STANDARD`.
    pub storage_class: &'a str,
}

impl Listed<'_> {
    /// Whether its id identifies it. `null` does not: what is written without versioning takes its place.
    pub fn is_identified(&self) -> bool {
        VersionId::new(self.id).is_some()
    }
}

/// The versions and delete markers of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<'a> {
    /// The newest first.
    pub entries: Vec<Listed<'a>>,
    /// Whether there are no more.
    pub is_complete: bool,
}

/// S3's clocks may differ by so much, in milliseconds, and its times are cut to whole seconds.
const CLOCK_SKEW: i64 = 2_000;

impl<'a> Listing<'a> {
    /// Puts the delete markers between the versions. S3's answer has them in one order, but the SDK hands
    /// out two lists, each with the newest first.
    ///
    /// Where times leave the order open, a marker counts as the newer one: then a version below it is not
    /// taken for unchanged.
    pub fn new(versions: &[Listed<'a>], markers: &[Listed<'a>], is_complete: bool) -> Self {
        let mut entries = Vec::with_capacity(versions.len() + markers.len());
        let mut markers = markers.iter().copied().peekable();
        for version in versions {
            while let Some(marker) = markers.next_if(|marker| is_above(marker, version)) {
                entries.push(marker);
            }
            entries.push(*version);
        }
        entries.extend(markers);
        Self {
            entries,
            is_complete,
        }
    }
}

fn is_above(marker: &Listed<'_>, version: &Listed<'_>) -> bool {
    marker.is_latest
        || (!version.is_latest
            && marker.last_modified.0.saturating_add(CLOCK_SKEW) >= version.last_modified.0)
}

/// What S3 tells of one version: `HeadObject` and `GetObjectTagging` with its version id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// As in the listing.
    pub etag: &'a str,
    /// The headers that CloudFront passes on.
    pub headers: Headers<'a>,
    /// `x-amz-meta-..`, by their names without that prefix, in any order.
    pub metadata: Vec<(&'a str, &'a str)>,
    /// Whether S3 left out metadata that fits into no header (`x-amz-missing-meta`).
    pub lost_metadata: bool,
    /// `x-amz-server-side-encryption`.
    pub encryption: Option<&'a str>,
    /// Whether it is encrypted with a key of the customer (`x-amz-server-side-encryption-customer-algorithm`).
    pub has_customer_key: bool,
    /// Whether it was replicated from another bucket (`x-amz-replication-status: REPLICA`): then it has the
    /// time of its original.
    pub is_replica: bool,
    /// Its tags, in any order.
    pub tags: Option<Vec<(&'a str, &'a str)>>,
}

/// The headers of an object that CloudFront passes on, apart from its metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of HTTP.
pub struct Headers<'a> {
    pub content_type: Option<&'a str>,
    pub cache_control: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
    pub content_disposition: Option<&'a str>,
    pub content_language: Option<&'a str>,
    pub expires: Option<&'a str>,
    pub website_redirect_location: Option<&'a str>,
}

impl<'a> Headers<'a> {
    /// All of them with their names.
    fn named(&self) -> [(&'static str, Option<&'a str>); 7] {
        [
            ("Content-Type", self.content_type),
            ("Cache-Control", self.cache_control),
            ("Content-Encoding", self.content_encoding),
            ("Content-Disposition", self.content_disposition),
            ("Content-Language", self.content_language),
            ("Expires", self.expires),
            (
                "x-amz-website-redirect-location",
                self.website_redirect_location,
            ),
        ]
    }

    /// The first header that differs.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        let pairs = self.named().into_iter().zip(other.named());
        let mut different = pairs.filter(|((_, a), (_, b))| a != b);
        different.next().map(|((name, _), _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributions::Details;
    use crate::distributions::listing::{DistributionSummary, managed_policies};
    use serde_json::json;

    fn entry(id: &str, second: i64, is_latest: bool) -> Listed<'_> {
        Listed {
            id,
            is_latest,
            last_modified: EventTime(second * 1_000),
            object: None,
        }
    }

    #[test]
    fn a_delete_marker_counts_as_newer_than_a_version_unless_it_is_surely_older() {
        for (versions, markers, expected) in [
            // It is older by more than clocks differ.
            (vec![("v", 100, true)], vec![("m", 97, false)], "v m"),
            (vec![("v", 100, false)], vec![("m", 98, true)], "m v"),
            (vec![("v", 100, false)], vec![("m", 98, false)], "m v"),
            // What S3 says of the current version is sure, whatever its time is.
            (vec![("v", 100, true)], vec![("m", 100, false)], "v m"),
            (
                vec![("v3", 30, true), ("v2", 20, false), ("v1", 10, false)],
                vec![("m2", 25, false), ("m1", 12, false)],
                "v3 m2 v2 m1 v1",
            ),
            // A multipart upload has the time of its begin.
            (
                vec![("v2", 50, true), ("parts", 10, false), ("v1", 5, false)],
                vec![("m", 20, false)],
                "v2 m parts v1",
            ),
            (vec![], vec![("m2", 2, true), ("m1", 1, false)], "m2 m1"),
        ] {
            let entries = |of: &[(&'static str, i64, bool)]| -> Vec<Listed<'static>> {
                let entries = of
                    .iter()
                    .map(|(id, second, latest)| entry(id, *second, *latest));
                entries.collect()
            };
            let listing = Listing::new(&entries(&versions), &entries(&markers), true);
            let order: Vec<&str> = listing.entries.iter().map(|entry| entry.id).collect();
            assert_eq!(order.join(" "), expected);
        }
    }

    #[test]
    fn how_a_behavior_serves_is_read_from_the_configuration() {
        let summary: DistributionSummary = serde_json::from_value(json!({
            "Id": "E1",
            "Enabled": true,
            "Origins": { "Items": [
                { "Id": "a", "DomainName": "site.s3.amazonaws.com" },
                { "Id": "b", "DomainName": "spare.s3.amazonaws.com" },
            ] },
            "OriginGroups": { "Items": [
                { "Id": "both", "Members": { "Items": [{ "OriginId": "a" }, { "OriginId": "b" }] } },
                { "Id": "one", "Members": { "Items": [{ "OriginId": "a" }] } },
            ] },
            "DefaultCacheBehavior": { "TargetOriginId": "a" },
            "CacheBehaviors": { "Items": [
                { "PathPattern": "/both/*", "TargetOriginId": "both" },
                { "PathPattern": "/one/*", "TargetOriginId": "one" },
                { "PathPattern": "/own/*", "TargetOriginId": "a", "FunctionAssociations": { "Quantity": 1, "Items": [
                    { "FunctionARN": "arn:own", "EventType": "viewer-request" },
                ] } },
                { "PathPattern": "/edge/*", "TargetOriginId": "a", "LambdaFunctionAssociations": { "Quantity": 1, "Items": [
                    { "LambdaFunctionARN": "arn:edge", "EventType": "origin-response", "IncludeBody": false },
                ] } },
                { "PathPattern": "/header/*", "TargetOriginId": "a", "FunctionAssociations": { "Items": [
                    { "FunctionARN": "arn:header", "EventType": "viewer-response" },
                ] }, "LambdaFunctionAssociations": { "Quantity": 0 } },
            ] },
            "CustomErrorResponses": { "Items": [
                { "ErrorCode": 404, "ErrorCachingMinTTL": 60 },
                { "ErrorCode": 503, "ErrorCachingMinTTL": 7 },
            ] },
        }))
        .unwrap();
        let distribution = Distribution::new(&summary, Details::default(), &managed_policies());
        let harmless = BTreeSet::from(["arn:edge".to_owned()]);
        let of = |place, harmless: &BTreeSet<String>| {
            let behavior = distribution.behaviors().nth(place).unwrap();
            Serving::new(&distribution, behavior, false, harmless)
        };
        for (place, in_group, may_rewrite) in [
            (0, true, false),
            (1, true, false),
            (2, false, true),
            (3, false, false),
            (4, false, false),
            (5, false, false),
        ] {
            let expected = Serving {
                is_website: false,
                in_group,
                may_rewrite,
                missing_object_ttl: Duration::from_secs(60),
                server_error_ttl: Duration::from_secs(10),
            };
            assert_eq!(of(place, &harmless), expected, "{place}");
        }
        assert!(of(3, &BTreeSet::new()).may_rewrite);
    }
}
