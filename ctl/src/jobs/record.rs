//! The record of a job in the error bucket: `jobs/ID.json` says who, when, why, what, and how far it came. Beside it
//! `jobs/ID.sets` holds its messages, one a line, so that a job that was interrupted can be continued, and anybody can
//! see later what became of it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::DateTime;
use invalidator::aws::error::service_error;
use invalidator::queue::Entry;
use invalidator_core::caller_reference::SetId;
use invalidator_core::set::{Lane, Set};
use invalidator_core::target::Target;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::stored_object;
use crate::submission::{Submission, set_of};

/// The folder of the records in the error bucket.
const FOLDER: &str = "jobs/";

/// The version of a record, and of the list as JSON.
pub const VERSION: u32 = 1;

/// So many are listed.
const MOST_LISTED: usize = 100;

/// How far a job came.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Submitting,
    Submitted,
    Accepted,
    /// Some paths were rejected, or got no answer in time.
    #[serde(rename = "not accepted")]
    NotAccepted,
    Scheduling,
    Scheduled,
    Cancelled,
    #[serde(rename = "cancelled in part")]
    CancelledInPart,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Submitting => "submitting",
            Self::Submitted => "submitted",
            Self::Accepted => "accepted",
            Self::NotAccepted => "not accepted",
            Self::Scheduling => "scheduling",
            Self::Scheduled => "scheduled",
            Self::Cancelled => "cancelled",
            Self::CancelledInPart => "cancelled in part",
        })
    }
}

/// The record of a job.
#[derive(Debug, Deserialize, Serialize)]
pub struct Job {
    pub v: u32,
    pub id: String,
    /// When it was made, in UTC.
    pub at: String,
    pub by: String,
    pub reason: String,
    /// What was asked for.
    pub asked: Vec<String>,
    pub paths: usize,
    pub usd_at_most: f64,
    /// What was submitted for each target, and what came of it if somebody waited.
    pub targets: Value,
    pub result: State,
    /// When it is submitted, if not at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<String>,
    /// How many sets it has. They are numbered from 0, in the order of their messages.
    #[serde(default)]
    pub sets: usize,
    /// The sets that are not known to be in SubmitQueue, or in a schedule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<usize>,
    /// The sets whose schedules were deleted before their time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<usize>,
    /// The sets whose schedules were deleted when they were due: they may have run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted_late: Vec<usize>,
}

impl Job {
    /// When it is submitted, if not at once.
    ///
    /// # Errors
    /// If the record has no time there.
    pub fn due(&self) -> Result<Option<OffsetDateTime>> {
        let Some(text) = &self.scheduled_for else {
            return Ok(None);
        };
        let due = OffsetDateTime::parse(text, &Rfc3339);
        due.map(Some)
            .with_context(|| format!("the record of job {} has the time `{text}`", self.id))
    }

    /// The sets that may have been submitted.
    pub fn begun(&self) -> impl Iterator<Item = usize> {
        let is_begun =
            |number: &usize| !self.left.contains(number) && !self.cancelled.contains(number);
        (0..self.sets).filter(is_begun)
    }
}

/// The message of a set.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Message {
    pub group: String,
    pub id: String,
    pub body: String,
}

impl Message {
    /// The message of a set in SubmitQueue.
    ///
    /// # Errors
    /// None in practice: strings and numbers always serialize.
    pub fn of(id: &SetId, set: &Set<'_>) -> Result<Self> {
        let lane = set.paths.first().map_or(Lane::Paths, Lane::of);
        Ok(Self {
            group: lane.group(&set.target),
            id: id.as_str().to_owned(),
            body: set.to_json()?,
        })
    }

    pub fn entry(&self) -> Entry {
        Entry {
            fifo: Some((self.group.clone(), self.id.clone())),
            ..Entry::of_body(self.body.clone())
        }
    }

