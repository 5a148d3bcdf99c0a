//! A whole account for a test: queues, buckets and topic on the emulator, CloudFront by the strict
//! stand-in, and the function's own code over real SDK clients.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_lambda_events::sqs::SqsBatchResponse;
use aws_sdk_s3::types::{BucketVersioningStatus, Tag, Tagging, VersioningConfiguration};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use aws_smithy_runtime_api::client::http::http_client_fn;
use futures_util::future::join_all;
use invalidator::app::App;
use invalidator::aws::roots::Roots;
use invalidator::aws::{Clients, Endpoints, http_connector, sdk_config};
use invalidator::clock::Clock;
use invalidator::config::Config;
use invalidator::handler::handle;
use invalidator::metrics::Metrics;
use invalidator_core::mode::{ChosenMode, MODE_KEY, Mode};
use invalidator_core::state::StateObject;
use serde_json::{Value, json};

use super::calls::Calls;
use super::emulator::Emulator;
use super::tags;
use strict_cloudfront::CloudFront;

/// The account, with the function deployed in it.
pub struct Account {
    pub cloudfront: CloudFront,
    pub app: App,
    /// How long an invocation may take. The function stops twenty seconds before.
    pub time: Duration,
    /// The calls of all its environments.
    pub calls: Calls,
    /// How far the function's clock is ahead, in seconds.
    ahead: Arc<AtomicU64>,
    settings: HashMap<&'static str, String>,
    mails: String,
    emulator: Emulator,
}

const REGION: &str = "us-east-1";

