//! Changes and distributions in, sets of paths out. Pure: no client, no clock, no randomness.
//!
//! For a change to key K of bucket B, and each origin of a distribution that is B: K below the
//! origin path is the viewer path V. The behavior that takes V must send it to that origin, and
//! must cache, unless the object was deleted: with TTL 0 CloudFront may still hold the error page
//! of a missing object.
//!
//! * [`adjustment`]: what is done about the paths of a target in order to pay less
//! * [`changes`]: collects changes, then keeps one entry per key
//! * [`behavior_list`]: what the behaviors of a distribution say about a path
//! * [`origin_plan`]: the decisions on all keys of a bucket
//! * [`reason`]: the reason of each decision
//! * [`route`]: the steps that led to a decision
//! * [`root_need`]: whether planning takes default root objects
//! * [`sets`]: paths, cut into sets
//! * [`rules`]: what planning goes by
//! * [`candidates`]: the objects that may be served at a path
//! * [`versions`]: the versions that events created
//! * [`interner`]: gives equal values the same small index
//! * [`key_set`]: a set of keys

mod adjustment;
mod behavior_list;
mod candidates;
mod changes;
mod interner;
mod key_set;
mod origin_plan;
mod reason;
mod root_need;
mod route;
mod rules;
mod sets;
mod versions;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;

use crate::distributions::by_bucket::ByBucket;
use crate::distributions::{Distribution, Origin};
use crate::event::BucketName;
use crate::path::OriginPath;
use crate::target::Target;
use crate::wildcards::is_too_wide;
use behavior_list::{ListIndex, Outcome};
use changes::BucketIndex;
use origin_plan::{Builder, OriginPlan, OriginPlanIndex};
use reason::Case;
use sets::Needed;

pub use adjustment::{Adjustment, KeyPath, NewWildcard};
pub use candidates::candidates;
pub use changes::{Changes, KeyChange, KeyChanges, KeyIndex, MessageIndex, TooMany};
pub use key_set::KeySet;
pub use reason::{Decision, PathRole, PlannedPath, Reason, Skip, Verdict};
pub use root_need::{RootNeed, RootNeeds};
pub use route::{Lookup, Route};
pub use rules::{Rules, index_document_of};
pub use sets::{Fate, PathSet, SetLimits, Sets, Widest};
pub use versions::VersionEvent;

/// Invalidations to make, with their reasons.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What became of the keys.
    pub counts: Counts,
    /// The keys.
    pub keys: &'a KeyChanges,
    origin_plans: Vec<OriginPlan<'a>>,
    served: Vec<Served<'a>>,
    /// Distributions that are out of service, for each bucket that is an origin of theirs; in the order of the
    /// buckets.
    out_of_service: Vec<(BucketIndex, &'a Distribution)>,
    debounce: Duration,
    limits: SetLimits,
    min_wildcard_depth: usize,
}

/// A distribution in service.
#[derive(Debug)]
struct Served<'a> {
    distribution: &'a Distribution,
    /// Its origins that are changed buckets, in the order of the buckets.
    origins: Vec<ServedOrigin<'a>>,
}

/// An origin that is a changed bucket.
#[derive(Clone, Copy, Debug)]
struct ServedOrigin<'a> {
    bucket: BucketIndex,
    origin: &'a Origin,
    origin_plan: OriginPlanIndex,
    list: ListIndex,
}

/// The part of a plan that is for one target.
#[derive(Clone, Copy, Debug)]
pub struct TargetPlan<'p> {
    /// The distribution or tenant.
    pub target: &'p Target,
    /// The distribution.
    pub distribution: &'p Distribution,
    plan: &'p Plan<'p>,
    origins: &'p [ServedOrigin<'p>],
}

/// What became of the keys of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Different keys.
    pub keys: usize,
    /// Keys that no distribution serves from its cache.
    pub unmatched: usize,
    /// Of those, the ones that some distribution serves, but does not cache.
    pub not_cached: usize,
}

