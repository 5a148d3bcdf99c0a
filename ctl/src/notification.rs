//! The notification configuration of a bucket: what it sends where.
//!
//! A bucket has one, and a put replaces all of it. S3 takes no two rules with a common event whose keys may
//! overlap (S3 User Guide, "Configuring event notifications using object key name filtering").

use std::fmt;

use aws_sdk_s3::operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput;
use aws_sdk_s3::types::{
    FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter,
};

/// The events that the function wants of a bucket.
pub const EVENTS: [&str; 3] = [
    "s3:ObjectCreated:*",
    "s3:ObjectRemoved:*",
    "s3:LifecycleExpiration:*",
];

/// Each of them, as S3 sends them.
pub const SENT: [&str; 8] = [
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
];

/// What a bucket sends where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    pub rules: Vec<Rule>,
    /// Whether all its events go to EventBridge.
    pub event_bridge: bool,
}

/// One rule of a bucket's notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub id: String,
    pub destination: Destination,
    pub events: Vec<String>,
    /// Only keys that begin so; empty for all.
    pub prefix: String,
    /// Only keys that end so; empty for all.
    pub suffix: String,
}

/// Where a rule sends its events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    Function(String),
    Topic(String),
    Queue(String),
}

impl Destination {
    /// Its ARN.
    pub fn arn(&self) -> &str {
        match self {
            Self::Function(arn) | Self::Topic(arn) | Self::Queue(arn) => arn,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Function(_) => "function",
            Self::Topic(_) => "topic",
            Self::Queue(_) => "queue",
        };
        write!(f, "{kind} {}", self.arn())
    }
}

/// `s3:ObjectCreated:* of keys that begin with img/ to topic arn:.. (rule thumbnails)`
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.events.join(" "))?;
        match (self.prefix.as_str(), self.suffix.as_str()) {
            ("", "") => {}
            (prefix, "") => write!(f, " of keys that begin with {prefix}")?,
            ("", suffix) => write!(f, " of keys that end with {suffix}")?,
            (prefix, suffix) => write!(f, " of keys like {prefix}*{suffix}")?,
        }
        write!(f, " to {}", self.destination)?;
        match self.id.as_str() {
            "" => Ok(()),
            id => write!(f, " (rule {id})"),
        }
    }
}

impl Rule {
    /// The rule that sends a whole bucket to the function.
    #[cfg(test)]
    pub fn ours(function: &str) -> Self {
        Self::of_whole_bucket(Destination::Function(function.to_owned()))
    }

    /// The rule that sends all that the function wants of a bucket.
    pub fn of_whole_bucket(destination: Destination) -> Self {
        Self {
            id: "invalidator".to_owned(),
            destination,
            events: EVENTS.map(str::to_owned).to_vec(),
            prefix: String::new(),
            suffix: String::new(),
        }
    }

    /// Whether it is for all keys.
    pub fn has_all_keys(&self) -> bool {
        self.prefix.is_empty() && self.suffix.is_empty()
    }

    /// Whether it sends all that the function wants.
    pub fn is_whole(&self) -> bool {
        self.has_all_keys() && EVENTS.iter().all(|event| self.sends(event))
    }

    /// Whether it sends this event.
    pub fn sends(&self, event: &str) -> bool {
        self.events.iter().any(|own| includes(own, event))
    }

    /// Whether S3 would refuse both rules in one bucket.
    pub fn overlaps(&self, other: &Self) -> bool {
        let has_common_event = self.events.iter().any(|own| {
            let mut others = other.events.iter();
            others.any(|event| includes(own, event) || includes(event, own))
        });
        let (a, b) = (&self.prefix, &other.prefix);
        let have_common_prefix = a.starts_with(b.as_str()) || b.starts_with(a.as_str());
        let (a, b) = (&self.suffix, &other.suffix);
        let have_common_suffix = a.ends_with(b.as_str()) || b.ends_with(a.as_str());
        has_common_event && have_common_prefix && have_common_suffix
    }
}

/// Whether an event of a rule, perhaps with `*`, includes another one.
fn includes(event: &str, other: &str) -> bool {
    match event.strip_suffix('*') {
        Some(start) => other.starts_with(start),
        None => event == other,
    }
}

