//! `invalidatorctl replay`.

use std::collections::BTreeSet;

use invalidator_core::mode::Mode;
use strict_cloudfront::{Distribution, Fault, Operation, Origin};

use super::support::account::Account;
use super::{in_account, make_stack, text};

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

/// An account with this distribution, and another one.
async fn account_of(distribution: Distribution) -> Account {
    let account = Account::new(&[]).await;
    account.cloudfront.add(distribution);
    let other = Distribution::new("E2", Origin::s3("other", "other"));
    account.cloudfront.add(other);
    account
}

fn site() -> Distribution {
    Distribution::new("E1", Origin::s3("site", "site")).alias("www.example.org")
}

/// Puts an object into the error bucket.
pub async fn put(account: &Account, key: &str, content: impl Into<Vec<u8>>) {
    let call = account.app.clients.s3().put_object().bucket("errors");
    let content: Vec<u8> = content.into();
    call.key(key).body(content.into()).send().await.unwrap();
}

fn error_file<S: AsRef<str>>(id: &str, paths: impl IntoIterator<Item = S>) -> String {
    let paths: String = paths
        .into_iter()
        .map(|path| format!("{}\n", path.as_ref()))
        .collect();
    format!("CloudFront Id [{id}]\n(Set 1 Start)\n\n{paths}\n(Set 1 End)\n\n")
}

fn key_of(id: &str, number: usize) -> String {
    format!("invalidation_error/20261121020304567891abcde{number:05}_{id}.txt")
}

/// Arguments of a replay through the queue, without a question.
fn replay<'a>(account: &'a Account, keys: &[&'a str]) -> Vec<&'a str> {
    let queue = account.app.config.submit_queue.as_str();
    let fixed = [
        "replay",
        "--bucket",
        "errors",
        "--submit-queue",
        queue,
        "--yes",
    ];
    [&fixed, keys].concat()
}

#[tokio::test]
async fn what_was_rejected_is_replayed_once_its_cause_is_fixed() {
    let (account, key) = refused_upload().await;
    let replay = ["replay", "--directly", "--bucket", "errors", key.as_str()];
    let asked = in_account(&account, &replay).await;
    assert_eq!(
        asked.status.code(),
        Some(2),
        "there is no terminal to ask on"
    );
    assert!(text(asked.stderr).contains("--yes"));

    let confirmed = [&replay[..], &["--yes"]].concat();
    let refused = in_account(&account, &confirmed).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(refused.stderr)
            .contains("E1: 2 paths rejected: CloudFront CreateInvalidation: AccessDenied: ")
    );

    account.cloudfront.heal();
    let taken = in_account(&account, &confirmed).await;
    assert!(taken.status.success(), "{}", text(taken.stderr));
    let shown = text(taken.stdout);
    let expected = "): 2 paths of 1 file\n  /\n  /index.html\n\
                    in all 2 paths for 1 target in 1 set, at most 0.01 USD\n";
    assert!(
        shown.starts_with("E1 (") && shown.contains(expected),
        "{shown}"
    );
    let again = in_account(&account, &confirmed).await;
    assert!(again.status.success());
    let told = text(again.stderr);
    let expected = format!("{key} was submitted before, ");
    assert!(told.contains(&expected), "{told}");
    let expected = ": 2 of 2 paths were accepted since (invalidation I";
    assert!(told.contains(expected), "{told}");
    assert!(told.contains("say --again to submit once more"), "{told}");
    assert!(told.ends_with("there is nothing to submit\n"), "{told}");
    let invalidations = account.cloudfront.invalidations("E1");
    assert_eq!(invalidations.len(), 1, "replayed twice, paid for once");
    assert_eq!(invalidations[0].paths, ["/", "/index.html"]);
    let keys = keys_of(&account).await;
    let done = key.replace("invalidation_error/", "invalidation_error_done/");
    assert!(keys.contains(&done) && !keys.contains(&key), "{keys:?}");

    let again = [&confirmed[..], &["--again"]].concat();
    for _ in 0..2 {
        let output = in_account(&account, &again).await;
        assert!(output.status.success(), "{}", text(output.stderr));
    }
    let invalidations = account.cloudfront.invalidations("E1");
    assert!(invalidations.len() >= 2, "paid for again");
}

