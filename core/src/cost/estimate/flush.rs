//! The paths of a flush: exact, and covered.

use percent_encoding::percent_decode_str;

use super::cells::{Cells, TopFolders};
use super::history::{History, Second};
use super::look::look;
use super::rules::PastRules;
use crate::cost::amount::NanoUsd;
use crate::cost::bars::barring;
use crate::cost::cover::{Cover, cheapest_cover};
use crate::cost::folders::Folders;
use crate::cost::limits::Limits;
use crate::distributions::Distribution;
use crate::path::{InvalidationPath, OriginPath};
use crate::plan::{Fate, Plan};
use crate::target::Target;

/// The function lists at most so many pages for a flush.
const PAGES_PER_FLUSH: u64 = 200;

/// The targets in service with their distributions, in the order in which plans have them.
pub(super) fn targets<'a>(rules: &PastRules<'a>) -> Vec<(&'a Target, &'a Distribution)> {
    let distributions = rules.plan.distributions.iter();
    let in_service = distributions.filter(|distribution| distribution.is_in_service());
    let targets = in_service.flat_map(|distribution| {
        let targets = distribution.targets.iter();
        targets.map(move |target| (target, distribution))
    });
    targets.collect()
}

/// The paths of a flush for each target, in their order, each once and none covered by another.
#[derive(Debug)]
pub(super) struct FlushPaths<'p>(Vec<Vec<InvalidationPath<'p>>>);

/// What is ordered in place of these paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Ordered {
    pub cells: Cells,
    pub wildcards: u64,
    /// The other keys that are cleared, and what it costs at most to fetch them again.
    pub others: u64,
    pub refetches: NanoUsd,
}

impl<'p> FlushPaths<'p> {
    pub fn new(plan: &'p Plan<'p>) -> Self {
        let of_target = plan.targets().map(|target| {
            let submitted = target.sets(|_| true).filter(|set| set.fate == Fate::Submit);
            let mut paths: Vec<_> = submitted.flat_map(|set| set.paths).collect();
            paths.sort_by(|a, b| a.order().cmp(&b.order()));
            paths
        });
        Self(of_target.collect())
    }

    /// Takes the paths of a target from others in place of these.
    pub fn replace(&mut self, target: usize, others: &mut Self) {
        self.0[target] = std::mem::take(&mut others.0[target]);
    }

    /// The places of the targets that have paths, and how many.
    pub fn targets(&self) -> impl Iterator<Item = (usize, u64)> {
        let targets = self.0.iter().map(|paths| paths.len() as u64).enumerate();
        targets.filter(|(_, paths)| *paths > 0)
    }

    /// The paths as they are.
    pub fn exact(&self, folders: &mut TopFolders) -> Ordered {
        let mut ordered = Ordered::default();
        for (target, paths) in self.0.iter().enumerate() {
            ordered.add_paths(target, paths.iter(), folders);
        }
        ordered
    }

    /// Their cheapest cover.
    pub fn covered(&self, past: &Past<'_>, limits: &Limits, top: &mut TopFolders) -> Ordered {
        let mut ordered = Ordered::default();
        let mut pages = PAGES_PER_FLUSH;
        for (target, paths) in self.0.iter().enumerate() {
            let mut folders = Folders::new(paths);
            folders.bar(|folder| past.is_barred(target, folder));
            let listed = look(&mut folders, limits, pages, |folder| {
                past.keys_below(target, folder)
            });
            pages = pages.saturating_sub(listed);
            let cover = cheapest_cover(&folders, limits);
            ordered.add_cover(target, &cover, paths, top);
        }
        ordered
    }
}

impl Ordered {
    /// A `/*` for a target, which clears so many other keys.
    pub fn add_everything(&mut self, target: usize, others: u64, folders: &mut TopFolders) {
        let everything = InvalidationPath::all_below("/");
        self.add_paths(target, [&everything].into_iter(), folders);
        self.others += others;
        self.refetches += Limits::frugal().refetch * others;
    }

    fn add_paths<'i, 'p: 'i>(
        &mut self,
        target: usize,
        paths: impl Iterator<Item = &'i InvalidationPath<'p>>,
        folders: &mut TopFolders,
    ) {
        for path in paths {
            self.cells.add(target, folders.place(path), 1);
            self.wildcards += u64::from(path.wildcard_prefix().is_some());
        }
    }

    fn add_cover(
        &mut self,
        target: usize,
        cover: &Cover<'_>,
        paths: &[InvalidationPath<'_>],
        folders: &mut TopFolders,
    ) {
        let new: Vec<_> = cover.wildcards.iter().map(|it| it.path()).collect();
        self.add_paths(target, new.iter(), folders);
        self.add_paths(target, cover.kept().map(|place| &paths[place]), folders);
        self.refetches += cover.refetches();
        let others = cover.wildcards.iter().map(|it| it.others.keys);
        self.others += others.sum::<u64>();
    }
}

/// The bucket and its distributions at the time of a flush.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past<'a> {
    pub history: &'a History,
    pub rules: &'a PastRules<'a>,
    pub targets: &'a [(&'a Target, &'a Distribution)],
    pub at: Second,
}

impl<'a> Past<'a> {
    /// Whether a wildcard below a folder is barred at a target.
    pub fn is_barred(&self, target: usize, folder: &str) -> bool {
        let (_, distribution) = self.targets[target];
        barring(distribution, self.rules.plan.origin_buckets, folder).is_some()
    }

    /// The paths of all keys of the bucket that a target serves below a folder. Those of other buckets are
    /// not known.
    fn keys_below(
        &self,
        target: usize,
        folder: &str,
    ) -> Option<impl Iterator<Item = InvalidationPath<'a>> + use<'a>> {
        let decoded = percent_decode_str(folder).decode_utf8().ok()?.into_owned();
        let (history, at) = (self.history, self.at);
        let origin_paths = self.origin_paths(target).into_iter();
        Some(origin_paths.flat_map(move |origin_path| {
            let beginning = format!("{}{decoded}", origin_path.as_str());
            let paths = history.paths_at(at, &beginning);
            let paths = paths.filter_map(|path| path.below(origin_path));
            paths.map(|path| path.invalidation_paths(false).first)
        }))
    }

    /// The different folders of the bucket that a target's origins serve.
    fn origin_paths(&self, target: usize) -> Vec<&'a OriginPath> {
        let (_, distribution) = self.targets[target];
        let aliases = self.rules.plan.origin_buckets;
        let mut paths = Vec::new();
        for (origin, _) in distribution.origins_of(self.rules.bucket.as_str(), aliases) {
            if !paths.contains(&&origin.path) {
                paths.push(&origin.path);
            }
        }
        paths
    }
}
