//! What is done in order to pay less loses no change: each path is cleared by what is ordered, or its key was
//! left out on purpose, or it waits.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use invalidator_core::cost::account::Account;
use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::collapse::{CostRules, SpendingLimits};
use invalidator_core::cost::cover::cheapest_cover;
use invalidator_core::cost::folders::Folders;
use invalidator_core::cost::ledger::Terms;
use invalidator_core::cost::mode::CostMode;
use invalidator_core::cost::order::{Order, TargetOrder, new_wildcards};
use invalidator_core::distributions::listing::{DistributionSummary, managed_policies};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::{Details, Distribution};
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator_core::path::InvalidationPath;
use invalidator_core::plan::{
    Changes, Decision, Fate, KeyChanges, KeyIndex, KeySet, MessageIndex, Plan, Rules, SetLimits,
    Verdict, plan,
};
use proptest::prelude::*;
use serde_json::json;

const OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";

/// A distribution with these buckets: the first for all paths, the second for `/b/*`.
fn distribution(id: &str, buckets: [&str; 2]) -> Distribution {
    let origin = |bucket: &&str| json!({"Id": bucket, "DomainName": format!("{bucket}.s3.amazonaws.com"), "OriginPath": ""});
    let behavior = |pattern: Option<&str>, bucket: &str| json!({"PathPattern": pattern, "TargetOriginId": bucket, "CachePolicyId": OPTIMIZED});
    let summary = json!({
        "Id": id,
        "Enabled": true,
        "Origins": {"Items": buckets.iter().map(origin).collect::<Vec<_>>()},
        "DefaultCacheBehavior": behavior(None, buckets[0]),
        "CacheBehaviors": {"Items": [behavior(Some("/b/*"), buckets[1])]},
    });
    let summary: DistributionSummary = serde_json::from_value(summary).unwrap();
    Distribution::new(&summary, Details::default(), &managed_policies())
}

fn keys(changed: &[(bool, String)]) -> KeyChanges {
    let mut changes = Changes::default();
    for (n, (second, key)) in changed.iter().enumerate() {
        let change = Change {
            bucket: BucketName::new(if *second { "beta" } else { "alpha" }),
            key: ObjectKey::new(key.clone()).unwrap(),
            kind: ChangeKind::Created,
            event_time: None,
            version_id: None,
        };
        changes.add(&change, MessageIndex::new(n)).unwrap();
    }
    changes.into()
}

/// Names, of which some need wildcards.
fn key() -> impl Strategy<Value = (bool, String)> {
    (
        any::<bool>(),
        "(b/|img/|img/a/)?([a-e]{1,2}(~x)?|index.html)",
    )
}

/// The paths that a target is sent.
fn sent(target: &TargetOrder<'_>) -> Vec<InvalidationPath<'static>> {
    let sets = target.plan.adjusted_sets(&target.adjustment, |_| true);
    let submitted = sets.filter(|set| set.fate == Fate::Submit);
    submitted
        .flat_map(|set| set.paths)
        .map(InvalidationPath::into_owned)
        .collect()
}

/// The paths that a key needs at a target.
fn needed(
    plan: &Plan<'_>,
    key: KeyIndex,
    target: &TargetOrder<'_>,
) -> Vec<InvalidationPath<'static>> {
    let mut needed = Vec::new();
    for verdict in plan.explain(key) {
        if let Verdict::Decided(distribution, Decision::Invalidate(paths)) = verdict
            && distribution.id == target.plan.target.distribution
        {
            needed.extend(paths.into_iter().map(|it| it.path.into_owned()));
        }
    }
    needed
}