/// The keys of all objects of the error bucket.
async fn keys_of(account: &Account) -> Vec<String> {
    let call = account.app.clients.s3().list_objects_v2().bucket("errors");
    let page = call.send().await.unwrap();
    let keys = page.contents.unwrap_or_default().into_iter();
    keys.filter_map(|object| object.key).collect()
}

/// What a replay leaves that ends between its record and the deletion of the file, before and after the sets
/// were submitted.
#[tokio::test]
async fn an_interrupted_replay_is_finished_and_pays_once() {
    let account = account_of(site()).await;
    let key = key_of("E1", 1);
    put(&account, &key, error_file("E1", ["/a", "/b", "/c"])).await;
    let output = in_account(&account, &replay(&account, &[&key])).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b", "/c"]);
    // As if the file had not been deleted, and one of its paths had not been submitted.
    put(&account, &key, error_file("E1", ["/a", "/b", "/c", "/d"])).await;
    let output = in_account(&account, &replay(&account, &[&key])).await;
    let told = text(output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains(": 3 of 4 paths were accepted since"),
        "{told}"
    );
    assert!(
        told.contains("the replay was interrupted, the others are submitted now"),
        "{told}"
    );
    account.submit().await;
    assert_eq!(
        account.cloudfront.paths("E1"),
        ["/a", "/b", "/c", "/d"],
        "each once"
    );
    // As if only the deletion was left.
    put(&account, &key, error_file("E1", ["/a", "/b", "/c", "/d"])).await;
    let output = in_account(&account, &replay(&account, &["--all"])).await;
    let told = text(output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains(": 4 of 4 paths were accepted since"),
        "{told}"
    );
    assert!(!keys_of(&account).await.contains(&key));
    assert_eq!(account.waiting_sets().await, 0);
}

/// An invalidation from before the file was written does not clear what the file stands for.
#[tokio::test]
async fn what_was_accepted_before_the_error_does_not_count() {
    let account = account_of(site()).await;
    account.change(&[("ObjectCreated:Put", "a")]).await;
    account.tag(&[]).await;
    let site_key = key_of("E1", 1);
    put(&account, &site_key, error_file("E1", ["/a"])).await;
    let output = in_account(&account, &replay(&account, &[&site_key])).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    account.submit().await;
    // A file that is written later, by the clock of its key, with a record.
    let later = time::OffsetDateTime::now_utc() + time::Duration::minutes(1);
    let later = invalidator_core::error_file::error_key(later, "abcde01234", "E1").unwrap();
    let done = later.replace("invalidation_error/", "invalidation_error_done/");
    for key in [&later, &done] {
        put(&account, key, error_file("E1", ["/a"])).await;
    }
    let output = in_account(&account, &replay(&account, &[&later])).await;
    let told = text(output.stderr);
    assert!(
        told.contains(": 0 of 1 paths were accepted since"),
        "{told}"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/a"]);
}

#[tokio::test]
async fn all_files_are_replayed_and_what_cannot_be_is_told_and_stays() {
    let account = account_of(site()).await;
    let (good, other, bad) = (key_of("E1", 1), key_of("E2", 2), key_of("E9", 3));
    let unreadable = key_of("unreadable", 4);
    put(&account, &good, error_file("E1", ["/a"])).await;
    put(&account, &other, error_file("E2", ["/b"])).await;
    put(&account, &bad, error_file("E9", ["/c"])).await;
    put(&account, &unreadable, "{}").await;
    let output = in_account(&account, &replay(&account, &["--all", "--output", "json"])).await;
    let told = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("E9 is not in the account"), "{told}");
    assert!(told.contains("1 file without paths"), "{told}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["v"], 1);
    assert_eq!(report["is_submitted"], true);
    assert_eq!(report["paths"], 2);
    assert_eq!(report["targets"][0]["files"], serde_json::json!([good]));
    assert_eq!(report["problems"].as_array().unwrap().len(), 1);
    let keys = keys_of(&account).await;
    for (key, stays) in [
        (good, false),
        (other, false),
        (bad, true),
        (unreadable, true),
    ] {
        assert_eq!(keys.contains(&key), stays, "{key}");
    }
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/b"]);
}

/// What a person made of files with an editor, the clipboard and standard input.
#[tokio::test]
async fn files_of_this_machine_and_standard_input_are_replayed() {
    let account = account_of(site()).await;
    let edited = "\u{feff}# from the mail\n CloudFront Id [E1]\n\n  https://www.example.org/a?x=1\n/b\n\
                  CloudFront Id [E2]\n/c\n";
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/edited.txt");
    std::fs::write(file, edited).unwrap();
    let output = in_account(&account, &replay(&account, &[file])).await;
    let shown = text(output.stdout);
    assert!(output.status.success(), "{}", text(output.stderr));
    assert!(
        shown.contains("  (some were URLs of www.example.org)\n"),
        "{shown}"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a?x=1", "/b"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/c"]);

    let arguments = replay(&account, &["-"]);
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args(&arguments)
        .envs(account.environment())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let written = tokio::io::AsyncWriteExt::write_all(&mut stdin, b"CloudFront Id [E1]\n/d\n");
    written.await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", text(output.stderr));
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a?x=1", "/b", "/d"]);

    std::fs::write(file, "hello\n").unwrap();
    let output = in_account(&account, &replay(&account, &[file])).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(output.stderr);
    assert!(
        told.contains("edited.txt is not replayed: it is no error file"),
        "{told}"
    );
}

