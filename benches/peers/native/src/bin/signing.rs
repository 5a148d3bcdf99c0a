//! The ingest stage with nothing but a socket: SigV4 and HTTP written by hand, for this job alone.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use peers::http::{Connection, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TAGS_KEPT_FOR: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<Record<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    event_name: &'a str,
    event_time: &'a str,
    #[serde(borrow)]
    s3: S3<'a>,
}

#[derive(Deserialize)]
struct S3<'a> {
    #[serde(borrow)]
    bucket: Bucket<'a>,
    #[serde(borrow)]
    object: Object<'a>,
}

#[derive(Deserialize)]
struct Bucket<'a> {
    name: &'a str,
}

#[derive(Deserialize)]
struct Object<'a> {
    key: &'a str,
}

fn main() -> Result<()> {
    let mut ingest = Ingest::from_env()?;
    peers::runtime_api::run(|event| ingest.event(event))
}

struct Ingest {
    aws: Aws,
    buffer_queue: String,
    tick_queue: String,
    debounce: u64,
    ticked: Option<u64>,
    tags: HashMap<String, (Vec<String>, Instant)>,
}

impl Ingest {
    fn from_env() -> Result<Self> {
        Ok(Self {
            aws: Aws::from_env()?,
            buffer_queue: env::var("BUFFER_QUEUE_URL")?,
            tick_queue: env::var("TICK_QUEUE_URL")?,
            debounce: env::var("DEBOUNCE_SECONDS")?.parse()?,
            ticked: None,
            tags: HashMap::new(),
        })
    }

    fn event(&mut self, event: &[u8]) -> Result<Vec<u8>> {
        let event: Event = serde_json::from_slice(event)?;
        let mut created: HashMap<&str, Vec<Value>> = HashMap::new();
        let mut deleted: HashMap<&str, Vec<Value>> = HashMap::new();
        for record in &event.records {
            let (bucket, change) = (
                record.s3.bucket.name,
                json!([record.s3.object.key, record.event_time]),
            );
            let key = decode(record.s3.object.key);
            if record.event_name.starts_with("ObjectCreated:") {
                if !self.excepted(bucket, &key)? {
                    created.entry(bucket).or_default().push(change);
                }
            } else {
                deleted.entry(bucket).or_default().push(change);
            }
        }
        if !created.is_empty() || !deleted.is_empty() {
            self.buffer(&json!({ "created": created, "deleted": deleted }))?;
            self.tick()?;
        }
        Ok(b"{}".to_vec())
    }

