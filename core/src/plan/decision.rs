//! What a distribution makes of one key, with the reason: for a person, and as the measure of what
//! [`super::origin_plan`] decides of all keys at once.

use std::fmt;

use super::changes::KeyChange;
use super::rules::Rules;
use crate::distributions::{Behavior, Distribution, Origin};
use crate::event::ChangeKind;
use crate::path::{InvalidationPath, ViewerPath};

/// What becomes of a key at one origin of one distribution.
#[derive(Debug)]
pub enum Decision<'a> {
    /// These paths are invalidated.
    Invalidate {
        /// The paths, nearly always one.
        paths: Vec<InvalidationPath<'a>>,
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

/// What is told of a key, in logs and by `invalidatorctl plan`.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// What a distribution with this bucket as an origin makes of the key.
    Decided(&'a Distribution, Decision<'a>),
    /// No distribution serves the key: the nearest miss, or `None` if no distribution has the
    /// bucket as an origin.
    Unmatched(Option<(&'a Distribution, Skip<'a>)>),
}

/// What every distribution makes of a key.
pub fn explain<'a>(key: &KeyChange<'a>, rules: &Rules<'a>) -> Vec<Verdict<'a>> {
    let mut verdicts = Vec::new();
    let mut nearest: Option<(&Distribution, Skip<'_>)> = None;
    let mut matched = false;
    for distribution in rules.distributions {
        for decision in decide(key, distribution, rules) {
            match decision {
                Decision::Invalidate { .. } => matched = true,
                Decision::Skip(skip)
                    if nearest.is_none_or(|(_, other)| skip.nearness() > other.nearness()) =>
                {
                    nearest = Some((distribution, skip));
                }
                Decision::Skip(_) => {}
            }
            verdicts.push(Verdict::Decided(distribution, decision));
        }
    }
    if !matched {
        verdicts.push(Verdict::Unmatched(nearest));
    }
    verdicts
}

/// What a distribution makes of a key: an answer for each of its origins that is the key's bucket.
fn decide<'a>(
    key: &KeyChange<'a>,
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
    let decisions = origins.map(|(origin, is_website)| {
        let index_document = rules.index_document(key.bucket, is_website);
        decide_at_origin(key, distribution, origin, index_document)
    });
    decisions.collect()
}

fn decide_at_origin<'a>(
    key: &KeyChange<'a>,
    distribution: &'a Distribution,
    origin: &'a Origin,
    index_document: Option<&str>,
) -> Decision<'a> {
    let Some(path) = key.path.below(&origin.path) else {
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
        served.push((path, behavior));
        // The default root object takes the place of `/` before a behavior is looked for.
        if distribution.default_root_object.as_deref() == Some(path.as_str()) {
            served.push((ViewerPath::ROOT, behavior));
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
    path: &ViewerPath<'_>,
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
