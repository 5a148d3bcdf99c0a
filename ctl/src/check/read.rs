//! Reads the facts. Whatever cannot be read is kept as a fact of its own: nothing is passed over in silence.

mod buckets;
mod distributions;
mod function;
mod looking;
mod mail;
mod queues;
mod role;
mod samconfig;

use std::collections::BTreeMap;
use std::path::Path;

use invalidator::mode::read_mode;
use invalidator_core::mode::ChosenMode;
use time::OffsetDateTime;

use super::facts::{Alarm, ErrorBucket, Facts, Mode, Paused, Stack, Sweep};
use super::finding::Subject;
use crate::account::Account;
use crate::held::Overview;
use crate::stack;
use looking::Looking;

/// Reads all facts about a stack and its buckets; of buckets only these, if some are named.
pub async fn read(
    account: &Account,
    stack: &stack::Stack,
    only: &[String],
    samconfig_file: &Path,
    now: OffsetDateTime,
) -> Facts {
    let looking = Looking::new(account);
    let known = Stack {
        name: stack.name().unwrap_or_default().to_owned(),
        outputs: stack.outputs().clone(),
        parameters: stack.parameters().clone(),
    };
    let name = known.output("FunctionName");
    let (
        function,
        failed_events,
        permissions,
        mappings,
        queues,
        mail,
        resources,
        mode,
        paused,
        error_bucket,
    ) = tokio::join!(
        function::configuration(&looking, name),
        function::failed_events(&looking, name),
        function::permissions(&looking, name),
        function::mappings(&looking, name),
        queues::queues(&looking, &known),
        mail::mail(&looking, known.output("AlertTopicArn")),
        resources(&looking, &known.name),
        mode(&looking, stack),
        Overview::read(account, stack),
        error_bucket(&looking, &stack.error_bucket),
    );
    let arn = function.as_ref().map_or("", |it| it.arn.as_str());
    let config = function.as_ref().and_then(|it| it.config.as_ref().ok());
    let aliases = config
        .map(|it| it.origin_buckets.clone())
        .unwrap_or_default();
    let (event_rules, sweep, alarms, distributions) = tokio::join!(
        function::event_rules(&looking, arn),
        sweep(&looking, resources.as_ref()),
        alarms(&looking, resources.as_ref()),
        distributions::listed(&looking, &aliases, only),
    );
    let connected = buckets::Connected {
        function: arn,
        mappings: mappings.as_deref().unwrap_or_default(),
        permissions: permissions.as_deref().unwrap_or_default(),
        event_rules: event_rules.as_deref().unwrap_or_default(),
    };
    let (buckets, buckets_not_asked) =
        buckets::buckets(&looking, distributions.as_ref(), &aliases, only, &connected).await;
    let distributions = match distributions {
        Some(it) => Some(distributions::with_others(&looking, it, &buckets, &aliases, now).await),
        None => None,
    };
    let (topics, denied) = tokio::join!(
        mail::topics(&looking, &buckets),
        role::denied(
            &looking,
            function.as_ref(),
            &queues,
            &known,
            &buckets,
            distributions.as_ref()
        ),
    );
    let samconfig = samconfig::read(&looking, samconfig_file, &known.name);
    Facts {
        now,
        here: stack.here(account),
        account: account.number.clone(),
        region: account.region().to_owned(),
        stack: known,
        function,
        failed_events,
        permissions,
        mappings,
        event_rules,
        sweep,
        queues,
        mail,
        alarms,
        mode,
        paused: Some(match paused {
            Ok(overview) => Paused::Known(overview),
            Err(error) => Paused::Unreadable(format!("{error:#}")),
        }),
        denied,
        error_bucket,
        buckets,
        buckets_not_asked,
        distributions,
        topics,
        samconfig,
        unread: looking.unread(),
    }
}

/// The names of the stack's resources, with their types, by their names in the template.
type Resources = BTreeMap<String, (String, String)>;