/// Plans the invalidations for these changes.
pub fn plan<'a>(keys: &'a KeyChanges, rules: &Rules<'a>) -> Plan<'a> {
    let mut outcomes = vec![Outcome::default(); keys.len()];
    let mut served = Vec::new();
    // For each distribution, its place among those in service.
    let in_service = rules.distributions.iter().map(|distribution| {
        distribution.is_in_service().then(|| {
            served.push(Served {
                distribution,
                origins: Vec::new(),
            });
            served.len() - 1
        })
    });
    let in_service: Vec<Option<usize>> = in_service.collect();
    let mut plan = Plan {
        counts: Counts::default(),
        keys,
        origin_plans: Vec::new(),
        served,
        out_of_service: Vec::new(),
        debounce: rules.debounce,
        limits: rules.limits,
        min_wildcard_depth: rules.min_wildcard_depth,
    };
    let origins = origins_by_bucket(rules);
    for bucket in keys.by_bucket() {
        let first = plan.origin_plans.len();
        let mut builders = Builders::new(first);
        for ((place, origin), endpoint) in origins.of(bucket.name.as_str()) {
            let distribution = &rules.distributions[place];
            let Some(served) = in_service[place] else {
                let known = plan.out_of_service.last();
                let is_known = known
                    .is_some_and(|(of, it)| *of == bucket.index && std::ptr::eq(*it, distribution));
                if !is_known {
                    plan.out_of_service.push((bucket.index, distribution));
                }
                continue;
            };
            let index_document = rules.index_document(bucket.name, endpoint.is_website());
            let origin = distribution.origin(origin);
            let list = builders.add(distribution, origin, index_document, rules.debounce);
            plan.served[served].origins.push(ServedOrigin {
                bucket: bucket.index,
                origin,
                origin_plan: list.0,
                list: list.1,
            });
        }
        for builder in builders.all {
            let mut origin_plan = builder.build(keys, &bucket);
            origin_plan.decide(keys, &mut outcomes);
            plan.origin_plans.push(origin_plan);
        }
    }
    plan.counts = Counts::of(&outcomes);
    plan
}

/// The origins of all distributions, each by the places of its distribution and of itself, by the buckets that
/// they are.
fn origins_by_bucket(rules: &Rules<'_>) -> ByBucket<(usize, usize)> {
    let mut by_bucket = ByBucket::default();
    for (place, distribution) in rules.distributions.iter().enumerate() {
        for (of_origin, origin) in distribution.origins().enumerate() {
            by_bucket.add((place, of_origin), &origin.domain, rules.origin_buckets);
        }
    }
    by_bucket
}

/// The origin plans of a bucket that are being built. Origins with the same origin path share one.
struct Builders<'a> {
    /// The place of the first of these plans.
    first: usize,
    all: Vec<Builder<'a>>,
    by_path: HashMap<&'a OriginPath, usize>,
}

impl<'a> Builders<'a> {
    fn new(first: usize) -> Self {
        Self {
            first,
            all: Vec::new(),
            by_path: HashMap::new(),
        }
    }

    /// Adds an origin. Returns its origin plan, and its behavior list there.
    fn add(
        &mut self,
        distribution: &'a Distribution,
        origin: &'a Origin,
        index_document: Option<&'a str>,
        debounce: Duration,
    ) -> (OriginPlanIndex, ListIndex) {
        let next = self.all.len();
        let place = *self.by_path.entry(&origin.path).or_insert(next);
        if place == next {
            self.all.push(Builder::new(&origin.path));
        }
        let list = self.all[place].add(distribution, origin, index_document, debounce);
        (OriginPlanIndex::new(self.first + place), list)
    }
}

impl Counts {
    fn of(outcomes: &[Outcome]) -> Self {
        let unmatched = || outcomes.iter().filter(|outcome| !outcome.invalidated);
        Self {
            keys: outcomes.len(),
            unmatched: unmatched().count(),
            not_cached: unmatched().filter(|outcome| outcome.not_cached).count(),
        }
    }
}

impl Plan<'_> {
    /// The targets that serve a changed bucket, in the order of their distributions.
    pub fn targets(&self) -> impl Iterator<Item = TargetPlan<'_>> {
        self.served.iter().flat_map(move |served| {
            let targets = served.distribution.targets.iter();
            targets.map(move |target| TargetPlan {
                target,
                distribution: served.distribution,
                plan: self,
                origins: &served.origins,
            })
        })
    }

    /// Whether any name in a changed bucket may need a wildcard.
    pub fn may_be_rationed(&self) -> bool {
        self.origin_plans.iter().any(OriginPlan::may_be_rationed)
    }

    /// The verdicts on a key, with their reasons: those that the sets were made by, as nothing is decided
    /// a second time.
    pub fn explain(&self, key: KeyIndex) -> Vec<Verdict<'_>> {
        let routes = self.routes(key);
        reason::verdicts(routes.map(|route| (route.distribution, route.decision())))
    }

    /// How a key is served at each distribution that has its bucket as an origin, once for each such origin.
    pub fn routes(&self, key: KeyIndex) -> impl Iterator<Item = Route<'_>> {
        let bucket = self.keys.bucket_of(key);
        let case = Case {
            kind: self.keys.get(key).kind,
            debounce: self.debounce,
            min_wildcard_depth: self.min_wildcard_depth,
        };
        let in_service = self.served.iter().flat_map(move |served| {
            let origins = &served.origins;
            let begin = origins.partition_point(|origin| origin.bucket < bucket);
            let origins = origins[begin..].iter();
            let origins = origins.take_while(move |origin| origin.bucket == bucket);
            let distribution = served.distribution;
            origins.map(move |served| {
                let origin_plan = &self.origin_plans[served.origin_plan.get()];
                let found = origin_plan.findings_for(served.list, self.keys, key);
                Route::new(distribution, Some(served.origin), found, case)
            })
        });
        let begin = self.out_of_service.partition_point(|(of, _)| *of < bucket);
        let out_of_service = self.out_of_service[begin..].iter();
        let out_of_service = out_of_service.take_while(move |(of, _)| *of == bucket);
        let out_of_service = out_of_service
            .map(move |(_, distribution)| Route::new(distribution, None, Vec::new(), case));
        in_service.chain(out_of_service)
    }
}

