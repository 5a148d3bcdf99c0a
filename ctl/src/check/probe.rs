//! `invalidatorctl check --probe`: uploads a small object, waits for its invalidation, and deletes it.

mod awaited;
mod object;
mod plan;

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use invalidator::mode::read_mode;
use invalidator_core::cost::price::PATH;
use invalidator_core::mode::Mode;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::account::Account;
use crate::confirm::confirm;
use crate::function::configuration;
use crate::interrupt;
use crate::output::{Format, error, show_json, show_line, tell};
use crate::quote::command;
use crate::stack::Stack;
use awaited::{Awaited, Found, Watch};
use object::Object;

/// How often CloudFront is asked. It allows few calls.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// What is to be probed, and how.
pub struct Options {
    pub bucket: String,
    /// The key; ours if it is `None`.
    pub key: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
    pub yes: bool,
    pub output: Format,
}

/// The version of the JSON.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report {
    v: u32,
    bucket: String,
    key: String,
    outcome: Outcome,
    steps: Vec<Step>,
}

/// A step, and how long after the upload it was seen.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invalidation: Option<String>,
    seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// Its invalidation is complete everywhere.
    Complete,
    /// It took too long.
    Timeout,
    /// Somebody pressed Ctrl-C.
    Interrupted,
    Failed,
}

/// The steps so far, told as they come.
struct Steps {
    begun: Instant,
    steps: Vec<Step>,
    output: Format,
}

impl Steps {
    fn add(&mut self, step: &'static str, what: impl Display, of: Option<(&str, &str)>) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let line = format!("{seconds:6.1} s  {what}");
        match self.output {
            Format::Text => show_line(line),
            Format::Json => tell(line),
        }
        self.steps.push(Step {
            step,
            target: of.map(|(target, _)| target.to_owned()),
            invalidation: of.map(|(_, id)| id.to_owned()),
            seconds: (seconds * 1_000.0).round() / 1_000.0,
        });
    }
}

/// Probes a bucket. The exit status says whether its invalidation was seen complete.
pub async fn run(account: &Account, stack: &Stack, options: Options) -> Result<ExitCode> {
    let here = stack.here(account);
    let config = configuration(account, stack).await?;
    check_live(account, stack).await?;
    let (bucket, key) = (options.bucket.as_str(), options.key.as_deref());
    let (key, awaited) = plan::awaited(account, &config, bucket, key).await?;
    // The upload, and then the deletion.
    let paths = 2 * awaited.iter().map(|it| it.paths.len()).sum::<usize>();
    let targets: Vec<String> = awaited.iter().map(|it| it.target.to_string()).collect();
    tell(format_args!(
        "uploads s3://{}/{key} (a line of text), waits for its invalidation in {}, and deletes it: {paths} paths, at most {}",
        options.bucket,
        targets.join(", "),
        PATH.amount.times(paths as u64)
    ));
    if !options.yes && !confirm("probe it?")? {
        tell("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let is_interrupted = interrupt::listen()?;
    let object = Object::new(account, &options.bucket, &key);
    let mut steps = Steps {
        begun: Instant::now(),
        steps: Vec::new(),
        output: options.output,
    };
    let outcome = watch(
        account,
        &object,
        &awaited,
        &mut steps,
        &options,
        &is_interrupted,
    )
    .await;
    // Whatever happened.
    let deleted = object.delete().await;
    match &deleted {
        Ok(true) => steps.add("deleted", "deleted the object", None),
        Ok(false) => {}
        Err(failed) => error(format_args!(
            "the object is still there: {failed:#}; delete it with: {}",
            here.complete(&command([
                "aws",
                "s3",
                "rm",
                &format!("s3://{}/{key}", options.bucket)
            ]))
        )),
    }
    let told = match &outcome {
        Ok(outcome) => *outcome,
        Err(failed) => {
            error(format_args!("{failed:#}"));
            Outcome::Failed
        }
    };
    match told {
        Outcome::Timeout => error(format_args!(
            "no complete invalidation was seen within {} s: `{}` says what may be wrong",
            options.timeout.as_secs(),
            here.complete(&format!("invalidatorctl check --only {}", options.bucket))
        )),
        Outcome::Interrupted => error("interrupted"),
        Outcome::Complete | Outcome::Failed => {}
    }
    if matches!(options.output, Format::Json) {
        show_json(&Report {
            v: VERSION,
            bucket: options.bucket,
            key,
            outcome: told,
            steps: steps.steps,
        })?;
    }
    Ok(match told == Outcome::Complete && deleted.is_ok() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn check_live(account: &Account, stack: &Stack) -> Result<()> {
    let chosen = read_mode(account.clients.s3(), &stack.error_bucket).await?;
    let mode = chosen.map(|it| it.mode).or(stack.initial_mode);
    match mode {
        None | Some(Mode::Live) => Ok(()),
        Some(mode) => bail!(
            "the mode is {mode}: {}. Nothing was uploaded.",
            mode.consequence()
        ),
    }
}

async fn watch(
    account: &Account,
    object: &Object<'_>,
    awaited: &[Awaited],
    steps: &mut Steps,
    options: &Options,
    is_interrupted: &AtomicBool,
) -> Result<Outcome> {
    let mut watches = Vec::new();
    for it in awaited {
        watches.push(Watch::begin(account.clients.cloudfront(), it).await?);
    }
    steps.begun = Instant::now();
    object.upload().await?;
    steps.add("uploaded", "uploaded the object", None);
    let until = Instant::now() + options.timeout;
    let mut look = Instant::now();
    loop {
        if is_interrupted.load(Ordering::Relaxed) {
            return Ok(Outcome::Interrupted);
        }
        if Instant::now() >= until {
            return Ok(Outcome::Timeout);
        }
        if Instant::now() >= look {
            for watch in &mut watches {
                for found in watch.look().await? {
                    let Found { target, id, .. } = &found;
                    let of = Some((target.as_str(), id.as_str()));
                    match found.is_complete {
                        false => steps.add(
                            "accepted",
                            format_args!("{target} accepted invalidation {id}: {}", found.paths),
                            of,
                        ),
                        true => steps.add(
                            "complete",
                            format_args!("{target} completed invalidation {id} at the edges"),
                            of,
                        ),
                    }
                }
            }
            if watches.iter().all(Watch::is_done) {
                return Ok(Outcome::Complete);
            }
            look = Instant::now() + BETWEEN_LOOKS;
        }
        // Short, so that Ctrl-C is noticed.
        sleep(Duration::from_millis(100)).await;
    }
}
