//! The permission of S3 to invoke the function for a bucket.

use anyhow::{Context, Result};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use invalidator::aws::error::error_of;

use super::record::PERMISSION;
use crate::account::Account;
use crate::check::facts::Permission;
use crate::check::statements::statements;

/// Whether S3 may invoke the function for a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// A statement allows it, such as the template's.
    Enough,
    /// No statement allows it.
    Missing,
}

impl Permissions {
    /// What is added, for a person.
    pub fn line(&self, bucket: &str) -> Option<String> {
        let statement = self.statement(bucket)?;
        Some(format!(
            "+ permission of S3 to invoke the function ({statement})"
        ))
    }

    /// The id of the statement that is added.
    pub fn statement(&self, bucket: &str) -> Option<String> {
        match self {
            Self::Enough => None,
            // An id has no dots.
            Self::Missing => Some(format!("{PERMISSION}{}", bucket.replace('.', "_"))),
        }
    }
}

/// Whether S3 may invoke the function for a bucket.
///
/// # Errors
/// If the function's policy cannot be read.
pub async fn read(account: &Account, function: &str, bucket: &str) -> Result<Permissions> {
    let client = aws_sdk_lambda::Client::new(&account.sdk);
    let answer = client.get_policy().function_name(function).send().await;
    let policy = match answer {
        Ok(answer) => answer.policy.unwrap_or_default(),
        Err(error) if error.code() == Some("ResourceNotFoundException") => String::new(),
        Err(error) => {
            let error = error_of("Lambda GetPolicy", &error);
            return Err(error).context("failed to read who may invoke the function");
        }
    };
    let is_for = |it: &Permission| it.is_for(bucket, &account.number);
    Ok(match statements(&policy).iter().any(is_for) {
        true => Permissions::Enough,
        false => Permissions::Missing,
    })
}

/// Adds the permission, if it is missing. It names the bucket and the account: anybody can take the name of a
/// deleted bucket.
///
/// # Errors
/// If it cannot be added.
pub async fn add(
    account: &Account,
    function: &str,
    bucket: &str,
    missing: &Permissions,
) -> Result<()> {
    let Some(statement) = missing.statement(bucket) else {
        return Ok(());
    };
    let partition = function.split(':').nth(1).unwrap_or("aws");
    let client = aws_sdk_lambda::Client::new(&account.sdk);
    let call = client
        .add_permission()
        .function_name(function)
        .statement_id(&statement);
    let call = call
        .action("lambda:InvokeFunction")
        .principal("s3.amazonaws.com");
    let call = call.source_account(&account.number);
    let call = call.source_arn(format!("arn:{partition}:s3:::{bucket}"));
    match call.send().await {
        Ok(_) => Ok(()),
        // From a run that was interrupted.
        Err(error) if error.code() == Some("ResourceConflictException") => Ok(()),
        Err(error) => {
            let error = error_of("Lambda AddPermission", &error);
            Err(error)
                .context("the bucket was not connected: S3 may not invoke the function for it")
        }
    }
}

/// Removes a permission that was added.
///
/// # Errors
/// If it cannot be removed.
pub async fn remove(account: &Account, function: &str, statement: &str) -> Result<()> {
    let client = aws_sdk_lambda::Client::new(&account.sdk);
    let call = client.remove_permission().function_name(function);
    match call.statement_id(statement).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(()),
        Err(error) => {
            let error = error_of("Lambda RemovePermission", &error);
            Err(error).context(
                "the bucket is disconnected, but S3 may still invoke the function: run this again",
            )
        }
    }
}
