//! Writes error files, and sends the admin a mail about them.

use anyhow::{Context, Result};
use aws_sdk_s3::primitives::ByteStream;
use invalidator_core::error_file::{
    self, SUBJECT, TargetFailure, Unreadable, error_key, mail_text, printable,
};
use invalidator_core::target::TenantId;
use tracing::{error, info};

use crate::app::App;
use crate::aws::error::service_error;

/// A file in the error bucket.
#[derive(Clone, Debug)]
pub struct Filed {
    pub key: String,
    /// The lines of the mail about it.
    pub summary: error_file::Summary,
}

/// Writes the file of one target.
///
/// # Errors
/// If it could not be written. The messages of the rejected paths must then not be deleted.
pub async fn file(app: &App, failure: &TargetFailure<'_>) -> Result<Filed> {
    let key = error_key(app.clock.now_utc(), &random_name(), &failure.file.id)?;
    let text = failure.file.to_text();
    write(app, &key, text, failure.codes(), failure.messages()).await?;
    let bucket = &app.config.error_bucket;
    let alias = app.catalog.alias(&failure.target.distribution);
    info!(stage = "submit", bucket, key, distribution = %failure.target.distribution, alias = %alias, tenant = failure.target.tenant.as_ref().map(TenantId::as_str), code = failure.codes(), "rejected paths were written to the error bucket");
    let summary = failure.summary();
    Ok(Filed { key, summary })
}

/// Writes the body of a message that cannot be read.
///
/// # Errors
/// If it could not be written. The message must then stay.
pub async fn file_unreadable(app: &App, body: &str, why: &str) -> Result<Filed> {
    let unreadable = Unreadable::new(why);
    let key = error_key(app.clock.now_utc(), &random_name(), Unreadable::ID)?;
    let code = Unreadable::CODE.to_owned();
    write(app, &key, body.to_owned(), code, printable(why)).await?;
    let summary = unreadable.summary();
    Ok(Filed { key, summary })
}

/// Sends one mail about files. Returns `false` and logs the error if it cannot be sent; that is not an
/// error of the stage, because the files have all the data.
pub async fn mail(app: &App, files: &[Filed]) -> bool {
    let files: Vec<_> = files.iter().map(|it| (&*it.key, &it.summary)).collect();
    let config = &app.config;
    let text = mail_text(&config.error_bucket, config.submit_queue.as_str(), &files);
    let topic = &config.topic_arn;
    let call = app.clients.sns().publish().topic_arn(topic);
    let sent = call.subject(SUBJECT).message(text).send().await;
    if let Err(error) = &sent {
        error!(stage = "submit", error = %service_error(error), topic, "the mail about rejected paths could not be sent");
    }
    sent.is_ok()
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
