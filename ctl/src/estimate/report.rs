//! What is shown of an estimate. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use invalidator_core::bucket_tags::BucketSettings;
use invalidator_core::cost::amount::{NanoUsd, Of as Counted, Thousands};
use invalidator_core::cost::estimate::replay::Estimate;
use invalidator_core::cost::estimate::spender::Spent;
use invalidator_core::cost::estimate::way::Way;
use invalidator_core::cost::mode::CostMode;
use invalidator_core::cost::skip::facts::Versioning;
use invalidator_core::event::BucketName;
use invalidator_core::target::DistributionId;
use serde::Serialize;
use time::{Duration, OffsetDateTime, UtcOffset};

use super::basis::{Basis, WhyObjects};
use super::facts::Facts;
use crate::in_json::{in_usd, rfc3339};

/// The version of the JSON.
const VERSION: u32 = 1;

/// How many folders are shown one by one.
const MOST_FOLDERS: usize = 100;

/// What an estimate is of.
pub struct Of<'a> {
    pub account: &'a str,
    pub bucket: &'a BucketName,
    pub prefix: &'a str,
    pub span: (OffsetDateTime, OffsetDateTime),
    /// The debounce, and the end of a burst.
    pub seconds: (u16, u16),
    pub facts: &'a Facts,
    /// `None` if the bucket's tags cannot be read.
    pub settings: Option<&'a BucketSettings>,
    pub basis: &'a Basis,
    pub keys: u64,
    /// What is to be said of the distributions.
    pub serving: &'a [String],
}

/// What the last days of a bucket would have cost.
#[derive(Debug, Serialize)]
pub struct Report {
    v: u32,
    pub account: String,
    pub bucket: String,
    pub prefix: String,
    #[serde(serialize_with = "rfc3339")]
    pub since: OffsetDateTime,
    #[serde(serialize_with = "rfc3339")]
    pub until: OffsetDateTime,
    pub debounce_seconds: u16,
    pub burst_seconds: u16,
    /// `versions` or `objects`: what was listed.
    pub basis: &'static str,
    /// Why all numbers are too low, if they are.
    pub lower_bound: Option<String>,
    #[serde(flatten)]
    pub counts: Counts,
    pub ways: Vec<OfWay>,
    /// Each day, the first and the last one in part.
    pub days: Vec<Day>,
    /// Distributions and tenants, the dearest first.
    pub distributions: Vec<OfTarget>,
    /// The folders at the top of the paths, the dearest first.
    pub folders: Vec<OfFolder>,
    pub notes: Vec<String>,
}

/// What happened.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counts {
    /// Keys that were there at any time.
    pub keys: u64,
    /// Uploads and deletions.
    pub changes: u64,
    /// Those that a tag of the bucket has ignored.
    pub excepted: u64,
    /// Those that no distribution serves from a cache.
    pub unserved: u64,
    /// Uploads with the content of the version before.
    pub unchanged: u64,
    pub first_uploads: u64,
    pub flushes: u64,
    pub bursts: u64,
}

/// What a way to pay would have cost.
#[derive(Clone, Debug, Serialize)]
pub struct OfWay {
    pub way: String,
    pub shown: String,
    pub paths: u64,
    /// Among the paths.
    pub wildcards: u64,
    #[serde(serialize_with = "in_usd")]
    pub usd: NanoUsd,
    /// Keys that were cleared though they had not changed.
    pub other_keys: u64,
    /// What it costs at most to fetch these again.
    #[serde(serialize_with = "in_usd")]
    pub refetch_usd: NanoUsd,
    /// Flushes above a spending limit.
    pub above_limits: u64,
    /// Paths that still wait at the end, because of the spending limits.
    pub waiting: u64,
    #[serde(skip)]
    pub id: Way,
}

/// Numbers by the code of the way.
type ByWay<T> = BTreeMap<String, T>;

/// A day.
#[derive(Clone, Debug, Serialize)]
pub struct Day {
    /// Such as 2026-11-21.
    pub day: String,
    pub changes: u64,
    pub paths: ByWay<u64>,
    /// What the day added to the costs: the first paths of a month are free.
    pub usd: ByWay<f64>,
}

