//! `invalidatorctl`, run as its users run it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../tests/support"]
#[allow(dead_code, unused_imports)] // The tests of the function use the rest.
mod support {
    pub mod account;
    pub mod calls;
    pub mod emulator;
    pub mod tags;
}

#[path = "cli/account.rs"]
mod account;
#[path = "cli/canary.rs"]
mod canary;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/drain.rs"]
mod drain;
#[path = "cli/hostile.rs"]
mod hostile;
#[path = "cli/invalidate.rs"]
mod invalidate;
#[path = "cli/jobs.rs"]
mod jobs;
#[path = "cli/pause.rs"]
mod pause;
#[path = "cli/replay.rs"]
mod replay;
#[path = "cli/scheduler.rs"]
mod scheduler;
#[path = "cli/shell.rs"]
mod shell;
#[path = "cli/status.rs"]
mod status;
#[path = "cli/store.rs"]
mod store;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/verify.rs"]
mod verify;
#[path = "cli/wait.rs"]
mod wait;
#[path = "cli/why.rs"]
mod why;

use std::process::{Command, Output, Stdio};

use strict_cloudfront::{Distribution, Operation, Origin};
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
fn a_wildcard_that_is_wider_than_the_setting_allows_is_shown_as_rejected() {
    let event = serde_json::json!({ "Records": [
        { "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": "example-site" }, "object": { "key": "~alice/x" } } },
        { "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": "example-site" }, "object": { "key": "news/~draft" } } },
    ] });
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("wide-event.json");
    std::fs::write(&file, event.to_string()).unwrap();
    let arguments = [
        file.to_str().unwrap(),
        "--distribution-ids",
        "E1WWWEXAMPLE01",
    ];
    let shown = |depth| {
        let depth = ["--min-wildcard-depth", depth];
        let output = plan(&[&arguments[..], &depth, &FILES].concat());
        text(output.stdout)
    };
    let (all, few) = (shown("0"), shown("1"));
    assert!(
        all.contains("\ninvalidation of E1WWWEXAMPLE01 with 1 paths\n    /*\n"),
        "{all}"
    );
    assert!(!all.contains("rejected"), "{all}");
    for told in [
        "invalidate /* (the default behavior: MaxTTL 31536000 by cache policy Managed-CachingOptimized, a wildcard over \
         the whole distribution because CloudFront cannot invalidate a path with `~`, rejected because MinWildcardDepth \
         is 1)",
        "\ninvalidation of E1WWWEXAMPLE01 with 1 paths\n    /news/*\n",
        "\nrejected for E1WWWEXAMPLE01 with 1 paths\n    /*\n",
        "\n  1 paths in 1 sets\n",
    ] {
        assert!(few.contains(told), "{few}");
    }
}

#[test]
fn a_plan_says_what_it_costs_and_when_wildcards_would_take_the_place_of_its_paths() {
    let record = |n: usize| {
        serde_json::json!({
            "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": "example-site" }, "object": { "key": format!("blog/{n}.html") } },
        })
    };
    let event = serde_json::json!({ "Records": (0..300).map(record).collect::<Vec<_>>() });
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("costly-event.json");
    std::fs::write(&file, event.to_string()).unwrap();
    for (arguments, expected) in [
        (
            &["--cost-mode", "exact"][..],
            &[
                "  example-site: exact paths: the cost mode is exact",
                "  300 paths: 0 USD, after 0 paths of the account this month",
            ][..],
        ),
        (
            &["--cost-mode", "exact", "--ordered", "900"],
            &["  300 paths: 1.00 USD, after 900 paths of the account this month"],
        ),
        (
            &["--ordered", "900"],
            &[
                "  example-site: the cheapest cover: no room for 300 paths in the month's budget: 900 of 1,000 reserved",
                "  E1WWWEXAMPLE01: collapsed 300 paths into /blog/*: saves 1.495 USD",
                "  1 path: 0 USD, after 900 paths of the account this month",
            ],
        ),
        (
            &["--ordered", "900", "--monthly-path-budget", "10000000"],
            &[
                "  example-site: exact paths: fits into the month's budget: 900 of 10,000,000 reserved",
            ],
        ),
    ] {
        let one = ["--distribution-ids", "E1WWWEXAMPLE01"];
        let output = plan(&[&[file.to_str().unwrap()][..], arguments, &one, &FILES].concat());
        let shown = text(output.stdout);
        for line in expected {
            assert!(shown.contains(line), "{arguments:?}: {line}\n{shown}");
        }
    }
    let output = plan(&[file.to_str().unwrap(), "--cost-mode", "cheap"]);
    assert_eq!(output.status.code(), Some(2));
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

