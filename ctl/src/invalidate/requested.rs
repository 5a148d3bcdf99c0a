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
    /// Those of them that no distribution has, or that only a wildcard can clear. They stay until one does.
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
    /// The chosen paths that clear their URLs whatever the query string is.
    without_queries: HashMap<Target, HashSet<String>>,
    pub numbers: Numbers,
}

/// A URL, and where it can be in a cache.
struct Url {
    text: String,
    targets: Vec<Target>,
    place: Place,
}

/// The path of a URL, with its query string.
enum Place {
    Path(InvalidationPath<'static>),
    /// One that only a wildcard clears.
    OfWildcards(String),
}

impl Url {
    fn path(&self) -> &str {
        match &self.place {
            Place::Path(path) => path.as_str(),
            Place::OfWildcards(path) => path,
        }
    }

    fn path_without_query(&self) -> &str {
        let path = self.path();
        path.split_once('?').map_or(path, |(before, _)| before)
    }
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
            let mut problem = |problem| problems.push(format!("`{text}`: {problem}"));
            match targets_and_path(&text, distributions, summaries) {
                Ok((targets, path)) => {
                    let place = match usable(&path) {
                        Ok(path) => Place::Path(path),
                        Err(error) => {
                            problem(error);
                            Place::OfWildcards(path)
                        }
                    };
                    urls.push(Url {
                        text,
                        targets,
                        place,
                    });
                }
                Err(error) => problem(error),
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
                "cannot be used, and left in the store until a wildcard clears them: {}",
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
            without_queries: HashMap::new(),
            numbers,
        })
    }

    /// The paths of all URLs.
    pub fn all(&self) -> Paths {
        let mut paths = Paths::new();
        for url in &self.urls {
            let Place::Path(path) = &url.place else {
                continue;
            };
            for target in &url.targets {
                paths.entry(target.clone()).or_default().push(path.clone());
            }
        }
        paths
    }

    /// Those of these paths that clear a URL of the store, or may clear one. Whether query strings are in the cache key
    /// is known only of paths that are planned from objects.
    pub fn filter(&mut self, mut paths: Paths, are_planned: bool) -> Paths {
        let mut requested: BTreeMap<&Target, BTreeSet<&str>> = BTreeMap::new();
        for url in &self.urls {
            for target in &url.targets {
                requested
                    .entry(target)
                    .or_default()
                    .extend([url.path(), url.path_without_query()]);
            }
        }
        for (target, paths) in &mut paths {
            if are_planned {
                let known = without_queries(paths);
                self.without_queries.insert(target.clone(), known);
            }
            if target.tenant.is_some() {
                tell(format_args!(
                    "{target}: {}, whether requested or not, as the store cannot tell what is requested of a tenant",
                    count(paths.len(), "path")
                ));
                continue;
            }
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
            targets.all(|target| {
                let path = match self.without_queries.get(target) {
                    Some(known) if known.contains(url.path_without_query()) => {
                        url.path_without_query()
                    }
                    _ => url.path(),
                };
                accepted.get(target).is_some_and(|it| it.clears(path))
            })
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
    exact: HashSet<&'o str>,
    /// What the wildcards begin with.
    prefixes: Vec<&'o str>,
}

impl<'o> Accepted<'o> {
    fn of(outcome: &'o Outcome) -> Self {
        let paths = &outcome.accepted_paths;
        let is_exact = |it: &&InvalidationPath<'_>| it.wildcard_prefix().is_none();
        let exact = paths.iter().filter(is_exact);
        Self {
            exact: exact.map(InvalidationPath::as_str).collect(),
            prefixes: paths.iter().filter_map(|it| it.wildcard_prefix()).collect(),
        }
    }

    fn clears(&self, path: &str) -> bool {
        (self.exact.contains(path) && !has_tilde(path))
            || self.prefixes.iter().any(|it| path.starts_with(it))
    }
}

/// Those of the paths planned for a target that clear their URLs whatever the query string is. Where query strings are
/// in the cache key, only that of a folder is planned without a wildcard, and has one for them beside it.
fn without_queries(paths: &[InvalidationPath<'static>]) -> HashSet<String> {
    let all: HashSet<&str> = paths.iter().map(InvalidationPath::as_str).collect();
    let is_without = |path: &&InvalidationPath<'_>| {
        path.wildcard_prefix().is_none() && !all.contains(&*format!("{}?*", path.as_str()))
    };
    let without = paths.iter().filter(is_without);
    without.map(|it| it.as_str().to_owned()).collect()
}

/// A path with an encoded one is accepted, and does nothing.
fn has_tilde(path: &str) -> bool {
    path.contains('~') || path.to_ascii_lowercase().contains("%7e")
}

/// Whether a path clears one of these.
fn clears_some(path: &InvalidationPath<'_>, requested: &BTreeSet<&str>) -> bool {
    let Some(prefix) = path.wildcard_prefix() else {
        return requested.contains(path.as_str());
    };
    let mut from = requested.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
    from.next().is_some_and(|it| it.starts_with(prefix))
}

/// Where a URL can be in a cache, and its path there.
fn targets_and_path(
    text: &str,
    distributions: &[DistributionId],
    summaries: &[DistributionSummary],
) -> Result<(Vec<Target>, String), String> {
    let (ids, path) = given::place(text, distributions, summaries)?;
    let target = |distribution| Target {
        distribution,
        tenant: None,
    };
    Ok((ids.into_iter().map(target).collect(), path))
}

/// The path that clears a URL. Anybody may have requested it, so it must never become a wildcard.
fn usable(path: &str) -> Result<InvalidationPath<'static>, String> {
    let usable = InvalidationPath::try_from(path.to_owned()).map_err(|error| error.to_string())?;
    if usable.wildcard_prefix().is_some() {
        return Err("it ends with *, and would be a wildcard".to_owned());
    }
    if has_tilde(path) {
        return Err("CloudFront cannot invalidate a path with ~".to_owned());
    }
    Ok(usable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_planned_path_stands_for_its_query_strings_unless_a_wildcard_does() {
        let paths = ["/a", "/d/", "/d/?*", "/e*"];
        let paths = paths.map(|it| InvalidationPath::try_from(it.to_owned()).unwrap());
        assert_eq!(without_queries(&paths), HashSet::from(["/a".to_owned()]));
    }

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
