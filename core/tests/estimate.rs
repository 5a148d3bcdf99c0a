//! What is estimated from the list of versions of a month is what the same month bills: each case of the bill
//! is made into the versions that its uploads would leave behind.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // The tests of the bill use the rest.
mod months;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use invalidator_core::bucket_tags::{BucketSettings, BucketTag};
use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::estimate::history::History;
use invalidator_core::cost::estimate::replay::{Estimate, estimate};
use invalidator_core::cost::estimate::rules::PastRules;
use invalidator_core::cost::estimate::spender::Spent;
use invalidator_core::cost::estimate::way::Way;
use invalidator_core::cost::mode::CostMode;
use invalidator_core::cost::skip::facts::{BucketFacts, Listed, ListedObject, Listing, Versioning};
use invalidator_core::distributions::listing::{DistributionSummary, managed_policies};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::{Details, Distribution};
use invalidator_core::event::{BucketName, EventTime, ObjectKey};
use invalidator_core::plan::{Rules, SetLimits};
use proptest::prelude::*;
use serde_json::{Value, json};

use months::{Case, app, blog, docs_site, month, pages, rules, shop_evenly, shop_export};

const DAY: i64 = 86_400;
const SINCE: i64 = 20_000 * DAY + 3 * 3_600;
const MONTH: i64 = 30 * DAY;
const DEBOUNCE: Duration = Duration::from_secs(10);

/// A bucket: for each key its versions with their times and contents, the oldest first. Content 0 is a delete
/// marker.
#[derive(Default)]
struct Bucket(BTreeMap<String, Vec<(i64, u64)>>);

impl Bucket {
    /// The versions that a case leaves behind. All of its keys were there long before.
    fn after(case: &Case) -> Self {
        let mut bucket = Self::default();
        for key in &case.keys {
            bucket.put(key, SINCE - 100 * DAY, 1);
        }
        let mut content = 1;
        for (elapsed, paths) in &case.flushes {
            content += 1;
            for path in paths {
                bucket.put(path, second(*elapsed), content);
            }
        }
        bucket
    }

    fn put(&mut self, path: &str, time: i64, content: u64) {
        let versions = self.0.entry(path[1..].to_owned()).or_default();
        versions.push((time, content));
    }

    fn history(&self) -> History {
        let at = |second: i64| EventTime(second * 1_000);
        let mut history = History::new(at(SINCE), at(SINCE + MONTH), DEBOUNCE);
        for (key, versions) in &self.0 {
            let texts = versions.iter().enumerate();
            let texts = texts.map(|(n, (_, content))| (format!("v{n}"), format!("{content:032x}")));
            let texts: Vec<(String, String)> = texts.collect();
            let entry = |(n, (time, content)): (usize, &(i64, u64))| Listed {
                id: &texts[n].0,
                is_latest: n + 1 == versions.len(),
                last_modified: at(*time),
                object: (*content > 0).then(|| ListedObject {
                    etag: &texts[n].1,
                    size: 1,
                    storage_class: "STANDARD",
                }),
            };
            let entries = versions.iter().enumerate().map(entry).rev();
            let listing = Listing {
                entries: entries.collect(),
                is_complete: true,
            };
            history
                .add(&ObjectKey::new(key.as_str()).unwrap(), &listing)
                .unwrap();
        }
        history.finish();
        history
    }
}

fn second(elapsed: f64) -> i64 {
    SINCE + (elapsed * MONTH as f64) as i64
}

const OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";

