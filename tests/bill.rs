//! What typical sites pay in a month: each case on a small scale, through the function's own code and real SDK
//! clients, against the emulator and the strict CloudFront. At full size `core/tests/bill.rs` plays them.
//!
//! The short ones are always run, all by `make bill`. After each flush a model of CloudFront's caches tells whether any viewer could still get a stale answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_s3::types::{
    BucketVersioningStatus, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    VersioningConfiguration,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use strict_cloudfront::{Behavior, CACHING_DISABLED, Distribution, Origin};
use support::account::Account;
use time::format_description::well_known::Rfc3339;
use time::{Month, OffsetDateTime};

/// For so long CloudFront caches that an object is missing, and so long a flush waits for more changes.
const ERROR_TTL: Duration = Duration::from_secs(10);
const DEBOUNCE: Duration = Duration::from_secs(11);
const DAYS: f64 = 28.0;

/// What is uploaded: keys and bodies.
type Objects = Vec<(String, String)>;

fn objects(keys: impl IntoIterator<Item = String>, body: &str) -> Objects {
    keys.into_iter().map(|key| (key, body.to_owned())).collect()
}

/// A site, and what the month is measured by.
struct Case {
    name: &'static str,
    /// The case has so many times more paths at full size.
    scale: u64,
    /// What it may bill at most on this scale, with what is paid for trust.
    most: u64,
    mode: &'static str,
    /// Whether the bucket keeps versions and has the tag `invalidate=changed`.
    only_changed: bool,
}

/// What viewers have in their caches: the ETag of what each path answered.
#[derive(Default)]
struct Caches {
    pages: BTreeMap<String, String>,
    /// Objects that were missing, and until when that is cached.
    missing: BTreeMap<String, OffsetDateTime>,
}

impl Caches {
    /// A viewer asks for a key that the bucket does not have.
    fn miss(&mut self, key: &str, now: OffsetDateTime) {
        self.missing.insert(format!("/{key}"), now + ERROR_TTL);
    }

    fn clear(&mut self, path: &str) {
        let is_cleared = |cached: &str| match path.strip_suffix('*') {
            Some(prefix) => cached.starts_with(prefix),
            None => cached == path,
        };
        self.pages.retain(|cached, _| !is_cleared(cached));
        self.missing.retain(|cached, _| !is_cleared(cached));
    }

    /// The paths whose cached answer is another than that of the bucket.
    fn stale(&self, bucket: &BTreeMap<String, String>, now: OffsetDateTime) -> BTreeSet<String> {
        let pages = self.pages.iter();
        let pages = pages.filter(|(path, etag)| bucket.get(*path) != Some(etag));
        let missing = self.missing.iter();
        let missing = missing.filter(|(path, until)| **until > now && bucket.contains_key(*path));
        let paths = pages.map(|(path, _)| path);
        paths
            .chain(missing.map(|(path, _)| path))
            .cloned()
            .collect()
    }
}

/// A month of a site.
struct Site {
    case: Case,
    account: Account,
    begin: OffsetDateTime,
    caches: Caches,
    /// How many paths CloudFront had accepted at the last look.
    accepted: usize,
    /// What a tool without these rules pays.
    exact: u64,
    deployments: u64,
}

impl Site {
    /// The site has been there for long, and a month begins. A bucket with the tag is connected: a page is
    /// uploaded twice, and after the second time CloudFront is trusted.
    async fn new(case: Case, distribution: Distribution, keys: &[String]) -> Self {
        let budget = (1_000 / case.scale).to_string();
        let settings = [
            ("COST_MODE", case.mode),
            ("MONTHLY_PATH_BUDGET", &budget),
            ("COMPARE_BUCKETS", "site"),
        ];
        let account = Account::new(&settings).await;
        account.cloudfront.add(distribution);
        if case.only_changed {
            opt_in(&account).await;
        }
        let mut site = Self {
            begin: account.app.clock.now_utc(),
            case,
            account,
            caches: Caches::default(),
            accepted: 0,
            exact: 0,
            deployments: 0,
        };
        site.upload(&objects(keys.iter().cloned(), "first")).await;
        // The queue's clock tells when something was sent, so trust begins before ours is put forward.
        if site.case.only_changed {
            site.connect("first", Duration::ZERO).await;
        }
        site.begin = first_of_next_month(site.now());
        site.wait_until(0.0);
        if site.case.only_changed {
            site.connect("second", DEBOUNCE).await;
            assert_eq!(site.account.cloudfront.paths("E1")[1..], ["/*"]);
        }
        site
    }

