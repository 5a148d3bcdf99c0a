//! `invalidatorctl wait`.

use std::process::Output;
use std::time::Duration;

use invalidator_core::mode::Mode;
use serde_json::{Value, json};
use strict_cloudfront::{Distribution, Fault, Operation, Origin};

use super::support::account::Account;
use super::{in_account, make_stack_of, make_stack_with, text};

const PUT: &str = "ObjectCreated:Put";

fn site() -> Distribution {
    Distribution::new("E1", Origin::s3("site", "site"))
}

async fn make_stack(account: &Account, more: &[(&str, &str)]) {
    let config = &account.app.config;
    let (buffer, ticks) = (config.buffer_queue.as_str(), config.tick_queue.as_str());
    let queues = [("BufferQueueUrl", buffer), ("TickQueueUrl", ticks)];
    make_stack_with(account, "waited", "live", &[&queues, more].concat()).await;
}

const KNOWN: (&str, &str) = ("FenceVersion", "1");

/// A site that is served, and its stack.
pub async fn account() -> Account {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site());
    make_stack(&account, &[KNOWN]).await;
    account
}

/// Waits, while the function flushes and submits now and then.
async fn wait(account: &Account, more: &[&str]) -> Output {
    let fixed = [
        "wait", "--stack", "waited", "--bucket", "site", "--settle", "0",
    ];
    let arguments = [&fixed, more].concat();
    let function = async {
        loop {
            account.flush().await;
            account.submit().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        output = in_account(account, &arguments) => output,
        () = function => unreachable!("it goes on"),
    }
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", text(output.stderr.clone())))
}

#[tokio::test]
async fn it_ends_when_all_is_accepted_and_complete() {
    let account = account().await;
    account.change(&[(PUT, "a"), (PUT, "b")]).await;
    let waited = wait(&account, &[]).await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b"]);
    let shown = text(waited.stdout);
    assert!(
        shown.starts_with("every change of site is accepted, for E1 (after "),
        "{shown}"
    );
    assert!(waited.status.success());

    // A call that CloudFront throttles is no reason to fail a deployment.
    let busy = Fault::Throttling.times(4).on(Operation::ListInvalidations);
    account.cloudfront.fail(busy);
    let complete = wait(&account, &["--complete", "--output", "json"]).await;
    assert!(text(complete.stderr.clone()).contains("It is tried again."));
    let told = json_of(&complete);
    assert_eq!(told["result"], "complete", "{told}");
    assert_eq!((&told["v"], &told["targets"]), (&json!(1), &json!(["E1"])));
    assert_eq!(
        account.cloudfront.invalidations("E1").len(),
        1,
        "no fence is paid for"
    );
    let fences = account.app.clients.s3().list_objects_v2().bucket("errors");
    let fences = fences.prefix("fences/").send().await.unwrap();
    assert!(fences.contents().is_empty(), "it removes what it has read");
}

/// An event in the queue in front of the function is a change that no fence can follow.
#[tokio::test]
async fn it_sends_no_fence_before_the_queue_in_front_is_empty() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site());
    let sqs = account.app.clients.sqs();
    let made = sqs.create_queue().queue_name("intake").send().await;
    let intake = made.unwrap().queue_url.unwrap();
    let parameters = [("InitialMode", "live"), ("EventSource", "SQS")];
    let config = &account.app.config;
    let outputs = [
        ("BufferQueueUrl", config.buffer_queue.as_str()),
        ("TickQueueUrl", config.tick_queue.as_str()),
        ("IntakeQueueUrl", &intake),
        KNOWN,
    ];
    make_stack_of(&account, "waited", &parameters, &outputs).await;
    let event = sqs.send_message().queue_url(&intake).message_body("{}");
    event.send().await.unwrap();
    // The function has it, and has not buffered its change yet.
    let taken = sqs.receive_message().queue_url(&intake);
    let taken = taken.visibility_timeout(600).send().await.unwrap();
    let handle = taken.messages()[0].receipt_handle().unwrap();
    let early = wait(&account, &["--timeout", "8"]).await;
    assert_eq!(early.status.code(), Some(1));
    let shown = text(early.stdout);
    assert!(shown.contains("for 1 event in IntakeQueue"), "{shown}");

    let done = sqs.delete_message().queue_url(&intake);
    done.receipt_handle(handle).send().await.unwrap();
    account.change(&[(PUT, "a")]).await;
    let waited = wait(&account, &["--output", "json"]).await;
    assert_eq!(json_of(&waited)["result"], "accepted");
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
}

#[tokio::test]
async fn what_was_rejected_is_named_and_fails() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site());
    make_stack(&account, &[KNOWN]).await;
    let denied = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(denied.on(Operation::CreateInvalidation));
    account.change(&[(PUT, "a")]).await;
    let waited = wait(&account, &[]).await;
    assert_eq!(waited.status.code(), Some(1));
    let key = account.error_files().await.remove(0).0;
    let shown = text(waited.stdout);
    assert!(shown.contains(&format!("  rejected: {key}\n")), "{shown}");
    assert!(shown.contains("invalidatorctl replay"), "{shown}");
    // It was before that time.
    account.cloudfront.heal();
    let later = wait(
        &account,
        &["--since", "2100-01-01T00:00:00Z", "--output", "json"],
    )
    .await;
    assert_eq!(json_of(&later)["result"], "accepted");
}

#[tokio::test]
async fn whatever_keeps_it_from_ending_is_told() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site());
    make_stack(&account, &[KNOWN]).await;
    let wait = async |more: &[&str]| {
        let fixed = [
            "wait",
            "--stack",
            "waited",
            "--settle",
            "0",
            "--timeout",
            "1",
        ];
        let output = in_account(&account, &[&fixed, more].concat()).await;
        let told = text(output.stdout) + &text(output.stderr);
        (output.status.code(), told)
    };
    let (status, told) = wait(&["--bucket", "site"]).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("still waiting: for a flush"), "{told}");
    for (mode, shown) in [(Mode::Stopped, "stopped"), (Mode::DryRun, "dry-run")] {
        account.choose(mode).await;
        let (status, told) = wait(&["--bucket", "site", "--output", "json"]).await;
        assert_eq!(status, Some(1));
        assert!(told.contains("\"result\": \"not-live\""), "{told}");
        assert!(told.contains(&format!("the mode is {shown}")), "{told}");
    }
    for (arguments, expected) in [
        (&["--bucket", "no such bucket"][..], "no such bucket"),
        (
            &["--bucket", "site", "--since", "yesterday"],
            "expected 10m, 2h, 3d, or a time",
        ),
        (&["--bucket", "site", "--timeout", "soon"], "--timeout"),
        (&[], "--bucket"),
    ] {
        let (status, told) = wait(arguments).await;
        assert_eq!(status, Some(2), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn a_bucket_that_nothing_serves_is_a_finding() {
    let account = Account::new(&[]).await;
    make_stack(&account, &[KNOWN]).await;
    let waited = wait(&account, &[]).await;
    assert_eq!(waited.status.code(), Some(1));
    let shown = text(waited.stdout);
    assert!(
        shown.starts_with("no distribution of this account serves site"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_stack_that_is_too_old_is_told_from_one_that_is_slow() {
    let account = Account::new(&[]).await;
    make_stack(&account, &[]).await;
    let waited = wait(&account, &[]).await;
    assert_eq!(waited.status.code(), Some(1));
    let told = text(waited.stderr);
    assert!(
        told.contains("this stack is of a version before `wait`"),
        "{told}"
    );
    assert_eq!(account.buffered().await, 0, "nothing was sent");
}
