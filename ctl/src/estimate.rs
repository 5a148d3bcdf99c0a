//! `invalidatorctl estimate`: what the last month of a bucket would have cost, before anything is connected.
//!
//! * [`basis`]: what an estimate rests on
//! * [`facts`]: what is to be known of a bucket
//! * [`list`]: reads the versions of a bucket, or its objects
//! * [`report`]: what is shown
//! * [`text`], [`page`]: shows it

mod basis;
mod facts;
mod list;
mod page;
mod report;
mod text;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use invalidator::catalog::Catalog;
use invalidator::clock::Clock;
use invalidator::tags::BucketTags;
use invalidator_core::bucket_tags::BucketSettings;
use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::collapse::{CostRules, SpendingLimits};
use invalidator_core::cost::estimate::replay::estimate;
use invalidator_core::cost::estimate::rules::PastRules;
use invalidator_core::distributions::Distribution;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::event::BucketName;
use invalidator_core::plan::{Rules, SetLimits, index_document_of};
use invalidator_core::target::DistributionId;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::account::{self, Account};
use crate::output::{Format, show, show_json, tell};
use crate::plan::alias;
use crate::progress::Progress;
use facts::Facts;
use list::Lister;
use report::{Of, Report};

/// Show what the last days of a bucket would have cost: each changed path, `/*` after each burst of changes, and
/// this function in each cost mode, by day, distribution and folder.
///
/// Nothing has to be deployed or connected, and nothing is changed. The past is read from the list of the
/// bucket's versions, at 0.005 USD for a million of them. Where a bucket keeps no versions, or they may not
/// be listed, the list of its objects tells a part of the changes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl estimate --bucket example-site
  invalidatorctl estimate --bucket example-site --days 90 --html estimate.html")]
pub struct Options {
    /// The bucket.
    #[arg(long, value_name = "BUCKET")]
    bucket: BucketName,
    /// So many days until now. The first 1,000 paths of each thirty days are free.
    #[arg(long, default_value_t = 30, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=90))]
    days: u8,
    /// Only keys that begin so.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "KEY"
    )]
    prefix: String,
    /// Only these distributions, as in the function's DISTRIBUTION_IDS.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    distribution_ids: Vec<DistributionId>,
    /// Buckets behind access points, as in the function's ORIGIN_BUCKETS.
    #[arg(long, value_name = "ALIAS=BUCKET", value_delimiter = ',', value_parser = alias)]
    origin_buckets: Vec<(String, String)>,
    /// Seconds between a change and its flush, as in the function's DEBOUNCE_SECONDS.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(3..=300))]
    debounce: u16,
    /// A burst of changes is over when nothing happens for so many seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3_600))]
    burst: u16,
    /// How many paths of a month may be exact in the cost mode balanced, as in the function's
    /// MONTHLY_PATH_BUDGET.
    #[arg(long, default_value_t = 1_000, value_name = "PATHS")]
    monthly_path_budget: u64,
    /// What paths may cost in an hour.
    #[arg(long, default_value = "5", value_name = "USD")]
    spending_limit_per_hour: NanoUsd,
    /// What paths may cost in a month.
    #[arg(long, default_value = "50", value_name = "USD")]
    spending_limit_per_month: NanoUsd,
    /// Write a page with charts, too: one file that loads nothing.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Reading CloudFront's configuration and the tags may take so long.
const TIME_TO_READ: Duration = Duration::from_secs(120);

/// The ending of the names of directory buckets (S3 User Guide, "Directory bucket naming rules").
const DIRECTORY_BUCKET: &str = "--x-s3";

