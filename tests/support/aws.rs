//! The account and the Lambda service around the function's own binary, over real HTTP: queues that
//! behave as SQS does, the strict CloudFront, S3 and SNS as far as the function needs them, and the
//! Runtime API.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response};
use axum::serve::{Listener, ListenerExt};
use fastrand::Rng;
use futures_util::stream;
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::function::processor_time;
use super::objects::Objects;
use super::queue::{Message, Queue, Settings};
use super::tls::{Handshakes, SERVICES, TlsListener};
use super::{refusals, tags};
use strict_cloudfront::route;
use strict_cloudfront::service::{Delivery, Service};

/// How long the queues hide what was received, as in the template.
const VISIBILITY: Duration = Duration::from_secs(160);

/// A receipt handle of SQS has about so many characters.
const HANDLE: usize = 400;

/// How often it is looked whether a process asks for an invocation.
const STEP: Duration = Duration::from_millis(1);

/// The account.
pub struct Aws {
    shared: Arc<Shared>,
    address: String,
    tasks: Vec<JoinHandle<()>>,
    /// The hosts of the services, if they are called over TLS.
    hosts: BTreeMap<&'static str, String>,
    /// Connections over TLS.
    pub handshakes: Handshakes,
}

struct Shared {
    account: Mutex<Account>,
    changed: Notify,
    start: Instant,
    epoch: SystemTime,
}

/// The state of the account.
pub struct Account {
    pub queues: BTreeMap<&'static str, Queue>,
    pub cloudfront: Service,
    /// Keys and texts of the error bucket.
    pub files: Vec<(String, String)>,
    pub mails: Vec<String>,
    /// Its other objects.
    pub objects: Objects,
    /// How often each operation was called.
    pub calls: BTreeMap<String, usize>,
    /// Each call to AWS: its operation, when it began and when it was answered.
    pub timings: Vec<(String, Duration, Duration)>,
    /// Every answer takes this long.
    pub latency: Duration,
    /// The tags of every bucket.
    pub tags: Vec<(&'static str, &'static str)>,
    /// The process whose time is taken.
    pub process: Option<u32>,
    /// How much processor time it had used when it last answered an invocation.
    pub processor: Duration,
    /// When messages were last received.
    pub last_received: Duration,
    /// When messages of the buffer were last deleted.
    pub last_deleted: Duration,
    /// Whether files can be written.
    pub is_bucket_writable: bool,
    /// How many calls on each queue are refused, and with which error code.
    pub refused: BTreeMap<&'static str, (usize, &'static str)>,
    /// How many entries of batch calls fail, though the call answers 200.
    pub entries_to_fail: usize,
    /// Which invocations the calls of SQS say that they come from.
    pub traces: BTreeSet<String>,
    /// How far the clock of Lambda and SQS is ahead of this machine's.
    pub ahead: Duration,
    /// Connections to AWS's services, and those of them that died: nothing is answered there.
    connections: BTreeSet<SocketAddr>,
    dead_connections: BTreeSet<SocketAddr>,
    /// How many requests came on a dead connection.
    pub requests_on_dead_connections: usize,
    /// How many receives are answered before one fails, after it hid its messages.
    pub receives_until_one_fails: Option<usize>,
    rng: Rng,
    /// Processes that wait for an invocation.
    waiting: usize,
    invocations: Vec<Invocation>,
    running: BTreeMap<u64, oneshot::Sender<Result<Value, String>>>,
    count: u64,
}

struct Invocation {
    id: u64,
    payload: String,
    deadline: u64,
    answer: oneshot::Sender<Result<Value, String>>,
}

