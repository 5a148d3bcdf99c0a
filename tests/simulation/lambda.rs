//! Lambda: execution environments that run the real function, asynchronous events with their
//! retries, event source mappings, and the schedule of the sweep.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_lambda_events::sqs::SqsBatchResponse;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use aws_types::SdkConfig;
use aws_types::region::Region;
use invalidator::app::App;
use invalidator::aws::{Clients, Endpoints, sdk_config};
use invalidator::clock::Clock;
use invalidator::config::Config;
use invalidator::handler::handle;
use invalidator::metrics::Metrics;
use invalidator_core::retry::{FUNCTION_TIMEOUT, VISIBILITY_TIMEOUT};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::connector::Connector;
use crate::queue::{Message, Queue};
use crate::scenario::{Event, Kind, SWEEP, payload};
use crate::world::{Sim, World, milliseconds};

/// The function's timeout in the template.
const TIMEOUT: Duration = FUNCTION_TIMEOUT;

/// `MaximumConcurrency` of the template's mapping of SubmitQueue.
const SUBMITS_AT_ONCE: usize = 8;

/// `MaximumEventAgeInSeconds` of the template.
const MAXIMUM_EVENT_AGE: Duration = Duration::from_secs(21_600);

/// The function, deployed.
#[derive(Clone)]
pub struct Lambda {
    pub sim: Sim,
    idle: Arc<Mutex<Vec<Environment>>>,
    started: Arc<Mutex<u64>>,
    pub deliveries: Arc<Mutex<Vec<Delivery>>>,
}

/// The fate of an event.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// When an invocation with it first succeeded: from then on the function must not lose it.
    pub accepted: Option<Duration>,
    /// Whether it went to the on-failure queue.
    pub given_up: bool,
}

struct Environment {
    number: u64,
    app: App,
}

/// What an invocation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Ingest,
    Flush,
    Submit,
}

/// Why an invocation did no work, or its work does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// The function died, or its answer is an error.
    Function,
    /// The account's concurrency is used up, so Lambda did not start the function.
    Throttled,
}

impl Lambda {
    pub fn new(sim: Sim) -> Self {
        let events = sim.world().scenario.events.len();
        Self {
            sim,
            idle: Arc::default(),
            started: Arc::default(),
            deliveries: Arc::new(Mutex::new(vec![Delivery::default(); events])),
        }
    }

    /// Starts everything that invokes the function.
    pub fn start(&self) {
        let events = self.sim.world().scenario.events.clone();
        for (n, event) in events.into_iter().enumerate() {
            self.sim.world().pending += 1;
            spawn_local(self.clone().deliver(n, event));
        }
        spawn_local(self.clone().map(Mapping {
            queue: |world| &mut world.tick,
            source: "arn:aws:sqs:sim:123456789012:tick.fifo",
            // All ticks are in one group.
            at_once: 1,
            stage: Stage::Flush,
        }));
        spawn_local(self.clone().map(Mapping {
            queue: |world| &mut world.submit,
            source: "arn:aws:sqs:sim:123456789012:submit.fifo",
            at_once: SUBMITS_AT_ONCE,
            stage: Stage::Submit,
        }));
        spawn_local(self.clone().sweep());
    }

    async fn sweep(self) {
        let mut n = 0;
        loop {
            sleep(SWEEP).await;
            n += 1;
            let (now, body) = (self.sim.now(), format!("{{\"sweep\":{n}}}"));
            {
                let mut world = self.sim.world();
                let mut rng = world.rng.fork();
                let tick = &mut world.tick;
                tick.send(&body, "flush", Some(&body), Duration::ZERO, now, &mut rng);
            }
            self.sim.trace(|| format!("sweep {n}"));
            self.sim.notify();
        }
    }

