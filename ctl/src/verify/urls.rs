//! At which URLs CloudFront serves objects, by the plan.

use std::collections::BTreeMap;

use invalidator_core::distributions::address::{Address, answering};
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::distributions::{Behavior, Distribution};
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use invalidator_core::plan::{
    Changes, KeyChanges, Lookup, MessageIndex, PathRole, Rules, candidates, plan,
};

use super::compare::Circumstances;
use super::item::{Check, Counts, Found};
use crate::function::Function;
use crate::site::Site;

/// Finds the URLs of objects.
pub struct Urls<'a> {
    site: &'a Site,
    function: &'a Function,
    summaries: &'a [DistributionSummary],
    distributions: Vec<Distribution>,
    /// The host to ask for each distribution. One that cannot be asked is not there.
    hosts: BTreeMap<&'a str, &'a str>,
}

impl<'a> Urls<'a> {
    pub fn new(
        site: &'a Site,
        function: &'a Function,
        summaries: &'a [DistributionSummary],
        via: Option<&'a str>,
    ) -> Self {
        let hosts: BTreeMap<&str, &str> = match via {
            Some(host) => {
                let found = answering(summaries, host).into_iter();
                found
                    .map(|(summary, _)| (summary.id.as_str(), host))
                    .collect()
            }
            None => {
                let all = summaries.iter();
                all.filter_map(|it| Some((it.id.as_str(), host_of(it)?)))
                    .collect()
            }
        };
        let listed = site.distributions.iter();
        Self {
            distributions: listed.flat_map(|it| site.compiled(it)).collect(),
            site,
            function,
            summaries,
            hosts,
        }
    }

    fn with_rules<T>(&self, act: impl FnOnce(&Rules<'_>) -> T) -> T {
        let mut buckets: Vec<BucketName> = self.site.settings.keys().cloned().collect();
        let origins = self.distributions.iter().flat_map(|it| it.origins());
        let domains = origins.filter_map(|it| it.domain.bucket(&self.function.origin_buckets));
        buckets.extend(domains.map(BucketName::new));
        act(&Rules {
            distributions: &self.distributions,
            origin_buckets: &self.function.origin_buckets,
            index_documents: &self.site.index_documents(&buckets),
            debounce: self.function.debounce,
            limits: self.function.limits,
            min_wildcard_depth: self.function.min_wildcard_depth,
        })
    }

    /// The distributions that answer for the host of a page.
    fn answering(&self, page: &Address) -> Vec<&str> {
        let found = answering(self.summaries, &page.host).into_iter();
        found.map(|(summary, _)| summary.id.as_str()).collect()
    }

    /// The objects that may be a page, the likeliest first.
    pub fn objects_of(&self, page: &Address) -> Vec<(BucketName, ObjectKey<'static>)> {
        let ids = self.answering(page);
        self.with_rules(|rules| {
            let mut found = Vec::new();
            for distribution in &self.distributions {
                if !ids.contains(&distribution.id.as_str()) {
                    continue;
                }
                for candidate in candidates(distribution, &page.path, rules) {
                    if !found.contains(&candidate) {
                        found.push(candidate);
                    }
                }
            }
            found
        })
    }

    /// The URLs of a batch of objects.
    pub fn of(&self, batch: Vec<Found>) -> (Vec<Check>, Counts) {
        let mut counts = Counts::default();
        let mut wanted: BTreeMap<(BucketName, ObjectKey<'static>), Vec<Found>> = BTreeMap::new();
        let mut changes = Changes::default();
        for found in batch {
            let change = Change {
                bucket: found.bucket.clone(),
                key: found.key.clone(),
                kind: ChangeKind::Created,
                event_time: None,
                version_id: None,
            };
            let settings = self.site.settings(&found.bucket);
            let rule = settings.and_then(|settings| settings.exceptions.exempting(&change));
            if rule.is_some() && found.is_listed {
                counts.excepted += 1;
                continue;
            }
            // A batch is much smaller than what fits.
            if changes.add(&change, MessageIndex::new(0)).is_err() {
                continue;
            }
            let ignored = rule.map(ToString::to_string);
            let key = (found.bucket.clone(), found.key.clone());
            wanted
                .entry(key)
                .or_default()
                .push(Found { ignored, ..found });
        }
        let keys = KeyChanges::from(changes);
        let checks = self.with_rules(|rules| {
            let plan = plan(&keys, rules);
            let mut checks = Vec::new();
            for index in keys.indices() {
                let change = keys.get(index);
                let key = (change.bucket.clone(), change.key().into_owned());
                for found in wanted.remove(&key).unwrap_or_default() {
                    counts.objects += 1;
                    let before = checks.len();
                    for route in plan.routes(index) {
                        let lookups = route.lookups();
                        let lookups = lookups.iter();
                        let checked =
                            lookups.filter_map(|it| self.check(&found, route.distribution, it));
                        checks.extend(checked);
                    }
                    counts.unserved += u64::from(checks.len() == before);
                }
            }
            checks.dedup_by(|a, b| a.host == b.host && a.path == b.path && a.key == b.key);
            checks
        });
        (checks, counts)
    }

    fn check(
        &self,
        found: &Found,
        distribution: &Distribution,
        lookup: &Lookup<'_>,
    ) -> Option<Check> {
        let id = distribution.id.as_str();
        // Any path may have an error: what is cached there is not the object's own page.
        if !lookup.sends_here || matches!(lookup.role, PathRole::Errors(_)) {
            return None;
        }
        let (host, path) = match &found.page {
            None => (
                (*self.hosts.get(id)?).to_owned(),
                lookup.asked.url_path().into_owned(),
            ),
            Some(page) => {
                if lookup.asked.as_str() != page.path || !self.answering(page).contains(&id) {
                    return None;
                }
                let query = page.query.as_ref().map(|query| format!("?{query}"));
                let path = page.encoded_path.clone() + &query.unwrap_or_default();
                (page.host.clone(), path)
            }
        };
        let behavior = lookup.behavior();
        let mut functions = behavior.into_iter().flat_map(Behavior::rewriting_functions);
        Some(Check {
            host,
            path,
            distribution: distribution.id.clone(),
            bucket: found.bucket.clone(),
            key: found.key.clone(),
            state: found.state.clone(),
            around: Circumstances {
                rewrites: functions.next().cloned(),
                has_error_page: distribution.error_caching.pages().next().is_some(),
                ignored: found.ignored.clone(),
            },
        })
    }
}

/// The name to ask a distribution by. A staging distribution answers only requests with a header that its
/// policy names, a multi-tenant one only by the domains of its tenants.
fn host_of(summary: &DistributionSummary) -> Option<&str> {
    if summary.staging || summary.is_multi_tenant() {
        return None;
    }
    let mut aliases = summary.aliases.iter().flat_map(|aliases| &aliases.items);
    let alias = aliases.find(|alias| !alias.starts_with('*'));
    Some(alias.unwrap_or(&summary.domain_name))
}
