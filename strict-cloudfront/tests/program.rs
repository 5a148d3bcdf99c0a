//! The program: an account as JSON, and what it is told while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use aws_sdk_cloudfront::types::{InvalidationBatch, Paths};
use client::client_at;
use serde_json::{Value, json};

struct Program {
    process: Child,
    url: String,
}

impl Program {
    fn start(arguments: &[&str], input: &Value) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_strict-cloudfront"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(input.to_string().as_bytes()).unwrap();
        drop(stdin);
        let mut url = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        Self {
            process,
            url: url.trim().to_owned(),
        }
    }

    /// Status and JSON of an answer of the control interface.
    fn control(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let host = self.url.strip_prefix("http://").unwrap();
        let body = body.to_string();
        let request = format!(
            "{method} /_stand_in/{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Invalidates a path of a distribution, and returns the error code if it is refused.
    async fn invalidate(&self, distribution: &str, path: &str) -> Result<(), String> {
        let paths = Paths::builder().quantity(1).items(path).build().unwrap();
        let batch = InvalidationBatch::builder().paths(paths);
        let batch = batch.caller_reference(path).build().unwrap();
        let client = client_at(&self.url);
        let call = client.create_invalidation().distribution_id(distribution);
        let result = call.invalidation_batch(batch).send().await;
        let code = |error: &dyn ProvideErrorMetadata| error.code().unwrap().to_owned();
        result.map(drop).map_err(|error| code(&error))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn site(id: &str) -> Value {
    json!({
        "Id": id, "Enabled": true, "DefaultRootObject": "index.html",
        "Origins": { "Quantity": 1, "Items": [{ "Id": "s3", "DomainName": "site.s3.amazonaws.com" }] },
        "DefaultCacheBehavior": { "TargetOriginId": "s3", "CachePolicyId": "own" },
        "CustomErrorResponses": { "Quantity": 1, "Items": [
            { "ErrorCode": 403, "ResponsePagePath": "/index.html", "ResponseCode": "200", "ErrorCachingMinTTL": 1_800 },
        ] },
    })
}

fn account(distributions: &[Value]) -> Value {
    json!({ "DistributionList": { "Items": distributions } })
}

#[tokio::test]
async fn it_holds_what_the_aws_cli_prints() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/distributions.json");
    let printed = std::fs::read_to_string(file).unwrap();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let expected = printed["DistributionList"]["Items"].as_array().unwrap();
    let program = Program::start(&["--account", file], &Value::Null);
    let listed = client_at(&program.url).list_distributions().send().await;
    let listed = listed.unwrap().distribution_list.unwrap();
    assert_eq!(listed.items().len(), expected.len());
    for (distribution, expected) in listed.items().iter().zip(expected) {
        assert_eq!(distribution.id, expected["Id"]);
        assert_eq!(distribution.enabled, expected["Enabled"]);
        let patterns = distribution.cache_behaviors.iter();
        let patterns = patterns.flat_map(|behaviors| behaviors.items());
        let patterns: Vec<_> = patterns.map(|it| it.path_pattern.as_str()).collect();
        let behaviors = expected["CacheBehaviors"]["Items"].as_array();
        let behaviors = behaviors.into_iter().flatten();
        let expected: Vec<_> = behaviors
            .map(|it| it["PathPattern"].as_str().unwrap())
            .collect();
        assert_eq!(patterns, expected);
    }
}

#[tokio::test]
async fn it_reads_an_account_from_standard_input() {
    let program = Program::start(&["--account", "-"], &account(&[site("E1")]));
    let config = client_at(&program.url).get_distribution_config();
    let config = config.id("E1").send().await.unwrap();
    let config = config.distribution_config.unwrap();
    assert_eq!(config.default_root_object.unwrap(), "index.html");
    let errors = config.custom_error_responses.unwrap();
    assert_eq!(errors.items()[0].response_page_path(), Some("/index.html"));
    assert_eq!(errors.items()[0].error_caching_min_ttl, Some(1_800));
}

#[tokio::test]
async fn policies_and_tenants_may_be_added_while_it_runs() {
    let program = Program::start(&[], &Value::Null);
    let mut shared = site("E1");
    shared["ConnectionMode"] = json!("tenant-only");
    let mut all = account(&[shared]);
    all["CachePolicyList"] = json!({ "Items": [{ "Type": "custom", "CachePolicy": {
        "Id": "own",
        "CachePolicyConfig": { "Name": "own", "MinTTL": 0, "DefaultTTL": 60, "MaxTTL": 3600 },
    } }] });
    all["DistributionTenantList"] = json!([{
        "Id": "dt_1", "DistributionId": "E1", "Enabled": true,
        "Parameters": [{ "Name": "site", "Value": "s" }],
    }]);
    assert_eq!(program.control("POST", "account", &all).0, 200);
    let client = client_at(&program.url);
    let policy = client.get_cache_policy().id("own").send().await.unwrap();
    let config = policy.cache_policy.unwrap().cache_policy_config.unwrap();
    assert_eq!(config.max_ttl, Some(3_600));
    let tenant = client.get_distribution_tenant().identifier("dt_1");
    let tenant = tenant.send().await.unwrap().distribution_tenant.unwrap();
    assert_eq!(tenant.parameters()[0].value, "s");
}

#[tokio::test]
async fn what_is_not_an_account_is_refused_whole() {
    let program = Program::start(&[], &Value::Null);
    let mut lost = site("E2");
    lost["DefaultCacheBehavior"]["TargetOriginId"] = json!("elsewhere");
    let mut teapot = site("E2");
    teapot["CustomErrorResponses"] = json!({ "Items": [{ "ErrorCode": 418 }] });
    let queries = |config: Value| {
        let mut all = account(&[site("E1")]);
        all["CachePolicyList"] = json!({ "Items": [{ "CachePolicy": {
            "Id": "own", "CachePolicyConfig": { "MinTTL": 0, "ParametersInCacheKeyAndForwardedToOrigin": config },
        } }] });
        all
    };
    let behavior =
        |name: &str| queries(json!({ "QueryStringsConfig": { "QueryStringBehavior": name } }));
    for (wrong, named) in [
        (json!("no account"), "invalid type"),
        (account(&[json!({})]), "missing field"),
        (account(&[site("E1"), lost]), "no origin elsewhere"),
        (account(&[site("E1"), teapot]), "418"),
        (queries(json!({})), "QueryStringsConfig"),
        (behavior("some"), "\"some\""),
        (behavior("whitelist"), "0 names"),
    ] {
        let (status, answer) = program.control("POST", "account", &wrong);
        let error = answer["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(named), "{status} {error}");
    }
    let listed = client_at(&program.url).list_distributions().send().await;
    assert!(
        listed
            .unwrap()
            .distribution_list
            .unwrap()
            .items()
            .is_empty()
    );
}

#[tokio::test]
async fn it_fails_as_it_is_told_and_tells_what_it_was_asked() {
    let program = Program::start(&["--account", "-"], &account(&[site("E1"), site("E2")]));
    let fault = json!({ "fault": "AccessDenied", "target": "E1" });
    assert_eq!(program.control("POST", "faults", &fault).0, 200);
    let denied = Err("AccessDenied".to_owned());
    assert_eq!(program.invalidate("E1", "/a").await, denied);
    assert_eq!(program.invalidate("E2", "/a").await, Ok(()));
    assert_eq!(program.control("DELETE", "faults", &Value::Null).0, 200);
    assert_eq!(program.invalidate("E1", "/b").await, Ok(()));

    let (_, calls) = program.control("GET", "calls", &Value::Null);
    let calls: Vec<_> = calls.as_array().unwrap().iter().collect();
    let told = |n: usize| (calls[n]["target"].as_str().unwrap(), &calls[n]["status"]);
    assert_eq!(told(0), ("E1", &json!(403)));
    assert_eq!(told(1), ("E2", &json!(201)));
    assert_eq!(told(2), ("E1", &json!(201)));
    let (_, accepted) = program.control("GET", "invalidations/E1", &Value::Null);
    assert_eq!(accepted[0]["paths"], json!(["/b"]));
}

#[tokio::test]
async fn what_it_does_not_know_is_an_error() {
    let program = Program::start(&[], &Value::Null);
    let (status, _) = program.control("POST", "faults", &json!({ "fault": "Rain" }));
    assert_eq!(status, 400);
    let fault = json!({ "fault": "AccessDenied", "target": "E9" });
    assert_eq!(program.control("POST", "faults", &fault).0, 400);
    for path in ["weather", "invalidations/E9"] {
        assert_eq!(program.control("GET", path, &Value::Null).0, 404, "{path}");
    }
}

#[tokio::test]
async fn an_invalidation_of_earlier_may_be_added() {
    let program = Program::start(&["--account", "-"], &account(&[site("E1")]));
    let earlier = json!({ "seconds_ago": 600, "caller_reference": "release 7", "paths": ["/*"] });
    let added = program.control("POST", "invalidations/E1", &earlier);
    assert_eq!(added, (200, json!({})));
    program.invalidate("E1", "/now").await.unwrap();
    let list = client_at(&program.url).list_invalidations();
    let list = list.distribution_id("E1").send().await.unwrap();
    let list = list.invalidation_list.unwrap();
    let times: Vec<i64> = list
        .items()
        .iter()
        .map(|it| it.create_time.secs())
        .collect();
    let [now, earlier] = times[..] else {
        panic!("{times:?}")
    };
    assert!((600..660).contains(&(now - earlier)), "{times:?}");
    let refused = program.control("POST", "invalidations/E1", &json!({ "paths": [] }));
    assert_eq!(refused.0, 400);
    assert_eq!(
        program.control("POST", "invalidations/E9", &json!({})).0,
        404
    );
}
