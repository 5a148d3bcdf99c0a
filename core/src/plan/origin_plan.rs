//! The decisions on all keys of one bucket below one origin path, for all distributions.
//!
//! Distributions with the same behavior list decide alike, and paths that the same patterns match
//! are decided on alike. So a key only keeps which combination of patterns matches its path, and what a list
//! says is worked out once for each combination, when the paths of a target are made. Nothing is stored per
//! key and distribution, nor per combination and distribution: 500 lists may differ, and each key may have
//! a combination of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::behavior_list::{
    BehaviorList, Finding, ListIndex, ObjectRole, Outcome, PatternPlaces, Ruling,
};
use super::changes::{BucketKeys, KeyChanges, KeyIndex, KeyRange};
use super::interner::Interner;
use super::sets::Needed;
use crate::distributions::{Distribution, Origin};
use crate::event::ChangeKind;
use crate::index::index;
use crate::path::{InvalidationPath, InvalidationPaths, OriginPath, ViewerPath};
use crate::pattern::Wildcards;
use crate::pattern::set::{PatternIndex, PatternSet};

index! {
    /// The place of an [`OriginPlan`] in its plan.
    OriginPlanIndex
}

index! {
    /// The place of a [`Combination`] in its origin plan.
    CombinationIndex
}

/// The decisions for the distributions that serve a bucket from one origin path.
#[derive(Debug)]
pub(super) struct OriginPlan<'a> {
    origin_path: &'a OriginPath,
    lists: Vec<BehaviorList<'a>>,
    pattern_places: PatternPlaces,
    patterns: PatternSet,
    combinations: Vec<Combination>,
    /// For each kind of change, the combinations by the patterns that match.
    known: [HashMap<Arc<[PatternIndex]>, CombinationIndex>; 2],
    /// The keys below the origin path, and the combination of each.
    keys: KeyRange,
    of_keys: Vec<CombinationIndex>,
    /// Whether all of them are [exact](ViewerPath::is_exact).
    are_exact: bool,
    /// The different roles of objects.
    roles: Vec<ObjectRole<'a>>,
    /// The roles of keys, in the order of the keys.
    key_roles: Vec<KeyRole<'a>>,
    /// Whether any list invalidates what has a role, by the place of the role, if this combination decides.
    known_roles: HashMap<(usize, CombinationIndex), bool>,
}

/// The patterns that match some paths, and no others do. All these paths are decided on alike.
#[derive(Debug)]
struct Combination {
    patterns: Arc<[PatternIndex]>,
    kind: ChangeKind,
    outcome: Outcome,
}

/// A key in a role, and the combination of the path that decides for it.
#[derive(Clone, Copy, Debug)]
struct KeyRole<'a> {
    key: KeyIndex,
    role: ObjectRole<'a>,
    combination: CombinationIndex,
}

/// A path at which a key is cached, and what a behavior list says about it.
#[derive(Clone, Debug)]
pub(super) struct FoundPath<'a, 'k> {
    /// None for the key's own path.
    pub role: Option<ObjectRole<'a>>,
    pub finding: Finding,
    /// The path that viewers ask for.
    pub asked: ViewerPath<'k>,
    /// None, unless the path is invalidated.
    pub paths: Option<InvalidationPaths<'k>>,
}

/// Collects the distributions that serve a bucket from one origin path.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    origin_path: &'a OriginPath,
    patterns: Interner<&'a Wildcards>,
    lists: Interner<BehaviorList<'a>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(origin_path: &'a OriginPath) -> Self {
        Self {
            origin_path,
            patterns: Interner::default(),
            lists: Interner::default(),
        }
    }

    /// Adds a distribution; returns which behavior list it has.
    pub(super) fn add(
        &mut self,
        distribution: &'a Distribution,
        origin: &Origin,
        index_document: Option<&'a str>,
        debounce: Duration,
    ) -> ListIndex {
        let patterns = &mut self.patterns;
        let list = BehaviorList::new(distribution, origin, index_document, debounce, patterns);
        ListIndex::new(self.lists.place(list))
    }

    /// A plan for the keys of a bucket, before any decision.
    pub(super) fn build(self, keys: &KeyChanges, bucket: &BucketKeys<'_>) -> OriginPlan<'a> {
        let keys = keys.below(self.origin_path, &bucket.keys);
        let lists = self.lists.into_values();
        let patterns = self.patterns.into_values();
        // In order, so that what is said of a distribution does not depend on the other ones.
        let roles = lists.iter().flat_map(BehaviorList::roles);
        let roles: BTreeSet<ObjectRole<'_>> = roles.copied().collect();
        OriginPlan {
            origin_path: self.origin_path,
            pattern_places: PatternPlaces::new(&lists, patterns.len()),
            lists,
            patterns: PatternSet::new(patterns),
            combinations: Vec::new(),
            known: Default::default(),
            of_keys: Vec::with_capacity(keys.len()),
            keys,
            are_exact: true,
            roles: roles.into_iter().collect(),
            key_roles: Vec::new(),
            known_roles: HashMap::new(),
        }
    }
}

