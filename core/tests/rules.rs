//! The rules of planning, one row each, with the source in AWS's documentation. DG is the CloudFront
//! Developer Guide.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::time::Duration;

use invalidator_core::distributions::listing::{
    CachePolicyConfig, DistributionSummary, managed_policies,
};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::tenants::{Parameters, Tenant};
use invalidator_core::distributions::{Details, Distribution};
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator_core::plan::{
    Changes, Decision, Fate, KeyChanges, MessageIndex, Rules, SetLimits, Verdict, plan,
};
use invalidator_core::target::{CachePolicyId, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};

use ChangeKind::{Created, Deleted};

const CACHING_OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";
const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";

/// One distribution, with everything that a row can change about it.
struct Site {
    summary: Value,
    root_object: Option<&'static str>,
    tenants: Vec<Tenant>,
    index_document: Option<&'static str>,
    min_wildcard_depth: usize,
}

/// The bucket `site` behind one origin, everything cached.
fn site() -> Site {
    Site {
        summary: json!({
            "Id": "E1",
            "Enabled": true,
            "Origins": { "Items": [origin("s3", "site.s3.eu-west-1.amazonaws.com", "")] },
            "DefaultCacheBehavior": behavior("s3"),
        }),
        root_object: None,
        tenants: Vec::new(),
        index_document: None,
        min_wildcard_depth: 0,
    }
}

impl Site {
    fn with(mut self, field: &str, value: Value) -> Self {
        self.summary[field] = value;
        self
    }

    fn behaviors(self, behaviors: &[Value]) -> Self {
        self.with("CacheBehaviors", json!({ "Items": behaviors }))
    }

    fn origins(self, origins: &[Value]) -> Self {
        self.with("Origins", json!({ "Items": origins }))
    }

    /// The paths for this change and, for each origin that is its bucket, the reason.
    fn decides(&self, kind: ChangeKind, key: &str) -> (Vec<String>, Vec<String>) {
        self.decides_all(&[(kind, key)])
    }

    fn decides_all(&self, changes: &[(ChangeKind, &str)]) -> (Vec<String>, Vec<String>) {
        let summary = DistributionSummary::deserialize(&self.summary).unwrap();
        let details = Details {
            default_root_object: self.root_object.map(str::to_owned),
            tenants: self.tenants.clone(),
        };
        let mut policies = managed_policies();
        policies.extend([
            policy("queries", json!({ "MinTTL": 0, "MaxTTL": 60, "ParametersInCacheKeyAndForwardedToOrigin": { "QueryStringsConfig": { "QueryStringBehavior": "all" } } })),
            policy("some-queries", json!({ "MaxTTL": 60, "ParametersInCacheKeyAndForwardedToOrigin": { "QueryStringsConfig": { "QueryStringBehavior": "whitelist" } } })),
            policy("no-queries", json!({ "MaxTTL": 60, "ParametersInCacheKeyAndForwardedToOrigin": { "QueryStringsConfig": { "QueryStringBehavior": "none" } } })),
            policy("zero", json!({ "MinTTL": 0, "MaxTTL": 0 })),
            policy("default-zero", json!({ "MinTTL": 0, "DefaultTTL": 0, "MaxTTL": 60 })),
            policy("minimum", json!({ "MinTTL": 5 })),
        ]);
        let distributions = Distribution::all(&summary, details, &policies);
        let bucket = BucketName::new("site");
        let index_documents = self
            .index_document
            .map(|name| (bucket.clone(), name.to_owned()));
        let rules = Rules {
            distributions: &distributions,
            origin_buckets: &OriginBuckets::default(),
            index_documents: &HashMap::from_iter(index_documents),
            debounce: Duration::from_secs(10),
            limits: SetLimits::with_paths(3_000),
            min_wildcard_depth: self.min_wildcard_depth,
        };
        let mut gathered = Changes::default();
        for (kind, key) in changes {
            let change = Change {
                bucket: bucket.clone(),
                key: ObjectKey::new(*key).unwrap(),
                kind: *kind,
                event_time: None,
                version_id: None,
            };
            gathered.add(&change, MessageIndex::new(0)).unwrap();
        }
        let keys = KeyChanges::from(gathered);
        let plan = plan(&keys, &rules);
        let verdicts = plan.keys.indices().flat_map(|key| plan.explain(key));
        let reason = |verdict| match verdict {
            Verdict::Decided(_, decision @ Decision::Invalidate(_)) => Some(decision.to_string()),
            Verdict::Decided(_, Decision::Skip(skip)) => Some(format!("skipped: {skip}")),
            Verdict::Unmatched(_) => None,
        };
        let sets = plan.targets().flat_map(|target| target.sets(|_| true));
        let sets = sets.filter(|set| set.fate == Fate::Submit);
        let paths = sets.flat_map(|set| set.paths).map(String::from);
        (paths.collect(), verdicts.filter_map(reason).collect())
    }

