//! What connecting or disconnecting a bucket would change. Pure.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{
    Event, EventBridgeConfiguration, LambdaFunctionConfiguration, NotificationConfiguration,
};
use invalidator_core::bucket_tags::{BucketTag, MAX_TAGS, is_of_exceptions};

use super::record::{Record, TagChange};
use super::settings::Settings;
use crate::notification::{Destination, EVENTS, Notifications, Rule};

/// The id of our rule, which the stack's output `ConnectBucket` uses too.
const ID: &str = "invalidator";

/// How events come to the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By the bucket's notifications.
    S3,
    /// By a rule of EventBridge.
    EventBridge,
}

/// Which tags are asked for. `None` leaves those tags as they are.
#[derive(Clone, Debug, Default)]
pub struct TagsWanted {
    pub exceptions: Option<Vec<BucketTag>>,
    pub index_document: Option<Option<BucketTag>>,
    pub only_changed: Option<Option<BucketTag>>,
}

/// Why a bucket cannot be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Rules of others whose events and keys ours would share.
    Overlaps(Vec<Rule>),
    /// Rules that send a part of the events to the function already.
    Partial(Vec<Rule>),
    /// A bucket has at most fifty tags.
    TooManyTags(usize),
    /// The rule cannot be written, which would be a bug.
    NoRule(String),
}

/// The settings after connecting it.
///
/// # Errors
/// What bars it.
pub fn connected(
    now: &Settings,
    function: &str,
    source: Source,
    wanted: &TagsWanted,
) -> Result<Settings, Bar> {
    let notifications = match source {
        Source::S3 => with_rule(&now.notifications, function)?,
        Source::EventBridge => with_event_bridge(&now.notifications),
    };
    let tags = with_tags(&now.tags, wanted);
    if tags.len() > MAX_TAGS {
        return Err(Bar::TooManyTags(tags.len()));
    }
    Ok(Settings {
        notifications,
        tags,
    })
}

fn with_rule(
    now: &NotificationConfiguration,
    function: &str,
) -> Result<NotificationConfiguration, Bar> {
    let ours = Rule::ours(function);
    let rules = Notifications::from(now).rules;
    let (own, others): (Vec<Rule>, Vec<Rule>) =
        rules.into_iter().partition(|rule| is_to(rule, function));
    let is_whole =
        |rule: &Rule| rule.has_all_keys() && EVENTS.iter().all(|event| rule.sends(event));
    match own.as_slice() {
        [] => {}
        own if own.iter().any(is_whole) => return Ok(now.clone()),
        _ => return Err(Bar::Partial(own)),
    }
    let overlapping: Vec<Rule> = others.into_iter().filter(|it| it.overlaps(&ours)).collect();
    if !overlapping.is_empty() {
        return Err(Bar::Overlaps(overlapping));
    }
    let mut changed = now.clone();
    let configuration = LambdaFunctionConfiguration::builder()
        .id(free_id(now))
        .lambda_function_arn(function)
        .set_events(Some(EVENTS.iter().map(|it| Event::from(*it)).collect()))
        .build()
        .map_err(|error| Bar::NoRule(error.to_string()))?;
    let functions = &mut changed.lambda_function_configurations;
    functions.get_or_insert_default().push(configuration);
    Ok(changed)
}

/// Ids of rules differ within a bucket.
fn free_id(now: &NotificationConfiguration) -> String {
    let rules = Notifications::from(now).rules;
    let is_free = |id: &String| rules.iter().all(|rule| rule.id != *id);
    let numbered = (2..).map(|number| format!("{ID}-{number}"));
    let mut ids = std::iter::once(ID.to_owned()).chain(numbered);
    ids.find(is_free).unwrap_or_else(|| ID.to_owned())
}

fn with_event_bridge(now: &NotificationConfiguration) -> NotificationConfiguration {
    let mut changed = now.clone();
    let event_bridge = &mut changed.event_bridge_configuration;
    event_bridge.get_or_insert_with(|| EventBridgeConfiguration::builder().build());
    changed
}

/// Whether a rule is for the function, or a version of it.
fn is_to(rule: &Rule, function: &str) -> bool {
    let Destination::Function(arn) = &rule.destination else {
        return false;
    };
    let version = arn.strip_prefix(function);
    version.is_some_and(|it| it.is_empty() || it.starts_with(':'))
}

