//! `invalidatorctl verify`: whether CloudFront serves what S3 holds.
//!
//! * [`item`]: objects and URLs
//! * [`stored`]: which objects are looked at, and what S3 says of them
//! * [`urls`]: at which URLs CloudFront serves them, by the plan
//! * [`edge`]: what CloudFront answers
//! * [`compare`]: whether both are the same
//! * [`report`]: the result
//! * [`metric`]: the metric of a verification that is made again and again

mod compare;
mod edge;
mod item;
mod metric;
mod report;
mod stored;
mod urls;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use futures_util::stream::{self, StreamExt};
use invalidator::aws::roots::Roots;
use invalidator_core::distributions::address::answering;
use invalidator_core::endpoint::EndpointUrl;
use invalidator_core::event::BucketName;
use time::OffsetDateTime;

use crate::account;
use crate::asked::Asked;
use crate::function::Function;
use crate::output::{Format, show, show_json, tell};
use crate::progress::Progress;
use crate::since;
use crate::site::Settings;
use crate::site::live::Live;
use crate::stack;
use crate::usage::Usage;
use compare::Verdict;
use edge::Edge;
use report::Report;
use stored::{Sample, Source, head};
use urls::Urls;

/// Ask CloudFront for objects through the distributions' own names, and compare ETag, length and date with what
/// S3 holds. The exit status is 1 if anything is stale, or if nothing could be compared.
///
/// One edge location answers, the one that is nearest to this machine: others may differ. URLs are not signed. An
/// object that is at no edge yet is fetched from S3, and is fresh then.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl verify --bucket site --since 10m
  invalidatorctl verify --bucket site --all --via www.example.com
  invalidatorctl verify https://www.example.com/ s3://site/news/1.html
  invalidatorctl verify --bucket site --since 1d --put-metric
  git diff --name-only HEAD~1 -- public | sed 's,^public/,,' | invalidatorctl verify --bucket site -")]
pub struct Options {
    /// Objects (`s3://BUCKET/KEY`, or `KEY` with --bucket) and pages (`https://HOST/PATH`); `-` for one on each
    /// line of standard input. Without any, the objects of --bucket.
    #[arg(value_name = "KEY|URL|-")]
    what: Vec<String>,
    /// The bucket of the keys; without keys, the bucket that is listed.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<BucketName>,
    /// Only objects that were written since then: `10m`, `2h`, `3d`, or a time, `2026-11-21T02:03:04Z`. A deletion
    /// leaves nothing that can be listed.
    #[arg(long, value_name = "TIME", value_parser = since::since, requires = "bucket", conflicts_with = "what")]
    since: Option<OffsetDateTime>,
    /// Of the bucket's list, at most so many objects, chosen by chance: the same ones as long as their contents stay the
    /// same. With --put-metric, others each hour. What is named is always looked at.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, conflicts_with = "what", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sample: u32,
    /// All objects of the list.
    #[arg(long, conflicts_with = "sample")]
    all: bool,
    /// Ask by this name only, and only the distributions that answer for it.
    #[arg(long, value_name = "HOST")]
    via: Option<String>,
    /// Send the requests to this server, with the distribution's name as `Host`.
    #[arg(long, value_name = "URL")]
    edge: Option<EndpointUrl>,
    /// Write how many objects are stale to CloudWatch, as the metric StaleObjects of the stack's function, for an
    /// alarm. If there were objects and none could be compared, nothing is written, and it fails.
    #[arg(long)]
    put_metric: bool,
    #[command(flatten)]
    stack: stack::Name,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// So many requests run at once.
const CONCURRENCY: usize = 8;

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let asked = asked(&options)?;
    let account = account::open(account).await?;
    let stack = match options.put_metric {
        // The metric is that of a function.
        true => Some(stack::find_named(&account, &options.stack.name).await?),
        false => stack::find_if_there(&account, &options.stack.name).await,
    };
    let function = Function::read(&account, stack.as_ref()).await;
    let only_tenants = function.only_tenants.clone();
    let live = Live::open(&account.clients, function.only.clone(), only_tenants).await?;
    let s3 = account.clients.s3();
    let summaries = live.summaries().await;
    let via = options.via.as_deref();
    if let Some(host) = via
        && answering(&summaries, host).is_empty()
    {
        return Err(Usage(format!(
            "no distribution has the alias or domain name {host}"
        ))
        .into());
    }
    let mut buckets: Vec<BucketName> = options.bucket.iter().cloned().collect();
    for asked in &asked {
        match asked {
            Asked::Object(bucket, _) => buckets.push(bucket.clone()),
            Asked::Page(address) => {
                let found = answering(&summaries, &address.host);
                let found = found.into_iter().map(|(summary, _)| summary);
                buckets.extend(function.buckets_of(found));
            }
        }
    }
    buckets.sort();
    buckets.dedup();
    let aliases = &function.origin_buckets;
    let site = live
        .read(&buckets, aliases, Settings::new(), |_| true)
        .await?;
    let urls = Urls::new(&site, &function, &summaries, via);
    let edge = Edge::new(options.edge.as_ref(), Roots::from_env()?);
    let mut report = Report::new(&site, &function);

