//! Paths that CloudFront did not accept, and why.

use crate::path::InvalidationPath;
use crate::service_error::ServiceError;
use crate::target::Target;

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
