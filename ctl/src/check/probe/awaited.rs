//! The invalidations that are waited for.

use std::collections::BTreeSet;

use anyhow::Result;
use aws_sdk_cloudfront::Client;
use invalidator_core::path::InvalidationPath;
use invalidator_core::target::Target;
use time::{Duration, OffsetDateTime};

use crate::invalidations::Invalidations;

/// What must be cleared at a target.
#[derive(Debug)]
pub struct Awaited {
    pub target: Target,
    pub paths: Vec<InvalidationPath<'static>>,
}

/// Something that happened.
#[derive(Debug)]
pub struct Found {
    pub target: String,
    pub id: String,
    /// Its paths, or the first of them.
    pub paths: String,
    pub is_complete: bool,
}

/// So many paths of an invalidation are shown.
const MOST_SHOWN: usize = 5;

/// The clocks of this machine and of CloudFront may differ.
const CLOCKS_DIFFER: Duration = Duration::minutes(5);

/// Watches a target until all of its paths are cleared.
pub struct Watch<'a> {
    awaited: &'a Awaited,
    invalidations: Invalidations<'a>,
    since: OffsetDateTime,
    accepted: BTreeSet<String>,
    complete: BTreeSet<String>,
    is_done: bool,
}

impl<'a> Watch<'a> {
    /// Begins before the upload: what is there already does not count.
    ///
    /// # Errors
    /// If CloudFront does not tell what is there.
    pub async fn begin(cloudfront: &'a Client, awaited: &'a Awaited) -> Result<Self> {
        let since = OffsetDateTime::now_utc() - CLOCKS_DIFFER;
        let mut invalidations = Invalidations::new(cloudfront, &awaited.target);
        invalidations.pass_over(since).await?;
        Ok(Self {
            awaited,
            invalidations,
            since,
            accepted: BTreeSet::new(),
            complete: BTreeSet::new(),
            is_done: false,
        })
    }

    /// Whether each path is cleared at the edges.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// What was accepted, and what is complete, since the last look.
    ///
    /// # Errors
    /// If CloudFront does not tell.
    pub async fn look(&mut self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        if self.is_done {
            return Ok(found);
        }
        self.invalidations.look(self.since).await?;
        let target = self.awaited.target.to_string();
        let clearing = self
            .awaited
            .paths
            .iter()
            .map(|it| self.invalidations.clearing(it));
        let clearing: Vec<_> = clearing.collect();
        for it in clearing.iter().flatten() {
            let told = |is_complete, paths| Found {
                target: target.clone(),
                id: it.id.clone(),
                paths,
                is_complete,
            };
            if self.accepted.insert(it.id.clone()) {
                found.push(told(false, shown(&it.paths)));
            }
            if it.is_complete && self.complete.insert(it.id.clone()) {
                found.push(told(true, String::new()));
            }
        }
        self.is_done = clearing
            .iter()
            .all(|it| it.is_some_and(|it| it.is_complete));
        Ok(found)
    }
}

fn shown(paths: &[InvalidationPath<'_>]) -> String {
    let first = paths.iter().take(MOST_SHOWN).map(InvalidationPath::as_str);
    let first = first.collect::<Vec<_>>().join(" ");
    match paths.len().saturating_sub(MOST_SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
