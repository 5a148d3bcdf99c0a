//! Reads an object of the error bucket that may be absent.

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::DateTime;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator::aws::error::service_error;

/// An object that was read.
pub struct StoredObject {
    pub text: Vec<u8>,
    /// When it was written.
    pub written: Option<DateTime>,
}

/// Reads an object; `None` if it is not there.
///
/// # Errors
/// If S3 does not answer, or not whole.
pub async fn find(s3: &Client, bucket: &str, key: &str) -> Result<Option<StoredObject>> {
    let object = match s3.get_object().bucket(bucket).key(key).send().await {
        Ok(object) => object,
        Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
        Err(error) => {
            let error = service_error(&error);
            return Err(error).with_context(|| format!("failed to read s3://{bucket}/{key}"));
        }
    };
    let written = object.last_modified;
    let text = object.body.collect().await;
    let text = text.with_context(|| format!("the content of {key} does not arrive"))?;
    Ok(Some(StoredObject {
        text: text.to_vec(),
        written,
    }))
}
