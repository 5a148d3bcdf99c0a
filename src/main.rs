//! The function: settings, clients, and one event after another.

use std::process::ExitCode;

use invalidator::aws::Clients;
use invalidator::clock::Clock;
use invalidator::config::Config;
use invalidator::handler::{App, handle};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use tracing::error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    log_as_json();
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            error!(%error, "the function cannot start");
            return ExitCode::FAILURE;
        }
    };
    let app = &App::new(config, Clients::from_lambda_environment(), Clock::system());
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        // The runtime logs the error, and hands it to Lambda.
        handle(app, event.payload.get(), event.context.deadline)
            .await
            .map_err(|error| Diagnostic {
                error_type: "InvalidatorError".to_owned(),
                error_message: format!("{error:#}"),
            })
    });
    match lambda_runtime::run(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error, "the runtime failed");
            ExitCode::FAILURE
        }
    }
}

/// One JSON object a line, as CloudWatch Logs takes it; what is logged is set by `RUST_LOG`.
fn log_as_json() {
    let setting = std::env::var("RUST_LOG").unwrap_or_default();
    let levels: Targets = setting.parse().unwrap_or_default();
    let levels = if setting.is_empty() {
        levels.with_default(tracing::Level::INFO)
    } else {
        levels
    };
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false);
    tracing_subscriber::registry()
        .with(levels)
        .with(lines)
        .init();
}
