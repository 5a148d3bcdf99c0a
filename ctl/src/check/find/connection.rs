//! Whether each bucket is connected, how, and what does not come through.

use super::routes::{By, Route, Stopped, routes};
use super::served::served_by;
use crate::check::facts::{Bucket, Facts, Whereabouts};
use crate::check::finding::{Finding, Findings, Subject};
use crate::notification::{Destination, SENT};
use crate::quote::{command, set_parameter};

pub fn find(facts: &Facts, found: &mut Findings) {
    for bucket in &facts.buckets {
        // What is not here, `origins` tells.
        if bucket.whereabouts != Whereabouts::Here || bucket.notifications.is_none() {
            continue;
        }
        let routes = routes(facts, bucket);
        if routes.is_empty() {
            if are_known(facts, bucket) {
                not_connected(facts, bucket, found);
            }
            continue;
        }
        for route in &routes {
            stopped(facts, bucket, route, found);
        }
        if facts.stack.uses_sqs() && routes.iter().any(|it| it.by == By::S3) {
            found.add(
                Finding::note(
                    "not-by-intake",
                    &bucket.subject(),
                    "its events come directly, though EventSource is SQS",
                    "each change is an invocation of its own",
                )
                .fix(connect(bucket)),
            );
        }
        let open: Vec<_> = routes.iter().filter(|it| is_open(it)).collect();
        if open.is_empty() {
            continue;
        }
        let is_whole = missing(bucket, &open, found);
        if is_whole {
            let by: Vec<String> = open.iter().map(|it| it.by.to_string()).collect();
            found.well(
                &bucket.subject(),
                format!("all its changes come to the function {}", by.join(", and ")),
            );
        }
    }
    if facts.buckets_not_asked > 0 {
        found.add(
            Finding::note(
                "buckets-not-asked",
                &Subject::Stack,
                format!(
                    "{} further buckets, which are no origin, were not asked whether they are connected",
                    facts.buckets_not_asked
                ),
                "one that is connected without need costs events",
            )
            .fix("invalidatorctl check --only BUCKET"),
        );
    }
}

/// Whether all ways to the function are known: that one could not be looked at is told already.
fn are_known(facts: &Facts, bucket: &Bucket) -> bool {
    let rules = bucket.notifications.iter().flat_map(|it| &it.rules);
    let are_topics_known = rules.into_iter().all(|rule| match &rule.destination {
        Destination::Topic(arn) => facts.topics.contains_key(arn),
        Destination::Function(_) | Destination::Queue(_) => true,
    });
    let are_others_known =
        facts.function.is_some() && facts.mappings.is_some() && facts.event_rules.is_some();
    are_topics_known && are_others_known
}

/// Whether all, or at least some events come through.
fn is_open(route: &Route<'_>) -> bool {
    matches!(route.stopped, None | Some(Stopped::Filtered))
}

fn connect(bucket: &Bucket) -> String {
    command(["invalidatorctl", "connect", &bucket.name])
}

fn not_connected(facts: &Facts, bucket: &Bucket, found: &mut Findings) {
    let subject = bucket.subject();
    let served = served_by(facts, bucket);
    let event_bridge = bucket
        .notifications
        .as_ref()
        .is_some_and(|it| it.event_bridge);
    let in_rule = facts.event_rules.iter().flatten();
    let in_rule = in_rule.filter(|it| it.includes(&bucket.name)).count() > 0;
    let uses_event_bridge = facts.stack.parameter("EventSource") == "EventBridge";
    let why = match served.as_slice() {
        [] => "its changes are not invalidated".to_owned(),
        served => format!("its changes are not invalidated in {}", served.join(", ")),
    };
    let finding = match (uses_event_bridge || in_rule, event_bridge, in_rule) {
        (true, false, _) => Finding::problem(
            "event-bridge-off",
            &subject,
            "it sends no events to EventBridge",
            why,
        )
        .fix(connect(bucket)),
        (true, true, false) => {
            let known = facts.stack.parameter("EventBridgeBuckets");
            let all = match known {
                "" => bucket.name.clone(),
                known => format!("{known},{}", bucket.name),
            };
            Finding::problem(
                "not-in-event-rule",
                &subject,
                "EventBridgeBuckets does not name it",
                why,
            )
            .fix(set_parameter(
                &facts.stack.name,
                &facts.stack.parameters,
                "EventBridgeBuckets",
                &all,
            ))
        }
        _ => Finding::warning(
            "bucket-not-connected",
            &subject,
            "it is not connected: none of its events reach the function",
            why,
        )
        .fix(connect(bucket)),
    };
    found.add(finding);
}

