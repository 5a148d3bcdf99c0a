//! The two calls on SQS of which a flush makes thousands: receives, and deletes.
//!
//! The SDK's runtime assembles its parts anew around each call. Of a flush of messages with one change each, as
//! S3 sends them, that took half of the CPU time. Here a call is made of the same parts, once: the
//! SDK's endpoints, credentials and signing, and the HTTP client that the SDK's clients use too. There are no
//! retries; whoever calls has their own.

use std::borrow::Cow;
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_types::SdkConfig;
use invalidator_core::service_error::{
    CONNECTION_FAILED, NO_CREDENTIALS, ServiceError, TIMEOUT, UNREADABLE_ANSWER,
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::error::{CALL_NOT_MADE, connection_error, innermost};
use super::http::ATTEMPT_TIMEOUT;
use super::user_agent;
use crate::config::QueueUrl;

/// What a message must have been received with: see [`Message`].
const SYSTEM_ATTRIBUTES: [&str; 2] = ["SentTimestamp", "ApproximateReceiveCount"];

/// A deletion of ten messages has about so many bytes.
const LARGE_CALL: usize = 6 * 1024;

const RECEIVE: &str = "SQS ReceiveMessage";
const DELETE: &str = "SQS DeleteMessageBatch";

/// Receives and deletes messages.
#[derive(Debug)]
pub struct LeanSqs {
    connector: SharedHttpConnector,
    credentials: Option<SharedCredentialsProvider>,
    region: String,
    custom_endpoint: Option<String>,
    time: SharedTimeSource,
    url: OnceCell<String>,
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
struct Delete<'a> {
    queue_url: &'a str,
    entries: Vec<DeleteEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteEntry<'a> {
    id: String,
    receipt_handle: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
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
        let custom_endpoint = custom_endpoint.or_else(|| sdk.endpoint_url().map(str::to_owned));
        Self {
            connector,
            credentials: sdk.credentials_provider(),
            region: sdk.region().map(ToString::to_string).unwrap_or_default(),
            custom_endpoint,
            time: sdk.time_source().unwrap_or_default(),
            url: OnceCell::new(),
        }
    }

    /// Receives up to `most` messages, waiting up to `wait` (whole seconds) for the first.
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
        let answer = self.call(RECEIVE, &call).await?;
        let received: Received<'_> = read(RECEIVE, answer.as_ref())?;
        let messages = received.messages.unwrap_or_default().into_iter();
        Ok(messages.map(Message::from).collect())
    }

    /// Deletes at most ten messages. Returns which of them could not be deleted, and why.
    ///
    /// # Errors
    /// If the call fails. SQS may have deleted messages even then.
    pub async fn delete(
        &self,
        queue: &QueueUrl,
        receipt_handles: &[String],
    ) -> Result<Vec<(usize, ServiceError)>, ServiceError> {
        let entries = receipt_handles.iter().enumerate();
        let entries = entries.map(|(id, receipt_handle)| DeleteEntry {
            id: id.to_string(),
            receipt_handle,
        });
        let call = Delete {
            queue_url: queue.as_str(),
            entries: entries.collect(),
        };
        let answer = self.call(DELETE, &call).await?;
        let deleted: Deleted = read(DELETE, answer.as_ref())?;
        let failed = deleted.failed.unwrap_or_default().into_iter();
        let failed = failed.map(|failed| {
            let index = failed.id.parse().ok();
            let index = index.filter(|index| *index < receipt_handles.len());
            let index = index.ok_or_else(|| unreadable(DELETE, "an id that was not sent"))?;
            let message = failed.message.unwrap_or_default();
            Ok((index, ServiceError::of(DELETE, failed.code, message)))
        });
        failed.collect()
    }

    async fn call(
        &self,
        action: &'static str,
        call: &impl Serialize,
    ) -> Result<impl AsRef<[u8]>, ServiceError> {
        let mut body = Vec::with_capacity(LARGE_CALL);
        serde_json::to_writer(&mut body, call).map_err(|error| not_made(action, &error))?;
        let request = self.request(action, body).await?;
        let answer = async {
            let call = self.connector.call(request).await;
            let mut response = call.map_err(|error| connection_error(action, &error))?;
            let body = ByteStream::new(response.take_body()).collect().await;
            let body = body
                .map_err(|error| ServiceError::of(action, CONNECTION_FAILED, innermost(&error)))?;
            // Most answers are in one piece, which is not copied.
            Ok((response, body.into_bytes()))
        };
        let in_time = timeout(ATTEMPT_TIMEOUT, answer).await;
        let (response, body) =
            in_time.map_err(|_| ServiceError::of(action, TIMEOUT, "no answer came in time"))??;
        match response.status().as_u16() {
            200 => Ok(body),
            _ => Err(refusal(action, &response, &body)),
        }
    }

    /// The signed request.
    async fn request(
        &self,
        action: &'static str,
        body: Vec<u8>,
    ) -> Result<HttpRequest, ServiceError> {
        let url = self.url.get_or_try_init(|| self.resolve()).await;
        let url = url.map_err(|error| not_made(action, &*error))?;
        let identity = self.identity(action).await?;
        let signed = self.sign(action, url, body, &identity);
        signed.map_err(|error| not_made(action, &*error))
    }

    /// The URL of the region's endpoint, or of the custom one.
    async fn resolve(&self) -> Result<String, BoxError> {
        let params = Params::builder()
            .region(self.region.clone())
            .set_endpoint(self.custom_endpoint.clone())
            .build()?;
        let endpoint = DefaultResolver::new().resolve_endpoint(&params).await?;
        Ok(format!("{}/", endpoint.url().trim_end_matches('/')))
    }

    async fn identity(&self, action: &'static str) -> Result<Identity, ServiceError> {
        let none = |cause: String| ServiceError::of(action, NO_CREDENTIALS, cause);
        let provider = self.credentials.as_ref();
        let provider = provider.ok_or_else(|| none("there are none".to_owned()))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| none(innermost(&error)))?;
        Ok(credentials.into())
    }

    fn sign(
        &self,
        action: &'static str,
        url: &str,
        body: Vec<u8>,
        identity: &Identity,
    ) -> Result<HttpRequest, BoxError> {
        let operation = action.rsplit(' ').next().unwrap_or_default();
        let target = format!("AmazonSQS.{operation}");
        let headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", target.as_str()),
            // Errors are named as the SDK's clients get them.
            ("x-amzn-query-mode", "true"),
        ];
        let signable =
            SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(&body))?;
        let params = SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name("sqs")
            .time(self.time.now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST")?;
        request.set_uri(url)?;
        let all = request.headers_mut();
        for (name, value) in headers {
            all.try_insert(name, value.to_owned())?;
        }
        all.try_insert("user-agent", user_agent::USER_AGENT)?;
        for header in instructions.into_parts().0 {
            all.try_insert(header.name(), header.value().to_owned())?;
        }
        Ok(request)
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

fn read<'a, A: Deserialize<'a>>(action: &'static str, answer: &'a [u8]) -> Result<A, ServiceError> {
    serde_json::from_slice(answer).map_err(|error| unreadable(action, &error.to_string()))
}

fn unreadable(action: &'static str, why: &str) -> ServiceError {
    ServiceError::of(action, UNREADABLE_ANSWER, why)
}

fn not_made(action: &'static str, error: &(dyn std::error::Error + 'static)) -> ServiceError {
    ServiceError::of(action, CALL_NOT_MADE, innermost(error))
}

