//! `invalidatorctl why`: why an object or a page is fresh, or not.
//!
//! * [`answer`]: what the plan says, step by step
//! * [`logged`]: what the function decided, from its log
//! * [`invalidated`]: which invalidations cleared it
//! * [`text`]: all that for a person

mod answer;
mod invalidated;
mod logged;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use invalidator::pauses::read_pauses;
use invalidator_core::cost::account::Account as Spent;
use invalidator_core::cost::month::Month;
use invalidator_core::distributions::address::{Address, answering};
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::event::{BucketName, ObjectKey};
use invalidator_core::path::{OriginPath, ViewerPath};
use invalidator_core::target::DistributionId;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::account::{self, Account};
use crate::asked::Asked;
use crate::function::Function;
use crate::output::{Format, show, show_json};
use crate::site::live::Live;
use crate::site::{Settings, Site};
use crate::stack::{self, Stack};
use answer::{Answer, History, Object};

/// Say why an object or a page is fresh, or not: what the function does when it changes, step by step, at each
/// distribution; then what the function has decided on it, and which invalidations have cleared it.
///
/// A URL is looked for at the distributions with that alias or domain name. Nothing is changed.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl why s3://site/news/1.html
  invalidatorctl why --bucket site news/1.html
  invalidatorctl why https://www.example.com/news/
  invalidatorctl why s3://site/news/1.html --site site.json --output json")]
pub struct Options {
    /// An object (`s3://BUCKET/KEY`, or `KEY` with --bucket), or a page (`https://HOST/PATH`).
    #[arg(value_name = "KEY|URL")]
    what: String,
    /// The bucket of the key.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<BucketName>,
    #[command(flatten)]
    stack: stack::Name,
    /// So many days of the log are searched, from the newest.
    #[arg(long, value_name = "NUMBER", default_value_t = 7, value_parser = clap::value_parser!(u16).range(0..=366))]
    log_days: u16,
    /// A file that `invalidatorctl plan --save` has written, instead of the account. Then nothing is known of
    /// what happened, and the settings are the defaults.
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How long looking for what happened may take.
const TIME_FOR_HISTORY: Duration = Duration::from_secs(30);

/// The exit status says whether any distribution serves it.
pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let asked = Asked::read(&options.what, options.bucket.as_ref())?;
    if let Some(file) = &options.site {
        let function = Function::unknown(Spent {
            elapsed: Month::elapsed(OffsetDateTime::now_utc()),
            ..Spent::default()
        });
        let buckets = asked.bucket().into_iter().cloned().collect::<Vec<_>>();
        let mut site = Site::load(file, &buckets, &function.only)?;
        let summaries: Vec<_> = site
            .distributions
            .iter()
            .map(|it| it.summary.clone())
            .collect();
        if let Asked::Page(address) = &asked {
            keep_answering(&mut site, &summaries, address);
        }
        let answer = Answer::new(&asked, &site, &function);
        return finish(&options, answer);
    }
    let account = account::open(account).await?;
    let stack = stack::find_if_there(&account, &options.stack.name).await;
    let function = Function::read(&account, stack.as_ref()).await;
    let live = Live::open(
        &account.clients,
        Default::default(),
        function.only_tenants.clone(),
    )
    .await?;
    let summaries = live.summaries().await;
    let site = match &asked {
        Asked::Object(bucket, key) => {
            let matters = |summary: &DistributionSummary| {
                function.may_touch(&id_of(summary)) && may_serve(summary, key)
            };
            let mut site = read(&live, std::slice::from_ref(bucket), &function, matters).await?;
            leave_out(&mut site, &function);
            site
        }
        Asked::Page(address) => {
            let found = answering(&summaries, &address.host);
            let buckets = function.buckets_of(found.iter().map(|(summary, _)| *summary));
            let ids: Vec<&str> = found.iter().map(|(it, _)| it.id.as_str()).collect();
            let matters = |summary: &DistributionSummary| ids.contains(&summary.id.as_str());
            let mut site = read(&live, &buckets, &function, matters).await?;
            keep_answering(&mut site, &summaries, address);
            leave_out(&mut site, &function);
            site
        }
    };
    let mut answer = Answer::new(&asked, &site, &function);
    if let Some(stack) = &stack {
        let notes = paused(&account, stack, &answer).await;
        answer.notes.extend(notes);
    }
    if let Format::Text = options.output {
        show(&answer.lines());
    }
    let until = Instant::now() + TIME_FOR_HISTORY;
    for object in &mut answer.objects {
        object.history = Some(history(&account, &function, object, &options, until).await);
        if let Format::Text = options.output {
            show(&object.history_lines());
        }
    }
    match options.output {
        Format::Text => Ok(status(&answer)),
        Format::Json => finish(&options, answer),
    }
}

