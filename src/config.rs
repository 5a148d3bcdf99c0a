//! The function's settings, read from the environment once. A missing or invalid variable stops the
//! start, with an error that names it.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use invalidator_core::distributions::origin::OriginBuckets;
use invalidator_core::incident_mail::Place;
use invalidator_core::mode::Mode;
use invalidator_core::target::{DistributionId, TenantId};

/// The URL of a queue, as the SQS API expects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueUrl(String);

impl FromStr for QueueUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.starts_with("http://") || text.starts_with("https://") {
            true => Ok(Self(text.to_owned())),
            false => Err(QUEUE_URL.to_owned()),
        }
    }
}

const QUEUE_URL: &str = "the URL of a queue, https://sqs.<region>.amazonaws.com/<account>/<name>";

/// The distributions to touch, none for all, and the tenants, `None` for all.
type Targets = (BTreeSet<DistributionId>, Option<BTreeSet<TenantId>>);

const TARGETS: &str =
    "the ids of distributions and of tenants of them, separated by commas, like E1ABC,dt_1a2b";

impl QueueUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an event source ARN is this queue's: both end with the same name.
    pub fn is_source(&self, event_source_arn: &str) -> bool {
        let name = self.0.rsplit('/').next();
        name.is_some() && event_source_arn.rsplit(':').next() == name
    }
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
    /// `ERROR_BUCKET`: where rejected paths are written.
    pub error_bucket: String,
    /// `TOPIC_ARN`: the topic of the mails.
    pub topic_arn: String,
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
    /// `DRAIN_CONCURRENCY`, 16: how many receives run at once.
    pub drain_concurrency: usize,
    /// `DISTRIBUTION_IDS`, empty for all: the distributions to touch.
    pub distribution_ids: BTreeSet<DistributionId>,
    /// The tenants in `DISTRIBUTION_IDS`, which are the only ones to touch; `None` if it is empty.
    pub tenant_ids: Option<BTreeSet<TenantId>>,
    /// `ORIGIN_BUCKETS`, `alias=bucket,..`: buckets behind access points.
    pub origin_buckets: OriginBuckets,
    /// `INITIAL_MODE`, live: the mode of a stack for which nobody has chosen one, `live` or `dry-run`.
    pub initial_mode: Mode,
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
        let mut arn = self.topic_arn.split(':').skip(3).map(str::to_owned);
        let (region, account) = (arn.next(), arn.next());
        Place {
            bucket: self.error_bucket.clone(),
            submit_queue: self.submit_queue.as_str().to_owned(),
            account: account.unwrap_or_default(),
            region: region.unwrap_or_default(),
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
        Ok(Self {
            buffer_queue: variables.queue("BUFFER_QUEUE_URL")?,
            tick_queue: variables.queue("TICK_QUEUE_URL")?,
            submit_queue: variables.queue("SUBMIT_QUEUE_URL")?,
            error_bucket: variables.required("ERROR_BUCKET")?,
            topic_arn: variables.required("TOPIC_ARN")?,
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
            drain_concurrency: variables.number("DRAIN_CONCURRENCY", 16, 1..=100)?,
            distribution_ids,
            tenant_ids,
            origin_buckets: variables.origin_buckets("ORIGIN_BUCKETS")?,
            initial_mode: variables.initial_mode("INITIAL_MODE")?,
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
            if let Ok(distribution) = DistributionId::try_from(id.clone()) {
                distributions.insert(distribution);
            } else {
                let tenant = TenantId::try_from(id.clone()).ok();
                let tenant = tenant.filter(|_| id.starts_with("dt_"));
                tenants.insert(tenant.ok_or_else(|| invalid(name, id, TARGETS))?);
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
            Some((alias, bucket)) if !alias.is_empty() && !bucket.is_empty() => {
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
                    "BUFFER_QUEUE_URL" => {
                        Some("https://sqs.eu-west-1.amazonaws.com/1/s-BufferQueue-x".to_owned())
                    }
                    "TICK_QUEUE_URL" => {
                        Some("https://sqs.eu-west-1.amazonaws.com/1/s-TickQueue-x.fifo".to_owned())
                    }
                    "SUBMIT_QUEUE_URL" => Some(
                        "https://sqs.eu-west-1.amazonaws.com/1/s-SubmitQueue-x.fifo".to_owned(),
                    ),
                    "ERROR_BUCKET" => Some("errors".to_owned()),
                    "TOPIC_ARN" => Some("arn:aws:sns:eu-west-1:1:topic".to_owned()),
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
        assert_eq!(config.drain_concurrency, 16);
        assert_eq!(config.cache_for, Duration::from_secs(60));
        assert!(config.distribution_ids.is_empty());
        assert_eq!(config.initial_mode, Mode::Live);
        assert_eq!(config.origin_buckets, OriginBuckets::default());
    }

    #[test]
    fn a_missing_or_bad_setting_names_itself() {
        for (name, value) in [
            ("BUFFER_QUEUE_URL", ""),
            ("TICK_QUEUE_URL", " "),
            ("SUBMIT_QUEUE_URL", "SubmitQueue"),
            ("ERROR_BUCKET", ""),
            ("TOPIC_ARN", ""),
            ("DEBOUNCE_SECONDS", "2"),
            ("DEBOUNCE_SECONDS", "301"),
            ("DEBOUNCE_SECONDS", "ten"),
            ("MAX_PATHS_PER_INVALIDATION", "0"),
            ("MAX_PATHS_PER_INVALIDATION", "3001"),
            ("MAX_CHANGES_PER_FLUSH", "-1"),
            ("GIVE_UP_AFTER_SECONDS", "0"),
            ("DRAIN_CONCURRENCY", "0"),
            ("CACHE_SECONDS", "1.5"),
            ("DISTRIBUTION_IDS", "e2abc"),
            ("DISTRIBUTION_IDS", "arn:aws:cloudfront::1:distribution/E1"),
            ("DISTRIBUTION_IDS", "dt/1"),
            ("DISTRIBUTION_IDS", "dt_1"),
            ("INITIAL_MODE", "stopped"),
            ("INITIAL_MODE", "true"),
            ("ORIGIN_BUCKETS", "alias"),
            ("ORIGIN_BUCKETS", "alias="),
        ] {
            let error = config(&[(name, value)]).expect_err(name).to_string();
            assert!(
                error.contains(name) && error.contains(value.trim()),
                "{error}"
            );
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

    #[test]
    fn a_queue_is_told_by_the_last_part_of_the_event_source() {
        let queue = config(&[]).unwrap().tick_queue;
        assert!(queue.is_source("arn:aws:sqs:eu-west-1:1:s-TickQueue-x.fifo"));
        assert!(!queue.is_source("arn:aws:sqs:eu-west-1:1:TickQueue-x.fifo"));
        assert!(!queue.is_source("arn:aws:sqs:eu-west-1:1:s-SubmitQueue-x.fifo"));
    }
}