fn with_plan(changed: &[(bool, String)], check: impl FnOnce(&KeyChanges, &Plan<'_>)) {
    let keys = keys(changed);
    let distributions = [
        distribution("E1", ["alpha", "beta"]),
        distribution("E2", ["beta", "alpha"]),
    ];
    let rules = Rules {
        distributions: &distributions,
        origin_buckets: &OriginBuckets::default(),
        index_documents: &HashMap::from([(BucketName::new("alpha"), "index.html".to_owned())]),
        debounce: Duration::from_secs(10),
        limits: SetLimits::with_paths(3_000),
        min_wildcard_depth: 0,
    };
    check(&keys, &plan(&keys, &rules));
}

proptest! {
    #[test]
    fn each_path_is_cleared_or_left_out_on_purpose_or_waits(
        changed in prop::collection::vec(key(), 1..40),
        skipped in prop::collection::vec(0..40_usize, 0..10),
        mode in prop::sample::select(CostMode::ALL.to_vec()),
        (budget, spent, cents) in (0..60_u64, 0..60_u64, 1..60_u64),
        is_asked in any::<bool>(),
    ) {
        with_plan(&changed, |keys, plan| {
            let mut left_out = KeySet::new();
            skipped.iter().filter(|it| **it < keys.len()).for_each(|it| left_out.insert(KeyIndex::new(*it)));
            let targets = plan.targets().map(|it| TargetOrder::new(it, left_out.clone()));
            let mut order = Order::new(targets.collect(), BTreeMap::new());
            if is_asked {
                order.targets[0].ask_for_trust(Terms::default(), KeyIndex::new(0));
            }
            let rules = CostRules {
                mode,
                budget,
                limits: SpendingLimits {
                    hour: NanoUsd::new(cents * 10_000_000),
                    month: NanoUsd::usd(50),
                },
            };
            // The free paths are used up.
            let account = Account {
                this_month: 1_000 + spent,
                this_hour: spent,
                elapsed: 1.0,
                elapsed_of_hour: 1.0,
                ..Account::default()
            };
            let exact = order.paths();
            order.decide(&rules, Some(&account), None);
            let mut saved = 0;
            for (place, limits) in order.to_cover(&rules) {
                let paths = order.paths_to_cover(place);
                let folders = Folders::new(paths.iter().map(|it| &it.path));
                let wildcards = new_wildcards(&cheapest_cover(&folders, &limits), &paths);
                saved += order.targets[place].add_wildcards(wildcards);
            }
            let covered = order.paths();
            assert!(covered + saved <= exact, "{covered} {saved} {exact}");
            let held = order.admit(&rules, Some(&account));
            // Of fewer keys, names may need fewer wildcards.
            assert!(order.paths() + held.iter().map(|it| it.paths).sum::<u64>() <= covered);
            let cost = invalidator_core::cost::price::PATH.amount * (spent + order.paths());
            assert!(order.paths() == 0 || cost <= rules.limits.hour, "{cost}");
            let mut count = 0;
            for target in &order.targets {
                let sent = sent(target);
                let is_everything = |it: &InvalidationPath<'_>| it.as_str() == "/*";
                match &target.trust {
                    Some(_) => assert!(sent.len() == 1 && is_everything(&sent[0]), "{sent:?}"),
                    None => count += sent.len() as u64,
                }
                for key in keys.indices() {
                    if left_out.contains(key) || target.held.contains(key) {
                        continue;
                    }
                    for path in needed(plan, key, target) {
                        let is_cleared = sent.iter().any(|it| it.clears(&path));
                        assert!(is_cleared, "{path} of {:?}: {sent:?}", target.plan.target);
                    }
                }
            }
            // Each path was counted, so that it was reserved.
            assert_eq!(count, order.paths());
        });
    }
}

fn exact() -> CostRules {
    CostRules {
        mode: CostMode::Exact,
        ..CostRules::default()
    }
}

/// The free paths are used up, and so many were ordered in this hour, which is nearly over.
fn after_this_hour(paths: u64) -> Account {
    Account {
        this_month: 3_000,
        this_hour: paths,
        elapsed: 1.0,
        elapsed_of_hour: 1.0,
        ..Account::default()
    }
}

#[test]
fn a_flooded_bucket_waits_and_the_other_one_does_not() {
    let mut changed: Vec<(bool, String)> = (0..500).map(|n| (false, format!("{n}.jpg"))).collect();
    changed.push((true, "page.html".to_owned()));
    with_plan(&changed, |keys, plan| {
        let targets = plan.targets().map(|it| TargetOrder::new(it, KeySet::new()));
        let mut order = Order::new(targets.collect(), BTreeMap::new());
        let rules = exact();
        // 5.00 USD an hour, of which 4.50 are spent.
        let account = after_this_hour(900);
        let held = order.admit(&rules, Some(&account));
        let waits: BTreeMap<&str, u64> = held
            .iter()
            .map(|it| (it.bucket.as_str(), it.paths))
            .collect();
        // E1 serves all of alpha, E2 what is below /b/; and the other way round.
        assert_eq!(waits, BTreeMap::from([("alpha", 401)]));
        let (of_alpha, of_beta): (Vec<_>, Vec<_>) = keys
            .indices()
            .partition(|key| keys.get(*key).bucket.as_str() == "alpha");
        let held = &order.targets[0].held;
        assert_eq!(
            of_alpha.iter().filter(|key| held.contains(**key)).count(),
            401
        );
        assert!(
            !of_beta
                .iter()
                .any(|key| order.targets[1].held.contains(*key))
        );
        assert_eq!(sent(&order.targets[1]).len(), 1);
    });
}

/// Before: all paths of the first kind were taken, each key lacked one of the other, and none was sent.
#[test]
fn a_key_goes_with_all_its_paths_or_waits() {
    let changed: Vec<(bool, String)> = (0..100)
        .map(|n| (false, format!("{n:03}/index.html")))
        .collect();
    with_plan(&changed, |keys, plan| {
        let targets = plan.targets().map(|it| TargetOrder::new(it, KeySet::new()));
        let mut order = Order::new(targets.collect(), BTreeMap::new());
        let rules = exact();
        let account = after_this_hour(901);
        // 99 paths are left, and each key has two.
        assert_eq!(order.paths(), 200);
        let held = order.admit(&rules, Some(&account));
        assert_eq!(order.paths(), 98);
        assert_eq!(held[0].paths, 102);
        let waiting = keys
            .indices()
            .filter(|key| order.targets[0].held.contains(*key));
        assert_eq!(waiting.count(), 51);
    });
}
