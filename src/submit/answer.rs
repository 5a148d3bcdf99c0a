//! Classifies CloudFront's answer to an invalidation.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use invalidator_core::service_error::{Meaning, ServiceError, meaning_of};

use crate::aws::error::{OperationError, service_error, status};

/// The answer to one call, classified by what submit does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted, as the invalidation with this id.
    Accepted(String),
    /// Throttled: CloudFront did not look at the call.
    Throttled(ServiceError),
    /// Too many invalidations are in progress. CloudFront did look at the call, and does not know its
    /// caller reference, so it has not accepted the call before.
    TooManyInProgress(ServiceError),
    /// The service failed, or the answer was lost: the call may have been accepted.
    Lost(ServiceError),
    /// The call is too large. Half of it may be accepted.
    TooLarge(ServiceError),
    /// At least one path is bad. The others would be accepted without it.
    BadPath(ServiceError),
    /// The caller reference was used before, with other paths.
    ReferenceTaken(ServiceError),
    /// Everything else: CloudFront will never accept the call.
    Rejected(ServiceError),
}

impl Answer {
    pub(super) fn from_result<E: OperationError>(
        result: Result<Option<String>, SdkError<E, HttpResponse>>,
    ) -> Self {
        match result {
            Ok(id) => Self::Accepted(id.unwrap_or_default()),
            Err(error) => classify(status(&error), service_error(&error)),
        }
    }
}

/// Sources: CloudFront API Reference, "CreateInvalidation" and "Common errors".
fn classify(status: u16, reason: ServiceError) -> Answer {
    match reason.code.as_str() {
        "TooManyInvalidationsInProgress" => return Answer::TooManyInProgress(reason),
        "BatchTooLarge" => return Answer::TooLarge(reason),
        "InvalidArgument" => return Answer::BadPath(reason),
        "InvalidationBatchAlreadyExists" => return Answer::ReferenceTaken(reason),
        _ => {}
    }
    match meaning_of(status, &reason.code) {
        Meaning::Throttled => Answer::Throttled(reason),
        Meaning::Unclear => Answer::Lost(reason),
        Meaning::Permanent if status == 413 => Answer::TooLarge(reason),
        Meaning::Permanent => Answer::Rejected(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: status, code, what to do. Source: CloudFront API Reference, "CreateInvalidation".
    #[test]
    fn answers_are_told_apart_by_what_is_to_be_done() {
        let throttled: fn(ServiceError) -> Answer = Answer::Throttled;
        for (status, code, expected) in [
            (400, "Throttling", throttled),
            (429, "SomethingNew", throttled),
            (
                400,
                "TooManyInvalidationsInProgress",
                Answer::TooManyInProgress,
            ),
            (503, "ServiceUnavailable", Answer::Lost),
            (500, "SomethingNew", Answer::Lost),
            (403, "ExpiredToken", Answer::Lost),
            (0, "Timeout", Answer::Lost),
            (413, "BatchTooLarge", Answer::TooLarge),
            (413, "SomethingNew", Answer::TooLarge),
            (400, "InvalidArgument", Answer::BadPath),
            (
                400,
                "InvalidationBatchAlreadyExists",
                Answer::ReferenceTaken,
            ),
            (404, "NoSuchDistribution", Answer::Rejected),
            (403, "AccessDenied", Answer::Rejected),
            (400, "InconsistentQuantities", Answer::Rejected),
            (400, "MissingBody", Answer::Rejected),
        ] {
            let reason = ServiceError::own(code, "message");
            let answer = classify(status, reason.clone());
            assert_eq!(answer, expected(reason), "{status} {code}");
        }
    }
}
