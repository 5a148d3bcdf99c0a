//! The function's settings, read from the environment once. A missing or invalid variable stops the
//! start, with an error that names it.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use invalidator_core::cost::amount::NanoUsd;
use invalidator_core::cost::collapse::{CostRules, SpendingLimits};
use invalidator_core::cost::mode::CostMode;
use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::endpoint;
use invalidator_core::incident_mail::Place;
use invalidator_core::mode::Mode;
use invalidator_core::name::{AccountId, BucketName, InvalidName, QueueName, Region, TopicArn};
use invalidator_core::target::{DistributionId, TargetId, TenantId};

/// The URL of a queue, as the SQS API expects it. Whatever its host is (of a region, of old, of a VPC endpoint,
/// or an emulator's), its path ends with the account and the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueUrl {
    url: String,
    account: AccountId,
    name: QueueName,
}

impl FromStr for QueueUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text).ok_or_else(|| QUEUE_URL.to_owned())
    }
}

const QUEUE_URL: &str = "the URL of a queue, https://sqs.<region>.amazonaws.com/<account>/<name>";

const COMPARE_BUCKETS: &str = "names of buckets, separated by commas";

const HARMLESS_FUNCTIONS: &str = "a list of names or ARNs of CloudFront Functions and of ARNs of Lambda@Edge \
                                  functions with their version, separated by commas";

/// The distributions to touch, none for all, and the tenants, `None` for all.
type Targets = (BTreeSet<DistributionId>, Option<BTreeSet<TenantId>>);

const TARGETS: &str =
    "the ids of distributions and of tenants of them, separated by commas, like E1ABC,dt_1a2b";

