//! `invalidatorctl verify`, against a server that keeps what it once fetched, as an edge does.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;
use strict_cloudfront::{Behavior, Distribution, Origin};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::support::account::Account;
use super::{in_account, make_stack, text};

/// An answer: its first line and its headers.
type Answer = String;

/// An edge: it fetches what it does not have from S3, and then keeps it.
#[derive(Clone)]
pub struct Edge {
    pub url: String,
    cache: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// An object that somebody uploads while it is asked for.
    upload: Arc<Mutex<Option<(String, String)>>>,
}

impl Edge {
    async fn start(account: &Account) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let edge = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            cache: Arc::default(),
            asked: Arc::default(),
            upload: Arc::default(),
        };
        let s3 = account.app.clients.s3().clone();
        let serving = edge.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (edge, s3) = (serving.clone(), s3.clone());
                tokio::spawn(async move { edge.serve(stream, s3).await });
            }
        });
        edge
    }

    async fn serve(&self, stream: TcpStream, s3: aws_sdk_s3::Client) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = Vec::new();
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
                head.push(line.trim_end().to_owned());
                line.clear();
            }
            let Some((first, headers)) = head.split_first() else {
                return;
            };
            let path = first
                .strip_prefix("HEAD ")
                .unwrap()
                .split(' ')
                .next()
                .unwrap();
            let host = headers
                .iter()
                .find_map(|it| it.strip_prefix("host: "))
                .unwrap();
            let page = format!("{host}{path}");
            self.asked.lock().unwrap().push(page.clone());
            let upload = self.upload.lock().unwrap().take();
            if let Some((key, body)) = upload {
                upload_to(&s3, &key, &body).await;
            }
            let cached = self.cache.lock().unwrap().get(&page).cloned();
            let answer = match cached {
                Some(answer) => answer,
                None => fetch(&s3, path).await,
            };
            let known = self.cache.lock().unwrap().insert(page, answer.clone());
            let cache = if known.is_some() { "Hit" } else { "Miss" };
            let answer = format!("HTTP/1.1 {answer}X-Cache: {cache} from cloudfront\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
        }
    }

    /// What an invalidation does.
    pub fn clear(&self) {
        self.cache.lock().unwrap().clear();
    }

    pub fn answer(&self, page: &str, answer: &str) {
        self.cache
            .lock()
            .unwrap()
            .insert(page.to_owned(), answer.to_owned());
    }

    /// The pages that were asked for since the last call, in order of their names.
    fn take_asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

/// What the origin answers.
async fn fetch(s3: &aws_sdk_s3::Client, path: &str) -> Answer {
    let path = path.split('?').next().unwrap();
    let path = if path == "/" { "/index.html" } else { path };
    let key = percent_encoding::percent_decode_str(&path[1..])
        .decode_utf8()
        .unwrap();
    match s3.head_object().bucket("site").key(key).send().await {
        Ok(object) => {
            let modified = object.last_modified().unwrap();
            let modified = modified
                .fmt(aws_smithy_types::date_time::Format::HttpDate)
                .unwrap();
            let (e_tag, length) = (object.e_tag().unwrap(), object.content_length().unwrap());
            format!(
                "200 OK\r\nETag: {e_tag}\r\nContent-Length: {length}\r\nLast-Modified: {modified}\r\n"
            )
        }
        Err(_) => "404 Not Found\r\nContent-Length: 0\r\n".to_owned(),
    }
}

pub async fn put(account: &Account, key: &str, body: &str) {
    upload_to(account.app.clients.s3(), key, body).await;
}

async fn upload_to(s3: &aws_sdk_s3::Client, key: &str, body: &str) {
    let call = s3.put_object().bucket("site").key(key);
    let body = ByteStream::from(body.as_bytes().to_vec());
    call.body(body).send().await.unwrap();
}

