//! `invalidatorctl resume`: ends a pause, and lets what was held back go on.
//!
//! First the pause is marked as resumed, so that no flush holds back any more; then what is held back is taken until
//! there is nothing left. Why no change is lost in between: see [`invalidator_core::pause`]. An object is deleted
//! only when its changes are in a queue, so an interrupted command is run again.
//!
//! * [`changes`]: reads what is held back
//! * [`note`]: which of it a job submits
//! * [`planned`]: which paths that is, or which wildcards

mod changes;
mod note;
mod planned;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use invalidator::aws::error::error_of;
use invalidator::pauses::read_pauses;
use invalidator::queue::{Entry, send};
use invalidator::state;
use invalidator::ticker::TICK_GROUP;
use invalidator_core::cost::amount::Of;
use invalidator_core::cost::price;
use invalidator_core::pause::{PAUSES_KEY, Pauses};
use invalidator_core::state::{Reading, StateObject};
use serde::Serialize;
use time::OffsetDateTime;

use crate::account::{self, Account};
use crate::columns::minute;
use crate::confirm::confirm;
use crate::held::{Amount, HeldObject, Place, objects};
use crate::jobs::record::{self, Job, State};
use crate::jobs::send::{Way, send_left};
use crate::output::{Format, show, show_json, show_line, tell, warn};
use crate::progress::Progress;
use crate::stack::{self, Stack};
use crate::submission::Submission;
use crate::submission::enqueue::{By, Goes, check_mode, then};
use crate::submission::summary::{OfTarget, count, summary, totals};
use crate::usage::Usage;
use planned::{Planned, Wanted};

/// The version of the JSON output.
const VERSION: u32 = 1;

/// End a pause: put the changes that it holds back into BufferQueue, from where the function goes on with them.
///
/// With --collapse, submit instead for each distribution the cheapest wildcards that clear all of them, and exact
/// paths where no wildcard may be used: one path in the place of a million. What it costs is shown first. If it is
/// interrupted, run it again.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl resume site/img/
  invalidatorctl resume site/img/ --collapse --reason 'backfill of 2026'")]
pub struct Options {
    /// What was paused, as `invalidatorctl pause` shows it.
    #[arg(value_name = "BUCKET[/PREFIX]")]
    what: Place,
    /// Submit wildcards in the place of the changes.
    #[arg(long)]
    collapse: bool,
    /// Why. It is in the record of the job and in the log.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "resumed",
        requires = "collapse"
    )]
    reason: String,
    #[command(flatten)]
    stack: stack::Name,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// What was done, as JSON.
#[derive(Debug, Serialize)]
struct Report {
    v: u32,
    account: String,
    bucket: String,
    prefix: String,
    /// What was held back when it began.
    held: Amount,
    /// How many exact paths that is for all targets; none if that is not known.
    exact_paths: Option<usize>,
    usd_at_most: Option<f64>,
    /// How many changes were put back into BufferQueue.
    put_back: u64,
    /// The id of the job, if wildcards were submitted.
    job: Option<String>,
    targets: Vec<OfTarget>,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find_named(&account, &options.stack.name).await?;
    let resume = Resume::begin(&account, &stack, &options).await?;
    let status = resume.run().await;
    resume.progress.finish();
    status
}

/// A pause that is to end.
struct Resume<'a> {
    account: &'a Account,
    stack: &'a Stack,
    options: &'a Options,
    progress: Progress,
    /// The ids of the pauses.
    ids: Vec<String>,
    /// Whether the list of pauses has to be written anew.
    is_list_lost: bool,
    /// Those of all pauses: what belongs to none of them is left over.
    known: Vec<String>,
}

impl<'a> Resume<'a> {
    async fn begin(account: &'a Account, stack: &'a Stack, options: &'a Options) -> Result<Self> {
        let (s3, bucket) = (account.clients.s3(), stack.error_bucket.as_str());
        let (pauses, lost) = match state::read::<Pauses>(s3, bucket, PAUSES_KEY).await? {
            Reading::Found(pauses, _) => (pauses, None),
            Reading::Absent => (Pauses::default(), None),
            Reading::Deleted => (Pauses::default(), Some("it was deleted".to_owned())),
            Reading::Unreadable(why, _) => (Pauses::default(), Some(why.to_string())),
        };
        if let Some(why) = &lost {
            let name = Pauses::NAME;
            warn(format_args!(
                "{name}, s3://{bucket}/{PAUSES_KEY}: {why}; it is written anew"
            ));
        }
        let Place { bucket: of, prefix } = &options.what;
        if lost.is_some() && !prefix.is_empty() {
            let resume = stack
                .here(account)
                .complete(&format!("invalidatorctl resume {of}"));
            let problem = format!(
                "which pauses there were is not known any more, so nothing tells what is held back for {of}/{prefix} \
                 alone: resume the whole bucket, `{resume}`"
            );
            return Err(Usage(problem).into());
        }
        for pause in pauses.of(of, prefix) {
            tell(pause);
        }
        Ok(Self {
            account,
            stack,
            options,
            progress: Progress::new("held changes"),
            ids: pauses.of(of, prefix).map(|it| it.id.clone()).collect(),
            is_list_lost: lost.is_some(),
            known: pauses.all().iter().map(|it| it.id.clone()).collect(),
        })
    }

