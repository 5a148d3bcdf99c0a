//! The function's calls on SQS.
//!
//! The SDK's runtime assembles its parts anew around each call. Of a flush of messages with one change each, as
//! S3 sends them, that took half of the CPU time. Here a call is made of its parts, once: the SDK's credentials,
//! our [signature](super::signature), and the HTTP client that the SDK's clients use too.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use invalidator_core::retry;
use invalidator_core::service_error::{
    CONNECTION_FAILED, Meaning, NO_CREDENTIALS, ServiceError, TIMEOUT, UNREADABLE_ANSWER,
    meaning_of,
};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{CALL_NOT_MADE, connection_error, innermost};
use super::http::{ATTEMPT_TIMEOUT, CALL_TIMEOUT};
use super::signature::{Call, Signer};
use super::user_agent;
use crate::config::QueueUrl;

/// What a message must have been received with: see [`Message`].
const SYSTEM_ATTRIBUTES: [&str; 2] = ["SentTimestamp", "ApproximateReceiveCount"];

/// A deletion of ten messages has about so many bytes.
const LARGE_CALL: usize = 6 * 1024;

/// How often a call is attempted that is worth it.
const ATTEMPTS: u32 = 3;

/// Credentials that end are asked for again so long before.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);

/// A call: its name in our messages, and in the header.
struct Action {
    name: &'static str,
    target: &'static str,
    /// Whether it says which invocation it comes from.
    is_traced: bool,
}

/// Names an action.
macro_rules! action {
    ($name:literal) => {
        Action {
            name: concat!("SQS ", $name),
            target: concat!("AmazonSQS.", $name),
            is_traced: true,
        }
    };
}

const RECEIVE: Action = action!("ReceiveMessage");
const DELETE: Action = action!("DeleteMessageBatch");
const HIDE: Action = action!("ChangeMessageVisibilityBatch");
const SEND_BATCH: Action = action!("SendMessageBatch");
const SEND: Action = action!("SendMessage");
const SEND_APART: Action = Action {
    is_traced: false,
    ..SEND
};

/// Calls SQS.
#[derive(Debug)]
pub struct LeanSqs {
    connector: SharedHttpConnector,
    provider: Option<SharedCredentialsProvider>,
    /// Those that have an end, until shortly before it.
    credentials: Mutex<Option<Credentials>>,
    signer: Signer,
    region: String,
    custom_endpoint: Option<String>,
    /// Where the endpoint is not the host of a queue's URL.
    resolver: Option<Params>,
    resolved: OnceCell<String>,
    time: SharedTimeSource,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The same each time it is received.
    pub id: String,
    pub receipt_handle: String,
    pub body: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent: Option<u64>,
    /// How often it was received, including this time.
    pub receives: Option<u32>,
}

/// A message to send.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Outgoing<'a> {
    pub message_body: &'a str,
    /// In seconds. Not for a FIFO queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<u64>,
    /// For a FIFO queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group_id: Option<&'a str>,
    /// For a FIFO queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_deduplication_id: Option<&'a str>,
}

/// Why entries of a call failed that was answered with 200, by their index.
pub type FailedEntries = Vec<(usize, ServiceError)>;

/// Why a call failed, and what that means for the next attempt.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    pub error: ServiceError,
    pub meaning: Meaning,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Receive<'a> {
    queue_url: &'a str,
    max_number_of_messages: usize,
    wait_time_seconds: u64,
    message_system_attribute_names: [&'a str; 2],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received<'a> {
    #[serde(borrow, default)]
    messages: Option<Vec<ReceivedMessage<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceivedMessage<'a> {
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow)]
    receipt_handle: Cow<'a, str>,
    #[serde(borrow)]
    body: Cow<'a, str>,
    #[serde(borrow, default)]
    attributes: Option<Attributes<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes<'a> {
    #[serde(borrow, default)]
    sent_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    approximate_receive_count: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ToQueue<'a, C> {
    queue_url: &'a str,
    #[serde(flatten)]
    call: C,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<'a, E> {
    queue_url: &'a str,
    entries: Vec<Numbered<E>>,
}