/// Waits until so many sets are in SubmitQueue; a minute at most, if the command failed.
pub async fn sets_wait(account: &Account, number: usize) {
    for _ in 0..3_000 {
        if account.waiting_sets().await >= number {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Waits while the function submits, and is told what was accepted, what was rejected again and where.
#[tokio::test]
async fn whoever_waits_is_told_what_was_accepted_and_what_was_rejected() {
    let account = account_of(site()).await;
    let keys = [key_of("E1", 1), key_of("E2", 2)];
    put(&account, &keys[0], error_file("E1", ["/a", "/b"])).await;
    put(&account, &keys[1], error_file("E2", ["/c"])).await;
    let refuse = Fault::AccessDenied.always();
    let refuse = refuse.on(Operation::CreateInvalidation).of("E2");
    account.cloudfront.fail(refuse);
    let arguments = replay(
        &account,
        &[&keys[0], &keys[1], "--complete", "--timeout", "60"],
    );
    let waited = in_account(&account, &arguments);
    let function = async {
        sets_wait(&account, 2).await;
        account.submit().await;
    };
    let (output, ()) = tokio::join!(waited, function);
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}");
    let expected = "E1 (www.example.org): 2 paths accepted, 0 rejected, 0 without an answer; 1 of 1 invalidation done at all edges\n";
    assert!(shown.contains(expected), "{shown}{told}");
    assert!(shown.contains("0 paths accepted, 1 rejected"), "{shown}");
    assert!(shown.contains("  rejected: invalidation_error/"), "{shown}");
    assert_eq!(
        keys_of(&account)
            .await
            .iter()
            .filter(|it| it.starts_with("invalidation_error/"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_replay_through_the_queue_is_submitted_by_the_function() {
    let (account, key) = refused_upload().await;
    account.cloudfront.heal();
    let output = in_account(&account, &replay(&account, &[&key])).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    let output = in_account(&account, &replay(&account, &[&key])).await;
    let told = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("0 of 2 paths were accepted since; the others wait in SubmitQueue"),
        "{told}"
    );
    assert_eq!(
        account.waiting_sets().await,
        1,
        "the second time nothing is sent"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/", "/index.html"]);
    let replayed = &account.cloudfront.invalidations("E1")[0];
    assert!(replayed.caller_reference.ends_with("-replay"));
}

#[tokio::test]
async fn a_stack_knows_its_bucket_and_its_queue() {
    let (account, key) = refused_upload().await;
    account.cloudfront.heal();
    make_stack(&account, "invalidator").await;
    let output = in_account(&account, &["replay", &key, "--yes"]).await;
    let told = text(output.stderr);
    assert!(output.status.success(), "{told}");
    let expected = "account 000000000000 (keys of the environment), us-east-1, stack invalidator, \
                    error bucket errors\n";
    assert_eq!(told, expected);
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/", "/index.html"]);

    let output = in_account(&account, &["replay", "--bucket", "errors", &key]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(output.stderr).contains("name the queue with --submit-queue, or the stack"));
}

/// Before: whatever an object of the bucket said was invalidated, also for another distribution than its
/// key names.
#[tokio::test]
async fn an_object_that_somebody_made_up_is_not_replayed() {
    let account = account_of(site()).await;
    let tenants = Distribution::new("E3", Origin::s3("site", "site")).tenant_only();
    account.cloudfront.add(tenants);
    account.cloudfront.add_tenant("E3", "dt_3", true);
    let good = error_file("E1", ["/a"]);
    for (n, (key, content, expected)) in [
        (
            "E1.txt".to_owned(),
            good.clone(),
            "its key is none of an error file",
        ),
        (
            "other/1_E1.txt".to_owned(),
            good.clone(),
            "its key is none of an error file",
        ),
        (
            key_of("E1", 1),
            "hello".to_owned(),
            "it is no error file: the first line",
        ),
        (
            key_of("E1", 2),
            error_file("E1", ["no path"]),
            "line 4: `no path`. Correct it",
        ),
        (
            key_of("E2", 3),
            good.clone(),
            "its key names `E2` and its first line `E1`",
        ),
        (
            key_of("E9", 4),
            error_file("E9", ["/a"]),
            "E9 is not in the account 000000000000",
        ),
        (
            key_of("dt_9", 5),
            error_file("dt_9", ["/a"]),
            "dt_9 is not in the account 000000000000",
        ),
        (
            key_of("E3", 6),
            error_file("E3", ["/a"]),
            "E3 is a multi-tenant distribution",
        ),
        (
            key_of("unreadable", 7),
            "{}".to_owned(),
            "a message of SubmitQueue that could not be read",
        ),
        (
            key_of("E1", 8),
            error_file::<&str>("E1", []),
            "it has no paths",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        put(&account, &key, content).await;
        let fine = key_of("E1", 100 + n);
        put(&account, &fine, good.clone()).await;
        let output = in_account(&account, &replay(&account, &[&fine, &key])).await;
        let told = text(output.stderr);
        assert_eq!(output.status.code(), Some(1), "{key}: {told}");
        let named = format!("error: s3://errors/{key} is not replayed: ");
        assert!(told.contains(&named) && told.contains(expected), "{told}");
        assert!(told.ends_with("nothing was submitted\n"), "{told}");
    }
    let missing = key_of("E1", 99);
    let output = in_account(&account, &replay(&account, &[&missing])).await;
    assert!(text(output.stderr).contains(&format!(
        "s3://errors/{missing} is not replayed: S3 GetObject: NoSuchKey"
    )));
    assert_eq!(account.waiting_sets().await, 0);

    let of_tenant = key_of("dt_3", 10);
    put(&account, &of_tenant, error_file("dt_3", ["/a"])).await;
    let output = in_account(&account, &replay(&account, &[&of_tenant])).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    account.submit().await;
    assert_eq!(account.cloudfront.paths("dt_3"), ["/a"]);
}

#[tokio::test]
async fn ten_of_the_files_that_cannot_be_replayed_are_told() {
    let account = account_of(site()).await;
    let keys: Vec<String> = (0..13).map(|n| key_of("E1", n)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let output = in_account(&account, &replay(&account, &keys)).await;
    let told = text(output.stderr);
    assert_eq!(told.matches("is not replayed").count(), 10, "{told}");
    assert!(
        told.contains("error: 3 more files cannot be replayed\n"),
        "{told}"
    );
}

/// Before: all 20,000 were printed, and no total.
#[tokio::test]
async fn twenty_thousand_paths_are_counted_cut_into_sets_and_submitted_once() {
    let account = account_of(site()).await;
    let key = key_of("E1", 1);
    let paths: Vec<String> = (0..20_000).map(|n| format!("/{n:05}")).collect();
    put(&account, &key, error_file("E1", &paths)).await;
    let output = in_account(&account, &replay(&account, &[&key])).await;
    let shown = text(output.stdout);
    let expected = "E1 (www.example.org): 20,000 paths of 1 file\n  /00000\n";
    assert!(shown.starts_with(expected), "{shown}");
    let expected = "  /00009\n  and 19,990 more paths\n\
                    in all 20,000 paths for 1 target in 7 sets, at most 100.00 USD\n\
                    7 sets in SubmitQueue; the function submits them\n";
    assert!(shown.ends_with(expected), "{shown}");
    assert_eq!(account.waiting_sets().await, 7);
    account.submit().await;
    let invalidations = account.cloudfront.invalidations("E1");
    assert!(invalidations.iter().all(|it| it.paths.len() <= 3_000));
    let mut submitted = account.cloudfront.paths("E1");
    submitted.sort();
    assert_eq!(submitted, paths, "each once");
}

/// A path of 4,000 characters takes more than its share of a message.
#[tokio::test]
async fn the_longest_paths_fit_into_messages() {
    let account = account_of(site()).await;
    let key = key_of("E1", 1);
    let paths = (0..600).map(|n| format!("/{n:03}{}", "x".repeat(3_996)));
    put(&account, &key, error_file("E1", paths)).await;
    let output = in_account(&account, &replay(&account, &[&key])).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    account.submit().await;
    let submitted: BTreeSet<String> = account.cloudfront.paths("E1").into_iter().collect();
    assert_eq!(submitted.len(), 600);
}

#[tokio::test]
async fn wildcards_are_shown_first_and_one_that_is_everything_says_so() {
    let account = account_of(site()).await;
    let (first, second) = (key_of("E1", 1), key_of("E2", 2));
    let many = (0..12).map(|n| format!("/dir-{n:02}/*"));
    let many: Vec<String> = many.chain(["/a".to_owned(), "/b*".to_owned()]).collect();
    put(&account, &first, error_file("E1", many)).await;
    put(&account, &second, error_file("E2", ["/a", "/*", "/b*"])).await;
    let output = in_account(&account, &replay(&account, &[&first, &second])).await;
    let shown = text(output.stdout);
    let of_first =
        "E1 (www.example.org): 14 paths of 1 file, of them 13 wildcards\n  /b*\n  /dir-00/*\n";
    assert!(shown.starts_with(of_first), "{shown}");
    assert!(
        shown.contains("  /dir-08/*\n  and 3 more wildcards\n  /a\n"),
        "{shown}"
    );
    let of_second = "): 1 path of 1 file, of them 1 wildcard\n  /* (the whole distribution)\n\
                     in all 15 paths for 2 targets in 3 sets, at most 0.075 USD\n";
    assert!(shown.contains(of_second), "{shown}");
}

/// Before: 20 paths were paid for.
#[tokio::test]
async fn twenty_files_of_one_key_are_one_path() {
    let account = account_of(site()).await;
    let mut keys = Vec::new();
    for n in 0..20 {
        let key = key_of("E1", n);
        put(&account, &key, error_file("E1", ["/index.html"])).await;
        keys.push(key);
    }
    keys.push(keys[0].clone());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let output = in_account(&account, &replay(&account, &keys)).await;
    let shown = text(output.stdout);
    assert!(
        shown.contains("): 1 path of 20 files\n  /index.html\n"),
        "{shown}"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/index.html"]);
}

#[tokio::test]
async fn nothing_is_replayed_while_the_distributions_cannot_be_listed() {
    let (account, key) = refused_upload().await;
    account.cloudfront.heal();
    let refuse = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(refuse.on(Operation::ListDistributions));
    let output = in_account(&account, &replay(&account, &[&key])).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(output.stderr);
    assert!(
        told.contains("CloudFront ListDistributions: AccessDenied"),
        "{told}"
    );
    assert_eq!(account.waiting_sets().await, 0);
}

#[tokio::test]
async fn a_replay_refuses_in_a_dry_run_and_waits_while_the_stack_is_stopped() {
    let (account, key) = refused_upload().await;
    account.cloudfront.heal();
    let queue = account.app.config.submit_queue.as_str().to_owned();
    let through_queue = ["--submit-queue", &queue];
    let directly = ["--directly"];
    for (mode, how, is_refused, expected) in [
        (
            Mode::DryRun,
            &through_queue[..],
            true,
            "nothing was submitted: the mode is dry-run",
        ),
        (
            Mode::DryRun,
            &directly[..],
            true,
            "nothing was submitted: the mode is dry-run",
        ),
        (
            Mode::Stopped,
            &directly[..],
            true,
            "nothing was submitted: the mode is stopped",
        ),
        (
            Mode::Stopped,
            &through_queue[..],
            false,
            "they wait there until `invalidatorctl mode live --error-bucket errors --region us-east-1`",
        ),
    ] {
        account.choose(mode).await;
        let replay = ["replay", "--bucket", "errors", &key, "--yes"];
        let output = in_account(&account, &[&replay, how].concat()).await;
        assert_eq!(output.status.success(), !is_refused, "{mode} {how:?}");
        let told = text(output.stdout) + &text(output.stderr);
        assert!(told.contains(expected), "{mode} {how:?}: {told}");
    }
    assert_eq!(account.waiting_sets().await, 1);
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
}

/// What has no record stays, or a second replay could not be told from the first.
#[tokio::test]
async fn a_file_whose_record_cannot_be_written_stays() {
    let (account, key) = refused_upload().await;
    account.cloudfront.heal();
    let mut environment: std::collections::HashMap<_, _> = account.environment().into();
    let emulator = environment.remove("AWS_ENDPOINT_URL").unwrap();
    let s3 = without_copies(emulator.trim_start_matches("http://").to_owned()).await;
    let services = ["SQS", "SNS", "STS", "CLOUDFORMATION"];
    let services = services.map(|it| (format!("AWS_ENDPOINT_URL_{it}"), emulator.clone()));
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args([
            "replay",
            "--error-bucket",
            "errors",
            "--directly",
            "--yes",
            &key,
        ])
        .envs(environment)
        .envs(services)
        .env("AWS_ENDPOINT_URL_S3", s3)
        .output()
        .await
        .unwrap();
    let told = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot be recorded, so it stays"), "{told}");
    assert_eq!(account.cloudfront.paths("E1"), ["/", "/index.html"]);
    assert_eq!(account.error_files().await[0].0, key);
}

/// An S3 whose `CopyObject` is denied. Returns its URL.
async fn without_copies(emulator: String) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let emulator = emulator.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                if head.to_ascii_lowercase().contains("x-amz-copy-source") {
                    let length = DENIED.len();
                    let answer = format!(
                        "HTTP/1.1 403 x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{DENIED}"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                    return;
                }
                // One request to a connection.
                let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                let mut upstream = tokio::net::TcpStream::connect(&emulator).await.unwrap();
                upstream.write_all(head.as_bytes()).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
            });
        }
    });
    url
}

#[test]
fn what_is_put_back_takes_no_option_of_a_file() {
    for what in ["--events", "--dead-letters"] {
        for option in [
            "--wait",
            "--complete",
            "--again",
            "--directly",
            "--timeout=1",
        ] {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
                .args(["replay", what, option])
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2), "{what} {option}");
            assert!(text(output.stderr).contains("cannot be used with"));
        }
    }
}
