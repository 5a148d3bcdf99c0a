//! The function's own binary over TLS, with a host for each service. Its first events call several: the connections
//! to all that are known beforehand must be begun at once.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::process::Command;
use std::time::Duration;

use invalidator_core::buffered::pack;
use invalidator_core::event::{BucketName, Change, ChangeKind, ObjectKey};
use strict_cloudfront::{Distribution, Origin};
use support::aws::Aws;
use support::function::Function;
use support::tls;

const TIMEOUT: Duration = Duration::from_secs(150);

fn start(aws: &Aws) -> Function {
    let root = tls::roots().display().to_string();
    Function::start(aws, 1_024, &[("AWS_CA_BUNDLE", &root)])
}

async fn account() -> Aws {
    let aws = Aws::start_with_tls().await;
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    aws.account().cloudfront.put_distribution(site);
    aws
}

fn event() -> String {
    include_str!("../events/s3-put.json").to_owned()
}

fn buffer(aws: &Aws, key: &str) {
    let change = Change {
        bucket: BucketName::new("site"),
        key: ObjectKey::new(key).unwrap(),
        kind: ChangeKind::Created,
        event_time: None,
        version_id: None,
    };
    aws.buffer(&pack(&[change]).unwrap()[0]);
}

/// How many connections a service got.
fn connections(aws: &Aws, service: &str) -> usize {
    let all = aws.handshakes.all();
    all.iter().filter(|it| it.service == service).count()
}

// In the following three no service answers a handshake before all were asked for one. A function that connects to
// one after another gets no answer.

/// Before: SQS was connected after S3 had answered.
#[tokio::test]
async fn the_first_event_connects_to_s3_and_sqs_at_once() {
    let aws = account().await;
    aws.handshakes.only_together(&["S3", "SQS"]);
    let _function = start(&aws);
    aws.invoke(event(), TIMEOUT).await.unwrap();
    assert_eq!(aws.depth("buffer"), 1);
    assert_eq!(aws.account().calls["GetBucketTagging"], 1);
    for (service, count) in [("S3", 1), ("SQS", 1), ("CLOUDFRONT", 0)] {
        assert_eq!(connections(&aws, service), count, "{service}");
    }
}

/// Before: SQS was connected after S3 and CloudFront had answered.
#[tokio::test]
async fn the_first_flush_connects_to_s3_cloudfront_and_sqs_at_once() {
    let aws = account().await;
    buffer(&aws, "a");
    aws.handshakes.only_together(&["S3", "CLOUDFRONT", "SQS"]);
    let _function = start(&aws);
    assert!(!aws.flush(TIMEOUT).await.unwrap());
    assert_eq!(aws.depth("buffer"), 0);
    assert_eq!(aws.depth("submit.fifo"), 1);
}

/// Before: CloudFront was connected after S3 had answered, and SQS after CloudFront.
#[tokio::test]
async fn the_first_submit_connects_to_s3_cloudfront_and_sqs_at_once() {
    let aws = account().await;
    buffer(&aws, "a");
    let flusher = start(&aws);
    aws.flush(TIMEOUT).await.unwrap();
    flusher.kill(&aws);
    aws.nobody_waits().await;
    aws.handshakes.forget();
    aws.handshakes.only_together(&["S3", "CLOUDFRONT", "SQS"]);
    let _function = start(&aws);
    assert_eq!(aws.submit(TIMEOUT).await.unwrap(), 0);
    assert_eq!(aws.account().paths("E1"), ["/a"]);
}

/// A connection that is begun although there is one would cost a handshake in each event.
#[tokio::test]
async fn warm_invocations_connect_to_nothing_new() {
    let aws = account().await;
    let _function = start(&aws);
    for round in 0..3 {
        let before = aws.handshakes.all();
        aws.invoke(event(), TIMEOUT).await.unwrap();
        buffer(&aws, &round.to_string());
        aws.flush(TIMEOUT).await.unwrap();
        aws.submit(TIMEOUT).await.unwrap();
        // What the second round needs at once, it may not have needed in the first.
        if round == 2 {
            assert_eq!(aws.handshakes.all(), before);
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_no_root_vouches_for() {
    let aws = account().await;
    let _function = Function::start(&aws, 1_024, &[]);
    let error = aws.invoke(event(), TIMEOUT).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert_eq!(aws.account().timings.len(), 0);
    assert!(connections(&aws, "SQS") > 0);
}

#[tokio::test]
async fn a_file_of_roots_that_cannot_be_used_stops_the_start_and_is_named() {
    let aws = account().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_invalidator"));
    command.env_clear().envs(aws.environment());
    command.env("AWS_CA_BUNDLE", "/nonexistent/roots.pem");
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success());
    for part in ["AWS_CA_BUNDLE", "/nonexistent/roots.pem", "PEM"] {
        assert!(log.contains(part), "{log}");
    }
}

#[tokio::test]
async fn the_first_line_of_the_log_names_the_file_of_roots() {
    let aws = account().await;
    let root = tls::roots().display().to_string();
    let (_function, log) = Function::start_with_log(&aws, &[("AWS_CA_BUNDLE", &root)]);
    aws.somebody_waits().await;
    let lines = log.lines();
    let first = lines.first().unwrap();
    assert!(
        first.contains("started") && first.contains(&root),
        "{first}"
    );
}
