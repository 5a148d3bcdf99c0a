//! The function: reads its settings, creates its clients, and handles one event after another.

use std::process::ExitCode;

use invalidator::app::App;
use invalidator::aws::Clients;
use invalidator::clock::Clock;
use invalidator::config::Config;
use invalidator::handler::handle;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use tracing::{error, warn};
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
        // The runtime logs the error, and reports it to Lambda.
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

/// Logs one JSON object per line, as CloudWatch Logs expects. `RUST_LOG` selects what is logged; without
/// it, the level of Lambda's own logging controls does.
fn log_as_json() {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let setting = variable("RUST_LOG").or_else(|| variable("AWS_LAMBDA_LOG_LEVEL"));
    let levels = setting.as_deref().map(str::parse::<Targets>);
    let default = Targets::new().with_default(tracing::Level::INFO);
    let (levels, problem) = match levels {
        None => (default, None),
        Some(Ok(levels)) => (levels, None),
        Some(Err(problem)) => (default, Some(problem)),
    };
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_span_list(false);
    tracing_subscriber::registry()
        .with(levels)
        .with(lines)
        .init();
    if let Some(problem) = problem {
        warn!(RUST_LOG = setting, %problem, "RUST_LOG is not a valid log filter; logging at level info");
    }
}
