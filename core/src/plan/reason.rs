//! The reasons in a plan, read back key by key: for logs and the command line.
//!
//! Nothing is decided here. Each reason is the answer that the plan's sets of paths were made from.

use std::fmt;
use std::time::Duration;

use super::behavior_list::{ObjectRole, Ruling};
use super::origin_plan::FoundPath;
use crate::distributions::error_pages::ErrorPage;
use crate::distributions::{Behavior, Distribution, Origin};
use crate::event::ChangeKind;
use crate::path::{InvalidationPath, InvalidationPaths, WildcardCause};
use crate::wildcards::is_too_wide;

/// What the plan says about a key.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// The decision for one distribution that has the key's bucket as an origin.
    Decided(&'a Distribution, Decision<'a>),
    /// No distribution serves the key from its cache. The nearest miss, or `None` if the bucket is
    /// not an origin of any distribution.
    Unmatched(Option<(&'a Distribution, Skip<'a>)>),
}

/// What happens to a key at one origin of one distribution.
#[derive(Debug)]
pub enum Decision<'a> {
    /// These paths are invalidated: at least one.
    Invalidate(Vec<PlannedPath<'a>>),
    /// Nothing is invalidated.
    Skip(Skip<'a>),
}

/// A path to invalidate, with its reason.
#[derive(Clone, Debug)]
pub struct PlannedPath<'a> {
    /// The path.
    pub path: InvalidationPath<'a>,
    /// Why it is invalidated.
    pub reason: Reason<'a>,
    /// How many folders deep a wildcard must be, if this one is not: then it is rejected.
    pub too_wide: Option<usize>,
}

/// Why a path is invalidated.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// The behavior that takes the path.
    pub behavior: &'a Behavior,
    /// What happened to the object.
    pub kind: ChangeKind,
    /// Which of the object's paths it is.
    pub role: PathRole<'a>,
    /// Why it is a wildcard, if it is one.
    pub wildcard: Option<WildcardCause>,
}

/// What decisions go by, in addition to the behaviors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// What happened to the object.
    pub kind: ChangeKind,
    pub debounce: Duration,
    pub min_wildcard_depth: usize,
}

/// Which of the paths of an object a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRole<'a> {
    /// The object's own path.
    Own,
    /// `/`, which is answered with the default root object.
    Root,
    /// The folder that is answered with the index document of this name.
    Folder(&'a str),
    /// The paths that are answered with this error page.
    Errors(&'a ErrorPage),
}

/// Why a key is not invalidated at an origin that is its bucket. The later ones are nearer to a match.
#[derive(Clone, Copy, Debug)]
pub enum Skip<'a> {
    /// The distribution is disabled.
    Disabled,
    /// It is a multi-tenant distribution without enabled tenants.
    NoTenants,
    /// The key is outside the folder that the origin serves.
    OutsideOriginPath(&'a Origin),
    /// The behavior that takes the path sends it to another origin.
    SentElsewhere(&'a Behavior),
    /// The behavior that takes the path does not cache. If an error is cached longer than the
    /// debounce, it may hide a created object for this time.
    NotCached(&'a Behavior, Option<Duration>),
}

impl Skip<'_> {
    /// Why nothing is invalidated at a distribution that is out of service.
    pub(super) fn of_out_of_service(distribution: &Distribution) -> Self {
        if distribution.enabled {
            Self::NoTenants
        } else {
            Self::Disabled
        }
    }

    /// The reason without what differs from distribution to distribution.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NoTenants => "no enabled tenant",
            Self::OutsideOriginPath(_) => "outside origin path",
            Self::SentElsewhere(_) => "sent to another origin",
            Self::NotCached(..) => "not cached",
        }
    }

    /// How near this is to a match: the later reasons are nearer.
    pub fn nearness(self) -> u8 {
        match self {
            Self::Disabled => 0,
            Self::NoTenants => 1,
            Self::OutsideOriginPath(_) => 2,
            Self::SentElsewhere(_) => 3,
            Self::NotCached(..) => 4,
        }
    }
}