    async fn connect(&mut self, body: &str, debounce: Duration) {
        let page = objects(["connected.html".to_owned()], body);
        self.flush(&page, debounce).await;
    }

    fn now(&self) -> OffsetDateTime {
        self.account.app.clock.now_utc()
    }

    /// Puts the clock forward to a part of the month.
    fn wait_until(&self, part: f64) {
        let until = self.begin + Duration::from_secs_f64(part * DAYS * 86_400.0);
        let wait = Duration::try_from(until - self.now());
        self.account
            .put_forward(wait.expect("parts of a month are in order") + Duration::from_secs(1));
    }

    /// Uploads objects, and flushes after each part of so many.
    async fn deploy(&mut self, objects: &Objects, part: usize) {
        for part in objects.chunks(part) {
            self.flush(part, DEBOUNCE).await;
        }
        self.deployments += 1;
    }

    /// Viewers ask for everything, objects are uploaded, their events come, and a flush pays for them.
    async fn flush(&mut self, objects: &[(String, String)], debounce: Duration) {
        let before = self.bucket().await;
        let now = self.now();
        for (key, _) in objects {
            if !before.contains_key(&format!("/{key}")) {
                self.caches.miss(key, now);
            }
        }
        self.caches.pages.extend(before.clone());
        let records = self.upload(objects).await;
        let after = self.bucket().await;
        let changed = after
            .iter()
            .filter(|(path, etag)| before.get(*path) != Some(etag));
        let changed: BTreeSet<String> = changed.map(|(path, _)| path.clone()).collect();
        assert_eq!(
            self.caches.stale(&after, now),
            changed,
            "the model sees what changes"
        );

        for records in records.chunks(500) {
            let event = json!({ "Records": records });
            self.account.invoke(&event).await.unwrap();
        }
        self.account.put_forward(debounce);
        self.account.flush_and_submit().await;
        assert_eq!(self.account.buffered().await, 0, "nothing waits");
        let paths = self.account.cloudfront.paths("E1");
        for path in &paths[self.accepted..] {
            self.caches.clear(path);
        }
        self.accepted = paths.len();
        self.exact += objects.len() as u64;
        let stale = self.caches.stale(&after, self.now());
        assert_eq!(stale, BTreeSet::new(), "{}", self.case.name);
    }

    /// What the bucket has: paths and ETags, which are the MD5 of the bodies.
    async fn bucket(&self) -> BTreeMap<String, String> {
        let call = self.account.app.clients.s3().list_objects_v2();
        let mut pages = call.bucket("site").into_paginator().send();
        let mut bucket = BTreeMap::new();
        while let Some(page) = pages.next().await {
            for object in page.unwrap().contents() {
                let path = format!("/{}", object.key().unwrap());
                bucket.insert(path, object.e_tag().unwrap().to_owned());
            }
        }
        bucket
    }

    /// Uploads objects. Returns S3's records of them.
    async fn upload(&self, objects: &[(String, String)]) -> Vec<Value> {
        let mut records = Vec::new();
        for some in objects.chunks(16) {
            let uploads = some.iter().map(|(key, body)| self.put(key, body));
            records.extend(join_all(uploads).await);
        }
        records
    }

    async fn put(&self, key: &str, body: &str) -> Value {
        let call = self.account.app.clients.s3().put_object();
        let call = call.bucket("site").key(key).content_type("text/html");
        // Every object has a content of its own.
        let body = format!("{key} {body}").into_bytes();
        let version = call.body(body.into()).send().await.unwrap().version_id;
        let mut object = json!({ "key": key, "size": 1, "sequencer": "0A" });
        if let Some(version) = version {
            object["versionId"] = version.into();
        }
        json!({
            "eventVersion": "2.3", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventName": "ObjectCreated:Put", "eventTime": self.now().format(&Rfc3339).unwrap(),
            "s3": { "bucket": { "name": "site" }, "object": object },
        })
    }

