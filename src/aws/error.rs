//! Reads the errors of AWS calls. [`service_error`] is the only way from an error of the SDK to a text: the
//! SDK's own texts are Rust debug output.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudfront::operation as cloudfront;
use aws_sdk_s3::operation as s3;
use aws_sdk_sns::operation as sns;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator_core::service_error::{
    CONNECTION_FAILED, Meaning, NO_CREDENTIALS, ServiceError, TIMEOUT, UNREADABLE_ANSWER,
    meaning_of,
};

/// The error of an operation, which knows the operation's name.
pub trait OperationError: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static {
    /// The service and the action.
    const ACTION: &'static str;
}

/// Names the action of each error type.
macro_rules! operations {
    ($($error:path => $action:literal,)*) => {
        $(impl OperationError for $error {
            const ACTION: &'static str = $action;
        })*
    };
}

operations! {
    cloudfront::create_invalidation::CreateInvalidationError => "CloudFront CreateInvalidation",
    cloudfront::create_invalidation_for_distribution_tenant::CreateInvalidationForDistributionTenantError
        => "CloudFront CreateInvalidationForDistributionTenant",
    cloudfront::get_distribution_config::GetDistributionConfigError => "CloudFront GetDistributionConfig",
    cloudfront::get_distribution_tenant::GetDistributionTenantError => "CloudFront GetDistributionTenant",
    cloudfront::list_cache_policies::ListCachePoliciesError => "CloudFront ListCachePolicies",
    cloudfront::list_distribution_tenants::ListDistributionTenantsError => "CloudFront ListDistributionTenants",
    cloudfront::list_distributions::ListDistributionsError => "CloudFront ListDistributions",
    s3::get_bucket_ownership_controls::GetBucketOwnershipControlsError => "S3 GetBucketOwnershipControls",
    s3::get_bucket_tagging::GetBucketTaggingError => "S3 GetBucketTagging",
    s3::get_bucket_versioning::GetBucketVersioningError => "S3 GetBucketVersioning",
    s3::get_object::GetObjectError => "S3 GetObject",
    s3::get_object_tagging::GetObjectTaggingError => "S3 GetObjectTagging",
    s3::head_object::HeadObjectError => "S3 HeadObject",
    s3::list_object_versions::ListObjectVersionsError => "S3 ListObjectVersions",
    s3::list_objects_v2::ListObjectsV2Error => "S3 ListObjectsV2",
    s3::put_object::PutObjectError => "S3 PutObject",
    sns::publish::PublishError => "SNS Publish",
}

/// The code if a call could not be made at all.
pub const CALL_NOT_MADE: &str = "CallNotMade";

/// The HTTP status of the answer; 0 without one.
pub fn status<E>(error: &SdkError<E, HttpResponse>) -> u16 {
    error
        .raw_response()
        .map_or(0, |response| response.status().as_u16())
}

/// What an error means for the next attempt.
pub fn meaning<E: OperationError>(error: &SdkError<E, HttpResponse>) -> Meaning {
    meaning_of(status(error), &service_error(error).code)
}

/// The error of a call, with its action, code and message.
pub fn service_error<E: OperationError>(error: &SdkError<E, HttpResponse>) -> ServiceError {
    error_of(E::ACTION, error)
}

/// As [`service_error`], for an action that the function does not use.
pub fn error_of<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> ServiceError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let cause = || innermost(error);
    let (code, message) = match (error.code(), error) {
        (Some(code), _) => (code, error.message().unwrap_or_default().to_owned()),
        (None, SdkError::TimeoutError(_)) => (TIMEOUT, "no answer came in time".to_owned()),
        (None, SdkError::DispatchFailure(failure)) if failure.is_timeout() => {
            (TIMEOUT, "no connection was made in time".to_owned())
        }
        (None, _) if lacks_credentials(error) => (NO_CREDENTIALS, cause()),
        (None, SdkError::DispatchFailure(_)) => (CONNECTION_FAILED, cause()),
        (None, SdkError::ConstructionFailure(_)) => (CALL_NOT_MADE, cause()),
        // Never the text of the SDK, which holds the whole answer.
        (None, _) => (UNREADABLE_ANSWER, format!("HTTP status {}", status(error))),
    };
    ServiceError::of(action, code, message)
}

/// The error of a call that the SDK's runtime did not make, without an answer.
pub fn connection_error(action: &'static str, error: &ConnectorError) -> ServiceError {
    if error.is_timeout() {
        return ServiceError::of(action, TIMEOUT, "no connection was made in time");
    }
    let code = match error.is_user() {
        true => CALL_NOT_MADE,
        false => CONNECTION_FAILED,
    };
    ServiceError::of(action, code, innermost(error))
}

/// What the innermost cause of an error says.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let cause = chain(error).last();
    cause.map_or_else(String::new, ToString::to_string)
}

fn lacks_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(|cause| cause.is::<CredentialsError>())
}

/// An error and its causes. The innermost says what happened; the SDK wraps it in several of its own.
fn chain<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}
