//! The simulated account: the effects of the function's calls, and a record of them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::faults::{Call, Fault};
use crate::lambda::Stage;
use crate::objects::Objects;
use crate::queue::{Queue, Settings};
use crate::scenario::{Kind, Scenario, epoch};
use crate::waiter::Waited;
use crate::{refusals, tags};
use invalidator_core::cost::ledger::{LEDGER_KEY, Ledger, Terms, Trust};
use invalidator_core::event::BucketName;
use invalidator_core::fence::FOLDER;
use invalidator_core::pause::PAUSES_KEY;
use invalidator_core::retry::VISIBILITY_TIMEOUT;
use invalidator_core::state::{Beginning, SharedState, StateObject};
use invalidator_core::target::{DistributionId, Target};
use strict_cloudfront::route::Request as CloudFrontRequest;
use strict_cloudfront::service::{Delivery, Service};

#[derive(Clone, Debug)]
pub struct Request {
    pub service: String,
    pub method: String,
    pub path: String,
    pub query: String,
    pub authorization: String,
    /// `x-amz-target`
    pub target: String,
    /// `If-Match` and `If-None-Match`.
    pub conditions: (String, String),
    pub body: Vec<u8>,
}

impl Request {
    pub fn creates_invalidation(&self) -> bool {
        self.method == "POST" && self.path.ends_with("/invalidation")
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    fn json(body: &Value) -> Self {
        Self::new(200, body.to_string())
    }

    fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }
}

#[derive(Debug)]
pub struct ErrorFile {
    pub key: String,
    pub at: Duration,
    pub distribution: String,
    pub paths: Vec<String>,
}

#[derive(Debug)]
pub struct Attempt {
    pub at: Duration,
    /// The body, with its caller reference.
    pub call: u64,
    pub status: u16,
}

/// The state of the account.
pub struct World {
    pub scenario: Scenario,
    pub rng: Rng,
    pub buffer: Queue,
    pub tick: Queue,
    pub submit: Queue,
    pub cloudfront: Service,
    pub files: Vec<ErrorFile>,
    /// The error files of messages that cannot be read: key and body.
    pub unreadable: Vec<(String, String)>,
    /// How many objects of changes were taken that were held back, and how many lines were put back.
    pub held: u64,
    pub put_back: u64,
    pub thrown_away: u64,
    /// How often the list of pauses was read.
    pub looks: u64,
    /// The waits that ended.
    pub waited: Vec<Waited>,
    /// The bodies of `Publish`.
    pub mails: Vec<String>,
    /// The error files that were written while the ledger still trusted a target that they are about.
    pub filed_in_trust: Vec<String>,
    /// The objects of the error bucket that are no error files.
    pub objects: Objects,
    /// How many events are in delivery, and effects still to come.
    pub pending: usize,
    /// Invocations that run.
    pub running: usize,
    /// The longest time that a throttled batch of a queue waited for its invocation.
    pub kept_waiting: BTreeMap<Stage, Duration>,
    /// Flushes that run, and the most that ever ran at a time.
    pub flushes: usize,
    pub most_flushes: usize,
    pub faults: BTreeMap<String, u64>,
    pub calls: u64,
    pub invocations: u64,
    /// Attempts at invalidations, each with its outcome.
    pub attempts: Vec<Attempt>,
    /// Calls of each environment that are under way, and the most there ever were at a time.
    pub under_way: BTreeMap<u64, usize>,
    pub most_under_way: usize,
    hash: DefaultHasher,
    trace: bool,
}

/// A ledger that trusts every distribution.
fn trusting() -> Ledger {
    let mut ledger = Ledger::begin(Beginning::First);
    let terms = Terms {
        e_tag: "v1".to_owned(),
        buckets: BTreeMap::from([(BucketName::new("site"), "r1".to_owned())]),
    };
    let asked = OffsetDateTime::from(epoch()) - Duration::from_secs(3_600);
    for id in ["E1", "E2", "E3", "E4", "E5"] {
        ledger.observe(asked, &target(id), &terms);
        ledger.grant(asked, &target(id), terms.clone());
    }
    ledger
}

fn target(id: &str) -> Target {
    Target {
        distribution: DistributionId::new(id),
        tenant: None,
    }
}

/// How long the queues of the template keep messages.
const FORTNIGHT: Duration = Duration::from_secs(14 * 24 * 3_600);
const HOUR: Duration = Duration::from_secs(3_600);

