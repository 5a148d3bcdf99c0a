//! What became of files that were submitted before, so that nothing is paid for twice.

use std::collections::BTreeMap;

use anyhow::Result;
use aws_sdk_cloudfront::Client;
use invalidator_core::error_file::time_in_key;
use invalidator_core::path::InvalidationPath;
use invalidator_core::target::Target;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::files::{File, Object};
use super::record::Record;
use crate::columns::minute;
use crate::invalidations::Invalidations;

/// The clock of the machine that wrote the record may be so far ahead of CloudFront's.
const CLOCKS_DIFFER: Duration = Duration::minutes(2);

/// What became of a file that was submitted before.
#[derive(Debug, Serialize)]
pub struct Before {
    /// The file.
    pub file: String,
    /// When it was submitted, to the minute, in UTC.
    pub at: String,
    /// By whom.
    pub by: String,
    /// How many paths it has.
    pub paths: usize,
    /// How many of them CloudFront has accepted since; `None` if CloudFront does not say.
    pub accepted: Option<usize>,
    /// The invalidations that hold them.
    pub invalidations: Vec<String>,
    /// Whether the replay was interrupted, so that the rest is submitted now.
    pub is_unfinished: bool,
    /// Why CloudFront does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

impl Before {
    /// Whether CloudFront says what became of it, and nothing is missing that is not submitted now.
    pub fn is_good(&self) -> bool {
        let all = self.accepted == Some(self.paths);
        all || (self.is_unfinished && self.unknown.is_none())
    }
}

impl std::fmt::Display for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            file,
            at,
            by,
            paths,
            ..
        } = self;
        write!(f, "{file} was submitted before, {at} UTC by {by}: ")?;
        match (self.accepted, &self.unknown) {
            (Some(accepted), _) => write!(f, "{accepted} of {paths} paths were accepted since")?,
            (None, Some(error)) => {
                write!(f, "whether its paths were accepted is not known ({error})")?
            }
            (None, None) => f.write_str("whether its paths were accepted is not known")?,
        }
        if !self.invalidations.is_empty() {
            write!(f, " (invalidation {})", self.invalidations.join(", "))?;
        }
        let rest = match (self.accepted, self.is_unfinished) {
            (Some(accepted), _) if accepted == *paths => "",
            (Some(_), true) => "; the replay was interrupted, the others are submitted now",
            (None, true) => "; the replay was interrupted, all of them are submitted now",
            (Some(_), false) => {
                "; the others wait in SubmitQueue, or were rejected again and are in a newer file"
            }
            (None, false) => "; nothing is submitted",
        };
        f.write_str(rest)
    }
}

/// Takes out of these files what need not be submitted again, and tells of each what became of it.
///
/// A file whose record is all that is left was handed over as a whole. Of one that is still there beside its
/// record the replay was interrupted, and only what CloudFront accepted since is taken out.
pub async fn take_out_what_was_done(cloudfront: &Client, files: &mut [File]) -> Vec<Before> {
    let mut since: BTreeMap<Target, OffsetDateTime> = BTreeMap::new();
    for file in files.iter() {
        if let Some((object, record)) = before_of(file) {
            let at = since_of(object, record);
            let earliest = since.entry(file.target.clone()).or_insert(at);
            *earliest = at.min(*earliest);
        }
    }
    let mut told = Vec::new();
    for (target, since) in since {
        let mut invalidations = Invalidations::new(cloudfront, &target);
        let looked = invalidations
            .look(since)
            .await
            .map_err(|error| error.to_string());
        let of_target = files.iter_mut().filter(|file| file.target == target);
        told.extend(of_target.filter_map(|file| done_of(file, &invalidations, &looked)));
    }
    told
}

fn before_of(file: &File) -> Option<(&Object, &Record)> {
    let object = file.place.object.as_ref()?;
    Some((object, object.before.as_ref()?))
}

/// From when on an invalidation may be that of the replay. Never from before the file was written: such a one
/// does not clear what the file stands for.
fn since_of(object: &Object, record: &Record) -> OffsetDateTime {
    match time_in_key(&object.key) {
        Some(written) => written.max(record.at - CLOCKS_DIFFER),
        None => record.at,
    }
}

fn done_of(
    file: &mut File,
    invalidations: &Invalidations<'_>,
    looked: &Result<(), String>,
) -> Option<Before> {
    let (object, record) = before_of(file)?;
    let since = since_of(object, record);
    let clearing = |path: &InvalidationPath<'_>| {
        let clearing = invalidations.clearing(path);
        clearing.filter(|it| it.created >= since)
    };
    let accepted: Vec<bool> = file
        .paths
        .iter()
        .map(|path| clearing(path).is_some())
        .collect();
    let mut ids: Vec<String> = file
        .paths
        .iter()
        .filter_map(clearing)
        .map(|it| it.id.clone())
        .collect();
    ids.sort();
    ids.dedup();
    let before = Before {
        file: file.place.name.clone(),
        at: minute(record.at),
        by: record.by.clone(),
        paths: file.paths.len(),
        accepted: looked
            .is_ok()
            .then(|| accepted.iter().filter(|it| **it).count()),
        invalidations: ids,
        is_unfinished: object.is_there,
        unknown: looked.as_ref().err().cloned(),
    };
    let is_unfinished = object.is_there;
    let mut accepted = accepted.into_iter();
    file.paths
        .retain(|_| is_unfinished && !accepted.next().unwrap_or_default());
    Some(before)
}