/// Which of the objects have changes that are held back.
async fn paused(account: &Account, stack: &Stack, answer: &Answer) -> Vec<String> {
    let pauses = match read_pauses(account.clients.s3(), &stack.error_bucket).await {
        Ok(pauses) => pauses,
        Err(error) => return vec![format!("what is paused is not known: {error:#}")],
    };
    let of_object = |object: &Object| {
        let (bucket, key) = (object.bucket.clone(), object.key.clone());
        let all = pauses.all().iter();
        let of_key = all.filter(move |it| it.is_for(&bucket, key.as_str()));
        of_key
            .map(|pause| format!("{pause}; changes are held back until it is resumed"))
            .collect::<Vec<_>>()
    };
    answer.objects.iter().flat_map(of_object).collect()
}

fn finish(options: &Options, answer: Answer) -> Result<ExitCode> {
    match options.output {
        Format::Text => show(&answer.lines()),
        Format::Json => show_json(&answer)?,
    }
    Ok(status(&answer))
}

fn status(answer: &Answer) -> ExitCode {
    match answer
        .objects
        .iter()
        .any(|object| !object.served.is_empty())
    {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

async fn read(
    live: &Live<'_>,
    buckets: &[BucketName],
    function: &Function,
    matters: impl Fn(&DistributionSummary) -> bool,
) -> Result<Site> {
    let aliases = &function.origin_buckets;
    live.read(buckets, aliases, Settings::new(), matters).await
}

/// Whether any origin may have this key. The others need no more than the list tells.
fn may_serve(summary: &DistributionSummary, key: &ObjectKey<'_>) -> bool {
    let path = format!("/{key}");
    let path = ViewerPath::of_whole_bucket(&path);
    let mut origins = summary.origins.items.iter();
    summary.has_placeholders()
        || origins.any(|origin| path.below(&OriginPath::new(&origin.origin_path)).is_some())
}

/// Leaves the distributions that answer for the host of a URL.
fn keep_answering(site: &mut Site, all: &[DistributionSummary], address: &Address) {
    let found = answering(all, &address.host);
    let host = &address.host;
    if found.is_empty() {
        site.unknown.push(format!(
            "no distribution has the alias or domain name {host}; the domains of tenants are not looked at"
        ));
    }
    for (summary, name) in &found {
        let is_there = |it: &&crate::site::Listed| it.summary.id == summary.id;
        let id = &summary.id;
        if name.starts_with('*') {
            site.unknown.push(format!(
                "{host} is taken to be answered by {id}, by its alias {name}"
            ));
        }
        if site.distributions.iter().find(is_there).is_none() {
            site.unknown.push(format!(
                "no origin of {id} ({}) is a bucket, as far as its domain tells (OriginBuckets names those behind \
                 access points)",
                summary.alias()
            ));
        }
    }
    site.distributions
        .retain(|it| found.iter().any(|(summary, _)| summary.id == it.summary.id));
}

/// Takes away the distributions that the function does not touch.
fn leave_out(site: &mut Site, function: &Function) {
    let is_left_out = |it: &crate::site::Listed| !function.may_touch(&id_of(&it.summary));
    let left_out = site.distributions.iter().filter(|it| is_left_out(it));
    let left_out: Vec<&str> = left_out.map(|it| it.summary.id.as_str()).collect();
    if !left_out.is_empty() {
        let names = crate::grouped::Names(&left_out).to_string();
        site.unknown.push(format!(
            "DistributionIds leaves out {names}: nothing is invalidated there"
        ));
    }
    site.distributions.retain(|it| !is_left_out(it));
}

fn id_of(summary: &DistributionSummary) -> DistributionId {
    DistributionId::new(summary.id.as_str())
}

async fn history(
    account: &Account,
    function: &Function,
    object: &Object,
    options: &Options,
    until: Instant,
) -> History {
    let now = OffsetDateTime::now_utc();
    let logged = async {
        let group = function.log_group.as_deref()?;
        let client = aws_sdk_cloudwatchlogs::Client::new(&account.sdk);
        let search = logged::Search {
            group,
            bucket: &object.bucket,
            key: &object.key,
            days: options.log_days,
            now,
            until,
        };
        Some(search.read(&client).await)
    };
    let cloudfront = account.clients.cloudfront();
    let invalidated = invalidated::look(cloudfront, &object.targets, until);
    let (log, invalidated) = futures_util::future::join(logged, invalidated).await;
    History {
        log,
        invalidations: invalidated,
    }
}