/// The error of an answer that is none.
fn refusal(action: &'static str, response: &HttpResponse, body: &[u8]) -> ServiceError {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    // The name of old, as in `AWS.SimpleQueueService.NonExistentQueue;Sender`.
    let of_old = response.headers().get("x-amzn-query-error");
    let of_old = of_old.and_then(|text| text.split(';').next());
    let of_now = refusal.code.as_deref();
    let of_now = of_now.and_then(|text| text.rsplit('#').next());
    match of_old.or(of_now) {
        Some(code) => ServiceError::of(action, code, refusal.message.unwrap_or_default()),
        None => unreadable(
            action,
            &format!("HTTP status {}", response.status().as_u16()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_credential_types::Credentials;
    use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, MessageSystemAttributeName};
    use aws_smithy_runtime_api::client::http::HttpConnectorFuture;
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
    }

    impl Server {
        fn answering(status: u16, body: &str) -> Self {
            Self {
                requests: Arc::default(),
                status,
                header: None,
                body: body.to_owned(),
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
                .receive(&queue(), 10, Duration::ZERO)
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

    fn queue() -> QueueUrl {
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/buffer";
        url.parse().unwrap()
    }

    #[tokio::test]
    async fn a_lean_call_is_the_one_that_the_sdk_makes() {
        for (region, endpoint, url) in [
            ("eu-west-1", None, "https://sqs.eu-west-1.amazonaws.com"),
            (
                "cn-north-1",
                None,
                "https://sqs.cn-north-1.amazonaws.com.cn",
            ),
            (
                "us-east-1",
                Some("https://vpce-1.example.com"),
                "https://vpce-1.example.com",
            ),
            (
                "us-east-1",
                Some("http://127.0.0.1:4566"),
                "http://127.0.0.1:4566",
            ),
        ] {
            let server = Server::answering(200, r#"{"Successful":[],"Failed":[]}"#);
            let clients = server.clients(region, endpoint);
            let handles = ["AQEB/+=".to_owned(), "\"\u{e9}".to_owned()];
            let (lean, sqs, queue) = (clients.lean_sqs(), clients.sqs(), queue());
            lean.receive(&queue, 10, Duration::from_secs(1))
                .await
                .unwrap();
            lean.delete(&queue, &handles).await.unwrap();
            let of_lean = server.requests();
            let receive = sqs.receive_message().queue_url(queue.as_str());
            let receive = receive.max_number_of_messages(10).wait_time_seconds(1);
            let names = [
                MessageSystemAttributeName::SentTimestamp,
                MessageSystemAttributeName::ApproximateReceiveCount,
            ];
            let receive = receive.set_message_system_attribute_names(Some(names.into()));
            receive.send().await.unwrap();
            let entries = handles.iter().enumerate().map(|(id, handle)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
                entry.receipt_handle(handle).build().unwrap()
            });
            let delete = sqs.delete_message_batch().queue_url(queue.as_str());
            delete
                .set_entries(Some(entries.collect()))
                .send()
                .await
                .unwrap();
            let of_sdk = server.requests();
            assert_eq!(of_lean, of_sdk);
            assert_eq!(of_lean[0]["url"], url);
            assert_eq!(of_lean[0]["signs"], json!([true, true, true, true, true]));
        }
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
            assert_eq!(error.action, Some(RECEIVE));
        }
    }

    #[tokio::test]
    async fn entries_that_were_not_deleted_are_told() {
        let delete = async |body: &str| {
            let clients = Server::answering(200, body).clients("eu-west-1", None);
            let handles = ["a".to_owned(), "b".to_owned()];
            clients.lean_sqs().delete(&queue(), &handles).await
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
