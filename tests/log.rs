//! What the function's own binary logs when AWS fails: each line is ours, is JSON, holds no Rust debug
//! text, and names a distribution by its id and its alias.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use invalidator_core::mode::MODE_KEY;
use invalidator_core::tls_roots;
use serde_json::{Value, json};
use strict_cloudfront::{Distribution, Fault, Operation, Origin};
use support::aws::Aws;
use support::function::Function;

const TIMEOUT: Duration = Duration::from_secs(150);

/// Time for one attempt, beside the twenty seconds at the end.
const SHORT: Duration = Duration::from_secs(22);

const ALIAS: &str = "www.example.org";

/// Starts an account with one distribution, E1.
async fn account() -> Aws {
    let aws = Aws::start().await;
    let site = Distribution::new("E1", Origin::s3("site", "site")).alias(ALIAS);
    aws.account().cloudfront.put_distribution(site);
    aws
}

fn fail(aws: &Aws, fault: Fault, times: u32, operation: Operation) {
    let fault = fault.times(times).on(operation);
    aws.account().cloudfront.faults.add(fault);
}

/// One change, from the event to CloudFront. Some of it may fail.
async fn change(aws: &Aws, key: &str) {
    let record = json!({
        "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": "site" }, "object": { "key": key } },
    });
    let event = json!({ "Records": [record] }).to_string();
    let _ = aws.invoke(event, TIMEOUT).await;
    aws.flush(TIMEOUT).await.unwrap();
    aws.submit(SHORT).await.unwrap();
}

/// What Rust prints for `{:?}`, and what the SDK's own errors look like.
const DEBUG_TEXTS: [&str; 14] = [
    "Err(",
    "Ok(",
    "Some(",
    "None,",
    "{ kind",
    "kind:",
    "SdkError",
    "Unhandled",
    "unhandled error",
    "service error",
    "dispatch failure",
    "ErrorMetadata",
    "Error {",
    "ConnectorError",
];

/// Checks each line. Returns the different warnings and errors, each with its reason.
fn checked(lines: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for text in lines {
        let line: Value = serde_json::from_str(text).expect(text);
        if line.get("_aws").is_some() {
            continue;
        }
        let level = line["level"].as_str().expect(text);
        let message = line["message"].as_str().expect(text);
        assert!(line["timestamp"].is_string(), "{text}");
        for debug in DEBUG_TEXTS {
            assert!(!text.contains(debug), "`{debug}` in {text}");
        }
        for foreign in ["aws_smithy", "lambda_runtime", "hyper", "orchestrator"] {
            assert!(!text.contains(foreign), "{text}");
        }
        if text.contains("\"E1") || text.contains(" E1") {
            assert_eq!(line["distribution"], "E1", "{text}");
            assert_eq!(line["alias"], ALIAS, "{text}");
        }
        if level != "INFO" {
            let error = line["error"].as_str();
            problems.push(format!("{level} {message}: {}", error.unwrap_or_default()));
        }
    }
    problems.dedup();
    problems
}

/// Each row: what fails, how often, at which call, and each warning or error that is logged.
#[tokio::test]
async fn each_line_is_ours_and_tells_service_action_code_message_and_what_to_do() {
    let invalidate = Operation::CreateInvalidation;
    let health = "What to do: nothing in the function, it tries again; on your machine, check the network, the region and the endpoint, and run it again; if it lasts, look at https://health.aws.amazon.com.";
    let internal = "CloudFront encountered an internal error. Please try again";
    let denied = "What to do: allow this action for the role or user that made the call, and look for a policy of the organization that denies it.";
    let user = "User: arn:aws:sts::123456789012:assumed-role/invalidator/invalidator is not authorized to perform: cloudfront";
    let of_action = |action: &str| {
        format!(
            "{user}:{action} because no identity-based policy allows the cloudfront:{action} action. {denied}"
        )
    };
    for (fault, times, operation, expected) in [
        (
            Fault::ServiceUnavailable,
            9,
            invalidate,
            vec![format!(
                "WARN CloudFront answered later: CloudFront CreateInvalidation: ServiceUnavailable: {internal}. {health}"
            )],
        ),
        (
            Fault::BreakOff,
            9,
            invalidate,
            vec![format!(
                "WARN CloudFront answered later: CloudFront CreateInvalidation: ConnectionFailed: connection closed before message completed. {health}"
            )],
        ),
        (
            Fault::AccessDenied,
            9,
            invalidate,
            vec![format!(
                "ERROR paths were rejected: CloudFront CreateInvalidation: AccessDenied: {}",
                of_action("CreateInvalidation")
            )],
        ),
        (
            Fault::AccessDenied,
            9,
            Operation::ListDistributions,
            vec![format!(
                "ERROR the distributions cannot be listed, so nothing is received: failed to list the distributions: CloudFront ListDistributions: AccessDenied: {}",
                of_action("ListDistributions")
            )],
        ),
        (
            Fault::AccessDenied,
            9,
            Operation::GetDistributionConfig,
            vec![format!(
                "WARN a default root object could not be read, so its changes are planned without, and then once more: failed to read the distribution E1: CloudFront GetDistributionConfig: AccessDenied: {}",
                of_action("GetDistributionConfig")
            )],
        ),
        // Three attempts that fail, and then one that succeeds.
        (
            Fault::InternalError,
            3,
            Operation::ListDistributions,
            vec![],
        ),
    ] {
        let aws = account().await;
        let (_function, log) = Function::start_with_log(&aws, &[]);
        fail(&aws, fault.clone(), times, operation);
        change(&aws, "a").await;
        assert_eq!(
            checked(&log.lines()),
            expected,
            "{fault:?} of {operation:?}"
        );
    }
}