    /// The set in it.
    ///
    /// # Errors
    /// If somebody has changed it.
    pub fn set(&self) -> Result<Set<'static>> {
        Ok(Set::from_json(&self.body)?)
    }

    /// A message from outside, as this program makes it. Whoever wrote it could say what only the function may, such as
    /// that a target is trusted after it.
    ///
    /// # Errors
    /// If it holds no set.
    pub fn checked(id: &str, body: &str) -> Result<Self> {
        let set = Set::from_json(body)?;
        let set = set_of(set.target, set.paths, set.reason);
        Self::of(&SetId::known(id), &set)
    }
}

/// The messages of submissions, in order.
///
/// # Errors
/// None in practice.
pub fn messages_of(submissions: &[&Submission]) -> Result<Vec<Message>> {
    let sets = submissions.iter().flat_map(|it| &it.sets);
    sets.map(|(id, set)| Message::of(id, set)).collect()
}

/// Some of a job's sets, by target.
///
/// # Errors
/// If a message holds no set.
pub fn submissions<'m>(
    job: &Job,
    messages: impl IntoIterator<Item = &'m Message>,
) -> Result<Vec<Submission>> {
    let mut of_targets: BTreeMap<Target, Submission> = BTreeMap::new();
    for message in messages {
        let set = message.set()?;
        let of_target = of_targets.entry(set.target.clone());
        let of_target = of_target.or_insert_with(|| Submission {
            target: set.target.clone(),
            alias: alias(job, &set.target).to_owned(),
            sources: Vec::new(),
            notes: Vec::new(),
            sets: Vec::new(),
        });
        of_target.sets.push((SetId::known(&message.id), set));
    }
    Ok(of_targets.into_values().collect())
}

fn alias<'j>(job: &'j Job, target: &Target) -> &'j str {
    let mut targets = job.targets.as_array().into_iter().flatten();
    let target = targets.find(|it| it["target"] == target.id());
    target.and_then(|it| it["alias"].as_str()).unwrap_or("?")
}

/// An id for a job that begins now: it sorts by time. `random` tells those of one second apart.
///
/// # Errors
/// None in practice: the format has only parts every time has.
pub fn new_id(now: OffsetDateTime, random: &str) -> Result<String> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    Ok(format!("{}-{random}", now.format(format)?))
}

fn key_of(id: &str) -> String {
    format!("{FOLDER}{id}.json")
}

fn key_of_messages(id: &str) -> String {
    format!("{FOLDER}{id}.sets")
}

/// Writes the record of a job, or writes it anew.
///
/// # Errors
/// That of S3.
pub async fn write(s3: &Client, bucket: &str, job: &Job) -> Result<()> {
    let call = s3.put_object().bucket(bucket).key(key_of(&job.id));
    let call = call.content_type("application/json");
    let written = call.body(serde_json::to_vec(job)?.into()).send().await;
    written.map_err(|error| service_error(&error))?;
    Ok(())
}

/// Writes the messages of a job, and then its record.
///
/// # Errors
/// That of S3.
pub async fn write_new(s3: &Client, bucket: &str, job: &Job, messages: &[Message]) -> Result<()> {
    let mut lines = Vec::new();
    for message in messages {
        serde_json::to_writer(&mut lines, message)?;
        lines.push(b'\n');
    }
    let call = s3.put_object().bucket(bucket).key(key_of_messages(&job.id));
    let call = call.content_type("application/x-ndjson").body(lines.into());
    call.send().await.map_err(|error| service_error(&error))?;
    write(s3, bucket, job).await
}

/// Reads a record; `None` if there is none.
///
/// # Errors
/// If it cannot be read.
pub async fn find(s3: &Client, bucket: &str, id: &str) -> Result<Option<Job>> {
    let key = key_of(id);
    let object = stored_object::find(s3, bucket, &key).await?;
    object.map(|it| parse(bucket, &key, &it.text)).transpose()
}

