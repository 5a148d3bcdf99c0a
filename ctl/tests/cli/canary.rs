//! `invalidatorctl` as a Lambda function, against a server that answers as Lambda's Runtime API does.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::make_stack;
use super::support::account::Account;
use super::verify::{put, site, stale_objects};

/// A request of the function: its path and its body.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    if stream.read_line(&mut first).await.unwrap_or(0) == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    Some((path, String::from_utf8(body).unwrap()))
}

async fn answer(stream: &mut BufReader<TcpStream>, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
}

/// Hands out one event after another, and returns what the function answered to each: `response` or `error`, and
/// the body.
async fn serve(listener: TcpListener, events: Vec<Value>) -> Vec<(String, String)> {
    let mut waiting = events.iter().rev().collect::<Vec<_>>();
    let mut answers = Vec::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        while let Some((path, body)) = request(&mut stream).await {
            if path.ends_with("/invocation/next") {
                let Some(event) = waiting.pop() else {
                    return answers;
                };
                let headers = "Lambda-Runtime-Aws-Request-Id: 1\r\n\
                               Lambda-Runtime-Deadline-Ms: 4102444800000\r\n\
                               Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:x\r\n";
                answer(&mut stream, "200 OK", headers, &event.to_string()).await;
            } else {
                let outcome = path.rsplit('/').next().unwrap().to_owned();
                answers.push((outcome, body));
                answer(&mut stream, "202 Accepted", "", "").await;
            }
        }
    }
}

/// Runs the canary until it has answered to all events.
async fn canary(account: &Account, events: Vec<Value>) -> Vec<(String, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .envs(account.environment())
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_FUNCTION_NAME", "canary")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("STACK_NAME", "invalidator")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    tokio::select! {
        answers = serve(listener, events) => answers,
        status = child.wait() => panic!("the canary has ended: {status:?}"),
    }
}

#[tokio::test]
async fn the_canary_verifies_each_bucket_and_fails_if_one_cannot_be_verified() {
    let (account, edge) = site().await;
    make_stack(&account, "invalidator").await;
    let arguments = json!(["--all", "--edge", edge.url]);
    let fresh = json!({ "buckets": ["site"], "arguments": arguments });
    let one_is_absent = json!({ "buckets": ["absent", "site"], "arguments": arguments });
    let misspelt = json!({ "buckets": ["site"], "arguments": ["--sinec", "1d"] });
    let nothing = json!({ "buckets": [] });
    let answers = canary(&account, vec![fresh, one_is_absent, misspelt, nothing]).await;
    let outcomes: Vec<&str> = answers
        .iter()
        .map(|(outcome, _)| outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["response", "error", "error", "error"]);
    for (index, told) in [
        (1, "bucket absent: "),
        (2, "--sinec"),
        (3, "names no buckets"),
    ] {
        assert!(answers[index].1.contains(told), "{}", answers[index].1);
    }
    assert_eq!(stale_objects(&account).await, Some(0.0));
}

#[tokio::test]
async fn stale_objects_are_told_by_the_metric_and_are_no_failure() {
    let (account, edge) = site().await;
    make_stack(&account, "invalidator").await;
    // The edge has fetched all of it, then an object changes.
    let warm = ["verify", "--edge", &edge.url, "--bucket", "site", "--all"];
    assert!(super::in_account(&account, &warm).await.status.success());
    put(&account, "index.html", "new").await;
    let event = json!({ "buckets": ["site"], "arguments": ["--all", "--edge", edge.url] });
    let answers = canary(&account, vec![event]).await;
    assert_eq!(answers[0].0, "response");
    assert_eq!(stale_objects(&account).await, Some(1.0));
}
