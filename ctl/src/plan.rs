//! `invalidatorctl plan`: what the function would do with an event, and why.

pub mod cost;
pub mod explanation;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use invalidator_core::cost::account::Account;
use invalidator_core::cost::collapse::CostRules;
use invalidator_core::cost::mode::CostMode;
use invalidator_core::cost::month::Month;
use invalidator_core::cost::price::FREE_PATHS;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::event::{self, BucketName, Reading};
use invalidator_core::plan::{Changes, KeyChanges, MessageIndex, Rules, SetLimits, plan};
use invalidator_core::problems::MAX_TOLD;
use invalidator_core::target::DistributionId;
use time::OffsetDateTime;

use crate::account;
use crate::output::{Format, show, show_json};
use cost::Costs;
use explanation::Explanation;

use crate::output::tell;
use crate::site::Site;
use crate::site::files::{Files, TagFile, tags_in};
use crate::site::live::Live;

/// Show each change of some events, the decision on it and its reason, then the sets of paths that
/// would be submitted. Nothing is submitted.
///
/// Without files for the distributions and the tags, they are read from the account. Of files it is said what
/// they do not tell; a snapshot of the account (--save) tells all, and needs no account when it is read back.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl plan event.json
  invalidatorctl plan event.json --save site.json
  invalidatorctl plan event.json --site site.json
  invalidatorctl plan event.json --distributions distributions.json --bucket-tags tags.json --output json")]
pub struct Options {
    /// Files that hold events, `-` for standard input.
    #[arg(required = true, value_name = "EVENT")]
    events: Vec<PathBuf>,
    /// What `aws cloudfront list-distributions` prints. `DefaultRootObject`, which it does not
    /// print, may be added to an item.
    #[arg(long, value_name = "FILE")]
    distributions: Option<PathBuf>,
    /// What `aws cloudfront list-cache-policies` prints. The managed policies CachingOptimized and
    /// CachingDisabled are known without.
    #[arg(long, value_name = "FILE", requires = "distributions")]
    cache_policies: Option<PathBuf>,
    /// What `aws s3api get-bucket-tagging` prints; `BUCKET=FILE` for one of several buckets.
    #[arg(long, value_name = "[BUCKET=]FILE")]
    bucket_tags: Vec<TagFile>,
    /// Writes what was read from the account to this file: distributions, cache policies, default root objects,
    /// tenants and tags.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["site", "distributions", "bucket_tags"])]
    save: Option<PathBuf>,
    /// A file that --save has written, instead of the account.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["distributions", "bucket_tags"])]
    site: Option<PathBuf>,
    /// Buckets behind access points, as in the function's ORIGIN_BUCKETS.
    #[arg(long, value_name = "ALIAS=BUCKET", value_delimiter = ',', value_parser = alias)]
    origin_buckets: Vec<(String, String)>,
    /// Only these distributions, as in the function's DISTRIBUTION_IDS.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    distribution_ids: Vec<DistributionId>,
    /// Paths in a set, as in the function's MAX_PATHS_PER_INVALIDATION.
    #[arg(long, default_value_t = 3_000, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=3_000))]
    max_paths: u16,
    /// How many folders deep a wildcard must be, as in the function's MIN_WILDCARD_DEPTH.
    #[arg(long, default_value_t = 0, value_name = "FOLDERS", value_parser = clap::value_parser!(u8).range(..=9))]
    min_wildcard_depth: u8,
    /// When paths are collapsed into wildcards, as in the function's COST_MODE: exact, balanced or frugal.
    #[arg(long, default_value_t = CostMode::Balanced, value_name = "MODE")]
    cost_mode: CostMode,
    /// How many paths of a month may be exact in balanced, as in the function's MONTHLY_PATH_BUDGET.
    #[arg(long, default_value_t = FREE_PATHS, value_name = "NUMBER")]
    monthly_path_budget: u64,
    /// How many paths the account has ordered this month, as the dashboard and `invalidatorctl bill` show.
    #[arg(long, default_value_t = 0, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    ordered: u64,
    /// Seconds between a change and its flush, as in the function's DEBOUNCE_SECONDS. A changed error
    /// page counts if its error is cached for longer.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(3..=300))]
    debounce: u16,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Reads the bucket behind an alias.
///
/// # Errors
/// If it is not `ALIAS=BUCKET`.
pub fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((alias, bucket)) if !alias.is_empty() => {
            let bucket: BucketName = bucket.parse().map_err(|error| format!("{error}"))?;
            Ok((alias.to_owned(), bucket.to_string()))
        }
        _ => Err("expected ALIAS=BUCKET".to_owned()),
    }
}

