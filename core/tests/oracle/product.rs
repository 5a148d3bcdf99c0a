//! The product's result for a world, and how it differs from the model's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use invalidator_core::bucket_tags::{BucketSettings, BucketTag};
use invalidator_core::distributions::listing::{
    CachePolicyListing, DistributionListing, managed_policies,
};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::tenants::{Parameters, Tenant};
use invalidator_core::distributions::{Details, Distribution};
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator_core::plan::{
    Changes, Decision, KeyChanges, PathSet, Plan, Rules, SetLimits, Skip, Verdict, explain, plan,
};
use invalidator_core::target::{Target, TenantId};
use serde::Serialize;

use super::model::{self, Expected};
use super::world::{self, List, World};

/// Compares the product's answer with the model's.
pub fn disagreement(world: &World, expected: &Expected) -> Result<(), String> {
    let buckets: HashMap<&str, BucketSettings> = world
        .tags
        .iter()
        .map(|(bucket, tags)| (*bucket, settings(tags)))
        .collect();
    let mut changes = Changes::default();
    for (change, expected) in world.changes.iter().zip(&expected.exempt) {
        let source = change.message;
        let change = changed(change)?;
        let rule = buckets[change.bucket.as_str()]
            .exceptions
            .exempting(&change);
        let found = rule.map(|rule| (rule.tag.clone(), rule.entry.clone()));
        same("exempting rule", &found, expected)?;
        if rule.is_none() {
            changes
                .add(&change, source)
                .map_err(|error| error.to_string())?;
        }
    }
    let distributions = distributions(world).map_err(|error| format!("listing: {error}"))?;
    let aliases = OriginBuckets::new(world.aliases.clone());
    let index_documents = buckets
        .iter()
        .filter_map(|(bucket, settings)| {
            Some((BucketName::new(*bucket), settings.index_document.clone()?))
        })
        .collect();
    let rules = Rules {
        distributions: &distributions,
        origin_buckets: &aliases,
        index_documents: &index_documents,
        limits: SetLimits {
            paths: world.limits.paths,
            wildcards: world.limits.wildcards,
            bytes: world.limits.bytes,
        },
    };
    let keys = KeyChanges::from(changes);
    let plan = plan(&keys, &rules);
    compare_reasons(&plan, &rules)?;
    compare(&plan, expected, world.limits)
}

/// Compares the reasons given for each key with the sets made from all keys.
fn compare_reasons(plan: &Plan<'_>, rules: &Rules<'_>) -> Result<(), String> {
    let (mut unmatched, mut not_cached) = (0, 0);
    let mut told: BTreeMap<&Target, BTreeSet<String>> = BTreeMap::new();
    for key in plan.keys.iter() {
        for verdict in explain(&key, rules) {
            match verdict {
                Verdict::Decided(distribution, Decision::Invalidate { paths, .. }) => {
                    let paths: Vec<String> = paths.into_iter().map(String::from).collect();
                    for target in &distribution.targets {
                        told.entry(target).or_default().extend(paths.clone());
                    }
                }
                Verdict::Decided(_, Decision::Skip(_)) => {}
                Verdict::Unmatched(nearest) => {
                    unmatched += 1;
                    not_cached += usize::from(matches!(nearest, Some((_, Skip::NotCached(_)))));
                }
            }
        }
    }
    same("unmatched told", &unmatched, &plan.counts.unmatched)?;
    same("not cached told", &not_cached, &plan.counts.not_cached)?;
    let mut planned: BTreeMap<&Target, BTreeSet<String>> = BTreeMap::new();
    for of_target in plan.targets() {
        let paths = of_target.sets().flat_map(|set| set.paths);
        planned
            .entry(of_target.target)
            .or_default()
            .extend(paths.map(String::from));
    }
    for paths in told.values_mut() {
        *paths = model::uncovered(paths);
    }
    planned.retain(|_, paths| !paths.is_empty());
    same("paths told", &told, &planned)
}

fn compare(plan: &Plan<'_>, expected: &Expected, limits: world::Limits) -> Result<(), String> {
    let counts = plan.counts;
    same("keys", &counts.keys, &expected.keys)?;
    same("unmatched", &counts.unmatched, &expected.unmatched)?;
    same("not cached", &counts.not_cached, &expected.not_cached)?;
    let mut found = BTreeMap::new();
    for of_target in plan.targets() {
        let tenant = of_target.target.tenant.as_ref();
        let target = (
            of_target.target.distribution.as_str().to_owned(),
            tenant.map(|tenant| tenant.as_str().to_owned()),
        );
        let sets: Vec<PathSet> = of_target.sets().collect();
        if !sets.is_empty() && found.insert(target.clone(), sets).is_some() {
            return Err(format!("target {target:?} is there twice"));
        }
    }
    let found_targets: Vec<_> = found.keys().collect();
    same(
        "targets",
        &found_targets,
        &expected.targets.keys().collect(),
    )?;
    for (target, wanted) in &expected.targets {
        compare_sets(&found[target], wanted, limits)
            .map_err(|difference| format!("target {target:?}: {difference}"))?;
    }
    Ok(())
}

