//! `invalidatorctl why`, and the snapshots of `plan`.

use std::path::PathBuf;

use serde_json::{Value, json};
use strict_cloudfront::{
    Behavior, CachePolicy, Distribution, Fault, Operation, Origin, QueryStrings,
};

use super::support::account::Account;
use super::{in_account, make_stack, text};

/// A file for one test.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("why-{}-{name}", std::process::id()))
}

/// A site with much to explain, and distributions that have nothing to do with it.
async fn site() -> Account {
    let account = Account::new(&[]).await;
    let cloudfront = &account.cloudfront;
    cloudfront.add_cache_policy(
        CachePolicy::new("queries", 0, 3_600, 86_400).query_strings(QueryStrings::All),
    );
    let www = |id: &str| {
        Distribution::new(id, Origin::s3("site", "site"))
            .origin(Origin::new("api", "api.example.org"))
            .default_root_object("index.html")
            .error_page(404, "/404.html", 300)
            .behavior(Behavior::new("/api/*", "api"))
            .behavior(Behavior::new("/news/*", "site").policy("queries"))
            .behavior(
                Behavior::new("/live/*", "site").policy("4135ea2d-6df8-44a3-9df3-4b5a84be39ad"),
            )
    };
    cloudfront.add(www("E1").alias("www.example.org"));
    cloudfront.add(www("E2").alias("*.example.net"));
    let docs = Distribution::new("E3", Origin::website("docs", "site").path("/docs"));
    cloudfront.add(docs.alias("docs.example.org"));
    cloudfront.add(Distribution::new("E4", Origin::s3("site", "site")).disabled());
    for n in 0..8 {
        let other = Origin::s3("other", "site").path(&format!("/other/{n}"));
        cloudfront.add(Distribution::new(&format!("E5{n}"), other));
    }
    cloudfront.add(Distribution::new("E6", Origin::s3("x", "another")));
    account
}

#[tokio::test]
async fn each_step_to_the_paths_of_an_object_is_told_and_what_is_equal_is_told_once() {
    let account = site().await;
    account.tag(&[("exceptionPaths", "tmp live/drafts")]).await;
    for (name, key) in [
        ("news", "news/a~1.html"),
        ("root", "index.html"),
        ("live", "live/score.json"),
        ("excepted", "live/drafts/1.json"),
        ("folder", "docs/guide/index.html"),
        ("error-page", "404.html"),
        ("api", "api/v1"),
    ] {
        let output = in_account(&account, &["why", "--bucket", "site", key]).await;
        let told = text(output.stderr);
        assert!(
            told.contains("failed to read the stack invalidator"),
            "{told}"
        );
        assert_eq!(output.status.success(), name != "api", "{told}");
        insta::assert_snapshot!(format!("why_{name}"), text(output.stdout));
    }
}

