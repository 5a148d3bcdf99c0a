//! What would be submitted, and what came of it: as text and as JSON.

use anyhow::{Context, Result};
use invalidator_core::cost::amount::Of;
use invalidator_core::cost::price;
use invalidator_core::path::{InvalidationPath, Reach};
use invalidator_core::set::Lane;
use invalidator_core::text::Lines;
use serde::Serialize;

use super::Submission;
use super::wait::{Outcome, Patience, Watch};
use crate::output::{Format, show};
use crate::progress::Progress;

/// How many wildcards, and how many other paths, are shown of each target.
const MAX_SHOWN: usize = 10;

/// What is submitted for a target, as JSON.
#[derive(Debug, Serialize)]
pub struct OfTarget {
    target: String,
    alias: String,
    files: Vec<String>,
    paths: usize,
    wildcards: usize,
    pub sets: usize,
    /// What came of it, if somebody waited for that.
    pub outcome: Option<Outcome>,
}

impl OfTarget {
    /// Without an outcome.
    pub fn of(submission: &Submission) -> Self {
        let is_wildcard = |path: &&InvalidationPath<'_>| Lane::of(path) == Lane::Wildcards;
        Self {
            target: submission.target.id().to_owned(),
            alias: submission.alias.clone(),
            files: submission.sources.clone(),
            paths: submission.paths().count(),
            wildcards: submission.paths().filter(is_wildcard).count(),
            sets: submission.sets.len(),
            outcome: None,
        }
    }
}

/// How many paths and sets.
pub fn totals(submissions: &[&Submission]) -> (usize, usize) {
    let paths = submissions.iter().map(|it| it.paths().count()).sum();
    (paths, submissions.iter().map(|it| it.sets.len()).sum())
}

/// What would be submitted, wildcards first, the widest of them at the top.
pub fn summary(submissions: &[&Submission]) -> Lines {
    let mut lines = Lines::new();
    for submission in submissions {
        add_target(&mut lines, submission);
    }
    let (paths, sets) = totals(submissions);
    lines.line(format_args!(
        "in all {} for {} in {}, at most {}",
        count(paths, "path"),
        count(submissions.len(), "target"),
        count(sets, "set"),
        price::PATH.amount.times(paths as u64)
    ));
    lines
}

fn add_target(lines: &mut Lines, submission: &Submission) {
    let (mut wildcards, plain): (Vec<_>, Vec<_>) = submission
        .paths()
        .partition(|path| Lane::of(path) == Lane::Wildcards);
    wildcards.sort_by_key(|path| path.as_str().len());
    let of_them = match wildcards.len() {
        0 => String::new(),
        wildcards => format!(", of them {}", count(wildcards, "wildcard")),
    };
    let paths = count(wildcards.len() + plain.len(), "path");
    let of = match submission.sources.len() {
        0 => String::new(),
        files => format!(" of {}", count(files, "file")),
    };
    let Submission { target, alias, .. } = submission;
    lines.line(format_args!("{target} ({alias}): {paths}{of}{of_them}"));
    for note in &submission.notes {
        lines.line(format_args!("  {note}"));
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

/// Waits for the answers to what was submitted, and shows them to a person.
///
/// # Errors
/// If CloudFront or S3 does not say. What was submitted goes on without this.
pub async fn follow(
    watch: Watch<'_>,
    submissions: &[&Submission],
    patience: Patience,
    progress: &Progress,
    output: Format,
) -> Result<Vec<Outcome>> {
    let outcomes = watch.wait(patience, progress).await;
    progress.finish();
    let outcomes = outcomes.context("what was submitted goes on, but cannot be followed")?;
    if let Format::Text = output {
        let mut lines = Lines::new();
        for (submission, outcome) in submissions.iter().zip(&outcomes) {
            add_outcome(&mut lines, "", submission, outcome);
        }
        show(&lines);
    }
    Ok(outcomes)
}

/// What came of a target, each line behind a margin.
pub fn add_outcome(lines: &mut Lines, margin: &str, submission: &Submission, outcome: &Outcome) {
    let Outcome {
        accepted,
        rejected,
        waiting,
        invalidations,
        completed,
        error_files,
        accepted_paths: _,
    } = outcome;
    let Submission { target, alias, .. } = submission;
    lines.line(format_args!(
        "{margin}{target} ({alias}): {} accepted, {rejected} rejected, {waiting} without an answer; {completed} of {} done \
         at all edges",
        count(*accepted, "path"),
        count(invalidations.len(), "invalidation"),
    ));
    for key in error_files {
        lines.line(format_args!("{margin}  rejected: {key}"));
    }
}
