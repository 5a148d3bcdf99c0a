//! The steps that led to a decision: for a person who asks why.
//!
//! Nothing is decided here, as in [`super::reason`].

use super::behavior_list::Ruling;
use super::origin_plan::FoundPath;
use super::reason::{Case, Decision, PathRole, Skip};
use crate::distributions::{Behavior, Distribution, Origin};
use crate::path::ViewerPath;

/// How a key is served at one origin of one distribution.
#[derive(Debug)]
pub struct Route<'a> {
    /// The distribution.
    pub distribution: &'a Distribution,
    /// The origin that is the key's bucket; `None` if the distribution is out of service.
    pub origin: Option<&'a Origin>,
    found: Vec<FoundPath<'a, 'a>>,
    case: Case,
}

impl<'a> Route<'a> {
    pub(super) fn new(
        distribution: &'a Distribution,
        origin: Option<&'a Origin>,
        found: Vec<FoundPath<'a, 'a>>,
        case: Case,
    ) -> Self {
        Self {
            distribution,
            origin,
            found,
            case,
        }
    }

    /// The paths at which viewers get the object, its own path first. There are none if the key is outside
    /// the origin path, or the distribution is out of service.
    pub fn lookups(&self) -> Vec<Lookup<'a>> {
        let found = self.found.iter();
        found.map(|it| Lookup::new(it, self.distribution)).collect()
    }

    /// What is decided.
    pub fn decision(self) -> Decision<'a> {
        match self.origin {
            Some(origin) => Decision::new(self.found, self.distribution, origin, self.case),
            None => Decision::Skip(Skip::of_out_of_service(self.distribution)),
        }
    }
}

/// A path at which viewers may get an object, and which behavior takes it.
#[derive(Clone, Debug)]
pub struct Lookup<'a> {
    /// Which of the object's paths it is.
    pub role: PathRole<'a>,
    /// The path that viewers ask for. CloudFront looks for the behavior of `/` with the path of the default
    /// root object.
    pub asked: ViewerPath<'a>,
    /// The behaviors that were tried, in order. The last one takes the path.
    pub tried: Vec<&'a Behavior>,
    /// Whether the behavior sends the path to the origin.
    pub sends_here: bool,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(found: &FoundPath<'a, 'a>, distribution: &'a Distribution) -> Self {
        let taken = found.finding.behavior.get();
        Self {
            role: PathRole::new(found.role),
            asked: found.asked,
            tried: distribution.behaviors().take(taken + 1).collect(),
            sends_here: found.finding.ruling != Ruling::SentElsewhere,
        }
    }

    /// The behavior that takes the path.
    pub fn behavior(&self) -> Option<&'a Behavior> {
        self.tried.last().copied()
    }
}