    /// An asynchronous event: at least once, and twice more if it fails. While it is throttled, Lambda
    /// repeats it for six hours: after a second, doubling to five minutes.
    async fn deliver(self, n: usize, event: Event) {
        let late = {
            let mut world = self.sim.world();
            match world.scenario.kind {
                Kind::Edges => world.rng.u64(0..50),
                _ => world.rng.u64(100..1_500),
            }
        };
        sleep(event.at + Duration::from_millis(late)).await;
        let phase = self.sim.world().scenario.phase;
        let payload = payload(&event, phase).to_string();
        let mut waits = [60, 120].into_iter();
        let mut throttled = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        loop {
            let result = self.invoke(Stage::Ingest, &payload).await;
            let now = self.sim.now();
            if result == Err(Failed::Throttled) && now < event.at + MAXIMUM_EVENT_AGE {
                sleep(throttled.next(&self.sim)).await;
                continue;
            }
            if result.is_ok() {
                let mut deliveries = self.deliveries.lock().unwrap();
                deliveries[n].accepted.get_or_insert(now);
            }
            let (twice, told_twice) = {
                let mut world = self.sim.world();
                let told_twice = world.scenario.told_twice;
                (world.dice(told_twice, now), world.rng.u64(0..120))
            };
            match result {
                Ok(_) if !twice => break,
                Ok(_) => {
                    self.sim.world().fault("S3 tells an event twice");
                    sleep(Duration::from_secs(told_twice)).await;
                }
                Err(_) => match waits.next() {
                    Some(wait) => sleep(Duration::from_secs(wait)).await,
                    None => {
                        self.sim
                            .trace(|| format!("event {n} goes to the on-failure queue"));
                        self.deliveries.lock().unwrap()[n].given_up = true;
                        break;
                    }
                },
            }
        }
        self.sim.world().pending -= 1;
    }

    /// An event source mapping with `ReportBatchItemFailures`.
    async fn map(self, mapping: Mapping) {
        let running = Arc::new(Semaphore::new(mapping.at_once));
        loop {
            let permit = running.clone().acquire_owned().await.unwrap();
            let now = self.sim.now();
            let received = {
                let mut world = self.sim.world();
                let mut rng = world.rng.fork();
                (mapping.queue)(&mut world).receive(BATCH, true, now, &mut rng)
            };
            if received.messages.is_empty() {
                drop(permit);
                let next_look = now + Duration::from_secs(20);
                self.sim.wait(mapping.queue, next_look).await;
                let latency = self.sim.world().latency();
                sleep(latency).await;
                continue;
            }
            self.sim.world().pending += 1;
            let overlaps = {
                let mut world = self.sim.world();
                let overlap = world.scenario.overlap;
                mapping.stage == Stage::Flush && world.dice(overlap, now)
            };
            if overlaps {
                self.sim.world().fault("two flushes at once");
                let (this, payload) = (self.clone(), self.payload(&mapping, &received.messages));
                this.sim.world().pending += 1;
                spawn_local(async move {
                    let late = this.sim.world().rng.u64(0..3_000);
                    sleep(Duration::from_millis(late)).await;
                    let _ = this.invoke(Stage::Flush, &payload).await;
                    this.sim.world().pending -= 1;
                });
            }
            let this = self.clone();
            spawn_local(async move {
                this.process(&mapping, &received.messages).await;
                this.sim.world().pending -= 1;
                drop(permit);
            });
        }
    }

    async fn process(&self, mapping: &Mapping, messages: &[Message]) {
        let result = self.invoke_for(mapping, messages).await;
        let now = self.sim.now();
        let Ok(SqsBatchResponse {
            batch_item_failures: failures,
            ..
        }) = result
        else {
            return;
        };
        let known = |id: &String| messages.iter().any(|message| message.id == *id);
        assert!(failures.iter().all(|it| known(&it.item_identifier)));
        let mut world = self.sim.world();
        for message in messages {
            // In a FIFO queue, a failed message fails all after it, of other groups too.
            if failures.iter().any(|it| it.item_identifier == message.id) {
                break;
            }
            let forgets = world.scenario.mapping_forgets;
            if world.dice(forgets, now) {
                world.fault("the mapping does not delete");
                continue;
            }
            let mut rng = world.rng.fork();
            let _ = (mapping.queue)(&mut world).delete(&message.receipt_handle(), now, &mut rng);
        }
        drop(world);
        self.sim.notify();
    }

    /// A poller keeps its batch while Lambda throttles it, and tries again less and less often, until
    /// the messages become visible again. How often is not documented, so it is seldom here.
    async fn invoke_for(
        &self,
        mapping: &Mapping,
        messages: &[Message],
    ) -> Result<SqsBatchResponse, Failed> {
        let until = self.sim.now() + VISIBILITY_TIMEOUT;
        let payload = self.payload(mapping, messages);
        let mut throttled = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
        loop {
            let result = self.invoke(mapping.stage, &payload).await;
            let wait = throttled.next(&self.sim);
            if result != Err(Failed::Throttled) || self.sim.now() + wait > until {
                return result;
            }
            sleep(wait).await;
            let kept_waiting = &mut self.sim.world().kept_waiting;
            let longest = kept_waiting.entry(mapping.stage).or_default();
            *longest = (*longest).max(self.sim.now() + VISIBILITY_TIMEOUT - until);
        }
    }