/// An entry of a batch. Its id is its index.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Numbered<E> {
    #[serde(serialize_with = "as_text")]
    id: usize,
    #[serde(flatten)]
    entry: E,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Delete<'a> {
    receipt_handle: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Hide<'a> {
    receipt_handle: &'a str,
    visibility_timeout: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfBatch {
    #[serde(default)]
    failed: Option<Vec<Failed>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// The body of an error.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    code: Option<String>,
    #[serde(alias = "Message", default)]
    message: Option<String>,
}

impl LeanSqs {
    /// Makes calls with the connector, and otherwise as this configuration says.
    pub fn new(
        sdk: &SdkConfig,
        custom_endpoint: Option<String>,
        connector: SharedHttpConnector,
    ) -> Self {
        let region = sdk.region().map(ToString::to_string).unwrap_or_default();
        let of_service = || {
            let key = ServiceConfigKey::builder().service_id("SQS");
            let key = key.env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
            sdk.service_config()?.load_config(key.ok()?)
        };
        let custom_endpoint = custom_endpoint
            .or_else(of_service)
            .or_else(|| sdk.endpoint_url().map(str::to_owned));
        let custom_endpoint = custom_endpoint.map(|url| with_path(&url));
        // Only a profile of the operator asks for these.
        let (fips, dual_stack) = (sdk.use_fips(), sdk.use_dual_stack());
        let is_special = [fips, dual_stack].contains(&Some(true));
        let params = Params::builder().region(region.clone());
        let params = params.set_use_fips(fips).set_use_dual_stack(dual_stack);
        let resolver = is_special.then(|| params.build().ok()).flatten();
        Self {
            connector,
            provider: sdk.credentials_provider(),
            credentials: Mutex::default(),
            signer: Signer::default(),
            region,
            custom_endpoint,
            resolver,
            resolved: OnceCell::new(),
            time: sdk.time_source().unwrap_or_default(),
        }
    }