impl QueueUrl {
    fn read(text: &str) -> Option<Self> {
        endpoint::check(text).ok()?;
        let (_, rest) = text.split_once("://")?;
        let is_plain = rest.bytes().all(|c| c.is_ascii_graphic());
        let mut parts = rest.rsplitn(3, '/');
        let (name, account) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let has_host = parts.next().is_some_and(|host| !host.is_empty());
        (is_plain && has_host).then(|| Self {
            url: text.to_owned(),
            account,
            name,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The root of its host, where its calls go.
    pub fn endpoint(&self) -> &str {
        let host = self.url.find("://").map_or(0, |scheme| scheme + 3);
        let root = self.url[host..].find('/').map(|slash| host + slash + 1);
        &self.url[..root.unwrap_or(self.url.len())]
    }

    pub fn name(&self) -> &QueueName {
        &self.name
    }
}

/// The ARNs of the stack's own queues from which events come.
///
/// The region is the function's, because a queue can only invoke functions of its own region; the account is
/// the URL's; and the partition is the topic's, which is of the same stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    pub tick: String,
    pub submit: String,
}

/// All settings. Where a field has a default, the environment variable may be absent.
#[derive(Clone, Debug)]
pub struct Config {
    /// `BUFFER_QUEUE_URL`: where changes wait for the next flush.
    pub buffer_queue: QueueUrl,
    /// `TICK_QUEUE_URL`: where ticks wait for the debounce, and then start a flush.
    pub tick_queue: QueueUrl,
    /// `SUBMIT_QUEUE_URL`: where sets of paths wait to be submitted.
    pub submit_queue: QueueUrl,
    /// The ARNs of those two, in the region `AWS_REGION`, which Lambda sets.
    pub sources: Sources,
    /// `ERROR_BUCKET`: where rejected paths are written.
    pub error_bucket: String,
    /// `TOPIC_ARN`: the topic of the mails.
    pub topic_arn: TopicArn,
    /// `STACK_NAME`: the stack that mails name.
    pub stack_name: String,
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets: the dimension of all metrics.
    pub function_name: String,
    /// `DEBOUNCE_SECONDS`, 10: the delay of the tick queue.
    pub debounce: Duration,
    /// `MAX_PATHS_PER_INVALIDATION`, 3000.
    pub max_paths_per_invalidation: usize,
    /// `MAX_CHANGES_PER_FLUSH`, 200000.
    pub max_changes_per_flush: usize,
    /// `GIVE_UP_AFTER_SECONDS`, 21600: a set older than this is rejected when CloudFront answers later
    /// once more.
    pub give_up_after: Duration,
    /// `DRAIN_CONCURRENCY`, 32: how many receives run at once.
    pub drain_concurrency: usize,
    /// `DISTRIBUTION_IDS`, empty for all: the distributions to touch.
    pub distribution_ids: BTreeSet<DistributionId>,
    /// The tenants in `DISTRIBUTION_IDS`, which are the only ones to touch; `None` if it is empty.
    pub tenant_ids: Option<BTreeSet<TenantId>>,
    /// `ORIGIN_BUCKETS`, `alias=bucket,..`: buckets behind access points.
    pub origin_buckets: OriginBuckets,
    /// `INITIAL_MODE`, live: the mode of a stack for which nobody has chosen one, `live` or `dry-run`.
    pub initial_mode: Mode,
    /// `MIN_WILDCARD_DEPTH`, 0: how many folders deep a wildcard must be that a change needs, unless it is
    /// one for query strings.
    pub min_wildcard_depth: usize,
    /// `WILDCARD_INTERVAL_SECONDS`, 300: how often wildcards that names need are submitted for a bucket and
    /// a target. SQS hides a message for at most 900 s.
    pub wildcard_interval: Duration,
    /// `COST_MODE`, balanced; `MONTHLY_PATH_BUDGET`, 1000; `SPENDING_LIMIT_PER_HOUR`, 5 USD; and
    /// `SPENDING_LIMIT_PER_MONTH`, 50 USD.
    pub cost: CostRules,
    /// `LOOK_BEFORE_PAYING`, true: whether keys and versions of this account's buckets may be listed.
    pub look_before_paying: bool,
    /// `COMPARE_BUCKETS`, empty: where headers and tags of versions may be read, without which no overwrite
    /// is known to be unchanged.
    pub compare_buckets: BTreeSet<BucketName>,
    /// `HARMLESS_FUNCTIONS`, empty: the ARNs of functions at the edge that do not rewrite paths, as the
    /// operator knows.
    pub harmless_functions: BTreeSet<String>,
    /// `CACHE_SECONDS`, 60: how long distributions, policies and bucket tags are cached.
    pub cache_for: Duration,
}

/// A setting that is missing or cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A required variable is not set.
    #[error("the environment variable {0} is not set; template.yaml sets it")]
    Missing(&'static str),
    /// A variable has a value that cannot be used.
    #[error("the environment variable {name} is `{value}`, it must be {expected}")]
    Invalid {
        name: &'static str,
        value: String,
        /// What it must be.
        expected: String,
    },
}

impl Config {
    /// Where mails come from. Region and account are those of the topic.
    pub fn place(&self) -> Place {
        Place {
            bucket: self.error_bucket.clone(),
            submit_queue: self.submit_queue.as_str().to_owned(),
            account: self.topic_arn.account.to_string(),
            region: self.topic_arn.region.to_string(),
            stack: self.stack_name.clone(),
        }
    }

    /// Reads the settings from the environment of the process.
    ///
    /// # Errors
    /// If a required variable is missing or one has a value that cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the settings through `variable`. A variable that is empty or white space counts as
    /// absent.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables(variable);
        let (distribution_ids, tenant_ids) = variables.targets("DISTRIBUTION_IDS")?;
        let topic_arn: TopicArn = variables.parsed("TOPIC_ARN")?;
        let region = variables.optional("AWS_REGION")?;
        let region = region.unwrap_or_else(|| topic_arn.region.clone());
        let tick_queue = variables.queue("TICK_QUEUE_URL")?;
        let submit_queue = variables.queue("SUBMIT_QUEUE_URL")?;
        let arn = |queue: &QueueUrl| topic_arn.of_queue(&region, &queue.account, &queue.name);
        let harmless_functions = variables.functions("HARMLESS_FUNCTIONS", &topic_arn)?;
        Ok(Self {
            buffer_queue: variables.queue("BUFFER_QUEUE_URL")?,
            sources: Sources {
                tick: arn(&tick_queue),
                submit: arn(&submit_queue),
            },
            tick_queue,
            submit_queue,
            error_bucket: variables.parsed::<BucketName>("ERROR_BUCKET")?.to_string(),
            topic_arn,
            stack_name: variables
                .get("STACK_NAME")
                .unwrap_or_else(|| "invalidator".to_owned()),
            function_name: variables
                .get("AWS_LAMBDA_FUNCTION_NAME")
                .unwrap_or_else(|| "invalidator".to_owned()),
            debounce: Duration::from_secs(variables.number("DEBOUNCE_SECONDS", 10, 3..=300)?),
            max_paths_per_invalidation: variables.number(
                "MAX_PATHS_PER_INVALIDATION",
                3_000,
                1..=3_000,
            )?,
            max_changes_per_flush: variables.number(
                "MAX_CHANGES_PER_FLUSH",
                200_000,
                1..=10_000_000,
            )?,
            give_up_after: Duration::from_secs(variables.number(
                "GIVE_UP_AFTER_SECONDS",
                21_600,
                60..=1_200_000,
            )?),
            drain_concurrency: variables.number("DRAIN_CONCURRENCY", 32, 1..=100)?,
            distribution_ids,
            tenant_ids,
            origin_buckets: variables.origin_buckets("ORIGIN_BUCKETS")?,
            initial_mode: variables.initial_mode("INITIAL_MODE")?,
            min_wildcard_depth: variables.number("MIN_WILDCARD_DEPTH", 0, 0..=9)?,
            wildcard_interval: Duration::from_secs(variables.number(
                "WILDCARD_INTERVAL_SECONDS",
                300,
                0..=900,
            )?),
            cost: variables.cost()?,
            look_before_paying: variables.switch("LOOK_BEFORE_PAYING", true)?,
            compare_buckets: variables.buckets("COMPARE_BUCKETS")?,
            harmless_functions,
            cache_for: Duration::from_secs(variables.number("CACHE_SECONDS", 60, 0..=86_400)?),
        })
    }
}

struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn get(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.get(name).ok_or(ConfigError::Missing(name))
    }