/// An answer as what is put, with nothing left out.
pub fn configuration(
    answer: GetBucketNotificationConfigurationOutput,
) -> NotificationConfiguration {
    NotificationConfiguration::builder()
        .set_topic_configurations(answer.topic_configurations)
        .set_queue_configurations(answer.queue_configurations)
        .set_lambda_function_configurations(answer.lambda_function_configurations)
        .set_event_bridge_configuration(answer.event_bridge_configuration)
        .build()
}

impl From<&NotificationConfiguration> for Notifications {
    fn from(all: &NotificationConfiguration) -> Self {
        let functions = all.lambda_function_configurations().iter().map(|it| {
            let destination = Destination::Function(it.lambda_function_arn.clone());
            (&it.id, destination, &it.events, &it.filter)
        });
        let topics = all.topic_configurations().iter().map(|it| {
            let destination = Destination::Topic(it.topic_arn.clone());
            (&it.id, destination, &it.events, &it.filter)
        });
        let queues = all.queue_configurations().iter().map(|it| {
            let destination = Destination::Queue(it.queue_arn.clone());
            (&it.id, destination, &it.events, &it.filter)
        });
        let rules = functions.chain(topics).chain(queues);
        let rules = rules.map(|(id, destination, events, filter)| Rule {
            id: id.clone().unwrap_or_default(),
            destination,
            events: events.iter().map(|it| it.as_str().to_owned()).collect(),
            prefix: of_filter(filter.as_ref(), "prefix"),
            suffix: of_filter(filter.as_ref(), "suffix"),
        });
        Self {
            rules: rules.collect(),
            event_bridge: all.event_bridge_configuration.is_some(),
        }
    }
}

/// The value of a filter. S3 writes the names as it got them: `Prefix` and `prefix`.
fn of_filter(filter: Option<&NotificationConfigurationFilter>, name: &str) -> String {
    let key = filter.and_then(|filter| filter.key());
    let mut rules = key.into_iter().flat_map(|key| key.filter_rules());
    let is_it = |given: &FilterRuleName| given.as_str().eq_ignore_ascii_case(name);
    let rule = rules.find(|rule| rule.name().is_some_and(is_it));
    rule.and_then(|rule| rule.value.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(events: &[&str], prefix: &str, suffix: &str) -> Rule {
        Rule {
            id: String::new(),
            destination: Destination::Topic("arn:t".to_owned()),
            events: events.iter().map(|it| (*it).to_owned()).collect(),
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
        }
    }

    /// Sources: the examples of valid and invalid configurations in the S3 User Guide.
    #[test]
    fn rules_overlap_if_they_share_an_event_and_keys() {
        let put = &["s3:ObjectCreated:Put"][..];
        let created = &["s3:ObjectCreated:*"][..];
        for (a, b, expected) in [
            (rule(created, "", ""), rule(created, "", ""), true),
            (
                rule(created, "images", ""),
                rule(created, "logs", ""),
                false,
            ),
            (
                rule(created, "images", ""),
                rule(created, "images/a", ""),
                true,
            ),
            (
                rule(created, "images", ".jpg"),
                rule(created, "images", ".png"),
                false,
            ),
            (rule(created, "", ".jpg"), rule(created, "", "pg"), true),
            (rule(created, "", ".jpg"), rule(created, "", "jpg"), true),
            (rule(created, "images", ""), rule(created, "", ".jpg"), true),
            (
                rule(put, "", ""),
                rule(&["s3:ObjectCreated:Post"], "", ""),
                false,
            ),
            (rule(put, "", ""), rule(created, "a", ""), true),
            (
                rule(put, "", ""),
                rule(&["s3:ObjectRemoved:*"], "", ""),
                false,
            ),
            (
                rule(
                    &["s3:ObjectRemoved:Delete", "s3:ObjectCreated:Copy"],
                    "",
                    "",
                ),
                rule(created, "", ""),
                true,
            ),
        ] {
            assert_eq!(a.overlaps(&b), expected, "{a} and {b}");
            assert_eq!(b.overlaps(&a), expected, "{b} and {a}");
        }
    }

    #[test]
    fn our_rule_sends_all_that_the_function_wants() {
        let ours = Rule::ours("arn:f");
        assert!(SENT.iter().all(|event| ours.sends(event)));
        assert!(!ours.sends("s3:ObjectRestore:Post"));
    }
}
