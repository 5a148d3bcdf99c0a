//! What a flush does in order to pay less, with real SDK clients over HTTP: buckets and queues on the emulator,
//! CloudFront by the strict stand-in.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use aws_sdk_s3::types::{
    BucketVersioningStatus, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    VersioningConfiguration,
};
use invalidator::state;
use invalidator_core::cost::ledger::{LEDGER_KEY, Ledger, Spending};
use invalidator_core::event::BucketName;
use invalidator_core::mode::Mode;
use invalidator_core::pause::{PAUSES_KEY, Pause, Pauses};
use invalidator_core::state::{Beginning, SharedState, StateObject};
use invalidator_core::target::{DistributionId, Target};
use serde_json::{Value, json};
use strict_cloudfront::{Behavior, Distribution, Origin};
use support::account::{Account, s3_event};
use time::format_description::well_known::Rfc3339;

const PUT: &str = "ObjectCreated:Put";
const BALANCED: (&str, &str) = ("COST_MODE", "balanced");
const HOUR: Duration = Duration::from_secs(3_600);

fn site(id: &str) -> Distribution {
    Distribution::new(id, Origin::s3("site", "site"))
}

/// A distribution on which no wildcard may be used: an application's answers are cached, too.
fn with_application(id: &str) -> Distribution {
    let application = Origin::new("app", "app.example.org");
    site(id)
        .origin(application)
        .behavior(Behavior::new("/a*", "app"))
        .behavior(Behavior::new("/*/a*", "app"))
}

/// Names of files in a folder.
fn files(folder: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{folder}{n:03}.jpg")).collect()
}

async fn upload(account: &Account, keys: &[String]) {
    for key in keys {
        put(account, key, "first").await;
    }
}

/// Uploads an object. Returns its version.
async fn put(account: &Account, key: &str, body: &str) -> String {
    let call = account
        .app
        .clients
        .s3()
        .put_object()
        .bucket("site")
        .key(key);
    let call = call
        .content_type("text/html")
        .body(body.as_bytes().to_vec().into());
    call.send().await.unwrap().version_id.unwrap_or_default()
}

async fn change(account: &Account, keys: &[String]) {
    let changes: Vec<(&str, &str)> = keys.iter().map(|key| (PUT, key.as_str())).collect();
    account.change(&changes).await;
}

/// What the ledger says.
async fn spending(account: &Account) -> Spending {
    let ledger = account.app.ledger.read(account.app.state()).await.unwrap();
    ledger.spending(account.app.clock.now_utc())
}

/// Writes a ledger in which so many paths are reserved this month.
async fn reserved(account: &Account, paths: u64) {
    let mut ledger = Ledger::begin(Beginning::First);
    // Not in this hour.
    ledger.reserve(account.app.clock.now_utc() - HOUR, paths);
    let text = ledger.to_json().unwrap();
    account.write_object(LEDGER_KEY, text.as_bytes()).await;
}

#[tokio::test]
async fn what_fits_into_the_budget_is_exact_and_what_does_not_is_covered() {
    let account = Account::new(&[BALANCED, ("MONTHLY_PATH_BUDGET", "10000")]).await;
    account.cloudfront.add(site("E1"));
    let keys = files("img/", 12);
    upload(&account, &keys).await;
    upload(&account, &files("img/other-", 3)).await;
    upload(&account, &["index.html".to_owned()]).await;
    change(&account, &keys).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1").len(), 12);
    // A busy environment reserves a few more than it needs.
    assert!((12..30).contains(&spending(&account).await.reserved));
    assert_eq!(account.take_metrics().get("PathsSavedCollapsed"), None);

    reserved(&account, 9_995).await;
    change(&account, &keys).await;
    account.flush_and_submit().await;
    let paths = account.cloudfront.paths("E1");
    assert_eq!(paths[12..], ["/img/*"], "no wider than need be");
    assert!((9_996..10_010).contains(&spending(&account).await.reserved));
    let metrics = account.take_metrics();
    assert_eq!(metrics["PathsSavedCollapsed"], [11]);
    assert_eq!(metrics["LookUps"], [1]);
    assert_eq!(metrics["PathsThisMonth"], [9_996]);
    assert_eq!(metrics.get("WholeDistributionByCollapse"), None);
    assert_eq!(account.buffered().await, 0);
}