/// A distribution whose default behavior is the bucket `site`; what is barred comes from a load balancer.
fn distribution(id: &str, barred: &[String]) -> Distribution {
    let behavior = |pattern: Option<String>, origin: &str| json!({"PathPattern": pattern, "TargetOriginId": origin, "CachePolicyId": OPTIMIZED});
    let barred = barred.iter();
    let barred: Vec<Value> = barred
        .map(|it| behavior(Some(format!("{it}*")), "alb"))
        .collect();
    let summary = json!({
        "Id": id,
        "Enabled": true,
        "Origins": {"Items": [
            {"Id": "site", "DomainName": "site.s3.eu-west-1.amazonaws.com", "OriginPath": ""},
            {"Id": "alb", "DomainName": "lb.example.org", "OriginPath": ""},
        ]},
        "DefaultCacheBehavior": behavior(None, "site"),
        "CacheBehaviors": {"Items": barred},
    });
    let summary: DistributionSummary = serde_json::from_value(summary).unwrap();
    Distribution::new(&summary, Details::default(), &managed_policies())
}

struct Site {
    distributions: Vec<Distribution>,
    tags: Vec<BucketTag>,
    versioning: Versioning,
    burst: Duration,
}

impl Site {
    fn new(barred: &[String]) -> Self {
        Self {
            distributions: vec![distribution("E1", barred)],
            tags: Vec::new(),
            versioning: Versioning::Enabled,
            burst: Duration::from_secs(60),
        }
    }

    fn estimate(&self, history: &History) -> Estimate {
        let settings = BucketSettings::from_tags(&self.tags);
        let rules = PastRules {
            bucket: &BucketName::new("site"),
            plan: Rules {
                distributions: &self.distributions,
                origin_buckets: &OriginBuckets::default(),
                index_documents: &HashMap::new(),
                debounce: DEBOUNCE,
                limits: SetLimits::with_paths(3_000),
                min_wildcard_depth: 0,
            },
            exceptions: &settings.exceptions,
            cost: rules(CostMode::Exact),
            facts: BucketFacts {
                only_changed: true,
                versioning: Some(self.versioning),
                owner_enforced: Some(true),
            },
            burst: self.burst,
        };
        let mut done = 0;
        let estimate = estimate(history, &rules, |changes| done += changes);
        assert_eq!(done, history.len());
        check_sums(&estimate);
        estimate
    }
}

/// Whichever way it is divided, nothing is lost and nothing is counted twice.
fn check_sums(estimate: &Estimate) {
    assert_eq!(estimate.days.iter().sum::<u64>(), estimate.changes);
    for way in &estimate.ways {
        let paths = way.total.paths;
        let days = way.days.iter().map(|day| day.paths);
        let costs = way.days.iter().map(|day| day.cost);
        assert_eq!(days.sum::<u64>(), paths);
        assert_eq!(way.targets.iter().sum::<u64>(), paths);
        assert_eq!(way.folders.iter().sum::<u64>(), paths);
        assert_eq!(costs.sum::<NanoUsd>(), way.total.cost);
        assert_eq!(way.folders.len(), estimate.folders.len());
        assert!(way.wildcards <= paths + way.waiting);
    }
}

fn of(estimate: &Estimate, way: Way) -> &Spent {
    estimate.ways.iter().find(|it| it.way == way).unwrap()
}

/// Whether a number is within a tenth of what was billed.
fn is_near(estimated: u64, billed: u64) -> bool {
    estimated.abs_diff(billed) * 10 <= billed
}

/// Estimates a case, and compares it with its bill in each mode.
fn compare(name: &str, case: &Case) {
    let estimated = Site::new(&case.barred).estimate(&Bucket::after(case).history());
    let exact: usize = case.flushes.iter().map(|(_, paths)| paths.len()).sum();
    let each_path = of(&estimated, Way::EachPath).total;
    assert_eq!(each_path.paths, exact as u64, "{name}");
    assert_eq!(each_path.cost, case.bill_of_exact(), "{name}");
    for mode in CostMode::ALL {
        let (billed, estimated) = (case.bill(mode), of(&estimated, Way::Ours(mode)));
        let paths = (estimated.total.paths, billed.paths);
        println!(
            "{name}, {mode}: estimated {} paths, billed {}",
            paths.0, paths.1
        );
        assert!(is_near(paths.0, paths.1), "{name}, {mode}: {paths:?}");
        assert_eq!(estimated.waiting, billed.waiting, "{name}, {mode}");
    }
}