    fn paths(&self, kind: ChangeKind, key: &str) -> Vec<String> {
        self.decides(kind, key).0
    }
}

fn policy(id: &str, mut config: Value) -> (CachePolicyId, CachePolicyConfig) {
    config["Name"] = json!(id);
    let config = CachePolicyConfig::deserialize(config).unwrap();
    (CachePolicyId::new(id), config)
}

fn origin(id: &str, domain: &str, path: &str) -> Value {
    json!({ "Id": id, "DomainName": domain, "OriginPath": path })
}

fn behavior(target: &str) -> Value {
    json!({ "TargetOriginId": target, "CachePolicyId": CACHING_OPTIMIZED })
}

fn takes(pattern: &str, target: &str) -> Value {
    json!({ "PathPattern": pattern, "TargetOriginId": target, "CachePolicyId": CACHING_OPTIMIZED })
}

#[test]
fn what_is_never_cached_is_invalidated_for_a_deletion_only() {
    for (settings, cached, reason) in [
        // DG, "Use managed cache policies".
        (
            json!({ "CachePolicyId": CACHING_OPTIMIZED }),
            true,
            "MaxTTL 31536000 by cache policy Managed-CachingOptimized",
        ),
        (
            json!({ "CachePolicyId": CACHING_DISABLED }),
            false,
            "MaxTTL 0 by cache policy Managed-CachingDisabled",
        ),
        // DG, "Manage how long content stays in the cache": with DefaultTTL 0 the object's own
        // `Cache-Control` counts, up to the MaxTTL.
        (
            json!({ "CachePolicyId": "default-zero" }),
            true,
            "MaxTTL 60 by cache policy default-zero",
        ),
        (
            json!({ "CachePolicyId": "zero" }),
            false,
            "MaxTTL 0 by cache policy zero",
        ),
        // API reference, CachePolicyConfig: the default of MaxTTL is 31,536,000.
        (
            json!({ "CachePolicyId": "minimum" }),
            true,
            "MaxTTL 31536000 by cache policy minimum",
        ),
        // The same for legacy settings.
        (json!({}), true, "MaxTTL 31536000 by its own settings"),
        (
            json!({ "CachePolicyId": "" }),
            true,
            "MaxTTL 31536000 by its own settings",
        ),
        (
            json!({ "MinTTL": 0, "MaxTTL": 0 }),
            false,
            "MaxTTL 0 by its own settings",
        ),
        (
            json!({ "MinTTL": 0, "DefaultTTL": 0, "MaxTTL": 60 }),
            true,
            "MaxTTL 60 by its own settings",
        ),
        (
            json!({ "MinTTL": 60, "MaxTTL": 0 }),
            true,
            "MaxTTL 60 by its own settings",
        ),
        // DG, "Cache content based on request headers": forwarding all of them caches nothing.
        (
            json!({ "MaxTTL": 60, "ForwardedValues": { "QueryString": false, "Headers": { "Items": ["*"] } } }),
            false,
            "all headers forwarded, so nothing is cached",
        ),
        (
            json!({ "MaxTTL": 60, "ForwardedValues": { "QueryString": false, "Headers": { "Items": ["Host"] } } }),
            true,
            "MaxTTL 60 by its own settings",
        ),
        // A cache policy overrides all legacy settings.
        (
            json!({ "CachePolicyId": CACHING_OPTIMIZED, "MaxTTL": 0, "ForwardedValues": { "Headers": { "Items": ["*"] } } }),
            true,
            "MaxTTL 31536000 by cache policy Managed-CachingOptimized",
        ),
        // A policy that cannot be read is assumed to cache.
        (
            json!({ "CachePolicyId": "gone" }),
            true,
            "cache policy gone is unknown and assumed to cache, a wildcard over all that begins with `/a` because query strings are in the cache key",
        ),
    ] {
        let mut default = settings.clone();
        default["TargetOriginId"] = json!("s3");
        let site = site().with("DefaultCacheBehavior", default);
        let (paths, reasons) = site.decides(Created, "a");
        let skipped = if cached { "" } else { "skipped: " };
        assert_eq!(paths.is_empty(), !cached, "{settings}");
        assert_eq!(
            reasons,
            [format!("{skipped}the default behavior: {reason}")]
        );
        // DG, "How CloudFront caches HTTP 4xx and 5xx status codes": an error page is cached, whatever the
        // TTL of the object.
        let unknown = settings["CachePolicyId"] == "gone";
        let path = if unknown { "/a*" } else { "/a" };
        assert_eq!(site.paths(Deleted, "a"), [path], "{settings}");
    }
}

