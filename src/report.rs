//! Files what was refused, and tells the admin.

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use tracing::{error, info};

use super::{SUBJECT, TargetFailure, error_key, mail_text};
use crate::handler::App;
use crate::submit::outcome::Refusal;
use crate::submit::{Refused, describe};

/// Writes a file for each target, then sends one mail for all.
///
/// A distribution that is gone is forgotten, so that the next flush lists them again.
///
/// A mail that cannot be sent is logged and returned as `false`: the files are what must not be
/// lost.
///
/// # Errors
/// If a file could not be written. What was refused must then not be acknowledged.
pub async fn report(app: &App, refused: Vec<Refused<'_>>) -> Result<bool> {
    let failures = TargetFailure::group(refused);
    let is_gone = |refusal: &Refusal| refusal.code == "NoSuchDistribution";
    if failures
        .iter()
        .any(|failure| failure.refusals.iter().any(is_gone))
    {
        app.catalog.forget().await;
    }
    let mut files = Vec::with_capacity(failures.len());
    for failure in &failures {
        let key = error_key(app.clock.now_utc(), &random_name(), &failure.file.id)?;
        write_file(app, &key, failure).await?;
        files.push((key, failure));
    }
    if files.is_empty() {
        return Ok(true);
    }
    let topic = &app.config.topic_arn;
    let call = app
        .clients
        .sns()
        .publish()
        .topic_arn(topic)
        .subject(SUBJECT);
    let sent = call
        .message(mail_text(&app.config.error_bucket, &files))
        .send()
        .await;
    if let Err(error) = &sent {
        error!(error = %describe(error), topic, "the mail about refused paths could not be sent");
    }
    Ok(sent.is_ok())
}

async fn write_file(app: &App, key: &str, failure: &TargetFailure<'_>) -> Result<()> {
    let bucket = &app.config.error_bucket;
    app.clients
        .s3()
        .put_object()
        .bucket(bucket)
        .key(key)
        .content_type("text/plain; charset=utf-8")
        .metadata("error-code", failure.codes())
        .metadata("error-message", failure.messages())
        .body(ByteStream::from(failure.file.to_text().into_bytes()))
        .send()
        .await
        .with_context(|| format!("failed to write {key} to the error bucket {bucket}"))?;
    info!(bucket, key, target_id = %failure.target, code = failure.codes(), "refused paths were filed");
    Ok(())
}

/// Ten of `[a-z0-9]`.
fn random_name() -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..10)
        .map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]))
        .collect()
}
