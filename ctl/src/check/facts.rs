//! What was read of the account: plain data, from which the findings follow.
//!
//! `None` stands for what could not be read. A finding of its own says so, so no rule does.

use std::collections::{BTreeMap, BTreeSet};

use invalidator::config::Config;
use invalidator_core::bucket_tags::BucketTag;
use invalidator_core::distributions::Distribution;
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::mode::ChosenMode;
use invalidator_core::pattern::Wildcards;
use invalidator_core::service_error::ServiceError;
use time::OffsetDateTime;

use super::finding::Subject;
use crate::held::Overview;
use crate::notification::Notifications;
use crate::quote::Here;

/// All that was read.
#[derive(Debug)]
pub struct Facts {
    pub now: OffsetDateTime,
    pub account: String,
    pub region: String,
    pub stack: Stack,
    /// Where the fixes are to work.
    pub here: Here,
    pub function: Option<Function>,
    /// What happens to an event that fails: `None` inside if nothing is configured.
    pub failed_events: Option<FailedEvents>,
    /// Who may invoke the function.
    pub permissions: Option<Vec<Permission>>,
    pub mappings: Option<Vec<Mapping>>,
    pub event_rules: Option<Vec<EventRule>>,
    pub sweep: Option<Sweep>,
    pub queues: Vec<Queue>,
    pub mail: Option<Mail>,
    pub alarms: Option<Vec<Alarm>>,
    pub mode: Option<Mode>,
    pub paused: Option<Paused>,
    /// What the role may not do, though the function does it.
    pub denied: Option<Vec<Denied>>,
    pub error_bucket: Option<ErrorBucket>,
    pub buckets: Vec<Bucket>,
    /// How many buckets that are no origin were not asked whether they are connected.
    pub buckets_not_asked: usize,
    pub distributions: Option<Distributions>,
    /// The topics to which buckets send, by ARN.
    pub topics: BTreeMap<String, Topic>,
    pub samconfig: Option<Samconfig>,
    /// What could not be read.
    pub unread: Vec<(Subject, String, ServiceError)>,
}

/// The stack.
#[derive(Debug, Default)]
pub struct Stack {
    pub name: String,
    pub outputs: BTreeMap<String, String>,
    pub parameters: BTreeMap<String, String>,
}

impl Stack {
    /// An output; empty if there is none.
    pub fn output(&self, key: &str) -> &str {
        self.outputs.get(key).map_or("", String::as_str)
    }

    /// Whether events come by IntakeQueue.
    pub fn uses_sqs(&self) -> bool {
        self.parameter("EventSource") == "SQS"
    }

    /// A parameter; empty if there is none.
    pub fn parameter(&self, key: &str) -> &str {
        self.parameters.get(key).map_or("", String::as_str)
    }
}

/// The function, as it is deployed.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub arn: String,
    pub role: String,
    pub state: String,
    pub last_update: String,
    /// In seconds.
    pub timeout: i64,
    /// In MB.
    pub memory: i64,
    pub last_modified: Option<OffsetDateTime>,
    /// `Text` or `JSON`.
    pub log_format: String,
    pub log_level: String,
    /// Its settings, or why it does not start with them.
    pub config: Result<Config, String>,
    /// How many may run at once, if that is limited.
    pub concurrency: Option<i64>,
}

/// What becomes of an event that fails.
#[derive(Debug, Default)]
pub struct FailedEvents {
    /// The ARN of where it is kept.
    pub destination: Option<String>,
}

/// A statement that lets somebody invoke the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    pub statement: String,
    /// `s3.amazonaws.com`
    pub service: String,
    /// Which source, perhaps with `*` and `?`; empty for any.
    pub source: String,
    /// The account of the source; empty for any.
    pub account: String,
}

impl Permission {
    /// Whether S3 may invoke the function for a bucket of this account.
    pub fn is_for(&self, bucket: &str, account: &str) -> bool {
        let resource = self.source.rsplit(":::").next().unwrap_or_default();
        let is_source = self.source.is_empty() || Wildcards::new(resource).match_text(bucket);
        let is_account = self.account.is_empty() || self.account == account;
        self.service == "s3.amazonaws.com" && is_source && is_account
    }
}

/// A queue from which the function gets messages.
#[derive(Debug)]
pub struct Mapping {
    pub id: String,
    pub source: String,
    /// `Enabled`, ..
    pub state: String,
    pub reports_items: bool,
    /// Whether a filter holds back messages.
    pub has_filter: bool,
}

/// A rule of EventBridge that sends events to the function.
#[derive(Debug)]
pub struct EventRule {
    pub name: String,
    pub is_enabled: bool,
    /// The names of buckets in its pattern.
    pub buckets: BTreeSet<String>,
    /// What the names of buckets begin with, in its pattern.
    pub prefixes: Vec<String>,
    /// Whether its pattern names no bucket.
    pub is_for_all: bool,
    /// Which of `Object Created` and `Object Deleted` do not match it.
    pub misses: Vec<&'static str>,
}

impl EventRule {
    /// Whether events of a bucket match it.
    pub fn includes(&self, bucket: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.is_for_all
            || self.buckets.contains(bucket)
            || prefixes.any(|it| bucket.starts_with(it.as_str()))
    }
}

/// The schedule of the sweep.
#[derive(Debug)]
pub struct Sweep {
    pub name: String,
    pub is_enabled: bool,
}