#[test]
fn a_key_that_was_deleted_anywhere_in_the_batch_counts_as_deleted() {
    let site = site().with(
        "DefaultCacheBehavior",
        json!({ "TargetOriginId": "s3", "CachePolicyId": CACHING_DISABLED }),
    );
    for (changes, expected) in [
        (vec![(Created, "a")], vec![]),
        (vec![(Deleted, "a"), (Created, "a")], vec!["/a"]),
        (
            vec![(Created, "a"), (Deleted, "a"), (Created, "a")],
            vec!["/a"],
        ),
        (vec![(Deleted, "b"), (Created, "a")], vec!["/b"]),
    ] {
        assert_eq!(site.decides_all(&changes).0, expected, "{changes:?}");
    }
}

/// DG, "Cache behavior settings": the path is compared with the patterns in the order of the list,
/// the first match decides, and the default behavior is last.
#[test]
fn the_first_behavior_that_matches_decides() {
    let elsewhere = |pattern| takes(pattern, "server");
    let here = |pattern| takes(pattern, "s3");
    let server = origin("server", "example.com", "");
    for (behaviors, key, reason) in [
        (vec![], "a.jpg", "the default behavior"),
        (
            vec![elsewhere("*.jpg")],
            "a.jpg",
            "skipped: behavior `*.jpg` sends it to `server`",
        ),
        (vec![elsewhere("*.jpg")], "a.png", "the default behavior"),
        (
            vec![here("/a*"), elsewhere("*.jpg")],
            "a.jpg",
            "behavior `/a*`",
        ),
        (
            vec![elsewhere("*.jpg"), here("/a*")],
            "a.jpg",
            "skipped: behavior `*.jpg` sends it to `server`",
        ),
        (
            vec![here("a.jpg"), elsewhere("*")],
            "a.jpg",
            "behavior `a.jpg`",
        ),
        (vec![elsewhere("A.jpg"), here("*")], "a.jpg", "behavior `*`"),
        // RFC 3986, 5.2.4: the path is normalized before it is compared.
        (
            vec![elsewhere("/x/*")],
            "a/../x/b",
            "skipped: behavior `/x/*` sends it to `server`",
        ),
        (
            vec![elsewhere("/x/b")],
            "x//b",
            "skipped: behavior `/x/b` sends it to `server`",
        ),
        // Both the decoded and the encoded path are compared.
        (
            vec![elsewhere("/a b")],
            "a b",
            "skipped: behavior `/a b` sends it to `server`",
        ),
        (
            vec![elsewhere("/a%20b")],
            "a b",
            "skipped: behavior `/a%20b` sends it to `server`",
        ),
    ] {
        let bucket = origin("s3", "site.s3.amazonaws.com", "");
        let site = site()
            .origins(&[bucket, server.clone()])
            .behaviors(&behaviors);
        let (_, reasons) = site.decides(Created, key);
        assert!(
            reasons.len() == 1 && reasons[0].starts_with(reason),
            "{key}: {reasons:?}"
        );
    }
}

