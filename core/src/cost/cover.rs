//! The cheapest cover: paths and wildcards that clear all paths of a set, at the least price.
//!
//! The price of a cover is that of its paths, and of the other keys that its wildcards clear, which viewers
//! may fetch again ([`super::price`]). Of all covers that the limits allow, this finds the cheapest one.
//!
//! # When a wildcard is allowed
//!
//! * Nothing below it may be cached from an origin other than S3 ([`super::bars`]), and it must be as deep
//!   as the operator wants it.
//! * In `balanced` it clears at most [10,000 other keys](super::limits::MOST_OTHERS).
//! * It must not be late. CloudFront takes one wildcard a second and 150 paths. So one of these must hold:
//!   it is the only new wildcard; at most ten wildcards wait for the target with those of the set; or each
//!   new wildcard replaces at least 150 paths, or another wildcard, and so takes no longer than what it
//!   replaces. At most 60 new ones wait for a target; if more wait already, a new one may replace only
//!   wildcards. The new ones are sent before those of the set that stay. So no path is more than 60 s later
//!   than it would be without the cover.
//!
//! # What is promised
//!
//! * A cover never has more paths than the set, nor a higher price: the set itself is a cover.
//! * Where `/*` is allowed, a cover never has a higher price than `/*`, because that is a cover, too. So its
//!   paths alone never cost more than `/*` and what is fetched again after it. On a site where that is less
//!   than the price of a path, which is up to 833 other keys without Origin Shield, this means one path for
//!   each flush and target. On a larger site there may be more paths, but only where they cost less than
//!   fetching everything again.
//! * In `balanced` a `/*` that would clear more than 10,000 other keys is not allowed, whatever it
//!   saves. In `frugal`, and above a spending limit, it is.

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;

use super::amount::{NanoUsd, Of};
use super::choose::{Choice, Most, choose};
use super::folders::{FolderIndex, Folders, Others};
use super::limits::{FEW_WILDCARDS, Limits, MOST_WILDCARDS};
use super::price::PATH;
use crate::path::InvalidationPath;

/// What a set of paths is replaced with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover<'p> {
    /// The new wildcards, in the order of the paths that they replace. They are to be sent before the
    /// wildcards that stay.
    pub wildcards: Vec<Wildcard<'p>>,
    /// How many paths the set had.
    of: usize,
}

/// A wildcard that replaces paths of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard<'p> {
    /// Everything below this folder is cleared. Encoded, with its trailing slash.
    pub folder: &'p str,
    /// Which paths of the set it replaces, in their order.
    pub replaces: Range<usize>,
    /// What else it clears.
    pub others: Others,
}

/// The cheapest cover of a set that these limits allow.
pub fn cheapest_cover<'p>(folders: &Folders<'p>, limits: &Limits) -> Cover<'p> {
    let others = folders.others(limits.refetch);
    let choice = best(folders, limits, &others);
    let mut chosen = choice.folders;
    // They are in the order of their last paths, and not below each other.
    chosen.sort_unstable();
    let wildcards = chosen.into_iter().map(|folder| {
        let index = FolderIndex::new(folder);
        Wildcard {
            folder: folders.path(index),
            replaces: folders.range(index),
            others: others[folder].0,
        }
    });
    Cover {
        wildcards: wildcards.collect(),
        of: folders.paths(),
    }
}

/// The best choice of any of the three ways not to be late.
fn best(folders: &Folders<'_>, limits: &Limits, others: &[(Others, u64)]) -> Choice {
    let gain = |folder: usize| -> Option<i64> {
        let (others, found) = others[folder];
        let is_sparing = limits.others.is_none_or(|most| found <= most);
        let is_allowed = is_sparing && folders.is_allowed(folder, limits);
        is_allowed.then(|| gain(folders.count(folder), others.price))
    };
    let room = MOST_WILDCARDS.saturating_sub(limits.waiting);
    let (most, new) = match room {
        0 => (MOST_WILDCARDS, NewWildcards::InsteadOfWildcards),
        _ => (room, NewWildcards::Large),
    };
    let of_kind = |kind: NewWildcards| {
        let is_of_kind = move |folder: &usize| kind.includes(folders, *folder);
        move |folder: usize| Some(folder).filter(is_of_kind).and_then(gain)
    };
    let few = FEW_WILDCARDS.saturating_sub(limits.waiting);
    let alone = (room > 0).then(|| choose(folders, Most::new(1), gain));
    let few = (few > 1).then(|| choose(folders, Most::with_kept(few), gain));
    let large = choose(folders, Most::new(most), of_kind(new));
    let ways = [alone.flatten(), few.flatten(), large];
    // Of two that gain as much, the one with fewer wildcards.
    let ways = ways.into_iter().flatten();
    let best = ways.max_by_key(|way| (way.gain, Reverse(way.folders.len())));
    best.unwrap_or_default()
}

