//! `invalidatorctl bill`, run as its users run it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../tests/support/emulator.rs"]
#[allow(dead_code)] // The tests of the function use the rest.
mod emulator;

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use strict_cloudfront::{CloudFront, Distribution, Fault, Operation, Origin};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::process::{Child, Command};

use emulator::Emulator;

/// CloudFront, something that answers for STS, and a folder of caches.
struct Account {
    cloudfront: CloudFront,
    emulator: Emulator,
    caches: PathBuf,
}

impl Account {
    async fn new(name: &str) -> Self {
        let (emulator, cloudfront) = tokio::join!(Emulator::start(), CloudFront::start());
        let name = format!("bill-{}-{name}", std::process::id());
        Self {
            cloudfront: cloudfront.unwrap(),
            emulator,
            caches: std::env::temp_dir().join(name),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_invalidatorctl"));
        command
            .arg("bill")
            .args(arguments)
            .env("AWS_ENDPOINT_URL", self.emulator.endpoint_url())
            .env(
                "AWS_ENDPOINT_URL_CLOUDFRONT",
                self.cloudfront.endpoint_url(),
            )
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("XDG_CACHE_HOME", &self.caches)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    async fn bill(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self
            .bill(&[arguments, &["--output", "json"]].concat())
            .await;
        assert!(output.status.success(), "{}", text(output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn add(&self, target: &str, time: OffsetDateTime, reference: &str, paths: &[&str]) {
        self.cloudfront
            .add_invalidation(target, time, reference, paths);
    }

    /// Invalidations of E1 in October, an hour apart.
    fn add_many(&self, number: i64) {
        for n in 0..number {
            let time = datetime!(2026-10-01 0:30 UTC) + time::Duration::hours(n);
            self.add("E1", time, &format!("r{n}"), &["/a", "/b"]);
        }
    }

    /// How often the lists and the invalidations were read.
    fn reads(&self) -> (usize, usize) {
        let calls = |operation| self.cloudfront.calls_of(operation).len();
        (
            calls(Operation::ListInvalidations)
                + calls(Operation::ListInvalidationsForDistributionTenant),
            calls(Operation::GetInvalidation)
                + calls(Operation::GetInvalidationForDistributionTenant),
        )
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.caches);
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn site(id: &str) -> Distribution {
    Distribution::new(id, Origin::s3("site", "site"))
}

const OCTOBER: [&str; 2] = ["--month", "2026-10"];

/// A month in which many things happened.
async fn eventful() -> Account {
    let account = Account::new("eventful").await;
    let cloudfront = &account.cloudfront;
    cloudfront.add(site("E1").alias("www.example.org"));
    cloudfront.add(site("E2").disabled());
    cloudfront.add(site("E3").tenant_only());
    cloudfront.add_tenant("E3", "dt_1", true);
    let thousand: Vec<String> = (0..1_000).map(|n| format!("/photos/{n}.jpg")).collect();
    let thousand: Vec<&str> = thousand.iter().map(String::as_str).collect();
    let hash = "9f86d081884c7d659a2feaa0c55ad015";
    account.add("E1", datetime!(2026-09-30 23:59:59 UTC), "before", &["/no"]);
    account.add(
        "E1",
        datetime!(2026-10-01 0:00 UTC),
        &format!("{hash}-flush"),
        &thousand[..150],
    );
    account.add(
        "E1",
        datetime!(2026-10-05 8:00 UTC),
        &format!("{hash}-replay"),
        &["/a", "/b", "/c*"],
    );
    account.add(
        "E1",
        datetime!(2026-10-05 9:00 UTC),
        "cli-1790000000-123456",
        &thousand,
    );
    account.add(
        "E2",
        datetime!(2026-10-20 9:00 UTC),
        "4f3bfa6e-6f2a-4f3c-9d0e-0d3b1a5f7c11",
        &["/*"],
    );
    for n in 0..110 {
        let time = datetime!(2026-10-10 0:00 UTC) + time::Duration::hours(n);
        account.add(
            "dt_1",
            time,
            &format!("cms-commit-16389600{n:04}"),
            &["/index.html", "/"],
        );
    }
    account.add(
        "E1",
        datetime!(2026-10-31 23:59:59.999 UTC),
        hash,
        &["/last", "/last"],
    );
    account.add("E1", datetime!(2026-11-01 0:00 UTC), "after", &["/no"]);
    account
}

#[tokio::test]
async fn the_bill_tells_what_everybody_paid_by_distribution_day_and_cause() {
    let account = eventful().await;
    let output = account.bill(&OCTOBER).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    insta::assert_snapshot!(text(output.stdout));

    let bill = account.json(&OCTOBER).await;
    // 150 + 3 + 1,000 + 1 + 220 + 2 paths, 1,000 of them free.
    assert_eq!(bill["paths"], 1_376);
    assert_eq!(bill["usd"], 1.88);
    let days = bill["days"].as_array().unwrap().iter();
    let of_days: f64 = days.map(|day| day["usd"].as_f64().unwrap()).sum();
    assert!((of_days - 1.88).abs() < 1e-9, "{of_days}");
    insta::assert_snapshot!(serde_json::to_string_pretty(&bill).unwrap());
}

#[tokio::test]
async fn what_was_read_once_is_known() {
    let account = Account::new("known").await;
    account.cloudfront.add(site("E1"));
    account.add_many(105);
    let first = account.json(&OCTOBER).await;
    assert_eq!(first["paths"], 210);
    assert_eq!(account.reads(), (2, 105));

    account.cloudfront.clear_calls();
    assert_eq!(account.json(&OCTOBER).await, first);
    assert_eq!(account.reads(), (0, 0), "the month is over");

    // Even if CloudFront knows neither the invalidations nor the distribution any more.
    account.cloudfront.remove("E1");
    let later = account.json(&OCTOBER).await;
    assert_eq!(later["paths"], 210);
    assert_eq!(later["distributions"][0]["name"], Value::Null);

    account.cloudfront.add(site("E1"));
    account
        .json(&[&OCTOBER[..], &["--no-cache"]].concat())
        .await;
    assert_eq!(account.reads(), (2, 105));
}

#[tokio::test]
async fn of_the_running_month_only_what_is_new_is_read() {
    let account = Account::new("running").await;
    account.cloudfront.add(site("E1"));
    let now = OffsetDateTime::now_utc();
    account.add("E1", now - time::Duration::seconds(1), "r1", &["/a"]);
    assert_eq!(account.json(&[]).await["paths"], 1);
    account.add("E1", now, "r2", &["/b", "/c"]);
    account.cloudfront.clear_calls();
    assert_eq!(account.json(&[]).await["paths"], 3);
    assert_eq!(account.reads(), (1, 1));
}

#[tokio::test]
async fn what_cloudfront_forgets_stays_in_the_bill() {
    let account = Account::new("forgotten").await;
    account.cloudfront.add(site("E1"));
    let now = OffsetDateTime::now_utc();
    account.add("E1", now - time::Duration::milliseconds(1), "r1", &["/a"]);
    account.json(&[]).await;
    account.cloudfront.set_history(std::time::Duration::ZERO);
    let shown = text(account.bill(&[]).await.stdout);
    assert!(
        shown.contains("1 path (0 wildcards) in 1 invalidation"),
        "{shown}"
    );
    let expected = "CloudFront does not list 1 of these invalidations any more";
    assert!(shown.contains(expected), "{shown}");
}

#[tokio::test]
async fn a_run_that_is_killed_goes_on_where_it_was() {
    let account = Account::new("killed").await;
    account.cloudfront.add(site("E1"));
    account.add_many(100);
    account
        .cloudfront
        .set_latency(std::time::Duration::from_millis(20));
    let mut child = account.start(&OCTOBER);
    while account.reads().1 < 20 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it must not be done yet"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    child.kill().await.unwrap();
    let bill = account.json(&OCTOBER).await;
    assert_eq!(bill["paths"], 200);
    let (_, reads) = account.reads();
    assert!(
        reads <= 104,
        "{reads} reads: only those under way are repeated"
    );
}

#[tokio::test]
async fn reading_keeps_a_pace_that_cloudfront_allows() {
    let account = Account::new("pace").await;
    account.cloudfront.add(site("E1"));
    account.add_many(40);
    account.cloudfront.set_read_rate(6.0, 4.0);
    let bill = account.json(&OCTOBER).await;
    assert_eq!(bill["paths"], 80);
    assert_eq!(bill["missing"], serde_json::json!([]));
    let calls = account.cloudfront.calls();
    let throttled = calls.iter().filter(|call| call.status == Some(400)).count();
    assert!(throttled > 0, "the rate was tried");
    assert!(throttled < 15, "{throttled} of {} calls", calls.len());
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_shown() {
    let account = Account::new("denied").await;
    account.cloudfront.add(site("E1"));
    account.cloudfront.add(site("E2"));
    account.add_many(2);
    account.add("E2", datetime!(2026-10-02 0:00 UTC), "r", &["/a"]);
    let denied = Fault::AccessDenied.always().of("E2");
    account
        .cloudfront
        .fail(denied.on(Operation::GetInvalidation));
    let output = account.bill(&OCTOBER).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = text(output.stdout);
    assert!(
        shown.contains("4 paths (0 wildcards) in 2 invalidations"),
        "{shown}"
    );
    let expected =
        "too low: of E2 not all could be read: CloudFront GetInvalidation: AccessDenied: ";
    assert!(shown.contains(expected), "{shown}");

    // It is asked again next time.
    account.cloudfront.heal();
    assert_eq!(account.json(&OCTOBER).await["paths"], 5);

    account.cloudfront.fail(
        Fault::AccessDenied
            .always()
            .on(Operation::ListDistributions),
    );
    let output = account.bill(&OCTOBER).await;
    assert_eq!(output.status.code(), Some(1));
    let error = text(output.stderr);
    assert!(
        error.contains(
            "failed to list the distributions: CloudFront ListDistributions: AccessDenied"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let account = Account::new("lost").await;
    account.cloudfront.add(site("E1"));
    account.add_many(10);
    let broken = Fault::BreakOff.times(2).on(Operation::GetInvalidation);
    account.cloudfront.fail(broken);
    account.cloudfront.fail(
        Fault::ServiceUnavailable
            .times(2)
            .on(Operation::ListInvalidations),
    );
    assert_eq!(account.json(&OCTOBER).await["paths"], 20);
}

/// Whoever may invalidate chooses the reference, and whoever may upload chooses the key.
#[tokio::test]
async fn nothing_in_an_invalidation_commands_a_terminal_or_a_browser() {
    let account = Account::new("hostile").await;
    let hostile =
        "</title><script>alert(1)</script><img src=x onerror=alert(1)>\u{9b}31m\n x\u{202e}";
    account.cloudfront.add(site("E1").alias(hostile));
    account.add("E1", datetime!(2026-10-01 0:00 UTC), hostile, &[hostile]);
    let page = account.caches.with_extension("html");
    let arguments = [&OCTOBER[..], &["--html", page.to_str().unwrap()]].concat();
    let output = account.bill(&arguments).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&page).unwrap();
    for forbidden in ["<script", "<img", "\u{9b}", "\u{202e}"] {
        assert!(!html.contains(forbidden), "{forbidden:?}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)"));
    let json = [&OCTOBER[..], &["--output", "json"]].concat();
    let json = account.bill(&json).await.stdout;
    for shown in [text(output.stdout), text(json)] {
        assert!(shown.contains("script"), "{shown}");
        let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(
            !shown.contains(obeyed) || shown.starts_with('{'),
            "{shown:?}"
        );
        assert!(!shown.contains("\n x"), "{shown}");
    }
}

#[tokio::test]
async fn bad_arguments_are_refused() {
    let account = Account::new("arguments").await;
    for (arguments, code, expected) in [
        (
            vec!["--month", "2026-13"],
            2,
            "expected a month such as 2026-11",
        ),
        (vec!["--month", "9000-01"], 2, "9000-01 has not begun"),
        (
            vec!["--month", "2026-10", "--html", "/no/such/folder/x"],
            1,
            "failed to write /no/such/folder/x",
        ),
    ] {
        let output = account.bill(&arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let error = text(output.stderr);
        assert!(error.contains(expected), "{error}");
    }
}
