//! `invalidatorctl check` and `connect` where not all can be read. The faults themselves are planted in
//! `tests/local/test_check.py`.

use serde_json::Value;
use strict_cloudfront::{Distribution, Fault, Operation, Origin};

use super::support::account::Account;
use super::{in_account, make_stack, text};

/// A stack that has little of what a stack has: nothing crashes, and nothing is passed over.
#[tokio::test]
async fn each_thing_that_cannot_be_looked_at_is_a_finding() {
    let account = Account::new(&[]).await;
    make_stack(&account, "invalidator").await;
    let refuse = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(refuse.on(Operation::ListDistributions));
    let output = in_account(&account, &["check", "--output", "json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let unread = findings.iter().filter(|it| it["rule"] == "not-looked-at");
    let told: Vec<&str> = unread.map(|it| it["what"].as_str().unwrap()).collect();
    for expected in [
        "CloudFront ListDistributions: AccessDenied",
        "Lambda GetFunctionConfiguration: ResourceNotFoundException: ",
        "NoOutput: the stack has no output TickQueueUrl",
        "NoOutput: the stack has no output AlertTopicArn",
    ] {
        assert!(
            told.iter().any(|it| it.contains(expected)),
            "{expected}: {told:#?}"
        );
    }
    let queues = told.iter().filter(|it| it.contains("QueueUrl"));
    assert_eq!(queues.count(), 6, "SubmitQueue can be read: {told:#?}");
}

#[tokio::test]
async fn a_distribution_whose_others_cannot_be_read_is_told_too() {
    let account = Account::new(&[]).await;
    make_stack(&account, "invalidator").await;
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    account.cloudfront.add(site);
    let refuse = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(refuse.on(Operation::ListInvalidations));
    let output = in_account(&account, &["check"]).await;
    let shown = text(output.stdout);
    let expected = "distribution E1 (de1.cloudfront.net)\n  warning: who else invalidates it could not be looked at: \
                    CloudFront ListInvalidations: AccessDenied";
    assert!(shown.contains(expected), "{shown}");
    assert!(shown.contains("bucket site\n"), "{shown}");
}

#[tokio::test]
async fn what_cannot_be_checked_or_connected_says_why() {
    let account = Account::new(&[]).await;
    make_stack(&account, "invalidator").await;
    for (arguments, status, expected) in [
        (
            &["check", "--stack", "none"][..],
            1,
            "failed to read the stack none",
        ),
        (
            &["check", "--error-bucket", "errors"],
            2,
            "name it with --stack",
        ),
        (&["check", "--probe-key", "a"], 2, "--probe"),
        (
            &["connect", "site", "--error-bucket", "errors"],
            2,
            "name the stack with --stack",
        ),
        (
            &["connect", "site"],
            1,
            "the stack invalidator has no output FunctionArn",
        ),
        (
            &["connect", "site", "--exception-paths", "a*"],
            2,
            "`a*` has a `*`, which S3 saves in no tag",
        ),
        (
            &["connect", "site", "--index-document", "a/b"],
            2,
            "an index document is a name without a folder",
        ),
        (&["connect", "s3://site"], 2, "invalid value"),
    ] {
        let output = in_account(&account, arguments).await;
        let told = text(output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
