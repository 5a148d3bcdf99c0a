//! Changes and distributions in, sets of paths out. Pure: no client, no clock, no randomness.
//!
//! For a change to key K of bucket B, and each origin of a distribution that is B: K below the
//! origin path is the viewer path V. The behavior that takes V must send it to that origin, and
//! must cache, unless the object was deleted: with TTL 0 CloudFront may still hold the error page
//! of a missing object.
//!
//! * [`changes`]: changes in, one entry a key out
//! * [`decision`]: what a distribution makes of one key, with the reason
//! * [`behaviors`]: what a distribution decides by, in a form that many share
//! * [`rules`]: what planning goes by
//! * [`interner`]: gives equal values the same small index
//! * [`origin_plan`]: what all distributions make of all keys of a bucket, fast
//! * [`sets`]: paths, cut into sets

mod behaviors;
mod changes;
mod decision;
mod interner;
mod origin_plan;
mod rules;
mod sets;

use std::collections::HashMap;

use serde::Serialize;

use crate::distributions::Distribution;
use crate::event::BucketName;
use crate::path::OriginPath;
use crate::target::Target;
use behaviors::Outcome;
use origin_plan::{Builder, OriginPlan};

pub use changes::{Changes, KeyChange, KeyChanges, TooMany};
pub use decision::{Decision, Skip, Verdict, explain};
pub use rules::{DEFAULT_INDEX_DOCUMENT, Rules};
pub use sets::{PathSet, SetLimits, Sets};

/// Invalidations to make.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What became of the keys.
    pub counts: Counts,
    /// The keys.
    pub keys: &'a KeyChanges,
    origin_plans: Vec<OriginPlan<'a>>,
    served: Vec<Served<'a>>,
    limits: SetLimits,
}

/// A distribution in service, and the origins it serves the buckets from.
#[derive(Debug)]
struct Served<'a> {
    distribution: &'a Distribution,
    origins: Vec<Place>,
}

/// Which origin plan an origin belongs to, and which of its lists of behaviors decide there.
#[derive(Clone, Copy, Debug)]
struct Place {
    origin_plan: usize,
    behaviors: usize,
}

/// The part of a plan that is for one target.
#[derive(Clone, Copy, Debug)]
pub struct TargetPlan<'p> {
    /// The distribution or tenant.
    pub target: &'p Target,
    plan: &'p Plan<'p>,
    origins: &'p [Place],
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

impl Counts {
    /// Adds what became of other keys.
    pub fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.unmatched += other.unmatched;
        self.not_cached += other.not_cached;
    }
}

/// Plans the invalidations for these changes.
pub fn plan<'a>(keys: &'a KeyChanges, rules: &Rules<'a>) -> Plan<'a> {
    let mut outcomes = vec![Outcome::default(); keys.len()];
    let mut origin_plans = Vec::new();
    let mut served: Vec<Served<'a>> = rules
        .distributions
        .iter()
        .filter(|distribution| distribution.is_in_service())
        .map(|distribution| Served {
            distribution,
            origins: Vec::new(),
        })
        .collect();
    for (bucket, of_bucket) in keys.by_bucket() {
        for builder in serve(bucket, rules, &mut served, origin_plans.len()) {
            let mut origin_plan = builder.build(keys, of_bucket.clone());
            origin_plan.decide(keys, &mut outcomes);
            origin_plans.push(origin_plan);
        }
    }
    Plan {
        counts: Counts::of(&outcomes),
        keys,
        origin_plans,
        served,
        limits: rules.limits,
    }
}

/// Finds the origins that are a bucket, and puts those with the same origin path together: each
/// makes one origin plan, the first of them with the number `first`.
fn serve<'a>(
    bucket: &BucketName,
    rules: &Rules<'a>,
    served: &mut [Served<'a>],
    first: usize,
) -> Vec<Builder<'a>> {
    let mut builders: Vec<Builder<'a>> = Vec::new();
    let mut by_path: HashMap<&OriginPath, usize> = HashMap::new();
    for Served {
        distribution,
        origins,
    } in served
    {
        for (origin, is_website) in distribution.origins_of(bucket.as_str(), rules.origin_buckets) {
            let number = *by_path.entry(&origin.path).or_insert(builders.len());
            if number == builders.len() {
                builders.push(Builder::new(&origin.path));
            }
            let index_document = rules.index_document(bucket, is_website);
            origins.push(Place {
                origin_plan: first + number,
                behaviors: builders[number].add(distribution, origin, index_document),
            });
        }
    }
    builders
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
                plan: self,
                origins: &served.origins,
            })
        })
    }
}

impl<'p> TargetPlan<'p> {
    /// The sets for the target, to be submitted in this order; there may be none.
    pub fn sets(&self) -> Sets<'p> {
        let Plan {
            keys,
            origin_plans,
            limits,
            ..
        } = self.plan;
        if let [only] = self.origins
            && let Some(paths) =
                origin_plans[only.origin_plan].different_paths(only.behaviors, keys)
        {
            return Sets::of_different(paths, keys, *limits);
        }
        let mut paths = Vec::new();
        for place in self.origins {
            let add = |path, key| paths.push((path, key));
            origin_plans[place.origin_plan].for_each_path(place.behaviors, keys, add);
        }
        Sets::of_any(paths, keys, *limits)
    }
}
