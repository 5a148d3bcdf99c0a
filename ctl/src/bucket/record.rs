//! What `connect` changed, in the error bucket, so that `disconnect` undoes exactly that; and the settings as
//! they were before each change.
//!
//! Both are written before anything is changed. Whoever may write there may also have made up a record; so
//! undoing touches only what `connect` may have set: our tags, our rules, our permission.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use aws_sdk_s3::types::{NotificationConfiguration, NotificationConfigurationFilter};
use invalidator::aws::Clients;
use invalidator::aws::error::{error_of, service_error};
use invalidator::state;
use invalidator_core::bucket_tags::{BucketTag, is_ours};
use invalidator_core::state::{
    FOLDER, Reading, StateObject, UnreadableState, check, from_versioned_json,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

/// The version this code writes, and the only one it reads.
const VERSION: u32 = 1;

/// What `connect` changed in a bucket, since it was connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    v: u32,
    pub bucket: String,
    pub function: String,
    /// Whether it turned on EventBridge.
    pub event_bridge: bool,
    /// The id of the statement that it added to the function's policy.
    pub permission: Option<String>,
    /// The tags that it changed.
    pub tags: BTreeMap<String, TagChange>,
}

/// The value of a tag before and after; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChange {
    pub old: Option<String>,
    pub new: Option<String>,
}

impl StateObject for Record {
    const NAME: &'static str = "the record of a connection";
    const REMEDY: &'static str =
        "look at it, and delete it if you do not need it to undo the connection";
    const MAX_BYTES: usize = 100_000;