/// What fails beside CloudFront.
#[tokio::test]
async fn the_lines_about_queues_and_the_bucket_are_alike() {
    let aws = account().await;
    let (_function, log) = Function::start_with_log(&aws, &[]);
    aws.account().is_bucket_writable = false;
    fail(&aws, Fault::AccessDenied, 9, Operation::CreateInvalidation);
    change(&aws, "a").await;
    let refused = ("buffer", (1, "AccessDenied"));
    aws.account().refused.extend([refused]);
    change(&aws, "b").await;
    let problems = checked(&log.lines());
    for expected in [
        "ERROR the error file could not be written, so the rejected paths wait: failed to write invalidation_error/",
        "to the error bucket errors: S3 PutObject: AccessDenied: no. What to do: allow this action",
        "ERROR the event failed: Lambda delivers it again: failed to buffer changes: SQS SendMessageBatch: AccessDenied. What to do: allow",
    ] {
        let is_there = problems.iter().any(|line| line.contains(expected));
        assert!(is_there, "{expected}\n{problems:#?}");
    }
}

/// Each row: what is in place of the mode, and the error that is logged once. Nothing is received before
/// the mode is known: it may be stopped.
#[tokio::test]
async fn a_mode_that_cannot_be_read_is_logged_once_with_what_to_do() {
    let too_large = "x".repeat(64 * 1024 + 1);
    for (mode, expected) in [
        (None, "it was deleted"),
        (
            Some("hello"),
            "it is not the documented JSON: expected value at line 1 column 1",
        ),
        (
            Some(r#"{"v":2,"mode":"paused"}"#),
            "it is of version 2, this program reads version 1",
        ),
        (
            Some(r#"{"v":1,"mode":"live","since":"now","by":""}"#),
            "its field `since` has a value that this program does not write",
        ),
        (Some(&too_large), "it has more than 65536 bytes"),
    ] {
        let aws = account().await;
        aws.account()
            .objects
            .put(MODE_KEY, ("", ""), mode.unwrap_or("{}"));
        if mode.is_none() {
            aws.account().objects.delete(MODE_KEY);
        }
        let (_function, log) = Function::start_with_log(&aws, &[]);
        for _ in 0..2 {
            assert_eq!(aws.flush(TIMEOUT).await, Ok(true), "the tick comes back");
        }
        let lines = log.lines();
        let counted = lines
            .iter()
            .filter(|it| it.contains("\"StateUnreadable\":1"));
        assert_eq!(counted.count(), 2, "{lines:?}");
        let expected = format!(
            "ERROR the mode cannot be read: s3://errors/state/mode.json: {expected}. What to do: write it \
             again with `invalidatorctl mode`."
        );
        assert_eq!(checked(&lines), [expected]);
    }
}

/// The lines with this message.
fn lines_of(lines: &[String], message: &str) -> Vec<Value> {
    let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|it: &Value| it["message"] == message)
        .collect()
}

/// A tag with all top-level folders ignored every upload, and nothing told who had done it, or when.
#[tokio::test]
async fn a_changed_tag_is_told_with_its_old_and_new_value() {
    let aws = account().await;
    aws.account().tags = vec![("exceptionPaths", "tmp"), ("team", "web")];
    let (_function, log) = Function::start_with_log(&aws, &[("CACHE_SECONDS", "0")]);
    change(&aws, "a").await;
    aws.account().tags = vec![
        ("exceptionPaths", "css:js:a"),
        ("indexDocument", "index.html"),
        ("team", "shop"),
    ];
    change(&aws, "a").await;
    change(&aws, "a").await;
    let message = "a tag of a bucket has changed, which changes what is invalidated";
    let told = lines_of(&log.lines(), message);
    let told: Vec<_> = told
        .iter()
        .map(|it| {
            (
                &it["level"],
                &it["bucket"],
                &it["tag"],
                &it["old"],
                &it["new"],
            )
        })
        .collect();
    let (warn, site) = (json!("WARN"), json!("site"));
    assert_eq!(
        told,
        [
            (
                &warn,
                &site,
                &json!("exceptionPaths"),
                &json!("tmp"),
                &json!("css:js:a")
            ),
            (
                &warn,
                &site,
                &json!("indexDocument"),
                &Value::Null,
                &json!("index.html")
            ),
        ]
    );
}

/// An editor's lock file at the root silently emptied all caches.
#[tokio::test]
async fn a_key_that_needs_a_wide_wildcard_is_told_with_what_it_covers() {
    let aws = account().await;
    let (_function, log) = Function::start_with_log(&aws, &[]);
    change(&aws, "~lock%0A%E2%80%AE").await;
    change(&aws, "a%7Eb").await;
    let told = lines_of(&log.lines(), "a key needs a wildcard");
    let (whole, waits) = (&told[0], &told[1]);
    assert_eq!(told.len(), 2);
    assert_eq!(whole["key"], "~lock\\u{a}\\u{202e}");
    assert_eq!(whole["bucket"], "site");
    assert_eq!(whole["covers"], "the whole distribution");
    assert_eq!(
        whole["cause"],
        "CloudFront cannot invalidate a path with `~`"
    );
    assert_eq!(whole["consequence"], "it is submitted");
    assert_eq!(waits["key"], "a~b");
    assert_eq!(waits["covers"], "all that begins with `/a`");
    let consequence = waits["consequence"].as_str().unwrap();
    assert!(consequence.starts_with("it waits"), "{consequence}");
    checked(&log.lines());
}

/// Whoever may upload chooses the key, and `aws logs tail` prints lines as they are.
#[tokio::test]
async fn no_line_holds_what_a_terminal_obeys() {
    let aws = account().await;
    let (_function, log) = Function::start_with_log(&aws, &[]);
    change(&aws, "%1B%5B2J%C2%9B31m%7F%E2%80%AEgpj%0A").await;
    let record =
        json!({ "eventSource": "\u{9b}31m\u{202e}:none", "eventName": "ObjectCreated:Put" });
    let event = json!({ "Records": [record] }).to_string();
    aws.invoke(event, TIMEOUT).await.unwrap_err();
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("gpj")), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains(":none")),
        "{lines:#?}"
    );
    let is_obeyed = |c: char| c.is_control() || c == '\u{202e}';
    for line in &lines {
        assert!(!line.contains(is_obeyed), "{line:?}");
    }
}

