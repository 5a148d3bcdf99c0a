//! Reads what is held back.

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use invalidator_core::buffered::{Buffered, TargetScope, unpack};
use invalidator_core::plan::{Changes, MessageIndex};

use crate::held::HeldObject;
use crate::progress::Progress;
use crate::stored_object::find;

/// Changes for the same targets; for all, if these are not named.
pub type Scoped = (Option<Vec<TargetScope>>, Changes);

/// Reads all changes of objects, by the targets that they are for.
///
/// # Errors
/// If an object cannot be read, or is none that the function has written.
pub async fn read(
    s3: &Client,
    bucket: &str,
    objects: &[HeldObject],
    progress: &Progress,
) -> Result<Vec<Scoped>> {
    let mut all: Vec<Scoped> = Vec::new();
    for object in objects {
        let key = &object.key;
        let Some(text) = text(s3, bucket, key).await? else {
            continue;
        };
        for line in text.lines() {
            let unpacked = unpack(line);
            let unpacked = unpacked.with_context(|| format!("s3://{bucket}/{key}"))?;
            let Buffered::Changes { scope, changes } = unpacked else {
                bail!("s3://{bucket}/{key} holds a set, where changes are expected");
            };
            let targets = scope.map(|scope| scope.targets);
            let place = match all.iter().position(|(known, _)| *known == targets) {
                Some(place) => place,
                None => {
                    all.push((targets, Changes::default()));
                    all.len() - 1
                }
            };
            for change in &changes {
                all[place].1.add(change, MessageIndex::new(0))?;
            }
        }
        progress.steps(object.of.changes);
    }
    Ok(all)
}

/// The text of an object; `None` if it is not there any more.
///
/// # Errors
/// If it cannot be read.
pub async fn text(s3: &Client, bucket: &str, key: &str) -> Result<Option<String>> {
    let Some(object) = find(s3, bucket, key).await? else {
        return Ok(None);
    };
    let text = String::from_utf8(object.text);
    Ok(Some(text.with_context(|| {
        format!("s3://{bucket}/{key} is not UTF-8")
    })?))
}
