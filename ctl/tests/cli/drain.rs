//! `invalidatorctl drain`.

use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use invalidator_core::mode::Mode;
use serde_json::{Value, json};
use strict_cloudfront::{Distribution, Fault, Operation, Origin};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::jobs::{environment, run};
use super::support::account::Account;
use super::{make_stack_with, text};

const PUT: &str = "ObjectCreated:Put";
const TICKS: &str = "11111111-2222-3333-4444-555555555501";
const SETS: &str = "11111111-2222-3333-4444-555555555502";

/// Lambda, as far as the command line uses it here. A mapping takes two looks to change, and cannot be changed
/// meanwhile.
#[derive(Clone)]
pub struct Lambda {
    pub url: String,
    settings: Arc<HashMap<&'static str, String>>,
    mappings: Arc<Mutex<BTreeMap<&'static str, (&'static str, usize)>>>,
    refuses: Arc<Mutex<bool>>,
    /// How often a mapping was changed.
    changes: Arc<Mutex<usize>>,
}

impl Lambda {
    async fn start(account: &Account) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let enabled = [TICKS, SETS].map(|id| (id, ("Enabled", 0)));
        let lambda = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            settings: Arc::new(account.settings().clone()),
            mappings: Arc::new(Mutex::new(enabled.into())),
            refuses: Arc::default(),
            changes: Arc::default(),
        };
        let serving = lambda.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let lambda = serving.clone();
                tokio::spawn(async move { lambda.serve(stream).await });
            }
        });
        lambda
    }

    pub fn states(&self) -> Vec<&'static str> {
        let mappings = self.mappings.lock().unwrap();
        mappings.values().map(|(state, _)| *state).collect()
    }

    fn set(&self, id: &'static str, state: &'static str) {
        self.mappings.lock().unwrap().insert(id, (state, 0));
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
            while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
                if first.is_empty() {
                    first = line.trim_end().to_owned();
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            if first.is_empty() {
                return;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let (status, answer) = self.answer(&first, &body);
            let code = answer["__type"].as_str().unwrap_or_default();
            let answer = answer.to_string();
            let answer = format!(
                "HTTP/1.1 {status} x\r\nx-amzn-errortype: {code}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            );
            if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, first: &str, body: &[u8]) -> (u16, Value) {
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        if path.ends_with("/functions/nobody/configuration") {
            let variables = json!({ "Variables": *self.settings });
            return (
                200,
                json!({ "FunctionName": "nobody", "Environment": variables }),
            );
        }
        let id = path.trim_end_matches('/').rsplit('/').next().unwrap();
        let mut mappings = self.mappings.lock().unwrap();
        let (id, (state, looks)) = mappings.iter_mut().find(|it| *it.0 == id).unwrap();
        if *self.refuses.lock().unwrap() && method == "PUT" {
            return (
                403,
                json!({ "__type": "AccessDeniedException", "Message": "no" }),
            );
        }
        if method == "PUT" {
            if *looks > 0 {
                return (
                    400,
                    json!({ "__type": "ResourceInUseException", "Message": "it changes" }),
                );
            }
            let body: Value = serde_json::from_slice(body).unwrap();
            *state = match body["Enabled"].as_bool().unwrap() {
                true => "Enabling",
                false => "Disabling",
            };
            *looks = 2;
            *self.changes.lock().unwrap() += 1;
        } else if *looks > 0 {
            *looks -= 1;
            if *looks == 0 {
                *state = state.strip_suffix("ing").map_or("", |it| match it {
                    "Enabl" => "Enabled",
                    _ => "Disabled",
                });
            }
        }
        (200, json!({ "UUID": id, "State": state }))
    }
}

pub async fn account() -> (Account, Lambda) {
    let account = Account::new(&[]).await;
    account
        .cloudfront
        .add(Distribution::new("E1", Origin::s3("site", "site")));
    let outputs = [
        ("FunctionName", "nobody"),
        ("FlushMappingId", TICKS),
        ("SubmitMappingId", SETS),
    ];
    make_stack_with(&account, "invalidator", "live", &outputs).await;
    let lambda = Lambda::start(&account).await;
    (account, lambda)
}

async fn drain(account: &Account, lambda: &Lambda, more: &[&str]) -> (Option<i32>, String, String) {
    let endpoint = [("AWS_ENDPOINT_URL_LAMBDA", lambda.url.as_str())];
    let output = run(account, &endpoint, &[&["drain"], more].concat()).await;
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// What is noted of a drain that has not ended.
async fn is_noted(account: &Account) -> bool {
    let s3 = account.app.clients.s3();
    let call = s3.head_object().bucket("errors").key("state/drain.json");
    call.send().await.is_ok()
}

const BACK: [&str; 2] = ["Enabling", "Enabling"];

#[tokio::test]
async fn what_waits_is_flushed_and_submitted_while_the_function_gets_nothing() {
    let (account, lambda) = account().await;
    let (status, shown, told) = drain(&account, &lambda, &[]).await;
    assert_eq!((status, shown.as_str()), (Some(0), ""), "{told}");
    assert!(
        told.ends_with("\n0 messages of BufferQueue and 0 messages of SubmitQueue wait\n"),
        "{told}"
    );
    account.change(&[(PUT, "a"), (PUT, "b")]).await;
    let set = r#"{"v":1,"distribution":"E1","paths":["/set/*"]}"#;
    account.enqueue("E1/wildcards", "1", set).await;
    let (status, _, told) = drain(&account, &lambda, &[]).await;
    assert_eq!(status, Some(2), "there is no terminal to ask on");
    for expected in [
        "1 message of BufferQueue and 1 message of SubmitQueue wait\n".to_owned(),
        format!(
            "  aws lambda update-event-source-mapping --uuid {TICKS} --enabled --region us-east-1\n"
        ),
        format!(
            "  aws lambda update-event-source-mapping --uuid {SETS} --enabled --region us-east-1\n"
        ),
        "--yes".to_owned(),
    ] {
        assert!(told.contains(&expected), "{told}");
    }
    assert_eq!(lambda.states(), ["Enabled", "Enabled"]);
    let (status, shown, told) = drain(&account, &lambda, &["--yes"]).await;
    assert_eq!(
        (status, shown.as_str()),
        (Some(0), "both queues are empty; the function goes on\n"),
        "{told}"
    );
    let mut paths = account.cloudfront.paths("E1");
    paths.sort();
    assert_eq!(paths, ["/a", "/b", "/set/*"]);
    assert_eq!(lambda.states(), BACK);
    assert!(!is_noted(&account).await);
}

#[tokio::test]
async fn what_cloudfront_does_not_take_is_left_and_told() {
    let (account, lambda) = account().await;
    // Somebody had disabled it, and meant it.
    lambda.set(SETS, "Disabled");
    account.change(&[(PUT, "a")]).await;
    let denied = Fault::AccessDenied.always();
    account
        .cloudfront
        .fail(denied.on(Operation::ListDistributions));
    let (status, _, told) = drain(&account, &lambda, &["--yes"]).await;
    assert_eq!(status, Some(1));
    assert!(
        told.contains(&format!("the mapping {SETS} is disabled, and stays so")),
        "{told}"
    );
    assert!(told.contains("the flushes end like this: failed"), "{told}");
    assert_eq!(lambda.states(), ["Enabling", "Disabled"]);
    account.cloudfront.heal();
    lambda.set(TICKS, "Enabled");
    let (status, shown, told) = drain(&account, &lambda, &["--yes", "--output", "json"]).await;
    assert_eq!(status, Some(0), "{told}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (
            &shown["v"],
            &shown["before"],
            &shown["after"],
            &shown["is_interrupted"]
        ),
        (
            &json!(1),
            &json!({ "changes": 1, "sets": 0, "events": 0, "failed_events": 0 }),
            &json!({ "changes": 0, "sets": 0, "events": 0, "failed_events": 0 }),
            &json!(false)
        )
    );
}

#[tokio::test]
async fn the_function_gets_its_work_back_after_an_interrupt_and_after_a_kill() {
    let (account, lambda) = account().await;
    account.change(&[(PUT, "a")]).await;
    // Nothing ends by itself.
    let busy = Fault::Throttling.always();
    account
        .cloudfront
        .fail(busy.on(Operation::CreateInvalidation));
    for (signal, states) in [("-KILL", ["Disabled", "Disabled"]), ("-INT", BACK)] {
        let endpoint = [("AWS_ENDPOINT_URL_LAMBDA", lambda.url.as_str())];
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
            .args(["drain", "--yes"])
            .envs(environment(&account, &endpoint))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // It begins with that again after a kill, too.
        let before = *lambda.changes.lock().unwrap();
        let is_begun = || {
            let changes = *lambda.changes.lock().unwrap() - before;
            changes == 2 && lambda.states() == ["Disabled", "Disabled"]
        };
        while !is_begun() || !is_noted(&account).await {
            assert!(child.try_wait().unwrap().is_none(), "{signal}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let id = child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &id])
            .status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().await.unwrap();
        let told = text(output.stderr);
        assert_eq!(lambda.states(), states, "{signal}: {told}");
        assert_eq!(is_noted(&account).await, signal == "-KILL");
        if signal == "-INT" {
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(
                told.contains("a drain that arn:aws:iam::000000000000:root began at 20"),
                "{told}"
            );
            assert!(
                told.contains("interrupted: what was in hand comes back"),
                "{told}"
            );
        }
    }
}

#[tokio::test]
async fn what_keeps_it_from_draining_is_told_and_nothing_is_done() {
    let (account, lambda) = account().await;
    make_stack_with(&account, "old", "live", &[("FunctionName", "nobody")]).await;
    account.change(&[(PUT, "a")]).await;
    *lambda.refuses.lock().unwrap() = true;
    let (status, _, told) = drain(&account, &lambda, &["--yes"]).await;
    assert_eq!(status, Some(1));
    assert!(
        told.contains("failed to change the mapping")
            && told.contains("Lambda UpdateEventSourceMapping: AccessDenied"),
        "{told}"
    );
    *lambda.refuses.lock().unwrap() = false;
    for (arguments, expected) in [
        (
            &["--yes", "--stack", "none"][..],
            "failed to read the stack none",
        ),
        (
            &["--yes", "--stack", "old"],
            "the stack old has no output FlushMappingId",
        ),
    ] {
        let (status, _, told) = drain(&account, &lambda, arguments).await;
        assert_eq!(status, Some(1), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    for mode in [Mode::Stopped, Mode::DryRun] {
        account.choose(mode).await;
        let (status, _, told) = drain(&account, &lambda, &["--yes"]).await;
        assert_eq!(status, Some(1), "{told}");
        assert!(
            told.contains(&format!("nothing was done: the mode is {mode}")),
            "{told}"
        );
    }
    assert_eq!(
        (
            account.buffered().await,
            account.cloudfront.paths("E1").len()
        ),
        (1, 0)
    );
}

/// What the function could not take in is a change too.
#[tokio::test]
async fn events_that_have_not_reached_the_buffer_are_told() {
    let account = Account::new(&[]).await;
    let sqs = account.app.clients.sqs();
    let made = sqs
        .create_queue()
        .queue_name("events")
        .send()
        .await
        .unwrap();
    let url = made.queue_url().unwrap();
    let outputs = [
        ("FunctionName", "nobody"),
        ("FlushMappingId", TICKS),
        ("SubmitMappingId", SETS),
        ("FailedEventsQueueUrl", url),
    ];
    make_stack_with(&account, "invalidator", "live", &outputs).await;
    let lambda = Lambda::start(&account).await;
    let sent = sqs.send_message().queue_url(url).message_body("{}").send();
    sent.await.unwrap();
    let (status, _, told) = drain(&account, &lambda, &["--yes"]).await;
    assert_eq!(status, Some(1), "{told}");
    let expected =
        "0 events of IntakeQueue and 1 event of FailedEventsQueue have not reached BufferQueue";
    assert!(told.contains(expected), "{told}");
}
