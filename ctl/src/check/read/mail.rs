//! Reads the topic of the mails, and the topics to which buckets send.

use std::collections::{BTreeMap, BTreeSet};

use super::looking::Looking;
use crate::check::facts::{Bucket, Mail, Subscription, Topic};
use crate::check::finding::Subject;
use crate::notification::Destination;

pub async fn mail(looking: &Looking<'_>, topic: &str) -> Option<Mail> {
    if topic.is_empty() {
        looking.no_output(&Subject::Mail, "AlertTopicArn");
        return None;
    }
    let sns = looking.account.clients.sns();
    let attributes = sns.get_topic_attributes().topic_arn(topic).send().await;
    let (subject, what) = (Subject::Mail, "the topic of mails");
    let attributes = looking.keep(&subject, what, "SNS GetTopicAttributes", attributes)?;
    let attributes = attributes.attributes.unwrap_or_default();
    Some(Mail {
        topic: topic.to_owned(),
        subscriptions: subscriptions(looking, &subject, topic, false).await?,
        key: attributes
            .get("KmsMasterKeyId")
            .cloned()
            .unwrap_or_default(),
    })
}

/// The topics to which the buckets send their events.
pub async fn topics(looking: &Looking<'_>, buckets: &[Bucket]) -> BTreeMap<String, Topic> {
    let mut all = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for bucket in buckets {
        let rules = bucket.notifications.iter().flat_map(|it| &it.rules);
        for rule in rules {
            let Destination::Topic(arn) = &rule.destination else {
                continue;
            };
            if !seen.insert(arn.clone()) {
                continue;
            }
            let subject = bucket.subject();
            if let Some(subscriptions) = subscriptions(looking, &subject, arn, true).await {
                all.insert(arn.clone(), Topic { subscriptions });
            }
        }
    }
    all
}

async fn subscriptions(
    looking: &Looking<'_>,
    subject: &Subject,
    topic: &str,
    with_filters: bool,
) -> Option<Vec<Subscription>> {
    let sns = looking.account.clients.sns();
    let what = format!("who is subscribed to {topic}");
    let mut all = Vec::new();
    let mut token = None;
    loop {
        let call = sns.list_subscriptions_by_topic().topic_arn(topic);
        let answer = call.set_next_token(token.take()).send().await;
        let answer = looking.keep(subject, &what, "SNS ListSubscriptionsByTopic", answer)?;
        for it in answer.subscriptions.unwrap_or_default() {
            let arn = it.subscription_arn.unwrap_or_default();
            let is_confirmed = arn.starts_with("arn:");
            let has_filter = match with_filters && is_confirmed {
                true => has_filter(looking, subject, &arn).await.unwrap_or(false),
                false => false,
            };
            all.push(Subscription {
                protocol: it.protocol.unwrap_or_default(),
                endpoint: it.endpoint.unwrap_or_default(),
                is_confirmed,
                has_filter,
            });
        }
        token = answer.next_token.filter(|it| !it.is_empty());
        if token.is_none() {
            return Some(all);
        }
    }
}

async fn has_filter(looking: &Looking<'_>, subject: &Subject, subscription: &str) -> Option<bool> {
    let sns = looking.account.clients.sns();
    let call = sns
        .get_subscription_attributes()
        .subscription_arn(subscription);
    let action = "SNS GetSubscriptionAttributes";
    let answer = looking.keep(subject, "a subscription", action, call.send().await)?;
    let attributes = answer.attributes.unwrap_or_default();
    let filter = attributes.get("FilterPolicy").map_or("", String::as_str);
    Some(!["", "{}", "null"].contains(&filter.trim()))
}
