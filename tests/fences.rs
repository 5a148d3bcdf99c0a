//! Fences, with which `invalidatorctl wait` waits: real SDK clients over HTTP, queues and buckets on the
//! emulator, CloudFront by the strict stand-in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use invalidator_core::event::BucketName;
use invalidator_core::fence::{Fence, FlushSays};
use invalidator_core::mode::Mode;
use strict_cloudfront::{Distribution, Fault, Operation, Origin};
use support::account::Account;

const PUT: &str = "ObjectCreated:Put";

fn site(id: &str) -> Distribution {
    Distribution::new(id, Origin::s3("site", "site"))
}

/// Sends a fence behind the changes of the bucket `site`.
async fn fence(account: &Account) -> Fence {
    let fence = Fence::new(fastrand::u128(..), vec![BucketName::new("site")]);
    account.buffer(&fence.to_json().unwrap()).await;
    fence
}

async fn object(account: &Account, key: &str) -> Option<String> {
    let call = account.app.clients.s3().get_object();
    let object = call.bucket("errors").key(key).send().await.ok()?;
    let bytes = object.body.collect().await.unwrap().to_vec();
    Some(String::from_utf8(bytes).unwrap())
}

/// What the last flush said about a fence.
async fn says(account: &Account, fence: &Fence) -> Option<FlushSays> {
    FlushSays::from_json(&object(account, &fence.key_of_flush()).await?)
}