impl<'a> Decision<'a> {
    /// The decision on a key at one origin, from what the behavior list says about its paths.
    pub(super) fn new(
        found: Vec<FoundPath<'a, 'a>>,
        distribution: &'a Distribution,
        origin: &'a Origin,
        case: Case,
    ) -> Self {
        let Some(own) = found.first() else {
            return Self::Skip(Skip::OutsideOriginPath(origin));
        };
        let behavior = distribution.behavior(own.finding.behavior.get());
        let skip = match own.finding.ruling {
            Ruling::SentElsewhere => Some(Skip::SentElsewhere(behavior)),
            Ruling::NotCached => {
                let ttl = distribution.error_caching.missing_object_ttl();
                let is_hidden = ttl > case.debounce;
                Some(Skip::NotCached(behavior, is_hidden.then_some(ttl)))
            }
            Ruling::Invalidate { .. } => None,
        };
        let mut paths: Vec<PlannedPath<'_>> = Vec::new();
        for path in found
            .into_iter()
            .flat_map(|it| planned(it, distribution, case))
        {
            if !paths.iter().any(|other| other.path == path.path) {
                paths.push(path);
            }
        }
        match skip {
            Some(skip) if paths.is_empty() => Self::Skip(skip),
            _ => Self::Invalidate(paths),
        }
    }
}

/// The verdicts on a key, from the decisions of all distributions that have its bucket as an origin.
pub(super) fn verdicts<'a>(
    decisions: impl Iterator<Item = (&'a Distribution, Decision<'a>)>,
) -> Vec<Verdict<'a>> {
    let mut verdicts = Vec::new();
    let mut nearest: Option<(&Distribution, Skip<'_>)> = None;
    let mut is_matched = false;
    for (distribution, decision) in decisions {
        match &decision {
            Decision::Invalidate(_) => is_matched = true,
            Decision::Skip(skip) => {
                if nearest.is_none_or(|(_, other)| skip.nearness() > other.nearness()) {
                    nearest = Some((distribution, *skip));
                }
            }
        }
        verdicts.push(Verdict::Decided(distribution, decision));
    }
    if !is_matched {
        verdicts.push(Verdict::Unmatched(nearest));
    }
    verdicts
}

impl<'a> PathRole<'a> {
    pub(super) fn new(role: Option<ObjectRole<'a>>) -> Self {
        match role {
            None => Self::Own,
            Some(ObjectRole::DefaultRootObject(_)) => Self::Root,
            Some(ObjectRole::IndexDocument(name)) => Self::Folder(name),
            Some(ObjectRole::ErrorPage(page, _)) => Self::Errors(page),
        }
    }
}

/// The paths of an answer, with their reason.
fn planned<'a>(
    found: FoundPath<'a, 'a>,
    distribution: &'a Distribution,
    case: Case,
) -> impl Iterator<Item = PlannedPath<'a>> {
    let role = PathRole::new(found.role);
    let behavior = distribution.behavior(found.finding.behavior.get());
    let Case {
        kind,
        min_wildcard_depth,
        ..
    } = case;
    let paths = found.paths.into_iter();
    let paths = paths.flat_map(InvalidationPaths::with_causes);
    paths.map(move |(path, wildcard)| PlannedPath {
        reason: Reason {
            behavior,
            kind,
            role,
            wildcard,
        },
        too_wide: is_too_wide(&path, wildcard, min_wildcard_depth).then_some(min_wildcard_depth),
        path,
    })
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalidate(paths) => {
                let mut separator = "";
                for path in paths {
                    write!(f, "{separator}")?;
                    if paths.len() > 1 {
                        write!(f, "{}: ", path.path)?;
                    }
                    write!(f, "{path}")?;
                    separator = "; ";
                }
                Ok(())
            }
            Self::Skip(skip) => write!(f, "{skip}"),
        }
    }
}

/// The reason, and what a wildcard covers.
impl fmt::Display for PlannedPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let (Some(cause), Some(reach)) = (self.reason.wildcard, self.path.reach()) {
            write!(f, ", a wildcard over {reach} because {cause}")?;
        }
        match self.too_wide {
            Some(depth) => write!(f, ", rejected because MinWildcardDepth is {depth}"),
            None => Ok(()),
        }
    }
}

/// All but what concerns wildcards.
impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            PathRole::Own => String::new(),
            PathRole::Root => ", answered with the default root object".to_owned(),
            PathRole::Folder(name) => format!(", answered with its `{name}`"),
            PathRole::Errors(page) => {
                let (path, seconds) = (&page.path, page.ttl.as_secs());
                return write!(
                    f,
                    "error page `{path}` is cached for {seconds} s under any path that has an error"
                );
            }
        };
        write!(f, "{}: {}{role}", self.behavior, self.behavior.caching)?;
        if self.kind == ChangeKind::Deleted && !self.behavior.caching.caches() {
            write!(f, ", but a deletion always counts")?;
        }
        Ok(())
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
            Self::NotCached(behavior, hidden) => {
                write!(f, "{behavior}: {}", behavior.caching)?;
                match hidden {
                    Some(ttl) => write!(
                        f,
                        "; a cached 403 or 404 may hide it for {} s",
                        ttl.as_secs()
                    ),
                    None => Ok(()),
                }
            }
        }
    }
}