/// A handle on the account.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
    start: Instant,
}

impl Sim {
    pub fn new(scenario: Scenario, trace: bool) -> Self {
        let queue = |name, fifo, delay, retention| {
            let settings = Settings {
                fifo,
                delay,
                visibility: VISIBILITY_TIMEOUT,
                max_receives: 1_000,
                retention,
            };
            Queue::new(name, settings)
        };
        let mut world = World {
            rng: Rng::with_seed(scenario.seed ^ 0x5eed),
            buffer: queue("buffer", false, Duration::ZERO, FORTNIGHT),
            tick: queue("tick.fifo", true, scenario.debounce, HOUR),
            submit: queue("submit.fifo", true, Duration::ZERO, FORTNIGHT),
            cloudfront: Service::new(OffsetDateTime::from(epoch())),
            files: Vec::new(),
            unreadable: Vec::new(),
            waited: Vec::new(),
            mails: Vec::new(),
            filed_in_trust: Vec::new(),
            objects: Objects::default(),
            held: 0,
            put_back: 0,
            thrown_away: 0,
            looks: 0,
            pending: 0,
            running: 0,
            kept_waiting: BTreeMap::new(),
            flushes: 0,
            most_flushes: 0,
            faults: BTreeMap::new(),
            calls: 0,
            invocations: 0,
            attempts: Vec::new(),
            under_way: BTreeMap::new(),
            most_under_way: 0,
            hash: DefaultHasher::new(),
            trace,
            scenario,
        };
        world.buffer.moods = world.scenario.moods;
        world.scenario.set_up(&mut world.cloudfront);
        world
            .objects
            .put(LEDGER_KEY, ("", ""), &trusting().to_json().unwrap());
        Self {
            world: Arc::new(Mutex::new(world)),
            changed: Arc::default(),
            start: Instant::now(),
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time of day on a clock that is ahead by `skew` milliseconds.
    pub fn time_of_day(&self, skew: i64) -> SystemTime {
        let time = epoch() + self.world().scenario.phase + self.now();
        let by = Duration::from_millis(skew.unsigned_abs());
        if skew < 0 { time - by } else { time + by }
    }

    /// A line of the trace.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        let now = self.now();
        self.world().note(now, line);
    }

    /// Notes that there may be a message to receive.
    pub fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until a queue may have a message, or `until`.
    pub async fn wait(&self, queue: fn(&mut World) -> &mut Queue, until: Duration) {
        let now = self.now();
        let changed = self.changed.notified();
        let next = queue(&mut self.world()).next(now);
        let until = next.map_or(until, |next| next.min(until));
        // Timers have a resolution of a millisecond.
        let time = until.saturating_sub(now).max(Duration::from_millis(1));
        let _ = tokio::time::timeout(time, changed).await;
    }

    /// Carries out a request.
    pub fn perform(&self, request: &Request, flawed: Option<Fault>) -> Answer {
        let now = self.now();
        let answer = match request.service.as_str() {
            "sqs" => self.world().sqs(request, flawed, now),
            "s3" => self.world().s3(request, now),
            "sns" => self.world().sns(request),
            _ => self.world().cloudfront(request, now),
        };
        self.notify();
        self.world().hash_call(request, &answer);
        answer
    }
}

impl World {
    pub fn note(&mut self, now: Duration, line: impl FnOnce() -> String) {
        self.hash.write_u128(now.as_nanos());
        if self.trace {
            println!("{:>10.3} {}", now.as_secs_f64(), line());
        }
    }

    /// Adds a call to the hash.
    pub fn hash_call(&mut self, request: &Request, answer: &Answer) {
        for part in [
            request.path.as_bytes(),
            &request.body,
            answer.body.as_bytes(),
        ] {
            self.hash.write(part);
        }
    }

    /// How long a call is on its way, there or back.
    pub fn latency(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(3..60))
    }

