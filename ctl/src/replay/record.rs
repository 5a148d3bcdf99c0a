//! The record of a replay: the error file itself, under another folder, with who submitted it and when. It is
//! written before anything is submitted, and the error file is deleted after that. So a replay that was
//! interrupted leaves both, and the next one asks CloudFront what was done.

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::MetadataDirective;
use invalidator::aws::error::{error_of, service_error};
use invalidator_core::error_file::FOLDER;
use invalidator_core::text::one_line;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The folder of the files that were replayed.
pub const DONE: &str = "invalidation_error_done/";

const AT: &str = "replayed-at";
const BY: &str = "replayed-by";

/// An earlier replay of a file.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was submitted.
    pub at: OffsetDateTime,
    /// Who did it.
    pub by: String,
}

/// The key of the record of an error file.
pub fn done_key(key: &str) -> String {
    format!("{DONE}{}", key.strip_prefix(FOLDER).unwrap_or(key))
}

/// The earlier replay of a file, if there was one.
///
/// # Errors
/// If S3 does not say.
pub async fn find(s3: &Client, bucket: &str, key: &str) -> Result<Option<Record>> {
    let call = s3.head_object().bucket(bucket).key(done_key(key));
    let head = match call.send().await {
        Ok(head) => head,
        // A HEAD has no body, so S3 cannot tell NoSuchKey.
        Err(error) if matches!(error.code(), Some("NotFound" | "NoSuchKey")) => return Ok(None),
        Err(error) => return Err(service_error(&error).into()),
    };
    let metadata = head.metadata.unwrap_or_default();
    let at = metadata
        .get(AT)
        .and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
    let modified = head.last_modified.as_ref();
    let modified = modified.and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok());
    Ok(Some(Record {
        // Somebody may have copied the file by hand.
        at: at.or(modified).context("the record has no time")?,
        by: metadata
            .get(BY)
            .map_or_else(|| "somebody".to_owned(), |by| one_line(by, 200)),
    }))
}

/// Writes the record of a file that is about to be submitted.
///
/// # Errors
/// That of S3.
pub async fn write(
    s3: &Client,
    bucket: &str,
    from: &str,
    key: &str,
    record: &Record,
) -> Result<()> {
    let at = record.at.format(&Rfc3339)?;
    // Metadata is ASCII. The names of users and roles are.
    let by: String = record
        .by
        .chars()
        .filter(|it| it.is_ascii_graphic())
        .collect();
    let call = s3.copy_object().bucket(bucket).key(done_key(key));
    let call = call.copy_source(format!("{bucket}/{from}"));
    let call = call
        .metadata_directive(MetadataDirective::Replace)
        .content_type("text/plain; charset=utf-8");
    let written = call.metadata(AT, at).metadata(BY, by).send().await;
    written.map_err(|error| error_of("S3 CopyObject", &error))?;
    Ok(())
}

/// Deletes an error file that was submitted and has its record.
///
/// # Errors
/// That of S3.
pub async fn delete(s3: &Client, bucket: &str, key: &str) -> Result<()> {
    let deleted = s3.delete_object().bucket(bucket).key(key).send().await;
    deleted.map_err(|error| error_of("S3 DeleteObject", &error))?;
    Ok(())
}
