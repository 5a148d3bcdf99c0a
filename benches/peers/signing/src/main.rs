//! The function's first job by hand: HTTP over a socket, a signature by two crates, no SDK, no TLS, no
//! retries, no log.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const RUNTIME: &str = "/2018-06-01/runtime/invocation/";

fn main() -> Result<()> {
    let mut runtime = Connection::to(&variable("AWS_LAMBDA_RUNTIME_API"))?;
    let endpoint = variable("AWS_ENDPOINT_URL");
    let mut aws = Connection::to(endpoint.trim_start_matches("http://"))?;
    let mut tags: HashMap<String, (Instant, Vec<String>)> = HashMap::new();
    let mut last_window = 0;
    loop {
        let next = runtime.call("GET", &format!("{RUNTIME}next"), &[], b"")?;
        let event: Value = serde_json::from_slice(&next.body)?;
        ingest(&event, &mut aws, &mut tags, &mut last_window)?;
        let path = format!("{RUNTIME}{}/response", next.request_id);
        runtime.call("POST", &path, &[], br#"{"batchItemFailures":[]}"#)?;
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn ingest(
    event: &Value,
    aws: &mut Connection,
    tags: &mut HashMap<String, (Instant, Vec<String>)>,
    last_window: &mut u64,
) -> Result<()> {
    let mut changes = Vec::new();
    for record in event["Records"].as_array().into_iter().flatten() {
        let bucket = record["s3"]["bucket"]["name"].as_str().unwrap_or_default();
        let key = record["s3"]["object"]["key"].as_str().unwrap_or_default();
        let deleted = !record["eventName"].as_str().unwrap_or_default().starts_with("ObjectCreated");
        if !deleted {
            let fresh = tags.get(bucket).is_some_and(|(since, _)| since.elapsed().as_secs() < 60);
            if !fresh {
                let answer = aws.signed("s3", "GET", &format!("/{bucket}"), "tagging=", None, b"")?;
                tags.insert(bucket.to_owned(), (Instant::now(), exceptions(&answer.body)));
            }
            let (_, paths) = &tags[bucket];
            if paths.iter().any(|path| key.starts_with(path.as_str())) {
                continue;
            }
        }
        changes.push(json!([bucket, key, if deleted { "deleted" } else { "created" }]));
    }
    let body = Value::from(changes).to_string();
    let queue = variable("BUFFER_QUEUE_URL");
    let batch = json!({ "QueueUrl": queue, "Entries": [{ "Id": "0", "MessageBody": body }] });
    aws.signed("sqs", "POST", "/", "", Some("SendMessageBatch"), batch.to_string().as_bytes())?;
    let window = seconds() / 8;
    if *last_window != window {
        *last_window = window;
        let id = format!("window-{window}");
        let tick = json!({
            "QueueUrl": variable("TICK_QUEUE_URL"), "MessageBody": id,
            "MessageGroupId": "flush", "MessageDeduplicationId": id,
        });
        aws.signed("sqs", "POST", "/", "", Some("SendMessage"), tick.to_string().as_bytes())?;
    }
    Ok(())
}

/// The values of the tags, cut out of the XML.
fn exceptions(xml: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(xml);
    let values = text.split("<Value>").skip(1).filter_map(|rest| rest.split('<').next());
    values.flat_map(|value| value.split(':')).map(str::to_owned).collect()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

struct Answer {
    request_id: String,
    body: Vec<u8>,
}

impl Connection {
    fn to(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { host: address.to_owned(), stream: BufReader::new(stream) })
    }

    fn call(&mut self, method: &str, target: &str, headers: &[String], body: &[u8]) -> Result<Answer> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let request = [request.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request)?;
        let (mut request_id, mut length, mut status) = (String::new(), 0, String::new());
        self.stream.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "lambda-runtime-aws-request-id" => request_id = value.trim().to_owned(),
                "content-length" => length = value.trim().parse().map_err(Error::other)?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if !status.contains(" 20") {
            return Err(Error::other(format!("{method} {target}: {status}")));
        }
        Ok(Answer { request_id, body })
    }

    /// A call with a signature of version 4.
    fn signed(
        &mut self,
        service: &str,
        method: &str,
        path: &str,
        query: &str,
        operation: Option<&str>,
        body: &[u8],
    ) -> Result<Answer> {
        let (date, time) = date_and_time(seconds());
        let (region, host) = (variable("AWS_REGION"), self.host.clone());
        let hash = hex(&Sha256::digest(body));
        let mut headers = vec![
            format!("host:{host}"),
            format!("x-amz-content-sha256:{hash}"),
            format!("x-amz-date:{date}T{time}Z"),
        ];
        if let Some(operation) = operation {
            headers.insert(0, "content-type:application/x-amz-json-1.0".to_owned());
            headers.push(format!("x-amz-target:AmazonSQS.{operation}"));
        }
        let names: Vec<&str> = headers.iter().filter_map(|header| header.split(':').next()).collect();
        let names = names.join(";");
        let canonical = format!("{method}\n{path}\n{query}\n{}\n\n{names}\n{hash}", headers.join("\n"));
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let canonical_hash = hex(&Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}T{time}Z\n{scope}\n{canonical_hash}");
        let secret = format!("AWS4{}", variable("AWS_SECRET_ACCESS_KEY"));
        let mut key = secret.into_bytes();
        for part in [&date, &region, service, "aws4_request"] {
            key = hmac(&key, part)?;
        }
        let signature = hex(&hmac(&key, &to_sign)?);
        let id = variable("AWS_ACCESS_KEY_ID");
        headers.retain(|header| !header.starts_with("host:"));
        headers.push(format!(
            "authorization: AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        ));
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.call(method, &target, &headers, body)
    }
}

fn hmac(key: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(key).map_err(Error::other)?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20261121` and `054304`. Source of the date: Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms".
fn date_and_time(seconds: u64) -> (String, String) {
    let (days, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    (date, format!("{:02}{:02}{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60))
}
