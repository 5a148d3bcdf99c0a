//! `invalidatorctl estimate`, run as its users run it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod past;

use std::process::Output;

use serde_json::{Value, json};
use strict_cloudfront::{Behavior, Distribution, Fault, Operation, Origin};
use time::{Duration, OffsetDateTime};

use past::{Account, Bucket, blog};

const SITE: [&str; 2] = ["--bucket", "site"];

async fn run(account: &Account, arguments: &[&str]) -> Output {
    account.command(arguments).output().await.unwrap()
}

async fn json_of(account: &Account, arguments: &[&str]) -> Value {
    let arguments = [&SITE, arguments, &["--output", "json"]].concat();
    let output = run(account, &arguments).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn shown(account: &Account, arguments: &[&str]) -> String {
    let output = run(account, &[&SITE, arguments].concat()).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    text(output.stdout)
}

/// The error of a run that fails.
async fn error_of(account: &Account, arguments: &[&str]) -> String {
    let output = run(account, arguments).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(output.stdout));
    text(output.stderr)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn way<'r>(report: &'r Value, code: &str) -> &'r Value {
    let ways = report["ways"].as_array().unwrap();
    let found = ways.iter().find(|way| way["way"] == code);
    found.unwrap_or_else(|| panic!("{code}: {report}"))
}

fn paths(report: &Value, code: &str) -> u64 {
    way(report, code)["paths"].as_u64().unwrap()
}

fn ago(duration: Duration) -> OffsetDateTime {
    OffsetDateTime::now_utc() - duration
}

