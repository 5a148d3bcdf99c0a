//! `invalidatorctl pause` and `invalidatorctl resume`, and what the other commands say of them.

use std::process::Output;

use invalidator::state;
use invalidator_core::event::BucketName;
use invalidator_core::mode::Mode;
use invalidator_core::pause::{HeldKey, PAUSES_KEY, Pauses};
use serde_json::{Value, json};
use strict_cloudfront::{Behavior, Distribution, Origin};

use super::invalidate::make_function;
use super::support::account::Account;
use super::{in_account, make_stack_with, text};

const PUT: &str = "ObjectCreated:Put";
const DELETE: &str = "ObjectRemoved:Delete";

/// A distribution of the bucket, and one that also caches what an application answers.
pub async fn account() -> Account {
    account_with(&[]).await
}

async fn account_with(settings: &[(&'static str, &str)]) -> Account {
    let account = Account::new(&[&[("CACHE_SECONDS", "0")], settings].concat()).await;
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    account.cloudfront.add(site.alias("www.example.org"));
    let application = Origin::new("app", "app.example.org");
    let mixed = Distribution::new("E2", Origin::s3("site", "site")).origin(application);
    let mixed = mixed.behavior(Behavior::new("/*/live/*", "app"));
    account.cloudfront.add(mixed);
    let config = &account.app.config;
    let (buffer, ticks) = (config.buffer_queue.as_str(), config.tick_queue.as_str());
    let outputs = [
        ("BufferQueueUrl", buffer),
        ("TickQueueUrl", ticks),
        ("PauseVersion", "1"),
        ("FenceVersion", "1"),
        ("FunctionName", "nobody"),
        ("LogGroupName", "/aws/lambda/invalidator"),
    ];
    make_stack_with(&account, "invalidator", "live", &outputs).await;
    make_function(&account).await;
    account
}

async fn run(account: &Account, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = in_account(account, arguments).await;
    (status.code(), text(stdout), text(stderr))
}

async fn done(account: &Account, arguments: &[&str]) -> (String, String) {
    let (status, shown, told) = run(account, arguments).await;
    assert_eq!(status, Some(0), "{arguments:?}: {shown}{told}");
    (shown, told)
}

async fn change_all(account: &Account, keys: &[String]) {
    let changes: Vec<_> = keys.iter().map(|key| (PUT, key.as_str())).collect();
    for changes in changes.chunks(100) {
        account.change(changes).await;
    }
}

/// The keys and texts of what is held back.
async fn held(account: &Account) -> Vec<(String, Vec<u8>)> {
    let s3 = account.app.clients.s3();
    let list = s3.list_objects_v2().bucket("errors").prefix("state/held/");
    let mut held = Vec::new();
    for object in list.send().await.unwrap().contents() {
        let key = object.key().unwrap().to_owned();
        let object = s3.get_object().bucket("errors").key(&key).send().await;
        let text = object.unwrap().body.collect().await.unwrap().to_vec();
        held.push((key, text));
    }
    held
}

async fn list(account: &Account, change: impl FnMut(&mut Pauses) -> bool) -> Pauses {
    let s3 = account.app.clients.s3();
    let changed = state::change(s3, "errors", PAUSES_KEY, change).await;
    changed.unwrap()
}

#[tokio::test]
async fn what_is_paused_is_shown_and_put_back_by_resume() {
    let account = account().await;
    let (shown, _) = done(&account, &["pause"]).await;
    assert_eq!(shown, "nothing is paused\n");
    let begin = ["pause", "site/img/", "--why", "backfill"];
    let (status, _, told) = run(&account, &begin).await;
    assert_eq!(status, Some(2), "there is no terminal to ask on");
    for expected in [
        "changes of keys that begin with `img/` of site will be held back under s3://errors/state/held/, for as long as \
         it takes, until `invalidatorctl resume site/img/ --region us-east-1`",
        "Each flush of the function reads this within a minute.",
        "--yes",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    let (shown, _) = done(&account, &[&begin[..], &["--yes"]].concat()).await;
    assert!(
        shown.starts_with(
            "paused; it takes effect within a minute\ns3://site/img/ is paused since 20"
        ),
        "{shown}"
    );
    assert!(
        shown.ends_with(", by arn:aws:iam::000000000000:root: backfill; 0 changes are held back\n"),
        "{shown}"
    );
    let (_, told) = done(&account, &begin).await;
    assert!(told.contains("it is paused already"), "{told}");

    account
        .change(&[(PUT, "img/a"), (DELETE, "img/b"), (PUT, "index.html")])
        .await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/index.html"]);
    let (shown, _) = done(&account, &["pause", "list", "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let pause = &shown["pauses"][0];
    assert_eq!(
        (&shown["v"], &shown["left"], &pause["held"]),
        (
            &json!(1),
            &json!([]),
            &json!({ "changes": 2, "objects": 1 })
        )
    );
    assert_eq!(
        (&pause["bucket"], &pause["prefix"], &pause["why"]),
        (&json!("site"), &json!("img/"), &json!("backfill"))
    );

    let (status, _, told) = run(&account, &["resume", "site/img/"]).await;
    assert_eq!(status, Some(2), "{told}");
    for expected in [
        "site/img/: 2 changes are held back\n",
        "that is 4 exact paths for 2 targets, at most 0.02 USD; the function decides",
        "--yes",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(held(&account).await.len(), 1, "it only asked");
    let (shown, _) = done(&account, &["resume", "site/img/", "--yes"]).await;
    assert_eq!(
        shown,
        "2 changes put back into BufferQueue; the function goes on with them in some seconds\n\
         site/img/ is not paused any more\n"
    );
    assert_eq!((held(&account).await.len(), account.ticks().await), (0, 2));
    account.flush_and_submit().await;
    let paths = account.cloudfront.paths("E1");
    assert_eq!(paths, ["/index.html", "/img/a", "/img/b"]);
    let (shown, _) = done(&account, &["pause", "list"]).await;
    assert_eq!(shown, "nothing is paused\n");
}

/// Such paths are rejected, with a file and a mail: only the function does that.
#[tokio::test]
async fn what_needs_a_forbidden_wildcard_is_left_to_the_function() {
    let account = account_with(&[("MIN_WILDCARD_DEPTH", "1")]).await;
    done(&account, &["pause", "site", "--yes"]).await;
    account.change(&[(PUT, "~ada.html"), (PUT, "b")]).await;
    account.flush().await;
    let collapse = ["resume", "site", "--collapse", "--yes"];
    let (status, _, told) = run(&account, &collapse).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told.contains("that MinWildcardDepth forbids; resume without --collapse"),
        "{told}"
    );
    assert_eq!(
        (held(&account).await.len(), account.waiting_sets().await),
        (1, 0)
    );
    done(&account, &["resume", "site", "--yes"]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/b"]);
    assert!(!account.error_files().await.is_empty());
}

#[tokio::test]
async fn a_resume_that_was_interrupted_after_its_job_submits_nothing_of_it_again() {
    let account = account().await;
    done(&account, &["pause", "site", "--yes"]).await;
    for key in ["a/1", "b/1"] {
        account.change(&[(PUT, key)]).await;
        account.flush().await;
    }
    let before = held(&account).await;
    assert_eq!(before.len(), 2);
    let collapse = ["resume", "site", "--collapse", "--yes"];
    done(&account, &collapse).await;
    account.submit().await;
    let submitted = account.cloudfront.invalidations("E1").len();
    let (jobs, _) = done(&account, &["jobs", "list", "--output", "json"]).await;
    let jobs: Value = serde_json::from_str(&jobs).unwrap();
    let job = jobs["jobs"][0]["id"].as_str().unwrap().to_owned();

    // It had removed one of the objects only.
    let id = HeldKey::of(&before[0].0).unwrap().pause;
    account.write_object(&before[1].0, &before[1].1).await;
    let objects = [&before[0].0, &before[1].0];
    let note = |objects: Value| json!({ "v": 1, "job": job, "objects": objects }).to_string();
    let foreign = note(json!([before[1].0, "state/paused.json"]));
    let note = note(json!(objects));
    let note_key = format!("state/resuming/{id}.json");
    let place = (BucketName::new("site"), String::new());
    let now = time::OffsetDateTime::now_utc();
    let mut pause =
        invalidator_core::pause::Pause::new(0, place, now, String::new(), String::new());
    pause.id.clone_from(&id);
    list(&account, |list| {
        list.begin(pause.clone()) && list.resume(&[&id])
    })
    .await;
    // A note that somebody else wrote deletes nothing but what is held back.
    account.write_object(&note_key, foreign.as_bytes()).await;
    let (status, _, told) = run(&account, &collapse).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("names `state/paused.json`"), "{told}");
    assert_eq!(held(&account).await.len(), 1);
    account.write_object(&note_key, note.as_bytes()).await;
    let (_, told) = done(&account, &collapse).await;
    assert!(
        told.contains(&format!("job {job} has submitted 2 objects")),
        "{told}"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.invalidations("E1").len(), submitted);
    assert_eq!(held(&account).await.len(), 0);
    assert_eq!(account.waiting_sets().await, 0);
}

#[tokio::test]
async fn a_million_paths_become_the_wildcard_that_covers_them_where_none_is_barred() {
    let account = account().await;
    done(&account, &["pause", "site", "--yes"]).await;
    let keys: Vec<_> = (0..400).map(|n| format!("img/2026/{n}.jpg")).collect();
    change_all(&account, &keys).await;
    account.change(&[(DELETE, "img/2026/gone.jpg")]).await;
    account.flush().await;
    let before = held(&account).await;
    let collapse = [
        "resume",
        "site",
        "--collapse",
        "--reason",
        "backfill",
        "--yes",
    ];
    let (shown, told) = done(&account, &collapse).await;
    for expected in [
        "E1 (www.example.org): 1 path, of them 1 wildcard\n  collapsed 401 paths into /img/2026/*: saves 2.00 USD",
        "E2 (de2.cloudfront.net): 401 paths\n  no wildcard /img/2026/*: behavior `/*/live/*` caches what does not come \
         from S3\n",
        "site is not paused any more\n",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(
        told.contains("in the place of 802 exact paths, at most 4.01 USD"),
        "{told}"
    );
    assert_eq!(held(&account).await.len(), 0);
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/img/2026/*"]);
    assert_eq!(account.cloudfront.paths("E2").len(), 401);
    let invalidation = &account.cloudfront.invalidations("E1")[0];
    assert!(invalidation.caller_reference.ends_with("-hand"));
    let (jobs, _) = done(&account, &["jobs", "list", "--output", "json"]).await;
    let jobs: Value = serde_json::from_str(&jobs).unwrap();
    let job = &jobs["jobs"][0];
    assert_eq!(
        (&job["reason"], &job["asked"], &job["result"], &job["paths"]),
        (
            &json!("backfill"),
            &json!(["resume", "site", "--collapse"]),
            &json!("submitted"),
            &json!(402)
        )
    );

    // It was interrupted before it could delete the objects, and is run again.
    for (key, text) in &before {
        account.write_object(key, text).await;
    }
    let id = HeldKey::of(&before[0].0).unwrap().pause;
    let place = (BucketName::new("site"), String::new());
    let now = time::OffsetDateTime::now_utc();
    let mut pause =
        invalidator_core::pause::Pause::new(0, place, now, String::new(), String::new());
    pause.id.clone_from(&id);
    list(&account, |list| {
        list.begin(pause.clone()) && list.resume(&[&id])
    })
    .await;
    let (shown, _) = done(&account, &["pause"]).await;
    assert!(
        shown.starts_with("s3://site/ is being resumed; it was paused since 20"),
        "{shown}"
    );
    done(&account, &collapse).await;
    account.submit().await;
    let count = account.cloudfront.invalidations("E1").len();
    assert_eq!(count, 1, "nothing is paid twice");
    assert_eq!(
        (
            held(&account).await.len(),
            list(&account, |_| false).await.all()
        ),
        (0, &[][..])
    );
}

#[tokio::test]
async fn what_an_interrupted_resume_has_left_is_put_back_by_the_next_one() {
    let account = account().await;
    done(&account, &["pause", "site/img/", "--yes"]).await;
    account.change(&[(PUT, "img/a")]).await;
    account.flush().await;
    let id = HeldKey::of(&held(&account).await[0].0).unwrap().pause;
    list(&account, |list| list.resume(&[&id])).await;
    done(&account, &["resume", "site/img/", "--yes"]).await;
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/img/a"]);

    // A list that was lost, or a flush that died between its write and its look.
    done(&account, &["pause", "site/img/", "--yes"]).await;
    account.change(&[(PUT, "img/b")]).await;
    account.flush().await;
    account.write_object(PAUSES_KEY, b"hello").await;
    let (status, _, told) = run(&account, &["pause", "list"]).await;
    assert_eq!(status, Some(1));
    assert!(
        told.contains("s3://errors/state/paused.json: it is not the documented JSON: expected value at line 1 column 1"),
        "{told}"
    );
    let (status, _, told) = run(&account, &["wait", "--bucket", "site", "--settle", "0"]).await;
    assert_eq!(status, Some(1), "{told}");
    let (shown, told) = done(&account, &["resume", "site", "--yes"]).await;
    assert!(told.contains("it is written anew"), "{told}");
    assert!(
        shown.starts_with("1 change put back into BufferQueue"),
        "{shown}"
    );
    account.flush_and_submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/img/a", "/img/b"]);
}

#[tokio::test]
async fn other_commands_say_what_is_paused() {
    let account = account().await;
    done(
        &account,
        &["pause", "site/img/", "--why", "backfill", "--yes"],
    )
    .await;
    account.change(&[(PUT, "img/a")]).await;
    account.flush().await;
    let paused = "s3://site/img/ is paused since ";
    let (_, shown, _) = run(&account, &["status"]).await;
    assert!(
        shown.contains(paused) && shown.contains("; 1 change is held back\n"),
        "{shown}"
    );
    let (_, shown, _) = run(&account, &["check"]).await;
    assert!(shown.contains(&format!("note: {paused}")), "{shown}");
    assert!(
        shown.contains("fix: invalidatorctl resume site/img/ --region us-east-1\n"),
        "{shown}"
    );
    for (key, is_paused) in [("s3://site/img/a", true), ("s3://site/a", false)] {
        let (shown, _) = done(&account, &["why", key, "--log-days", "0"]).await;
        assert_eq!(shown.contains(paused), is_paused, "{shown}");
    }
    let wait = [
        "wait", "--bucket", "site", "--settle", "0", "--output", "json",
    ];
    let (status, shown, told) = run(&account, &wait).await;
    assert_eq!(status, Some(1), "{told}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["result"], "held");
    let why = shown["why"].as_str().unwrap();
    assert!(
        why.starts_with(paused) && why.ends_with("; 1 change is held back"),
        "{why}"
    );
    assert_eq!(account.buffered().await, 0, "nothing was sent");
}

/// Nothing tells any more which objects belong to a pause of a prefix.
#[tokio::test]
async fn where_the_list_of_pauses_is_lost_only_a_whole_bucket_is_resumed() {
    let account = account().await;
    done(&account, &["pause", "site/img/", "--yes"]).await;
    account.change(&[(PUT, "img/a")]).await;
    account.flush().await;
    super::replay::put(&account, "state/paused.json", "lost").await;
    let (status, _, told) = run(&account, &["resume", "site/img/", "--yes"]).await;
    assert_eq!(status, Some(2), "{told}");
    assert!(
        told.contains("`invalidatorctl resume site --region us-east-1`"),
        "{told}"
    );
    assert_eq!(held(&account).await.len(), 1);
    done(&account, &["resume", "site", "--yes"]).await;
    assert_eq!(
        (held(&account).await.len(), account.buffered().await),
        (0, 1)
    );
}

#[tokio::test]
async fn what_cannot_be_paused_or_resumed_says_why() {
    let account = account().await;
    make_stack_with(&account, "old", "live", &[]).await;
    let long = "x".repeat(2_049);
    for (arguments, status, expected) in [
        (
            &["pause", "s3://", "--yes"][..],
            2,
            "is not the name of a bucket",
        ),
        (
            &["pause", "nobody-has-this", "--yes"],
            2,
            "there is no bucket nobody-has-this",
        ),
        (
            &["pause", "site", "--yes", "--why", &long],
            2,
            "--why has more than 2048 bytes",
        ),
        (&["pause", "--why", "x"], 2, "BUCKET"),
        (
            &["pause", "site", "--yes", "--stack", "old"],
            1,
            "this stack is of a version before `pause`",
        ),
        (
            &["pause", "--stack", "none"],
            1,
            "failed to read the stack none",
        ),
        (&["resume"], 2, "BUCKET"),
        (
            &["resume", "site/img/", "--yes"],
            2,
            "nothing is paused as site/img/",
        ),
        (&["resume", "site", "--reason", "x"], 2, "--collapse"),
    ] {
        let (found, shown, told) = run(&account, arguments).await;
        assert_eq!(found, Some(status), "{arguments:?}: {shown}{told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
    // What is held back would be discarded.
    done(&account, &["pause", "site/img/", "--yes"]).await;
    account.change(&[(PUT, "img/a")]).await;
    account.flush().await;
    account.choose(Mode::DryRun).await;
    for more in [&[][..], &["--collapse"]] {
        let resume = [&["resume", "site/img/", "--yes"], more].concat();
        let (status, _, told) = run(&account, &resume).await;
        assert_eq!(status, Some(1));
        assert!(told.contains("the mode is dry-run since"), "{told}");
        assert_eq!(held(&account).await.len(), 1);
    }
    account.choose(Mode::Stopped).await;
    let (shown, _) = done(&account, &["resume", "site/img/", "--yes"]).await;
    assert!(
        shown.starts_with(
            "1 change put back into BufferQueue; they wait there until `invalidatorctl mode live --region us-east-1`"
        ),
        "{shown}"
    );
}
