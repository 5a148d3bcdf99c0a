//! The steps that led to a decision: for a person who asks why.
//!
//! Nothing is decided here, as in [`super::reason`].

use super::behavior_list::Ruling;
use super::origin_plan::FoundPath;
use super::reason::{Decision, PathRole};
use crate::distributions::{Behavior, Distribution, Origin};
use crate::path::ViewerPath;

/// How a key is served at one origin of one distribution.
#[derive(Debug)]
pub struct Route<'a> {
    /// The distribution.
    pub distribution: &'a Distribution,
    /// The origin that is the key's bucket; `None` if the distribution is out of service.
    pub origin: Option<&'a Origin>,
    /// The paths at which viewers get the object, its own path first. There are none if the key is outside
    /// the origin path, or the distribution is out of service.
    pub lookups: Vec<Lookup<'a>>,
    /// What is decided.
    pub decision: Decision<'a>,
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
