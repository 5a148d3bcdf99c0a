//! `invalidatorctl wait`: waits until every change so far is accepted by CloudFront, or complete at its edges.
//!
//! * [`fences`]: sends fences behind the changes, and reads what they have met
//! * [`rejected`]: the error files of what was rejected meanwhile
//! * [`edges`]: asks CloudFront whether invalidations are complete
//! * [`passing`]: which errors do not end a wait
//! * [`outcome`]: how it ended, for a person or a machine

mod edges;
mod fences;
mod outcome;
mod passing;
mod rejected;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use aws_sdk_sqs::types::QueueAttributeName;
use clap::Args;
use invalidator::mode::read_mode;
use invalidator_core::event::BucketName;
use invalidator_core::fence::waiter::Verdict;
use invalidator_core::mode::{ChosenMode, Mode};
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::account::{self, Account};
use crate::held::Overview;
use crate::output::{Format, tell};
use crate::progress::Progress;
use crate::queue_numbers::numbers;
use crate::since;
use crate::stack::{self, Stack};
use crate::submission::summary::count;
use fences::Fences;
use outcome::{Ended, Outcome};
use passing::Passing;

/// What was rejected in this time before the command began counts too, unless `--since` says otherwise.
const LOOK_BACK: Duration = Duration::from_secs(600);

/// How often the account is asked: often at first, as most waits are short.
const OFTEN: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(2);

/// How long IntakeQueue must be empty, at each look.
const EMPTY_FOR: Duration = Duration::from_secs(5);

/// Wait until every change of a bucket so far is accepted by CloudFront, for deploy scripts.
///
/// It is also done when changes were rejected, and then says so with its exit status. It sends a small message
/// behind the changes, which invalidates nothing. S3's own delivery of events is outside: it takes a second or
/// two, see --settle. With EventSource SQS it first waits until the stack's IntakeQueue is empty.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  aws s3 sync public s3://example-site && invalidatorctl wait --bucket example-site
  invalidatorctl wait --bucket example-site --complete --timeout 1200 --output json
  invalidatorctl wait --bucket example-site --since 30m

Exit status: 0 all is accepted (or complete), 1 something was rejected, the time is over, the stack is not live,
changes of the bucket are held back by a pause, or no distribution serves the bucket; 2 the command line cannot be used.")]
pub struct Options {
    /// The bucket that was changed; may be given several times.
    #[arg(long = "bucket", required = true, value_name = "NAME")]
    buckets: Vec<BucketName>,
    /// Rejections since then count: `10m`, `2h`, `3d`, or a time, `2026-11-21T02:03:04Z`. Without it, ten minutes.
    #[arg(long, value_name = "TIME", value_parser = since::since)]
    since: Option<OffsetDateTime>,
    /// Wait until the invalidations are complete at the edges, too.
    #[arg(long)]
    complete: bool,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// How many seconds S3 may take until it has told of the last change.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    settle: u64,
    /// The stack's name.
    #[arg(long, value_name = "NAME", default_value = "invalidator")]
    stack: String,
    /// For a person or a machine.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let began = Instant::now();
    let account = account::open(account).await?;
    let stack = stack::find_named(&account, &options.stack).await?;
    if stack.output("FenceVersion").ok() != Some("1") {
        bail!(
            "this stack is of a version before `wait`: its function does not know what `wait` sends. Deploy this \
             version, {}, first",
            env!("CARGO_PKG_VERSION")
        );
    }
    let buckets: BTreeSet<BucketName> = options.buckets.iter().cloned().collect();
    let since = options.since.unwrap_or_else(|| {
        let since = SystemTime::now() - LOOK_BACK;
        since.into()
    });
    let waiting = Waiting {
        account: &account,
        stack: &stack,
        buckets: buckets.into_iter().collect(),
        until: began + Duration::from_secs(options.timeout),
        progress: Progress::new("seconds waited"),
        began,
        told: Cell::new(0),
        passing: Passing::default(),
    };
    let mut outcome = Outcome::new(&waiting.buckets, since, stack.here(&account));
    waiting.go_on(&options, &mut outcome).await?;
    waiting.progress.finish();
    outcome.show(began.elapsed(), options.output)?;
    Ok(outcome.status())
}

struct Waiting<'a> {
    account: &'a Account,
    stack: &'a Stack,
    buckets: Vec<BucketName>,
    until: Instant,
    progress: Progress,
    began: Instant,
    /// How many seconds were shown.
    told: Cell<u64>,
    passing: Passing,
}