async fn resources(looking: &Looking<'_>, stack: &str) -> Option<Resources> {
    let client = aws_sdk_cloudformation::Client::new(looking.sdk());
    let answer = client
        .describe_stack_resources()
        .stack_name(stack)
        .send()
        .await;
    let answer = looking.keep(
        &Subject::Stack,
        "the stack's resources",
        "CloudFormation DescribeStackResources",
        answer,
    )?;
    let resources = answer.stack_resources.unwrap_or_default().into_iter();
    let resources = resources.filter_map(|it| {
        let (name, kind) = (it.logical_resource_id?, it.resource_type?);
        Some((name, (kind, it.physical_resource_id?)))
    });
    Some(resources.collect())
}

async fn sweep(looking: &Looking<'_>, resources: Option<&Resources>) -> Option<Sweep> {
    let (_, name) = resources?.get("SweepSchedule")?;
    let client = aws_sdk_scheduler::Client::new(looking.sdk());
    // Its physical id is its name, perhaps with its group.
    let short = name.rsplit(['/', '|']).next().unwrap_or(name);
    let answer = client.get_schedule().name(short).send().await;
    let answer = looking.keep(
        &Subject::Function,
        "the schedule of the sweep",
        "Scheduler GetSchedule",
        answer,
    )?;
    Some(Sweep {
        name: short.to_owned(),
        is_enabled: answer.state.is_none_or(|it| it.as_str() == "ENABLED"),
    })
}

async fn alarms(looking: &Looking<'_>, resources: Option<&Resources>) -> Option<Vec<Alarm>> {
    let names = resources?.values();
    let names = names.filter(|(kind, _)| kind == "AWS::CloudWatch::Alarm");
    let names: Vec<String> = names.map(|(_, name)| name.clone()).collect();
    if names.is_empty() {
        return Some(Vec::new());
    }
    let client = aws_sdk_cloudwatch::Client::new(looking.sdk());
    let call = client.describe_alarms().set_alarm_names(Some(names));
    let answer = call.max_records(100).send().await;
    let action = "CloudWatch DescribeAlarms";
    let answer = looking.keep(&Subject::Mail, "the alarms", action, answer)?;
    let alarms = answer.metric_alarms.unwrap_or_default().into_iter();
    let alarms = alarms.map(|it| Alarm {
        name: it.alarm_name.unwrap_or_default(),
        is_on: it.state_value.is_some_and(|it| it.as_str() == "ALARM"),
        is_muted: it.actions_enabled == Some(false),
    });
    Some(alarms.collect())
}

async fn mode(looking: &Looking<'_>, stack: &stack::Stack) -> Option<Mode> {
    let mode = read_mode(looking.s3(), &stack.error_bucket).await;
    match (mode, stack.initial_mode) {
        (Ok(Some(chosen)), _) => Some(Mode::Chosen(chosen)),
        (Ok(None), Some(initial)) => Some(Mode::Chosen(ChosenMode::initial(initial))),
        (Ok(None), None) => None,
        (Err(error), _) => Some(Mode::Unreadable(format!("{error:#}"))),
    }
}

async fn error_bucket(looking: &Looking<'_>, bucket: &str) -> Option<ErrorBucket> {
    let (s3, subject) = (looking.s3(), Subject::Stack);
    let list = s3
        .list_objects_v2()
        .bucket(bucket)
        .prefix("invalidation_error/")
        .send();
    let versioning = s3.get_bucket_versioning().bucket(bucket).send();
    let (list, versioning) = tokio::join!(list, versioning);
    let list = looking.keep(&subject, "the error files", "S3 ListObjectsV2", list);
    let what = "the error bucket's versioning";
    let versioning = looking.keep(&subject, what, "S3 GetBucketVersioning", versioning);
    Some(ErrorBucket {
        is_versioned: versioning.map(|it| it.status.is_some_and(|it| it.as_str() == "Enabled")),
        files: list.map(|it| it.contents().iter().filter(|it| it.size != Some(0)).count()),
    })
}
