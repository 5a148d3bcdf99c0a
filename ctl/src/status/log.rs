//! What the function has logged of late: its flushes, and to which targets CloudFront answers later.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use invalidator::aws::error::error_of;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::account::Account;
use crate::stack::Stack;

/// How far to look back. A busy target is tried again within a quarter of an hour.
const LOOK_BACK_SECONDS: i64 = 1_800;

/// How many pages of the log are read.
const MOST_PAGES: usize = 10;

/// How many flushes are shown, the newest first.
const MOST_FLUSHES: usize = 5;

const FLUSHED: &str = "flushed";
const LATER: &str = "CloudFront answered later";
const ACCEPTED: &str = "CloudFront accepted an invalidation";

/// A line of the function's log.
#[derive(Debug, Deserialize)]
struct Line {
    timestamp: String,
    message: String,
    distribution: Option<String>,
    tenant: Option<String>,
    alias: Option<String>,
    paths: Option<u64>,
    error: Option<String>,
    end: Option<String>,
    counts: Option<String>,
}

/// A flush.
#[derive(Debug, Serialize)]
pub struct Flush {
    pub at: String,
    /// How it ended.
    pub end: String,
    /// What it did.
    pub counts: String,
}

/// A target to which CloudFront answers later.
#[derive(Debug, Serialize)]
pub struct Busy {
    pub target: String,
    pub alias: String,
    pub since: String,
    pub paths: u64,
    pub error: String,
}

/// What the log tells.
#[derive(Debug, Default)]
pub struct Log {
    pub flushes: Vec<Flush>,
    pub busy: Vec<Busy>,
    /// The targets that have accepted invalidations.
    pub targets: BTreeSet<String>,
}

/// # Errors
/// If the log cannot be read.
pub async fn log(account: &Account, stack: &Stack, now: OffsetDateTime) -> Result<Log> {
    let group = stack.output("LogGroupName")?;
    let client = aws_sdk_cloudwatchlogs::Client::new(&account.sdk);
    let pattern = [FLUSHED, LATER, ACCEPTED].map(|text| format!("$.message = \"{text}\""));
    let pattern = format!("{{ {} }}", pattern.join(" || "));
    let from = (now.unix_timestamp() - LOOK_BACK_SECONDS) * 1_000;
    let mut lines = Vec::new();
    let mut next = None;
    for _ in 0..MOST_PAGES {
        let call = client.filter_log_events().log_group_name(group);
        let call = call.start_time(from).filter_pattern(&pattern);
        let page = call.set_next_token(next).send().await;
        let page = page.map_err(|error| error_of("CloudWatchLogs FilterLogEvents", &error));
        let page = page.with_context(|| format!("failed to read the log group {group}"))?;
        let texts = page.events().iter().filter_map(|event| event.message());
        lines.extend(texts.filter_map(|text| serde_json::from_str::<Line>(text).ok()));
        next = page.next_token;
        if next.is_none() {
            break;
        }
    }
    Ok(read(lines))
}

fn read(mut lines: Vec<Line>) -> Log {
    lines.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
    let mut log = Log::default();
    let mut busy: BTreeMap<String, Busy> = BTreeMap::new();
    for line in lines {
        let target = line.tenant.or(line.distribution);
        match (line.message.as_str(), target) {
            (FLUSHED, _) => log.flushes.push(Flush {
                at: line.timestamp,
                end: line.end.unwrap_or_default(),
                counts: line.counts.unwrap_or_default(),
            }),
            (ACCEPTED, Some(target)) => {
                busy.remove(&target);
                log.targets.insert(target);
            }
            (LATER, Some(target)) => {
                let (paths, error) = (
                    line.paths.unwrap_or_default(),
                    line.error.unwrap_or_default(),
                );
                let known = busy.entry(target.clone()).or_insert_with(|| Busy {
                    target,
                    alias: line.alias.unwrap_or_default(),
                    since: line.timestamp,
                    paths: 0,
                    error: String::new(),
                });
                known.paths = paths;
                known.error = error;
            }
            _ => {}
        }
    }
    log.busy = busy.into_values().collect();
    log.flushes.reverse();
    log.flushes.truncate(MOST_FLUSHES);
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u32, message: &str, distribution: Option<&str>) -> Line {
        Line {
            timestamp: format!("2026-11-21T02:03:{second:02}Z"),
            message: message.to_owned(),
            distribution: distribution.map(str::to_owned),
            tenant: None,
            alias: Some("www.example.org".to_owned()),
            paths: Some(u64::from(second)),
            error: Some("Throttling".to_owned()),
            end: Some("Drained".to_owned()),
            counts: Some("Keys=1".to_owned()),
        }
    }

    #[test]
    fn a_target_is_busy_from_the_first_refusal_until_it_accepts() {
        let log = read(vec![
            line(5, LATER, Some("E1")),
            line(1, LATER, Some("E1")),
            line(3, ACCEPTED, Some("E1")),
            line(7, LATER, Some("E1")),
            line(2, LATER, Some("E2")),
            line(4, ACCEPTED, Some("E2")),
            line(6, "decision", Some("E3")),
        ]);
        let busy: Vec<_> = log
            .busy
            .iter()
            .map(|it| (it.target.as_str(), it.since.as_str(), it.paths))
            .collect();
        assert_eq!(busy, [("E1", "2026-11-21T02:03:05Z", 7)]);
        let targets: Vec<_> = log.targets.iter().map(String::as_str).collect();
        assert_eq!(targets, ["E1", "E2"]);
    }

    #[test]
    fn the_newest_flushes_come_first() {
        let flushes = (0..9).map(|second| line(second, FLUSHED, None));
        let log = read(flushes.collect());
        assert_eq!(log.flushes.len(), MOST_FLUSHES);
        assert_eq!(log.flushes[0].at, "2026-11-21T02:03:08Z");
    }
}
