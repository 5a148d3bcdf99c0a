//! What connecting or disconnecting a bucket would change. Pure.

use std::collections::BTreeMap;

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types::{
    Event, EventBridgeConfiguration, LambdaFunctionConfiguration, NotificationConfiguration,
    QueueConfiguration,
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
    /// By the bucket's notifications to IntakeQueue.
    Sqs,
    /// By a rule of EventBridge.
    EventBridge,
}

/// What receives the events of buckets in the stack.
#[derive(Clone, Copy, Debug)]
pub struct Receivers<'a> {
    /// The ARN of the function.
    pub function: &'a str,
    /// The ARN of IntakeQueue.
    pub intake: &'a str,
}

impl Receivers<'_> {
    /// Whether a rule sends to the stack, whatever its source is.
    fn includes(self, rule: &Rule) -> bool {
        match &rule.destination {
            Destination::Function(arn) => self.is_function(arn),
            Destination::Queue(arn) => arn == self.intake,
            Destination::Topic(_) => false,
        }
    }

    /// Whether it is the function, or a version of it.
    fn is_function(self, arn: &str) -> bool {
        let version = arn.strip_prefix(self.function);
        version.is_some_and(|it| it.is_empty() || it.starts_with(':'))
    }
}

/// What becomes of a rule that sends only a part of a bucket to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It bars the connection: somebody may have chosen that part.
    AsChosen,
    /// A rule for the whole bucket takes its place.
    Whole,
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
    receivers: Receivers<'_>,
    source: Source,
    extent: Extent,
    wanted: &TagsWanted,
) -> Result<Settings, Bar> {
    let to = |destination| with_rule(&now.notifications, receivers, extent, destination);
    let notifications = match source {
        Source::S3 => to(Destination::Function(receivers.function.to_owned()))?,
        Source::Sqs => to(Destination::Queue(receivers.intake.to_owned()))?,
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

/// With a rule that sends the whole bucket to one receiver of the stack. A rule that sends it to the other one, from
/// before `EventSource` was changed, goes.
fn with_rule(
    now: &NotificationConfiguration,
    receivers: Receivers<'_>,
    extent: Extent,
    destination: Destination,
) -> Result<NotificationConfiguration, Bar> {
    let is_kind = |rule: &Rule| {
        let is_queue = |it: &Destination| matches!(it, Destination::Queue(_));
        is_queue(&rule.destination) == is_queue(&destination)
    };
    let rules = Notifications::from(now).rules;
    let (own, others): (Vec<Rule>, Vec<Rule>) =
        rules.into_iter().partition(|rule| receivers.includes(rule));
    let mut changed = now.clone();
    match own.as_slice() {
        [] => {}
        own if own.iter().any(|rule| is_kind(rule) && rule.is_whole()) => return Ok(changed),
        [only] if only.is_whole() => without(&mut changed, receivers),
        _ if extent == Extent::Whole => without(&mut changed, receivers),
        _ => return Err(Bar::Partial(own)),
    }
    let ours = Rule::of_whole_bucket(destination);
    let overlapping: Vec<Rule> = others.into_iter().filter(|it| it.overlaps(&ours)).collect();
    if !overlapping.is_empty() {
        return Err(Bar::Overlaps(overlapping));
    }
    add(&mut changed, &ours.destination).map_err(|error| Bar::NoRule(error.to_string()))?;
    Ok(changed)
}

/// Adds our rule.
fn add(all: &mut NotificationConfiguration, destination: &Destination) -> Result<(), BuildError> {
    let id = free_id(all);
    let events = Some(EVENTS.iter().map(|it| Event::from(*it)).collect());
    match destination {
        Destination::Queue(arn) => {
            let rule = QueueConfiguration::builder().id(id).queue_arn(arn);
            let rule = rule.set_events(events).build()?;
            all.queue_configurations.get_or_insert_default().push(rule);
        }
        Destination::Function(arn) | Destination::Topic(arn) => {
            let rule = LambdaFunctionConfiguration::builder();
            let rule = rule.id(id).lambda_function_arn(arn);
            let rule = rule.set_events(events).build()?;
            let functions = &mut all.lambda_function_configurations;
            functions.get_or_insert_default().push(rule);
        }
    }
    Ok(())
}

/// Removes all rules that send to the stack.
fn without(all: &mut NotificationConfiguration, receivers: Receivers<'_>) {
    if let Some(functions) = &mut all.lambda_function_configurations {
        functions.retain(|it| !receivers.is_function(&it.lambda_function_arn));
    }
    if let Some(queues) = &mut all.queue_configurations {
        queues.retain(|it| it.queue_arn != receivers.intake);
    }
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
    receivers: Receivers<'_>,
    record: Option<&Record>,
    others_use_event_bridge: bool,
) -> (Settings, Vec<String>) {
    let mut kept = Vec::new();
    let mut notifications = now.notifications.clone();
    without(&mut notifications, receivers);
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
        FilterRule, FilterRuleName, NotificationConfigurationFilter, S3KeyFilter,
        TopicConfiguration,
    };
    use proptest::prelude::*;

    use super::*;

    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:f";
    const OTHER: &str = "arn:aws:lambda:eu-west-1:123456789012:function:f2";
    const RECEIVERS: Receivers<'_> = Receivers {
        function: FUNCTION,
        intake: "arn:aws:sqs:eu-west-1:123456789012:intake",
    };

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
        connected(
            now,
            RECEIVERS,
            Source::S3,
            Extent::AsChosen,
            &TagsWanted::default(),
        )
    }

    #[test]
    fn a_bucket_is_moved_to_the_source_of_the_stack_and_back() {
        let to = |now: &Settings, source| {
            let tags = TagsWanted::default();
            connected(now, RECEIVERS, source, Extent::AsChosen, &tags)
        };
        let mut others = settings(vec![to_function("a", OTHER, &["s3:ObjectRestore:*"], "")]);
        let queue = QueueConfiguration::builder()
            .id("b")
            .queue_arn("arn:aws:sqs:eu-west-1:123456789012:intake2");
        let queue = queue.events(Event::from("s3:ObjectTagging:*")).build();
        others.notifications.queue_configurations = Some(vec![queue.unwrap()]);
        let direct = to(&others, Source::S3).unwrap();
        let queued = to(&others, Source::Sqs).unwrap();
        let id = "invalidator";
        let events = EVENTS.join(" ");
        let (function, intake) = (RECEIVERS.function, RECEIVERS.intake);
        assert_eq!(
            difference(&direct, &queued),
            [
                format!("- notification: {events} to function {function} (rule {id})"),
                format!("+ notification: {events} to queue {intake} (rule {id})"),
            ]
        );
        assert_eq!(to(&direct, Source::Sqs).unwrap(), queued);
        assert_eq!(to(&queued, Source::S3).unwrap(), direct);
        assert_eq!(to(&queued, Source::Sqs).unwrap(), queued);
        for connected in [direct, queued] {
            let (undone, _) = disconnected(&connected, RECEIVERS, None, false);
            assert_eq!(undone, others);
        }
        // A part that somebody chose is not widened.
        let mut partial = others.clone();
        let functions = &mut partial.notifications.lambda_function_configurations;
        functions
            .get_or_insert_default()
            .push(to_function("p", FUNCTION, &EVENTS, "img/"));
        assert!(matches!(to(&partial, Source::Sqs), Err(Bar::Partial(_))));
        // What overlaps with a rule of another bars the queue, too.
        let overlapping = settings(vec![to_function("a", OTHER, &EVENTS, "")]);
        assert!(matches!(
            to(&overlapping, Source::Sqs),
            Err(Bar::Overlaps(_))
        ));
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
    fn a_partial_rule_is_widened_in_one_step_where_that_is_asked_for() {
        let whole = |now: &Settings, source| {
            let tags = TagsWanted::default();
            connected(now, RECEIVERS, source, Extent::Whole, &tags)
        };
        let rest = to_function("r", OTHER, &["s3:ObjectRestore:*"], "");
        let created = &["s3:ObjectCreated:*"][..];
        for own in [
            vec![to_function("mine", FUNCTION, &EVENTS, "img/")],
            vec![to_function("mine", FUNCTION, created, "")],
            vec![
                to_function("mine", FUNCTION, created, "img/"),
                to_function("mine-2", FUNCTION, created, "news/"),
            ],
        ] {
            let before = settings([own, vec![rest.clone()]].concat());
            for source in [Source::S3, Source::Sqs] {
                let after = whole(&before, source).unwrap();
                let rules = Notifications::from(&after.notifications).rules;
                let (ours, others): (Vec<_>, Vec<_>) =
                    rules.into_iter().partition(|it| RECEIVERS.includes(it));
                assert!(ours.len() == 1 && ours[0].is_whole(), "{ours:?}");
                assert_eq!(
                    others,
                    Notifications::from(&settings(vec![rest.clone()]).notifications).rules
                );
                assert_eq!(after.tags, before.tags, "no tag is lost");
            }
        }
        // S3 would refuse a whole rule beside one of another.
        let shared = settings(vec![
            to_function("mine", FUNCTION, &EVENTS, "img/"),
            to_function("a", OTHER, created, "docs/"),
        ]);
        let bar = whole(&shared, Source::S3).unwrap_err();
        assert!(
            matches!(&bar, Bar::Overlaps(rules) if rules.len() == 1),
            "{bar:?}"
        );
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
        let after = connected(
            &before,
            RECEIVERS,
            Source::EventBridge,
            Extent::AsChosen,
            &wanted,
        )
        .unwrap();
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
        let bar = connected(&many, RECEIVERS, Source::S3, Extent::AsChosen, &wanted).unwrap_err();
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
        let mut after = connected(
            &before,
            RECEIVERS,
            Source::EventBridge,
            Extent::AsChosen,
            &wanted,
        )
        .unwrap();
        let record = record(&before, &after);
        after.tags.retain(|it| it.key != "exceptionPaths");
        after.tags.push(tag("exceptionPaths", "newer"));
        let (undone, kept) = disconnected(&after, RECEIVERS, Some(&record), true);
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
        let queues = &mut settings.notifications.queue_configurations;
        if queues.as_ref().is_some_and(Vec::is_empty) {
            *queues = None;
        }
        settings.tags.sort_by(|a, b| a.key.cmp(&b.key));
        settings
    }

    proptest! {
        /// Whatever others have set, connecting keeps it, and disconnecting gives back what was before.
        #[test]
        fn connecting_and_disconnecting_changes_nothing_of_others(
            before in any_settings(),
            source in prop::sample::select(vec![Source::S3, Source::Sqs, Source::EventBridge]),
            extent in prop::sample::select(vec![Extent::AsChosen, Extent::Whole]),
            sets_tags in any::<bool>(),
        ) {
            let wanted = match sets_tags {
                true => TagsWanted {
                    exceptions: Some(vec![tag("exceptionPaths", "new")]),
                    index_document: Some(None),
                    only_changed: Some(Some(tag("invalidate", "changed"))),
                },
                false => TagsWanted::default(),
            };
            let Ok(after) = connected(&before, RECEIVERS, source, extent, &wanted) else {
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
                prop_assert!(!RECEIVERS.includes(rule) || !others.any(|it| it.overlaps(rule)));
            }
            for foreign in before.tags.iter().filter(|it| ["team", "aws:x"].contains(&it.key.as_str())) {
                prop_assert!(after.tags.contains(foreign));
            }
            let again = connected(&after, RECEIVERS, source, extent, &wanted);
            prop_assert_eq!(again.map(normal), Ok(normal(after.clone())), "a second time changes nothing");
            let (undone, kept) = disconnected(&after, RECEIVERS, Some(&record(&before, &after)), false);
            prop_assert!(kept.is_empty());
            prop_assert_eq!(normal(undone), normal(before));
        }
    }
}
