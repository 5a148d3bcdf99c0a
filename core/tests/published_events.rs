//! Events that AWS published, as a check on our reader: the fixtures of `aws_lambda_events`, read by the
//! types of that crate too, and those of `sam local generate-event`. What tells of no object is refused
//! by name.
#![allow(clippy::unwrap_used)]

use aws_lambda_events::eventbridge::EventBridgeEvent;
use aws_lambda_events::s3::{S3Event, S3EventRecord};
use aws_lambda_events::sns::SnsEvent;
use aws_lambda_events::sqs::SqsEvent;
use invalidator_core::event::{ChangeKind, Reading, read};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn fixture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/published");
    std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap()
}

fn parsed<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&fixture(name)).unwrap()
}

/// Bucket, key, kind and time of a change.
type Seen = (String, String, ChangeKind, i64);

/// The changes that an event holds by the crate's types.
fn by_their_types(event: &S3Event) -> Vec<Seen> {
    let changes = event.records.iter().filter_map(|record| {
        let kind = match record.event_name.as_deref()?.split_once(':')?.0 {
            "ObjectCreated" => ChangeKind::Created,
            "ObjectRemoved" | "LifecycleExpiration" => ChangeKind::Deleted,
            _ => return None,
        };
        let bucket = record.s3.bucket.name.clone()?;
        let form = format!("key={}", record.s3.object.key.as_deref()?);
        let (_, key) = form_urlencoded::parse(form.as_bytes()).next()?;
        let time = record.event_time.timestamp_millis();
        Some((bucket, key.into_owned(), kind, time))
    });
    changes.collect()
}

fn by_our_reader(reading: &Reading) -> Vec<Seen> {
    let changes = reading.changes.iter().map(|change| {
        let time = change.event_time.unwrap().0;
        let (bucket, key) = (change.bucket.to_string(), change.key.to_string());
        (bucket, key, change.kind, time)
    });
    changes.collect()
}

/// An event of S3 as it comes directly, through SNS, through SQS, and through SNS and SQS.
fn in_all_envelopes(s3: &S3Event) -> [String; 4] {
    in_envelopes(s3, "sns-event", "sqs-event")
}

/// The same, with the envelopes of these fixtures.
fn in_envelopes(s3: &S3Event, sns: &str, sqs: &str) -> [String; 4] {
    let direct = serde_json::to_string(s3).unwrap();
    let mut sns: SnsEvent = parsed(sns);
    sns.records[0].sns.message = direct.clone();
    let notification = serde_json::to_string(&sns.records[0].sns).unwrap();
    let mut sqs: SqsEvent = parsed(sqs);
    let mut in_sqs = |body: &str| {
        sqs.records[0].body = Some(body.to_owned());
        serde_json::to_string(&sqs).unwrap()
    };
    let (sqs, sns_sqs) = (in_sqs(&direct), in_sqs(&notification));
    [direct, serde_json::to_string(&sns).unwrap(), sqs, sns_sqs]
}

#[test]
fn published_events_of_s3_are_read_alike() {
    for name in ["s3-event", "s3-event-with-decoded"] {
        let event: S3Event = parsed(name);
        let expected = by_their_types(&event);
        assert_eq!(expected.len(), 1, "{name}");
        if let Some(key) = &event.records[0].s3.object.url_decoded_key {
            assert_eq!(&expected[0].1, key, "{name}");
        }
        for text in in_all_envelopes(&event).iter().chain([&fixture(name)]) {
            let reading = read(text);
            assert_eq!(by_our_reader(&reading), expected, "{text}");
            assert_eq!(reading.problems, [], "{text}");
        }
    }
}

#[test]
fn published_events_that_tell_of_no_object_are_refused_by_name() {
    for (name, expected) in [
        ("sns-event", "Records[0].Sns.Message: not readable as JSON"),
        (
            "sns-event-obj",
            r#"Records[0].Sns.Message: not an event this function knows: .* `{"foo":"Hello world!","bar":123}`"#,
        ),
        (
            "sns-event-pascal-case",
            "Records[0].Sns.Message: not readable as JSON",
        ),
        (
            "sns-subscription-confirmation",
            "Message: not readable as JSON",
        ),
        (
            "sns-unsubscribe-confirmation",
            "Message: not readable as JSON",
        ),
        ("sqs-event", "Records[0].body: not readable as JSON"),
        (
            "sqs-event-obj",
            r#"Records[0].body: not an event this function knows: .* `{"a":"Test","b":123}`"#,
        ),
        (
            "eventbridge-event-obj",
            "the event: not an event this function knows: .* EC2 Instance State-change Notification",
        ),
        (
            "eventbridge-schedule",
            "the event: not an event this function knows: .* Scheduled Event",
        ),
    ] {
        assert_refused(name, expected);
    }
}