#[tokio::test]
async fn without_the_permission_to_look_the_cover_goes_by_an_estimate() {
    for (look, files_changed, expected) in [("true", 6, 1), ("false", 6, 6), ("false", 12, 1)] {
        let settings = [("COST_MODE", "frugal"), ("LOOK_BEFORE_PAYING", look)];
        let account = Account::new(&settings).await;
        account.cloudfront.add(site("E1"));
        let keys = files("", files_changed);
        upload(&account, &keys).await;
        change(&account, &keys).await;
        account.flush_and_submit().await;
        let paths = account.cloudfront.paths("E1");
        assert_eq!(paths.len(), expected, "{look} {files_changed}: {paths:?}");
    }
}

#[tokio::test]
async fn no_wildcard_covers_what_an_application_answers_or_is_wider_than_allowed() {
    for (distribution, depth) in [(with_application("E1"), "0"), (site("E1"), "2")] {
        let settings = [("COST_MODE", "frugal"), ("MIN_WILDCARD_DEPTH", depth)];
        let account = Account::new(&settings).await;
        account.cloudfront.add(distribution);
        let keys = files("img/", 12);
        upload(&account, &keys).await;
        change(&account, &keys).await;
        account.flush_and_submit().await;
        assert_eq!(account.cloudfront.paths("E1").len(), 12);
    }
}