/// The exit status says whether all records could be read.
pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let reading = read(&options.events)?;
    let settings = Settings {
        limits: SetLimits::with_paths(usize::from(options.max_paths)),
        debounce: Duration::from_secs(options.debounce.into()),
        min_wildcard_depth: usize::from(options.min_wildcard_depth),
        cost: CostRules {
            mode: options.cost_mode,
            budget: options.monthly_path_budget,
            ..CostRules::default()
        },
        ordered: options.ordered,
    };
    let aliases = OriginBuckets::new(options.origin_buckets.clone());
    let buckets: BTreeSet<&BucketName> = reading.changes.iter().map(|it| &it.bucket).collect();
    let buckets: Vec<BucketName> = buckets.into_iter().cloned().collect();
    let site = site(account, &options, &buckets, &aliases).await?;
    if let Some(file) = &options.save {
        site.save(&buckets, file)?;
        tell(format_args!("saved as {}", file.display()));
    }
    let explanation = explained(&site, &buckets, reading, &aliases, &settings)?;
    match options.output {
        Format::Text => show(&explanation.lines()),
        Format::Json => show_json(&explanation)?,
    }
    Ok(if explanation.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(files: &[PathBuf]) -> Result<Reading> {
    let mut all = Reading::default();
    for file in files {
        let text = if file.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin())
                .context("failed to read the event from standard input")?
        } else {
            std::fs::read_to_string(file)
                .with_context(|| format!("failed to read the event {}", file.display()))?
        };
        let Reading {
            changes,
            skipped,
            mut problems,
            unreadable,
            ..
        } = event::read(&text);
        all.unreadable += unreadable;
        for problem in &mut problems {
            problem.place = format!("{}: {}", file.display(), problem.place);
        }
        all.changes.extend(changes);
        all.problems.extend(problems);
        all.problems.truncate(MAX_TOLD);
        for (name, count) in skipped {
            *all.skipped.entry(name).or_default() += count;
        }
    }
    Ok(all)
}

/// Where the options say that it is.
async fn site(
    account: &account::Options,
    options: &Options,
    buckets: &[BucketName],
    aliases: &OriginBuckets,
) -> Result<Site> {
    let only: BTreeSet<DistributionId> = options.distribution_ids.iter().cloned().collect();
    let files = |distributions: &Path| {
        let files = Files {
            distributions,
            cache_policies: options.cache_policies.as_deref(),
            tags: &options.bucket_tags,
        };
        files.read(buckets, aliases, &only)
    };
    match (&options.distributions, &options.site) {
        // With files nothing is asked of an account.
        (Some(distributions), _) => files(distributions),
        (None, Some(site)) => Site::load(site, buckets, &only),
        (None, None) => {
            let account = account::open(account).await?;
            tell(&account);
            let live = Live::open(&account.clients, only.clone(), None).await?;
            let tags = tags_in(&options.bucket_tags, buckets)?;
            live.read(buckets, aliases, tags, |_| true).await
        }
    }
}

/// The function's settings that planning goes by.
struct Settings {
    limits: SetLimits,
    debounce: Duration,
    min_wildcard_depth: usize,
    cost: CostRules,
    /// How many paths were ordered this month.
    ordered: u64,
}

fn explained(
    site: &Site,
    buckets: &[BucketName],
    reading: Reading,
    aliases: &OriginBuckets,
    function: &Settings,
) -> Result<Explanation> {
    let mut explanation = Explanation::of_reading(&reading);
    let mut changes = Changes::default();
    explanation.add_unknown(site.unknown.clone());
    for change in &reading.changes {
        let settings = site.settings(&change.bucket);
        match settings.and_then(|settings| settings.exceptions.exempting(change)) {
            Some(rule) => explanation.add_excepted(change, rule),
            None => changes.add(change, MessageIndex::new(0))?,
        }
    }

    let distributions = site.serving(buckets, aliases);
    let rules = Rules {
        distributions: &distributions,
        origin_buckets: aliases,
        index_documents: &site.index_documents(buckets),
        debounce: function.debounce,
        limits: function.limits,
        min_wildcard_depth: function.min_wildcard_depth,
    };
    let keys = KeyChanges::from(changes);
    let plan = plan(&keys, &rules);
    for index in keys.indices() {
        for verdict in plan.explain(index) {
            explanation.add_verdict(&keys.get(index), &verdict);
        }
    }
    let costs = Costs {
        rules: function.cost,
        account: Account {
            this_month: function.ordered,
            elapsed: Month::elapsed(OffsetDateTime::now_utc()),
            ..Account::default()
        },
        origin_buckets: aliases,
        min_wildcard_depth: function.min_wildcard_depth,
    };
    explanation.add_sets(&plan, &costs);
    Ok(explanation)
}
