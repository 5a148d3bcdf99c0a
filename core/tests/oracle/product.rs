//! The product's result for a world, and how it differs from the model's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use invalidator_core::bucket_tags::{BucketSettings, BucketTag};
use invalidator_core::distributions::listing::{
    CachePolicyListing, DistributionListing, managed_policies,
};
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::distributions::tenants::{Parameters, Tenant};
use invalidator_core::distributions::{Behavior, Details, Distribution};
use invalidator_core::event::{self, BucketName, Change, ChangeKind};
use invalidator_core::path::WildcardCause;
use invalidator_core::plan::{
    Changes, Decision, KeyChange, KeyChanges, MessageIndex, PathRole, PathSet, Plan, PlannedPath,
    Rules, SetLimits, Skip, Verdict, candidates, plan,
};
use invalidator_core::target::{Target, TenantId};
use serde::Serialize;
use serde_json::{Value, json};

use super::model::{self, Deciding, Expected, Reason, Role};
use super::world::{self, Event, List, World};

/// Compares the product's answer with the model's.
pub fn disagreement(world: &World, expected: &Expected) -> Result<(), String> {
    let buckets: HashMap<&str, BucketSettings> = world
        .tags
        .iter()
        .map(|(bucket, tags)| (*bucket, settings(tags)))
        .collect();
    let mut changes = Changes::default();
    for (change, expected) in world.changes.iter().zip(&expected.exempt) {
        let message = MessageIndex::new(change.message as usize);
        let Some(change) = changed(change)? else {
            same("exempting rule", &None, expected)?;
            continue;
        };
        let rule = buckets[change.bucket.as_str()]
            .exceptions
            .exempting(&change);
        let found = rule.map(|rule| (rule.tag.clone(), rule.entry.clone()));
        same("exempting rule", &found, expected)?;
        if rule.is_none() {
            changes
                .add(&change, message)
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
        debounce: Duration::from_secs(model::DEBOUNCE as u64),
        limits: SetLimits {
            paths: world.limits.paths,
            wildcards: world.limits.wildcards,
            bytes: world.limits.bytes,
        },
        min_wildcard_depth: 0,
    };
    let keys = KeyChanges::from(changes);
    let plan = plan(&keys, &rules);
    compare_reasons(&plan, expected)?;
    compare_routes(&plan, &rules)?;
    compare(&plan, expected, world.limits)
}

/// The steps to each decision, against the model's patterns, and the way back from each path to its key.
fn compare_routes(plan: &Plan<'_>, rules: &Rules<'_>) -> Result<(), String> {
    for index in plan.keys.indices() {
        let key = plan.keys.get(index);
        for route in plan.routes(index) {
            let lookups = route.lookups();
            let own = lookups.first().map(|lookup| lookup.asked.as_str());
            for lookup in &lookups {
                let asked = lookup.asked.as_str();
                let decides = match lookup.role {
                    PathRole::Folder(_) => asked,
                    // It may be a default root object or an index document.
                    PathRole::Errors(page) if page.path.ends_with('/') => continue,
                    _ => own.unwrap_or_default(),
                };
                let (last, before) = lookup.tried.split_last().ok_or("nothing was tried")?;
                let takes = |behavior: &Behavior| {
                    let pattern = behavior.pattern.as_ref().map(ToString::to_string);
                    let path = model::normalized(decides);
                    let encoded = model::encoded(&path);
                    let matches = |pattern: &str| {
                        model::takes(pattern, &path) || model::takes(pattern, &encoded)
                    };
                    pattern.is_none_or(|pattern| matches(&pattern))
                };
                same("the last behavior takes the path", &takes(last), &true)?;
                let earlier = before.iter().any(|behavior| takes(behavior));
                same("an earlier behavior takes the path", &earlier, &false)?;
                let origin = route.origin.ok_or("a path without an origin")?;
                same("sends here", &lookup.sends_here, &last.sends_to(origin))?;
                // The bucket of an alias of several buckets, and capitals, cannot be told from a domain.
                let bucket = origin.domain.bucket(rules.origin_buckets);
                if bucket.as_deref() == Some(key.bucket.as_str())
                    && !matches!(lookup.role, PathRole::Errors(_))
                {
                    let wanted = (key.bucket.clone(), key.key().into_owned());
                    let found = candidates(route.distribution, asked, rules);
                    // `/` is answered with the default root object and nothing else.
                    let has_root = route.distribution.default_root_object.is_some();
                    let is_hidden = asked == "/" && has_root && lookup.role != PathRole::Root;
                    if !is_hidden && !found.contains(&wanted) {
                        return Err(format!("{asked} of {wanted:?} leads to {found:?}"));
                    }
                }
            }
        }
    }
    Ok(())
}

/// What is said about each key, against what the model says.
fn compare_reasons(plan: &Plan<'_>, expected: &Expected) -> Result<(), String> {
    for index in plan.keys.indices() {
        let key = plan.keys.get(index);
        let mut found = BTreeSet::new();
        for verdict in plan.explain(index) {
            found.extend(reasons(&verdict, &key));
        }
        let name = (key.bucket.to_string(), key.name().to_owned());
        let none = BTreeSet::new();
        let expected = expected.reasons.get(&name).unwrap_or(&none);
        same(&format!("reasons for {name:?}"), &found, expected)?;
    }
    Ok(())
}

/// A verdict in the model's words, once for each target.
fn reasons(verdict: &Verdict<'_>, key: &KeyChange<'_>) -> Vec<(String, Reason)> {
    let (distribution, decision) = match verdict {
        Verdict::Decided(distribution, decision) => (distribution, decision),
        Verdict::Unmatched(nearest) => {
            let nearest = nearest.as_ref().map(|(_, skip)| match skip {
                Skip::Disabled => 0,
                Skip::NoTenants => 1,
                Skip::OutsideOriginPath(_) => 2,
                Skip::SentElsewhere(_) => 3,
                Skip::NotCached(..) => 4,
            });
            return vec![(String::new(), Reason::Unmatched(nearest))];
        }
    };
    let reasons: Vec<Reason> = match decision {
        Decision::Invalidate(paths) => paths.iter().map(|path| invalidated(path, key)).collect(),
        Decision::Skip(skip) => vec![skipped(*skip)],
    };
    let mut names: Vec<String> = distribution
        .targets
        .iter()
        .map(|target| model::name(&target_name(target)))
        .collect();
    if !distribution.is_in_service() {
        names = vec![distribution.id.to_string()];
    }
    let of_target = |name: String| reasons.iter().map(move |it| (name.clone(), it.clone()));
    names.into_iter().flat_map(of_target).collect()
}

fn invalidated(planned: &PlannedPath<'_>, key: &KeyChange<'_>) -> Reason {
    let reason = planned.reason;
    assert_eq!(reason.kind, key.kind);
    Reason::Invalidate {
        path: planned.path.as_str().to_owned(),
        by: match reason.role {
            PathRole::Errors(_) => Deciding::any(),
            _ => deciding(reason.behavior),
        },
        deleted: reason.kind == ChangeKind::Deleted,
        role: match reason.role {
            PathRole::Own => Role::Own,
            PathRole::Root => Role::Root,
            PathRole::Folder(_) => Role::Folder,
            PathRole::Errors(_) => Role::Errors,
        },
        wildcard: reason.wildcard.map(|cause| match cause {
            WildcardCause::QueryStrings => "query strings",
            WildcardCause::Tilde => "tilde",
            WildcardCause::TooLong => "length",
            WildcardCause::Asterisk => "asterisk",
            WildcardCause::ErrorPage => "error page",
            WildcardCause::Collapsed => "collapsed",
            WildcardCause::Trust => "trust",
        }),
    }
}

fn skipped(skip: Skip<'_>) -> Reason {
    match skip {
        Skip::Disabled => Reason::Disabled,
        Skip::NoTenants => Reason::NoTenants,
        Skip::OutsideOriginPath(origin) => Reason::OutsideOriginPath(origin.id.clone()),
        Skip::SentElsewhere(behavior) => Reason::SentElsewhere(deciding(behavior)),
        Skip::NotCached(behavior, hidden) => {
            let hidden = hidden.map(|ttl| ttl.as_secs() as i64);
            Reason::NotCached(deciding(behavior), hidden)
        }
    }
}

fn deciding(behavior: &Behavior) -> Deciding {
    Deciding {
        pattern: behavior.pattern.as_ref().map(ToString::to_string),
        target_origin_id: behavior.target_origin_id.clone(),
        caches: behavior.caching.caches(),
        query_strings: behavior.query_strings,
    }
}

fn target_name(target: &Target) -> model::Target {
    let tenant = target.tenant.as_ref();
    (
        target.distribution.as_str().to_owned(),
        tenant.map(|tenant| tenant.as_str().to_owned()),
    )
}

fn compare(plan: &Plan<'_>, expected: &Expected, limits: world::Limits) -> Result<(), String> {
    let counts = plan.counts;
    same("keys", &counts.keys, &expected.keys)?;
    same("unmatched", &counts.unmatched, &expected.unmatched)?;
    same("not cached", &counts.not_cached, &expected.not_cached)?;
    let mut found = BTreeMap::new();
    for of_target in plan.targets() {
        let target = target_name(of_target.target);
        let sets: Vec<PathSet> = of_target.sets(|_| true).collect();
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
        // A set answers for exactly the messages that asked for its paths or for what these cover.
        let mut messages = BTreeSet::new();
        for (path, of_path) in wanted {
            let is_cleared = |kept: &&str| kept == path || model::covers(kept, path);
            if paths.iter().any(is_cleared) {
                messages.extend(of_path);
            }
        }
        let expected: Vec<u32> = messages.into_iter().collect();
        let found = set.messages.iter().map(|message| message.get() as u32);
        same("messages of a set", &found.collect(), &expected)?;
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

/// The change, read from the event that S3 sends: the key is form-encoded (S3 User Guide, "Event
/// message structure"). Nothing, if the event is skipped.
fn changed(change: &world::Change) -> Result<Option<Change<'static>>, String> {
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
    let event = if change.event.is_bridged {
        bridged(change)
    } else {
        let Event {
            name, version_id, ..
        } = change.event;
        json!({ "Records": [{
            "eventName": name,
            "s3": {
                "bucket": { "name": change.bucket },
                "object": { "key": sent, "versionId": version_id },
            },
        }] })
    };
    let mut reading = event::read(&event.to_string());
    same("problems", &reading.problems, &Vec::new())?;
    let count = reading.changes.len() + reading.skipped.values().sum::<usize>();
    same("changes and skipped events", &count, &1)?;
    let change_read = reading.changes.pop();
    if let Some(read) = &change_read {
        same("bucket", &read.bucket.as_str(), &change.bucket)?;
        same("key", &read.key.as_str(), &change.key.as_str())?;
    }
    Ok(change_read)
}

/// As EventBridge states it: the key raw (S3 User Guide, "EventBridge event message structure").
fn bridged(change: &world::Change) -> Value {
    let Event {
        name, version_id, ..
    } = change.event;
    let (family, kind) = name.split_once(':').unwrap();
    let detail_type = match family {
        "ObjectCreated" => "Object Created",
        _ => "Object Deleted",
    };
    let reason = match family {
        "ObjectCreated" => "PutObject",
        "LifecycleExpiration" => "Lifecycle Expiration",
        _ => "DeleteObject",
    };
    let deletion_type = match kind {
        "Delete" => Some("Permanently Deleted"),
        "DeleteMarkerCreated" => Some("Delete Marker Created"),
        _ => None,
    };
    json!({
        "source": "aws.s3",
        "detail-type": detail_type,
        "detail": {
            "bucket": { "name": change.bucket },
            "object": { "key": change.key, "version-id": version_id },
            "reason": reason,
            "deletion-type": deletion_type,
        },
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
