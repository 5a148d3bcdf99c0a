//! `invalidatorctl mode`: shows whether the stack is live, and chooses another mode.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::Args;
use invalidator::aws::Clients;
use invalidator::aws::error::service_error;
use invalidator::mode::read_mode;
use invalidator_core::mode::{ChosenMode, MODE_KEY, Mode};
use invalidator_core::state::StateObject;

use crate::account;
use crate::confirm::confirm;
use crate::output::{show_line, tell};
use crate::stack::{self, Stack};

/// Show the mode, or choose another: `live`, `dry-run` or `stopped`. Deployments do not change it.
///
/// live: changes are invalidated. dry-run: changes are planned and logged, and then discarded; sets that
/// wait stay. stopped: the kill switch; changes and sets wait, and nothing is discarded.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl mode
  invalidatorctl mode stopped --why \"the origin is overloaded\"")]
pub struct Options {
    /// The mode to choose. Without it, the mode is shown.
    #[arg(value_name = "live|dry-run|stopped")]
    mode: Option<Mode>,
    #[command(flatten)]
    stack: stack::Options,
    /// Why, for the log and for whoever looks later.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "mode")]
    why: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find(&account, options.stack).await?;
    let clients = &account.clients;
    let chosen = read_mode(clients.s3(), &stack.error_bucket).await;
    match &chosen {
        Ok(Some(chosen)) => show_line(format_args!("the mode is {chosen}")),
        Ok(None) => show_line(format_args!(
            "nobody has chosen a mode: {}",
            initial(&stack)
        )),
        // A mode that cannot be read can still be written anew.
        Err(error) if options.mode.is_some() => {
            show_line(format_args!("the mode cannot be read: {error:#}"))
        }
        Err(_) => {}
    }
    let Some(mode) = options.mode else {
        chosen?;
        return Ok(ExitCode::SUCCESS);
    };
    if let Ok(Some(chosen)) = &chosen
        && chosen.mode == mode
    {
        return Ok(ExitCode::SUCCESS);
    }
    tell(format_args!("{mode}: {}", mode.consequence()));
    if !options.yes && !confirm(&format!("choose the mode {mode}?"))? {
        tell("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let new = ChosenMode::new(mode, SystemTime::now().into(), account.caller, options.why);
    write(clients, &stack.error_bucket, &new).await?;
    show_line(format_args!("the mode is {new}"));
    tell(
        "It takes effect within a minute; an invocation that runs now ends as usual, after two and a half \
         minutes at most. Sets that wait in SubmitQueue come back within a quarter of an hour.",
    );
    Ok(ExitCode::SUCCESS)
}

fn initial(stack: &Stack) -> String {
    match stack.initial_mode {
        Some(mode) => format!("it is {}", ChosenMode::initial(mode)),
        None => "it is the template's InitialMode".to_owned(),
    }
}

async fn write(clients: &Clients, bucket: &str, chosen: &ChosenMode) -> Result<()> {
    let call = clients.s3().put_object().bucket(bucket).key(MODE_KEY);
    let call = call.content_type("application/json");
    let call = call.body(chosen.to_json()?.into_bytes().into());
    let written = call.send().await.map_err(|error| service_error(&error));
    written.with_context(|| {
        format!("the mode was not changed: failed to write s3://{bucket}/{MODE_KEY}")
    })?;
    Ok(())
}
