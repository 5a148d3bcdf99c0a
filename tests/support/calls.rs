//! Watches the calls of SDK clients, and refuses some of them.

use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;

/// The calls that were made, in their order: `PUT /errors/state/mode.json`, or for SQS
/// `POST AmazonSQS.SendMessage`.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    made: Vec<String>,
    refused: Vec<String>,
}

impl Calls {
    /// A client that makes its calls with this one.
    pub fn watch(&self, client: SharedHttpClient) -> SharedHttpClient {
        let calls = self.clone();
        http_client_fn(move |settings, components| {
            let connector = client.http_connector(settings, components);
            let calls = calls.clone();
            SharedHttpConnector::new(Connector { calls, connector })
        })
    }

    /// The calls since the last look.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().made)
    }

    /// The calls since the last look that contain this text.
    pub fn take_of(&self, text: &str) -> Vec<String> {
        let mut calls = self.take();
        calls.retain(|call| call.contains(text));
        calls
    }

    /// From now on, calls that begin like this are denied.
    pub fn refuse(&self, call: &str) {
        self.lock().refused.push(call.to_owned());
    }

    /// From now on, nothing is denied.
    pub fn heal(&self) {
        self.lock().refused.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap()
    }

    /// Notes a call. Returns whether it is denied.
    fn note(&self, request: &HttpRequest) -> bool {
        let uri = request.uri();
        let (_, path) = uri.split_once("://").unwrap_or(("", uri));
        let path = path.find('/').map_or("/", |at| &path[at..]);
        let path = path.split('?').next().unwrap_or_default();
        let target = request.headers().get("x-amz-target");
        let call = format!("{} {}", request.method(), target.unwrap_or(path));
        let mut watched = self.lock();
        let is_refused = watched.refused.iter().any(|it| call.starts_with(it));
        watched.made.push(call);
        is_refused
    }
}

#[derive(Debug)]
struct Connector {
    calls: Calls,
    connector: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if self.calls.note(&request) {
            let error = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
            let status = 403.try_into().unwrap();
            let answer = HttpResponse::new(status, SdkBody::from(error));
            return HttpConnectorFuture::ready(Ok(answer));
        }
        self.connector.call(request)
    }
}