#[test]
fn an_estimate_is_what_the_month_billed() {
    compare("blog, versioned", &blog(20));
    compare("blog, not versioned", &blog(200));
    compare("docs site", &docs_site());
    compare("app, /api/* not cached", &app(false));
    compare("app, /api/* cached", &app(true));
    compare("shop, evenly", &shop_evenly(12_500));
    compare("shop, one export", &shop_export(50_000));
}

#[test]
fn one_wildcard_is_counted_after_each_burst() {
    for (case, bursts) in [(blog(20), 30), (docs_site(), 60)] {
        let mut site = Site::new(&[]);
        site.distributions.push(distribution("E2", &[]));
        let estimate = site.estimate(&Bucket::after(&case).history());
        let habit = of(&estimate, Way::WildcardPerBurst);
        assert_eq!((estimate.bursts, habit.total.paths), (bursts, 2 * bursts));
        assert_eq!(habit.targets, [bursts, bursts]);
        let changed: usize = case.flushes.iter().map(|(_, paths)| paths.len()).sum();
        let others = bursts * case.keys.len() as u64 - changed as u64;
        assert_eq!(habit.others, 2 * others);
        assert_eq!(estimate.targets.len(), 2);
    }
    // Three flushes, twelve seconds apart, are three bursts for whoever is so quick.
    let mut site = Site::new(&[]);
    site.burst = Duration::from_secs(5);
    let estimate = site.estimate(&Bucket::after(&docs_site()).history());
    assert_eq!((estimate.bursts, estimate.flushes), (180, 180));
}

/// A month in which all files are uploaded again with each deployment.
fn uploaded_again(case: &Case) -> Bucket {
    let mut bucket = Bucket::default();
    let mut contents: BTreeMap<&String, u64> = BTreeMap::new();
    for key in &case.keys {
        bucket.put(key, SINCE - 100 * DAY, 1);
    }
    for (deployment, (elapsed, changed)) in (2..).zip(&case.flushes) {
        contents.extend(changed.iter().map(|key| (key, deployment)));
        for key in &case.keys {
            bucket.put(
                key,
                second(*elapsed),
                contents.get(key).copied().unwrap_or(1),
            );
        }
    }
    bucket
}

#[test]
fn what_has_not_changed_is_not_paid_for_in_a_bucket_that_opted_in() {
    let case = blog(20);
    let again = uploaded_again(&case).history();
    let estimate = Site::new(&[]).estimate(&again);
    assert_eq!((estimate.changes, estimate.unchanged), (6_000, 5_400));
    assert_eq!(of(&estimate, Way::EachPath).total.paths, 6_000);
    for mode in CostMode::ALL {
        let billed = case.bill(mode).paths;
        let estimated = of(&estimate, Way::OnlyChanged(mode)).total.paths;
        // A `/*` for trust.
        assert!(
            is_near(estimated, billed + 1),
            "{mode}: {estimated} {billed}"
        );
        let without = of(&estimate, Way::Ours(mode)).total.paths;
        let billed = blog(200).bill(mode).paths;
        assert!(is_near(without, billed), "{mode}: {without} {billed}");
    }
}

#[test]
fn first_uploads_are_free_in_a_bucket_that_opted_in() {
    let mut bucket = Bucket::default();
    for photograph in 0..100_000_i64 {
        let time = SINCE + photograph * MONTH / 100_000;
        bucket.put(&format!("/photos/{photograph:06}.jpg"), time, 7);
    }
    let history = bucket.history();
    let estimate = Site::new(&[]).estimate(&history);
    assert_eq!(estimate.first_uploads, 100_000);
    assert_eq!(of(&estimate, Way::EachPath).total.paths, 100_000);
    for mode in CostMode::ALL {
        assert_eq!(
            of(&estimate, Way::OnlyChanged(mode)).total.paths,
            1,
            "{mode}"
        );
    }
}

