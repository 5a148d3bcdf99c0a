//! `invalidatorctl connect`: lets a bucket send its events to the function.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use invalidator_core::bucket_tags::{BucketTag, tags_for};
use invalidator_core::event::BucketName;
use invalidator_core::pattern::Wildcards;
use time::OffsetDateTime;

use crate::account::{self, Account};
use crate::bucket::apply::apply;
use crate::bucket::change::{
    Bar, Extent, Receivers, Source, TagsWanted, connected, difference, tag_changes,
};
use crate::bucket::permission::{self, Permissions};
use crate::bucket::record::{self, Record};
use crate::bucket::report::{Outcome, Report};
use crate::bucket::settings::{Settings, check_place, read};
use crate::confirm::confirm;
use crate::notification::Rule;
use crate::output::{Format, tell};
use crate::quote::{Here, command, set_parameter};
use crate::stack::{self, Stack};
use crate::usage::Usage;

/// Let a bucket send its events to the function, and set its tags.
///
/// The rule is added to those that the bucket has; with EventSource SQS it sends to the stack's IntakeQueue, with
/// EventBridge the bucket's events go there. Other tags stay as they are. The difference is shown first, and the old settings are saved in
/// the error bucket. It may be run again.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invalidatorctl connect my-site
  invalidatorctl connect my-site --whole
  invalidatorctl connect my-site --exception-paths \"resources/upload tmp\" --index-document index.html")]