impl Aws {
    /// Starts on a free loopback port.
    pub async fn start() -> Self {
        let fortnight = Duration::from_secs(14 * 24 * 3_600);
        let queue = |name, fifo| {
            let settings = Settings {
                fifo,
                delay: Duration::ZERO,
                visibility: VISIBILITY,
                max_receives: 1_000,
                retention: fortnight,
            };
            (name, Queue::new(name, settings))
        };
        let queues = [
            queue("buffer", false),
            queue("tick.fifo", true),
            queue("submit.fifo", true),
        ];
        let account = Account {
            queues: BTreeMap::from(queues),
            cloudfront: Service::new(OffsetDateTime::now_utc()),
            files: Vec::new(),
            mails: Vec::new(),
            objects: Objects::default(),
            calls: BTreeMap::new(),
            timings: Vec::new(),
            latency: Duration::ZERO,
            tags: Vec::new(),
            process: None,
            processor: Duration::ZERO,
            last_received: Duration::ZERO,
            last_deleted: Duration::ZERO,
            is_bucket_writable: true,
            refused: BTreeMap::new(),
            entries_to_fail: 0,
            traces: BTreeSet::new(),
            ahead: Duration::ZERO,
            connections: BTreeSet::new(),
            dead_connections: BTreeSet::new(),
            requests_on_dead_connections: 0,
            receives_until_one_fails: None,
            rng: Rng::with_seed(1),
            waiting: 0,
            invocations: Vec::new(),
            running: BTreeMap::new(),
            count: 0,
        };
        let shared = Arc::new(Shared {
            account: Mutex::new(account),
            changed: Notify::new(),
            start: Instant::now(),
            epoch: SystemTime::now(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut aws = Self {
            handshakes: Handshakes::new(shared.start),
            shared,
            address,
            tasks: Vec::new(),
            hosts: BTreeMap::new(),
        };
        aws.listen(listener);
        aws
    }

    /// Starts with its services behind TLS, each on a host of its own. Only the Runtime API is without, as Lambda's.
    pub async fn start_with_tls() -> Self {
        let mut aws = Self::start().await;
        for (service, host) in SERVICES {
            let listener = TlsListener::bind(host, service, &aws.handshakes).await;
            aws.hosts.insert(service, listener.address().to_string());
            aws.listen(listener);
        }
        aws
    }

    fn listen<L: Listener<Addr = SocketAddr>>(&mut self, listener: L) {
        let router = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&self.shared));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        // With this, axum knows where a connection comes from, whatever listens.
        let listener = listener.tap_io(|_| {});
        let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        self.tasks.push(task);
    }

    /// The state, to look at it and to change it.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.shared.account.lock().unwrap()
    }