fn with_tags(now: &[BucketTag], wanted: &TagsWanted) -> Vec<BucketTag> {
    let is_replaced = |tag: &BucketTag| match tag.key.as_str() {
        "indexDocument" => wanted.index_document.is_some(),
        "invalidate" => wanted.only_changed.is_some(),
        key => is_of_exceptions(key) && wanted.exceptions.is_some(),
    };
    let kept = now.iter().filter(|tag| !is_replaced(tag)).cloned();
    let exceptions = wanted.exceptions.iter().flatten();
    let index_document = wanted.index_document.iter().flatten();
    let only_changed = wanted.only_changed.iter().flatten();
    let new = exceptions.chain(index_document).chain(only_changed);
    kept.chain(new.cloned()).collect()
}

/// The settings after undoing what was recorded, and what is kept, for a person.
pub fn disconnected(
    now: &Settings,
    function: &str,
    record: Option<&Record>,
    others_use_event_bridge: bool,
) -> (Settings, Vec<String>) {
    let mut kept = Vec::new();
    let mut notifications = now.notifications.clone();
    if let Some(functions) = &mut notifications.lambda_function_configurations {
        functions.retain(|it| {
            let arn = it.lambda_function_arn.as_str();
            let version = arn.strip_prefix(function);
            !version.is_some_and(|it| it.is_empty() || it.starts_with(':'))
        });
    }
    if notifications.event_bridge_configuration.is_some() {
        match record {
            Some(record) if record.event_bridge && !others_use_event_bridge => {
                notifications.event_bridge_configuration = None;
            }
            Some(record) if record.event_bridge => kept.push(
                "EventBridge stays on: another rule gets events of this bucket, or that could not be seen".to_owned(),
            ),
            _ => {}
        }
    }
    let mut tags = now.tags.clone();
    for (key, change) in record.iter().flat_map(|it| &it.tags) {
        let current = value_of(&now.tags, key);
        if current == change.old.as_deref() {
            continue;
        }
        if current != change.new.as_deref() {
            kept.push(format!(
                "the tag {key} stays: somebody has changed it since"
            ));
            continue;
        }
        tags.retain(|tag| tag.key != *key);
        tags.extend(change.old.iter().map(|value| BucketTag {
            key: key.clone(),
            value: value.clone(),
        }));
    }
    (
        Settings {
            notifications,
            tags,
        },
        kept,
    )
}

fn value_of<'t>(tags: &'t [BucketTag], key: &str) -> Option<&'t str> {
    let tag = tags.iter().find(|tag| tag.key == key);
    tag.map(|tag| tag.value.as_str())
}

/// The tags that differ.
pub fn tag_changes(before: &[BucketTag], after: &[BucketTag]) -> BTreeMap<String, TagChange> {
    let keys = before.iter().chain(after).map(|tag| &tag.key);
    let changes = keys.map(|key| {
        let change = TagChange {
            old: value_of(before, key).map(str::to_owned),
            new: value_of(after, key).map(str::to_owned),
        };
        (key.clone(), change)
    });
    changes.filter(|(_, it)| it.old != it.new).collect()
}

