//! The ways by which the events of a bucket reach the function.

use std::fmt;

use crate::check::facts::{Bucket, Facts, Mapping};
use crate::check::statements::statements;
use crate::notification::{Destination, Rule};

/// A way by which events of a bucket reach the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'f> {
    pub by: By,
    /// The rule of the bucket; `None` for EventBridge, which gets all events.
    pub rule: Option<&'f Rule>,
    /// What stops it on its way, if something does.
    pub stopped: Option<Stopped>,
}

/// What carries events from a bucket to the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    S3,
    Topic(String),
    Queue(String),
    TopicAndQueue(String, String),
    EventBridge(String),
}

/// What stops events on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// S3 may not invoke the function.
    NotPermitted,
    /// IntakeQueue takes nothing of the bucket.
    NotTaken,
    /// Nothing takes events out of IntakeQueue.
    NotRead,
    /// The function's subscription is not confirmed.
    Unconfirmed,
    /// A filter of the subscription, or of the mapping, may hold back events.
    Filtered,
    /// The mapping of the queue is not enabled: its id and state.
    MappingOff(String, String),
    /// The rule of EventBridge is disabled.
    RuleOff,
    /// The rule of EventBridge does not match all kinds of events.
    RuleMisses(Vec<&'static str>),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 => f.write_str("directly"),
            Self::Topic(topic) => write!(f, "by the topic {topic}"),
            Self::Queue(queue) => write!(f, "by the queue {queue}"),
            Self::TopicAndQueue(topic, queue) => {
                write!(f, "by the topic {topic} and the queue {queue}")
            }
            Self::EventBridge(rule) => write!(f, "by EventBridge's rule {rule}"),
        }
    }
}

/// All ways by which events of a bucket reach the function, also those that something stops.
pub fn routes<'f>(facts: &'f Facts, bucket: &'f Bucket) -> Vec<Route<'f>> {
    let (Some(function), Some(notifications)) = (&facts.function, &bucket.notifications) else {
        return Vec::new();
    };
    let is_function = |arn: &str| {
        let version = arn.strip_prefix(function.arn.as_str());
        version.is_some_and(|it| it.is_empty() || it.starts_with(':'))
    };
    let mut routes = Vec::new();
    for rule in &notifications.rules {
        let route = |by, stopped| Route {
            by,
            rule: Some(rule),
            stopped,
        };
        match &rule.destination {
            Destination::Function(arn) if is_function(arn) => {
                let may = may_invoke(facts, bucket);
                routes.push(route(By::S3, (!may).then_some(Stopped::NotPermitted)));
            }
            Destination::Queue(arn) if facts.intake().is_some_and(|it| it.arn() == arn) => {
                let stopped = stopped_at_intake(facts, bucket, arn);
                routes.push(route(By::Queue(arn.clone()), stopped));
            }
            Destination::Queue(arn) => {
                let mapping = mapping_of(facts, arn);
                let by = By::Queue(arn.clone());
                routes.extend(mapping.map(|it| route(by, stopped_by(it))));
            }
            Destination::Topic(arn) => {
                for it in facts
                    .topics
                    .get(arn)
                    .iter()
                    .flat_map(|it| &it.subscriptions)
                {
                    let stopped = match (it.is_confirmed, it.has_filter) {
                        (false, _) => Some(Stopped::Unconfirmed),
                        (true, true) => Some(Stopped::Filtered),
                        (true, false) => None,
                    };
                    if it.protocol == "lambda" && is_function(&it.endpoint) {
                        routes.push(route(By::Topic(arn.clone()), stopped));
                    } else if let Some(mapping) = mapping_of(facts, &it.endpoint) {
                        let by = By::TopicAndQueue(arn.clone(), it.endpoint.clone());
                        routes.push(route(by, stopped.or_else(|| stopped_by(mapping))));
                    }
                }
            }
            Destination::Function(_) => {}
        }
    }
    if notifications.event_bridge {
        let rules = facts.event_rules.iter().flatten();
        let rules = rules.filter(|it| it.includes(&bucket.name));
        routes.extend(rules.map(|it| Route {
            by: By::EventBridge(it.name.clone()),
            rule: None,
            stopped: match (it.is_enabled, it.misses.as_slice()) {
                (false, _) => Some(Stopped::RuleOff),
                (true, []) => None,
                (true, misses) => Some(Stopped::RuleMisses(misses.to_vec())),
            },
        }));
    }
    routes
}

/// What stops events at IntakeQueue. What could not be read stops nothing.
fn stopped_at_intake(facts: &Facts, bucket: &Bucket, arn: &str) -> Option<Stopped> {
    let policy = facts.intake()?.attributes.get("Policy");
    let policy = policy.map_or("", String::as_str);
    let mut takes = statements(policy).into_iter();
    if !takes.any(|it| it.is_for(&bucket.name, &facts.account)) {
        return Some(Stopped::NotTaken);
    }
    facts.mappings.as_ref()?;
    match mapping_of(facts, arn) {
        Some(mapping) => stopped_by(mapping),
        None => Some(Stopped::NotRead),
    }
}

fn mapping_of<'f>(facts: &'f Facts, queue: &str) -> Option<&'f Mapping> {
    let mut mappings = facts.mappings.iter().flatten();
    mappings.find(|it| it.source == queue)
}

fn stopped_by(mapping: &Mapping) -> Option<Stopped> {
    let is_on = ["Enabled", "Enabling", "Creating", "Updating"].contains(&mapping.state.as_str());
    match (is_on, mapping.has_filter) {
        (false, _) => Some(Stopped::MappingOff(
            mapping.id.clone(),
            mapping.state.clone(),
        )),
        (true, true) => Some(Stopped::Filtered),
        (true, false) => None,
    }
}

/// Whether S3 may invoke the function for a bucket. If the statements could not be read, it is not said that
/// it may not.
fn may_invoke(facts: &Facts, bucket: &Bucket) -> bool {
    let Some(permissions) = &facts.permissions else {
        return true;
    };
    let mut permissions = permissions.iter();
    permissions.any(|it| it.is_for(&bucket.name, &facts.account))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::facts::Permission;
    use crate::check::find::testing::facts;

    #[test]
    fn s3_may_invoke_the_function_for_buckets_that_a_statement_names() {
        for (source, account, expected) in [
            ("arn:aws:s3:::*", "123456789012", true),
            ("arn:aws:s3:::site", "123456789012", true),
            ("arn:aws:s3:::si?e", "", true),
            ("", "123456789012", true),
            ("arn:aws:s3:::other-*", "123456789012", false),
            ("arn:aws:s3:::site", "999999999999", false),
        ] {
            let mut facts = facts();
            facts.permissions = Some(vec![Permission {
                statement: "s".to_owned(),
                service: "s3.amazonaws.com".to_owned(),
                source: source.to_owned(),
                account: account.to_owned(),
            }]);
            let bucket = &facts.buckets[0];
            assert_eq!(may_invoke(&facts, bucket), expected, "{source} {account}");
            let routes = routes(&facts, bucket);
            assert_eq!(routes.len(), 1);
            assert_eq!(routes[0].stopped.is_none(), expected);
        }
    }
}