/// A queue of the stack.
#[derive(Debug)]
pub struct Queue {
    /// The output that names it, such as `BufferQueueUrl`.
    pub output: &'static str,
    pub url: String,
    /// Its attributes, by the names of the SQS API.
    pub attributes: BTreeMap<String, String>,
}

impl Queue {
    /// A number among its attributes.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.attributes.get(name)?.parse().ok()
    }

    /// Whether an attribute is `true`.
    pub fn is(&self, name: &str) -> bool {
        self.attributes.get(name).is_some_and(|it| it == "true")
    }

    /// Its ARN; empty if it is not known.
    pub fn arn(&self) -> &str {
        self.attributes.get("QueueArn").map_or("", String::as_str)
    }

    /// Its name in the template.
    pub fn name(&self) -> &'static str {
        self.output.strip_suffix("Url").unwrap_or(self.output)
    }
}

/// The topic of mails and alarms.
#[derive(Debug, Default)]
pub struct Mail {
    pub topic: String,
    pub subscriptions: Vec<Subscription>,
    /// The key that encrypts it; empty if none does.
    pub key: String,
}

/// Somebody who gets the messages of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub protocol: String,
    pub endpoint: String,
    pub is_confirmed: bool,
    pub has_filter: bool,
}

/// A topic to which a bucket sends its events.
#[derive(Debug, Default)]
pub struct Topic {
    pub subscriptions: Vec<Subscription>,
}

/// An alarm of the stack.
#[derive(Debug)]
pub struct Alarm {
    pub name: String,
    pub is_on: bool,
    pub is_muted: bool,
}

/// What is known about the mode.
#[derive(Debug)]
pub enum Mode {
    Chosen(ChosenMode),
    /// There is one, and it cannot be read.
    Unreadable(String),
}

/// What is known about pauses.
#[derive(Debug)]
pub enum Paused {
    Known(Overview),
    /// The list, or what is held back, cannot be read.
    Unreadable(String),
}

/// A call that the role may not make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    pub action: String,
    pub resource: String,
    /// Whether a policy denies it, or none allows it.
    pub is_explicit: bool,
}

/// The error bucket.
#[derive(Debug, Default)]
pub struct ErrorBucket {
    pub is_versioned: Option<bool>,
    /// How many error files are there; at most a thousand are counted.
    pub files: Option<usize>,
}

/// A bucket that is an origin, or sends its events to the function.
#[derive(Debug)]
pub struct Bucket {
    pub name: String,
    pub whereabouts: Whereabouts,
    pub notifications: Option<Notifications>,
    pub tags: Option<Vec<BucketTag>>,
    pub is_versioned: Option<bool>,
    /// Whether ACLs are disabled.
    pub owns_all: Option<bool>,
    /// The exception paths under which there is no object.
    pub empty_paths: Vec<String>,
}

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In this account and region.
    Here,
    /// In this account, and another region.
    Region(String),
    /// Not in this account, or nowhere.
    NotOurs,
}

impl Bucket {
    /// A bucket of which nothing is known yet.
    pub fn new(name: &str, whereabouts: Whereabouts) -> Self {
        Self {
            name: name.to_owned(),
            whereabouts,
            notifications: None,
            tags: None,
            is_versioned: None,
            owns_all: None,
            empty_paths: Vec::new(),
        }
    }

    /// For findings about it.
    pub fn subject(&self) -> Subject {
        Subject::bucket(&self.name)
    }
}

/// The distributions of the account.
#[derive(Debug, Default)]
pub struct Distributions {
    /// The ids of all of them.
    pub ids: BTreeSet<String>,
    /// Those of interest: all, or those that serve the buckets that were named.
    pub summaries: Vec<DistributionSummary>,
    /// Those that serve a bucket of interest, as planning sees them.
    pub serving: Vec<Distribution>,
    /// Who else invalidated in the last week, by distribution.
    pub others: BTreeMap<String, Others>,
    /// How many distributions were not asked about others.
    pub not_asked: usize,
}

/// What others have invalidated in a distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// How many invalidations of each cause, and their paths.
    pub by_cause: BTreeMap<String, (usize, u64)>,
    /// How many invalidations were looked at.
    pub looked_at: usize,
}

/// What the next `sam deploy` from this folder would set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samconfig {
    pub file: String,
    /// The parameters of the stack in it.
    pub overrides: BTreeMap<String, String>,
}

/// The function's settings, if they could be read.
impl Facts {
    /// IntakeQueue, if it could be read.
    pub fn intake(&self) -> Option<&Queue> {
        self.queues.iter().find(|it| it.output == "IntakeQueueUrl")
    }

    pub fn config(&self) -> Option<&Config> {
        self.function.as_ref()?.config.as_ref().ok()
    }

    /// The buckets behind access points.
    pub fn aliases(&self) -> OriginBuckets {
        let config = self.config();
        config.map_or_else(OriginBuckets::default, |it| it.origin_buckets.clone())
    }

    /// A finding about a distribution is about this.
    pub fn subject_of(&self, id: &str) -> Subject {
        let summaries = self.distributions.iter().flat_map(|it| &it.summaries);
        let mut summaries = summaries.filter(|summary| summary.id == id);
        let alias = summaries.next().map_or("", |summary| summary.alias());
        Subject::Distribution(id.to_owned(), alias.to_owned())
    }
}
