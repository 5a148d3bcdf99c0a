//! `invalidatorctl invalidate` and `invalidatorctl jobs`.

use std::process::Output;

use serde_json::Value;
use strict_cloudfront::{Behavior, Distribution, Origin};

use super::replay::sets_wait;
use super::support::account::Account;
use super::{in_account, make_stack, text};

/// Two distributions of the same bucket, one of them below a folder, and a third of another bucket.
pub async fn account() -> Account {
    let account = Account::new(&[]).await;
    let www = Distribution::new("E1", Origin::s3("site", "site")).alias("www.example.org");
    let docs = Origin::s3("docs", "site").path("/docs");
    account.cloudfront.add(www);
    let docs = Distribution::new("E2", docs);
    account.cloudfront.add(docs.alias("*.docs.example.org"));
    account
        .cloudfront
        .add(Distribution::new("E3", Origin::s3("other", "other")));
    make_stack(&account, "invalidator").await;
    make_function(&account).await;
    account
}

/// The function of the stack, of which only the settings are looked at.
pub async fn make_function(account: &Account) {
    const EMPTY_ARCHIVE: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let environment: std::collections::HashMap<_, _> = account.environment().into();
    let keys = aws_credential_types::Credentials::new("test", "test", None, None, "test");
    let config = aws_sdk_lambda::Config::builder()
        .behavior_version_latest()
        .http_client(invalidator::aws::http_client(
            invalidator::aws::roots::Roots::BuiltIn,
        ))
        .endpoint_url(&environment["AWS_ENDPOINT_URL"])
        .region(aws_sdk_lambda::config::Region::new("us-east-1"))
        .credentials_provider(keys)
        .build();
    let mut variables = aws_sdk_lambda::types::Environment::builder();
    for (name, value) in account.settings() {
        variables = variables.variables(*name, value);
    }
    let code = aws_sdk_lambda::types::FunctionCode::builder()
        .zip_file(aws_sdk_lambda::primitives::Blob::new(EMPTY_ARCHIVE))
        .build();
    let call = aws_sdk_lambda::Client::from_conf(config).create_function();
    call.function_name("nobody")
        .runtime(aws_sdk_lambda::types::Runtime::Providedal2023)
        .role("arn:aws:iam::000000000000:role/nobody")
        .handler("bootstrap")
        .code(code)
        .environment(variables.build())
        .send()
        .await
        .unwrap();
}

pub async fn invalidate(account: &Account, arguments: &[&str]) -> Output {
    let arguments = [&["invalidate", "--yes"], arguments].concat();
    in_account(account, &arguments).await
}

pub async fn put_all(account: &Account, keys: &[&str]) {
    for key in keys {
        let call = account
            .app
            .clients
            .s3()
            .put_object()
            .bucket("site")
            .key(*key);
        call.body(b"text".to_vec().into()).send().await.unwrap();
    }
}