/// Which folders may have a wildcard, beside one alone or a few.
#[derive(Clone, Copy)]
enum NewWildcards {
    /// Those with enough paths, or with a wildcard.
    Large,
    /// Those with nothing but wildcards.
    InsteadOfWildcards,
}

impl NewWildcards {
    fn includes(self, folders: &Folders<'_>, folder: usize) -> bool {
        match self {
            Self::Large => folders.is_large(folder),
            Self::InsteadOfWildcards => folders.wildcards(folder) == folders.count(folder),
        }
    }
}

/// What a wildcard gains that replaces so many paths.
fn gain(paths: u64, refetches: NanoUsd) -> i64 {
    // At most 36 million USD, so that sums stay in range.
    let signed = |amount: NanoUsd| i64::try_from(amount.get()).unwrap_or(i64::MAX).min(1 << 55);
    signed(PATH.amount * (paths - 1)) - signed(refetches)
}

impl<'p> Cover<'p> {
    /// The paths as they are.
    pub fn of_itself(paths: usize) -> Self {
        Self {
            wildcards: Vec::new(),
            of: paths,
        }
    }

    /// How many paths it has.
    pub fn paths(&self) -> u64 {
        self.of as u64 - self.saved_paths()
    }

    /// How many paths fewer than the set.
    pub fn saved_paths(&self) -> u64 {
        self.wildcards.iter().map(Wildcard::saved_paths).sum()
    }

    /// What these paths would cost.
    pub fn saved(&self) -> NanoUsd {
        PATH.amount * self.saved_paths()
    }

    /// What it costs at most to fetch again what else is cleared.
    pub fn refetches(&self) -> NanoUsd {
        self.wildcards.iter().map(|it| it.others.price).sum()
    }

    /// Its price: of its paths, and of what is fetched again.
    pub fn price(&self) -> NanoUsd {
        PATH.amount * self.paths() + self.refetches()
    }

    /// The paths of the set that stay, in their order.
    pub fn kept(&self) -> impl Iterator<Item = usize> {
        let ends = self.wildcards.iter().map(|it| it.replaces.start);
        let ends = ends.chain([self.of]);
        let starts = self.wildcards.iter().map(|it| it.replaces.end);
        let starts = std::iter::once(0).chain(starts);
        starts.zip(ends).flat_map(|(start, end)| start..end)
    }

    /// The wildcard that replaces a path of the set, if one does.
    pub fn replaced_by(&self, place: usize) -> Option<&Wildcard<'p>> {
        let after = self
            .wildcards
            .partition_point(|it| it.replaces.end <= place);
        let wildcard = self.wildcards.get(after);
        wildcard.filter(|it| it.replaces.contains(&place))
    }
}

impl Wildcard<'_> {
    /// The path to invalidate: `/img/*`.
    pub fn path(&self) -> InvalidationPath<'static> {
        InvalidationPath::all_below(self.folder)
    }

    /// Whether it clears the whole distribution.
    pub fn is_everything(&self) -> bool {
        self.folder == "/"
    }

    /// How many paths fewer are paid for.
    pub fn saved_paths(&self) -> u64 {
        self.replaces.len() as u64 - 1
    }
}

/// `collapsed 1,204 paths into /img/*: saves 6.015 USD, 310 other keys are fetched again (0.002 USD)`
impl fmt::Display for Wildcard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replaced = Of(self.replaces.len() as u64, "path");
        let whole = match self.is_everything() {
            true => " (the whole distribution)",
            false => "",
        };
        let saved = PATH.amount * self.saved_paths();
        write!(
            f,
            "collapsed {replaced} into {}{whole}: saves {saved}, {}",
            self.path(),
            self.others
        )
    }
}
