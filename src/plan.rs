//! Changes and distributions in, sets of paths out. Pure: no client, no clock, no randomness.
//!
//! For a change to key K of bucket B, and each origin of a distribution that is B: K below the
//! origin path is the viewer path V. The behavior that takes V must send it to that origin, and
//! must cache, unless the object was deleted: with TTL 0 CloudFront may still hold the error page
//! of a missing object. Every answer carries its reason ([`Decision`], [`Skip`]).

mod sets;

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use crate::distributions::origin::OriginBuckets;
use crate::distributions::{Behavior, Distribution, Origin, Target};
use crate::event::{BucketName, Change, ChangeKind, EventTime, ObjectKey};
use crate::path::{InvalidationPath, ViewerPath};

pub use sets::{PathSet, SetLimits};

/// The index document of a website endpoint whose bucket has no `indexDocument` tag.
const DEFAULT_INDEX_DOCUMENT: &str = "index.html";

/// What planning goes by.
#[derive(Debug)]
pub struct Rules<'a> {
    /// The distributions that may serve the changed buckets.
    pub distributions: &'a [Distribution],
    /// Buckets behind names that do not tell.
    pub origin_buckets: &'a OriginBuckets,
    /// The index document of each bucket that has an `indexDocument` tag.
    pub index_documents: &'a HashMap<BucketName, String>,
    /// How large a set may be.
    pub limits: SetLimits,
}

/// A change and where it came from: the index of a buffered message.
#[derive(Clone, Debug)]
pub struct SourcedChange {
    /// The change.
    pub change: Change,
    /// The index of its message.
    pub source: u32,
}

/// All that happened to one key.
#[derive(Debug)]
pub struct KeyChange {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// A key that was deleted anywhere in the batch counts as deleted, whatever came after.
    pub kind: ChangeKind,
    /// The earliest of its changes.
    pub event_time: Option<EventTime>,
    /// The messages that told of it.
    pub sources: Vec<u32>,
}

/// What becomes of a key at one origin of one distribution.
#[derive(Debug)]
pub enum Decision<'a> {
    /// These paths are invalidated.
    Invalidate {
        /// The paths, nearly always one.
        paths: Vec<InvalidationPath>,
        /// The behavior that decided.
        behavior: &'a Behavior,
        /// What happened to the object.
        kind: ChangeKind,
    },
    /// Nothing is.
    Skip(Skip<'a>),
}

/// Why a key is not invalidated at an origin that is its bucket, the nearest to a match last.
#[derive(Clone, Copy, Debug)]
pub enum Skip<'a> {
    /// The distribution is disabled.
    Disabled,
    /// The distribution is a multi-tenant one without enabled tenants.
    NoTenants,
    /// The key is outside the origin's folder.
    OutsideOriginPath(&'a Origin),
    /// The behavior that takes the path sends it to another origin.
    SentElsewhere(&'a Behavior),
    /// The behavior that takes the path caches nothing.
    NotCached(&'a Behavior),
}

impl Skip<'_> {
    fn nearness(self) -> u8 {
        match self {
            Self::Disabled => 0,
            Self::NoTenants => 1,
            Self::OutsideOriginPath(_) => 2,
            Self::SentElsewhere(_) => 3,
            Self::NotCached(_) => 4,
        }
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalidate {
                behavior,
                kind: ChangeKind::Deleted,
                ..
            } if !behavior.caching.caches() => {
                write!(
                    f,
                    "{behavior}: {}; a deletion counts all the same",
                    behavior.caching
                )
            }
            Self::Invalidate { behavior, .. } => write!(f, "{behavior}: {}", behavior.caching),
            Self::Skip(skip) => write!(f, "{skip}"),
        }
    }
}

impl fmt::Display for Skip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => write!(f, "the distribution is disabled"),
            Self::NoTenants => write!(f, "the distribution has no enabled tenant"),
            Self::OutsideOriginPath(origin) => {
                write!(
                    f,
                    "outside origin path `{}` of origin `{}`",
                    origin.path.as_str(),
                    origin.id
                )
            }
            Self::SentElsewhere(behavior) => {
                write!(f, "{behavior} sends it to `{}`", behavior.target_origin_id)
            }
            Self::NotCached(behavior) => write!(f, "{behavior}: {}", behavior.caching),
        }
    }
}

/// What is told of each key while planning, for logs and for `invalidatorctl plan`.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// What a distribution with this bucket as an origin makes of the key.
    Decided(&'a Distribution, &'a Decision<'a>),
    /// No distribution serves the key: the nearest miss, or `None` if no distribution has the
    /// bucket as an origin.
    Unmatched(Option<(&'a Distribution, Skip<'a>)>),
}

/// Invalidations to make, in order of target.
#[derive(Debug, Default)]
pub struct Plan {
    /// The sets of each target.
    pub targets: Vec<TargetPlan>,
    /// What became of the keys.
    pub counts: Counts,
}

/// The sets of one target.
#[derive(Debug)]
pub struct TargetPlan {
    /// The distribution or tenant.
    pub target: Target,
    /// Its sets, to be submitted in this order.
    pub sets: Vec<PathSet>,
}

/// What became of the keys of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Different keys.
    pub keys: usize,
    /// Keys that no distribution serves from its cache.
    pub unmatched: usize,
    /// Of those, the ones that some distribution serves, but does not cache.
    pub not_cached: usize,
    /// Paths in all sets.
    pub paths: usize,
}

