//! Which decisions are logged one by one: all of a quiet site, and a sample of a busy one's. All are counted.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use invalidator_core::allowance::Allowance;

use crate::metrics::milliseconds;

/// What an environment may still log.
#[derive(Debug, Default)]
pub struct LoggedDecisions(Mutex<Allowance>);

impl LoggedDecisions {
    /// Whether one more decision may be logged.
    pub fn may_log(&self, now: SystemTime) -> bool {
        let mut allowance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        allowance.take(milliseconds(now))
    }
}
