//! Keeps what could not be read.

use std::cell::RefCell;

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator::aws::error::error_of;
use invalidator_core::service_error::{NO_OUTPUT, ServiceError};

use crate::account::Account;
use crate::check::finding::Subject;

/// Looks at an account, and keeps what could not be read.
pub struct Looking<'a> {
    pub account: &'a Account,
    unread: RefCell<Vec<(Subject, String, ServiceError)>>,
}

impl<'a> Looking<'a> {
    pub fn new(account: &'a Account) -> Self {
        Self {
            account,
            unread: RefCell::default(),
        }
    }

    pub fn sdk(&self) -> &SdkConfig {
        &self.account.sdk
    }

    pub fn s3(&self) -> &aws_sdk_s3::Client {
        self.account.clients.s3()
    }

    /// The answer of a call. If there is none, that is kept, and the answer is `None`.
    pub fn keep<T, E>(
        &self,
        subject: &Subject,
        what: &str,
        action: &'static str,
        answer: Result<T, SdkError<E, HttpResponse>>,
    ) -> Option<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        answer
            .map_err(|error| self.fail(subject, what, error_of(action, &error)))
            .ok()
    }

    /// The same, where these error codes say that there is nothing.
    pub fn keep_or<T, E>(
        &self,
        subject: &Subject,
        what: &str,
        action: &'static str,
        answer: Result<T, SdkError<E, HttpResponse>>,
        absent: &[&str],
    ) -> Option<Option<T>>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match answer {
            Err(error) if error.code().is_some_and(|it| absent.contains(&it)) => Some(None),
            answer => self.keep(subject, what, action, answer).map(Some),
        }
    }

    /// Keeps what could not be read.
    pub fn fail(&self, subject: &Subject, what: &str, error: ServiceError) {
        let mut unread = self.unread.borrow_mut();
        unread.push((subject.clone(), what.to_owned(), error));
    }

    /// Keeps that the stack does not tell where something is.
    pub fn no_output(&self, subject: &Subject, output: &str) {
        let message = format!("the stack has no output {output}");
        self.fail(subject, output, ServiceError::own(NO_OUTPUT, message));
    }

    /// All that could not be read.
    pub fn unread(self) -> Vec<(Subject, String, ServiceError)> {
        self.unread.into_inner()
    }
}