/// It fails if the past cannot be read, or if no distribution serves the bucket.
pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let bucket = &options.bucket;
    if bucket.as_str().ends_with(DIRECTORY_BUCKET) {
        bail!(
            "{bucket} is a directory bucket: S3 sends no events of it, so nothing can be invalidated"
        );
    }
    let account = account::open(account).await?;
    tell(&account);
    let until = OffsetDateTime::now_utc();
    let since = until - time::Duration::days(options.days.into());
    let progress = Progress::new("reading the configuration");
    let facts = Facts::read(account.clients.s3(), bucket).await?;
    let settings = settings(&account, bucket).await;
    let aliases = OriginBuckets::new(options.origin_buckets.iter().cloned());
    let serving = Serving::read(&account, &options, &aliases).await?;

    let debounce = Duration::from_secs(options.debounce.into());
    let lister = Lister {
        s3: account.clients.s3(),
        bucket,
        prefix: &options.prefix,
        span: (since, until),
        debounce,
        progress: &progress,
    };
    let past = lister.read(facts.versioning).await?;
    progress.begin("changes", past.history.len() as u64);
    let index_document = index_document_of(settings.as_deref());
    let settings_or_none = settings.clone().unwrap_or_default();
    let estimated = estimate(
        &past.history,
        &PastRules {
            bucket,
            plan: Rules {
                distributions: &serving.distributions,
                origin_buckets: &aliases,
                index_documents: &index_document
                    .into_iter()
                    .map(|name| (bucket.clone(), name))
                    .collect::<HashMap<_, _>>(),
                debounce,
                limits: SetLimits::with_paths(3_000),
                min_wildcard_depth: 0,
            },
            exceptions: &settings_or_none.exceptions,
            cost: CostRules {
                budget: options.monthly_path_budget,
                limits: SpendingLimits {
                    hour: options.spending_limit_per_hour,
                    month: options.spending_limit_per_month,
                },
                ..CostRules::default()
            },
            facts: facts.of(&past.basis),
            burst: Duration::from_secs(options.burst.into()),
        },
        |changes| progress.steps(changes as u64),
    );
    progress.finish();
    let report = Report::new(
        &Of {
            account: &account.number,
            bucket,
            prefix: &options.prefix,
            span: (since, until),
            seconds: (options.debounce, options.burst),
            facts: &facts,
            settings: settings.as_deref(),
            basis: &past.basis,
            keys: past.history.keys() as u64,
            serving: &serving.notes,
        },
        &estimated,
        |id| serving.catalog.alias(id),
    );
    if let Some(file) = &options.html {
        let name = file.display();
        fs::write(file, page::html(&report)).with_context(|| format!("failed to write {name}"))?;
        tell(format_args!("{name} is written"));
    }
    match options.output {
        Format::Text => show(&text::text(&report)),
        Format::Json => show_json(&report)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings in the bucket's tags, unless they cannot be read.
async fn settings(account: &Account, bucket: &BucketName) -> Option<Arc<BucketSettings>> {
    let tags = BucketTags::new(TIME_TO_READ, Clock::system());
    let until = Instant::now() + TIME_TO_READ;
    tags.settings(account.clients.s3(), bucket, until).await
}

/// The distributions that serve the bucket.
struct Serving {
    catalog: Catalog,
    distributions: Vec<Distribution>,
    /// What is to be said of the others.
    notes: Vec<String>,
}

impl Serving {
    /// # Errors
    /// If they cannot be read, or if there are none.
    async fn read(account: &Account, options: &Options, aliases: &OriginBuckets) -> Result<Self> {
        let bucket = &options.bucket;
        let only: BTreeSet<DistributionId> = options.distribution_ids.iter().cloned().collect();
        let catalog = Catalog::new(only.clone(), TIME_TO_READ, Clock::system());
        let cloudfront = account.clients.cloudfront();
        let until = Instant::now() + TIME_TO_READ;
        catalog.load(cloudfront, until).await?;
        let (buckets, no_one) = ([bucket.clone()], BTreeSet::new());
        let serving = catalog.serving(cloudfront, &buckets, aliases, &no_one, until);
        let serving = serving.await;
        if let Some(id) = serving.unread.first() {
            bail!("the distribution {id} could not be read, see above");
        }
        let mut distributions = serving.distributions;
        distributions.retain(|it| it.origins_of(bucket.as_str(), aliases).next().is_some());
        let mut notes = Vec::new();
        for id in only {
            if !distributions.iter().any(|it| it.id == id) {
                notes.push(format!(
                    "The distribution {id} does not serve {bucket}: none of its origins is this bucket."
                ));
            }
        }
        if distributions.is_empty() {
            notes.push(format!(
                "no distribution of the account {} has the bucket {bucket} as an origin, so nothing would be \
                 invalidated; name a bucket behind an access point with --origin-buckets",
                account.number
            ));
            bail!(notes.join(" "));
        }
        for distribution in distributions.iter().filter(|it| !it.is_in_service()) {
            let why = match distribution.enabled {
                true => "has no enabled tenants",
                false => "is disabled",
            };
            notes.push(format!(
                "The distribution {} {why}, so nothing is invalidated there.",
                distribution.id
            ));
        }
        Ok(Self {
            catalog,
            distributions,
            notes,
        })
    }
}
