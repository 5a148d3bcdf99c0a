//! `invalidatorctl replay`: submits the paths of error files again, once their cause is fixed.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use invalidator::aws::Clients;
use invalidator::aws::error::service_error;
use invalidator::config::QueueUrl;
use invalidator::mode::read_mode;
use invalidator::queue::{Entry, send};
use invalidator::submit::answer::Answer;
use invalidator::submit::call::create_invalidation;
use invalidator::submit::unit::{Call, Means, Paces, Unit};
use invalidator_core::caller_reference::SetId;
use invalidator_core::error_file::ErrorFile;
use invalidator_core::merge::Merge;
use invalidator_core::mode::{ChosenMode, Mode};
use invalidator_core::set::{COMMAND_LINE, Lane, REPLAY_OF, Set};
use invalidator_core::target::{DistributionId, Target, TargetId};

use crate::account;
use crate::confirm::confirm;

/// Submit the paths of error files again.
#[derive(Args, Debug)]
pub struct Options {
    /// The error bucket, as the mail names it.
    #[arg(long)]
    bucket: String,
    /// The stack's SubmitQueue, as the mail names it: the function submits the paths, at the pace that
    /// CloudFront allows.
    #[arg(long, value_name = "URL", required_unless_present = "directly")]
    submit_queue: Option<QueueUrl>,
    /// Submit from this machine, without the function.
    #[arg(long, conflicts_with = "submit_queue")]
    directly: bool,
    /// The keys of the error files, as the mail lists them.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// A set to submit, and its identity.
struct Replayed {
    id: SetId,
    set: Set<'static>,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let clients = account::clients(account).await?;
    let mut sets = Vec::new();
    for key in &options.keys {
        sets.extend(read(&clients, &options.bucket, key).await?);
    }
    for Replayed { set, .. } in &sets {
        println!("{}: {} paths", set.target, set.paths.len());
        for path in &set.paths {
            println!("  {path}");
        }
    }
    let mode = mode_of(&clients, &options.bucket).await;
    refuse_if_not_live(mode.as_ref(), options.directly)?;
    if !options.yes && !confirm(&format!("submit {} sets?", sets.len()))? {
        println!("nothing was submitted");
        return Ok(ExitCode::FAILURE);
    }
    if let Some(queue) = &options.submit_queue {
        let count = sets.len();
        enqueue(&clients, queue, sets).await?;
        let then = match mode {
            Some(ChosenMode {
                mode: Mode::Stopped,
                ..
            }) => "they wait there until `invalidatorctl mode live`",
            _ => "the function submits them",
        };
        println!("{count} sets are in SubmitQueue; {then}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut all_accepted = true;
    for replayed in sets {
        all_accepted &= submit(&clients, replayed).await;
    }
    Ok(match all_accepted {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The sets of an error file, each with paths of one lane.
async fn read(clients: &Clients, bucket: &str, key: &str) -> Result<Vec<Replayed>> {
    let place = format!("s3://{bucket}/{key}");
    let object = clients
        .s3()
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await;
    let object = object.map_err(|error| service_error(&error));
    let object = object.with_context(|| format!("failed to read {place}"))?;
    let bytes = object
        .body
        .collect()
        .await
        .with_context(|| format!("failed to read {place}"))?;
    let text =
        String::from_utf8(bytes.to_vec()).with_context(|| format!("{place} is not UTF-8"))?;
    let file = ErrorFile::from_text(&text).with_context(|| format!("{place} is no error file"))?;
    let target = target(clients, file.id)
        .await
        .with_context(|| format!("failed to replay {place}"))?;
    let mut sets = Vec::new();
    for paths in file.sets {
        let (plain, wildcards): (Vec<_>, Vec<_>) = paths
            .into_iter()
            .partition(|path| Lane::of(path) == Lane::Paths);
        for paths in [plain, wildcards] {
            sets.extend(paths.chunks(MAX_PATHS).map(|paths| Replayed {
                // The key, so that replaying a file twice makes one invalidation.
                id: SetId::new(&target, paths, &[key]),
                set: Set {
                    target: target.clone(),
                    paths: paths.to_vec(),
                    reason: format!("{REPLAY_OF}{key}"),
                    by: COMMAND_LINE.to_owned(),
                    changed: None,
                    first_sent: None,
                    hops: 0,
                    caller_reference: None,
                    forbidden: None,
                },
            }));
        }
    }
    Ok(sets)
}

/// Paths of one message: so many of the longest paths fit into it.
const MAX_PATHS: usize = 250;

/// The target of this id. The distribution of a tenant is asked for.
async fn target(clients: &Clients, id: TargetId) -> Result<Target> {
    let tenant = match id {
        TargetId::Distribution(distribution) => {
            return Ok(Target {
                distribution,
                tenant: None,
            });
        }
        TargetId::Tenant(tenant) => tenant,
    };
    let call = clients.cloudfront().get_distribution_tenant();
    let answer = call.identifier(tenant.as_str()).send().await;
    let answer = answer.map_err(|error| service_error(&error));
    let answer = answer.with_context(|| format!("failed to read the tenant {tenant}"))?;
    let distribution = answer
        .distribution_tenant
        .and_then(|tenant| tenant.distribution_id)
        .ok_or_else(|| anyhow!("the tenant {tenant} has no distribution"))?;
    Ok(Target {
        distribution: DistributionId::new(distribution),
        tenant: Some(tenant),
    })
}

/// The mode that somebody chose for the stack of this error bucket. If it cannot be read, the replay goes
/// on: the function reads it too, and submits nothing while it is not live.
async fn mode_of(clients: &Clients, bucket: &str) -> Option<ChosenMode> {
    match read_mode(clients.s3(), bucket).await {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("warning: {error:#}; if the stack is not live, the sets wait");
            None
        }
    }
}

/// # Errors
/// In a dry run, and if this machine would submit for a stack that is stopped.
fn refuse_if_not_live(chosen: Option<&ChosenMode>, directly: bool) -> Result<()> {
    match chosen {
        Some(chosen) if chosen.mode == Mode::DryRun => bail!(
            "nothing was submitted: the mode is {chosen}. In a dry run nothing may be invalidated; \
             choose `invalidatorctl mode live` first"
        ),
        Some(chosen) if chosen.mode == Mode::Stopped && directly => bail!(
            "nothing was submitted: the mode is {chosen}. Choose `invalidatorctl mode live` first, or \
             replay with --submit-queue: then the sets wait until the stack is live"
        ),
        _ => Ok(()),
    }
}

async fn enqueue(clients: &Clients, queue: &QueueUrl, sets: Vec<Replayed>) -> Result<()> {
    let mut entries = Vec::new();
    for Replayed { id, set } in sets {
        let lane = set.paths.first().map_or(Lane::Paths, Lane::of);
        entries.push(Entry {
            body: set.to_json()?,
            fifo: Some((lane.group(&set.target), id.as_str().to_owned())),
            delay: Duration::ZERO,
        });
    }
    let queue_name = queue.as_str();
    send(clients.sqs(), queue, entries)
        .await
        .with_context(|| format!("failed to put sets into {queue_name}; replay again"))
}

/// Submits a set from this machine. Whether CloudFront accepted all of it.
async fn submit(clients: &Clients, Replayed { id, set }: Replayed) -> bool {
    const A_DAY: Duration = Duration::from_secs(24 * 3_600);
    let (target, cause) = (set.target.clone(), set.cause());
    let means = Means {
        call: async |merge: &Merge<'static>, call: &Call| -> Answer {
            let paths: Vec<_> = call.paths.iter().map(|index| merge.path(*index)).collect();
            create_invalidation(clients.cloudfront(), &target, &paths, &call.reference).await
        },
        remaining: || A_DAY,
    };
    let mut unit = Unit::new(&target, Merge::new(vec![set.paths]), vec![id], cause);
    let mut paces = Paces::new(3_000);
    unit.submit(None, &mut paces, &means).await;
    for accepted in &unit.accepted {
        println!(
            "{target}: invalidation {} of {} paths",
            accepted.invalidation_id, accepted.paths
        );
    }
    for (reason, paths) in unit.merge.rejected() {
        eprintln!("{target}: {} paths rejected: {reason}", paths.len());
    }
    unit.merge.rejected().is_empty()
}