    /// What the function needs in its environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let plain = format!("http://{}", self.address);
        let of_sqs = self.hosts.get("SQS");
        let of_sqs = of_sqs.map_or(plain.clone(), |host| format!("https://{host}"));
        let queue = |name: &str| format!("{of_sqs}/123456789012/{name}");
        let mut environment = vec![
            ("AWS_LAMBDA_RUNTIME_API", self.address.clone()),
            ("AWS_LAMBDA_FUNCTION_NAME", "invalidator".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("BUFFER_QUEUE_URL", queue("buffer")),
            ("TICK_QUEUE_URL", queue("tick.fifo")),
            ("SUBMIT_QUEUE_URL", queue("submit.fifo")),
            ("ERROR_BUCKET", "errors".to_owned()),
            // Each path is wanted.
            ("COST_MODE", "exact".to_owned()),
            ("SPENDING_LIMIT_PER_HOUR", "1000000".to_owned()),
            ("SPENDING_LIMIT_PER_MONTH", "1000000".to_owned()),
            (
                "TOPIC_ARN",
                "arn:aws:sns:us-east-1:123456789012:alerts".to_owned(),
            ),
        ];
        if self.hosts.is_empty() {
            environment.push(("AWS_ENDPOINT_URL", plain));
        }
        for (service, variable) in [
            ("CLOUDFRONT", "AWS_ENDPOINT_URL_CLOUDFRONT"),
            ("S3", "AWS_ENDPOINT_URL_S3"),
            ("SNS", "AWS_ENDPOINT_URL_SNS"),
            ("SQS", "AWS_ENDPOINT_URL_SQS"),
        ] {
            if let Some(host) = self.hosts.get(service) {
                environment.push((variable, format!("https://{host}")));
            }
        }
        environment
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Puts a message into the buffer.
    pub fn buffer(&self, body: &str) {
        let now = self.now();
        let mut account = self.account();
        let mut rng = account.rng.fork();
        let buffer = account.queues.get_mut("buffer").unwrap();
        buffer.send(body, "", None, Duration::ZERO, now, &mut rng);
    }

    /// Makes the messages of a queue visible that are hidden for some time, as if it were over.
    pub fn end_delays(&self, queue: &str) {
        let now = self.now();
        let mut account = self.account();
        let mut rng = account.rng.fork();
        let queue = account.queues.get_mut(queue).unwrap();
        let messages: Vec<(String, String)> = queue
            .messages()
            .map(|it| (it.id.clone(), it.body.clone()))
            .collect();
        for (id, body) in messages {
            queue.withdraw(&id);
            queue.send(&body, "", None, Duration::ZERO, now, &mut rng);
        }
    }

    /// How many messages a queue has.
    pub fn depth(&self, queue: &str) -> usize {
        self.account().queues[queue].messages().len()
    }

    /// Invokes the function with a tick. Returns whether the tick comes back.
    pub async fn flush(&self, timeout: Duration) -> Result<bool, String> {
        let tick = {
            let now = self.now();
            let mut account = self.account();
            let mut rng = account.rng.fork();
            let ticks = account.queues.get_mut("tick.fifo").unwrap();
            ticks.deliver("window-1", now, &mut rng)
        };
        let record = json!({
            "messageId": tick.id, "receiptHandle": tick.receipt_handle(), "body": tick.body,
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:tick.fifo",
            "attributes": { "ApproximateReceiveCount": "1" },
        });
        let event = json!({ "Records": [record] });
        let answer = self.invoke(event.to_string(), timeout).await;
        // If it comes back, the next flush has another.
        let mut account = self.account();
        account
            .queues
            .get_mut("tick.fifo")
            .unwrap()
            .withdraw(&tick.id);
        let answer = answer?;
        Ok(!answer["batchItemFailures"].as_array().unwrap().is_empty())
    }

    /// Invokes the function with what is visible in SubmitQueue, batch by batch, as an event source
    /// mapping does. Returns how many messages came back.
    pub async fn submit(&self, timeout: Duration) -> Result<usize, String> {
        let mut returned = 0;
        loop {
            let messages = self.take("submit.fifo");
            if messages.is_empty() {
                return Ok(returned);
            }
            let ahead = self.account().ahead;
            let record = |message: &Message| {
                json!({
                    "messageId": message.id, "receiptHandle": message.receipt_handle(), "body": message.body,
                    "eventSource": "aws:sqs",
                    "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:submit.fifo",
                    "attributes": {
                        "ApproximateReceiveCount": message.receives.to_string(),
                        "SentTimestamp": self.shared.milliseconds(message.sent, ahead).to_string(),
                        "MessageGroupId": message.group, "MessageDeduplicationId": message.deduplication,
                    },
                })
            };
            let records: Vec<Value> = messages.iter().map(record).collect();
            let event = json!({ "Records": records }).to_string();
            let answer = self.invoke(event, timeout).await?;
            let failures = answer["batchItemFailures"].as_array().unwrap();
            let ids = failures.iter().map(|it| it["itemIdentifier"].as_str());
            let failed: BTreeSet<&str> = ids.map(Option::unwrap).collect();
            returned += failed.len();
            self.settle("submit.fifo", &messages, &failed);
        }
    }

    /// Deletes what the function did, as an event source mapping of a FIFO queue does: a message that
    /// failed fails all after it.
    pub fn settle(&self, name: &str, messages: &[Message], failed: &BTreeSet<&str>) {
        let now = self.now();
        let mut account = self.account();
        let mut rng = account.rng.fork();
        let queue = account.queues.get_mut(name).unwrap();
        let is_done = |message: &&Message| !failed.contains(message.id.as_str());
        for message in messages.iter().take_while(is_done) {
            // The function may have deleted it.
            let _ = queue.delete(&message.receipt_handle(), now, &mut rng);
        }
    }

    /// Up to ten messages of a queue, 6 MiB at most, which is what an event holds.
    pub fn take(&self, name: &str) -> Vec<Message> {
        let now = self.now();
        let mut account = self.account();
        let mut rng = account.rng.fork();
        let queue = account.queues.get_mut(name).unwrap();
        let largest = queue.messages().map(|it| it.body.len()).max();
        let most = (5_000_000 / largest.unwrap_or(1).max(1)).clamp(1, 10);
        queue.receive(most, true, now, &mut rng).messages
    }

    /// Waits until a queue is empty, or has a message that can be received.
    pub async fn something_visible(&self, name: &str) {
        let is_hidden = || {
            let now = self.now();
            let next = self.account().queues[name].next(now);
            next.is_some_and(|next| next > now)
        };
        while is_hidden() {
            tokio::time::sleep(STEP).await;
        }
    }

    /// One invocation.
    pub async fn invoke(&self, payload: String, timeout: Duration) -> Result<Value, String> {
        let (answer, answered) = oneshot::channel();
        let deadline = SystemTime::now() + self.account().ahead + timeout;
        let deadline = deadline.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        {
            let mut account = self.account();
            account.count += 1;
            let id = account.count;
            account.invocations.push(Invocation {
                id,
                payload,
                deadline,
                answer,
            });
        }
        self.shared.changed.notify_waiters();
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the function died".to_owned()),
            Err(_) => Err("the function was not done in time".to_owned()),
        }
    }