thread_local! {
    /// What the function of this test has emitted: it runs on the test's thread.
    static METRICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Account {
    /// An account with these settings beside the required ones.
    pub async fn new(settings: &[(&'static str, &str)]) -> Self {
        let (emulator, cloudfront) = tokio::join!(Emulator::start(), CloudFront::start());
        let cloudfront = cloudfront.unwrap();
        let calls = Calls::default();
        let clients = clients(&emulator, &cloudfront, &calls);
        let mut all: HashMap<&'static str, String> = HashMap::from([
            ("BUFFER_QUEUE_URL", queue(&clients, "buffer").await),
            ("TICK_QUEUE_URL", queue(&clients, "tick.fifo").await),
            ("SUBMIT_QUEUE_URL", queue(&clients, "submit.fifo").await),
            ("AWS_REGION", REGION.to_owned()),
            ("ERROR_BUCKET", "errors".to_owned()),
            // What is not about cost wants each path.
            ("COST_MODE", "exact".to_owned()),
            ("SPENDING_LIMIT_PER_HOUR", "1000000".to_owned()),
            ("SPENDING_LIMIT_PER_MONTH", "1000000".to_owned()),
            ("TOPIC_ARN", topic(&clients).await),
        ]);
        let sources = [
            arn_of(&clients, &all["TICK_QUEUE_URL"]).await,
            arn_of(&clients, &all["SUBMIT_QUEUE_URL"]).await,
        ];
        let mails = queue(&clients, "mails").await;
        subscribe(&clients, &all["TOPIC_ARN"], &mails).await;
        clients
            .s3()
            .create_bucket()
            .bucket("errors")
            .send()
            .await
            .unwrap();
        keep_versions(&clients, "errors").await;
        clients
            .s3()
            .create_bucket()
            .bucket("site")
            .send()
            .await
            .unwrap();
        all.extend(
            settings
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let ahead = Arc::<AtomicU64>::default();
        let mut app = App::new(config(&all), clients, clock(&ahead));
        // The function knows its queues by what the emulator says itself.
        let known = &app.config.sources;
        assert_eq!([known.tick.as_str(), known.submit.as_str()], sources);
        app.metrics = Metrics::to("invalidator", |line| {
            METRICS.with_borrow_mut(|lines| lines.push(line.to_owned()));
        });
        Self {
            cloudfront,
            app,
            time: Duration::from_secs(150),
            calls,
            ahead,
            settings: all,
            mails,
            emulator,
        }
    }

    /// The function's own variables.
    pub fn settings(&self) -> &HashMap<&'static str, String> {
        &self.settings
    }

    /// A second execution environment of the same function, with nothing cached.
    pub fn another_environment(&self) -> App {
        App::new(
            config(&self.settings),
            clients(&self.emulator, &self.cloudfront, &self.calls),
            clock(&self.ahead),
        )
    }

    /// What a process needs in its environment to work with this account.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.emulator.endpoint_url()),
            (
                "AWS_ENDPOINT_URL_CLOUDFRONT",
                self.cloudfront.endpoint_url(),
            ),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    pub async fn tag(&self, tags: &[(&str, &str)]) {
        // The emulators are not as strict as S3.
        assert!(tags.iter().all(|(_, value)| tags::refusal(value).is_none()));
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(*key).value(*value).build().unwrap());
        let tagging = Tagging::builder()
            .set_tag_set(Some(tags.collect()))
            .build()
            .unwrap();
        self.app
            .clients
            .s3()
            .put_bucket_tagging()
            .bucket("site")
            .tagging(tagging)
            .send()
            .await
            .unwrap();
    }

    /// Invokes the function with an S3 event for objects of the bucket `site`.
    pub async fn change(&self, changes: &[(&str, &str)]) {
        self.invoke(&s3_event(changes)).await.unwrap();
    }

    pub async fn invoke(&self, payload: &Value) -> anyhow::Result<SqsBatchResponse> {
        self.invoke_in(&self.app, payload).await
    }

    async fn invoke_in(&self, app: &App, payload: &Value) -> anyhow::Result<SqsBatchResponse> {
        let ahead = Duration::from_secs(self.ahead.load(Ordering::Relaxed));
        let deadline = deadline(self.time + ahead);
        handle(app, &payload.to_string(), deadline).await
    }

    /// Puts the function's clock forward.
    pub fn put_forward(&self, time: Duration) {
        self.ahead.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    /// Invokes the function with a tick that was received once.
    pub async fn flush(&self) -> SqsBatchResponse {
        self.flush_in(Duration::from_secs(150)).await
    }

    /// The same, with so much time.
    pub async fn flush_in(&self, time: Duration) -> SqsBatchResponse {
        let ahead = Duration::from_secs(self.ahead.load(Ordering::Relaxed));
        let deadline = deadline(time + ahead);
        let tick = tick(&self.app, "window-1", Duration::ZERO).to_string();
        handle(&self.app, &tick, deadline).await.unwrap()
    }

    /// Invokes the function with a tick of this body that was sent so long ago.
    pub async fn flush_with(&self, body: &str, age: Duration) -> SqsBatchResponse {
        flush_with(&self.app, body, age).await
    }

    /// The metrics emitted so far, each with its values; `E1 PathsAccepted` is of one distribution.
    pub fn take_metrics(&self) -> BTreeMap<String, Vec<u64>> {
        let mut metrics: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in METRICS.take() {
            let line: Value = serde_json::from_str(&line).unwrap();
            let of = line["DistributionId"].as_str().map(|id| format!("{id} "));
            let defined = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"];
            for definition in defined.as_array().unwrap() {
                let name = definition["Name"].as_str().unwrap();
                let values = match &line[name] {
                    Value::Array(values) => values.iter().map(|it| it.as_u64().unwrap()).collect(),
                    // In USD.
                    Value::Number(value) if value.is_f64() => continue,
                    value => vec![value.as_u64().unwrap()],
                };
                let name = of.clone().unwrap_or_default() + name;
                metrics.entry(name).or_default().extend(values);
            }
        }
        metrics
    }

    /// Invokes the function with a tick, and then with what is in SubmitQueue, until that is empty or
    /// has nothing visible.
    pub async fn flush_and_submit(&self) {
        assert_eq!(self.flush().await.batch_item_failures.len(), 0);
        self.submit().await;
    }

    /// Invokes the function with what is in SubmitQueue, batch by batch. Returns how many messages it
    /// returned.
    pub async fn submit(&self) -> usize {
        let url = self.app.config.submit_queue.as_str();
        let mut returned = 0;
        loop {
            let messages = receive(&self.app.clients, url).await;
            if messages.is_empty() {
                return returned;
            }
            returned += self.submit_messages(&self.app, url, &messages).await;
        }
    }

    /// Invokes so many new environments at once, each with the next batch of SubmitQueue, until that is empty.
    /// Returns how many messages they returned.
    pub async fn submit_at_once(&self, environments: usize) -> usize {
        let url = self.app.config.submit_queue.as_str();
        let apps: Vec<_> = (0..environments)
            .map(|_| self.another_environment())
            .collect();
        let mut returned = 0;
        loop {
            let mut batches = Vec::new();
            for app in &apps {
                let messages = receive(&self.app.clients, url).await;
                batches.push(async move { self.submit_messages(app, url, &messages).await });
            }
            let before = self.waiting_sets().await;
            returned += join_all(batches).await.into_iter().sum::<usize>();
            if before == 0 {
                return returned;
            }
        }
    }

    /// Invokes the function with one batch of SubmitQueue. Returns how many messages it returned.
    pub async fn submit_once(&self) -> usize {
        let url = self.app.config.submit_queue.as_str();
        let messages = receive(&self.app.clients, url).await;
        self.submit_messages(&self.app, url, &messages).await
    }

    /// Invokes the function with messages, as an event source mapping does, and deletes those that the
    /// function does not return.
    async fn submit_messages(&self, app: &App, url: &str, messages: &[Message]) -> usize {
        if messages.is_empty() {
            return 0;
        }
        let source = &self.app.config.sources.submit;
        let records: Vec<Value> = messages.iter().map(|it| record(source, it)).collect();
        let event = json!({ "Records": records });
        let response = self.invoke_in(app, &event).await.unwrap();
        let failures = response.batch_item_failures;
        let is_returned = |message: &&Message| {
            let mut ids = failures.iter().map(|it| it.item_identifier.as_str());
            ids.any(|id| Some(id) == message.message_id())
        };
        // In a FIFO queue, a message that is returned fails all after it.
        for message in messages.iter().take_while(|it| !is_returned(it)) {
            let handle = message.receipt_handle().unwrap();
            let delete = self.app.clients.sqs().delete_message().queue_url(url);
            // It may be deleted already.
            let _ = delete.receipt_handle(handle).send().await;
        }
        failures.len()
    }

    /// Sends a message to SubmitQueue.
    pub async fn enqueue(&self, group: &str, id: &str, body: &str) {
        let url = self.app.config.submit_queue.as_str();
        let call = self.app.clients.sqs().send_message().queue_url(url);
        let call = call.message_group_id(group).message_deduplication_id(id);
        call.message_body(body).send().await.unwrap();
    }

    /// Puts a raw message in the buffer.
    pub async fn buffer(&self, body: &str) {
        let url = self.app.config.buffer_queue.as_str();
        self.app
            .clients
            .sqs()
            .send_message()
            .queue_url(url)
            .message_body(body)
            .send()
            .await
            .unwrap();
    }

    /// Chooses the mode, as `invalidatorctl mode` does.
    pub async fn choose(&self, mode: Mode) {
        let now = SystemTime::now().into();
        let chosen = ChosenMode::new(mode, now, "a test".to_owned(), String::new());
        self.write_mode(&chosen.to_json().unwrap()).await;
    }

    /// Writes a text to where the mode is.
    pub async fn write_mode(&self, text: &str) {
        self.write_object(MODE_KEY, text.as_bytes()).await;
    }

    /// Removes the mode.
    pub async fn remove_mode(&self) {
        let call = self.app.clients.s3().delete_object().bucket("errors");
        call.key(MODE_KEY).send().await.unwrap();
    }

    /// Writes anything to the error bucket.
    pub async fn write_object(&self, key: &str, body: &[u8]) {
        let call = self.app.clients.s3().put_object().bucket("errors");
        let call = call.key(key).body(body.to_vec().into());
        call.send().await.unwrap();
    }

    /// How many versions the error bucket has of an object, without delete markers.
    pub async fn versions(&self, key: &str) -> usize {
        let call = self.app.clients.s3().list_object_versions();
        let answer = call.bucket("errors").prefix(key).send().await.unwrap();
        answer.versions().len()
    }

    /// Deletes all versions of all objects of the error bucket.
    pub async fn empty_error_bucket(&self) {
        let s3 = self.app.clients.s3();
        let call = s3.list_object_versions().bucket("errors");
        let answer = call.send().await.unwrap();
        let versions = answer.versions().iter();
        let versions = versions.map(|it| (it.key(), it.version_id()));
        let markers = answer.delete_markers().iter();
        for (key, version) in versions.chain(markers.map(|it| (it.key(), it.version_id()))) {
            let call = s3.delete_object().bucket("errors");
            let call = call.key(key.unwrap()).version_id(version.unwrap());
            call.send().await.unwrap();
        }
    }

    /// Deletes the error bucket.
    pub async fn delete_error_bucket(&self) {
        self.empty_error_bucket().await;
        let call = self.app.clients.s3().delete_bucket().bucket("errors");
        call.send().await.unwrap();
    }

    /// Messages in the buffer, visible or not.
    pub async fn buffered(&self) -> usize {
        count(&self.app.clients, self.app.config.buffer_queue.as_str()).await
    }

    /// Messages in the tick queue, delayed ones too.
    pub async fn ticks(&self) -> usize {
        count(&self.app.clients, self.app.config.tick_queue.as_str()).await
    }

    /// Sets in SubmitQueue, visible or not.
    pub async fn waiting_sets(&self) -> usize {
        count(&self.app.clients, self.app.config.submit_queue.as_str()).await
    }

    /// The error files in order of distribution: key, metadata, text.
    pub async fn error_files(&self) -> Vec<(String, HashMap<String, String>, String)> {
        let s3 = self.app.clients.s3();
        let list = s3.list_objects_v2().bucket("errors");
        let list = list.prefix("invalidation_error/").send().await.unwrap();
        let mut files = Vec::new();
        for object in list.contents() {
            let key = object.key().unwrap().to_owned();
            let file = s3
                .get_object()
                .bucket("errors")
                .key(&key)
                .send()
                .await
                .unwrap();
            let metadata = file.metadata().cloned().unwrap_or_default();
            let text = file.body.collect().await.unwrap().to_vec();
            files.push((key, metadata, String::from_utf8(text).unwrap()));
        }
        // The names of a flush's files contain a random part before the distribution.
        files.sort_by_key(|(key, ..)| key.rsplit('_').next().map(str::to_owned));
        files
    }

    /// The mails sent since the last look: subject and text.
    pub async fn mails(&self) -> Vec<(String, String)> {
        let messages = receive(&self.app.clients, &self.mails).await;
        for message in &messages {
            let delete = self.app.clients.sqs().delete_message();
            let delete = delete.queue_url(&self.mails);
            let handle = message.receipt_handle().unwrap();
            delete.receipt_handle(handle).send().await.unwrap();
        }
        let mail = |message: Message| {
            let notification: Value = serde_json::from_str(message.body().unwrap()).unwrap();
            let text = |field: &str| notification[field].as_str().unwrap().to_owned();
            (text("Subject"), text("Message"))
        };
        messages.into_iter().map(mail).collect()
    }
}

/// Invokes an environment with a tick that was received once.
pub async fn flush(app: &App) -> SqsBatchResponse {
    flush_with(app, "window-1", Duration::ZERO).await
}

async fn flush_with(app: &App, body: &str, age: Duration) -> SqsBatchResponse {
    let deadline = deadline(Duration::from_secs(150));
    let tick = tick(app, body, age).to_string();
    handle(app, &tick, deadline).await.unwrap()
}

fn clock(ahead: &Arc<AtomicU64>) -> Clock {
    let ahead = Arc::clone(ahead);
    Clock::new(move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::Relaxed)))
}

