//! What a person at a terminal sees, and what happens when nobody reads.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;
use strict_cloudfront::{Distribution, Operation, Origin};

use super::replay::put;
use super::scheduler::Scheduler;
use super::support::account::Account;
use super::{FILES, REPOSITORY, text};

/// Sets a stream of a process that is to be started.
type SetStdio = fn(&mut Command, Stdio) -> &mut Command;

/// A child process on a terminal of its own: standard input and standard error.
struct OnTerminal {
    child: Child,
    terminal: File,
    seen: String,
}

impl OnTerminal {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        Self::start_with(command, &[])
    }

    /// The same, with standard output on the terminal too.
    fn start_whole(command: Command) -> Self {
        Self::start_with(command, &[Command::stdout])
    }

    fn start_with(mut command: Command, more: &[SetStdio]) -> Self {
        let pty = openpty(None, None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        for set in [&[Command::stdin, Command::stderr], more].concat() {
            set(&mut command, end(&pty.slave));
        }
        let child = command.spawn().unwrap();
        Self {
            child,
            terminal: File::from(pty.master),
            seen: String::new(),
        }
    }

    /// Reads until this text is on the terminal.
    fn until(&mut self, text: &str) {
        while !self.seen.contains(text) {
            self.read_more();
        }
    }

    /// Waits until something is written.
    fn read_more(&mut self) {
        let mut buffer = [0; 1_000];
        let length = self.terminal.read(&mut buffer).expect(&self.seen);
        self.seen
            .push_str(&String::from_utf8_lossy(&buffer[..length]));
    }

    fn answer(mut self, answer: &str) -> (Option<i32>, String, String) {
        self.terminal.write_all(answer.as_bytes()).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let mut buffer = [0; 4_000];
        // All was written before the child ended.
        let length = self.terminal.read(&mut buffer).unwrap_or_default();
        self.seen
            .push_str(&String::from_utf8_lossy(&buffer[..length]));
        (output.status.code(), text(output.stdout), self.seen)
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invalidatorctl"));
    command.current_dir(REPOSITORY);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_asks_on_a_terminal_after_it_has_shown_where_and_what() {
    let account = Account::new(&[]).await;
    let site = Distribution::new("E1", Origin::s3("site", "site"));
    account.cloudfront.add(site);
    let key = "invalidation_error/1_E1.txt";
    put(&account, key, "CloudFront Id [E1]\n/*\n").await;
    for (answer, code, calls) in [("n\n", 1, 0), ("\n", 1, 0), ("\u{4}", 1, 0), ("y\n", 0, 1)] {
        let mut command = program();
        command.args(["replay", "--directly", "--bucket", "errors", key]);
        command.envs(account.environment());
        let mut child = OnTerminal::start(command);
        child.until("submit 1 path in 1 set? [y/N] ");
        let (status, shown, told) = child.answer(answer);
        assert_eq!(status, Some(code), "{answer:?}: {told}");
        assert!(told.starts_with("account 000000000000"), "{told}");
        assert!(shown.contains("  /* (the whole distribution)\n"), "{shown}");
        let called = account.cloudfront.calls_of(Operation::CreateInvalidation);
        assert_eq!(called.len(), calls, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_asks_after_it_has_shown_its_paths_and_what_they_cost() {
    let account = super::invalidate::account().await;
    // A set of plain paths and one of wildcards.
    for (answer, code, sets) in [("n\n", 1, 0), ("y\n", 0, 2)] {
        let mut command = program();
        command.args(["invalidate", "--distribution", "E1", "/news/*", "/a"]);
        command.envs(account.environment());
        let mut child = OnTerminal::start(command);
        child.until("[y/N] ");
        let (status, shown, told) = child.answer(answer);
        assert_eq!(status, Some(code), "{answer:?}: {told}");
        assert!(told.starts_with("account 000000000000"), "{told}");
        assert!(
            shown.contains("/news/*") && shown.contains("USD"),
            "{shown}"
        );
        assert_eq!(account.waiting_sets().await, sets, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_or_continued_only_after_a_yes() {
    let (account, scheduler) = tokio::join!(super::jobs::account(1), Scheduler::start());
    let endpoint = [("AWS_ENDPOINT_URL_SCHEDULER", scheduler.url.as_str())];
    let ask = |arguments: &[&str], question: &str, answer: &str| {
        let mut command = program();
        command.args(arguments);
        command.envs(super::jobs::environment(&account, &endpoint));
        let mut child = OnTerminal::start(command);
        child.until(question);
        let (status, shown, told) = child.answer(answer);
        assert!(told.starts_with("account 000000000000"), "{told}");
        (status, shown + &told)
    };
    let job = ["--distribution", "E1", "/a", "--at", "+2h"];
    let job = super::jobs::make_job(&account, &scheduler, &job).await;
    let cancel = ["jobs", "cancel", job["job"].as_str().unwrap()];
    for (answer, code, left) in [("n\n", 1, 1), ("y\n", 0, 0)] {
        let (status, told) = ask(&cancel, "delete 1 schedule? [y/N] ", answer);
        assert_eq!(
            (status, scheduler.names().len()),
            (Some(code), left),
            "{told}"
        );
        assert!(told.contains(": scheduled for 20"), "{told}");
    }
    scheduler.make_only(Some(0));
    let job = ["invalidate", "--distribution", "E1", "/b", "--at", "+2h"];
    let (status, told) = ask(&job, "schedule 1 path in 1 set? [y/N] ", "y\n");
    assert_eq!(status, Some(1), "{told}");
    scheduler.make_only(None);
    let id = told.split("jobs resume ").nth(1).unwrap();
    let resume = ["jobs", "resume", id.split(' ').next().unwrap()];
    for (answer, code, made) in [("n\n", 1, 0), ("y\n", 0, 1)] {
        let (status, told) = ask(&resume, "schedule 1 path in 1 set? [y/N] ", answer);
        assert_eq!(
            (status, scheduler.names().len()),
            (Some(code), made),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_begins_and_ends_only_after_a_yes() {
    let account = super::pause::account().await;
    let ask = |arguments: &[&str], question: &str, answer: &str| {
        let mut command = program();
        command.args(arguments).envs(account.environment());
        let mut child = OnTerminal::start(command);
        child.until(question);
        let (status, shown, told) = child.answer(answer);
        assert!(told.starts_with("account 000000000000"), "{told}");
        (status, shown + &told)
    };
    for (answer, code) in [("n\n", 1), ("y\n", 0)] {
        let (status, told) = ask(&["pause", "site/img/"], "pause site/img/? [y/N] ", answer);
        assert_eq!(status, Some(code), "{told}");
        assert_eq!(told.contains("nothing was paused"), code == 1, "{told}");
    }
    account.change(&[("ObjectCreated:Put", "img/a")]).await;
    account.flush().await;
    for (more, answer, code, sets) in [
        (&["--collapse"][..], "n\n", 1, 0),
        (&[], "n\n", 1, 0),
        (&["--collapse"], "y\n", 0, 2),
    ] {
        let resume = [&["resume", "site/img/"], more].concat();
        let (status, told) = ask(&resume, "? [y/N] ", answer);
        assert_eq!(status, Some(code), "{told}");
        assert!(told.contains("site/img/: 1 change is held back"), "{told}");
        assert_eq!(account.waiting_sets().await, sets, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_asks_after_it_has_shown_what_waits_and_how_to_undo_it() {
    let (account, lambda) = super::drain::account().await;
    account.change(&[("ObjectCreated:Put", "a")]).await;
    let endpoint = [("AWS_ENDPOINT_URL_LAMBDA", lambda.url.as_str())];
    for (answer, code, left) in [("n\n", 1, 1), ("y\n", 0, 0)] {
        let mut command = program();
        let environment = super::jobs::environment(&account, &endpoint);
        command.arg("drain").envs(environment);
        let mut child = OnTerminal::start(command);
        child.until("do that work now, on this machine? [y/N] ");
        assert!(child.seen.contains("update-event-source-mapping"));
        let answered = tokio::task::spawn_blocking(move || child.answer(answer));
        let (status, _, told) = answered.await.unwrap();
        assert_eq!(status, Some(code), "{told}");
        assert_eq!(account.buffered().await, left, "{told}");
    }
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_shows_that_it_goes_on_and_leaves_only_the_result() {
    let account = super::wait::account().await;
    account.change(&[("ObjectCreated:Put", "a")]).await;
    let mut command = program();
    command.args([
        "wait", "--stack", "waited", "--bucket", "site", "--settle", "0",
    ]);
    command.envs(account.environment());
    let waiting = tokio::task::spawn_blocking(|| {
        let mut child = OnTerminal::start_whole(command);
        child.until("seconds waited: ");
        child.until("every change of site is accepted");
        child.answer("")
    });
    let function = async {
        loop {
            account.flush().await;
            account.submit().await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let (status, _, told) = tokio::select! {
        waited = waiting => waited.unwrap(),
        () = function => unreachable!("it goes on"),
    };
    assert_eq!(status, Some(0), "{told}");
    // The line of the bar is cleared before the result is shown.
    let (_, result) = told.rsplit_once("\u{1b}[2K").expect(&told);
    assert!(
        result.contains("every change of site is accepted, for E1"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_watched_is_drawn_in_its_place() {
    let account = super::status::account().await;
    let mut command = program();
    command.args(["status", "--stack", "shown", "--watch"]);
    command.envs(account.environment());
    let drawn = tokio::task::spawn_blocking(|| {
        let mut child = OnTerminal::start_whole(command);
        while child.seen.matches("\u{1b}[H\u{1b}[2J").count() < 2 {
            child.read_more();
        }
        child.child.kill().unwrap();
        child.answer("").2
    });
    let drawn = drawn.await.unwrap();
    let begins = drawn.split("\u{1b}[H\u{1b}[2J").skip(1);
    assert!(
        begins.take(1).all(|it| it.starts_with("status at ")),
        "{drawn:?}"
    );
}

#[test]
fn an_error_is_colored_on_a_terminal_unless_that_is_not_wanted() {
    let plan = |colored: bool| {
        let mut command = program();
        command.args(["plan", "none.json"]).args(FILES);
        command.env("TERM", "xterm");
        match colored {
            true => command.env_remove("NO_COLOR"),
            false => command.env("NO_COLOR", "1"),
        };
        command
    };
    for (is_colored, expected) in [
        (true, "\u{1b}[1;31merror:\u{1b}[0m failed to read"),
        (false, "error: failed to read"),
    ] {
        let mut child = OnTerminal::start(plan(is_colored));
        child.until("failed to read");
        assert!(child.seen.contains(expected), "{:?}", child.seen);
        child.answer("");
    }
    let output = plan(true).output().unwrap();
    assert!(text(output.stderr).starts_with("error: failed"));
}

/// Before: a panic, with its own message.
#[test]
fn a_reader_that_goes_away_ends_nothing_and_is_no_error() {
    let event = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("many-keys.json");
    let keys: Vec<String> = (0..5_000).map(|n| format!("{n}")).collect();
    let changes: Vec<_> = keys
        .iter()
        .map(|key| ("ObjectCreated:Put", key.as_str()))
        .collect();
    let changes = super::support::account::s3_event(&changes).to_string();
    std::fs::write(&event, changes.replace("\"site\"", "\"example-www\"")).unwrap();
    let mut command = program();
    command.arg("plan").arg(&event).args(FILES);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::with_capacity(100, child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(first, "created s3://example-www/0\n");
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = program();
    command.args(["plan", "events/s3-put.json"]).args(FILES);
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(output.stderr);
    assert!(
        told.starts_with("error: failed to write to standard output"),
        "{told}"
    );
}
