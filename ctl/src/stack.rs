//! The stack to work with, found by its name or by its error bucket.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use invalidator::aws::error::error_of;
use invalidator::config::QueueUrl;
use invalidator_core::mode::Mode;

use crate::account::Account;
use crate::output::{self, saying_if_slow};
use crate::quote::{Here, NamedBy};
use crate::usage::Usage;

/// Which stack, by its name alone.
#[derive(Args, Clone, Debug)]
#[group(skip)] // Its name would be that of the account's options.
pub struct Name {
    /// The stack's name: its outputs tell the function, the bucket and the queues.
    #[arg(
        id = "stack",
        long,
        value_name = "NAME",
        default_value = "invalidator",
        help_heading = "Stack"
    )]
    pub name: String,
}

/// Which stack.
#[derive(Args, Clone, Debug)]
#[group(skip)] // Its name would be that of the account's options.
pub struct Options {
    /// The stack's name: its outputs tell the bucket and the queues.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "invalidator",
        help_heading = "Stack"
    )]
    stack: String,
    /// The stack's error bucket, if its outputs cannot be read from CloudFormation.
    #[arg(
        long,
        value_name = "NAME",
        alias = "bucket",
        conflicts_with = "stack",
        help_heading = "Stack"
    )]
    error_bucket: Option<String>,
}

/// What is known about a stack.
#[derive(Debug)]
pub struct Stack {
    /// `None` if only its bucket is known.
    name: Option<String>,
    pub error_bucket: String,
    /// Empty if only its bucket is known.
    outputs: BTreeMap<String, String>,
    /// Its parameter `InitialMode`. `None` if only its bucket is known.
    pub initial_mode: Option<Mode>,
    /// All parameters, by name. None if only its bucket is known.
    parameters: BTreeMap<String, String>,
}

/// `stack invalidator, error bucket invalidator-errorbucket-1a2b3c`
impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "stack {name}, ")?;
        }
        write!(f, "error bucket {}", self.error_bucket)
    }
}

impl Stack {
    /// Whether more is known than its bucket.
    pub fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// A stack of which only the error bucket is known.
    fn of_bucket(error_bucket: String) -> Self {
        Self {
            name: None,
            error_bucket,
            outputs: BTreeMap::new(),
            initial_mode: None,
            parameters: BTreeMap::new(),
        }
    }

    /// Its name, unless only its bucket is known.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where commands about it work.
    pub fn here(&self, account: &Account) -> Here {
        Here {
            stack: match &self.name {
                Some(name) => NamedBy::Stack(name.clone()),
                None => NamedBy::ErrorBucket(self.error_bucket.clone()),
            },
            ..account.here()
        }
    }

    /// All its outputs, by name. None if only its bucket is known.
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// Its parameters, with the values it was deployed with. None if only its bucket is known.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// The value of an output.
    ///
    /// # Errors
    /// If only its bucket is known, or it has no such output.
    pub fn output(&self, name: &str) -> Result<&str> {
        let Some(stack) = &self.name else {
            let usage = "name the stack with --stack: of one that is named by its bucket, nothing else is known";
            return Err(Usage(usage.to_owned()).into());
        };
        let value = self.outputs.get(name).map(String::as_str);
        value.with_context(|| {
            format!("the stack {stack} has no output {name}: deploy this version of it")
        })
    }

    /// The ARN of IntakeQueue. It is in the function's region and account.
    ///
    /// # Errors
    /// If only its bucket is known, or it has no such queue.
    pub fn intake_queue(&self) -> Result<String> {
        let queue = self.queue("IntakeQueueUrl")?;
        let function = self.output("FunctionArn")?;
        let mut parts = function.split(':').skip(1);
        let mut next = || parts.next().unwrap_or_default();
        let (partition, _, region, account) = (next(), next(), next(), next());
        Ok(format!(
            "arn:{partition}:sqs:{region}:{account}:{}",
            queue.name()
        ))
    }

    /// Whether events come by IntakeQueue.
    pub fn uses_sqs(&self) -> bool {
        let source = self.parameters.get("EventSource");
        source.is_some_and(|source| source == "SQS")
    }

    /// The queue whose URL is this output.
    ///
    /// # Errors
    /// If only its bucket is known, or it has no such output.
    pub fn queue(&self, output: &str) -> Result<QueueUrl> {
        let url = self.output(output)?;
        url.parse()
            .map_err(|expected| anyhow!("`{url}` is not {expected}"))
    }
}

/// The same, where without the stack there is still something to say: why it is not there is a warning.
pub async fn find_if_there(account: &Account, name: &str) -> Option<Stack> {
    match find_named(account, name).await {
        Ok(stack) => Some(stack),
        Err(error) => {
            output::tell(account);
            output::warn(format_args!("{error:#}"));
            None
        }
    }
}

/// Finds the stack of this name, and shows it with its account.
///
/// # Errors
/// If there is no such stack, or it is not one of invalidator.
pub async fn find_named(account: &Account, name: &str) -> Result<Stack> {
    let stack = named(account, name.to_owned()).await?;
    output::tell(format_args!("{account}, {stack}"));
    Ok(stack)
}

/// Finds the stack, and shows it with its account.
///
/// # Errors
/// If there is no such stack, or it is not one of invalidator.
pub async fn find(account: &Account, options: Options) -> Result<Stack> {
    let stack = match options.error_bucket {
        Some(error_bucket) => Stack::of_bucket(error_bucket),
        None => named(account, options.stack).await?,
    };
    output::tell(format_args!("{account}, {stack}"));
    Ok(stack)
}

async fn named(account: &Account, name: String) -> Result<Stack> {
    let client = aws_sdk_cloudformation::Client::new(&account.sdk);
    let call = client.describe_stacks().stack_name(&name).send();
    let answer = saying_if_slow(
        format_args!("{account}, stack {name}: asking AWS for it"),
        call,
    )
    .await;
    let answer = answer.map_err(|error| error_of("CloudFormation DescribeStacks", &error));
    let answer = answer.with_context(|| {
        format!("failed to read the stack {name} ({account}); name another with --stack, or its --region")
    })?;
    let stack = answer
        .stacks()
        .first()
        .context("DescribeStacks brought no stack")?;
    let outputs = stack.outputs().iter();
    let outputs: BTreeMap<String, String> = outputs
        .filter_map(|it| Some((it.output_key.clone()?, it.output_value.clone()?)))
        .collect();
    let parameters = stack.parameters().iter();
    let parameters: BTreeMap<String, String> = parameters
        .filter_map(|it| Some((it.parameter_key.clone()?, it.parameter_value.clone()?)))
        .collect();
    let initial = parameters.get("InitialMode");
    Ok(Stack {
        error_bucket: outputs.get("ErrorBucketName").cloned().with_context(|| {
            format!("the stack {name} has no output ErrorBucketName: it is not one of invalidator")
        })?,
        initial_mode: initial.and_then(|mode| mode.parse().ok()),
        name: Some(name),
        outputs,
        parameters,
    })
}
