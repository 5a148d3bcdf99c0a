//! The paths of error files as sets for SubmitQueue.

use std::collections::BTreeMap;

use invalidator_core::caller_reference::SetId;
use invalidator_core::merge::Merge;
use invalidator_core::path::InvalidationPath;
use invalidator_core::set::{COMMAND_LINE, Lane, REPLAY_OF, Set};
use invalidator_core::target::Target;

use super::files::File;

/// Paths of one set, as CloudFront allows in one invalidation.
pub const MAX_PATHS: usize = 3_000;

/// What is submitted for one target.
#[derive(Debug)]
pub struct Replay {
    pub target: Target,
    /// The alias of its distribution.
    pub alias: String,
    /// The error files with its paths.
    pub keys: Vec<String>,
    pub sets: Vec<(SetId, Set<'static>)>,
}

impl Replay {
    pub fn paths(&self) -> impl Iterator<Item = &InvalidationPath<'static>> {
        self.sets.iter().flat_map(|(_, set)| &set.paths)
    }
}

/// Merges the files of each target: each path once, and none that a wildcard covers.
pub fn replays(files: Vec<File>, caller: &str) -> Vec<Replay> {
    let mut of_target: BTreeMap<Target, Vec<File>> = BTreeMap::new();
    for file in files {
        of_target.entry(file.target.clone()).or_default().push(file);
    }
    let of_target = of_target.into_iter();
    of_target
        .map(|(target, files)| replay(target, files, caller))
        .collect()
}

fn replay(target: Target, files: Vec<File>, caller: &str) -> Replay {
    let alias = files
        .first()
        .map(|file| file.alias.clone())
        .unwrap_or_default();
    let (keys, paths): (Vec<_>, Vec<_>) =
        files.into_iter().map(|file| (file.key, file.paths)).unzip();
    let what = match &keys[..] {
        [key] => key.clone(),
        keys => format!("{} error files", keys.len()),
    };
    let ids: Vec<&str> = keys.iter().map(String::as_str).collect();
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
            // The keys, so that replaying the same files twice makes one invalidation.
            let id = SetId::new(&target, &paths, &ids);
            let set = Set {
                target: target.clone(),
                paths,
                reason: format!("{REPLAY_OF}{what}, by {caller}"),
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
        keys,
        sets,
    }
}
