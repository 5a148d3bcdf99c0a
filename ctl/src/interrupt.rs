//! Ctrl-C, for commands that have something to put right before they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

/// How often the flag is looked at.
const OFTEN: Duration = Duration::from_millis(100);

/// A flag that Ctrl-C sets, and the signal that ends a job.
///
/// # Errors
/// If the system does not allow it.
pub fn listen() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag.clone()).context("failed to listen to Ctrl-C")?;
    }
    Ok(flag)
}

/// Waits until the flag is set.
pub async fn interrupted(flag: &AtomicBool) {
    while !flag.load(Ordering::Relaxed) {
        sleep(OFTEN).await;
    }
}