fn compare_sets(
    sets: &[PathSet],
    wanted: &BTreeMap<String, BTreeSet<u32>>,
    limits: world::Limits,
) -> Result<(), String> {
    let mut all = BTreeSet::new();
    for path in sets.iter().flat_map(|set| &set.paths) {
        if !all.insert(path.as_str().to_owned()) {
            return Err(format!("path {path} is there twice"));
        }
    }
    let left = model::uncovered(&wanted.keys().cloned().collect());
    same("paths", &all, &left)?;
    for set in sets {
        let paths: Vec<&str> = set.paths.iter().map(|path| path.as_str()).collect();
        let wildcards = paths.iter().filter(|path| path.ends_with('*')).count();
        let bytes: usize = paths.iter().map(|path| path.len() + 3).sum();
        let too_large =
            paths.len() > limits.paths || wildcards > limits.wildcards || bytes > limits.bytes;
        if paths.is_empty() || (too_large && paths.len() > 1) {
            return Err(format!("set {paths:?} is empty or too large"));
        }
        if wildcards != 0 && wildcards != paths.len() {
            return Err(format!("set {paths:?} mixes plain paths and wildcards"));
        }
        // A set names exactly the messages that need its paths, or paths that these cover.
        let mut sources = BTreeSet::new();
        for (path, messages) in wanted {
            let is_cleared = |kept: &&str| kept == path || model::covers(kept, path);
            if paths.iter().any(is_cleared) {
                sources.extend(messages);
            }
        }
        let told: Vec<u32> = sources.into_iter().collect();
        same("messages of a set", &set.sources, &told)?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, product: &T, model: &T) -> Result<(), String> {
    if product == model {
        Ok(())
    } else {
        Err(format!(
            "{what}: the product says {product:?}, the model {model:?}"
        ))
    }
}

fn settings(tags: &[world::Tag]) -> BucketSettings {
    let tags: Vec<BucketTag> = tags
        .iter()
        .map(|tag| BucketTag {
            key: tag.key.to_owned(),
            value: tag.value.clone(),
        })
        .collect();
    BucketSettings::from_tags(&tags)
}

/// The key is form-encoded, as S3 sends it (S3 User Guide, "Event message structure").
fn changed(change: &world::Change) -> Result<Change<'static>, String> {
    let mut sent = String::new();
    for byte in change.key.bytes() {
        match byte {
            b' ' => sent.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'*' => {
                sent.push(char::from(byte));
            }
            _ => sent.push_str(&format!("%{byte:02X}")),
        }
    }
    let key = ObjectKey::from_form_encoded(&sent).map_err(|error| format!("{sent}: {error}"))?;
    same("key", &key.as_str(), &change.key.as_str())?;
    Ok(Change {
        bucket: BucketName::new(change.bucket),
        key: key.into_owned(),
        kind: if change.deleted {
            ChangeKind::Deleted
        } else {
            ChangeKind::Created
        },
        event_time: None,
    })
}

/// The distributions, read from the JSON that the AWS command line would print.
fn distributions(world: &World) -> serde_json::Result<Vec<Distribution>> {
    let listing = Listing {
        distribution_list: List::of(&world.distributions),
    };
    let listing: DistributionListing = serde_json::from_str(&serde_json::to_string(&listing)?)?;
    let custom: CachePolicyListing = serde_json::from_str(&cache_policies(&world.policies))?;
    let mut policies = managed_policies();
    policies.extend(custom.cache_policy_list.items.into_iter().map(|item| {
        let policy = item.cache_policy;
        (policy.id, policy.cache_policy_config)
    }));
    let mut all = Vec::new();
    for (summary, distribution) in listing
        .distribution_list
        .items
        .iter()
        .zip(&world.distributions)
    {
        let details = Details {
            default_root_object: distribution.root_object.clone(),
            tenants: distribution.tenants.iter().map(tenant).collect(),
        };
        all.extend(Distribution::all(summary, details, &policies));
    }
    Ok(all)
}

fn tenant(tenant: &world::Tenant) -> Tenant {
    let parameters = tenant.parameters.iter().cloned();
    Tenant {
        id: TenantId::new(tenant.id.as_str()),
        parameters: Parameters::new(parameters.map(|(name, value)| (name.to_owned(), value))),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing<'a> {
    distribution_list: List<&'a world::Distribution>,
}

/// The output of `aws cloudfront list-cache-policies`.
fn cache_policies(policies: &[world::Policy]) -> String {
    let policies: Vec<String> = policies
        .iter()
        .map(|policy| {
            let mut config = format!(r#""Name": "{}", "MinTTL": {}"#, policy.id, policy.min_ttl);
            if let Some(max_ttl) = policy.max_ttl {
                config += &format!(r#", "MaxTTL": {max_ttl}"#);
            }
            if let Some(which) = policy.query_strings {
                config += r#", "ParametersInCacheKeyAndForwardedToOrigin": "#;
                config += &format!(
                    r#"{{ "QueryStringsConfig": {{ "QueryStringBehavior": "{which}" }} }}"#
                );
            }
            format!(
                r#"{{ "CachePolicy": {{ "Id": "{}", "CachePolicyConfig": {{ {config} }} }} }}"#,
                policy.id
            )
        })
        .collect();
    format!(
        r#"{{ "CachePolicyList": {{ "Items": [{}] }} }}"#,
        policies.join(", ")
    )
}