/// Plans the invalidations for these changes. `tell` hears the verdict on each key.
pub fn plan(
    changes: Vec<SourcedChange>,
    rules: &Rules<'_>,
    mut tell: impl FnMut(&KeyChange, Verdict<'_>),
) -> Plan {
    let keys = merge(changes);
    let mut counts = Counts {
        keys: keys.len(),
        ..Counts::default()
    };
    let mut builders: Vec<sets::Builder> = rules
        .distributions
        .iter()
        .map(|_| sets::Builder::default())
        .collect();
    for key in &keys {
        let mut nearest: Option<(&Distribution, Skip<'_>)> = None;
        let mut matched = false;
        for (distribution, builder) in rules.distributions.iter().zip(&mut builders) {
            for decision in decide(key, distribution, rules) {
                tell(key, Verdict::Decided(distribution, &decision));
                match decision {
                    Decision::Invalidate { paths, .. } => {
                        matched = true;
                        builder.add(paths, key);
                    }
                    Decision::Skip(skip) => {
                        if nearest.is_none_or(|(_, other)| skip.nearness() > other.nearness()) {
                            nearest = Some((distribution, skip));
                        }
                    }
                }
            }
        }
        if !matched {
            counts.unmatched += 1;
            counts.not_cached += usize::from(matches!(nearest, Some((_, Skip::NotCached(_)))));
            tell(key, Verdict::Unmatched(nearest));
        }
    }
    let mut targets = Vec::new();
    for (distribution, builder) in rules.distributions.iter().zip(builders) {
        let sets = builder.into_sets(rules.limits);
        for target in &distribution.targets {
            counts.paths += sets.iter().map(|set| set.paths.len()).sum::<usize>();
            if !sets.is_empty() {
                targets.push(TargetPlan {
                    target: target.clone(),
                    sets: sets.clone(),
                });
            }
        }
    }
    Plan { targets, counts }
}

/// One entry a key, in the order in which the keys first appear.
fn merge(changes: Vec<SourcedChange>) -> Vec<KeyChange> {
    let mut positions: HashMap<(BucketName, ObjectKey), usize> = HashMap::new();
    let mut keys: Vec<KeyChange> = Vec::new();
    for SourcedChange { change, source } in changes {
        let id = (change.bucket.clone(), change.key.clone());
        let position = *positions.entry(id).or_insert(keys.len());
        let Some(known) = keys.get_mut(position) else {
            keys.push(KeyChange {
                bucket: change.bucket,
                key: change.key,
                kind: change.kind,
                event_time: change.event_time,
                sources: vec![source],
            });
            continue;
        };
        known.kind = known.kind.max(change.kind);
        known.event_time = match (known.event_time, change.event_time) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        if known.sources.last() != Some(&source) {
            known.sources.push(source);
        }
    }
    keys
}

/// What a distribution makes of a key: an answer for each of its origins that is the key's bucket.
pub fn decide<'a>(
    key: &KeyChange,
    distribution: &'a Distribution,
    rules: &Rules<'_>,
) -> Vec<Decision<'a>> {
    let mut origins = distribution
        .origins_of(key.bucket.as_str(), rules.origin_buckets)
        .peekable();
    let out_of_service = match (distribution.enabled, distribution.targets.is_empty()) {
        (false, _) => Some(Skip::Disabled),
        (true, true) => Some(Skip::NoTenants),
        (true, false) => None,
    };
    if let Some(skip) = out_of_service {
        return origins
            .next()
            .map(|_| Decision::Skip(skip))
            .into_iter()
            .collect();
    }
    let tagged = rules.index_documents.get(&key.bucket).map(String::as_str);
    let decisions = origins.map(|(origin, is_website)| {
        let index_document = tagged.or(is_website.then_some(DEFAULT_INDEX_DOCUMENT));
        decide_at_origin(key, distribution, origin, index_document)
    });
    decisions.collect()
}

fn decide_at_origin<'a>(
    key: &KeyChange,
    distribution: &'a Distribution,
    origin: &'a Origin,
    index_document: Option<&str>,
) -> Decision<'a> {
    let Some(path) = ViewerPath::of_key(key.key.as_str(), &origin.path) else {
        return Decision::Skip(Skip::OutsideOriginPath(origin));
    };
    let own = deciding_behavior(&path, key.kind, distribution, origin);
    // A viewer who asks for the folder is answered by the behavior that takes the folder's path,
    // which need not be the one that takes `/index.html`.
    let folder = index_document
        .and_then(|name| path.folder_of(name))
        .map(|folder| {
            (
                deciding_behavior(&folder, key.kind, distribution, origin),
                folder,
            )
        });
    let behavior = match (own, &folder) {
        (Ok(behavior), _) => behavior,
        (Err(_), Some((Ok(behavior), _))) => *behavior,
        (Err(skip), _) => return Decision::Skip(skip),
    };

    let mut served = Vec::new();
    if let Ok(behavior) = own {
        served.push((path.clone(), behavior));
        // The default root object takes the place of `/` before a behavior is looked for.
        if distribution.default_root_object.as_deref() == Some(path.as_str()) {
            served.push((ViewerPath::root(), behavior));
        }
    }
    if let Some((Ok(behavior), folder)) = folder {
        served.push((folder, behavior));
    }
    let mut paths = Vec::new();
    for (path, behavior) in served {
        for path in path.invalidation_paths(behavior.query_strings) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    Decision::Invalidate {
        paths,
        behavior,
        kind: key.kind,
    }
}

/// The behavior that takes `path`, if it sends it to `origin` and may hold an answer in its cache.
fn deciding_behavior<'a>(
    path: &ViewerPath,
    kind: ChangeKind,
    distribution: &'a Distribution,
    origin: &Origin,
) -> Result<&'a Behavior, Skip<'a>> {
    let behavior = distribution.behavior_for(&path.normalized());
    if !behavior.sends_to(origin) {
        Err(Skip::SentElsewhere(behavior))
    } else if kind == ChangeKind::Created && !behavior.caching.caches() {
        Err(Skip::NotCached(behavior))
    } else {
        Ok(behavior)
    }
}