/// A distribution or tenant.
#[derive(Clone, Debug, Serialize)]
pub struct OfTarget {
    pub id: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_of: Option<String>,
    pub paths: ByWay<u64>,
}

/// A folder at the top.
#[derive(Clone, Debug, Serialize)]
pub struct OfFolder {
    pub folder: String,
    pub paths: ByWay<u64>,
}

impl Report {
    /// Arranges an estimate. `name` tells the alias of a distribution.
    pub fn new(
        of: &Of<'_>,
        estimate: &Estimate,
        name: impl Fn(&DistributionId) -> Arc<str>,
    ) -> Self {
        let ways = estimate.ways.iter();
        Self {
            v: VERSION,
            account: of.account.to_owned(),
            bucket: of.bucket.to_string(),
            prefix: of.prefix.to_owned(),
            since: of.span.0,
            until: of.span.1,
            debounce_seconds: of.seconds.0,
            burst_seconds: of.seconds.1,
            basis: match of.basis {
                Basis::Versions => "versions",
                Basis::Objects(_) => "objects",
            },
            lower_bound: lower_bound(of),
            counts: Counts {
                keys: of.keys,
                changes: estimate.changes,
                excepted: estimate.excepted,
                unserved: estimate.unserved,
                unchanged: estimate.unchanged,
                first_uploads: estimate.first_uploads,
                flushes: estimate.flushes,
                bursts: estimate.bursts,
            },
            ways: ways.map(OfWay::new).collect(),
            days: days(of, estimate),
            distributions: targets(estimate, name),
            folders: folders(estimate),
            notes: notes(of, estimate),
        }
    }

    /// The ways that are shown by day, distribution and folder.
    pub fn main_ways(&self) -> impl Iterator<Item = &OfWay> {
        let is_main = |way: Way| {
            matches!(
                way,
                Way::EachPath
                    | Way::WildcardPerBurst
                    | Way::Ours(CostMode::Balanced)
                    | Way::OnlyChanged(CostMode::Balanced)
            )
        };
        self.ways.iter().filter(move |way| is_main(way.id))
    }

    /// The most paths of any way: the length of the longest bar.
    pub fn most_paths(&self) -> u64 {
        let paths = self.ways.iter().map(|way| way.paths);
        paths.max().unwrap_or(0)
    }
}

impl OfWay {
    fn new(spent: &Spent) -> Self {
        Self {
            way: spent.way.code(),
            shown: spent.way.to_string(),
            paths: spent.total.paths,
            wildcards: spent.wildcards,
            usd: spent.total.cost,
            other_keys: spent.others,
            refetch_usd: spent.refetches,
            above_limits: spent.above_limits,
            waiting: spent.waiting,
            id: spent.way,
        }
    }
}

fn by_way<T>(estimate: &Estimate, of: impl Fn(&Spent) -> T) -> ByWay<T> {
    let ways = estimate.ways.iter();
    ways.map(|way| (way.way.code(), of(way))).collect()
}

fn days(of: &Of<'_>, estimate: &Estimate) -> Vec<Day> {
    let first = of.span.0.to_offset(UtcOffset::UTC).date();
    let days = estimate.days.iter().enumerate();
    let days = days.map(|(place, changes)| Day {
        day: (first + Duration::days(place as i64)).to_string(),
        changes: *changes,
        paths: by_way(estimate, |way| way.days[place].paths),
        usd: by_way(estimate, |way| way.days[place].cost.to_usd()),
    });
    days.collect()
}

fn targets(estimate: &Estimate, name: impl Fn(&DistributionId) -> Arc<str>) -> Vec<OfTarget> {
    let targets = estimate.targets.iter().enumerate();
    let targets = targets.map(|(place, target)| OfTarget {
        id: target.id().to_owned(),
        name: name(&target.distribution).to_string(),
        tenant_of: target
            .tenant
            .as_ref()
            .map(|_| target.distribution.to_string()),
        paths: by_way(estimate, |way| way.targets[place]),
    });
    let mut targets: Vec<_> = targets.collect();
    targets.sort_by(|a, b| dearest_first(&a.paths, &b.paths).then_with(|| a.id.cmp(&b.id)));
    targets
}

