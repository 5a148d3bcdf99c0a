//! Only what was requested can be in a cache: a store of requested URLs chooses paths, and what was accepted is removed
//! from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Bound;

use anyhow::{Context, Result};
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::path::InvalidationPath;
use invalidator_core::target::{DistributionId, Target};
use serde::Serialize;

use super::given::{self, Paths};
use crate::output::tell;
use crate::store::Store;
use crate::submission::Submission;
use crate::submission::summary::count;
use crate::submission::wait::Outcome;

/// So many of the URLs that cannot be used are shown.
const MAX_SHOWN: usize = 3;

/// What a store has, and what was removed from it, as JSON.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Numbers {
    /// URLs that are not expired.
    urls: usize,
    /// Those of them that no distribution has, or that cannot be invalidated. They stay.
    unusable: usize,
    /// URLs that were removed.
    removed: usize,
}

/// `3 URLs removed from the store, 12 left`
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.urls.saturating_sub(self.removed);
        let removed = count(self.removed, "URL");
        write!(f, "{removed} removed from the store, {left} left")
    }
}

/// The URLs of a store.
pub struct Requested {
    store: Store,
    urls: Vec<Url>,
    pub numbers: Numbers,
}

/// A URL, and where it can be in a cache.
struct Url {
    text: String,
    targets: Vec<Target>,
    path: InvalidationPath<'static>,
}

impl Requested {
    /// Reads a store.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(
        mut store: Store,
        distributions: &[DistributionId],
        summaries: &[DistributionSummary],
    ) -> Result<Self> {
        let (mut urls, mut problems) = (Vec::new(), Vec::new());
        let read = store.read().context("nothing was submitted")?;
        let all = read.len();
        for text in read {
            match usable(&text, distributions, summaries) {
                Ok((targets, path)) => urls.push(Url {
                    text,
                    targets,
                    path,
                }),
                Err(problem) => problems.push(format!("`{text}`: {problem}")),
            }
        }
        let numbers = Numbers {
            urls: all,
            unusable: problems.len(),
            removed: 0,
        };
        tell(format_args!("{store}: {}", count(all, "requested URL")));
        if !problems.is_empty() {
            tell(format_args!(
                "cannot be used, and left in the store: {}",
                count(problems.len(), "URL")
            ));
            problems
                .iter()
                .take(MAX_SHOWN)
                .for_each(|it| tell(format_args!("  {it}")));
        }
        Ok(Self {
            store,
            urls,
            numbers,
        })
    }

    /// The paths of all URLs.
    pub fn all(&self) -> Paths {
        let mut paths = Paths::new();
        for url in &self.urls {
            for target in &url.targets {
                paths
                    .entry(target.clone())
                    .or_default()
                    .push(url.path.clone());
            }
        }
        paths
    }

    /// Those of these paths that clear a URL of the store.
    pub fn filter(&self, mut paths: Paths) -> Paths {
        let mut requested: BTreeMap<&Target, BTreeSet<&str>> = BTreeMap::new();
        for url in &self.urls {
            for target in &url.targets {
                requested
                    .entry(target)
                    .or_default()
                    .insert(url.path.as_str());
            }
        }
        for (target, paths) in &mut paths {
            let requested = requested.get(target);
            paths.retain(|path| requested.is_some_and(|it| clears_some(path, it)));
        }
        paths.retain(|_, paths| !paths.is_empty());
        paths
    }

    /// Removes the URLs that are cleared at all their targets.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn remove(&mut self, submissions: &[&Submission], outcomes: &[Outcome]) -> Result<()> {
        let of_targets = submissions.iter().zip(outcomes);
        let accepted: HashMap<&Target, Accepted<'_>> = of_targets
            .map(|(submission, outcome)| (&submission.target, Accepted::of(outcome)))
            .collect();
        let is_cleared = |url: &&Url| {
            let mut targets = url.targets.iter();
            targets.all(|it| accepted.get(it).is_some_and(|it| it.clears(&url.path)))
        };
        let cleared = self.urls.iter().filter(is_cleared);
        let cleared: HashSet<String> = cleared.map(|it| it.text.clone()).collect();
        let removed = self.store.remove(&cleared);
        self.numbers.removed = removed.context(
            "the paths are invalidated, but the store has their URLs yet: the next time they are invalidated again",
        )?;
        Ok(())
    }
}

/// What was accepted at a target.
struct Accepted<'o> {
    exact: HashSet<&'o InvalidationPath<'static>>,
    wildcards: Vec<&'o InvalidationPath<'static>>,
}

impl<'o> Accepted<'o> {
    fn of(outcome: &'o Outcome) -> Self {
        let (wildcards, exact): (Vec<_>, Vec<_>) = outcome
            .accepted_paths
            .iter()
            .partition(|it| it.wildcard_prefix().is_some());
        Self {
            exact: exact.into_iter().collect(),
            wildcards,
        }
    }

    fn clears(&self, path: &InvalidationPath<'static>) -> bool {
        self.exact.contains(path) || self.wildcards.iter().any(|it| it.clears(path))
    }
}

/// Whether a path clears one of these.
fn clears_some(path: &InvalidationPath<'_>, requested: &BTreeSet<&str>) -> bool {
    let Some(prefix) = path.wildcard_prefix() else {
        return requested.contains(path.as_str());
    };
    let mut from = requested.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
    from.next().is_some_and(|it| it.starts_with(prefix))
}

/// Where a URL can be in a cache. Anybody may have requested it, so it must never become a wildcard.
fn usable(
    text: &str,
    distributions: &[DistributionId],
    summaries: &[DistributionSummary],
) -> Result<(Vec<Target>, InvalidationPath<'static>), String> {
    let (ids, path) = given::one(text, distributions, summaries)?;
    if path.wildcard_prefix().is_some() {
        return Err("it ends with *, and would be a wildcard".to_owned());
    }
    if path.as_str().contains('~') {
        return Err("CloudFront cannot invalidate a path with ~".to_owned());
    }
    let target = |distribution| Target {
        distribution,
        tenant: None,
    };
    Ok((ids.into_iter().map(target).collect(), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_path_is_kept_if_it_clears_one_of_the_requested(
            path in "/[ab/]{0,4}[*]?",
            requested in proptest::collection::btree_set("/[ab/?]{0,5}", 0..6),
        ) {
            let path = InvalidationPath::try_from(path).unwrap();
            let all: BTreeSet<&str> = requested.iter().map(String::as_str).collect();
            let mut each = requested.iter().map(|it| InvalidationPath::try_from(it.clone()).unwrap());
            prop_assert_eq!(clears_some(&path, &all), each.any(|it| path.clears(&it)));
        }
    }
}
