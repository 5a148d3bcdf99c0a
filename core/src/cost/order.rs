//! What a flush orders for each target: which paths are left out, which wildcards replace others, and which
//! changes wait. The decisions are those of [`super::collapse`] and [`super::cover`]; here they are applied to
//! a plan.
//!
//! A bucket is the unit of a decision, because a flooded bucket must not take what the others need. A key
//! waits as a whole, with all its paths.

use std::collections::{BTreeMap, BTreeSet};

use super::account::Account;
use super::collapse::{Admission, CostRules, Decision, LimitReached, Want, admit, decide_with};
use super::cover::Cover;
use super::ledger::Terms;
use super::limits::Limits;
use crate::event::BucketName;
use crate::path::{InvalidationPath, WildcardCause};
use crate::plan::{Adjustment, KeyIndex, KeyPath, KeySet, NewWildcard, TargetPlan};

/// What a flush orders.
#[derive(Debug)]
pub struct Order<'p> {
    /// For each target.
    pub targets: Vec<TargetOrder<'p>>,
    decisions: BTreeMap<&'p BucketName, Decision>,
    had: BTreeMap<BucketName, u64>,
}

/// What a flush orders for one target.
#[derive(Debug)]
pub struct TargetOrder<'p> {
    /// The plan for the target.
    pub plan: TargetPlan<'p>,
    /// What is done about its paths.
    pub adjustment: Adjustment,
    /// The keys whose changes wait.
    pub held: KeySet,
    /// Under which terms the target may be trusted once it has accepted what is ordered, if that is a `/*`.
    pub trust: Option<Terms>,
    counts: BTreeMap<&'p BucketName, u64>,
}

/// A bucket whose changes wait, at least in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The bucket.
    pub bucket: BucketName,
    /// The limit.
    pub reached: LimitReached,
    /// How many paths wait.
    pub paths: u64,
}

impl<'p> TargetOrder<'p> {
    /// All paths of a target, less those of keys that are skipped.
    pub fn new(plan: TargetPlan<'p>, skipped: KeySet) -> Self {
        let adjustment = Adjustment {
            left_out: skipped,
            wildcards: Vec::new(),
        };
        Self {
            counts: plan.count_paths(&adjustment),
            plan,
            adjustment,
            held: KeySet::new(),
            trust: None,
        }
    }

    /// Orders a `/*` for the target, after which it may be trusted under these terms. It is reserved
    /// elsewhere, and replaces all paths.
    pub fn ask_for_trust(&mut self, terms: Terms, key: KeyIndex) {
        self.trust = Some(terms);
        self.counts.clear();
        self.adjustment.wildcards.push(NewWildcard {
            path: InvalidationPath::all_below("/"),
            key,
            cause: WildcardCause::Trust,
        });
    }

    /// How many paths are ordered. A `/*` for trust is not counted.
    pub fn paths(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The paths of some buckets.
    pub fn paths_of(&self, is_meant: impl Fn(&BucketName) -> bool) -> Vec<KeyPath<'_>> {
        let mut paths = self.plan.paths(&self.adjustment);
        paths.retain(|it| is_meant(self.plan.bucket_of(it.key)));
        paths
    }

    /// Takes the wildcards of a cover of some of its paths. Returns how many paths that saves.
    pub fn add_wildcards(&mut self, wildcards: Vec<NewWildcard>) -> u64 {
        let before = self.paths();
        if wildcards.is_empty() {
            return 0;
        }
        self.adjustment.wildcards.extend(wildcards);
        self.counts = self.plan.count_paths(&self.adjustment);
        before.saturating_sub(self.paths())
    }

    /// Lets keys wait whose paths do not all fit into what is left of their buckets.
    fn hold(
        &mut self,
        left: &mut BTreeMap<&'p BucketName, u64>,
        held: &mut BTreeMap<&'p BucketName, u64>,
    ) {
        let paths = self.plan.paths(&self.adjustment);
        let new: Vec<bool> = paths.iter().map(|it| self.is_new(&it.path)).collect();
        let mut taken = vec![false; paths.len()];
        let mut waiting = KeySet::new();
        let of_keys = by_key(&paths);
        // First what new wildcards stand for: each is worth more than a path.
        for of_new in [true, false] {
            for of_key in of_keys.chunk_by(|(a, _), (b, _)| a == b) {
                if of_key.iter().any(|(_, path)| new[*path]) != of_new {
                    continue;
                }
                let key = of_key[0].0;
                let left = left.entry(self.plan.bucket_of(key)).or_default();
                let missing = of_key.iter().filter(|(_, path)| !taken[*path]).count() as u64;
                if missing > *left {
                    waiting.insert(key);
                    continue;
                }
                *left -= missing;
                of_key.iter().for_each(|(_, path)| taken[*path] = true);
            }
        }
        let mut dropped = BTreeSet::new();
        for (place, path) in paths.iter().enumerate().filter(|(place, _)| !taken[*place]) {
            *held.entry(self.plan.bucket_of(path.key)).or_default() += 1;
            if new[place] {
                dropped.insert(path.path.as_str().to_owned());
            }
        }
        self.adjustment
            .wildcards
            .retain(|it| !dropped.contains(it.path.as_str()));
        self.adjustment.left_out.add(&waiting);
        self.held = waiting;
        self.counts = self.plan.count_paths(&self.adjustment);
    }