/// Reads a record.
///
/// # Errors
/// If it cannot be read.
pub async fn read(s3: &Client, bucket: &str, id: &str) -> Result<Job> {
    let key = key_of(id);
    let object = s3.get_object().bucket(bucket).key(&key).send().await;
    let object = object.map_err(|error| service_error(&error));
    let object = object.with_context(|| format!("failed to read s3://{bucket}/{key}"))?;
    let text = object.body.collect().await;
    let text = text.with_context(|| format!("the content of {key} does not arrive"))?;
    parse(bucket, &key, &text.to_vec())
}

fn parse(bucket: &str, key: &str, text: &[u8]) -> Result<Job> {
    let job: Job = serde_json::from_slice(text)
        .with_context(|| format!("s3://{bucket}/{key} is no record of a job"))?;
    if job.v != VERSION {
        bail!(
            "s3://{bucket}/{key} is of version {}, this program reads {VERSION}",
            job.v
        );
    }
    Ok(job)
}

/// Reads the messages of a job, and when it began: they are written right before. `None` if there are none: the job is
/// of an older version of this program.
///
/// # Errors
/// If they cannot be read, or are not those of the record.
pub async fn read_messages(
    s3: &Client,
    bucket: &str,
    job: &Job,
) -> Result<Option<(Vec<Message>, OffsetDateTime)>> {
    let key = key_of_messages(&job.id);
    let Some(object) = stored_object::find(s3, bucket, &key).await? else {
        return Ok(None);
    };
    let written = time_of(object.written.as_ref());
    let lines = object
        .text
        .split(|byte| *byte == b'\n')
        .filter(|it| !it.is_empty());
    let messages = lines.map(|line| {
        let line: Message = serde_json::from_slice(line)?;
        Message::checked(&line.id, &line.body)
    });
    let messages: Result<Vec<Message>> = messages.collect();
    let messages =
        messages.with_context(|| format!("s3://{bucket}/{key} holds no messages of a job"))?;
    if messages.len() != job.sets {
        bail!(
            "s3://{bucket}/{key} holds {} messages, and the record of the job says {}",
            messages.len(),
            job.sets
        );
    }
    Ok(Some((messages, written)))
}

fn time_of(time: Option<&DateTime>) -> OffsetDateTime {
    let time = time.and_then(|it| OffsetDateTime::from_unix_timestamp(it.secs()).ok());
    time.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The ids of the newest jobs, the newest first.
///
/// # Errors
/// That of S3.
pub async fn newest(s3: &Client, bucket: &str) -> Result<Vec<String>> {
    let (mut ids, mut token) = (Vec::new(), None);
    loop {
        let call = s3.list_objects_v2().bucket(bucket).prefix(FOLDER);
        let page = call.set_continuation_token(token).send().await;
        let page = page.map_err(|error| service_error(&error));
        let page = page.with_context(|| format!("failed to list s3://{bucket}/{FOLDER}"))?;
        let keys = page.contents.unwrap_or_default().into_iter();
        ids.extend(keys.filter_map(|it| {
            let id = it.key?;
            Some(id.strip_prefix(FOLDER)?.strip_suffix(".json")?.to_owned())
        }));
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(MOST_LISTED);
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_somebody_wrote_says_only_what_this_program_says() {
        let body = r#"{"v":1,"distribution":"E1","paths":["/a*"],"reason":"x","by":"invalidator","hops":3,"first_sent":7}"#;
        let message = Message::checked("1", body).unwrap();
        assert_eq!(message.group, "E1/wildcards");
        let expected =
            r#"{"v":1,"distribution":"E1","paths":["/a*"],"reason":"x","by":"invalidatorctl"}"#;
        assert_eq!(
            (message.id.as_str(), message.body.as_str()),
            ("1", expected)
        );
        for body in ["", "{}", r#"{"v":2,"distribution":"E1","paths":["/a"]}"#] {
            assert!(Message::checked("1", body).is_err(), "{body}");
        }
    }
}