#[test]
fn each_origin_that_is_the_bucket_decides_for_itself() {
    let whole = origin("whole", "site.s3.amazonaws.com", "");
    let web = origin("web", "site.s3.eu-west-1.amazonaws.com", "/web");
    let docs = origin("docs", "SITE.s3.eu-west-1.amazonaws.com", "/web/docs/");
    let other = origin("other", "other-site.s3.amazonaws.com", "");
    // DG, "High availability with origin failover": either member answers.
    let group = json!({ "Items": [{ "Id": "group", "Members": { "Items": [{ "OriginId": "other" }, { "OriginId": "web" }] } }] });
    let all = [whole, web, docs, other];
    for (behaviors, default, key, expected) in [
        // DG, "Origin path": the folder is put before the viewer's path.
        (vec![], "web", "web/a", vec!["/a"]),
        (vec![], "web", "a", vec![]),
        (vec![], "web", "website/a", vec![]),
        (vec![], "docs", "web/docs/a", vec!["/a"]),
        (vec![], "whole", "web/a", vec!["/web/a"]),
        (vec![], "other", "web/a", vec![]),
        (
            vec![takes("/docs/*", "docs")],
            "web",
            "web/docs/docs/a",
            vec!["/docs/a"],
        ),
        (vec![takes("/docs/*", "docs")], "web", "web/docs/a", vec![]),
        (
            vec![takes("/web/*", "whole")],
            "web",
            "web/a",
            vec!["/a", "/web/a"],
        ),
        (vec![], "group", "web/a", vec!["/a"]),
        (vec![takes("/a", "group")], "other", "web/a", vec!["/a"]),
    ] {
        let site = site()
            .origins(&all)
            .with("OriginGroups", group.clone())
            .with("DefaultCacheBehavior", behavior(default))
            .behaviors(&behaviors);
        assert_eq!(site.paths(Created, key), expected, "{key} by {default}");
    }
}

/// DG, "Invalidate files": a query string in the cache key is part of the cached path.
#[test]
fn with_query_strings_in_the_cache_key_the_path_is_a_wildcard() {
    let legacy = |forwarded| json!({ "ForwardedValues": { "QueryString": forwarded } });
    for (settings, key, expected) in [
        (json!({ "CachePolicyId": "queries" }), "a", vec!["/a*"]),
        (json!({ "CachePolicyId": "some-queries" }), "a", vec!["/a*"]),
        (json!({ "CachePolicyId": "no-queries" }), "a", vec!["/a"]),
        (
            json!({ "CachePolicyId": CACHING_OPTIMIZED }),
            "a",
            vec!["/a"],
        ),
        (legacy(true), "a", vec!["/a*"]),
        (legacy(false), "a", vec!["/a"]),
        // A key below a folder does not invalidate the folder.
        (legacy(true), "d/", vec!["/d/", "/d/?*"]),
        // `?` and `*` in a key are not those of a query string and a wildcard.
        (legacy(true), "a?b", vec!["/a%3Fb*"]),
        (legacy(true), "a*", vec!["/a**"]),
        (legacy(true), "a~b", vec!["/a*"]),
    ] {
        let mut default = settings.clone();
        default["TargetOriginId"] = json!("s3");
        let site = site().with("DefaultCacheBehavior", default);
        assert_eq!(site.paths(Created, key), expected, "{key} with {settings}");
    }
}

#[test]
fn the_default_root_object_and_index_documents_are_cached_for_their_folder_too() {
    let website = [origin("s3", "site.s3-website-us-east-1.amazonaws.com", "")];
    let in_folder = [origin(
        "s3",
        "site.s3-website.eu-central-1.amazonaws.com",
        "/web",
    )];
    for (case, site, key, expected) in [
        // DG, "Specify a default root object": it answers `/`, and no other folder.
        (
            "root",
            Site {
                root_object: Some("index.html"),
                ..site()
            },
            "index.html",
            vec!["/", "/index.html"],
        ),
        ("no root", site(), "index.html", vec!["/index.html"]),
        (
            "folder",
            Site {
                root_object: Some("index.html"),
                ..site()
            },
            "d/index.html",
            vec!["/d/index.html"],
        ),
        (
            "deep root",
            Site {
                root_object: Some("d/home.html"),
                ..site()
            },
            "d/home.html",
            vec!["/", "/d/home.html"],
        ),
        // S3 User Guide, "Configuring an index document": each folder of a website has one.
        (
            "website",
            site().origins(&website),
            "d/index.html",
            vec!["/d/", "/d/index.html"],
        ),
        (
            "website",
            site().origins(&website),
            "index.html",
            vec!["/", "/index.html"],
        ),
        (
            "website",
            site().origins(&website),
            "d/myindex.html",
            vec!["/d/myindex.html"],
        ),
        (
            "website",
            site().origins(&in_folder),
            "web/index.html",
            vec!["/", "/index.html"],
        ),
        // The bucket's tag names the index document, for all kinds of origins.
        (
            "tag",
            Site {
                index_document: Some("home.html"),
                ..site()
            },
            "d/home.html",
            vec!["/d/", "/d/home.html"],
        ),
        (
            "tag and website",
            Site {
                index_document: Some("home.html"),
                ..site().origins(&website)
            },
            "d/index.html",
            vec!["/d/index.html"],
        ),
        // The folder's own behavior decides about the folder.
        (
            "folder elsewhere",
            site().origins(&website).behaviors(&[takes("*/", "server")]),
            "d/index.html",
            vec!["/d/index.html"],
        ),
        (
            "object elsewhere",
            site()
                .origins(&website)
                .behaviors(&[takes("*.html", "server")]),
            "d/index.html",
            vec!["/d/"],
        ),
    ] {
        assert_eq!(site.paths(Created, key), expected, "{case}: {key}");
    }
}

