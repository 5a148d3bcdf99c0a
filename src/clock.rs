//! The time of day, from the system or a simulation. Only this crate reads a clock; `invalidator_core`
//! takes the time as an argument.

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
    /// Takes Lambda's deadline, in milliseconds since 1970.
    pub fn from_milliseconds(milliseconds: u64, clock: Clock) -> Self {
        Self {
            at: UNIX_EPOCH + Duration::from_millis(milliseconds),
            clock,
        }
    }

    /// A deadline in the far future, for use without Lambda.
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