impl<'p> TargetPlan<'p> {
    /// The sets for the target, in this order; there may be none. `may_go` says of a bucket whether the
    /// wildcards that its names need may be submitted now. It is asked once for each bucket that has any.
    pub fn sets(&self, may_go: impl FnMut(&BucketName) -> bool) -> Sets<'p> {
        static NOTHING: Adjustment = Adjustment::NOTHING;
        self.adjusted_sets(&NOTHING, may_go)
    }

    /// The same, less or more what is to be done in order to pay less.
    pub fn adjusted_sets<'s>(
        &self,
        adjustment: &'s Adjustment,
        may_go: impl FnMut(&BucketName) -> bool,
    ) -> Sets<'s>
    where
        'p: 's,
    {
        let Plan {
            keys,
            origin_plans,
            limits,
            min_wildcard_depth,
            ..
        } = self.plan;
        if let [only] = self.origins
            && adjustment.wildcards.is_empty()
            && let Some(paths) =
                origin_plans[only.origin_plan.get()].different_paths(only.list, keys)
        {
            let paths = paths.filter(|(_, key)| !adjustment.left_out.contains(*key));
            return Sets::of_different(paths, keys, *limits);
        }
        let paths = self.needed(adjustment);
        Sets::of_any(paths, keys, (*limits, *min_wildcard_depth), may_go)
    }

    /// All paths that are needed for the target; some may be there twice.
    fn needed<'s>(&self, adjustment: &'s Adjustment) -> Vec<Needed<'s>>
    where
        'p: 's,
    {
        let Plan {
            keys, origin_plans, ..
        } = self.plan;
        let wildcards = adjustment.wildcards.iter().map(|wildcard| Needed {
            path: wildcard.path.clone(),
            key: wildcard.key,
            cause: Some(wildcard.cause),
        });
        let mut paths: Vec<Needed<'s>> = wildcards.collect();
        for origin in self.origins {
            let add = |needed: Needed<'p>| {
                if !adjustment.left_out.contains(needed.key) {
                    paths.push(needed);
                }
            };
            origin_plans[origin.origin_plan.get()].for_each_path(origin.list, keys, add);
        }
        paths
    }

    /// The paths that are submitted for the target: in their order, each once, and none that another one
    /// covers.
    pub fn paths<'s>(&self, adjustment: &'s Adjustment) -> Vec<KeyPath<'s>>
    where
        'p: 's,
    {
        let min_depth = self.plan.min_wildcard_depth;
        let mut needed = self.needed(adjustment);
        needed.retain(|it| !is_too_wide(&it.path, it.cause, min_depth));
        let (mut needed, of_names) = sets::names(needed, self.plan.keys, min_depth);
        needed.extend(of_names.into_iter().flat_map(|(_, of_bucket)| of_bucket));
        let mut paths: Vec<KeyPath<'s>> = Vec::new();
        for it in sets::in_order(needed) {
            match (it.path, paths.last_mut()) {
                (Some(path), _) => paths.push(KeyPath {
                    path,
                    key: it.key,
                    covered: Vec::new(),
                }),
                (None, Some(last)) => last.covered.push(it.key),
                (None, None) => unreachable!("the first path cannot be covered"),
            }
        }
        paths
    }

    /// The bucket of a key.
    pub fn bucket_of(&self, key: KeyIndex) -> &'p BucketName {
        let keys = &self.plan.keys;
        keys.bucket(keys.bucket_of(key))
    }

    /// How many paths are submitted for the changes of each bucket.
    pub fn count_paths(&self, adjustment: &Adjustment) -> BTreeMap<&'p BucketName, u64> {
        let keys = &self.plan.keys;
        let mut counts = BTreeMap::new();
        if let [only] = self.origins
            && adjustment.wildcards.is_empty()
            && let Some(paths) =
                self.plan.origin_plans[only.origin_plan.get()].different_paths(only.list, keys)
        {
            let paths = paths.filter(|(_, key)| !adjustment.left_out.contains(*key));
            let count = paths.count() as u64;
            if count > 0 {
                counts.insert(keys.bucket(only.bucket), count);
            }
            return counts;
        }
        for of_bucket in self
            .paths(adjustment)
            .chunk_by(|a, b| keys.bucket_of(a.key) == keys.bucket_of(b.key))
        {
            let bucket = keys.bucket(keys.bucket_of(of_bucket[0].key));
            *counts.entry(bucket).or_default() += of_bucket.len() as u64;
        }
        counts
    }
}