fn folders(estimate: &Estimate) -> Vec<OfFolder> {
    let folders = estimate.folders.iter().enumerate();
    let folders = folders.map(|(place, folder)| OfFolder {
        folder: folder.clone(),
        paths: by_way(estimate, |way| way.folders[place]),
    });
    // The first one stands for those that were too many to be counted one by one.
    let mut folders: Vec<_> = folders.collect();
    let mut others = folders.swap_remove(0);
    folders.sort_by(|a, b| dearest_first(&a.paths, &b.paths).then_with(|| a.folder.cmp(&b.folder)));
    for folder in folders.drain(folders.len().min(MOST_FOLDERS)..) {
        for (way, paths) in folder.paths {
            *others.paths.entry(way).or_default() += paths;
        }
    }
    if others.paths.values().any(|paths| *paths > 0) {
        folders.push(others);
    }
    folders
}

fn dearest_first(a: &ByWay<u64>, b: &ByWay<u64>) -> std::cmp::Ordering {
    let paths = |of: &ByWay<u64>| of.get(&Way::EachPath.code()).copied();
    paths(b).cmp(&paths(a))
}

fn lower_bound(of: &Of<'_>) -> Option<String> {
    let cannot_be_seen = "so only the last upload of each object is seen, and no deletion";
    match (of.basis, of.facts.versioning) {
        (Basis::Objects(WhyObjects::NotVersioned), _) => {
            Some(format!("the bucket keeps no versions, {cannot_be_seen}"))
        }
        (Basis::Objects(WhyObjects::NotAllowed(error)), _) => Some(format!(
            "the versions may not be listed, {cannot_be_seen} ({error})"
        )),
        (Basis::Versions, Some(Versioning::Suspended)) => Some(
            "versioning of the bucket is suspended, so what was overwritten or deleted since is not seen"
                .to_owned(),
        ),
        (Basis::Versions, _) => None,
    }
}

/// A number of flushes: `1 flush`, `30 flushes`.
pub fn flushes(number: u64) -> String {
    let plural = if number == 1 { "" } else { "es" };
    format!("{} flush{plural}", Thousands(number))
}

fn notes(of: &Of<'_>, estimate: &Estimate) -> Vec<String> {
    let mut notes = of.serving.to_vec();
    let opted_in = estimate.ways.iter().any(|way| way.way.is_only_changed());
    if *of.basis == Basis::Versions {
        notes.push(
            "Versions that a lifecycle rule or somebody has removed for good are not seen: then the numbers are too \
             low, and an upload may look like the first of its key."
                .to_owned(),
        );
    }
    match (of.settings, opted_in) {
        (None, _) => notes.push(
            "The tags of the bucket cannot be read: exceptionPaths may make it cheaper.".to_owned(),
        ),
        (Some(settings), true) if settings.only_changed => {
            notes.push("The bucket has the tag invalidate=changed.".to_owned());
        }
        _ => {}
    }
    if opted_in {
        notes.push(
            "With invalidate=changed: a list tells contents, but no headers and tags. An upload of the same content \
             with another header is paid for, but not here. The `/*` with which each distribution begins is counted."
                .to_owned(),
        );
        notes.extend(match of.facts.owner_enforced {
            Some(true) => None,
            Some(false) => Some(
                "The bucket has ACLs, so invalidate=changed would save nothing: set Object Ownership to \
                 BucketOwnerEnforced."
                    .to_owned(),
            ),
            None => Some(
                "Whether the bucket has ACLs may not be read. If it has, invalidate=changed saves nothing."
                    .to_owned(),
            ),
        });
    }
    for way in estimate.ways.iter().filter(|way| way.above_limits > 0) {
        let verb = if way.above_limits == 1 { "was" } else { "were" };
        let flushes = flushes(way.above_limits);
        let mut note = format!("{}: {flushes} {verb} above a spending limit", way.way);
        if way.waiting > 0 {
            note += &format!(", and {} would still wait", Counted(way.waiting, "path"));
        }
        notes.push(note + ".");
    }
    if of.span.1 - of.span.0 > Duration::days(30) {
        notes.push("Each thirty days are a month of their own, with 1,000 free paths.".to_owned());
    }
    notes.push(
        "The 1,000 free paths of a month are for the whole account: what others invalidate is not in here \
         (`invalidatorctl bill` shows it)."
            .to_owned(),
    );
    notes
}
