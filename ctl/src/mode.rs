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
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use crate::account::{self, Account};
use crate::confirm::confirm;
use crate::output::{Format, show_json, show_line, tell, warn};
use crate::stack::{self, Stack};

/// Show the mode, or choose another: `live`, `dry-run` or `stopped`. Deployments do not change it.
///
/// live: changes are invalidated. dry-run: changes are planned and logged, and then discarded; sets that
/// wait stay. stopped: the kill switch; changes and sets wait, and nothing is discarded.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl mode
  invalidatorctl mode stopped --why \"the origin is overloaded\"
  invalidatorctl mode --output json")]
pub struct Options {
    /// The mode to choose. Without it, the mode is shown.
    #[arg(value_name = "live|dry-run|stopped")]
    mode: Option<Mode>,
    #[command(flatten)]
    stack: stack::Options,
    /// Why, for the log and for whoever looks later.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "mode")]
    why: String,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// The version of the JSON output.
const VERSION: u32 = 1;

/// The mode, as JSON.
#[derive(Serialize)]
struct Report<'a> {
    v: u32,
    account: String,
    /// None if nobody has chosen one, and the stack does not tell what it was deployed with.
    mode: Option<String>,
    /// None if nobody has chosen it.
    since: Option<String>,
    by: Option<&'a str>,
    why: Option<&'a str>,
    is_chosen: bool,
}

impl<'a> Report<'a> {
    fn new(account: &Account, stack: &Stack, chosen: Option<&'a ChosenMode>) -> Result<Self> {
        let mode = chosen.map(|it| it.mode).or(stack.initial_mode);
        let since = chosen.and_then(|it| it.since);
        Ok(Self {
            v: VERSION,
            account: account.to_string(),
            mode: mode.map(|mode| mode.to_string()),
            since: since.map(|since| since.format(&Rfc3339)).transpose()?,
            by: chosen.map(|it| it.by.as_str()),
            why: chosen.map(|it| it.why.as_str()),
            is_chosen: chosen.is_some(),
        })
    }
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find(&account, options.stack).await?;
    let chosen = read_mode(account.clients.s3(), &stack.error_bucket).await;
    let shown = |chosen: Option<&ChosenMode>| match options.output {
        Format::Json => show_json(&Report::new(&account, &stack, chosen)?),
        Format::Text => {
            match chosen {
                Some(chosen) => show_line(format_args!("the mode is {chosen}")),
                None => show_line(format_args!(
                    "nobody has chosen a mode: {}",
                    initial(&stack)
                )),
            }
            Ok(())
        }
    };
    let Some(mode) = options.mode else {
        shown(chosen?.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    };
    match &chosen {
        Ok(Some(chosen)) if chosen.mode == mode => {
            shown(Some(chosen))?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Some(chosen)) => tell(format_args!("the mode is {chosen}")),
        Ok(None) => tell(format_args!(
            "nobody has chosen a mode: {}",
            initial(&stack)
        )),
        // A mode that cannot be read can still be written anew.
        Err(error) => warn(format_args!("the mode cannot be read: {error:#}")),
    }
    tell(format_args!("{mode}: {}", mode.consequence()));
    if !options.yes && !confirm(&format!("choose the mode {mode}?"))? {
        tell("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let caller = account.caller.clone();
    let new = ChosenMode::new(mode, SystemTime::now().into(), caller, options.why.clone());
    write(&account.clients, &stack.error_bucket, &new).await?;
    shown(Some(&new))?;
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
