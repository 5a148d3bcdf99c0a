//! `invalidatorctl invalidate --at`, and `invalidatorctl jobs cancel` and `resume`.

use std::collections::HashMap;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use strict_cloudfront::{Distribution, Fault, Operation, Origin};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::invalidate::make_function;
use super::replay::sets_wait;
use super::scheduler::{DEAD_LETTERS, GROUP, ROLE, Scheduler};
use super::support::account::Account;
use super::{in_account, make_stack_with, text};

const OUTPUTS: [(&str, &str); 5] = [
    ("LogGroupName", "/aws/lambda/invalidator"),
    ("FunctionName", "nobody"),
    ("ScheduleGroupName", GROUP),
    ("ScheduledJobRoleArn", ROLE),
    ("FailedEventsQueueArn", DEAD_LETTERS),
];

/// So many distributions.
pub async fn account(distributions: usize) -> Account {
    let account = Account::new(&[]).await;
    for number in 1..=distributions {
        let distribution = Distribution::new(&format!("E{number}"), Origin::s3("site", "site"));
        let alias = format!("www{number}.example.org");
        account.cloudfront.add(distribution.alias(&alias));
    }
    make_stack_with(&account, "invalidator", "live", &OUTPUTS).await;
    make_function(&account).await;
    account
}

/// What the command needs in its environment, with other endpoints for some services.
pub fn environment(account: &Account, others: &[(&str, &str)]) -> HashMap<String, String> {
    let mut environment: HashMap<_, _> = account.environment().into();
    let emulator = environment.remove("AWS_ENDPOINT_URL").unwrap();
    let services = ["S3", "SQS", "SNS", "STS", "CLOUDFORMATION", "LAMBDA"];
    let of_services = services.map(|it| (format!("AWS_ENDPOINT_URL_{it}"), emulator.clone()));
    let zone = ("TZ", "CET-1CEST,M3.5.0,M10.5.0/3".to_owned());
    let others = others
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    let named = environment.into_iter().chain([zone]).chain(others);
    let named = named.map(|(name, value)| (name.to_owned(), value));
    of_services.into_iter().chain(named).collect()
}

