//! One call of `CreateInvalidation`.

use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::config::retry::RetryConfig;
use aws_sdk_cloudfront::error::BuildError;
use aws_sdk_cloudfront::types::{InvalidationBatch, Paths};
use invalidator_core::caller_reference::CallerReference;
use invalidator_core::path::InvalidationPath;
use invalidator_core::service_error::ServiceError;
use invalidator_core::target::Target;

use super::answer::Answer;

/// Asks CloudFront once to invalidate these paths of a target. The SDK's own retries are switched off:
/// [`super::unit`] decides when and how to ask again.
pub async fn create_invalidation(
    cloudfront: &Client,
    target: &Target,
    paths: &[&InvalidationPath<'_>],
    reference: &CallerReference,
) -> Answer {
    let batch = match batch(paths, reference) {
        Ok(batch) => batch,
        Err(error) => {
            return Answer::Rejected(ServiceError::own("InvalidBatch", error.to_string()));
        }
    };
    let once = aws_sdk_cloudfront::Config::builder().retry_config(RetryConfig::disabled());
    match &target.tenant {
        None => {
            let call = cloudfront
                .create_invalidation()
                .distribution_id(target.distribution.as_str())
                .invalidation_batch(batch);
            let result = call.customize().config_override(once).send().await;
            Answer::from_result(result.map(|answer| answer.invalidation.map(|it| it.id)))
        }
        Some(tenant) => {
            let call = cloudfront
                .create_invalidation_for_distribution_tenant()
                .id(tenant.as_str())
                .invalidation_batch(batch);
            let result = call.customize().config_override(once).send().await;
            Answer::from_result(result.map(|answer| answer.invalidation.map(|it| it.id)))
        }
    }
}

fn batch(
    paths: &[&InvalidationPath<'_>],
    reference: &CallerReference,
) -> Result<InvalidationBatch, BuildError> {
    let items: Vec<String> = paths.iter().map(|path| path.as_str().to_owned()).collect();
    let quantity = i32::try_from(items.len()).unwrap_or(i32::MAX);
    let paths = Paths::builder()
        .quantity(quantity)
        .set_items(Some(items))
        .build()?;
    InvalidationBatch::builder()
        .paths(paths)
        .caller_reference(reference.as_str())
        .build()
}
