//! Writes what the fences of `invalidatorctl wait` have met, to the error bucket. Whoever waits reads it there:
//! see [`invalidator_core::fence`].
//!
//! No real work depends on it. If it cannot be written, nothing else fails, and another fence is sent.

use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use crate::app::App;
use crate::aws::error::service_error;

/// How long writing may take.
const TIME_TO_WRITE: Duration = Duration::from_secs(4);

/// Writes an object. Returns whether it is there.
pub async fn write(app: &App, key: String, body: String) -> bool {
    let call = app.clients.s3().put_object();
    let call = call.bucket(&app.config.error_bucket).key(&key);
    let call = call.content_type("application/json");
    let sent = timeout(TIME_TO_WRITE, call.body(body.into_bytes().into()).send()).await;
    let error = match sent {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => service_error(&error).to_string(),
        Err(_) => format!("no answer within {} s", TIME_TO_WRITE.as_secs()),
    };
    warn!(
        key,
        error, "what a fence has met cannot be written, so whoever waits for it waits for another"
    );
    false
}