#[tokio::test]
async fn a_page_is_looked_for_at_the_distributions_of_its_host() {
    let account = site().await;
    for (url, objects, distributions) in [
        ("https://www.example.org/", &["index.html"][..], &["E1"][..]),
        (
            "https://www.example.org/news/1.html?page=2",
            &["news/1.html"],
            &["E1"],
        ),
        (
            "https://WWW.example.org/a%20b+%ED%95%9C",
            &["a b+한"],
            &["E1"],
        ),
        ("https://x.y.example.net/a", &["a"], &["E2"]),
        (
            "https://docs.example.org/guide/",
            &["docs/guide/", "docs/guide/index.html"],
            &["E3"],
        ),
        (
            "https://docs.example.org/guide/a",
            &["docs/guide/a"],
            &["E3"],
        ),
        ("https://www.example.org/api/v1", &["api/v1"], &[]),
        ("https://example.net/", &[], &[]),
    ] {
        let output = in_account(&account, &["why", url, "--output", "json"]).await;
        let is_served = !distributions.is_empty();
        assert_eq!(output.status.code(), Some(i32::from(!is_served)), "{url}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["v"], 1);
        let found = answer["objects"].as_array().unwrap();
        let mut keys: Vec<&str> = found.iter().map(|it| it["key"].as_str().unwrap()).collect();
        keys.sort_unstable();
        assert_eq!(keys, objects, "{url}: {answer}");
        for object in found.iter().filter(|_| is_served) {
            let served = object["served"].as_array().unwrap();
            let names = served
                .iter()
                .flat_map(|it| it["distributions"].as_array().unwrap());
            let names: Vec<_> = names
                .map(|it| it["distribution"].as_str().unwrap())
                .collect();
            assert_eq!(names, distributions, "{url}: {answer}");
        }
    }
    let shown = in_account(&account, &["why", "https://www.example.org/api/v1"]).await;
    let shown = text(shown.stdout);
    assert!(
        shown.contains("E1 (www.example.org) skip (behavior `/api/*` sends it to `api`)"),
        "{shown}"
    );
    let shown = in_account(&account, &["why", "https://example.net/"]).await;
    let shown = text(shown.stdout);
    assert!(
        shown.contains("no distribution has the alias or domain name example.net"),
        "{shown}"
    );
}

/// Writes lines into the function's log.
async fn log(account: &Account, group: &str, lines: &[Value]) {
    let environment: std::collections::HashMap<_, _> = account.environment().into();
    let config = aws_sdk_cloudwatchlogs::Config::builder()
        .behavior_version_latest()
        .http_client(invalidator::aws::http_client(
            invalidator::aws::roots::Roots::BuiltIn,
        ))
        .endpoint_url(&environment["AWS_ENDPOINT_URL"])
        .region(aws_sdk_cloudwatchlogs::config::Region::new("us-east-1"))
        .credentials_provider(aws_credential_types::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .build();
    let client = aws_sdk_cloudwatchlogs::Client::from_conf(config);
    client
        .create_log_group()
        .log_group_name(group)
        .send()
        .await
        .unwrap();
    let stream = client
        .create_log_stream()
        .log_group_name(group)
        .log_stream_name("s");
    stream.send().await.unwrap();
    let now = time::OffsetDateTime::now_utc().unix_timestamp() * 1_000;
    let call = client
        .put_log_events()
        .log_group_name(group)
        .log_stream_name("s");
    let events = lines.iter().enumerate().map(|(n, line)| {
        let event = aws_sdk_cloudwatchlogs::types::InputLogEvent::builder();
        // The first is the oldest: hours ago, so that several windows are searched.
        let hours_ago = (lines.len() - n) as i64 * 3;
        let event = event.timestamp(now - hours_ago * 3_600_000 + 1);
        event.message(line.to_string()).build().unwrap()
    });
    call.set_log_events(Some(events.collect()))
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn what_happened_is_read_from_the_log_and_from_the_invalidations() {
    let account = site().await;
    make_stack(&account, "invalidator").await;
    let decision = |key: &str, decision: &str| {
        json!({
            "timestamp": "t", "level": "INFO", "message": "decision", "stage": "flush", "decision": decision,
            "bucket": "site", "key": key, "kind": "created", "distribution": "E1", "alias": "www.example.org",
            "paths": "/news/1.html*", "reason": "behavior `/news/*`",
        })
    };
    let other_bucket = json!({ "message": "decision", "decision": "skip", "bucket": "other", "key": "news/1.html" });
    log(
        &account,
        "/aws/lambda/invalidator",
        &[
            decision("news/1.html", "skip"),
            decision("news/1.html.gz", "invalidate"),
            other_bucket,
            json!("no JSON object"),
            decision("news/1.html", "invalidate"),
        ],
    )
    .await;
    account
        .change(&[("ObjectCreated:Put", "news/1.html")])
        .await;
    account.flush_and_submit().await;
    for n in 0..3 {
        account
            .change(&[("ObjectCreated:Put", &format!("about/{n}.html"))])
            .await;
        account.flush_and_submit().await;
    }
    let made = &account.cloudfront.invalidations("E1")[0];
    assert_eq!(made.paths, ["/news/1.html*"]);

    let output = in_account(
        &account,
        &["why", "s3://site/news/1.html", "--output", "json"],
    )
    .await;
    assert!(output.status.success(), "{}", text(output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let history = &answer["objects"][0]["history"];
    let lines = history["log"]["lines"].as_array().unwrap();
    let decisions: Vec<_> = lines
        .iter()
        .map(|it| it["decision"].as_str().unwrap())
        .collect();
    assert_eq!(
        decisions,
        ["invalidate", "skip"],
        "the newest first: {answer}"
    );
    let of_e1 = &history["invalidations"][0];
    assert_eq!(of_e1["target"]["distribution"], "E1");
    assert_eq!(of_e1["looked"], 4);
    let cleared = of_e1["cleared"].as_array().unwrap();
    assert_eq!(cleared.len(), 1, "{answer}");
    assert_eq!(cleared[0]["by"], "/news/1.html*");
    assert_eq!(cleared[0]["cause"], "invalidator: objects changed");

    let shown = text(
        in_account(&account, &["why", "s3://site/news/1.html"])
            .await
            .stdout,
    );
    for expected in [
        "what happened to s3://site/news/1.html:\n  the log /aws/lambda/invalidator since ",
        "Z  created E1 (www.example.org) invalidate /news/1.html* (behavior `/news/*`)\n",
        "\n  E1: cleared, the newest first, by\n    20",
        ": /news/1.html* (invalidator: objects changed)\n",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let shown = text(
        in_account(
            &account,
            &["why", "s3://site/contact.html", "--log-days", "1"],
        )
        .await
        .stdout,
    );
    for expected in [
        ", nothing about it\n",
        "  E1: none of the 4 newest invalidations, since 20",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let submitted = account
        .cloudfront
        .calls_of(Operation::CreateInvalidation)
        .len();
    assert_eq!(submitted, 8, "four at E1 and E2 each, and none by why");
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_told() {
    let account = site().await;
    make_stack(&account, "invalidator").await;
    let hostile = json!({
        "message": "decision", "decision": "skip", "bucket": "site", "key": "a.html",
        "reason": "\u{1b}]0;title\u{7}\nINVENTED",
    });
    log(&account, "/aws/lambda/invalidator", &[hostile]).await;
    let why = ["why", "s3://site/a.html"];
    let refuse = |operation| {
        account.cloudfront.heal();
        account
            .cloudfront
            .fail(Fault::AccessDenied.always().on(operation));
    };
    refuse(Operation::ListInvalidations);
    let output = in_account(&account, &why).await;
    let shown = text(output.stdout);
    assert!(output.status.success(), "{shown}");
    for expected in [
        "note: Lambda GetFunctionConfiguration: ",
        "note: the settings of the function are not known: the defaults are taken",
        "note: there is no ledger that tells how many paths the account has ordered this month",
        "note: the stack is in a dry run since its deployment",
        "  E1: CloudFront ListInvalidations: AccessDenied: ",
        " skip (\\u{1b}]0;title\\u{7}\\u{a}INVENTED)",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'));

    refuse(Operation::GetDistributionConfig);
    let output = in_account(&account, &why).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(output.stderr);
    assert!(told.contains("could not be read, see above"), "{told}");
    assert!(
        told.contains("CloudFront GetDistributionConfig: AccessDenied"),
        "{told}"
    );

    refuse(Operation::ListDistributions);
    for command in [&why[..], &["verify", "--bucket", "site"]] {
        let output = in_account(&account, command).await;
        assert_eq!(output.status.code(), Some(1));
        let told = text(output.stderr);
        assert!(
            told.contains("CloudFront ListDistributions: AccessDenied"),
            "{told}"
        );
    }
}

/// The time is a figure, not a promise of the test: it depends on the machine.
#[tokio::test]
async fn five_hundred_distributions_are_told_in_a_few_lines() {
    let account = Account::new(&[]).await;
    for n in 0..500 {
        let origin = Origin::s3("site", "site").path(&format!("/{}", n % 5));
        let distribution = Distribution::new(&format!("E{n:03}"), origin);
        account
            .cloudfront
            .add(distribution.alias(&format!("{n}.example.org")));
    }
    let start = std::time::Instant::now();
    let output = in_account(&account, &["why", "s3://site/1/a.html"]).await;
    println!(
        "why with 500 distributions: {} ms",
        start.elapsed().as_millis()
    );
    let shown = text(output.stdout);
    assert!(output.status.success(), "{shown}");
    for expected in [
        "\n  E001 (1.example.org), E006 (6.example.org), E011 (11.example.org), E016 (16.example.org), E021 \
         (21.example.org) and 95 more\n",
        "\n  skipped: 400 distributions, outside origin path: E000 (0.example.org), ",
        "\n  E001: there are no invalidations\n",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let read = account
        .cloudfront
        .calls_of(Operation::GetDistributionConfig)
        .len();
    assert_eq!(read, 100, "only where the key may be served");

    for n in 0..500 {
        let distribution = Distribution::new(&format!("E{n:03}"), Origin::s3("site", "site"));
        account
            .cloudfront
            .add(distribution.alias(&format!("{n}.example.org")));
    }
    let start = std::time::Instant::now();
    let output = in_account(&account, &["why", "s3://site/1/a.html"]).await;
    println!(
        "why with 500 that serve it: {} ms",
        start.elapsed().as_millis()
    );
    let shown = text(output.stdout);
    assert!(shown.contains(" and 495 more\n"), "{shown}");
    assert!(
        shown.contains("\n  E010: not looked at: only 10 are\n"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_saved_site_is_read_back_without_an_account() {
    let account = site().await;
    account
        .tag(&[
            ("exceptionPaths", "tmp"),
            ("owner", "me"),
            ("indexDocument", "index.html"),
        ])
        .await;
    let (event, saved) = (file("event.json"), file("site.json"));
    let changes = [
        ("ObjectCreated:Put", "index.html"),
        ("ObjectCreated:Put", "tmp/a"),
        ("ObjectCreated:Put", "news/index.html"),
        ("ObjectRemoved:Delete", "docs/404.html"),
    ];
    std::fs::write(
        &event,
        super::support::account::s3_event(&changes).to_string(),
    )
    .unwrap();
    let (event, saved) = (event.to_str().unwrap(), saved.to_str().unwrap());
    let output = in_account(&account, &["plan", event, "--save", saved]).await;
    let live = text(output.stdout);
    assert!(output.status.success(), "{}", text(output.stderr));
    assert!(
        live.contains("answered with the default root object"),
        "{live}"
    );
    assert!(!live.contains("not known"), "{live}");

    let offline = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
            .args(arguments)
            .env_clear()
            .output()
            .unwrap()
    };
    let again = text(offline(&["plan", event, "--site", saved]).stdout);
    assert_eq!(again, live);
    // Its lists are those of the AWS CLI. Tenants and tags are not in them.
    let files = [
        "plan",
        event,
        "--distributions",
        saved,
        "--cache-policies",
        saved,
    ];
    let files = text(offline(&files).stdout);
    assert!(
        files.contains("not known: no tags of site are given (--bucket-tags)"),
        "{files}"
    );
    assert!(!files.contains("no default root object"), "{files}");

    let why = offline(&["why", "https://www.example.org/", "--site", saved]);
    let why = text(why.stdout);
    assert!(
        why.contains("path /, because it is the default root object"),
        "{why}"
    );
    assert!(
        why.contains("note: the settings of the function are not known"),
        "{why}"
    );

    let other = offline(&["why", "s3://elsewhere/a", "--site", saved]);
    let told = text(other.stderr);
    assert!(
        told.contains("was saved for site and knows nothing of elsewhere: save it again"),
        "{told}"
    );
    std::fs::write(saved, r#"{"Version": 2, "Buckets": [], "DistributionList": {}, "CachePolicyList": {}, "BucketTags": {}}"#).unwrap();
    let other = text(offline(&["plan", event, "--site", saved]).stderr);
    assert!(
        other.contains("has the version 2, and only 1 is known"),
        "{other}"
    );
    let other = text(offline(&["plan", event, "--site", event]).stderr);
    assert!(
        other.contains("is not what `invalidatorctl plan --save` prints"),
        "{other}"
    );
}

#[test]
fn what_is_no_object_and_no_page_is_refused() {
    for (arguments, expected) in [
        (
            &["why", "news/1.html"][..],
            "say s3://BUCKET/KEY, https://HOST/PATH, or the key and --bucket BUCKET",
        ),
        (&["why", "s3://site"], "the object key is empty"),
        (&["why", "s3://s/a"], "`s` is not the name of a bucket"),
        (
            &["why", "ftp://www.example.org/a"],
            "a URL begins with https:// or http://",
        ),
        (
            &["why", "https://www.example.org/%FF"],
            "the path of the URL does not decode to UTF-8",
        ),
        (&["why", "--bucket", "site", ""], "the object key is empty"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = text(output.stderr);
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