fn stopped(facts: &Facts, bucket: &Bucket, route: &Route<'_>, found: &mut Findings) {
    let subject = bucket.subject();
    let Some(stopped) = &route.stopped else {
        return;
    };
    let by = &route.by;
    let finding = match stopped {
        Stopped::NotPermitted => Finding::problem(
            "s3-may-not-invoke",
            &subject,
            "S3 may not invoke the function for this bucket",
            "S3 drops its events",
        )
        .fix(connect(bucket)),
        Stopped::NotTaken => Finding::problem(
            "intake-refuses",
            &subject,
            "the policy of IntakeQueue lets S3 send nothing of this bucket",
            "S3 drops its events",
        )
        .fix("# S3Buckets must fit its name:")
        .fix("sam deploy"),
        Stopped::NotRead => Finding::problem(
            "intake-not-read",
            &subject,
            "its events go to IntakeQueue, from which the function gets nothing",
            "its events wait there, and are lost after 14 days",
        )
        .fix(match facts.stack.uses_sqs() {
            true => "sam deploy".to_owned(),
            false => connect(bucket),
        }),
        Stopped::Unconfirmed => Finding::problem(
            "subscription-unconfirmed",
            &subject,
            format!("its events go {by}, whose subscription is not confirmed"),
            "its events stop there",
        ),
        Stopped::Filtered => Finding::warning(
            "events-filtered",
            &subject,
            format!("its events go {by}, where a filter may hold them back"),
            "what is held back is never invalidated",
        ),
        Stopped::MappingOff(id, state) => Finding::problem(
            "input-mapping-off",
            &subject,
            format!("its events go {by}, whose event source mapping is {state}"),
            "its events wait there, and are lost when the queue drops them",
        )
        .fix(command([
            "aws",
            "lambda",
            "update-event-source-mapping",
            "--uuid",
            id,
            "--enabled",
        ])),
        Stopped::RuleMisses(kinds) => Finding::problem(
            "events-missing",
            &subject,
            format!(
                "its events go {by}, which leaves out {}",
                kinds.join(" and ")
            ),
            "such changes are never invalidated",
        )
        .fix("sam deploy"),
        Stopped::RuleOff => {
            let By::EventBridge(rule) = by else { return };
            Finding::problem(
                "event-rule-off",
                &subject,
                format!("EventBridge's rule {rule} is disabled"),
                "its events are dropped",
            )
            .fix(command(["aws", "events", "enable-rule", "--name", rule]))
        }
    };
    found.add(finding);
}

