//! `invalidatorctl`, run as its users run it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../tests/support"]
#[allow(dead_code, unused_imports)] // The tests of the function use the rest.
mod support {
    pub mod account;
    pub mod emulator;
    pub mod tags;
}

use std::process::{Command, Output, Stdio};

use strict_cloudfront::{Distribution, Fault, Operation, Origin};
use support::account::Account;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const FILES: [&str; 6] = [
    "--distributions",
    "events/distributions.json",
    "--cache-policies",
    "events/cache-policies.json",
    "--bucket-tags",
    "events/bucket-tags.json",
];

fn plan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .current_dir(REPOSITORY)
        .arg("plan")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_plan_shows_each_change_its_reasons_and_the_sets() {
    let output = plan(&[&["events/s3-many-records.json"][..], &FILES].concat());
    assert!(output.status.success());
    insta::assert_snapshot!(text(output.stdout));
}

#[test]
fn special_keys_are_shown_decoded_and_their_paths_encoded() {
    let output = plan(
        &[
            &[
                "events/s3-special-keys.json",
                "--distribution-ids",
                "E1WWWEXAMPLE01",
            ][..],
            &FILES,
        ]
        .concat(),
    );
    assert!(output.status.success());
    insta::assert_snapshot!(text(output.stdout));
}

/// Whoever may upload chooses the key. Before, it could change a terminal's title or invent lines.
#[test]
fn nothing_in_an_event_commands_a_terminal() {
    let hostile = "\u{1b}]0;title\u{7}\u{9b}31m\nE1 invalidate /all\u{202e}\u{2028}";
    let event = serde_json::json!({ "Records": [
        { "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": hostile }, "object": { "key": hostile } } },
        { "eventName": hostile },
        { "eventSource": hostile, "eventName": "ObjectCreated:Put" },
        { "eventName": "ObjectRemoved:Delete", "s3": { "bucket": { "name": "example-www" }, "object": { "key": hostile } } },
    ] });
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-event.json");
    std::fs::write(&file, event.to_string()).unwrap();
    for format in ["text", "json"] {
        let arguments = [&[file.to_str().unwrap(), "--output", format][..], &FILES].concat();
        let output = plan(&arguments);
        let shown = text(output.stdout) + &text(output.stderr);
        assert!(shown.contains("title"), "{shown}");
        assert!(!shown.contains("\nE1 invalidate"), "{shown}");
        let obeyed = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{2028}".contains(c));
        assert!(!shown.contains(obeyed), "{shown:?}");
    }
}

#[test]
fn a_plan_is_json_for_machines() {
    let output = plan(
        &[
            &[
                "events/s3-put.json",
                "events/s3-ignored.json",
                "--output",
                "json",
            ][..],
            &FILES,
        ]
        .concat(),
    );
    assert!(output.status.success());
    insta::assert_snapshot!(text(output.stdout));
}

#[test]
fn every_sample_event_is_read() {
    for entry in std::fs::read_dir(format!("{REPOSITORY}/events")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let is_event = ["s3-", "sns", "sqs", "eventbridge"]
            .iter()
            .any(|start| name.starts_with(start));
        if is_event {
            let output = plan(&[&[file.to_str().unwrap()][..], &FILES].concat());
            assert!(output.status.success(), "{name}: {}", text(output.stdout));
        }
    }
}

#[test]
fn without_tags_nothing_is_excepted_and_without_policies_they_are_taken_to_cache() {
    let output = plan(&[
        "events/s3-many-records.json",
        "--distributions",
        "events/distributions.json",
    ]);
    let shown = text(output.stdout);
    assert!(!shown.contains("excepted:"), "{shown}");
    assert!(shown.contains("is unknown and assumed to cache"), "{shown}");
}

