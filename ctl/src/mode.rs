//! `invalidatorctl mode`: shows whether the stack is live, and chooses another mode.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use clap::Args;
use invalidator::aws::error::{error_of, service_error};
use invalidator::aws::{Clients, Endpoints};
use invalidator::mode::read_mode;
use invalidator_core::mode::{ChosenMode, MODE_KEY, Mode};
use invalidator_core::state::StateObject;

use crate::account;
use crate::confirm::confirm;
use crate::stack::{self, Stack};

/// Show the mode, or choose another: `live`, `dry-run` or `stopped`. Deployments do not change it.
///
/// live: changes are invalidated. dry-run: changes are planned and logged, and then discarded; sets that
/// wait stay. stopped: the kill switch; changes and sets wait, and nothing is discarded.
#[derive(Args, Debug)]
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
    let endpoints = Endpoints::from_env()?;
    let sdk = account::configuration(account).await?;
    let who = Caller::of(&sdk).await?;
    let stack = stack::find(&sdk, options.stack).await?;
    let clients = Clients::new(sdk.clone(), endpoints);
    let region = sdk.region().map_or("unknown", |region| region.as_ref());
    println!(
        "account {}, region {region}, {}, error bucket {}",
        who.account, stack.name, stack.error_bucket
    );
    let chosen = read_mode(clients.s3(), &stack.error_bucket).await;
    match &chosen {
        Ok(Some(chosen)) => println!("the mode is {chosen}"),
        Ok(None) => println!("nobody has chosen a mode: {}", initial(&stack)),
        // A mode that cannot be read can still be written anew.
        Err(error) if options.mode.is_some() => println!("the mode cannot be read: {error:#}"),
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
    println!("{mode}: {}", mode.consequence());
    if !options.yes && !confirm(&format!("choose the mode {mode}?"))? {
        println!("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let new = ChosenMode::new(mode, SystemTime::now().into(), who.arn, options.why);
    write(&clients, &stack.error_bucket, &new).await?;
    println!("the mode is {new}");
    println!(
        "It takes effect within a minute; an invocation that runs now ends as usual, after two and a half \
         minutes at most. Sets that wait in SubmitQueue come back within a quarter of an hour."
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

/// Who runs this program.
struct Caller {
    account: String,
    arn: String,
}

impl Caller {
    async fn of(sdk: &SdkConfig) -> Result<Self> {
        let client = aws_sdk_sts::Client::new(sdk);
        let identity = client.get_caller_identity().send().await;
        let identity = identity.map_err(|error| error_of("STS GetCallerIdentity", &error));
        let identity = identity.context("failed to ask who you are")?;
        Ok(Self {
            account: identity.account.context("STS knows no account")?,
            arn: identity.arn.context("STS knows no ARN")?,
        })
    }
}