/// A tick of this body that was sent so long ago.
fn tick(app: &App, body: &str, age: Duration) -> Value {
    let sent = SystemTime::now() - age;
    let sent = sent.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let tick = json!({
        "messageId": "tick-1", "receiptHandle": "none", "body": body, "eventSource": "aws:sqs",
        "eventSourceARN": app.config.sources.tick,
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": sent.as_millis().to_string() },
    });
    json!({ "Records": [tick] })
}

/// An event of S3 for objects of the bucket `site`: event name and encoded key of each.
pub fn s3_event(changes: &[(&str, &str)]) -> Value {
    let record = |(name, key): &(&str, &str)| {
        json!({
            "eventVersion": "2.3", "eventSource": "aws:s3", "awsRegion": REGION, "eventName": name,
            "eventTime": "2026-11-21T02:03:04.567Z",
            "s3": { "bucket": { "name": "site" }, "object": { "key": key, "size": 1 } },
        })
    };
    json!({ "Records": changes.iter().map(record).collect::<Vec<_>>() })
}

/// The deadline of an invocation that begins now.
pub fn deadline(time: Duration) -> u64 {
    let deadline = SystemTime::now() + time;
    let since_epoch = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since_epoch.as_millis().try_into().unwrap()
}

fn record(source: &str, message: &Message) -> Value {
    let attributes: HashMap<&str, &str> = message
        .attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    json!({
        "messageId": message.message_id(), "receiptHandle": message.receipt_handle(), "body": message.body(),
        "eventSource": "aws:sqs", "eventSourceARN": source, "attributes": attributes,
    })
}