#[test]
fn bad_input_is_named() {
    for (arguments, expected) in [
        (
            vec![
                "events/none.json",
                "--distributions",
                "events/distributions.json",
            ],
            "events/none.json",
        ),
        (
            vec!["events/s3-put.json", "--distributions", "Cargo.toml"],
            "Cargo.toml is not what `aws cloudfront list-distributions` prints",
        ),
        (
            vec![
                "events/s3-put.json",
                "--distributions",
                "events/distributions.json",
                "--bucket-tags",
                "events/s3-put.json",
            ],
            "is not what `aws s3api get-bucket-tagging` prints",
        ),
        (
            vec![
                "events/s3-put.json",
                "--distributions",
                "events/distributions.json",
                "--origin-buckets",
                "x",
            ],
            "ALIAS=BUCKET",
        ),
    ] {
        let output = plan(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let error = text(output.stderr);
        assert!(error.contains(expected), "{error}");
    }
    let output = plan(&["Cargo.toml", "--distributions", "events/distributions.json"]);
    assert!(!output.status.success());
    assert!(
        text(output.stdout).contains("unreadable: Cargo.toml: the event: not readable as JSON")
    );
}

/// An account in which the path of `index.html` was rejected, and the key of the error file.
async fn refused_upload() -> (Account, String) {
    let account = Account::new(&[]).await;
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    account
        .cloudfront
        .add(site.default_root_object("index.html"));
    let refuse = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(refuse.on(Operation::CreateInvalidation));
    account.change(&[("ObjectCreated:Put", "index.html")]).await;
    account.flush_and_submit().await;
    let key = account.error_files().await.remove(0).0;
    (account, key)
}

async fn in_account(account: &Account, arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args(arguments)
        .envs(account.environment())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_rejected_is_replayed_once_its_cause_is_fixed() {
    let (account, key) = refused_upload().await;
    let replay = ["replay", "--directly", "--bucket", "errors", key.as_str()];
    let asked = in_account(&account, &replay).await;
    assert!(!asked.status.success(), "there is no terminal to ask on");
    assert!(text(asked.stderr).contains("--yes"));

    let confirmed = [&replay[..], &["--yes"]].concat();
    let refused = in_account(&account, &confirmed).await;
    assert!(!refused.status.success());
    assert!(
        text(refused.stderr)
            .contains("E1: 2 paths rejected: CloudFront CreateInvalidation: AccessDenied: ")
    );

    account.cloudfront.heal();
    let taken = in_account(&account, &confirmed).await;
    assert!(taken.status.success(), "{}", text(taken.stderr));
    assert!(text(taken.stdout).starts_with("E1: 2 paths\n  /\n  /index.html\n"));
    in_account(&account, &confirmed).await;
    let invalidations = account.cloudfront.invalidations("E1");
    assert_eq!(invalidations.len(), 1, "replayed twice, paid for once");
    assert_eq!(invalidations[0].paths, ["/", "/index.html"]);

    let missing = [
        "replay",
        "--directly",
        "--bucket",
        "errors",
        "none.txt",
        "--yes",
    ];
    let missing = in_account(&account, &missing).await;
    assert!(text(missing.stderr).contains("failed to read s3://errors/none.txt"));
}

#[tokio::test]
async fn a_replay_through_the_queue_is_submitted_by_the_function() {
    let (account, key) = refused_upload().await;
    account.cloudfront.heal();
    let queue = account.app.config.submit_queue.as_str().to_owned();
    let replay = [
        "replay",
        "--bucket",
        "errors",
        "--submit-queue",
        &queue,
        &key,
        "--yes",
    ];
    for _ in 0..2 {
        let output = in_account(&account, &replay).await;
        assert!(output.status.success(), "{}", text(output.stderr));
    }
    assert_eq!(
        account.waiting_sets().await,
        1,
        "the second time is the same"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/", "/index.html"]);
    let output = in_account(&account, &["replay", "--bucket", "errors", &key]).await;
    assert!(text(output.stderr).contains("--submit-queue"));
}

#[tokio::test]
async fn without_files_the_account_is_asked() {
    let account = Account::new(&[]).await;
    account.tag(&[("exceptionPaths", "tmp")]).await;
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    account
        .cloudfront
        .add(site.default_root_object("index.html"));
    let event = std::env::temp_dir().join(format!("event-{}.json", std::process::id()));
    let changes = [
        ("ObjectCreated:Put", "index.html"),
        ("ObjectCreated:Put", "tmp/a"),
    ];
    std::fs::write(&event, support::account::s3_event(&changes).to_string()).unwrap();
    let output = in_account(&account, &["plan", event.to_str().unwrap()]).await;
    std::fs::remove_file(&event).unwrap();
    let shown = text(output.stdout);
    for reason in [
        "E1 invalidate /index.html (the default behavior: ",
        "E1 invalidate / (the default behavior: ",
        ", answered with the default root object)",
    ] {
        assert!(shown.contains(reason), "{shown}");
    }
    assert!(
        shown.contains("only deletions count under `tmp`, by the bucket tag exceptionPaths"),
        "{shown}"
    );
    let called = account.cloudfront.calls_of(Operation::CreateInvalidation);
    assert_eq!(called.len(), 0, "nothing is submitted");
}