pub async fn run(account: &Account, others: &[(&str, &str)], arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args(arguments)
        .envs(environment(account, others))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

async fn scheduled(account: &Account, scheduler: &Scheduler, arguments: &[&str]) -> Output {
    let endpoint = [("AWS_ENDPOINT_URL_SCHEDULER", scheduler.url.as_str())];
    run(account, &endpoint, arguments).await
}

/// The job that was made, as `invalidate --output json` says it.
pub async fn make_job(account: &Account, scheduler: &Scheduler, arguments: &[&str]) -> Value {
    let first = ["invalidate", "--yes", "--output", "json"];
    let output = scheduled(account, scheduler, &[&first, arguments].concat()).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn shown(account: &Account, scheduler: &Scheduler, id: &str) -> Value {
    let arguments = ["jobs", "show", id, "--output", "json"];
    let output = scheduled(account, scheduler, &arguments).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until the time of a job has come.
async fn until_due(job: &Value) {
    let due = job["scheduled_for"].as_str().unwrap();
    let due = time::OffsetDateTime::parse(due, &time::format_description::well_known::Rfc3339);
    while SystemTime::from(due.unwrap()) >= SystemTime::now() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn id_of_the_only_job(account: &Account) -> String {
    let listed = in_account(account, &["jobs", "list", "--output", "json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let [job] = &listed["jobs"].as_array().unwrap()[..] else {
        panic!("{listed}");
    };
    job["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_waits_in_schedules_until_its_time_and_then_everybody_sees_what_became_of_it() {
    let (account, scheduler) = tokio::join!(account(2), Scheduler::start());
    let arguments = ["invalidate", "--distribution", "E1", "/a", "/b/*"];
    let reason = ["--reason", "<aws.scheduler.schedule-arn>", "--at", "+2h"];
    let arguments = [&arguments[..], &reason].concat();
    let asked = scheduled(&account, &scheduler, &arguments).await;
    assert_eq!(
        asked.status.code(),
        Some(2),
        "there is no terminal to ask on"
    );
    assert!(
        text(asked.stderr).contains(" UTC)\n"),
        "the time is shown before"
    );
    assert!(scheduler.names().is_empty());

    let output = scheduled(&account, &scheduler, &[&arguments[..], &["--yes"]].concat()).await;
    let (told, output) = (text(output.stderr), text(output.stdout));
    let id = id_of_the_only_job(&account).await;
    assert!(
        output.contains(&format!(
            "job {id}: 2 sets in a schedule, to be submitted at 20"
        )),
        "{output}{told}"
    );
    assert!(
        output.contains(&format!(
            "invalidatorctl jobs cancel {id} --region us-east-1\n"
        )),
        "{output}"
    );
    let name = |number: usize| format!("invalidator-{id}-{number}");
    assert_eq!(scheduler.names(), [name(1), name(2)]);
    assert_eq!(account.waiting_sets().await, 0);
    let text_of = |output: Output| text(output.stdout);
    let show = ["jobs", "show", &id];
    let before = text_of(scheduled(&account, &scheduler, &show).await);
    assert!(before.contains(": scheduled for 20"), "{before}");
    assert!(before.contains("  2 of 2 schedules waiting\n"), "{before}");

    let job = ["--distribution", "E1,E2", "/c", "--at", "+1s"];
    let job = make_job(&account, &scheduler, &job).await;
    assert_eq!(
        (&job["v"], &job["is_submitted"]),
        (&json!(1), &json!(false))
    );
    let id = job["job"].as_str().unwrap();
    until_due(&job).await;
    let due = shown(&account, &scheduler, id).await;
    assert_eq!(due["now"]["schedules_waiting"], 2);
    assert_eq!(due["now"]["targets"][0]["outcome"]["waiting"], 1, "{due}");
    for number in [1, 2] {
        let name = format!("invalidator-{id}-{number}");
        scheduler.run(&account, &name).await;
    }
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/c"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/c"]);
    let after = shown(&account, &scheduler, id).await;
    assert_eq!(after["now"]["schedules_waiting"], 0);
    assert_eq!(after["now"]["targets"][1]["outcome"]["accepted"], 1);
    assert_eq!(after["result"], "scheduled");
}

#[tokio::test]
async fn a_job_that_is_cancelled_says_exactly_what_ran() {
    let (account, scheduler) = tokio::join!(account(2), Scheduler::start());
    let job = ["--distribution", "E1,E2", "/a", "--at", "+2h"];
    let job = make_job(&account, &scheduler, &job).await;
    let id = job["job"].as_str().unwrap();
    let cancel = ["jobs", "cancel", id];
    let asked = scheduled(&account, &scheduler, &cancel).await;
    assert_eq!(asked.status.code(), Some(2));
    assert_eq!(scheduler.names().len(), 2);
    let cancel = [&cancel[..], &["--yes"]].concat();
    for _ in 0..2 {
        let output = scheduled(&account, &scheduler, &cancel).await;
        assert!(output.status.success(), "{}", text(output.stderr));
        assert_eq!(
            text(output.stdout),
            format!("job {id}: 2 of 2 sets cancelled\n")
        );
        assert!(scheduler.names().is_empty());
    }
    let resumed = scheduled(&account, &scheduler, &["jobs", "resume", id, "--yes"]).await;
    let told = text(resumed.stderr);
    assert!(
        told.contains(&format!("nothing is left of job {id}: it is cancelled\n")),
        "{told}"
    );
    let job = shown(&account, &scheduler, id).await;
    assert_eq!(
        (&job["result"], &job["now"]["targets"]),
        (&json!("cancelled"), &json!([]))
    );

    // One of two has run when somebody cancels.
    let job = ["--distribution", "E1,E2", "/b", "--at", "+1s"];
    let job = make_job(&account, &scheduler, &job).await;
    let id = job["job"].as_str().unwrap();
    scheduler
        .run(&account, &format!("invalidator-{id}-1"))
        .await;
    let cancel = ["jobs", "cancel", id, "--yes", "--output", "json"];
    let output = scheduled(&account, &scheduler, &cancel).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json!({
        "v": 1, "job": id, "result": "scheduled", "sets": 2, "cancelled": 0, "may_have_run": 1, "ran": 1,
    });
    assert_eq!(report, expected);
    assert!(scheduler.names().is_empty());

    let output = in_account(
        &account,
        &["invalidate", "--yes", "--distribution", "E1", "/c"],
    )
    .await;
    let id = text(output.stdout);
    let id = id.split("job ").nth(1).unwrap().split(':').next().unwrap();
    let output = scheduled(&account, &scheduler, &["jobs", "cancel", id, "--yes"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).contains("was submitted at once"));
}

#[tokio::test]
async fn a_large_job_is_divided_and_one_that_is_too_large_is_refused() {
    let (account, scheduler) = tokio::join!(account(101), Scheduler::start());
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/large.txt");
    let folder = "x".repeat(200);
    let lines: String = (0..3_000)
        .map(|n| format!("/{folder}/{n}.html\n"))
        .collect();
    std::fs::write(file, lines).unwrap();
    let job = ["--distribution", "E1", "--file", file, "--at", "+1h"];
    let job = make_job(&account, &scheduler, &job).await;
    assert_eq!((&job["paths"], &job["sets"]), (&json!(3_000), &json!(4)));
    for name in scheduler.names() {
        scheduler.run(&account, &name).await;
    }
    account.submit().await;
    let mut paths = account.cloudfront.paths("E1");
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 3_000);

    let ids: Vec<String> = (1..=101).map(|number| format!("E{number}")).collect();
    let ids = ids.join(",");
    let arguments = [
        "invalidate",
        "--yes",
        "--distribution",
        &ids,
        "/a",
        "--at",
        "+1h",
    ];
    let output = scheduled(&account, &scheduler, &arguments).await;
    let told = text(output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let expected =
        "it needs 101 schedules, and a job may have 100. What to do: say --collapse-above";
    assert!(told.contains(expected), "{told}");
    assert!(scheduler.names().is_empty());
}

#[tokio::test]
async fn a_job_that_is_interrupted_while_it_is_scheduled_is_continued() {
    let (account, scheduler) = tokio::join!(account(2), Scheduler::start());
    scheduler.make_only(Some(1));
    let job = ["--distribution", "E1,E2", "/a"];
    let command = ["invalidate", "--yes"];
    let later = |at| [&command[..], &job, &["--at", at]].concat();
    let output = scheduled(&account, &scheduler, &later("+2h")).await;
    let told = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let id = id_of_the_only_job(&account).await;
    let resume = format!("invalidatorctl jobs resume {id} --region us-east-1");
    assert!(
        told.contains("Scheduler CreateSchedule: AccessDeniedException"),
        "{told}"
    );
    assert!(told.contains(&resume), "{told}");
    let shown = text(
        scheduled(&account, &scheduler, &["jobs", "show", &id])
            .await
            .stdout,
    );
    assert!(
        shown.contains(&resume) && shown.contains("  2 of 2 sets are not known"),
        "{shown}"
    );
    scheduler.make_only(None);
    let resume = ["jobs", "resume", &id, "--yes"];
    let output = scheduled(&account, &scheduler, &resume).await;
    let told = text(output.stderr);
    assert_eq!(
        text(output.stdout).lines().last(),
        Some(&*format!("job {id}: 2 sets in a schedule")),
        "{told}"
    );
    assert_eq!(scheduler.names().len(), 2);
    let cancel = ["jobs", "cancel", &id, "--yes"];
    assert!(
        scheduled(&account, &scheduler, &cancel)
            .await
            .status
            .success()
    );

    // The time has passed, and the one that was made has run: only the other is submitted.
    scheduler.make_only(Some(1));
    assert!(
        !scheduled(&account, &scheduler, &later("+1s"))
            .await
            .status
            .success()
    );
    let [name] = &scheduler.names()[..] else {
        panic!("one is made");
    };
    let id = name
        .strip_prefix("invalidator-")
        .unwrap()
        .strip_suffix("-1")
        .unwrap();
    until_due(&self::shown(&account, &scheduler, id).await).await;
    scheduler.run(&account, name).await;
    account.submit().await;
    let output = scheduled(&account, &scheduler, &["jobs", "resume", id, "--yes"]).await;
    let told = text(output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("1 path invalidated since then, and left out\n"),
        "{told}"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
    assert_eq!(account.cloudfront.paths("E2"), ["/a"]);
}

#[tokio::test]
async fn a_set_that_scheduler_could_not_send_is_put_into_submit_queue() {
    let (account, scheduler) = tokio::join!(account(1), Scheduler::start());
    let sqs = account.app.clients.sqs();
    let failed = sqs
        .create_queue()
        .queue_name("failed")
        .send()
        .await
        .unwrap();
    let failed = failed.queue_url.unwrap();
    let outputs = [&OUTPUTS[..], &[("FailedEventsQueueUrl", failed.as_str())]].concat();
    make_stack_with(&account, "whole", "live", &outputs).await;
    let job = [
        "--distribution",
        "E1",
        "/a",
        "--at",
        "+1s",
        "--stack",
        "whole",
    ];
    make_job(&account, &scheduler, &job).await;
    let [name] = &scheduler.names()[..] else {
        panic!("one is made");
    };
    let schedule = scheduler.schedule(name);
    for body in [
        schedule["Target"]["Input"].as_str().unwrap(),
        r#"{"MessageDeduplicationId":"1"}"#,
    ] {
        let call = sqs.send_message().queue_url(&failed).message_body(body);
        call.send().await.unwrap();
    }
    let replay = ["replay", "--events", "--yes", "--stack", "whole"];
    let output = in_account(&account, &replay).await;
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(1), "one cannot be read: {told}");
    assert!(
        shown.contains("1 message put back, 0 obsolete sweeps deleted, 1 left\n"),
        "{shown}{told}"
    );
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a"]);
}

#[tokio::test]
async fn a_time_that_cannot_be_used_is_named_and_nothing_is_scheduled() {
    let (account, scheduler) = tokio::join!(account(1), Scheduler::start());
    let only_old = [
        ("LogGroupName", "/aws/lambda/invalidator"),
        ("FunctionName", "nobody"),
    ];
    make_stack_with(&account, "old", "live", &only_old).await;
    for (arguments, code, expected) in [
        (
            &["--at", "tomorrow"][..],
            2,
            "`tomorrow` is no time: say `2026-12-01 08:00`",
        ),
        (&["--at", "2020-01-01 00:00"], 2, "is in the past"),
        (&["--at", "+1h", "--wait"], 2, "cannot be used with"),
        (
            &["--at", "+1h", "--stack", "old"],
            1,
            "the stack old has no output ScheduleGroupName: deploy this version of it",
        ),
    ] {
        let all = ["invalidate", "--yes", "--distribution", "E1", "/a"];
        let output = scheduled(&account, &scheduler, &[&all[..], arguments].concat()).await;
        let told = text(output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
    let nowhere = [("AWS_ENDPOINT_URL_SCHEDULER", "http://127.0.0.1:9")];
    let arguments = [
        "invalidate",
        "--yes",
        "--distribution",
        "E1",
        "/a",
        "--at",
        "+1h",
    ];
    let output = run(&account, &nowhere, &arguments).await;
    let told = text(output.stderr);
    assert!(
        told.contains("Scheduler CreateSchedule: ") && told.contains("jobs resume"),
        "{told}"
    );
    assert!(scheduler.names().is_empty());
}

/// SQS, whose answers to SendMessageBatch are lost after so many: the connection ends, or nothing comes any more.
struct LosesAnswers {
    url: String,
}

impl LosesAnswers {
    async fn start(emulator: &str, answered: usize, hangs: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let emulator = emulator.strip_prefix("http://").unwrap().to_owned();
        let left = Arc::new(AtomicUsize::new(answered));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass_on(stream, emulator.clone(), Arc::clone(&left), hangs));
            }
        });
        Self { url }
    }
}

/// Passes on one call, and closes the connection.
async fn pass_on(stream: TcpStream, emulator: String, left: Arc<AtomicUsize>, hangs: bool) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line, mut length) = (String::new(), String::new(), 0);
    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let mut upstream = TcpStream::connect(emulator).await.unwrap();
    let call = [format!("{head}connection: close\r\n\r\n").as_bytes(), &body].concat();
    upstream.write_all(&call).await.unwrap();
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await.unwrap();
    let is_answered = || {
        let one_less = |left: usize| left.checked_sub(1);
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    };
    if head.contains("SendMessageBatch") && !is_answered() {
        if hangs {
            std::future::pending::<()>().await;
        }
        return;
    }
    stream.get_mut().write_all(&answer).await.unwrap();
}

