//! `invalidatorctl drain`: does the function's work now, on this machine, with the function's own code and settings.
//!
//! Meanwhile the function gets neither ticks nor sets, so that nothing is done twice: its two event source mappings
//! are disabled, and whatever happens they are enabled again.
//!
//! * [`mappings`]: disables and enables the function's event source mappings
//! * [`waiting`]: how much waits in the queues
//! * [`work`]: flushes and submits

mod mappings;
mod waiting;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use clap::Args;
use invalidator::app::App;
use invalidator::aws::roots::Roots;
use invalidator::aws::{Clients, http_connector};
use invalidator::clock::Clock;
use invalidator::metrics::Metrics;
use invalidator::mode::read_mode;
use invalidator_core::mode::{ChosenMode, Mode};
use invalidator_core::retry::FUNCTION_TIMEOUT;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::account::{self, Account};
use crate::confirm::confirm;
use crate::function::configuration;
use crate::interrupt;
use crate::output::{Format, error, show_json, show_line, tell, warn};
use crate::progress::Progress;
use crate::queue_numbers::numbers;
use crate::quote::Here;
use crate::stack::{self, Stack};
use crate::submission::summary::count;
use mappings::Mappings;
use waiting::{Waiting, waiting};
use work::Work;

/// The version of the JSON output.
const VERSION: u32 = 1;

/// How often it looks whether the function still runs, and how often in a row nothing must be in flight.
const PAUSE: Duration = Duration::from_secs(1);
const QUIET_LOOKS: usize = 3;

/// Do now, on this machine, what waits in BufferQueue and SubmitQueue, with the function's own code and settings.
///
/// Events that have not reached BufferQueue are counted, but only the function can take them in.
///
/// The function's event source mappings are disabled meanwhile, and enabled again in any case, also after Ctrl-C. If
/// this program is killed, run it again, or the commands that it shows first. It needs the permissions of the function.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl drain

Exit status: 0 both queues are empty, 1 something waits there or has not reached them, or it was interrupted; 2 the command line cannot be used.")]
pub struct Options {
    #[command(flatten)]
    stack: stack::Name,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Report {
    v: u32,
    account: String,
    before: Waiting,
    after: Waiting,
    is_interrupted: bool,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find_named(&account, &options.stack.name).await?;
    check_live(&account, &stack).await?;
    let config = configuration(&account, &stack).await?;
    let clients = Clients::new(account.sdk.clone(), account.endpoints.clone())
        .with_connector(http_connector(Roots::from_env()?));
    let mut app = App::new(config, clients, Clock::system());
    // They are for the function's log.
    app.metrics = Metrics::to("drain", |_| {});
    let mappings = Mappings::open(&account, &stack).await?;
    let before = waiting(&account, &stack, &app).await?;
    let report = |after, is_interrupted| Report {
        v: VERSION,
        account: account.to_string(),
        before,
        after,
        is_interrupted,
    };
    tell(format_args!(
        "{} of BufferQueue and {} of SubmitQueue wait",
        count(before.changes, "message"),
        count(before.sets, "message")
    ));
    if before.is_drained() && !mappings.were_left() {
        tell_outside(before, &stack.here(&account));
        if let Format::Json = options.output {
            show_json(&report(before, false))?;
        }
        return Ok(status(before, false));
    }
    mappings.explain();
    if !options.yes && !confirm("do that work now, on this machine?")? {
        tell("nothing was done");
        return Ok(ExitCode::FAILURE);
    }
    let flag = interrupt::listen()?;
    let progress = Progress::new("messages left");
    // From here on, whatever happens, they are enabled again.
    let worked = tokio::select! {
        worked = Box::pin(work_alone(&account, &stack, &app, &mappings, &progress)) => Some(worked),
        () = interrupt::interrupted(&flag) => None,
    };
    progress.finish();
    let enabled = mappings.enable().await;
    if let Err(error) = &enabled {
        mappings.explain_again(error);
    }
    let is_interrupted = worked.is_none();
    if let Some(worked) = worked {
        worked?;
    }
    enabled?;
    let after = waiting(&account, &stack, &app).await?;
    show_end(&options, &report(after, is_interrupted))?;
    tell_outside(after, &stack.here(&account));
    Ok(status(after, is_interrupted))
}

fn status(left: Waiting, is_interrupted: bool) -> ExitCode {
    match left.is_drained() && left.outside() == 0 && !is_interrupted {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Tells of the events that the function has not put into the buffer: they are changes too.
fn tell_outside(left: Waiting, here: &Here) {
    if left.outside() == 0 {
        return;
    }
    warn(format_args!(
        "{} of IntakeQueue and {} of FailedEventsQueue have not reached BufferQueue. The function takes in those of \
         IntakeQueue when it runs again. For those of FailedEventsQueue, run `{}` then",
        count(left.events, "event"),
        count(left.failed_events, "event"),
        here.complete("invalidatorctl replay --events")
    ));
}

fn show_end(options: &Options, report: &Report) -> Result<()> {
    if let Format::Json = options.output {
        return show_json(report);
    }
    if report.is_interrupted {
        error(
            "interrupted: what was in hand comes back within three minutes, and the function goes on",
        );
    }
    let Waiting { changes, sets, .. } = report.after;
    match report.after.is_drained() {
        true => show_line("both queues are empty; the function goes on"),
        false => show_line(format_args!(
            "{} of BufferQueue and {} of SubmitQueue are left: CloudFront answers later, or new ones came; the function \
             goes on with them",
            count(changes, "message"),
            count(sets, "message")
        )),
    }
    Ok(())
}

/// # Errors
/// If the stack is not live: then the function would not do the work either.
async fn check_live(account: &Account, stack: &Stack) -> Result<()> {
    let chosen = read_mode(account.clients.s3(), &stack.error_bucket).await?;
    let mode = chosen.or(stack.initial_mode.map(ChosenMode::initial));
    match mode {
        Some(mode) if mode.mode != Mode::Live => {
            let live = stack.here(account).complete("invalidatorctl mode live");
            bail!("nothing was done: the mode is {mode}. Choose `{live}` first")
        }
        _ => Ok(()),
    }
}

async fn work_alone(
    account: &Account,
    stack: &Stack,
    app: &App,
    mappings: &Mappings<'_>,
    progress: &Progress,
) -> Result<()> {
    mappings.disable().await?;
    progress.begin_unknown("until the function is done");
    wait_for_function(account, app).await?;
    let before = waiting(account, stack, app).await?;
    progress.begin("messages", (before.changes + before.sets) as u64);
    let work = Work {
        account,
        stack,
        app,
        progress,
    };
    work.run().await
}

/// Waits until no tick and no set is in flight, so that the function does not run any more; at most for as long as it
/// may run, because a set that waits for CloudFront counts as in flight too.
async fn wait_for_function(account: &Account, app: &App) -> Result<()> {
    let until = Instant::now() + FUNCTION_TIMEOUT;
    let mut quiet = 0;
    while quiet < QUIET_LOOKS && Instant::now() < until {
        let mut in_flight = 0;
        for queue in [&app.config.tick_queue, &app.config.submit_queue] {
            let names = [Attribute::ApproximateNumberOfMessagesNotVisible];
            in_flight += numbers(account, queue, names).await?[0];
        }
        quiet = if in_flight == 0 { quiet + 1 } else { 0 };
        sleep(PAUSE).await;
    }
    Ok(())
}
