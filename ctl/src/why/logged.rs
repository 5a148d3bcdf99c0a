//! What the function decided on an object, from its log.

use std::collections::VecDeque;

use aws_sdk_cloudwatchlogs::Client;
use invalidator::aws::error::error_of;
use invalidator_core::event::{BucketName, ObjectKey};
use invalidator_core::service_error::ServiceError;
use invalidator_core::text::{Lines, Shown};
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::time::{Instant, timeout_at};

/// So many lines are shown, the newest.
const MAX_SHOWN: usize = 20;

/// The longest part of a key in a filter: a whole filter may have 1,024 characters.
const MAX_FILTER: usize = 700;

/// Where and what to search.
pub struct Search<'a> {
    pub group: &'a str,
    pub bucket: &'a BucketName,
    pub key: &'a ObjectKey<'a>,
    pub days: u16,
    pub now: OffsetDateTime,
    /// When to stop.
    pub until: Instant,
}

/// What the log says.
#[derive(Debug, Serialize)]
pub struct Logged {
    pub group: String,
    /// The log was searched from here to now.
    pub since: String,
    /// The newest lines about the object, the newest first.
    pub lines: Vec<Line>,
    /// Why the search ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A line of the log.
#[derive(Debug, Serialize)]
pub struct Line {
    pub time: String,
    #[serde(flatten)]
    pub said: Said,
}

/// What of a line is shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct Said {
    #[serde(default)]
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    #[serde(default, skip_serializing)]
    bucket: String,
    #[serde(default, skip_serializing)]
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distribution: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paths: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    covers: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consequence: Option<String>,
}

impl Search<'_> {
    /// Searches the log, from the newest hours to older days, until enough was found.
    pub async fn read(&self, client: &Client) -> Logged {
        let mut found: Vec<(i64, Said)> = Vec::new();
        let (mut end, mut problem) = (self.now, None);
        let oldest = self.now - Duration::days(self.days.into());
        for hours in [1, 6, 24, 24 * 7, 24 * 366] {
            let begin = (self.now - Duration::hours(hours)).max(oldest);
            if begin >= end || found.len() >= MAX_SHOWN {
                break;
            }
            match timeout_at(self.until, self.window(client, begin, end)).await {
                Ok(Ok(mut newer)) => {
                    newer.append(&mut found);
                    found = newer;
                    end = begin;
                }
                Ok(Err(error)) => {
                    problem = Some(error.to_string());
                    break;
                }
                Err(_) => {
                    problem =
                        Some("it took too long: search fewer days with --log-days".to_owned());
                    break;
                }
            }
        }
        // In the order of time until here.
        found.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        found.truncate(MAX_SHOWN);
        let lines = found.into_iter().map(|(time, said)| Line {
            time: shown(
                OffsetDateTime::from_unix_timestamp(time / 1_000)
                    .unwrap_or(OffsetDateTime::UNIX_EPOCH),
            ),
            said,
        });
        Logged {
            group: self.group.to_owned(),
            since: shown(end),
            lines: lines.collect(),
            problem,
        }
    }

    /// The last lines of a time, in order.
    async fn window(
        &self,
        client: &Client,
        begin: OffsetDateTime,
        end: OffsetDateTime,
    ) -> Result<Vec<(i64, Said)>, ServiceError> {
        let mut found = VecDeque::new();
        let mut next = None;
        loop {
            let call = client.filter_log_events().log_group_name(self.group);
            let call = call.filter_pattern(self.filter());
            let call = call.start_time(milliseconds(begin));
            // The next window ends where this one begins.
            let call = call.end_time(milliseconds(end) - 1);
            let page = call.set_next_token(next).send().await;
            let page = page.map_err(|error| error_of("CloudWatchLogs FilterLogEvents", &error))?;
            for event in page.events.unwrap_or_default() {
                let message = event.message.unwrap_or_default();
                if let Some(said) = self.said(&message) {
                    found.push_back((event.timestamp.unwrap_or_default(), said));
                }
                if found.len() > MAX_SHOWN {
                    found.pop_front();
                }
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(found.into());
            }
        }
    }

    /// A line, if it is about the object. The filter may let others through.
    fn said(&self, message: &str) -> Option<Said> {
        let said: Said = serde_json::from_str(message).ok()?;
        let key = self.key.as_str();
        let is_it = said.bucket == self.bucket.as_str()
            && (said.key == key || said.key == Shown(key).to_string());
        is_it.then_some(said)
    }

    /// A filter for lines with this key. In a filter, a quote, a backslash and an asterisk have a meaning of
    /// their own, so the key is cut before the first character of that kind.
    fn filter(&self) -> String {
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '*') || c == ' ';
        let key = self.key.as_str();
        let end = key
            .find(|c| !is_plain(c))
            .unwrap_or(key.len())
            .min(MAX_FILTER);
        let star = if end < key.len() { "*" } else { "" };
        format!("{{ $.key = \"{}{star}\" }}", &key[..end])
    }
}

impl Logged {
    pub fn add_to(&self, lines: &mut Lines) {
        let Self { group, since, .. } = self;
        let what = match self.lines.len() {
            0 => "nothing about it",
            MAX_SHOWN.. => "about it, the newest first, and perhaps more",
            _ => "about it, the newest first",
        };
        lines.line(format_args!("  the log {group} since {since}, {what}"));
        for line in &self.lines {
            lines.line(format_args!("    {}  {}", line.time, line.said.shown()));
        }
        if let Some(problem) = &self.problem {
            lines.line(format_args!("    the search ended early: {problem}"));
        }
        lines.line(
            "    (of many decisions some are logged, so one that is missing here may have been made)",
        );
    }
}

impl Said {
    fn shown(&self) -> String {
        let mut shown = Vec::new();
        shown.extend(self.kind.clone());
        if let Some(distribution) = &self.distribution {
            let alias = self.alias.as_deref().unwrap_or_default();
            shown.push(format!("{distribution} ({alias})"));
        }
        shown.push(
            self.decision
                .clone()
                .unwrap_or_else(|| self.message.clone()),
        );
        shown.extend(self.paths.clone());
        let more = [&self.reason, &self.covers, &self.consequence];
        let more: Vec<&str> = more.into_iter().filter_map(|it| it.as_deref()).collect();
        if !more.is_empty() {
            shown.push(format!("({})", more.join(", ")));
        }
        shown.join(" ")
    }
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// A time to the second, in UTC.
pub fn shown(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_nothing_that_has_a_meaning_in_filters() {
        let long = "a".repeat(1_000);
        let cut = format!("{}*", "a".repeat(MAX_FILTER));
        for (key, expected) in [
            ("news/1 (2).html", "news/1 (2).html"),
            ("a\"b", "a*"),
            ("a\\b", "a*"),
            ("a*b", "a*"),
            ("dé", "d*"),
            ("한", "*"),
            (long.as_str(), cut.as_str()),
        ] {
            let search = Search {
                group: "g",
                bucket: &BucketName::new("b"),
                key: &ObjectKey::new(key).unwrap(),
                days: 1,
                now: OffsetDateTime::UNIX_EPOCH,
                until: Instant::now(),
            };
            assert_eq!(
                search.filter(),
                format!("{{ $.key = \"{expected}\" }}"),
                "{key}"
            );
        }
    }
}
