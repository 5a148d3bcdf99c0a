//! Watches the calls of SDK clients, and refuses some of them.

use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use tokio::sync::Notify;

/// The calls that were made, in their order: `PUT /errors/state/mode.json`, or for SQS
/// `POST AmazonSQS.SendMessage`.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    made: Vec<String>,
    refused: Vec<String>,
    blocked: Option<(String, Blocked)>,
}

/// A call that does not begin before it is let go.
#[derive(Clone, Debug, Default)]
pub struct Blocked {
    reached: Arc<Notify>,
    let_go: Arc<Notify>,
}

impl Blocked {
    /// Waits until the call is to be made.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets it be made.
    pub fn let_go(&self) {
        self.let_go.notify_one();
    }
}

impl Calls {
    /// A connector that makes its calls with this one.
    pub fn watch(&self, connector: SharedHttpConnector) -> SharedHttpConnector {
        let calls = self.clone();
        SharedHttpConnector::new(Connector { calls, connector })
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

    /// The next call that begins like this is blocked.
    pub fn block(&self, call: &str) -> Blocked {
        let blocked = Blocked::default();
        self.lock().blocked = Some((call.to_owned(), blocked.clone()));
        blocked
    }

    /// From now on, nothing is denied.
    pub fn heal(&self) {
        self.lock().refused.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap()
    }

    /// Notes a call. Returns whether it is denied, and what blocks it.
    fn note(&self, request: &HttpRequest) -> (bool, Option<Blocked>) {
        let uri = request.uri();
        let (_, path) = uri.split_once("://").unwrap_or(("", uri));
        let path = path.find('/').map_or("/", |at| &path[at..]);
        let path = path.split('?').next().unwrap_or_default();
        let target = request.headers().get("x-amz-target");
        let call = format!("{} {}", request.method(), target.unwrap_or(path));
        let mut watched = self.lock();
        let is_refused = watched.refused.iter().any(|it| call.starts_with(it));
        let blocked = watched
            .blocked
            .take_if(|(begin, _)| call.starts_with(begin.as_str()));
        watched.made.push(call);
        (is_refused, blocked.map(|(_, blocked)| blocked))
    }
}

#[derive(Debug)]
struct Connector {
    calls: Calls,
    connector: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (is_refused, blocked) = self.calls.note(&request);
        if let Some(Blocked { reached, let_go }) = blocked {
            let connector = self.connector.clone();
            return HttpConnectorFuture::new(async move {
                reached.notify_one();
                let_go.notified().await;
                connector.call(request).await
            });
        }
        if is_refused {
            let error = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
            let status = 403.try_into().unwrap();
            let answer = HttpResponse::new(status, SdkBody::from(error));
            return HttpConnectorFuture::ready(Ok(answer));
        }
        self.connector.call(request)
    }
}