    /// The hash over all calls and answers, and over the times of all lines of the trace. It tells
    /// whether two runs are the same.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub fn fault(&mut self, kind: impl ToString) {
        *self.faults.entry(kind.to_string()).or_default() += 1;
    }

    /// A random decision with this probability; always `false` after the last fault.
    pub fn dice(&mut self, probability: f64, now: Duration) -> bool {
        probability > 0.0 && now < self.scenario.healed_at && self.rng.f64() < probability
    }

    /// What goes wrong with this call, if something does.
    pub fn strike(&mut self, call: Call, now: Duration) -> Option<Fault> {
        let was_struck = self.scenario.kind == Kind::LostReceives && !self.faults.is_empty();
        if now >= self.scenario.healed_at || was_struck {
            return None;
        }
        for rule in &self.scenario.rules {
            if rule.strikes(call) && self.rng.f64() < rule.probability {
                let fault = rule.fault;
                // Which entries fail can only be chosen once they are known.
                if fault != Fault::EntriesFail {
                    self.fault(fault);
                }
                return Some(fault);
            }
        }
        None
    }

    fn queue(&mut self, url: &Value) -> &mut Queue {
        match url.as_str().unwrap().rsplit('/').next().unwrap() {
            "buffer" => &mut self.buffer,
            "tick.fifo" => &mut self.tick,
            "submit.fifo" => &mut self.submit,
            other => panic!("no queue {other}"),
        }
    }

    fn sqs(&mut self, request: &Request, flawed: Option<Fault>, now: Duration) -> Answer {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let url = &body["QueueUrl"];
        let action = request.target.trim_start_matches("AmazonSQS.");
        let queue = self.queue(url);
        assert_eq!(refusals::of_sqs(action, queue.is_fifo(), &body), None);
        if !queue.allows(action.trim_end_matches("Batch"), now) {
            self.fault("a FIFO queue throttles");
            return failure("sqs", true);
        }
        let mut rng = self.rng.fork();
        match request.target.as_str() {
            "AmazonSQS.SendMessage" => {
                let text = |field: &str| body[field].as_str().unwrap();
                let id = match flawed {
                    Some(Fault::Vanishes) => None,
                    _ => self.queue(url).send(
                        text("MessageBody"),
                        text("MessageGroupId"),
                        Some(text("MessageDeduplicationId")),
                        Duration::ZERO,
                        now,
                        &mut rng,
                    ),
                };
                let id = id.unwrap_or_else(|| "not-enqueued".to_owned());
                Answer::json(&json!({ "MessageId": id, "MD5OfMessageBody": "" }))
            }
            "AmazonSQS.ReceiveMessage" => panic!("received apart"),
            _ => self.sqs_batch(request, &body, flawed, now),
        }
    }

    fn sqs_batch(
        &mut self,
        request: &Request,
        body: &Value,
        flawed: Option<Fault>,
        now: Duration,
    ) -> Answer {
        let url = &body["QueueUrl"];
        let entries = body["Entries"].as_array().unwrap();
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        let spared = match flawed {
            Some(Fault::EntriesFail) => Some(self.rng.usize(0..entries.len())),
            _ => None,
        };
        for (n, entry) in entries.iter().enumerate() {
            let id = &entry["Id"];
            // At least one fails, the others by chance.
            if spared.is_some_and(|one| one == n) || (spared.is_some() && self.rng.bool()) {
                self.fault(Fault::EntriesFail);
                failed.push(json!({ "Id": id, "SenderFault": false, "Code": "InternalError" }));
                continue;
            }
            let is_fifo = self.queue(url).is_fifo();
            let action = request.target.trim_start_matches("AmazonSQS.");
            assert_eq!(refusals::of_sqs_entry(action, is_fifo, entry), None);
            let handle = entry["ReceiptHandle"].as_str().unwrap_or_default();
            let mut rng = self.rng.fork();
            let done = match request.target.as_str() {
                "AmazonSQS.SendMessageBatch" => {
                    let text = entry["MessageBody"].as_str().unwrap();
                    let group = entry["MessageGroupId"].as_str().unwrap_or_default();
                    let deduplication = entry["MessageDeduplicationId"].as_str();
                    let delay = Duration::from_secs(entry["DelaySeconds"].as_u64().unwrap_or(0));
                    let queue = self.queue(url);
                    let message = queue.send(text, group, deduplication, delay, now, &mut rng);
                    let result = json!({ "Id": id, "MessageId": message, "MD5OfMessageBody": "" });
                    successful.push(result);
                    continue;
                }
                "AmazonSQS.DeleteMessageBatch" => {
                    let again = self.queue(url).delete(handle, now, &mut rng);
                    if again == Ok(true) {
                        self.fault("comes again after it was deleted");
                    }
                    again.map(|_| ())
                }
                "AmazonSQS.ChangeMessageVisibilityBatch" => {
                    self.queue(url).hide(handle, seconds(entry), now)
                }
                other => panic!("no operation {other}"),
            };
            match done {
                Ok(()) => successful.push(json!({ "Id": id })),
                Err(()) => failed.push(
                    json!({ "Id": id, "SenderFault": true, "Code": "ReceiptHandleIsInvalid" }),
                ),
            }
        }
        Answer::json(&json!({ "Successful": successful, "Failed": failed }))
    }

    /// Tries once to receive from a queue, for a `ReceiveMessage`.
    pub fn receive(&mut self, body: &Value, now: Duration) -> Option<Answer> {
        let most = usize::try_from(body["MaxNumberOfMessages"].as_u64().unwrap()).unwrap();
        let long = body["WaitTimeSeconds"].as_u64().unwrap_or_default() > 0;
        let healed = now >= self.scenario.healed_at;
        let mut rng = self.rng.fork();
        let phase = self.scenario.phase;
        let queue = self.queue(&body["QueueUrl"]);
        if healed {
            queue.moods.comes_twice = 0.0;
            queue.moods.survives_deletion = 0.0;
            queue.moods.long_poll_misses = 0.0;
        }
        let received = queue.receive(most, long, now, &mut rng);
        if received.not_hidden > 0 {
            let count = self.faults.entry("comes twice".to_owned()).or_default();
            *count += received.not_hidden;
        }
        if received.missed > 0 && long {
            self.fault("a long poll misses what waits");
            return Some(Answer::json(&json!({})));
        }
        if received.messages.is_empty() {
            return None;
        }
        let message = |message: &crate::queue::Message| {
            json!({
                "MessageId": message.id, "ReceiptHandle": message.receipt_handle(),
                "MD5OfBody": "", "Body": message.body,
                "Attributes": {
                    "SentTimestamp": milliseconds(phase, message.sent),
                    "ApproximateReceiveCount": message.receives.to_string(),
                },
            })
        };
        let messages: Vec<Value> = received.messages.iter().map(message).collect();
        Some(Answer::json(&json!({ "Messages": messages })))
    }

    fn s3(&mut self, request: &Request, now: Duration) -> Answer {
        let mut segments = request.path.trim_start_matches('/').splitn(2, '/');
        let bucket = segments.next().unwrap();
        if request.method == "GET" && request.query.contains("tagging") {
            return match self.scenario.tags(bucket) {
                Some((_, value)) if tags::refusal(value).is_some() => panic!("{value}"),
                Some((key, value)) => Answer::new(
                    200,
                    format!(
                        "<Tagging><TagSet><Tag><Key>{key}</Key><Value>{value}</Value></Tag></TagSet></Tagging>"
                    ),
                ),
                None => Answer::new(404, error_xml("NoSuchTagSet")),
            };
        }
        if request.method == "GET" && request.query.contains("list-type=2") {
            return self.list(bucket, &request.query, now);
        }
        let key = percent_decode_str(segments.next().unwrap()).decode_utf8_lossy();
        if key.starts_with("state/") || key.starts_with(FOLDER) {
            return self.state(request, &key);
        }
        assert_eq!((request.method.as_str(), bucket), ("PUT", "errors"));
        assert!(key.starts_with("invalidation_error/"), "{key}");
        let text = String::from_utf8(request.body.clone()).unwrap();
        if key.ends_with("_unreadable.txt") {
            if self.ledger().trusts_any() {
                self.filed_in_trust.push(key.to_string());
            }
            self.unreadable.push((key.into_owned(), text));
        } else {
            let distribution = text
                .strip_prefix("CloudFront Id [")
                .and_then(|rest| Some(rest.split_once(']')?.0.to_owned()))
                .unwrap_or_else(|| panic!("not an error file: {text}"));
            if let Some(Trust::Trusted { .. }) = self.ledger().trust_of(&target(&distribution)) {
                self.filed_in_trust.push(key.to_string());
            }
            let paths = text.lines().filter(|line| line.starts_with('/'));
            self.files.push(ErrorFile {
                key: key.into_owned(),
                at: now,
                distribution,
                paths: paths.map(str::to_owned).collect(),
            });
        }
        let mut answer = Answer::new(200, "");
        answer.headers.push(("etag", "\"0\"".to_owned()));
        answer
    }

    /// The ledger in the error bucket.
    pub fn ledger(&self) -> Ledger {
        let (_, _, body) = self.objects.get(LEDGER_KEY);
        Ledger::from_json(&body).unwrap()
    }

    /// `ListObjectsV2`, on one page: all keys that have changed so far. Every other account does not allow it.
    fn list(&self, bucket: &str, query: &str, now: Duration) -> Answer {
        if self.scenario.seed % 2 == 1 {
            return Answer::new(403, error_xml("AccessDenied"));
        }
        let prefix = query.split('&').find_map(|it| it.strip_prefix("prefix="));
        let prefix = percent_decode_str(prefix.unwrap_or_default()).decode_utf8_lossy();
        let happened = self.scenario.events.iter().filter(|event| event.at <= now);
        let changes = happened.flat_map(|event| &event.changes);
        let keys = changes.filter(|it| it.bucket == bucket && it.key.starts_with(&*prefix));
        let keys: BTreeSet<&str> = keys.map(|it| it.key.as_str()).collect();
        let object = |key: &&str| {
            let key = key.replace('&', "&amp;").replace('<', "&lt;");
            format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")
        };
        let objects: String = keys.iter().take(1_000).map(object).collect();
        let is_truncated = keys.len() > 1_000;
        Answer::new(
            200,
            format!(
                "<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{objects}</ListBucketResult>"
            ),
        )
    }

    /// An object that is read and written conditionally.
    fn state(&mut self, request: &Request, key: &str) -> Answer {
        let (status, e_tag, body) = match request.method.as_str() {
            "GET" => {
                self.looks += u64::from(key == PAUSES_KEY);
                self.objects.get(key)
            }
            _ => {
                let (if_match, if_none_match) = &request.conditions;
                let body = String::from_utf8_lossy(&request.body);
                self.objects.put(key, (if_match, if_none_match), &body)
            }
        };
        let body = if status == 200 {
            body
        } else {
            error_xml(&body)
        };
        let mut answer = Answer::new(status, body);
        answer.headers.extend(e_tag.map(|e_tag| ("etag", e_tag)));
        answer
    }

    fn sns(&mut self, request: &Request) -> Answer {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        self.mails.push(body);
        Answer::new(
            200,
            "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishResponse>",
        )
    }

    fn cloudfront(&mut self, request: &Request, now: Duration) -> Answer {
        let answer = self.answer_of_cloudfront(request, now);
        if request.creates_invalidation() {
            let mut call = DefaultHasher::new();
            call.write(request.path.as_bytes());
            call.write(&request.body);
            self.attempts.push(Attempt {
                at: now,
                call: call.finish(),
                status: answer.status,
            });
        }
        answer
    }

    fn answer_of_cloudfront(&mut self, request: &Request, now: Duration) -> Answer {
        if request.creates_invalidation()
            && let Some(answer) = self.refusal(request, now)
        {
            return answer;
        }
        let request = CloudFrontRequest {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            authorization: Some(&request.authorization),
            body: &request.body,
        };
        match self.cloudfront.handle(&request, now).delivery {
            Delivery::Answer(answer) => Answer {
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
            },
            Delivery::Hang | Delivery::BreakOff => panic!("the stand-in has no faults of its own"),
        }
    }

    /// What this scenario's CloudFront always rejects.
    fn refusal(&mut self, request: &Request, now: Duration) -> Option<Answer> {
        let (code, status) = self.scenario.refusal(&request.path, &request.body, now)?;
        self.fault(format!("CloudFront refuses: {code}"));
        Some(Answer::new(status, cloudfront_error(code)))
    }
}

/// A time of day as SQS writes it.
pub fn milliseconds(phase: Duration, since_start: Duration) -> String {
    let time = epoch() + phase + since_start;
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since_epoch.as_millis().to_string()
}

fn seconds(of: &Value) -> Duration {
    Duration::from_secs(of["VisibilityTimeout"].as_u64().unwrap())
}

fn error_json(code: &str) -> String {
    json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "simulated" }).to_string()
}

fn error_xml(code: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>simulated</Message></Error>")
}

fn cloudfront_error(code: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>simulated</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    )
}

/// How a service says that it failed, or that it was asked too often.
pub fn failure(service: &str, throttled: bool) -> Answer {
    match (service, throttled) {
        ("sqs", true) => Answer::new(400, error_json("RequestThrottled")),
        ("sqs", false) => Answer::new(500, error_json("InternalError")),
        ("s3", true) => Answer::new(503, error_xml("SlowDown")),
        ("s3", false) => Answer::new(500, error_xml("InternalError")),
        (_, true) => Answer::new(400, cloudfront_error("Throttling")),
        (_, false) => Answer::new(503, cloudfront_error("ServiceUnavailable")),
    }
}
