//! EventBridge Scheduler, as strict as AWS as far as the command line uses it. A schedule runs when a test says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::support::account::Account;

pub const GROUP: &str = "invalidator-ScheduledJobs-1a2b";
pub const ROLE: &str = "arn:aws:iam::000000000000:role/invalidator-ScheduledJobRole-1a2b";
pub const DEAD_LETTERS: &str =
    "arn:aws:sqs:us-east-1:000000000000:invalidator-FailedEventsQueue-1a2b";

/// Schedules by name.
#[derive(Clone)]
pub struct Scheduler {
    pub url: String,
    schedules: Arc<Mutex<BTreeMap<String, Value>>>,
    /// How many more schedules it makes before it refuses one.
    makes: Arc<Mutex<Option<usize>>>,
}

impl Scheduler {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheduler = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            schedules: Arc::default(),
            makes: Arc::default(),
        };
        let serving = scheduler.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let scheduler = serving.clone();
                tokio::spawn(async move { scheduler.serve(stream).await });
            }
        });
        scheduler
    }

    pub fn names(&self) -> Vec<String> {
        self.schedules.lock().unwrap().keys().cloned().collect()
    }

    pub fn schedule(&self, name: &str) -> Value {
        self.schedules.lock().unwrap()[name].clone()
    }

    /// From now on it makes so many, and then refuses each; `None`: it refuses none.
    pub fn make_only(&self, number: Option<usize>) {
        *self.makes.lock().unwrap() = number;
    }

    /// Runs a schedule: calls SendMessage, as the role may, and deletes it.
    pub async fn run(&self, account: &Account, name: &str) {
        let schedule = self.schedules.lock().unwrap().remove(name).unwrap();
        let input: Value =
            serde_json::from_str(schedule["Target"]["Input"].as_str().unwrap()).unwrap();
        let text = |field: &str| input[field].as_str().unwrap().to_owned();
        let call = account.app.clients.sqs().send_message();
        let call = call
            .queue_url(text("QueueUrl"))
            .message_body(text("MessageBody"));
        let call = call.message_group_id(text("MessageGroupId"));
        let call = call.message_deduplication_id(text("MessageDeduplicationId"));
        call.send().await.unwrap();
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
            stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn answer(&self, first: &str, body: &[u8]) -> (u16, Value) {
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let name = path.strip_prefix("/schedules/").unwrap();
        let missing = || {
            let message = format!("Schedule {name} does not exist.");
            error(404, "ResourceNotFoundException", &message)
        };
        let group = query
            .split('&')
            .find_map(|it| it.strip_prefix("groupName="));
        if method != "POST" && group != Some(GROUP) {
            return missing();
        }
        let mut schedules = self.schedules.lock().unwrap();
        match method {
            "POST" => {
                let body: Value = serde_json::from_slice(body).unwrap();
                if let Some(problem) = problem(name, &body) {
                    return error(400, "ValidationException", &problem);
                }
                if body["GroupName"] != GROUP {
                    return error(
                        404,
                        "ResourceNotFoundException",
                        "Schedule group does not exist.",
                    );
                }
                // Also for the same call again: how long Scheduler knows a client token, AWS does not say.
                if schedules.contains_key(name) {
                    return error(409, "ConflictException", "Schedule already exists.");
                }
                if let Some(makes) = self.makes.lock().unwrap().as_mut() {
                    if *makes == 0 {
                        let message = "is not authorized to perform: iam:PassRole";
                        return error(403, "AccessDeniedException", message);
                    }
                    *makes -= 1;
                }
                schedules.insert(name.to_owned(), body);
                (200, json!({ "ScheduleArn": name }))
            }
            "GET" => match schedules.get(name) {
                Some(schedule) => (200, schedule.clone()),
                None => missing(),
            },
            "DELETE" => match schedules.remove(name) {
                Some(_) => (200, json!({})),
                None => missing(),
            },
            _ => panic!("{first}"),
        }
    }
}

fn error(status: u16, code: &str, message: &str) -> (u16, Value) {
    (status, json!({ "__type": code, "Message": message }))
}