    let progress = Progress::new("URLs");
    let source = Source {
        s3,
        bucket: options.bucket.as_ref().filter(|_| asked.is_empty()),
        since: options.since,
        sample: sample(&options),
    };
    let mut batches = source.batches(asked, &urls);
    while let Some(batch) = batches.next(&progress).await? {
        let (checks, counts) = urls.of(batch);
        report.count(counts);
        let mut answers = stream::iter(checks)
            .map(|mut check| async {
                let mut verdict = edge.verdict(&check).await;
                if let Verdict::Stale(_) = verdict {
                    // It may have changed since S3 was asked.
                    check.state = head(s3, &check.bucket, &check.key).await;
                    verdict = edge.verdict(&check).await;
                }
                (check, verdict)
            })
            .buffer_unordered(CONCURRENCY);
        while let Some((check, verdict)) = answers.next().await {
            progress.step();
            report.add(check, verdict);
        }
    }
    progress.finish();
    report.finish(batches.left_out());
    match options.output {
        Format::Text => show(&report.lines()),
        Format::Json => show_json(&report)?,
    }
    // The stack was looked for because of the metric, or only for the settings.
    if let Some(stack) = stack.filter(|_| options.put_metric) {
        match report.stale_objects() {
            Some(stale) => metric::put(&account, &stack, stale).await?,
            None if report.is_empty() => metric::put(&account, &stack, 0).await?,
            None => bail!("nothing could be compared, so the metric was not written"),
        }
    }
    Ok(report.status())
}

/// Which sample of the list is looked at. What is verified again and again sees other objects with time: an object that
/// is never looked at may be stale for ever.
fn sample(options: &Options) -> Option<Sample> {
    let hour = OffsetDateTime::now_utc().unix_timestamp() / 3_600;
    let sample = Sample {
        most: options.sample as usize,
        seed: if options.put_metric {
            hour.unsigned_abs()
        } else {
            0
        },
    };
    (!options.all).then_some(sample)
}

/// What was asked for on the command line and on standard input.
fn asked(options: &Options) -> Result<Vec<Asked>> {
    if options.what.is_empty() && options.bucket.is_none() {
        return Err(Usage("say which objects: keys, URLs, `-`, or --bucket".to_owned()).into());
    }
    let mut asked = Vec::new();
    for text in &options.what {
        if text != "-" {
            asked.push(Asked::read(text, options.bucket.as_ref())?);
            continue;
        }
        let input = std::io::read_to_string(std::io::stdin());
        let input = input.context("failed to read standard input")?;
        for line in input.lines().filter(|line| !line.is_empty()) {
            asked.push(Asked::read(line, options.bucket.as_ref())?);
        }
    }
    if asked.is_empty() && !options.what.is_empty() {
        tell("standard input is empty: nothing to verify");
    }
    Ok(asked)
}