#[tokio::test]
async fn a_month_is_estimated_in_each_way_by_day_distribution_and_folder() {
    let account = Account::new(blog(Bucket::versioned(), 20)).await;
    let shop = Distribution::new("E2", Origin::s3("shop", "shop"));
    account.cloudfront.add(shop);
    let report = json_of(&account, &[]).await;
    assert_eq!(
        (&report["v"], &report["basis"]),
        (&json!(1), &json!("versions"))
    );
    assert_eq!(report["lower_bound"], Value::Null);
    for (field, expected) in [
        ("keys", 200),
        ("changes", 6_000),
        ("unchanged", 5_400),
        ("first_uploads", 0),
        ("flushes", 30),
        ("bursts", 30),
    ] {
        assert_eq!(report[field], expected, "{field}: {report}");
    }
    for (code, fewest, most) in [
        ("each-path", 6_000, 6_000),
        ("wildcard-per-burst", 30, 30),
        ("exact", 6_000, 6_000),
        ("balanced", 400, 1_050),
        ("frugal", 30, 30),
        ("exact-changed", 601, 601),
        ("balanced-changed", 400, 650),
        ("frugal-changed", 30, 60),
    ] {
        let paths = paths(&report, code);
        assert!((fewest..=most).contains(&paths), "{code}: {paths}");
    }
    assert_eq!(way(&report, "each-path")["usd"], 25.0);
    assert_eq!(way(&report, "balanced-changed")["usd"], 0.0);
    let days = report["days"].as_array().unwrap();
    assert_eq!(days.len(), 31);
    let usd = days
        .iter()
        .map(|day| day["usd"]["each-path"].as_f64().unwrap());
    assert!((usd.sum::<f64>() - 25.0).abs() < 1e-9);
    assert_eq!(report["distributions"].as_array().unwrap().len(), 1);
    assert_eq!(report["distributions"][0]["name"], "www.example.org");
    assert_eq!(report["distributions"][0]["paths"]["each-path"], 6_000);
    let folders = report["folders"].as_array().unwrap();
    let folders: Vec<_> = folders
        .iter()
        .map(|it| (&it["folder"], &it["paths"]["each-path"]))
        .collect();
    assert_eq!(
        folders,
        [
            (&json!("/posts/"), &json!(5_400)),
            (&json!("/"), &json!(600))
        ]
    );

    let text = shown(&account, &[]).await;
    for expected in [
        "account 123456789012: bucket site, 20",
        "\n  6,000 changes of 200 keys, in 30 flushes and 30 bursts\n  of them 5,400 with the content of the version before\n",
        "\n  each changed path                       6,000 paths  25.00 USD",
        "\n  /* after each burst                        30 paths   0.00 USD",
        "\n  E1  www.example.org",
        "\n  /posts/",
        "\nnote: With invalidate=changed: a list tells contents, but no headers and tags.",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test]
async fn it_does_not_matter_where_pages_end() {
    let mut bucket = Bucket::versioned();
    let keys = [
        "a b/c+d",
        "a&b<c>",
        "a%20b",
        "\u{e9}/\u{1f600}",
        "x\u{1}y",
        "~t",
        "z/1",
        "z/2",
    ];
    for (n, key) in (1..).zip(keys) {
        for hours in [1_000, 100, 50, 20] {
            bucket.put(
                key,
                ago(Duration::hours(hours) + Duration::minutes(n)),
                hours as u64 / 30,
            );
        }
        bucket.delete(key, ago(Duration::hours(n)));
        bucket.put(key, ago(Duration::minutes(30)), 7);
    }
    let account = Account::new(bucket).await;
    let without_times = |mut report: Value| {
        for field in ["since", "until"] {
            report[field].take();
        }
        report
    };
    let whole = without_times(json_of(&account, &[]).await);
    assert_eq!(whole["changes"], 40);
    assert_eq!(whole["unserved"], 0);
    for entries in [1, 2, 5, 7, 47] {
        account.set_page(entries);
        let report = without_times(json_of(&account, &[]).await);
        assert_eq!(report, whole, "pages of {entries}");
    }
    assert!(account.calls("ListObjectVersions") > 48);
    account.set_page(3);
    let report = json_of(&account, &["--prefix", "z/"]).await;
    assert_eq!(report["changes"], 10);
    // The same of the objects alone.
    account.deny("ListObjectVersions");
    let report = json_of(&account, &[]).await;
    assert_eq!(
        (&report["keys"], &report["changes"]),
        (&json!(8), &json!(8))
    );
    assert_eq!(json_of(&account, &["--prefix", "z/"]).await["changes"], 2);
}

#[tokio::test]
async fn without_versions_the_objects_tell_a_lower_bound() {
    let account = Account::new(blog(Bucket::versioned(), 20)).await;
    account.deny("ListObjectVersions");
    let report = json_of(&account, &[]).await;
    assert_eq!(report["basis"], "objects");
    // Only the last upload of each file is there.
    assert_eq!(
        (&report["changes"], paths(&report, "each-path")),
        (&json!(200), 200)
    );
    assert_eq!(
        report["ways"].as_array().unwrap().len(),
        5,
        "nothing is known of what changed"
    );
    let text = shown(&account, &[]).await;
    let expected = "  a lower bound: the versions may not be listed, so only the last upload of each object is seen, and no \
                    deletion (S3 ListObjectVersions: AccessDenied";
    assert!(text.contains(expected), "{text}");

    let account = Account::new(blog(Bucket::default(), 20)).await;
    let text = shown(&account, &[]).await;
    let expected = "  a lower bound: the bucket keeps no versions, so only the last upload";
    assert!(text.contains(expected), "{text}");
    assert_eq!(account.calls("ListObjectVersions"), 0);
    // Nor may it be read whether it keeps versions: their ids tell.
    account.deny("GetBucketVersioning");
    let text = shown(&account, &[]).await;
    assert!(text.contains(expected), "{text}");
    assert_eq!(account.calls("ListObjectVersions"), 1);

    let mut suspended = Bucket::default();
    suspended.versioning = "Suspended";
    let account = Account::new(blog(suspended, 20)).await;
    let text = shown(&account, &[]).await;
    let expected = "  a lower bound: versioning of the bucket is suspended";
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn what_may_not_be_read_is_told() {
    let account = Account::new(blog(Bucket::versioned(), 20)).await;
    for action in [
        "GetBucketVersioning",
        "GetBucketOwnershipControls",
        "GetBucketTagging",
    ] {
        account.deny(action);
    }
    let text = shown(&account, &[]).await;
    for expected in [
        "note: The tags of the bucket cannot be read",
        "note: Whether the bucket has ACLs may not be read.",
        "COST_MODE=balanced, invalidate=changed",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    account.deny("ListObjectVersions");
    account.deny("ListObjectsV2");
    let error = error_of(&account, &SITE).await;
    assert!(
        error.contains("failed to list the bucket site: S3 ListObjectsV2: AccessDenied"),
        "{error}"
    );
    account.cloudfront.fail(
        Fault::AccessDenied
            .always()
            .on(Operation::ListDistributions),
    );
    let error = error_of(&account, &SITE).await;
    assert!(
        error.contains("CloudFront ListDistributions: AccessDenied"),
        "{error}"
    );
}

#[tokio::test]
async fn acls_make_the_tag_worthless() {
    let mut bucket = blog(Bucket::versioned(), 20);
    bucket.ownership = "";
    let account = Account::new(bucket).await;
    let report = json_of(&account, &[]).await;
    assert!(paths(&report, "exact-changed") >= paths(&report, "exact"));
    let text = shown(&account, &[]).await;
    assert!(
        text.contains("note: The bucket has ACLs, so invalidate=changed would save nothing"),
        "{text}"
    );
}

#[tokio::test]
async fn a_bucket_that_cannot_be_estimated_is_an_error_that_says_why() {
    let account = Account::new(blog(Bucket::versioned(), 20)).await;
    account
        .cloudfront
        .add(Distribution::new("E2", Origin::s3("shop", "shop")));
    for (arguments, expected) in [
        (
            &["--bucket", "nowhere"][..],
            "failed to read the bucket nowhere: S3 GetBucketVersioning: NoSuchBucket",
        ),
        (
            &["--bucket", "pages--use1-az4--x-s3"],
            "pages--use1-az4--x-s3 is a directory bucket: S3 sends no events of it",
        ),
        (
            &["--bucket", "site", "--distribution-ids", "E2"],
            "The distribution E2 does not serve site: none of its origins is this bucket. no distribution of the \
             account 123456789012 has the bucket site as an origin",
        ),
        (
            &["--bucket", "site", "--html", "/no/such/folder/x"],
            "failed to write /no/such/folder/x",
        ),
    ] {
        let error = error_of(&account, arguments).await;
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let both = shown(&account, &["--distribution-ids", "E1,E2"]).await;
    assert!(
        both.contains("note: The distribution E2 does not serve site"),
        "{both}"
    );
    assert!(both.contains("6,000 paths"), "{both}");

    let mut down = account.command(&SITE);
    down.env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    let output = down.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(output.stderr);
    assert!(
        error.contains("failed to read the bucket site: S3 GetBucketVersioning: ConnectionFailed"),
        "{error}"
    );

    for (arguments, expected) in [
        (&["--days", "0"][..], "0 is not in 1..=90"),
        (&["--days", "91"], "91 is not in 1..=90"),
        (&["--debounce", "2"], "2 is not in 3..=300"),
        (
            &["--spending-limit-per-hour", "much"],
            "`much` is no amount in USD",
        ),
    ] {
        let output = run(&account, &[&SITE, arguments].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(output.stderr).contains(expected), "{expected}");
    }
    assert_eq!(run(&account, &[]).await.status.code(), Some(2));
}

#[tokio::test]
async fn an_empty_bucket_and_a_disabled_distribution_cost_nothing() {
    let account = Account::new(Bucket::versioned()).await;
    let shown_empty = shown(&account, &[]).await;
    assert!(
        shown_empty.contains("  0 changes of 0 keys, in 0 flushes and 0 bursts\n"),
        "{shown_empty}"
    );
    let report = json_of(&account, &[]).await;
    assert!(
        report["ways"]
            .as_array()
            .unwrap()
            .iter()
            .all(|way| way["paths"] == 0)
    );

    let account = Account::new(blog(Bucket::versioned(), 20)).await;
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    account.cloudfront.add(site.disabled());
    let report = json_of(&account, &[]).await;
    assert_eq!(
        (&report["unserved"], paths(&report, "each-path")),
        (&json!(6_000), 0)
    );
    let text = shown(&account, &[]).await;
    assert!(
        text.contains("note: The distribution E1 is disabled"),
        "{text}"
    );
}

#[tokio::test]
async fn tags_of_the_bucket_and_options_count() {
    let mut bucket = Bucket::versioned();
    bucket.tags = vec![
        ("exceptionPaths", "upload"),
        ("indexDocument", "index.html"),
        ("invalidate", "changed"),
    ];
    for n in 0..10 {
        let time = ago(Duration::days(n) + Duration::hours(1));
        bucket.put(&format!("upload/{n}"), time, 1);
        bucket.put(&format!("docs/{n}/index.html"), ago(Duration::hours(1)), 1);
    }
    let account = Account::new(bucket).await;
    let report = json_of(&account, &[]).await;
    assert_eq!(
        (&report["changes"], &report["excepted"]),
        (&json!(20), &json!(10))
    );
    assert_eq!(paths(&report, "each-path"), 20, "each page, and its folder");
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("The bucket has the tag invalidate=changed."),
        "{notes}"
    );
    let recent = json_of(&account, &["--days", "5"]).await;
    assert_eq!(
        (&recent["changes"], &recent["excepted"]),
        (&json!(15), &json!(5))
    );

    // A limit that nothing fits into.
    let mut bucket = blog(Bucket::versioned(), 200);
    bucket.put("~x", ago(Duration::days(2)), 1);
    let account = Account::new(bucket).await;
    let limits = [
        "--spending-limit-per-month",
        "1",
        "--monthly-path-budget",
        "0",
    ];
    let report = json_of(&account, &limits).await;
    let exact = way(&report, "exact");
    assert!(exact["above_limits"].as_u64().unwrap() > 0, "{exact}");
    assert!(exact["usd"].as_f64().unwrap() <= 1.0, "{exact}");
    assert_eq!(way(&report, "each-path")["paths"], 6_001);
    // Where wildcards are barred, what is above the limit waits.
    let api = Behavior::new("/api/*", "alb");
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    let site = site.origin(Origin::new("alb", "lb.example.org"));
    account.cloudfront.add(site.behavior(api));
    let barred = json_of(&account, &limits).await;
    let waiting = way(&barred, "exact")["waiting"].as_u64().unwrap();
    assert!(waiting > 0, "{barred}");
    let text = shown(&account, &limits).await;
    assert!(text.contains(" more would wait\n"), "{text}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("COST_MODE=exact: "), "{notes}");
}

/// Whoever may upload chooses the keys.
#[tokio::test]
async fn nothing_in_a_key_commands_a_terminal_or_a_browser() {
    let hostile = "<script>alert(1)</script><img src=x>\u{9b}31m\u{1b}[2J\n x\u{202e}";
    let mut bucket = Bucket::versioned();
    bucket.put(&format!("{hostile}/{hostile}"), ago(Duration::days(1)), 1);
    let account = Account::new(bucket).await;
    let page = std::env::temp_dir().join(format!("estimate-{}.html", std::process::id()));
    let file = page.to_str().unwrap();
    let text = shown(&account, &["--prefix", "<", "--html", file]).await;
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&page).unwrap();
    let report = json_of(&account, &[]).await;
    assert_eq!(report["changes"], 1);
    for forbidden in ["<script", "<img", "\u{9b}", "\u{1b}", "\u{202e}"] {
        assert!(!html.contains(forbidden), "{forbidden:?}");
    }
    let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(obeyed), "{text:?}");
    assert!(html.contains("script"), "the folder is there");
}
