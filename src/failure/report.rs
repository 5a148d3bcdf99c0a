//! Files what was refused, and tells the admin.

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use time::OffsetDateTime;
use tracing::{error, info};

use super::{SUBJECT, TargetFailure, error_key, mail_text};
use crate::aws::Clients;
use crate::config::Config;
use crate::submit::{Refused, describe};

/// Writes a file for each target, then sends one mail for all.
///
/// A mail that cannot be sent is logged and returned as `false`: the files are what must not be
/// lost.
///
/// # Errors
/// If a file could not be written. What was refused must then not be acknowledged.
pub async fn report(
    clients: &Clients,
    config: &Config,
    refused: Vec<Refused>,
    now: OffsetDateTime,
) -> Result<bool> {
    let failures = TargetFailure::group(refused);
    let mut files = Vec::with_capacity(failures.len());
    for failure in &failures {
        let key = error_key(now, &random_name(), &failure.file.id)?;
        write_file(clients, config, &key, failure).await?;
        files.push((key, failure));
    }
    if files.is_empty() {
        return Ok(true);
    }
    let sent = clients
        .sns()
        .publish()
        .topic_arn(&config.topic_arn)
        .subject(SUBJECT)
        .message(mail_text(&config.error_bucket, &files))
        .send()
        .await;
    if let Err(error) = &sent {
        error!(error = %describe(error), topic = config.topic_arn, "the mail about refused paths could not be sent");
    }
    Ok(sent.is_ok())
}

async fn write_file(
    clients: &Clients,
    config: &Config,
    key: &str,
    failure: &TargetFailure,
) -> Result<()> {
    clients
        .s3()
        .put_object()
        .bucket(&config.error_bucket)
        .key(key)
        .content_type("text/plain; charset=utf-8")
        .metadata("error-code", failure.codes())
        .metadata("error-message", failure.messages())
        .body(ByteStream::from(failure.file.to_text().into_bytes()))
        .send()
        .await
        .with_context(|| {
            format!(
                "failed to write {key} to the error bucket {}",
                config.error_bucket
            )
        })?;
    info!(bucket = config.error_bucket, key, target_id = %failure.target, code = failure.codes(), "refused paths were filed");
    Ok(())
}

/// Ten of `[a-z0-9]`.
fn random_name() -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..10)
        .map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]))
        .collect()
}
