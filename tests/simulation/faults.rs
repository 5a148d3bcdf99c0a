//! What can go wrong with a call.

use std::fmt;

/// The calls of the function, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    BufferChanges,
    SendTick,
    SendSet,
    Receive,
    Delete,
    Hide,
    ReadTags,
    ReadMode,
    WriteFile,
    ReadState,
    WriteState,
    Mail,
    ReadDistributions,
    Invalidate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The connection fails, nothing happened.
    NotConnected,
    /// The call took effect, and the connection breaks before the answer.
    AnswerLost,
    /// The service fails, nothing happened.
    ServiceError,
    /// The call took effect, and the service says that it failed.
    ServiceErrorAfterEffect,
    Throttled,
    /// There is never an answer, and nothing happened.
    Hang,
    /// There is never an answer, but the call took effect.
    HangAfterEffect,
    /// There is never an answer, but the call takes effect long after the caller has given up.
    LateEffect,
    /// All goes well, but takes seconds.
    Slow,
    /// A batch call answers 200, and some of its entries failed.
    EntriesFail,
    /// The service says that it accepted the message, but loses it.
    Vanishes,
}

/// A fault that strikes some calls, each with a probability.
#[derive(Clone, Debug)]
pub struct Rule {
    pub fault: Fault,
    /// Empty: all calls.
    pub calls: Vec<Call>,
    pub probability: f64,
}

impl Rule {
    pub fn new(fault: Fault, calls: &[Call], probability: f64) -> Self {
        Self {
            fault,
            calls: calls.to_vec(),
            probability,
        }
    }

    pub fn strikes(&self, call: Call) -> bool {
        let fits = match self.fault {
            Fault::EntriesFail => {
                matches!(
                    call,
                    Call::BufferChanges | Call::SendSet | Call::Delete | Call::Hide
                )
            }
            Fault::Vanishes => call == Call::SendTick,
            _ => true,
        };
        fits && (self.calls.is_empty() || self.calls.contains(&call))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "connection fails",
            Self::AnswerLost => "answer lost",
            Self::ServiceError => "service error",
            Self::ServiceErrorAfterEffect => "service error after effect",
            Self::Throttled => "throttled",
            Self::Hang => "hangs",
            Self::HangAfterEffect => "hangs after effect",
            Self::LateEffect => "takes effect after the timeout",
            Self::Slow => "slow",
            Self::EntriesFail => "entries of a batch fail",
            Self::Vanishes => "tick vanishes",
        })
    }
}