#[tokio::test]
async fn paths_and_urls_are_invalidated_where_they_belong_and_recorded() {
    let account = account().await;
    let urls = [
        "https://WWW.example.org/news/?page=1#top",
        "https://a.docs.example.org/stra\u{df}e x",
    ];
    let output = invalidate(
        &account,
        &[&urls[..], &["--reason", "wrong price"]].concat(),
    )
    .await;
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(
        shown.starts_with("E1 (www.example.org): 1 path\n  /news/?page=1\nE2 ("),
        "{shown}"
    );
    assert!(
        shown.contains("in all 2 paths for 2 targets in 2 sets, at most 0.01 USD\n"),
        "{shown}"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/news/?page=1"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/stra%C3%9Fe%20x"]);
    let reference = &account.cloudfront.invalidations("E1")[0].caller_reference;
    assert!(reference.ends_with("-hand"), "{reference}");

    let output = invalidate(&account, &["--distribution", "E1,E3", "/a", "/b/*"]).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    account.submit().await;
    // The same again is a job of its own, and pays again.
    let output = invalidate(&account, &["--distribution", "E3", "/a"]).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    account.submit().await;
    let mut paths = account.cloudfront.paths("E3");
    paths.sort();
    assert_eq!(paths, ["/a", "/a", "/b/*"]);

    let listed = in_account(&account, &["jobs", "list", "--output", "json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let jobs = listed["jobs"].as_array().unwrap();
    assert_eq!((listed["v"].as_u64(), jobs.len()), (Some(1), 3));
    let job = jobs
        .iter()
        .find(|job| job["reason"] == "wrong price")
        .unwrap();
    assert_eq!(job["asked"][0], urls[0]);
    assert_eq!(job["result"], "submitted");
    assert_eq!(job["by"], "arn:aws:iam::000000000000:root");
    let shown = in_account(&account, &["jobs", "show", job["id"].as_str().unwrap()]).await;
    let shown = text(shown.stdout);
    assert!(
        shown.contains("  reason: wrong price\n")
            && shown.contains("  2 paths, at most 0.01 USD\n"),
        "{shown}"
    );
}

#[tokio::test]
async fn objects_are_chosen_by_prefix_pattern_and_expression() {
    let account = account().await;
    put_all(
        &account,
        &["a.html", "docs/b.html", "docs/deep/c.html", "docs/d.png"],
    )
    .await;
    for (arguments, www, docs) in [
        (
            &["--prefix", "docs/d"][..],
            &["/docs/d.png", "/docs/deep/c.html"][..],
            &["/d.png", "/deep/c.html"][..],
        ),
        (&["--glob", "docs/*.html"], &["/docs/b.html"], &["/b.html"]),
        (
            &["--glob", "**/*.html", "--distribution", "E1"],
            &["/a.html", "/docs/b.html", "/docs/deep/c.html"],
            &[],
        ),
        (&["--regex", "^[^/]+$"], &["/a.html"], &[]),
    ] {
        let before = [
            account.cloudfront.paths("E1").len(),
            account.cloudfront.paths("E2").len(),
        ];
        let output = invalidate(&account, &[&["--bucket", "site"], arguments].concat()).await;
        assert!(output.status.success(), "{}", text(output.stderr));
        account.submit().await;
        for (id, before, expected) in [("E1", before[0], www), ("E2", before[1], docs)] {
            let mut paths = account.cloudfront.paths(id).split_off(before);
            paths.sort();
            assert_eq!(paths, expected, "{arguments:?}");
        }
    }
    let output = invalidate(&account, &["--bucket", "site", "--prefix", "none/"]).await;
    assert!(output.status.success());
    assert!(text(output.stderr).contains("0 objects chosen\nthere is nothing to invalidate\n"));
}

#[tokio::test]
async fn a_manifest_invalidates_only_what_changed() {
    let account = Account::new(&[]).await;
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    // A deletion counts even where nothing is cached.
    let site = site
        .behavior(Behavior::new("*.tmp", "site").policy("4135ea2d-6df8-44a3-9df3-4b5a84be39ad"));
    account.cloudfront.add(site);
    make_stack(&account, "invalidator").await;
    make_function(&account).await;
    let file = |name: &str, text: &str| {
        let file = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&file, text).unwrap();
        file
    };
    let old = file(
        "old.sha256",
        "00000001  same\n00000002  changed\n00000003  gone.tmp\n",
    );
    let new = file(
        "new.json",
        r#"{"same":"00000001","changed":"00000009","new":"1","new.tmp":"2"}"#,
    );
    let arguments = [
        "--bucket",
        "site",
        "--prefix",
        "www/",
        "--manifest",
        &old,
        &new,
        "--output",
        "json",
    ];
    let output = invalidate(&account, &arguments).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["v"].as_u64(), report["paths"].as_u64()),
        (Some(1), Some(3))
    );
    assert_eq!(report["is_submitted"], true);
    account.submit().await;
    let mut paths = account.cloudfront.paths("E1");
    paths.sort();
    assert_eq!(paths, ["/www/changed", "/www/gone.tmp", "/www/new"]);
}

