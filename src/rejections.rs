//! Writes error files.

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use invalidator_core::error_file::{TargetFailure, Unreadable, error_key, printable};
use invalidator_core::incident::Rejection;
use invalidator_core::target::TenantId;
use tracing::info;

use crate::app::App;
use crate::aws::error::service_error;

/// A file in the error bucket.
#[derive(Clone, Debug)]
pub struct Filed {
    pub key: String,
    /// What the mail tells about it.
    pub rejections: Vec<Rejection>,
}

/// Writes the file of one target.
///
/// # Errors
/// If it could not be written. The messages of the rejected paths must then not be deleted.
pub async fn file(app: &App, failure: &TargetFailure<'_>) -> Result<Filed> {
    let key = error_key(
        app.clock.now_utc(),
        &random_name(),
        failure.file.id.as_str(),
    )?;
    let text = failure.file.to_text();
    write(app, &key, text, failure.codes(), failure.messages()).await?;
    let bucket = &app.config.error_bucket;
    let alias = app.catalog.alias(&failure.target.distribution);
    info!(stage = "submit", bucket, key, distribution = %failure.target.distribution, alias = %alias, tenant = failure.target.tenant.as_ref().map(TenantId::as_str), code = failure.codes(), "rejected paths were written to the error bucket");
    let rejections = failure.rejections(&key, &alias);
    Ok(Filed { key, rejections })
}

/// Writes the body of a message that cannot be read.
///
/// # Errors
/// If it could not be written. The message must then stay.
pub async fn file_unreadable(app: &App, unreadable: &Unreadable, body: &str) -> Result<Filed> {
    let key = error_key(app.clock.now_utc(), &random_name(), Unreadable::ID)?;
    let code = Unreadable::CODE.to_owned();
    let why = printable(unreadable.why());
    write(app, &key, body.to_owned(), code, why).await?;
    let rejections = vec![unreadable.rejection(&key)];
    Ok(Filed { key, rejections })
}

async fn write(app: &App, key: &str, text: String, code: String, message: String) -> Result<()> {
    let bucket = &app.config.error_bucket;
    app.clients
        .s3()
        .put_object()
        .bucket(bucket)
        .key(key)
        .content_type("text/plain; charset=utf-8")
        .metadata("error-code", code)
        .metadata("error-message", message)
        .body(ByteStream::from(text.into_bytes()))
        .send()
        .await
        .map_err(|error| service_error(&error))
        .with_context(|| format!("failed to write {key} to the error bucket {bucket}"))?;
    Ok(())
}

/// Ten random characters of `[a-z0-9]`.
fn random_name() -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..10)
        .map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]))
        .collect()
}