pub struct Options {
    /// A bucket of the stack's account and region.
    #[arg(value_name = "BUCKET")]
    bucket: BucketName,
    #[command(flatten)]
    stack: stack::Options,
    /// Uploads under these paths are ignored (the tags exceptionPaths, exceptionPaths2, ..): all of them, in
    /// place of those that are there; empty for none.
    #[arg(long, value_name = "PATHS")]
    exception_paths: Vec<String>,
    /// The tag indexDocument: a change of `dir/NAME` also invalidates `/dir/`; empty for none.
    #[arg(long, value_name = "NAME")]
    index_document: Option<String>,
    /// The tag invalidate=changed: what visitors get as before is not invalidated.
    #[arg(long, value_name = "true|false")]
    only_changed: Option<bool>,
    /// If the bucket sends only a part of its events to the stack, such as one folder: send all of them instead.
    #[arg(long)]
    whole: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// For a person or for a machine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub async fn run(account: &account::Options, options: Options) -> Result<ExitCode> {
    let wanted = wanted(&options)?;
    let account = account::open(account).await?;
    let stack = stack::find(&account, options.stack).await?;
    let function = stack.output("FunctionArn")?.to_owned();
    let intake = stack.intake_queue()?;
    let receivers = Receivers {
        function: &function,
        intake: &intake,
    };
    let bucket = options.bucket.as_str();
    if bucket == stack.error_bucket {
        bail!(
            "{bucket} is the stack's error bucket: the function writes there with each flush, and each write would bring \
             another flush, for ever"
        );
    }
    check_place(&account, bucket).await?;
    let here = stack.here(&account);
    let source = source_of(&stack, bucket, &here)?;
    let before = read(&account, bucket).await?;
    let extent = match options.whole {
        true => Extent::Whole,
        false => Extent::AsChosen,
    };
    let after = connected(&before, receivers, source, extent, &wanted)
        .map_err(|bar| barred(&bar, bucket, &function, &here))?;
    let permissions = match source {
        Source::S3 => permission::read(&account, &function, bucket).await?,
        // The policy of IntakeQueue is the template's.
        Source::Sqs | Source::EventBridge => Permissions::Enough,
    };
    let mut lines = difference(&before, &after);
    lines.extend(permissions.line(bucket));
    let report = Report::new(bucket, &function, &lines);
    if lines.is_empty() {
        report.show(
            options.output,
            Outcome::Nothing,
            "it is connected already, nothing is to be done",
            None,
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    report.tell("connecting it changes:");
    if !options.yes && !confirm(&format!("connect {bucket}?"))? {
        tell("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let saved = remember(
        &account,
        &stack,
        &before,
        &after,
        &permissions,
        (bucket, &function),
    )
    .await?;
    tell(format_args!("the settings before are in {saved}"));
    permission::add(&account, &function, bucket, &permissions).await?;
    apply(&account, bucket, &before, &after).await?;
    report.show(options.output, Outcome::Done, "connected", Some(&saved))?;
    tell(format_args!(
        "It takes effect within a minute or two. To see it work: {}",
        here.complete("invalidatorctl check")
    ));
    Ok(ExitCode::SUCCESS)
}

/// The tags that are asked for.
///
/// # Errors
/// If they cannot be saved, or would do nothing.
fn wanted(options: &Options) -> Result<TagsWanted> {
    let index_document = options
        .index_document
        .as_deref()
        .filter(|it| !it.trim().is_empty());
    let only_changed = options.only_changed == Some(true);
    let tags = tags_for(&options.exception_paths, index_document, only_changed);
    let tags: Vec<BucketTag> = tags.map_err(|error| Usage(error.to_string()))?;
    let tag = |key: &str| tags.iter().find(|tag| tag.key == key).cloned();
    let (index, changed) = (tag("indexDocument"), tag("invalidate"));
    let exceptions = tags
        .iter()
        .filter(|tag| invalidator_core::bucket_tags::is_of_exceptions(&tag.key));
    Ok(TagsWanted {
        exceptions: (!options.exception_paths.is_empty()).then(|| exceptions.cloned().collect()),
        index_document: options.index_document.is_some().then_some(index),
        only_changed: options.only_changed.map(|_| changed),
    })
}

/// How events come to the function of this stack.
///
/// # Errors
/// If the rule of EventBridge does not name the bucket: then turning on its events would do nothing. If IntakeQueue
/// takes no events of it: then S3 would refuse the rule.
fn source_of(stack: &Stack, bucket: &str, here: &Here) -> Result<Source> {
    let parameters = stack.parameters();
    let parameter = |name: &str| parameters.get(name).map_or("", String::as_str);
    if stack.uses_sqs() {
        let pattern = parameter("S3Buckets");
        if Wildcards::new(pattern).match_text(bucket) {
            return Ok(Source::Sqs);
        }
        bail!(
            "the stack's IntakeQueue takes events of {pattern} only, and not of {bucket}: deploy with a pattern of \
             S3Buckets that fits both (in samconfig.toml too), such as all of the account, by: {}",
            here.complete(&set_parameter(
                stack.name().unwrap_or_default(),
                parameters,
                "S3Buckets",
                "*"
            ))
        );
    }
    if parameter("EventSource") != "EventBridge" {
        return Ok(Source::S3);
    }
    let buckets = parameter("EventBridgeBuckets");
    if buckets.split(',').any(|it| it == bucket) {
        return Ok(Source::EventBridge);
    }
    let separator = if buckets.is_empty() { "" } else { "," };
    let all = format!("{buckets}{separator}{bucket}");
    let name = stack.name().unwrap_or_default();
    let deploy = here.complete(&set_parameter(name, parameters, "EventBridgeBuckets", &all));
    bail!(
        "the stack's rule of EventBridge does not name {bucket}: add it to EventBridgeBuckets (in samconfig.toml too), \
         for example by: {deploy}"
    );
}

/// What a person does about what bars a connection.
fn barred(bar: &Bar, bucket: &str, function: &str, here: &Here) -> anyhow::Error {
    let list = |rules: &[Rule]| {
        let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
        rules.join("; ")
    };
    match bar {
        Bar::Overlaps(rules) => {
            let lambda = command(["--protocol", "lambda", "--notification-endpoint", function]);
            let subscribe = here.complete(&format!("aws sns subscribe --topic-arn TOPIC {lambda}"));
            let check = here.complete(&format!("invalidatorctl check --only {bucket}"));
            anyhow::anyhow!(
                "{bucket} sends some of these events elsewhere already, and S3 allows one receiver for an event and a \
                 key: {}. Nothing was changed. What to do: let that topic or queue pass the events on to the function \
                 (docs/deploy.md#connect-a-bucket; for a topic `{subscribe}`); or \
                 deploy with EventSource=EventBridge, which takes all events beside S3's notifications; if the function \
                 is subscribed already, `{check}` says so.",
                list(rules)
            )
        }
        Bar::Partial(rules) => anyhow::anyhow!(
            "{bucket} sends a part of its events to the function already: {}. Nothing was changed. What to do: if that \
             part is meant, leave it so; else `{}` puts a rule for the whole bucket in its place, in one step.",
            list(rules),
            here.complete(&format!("invalidatorctl connect {bucket} --whole"))
        ),
        Bar::NoRule(error) => {
            anyhow::anyhow!("the rule cannot be made: {error}. Nothing was changed.")
        }
        Bar::TooManyTags(number) => anyhow::anyhow!(
            "{bucket} would have {number} tags, and S3 allows 50: remove some, or name fewer paths. Nothing was changed."
        ),
    }
}

/// Saves what was before, and what is about to be changed.
async fn remember(
    account: &Account,
    stack: &Stack,
    before: &Settings,
    after: &Settings,
    permissions: &Permissions,
    (bucket, function): (&str, &str),
) -> Result<String> {
    let (clients, error_bucket) = (&account.clients, stack.error_bucket.as_str());
    let known = record::read(clients, error_bucket, bucket).await?;
    if let Some(known) = &known
        && known.function != function
    {
        bail!(
            "s3://{error_bucket}/{} is about the function {}: disconnect it first, or delete that record",
            record::key(bucket),
            known.function
        );
    }
    let saved = record::save(
        clients,
        error_bucket,
        bucket,
        (&before.notifications, &before.tags),
        (&account.caller, OffsetDateTime::now_utc()),
    );
    let saved = saved.await?;
    let mut record = known.unwrap_or_else(|| Record::new(bucket, function));
    let turns_on = before.notifications.event_bridge_configuration.is_none()
        && after.notifications.event_bridge_configuration.is_some();
    let tags = tag_changes(&before.tags, &after.tags);
    record.add(turns_on, permissions.statement(bucket), tags);
    record::write(clients, error_bucket, &record).await?;
    Ok(saved)
}
