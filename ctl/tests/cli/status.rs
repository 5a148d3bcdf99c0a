//! `invalidatorctl status`.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::support::account::Account;
use super::{in_account, make_stack_with, text};

/// A stack with all outputs but the log group.
pub async fn account() -> Account {
    let account = Account::new(&[]).await;
    let config = &account.app.config;
    let (buffer, ticks) = (config.buffer_queue.as_str(), config.tick_queue.as_str());
    // Any queues will do for those that are empty in this test.
    let outputs = [
        ("IntakeQueueUrl", ticks),
        ("BufferQueueUrl", buffer),
        ("TickQueueUrl", ticks),
        ("BufferDeadLetterQueueUrl", ticks),
        ("SubmitDeadLetterQueueUrl", ticks),
        ("FailedEventsQueueUrl", ticks),
    ];
    make_stack_with(&account, "shown", "live", &outputs).await;
    account
}

#[tokio::test]
async fn it_shows_what_waits_and_says_what_it_cannot_read() {
    let account = account().await;
    for body in ["one", "two"] {
        account.buffer(body).await;
    }
    let status = ["status", "--stack", "shown"];
    let shown = in_account(&account, &status).await;
    assert_eq!(shown.status.code(), Some(1), "a part cannot be read");
    let shown = text(shown.stdout);
    for expected in [
        "mode: live since the deployment",
        "BufferQueue",
        "not known: log: the stack shown has no output LogGroupName",
        "0 paths",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let json = in_account(&account, &[&status[..], &["--output", "json"]].concat()).await;
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["v"], 1);
    assert_eq!(json["queues"][0]["queue"], "IntakeQueue");
    assert_eq!(json["queues"][1]["queue"], "BufferQueue");
    assert_eq!(json["queues"][1]["waiting"], 2);
    assert_eq!(json["flushes"], Value::Null);
    assert!(
        json["unread"]["log"]
            .as_str()
            .unwrap()
            .contains("LogGroupName")
    );
}

/// Where standard output is no terminal, nothing is redrawn.
#[tokio::test]
async fn watching_shows_it_again_and_again() {
    use std::io::{BufRead, BufReader};
    let account = account().await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args(["status", "--stack", "shown", "--watch"])
        .envs(account.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(out).lines().map(Result::unwrap);
        let begins = lines.inspect(|line| assert!(!line.contains('\u{1b}'), "{line}"));
        begins
            .filter(|line| line.starts_with("status at "))
            .take(2)
            .count()
    });
    let begun = read.await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(begun, 2);
}

#[tokio::test]
async fn a_stack_that_does_not_exist_is_an_error() {
    let account = Account::new(&[]).await;
    let shown = in_account(&account, &["status", "--stack", "none"]).await;
    assert_eq!(shown.status.code(), Some(1));
    assert!(text(shown.stderr).contains("failed to read the stack none"));
}