#[tokio::test]
async fn the_first_line_tells_the_version_and_the_age_of_the_root_certificates() {
    let aws = account().await;
    let (_function, log) = Function::start_with_log(&aws, &[]);
    change(&aws, "a").await;
    let lines = log.lines();
    checked(&lines);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["message"], "started");
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(line["tls_roots"], tls_roots::PUBLISHED.to_string());
}

#[tokio::test]
async fn an_endpoint_without_tls_on_another_machine_stops_the_start_and_is_named() {
    let aws = account().await;
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_CLOUDFRONT",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_SNS",
        "AWS_ENDPOINT_URL_SQS",
        "BUFFER_QUEUE_URL",
        "TICK_QUEUE_URL",
        "SUBMIT_QUEUE_URL",
    ] {
        let value = "http://host.docker.internal:4566/000000000000/q";
        let (function, log) = Function::start_with_log(&aws, &[(name, value)]);
        assert!(!function.end(), "{name}");
        let lines = log.lines();
        let problems = checked(&lines);
        let expected = format!(
            "ERROR the function cannot start: the environment variable {name} is `{value}`, it must be "
        );
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(
            problems[0].starts_with(&expected) && problems[0].contains("https://"),
            "{problems:#?}"
        );
    }
}

#[tokio::test]
async fn the_sdk_speaks_if_it_is_asked_to() {
    let aws = account().await;
    let settings = [("RUST_LOG", "info,aws_smithy_runtime=warn")];
    let (_function, log) = Function::start_with_log(&aws, &settings);
    fail(&aws, Fault::InternalError, 1, Operation::ListDistributions);
    change(&aws, "a").await;
    let lines = log.lines().join("\n");
    assert!(
        lines.contains("unable to mark the connection for closure"),
        "{lines}"
    );
}
