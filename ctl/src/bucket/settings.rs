//! Reads the notifications and the tags of a bucket.
//!
//! A put replaces all of them. So what this program does not know would be lost: an answer with an element
//! that it does not know is refused.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::types::NotificationConfiguration;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator::aws::error::{error_of, service_error};
use invalidator_core::bucket_tags::BucketTag;

use crate::account::Account;
use crate::notification::configuration;

/// What is set on a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub notifications: NotificationConfiguration,
    pub tags: Vec<BucketTag>,
}

/// Reads it.
///
/// # Errors
/// If the bucket is none of this account and region, if it cannot be read, or not written back whole.
pub async fn read(account: &Account, bucket: &str) -> Result<Settings> {
    Ok(Settings {
        notifications: notifications(account, bucket).await?,
        tags: tags(account, bucket).await?,
    })
}

/// Checks that a bucket can be connected at all.
///
/// # Errors
/// If it is a directory bucket, of another account, or in another region.
pub async fn check_place(account: &Account, bucket: &str) -> Result<()> {
    if bucket.ends_with("--x-s3") {
        bail!(
            "{bucket} is a directory bucket: S3 Express sends no events, so it cannot be connected"
        );
    }
    let call = account.clients.s3().head_bucket().bucket(bucket);
    let call = call.expected_bucket_owner(&account.number);
    let region = match call.send().await {
        Ok(answer) => answer.bucket_region,
        Err(error) => {
            let header = |name| {
                let headers = error.raw_response().map(|it| it.headers());
                headers.and_then(|it| it.get(name)).map(str::to_owned)
            };
            let region = header("x-amz-bucket-region");
            let status = error.raw_response().map_or(0, |it| it.status().as_u16());
            match (status, region) {
                // A bucket of another region answers with a redirect, which has no code.
                (301 | 400, Some(region)) => Some(region),
                (404, _) => {
                    bail!("there is no bucket {bucket}: check the name and the account ({account})")
                }
                (403, _) => bail!(
                    "S3 HeadBucket: AccessDenied: the bucket {bucket} is of another account, or you may not list it"
                ),
                _ => {
                    let error = error_of("S3 HeadBucket", &error);
                    return Err(error)
                        .with_context(|| format!("failed to look for the bucket {bucket}"));
                }
            }
        }
    };
    match region.filter(|it| it != account.region()) {
        Some(region) => bail!(
            "the bucket {bucket} is in {region}, and S3 sends events only within a region: say --region {region}, with \
             a stack there"
        ),
        None => Ok(()),
    }
}

async fn notifications(account: &Account, bucket: &str) -> Result<NotificationConfiguration> {
    let unknown = Unknown::default();
    let call = account.clients.s3().get_bucket_notification_configuration();
    let call = call.bucket(bucket).expected_bucket_owner(&account.number);
    let call = call.customize().interceptor(unknown.clone());
    let answer = call.send().await;
    let answer = answer.map_err(|error| error_of("S3 GetBucketNotificationConfiguration", &error));
    let answer = answer.with_context(|| format!("failed to read the notifications of {bucket}"))?;
    let unknown = unknown.take();
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.into_iter().collect();
        bail!(
            "the notifications of {bucket} have {}, which this version does not know and would lose: nothing was \
             changed; get a newer version of invalidatorctl",
            names.join(", ")
        );
    }
    Ok(configuration(answer))
}

async fn tags(account: &Account, bucket: &str) -> Result<Vec<BucketTag>> {
    let call = account.clients.s3().get_bucket_tagging().bucket(bucket);
    let tags = match call.expected_bucket_owner(&account.number).send().await {
        Ok(answer) => answer.tag_set,
        Err(error) if error.code() == Some("NoSuchTagSet") => Vec::new(),
        Err(error) => {
            let error = service_error(&error);
            return Err(error).with_context(|| format!("failed to read the tags of {bucket}"));
        }
    };
    let tags = tags.into_iter().map(|tag| BucketTag {
        key: tag.key,
        value: tag.value,
    });
    Ok(tags.collect())
}

/// All elements of a notification configuration that are written back.
const KNOWN: [&str; 15] = [
    "NotificationConfiguration",
    "TopicConfiguration",
    "QueueConfiguration",
    "CloudFunctionConfiguration",
    "EventBridgeConfiguration",
    "Id",
    "Topic",
    "Queue",
    "CloudFunction",
    "Event",
    "Filter",
    "S3Key",
    "FilterRule",
    "Name",
    "Value",
];

/// Collects the elements of an answer that are not known.
#[derive(Clone, Debug, Default)]
struct Unknown(Arc<Mutex<BTreeSet<String>>>);

impl Unknown {
    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[dyn_dispatch_hint]
impl Intercept for Unknown {
    fn name(&self) -> &'static str {
        "UnknownElements"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let body = context.response().body().bytes().unwrap_or_default();
            let unknown = unknown_elements(&String::from_utf8_lossy(body));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = unknown;
        }
        Ok(())
    }
}

/// The names of elements that are not known. In XML a `<` begins a tag, wherever it stands.
fn unknown_elements(xml: &str) -> BTreeSet<String> {
    let tags = xml.split('<').skip(1);
    let tags = tags.filter(|tag| !tag.starts_with(['/', '?', '!']));
    let names = tags.map(|tag| {
        let end = tag.find(|c: char| c.is_whitespace() || c == '>' || c == '/');
        &tag[..end.unwrap_or(tag.len())]
    });
    let unknown = names.filter(|name| !KNOWN.contains(name));
    unknown.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_would_be_lost_is_seen() {
        let known = "<?xml version=\"1.0\"?>\n<NotificationConfiguration xmlns=\"http://s3/\"><TopicConfiguration>\
                     <Id>a &lt;b&gt;</Id><Topic>arn</Topic><Event>e</Event><Filter><S3Key><FilterRule><Name>prefix</Name>\
                     <Value>x</Value></FilterRule></S3Key></Filter></TopicConfiguration><EventBridgeConfiguration/>\
                     </NotificationConfiguration>";
        assert!(unknown_elements(known).is_empty());
        let newer = known.replace(
            "<EventBridgeConfiguration/>",
            "<StreamConfiguration><Id>s</Id></StreamConfiguration>",
        );
        assert_eq!(
            unknown_elements(&newer),
            ["StreamConfiguration".to_owned()].into()
        );
    }
}
