//! Why CloudFront did not accept a set.

use std::fmt;

use crate::path::InvalidationPath;
use crate::target::Target;

/// Why CloudFront did not accept a set: the code and message of its error, or of the failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// `AccessDenied`
    pub code: String,
    /// CloudFront's message.
    pub message: String,
}

impl ServiceError {
    /// A reason.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// Paths that will never be accepted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected<'a> {
    /// The distribution or tenant.
    pub target: Target,
    /// The paths.
    pub paths: Vec<InvalidationPath<'a>>,
    /// Why.
    pub reason: ServiceError,
}