    /// Says what the month has cost.
    fn bill(&self) {
        let Case {
            name, scale, most, ..
        } = self.case;
        let paths = self.account.cloudfront.paths("E1").len() as u64;
        // Exact paths, a `/*` for each deployment, ours, and the most it may be.
        println!(
            "| {name} | 1/{scale} | {} | {} | {paths} | {most} |",
            self.exact, self.deployments
        );
        assert!(paths <= most, "{name}: {paths} of at most {most}");
        assert!(self.now() < first_of_next_month(self.begin), "one month");
    }
}

fn first_of_next_month(now: OffsetDateTime) -> OffsetDateTime {
    let year = now.year() + i32::from(now.month() == Month::December);
    let first = now.replace_time(time::Time::MIDNIGHT).replace_day(1);
    let first = first.and_then(|it| it.replace_month(now.month().next()));
    first.and_then(|it| it.replace_year(year)).unwrap()
}

/// Versions, no ACLs, and the tag.
async fn opt_in(account: &Account) {
    let s3 = account.app.clients.s3();
    let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
    let call = s3.put_bucket_versioning().bucket("site");
    let call = call.versioning_configuration(versions.build());
    call.send().await.unwrap();
    let rule = OwnershipControlsRule::builder();
    let rule = rule.object_ownership(ObjectOwnership::BucketOwnerEnforced);
    let controls = OwnershipControls::builder().rules(rule.build().unwrap());
    let call = s3.put_bucket_ownership_controls().bucket("site");
    let call = call.ownership_controls(controls.build().unwrap());
    call.send().await.unwrap();
    account.tag(&[("invalidate", "changed")]).await;
}

fn plain() -> Distribution {
    Distribution::new("E1", Origin::s3("site", "site"))
}

/// Posts in folders of ten, and assets at the root.
fn pages(number: usize) -> Vec<String> {
    let page = |page: usize| match page % 10 {
        0 => format!("asset-{page:04}.css"),
        _ => format!("posts/{:03}/{page:04}.html", page / 10),
    };
    (0..number).map(page).collect()
}

/// Deploys a site as a whole, spread evenly over the month. Every so many-th file really changes, another one
/// each time.
async fn deploy_all(site: &mut Site, keys: &[String], deployments: usize, nth: usize, part: usize) {
    let mut bodies = vec![0; keys.len()];
    for deployment in 0..deployments {
        site.wait_until((deployment as f64 + 0.3) / deployments as f64);
        for body in bodies.iter_mut().skip(deployment % nth).step_by(nth) {
            *body += 1;
        }
        let bodies = bodies.iter().map(|body| match body {
            0 => "first".to_owned(),
            body => format!("{body}"),
        });
        let all: Objects = keys.iter().cloned().zip(bodies).collect();
        site.deploy(&all, part).await;
    }
    site.bill();
}

/// Uploads things with new names, some at a time, spread evenly over the month.
async fn deploy_new(site: &mut Site, names: &[String], part: usize) {
    for (place, some) in names.chunks(part).enumerate() {
        site.wait_until((place * part) as f64 / names.len() as f64 + 0.01);
        let all = objects(some.iter().cloned(), "first");
        site.deploy(&all, part).await;
    }
    site.bill();
}

const BLOG: Case = Case {
    name: "blog: 30 deployments of 20 files, 2 really changed, tagged",
    scale: 10,
    most: 65,
    mode: "balanced",
    only_changed: true,
};

#[tokio::test]
#[ignore = "a minute long: `make bill`"]
async fn a_blog_that_keeps_versions_pays_for_what_changed() {
    let keys = pages(20);
    let mut site = Site::new(BLOG, plain(), &keys).await;
    deploy_all(&mut site, &keys, 30, 10, 20).await;
}

#[tokio::test]
#[ignore = "a minute long: `make bill`"]
async fn a_blog_without_versions_stays_within_the_budget() {
    let keys = pages(20);
    let case = Case {
        name: "blog: the same, not tagged",
        most: 105,
        only_changed: false,
        ..BLOG
    };
    let mut site = Site::new(case, plain(), &keys).await;
    deploy_all(&mut site, &keys, 30, 10, 20).await;
}

#[tokio::test]
#[ignore = "a minute long: `make bill`"]
async fn documentation_in_three_flushes_pays_for_what_changed() {
    let keys = pages(120);
    let case = Case {
        name: "documentation: 6 deployments of 120 files in three flushes each, 12 really changed, tagged",
        scale: 40,
        most: 30,
        ..BLOG
    };
    let mut site = Site::new(case, plain(), &keys).await;
    deploy_all(&mut site, &keys, 6, 10, 40).await;
}