    /// Receives up to `most` messages, waiting up to `wait` (whole seconds) for the first. There is one attempt.
    ///
    /// # Errors
    /// If the call fails. SQS may have hidden messages even then.
    pub async fn receive(
        &self,
        queue: &QueueUrl,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Message>, ServiceError> {
        let call = Receive {
            queue_url: queue.as_str(),
            max_number_of_messages: most,
            wait_time_seconds: wait.as_secs(),
            message_system_attribute_names: SYSTEM_ATTRIBUTES,
        };
        let answer = self.call(&RECEIVE, queue, &call, 1).await;
        let answer = answer.map_err(|failure| failure.error)?;
        let received: Received<'_> = read(&RECEIVE, &answer)?;
        let messages = received.messages.unwrap_or_default().into_iter();
        Ok(messages.map(Message::from).collect())
    }

    /// Deletes at most ten messages. There is one attempt. Returns which of them could not be deleted, and why.
    ///
    /// # Errors
    /// If the call fails. SQS may have deleted messages even then.
    pub async fn delete(
        &self,
        queue: &QueueUrl,
        receipt_handles: &[String],
    ) -> Result<FailedEntries, ServiceError> {
        let entries = receipt_handles
            .iter()
            .map(|receipt_handle| Delete { receipt_handle });
        self.batch(&DELETE, queue, entries, 1).await
    }

    /// Hides at most ten messages for so many seconds from now on. Returns for which of them that failed, and why.
    ///
    /// # Errors
    /// If the call fails. SQS may have hidden messages even then.
    pub async fn hide(
        &self,
        queue: &QueueUrl,
        receipt_handles: &[String],
        seconds: u64,
    ) -> Result<FailedEntries, ServiceError> {
        let entries = receipt_handles.iter().map(|receipt_handle| Hide {
            receipt_handle,
            visibility_timeout: seconds,
        });
        self.batch(&HIDE, queue, entries, ATTEMPTS).await
    }

    /// Sends at most ten messages. Returns which of them were not accepted, and why.
    ///
    /// # Errors
    /// If the call fails. SQS may have accepted messages even then.
    pub async fn send_batch<'m>(
        &self,
        queue: &QueueUrl,
        messages: impl Iterator<Item = Outgoing<'m>>,
    ) -> Result<FailedEntries, ServiceError> {
        self.batch(&SEND_BATCH, queue, messages, ATTEMPTS).await
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the call fails. SQS may have accepted the message even then.
    pub async fn send(&self, queue: &QueueUrl, message: Outgoing<'_>) -> Result<(), Failure> {
        self.send_by(&SEND, queue, message).await
    }

    /// The same, but not as a consequence of this invocation: AWS would stop a row of more than sixteen.
    ///
    /// # Errors
    /// The same.
    pub async fn send_apart(&self, queue: &QueueUrl, message: Outgoing<'_>) -> Result<(), Failure> {
        self.send_by(&SEND_APART, queue, message).await
    }

    async fn send_by(
        &self,
        action: &Action,
        queue: &QueueUrl,
        message: Outgoing<'_>,
    ) -> Result<(), Failure> {
        let call = ToQueue {
            queue_url: queue.as_str(),
            call: message,
        };
        self.call(action, queue, &call, ATTEMPTS).await?;
        Ok(())
    }

    /// Makes a call with several entries. Returns which of them failed.
    async fn batch<E: Serialize>(
        &self,
        action: &Action,
        queue: &QueueUrl,
        entries: impl Iterator<Item = E>,
        attempts: u32,
    ) -> Result<FailedEntries, ServiceError> {
        let entries = entries.enumerate();
        let call = Batch {
            queue_url: queue.as_str(),
            entries: entries.map(|(id, entry)| Numbered { id, entry }).collect(),
        };
        let answer = self.call(action, queue, &call, attempts).await;
        let answer = answer.map_err(|failure| failure.error)?;
        let answer: OfBatch = read(action, &answer)?;
        let failed = answer.failed.unwrap_or_default().into_iter();
        let failed = failed.map(|failed| {
            let index = failed.id.parse().ok();
            let index = index.filter(|index| *index < call.entries.len());
            let index = index.ok_or_else(|| unreadable(action, "an id that was not sent"))?;
            let message = failed.message.unwrap_or_default();
            Ok((index, ServiceError::of(action.name, failed.code, message)))
        });
        failed.collect()
    }

    /// Makes a call, up to so many times. Returns the body of its answer.
    async fn call(
        &self,
        action: &Action,
        queue: &QueueUrl,
        call: &impl Serialize,
        attempts: u32,
    ) -> Result<Bytes, Failure> {
        let mut body = Vec::with_capacity(LARGE_CALL);
        serde_json::to_writer(&mut body, call).map_err(|error| not_made(action, &error))?;
        let body = Bytes::from(body);
        let until = Instant::now() + CALL_TIMEOUT;
        for attempt in 1.. {
            let end = until.min(Instant::now() + ATTEMPT_TIMEOUT);
            let answer = timeout_at(end, self.attempt(action, queue, body.clone()));
            let answer = answer.await.unwrap_or_else(|_| {
                let error = ServiceError::of(action.name, TIMEOUT, "no answer came in time");
                Err(Failure::of(error))
            });
            let failure = match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let pause = retry::wait(attempt, fastrand::f64());
            let is_worth_it = failure.meaning != Meaning::Permanent && attempt < attempts;
            if !is_worth_it || Instant::now() + pause >= until {
                return Err(failure);
            }
            sleep(pause).await;
        }
        unreachable!("a loop without an end");
    }

    async fn attempt(
        &self,
        action: &Action,
        queue: &QueueUrl,
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        let request = self.request(action, queue, body).await?;
        let call = self.connector.call(request).await;
        let mut response = call.map_err(|error| connection_error(action.name, &error))?;
        let body = ByteStream::new(response.take_body()).collect().await;
        let body = body
            .map_err(|error| ServiceError::of(action.name, CONNECTION_FAILED, innermost(&error)))?;
        // Most answers are in one piece, which is not copied.
        let body = body.into_bytes();
        match response.status().as_u16() {
            200 => Ok(body),
            _ => Err(refusal(action, &response, &body)),
        }
    }

    /// The signed request.
    async fn request(
        &self,
        action: &Action,
        queue: &QueueUrl,
        body: Bytes,
    ) -> Result<HttpRequest, ServiceError> {
        let url = self.url(queue).await;
        let url = url.map_err(|error| not_made(action, &*error))?;
        let credentials = self.credentials(action).await?;
        let signed = self.signed(action, url, body, &credentials);
        signed.map_err(|error| not_made(action, &*error))
    }

    /// The URL to call: the host of the queue's URL, unless another one was asked for.
    async fn url<'a>(&'a self, queue: &'a QueueUrl) -> Result<Cow<'a, str>, BoxError> {
        if let Some(url) = &self.custom_endpoint {
            return Ok(url.into());
        }
        let Some(params) = &self.resolver else {
            return Ok(queue.endpoint().into());
        };
        let resolve = async || {
            let endpoint = DefaultResolver::new().resolve_endpoint(params).await?;
            Ok::<_, BoxError>(with_path(endpoint.url()))
        };
        Ok(self.resolved.get_or_try_init(resolve).await?.into())
    }

    async fn credentials(&self, action: &Action) -> Result<Credentials, ServiceError> {
        let is_good = |end| self.time.now() + RENEWED_BEFORE < end;
        let known = self.known_credentials().clone();
        if let Some(known) = known.filter(|it| it.expiry().is_some_and(is_good)) {
            return Ok(known);
        }
        let none = |cause: String| ServiceError::of(action.name, NO_CREDENTIALS, cause);
        let provider = self.provider.as_ref();
        let provider = provider.ok_or_else(|| none("there are none".to_owned()))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| none(innermost(&error)))?;
        *self.known_credentials() = Some(credentials.clone());
        Ok(credentials)
    }

