//! What a person submits: sets of paths for targets, and what comes of them.
//!
//! * [`summary`]: what would be submitted, and what came of it
//! * [`enqueue`]: puts sets into SubmitQueue
//! * [`direct`]: submits from this machine
//! * [`schedules`]: sets that are submitted at a later time
//! * [`wait`]: waits for the answers

pub mod direct;
pub mod enqueue;
pub mod schedules;
pub mod summary;
pub mod wait;

use invalidator_core::caller_reference::SetId;
use invalidator_core::merge::Merge;
use invalidator_core::path::InvalidationPath;
use invalidator_core::set::{COMMAND_LINE, Lane, Set};
use invalidator_core::target::Target;

/// Paths of one set, as CloudFront allows in one invalidation.
pub const MAX_PATHS: usize = 3_000;

/// What is submitted for one target.
#[derive(Debug)]
pub struct Submission {
    pub target: Target,
    /// The alias of its distribution.
    pub alias: String,
    /// Where the paths come from, in order: files, for example.
    pub sources: Vec<String>,
    /// What else there is to know, a line each.
    pub notes: Vec<String>,
    pub sets: Vec<(SetId, Set<'static>)>,
}

/// What all sets of a submission have in common.
pub struct Common<'a> {
    /// Why they are submitted, and by whom.
    pub reason: String,
    /// What their ids are made of beside the target and the paths. With the same parts, the same paths make one
    /// invalidation.
    pub id_parts: Vec<&'a str>,
}

impl Submission {
    /// Merges the paths of a target into sets: each path once, none that a wildcard covers, wildcards first.
    pub fn new(
        target: Target,
        alias: String,
        paths: Vec<Vec<InvalidationPath<'static>>>,
        common: &Common<'_>,
    ) -> Self {
        let mut merge = Merge::new(paths);
        let mut sets = Vec::new();
        for lane in [Lane::Wildcards, Lane::Paths] {
            loop {
                let next = merge.next(lane, MAX_PATHS);
                if next.is_empty() {
                    break;
                }
                merge.accept(&next);
                let paths = next.iter().map(|index| merge.path(*index).clone());
                sets.push(set(&target, paths.collect(), common));
            }
        }
        Self {
            target,
            alias,
            sources: Vec::new(),
            notes: Vec::new(),
            sets,
        }
    }

    /// All paths, wildcards first.
    pub fn paths(&self) -> impl Iterator<Item = &InvalidationPath<'static>> {
        self.sets.iter().flat_map(|(_, set)| &set.paths)
    }
}

fn set(
    target: &Target,
    paths: Vec<InvalidationPath<'static>>,
    common: &Common<'_>,
) -> (SetId, Set<'static>) {
    let id = SetId::new(target, &paths, &common.id_parts);
    (id, set_of(target.clone(), paths, common.reason.clone()))
}

/// A set as this program sends it.
pub fn set_of(
    target: Target,
    paths: Vec<InvalidationPath<'static>>,
    reason: String,
) -> Set<'static> {
    Set {
        target,
        paths,
        reason,
        by: COMMAND_LINE.to_owned(),
        changed: None,
        first_sent: None,
        hops: 0,
        caller_reference: None,
        forbidden: None,
        trust: None,
    }
}
