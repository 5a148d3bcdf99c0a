//! What a replay would submit, and what came of it: as text and as JSON.

use invalidator_core::cost::amount::Of;
use invalidator_core::cost::price;
use invalidator_core::path::{InvalidationPath, Reach};
use invalidator_core::set::Lane;
use invalidator_core::text::Lines;
use serde::Serialize;

use super::before::Before;
use super::sets::Replay;
use super::wait::Outcome;

/// How many wildcards, and how many other paths, are shown of each target.
const MAX_SHOWN: usize = 10;

/// The version of the JSON.
const VERSION: u32 = 1;

/// A replay as JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    v: u32,
    /// The account.
    pub account: String,
    /// Files that were submitted before.
    pub before: Vec<Before>,
    /// What cannot be replayed.
    pub problems: Vec<String>,
    targets: Vec<OfTarget>,
    paths: usize,
    sets: usize,
    /// What the paths cost at most.
    usd_at_most: f64,
    /// Whether the sets are in SubmitQueue, or were submitted from here.
    pub is_submitted: bool,
}

#[derive(Debug, Serialize)]
struct OfTarget {
    target: String,
    alias: String,
    files: Vec<String>,
    paths: usize,
    wildcards: usize,
    sets: usize,
    /// What came of it, if somebody waited for that.
    outcome: Option<Outcome>,
}

impl Report {
    /// What would be submitted.
    pub fn of(account: &str, replays: &[Replay]) -> Self {
        let (paths, sets) = totals(replays);
        Self {
            v: VERSION,
            account: account.to_owned(),
            before: Vec::new(),
            problems: Vec::new(),
            targets: replays.iter().map(OfTarget::of).collect(),
            paths,
            sets,
            usd_at_most: price::PATH.amount.times(paths as u64).get() as f64 / 1e9,
            is_submitted: false,
        }
    }

    /// Adds what came of each target, in their order.
    pub fn add(&mut self, outcomes: Vec<Outcome>) {
        for (target, outcome) in self.targets.iter_mut().zip(outcomes) {
            target.outcome = Some(outcome);
        }
    }
}

impl OfTarget {
    fn of(replay: &Replay) -> Self {
        let is_wildcard = |path: &&InvalidationPath<'_>| Lane::of(path) == Lane::Wildcards;
        Self {
            target: replay.target.id().to_owned(),
            alias: replay.alias.clone(),
            files: replay.places.iter().map(|it| it.name.clone()).collect(),
            paths: replay.paths().count(),
            wildcards: replay.paths().filter(is_wildcard).count(),
            sets: replay.sets.len(),
            outcome: None,
        }
    }
}

/// How many paths and sets.
pub fn totals(replays: &[Replay]) -> (usize, usize) {
    let paths = replays.iter().map(|replay| replay.paths().count()).sum();
    (paths, replays.iter().map(|replay| replay.sets.len()).sum())
}

/// What would be submitted, wildcards first, the widest of them at the top.
pub fn summary(replays: &[Replay]) -> Lines {
    let mut lines = Lines::new();
    for replay in replays {
        add_target(&mut lines, replay);
    }
    let (paths, sets) = totals(replays);
    lines.line(format_args!(
        "in all {} for {} in {}, at most {}",
        count(paths, "path"),
        count(replays.len(), "target"),
        count(sets, "set"),
        price::PATH.amount.times(paths as u64)
    ));
    lines
}

fn add_target(lines: &mut Lines, replay: &Replay) {
    let (mut wildcards, plain): (Vec<_>, Vec<_>) = replay
        .paths()
        .partition(|path| Lane::of(path) == Lane::Wildcards);
    wildcards.sort_by_key(|path| path.as_str().len());
    let of_them = match wildcards.len() {
        0 => String::new(),
        wildcards => format!(", of them {}", count(wildcards, "wildcard")),
    };
    let paths = count(wildcards.len() + plain.len(), "path");
    let files = count(replay.places.len(), "file");
    let Replay { target, alias, .. } = replay;
    lines.line(format_args!(
        "{target} ({alias}): {paths} of {files}{of_them}"
    ));
    if !replay.hosts.is_empty() {
        let hosts: Vec<&str> = replay.hosts.iter().map(String::as_str).collect();
        lines.line(format_args!("  (some were URLs of {})", hosts.join(", ")));
    }
    let what = match target.tenant {
        None => "distribution",
        Some(_) => "tenant",
    };
    for path in wildcards.iter().take(MAX_SHOWN) {
        match path.reach() {
            Some(Reach::WholeDistribution) => {
                lines.line(format_args!("  {path} (the whole {what})"));
            }
            _ => lines.line(format_args!("  {path}")),
        }
    }
    add_more(lines, wildcards.len(), "more wildcard");
    for path in plain.iter().take(MAX_SHOWN) {
        lines.line(format_args!("  {path}"));
    }
    add_more(lines, plain.len(), "more path");
}

fn add_more(lines: &mut Lines, all: usize, noun: &'static str) {
    if all > MAX_SHOWN {
        lines.line(format_args!("  and {}", count(all - MAX_SHOWN, noun)));
    }
}

/// `3 paths`, `1 path`.
pub fn count(number: usize, noun: &'static str) -> Of {
    Of(number as u64, noun)
}
