//! The rations of wildcards that names need, as all environments know them.
//!
//! They are one object in the error bucket. If it cannot be read or written, an environment goes by what it
//! remembers: then some wildcards are submitted too often, and none is lost.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use invalidator_core::event::BucketName;
use invalidator_core::ration::{Rations, STATE_KEY, When};
use invalidator_core::state::Reading;
use invalidator_core::target::Target;
use tracing::warn;

use crate::metrics::milliseconds;
use crate::state::State;

/// How long reading the object may take.
const TIME_TO_READ: Duration = Duration::from_secs(3);

/// What an environment remembers of the rations.
#[derive(Debug)]
pub struct WildcardRations {
    interval: Duration,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    rations: Rations,
    /// Whether rations were used that are not in the object yet.
    is_ahead: bool,
}

impl WildcardRations {
    /// Rations of this time each; no limit if it is zero.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            memory: Mutex::default(),
        }
    }

    /// Looks which rations other environments have used.
    pub async fn load(&self, state: State<'_>) {
        if self.interval.is_zero() {
            return;
        }
        let reading = state.read_within::<Rations>(TIME_TO_READ, STATE_KEY);
        match reading.await {
            Ok(Reading::Found(rations, _)) => {
                let when = self.at(state.clock.now());
                self.memory().rations.merge(&rations, when);
            }
            Ok(Reading::Absent | Reading::Deleted | Reading::Unreadable(..)) => {}
            Err(error) => warn_about(&error),
        }
    }

    /// How long wildcards of this bucket and target have to wait. Zero if they may be submitted now; then
    /// the next ones have to wait.
    pub fn take(&self, bucket: &BucketName, target: &Target, now: SystemTime) -> Duration {
        let mut memory = self.memory();
        let wait = memory.rations.take(bucket, target, self.at(now));
        memory.is_ahead |= wait.is_zero() && !self.interval.is_zero();
        wait
    }

    /// Notes that wildcards that had waited are submitted now.
    pub fn used(&self, bucket: &BucketName, target: &Target, now: SystemTime) {
        let mut memory = self.memory();
        memory.rations.used(bucket, target, self.at(now));
        memory.is_ahead = !self.interval.is_zero();
    }

    /// Tells other environments which rations were used.
    pub async fn save(&self, state: State<'_>) {
        let (used, is_ahead) = {
            let mut memory = self.memory();
            let is_ahead = std::mem::take(&mut memory.is_ahead);
            (memory.rations.clone(), is_ahead)
        };
        if !is_ahead {
            return;
        }
        let when = self.at(state.clock.now());
        let saved = state.change(STATE_KEY, |rations: &mut Rations| {
            rations.merge(&used, when);
            true
        });
        if let Err(error) = saved.await {
            warn_about(&error);
        }
    }

    fn at(&self, now: SystemTime) -> When {
        When {
            now: milliseconds(now),
            interval: self.interval,
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_about(error: &anyhow::Error) {
    let error = format!("{error:#}");
    warn!(
        stage = "flush",
        error, "the rations of wildcards cannot be kept, so some may be submitted too often"
    );
}
