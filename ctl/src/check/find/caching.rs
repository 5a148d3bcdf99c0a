//! Behaviors that cache nothing, that cost wildcards, or whose policy is not known.

use invalidator_core::cost::bars::barring;
use invalidator_core::cost::mode::CostMode;
use invalidator_core::distributions::{Behavior, Caching, Distribution};

use super::served::{buckets_of, serving};
use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings};

/// So many behaviors are named in a finding.
const MOST_NAMED: usize = 5;

pub fn find(facts: &Facts, found: &mut Findings) {
    for distribution in serving(facts) {
        let buckets: Vec<_> = buckets_of(facts, distribution).collect();
        if buckets.is_empty() {
            continue;
        }
        let subject = facts.subject_of(distribution.id.as_str());
        let behaviors = of_buckets(facts, distribution);
        let named = |is: &dyn Fn(&Behavior) -> bool| {
            let behaviors = behaviors.iter().filter(|it| is(it));
            let names: Vec<String> = behaviors.map(ToString::to_string).collect();
            (!names.is_empty()).then(|| some_of(&names))
        };
        if let Some(named) = named(&|it| !it.caching.caches()) {
            found.add(Finding::note(
                "never-cached",
                &subject,
                format!("it caches nothing at {named}"),
                "uploads there are not invalidated, as there is nothing to invalidate; deletions are",
            ));
        }
        if let Some(named) = named(&|it| it.caching.caches() && it.query_strings) {
            found.add(Finding::note(
                "query-strings",
                &subject,
                format!("query strings are in the cache key at {named}"),
                "each change there needs a wildcard (`/x.jpg*`): the same price, one a second, and it clears longer \
                 names that begin so too",
            ));
        }
        if let Some(named) = named(&|it| matches!(it.caching, Caching::UnknownPolicy(_))) {
            found.add(
                Finding::warning(
                    "cache-policy-unknown",
                    &subject,
                    format!("the cache policy of {named} cannot be read"),
                    "the function assumes that it caches, with query strings: that may cost more than it must",
                )
                .fix("aws cloudfront list-cache-policies --type custom"),
            );
        }
        barred(facts, distribution, found);
        if !found.has(&subject, &["cache-policy-unknown"]) {
            let number = behaviors.iter().filter(|it| it.caching.caches()).count();
            found.well(
                &subject,
                format!(
                    "{number} of {} behaviors of these buckets cache",
                    behaviors.len()
                ),
            );
        }
    }
}

/// The behaviors that may send a path to one of the buckets.
pub fn of_buckets<'f>(facts: &'f Facts, distribution: &'f Distribution) -> Vec<&'f Behavior> {
    let aliases = facts.aliases();
    let origins: Vec<_> = buckets_of(facts, distribution)
        .flat_map(|bucket| distribution.origins_of(&bucket.name, &aliases))
        .map(|(origin, _)| origin)
        .collect();
    let behaviors = distribution.behaviors();
    let sends = |it: &&Behavior| origins.iter().any(|origin| it.sends_to(origin));
    behaviors.filter(sends).collect()
}

/// The names, or the first of them.
pub fn some_of(names: &[String]) -> String {
    match names.len() {
        0..=MOST_NAMED => names.join(", "),
        all => format!(
            "{} and {} more",
            names[..MOST_NAMED].join(", "),
            all - MOST_NAMED
        ),
    }
}

fn barred(facts: &Facts, distribution: &Distribution, found: &mut Findings) {
    let Some(config) = facts.config() else {
        return;
    };
    if config.cost.mode == CostMode::Exact {
        return;
    }
    if let Some(behavior) = barring(distribution, &config.origin_buckets, "/") {
        found.add(Finding::note(
            "wildcards-barred",
            &facts.subject_of(distribution.id.as_str()),
            format!("{behavior} caches what is not from S3, so the function sends no `/*` to save paths"),
            "a month may cost its exact paths there; wildcards over folders without such a behavior are still used",
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::find::testing::{rules, site, with};

    #[test]
    fn how_behaviors_cache_is_noted() {
        let behavior = |pattern: &str, target: &str, settings: serde_json::Value| {
            let mut behavior = json!({ "PathPattern": pattern, "TargetOriginId": target });
            let settings = settings.as_object().unwrap().clone();
            behavior.as_object_mut().unwrap().extend(settings);
            behavior
        };
        let disabled = json!({ "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad" });
        let unknown = json!({ "CachePolicyId": "00000000-0000-0000-0000-000000000000" });
        let legacy = json!({ "MaxTTL": 60 });
        let query = json!({ "MaxTTL": 60, "ForwardedValues": { "QueryString": true } });
        let origins = json!({ "Items": [
            { "Id": "site", "DomainName": "site.s3.eu-west-1.amazonaws.com" },
            { "Id": "app", "DomainName": "app.example.org" },
        ] });
        for (behaviors, expected) in [
            (vec![], &[][..]),
            (
                vec![behavior("/api/*", "site", disabled.clone())],
                &["never-cached"],
            ),
            (vec![behavior("/img/*", "site", query)], &["query-strings"]),
            (
                vec![behavior("/x/*", "site", unknown)],
                &["cache-policy-unknown", "query-strings"],
            ),
            (
                vec![behavior("/app/*", "app", legacy)],
                &["wildcards-barred"],
            ),
            (vec![behavior("/app/*", "app", disabled)], &[]),
        ] {
            let facts = with(site(json!({
                "Origins": origins,
                "CacheBehaviors": { "Items": behaviors },
            })));
            assert_eq!(rules(&facts, find), expected, "{behaviors:?}");
        }
    }
}
