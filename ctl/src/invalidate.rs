//! `invalidatorctl invalidate`: a person invalidates, with the function's pacing, retries and error files.
//!
//! * [`given`]: paths and URLs
//! * [`objects`]: objects of a bucket
//! * [`manifest`]: what differs between two lists of hashes
//! * [`requested`]: only what was requested
//! * [`at`]: at a later time

mod at;
mod given;
mod manifest;
mod objects;
mod requested;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use invalidator_core::bucket_tags::BucketSettings;
use invalidator_core::cost::limits::Limits;
use invalidator_core::cost::price;
use invalidator_core::distributions::Distribution;
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::event::BucketName;
use invalidator_core::path::InvalidationPath;
use invalidator_core::target::{DistributionId, Target};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::account::{self, Account};
use crate::collapse::collapse_at;
use crate::columns::minute;
use crate::confirm::confirm;
use crate::function::Function;
use crate::jobs::record::{self, Job, State};
use crate::jobs::send::{Way, send_left};
use crate::output::{Format, show, show_json, show_line, tell, warn};
use crate::progress::Progress;
use crate::site::live::Live;
use crate::stack::{self, Stack};
use crate::store::Store;
use crate::submission::enqueue::{By, Goes, check_mode, then};
use crate::submission::schedules::{self, Schedules};
use crate::submission::summary::{OfTarget, count, follow, summary, totals};
use crate::submission::wait::{Outcome, Patience, Watch};
use crate::submission::{Common, Submission};
use crate::usage::Usage;
use at::When;
use given::Paths;
use objects::{Choice, Which};
use requested::{Numbers, Requested};

/// Invalidate paths, pages, or objects of a bucket, whether they changed or not.
///
/// The paths go through SubmitQueue, so the function submits them at the pace that CloudFront allows, and what is
/// rejected is in an error file. What is submitted and what it costs is shown first. Each such job is recorded
/// under jobs/ in the error bucket.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl invalidate https://www.example.com/news/ --reason 'wrong price'
  invalidatorctl invalidate --distribution E2QWRUHAPOMQZL '/news/*'
  invalidatorctl invalidate --bucket site --glob 'news/**/*.html' --wait
  invalidatorctl invalidate --distribution E2QWRUHAPOMQZL '/sale/*' --at +2h
  invalidatorctl invalidate --bucket site --manifest old.sha256 new.sha256 --prefix www/
  invalidatorctl invalidate --bucket site --prefix news/ --store redis://cache.example.org
  cat urls.txt | invalidatorctl invalidate --file - --collapse-above 1000")]
pub struct Options {
    /// Paths (with --distribution) and URLs (for the distributions with that alias or domain name).
    #[arg(value_name = "PATH|URL", required_unless_present_any = ["file", "bucket", "store"])]
    what: Vec<String>,
    /// A file with a path or a URL a line, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// The distributions of the paths; of URLs and objects, only these.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    distribution: Vec<DistributionId>,
    /// Objects of this bucket, at each distribution that serves them.
    #[arg(long, value_name = "BUCKET", conflicts_with_all = ["what", "file"])]
    bucket: Option<BucketName>,
    /// Only objects whose keys begin with this.
    #[arg(long, value_name = "PREFIX", requires = "bucket", default_value = "")]
    prefix: String,
    /// Only objects whose whole keys match this pattern: `*` and `?` stop at `/`, `**` does not.
    #[arg(long, value_name = "PATTERN", requires = "bucket", conflicts_with_all = ["regex", "manifest"])]
    glob: Option<String>,
    /// Only objects whose keys contain this regular expression.
    #[arg(
        long,
        value_name = "EXPRESSION",
        requires = "bucket",
        conflicts_with = "manifest"
    )]
    regex: Option<String>,
    /// Only what differs between two manifests: what sha256sum prints, a JSON object of names and hashes, or what
    /// `aws s3api list-objects-v2` prints. With --prefix, that is put before the names.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], requires = "bucket")]
    manifest: Option<Vec<String>>,
    /// Only what was requested, as a store of URLs with their expiries tells: `redis://HOST[:PORT][/DB][?key=NAME]` (or
    /// `rediss://`), or a file. Without paths, URLs or objects, all that was requested. It waits until the paths are
    /// accepted, and then removes their URLs from the store.
    #[arg(long, value_name = "STORE", conflicts_with = "at")]
    store: Option<Store>,
    /// Of a target with more paths than this, submit the cheapest wildcards that clear them, but none that clears what
    /// comes from another origin than S3.
    #[arg(long, value_name = "NUMBER")]
    collapse_above: Option<usize>,
    /// Submit it later, within a minute after this time: a time of this machine (`2026-12-01 08:00`), a time with its
    /// offset (`2026-12-01T08:00:00+01:00`), or from now on (`+2h`, `+90m`).
    #[arg(long, value_name = "TIME", value_parser = at::read, conflicts_with_all = ["wait", "complete"])]
    at: Option<When>,
    /// Why. It is in the record of the job and in the log.
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    reason: String,
    #[command(flatten)]
    stack: stack::Name,
    /// Wait until CloudFront has accepted the paths, or rejected them.
    #[arg(long)]
    wait: bool,
    /// Wait until the paths are invalidated at all edges.
    #[arg(long)]
    complete: bool,
    /// How long to wait. What was submitted goes on without this program.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    timeout: u64,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// What was submitted, as JSON.