/// The difference for a person, `+` what comes and `-` what goes.
pub fn difference(before: &Settings, after: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    let old = Notifications::from(&before.notifications);
    let new = Notifications::from(&after.notifications);
    let gone = old.rules.iter().filter(|rule| !new.rules.contains(rule));
    lines.extend(gone.map(|rule| format!("- notification: {rule}")));
    let come = new.rules.iter().filter(|rule| !old.rules.contains(rule));
    lines.extend(come.map(|rule| format!("+ notification: {rule}")));
    match (old.event_bridge, new.event_bridge) {
        (false, true) => lines.push("+ notification: all events to EventBridge".to_owned()),
        (true, false) => lines.push("- notification: all events to EventBridge".to_owned()),
        _ => {}
    }
    for (key, change) in tag_changes(&before.tags, &after.tags) {
        lines.extend(change.old.map(|value| format!("- tag {key}: {value}")));
        lines.extend(change.new.map(|value| format!("+ tag {key}: {value}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{
        FilterRule, FilterRuleName, NotificationConfigurationFilter, QueueConfiguration,
        S3KeyFilter, TopicConfiguration,
    };
    use proptest::prelude::*;

    use super::*;

    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:f";
    const OTHER: &str = "arn:aws:lambda:eu-west-1:123456789012:function:f2";

    fn tag(key: &str, value: &str) -> BucketTag {
        BucketTag {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    fn filter(prefix: &str) -> Option<NotificationConfigurationFilter> {
        let rule = FilterRule::builder()
            .name(FilterRuleName::Prefix)
            .value(prefix);
        let key = S3KeyFilter::builder().filter_rules(rule.build()).build();
        let filter = NotificationConfigurationFilter::builder().key(key).build();
        (!prefix.is_empty()).then_some(filter)
    }

    fn to_function(
        id: &str,
        arn: &str,
        events: &[&str],
        prefix: &str,
    ) -> LambdaFunctionConfiguration {
        LambdaFunctionConfiguration::builder()
            .id(id)
            .lambda_function_arn(arn)
            .set_events(Some(events.iter().map(|it| Event::from(*it)).collect()))
            .set_filter(filter(prefix))
            .build()
            .unwrap()
    }

    fn settings(functions: Vec<LambdaFunctionConfiguration>) -> Settings {
        let notifications = NotificationConfiguration::builder()
            .set_lambda_function_configurations(Some(functions))
            .build();
        Settings {
            notifications,
            tags: vec![
                tag("team", "web"),
                tag("exceptionPaths", "old"),
                tag("exceptionPaths2", "older"),
            ],
        }
    }

    fn connect(now: &Settings) -> Result<Settings, Bar> {
        connected(now, FUNCTION, Source::S3, &TagsWanted::default())
    }

    #[test]
    fn what_bars_a_connection_is_told_with_its_rules() {
        let all = &EVENTS[..];
        let created = &["s3:ObjectCreated:Put"][..];
        let restored = &["s3:ObjectRestore:*"][..];
        let row = |id, arn, events, prefix| settings(vec![to_function(id, arn, events, prefix)]);
        assert!(connect(&settings(Vec::new())).is_ok());
        assert!(connect(&row("a", OTHER, restored, "")).is_ok());
        let whole = row("mine", FUNCTION, all, "");
        assert_eq!(connect(&whole).unwrap(), whole, "nothing is changed");
        for (now, is_overlap) in [
            (row("a", OTHER, all, ""), true),
            (row("a", OTHER, created, "img/"), true),
            (row("invalidator", OTHER, all, ""), true),
            (row("mine", FUNCTION, all, "img/"), false),
            (row("mine", FUNCTION, created, ""), false),
        ] {
            let bar = connect(&now).unwrap_err();
            assert_eq!(matches!(bar, Bar::Overlaps(_)), is_overlap, "{bar:?}");
            assert_eq!(matches!(bar, Bar::Partial(_)), !is_overlap, "{bar:?}");
        }
    }

    #[test]
    fn the_id_of_our_rule_is_not_taken_from_another() {
        let now = settings(vec![to_function(
            "invalidator",
            OTHER,
            &["s3:ObjectRestore:*"],
            "",
        )]);
        let after = Notifications::from(&connect(&now).unwrap().notifications);
        let ids: Vec<_> = after.rules.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["invalidator", "invalidator-2"]);
    }

    #[test]
    fn our_tags_are_replaced_and_the_others_stay() {
        let wanted = TagsWanted {
            exceptions: Some(vec![tag("exceptionPaths", "new")]),
            index_document: Some(Some(tag("indexDocument", "index.html"))),
            only_changed: None,
        };
        let before = settings(Vec::new());
        let after = connected(&before, FUNCTION, Source::EventBridge, &wanted).unwrap();
        let expected = [
            tag("team", "web"),
            tag("exceptionPaths", "new"),
            tag("indexDocument", "index.html"),
        ];
        assert_eq!(after.tags, expected);
        assert_eq!(
            difference(&before, &after),
            [
                "+ notification: all events to EventBridge",
                "- tag exceptionPaths: old",
                "+ tag exceptionPaths: new",
                "- tag exceptionPaths2: older",
                "+ tag indexDocument: index.html",
            ]
        );
        let mut many = before.clone();
        many.tags = (0..50).map(|n| tag(&format!("t{n}"), "")).collect();
        let bar = connected(&many, FUNCTION, Source::S3, &wanted).unwrap_err();
        assert_eq!(bar, Bar::TooManyTags(52));
    }

    fn record(before: &Settings, after: &Settings) -> Record {
        let turns_on = before.notifications.event_bridge_configuration.is_none()
            && after.notifications.event_bridge_configuration.is_some();
        let mut record = Record::new("site", FUNCTION);
        record.add(turns_on, None, tag_changes(&before.tags, &after.tags));
        record
    }

    #[test]
    fn what_somebody_changed_since_is_kept() {
        let before = settings(Vec::new());
        let wanted = TagsWanted {
            exceptions: Some(vec![tag("exceptionPaths", "new")]),
            ..TagsWanted::default()
        };
        let mut after = connected(&before, FUNCTION, Source::EventBridge, &wanted).unwrap();
        let record = record(&before, &after);
        after.tags.retain(|it| it.key != "exceptionPaths");
        after.tags.push(tag("exceptionPaths", "newer"));
        let (undone, kept) = disconnected(&after, FUNCTION, Some(&record), true);
        assert!(undone.notifications.event_bridge_configuration.is_some());
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(undone.tags.contains(&tag("exceptionPaths", "newer")));
        assert!(
            undone.tags.contains(&tag("exceptionPaths2", "older")),
            "it is given back"
        );
    }

    fn any_settings() -> impl Strategy<Value = Settings> {
        let event = prop::sample::select(vec![
            "s3:ObjectCreated:*",
            "s3:ObjectCreated:Put",
            "s3:ObjectRemoved:*",
            "s3:ObjectRestore:Post",
            "s3:ObjectTagging:*",
            "s3:Unknown:New",
        ]);
        let rule = (0..4_usize, prop::collection::vec(event, 1..3), "[ab]{0,2}");
        let rules = prop::collection::vec(rule, 0..5);
        let keys = prop::sample::select(vec!["team", "exceptionPaths", "indexDocument", "aws:x"]);
        let tags = prop::collection::btree_map(keys, "[a-c]{0,2}", 0..4);
        (rules, tags, any::<bool>()).prop_map(|(rules, tags, event_bridge)| {
            let mut all = NotificationConfiguration::builder();
            for (place, (kind, events, prefix)) in rules.into_iter().enumerate() {
                let id = format!("rule-{place}");
                let events = || Some(events.iter().map(|it| Event::from(*it)).collect());
                all = match kind {
                    0 => all.topic_configurations(
                        TopicConfiguration::builder()
                            .id(id)
                            .topic_arn("arn:t")
                            .set_events(events())
                            .set_filter(filter(&prefix))
                            .build()
                            .unwrap(),
                    ),
                    1 => all.queue_configurations(
                        QueueConfiguration::builder()
                            .id(id)
                            .queue_arn("arn:q")
                            .set_events(events())
                            .set_filter(filter(&prefix))
                            .build()
                            .unwrap(),
                    ),
                    _ => all.lambda_function_configurations(
                        LambdaFunctionConfiguration::builder()
                            .id(id)
                            .lambda_function_arn(OTHER)
                            .set_events(events())
                            .set_filter(filter(&prefix))
                            .build()
                            .unwrap(),
                    ),
                };
            }
            if event_bridge {
                all = all.event_bridge_configuration(EventBridgeConfiguration::builder().build());
            }
            Settings {
                notifications: all.build(),
                tags: tags
                    .into_iter()
                    .map(|(key, value)| tag(key, &value))
                    .collect(),
            }
        })
    }

    /// With no list and an empty list alike, and tags in any order.
    fn normal(mut settings: Settings) -> Settings {
        let functions = &mut settings.notifications.lambda_function_configurations;
        if functions.as_ref().is_some_and(Vec::is_empty) {
            *functions = None;
        }
        settings.tags.sort_by(|a, b| a.key.cmp(&b.key));
        settings
    }

    proptest! {
        /// Whatever others have set, connecting keeps it, and disconnecting gives back what was before.
        #[test]
        fn connecting_and_disconnecting_changes_nothing_of_others(
            before in any_settings(),
            by_event_bridge in any::<bool>(),
            sets_tags in any::<bool>(),
        ) {
            let source = if by_event_bridge { Source::EventBridge } else { Source::S3 };
            let wanted = match sets_tags {
                true => TagsWanted {
                    exceptions: Some(vec![tag("exceptionPaths", "new")]),
                    index_document: Some(None),
                    only_changed: Some(Some(tag("invalidate", "changed"))),
                },
                false => TagsWanted::default(),
            };
            let Ok(after) = connected(&before, FUNCTION, source, &wanted) else {
                return Ok(());
            };
            let (old, new) = (
                Notifications::from(&before.notifications).rules,
                Notifications::from(&after.notifications).rules,
            );
            prop_assert!(old.iter().all(|rule| new.contains(rule)));
            for (place, rule) in new.iter().enumerate() {
                let mut others = new[place + 1..].iter();
                // What others have may overlap among itself here; ours overlaps with nothing.
                prop_assert!(!is_to(rule, FUNCTION) || !others.any(|it| it.overlaps(rule)));
            }
            for foreign in before.tags.iter().filter(|it| ["team", "aws:x"].contains(&it.key.as_str())) {
                prop_assert!(after.tags.contains(foreign));
            }
            let again = connected(&after, FUNCTION, source, &wanted);
            prop_assert_eq!(again.map(normal), Ok(normal(after.clone())), "a second time changes nothing");
            let (undone, kept) = disconnected(&after, FUNCTION, Some(&record(&before, &after)), false);
            prop_assert!(kept.is_empty());
            prop_assert_eq!(normal(undone), normal(before));
        }
    }
}