#[test]
fn what_cannot_be_skipped_is_paid_for() {
    let case = blog(20);
    let again = uploaded_again(&case).history();
    let ways = |site: &Site| site.estimate(&again).ways.len();
    for versioning in [Versioning::Never, Versioning::Suspended] {
        let mut site = Site::new(&[]);
        site.versioning = versioning;
        assert_eq!(ways(&site), 5);
    }
    assert_eq!(ways(&Site::new(&[])), 8);
    // A target that may not have a `/*` is never trusted.
    let estimate = Site::new(&["/api/".to_owned()]).estimate(&again);
    let exact = Way::OnlyChanged(CostMode::Exact);
    assert_eq!(of(&estimate, exact).total.paths, 6_000);
    // Another one beside it skips as if it were alone.
    let mut site = Site::new(&["/api/".to_owned()]);
    site.distributions.push(distribution("E2", &[]));
    site.distributions.push(distribution("E3", &[]));
    let estimate = site.estimate(&again);
    assert_eq!(of(&estimate, exact).targets, [6_000, 601, 601]);
}

#[test]
fn uploads_under_an_exception_are_not_paid_for_but_deletions_are() {
    let mut bucket = Bucket::default();
    for n in 0..5 {
        let time = SINCE + n * 3_600;
        bucket.put(&format!("/upload/{n}"), time, 1);
        bucket.put(&format!("/upload/{n}"), time + 1_800, 0);
        bucket.put(&format!("/pages/{n}"), time, 1);
    }
    let mut site = Site::new(&[]);
    site.tags.push(BucketTag {
        key: "exceptionPaths".to_owned(),
        value: "upload".to_owned(),
    });
    let estimate = site.estimate(&bucket.history());
    assert_eq!((estimate.changes, estimate.excepted), (15, 5));
    let each_path = of(&estimate, Way::EachPath);
    assert_eq!(each_path.total.paths, 10);
    let by_folder: HashMap<_, _> = estimate.folders.iter().zip(&each_path.folders).collect();
    assert_eq!(by_folder[&"/upload/".to_owned()], &5);
    assert_eq!(by_folder[&"/pages/".to_owned()], &5);
}

#[test]
fn what_no_distribution_serves_costs_nothing() {
    let history = Bucket::after(&blog(20)).history();
    let mut site = Site::new(&[]);
    site.distributions.clear();
    let estimate = site.estimate(&history);
    assert_eq!((estimate.changes, estimate.unserved), (600, 600));
    assert!(estimate.ways.iter().all(|way| way.total.paths == 0));
    let empty = Site::new(&[]).estimate(&Bucket::default().history());
    assert_eq!((empty.changes, empty.flushes, empty.bursts), (0, 0, 0));
}

#[test]
fn other_keys_are_those_that_were_there_at_the_time_of_the_flush() {
    // A hundred pages change once a day; two hundred others come on the twentieth day.
    let names = pages(100);
    let mut bucket = Bucket::default();
    for name in &names {
        bucket.put(name, SINCE - 100 * DAY, 1);
        for day in 0..30 {
            bucket.put(name, SINCE + day * DAY + 60, 2 + day as u64);
        }
    }
    for other in 0..200 {
        bucket.put(&format!("/posts/new/{other}"), SINCE + 20 * DAY, 1);
    }
    let estimate = Site::new(&[]).estimate(&bucket.history());
    let frugal = of(&estimate, Way::Ours(CostMode::Frugal));
    assert_eq!(frugal.others, 10 * 200, "{frugal:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_estimate_of_any_month_is_what_it_billed(case in month()) {
        let estimated = Site::new(&[]).estimate(&Bucket::after(&case).history());
        for mode in CostMode::ALL {
            let (billed, estimated) = (case.bill(mode), of(&estimated, Way::Ours(mode)));
            let (billed, estimated) = (billed.paths, estimated.total.paths);
            prop_assert!(is_near(estimated, billed), "{}: {} {}", mode, estimated, billed);
        }
    }
}
