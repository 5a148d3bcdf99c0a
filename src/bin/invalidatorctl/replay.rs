//! `invalidatorctl replay`: submits the paths of error files again, when their cause is mended.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use invalidator::aws::Clients;
use invalidator::clock::Deadline;
use invalidator::distributions::{DistributionId, Target, TenantId};
use invalidator::failure::ErrorFile;
use invalidator::submit::{CallerReference, Submission, submit};

use crate::account;

/// Submit the paths of error files again.
#[derive(Args, Debug)]
pub struct Options {
    /// The error bucket, as the mail names it.
    #[arg(long)]
    bucket: String,
    /// The keys of the error files, as the mail lists them.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let clients = account::clients(account).await;
    let mut submissions = Vec::new();
    for key in &options.keys {
        submissions.extend(read(&clients, &options.bucket, key).await?);
    }
    for submission in &submissions {
        println!("{}: {} paths", submission.target, submission.paths.len());
        for path in &submission.paths {
            println!("  {path}");
        }
    }
    if !options.yes && !confirmed(submissions.len())? {
        println!("nothing was submitted");
        return Ok(ExitCode::FAILURE);
    }
    let mut all_taken = true;
    for submission in submissions {
        all_taken &= replay(&clients, submission).await;
    }
    Ok(if all_taken {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn read(clients: &Clients, bucket: &str, key: &str) -> Result<Vec<Submission<'static>>> {
    let place = format!("s3://{bucket}/{key}");
    let object = clients
        .s3()
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await;
    let object = object.with_context(|| format!("failed to read {place}"))?;
    let bytes = object
        .body
        .collect()
        .await
        .with_context(|| format!("failed to read {place}"))?;
    let text =
        String::from_utf8(bytes.to_vec()).with_context(|| format!("{place} is not UTF-8"))?;
    let file = ErrorFile::from_text(&text).with_context(|| format!("{place} is no error file"))?;
    let target = target(&file.id);
    let sets = file.sets.into_iter().filter(|set| !set.is_empty());
    let submission = |paths: Vec<_>| Submission {
        // The key, so that replaying a file twice makes one invalidation.
        caller_reference: CallerReference::of_set(&target, &paths, &[key]),
        target: target.clone(),
        paths,
    };
    Ok(sets.map(submission).collect())
}

/// The id of a tenant tells itself: CloudFront begins it with `dt_`, that of a distribution with `E`.
fn target(id: &str) -> Target {
    let tenant = id.starts_with("dt_").then(|| TenantId::new(id));
    Target {
        distribution: DistributionId::new(id),
        tenant,
    }
}

fn confirmed(sets: usize) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("there is no terminal to ask on: say --yes");
    }
    print!("submit {sets} sets? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether CloudFront took all of it.
async fn replay(clients: &Clients, submission: Submission<'_>) -> bool {
    let target = submission.target.clone();
    let settlement = submit(clients.cloudfront(), submission, 0, &Deadline::none()).await;
    for accepted in &settlement.accepted {
        println!(
            "{target}: invalidation {} of {} paths",
            accepted.invalidation_id, accepted.paths
        );
    }
    if let Some((held_back, reason)) = &settlement.held_back {
        eprintln!(
            "{target}: {} paths not taken now, replay again later: {reason}",
            held_back.paths.len()
        );
    }
    for refused in &settlement.refused {
        eprintln!(
            "{target}: {} paths refused: {}",
            refused.paths.len(),
            refused.refusal
        );
    }
    settlement.held_back.is_none() && settlement.refused.is_empty()
}
