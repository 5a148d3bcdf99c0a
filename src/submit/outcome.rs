//! What CloudFront's answer to an invalidation means.

use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Why CloudFront did not take a set: its error code and message, or those of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `AccessDenied`
    pub code: String,
    /// In CloudFront's words.
    pub message: String,
}

impl Refusal {
    /// A reason.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// The answer to one call, by what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken, as the invalidation with this id.
    Accepted(String),
    /// Not now: throttled, too many in progress, an error of the service or of the network, after
    /// the SDK's own attempts.
    Later(Refusal),
    /// Too large: half of it may pass.
    TooLarge(Refusal),
    /// At least one path is bad: the others pass without it.
    BadPath(Refusal),
    /// The caller reference was used before, with other paths.
    ReferenceTaken(Refusal),
    /// Never: all else.
    Refused(Refusal),
}

impl Answer {
    pub(super) fn from_result<E>(result: Result<Option<String>, SdkError<E, HttpResponse>>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match result {
            Ok(id) => Self::Accepted(id.unwrap_or_default()),
            Err(error) => Self::from_error(&error),
        }
    }

    fn from_error<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let status = error
            .raw_response()
            .map_or(0, |response| response.status().as_u16());
        let code = error.code().unwrap_or(match error {
            SdkError::TimeoutError(_) => "Timeout",
            SdkError::DispatchFailure(_) => "ConnectionFailed",
            _ => "UnreadableAnswer",
        });
        let message = error
            .message()
            .map_or_else(|| describe(error), str::to_owned);
        classify(status, code, Refusal::new(code, message))
    }
}

/// Sources: CloudFront API Reference, "CreateInvalidation" and "Common errors". `Throttling`,
/// `InvalidationBatchAlreadyExists` and the codes of expired credentials are not in the SDK's model,
/// so all are told by their code.
fn classify(status: u16, code: &str, refusal: Refusal) -> Answer {
    match code {
        "TooManyInvalidationsInProgress" | "Throttling" | "ThrottlingException" | "ThrottledException"
        | "TooManyRequestsException" | "RequestLimitExceeded" | "RequestThrottled" | "SlowDown"
        | "BandwidthLimitExceeded" | "PriorRequestNotComplete" | "RequestTimeout" | "RequestTimeoutException"
        | "ServiceUnavailable" | "InternalError" | "InternalFailure" | "InternalServerError"
        // Credentials that are being rotated, and a clock that is being set.
        | "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "RequestTimeTooSkewed"
        // The call itself failed.
        | "Timeout" | "ConnectionFailed" | "UnreadableAnswer" => Answer::Later(refusal),
        "BatchTooLarge" => Answer::TooLarge(refusal),
        "InvalidArgument" => Answer::BadPath(refusal),
        "InvalidationBatchAlreadyExists" => Answer::ReferenceTaken(refusal),
        _ if status == 429 || status >= 500 => Answer::Later(refusal),
        _ if status == 413 => Answer::TooLarge(refusal),
        _ => Answer::Refused(refusal),
    }
}

/// An SDK error in one line, with its code and what caused it.
pub fn describe<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => chain(error),
    }
}

/// An error and its causes, each in its own words. That of an answer nobody understands is a dump of
/// the whole answer, so its status takes its place.
fn chain<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + Send + Sync + 'static,
{
    if let Some(response) = error.raw_response() {
        return format!("HTTP status {}", response.status());
    }
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: status, code, what to do. Source: CloudFront API Reference, "CreateInvalidation".
    #[test]
    fn answers_are_told_apart_by_what_is_to_be_done() {
        let refusal = Refusal::new("code", "message");
        let later: fn(Refusal) -> Answer = Answer::Later;
        for (status, code, expected) in [
            (400, "Throttling", later),
            (400, "TooManyInvalidationsInProgress", later),
            (503, "ServiceUnavailable", later),
            (500, "SomethingNew", later),
            (429, "SomethingNew", later),
            (403, "ExpiredToken", later),
            (0, "Timeout", later),
            (413, "BatchTooLarge", Answer::TooLarge),
            (413, "SomethingNew", Answer::TooLarge),
            (400, "InvalidArgument", Answer::BadPath),
            (
                400,
                "InvalidationBatchAlreadyExists",
                Answer::ReferenceTaken,
            ),
            (404, "NoSuchDistribution", Answer::Refused),
            (403, "AccessDenied", Answer::Refused),
            (400, "InconsistentQuantities", Answer::Refused),
            (400, "MissingBody", Answer::Refused),
        ] {
            assert_eq!(
                classify(status, code, refusal.clone()),
                expected(refusal.clone()),
                "{status} {code}"
            );
        }
    }
}
