//! The time of day, the system's or a simulation's. Only the shell asks for it; what decides takes
//! the time as an argument.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    pub fn system() -> Self {
        Self::new(SystemTime::now)
    }

    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// The time in UTC, as a date.
    pub fn now_utc(&self) -> OffsetDateTime {
        self.now().into()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// When Lambda ends the invocation.
#[derive(Clone, Debug)]
pub struct Deadline {
    at: SystemTime,
    clock: Clock,
}

impl Deadline {
    /// Takes the deadline as Lambda states it, in milliseconds since 1970.
    pub fn from_milliseconds(milliseconds: u64, clock: Clock) -> Self {
        Self {
            at: UNIX_EPOCH + Duration::from_millis(milliseconds),
            clock,
        }
    }

    /// A deadline far away, for where there is none.
    pub fn none() -> Self {
        const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
        let clock = Clock::system();
        Self {
            at: clock.now() + A_YEAR,
            clock,
        }
    }

    pub fn remaining(&self) -> Duration {
        self.at.duration_since(self.clock.now()).unwrap_or_default()
    }
}