    /// The process has ended, so its invocation has failed.
    pub fn process_died(&self) {
        self.account().running.clear();
    }

    /// Waits until no process asks for invocations: one that was killed must not be given the next.
    pub async fn nobody_waits(&self) {
        while self.account().waiting > 0 {
            tokio::time::sleep(STEP).await;
        }
    }

    /// Waits until a process asks for an invocation.
    pub async fn somebody_waits(&self) {
        while self.account().waiting == 0 {
            tokio::time::sleep(STEP).await;
        }
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Account {
    /// The longest chain of calls in which each began after the one before was answered. Deletions, the look at
    /// open incidents, the count of others' invalidations and what is kept of default root objects are left out,
    /// because no invalidation waits for them.
    pub fn calls_in_a_row(&self) -> Vec<&str> {
        let mut calls: Vec<_> = self.timings.iter().collect();
        let nothing_waits = |name: &str| {
            let is_count = name.starts_with("GET") && name.contains("/invalidation");
            let is_kept = ["/state/incidents/", "/default-root-objects.json"];
            let is_kept = is_kept.iter().any(|it| name.contains(it));
            is_count || is_kept || name.contains("DeleteMessage")
        };
        calls.retain(|(name, ..)| !nothing_waits(name));
        calls.sort_by_key(|(.., end)| *end);
        let mut row = Vec::new();
        let mut free = Duration::ZERO;
        for (name, start, end) in calls {
            if *start >= free {
                row.push(name.as_str());
                free = *end;
            }
        }
        row
    }

    /// From now on nothing is answered on the connections that are open, as if a router had forgotten them.
    pub fn lose_connections(&mut self) {
        self.dead_connections.append(&mut self.connections);
    }

    fn is_dead(&mut self, connection: SocketAddr) -> bool {
        let is_dead = self.dead_connections.contains(&connection);
        if is_dead {
            self.requests_on_dead_connections += 1;
        } else {
            self.connections.insert(connection);
        }
        is_dead
    }

    /// Counts a call of SQS. Returns the code of the error that it is refused with, if it is.
    fn refusal_of_sqs(
        &mut self,
        operation: &str,
        name: &str,
        body: &Value,
        now: Duration,
    ) -> Option<&'static str> {
        let call = format!("{operation} {name}");
        *self.calls.entry(call).or_default() += 1;
        if let Some((left @ 1.., code)) = self.refused.get_mut(name) {
            *left -= 1;
            return Some(code);
        }
        let Some(queue) = self.queues.get_mut(name) else {
            return Some("QueueDoesNotExist");
        };
        if !queue.allows(operation.trim_end_matches("Batch"), now) {
            return Some("RequestThrottled");
        }
        refusals::of_sqs(operation, queue.is_fifo(), body)
    }

    /// Carries out a call, or an entry of one. Returns the code of the error that it fails with.
    fn perform(
        &mut self,
        operation: &str,
        name: &str,
        entry: &Value,
        now: Duration,
    ) -> Result<(), &'static str> {
        if self.entries_to_fail > 0 && operation.ends_with("Batch") {
            self.entries_to_fail -= 1;
            return Err("InternalError");
        }
        let mut rng = self.rng.fork();
        let queue = self.queues.get_mut(name).unwrap();
        if let Some(code) = refusals::of_sqs_entry(operation, queue.is_fifo(), entry) {
            return Err(code);
        }
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let seconds = |field: &str| Duration::from_secs(entry[field].as_u64().unwrap_or(0));
        let handle = text("ReceiptHandle").trim_end_matches('=');
        let known = match operation {
            "SendMessage" | "SendMessageBatch" => {
                let (group, delay) = (text("MessageGroupId"), seconds("DelaySeconds"));
                let id = entry["MessageDeduplicationId"].as_str();
                queue.send(text("MessageBody"), group, id, delay, now, &mut rng);
                Ok(())
            }
            "DeleteMessageBatch" => queue.delete(handle, now, &mut rng).map(drop),
            "ChangeMessageVisibilityBatch" => queue.hide(handle, seconds("VisibilityTimeout"), now),
            other => panic!("no operation {other}"),
        };
        known.map_err(|()| "ReceiptHandleIsInvalid")
    }

