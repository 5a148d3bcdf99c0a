//! `invalidatorctl disconnect`: undoes what `connect` did.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use invalidator_core::event::BucketName;
use time::OffsetDateTime;

use crate::account;
use crate::bucket::apply::apply;
use crate::bucket::change::{Receivers, difference, disconnected};
use crate::bucket::event_bridge::others_use;
use crate::bucket::permission;
use crate::bucket::record;
use crate::bucket::report::{Outcome, Report};
use crate::bucket::settings::{check_place, read};
use crate::confirm::confirm;
use crate::output::{Format, tell};
use crate::stack;

/// Let a bucket send no more events to the function, and give it back the tags it had before.
///
/// It removes the rules that send to the function or its IntakeQueue, and undoes what `connect` recorded: tags, EventBridge, the
/// permission of S3. What somebody else has changed since stays. The difference is shown first.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  invalidatorctl disconnect my-site")]
pub struct Options {
    /// A bucket of the stack's account and region.
    #[arg(value_name = "BUCKET")]
    bucket: BucketName,
    #[command(flatten)]
    stack: stack::Options,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find(&account, options.stack).await?;
    let function = stack.output("FunctionArn")?.to_owned();
    let intake = stack.intake_queue()?;
    let receivers = Receivers {
        function: &function,
        intake: &intake,
    };
    let bucket = options.bucket.as_str();
    let (clients, error_bucket) = (&account.clients, stack.error_bucket.as_str());
    check_place(&account, bucket).await?;
    let record = record::read(clients, error_bucket, bucket).await?;
    // A record of another function is not about this connection.
    let record = record.filter(|it| it.function == function);
    let before = read(&account, bucket).await?;
    let is_on = record.as_ref().is_some_and(|it| it.event_bridge)
        && before.notifications.event_bridge_configuration.is_some();
    let others_use_it = match is_on {
        true => others_use(&account, &function, bucket).await,
        false => false,
    };
    let (after, kept) = disconnected(&before, receivers, record.as_ref(), others_use_it);
    let permission = record.as_ref().and_then(|it| it.permission.clone());
    let mut lines = difference(&before, &after);
    lines.extend(
        permission
            .as_ref()
            .map(|it| format!("- permission of S3 to invoke the function ({it})")),
    );
    kept.iter().for_each(tell);
    let report = Report::new(bucket, &function, &lines);
    if lines.is_empty() {
        if record.is_some() {
            record::remove(clients, error_bucket, bucket).await?;
        }
        report.show(
            options.output,
            Outcome::Nothing,
            "it is not connected, nothing is to be done",
            None,
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    report.tell("disconnecting it changes:");
    if !options.yes && !confirm(&format!("disconnect {bucket}?"))? {
        tell("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let saved = record::save(
        clients,
        error_bucket,
        bucket,
        (&before.notifications, &before.tags),
        (&account.caller, OffsetDateTime::now_utc()),
    );
    let saved = saved.await?;
    tell(format_args!("the settings before are in {saved}"));
    apply(&account, bucket, &before, &after).await?;
    if let Some(statement) = &permission {
        permission::remove(&account, &function, statement).await?;
    }
    // Last: until then it can be run again.
    if record.is_some() {
        record::remove(clients, error_bucket, bucket).await?;
    }
    report.show(options.output, Outcome::Done, "disconnected", Some(&saved))?;
    Ok(ExitCode::SUCCESS)
}