#[test]
fn only_what_is_in_service_is_invalidated() {
    let tenant_only = || site().with("ConnectionMode", json!("tenant-only"));
    let tenant = |id: &str, folder: &str| Tenant {
        id: TenantId::new(id),
        parameters: Parameters::new([("customer".to_owned(), folder.to_owned())]),
    };
    let tenants = vec![tenant("dt1", "acme"), tenant("dt2", "umbrella")];
    let own_folders = [origin("s3", "site.s3.amazonaws.com", "/{{customer}}")];
    for (case, site, expected, reasons) in [
        ("enabled", site(), vec!["/acme/a"], 1),
        ("disabled", site().with("Enabled", json!(false)), vec![], 1),
        // DG, "Use continuous deployment": a staging distribution has a cache of its own.
        (
            "staging",
            site().with("Staging", json!(true)),
            vec!["/acme/a"],
            1,
        ),
        // DG, "How multi-tenant distributions work": it serves nothing but through its tenants.
        ("no tenants", tenant_only(), vec![], 1),
        (
            "tenants",
            Site {
                tenants: tenants.clone(),
                ..tenant_only()
            },
            vec!["/acme/a", "/acme/a"],
            1,
        ),
        (
            "tenants with folders",
            Site {
                tenants,
                ..tenant_only().origins(&own_folders)
            },
            vec!["/a"],
            2,
        ),
        (
            "another bucket",
            site().origins(&[origin("s3", "sites.s3.amazonaws.com", "")]),
            vec![],
            0,
        ),
    ] {
        let (paths, told) = site.decides(Created, "acme/a");
        assert_eq!(paths, expected, "{case}");
        assert_eq!(told.len(), reasons, "{case}: {told:?}");
    }
}

/// S3 User Guide, "Naming Amazon S3 objects": 1,024 bytes; DG, "Invalidate files": 4,000 characters.
/// Even the longest key fits into a path, however it is encoded.
#[test]
fn the_longest_key_needs_no_wildcard() {
    let key = format!("{}a", "한".repeat(341));
    assert_eq!(key.len(), 1_024);
    let paths = site().paths(Created, &key);
    assert_eq!(paths, [format!("/{}a", "%ED%95%9C".repeat(341))]);
}

/// DG, "Generate custom error responses": an error, and the page that viewers get instead of it, is
/// cached under the path that was asked for.
#[test]
fn an_error_page_that_is_cached_for_long_makes_every_path_stale() {
    let responses = |ttl: Value| {
        json!({ "Items": [
            { "ErrorCode": 403, "ResponsePagePath": "/index.html", "ErrorCachingMinTTL": ttl },
            { "ErrorCode": 404, "ResponsePagePath": "/not%20here.html", "ErrorCachingMinTTL": ttl },
            { "ErrorCode": 500 },
        ] })
    };
    let with = |ttl: Value| site().with("CustomErrorResponses", responses(ttl));
    for (ttl, key, expected) in [
        (json!(1_800), "index.html", "/*"),
        (json!(1_800), "not here.html", "/*"),
        (json!(1_800), "app.js", "/app.js"),
        // The error is gone before the flush, or with it.
        (json!(10), "index.html", "/index.html"),
        (json!(0), "index.html", "/index.html"),
        // The default is 10 seconds.
        (Value::Null, "index.html", "/index.html"),
    ] {
        for kind in [Created, Deleted] {
            let paths = with(ttl.clone()).paths(kind, key);
            assert_eq!(paths, [expected], "{ttl} {key}");
        }
    }
    let (_, reasons) = with(json!(1_800)).decides(Created, "index.html");
    assert_eq!(
        reasons,
        [
            "/index.html: the default behavior: MaxTTL 31536000 by cache policy Managed-CachingOptimized; \
             /*: error page `/index.html` is cached for 1800 s under any path that has an error, \
             a wildcard over the whole distribution because any path may have an error"
        ]
    );

    // The page's own path is not cached, but it is cached under the others.
    let mut not_cached = takes("/index.html", "s3");
    not_cached["CachePolicyId"] = json!(CACHING_DISABLED);
    let app = with(json!(1_800)).behaviors(&[not_cached]);
    assert_eq!(app.paths(Created, "index.html"), ["/*"]);

    // The page is the default root object, or the index document of a folder.
    let page = |path: &str| json!({ "Items": [{ "ErrorCode": 404, "ResponsePagePath": path, "ErrorCachingMinTTL": 300 }] });
    let mut app = site().with("CustomErrorResponses", page("/"));
    app.root_object = Some("index.html");
    assert_eq!(app.paths(Created, "index.html"), ["/*"]);
    assert_eq!(app.paths(Created, "a/index.html"), ["/a/index.html"]);
    let mut app = site().with("CustomErrorResponses", page("/404/"));
    assert_eq!(app.paths(Created, "404/index.html"), ["/404/index.html"]);
    app.index_document = Some("index.html");
    assert_eq!(app.paths(Created, "404/index.html"), ["/*"]);

    // The page comes from another origin.
    let app = with(json!(1_800)).behaviors(&[takes("/index.html", "other")]);
    assert_eq!(app.paths(Created, "index.html"), [""; 0]);
}