fn config(settings: &HashMap<&'static str, String>) -> Config {
    Config::from_variables(|name| settings.get(name).cloned()).unwrap()
}

fn clients(emulator: &Emulator, cloudfront: &CloudFront, calls: &Calls) -> Clients {
    let credentials = Credentials::new("test", "test", None, None, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    let sdk = sdk_config(
        credentials,
        Some(REGION.to_owned()),
        Some(emulator.endpoint_url().parse().unwrap()),
    );
    let connector = calls.watch(http_connector(Roots::BuiltIn));
    let of_sdk = connector.clone();
    let sdk = sdk
        .into_builder()
        .http_client(http_client_fn(move |_, _| of_sdk.clone()))
        .build();
    let endpoints = Endpoints {
        cloudfront: Some(cloudfront.endpoint_url().parse().unwrap()),
        ..Endpoints::default()
    };
    Clients::new(sdk, endpoints).with_connector(connector)
}

async fn queue(clients: &Clients, name: &str) -> String {
    let mut call = clients.sqs().create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        call = call.attributes(QueueAttributeName::FifoQueue, "true");
    }
    call.send().await.unwrap().queue_url.unwrap()
}

/// As the template does for the error bucket.
async fn keep_versions(clients: &Clients, bucket: &str) {
    let status = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
    let call = clients.s3().put_bucket_versioning().bucket(bucket);
    let call = call.versioning_configuration(status.build());
    call.send().await.unwrap();
}