    /// Every path that was accepted for a distribution, in order, with repeats.
    pub fn paths(&self, distribution: &str) -> Vec<String> {
        let all = self
            .cloudfront
            .invalidations(distribution, Duration::MAX / 2);
        all.into_iter().flat_map(|it| it.paths).collect()
    }
}

impl Shared {
    /// The time of AWS's clocks, which are `ahead` of this machine's.
    fn milliseconds(&self, since_start: Duration, ahead: Duration) -> u64 {
        let time = self.epoch + since_start + ahead;
        time.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let path = head.uri.path().to_owned();
    if let Some(rest) = path.strip_prefix("/2018-06-01/runtime/") {
        return runtime(&shared, rest, &body).await;
    }
    if shared.account.lock().unwrap().is_dead(connection) {
        return std::future::pending().await;
    }
    let start = shared.start.elapsed();
    let target = head.headers.get("x-amz-target");
    let target = target.and_then(|value| value.to_str().ok());
    let name = target.map_or_else(|| format!("{} {path}", head.method), str::to_owned);
    let latency = shared.account.lock().unwrap().latency;
    let answer = match name.starts_with("GET /2020-05-31/") {
        // To write a page of large distributions takes this stand-in many milliseconds, which are a part of it.
        true => {
            let answer = answer(&shared, &head, &body).await;
            let left = latency.saturating_sub(shared.start.elapsed() - start);
            if !left.is_zero() {
                tokio::time::sleep(left).await;
            }
            answer
        }
        false => {
            tokio::time::sleep(latency).await;
            answer(&shared, &head, &body).await
        }
    };
    let end = shared.start.elapsed();
    let timings = &mut shared.account.lock().unwrap().timings;
    timings.push((name, start, end));
    answer
}

async fn answer(shared: &Shared, head: &Parts, body: &[u8]) -> Response<Body> {
    let path = head.uri.path().to_owned();
    let header = |name: &str| {
        let value = head.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let query = head.uri.query().unwrap_or_default();
    if let Some(operation) = header("x-amz-target").strip_prefix("AmazonSQS.") {
        let trace = header("x-amzn-trace-id").to_owned();
        shared.account.lock().unwrap().traces.insert(trace);
        return sqs(shared, operation, body).await;
    }
    let now = shared.start.elapsed();
    let mut account = shared.account.lock().unwrap();
    if path.starts_with("/2020-05-31/") {
        let authorization = header("authorization").to_owned();
        let request = route::Request {
            method: head.method.as_str(),
            path: &path,
            query,
            authorization: Some(&authorization),
            body,
        };
        let reply = account.cloudfront.handle(&request, now);
        return match reply.delivery {
            Delivery::Answer(answer) => {
                let mut response = answered(answer.status, answer.body);
                for (name, value) in answer.headers {
                    let value = value.parse().expect("the value of a header");
                    response.headers_mut().insert(name, value);
                }
                response
            }
            Delivery::BreakOff => {
                let broken = Err::<&str, _>(io::Error::from(io::ErrorKind::BrokenPipe));
                answered(200, Body::from_stream(stream::iter([broken])))
            }
            Delivery::Hang => panic!("no such fault here"),
        };
    }
    if head.method == "POST" {
        return sns(&mut account, body);
    }
    if head.method == "GET" && query.contains("tagging") {
        *account
            .calls
            .entry("GetBucketTagging".to_owned())
            .or_default() += 1;
        let tag = |(key, value): &(&str, &str)| {
            assert_eq!(tags::refusal(value), None, "{value}");
            format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")
        };
        let tags: String = account.tags.iter().map(tag).collect();
        return match tags.is_empty() {
            true => answered(404, "<Error><Code>NoSuchTagSet</Code></Error>"),
            false => answered(200, format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")),
        };
    }
    if let Some((_, key)) = path.split_once("/state/") {
        let key = &format!("state/{key}");
        let body = String::from_utf8_lossy(body);
        let (status, e_tag, body) = match head.method.as_str() {
            "GET" => account.objects.get(key),
            _ if !account.is_bucket_writable => (403, None, "AccessDenied".to_owned()),
            _ => {
                let conditions = (header("if-match"), header("if-none-match"));
                account.objects.put(key, conditions, &body)
            }
        };
        let body = match status {
            200 => body,
            _ => format!("<Error><Code>{body}</Code></Error>"),
        };
        let mut answer = answered(status, body);
        if let Some(e_tag) = e_tag {
            answer.headers_mut().insert("etag", e_tag.parse().unwrap());
        } else if account.objects.is_deleted(key) {
            let marker = HeaderValue::from_static("true");
            answer.headers_mut().insert("x-amz-delete-marker", marker);
        }
        return answer;
    }
    assert_eq!(head.method, "PUT", "{path}");
    if !account.is_bucket_writable {
        return answered(
            403,
            "<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
        );
    }
    let text = String::from_utf8(body.to_vec()).unwrap();
    account.files.push((path, text));
    answered(200, "")
}

fn sns(account: &mut Account, body: &[u8]) -> Response<Body> {
    let form: BTreeMap<String, String> = String::from_utf8_lossy(body)
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    assert_eq!(field("Action"), "Publish");
    if let Some(code) = refusals::of_sns(field("Subject"), field("Message")) {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code></Error>");
        return answered(400, format!("<ErrorResponse>{error}</ErrorResponse>"));
    }
    account
        .mails
        .push(String::from_utf8_lossy(body).into_owned());
    answered(
        200,
        "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>",
    )
}

fn decoded(form_encoded: &str) -> String {
    let spaced = form_encoded.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().unwrap().into()
}

fn answered(status: u16, body: impl Into<Body>) -> Response<Body> {
    let response = Response::builder().status(status);
    response.body(body.into()).unwrap()
}

/// A process that waits for an invocation, until its connection ends.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.account.lock().unwrap().waiting += 1;
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.account.lock().unwrap().waiting -= 1;
    }
}

/// What Lambda and X-Ray know an invocation by.
fn trace_id(invocation: u64) -> String {
    format!("Root=1-5759e988-bd862e3fe1be46a994{invocation:06};Parent=53995c3f42cd8ad8;Sampled=0")
}

/// The Runtime API of Lambda.
async fn runtime(shared: &Shared, path: &str, body: &[u8]) -> Response<Body> {
    if path == "invocation/next" {
        let _waiting = Waiting::begin(shared);
        loop {
            let changed = shared.changed.notified();
            {
                let mut account = shared.account.lock().unwrap();
                if !account.invocations.is_empty() {
                    let next = account.invocations.remove(0);
                    account.running.insert(next.id, next.answer);
                    return Response::builder()
                        .header("Content-Type", "application/json")
                        .header("Lambda-Runtime-Aws-Request-Id", next.id.to_string())
                        .header("Lambda-Runtime-Deadline-Ms", next.deadline.to_string())
                        .header("Lambda-Runtime-Trace-Id", trace_id(next.id))
                        .header(
                            "Lambda-Runtime-Invoked-Function-Arn",
                            "arn:aws:lambda:us-east-1:123456789012:function:invalidator",
                        )
                        .body(next.payload.into())
                        .unwrap();
                }
            }
            changed.await;
        }
    }
    let rest = path.strip_prefix("invocation/").unwrap_or_default();
    let (id, outcome) = rest.split_once('/').unwrap_or((rest, "init"));
    let text = String::from_utf8_lossy(body).into_owned();
    let answer = match outcome {
        "response" => Ok(serde_json::from_slice(body).unwrap_or(Value::Null)),
        _ => Err(text),
    };
    let id: u64 = id.parse().unwrap_or(0);
    let mut account = shared.account.lock().unwrap();
    if let Some(process) = account.process {
        // Before it is answered: what it does then is no longer this invocation.
        account.processor = processor_time(process);
    }
    if let Some(running) = account.running.remove(&id) {
        let _ = running.send(answer);
    }
    answered(202, "{}")
}

async fn sqs(shared: &Shared, operation: &str, body: &[u8]) -> Response<Body> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let name = body["QueueUrl"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap();
    let now = shared.start.elapsed();
    let refusal = {
        let mut account = shared.account.lock().unwrap();
        account.refusal_of_sqs(operation, name, &body, now)
    };
    if let Some(code) = refusal {
        return answered(400, json!({ "__type": code }).to_string());
    }
    if operation == "ReceiveMessage" {
        let wait = Duration::from_secs(body["WaitTimeSeconds"].as_u64().unwrap_or(0));
        let until = shared.start.elapsed() + wait;
        loop {
            if let Some(answer) = receive(shared, name) {
                return answer;
            }
            if shared.start.elapsed() >= until {
                return answered(200, "{}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let mut account = shared.account.lock().unwrap();
    if (operation, name) == ("DeleteMessageBatch", "buffer") {
        account.last_deleted = now;
    }
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let alone = std::slice::from_ref(&body);
    for entry in body["Entries"].as_array().map_or(alone, Vec::as_slice) {
        let id = &entry["Id"];
        match account.perform(operation, name, entry, now) {
            Ok(()) => {
                let checksum = checksum(entry["MessageBody"].as_str().unwrap_or_default());
                done.push(json!({ "Id": id, "MessageId": "m", "MD5OfMessageBody": checksum }));
            }
            Err(code) => failed.push(json!({ "Id": id, "SenderFault": true, "Code": code })),
        }
    }
    if operation == "SendMessage" {
        return answered(200, done[0].to_string());
    }
    answered(
        200,
        json!({ "Successful": done, "Failed": failed }).to_string(),
    )
}

/// Some SDKs compare it with their own.
fn checksum(text: &str) -> String {
    let bytes = Md5::digest(text);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn receive(shared: &Shared, name: &str) -> Option<Response<Body>> {
    let now = shared.start.elapsed();
    let mut account = shared.account.lock().unwrap();
    let mut rng = account.rng.fork();
    let queue = account.queues.get_mut(name).unwrap();
    let received = queue.receive(10, true, now, &mut rng).messages;
    if received.is_empty() {
        return None;
    }
    account.last_received = now;
    if let Some(left) = &mut account.receives_until_one_fails {
        if *left == 0 {
            account.receives_until_one_fails = None;
            return Some(answered(400, r#"{"__type":"AccessDenied"}"#));
        }
        *left -= 1;
    }
    let ahead = account.ahead;
    let message = |message: &Message| {
        json!({
            "MessageId": message.id, "ReceiptHandle": format!("{:=<HANDLE$}", message.receipt_handle()),
            "MD5OfBody": checksum(&message.body), "Body": message.body,
            "Attributes": {
                "SentTimestamp": shared.milliseconds(message.sent, ahead).to_string(),
                "ApproximateReceiveCount": message.receives.to_string(),
            },
        })
    };
    let messages: Vec<Value> = received.iter().map(message).collect();
    Some(answered(200, json!({ "Messages": messages }).to_string()))
}