/// Tells which events do not come, or only of some keys. Returns whether all come.
fn missing(bucket: &Bucket, open: &[&Route<'_>], found: &mut Findings) -> bool {
    let subject = bucket.subject();
    let sends = |route: &&&Route<'_>, event: &str| route.rule.is_none_or(|rule| rule.sends(event));
    let has_all = |route: &Route<'_>| route.rule.is_none_or(|rule| rule.has_all_keys());
    let none: Vec<&str> = SENT
        .into_iter()
        .filter(|event| !open.iter().any(|route| sends(&route, event)))
        .collect();
    let mut is_whole = none.is_empty();
    let (lifecycle, serious): (Vec<&str>, Vec<&str>) = none
        .iter()
        .partition(|event| event.starts_with("s3:LifecycleExpiration"));
    let widen = format!("{} --whole", connect(bucket));
    if !serious.is_empty() {
        found.add(
            Finding::problem(
                "events-missing",
                &subject,
                format!("it does not send {}", serious.join(", ")),
                "such changes are never invalidated",
            )
            .fix(&widen),
        );
    }
    if !lifecycle.is_empty() {
        found.add(
            Finding::warning(
                "lifecycle-events-missing",
                &subject,
                format!("it does not send {}", lifecycle.join(", ")),
                "objects that lifecycle removes stay in CloudFront",
            )
            .fix(&widen),
        );
    }
    let is_hidden = |event: &&str| {
        let mut routes = open.iter().filter(|route| sends(route, event)).peekable();
        routes.peek().is_some() && !routes.any(|route| has_all(route))
    };
    if SENT.iter().any(is_hidden) {
        is_whole = false;
        let rules = open.iter().filter_map(|route| route.rule);
        let rules = rules.filter(|rule| !rule.has_all_keys());
        let rules: Vec<String> = rules.map(ToString::to_string).collect();
        found.add(
            Finding::warning(
                "filter-hides-keys",
                &subject,
                format!("it sends only {}", rules.join("; ")),
                "changes of other keys are never invalidated",
            )
            .fix("# unless no other key is served:")
            .fix(widen),
        );
    }
    is_whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::facts::{EventRule, Mapping, Subscription, Topic};
    use crate::check::find::testing::{FUNCTION, facts, rules};
    use crate::notification::{Notifications, Rule};

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:changes";
    const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:changes";

    fn rule(destination: Destination, events: &[&str], prefix: &str) -> Rule {
        Rule {
            id: "r".to_owned(),
            destination,
            events: events.iter().map(|it| (*it).to_owned()).collect(),
            prefix: prefix.to_owned(),
            suffix: String::new(),
        }
    }

    fn found_with(rules_of_bucket: Vec<Rule>) -> Vec<&'static str> {
        let mut facts = facts();
        facts.buckets[0].notifications = Some(Notifications {
            rules: rules_of_bucket,
            event_bridge: false,
        });
        rules(&facts, find)
    }

    #[test]
    fn what_a_bucket_does_not_send_is_found() {
        let us = || Destination::Function(FUNCTION.to_owned());
        let all = [
            "s3:ObjectCreated:*",
            "s3:ObjectRemoved:*",
            "s3:LifecycleExpiration:*",
        ];
        let other = Destination::Function(
            "arn:aws:lambda:eu-west-1:123456789012:function:other".to_owned(),
        );
        for (row, expected) in [
            (vec![rule(us(), &all, "")], &[][..]),
            (vec![], &["bucket-not-connected"]),
            (vec![rule(other, &all, "")], &["bucket-not-connected"]),
            (
                vec![rule(us(), &all[..1], "")],
                &["events-missing", "lifecycle-events-missing"],
            ),
            (
                vec![rule(us(), &all[..2], "")],
                &["lifecycle-events-missing"],
            ),
            (
                vec![rule(us(), &["s3:ObjectCreated:Put", all[1], all[2]], "")],
                &["events-missing"],
            ),
            (vec![rule(us(), &all, "docs/")], &["filter-hides-keys"]),
            (
                vec![rule(us(), &all[..1], ""), rule(us(), &all[1..], "docs/")],
                &["filter-hides-keys"],
            ),
            (
                vec![rule(us(), &all[..1], ""), rule(us(), &all[1..], "")],
                &[],
            ),
        ] {
            let shown = format!("{row:?}");
            assert_eq!(found_with(row), expected, "{shown}");
        }
    }

    #[test]
    fn what_goes_by_the_queue_of_the_stack_is_told() {
        let intake = "arn:aws:sqs:eu-west-1:123456789012:IntakeQueue";
        let to_intake = || Rule::of_whole_bucket(Destination::Queue(intake.to_owned()));
        let mapping = || Mapping {
            id: "i".to_owned(),
            source: intake.to_owned(),
            state: "Enabled".to_owned(),
            reports_items: true,
            has_filter: false,
        };
        let off = || Mapping {
            state: "Disabled".to_owned(),
            ..mapping()
        };
        let sources = |source: &str| {
            format!(
                r#"{{"Statement":[{{"Effect":"Allow","Principal":{{"Service":"s3.amazonaws.com"}},
                "Condition":{{"ArnLike":{{"aws:SourceArn":"arn:aws:s3:::{source}"}}}}}}]}}"#
            )
        };
        for (source, rule, mapping, taken, expected) in [
            ("SQS", to_intake(), Some(mapping()), "*", &[][..]),
            ("SQS", to_intake(), Some(off()), "*", &["input-mapping-off"]),
            ("SQS", to_intake(), None, "*", &["intake-not-read"]),
            ("S3", to_intake(), None, "*", &["intake-not-read"]),
            (
                "SQS",
                to_intake(),
                Some(mapping()),
                "other",
                &["intake-refuses"],
            ),
            (
                "SQS",
                Rule::ours(FUNCTION),
                Some(mapping()),
                "*",
                &["not-by-intake"],
            ),
            ("S3", Rule::ours(FUNCTION), None, "*", &[]),
        ] {
            let mut facts = facts();
            let parameters = &mut facts.stack.parameters;
            parameters.insert("EventSource".to_owned(), source.to_owned());
            facts.mappings.as_mut().unwrap().extend(mapping);
            let queues = facts.queues.iter_mut();
            let mut queues = queues.filter(|it| it.output == "IntakeQueueUrl");
            let attributes = &mut queues.next().unwrap().attributes;
            attributes.insert("Policy".to_owned(), sources(taken));
            let shown = format!("{source} {rule} {taken}");
            facts.buckets[0].notifications = Some(Notifications {
                rules: vec![rule],
                event_bridge: false,
            });
            assert_eq!(rules(&facts, find), expected, "{shown}");
        }
    }

    #[test]
    fn events_that_are_stopped_on_their_way_are_found() {
        let all = [
            "s3:ObjectCreated:*",
            "s3:ObjectRemoved:*",
            "s3:LifecycleExpiration:*",
        ];
        let subscription = |protocol: &str, endpoint: &str| Subscription {
            protocol: protocol.to_owned(),
            endpoint: endpoint.to_owned(),
            is_confirmed: true,
            has_filter: false,
        };
        let mapping = |state: &str| Mapping {
            id: "m".to_owned(),
            source: QUEUE.to_owned(),
            state: state.to_owned(),
            reports_items: true,
            has_filter: false,
        };
        type Plant<'p> = &'p dyn Fn(&mut Facts);
        let by = |destination: Destination, plant: Plant<'_>| {
            let mut facts = facts();
            facts.buckets[0].notifications = Some(Notifications {
                rules: vec![rule(destination, &all, "")],
                event_bridge: false,
            });
            plant(&mut facts);
            rules(&facts, find)
        };
        let topic = || Destination::Topic(TOPIC.to_owned());
        let queue = || Destination::Queue(QUEUE.to_owned());
        let subscribe = |facts: &mut Facts, it: Subscription| {
            let topic = Topic {
                subscriptions: vec![it],
            };
            facts.topics.insert(TOPIC.to_owned(), topic);
        };
        assert!(
            by(topic(), &|_| {}).is_empty(),
            "its subscribers are not known"
        );
        assert!(
            by(topic(), &|it| subscribe(
                it,
                subscription("lambda", FUNCTION)
            ))
            .is_empty()
        );
        assert_eq!(
            by(topic(), &|it| subscribe(
                it,
                Subscription {
                    is_confirmed: false,
                    ..subscription("lambda", FUNCTION)
                }
            )),
            ["subscription-unconfirmed"]
        );
        assert_eq!(
            by(topic(), &|it| subscribe(
                it,
                Subscription {
                    has_filter: true,
                    ..subscription("lambda", FUNCTION)
                }
            )),
            ["events-filtered"]
        );
        assert_eq!(
            by(topic(), &|it| subscribe(it, subscription("sqs", QUEUE))),
            ["bucket-not-connected"]
        );
        let with_mapping =
            |it: &mut Facts, state| it.mappings.as_mut().unwrap().push(mapping(state));
        assert!(
            by(topic(), &|it| {
                subscribe(it, subscription("sqs", QUEUE));
                with_mapping(it, "Enabled");
            })
            .is_empty()
        );
        assert!(by(queue(), &|it| with_mapping(it, "Enabled")).is_empty());
        assert_eq!(
            by(queue(), &|it| with_mapping(it, "Disabled")),
            ["input-mapping-off"]
        );
        assert_eq!(
            by(Destination::Function(FUNCTION.to_owned()), &|it| it
                .permissions =
                Some(Vec::new())),
            ["s3-may-not-invoke"]
        );
    }

    #[test]
    fn what_is_not_known_is_not_called_unconnected() {
        let unconnected = || {
            let mut facts = facts();
            facts.buckets[0].notifications = Some(Notifications::default());
            facts
        };
        assert_eq!(rules(&unconnected(), find), ["bucket-not-connected"]);
        let plants: [fn(&mut Facts); 4] = [
            |it| it.function = None,
            |it| it.mappings = None,
            |it| it.event_rules = None,
            |it| it.buckets[0].notifications = None,
        ];
        for plant in plants {
            let mut facts = unconnected();
            plant(&mut facts);
            assert!(rules(&facts, find).is_empty());
        }
    }

    #[test]
    fn with_event_bridge_bucket_and_rule_must_both_be_set() {
        for (is_on, names, is_enabled, expected) in [
            (true, true, true, &[][..]),
            (false, true, true, &["event-bridge-off"]),
            (true, false, true, &["not-in-event-rule"]),
            (true, true, false, &["event-rule-off"]),
        ] {
            let mut facts = facts();
            let parameters = &mut facts.stack.parameters;
            parameters.insert("EventSource".to_owned(), "EventBridge".to_owned());
            facts.buckets[0].notifications = Some(Notifications {
                rules: Vec::new(),
                event_bridge: is_on,
            });
            let name = if names { "site" } else { "other" };
            facts.event_rules = Some(vec![EventRule {
                name: "rule".to_owned(),
                is_enabled,
                buckets: [name.to_owned()].into(),
                prefixes: Vec::new(),
                is_for_all: false,
                misses: Vec::new(),
            }]);
            assert_eq!(
                rules(&facts, find),
                expected,
                "{is_on} {names} {is_enabled}"
            );
        }
    }
}
