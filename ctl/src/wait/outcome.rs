//! How a wait ended.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use invalidator_core::event::BucketName;
use invalidator_core::mode::ChosenMode;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::output::{Format, show_json, show_line};
use crate::quote::Here;

/// The version of the JSON output.
const VERSION: u32 = 1;

/// Why a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All is accepted.
    Accepted,
    /// All is accepted, and complete at the edges.
    Complete,
    /// Something was rejected; all else is accepted.
    Rejected,
    /// The time was over before; what was waited for.
    TimeOver(String),
    /// The stack is stopped, or in a dry run.
    NotLive(ChosenMode),
    /// No distribution serves the buckets.
    Unserved,
    /// Changes are held back; which.
    Held(String),
}

pub struct Outcome {
    pub ended: Ended,
    pub buckets: Vec<String>,
    /// Rejections since then count.
    pub since: OffsetDateTime,
    /// The ids of the targets that serve the buckets.
    pub targets: BTreeSet<String>,
    /// The keys of error files.
    pub rejected: Vec<String>,
    /// Where the commands that it names work.
    here: Here,
}

#[derive(Serialize)]
struct Json<'a> {
    v: u32,
    result: &'a str,
    why: Option<String>,
    buckets: &'a [String],
    since: String,
    seconds: f64,
    targets: &'a BTreeSet<String>,
    rejected: &'a [String],
}

impl Outcome {
    pub fn new(buckets: &[BucketName], since: OffsetDateTime, here: Here) -> Self {
        Self {
            ended: Ended::TimeOver(String::new()),
            buckets: buckets.iter().map(ToString::to_string).collect(),
            since,
            targets: BTreeSet::new(),
            rejected: Vec::new(),
            here,
        }
    }

    pub fn status(&self) -> ExitCode {
        match self.ended {
            Ended::Accepted | Ended::Complete => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    fn why(&self) -> Option<String> {
        match &self.ended {
            Ended::TimeOver(why) | Ended::Held(why) => Some(why.clone()),
            Ended::NotLive(mode) => Some(format!("the mode is {mode}")),
            _ => None,
        }
    }

    /// Shows it.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn show(&self, took: Duration, format: Format) -> Result<()> {
        let seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
        match format {
            Format::Json => show_json(&Json {
                v: VERSION,
                result: self.result(),
                why: self.why(),
                buckets: &self.buckets,
                since: self.since.format(&Rfc3339)?,
                seconds,
                targets: &self.targets,
                rejected: &self.rejected,
            }),
            Format::Text => {
                self.tell(seconds);
                Ok(())
            }
        }
    }

    fn result(&self) -> &'static str {
        match self.ended {
            Ended::Accepted => "accepted",
            Ended::Complete => "complete",
            Ended::Rejected => "rejected",
            Ended::TimeOver(_) => "time-over",
            Ended::NotLive(_) => "not-live",
            Ended::Unserved => "unserved",
            Ended::Held(_) => "held",
        }
    }

    fn tell(&self, seconds: f64) {
        let buckets = self.buckets.join(", ");
        let targets: Vec<&str> = self.targets.iter().map(String::as_str).collect();
        let targets = targets.join(", ");
        match &self.ended {
            Ended::Accepted => show_line(format_args!(
                "every change of {buckets} is accepted, for {targets} (after {seconds} s)"
            )),
            Ended::Complete => show_line(format_args!(
                "every change of {buckets} is complete at the edges, for {targets} (after {seconds} s)"
            )),
            Ended::Rejected => {
                show_line(format_args!(
                    "not every change of {buckets} is accepted, for {targets} (after {seconds} s)"
                ));
                for key in &self.rejected {
                    show_line(format_args!("  rejected: {key}"));
                }
                show_line(format_args!(
                    "The files say which paths and why. Once the cause is fixed: {}",
                    self.here.complete("invalidatorctl replay KEY")
                ));
            }
            Ended::TimeOver(why) => show_line(format_args!(
                "not every change of {buckets} is accepted after {seconds} s; still waiting: {why}"
            )),
            Ended::NotLive(mode) => show_line(format_args!(
                "nothing is invalidated: the mode is {mode}. `{}` changes that",
                self.here.complete("invalidatorctl mode live")
            )),
            Ended::Held(why) => show_line(format_args!(
                "not every change of {buckets} is accepted: {why}; `{}` shows what is paused, and how to go on",
                self.here.complete("invalidatorctl pause")
            )),
            Ended::Unserved => show_line(format_args!(
                "no distribution of this account serves {buckets}, or DistributionIds leaves it out"
            )),
        }
    }
}
