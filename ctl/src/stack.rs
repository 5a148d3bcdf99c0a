//! The stack to work with, found by its name or by its error bucket.

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use clap::Args;
use invalidator::aws::error::error_of;
use invalidator_core::mode::Mode;

/// Which stack.
#[derive(Args, Debug)]
#[group(skip)] // Its name would be that of the account's options.
pub struct Options {
    /// The stack's name.
    #[arg(long, value_name = "NAME", default_value = "invalidator")]
    stack: String,
    /// The stack's error bucket, if its outputs cannot be read from CloudFormation.
    #[arg(long, value_name = "NAME", conflicts_with = "stack")]
    error_bucket: Option<String>,
}

/// What is known about a stack.
#[derive(Debug)]
pub struct Stack {
    /// For a person: `stack invalidator`, or only its bucket.
    pub name: String,
    pub error_bucket: String,
    /// Its parameter `InitialMode`. `None` if only its bucket is known.
    pub initial_mode: Option<Mode>,
}

/// Finds the stack.
///
/// # Errors
/// If there is no such stack, or it is not one of invalidator.
pub async fn find(sdk: &SdkConfig, options: Options) -> Result<Stack> {
    if let Some(error_bucket) = options.error_bucket {
        return Ok(Stack {
            name: "a stack known by its error bucket".to_owned(),
            error_bucket,
            initial_mode: None,
        });
    }
    let name = options.stack;
    let client = aws_sdk_cloudformation::Client::new(sdk);
    let answer = client.describe_stacks().stack_name(&name).send().await;
    let answer = answer.map_err(|error| error_of("CloudFormation DescribeStacks", &error));
    let answer = answer.with_context(|| {
        format!("failed to read the stack {name}; name another with --stack, or its --region")
    })?;
    let stack = answer
        .stacks()
        .first()
        .context("DescribeStacks brought no stack")?;
    let output = |key: &str| {
        let output = stack
            .outputs()
            .iter()
            .find(|it| it.output_key() == Some(key));
        output.and_then(|it| it.output_value()).map(str::to_owned)
    };
    let mut parameters = stack.parameters().iter();
    let initial = parameters.find(|it| it.parameter_key() == Some("InitialMode"));
    let initial = initial.and_then(|it| it.parameter_value());
    Ok(Stack {
        error_bucket: output("ErrorBucketName").with_context(|| {
            format!("the stack {name} has no output ErrorBucketName: it is not one of invalidator")
        })?,
        initial_mode: initial.and_then(|mode| mode.parse().ok()),
        name: format!("stack {name}"),
    })
}
