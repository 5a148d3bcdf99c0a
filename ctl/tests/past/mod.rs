//! Buckets with a past, over HTTP: what S3 answers when it is asked for their versions, objects and settings,
//! and STS beside it. As unkind as S3: pages end where they like, keys are encoded where that is asked for,
//! and what is missing has its own error code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use strict_cloudfront::{CloudFront, Distribution, Origin};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;

/// A bucket.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    /// The status of its versioning, or empty.
    pub versioning: &'static str,
    /// The rule of object ownership, or empty.
    pub ownership: &'static str,
    pub tags: Vec<(&'static str, &'static str)>,
    /// For each key its versions, the newest first.
    keys: BTreeMap<String, Vec<Version>>,
    writes: usize,
}

#[derive(Clone, Debug)]
struct Version {
    id: String,
    time: OffsetDateTime,
    /// None: a delete marker.
    etag: Option<String>,
}

impl Bucket {
    pub fn versioned() -> Self {
        Self {
            versioning: "Enabled",
            ownership: "BucketOwnerEnforced",
            ..Self::default()
        }
    }

    /// Uploads an object. The same content has the same ETag.
    pub fn put(&mut self, key: &str, time: OffsetDateTime, content: u64) {
        self.write(key, time, Some(format!("\"{content:032x}\"")));
    }

    pub fn delete(&mut self, key: &str, time: OffsetDateTime) {
        self.write(key, time, None);
    }

    fn write(&mut self, key: &str, time: OffsetDateTime, etag: Option<String>) {
        self.writes += 1;
        let versions = self.keys.entry(key.to_owned()).or_default();
        let id = match self.versioning {
            "Enabled" => format!("v{}.{}", self.writes, "x".repeat(28)),
            _ => {
                versions.clear();
                "null".to_owned()
            }
        };
        versions.insert(0, Version { id, time, etag });
        if self.versioning != "Enabled" && versions[0].etag.is_none() {
            self.keys.remove(key);
        }
    }
}

#[derive(Debug, Default)]
struct Service {
    buckets: BTreeMap<String, Bucket>,
    /// How many entries a page holds at most.
    page: usize,
    /// Actions that may not be called.
    denied: BTreeSet<&'static str>,
    calls: Vec<&'static str>,
}

/// The account: S3, STS and CloudFront.
pub struct Account {
    pub cloudfront: CloudFront,
    service: Arc<Mutex<Service>>,
    endpoint: String,
    task: JoinHandle<()>,
}

impl Drop for Account {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Account {
    /// An account whose distribution E1 serves the bucket `site`.
    pub async fn new(site: Bucket) -> Self {
        let cloudfront = CloudFront::start().await.unwrap();
        let site_of = |id: &str| Distribution::new(id, Origin::s3("site", "site"));
        cloudfront.add(site_of("E1").alias("www.example.org"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let service = Arc::new(Mutex::new(Service {
            buckets: BTreeMap::from([("site".to_owned(), site)]),
            page: 1_000,
            ..Service::default()
        }));
        let shared = service.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = shared.clone();
                tokio::spawn(async move { drop(serve(stream, &service).await) });
            }
        });
        Self {
            cloudfront,
            service,
            endpoint,
            task,
        }
    }

    fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap()
    }

    /// Pages hold at most so many entries.
    pub fn set_page(&self, entries: usize) {
        self.service().page = entries;
    }

    /// Nobody may call this action any more.
    pub fn deny(&self, action: &'static str) {
        self.service().denied.insert(action);
    }

    /// How often an action of S3 was called.
    pub fn calls(&self, action: &str) -> usize {
        let service = self.service();
        service.calls.iter().filter(|call| **call == action).count()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_invalidatorctl"));
        command
            .arg("estimate")
            .args(arguments)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env(
                "AWS_ENDPOINT_URL_CLOUDFRONT",
                self.cloudfront.endpoint_url(),
            )
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Answers requests until the client has no more.
async fn serve(mut stream: TcpStream, service: &Mutex<Service>) -> std::io::Result<()> {
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = received.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let end = end + length.unwrap_or(0);
        while received.len() < end {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        received.drain(..end);
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (status, body) = service.lock().unwrap().answer(target);
        let answer = format!(
            "HTTP/1.1 {status} .\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

type Answer = (u16, String);

fn error(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>{code} it is</Message></Error>");
    (status, body)
}

const CALLER: &str = "<GetCallerIdentityResponse><GetCallerIdentityResult>\
                      <Arn>arn:aws:iam::123456789012:user/operator</Arn><Account>123456789012</Account>\
                      </GetCallerIdentityResult></GetCallerIdentityResponse>";

impl Service {
    fn answer(&mut self, target: &str) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = parameters(query);
        let name = path.trim_matches('/');
        if name.is_empty() {
            return (200, CALLER.to_owned());
        }
        let has = |name: &str| query.contains_key(name);
        let action = [
            ("versions", "ListObjectVersions"),
            ("versioning", "GetBucketVersioning"),
            ("ownershipControls", "GetBucketOwnershipControls"),
            ("tagging", "GetBucketTagging"),
            ("list-type", "ListObjectsV2"),
        ];
        let action = action.into_iter().find(|(parameter, _)| has(parameter));
        let Some((_, action)) = action else {
            return error(501, "NotImplemented");
        };
        self.calls.push(action);
        let Some(bucket) = self.buckets.get(name) else {
            return error(404, "NoSuchBucket");
        };
        if self.denied.contains(action) {
            return error(403, "AccessDenied");
        }
        match action {
            "ListObjectVersions" => bucket.versions(&query, self.page),
            "ListObjectsV2" => bucket.objects(&query, self.page),
            "GetBucketVersioning" => {
                let status = match bucket.versioning {
                    "" => String::new(),
                    status => format!("<Status>{status}</Status>"),
                };
                let body = format!("<VersioningConfiguration>{status}</VersioningConfiguration>");
                (200, body)
            }
            "GetBucketOwnershipControls" if bucket.ownership.is_empty() => {
                error(404, "OwnershipControlsNotFoundError")
            }
            "GetBucketOwnershipControls" => {
                let rule = bucket.ownership;
                let body = format!(
                    "<OwnershipControls><Rule><ObjectOwnership>{rule}</ObjectOwnership></Rule></OwnershipControls>"
                );
                (200, body)
            }
            _ if bucket.tags.is_empty() => error(404, "NoSuchTagSet"),
            _ => {
                let tags = bucket.tags.iter();
                let tags: String = tags
                    .map(|(key, value)| {
                        format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")
                    })
                    .collect();
                let body = format!("<Tagging><TagSet>{tags}</TagSet></Tagging>");
                (200, body)
            }
        }
    }
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| {
        let text = percent_decode_str(text);
        text.decode_utf8().unwrap().into_owned()
    };
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// S3 leaves these as they are; a space becomes a plus.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*');

/// A key as an answer has it.
fn shown(key: &str, query: &BTreeMap<String, String>) -> String {
    if query.get("encoding-type").map(String::as_str) == Some("url") {
        return utf8_percent_encode(key, ENCODED)
            .to_string()
            .replace("%20", "+");
    }
    // XML knows no control characters, however they are written.
    assert!(!key.contains(char::is_control), "the answer cannot be read");
    key.replace('&', "&amp;").replace('<', "&lt;")
}

fn time_of(version: &Version) -> String {
    let seconds = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].000Z");
    version.time.format(seconds).unwrap()
}

impl Bucket {
    fn entries(&self, prefix: &str) -> Vec<(&String, &Version)> {
        let keys = self.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        keys.flat_map(|(key, versions)| versions.iter().map(move |version| (key, version)))
            .collect()
    }

    fn versions(&self, query: &BTreeMap<String, String>, most: usize) -> Answer {
        let empty = String::new();
        let text = |name: &str| query.get(name).unwrap_or(&empty);
        let (key_marker, version_marker) = (text("key-marker"), text("version-id-marker"));
        if key_marker.is_empty() && !version_marker.is_empty() {
            return error(400, "InvalidArgument");
        }
        let entries = self.entries(text("prefix"));
        // Without a version, the list goes on after all versions of the key.
        let begin = match version_marker.as_str() {
            "" => entries.partition_point(|(key, _)| *key <= key_marker),
            marker => {
                let is_marker = |(key, version): &(&String, &Version)| {
                    *key == key_marker && version.id == marker
                };
                match entries.iter().position(is_marker) {
                    Some(place) => place + 1,
                    None => return error(400, "InvalidArgument"),
                }
            }
        };
        let page = &entries[begin..entries.len().min(begin + most)];
        let is_truncated = begin + page.len() < entries.len();
        let mut body = format!("<ListVersionsResult><IsTruncated>{is_truncated}</IsTruncated>");
        if query.contains_key("encoding-type") {
            body += "<EncodingType>url</EncodingType>";
        }
        for (key, version) in page {
            let is_latest = self.keys[*key][0].id == version.id;
            let common = format!(
                "<Key>{}</Key><VersionId>{}</VersionId><IsLatest>{is_latest}</IsLatest><LastModified>{}</LastModified>",
                shown(key, query),
                version.id,
                time_of(version)
            );
            let _ = match &version.etag {
                Some(etag) => write!(
                    body,
                    "<Version>{common}<ETag>{etag}</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Version>"
                ),
                None => write!(body, "<DeleteMarker>{common}</DeleteMarker>"),
            };
        }
        if let (true, Some((key, version))) = (is_truncated, page.last()) {
            let _ = write!(
                body,
                "<NextKeyMarker>{}</NextKeyMarker><NextVersionIdMarker>{}</NextVersionIdMarker>",
                shown(key, query),
                version.id
            );
        }
        (200, body + "</ListVersionsResult>")
    }

    fn objects(&self, query: &BTreeMap<String, String>, most: usize) -> Answer {
        let empty = String::new();
        let text = |name: &str| query.get(name).unwrap_or(&empty);
        let keys = self.keys.iter().filter_map(|(key, versions)| {
            let current = versions.first()?;
            Some((key, current, current.etag.as_ref()?))
        });
        let keys: Vec<_> = keys
            .filter(|(key, ..)| key.starts_with(text("prefix")))
            .collect();
        // The token is nobody's business but S3's.
        let begin = match text("continuation-token").strip_prefix("after:") {
            Some(number) => number.parse().unwrap(),
            None => 0,
        };
        let end = keys.len().min(begin + most);
        let is_truncated = end < keys.len();
        let mut body = format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>");
        if query.contains_key("encoding-type") {
            body += "<EncodingType>url</EncodingType>";
        }
        for (key, version, etag) in &keys[begin..end] {
            let _ = write!(
                body,
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{etag}</ETag><Size>5</Size></Contents>",
                shown(key, query),
                time_of(version)
            );
        }
        if is_truncated {
            let _ = write!(
                body,
                "<NextContinuationToken>after:{end}</NextContinuationToken>"
            );
        }
        (200, body + "</ListBucketResult>")
    }
}

/// A blog of 200 files, deployed once a day for thirty days: all files are uploaded, and so many changed.
pub fn blog(mut bucket: Bucket, changed: usize) -> Bucket {
    let now = OffsetDateTime::now_utc();
    let key = |file: usize| match file % 10 {
        0 => format!("asset-{file:03}.css"),
        _ => format!("posts/{:02}/{file:03}.html", file / 10),
    };
    for file in 0..200 {
        bucket.put(&key(file), now - time::Duration::days(100), 0);
    }
    let mut contents = [0; 200];
    for day in 0..30 {
        // An hour from both ends of the thirty days.
        let time = now - time::Duration::days(30) + time::Duration::hours(1 + day as i64 * 24);
        for (file, content) in contents.iter_mut().enumerate() {
            if (file + day).is_multiple_of(200 / changed) {
                *content = day as u64 + 1;
            }
            bucket.put(&key(file), time, *content);
        }
    }
    bucket
}
