//! Errors of AWS calls: what they mean for the next attempt, and the one text in which logs, mails and the
//! command line show them.

use std::fmt;

use crate::text::one_line;

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

/// The code if no answer came in time.
pub const TIMEOUT: &str = "Timeout";

/// The code if no connection could be made, or it was lost.
pub const CONNECTION_FAILED: &str = "ConnectionFailed";

/// The code if an answer came that cannot be read.
pub const UNREADABLE_ANSWER: &str = "UnreadableAnswer";

/// The code if there are no credentials to sign a call with.
pub const NO_CREDENTIALS: &str = "NoCredentials";

/// The code if CloudFront was not asked, because the function may not invalidate this target.
pub const UNKNOWN_DISTRIBUTION: &str = "UnknownDistribution";

/// The code if CloudFront was not asked, because a wildcard is wider than the setting allows.
pub const WILDCARD_TOO_WIDE: &str = "WildcardTooWide";

/// The code if a set has so many bad paths that the search for them was given up.
pub const TOO_MANY_BAD_PATHS: &str = "TooManyBadPaths";

/// The code if a stack does not tell where something is.
pub const NO_OUTPUT: &str = "NoOutput";

/// The code if a file of the operator cannot be read.
pub const FILE_NOT_READ: &str = "FileNotRead";

/// All codes that this function knows: what each means for the next attempt, and what a person does.
///
/// Sources: "Common errors" of the API references; CloudFront API Reference, "CreateInvalidation"; the
/// SDK's list of throttling codes. The SDK's models lack codes such as `Throttling`, so all codes are
/// compared as text.
const CODES: &[(&[&str], Meaning, &str)] = &[
    (
        &[
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "SlowDown",
            "BandwidthLimitExceeded",
            "PriorRequestNotComplete",
        ],
        Meaning::Throttled,
        "nothing in the function, it tries again; on your machine, run it again later; if it lasts, ask AWS for a higher quota",
    ),
    (
        &[
            "RequestTimeout",
            "RequestTimeoutException",
            "ServiceUnavailable",
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            TIMEOUT,
            CONNECTION_FAILED,
            UNREADABLE_ANSWER,
        ],
        Meaning::Unclear,
        "nothing in the function, it tries again; on your machine, check the network, the region and the endpoint, and run it again; if it lasts, look at https://health.aws.amazon.com",
    ),
    // Credentials that are being rotated, and a clock that is being adjusted.
    (
        &["ExpiredToken", "ExpiredTokenException"],
        Meaning::Unclear,
        "nothing in the function, Lambda renews its credentials; on your machine, sign in again",
    ),
    (
        &["RequestExpired", "RequestTimeTooSkewed"],
        Meaning::Unclear,
        "nothing in the function; on your machine, set the clock",
    ),
    (
        &[
            "AccessDenied",
            "AccessDeniedException",
            "AuthorizationError",
            "AuthorizationErrorException",
        ],
        Meaning::Permanent,
        "allow this action for the role or user that made the call, and look for a policy of the \
         organization that denies it",
    ),
    (
        &[
            "KMSAccessDenied",
            "KMSAccessDeniedException",
            "KMS.AccessDeniedException",
        ],
        Meaning::Permanent,
        "allow the use of the KMS key by hand, in its policy and in the caller's; docs/security.md shows both",
    ),
    (
        &[
            NO_CREDENTIALS,
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
        ],
        Meaning::Permanent,
        "sign in, or name a profile that has valid credentials",
    ),
    (
        &["TooManyInvalidationsInProgress"],
        Meaning::Permanent,
        "wait until other invalidations of this distribution are done, then replay",
    ),
    (
        &["NoSuchDistribution", "EntityNotFound"],
        Meaning::Permanent,
        "nothing, if it was deleted on purpose",
    ),
    (
        &[UNKNOWN_DISTRIBUTION],
        Meaning::Permanent,
        "correct the id, or add it to DistributionIds",
    ),
    (
        &[WILDCARD_TOO_WIDE],
        Meaning::Permanent,
        "rename the object that needs it, or replay: that clears all that the wildcard covers",
    ),
    (
        &["InvalidArgument", TOO_MANY_BAD_PATHS],
        Meaning::Permanent,
        "invalidate with a wildcard that ends before the unusual character",
    ),
    (
        &["NoSuchBucket", "NoSuchKey"],
        Meaning::Permanent,
        "check the name, the account and the region",
    ),
    (
        &[
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
            "NotFound",
            "NotFoundException",
        ],
        Meaning::Permanent,
        "make it again under its old name, with the properties in template.yaml; a deployment does not restore what was \
         deleted by hand",
    ),
    (
        &[NO_OUTPUT],
        Meaning::Permanent,
        "deploy this version of the stack",
    ),
    (
        &[FILE_NOT_READ],
        Meaning::Permanent,
        "correct the file, or name another",
    ),
    (
        &["ValidationError"],
        Meaning::Permanent,
        "check the stack's name and the region",
    ),
];

