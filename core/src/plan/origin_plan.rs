//! What all distributions make of the keys of one bucket at one origin path.
//!
//! Distributions with the same behaviors decide alike, and on paths that the same patterns match
//! they decide alike too. So each list of behaviors is there once, a path is only asked which
//! patterns match it, and what follows from these is worked out the first time. A key keeps the
//! number of that ruling, and nothing is written for each key and distribution.

use std::collections::HashMap;
use std::ops::Range;

use super::behaviors::{Behaviors, ByPattern, Name, Outcome, Ruling};
use super::changes::KeyChanges;
use super::interner::Interner;
use crate::distributions::{Distribution, Origin};
use crate::event::ChangeKind;
use crate::path::{InvalidationPath, OriginPath, ViewerPath};
use crate::pattern::Wildcards;
use crate::pattern::set::PatternSet;

/// The distributions that serve a bucket from one origin path.
#[derive(Debug)]
pub(super) struct OriginPlan<'a> {
    origin_path: &'a OriginPath,
    behaviors: Vec<Behaviors<'a>>,
    by_pattern: ByPattern,
    patterns: PatternSet,
    rulings: Vec<Ruling>,
    /// For each kind of change the rulings by what they follow from, the patterns that match.
    known_rulings: [HashMap<Box<[u32]>, u32>; 2],
    /// The keys below the origin path, and which ruling each has.
    keys: Range<usize>,
    of_keys: Vec<u32>,
    /// Whether all of them are [exact](ViewerPath::is_exact).
    are_exact: bool,
    /// Under what names some of them are cached at another path too.
    names: Vec<Name<'a>>,
    further_paths: Vec<FurtherPath<'a>>,
}

/// A key's own path, and the ruling on it.
struct Decided<'a> {
    path: ViewerPath<'a>,
    kind: ChangeKind,
    ruling: u32,
}

/// A path at which a key is cached beside its own.
#[derive(Debug)]
struct FurtherPath<'a> {
    key: usize,
    ruling: u32,
    name: Name<'a>,
}

/// Gathers the distributions that serve a bucket from one origin path.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    origin_path: &'a OriginPath,
    patterns: Interner<&'a Wildcards>,
    behaviors: Interner<Behaviors<'a>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(origin_path: &'a OriginPath) -> Self {
        Self {
            origin_path,
            patterns: Interner::default(),
            behaviors: Interner::default(),
        }
    }

    /// Adds a distribution; returns which of the lists of behaviors it has.
    pub(super) fn add(
        &mut self,
        distribution: &'a Distribution,
        origin: &Origin,
        index_document: Option<&'a str>,
    ) -> usize {
        let patterns = &mut self.patterns;
        let behaviors = Behaviors::new(distribution, origin, index_document, patterns);
        self.behaviors.index(behaviors) as usize
    }

    /// To decide on the keys of a bucket.
    pub(super) fn build(self, keys: &KeyChanges, of_bucket: Range<usize>) -> OriginPlan<'a> {
        let keys = keys.below(self.origin_path, of_bucket);
        let behaviors = self.behaviors.values;
        let mut names = Vec::new();
        for name in behaviors.iter().flat_map(Behaviors::names) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        OriginPlan {
            origin_path: self.origin_path,
            by_pattern: ByPattern::new(&behaviors, self.patterns.values.len()),
            behaviors,
            patterns: PatternSet::new(self.patterns.values),
            rulings: Vec::new(),
            known_rulings: Default::default(),
            of_keys: Vec::with_capacity(keys.len()),
            keys,
            are_exact: true,
            names,
            further_paths: Vec::new(),
        }
    }
}

impl<'a> OriginPlan<'a> {
    /// Decides on all keys, and adds what becomes of each to its outcome.
    pub(super) fn decide(&mut self, keys: &KeyChanges, outcomes: &mut [Outcome]) {
        let indices = self.keys.clone();
        let outcomes = outcomes.get_mut(indices.clone()).unwrap_or_default();
        for (index, outcome) in indices.zip(outcomes) {
            // All of them are below the origin path.
            let Some(key) = keys.get(index) else { break };
            let Some(path) = key.path.below(self.origin_path) else {
                break;
            };
            let ruling = self.ruling(&path, key.kind);
            self.of_keys.push(ruling);
            self.are_exact &= path.is_exact();
            outcome.add(self.rulings[ruling as usize].outcome);
            let kind = key.kind;
            let own = Decided { path, kind, ruling };
            for name in 0..self.names.len() {
                outcome.invalidated |= self.decide_on_name(self.names[name], index, &own);
            }
        }
    }