    fn from_json(text: &str) -> Result<Self, UnreadableState> {
        let record: Self = from_versioned_json(text, VERSION, None)?;
        check(record.tags.keys().all(|key| is_ours(key)), "tags")?;
        let is_ours = |id: &String| id.starts_with(PERMISSION);
        check(record.permission.iter().all(is_ours), "permission")?;
        Ok(record)
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

/// With this begin the ids of statements that `connect` adds.
pub const PERMISSION: &str = "invalidatorctl-connect-";

impl Record {
    pub fn new(bucket: &str, function: &str) -> Self {
        Self {
            v: VERSION,
            bucket: bucket.to_owned(),
            function: function.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a further change. What was before the first one stays known.
    pub fn add(
        &mut self,
        event_bridge: bool,
        permission: Option<String>,
        tags: BTreeMap<String, TagChange>,
    ) {
        self.event_bridge |= event_bridge;
        self.permission = self.permission.take().or(permission);
        for (key, change) in tags {
            match self.tags.get_mut(&key) {
                Some(known) => known.new = change.new,
                None => drop(self.tags.insert(key, change)),
            }
        }
        self.tags.retain(|_, it| it.old != it.new);
    }
}

/// The key of the record of a bucket.
pub fn key(bucket: &str) -> String {
    format!("{FOLDER}connect/{bucket}.json")
}

/// The record of a bucket, if it was connected by this program.
///
/// # Errors
/// If it cannot be read. Then nothing may be changed, or what was before would be forgotten.
pub async fn read(clients: &Clients, error_bucket: &str, bucket: &str) -> Result<Option<Record>> {
    let key = key(bucket);
    match state::read::<Record>(clients.s3(), error_bucket, &key).await? {
        Reading::Found(record, _) if record.bucket == bucket => Ok(Some(record)),
        Reading::Found(record, _) => bail!(
            "s3://{error_bucket}/{key} is about the bucket {}: delete it, or move it to its place",
            record.bucket
        ),
        Reading::Absent | Reading::Deleted => Ok(None),
        Reading::Unreadable(why, _) => bail!(
            "s3://{error_bucket}/{key}: {why}. What to do: {}.",
            Record::REMEDY
        ),
    }
}

/// Writes the record.
///
/// # Errors
/// If it cannot be written: then nothing may be changed.
pub async fn write(clients: &Clients, error_bucket: &str, record: &Record) -> Result<()> {
    put(
        clients,
        error_bucket,
        &key(&record.bucket),
        record.to_json()?,
    )
    .await
}

/// Removes the record of a bucket.
///
/// # Errors
/// If it cannot be removed.
pub async fn remove(clients: &Clients, error_bucket: &str, bucket: &str) -> Result<()> {
    let call = clients.s3().delete_object().bucket(error_bucket);
    let removed = call.key(key(bucket)).send().await;
    let removed = removed.map_err(|error| error_of("S3 DeleteObject", &error));
    removed.with_context(|| format!("failed to remove s3://{error_bucket}/{}", key(bucket)))?;
    Ok(())
}

/// Saves the settings as they are, in the words of the AWS CLI. Returns where.
///
/// # Errors
/// If they cannot be written: then nothing may be changed.
pub async fn save(
    clients: &Clients,
    error_bucket: &str,
    bucket: &str,
    (notifications, tags): (&NotificationConfiguration, &[BucketTag]),
    (by, now): (&str, OffsetDateTime),
) -> Result<String> {
    let time = now.format(format_description!(
        "[year][month][day]T[hour][minute][second].[subsecond digits:3]Z"
    ))?;
    let key = format!("{FOLDER}connect/{bucket}/{time}.json");
    let tags = tags
        .iter()
        .map(|tag| json!({ "Key": tag.key, "Value": tag.value }));
    let before = json!({
        "v": VERSION,
        "bucket": bucket,
        "by": by,
        "notifications": in_words_of_the_cli(notifications),
        "tags": { "TagSet": tags.collect::<Vec<_>>() },
    });
    put(
        clients,
        error_bucket,
        &key,
        serde_json::to_string_pretty(&before)?,
    )
    .await?;
    Ok(format!("s3://{error_bucket}/{key}"))
}

async fn put(clients: &Clients, bucket: &str, key: &str, text: String) -> Result<()> {
    let call = clients.s3().put_object().bucket(bucket).key(key);
    let call = call
        .content_type("application/json")
        .body(text.into_bytes().into());
    let written = call.send().await.map_err(|error| service_error(&error));
    written.with_context(|| format!("nothing was changed: failed to write s3://{bucket}/{key}"))?;
    Ok(())
}

/// What `aws s3api put-bucket-notification-configuration` takes.
fn in_words_of_the_cli(all: &NotificationConfiguration) -> Value {
    let mut value = json!({});
    let mut add = |name: &str, rules: Vec<Value>| {
        if !rules.is_empty() {
            value[name] = Value::from(rules);
        }
    };
    let rule =
        |id: &Option<String>, (name, arn): (&str, &str), events: Vec<&str>, filter: &Option<_>| {
            let mut rule = json!({ name: arn, "Events": events });
            if let Some(id) = id {
                rule["Id"] = Value::from(id.as_str());
            }
            if let Some(filter) = filter {
                rule["Filter"] = filter_in_words(filter);
            }
            rule
        };
    let topics = all.topic_configurations().iter().map(|it| {
        let events = it.events.iter().map(|it| it.as_str()).collect();
        rule(&it.id, ("TopicArn", &it.topic_arn), events, &it.filter)
    });
    add("TopicConfigurations", topics.collect());
    let queues = all.queue_configurations().iter().map(|it| {
        let events = it.events.iter().map(|it| it.as_str()).collect();
        rule(&it.id, ("QueueArn", &it.queue_arn), events, &it.filter)
    });
    add("QueueConfigurations", queues.collect());
    let functions = all.lambda_function_configurations().iter().map(|it| {
        let events = it.events.iter().map(|it| it.as_str()).collect();
        rule(
            &it.id,
            ("LambdaFunctionArn", &it.lambda_function_arn),
            events,
            &it.filter,
        )
    });
    add("LambdaFunctionConfigurations", functions.collect());
    if all.event_bridge_configuration.is_some() {
        value["EventBridgeConfiguration"] = json!({});
    }
    value
}

fn filter_in_words(filter: &NotificationConfigurationFilter) -> Value {
    let rules = filter.key().into_iter().flat_map(|key| key.filter_rules());
    let rules = rules.map(|rule| {
        json!({
            "Name": rule.name().map(|it| it.as_str()),
            "Value": rule.value(),
        })
    });
    json!({ "Key": { "FilterRules": rules.collect::<Vec<_>>() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(old: Option<&str>, new: Option<&str>) -> TagChange {
        TagChange {
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        }
    }

    #[test]
    fn the_state_before_the_first_change_stays_known() {
        let mut record = Record::new("site", "arn:f");
        let tags = |change| [("exceptionPaths".to_owned(), change)].into();
        record.add(
            true,
            Some("invalidatorctl-connect-site".to_owned()),
            tags(change(Some("a"), Some("b"))),
        );
        record.add(false, None, tags(change(Some("b"), Some("c"))));
        assert_eq!(record.tags["exceptionPaths"], change(Some("a"), Some("c")));
        assert!(record.event_bridge && record.permission.is_some());
        let text = record.to_json().unwrap();
        assert_eq!(Record::from_json(&text), Ok(record.clone()));
        record.add(false, None, tags(change(Some("c"), Some("a"))));
        assert!(record.tags.is_empty(), "nothing is left to undo");
    }

    #[test]
    fn a_made_up_record_touches_nothing_of_others() {
        let mut record = Record::new("site", "arn:f");
        record
            .tags
            .insert("team".to_owned(), change(Some("mine"), None));
        let text = record.to_json().unwrap();
        assert_eq!(
            Record::from_json(&text),
            Err(UnreadableState::Value("tags"))
        );
        let mut record = Record::new("site", "arn:f");
        record.permission = Some("s3".to_owned());
        let text = record.to_json().unwrap();
        assert_eq!(
            Record::from_json(&text),
            Err(UnreadableState::Value("permission"))
        );
    }
}