pub async fn site() -> (Account, Edge) {
    let account = Account::new(&[]).await;
    let www = Distribution::new("E1", Origin::s3("site", "site"))
        .origin(Origin::new("api", "api.example.org"))
        .behavior(Behavior::new("/api/*", "api"))
        .default_root_object("index.html");
    account.cloudfront.add(www.alias("www.example.org"));
    account.tag(&[("exceptionPaths", "tmp")]).await;
    for key in ["index.html", "a b+한.html", "tmp/log", "api/v1"] {
        put(&account, key, "old").await;
    }
    let edge = Edge::start(&account).await;
    (account, edge)
}

async fn verify(account: &Account, edge: &Edge, arguments: &[&str]) -> Output {
    let arguments = [&["verify", "--edge", &edge.url], arguments].concat();
    in_account(account, &arguments).await
}

fn last_line(output: &Output) -> String {
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    shown.lines().last().unwrap_or_default().to_owned()
}

const ALL: [&str; 3] = ["--bucket", "site", "--all"];

#[tokio::test]
async fn what_an_edge_keeps_after_a_change_is_stale_until_it_is_cleared() {
    let (account, edge) = site().await;
    let fresh = verify(&account, &edge, &ALL).await;
    assert_eq!(
        last_line(&fresh),
        "3 URLs of 3 objects: 3 fresh, 0 stale, 0 not comparable, 0 not served"
    );
    assert!(fresh.status.success());
    let shown = text(fresh.stdout);
    for told in [
        "note: one edge location has answered",
        "left out: 1 object under exception paths, where uploads are ignored",
        "served by no distribution that can be asked: 1 object; `invalidatorctl why` says why",
    ] {
        assert!(shown.contains(told), "{shown}");
    }
    assert_eq!(
        edge.take_asked(),
        [
            "www.example.org/",
            "www.example.org/a%20b%2B%ED%95%9C.html",
            "www.example.org/index.html"
        ]
    );

    put(&account, "index.html", "new").await;
    let stale = verify(&account, &edge, &ALL).await;
    assert_eq!(stale.status.code(), Some(1));
    assert_eq!(
        last_line(&stale),
        "3 URLs of 3 objects: 1 fresh, 2 stale, 0 not comparable, 0 not served"
    );
    let shown = text(stale.stdout);
    let told = "stale: https://www.example.org/index.html: its ETag is \"149603e6c03516362a8da23f624db945\", in S3 \
                \"22af645d1859cb5ca6da0c484f1f37ea\"; Hit from cloudfront\n";
    assert!(shown.contains(told), "{shown}");

    edge.clear();
    assert!(verify(&account, &edge, &ALL).await.status.success());

    account
        .app
        .clients
        .s3()
        .delete_object()
        .bucket("site")
        .key("index.html")
        .send()
        .await
        .unwrap();
    let deleted = verify(&account, &edge, &["s3://site/index.html"]).await;
    assert_eq!(deleted.status.code(), Some(1));
    assert!(
        text(deleted.stdout).contains("index.html: it is still served, and S3 has it no more; Hit")
    );
    edge.clear();
    let gone = verify(&account, &edge, &["s3://site/index.html"]).await;
    assert!(gone.status.success(), "{}", text(gone.stdout));
}

/// The largest value of the metric StaleObjects.
pub async fn stale_objects(account: &Account) -> Option<f64> {
    let environment: HashMap<_, _> = account.environment().into();
    let config = aws_sdk_cloudwatch::Config::builder()
        .behavior_version_latest()
        .http_client(invalidator::aws::http_client(
            invalidator::aws::roots::Roots::BuiltIn,
        ))
        .endpoint_url(&environment["AWS_ENDPOINT_URL"])
        .region(aws_sdk_cloudwatch::config::Region::new("us-east-1"))
        .credentials_provider(aws_credential_types::Credentials::new(
            "test", "test", None, None, "test",
        ))
        .build();
    let cloudwatch = aws_sdk_cloudwatch::Client::from_conf(config);
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let time = |seconds| aws_sdk_cloudwatch::primitives::DateTime::from_secs(now + seconds);
    let dimension = aws_sdk_cloudwatch::types::Dimension::builder();
    let call = cloudwatch
        .get_metric_statistics()
        .namespace("Invalidator")
        .metric_name("StaleObjects");
    let call = call.dimensions(dimension.name("FunctionName").value("nobody").build());
    let call = call
        .start_time(time(-600))
        .end_time(time(600))
        .period(3_600);
    let call = call.statistics(aws_sdk_cloudwatch::types::Statistic::Maximum);
    let points = call.send().await.unwrap().datapoints.unwrap_or_default();
    points.iter().filter_map(|it| it.maximum).reduce(f64::max)
}

