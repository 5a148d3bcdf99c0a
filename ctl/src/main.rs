//! The operator's command line: `invalidatorctl plan` shows what the function would do and why,
//! `invalidatorctl mode` stops the stack and starts it, `invalidatorctl replay` submits what CloudFront
//! once refused.

mod account;
mod confirm;
mod mode;
mod output;
mod plan;
mod replay;
mod stack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use invalidator::logging;

/// Keeps CloudFront fresh when S3 objects change: the operator's side.
#[derive(Parser)]
#[command(name = "invalidatorctl", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    account: account::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Plan(plan::Options),
    Mode(mode::Options),
    Replay(replay::Options),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logging::start_on_terminal();
    let Cli { account, command } = Cli::parse();
    let result = match command {
        Command::Plan(options) => plan::run(&account, options).await,
        Command::Mode(options) => mode::run(&account, options).await,
        Command::Replay(options) => replay::run(&account, options).await,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
