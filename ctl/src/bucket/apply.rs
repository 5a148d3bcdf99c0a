//! Writes the settings of a bucket, if nobody has changed them in the meantime.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_s3::types::{Tag, Tagging};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator::aws::error::error_of;

use super::change::tag_changes;
use super::settings::{Settings, read};
use crate::account::Account;
use crate::notification::Notifications;
use crate::output::tell;

/// A permission takes effect within seconds, and S3 looks for it. So it is tried again so often.
const ATTEMPTS: u32 = 6;

const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

/// Writes what differs.
///
/// # Errors
/// If somebody has changed the settings since they were read: then nothing is written. If S3 refuses them.
pub async fn apply(
    account: &Account,
    bucket: &str,
    before: &Settings,
    after: &Settings,
) -> Result<()> {
    if Notifications::from(&before.notifications) != Notifications::from(&after.notifications) {
        put_notifications(account, bucket, before, after).await?;
    }
    if !tag_changes(&before.tags, &after.tags).is_empty() {
        put_tags(account, bucket, before, after).await?;
    }
    Ok(())
}

/// S3 knows no condition for this call. So it is read once more just before it is written.
async fn put_notifications(
    account: &Account,
    bucket: &str,
    before: &Settings,
    after: &Settings,
) -> Result<()> {
    for attempt in 1..=ATTEMPTS {
        let now = read(account, bucket).await?;
        if now.notifications != before.notifications {
            bail!(
                "somebody has just changed the notifications of {bucket}: they were not written; run this again"
            );
        }
        let call = account.clients.s3().put_bucket_notification_configuration();
        let call = call.bucket(bucket).expected_bucket_owner(&account.number);
        let call = call.notification_configuration(after.notifications.clone());
        let Err(error) = call.send().await else {
            return check_written(account, bucket, after).await;
        };
        // S3 invokes each destination, or looks at its policy, before it saves a rule.
        let is_unverified = error.code() == Some("InvalidArgument")
            && error.message().is_some_and(|it| it.contains("validate"));
        if is_unverified && attempt < ATTEMPTS {
            tell("S3 does not see the permission yet; trying again");
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            continue;
        }
        let message = error.message().unwrap_or_default().to_owned();
        if is_unverified {
            bail!(
                "S3 PutBucketNotificationConfiguration: InvalidArgument: {message}. A destination of one of the \
                 bucket's rules does not exist, or does not let S3 send to it; nothing was changed. What to do: look \
                 at the rules with `aws s3api get-bucket-notification-configuration --bucket {bucket}`, and remove or \
                 fix the broken one."
            );
        }
        let error = error_of("S3 PutBucketNotificationConfiguration", &error);
        return Err(error)
            .with_context(|| format!("the notifications of {bucket} were not changed"));
    }
    Ok(())
}

/// Whether everything is there that was written.
async fn check_written(account: &Account, bucket: &str, after: &Settings) -> Result<()> {
    let wanted = Notifications::from(&after.notifications);
    let mut missing = Vec::new();
    for _ in 0..ATTEMPTS {
        let now = Notifications::from(&read(account, bucket).await?.notifications);
        missing = wanted
            .rules
            .iter()
            .filter(|it| !now.rules.contains(it))
            .cloned()
            .collect();
        if missing.is_empty() && now.event_bridge == wanted.event_bridge {
            return Ok(());
        }
        // S3 may still answer with the old ones.
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    bail!(
        "the notifications of {bucket} were written, and do not show what was written ({}): somebody may have written \
         others at the same time; look at them, and run this again",
        missing.join("; ")
    );
}

async fn put_tags(
    account: &Account,
    bucket: &str,
    before: &Settings,
    after: &Settings,
) -> Result<()> {
    let now = read(account, bucket).await?;
    if !tag_changes(&now.tags, &before.tags).is_empty() {
        bail!(
            "somebody has just changed the tags of {bucket}: they were not written; run this again"
        );
    }
    let what = || format!("the tags of {bucket} were not changed");
    let s3 = account.clients.s3();
    if after.tags.is_empty() {
        let call = s3.delete_bucket_tagging().bucket(bucket);
        let answer = call.expected_bucket_owner(&account.number).send().await;
        answer
            .map_err(|error| error_of("S3 DeleteBucketTagging", &error))
            .with_context(what)?;
        return Ok(());
    }
    let tags = after.tags.iter();
    let tags = tags.map(|tag| Tag::builder().key(&tag.key).value(&tag.value).build());
    let tags: Vec<Tag> = tags.collect::<Result<_, _>>()?;
    let tagging = Tagging::builder().set_tag_set(Some(tags)).build()?;
    let call = s3.put_bucket_tagging().bucket(bucket).tagging(tagging);
    let answer = call.expected_bucket_owner(&account.number).send().await;
    answer
        .map_err(|error| error_of("S3 PutBucketTagging", &error))
        .with_context(what)?;
    Ok(())
}
