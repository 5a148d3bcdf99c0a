//! A healthy stack, for the tests of the rules.

use std::collections::{BTreeMap, BTreeSet};

use invalidator::config::Config;
use invalidator_core::bucket_tags::BucketTag;
use invalidator_core::distributions::listing::{DistributionSummary, managed_policies};
use invalidator_core::distributions::{Details, Distribution};
use invalidator_core::mode::{ChosenMode, Mode as Chosen};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::check::facts::{
    Alarm, Bucket, Distributions, ErrorBucket, Facts, FailedEvents, Function, Mail, Mapping, Mode,
    Permission, Queue, Stack, Subscription, Sweep, Whereabouts,
};
use crate::check::finding::Findings;
use crate::notification::{Notifications, Rule};
use crate::quote::{Here, NamedBy};

pub const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:invalidator-Function";

/// The rules that are broken, in the order in which they are shown.
pub fn rules(facts: &Facts, find: fn(&Facts, &mut Findings)) -> Vec<&'static str> {
    let mut found = Findings::default();
    find(facts, &mut found);
    found.sort();
    found.all.iter().map(|it| it.rule).collect()
}

/// A stack in which all is well.
pub fn facts() -> Facts {
    with(site(json!({})))
}

/// The distribution `E1` of the bucket `site`, with these settings instead of its own.
pub fn site(settings: Value) -> DistributionSummary {
    let mut summary = json!({
        "Id": "E1",
        "DomainName": "d1.cloudfront.net",
        "Enabled": true,
        "Status": "Deployed",
        "Aliases": { "Items": ["www.example.org"] },
        "Origins": { "Items": [{ "Id": "site", "DomainName": "site.s3.eu-west-1.amazonaws.com" }] },
        "DefaultCacheBehavior": {
            "TargetOriginId": "site",
            "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        },
    });
    let settings = settings.as_object().unwrap().clone();
    summary.as_object_mut().unwrap().extend(settings);
    serde_json::from_value(summary).unwrap()
}

/// The same stack with this distribution.
pub fn with(summary: DistributionSummary) -> Facts {
    let serving = Distribution::all(&summary, Details::default(), &managed_policies());
    let mut facts = without_distributions();
    facts.distributions = Some(Distributions {
        ids: [summary.id.clone()].into(),
        summaries: vec![summary],
        serving,
        ..Distributions::default()
    });
    facts
}

/// The same stack with these `DISTRIBUTION_IDS`.
pub fn with_ids(ids: &str) -> Facts {
    let mut facts = facts();
    with_setting(&mut facts, "DISTRIBUTION_IDS", ids);
    facts
}

/// Gives a setting of the function another value.
pub fn with_setting(facts: &mut Facts, name: &str, value: &str) {
    facts.function.as_mut().unwrap().config = Ok(config(&[(name, value)]));
}

/// The region of the stack, and its name.
pub fn here(stack: &str) -> Here {
    Here {
        region: "eu-west-1".to_owned(),
        stack: NamedBy::Stack(stack.to_owned()),
        ..Here::default()
    }
}

fn config(settings: &[(&str, &str)]) -> Config {
    let url = |name: &str| format!("https://sqs.eu-west-1.amazonaws.com/123456789012/{name}");
    let own = |name: &str| match name {
        "BUFFER_QUEUE_URL" => Some(url("BufferQueue")),
        "TICK_QUEUE_URL" => Some(url("TickQueue")),
        "SUBMIT_QUEUE_URL" => Some(url("SubmitQueue")),
        "ERROR_BUCKET" => Some("errors".to_owned()),
        "TOPIC_ARN" => Some("arn:aws:sns:eu-west-1:123456789012:topic".to_owned()),
        _ => None,
    };
    let given = |name: &str| {
        let given = settings.iter().find(|(key, _)| *key == name);
        given.map(|(_, value)| (*value).to_owned())
    };
    Config::from_variables(|name| given(name).or_else(|| own(name))).unwrap()
}

fn queue(output: &'static str) -> Queue {
    let name = output.strip_suffix("Url").unwrap();
    let mut attributes = BTreeMap::from(
        [
            (
                "QueueArn",
                format!("arn:aws:sqs:eu-west-1:123456789012:{name}"),
            ),
            ("VisibilityTimeout", "160".to_owned()),
            ("DelaySeconds", "0".to_owned()),
            ("MessageRetentionPeriod", "1209600".to_owned()),
            ("MaximumMessageSize", "1048576".to_owned()),
            ("ApproximateNumberOfMessages", "0".to_owned()),
            ("ApproximateNumberOfMessagesNotVisible", "0".to_owned()),
            ("FifoQueue", "true".to_owned()),
            ("ContentBasedDeduplication", "true".to_owned()),
            ("DeduplicationScope", "messageGroup".to_owned()),
            ("FifoThroughputLimit", "perMessageGroupId".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if output == "TickQueueUrl" {
        attributes.insert("DelaySeconds".to_owned(), "10".to_owned());
    }
    if ["BufferQueueUrl", "SubmitQueueUrl"].contains(&output) {
        let dead_letters = name.replace("Queue", "DeadLetterQueue");
        let policy = json!({
            "deadLetterTargetArn": format!("arn:aws:sqs:eu-west-1:123456789012:{dead_letters}"),
            "maxReceiveCount": 1000,
        });
        attributes.insert("RedrivePolicy".to_owned(), policy.to_string());
    }
    if output == "IntakeQueueUrl" {
        let policy = json!({
            "deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:FailedEventsQueue",
            "maxReceiveCount": 10,
        });
        attributes.insert("RedrivePolicy".to_owned(), policy.to_string());
    }
    Queue {
        output,
        url: format!("https://sqs.eu-west-1.amazonaws.com/123456789012/{name}"),
        attributes,
    }
}

fn without_distributions() -> Facts {
    let outputs = [
        "IntakeQueueUrl",
        "BufferQueueUrl",
        "TickQueueUrl",
        "SubmitQueueUrl",
        "BufferDeadLetterQueueUrl",
        "SubmitDeadLetterQueueUrl",
        "FailedEventsQueueUrl",
    ];
    let queues: Vec<Queue> = outputs.into_iter().map(queue).collect();
    let mapping = |name: &str| Mapping {
        id: name.to_owned(),
        source: format!("arn:aws:sqs:eu-west-1:123456789012:{name}"),
        state: "Enabled".to_owned(),
        reports_items: true,
        has_filter: false,
    };
    let mut of_queues: BTreeMap<String, String> = queues
        .iter()
        .map(|it| (it.output.to_owned(), it.url.clone()))
        .collect();
    of_queues.insert("ErrorBucketName".to_owned(), "errors".to_owned());
    let parameters = [
        ("AdminEmail", "ada@example.org"),
        ("DebounceSeconds", "10"),
        ("EventSource", "S3"),
    ];
    let now = datetime!(2026-11-28 12:00 UTC);
    Facts {
        now,
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        here: here("invalidator"),
        stack: Stack {
            name: "invalidator".to_owned(),
            outputs: of_queues,
            parameters: parameters
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        },
        function: Some(Function {
            name: "invalidator-Function".to_owned(),
            arn: FUNCTION.to_owned(),
            role: "arn:aws:iam::123456789012:role/invalidator-FunctionRole".to_owned(),
            state: "Active".to_owned(),
            last_update: "Successful".to_owned(),
            timeout: 150,
            memory: 256,
            last_modified: Some(now - time::Duration::days(30)),
            log_format: "JSON".to_owned(),
            log_level: "TRACE".to_owned(),
            config: Ok(config(&[])),
            concurrency: None,
        }),
        failed_events: Some(FailedEvents {
            destination: Some("arn:aws:sqs:eu-west-1:123456789012:FailedEventsQueue".to_owned()),
        }),
        permissions: Some(vec![Permission {
            statement: "s3".to_owned(),
            service: "s3.amazonaws.com".to_owned(),
            source: "arn:aws:s3:::*".to_owned(),
            account: "123456789012".to_owned(),
        }]),
        mappings: Some(vec![mapping("TickQueue"), mapping("SubmitQueue")]),
        event_rules: Some(Vec::new()),
        sweep: Some(Sweep {
            name: "sweep".to_owned(),
            is_enabled: true,
        }),
        queues,
        mail: Some(Mail {
            topic: "arn:aws:sns:eu-west-1:123456789012:topic".to_owned(),
            subscriptions: vec![Subscription {
                protocol: "email".to_owned(),
                endpoint: "ada@example.org".to_owned(),
                is_confirmed: true,
                has_filter: false,
            }],
            key: String::new(),
        }),
        alarms: Some(vec![Alarm {
            name: "invalidator-PathsRejected-1A2B".to_owned(),
            is_on: false,
            is_muted: false,
        }]),
        mode: Some(Mode::Chosen(ChosenMode::initial(Chosen::Live))),
        paused: None,
        denied: Some(Vec::new()),
        error_bucket: Some(ErrorBucket {
            is_versioned: Some(true),
            files: Some(0),
        }),
        buckets: vec![Bucket {
            notifications: Some(Notifications {
                rules: vec![Rule::ours(FUNCTION)],
                event_bridge: false,
            }),
            tags: Some(Vec::new()),
            is_versioned: Some(true),
            owns_all: Some(true),
            ..Bucket::new("site", Whereabouts::Here)
        }],
        buckets_not_asked: 0,
        distributions: None,
        topics: BTreeMap::new(),
        samconfig: None,
        unread: Vec::new(),
    }
}

#[test]
fn a_healthy_stack_has_no_findings() {
    let found = super::find(&facts());
    assert!(found.all.is_empty(), "{:?}", found.all);
    assert!(found.well.len() > 10, "{:?}", found.well);
}

/// A stack in which much is wrong.
fn faults() -> Facts {
    let mut facts = with(site(json!({
        "Enabled": true,
        "CustomErrorResponses": { "Items": [{ "ErrorCode": 404, "ErrorCachingMinTTL": 300 }] },
    })));
    with_setting(&mut facts, "DISTRIBUTION_IDS", "E9");
    facts.stack.name = "other".to_owned();
    facts.here = Here {
        profile: Some("prod".to_owned()),
        ..here("other")
    };
    facts.mode = Some(Mode::Chosen(ChosenMode::initial(Chosen::Stopped)));
    facts.failed_events = Some(FailedEvents { destination: None });
    facts.permissions = Some(Vec::new());
    let function = facts.function.as_mut().unwrap();
    (function.timeout, function.memory) = (3, 64);
    function.concurrency = Some(1);
    for mapping in facts.mappings.iter_mut().flatten() {
        mapping.state = "Disabled".to_owned();
        mapping.has_filter = true;
    }
    for queue in &mut facts.queues {
        for (name, value) in [
            ("VisibilityTimeout", "1"),
            ("DelaySeconds", "900"),
            ("MessageRetentionPeriod", "60"),
            ("MaximumMessageSize", "1024"),
            ("ApproximateNumberOfMessages", "3"),
            ("ContentBasedDeduplication", "false"),
        ] {
            queue.attributes.insert(name.to_owned(), value.to_owned());
        }
        queue.attributes.remove("RedrivePolicy");
    }
    let mail = facts.mail.as_mut().unwrap();
    mail.key = "alias/aws/sns".to_owned();
    mail.subscriptions[0].is_confirmed = false;
    facts.alarms.as_mut().unwrap()[0].is_muted = true;
    facts.error_bucket = Some(ErrorBucket {
        is_versioned: Some(false),
        files: Some(2),
    });
    let tag = |key: &str, value: &str| BucketTag {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let bucket = &mut facts.buckets[0];
    bucket.notifications = Some(Notifications {
        rules: vec![Rule {
            prefix: "docs/".to_owned(),
            events: vec!["s3:ObjectCreated:*".to_owned()],
            ..Rule::ours(FUNCTION)
        }],
        event_bridge: false,
    });
    bucket.tags = Some(vec![
        tag("invalidate", "changed"),
        tag("exceptionPaths", "/ tmp"),
        tag("exceptionpaths2", "it's"),
        tag("indexDocument", "a/b"),
    ]);
    (bucket.is_versioned, bucket.owns_all) = (Some(false), Some(false));
    let far = Whereabouts::Region("us-east-1".to_owned());
    facts.buckets.push(Bucket::new("far", far));
    let open = Bucket {
        notifications: Some(Notifications::default()),
        ..Bucket::new("open", Whereabouts::Here)
    };
    facts.buckets.push(open);
    facts.buckets_not_asked = 1;
    facts
}

#[test]
fn each_fix_works_where_the_fault_was_found() {
    let mut rules = BTreeSet::new();
    let mut commands = BTreeSet::new();
    for facts in [faults(), {
        let mut facts = faults();
        facts.permissions = super::testing::facts().permissions;
        with_setting(&mut facts, "DISTRIBUTION_IDS", "");
        facts
    }] {
        for finding in super::find(&facts).all {
            rules.insert(finding.rule);
            for fix in finding.fix.iter().filter(|it| !it.starts_with('#')) {
                let has = |option: &str| fix.contains(option);
                assert!(has(" --profile prod"), "{}: {fix}", finding.rule);
                let region = match finding.rule {
                    "other-region" => " --region us-east-1",
                    _ => " --region eu-west-1",
                };
                assert!(has(region), "{}: {fix}", finding.rule);
                assert_eq!(
                    fix.matches("--region").count(),
                    fix.matches("--profile").count()
                );
                let is_own =
                    fix.starts_with("invalidatorctl ") && !fix.starts_with("invalidatorctl bill");
                let stack = match fix.contains("sam deploy") {
                    true => " --stack-name other",
                    false => " --stack other",
                };
                assert!(has(stack) || !(is_own || has("sam deploy")), "{fix}");
                assert!(crate::tests::parses(fix), "{fix}");
                commands.insert(fix.clone());
            }
        }
    }
    assert!(
        rules.len() > 30 && commands.len() > 30,
        "{rules:#?} {commands:#?}"
    );
}

#[test]
fn missing_events_are_fixed_in_one_step_that_loses_no_tag() {
    let mut facts = faults();
    facts.permissions = super::testing::facts().permissions;
    let fixes: Vec<String> = super::find(&facts)
        .all
        .into_iter()
        .filter(|it| ["filter-hides-keys", "events-missing"].contains(&it.rule))
        .flat_map(|it| it.fix)
        .collect();
    assert!(!fixes.is_empty());
    for fix in fixes.iter().filter(|it| !it.starts_with('#')) {
        assert!(
            fix.starts_with("invalidatorctl connect site --whole "),
            "{fix}"
        );
    }
}