    fn excepted(&mut self, bucket: &str, key: &str) -> Result<bool> {
        let known = self.tags.get(bucket);
        if !known.is_some_and(|(_, since)| since.elapsed() < TAGS_KEPT_FOR) {
            let answer =
                self.aws
                    .call("GET", "s3", &format!("/{bucket}"), "tagging=", None, b"")?;
            let rules = rules(std::str::from_utf8(&answer.body)?);
            self.tags.insert(bucket.to_owned(), (rules, Instant::now()));
        }
        let covers = |rule: &String| {
            let rest = key.strip_prefix(rule.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Ok(self.tags[bucket].0.iter().any(covers))
    }

    fn buffer(&mut self, body: &Value) -> Result<()> {
        let entry = json!({ "Id": "0", "MessageBody": body.to_string() });
        let batch = json!({ "QueueUrl": self.buffer_queue, "Entries": [entry] });
        let answer = self.sqs("SendMessageBatch", &batch)?;
        match answer["Failed"].as_array() {
            Some(failed) if !failed.is_empty() => Err(format!("{failed:?}").into()),
            _ => Ok(()),
        }
    }

    fn tick(&mut self) -> Result<()> {
        let window = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / (self.debounce - 2);
        if self.ticked == Some(window) {
            return Ok(());
        }
        let id = format!("window-{window}");
        let tick = json!({
            "QueueUrl": self.tick_queue,
            "MessageGroupId": "flush",
            "MessageDeduplicationId": id,
            "MessageBody": id,
        });
        self.sqs("SendMessage", &tick)?;
        self.ticked = Some(window);
        Ok(())
    }

    fn sqs(&mut self, operation: &str, body: &Value) -> Result<Value> {
        let target = format!("AmazonSQS.{operation}");
        let body = serde_json::to_vec(body)?;
        let answer = self
            .aws
            .call("POST", "sqs", "/", "", Some(&target), &body)?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

/// The paths of the tags `exceptionPaths`, `exceptionPaths2`, ...
fn rules(tags: &str) -> Vec<String> {
    tags.split("<Tag>")
        .filter(|tag| tag.contains("<Key>exceptionPaths"))
        .filter_map(|tag| tag.split_once("<Value>")?.1.split_once("</Value>"))
        .flat_map(|(value, _)| value.split([',', ':', ' ']))
        .map(|path| path.trim_matches('/').to_owned())
        .filter(|path| !path.is_empty())
        .collect()
}

/// A key, from the form S3 writes it in.
fn decode(key: &str) -> String {
    let mut decoded = Vec::with_capacity(key.len());
    let mut bytes = key.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    bytes
                        .next()
                        .and_then(|digit| char::from(digit).to_digit(16))
                };
                (digit().unwrap_or(0) * 16 + digit().unwrap_or(0)) as u8
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Signed calls to one endpoint.
struct Aws {
    connection: Connection,
    host: String,
    region: String,
    key_id: String,
    secret: String,
}

impl Aws {
    fn from_env() -> Result<Self> {
        let url = env::var("AWS_ENDPOINT_URL")?;
        let host = url.strip_prefix("http://").ok_or("not plain HTTP")?;
        Ok(Self {
            connection: Connection::open(host)?,
            host: host.to_owned(),
            region: env::var("AWS_REGION")?,
            key_id: env::var("AWS_ACCESS_KEY_ID")?,
            secret: env::var("AWS_SECRET_ACCESS_KEY")?,
        })
    }

    fn call(
        &mut self,
        method: &str,
        service: &str,
        path: &str,
        query: &str,
        target: Option<&str>,
        body: &[u8],
    ) -> Result<Response> {
        let time = timestamp(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
        let digest = hex(&Sha256::digest(body));
        let mut headers = vec![
            ("host", self.host.as_str()),
            ("x-amz-content-sha256", &digest),
            ("x-amz-date", &time),
        ];
        if let Some(target) = target {
            headers.insert(0, ("content-type", "application/x-amz-json-1.0"));
            headers.push(("x-amz-target", target));
        }
        let authorization =
            self.authorization(method, service, path, query, &headers, &digest, &time)?;
        headers.push(("authorization", &authorization));
        let uri = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        let answer = self.connection.call(method, &uri, &headers, body)?;
        if answer.status >= 300 {
            return Err(String::from_utf8_lossy(&answer.body).into());
        }
        Ok(answer)
    }

    /// Signature Version 4. The headers are in order, and all of them are signed.
    #[allow(clippy::too_many_arguments)]
    fn authorization(
        &self,
        method: &str,
        service: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        digest: &str,
        time: &str,
    ) -> Result<String> {
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut request = format!("{method}\n{path}\n{query}\n");
        for (name, value) in headers {
            writeln!(request, "{name}:{value}")?;
        }
        write!(request, "\n{names}\n{digest}")?;
        let date = &time[..8];
        let scope = format!("{date}/{}/{service}/aws4_request", self.region);
        let request = hex(&Sha256::digest(request));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{request}");
        let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), date)?;
        for part in [self.region.as_str(), service, "aws4_request"] {
            key = hmac(&key, part)?;
        }
        let signature = hex(&hmac(&key, &text)?);
        let id = &self.key_id;
        Ok(format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        ))
    }
}

fn hmac(key: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key)?;
    hmac.update(text.as_bytes());
    Ok(hmac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// `20261121T020304Z`, by Howard Hinnant's days_from_civil turned around.
fn timestamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}