    fn known_credentials(&self) -> MutexGuard<'_, Option<Credentials>> {
        let known = self.credentials.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    fn signed(
        &self,
        action: &Action,
        url: Cow<'_, str>,
        body: Bytes,
        credentials: &Credentials,
    ) -> Result<HttpRequest, BoxError> {
        let call = Call {
            url: &url,
            target: action.target,
            body: &body,
        };
        let headers = self
            .signer
            .headers(&call, credentials, &self.region, self.time.now());
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST")?;
        request.set_uri(url.as_ref())?;
        let all = request.headers_mut();
        all.try_insert("user-agent", user_agent::USER_AGENT)?;
        for (name, value) in headers {
            all.try_insert(name, value)?;
        }
        if let Some(trace) = trace_of_invocation().filter(|_| action.is_traced) {
            all.try_insert("x-amzn-trace-id", trace)?;
        }
        Ok(request)
    }
}

/// By this header AWS knows which invocation a message comes from: it stops a function that invokes itself for ever
/// (Lambda Developer Guide, "Recursive loop detection"), and X-Ray shows both as one trace. The SDK's clients send it
/// too. The runtime's client sets the variable for each invocation.
fn trace_of_invocation() -> Option<String> {
    let trace = std::env::var("_X_AMZN_TRACE_ID").ok()?;
    let is_header = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    trace.bytes().all(is_header).then_some(trace)
}

impl Failure {
    /// The failure of a call that has no answer, or whose answer has no status.
    fn of(error: ServiceError) -> Self {
        let meaning = meaning_of(0, &error.code);
        Self { error, meaning }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::of(error)
    }
}

