//! A replay as JSON.

use invalidator_core::cost::price;
use serde::Serialize;

use super::before::Before;
use super::sets::Replay;
use crate::submission::Submission;
use crate::submission::summary::{OfTarget, totals};
use crate::submission::wait::Outcome;

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

impl Report {
    /// What would be submitted.
    pub fn of(account: &str, replays: &[Replay]) -> Self {
        let submissions: Vec<&Submission> = replays.iter().map(|it| &it.submission).collect();
        let (paths, sets) = totals(&submissions);
        Self {
            v: VERSION,
            account: account.to_owned(),
            before: Vec::new(),
            problems: Vec::new(),
            targets: submissions.into_iter().map(OfTarget::of).collect(),
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
