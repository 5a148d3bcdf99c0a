//! Reads the list of pauses from the error bucket, and remembers it for a minute.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use aws_sdk_s3::Client;
use invalidator_core::pause::{PAUSES_KEY, Pauses, pauses_in_force};
use invalidator_core::state::{Reading, StateObject};
use tracing::error;

use crate::state::{self, State};

/// How long the list counts as fresh. So long may a flush begin that does not know a new pause.
const KEEP_FOR: Duration = Duration::from_secs(60);

/// How long reading it may take.
const TIME_TO_READ: Duration = Duration::from_secs(10);

/// The pauses of the stack, cached.
#[derive(Debug)]
pub struct StackPauses {
    keep_for: Duration,
    /// The last list that was read, and when. By the wall clock, because an environment may be frozen.
    known: Mutex<Option<(Pauses, SystemTime)>>,
}

impl StackPauses {
    /// The list in the error bucket. It is kept for at most `keep_for`.
    pub fn new(keep_for: Duration) -> Self {
        Self {
            keep_for: KEEP_FOR.min(keep_for),
            known: Mutex::default(),
        }
    }

    /// The pauses to work by. `None` if they cannot be read and are not known from before; why was logged.
    pub async fn current(&self, state: State<'_>) -> Option<Pauses> {
        let now = state.clock.now();
        let known = self.known().clone();
        // If the clock was set back, it counts as old.
        let is_fresh = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age < self.keep_for);
        match known {
            Some((pauses, at)) if is_fresh(at) => return Some(pauses),
            _ => {}
        }
        let reading = state.read_within(TIME_TO_READ, PAUSES_KEY).await;
        let reading = reading.inspect_err(|error| {
            let error = format!("{error:#}");
            error!(error, "the list of pauses cannot be read");
        });
        let is_told = matches!(reading, Ok(Reading::Found(..) | Reading::Absent));
        let known = known.map(|(pauses, _)| pauses);
        let pauses = pauses_in_force(reading.ok(), known.as_ref())?;
        if is_told {
            *self.known() = Some((pauses.clone(), now));
        }
        Some(pauses)
    }

    /// The list as it is now.
    ///
    /// # Errors
    /// If it cannot be read, or is not there.
    pub async fn now(&self, state: State<'_>) -> Result<Pauses> {
        let reading = state.read_within::<Pauses>(TIME_TO_READ, PAUSES_KEY);
        let why = match reading.await? {
            Reading::Found(pauses, _) => {
                *self.known() = Some((pauses.clone(), state.clock.now()));
                return Ok(pauses);
            }
            Reading::Absent => "it is gone, with all its versions".to_owned(),
            Reading::Deleted => "it was deleted".to_owned(),
            Reading::Unreadable(why, _) => why.to_string(),
        };
        bail!("s3://{}/{PAUSES_KEY}: {why}", state.bucket)
    }

    fn known(&self) -> MutexGuard<'_, Option<(Pauses, SystemTime)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the list of pauses from an error bucket.
///
/// # Errors
/// If it cannot be read, is no list, or was deleted.
pub async fn read_pauses(s3: &Client, bucket: &str) -> Result<Pauses> {
    let why = match state::read(s3, bucket, PAUSES_KEY).await? {
        Reading::Found(pauses, _) => return Ok(pauses),
        Reading::Absent => return Ok(Pauses::default()),
        Reading::Deleted => "it was deleted".to_owned(),
        Reading::Unreadable(why, _) => why.to_string(),
    };
    let remedy = Pauses::REMEDY;
    bail!("failed to read s3://{bucket}/{PAUSES_KEY}: {why}. What to do: {remedy}")
}
