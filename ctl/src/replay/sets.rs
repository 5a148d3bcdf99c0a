//! The paths of error files as sets for SubmitQueue.

use std::collections::{BTreeMap, BTreeSet};

use invalidator_core::set::REPLAY_OF;
use invalidator_core::target::Target;

use super::files::{File, Object, Place};
use crate::submission::{Common, Submission};

/// What is submitted for one target.
#[derive(Debug)]
pub struct Replay {
    pub submission: Submission,
    /// The error files in the bucket with its paths.
    pub objects: Vec<Object>,
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
    let hosts: BTreeSet<String> = files.iter().flat_map(|file| file.hosts.clone()).collect();
    let (places, paths): (Vec<_>, Vec<_>) = files
        .into_iter()
        .map(|file| (file.place, file.paths))
        .unzip();
    let what = match &places[..] {
        [place] => place.name.clone(),
        places => format!("{} error files", places.len()),
    };
    let common = Common {
        reason: format!("{REPLAY_OF}{what}, by {}", sender.caller),
        id_parts: id_parts(&places, sender),
    };
    let mut submission = Submission::new(target, alias, paths, &common);
    submission.sources = places.iter().map(|it| it.name.clone()).collect();
    if !hosts.is_empty() {
        let hosts: Vec<String> = hosts.into_iter().collect();
        let note = format!("(some were URLs of {})", hosts.join(", "));
        submission.notes.push(note);
    }
    Replay {
        submission,
        objects: places.into_iter().filter_map(|it| it.object).collect(),
    }
}

/// What the id of a set is made of: the keys, so that replaying the same files twice makes one invalidation.
fn id_parts<'a>(places: &'a [Place], sender: &'a Sender<'_>) -> Vec<&'a str> {
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
