//! Changes that a pause holds back, and what comes of them when somebody resumes at any moment.

use std::time::{Duration, SystemTime};

use invalidator::state;
use invalidator_core::buffered::{Buffered, unpack};
use invalidator_core::event::{BucketName, ChangeKind};
use invalidator_core::mode::Mode;
use invalidator_core::pause::{HeldKey, PAUSES_KEY, Pause, Pauses};

use super::support::account::{Account, flush};
use super::{DELETE, PUT, failed, site};

/// Without a cache, so that a flush knows a pause at once.
const FRESH: (&str, &str) = ("CACHE_SECONDS", "0");

async fn pause(account: &Account, id: u64, prefix: &str) {
    let place = (BucketName::new("site"), prefix.to_owned());
    let now = SystemTime::now().into();
    let pause = Pause::new(id, place, now, "a test".to_owned(), String::new());
    change(account, |list| list.begin(pause.clone())).await;
}

async fn change(account: &Account, change: impl FnMut(&mut Pauses) -> bool) {
    let s3 = account.app.clients.s3();
    let changed = state::change(s3, "errors", PAUSES_KEY, change).await;
    changed.unwrap();
}

fn id(id: u64) -> String {
    format!("{id:016x}")
}

/// The keys of what is held back, and the texts.
async fn held(account: &Account) -> Vec<(HeldKey, String)> {
    let s3 = account.app.clients.s3();
    let list = s3.list_objects_v2().bucket("errors").prefix("state/held/");
    let mut held = Vec::new();
    for object in list.send().await.unwrap().contents() {
        let key = object.key().unwrap();
        let text = s3.get_object().bucket("errors").key(key).send().await;
        let text = text.unwrap().body.collect().await.unwrap().to_vec();
        held.push((HeldKey::of(key).unwrap(), String::from_utf8(text).unwrap()));
    }
    held
}

