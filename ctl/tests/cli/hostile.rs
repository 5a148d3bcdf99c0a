//! Names, files and answers that somebody else chose. Whatever is in them, a command shows it and obeys
//! none of it: no output holds a control character but its own line breaks, and no line is invented.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use strict_cloudfront::{Distribution, Origin};
use tokio::runtime::Runtime;

use super::replay::put;
use super::support::account::Account;
use super::{REPOSITORY, text};

/// What a terminal or a mail program obeys or hides, by the names of the review; `core/src/text.rs` goes by
/// Unicode's tables.
fn is_obeyed(c: char) -> bool {
    let is_bidirectional = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_hidden = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    let ends_a_line = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || is_bidirectional || is_hidden || ends_a_line
}

const INVENTED: &str = "INVENTED";

/// All that a command has shown.
fn shown(output: &Output) -> String {
    let shown = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(shown).expect("an output is UTF-8")
}

fn check(output: &Output) -> Result<(), TestCaseError> {
    let shown = shown(output);
    prop_assert!(
        !shown.chars().any(|c| c != '\n' && is_obeyed(c)),
        "{:?}",
        shown
    );
    prop_assert!(
        !shown.lines().any(|line| line.starts_with(INVENTED)),
        "{}",
        shown
    );
    prop_assert!(!shown.contains("this is a bug"), "{}", shown);
    prop_assert_ne!(output.status.code(), None, "{}", shown);
    Ok(())
}

/// A text that somebody chose with care.
fn hostile() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        any::<String>(),
        "[a-z/.*?~%-]{1,8}",
        any::<char>().prop_map(String::from),
        prop::sample::select(
            &[
                "\u{1b}]0;title\u{7}",
                "\u{1b}[2J",
                "\u{9b}31m",
                "\u{90}q\u{9c}",
                "\n",
                "\r",
                "\t",
                "\u{8}",
                "\u{7f}",
                "\nINVENTED\n",
                "\r\nINVENTED",
                "\u{2028}INVENTED",
                "\u{85}INVENTED",
                "\u{c}INVENTED",
                "%0AINVENTED",
                "\u{202e}",
                "\u{2066}",
                "\u{200f}",
                "\u{200b}",
                "\u{feff}",
                "\u{e0041}",
                "\u{ad}",
                "\0",
                "\\u001b",
                "\"",
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(parts, 0..5).prop_map(|parts| parts.concat())
}

/// An argument, which cannot hold a NUL.
fn argument() -> impl Strategy<Value = String> {
    hostile().prop_map(|text| text.replace('\0', ""))
}

/// The name of a file.
fn file_name() -> impl Strategy<Value = OsString> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let bytes = prop_oneof![hostile().prop_map(String::into_bytes), bytes];
    bytes.prop_map(|bytes| {
        let bytes = bytes.into_iter().filter(|byte| !b"/\0".contains(byte));
        OsString::from_vec(b"f".iter().copied().chain(bytes).take(100).collect())
    })
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program, with nothing of an account in its environment.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invalidatorctl"));
    command.current_dir(REPOSITORY).env_clear();
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.stdin(Stdio::null());
    command
}

/// An event with hostile names: nearly S3's, EventBridge's, or none at all.
fn event() -> impl Strategy<Value = String> {
    let names = (hostile(), hostile(), hostile(), hostile());
    let nearly = (names, any::<bool>()).prop_map(|((bucket, key, name, source), is_site)| {
        let bucket = if is_site { "example-site".to_owned() } else { bucket };
        let detail = json!({ "bucket": { "name": bucket }, "object": { "key": key } });
        json!({ "Records": [
            { "eventName": "ObjectCreated:Put", "s3": detail },
            { "eventName": "ObjectRemoved:Delete", "s3": detail },
            { "eventName": name, "s3": detail },
            { "eventName": "ObjectCreated:Put", "eventSource": source, "s3": detail },
            { "body": json!({ "source": "aws.s3", "detail-type": "Object Created", "detail": detail }).to_string() },
            { "body": key, "messageId": name },
            { key: bucket },
        ] })
        .to_string()
    });
    prop_oneof![4 => nearly, 1 => hostile()]
}

/// What `list-distributions` prints, with hostile texts in place of some.
fn distributions() -> impl Strategy<Value = String> {
    let texts = (hostile(), hostile(), hostile(), hostile(), hostile());
    let nearly = texts.prop_map(|(id, alias, pattern, policy, root)| {
        let file =
            std::fs::read_to_string(format!("{REPOSITORY}/events/distributions.json")).unwrap();
        let mut listing: Value = serde_json::from_str(&file).unwrap();
        let items = &mut listing["DistributionList"]["Items"];
        items[0]["Id"] = json!(id);
        items[0]["DomainName"] = json!(alias);
        items[0]["Aliases"]["Items"][0] = json!(alias);
        items[0]["DefaultRootObject"] = json!(root);
        items[0]["CacheBehaviors"]["Items"][0]["PathPattern"] = json!(pattern);
        items[1]["DefaultCacheBehavior"]["CachePolicyId"] = json!(policy);
        listing.to_string()
    });
    prop_oneof![8 => nearly, 1 => hostile()]
}