/// What a person does about a code that is not in the table.
const UNKNOWN_CODE: &str = "look the code up in the API reference of the service";

/// What an answer means for the next attempt. `status` is its HTTP status, 0 without an answer.
pub fn meaning_of(status: u16, code: &str) -> Meaning {
    match known(code) {
        Some((_, meaning, _)) if *meaning != Meaning::Permanent => *meaning,
        _ if status == 429 => Meaning::Throttled,
        _ if status >= 500 => Meaning::Unclear,
        _ => Meaning::Permanent,
    }
}

/// What a person does about an error with this code.
pub fn what_to_do(code: &str) -> &'static str {
    known(code).map_or(UNKNOWN_CODE, |(_, _, what_to_do)| what_to_do)
}

fn known(code: &str) -> Option<&'static (&'static [&'static str], Meaning, &'static str)> {
    CODES.iter().find(|(codes, ..)| codes.contains(&code))
}

/// Why a call failed, or why a set was not submitted at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// The service and the action, such as `CloudFront CreateInvalidation`. `None` if no service was
    /// asked.
    pub action: Option<&'static str>,
    /// The code, such as `AccessDenied`.
    pub code: String,
    /// The service's message.
    pub message: String,
}

impl ServiceError {
    /// The error of a call.
    pub fn of(action: &'static str, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            action: Some(action),
            ..Self::own(code, message)
        }
    }

    /// A decision of this function, without a call.
    pub fn own(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            action: None,
            code: code.into(),
            message: message.into(),
        }
    }

    /// What a person does about it.
    pub fn what_to_do(&self) -> &'static str {
        what_to_do(&self.code)
    }
}

/// Service, action, code, message, and what to do: in logs, in mails and on the command line.
impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(action) = self.action {
            write!(f, "{action}: ")?;
        }
        f.write_str(&one_line(&self.code, MAX_MESSAGE))?;
        let message = one_line(&self.message, MAX_MESSAGE);
        let message = message.trim().trim_end_matches('.');
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        write!(f, ". What to do: {}.", self.what_to_do())
    }
}

impl std::error::Error for ServiceError {}

/// A message of a service is cut after so many characters.
const MAX_MESSAGE: usize = 700;

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: CloudFront API Reference, "CreateInvalidation" and "Common errors".
    #[test]
    fn an_error_tells_service_action_code_message_and_what_to_do() {
        let action = "CloudFront CreateInvalidation";
        for (error, expected) in [
            (
                ServiceError::of(action, "AccessDenied", "User: x is not authorized."),
                "CloudFront CreateInvalidation: AccessDenied: User: x is not authorized. What to do: allow this action for the role or user that made the call, and look for a policy of the organization that denies it.",
            ),
            (
                ServiceError::of(action, TIMEOUT, "no answer within 7 s"),
                "CloudFront CreateInvalidation: Timeout: no answer within 7 s. What to do: nothing in the function, it tries again; on your machine, check the network, the region and the endpoint, and run it again; if it lasts, look at https://health.aws.amazon.com.",
            ),
            (
                ServiceError::of(action, "SomethingNew", ""),
                "CloudFront CreateInvalidation: SomethingNew. What to do: look the code up in the API reference of the service.",
            ),
            (
                ServiceError::own(UNKNOWN_DISTRIBUTION, "E9 is\nunknown"),
                "UnknownDistribution: E9 is\\u{a}unknown. What to do: correct the id, or add it to DistributionIds.",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn each_code_is_in_the_table_once() {
        let mut all: Vec<&str> = CODES
            .iter()
            .flat_map(|(codes, ..)| codes.iter().copied())
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_status_decides_about_a_code_that_says_nothing_of_its_own() {
        for (status, code, expected) in [
            (400, "Throttling", Meaning::Throttled),
            (429, "SomethingNew", Meaning::Throttled),
            (503, "SlowDown", Meaning::Throttled),
            (500, "SomethingNew", Meaning::Unclear),
            (500, "AccessDenied", Meaning::Unclear),
            (403, "ExpiredToken", Meaning::Unclear),
            (0, TIMEOUT, Meaning::Unclear),
            (403, "AccessDenied", Meaning::Permanent),
            (400, "SomethingNew", Meaning::Permanent),
        ] {
            assert_eq!(meaning_of(status, code), expected, "{status} {code}");
        }
    }
}