/// Why a fence waits.
async fn waits(account: &Account, fence: &Fence) -> String {
    match says(account, fence).await {
        Some(FlushSays::Waits { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// The groups of a fence, and how many messages could not be read.
async fn groups(account: &Account, fence: &Fence) -> (Vec<String>, usize) {
    match says(account, fence).await {
        Some(FlushSays::Passed {
            groups, unreadable, ..
        }) => (groups, unreadable),
        other => panic!("{other:?}"),
    }
}

async fn has_passed(account: &Account, fence: &Fence, group: &str) -> bool {
    let groups = [group.to_owned()];
    let key = fence.in_groups(&groups, 0).next().unwrap().key();
    object(account, &key).await.is_some()
}

/// Submits until a fence has passed this group. It is hidden for a second in between.
async fn submit_until_passed(account: &Account, fence: &Fence, group: &str) {
    for _ in 0..500 {
        account.submit().await;
        if has_passed(account, fence, group).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the fence does not pass {group}");
}

#[tokio::test]
async fn a_fence_passes_when_all_is_accepted_and_costs_nothing() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    let other = Distribution::new("E3", Origin::s3("other", "other"));
    account.cloudfront.add(other);
    account.change(&[(PUT, "a"), (PUT, "b~")]).await;
    let fence = fence(&account).await;
    account.flush().await;
    let (groups, unreadable) = groups(&account, &fence).await;
    assert_eq!(unreadable, 0);
    assert_eq!(
        groups,
        ["E1/paths", "E1/wildcards", "E2/paths", "E2/wildcards"],
        "of the distributions that serve the bucket"
    );
    assert_eq!(account.buffered().await, 0);
    assert!(!has_passed(&account, &fence, "E1/paths").await);
    for group in &groups {
        submit_until_passed(&account, &fence, group).await;
    }
    for id in ["E1", "E2"] {
        let mut paths = account.cloudfront.paths(id);
        paths.sort();
        assert_eq!(paths, ["/a", "/b*"]);
    }
    assert_eq!(account.waiting_sets().await, 0, "no fence is left");
    assert_eq!(account.error_files().await.len(), 0);
    assert_eq!(account.mails().await.len(), 0);
}

/// A flush that ends so that something may be left says so, and the next one has the fence again.
#[tokio::test]
async fn a_fence_does_not_pass_a_flush_that_leaves_something() {
    let account = Account::new(&[("MAX_CHANGES_PER_FLUSH", "1"), ("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "a"), (PUT, "b")]).await;
    let work_left = fence(&account).await;
    assert_eq!(account.flush().await.batch_item_failures.len(), 1);
    let why = waits(&account, &work_left).await;
    assert_eq!(why, "the flush ended like this: work left");
    account.flush().await;
    assert_eq!(
        groups(&account, &work_left).await.0,
        ["E1/paths", "E1/wildcards"]
    );
    submit_until_passed(&account, &work_left, "E1/paths").await;

    let in_dry_run = fence(&account).await;
    account.choose(Mode::DryRun).await;
    account.flush().await;
    assert_eq!(waits(&account, &in_dry_run).await, "the stack is not live");
    assert_eq!(account.buffered().await, 1, "it is back");
}

#[tokio::test]
async fn a_receive_that_fails_bars_the_fence_until_nothing_can_be_hidden() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "a")]).await;
    let fence = fence(&account).await;
    account.calls.refuse("POST AmazonSQS.ReceiveMessage");
    assert_eq!(account.flush().await.batch_item_failures.len(), 1);
    assert_eq!(says(&account, &fence).await, None, "it was not received");
    account.calls.heal();
    // The queue is empty now, but what the failed receive brought may be hidden.
    assert_eq!(account.flush().await.batch_item_failures.len(), 1);
    let why = waits(&account, &fence).await;
    assert!(why.contains("may be hidden"), "{why}");
    account.put_forward(Duration::from_secs(161));
    assert_eq!(account.flush().await.batch_item_failures.len(), 0);
    submit_until_passed(&account, &fence, "E1/paths").await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
}

#[tokio::test]
async fn a_distribution_that_cannot_be_read_bars_the_fence() {
    let account = Account::new(&[("CACHE_SECONDS", "0")]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2").tenant_only());
    let denied = Fault::AccessDenied.always();
    let denied = denied.on(Operation::ListDistributionTenants);
    account.cloudfront.fail(denied);
    account.change(&[(PUT, "a")]).await;
    let fence = fence(&account).await;
    account.flush().await;
    assert_eq!(waits(&account, &fence).await, "1 targets could not be read");
    // Now the changes of E2 are delayed, and this flush sees nothing of them.
    account.flush().await;
    let why = waits(&account, &fence).await;
    assert_eq!(why, "the distribution E2 could not be read");
    account.cloudfront.heal();
    account.flush().await;
    let says = says(&account, &fence).await;
    let Some(FlushSays::Passed {
        delayed_until, at, ..
    }) = says
    else {
        panic!("{says:?}");
    };
    let delay = delayed_until.unwrap() - at;
    assert!((30_000..=60_000).contains(&delay), "{delay} ms");
}

/// The fence comes between a set and its rest.
#[tokio::test]
async fn a_fence_waits_for_the_rest_of_a_set() {
    let mut account = Account::new(&[("MAX_PATHS_PER_INVALIDATION", "100")]).await;
    account.cloudfront.add(site("E1"));
    let busy = Fault::Throttling.always().after(1);
    let busy = busy.on(Operation::CreateInvalidation);
    account.cloudfront.fail(busy);
    let paths: Vec<String> = (0..120).map(|n| format!("\"/{n:03}\"")).collect();
    let paths = paths.join(",");
    let body = format!(r#"{{"v":1,"distribution":"E1","paths":[{paths}],"by":"invalidator"}}"#);
    account.enqueue("E1/paths", "large", &body).await;
    let fence = fence(&account).await;
    account.flush().await;
    account.time = Duration::from_secs(22);
    // A part of the set is accepted, and then nothing for a while.
    for _ in 0..3 {
        account.submit().await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    assert_eq!(account.cloudfront.paths("E1").len(), 100);
    assert!(has_passed(&account, &fence, "E1/wildcards").await);
    assert!(!has_passed(&account, &fence, "E1/paths").await);
    account.cloudfront.heal();
    // It is hidden for half a minute.
    account.time = Duration::from_secs(150);
    submit_until_passed(&account, &fence, "E1/paths").await;
    let accepted = account.cloudfront.paths("E1").len();
    assert_eq!(accepted, 120, "each is paid once");
}

#[tokio::test]
async fn a_fence_passes_behind_paths_that_are_rejected() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    let denied = Fault::AccessDenied.always();
    let denied = denied.on(Operation::CreateInvalidation);
    account.cloudfront.fail(denied);
    account.change(&[(PUT, "a")]).await;
    account.buffer("hello").await;
    let fence = fence(&account).await;
    account.flush().await;
    assert_eq!(groups(&account, &fence).await.1, 1, "one could not be read");
    submit_until_passed(&account, &fence, "E1/paths").await;
    assert_eq!(
        account.error_files().await.len(),
        2,
        "one is of what nobody can read"
    );
}

/// Whatever is wrong with fences, changes go on.
#[tokio::test]
async fn a_fence_that_cannot_be_written_holds_nothing_up() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.calls.refuse("PUT /errors/fences/");
    account.change(&[(PUT, "a")]).await;
    let first = fence(&account).await;
    assert_eq!(account.flush().await.batch_item_failures.len(), 0);
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    account.change(&[(PUT, "b")]).await;
    assert_eq!(account.flush().await.batch_item_failures.len(), 0);
    for _ in 0..100 {
        account.submit().await;
        if account.cloudfront.paths("E1").len() == 2 && account.waiting_sets().await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b"]);
    assert_eq!(account.waiting_sets().await, 0, "fences are given up");
    assert!(!has_passed(&account, &first, "E1/paths").await);
}
