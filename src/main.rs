//! The function: reads its settings, creates its clients, and handles one event after another.

use std::process::ExitCode;

use invalidator::app::App;
use invalidator::aws::Clients;
use invalidator::aws::roots::Roots;
use invalidator::clock::Clock;
use invalidator::config::{Config, ConfigError};
use invalidator::handler::handle;
use invalidator::logging;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use tracing::{error, info};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start();
    let app = match start() {
        Ok(app) => app,
        Err(error) => {
            error!(%error, "the function cannot start");
            return ExitCode::FAILURE;
        }
    };
    let app = &app;
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        handle(app, event.payload.get(), event.context.deadline)
            .await
            .map_err(|error| failed(&error))
    });
    match lambda_runtime::run(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error, "the runtime failed");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<App, ConfigError> {
    let config = Config::from_env()?;
    let roots = Roots::from_env()?;
    let version = env!("CARGO_PKG_VERSION");
    info!(version, tls_roots = %roots, "started");
    let clients = Clients::from_lambda_environment(roots)?;
    Ok(App::new(config, clients, Clock::system()))
}

/// Logs an error, and passes it on to Lambda.
fn failed(error: &anyhow::Error) -> Diagnostic {
    let error = format!("{error:#}");
    error!(error, "the event failed: Lambda delivers it again");
    Diagnostic {
        error_type: "InvalidatorError".to_owned(),
        error_message: error,
    }
}