#[tokio::test]
async fn a_canary_writes_how_many_objects_are_stale() {
    let (account, edge) = site().await;
    make_stack(&account, "invalidator").await;
    let canary = ["--bucket", "site", "--all", "--put-metric"];
    edge.answer("www.example.org/", "502 Bad Gateway\r\n");
    let unknown = ["https://www.example.org/", "--put-metric"];
    assert_eq!(
        verify(&account, &edge, &unknown).await.status.code(),
        Some(1)
    );
    assert_eq!(stale_objects(&account).await, None, "nothing is known");
    let nothing = [
        "--bucket",
        "site",
        "--since",
        "2100-01-01T00:00:00Z",
        "--put-metric",
    ];
    assert!(verify(&account, &edge, &nothing).await.status.success());
    assert_eq!(
        stale_objects(&account).await,
        Some(0.0),
        "nothing was written"
    );
    edge.clear();
    let fresh = verify(&account, &edge, &canary).await;
    assert!(fresh.status.success(), "{}", text(fresh.stderr));
    assert_eq!(stale_objects(&account).await, Some(0.0));
    put(&account, "index.html", "new").await;
    let stale = verify(&account, &edge, &canary).await;
    assert_eq!(stale.status.code(), Some(1));
    assert!(
        text(stale.stderr).contains("StaleObjects of nobody is 1\n"),
        "one object at two URLs"
    );
    assert_eq!(stale_objects(&account).await, Some(1.0));

    let no_stack = [&canary[..], &["--stack", "none"]].concat();
    let refused = verify(&account, &edge, &no_stack).await;
    assert!(text(refused.stderr).contains("failed to read the stack none"));
}

#[tokio::test]
async fn what_changes_while_it_is_looked_at_is_looked_at_again() {
    let (account, edge) = site().await;
    *edge.upload.lock().unwrap() = Some(("index.html".to_owned(), "new".to_owned()));
    let output = verify(&account, &edge, &["https://www.example.org/index.html"]).await;
    assert_eq!(
        last_line(&output),
        "1 URL of 1 object: 1 fresh, 0 stale, 0 not comparable, 0 not served"
    );
    assert_eq!(edge.take_asked().len(), 2, "once more");
}