    fn parsed<T: FromStr<Err = InvalidName>>(&self, name: &'static str) -> Result<T, ConfigError> {
        let value = self.optional(name)?;
        value.ok_or(ConfigError::Missing(name))
    }

    fn optional<T: FromStr<Err = InvalidName>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let parsed = value.parse();
        let parsed = parsed.map_err(|error: InvalidName| invalid(name, value, error.expected()));
        parsed.map(Some)
    }

    fn queue(&self, name: &'static str) -> Result<QueueUrl, ConfigError> {
        let value = self.required(name)?;
        value
            .parse()
            .map_err(|expected: String| invalid(name, value, expected))
    }

    fn number<T>(
        &self,
        name: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        value
            .parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                invalid(
                    name,
                    value,
                    format!("a whole number from {} to {}", range.start(), range.end()),
                )
            })
    }

    /// A stack that begins stopped would look broken, so that is no initial mode.
    fn initial_mode(&self, name: &'static str) -> Result<Mode, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(Mode::Live);
        };
        match value.parse() {
            Ok(mode @ (Mode::Live | Mode::DryRun)) => Ok(mode),
            _ => Err(invalid(name, value, "live or dry-run")),
        }
    }

    fn cost(&self) -> Result<CostRules, ConfigError> {
        let default = CostRules::default();
        Ok(CostRules {
            mode: self.cost_mode("COST_MODE", default.mode)?,
            budget: self.number("MONTHLY_PATH_BUDGET", default.budget, 0..=100_000_000)?,
            limits: SpendingLimits {
                hour: self.limit("SPENDING_LIMIT_PER_HOUR", default.limits.hour)?,
                month: self.limit("SPENDING_LIMIT_PER_MONTH", default.limits.month)?,
            },
        })
    }

    fn cost_mode(&self, name: &'static str, default: CostMode) -> Result<CostMode, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        value
            .parse()
            .map_err(|_| invalid(name, value, "exact, balanced or frugal"))
    }

    /// A limit of 0 would let every change wait, and nobody would know that it was meant.
    fn limit(&self, name: &'static str, default: NanoUsd) -> Result<NanoUsd, ConfigError> {
        const EXPECTED: &str =
            "an amount in USD from 0.01 to 1000000, with at most two decimals, like 5 or 2.50";
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        let has_cents = value
            .split_once('.')
            .is_none_or(|(_, cents)| cents.len() <= 2);
        let limit = value.parse().ok().filter(|_| has_cents);
        match limit.filter(|limit| *limit <= MAX_LIMIT) {
            Some(NanoUsd::ZERO) => Err(invalid(
                name,
                value,
                format!("{EXPECTED} (`invalidatorctl mode stopped` stops all invalidations)"),
            )),
            Some(limit) => Ok(limit),
            None => Err(invalid(name, value, EXPECTED)),
        }
    }

    fn switch(&self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        value
            .parse()
            .map_err(|_| invalid(name, value, "true or false"))
    }

    fn buckets(&self, name: &'static str) -> Result<BTreeSet<BucketName>, ConfigError> {
        let bucket = |item: String| match item.parse() {
            Ok(bucket) => Ok(bucket),
            Err(_) => Err(invalid(name, item, COMPARE_BUCKETS)),
        };
        self.list(name).into_iter().map(bucket).collect()
    }

    /// The ARNs of functions, as distributions name them. A CloudFront Function may be named without the rest of
    /// its ARN.
    fn functions(
        &self,
        name: &'static str,
        topic: &TopicArn,
    ) -> Result<BTreeSet<String>, ConfigError> {
        let function = |item: String| match () {
            () if is_function_name(&item) => Ok(topic.of_function(&item)),
            () if is_function_arn(&item) => Ok(item),
            () => Err(invalid(name, item, HARMLESS_FUNCTIONS)),
        };
        self.list(name).into_iter().map(function).collect()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let value = self.get(name).unwrap_or_default();
        let items = value.split(|c: char| c == ',' || c.is_whitespace());
        items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The distributions and the tenants (`dt_..`) of a list of ids. A list of distributions does not say which of their tenants are meant, nor can a permission
    /// follow it, so with a list no tenant is touched that it does not name.
    fn targets(&self, name: &'static str) -> Result<Targets, ConfigError> {
        let (mut distributions, mut tenants) = (BTreeSet::new(), BTreeSet::new());
        for id in self.list(name) {
            match id.parse() {
                Ok(TargetId::Distribution(id)) => drop(distributions.insert(id)),
                Ok(TargetId::Tenant(id)) => drop(tenants.insert(id)),
                Err(_) => return Err(invalid(name, id, TARGETS)),
            }
        }
        match (distributions.is_empty(), self.get(name)) {
            (true, Some(value)) => Err(invalid(name, value, TARGETS)),
            (true, None) => Ok((distributions, None)),
            (false, _) => Ok((distributions, Some(tenants))),
        }
    }

    fn origin_buckets(&self, name: &'static str) -> Result<OriginBuckets, ConfigError> {
        let pair = |item: String| match item.split_once('=') {
            Some((alias, bucket)) if !alias.is_empty() && bucket.parse::<BucketName>().is_ok() => {
                Ok((alias.to_owned(), bucket.to_owned()))
            }
            _ => Err(invalid(
                name,
                item,
                "a list of alias=bucket, separated by commas",
            )),
        };
        let pairs: Result<Vec<_>, _> = self.list(name).into_iter().map(pair).collect();
        Ok(OriginBuckets::new(pairs?))
    }
}