impl<'a> OriginPlan<'a> {
    /// Decides on all keys, and adds what becomes of each to its outcome.
    pub(super) fn decide(&mut self, keys: &KeyChanges, outcomes: &mut [Outcome]) {
        let indices = self.keys.iter();
        for (key, outcome) in indices.zip(self.keys.clone().slice_mut(outcomes)) {
            let kind = keys.get(key).kind;
            let path = self.viewer_path(keys, key);
            let combination = self.combination_of(&path, kind);
            self.of_keys.push(combination);
            self.are_exact &= path.is_exact();
            outcome.add(self.combinations[combination.get()].outcome);
            for role in 0..self.roles.len() {
                outcome.invalidated |= self.decide_on_role(role, key, &path, (kind, combination));
            }
        }
    }

    /// Whether a key is invalidated anywhere for a role, given by its place, if it has that role.
    fn decide_on_role(
        &mut self,
        place: usize,
        key: KeyIndex,
        own: &ViewerPath<'_>,
        (kind, of_own): (ChangeKind, CombinationIndex),
    ) -> bool {
        let role = self.roles[place];
        let Some(path) = role.asked_path(*own) else {
            return false;
        };
        let combination = if role.is_decided_by_own_path() {
            of_own
        } else {
            self.combination_of(&path, kind)
        };
        self.key_roles.push(KeyRole {
            key,
            role,
            combination,
        });
        if let Some(known) = self.known_roles.get(&(place, combination)) {
            return *known;
        }
        let Combination { patterns, kind, .. } = &self.combinations[combination.get()];
        let rulings = self.pattern_places.rulings(patterns, *kind);
        let mut with_role = self
            .lists
            .iter()
            .zip(rulings)
            .filter(|(list, _)| list.has(role));
        let is_invalidated = |ruling| matches!(role.ruling(ruling), Ruling::Invalidate { .. });
        let decided = with_role.any(|(_, ruling)| is_invalidated(ruling));
        self.known_roles.insert((place, combination), decided);
        decided
    }

    /// Whether any name below the origin path may need a wildcard.
    pub(super) fn may_be_rationed(&self) -> bool {
        !self.are_exact
    }

    /// The combination of the patterns that match a path.
    fn combination_of(&mut self, path: &ViewerPath<'_>, kind: ChangeKind) -> CombinationIndex {
        let matching = self.patterns.matching(&path.normalized());
        let known = &mut self.known[kind as usize];
        if let Some(index) = known.get(matching) {
            return *index;
        }
        let index = CombinationIndex::new(self.combinations.len());
        let patterns = Arc::<[PatternIndex]>::from(matching);
        self.combinations.push(Combination {
            outcome: Outcome::of(self.pattern_places.rulings(matching, kind)),
            patterns: Arc::clone(&patterns),
            kind,
        });
        known.insert(patterns, index);
        index
    }

