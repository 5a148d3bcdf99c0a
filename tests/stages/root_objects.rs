//! Default root objects, which every environment knows once one has read them.

use std::time::Duration;

use invalidator_core::distributions::root_objects::{RootObjects, STATE_KEY};
use invalidator_core::state::Reading;
use strict_cloudfront::{Fault, Operation};

use super::support::account::{Account, flush};
use super::{PUT, site};

/// Lets a new environment flush a change of this key, and then submit do its work. Returns how many
/// configurations were read.
async fn change_in_new_environment(account: &Account, key: &str) -> usize {
    account.cloudfront.clear_calls();
    account.change(&[(PUT, key)]).await;
    let environment = account.another_environment();
    assert_eq!(flush(&environment).await.batch_item_failures.len(), 0);
    account.submit().await;
    let reads = account
        .cloudfront
        .calls_of(Operation::GetDistributionConfig);
    reads.len()
}

async fn kept(account: &Account) -> Reading<RootObjects> {
    let s3 = account.app.clients.s3();
    let read = invalidator::state::read(s3, "errors", STATE_KEY).await;
    read.unwrap()
}

#[tokio::test]
async fn a_new_environment_knows_the_default_root_objects_that_others_have_read() {
    let account = Account::new(&[]).await;
    account
        .cloudfront
        .add(site("E1").default_root_object("hello"));
    account.cloudfront.add(site("E2"));
    assert_eq!(change_in_new_environment(&account, "a").await, 2);
    assert!(matches!(kept(&account).await, Reading::Found(..)));
    assert_eq!(change_in_new_environment(&account, "hello").await, 0);
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/", "/hello"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/a", "/hello"]);
    assert_eq!(account.versions(STATE_KEY).await, 1, "it is written once");
}

#[tokio::test]
async fn the_default_root_object_of_a_distribution_that_changed_is_read_again() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1").default_root_object("a"));
    account.cloudfront.add(site("E2").default_root_object("a"));
    assert_eq!(change_in_new_environment(&account, "a").await, 2);
    account.cloudfront.add(site("E1").default_root_object("b"));
    assert_eq!(change_in_new_environment(&account, "b").await, 1);
    assert_eq!(account.cloudfront.paths("E1"), ["/", "/a", "/", "/b"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/", "/a", "/b"]);
    assert_eq!(change_in_new_environment(&account, "c").await, 0);
}

#[tokio::test]
async fn what_this_function_did_not_write_is_not_believed() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1").default_root_object("a"));
    for text in [
        "hello",
        r#"{"v":9,"roots":{},"writes":[]}"#,
        r#"{"v":1,"roots":{"E1":["",null]},"writes":[]}"#,
    ] {
        account.write_object(STATE_KEY, text.as_bytes()).await;
        assert_eq!(change_in_new_environment(&account, "a").await, 1, "{text}");
        assert!(matches!(kept(&account).await, Reading::Found(..)), "{text}");
    }
    assert_eq!(account.cloudfront.paths("E1"), ["/", "/a"].repeat(3));
}

#[tokio::test]
async fn environments_that_read_at_the_same_time_keep_what_both_have_read() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    let first = account.another_environment();
    let second = account.another_environment();
    // Both look before any has written.
    tokio::join!(
        first.catalog.load_roots(first.state()),
        second.catalog.load_roots(second.state()),
    );
    account.change(&[(PUT, "a")]).await;
    flush(&first).await;
    account.cloudfront.add(site("E2"));
    account.change(&[(PUT, "b")]).await;
    flush(&second).await;
    account.cloudfront.clear_calls();
    assert_eq!(change_in_new_environment(&account, "c").await, 0);
}

/// Before: the old one was planned with, so `/` was paid for in vain.
#[tokio::test]
async fn the_default_root_object_of_an_earlier_configuration_is_not_planned_with() {
    let account = Account::new(&[]).await;
    // More than are read at once.
    let ids: Vec<String> = (10..22).map(|n| format!("E{n}")).collect();
    let all_have = |object: &str| {
        for id in &ids {
            let distribution = site(id).default_root_object(object);
            account.cloudfront.add(distribution);
        }
    };
    let changed = async |key: &str| {
        account.change(&[(PUT, key)]).await;
        account.flush_and_submit().await;
    };
    all_have("a");
    changed("index.html").await;
    changed("a").await;
    all_have("b");
    account.put_forward(Duration::from_secs(120));
    account.cloudfront.clear_calls();
    changed("a").await;
    let reads = account
        .cloudfront
        .calls_of(Operation::GetDistributionConfig);
    assert_eq!(reads.len(), 0, "they are read by a later flush");
    for id in &ids {
        let paths = account.cloudfront.paths(id);
        assert_eq!(paths, ["/index.html", "/", "/a", "/a"], "{id}");
    }
}

/// Before: the changes waited for a minute, then for two, up to 15.
#[tokio::test]
async fn no_change_waits_for_a_default_root_object_that_cannot_be_read() {
    let account = Account::new(&[]).await;
    account
        .cloudfront
        .add(site("E1").default_root_object("pages/hello"));
    let denied = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(denied.on(Operation::GetDistributionConfig));
    account
        .change(&[(PUT, "pages/hello"), (PUT, "img/a.png")])
        .await;
    account.flush_and_submit().await;
    let paths = account.cloudfront.paths("E1");
    assert_eq!(paths, ["/img/a.png", "/pages/hello"]);
    assert_eq!(account.buffered().await, 1, "it may be the root object");
    // One that is most likely a root object is planned once, when all is known.
    account.change(&[(PUT, "index.html")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1").len(), 2);
    assert_eq!(account.buffered().await, 2);
}
