//! `invalidatorctl bill`: what the account paid for invalidations, whoever made them.
//!
//! * [`read`]: reads the invalidations of all distributions and tenants
//! * [`pace`]: how fast CloudFront may be read
//! * [`cache`]: what was read before
//! * [`invalidation`]: what is kept of each
//! * [`cause`]: who made it
//! * [`tally`]: adds them up
//! * [`text`], [`page`]: shows the sums

mod cache;
mod invalidation;
mod pace;
mod page;
mod read;
mod tally;
mod text;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use aws_config::retry::RetryConfig;
use clap::Args;
use invalidator::aws::Clients;
use invalidator_core::cost::month::Month;
use time::OffsetDateTime;

use crate::account;
use crate::output::{Format, show, show_json, tell};
use crate::progress::Progress;
use crate::usage::Usage;
use cache::Cache;
use read::Reader;

/// Show what the account paid for invalidations in a month, by distribution, day and cause: those of
/// invalidator and of everybody else.
///
/// CloudFront is read slowly, as it allows no more: about ten invalidations a second. What was read is kept
/// on this machine, so a second run is fast, and so is one after an interruption. Nothing is changed, and
/// reading costs nothing.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl bill
  invalidatorctl bill --month 2026-10 --html october.html")]
pub struct Options {
    /// The month, in UTC. Without it, the running one, with a forecast.
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<Month>,
    /// Write a page with charts, too: one file that loads nothing.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Read everything again, and keep nothing on this machine.
    #[arg(long)]
    no_cache: bool,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// The exit status says whether everything could be read.
pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let now = OffsetDateTime::now_utc();
    let month = options.month.unwrap_or(Month::at(now));
    if month > Month::at(now) {
        let latest = Month::at(now);
        let problem = format!("{month} has not begun: name a month up to {latest}");
        return Err(Usage(problem).into());
    }
    let account = account::open(account).await?;
    tell(&account);
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = account
        .endpoints
        .cloudfront
        .as_ref()
        .map(|url| url.as_str());
    let endpoint = endpoint.or_else(|| account.sdk.endpoint_url());
    let progress = Progress::new("listing the distributions");
    let cache = match options.no_cache {
        true => Cache::none(),
        false => Cache::new(cache::user_caches(variable), &account.number, endpoint),
    };
    // The pace sees each refusal itself.
    let sdk = account.sdk.to_builder();
    let sdk = sdk.retry_config(RetryConfig::disabled()).build();
    let clients = Clients::new(sdk, account.endpoints.clone());
    let reader = Reader::new(clients.cloudfront(), &cache, &progress, month, now);
    let read = reader.read().await?;
    progress.finish();
    let bill = tally::tally(account.number, month, now, &read);
    if let Some(file) = &options.html {
        let name = file.display();
        fs::write(file, page::html(&bill)).with_context(|| format!("failed to write {name}"))?;
        tell(format_args!("{name} is written"));
    }
    match options.output {
        Format::Text => show(&text::text(&bill)),
        Format::Json => show_json(&bill)?,
    }
    Ok(match bill.missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