#[tokio::test]
async fn many_paths_are_collapsed_if_somebody_asks_for_that() {
    let account = account().await;
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/many.txt");
    let lines: String = (0..2_000).map(|n| format!("/news/{n}.html\n")).collect();
    std::fs::write(file, format!("# all news\n\n{lines}")).unwrap();
    let arguments = [
        "--file",
        file,
        "--distribution",
        "E1",
        "--collapse-above",
        "1000",
    ];
    let output = invalidate(&account, &arguments).await;
    let shown = text(output.stdout);
    assert!(output.status.success(), "{}", text(output.stderr));
    assert!(
        shown.contains("/news/*") && shown.contains("fetched again"),
        "{shown}"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/news/*"]);
}

#[tokio::test]
async fn whoever_waits_is_told_and_the_job_records_it() {
    let account = account().await;
    let arguments = ["--distribution", "E1", "/a", "--wait", "--timeout", "60"];
    let waited = invalidate(&account, &arguments);
    let function = async {
        sets_wait(&account, 1).await;
        account.submit().await;
    };
    let (output, ()) = tokio::join!(waited, function);
    let shown = text(output.stdout);
    assert!(output.status.success(), "{}", text(output.stderr));
    assert!(
        shown.contains("1 path accepted, 0 rejected, 0 without an answer"),
        "{shown}"
    );
    let listed = text(in_account(&account, &["jobs", "list"]).await.stdout);
    assert!(
        listed.contains("  accepted, 1 path, by arn:aws:iam::000000000000:root: by hand\n"),
        "{listed}"
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_named_and_nothing_is_submitted() {
    let account = account().await;
    for (arguments, code, expected) in [
        (
            &["/a"][..],
            2,
            "`/a`: say --distribution with a path, or give the URL",
        ),
        (
            &["a"],
            2,
            "`a`: a URL begins with https:// or http://, and a path with /",
        ),
        (
            &["https://elsewhere.example.com/a"],
            2,
            "no distribution of the account has the alias or domain name elsewhere.example.com",
        ),
        (
            &["--distribution", "E9", "/a"],
            2,
            "E9 is no distribution of account",
        ),
        (&["--bucket", "site", "--glob", "a["], 2, "--glob: "),
        (&["--bucket", "site", "--regex", "a("], 2, "--regex a(: "),
        (
            &["--bucket", "nowhere"],
            1,
            "failed to list nowhere: S3 ListObjectsV2: NoSuchBucket",
        ),
        (&["--file", "/nowhere"], 1, "failed to open /nowhere"),
        (&["--bucket", "site", "/a"], 2, "cannot be used with"),
        (&[], 2, "required"),
    ] {
        let output = invalidate(&account, arguments).await;
        let told = text(output.stderr);
        assert!(told.contains(expected), "{arguments:?}: {told}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
    }
    assert_eq!(account.waiting_sets().await, 0);
    let output = in_account(&account, &["jobs", "show", "1"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(output.stderr)
            .contains("failed to read s3://errors/jobs/1.json: S3 GetObject: NoSuchKey")
    );
}

#[tokio::test]
async fn no_wildcard_takes_the_place_of_paths_where_it_would_clear_what_is_not_from_s3() {
    let account = account().await;
    let application = Origin::new("app", "app.example.org");
    let mixed = Distribution::new("E4", Origin::s3("site", "site"));
    let behavior = Behavior::new("/api/*", "app");
    account
        .cloudfront
        .add(mixed.origin(application.clone()).behavior(behavior));
    let foreign = Distribution::new("E5", application);
    account.cloudfront.add(foreign);
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/everywhere.txt");
    let lines = (0..400).map(|n| format!("/{n}.html\n/news/{n}.html\n"));
    std::fs::write(file, lines.collect::<String>()).unwrap();
    for (distribution, paths, note) in [
        ("E4", 401, "no wildcard /*: "),
        ("E5", 800, "no wildcards: nothing of it comes from S3"),
    ] {
        let collapse = [
            "--file",
            file,
            "--distribution",
            distribution,
            "--collapse-above",
            "10",
        ];
        let output = invalidate(&account, &collapse).await;
        let shown = text(output.stdout);
        assert!(output.status.success(), "{}", text(output.stderr));
        assert!(shown.contains(note), "{shown}");
        account.submit().await;
        assert_eq!(account.cloudfront.paths(distribution).len(), paths);
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other_job_and_a_rejected_job_is_a_finding() {
    let account = account().await;
    let arguments = ["--distribution", "E1", "/a", "--output", "json"];
    let output = invalidate(&account, &arguments).await;
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = job["job"].as_str().unwrap();
    let refuse = strict_cloudfront::Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(refuse.on(strict_cloudfront::Operation::CreateInvalidation));
    account.submit().await;
    let shown = in_account(&account, &["jobs", "show", id]).await;
    assert_eq!(shown.status.code(), Some(1), "{}", text(shown.stderr));
    assert!(text(shown.stdout).contains("1 rejected"));
    super::replay::put(&account, "jobs/29991231T000000Z-other.json", r#"{"v":9}"#).await;
    let listed = in_account(&account, &["jobs", "list"]).await;
    assert_eq!(listed.status.code(), Some(1));
    assert!(text(listed.stdout).starts_with(id));
    assert!(text(listed.stderr).contains("job 29991231T000000Z-other is not listed"));
}