    fn payload(&self, mapping: &Mapping, messages: &[Message]) -> String {
        let phase = self.sim.world().scenario.phase;
        let record = |message: &Message| {
            json!({
                "messageId": message.id, "receiptHandle": message.receipt_handle(), "body": message.body,
                "eventSource": "aws:sqs", "eventSourceARN": mapping.source,
                "attributes": {
                    "ApproximateReceiveCount": message.receives.to_string(),
                    "SentTimestamp": milliseconds(phase, message.sent),
                    "ApproximateFirstReceiveTimestamp": milliseconds(phase, message.first_received),
                    "MessageGroupId": message.group,
                    "MessageDeduplicationId": message.deduplication,
                },
            })
        };
        let records: Vec<Value> = messages.iter().map(record).collect();
        json!({ "Records": records }).to_string()
    }

    /// One invocation, unless the concurrency is used up.
    async fn invoke(&self, stage: Stage, payload: &str) -> Result<SqsBatchResponse, Failed> {
        {
            let mut world = self.sim.world();
            if world.running >= world.scenario.concurrency {
                world.fault("Lambda throttles the function");
                return Err(Failed::Throttled);
            }
            world.running += 1;
        }
        let result = self.run(stage, payload).await;
        self.sim.world().running -= 1;
        result
    }

    /// The function runs in an environment that is idle, or in a new one.
    async fn run(&self, stage: Stage, payload: &str) -> Result<SqsBatchResponse, Failed> {
        let environment = self.environment();
        let now = self.sim.now();
        let number = environment.number;
        let polls = self.polls_to_live(stage, now);
        {
            let mut world = self.sim.world();
            world.invocations += 1;
            if stage == Stage::Flush {
                world.flushes += 1;
                world.most_flushes = world.most_flushes.max(world.flushes);
            }
            world.note(now, || format!("e{number} {stage:?} {payload}"));
        }
        let latency = self.sim.world().latency();
        sleep(latency).await;
        let deadline = self.sim.time_of_day(0) + TIMEOUT;
        let deadline = deadline.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let result = {
            let running = Box::pin(handle(
                &environment.app,
                payload,
                u64::try_from(deadline).unwrap(),
            ));
            timeout(TIMEOUT, Mortal { running, polls }).await
        };
        if stage == Stage::Flush {
            self.sim.world().flushes -= 1;
        }
        self.sim.trace(|| match &result {
            Ok(Some(Ok(response))) => format!("e{number} {stage:?} -> {response:?}"),
            Ok(Some(Err(error))) => format!("e{number} {stage:?} -> {error:#}"),
            Ok(None) => format!("e{number} {stage:?} dies"),
            Err(_) => format!("e{number} {stage:?} is ended at its deadline"),
        });
        match result {
            Ok(Some(response)) => {
                self.idle.lock().unwrap().push(environment);
                response.map_err(|_| Failed::Function)
            }
            Ok(None) => {
                self.sim.world().fault("the function dies");
                Err(Failed::Function)
            }
            Err(_) => {
                self.sim
                    .world()
                    .fault("the function is ended at its deadline");
                Err(Failed::Function)
            }
        }
    }

    /// If the function dies: how often it is polled before.
    fn polls_to_live(&self, stage: Stage, now: Duration) -> Option<u32> {
        let mut world = self.sim.world();
        let crash = world.scenario.crash;
        let most = match stage {
            Stage::Ingest => 20,
            Stage::Flush => 70,
            Stage::Submit => 20,
        };
        world.dice(crash, now).then(|| world.rng.u32(0..most))
    }