/// That an event holds no changes, and its first problem begins, and goes on, like this.
fn assert_refused(name: &str, expected: &str) {
    let reading = read(&fixture(name));
    assert_eq!(reading.changes, [], "{name}");
    let [problem, ..] = reading.problems.as_slice() else {
        panic!("{name}: nothing is refused");
    };
    let problem = problem.to_string();
    let (start, shown) = expected.split_once(".* ").unwrap_or((expected, ""));
    assert!(
        problem.starts_with(start) && problem.contains(shown),
        "{name}: {problem}"
    );
}

#[test]
fn events_of_s3_that_sam_generates_are_read_in_all_envelopes() {
    use ChangeKind::{Created, Deleted};
    for (name, key, kind) in [
        ("sam/s3-put", "test/key", Created),
        ("sam/s3-put-special-key", "a b+c/한.html", Created),
        ("sam/s3-delete", "test/key", Deleted),
    ] {
        let event: S3Event = parsed(name);
        let expected = [("example-bucket".to_owned(), key.to_owned(), kind, 0)];
        assert_eq!(by_their_types(&event), expected, "{name}");
        let enveloped = in_envelopes(&event, "sam/sns", "sam/sqs");
        for text in enveloped.iter().chain([&fixture(name)]) {
            let reading = read(text);
            assert_eq!(by_our_reader(&reading), expected, "{text}");
            assert_eq!(reading.problems, [], "{text}");
        }
    }
}

#[test]
fn events_that_sam_generates_for_other_purposes_are_refused_by_name() {
    let unknown = "not an event this function knows: .*";
    for (name, place, expected) in [
        ("sns", "Records[0].Sns.Message", "not readable as JSON"),
        ("sqs", "Records[0].body", "not readable as JSON"),
        (
            "s3-batch",
            "the event",
            &format!(r#"{unknown} `{{ "invocationSchemaVersion": "1.0""#),
        ),
        (
            "cloudfront",
            "Records[0]",
            &format!(r#"{unknown} `{{ "cf": {{ "config": {{ "distributionId": "EXAMPLE""#),
        ),
        (
            "cloudwatch-logs",
            "the event",
            &format!(r#"{unknown} `{{ "awslogs": "#),
        ),
        (
            "cloudwatch-scheduled",
            "the event",
            &format!("{unknown} Scheduled Event"),
        ),
        (
            "dynamodb",
            "Records[0]",
            "not a record of S3: its `eventSource` is `aws:dynamodb`",
        ),
    ] {
        assert_refused(&format!("sam/{name}"), &format!("{place}: {expected}"));
    }
}

#[test]
fn event_bridge_keys_are_taken_as_they_are() {
    let mut event: EventBridgeEvent = parsed("eventbridge-event-obj");
    event.source = "aws.s3".to_owned();
    event.detail = json!({ "bucket": { "name": "site" }, "object": { "key": "a+b%20c" } });
    for (name, kind) in [
        ("Object Created", ChangeKind::Created),
        ("Object Deleted", ChangeKind::Deleted),
    ] {
        event.detail_type = name.to_owned();
        let time = event.time.unwrap().timestamp_millis();
        let expected = ("site".to_owned(), "a+b%20c".to_owned(), kind, time);
        let reading = read(&serde_json::to_string(&event).unwrap());
        assert_eq!(by_our_reader(&reading), [expected]);
    }
}

/// A record by the crate's types, with nothing in it but what is given.
fn record(name: &str, bucket: String, key: &str, milliseconds: u16) -> S3EventRecord {
    let mut record = S3EventRecord::default();
    record.event_name = Some(name.to_owned());
    let time = format!("2026-11-21T02:03:04.{milliseconds:03}Z");
    record.event_time = serde_json::from_value(Value::String(time)).unwrap();
    record.s3.bucket.name = Some(bucket);
    record.s3.object.key = Some(form_urlencoded::byte_serialize(key.as_bytes()).collect());
    record
}

fn any_record() -> impl Strategy<Value = S3EventRecord> {
    let name = prop::sample::select(vec![
        "ObjectCreated:Put",
        "ObjectCreated:CompleteMultipartUpload",
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "LifecycleExpiration:Delete",
        "ObjectTagging:Put",
        "ObjectRestore:Completed",
    ]);
    let key = "(?s).{1,80}";
    (name, "[a-z0-9.-]{3,20}", key, 0..1_000_u16)
        .prop_map(|(name, bucket, key, milliseconds)| record(name, bucket, &key, milliseconds))
}

proptest! {
    #[test]
    fn events_made_by_their_types_are_read_alike(
        records in proptest::collection::vec(any_record(), 0..8),
    ) {
        let mut event = S3Event::default();
        event.records = records;
        let expected = by_their_types(&event);
        for text in in_all_envelopes(&event) {
            let reading = read(&text);
            prop_assert_eq!(&by_our_reader(&reading), &expected, "{}", text);
            let skipped: usize = reading.skipped.values().sum();
            prop_assert_eq!(skipped + expected.len(), event.records.len());
            prop_assert_eq!(&reading.problems, &[]);
        }
    }
}