impl Waiting<'_> {
    async fn go_on(&self, options: &Options, outcome: &mut Outcome) -> Result<()> {
        if let Some(mode) = self.not_live().await? {
            outcome.ended = Ended::NotLive(mode);
            return Ok(());
        }
        let before = Overview::read(self.account, self.stack).await?;
        let held = before.held_of(&self.buckets);
        if !held.is_empty() {
            outcome.ended = Ended::Held(held.join("; "));
            return Ok(());
        }
        self.progress
            .say("for S3 to tell of the last change".to_owned());
        sleep(Duration::from_secs(options.settle)).await;
        if self.stack.uses_sqs()
            && let Some(why) = self.intake_not_empty().await?
        {
            outcome.ended = Ended::TimeOver(why);
            return Ok(());
        }
        let mut fences = Fences::new(self.account, self.stack, self.buckets.clone()).await?;
        outcome.ended = self.accepted(&mut fences).await?;
        outcome.targets = fences.targets();
        fences.remove().await;
        if outcome.ended != Ended::Accepted {
            return Ok(());
        }
        if outcome.targets.is_empty() {
            outcome.ended = Ended::Unserved;
            return Ok(());
        }
        if let Some(held) = self.held_since(&before).await? {
            outcome.ended = Ended::Held(held);
            return Ok(());
        }
        let bucket = &self.stack.error_bucket;
        outcome.rejected =
            rejected::files(self.account, bucket, outcome.since, &outcome.targets).await?;
        if !outcome.rejected.is_empty() || fences.unreadable() > 0 {
            outcome.ended = Ended::Rejected;
        } else if options.complete {
            outcome.ended = edges::complete(
                self.account,
                &outcome.targets,
                self.until,
                &self.progress,
                &self.passing,
            )
            .await?;
        }
        Ok(())
    }

    /// What of the buckets is held back by now, or was until a moment ago: what passed is not all.
    async fn held_since(&self, before: &Overview) -> Result<Option<String>> {
        let after = Overview::read(self.account, self.stack).await?;
        let held = after.held_of(&self.buckets);
        if !held.is_empty() {
            return Ok(Some(held.join("; ")));
        }
        let (before, after) = (before.ids_of(&self.buckets), after.ids_of(&self.buckets));
        let is_resumed = !before.is_subset(&after);
        Ok(is_resumed.then(|| {
            "a pause was resumed meanwhile, so changes may have come later: wait again".to_owned()
        }))
    }

    /// Waits until IntakeQueue is empty: then the function has buffered what S3 has told of. SQS counts its messages
    /// only about, so it must be empty for some seconds. Returns why it is not, if the time is over.
    async fn intake_not_empty(&self) -> Result<Option<String>> {
        let queue = self.stack.queue("IntakeQueueUrl")?;
        let mut empty_since = None;
        loop {
            let names = [
                QueueAttributeName::ApproximateNumberOfMessages,
                QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
                QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            ];
            let numbers = numbers(self.account, &queue, names).await;
            let waiting = self.passing.over(numbers)?;
            let waiting: Option<usize> = waiting.map(|numbers| numbers.iter().sum());
            let now = Instant::now();
            if waiting != Some(0) {
                empty_since = None;
            } else if now - *empty_since.get_or_insert(now) >= EMPTY_FOR {
                return Ok(None);
            }
            let why = match waiting {
                None => "for an answer of SQS".to_owned(),
                Some(0) => "until IntakeQueue stays empty".to_owned(),
                Some(waiting) => format!("for {} in IntakeQueue", count(waiting, "event")),
            };
            if now >= self.until {
                return Ok(Some(why));
            }
            self.say(why);
            sleep(OFTEN).await;
        }
    }

    /// Shows what it waits for.
    fn say(&self, why: String) {
        let seconds = self.began.elapsed().as_secs();
        let more = seconds - self.told.replace(seconds);
        self.progress.steps(more);
        self.progress.say(why);
    }

    /// Waits until all is accepted or rejected.
    async fn accepted(&self, fences: &mut Fences<'_>) -> Result<Ended> {
        let began = Instant::now();
        let mut looked_at_mode = Instant::now();
        loop {
            let why = match self.passing.over(fences.look().await)? {
                Some(Verdict::Done) => return Ok(Ended::Accepted),
                Some(Verdict::Again(why)) => {
                    self.passing.over(fences.send().await)?;
                    why
                }
                Some(Verdict::Wait(why)) => why,
                None => "for an answer of AWS".to_owned(),
            };
            self.passing.over(fences.tick().await)?;
            if Instant::now() >= self.until {
                return Ok(Ended::TimeOver(why));
            }
            self.say(why);
            if looked_at_mode.elapsed() > Duration::from_secs(10) {
                looked_at_mode = Instant::now();
                let mode = self.passing.over(self.not_live().await)?;
                if let Some(mode) = mode.flatten() {
                    return Ok(Ended::NotLive(mode));
                }
            }
            let pause = match began.elapsed() < Duration::from_secs(60) {
                true => OFTEN,
                false => SELDOM,
            };
            sleep(pause).await;
        }
    }

    /// The mode, if nothing is invalidated in it.
    async fn not_live(&self) -> Result<Option<ChosenMode>> {
        let chosen = read_mode(self.account.clients.s3(), &self.stack.error_bucket).await?;
        let initial = self.stack.initial_mode.map(ChosenMode::initial);
        let Some(mode) = chosen.or(initial) else {
            tell("the stack has no parameter InitialMode: it counts as live");
            return Ok(None);
        };
        Ok((mode.mode != Mode::Live).then_some(mode))
    }
}