    /// The path of one of `self.keys` below the origin path.
    ///
    /// # Panics
    /// If the key is outside the origin path: [`KeyChanges::below`] would be wrong.
    fn viewer_path<'k>(&self, keys: &'k KeyChanges, key: KeyIndex) -> ViewerPath<'k> {
        match keys.path(key).below(self.origin_path) {
            Some(path) => path,
            None => unreachable!("{key:?} is outside origin path {:?}", self.origin_path),
        }
    }

    /// The paths that clear a key, or what is cached for its role; none if the ruling of the
    /// behavior is to leave it.
    fn invalidation_paths<'k>(
        &self,
        keys: &'k KeyChanges,
        key: KeyIndex,
        role: Option<ObjectRole<'_>>,
        ruling: Ruling,
    ) -> Option<InvalidationPaths<'k>> {
        let ruling = role.map_or(ruling, |role| role.ruling(ruling));
        let Ruling::Invalidate { query_strings } = ruling else {
            return None;
        };
        let asked = self.asked_path(keys, key, role);
        Some(match role {
            None => asked.invalidation_paths(query_strings),
            Some(role) => role.invalidation_paths(asked, query_strings),
        })
    }

    /// The path that viewers ask for when they get a key, or get it in a role.
    ///
    /// # Panics
    /// If the key does not have this role.
    fn asked_path<'k>(
        &self,
        keys: &'k KeyChanges,
        key: KeyIndex,
        role: Option<ObjectRole<'_>>,
    ) -> ViewerPath<'k> {
        let own = self.viewer_path(keys, key);
        match role.map(|role| role.asked_path(own)) {
            None => own,
            Some(Some(path)) => path,
            Some(None) => unreachable!("{key:?} does not have the role {role:?}"),
        }
    }

    /// Calls `add` with the paths that clear the keys from the caches of distributions with this
    /// behavior list. A path may come twice.
    pub(super) fn for_each_path<'k>(
        &self,
        list: ListIndex,
        keys: &'k KeyChanges,
        mut add: impl FnMut(Needed<'k>),
    ) {
        let rulings = self.rulings(list);
        let mut add_paths = |key, role, combination: CombinationIndex| {
            let ruling = rulings[combination.get()];
            if let Some(paths) = self.invalidation_paths(keys, key, role, ruling) {
                for (path, cause) in paths.with_causes() {
                    add(Needed { path, key, cause });
                }
            }
        };
        for (key, combination) in self.keys.iter().zip(&self.of_keys) {
            add_paths(key, None, *combination);
        }
        for of_key in &self.key_roles {
            if self.lists[list.get()].has(of_key.role) {
                add_paths(of_key.key, Some(of_key.role), of_key.combination);
            }
        }
    }

    /// The same paths as [`OriginPlan::for_each_path`], where no two of them can be equal or cover
    /// each other, which is nearly always so. They need not be compared.
    pub(super) fn different_paths<'s>(
        &'s self,
        list: ListIndex,
        keys: &'s KeyChanges,
    ) -> Option<impl Iterator<Item = (InvalidationPath<'s>, KeyIndex)> + 's> {
        let rulings = self.rulings(list);
        let has = |of_key: &KeyRole<'_>| self.lists[list.get()].has(of_key.role);
        let with_query_strings = Ruling::Invalidate {
            query_strings: true,
        };
        let are_different = self.are_exact
            && !self.key_roles.iter().any(has)
            && !rulings.contains(&with_query_strings);
        if !are_different {
            return None;
        }
        let path = move |(key, combination): (KeyIndex, &CombinationIndex)| {
            let paths = self.invalidation_paths(keys, key, None, rulings[combination.get()])?;
            Some((paths.first, key))
        };
        Some(self.keys.iter().zip(&self.of_keys).filter_map(path))
    }

    /// What a behavior list says about a key: about its own path first, then about its roles.
    /// Empty if the key is outside the origin path.
    pub(super) fn findings_for<'k>(
        &self,
        list: ListIndex,
        keys: &'k KeyChanges,
        key: KeyIndex,
    ) -> Vec<FoundPath<'a, 'k>> {
        let Some(place) = self.keys.place_of(key) else {
            return Vec::new();
        };
        let begin = self.key_roles.partition_point(|it| it.key < key);
        let roles = self.key_roles[begin..].iter();
        let roles = roles.take_while(|it| it.key == key);
        let roles = roles.filter(|it| self.lists[list.get()].has(it.role));
        let roles = roles.map(|it| (Some(it.role), it.combination));
        let own = (None, self.of_keys[place]);
        let all = std::iter::once(own).chain(roles);
        all.map(|(role, combination)| {
            let Combination { patterns, kind, .. } = &self.combinations[combination.get()];
            let finding = self.lists[list.get()].finding(patterns, *kind);
            FoundPath {
                role,
                finding,
                asked: self.asked_path(keys, key, role),
                paths: self.invalidation_paths(keys, key, role, finding.ruling),
            }
        })
        .collect()
    }

    /// The rulings of a behavior list, in the order of the combinations.
    fn rulings(&self, list: ListIndex) -> Vec<Ruling> {
        let combinations = self.combinations.iter();
        let paths = combinations.map(|it| (&*it.patterns, it.kind));
        self.lists[list.get()].rulings(self.pattern_places.patterns(), paths)
    }
}