async fn in_account(account: &Account, arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args(arguments)
        .envs(account.environment())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

/// Endpoints are checked wherever they come from: the command line, the environment, the AWS configuration.
#[test]
fn nothing_is_called_without_tls_on_another_machine() {
    let configured = concat!(env!("CARGO_TARGET_TMPDIR"), "/endpoint.config");
    let other = "http://sts.example.org";
    std::fs::write(configured, format!("[default]\nendpoint_url = {other}\n")).unwrap();
    for (arguments, variable) in [
        (&["--endpoint-url", other][..], ("AWS_PROFILE", "default")),
        (&[], ("AWS_ENDPOINT_URL", other)),
        (&[], ("AWS_ENDPOINT_URL_S3", other)),
        (&[], ("AWS_CONFIG_FILE", configured)),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
            .args(arguments)
            .args(["mode", "--error-bucket", "errors"])
            .env_clear()
            .envs([
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_CONFIG_FILE", "/dev/null"),
                ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
                variable,
            ])
            .output()
            .unwrap();
        let problem = text(output.stderr);
        assert!(!output.status.success(), "{problem}");
        for expected in [other, "https://", "http://127.0.0.1"] {
            assert!(problem.contains(expected), "{variable:?}: {problem}");
        }
    }
}

/// A stack of CloudFormation with the account's error bucket as its output.
async fn make_stack(account: &Account, name: &str) {
    make_stack_with(
        account,
        name,
        "dry-run",
        &[
            ("LogGroupName", "/aws/lambda/invalidator"),
            ("FunctionName", "nobody"),
        ],
    )
    .await;
}

/// The same, with this `InitialMode` and more outputs.
async fn make_stack_with(account: &Account, name: &str, mode: &str, more: &[(&str, &str)]) {
    make_stack_of(account, name, &[("InitialMode", mode)], more).await;
}

/// The same with any parameters.
async fn make_stack_of(
    account: &Account,
    name: &str,
    parameters: &[(&str, &str)],
    more: &[(&str, &str)],
) {
    let parameters = parameters.iter().map(|(name, value)| {
        let value = serde_json::json!({ "Type": "String", "Default": value });
        ((*name).to_owned(), value)
    });
    let parameters: serde_json::Map<_, _> = parameters.collect();
    let submit = account.app.config.submit_queue.as_str();
    let known = [("ErrorBucketName", "errors"), ("SubmitQueueUrl", submit)];
    let outputs = known.iter().chain(more);
    let outputs = outputs.map(|(name, value)| {
        let value = serde_json::json!({ "Value": value });
        ((*name).to_owned(), value)
    });
    let outputs: serde_json::Map<_, _> = outputs.collect();
    let body = serde_json::json!({
        "Parameters": parameters,
        "Resources": { "Queue": { "Type": "AWS::SQS::Queue" } },
        "Outputs": outputs,
    });
    let environment: std::collections::HashMap<_, _> = account.environment().into();
    let config = aws_sdk_cloudformation::Config::builder()
        .behavior_version_latest()
        .http_client(invalidator::aws::http_client(
            invalidator::aws::roots::Roots::BuiltIn,
        ))
        .endpoint_url(&environment["AWS_ENDPOINT_URL"])
        .region(aws_sdk_cloudformation::config::Region::new("us-east-1"))
        .credentials_provider(aws_credential_types::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .build();
    let client = aws_sdk_cloudformation::Client::from_conf(config);
    let call = client.create_stack().stack_name(name);
    let call = call.template_body(body.to_string());
    call.send().await.unwrap();
    for _ in 0..600 {
        let stacks = client.describe_stacks().stack_name(name).send().await;
        let stacks = stacks.unwrap().stacks.unwrap_or_default();
        if stacks.iter().any(|stack| !stack.outputs().is_empty()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the stack is not made");
}

#[tokio::test]
async fn the_mode_is_shown_chosen_and_read_by_the_function() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    make_stack(&account, "my-stack").await;
    let shown = in_account(&account, &["mode", "--stack", "my-stack"]).await;
    let told = text(shown.stderr);
    // On a busy machine it first says what it waits for.
    let account_and_stack = "account 000000000000 (keys of the environment), us-east-1, stack my-stack, error bucket errors\n";
    assert!(told.ends_with(account_and_stack), "{told}");
    let shown = text(shown.stdout);
    assert!(
        shown.contains("nobody has chosen a mode: it is dry-run since the deployment"),
        "{shown}"
    );

    let stop = [
        "mode",
        "stopped",
        "--stack",
        "my-stack",
        "--why",
        "a release",
    ];
    let asked = in_account(&account, &stop).await;
    assert!(!asked.status.success(), "there is no terminal to ask on");
    assert!(text(asked.stderr).contains("--yes"));
    let confirmed = in_account(&account, &[&stop[..], &["--yes"]].concat()).await;
    assert!(confirmed.status.success(), "{}", text(confirmed.stderr));
    let told = text(confirmed.stderr);
    assert!(
        told.contains("stopped: changes wait and nothing is invalidated"),
        "{told}"
    );
    assert!(told.contains("It takes effect within a minute"), "{told}");

    let json = ["mode", "--stack", "my-stack", "--output", "json"];
    let json = in_account(&account, &json).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["v"], &json["mode"], &json["why"], &json["is_chosen"]),
        (
            &1.into(),
            &"stopped".into(),
            &"a release".into(),
            &true.into()
        )
    );
    assert!(json["since"].as_str().unwrap().starts_with("20"), "{json}");

    let by_bucket = ["mode", "--error-bucket", "errors"];
    let shown = text(in_account(&account, &by_bucket).await.stdout);
    assert!(shown.contains("the mode is stopped since 20"), "{shown}");
    assert!(shown.contains(", by arn:aws:"), "{shown}");
    assert!(shown.contains(": a release"), "{shown}");

    account
        .cloudfront
        .add(Distribution::new("E1", Origin::s3("site", "site")));
    account.change(&[("ObjectCreated:Put", "a")]).await;
    assert_eq!(account.flush().await.batch_item_failures.len(), 1);
    let live = ["mode", "live", "--error-bucket", "errors", "--yes"];
    assert!(in_account(&account, &live).await.status.success());
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    let flushed = &account.cloudfront.invalidations("E1")[0];
    assert!(flushed.caller_reference.ends_with("-flush"));
}

#[tokio::test]
async fn a_mode_that_cannot_be_read_or_written_is_an_error_that_says_where() {
    let account = Account::new(&[]).await;
    account.write_mode("hello").await;
    let by_bucket = ["mode", "--error-bucket", "errors"];
    for (arguments, expected) in [
        (
            &by_bucket[..],
            "s3://errors/state/mode.json: it is not the documented JSON: expected value at line 1 column 1. \
             What to do: write it again with `invalidatorctl mode`",
        ),
        (
            &["mode", "--error-bucket", "none"],
            "s3://none/state/mode.json",
        ),
        (
            &["mode", "live", "--error-bucket", "none", "--yes"],
            "the mode was not changed: failed to write s3://none/state/mode.json",
        ),
        (
            &["mode", "--stack", "none"],
            "failed to read the stack none",
        ),
        (
            &["mode", "paused"],
            "`paused` is no mode: it is live, dry-run or stopped",
        ),
    ] {
        let output = in_account(&account, arguments).await;
        let error = text(output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let mended = [&by_bucket[..], &["live", "--yes"]].concat();
    assert!(in_account(&account, &mended).await.status.success());
    let shown = text(in_account(&account, &by_bucket).await.stdout);
    assert!(shown.contains("the mode is live"), "{shown}");
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
