//! Which held objects a job submits. It is noted before the job is, so that a command that was interrupted after that
//! submits nothing twice: the next one removes these objects, and only then plans what is left.

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use invalidator::aws::error::{error_of, service_error};
use invalidator_core::pause::HeldKey;
use serde::{Deserialize, Serialize};

use crate::held::HeldObject;
use crate::stored_object::find;

const VERSION: u32 = 1;

/// A job that takes the place of held objects.
#[derive(Debug, Deserialize, Serialize)]
pub struct Note {
    v: u32,
    pub job: String,
    pub objects: Vec<String>,
}

/// Where the note of a pause is.
fn key_of(pause: &str) -> String {
    format!("state/resuming/{pause}.json")
}

/// Notes it.
///
/// # Errors
/// That of S3.
pub async fn write(
    s3: &Client,
    bucket: &str,
    pause: &str,
    job: &str,
    held: &[HeldObject],
) -> Result<()> {
    let note = Note {
        v: VERSION,
        job: job.to_owned(),
        objects: held.iter().map(|it| it.key.clone()).collect(),
    };
    let key = key_of(pause);
    let call = s3.put_object().bucket(bucket).key(&key);
    let call = call.body(serde_json::to_vec(&note)?.into());
    let written = call.send().await.map_err(|error| service_error(&error));
    written.with_context(|| format!("failed to write s3://{bucket}/{key}"))?;
    Ok(())
}

/// The note of an earlier command that has not ended.
///
/// # Errors
/// If it cannot be read.
pub async fn read(s3: &Client, bucket: &str, pause: &str) -> Result<Option<Note>> {
    let key = key_of(pause);
    let Some(object) = find(s3, bucket, &key).await? else {
        return Ok(None);
    };
    let note: Note = serde_json::from_slice(&object.text)
        .with_context(|| format!("s3://{bucket}/{key} is no note of a job"))?;
    if note.v != VERSION {
        bail!(
            "s3://{bucket}/{key} has the version {}, which this program does not know",
            note.v
        );
    }
    // Whoever wrote it may not choose what is deleted: only what a pause holds back.
    if let Some(other) = note.objects.iter().find(|it| HeldKey::of(it).is_none()) {
        bail!("s3://{bucket}/{key} names `{other}`, which holds no changes back");
    }
    Ok(Some(note))
}

/// Removes it.
///
/// # Errors
/// That of S3.
pub async fn remove(s3: &Client, bucket: &str, pause: &str) -> Result<()> {
    let key = key_of(pause);
    let deleted = s3.delete_object().bucket(bucket).key(&key).send().await;
    let deleted = deleted.map_err(|error| error_of("S3 DeleteObject", &error));
    deleted.with_context(|| format!("failed to delete s3://{bucket}/{key}"))?;
    Ok(())
}