    /// Whether the further path that a name makes of a key's own is invalidated anywhere.
    fn decide_on_name(&mut self, name: Name<'a>, key: usize, own: &Decided<'_>) -> bool {
        let Some(path) = name.path(own.path) else {
            return false;
        };
        // The default root object takes the place of `/` before a behavior is looked for. A viewer
        // who asks for a folder is answered by the behavior that takes the folder's path.
        let ruling = match name {
            Name::RootObject(_) => own.ruling,
            Name::IndexDocument(_) => self.ruling(&path, own.kind),
        };
        self.further_paths.push(FurtherPath { key, ruling, name });
        let of_ruling = &self.rulings[ruling as usize];
        let mut behaviors = self.behaviors.iter().enumerate();
        behaviors.any(|(index, behaviors)| {
            behaviors.has(name) && of_ruling.query_strings(index).is_some()
        })
    }

    /// The number of the ruling on a path.
    fn ruling(&mut self, path: &ViewerPath<'_>, kind: ChangeKind) -> u32 {
        let matching = self.patterns.matching(&path.normalized());
        let known_rulings = &mut self.known_rulings[kind as usize];
        if let Some(number) = known_rulings.get(matching) {
            return *number;
        }
        let number = self.rulings.len() as u32;
        let ruling = Ruling::new(&self.by_pattern, matching, kind);
        self.rulings.push(ruling);
        known_rulings.insert(matching.into(), number);
        number
    }

    /// Hands `add` the paths that clear the keys from the caches of distributions with these
    /// behaviors, each with the index of its key. A path may come twice.
    pub(super) fn for_each_path<'k>(
        &self,
        behaviors: usize,
        keys: &'k KeyChanges,
        mut add: impl FnMut(InvalidationPath<'k>, usize),
    ) {
        let query_strings = self.query_strings(behaviors);
        let mut add_paths = |key: usize, ruling: u32, name: Option<Name<'_>>| {
            let query_strings = query_strings.get(ruling as usize).copied().flatten()?;
            let own = keys.path(key)?.below(self.origin_path)?;
            let path = match name {
                None => own,
                Some(name) => name.path(own)?,
            };
            let paths = path.invalidation_paths(query_strings);
            paths.for_each(|path| add(path, key));
            Some(())
        };
        for (key, ruling) in self.keys.clone().zip(&self.of_keys) {
            add_paths(key, *ruling, None);
        }
        for further in &self.further_paths {
            if self.behaviors[behaviors].has(further.name) {
                add_paths(further.key, further.ruling, Some(further.name));
            }
        }
    }

    /// The same paths as [`OriginPlan::for_each_path`] has, each once and none covered by another, where
    /// the paths are the keys and nothing else, and so need not be compared: nearly everywhere.
    pub(super) fn different_paths<'s>(
        &'s self,
        behaviors: usize,
        keys: &'s KeyChanges,
    ) -> Option<impl Iterator<Item = (InvalidationPath<'s>, usize)> + 's> {
        let query_strings = self.query_strings(behaviors);
        let has = |further: &FurtherPath<'_>| self.behaviors[behaviors].has(further.name);
        let are_keys = self.are_exact
            && !self.further_paths.iter().any(has)
            && !query_strings.contains(&Some(true));
        if !are_keys {
            return None;
        }
        let path = move |(key, ruling): (usize, &u32)| {
            let query_strings = query_strings.get(*ruling as usize).copied().flatten()?;
            let path = keys.path(key)?.below(self.origin_path)?;
            Some((path.invalidation_paths(query_strings).next()?, key))
        };
        Some(self.keys.clone().zip(&self.of_keys).filter_map(path))
    }

    /// For each ruling whether a path is invalidated for these behaviors, and if so, whether with
    /// query strings.
    fn query_strings(&self, behaviors: usize) -> Vec<Option<bool>> {
        let rulings = self.rulings.iter();
        rulings
            .map(|ruling| ruling.query_strings(behaviors))
            .collect()
    }
}