#[test]
fn where_nothing_is_cached_an_error_may_hide_a_created_object() {
    let mut default = behavior("s3");
    default["CachePolicyId"] = json!(CACHING_DISABLED);
    let site = site().with("DefaultCacheBehavior", default);
    let hidden = json!({ "Items": [{ "ErrorCode": 404, "ErrorCachingMinTTL": 300 }] });
    let (paths, reasons) = site
        .with("CustomErrorResponses", hidden)
        .decides(Created, "a");
    assert_eq!(paths, [""; 0]);
    assert_eq!(
        reasons,
        [
            "skipped: the default behavior: MaxTTL 0 by cache policy Managed-CachingDisabled; \
             a cached 403 or 404 may hide it for 300 s"
        ]
    );
}

/// A key like `~alice/x` at the root emptied all caches without a word about it.
#[test]
fn a_wildcard_says_what_it_covers_and_the_setting_forbids_wide_ones() {
    let errors = json!({ "Items": [
        { "ErrorCode": 403, "ResponsePagePath": "/app.html", "ErrorCachingMinTTL": 1_800 },
    ] });
    let queries = json!({ "TargetOriginId": "s3", "CachePolicyId": "queries" });
    let with_errors = || site().with("CustomErrorResponses", errors.clone());
    let with_queries = || site().with("DefaultCacheBehavior", queries.clone());
    for (site, key, path, reach, depth) in [
        (site(), "~alice/x", "/*", "the whole distribution", 0),
        (site(), "*", "/*", "the whole distribution", 0),
        (site(), "a~b", "/a*", "all that begins with `/a`", 0),
        (
            site(),
            "news/~1",
            "/news/*",
            "all that begins with `/news/`",
            1,
        ),
        (
            site(),
            "a/b/c*",
            "/a/b/c*",
            "all that begins with `/a/b/c`",
            2,
        ),
        (with_errors(), "app.html", "/*", "the whole distribution", 0),
    ] {
        for min_wildcard_depth in 0..4 {
            let site = Site {
                min_wildcard_depth,
                summary: site.summary.clone(),
                ..self::site()
            };
            let (paths, reasons) = site.decides(Created, key);
            let is_allowed = depth >= min_wildcard_depth;
            assert_eq!(paths.iter().any(|it| it == path), is_allowed, "{key}");
            let told = format!("a wildcard over {reach} because ");
            assert!(reasons[0].contains(&told), "{reasons:?}");
            let rejected = format!("rejected because MinWildcardDepth is {min_wildcard_depth}");
            assert_eq!(reasons[0].contains(&rejected), !is_allowed, "{reasons:?}");
        }
    }
    // A wildcard for the query strings of one path is narrow, wherever it is.
    let site = Site {
        min_wildcard_depth: 3,
        ..with_queries()
    };
    assert_eq!(site.paths(Created, "a.html"), ["/a.html*"]);
}

/// What is rejected clears nothing, so it must not take the place of a path.
#[test]
fn a_path_under_a_wildcard_that_is_rejected_is_submitted() {
    let site = Site {
        min_wildcard_depth: 1,
        ..site()
    };
    let (paths, _) = site.decides_all(&[(Created, "a"), (Created, "a~"), (Created, "b/~")]);
    assert_eq!(paths, ["/a", "/b/*"]);
}