async fn arn_of(clients: &Clients, url: &str) -> String {
    let call = clients.sqs().get_queue_attributes().queue_url(url);
    let call = call.attribute_names(QueueAttributeName::QueueArn);
    let attributes = call.send().await.unwrap().attributes.unwrap();
    attributes[&QueueAttributeName::QueueArn].clone()
}

async fn topic(clients: &Clients) -> String {
    clients
        .sns()
        .create_topic()
        .name("alerts")
        .send()
        .await
        .unwrap()
        .topic_arn
        .unwrap()
}

async fn subscribe(clients: &Clients, topic: &str, queue_url: &str) {
    let name = queue_url.rsplit('/').next().unwrap();
    let endpoint = format!("arn:aws:sqs:{REGION}:000000000000:{name}");
    clients
        .sns()
        .subscribe()
        .topic_arn(topic)
        .protocol("sqs")
        .endpoint(endpoint)
        .send()
        .await
        .unwrap();
}

async fn receive(clients: &Clients, url: &str) -> Vec<Message> {
    let call = clients
        .sqs()
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .wait_time_seconds(1);
    let call = call.message_system_attribute_names(MessageSystemAttributeName::All);
    call.send().await.unwrap().messages.unwrap_or_default()
}

async fn count(clients: &Clients, url: &str) -> usize {
    let call = clients
        .sqs()
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::All);
    let attributes = call.send().await.unwrap().attributes.unwrap();
    let of = |name: QueueAttributeName| {
        attributes
            .get(&name)
            .map_or(0, |count| count.parse::<usize>().unwrap())
    };
    of(QueueAttributeName::ApproximateNumberOfMessages)
        + of(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        + of(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
}