fn tags() -> impl Strategy<Value = String> {
    let nearly = (hostile(), hostile()).prop_map(|(first, second)| {
        json!({ "TagSet": [
            { "Key": "exceptionPaths", "Value": first }, { "Key": "exceptionPaths2", "Value": "*" },
            { "Key": second, "Value": second }, { "Key": "indexDocument", "Value": second },
        ] })
        .to_string()
    });
    prop_oneof![8 => nearly, 1 => hostile()]
}

#[test]
fn whatever_events_tags_and_distributions_hold_a_plan_obeys_nothing() {
    let folder = folder("hostile-plan");
    let inputs = (event(), file_name(), distributions(), tags(), argument());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(60));
    let result = runner.run(&inputs, |(event, name, distributions, tags, argument)| {
        let file = folder.join(&name);
        std::fs::write(&file, &event).unwrap();
        std::fs::write(folder.join("distributions.json"), &distributions).unwrap();
        std::fs::write(folder.join("tags.json"), &tags).unwrap();
        for output in ["text", "json"] {
            let mut command = program();
            command.arg("plan").arg(&file).args(["--output", output]);
            command
                .arg("--distributions")
                .arg(folder.join("distributions.json"));
            command.arg("--bucket-tags").arg(folder.join("tags.json"));
            check(&command.output().unwrap())?;
            command.args([
                "--distribution-ids",
                &argument,
                "--origin-buckets",
                &argument,
            ]);
            check(&command.output().unwrap())?;
        }
        std::fs::remove_file(&file).unwrap();
        Ok(())
    });
    result.unwrap();
}