    async fn run(&self) -> Result<ExitCode> {
        self.finish_earlier().await?;
        let held = self.objects().await?;
        let place = &self.options.what;
        if self.ids.is_empty() && held.is_empty() && !self.is_list_lost {
            let problem = format!(
                "nothing is paused as {place}, and nothing of it is held back; `{}` shows what is",
                self.stack
                    .here(self.account)
                    .complete("invalidatorctl pause")
            );
            return Err(Usage(problem).into());
        }
        let goes = check_mode(self.account, self.stack, By::Function).await?;
        let amount = Amount::of(&held);
        let planned = self.plan(&held).await;
        self.progress.finish();
        let planned = match planned {
            Ok(planned) => Some(planned),
            Err(error) if self.options.collapse => return Err(error),
            Err(error) => {
                warn(format_args!("what it costs is not known: {error:#}"));
                None
            }
        };
        tell(format_args!("{place}: {amount}"));
        let question = self.ask(amount, planned.as_ref());
        if !self.options.yes && !confirm(&question)? {
            tell("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
        let ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
        self.change_list(|list| list.resume(&ids)).await?;
        let mut report = Report {
            v: VERSION,
            account: self.account.to_string(),
            bucket: place.bucket.to_string(),
            prefix: place.prefix.clone(),
            held: amount,
            exact_paths: planned.as_ref().map(|it| it.exact),
            usd_at_most: planned.as_ref().map(|it| usd(it.paths())),
            put_back: 0,
            job: None,
            targets: Vec::new(),
        };
        match (self.options.collapse, planned) {
            (true, Some(planned)) => self.collapse(held, planned, goes, &mut report).await?,
            _ => self.put_back(amount, goes, &mut report).await?,
        }
        self.change_list(|list| list.remove(&ids)).await?;
        if let Format::Json = self.options.output {
            show_json(&report)?;
        } else {
            show_line(format_args!("{place} is not paused any more"));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What is held back for these pauses, and with a whole bucket also what no pause holds back any more.
    async fn objects(&self) -> Result<Vec<HeldObject>> {
        let (s3, bucket) = (self.account.clients.s3(), &self.stack.error_bucket);
        let Place { bucket: of, prefix } = &self.options.what;
        let mut held = objects(s3, bucket, Some(of)).await?;
        // A pause that began meanwhile keeps what it holds. The list is read after the objects: whatever was held
        // before, its pause is in it.
        let now = match self.is_list_lost {
            true => Pauses::default(),
            false => read_pauses(s3, bucket).await?,
        };
        let is_known =
            |id: &String| self.known.contains(id) || now.all().iter().any(|it| it.id == *id);
        held.retain(|it| {
            let is_left = prefix.is_empty() && !is_known(&it.of.pause);
            self.ids.contains(&it.of.pause) || is_left
        });
        Ok(held)
    }

    /// What the note of these pauses is called.
    fn note_name(&self) -> String {
        let of_bucket = || format!("left-{}", self.options.what.bucket);
        self.ids.first().cloned().unwrap_or_else(of_bucket)
    }

    /// Removes the objects that an earlier command has submitted before it was interrupted.
    ///
    /// # Errors
    /// If that is not certain: its job is to be continued first.
    async fn finish_earlier(&self) -> Result<()> {
        let (s3, bucket) = (self.account.clients.s3(), &self.stack.error_bucket);
        let name = self.note_name();
        let Some(note) = note::read(s3, bucket, &name).await? else {
            return Ok(());
        };
        let id = &note.job;
        // A job without a record has not begun.
        if let Some(job) = record::find(s3, bucket, id).await? {
            if !job.left.is_empty() {
                let here = self.stack.here(self.account);
                bail!(
                    "an earlier resume was interrupted while it submitted job {id}: run `{}`, and then the \
                     same command again",
                    here.complete(&format!("invalidatorctl jobs resume {id}"))
                );
            }
            let objects = Of(note.objects.len() as u64, "object");
            tell(format_args!(
                "job {id} has submitted {objects} of an earlier resume: removing what is left of them"
            ));
            for key in &note.objects {
                self.delete(key).await?;
            }
        }
        note::remove(s3, bucket, &name).await
    }

    async fn plan(&self, held: &[HeldObject]) -> Result<Planned> {
        self.progress
            .begin("held changes", Amount::of(held).changes);
        let bucket = &self.stack.error_bucket;
        let changes =
            changes::read(self.account.clients.s3(), bucket, held, &self.progress).await?;
        let wanted = Wanted {
            bucket: &self.options.what.bucket,
            collapse: self.options.collapse,
            reason: &self.options.reason,
        };
        let planned = planned::plan(self.account, self.stack, changes, held, &wanted).await?;
        if self.options.collapse && planned.too_wide > 0 {
            let paths = Of(planned.too_wide as u64, "path");
            bail!(
                "{paths} would need wildcards that MinWildcardDepth forbids; resume without --collapse: the function \
                 rejects such paths, and a mail tells of them"
            );
        }
        Ok(planned)
    }

    /// Shows what will be done. Returns the question.
    fn ask(&self, amount: Amount, planned: Option<&Planned>) -> String {
        if amount.is_nothing() {
            return "end the pause?".to_owned();
        }
        let Some(planned) = planned else {
            return "put the changes back?".to_owned();
        };
        let exact = count(planned.exact, "exact path");
        let cost = price::PATH.amount.times(planned.exact as u64);
        if self.options.collapse {
            if let Format::Text = self.options.output {
                show(&summary(&planned.submissions()));
            }
            tell(format_args!("in the place of {exact}, at most {cost}"));
            let (paths, sets) = totals(&planned.submissions());
            return format!("submit {} in {}?", count(paths, "path"), count(sets, "set"));
        }
        tell(format_args!(
            "that is {exact} for {}, at most {cost}; the function decides, and may use wildcards or skip some ({})",
            count(planned.targets.len(), "target"),
            planned.cost_mode
        ));
        "put the changes back?".to_owned()
    }

    async fn change_list(&self, change: impl FnMut(&mut Pauses) -> bool) -> Result<()> {
        let (s3, bucket) = (self.account.clients.s3(), &self.stack.error_bucket);
        state::change(s3, bucket, PAUSES_KEY, change).await?;
        Ok(())
    }

    /// Puts all that is held back into BufferQueue.
    async fn put_back(&self, amount: Amount, goes: Goes, report: &mut Report) -> Result<()> {
        let buffer = self.stack.queue("BufferQueueUrl")?;
        let (s3, bucket) = (self.account.clients.s3(), &self.stack.error_bucket);
        // The one before has ended with the question.
        let progress = Progress::new("changes put back");
        progress.begin("changes put back", amount.changes);
        loop {
            let held = self.objects().await?;
            if held.is_empty() {
                break;
            }
            for object in held {
                let Some(text) = changes::text(s3, bucket, &object.key).await? else {
                    // Somebody else resumes, too.
                    continue;
                };
                let lines = text.lines().map(|line| Entry::of_body(line.to_owned()));
                let sent = send(self.account.clients.lean_sqs(), &buffer, lines).await;
                sent.context(
                    "failed to put changes back into BufferQueue; run the same command again",
                )?;
                self.delete(&object.key).await?;
                report.put_back += object.of.changes;
                progress.steps(object.of.changes);
            }
        }
        progress.finish();
        if report.put_back == 0 {
            return Ok(());
        }
        let then = match (self.tick().await, goes) {
            (_, Goes::Later) => then(goes, &self.stack.here(self.account)),
            (Ok(()), _) => "the function goes on with them in some seconds".to_owned(),
            (Err(error), _) => {
                warn(format_args!("{error:#}"));
                "the function goes on with them within twelve minutes".to_owned()
            }
        };
        if let Format::Text = self.options.output {
            let changes = Of(report.put_back, "change");
            show_line(format_args!("{changes} put back into BufferQueue; {then}"));
        }
        Ok(())
    }

    /// Lets a flush begin.
    async fn tick(&self) -> Result<()> {
        let ticks = self.stack.queue("TickQueueUrl")?;
        let id = format!(
            "resume-{}",
            OffsetDateTime::now_utc().unix_timestamp_nanos()
        );
        let tick = Entry {
            body: id.clone(),
            fifo: Some((TICK_GROUP.to_owned(), id)),
            delay: Duration::ZERO,
        };
        let sent = send(self.account.clients.lean_sqs(), &ticks, [tick]).await;
        sent.context("no tick could be sent, so the flush begins with the next one")
    }

    /// Submits wildcards for all that is held back.
    async fn collapse(
        &self,
        mut held: Vec<HeldObject>,
        mut planned: Planned,
        goes: Goes,
        report: &mut Report,
    ) -> Result<()> {
        let queue = self.stack.queue("SubmitQueueUrl")?;
        loop {
            // What was written before the pause was marked, and after it was read.
            let all = self.objects().await?;
            if all.iter().any(|it| !held.contains(it)) {
                let confirmed = planned.paths();
                planned = self.plan(&all).await?;
                self.confirm_more(confirmed, planned.paths())?;
            }
            held = all;
            if held.is_empty() {
                return Ok(());
            }
            // Each round is a job of its own, so that no record is overwritten.
            let now = OffsetDateTime::now_utc();
            let random = std::iter::repeat_with(|| fastrand::char('a'..='z'));
            let id = record::new_id(now, &random.take(5).collect::<String>())?;
            let submissions = planned.submissions();
            let mut job = self.job(&id, now, &submissions)?;
            let s3 = self.account.clients.s3();
            let bucket = &self.stack.error_bucket;
            let messages = record::messages_of(&submissions)?;
            let note = note::write(s3, bucket, &self.note_name(), &id, &held).await;
            note.context("nothing was submitted")?;
            let written = record::write_new(s3, bucket, &job, &messages).await;
            written.context("nothing was submitted: the record of the job cannot be written")?;
            let way = Way::Queue(&queue);
            let sent = send_left(self.account, self.stack, &mut job, &messages, &way).await;
            // Whatever fails, the record says how far it came.
            let recorded = record::write(s3, bucket, &job).await;
            sent?;
            if let Err(error) = recorded {
                warn(format_args!(
                    "the record of the job does not tell what came of it: {error:#}"
                ));
            }
            let progress = Progress::new("objects removed");
            progress.begin("objects removed", Amount::of(&held).objects);
            for object in &held {
                self.delete(&object.key).await?;
                progress.step();
            }
            progress.finish();
            note::remove(s3, bucket, &self.note_name()).await?;
            let (_, sets) = totals(&submissions);
            if let Format::Text = self.options.output {
                let here = self.stack.here(self.account);
                let (sets, then) = (count(sets, "set"), then(goes, &here));
                show_line(format_args!("job {id}: {sets} in SubmitQueue; {then}"));
            }
            report.job = Some(id.clone());
            report
                .targets
                .extend(submissions.iter().map(|it| OfTarget::of(it)));
        }
    }

    /// Asks again if more is to be submitted than was shown.
    ///
    /// # Errors
    /// If that is not wanted. Then all that is held back still is, and the next command begins with it.
    fn confirm_more(&self, confirmed: usize, paths: usize) -> Result<()> {
        if paths <= confirmed {
            return Ok(());
        }
        let paths = count(paths, "path");
        self.progress.finish();
        let question = format!("more was held back meanwhile: submit {paths}?");
        if self.options.yes || !confirm(&question)? {
            bail!(
                "more was held back meanwhile: {paths} instead of {confirmed}. Nothing was submitted; run the same \
                 command again"
            );
        }
        Ok(())
    }

    fn job(&self, id: &str, now: OffsetDateTime, submissions: &[&Submission]) -> Result<Job> {
        let (paths, sets) = totals(submissions);
        let targets: Vec<OfTarget> = submissions.iter().map(|it| OfTarget::of(it)).collect();
        let asked = ["resume".to_owned(), self.options.what.to_string()];
        Ok(Job {
            v: record::VERSION,
            id: id.to_owned(),
            at: minute(now),
            by: self.account.caller.clone(),
            reason: self.options.reason.clone(),
            asked: asked.into_iter().chain(["--collapse".to_owned()]).collect(),
            paths,
            usd_at_most: usd(paths),
            targets: serde_json::to_value(targets)?,
            result: State::Submitting,
            scheduled_for: None,
            sets,
            left: (0..sets).collect(),
            cancelled: Vec::new(),
            deleted_late: Vec::new(),
        })
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let (s3, bucket) = (self.account.clients.s3(), &self.stack.error_bucket);
        let deleted = s3.delete_object().bucket(bucket).key(key).send().await;
        let deleted = deleted.map_err(|error| error_of("S3 DeleteObject", &error));
        if let Err(error) = deleted {
            bail!(
                "failed to delete s3://{bucket}/{key}, though its changes are in a queue; run the same command again: \
                 {error}"
            );
        }
        Ok(())
    }
}

fn usd(paths: usize) -> f64 {
    price::PATH.amount.times(paths as u64).to_usd()
}