#[tokio::test]
async fn what_is_paused_is_held_back_as_it_is_and_all_else_goes_on() {
    let account = Account::new(&[FRESH]).await;
    account.cloudfront.add(site("E1"));
    pause(&account, 1, "img/").await;
    account
        .change(&[(PUT, "img/a"), (PUT, "index.html"), (PUT, "img/b")])
        .await;
    account.change(&[(DELETE, "img/b")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/index.html"]);
    assert_eq!(account.buffered().await, 0, "acknowledged");
    let metrics = account.take_metrics();
    assert_eq!(
        (&metrics["KeysPaused"], &metrics["Keys"]),
        (&vec![2], &vec![1])
    );

    let objects = held(&account).await;
    let [(key, text)] = &objects[..] else {
        panic!("{objects:?}")
    };
    assert_eq!((key.changes, &key.pause), (2, &id(1)));
    let Buffered::Changes {
        scope: None,
        changes,
    } = unpack(text).unwrap()
    else {
        panic!("{text}")
    };
    let mut changes: Vec<_> = changes
        .iter()
        .map(|it| (it.key.as_str(), it.kind))
        .collect();
    changes.sort_unstable();
    let expected = [
        ("img/a", ChangeKind::Created),
        ("img/b", ChangeKind::Deleted),
    ];
    assert_eq!(changes, expected, "a deletion stays one");

    // The same again is the same object.
    account.change(&[(PUT, "img/a"), (DELETE, "img/b")]).await;
    account.flush().await;
    assert_eq!(held(&account).await, objects);

    // What is put back is planned.
    change(&account, |list| list.resume(&[&id(1)])).await;
    account.buffer(&objects[0].1).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1")[1..], ["/img/a", "/img/b"]);
    let late = account.take_metrics().remove("ChangeAge");
    assert_eq!(late, None, "what waits on purpose does not count as late");
}

#[tokio::test]
async fn changes_for_some_targets_alone_are_held_back_for_these() {
    let account = Account::new(&[FRESH]).await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    pause(&account, 1, "").await;
    let body = r#"{"version":2,"scope":{"targets":["E2"],"first_seen":1795226584567,"attempts":3},"buckets":[{"bucket":"site","created":[["a",null]],"deleted":[]}]}"#;
    account.buffer(body).await;
    account.change(&[(PUT, "b")]).await;
    account.flush().await;
    let mut texts: Vec<_> = held(&account).await.into_iter().map(|it| it.1).collect();
    texts.sort();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(texts[1], body);
    assert!(texts[0].starts_with(r#"{"version":1,"#), "{texts:?}");
}

/// The environment knows the pause from before.
#[tokio::test]
async fn a_pause_that_was_resumed_a_moment_ago_holds_nothing_back_and_leaves_nothing() {
    for is_removed in [false, true] {
        let account = Account::new(&[]).await;
        account.cloudfront.add(site("E1"));
        pause(&account, 1, "img/").await;
        pause(&account, 2, "docs/").await;
        account.flush().await;
        change(&account, |list| list.resume(&[&id(1)])).await;
        if is_removed {
            change(&account, |list| list.remove(&[&id(1)])).await;
        }
        account
            .change(&[(PUT, "img/a"), (PUT, "docs/a"), (PUT, "index.html")])
            .await;
        account.flush_and_submit().await;
        let mut paths = account.cloudfront.paths("E1");
        paths.sort();
        assert_eq!(paths, ["/img/a", "/index.html"], "{is_removed}");
        assert_eq!(account.buffered().await, 0);
        let held = held(&account).await;
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].0.pause, id(2));
    }
}

/// Somebody resumes between the two looks of a flush: before its object is written, or after that.
#[tokio::test]
async fn a_pause_that_is_resumed_while_a_flush_writes_loses_nothing() {
    for (call, is_written) in [
        ("PUT /errors/state/held/", false),
        ("GET /errors/state/paused.json", true),
    ] {
        let account = Account::new(&[]).await;
        account.cloudfront.add(site("E1"));
        pause(&account, 1, "img/").await;
        account.flush().await;
        account.change(&[(PUT, "img/a")]).await;
        let put = account.calls.block("PUT /errors/state/held/");
        let operator = async {
            put.reached().await;
            let before_look = is_written.then(|| account.calls.block(call));
            if let Some(look) = &before_look {
                put.let_go();
                look.reached().await;
            }
            change(&account, |list| list.resume(&[&id(1)])).await;
            let found = held(&account).await.len();
            change(&account, |list| list.remove(&[&id(1)])).await;
            before_look.map_or_else(|| put.let_go(), |look| look.let_go());
            found
        };
        let (found, ()) = tokio::join!(operator, account.flush_and_submit());
        assert_eq!(
            found,
            usize::from(is_written),
            "what the resume puts back, too"
        );
        assert_eq!(account.cloudfront.paths("E1"), ["/img/a"], "{call}");
        assert_eq!(account.buffered().await, 0);
    }
}

/// The same, but the same keys were paused once more.
#[tokio::test]
async fn a_new_pause_of_the_same_keys_is_another_one() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    pause(&account, 1, "img/").await;
    account.flush().await;
    change(&account, |list| list.resume(&[&id(1)])).await;
    pause(&account, 2, "img/").await;
    account.change(&[(PUT, "img/a")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/img/a"]);
    // Now it knows the new one.
    account.change(&[(PUT, "img/b")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/img/a"]);
}

#[tokio::test]
async fn while_it_is_not_certain_that_changes_are_held_back_their_messages_stay() {
    for (refused, list) in [
        (Some("PUT /errors/state/held/"), None),
        (Some("GET /errors/state/paused.json"), None),
        (None, Some("hello")),
    ] {
        let account = Account::new(&[]).await;
        account.cloudfront.add(site("E1"));
        pause(&account, 1, "img/").await;
        account.flush().await;
        if let Some(list) = list {
            account.write_object(PAUSES_KEY, list.as_bytes()).await;
        }
        if let Some(call) = refused {
            account.calls.refuse(call);
        }
        account.change(&[(PUT, "img/a")]).await;
        assert_eq!(
            failed(account.flush().await),
            1,
            "{refused:?}: the tick comes back"
        );
        assert_eq!(account.buffered().await, 1, "{refused:?}");
        assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
    }
}

#[tokio::test]
async fn without_a_list_nothing_is_received_unless_one_is_known() {
    let account = Account::new(&[FRESH]).await;
    account.cloudfront.add(site("E1"));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    account.write_object(PAUSES_KEY, b"hello").await;
    account.change(&[(PUT, "b")]).await;
    let other = account.another_environment();
    assert_eq!(failed(flush(&other).await), 1);
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    let account_knows = account.flush().await;
    assert_eq!(failed(account_knows), 0, "it goes by what it knows");
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b"]);
    assert!(account.take_metrics()["StateUnreadable"][0] >= 1);
}

#[tokio::test]
async fn a_dry_run_holds_back_what_is_paused_too() {
    let account = Account::new(&[FRESH]).await;
    account.cloudfront.add(site("E1"));
    pause(&account, 1, "img/").await;
    account.choose(Mode::DryRun).await;
    account.change(&[(PUT, "img/a"), (PUT, "b")]).await;
    account.flush().await;
    assert_eq!(held(&account).await.len(), 1);
    assert_eq!(account.buffered().await, 0);
}

/// An environment that was frozen when the pause began knows it within its cache time.
#[tokio::test]
async fn a_pause_takes_effect_within_the_cache_time() {
    let account = Account::new(&[]).await;
    account.cloudfront.add(site("E1"));
    account.flush().await;
    pause(&account, 1, "").await;
    account.put_forward(Duration::from_secs(61));
    account.change(&[(PUT, "a")]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), [""; 0]);
    assert_eq!(held(&account).await.len(), 1);
}