impl From<ReceivedMessage<'_>> for Message {
    fn from(message: ReceivedMessage<'_>) -> Self {
        let attributes = message.attributes;
        let (sent, receives) = attributes.map_or((None, None), |it| {
            (it.sent_timestamp, it.approximate_receive_count)
        });
        Self {
            id: message.message_id.into_owned(),
            receipt_handle: message.receipt_handle.into_owned(),
            body: message.body.into_owned(),
            sent: sent.and_then(|sent| sent.parse().ok()),
            receives: receives.and_then(|receives| receives.parse().ok()),
        }
    }
}

fn as_text<S: Serializer>(id: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// A URL with a path, if only that of the root.
fn with_path(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}

fn read<'a, A: Deserialize<'a>>(action: &Action, answer: &'a [u8]) -> Result<A, ServiceError> {
    serde_json::from_slice(answer).map_err(|error| unreadable(action, &error.to_string()))
}

fn unreadable(action: &Action, why: &str) -> ServiceError {
    ServiceError::of(action.name, UNREADABLE_ANSWER, why)
}

fn not_made(action: &Action, error: &(dyn std::error::Error + 'static)) -> ServiceError {
    ServiceError::of(action.name, CALL_NOT_MADE, innermost(error))
}

/// What an answer says that is an error.
fn refusal(action: &Action, response: &HttpResponse, body: &[u8]) -> Failure {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let status = response.status().as_u16();
    // The name of old, as in `AWS.SimpleQueueService.NonExistentQueue;Sender`.
    let of_old = response.headers().get("x-amzn-query-error");
    let of_old = of_old.and_then(|text| text.split(';').next());
    let of_now = refusal.code.as_deref();
    let of_now = of_now.and_then(|text| text.rsplit('#').next());
    let code = of_old.or(of_now);
    // Where no code says it, the status does: a proxy may refuse a call, too.
    let meaning = meaning_of(status, code.unwrap_or_default());
    let error = match code {
        Some(code) => ServiceError::of(action.name, code, refusal.message.unwrap_or_default()),
        None => unreadable(action, &format!("HTTP status {status}")),
    };
    Failure { error, meaning }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_sdk_sqs::types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
        MessageSystemAttributeName, SendMessageBatchRequestEntry,
    };
    use aws_smithy_runtime_api::client::http::HttpConnectorFuture;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::{Clients, Endpoints, client_of, sdk_config};

    /// Keeps the requests, and answers all of them alike.
    #[derive(Clone, Debug)]
    struct Server {
        requests: Arc<Mutex<Vec<HttpRequest>>>,
        status: u16,
        header: Option<(&'static str, &'static str)>,
        body: String,
        /// How many connections fail before that.
        failures: Arc<Mutex<u32>>,
    }

    impl Server {
        fn answering(status: u16, body: &str) -> Self {
            Self {
                requests: Arc::default(),
                status,
                header: None,
                body: body.to_owned(),
                failures: Arc::default(),
            }
        }

        fn clients(&self, region: &str, endpoint: Option<&str>) -> Clients {
            let token = Some("token".to_owned());
            let credentials = Credentials::new("AKID", "secret", token, None, "test");
            let connector = SharedHttpConnector::new(self.clone());
            let sdk = sdk_config(
                SharedCredentialsProvider::new(credentials),
                Some(region.to_owned()),
                endpoint.map(|url| url.parse().unwrap()),
            );
            let sdk = sdk.into_builder().http_client(client_of(connector.clone()));
            Clients::new(sdk.build(), Endpoints::default()).with_connector(connector)
        }

        async fn receive(&self) -> Result<Vec<Message>, ServiceError> {
            let clients = self.clients("eu-west-1", None);
            clients
                .lean_sqs()
                .receive(&queue("eu-west-1.amazonaws.com"), 10, Duration::ZERO)
                .await
        }

        /// The requests that came: what of them both clients must agree in.
        fn requests(&self) -> Vec<Value> {
            let all = std::mem::take(&mut *self.requests.lock().unwrap());
            all.iter().map(essence).collect()
        }
    }

    impl HttpConnector for Server {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.requests.lock().unwrap().push(request);
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                let error = ConnectorError::io("the connection is dead".into());
                return HttpConnectorFuture::ready(Err(error));
            }
            let status = self.status.try_into().unwrap();
            let mut answer = HttpResponse::new(status, SdkBody::from(self.body.clone()));
            if let Some((name, value)) = self.header {
                answer.headers_mut().insert(name, value);
            }
            HttpConnectorFuture::ready(Ok(answer))
        }
    }

    fn essence(request: &HttpRequest) -> Value {
        let header = |name: &str| request.headers().get(name).map(str::to_owned);
        // What was signed differs, as the SDK sends more headers, and by the second of the call.
        let authorization = header("authorization").unwrap();
        let scope = authorization.split(", ").next().unwrap();
        let signed = authorization.split("SignedHeaders=").nth(1).unwrap();
        let signs = |name: &str| signed.split([';', ',']).any(|it| it == name);
        let signs = [
            "content-type",
            "host",
            "x-amz-date",
            "x-amz-security-token",
            "x-amz-target",
        ]
        .map(signs);
        let headers = [
            "content-type",
            "x-amz-target",
            "x-amzn-query-mode",
            "x-amz-security-token",
            "user-agent",
        ]
        .map(header);
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        json!({
            "method": request.method(),
            "url": request.uri().trim_end_matches('/'),
            "scope": scope,
            "signs": signs,
            "headers": headers,
            "body": body,
        })
    }

    fn queue(domain: &str) -> QueueUrl {
        let url = format!("https://sqs.{domain}/123456789012/buffer");
        url.parse().unwrap()
    }

    #[tokio::test]
    async fn a_lean_call_is_the_one_that_the_sdk_makes() {
        for (region, domain, endpoint) in [
            ("eu-west-1", "eu-west-1.amazonaws.com", None),
            ("cn-north-1", "cn-north-1.amazonaws.com.cn", None),
            (
                "us-east-1",
                "us-east-1.amazonaws.com",
                Some("https://vpce-1.example.com"),
            ),
            (
                "us-east-1",
                "us-east-1.amazonaws.com",
                Some("http://127.0.0.1:4566"),
            ),
        ] {
            let server = Server::answering(200, r#"{"Successful":[],"Failed":[]}"#);
            let clients = server.clients(region, endpoint);
            let queue = queue(domain);
            make_all(clients.lean_sqs(), &queue).await;
            let of_lean = server.requests();
            make_all_with_the_sdk(clients.sqs(), queue.as_str()).await;
            let of_sdk = server.requests();
            assert_eq!(of_lean, of_sdk);
            let url = endpoint.map_or_else(|| format!("https://sqs.{domain}"), str::to_owned);
            assert_eq!(of_lean[0]["url"], url);
            assert_eq!(of_lean[0]["signs"], json!([true, true, true, true, true]));
        }
    }

    const HANDLES: [&str; 2] = ["AQEB/+=", "\"\u{e9}"];
    const BODIES: [&str; 2] = ["{\"a\":\"\u{e9}\\n\"}", "\u{1}"];

    async fn make_all(sqs: &LeanSqs, queue: &QueueUrl) {
        let handles = HANDLES.map(str::to_owned);
        let second = Duration::from_secs(1);
        sqs.receive(queue, 10, second).await.unwrap();
        sqs.delete(queue, &handles).await.unwrap();
        sqs.hide(queue, &handles, 30).await.unwrap();
        let messages = BODIES.map(|message_body| Outgoing {
            message_body,
            delay_seconds: Some(5),
            message_group_id: None,
            message_deduplication_id: None,
        });
        sqs.send_batch(queue, messages.into_iter()).await.unwrap();
        let message = Outgoing {
            message_body: BODIES[0],
            delay_seconds: None,
            message_group_id: Some("group"),
            message_deduplication_id: Some("id"),
        };
        sqs.send(queue, message).await.unwrap();
    }

    async fn make_all_with_the_sdk(sqs: &aws_sdk_sqs::Client, queue: &str) {
        let receive = sqs.receive_message().queue_url(queue);
        let receive = receive.max_number_of_messages(10).wait_time_seconds(1);
        let names = [
            MessageSystemAttributeName::SentTimestamp,
            MessageSystemAttributeName::ApproximateReceiveCount,
        ];
        let receive = receive.set_message_system_attribute_names(Some(names.into()));
        receive.send().await.unwrap();
        let mut delete = sqs.delete_message_batch().queue_url(queue);
        let mut hide = sqs.change_message_visibility_batch().queue_url(queue);
        let mut send = sqs.send_message_batch().queue_url(queue);
        for (id, (handle, body)) in HANDLES.into_iter().zip(BODIES).enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            delete = delete.entries(entry.receipt_handle(handle).build().unwrap());
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id.to_string());
            let entry = entry.receipt_handle(handle).visibility_timeout(30);
            hide = hide.entries(entry.build().unwrap());
            let entry = SendMessageBatchRequestEntry::builder().id(id.to_string());
            let entry = entry.message_body(body).delay_seconds(5);
            send = send.entries(entry.build().unwrap());
        }
        delete.send().await.unwrap();
        hide.send().await.unwrap();
        send.send().await.unwrap();
        let send = sqs
            .send_message()
            .queue_url(queue)
            .message_body(BODIES[0])
            .message_group_id("group")
            .message_deduplication_id("id");
        send.send().await.unwrap();
    }

    /// The connection may have died while the environment was frozen.
    #[tokio::test(start_paused = true)]
    async fn a_send_is_attempted_three_times_and_a_receive_once() {
        let message = || Outgoing {
            message_body: "b",
            delay_seconds: None,
            message_group_id: None,
            message_deduplication_id: None,
        };
        let queue = queue("eu-west-1.amazonaws.com");
        for (failures, is_sent) in [(0, true), (2, true), (3, false)] {
            let server = Server::answering(200, "{}");
            *server.failures.lock().unwrap() = failures;
            let clients = server.clients("eu-west-1", None);
            let sent = clients.lean_sqs().send(&queue, message()).await;
            assert_eq!(sent.is_ok(), is_sent, "{sent:?}");
            assert_eq!(server.requests().len() as u32, 3.min(failures + 1));
        }
        // What is refused is not tried again, whoever refuses it.
        for (status, body, attempts) in [
            (403, r#"{"__type":"AccessDenied"}"#, 1),
            (403, "", 1),
            (503, "", 3),
        ] {
            let server = Server::answering(status, body);
            let clients = server.clients("eu-west-1", None);
            let failure = clients.lean_sqs().send(&queue, message()).await;
            let is_refused = failure.unwrap_err().meaning == Meaning::Permanent;
            assert_eq!(is_refused, status == 403, "{status} {body}");
            assert_eq!(server.requests().len(), attempts, "{status} {body}");
        }
        let server = Server::answering(503, "");
        let error = server.receive().await.unwrap_err();
        assert_eq!(error.code, UNREADABLE_ANSWER);
        assert_eq!(server.requests().len(), 1);
    }

    /// The operator's profile may ask for it.
    #[tokio::test]
    async fn an_endpoint_with_fips_is_called_where_it_is_asked_for() {
        let server = Server::answering(200, "{}");
        let credentials = Credentials::new("AKID", "secret", None, None, "test");
        let provider = SharedCredentialsProvider::new(credentials);
        let sdk = sdk_config(provider, Some("us-east-1".to_owned()), None);
        let sdk = sdk.into_builder().use_fips(true).build();
        let sqs = LeanSqs::new(&sdk, None, SharedHttpConnector::new(server.clone()));
        let queue = queue("us-east-1.amazonaws.com");
        sqs.receive(&queue, 1, Duration::ZERO).await.unwrap();
        let url = &server.requests()[0]["url"];
        assert_eq!(url, "https://sqs-fips.us-east-1.amazonaws.com");
    }

    #[tokio::test]
    async fn messages_are_read_with_or_without_attributes() {
        let body = r#"{"Messages":[
            {"MessageId":"1","ReceiptHandle":"h","MD5OfBody":"m","Body":"{\"a\":\"\u00e9\"}",
             "Attributes":{"SentTimestamp":"1795226584567","ApproximateReceiveCount":"3"}},
            {"MessageId":"2","ReceiptHandle":"i","Body":""}]}"#;
        let received = Server::answering(200, body).receive().await.unwrap();
        let message = |id: &str, handle: &str, body: &str, sent, receives| Message {
            id: id.to_owned(),
            receipt_handle: handle.to_owned(),
            body: body.to_owned(),
            sent,
            receives,
        };
        let first = message(
            "1",
            "h",
            "{\"a\":\"\u{e9}\"}",
            Some(1_795_226_584_567),
            Some(3),
        );
        assert_eq!(received, [first, message("2", "i", "", None, None)]);
        for none in ["{}", r#"{"Messages":null}"#, r#"{"Messages":[]}"#] {
            assert_eq!(Server::answering(200, none).receive().await.unwrap(), []);
        }
    }

    /// A message without a receipt handle could never be deleted, so the receive has failed.
    #[tokio::test]
    async fn an_answer_that_cannot_be_read_is_an_error() {
        for body in [
            "",
            "<html>",
            "1",
            r#"{"Messages":[{"MessageId":"1","Body":"b"}]}"#,
        ] {
            let error = Server::answering(200, body).receive().await.unwrap_err();
            assert_eq!(error.code, UNREADABLE_ANSWER, "{body}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_named_by_its_code() {
        let of_old = Some((
            "x-amzn-query-error",
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
        ));
        for (status, header, body, code) in [
            (
                400,
                None,
                r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}"#,
                "QueueDoesNotExist",
            ),
            (
                400,
                None,
                r#"{"__type":"RequestThrottled"}"#,
                "RequestThrottled",
            ),
            (
                400,
                of_old,
                r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}"#,
                "AWS.SimpleQueueService.NonExistentQueue",
            ),
            (503, None, "<html>", UNREADABLE_ANSWER),
        ] {
            let mut server = Server::answering(status, body);
            server.header = header;
            let error = server.receive().await.unwrap_err();
            assert_eq!(error.code, code, "{body}");
            assert_eq!(error.action, Some(RECEIVE.name));
        }
    }

    #[tokio::test]
    async fn entries_that_were_not_deleted_are_told() {
        let delete = async |body: &str| {
            let clients = Server::answering(200, body).clients("eu-west-1", None);
            let handles = ["a".to_owned(), "b".to_owned()];
            let queue = queue("eu-west-1.amazonaws.com");
            clients.lean_sqs().delete(&queue, &handles).await
        };
        let failed = r#"{"Successful":[{"Id":"0"}],"Failed":[{"Id":"1","Code":"InternalError","SenderFault":false}]}"#;
        let failed = delete(failed).await.unwrap();
        let failed = failed
            .iter()
            .map(|(index, error)| (*index, error.code.as_str()));
        assert_eq!(failed.collect::<Vec<_>>(), [(1, "InternalError")]);
        let unknown = r#"{"Failed":[{"Id":"2","Code":"InternalError"}]}"#;
        assert_eq!(delete(unknown).await.unwrap_err().code, UNREADABLE_ANSWER);
    }
}