#[tokio::test]
async fn where_the_ledger_cannot_be_read_the_cover_is_used() {
    let account = Account::new(&[BALANCED]).await;
    account.cloudfront.add(site("E1"));
    let keys = files("", 12);
    upload(&account, &keys).await;
    // A mode was chosen, and is remembered; then the bucket is gone.
    account.choose(Mode::Live).await;
    account.flush().await;
    account.delete_error_bucket().await;
    change(&account, &keys).await;
    account.put_forward(Duration::from_secs(61));
    account.flush().await;
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/*"]);
}

/// Before: the month's limit was forgotten, and each hour's was spent anew.
#[tokio::test]
async fn where_the_ledger_cannot_be_read_any_more_what_was_read_still_counts() {
    let settings = [("COST_MODE", "exact"), ("SPENDING_LIMIT_PER_MONTH", "0.20")];
    let account = Account::new(&settings).await;
    account.cloudfront.add(with_application("E1"));
    reserved(&account, 1_040).await;
    account.choose(Mode::Live).await;
    change(&account, &files("", 60)).await;
    account.flush_and_submit().await;
    let ordered = account.cloudfront.paths("E1").len();
    account.delete_error_bucket().await;
    change(&account, &files("later/", 60)).await;
    account.put_forward(Duration::from_secs(61));
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1").len(), ordered);
    assert!(account.buffered().await >= 1, "they wait");
}

/// Before: the changes waited, as the decision did not know what the limit knew.
#[tokio::test]
async fn where_what_was_read_allows_no_exact_paths_a_wildcard_is_used() {
    let settings = [("COST_MODE", "exact"), ("SPENDING_LIMIT_PER_MONTH", "0.40")];
    let account = Account::new(&settings).await;
    account.cloudfront.add(site("E1"));
    // At any time of a month, 10 to 50 more are allowed.
    reserved(&account, 1_030).await;
    account.choose(Mode::Live).await;
    change(&account, &["index.html".to_owned()]).await;
    account.flush_and_submit().await;
    account.delete_error_bucket().await;
    change(&account, &files("later/", 60)).await;
    account.put_forward(Duration::from_secs(61));
    account.flush_and_submit().await;
    let paths = account.cloudfront.paths("E1");
    let last = paths.last().unwrap();
    assert!(last.ends_with('*') && paths.len() <= 3, "{paths:?}");
    assert_eq!(account.buffered().await, 0);
}

#[tokio::test]
async fn what_a_spending_limit_does_not_allow_waits() {
    let settings = [("COST_MODE", "exact"), ("SPENDING_LIMIT_PER_HOUR", "0.20")];
    let account = Account::new(&settings).await;
    account.cloudfront.add(with_application("E1"));
    account.cloudfront.add(with_application("E2"));
    reserved(&account, 1_000).await;
    let keys = files("", 60);
    change(&account, &keys).await;
    account.flush_and_submit().await;
    // 0.10 USD: half of the limit is for the rest of the hour and for small sets.
    let accepted = |id: &str| account.cloudfront.paths(id).len();
    let ordered = accepted("E1") + accepted("E2");
    assert!((20..=40).contains(&ordered), "{ordered}");
    assert!(spending(&account).await.this_hour >= ordered as u64);
    let metrics = account.take_metrics();
    assert_eq!(metrics["PathsHeldBack"], [120 - ordered as u64]);
    assert_eq!(metrics["SpendingLimitNear"], [1]);
    assert!(account.buffered().await >= 1, "the others wait");
    // They are hidden, so the next flush finds nothing.
    account.flush_and_submit().await;
    assert_eq!(accepted("E1") + accepted("E2"), ordered);
}

/// A bucket that opted in, with versions and without ACLs.
async fn versioned(settings: &[(&'static str, &str)]) -> Account {
    let account = Account::new(settings).await;
    let s3 = account.app.clients.s3();
    let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
    let call = s3.put_bucket_versioning().bucket("site");
    let call = call.versioning_configuration(versions.build());
    call.send().await.unwrap();
    let rule = OwnershipControlsRule::builder();
    let rule = rule
        .object_ownership(ObjectOwnership::BucketOwnerEnforced)
        .build();
    let controls = OwnershipControls::builder().rules(rule.unwrap()).build();
    let call = s3.put_bucket_ownership_controls().bucket("site");
    let call = call.ownership_controls(controls.unwrap());
    call.send().await.unwrap();
    account.tag(&[("invalidate", "changed")]).await;
    account
}

/// Uploads objects, and tells of them as S3 does.
async fn upload_with_event(account: &Account, objects: &[(&str, &str)]) {
    let mut records = Vec::new();
    for (key, body) in objects {
        let version = put(account, key, body).await;
        records.push(record(account, key, &version));
    }
    account
        .invoke(&json!({ "Records": records }))
        .await
        .unwrap();
}

fn record(account: &Account, key: &str, version: &str) -> Value {
    let time = account.app.clock.now_utc().format(&Rfc3339).unwrap();
    json!({
        "eventVersion": "2.3", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": PUT,
        "eventTime": time,
        "s3": {
            "bucket": { "name": "site" },
            "object": { "key": key, "size": 1, "versionId": version, "sequencer": "0A" },
        },
    })
}

/// Lets a target be trusted, as it happens: its terms are seen, and ten minutes later a `/*` is sent.
async fn gain_trust(account: &Account) {
    upload_with_event(account, &[("trust.html", "1")]).await;
    account.flush_and_submit().await;
    account.put_forward(Duration::from_secs(660));
    upload_with_event(account, &[("trust.html", "2")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/trust.html", "/*"]);
    account.take_metrics();
}

fn new_paths(account: &Account) -> Vec<String> {
    let paths = account.cloudfront.paths("E1");
    let after = paths.iter().rposition(|path| path == "/*");
    paths[after.map_or(0, |at| at + 1)..].to_vec()
}

const COMPARES: [(&str, &str); 1] = [("COMPARE_BUCKETS", "site")];

fn sorted(paths: &[impl ToString]) -> Vec<String> {
    let mut sorted: Vec<String> = paths.iter().map(ToString::to_string).collect();
    sorted.sort();
    sorted
}

/// Each of these makes an upload that would be skipped one that is invalidated.
#[tokio::test]
async fn whatever_is_missing_for_a_skip_is_invalidated() {
    let account = versioned(&[]).await;
    account.cloudfront.add(site("E1"));
    gain_trust(&account).await;
    let s3 = account.app.clients.s3();

    // An event without a version.
    put(&account, "no-version.jpg", "a").await;
    account
        .invoke(&s3_event(&[(PUT, "no-version.jpg")]))
        .await
        .unwrap();
    // An event of more than an hour ago.
    let version = put(&account, "late.jpg", "a").await;
    let mut late = record(&account, "late.jpg", &version);
    let ago = account.app.clock.now_utc() - Duration::from_secs(3_700);
    late["eventTime"] = ago.format(&Rfc3339).unwrap().into();
    account.invoke(&json!({ "Records": [late] })).await.unwrap();
    // The version that an event is about is gone.
    let version = put(&account, "gone.jpg", "a").await;
    let event = record(&account, "gone.jpg", &version);
    let call = s3.delete_object().bucket("site").key("gone.jpg");
    call.version_id(&version).send().await.unwrap();
    put(&account, "gone.jpg", "b").await;
    account
        .invoke(&json!({ "Records": [event] }))
        .await
        .unwrap();
    account.flush_and_submit().await;
    let expected = ["/gone.jpg", "/late.jpg", "/no-version.jpg"];
    assert_eq!(sorted(&new_paths(&account)), expected);

    // A tag of the bucket is another one: the target is not trusted any more, and asked in ten minutes.
    let tags = [("invalidate", "changed"), ("exceptionPaths", "tmp")];
    account.tag(&tags).await;
    account.put_forward(Duration::from_secs(61));
    upload_with_event(&account, &[("new-1.jpg", "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account).last().unwrap(), "/new-1.jpg");

    // ACLs.
    account.put_forward(Duration::from_secs(4_000));
    upload_with_event(&account, &[("new-2.jpg", "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account), [""; 0], "a `/*` in place of its path");
    let call = s3.delete_bucket_ownership_controls().bucket("site");
    call.send().await.unwrap();
    upload_with_event(&account, &[("new-3.jpg", "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account), ["/new-3.jpg"]);
}

#[tokio::test]
async fn a_dry_run_that_cannot_take_trust_discards_nothing() {
    let account = versioned(&[]).await;
    account.cloudfront.add(site("E1"));
    account.choose(Mode::DryRun).await;
    account.flush().await;
    upload_with_event(&account, &[("kept.jpg", "a")]).await;
    account.delete_error_bucket().await;
    account.put_forward(Duration::from_secs(61));
    assert_eq!(account.flush().await.batch_item_failures.len(), 1);
    assert_eq!(account.buffered().await, 1);
}

#[tokio::test]
async fn an_upload_that_changes_nothing_is_not_paid_for_once_the_target_is_trusted() {
    let account = versioned(&COMPARES).await;
    account.cloudfront.add(site("E1"));
    upload_with_event(&account, &[("same.html", "a"), ("other.html", "a")]).await;
    account.flush_and_submit().await;
    account.put_forward(2 * HOUR);
    // Nobody trusts the target yet: it is asked.
    upload_with_event(&account, &[("same.html", "a")]).await;
    account.flush_and_submit().await;
    account.put_forward(2 * HOUR);
    upload_with_event(&account, &[("same.html", "a")]).await;
    account.flush_and_submit().await;
    let before = account.cloudfront.paths("E1");
    assert_eq!(sorted(&before[..2]), ["/other.html", "/same.html"]);
    assert_eq!(
        before[2..],
        ["/*"],
        "it stands for the path, and then nothing is paid"
    );
    account.take_metrics();

    upload_with_event(&account, &[("same.html", "a"), ("other.html", "b")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account), ["/other.html"]);
    let metrics = account.take_metrics();
    assert_eq!(metrics["PathsSavedUnchanged"], [1]);
    assert!(metrics["LookUps"][0] >= 4);
    assert_eq!(account.buffered().await, 0);
}

/// A change that a pause holds back may be what a later upload would have to be compared with.
#[tokio::test]
async fn nothing_is_skipped_in_a_bucket_with_a_pause() {
    let account = versioned(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    gain_trust(&account).await;
    let place = (BucketName::new("site"), "img/".to_owned());
    let now = account.app.clock.now_utc();
    let pause = Pause::new(1, place, now, String::new(), String::new());
    let id = pause.id.clone();
    let change = async |change: &dyn Fn(&mut Pauses) -> bool| {
        let s3 = account.app.clients.s3();
        let changed = state::change(s3, "errors", PAUSES_KEY, change).await;
        changed.unwrap();
    };
    change(&|list| list.begin(pause.clone())).await;
    upload_with_event(&account, &[("new-1.jpg", "a"), ("img/1.jpg", "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account), ["/new-1.jpg"]);
    // Some may still be held back.
    change(&|list| list.resume(&[&id])).await;
    upload_with_event(&account, &[("new-2.jpg", "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account), ["/new-1.jpg", "/new-2.jpg"]);
    change(&|list| list.remove(&[&id])).await;
    upload_with_event(&account, &[("new-3.jpg", "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account), ["/new-1.jpg", "/new-2.jpg"]);
}

#[tokio::test]
async fn a_first_upload_is_not_paid_for_where_errors_are_not_cached_for_long() {
    for (distribution, is_skipped) in [
        (site("E1"), true),
        (site("E1").error_page(404, "/404.html", 300), false),
        (site("E1").error_page(503, "/503.html", 300), false),
    ] {
        let account = versioned(&[]).await;
        account.cloudfront.add(distribution);
        gain_trust(&account).await;
        upload_with_event(&account, &[("new.jpg", "a"), ("trust.html", "3")]).await;
        account.flush_and_submit().await;
        let expected: &[&str] = match is_skipped {
            true => &["/trust.html"],
            false => &["/new.jpg", "/trust.html"],
        };
        assert_eq!(sorted(&new_paths(&account)), expected);
        let saved = account.take_metrics().remove("PathsSavedFirstUpload");
        assert_eq!(saved, is_skipped.then(|| vec![1]));
    }
}

#[tokio::test]
async fn a_dry_run_takes_the_trust_of_all_targets() {
    let account = versioned(&[]).await;
    account.cloudfront.add(site("E1"));
    gain_trust(&account).await;
    account.choose(Mode::DryRun).await;
    account.put_forward(Duration::from_secs(61));
    upload_with_event(&account, &[("discarded.jpg", "a")]).await;
    account.flush_and_submit().await;
    account.choose(Mode::Live).await;
    account.put_forward(Duration::from_secs(61));
    upload_with_event(&account, &[("new.jpg", "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account), ["/new.jpg"]);
    let target = Target {
        distribution: DistributionId::new("E1"),
        tenant: None,
    };
    let ledger = account.app.ledger.read(account.app.state()).await.unwrap();
    let trust = format!("{:?}", ledger.trust_of(&target));
    assert!(trust.contains("a dry run has discarded changes"), "{trust}");
}

/// An exception path that was tagged by mistake for a while: the uploads it hid are not taken for known.
#[tokio::test]
async fn uploads_that_were_ignored_under_other_tags_take_the_trust() {
    let account = versioned(&[]).await;
    account.cloudfront.add(site("E1"));
    gain_trust(&account).await;
    let by_mistake = [("invalidate", "changed"), ("exceptionPaths", "img")];
    account.tag(&by_mistake).await;
    account.put_forward(Duration::from_secs(61));
    upload_with_event(&account, &[("img/a.jpg", "ignored")]).await;
    account.tag(&[("invalidate", "changed")]).await;
    account.put_forward(Duration::from_secs(61));
    upload_with_event(&account, &[("new.jpg", "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(new_paths(&account), ["/new.jpg"]);
}

/// An upload of which the function was never told, because its event was not understood, makes the next one count.
#[tokio::test]
async fn an_event_that_cannot_be_read_takes_the_trust_whoever_delivers_it() {
    for by_queue in [false, true] {
        let account = versioned(&[]).await;
        account.cloudfront.add(site("E1"));
        gain_trust(&account).await;
        let event = json!({ "Records": [{ "eventSource": "aws:s3", "eventName": PUT }] });
        let answer = match by_queue {
            false => account.invoke(&event).await,
            true => {
                let arn = "arn:aws:sqs:us-east-1:1:s3-events";
                let body = event.to_string();
                let message = json!({ "messageId": "bad", "eventSource": "aws:sqs", "eventSourceARN": arn, "body": body });
                account.invoke(&json!({ "Records": [message] })).await
            }
        };
        let failed = answer.map_or(1, |it| it.batch_item_failures.len());
        assert_eq!(failed, 1, "by a queue: {by_queue}");
        let target = Target {
            distribution: DistributionId::new("E1"),
            tenant: None,
        };
        let ledger = account.app.ledger.read(account.app.state()).await.unwrap();
        let trust = format!("{:?}", ledger.trust_of(&target));
        assert!(trust.contains("an event could not be taken"), "{trust}");
    }
}
