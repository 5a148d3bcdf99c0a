//! What is to be known of a bucket: whether it keeps versions, and whether it has ACLs.

use anyhow::{Context, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, ObjectOwnership};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator::aws::error::{error_of, status};
use invalidator_core::cost::skip::facts::{BucketFacts, Versioning};
use invalidator_core::event::BucketName;

use super::basis::Basis;

/// What is known of a bucket.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// `None` if it may not be read.
    pub versioning: Option<Versioning>,
    /// Whether ACLs are disabled. `None` if it may not be read.
    pub owner_enforced: Option<bool>,
}

impl Facts {
    /// Reads them. What may not be read is not known.
    ///
    /// # Errors
    /// If there is no such bucket, or no answer.
    pub async fn read(s3: &Client, bucket: &BucketName) -> Result<Self> {
        let call = s3.get_bucket_versioning().bucket(bucket.as_str());
        let versioning = match call.send().await {
            Ok(answer) => match answer.status {
                None => Some(Versioning::Never),
                Some(BucketVersioningStatus::Enabled) => Some(Versioning::Enabled),
                Some(BucketVersioningStatus::Suspended) => Some(Versioning::Suspended),
                Some(_) => None,
            },
            Err(error) if is_denied(&error) => None,
            Err(error) => {
                return Err(error_of("S3 GetBucketVersioning", &error))
                    .with_context(|| format!("failed to read the bucket {bucket}"));
            }
        };
        let call = s3.get_bucket_ownership_controls().bucket(bucket.as_str());
        let owner_enforced = match call.send().await {
            Ok(answer) => {
                let rules = answer.ownership_controls.map(|it| it.rules);
                let rules = rules.unwrap_or_default();
                let enforced = ObjectOwnership::BucketOwnerEnforced;
                let are_all = rules.iter().all(|it| it.object_ownership == enforced);
                Some(!rules.is_empty() && are_all)
            }
            // A bucket of before 2023 that nobody has changed: it has ACLs. The SDK's model lacks this code.
            Err(error) if error.code() == Some("OwnershipControlsNotFoundError") => Some(false),
            Err(error) if is_denied(&error) => None,
            Err(error) => {
                return Err(error_of("S3 GetBucketOwnershipControls", &error))
                    .with_context(|| format!("failed to read the bucket {bucket}"));
            }
        };
        Ok(Self {
            versioning,
            owner_enforced,
        })
    }

    /// What the function would know if the bucket had the tag `invalidate=changed` and all permissions.
    pub fn of(&self, basis: &Basis) -> BucketFacts {
        BucketFacts {
            only_changed: true,
            versioning: match basis {
                Basis::Versions => self.versioning.or(Some(Versioning::Enabled)),
                Basis::Objects(_) => Some(Versioning::Never),
            },
            owner_enforced: self.owner_enforced.or(Some(true)),
        }
    }
}

/// Whether a call may not be made.
pub fn is_denied<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata,
{
    status(error) == 403 && error.code() == Some("AccessDenied")
}
