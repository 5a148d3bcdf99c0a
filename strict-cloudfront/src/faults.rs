//! Faults on demand.

use std::time::Duration;

use serde::Deserialize;

use super::route::Operation;
use super::rules::{self, Refusal};

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum Fault {
    /// `Throttling`, "Rate exceeded" (400).
    Throttling,
    /// `TooManyInvalidationsInProgress` (400).
    TooManyInvalidationsInProgress,
    /// `AccessDenied` (403).
    AccessDenied,
    /// `NoSuchDistribution` (404), as in the moments after a deletion.
    NoSuchDistribution,
    /// `InternalError` (500).
    InternalError,
    /// `ServiceUnavailable` (503).
    ServiceUnavailable,
    /// Anything else.
    Refuse {
        /// HTTP status.
        status: u16,
        /// `<Code>`.
        code: String,
        /// `<Message>`.
        message: String,
    },
    /// No answer, ever: the client's timeout has to end it.
    Hang,
    /// The connection breaks in the middle of the answer.
    BreakOff,
    /// The right answer, late.
    #[serde(skip)]
    Late(Duration),
}

impl Fault {
    /// For the next so many calls that match.
    pub fn times(self, times: u32) -> Injection {
        Injection {
            left: Some(times),
            ..self.always()
        }
    }

    /// Until it is healed.
    pub fn always(self) -> Injection {
        Injection {
            fault: self,
            left: None,
            spare: 0,
            operation: None,
            target: None,
            after_effect: false,
        }
    }

    /// The refusal it stands for, if it is one.
    pub fn refusal(&self, operation: Operation) -> Option<Refusal> {
        let internal = "CloudFront encountered an internal error. Please try again.";
        match self {
            Self::Throttling => Some(rules::throttling()),
            Self::TooManyInvalidationsInProgress => {
                Some(rules::too_many_in_progress("invalidations"))
            }
            Self::AccessDenied => Some(rules::access_denied(operation)),
            Self::NoSuchDistribution => Some(rules::no_such_distribution()),
            Self::InternalError => Some(Refusal::new(500, "InternalError", internal)),
            Self::ServiceUnavailable => Some(Refusal::new(503, "ServiceUnavailable", internal)),
            Self::Refuse {
                status,
                code,
                message,
            } => Some(Refusal::new(*status, code, message)),
            Self::Hang | Self::BreakOff | Self::Late(_) => None,
        }
    }
}

/// A fault, and the calls it is for: all calls until it is narrowed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    fault: Fault,
    #[serde(rename = "times")]
    left: Option<u32>,
    #[serde(rename = "after", default)]
    spare: u32,
    operation: Option<Operation>,
    target: Option<String>,
    #[serde(rename = "after_it_took_effect", default)]
    after_effect: bool,
}

impl From<Fault> for Injection {
    fn from(fault: Fault) -> Self {
        fault.always()
    }
}

impl Injection {
    /// Only this operation.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only this distribution, tenant or cache policy.
    pub fn of(mut self, target: &str) -> Self {
        self.target = Some(target.to_owned());
        self
    }

    /// Spares the first so many calls that match.
    pub fn after(mut self, calls: u32) -> Self {
        self.spare = calls;
        self
    }

    /// The call takes effect, and only then fails: the client cannot know.
    pub fn after_it_took_effect(mut self) -> Self {
        self.after_effect = true;
        self
    }

    /// What it is narrowed to with [`Self::of`].
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    fn matches(&self, operation: Operation, target: Option<&str>) -> bool {
        self.left != Some(0)
            && self.operation.is_none_or(|wanted| wanted == operation)
            && (self.target.is_none() || self.target.as_deref() == target)
    }
}

/// All injections, in the order they were made.
#[derive(Debug, Default)]
pub struct Faults(Vec<Injection>);

impl Faults {
    /// Adds one.
    pub fn add(&mut self, injection: Injection) {
        self.0.push(injection);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for this call, and whether the call takes effect before it.
    pub fn strike(&mut self, operation: Operation, target: Option<&str>) -> Option<(Fault, bool)> {
        let mut matching = self.0.iter_mut().filter(|it| it.matches(operation, target));
        let injection = matching.find_map(|it| match it.spare {
            0 => Some(it),
            _ => {
                it.spare -= 1;
                None
            }
        })?;
        injection.left = injection.left.map(|left| left - 1);
        Some((injection.fault.clone(), injection.after_effect))
    }
}