    /// Whether a path is one of the new wildcards.
    fn is_new(&self, path: &InvalidationPath<'_>) -> bool {
        self.adjustment.wildcards.iter().any(|it| it.path == *path)
    }
}

/// Each key with the places of its paths, in the order of the keys.
fn by_key(paths: &[KeyPath<'_>]) -> Vec<(KeyIndex, usize)> {
    let of_path = |(place, path): (usize, &KeyPath<'_>)| {
        let keys = [path.key].into_iter().chain(path.covered.iter().copied());
        keys.map(|key| (key, place)).collect::<Vec<_>>()
    };
    let mut of_keys: Vec<_> = paths.iter().enumerate().flat_map(of_path).collect();
    of_keys.sort_unstable();
    of_keys.dedup();
    of_keys
}

impl<'p> Order<'p> {
    /// All that the targets need. `had` is what buckets have ordered in this hour.
    pub fn new(targets: Vec<TargetOrder<'p>>, had: BTreeMap<BucketName, u64>) -> Self {
        Self {
            had,
            targets,
            decisions: BTreeMap::new(),
        }
    }

    /// How many paths are ordered for all targets.
    pub fn paths(&self) -> u64 {
        self.targets.iter().map(TargetOrder::paths).sum()
    }

    /// How many paths are ordered for each bucket.
    pub fn wants(&self) -> BTreeMap<&'p BucketName, u64> {
        let mut wants = BTreeMap::new();
        for (bucket, count) in self.targets.iter().flat_map(|it| &it.counts) {
            *wants.entry(*bucket).or_default() += count;
        }
        wants
    }

    fn with_had(&self, wants: &BTreeMap<&'p BucketName, u64>) -> Vec<Want> {
        let wants = wants.iter().map(|(bucket, paths)| Want {
            paths: *paths,
            had: self.had.get(*bucket).copied().unwrap_or(0),
        });
        wants.collect()
    }

    /// Decides for each bucket whether its paths are exact or covered. If the ledger cannot be read, `least` is what is
    /// known to be spent.
    pub fn decide(
        &mut self,
        rules: &CostRules,
        account: Option<&Account>,
        least: Option<&Account>,
    ) {
        let wants = self.wants();
        let decisions = decide_with(rules, account, least, &self.with_had(&wants));
        self.decisions = wants.into_keys().zip(decisions).collect();
    }

    /// What was decided for each bucket.
    pub fn decisions(&self) -> impl Iterator<Item = (&'p BucketName, &Decision)> {
        self.decisions
            .iter()
            .map(|(bucket, decision)| (*bucket, decision))
    }

    /// The targets of which some paths are to be covered: their places, and the limits.
    pub fn to_cover(&self, rules: &CostRules) -> Vec<(usize, Limits)> {
        let targets = self.targets.iter().enumerate();
        let limits = targets.map(|(place, target)| {
            let decisions = target.counts.keys().filter_map(|it| self.decisions.get(it));
            // The limits of `frugal` are the wider ones.
            let limits = decisions.filter_map(|it| it.cover_limits(rules.mode));
            (place, limits.max_by_key(|limits| limits.others.is_none()))
        });
        limits
            .filter_map(|(place, limits)| Some((place, limits?)))
            .collect()
    }

    /// The paths of a target that are to be covered.
    pub fn paths_to_cover(&self, place: usize) -> Vec<KeyPath<'_>> {
        let is_covered = |bucket: &BucketName| {
            let decision = self.decisions.get(bucket);
            matches!(decision, Some(Decision::Cover(_)))
        };
        self.targets[place].paths_of(is_covered)
    }

    /// Lets changes wait that the spending limits do not allow now. Returns of which buckets.
    pub fn admit(&mut self, rules: &CostRules, account: Option<&Account>) -> Vec<Held> {
        let wants = self.wants();
        let with_had = self.with_had(&wants);
        let admissions: BTreeMap<&BucketName, Admission> = wants
            .into_keys()
            .zip(admit(rules, account, &with_had))
            .collect();
        if admissions.values().all(|it| it.reached.is_none()) {
            return Vec::new();
        }
        let left = admissions.iter().map(|(bucket, it)| (*bucket, it.paths));
        let mut left = left.collect();
        let mut held = BTreeMap::new();
        for target in self.targets.iter_mut().filter(|it| it.trust.is_none()) {
            target.hold(&mut left, &mut held);
        }
        let held = held.into_iter().filter_map(|(bucket, paths)| {
            let reached = admissions.get(bucket)?.reached?;
            Some(Held {
                bucket: bucket.clone(),
                reached,
                paths,
            })
        });
        held.collect()
    }
}

/// The wildcards of a cover, as a plan takes them. `paths` are those that it is a cover of.
pub fn new_wildcards(cover: &Cover<'_>, paths: &[KeyPath<'_>]) -> Vec<NewWildcard> {
    let wildcards = cover.wildcards.iter().map(|wildcard| NewWildcard {
        path: wildcard.path(),
        key: paths[wildcard.replaces.start].key,
        cause: WildcardCause::Collapsed,
    });
    wildcards.collect()
}