/// No stack is meant to spend more, so a larger amount is a slip.
const MAX_LIMIT: NanoUsd = NanoUsd::usd(1_000_000);

/// The name of a CloudFront Function. Source: CloudFront API Reference, "CreateFunction".
fn is_function_name(text: &str) -> bool {
    let is_allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// The ARN of a CloudFront Function, or of one version of a Lambda function: a behavior names a version, so an
/// ARN without one would be the name of nothing.
fn is_function_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let is_partition = |text: &str| text == "aws" || text.starts_with("aws-");
    let is_account = |text: &str| text.parse::<AccountId>().is_ok();
    match parts.as_slice() {
        ["arn", partition, "cloudfront", "", account, function] => {
            let name = function.strip_prefix("function/").unwrap_or_default();
            is_partition(partition) && is_account(account) && is_function_name(name)
        }
        [
            "arn",
            partition,
            "lambda",
            region,
            account,
            "function",
            name,
            version,
        ] => {
            let is_version = !version.is_empty() && version.bytes().all(|c| c.is_ascii_digit());
            let is_place = region.parse::<Region>().is_ok() && is_account(account);
            is_partition(partition) && is_place && is_function_name(name) && is_version
        }
        _ => false,
    }
}

fn invalid(name: &'static str, value: String, expected: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        name,
        value,
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(overrides: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(|name| {
            let overridden = overrides.iter().find(|(key, _)| *key == name);
            overridden
                .map(|(_, value)| (*value).to_owned())
                .or_else(|| match name {
                    "BUFFER_QUEUE_URL" => Some(
                        "https://sqs.eu-west-1.amazonaws.com/123456789012/s-BufferQueue-x"
                            .to_owned(),
                    ),
                    "TICK_QUEUE_URL" => Some(
                        "https://sqs.eu-west-1.amazonaws.com/123456789012/s-TickQueue-x.fifo"
                            .to_owned(),
                    ),
                    "SUBMIT_QUEUE_URL" => Some(
                        "https://sqs.eu-west-1.amazonaws.com/123456789012/s-SubmitQueue-x.fifo"
                            .to_owned(),
                    ),
                    "ERROR_BUCKET" => Some("errors".to_owned()),
                    "TOPIC_ARN" => Some("arn:aws:sns:eu-west-1:123456789012:topic".to_owned()),
                    _ => None,
                })
        })
    }

    #[test]
    fn what_is_not_set_has_the_documented_default() {
        let config = config(&[]).unwrap();
        assert_eq!(config.debounce, Duration::from_secs(10));
        assert_eq!(config.max_paths_per_invalidation, 3_000);
        assert_eq!(config.max_changes_per_flush, 200_000);
        assert_eq!(config.give_up_after, Duration::from_secs(21_600));
        assert_eq!(config.drain_concurrency, 32);
        assert_eq!(config.cache_for, Duration::from_secs(60));
        assert_eq!(config.min_wildcard_depth, 0);
        assert_eq!(config.wildcard_interval, Duration::from_secs(300));
        assert!(config.distribution_ids.is_empty());
        assert_eq!(config.cost, CostRules::default());
        assert!(config.look_before_paying);
        assert!(config.compare_buckets.is_empty());
        assert!(config.harmless_functions.is_empty());
        assert_eq!(config.initial_mode, Mode::Live);
        assert_eq!(config.origin_buckets, OriginBuckets::default());
    }

    #[test]
    fn a_missing_or_bad_setting_names_itself() {
        for (name, value) in [
            ("BUFFER_QUEUE_URL", ""),
            ("TICK_QUEUE_URL", " "),
            ("SUBMIT_QUEUE_URL", "SubmitQueue"),
            (
                "SUBMIT_QUEUE_URL",
                "https://sqs.eu-west-1.amazonaws.com/1/q",
            ),
            ("SUBMIT_QUEUE_URL", "https://123456789012/q"),
            ("SUBMIT_QUEUE_URL", "https://sqs/123456789012/q?x"),
            ("SUBMIT_QUEUE_URL", "https://s q/123456789012/q"),
            ("SUBMIT_QUEUE_URL", "ftp://sqs/123456789012/q"),
            (
                "SUBMIT_QUEUE_URL",
                "http://sqs.eu-west-1.amazonaws.com/123456789012/q.fifo",
            ),
            ("ERROR_BUCKET", ""),
            ("ERROR_BUCKET", "s3://errors"),
            ("TOPIC_ARN", ""),
            ("TOPIC_ARN", "alerts"),
            ("AWS_REGION", "EU"),
            ("DEBOUNCE_SECONDS", "2"),
            ("DEBOUNCE_SECONDS", "301"),
            ("DEBOUNCE_SECONDS", "ten"),
            ("MAX_PATHS_PER_INVALIDATION", "0"),
            ("MAX_PATHS_PER_INVALIDATION", "3001"),
            ("MAX_CHANGES_PER_FLUSH", "-1"),
            ("GIVE_UP_AFTER_SECONDS", "0"),
            ("DRAIN_CONCURRENCY", "0"),
            ("CACHE_SECONDS", "1.5"),
            ("MIN_WILDCARD_DEPTH", "10"),
            ("MIN_WILDCARD_DEPTH", "/news/"),
            ("WILDCARD_INTERVAL_SECONDS", "901"),
            ("DISTRIBUTION_IDS", "e2abc"),
            ("DISTRIBUTION_IDS", "arn:aws:cloudfront::1:distribution/E1"),
            ("DISTRIBUTION_IDS", "dt/1"),
            ("DISTRIBUTION_IDS", "dt_1"),
            ("INITIAL_MODE", "stopped"),
            ("INITIAL_MODE", "true"),
            ("ORIGIN_BUCKETS", "alias"),
            ("ORIGIN_BUCKETS", "alias="),
            ("ORIGIN_BUCKETS", "alias=a/b"),
            ("COST_MODE", "cheap"),
            ("COST_MODE", "Exact"),
            ("MONTHLY_PATH_BUDGET", "-1"),
            ("MONTHLY_PATH_BUDGET", "100000001"),
            ("SPENDING_LIMIT_PER_HOUR", "0"),
            ("SPENDING_LIMIT_PER_HOUR", "0.00"),
            ("SPENDING_LIMIT_PER_HOUR", "5 USD"),
            ("SPENDING_LIMIT_PER_HOUR", "0.005"),
            ("SPENDING_LIMIT_PER_MONTH", "-50"),
            ("SPENDING_LIMIT_PER_MONTH", "1000000.01"),
            ("LOOK_BEFORE_PAYING", "yes"),
            ("COMPARE_BUCKETS", "site,s3://site"),
            ("COMPARE_BUCKETS", "*"),
            ("HARMLESS_FUNCTIONS", "add headers!"),
            (
                "HARMLESS_FUNCTIONS",
                "arn:aws:cloudfront::1:function/headers",
            ),
            (
                "HARMLESS_FUNCTIONS",
                "arn:aws:lambda:us-east-1:123456789012:function:headers",
            ),
            (
                "HARMLESS_FUNCTIONS",
                "arn:aws:lambda:us-east-1:123456789012:function:headers:live",
            ),
        ] {
            let error = config(&[(name, value)]).expect_err(name).to_string();
            // Of a list, the item that is bad.
            let bad = value.split([',', ' ']).next_back().unwrap_or_default();
            assert!(error.contains(name) && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_limit_of_zero_names_what_stops_everything() {
        let error = config(&[("SPENDING_LIMIT_PER_HOUR", "0")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the environment variable SPENDING_LIMIT_PER_HOUR is `0`, it must be an amount in USD from 0.01 to \
             1000000, with at most two decimals, like 5 or 2.50 (`invalidatorctl mode stopped` stops all \
             invalidations)"
        );
    }

    #[test]
    fn the_rules_of_cost_are_read() {
        let config = config(&[
            ("COST_MODE", "frugal"),
            ("MONTHLY_PATH_BUDGET", "0"),
            ("SPENDING_LIMIT_PER_HOUR", "0.01"),
            ("SPENDING_LIMIT_PER_MONTH", "1000000"),
            ("LOOK_BEFORE_PAYING", "false"),
            ("COMPARE_BUCKETS", "site-a, site-b,"),
        ])
        .unwrap();
        let rules = CostRules {
            mode: CostMode::Frugal,
            budget: 0,
            limits: SpendingLimits {
                hour: NanoUsd::new(10_000_000),
                month: NanoUsd::usd(1_000_000),
            },
        };
        assert_eq!(config.cost, rules);
        assert!(!config.look_before_paying);
        let buckets = ["site-a", "site-b"].map(BucketName::new);
        assert_eq!(config.compare_buckets, BTreeSet::from(buckets));
    }

    #[test]
    fn a_function_is_named_as_distributions_name_it() {
        const EDGE: &str = "arn:aws:lambda:us-east-1:123456789012:function:headers:7";
        const CN: &str = "arn:aws-cn:cloudfront::123456789012:function/h";
        for (item, expected) in [
            (
                "add-headers",
                "arn:aws:cloudfront::123456789012:function/add-headers",
            ),
            (
                "arn:aws:cloudfront::123456789012:function/h",
                "arn:aws:cloudfront::123456789012:function/h",
            ),
            (CN, CN),
            (EDGE, EDGE),
        ] {
            let config = config(&[("HARMLESS_FUNCTIONS", item)]).unwrap();
            let expected = BTreeSet::from([expected.to_owned()]);
            assert_eq!(config.harmless_functions, expected);
        }
    }

    #[test]
    fn lists_are_separated_by_commas_or_white_space() {
        let config = config(&[("DISTRIBUTION_IDS", "E1, E2 E3,")]).unwrap();
        let ids: Vec<&str> = config
            .distribution_ids
            .iter()
            .map(DistributionId::as_str)
            .collect();
        assert_eq!(ids, ["E1", "E2", "E3"]);
    }

    #[test]
    fn with_a_list_of_distributions_only_listed_tenants_are_touched() {
        let tenants = |list| config(&[("DISTRIBUTION_IDS", list)]).unwrap().tenant_ids;
        assert_eq!(tenants(""), None, "all");
        assert_eq!(tenants("E1"), Some(BTreeSet::new()), "none");
        let listed = BTreeSet::from([TenantId::new("dt_1")]);
        assert_eq!(tenants("E1,dt_1"), Some(listed));
    }

    /// Each row: the region that Lambda tells, the topic, the URL of TickQueue, and the queue's ARN. Sources:
    /// AWS General Reference, "Amazon SQS endpoints and quotas"; SQS Developer Guide, "Internetwork traffic
    /// privacy".
    #[test]
    fn the_arn_of_a_queue_follows_from_its_url_the_region_and_the_topic() {
        const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:topic";
        const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:t.fifo";
        for (region, topic, url, expected) in [
            (
                "eu-west-1",
                TOPIC,
                "https://sqs.eu-west-1.amazonaws.com/123456789012/t.fifo",
                QUEUE,
            ),
            (
                "",
                TOPIC,
                "https://sqs.eu-west-1.amazonaws.com/123456789012/t.fifo",
                QUEUE,
            ),
            (
                "eu-west-1",
                TOPIC,
                "https://eu-west-1.queue.amazonaws.com/123456789012/t.fifo",
                QUEUE,
            ),
            (
                "us-east-1",
                "arn:aws:sns:us-east-1:123456789012:topic",
                "https://queue.amazonaws.com/123456789012/t.fifo",
                "arn:aws:sqs:us-east-1:123456789012:t.fifo",
            ),
            (
                "eu-west-1",
                TOPIC,
                "https://vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com/123456789012/t.fifo",
                QUEUE,
            ),
            (
                "eu-west-1",
                TOPIC,
                "https://sqs.eu-west-1.api.aws/123456789012/t.fifo",
                QUEUE,
            ),
            (
                "cn-north-1",
                "arn:aws-cn:sns:cn-north-1:123456789012:topic",
                "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/t.fifo",
                "arn:aws-cn:sqs:cn-north-1:123456789012:t.fifo",
            ),
            (
                "us-gov-west-1",
                "arn:aws-us-gov:sns:us-gov-west-1:123456789012:topic",
                "https://sqs.us-gov-west-1.amazonaws.com/123456789012/t.fifo",
                "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:t.fifo",
            ),
            (
                "ap-northeast-2",
                "arn:aws:sns:ap-northeast-2:000000000000:topic",
                "http://127.0.0.1:4566/000000000000/t.fifo",
                "arn:aws:sqs:ap-northeast-2:000000000000:t.fifo",
            ),
            (
                "us-east-1",
                "arn:aws:sns:us-east-1:000000000000:topic",
                "http://localhost:4566/queue/us-east-1/000000000000/t.fifo",
                "arn:aws:sqs:us-east-1:000000000000:t.fifo",
            ),
        ] {
            let settings = [
                ("AWS_REGION", region),
                ("TOPIC_ARN", topic),
                ("TICK_QUEUE_URL", url),
            ];
            let config = config(&settings).unwrap();
            assert_eq!(config.sources.tick, expected, "{url}");
        }
    }
}