#[tokio::test]
async fn a_job_whose_answers_were_lost_is_continued_and_nothing_is_paid_for_twice() {
    let account = account(11).await;
    let environment: HashMap<_, _> = account.environment().into();
    let queue = LosesAnswers::start(&environment["AWS_ENDPOINT_URL"], 1, false).await;
    let ids: Vec<String> = (1..=11).map(|number| format!("E{number}")).collect();
    let arguments = [
        "invalidate",
        "--yes",
        "--distribution",
        &ids.join(","),
        "/a",
        "/b*",
    ];
    let output = run(
        &account,
        &[("AWS_ENDPOINT_URL_SQS", &queue.url)],
        &arguments,
    )
    .await;
    let told = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let id = id_of_the_only_job(&account).await;
    let resume = format!("invalidatorctl jobs resume {id} --region us-east-1");
    let expected = format!(
        "12 of 22 sets of job {id} are not known to be in SubmitQueue. To continue it, and pay for nothing twice: {resume}"
    );
    assert!(told.contains(&expected), "{told}");
    assert_eq!(
        account.waiting_sets().await,
        20,
        "the second batch is there, though nobody knows"
    );
    let shown = text(in_account(&account, &["jobs", "show", &id]).await.stdout);
    assert!(
        shown.contains(": submitting\n") && shown.contains(&resume),
        "{shown}"
    );

    let asked = in_account(&account, &["jobs", "resume", &id]).await;
    assert_eq!(asked.status.code(), Some(2));
    assert!(text(asked.stdout).contains("in all 12 paths for 6 targets in 12 sets"));
    let output = in_account(&account, &["jobs", "resume", &id, "--yes"]).await;
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{told}");
    let expected = format!("job {id}: 12 sets in SubmitQueue; the function submits them\n");
    assert!(shown.ends_with(&expected), "{shown}");
    // Whoever runs it once more is told, and sends nothing.
    let output = in_account(
        &account,
        &["jobs", "resume", &id, "--yes", "--output", "json"],
    )
    .await;
    assert!(text(output.stderr).contains("nothing is left of job"));
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&job["result"], &job["left"]),
        (&json!("submitted"), &Value::Null)
    );
    assert_eq!(account.waiting_sets().await, 22);
    account.submit().await;
    for id in &ids {
        let mut paths = account.cloudfront.paths(id);
        paths.sort();
        assert_eq!(paths, ["/a", "/b*"], "{id}");
    }
    let job = in_account(&account, &["jobs", "show", &id]).await;
    let shown = text(job.stdout);
    assert!(
        shown.contains("  E1 (www1.example.org): 2 paths accepted, 0 rejected, 0 without"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_job_that_is_killed_is_continued_and_nothing_is_paid_for_twice() {
    let account = account(6).await;
    let emulator: HashMap<_, _> = account.environment().into();
    let queue = LosesAnswers::start(&emulator["AWS_ENDPOINT_URL"], 1, true).await;
    let ids: Vec<String> = (1..=6).map(|number| format!("E{number}")).collect();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args([
            "invalidate",
            "--yes",
            "--distribution",
            &ids.join(","),
            "/a",
            "/b*",
        ])
        .envs(environment(
            &account,
            &[("AWS_ENDPOINT_URL_SQS", &queue.url)],
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The second batch is there, and the command waits for the answer.
    sets_wait(&account, 12).await;
    child.kill().await.unwrap();
    let id = id_of_the_only_job(&account).await;
    let shown = text(in_account(&account, &["jobs", "show", &id]).await.stdout);
    assert!(shown.contains("  2 of 12 sets are not known"), "{shown}");
    let output = in_account(&account, &["jobs", "resume", &id, "--yes"]).await;
    assert!(output.status.success(), "{}", text(output.stderr));
    account.submit().await;
    for id in &ids {
        let mut paths = account.cloudfront.paths(id);
        paths.sort();
        assert_eq!(paths, ["/a", "/b*"], "{id}");
    }
}

/// Where nothing answers: whoever sends there fails.
const NOWHERE: [(&str, &str); 1] = [("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")];

#[tokio::test]
async fn what_was_sent_though_nobody_knows_is_never_sent_again_whatever_failed_in_between() {
    let account = account(1).await;
    let emulator: HashMap<_, _> = account.environment().into();
    let queue = LosesAnswers::start(&emulator["AWS_ENDPOINT_URL"], 0, false).await;
    let arguments = ["invalidate", "--yes", "--distribution", "E1", "/a", "/b"];
    let lost = [("AWS_ENDPOINT_URL_SQS", &*queue.url)];
    let output = run(&account, &lost, &arguments).await;
    assert_eq!(output.status.code(), Some(1));
    let id = id_of_the_only_job(&account).await;
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b"]);

    // The queue would drop it for five minutes. Nothing is sent, so it does not matter whether it does.
    let resume = ["jobs", "resume", &id, "--yes"];
    let is_down = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(is_down.on(Operation::ListInvalidations));
    let output = run(&account, &NOWHERE, &resume).await;
    assert_eq!(output.status.code(), Some(1));
    account.cloudfront.heal();
    let output = run(&account, &NOWHERE, &resume).await;
    let told = text(output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("2 paths invalidated since then, and left out\n"),
        "{told}"
    );
    assert_eq!(account.waiting_sets().await, 0);
}

#[tokio::test]
async fn the_rest_of_a_set_is_sent_once_though_the_answer_was_lost() {
    let account = account(1).await;
    let command = ["invalidate", "--yes", "--distribution", "E1"];
    let output = run(
        &account,
        &NOWHERE,
        &[&command[..], &["/a", "/b", "/c"]].concat(),
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    let id = id_of_the_only_job(&account).await;
    let other = in_account(&account, &[&command[..], &["/a"]].concat()).await;
    assert!(other.status.success(), "{}", text(other.stderr));
    account.submit().await;

    let emulator: HashMap<_, _> = account.environment().into();
    let queue = LosesAnswers::start(&emulator["AWS_ENDPOINT_URL"], 0, false).await;
    let resume = ["jobs", "resume", &id, "--yes"];
    let lost = [("AWS_ENDPOINT_URL_SQS", &*queue.url)];
    let output = run(&account, &lost, &resume).await;
    let told = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let expected = format!("1 of 1 sets of job {id} are not known to be in SubmitQueue");
    assert!(told.contains(&expected), "{told}");
    assert_eq!(account.waiting_sets().await, 1);
    // Once more: the queue knows the same rest.
    let output = in_account(&account, &resume).await;
    let (shown, told) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(
        shown.contains("in all 2 paths for 1 target in 1 set"),
        "{shown}{told}"
    );
    assert_eq!(account.waiting_sets().await, 1);
    account.submit().await;
    assert_eq!(account.cloudfront.paths("E1"), ["/a", "/b", "/c"]);
}
