//! Reads the mode from the error bucket, and remembers it for a minute.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use aws_sdk_s3::Client;
use invalidator_core::mode::{ChosenMode, MODE_KEY, Mode, mode_in_force};
use invalidator_core::state::{Reading, StateObject};
use tracing::{error, warn};

use crate::state::{self, State};

/// How long a mode counts as fresh. So long may a flush or submit begin in the old mode.
const KEEP_FOR: Duration = Duration::from_secs(60);

/// How long reading it may take, with all attempts.
const TIME_TO_READ: Duration = Duration::from_secs(20);

const A_DAY: u64 = 24 * 3_600;

/// The mode of the stack, cached.
#[derive(Debug)]
pub struct StackMode {
    initial: Mode,
    keep_for: Duration,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The last mode that was read, and when. By the wall clock, because an environment may be frozen.
    known: Option<(ChosenMode, SystemTime)>,
    /// The day on which a mode other than live was last logged, counted from 1970.
    logged_on: Option<u64>,
}

impl StackMode {
    /// The mode in the error bucket; if nobody has chosen one `initial`. It is kept for at most `keep_for`.
    pub fn new(initial: Mode, keep_for: Duration) -> Self {
        Self {
            initial,
            keep_for: KEEP_FOR.min(keep_for),
            memory: Mutex::default(),
        }
    }

    /// The mode to work in. `None` if it cannot be read and is not known from before; why was logged.
    pub async fn current(&self, state: State<'_>) -> Option<Mode> {
        let now = state.clock.now();
        let known = self.memory().known.clone();
        let chosen = match known {
            Some((chosen, since)) if is_fresh(since, now, self.keep_for) => chosen,
            known => {
                let known = known.map(|(chosen, _)| chosen);
                self.read(state, known.as_ref(), now).await?
            }
        };
        self.log_daily(&chosen, now);
        Some(chosen.mode)
    }

    async fn read(
        &self,
        state: State<'_>,
        known: Option<&ChosenMode>,
        now: SystemTime,
    ) -> Option<ChosenMode> {
        let reading = state.read_within(TIME_TO_READ, MODE_KEY).await;
        let reading = reading.inspect_err(|error| {
            let error = format!("{error:#}");
            error!(error, "the mode cannot be read");
        });
        let is_gone =
            matches!(reading, Ok(Reading::Absent)) && known.is_some_and(ChosenMode::was_chosen);
        if is_gone {
            state.report::<ChosenMode>(MODE_KEY, None, "it is gone, with all its versions");
        }
        let is_told = matches!(reading, Ok(Reading::Found(..) | Reading::Absent)) && !is_gone;
        let chosen = mode_in_force(reading.ok(), known, self.initial)?;
        if is_told {
            self.memory().known = Some((chosen.clone(), now));
        }
        Some(chosen)
    }

    /// Logs a mode other than live once a day.
    fn log_daily(&self, chosen: &ChosenMode, now: SystemTime) {
        if chosen.mode == Mode::Live {
            return;
        }
        let today = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / A_DAY;
        if self.memory().logged_on.replace(today) == Some(today) {
            return;
        }
        warn!(
            mode = %chosen.mode,
            since = chosen.since(),
            by = chosen.by,
            why = chosen.why,
            consequence = chosen.mode.consequence(),
            "the stack is not live"
        );
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the mode from an error bucket; `None` if nobody has chosen one.
///
/// # Errors
/// If it cannot be read, is no mode, or was deleted.
pub async fn read_mode(s3: &Client, bucket: &str) -> Result<Option<ChosenMode>> {
    let why = match state::read(s3, bucket, MODE_KEY).await? {
        Reading::Found(chosen, _) => return Ok(Some(chosen)),
        Reading::Absent => return Ok(None),
        Reading::Deleted => "it was deleted".to_owned(),
        Reading::Unreadable(why, _) => why.to_string(),
    };
    let remedy = ChosenMode::REMEDY;
    bail!("failed to read s3://{bucket}/{MODE_KEY}: {why}. What to do: {remedy}")
}

/// If the clock was set back, it counts as old.
fn is_fresh(since: SystemTime, now: SystemTime, keep_for: Duration) -> bool {
    now.duration_since(since).is_ok_and(|age| age < keep_for)
}
