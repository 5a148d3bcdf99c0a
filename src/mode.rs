//! Reads the mode from the error bucket, and remembers it for a minute.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use invalidator_core::mode::{ChosenMode, MODE_KEY, Mode, ModeReading, mode_in_force};
use tracing::{error, warn};

use crate::aws::error::service_error;
use crate::clock::Clock;

/// How long a mode counts as fresh. So long may a flush or submit begin in the old mode.
const KEEP_FOR: Duration = Duration::from_secs(60);

const A_DAY: u64 = 24 * 3_600;

/// The mode of the stack, cached.
#[derive(Debug)]
pub struct StackMode {
    bucket: String,
    initial: Mode,
    keep_for: Duration,
    clock: Clock,
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
    /// The mode in this error bucket; without the object `initial`. It is kept for at most `keep_for`.
    pub fn new(bucket: String, initial: Mode, keep_for: Duration, clock: Clock) -> Self {
        Self {
            bucket,
            initial,
            keep_for: KEEP_FOR.min(keep_for),
            clock,
            memory: Mutex::default(),
        }
    }

    /// The mode to work in. `None` if it cannot be read and is not known from before; the error was logged.
    pub async fn current(&self, s3: &Client) -> Option<Mode> {
        let now = self.clock.now();
        let known = self.memory().known.clone();
        let chosen = match known {
            Some((chosen, since)) if is_fresh(since, now, self.keep_for) => chosen,
            known => {
                let reading = self.read(s3).await;
                let is_read = !matches!(reading, ModeReading::Unreadable);
                let last_known = known.as_ref().map(|(chosen, _)| chosen);
                let chosen = mode_in_force(reading, last_known, self.initial)?;
                if is_read {
                    self.memory().known = Some((chosen.clone(), now));
                }
                chosen
            }
        };
        self.log_daily(&chosen, now);
        Some(chosen.mode)
    }

    async fn read(&self, s3: &Client) -> ModeReading {
        match read_mode(s3, &self.bucket).await {
            Ok(Some(chosen)) => ModeReading::Found(chosen),
            Ok(None) => ModeReading::Absent,
            Err(error) => {
                let error = format!("{error:#}");
                error!(error, "the mode cannot be read");
                ModeReading::Unreadable
            }
        }
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
/// If it cannot be read, or is no mode.
pub async fn read_mode(s3: &Client, bucket: &str) -> Result<Option<ChosenMode>> {
    let place = || format!("failed to read s3://{bucket}/{MODE_KEY}");
    let object = match s3.get_object().bucket(bucket).key(MODE_KEY).send().await {
        Ok(object) => object,
        // Without the permission to list the bucket, S3 would answer AccessDenied.
        Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
        Err(error) => return Err(service_error(&error)).with_context(place),
    };
    let bytes = object.body.collect().await.with_context(place)?;
    let chosen = ChosenMode::from_json(&String::from_utf8_lossy(&bytes.into_bytes()));
    let chosen = chosen.context("write it again with `invalidatorctl mode`");
    chosen.with_context(place).map(Some)
}

/// If the clock was set back, it counts as old.
fn is_fresh(since: SystemTime, now: SystemTime, keep_for: Duration) -> bool {
    now.duration_since(since).is_ok_and(|age| age < keep_for)
}