#[tokio::test]
async fn objects_are_listed_sampled_asked_for_by_name_and_read_from_standard_input() {
    let (account, edge) = site().await;
    for n in 0..30 {
        put(&account, &format!("{n}.html"), "x").await;
    }
    for (arguments, objects) in [
        (&["--bucket", "site", "--since", "1h"][..], 20),
        (&["--bucket", "site", "--since", "1h", "--all"], 33),
        (&["--bucket", "site", "--sample", "5"], 5),
        (&["--bucket", "site", "--since", "2100-01-01T00:00:00Z"], 0),
        (&["--bucket", "site", "1.html", "2.html"], 2),
        (
            &[
                "https://www.example.org/",
                "https://www.example.org/3.html?q=1",
            ],
            2,
        ),
        (
            &["--bucket", "site", "--all", "--via", "www.example.org"],
            33,
        ),
    ] {
        let arguments = [arguments, &["--output", "json"]].concat();
        let output = verify(&account, &edge, &arguments).await;
        let told = text(output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?} {told} {}",
            text(output.stdout)
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        // An object of a sample may be one that nobody serves, or that is excepted.
        let found = report["objects"].as_u64().unwrap();
        let excepted = report["excepted"].as_u64().unwrap();
        let is_sample = !arguments.contains(&"--all");
        assert!(
            found == objects || is_sample && found + excepted == objects,
            "{arguments:?}: {report}"
        );
        assert_eq!(report["v"], 1);
        assert_eq!(report["stale"], 0);
    }
    edge.take_asked();
    verify(&account, &edge, &["https://www.example.org/3.html?q=1"]).await;
    assert_eq!(edge.take_asked(), ["www.example.org/3.html?q=1"]);
    let first = verify(&account, &edge, &["--bucket", "site", "--sample", "5"]).await;
    assert!(first.status.success());
    let shown = text(first.stdout);
    let sample = " in the list; --all looks at all of them\n";
    assert!(
        shown.contains("a sample: ") && shown.contains(sample),
        "{shown}"
    );
    let sampled = edge.take_asked();
    verify(&account, &edge, &["--bucket", "site", "--sample", "5"]).await;
    assert_eq!(edge.take_asked(), sampled, "the same objects");

    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_invalidatorctl"))
        .args(["verify", "--edge", &edge.url, "--bucket", "site", "-"])
        .envs(account.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // More than a sample: what is named is looked at.
    let names: String = (0..25).map(|n| format!("{n}.html\n\n")).collect();
    let mut input = child.stdin.take().unwrap();
    input.write_all(names.as_bytes()).unwrap();
    drop(input);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        last_line(&output),
        "25 URLs of 25 objects: 25 fresh, 0 stale, 0 not comparable, 0 not served"
    );
}

#[tokio::test]
async fn what_cannot_be_compared_is_no_proof_of_anything() {
    let (account, edge) = site().await;
    for (answer, expected, code) in [
        (
            "200 OK\r\nETag: W/\"149603e6c03516362a8da23f624db945\"\r\nContent-Encoding: gzip\r\n",
            "1 fresh, 0 stale",
            0,
        ),
        (
            "200 OK\r\n",
            "not comparable: https://www.example.org/a%20b%2B%ED%95%9C.html: the answer has neither",
            1,
        ),
        ("301 Moved\r\nLocation: /x\r\n", ": it redirects to /x", 1),
        (
            "403 Forbidden\r\n",
            "not served: https://www.example.org/a%20b%2B%ED%95%9C.html: the answer is 403: URLs must",
            1,
        ),
        (
            "404 Not Found\r\n",
            ": the answer is 404, and S3 has it; Hit from cloudfront",
            1,
        ),
        ("502 Bad Gateway\r\n", ": the answer is 502", 1),
    ] {
        edge.answer("www.example.org/a%20b%2B%ED%95%9C.html", answer);
        let output = verify(&account, &edge, &["s3://site/a b+한.html"]).await;
        assert_eq!(output.status.code(), Some(code), "{answer}");
        let shown = text(output.stdout);
        assert!(shown.contains(expected), "{answer}: {shown}");
    }
    let nobody = [
        "verify",
        "--edge",
        "http://127.0.0.1:1",
        "s3://site/index.html",
    ];
    let output = in_account(&account, &nobody).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        last_line(&output),
        "2 URLs of 1 object: 0 fresh, 0 stale, 0 not comparable, 2 not served"
    );
    let shown = text(output.stdout);
    assert!(
        shown.contains("not served: https://www.example.org/index.html: "),
        "{shown}"
    );

    for (arguments, expected) in [
        (&["verify"][..], "say which objects"),
        (
            &["verify", "--bucket", "site", "--via", "nobody.example.org"],
            "no distribution has the alias or domain name",
        ),
        (
            &["verify", "--bucket", "site", "--since", "soon"],
            "expected 10m, 2h, 3d",
        ),
        (
            &["verify", "--bucket", "site", "--edge", "http://example.org"],
            "https://",
        ),
    ] {
        let output = in_account(&account, arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = text(output.stderr);
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
    let output = in_account(&account, &["verify", "--bucket", "nowhere"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(output.stderr).contains("failed to list s3://nowhere: S3 ListObjectsV2: NoSuchBucket")
    );
}
