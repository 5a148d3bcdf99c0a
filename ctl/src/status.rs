//! `invalidatorctl status`: what waits where, what CloudFront is busy with, and what it has cost.
//!
//! Each part is read on its own. One that cannot be read says why, and the others are shown.
//!
//! * [`queues`]: how much waits, and how old it is
//! * [`log`]: what the function has logged of late: flushes, and busy targets
//! * [`account`]: mode, spending, alarms, and invalidations in progress
//! * [`text`]: all that as text

mod account;
mod log;
mod queues;
mod text;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;

use crate::account::{self as accounts, Account};
use crate::held::Overview;
use crate::output::{Format, clear, show, show_json};
use crate::stack::{self, Stack};

/// The version of the JSON output.
const VERSION: u32 = 1;

/// How often `--watch` looks.
const PAUSE: Duration = Duration::from_secs(5);

/// Show what is paused, what waits where and how old it is, which targets are busy, the last flushes, the invalidations in
/// progress, what this month cost, and which alarms are raised. It changes nothing.
///
/// The exit status is 1 if an alarm is raised, a dead-letter queue holds messages, or a part cannot be read.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl status
  invalidatorctl status --watch
  invalidatorctl status --output json | jq .queues")]
pub struct Options {
    /// The stack's name.
    #[arg(long, value_name = "NAME", default_value = "invalidator")]
    stack: String,
    /// Look again every five seconds, until it is interrupted.
    #[arg(long)]
    watch: bool,
    /// For a person or a machine.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// All parts. One that could not be read is `None`, and `unread` says why.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    v: u32,
    at: String,
    mode: Option<account::ModeNow>,
    /// What is paused, and how much is held back.
    paused: Option<Overview>,
    queues: Option<Vec<queues::QueueNow>>,
    busy: Option<Vec<log::Busy>>,
    flushes: Option<Vec<log::Flush>>,
    in_progress: Option<Vec<account::InProgress>>,
    spending: Option<account::Spent>,
    alarms: Option<Vec<account::Alarm>>,
    unread: BTreeMap<&'static str, String>,
}

pub async fn run(account: &accounts::Options, options: Options) -> Result<ExitCode> {
    let account = accounts::open(account).await?;
    let stack = stack::find_named(&account, &options.stack).await?;
    loop {
        let status = Status::read(&account, &stack).await;
        if options.watch {
            clear();
        }
        match options.output {
            Format::Json => show_json(&status)?,
            Format::Text => show(&text::text(&status)),
        }
        if !options.watch {
            return Ok(match status.has_finding() {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            });
        }
        crate::output::finish()?;
        sleep(PAUSE).await;
    }
}

impl Status {
    async fn read(account: &Account, stack: &Stack) -> Self {
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let mut status = Self {
            v: VERSION,
            at: now.format(&Rfc3339).unwrap_or_default(),
            ..Self::default()
        };
        let (mode, paused, queues, log, spending, alarms) = tokio::join!(
            account::mode(account, stack),
            Overview::read(account, stack),
            queues::queues(account, stack, now),
            log::log(account, stack, now),
            account::spending(account, stack, now),
            account::alarms(account, stack),
        );
        status.mode = status.part("mode", mode);
        status.paused = status.part("paused", paused);
        status.queues = status.part("queues", queues);
        status.spending = status.part("spending", spending);
        status.alarms = status.part("alarms", alarms);
        if let Some(log) = status.part("log", log) {
            let in_progress = account::in_progress(account, &log.targets).await;
            status.in_progress = status.part("in_progress", in_progress);
            status.busy = Some(log.busy);
            status.flushes = Some(log.flushes);
        }
        status
    }

    /// A part, or a note why it cannot be read.
    fn part<T>(&mut self, name: &'static str, part: Result<T>) -> Option<T> {
        let error = match part {
            Ok(part) => return Some(part),
            Err(error) => error,
        };
        self.unread.insert(name, format!("{error:#}"));
        None
    }

    fn has_finding(&self) -> bool {
        let mut queues = self.queues.iter().flatten();
        let has_alarm = self
            .alarms
            .as_ref()
            .is_some_and(|alarms| !alarms.is_empty());
        has_alarm || !self.unread.is_empty() || queues.any(queues::QueueNow::is_finding)
    }
}
