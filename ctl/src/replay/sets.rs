//! The paths of error files as sets for SubmitQueue.

use std::collections::{BTreeMap, BTreeSet};

use invalidator_core::caller_reference::SetId;
use invalidator_core::merge::Merge;
use invalidator_core::path::InvalidationPath;
use invalidator_core::set::{COMMAND_LINE, Lane, REPLAY_OF, Set};
use invalidator_core::target::Target;

use super::files::{File, Place};

/// Paths of one set, as CloudFront allows in one invalidation.
pub const MAX_PATHS: usize = 3_000;

/// What is submitted for one target.
#[derive(Debug)]
pub struct Replay {
    pub target: Target,
    /// The alias of its distribution.
    pub alias: String,
    /// The error files with its paths.
    pub places: Vec<Place>,
    /// The hosts of URLs among the paths.
    pub hosts: BTreeSet<String>,
    pub sets: Vec<(SetId, Set<'static>)>,
}

impl Replay {
    pub fn paths(&self) -> impl Iterator<Item = &InvalidationPath<'static>> {
        self.sets.iter().flat_map(|(_, set)| &set.paths)
    }
}

/// Who submits, and what makes the ids of the sets new where they must be.
pub struct Sender<'a> {
    /// Who.
    pub caller: &'a str,
    /// Part of the ids of what was submitted before and is again, so that it is no repetition for CloudFront.
    pub again: Option<String>,
    /// Part of the ids of paths that are in no error file.
    pub window: String,
}

/// Merges the files of each target: each path once, and none that a wildcard covers.
pub fn replays(files: Vec<File>, sender: &Sender<'_>) -> Vec<Replay> {
    let mut of_target: BTreeMap<Target, Vec<File>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| !file.paths.is_empty()) {
        of_target.entry(file.target.clone()).or_default().push(file);
    }
    let of_target = of_target.into_iter();
    of_target
        .map(|(target, files)| replay(target, files, sender))
        .collect()
}

fn replay(target: Target, files: Vec<File>, sender: &Sender<'_>) -> Replay {
    let alias = files
        .first()
        .map(|file| file.alias.clone())
        .unwrap_or_default();
    let hosts = files.iter().flat_map(|file| file.hosts.clone()).collect();
    let (places, paths): (Vec<_>, Vec<_>) = files
        .into_iter()
        .map(|file| (file.place, file.paths))
        .unzip();
    let what = match &places[..] {
        [place] => place.name.clone(),
        places => format!("{} error files", places.len()),
    };
    let mut merge = Merge::new(paths);
    let mut sets = Vec::new();
    for lane in [Lane::Wildcards, Lane::Paths] {
        loop {
            let next = merge.next(lane, MAX_PATHS);
            if next.is_empty() {
                break;
            }
            merge.accept(&next);
            let paths: Vec<_> = next
                .iter()
                .map(|index| merge.path(*index).clone())
                .collect();
            let id = SetId::new(&target, &paths, &ids(&places, sender));
            let set = Set {
                target: target.clone(),
                paths,
                reason: format!("{REPLAY_OF}{what}, by {}", sender.caller),
                by: COMMAND_LINE.to_owned(),
                changed: None,
                first_sent: None,
                hops: 0,
                caller_reference: None,
                forbidden: None,
                trust: None,
            };
            sets.push((id, set));
        }
    }
    Replay {
        target,
        alias,
        places,
        hosts,
        sets,
    }
}

/// What the id of a set is made of: the keys, so that replaying the same files twice makes one invalidation.
fn ids<'a>(places: &'a [Place], sender: &'a Sender<'_>) -> Vec<&'a str> {
    let id = |place: &'a Place| match &place.object {
        Some(object) => object.key.as_str(),
        None => sender.window.as_str(),
    };
    let mut ids: Vec<&str> = places.iter().map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.extend(sender.again.as_deref());
    ids
}