    fn environment(&self) -> Environment {
        let now = self.sim.now();
        let mut world = self.sim.world();
        let mut idle = self.idle.lock().unwrap();
        let new = world.scenario.new_environment;
        if !idle.is_empty() && !world.dice(new, now) {
            let index = world.rng.usize(0..idle.len());
            return idle.swap_remove(index);
        }
        let mut started = self.started.lock().unwrap();
        *started += 1;
        let skew = match world.scenario.kind {
            Kind::Edges => [-1_000, 1_000][world.rng.usize(0..2)],
            _ => world.rng.i64(-1_000..=1_000),
        };
        let number = *started;
        world.note(now, || {
            format!("e{number} starts, its clock is {skew} ms ahead")
        });
        Environment {
            number,
            app: app(&self.sim, &world, skew, number),
        }
    }
}

/// An event source mapping.
#[derive(Clone, Copy)]
struct Mapping {
    queue: fn(&mut World) -> &mut Queue,
    source: &'static str,
    at_once: usize,
    stage: Stage,
}

/// Waits that double, with jitter.
struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    fn next(&mut self, sim: &Sim) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait.mul_f64(sim.world().rng.f64().mul_add(0.5, 0.75))
    }
}

/// Messages of a batch.
const BATCH: usize = 10;

/// A future that dies after a number of polls. Its calls under way die with it.
struct Mortal<F> {
    running: Pin<Box<F>>,
    polls: Option<u32>,
}

impl<F: Future> Future for Mortal<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.polls {
            Some(0) => return Poll::Ready(None),
            Some(polls) => *polls -= 1,
            None => {}
        }
        self.running.as_mut().poll(context).map(Some)
    }
}

/// The time of day in an environment.
struct SkewedTime {
    sim: Sim,
    skew: i64,
}

impl std::fmt::Debug for SkewedTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SkewedTime")
    }
}

impl TimeSource for SkewedTime {
    fn now(&self) -> SystemTime {
        self.sim.time_of_day(self.skew)
    }
}

/// The function, started as in the product, except for the HTTP client below the SDK.
fn app(sim: &Sim, world: &World, skew: i64, number: u64) -> App {
    static PRODUCT: OnceLock<SdkConfig> = OnceLock::new();
    let product = PRODUCT.get_or_init(|| {
        let credentials = Credentials::new("sim", "sim", None, None, "simulation");
        sdk_config(SharedCredentialsProvider::new(credentials), None, None)
    });
    // The SDK shares a client's budget for retries in the whole process, by service and region:
    // with a region of its own, each environment in each run has its own budget.
    static REGIONS: AtomicU64 = AtomicU64::new(0);
    let region = format!("sim-{}", REGIONS.fetch_add(1, Ordering::Relaxed));
    let connector = SharedHttpConnector::new(Connector {
        sim: sim.clone(),
        environment: number,
    });
    let of_sdk = connector.clone();
    let sdk = product
        .to_builder()
        .region(Region::new(region))
        .http_client(http_client_fn(move |_, _| of_sdk.clone()))
        .time_source(SkewedTime {
            sim: sim.clone(),
            skew,
        })
        .build();
    let endpoint = |service| Some(format!("https://{service}.sim").parse().unwrap());
    let endpoints = Endpoints {
        cloudfront: endpoint("cloudfront"),
        s3: endpoint("s3"),
        sns: endpoint("sns"),
        sqs: endpoint("sqs"),
    };
    let clock = sim.clone();
    let mut app = App::new(
        config(&world.scenario.settings),
        Clients::new(sdk, endpoints).with_connector(connector),
        Clock::new(move || clock.time_of_day(skew)),
    );
    app.metrics = Metrics::to("simulation", |_| {});
    app
}

fn config(settings: &std::collections::BTreeMap<&'static str, String>) -> Config {
    let fixed: HashMap<&str, &str> = HashMap::from([
        ("BUFFER_QUEUE_URL", "https://sqs.sim/123456789012/buffer"),
        ("TICK_QUEUE_URL", "https://sqs.sim/123456789012/tick.fifo"),
        (
            "SUBMIT_QUEUE_URL",
            "https://sqs.sim/123456789012/submit.fifo",
        ),
        ("ERROR_BUCKET", "errors"),
        ("COST_MODE", "exact"),
        ("SPENDING_LIMIT_PER_HOUR", "1000000"),
        ("SPENDING_LIMIT_PER_MONTH", "1000000"),
        ("TOPIC_ARN", "arn:aws:sns:sim:123456789012:topic"),
    ]);
    Config::from_variables(|name| {
        let own = settings.get(name).cloned();
        own.or_else(|| fixed.get(name).map(|value| (*value).to_owned()))
    })
    .unwrap()
}