/// What AWS refuses. A time in the past it does not: such a schedule runs at once.
fn problem(name: &str, body: &Value) -> Option<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_at = |text: &str| {
        let time = text.strip_prefix("at(").and_then(|it| it.strip_suffix(')'));
        let form = time
            .unwrap_or_default()
            .replace(|c: char| c.is_ascii_digit(), "0");
        form == "0000-00-00T00:00:00"
    };
    let target = &body["Target"];
    let input = target["Input"].as_str().unwrap_or_default();
    let call: Value = serde_json::from_str(input).unwrap_or_default();
    let fields = [
        "QueueUrl",
        "MessageBody",
        "MessageGroupId",
        "MessageDeduplicationId",
    ];
    let is_a_call = fields.iter().all(|it| call[*it].is_string());
    let retry = &target["RetryPolicy"];
    let is_within = |value: &Value, least: i64, most: i64| {
        value
            .as_i64()
            .is_some_and(|it| (least..=most).contains(&it))
    };
    let checks = [
        (
            "name",
            (1..=64).contains(&name.len()) && name.chars().all(is_name),
        ),
        (
            "scheduleExpression",
            body["ScheduleExpression"].as_str().is_some_and(is_at),
        ),
        (
            "flexibleTimeWindow",
            body["FlexibleTimeWindow"]["Mode"] == "OFF",
        ),
        (
            "actionAfterCompletion",
            body["ActionAfterCompletion"] == "DELETE",
        ),
        ("timezone", body["ScheduleExpressionTimezone"] == "UTC"),
        (
            "target",
            target["Arn"] == "arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
        ),
        ("role", target["RoleArn"] == ROLE),
        ("input", input.len() < 256_000 && is_a_call),
        ("a keyword", !input.contains("<aws.scheduler.")),
        (
            "deadLetterConfig",
            target["DeadLetterConfig"]["Arn"] == DEAD_LETTERS,
        ),
        ("retries", is_within(&retry["MaximumRetryAttempts"], 0, 185)),
        (
            "age",
            is_within(&retry["MaximumEventAgeInSeconds"], 60, 86_400),
        ),
        (
            "clientToken",
            body["ClientToken"]
                .as_str()
                .is_some_and(|it| it.len() <= 64),
        ),
    ];
    let failed = checks.iter().find(|(_, holds)| !holds)?;
    Some(format!(
        "Value at '{}' failed to satisfy constraint.",
        failed.0
    ))
}

/// EventBridge Scheduler API Reference, CreateSchedule.
#[tokio::test]
async fn scheduler_refuses_what_its_documentation_says() {
    let scheduler = Scheduler::start().await;
    let input = json!({
        "QueueUrl": "q", "MessageBody": "b", "MessageGroupId": "g", "MessageDeduplicationId": "d",
    });
    let schedule = json!({
        "GroupName": GROUP, "ScheduleExpression": "at(2020-01-01T00:00:00)", "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": { "Mode": "OFF" }, "ActionAfterCompletion": "DELETE", "ClientToken": "1",
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage", "RoleArn": ROLE, "Input": input.to_string(),
            "RetryPolicy": { "MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86_400 },
            "DeadLetterConfig": { "Arn": DEAD_LETTERS },
        },
    });
    let code = |first: &str, body: &Value| {
        let (status, answer) = scheduler.answer(first, body.to_string().as_bytes());
        (
            status,
            answer["__type"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let refused = |code: &str, status| (status, code.to_owned());
    let post = |name: &str| format!("POST /schedules/{name} HTTP/1.1");
    for (name, pointer, value) in [
        ("a".repeat(65), "/ClientToken", json!("1")),
        ("a%2Fb".to_owned(), "/ClientToken", json!("1")),
        (
            "a".to_owned(),
            "/ScheduleExpression",
            json!("at(2020-01-01 00:00)"),
        ),
        (
            "a".to_owned(),
            "/Target/RetryPolicy/MaximumRetryAttempts",
            json!(186),
        ),
        (
            "a".to_owned(),
            "/Target/RetryPolicy/MaximumEventAgeInSeconds",
            json!(59),
        ),
        ("a".to_owned(), "/Target/Input", json!("x")),
        (
            "a".to_owned(),
            "/Target/Input",
            json!(format!("\"{}\"", "x".repeat(256_000))),
        ),
    ] {
        let mut schedule = schedule.clone();
        *schedule.pointer_mut(pointer).unwrap() = value;
        let expected = refused("ValidationException", 400);
        assert_eq!(code(&post(&name), &schedule), expected, "{name} {pointer}");
    }
    let mut elsewhere = schedule.clone();
    elsewhere["GroupName"] = json!("none");
    let missing = refused("ResourceNotFoundException", 404);
    assert_eq!(code(&post("a"), &elsewhere), missing);
    // A time of the past is accepted.
    assert_eq!(code(&post("a"), &schedule), (200, String::new()));
    let conflict = refused("ConflictException", 409);
    assert_eq!(code(&post("a"), &schedule), conflict);
    for (method, group, expected) in [
        ("GET", "none", missing.clone()),
        ("GET", GROUP, (200, String::new())),
        ("DELETE", GROUP, (200, String::new())),
        ("DELETE", GROUP, missing.clone()),
        ("GET", GROUP, missing),
    ] {
        let first = format!("{method} /schedules/a?groupName={group} HTTP/1.1");
        assert_eq!(code(&first, &Value::Null), expected, "{first}");
    }
}