#[test]
fn whatever_a_snapshot_and_a_question_hold_why_obeys_nothing() {
    let folder = folder("hostile-why");
    let mut runner = TestRunner::new(ProptestConfig::with_cases(40));
    let inputs = (distributions(), tags(), argument(), any::<bool>());
    let result = runner.run(&inputs, |(distributions, tags, asked, is_page)| {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let mut snapshot = parsed(&distributions);
        if snapshot.is_object() {
            snapshot["Version"] = json!(1);
            snapshot["Buckets"] = json!(["example-site"]);
            snapshot["CachePolicyList"] = json!({});
            snapshot["BucketTags"] = json!({ "example-site": parsed(&tags) });
        }
        let site = folder.join("site.json");
        std::fs::write(&site, snapshot.to_string()).unwrap();
        let page = format!("https://www.example.com/{asked}");
        for output in ["text", "json"] {
            let mut command = program();
            command
                .arg("why")
                .args(["--output", output, "--site"])
                .arg(&site);
            match is_page {
                true => command.arg(&page),
                false => command.args(["--bucket", "example-site", "--", &asked]),
            };
            check(&command.output().unwrap())?;
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn whatever_the_command_line_holds_its_errors_obey_nothing() {
    let word = prop::sample::select(
        &[
            "plan",
            "why",
            "verify",
            "mode",
            "replay",
            "man",
            "completions",
            "stopped",
            "--profile",
            "--region",
            "--endpoint-url",
            "--stack",
            "--error-bucket",
            "--bucket",
            "--submit-queue",
            "--why",
            "--yes",
            "--directly",
            "--distributions",
            "--bucket-tags",
            "--output",
            "--max-paths",
            "https://queue",
        ][..],
    );
    let word = prop_oneof![3 => word.prop_map(str::to_owned), 2 => argument()];
    let arguments = prop::collection::vec(word, 0..6);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(150));
    let result = runner.run(&arguments, |arguments| {
        let mut command = program();
        // Nothing answers there, and nothing is tried again.
        command
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        check(&command.args(&arguments).output().unwrap())
    });
    result.unwrap();
}

/// An account on a runtime that serves it while a test waits for a process.
fn account() -> (Runtime, Account) {
    let runtime = Runtime::new().unwrap();
    let account = runtime.block_on(async {
        let account = Account::new(&[]).await;
        let site = Distribution::new("E1", Origin::s3("site", "site"));
        // XML forbids other control characters.
        let site = site.alias("www\u{9b}31m\u{202e}gro.elpmaxe\u{e0041}");
        account.cloudfront.add(site);
        account
    });
    (runtime, account)
}

fn in_account(account: &Account) -> Command {
    let mut command = program();
    command.envs(account.environment());
    command
}

#[test]
fn whatever_error_files_and_modes_hold_replay_and_mode_obey_nothing() {
    let (runtime, account) = account();
    let queue = account.app.config.submit_queue.as_str();
    let good = "invalidation_error/1_E1.txt";
    let key = prop_oneof![
        2 => Just(good.to_owned()),
        1 => argument().prop_map(|text| format!("invalidation_error/1_{text}.txt")),
        1 => argument(),
    ];
    let content = prop_oneof![
        (hostile(), hostile()).prop_map(|(id, path)| format!("CloudFront Id [{id}]\n{path}\n")),
        hostile().prop_map(|path| format!("CloudFront Id [E1]\n/a*\n/{path}\n")),
        hostile(),
    ];
    let mode = (hostile(), hostile(), hostile())
        .prop_map(|(since, by, why)| {
            json!({ "v": 1, "mode": "stopped", "since": since, "by": by, "why": why }).to_string()
        })
        .boxed();
    let mode = prop_oneof![
        mode.clone(),
        (mode, hostile()).prop_map(|(mode, text)| mode.replacen("stopped", &text, 1)),
        (hostile(), hostile()).prop_map(|(by, why)| {
            json!({ "v": 1, "mode": "live", "since": "2026-11-21T02:03:04Z", "by": by, "why": why }).to_string()
        }),
    ];
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    let result = runner.run(
        &(key, content, mode, argument()),
        |(key, content, mode, why)| {
            // The stand-in refuses some keys, as S3 does.
            let known = if key.len() < 900 { key.as_str() } else { good };
            runtime.block_on(async {
                let s3 = account.app.clients.s3();
                let call = s3.put_object().bucket("errors").key(known);
                let _ = call.body(content.clone().into_bytes().into()).send().await;
                account.write_mode(&mode).await;
            });
            let mut replay = in_account(&account);
            replay.args([
                "replay",
                "--bucket",
                "errors",
                "--submit-queue",
                queue,
                "--yes",
                "--",
                &key,
            ]);
            check(&replay.output().unwrap())?;
            check(
                &in_account(&account)
                    .args(["mode", "--error-bucket", "errors"])
                    .output()
                    .unwrap(),
            )?;
            let mut choose = in_account(&account);
            choose.args([
                "mode",
                "live",
                "--error-bucket",
                "errors",
                "--yes",
                "--why",
                &why,
            ]);
            check(&choose.output().unwrap())
        },
    );
    result.unwrap();
}

/// Names as a review used them.
const NAME: &str =
    "\u{1b}]0;title\u{7}\u{9b}31m\nE1 invalidate /all\u{202e}gpj\u{2028}\u{200b}\u{7f}";

#[test]
fn a_plan_of_hostile_names_shows_them_escaped() {
    let file = folder("hostile-names").join("event.json");
    let detail = json!({ "bucket": { "name": "example-site" }, "object": { "key": NAME } });
    let event = json!({ "Records": [
        { "eventName": "ObjectRemoved:Delete", "s3": detail },
        { "eventName": NAME, "s3": detail },
        { "eventName": "ObjectCreated:Put", "eventSource": NAME, "s3": detail },
    ] });
    std::fs::write(&file, event.to_string()).unwrap();
    for format in ["text", "json"] {
        let mut command = program();
        command.current_dir(file.parent().unwrap()).args([
            "plan",
            "event.json",
            "--output",
            format,
        ]);
        command
            .arg("--distributions")
            .arg(format!("{REPOSITORY}/events/distributions.json"));
        let output = command.output().unwrap();
        check(&output).unwrap();
        insta::assert_snapshot!(
            format!("hostile_names_in_a_plan_as_{format}"),
            shown(&output)
        );
    }
}

#[test]
fn a_replay_of_hostile_names_shows_them_escaped() {
    let (runtime, account) = account();
    let queue = account.app.config.submit_queue.as_str().to_owned();
    let of = |name: &str| format!("invalidation_error/1_{name}.txt");
    let made_up = of(NAME);
    runtime.block_on(async {
        put(&account, &of("E1"), "CloudFront Id [E1]\n/a\n/*\n").await;
        put(
            &account,
            &of("E2"),
            format!("CloudFront Id [E2]\n{NAME}\n/b\u{9b}\n"),
        )
        .await;
    });
    let replay = |key: &str| {
        let mut command = in_account(&account);
        command.args([
            "replay",
            "--bucket",
            "errors",
            "--submit-queue",
            &queue,
            "--yes",
            key,
        ]);
        let output = command.output().unwrap();
        check(&output).unwrap();
        shown(&output)
    };
    let all = [
        replay(&of("E1")),
        replay(&of("E2")),
        replay(&made_up),
        replay(NAME),
    ]
    .join("\n");
    insta::assert_snapshot!(all);
}

#[test]
fn a_mode_of_hostile_names_shows_them_escaped() {
    let (runtime, account) = account();
    let mode = json!({ "v": 1, "mode": "stopped", "since": "2026-11-21T02:03:04Z", "by": NAME, "why": NAME });
    runtime.block_on(account.write_mode(&mode.to_string()));
    let mut all = Vec::new();
    for arguments in [
        &["mode", "--error-bucket", "errors"][..],
        &["mode", NAME],
        &["mode", "--error-bucket", NAME],
    ] {
        let output = in_account(&account).args(arguments).output().unwrap();
        check(&output).unwrap();
        all.push(shown(&output));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_file_name_that_is_no_text_is_shown() {
    let name = OsString::from_vec(b"none\xff\x1b[31m".to_vec());
    let output = program()
        .arg("plan")
        .arg(name)
        .args(["--distributions", "x"])
        .output()
        .unwrap();
    check(&output).unwrap();
    assert_eq!(
        text(output.stderr).lines().next().unwrap(),
        "error: failed to read the event none\u{fffd}\\u{1b}[31m: No such file or directory (os error 2)"
    );
}
