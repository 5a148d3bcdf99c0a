//! Which errors do not end a wait.

use std::cell::Cell;

use anyhow::{Error, Result};
use invalidator_core::service_error::{Meaning, ServiceError, meaning_of};

use crate::output::warn;

/// Errors of calls that are made again and again.
#[derive(Debug, Default)]
pub struct Passing {
    /// Whether the last one was told: a service that does not answer for minutes is told once.
    is_told: Cell<bool>,
}

impl Passing {
    /// What a call brought; `None` if it failed in a way that may pass.
    ///
    /// # Errors
    /// If it would fail again.
    pub fn over<T>(&self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => {
                self.is_told.set(false);
                Ok(Some(value))
            }
            Err(error) if may_pass(&error) => {
                if !self.is_told.replace(true) {
                    warn(format_args!("{error:#} It is tried again."));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn may_pass(error: &Error) -> bool {
    let mut causes = error.chain();
    let service = causes.find_map(|cause| cause.downcast_ref::<ServiceError>());
    service.is_some_and(|error| meaning_of(0, &error.code) != Meaning::Permanent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_otherwise_a_moment_later_is_passed_over() {
        let passing = Passing::default();
        for (code, passes) in [
            ("ThrottlingException", true),
            ("Timeout", true),
            ("InternalError", true),
            ("AccessDenied", false),
            ("NoSuchBucket", false),
        ] {
            let error = ServiceError::of("S3 GetObject", code, "a message");
            let result = passing.over::<()>(Err(Error::from(error).context("failed to look")));
            assert_eq!(result.is_ok(), passes, "{code}");
        }
        assert!(
            passing
                .over::<()>(Err(anyhow::anyhow!("of our own")))
                .is_err()
        );
        assert_eq!(passing.over(Ok(1)).unwrap(), Some(1));
    }
}
