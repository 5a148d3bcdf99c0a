//! The stand-ins for SQS, SNS and S3 are as unkind as AWS, so the tests that use them may trust them.
//! docs/development.md lists which fact each test shows.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry as Entry;
use fastrand::Rng;
use invalidator::aws::{Clients, Endpoints, sdk_config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::aws::Aws;
use crate::support::queue::{Moods, Queue, Settings};
use crate::support::refusals::{of_sns, of_sqs};
use crate::support::tags;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(3_600);
const START: Duration = Duration::ZERO;

fn settings(fifo: bool) -> Settings {
    Settings {
        fifo,
        delay: Duration::ZERO,
        visibility: MINUTE,
        max_receives: 3,
        retention: RETENTION,
    }
}

/// A queue, its luck and the time.
struct Desk {
    queue: Queue,
    rng: Rng,
    now: Duration,
}

impl Desk {
    fn new(settings: Settings, moods: Moods) -> Self {
        let mut queue = Queue::new("q", settings);
        queue.moods = moods;
        let rng = Rng::with_seed(7);
        Self {
            queue,
            rng,
            now: START,
        }
    }

    /// A standard queue of twelve messages, `0` to `11`.
    fn of_twelve(moods: Moods) -> Self {
        let mut desk = Self::new(settings(false), moods);
        (0..12).for_each(|n| desk.send(&n.to_string()));
        desk
    }

    fn send(&mut self, body: &str) {
        let sent = self
            .queue
            .send(body, "", None, START, self.now, &mut self.rng);
        assert!(sent.is_some());
    }

    /// Whether a FIFO queue takes a message with this deduplication id.
    fn send_to_group(&mut self, body: &str, group: &str, deduplication: &str) -> bool {
        let id = Some(deduplication);
        let sent = self
            .queue
            .send(body, group, id, START, self.now, &mut self.rng);
        sent.is_some()
    }

    /// The bodies and receipt handles of a receive of up to ten messages.
    fn receive_all(&mut self, long: bool) -> Vec<(String, String)> {
        let received = self.queue.receive(10, long, self.now, &mut self.rng);
        let messages = received.messages.iter();
        messages
            .map(|it| (it.body.clone(), it.receipt_handle()))
            .collect()
    }

    fn receive(&mut self) -> Vec<String> {
        let received = self.receive_all(true);
        received.into_iter().map(|(body, _)| body).collect()
    }

    fn delete(&mut self, handle: &str) -> Result<bool, ()> {
        self.queue.delete(handle, self.now, &mut self.rng)
    }
}

#[test]
fn a_receive_brings_one_to_ten_of_the_messages_that_wait() {
    let few = Moods {
        brings_few: 1.0,
        ..Moods::default()
    };
    let mut sizes: Vec<usize> = (0..200)
        .map(|seed| {
            let mut desk = Desk::of_twelve(few);
            desk.rng = Rng::with_seed(seed);
            desk.receive().len()
        })
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    assert_eq!(sizes, (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_standard_queue_keeps_no_order() {
    let mut desk = Desk::of_twelve(Moods::default());
    let first = desk.receive();
    let sent: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    assert_ne!(first, sent);
    let mut all = [first, desk.receive()].concat();
    all.sort_unstable_by_key(|body| body.parse::<u32>().unwrap());
    let expected: Vec<_> = (0..12).map(|n| n.to_string()).collect();
    assert_eq!(all, expected, "but loses nothing");
}

#[test]
fn a_standard_queue_delivers_more_than_once() {
    let twice = Moods {
        comes_twice: 1.0,
        ..Moods::default()
    };
    let mut desk = Desk::new(settings(false), twice);
    desk.send("a");
    assert_eq!(desk.receive(), ["a"]);
    desk.now += 5 * SECOND;
    assert_eq!(desk.receive(), ["a"], "it was not hidden for a minute");

    let survives = Moods {
        survives_deletion: 1.0,
        ..Moods::default()
    };
    let mut desk = Desk::new(settings(false), survives);
    desk.send("a");
    let (_, handle) = desk.receive_all(true).remove(0);
    assert_eq!(desk.delete(&handle), Ok(true));
    desk.now += 2 * MINUTE;
    assert_eq!(desk.receive(), ["a"], "though it was deleted");
}

#[test]
fn a_poll_may_return_nothing_although_messages_wait() {
    let blind = Moods {
        short_poll_misses: 1.0,
        ..Moods::default()
    };
    let found = |long| {
        let mut desk = Desk::of_twelve(blind);
        (0..20).map(|_| desk.receive_all(long).len()).min()
    };
    assert_eq!(found(false), Some(0));
    let mut desk = Desk::of_twelve(blind);
    assert_eq!(desk.receive_all(true).len(), 10, "a long poll asks all");
    let rarely = Moods {
        long_poll_misses: 1.0,
        ..blind
    };
    assert_eq!(Desk::of_twelve(rarely).receive().len(), 0);
}

#[test]
fn a_message_comes_back_after_its_visibility_timeout_and_ends_as_a_dead_letter() {
    let mut desk = Desk::new(settings(false), Moods::default());
    desk.send("a");
    for _ in 0..3 {
        let (_, handle) = desk.receive_all(true).remove(0);
        assert_eq!(desk.receive(), [""; 0], "hidden");
        desk.now += MINUTE;
        // The function may shorten it.
        assert_eq!(desk.queue.hide(&handle, SECOND, desk.now), Ok(()));
        desk.now += SECOND;
    }
    assert_eq!(desk.receive(), [""; 0]);
    assert_eq!(desk.queue.dead.len(), 1);
}

#[test]
fn the_age_of_a_message_counts_from_its_first_send() {
    let brief = Settings {
        retention: MINUTE,
        visibility: 5 * MINUTE,
        ..settings(false)
    };
    let mut desk = Desk::new(brief, Moods::default());
    desk.send("a");
    assert_eq!(desk.receive(), ["a"]);
    desk.now += 5 * MINUTE;
    assert_eq!(desk.receive(), [""; 0], "lost by the first failed drain");
    assert_eq!(desk.queue.expired.len(), 1);
}

#[test]
fn a_fifo_queue_remembers_a_deduplication_id_for_five_minutes_even_of_what_was_deleted() {
    let mut desk = Desk::new(settings(true), Moods::default());
    assert!(desk.send_to_group("a", "g", "1"));
    let (_, handle) = desk.receive_all(true).remove(0);
    assert_eq!(desk.delete(&handle), Ok(false));
    desk.now += 5 * MINUTE - SECOND;
    assert!(!desk.send_to_group("a", "g", "1"));
    assert!(desk.send_to_group("a", "g", "2"));
    desk.now += SECOND;
    assert!(desk.send_to_group("a", "g", "1"));
}

#[test]
fn a_fifo_group_has_one_batch_in_flight_and_keeps_its_order() {
    let mut desk = Desk::new(settings(true), Moods::default());
    for n in 0..12 {
        desk.send_to_group(&n.to_string(), "g", &n.to_string());
    }
    let sent: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    let batch = desk.receive_all(true);
    let bodies: Vec<_> = batch.iter().map(|(body, _)| body).collect();
    assert_eq!(bodies, sent.iter().collect::<Vec<_>>());
    desk.send_to_group("other", "h", "other");
    assert_eq!(desk.receive(), ["other"], "the rest of `g` waits");
    for (_, handle) in &batch {
        assert_eq!(desk.delete(handle), Ok(false));
    }
    assert_eq!(desk.receive(), ["10", "11"]);
}

#[test]
fn a_fifo_queue_knows_no_handle_after_its_visibility_timeout() {
    let mut desk = Desk::new(settings(true), Moods::default());
    desk.send_to_group("a", "g", "1");
    let (_, handle) = desk.receive_all(true).remove(0);
    desk.now += MINUTE;
    assert_eq!(desk.delete(&handle), Err(()));
    assert_eq!(desk.queue.hide(&handle, SECOND, desk.now), Err(()));
    assert_eq!(desk.receive(), ["a"]);
}

#[test]
fn a_fifo_queue_delays_all_its_messages_alike() {
    let delayed = Settings {
        delay: 10 * SECOND,
        ..settings(true)
    };
    let mut desk = Desk::new(delayed, Moods::default());
    desk.send_to_group("a", "g", "1");
    desk.now += 10 * SECOND - Duration::from_millis(1);
    assert_eq!(desk.receive(), [""; 0]);
    desk.now += Duration::from_millis(1);
    assert_eq!(desk.receive(), ["a"]);
}

#[test]
fn a_fifo_queue_takes_300_calls_of_an_action_a_second() {
    let mut desk = Desk::new(settings(true), Moods::default());
    let mut allowed = |action: &str, now| {
        let calls = (0..1_000).filter(|_| desk.queue.allows(action, now));
        calls.count()
    };
    assert_eq!(allowed("SendMessage", START), 300);
    assert_eq!(allowed("DeleteMessage", START), 300);
    assert_eq!(allowed("SendMessage", SECOND), 300);
    let mut standard = Desk::new(settings(false), Moods::default());
    assert!((0..1_000).all(|_| standard.queue.allows("SendMessage", START)));
}

#[test]
fn sqs_refuses_what_its_documentation_says() {
    let entry = |id: &str, bytes: usize| json!({ "Id": id, "MessageBody": "x".repeat(bytes) });
    let batch = |entries: Vec<Value>| json!({ "Entries": entries });
    let numbered = |count: usize| batch((0..count).map(|n| entry(&n.to_string(), 1)).collect());
    let message = |text: &str| json!({ "MessageBody": text });
    let for_fifo = |field: &str, value: Value| {
        let mut message =
            json!({ "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d" });
        message[field] = value;
        message
    };
    const MIB: usize = 1024 * 1024;
    let (send, batch_send) = ("SendMessage", "SendMessageBatch");
    for (operation, fifo, body, expected) in [
        (batch_send, false, numbered(10), None),
        (
            batch_send,
            false,
            numbered(11),
            Some("TooManyEntriesInBatchRequest"),
        ),
        (batch_send, false, numbered(0), Some("EmptyBatchRequest")),
        (
            "DeleteMessageBatch",
            false,
            numbered(11),
            Some("TooManyEntriesInBatchRequest"),
        ),
        (
            batch_send,
            false,
            batch(vec![entry("1", 1), entry("1", 1)]),
            Some("BatchEntryIdsNotDistinct"),
        ),
        (
            batch_send,
            false,
            batch(vec![entry("1", MIB / 2), entry("2", MIB / 2)]),
            None,
        ),
        (
            batch_send,
            false,
            batch(vec![entry("1", MIB / 2), entry("2", MIB / 2 + 1)]),
            Some("BatchRequestTooLong"),
        ),
        (send, false, message(&"x".repeat(MIB)), None),
        (
            send,
            false,
            message(&"x".repeat(MIB + 1)),
            Some("InvalidParameterValue"),
        ),
        // What XML forbids.
        (send, false, message("한 \t\n\u{10ffff}"), None),
        (
            send,
            false,
            message("a\u{1}b"),
            Some("InvalidMessageContents"),
        ),
        (
            send,
            false,
            message("\u{ffff}"),
            Some("InvalidMessageContents"),
        ),
        (
            send,
            false,
            json!({ "MessageBody": "a", "DelaySeconds": 900 }),
            None,
        ),
        (
            send,
            false,
            json!({ "MessageBody": "a", "DelaySeconds": 901 }),
            Some("InvalidParameterValue"),
        ),
        (send, true, for_fifo("MessageGroupId", json!("h")), None),
        (
            send,
            true,
            for_fifo("DelaySeconds", json!(1)),
            Some("InvalidParameterValue"),
        ),
        (
            send,
            true,
            for_fifo("MessageGroupId", Value::Null),
            Some("MissingParameter"),
        ),
        (
            "ReceiveMessage",
            false,
            json!({ "MaxNumberOfMessages": 11 }),
            Some("ReadCountOutOfRange"),
        ),
        (
            "ReceiveMessage",
            false,
            json!({ "WaitTimeSeconds": 21 }),
            Some("InvalidParameterValue"),
        ),
    ] {
        let what = body.to_string();
        let what = what.chars().take(80).collect::<String>();
        assert_eq!(
            of_sqs(operation, fifo, &body),
            expected,
            "{operation} {what}"
        );
    }
}

#[test]
fn sns_refuses_long_subjects_line_breaks_and_long_messages() {
    let refused = Some("InvalidParameter");
    for (subject, message, expected) in [
        ("[Error] CloudFront Invalidation", "text\nof lines", None),
        (&"x".repeat(99), &"x".repeat(256 * 1024), None),
        (&"x".repeat(100), "text", refused),
        ("two\nlines", "text", refused),
        ("한", "text", refused),
        ("", &"x".repeat(256 * 1024 + 1), refused),
        ("", "", refused),
    ] {
        assert_eq!(of_sns(subject, message), expected, "{subject:?}");
    }
}

#[test]
fn a_tag_holds_no_comma_and_no_star() {
    let refused = Some("InvalidTag");
    for (value, expected) in [
        ("resources/upload:tmp a_b.c=d+e-f@g 한", None),
        ("", None),
        (&"x".repeat(256), None),
        (&"x".repeat(257), refused),
        ("a,b", refused),
        ("*.jpg", refused),
    ] {
        assert_eq!(tags::refusal(value), expected, "{value}");
    }
}

fn clients(aws: &Aws) -> Clients {
    let credentials = Credentials::new("test", "test", None, None, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    let sdk = sdk_config(
        credentials,
        Some("us-east-1".to_owned()),
        Some(url(aws).parse().unwrap()),
    );
    Clients::new(sdk, Endpoints::default())
}

fn url(aws: &Aws) -> String {
    let mut environment = aws.environment().into_iter();
    let found = environment.find(|(name, _)| *name == "AWS_ENDPOINT_URL");
    found.unwrap().1
}

/// The ids that succeeded, and id and code of those that failed; or the code of the whole call.
async fn send_batch(aws: &Aws, queue: &str, bodies: &[&str]) -> Result<(String, String), String> {
    let entries = bodies.iter().enumerate().map(|(id, body)| {
        let entry = Entry::builder().id(id.to_string()).message_body(*body);
        entry.build().unwrap()
    });
    let call = clients(aws).sqs().clone().send_message_batch();
    let call = call.queue_url(format!("{}/123456789012/{queue}", url(aws)));
    let call = call.set_entries(Some(entries.collect()));
    let answer = match call.send().await {
        Ok(answer) => answer,
        Err(error) => return Err(error.code().unwrap_or_default().to_owned()),
    };
    let done = answer.successful().iter().map(|it| it.id().to_owned());
    let failed = answer.failed().iter();
    let failed = failed.map(|it| format!("{}: {}", it.id(), it.code()));
    Ok((
        done.collect::<Vec<_>>().join(" "),
        failed.collect::<Vec<_>>().join(" "),
    ))
}

#[tokio::test]
async fn entries_of_a_batch_fail_though_the_call_succeeds() {
    let aws = Aws::start().await;
    let answer = |done: &str, failed: &str| Ok((done.to_owned(), failed.to_owned()));
    let sent = send_batch(&aws, "buffer", &["a", "\u{1}", "c"]).await;
    assert_eq!(sent, answer("0 2", "1: InvalidMessageContents"));
    assert_eq!(aws.depth("buffer"), 2);
    aws.account().entries_to_fail = 1;
    let sent = send_batch(&aws, "buffer", &["a", "b"]).await;
    assert_eq!(sent, answer("1", "0: InternalError"));
    for (queue, bodies, code) in [
        ("buffer", &["a"; 11][..], "TooManyEntriesInBatchRequest"),
        ("other", &["a"], "QueueDoesNotExist"),
    ] {
        let refused = send_batch(&aws, queue, bodies).await;
        assert_eq!(refused, Err(code.to_owned()));
    }
    assert_eq!(aws.depth("buffer"), 3);
}

#[tokio::test]
async fn a_failed_message_of_a_fifo_batch_fails_all_after_it() {
    let aws = Aws::start().await;
    for n in ["1", "2", "3"] {
        let (now, mut account) = (aws.now(), aws.account());
        let queue = account.queues.get_mut("submit.fifo").unwrap();
        queue.send(n, "g", Some(n), START, now, &mut Rng::with_seed(1));
    }
    let messages = aws.take("submit.fifo");
    let failed = BTreeSet::from([messages[1].id.as_str()]);
    aws.settle("submit.fifo", &messages, &failed);
    let account = aws.account();
    let left = account.queues["submit.fifo"].messages();
    assert_eq!(left.map(|it| &it.body).collect::<Vec<_>>(), ["2", "3"]);
}

#[tokio::test]
async fn a_bucket_without_tags_answers_with_an_error() {
    let aws = Aws::start().await;
    let call = clients(&aws).s3().get_bucket_tagging().bucket("site");
    let error = call.clone().send().await.unwrap_err();
    assert_eq!(error.code(), Some("NoSuchTagSet"));
    aws.account().tags = vec![("exceptionPaths", "tmp")];
    assert_eq!(call.send().await.unwrap().tag_set().len(), 1);
}

#[tokio::test]
async fn a_deleted_object_is_told_from_one_that_never_was() {
    let aws = Aws::start().await;
    let clients = clients(&aws);
    let get = async || {
        let call = clients.s3().get_object().bucket("errors").key("state/a");
        let error = call.send().await.unwrap_err();
        let headers = error.raw_response().unwrap().headers();
        let marker = headers.get("x-amz-delete-marker").map(str::to_owned);
        (error.code().unwrap().to_owned(), marker)
    };
    assert_eq!(get().await, ("NoSuchKey".to_owned(), None));
    let put = async || {
        let call = clients.s3().put_object().bucket("errors").key("state/a");
        call.if_none_match("*").send().await
    };
    put().await.unwrap();
    aws.account().objects.delete("state/a");
    let marker = Some("true".to_owned());
    assert_eq!(get().await, ("NoSuchKey".to_owned(), marker));
    put().await.unwrap();
    let error = put().await.unwrap_err();
    assert_eq!(error.code(), Some("PreconditionFailed"));
}

#[tokio::test]
async fn a_mail_beyond_the_limits_of_sns_is_refused() {
    let aws = Aws::start().await;
    let publish = async |subject: &str| {
        let call = clients(&aws).sns().publish().topic_arn("t").message("m");
        call.subject(subject).send().await.is_ok()
    };
    assert!(publish("[Error] CloudFront Invalidation").await);
    assert!(!publish("two\nlines").await);
    assert_eq!(aws.account().mails.len(), 1);
}

#[tokio::test]
async fn nothing_is_answered_on_a_connection_that_died() {
    let aws = Aws::start().await;
    let address = url(&aws).trim_start_matches("http://").to_owned();
    let request = format!("GET /site?tagging HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut old = TcpStream::connect(&address).await.unwrap();
    let mut answer = [0; 1];
    old.write_all(request.as_bytes()).await.unwrap();
    old.read_exact(&mut answer).await.unwrap();

    aws.account().lose_connections();
    old.write_all(request.as_bytes()).await.unwrap();
    while aws.account().requests_on_dead_connections == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut new = TcpStream::connect(&address).await.unwrap();
    new.write_all(request.as_bytes()).await.unwrap();
    new.read_exact(&mut answer).await.unwrap();
}