#[tokio::test]
async fn a_media_library_pays_for_no_new_name() {
    let case = Case {
        name: "media library: 1,000 images with new names, tagged",
        scale: 100,
        most: 10,
        ..BLOG
    };
    let mut site = Site::new(case, plain(), &["index.html".to_owned()]).await;
    let names: Vec<String> = (0..1_000)
        .map(|image| format!("media/{:02}/{image:05}.jpg", image / 100))
        .collect();
    deploy_new(&mut site, &names, 100).await;
}

#[tokio::test]
async fn wordpress_pays_for_no_new_upload_in_any_size() {
    let case = Case {
        name: "WordPress: 100 uploads in seven sizes, tagged",
        scale: 1_000,
        most: 10,
        ..BLOG
    };
    let sizes = [
        "",
        "-150x150",
        "-300x200",
        "-768x512",
        "-1024x683",
        "-1536x1024",
        "-2048x1366",
    ];
    let names = (0..100).flat_map(|upload| {
        let size = move |size| format!("wp-content/uploads/2026/12/photo-{upload:04}{size}.jpg");
        sizes.map(size)
    });
    let names: Vec<String> = names.collect();
    let mut site = Site::new(case, plain(), &["index.html".to_owned()]).await;
    deploy_new(&mut site, &names, 70).await;
}

fn images(products: usize) -> Vec<String> {
    let products = 0..products;
    let images = products.flat_map(|product| (0..8).map(move |image| (product, image)));
    let image = |(product, image)| format!("images/{:02}/{product:05}/{image}.jpg", product / 100);
    images.map(image).collect()
}

#[tokio::test]
#[ignore = "a minute long: `make bill`"]
async fn a_shop_whose_images_change_evenly_pays_one_path_for_each_product() {
    let keys = images(25);
    let case = Case {
        name: "shop: 200 images change, evenly over the month, eight of a product in a folder of their own",
        scale: 5_000,
        most: 25,
        only_changed: false,
        ..BLOG
    };
    let mut site = Site::new(case, plain(), &keys).await;
    for (product, images) in keys.chunks(8).enumerate() {
        site.wait_until((product as f64 + 0.3) / 25.0);
        let all = objects(images.iter().cloned(), "second");
        site.deploy(&all, 8).await;
    }
    site.bill();
}

/// An export of all images at once, every twentieth of which really changed.
async fn export(case: Case) {
    let keys = images(500);
    let mut site = Site::new(case, plain(), &keys).await;
    site.wait_until(0.5);
    let all = keys.iter().enumerate().map(|(place, key)| {
        let body = if place % 20 == 0 { "second" } else { "first" };
        (key.clone(), body.to_owned())
    });
    site.deploy(&all.collect(), 4_000).await;
    site.bill();
}

#[tokio::test]
#[ignore = "a minute long: `make bill`"]
async fn a_shop_that_exports_all_images_pays_for_those_that_changed() {
    export(Case {
        name: "shop: one export of 4,000 images at once, 200 really changed, tagged",
        scale: 250,
        most: 200,
        ..BLOG
    })
    .await;
}

#[tokio::test]
#[ignore = "a minute long: `make bill`"]
async fn a_frugal_shop_pays_wildcards_for_an_export() {
    export(Case {
        name: "shop: the same export, frugal",
        scale: 250,
        most: 4,
        mode: "frugal",
        ..BLOG
    })
    .await;
}

#[tokio::test]
async fn an_application_whose_answers_are_not_cached_bars_no_wildcard() {
    let keys: Vec<String> = (0..50).map(|file| format!("chunk-{file:02}.js")).collect();
    let case = Case {
        name: "application: 6 deployments of 50 files at the root, /api/* not cached",
        scale: 10,
        most: 110,
        only_changed: false,
        ..BLOG
    };
    let balancer = Origin::new("balancer", "balancer.example.org");
    let api = Behavior::new("/api/*", "balancer").policy(CACHING_DISABLED);
    let distribution = plain().origin(balancer).behavior(api);
    let mut site = Site::new(case, distribution, &keys).await;
    deploy_all(&mut site, &keys, 6, 1, 50).await;
}
