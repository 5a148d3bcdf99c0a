//! Metrics, as log lines from which CloudWatch Logs extracts them (embedded metric format), so they
//! need no call and cost no latency. AWS charges for each metric and hour in which it is emitted, so only
//! what happened is: zeros and empty lists are left out, and alarms take an absent metric for zero. The one
//! metric that is always emitted is the heartbeat, `FlushesFinished`.
//!
//! Source: CloudWatch User Guide, "Embedded metric format specification".

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use invalidator_core::cost::amount::NanoUsd;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

pub const NAMESPACE: &str = "Invalidator";

/// CloudWatch accepts at most 100 values of a metric in one line.
pub const MAX_VALUES: usize = 100;

/// How many wildcards of a kind a round logs one by one; the others are only counted.
pub const MAX_LOGGED_WILDCARDS: usize = 100;

/// In an account with more distributions than so many, none has a metric of its own: each would cost 0.30 USD
/// a month.
pub const MAX_DISTRIBUTIONS_WITH_METRICS: usize = 20;

/// A metric in a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// A number of things.
    Count(&'static str, usize),
    /// Durations in milliseconds.
    Milliseconds(&'static str, Vec<u64>),
    /// An amount of money. Nothing spent is an amount too, so it is emitted.
    Usd(&'static str, NanoUsd),
}

impl Metric {
    pub fn duration(name: &'static str, duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::Milliseconds(name, vec![milliseconds])
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Count(name, _) | Self::Milliseconds(name, _) | Self::Usd(name, _) => name,
        }
    }

    /// Whether nothing happened. CloudWatch rejects a metric without values.
    fn is_empty(&self) -> bool {
        match self {
            Self::Count(_, count) => *count == 0,
            Self::Milliseconds(_, values) => values.is_empty(),
            Self::Usd(..) => false,
        }
    }

    fn unit(&self) -> &'static str {
        match self {
            Self::Count(..) => "Count",
            Self::Milliseconds(..) => "Milliseconds",
            // CloudWatch has no unit for money.
            Self::Usd(..) => "None",
        }
    }
}

/// Serializes only the value.
impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(_, count) => count.serialize(serializer),
            Self::Milliseconds(_, values) => values.serialize(serializer),
            Self::Usd(_, amount) => amount.to_usd().serialize(serializer),
        }
    }
}

/// Makes a line; `None` if nothing happened. `dimensions` are names and values; all of them together
/// identify the metrics.
pub fn line(now: SystemTime, dimensions: &[(&str, &str)], metrics: &[Metric]) -> Option<String> {
    let metrics: Vec<&Metric> = metrics.iter().filter(|it| !it.is_empty()).collect();
    if metrics.is_empty() {
        return None;
    }
    let line = Line {
        now,
        dimensions,
        metrics,
    };
    // Strings and numbers always serialize.
    serde_json::to_string(&line).ok()
}

struct Line<'a> {
    now: SystemTime,
    dimensions: &'a [(&'a str, &'a str)],
    metrics: Vec<&'a Metric>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description<'a> {
    timestamp: u64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'static str,
    dimensions: [Vec<&'a str>; 1],
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let definition = |metric: &&Metric| Definition {
            name: metric.name(),
            unit: metric.unit(),
        };
        let directive = Directive {
            namespace: NAMESPACE,
            dimensions: [self.dimensions.iter().map(|(name, _)| *name).collect()],
            metrics: self.metrics.iter().map(definition).collect(),
        };
        let description = Description {
            timestamp: milliseconds(self.now),
            cloud_watch_metrics: [directive],
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("_aws", &description)?;
        for (name, value) in self.dimensions {
            map.serialize_entry(name, value)?;
        }
        for metric in &self.metrics {
            map.serialize_entry(metric.name(), metric)?;
        }
        map.end()
    }
}

/// Milliseconds since 1970.
pub fn milliseconds(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Prints metrics to Lambda's log.
#[derive(Clone, Debug)]
pub struct Metrics {
    function_name: String,
    print: fn(&str),
}

impl Metrics {
    /// Prints the metrics of the function with this name.
    pub fn new(function_name: impl Into<String>) -> Self {
        Self::to(function_name, |line| println!("{line}"))
    }

    /// As [`Metrics::new`], but passes the lines to `print`.
    pub fn to(function_name: impl Into<String>, print: fn(&str)) -> Self {
        Self {
            function_name: function_name.into(),
            print,
        }
    }

    /// Emits metrics of the whole function.
    pub fn emit(&self, now: SystemTime, metrics: &[Metric]) {
        self.print(line(now, &[("FunctionName", &self.function_name)], metrics));
    }

    /// Emits metrics of one distribution.
    pub fn emit_for(&self, now: SystemTime, distribution: &str, metrics: &[Metric]) {
        let dimensions = [
            ("FunctionName", self.function_name.as_str()),
            ("DistributionId", distribution),
        ];
        self.print(line(now, &dimensions, metrics));
    }

    fn print(&self, line: Option<String>) {
        if let Some(line) = line {
            (self.print)(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_line_is_what_cloudwatch_reads() {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_226_584_567);
        let metrics = [
            Metric::Count("PathsAccepted", 3),
            Metric::Count("PathsLater", 0),
            Metric::Milliseconds("ChangeAge", vec![1, 2]),
            Metric::Milliseconds("Nothing", vec![]),
            Metric::Usd("SpentThisMonth", NanoUsd::new(6_015_000_000)),
            Metric::Usd("SpentThisHour", NanoUsd::ZERO),
        ];
        let line: Value =
            serde_json::from_str(&line(now, &[("FunctionName", "f")], &metrics).unwrap()).unwrap();
        assert_eq!(
            line,
            json!({
                "_aws": {
                    "Timestamp": 1_795_226_584_567_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Invalidator",
                        "Dimensions": [["FunctionName"]],
                        "Metrics": [
                            { "Name": "PathsAccepted", "Unit": "Count" },
                            { "Name": "ChangeAge", "Unit": "Milliseconds" },
                            { "Name": "SpentThisMonth", "Unit": "None" },
                            { "Name": "SpentThisHour", "Unit": "None" },
                        ],
                    }],
                },
                "FunctionName": "f",
                "PathsAccepted": 3,
                "ChangeAge": [1, 2],
                "SpentThisMonth": 6.015,
                "SpentThisHour": 0.0,
            })
        );
    }

    #[test]
    fn what_did_not_happen_is_no_line() {
        let metrics = [
            Metric::Count("PathsAccepted", 0),
            Metric::Milliseconds("ChangeAge", vec![]),
        ];
        assert_eq!(line(UNIX_EPOCH, &[("FunctionName", "f")], &metrics), None);
    }
}
