//! `invalidatorctl` as a Lambda function: the canary, which verifies some buckets whenever its schedule says so.
//!
//! Its event is `{"buckets":["site"],"arguments":["--since","1d"]}`: each bucket is verified with these arguments
//! of `invalidatorctl verify`. It fails if any bucket could not be verified, and not if objects are stale: that is
//! what the metric tells.

use std::process::ExitCode;

use anyhow::{Error, Result, bail};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Deserialize;

use crate::output;

/// Lambda sets it, and nothing else does.
const RUNTIME: &str = "AWS_LAMBDA_RUNTIME_API";

/// What the schedule sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    buckets: Vec<String>,
    #[serde(default)]
    arguments: Vec<String>,
}

/// Whether this process is a Lambda function.
pub fn is_lambda() -> bool {
    std::env::var_os(RUNTIME).is_some()
}

/// Handles one event after another. `run` runs a command line.
pub async fn serve(run: impl AsyncFn(Vec<String>) -> Result<ExitCode>) -> ExitCode {
    let Ok(stack) = std::env::var("STACK_NAME") else {
        output::error("STACK_NAME is not set: it is the name of the stack to verify");
        return ExitCode::FAILURE;
    };
    let (run, stack) = (&run, stack.as_str());
    let handler = service_fn(move |event: LambdaEvent<Event>| async move {
        let verified = verify(&event.payload, stack, run).await;
        verified.map_err(|error| failed(&error))
    });
    match lambda_runtime::run(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(format_args!("the runtime failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Verifies all buckets, also if one of them cannot be verified.
///
/// # Errors
/// If any could not be verified.
async fn verify(
    event: &Event,
    stack: &str,
    run: impl AsyncFn(Vec<String>) -> Result<ExitCode>,
) -> Result<()> {
    if event.buckets.is_empty() {
        bail!("the event names no buckets");
    }
    let mut failed = Vec::new();
    for bucket in &event.buckets {
        let fixed = ["invalidatorctl", "verify", "--put-metric"];
        let of_bucket = ["--stack", stack, "--bucket", bucket];
        let arguments = fixed.into_iter().chain(of_bucket).map(str::to_owned);
        let arguments = arguments.chain(event.arguments.iter().cloned());
        if let Err(error) = run(arguments.collect()).await {
            failed.push(format!("bucket {bucket}: {error:#}"));
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

/// Logs an error, and passes it on to Lambda.
fn failed(error: &Error) -> Diagnostic {
    let error = format!("{error:#}");
    output::error(&error);
    Diagnostic {
        error_type: "CanaryError".to_owned(),
        error_message: error,
    }
}