#[derive(Serialize)]
struct Report<'a> {
    v: u32,
    account: String,
    /// The id of the job; none if nothing was submitted.
    job: Option<&'a str>,
    targets: &'a [OfTarget],
    paths: usize,
    sets: usize,
    usd_at_most: f64,
    is_submitted: bool,
    /// When it is submitted, if that is later.
    scheduled_for: Option<&'a str>,
    /// With --store.
    store: Option<Numbers>,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let account = account::open(account).await?;
    let stack = stack::find_named(&account, &options.stack.name).await?;
    let queue = stack.queue("SubmitQueueUrl")?;
    let function = Function::read_settings(&account, &stack).await?;
    let live = live(&account, &function).await?;
    let progress = Progress::new("distributions");
    let paths = chosen(&account, &options, &live, &function, &progress).await;
    progress.finish();
    let (paths, mut requested) = paths?;
    let now = OffsetDateTime::now_utc();
    let random: String = std::iter::repeat_with(|| fastrand::char('a'..='z'))
        .take(5)
        .collect();
    let id = record::new_id(now, &random)?;
    let collapsible = collapsible(&paths, &options, &live, &function).await?;
    let mut submissions = submissions(paths, &options, &live, &account, &id, &collapsible).await;
    let schedules = match options.at {
        Some(_) => Some(Schedules::open(&account, &stack)?),
        None => None,
    };
    if let Some(schedules) = &schedules {
        submissions = divided(submissions, schedules)?;
    }
    let submissions: Vec<&Submission> = submissions.iter().collect();
    let work = Work {
        account: &account,
        stack: &stack,
        options: &options,
        progress: &progress,
    };
    if submissions.is_empty() {
        tell("there is nothing to invalidate");
        work.report(&[], None, requested.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Format::Text = options.output {
        show(&summary(&submissions));
    }
    let goes = check_mode(&account, &stack, By::Function).await?;
    let (paths, sets) = totals(&submissions);
    let (paths, sets) = (count(paths, "path"), count(sets, "set"));
    let question = match &options.at {
        None => format!("submit {paths} in {sets}?"),
        Some(when) => {
            tell(format_args!("to be submitted at {when}"));
            format!("schedule {paths} in {sets}?")
        }
    };
    if !options.yes && !confirm(&question)? {
        tell("nothing was submitted");
        return Ok(ExitCode::FAILURE);
    }
    let mut job = work.job(id, now, &submissions)?;
    let way = match (&schedules, &options.at) {
        (Some(schedules), Some(when)) => Way::Schedules(schedules, when.time),
        _ => Way::Queue(&queue),
    };
    // Whatever fails, the record says how far it came.
    let submitted = work
        .submit(&submissions, &way, goes, &mut job, requested.as_mut())
        .await;
    let recorded = record::write(account.clients.s3(), &stack.error_bucket, &job).await;
    if let Err(error) = &recorded {
        warn(format_args!(
            "the record of the job does not tell what came of it: {error:#}"
        ));
    }
    Ok(match submitted? && recorded.is_ok() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The sets as parts that fit into schedules.
fn divided(submissions: Vec<Submission>, schedules: &Schedules<'_>) -> Result<Vec<Submission>> {
    let divided = submissions.into_iter().map(|it| schedules.divide(it));
    let divided: Vec<Submission> = divided.collect::<Result<_>>()?;
    let sets: usize = divided.iter().map(|it| it.sets.len()).sum();
    if sets > schedules::MOST {
        let problem = format!(
            "it needs {sets} schedules, and a job may have {}. What to do: say --collapse-above or a wildcard, divide it \
             into several jobs, or run it without --at when the time has come",
            schedules::MOST
        );
        return Err(Usage(problem).into());
    }
    Ok(divided)
}

async fn live<'a>(account: &'a Account, function: &Function) -> Result<Live<'a>> {
    Live::open(
        &account.clients,
        function.only.clone(),
        function.only_tenants.clone(),
    )
    .await
}

/// The chosen paths: with a store, only those that were requested.
async fn chosen(
    account: &Account,
    options: &Options,
    live: &Live<'_>,
    function: &Function,
    progress: &Progress,
) -> Result<(Paths, Option<Requested>)> {
    let paths = paths(account, options, live, function, progress).await?;
    let Some(store) = options.store.clone() else {
        return Ok((paths, None));
    };
    let mut requested = Requested::read(store, &options.distribution, &live.summaries().await)?;
    let is_all = options.what.is_empty() && options.file.is_empty() && options.bucket.is_none();
    let paths = match is_all {
        true => requested.all(),
        false => requested.filter(paths, options.bucket.is_some()),
    };
    Ok((paths, Some(requested)))
}

async fn paths(
    account: &Account,
    options: &Options,
    live: &Live<'_>,
    function: &Function,
    progress: &Progress,
) -> Result<Paths> {
    let summaries = live.summaries().await;
    let is_listed =
        |id: &&DistributionId| !summaries.iter().any(|it| it.id.as_str() == id.as_str());
    if let Some(unknown) = options.distribution.iter().find(is_listed) {
        let problem = format!(
            "{unknown} is no distribution of {account}, or the stack's DistributionIds leaves it out"
        );
        return Err(Usage(problem).into());
    }
    let Some(bucket) = &options.bucket else {
        let lines = given::lines(&options.what, &options.file)?;
        return given::paths(&lines, &options.distribution, &summaries);
    };
    let which = match (&options.glob, &options.regex, options.manifest.as_deref()) {
        (Some(pattern), ..) => Which::glob(pattern)?,
        (_, Some(expression), _) => Which::regex(expression)?,
        (.., Some([old, new])) => Which::changed(old, new)?,
        _ => Which::All,
    };
    let choice = Choice {
        bucket: bucket.clone(),
        prefix: options.prefix.clone(),
        which,
    };
    let (mut paths, objects) = objects::paths(account, &choice, live, function, progress).await?;
    tell(format_args!("{} chosen", count(objects, "object")));
    if !options.distribution.is_empty() {
        paths.retain(|target, _| options.distribution.contains(&target.distribution));
    }
    Ok(paths)
}

/// Where wildcards are to take the place of paths.
struct Collapsible {
    /// The distributions of the targets with too many paths, if they serve any bucket.
    distributions: Vec<Distribution>,
    aliases: OriginBuckets,
    limits: Limits,
}

impl Collapsible {
    fn collapse(
        &self,
        target: &Target,
        paths: Vec<InvalidationPath<'static>>,
    ) -> (Vec<InvalidationPath<'static>>, Vec<String>) {
        let mut distributions = self.distributions.iter();
        match distributions.find(|it| it.targets.contains(target)) {
            Some(distribution) => collapse_at(distribution, &self.aliases, paths, &self.limits),
            None => {
                let note = "no wildcards: nothing of it comes from S3";
                (paths, vec![note.to_owned()])
            }
        }
    }
}

fn is_collapsed(options: &Options, paths: &[InvalidationPath<'_>]) -> bool {
    options
        .collapse_above
        .is_some_and(|most| paths.len() > most)
}

/// Reads the distributions of the targets with too many paths.
///
/// # Errors
/// If one cannot be read.
async fn collapsible(
    paths: &Paths,
    options: &Options,
    live: &Live<'_>,
    function: &Function,
) -> Result<Collapsible> {
    let aliases = function.origin_buckets.clone();
    let mut collapsible = Collapsible {
        distributions: Vec::new(),
        aliases,
        limits: Limits {
            least_depth: function.min_wildcard_depth,
            ..Limits::frugal()
        },
    };
    let many = paths.iter().filter(|(_, it)| is_collapsed(options, it));
    let many: BTreeSet<&str> = many
        .map(|(target, _)| target.distribution.as_str())
        .collect();
    if many.is_empty() {
        return Ok(collapsible);
    }
    let matters = |it: &DistributionSummary| many.contains(it.id.as_str());
    let summaries = live.summaries().await;
    let buckets = function.buckets_of(summaries.iter().filter(|it| matters(it)));
    // Their tags say nothing about wildcards.
    let given = buckets.iter().cloned();
    let given = given
        .map(|bucket| (bucket, Arc::<BucketSettings>::default()))
        .collect();
    let aliases = &collapsible.aliases;
    let site = live.read(&buckets, aliases, given, matters).await?;
    let read = site.distributions.iter().filter(|it| matters(&it.summary));
    collapsible.distributions = read.flat_map(|it| site.compiled(it)).collect();
    Ok(collapsible)
}

async fn submissions(
    paths: Paths,
    options: &Options,
    live: &Live<'_>,
    account: &Account,
    id: &str,
    collapsible: &Collapsible,
) -> Vec<Submission> {
    let summaries = live.summaries().await;
    let alias_of = |target: &Target| {
        let mut summaries = summaries.iter();
        let summary = summaries.find(|it| it.id.as_str() == target.distribution.as_str());
        summary.map_or_else(String::new, |it| it.alias().to_owned())
    };
    let common = Common {
        reason: format!("{}, by {} (job {id})", options.reason, account.caller),
        id_parts: vec![id],
    };
    let submission = |(target, mut paths): (Target, Vec<_>)| {
        let mut notes = Vec::new();
        if is_collapsed(options, &paths) {
            (paths, notes) = collapsible.collapse(&target, paths);
        }
        let alias = alias_of(&target);
        let mut submission = Submission::new(target, alias, vec![paths], &common);
        submission.notes = notes;
        submission
    };
    paths.into_iter().map(submission).collect()
}

/// A job that is about to be made.
struct Work<'a> {
    account: &'a Account,
    stack: &'a Stack,
    options: &'a Options,
    progress: &'a Progress,
}

impl Work<'_> {
    fn job(&self, id: String, now: OffsetDateTime, submissions: &[&Submission]) -> Result<Job> {
        let options = self.options;
        let bucket = options.bucket.iter().map(ToString::to_string);
        let chosen = [&options.glob, &options.regex]
            .into_iter()
            .flatten()
            .cloned();
        let prefix = Some(options.prefix.clone()).filter(|it| !it.is_empty());
        let manifests = options.manifest.iter().flatten().cloned();
        let given = options.what.iter().chain(&options.file).cloned();
        let (paths, sets) = totals(submissions);
        Ok(Job {
            v: record::VERSION,
            id,
            at: minute(now),
            by: self.account.caller.clone(),
            reason: options.reason.clone(),
            asked: given
                .chain(bucket)
                .chain(prefix)
                .chain(chosen)
                .chain(manifests)
                .chain(options.store.iter().map(ToString::to_string))
                .collect(),
            paths,
            usd_at_most: usd(paths),
            targets: targets_of(submissions, Vec::new())?,
            result: match options.at {
                None => State::Submitting,
                Some(_) => State::Scheduling,
            },
            scheduled_for: match &options.at {
                None => None,
                Some(when) => Some(when.time.format(&Rfc3339)?),
            },
            sets,
            left: (0..sets).collect(),
            cancelled: Vec::new(),
            deleted_late: Vec::new(),
        })
    }

    /// Whether all was done that was asked for.
    async fn submit(
        &self,
        submissions: &[&Submission],
        way: &Way<'_>,
        goes: Goes,
        job: &mut Job,
        requested: Option<&mut Requested>,
    ) -> Result<bool> {
        let messages = record::messages_of(submissions)?;
        let (s3, bucket) = (self.account.clients.s3(), &self.stack.error_bucket);
        // Without its record nothing is submitted: nobody could tell later who it was, or continue it.
        let written = record::write_new(s3, bucket, job, &messages).await;
        written.context("nothing was submitted: the record of the job cannot be written")?;
        let waits = self.options.wait || self.options.complete || requested.is_some();
        let watch = match waits && goes == Goes::On {
            true => Some(Watch::begin(self.account, bucket, submissions).await?),
            false => None,
        };
        send_left(self.account, self.stack, job, &messages, way).await?;
        if let Format::Text = self.options.output {
            let (sets, id, place) = (count(job.sets, "set"), &job.id, way.place());
            let here = self.stack.here(self.account);
            match &self.options.at {
                None => show_line(format_args!(
                    "job {id}: {sets} {place}; {}",
                    then(goes, &here)
                )),
                Some(when) => show_line(format_args!(
                    "job {id}: {sets} {place}, to be submitted at {when}\n  to cancel it: {}",
                    here.complete(&format!("invalidatorctl jobs cancel {id}"))
                )),
            }
        }
        let Some(watch) = watch else {
            if requested.is_some() {
                tell("nothing is removed from the store before the paths are accepted");
            }
            self.report(
                &of_targets(submissions, Vec::new()),
                Some(job),
                requested.as_deref(),
            )?;
            return Ok(!waits);
        };
        let patience = Patience {
            is_for_edges: self.options.complete,
            timeout: Duration::from_secs(self.options.timeout),
        };
        let output = self.options.output;
        let outcomes = follow(watch, submissions, patience, self.progress, output).await?;
        let are_good = outcomes.iter().all(|it| it.is_good(patience));
        job.result = match are_good {
            true => State::Accepted,
            false => State::NotAccepted,
        };
        job.targets = targets_of(submissions, outcomes.clone())?;
        let requested = match requested {
            Some(requested) => {
                requested.remove(submissions, &outcomes)?;
                if let Format::Text = output {
                    show_line(requested.numbers);
                }
                Some(&*requested)
            }
            None => None,
        };
        self.report(&of_targets(submissions, outcomes), Some(job), requested)?;
        Ok(are_good)
    }

    fn report(
        &self,
        targets: &[OfTarget],
        job: Option<&Job>,
        requested: Option<&Requested>,
    ) -> Result<()> {
        let Format::Json = self.options.output else {
            return Ok(());
        };
        let paths = job.map_or(0, |job| job.paths);
        show_json(&Report {
            v: record::VERSION,
            account: self.account.to_string(),
            job: job.map(|it| it.id.as_str()),
            targets,
            paths,
            sets: targets.iter().map(|it| it.sets).sum(),
            usd_at_most: usd(paths),
            is_submitted: job.is_some_and(|it| it.scheduled_for.is_none()),
            scheduled_for: job.and_then(|it| it.scheduled_for.as_deref()),
            store: requested.map(|it| it.numbers),
        })
    }
}

fn usd(paths: usize) -> f64 {
    price::PATH.amount.times(paths as u64).to_usd()
}

fn of_targets(submissions: &[&Submission], outcomes: Vec<Outcome>) -> Vec<OfTarget> {
    let mut outcomes = outcomes.into_iter();
    let of_target = |submission: &&Submission| {
        let mut of_target = OfTarget::of(submission);
        of_target.outcome = outcomes.next();
        of_target
    };
    submissions.iter().map(of_target).collect()
}

fn targets_of(submissions: &[&Submission], outcomes: Vec<Outcome>) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(of_targets(submissions, outcomes))?)
}
