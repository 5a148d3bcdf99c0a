//! Classifies the errors of AWS calls.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// What an error means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The service did nothing, and wants the call later.
    Throttled,
    /// The service failed, or its answer did not arrive, so the call may have taken effect.
    Unclear,
    /// Everything else: the same call will fail again.
    Permanent,
}

/// What an error means for the next attempt.
pub fn meaning<E>(error: &SdkError<E, HttpResponse>) -> Meaning
where
    E: ProvideErrorMetadata,
{
    let status = error
        .raw_response()
        .map_or(0, |response| response.status().as_u16());
    meaning_of(status, code(error))
}

/// The error code, or a substitute that says why there is none.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.code().unwrap_or(match error {
        SdkError::TimeoutError(_) => TIMEOUT,
        SdkError::DispatchFailure(_) => CONNECTION_FAILED,
        _ => UNREADABLE_ANSWER,
    })
}

const TIMEOUT: &str = "Timeout";
const CONNECTION_FAILED: &str = "ConnectionFailed";
const UNREADABLE_ANSWER: &str = "UnreadableAnswer";

/// Sources: "Common errors" of the API references; the SDK's list of throttling codes. The SDK's models
/// lack codes such as `Throttling`, so all codes are compared as text.
pub fn meaning_of(status: u16, code: &str) -> Meaning {
    match code {
        "Throttling" | "ThrottlingException" | "ThrottledException" | "TooManyRequestsException"
        | "RequestLimitExceeded" | "RequestThrottled" | "SlowDown" | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete" => Meaning::Throttled,
        "RequestTimeout" | "RequestTimeoutException" | "ServiceUnavailable" | "InternalError"
        | "InternalFailure" | "InternalServerError"
        // Credentials that are being rotated, and a clock that is being adjusted.
        | "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "RequestTimeTooSkewed"
        | TIMEOUT | CONNECTION_FAILED | UNREADABLE_ANSWER => Meaning::Unclear,
        _ if status == 429 => Meaning::Throttled,
        _ if status >= 500 => Meaning::Unclear,
        _ => Meaning::Permanent,
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

/// The messages of an error and its causes. For an answer that cannot be read only the status, because
/// the SDK's message would dump the whole answer.
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
